//! Bytes that connections keep in memory, counted together.
//!
//! Owns the sum, and what each connection has in it. The room for that is kept when the sum is 0, which it may be many times
//! a second: 8 bytes for each connection that there ever were at once. Must not decide what follows from the sum.

use crate::conn::ConnKey;

/// Bytes of several connections.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By the slot of the connection's key: what the engine keeps, and what is kept beneath it.
    of: Vec<[u32; 2]>,
    bytes: usize,
}

impl Tally {
    /// All of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether no connection has any.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// A connection has so many now; a slot is left with none.
    pub(super) fn set(&mut self, key: ConnKey, bytes: usize) {
        self.change(key, |[own, _]| own, bytes);
    }

    /// The same for what is kept of it beneath the engine, in records of TLS; whether that is another number than before.
    pub(super) fn set_beneath(&mut self, key: ConnKey, bytes: usize) -> bool {
        self.change(key, |[_, beneath]| beneath, bytes)
    }

    /// A connection has nothing any more.
    pub(super) fn clear(&mut self, key: ConnKey) {
        self.set(key, 0);
        self.set_beneath(key, 0);
    }

    fn change(&mut self, key: ConnKey, part: impl FnOnce(&mut [u32; 2]) -> &mut u32, bytes: usize) -> bool {
        let (at, bytes) = (key.slot() as usize, u32::try_from(bytes).unwrap_or(u32::MAX));
        if bytes > 0 && at >= self.of.len() {
            self.of.resize(at.saturating_add(1), [0; 2]);
        }
        let Some(of) = self.of.get_mut(at) else { return false };
        let before = core::mem::replace(part(of), bytes);
        self.bytes = self.bytes.saturating_sub(before as usize).saturating_add(bytes as usize);
        before != bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_follows_each_connection() {
        let key = |at: u64| ConnKey::from_bits(1 << 32 | at).unwrap();
        let mut tally = Tally::default();
        tally.set(key(1), 0);
        assert!(tally.is_empty());
        tally.set(key(1), 10);
        tally.set(key(2), 5);
        tally.set(key(1), 3);
        assert_eq!((tally.bytes(), tally.is_empty()), (8, false));
        tally.set(key(2), 0);
        tally.set(key(2), 0);
        assert_eq!(tally.bytes(), 3);
        assert!(tally.set_beneath(key(1), 4) && !tally.set_beneath(key(1), 4));
        assert_eq!(tally.bytes(), 7);
        tally.set(key(1), 0);
        assert_eq!(tally.bytes(), 4);
        tally.set(key(1), 1);
        tally.clear(key(1));
        assert!(tally.is_empty() && tally.bytes() == 0);
        assert_eq!(tally.of.len(), 3, "the room is kept for the next byte");
    }
}
