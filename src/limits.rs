//! Every bound of the server, with its name, its unit and its default.
//!
//! Owns the numbers and nothing else: the rooms that work within a bound take it from here, so that a reader finds all of
//! them on one page. Fields of [`Limits`] can be set by the embedder or the operator; constants are fixed because they
//! size an array or because a protocol fixes them.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

/// Header fields in one request head, count. Fixed: it sizes the parser's array.
pub const HEADERS: usize = 64;
/// Bytes of one chunk's extensions, between its size and its line end (RFC 9112 section 7.1.1).
pub const CHUNK_EXTENSION_BYTES: usize = 256;
/// Bytes of the trailer section of a chunked body, ignored but counted (RFC 9112 section 7.1.2).
pub const TRAILER_BYTES: usize = 2 * 1024;
/// Empty lines before a request line that are forgiven (RFC 9112 section 2.2), count.
pub const LEADING_EMPTY_LINES: usize = 2;
/// Bytes of a channel name or pattern.
pub const CHANNEL_BYTES: usize = 256;
/// Segments of a channel name or pattern, count.
pub const CHANNEL_SEGMENTS: usize = 16;
/// Bytes of a message `id` as it stands in the JSON text; longer ones are refused.
pub const MESSAGE_ID_BYTES: usize = 256;
/// Bytes of text that a peer sent and that is repeated in an error or a log line; the rest is cut.
pub const ECHO_BYTES: usize = 256;
/// Bytes of a browser cookie's value that is adopted; a longer one is not well formed.
pub const BROWSER_COOKIE_BYTES: usize = 64;
/// Characters of the name of a callback function.
pub const CALLBACK_BYTES: usize = 64;
/// Bytes discarded after an error response before the connection is closed, so that the response is not lost to a reset.
pub const LINGER_BYTES: usize = 64 * 1024;
/// Bytes of the payload of a WebSocket control frame: Close, Ping, Pong (RFC 6455 section 5.5).
pub const CONTROL_FRAME_BYTES: usize = 125;
/// Bytes to which a compressed WebSocket message may grow whatever its compressed size; beyond them
/// [`Limits::inflate_ratio`] holds.
pub const INFLATE_FREE_BYTES: usize = 128 * 1024;

