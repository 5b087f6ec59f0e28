//! Taking connections from the kernel, and not taking them.
//!
//! Owns whether there is room, when to try again, and what those hear for whom there is none.

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;

use mio::Token;

use crate::clock::Now;
use crate::http::response;

use super::Server;
use super::stream::Stream;

/// After a failed accept, ms before the next try; a closed connection brings it on at once. Half of what a client is to wait
/// for a file that becomes free elsewhere.
const RETRY_MS: u64 = 50;
/// Why accepting pauses when there is no room.
const NO_ROOM: &str = "as many as max-connections or the limit of open files allows";
/// Between two warnings that accepting pauses, ms.
const QUIET_MS: u64 = 10_000;
/// Turns of accepting what the kernel has taken on, before listening ends, count.
const LAST_TURNS: usize = 64;

/// Whether connections are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    /// When the kernel says there are some.
    Ready,
    /// There may be more than fitted into the last turn.
    More,
    /// Not until one closes: as many as allowed are open. If some may wait, they are turned away by then, ms.
    Full { until_ms: Option<u64> },
    /// Not until one closes or it is that late, ms: the kernel had no room for another.
    Failed { retry_ms: u64 },
    /// Never again: the server ends.
    Never,
}

/// What accepting has come to so far.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) accepting: Accepting,
    /// Which listener comes first: the one after that which had the last room.
    first: usize,
    /// No further warning of a pause before that, ms.
    quiet_until_ms: u64,
    /// Who has been turned away since the last one, count.
    turned_away: u64,
}

impl Default for Door {
    fn default() -> Self {
        Self { accepting: Accepting::Ready, first: 0, quiet_until_ms: 0, turned_away: 0 }
    }
}

impl Door {
    /// The kernel says that some wait.
    pub(super) fn knock(&mut self, until_ms: u64) {
        match &mut self.accepting {
            Accepting::Ready => self.accepting = Accepting::More,
            Accepting::Full { until_ms: until @ None } => *until = Some(until_ms),
            Accepting::Full { .. } | Accepting::More | Accepting::Failed { .. } | Accepting::Never => {}
        }
    }

    /// There is room for another one, perhaps.
    pub(super) fn make_room(&mut self) {
        if matches!(self.accepting, Accepting::Full { .. } | Accepting::Failed { .. }) {
            self.accepting = Accepting::More;
        }
    }

    /// So many listeners, in the order in which they have their turn.
    fn order(&self, listeners: usize) -> impl Iterator<Item = usize> + use<> {
        let first = self.first.min(listeners);
        (first..listeners).chain(0..first)
    }

    /// When it is to be looked at again, ms, if nothing else happens.
    pub(super) fn deadline(&self) -> Option<u64> {
        match self.accepting {
            Accepting::Failed { retry_ms } => Some(retry_ms),
            Accepting::Full { until_ms } => until_ms,
            Accepting::Ready | Accepting::More | Accepting::Never => None,
        }
    }
}

impl Server {
    /// Accepts what waits, as many as fit into a turn.
    pub(super) fn accept(&mut self, now: Now) {
        match self.door.accepting {
            Accepting::More => {}
            Accepting::Failed { retry_ms } if retry_ms <= now.mono_ms => {}
            Accepting::Full { until_ms: Some(until_ms) } if until_ms <= now.mono_ms => return self.turn_away(now),
            Accepting::Ready | Accepting::Full { .. } | Accepting::Failed { .. } | Accepting::Never => return,
        }
        self.door.accepting = Accepting::Ready;
        let listeners = self.listeners.len();
        let mut left = self.engine.limits().accepts_per_turn;
        for at in self.door.order(listeners) {
            while left > 0 {
                if self.slots.open() >= self.engine.limits().connections {
                    self.warn_of_pause(NO_ROOM, now);
                    let until_ms = Some(now.mono_ms + self.engine.limits().full_ms);
                    self.door.accepting = Accepting::Full { until_ms };
                    return;
                }
                match self.listeners[at].accept() {
                    #[cfg(feature = "tls")]
                    Ok((stream, peer)) if self.listeners[at].is_tls() => {
                        let stream = self.handshakes.expected_on(stream);
                        self.adopt(stream, peer, now);
                    }
                    Ok((stream, peer)) => self.adopt(stream, peer, now),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if is_about_the_peer(&error) => {}
                    Err(error) => {
                        self.warn_of_pause(&error.to_string(), now);
                        self.door.accepting = Accepting::Failed { retry_ms: now.mono_ms + RETRY_MS };
                        return;
                    }
                }
                left -= 1;
                // Only the kernel's "would block" proves that nothing waits.
                self.door.accepting = Accepting::More;
                self.door.first = (at + 1) % listeners;
            }
        }
    }

