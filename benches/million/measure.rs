//! One engine that grows, and what it costs at each size.
//!
//! Owns the counting of bytes and the rounds. What each figure stands for is told in `main`.

use std::alloc::System;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::world::{Crowd, Shuffle, Spent};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is published: 50 bytes.
const DATA: &str = "\"................................................\"";
/// How long a connect is held without an event, ms.
const TIMEOUT_MS: u64 = 30_000;
/// Rounds of timeouts.
const TIMEOUT_ROUNDS: usize = 3;

/// In which order clients do things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// That in which they came.
    Joined,
    /// Another one each time.
    Random,
}

/// What is known of one size. Bytes, allocations and nanoseconds are per session.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) order: Order,
    pub(crate) sessions: usize,
    pub(crate) rounds: usize,
    pub(crate) connection_bytes: f64,
    pub(crate) session_bytes: f64,
    pub(crate) all_bytes: f64,
    pub(crate) queue_ns: f64,
    pub(crate) frame_ns: f64,
    pub(crate) written_ns: f64,
    pub(crate) connect_ns: f64,
    pub(crate) publish_ns: f64,
    pub(crate) cycle_ns: f64,
    pub(crate) timeout_ns: f64,
    pub(crate) allocations: f64,
}

/// An engine and its clients, from the first one on.
pub(crate) struct Study {
    crowd: Crowd,
    order: Order,
    /// What was allocated before the engine had clients, bytes.
    before: usize,
    connection_bytes: usize,
    session_bytes: usize,
}

/// Bytes allocated now.
fn allocated() -> usize {
    let stats = COUNTED.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Calls of the allocator until now, but for those that give back.
fn allocations() -> usize {
    let stats = COUNTED.stats();
    stats.allocations + stats.reallocations
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

impl Study {
    /// An engine without clients, and room for so many.
    pub(crate) fn new(most: usize, order: Order) -> Self {
        let shuffle = (order == Order::Random).then_some(Shuffle(1));
        let crowd = Crowd::new(most, Vec::new(), shuffle);
        Self { crowd, order, before: allocated(), connection_bytes: 0, session_bytes: 0 }
    }

    /// Grows to so many sessions and takes all figures.
    pub(crate) fn at(&mut self, sessions: usize, rounds: usize) -> Row {
        self.grow(sessions);
        // A first round that does not count: tables and caches get to the size that they keep.
        self.publish();
        self.park();
        let all_bytes = allocated() - self.before;
        let per = |spent: Duration| spent.as_nanos() as f64 / sessions as f64;
        let called = allocations();
        let taken: Vec<(Spent, Duration)> = (0..rounds).map(|_| (self.publish(), self.park())).collect();
        // The clients' own share is one list a round, and one text.
        let called = allocations() - called;
        let mid = |what: fn(Spent, Duration) -> Duration| {
            median(taken.iter().map(|(spent, connect)| per(what(*spent, *connect))).collect())
        };
        let timeout_ns = median((0..TIMEOUT_ROUNDS).map(|_| per(self.time_out())).collect());
        Row {
            order: self.order,
            sessions,
            rounds,
            connection_bytes: self.connection_bytes as f64 / sessions as f64,
            session_bytes: self.session_bytes as f64 / sessions as f64,
            all_bytes: all_bytes as f64 / sessions as f64,
            queue_ns: mid(|spent, _| spent.publish),
            frame_ns: mid(|spent, _| spent.flush),
            written_ns: mid(|spent, _| spent.written),
            connect_ns: mid(|_, connect| connect),
            publish_ns: mid(|spent, _| spent.publish + spent.flush),
            cycle_ns: mid(|spent, connect| connect + spent.flush + spent.written),
            timeout_ns,
            allocations: called as f64 / (rounds * sessions) as f64,
        }
    }

    fn grow(&mut self, sessions: usize) {
        let from = self.crowd.len();
        let crowd = &mut self.crowd;
        let before = allocated();
        crowd.accept(sessions - from);
        let accepted = allocated();
        crowd.join(from);
        crowd.park(from);
        self.connection_bytes += accepted - before;
        self.session_bytes += allocated() - accepted;
        let census = crowd.engine.census();
        assert_eq!((census.connections, census.sessions, census.parked), (sessions, sessions, sessions));
    }

    fn publish(&mut self) -> Spent {
        let before = self.crowd.engine.counters();
        let spent = self.crowd.publish(DATA);
        let after = self.crowd.engine.counters();
        assert_eq!(after.delivered - before.delivered, self.crowd.len() as u64, "the event to each session, once");
        assert_eq!(after.encoded - before.encoded, 1, "one encoding for all");
        assert_eq!(self.crowd.engine.census().parked, 0, "each connect has been answered");
        spent
    }

    fn park(&mut self) -> Duration {
        let spent = self.crowd.park(0);
        assert_eq!(self.crowd.engine.census().parked, self.crowd.len(), "each connect is held");
        spent
    }

    /// Nothing happens until all connects have been answered; then they come again.
    fn time_out(&mut self) -> Duration {
        let (before, mut spent) = (self.crowd.engine.counters(), Duration::ZERO);
        self.crowd.now.mono_ms += TIMEOUT_MS;
        while self.crowd.engine.census().parked > 0 {
            spent += self.crowd.turn().total();
        }
        let after = self.crowd.engine.counters();
        assert_eq!((after.delivered, after.sessions_removed), (before.delivered, 0), "no event, and nobody is lost");
        self.park();
        spent
    }

    /// All clients leave; nothing may remain of them.
    pub(crate) fn end(mut self) {
        self.crowd.leave();
        assert!(self.crowd.engine.is_at_rest(), "{:?}", self.crowd.engine.census());
    }
}
