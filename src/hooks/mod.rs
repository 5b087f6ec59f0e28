//! What an embedder's program may say, change and hear: CometD's policies, authorizers, extensions, listeners and services.
//!
//! Owns the vocabulary, and the set of all hooks, [`Hooks`]. When each of them is asked is the broker's to decide.
//!
//! Hooks run on the server's thread, in the middle of a message: they must not wait for anything. What they want to have done
//! they say to the [`Context`] that they are given, or to a [`Handle`](crate::server::Handle); it is done after they have
//! returned. So no hook is ever called from within another one.
//!
//! # The way of a message
//!
//! 1. [`Extension::incoming`], in the order of adding: may change it, or end it with `404::message_deleted`.
//! 2. The session is looked up; a message without one is refused.
//! 3. [`SecurityPolicy`]: may create? may subscribe, or publish? Then each [`Authorizer`] of the channel. Any of them may
//!    refuse; the policy may answer later.
//! 4. A message to `/service/…` goes to each [`Service`] of the channel, and no further.
//! 5. An event: each [`DataFilter`] of the channel, [`Listener::message`], then [`Extension::outgoing`], in the opposite order.
//!    It is encoded once and put into the outbox of each subscriber.
//! 6. [`Extension::reply`], in the opposite order, and the reply goes to the sender.
//!
//! What the program itself publishes begins at 5.
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

pub(crate) mod channels;
pub(crate) mod command;
mod extension;
mod listener;
mod local;
mod policy;
mod service;
pub(crate) mod session;

use crate::bayeux::{Channel, OwnedPattern, Pattern};

#[doc(no_inline)]
pub use crate::bayeux::{InvalidChannel, NotJson};
pub use crate::clock::Now;
pub use crate::http::head::Method;
pub use command::{Command, CommandsFull, Context, RemoteCall};
pub use extension::{DataFilter, Extension, Filtered, OutgoingReply, Passage};
pub use listener::{Listener, Published, Removal};
pub use local::{Delivery, LocalId, Room, Sink};
#[doc(hidden)]
pub use policy::Origin;
pub use policy::{Admission, Authorizer, Denial, Operation, Opinion, PolicyTicket, Query, SecurityPolicy, Verdict};
pub use service::{Fallback, InvalidField, Request, Service, WebRequest, WebResponse};
pub use session::{ATTRIBUTE_BYTES, Attributes, AttributesFull, Session, SessionId, SessionKind};

/// Something that is there for the channels of a pattern.
pub(crate) type ForChannels<T> = Vec<(OwnedPattern, Box<T>)>;

/// All hooks of a server. Without any, nothing is asked and everything is allowed.
#[derive(Default)]
pub struct Hooks {
    pub(crate) policy: Option<Box<dyn SecurityPolicy>>,
    pub(crate) authorizers: ForChannels<dyn Authorizer>,
    pub(crate) extensions: Vec<Box<dyn Extension>>,
    pub(crate) listeners: Vec<Box<dyn Listener>>,
    pub(crate) filters: ForChannels<dyn DataFilter>,
    pub(crate) services: ForChannels<dyn Service>,
    pub(crate) fallback: Option<Box<dyn Fallback>>,
}

impl core::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Hooks")
            .field("policy", &self.policy.is_some())
            .field("authorizers", &self.authorizers.len())
            .field("extensions", &self.extensions.len())
            .field("listeners", &self.listeners.len())
            .field("filters", &self.filters.len())
            .field("services", &self.services.len())
            .field("fallback", &self.fallback.is_some())
            .finish()
    }
}

impl Hooks {
    /// Decides who may do what, in place of everyone everything.
    #[must_use]
    pub fn policy(mut self, policy: impl SecurityPolicy + 'static) -> Self {
        self.policy = Some(Box::new(policy));
        self
    }

    /// Has a say in what happens to the channels of a pattern.
    ///
    /// # Errors
    /// Neither a channel nor a pattern.
    pub fn authorizer(mut self, pattern: &str, authorizer: impl Authorizer + 'static) -> Result<Self, InvalidChannel> {
        self.authorizers.push((Pattern::parse(pattern)?.into(), Box::new(authorizer)));
        Ok(self)
    }

    /// Changes what comes and goes.
    #[must_use]
    pub fn extension(mut self, extension: impl Extension + 'static) -> Self {
        self.extensions.push(Box::new(extension));
        self
    }

    /// Hears what happens.
    #[must_use]
    pub fn listener(mut self, listener: impl Listener + 'static) -> Self {
        self.listeners.push(Box::new(listener));
        self
    }

    /// Looks at the data of events of the channels of a pattern.
    ///
    /// # Errors
    /// Neither a channel nor a pattern.
    pub fn filter(mut self, pattern: &str, filter: impl DataFilter + 'static) -> Result<Self, InvalidChannel> {
        self.filters.push((Pattern::parse(pattern)?.into(), Box::new(filter)));
        Ok(self)
    }

    /// Handles what clients publish to service channels: `/service/echo`, `/service/**`.
    ///
    /// # Errors
    /// Neither a channel nor a pattern below `/service`.
    pub fn service(mut self, pattern: &str, service: impl Service + 'static) -> Result<Self, InvalidChannel> {
        let parsed = Pattern::parse(pattern)?;
        if !parsed.is_service() {
            return Err(InvalidChannel);
        }
        self.services.push((parsed.into(), Box::new(service)));
        Ok(self)
    }

    /// Answers HTTP requests that are for no part of the server.
    #[must_use]
    pub fn fallback(mut self, fallback: impl Fallback + 'static) -> Self {
        self.fallback = Some(Box::new(fallback));
        self
    }

    /// Whether the list of channels is wanted: by a policy that is asked when one comes into being, by listeners that hear of
    /// it, or for what is written on one.
    pub(crate) fn watch_channels(&self) -> bool {
        self.policy.is_some()
            || !self.authorizers.is_empty()
            || !self.listeners.is_empty()
            || !self.extensions.is_empty()
    }

    /// Whether anybody looks at events, or wants to know which channels there are.
    pub(crate) fn see_events(&self) -> bool {
        !self.filters.is_empty() || self.watch_channels()
    }

    /// Whether anybody wants to know the request that brought a message.
    pub(crate) fn want_origin(&self) -> bool {
        self.policy.is_some() || !self.authorizers.is_empty()
    }

    /// Whether anybody wants to know where a message came from.
    pub(crate) fn want_address(&self) -> bool {
        let others = !self.extensions.is_empty() || !self.services.is_empty() || !self.filters.is_empty();
        self.want_origin() || others || !self.listeners.is_empty()
    }

    /// Whether a service listens on a channel.
    pub(crate) fn serves(&self, channel: Channel<'_>) -> bool {
        self.services.iter().any(|(pattern, _)| pattern.covers(channel))
    }
}
