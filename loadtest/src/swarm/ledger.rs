//! Owns the exact counts of a run: what was published in each flow, what is expected of it, and what came.

use crate::event::Event;
use crate::tally::{Arrival, Tally};
use hdrhistogram::{CreationError, Histogram};
use std::collections::BTreeMap;

/// The longest latency that is told apart: an hour.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Clients that are counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Group {
    /// Those who do all as they should.
    #[default]
    Good,
    /// Those who read slowly.
    Slow,
}

/// What came to a group.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    /// Deliveries that are owed to it.
    pub(crate) expected: u64,
    /// Deliveries, each counted the first time only.
    pub(crate) delivered: u64,
    /// Deliveries that came again.
    pub(crate) duplicated: u64,
    /// Deliveries after one of the same flow that was published later.
    pub(crate) out_of_order: u64,
    /// Events that the server says it has dropped.
    pub(crate) dropped: u64,
    /// From the intended time of sending.
    pub(crate) latency_ns: Histogram<u64>,
}

/// What came besides, of all clients together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Events that this run did not publish, or not for whom they came to.
    pub(crate) strangers: u64,
    /// Held connects that were answered without an event.
    pub(crate) empty_polls: u64,
    /// WebSockets with compression agreed on.
    pub(crate) deflating: u64,
    /// Messages that came compressed.
    pub(crate) deflated: u64,
    /// Sessions that the server had forgotten, and that began anew.
    pub(crate) anew: u64,
    /// Slow clients whose connection the server closed.
    pub(crate) cut: u64,
    /// Failures by their key.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// The first failure in words.
    pub(crate) first_fault: Option<String>,
}

/// What one source publishes to one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flow {
    channel: u32,
    published: u32,
}

/// The counts of a run.
#[derive(Debug)]
pub(crate) struct Ledger {
    run: u32,
    flows: Vec<Flow>,
    /// Members of each group that subscribed to each channel.
    subscribers: Vec<[u64; 2]>,
    shares: [Share; 2],
    /// Whether another process publishes, and says only at the end how much.
    foreign: bool,
}

