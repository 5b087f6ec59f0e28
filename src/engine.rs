//! The whole server without I/O: connection events go to the broker, its answers go back to connections.
//!
//! Owns the connections, their timers, the list of those to look at, and nothing that either side owns. Deterministic: the
//! same calls with the same times and the same entropy give the same bytes.
//!
//! # The calling contract
//!
//! A turn is, in this order:
//!
//! 1. [`resume`](Engine::resume);
//! 2. what has come, in any order: [`accept`](Engine::accept), [`receive`](Engine::receive),
//!    [`peer_closed`](Engine::peer_closed), [`closed`](Engine::closed), [`command`](Engine::command), and the steps (below) of
//!    those whose sockets take bytes again;
//! 3. [`handle_timeout`](Engine::handle_timeout);
//! 4. [`flush`](Engine::flush), then the steps of each [`next_dirty`](Engine::next_dirty) until there is none; both again for as
//!    long as `flush` says so;
//! 5. sleep until [`poll_timeout`](Engine::poll_timeout), if nothing comes before.
//!
//! The steps of a connection: do what [`step`](Engine::step) says, and report it, until it says [`Step::Wait`]. `Write`: as much
//! of [`slices`](Engine::slices), one at least, as the socket takes, and [`sent`](Engine::sent); after 0 it is left alone until
//! its socket takes bytes again. `ShutdownWrite`: [`write_shut`](Engine::write_shut). `Close`, or an error of the socket:
//! [`closed`](Engine::closed). A socket is read while [`wants_input`](Engine::wants_input) says so; where it does not, that may
//! change by its steps, so who learns of bytes only when they come remembers them, and looks again after these.
//!
//! ```
//! use std::io::IoSlice;
//!
//! use encke::clock::Now;
//! use encke::engine::{Engine, Entropy, Parts, SECRET_BYTES, Settings, Step};
//! use encke::hooks::Hooks;
//!
//! /// Good for a test; a server asks the operating system.
//! struct Counting(u8);
//!
//! impl Entropy for Counting {
//!     fn secret(&mut self) -> [u8; SECRET_BYTES] {
//!         self.0 += 1;
//!         [self.0; SECRET_BYTES]
//!     }
//! }
//!
//! let parts = Parts::new("/cometd", Settings::default(), Box::new(Counting(0)))?.with_hooks(Hooks::default());
//! let now = Now { mono_ms: 0, unix_ms: 1_700_000_000_000 };
//! let mut engine = Engine::new(parts, now);
//!
//! engine.resume(now);
//! let key = engine.accept(None, now)?;
//! engine.receive(key, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", now);
//! engine.handle_timeout(now);
//! let mut written = Vec::new();
//! loop {
//!     let again = engine.flush(now);
//!     while let Some(key) = engine.next_dirty() {
//!         while engine.step(key) == Step::Write {
//!             let mut slices = [IoSlice::new(&[]); 4];
//!             let count = engine.slices(key, &mut slices);
//!             let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
//!             engine.sent(key, bytes.len(), now);
//!             written.extend(bytes);
//!         }
//!     }
//!     if !again {
//!         break;
//!     }
//! }
//! assert!(written.starts_with(b"HTTP/1.1 200 OK\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Local sessions are opened with [`open_local`](Engine::open_local), and speak by
//! [`local_receive`](Engine::local_receive) among what has come; TLS is up to who owns the sockets
//! ([`handshake_waits`](Engine::handshake_waits)). Hooks are called, and what they want done is done, within the calls
//! of 2 and 3.
//!
//! Time never goes backwards. The key of a connection that is closed names nothing: calls with it do nothing.
//! `examples/custom_loop.rs` is a whole loop.
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

#[cfg(any(test, feature = "sim"))]
mod checks;
mod handshakes;
mod locals;
mod parts;
mod requests;
mod settings;
mod settling;
mod sockets;
mod tally;
mod terms;

use core::net::IpAddr;
use std::io::IoSlice;

