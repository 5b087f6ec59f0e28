//! The server with its loop: what a program that embeds it works with.
//!
//! A [`Builder`] has what it is made from, a [`Server`] is it, a [`Running`] is one on a thread of its own, a
//! [`Handle`] is how other threads speak to it, and a [`LocalSession`] is a client of it within the program.
//! [`Settings`] has everything that can be changed while it runs, the sessions' in [`Config`], what holds for single
//! channels in [`Rule`]s.
//!
//! ```no_run
//! use encke::server::{Keep, Listen, Rule, Server, Settings};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut settings = Settings { allowed_origins: vec!["https://app.example".to_owned()], ..Settings::default() };
//! settings.broker.timeout_ms = 60_000;
//! settings.limits.sessions = 10_000;
//! settings.broker.channels = vec![
//!     Rule::new("/chat/**").with_history(Keep { count: 100, ..Keep::default() }),
//!     Rule { lazy: Some(true), ..Rule::new("/typing/**") },
//! ];
//! let address: Listen = "0.0.0.0:8080".parse()?;
//! let server = Server::builder().listen([address]).mount("/comet").settings(settings).build()?;
//! let handle = server.handle();
//! std::thread::spawn(move || {
//!     // … and when it is time:
//!     let _ = handle.shutdown();
//! });
//! // The loop stays on this thread. To have it elsewhere, `spawn` takes the place of `build`.
//! Ok(server.run()?)
//! # }
//! ```
//!
//! # In the source
//!
//! The room of sockets, time and wake-ups for an [`Engine`]. Owns the listeners, the streams and the sleep. All
//! decisions are the engine's; here bytes are moved. Readiness is edge-triggered, so what a turn leaves over is on a
//! list and the next turn does not sleep.

mod accepting;
mod batch;
#[doc(hidden)]
pub mod builder;
mod clock;
mod handle;
#[cfg(feature = "tls")]
mod handshakes;
#[doc(hidden)]
pub mod listen;
mod local;
mod mailbox;
mod reading;
mod running;
#[cfg(feature = "daemon")]
mod signals;
mod slots;
mod stream;
#[cfg(feature = "tls")]
#[doc(hidden)]
pub mod tls;

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token};

use crate::clock::Now;
use crate::conn::{ConnKey, Step};
use crate::engine::{Engine, Wake};
use crate::hooks::LocalId;

#[doc(inline)]
pub use crate::engine::{Census, Config, Counters, Keep, Overflow, Rate, ReplayShape, Rule, Settings};
pub use batch::Batch;
pub use builder::{ADDRESS, BACKLOG, Builder, MOUNT, SOCKET_MODE};
pub use handle::{Handle, HandleError};
pub use listen::Listen;
pub use local::{LocalSession, Received, Receiver, RecvError};
pub use running::Running;
#[cfg(feature = "tls")]
pub use tls::{Flaw, Identity};

use accepting::{Accepting, Door};
use builder::invalid;
use clock::Clock;
use listen::Listener;
use mailbox::{Inbox, Mail, Wish};
use reading::Reading;
use slots::{Slots, Unread};
use stream::Kept;

// A token carries slot and generation of a connection's key.
const _: () = assert!(usize::BITS >= 64, "encke needs a 64-bit target");

const WAKER: Token = Token(usize::MAX);
#[cfg(feature = "daemon")]
const SIGNALS: Token = Token(usize::MAX - 1);
/// Listener `n` is `LISTENERS - n`.
const LISTENERS: usize = usize::MAX - 2;
/// Turns for which timers wait for those whom the kernel has taken on to be accepted and heard, count.
const HEARING_TURNS: usize = 64;
/// A turn that begins so much after it was to, ms, comes after a pause of the process.
const LATE_MS: u64 = 1_000;
/// Events taken from the kernel at once, count.
const EVENTS: usize = 1_024;
/// Slices of one gathering write, count.
const SLICES: usize = 16;

/// Where a server stands in its life.
///
/// | state | next | by |
/// |---|---|---|
/// | `Serving` | `Draining` | a signal to end, [`Handle::shutdown`] |
/// | | `Over` | the same if clients get no time to leave, [`Handle::stop`] |
/// | `Draining` | `Over` | all clients have their answers, the time is up, a second signal, [`Handle::stop`] |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Serving,
    /// Nothing is accepted any more, and clients are told to go, until then, ms.
    Draining {
        until_ms: u64,
    },
    Over,
}

