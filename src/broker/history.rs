//! Events that are kept, to be read again by whoever was away.
//!
//! Owns the rings, one for each channel with a history, and their bounds; and the seam to where events get their numbers.
//! Must not know sessions.
//!
//! One counter numbers all events that are kept, so numbers increase in every channel and in every pattern, with gaps. It
//! begins at the Unix second of the start shifted by 20 bits: a number of another life of the server is recognised, and any
//! number fits into a double (2^53) until the year 2242. What is not there any more is told, never passed over: who reads
//! on from before the oldest event learns that something is missing. How much that was is not known, for there are gaps.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use crate::bayeux::{Channel, Pattern};
use crate::event::Event;
use crate::limits::Limits;

use super::pattern::{Depth, OwnedPattern};
use super::rules::Keep;
use super::sums;

/// Bits of a number that count events; above them stands the second of the start.
const COUNT_BITS: u32 = 20;

/// What a store says of an event that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It has this number.
    Now(u64),
    /// Its number comes later, by [`Broker::stored`](super::Broker::stored), in the order of giving. It is delivered then.
    Later,
}

/// Where the events of channels with a history get their numbers, and may be kept beyond the life of the process: the seam
/// for a log on another machine. It must not wait for anything: what takes time is answered later.
pub trait Store {
    /// The number before the first one that it gives in this life.
    fn start(&self) -> u64;

    /// Takes a copy of an encoded event, in which the number is still blank.
    fn append(&mut self, channel: Channel<'_>, json: &[u8]) -> Appended;
}

/// The store that keeps nothing beyond the life of the process.
#[derive(Debug)]
pub struct Memory {
    start: u64,
    newest: u64,
}

impl Memory {
    /// Numbers as of this time.
    pub fn new(unix_ms: u64) -> Self {
        let start = (unix_ms / 1_000) << COUNT_BITS;
        Self { start, newest: start }
    }
}

impl Store for Memory {
    fn start(&self) -> u64 {
        self.start
    }

    fn append(&mut self, _channel: Channel<'_>, _json: &[u8]) -> Appended {
        sums::one(&mut self.newest);
        Appended::Now(self.newest)
    }
}

/// One event that is kept.
#[derive(Debug)]
struct Kept {
    id: u64,
    /// When it goes, ms.
    until_ms: u64,
    event: Rc<Event>,
}

/// What has gone.
#[derive(Clone, Copy, Debug, Default)]
struct Gone {
    /// The number of the newest event of it; 0: nothing has.
    newest: u64,
    /// How many events had gone then, of all channels.
    at: u64,
}

/// The events of one channel, oldest first.
#[derive(Debug)]
struct Ring {
    kept: VecDeque<Kept>,
    bytes: usize,
    gone: Gone,
    /// When it was last used; its place in the order in which channels make room.
    used: u64,
}

/// What a reader wants: events of a pattern after a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// A channel or a pattern.
    pub pattern: OwnedPattern,
    /// The number of the newest event that the reader has; 0: whatever there is.
    pub after: u64,
    /// The newest number when it began: later events reach the reader by reading alone, whichever of its patterns they match.
    began: u64,
    /// How many events had gone when it was last told of what is missing.
    told: u64,
}

impl Wanted {
    /// What was kept before it began is not wanted any more.
    pub fn skip_old(&mut self) {
        self.after = self.after.max(self.began);
    }

    /// Whether events of the channel are among it.
    pub fn covers(&self, channel: Channel<'_>) -> bool {
        self.pattern.covers(channel)
    }
}

/// How much is read at once.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Events.
    pub count: usize,
    /// Bytes.
    pub bytes: usize,
    /// Whether one event is read even if it has more.
    pub one_at_least: bool,
}

/// What a reader gets.
#[derive(Debug, Default)]
pub struct Read {
    /// Events in the order of their numbers, each once.
    pub events: Vec<Rc<Event>>,
    /// The patterns of which something has gone before it could be read.
    pub lost: Vec<String>,
}

