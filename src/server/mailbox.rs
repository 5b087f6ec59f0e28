//! What other threads have sent and the loop has not read, and what the loop lets them see.
//!
//! Owns the queue between them, with its bounds: a publisher that is faster than the loop is told so and fills no memory. It
//! has memory for what is in it only; the bounded channel of the standard library has all of it from the start. No lock is
//! held while anything of somebody else runs, so a hook may use a handle on the loop's own thread.

use core::num::NonZeroU32;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use mio::Waker;

use crate::broker::Counters;
use crate::engine::Census;
use crate::hooks::{Command, LocalId, Sink};
use crate::limits::Limits;

use super::batch::Events;
use super::handle::HandleError;

/// What can be in the mailbox.
pub(super) enum Mail {
    Command(Command),
    Batch(Events),
    /// A local session comes, says something, takes events again, or goes.
    OpenLocal(LocalId, Box<dyn Sink>),
    Local(LocalId, Vec<u8>),
    LocalReady(LocalId),
    CloseLocal(LocalId),
    End(Wish),
}

impl core::fmt::Debug for Mail {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Mail({} bytes)", self.weight())
    }
}

impl Mail {
    /// What it takes, bytes.
    fn weight(&self) -> usize {
        let texts = match self {
            Self::Command(command) => command.text_bytes(),
            Self::Batch(events) => events.weight(),
            Self::Local(_, batch) => batch.len(),
            Self::OpenLocal(..) | Self::LocalReady(_) | Self::CloseLocal(_) | Self::End(_) => 0,
        };
        size_of::<Self>().saturating_add(texts)
    }
}

/// How the server is to end, if it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    None,
    Shutdown,
    Stop,
}

/// What waits.
#[derive(Debug)]
struct Queue {
    mail: VecDeque<Mail>,
    /// What that takes, with what the loop is at.
    bytes: usize,
    /// The most that has been sent of this: to end is asked for once, and takes no room from others.
    wish: Wish,
    /// Nobody reads it any more.
    closed: bool,
}

/// What is taken. They change when the server's settings do.
#[derive(Debug, Default)]
struct Bounds {
    commands: AtomicUsize,
    bytes: AtomicUsize,
    data_depth: AtomicUsize,
}

impl Bounds {
    fn set(&self, limits: &Limits) {
        self.commands.store(limits.mailbox_commands, Ordering::Relaxed);
        self.bytes.store(limits.mailbox_bytes, Ordering::Relaxed);
        self.data_depth.store(limits.data_depth(), Ordering::Relaxed);
    }
}

/// Both ends have it.
#[derive(Debug)]
pub(super) struct Mailbox {
    queue: Mutex<Queue>,
    /// There is a loop to be waked once a server has been built.
    waker: OnceLock<Waker>,
    bounds: Bounds,
    /// The number of the newest local session.
    newest_local: AtomicU32,
    seen: Mutex<(Census, Counters)>,
}

/// Nothing is done under these locks that could panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    fn add(&mut self, mail: Mail, weight: usize) {
        self.bytes = self.bytes.saturating_add(weight);
        self.mail.push_back(mail);
    }
}

impl Mailbox {
    /// How deep arrays and objects may nest in data, count.
    pub(super) fn data_depth(&self) -> usize {
        self.bounds.data_depth.load(Ordering::Relaxed)
    }

    /// Whether a batch of so many bytes can be taken at all.
    pub(super) fn can_hold(&self, bytes: usize) -> bool {
        size_of::<Mail>().saturating_add(bytes) <= self.bounds.bytes.load(Ordering::Relaxed)
    }

    /// What the loop has let be seen last.
    pub(super) fn seen(&self) -> (Census, Counters) {
        *lock(&self.seen)
    }

    /// Whether there is room now for what takes little.
    pub(super) fn check(&self) -> Result<(), HandleError> {
        self.check_for(&lock(&self.queue), size_of::<Mail>())
    }

    /// Whether there is room for what takes so much.
    fn check_for(&self, queue: &Queue, weight: usize) -> Result<(), HandleError> {
        let most = self.bounds.bytes.load(Ordering::Relaxed);
        if queue.closed {
            Err(HandleError::Closed)
        } else if weight > most {
            Err(HandleError::TooLarge)
        } else if queue.bytes.saturating_add(weight) > most
            || queue.mail.len() >= self.bounds.commands.load(Ordering::Relaxed)
        {
            Err(HandleError::Full)
        } else {
            Ok(())
        }
    }

