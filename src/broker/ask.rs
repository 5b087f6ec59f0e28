//! Asking policies and authorizers.
//!
//! Owns what is asked of whom, in which order, and what the answers come to. A question is known by its place among those of
//! its message: when the answer to one that was deferred has come, the message is begun again, and those before it are not
//! asked again.

use crate::bayeux::pattern::Reach;
use crate::bayeux::{Channel, Error, Message, Pattern};
use crate::hooks::{
    Admission, Attributes, Denial, Operation, Opinion, Origin, PolicyTicket, Query, Session, SessionId, Verdict,
};

use super::session::{Reach as Reached, SessionKey};
use super::{Broker, sums};

/// The reason if there are authorizers and none of them grants; as CometD says it.
const NOT_GRANTED: &str = "denied_by_not_granting";

/// Why a message does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Somebody says no.
    Denied(Operation, Denial),
    /// There are too many channels.
    NoRoom,
    /// The policy answers this question later.
    Deferred(Pending),
}

/// A question that is answered later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    /// Its place among those of its message.
    pub(super) question: u32,
    /// What its answer will be known by. It is never given again, whatever becomes of the message.
    pub(super) ticket: u64,
    /// The questions about channels that were not there which have been asked by now.
    pub(super) creates: Vec<u32>,
}

impl Pending {
    fn new(question: u32, ticket: PolicyTicket) -> Self {
        Self { question, ticket: ticket.0, creates: Vec::new() }
    }

    /// With its answer.
    pub(super) fn settled(self, result: Result<Admission, Denial>) -> Settled {
        Settled { question: self.question, result, creates: self.creates }
    }
}

impl Stop {
    /// The question that is answered later, if that is why.
    pub(super) fn into_pending(self, questions: Questions) -> Option<Pending> {
        match self {
            Self::Deferred(pending) => Some(Pending { creates: questions.creates, ..pending }),
            Self::Denied(..) | Self::NoRoom => None,
        }
    }
}

/// The answer to a question that was deferred.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    /// Which one.
    pub(super) question: u32,
    /// What the policy says; the terms are for a handshake.
    pub(super) result: Result<Admission, Denial>,
    /// The questions about channels that were not there which had been asked by then.
    pub(super) creates: Vec<u32>,
}

/// How far a message has come in what is asked about it.
#[derive(Clone, Debug, Default)]
pub(super) struct Questions {
    next: u32,
    settled: Option<Settled>,
    /// Those about channels that were not there which have been asked.
    creates: Vec<u32>,
}

impl Questions {
    /// Those of a message that goes on where the policy has answered.
    pub(super) fn settled(settled: Option<Settled>) -> Self {
        let creates = settled.as_ref().map(|settled| settled.creates.clone()).unwrap_or_default();
        Self { next: 0, settled, creates }
    }

    /// Whether the policy has answered one of them.
    pub(super) fn have_answer(&self) -> bool {
        self.settled.is_some()
    }

    /// Numbers a question: who still has to be asked.
    fn take(&mut self) -> (u32, Left) {
        let number = self.next;
        self.next = number.saturating_add(1);
        let left = match self.settled.take_if(|settled| settled.question <= number) {
            Some(Settled { result: Err(denial), .. }) => Left::Denied(denial),
            Some(Settled { result: Ok(_), .. }) => Left::Authorizers,
            None if self.settled.is_some() => Left::Nobody,
            None => Left::All,
        };
        (number, left)
    }
}

/// Who still has to be asked about something.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Left {
    All,
    Authorizers,
    Nobody,
    Denied(Denial),
}

impl Left {
    /// Whether the answer that has come is no: it holds, whatever has happened meanwhile.
    fn is_no(&self) -> bool {
        matches!(self, Self::Denied(_))
    }
}

/// What a question is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) message: &'a Message<'a>,
    pub(super) origin: Origin<'a>,
    pub(super) session: Option<SessionKey>,
}

/// A session while hooks look at it: what is written on it is with them.
pub(super) struct Seen {
    pub(super) key: SessionKey,
    kind: crate::hooks::SessionKind,
    address: Option<core::net::IpAddr>,
    attributes: Attributes,
    /// What these took before, bytes.
    before: usize,
}

impl Seen {
    pub(super) fn view(&mut self) -> Session<'_> {
        Session {
            id: SessionId::from_bits(self.key.to_bits()),
            kind: self.kind,
            address: self.address,
            attributes: &mut self.attributes,
        }
    }
}

