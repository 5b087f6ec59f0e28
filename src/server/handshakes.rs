//! TLS handshakes on the loop: those that wait for a turn, and what becomes of each.
//!
//! Owns their order and their share of a turn. A handshake costs as much as a thousand deliveries, so a rush of clients
//! must not keep those waiting that are there already. Those that have been answered come before those that have not: a
//! rush that begins more than it ends would be work for nothing. While one waits here, its peer is not on the clock.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use crate::clock::Now;
use crate::conn::ConnKey;

use super::Server;
use super::builder::invalid;
use super::listen::Listener;
use super::slots::{Slot, Unread};
use super::stream::{Stream, guarded};
use super::tls::{Identity, Shaken, Terms, TlsStream};

/// The handshakes of a server.
pub(super) struct Handshakes {
    terms: Rc<Terms>,
    queue: Queue,
}

/// Connections on which something has come of a handshake. Of either kind the first to come is the first to have its turn.
#[derive(Debug, Default)]
struct Queue {
    /// Those whose peers have been answered.
    answered: VecDeque<ConnKey>,
    new: VecDeque<ConnKey>,
}

impl Queue {
    fn push(&mut self, key: ConnKey, answered: bool) {
        if answered { self.answered.push_back(key) } else { self.new.push_back(key) }
    }

    fn pop(&mut self) -> Option<ConnKey> {
        self.answered.pop_front().or_else(|| self.new.pop_front())
    }

