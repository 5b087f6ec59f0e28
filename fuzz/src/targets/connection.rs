//! A whole server without sockets: a script of what four peers send and do, and of the time that passes.
//!
//! - Nothing panics, and no turn goes on for ever.
//! - All limits hold after every turn, and memory stays within ten times what was sent and a constant.
//! - What the server writes are well-formed answers, with header fields of its own and no others.
//! - What it writes does not depend on the pieces in which it read.
//! - When all have left and time has passed, nothing is left: no session, no timer, not a byte.
//!
//! The first byte of an input chooses the settings, the second how the second run cuts what it reads; steps follow, with
//! the byte 255 between them. The first byte of a step says what happens, mostly to one of the four peers, and the rest
//! with what:
//!
//! | first byte | what happens |
//! |---|---|
//! | `A`–`D` | a peer sends the rest |
//! | `E`–`H` | a peer sends a POST to the endpoint with the rest as its body |
//! | `I`–`L`, `M`–`P` | a peer sends a text of a WebSocket, plain or compressed |
//! | `Q`–`T`, `U`–`X` | a peer ends its side; the connection breaks |
//! | `a`–`d` | from now on a peer takes so many bytes a turn: none, a few, or all from 200 on |
//! | `n` | the step after this one comes in the same turn |
//! | `t` | so much time passes |
//! | `p`, `k` | the embedder publishes to a channel, up to the first space, what follows; it ends a session |
//! | `r`, `z` | other settings; the server begins to end |
//!
//! In what is sent the bytes 1 to 4 stand for the client ids that the server has given out, and 5 for the last cookie.

use core::net::IpAddr;

use encke::bayeux::check;
use encke::broker::rules::{Keep, ReplayShape, Rule};
use encke::broker::token::{Entropy, SECRET_BYTES};
use encke::broker::{self, Overflow};
use encke::clock::Now;
use encke::conn::plain::Publishing;
use encke::conn::route::Site;
use encke::conn::{ConnKey, Step};
use encke::engine::{Census, Change, Engine, Parts, Wake};
use encke::hooks::Command;
use encke::http::forwarded::TrustedProxies;
use encke::http::host::HostRule;
use encke::http::origin::OriginRule;
use encke::limits::Limits;
use encke::pages::Pages;
use encke::ws::deflate::Deflater;
use encke::ws::frame::Opcode;
use encke::ws::write::Frame;
use std::io::IoSlice;

use super::answers;
use super::meter::{self, Used};

/// Between two steps.
const BETWEEN: u8 = 0xff;
/// Steps of an input that are played, count.
const STEPS: usize = 200;
/// Turns at one time that bring nothing before that counts as going on for ever.
const TURNS: usize = 2_000;
/// Timers of one step that fire at their time, count; after that the clock jumps.
const FIRINGS: usize = 100;
/// A step lets pass less than this, ms.
const LONGEST_MS: u64 = 1_000_000;
/// Where the clocks begin.
const START: Now = Now { mono_ms: 5_000_000, unix_ms: 1_767_225_600_000 };
/// Sessions, count: they have a constant size each.
const SESSIONS: usize = 16;
/// What a session takes without events.
const SESSION_BYTES: usize = 4 * 1024;
/// The compressor, the decompressor, tables, and the largest file that is served, unpacked and copied.
const ENGINE_BYTES: usize = 1024 * 1024;
/// What a message takes that is answered, above ten times its own bytes.
const MESSAGE_BYTES: usize = 1024;

/// Plays an input.
pub(crate) fn run(data: &[u8]) {
    let [mode, cut, script @ ..] = data else { return };
    let steps: Vec<&[u8]> = script.split(|byte| *byte == BETWEEN).filter(|step| !step.is_empty()).take(STEPS).collect();
    let whole = World::new(*mode, usize::MAX).play(&steps);
    let takes_all = !steps.iter().any(|step| matches!(step[0], b'a'..=b'd'));
    if takes_all && *cut > 0 {
        let pieces = World::new(*mode, usize::from(*cut)).play(&steps);
        assert_eq!(readable(&pieces), readable(&whole), "in pieces of {cut}, and whole");
    }
}

