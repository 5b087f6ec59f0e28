//! Bytes that connections keep in memory, counted together.
//!
//! Owns the sum, and what each connection has in it. Connections that keep nothing take no room here. Must not decide what
//! follows from the sum.

use crate::conn::ConnKey;

/// Bytes of several connections.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By the slot of the connection's key.
    of: Vec<u32>,
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
        let (at, bytes) = (key.slot() as usize, u32::try_from(bytes).unwrap_or(u32::MAX));
        if bytes > 0 && at >= self.of.len() {
            self.of.resize(at.saturating_add(1), 0);
        }
        let Some(own) = self.of.get_mut(at) else { return };
        self.bytes = self.bytes.saturating_sub(*own as usize).saturating_add(bytes as usize);
        *own = bytes;
        if self.bytes == 0 {
            // After a rush, it gives back what it took.
            self.of = Vec::new();
        }
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
        tally.set(key(1), 0);
        assert!(tally.is_empty() && tally.bytes() == 0);
    }
}
