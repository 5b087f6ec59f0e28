//! Events that are kept, to be read again by whoever was away.
//!
//! Owns the rings, one for each channel with a history, and their bounds; and the seam to where events get their numbers.
//! Must not know sessions.
//!
//! One counter numbers all events that are kept, so numbers increase in every channel and in every pattern, with gaps. It
//! begins at the Unix second of the start shifted by 20 bits: a number of another life of the server is recognised, and any
//! number fits into a double (2^53) until the year 2242. What is not there any more is told, never passed over: who reads
//! on from before the oldest event learns that something is missing. How much that was is not known, for there are gaps.

use core::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::rc::Rc;

use crate::arena::{Arena, Key};
use crate::bayeux::{Channel, OwnedChannel, Pattern};
use crate::event::Event;
use crate::limits::Limits;

use super::rules::Keep;
use super::sums;
use super::wants::{Gone, Place, Wants};

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

/// Names the events of one channel while any are known.
type RingKey = Key<Ring>;

/// The events of one channel, oldest first.
#[derive(Debug)]
struct Ring {
    channel: OwnedChannel,
    kept: VecDeque<Kept>,
    bytes: usize,
    gone: Gone,
    /// When it was last used; its place in the order in which channels make room.
    used: u64,
}

impl Ring {
    /// Drops its oldest events as long as they are `too_many`.
    fn trim(&mut self, stock: &mut Stock, mut too_many: impl FnMut(&Self) -> bool) {
        while !self.kept.is_empty() && too_many(self) {
            let Some(oldest) = self.kept.pop_front() else { return };
            let bytes = oldest.event.json().len();
            sums::take(&mut self.bytes, bytes);
            sums::take(&mut stock.bytes, bytes);
            sums::take(&mut stock.events, 1);
            sums::one(&mut stock.evicted);
            // One that was never kept, for its size, may be newer.
            self.gone = Gone { newest: self.gone.newest.max(oldest.id), at: stock.evicted };
        }
        if self.kept.is_empty()
            && let Some(key) = stock.full.remove(&self.used)
        {
            stock.empty.insert(self.used, key);
        }
    }

    /// Drops what is too old.
    fn expire(&mut self, stock: &mut Stock, now_ms: u64) {
        self.trim(stock, |ring| ring.is_old(now_ms));
    }

    /// Whether its oldest event is too old.
    fn is_old(&self, now_ms: u64) -> bool {
        self.kept.front().is_some_and(|oldest| oldest.until_ms <= now_ms)
    }

    /// The place of its first event after a number.
    fn first_after(&self, number: u64) -> usize {
        self.kept.partition_point(|kept| kept.id <= number)
    }
}

/// What all rings together have, and in what order they make room.
#[derive(Debug, Default)]
struct Stock {
    /// The rings with events, by their last use.
    full: BTreeMap<u64, RingKey>,
    /// Those without, which only know what has gone.
    empty: BTreeMap<u64, RingKey>,
    events: usize,
    bytes: usize,
    /// Events that have gone, because of whatever bound.
    evicted: u64,
}

/// A ring that is read, and the number after which.
type Found = (RingKey, u64);

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
    rings: Arena<Ring>,
    names: HashMap<OwnedChannel, RingKey>,
    stock: Stock,
    most_bytes: usize,
    most_channels: usize,
    start: u64,
    newest: u64,
    /// The channels that had to go as a whole.
    gone: Gone,
    clock: u64,
    /// How many times a pattern was looked for, each at one ring.
    looks: u64,
}

