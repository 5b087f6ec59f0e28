//! What only some sessions have: acknowledgement, events still to be read from the history, losses to be told of.
//!
//! Owns these states, in one heap block that most sessions do without. Must not know links.

use std::collections::VecDeque;

use crate::bayeux::encode;
use crate::hooks::Attributes;

use super::ext::TimeSync;
use super::wants::Wants;

/// Channels of which losses are counted one by one for a session; those of all others are counted together.
const GAPS: usize = 32;
/// The name under which they are.
const OTHERS: &str = "/**";
/// Batches of which it is known up to where they went. An older one that is acknowledged frees nothing by itself.
const BATCHES: usize = 64;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Extras {
    /// Set if its client acknowledges what it gets.
    pub acks: Option<Acks>,
    /// The question of the connect under way about the time.
    pub sync: Option<TimeSync>,
    /// Losses that its client has not been told of.
    pub gaps: Gaps,
    /// What it reads from the history, before events that are published go to it.
    pub wants: Wants,
    /// What hooks have written on it.
    pub attributes: Attributes,
    /// When it ends at the latest, ms; 0: never.
    pub ends_ms: u64,
}

impl Extras {
    /// Whether there is nothing of it.
    pub fn is_idle(&self) -> bool {
        self.acks.is_none()
            && self.sync.is_none()
            && self.gaps.is_empty()
            && self.wants.is_empty()
            && self.attributes.is_empty()
            && self.ends_ms == 0
    }
}

/// A batch of events that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    batch: u64,
    /// How many events had been sent with it since the beginning, each counted once.
    end: u64,
}

/// Which events a client has (CometD's acknowledgement extension). The events that were sent and not acknowledged stand at
/// the front of the outbox, and each batch begins with the first of them.
///
/// | what comes | what becomes of batches |
/// |---|---|
/// | acknowledgement of n | the events of all batches up to n are dropped |
/// | of one never sent, or already done | nothing |
/// | a connect, or an event while one is held | all events of the outbox go, as batch m + 1 |
#[derive(Debug, Default)]
pub struct Acks {
    /// The newest batch.
    batch: u64,
    /// Events dropped so far.
    dropped: u64,
    /// Events ever sent, each counted once; a later batch may be shorter than one that got lost.
    sent_to: u64,
    /// Batches that are not acknowledged, with rising ends.
    sent: VecDeque<Sent>,
}

impl Acks {
    /// The number of the next batch.
    pub fn next(&self) -> u64 {
        self.batch.saturating_add(1)
    }

    /// The number of the newest batch.
    pub fn newest(&self) -> u64 {
        self.batch
    }

    /// Takes note that a batch goes with the first `events` of the outbox; how many of them go again.
    pub fn send(&mut self, events: usize) -> u64 {
        self.batch = self.next();
        let again = self.sent_to.saturating_sub(self.dropped).min(events as u64);
        let end = self.dropped.saturating_add(events as u64);
        self.sent_to = self.sent_to.max(end);
        // It may go less far than one that got lost: who has this one need not have that.
        while self.sent.back().is_some_and(|last| last.end > end) {
            self.sent.pop_back();
        }
        let before = self.sent.back().map_or(self.dropped, |last| last.end);
        if before < end {
            self.sent.push_back(Sent { batch: self.batch, end });
        }
        if self.sent.len() > BATCHES {
            self.sent.pop_front();
        }
        again
    }

    /// The client has this batch: how many events of the front of the outbox it has, so that they can go.
    pub fn acknowledge(&mut self, batch: u64) -> usize {
        if batch > self.batch {
            return 0;
        }
        let mut end = self.dropped;
        while let Some(first) = self.sent.front().filter(|first| first.batch <= batch) {
            end = first.end;
            self.sent.pop_front();
        }
        let events = end.saturating_sub(self.dropped);
        self.dropped = end;
        usize::try_from(events).unwrap_or(usize::MAX)
    }
}

/// How many events of which channel a client has missed; `None`: nobody knows how many.
#[derive(Debug, Default)]
pub struct Gaps {
    names: Vec<(Box<str>, Option<u64>)>,
    /// The batch in which all of it was told, of a client that acknowledges; 0: none.
    told: u64,
}

