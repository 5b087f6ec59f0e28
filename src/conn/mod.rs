//! One connection's side of HTTP.
//!
//! Owns what a connection is in the middle of: a request that is not complete, an exchange that waits for its answer, bytes
//! that wait to be written, and which deadline applies. Must not know sessions: a ticket is a number to it.
//!
//! | phase | next | by |
//! |---|---|---|
//! | `Open` | `Last` | a request after which the connection is to close, while it waits for its answer |
//! | | `Parting` | the answer to such a request; bytes that are not HTTP, a request that is too large or too slow |
//! | | `Finishing` | the peer's end of sending |
//! | | `Dead` | idle too long, an answer that is not taken, a peer that is gone while a request waits |
//! | `Last` | `Parting` | the answer |
//! | | `Dead` | a peer that is gone |
//! | `Parting` | `Lingering` | everything is written and our side is shut |
//! | | `Finishing` | the peer's end of sending |
//! | `Lingering` | `Dead` | the peer's end, too much discarded, or time |
//! | `Finishing` | `Dead` | everything is written |
//!
//! What comes in after `Open` is discarded. Without the wait for the peer's end, unread bytes would make the kernel reset
//! the connection, and the last answer could be lost with it (RFC 9112 section 9.6).
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

mod answers;
mod handshake;
pub mod plain;
pub mod reader;
pub mod route;
mod socket;
mod stream;

use core::net::IpAddr;
use core::num::NonZeroU32;
use std::io::IoSlice;

use crate::arena::Key;
use crate::chunk::Pending;
use crate::http::date::HttpDate;
use crate::http::forwarded::Peer;
use crate::http::origin::OriginRule;
use crate::http::response::{self, Persistence};
use crate::limits::{self, Limits};
use crate::reply::{Answer, Ticket};
use crate::wheel::TimerKey;
use crate::ws::frame;

pub use socket::Socket;
pub use stream::Streaming;

use reader::{Progress, Reader};
use route::{Refusal, ReplyTo};

/// Names one connection.
pub type ConnKey = Key<Conn>;

/// The name of the browser cookie.
pub const BROWSER_COOKIE: &str = "BAYEUX_BROWSER";

/// What the owner of the socket is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until something happens.
    Wait,
    /// Write what is pending.
    Write,
    /// Shut the sending side; the receiving side is still read.
    ShutdownWrite,
    /// Close the socket.
    Close,
}

/// Where a connection stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Last,
    Parting,
    Finishing,
    Lingering,
    Dead,
}

/// Which deadline applies to what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before anything of the first request, or of a TLS handshake, has come.
    New,
    /// In the middle of a TLS handshake.
    Handshake,
    /// In the middle of the first head. It has its time from the beginning of the connection on.
    FirstHead,
    /// Between requests.
    Idle,
    Head,
    Body,
}

/// What bytes that have been received wait for before requests are looked for in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// More bytes, if anything.
    No,
    /// All answers to be written.
    Output,
    /// The next turn: this one has done its share.
    Turn,
    /// A turn to be read in, or to go on with a TLS handshake.
    Read,
}

/// What a connection waits for before it can answer a request.
#[derive(Debug)]
enum Exchange {
    /// Nothing.
    None,
    /// The one reply of the request: a held connect.
    Sole { ticket: Ticket, to: ReplyTo, persistence: Persistence },
    /// The answer to a batch that has to wait.
    Deferred(Box<Deferred>),
    /// The end of a response over which events go.
    Stream(Box<Streaming>),
    /// The end of the connection, which is a WebSocket.
    Socket(Socket),
}

#[derive(Debug)]
struct Deferred {
    /// What the broker knows it by.
    id: u64,
    to: ReplyTo,
    persistence: Persistence,
}