/// The bounds that can be set. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of the request line or of one header line, without its line end. Default 8 KiB.
    pub line_bytes: usize,
    /// Bytes of a whole request head, line ends included. Default 16 KiB.
    pub head_bytes: usize,
    /// Bytes of a request body after chunked decoding, and of a WebSocket message after decompression; the
    /// `max-message-size` of the command line. Default 256 KiB.
    pub body_bytes: usize,
    /// How many times its compressed size a WebSocket message may be, once it exceeds [`INFLATE_FREE_BYTES`]. Default 128.
    pub inflate_ratio: usize,
    /// Bytes that compressed messages of one connection have become in one turn of the loop, after which the others wait for
    /// the next turn. Default 256 KiB.
    pub inflated_bytes_per_turn: usize,
    /// Answered but unwritten requests on one connection before it is read no further, count. Default 16.
    pub pipelined_requests: u8,
    /// Unwritten response bytes on one connection before it is read no further and given no more events. Default 256 KiB.
    pub output_bytes: usize,
    /// From the first byte of a request head to its end, ms; to the end of a connection's first head from when it was
    /// accepted, or its TLS handshake was done, which has as much. Default 5 s.
    pub head_ms: u64,
    /// From the end of a request head to the end of its body, ms. Default 15 s.
    pub body_ms: u64,
    /// A keep-alive connection between two requests, ms. Default 75 s, above what proxies use themselves.
    pub idle_ms: u64,
    /// Without [`Limits::write_bytes`] of progress in writing what is pending, ms. Default 10 s.
    pub write_ms: u64,
    /// Bytes that a peer takes within [`Limits::write_ms`], or all that is pending, to be kept: slower ones hold memory for
    /// what they will never read. Default 4 KiB.
    pub write_bytes: usize,
    /// Reading and discarding after an error response, ms. Default 1 s.
    pub linger_ms: u64,
    /// Between two heartbeats on a stream over which nothing goes, ms. Default 20 s.
    pub heartbeat_ms: u64,
    /// How long a stream stays open before its client opens another one, ms; firewalls cut what is open for too long.
    /// Default 5 minutes.
    pub stream_ms: u64,
    /// How long a client has to confirm that a stream gets through, ms; 0: it need not. Default 5 s.
    pub confirm_ms: u32,
    /// Without a sign of a WebSocket's peer before it is pinged, ms; 0: never. Default 0.
    pub ping_ms: u32,
    /// Sessions on one WebSocket, count. Default 64.
    pub socket_sessions: usize,
    /// Bytes of an event below which it is not compressed for WebSockets that could have it so. Default 256.
    pub deflate_from_bytes: usize,
    /// Open connections, count. The daemon lowers it to fit under the limit of open files. Default 1,000,000.
    pub connections: usize,
    /// How long a new connection waits for another one to close where as many as allowed are open, ms; then it is answered
    /// 503. Default 1 s.
    pub full_ms: u64,
    /// Messages in one batch, count. A batch from another thread may have more events, but then other work may come between
    /// them. Default 1,024.
    pub batch_messages: usize,
    /// Nesting of JSON arrays and objects in a body, the batch's own array included, count. Default 32.
    pub json_depth: usize,
    /// Sessions, count. Default 1,000,000.
    pub sessions: usize,
    /// Addresses of which it is known how fast they make sessions, count; those beyond share one bucket. Default 65,536.
    pub handshake_addresses: usize,
    /// Subscriptions of one session, count. Default 256.
    pub subscriptions: usize,
    /// Bytes of memory for all subscriptions; beyond it further ones are refused. Default 512 MiB.
    pub subscribed_bytes: usize,
    /// Events waiting for one session, count; `max-queue` of the command line. Default 10,000.
    pub outbox_events: usize,
    /// Bytes of events waiting for one session. Default 1 MiB.
    pub outbox_bytes: usize,
    /// Bytes of memory for what waits for anyone. One half is for events, each counted once, with 16 bytes for its place in
    /// each queue: when they have it, publishes are refused. The other is for answers that sockets do not take: the nearer
    /// it is, the less is made ready for one connection. Default 256 MiB.
    pub queued_bytes: usize,
    /// Bytes of requests and messages that have come and are not complete, of all connections. Beyond it those are refused
    /// of which more comes. Default 256 MiB.
    pub received_bytes: usize,
    /// Bytes of events kept for channels with a history, all together. Default 256 MiB.
    pub history_bytes: usize,
    /// Channels of which events are kept, count. Default 10,000.
    pub history_channels: usize,
    /// Wildcards that one session may be reading from histories at a time, and with which one batch may begin, count: each is
    /// looked for at every channel that has a history. Default 16.
    pub replay_wildcards: usize,
    /// The longest `timeout` or `interval` that a client's advice may ask for, ms. Default 10 minutes.
    pub client_advice_ms: u64,
    /// Work done for requests in one turn of the loop, after which the others wait for the next turn; the one under way is
    /// finished. As much may be done for answers. Counted are subscribers to whom an event goes, whether it is put into their
    /// queue or they will read it, events that are read from histories, and how many times a channel is asked whether a
    /// pattern matches it. Default 65,536.
    pub fanout_per_turn: u64,
    /// Sessions answered in one turn of the loop, count; the others follow in the next turn. An event that goes to more of
    /// them is a broadcast: others do not wait behind all of its receivers. Default 512.
    pub deliveries_per_turn: usize,
    /// Of these, answers that are made before they are written, count: no more than a common allocator keeps blocks of one
    /// size at hand, so that what is made is written while the processor's cache still has it.
    pub deliveries_at_once: usize,
    /// Timers fired in one turn of the loop, count; the others follow in the next turn. Default 1,024.
    pub timers_per_turn: usize,
    /// Connections accepted in one turn of the loop, count, on all listeners together. Default 256.
    pub accepts_per_turn: usize,
    /// TLS handshakes gone on with in one turn of the loop, count of those that cost more than to collect bytes; the others
    /// follow in the next turn. One takes a fraction of a millisecond, or several with a large RSA key. Default 8.
    pub tls_handshakes_per_turn: usize,
    /// Bytes read from one connection in one turn of the loop. Default 64 KiB.
    pub read_bytes_per_turn: usize,
    /// Bytes read from all connections in one turn of the loop, after which the others wait for the next turn: those first
    /// that had no read yet. Default 1 MiB.
    pub total_read_bytes_per_turn: usize,
    /// Commands from other threads waiting in the mailbox, count; a batch is one. As many are done in one turn of the loop,
    /// where each event of a batch counts; the others follow in the next turn. As many of hooks may wait, and are done in
    /// one turn. Default 4,096.
    pub mailbox_commands: usize,
    /// Bytes of them; likewise. Default 64 MiB.
    pub mailbox_bytes: usize,
    /// How long a policy may take that has deferred its answer, ms; then it is no. Default 10 s.
    pub defer_ms: u64,
    /// Batches that wait for answers of policies, or behind one that does, count; of one session, and of one
    /// connection, a sixteenth, of one address a quarter. Default 4,096.
    pub deferred_batches: usize,
    /// Bytes of them; likewise. Default 16 MiB.
    pub deferred_bytes: usize,
    /// Bytes of what hooks have written on sessions, all together; beyond it handshakes are refused. Default 256 MiB.
    pub attribute_bytes: usize,
    /// Channels and patterns of which hooks know, count. Kept only where hooks want to know. Default 1,000,000.
    pub channels: usize,
    /// How long a channel that nobody uses is known to hooks, ms. Default 3 s.
    pub sweep_ms: u64,
}