    /// Takes a command or a batch to the end of the queue.
    pub(super) fn send(&self, mail: Mail) -> Result<(), HandleError> {
        self.send_if_taken(mail).map_err(|(error, _)| error)
    }

    /// The same; what is not taken is given back.
    pub(super) fn send_if_taken(&self, mail: Mail) -> Result<(), (HandleError, Mail)> {
        let weight = mail.weight();
        let mut queue = lock(&self.queue);
        if let Err(error) = self.check_for(&queue, weight) {
            drop(queue);
            return Err((error, mail));
        }
        let first = queue.mail.is_empty();
        queue.add(mail, weight);
        drop(queue);
        // Whoever was first has waked the loop for all that came since.
        if first {
            self.wake();
        }
        Ok(())
    }

    /// A name for a local session.
    pub(super) fn new_local(&self) -> LocalId {
        let before = self.newest_local.fetch_add(1, Ordering::Relaxed);
        LocalId(NonZeroU32::MIN.saturating_add(before))
    }

    /// Takes what there is always room for: of each local session there is at most one such at a time.
    pub(super) fn send_always(&self, mail: Mail) -> Result<(), HandleError> {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return Err(HandleError::Closed);
        }
        let weight = mail.weight();
        queue.add(mail, weight);
        drop(queue);
        self.wake();
        Ok(())
    }

    /// Asks to end. There is always room for that.
    pub(super) fn end(&self, wish: Wish) -> Result<(), HandleError> {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return Err(HandleError::Closed);
        }
        if queue.wish < wish {
            queue.wish = wish;
            let mail = Mail::End(wish);
            let weight = mail.weight();
            queue.add(mail, weight);
        }
        drop(queue);
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            // It fails only when the poll is gone, and with it the loop.
            let _ = waker.wake();
        }
    }
}

/// The mailbox as the loop has it; when this is gone, nothing is taken any more.
#[derive(Debug)]
pub(super) struct Inbox {
    mailbox: Arc<Mailbox>,
    /// What the loop is at takes so much, bytes.
    at_bytes: usize,
}

impl Inbox {
    pub(super) fn new(limits: &Limits) -> Self {
        let queue = Queue { mail: VecDeque::new(), bytes: 0, wish: Wish::None, closed: false };
        let bounds = Bounds::default();
        bounds.set(limits);
        let mailbox = Mailbox {
            queue: Mutex::new(queue),
            waker: OnceLock::new(),
            bounds,
            newest_local: AtomicU32::new(0),
            seen: Mutex::default(),
        };
        Self { mailbox: Arc::new(mailbox), at_bytes: 0 }
    }

    /// The other end.
    pub(super) fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.mailbox)
    }

    /// Changes the bounds. What has been taken stays.
    pub(super) fn bound(&self, limits: &Limits) {
        self.mailbox.bounds.set(limits);
    }

    /// There is a loop now, which is waked by this.
    pub(super) fn connect(&self, waker: Waker) {
        // An inbox moves into one server only.
        let _ = self.mailbox.waker.set(waker);
        if !lock(&self.mailbox.queue).mail.is_empty() {
            self.wake();
        }
    }

    /// Has the loop look into the mailbox.
    pub(super) fn wake(&self) {
        self.mailbox.wake();
    }

    /// What has come first. The one before it is done with.
    pub(super) fn next(&mut self) -> Option<Mail> {
        let mut queue = lock(&self.mailbox.queue);
        queue.bytes = queue.bytes.saturating_sub(self.at_bytes);
        let first = queue.mail.pop_front();
        self.at_bytes = first.as_ref().map_or(0, Mail::weight);
        if first.is_none() {
            // The memory of a rush goes with it.
            queue.mail = VecDeque::new();
        }
        first
    }

    /// Lets other threads see how things stand, if there are any that could look.
    pub(super) fn show(&self, now: impl FnOnce() -> (Census, Counters)) {
        if Arc::strong_count(&self.mailbox) > 1 {
            let now = now();
            *lock(&self.mailbox.seen) = now;
        }
    }

    /// Nothing is taken any more, and what waits is dropped.
    pub(super) fn close(&self) {
        let mut queue = lock(&self.mailbox.queue);
        queue.closed = true;
        let left = core::mem::take(&mut queue.mail);
        drop(queue);
        drop(left);
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.close();
    }
}
