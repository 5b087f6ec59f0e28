//! Clients within the program: CometD's local sessions.
//!
//! Owns what such a client says to the loop, and the queue of what it hears. It goes the way of any other client: extensions,
//! policy, an outbox; only its words come through the mailbox in place of a socket.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::bayeux::{Pattern, encode, raw};
use crate::hooks::{Delivery, LocalId, Published, Room, Sink};

use super::handle::{Handle, HandleError};
use super::mailbox::Mail;

/// What it says first.
pub(super) const HANDSHAKE: &[u8] = br#"[{"channel":"/meta/handshake","version":"1.0"}]"#;

/// A client within the program, from [`Handle::local_session`]. When it is dropped its session ends.
///
/// What it says is done in the loop's next turns, and the replies go to its [`Sink`], as events do. It has no client id to
/// send and no connects to make, and it never expires.
///
/// ```
/// use std::sync::mpsc;
///
/// use encke::hooks::{Delivery, Room};
/// use encke::server::{Listen, Server};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let address: Listen = "127.0.0.1:0".parse()?;
/// let server = Server::builder().listen([address]).spawn()?;
/// let (sender, receiver) = mpsc::channel();
/// // Called on the server's thread: it passes things on, and waits for nobody.
/// let session = server.handle().local_session(move |delivery: Delivery<'_>| {
///     match delivery {
///         Delivery::Event { channel, data, .. } => _ = sender.send(format!("{channel} {data}")),
///         Delivery::Reply(json) | Delivery::Lost(json) => println!("{json}"),
///         _ => println!("the session has ended"),
///     }
///     Room::More
/// })?;
/// session.subscribe("/chat/*")?;
/// session.publish("/chat/tea", "1")?;
/// assert_eq!(receiver.recv()?, "/chat/tea 1");
/// # drop(session);
/// # Ok(server.shutdown()?)
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropped, its session ends"]
pub struct LocalSession {
    id: LocalId,
    handle: Handle,
}

impl LocalSession {
    pub(super) fn open(handle: Handle, sink: Box<dyn Sink>) -> Result<Self, HandleError> {
        let id = handle.mailbox.new_local();
        handle.mailbox.send(Mail::OpenLocal(id, sink))?;
        Ok(Self { id, handle })
    }

    /// Subscribes to a channel or a pattern.
    ///
    /// # Errors
    /// [`HandleError::Channel`] if it is neither; [`HandleError::Full`] or [`HandleError::Closed`].
    pub fn subscribe(&self, name: &str) -> Result<(), HandleError> {
        self.about("/meta/subscribe", name)
    }

    /// Ends a subscription.
    ///
    /// # Errors
    /// As [`LocalSession::subscribe`].
    pub fn unsubscribe(&self, name: &str) -> Result<(), HandleError> {
        self.about("/meta/unsubscribe", name)
    }

    fn about(&self, channel: &str, name: &str) -> Result<(), HandleError> {
        Pattern::parse(name).map_err(|_| HandleError::Channel)?;
        self.send_parts(channel, "subscription", |out| encode::string(out, name))
    }

    /// Publishes an event, or speaks to a service; `data` is JSON text.
    ///
    /// # Errors
    /// [`HandleError`]; nothing is sent then.
    pub fn publish(&self, channel: &str, data: &str) -> Result<(), HandleError> {
        self.handle.check_message(channel, data)?;
        self.send_parts(channel, "data", |out| out.extend_from_slice(data.as_bytes()))
    }