impl Limits {
    /// What events that wait may take at most, and what answers that sockets do not take may: half of
    /// [`Limits::queued_bytes`] each.
    pub fn half_of_queued(&self) -> usize {
        self.queued_bytes / 2
    }

    /// Nesting of arrays and objects in the data of an event, count: batch and message stand around it.
    pub fn data_depth(&self) -> usize {
        self.json_depth.saturating_sub(2)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes: 8 * 1024,
            head_bytes: 16 * 1024,
            body_bytes: 256 * 1024,
            inflate_ratio: 128,
            inflated_bytes_per_turn: 256 * 1024,
            pipelined_requests: 16,
            output_bytes: 256 * 1024,
            head_ms: 5_000,
            body_ms: 15_000,
            idle_ms: 75_000,
            write_ms: 10_000,
            write_bytes: 4 * 1024,
            linger_ms: 1_000,
            heartbeat_ms: 20_000,
            stream_ms: 300_000,
            confirm_ms: 5_000,
            ping_ms: 0,
            socket_sessions: 64,
            deflate_from_bytes: 256,
            connections: 1_000_000,
            full_ms: 1_000,
            batch_messages: 1_024,
            json_depth: 32,
            sessions: 1_000_000,
            handshake_addresses: 65_536,
            subscriptions: 256,
            subscribed_bytes: 512 * 1024 * 1024,
            outbox_events: 10_000,
            outbox_bytes: 1024 * 1024,
            queued_bytes: 256 * 1024 * 1024,
            received_bytes: 256 * 1024 * 1024,
            history_bytes: 256 * 1024 * 1024,
            history_channels: 10_000,
            replay_wildcards: 16,
            client_advice_ms: 600_000,
            fanout_per_turn: 65_536,
            deliveries_per_turn: 512,
            deliveries_at_once: 7,
            timers_per_turn: 1_024,
            accepts_per_turn: 256,
            tls_handshakes_per_turn: 8,
            read_bytes_per_turn: 64 * 1024,
            total_read_bytes_per_turn: 1024 * 1024,
            mailbox_commands: 4_096,
            mailbox_bytes: 64 * 1024 * 1024,
            defer_ms: 10_000,
            deferred_batches: 4_096,
            deferred_bytes: 16 * 1024 * 1024,
            attribute_bytes: 256 * 1024 * 1024,
            channels: 1_000_000,
            sweep_ms: 3_000,
        }
    }
}
