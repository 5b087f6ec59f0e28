//! What goes back for one request: reply slots, and the names by which the two sides of the engine call each other.
//!
//! Owns the vocabulary that `conn` and `broker` share, so that neither imports the other: a [`Link`] is where a session is
//! reached and means nothing to the broker; a [`Ticket`] is what a request waits for and means nothing to a connection.
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

use std::rc::Rc;

use crate::event::Event;

/// Where replies and events go: a connection, in the engine's own numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link(pub u64);

/// How events get to a session whose connect came over a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With the answer to the connect.
    Answer,
    /// At any time until the link is gone; the answers to connects go among them.
    Push,
    /// At any time until the connect is answered, with which the link ends; so it is held for long.
    Stream {
        /// How long, ms.
        hold_ms: u32,
        /// How long the client has to confirm that what is sent arrives at once, ms. No event is sent before.
        confirm_ms: u32,
    },
    /// Over a link of their own. The connect is answered at once and only keeps the session alive.
    Aside,
    /// Not at all: the client asks for what this server does not do.
    Refused,
    /// At any time until the link is gone, within this very program: no connect is needed.
    Inside,
}

/// What a reply slot waits for: today the end of a held connect, in the broker's own numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// One reply of a request: its bytes, or that it comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Ready { start: usize, end: usize },
    Waiting(Ticket),
}

/// The replies to one request, in request order.
#[derive(Clone, Debug, Default)]
pub struct Replies {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

impl Replies {
    /// Forgets everything and keeps the memory, for the next request.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.slots.clear();
    }

    /// Appends a reply that `write` writes as JSON.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.slots.push(Slot::Ready { start, end: self.bytes.len() });
    }

    /// The memory that they take, bytes, roughly.
    pub fn weight(&self) -> usize {
        self.bytes.len().saturating_add(self.slots.len().saturating_mul(size_of::<Slot>()))
    }

    /// Appends a reply whose bytes come later.
    pub fn push_waiting(&mut self, ticket: Ticket) {
        self.slots.push(Slot::Waiting(ticket));
    }

    /// Whether every slot has its bytes.
    pub fn is_ready(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot, Slot::Ready { .. }))
    }

    /// The ticket, if the request has one slot and that waits.
    pub fn sole_ticket(&self) -> Option<Ticket> {
        match self.slots.as_slice() {
            [Slot::Waiting(ticket)] => Some(*ticket),
            _ => None,
        }
    }

    /// The tickets that slots wait for.
    pub fn tickets(&self) -> impl Iterator<Item = Ticket> {
        self.slots.iter().filter_map(|slot| match *slot {
            Slot::Waiting(ticket) => Some(ticket),
            Slot::Ready { .. } => None,
        })
    }

    /// The replies that are ready, in order, each as JSON.
    pub fn ready(&self) -> impl Iterator<Item = &[u8]> {
        self.slots.iter().filter_map(|slot| match *slot {
            Slot::Ready { start, end } => self.bytes.get(start..end),
            Slot::Waiting(_) => None,
        })
    }
}

/// What somebody has missed who does not speak Bayeux.
#[derive(Clone, Debug, Default)]
pub struct Gap {
    /// How many events of which channels, as a JSON object.
    pub names: Vec<u8>,
    /// The number to go on from, if no events come with it that have one.
    pub cursor: Option<u64>,
}

/// What the broker says to one request, or to one held connect.
#[derive(Debug, Default)]
pub struct Answer {
    /// Events to go before the replies.
    pub events: Vec<Rc<Event>>,
    /// The replies.
    pub replies: Replies,
    /// The sessions whose connect this answers: the broker wants to hear when the bytes are written.
    pub answered: Vec<Ticket>,
    /// The value of a browser cookie to set.
    pub cookie: Option<String>,
    /// The number that the client is to confirm before it gets events.
    pub probe: Option<u32>,
    /// What is missing before the events, for who does not speak Bayeux.
    pub gap: Option<Gap>,
    /// What the batch is known by if it has to wait: the answer, with the replies that are ready, comes later.
    pub deferred: Option<u64>,
    /// Those of the sessions answered whose next events do not come by themselves: the link serves them no longer.
    pub left: Vec<Ticket>,
}

impl Answer {
    /// Forgets everything and keeps the memory, for the next request.
    pub fn clear(&mut self) {
        self.events.clear();
        self.replies.clear();
        self.answered.clear();
        self.cookie = None;
        self.probe = None;
        self.gap = None;
        self.deferred = None;
        self.left.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_in_order_and_one_that_waits_has_no_bytes() {
        let mut replies = Replies::default();
        replies.push(|out| out.extend_from_slice(b"1"));
        replies.push_waiting(Ticket(7));
        replies.push(|out| out.extend_from_slice(b"3"));
        assert!(!replies.is_ready());
        assert_eq!(replies.sole_ticket(), None);
        assert_eq!(replies.ready().collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(replies.tickets().collect::<Vec<_>>(), [Ticket(7)]);
    }

    #[test]
    fn a_sole_waiting_slot_is_recognised() {
        let mut replies = Replies::default();
        replies.push_waiting(Ticket(1));
        assert_eq!(replies.sole_ticket(), Some(Ticket(1)));
        replies.clear();
        assert!(replies.is_ready());
    }
}
