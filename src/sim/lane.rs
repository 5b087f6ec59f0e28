//! One connection of a model client: what has been asked on it, and what has come.
//!
//! Owns the order of requests and answers. What an answer means to the client is the client's business.

use std::collections::{BTreeMap, VecDeque};

use super::frames::Frames;
use super::invariants::{Mark, Path, SessionNo};
use super::network::WireId;
use super::speech::Responses;

/// A transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    LongPolling,
    Streaming,
    WebSocket,
    EventSource,
}

impl Way {
    /// All of them.
    pub(crate) const ALL: &[Self] = &[Self::LongPolling, Self::Streaming, Self::WebSocket, Self::EventSource];

    /// Its name as a connection type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LongPolling => "long-polling",
            Self::Streaming => "streaming",
            Self::WebSocket => "websocket",
            Self::EventSource => "eventsource",
        }
    }
}

/// What one message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Handshake,
    /// The session's connect of this number.
    Connect(u64),
    Subscribe(Vec<&'static str>),
    Unsubscribe(&'static str),
    Publish(Mark),
    Disconnect,
    /// To become a WebSocket.
    Upgrade,
    /// An event source.
    Attach,
    /// The stream of this number gets through.
    Confirm(u64),
}

impl What {
    /// The channel of the message and of its reply, but for a publish.
    pub(crate) fn channel(&self) -> &'static str {
        match self {
            Self::Handshake => "/meta/handshake",
            Self::Connect(_) => "/meta/connect",
            Self::Subscribe(_) => "/meta/subscribe",
            Self::Unsubscribe(_) => "/meta/unsubscribe",
            Self::Disconnect => "/meta/disconnect",
            Self::Confirm(_) => "/service/probe",
            Self::Publish(_) | Self::Upgrade | Self::Attach => "",
        }
    }
}

/// One message of a request, and the reply that it must get.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) what: What,
    pub(crate) id: String,
    pub(crate) channel: String,
}

/// A request under way.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) serial: u64,
    pub(crate) at: u64,
    pub(crate) session: Option<SessionNo>,
    pub(crate) asked: Vec<Asked>,
    /// The transport that the client used then.
    pub(crate) way: Way,
    /// The rank of the way that events take with it, or since it.
    pub(crate) rank: u64,
    /// A newer connect may have taken its place without a word, as on a WebSocket.
    pub(crate) forsaken: bool,
}

impl Call {
    /// The way of events that come with its answer.
    pub(crate) fn path(&self, wire: WireId) -> Path {
        Path { wire, low: self.rank, high: self.rank }
    }

    /// Whether it decides where events go.
    pub(crate) fn diverts(&self) -> bool {
        self.asks(|what| matches!(what, What::Connect(_) | What::Attach))
    }

    /// The connect that is the whole request, and so may be held or superseded.
    pub(crate) fn sole_connect(&self) -> Option<u64> {
        match self.asked.as_slice() {
            [Asked { what: What::Connect(serial), .. }] => Some(*serial),
            _ => None,
        }
    }

    /// Whether it asks for that.
    pub(crate) fn asks(&self, wanted: impl Fn(&What) -> bool) -> bool {
        self.asked.iter().any(|asked| wanted(&asked.what))
    }
}

/// What a connection is that has become a WebSocket, or is about to.
#[derive(Debug, Default)]
pub(crate) struct Socket {
    /// Since the answer to its upgrade.
    pub(crate) frames: Option<Frames>,
    /// Frames that wait for that.
    pub(crate) backlog: Vec<u8>,
    /// The ranks that the way of its events may have; only the greater one from then on.
    pub(crate) ranks: (u64, u64),
    pub(crate) ranked_by: u64,
    /// Whose events come on it.
    pub(crate) session: Option<SessionNo>,
    /// Pings without a pong.
    pub(crate) pings: usize,
    /// A Close has been sent.
    pub(crate) closing: bool,
    /// The server has closed it, to try again later: too much was being received.
    pub(crate) refused: bool,
    /// It was the first one.
    pub(crate) left: bool,
}

impl Socket {
    /// The way of events that come now.
    pub(crate) fn path(&self, wire: WireId, now: u64) -> Path {
        let (low, high) = self.ranks;
        Path { wire, low: if now >= self.ranked_by { high } else { low }, high }
    }
}

/// A response that stays open.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// The probe has been confirmed.
    pub(crate) confirmed: bool,
    /// The reply to the connect has come: the end is next.
    pub(crate) replied: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) responses: Responses,
    /// Requests without an answer, oldest first.
    pub(crate) calls: VecDeque<Call>,
    /// Requests that are written and not yet sent: what a client says in one go leaves in one piece.
    pub(crate) outgoing: Vec<u8>,
    /// When the last answer came.
    pub(crate) idle_since: u64,
    /// Its sending side has been ended: the server may close it without an answer.
    pub(crate) finished: bool,
    pub(crate) open: Option<Open>,
    pub(crate) socket: Option<Box<Socket>>,
}

impl Lane {
    /// A connection that has just been opened.
    pub(crate) fn new(now: u64, behind_proxy: bool) -> Self {
        Self {
            responses: Responses::new(behind_proxy),
            calls: VecDeque::new(),
            outgoing: Vec::new(),
            idle_since: now,
            finished: false,
            open: None,
            socket: None,
        }
    }

    /// Whether it is a WebSocket that can still be used.
    pub(crate) fn is_socket(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| !socket.closing) && !self.finished
    }

    /// Whether nothing is awaited on it but the end of held connects.
    pub(crate) fn only_waits(&self) -> bool {
        self.calls.iter().all(|call| call.sole_connect().is_some() || call.diverts())
    }

    /// Whether publishes are under way on it.
    pub(crate) fn publishes(&self) -> bool {
        self.calls.iter().any(|call| call.asks(|what| matches!(what, What::Publish(_))))
    }

    /// Whether it has nothing more to bring, and no one has a use for it.
    pub(crate) fn is_done(&self) -> bool {
        self.calls.is_empty() && self.open.is_none() && self.socket.is_none()
    }
}

/// When someone wants to be called, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// To go on with whatever is to be done next.
    GoOn,
    /// To publish.
    Publish,
    /// To do something that a tidy client would not do.
    Act,
    /// To come back after having vanished.
    Return,
    /// To see that a request has been answered.
    Overdue(WireId, u64),
    /// The server's own publishes, and its dismissals.
    Server,
    /// To close a WebSocket that has been left.
    Retire(WireId),
}

/// All alarms of a crowd.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    set: BTreeMap<(u64, u64), (usize, Alarm)>,
    serial: u64,
}

impl Alarms {
    /// Sets one.
    pub(crate) fn push(&mut self, at: u64, who: usize, alarm: Alarm) {
        self.serial += 1;
        self.set.insert((at, self.serial), (who, alarm));
    }

    /// When the next one rings.
    pub(crate) fn next(&self) -> Option<u64> {
        self.set.first_key_value().map(|((at, _), _)| *at)
    }

    /// One that rings by now.
    pub(crate) fn pop(&mut self, now: u64) -> Option<(usize, Alarm)> {
        if self.next()? > now {
            return None;
        }
        self.set.pop_first().map(|(_, ring)| ring)
    }
}
