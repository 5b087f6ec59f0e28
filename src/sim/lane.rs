//! One connection of a model client: what has been asked on it, and what has come.
//!
//! Owns the order of requests and answers. What an answer means to the client is the client's business.

use std::collections::{BTreeMap, VecDeque};

use super::invariants::{Mark, SessionNo};
use super::network::WireId;
use super::speech::Responses;

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
            Self::Publish(_) => "",
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
}

impl Call {
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
}

impl Lane {
    /// A connection that has just been opened.
    pub(crate) fn new(now: u64) -> Self {
        Self {
            responses: Responses::default(),
            calls: VecDeque::new(),
            outgoing: Vec::new(),
            idle_since: now,
            finished: false,
        }
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