fn readable(stories: &[Story]) -> Vec<(String, bool)> {
    stories.iter().map(|story| (story.bytes.escape_ascii().to_string(), story.closed)).collect()
}

/// What came out of one connection.
#[derive(Default)]
struct Story {
    bytes: Vec<u8>,
    /// Whether anything that was sent asked for a head alone, so that lengths are not those of bodies.
    heads: bool,
    /// Whether the server closed it.
    closed: bool,
}

/// One of the four.
#[derive(Default)]
struct Peer {
    conn: Option<ConnKey>,
    /// Which story is being told.
    story: usize,
    /// Bytes sent and not read yet.
    unread: Vec<u8>,
    /// Whether an end follows them.
    ended: bool,
    /// How many bytes it takes in a turn; `None`: all.
    takes: Option<usize>,
    /// How many of these it still takes in this turn.
    room: usize,
}

struct World {
    engine: Engine,
    limits: Limits,
    now: Now,
    peers: [Peer; 4],
    stories: Vec<Story>,
    /// How many bytes are read at once.
    cut: usize,
    /// Bytes that were sent.
    fed: usize,
    /// What the engine holds of memory.
    kept: isize,
    ids: Vec<Vec<u8>>,
    cookie: Vec<u8>,
    /// Whether the next step comes in the same turn.
    hold: bool,
}

/// Secrets that count up.
struct Counting(u128);

impl Entropy for Counting {
    fn secret(&mut self) -> [u8; SECRET_BYTES] {
        self.0 = self.0.wrapping_add(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        self.0.to_be_bytes()
    }
}

impl World {
    fn new(mode: u8, cut: usize) -> Self {
        let limits = limits(mode);
        let before = meter::held();
        let parts = Parts {
            site: site(mode),
            broker: settings(mode),
            limits: limits.clone(),
            entropy: Box::new(Counting(0)),
            hooks: Default::default(),
        };
        let engine = Engine::new(parts, START);
        Self {
            engine,
            limits,
            now: START,
            peers: Default::default(),
            stories: Vec::new(),
            cut,
            fed: 0,
            kept: meter::held() - before,
            ids: Vec::new(),
            cookie: Vec::new(),
            hold: false,
        }
    }

    /// Plays all steps, has everyone leave, and returns what they saw.
    fn play(mut self, steps: &[&[u8]]) -> Vec<Story> {
        for step in steps {
            if let Some((&what, with)) = step.split_first() {
                self.step(what, with);
            }
            if !core::mem::take(&mut self.hold) {
                self.turn();
            }
        }
        self.leave();
        let Self { engine, stories, kept, .. } = self;
        let before = meter::held();
        drop(engine);
        let left = kept + meter::held() - before;
        assert_eq!(left, 0, "bytes that the engine has left behind");
        for story in &stories {
            answers::check(&story.bytes, story.heads);
        }
        stories
    }

    fn step(&mut self, what: u8, with: &[u8]) {
        let peer = usize::from(what.wrapping_sub(b'A') % 4);
        match what {
            b'A'..=b'D' => self.send(peer, &self.filled(with)),
            b'E'..=b'H' => self.post(peer, &self.filled(with)),
            b'I'..=b'L' => self.text(peer, &self.filled(with), false),
            b'M'..=b'P' => self.text(peer, &self.filled(with), true),
            b'Q'..=b'T' => {
                self.peers[peer].ended |= self.peers[peer].conn.is_some();
                self.read(peer);
            }
            b'U'..=b'X' => self.break_off(peer),
            b'a'..=b'd' => {
                let takes = with.first().copied().unwrap_or_default();
                self.peers[usize::from(what - b'a')].takes = (takes < 200).then_some(usize::from(takes));
            }
            b'n' => self.hold = true,
            b't' => {
                self.pass(with.iter().fold(0, |ms: u64, byte| ms.wrapping_mul(251) + u64::from(*byte)) % LONGEST_MS)
            }
            b'p' => self.publish(with),
            b'k' => {
                let id = self.filled(with);
                self.command(&Command::DisconnectClient(String::from_utf8_lossy(&id).into_owned()));
            }
            b'r' => self.change(with.first().copied().unwrap_or_default()),
            b'z' => {
                let now = self.now;
                self.call(|engine| engine.drain(5_000, now));
            }
            _ => {}
        }
    }