/// What has come and is not complete.
#[derive(Debug)]
pub enum Input {
    /// A request.
    Request {
        /// The bytes of it that are needed again.
        tail: Vec<u8>,
        /// How far it has come.
        reader: Reader,
    },
    /// Frames.
    Frames {
        /// How far the message under way has come.
        decoder: frame::Decoder,
        /// Bytes that were not looked at: there is no room for what they would be answered, or their turn comes.
        tail: Vec<u8>,
    },
}

/// Some sessions. Mostly there is one.
#[derive(Debug, Default)]
pub(crate) enum Tickets {
    #[default]
    None,
    One(Ticket),
    #[expect(clippy::box_collection, reason = "rare; keeps each connection 16 bytes smaller")]
    Many(Box<Vec<Ticket>>),
}

impl Tickets {
    fn as_slice(&self) -> &[Ticket] {
        match self {
            Self::None => &[],
            Self::One(one) => core::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    fn push(&mut self, ticket: Ticket) {
        *self = match core::mem::take(self) {
            Self::None => Self::One(ticket),
            Self::One(first) => Self::Many(Box::new(vec![first, ticket])),
            Self::Many(mut many) => {
                many.push(ticket);
                Self::Many(many)
            }
        };
    }

    fn pop(&mut self) -> Option<Ticket> {
        let last = *self.as_slice().last()?;
        self.remove(last);
        Some(last)
    }

    /// Takes one out; whether it was there.
    fn remove(&mut self, ticket: Ticket) -> bool {
        if !self.as_slice().contains(&ticket) {
            return false;
        }
        match self {
            Self::Many(many) => many.retain(|own| *own != ticket),
            Self::None | Self::One(_) => *self = Self::None,
        }
        if self.as_slice().is_empty() {
            *self = Self::None;
        }
        true
    }
}

/// A connection.
#[derive(Debug)]
pub struct Conn {
    peer: Option<IpAddr>,
    /// Whether what comes has come by TLS.
    tls: bool,
    /// Whether the socket has not taken all records of TLS that are made.
    sealed: bool,
    phase: Phase,
    stage: Stage,
    /// Requests answered whose bytes are not all written.
    unwritten: u8,
    /// Whether it stands in the engine's list of connections to look at.
    pub listed: bool,
    /// What is kept of the input waits for this.
    pause: Pause,
    input: Option<Box<Input>>,
    output: Pending,
    exchange: Exchange,
    /// Sessions that want to hear when all is written.
    listeners: Tickets,
    /// The armed timer; it may be early, never late.
    pub timer: Option<TimerKey<ConnKey>>,
    /// When the stage, or the lingering, began, ms; later by what was waited for us since.
    since_ms: u64,
    /// While it is not read: how much of the stage's time its peer had used up by then, ms, and 1.
    used_ms: Option<NonZeroU32>,
    /// When writing last made progress, or had nothing to do, ms.
    progress_ms: u64,
    /// Bytes since then: those that the socket has taken, too few to be progress; while it lingers, those discarded.
    moved: u32,
}

/// How what waits on a connection ends for another reason than events or time.
#[derive(Clone, Copy, Debug)]
pub enum Parting<'a> {
    /// A newer connect has taken its place.
    Superseded,
    /// Events go elsewhere.
    Moved,
    /// The session is over.
    Closed {
        /// The last replies; there may be none.
        last: &'a Answer,
        /// Whether the client knows, and has no use for the connection any more.
        agreed: bool,
    },
}

/// What the engine is to do about a deadline that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// Nothing more.
    Nothing,
    /// Refuse what did not arrive in time.
    Slow,
    /// End what has been open for as long as it may be.
    Aged,
    /// Nothing of an answer was taken in time; the connection has ended.
    Stuck,
}

/// What every answer needs to know beside its content.
#[derive(Clone, Copy, Debug)]
pub struct Env<'a> {
    /// The `Date` of the answer.
    pub date: &'a HttpDate,
    /// Turns a grant into header fields.
    pub origins: &'a OriginRule,
    /// ms.
    pub now_ms: u64,
    /// How long a stream may stay open, ms.
    pub stream_ms: u64,
    /// Unwritten bytes with which it is read no further: its share of the room for all that waits.
    pub share_bytes: usize,
    /// Whether the server is ending, so that no connection is to be used again.
    pub ending: bool,
}

