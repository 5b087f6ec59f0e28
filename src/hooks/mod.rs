//! What an embedder's program may say, change and hear: CometD's policies, authorizers, extensions, listeners and services.
//!
//! Owns the vocabulary, and the set of all hooks, [`Hooks`]. When each of them is asked is the broker's to decide.
//!
//! | hook | of CometD | what for |
//! |---|---|---|
//! | [`SecurityPolicy`] | `SecurityPolicy` | decides who may do what, at once or later; one of them |
//! | [`Authorizer`] | `Authorizer` | has a say in the channels of a pattern |
//! | [`Extension`] | `BayeuxServer.Extension`, `ServerSession.Extension` | sees and changes messages, events, replies |
//! | [`DataFilter`] | `DataFilter`, a `MessageListener` with a veto | looks at the data of events, changes it, drops them |
//! | [`Listener`] | all other listeners | is told what happens |
//! | [`Service`] | `AbstractService`, `@RemoteCall` | handles what clients say to `/service/…` |
//! | [`Fallback`] | a servlet beside CometD's | answers other HTTP requests |
//! | [`Sink`] | `LocalSession` | takes what a [local session](crate::server::LocalSession) is given |
//!
//! Hooks run on the server's thread, in the middle of a message: they must not wait for anything. They are `Send`, so
//! that they can be made elsewhere. All but the policy, the extensions and the listeners may be plain functions.
//!
//! # When they are called
//!
//! 1. [`Extension::incoming`], in the order of adding: may change a message, or end it with `404::message_deleted`. It
//!    sees messages of sessions that nobody knows, too.
//! 2. The session is looked up; a message without one is refused.
//! 3. [`SecurityPolicy`]: may the channel be created, if there is none of its name? may this be subscribed to, or
//!    published? To each question, if the policy says yes, each [`Authorizer`] of the channel. Any of them may refuse.
//! 4. A message to `/service/…` goes to each [`Service`] of the channel, in the order of adding, and no further.
//! 5. An event: each [`DataFilter`] of the channel, in the order of adding; [`Listener::message`];
//!    [`Extension::outgoing`], in the opposite order. It is encoded once and put into the outbox of each subscriber.
//! 6. [`Extension::reply`], in the opposite order, and the reply goes to the sender.
//!
//! `POST /publish/…` and plain event streams begin at 3: they are no messages, and extensions see none. What the program
//! itself publishes begins at 5. [`Command::Deliver`] goes to its session, and past all hooks. Other
//! listeners are told when it has happened, and before the reply that tells the client is written: `channel_added` and
//! `subscribed` between 3 and 6, `session_added` likewise, `unsubscribed` for each subscription and then
//! `session_removed` when a session ends, for whatever reason. Extensions and listeners are called in the order of
//! adding, unless it says otherwise.
//!
//! **What they want done** they say to the [`Context`] that they are given, or to a [`Handle`](crate::server::Handle)
//! that they have. It is done after they have returned, so no hook is ever called from within another one. Commands of
//! a [`Context`] are run in the same turn of the loop, behind the batch at hand and its replies, in order, so many a
//! turn ([`Limits::mailbox_commands`](crate::limits::Limits::mailbox_commands)); so a listener that publishes whenever
//! something is published goes on for ever, but keeps nobody waiting. Those of a handle come in a later turn. Of either
//! there is [so much](CommandsFull) [room](crate::server::HandleError::Full) and no more: a hook must not wait for it.
//!
//! **Panics.** One in a hook ends the server: it goes through [`Server::run`](crate::server::Server::run), for what was
//! half-done is not trusted any more. Handles hear `Closed` then, and [`Running::join`](crate::server::Running::join)
//! panics with it.
//!
//! # Policy
//!
//! Decides, and writes on the session what others are to know of it. Every method that is left out allows.
//!
//! ```
//! use encke::hooks::{Admission, Hooks, Query, SecurityPolicy, Session, Verdict};
//!
//! struct Members;
//!
//! impl SecurityPolicy for Members {
//!     fn can_handshake(&mut self, query: &Query<'_>, admission: &mut Admission) -> Verdict {
//!         // {"channel":"/meta/handshake","ext":{"name":"ann"},…}
//!         let Some(name) = query.message().ext_text("name") else { return Verdict::deny("say who you are") };
//!         match admission.attributes.set("name", &name) {
//!             Ok(()) => Verdict::Allow,
//!             Err(full) => Verdict::deny(full.to_string()),
//!         }
//!     }
//!
//!     fn can_publish(&mut self, _: &Query<'_>, session: Option<&mut Session<'_>>, channel: &str) -> Verdict {
//!         // A service is spoken to by publishing as well. There is no session for `POST /publish/…`.
//!         let name = session.as_deref().and_then(|session| session.attribute("name"));
//!         match name {
//!             Some(name) if channel != "/news" || name == "ann" => Verdict::Allow,
//!             _ => Verdict::deny("only Ann has news"), // 403:only Ann has news:publish_denied
//!         }
//!     }
//! }
//!
//! let hooks = Hooks::default().policy(Members);
//! # let _ = hooks;
//! ```
//!
//! # Answers that come later
//!
//! A policy that has to ask somebody else keeps the [ticket](Query::ticket) and says [`Verdict::Defer`]. The answer
//! goes to [`Handle::resolve`](crate::server::Handle::resolve), or to a [`Context`] as [`Command::Resolve`]. Until then
//! the message waits, and whatever its session sends after it, on any connection; other sessions pass. Then the
//! authorizers are asked, and the message goes on as if nothing had been. What others have made of the world meanwhile
//! counts: whether the session is still there is looked at again. That the connection is gone does not matter: what is
//! allowed happens.
//!
//! ```
//! use std::sync::mpsc::{SyncSender, sync_channel};
//! use std::thread;
//!
//! use encke::hooks::{Admission, Denial, Hooks, PolicyTicket, Query, SecurityPolicy, Verdict};
//! use encke::server::{Handle, Server};
//!
//! struct Asks(SyncSender<(PolicyTicket, String)>);
//!
//! impl SecurityPolicy for Asks {
//!     fn can_handshake(&mut self, query: &Query<'_>, _: &mut Admission) -> Verdict {
//!         let token = query.message().ext_text("token").unwrap_or_default().into_owned();
//!         match self.0.try_send((query.ticket(), token)) {
//!             Ok(()) => Verdict::Defer,
//!             // It must not wait.
//!             Err(_) => Verdict::deny("too many are asking"),
//!         }
//!     }
//! }
//!
//! # fn look_up(token: &str) -> bool { token == "good" }
//! let (asks, asked) = sync_channel(100);
//! let builder = Server::builder().hooks(Hooks::default().policy(Asks(asks)));
//! let handle: Handle = builder.handle();
//! thread::spawn(move || {
//!     for (ticket, token) in asked {
//!         // May take its time, but not longer than `Limits::defer_ms`.
//!         let answer = if look_up(&token) { Ok(Admission::default()) } else { Err(Denial::new("unknown token")) };
//!         // If there is no room for the answer now, it is no in the end.
//!         let _ = handle.resolve(ticket, answer);
//!     }
//! });
//! # drop(builder);
//! ```
//!
//! Without an answer in [`Limits::defer_ms`](crate::limits::Limits::defer_ms) it is no, `403:no answer in time:…`. An
//! answer to a question that has been answered, or was never asked, does nothing. So many
//! [messages](crate::limits::Limits::deferred_batches) and [bytes](crate::limits::Limits::deferred_bytes) may wait, a
//! sixteenth of them from one session; further ones are refused with `429::deferred_limit`. `GET /events/…` and `POST
//! /publish/…` cannot wait: for them `Defer` is no. The answer of a handshake brings its own [`Admission`]; what the
//! policy wrote into the one that it was given does not count.
//!
//! # Authorizers
//!
//! Asked when the policy has said yes, in the order of adding, until one denies. One [`Opinion::Deny`] is no. Else at
//! least one has to [`Grant`](Opinion::Grant), if there are any for this channel; if all ignore, it is
//! `403:denied_by_not_granting:…`. If there are none, the policy's word holds.
//!
//! ```
//! use encke::hooks::{Hooks, Operation, Opinion, Query, Session};
//!
//! /// Whoever has a name may do everything with the channel of that name.
//! fn own(_: Operation, _: &Query<'_>, session: Option<&mut Session<'_>>, channel: &str) -> Opinion {
//!     let name = session.as_deref().and_then(|session| session.attribute("name"));
//!     if name.is_some_and(|name| channel == format!("/user/{name}")) { Opinion::Grant } else { Opinion::Ignore }
//! }
//!
//! let hooks = Hooks::default().authorizer("/user/**", own)?;
//! # let _ = hooks;
//! # Ok::<(), encke::hooks::InvalidChannel>(())
//! ```
//!
//! **Wildcards.** A subscription to a pattern may reach channels that have authorizers of their own, which CometD does
//! not ask. Here all are asked who have a say in any channel that it reaches. Those in whose pattern all of it lies
//! decide as above: one has to grant. If there are none of that kind, each of the others has to grant. Any of both may
//! deny. So `/**` is not a way around an authorizer of `/user/**`: it is asked, and has to grant it, unless there is
//! one of `/**` that does. An authorizer whose word is to be the last says [`Opinion::Deny`].
//!
//! # Extensions
//!
//! ```
//! use encke::bayeux::OwnedMessage;
//! use encke::hooks::{Context, Extension, Hooks, Passage, Session};
//!
//! /// Has each message say where it came from, for policies and subscribers.
//! struct Stamp;
//!
//! impl Extension for Stamp {
//!     fn incoming(
//!         &mut self,
//!         message: &mut OwnedMessage,
//!         session: Option<&mut Session<'_>>,
//!         _: &mut Context<'_>,
//!     ) -> Passage {
//!         let from = session.and_then(|session| session.address()).map(|address| format!("{:?}", address.to_string()));
//!         match message.set_ext("from", from.unwrap_or_else(|| "null".to_owned())) {
//!             Ok(()) => Passage::Pass,
//!             Err(_) => Passage::Delete,
//!         }
//!     }
//! }
//!
//! let hooks = Hooks::default().extension(Stamp);
//! # let _ = hooks;
//! ```
//!
//! One for some sessions only, as CometD's `ServerSession.addExtension` makes it, says which in [`Extension::serves`].
//!
//! # Data filters
//!
//! ```
//! use encke::hooks::{Filtered, Hooks, Now, Session};
//!
//! fn short(_: &str, data: &str, _: Option<&mut Session<'_>>, _: Now) -> Filtered {
//!     if data.len() > 1_000 { Filtered::Drop } else { Filtered::Keep }
//! }
//!
//! let hooks = Hooks::default().filter("/chat/**", short)?;
//! # let _ = hooks;
//! # Ok::<(), encke::hooks::InvalidChannel>(())
//! ```
//!
//! # Listeners
//!
//! ```
//! use encke::hooks::{Context, Hooks, Listener, Removal, Session};
//!
//! struct Presence;
//!
//! impl Listener for Presence {
//!     fn session_added(&mut self, session: &mut Session<'_>, context: &mut Context<'_>) {
//!         // Only so many commands may wait: here it is no harm if one gets lost.
//!         let _ = context.publish("/presence", &format!(r#"{{"came":"{}"}}"#, session.id()));
//!     }
//!
//!     fn session_removed(&mut self, session: &mut Session<'_>, removal: Removal, _: &mut Context<'_>) {
//!         println!("{} has left: {removal:?}", session.id());
//!     }
//! }
//!
//! let hooks = Hooks::default().listener(Presence);
//! # let _ = hooks;
//! ```
//!
//! # Services and remote calls
//!
//! ```
//! use encke::hooks::{Context, Hooks, Request, Session};
//!
//! /// To whoever asks: an event on the same channel.
//! fn time(request: Request<'_>, _: &mut Session<'_>, context: &mut Context<'_>) {
//!     let _ = request.reply(context, &context.now().unix_ms.to_string());
//! }
//!
//! /// A remote call: CometD's clients find the answer by its id. One that comes later is given to
//! /// [`Handle::answer`](encke::server::Handle::answer), with a clone of `request.call()`.
//! fn double(request: Request<'_>, _: &mut Session<'_>, context: &mut Context<'_>) {
//!     let _ = match request.data().parse::<i64>() {
//!         Ok(number) => request.answer(context, Ok(&number.saturating_mul(2).to_string())),
//!         Err(_) => request.answer(context, Err(r#""not a whole number""#)),
//!     };
//! }
//!
//! let hooks = Hooks::default().service("/service/time", time)?.service("/service/double", double)?;
//! # let _ = hooks;
//! # Ok::<(), encke::hooks::InvalidChannel>(())
//! ```
//!
//! A publish to a service channel is acknowledged whatever the service does. If nobody listens there, it is
//! acknowledged too, and the log says so once for each channel.
//!
//! # Pages
//!
//! ```
//! use encke::hooks::{Context, Hooks, WebRequest, WebResponse};
//!
//! fn page(request: &WebRequest<'_>, _: &mut Context<'_>) -> Option<WebResponse> {
//!     (request.path() == "/version").then(|| WebResponse::new("text/plain", env!("CARGO_PKG_VERSION")))
//! }
//!
//! let hooks = Hooks::default().fallback(page);
//! # let _ = hooks;
//! ```
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

    /// Whether anybody may look at what is in an event, or change it: not so where there is but a policy.
    pub(crate) fn shape_events(&self) -> bool {
        !self.filters.is_empty() || !self.listeners.is_empty() || !self.extensions.is_empty()
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