/// Why [`Server::run_until_asked`] has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Asked {
    /// The server has ended.
    End,
    /// SIGHUP: [`Server::reconfigure`], if there is something new, and run on.
    Reload,
}

/// A server with its loop: from [`Server::builder`], run by [`Server::run`], or turn by turn by [`Server::poll_once`].
/// It stays on the thread that has built it; others have [`Handle`]s.
pub struct Server {
    engine: Engine,
    poll: Poll,
    /// Memory for what the kernel says, once it has been asked.
    events: Option<Events>,
    listeners: Vec<Listener>,
    slots: Slots,
    reading: Reading,
    /// Turns for which timers wait still for what the kernel holds.
    hearing: usize,
    /// When this turn was to begin, ms, if it was known.
    due_ms: Option<u64>,
    door: Door,
    life: Life,
    shutdown_ms: u32,
    scratch: Vec<u8>,
    clock: Clock,
    mount: String,
    mail: Inbox,
    /// What is left of the batch that is being published.
    batch: Option<batch::Events>,
    #[cfg(feature = "daemon")]
    signals: Option<signals::Signals>,
    #[cfg(feature = "tls")]
    handshakes: handshakes::Handshakes,
}

impl core::fmt::Debug for Server {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Server").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// Readable when the server has something to do: see [`Server::poll_once`].
impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }
}

/// As that of [`AsFd`].
impl AsRawFd for Server {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

impl Server {
    /// A server with the defaults, to be changed.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens, with real ports; nowhere once it is ending.
    pub fn listening(&self) -> Vec<Listen> {
        self.listeners.iter().filter_map(|listener| listener.at().ok()).collect()
    }

    /// The addresses among the places where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listening().iter().filter_map(Listen::address).collect()
    }

    /// The URLs of its Bayeux endpoint. That of a Unix socket is written as nginx wants it: `http://unix:/path:/cometd`.
    pub fn urls(&self) -> Vec<String> {
        let url = |at| match at {
            Listen::Tcp(address) => format!("http://{address}{}", self.mount),
            Listen::Tls(address) => format!("https://{address}{}", self.mount),
            Listen::Unix(_) => format!("http://{at}:{}", self.mount),
        };
        self.listening().into_iter().map(url).collect()
    }

    /// For other threads to publish with, and to stop it.
    pub fn handle(&self) -> Handle {
        self.show();
        Handle::new(self.mail.mailbox())
    }

    /// What there is now.
    pub fn census(&self) -> Census {
        self.engine.census()
    }

    /// What has happened since the start.
    pub fn counters(&self) -> Counters {
        self.engine.counters()
    }

    /// Changes what can be changed while it runs. Sessions and connections stay; what they were told before holds for them
    /// until they are told anew.
    ///
    /// # Errors
    /// A setting that is no good (`InvalidInput`); nothing has changed then.
    pub fn reconfigure(&mut self, settings: Settings) -> io::Result<()> {
        let shutdown_ms = settings.shutdown_ms;
        self.engine.reconfigure(settings.into_change().map_err(invalid)?).map_err(invalid)?;
        self.shutdown_ms = shutdown_ms;
        self.mail.bound(self.engine.limits());
        self.door.make_room();
        self.plan(self.is_drained(), self.clock.now());
        Ok(())
    }

    /// Obeys signals in place of what they do by default: SIGTERM and SIGINT end the server, at the second time at once;
    /// SIGHUP makes [`Server::run_until_asked`] return; SIGUSR1 logs counts.
    ///
    /// # Errors
    /// The operating system's.
    #[cfg(feature = "daemon")]
    pub fn obey_signals(&mut self) -> io::Result<()> {
        self.signals = Some(signals::Signals::register(self.poll.registry(), SIGNALS)?);
        Ok(())
    }

    /// Serves until it is stopped.
    ///
    /// # Errors
    /// Those of the operating system that leave nothing to go on with.
    pub fn run(mut self) -> io::Result<()> {
        while self.run_until_asked()? != Asked::End {}
        Ok(())
    }

    /// Serves until it is stopped or asked for something that is not for it to do. May be called again after the latter.
    ///
    /// # Errors
    /// Those of the operating system that leave nothing to go on with.
    pub fn run_until_asked(&mut self) -> io::Result<Asked> {
        loop {
            if let Some(asked) = self.poll_once(None)? {
                return Ok(asked);
            }
        }
    }