impl Env<'_> {
    /// What becomes of a connection, where its request wishes this.
    fn settle(&self, wish: Persistence) -> Persistence {
        if self.ending { Persistence::Close } else { wish }
    }
}

impl Conn {
    /// A connection that has just been accepted from there; `None` for a Unix socket.
    pub fn new(peer: Option<IpAddr>, now_ms: u64) -> Self {
        Self {
            peer,
            tls: false,
            sealed: false,
            phase: Phase::Open,
            stage: Stage::New,
            unwritten: 0,
            listed: false,
            pause: Pause::No,
            input: None,
            output: Pending::default(),
            exchange: Exchange::None,
            listeners: Tickets::None,
            timer: None,
            since_ms: now_ms,
            used_ms: None,
            progress_ms: now_ms,
            moved: 0,
        }
    }

    /// Where it comes from, and how.
    pub fn peer(&self) -> Peer {
        Peer { address: self.peer, tls: self.tls }
    }

    /// Bytes that wait to be written.
    pub fn pending(&self) -> usize {
        self.output.len()
    }

    /// The memory that they take, bytes.
    pub fn pending_weight(&self) -> usize {
        self.output.weight()
    }

    /// The memory that what has come and is not complete takes, bytes.
    pub fn input_weight(&self) -> usize {
        match self.input.as_deref() {
            None => 0,
            Some(Input::Request { tail, reader }) => tail.capacity().saturating_add(reader.weight()),
            Some(Input::Frames { decoder, tail }) => tail.capacity().saturating_add(decoder.weight()),
        }
    }

