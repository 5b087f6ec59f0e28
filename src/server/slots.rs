//! The sockets of open connections.
//!
//! Owns what the loop must remember of each. Must not read or write.

use crate::conn::ConnKey;

use super::stream::Stream;

/// What the kernel has announced on a socket, bytes or an end, and has not been read: it will not be announced again.
///
/// | state | next | by |
/// |---|---|---|
/// | `Nothing` | `Waiting` | an event |
/// | `Waiting` | `Nothing` | a read that has emptied the socket |
/// | | `Listed` | a read that has left something, a turn that has read enough, a handshake to go on with, an engine that wants input again |
/// | `Listed` | `Waiting` | its turn |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    Nothing,
    /// To be read when it is wanted.
    Waiting,
    /// The same, on a list of connections to read or in the queue of handshakes: not to be read before its turn.
    Listed,
}

/// A socket with what the loop must remember of it.
pub(super) struct Slot {
    pub(super) key: ConnKey,
    pub(super) stream: Stream,
    pub(super) unread: Unread,
    /// The peer's end has been announced: read on until it is reached, for it will not be announced again.
    pub(super) ended: bool,
}

/// All that are open.
#[derive(Default)]
pub(super) struct Slots {
    /// By the slot of the connection's key.
    all: Vec<Option<Slot>>,
    open: usize,
}

impl Slots {
    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    pub(super) fn get_mut(&mut self, key: ConnKey) -> Option<&mut Slot> {
        let slot = self.all.get_mut(key.slot() as usize)?.as_mut()?;
        (slot.key == key).then_some(slot)
    }

    /// Keeps the socket of a connection that has just been accepted.
    pub(super) fn insert(&mut self, key: ConnKey, stream: Stream) {
        let at = key.slot() as usize;
        if self.all.len() <= at {
            self.all.resize_with(at + 1, || None);
        }
        self.all[at] = Some(Slot { key, stream, unread: Unread::Nothing, ended: false });
        self.open += 1;
    }

    /// Gives a socket away.
    pub(super) fn remove(&mut self, key: ConnKey) -> Option<Slot> {
        let place = self.all.get_mut(key.slot() as usize)?;
        let slot = place.take_if(|slot| slot.key == key)?;
        self.open -= 1;
        Some(slot)
    }

    /// Each of them; for tests of the loop.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.all.iter().flatten()
    }
}