    /// Ends the session; what was sent before is done before.
    ///
    /// # Errors
    /// [`HandleError::Full`] or [`HandleError::Closed`].
    pub fn disconnect(&self) -> Result<(), HandleError> {
        self.send(r#"[{"channel":"/meta/disconnect"}]"#)
    }

    fn send_parts(&self, channel: &str, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), HandleError> {
        let mut batch = b"[{\"channel\":".to_vec();
        encode::string(&mut batch, channel);
        batch.extend_from_slice(b",\"");
        batch.extend_from_slice(name.as_bytes());
        batch.extend_from_slice(b"\":");
        write(&mut batch);
        batch.extend_from_slice(b"}]");
        self.handle.mailbox.send(Mail::Local(self.id, batch))
    }

    /// Sends a batch of Bayeux messages as a client would: JSON text. What is no batch goes nowhere, and the log says so.
    ///
    /// # Errors
    /// [`HandleError::Full`], [`HandleError::TooLarge`] or [`HandleError::Closed`].
    pub fn send(&self, batch: &str) -> Result<(), HandleError> {
        self.handle.mailbox.send(Mail::Local(self.id, batch.as_bytes().to_vec()))
    }

    /// Has the server go on giving events to a [`Sink`] that has said [`Room::Full`].
    ///
    /// # Errors
    /// [`HandleError::Full`] or [`HandleError::Closed`].
    pub fn ready(&self) -> Result<(), HandleError> {
        self.handle.mailbox.send(Mail::LocalReady(self.id))
    }

    /// The same for a [`Receiver`], which says so once each time that it was full: there is always room for that.
    fn roomy(&self) {
        // A server that has ended gives nothing more.
        let _ = self.handle.mailbox.send_always(Mail::LocalReady(self.id));
    }
}

impl Drop for LocalSession {
    fn drop(&mut self) {
        // With its server its session is gone already.
        let _ = self.handle.mailbox.send_always(Mail::CloseLocal(self.id));
    }
}

/// Gives the events of one subscription to a function.
pub(super) fn events_to(mut hear: impl FnMut(Published<'_>) + Send + 'static, name: &str) -> Box<dyn Sink> {
    let name = name.to_owned();
    let mut refused = false;
    Box::new(move |delivery: Delivery<'_>| {
        match delivery {
            Delivery::Event { channel, data, .. } => hear(Published { channel, data }),
            Delivery::Reply(json) => {
                // Once: without a session, all that follows is refused, too.
                if let Some(error) = error_in(json).filter(|_| !core::mem::replace(&mut refused, true)) {
                    log::warn!("a subscription of the program itself to {name} is refused: {error}");
                }
            }
            Delivery::Lost(json) => {
                log::warn!("a subscription of the program itself to {name} has lost events: {json}")
            }
            Delivery::Closed => log::debug!("a subscription of the program itself to {name} has ended"),
        }
        Room::More
    })
}

/// The error of a reply that failed.
fn error_in(reply: &str) -> Option<String> {
    let value = serde_json::from_str::<&serde_json::value::RawValue>(reply).ok()?;
    let entries = raw::entries(value)?;
    let named = |name: &str| entries.iter().find(|(own, _)| own == name).map(|(_, value)| *value);
    let failed = named("successful").is_some_and(|value| value.get() == "false");
    failed.then(|| named("error").and_then(raw::text).unwrap_or_default().into_owned())
}

/// Something that a [`Receiver`] has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// An event.
    Event {
        /// Its channel.
        channel: String,
        /// Its data: JSON.
        data: String,
    },
    /// The receiver was slower than events came, and they were dropped before these: how many of which channels, −1 where
    /// nobody knows. A JSON object.
    Lost(String),
}

/// Why nothing comes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// There is nothing now, or was nothing in time.
    Empty,
    /// Nothing comes any more: the server has ended, or the session, of which too much waited.
    Closed,
    /// Nothing ever comes: the subscription was refused with this error.
    Refused(String),
}

impl core::fmt::Display for RecvError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing has come"),
            Self::Closed => f.write_str("the subscription has ended"),
            Self::Refused(error) => write!(f, "the subscription was refused: {error}"),
        }
    }
}

impl core::error::Error for RecvError {}