impl Gaps {
    /// Adds so many events of a channel or pattern.
    pub fn add(&mut self, name: &str, events: Option<u64>) {
        self.told = 0;
        let known = self.names.len() < GAPS || self.names.iter().any(|(own, _)| **own == *name);
        let name = if known { name } else { OTHERS };
        match self.names.iter_mut().find(|(own, _)| **own == *name) {
            Some((_, sum)) => *sum = sum.zip(events).map(|(sum, events)| sum.saturating_add(events)),
            None => self.names.push((name.into(), events)),
        }
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Appends all as a JSON object: `{"/a":3,"/b":-1}`, −1 where nobody knows how many.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, (name, events)) in self.names.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            encode::string(out, name);
            out.push(b':');
            match events {
                Some(events) => encode::decimal(out, *events),
                None => out.extend_from_slice(b"-1"),
            }
        }
        out.push(b'}');
    }

    /// All has been told: it is forgotten, or, if that goes with a batch that will be acknowledged, kept until it is.
    pub fn tell(&mut self, batch: Option<u64>) {
        match batch {
            Some(batch) => self.told = batch,
            None => self.names.clear(),
        }
    }

    /// The client has this batch.
    pub fn acknowledge(&mut self, batch: u64) {
        if self.told != 0 && self.told <= batch {
            self.names.clear();
            self.told = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_batch_frees_what_it_brought() {
        let mut acks = Acks::default();
        assert_eq!((acks.next(), acks.acknowledge(0)), (1, 0));
        acks.send(0);
        acks.send(2);
        acks.send(5);
        assert_eq!(acks.next(), 4);
        assert_eq!(acks.acknowledge(1), 0, "an empty one");
        assert_eq!(acks.acknowledge(2), 2);
        assert_eq!(acks.acknowledge(2), 0, "twice");
        assert_eq!(acks.acknowledge(1), 0, "an older one, overtaken");
        assert_eq!(acks.acknowledge(4), 0, "one that was never sent");
        assert_eq!(acks.acknowledge(3), 3);
    }

    #[test]
    fn what_was_sent_again_is_counted_once() {
        let mut acks = Acks::default();
        acks.send(2);
        acks.send(2);
        acks.send(3);
        assert_eq!(acks.acknowledge(3), 3);
        acks.send(1);
        assert_eq!(acks.acknowledge(4), 1);
    }

    #[test]
    fn a_shorter_batch_after_a_lost_one_does_not_stand_for_it() {
        let mut acks = Acks::default();
        assert_eq!([10, 4, 5].map(|events| acks.send(events)), [0, 4, 5], "all of these again");
        assert_eq!(acks.acknowledge(2), 4);
        assert_eq!(acks.send(7), 6, "and one that is new");
        assert_eq!(acks.acknowledge(4), 7);
    }

    #[test]
    fn batches_are_bounded_and_the_newest_frees_all() {
        let mut acks = Acks::default();
        (1..=200).for_each(|events| assert_eq!(acks.send(events), events as u64 - 1));
        assert_eq!(acks.sent.len(), BATCHES);
        assert_eq!(acks.acknowledge(100), 0, "forgotten: the events go again");
        assert_eq!(acks.acknowledge(200), 200);
    }

    fn text(gaps: &Gaps) -> String {
        let mut out = Vec::new();
        gaps.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn gaps_add_up_and_are_told_once() {
        let mut gaps = Gaps::default();
        gaps.add("/b", Some(1));
        gaps.add("/a", Some(2));
        gaps.add("/b", Some(2));
        gaps.add("/c", Some(2));
        gaps.add("/c", None);
        gaps.add("/c", Some(2));
        assert_eq!(text(&gaps), r#"{"/b":3,"/a":2,"/c":-1}"#);
        gaps.tell(None);
        assert!(gaps.is_empty());
        assert_eq!(text(&gaps), "{}");
        for number in 0..GAPS + 3 {
            gaps.add(&format!("/{number}"), Some(1));
        }
        assert!(text(&gaps).ends_with(r#","/**":3}"#));
        assert_eq!(gaps.names.len(), GAPS + 1);
    }

    #[test]
    fn what_is_told_in_a_batch_is_told_again_until_that_has_come() {
        let mut gaps = Gaps::default();
        gaps.add("/a", Some(1));
        gaps.acknowledge(9);
        assert!(!gaps.is_empty(), "not told yet");
        gaps.tell(Some(7));
        gaps.acknowledge(6);
        assert!(!gaps.is_empty());
        gaps.add("/a", Some(1));
        gaps.acknowledge(7);
        assert_eq!(text(&gaps), r#"{"/a":2}"#, "the second one was not in it");
        gaps.tell(Some(8));
        gaps.acknowledge(8);
        assert!(gaps.is_empty());
    }
}
