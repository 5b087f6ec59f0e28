//! Owns what the swarm needs of a client of whatever protocol: [`Client`] with its requests, its events and its faults.
//! Pure: no sockets, no clock.
//!
//! # A further protocol
//!
//! The swarm holds [`Client`], an enum with a variant for each protocol. A protocol comes in three places:
//!
//! 1. A variant of [`Client`], in a file beside `session`, whose value provides, as [`Session`] does for Bayeux:
//!    - `begin`: writes the first request into [`Output::request`];
//!    - `receive(lane, bytes)` → [`Step`]: takes bytes of the server in pieces of any size, puts the events among them
//!      into [`Output::events`] (read their data with [`Event::read`]) and what is to be sent next into
//!      [`Output::request`];
//!    - `resume`: goes on after a [`Step::Pause`];
//!    - `returns`: all its connections are gone; goes on in the same session on new ones, writing as `begin` does;
//!    - `ended(lane)`: the server closed that connection, and this is what it means;
//!    - `is_parked`: all that is published from now on reaches it; `channels`: what it subscribed to, as places in
//!      [`Script::channels`];
//!    - `fail`: it is over; `doing`: its state in words.
//! 2. A variant of [`Protocol`], with how a publish is written and how its answer is judged.
//! 3. A name for it in `args`.

mod session;

pub(crate) use session::Session;

use crate::bayeux::Transport;
use crate::event::{Batch, Event};
use crate::foreign::nchan::Subscriber;
use crate::http::{HttpError, Target};
use crate::protocol::Protocol;
use crate::websocket::Codec;
use std::fmt;
use std::rc::Rc;

/// What is the same for all clients of a run.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// What they speak.
    pub(crate) protocol: Protocol,
    /// Where requests go.
    pub(crate) target: Target,
    /// Where messages are published, if the protocol has a place of its own for that.
    pub(crate) publish: Target,
    /// The channels of the run.
    pub(crate) channels: Vec<String>,
    /// Whether WebSockets offer compression.
    pub(crate) deflate: bool,
    /// Whether events are acknowledged.
    pub(crate) ack: bool,
}

/// What one client does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Role {
    /// How it reaches the server.
    pub(crate) transport: Transport,
    /// What it subscribes to: places in [`Script::channels`], ascending.
    pub(crate) channels: Rc<[u32]>,
    /// Whether it begins anew when the server has forgotten its session, in place of failing.
    pub(crate) persists: bool,
}

/// One of the two connections of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// On which its events come.
    Main,
    /// For requests beside it.
    Side,
}

/// What went wrong with a client; each is counted under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FaultKind {
    /// The socket failed, or could not be had.
    Io,
    /// The server closed the connection before it had answered.
    Closed,
    /// The two sides could not agree on TLS, or the server is not trusted.
    Tls,
    /// The bytes are no HTTP response.
    Http,
    /// A status other than 200, or than 101 to an upgrade.
    Status,
    /// The bytes are no frames of a server.
    Frame,
    /// The body is no Bayeux batch, or not the one asked for.
    Protocol,
    /// The session is unknown to the server.
    SessionUnknown,
    /// The server refused.
    Refused,
    /// The advice was not to go on.
    Advice,
}

impl FaultKind {
    /// The key in the report.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::Closed => "closed",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Status => "status",
            Self::Frame => "frame",
            Self::Protocol => "protocol",
            Self::SessionUnknown => "session_unknown",
            Self::Refused => "refused",
            Self::Advice => "advice",
        }
    }
}

/// A failure, which ends the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What it is counted as.
    pub(crate) kind: FaultKind,
    /// What happened, in words.
    pub(crate) text: String,
}

