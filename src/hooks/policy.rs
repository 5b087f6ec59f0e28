//! Who may do what.
//!
//! Owns the questions and the answers. A policy and the authorizers decide from what they are given and must not act; a
//! policy may also say that its answer comes later.

use core::net::IpAddr;

use crate::bayeux::{Message, ReplyAdvice};
use crate::clock::Now;
use crate::http::head::Head;

use super::session::{Attributes, Session};

/// The request that brought a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// The request's head with all its header fields; of a WebSocket, that of the request that opened it. `None` for a
    /// local session, and where nobody wants to know.
    pub(crate) head: Option<&'a Head<'a>>,
    /// Where it came from; behind a trusted proxy, the client's address.
    pub(crate) address: Option<IpAddr>,
    /// Whether it is a local session's.
    pub(crate) local: bool,
}

/// Names a question whose answer comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyTicket(pub(crate) u64);

/// What a policy is asked about: a message, and the request that brought it.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    pub(crate) message: &'a Message<'a>,
    pub(crate) origin: Origin<'a>,
    pub(crate) now: Now,
    pub(crate) ticket: PolicyTicket,
}

impl<'a> Query<'a> {
    /// The message. Of a plain request, what a client of Bayeux would have sent.
    #[must_use]
    pub fn message(&self) -> &'a Message<'a> {
        self.message
    }

    /// A header field of the request, by its name in any case; on a WebSocket, of the request that opened it. Of several the
    /// first.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.origin.head?.header(name)
    }

    /// All header fields of the request of a name, in order; as [`Query::header`].
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.origin.head.into_iter().flat_map(move |head| head.values(name))
    }

    /// Whether a [local session](crate::server::LocalSession) asks, or wants to be one.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.origin.local
    }

    /// The query string of the request, as it was sent; on a WebSocket, of the request that opened it.
    #[must_use]
    pub fn query_string(&self) -> Option<&'a str> {
        self.origin.head?.query
    }

    /// Where the request came from; behind a trusted proxy, the client's address. `None` for a Unix socket and for a local
    /// session.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.origin.address
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// Names this very question. To be kept by a policy that says [`Verdict::Defer`], for the answer.
    #[must_use]
    pub fn ticket(&self) -> PolicyTicket {
        self.ticket
    }
}

/// A refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Denial {
    /// Stands in the error string: `403:<reason>:publish_denied`.
    pub reason: String,
    /// The whole error string (`code:args:message`) in place of the one that is usual.
    pub error: Option<String>,
    /// Goes with the reply. A denied handshake says `reconnect:"none"` without it; one that says to shake hands again with
    /// an `interval` of 0 gets one of a second, or Faye would do so in a loop.
    pub advice: Option<ReplyAdvice>,
}

impl Denial {
    /// A refusal for this reason.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..Self::default() }
    }

    /// The same with an error string of its own: `code:args:message`.
    #[must_use]
    pub fn with_error(self, error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..self }
    }

    /// The same with advice.
    #[must_use]
    pub fn with_advice(self, advice: ReplyAdvice) -> Self {
        Self { advice: Some(advice), ..self }
    }
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Go on.
    Allow,
    /// No.
    Deny(Denial),
    /// The answer comes later, with [`Query::ticket`], as [`Command::Resolve`](super::Command::Resolve). What the session
    /// sends meanwhile waits. Without an answer in [`Limits::defer_ms`](crate::limits::Limits::defer_ms) it is no. See
    /// [answers that come later](crate::hooks#answers-that-come-later).
    Defer,
}

impl Verdict {
    /// A refusal for this reason.
    #[must_use]
    pub fn deny(reason: impl Into<String>) -> Self {
        Self::Deny(Denial::new(reason))
    }
}

/// On what terms a handshake makes a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admission {
    /// What is written on the session from the start.
    pub attributes: Attributes,
    /// When the session ends at the latest, ms since 1970; its client is told to shake hands again then.
    pub ends_unix_ms: Option<u64>,
}

/// CometD's `SecurityPolicy`: decides who may do what. Every method allows unless it is overridden. Local sessions are asked
/// for as well: [`Query::is_local`], [`Session::is_local`]. There is an [example](crate::hooks#policy).
pub trait SecurityPolicy: Send {
    /// May this handshake make a session, and on what terms? Of a plain event stream it is asked as well.
    fn can_handshake(&mut self, query: &Query<'_>, admission: &mut Admission) -> Verdict {
        let _ = (query, admission);
        Verdict::Allow
    }

    /// May a subscribe or a publish bring this channel, or pattern, into being? Asked when there is none of that name. There
    /// is no session for `POST /publish/…`.
    fn can_create(&mut self, query: &Query<'_>, session: Option<&mut Session<'_>>, channel: &str) -> Verdict {
        let _ = (query, session, channel);
        Verdict::Allow
    }

    /// May the session subscribe to this channel or pattern?
    fn can_subscribe(&mut self, query: &Query<'_>, session: &mut Session<'_>, channel: &str) -> Verdict {
        let _ = (query, session, channel);
        Verdict::Allow
    }

    /// May this be published to the channel? There is no session for `POST /publish/…`.
    fn can_publish(&mut self, query: &Query<'_>, session: Option<&mut Session<'_>>, channel: &str) -> Verdict {
        let _ = (query, session, channel);
        Verdict::Allow
    }
}

/// What somebody wants to do to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Bring it into being.
    Create,
    /// Subscribe to it.
    Subscribe,
    /// Publish to it.
    Publish,
}

/// What an authorizer says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opinion {
    /// Yes, if no other one denies.
    Grant,
    /// No, whatever others say.
    Deny(Denial),
    /// Let others say. If all do so, it is no.
    Ignore,
}

/// CometD's `Authorizer`: has a say in what happens to the channels of a pattern, when the policy has allowed it.
///
/// All authorizers are asked whose pattern matches the channel. If there are none, the policy's word holds. Else one that
/// denies is enough for no, and at least one has to grant. There is an [example](crate::hooks#authorizers), and what holds
/// for subscriptions to wildcards.
pub trait Authorizer: Send {
    /// May this be done?
    fn authorize(
        &mut self,
        operation: Operation,
        query: &Query<'_>,
        session: Option<&mut Session<'_>>,
        channel: &str,
    ) -> Opinion;
}

impl<F> Authorizer for F
where
    F: FnMut(Operation, &Query<'_>, Option<&mut Session<'_>>, &str) -> Opinion + Send,
{
    fn authorize(
        &mut self,
        operation: Operation,
        query: &Query<'_>,
        session: Option<&mut Session<'_>>,
        channel: &str,
    ) -> Opinion {
        self(operation, query, session, channel)
    }
}