impl History {
    /// Nothing; `start` is the number before the first.
    pub fn new(start: u64, limits: &Limits) -> Self {
        Self {
            most_bytes: limits.history_bytes,
            most_channels: limits.history_channels,
            rings: Arena::default(),
            names: HashMap::new(),
            stock: Stock::default(),
            start,
            newest: start,
            gone: Gone::default(),
            clock: 0,
            looks: 0,
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
        self.stock.bytes
    }

    /// Events that are kept.
    pub fn events(&self) -> usize {
        self.stock.events
    }

    /// What finding channels has cost since the start: how many times a pattern was looked for, each at one of them.
    pub fn looks(&self) -> u64 {
        self.looks
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
        let key = self.used(channel);
        let Self { rings, stock, most_bytes, .. } = self;
        let bytes = event.json().len();
        let Some(ring) = rings.get_mut(key) else { return };
        if bytes > keep.bytes.min(*most_bytes) {
            // Who reads on from before it hears that it is missing.
            sums::one(&mut stock.evicted);
            ring.gone = Gone { newest: id, at: stock.evicted };
            return;
        }
        ring.kept.push_back(Kept { id, until_ms: now_ms.saturating_add(keep.age_ms), event: Rc::clone(event) });
        sums::put(&mut ring.bytes, bytes);
        sums::put(&mut stock.bytes, bytes);
        sums::put(&mut stock.events, 1);
        ring.trim(stock, |ring| ring.kept.len() > keep.count || ring.bytes > keep.bytes || ring.is_old(now_ms));
        while stock.bytes > *most_bytes {
            let Some(ring) = stock.full.values().next().and_then(|key| rings.get_mut(*key)) else { return };
            let mut first = true;
            ring.trim(stock, |_| core::mem::take(&mut first));
        }
    }

    /// The ring of a channel, which is now the one that was used last. Makes room for it if it is new.
    fn used(&mut self, channel: Channel<'_>) -> RingKey {
        let key = self.names.get(channel.as_str()).copied().unwrap_or_else(|| self.add(channel));
        sums::one(&mut self.clock);
        if let Some(ring) = self.rings.get_mut(key) {
            self.stock.full.remove(&ring.used);
            self.stock.empty.remove(&ring.used);
            ring.used = self.clock;
            // It is written to, or `trim` puts it where it belongs.
            self.stock.full.insert(self.clock, key);
        }
        key
    }

    fn add(&mut self, channel: Channel<'_>) -> RingKey {
        while self.rings.len() >= self.most_channels.max(1) {
            self.forget();
        }
        let channel = OwnedChannel::from(channel);
        let ring = Ring { channel: channel.clone(), kept: VecDeque::new(), bytes: 0, gone: Gone::default(), used: 0 };
        let key = self.rings.insert(ring);
        self.names.insert(channel, key);
        key
    }

    /// Drops the channel that was used least recently as a whole; one without events before one with.
    fn forget(&mut self) {
        let Stock { full, empty, events, bytes, evicted } = &mut self.stock;
        let Some((_, key)) = empty.pop_first().or_else(|| full.pop_first()) else { return };
        let Some(ring) = self.rings.remove(key) else { return };
        self.names.remove(ring.channel.as_channel().as_str());
        sums::take(bytes, ring.bytes);
        sums::take(events, ring.kept.len());
        sums::add(evicted, ring.kept.len() as u64);
        let newest = ring.kept.back().map_or(0, |newest| newest.id).max(ring.gone.newest);
        self.gone = Gone { newest: self.gone.newest.max(newest), at: (*evicted).max(ring.gone.at) };
    }

    /// The rings of which something is wanted, each once. As many look-ups as there are names, and one walk over all rings
    /// if there are wildcards.
    fn find(&mut self, wants: &Wants) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        let wildcards = wants.wildcards().len();
        if wildcards > 0 {
            let wild = |ring: &Ring| wants.wild_after(ring.channel.as_channel());
            found.extend(self.rings.iter().filter_map(|(key, ring)| Some((key, wild(ring)?))));
        }
        // In the order of slots, as they were walked over.
        let walked = found.len();
        for (name, after) in wants.names() {
            let Some(key) = self.names.get(name).copied() else { continue };
            let known = found.get_mut(..walked).unwrap_or_default();
            let at = known.binary_search_by_key(&key.slot(), |(key, _)| key.slot());
            match at.ok().and_then(|at| known.get_mut(at)) {
                Some((_, first)) => *first = after.min(*first),
                None => found.push((key, after)),
            }
        }
        let looks = self.rings.len().saturating_mul(wildcards).saturating_add(wants.names().len());
        sums::add(&mut self.looks, looks as u64);
        found
    }