#[derive(Debug, Default)]
struct Waiting {
    received: VecDeque<Received>,
    /// Why nothing follows, once nothing does.
    over: Option<RecvError>,
    /// Whether the loop has been told to give no more for now.
    full: bool,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

impl Shared {
    /// Nothing is done under the lock that could panic half-way.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loop's end of a [`Receiver`].
pub(super) struct Queue {
    shared: Arc<Shared>,
    capacity: usize,
}

impl Sink for Queue {
    fn take(&mut self, delivery: Delivery<'_>) -> Room {
        let mut waiting = self.shared.lock();
        match delivery {
            Delivery::Event { channel, data, .. } => {
                waiting.received.push_back(Received::Event { channel: channel.to_owned(), data: data.to_owned() });
            }
            Delivery::Lost(json) => waiting.received.push_back(Received::Lost(json.to_owned())),
            Delivery::Reply(json) => match error_in(json) {
                Some(error) => {
                    // The first says why; what was said after it had no chance.
                    waiting.over.get_or_insert(RecvError::Refused(error));
                }
                None => return Room::More,
            },
            Delivery::Closed => {
                waiting.over.get_or_insert(RecvError::Closed);
            }
        }
        waiting.full = waiting.received.len() >= self.capacity;
        let room = if waiting.full { Room::Full } else { Room::More };
        drop(waiting);
        self.shared.came.notify_one();
        room
    }
}

impl Drop for Queue {
    /// The server is gone, or the session.
    fn drop(&mut self) {
        self.shared.lock().over.get_or_insert(RecvError::Closed);
        self.shared.came.notify_one();
    }
}

/// The events of one subscription, for another thread, from [`Handle::receiver`]. When it is dropped the subscription ends.
///
/// When as many wait here as it was made for, further ones wait in the session's outbox, like those of any client that is
/// slow: what becomes of it when that is full is what the server's settings say.
#[derive(Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
    session: LocalSession,
    capacity: usize,
}

impl Receiver {
    pub(super) fn open(handle: Handle, name: &str, capacity: usize) -> Result<Self, HandleError> {
        let (shared, capacity) = (Arc::<Shared>::default(), capacity.max(1));
        let sink = Queue { shared: Arc::clone(&shared), capacity };
        let session = LocalSession::open(handle, Box::new(sink))?;
        session.subscribe(name)?;
        Ok(Self { shared, session, capacity })
    }

    /// How many wait here; for tests of the loop.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.shared.lock().received.len()
    }

    /// Waits for what comes next.
    ///
    /// # Errors
    /// Nothing comes any more: [`RecvError::Closed`] or [`RecvError::Refused`].
    pub fn recv(&self) -> Result<Received, RecvError> {
        self.take(None)
    }

    /// Waits for what comes next, for so long at most.
    ///
    /// # Errors
    /// [`RecvError::Empty`] if nothing came in time, else as [`Receiver::recv`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Received, RecvError> {
        self.take(Instant::now().checked_add(timeout))
    }

    /// What has come, without waiting.
    ///
    /// # Errors
    /// [`RecvError::Empty`] if nothing has, else as [`Receiver::recv`].
    pub fn try_recv(&self) -> Result<Received, RecvError> {
        self.take(Some(Instant::now()))
    }

    fn take(&self, until: Option<Instant>) -> Result<Received, RecvError> {
        let mut waiting = self.shared.lock();
        loop {
            if let Some(first) = waiting.received.pop_front() {
                // Not for each one that goes: the loop has better things to do.
                let roomy = waiting.full && waiting.received.len() <= self.capacity / 2;
                waiting.full &= !roomy;
                drop(waiting);
                if roomy {
                    self.session.roomy();
                }
                return Ok(first);
            }
            if let Some(over) = &waiting.over {
                return Err(over.clone());
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            waiting = match left {
                Some(Duration::ZERO) => return Err(RecvError::Empty),
                Some(left) => self
                    .shared
                    .came
                    .wait_timeout(waiting, left)
                    .map_or_else(|poisoned| poisoned.into_inner().0, |(waiting, _)| waiting),
                None => self.shared.came.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
