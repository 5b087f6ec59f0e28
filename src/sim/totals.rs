//! What has come out of many runs.
//!
//! Owns the sums, and whether the runs have shown what their scenarios are for.

use std::collections::BTreeMap;

use super::invariants::{Kind, Tally};
use super::scenario::Outcome;

/// Sums over many runs.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Runs.
    pub runs: u64,
    /// Turns of the server's loop.
    pub turns: u64,
    /// Virtual time, ms.
    pub simulated_ms: u64,
    /// Events given to connections.
    pub delivered: u64,
    pub(crate) tally: Tally,
    /// By scenario: runs, as how many are usual, what they are to show, and what happened.
    scenarios: BTreeMap<&'static str, (u64, u64, &'static [Kind], Tally)>,
}

impl Totals {
    /// One run more.
    pub fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.turns += outcome.turns;
        self.simulated_ms += outcome.simulated_ms;
        self.delivered += outcome.delivered;
        self.tally.join(&outcome.tally);
        let of = self
            .scenarios
            .entry(outcome.scenario)
            .or_insert_with(|| (0, outcome.usual, outcome.shows, Tally::default()));
        of.0 += 1;
        of.3.join(&outcome.tally);
    }

    /// The sums of other runs as well.
    pub fn join(&mut self, other: Self) {
        self.runs += other.runs;
        self.turns += other.turns;
        self.simulated_ms += other.simulated_ms;
        self.delivered += other.delivered;
        self.tally.join(&other.tally);
        for (name, (runs, usual, shows, tally)) in other.scenarios {
            let of = self.scenarios.entry(name).or_insert_with(|| (0, usual, shows, Tally::default()));
            of.0 += runs;
            of.3.join(&tally);
        }
    }

    /// How often what happened.
    pub fn counts(&self) -> impl Iterator<Item = (String, u64)> {
        self.tally.counts()
    }

    /// Which scenarios were played how often.
    pub fn scenarios(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.scenarios.iter().map(|(name, of)| (*name, of.0))
    }

    /// What scenarios have not shown although they were played as often as is usual and are there to show it.
    pub fn unseen(&self) -> Vec<String> {
        let usual = self.scenarios.iter().filter(|(_, (runs, usual, ..))| runs >= usual);
        let unseen = usual.flat_map(|(name, (_, _, shows, tally))| {
            shows.iter().filter(|kind| tally.of(**kind) == 0).map(move |kind| format!("{kind:?} in {name}"))
        });
        unseen.collect()
    }
}
