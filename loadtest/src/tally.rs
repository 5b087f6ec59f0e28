//! Owns the exact count of what one client received: which numbers of the sequence came, came twice or came late.

/// What a number turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The first time, in order.
    InOrder,
    /// The first time, after a later one.
    Late,
    /// Not the first time.
    Duplicate,
}

/// The numbers that one client received.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// One above the highest received.
    next: u32,
    /// Those below `next` that have not come, ascending.
    missing: Vec<u32>,
}

impl Tally {
    /// Takes a number.
    pub(crate) fn record(&mut self, seq: u32) -> Arrival {
        if seq >= self.next {
            self.missing.extend(self.next..seq);
            self.next = seq + 1;
            return Arrival::InOrder;
        }
        match self.missing.binary_search(&seq) {
            Ok(at) => {
                self.missing.remove(at);
                Arrival::Late
            }
            Err(_) => Arrival::Duplicate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_late_ones_and_duplicates() {
        use Arrival::{Duplicate, InOrder, Late};
        let mut tally = Tally::default();
        let seen: Vec<Arrival> = [0, 1, 1, 5, 3, 3, 2, 0, 6, 4].map(|seq| tally.record(seq)).into();
        assert_eq!(seen, [InOrder, InOrder, Duplicate, InOrder, Late, Duplicate, Late, Duplicate, InOrder, Late]);
        assert!(tally.missing.is_empty() && tally.next == 7);
    }
}