    /// Answers those who have waited in vain for a connection to close, as many as fit into a turn. That takes one file
    /// beyond those of connections.
    fn turn_away(&mut self, now: Now) {
        let mut until_ms = None;
        let listeners = self.listeners.len();
        let mut left = self.engine.limits().accepts_per_turn;
        for at in self.door.order(listeners) {
            while left > 0 {
                match self.listeners[at].accept() {
                    Ok((stream, _)) => {
                        self.door.first = (at + 1) % listeners;
                        self.door.turned_away += 1;
                        // Over TLS there would be nobody to read it.
                        if self.listeners[at].is_plain() {
                            self.tell_full(stream);
                        }
                    }
                    Err(error) if is_about_the_peer(&error) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => {
                        until_ms = Some(now.mono_ms + RETRY_MS);
                        break;
                    }
                }
                left -= 1;
            }
        }
        if left == 0 {
            until_ms = Some(now.mono_ms);
        }
        self.door.accepting = Accepting::Full { until_ms };
        self.warn_of_pause(NO_ROOM, now);
    }

    /// Says to a peer that there is no room for it, as far as one write goes.
    fn tell_full(&mut self, mut stream: Stream) {
        // What has come is read, or closing would reset the connection and the answer be lost.
        let _ = stream.read(&mut self.scratch);
        let _ = stream.write(&[IoSlice::new(response::FULL)]);
        let _ = stream.shutdown_write();
    }

    /// What the kernel has taken on already would be reset when listening ends: it is accepted, as far as there is room.
    pub(super) fn accept_last(&mut self, now: Now) {
        for _ in 0..LAST_TURNS {
            self.door.knock(now.mono_ms);
            self.accept(now);
            if self.door.accepting != Accepting::More {
                break;
            }
        }
        self.door.accepting = Accepting::Never;
    }

    /// Says that accepting pauses, at most once in a while: a full server may pause after every connection.
    fn warn_of_pause(&mut self, reason: &str, now: Now) {
        if now.mono_ms < self.door.quiet_until_ms {
            return;
        }
        match core::mem::take(&mut self.door.turned_away) {
            0 => log::warn!("accepting pauses with {} connections open: {reason}", self.slots.open()),
            turned => {
                log::warn!(
                    "accepting pauses with {} connections open, {turned} turned away: {reason}",
                    self.slots.open()
                )
            }
        }
        self.door.quiet_until_ms = now.mono_ms + QUIET_MS;
    }

    fn adopt(&mut self, mut stream: Stream, peer: Option<SocketAddr>, now: Now) {
        let Ok(key) = self.engine.accept(peer.map(|peer| peer.ip()), now) else { return };
        let token = usize::try_from(key.to_bits()).map(Token);
        let registered = token.map_err(io::Error::other).and_then(|token| stream.register(self.poll.registry(), token));
        if registered.is_err() {
            return self.engine.closed(key, now);
        }
        self.slots.insert(key, stream);
    }
}

/// Errors of `accept` that concern one connection, which was lost while it waited, or is forbidden; Linux passes those of
/// its network on (accept(2), "Error handling").
fn is_about_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::Interrupted
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::PermissionDenied
            | ErrorKind::TimedOut
    )
}
