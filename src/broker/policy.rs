//! What a policy may be asked, and what it may answer.
//!
//! Owns the seam only. The default allows everything. A policy decides from the message and the request; it must not call
//! back into the broker, and has no way to.

use crate::bayeux::{Message, ReplyAdvice};
use crate::http::head::Head;

/// The request that brought a message.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The request's head, with all its header fields; `None` for a frame of a WebSocket.
    pub head: Option<&'a Head<'a>>,
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Go on.
    Allow,
    /// Refuse, with a reason that the client sees.
    Deny {
        /// Stands in the error string: `403:<reason>:publish_denied`.
        reason: String,
        /// For a denied handshake, in place of `reconnect:"none"`. Advice to shake hands again with an `interval`
        /// of 0 gets one of a second, or Faye would do so in a loop.
        advice: Option<ReplyAdvice>,
    },
}

impl Verdict {
    /// A refusal without advice of its own.
    pub fn deny(reason: impl Into<String>) -> Self {
        Self::Deny { reason: reason.into(), advice: None }
    }
}

/// Decides who may do what. Every method allows unless it is overridden.
pub trait Policy: Send {
    /// May this handshake make a session?
    fn can_handshake(&mut self, _origin: Origin<'_>, _message: &Message<'_>) -> Verdict {
        Verdict::Allow
    }

    /// May a subscription bring this channel or pattern into being? Asked when nobody is subscribed to it yet.
    fn can_create(&mut self, _origin: Origin<'_>, _message: &Message<'_>, _name: &str) -> Verdict {
        Verdict::Allow
    }

    /// May the session subscribe to this channel or pattern?
    fn can_subscribe(&mut self, _origin: Origin<'_>, _message: &Message<'_>, _name: &str) -> Verdict {
        Verdict::Allow
    }

    /// May the session publish to this channel?
    fn can_publish(&mut self, _origin: Origin<'_>, _message: &Message<'_>, _channel: &str) -> Verdict {
        Verdict::Allow
    }
}

/// Everything is allowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Policy for AllowAll {}