impl Fault {
    /// A fault of `kind`, described by `text`.
    pub(crate) fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl From<HttpError> for Fault {
    fn from(error: HttpError) -> Self {
        Self::new(FaultKind::Http, error.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What to do after bytes were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send what is in the output, if there is something, and wait.
    Wait,
    /// The same, and call [`Client::resume`] after so many milliseconds.
    Pause(u64),
}

/// What the end of a connection means to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nothing: it opens another when it needs one.
    Nothing,
    /// It goes on with what is in the output.
    GoesOn,
    /// It is lost.
    Fault(Fault),
}

/// What a client hands out; one for all clients, cleared by whoever reads it.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// What is to be sent on the main lane.
    pub(crate) request: Vec<u8>,
    /// What is to be sent on the side lane.
    pub(crate) side: Vec<u8>,
    /// The lane is done with; it is closed before anything is sent on it.
    pub(crate) close: Option<Lane>,
    /// The events that came.
    pub(crate) events: Vec<Event>,
    /// The data of other events, where a client listens to something else than numbers.
    pub(crate) notes: Vec<Box<str>>,
    /// Held connects that were answered without an event.
    pub(crate) empty_polls: u64,
    /// WebSockets that were opened with compression agreed on.
    pub(crate) deflating: u64,
    /// Messages that came compressed.
    pub(crate) deflated: u64,
    /// Messages that this client published and the server took.
    pub(crate) accepted: u64,
    /// Messages that this client published and the server refused.
    pub(crate) refused: u64,
    /// Events that the server says it has dropped.
    pub(crate) dropped: u64,
    /// Sessions that the server had forgotten, and that began anew.
    pub(crate) anew: u64,
    body: Vec<u8>,
    pub(crate) codec: Codec,
}

impl Output {
    /// Forgets everything but the memory.
    pub(crate) fn clear(&mut self) {
        let Self { request, side, close, events, notes, body, codec: _, .. } = self;
        for bytes in [request, side, body] {
            bytes.clear();
        }
        events.clear();
        notes.clear();
        *close = None;
        (self.empty_polls, self.deflating, self.deflated) = (0, 0, 0);
        (self.accepted, self.refused, self.dropped, self.anew) = (0, 0, 0, 0);
    }
}

/// A client of some protocol.
#[derive(Debug)]
pub(crate) enum Client {
    /// Of Bayeux.
    Bayeux(Session),
    /// Of nchan.
    Nchan(Subscriber),
}

impl Client {
    /// Writes the first request.
    pub(crate) fn begin(&mut self, script: &Script, output: &mut Output) {
        match self {
            Self::Bayeux(session) => session.begin(script, output),
            Self::Nchan(subscriber) => subscriber.begin(script, output),
        }
    }

    /// Takes bytes of the server.
    pub(crate) fn receive(
        &mut self,
        lane: Lane,
        bytes: &[u8],
        script: &Script,
        output: &mut Output,
    ) -> Result<Step, Fault> {
        match self {
            Self::Bayeux(session) => session.receive(lane, bytes, script, output),
            Self::Nchan(subscriber) => subscriber.receive(bytes, script, output),
        }
    }

    /// Goes on after a pause.
    pub(crate) fn resume(&mut self, script: &Script, output: &mut Output) {
        match self {
            Self::Bayeux(session) => session.resume(script, output),
            // It never pauses.
            Self::Nchan(_) => {}
        }
    }

    /// Goes on in the same session after all its connections are gone.
    pub(crate) fn returns(&mut self, script: &Script, output: &mut Output) {
        match self {
            Self::Bayeux(session) => session.returns(script, output),
            Self::Nchan(subscriber) => subscriber.begin(script, output),
        }
    }

    /// The server closed a connection.
    pub(crate) fn ended(&mut self, lane: Lane, script: &Script, output: &mut Output) -> Ended {
        match self {
            Self::Bayeux(session) => session.ended(lane, script, output),
            Self::Nchan(subscriber) => subscriber.ended(),
        }
    }

    /// Publishes over its own transport.
    pub(crate) fn publish(&mut self, channel: &str, batch: Batch, script: &Script, output: &mut Output) {
        match self {
            Self::Bayeux(session) => session.publish(channel, batch, script, output),
            // A subscriber cannot: `mixed` does not take this protocol.
            Self::Nchan(_) => {}
        }
    }

    /// Whether all that is published from now on reaches it.
    pub(crate) fn is_parked(&self) -> bool {
        match self {
            Self::Bayeux(session) => session.is_parked(),
            Self::Nchan(subscriber) => subscriber.is_parked(),
        }
    }

    /// What it subscribed to, as places in [`Script::channels`].
    pub(crate) fn channels(&self) -> &Rc<[u32]> {
        match self {
            Self::Bayeux(session) => session.channels(),
            Self::Nchan(subscriber) => subscriber.channels(),
        }
    }

    /// The session to publish with, where the protocol has them.
    pub(crate) fn session(&self) -> Option<&Session> {
        match self {
            Self::Bayeux(session) => Some(session),
            Self::Nchan(_) => None,
        }
    }

    /// Ends it.
    pub(crate) fn fail(&mut self) {
        match self {
            Self::Bayeux(session) => session.fail(),
            Self::Nchan(subscriber) => subscriber.fail(),
        }
    }
}