    /// What is sent, with what only the server knows in its places.
    fn filled(&self, text: &[u8]) -> Vec<u8> {
        let mut filled = Vec::with_capacity(text.len());
        for byte in text {
            match byte {
                1..=4 => filled.extend(self.ids.get(usize::from(byte - 1)).map_or(&b"nobody"[..], Vec::as_slice)),
                5 => filled.extend(&self.cookie),
                _ => filled.push(*byte),
            }
        }
        filled
    }

    fn post(&mut self, peer: usize, body: &[u8]) {
        let head = format!(
            "POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(peer, &[head.as_bytes(), body].concat());
    }

    fn text(&mut self, peer: usize, text: &[u8], deflated: bool) {
        let mut packed = Vec::new();
        if deflated {
            Deflater::default().compress(text, &mut packed);
        }
        let mut frame = Vec::new();
        let mask = Some([0x37, 0xfa, 0x21, 0x3d]);
        let payload = if deflated { &packed } else { text };
        Frame { mask, deflated, ..Frame::whole(Opcode::Text) }.write(&mut frame, payload);
        self.send(peer, &frame);
    }

    /// A peer sends something, on a new connection if it has none. Behind its own end it sends nothing.
    fn send(&mut self, peer: usize, bytes: &[u8]) {
        if self.peers[peer].conn.is_none() {
            let address = [Some("192.0.2.1"), Some("127.0.0.1"), None, Some("2001:db8::1")][peer];
            let address: Option<IpAddr> = address.and_then(|address| address.parse().ok());
            let now = self.now;
            let Ok(conn) = self.call(|engine| engine.accept(address, now)) else { return };
            let takes = self.peers[peer].takes;
            self.peers[peer] = Peer { conn: Some(conn), story: self.stories.len(), takes, ..Peer::default() };
            self.stories.push(Story::default());
        }
        let its = &mut self.peers[peer];
        if its.ended {
            return;
        }
        self.stories[its.story].heads |= bytes.windows(4).any(|word| word == b"HEAD");
        its.unread.extend_from_slice(bytes);
        self.fed += bytes.len();
        self.read(peer);
    }

    /// The server reads what it wants to; whether there was something.
    fn read(&mut self, peer: usize) -> bool {
        let now = self.now;
        let mut any = false;
        while let Some(conn) = self.peers[peer].conn
            && self.engine.wants_input(conn)
        {
            let its = &mut self.peers[peer];
            if its.unread.is_empty() && !core::mem::take(&mut its.ended) {
                break;
            }
            any = true;
            if its.unread.is_empty() {
                self.call(|engine| engine.peer_closed(conn, now));
                break;
            }
            let piece: Vec<u8> = its.unread.drain(..self.cut.min(its.unread.len())).collect();
            self.call(|engine| engine.receive(conn, &piece, now));
        }
        any
    }

    fn break_off(&mut self, peer: usize) {
        let now = self.now;
        let takes = self.peers[peer].takes;
        let its = core::mem::replace(&mut self.peers[peer], Peer { takes, ..Peer::default() });
        if let Some(conn) = its.conn {
            self.call(|engine| engine.closed(conn, now));
        }
    }

    fn publish(&mut self, with: &[u8]) {
        let mut parts = with.splitn(2, |byte| *byte == b' ');
        let channel = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        // An embedder's handle checks this before the engine hears of it.
        let Ok(data) = check::value(parts.next().unwrap_or_default(), 30) else { return };
        self.fed += with.len();
        self.command(&Command::Publish { channel, data: data.to_owned(), lazy: data.starts_with('[') });
    }

    fn command(&mut self, command: &Command) {
        let now = self.now;
        self.call(|engine| engine.command(command.clone(), now));
    }

    fn change(&mut self, mode: u8) {
        // What is there already may be above limits that are lower now.
        self.limits = wider(&self.limits, &limits(mode));
        let changed = self.call(|engine| {
            let Site { hosts, origins, proxies, publishing, .. } = site(mode);
            let (demo, limits) = (mode & 1 == 0, limits(mode));
            engine.reconfigure(Change { hosts, origins, proxies, publishing, demo, broker: settings(mode), limits })
        });
        changed.expect("so few origins can be told apart");
    }

    /// Time passes; what is due in between happens when it is due.
    fn pass(&mut self, ms: u64) {
        self.turn();
        let end = self.now.mono_ms + ms;
        for _ in 0..FIRINGS {
            match self.engine.poll_timeout() {
                Some((at, _)) if at <= end => self.set_clock(at),
                _ => break,
            }
            self.turn();
        }
        self.set_clock(end);
    }

    fn set_clock(&mut self, at: u64) {
        let at = at.max(self.now.mono_ms);
        self.now.unix_ms += at - self.now.mono_ms;
        self.now.mono_ms = at;
    }

    /// The rest of a turn, and those that follow at once.
    fn turn(&mut self) {
        for peer in &mut self.peers {
            peer.room = peer.takes.unwrap_or(usize::MAX);
        }
        let now = self.now;
        for peer in 0..self.peers.len() {
            if let Some(conn) = self.peers[peer].conn
                && self.engine.step(conn) == Step::Write
            {
                self.drive(conn);
            }
        }
        for _ in 0..TURNS {
            self.call(|engine| engine.resume(now));
            self.call(|engine| engine.handle_timeout(now));
            loop {
                let more = self.call(|engine| engine.flush(now));
                while let Some(conn) = self.engine.next_dirty() {
                    self.drive(conn);
                }
                if !more {
                    break;
                }
            }
            self.check();
            let mut more = false;
            for peer in 0..self.peers.len() {
                more |= self.read(peer);
            }
            if !more && !matches!(self.engine.poll_timeout(), Some((_, Wake::Work))) {
                return;
            }
        }
        panic!("a turn goes on for ever: {:?}", self.engine.poll_timeout());
    }

    /// Does what the engine wants done with a connection.
    fn drive(&mut self, conn: ConnKey) {
        let now = self.now;
        let Some(peer) = self.peers.iter().position(|peer| peer.conn == Some(conn)) else {
            panic!("a connection that nobody has is to be looked at")
        };
        loop {
            match self.engine.step(conn) {
                Step::Wait => return,
                Step::Write => {
                    let room = self.peers[peer].room;
                    let taken = if room == 0 { Vec::new() } else { self.taken(conn, room) };
                    self.peers[peer].room -= taken.len();
                    self.hear(peer, &taken);
                    self.call(|engine| engine.sent(conn, taken.len(), now));
                    if taken.is_empty() {
                        return;
                    }
                }
                Step::ShutdownWrite => self.call(|engine| engine.write_shut(conn, now)),
                Step::Close => {
                    self.stories[self.peers[peer].story].closed = true;
                    return self.break_off(peer);
                }
            }
        }
    }

    fn taken(&self, conn: ConnKey, most: usize) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 4];
        let used = self.engine.slices(conn, &mut slices);
        let taken: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.iter().copied()).take(most).collect();
        assert!(!taken.is_empty(), "the engine wants to write nothing");
        taken
    }

    /// A peer gets bytes, and learns of the names in them.
    fn hear(&mut self, peer: usize, bytes: &[u8]) {
        let story = &mut self.stories[self.peers[peer].story].bytes;
        let from = story.len().saturating_sub(64);
        story.extend_from_slice(bytes);
        let (ids, cookies) = (names(&story[from..], b"\"clientId\":\"", 32), names(&story[from..], b"_BROWSER=", 26));
        for id in ids {
            if !self.ids.contains(&id) {
                self.ids.push(id);
            }
        }
        self.cookie = cookies.into_iter().next_back().unwrap_or_else(|| core::mem::take(&mut self.cookie));
    }

    /// Calls the engine, and looks at what that costs.
    fn call<T>(&mut self, work: impl FnOnce(&mut Engine) -> T) -> T {
        let engine = &mut self.engine;
        let (done, used) = meter::measure(|| work(engine));
        let Used { allocated, kept } = used;
        self.kept += kept;
        let Limits { output_bytes, batch_messages, .. } = self.limits;
        let fed = 10 * self.fed;
        // Each piece of output has cost a few times its own size, and an answer may go beyond the limit once.
        let at_once = ENGINE_BYTES + 16 * output_bytes + MESSAGE_BYTES * batch_messages;
        assert!(allocated <= fed + at_once, "{allocated} bytes in one call, of {} sent", self.fed);
        let output = self.peers.len() * (output_bytes + MESSAGE_BYTES * batch_messages);
        let most = fed + ENGINE_BYTES + SESSIONS * SESSION_BYTES + output;
        assert!(self.kept <= most.cast_signed(), "{} bytes are held, of {} sent", self.kept, self.fed);
        done
    }

    /// What holds after every turn.
    fn check(&self) {
        let (census, counters, limits) = (self.engine.census(), self.engine.counters(), &self.limits);
        let open = self.peers.iter().filter(|peer| peer.conn.is_some()).count();
        assert_eq!(census.connections, open, "{census:?}");
        assert_eq!(census.sessions as u64, counters.sessions_added - counters.sessions_removed, "{census:?}");
        assert!(counters.encoded <= counters.published, "more than one encoding of a publish: {counters:?}");
        assert!(census.sessions <= limits.sessions && census.parked <= census.sessions, "{census:?}");
        assert!(census.browsers <= census.sessions, "{census:?}");
        assert!(census.timers <= census.sessions + census.connections, "{census:?}");
        assert!(census.topics <= census.sessions * limits.subscriptions, "{census:?}");
        assert!(census.kept_bytes <= limits.history_bytes, "{census:?}");
        // The publish that reaches the limit still goes.
        assert!(census.queued_bytes < limits.queued_bytes + limits.body_bytes + MESSAGE_BYTES, "{census:?}");
    }

    /// All leave, and time passes until nothing is due.
    fn leave(&mut self) {
        for peer in 0..self.peers.len() {
            self.break_off(peer);
        }
        self.turn();
        for _ in 0..TURNS {
            let Some((at, _)) = self.engine.poll_timeout() else { break };
            self.set_clock(at);
            self.turn();
        }
        assert_eq!(self.engine.poll_timeout(), None, "there is nothing to wake up for");
        // Histories stay.
        let mut census = self.engine.census();
        (census.kept, census.kept_bytes) = (0, 0);
        assert_eq!(census, Census::default(), "something is kept for no one");
        assert!(self.engine.is_at_rest(), "something is kept for no one that the census does not show");
    }
}

