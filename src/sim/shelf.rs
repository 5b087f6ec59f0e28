//! What the server keeps, said once more in other words than its own.
//!
//! Owns a model of the rings, fed by a store that numbers as the server's own does and tells the world of each event: which
//! number which event has, and since when it may be gone.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::bayeux::Channel;
use crate::broker::history::{Appended, Memory, Store};
use crate::broker::rules::{Keep, Rule};
use crate::limits::Limits;

use super::invariants::{Mark, marks, matches};

/// An event that was numbered.
#[derive(Clone, Debug)]
pub(crate) struct Numbered {
    pub(crate) id: u64,
    pub(crate) channel: String,
    pub(crate) json: Vec<u8>,
}

/// Where the store writes, and the world reads.
pub(crate) type Tap = Rc<RefCell<Vec<Numbered>>>;

/// The server's own store, with a tap.
pub(crate) struct Tapped {
    pub(crate) store: Memory,
    pub(crate) tap: Tap,
}

impl Store for Tapped {
    fn start(&self) -> u64 {
        self.store.start()
    }

    fn append(&mut self, channel: Channel<'_>, json: &[u8]) -> Appended {
        let appended = self.store.append(channel, json);
        if let Appended::Now(id) = appended {
            let channel = channel.as_str().to_owned();
            self.tap.borrow_mut().push(Numbered { id, channel, json: json.to_vec() });
        }
        appended
    }
}

/// One event.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) mark: Mark,
    pub(crate) channel: String,
    pub(crate) at: u64,
    bytes: usize,
    /// Since when it is gone.
    pub(crate) gone_at: Option<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    ids: VecDeque<u64>,
    bytes: usize,
    used: u64,
}

/// All events that were numbered, and which of them are kept.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) rules: Vec<Rule>,
    pub(crate) limits: Limits,
    pub(crate) entries: BTreeMap<u64, Entry>,
    ids: BTreeMap<Mark, u64>,
    rings: BTreeMap<String, Ring>,
    /// The number before the first of this life of the server.
    pub(crate) start: u64,
}

impl Shelf {
    /// The number of an event.
    pub(crate) fn id_of(&self, mark: Mark) -> Option<u64> {
        self.ids.get(&mark).copied()
    }

    /// The server begins a new life: nothing is kept.
    pub(crate) fn restart(&mut self, now: u64, start: u64) {
        self.entries.values_mut().for_each(|entry| entry.gone_at = Some(entry.gone_at.map_or(now, |at| at.min(now))));
        self.rings.clear();
        self.start = start;
    }

    fn keep_of(&self, channel: &str) -> Keep {
        let rule = self.rules.iter().filter(|rule| rule.history.is_some() && matches(&rule.pattern, channel));
        rule.max_by_key(|rule| rule.pattern.len()).and_then(|rule| rule.history.flatten()).expect("only these are kept")
    }

    /// An event was numbered.
    pub(crate) fn put(&mut self, numbered: &Numbered, now: u64) {
        let Numbered { id, channel, json } = numbered;
        let newest = self.entries.keys().last().copied().unwrap_or_default();
        assert!(*id > newest, "number {id} comes after {newest}");
        // Hostile people publish on channels of their own.
        let mark = marks(json).next();
        let own = !["/a/", "/x"].iter().any(|stem| channel.starts_with(stem));
        assert!(mark.is_some() || own, "an event without a mark: {numbered:?}");
        let mark = mark.unwrap_or(Mark::MAX);
        let keep = self.keep_of(channel);
        if !self.rings.contains_key(channel) && self.rings.len() >= self.limits.history_channels {
            self.forget(now);
        }
        let (bytes, gone_at) = (json.len(), Some(now.saturating_add(keep.age_ms)).filter(|at| *at < u64::MAX));
        self.ids.insert(mark, *id);
        self.entries.insert(*id, Entry { mark, channel: channel.clone(), at: now, bytes, gone_at });
        let ring = self.rings.entry(channel.clone()).or_default();
        ring.used = *id;
        if bytes > keep.bytes.min(self.limits.history_bytes) {
            // There is no room for one so large; nothing else makes way for it.
            self.entries.entry(*id).and_modify(|entry| entry.gone_at = Some(now));
            return;
        }
        ring.bytes += bytes;
        ring.ids.push_back(*id);
        while self.rings.get(channel).is_some_and(|ring| ring.ids.len() > keep.count || ring.bytes > keep.bytes) {
            self.evict(channel, now);
        }
        while self.bytes() > self.limits.history_bytes {
            let full = self.rings.iter().filter(|(_, ring)| !ring.ids.is_empty());
            let oldest = full.min_by_key(|(_, ring)| ring.used).map(|(name, _)| name.clone());
            self.evict(&oldest.expect("what has bytes has events"), now);
        }
    }

    fn evict(&mut self, channel: &str, now: u64) {
        let Some(ring) = self.rings.get_mut(channel) else { return };
        let Some(entry) = ring.ids.pop_front().and_then(|id| self.entries.get_mut(&id)) else { return };
        ring.bytes -= entry.bytes;
        entry.gone_at = Some(entry.gone_at.map_or(now, |at| at.min(now)));
    }

    fn forget(&mut self, now: u64) {
        let oldest = self.rings.iter().min_by_key(|(_, ring)| (!ring.ids.is_empty(), ring.used));
        let Some(name) = oldest.map(|(name, _)| name.clone()) else { return };
        while self.rings.get(&name).is_some_and(|ring| !ring.ids.is_empty()) {
            self.evict(&name, now);
        }
        self.rings.remove(&name);
    }

    /// Bytes that are kept at most.
    pub(crate) fn bytes(&self) -> usize {
        self.rings.values().map(|ring| ring.bytes).sum()
    }

    /// Whether something of a pattern after a number was gone at that time.
    pub(crate) fn misses(&self, pattern: &str, after: u64, at: u64) -> bool {
        let mut later = self.entries.range(after + 1..).map(|(_, entry)| entry);
        later.any(|entry| entry.gone_at.is_some_and(|gone| gone <= at) && matches(pattern, &entry.channel))
    }
}
