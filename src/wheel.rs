//! A hierarchical timer wheel: one tick is one millisecond, and the caller says what time it is.
//!
//! Owns the timers, each a deadline and a payload. Knows nothing of who is timed, and reads no clock.
//!
//! # The scheme
//!
//! Write a deadline as digits of six bits each. Eleven digits hold any `u64`, so there are eleven levels of 64 slots, and
//! no deadline is too far away for them. A timer lives at the level of the *highest digit in which its deadline differs
//! from the wheel's time*, in the slot that this digit of the deadline names. With two digits instead of eleven:
//!
//! ```text
//! time 3.17   deadline 3.40 → level 0, slot 40     holds this one deadline only
//!             deadline 5.02 → level 1, slot 5      holds 5.00 to 5.63
//! ```
//!
//! The rest follows from that rule:
//!
//! - No deadline lies before the time. So each timer of a level is due before each one of the levels above it, and within
//!   a level the slots are in order. The earliest timers are in the first occupied slot of the lowest occupied level,
//!   which a bitmap per level finds in a few steps.
//! - Time moves forward only to where nothing is due in between. Then of the highest digit that changes, one slot has its
//!   digit become equal to the time's: its timers move to lower levels. The levels below were empty, since anything in
//!   them would have been due, and all other slots are where they belong. So a sleep of any length with nothing due in it
//!   moves one slot, and a timer moves ten times at most in its life, however far away its deadline.
//! - The place of a timer is a function of its deadline and the wheel's time. So it need not be stored in the timer, and
//!   timers of equal deadline share a list, in the order in which they were armed.
//!
//! Each slot also keeps a lower bound of its deadlines, so that the loop sleeps until a deadline and never until a mere
//! move between levels. The bound is exact until a timer is cancelled: finding the next one would mean a walk through the
//! list. It is put right when the slot is next moved, at the latest when the bound itself is reached.
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

use core::fmt;
use core::mem;

use crate::arena::{Arena, Key};

/// Bits of a deadline that one level tells apart.
const DIGIT_BITS: u32 = 6;
/// Slots of a level: one for each value of a digit, and one bit of a `u64` for each slot.
const SLOTS: usize = 1 << DIGIT_BITS;
/// The bits of one digit.
const DIGIT: u64 = u64::MAX >> (u64::BITS - DIGIT_BITS);
/// Levels: the digits of a `u64`. The highest digit has four bits only.
const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;

/// Ends a list, where otherwise the arena's slot of a node stands.
const NIL: u32 = u32::MAX;

/// A timer, linked into the list of its slot by the arena's slot numbers: half the size of keys, and a linked node is
/// alive by construction.
#[derive(Debug)]
struct Node<P> {
    /// In ms; not before the wheel's time.
    deadline: u64,
    previous: u32,
    next: u32,
    payload: P,
}

/// A list of timers, first armed first.
#[derive(Clone, Copy, Debug)]
struct Slot {
    first: u32,
    last: u32,
    /// No deadline in the list is earlier than this, in ms; it is one of them unless a timer was cancelled.
    bound: u64,
}

impl Slot {
    const EMPTY: Self = Self { first: NIL, last: NIL, bound: u64::MAX };
}

/// Where a timer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    level: usize,
    slot: usize,
}

/// The place of a deadline as seen from a time that is not after it, both in ms.
fn place_of(deadline: u64, time: u64) -> Place {
    let highest_bit = (deadline ^ time).checked_ilog2().unwrap_or(0);
    let level = highest_bit / DIGIT_BITS;
    // By 60 bits at most: nothing wraps.
    let digit = deadline.wrapping_shr(level.wrapping_mul(DIGIT_BITS)) & DIGIT;
    Place { level: level as usize, slot: digit as usize }
}

/// Names one timer of a [`Wheel<P>`] until it is taken out or cancelled; then it names nothing.
pub struct TimerKey<P>(Key<Node<P>>);