/// The names of that length behind a word.
fn names(text: &[u8], word: &[u8], length: usize) -> Vec<Vec<u8>> {
    let ends =
        text.windows(word.len()).enumerate().filter(|(_, window)| *window == word).map(|(at, _)| at + word.len());
    ends.filter_map(|from| text.get(from..from + length)).map(<[u8]>::to_vec).collect()
}

fn limits(mode: u8) -> Limits {
    let usual = Limits { sessions: SESSIONS, connections: 4, ..Limits::default() };
    if mode & 1 == 0 {
        return usual;
    }
    Limits {
        line_bytes: 256,
        head_bytes: 512,
        body_bytes: 1024,
        output_bytes: 2048,
        pipelined_requests: 3,
        inflated_bytes_per_turn: 1024,
        sessions: 4,
        socket_sessions: 2,
        connections: 3,
        batch_messages: 8,
        json_depth: 6,
        subscriptions: 4,
        outbox_events: 4,
        outbox_bytes: 512,
        queued_bytes: 1024,
        history_bytes: 2048,
        history_channels: 2,
        deliveries_per_turn: 2,
        deliveries_at_once: 1,
        timers_per_turn: 2,
        ping_ms: 10_000,
        stream_ms: 40_000,
        deflate_from_bytes: 32,
        ..usual
    }
}

