//! Owns what makes an event countable: the payload that says which run, which flow, which number and which time.
//!
//! A *flow* is what one source publishes to one channel: within it events are numbered from 0 and must come in that
//! order. Every protocol carries the same payload.

use serde::Deserialize;
use std::io::Write as _;

/// What the data of an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Which run published it, so that another run's events are not taken for ours.
    pub(crate) run: u32,
    /// Of which flow it is.
    pub(crate) flow: u32,
    /// Its place in the flow, from 0.
    pub(crate) seq: u32,
    /// When it was to be sent: microseconds since 1970, so that several processes can compare.
    pub(crate) sent_us: u64,
}

/// Short, as some runs publish messages of 50 bytes.
#[derive(Deserialize)]
struct Payload {
    e: (u32, u32, u32, u64),
}

impl Event {
    /// Reads the JSON text of an event's data; `None` if no run of this program wrote it.
    pub(crate) fn read(data: &str) -> Option<Self> {
        let Payload { e: (run, flow, seq, sent_us) } = serde_json::from_str(data).ok()?;
        Some(Self { run, flow, seq, sent_us })
    }

    /// Appends the payload: a JSON object of `size` bytes, or of as few more as the numbers need.
    pub(crate) fn write(self, size: usize, out: &mut Vec<u8>) {
        const PAD_FIELD: &str = r#","p":""}"#;
        let start = out.len();
        let Self { run, flow, seq, sent_us } = self;
        // Writing to a vector does not fail.
        let _ = write!(out, r#"{{"e":[{run},{flow},{seq},{sent_us}]"#);
        let bare = out.len() - start;
        if size < bare + PAD_FIELD.len() {
            out.push(b'}');
            return;
        }
        out.extend_from_slice(br#","p":""#);
        out.resize(start + size - 2, b'x');
        out.extend_from_slice(br#""}"#);
    }
}

/// What is published in one request: events of one flow with numbers in a row and the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The first.
    pub(crate) first: Event,
    /// How many.
    pub(crate) count: u32,
    /// Bytes of each one's data.
    pub(crate) size: usize,
}

impl Batch {
    /// Each of them.
    pub(crate) fn events(self) -> impl Iterator<Item = Event> {
        (0..self.count).map(move |at| Event { seq: self.first.seq + at, ..self.first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_the_size_asked_for() {
        let event = Event { run: 7, flow: 3, seq: 12, sent_us: 1_234_567_890 };
        for size in [0, 30, 31, 32, 33, 34, 60, 100, 4096] {
            let mut out = b"before".to_vec();
            event.write(size, &mut out);
            let text = std::str::from_utf8(&out[6..]).unwrap();
            assert_eq!(Event::read(text), Some(event), "{text}");
            assert!(text.len() == size || (text.len() == 25 && size < 32), "{size}: {text}");
        }
        assert_eq!(Event::read(r#"{"e":"other"}"#), None);
    }

    #[test]
    fn a_message_of_fifty_bytes_has_room_for_its_numbers() {
        let mut out = Vec::new();
        Event { run: u32::MAX, flow: 99, seq: 9999, sent_us: 1_800_000_000_000_000 }.write(50, &mut out);
        assert_eq!(out.len(), 50);
    }
}
