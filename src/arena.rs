//! A slab whose keys carry generations.
//!
//! Owns the storage and the generations. A key that outlived its value finds nothing, even when the slot has a new owner.
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
use core::marker::PhantomData;
use core::num::NonZeroU32;

use slab::Slab;

/// Names one value of an [`Arena<T>`] for as long as that value lives.
pub struct Key<T> {
    slot: u32,
    generation: NonZeroU32,
    of: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// The slot's number: dense, and reused by later values.
    pub fn slot(self) -> u32 {
        self.slot
    }

    /// Slot and generation in one number, as for an event token; [`Key::from_bits`] turns it back.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation.get()) << 32 | u64::from(self.slot)
    }

    /// The key that [`Key::to_bits`] made the number from; `None` if no key does.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the number are what is meant")]
    pub fn from_bits(bits: u64) -> Option<Self> {
        let generation = NonZeroU32::new((bits >> 32) as u32)?;
        Some(Self { slot: bits as u32, generation, of: PhantomData })
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Key<T> {}
impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.slot == other.slot && self.generation == other.generation
    }
}
impl<T> Eq for Key<T> {}
impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.slot, self.generation)
    }
}

#[derive(Debug)]
struct Entry<T> {
    generation: NonZeroU32,
    value: T,
}

/// Values in dense slots, found by [`Key`] in one step.
///
/// Each value gets the next number of one counter as its generation. The counter wraps after 2^32 insertions: a stale key
/// could be mistaken only if it lived through exactly that many and its slot were taken by that very one.
#[derive(Debug)]
pub struct Arena<T> {
    entries: Slab<Entry<T>>,
    next: NonZeroU32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { entries: Slab::new(), next: NonZeroU32::MIN }
    }
}

impl<T> Arena<T> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Stores a value.
    ///
    /// # Panics
    /// With 2^32 values stored; every arena has a smaller limit in front of it.
    #[expect(clippy::expect_used, reason = "every arena has a limit below 2^32 in front of it")]
    pub fn insert(&mut self, value: T) -> Key<T> {
        let generation = self.next;
        self.next = generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let slot = u32::try_from(self.entries.insert(Entry { generation, value })).expect("fewer than 2^32 values");
        Key { slot, generation, of: PhantomData }
    }

    /// The value, unless it has been removed.
    pub fn get(&self, key: Key<T>) -> Option<&T> {
        let entry = self.entries.get(key.slot as usize)?;
        (entry.generation == key.generation).then_some(&entry.value)
    }

    /// The value to change, unless it has been removed.
    pub fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.slot as usize)?;
        (entry.generation == key.generation).then_some(&mut entry.value)
    }

    /// The value that is in a slot now, to change.
    pub fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.entries.get_mut(slot as usize).map(|entry| &mut entry.value)
    }

    /// Takes the value out; the key and its copies are stale from then on.
    pub fn remove(&mut self, key: Key<T>) -> Option<T> {
        self.get(key)?;
        self.entries.try_remove(key.slot as usize).map(|entry| entry.value)
    }

    /// The key of the value that is in a slot now.
    pub fn key_at(&self, slot: u32) -> Option<Key<T>> {
        let entry = self.entries.get(slot as usize)?;
        Some(Key { slot, generation: entry.generation, of: PhantomData })
    }

    /// No value is in a slot from this one on.
    pub fn slots(&self) -> u32 {
        u32::try_from(self.entries.capacity()).unwrap_or(u32::MAX)
    }

    /// All values, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Key<T>, &T)> {
        self.entries.iter().filter_map(|(slot, entry)| {
            let slot = u32::try_from(slot).ok()?;
            Some((Key { slot, generation: entry.generation, of: PhantomData }, &entry.value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing_after_its_slot_is_reused() {
        let mut arena = Arena::default();
        let old = arena.insert("old");
        assert_eq!(arena.remove(old), Some("old"));
        let new = arena.insert("new");
        assert_eq!(new.slot(), old.slot(), "the slot is reused, or this test shows nothing");
        assert_eq!(arena.get(old), None);
        assert_eq!(arena.get_mut(old), None);
        assert_eq!(arena.remove(old), None);
        assert_eq!(arena.get(new), Some(&"new"));
        assert_eq!(arena.key_at(new.slot()), Some(new));
        assert_eq!(arena.at_mut(new.slot()), Some(&mut "new"));
        assert_eq!(arena.remove(new), Some("new"));
        assert_eq!(arena.at_mut(new.slot()), None);
    }

    #[test]
    fn bits_turn_back_into_the_key() {
        let mut arena = Arena::default();
        let key = arena.insert(1);
        assert_eq!(Key::from_bits(key.to_bits()), Some(key));
        assert_eq!(Key::<i32>::from_bits(7), None, "generation 0 names nothing");
    }

    #[test]
    fn a_key_is_eight_bytes_even_when_optional() {
        assert_eq!(size_of::<Key<String>>(), 8);
        assert_eq!(size_of::<Option<Key<String>>>(), 8);
    }

    #[test]
    fn the_generation_wraps_past_zero() {
        let mut arena = Arena { entries: Slab::new(), next: NonZeroU32::MAX };
        let last = arena.insert('a');
        let first = arena.insert('b');
        assert_eq!(first.generation, NonZeroU32::MIN);
        assert_eq!((arena.get(last), arena.get(first)), (Some(&'a'), Some(&'b')));
    }
}