/// The greater of the limits that are looked at.
fn wider(a: &Limits, b: &Limits) -> Limits {
    Limits {
        sessions: a.sessions.max(b.sessions),
        subscriptions: a.subscriptions.max(b.subscriptions),
        history_bytes: a.history_bytes.max(b.history_bytes),
        queued_bytes: a.queued_bytes.max(b.queued_bytes),
        body_bytes: a.body_bytes.max(b.body_bytes),
        output_bytes: a.output_bytes.max(b.output_bytes),
        batch_messages: a.batch_messages.max(b.batch_messages),
        ..b.clone()
    }
}

fn settings(mode: u8) -> broker::Config {
    let rule = |pattern: &str| Rule { pattern: pattern.to_owned(), ..Rule::default() };
    let keep = Some(Some(Keep { count: 5, bytes: 1024, age_ms: 60_000 }));
    let bit = |number: u8| mode >> number & 1 == 1;
    broker::Config {
        overflow: if bit(1) { Overflow::DropOldest } else { Overflow::Disconnect },
        timestamps: bit(2),
        delivery_during_handshake: bit(2),
        require_browser_cookie: bit(3),
        max_sessions_per_browser: bit(4).then_some(1),
        max_activity_ms: if bit(5) { 60_000 } else { 0 },
        channels: vec![
            Rule { history: keep, ..rule("/h/**") },
            Rule { history: keep, replay_shape: Some(ReplayShape::Salesforce), ..rule("/event/**") },
            Rule { lazy: Some(true), ..rule("/l/*") },
        ],
        transports: vec![
            "websocket",
            "streaming",
            "eventsource",
            "long-polling",
            "cross-origin-long-polling",
            "callback-polling",
            "iframe",
        ],
        ..broker::Config::default()
    }
}

fn site(mode: u8) -> Site {
    let listed: &[&str] = if mode >> 6 & 1 == 1 { &["https://shop.example", "*"] } else { &[] };
    let listed: Vec<String> = listed.iter().map(|&origin| origin.to_owned()).collect();
    let served: &[&str] = if mode >> 5 & 1 == 1 { &["a.example", "*.b.example:80", "127.0.0.1"] } else { &[] };
    let served: Vec<String> = served.iter().map(|&host| host.to_owned()).collect();
    let trusted = ["loopback".to_owned(), "unix".to_owned()];
    let token = || Publishing::Token("secret".to_owned());
    Site {
        mount: "/cometd".to_owned(),
        hosts: HostRule::new(&served).expect("these are hosts"),
        origins: OriginRule::new(&listed).expect("these are origins"),
        proxies: TrustedProxies::parse(&trusted).expect("these are words for peers"),
        publishing: if mode >> 7 & 1 == 1 { Publishing::Local } else { token() },
        pages: Pages::new("/cometd", mode & 1 == 0),
        has_fallback: false,
    }
}