use crate::arena::Arena;
use crate::broker::{self, Broker};
use crate::clock::Now;
use crate::conn::route::{Refusal, RefusalKind, Site};
use crate::conn::{Conn, Overdue, Pause};
use crate::hooks::Command;
use crate::http::forwarded::Forwarded;
use crate::http::head::Head;
use crate::limits::Limits;
use crate::refusals::{Refusals, Who};
use crate::reply::{Answer, Link};
use crate::wheel::Wheel;
use crate::ws::close::CloseCode;

pub use crate::arena::Key;
pub use crate::broker::Publication;
#[doc(hidden)]
pub use crate::broker::rate::Rate;
#[doc(hidden)]
pub use crate::broker::rules::{Keep, ReplayShape, Rule};
pub use crate::broker::token::{Entropy, SECRET_BYTES};
#[doc(hidden)]
pub use crate::broker::{Config, Counters, Overflow};
pub use crate::conn::{ConnKey, Step};
pub use parts::{AtCapacity, Census, Change, Parts, Wake};
pub use settings::{Settings, check_mount};

use locals::{Locals, local_of};
use tally::Tally;
use terms::{Life, Terms};

/// What one connection may have made ready: this part of the room that is left for all.
const SHARES: usize = 64;
/// A part of a bound for all that is left to each connection even when the others have used it up: 4 KiB of 256 MiB. So who
/// asks for little, or has little to hear, gets it whatever others do.
const SMALL_PARTS: usize = 65_536;

/// The server without I/O. See the [module](self) for the order of calls.
pub struct Engine {
    terms: Terms,
    limits: Limits,
    broker: Broker,
    conns: Arena<Conn>,
    locals: Locals,
    wheel: Wheel<ConnKey>,
    dirty: Vec<ConnKey>,
    /// Connections that have used up their turn before all that came was looked at.
    unread: Vec<ConnKey>,
    /// What sockets have not taken.
    unsent: Tally,
    /// What has come and is not complete.
    received: Tally,
    refusals: Refusals,
    /// Answers made in this turn so far.
    flushed: usize,
    /// Commands of hooks run in this turn so far.
    followed: usize,
    /// The broker's work before this turn.
    worked_before: u64,
    /// The work after which no more answers are made in this turn.
    enough: u64,
    /// Scratch for one answer.
    answer: Answer,
    #[cfg(feature = "deflate")]
    inflater: crate::ws::deflate::Inflater,
    /// Made when it is first needed, for it is large.
    #[cfg(feature = "deflate")]
    deflater: Option<Box<crate::ws::deflate::Deflater>>,
}

