//! How other threads speak to the loop.
//!
//! Owns the mailbox: bounded, so that a publisher that is faster than the loop is told so and fills no memory. It has
//! memory for what is in it only; the bounded channel of the standard library has all of it from the start.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;

use crate::bayeux::Channel;
use crate::bayeux::check;
use crate::hooks::Command;
use crate::limits::Limits;

/// What can be in the mailbox.
#[derive(Debug)]
pub(super) enum Mail {
    Command(Command),
    Shutdown,
    Stop,
}

/// Why the server did not take a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandleError {
    /// The mailbox is full; try again when the loop has caught up.
    Full,
    /// The server has stopped.
    Closed,
    /// Not a channel that events can be published to.
    Channel,
    /// Not JSON, nested deeper than [`Limits::data_depth`], or with a lone surrogate in a string.
    Data,
}

impl core::fmt::Display for HandleError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "the server's mailbox is full",
            Self::Closed => "the server has stopped",
            Self::Channel => "not a channel that events can be published to",
            Self::Data => "not JSON that clients take",
        })
    }
}

impl core::error::Error for HandleError {}

/// A server, seen from another thread.
#[derive(Clone, Debug)]
pub struct Handle {
    mailbox: Arc<Mailbox>,
    waker: Arc<Waker>,
}

#[derive(Debug)]
struct Mailbox {
    /// `None` when nobody reads it any more.
    mail: Mutex<Option<VecDeque<Mail>>>,
    most: usize,
    data_depth: usize,
}

impl Mailbox {
    /// Nothing is done under the lock that could panic half-way.
    fn open(&self) -> MutexGuard<'_, Option<VecDeque<Mail>>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The mailbox as the loop has it; when this is gone, nothing is taken any more.
pub(super) struct Inbox(Arc<Mailbox>);

impl Inbox {
    /// What has come first.
    pub(super) fn next(&self) -> Option<Mail> {
        let mut mail = self.0.open();
        let queue = mail.as_mut()?;
        let first = queue.pop_front();
        if first.is_none() {
            // The memory of a rush goes with it.
            *queue = VecDeque::new();
        }
        first
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        *self.0.open() = None;
    }
}

pub(super) fn mailbox(waker: Waker, limits: &Limits) -> (Handle, Inbox) {
    let mail = Mutex::new(Some(VecDeque::new()));
    let mailbox = Arc::new(Mailbox { mail, most: limits.mailbox_commands, data_depth: limits.data_depth() });
    (Handle { mailbox: Arc::clone(&mailbox), waker: Arc::new(waker) }, Inbox(mailbox))
}

impl Handle {
    /// Publishes an event; `data` is JSON text. It is delivered in the loop's next turn.
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
        let parsed = Channel::parse(channel).map_err(|_| HandleError::Channel)?;
        if parsed.is_meta() || parsed.is_service() {
            return Err(HandleError::Channel);
        }
        // What a client may not send, for the sake of those who receive, a thread may not either.
        check::value(data.as_bytes(), self.mailbox.data_depth).map_err(|_| HandleError::Data)?;
        self.send(Mail::Command(Command::Publish { channel: channel.to_owned(), data: data.to_owned(), lazy }))
    }

    /// Ends a session by its client id; one that does not exist is no error.
    ///
    /// # Errors
    /// [`HandleError::Full`] or [`HandleError::Closed`].
    pub fn disconnect(&self, client_id: &str) -> Result<(), HandleError> {
        self.send(Mail::Command(Command::DisconnectClient(client_id.to_owned())))
    }

    /// Ends [`Server::run`](super::Server::run) when its clients have been told to go, in the time that
    /// [`Settings::shutdown_ms`](super::Settings::shutdown_ms) gives them.
    ///
    /// # Errors
    /// [`HandleError::Full`] or [`HandleError::Closed`].
    pub fn shutdown(&self) -> Result<(), HandleError> {
        self.send(Mail::Shutdown)
    }

    /// Ends [`Server::run`](super::Server::run) at once.
    ///
    /// # Errors
    /// [`HandleError::Full`] or [`HandleError::Closed`].
    pub fn stop(&self) -> Result<(), HandleError> {
        self.send(Mail::Stop)
    }

    /// Has the loop look into the mailbox.
    pub(super) fn wake(&self) {
        // It fails only when the poll is gone, and with it the loop.
        let _ = self.waker.wake();
    }

    fn send(&self, mail: Mail) -> Result<(), HandleError> {
        match self.mailbox.open().as_mut() {
            None => return Err(HandleError::Closed),
            Some(waiting) if waiting.len() >= self.mailbox.most => return Err(HandleError::Full),
            Some(waiting) => waiting.push_back(mail),
        }
        self.waker.wake().map_err(|_| HandleError::Closed)
    }
}