impl<P> Clone for TimerKey<P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P> Copy for TimerKey<P> {}
impl<P> PartialEq for TimerKey<P> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<P> Eq for TimerKey<P> {}
impl<P> fmt::Debug for TimerKey<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Timers with a payload each, taken out in the order of their deadlines; see the [module](self) for how.
///
/// All times are in milliseconds on one monotonic scale of the caller's choice. A server's turn with it: call
/// [`expire`](Self::expire) until it returns `None` or the turn's budget is used up, then sleep until
/// [`next_deadline`](Self::next_deadline).
#[derive(Debug)]
pub struct Wheel<P> {
    nodes: Arena<Node<P>>,
    slots: Box<[[Slot; SLOTS]; LEVELS]>,
    /// A bit for each slot of a level that has timers.
    occupied: [u64; LEVELS],
    /// What all places are relative to, in ms: no deadline is earlier. Lags behind `now` while timers are due.
    time: u64,
    /// The latest time that the caller has told, in ms.
    now: u64,
}

impl<P: Copy> Wheel<P> {
    /// A wheel without timers, at the time `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self {
            nodes: Arena::default(),
            slots: Box::new([[Slot::EMPTY; SLOTS]; LEVELS]),
            occupied: [0; LEVELS],
            time: now_ms,
            now: now_ms,
        }
    }

    /// How many timers are armed, those due included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Arms a timer for `deadline_ms`, in constant time.
    ///
    /// A deadline before the wheel's time is taken as the wheel's time, and so is due at the next call of
    /// [`expire`](Self::expire). That time is the latest one at which `expire` returned `None`; while it has more to
    /// return, the deadline of the timer that it took out last.
    ///
    /// # Panics
    /// With 2^32 timers armed; the caller has a smaller limit in front.
    pub fn arm(&mut self, deadline_ms: u64, payload: P) -> TimerKey<P> {
        let deadline = deadline_ms.max(self.time);
        let key = self.nodes.insert(Node { deadline, previous: NIL, next: NIL, payload });
        self.link(key.slot());
        TimerKey(key)
    }

    /// Takes out a timer before its time, in constant time. `None` for a key whose timer is gone, and nothing changes.
    pub fn cancel(&mut self, key: TimerKey<P>) -> Option<P> {
        let node = self.nodes.remove(key.0)?;
        self.unlink(&node);
        Some(node.payload)
    }

    /// The deadline of a timer in ms, as [`arm`](Self::arm) took it; `None` for a key whose timer is gone.
    pub fn deadline(&self, key: TimerKey<P>) -> Option<u64> {
        self.nodes.get(key.0).map(|node| node.deadline)
    }

    /// Takes out the earliest timer whose deadline is `now_ms` or before; `None` when none is due.
    ///
    /// Deadlines come out in order, equal ones in the order in which they were armed, and that holds over all calls. The
    /// caller may stop before `None` and go on later. A `now_ms` before that of an earlier call counts as the latest.
    ///
    /// A call takes out one timer, but may first move all timers of a slot to lower levels: those of the next 4 s or of the
    /// next 4 min 22 s, for example, when such a span begins.
    pub fn expire(&mut self, now_ms: u64) -> Option<P> {
        self.now = self.now.max(now_ms);
        while let Some(place) = self.earliest() {
            let Slot { first, bound, .. } = *self.list(place);
            if bound > self.now {
                break;
            }
            // Either this brings us to the deadline of level 0 that is due, or it moves the slot to lower levels.
            self.advance(bound);
            if place.level == 0 {
                return self.cancel(TimerKey(self.key(first)));
            }
            debug_assert_ne!(self.earliest(), Some(place), "a slot that was reached moves down");
        }
        self.advance(self.now);
        None
    }

    /// The earliest deadline in ms, to sleep until; `None` without timers.
    ///
    /// It is exact, except that it may be that of a cancelled timer, hence too early; it is never too late. Once
    /// `expire(now)` has returned `None`, the next deadline is after `now` (and after any earlier `now`) until a timer is
    /// armed for the past. So the loop that slept for nothing will not do so twice for the same deadline.
    pub fn next_deadline(&self) -> Option<u64> {
        let place = self.earliest()?;
        Some(self.list(place).bound)
    }

    /// The first occupied slot of the lowest occupied level: no timer elsewhere is due before those in it.
    fn earliest(&self) -> Option<Place> {
        let (level, slots) = self.occupied.iter().enumerate().find(|(_, slots)| **slots != 0)?;
        Some(Place { level, slot: slots.trailing_zeros() as usize })
    }

    /// Moves the time forward to `time`, in ms. No deadline may be before it.
    fn advance(&mut self, time: u64) {
        debug_assert!(self.time <= time && self.next_deadline().is_none_or(|next| next >= time));
        let place = place_of(time, self.time);
        self.time = time;
        if place.level == 0 {
            return;
        }
        let moved = self.empty(place);
        let mut at = moved.first;
        while at != NIL {
            let next = self.node(at).next;
            self.link(at);
            at = next;
        }
    }

    /// Appends a node to the list where its deadline belongs now.
    fn link(&mut self, at: u32) {
        let deadline = self.node(at).deadline;
        let list = self.occupy(place_of(deadline, self.time));
        list.bound = list.bound.min(deadline);
        let previous = mem::replace(&mut list.last, at);
        if previous == NIL {
            list.first = at;
        } else {
            self.node(previous).next = at;
        }
        let node = self.node(at);
        node.previous = previous;
        node.next = NIL;
    }

    /// Closes the gap that a node, already out of the arena, leaves in its list.
    fn unlink(&mut self, node: &Node<P>) {
        let place = place_of(node.deadline, self.time);
        if node.previous == NIL {
            self.list_mut(place).first = node.next;
        } else {
            self.node(node.previous).next = node.next;
        }
        if node.next == NIL {
            self.list_mut(place).last = node.previous;
        } else {
            self.node(node.next).previous = node.previous;
        }
        if self.list(place).first == NIL {
            self.empty(place);
        }
    }

    /// The list of a place.
    #[expect(clippy::indexing_slicing, reason = "a place has a digit of six bits in one of eleven levels")]
    fn list(&self, place: Place) -> &Slot {
        &self.slots[place.level][place.slot]
    }

    /// The same, to change.
    #[expect(clippy::indexing_slicing, reason = "as above")]
    fn list_mut(&mut self, place: Place) -> &mut Slot {
        &mut self.slots[place.level][place.slot]
    }

    /// The list of a place that gets a timer.
    #[expect(clippy::indexing_slicing, reason = "as above")]
    fn occupy(&mut self, place: Place) -> &mut Slot {
        self.occupied[place.level] |= 1 << place.slot;
        self.list_mut(place)
    }

    /// Takes the list of a place out of it.
    #[expect(clippy::indexing_slicing, reason = "as above")]
    fn empty(&mut self, place: Place) -> Slot {
        self.occupied[place.level] &= !(1 << place.slot);
        mem::replace(self.list_mut(place), Slot::EMPTY)
    }

    /// The node in a slot of the arena that some list names.
    #[expect(clippy::expect_used, reason = "lists name nodes that are alive")]
    fn node(&mut self, at: u32) -> &mut Node<P> {
        self.nodes.at_mut(at).expect("a linked node is alive")
    }

    /// The key of that node.
    #[expect(clippy::expect_used, reason = "as above")]
    fn key(&self, at: u32) -> Key<Node<P>> {
        self.nodes.key_at(at).expect("a linked node is alive")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const YEAR: u64 = 365 * 24 * 3600 * 1000;

    /// Distances around each power of the slot count, where a timer changes its level.
    fn boundaries() -> impl Iterator<Item = u64> {
        let powers = (0..u64::BITS).step_by(DIGIT_BITS as usize).map(|bits| 1 << bits);
        powers.flat_map(|power: u64| [power - 1, power, power + 1, power * 2 - 1, power * 2])
    }

    /// Aligned and unaligned times to start from, and one just before a digit of the distant future changes.
    const STARTS: [u64; 9] = [0, 1, 63, 64, 4095, 4097, 1_234_567_891, (1 << 42) - 1, YEAR * 139];

    fn drain<P: Copy>(wheel: &mut Wheel<P>, now: u64) -> Vec<P> {
        core::iter::from_fn(|| wheel.expire(now)).collect()
    }

    /// Walks through everything and holds it against the rules that the code relies on.
    fn check<P: Copy>(wheel: &Wheel<P>) {
        assert!(wheel.time <= wheel.now);
        let mut linked = 0;
        for (level, slots) in wheel.slots.iter().enumerate() {
            for (slot, list) in slots.iter().enumerate() {
                assert_eq!(wheel.occupied[level] >> slot & 1 == 1, list.first != NIL, "the bit of {level}.{slot}");
                assert!(list.first != NIL || (list.last == NIL && list.bound == u64::MAX));
                let (mut previous, mut at) = (NIL, list.first);
                while at != NIL {
                    let node = wheel.nodes.get(wheel.nodes.key_at(at).unwrap()).unwrap();
                    assert!(node.deadline >= wheel.time && node.deadline >= list.bound);
                    assert_eq!(place_of(node.deadline, wheel.time), Place { level, slot });
                    assert_eq!(node.previous, previous);
                    linked += 1;
                    (previous, at) = (at, node.next);
                }
                assert_eq!(list.last, previous);
            }
        }
        assert_eq!(linked, wheel.len());
    }

    #[test]
    fn sizes_are_decisions() {
        /// What the arena and the slab under it keep for a value, retold because both types are private.
        #[expect(dead_code, reason = "only its size matters")]
        struct ArenaEntry<T> {
            generation: core::num::NonZeroU32,
            value: T,
        }
        #[expect(dead_code, reason = "only its size matters")]
        enum SlabEntry<T> {
            Vacant(usize),
            Occupied(T),
        }
        type Payload = [u32; 3];
        assert_eq!(size_of::<Node<Payload>>(), 32);
        assert_eq!(size_of::<SlabEntry<ArenaEntry<Node<Payload>>>>(), 40);
        assert_eq!(size_of::<TimerKey<Payload>>(), 8);
        assert_eq!(size_of::<Option<TimerKey<Payload>>>(), 8);
        assert_eq!(size_of::<[[Slot; SLOTS]; LEVELS]>(), 11 * 1024);
    }

    #[test]
    fn a_deadline_at_each_level_boundary_is_met_to_the_millisecond() {
        for start in STARTS {
            for distance in boundaries() {
                let deadline = start.saturating_add(distance);
                let mut wheel = Wheel::new(start);
                wheel.arm(deadline, 'x');
                check(&wheel);
                assert_eq!(wheel.next_deadline(), Some(deadline));
                for before in [start, start.midpoint(deadline), deadline.saturating_sub(65), deadline.saturating_sub(1)]
                {
                    if (start..deadline).contains(&before) {
                        assert_eq!(wheel.expire(before), None, "{start} + {distance}, at {before}");
                        check(&wheel);
                        assert_eq!(wheel.next_deadline(), Some(deadline), "{start} + {distance}, at {before}");
                    }
                }
                assert_eq!(wheel.expire(deadline), Some('x'), "{start} + {distance}");
                assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
                check(&wheel);
            }
        }
    }

    #[test]
    fn all_boundaries_at_once_come_out_in_order_and_each_wakes_once() {
        for start in STARTS {
            let mut wheel = Wheel::new(start);
            let mut deadlines: Vec<_> = boundaries().map(|distance| start.saturating_add(distance)).collect();
            for &deadline in deadlines.iter().rev() {
                wheel.arm(deadline, deadline);
            }
            deadlines.sort_unstable();
            let mut in_one_jump = Wheel::new(start);
            for &deadline in &deadlines {
                in_one_jump.arm(deadline, deadline);
            }
            assert_eq!(drain(&mut in_one_jump, u64::MAX), deadlines);

            let mut out = Vec::new();
            while let Some(now) = wheel.next_deadline() {
                let due = drain(&mut wheel, now);
                assert!(!due.is_empty() && due.iter().all(|&deadline| deadline == now), "woken at {now} for {due:?}");
                check(&wheel);
                out.extend(due);
            }
            assert_eq!(out, deadlines);
        }
    }

    #[test]
    fn each_millisecond_of_two_turns_of_the_first_levels() {
        let start = 3 * 4096 - 70;
        let mut wheel = Wheel::new(start);
        for deadline in start..start + 2 * 4096 {
            wheel.arm(deadline, deadline);
        }
        for now in start..start + 2 * 4096 {
            assert_eq!(wheel.next_deadline(), Some(now));
            assert_eq!(drain(&mut wheel, now), [now]);
        }
        assert!(wheel.is_empty());
    }

    #[test]
    fn a_year_of_sparse_timers_costs_one_wake_up_each() {
        let start = 1_700_000_000_123;
        let mut wheel = Wheel::new(start);
        // The year's end is armed at its beginning; an hourly timer re-arms itself, and a poll of 45 s comes with it.
        let hour = 3_600_000 + 7;
        wheel.arm(start + YEAR, "year");
        wheel.arm(start + hour, "hour");
        let (mut hours, mut polls, mut wake_ups) = (0, 0, 0);
        let mut now = start;
        while let Some(next) = wheel.next_deadline() {
            assert!(next > now, "asleep until {next} at {now}");
            now = next;
            wake_ups += 1;
            while let Some(kind) = wheel.expire(now) {
                match kind {
                    "hour" if now + hour < start + YEAR => {
                        hours += 1;
                        wheel.arm(now + 45_000, "poll");
                        wheel.arm(now + hour, "hour");
                    }
                    "poll" => polls += 1,
                    _ => {}
                }
            }
        }
        assert_eq!(now, start + YEAR);
        assert_eq!((hours, polls), (8758, 8758));
        assert_eq!(wake_ups, hours + polls + 2, "the last hour and the year's end are two more");
    }

    #[test]
    fn the_end_of_time_is_a_deadline_like_others() {
        let mut wheel = Wheel::new(5);
        wheel.arm(u64::MAX, "end");
        let key = wheel.arm(u64::MAX - 1, "before");
        assert_eq!(wheel.deadline(key), Some(u64::MAX - 1));
        assert_eq!(wheel.expire(1 << 42), None);
        assert_eq!(wheel.expire(u64::MAX - 2), None);
        assert_eq!(wheel.next_deadline(), Some(u64::MAX - 1));
        assert_eq!(drain(&mut wheel, u64::MAX), ["before", "end"]);
        wheel.arm(0, "after");
        assert_eq!(wheel.next_deadline(), Some(u64::MAX));
        assert_eq!(drain(&mut wheel, 0), ["after"]);
    }

    #[test]
    fn a_stale_key_touches_nothing_after_its_slot_is_reused() {
        let mut wheel = Wheel::new(0);
        let cancelled = wheel.arm(10, "cancelled");
        assert_eq!(wheel.cancel(cancelled), Some("cancelled"));
        let fired = wheel.arm(20, "fired");
        assert_eq!(fired.0.slot(), cancelled.0.slot(), "the slot is reused, or this test shows nothing");
        assert_eq!((wheel.deadline(cancelled), wheel.cancel(cancelled)), (None, None));
        assert_eq!(wheel.expire(20), Some("fired"));
        let owner = wheel.arm(30, "owner");
        assert_eq!(owner.0.slot(), fired.0.slot());
        assert_eq!((wheel.deadline(fired), wheel.cancel(fired)), (None, None));
        assert_eq!((wheel.deadline(owner), wheel.len()), (Some(30), 1));
        check(&wheel);
        assert_eq!(wheel.expire(30), Some("owner"));
    }

    #[test]
    fn the_first_the_middle_and_the_last_of_a_list_can_be_cancelled() {
        for gone in 0..5 {
            let mut wheel = Wheel::new(0);
            let keys: Vec<_> = (0..5).map(|payload| wheel.arm(1000, payload)).collect();
            assert_eq!(wheel.cancel(keys[gone]), Some(gone));
            check(&wheel);
            wheel.arm(1000, 5);
            check(&wheel);
            let left: Vec<_> = (0..6).filter(|&payload| payload != gone).collect();
            assert_eq!(drain(&mut wheel, 1000), left);
        }
    }

    #[test]
    fn a_cancelled_deadline_wakes_once_at_most() {
        let mut wheel = Wheel::new(0);
        let early = wheel.arm(5000, "early");
        wheel.arm(8000, "late");
        wheel.cancel(early);
        assert_eq!(wheel.next_deadline(), Some(5000), "both were in one slot, its bound stays");
        assert_eq!(wheel.expire(5000), None);
        assert_eq!(wheel.next_deadline(), Some(8000));
        assert_eq!(wheel.expire(8000), Some("late"));

        let only = wheel.arm(1 << 40, "only");
        wheel.cancel(only);
        assert_eq!(wheel.next_deadline(), None, "an empty slot has no bound");
    }

    #[test]
    fn the_past_is_due_at_once_and_time_never_goes_back() {
        let mut wheel = Wheel::new(1000);
        let key = wheel.arm(3, "past");
        assert_eq!((wheel.deadline(key), wheel.next_deadline()), (Some(1000), Some(1000)));
        assert_eq!(wheel.expire(0), Some("past"));

        assert_eq!(wheel.expire(1500), None);
        let key = wheel.arm(1499, "past");
        assert_eq!((wheel.deadline(key), wheel.cancel(key)), (Some(1500), Some("past")));

        for deadline in ["2000", "2100", "2200"] {
            wheel.arm(deadline.parse().unwrap(), deadline);
        }
        assert_eq!(wheel.expire(2150), Some("2000"));
        wheel.arm(7, "past");
        wheel.arm(2050, "between");
        check(&wheel);
        assert_eq!(drain(&mut wheel, 0), ["past", "between", "2100"], "as at 2150, the latest time told");
        assert_eq!(wheel.next_deadline(), Some(2200));
    }

    #[test]
    fn a_timer_rearmed_for_now_does_not_starve_the_others() {
        let mut wheel = Wheel::new(0);
        wheel.arm(5, "greedy");
        wheel.arm(5, "patient");
        assert_eq!(wheel.expire(9), Some("greedy"));
        wheel.arm(0, "greedy");
        assert_eq!(wheel.expire(9), Some("patient"));
    }

    #[test]
    fn a_million_timers() {
        const MILLION: u64 = 1_000_000;
        let mut wheel = Wheel::new(77);
        // A multiplier prime to the million: each millisecond of 17 minutes, once, in disorder.
        let deadline = |i: u64| 100 + i * 617_717 % MILLION;
        let keys: Vec<_> = (0..MILLION).map(|i| wheel.arm(deadline(i), deadline(i))).collect();
        assert_eq!(wheel.next_deadline(), Some(100));
        for (i, &key) in (0..).zip(&keys) {
            if deadline(i) % 2 == 1 {
                assert_eq!(wheel.cancel(key), Some(deadline(i)));
            }
        }
        assert_eq!(wheel.len() as u64, MILLION / 2);
        let mut expected = 100;
        for now in (0..MILLION + 99).step_by(1009).chain([MILLION + 99]) {
            while let Some(deadline) = wheel.expire(now) {
                assert_eq!(deadline, expected);
                expected += 2;
            }
            assert!(expected > now, "{expected} is overdue at {now}");
        }
        assert_eq!(expected, MILLION + 100);
        check(&wheel);
        assert!(wheel.is_empty());
    }

    /// The same contract by sorting: what the wheel is held against.
    struct Oracle {
        /// Payloads by deadline and the order of arming; the payload is that order.
        timers: BTreeMap<(u64, usize), usize>,
        time: u64,
        now: u64,
        /// Nothing was cancelled since there were last no timers: `next_deadline` must be exact.
        exact: bool,
    }

    impl Oracle {
        fn arm(&mut self, deadline: u64, payload: usize) -> u64 {
            let deadline = deadline.max(self.time);
            self.timers.insert((deadline, payload), payload);
            deadline
        }

        fn expire(&mut self, now: u64) -> Option<(u64, usize)> {
            self.now = self.now.max(now);
            let first = self.timers.first_entry().filter(|first| first.key().0 <= self.now);
            let taken = first.map(|first| first.remove_entry().0);
            self.time = taken.map_or(self.now, |(deadline, _)| deadline);
            taken
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arm {
            distance: u64,
        },
        ArmPast {
            before: u64,
        },
        /// The key with this number, counted round; often a stale one.
        Cancel {
            which: usize,
        },
        /// Time passes, then up to `budget` timers are taken out.
        Advance {
            by: u64,
            budget: usize,
        },
        /// Sleeps exactly until the next deadline and drains.
        Sleep,
        GoBack {
            by: u64,
        },
    }

    /// Few to many bits, so that all levels get used, and often just at a boundary.
    fn distances() -> impl Strategy<Value = u64> {
        prop_oneof![
            4 => 0..200_u64,
            4 => (0..u64::BITS, any::<u64>()).prop_map(|(shift, bits)| bits >> shift),
            2 => (0..u64::BITS, 0..3_u64).prop_map(|(bit, near)| (1_u64 << bit).saturating_add(near) - 1),
            4 => 0..1_u64 << 20,
        ]
    }

    fn steps() -> impl Strategy<Value = Step> {
        let budgets = prop_oneof![0..4_usize, Just(usize::MAX)];
        prop_oneof![
            8 => distances().prop_map(|distance| Step::Arm { distance }),
            1 => distances().prop_map(|before| Step::ArmPast { before }),
            4 => any::<usize>().prop_map(|which| Step::Cancel { which }),
            3 => (0..5000_u64, budgets.clone()).prop_map(|(by, budget)| Step::Advance { by, budget }),
            1 => (distances(), budgets).prop_map(|(by, budget)| Step::Advance { by, budget }),
            4 => Just(Step::Sleep),
            1 => distances().prop_map(|by| Step::GoBack { by }),
        ]
    }

    /// Takes out up to `budget` timers of both and compares them, then what they sleep until.
    fn expire_both(wheel: &mut Wheel<usize>, oracle: &mut Oracle, now: u64, budget: usize) {
        for _ in 0..budget {
            let (taken, expected) = (wheel.expire(now), oracle.expire(now));
            assert_eq!(taken, expected.map(|(_, payload)| payload));
            if taken.is_none() {
                assert!(wheel.next_deadline().is_none_or(|next| next > oracle.now), "asleep into the past");
                return;
            }
        }
    }

    fn run(start: u64, script: Vec<Step>) {
        let mut wheel = Wheel::new(start);
        let mut oracle = Oracle { timers: BTreeMap::new(), time: start, now: start, exact: true };
        let mut armed = Vec::new();
        for step in script {
            let now = oracle.now;
            match step {
                Step::Arm { .. } | Step::ArmPast { .. } => {
                    let deadline = match step {
                        Step::Arm { distance } => now.saturating_add(distance),
                        Step::ArmPast { before } => now.saturating_sub(before),
                        _ => unreachable!(),
                    };
                    let key = wheel.arm(deadline, armed.len());
                    let deadline = oracle.arm(deadline, armed.len());
                    assert_eq!(wheel.deadline(key), Some(deadline));
                    armed.push((key, deadline));
                }
                Step::Cancel { which } => {
                    let Some(payload) = which.checked_rem(armed.len()) else { continue };
                    let (key, deadline) = armed[payload];
                    let expected = oracle.timers.remove(&(deadline, payload));
                    assert_eq!(wheel.deadline(key), expected.map(|_| deadline));
                    assert_eq!(wheel.cancel(key), expected);
                    oracle.exact &= expected.is_none();
                }
                Step::Advance { by, budget } => {
                    expire_both(&mut wheel, &mut oracle, now.saturating_add(by), budget);
                }
                Step::Sleep => {
                    let next = wheel.next_deadline().unwrap_or(now);
                    expire_both(&mut wheel, &mut oracle, next, usize::MAX);
                }
                Step::GoBack { by } => expire_both(&mut wheel, &mut oracle, now.saturating_sub(by), 1),
            }
            check(&wheel);
            oracle.exact |= oracle.timers.is_empty();
            let (next, earliest) = (wheel.next_deadline(), oracle.timers.keys().next().map(|&(deadline, _)| deadline));
            assert_eq!(next.is_none(), earliest.is_none());
            assert!(next <= earliest && (next == earliest || !oracle.exact), "{next:?} for {earliest:?}");
        }
        expire_both(&mut wheel, &mut oracle, u64::MAX, usize::MAX);
        assert!(wheel.is_empty() && wheel.occupied == [0; LEVELS]);
    }

    proptest! {
        #[test]
        fn the_wheel_does_what_sorting_does(
            start in prop_oneof![distances(), distances().prop_map(|before_end| u64::MAX - before_end)],
            script in prop::collection::vec(steps(), 1..if cfg!(miri) { 10 } else { 150 }),
        ) {
            run(start, script);
        }
    }
}