    fn expire(&mut self, found: &[Found], now_ms: u64) {
        for (key, _) in found {
            if let Some(ring) = self.rings.get_mut(*key) {
                ring.expire(&mut self.stock, now_ms);
            }
        }
    }

    /// Whether somebody who has the events of the pattern up to a number misses something that this will not give: the
    /// number is of another life, or events after it are gone. To be asked before anyone begins to read: what is too old by
    /// now goes first.
    pub fn has_lost(&mut self, pattern: Pattern<'_>, after: u64, now_ms: u64) -> bool {
        let found = self.find(&Wants::one(pattern, self.place(after)));
        self.expire(&found, now_ms);
        let has_lost = |key: &RingKey| self.rings.get(*key).is_some_and(|ring| after < ring.gone.newest);
        after < self.start
            || after > self.newest
            || after < self.gone.newest
            || found.iter().any(|(key, _)| has_lost(key))
    }

    /// Where a reader begins who has been told of what is missing by now. A number that is not of this life means
    /// everything.
    pub fn place(&self, after: u64) -> Place {
        let after = if (self.start..=self.newest).contains(&after) { after } else { 0 };
        Place { after, began: self.newest, told: self.stock.evicted }
    }

    /// Reads the next events, in the order of their numbers, each once however many of the patterns want it. Moves `wants`
    /// on, and empties it at the end.
    pub fn read(&mut self, wants: &mut Wants, room: Room, now_ms: u64) -> Read {
        let found = self.find(wants);
        self.expire(&found, now_ms);
        let mut read = Read { events: Vec::new(), lost: self.lost(wants, &found) };
        let (mut bytes, mut last) = (0, 0);
        // The next event of each ring, the oldest of them first.
        let mut heads = self.heads(&found);
        while let Some(mut head) = heads.peek_mut() {
            let Reverse((_, place, at)) = *head;
            let ring = found.get(place).and_then(|(key, _)| self.rings.get(*key));
            let Some((ring, kept)) = ring.and_then(|ring| Some((ring, ring.kept.get(at)?))) else { break };
            sums::put(&mut bytes, kept.event.json().len());
            let fits = read.events.is_empty() && room.one_at_least || bytes <= room.bytes;
            if read.events.len() >= room.count || !fits {
                break;
            }
            read.events.push(Rc::clone(&kept.event));
            last = kept.id;
            let next = at.saturating_add(1);
            match ring.kept.get(next) {
                Some(kept) => *head = Reverse((kept.id, place, next)),
                None => _ = PeekMut::pop(head),
            }
        }
        if heads.is_empty() {
            wants.clear();
        } else {
            wants.move_on(last, self.stock.evicted);
        }
        read
    }

    /// The first event that is wanted of each ring: its number, the place of the ring, and its own in the ring.
    fn heads(&self, found: &[Found]) -> BinaryHeap<Reverse<(u64, usize, usize)>> {
        let head = |(place, (key, after)): (usize, &Found)| {
            let ring = self.rings.get(*key)?;
            let at = ring.first_after(*after);
            Some(Reverse((ring.kept.get(at)?.id, place, at)))
        };
        found.iter().enumerate().filter_map(head).collect()
    }

    /// The patterns of which something has gone since their reader was last told; it is told now.
    fn lost(&self, wants: &mut Wants, found: &[Found]) -> Vec<String> {
        let now = self.stock.evicted;
        let mut lost = wants.tell_of_all(self.gone, now);
        let told = wants.told();
        for ring in found.iter().filter_map(|(key, _)| self.rings.get(*key)).filter(|ring| ring.gone.at > told) {
            wants.tell(ring.channel.as_channel(), ring.gone, now, &mut lost);
        }
        lost
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
            let mut wants = self.wants(wanted);
            self.go_on(&mut wants, count)
        }

        fn wants(&mut self, wanted: &[(&str, u64)]) -> Wants {
            let mut wants = Wants::default();
            for (name, after) in wanted {
                self.history.has_lost(pattern(name), START + after, self.now_ms);
                wants.set(pattern(name), self.history.place(START + after));
            }
            wants
        }

