//! How other threads speak to the loop.
//!
//! Owns what they may ask for, and what they hear when it is not taken. The queue is the [mailbox](super::mailbox)'s.

use std::sync::Arc;

use crate::bayeux::{Channel, Pattern, check};
use crate::broker::Counters;
use crate::engine::Census;
use crate::hooks::{Admission, Command, Denial, PolicyTicket, Published, RemoteCall, SessionId, Sink};

use super::batch::{Batch, check_event};
use super::local::{LocalSession, Receiver, events_to};
use super::mailbox::{Mail, Mailbox, Wish};

/// Why the server did not take a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandleError {
    /// The mailbox is full; try again when the loop has caught up. A hook that runs on the loop's own thread must not wait
    /// for that.
    Full,
    /// The server has ended, or was never built.
    Closed,
    /// Not a channel that this can be sent to: a pattern, a meta channel, one of a service if it is not for one, or no name at
    /// all. Or, to subscribe to, neither a channel nor a pattern.
    Channel,
    /// Not JSON, nested deeper than [`Limits::data_depth`](crate::limits::Limits::data_depth), or with a lone surrogate in a
    /// string.
    Data,
    /// More than [`Limits::mailbox_bytes`](crate::limits::Limits::mailbox_bytes) by itself: it would never be taken.
    TooLarge,
}

impl core::fmt::Display for HandleError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "the server's mailbox is full; try again later",
            Self::Closed => "the server has ended",
            Self::Channel => "not a channel that this can be done with, such as /chat/1",
            Self::Data => "not JSON that clients take; a text needs its quotes",
            Self::TooLarge => "more than the server's mailbox can hold; publish it in parts",
        })
    }
}

impl core::error::Error for HandleError {}

/// A server, seen from another thread, or from a hook on its own.
///
/// What is asked for is done in the loop's next turns, in the order in which it was sent, and nothing here waits for that.
/// `Ok` says that it is in the mailbox; when the server ends before its turn has come, nothing becomes of it. Between the
/// thread and the loop there is room for [`Limits::mailbox_commands`](crate::limits::Limits::mailbox_commands) and
/// [`Limits::mailbox_bytes`](crate::limits::Limits::mailbox_bytes); who sends faster than the loop works is told
/// [`HandleError::Full`]. A handle does not keep its server running.
///
/// | to | call | of CometD |
/// |---|---|---|
/// | say something to all subscribers | [`publish`](Self::publish), [`publish_lazy`](Self::publish_lazy) | `ServerChannel.publish` |
/// | the same, thousands of times a second | [`publish_batch`](Self::publish_batch), [`batch`](Self::batch) | |
/// | say something to one session | [`deliver`](Self::deliver) | `ServerSession.deliver` |
/// | answer a remote call | [`answer`](Self::answer) | `RemoteCall.Caller.result`, `.failure` |
/// | answer what a policy has deferred | [`resolve`](Self::resolve) | a `Promise` |
/// | end a session | [`disconnect`](Self::disconnect), [`disconnect_client`](Self::disconnect_client) | `ServerSession.disconnect` |
/// | subscribe a session, write on it | [`run`](Self::run) with a [`Command`] | `ServerChannel.subscribe`, `Session.setAttribute` |
/// | hear events here | [`subscribe`](Self::subscribe), [`receiver`](Self::receiver) | `LocalSession`, with a listener |
/// | be a client | [`local_session`](Self::local_session) | `LocalSession` |
/// | see how it is doing | [`census`](Self::census), [`counters`](Self::counters) | |
/// | end the server | [`shutdown`](Self::shutdown), [`stop`](Self::stop) | `BayeuxServer.stop` |
///
/// # When it is full
///
/// Somebody sends faster than the loop works; nothing was taken, and nothing is lost that was taken before. What to do
/// depends on what is sent: wait a little and send it again (a thread of its own, that has time), leave it out (a price
/// that a newer one replaces), or gather it in a [`Batch`], which is one command however many events it has. A hook,
/// and whatever else runs on the loop's own thread, must not wait: while it does, the mailbox is not read.
///
/// ```no_run
/// use std::{thread, time::Duration};
/// use encke::server::{Handle, HandleError};
///
/// fn publish(handle: &Handle, channel: &str, data: &str) -> Result<(), HandleError> {
///     loop {
///         match handle.publish(channel, data) {
///             Err(HandleError::Full) => thread::sleep(Duration::from_millis(10)),
///             done => return done,
///         }
///     }
/// }
/// ```
///
/// `Ok` does not say that anybody got the event, nor that it was published: a data filter or an extension may drop it,
/// and where events that wait fill [`Limits::queued_bytes`](crate::limits::Limits::queued_bytes), it is refused and the
/// log says so ([`Counters::publishes_refused`]).
#[derive(Clone)]
pub struct Handle {
    pub(super) mailbox: Arc<Mailbox>,
}

