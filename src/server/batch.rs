//! Many events, sent to the loop as one.
//!
//! Owns how they are kept until the loop publishes them: one behind the other in one text, so that an event costs no
//! allocation of its own.

use core::slice;

use crate::bayeux::{Channel, check};
use crate::broker::Publication;

use super::handle::{Handle, HandleError};
use super::mailbox::Mail;

/// Events that are published together: all of them or, if the mailbox has no room, none.
///
/// They are published in the order in which they were put in, and nothing that came through this or another [`Handle`]
/// comes between them. Up to [`Limits::batch_messages`](crate::limits::Limits::batch_messages) of them are published in one
/// turn of the loop, whatever else there is to do: a client that waits gets those of them that are for it in one answer, as
/// far as an answer goes. A larger batch is published in parts, between which the loop may serve others.
///
/// ```no_run
/// # fn main() -> Result<(), encke::server::HandleError> {
/// # let handle = encke::server::Server::builder().handle();
/// let mut batch = handle.batch();
/// batch.publish("/game/board", r#"{"move":"e2e4"}"#)?;
/// batch.publish("/game/clock", "299")?;
/// batch.send()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing is published until it is sent"]
pub struct Batch {
    handle: Handle,
    events: Events,
}

impl core::fmt::Debug for Batch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Batch").field("events", &self.len()).finish_non_exhaustive()
    }
}

impl Batch {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle, events: Events::default() }
    }

    /// Adds an event; `data` is JSON text.
    ///
    /// # Errors
    /// [`HandleError::Channel`], [`HandleError::Data`], or [`HandleError::TooLarge`] if the mailbox could never hold the
    /// batch with it. The batch is as it was then.
    pub fn publish(&mut self, channel: &str, data: &str) -> Result<(), HandleError> {
        self.add(channel, data, false)
    }

    /// Adds an event that may wait, as [`Handle::publish_lazy`] has it.
    ///
    /// # Errors
    /// As [`Batch::publish`].
    pub fn publish_lazy(&mut self, channel: &str, data: &str) -> Result<(), HandleError> {
        self.add(channel, data, true)
    }

    fn add(&mut self, channel: &str, data: &str, lazy: bool) -> Result<(), HandleError> {
        check_event(channel, data, self.handle.mailbox.data_depth())?;
        let weight = EVENT_BYTES.saturating_add(channel.len()).saturating_add(data.len());
        if !self.handle.mailbox.can_hold(self.events.weight().saturating_add(weight)) {
            return Err(HandleError::TooLarge);
        }
        self.events.push(channel, data, lazy)
    }

    /// Events in it, count.
    pub fn len(&self) -> usize {
        self.events.parts.len()
    }

    /// Whether there is no event in it.
    pub fn is_empty(&self) -> bool {
        self.events.parts.is_empty()
    }

    /// Takes all events out of it.
    pub fn clear(&mut self) {
        self.events = Events::default();
    }

    /// Has them published in the loop's next turn. The batch is empty then, and can be filled again; after an error it is
    /// as it was, and can be sent again.
    ///
    /// # Errors
    /// [`HandleError::Full`], [`HandleError::TooLarge`] or [`HandleError::Closed`]; nothing is published then.
    pub fn send(&mut self) -> Result<(), HandleError> {
        if self.is_empty() {
            return Ok(());
        }
        self.events.fit();
        match self.handle.mailbox.send_if_taken(Mail::Batch(core::mem::take(&mut self.events))) {
            Err((error, mail)) => {
                if let Mail::Batch(events) = mail {
                    self.events = events;
                }
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }
}

/// Whether an event may be published by a thread. What a client may not send, for the sake of those who receive, a thread
/// may not either.
pub(super) fn check_event(channel: &str, data: &str, data_depth: usize) -> Result<(), HandleError> {
    let channel = Channel::parse(channel).map_err(|_| HandleError::Channel)?;
    if channel.is_meta() || channel.is_service() {
        return Err(HandleError::Channel);
    }
    check::value(data.as_bytes(), data_depth).map_err(|_| HandleError::Data)?;
    Ok(())
}

/// What an event takes beside its texts, bytes.
pub(super) const EVENT_BYTES: usize = size_of::<Part>();

/// Events of a large batch that are published before the loop looks whether the turn has had enough, count.
const FEW: usize = 32;

/// How much of the text belongs to one event: its channel, and its data behind that.
#[derive(Clone, Copy, Debug)]
struct Part {
    channel: u16,
    lazy: bool,
    data: u32,
}

/// Events in order; the first of them may have been read.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    text: String,
    parts: Vec<Part>,
    /// How many of the parts have been read, and how much of the text.
    read: (usize, usize),
}

impl Events {
    fn push(&mut self, channel: &str, data: &str, lazy: bool) -> Result<(), HandleError> {
        let (Ok(channel_bytes), Ok(data_bytes)) = (u16::try_from(channel.len()), u32::try_from(data.len())) else {
            return Err(HandleError::TooLarge);
        };
        self.text.push_str(channel);
        self.text.push_str(data);
        self.parts.push(Part { channel: channel_bytes, lazy, data: data_bytes });
        Ok(())
    }

    /// What they take, bytes.
    pub(super) fn weight(&self) -> usize {
        self.text.len().saturating_add(self.parts.len().saturating_mul(EVENT_BYTES))
    }

    /// Gives back the memory that is not needed.
    fn fit(&mut self) {
        self.text.shrink_to_fit();
        self.parts.shrink_to_fit();
    }

    /// Whether all have been read.
    pub(super) fn are_read(&self) -> bool {
        self.read.0 >= self.parts.len()
    }

    /// The next of them: all, if there are no more than `whole` in the batch, or a few. What is not taken from the iterator
    /// is passed over all the same.
    pub(super) fn read_part(&mut self, whole: usize) -> Reading<'_> {
        let most = if self.parts.len() <= whole { whole } else { FEW };
        let (first, start) = self.read;
        let end = first.saturating_add(most).min(self.parts.len());
        let parts = &self.parts[first..end];
        let bytes: usize = parts.iter().map(|part| usize::from(part.channel) + part.data as usize).sum();
        self.read = (end, start + bytes);
        Reading { text: &self.text[start..start + bytes], parts: parts.iter() }
    }
}

/// Events that are being read.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    text: &'a str,
    parts: slice::Iter<'a, Part>,
}

impl<'a> Iterator for Reading<'a> {
    type Item = Publication<'a>;

    fn next(&mut self) -> Option<Publication<'a>> {
        let Part { channel, lazy, data } = *self.parts.next()?;
        let (channel, rest) = self.text.split_at(usize::from(channel));
        let (data, rest) = rest.split_at(data as usize);
        self.text = rest;
        Some(Publication { channel, data, lazy })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.parts.size_hint()
    }
}

impl ExactSizeIterator for Reading<'_> {}
