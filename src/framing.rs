//! How one batch looks on each wire.
//!
//! Owns the bytes around events and replies. Beside `conn`, the only room that tells wire forms apart. Must not know
//! sessions or sockets.

use crate::chunk::{Bytes, Pending};
use crate::reply::Replies;

/// The form in which a request's answer goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A JSON array as a whole response body: long-polling.
    Json,
}

impl Wire {
    /// The `Content-Type` of a response in this form.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json;charset=UTF-8",
        }
    }
}

/// Events, then replies.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Encoded events, in the order of delivery.
    pub events: &'a [Bytes],
    /// Encoded replies, all ready.
    pub replies: &'a Replies,
}

impl Batch<'_> {
    /// Bytes that [`Batch::write`] will append.
    pub fn len(&self, wire: Wire) -> usize {
        match wire {
            Wire::Json => {
                let events = self.events.iter().map(|event| event.len());
                let replies = self.replies.ready().map(<[u8]>::len);
                let joined: usize = events.chain(replies).map(|len| len + 1).sum();
                // A comma for each but the first, and two brackets.
                joined.saturating_sub(1) + 2
            }
        }
    }

    /// Appends the batch in its wire form.
    pub fn write(&self, wire: Wire, out: &mut Pending) {
        match wire {
            Wire::Json => {
                let mut separator = b'[';
                for event in self.events {
                    out.buffer().push(separator);
                    out.push_shared(event);
                    separator = b',';
                }
                for reply in self.replies.ready() {
                    let buffer = out.buffer();
                    buffer.push(separator);
                    buffer.extend_from_slice(reply);
                    separator = b',';
                }
                if separator == b'[' {
                    out.buffer().push(b'[');
                }
                out.buffer().push(b']');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn framed(events: &[&str], replies: &[&str]) -> String {
        let events: Vec<Bytes> = events.iter().map(|event| Rc::from(event.as_bytes())).collect();
        let mut slots = Replies::default();
        for reply in replies {
            slots.push(|out| out.extend_from_slice(reply.as_bytes()));
        }
        let batch = Batch { events: &events, replies: &slots };
        let mut out = Pending::default();
        batch.write(Wire::Json, &mut out);
        assert_eq!(out.len(), batch.len(Wire::Json), "the length is announced before the bytes are written");
        String::from_utf8(out.buffer().clone()).unwrap()
    }

    #[test]
    fn must_2_a_response_is_always_an_array() {
        assert_eq!(framed(&[], &[]), "[]");
        assert_eq!(framed(&[], &["{}"]), "[{}]");
        assert_eq!(framed(&["{}"], &[]), "[{}]");
    }

    #[test]
    fn must_5_events_stand_before_replies() {
        assert_eq!(framed(&["1", "2"], &["3", "4"]), "[1,2,3,4]");
    }
}