/// All that is kept. See the [module](self).
#[derive(Debug)]
pub struct History {
    rings: HashMap<Rc<str>, Ring>,
    /// The rings with events, by their last use.
    full: BTreeMap<u64, Rc<str>>,
    /// Those without, which only know what has gone.
    empty: BTreeMap<u64, Rc<str>>,
    bytes: usize,
    most_bytes: usize,
    most_channels: usize,
    start: u64,
    newest: u64,
    /// Events that have gone, because of whatever bound.
    evicted: u64,
    /// The channels that had to go as a whole.
    gone: Gone,
    clock: u64,
}

impl History {
    /// Nothing; `start` is the number before the first.
    pub fn new(start: u64, limits: &Limits) -> Self {
        Self {
            most_bytes: limits.history_bytes,
            most_channels: limits.history_channels,
            rings: HashMap::new(),
            full: BTreeMap::new(),
            empty: BTreeMap::new(),
            bytes: 0,
            start,
            newest: start,
            evicted: 0,
            gone: Gone::default(),
            clock: 0,
        }
    }

    /// The number of the newest event that was kept, or the one before the first.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Names this life of the server: the second of its start.
    pub fn epoch(&self) -> u64 {
        self.start >> COUNT_BITS
    }

    /// Bytes of events that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Events that are kept.
    pub fn events(&self) -> usize {
        self.rings.values().map(|ring| ring.kept.len()).sum()
    }

    /// Changes the bounds of all; they hold from the next event on.
    pub fn bound(&mut self, limits: &Limits) {
        self.most_bytes = limits.history_bytes;
        self.most_channels = limits.history_channels;
    }

    /// Keeps an event, and lets go what there is no room for.
    pub fn keep(&mut self, channel: Channel<'_>, event: &Rc<Event>, keep: Keep, now_ms: u64) {
        let Some(id) = event.id() else { return };
        self.newest = self.newest.max(id);
        let name = self.used(channel.as_str());
        let bytes = event.json().len();
        let Some(ring) = self.rings.get_mut(&name) else { return };
        if bytes > keep.bytes.min(self.most_bytes) {
            // Who reads on from before it hears that it is missing.
            sums::one(&mut self.evicted);
            ring.gone = Gone { newest: id, at: self.evicted };
            return;
        }
        ring.kept.push_back(Kept { id, until_ms: now_ms.saturating_add(keep.age_ms), event: Rc::clone(event) });
        sums::put(&mut ring.bytes, bytes);
        sums::put(&mut self.bytes, bytes);
        self.trim(&name, |ring| {
            let old = ring.kept.front().is_some_and(|oldest| oldest.until_ms <= now_ms);
            ring.kept.len() > keep.count || ring.bytes > keep.bytes || old
        });
        while self.bytes > self.most_bytes {
            let Some(name) = self.full.values().next().cloned() else { return };
            let mut first = true;
            self.trim(&name, |_| core::mem::take(&mut first));
        }
    }

    /// The ring of a channel, which is now the one that was used last. Makes room for it if it is new.
    fn used(&mut self, channel: &str) -> Rc<str> {
        if !self.rings.contains_key(channel) {
            while self.rings.len() >= self.most_channels.max(1) {
                self.forget();
            }
        }
        let name = self.rings.get_key_value(channel).map_or_else(|| channel.into(), |(name, _)| Rc::clone(name));
        sums::one(&mut self.clock);
        let fresh = || Ring { kept: VecDeque::new(), bytes: 0, gone: Gone::default(), used: 0 };
        let ring = self.rings.entry(Rc::clone(&name)).or_insert_with(fresh);
        self.full.remove(&ring.used);
        self.empty.remove(&ring.used);
        ring.used = self.clock;
        // It is written to, or `trim` puts it where it belongs.
        self.full.insert(self.clock, Rc::clone(&name));
        name
    }

