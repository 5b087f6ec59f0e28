//! What keeps hostile people out: budgets of bytes, least progress, turns.
//!
//! Owns how often each was reached, and what must hold of it at every moment: that budgets count what is there, that what
//! waits at slow readers keeps to its bound, and that nobody who takes too little is kept.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::limits::Limits;

use super::invariants::{Kind, Tally};
use super::network::WireId;

/// Bytes of one reply, at most, but for what it repeats of the message.
const REPLY: usize = 512;

/// A connection that has not taken all that is pending.
#[derive(Clone, Copy, Debug)]
struct Slow {
    /// Since its last progress, ms.
    since: u64,
    /// Bytes since then.
    taken: usize,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Guards {
    limits: Limits,
    pub(crate) reached: Tally,
    slow: BTreeMap<WireId, Slow>,
    paced: bool,
}

impl Guards {
    /// Those of an engine with these limits.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limits: limits.clone(), reached: Tally::default(), slow: BTreeMap::new(), paced: false }
    }

    /// A life of the server ends.
    pub(crate) fn note_life(&mut self, engine: &Engine) {
        self.reached.add(Kind::RateReached, engine.counters().handshakes_hasty);
    }

    /// All that came in a turn has been looked at, as far as there was room for it.
    pub(crate) fn note_turn(&mut self, engine: &Engine) {
        self.reached.add(Kind::FanoutReached, u64::from(engine.is_spent()));
        let paced = engine.census().unsent_bytes >= self.limits.half_of_queued();
        self.reached.add(Kind::UnsentReached, u64::from(paced && !self.paced));
        self.paced = paced;
    }

    /// Bytes have left the server.
    pub(crate) fn note_answer(&mut self, bytes: &[u8]) {
        let Some(status) = bytes.strip_prefix(b"HTTP/1.1 ") else { return };
        if status.starts_with(b"421") {
            self.reached.add(Kind::HostReached, 1);
        } else if status.starts_with(b"503") {
            let text = b"Too much is being received";
            let found = bytes.windows(text.len()).any(|window| window == text);
            self.reached.add(Kind::ReceivedReached, u64::from(found));
        }
    }

    /// A socket took so many bytes; whether that was all that was pending.
    pub(crate) fn took(&mut self, wire: WireId, bytes: usize, all: bool, now: u64) {
        if all {
            self.slow.remove(&wire);
            return;
        }
        let slow = self.slow.entry(wire).or_insert(Slow { since: now, taken: 0 });
        slow.taken += bytes;
        if slow.taken >= self.limits.write_bytes {
            *slow = Slow { since: now, taken: 0 };
        }
    }

    /// A connection is gone.
    pub(crate) fn ended(&mut self, wire: WireId, now: u64) {
        let Some(slow) = self.slow.remove(&wire) else { return };
        if now >= slow.since + self.limits.write_ms {
            self.reached.add(if slow.taken > 0 { Kind::SlowReached } else { Kind::StuckReached }, 1);
        }
    }

    /// At this time nothing more happens: whoever has taken too little for too long is gone.
    pub(crate) fn check_patience(&self, now: u64) {
        for (wire, slow) in &self.slow {
            let late = now >= slow.since + self.limits.write_ms;
            assert!(!late, "connection {} is kept and has taken {} bytes since {}", wire.0, slow.taken, slow.since);
        }
    }

    /// After a turn.
    pub(crate) fn check(&self, engine: &Engine) {
        let census = engine.census();
        let received = engine.input_weight();
        assert!(census.received_bytes >= received, "{received} bytes are kept of what came: {census:?}");
        assert_eq!(census.unsent_bytes > 0, !self.slow.is_empty(), "{} sockets are slow: {census:?}", self.slow.len());
        if !self.slow.is_empty() {
            // Where there is no room left, who has nothing pending still gets an event, or the answer to a batch.
            let one = self.limits.body_bytes + self.limits.batch_messages * REPLY;
            let unsent = engine.unsent_beyond(one);
            assert!(unsent <= self.limits.queued_bytes, "{unsent} bytes wait at slow readers: {census:?}");
        }
    }
}