impl core::fmt::Debug for Handle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { mailbox }
    }

    /// Publishes an event; `data` is JSON text.
    ///
    /// # Errors
    /// [`HandleError`]; nothing is published then.
    pub fn publish(&self, channel: &str, data: &str) -> Result<(), HandleError> {
        self.publish_event(channel, data, false)
    }

    /// Publishes an event that may wait for `max_lazy_ms`, for an answer that goes to a client anyway.
    ///
    /// # Errors
    /// [`HandleError`]; nothing is published then.
    pub fn publish_lazy(&self, channel: &str, data: &str) -> Result<(), HandleError> {
        self.publish_event(channel, data, true)
    }

    fn publish_event(&self, channel: &str, data: &str, lazy: bool) -> Result<(), HandleError> {
        self.run(Command::Publish { channel: channel.to_owned(), data: data.to_owned(), lazy })
    }

    /// Publishes many events, pairs of channel and JSON text, all of them or none. It is far cheaper than as many calls of
    /// [`Handle::publish`], and what is said of a [`Batch`] holds.
    ///
    /// # Errors
    /// [`HandleError`], of the first event that is no good; nothing is published then.
    pub fn publish_batch<C: AsRef<str>, D: AsRef<str>>(
        &self,
        events: impl IntoIterator<Item = (C, D)>,
    ) -> Result<(), HandleError> {
        // Not worth looking at what there is no room for.
        self.mailbox.check()?;
        let mut batch = self.batch();
        for (channel, data) in events {
            batch.publish(channel.as_ref(), data.as_ref())?;
        }
        batch.send()
    }

    /// A batch to be filled, and sent when it is complete.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// Sends an event to one session, whether it is subscribed or not (CometD's `deliver`); `data` is JSON text. A session
    /// that has ended is no error.
    ///
    /// # Errors
    /// [`HandleError`]; nothing is sent then. The channel may be one of a service.
    pub fn deliver(&self, session: SessionId, channel: &str, data: &str) -> Result<(), HandleError> {
        self.run(Command::Deliver { session, channel: channel.to_owned(), data: data.to_owned() })
    }

    /// Answers a remote call: with what came of it, or what went wrong. JSON, both. That who asked has left is no error.
    ///
    /// # Errors
    /// [`HandleError`]; nothing is sent then.
    pub fn answer(&self, call: RemoteCall, result: Result<&str, &str>) -> Result<(), HandleError> {
        self.run(Command::Answer { call, result: result.map(str::to_owned).map_err(str::to_owned) })
    }

    /// Whether somebody may send this to a channel, be it one of a service.
    pub(super) fn check_message(&self, channel: &str, data: &str) -> Result<(), HandleError> {
        let parsed = Channel::parse(channel).map_err(|_| HandleError::Channel)?;
        if parsed.is_meta() {
            return Err(HandleError::Channel);
        }
        check::value(data.as_bytes(), self.mailbox.data_depth()).map_err(|_| HandleError::Data)?;
        Ok(())
    }

    /// Answers a question that a policy has deferred: with terms, which count for a handshake only, or with a refusal. One
    /// that has been answered, or whose time is over, is left alone.
    ///
    /// # Errors
    /// [`HandleError::Full`], [`HandleError::TooLarge`] or [`HandleError::Closed`]; the question is still open then.
    pub fn resolve(&self, ticket: PolicyTicket, answer: Result<Admission, Denial>) -> Result<(), HandleError> {
        self.run(Command::Resolve(ticket, answer))
    }

    /// Has the server do anything that a hook may ask for.
    ///
    /// # Errors
    /// [`HandleError`]; nothing is done then.
    pub fn run(&self, command: Command) -> Result<(), HandleError> {
        self.check(&command)?;
        self.mailbox.send(Mail::Command(command))
    }

    /// Whether a command can be done at all, whatever there is when its turn comes.
    fn check(&self, command: &Command) -> Result<(), HandleError> {
        match command {
            Command::Publish { channel, data, .. } => check_event(channel, data, self.mailbox.data_depth()),
            Command::Deliver { channel, data, .. } => self.check_message(channel, data),
            Command::Answer { call, result: Ok(data) | Err(data) } => self.check_message(call.channel(), data),
            Command::Subscribe(_, name) | Command::Unsubscribe(_, name) => {
                Pattern::parse(name).map(drop).map_err(|_| HandleError::Channel)
            }
            _ => Ok(()),
        }
    }

    /// Ends a session; one that has ended is no error. Its client is told.
    ///
    /// # Errors
    /// [`HandleError::Full`] or [`HandleError::Closed`].
    pub fn disconnect(&self, session: SessionId) -> Result<(), HandleError> {
        self.run(Command::Disconnect(session))
    }

    /// Ends a session by its client id; one that does not exist is no error.
    ///
    /// # Errors
    /// [`HandleError::Full`], [`HandleError::Closed`], or [`HandleError::TooLarge`] for an endless id.
    pub fn disconnect_client(&self, client_id: &str) -> Result<(), HandleError> {
        self.run(Command::DisconnectClient(client_id.to_owned()))
    }

    /// Opens a session within the program (CometD's `LocalSession`). What it is given, replies and events, goes to the sink,
    /// on the server's thread. A refusal of its handshake goes there, too.
    ///
    /// # Errors
    /// [`HandleError::Full`] or [`HandleError::Closed`].
    pub fn local_session(&self, sink: impl Sink + 'static) -> Result<LocalSession, HandleError> {
        LocalSession::open(self.clone(), Box::new(sink))
    }

    /// Has a function called with each event of a channel or pattern, on the server's thread: it must not wait for anything.
    /// It hears until the session that this returns is dropped.
    ///
    /// The policy is asked about the session and its subscription as about any other: one that wants to know who somebody is
    /// lets in what is part of the program by [`Query::is_local`](crate::hooks::Query::is_local). A refusal is logged.
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = encke::server::Server::builder().listen(["127.0.0.1:0".parse::<std::net::SocketAddr>()?]).spawn()?;
    /// let (sender, receiver) = mpsc::channel();
    /// let _heard = server.handle().subscribe("/chat/**", move |event| {
    ///     let _ = sender.send(format!("{}: {}", event.channel(), event.data()));
    /// })?;
    /// server.handle().publish("/chat/1", r#""hello""#)?;
    /// assert_eq!(receiver.recv()?, r#"/chat/1: "hello""#);
    /// # server.shutdown()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`HandleError::Channel`], [`HandleError::Full`] or [`HandleError::Closed`].
    pub fn subscribe(
        &self,
        name: &str,
        hear: impl FnMut(Published<'_>) + Send + 'static,
    ) -> Result<LocalSession, HandleError> {
        let session = LocalSession::open(self.clone(), events_to(hear, name))?;
        session.subscribe(name)?;
        Ok(session)
    }

    /// The events of a channel or pattern, for another thread to take out one by one; so many wait there at most, others in
    /// the session's outbox.
    ///
    /// # Errors
    /// [`HandleError::Channel`], [`HandleError::Full`] or [`HandleError::Closed`].
    pub fn receiver(&self, name: &str, capacity: usize) -> Result<Receiver, HandleError> {
        Receiver::open(self.clone(), name, capacity)
    }

    /// What there was at the end of the loop's last turn. Costs a copy, and waits for nobody; nothing before the first turn.
    pub fn census(&self) -> Census {
        self.mailbox.seen().0
    }

    /// What had happened by the end of the loop's last turn, as [`Handle::census`].
    pub fn counters(&self) -> Counters {
        self.mailbox.seen().1
    }

    /// Ends [`Server::run`](super::Server::run) when its clients have been told to go, in the time that
    /// [`Settings::shutdown_ms`](super::Settings::shutdown_ms) gives them. What was sent before is done before. There is
    /// always room for this in the mailbox; to ask again changes nothing.
    ///
    /// # Errors
    /// [`HandleError::Closed`].
    pub fn shutdown(&self) -> Result<(), HandleError> {
        self.mailbox.end(Wish::Shutdown)
    }

    /// Ends [`Server::run`](super::Server::run) without waiting for clients. What was sent before is done before, but need
    /// not reach anyone. There is always room for this in the mailbox.
    ///
    /// # Errors
    /// [`HandleError::Closed`].
    pub fn stop(&self) -> Result<(), HandleError> {
        self.mailbox.end(Wish::Stop)
    }
}