    /// Drops the oldest events of a channel as long as they are `too_many`.
    fn trim(&mut self, name: &Rc<str>, mut too_many: impl FnMut(&Ring) -> bool) {
        let Some(ring) = self.rings.get_mut(name) else { return };
        while !ring.kept.is_empty() && too_many(ring) {
            let Some(oldest) = ring.kept.pop_front() else { return };
            let bytes = oldest.event.json().len();
            sums::take(&mut ring.bytes, bytes);
            sums::take(&mut self.bytes, bytes);
            sums::one(&mut self.evicted);
            // One that was never kept, for its size, may be newer.
            ring.gone = Gone { newest: ring.gone.newest.max(oldest.id), at: self.evicted };
        }
        if ring.kept.is_empty() && self.full.remove(&ring.used).is_some() {
            self.empty.insert(ring.used, Rc::clone(name));
        }
    }

    /// Drops the channel that was used least recently as a whole; one without events before one with.
    fn forget(&mut self) {
        let Some((_, name)) = self.empty.pop_first().or_else(|| self.full.pop_first()) else { return };
        let Some(ring) = self.rings.remove(&name) else { return };
        sums::take(&mut self.bytes, ring.bytes);
        sums::add(&mut self.evicted, ring.kept.len() as u64);
        let newest = ring.kept.back().map_or(0, |newest| newest.id).max(ring.gone.newest);
        self.gone = Gone { newest: self.gone.newest.max(newest), at: self.evicted.max(ring.gone.at) };
    }

