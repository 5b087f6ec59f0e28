//! Sessions that have something to be told.
//!
//! Owns the order in which they are answered: two queues in turns, so that whoever waits for a single event, or for an
//! answer of his own, does not wait behind all the receivers of a broadcast. Must not know what a session is told.

use std::collections::VecDeque;

use super::session::SessionKey;

/// In which queue a session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listed {
    /// In none.
    #[default]
    No,
    /// Among the receivers of what goes to more sessions than are answered in one turn.
    Bulk,
    /// Among the others.
    Prompt,
}

/// The two queues.
#[derive(Debug, Default)]
pub struct Ready {
    prompt: VecDeque<SessionKey>,
    bulk: VecDeque<SessionKey>,
    /// Whether the next one comes from `bulk`, if there is one.
    bulk_is_next: bool,
}

impl Ready {
    /// Puts a session into a queue, unless it stands in one that is as good. It may move on from `Bulk` to `Prompt`: the
    /// place that it leaves is passed over.
    pub fn add(&mut self, key: SessionKey, listed: &mut Listed, queue: Listed) {
        match (*listed, queue) {
            (Listed::No | Listed::Bulk, Listed::Prompt) => self.prompt.push_back(key),
            (Listed::No, Listed::Bulk) => self.bulk.push_back(key),
            _ => return,
        }
        *listed = queue;
    }

    /// The next session, and the queue that it came from: if it does not stand there any more, it is to be passed over.
    pub fn pop(&mut self) -> Option<(SessionKey, Listed)> {
        let (prompt, bulk) = (&mut self.prompt, &mut self.bulk);
        self.bulk_is_next = if prompt.is_empty() { true } else { self.bulk_is_next && !bulk.is_empty() };
        let next =
            if self.bulk_is_next { (bulk.pop_front()?, Listed::Bulk) } else { (prompt.pop_front()?, Listed::Prompt) };
        self.bulk_is_next = !self.bulk_is_next;
        Some(next)
    }

    /// Whether nobody stands in either.
    pub fn is_empty(&self) -> bool {
        self.prompt.is_empty() && self.bulk.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(at: u64) -> SessionKey {
        SessionKey::from_bits(1 << 32 | at).unwrap()
    }

    fn order(ready: &mut Ready) -> Vec<(u64, Listed)> {
        core::iter::from_fn(|| ready.pop()).map(|(key, queue)| (key.to_bits() & 0xffff_ffff, queue)).collect()
    }

    #[test]
    fn the_queues_take_turns_and_keep_their_order() {
        use Listed::{Bulk, Prompt};
        let mut ready = Ready::default();
        for at in 0..4 {
            ready.add(key(at), &mut Listed::No, Bulk);
        }
        for at in 10..12 {
            ready.add(key(at), &mut Listed::No, Prompt);
        }
        let expected = [(10, Prompt), (0, Bulk), (11, Prompt), (1, Bulk), (2, Bulk), (3, Bulk)];
        assert_eq!(order(&mut ready), expected);
        assert!(ready.is_empty());
    }

    #[test]
    fn a_session_stands_once_and_moves_to_the_better_queue_only() {
        let mut ready = Ready::default();
        let mut listed = Listed::No;
        ready.add(key(1), &mut listed, Listed::Bulk);
        ready.add(key(1), &mut listed, Listed::Bulk);
        assert_eq!((listed, ready.bulk.len()), (Listed::Bulk, 1));
        ready.add(key(1), &mut listed, Listed::Prompt);
        ready.add(key(1), &mut listed, Listed::Bulk);
        assert_eq!((listed, ready.prompt.len(), ready.bulk.len()), (Listed::Prompt, 1, 1));
        assert_eq!(order(&mut ready), [(1, Listed::Prompt), (1, Listed::Bulk)], "the second is to be passed over");
    }
}