impl Ledger {
    /// Nothing published, nothing come. Flow `f` belongs to channel `f % channels`, one after the other for each
    /// source.
    pub(crate) fn new(run: u32, channels: usize, sources: usize) -> Result<Self, CreationError> {
        let share = || {
            let latency_ns = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)?;
            Ok(Share { expected: 0, delivered: 0, duplicated: 0, out_of_order: 0, dropped: 0, latency_ns })
        };
        let flow = |at| Flow { channel: (at % channels.max(1)) as u32, published: 0 };
        Ok(Self {
            run,
            flows: (0..channels * sources).map(flow).collect(),
            subscribers: vec![[0; 2]; channels],
            shares: [share()?, share()?],
            foreign: false,
        })
    }

    /// What came to a group.
    pub(crate) fn share(&self, group: Group) -> &Share {
        &self.shares[group as usize]
    }

    /// What came to a group, to be changed.
    pub(super) fn share_mut(&mut self, group: Group) -> &mut Share {
        &mut self.shares[group as usize]
    }

    /// How many messages each flow has.
    pub(crate) fn published(&self) -> Vec<u32> {
        self.flows.iter().map(|flow| flow.published).collect()
    }

    /// How many messages a flow has.
    pub(super) fn published_in(&self, flow: u32) -> u32 {
        self.flows.get(flow as usize).map_or(0, |flow| flow.published)
    }

    /// The flows of these channels.
    pub(super) fn flows_of(&self, channels: &[u32]) -> impl Iterator<Item = u32> {
        let of = |flow: &Flow| channels.binary_search(&flow.channel).is_ok();
        (0..).zip(&self.flows).filter(move |(_, flow)| of(flow)).map(|(at, _)| at)
    }

    /// Messages of all flows.
    pub(crate) fn messages(&self) -> u64 {
        self.flows.iter().map(|flow| u64::from(flow.published)).sum()
    }

    /// A member of a group subscribed to these.
    pub(super) fn subscribe(&mut self, group: Group, channels: &[u32]) {
        for channel in channels {
            if let Some(subscribers) = self.subscribers.get_mut(*channel as usize) {
                subscribers[group as usize] += 1;
            }
        }
    }

    /// So many messages of a flow go out; gives the number of the first.
    pub(super) fn publish(&mut self, flow: u32, count: u32) -> u32 {
        let Some(flow) = self.flows.get_mut(flow as usize) else { return 0 };
        let first = flow.published;
        flow.published += count;
        for (share, subscribers) in self.shares.iter_mut().zip(self.subscribers[flow.channel as usize]) {
            share.expected += subscribers * u64::from(count);
        }
        first
    }

    /// Another process publishes.
    pub(crate) fn expect_foreign(&mut self) {
        self.foreign = true;
    }

    /// The other process has published so much.
    pub(crate) fn settle_foreign(&mut self, published: &[u32]) {
        self.foreign = false;
        for (flow, count) in published.iter().enumerate() {
            self.publish(flow as u32, *count);
        }
    }

    /// Counts an event that came to a member; whether it was a delivery.
    pub(super) fn record(&mut self, event: Event, now_ns: u64, member: (&mut Tally, &[u32], Group)) -> Option<bool> {
        let (tally, channels, group) = member;
        let flow = self.flows.get(event.flow as usize).filter(|_| event.run == self.run)?;
        if channels.binary_search(&flow.channel).is_err() || (event.seq >= flow.published && !self.foreign) {
            return None;
        }
        let share = &mut self.shares[group as usize];
        let arrival = tally.record(event.flow, event.seq);
        if arrival == Arrival::Duplicate {
            share.duplicated += 1;
            return Some(false);
        }
        share.delivered += 1;
        share.out_of_order += u64::from(arrival == Arrival::Late);
        let sent_ns = event.sent_us.saturating_mul(1000);
        share.latency_ns.saturating_record(now_ns.saturating_sub(sent_ns).max(1));
        Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run with two channels and two sources, and a member that subscribed to the second channel.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(7, 2, 2).unwrap();
        ledger.subscribe(Group::Good, &[1]);
        ledger.subscribe(Group::Slow, &[0, 1]);
        ledger
    }

    fn came(ledger: &mut Ledger, tally: &mut Tally, flow: u32, seq: u32) -> Option<bool> {
        let event = Event { run: 7, flow, seq, sent_us: 1 };
        ledger.record(event, 5000, (tally, &[1], Group::Good))
    }

    fn good(ledger: &Ledger) -> [u64; 4] {
        let share = ledger.share(Group::Good);
        [share.expected, share.delivered, share.duplicated, share.out_of_order]
    }

    #[test]
    fn each_message_is_expected_by_those_who_subscribed_to_its_channel() {
        let mut ledger = ledger();
        assert_eq!(
            (ledger.publish(0, 3), ledger.publish(1, 2), ledger.publish(3, 4), ledger.publish(1, 1)),
            (0, 0, 0, 2)
        );
        assert_eq!((good(&ledger)[0], ledger.share(Group::Slow).expected, ledger.messages()), (7, 10, 10));
        assert_eq!(ledger.published(), [3, 3, 0, 4]);
        assert_eq!(ledger.flows_of(&[1]).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn what_comes_twice_or_late_is_told_apart_from_what_comes() {
        let (mut ledger, mut tally) = (ledger(), Tally::default());
        ledger.publish(1, 3);
        ledger.publish(3, 1);
        let seen: Vec<_> = [(1, 0), (1, 2), (3, 0), (1, 1), (1, 1)]
            .into_iter()
            .map(|(flow, seq)| came(&mut ledger, &mut tally, flow, seq))
            .collect();
        assert_eq!(seen, [Some(true), Some(true), Some(true), Some(true), Some(false)]);
        assert_eq!(good(&ledger), [4, 4, 1, 1]);
        let latency = &ledger.share(Group::Good).latency_ns;
        // To three digits.
        assert!((3995..=4005).contains(&latency.max()) && latency.len() == 4, "{latency:?}");
        assert_eq!(ledger.share(Group::Slow).delivered, 0);
    }

    #[test]
    fn what_was_not_published_or_not_to_it_is_no_delivery() {
        let (mut ledger, mut tally) = (ledger(), Tally::default());
        ledger.publish(0, 1);
        ledger.publish(1, 1);
        assert_eq!([(0, 0), (1, 1), (9, 0)].map(|(flow, seq)| came(&mut ledger, &mut tally, flow, seq)), [None; 3]);
        let other = Event { run: 8, flow: 1, seq: 0, sent_us: 1 };
        assert_eq!(ledger.record(other, 5000, (&mut tally, &[1], Group::Good)), None);
        assert_eq!(good(&ledger)[1], 0);
    }

    #[test]
    fn what_another_shard_publishes_is_expected_when_it_says_so() {
        let (mut ledger, mut tally) = (ledger(), Tally::default());
        ledger.expect_foreign();
        assert_eq!(came(&mut ledger, &mut tally, 1, 0), Some(true));
        assert_eq!(good(&ledger)[..2], [0, 1]);
        ledger.settle_foreign(&[0, 2, 0, 0]);
        assert_eq!(good(&ledger)[..2], [2, 1]);
        assert_eq!(came(&mut ledger, &mut tally, 1, 2), None);
    }
}