    /// The channels with a history that any of the patterns matches, each once. As many look-ups as there are names, and one
    /// walk over all channels if there are wildcards.
    fn names<'p>(&self, patterns: impl Iterator<Item = &'p OwnedPattern>) -> Vec<Rc<str>> {
        let mut wildcards = Vec::new();
        let mut names: Vec<Rc<str>> = Vec::new();
        for pattern in patterns {
            match (pattern.depth(), pattern.stem()) {
                (Depth::Exact, channel) if !names.iter().any(|name| **name == *channel) => {
                    names.extend(self.rings.get_key_value(channel).map(|(name, _)| Rc::clone(name)));
                }
                (Depth::Exact, _) => {}
                (Depth::Children | Depth::Descendants, _) => wildcards.push(pattern),
            }
        }
        if !wildcards.is_empty() {
            let any = |name: &str| {
                Channel::parse(name).is_ok_and(|channel| wildcards.iter().any(|pattern| pattern.covers(channel)))
            };
            names.retain(|name| !any(name));
            names.extend(self.rings.keys().filter(|name| any(name)).cloned());
        }
        names
    }

    fn expire(&mut self, name: &Rc<str>, now_ms: u64) {
        self.trim(name, |ring| ring.kept.front().is_some_and(|oldest| oldest.until_ms <= now_ms));
    }

    /// Whether somebody who has the events of the pattern up to a number misses something that this will not give: the
    /// number is of another life, or events after it are gone.
    pub fn has_lost(&mut self, pattern: Pattern<'_>, after: u64, now_ms: u64) -> bool {
        if after < self.start || after > self.newest || after < self.gone.newest {
            return true;
        }
        let names = self.names(core::iter::once(&pattern.into()));
        // All of them, whichever is looked at first: in what order they stand is chance.
        names.iter().for_each(|name| self.expire(name, now_ms));
        names.iter().any(|name| self.rings.get(name).is_some_and(|ring| after < ring.gone.newest))
    }

    /// What a reader is to ask for, who has been told of what is missing by now. A number that is not of this life means
    /// everything.
    pub fn wanted(&mut self, pattern: Pattern<'_>, after: u64, now_ms: u64) -> Wanted {
        for name in self.names(core::iter::once(&pattern.into())) {
            self.expire(&name, now_ms);
        }
        let after = if (self.start..=self.newest).contains(&after) { after } else { 0 };
        Wanted { pattern: pattern.into(), after, began: self.newest, told: self.evicted }
    }

    /// Reads the next events, in the order of their numbers, each once however many of the patterns want it. Moves `wanted`
    /// on, and empties it at the end.
    pub fn read(&mut self, wanted: &mut Vec<Wanted>, room: Room, now_ms: u64) -> Read {
        let names = self.names(wanted.iter().map(|one| &one.pattern));
        names.iter().for_each(|name| self.expire(name, now_ms));
        let lost = self.lost(wanted, &names);
        let mut found: Vec<&Kept> = Vec::new();
        for name in &names {
            let (Ok(channel), Some(ring)) = (Channel::parse(name), self.rings.get(name)) else { continue };
            let asked = wanted.iter().filter(|one| one.covers(channel));
            let after = asked.map(|one| one.after).min().unwrap_or_default();
            let from = ring.kept.partition_point(|kept| kept.id <= after);
            // One more than there is room for shows that there is more.
            found.extend(ring.kept.range(from..).take(room.count.saturating_add(1)));
        }
        found.sort_unstable_by_key(|kept| kept.id);
        let mut bytes = 0;
        let fits = |(at, kept): &(usize, &&Kept)| {
            sums::put(&mut bytes, kept.event.json().len());
            *at < room.count && (*at == 0 && room.one_at_least || bytes <= room.bytes)
        };
        let count = found.iter().enumerate().take_while(fits).count();
        if count == found.len() {
            wanted.clear();
        } else {
            let last = count.checked_sub(1).and_then(|last| found.get(last)).map_or(0, |last| last.id);
            for one in wanted.iter_mut() {
                one.after = one.after.max(last);
                one.told = self.evicted;
            }
        }
        Read { events: found.iter().take(count).map(|kept| Rc::clone(&kept.event)).collect(), lost }
    }

    /// The patterns of which something has gone since their reader was last told.
    fn lost(&self, wanted: &[Wanted], names: &[Rc<str>]) -> Vec<String> {
        let missed = |one: &Wanted, gone: Gone| one.after < gone.newest && one.told < gone.at;
        let is_lost = |one: &&Wanted| {
            missed(one, self.gone)
                || names.iter().any(|name| {
                    self.rings.get(name).is_some_and(|ring| missed(one, ring.gone))
                        && Channel::parse(name).is_ok_and(|channel| one.covers(channel))
                })
        };
        wanted.iter().filter(is_lost).map(|one| one.pattern.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_795_000_000 << COUNT_BITS;

    /// A history, with events of ten bytes named by their number.
    struct Bench {
        history: History,
        store: Memory,
        keep: Keep,
        limits: Limits,
        now_ms: u64,
    }

    impl Bench {
        fn new(count: usize) -> Self {
            let store = Memory::new(1_795_000_000_999);
            let keep = Keep { count, bytes: 1_000, age_ms: 100 };
            Self {
                history: History::new(store.start(), &Limits::default()),
                store,
                keep,
                limits: Limits::default(),
                now_ms: 0,
            }
        }

        fn put(&mut self, channel: &str) -> u64 {
            self.put_bytes(channel, 10)
        }

        fn put_bytes(&mut self, channel: &str, bytes: usize) -> u64 {
            let channel = Channel::parse(channel).unwrap();
            let Appended::Now(id) = self.store.append(channel, b"") else { panic!("memory does not wait") };
            let event = Event::numbered(&vec![b' '; bytes], 0..0, Some(id));
            self.history.bound(&self.limits);
            self.history.keep(channel, &event, self.keep, self.now_ms);
            id - START
        }

        fn read(&mut self, wanted: &[(&str, u64)], count: usize) -> (Vec<u64>, Vec<String>) {
            let mut wanted: Vec<Wanted> = wanted
                .iter()
                .map(|(name, after)| self.history.wanted(pattern(name), START + after, self.now_ms))
                .collect();
            self.go_on(&mut wanted, count)
        }

        fn go_on(&mut self, wanted: &mut Vec<Wanted>, count: usize) -> (Vec<u64>, Vec<String>) {
            let read = self.history.read(wanted, Room { count, bytes: 1_000, one_at_least: true }, self.now_ms);
            let ids = read.events.iter().map(|event| event.id().unwrap() - START).collect();
            (ids, read.lost)
        }

        fn has_lost(&mut self, name: &str, after: u64) -> bool {
            self.history.has_lost(pattern(name), START + after, self.now_ms)
        }
    }

    fn pattern(name: &str) -> Pattern<'_> {
        Pattern::parse(name).unwrap()
    }

    fn lossless(ids: &[u64]) -> (Vec<u64>, Vec<String>) {
        (ids.to_vec(), Vec::new())
    }

    #[test]
    fn numbers_begin_at_the_second_of_the_start_and_count_for_all_channels() {
        let mut bench = Bench::new(10);
        assert_eq!((bench.history.epoch(), bench.history.newest()), (1_795_000_000, START));
        assert_eq!([bench.put("/a"), bench.put("/b"), bench.put("/a")], [1, 2, 3]);
        assert_eq!(bench.history.newest(), START + 3);
    }

    #[test]
    fn what_is_too_old_goes_from_all_channels_that_are_asked_for() {
        let mut bench = Bench::new(10);
        for channel in ["/a", "/b", "/c", "/d", "/e/f"] {
            bench.put(channel);
        }
        bench.now_ms = 100;
        assert!(bench.has_lost("/*", 0));
        assert_eq!(bench.history.events(), 1, "of /e/f nobody has asked");
    }

    #[test]
    fn a_reader_gets_what_came_after_in_order_and_once() {
        let mut bench = Bench::new(10);
        for channel in ["/a", "/b/c", "/a", "/b/d", "/b/c"] {
            bench.put(channel);
        }
        assert_eq!(bench.read(&[("/a", 0)], 9), lossless(&[1, 3]));
        assert_eq!(bench.read(&[("/a", 1)], 9), lossless(&[3]));
        assert_eq!(bench.read(&[("/b/*", 2)], 9), lossless(&[4, 5]));
        assert_eq!(bench.read(&[("/**", 0), ("/a", 0)], 9), lossless(&[1, 2, 3, 4, 5]));
        assert_eq!(bench.read(&[("/a", 2), ("/b/c", 0)], 9), lossless(&[2, 3, 5]));
        assert_eq!(bench.read(&[("/nobody", 0)], 9), lossless(&[]));
    }

    #[test]
    fn what_is_read_piece_by_piece_is_the_same() {
        for count in 1..7 {
            let mut bench = Bench::new(10);
            for channel in ["/a", "/b/c", "/a", "/b/d", "/b/c", "/a"] {
                bench.put(channel);
            }
            let mut wanted =
                vec![bench.history.wanted(pattern("/a"), 0, 0), bench.history.wanted(pattern("/b/*"), START + 2, 0)];
            let mut all = Vec::new();
            let mut rounds = 0;
            while !wanted.is_empty() {
                let (ids, lost) = bench.go_on(&mut wanted, count);
                assert!(lost.is_empty() && ids.len() <= count);
                all.extend(ids);
                rounds += 1;
            }
            assert_eq!(all, [1, 3, 4, 5, 6], "{count} at once");
            assert_eq!(rounds, 5_usize.div_ceil(count));
        }
    }

    #[test]
    fn bytes_end_a_piece_but_one_event_is_read_in_any_case() {
        let mut bench = Bench::new(10);
        bench.put_bytes("/a", 600);
        bench.put_bytes("/a", 400);
        let mut wanted = vec![bench.history.wanted(pattern("/a"), 0, 0)];
        let ids = |read: Read| read.events.iter().map(|event| event.id().unwrap() - START).collect::<Vec<_>>();
        assert_eq!(ids(bench.history.read(&mut wanted, Room { count: 9, bytes: 500, one_at_least: true }, 0)), [1]);
        assert_eq!(ids(bench.history.read(&mut wanted, Room { count: 9, bytes: 500, one_at_least: true }, 0)), [2]);
        assert!(wanted.is_empty());
    }

    #[test]
    fn the_bounds_of_a_channel_hold_and_who_asks_from_before_is_told() {
        let mut bench = Bench::new(3);
        (0..4).for_each(|_| _ = bench.put("/a"));
        assert_eq!(bench.read(&[("/a", 1)], 9), lossless(&[2, 3, 4]));
        assert!(bench.has_lost("/a", 0) && !bench.has_lost("/a", 1));
        assert!(bench.has_lost("/**", 0) && !bench.has_lost("/b", 0));
        bench.put_bytes("/a", 985);
        assert_eq!((bench.history.events(), bench.history.bytes()), (2, 995), "bytes bound it as well");
        bench.now_ms = 99;
        assert_eq!(bench.read(&[("/a", 3)], 9), lossless(&[4, 5]));
        bench.now_ms = 100;
        assert_eq!(bench.read(&[("/a", 5)], 9), lossless(&[]), "too old");
        assert_eq!((bench.history.events(), bench.history.bytes(), bench.history.evicted), (0, 0, 5));
        assert!(bench.has_lost("/a", 4) && !bench.has_lost("/a", 5));
    }

    #[test]
    fn a_number_of_another_life_is_known_to_be_one() {
        let mut bench = Bench::new(3);
        bench.put("/a");
        for after in [0, 1, START - 1, START + 2, u64::MAX] {
            assert!(bench.history.has_lost(pattern("/a"), after, 0), "{after}");
            assert_eq!(bench.history.wanted(pattern("/a"), after, 0).after, 0, "everything, then");
        }
        assert!(!bench.has_lost("/a", 0) && !bench.has_lost("/a", 1));
    }

    #[test]
    fn what_goes_between_two_pieces_is_told_once() {
        let mut bench = Bench::new(4);
        (0..4).for_each(|_| _ = bench.put("/a"));
        let mut wanted = vec![bench.history.wanted(pattern("/a"), START, 0)];
        assert_eq!(bench.go_on(&mut wanted, 1), lossless(&[1]));
        bench.put("/a");
        assert_eq!(bench.go_on(&mut wanted, 1), lossless(&[2]), "1 had been read before it went");
        (0..3).for_each(|_| _ = bench.put("/a"));
        assert_eq!(bench.go_on(&mut wanted, 1), (vec![5], vec!["/a".to_owned()]), "3 and 4 had not");
        assert_eq!(bench.go_on(&mut wanted, 9), lossless(&[6, 7, 8]));
    }

    #[test]
    fn the_least_used_channel_makes_room_by_its_oldest_event() {
        let mut bench = Bench::new(9);
        bench.limits.history_bytes = 40;
        for channel in ["/a", "/a", "/b", "/b"] {
            bench.put(channel);
        }
        bench.put("/c");
        assert_eq!(bench.read(&[("/**", 0)], 9).0, [2, 3, 4, 5]);
        assert!(bench.has_lost("/a", 0) && !bench.has_lost("/b", 0));
        bench.put("/a");
        assert_eq!(bench.read(&[("/**", 0)], 9).0, [2, 4, 5, 6], "now it is /b that was used least recently");
        assert_eq!(bench.history.bytes(), 40);
    }

    #[test]
    fn beyond_so_many_channels_the_least_used_one_is_forgotten() {
        let mut bench = Bench::new(9);
        bench.limits.history_channels = 2;
        bench.put("/a");
        bench.put("/b");
        bench.put("/a");
        bench.put("/c");
        assert_eq!(bench.history.rings.len(), 2);
        assert_eq!(bench.read(&[("/**", 0)], 9).0, [1, 3, 4]);
        assert!(bench.has_lost("/b", 1), "nobody knows any more of which channels events are missing");
        assert!(!bench.has_lost("/b", 2));
        assert_eq!(bench.history.bytes(), 30);
    }

    #[test]
    fn an_event_too_large_to_be_kept_is_missed_aloud() {
        let mut bench = Bench::new(9);
        bench.put("/a");
        bench.put_bytes("/a", 1_001);
        bench.put("/a");
        assert_eq!(bench.read(&[("/a", 2)], 9), lossless(&[3]));
        assert!(bench.has_lost("/a", 1) && !bench.has_lost("/a", 2));
    }

    #[test]
    fn what_was_too_large_to_be_kept_stays_known_to_be_missing() {
        let mut bench = Bench::new(2);
        bench.put("/a");
        bench.put("/a");
        assert_eq!(bench.put_bytes("/a", 1_001), 3);
        bench.put("/a");
        assert!(bench.has_lost("/a", 2), "the third one, though the first went after it");
        assert!(!bench.has_lost("/a", 3));
        let mut bench = Bench::new(2);
        bench.limits.history_channels = 1;
        bench.put("/a");
        bench.put_bytes("/a", 1_001);
        bench.put("/b");
        assert!(bench.has_lost("/a", 1), "even if the channel went as a whole");
    }
}
