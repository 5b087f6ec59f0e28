//! The events that wait for one session.
//!
//! Owns the queue and its counts. An event is encoded once and shared by all queues that hold it; what it costs is counted
//! once, and what its place in each queue costs is counted for each, in [`Held`]. Must not decide what happens when a limit
//! is reached.

use std::collections::VecDeque;
use std::rc::Rc;

use super::sums;
use crate::event::Event;

/// What an event's place in one queue costs, bytes: a queue that grows has room for twice as many as wait.
pub(crate) const PLACE: usize = 2 * size_of::<Rc<Event>>();

/// Memory for events that wait for anyone: each event once, and its place in each queue.
#[derive(Debug, Default)]
pub struct Held {
    bytes: usize,
}

impl Held {
    /// The bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn add(&mut self, event: &Event) {
        sums::put(&mut self.bytes, PLACE);
        if event.hold() {
            sums::put(&mut self.bytes, event.weight());
        }
    }

    fn remove(&mut self, event: &Event) {
        sums::take(&mut self.bytes, PLACE);
        if event.release() {
            sums::take(&mut self.bytes, event.weight());
        }
    }
}

/// Events in the order of publishing. The first one stands inline, since most queues never hold a second.
#[derive(Debug, Default)]
pub struct Outbox {
    first: Option<Rc<Event>>,
    #[expect(clippy::box_collection, reason = "8 bytes in each of a million sessions, in place of 32")]
    rest: Option<Box<VecDeque<Rc<Event>>>>,
    bytes: usize,
}

impl Outbox {
    /// Events waiting.
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()).saturating_add(self.rest.as_ref().map_or(0, |rest| rest.len()))
    }

    /// Whether no event waits.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Bytes waiting.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The memory that it takes at most, bytes: less if others hold the same events.
    pub fn weight(&self) -> usize {
        self.bytes.saturating_add(self.len().saturating_mul(PLACE))
    }

    /// Appends an event.
    pub fn push(&mut self, event: &Rc<Event>, held: &mut Held) {
        held.add(event);
        sums::put(&mut self.bytes, event.json().len());
        let event = Rc::clone(event);
        if self.first.is_none() {
            self.first = Some(event);
        } else {
            self.rest.get_or_insert_default().push_back(event);
        }
    }

    /// Takes the oldest event out.
    pub fn pop(&mut self, held: &mut Held) -> Option<Rc<Event>> {
        let event = self.first.take()?;
        if let Some(rest) = &mut self.rest {
            self.first = rest.pop_front();
            if rest.is_empty() {
                self.rest = None;
            } else if rest.len() < rest.capacity() / 4 {
                // Room for as many again, so that one who catches up does not keep what the longest wait took.
                rest.shrink_to(rest.capacity() / 2);
            }
        }
        held.remove(&event);
        sums::take(&mut self.bytes, event.json().len());
        Some(event)
    }

    /// Copies events to `out`, oldest first, for as long as they are at most `bytes` together; one goes in any case.
    pub fn copy(&self, bytes: usize, out: &mut Vec<Rc<Event>>) {
        let mut sum = 0;
        for event in self.first.iter().chain(self.rest.iter().flat_map(|rest| rest.iter())) {
            sums::put(&mut sum, event.json().len());
            if sum > bytes && sum != event.json().len() {
                return;
            }
            out.push(Rc::clone(event));
        }
    }

    /// Moves events to `out`, oldest first, for as long as they are at most `bytes` together; one goes in any case.
    pub fn drain(&mut self, bytes: usize, held: &mut Held, out: &mut Vec<Rc<Event>>) {
        let mut sum = 0;
        while let Some(next) = &self.first {
            sums::put(&mut sum, next.json().len());
            if sum > bytes && sum != next.json().len() {
                return;
            }
            if let Some(event) = self.pop(held) {
                out.push(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(events: &[Rc<Event>]) -> Vec<&str> {
        events.iter().map(|event| std::str::from_utf8(event.json()).unwrap()).collect()
    }

    #[test]
    fn a_shared_event_is_counted_once_and_until_the_last_holder_lets_go() {
        let mut held = Held::default();
        let event = Event::new(b"12345", 0..0);
        let (mut a, mut b) = (Outbox::default(), Outbox::default());
        a.push(&event, &mut held);
        b.push(&event, &mut held);
        assert_eq!((held.bytes(), a.bytes(), b.bytes()), (event.weight() + 2 * PLACE, 5, 5));
        a.pop(&mut held);
        assert_eq!(held.bytes(), event.weight() + PLACE);
        b.pop(&mut held);
        assert_eq!(held.bytes(), 0);
        assert!(a.is_empty() && a.rest.is_none());
    }

    /// How many events a queue has room for.
    fn room(outbox: &Outbox) -> usize {
        outbox.rest.as_ref().map_or(0, |rest| rest.capacity())
    }

    #[test]
    fn what_a_queue_takes_is_counted_while_it_grows_and_goes_when_it_shrinks() {
        let mut held = Held::default();
        let mut outbox = Outbox::default();
        let event = Event::new(b"1", 0..0);
        let slot = size_of::<Rc<Event>>();
        for _ in 0..10_000 {
            outbox.push(&event, &mut held);
            let counted = held.bytes() - event.weight();
            assert!(room(&outbox) * slot <= counted.max(8 * slot), "{} places, {counted} bytes counted", room(&outbox));
        }
        while outbox.len() > 1 {
            outbox.pop(&mut held);
            assert!(room(&outbox) <= 4 * outbox.len().max(2), "{} places for {}", room(&outbox), outbox.len());
        }
        assert_eq!(room(&outbox), 0);
    }

    #[test]
    fn draining_keeps_the_order_and_stops_at_the_bytes() {
        let mut held = Held::default();
        let mut outbox = Outbox::default();
        for text in ["1", "22", "333", "4444"] {
            outbox.push(&Event::new(text.as_bytes(), 0..0), &mut held);
        }
        assert_eq!(outbox.len(), 4);
        let mut out = Vec::new();
        for bytes in 0..11 {
            let mut copied = Vec::new();
            outbox.copy(bytes, &mut copied);
            let expected = [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4][bytes];
            assert_eq!(texts(&copied), ["1", "22", "333", "4444"][..expected], "{bytes}");
        }
        outbox.drain(3, &mut held, &mut out);
        assert_eq!(texts(&out), ["1", "22"]);
        out.clear();
        outbox.drain(2, &mut held, &mut out);
        assert_eq!(texts(&out), ["333"], "one event goes, however large");
        outbox.drain(100, &mut held, &mut out);
        assert_eq!(texts(&out), ["333", "4444"]);
        assert_eq!((outbox.len(), outbox.bytes(), held.bytes()), (0, 0, 0));
    }
}
