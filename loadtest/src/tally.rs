//! Owns the exact count of what one client received: which numbers of each flow came, came twice or came late.

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

/// The numbers of one flow that one client received.
#[derive(Debug, Default)]
struct Line {
    flow: u32,
    /// One above the highest received.
    next: u32,
    /// Those below `next` that have not come, ascending.
    missing: Vec<u32>,
}

/// The numbers that one client received. A flow takes room once something of it has come.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By flow, ascending.
    lines: Vec<Line>,
}

impl Tally {
    /// Takes a number of a flow.
    pub(crate) fn record(&mut self, flow: u32, seq: u32) -> Arrival {
        let at = self.lines.binary_search_by_key(&flow, |line| line.flow).unwrap_or_else(|at| {
            // Most clients hear one flow.
            self.lines.reserve_exact(1);
            self.lines.insert(at, Line { flow, ..Line::default() });
            at
        });
        let Line { next, missing, .. } = &mut self.lines[at];
        if seq >= *next {
            missing.extend(*next..seq);
            *next = seq + 1;
            return Arrival::InOrder;
        }
        match missing.binary_search(&seq) {
            Ok(at) => {
                missing.remove(at);
                Arrival::Late
            }
            Err(_) => Arrival::Duplicate,
        }
    }

    /// One above the highest number of a flow that came.
    pub(crate) fn next(&self, flow: u32) -> u32 {
        self.line(flow).map_or(0, |line| line.next)
    }

    /// How many of the numbers `from..to` of a flow have not come.
    pub(crate) fn missing(&self, flow: u32, from: u32, to: u32) -> u64 {
        let Some(Line { next, missing, .. }) = self.line(flow) else { return u64::from(to.saturating_sub(from)) };
        let below = missing.iter().filter(|seq| (from..to).contains(seq)).count() as u64;
        below + u64::from(to.saturating_sub(from.max(*next)))
    }

    fn line(&self, flow: u32) -> Option<&Line> {
        self.lines.binary_search_by_key(&flow, |line| line.flow).ok().map(|at| &self.lines[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_late_ones_and_duplicates() {
        use Arrival::{Duplicate, InOrder, Late};
        let mut tally = Tally::default();
        let seen: Vec<Arrival> = [0, 1, 1, 5, 3, 3, 2, 0, 6, 4].map(|seq| tally.record(7, seq)).into();
        assert_eq!(seen, [InOrder, InOrder, Duplicate, InOrder, Late, Duplicate, Late, Duplicate, InOrder, Late]);
        assert!(tally.next(7) == 7 && tally.missing(7, 0, 7) == 0);
    }

    #[test]
    fn flows_are_counted_apart() {
        let mut tally = Tally::default();
        for (flow, seq) in [(9, 0), (2, 0), (5, 1), (2, 1)] {
            assert_eq!(tally.record(flow, seq), Arrival::InOrder, "{flow} {seq}");
        }
        assert_eq!(tally.record(5, 0), Arrival::Late);
        assert_eq!([2, 5, 9, 1].map(|flow| tally.next(flow)), [2, 2, 1, 0]);
    }

    #[test]
    fn what_is_missing_is_told_by_range() {
        let mut tally = Tally::default();
        for seq in [0, 3, 4, 6] {
            tally.record(1, seq);
        }
        assert_eq!((tally.missing(1, 0, 10), tally.missing(1, 2, 6), tally.missing(1, 3, 5)), (6, 2, 0));
        assert_eq!((tally.missing(1, 8, 10), tally.missing(2, 1, 4)), (2, 3));
    }
}