        fn go_on(&mut self, wants: &mut Wants, count: usize) -> (Vec<u64>, Vec<String>) {
            let read = self.history.read(wants, Room { count, bytes: 1_000, one_at_least: true }, self.now_ms);
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
        assert_eq!(bench.read(&[("/b/**", 4), ("/b/c", 0), ("/a", 2)], 9), lossless(&[2, 3, 5]));
        assert_eq!(bench.read(&[("/b/**", 1), ("/b/c", 4), ("/x", 0)], 9), lossless(&[2, 4, 5]));
        assert_eq!(bench.read(&[("/nobody", 0)], 9), lossless(&[]));
    }

    #[test]
    fn what_is_read_piece_by_piece_is_the_same() {
        for count in 1..7 {
            let mut bench = Bench::new(10);
            for channel in ["/a", "/b/c", "/a", "/b/d", "/b/c", "/a"] {
                bench.put(channel);
            }
            let mut wants = bench.wants(&[("/a", 0), ("/b/*", 2)]);
            let mut all = Vec::new();
            let mut rounds = 0;
            while !wants.is_empty() {
                let (ids, lost) = bench.go_on(&mut wants, count);
                assert!(lost.is_empty() && ids.len() <= count);
                all.extend(ids);
                rounds += 1;
            }
            assert_eq!(all, [1, 3, 4, 5, 6], "{count} at once");
            assert_eq!(rounds, 5_usize.div_ceil(count));
        }
    }

    #[test]
    fn finding_channels_costs_a_look_for_each_name_and_one_at_each_channel_for_each_wildcard() {
        let mut bench = Bench::new(10);
        for channel in ["/a", "/b", "/c", "/a"] {
            bench.put(channel);
        }
        for (wanted, looks) in [(vec![("/a", 0), ("/x", 0)], 2), (vec![("/*", 0), ("/x/**", 0), ("/y", 0)], 7)] {
            let mut wants = bench.wants(&wanted);
            let before = bench.history.looks();
            bench.go_on(&mut wants, 9);
            assert_eq!(bench.history.looks() - before, looks, "{wanted:?}");
        }
    }

    #[test]
    fn bytes_end_a_piece_but_one_event_is_read_in_any_case() {
        let mut bench = Bench::new(10);
        bench.put_bytes("/a", 600);
        bench.put_bytes("/a", 400);
        let mut wants = bench.wants(&[("/a", 0)]);
        let ids = |read: Read| read.events.iter().map(|event| event.id().unwrap() - START).collect::<Vec<_>>();
        assert_eq!(ids(bench.history.read(&mut wants, Room { count: 9, bytes: 500, one_at_least: true }, 0)), [1]);
        assert_eq!(ids(bench.history.read(&mut wants, Room { count: 9, bytes: 500, one_at_least: true }, 0)), [2]);
        assert!(wants.is_empty());
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
        assert_eq!((bench.history.events(), bench.history.bytes(), bench.history.stock.evicted), (0, 0, 5));
        assert!(bench.has_lost("/a", 4) && !bench.has_lost("/a", 5));
    }

    #[test]
    fn a_number_of_another_life_is_known_to_be_one() {
        let mut bench = Bench::new(3);
        bench.put("/a");
        for after in [0, 1, START - 1, START + 2, u64::MAX] {
            assert!(bench.history.has_lost(pattern("/a"), after, 0), "{after}");
            assert_eq!(bench.history.place(after).after, 0, "everything, then");
        }
        assert!(!bench.has_lost("/a", 0) && !bench.has_lost("/a", 1));
    }

    #[test]
    fn what_goes_between_two_pieces_is_told_once() {
        let mut bench = Bench::new(4);
        (0..4).for_each(|_| _ = bench.put("/a"));
        let mut wants = bench.wants(&[("/a", 0)]);
        assert_eq!(bench.go_on(&mut wants, 1), lossless(&[1]));
        bench.put("/a");
        assert_eq!(bench.go_on(&mut wants, 1), lossless(&[2]), "1 had been read before it went");
        (0..3).for_each(|_| _ = bench.put("/a"));
        assert_eq!(bench.go_on(&mut wants, 1), (vec![5], vec!["/a".to_owned()]), "3 and 4 had not");
        assert_eq!(bench.go_on(&mut wants, 9), lossless(&[6, 7, 8]));
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
