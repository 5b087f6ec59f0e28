//! TLS handshakes on the loop: those that wait for a turn, and what becomes of each.
//!
//! Owns their order and their share of a turn. A handshake costs as much as a thousand deliveries, so a rush of clients
//! must not keep those waiting that are there already.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use crate::clock::Now;
use crate::conn::ConnKey;

use super::Server;
use super::builder::invalid;
use super::listen::Listener;
use super::stream::Stream;
use super::tls::{Identity, Shaken, Terms, TlsStream};

/// The handshakes of a server.
pub(super) struct Handshakes {
    terms: Rc<Terms>,
    /// Connections on which something has come of a handshake, the first to have its turn first.
    waiting: VecDeque<ConnKey>,
}

impl Handshakes {
    /// Those of these listeners.
    ///
    /// # Errors
    /// One of them is for TLS, and there is nothing to prove the server with.
    pub(super) fn new(identity: Option<Identity>, listeners: &[Listener]) -> io::Result<Self> {
        let tls = listeners.iter().find(|listener| listener.is_tls());
        match (tls, &identity) {
            (Some(listener), None) => {
                Err(invalid(format!("cannot listen on {}: there is no certificate and key", listener.at()?)))
            }
            _ => Ok(Self { terms: Rc::new(Terms::new(identity)), waiting: VecDeque::new() }),
        }
    }

    /// Whether there may ever be one.
    pub(super) fn are_expected(&self) -> bool {
        self.terms.has_identity()
    }

    /// Whether some wait for a turn.
    pub(super) fn wait(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The TLS of a connection that has just been accepted.
    pub(super) fn expected_on(&self, stream: Stream) -> Stream {
        match stream {
            Stream::Tcp(socket) => Stream::Tls(Box::new(TlsStream::new(socket, Rc::clone(&self.terms)))),
            other => other,
        }
    }
}

impl Server {
    /// Changes what the server proves itself with, for new connections. Those that are open stay as they are, and clients
    /// can resume what they began before.
    pub fn renew(&mut self, identity: Identity) {
        self.handshakes.terms.renew(identity);
    }

    /// Has a connection go on with its handshake when it is its turn.
    pub(super) fn await_handshake(&mut self, key: ConnKey) {
        if let Some(slot) = self.slot(key)
            && !slot.listed
        {
            slot.listed = true;
            self.handshakes.waiting.push_back(key);
        }
    }

    /// Goes on with handshakes, as many as fit into a turn.
    pub(super) fn shake_hands(&mut self, now: Now) {
        let mut left = self.engine.limits().tls_handshakes_per_turn;
        while left > 0 {
            let Some(key) = self.handshakes.waiting.pop_front() else { return };
            left -= usize::from(self.shake_hands_on(key, now));
        }
    }

    /// Goes on with one; whether that was work.
    fn shake_hands_on(&mut self, key: ConnKey, now: Now) -> bool {
        let Some(slot) = self.streams.get_mut(key.slot() as usize).and_then(Option::as_mut) else { return false };
        let Stream::Tls(stream) = &mut slot.stream else { return false };
        if slot.key != key {
            return false;
        }
        slot.listed = false;
        match stream.shake_hands(&mut self.scratch) {
            Ok(Shaken::Waits { worked, more }) => {
                slot.readable = more || slot.ended;
                let again = slot.readable;
                self.engine.handshake_begun(key, now);
                if again {
                    self.read_again(key);
                }
                return worked;
            }
            Ok(Shaken::Done(taken)) => {
                self.engine.handshake_done(key, now);
                self.take(key, taken, now);
            }
            Ok(Shaken::Plain) => self.engine.tls_expected(key, now),
            Ok(Shaken::Failed(reason)) => self.engine.handshake_failed(key, &reason, now),
            Err(_) => self.close(key, now),
        }
        true
    }
}