    /// Waits until something happens, or is due, for so long at most (`None`: however long that takes), and takes one turn.
    /// What is asked of the caller, if anything. After [`Asked::End`] nothing else comes: drop the server.
    ///
    /// This is for those who have a loop of their own. There the server's file descriptor stands among the others, to be
    /// waited for until it can be read, level- or edge-triggered, and no longer than [`Server::deadline`] says; then it is
    /// `poll_once(Some(Duration::ZERO))`. To call it too often is harmless. A turn is bounded, and what it leaves over makes
    /// the deadline zero: so ask for that before each wait.
    ///
    /// ```no_run
    /// use std::os::fd::AsRawFd;
    /// use std::time::Duration;
    ///
    /// use encke::server::{Asked, Server};
    /// use mio::{Events, Interest, Poll, Token, unix::SourceFd};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut server = Server::builder().build()?;
    /// let mut poll = Poll::new()?;
    /// poll.registry().register(&mut SourceFd(&server.as_raw_fd()), Token(0), Interest::READABLE)?;
    /// let mut events = Events::with_capacity(64);
    /// loop {
    ///     poll.poll(&mut events, server.deadline())?;
    ///     // Events of other tokens are the program's own.
    ///     if server.poll_once(Some(Duration::ZERO))? == Some(Asked::End) {
    ///         return Ok(());
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of the operating system that leave nothing to go on with.
    pub fn poll_once(&mut self, timeout: Option<Duration>) -> io::Result<Option<Asked>> {
        if self.life == Life::Over {
            return Ok(Some(Asked::End));
        }
        let mut events = self.events.take().unwrap_or_else(|| Events::with_capacity(EVENTS));
        let wait = [timeout, self.deadline()].into_iter().flatten().min();
        let asked = match self.poll.poll(&mut events, wait) {
            // A signal that nobody obeys here; the caller may want to look at it.
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(error) => return Err(error),
            Ok(()) => self.turn(&events),
        };
        self.events = Some(events);
        Ok(asked)
    }

    /// How long until [`Server::poll_once`] is to be called although the server's file descriptor cannot be read; `None`: not
    /// before it can.
    pub fn deadline(&self) -> Option<Duration> {
        self.due_ms.map(|at| self.clock.until(at))
    }

    /// One turn: everything that has come in, then everything that goes out, a few answers at a time. What is asked of the
    /// caller, if anything.
    fn turn(&mut self, events: &Events) -> Option<Asked> {
        let now = self.clock.now();
        let mut asked = None;
        self.engine.resume(now);
        self.begin_reading(now);
        for event in events {
            asked = self.event(event, now).or(asked);
        }
        self.read_rest(now);
        #[cfg(feature = "tls")]
        self.shake_hands(now);
        let open = self.slots.open();
        self.accept(now);
        let late = self.due_ms.is_some_and(|due_ms| now.mono_ms >= due_ms + LATE_MS);
        let full = events.iter().count() >= events.capacity();
        let more = full || self.slots.open() > open || self.reading.has_unheard() || self.engine.is_behind();
        if !self.hears_more(late, more) {
            self.engine.handle_timeout(now);
        }
        self.answer(now);
        let drained = self.is_drained();
        self.plan(drained, now);
        if full {
            // Who waits for the file descriptor to become readable is not told again of what was left.
            self.due_ms = Some(now.mono_ms);
        }
        // What came in this turn may be followed by more; what threads still send goes to nobody.
        let calm = events.iter().all(|event| event.token() == WAKER) && !self.has_to_read();
        if let Life::Draining { until_ms } = self.life
            && (until_ms <= now.mono_ms || (calm && drained))
        {
            self.life = Life::Over;
        }
        self.show();
        if self.life != Life::Over {
            return asked;
        }
        self.mail.close();
        // Who waits for what comes must not wait until somebody drops this.
        self.engine.end_locals();
        self.say_farewell();
        Some(Asked::End)
    }

    /// Sets when the next turn is to begin, if nothing happens before.
    fn plan(&mut self, drained: bool, now: Now) {
        self.due_ms = self.wake_at(drained).map(|at| at.max(now.mono_ms));
    }

    /// Writes what has come of it all, the answers of a few before those of the next.
    fn answer(&mut self, now: Now) {
        loop {
            let more = self.engine.flush(now);
            while let Some(key) = self.engine.next_dirty() {
                self.drive(key, now);
            }
            if !more {
                break;
            }
        }
    }

    /// Logs how it has ended.
    fn say_farewell(&mut self) {
        self.engine.last_words();
        match self.engine.unfinished() {
            0 => log::info!("stopped, no connection was cut off"),
            1 => log::info!("stopped, 1 connection was cut off"),
            cut => log::info!("stopped, {cut} connections were cut off"),
        }
    }

