//! Bytes that connections keep in memory, counted together.
//!
//! Owns the sum, and what each connection has in it. Connections that keep nothing take no room here. Must not decide what
//! follows from the sum.

use std::collections::HashMap;

use crate::conn::ConnKey;

/// Bytes of several connections.
#[derive(Debug, Default)]
pub(super) struct Tally {
    of: HashMap<u64, usize>,
    bytes: usize,
}

impl Tally {
    /// All of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether no connection has any.
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// A connection has so many now.
    pub(super) fn set(&mut self, key: ConnKey, bytes: usize) {
        let before = match bytes {
            0 if self.of.is_empty() => return,
            0 => self.of.remove(&key.to_bits()),
            _ => self.of.insert(key.to_bits(), bytes),
        };
        self.bytes = self.bytes.saturating_sub(before.unwrap_or_default()).saturating_add(bytes);
        if self.of.is_empty() {
            // After a rush, it gives back what it took.
            self.of = HashMap::new();
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