    /// The next bytes to write, in as many slices as fit; how many slices.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.output.slices(slices)
    }

    /// What the owner of the socket is to do.
    pub fn step(&self) -> Step {
        match self.phase {
            Phase::Dead => Step::Close,
            _ if !self.output.is_empty() => Step::Write,
            Phase::Open | Phase::Last | Phase::Lingering => Step::Wait,
            Phase::Finishing => Step::Close,
            Phase::Parting => Step::ShutdownWrite,
        }
    }

    /// Whether requests may be taken from what has been received.
    pub fn may_parse(&self, limits: &Limits, env: Env<'_>) -> bool {
        self.phase == Phase::Open
            && self.unwritten < limits.pipelined_requests
            && self.output.len() < env.share_bytes
            && !matches!(self.exchange, Exchange::Deferred(_))
    }

    /// Whether more may come: it would not only be added to what waits already.
    fn may_receive(&self, limits: &Limits, env: Env<'_>) -> bool {
        self.may_parse(limits, env) && self.pause == Pause::No
    }

    /// Whether the socket is to be read.
    pub fn wants_input(&self, limits: &Limits, env: Env<'_>) -> bool {
        match self.phase {
            Phase::Open => self.may_receive(limits, env),
            Phase::Last | Phase::Parting | Phase::Lingering => true,
            Phase::Finishing | Phase::Dead => false,
        }
    }

    /// Whether bytes have been received that no request was looked for in yet, and that nothing keeps from it.
    pub fn has_input(&self) -> bool {
        self.input.is_some() && self.pause == Pause::No
    }

    /// What has come waits to be read: its peer is not waited for.
    pub fn await_read(&mut self, limits: &Limits, env: Env<'_>) {
        if self.phase == Phase::Open && self.pause == Pause::No {
            self.pause = Pause::Read;
            self.mind_time(limits, env);
        }
    }

    /// What some wait for has come. Whether this one does; the time in which it did is not the peer's.
    pub fn resume(&mut self, from: Pause, limits: &Limits, env: Env<'_>) -> bool {
        if self.pause != from {
            return false;
        }
        self.pause = Pause::No;
        self.mind_time(limits, env);
        true
    }

    /// Notes since when the socket is not read, or that it is again: the time between is not the peer's. All that it had
    /// before is, so that no pause gives it any of that anew.
    pub fn mind_time(&mut self, limits: &Limits, env: Env<'_>) {
        let reads = self.may_receive(limits, env);
        match self.used_ms {
            None if !reads => {
                let used_ms = u32::try_from(env.now_ms.saturating_sub(self.since_ms)).unwrap_or(u32::MAX);
                self.used_ms = NonZeroU32::new(used_ms.saturating_add(1));
            }
            Some(used_ms) if reads => {
                self.used_ms = None;
                if self.stage != Stage::Idle {
                    self.since_ms = env.now_ms.saturating_sub(u64::from(used_ms.get()).saturating_sub(1));
                }
            }
            None | Some(_) => {}
        }
    }

    /// Takes what is kept of an incomplete request.
    pub fn take_input(&mut self) -> Option<Box<Input>> {
        self.pause = Pause::No;
        self.input.take()
    }

    /// Keeps what is not complete; or, paused, what was not looked at.
    pub fn keep_input(&mut self, input: Box<Input>, pause: Pause, limits: &Limits, env: Env<'_>) {
        if self.phase == Phase::Open {
            self.input = Some(input);
            self.pause = pause;
            self.mind_time(limits, env);
        }
    }

    /// The tickets that wait on this connection.
    pub fn tickets(&self) -> &[Ticket] {
        match &self.exchange {
            Exchange::None | Exchange::Deferred(_) => &[],
            Exchange::Sole { ticket, .. } => core::slice::from_ref(ticket),
            Exchange::Stream(stream) => core::slice::from_ref(&stream.ticket),
            Exchange::Socket(socket) => socket.tickets.as_slice(),
        }
    }

    /// The ticket that a request waits with: that of a held connect, or of a stream.
    pub fn parked(&self) -> Option<Ticket> {
        match &self.exchange {
            Exchange::Sole { ticket, .. } => Some(*ticket),
            Exchange::Stream(stream) => Some(stream.ticket),
            Exchange::None | Exchange::Deferred(_) | Exchange::Socket(_) => None,
        }
    }

    /// Whether it is more than an open connection between two requests.
    pub fn is_waiting(&self) -> bool {
        !matches!(self.exchange, Exchange::None)
    }

    /// Whether it stays open whatever is answered: a stream, a WebSocket.
    pub fn stays_open(&self) -> bool {
        matches!(self.exchange, Exchange::Stream(_) | Exchange::Socket(_))
    }

    /// Whether it is given nothing more: it is closed, or about to be, and what it was given last was a Close.
    pub fn takes_no_more(&self) -> bool {
        !matches!(self.phase, Phase::Open | Phase::Last) && (self.socket().is_some() || self.step() == Step::Close)
    }

    /// Whether it takes part in the conversation still.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// What waits with this ticket ends for another reason than events or time.
    pub fn end(&mut self, ticket: Ticket, ending: Parting<'_>, env: Env<'_>) {
        match ending {
            Parting::Superseded => self.abandon(ticket, env),
            Parting::Moved => {
                if self.socket().is_some() {
                    self.leave(ticket, false, env);
                } else if matches!(&self.exchange, Exchange::Sole { ticket: own, .. } if *own == ticket) {
                    self.fill(ticket, &Answer::default(), env);
                } else {
                    self.abandon(ticket, env);
                }
            }
            Parting::Closed { last, agreed } => {
                if last.replies.ready().next().is_some() {
                    self.fill(ticket, last, env);
                }
                if self.socket().is_some() {
                    self.leave(ticket, agreed, env);
                } else if last.replies.ready().next().is_none() {
                    self.give_up(ticket, env);
                }
            }
        }
    }

    /// The next session that wanted to hear that all is written; to be asked when it is, or never will be.
    pub fn take_listener(&mut self) -> Option<Ticket> {
        self.listeners.pop()
    }

    /// Notes how far the request under way has come.
    pub fn progressed(&mut self, progress: Progress, env: Env<'_>) {
        let stage = match progress {
            Progress::Nothing | Progress::Blank => self.between(),
            Progress::InHead => self.in_head(),
            Progress::HeadDone { .. } | Progress::InBody => Stage::Body,
        };
        self.enter(stage, env);
        if progress == (Progress::HeadDone { expects_continue: true }) {
            self.begin_output(env);
            self.output.buffer().extend_from_slice(response::CONTINUE);
        }
    }

    /// Begins a stage, and its time, unless that of the first head runs still.
    fn enter(&mut self, stage: Stage, env: Env<'_>) {
        if self.stage != stage {
            self.stage = stage;
            if !self.is_first() {
                self.since_ms = env.now_ms;
            }
        }
    }

    /// Whether no request head has come whole yet.
    fn is_first(&self) -> bool {
        matches!(self.stage, Stage::New | Stage::Handshake | Stage::FirstHead)
    }

    /// The stage in which no part of a request has come.
    fn between(&self) -> Stage {
        if self.is_first() { Stage::New } else { Stage::Idle }
    }

    /// The stage in which part of a head has come.
    fn in_head(&self) -> Stage {
        if self.is_first() { Stage::FirstHead } else { Stage::Head }
    }

    /// A whole request has been taken; the next one has not begun.
    pub fn request_taken(&mut self, env: Env<'_>) {
        self.stage = Stage::Idle;
        self.since_ms = env.now_ms;
    }

    /// Discards what comes after an error; the phase ends when it is too much.
    pub fn discard(&mut self, bytes: usize) {
        if self.phase == Phase::Lingering {
            self.moved = self.moved.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
            if self.moved as usize > limits::LINGER_BYTES {
                self.phase = Phase::Dead;
            }
        }
    }

    /// Answers a fault after which nothing of the connection can be trusted: answer, shut, discard, close.
    pub fn fail(&mut self, refusal: &Refusal, env: Env<'_>) {
        self.input = None;
        if let Exchange::Deferred(_) = self.exchange {
            // This is its answer.
            self.exchange = Exchange::None;
        }
        self.refuse(refusal, true, Persistence::Close, env);
    }

    /// Bytes are about to be appended: the time in which the peer must take some of them begins, unless it runs.
    fn begin_output(&mut self, env: Env<'_>) {
        if !self.is_writing() {
            self.progress_ms = env.now_ms;
            self.moved = 0;
        }
    }

    /// Whether something waits for the socket to take it.
    fn is_writing(&self) -> bool {
        self.sealed || !self.output.is_empty()
    }

    fn written_out(&mut self, persistence: Persistence, env: Env<'_>) {
        self.unwritten = self.unwritten.saturating_add(1);
        if self.is_between() {
            self.since_ms = env.now_ms;
        }
        if persistence == Persistence::Close && matches!(self.phase, Phase::Open | Phase::Last) {
            self.phase = Phase::Parting;
            self.input = None;
        }
    }

    /// The socket took so many bytes; whether all are written now.
    pub fn sent(&mut self, n: usize, limits: &Limits, env: Env<'_>) -> bool {
        self.mind_time(limits, env);
        self.output.advance(n);
        let all = self.output.is_empty();
        self.moved = self.moved.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
        // Who takes a byte now and then keeps what is pending for ever.
        if all || self.moved as usize >= limits.write_bytes {
            self.progress_ms = env.now_ms;
            self.moved = 0;
        }
        if all {
            self.unwritten = 0;
            if self.pause == Pause::Output {
                self.pause = Pause::No;
            }
        }
        self.mind_time(limits, env);
        if all && self.is_between() {
            self.since_ms = env.now_ms;
        }
        if all {
            self.pong_at_last(env);
        }
        all
    }

    /// Our side of the socket has been shut after an error.
    pub fn write_shut(&mut self, env: Env<'_>) {
        self.phase = Phase::Lingering;
        self.moved = 0;
        self.since_ms = env.now_ms;
    }

    /// The peer will send no more. With a request waiting that means it is gone; else it gets what is still to be written.
    pub fn peer_closed(&mut self) {
        self.phase = match self.phase {
            Phase::Open | Phase::Parting | Phase::Finishing if !self.is_waiting() => Phase::Finishing,
            _ => Phase::Dead,
        };
        self.input = None;
    }

    /// Closes the connection without another byte.
    pub fn kill(&mut self) {
        self.phase = Phase::Dead;
        self.output.clear();
        self.input = None;
    }

    /// Whether a request or an answer is under way on it.
    pub fn is_unfinished(&self) -> bool {
        !self.is_between() || self.is_waiting() || !self.output.is_empty() || self.pause != Pause::No
    }

    /// Whether no part of a request has come.
    fn is_between(&self) -> bool {
        matches!(self.stage, Stage::New | Stage::Idle)
    }

    /// Whether it has not had a request yet: the first may be on its way.
    pub fn is_new(&self) -> bool {
        self.stage == Stage::New
    }

    /// Whether nothing is under way on it, a parting included.
    pub fn is_quiet(&self) -> bool {
        self.phase == Phase::Open && !self.is_unfinished()
    }

    /// When [`Conn::timed_out`] is due, ms. Nothing is due while a poll is parked.
    pub fn deadline(&self, limits: &Limits, env: Env<'_>) -> Option<u64> {
        let writing = self.is_writing().then(|| self.progress_ms.saturating_add(limits.write_ms));
        let since = |ms: u64| Some(self.since_ms.saturating_add(ms));
        let reading = match (self.phase, self.stage) {
            (Phase::Dead | Phase::Finishing | Phase::Parting, _) => None,
            (Phase::Lingering, _) => since(limits.linger_ms),
            // While it waits for its turn, the peer is not waited for.
            (Phase::Open, _) if matches!(self.pause, Pause::Turn | Pause::Read) => None,
            (Phase::Open, Stage::New | Stage::Handshake) => since(limits.head_ms),
            (Phase::Open, Stage::FirstHead | Stage::Head) if self.may_receive(limits, env) => since(limits.head_ms),
            (Phase::Open, Stage::Body) if self.may_receive(limits, env) => since(limits.body_ms),
            (Phase::Open | Phase::Last, _) if !self.output.is_empty() => None,
            (Phase::Open | Phase::Last, _) => match &self.exchange {
                Exchange::None if self.phase == Phase::Open => since(limits.idle_ms),
                Exchange::Stream(stream) => Some(stream.deadline(self.progress_ms, limits)),
                Exchange::Socket(socket) => socket.deadline(self.since_ms, limits),
                Exchange::None | Exchange::Sole { .. } | Exchange::Deferred(_) => None,
            },
        };
        match (writing, reading) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// A deadline has passed: does what is the connection's own to do about it, and says what is the engine's.
    pub fn timed_out(&mut self, limits: &Limits, env: Env<'_>) -> Overdue {
        let stuck = self.is_writing() && self.progress_ms.saturating_add(limits.write_ms) <= env.now_ms;
        if stuck || !matches!(self.phase, Phase::Open | Phase::Last) {
            self.kill();
            return if stuck { Overdue::Stuck } else { Overdue::Nothing };
        }
        let slow = self.phase == Phase::Open && !self.is_between();
        match &self.exchange {
            _ if slow => Overdue::Slow,
            Exchange::Stream(stream) if stream.is_aged(env) => Overdue::Aged,
            Exchange::Socket(socket) if socket.is_aged(env) => Overdue::Aged,
            Exchange::Stream(_) => {
                self.beat(env);
                Overdue::Nothing
            }
            Exchange::Socket(_) => self.ping_or_close(limits, env),
            Exchange::None | Exchange::Sole { .. } | Exchange::Deferred(_) => {
                self.kill();
                Overdue::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests;