impl core::fmt::Debug for Engine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine").field("census", &self.census()).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without connections.
    pub fn new(parts: Parts, now: Now) -> Self {
        let Parts { mut site, broker, limits, entropy, hooks } = parts;
        site.has_fallback = hooks.fallback.is_some();
        Self {
            terms: Terms::new(site, limits.output_bytes, now),
            broker: Broker::new(broker, limits.clone(), now, entropy, hooks),
            limits,
            conns: Arena::default(),
            locals: Locals::default(),
            wheel: Wheel::new(now.mono_ms),
            dirty: Vec::new(),
            unread: Vec::new(),
            unsent: Tally::default(),
            received: Tally::default(),
            refusals: Refusals::default(),
            flushed: 0,
            followed: 0,
            worked_before: 0,
            enough: 0,
            answer: Answer::default(),
            #[cfg(feature = "deflate")]
            inflater: crate::ws::deflate::Inflater::default(),
            #[cfg(feature = "deflate")]
            deflater: None,
        }
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What has happened since the start.
    pub fn counters(&self) -> broker::Counters {
        self.broker.counters()
    }

    /// What there is now.
    pub fn census(&self) -> Census {
        Census {
            connections: self.conns.len(),
            sessions: self.broker.sessions(),
            parked: self.broker.parked(),
            topics: self.broker.topics(),
            browsers: self.broker.browsers(),
            timers: self.broker.timers().saturating_add(self.wheel.len()),
            queued_bytes: self.broker.queued_bytes(),
            unsent_bytes: self.unsent.bytes(),
            received_bytes: self.received.bytes(),
            kept: self.broker.history().events(),
            kept_bytes: self.broker.history().bytes(),
            subscribed_bytes: self.broker.subscribed_bytes(),
            attribute_bytes: self.broker.attribute_bytes(),
        }
    }

    /// Takes a connection that came from there; `None` for a Unix socket.
    ///
    /// # Errors
    /// [`AtCapacity`]: close it.
    pub fn accept(&mut self, peer: Option<IpAddr>, now: Now) -> Result<ConnKey, AtCapacity> {
        self.terms.tell_time(now);
        if self.conns.len() >= self.limits.connections {
            return Err(AtCapacity);
        }
        let key = self.conns.insert(Conn::new(peer, now.mono_ms));
        self.schedule(key);
        Ok(key)
    }

    /// Bytes have come on a connection.
    pub fn receive(&mut self, key: ConnKey, bytes: &[u8], now: Now) {
        self.terms.tell_time(now);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.mind_time(&self.limits, self.terms.env(&self.limits));
            conn.discard(bytes.len());
        }
        self.read(key, bytes);
        self.weigh_input(key);
        self.touch(key);
    }

    /// The socket took `n` bytes of what is pending: 0 if it takes none for now, which starts the time that it has for some.
    pub fn sent(&mut self, key: ConnKey, n: usize, now: Now) {
        self.terms.tell_time(now);
        let (Some(conn), env) = (self.conns.get_mut(key), self.terms.env(&self.limits)) else {
            return;
        };
        let all = conn.sent(n, &self.limits, env);
        if !all || !self.unsent.is_empty() {
            let weight = if all { 0 } else { conn.pending_weight() };
            self.unsent.set(key, weight);
            self.pace();
        }
        if !all {
            return self.schedule(key);
        }
        self.tell_listeners(key);
        // What was received beyond the limits of pipelining has waited for this.
        if self.conns.get(key).is_some_and(Conn::has_input) {
            self.read(key, &[]);
            self.weigh_input(key);
        }
        self.touch(key);
    }

    /// The sending side of a socket has been shut, as [`Step::ShutdownWrite`] asked.
    pub fn write_shut(&mut self, key: ConnKey, now: Now) {
        self.terms.tell_time(now);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.write_shut(self.terms.env(&self.limits));
        }
        self.touch(key);
    }

    /// The peer of a connection has ended its side.
    pub fn peer_closed(&mut self, key: ConnKey, now: Now) {
        self.terms.tell_time(now);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.peer_closed();
        }
        self.touch(key);
    }

    /// The socket of a connection is gone, at whoever's wish.
    pub fn closed(&mut self, key: ConnKey, now: Now) {
        self.terms.tell_time(now);
        self.tell_listeners(key);
        let Some(conn) = self.conns.remove(key) else { return };
        self.received.clear(key);
        self.unsent.clear(key);
        self.pace();
        if let Some(timer) = conn.timer {
            self.wheel.cancel(timer);
        }
        for ticket in conn.tickets() {
            self.broker.detached(*ticket, link(key), now);
        }
        self.broker.forget_link(link(key));
        self.settle();
    }

    /// Does what another thread asks for; whether it could be done. That `data` in it is JSON is for the caller to check, as
    /// [`Handle`](crate::server::Handle) does.
    pub fn command(&mut self, command: Command, now: Now) -> bool {
        self.terms.tell_time(now);
        let done = self.broker.run_command(command, now);
        self.settle();
        self.tell_troubles();
        done
    }

    /// Publishes events one after another, with nothing between them; how many were taken.
    pub fn publish_all<'a>(&mut self, events: impl Iterator<Item = Publication<'a>>, now: Now) -> usize {
        self.terms.tell_time(now);
        let taken = events.filter(|event| self.broker.publish_json(*event, now).is_ok()).count();
        self.settle();
        self.tell_troubles();
        taken
    }

    /// Changes what can be changed. What was granted to requests under way holds for them.
    ///
    /// # Errors
    /// More origins than can be told apart since the start; nothing has changed then.
    pub fn reconfigure(&mut self, change: Change) -> Result<(), String> {
        let Change { hosts, origins, proxies, publishing, demo, broker, limits } = change;
        self.terms.site.origins = self.terms.site.origins.succeeded_by(&origins)?;
        self.terms.site.hosts = hosts;
        self.terms.site.proxies = proxies;
        self.terms.site.publishing = publishing;
        self.terms.site.pages.show(demo);
        self.broker.reconfigure(broker, limits.clone());
        self.limits = limits;
        self.pace();
        // A deadline may have become earlier than the timer that stands for it.
        let keys: Vec<ConnKey> = self.conns.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.schedule(key);
        }
        Ok(())
    }

    /// Begins to end: from now on no connect is held, each answer closes its connection, and the connects that are held
    /// get their answers one after another, so that their clients do not all come back at the same instant.
    /// Returns how long that takes if they take their answers, ms.
    pub fn drain(&mut self, within_ms: u64, now: Now) -> u64 {
        self.terms.tell_time(now);
        self.terms.life = Life::Ending { since_ms: now.mono_ms };
        let spread_ms = self.broker.drain(within_ms, now);
        spread_ms.max(self.end_streams(within_ms))
    }

    /// Has what stays open end one after another, as held connects do; how long that takes, ms.
    fn end_streams(&mut self, within_ms: u64) -> u64 {
        let open: Vec<ConnKey> = self.conns.iter().filter(|(_, conn)| conn.stays_open()).map(|(key, _)| key).collect();
        let count = open.len() as u64;
        let spread_ms = broker::spread_ms(count, within_ms);
        for (key, at) in open.into_iter().zip(0u64..) {
            if let Some(conn) = self.conns.get_mut(key) {
                let share_ms = spread_ms.saturating_mul(at).checked_div(count).unwrap_or_default();
                conn.end_by(self.terms.now.mono_ms.saturating_add(share_ms));
            }
            self.schedule(key);
        }
        spread_ms
    }

    /// Says what has not been said yet: nothing follows.
    pub fn last_words(&mut self) {
        self.refusals.report_all();
    }

    /// Whether it is ending and nothing is under way any more. A connection that has not had a request yet is waited for
    /// as long as the peer's end is after an answer.
    pub fn is_drained(&self) -> bool {
        let Life::Ending { since_ms } = self.terms.life else { return false };
        let waits = self.terms.now.mono_ms < since_ms.saturating_add(self.limits.linger_ms);
        self.broker.parked() == 0
            && self.dirty.is_empty()
            && self.unread.is_empty()
            && self.conns.iter().all(|(_, conn)| conn.is_quiet() && !(waits && conn.is_new()))
    }

    /// When new connections are no longer waited for, ms, if it is ending and that is still to come.
    fn end_of_patience(&self) -> Option<u64> {
        let Life::Ending { since_ms } = self.terms.life else { return None };
        Some(since_ms.saturating_add(self.limits.linger_ms)).filter(|at| *at > self.terms.now.mono_ms)
    }

    /// How many connections have a request or an answer under way.
    pub fn unfinished(&self) -> usize {
        self.conns.iter().filter(|(_, conn)| conn.is_unfinished()).count()
    }

    /// Logs how many of everything there are, and have been since the start.
    pub fn report(&self) {
        let census = self.census();
        let Census { connections, sessions, parked, topics, browsers, kept, kept_bytes, .. } = census;
        let Census { queued_bytes, unsent_bytes, received_bytes, subscribed_bytes, attribute_bytes, .. } = census;
        let counters = self.counters();
        let broker::Counters { published, delivered, sessions_added, overflows, .. } = counters;
        log::info!(
            "now: connections={connections} sessions={sessions} parked={parked} channels={topics} browsers={browsers} \
            queued-bytes={queued_bytes} unsent-bytes={unsent_bytes} received-bytes={received_bytes} kept={kept} \
            kept-bytes={kept_bytes} subscribed-bytes={subscribed_bytes} attribute-bytes={attribute_bytes}"
        );
        log::info!(
            "since the start: sessions={sessions_added} published={published} delivered={delivered} resent={} replayed={} \
            dropped={} overflows={overflows}",
            counters.resent,
            counters.replayed,
            counters.dropped
        );
        log::info!("refused or ended since the start: {}", self.refusals);
    }

    /// Fires what is due, as much of it as fits into a turn.
    pub fn handle_timeout(&mut self, now: Now) {
        self.terms.tell_time(now);
        self.pace();
        self.broker.fire(now, self.limits.timers_per_turn);
        for _ in 0..self.limits.timers_per_turn {
            let Some(key) = self.wheel.expire(now.mono_ms) else { break };
            self.conn_due(key);
        }
        self.tell_troubles();
        self.refusals.report(now.mono_ms);
    }

    /// Looks at what connections had no turn left for, before anything else in the next one: who has waited comes first.
    pub fn resume(&mut self, now: Now) {
        self.terms.tell_time(now);
        let mut waiting = core::mem::take(&mut self.unread).into_iter();
        while !self.is_spent()
            && let Some(key) = waiting.next()
        {
            let env = self.terms.env(&self.limits);
            if !self.conns.get_mut(key).is_some_and(|conn| conn.resume(Pause::Turn, &self.limits, env)) {
                continue;
            }
            self.read(key, &[]);
            self.weigh_input(key);
            self.touch(key);
            // There may be nothing to write, but its socket is to be read again.
            self.list(key);
        }
        // Who has had no turn comes before those who have used up theirs.
        let had = core::mem::replace(&mut self.unread, waiting.collect());
        self.unread.extend(had);
    }

    /// Counts what a connection keeps of its input. Who has more to come when there is no room for it is refused.
    fn weigh_input(&mut self, key: ConnKey) {
        let weight = self.conns.get(key).map_or(0, Conn::input_weight);
        self.received.set(key, weight);
        let small = self.limits.received_bytes / SMALL_PARTS;
        if weight <= small || self.received.bytes() <= self.limits.received_bytes {
            return;
        }
        self.refuse_input(key);
    }

    /// There is no room for what a connection sends in part.
    fn refuse_input(&mut self, key: ConnKey) {
        let reason = "too much is being received";
        if self.conns.get(key).is_some_and(Conn::is_shaking_hands) {
            self.end_handshake(key, reason);
        } else if self.is_socket(key) {
            self.refuse_frame(key, RefusalKind::Overload, CloseCode::TRY_AGAIN_LATER, reason);
        } else {
            self.end_poll(key);
            self.fail(key, &Refusal::too_much());
        }
    }

    /// Leaves each connection the less to have made ready the more waits at slow ones: these come near their half of the
    /// bound for all that waits and exceed it by no more than a small part, or one event, for each connection: with that,
    /// those who are not slow still catch up. How many events wait does not count here: answers that are the smaller the
    /// more there is to say would never end.
    fn pace(&mut self) {
        let room = self.limits.half_of_queued().saturating_sub(self.unsent.bytes());
        let least = (self.limits.queued_bytes / SMALL_PARTS).max(1);
        self.terms.share_bytes = (room / SHARES).max(least).min(self.limits.output_bytes.max(1));
        self.broker.pace(self.terms.share_bytes);
    }

    /// Whether as much work as allowed has been done in this turn: what else came waits for the next.
    pub fn is_spent(&self) -> bool {
        self.broker.work().saturating_sub(self.worked_before) >= self.limits.fanout_per_turn
    }

    /// Whether requests that have come wait for the next turn.
    pub fn is_behind(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Has the log say what the broker had to refuse or to end since the last time.
    fn tell_troubles(&mut self) {
        self.refusals.compare(&self.broker.counters(), self.terms.now.mono_ms);
    }

    /// Answers held connects that have something to say: a few, which are to be written before the next. Whether it is to
    /// be called again in this turn.
    pub fn flush(&mut self, now: Now) -> bool {
        self.terms.tell_time(now);
        self.settle();
        if self.flushed == 0 {
            // Answers are made in every turn, whatever requests have cost in it.
            self.enough = self.broker.work().saturating_add(self.limits.fanout_per_turn.max(1));
        }
        for _ in 0..self.limits.deliveries_at_once {
            self.answer.clear();
            let more = self.flushed < self.limits.deliveries_per_turn;
            let pulled = if more { self.broker.pull(self.enough, &mut self.answer) } else { None };
            let Some((link, ticket)) = pulled else {
                self.flushed = 0;
                self.followed = 0;
                self.worked_before = self.broker.work();
                return false;
            };
            self.flushed = self.flushed.saturating_add(1);
            if let Some(id) = local_of(link) {
                self.answer_local(id);
                continue;
            }
            let Some(key) = conn_key(link) else { continue };
            self.pack(key);
            let env = self.terms.env(&self.limits);
            let filled = self.conns.get_mut(key).is_some_and(|conn| conn.fill(ticket, &self.answer, env));
            debug_assert!(filled, "a session is held by a connection that does not wait for it");
            if !filled {
                self.broker.answered(ticket, link, now);
            }
            self.touch(key);
        }
        true
    }

    /// The next connection to look at in this turn.
    pub fn next_dirty(&mut self) -> Option<ConnKey> {
        while let Some(key) = self.dirty.pop() {
            if let Some(conn) = self.conns.get_mut(key) {
                conn.listed = false;
                return Some(key);
            }
        }
        None
    }

    /// What is to be done with a connection; `Close` for one that does not exist.
    pub fn step(&self, key: ConnKey) -> Step {
        self.conns.get(key).map_or(Step::Close, Conn::step)
    }

    /// The next bytes to write to a connection, in as many slices as fit; how many slices.
    pub fn slices<'a>(&'a self, key: ConnKey, slices: &mut [IoSlice<'a>]) -> usize {
        self.conns.get(key).map_or(0, |conn| conn.slices(slices))
    }

    /// Whether a connection's socket is to be read now.
    pub fn wants_input(&self, key: ConnKey) -> bool {
        self.conns.get(key).is_some_and(|conn| conn.wants_input(&self.limits, self.terms.env(&self.limits)))
    }

    /// Whether an incomplete request has come on a connection; for tests of the loop.
    #[cfg(test)]
    pub(crate) fn has_received(&self, key: ConnKey) -> bool {
        self.conns.get(key).is_some_and(|conn| conn.input_weight() > 0)
    }

    /// When to be called next, in ms of the monotonic clock, and why; `None`: not before something happens.
    pub fn poll_timeout(&self) -> Option<(u64, Wake)> {
        if self.broker.has_ready() || self.broker.has_commands() || !self.dirty.is_empty() || !self.unread.is_empty() {
            return Some((self.terms.now.mono_ms, Wake::Work));
        }
        let own = [self.refusals.next_report(), self.end_of_patience()];
        let deadlines = [self.broker.next_deadline(), self.wheel.next_deadline()].into_iter().chain(own);
        deadlines.flatten().min().map(|at| (at, Wake::Timer))
    }

    /// Whether nothing is kept for anyone: what must hold once all connections and sessions have ended.
    pub fn is_at_rest(&self) -> bool {
        self.conns.is_empty()
            && self.locals.is_empty()
            && self.wheel.is_empty()
            && self.unsent.is_empty()
            && self.received.is_empty()
            && self.broker.is_at_rest()
    }

    /// Has events numbered by a store of the simulator.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn set_store(&mut self, store: Box<dyn broker::history::Store>) {
        self.broker.set_store(store);
    }

    /// Whether commands of hooks wait; for the simulator.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn has_commands(&self) -> bool {
        self.broker.has_commands()
    }

    /// Checks that sessions and connections agree on what waits where; for the simulator.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn check_links(&self) {
        let mut wanted: Vec<(u64, u64)> = self.broker.links();
        let mut waiting: Vec<(u64, u64)> = Vec::new();
        for (key, conn) in self.conns.iter().filter(|(_, conn)| !conn.takes_no_more()) {
            waiting.extend(conn.tickets().iter().map(|ticket| (ticket.0, key.to_bits())));
        }
        waiting.extend(self.locals.tickets());
        wanted.sort_unstable();
        waiting.sort_unstable();
        assert_eq!(
            wanted, waiting,
            "sessions and the links of their events or connects, at the broker and at the links"
        );
    }

    /// Something about the connection has changed: it is looked at in this turn, and its timer is right.
    fn touch(&mut self, key: ConnKey) {
        // A connection that is to be closed takes no more events: its session keeps them for another one.
        if let Some(conn) = self.conns.get(key)
            && conn.takes_no_more()
        {
            for ticket in conn.tickets() {
                self.broker.detached(*ticket, link(key), self.terms.now);
            }
            self.broker.forget_link(link(key));
        }
        let step = self.step(key);
        if step != Step::Wait {
            self.list(key);
        }
        if !self.received.is_empty() {
            // What is refused keeps nothing.
            self.received.set(key, self.conns.get(key).map_or(0, Conn::input_weight));
        }
        // What waits to be written is tried first: mostly the socket takes all of it, and no timer was needed.
        if step != Step::Write {
            self.schedule(key);
        }
    }

    /// Has a connection looked at in this turn, once.
    fn list(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.get_mut(key)
            && !conn.listed
        {
            conn.listed = true;
            self.dirty.push(key);
        }
    }

    /// Sees to it that the connection's timer is not later than its deadline. An earlier one stays: when it fires, the
    /// deadline is looked at again. So traffic does not touch the wheel.
    fn schedule(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some(deadline) = conn.deadline(&self.limits, self.terms.env(&self.limits)) else { return };
        if let Some(timer) = conn.timer {
            if self.wheel.deadline(timer).is_some_and(|armed| armed <= deadline) {
                return;
            }
            self.wheel.cancel(timer);
        }
        conn.timer = Some(self.wheel.arm(deadline, key));
    }

    fn conn_due(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.timer = None;
        let env = self.terms.env(&self.limits);
        conn.mind_time(&self.limits, env);
        let due = conn.deadline(&self.limits, env).is_some_and(|deadline| deadline <= self.terms.now.mono_ms);
        if !self.unsent.is_empty() {
            // What others share with it may be its own by now.
            self.unsent.set(key, conn.pending_weight());
        }
        if due {
            match conn.timed_out(&self.limits, env) {
                Overdue::Nothing => {}
                Overdue::Slow => self.too_slow(key),
                Overdue::Aged => self.too_old(key),
                Overdue::Stuck => {
                    let who = Who { client: conn.peer().address, path: None };
                    self.refusals.note_end(
                        RefusalKind::Reader,
                        "too little was taken within write-timeout",
                        who,
                        self.terms.now.mono_ms,
                    );
                }
            }
        }
        self.touch(key);
    }

    /// Part of a request, or of a message, has not been followed by the rest in time.
    fn too_slow(&mut self, key: ConnKey) {
        if self.conns.get(key).is_some_and(Conn::is_shaking_hands) {
            return self.end_handshake(key, "the handshake did not end in time");
        }
        if self.is_socket(key) {
            let reason = "the message did not arrive in time";
            return self.refuse_frame(key, RefusalKind::Timeout, CloseCode::POLICY, reason);
        }
        if self.make_way(key) {
            self.fail(key, &Refusal::too_slow());
        }
    }

    /// A stream has been open for long enough, or the server ends.
    fn too_old(&mut self, key: ConnKey) {
        if self.is_socket(key) {
            return self.close_socket(key, CloseCode::GOING_AWAY, "the server ends");
        }
        self.end_poll(key);
    }
}

/// Whose request it is, by what is known of the client behind a proxy.
fn who<'a>(site: &Site, head: &Head<'a>, conn: &Conn) -> Who<'a> {
    let client = Forwarded::from_head(head, conn.peer(), &site.proxies).client;
    Who { client, path: Some(site.told_path(head.path)) }
}

fn link(key: ConnKey) -> Link {
    Link(key.to_bits())
}

fn conn_key(link: Link) -> Option<ConnKey> {
    ConnKey::from_bits(link.0)
}

#[cfg(test)]
mod tests;
