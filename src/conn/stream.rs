//! A response that stays open while events go over it.
//!
//! Owns its framing as HTTP, its heartbeats and its age. How a batch looks within is `framing`'s.

use crate::framing::{Batch, Opening, Wire};
use crate::http::response::{Length, Persistence};
use crate::limits::Limits;
use crate::reply::{Answer, Ticket};

use super::answers::batch_head;
use super::route::ReplyTo;
use super::{Conn, Env, Exchange};

/// A response that stays open.
#[derive(Debug)]
pub struct Streaming {
    /// Whose events go over it.
    pub(super) ticket: Ticket,
    wire: Wire,
    /// The peer knows chunks; otherwise the end of the connection is the end of the response.
    chunks: bool,
    persistence: Persistence,
    /// When it ends at the latest, ms.
    until_ms: u64,
}

impl Streaming {
    /// When it is to end, or to show that it is alive, ms.
    pub(super) fn deadline(&self, progress_ms: u64, limits: &Limits) -> u64 {
        if self.wire.heartbeat().is_empty() {
            return self.until_ms;
        }
        self.until_ms.min(progress_ms.saturating_add(limits.heartbeat_ms))
    }

    pub(super) fn is_aged(&self, env: Env<'_>) -> bool {
        self.until_ms <= env.now_ms
    }
}

impl Conn {
    /// Opens the response to a request over which the events of that session go.
    pub fn open_stream(
        &mut self,
        ticket: Ticket,
        opening: Opening,
        (to, persistence): (ReplyTo, Persistence),
        env: Env<'_>,
    ) {
        let chunks = to.chunks;
        let persistence = if chunks { env.settle(persistence) } else { Persistence::Close };
        let length = if chunks { Length::Chunked } else { Length::UntilClose };
        let head = batch_head(&to, length, persistence, env);
        self.begin_output(env);
        head.write(self.output.buffer());
        let opening = to.wire.opening(opening);
        let until_ms = if env.ending { env.now_ms } else { env.now_ms.saturating_add(env.stream_ms) };
        let stream = Streaming { ticket, wire: to.wire, chunks, persistence, until_ms };
        if !opening.is_empty() {
            self.begin_chunk(&stream, opening.len());
            self.output.buffer().extend_from_slice(&opening);
            self.end_chunk(&stream);
        }
        self.wait(persistence);
        self.exchange = Exchange::Stream(Box::new(stream));
    }

    /// Writes a batch on the stream. Replies are the last that comes.
    pub(super) fn write_stream(&mut self, stream: Box<Streaming>, come: &Answer, env: Env<'_>) {
        let batch = Batch { gap: come.gap.as_ref(), events: &come.events, replies: &come.replies };
        let last = come.replies.ready().next().is_some();
        let bytes = batch.len(&stream.wire);
        if bytes > 0 {
            self.begin_output(env);
            self.begin_chunk(&stream, bytes);
            batch.write(&stream.wire, &mut self.output);
            self.end_chunk(&stream);
        }
        for ticket in &come.answered {
            self.listeners.push(*ticket);
        }
        if last {
            self.end_stream(*stream, env);
        } else {
            self.exchange = Exchange::Stream(stream);
        }
    }

    /// Ends the response.
    pub(super) fn end_stream(&mut self, stream: Streaming, env: Env<'_>) {
        self.begin_output(env);
        if stream.chunks {
            self.output.buffer().extend_from_slice(b"0\r\n\r\n");
        }
        self.written_out(if stream.chunks { env.settle(stream.persistence) } else { Persistence::Close }, env);
    }

    /// Shows the peer, and whoever is between, that the stream is alive.
    pub(super) fn beat(&mut self, env: Env<'_>) {
        let Exchange::Stream(stream) = core::mem::replace(&mut self.exchange, Exchange::None) else { return };
        let beat = stream.wire.heartbeat();
        self.begin_output(env);
        self.begin_chunk(&stream, beat.len());
        self.output.buffer().extend_from_slice(beat);
        self.end_chunk(&stream);
        self.exchange = Exchange::Stream(stream);
    }

    fn begin_chunk(&mut self, stream: &Streaming, bytes: usize) {
        if stream.chunks {
            self.output.buffer().extend_from_slice(format!("{bytes:x}\r\n").as_bytes());
        }
    }

    fn end_chunk(&mut self, stream: &Streaming) {
        if stream.chunks {
            self.output.buffer().extend_from_slice(b"\r\n");
        }
    }

    /// Has a stream or a WebSocket end at that time, if it would not sooner.
    pub fn end_by(&mut self, at_ms: u64) {
        match &mut self.exchange {
            Exchange::Stream(stream) => stream.until_ms = stream.until_ms.min(at_ms),
            Exchange::Socket(socket) => socket.until_ms = socket.until_ms.min(at_ms),
            Exchange::None | Exchange::Sole { .. } | Exchange::Deferred(_) => {}
        }
    }
}
