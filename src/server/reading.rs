//! Reading sockets, so much of all of them in a turn.
//!
//! Owns which are to be read once more, or for the first time, without waiting for the kernel, and in which order. Who has
//! just sent something comes before those who had a read and left more: a few that send without end delay the others by no
//! more than a turn. One half of a turn is theirs all the same. While one waits here, its peer is not on the clock.

use std::collections::VecDeque;
use std::io::ErrorKind;

use crate::clock::Now;
use crate::conn::ConnKey;

use super::Server;
use super::slots::Unread;
use super::stream::Taken;

/// What waits to be read, and for how much there is room in this turn.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Those that the kernel has told of and that have not been read since.
    fresh: VecDeque<ConnKey>,
    /// Those of which a read has left something, or that were not wanted when they were told of.
    rest: VecDeque<ConnKey>,
    /// Bytes that may be read in this turn yet.
    left: usize,
    /// Of these, those that are for the rest.
    kept: usize,
    /// How many of the rest wait since before this turn.
    due: usize,
}

impl Reading {
    /// Whether some wait.
    pub(super) fn waits(&self) -> bool {
        self.has_unheard() || !self.rest.is_empty()
    }

    /// Whether some wait of whom nothing has been read since the kernel told of them.
    pub(super) fn has_unheard(&self) -> bool {
        !self.fresh.is_empty()
    }
}

impl Server {
    /// A turn begins, in which so much may be read. Those come first that were too many for the last one.
    pub(super) fn begin_reading(&mut self, now: Now) {
        self.reading.left = self.engine.limits().total_read_bytes_per_turn.max(1);
        self.reading.due = self.reading.rest.len();
        self.reading.kept = if self.reading.due == 0 { 0 } else { self.reading.left / 2 };
        self.read_fresh(now);
    }

    /// The kernel has told of all: reads those that have more, each once, and then who was too much.
    pub(super) fn read_rest(&mut self, now: Now) {
        for _ in 0..self.reading.due {
            if self.reading.left == 0 {
                return;
            }
            let Some(key) = self.reading.rest.pop_front() else { break };
            self.read_listed(key, now);
        }
        self.reading.kept = 0;
        self.read_fresh(now);
    }

    fn read_fresh(&mut self, now: Now) {
        while self.reading.left > self.reading.kept
            && let Some(key) = self.reading.fresh.pop_front()
        {
            self.read_listed(key, now);
        }
    }

    /// Reads one that has waited for its turn.
    fn read_listed(&mut self, key: ConnKey, now: Now) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.unread = Unread::Waiting;
        }
        self.engine.read_resumed(key, now);
        self.read(key, now);
    }

    /// There is something to be read, of which the kernel has just told: now, or when there is room for it.
    pub(super) fn read_or_wait(&mut self, key: ConnKey, now: Now) {
        if self.reading.left > self.reading.kept && self.reading.fresh.is_empty() {
            return self.read(key, now);
        }
        if self.engine.wants_input(key) && self.list(key, now) {
            self.reading.fresh.push_back(key);
        }
    }

    /// Has a connection read in the next turn, once.
    pub(super) fn read_again(&mut self, key: ConnKey, now: Now) {
        if self.list(key, now) {
            self.reading.rest.push_back(key);
        }
    }

    /// Whether it was on no list; it is to be put on one.
    fn list(&mut self, key: ConnKey, now: Now) -> bool {
        let Some(slot) = self.slots.get_mut(key).filter(|slot| slot.unread != Unread::Listed) else { return false };
        slot.unread = Unread::Listed;
        self.engine.read_waits(key, now);
        true
    }

    /// Reads once, if there is something and it is wanted. What stays is read in the next turn, or when it is wanted again.
    fn read(&mut self, key: ConnKey, now: Now) {
        if !self.engine.wants_input(key) {
            return;
        }
        if !self.slots.get_mut(key).is_some_and(|slot| slot.unread == Unread::Waiting) {
            return;
        }
        #[cfg(feature = "tls")]
        if self.await_handshake(key, now) {
            return;
        }
        let Some(slot) = self.slots.get_mut(key) else { return };
        match slot.stream.read(&mut self.scratch) {
            Ok(taken) => self.take(key, taken, now),
            Err(error) if error.kind() == ErrorKind::WouldBlock => slot.unread = Unread::Nothing,
            Err(error) if error.kind() == ErrorKind::Interrupted => self.read_again(key, now),
            Err(_) => self.close(key, now),
        }
    }

    /// Takes what has been read.
    pub(super) fn take(&mut self, key: ConnKey, taken: Taken, now: Now) {
        let Taken { bytes, more, end } = taken;
        self.reading.left = self.reading.left.saturating_sub(bytes);
        let Some(slot) = self.slots.get_mut(key) else { return };
        // The socket is empty, unless an end is behind the bytes.
        slot.ended |= end;
        // An end behind bytes is told when they have been looked at, by the next read.
        let again = bytes > 0 && (more || slot.ended);
        slot.unread = if again { Unread::Waiting } else { Unread::Nothing };
        let kept = slot.stream.kept();
        if bytes > 0 {
            self.engine.receive(key, &self.scratch[..bytes], now);
        } else if end {
            self.engine.peer_closed(key, now);
        }
        self.weigh(key, kept, now);
        if again {
            self.read_again(key, now);
        }
    }
}
