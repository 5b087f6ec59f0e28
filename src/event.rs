//! One event, encoded once and shared by all that it is sent to.
//!
//! Owns the encoded bytes and where the parts stand that some wires want by themselves. Must not know queues or wires.
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

use core::ops::Range;
use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use crate::chunk::Bytes;

/// What stands before the channel's name in the JSON of an event; the name needs no escapes.
const BEFORE_CHANNEL: usize = r#"{"channel":""#.len();
/// What stands between the channel's name and the data.
const BEFORE_DATA: usize = r#"","data":"#.len();

/// What an event costs beside its JSON, bytes: itself, and what two allocations need to be counted and found.
pub(crate) const BESIDE_JSON: usize = size_of::<Event>() + 6 * size_of::<usize>();

/// An encoded event, on its way to any number of sessions.
#[derive(Debug)]
pub struct Event {
    json: Bytes,
    /// Where its data stands.
    data: Range<u32>,
    /// Its number, if it is kept; 0 is none.
    id: u64,
    /// How many queues hold it.
    holders: Cell<u32>,
    /// A batch of nothing but it, compressed, once somebody has asked; empty if that is no shorter.
    packed: OnceCell<Bytes>,
}

impl Event {
    /// An event that nobody holds yet: its JSON object, which begins with `channel` and `data`, and where the data stands.
    pub fn new(json: &[u8], data: Range<usize>) -> Rc<Self> {
        Self::numbered(json, data, None)
    }

    /// The same with the number by which it is read again.
    pub fn numbered(json: &[u8], data: Range<usize>, id: Option<u64>) -> Rc<Self> {
        // An event is as large as a request at most.
        let [start, end] = [data.start, data.end].map(|at| u32::try_from(at).unwrap_or_default());
        let (json, data, id) = (Rc::from(json), start..end, id.unwrap_or_default());
        Rc::new(Self { json, data, id, holders: Cell::new(0), packed: OnceCell::new() })
    }

    /// Its number, if it is kept in a history.
    pub fn id(&self) -> Option<u64> {
        Some(self.id).filter(|id| *id != 0)
    }

    /// The JSON object.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The memory that it takes, bytes.
    pub fn weight(&self) -> usize {
        self.json.len().saturating_add(BESIDE_JSON)
    }

    /// The channel's name.
    pub fn channel(&self) -> &[u8] {
        let end = (self.data.start as usize).saturating_sub(BEFORE_DATA);
        self.json.get(BEFORE_CHANNEL..end).unwrap_or_default()
    }

    /// The data, as JSON.
    pub fn data(&self) -> &[u8] {
        self.json.get(self.data.start as usize..self.data.end as usize).unwrap_or_default()
    }

    /// A batch of nothing but it, compressed with [`Event::pack`]; `None` if it has not been or became no shorter.
    pub fn packed(&self) -> Option<&Bytes> {
        self.packed.get().filter(|packed| !packed.is_empty())
    }

    /// Compresses a batch of nothing but it, unless that has been done: `compress` appends to a buffer.
    pub fn pack(&self, compress: impl FnOnce(&[u8], &mut Vec<u8>)) {
        self.packed.get_or_init(|| {
            let batch = [b"[", &*self.json, b"]"].concat();
            let mut packed = Vec::new();
            compress(&batch, &mut packed);
            if packed.len() < batch.len() { Rc::from(packed) } else { Rc::from([]) }
        });
    }

    /// One queue more holds it; whether that is the first.
    pub fn hold(&self) -> bool {
        let before = self.holders.get();
        self.holders.set(before.saturating_add(1));
        before == 0
    }

    /// One queue less holds it; whether that was the last. More than hold it cannot let go of it.
    pub fn release(&self) -> bool {
        let before = self.holders.get();
        debug_assert_ne!(before, 0, "nobody holds it");
        self.holders.set(before.saturating_sub(1));
        before == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayeux::{Channel, encode};

    #[test]
    fn its_parts_stand_where_they_were_encoded() {
        for (channel, data) in
            [("/a", "1"), ("/chat/tea time", r#"{"a":[1,2]}"#), ("/x'y", "\"\u{2028}\""), ("/n", "null")]
        {
            let mut json = Vec::new();
            let channel_name = Channel::parse(channel).unwrap();
            let places = encode::event_from_parts(&mut json, channel_name, data, encode::Marks::default());
            let event = Event::new(&json, places.data);
            assert_eq!(event.channel(), channel.as_bytes());
            assert_eq!(event.data(), data.replace('\u{2028}', "\\u2028").as_bytes());
        }
    }

    #[test]
    fn it_is_packed_once_and_only_if_it_becomes_shorter() {
        let event = Event::new(b"{1234}", 0..0);
        assert_eq!(event.packed(), None);
        event.pack(|batch, out| out.extend_from_slice(&batch[..3]));
        event.pack(|_, _| unreachable!("once"));
        assert_eq!(event.packed().map(|packed| packed.to_vec()), Some(b"[{1".to_vec()));
        let event = Event::new(b"{}", 0..0);
        event.pack(|batch, out| out.extend_from_slice(batch));
        assert_eq!(event.packed(), None);
    }

    #[test]
    fn holders_are_counted() {
        let event = Event::new(b"{}", 0..0);
        assert!(event.hold() && !event.hold());
        assert!(!event.release() && event.release());
    }
}
