//! A loop of your own: the program has a mio loop with a socket of its own, and encke's [`Engine`] is one more thing in it.
//! Each datagram that comes is an event for whoever listens to `/datagrams`.
//!
//! ```text
//! $ cargo run --example custom_loop
//! URL=http://127.0.0.1:40123/cometd
//! UDP=127.0.0.1:51234
//! ```
//!
//! In a second terminal, listen, and in a third, send:
//!
//! ```sh
//! curl -sSN http://127.0.0.1:40123/events/datagrams -H 'Accept: application/x-ndjson'
//! echo hello >/dev/udp/127.0.0.1/51234   # bash
//! ```
//!
//! The engine does no I/O: it is told what comes and says what to do. The order of calls is in its
//! [documentation](encke::engine#the-calling-contract). Readiness is edge-triggered: what has been announced and is not read
//! to its end must be remembered, for it is not announced again.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown};
use std::time::{Duration, Instant, SystemTime};

use encke::clock::Now;
use encke::engine::{ConnKey, Engine, Entropy, Parts, SECRET_BYTES, Settings, Step, Wake};
use encke::hooks::Command;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token};

/// No key of a connection is as small as this.
const LISTENER: Token = Token(0);
const DATAGRAMS: Token = Token(1);
const MOUNT: &str = "/cometd";
/// While the kernel has no room for another connection, it is asked again so often.
const RETRY: Duration = Duration::from_millis(50);
/// Datagrams taken in one turn, count: whoever sends them without end keeps no one else waiting.
const DATAGRAMS_PER_TURN: usize = 64;
/// The largest datagram, and what is read of a connection in one turn, bytes.
const BUFFER: usize = 64 << 10;

/// The engine from its parts: what a server of the crate's own is made of, too.
fn engine(now: Now) -> Engine {
    let parts = Parts::new(MOUNT, Settings::default(), Box::new(Random)).expect("the defaults are good");
    Engine::new(parts, now)
}

struct Random;

impl Entropy for Random {
    fn secret(&mut self) -> [u8; SECRET_BYTES] {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).expect("the operating system gives random bytes");
        secret
    }
}

struct Socket {
    stream: TcpStream,
    /// Whether there may be something to read: announced, and not read to its end.
    readable: bool,
}

struct Program {
    engine: Engine,
    poll: Poll,
    start: Instant,
    listener: TcpListener,
    /// Whether there may be connections to accept.
    knocked: bool,
    datagrams: UdpSocket,
    /// Whether there may be datagrams.
    sent: bool,
    sockets: HashMap<u64, Socket>,
    /// Those to read in the next turn, announced or not: one that sends without end has one read a turn, as all have.
    again: BTreeSet<u64>,
    buffer: Vec<u8>,
}