    /// Whether timers wait for what may have come already. After a while in which the process was stopped, or busy, all that
    /// is due fires at once, and with it the sessions of those would end whose connects are among what the kernel holds.
    /// Not for longer than it takes to hear everyone once: there may always be more.
    fn hears_more(&mut self, late: bool, more: bool) -> bool {
        if late && self.hearing == 0 {
            self.hearing = HEARING_TURNS + self.slots.open();
        }
        self.hearing = if more { self.hearing.saturating_sub(1) } else { 0 };
        self.hearing > 0
    }

    /// Begins to end, if there is time for that and it has not begun: nothing is accepted any more, and clients are
    /// answered and told to go.
    fn shutdown(&mut self, now: Now) {
        if self.life != Life::Serving || self.shutdown_ms == 0 {
            return self.life = Life::Over;
        }
        self.accept_last(now);
        self.listeners.clear();
        let held = self.engine.census().parked;
        let within_ms = u64::from(self.shutdown_ms);
        let time = Duration::from_millis(self.engine.drain(within_ms, now));
        let most = Duration::from_millis(within_ms);
        let held = if held > 0 { format!("{held} held connects are answered over {time:?}, ") } else { String::new() };
        log::info!("ending: {held}clients may take {most:?}; another signal ends at once");
        self.life = Life::Draining { until_ms: now.mono_ms + within_ms };
    }

    /// How long to sleep; for tests of the loop.
    #[cfg(test)]
    fn sleep_for(&self) -> Option<Duration> {
        self.wake_at(self.is_drained()).map(|at| self.clock.until(at))
    }

    /// Whether it ends and everyone has been answered; each connection is looked at for that.
    fn is_drained(&self) -> bool {
        matches!(self.life, Life::Draining { .. }) && self.engine.is_drained()
    }

    /// When the next turn is to begin, ms, if nothing happens before; 0 for at once.
    fn wake_at(&self, drained: bool) -> Option<u64> {
        if drained || self.has_to_read() || self.door.accepting == Accepting::More {
            return Some(0);
        }
        let over = match self.life {
            Life::Draining { until_ms } => Some(until_ms),
            Life::Serving | Life::Over => None,
        };
        let engine = match self.engine.poll_timeout() {
            Some((_, Wake::Work)) => return Some(0),
            Some((at, Wake::Timer)) => Some(at),
            None => None,
        };
        [self.door.deadline(), over, engine].into_iter().flatten().min()
    }

    /// Whether connections are to be read without waiting for the kernel.
    fn has_to_read(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.handshakes.wait() {
            return true;
        }
        self.reading.waits()
    }

    /// Takes one event; what is asked of the caller, if anything.
    fn event(&mut self, event: &Event, now: Now) -> Option<Asked> {
        match event.token() {
            WAKER => self.read_mail(now),
            #[cfg(feature = "daemon")]
            SIGNALS => return self.obey(now),
            Token(token) if token > LISTENERS - self.listeners.len() => {
                self.door.knock(now.mono_ms + self.engine.limits().full_ms);
            }
            Token(token) => {
                if let Some(key) = ConnKey::from_bits(token as u64) {
                    self.ready(key, event, now);
                }
            }
        }
        None
    }

    #[cfg(feature = "daemon")]
    fn obey(&mut self, now: Now) -> Option<Asked> {
        use signals::Request;
        let mut asked = None;
        let requests: Vec<Request> = self.signals.iter_mut().flat_map(signals::Signals::pending).collect();
        for request in requests {
            match request {
                Request::End => self.shutdown(now),
                Request::Reload => asked = Some(Asked::Reload),
                Request::Report => self.engine.report(),
            }
        }
        asked
    }

