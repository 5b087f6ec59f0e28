//! Shared bytes, and the queue of bytes that a connection still has to write.
//!
//! Owns how pending bytes are kept: small pieces are copied together, large shared ones are referenced. Must not know what
//! the bytes mean. An empty queue holds no heap memory, so that an idle connection costs nothing here.
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

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

/// Bytes that are encoded once and referenced by everyone who sends them.
pub type Bytes = Rc<[u8]>;

/// Shared pieces below this many bytes are copied. On loopback a copy and one plain write beat a gathering write up to
/// about 1 KiB and are equal near 4 KiB.
pub const COPY_BELOW: usize = 4 * 1024;

/// Bytes that many connections may have to write at the same time.
#[derive(Debug)]
pub enum Common {
    /// Part of the program.
    Built(&'static [u8]),
    /// Counted.
    Counted(Bytes),
}

impl Common {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Built(bytes) => bytes,
            Self::Counted(bytes) => bytes,
        }
    }
}

#[derive(Debug)]
enum Chunk {
    Owned(Vec<u8>),
    Shared(Common),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(common) => common.bytes(),
        }
    }
}

/// Bytes to write, in order, from which the socket takes as many as it can.
#[derive(Debug, Default)]
pub struct Pending {
    /// The first bytes; all of them unless something large was referenced.
    front: Vec<u8>,
    /// What follows `front`, once a shared piece is among it.
    #[expect(clippy::box_collection, reason = "8 bytes in each idle connection, in place of 32")]
    rest: Option<Box<VecDeque<Chunk>>>,
    /// How many bytes of the first chunk (`front`, or the head of `rest` once `front` is empty) are written.
    written: usize,
}

impl Pending {
    /// Bytes not yet written.
    pub fn len(&self) -> usize {
        let rest = self.rest.iter().flat_map(|rest| rest.iter()).map(|chunk| chunk.bytes().len());
        rest.fold(self.front.len(), usize::saturating_add).saturating_sub(self.written)
    }

    /// The memory that what is not yet written takes, bytes: of shared pieces this queue's share as it is now.
    pub fn weight(&self) -> usize {
        let rest = self.rest.iter().flat_map(|rest| rest.iter()).map(|chunk| match chunk {
            Chunk::Owned(bytes) => bytes.len(),
            Chunk::Shared(Common::Built(_)) => 0,
            Chunk::Shared(Common::Counted(bytes)) => {
                bytes.len().checked_div(Rc::strong_count(bytes)).unwrap_or_default()
            }
        });
        rest.fold(self.front.len(), usize::saturating_add)
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.front.is_empty() && self.rest.is_none()
    }

    /// The buffer that takes the next bytes; appending to it is appending to the queue.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        let Some(rest) = &mut self.rest else { return &mut self.front };
        if !matches!(rest.back(), Some(Chunk::Owned(_))) {
            rest.push_back(Chunk::Owned(Vec::new()));
        }
        match rest.back_mut() {
            Some(Chunk::Owned(bytes)) => bytes,
            _ => &mut self.front,
        }
    }

    /// Makes room for so many bytes, if they are so few that none of them will be referenced: in one step, and no more than
    /// that.
    pub fn reserve(&mut self, bytes: usize) {
        if bytes < COPY_BELOW {
            self.buffer().reserve_exact(bytes);
        }
    }

    /// Appends shared bytes: a copy if they are few, else a reference.
    pub fn push_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < COPY_BELOW {
            self.buffer().extend_from_slice(bytes);
        } else {
            self.push_common(Common::Counted(Rc::clone(bytes)));
        }
    }

    /// Appends a reference to bytes that many have to write.
    pub fn push_common(&mut self, common: Common) {
        self.rest.get_or_insert_default().push_back(Chunk::Shared(common));
    }

    /// Fills `slices` with the next bytes and returns how many slices that took.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let chunks = self.rest.iter().flat_map(|rest| rest.iter()).map(Chunk::bytes);
        let chunks = core::iter::once(self.front.as_slice()).chain(chunks).filter(|chunk| !chunk.is_empty());
        let mut used: usize = 0;
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
            let from = if used == 0 { self.written } else { 0 };
            *slice = IoSlice::new(chunk.get(from..).unwrap_or_default());
            used = used.saturating_add(1);
        }
        used
    }

    /// Takes away `n` bytes that have been written; more than there are empties the queue.
    pub fn advance(&mut self, n: usize) {
        self.written = self.written.saturating_add(n);
        let Some(beyond) = self.written.checked_sub(self.front.len()) else { return };
        self.written = beyond;
        self.front = Vec::new();
        let Some(rest) = &mut self.rest else {
            self.written = 0;
            return;
        };
        while let Some(chunk) = rest.front() {
            let Some(beyond) = self.written.checked_sub(chunk.bytes().len()) else { return };
            self.written = beyond;
            rest.pop_front();
        }
        self.rest = None;
        self.written = 0;
    }

    /// Drops everything that is left.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(pending: &Pending) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let used = pending.slices(&mut slices);
        slices[..used].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn small_pieces_are_copied_together_and_large_ones_referenced() {
        let mut pending = Pending::default();
        pending.buffer().extend_from_slice(b"head");
        pending.push_shared(&Rc::from(vec![b's'; COPY_BELOW - 1]));
        let large: Bytes = Rc::from(vec![b'l'; COPY_BELOW]);
        pending.push_shared(&large);
        pending.buffer().push(b'!');
        assert_eq!(Rc::strong_count(&large), 2, "referenced, not copied");
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(pending.slices(&mut slices), 3);
        assert_eq!(pending.len(), 4 + COPY_BELOW - 1 + COPY_BELOW + 1);
        assert_eq!(pending.weight(), 4 + COPY_BELOW - 1 + COPY_BELOW / 2 + 1, "half of what it shares with this test");
        let weight = pending.weight();
        pending.push_common(Common::Built(&[b'b'; COPY_BELOW]));
        assert_eq!(pending.weight(), weight, "part of the program");
    }

    #[test]
    fn room_is_made_for_few_bytes_and_no_more() {
        let mut pending = Pending::default();
        pending.reserve(COPY_BELOW);
        assert_eq!(pending.front.capacity(), 0);
        pending.reserve(200);
        assert_eq!(pending.front.capacity(), 200);
    }

    #[test]
    fn an_empty_queue_is_small_and_holds_no_heap() {
        assert!(size_of::<Pending>() <= 40);
        let mut pending = Pending::default();
        pending.buffer().extend_from_slice(b"abc");
        pending.advance(3);
        assert!(pending.is_empty());
        assert_eq!(pending.front.capacity(), 0);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order(pieces in prop::collection::vec((any::<bool>(), 0usize..6000), 0..12), cuts in prop::collection::vec(0usize..5000, 0..40)) {
            let mut pending = Pending::default();
            let mut expected = Vec::new();
            for (at, (shared, len)) in pieces.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..len).map(|i| (i + at) as u8).collect();
                expected.extend_from_slice(&bytes);
                if shared { pending.push_shared(&Rc::from(bytes)) } else { pending.buffer().extend_from_slice(&bytes) }
            }
            for cut in cuts {
                prop_assert_eq!(&written(&pending), &expected);
                prop_assert_eq!(pending.len(), expected.len());
                let cut = cut.min(expected.len());
                pending.advance(cut);
                expected.drain(..cut);
                prop_assert_eq!(pending.is_empty() , expected.is_empty());
            }
        }
    }
}
