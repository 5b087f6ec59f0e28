//! What a hook, or another thread, may have the server do.
//!
//! Owns the commands, and the [`Context`] in which a hook gives them. They are run after the hook has returned, in the order
//! in which they were given: a hook never finds the server in the middle of something.

use std::collections::VecDeque;

use crate::clock::Now;

use super::channels::Channels;
use super::policy::{Admission, Denial, PolicyTicket};
use super::session::{Attributes, SessionId};

/// What the server is to do. `data` is JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Publish an event.
    Publish {
        /// A channel, not a pattern; neither a meta channel nor one of a service.
        channel: String,
        /// JSON.
        data: String,
        /// Whether it may wait for an answer that goes anyway.
        lazy: bool,
    },
    /// Send an event to one session, whether it is subscribed or not (CometD's `deliver`).
    Deliver {
        /// To whom; nothing happens if it is gone.
        session: SessionId,
        /// The channel that it seems to come on; may be one of a service.
        channel: String,
        /// JSON.
        data: String,
    },
    /// Answer a remote call.
    Answer {
        /// Which one.
        call: RemoteCall,
        /// What came of it, or what went wrong: JSON.
        result: Result<String, String>,
    },
    /// End a session; its client is told.
    Disconnect(SessionId),
    /// End a session by its client id.
    DisconnectClient(String),
    /// Subscribe a session to a channel or a pattern, without asking a policy.
    Subscribe(SessionId, String),
    /// End such a subscription.
    Unsubscribe(SessionId, String),
    /// Write a text on a session, in place of the one of that name, or take it out.
    SetAttribute(SessionId, String, Option<String>),
    /// Answer what a policy has deferred: the terms, which count for a handshake only, or a refusal. One that has been
    /// answered already, or whose time is over, is left alone.
    Resolve(PolicyTicket, Result<Admission, Denial>),
}

impl Command {
    /// Bytes of the texts in it.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let texts: [&str; 3] = match self {
            Self::Publish { channel, data, .. } | Self::Deliver { channel, data, .. } => [channel, data, ""],
            Self::Answer { call, result: Ok(data) | Err(data) } => {
                [&call.channel, call.id.as_deref().unwrap_or_default(), data]
            }
            Self::DisconnectClient(text) | Self::Subscribe(_, text) | Self::Unsubscribe(_, text) => [text, "", ""],
            Self::SetAttribute(_, name, value) => [name, value.as_deref().unwrap_or_default(), ""],
            Self::Resolve(_, Err(denial)) => [&denial.reason, denial.error.as_deref().unwrap_or_default(), ""],
            Self::Resolve(_, Ok(admission)) => {
                let texts = admission.attributes.iter().map(|(name, value)| name.len().saturating_add(value.len()));
                return texts.fold(0, usize::saturating_add);
            }
            Self::Disconnect(_) => [""; 3],
        };
        texts.iter().map(|text| text.len()).fold(0, usize::saturating_add)
    }
}

/// A remote call that waits for its answer (CometD's `RemoteCall.Caller`). It is to be answered once; that its client has
/// given up or left meanwhile is nobody's fault, and the answer goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteCall {
    pub(crate) session: SessionId,
    pub(crate) channel: String,
    pub(crate) id: Option<String>,
}

impl RemoteCall {
    /// Who asks.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The channel: `/service/…`.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }
}

/// There are as many commands waiting as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandsFull;

impl core::fmt::Display for CommandsFull {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("too many commands of hooks wait")
    }
}

impl core::error::Error for CommandsFull {}

/// Commands of hooks that have not been run.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    waiting: VecDeque<Command>,
    /// Bytes of their texts.
    bytes: usize,
    /// How many may wait, count and bytes.
    most: (usize, usize),
}

impl Commands {
    pub(crate) fn bounded(most: (usize, usize)) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, most }
    }

    /// Changes the bounds. What waits stays.
    pub(crate) fn bound(&mut self, most: (usize, usize)) {
        self.most = most;
    }

    /// One more, if there is room. One there always is for a single one, whatever its size.
    fn add(&mut self, command: Command) -> Result<(), CommandsFull> {
        let bytes = self.bytes.saturating_add(command.text_bytes());
        let (most, most_bytes) = self.most;
        if self.waiting.len() >= most || (bytes > most_bytes && !self.waiting.is_empty()) {
            return Err(CommandsFull);
        }
        self.bytes = bytes;
        self.waiting.push_back(command);
        Ok(())
    }

    pub(crate) fn next(&mut self) -> Option<Command> {
        let first = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(first.text_bytes());
        if self.waiting.is_empty() {
            // The memory of a rush goes with it.
            self.waiting = VecDeque::new();
        }
        Some(first)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// What a hook may do.
#[derive(Debug)]
pub struct Context<'a> {
    pub(crate) commands: &'a mut Commands,
    pub(crate) channels: &'a mut Channels,
    pub(crate) now: Now,
}

impl Context<'_> {
    /// The time.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// Has the server do something when the hook has returned.
    ///
    /// # Errors
    /// [`Limits::mailbox_commands`](crate::limits::Limits::mailbox_commands) wait already, or
    /// [`Limits::mailbox_bytes`](crate::limits::Limits::mailbox_bytes) of them; this one will not be run.
    pub fn run(&mut self, command: Command) -> Result<(), CommandsFull> {
        self.commands.add(command)
    }

    /// Publishes an event.
    ///
    /// # Errors
    /// As [`Context::run`].
    pub fn publish(&mut self, channel: &str, data: &str) -> Result<(), CommandsFull> {
        self.run(Command::Publish { channel: channel.to_owned(), data: data.to_owned(), lazy: false })
    }

    /// Sends an event to one session.
    ///
    /// # Errors
    /// As [`Context::run`].
    pub fn deliver(&mut self, session: SessionId, channel: &str, data: &str) -> Result<(), CommandsFull> {
        self.run(Command::Deliver { session, channel: channel.to_owned(), data: data.to_owned() })
    }

    /// Answers a remote call.
    ///
    /// # Errors
    /// As [`Context::run`].
    pub fn answer(&mut self, call: RemoteCall, result: Result<&str, &str>) -> Result<(), CommandsFull> {
        self.run(Command::Answer { call, result: result.map(str::to_owned).map_err(str::to_owned) })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// As [`Context::run`].
    pub fn disconnect(&mut self, session: SessionId) -> Result<(), CommandsFull> {
        self.run(Command::Disconnect(session))
    }

    /// What is written on a channel, or on a pattern that somebody subscribes to; `None` if there is none of that name.
    pub fn channel_attributes(&mut self, channel: &str) -> Option<&mut Attributes> {
        self.channels.attributes(channel)
    }
}