    /// Does what other threads have asked for, as much as fits into a turn.
    fn read_mail(&mut self, now: Now) {
        let most = self.engine.limits().mailbox_commands.max(1);
        let mut left = most;
        // Something is done in every turn, whatever clients have cost in it: who ends the server is heard.
        while left > 0 && (left == most || !self.engine.is_spent()) {
            if let Some(events) = &mut self.batch {
                let part = events.read_part(self.engine.limits().batch_messages);
                left = left.saturating_sub(part.len());
                // What could not be published is counted and told by the engine.
                self.engine.publish_all(part, now);
                self.batch.take_if(|events| events.are_read());
                continue;
            }
            left -= 1;
            match self.mail.next() {
                Some(Mail::Command(command)) => {
                    // As above.
                    self.engine.command(command, now);
                }
                Some(Mail::Batch(events)) => self.batch = Some(events),
                Some(Mail::OpenLocal(id, sink)) => {
                    self.engine.open_local(id, sink);
                    self.hear_local(id, local::HANDSHAKE, now);
                }
                Some(Mail::Local(id, batch)) => self.hear_local(id, &batch, now),
                Some(Mail::LocalReady(id)) => self.engine.local_ready(id, now),
                Some(Mail::CloseLocal(id)) => self.engine.close_local(id, now),
                Some(Mail::End(Wish::Stop)) => return self.life = Life::Over,
                // Only who sends signals is in a hurry when he asks again.
                Some(Mail::End(_)) if self.life == Life::Serving => self.shutdown(now),
                Some(Mail::End(_)) => {}
                None => return,
            }
        }
        // The rest in the next turn, so that busy publishers cannot keep clients waiting.
        self.mail.wake();
    }

    fn hear_local(&mut self, id: LocalId, batch: &[u8], now: Now) {
        if let Err(error) = self.engine.local_receive(id, batch, now) {
            log::warn!("a local session sends what is no batch: {}", error.reason);
        }
    }

    /// Lets other threads see how things stand.
    fn show(&self) {
        self.mail.show(|| (self.engine.census(), self.engine.counters()));
    }

    fn ready(&mut self, key: ConnKey, event: &Event, now: Now) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            slot.ended |= event.is_read_closed();
            if slot.unread != Unread::Listed {
                slot.unread = Unread::Waiting;
                self.read_or_wait(key, now);
            }
        }
        if event.is_writable() {
            if matches!(self.engine.step(key), Step::Write | Step::ShutdownWrite) {
                return self.drive(key, now);
            }
            // An error means that the peer is gone, which reading will show.
            if let Some(slot) = self.slots.get_mut(key) {
                let _ = slot.stream.flush();
                let kept = slot.stream.kept();
                self.weigh(key, kept, now);
            }
        }
    }

    /// Tells the engine what is kept of a connection beside what it has itself, if such a one ever keeps anything.
    fn weigh(&mut self, key: ConnKey, kept: Option<Kept>, now: Now) {
        if let Some(Kept { incoming, outgoing }) = kept {
            self.engine.records_kept(key, incoming, outgoing, now);
        }
    }

    /// Does what the engine wants done with a connection, until it wants nothing or the socket takes no more.
    fn drive(&mut self, key: ConnKey, now: Now) {
        loop {
            match self.engine.step(key) {
                Step::Wait => break,
                Step::Close => return self.close(key, now),
                Step::ShutdownWrite => {
                    if let Some(slot) = self.slots.get_mut(key)
                        && let Err(error) = slot.stream.shutdown_write()
                        && error.kind() == ErrorKind::WouldBlock
                    {
                        let kept = slot.stream.kept();
                        return self.weigh(key, kept, now);
                    }
                    // Another error means that the peer is gone, which reading will show.
                    self.engine.write_shut(key, now);
                }
                Step::Write => match self.write(key, now) {
                    Ok(n) => self.engine.sent(key, n, now),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return self.engine.sent(key, 0, now),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return self.close(key, now),
                },
            }
        }
        // What was not wanted while answers were in the way may be wanted now.
        if self.slots.get_mut(key).is_some_and(|slot| slot.unread == Unread::Waiting) && self.engine.wants_input(key) {
            self.read_again(key, now);
        }
    }

    fn write(&mut self, key: ConnKey, now: Now) -> io::Result<usize> {
        let gone = || io::Error::from(ErrorKind::NotConnected);
        let mut slices = [IoSlice::new(&[]); SLICES];
        let used = self.engine.slices(key, &mut slices);
        let slot = self.slots.get_mut(key).ok_or_else(gone)?;
        match slices.get(..used) {
            Some([]) | None => Err(gone()),
            Some(some) => {
                let written = slot.stream.write(some);
                let kept = slot.stream.kept();
                self.weigh(key, kept, now);
                written
            }
        }
    }

    /// Closes a socket and tells the engine; there is room for another one then.
    fn close(&mut self, key: ConnKey, now: Now) {
        self.engine.closed(key, now);
        let Some(mut slot) = self.slots.remove(key) else { return };
        slot.stream.close();
        // Dropping the socket takes it out of the poll as well.
        drop(slot);
        self.door.make_room();
    }
}

#[cfg(test)]
mod tests;