    fn is_empty(&self) -> bool {
        self.answered.is_empty() && self.new.is_empty()
    }
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
            _ => Ok(Self { terms: Rc::new(Terms::new(identity)), queue: Queue::default() }),
        }
    }

    /// Whether there may ever be one.
    pub(super) fn are_expected(&self) -> bool {
        self.terms.has_identity()
    }

    /// Whether some wait for a turn.
    pub(super) fn wait(&self) -> bool {
        !self.queue.is_empty()
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
    /// can resume what they began before. Whether it is another certificate than before, or has another chain.
    pub fn renew(&mut self, identity: Identity) -> bool {
        self.handshakes.terms.renew(identity)
    }

    /// Has a connection go on with its handshake when it is its turn; whether there is one to go on with.
    pub(super) fn await_handshake(&mut self, key: ConnKey, now: Now) -> bool {
        let wanted = self.engine.wants_handshake(key);
        let Some(Slot { stream: Stream::Tls(stream), unread, .. }) = self.slots.get_mut(key) else { return false };
        if !wanted {
            stream.give_up();
        }
        if !stream.is_shaking_hands() {
            return false;
        }
        *unread = Unread::Listed;
        let answered = stream.is_answered();
        self.handshakes.queue.push(key, answered);
        self.engine.handshake_waits(key, now);
        true
    }

    /// Goes on with handshakes, as many as fit into a turn.
    pub(super) fn shake_hands(&mut self, now: Now) {
        let mut left = self.engine.limits().tls_handshakes_per_turn;
        while left > 0 {
            let Some(key) = self.handshakes.queue.pop() else { return };
            self.engine.read_resumed(key, now);
            left -= usize::from(self.shake_hands_on(key, now));
        }
    }

    /// Goes on with one; whether that was work.
    fn shake_hands_on(&mut self, key: ConnKey, now: Now) -> bool {
        let Some(slot) = self.slots.get_mut(key) else { return false };
        let Stream::Tls(stream) = &mut slot.stream else { return false };
        slot.unread = Unread::Waiting;
        if !self.engine.wants_handshake(key) {
            // It has been given up meanwhile, and what has come is only to be discarded.
            self.read_again(key, now);
            return false;
        }
        match guarded(|| stream.shake_hands(&mut self.scratch)) {
            Ok(Shaken::Waits { worked, more }) => {
                let again = more || slot.ended;
                slot.unread = if again { Unread::Waiting } else { Unread::Nothing };
                let kept = slot.stream.kept();
                self.weigh(key, kept, now);
                if again {
                    self.read_again(key, now);
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

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use mio::Events;
    use rustls::ClientConnection;

    use super::super::tls::tests::{client, identity};
    use super::super::{Listen, Settings};
    use super::*;
    use crate::limits::Limits;

    struct Bench {
        server: Server,
        events: Events,
    }

    impl Bench {
        fn new(limits: Limits) -> Self {
            let any = Listen::Tls(SocketAddr::from(([127, 0, 0, 1], 0)));
            let builder = Server::builder().listen([any]).identity(identity());
            let server = builder.settings(Settings { limits, ..Settings::default() }).build().unwrap();
            Self { server, events: Events::with_capacity(64) }
        }

        fn turn(&mut self) {
            let timeout = self.server.sleep_for().or(Some(Duration::from_secs(30)));
            self.server.poll.poll(&mut self.events, timeout).unwrap();
            assert!(self.server.turn(&self.events).is_none());
        }

        /// So many clients that have connected and said nothing.
        fn crowd(&mut self, count: usize) -> Vec<(ClientConnection, TcpStream)> {
            let (address, open) = (self.server.addresses()[0], self.server.slots.open());
            let clients = (0..count).map(|_| (client(), TcpStream::connect(address).unwrap())).collect();
            while self.server.slots.open() < open + count {
                self.turn();
            }
            clients
        }

        /// Waits until so many connections have something to be read, however busy the kernel is.
        fn await_bytes(&mut self, count: usize) {
            let keys: Vec<ConnKey> = self.server.slots.iter().map(|slot| slot.key).collect();
            let mut has_some = |key: &&ConnKey| match self.server.slots.get_mut(**key).map(|slot| &mut slot.stream) {
                Some(Stream::Tls(stream)) => stream.socket().peek(&mut [0]).is_ok_and(|n| n > 0),
                _ => false,
            };
            while keys.iter().filter(&mut has_some).count() < count {
                std::thread::yield_now();
            }
        }

        /// How many handshakes are done.
        fn secure(&self) -> usize {
            let slots = self.server.slots.iter();
            slots.filter(|slot| matches!(&slot.stream, Stream::Tls(stream) if stream.is_secure())).count()
        }

        /// How many handshakes have begun.
        fn begun(&self) -> usize {
            let slots = self.server.slots.iter();
            slots.filter(|slot| matches!(&slot.stream, Stream::Tls(stream) if stream.has_begun())).count()
        }
    }

    /// Has each of them send what it has to.
    fn say(clients: &mut [(ClientConnection, TcpStream)]) {
        for (client, stream) in clients {
            while client.wants_write() {
                client.write_tls(stream).unwrap();
            }
        }
    }

    #[test]
    fn limit_tls_handshakes_per_turn() {
        let mut bench = Bench::new(Limits { tls_handshakes_per_turn: 2, ..Limits::default() });
        let mut clients = bench.crowd(5);
        say(&mut clients);
        bench.await_bytes(5);
        let mut begun = vec![bench.begun()];
        while bench.begun() < 5 {
            bench.turn();
            if bench.server.handshakes.wait() {
                assert_eq!(
                    bench.server.sleep_for(),
                    Some(Duration::ZERO),
                    "what is left over does not wait for events"
                );
            }
            begun.push(bench.begun());
        }
        assert!(begun.windows(2).all(|two| two[1] - two[0] <= 2), "{begun:?}");
        assert!(begun.windows(2).any(|two| two[1] - two[0] == 2), "{begun:?}");
        drop(clients);
    }

    #[test]
    fn bytes_of_a_handshake_that_only_are_collected_take_no_share() {
        let mut bench = Bench::new(Limits { tls_handshakes_per_turn: 1, ..Limits::default() });
        let address = bench.server.addresses()[0];
        let slow: Vec<_> = (0..5)
            .map(|_| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(&[22, 3, 1]).unwrap();
                stream
            })
            .collect();
        while bench.begun() < 5 {
            bench.turn();
        }
        // All five have had a turn, though none of them has gone on: the sixth waits for none of them.
        let (mut client, mut stream) = (client(), TcpStream::connect(address).unwrap());
        client.writer().write_all(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut answer = Vec::new();
        while answer.is_empty() {
            while client.wants_write() {
                client.write_tls(&mut stream).unwrap();
            }
            bench.turn();
            while client.read_tls(&mut stream).is_ok_and(|n| n > 0) {
                client.process_new_packets().unwrap();
            }
            // There is nothing to be read yet, or it is the answer.
            let _ = client.reader().read_to_end(&mut answer);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
        drop(slow);
    }

    #[test]
    fn who_has_been_answered_comes_first() {
        let keys: Vec<ConnKey> = (0..4).map(|at| ConnKey::from_bits(1 << 32 | at).unwrap()).collect();
        let mut queue = Queue::default();
        for (at, answered) in [(0, false), (1, true), (2, false), (3, true)] {
            queue.push(keys[at], answered);
        }
        let order: Vec<_> = core::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [1, 3, 0, 2].map(|at| keys[at]));
        assert!(queue.is_empty());
    }

    #[test]
    fn in_a_storm_those_that_have_been_answered_do_not_wait_behind_new_ones() {
        let mut bench = Bench::new(Limits { tls_handshakes_per_turn: 1, ..Limits::default() });
        let mut first = bench.crowd(20);
        say(&mut first);
        while bench.begun() < 20 {
            bench.turn();
        }
        for (client, stream) in &mut first {
            while client.is_handshaking() {
                client.read_tls(stream).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        let mut others = bench.crowd(20);
        say(&mut others);
        bench.await_bytes(20);
        // They wait for their turn already when the first have their last word.
        while bench.begun() < 21 {
            bench.turn();
        }
        say(&mut first);
        while bench.secure() < 20 {
            bench.turn();
        }
        assert!(bench.begun() < 30, "{} have been begun before these had ended", bench.begun() - 20);
    }

    #[test]
    fn a_handshake_that_was_given_up_is_not_gone_on_with() {
        let limits = Limits { head_ms: 1, linger_ms: 60_000, ..Limits::default() };
        let mut bench = Bench::new(limits);
        let address = bench.server.addresses()[0];
        let (mut client, mut stream) = (client(), TcpStream::connect(address).unwrap());
        client.write_tls(&mut stream).unwrap();
        let key = loop {
            bench.turn();
            if let Some(slot) = bench.server.slots.iter().next() {
                break slot.key;
            }
        };
        while bench.server.engine.wants_handshake(key) {
            bench.turn();
        }
        while client.is_handshaking() && client.read_tls(&mut stream).unwrap() > 0 {
            client.process_new_packets().unwrap();
        }
        client.writer().write_all(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        while client.wants_write() {
            client.write_tls(&mut stream).unwrap();
        }
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // It is read to its end, and nothing becomes of it.
        while bench.server.slots.open() > 0 {
            assert_eq!(bench.secure(), 0);
            bench.turn();
        }
    }

    #[test]
    fn a_place_for_tls_needs_an_identity() {
        let at = Listen::Tls(SocketAddr::from(([127, 0, 0, 1], 0)));
        let error = Server::builder().listen([at]).build().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("there is no certificate and key"), "{error}");
    }
}