fn main() -> io::Result<()> {
    let start = Instant::now();
    let free_port = (Ipv4Addr::LOCALHOST, 0).into();
    let mut program = Program {
        engine: engine(now(start)),
        poll: Poll::new()?,
        start,
        listener: TcpListener::bind(free_port)?,
        knocked: false,
        datagrams: UdpSocket::bind(free_port)?,
        sent: false,
        sockets: HashMap::new(),
        again: BTreeSet::new(),
        buffer: vec![0; BUFFER],
    };
    let registry = program.poll.registry();
    registry.register(&mut program.listener, LISTENER, Interest::READABLE)?;
    registry.register(&mut program.datagrams, DATAGRAMS, Interest::READABLE)?;
    println!("URL=http://{}{MOUNT}", program.listener.local_addr()?);
    println!("UDP={}", program.datagrams.local_addr()?);
    let mut events = Events::with_capacity(256);
    loop {
        match program.poll.poll(&mut events, program.sleep()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        program.turn(&events);
    }
}

/// Both clocks, read once a turn.
fn now(start: Instant) -> Now {
    let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Now { mono_ms: start.elapsed().as_millis() as u64, unix_ms: unix.as_millis() as u64 }
}

impl Program {
    /// How long nothing has to be done; `None`: until something comes.
    fn sleep(&self) -> Option<Duration> {
        if self.sent || !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let engine = match self.engine.poll_timeout() {
            Some((_, Wake::Work)) => Some(Duration::ZERO),
            Some((at_ms, Wake::Timer)) => Some(Duration::from_millis(at_ms).saturating_sub(self.start.elapsed())),
            None => None,
        };
        engine.into_iter().chain(self.knocked.then_some(RETRY)).min()
    }

    /// All that has come in, then all that goes out.
    fn turn(&mut self, events: &Events) {
        let now = now(self.start);
        self.engine.resume(now);
        for event in events {
            match event.token() {
                LISTENER => self.knocked = true,
                DATAGRAMS => self.sent = true,
                Token(bits) => {
                    let bits = bits as u64;
                    let reads = event.is_readable() || event.is_read_closed() || event.is_error();
                    if let Some(socket) = self.sockets.get_mut(&bits).filter(|_| reads) {
                        socket.readable = true;
                        // Read below, once, however often it is announced.
                        self.again.insert(bits);
                    }
                    if event.is_writable() {
                        self.drive(bits, now);
                    }
                }
            }
        }
        for bits in std::mem::take(&mut self.again) {
            self.read(bits, now);
        }
        self.publish(now);
        self.accept(now);
        self.engine.handle_timeout(now);
        loop {
            let more = self.engine.flush(now);
            while let Some(key) = self.engine.next_dirty() {
                self.drive(key.to_bits(), now);
            }
            if !more {
                break;
            }
        }
    }

    /// What this program is there for.
    fn publish(&mut self, now: Now) {
        for _ in 0..DATAGRAMS_PER_TURN {
            if !self.sent || self.engine.is_spent() {
                return;
            }
            let Ok((length, _)) = self.datagrams.recv_from(&mut self.buffer) else {
                self.sent = false;
                return;
            };
            let text = String::from_utf8_lossy(&self.buffer[..length]);
            // Data is JSON: a string, with its quotes.
            let data = serde_json::Value::from(text.trim_end()).to_string();
            let event = Command::Publish { channel: "/datagrams".to_owned(), data, lazy: false };
            if !self.engine.command(event, now) {
                eprintln!("a datagram was not published");
            }
        }
    }

    fn accept(&mut self, now: Now) {
        while self.knocked {
            match self.listener.accept() {
                Ok((stream, peer)) => self.adopt(stream, peer.ip(), now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.knocked = false,
                // The peer has gone, or there are too many open files: the next turn tries again, `RETRY` from now at most.
                Err(_) => return,
            }
        }
    }

    fn adopt(&mut self, mut stream: TcpStream, peer: std::net::IpAddr, now: Now) {
        let Ok(key) = self.engine.accept(Some(peer), now) else { return };
        let bits = key.to_bits();
        let (registry, both) = (self.poll.registry(), Interest::READABLE | Interest::WRITABLE);
        let registered = registry.register(&mut stream, Token(bits as usize), both);
        if stream.set_nodelay(true).and(registered).is_err() {
            return self.engine.closed(key, now);
        }
        self.sockets.insert(bits, Socket { stream, readable: false });
    }

    /// Reads once, if the engine wants that now.
    fn read(&mut self, bits: u64, now: Now) {
        let (Some(key), Some(socket)) = (ConnKey::from_bits(bits), self.sockets.get_mut(&bits)) else { return };
        if !socket.readable || !self.engine.wants_input(key) {
            // Once it does, `drive` sees to it.
            return;
        }
        match socket.stream.read(&mut self.buffer) {
            Ok(0) => {
                socket.readable = false;
                self.engine.peer_closed(key, now);
            }
            Ok(length) => {
                // Only an end or the kernel's "would block" proves that there is no more.
                self.again.insert(bits);
                self.engine.receive(key, &self.buffer[..length], now);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => socket.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.again.insert(bits);
            }
            Err(_) => self.close(key, now),
        }
    }

    /// Does what the engine wants done, until it wants nothing or the socket takes no more.
    fn drive(&mut self, bits: u64, now: Now) {
        let Some(key) = ConnKey::from_bits(bits) else { return };
        while let Some(socket) = self.sockets.get_mut(&bits) {
            match self.engine.step(key) {
                Step::Wait => break,
                Step::Write => {
                    let mut slices = [IoSlice::new(&[]); 16];
                    let used = self.engine.slices(key, &mut slices);
                    match socket.stream.write_vectored(&slices[..used]) {
                        Ok(taken @ 1..) => self.engine.sent(key, taken, now),
                        // The rest goes when the socket is announced as writable.
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return self.engine.sent(key, 0, now),
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Ok(0) | Err(_) => return self.close(key, now),
                    }
                }
                Step::ShutdownWrite => {
                    // It fails if the peer is gone, which reading will show.
                    let _ = socket.stream.shutdown(Shutdown::Write);
                    self.engine.write_shut(key, now);
                }
                Step::Close => return self.close(key, now),
            }
        }
        // What was not wanted while answers were in the way may be wanted now.
        if self.sockets.get(&bits).is_some_and(|socket| socket.readable) && self.engine.wants_input(key) {
            self.again.insert(bits);
        }
    }

    fn close(&mut self, key: ConnKey, now: Now) {
        self.engine.closed(key, now);
        // Dropping the socket closes it, and takes it out of the poll.
        self.sockets.remove(&key.to_bits());
    }
}
