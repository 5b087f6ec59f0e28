//! Owns how several processes share one run. They talk through the server that they measure, on a channel of their own:
//! the first waits until all have said that they are parked, says that it starts, publishes, and says how much that
//! was; the others count what came to their own clients by that.

use super::{Progress, Stage};
use crate::args::Shard;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How often a shard says that it is parked, until it hears that the run starts.
const SAY_AGAIN_NS: u64 = 250_000_000;

/// What a shard says.
#[derive(Debug, Deserialize, Serialize)]
struct Note {
    run: u32,
    shard: u32,
    say: Say,
    /// Messages of each flow, at the end.
    #[serde(default)]
    published: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Say {
    Parked,
    Start,
    End,
}

/// The mark of a run, made of its name.
pub(super) fn mark(name: &str) -> u32 {
    // FNV-1a.
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl Stage<'_> {
    fn say(&mut self, shard: &Shard, say: Say) -> Result<(), String> {
        let published = if say == Say::End { self.swarm.ledger().published() } else { Vec::new() };
        let note = Note { run: self.swarm.run_mark(), shard: shard.index, say, published };
        let text = serde_json::to_string(&note).map_err(|error| format!("cannot tell the other shards: {error}"))?;
        self.swarm.note(self.plan.channels.len() - 1, &text);
        Ok(())
    }

    /// What the others have said since it was asked last.
    fn heard(&mut self) -> Vec<Note> {
        let run = self.swarm.run_mark();
        let notes = self.swarm.take_notes().into_iter().filter_map(|text| serde_json::from_str(&text).ok());
        notes.filter(|note: &Note| note.run == run).collect()
    }

    /// Waits until all shards are parked.
    pub(super) fn meet(&mut self, shard: &Shard) -> Result<(), String> {
        let mut parked = BTreeSet::from([shard.index]);
        let mut again = 0;
        loop {
            if shard.index > 1 && self.swarm.now() >= again {
                self.say(shard, Say::Parked)?;
                again = self.swarm.now() + SAY_AGAIN_NS;
            }
            for note in self.heard() {
                match note.say {
                    Say::Parked if shard.index == 1 && (1..=shard.of).contains(&note.shard) => {
                        parked.insert(note.shard);
                    }
                    Say::Start if shard.index > 1 => return Ok(()),
                    _ => {}
                }
            }
            if parked.len() == shard.of as usize {
                return self.say(shard, Say::Start);
            }
            let doing = match shard.index {
                1 => format!("waiting for the other shards, {} of {} are parked", parked.len(), shard.of),
                _ => "waiting for the first shard to start".into(),
            };
            self.check_time(&doing)?;
            let until = if shard.index > 1 { again } else { self.deadline };
            self.turn(until)?;
            self.no_fault()?;
        }
    }

    /// Tells the others that all is published.
    pub(super) fn tell_end(&mut self) -> Result<(), String> {
        match &self.common.shard {
            Some(shard) => self.say(shard, Say::End),
            None => Ok(()),
        }
    }

    /// Counts what another shard publishes. Gives a complaint if something is missing for too long.
    pub(super) fn listen(&mut self, drain_s: u64) -> Result<Option<String>, String> {
        let mut ended = false;
        let mut progress = Progress::default();
        loop {
            for note in self.heard() {
                if note.say == Say::End && !std::mem::replace(&mut ended, true) {
                    self.swarm.ledger_mut().settle_foreign(&note.published);
                }
            }
            let (now, missing) = (self.swarm.now(), self.missing());
            if ended && missing == 0 {
                return Ok(None);
            }
            progress.note((u32::from(ended), missing, self.swarm.last_delivery()), now);
            let until = if ended { progress.since + drain_s * super::NS_PER_S } else { self.deadline };
            if ended && now >= until {
                return Ok(Some(format!("nothing was delivered for {drain_s} s")));
            }
            if let Err(late) = self.check_time("waiting for the first shard to end") {
                return Ok(Some(late));
            }
            self.turn(until)?;
        }
    }
}