impl Broker {
    /// Takes a session out for hooks to look at; to be given back with [`Broker::unsee`].
    pub(super) fn see(&mut self, key: SessionKey, origin: Origin<'_>) -> Option<Seen> {
        let session = self.sessions.get_mut(key)?;
        let kind = match session.reach {
            Reached::Guest { .. } => crate::hooks::SessionKind::Guest,
            Reached::Local => crate::hooks::SessionKind::Local,
            _ => crate::hooks::SessionKind::Remote,
        };
        let attributes = session.extras.as_mut().map(|extras| core::mem::take(&mut extras.attributes));
        let attributes = attributes.unwrap_or_default();
        Some(Seen { key, kind, address: origin.address, before: attributes.bytes(), attributes })
    }

    /// Gives it back.
    pub(super) fn unsee(&mut self, seen: Seen) {
        sums::take(&mut self.attribute_bytes, seen.before);
        sums::put(&mut self.attribute_bytes, seen.attributes.bytes());
        let Some(session) = self.sessions.get_mut(seen.key) else { return };
        if !seen.attributes.is_empty() || session.extras.is_some() {
            session.extras.get_or_insert_default().attributes = seen.attributes;
        }
    }

    /// May a handshake make a session, and on what terms? Denied is said with the operation of making anything.
    pub(super) fn may_begin(
        &mut self,
        (message, origin): (&Message<'_>, Origin<'_>),
        questions: &mut Questions,
    ) -> Result<Admission, Stop> {
        let denied = |denial| Err(Stop::Denied(Operation::Create, denial));
        if let Some(settled) = questions.settled.take() {
            return settled.result.or_else(denied);
        }
        let query = Query { message, origin, now: self.now(), ticket: PolicyTicket(self.deferred.new_ticket()) };
        let mut admission = Admission::default();
        match self.hooks.policy.as_mut().map(|policy| policy.can_handshake(&query, &mut admission)) {
            None | Some(Verdict::Allow) => Ok(admission),
            Some(Verdict::Deny(denial)) => denied(denial),
            Some(Verdict::Defer) => Err(Stop::Deferred(Pending::new(0, query.ticket))),
        }
    }

    /// May a subscribe have this name?
    pub(super) fn may_have(
        &mut self,
        asked: Asked<'_>,
        pattern: Pattern<'_>,
        questions: &mut Questions,
    ) -> Result<(), Stop> {
        self.may_do(asked, (Operation::Subscribe, pattern), questions)
    }

    /// May a publish go to this channel?
    pub(super) fn may_publish(
        &mut self,
        asked: Asked<'_>,
        channel: Channel<'_>,
        questions: &mut Questions,
    ) -> Result<(), Stop> {
        self.may_do(asked, (Operation::Publish, Pattern::Exact(channel)), questions)
    }

