//! What happens, told to who wants to know.
//!
//! Owns the [`Listener`] and the reasons for which sessions end.

use super::command::Context;
use super::session::Session;

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removal {
    /// Its client said so.
    Disconnected,
    /// The server said so.
    Kicked,
    /// It was not heard of in time, or is a guest whose stream has ended.
    Expired,
    /// It kept sending but did not connect any more.
    NoConnect,
    /// More waited for it than its outbox may hold.
    Overflow,
    /// Nothing but meta messages came or went for `max_activity_ms`.
    Inactive,
    /// What it was admitted with has expired ([`Admission::ends_unix_ms`](super::Admission::ends_unix_ms)).
    Unauthorized,
}

/// An event on its way to its subscribers.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    pub(crate) channel: &'a str,
    pub(crate) data: &'a str,
}

impl<'a> Published<'a> {
    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &'a str {
        self.channel
    }

    /// The data: JSON.
    #[must_use]
    pub fn data(&self) -> &'a str {
        self.data
    }
}

/// Hears what happens: CometD's `SessionListener`, `ChannelListener`, `SubscriptionListener`, `MessageListener` and
/// `QueueMaxedListener` in one. Listeners are told in the order in which they were added, when it has happened and before
/// the reply that tells the client is written. Every method does nothing unless it is overridden. There is an
/// [example](crate::hooks#listeners).
pub trait Listener: Send {
    /// A handshake has made a session, or a guest has come.
    fn session_added(&mut self, session: &mut Session<'_>, context: &mut Context<'_>) {
        let _ = (session, context);
    }

    /// A session has ended. Its subscriptions have ended before that. When the server ends, nobody is told of each session.
    fn session_removed(&mut self, session: &mut Session<'_>, removal: Removal, context: &mut Context<'_>) {
        let _ = (session, removal, context);
    }

    /// A channel, or a pattern, has its first subscriber or its first event.
    fn channel_added(&mut self, channel: &str, context: &mut Context<'_>) {
        let _ = (channel, context);
    }

    /// A channel, or a pattern, has not been used for [`Limits::sweep_ms`](crate::limits::Limits::sweep_ms).
    fn channel_removed(&mut self, channel: &str, context: &mut Context<'_>) {
        let _ = (channel, context);
    }

    /// A session has subscribed to a channel or a pattern that it was not subscribed to.
    fn subscribed(&mut self, session: &mut Session<'_>, channel: &str, context: &mut Context<'_>) {
        let _ = (session, channel, context);
    }

    /// A session is no longer subscribed to a channel or a pattern, at its own wish or because it has ended.
    fn unsubscribed(&mut self, session: &mut Session<'_>, channel: &str, context: &mut Context<'_>) {
        let _ = (session, channel, context);
    }

    /// An event goes to its subscribers now. There is no session if it was published from within the server or by
    /// `POST /publish/…`.
    fn message(&mut self, event: Published<'_>, session: Option<&mut Session<'_>>, context: &mut Context<'_>) {
        let _ = (event, session, context);
    }

    /// More waits for a session than may: what the settings say becomes of it follows.
    fn queue_overflow(&mut self, session: &mut Session<'_>, context: &mut Context<'_>) {
        let _ = (session, context);
    }
}