    fn may_do(
        &mut self,
        asked: Asked<'_>,
        (operation, pattern): (Operation, Pattern<'_>),
        questions: &mut Questions,
    ) -> Result<(), Stop> {
        if !self.hooks.want_origin() {
            return Ok(());
        }
        let name = pattern.to_string();
        let (number, mut left) = questions.take();
        let is_new = !self.is_known(pattern);
        if is_new {
            self.has_room(pattern)?;
        }
        if is_new || left.is_no() {
            if !questions.creates.contains(&number) {
                questions.creates.push(number);
                // The channel was there when others were asked about, and has gone since.
                left = if left == Left::Nobody { Left::All } else { left };
            }
            self.ask(asked, (Operation::Create, pattern, &name), (number, left))?;
        }
        self.ask(asked, (operation, pattern, &name), questions.take())
    }

    /// Whether there is room for another channel; those of services take none.
    fn has_room(&self, pattern: Pattern<'_>) -> Result<(), Stop> {
        let full = self.channels.len() >= self.limits.channels;
        if full && !pattern.is_service() { Err(Stop::NoRoom) } else { Ok(()) }
    }

    /// Puts one question to those who have not answered it.
    fn ask(
        &mut self,
        asked: Asked<'_>,
        (operation, pattern, name): (Operation, Pattern<'_>, &str),
        (number, left): (u32, Left),
    ) -> Result<(), Stop> {
        let ask_policy = match left {
            Left::Nobody => return Ok(()),
            Left::Denied(denial) => return Err(Stop::Denied(operation, denial)),
            Left::All => true,
            Left::Authorizers => false,
        };
        let Asked { message, origin, session } = asked;
        let query = Query { message, origin, now: self.now(), ticket: PolicyTicket(self.deferred.new_ticket()) };
        let mut seen = session.and_then(|key| self.see(key, origin));
        let mut view = seen.as_mut().map(Seen::view);
        let by_policy = match (self.hooks.policy.as_mut().filter(|_| ask_policy), operation, &mut view) {
            (None, ..) => Verdict::Allow,
            (Some(policy), Operation::Create, view) => policy.can_create(&query, view.as_mut(), name),
            (Some(policy), Operation::Publish, view) => policy.can_publish(&query, view.as_mut(), name),
            (Some(policy), Operation::Subscribe, Some(view)) => policy.can_subscribe(&query, view, name),
            (Some(_), Operation::Subscribe, None) => Verdict::deny("there is no session"),
        };
        let result = match by_policy {
            Verdict::Defer => Err(Stop::Deferred(Pending::new(number, query.ticket))),
            Verdict::Deny(denial) => Err(Stop::Denied(operation, denial)),
            Verdict::Allow => self.hooks.authorize((operation, pattern, name), &query, view),
        };
        if let Some(seen) = seen {
            self.unsee(seen);
        }
        result
    }

    /// Whether a channel, or a pattern, has come into being: somebody is subscribed to it, or it is known to hooks.
    pub(super) fn is_known(&mut self, pattern: Pattern<'_>) -> bool {
        match pattern {
            Pattern::Exact(channel) if self.channels.has(channel.as_str()) => true,
            _ => self.topics.find(pattern).is_some() || self.channels.has(&pattern.to_string()),
        }
    }

    /// A question of plain HTTP, which cannot wait: what is deferred is no.
    pub(super) fn at_once(stop: Stop) -> Denial {
        match stop {
            Stop::Denied(_, Denial { error: Some(error), .. }) => Denial::new(error),
            Stop::Denied(_, denial) => denial,
            Stop::NoRoom => Denial::new("there are too many channels"),
            Stop::Deferred(_) => Denial::new("the policy answers later, for which a plain request cannot wait"),
        }
    }

    /// How a refusal is said in the reply to a message of this kind.
    pub(super) fn error_of(stop: &Stop, publishing: bool) -> Error<'_> {
        match stop {
            Stop::Denied(_, Denial { error: Some(error), .. }) => Error::Custom(error),
            Stop::Denied(Operation::Create, denial) if publishing => Error::ChannelCreateDenied(&denial.reason),
            Stop::Denied(Operation::Create, denial) => Error::CreateDenied(&denial.reason),
            Stop::Denied(Operation::Subscribe, denial) => Error::SubscribeDenied(&denial.reason),
            Stop::Denied(Operation::Publish, denial) => Error::PublishDenied(&denial.reason),
            Stop::NoRoom => Error::ChannelLimit,
            Stop::Deferred(_) => Error::DeferredLimit,
        }
    }
}

impl crate::hooks::Hooks {
    /// What the authorizers say; see [`Authorizer`](crate::hooks::Authorizer).
    ///
    /// A subscription to a wildcard may reach channels that have authorizers of their own. It is granted by those who have a
    /// say in all that it reaches, or else by all who have one in some of it; any of both may deny.
    fn authorize(
        &mut self,
        (operation, pattern, name): (Operation, Pattern<'_>, &str),
        query: &Query<'_>,
        mut view: Option<Session<'_>>,
    ) -> Result<(), Stop> {
        let (mut over_all, mut granted_by_all) = (false, false);
        let mut granted_by_parts = true;
        for (own, authorizer) in &mut self.authorizers {
            let reach = own.reach(pattern);
            if reach == Reach::None {
                continue;
            }
            let opinion = authorizer.authorize(operation, query, view.as_mut(), name);
            match (opinion, reach) {
                (Opinion::Deny(denial), _) => return Err(Stop::Denied(operation, denial)),
                (opinion, Reach::All) => {
                    over_all = true;
                    granted_by_all |= opinion == Opinion::Grant;
                }
                (opinion, _) => granted_by_parts &= opinion == Opinion::Grant,
            }
        }
        let granted = if over_all { granted_by_all } else { granted_by_parts };
        if granted { Ok(()) } else { Err(Stop::Denied(operation, Denial::new(NOT_GRANTED))) }
    }
}
