//! The loop: sockets, time and wake-ups for an [`Engine`].
//!
//! Owns the listeners, the streams and the sleep. All decisions are the engine's; here bytes are moved. Readiness is
//! edge-triggered, so what a turn leaves over is on a list and the next turn does not sleep.

mod clock;
mod handle;
mod stream;

#[cfg(feature = "daemon")]
pub mod options;

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token, Waker};

use crate::broker::policy::{AllowAll, Policy};
use crate::broker::{self, token::Entropy};
use crate::clock::Now;
use crate::conn::route::Site;
use crate::conn::{ConnKey, Step};
use crate::engine::{Census, Engine, Parts, Wake};
use crate::http::forwarded::TrustedProxies;
use crate::http::origin::OriginRule;
use crate::limits::Limits;

pub use handle::{Handle, HandleError};

use clock::Clock;
use handle::Mail;
use stream::{Listener, Stream};

// A token carries slot and generation of a connection's key.
const _: () = assert!(usize::BITS >= 64, "encke needs a 64-bit target");

const WAKER: Token = Token(usize::MAX);
#[cfg(feature = "daemon")]
const SIGNALS: Token = Token(usize::MAX - 1);
/// Listener `n` is `LISTENERS - n`.
const LISTENERS: usize = usize::MAX - 2;
/// Connections waiting in the kernel to be accepted, per listener. A ramp of clients overruns a small one, and then each
/// refused client waits a second before it tries again.
const BACKLOG: i32 = 4_096;
/// After a failed accept, ms before the next try; a closed connection brings it on at once.
const ACCEPT_RETRY_MS: u64 = 100;
/// Between two warnings that accepting pauses, ms.
const PAUSE_QUIET_MS: u64 = 10_000;
/// Events taken from the kernel at once, count.
const EVENTS: usize = 1_024;
/// Slices of one gathering write, count.
const SLICES: usize = 64;

/// What a server is built from.
pub struct Builder {
    listen: Vec<SocketAddr>,
    mount: String,
    origins: Vec<String>,
    proxies: Vec<String>,
    broker: broker::Config,
    limits: Limits,
    policy: Box<dyn Policy>,
}

impl core::fmt::Debug for Builder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Builder").field("listen", &self.listen).field("mount", &self.mount).finish_non_exhaustive()
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            mount: "/cometd".to_owned(),
            origins: Vec::new(),
            proxies: vec!["loopback".to_owned(), "unix".to_owned()],
            broker: broker::Config::default(),
            limits: Limits::default(),
            policy: Box::new(AllowAll),
        }
    }
}

impl Builder {
    /// The addresses to listen on, in place of `127.0.0.1:8080`. Port 0 takes any free port.
    #[must_use]
    pub fn listen(mut self, addresses: Vec<SocketAddr>) -> Self {
        self.listen = addresses;
        self
    }

    /// The path of the Bayeux endpoint, in place of `/cometd`.
    #[must_use]
    pub fn mount(mut self, path: &str) -> Self {
        path.clone_into(&mut self.mount);
        self
    }

    /// The origins whose pages may use this server from elsewhere: `https://app.example`, or `*`. None by default.
    #[must_use]
    pub fn allowed_origins(mut self, origins: Vec<String>) -> Self {
        self.origins = origins;
        self
    }

    /// The addresses and networks whose `X-Forwarded-*` header fields are believed. `loopback` and `unix` by default.
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: Vec<String>) -> Self {
        self.proxies = proxies;
        self
    }

    /// How sessions are treated.
    #[must_use]
    pub fn broker(mut self, config: broker::Config) -> Self {
        self.broker = config;
        self
    }

    /// Every bound.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Who may do what, in place of everyone everything.
    #[must_use]
    pub fn policy(mut self, policy: Box<dyn Policy>) -> Self {
        self.policy = policy;
        self
    }

    /// Binds the addresses.
    ///
    /// # Errors
    /// A setting that is no good (`InvalidInput`), or an address that cannot be bound; the text says which and why.
    pub fn build(self) -> io::Result<Server> {
        let invalid = |text: String| io::Error::new(ErrorKind::InvalidInput, text);
        check_mount(&self.mount).map_err(|error| invalid(format!("mount {:?}: {error}", self.mount)))?;
        let site = Site {
            mount: self.mount,
            origins: OriginRule::new(&self.origins).map_err(invalid)?,
            proxies: TrustedProxies::parse(&self.proxies).map_err(invalid)?,
        };
        let clock = Clock::start();
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let mut listeners = Vec::new();
        for address in self.listen {
            let mut listener = Listener::bind(address, BACKLOG)
                .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
            listener.register(poll.registry(), Token(LISTENERS - listeners.len()))?;
            listeners.push(listener);
        }
        let (handle, mail) = handle::mailbox(waker, self.limits.mailbox_commands);
        let mount = site.mount.clone();
        let scratch = vec![0; self.limits.read_bytes_per_turn];
        let parts =
            Parts { site, broker: self.broker, limits: self.limits, entropy: Box::new(OsEntropy), policy: self.policy };
        Ok(Server {
            engine: Engine::new(parts, clock.now()),
            poll,
            listeners,
            streams: Vec::new(),
            open: 0,
            again: Vec::new(),
            accepting: Accepting::Ready,
            quiet_until_ms: 0,
            scratch,
            clock,
            mount,
            handle,
            mail,
            #[cfg(feature = "daemon")]
            signals: None,
        })
    }
}

fn check_mount(mount: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~');
    if mount.starts_with('/') && mount.bytes().all(plain) && !mount.contains("//") {
        return Ok(());
    }
    Err("must be a path such as /cometd, of letters, digits and - _ . ~".to_owned())
}

/// Random bytes from the operating system.
struct OsEntropy;

impl Entropy for OsEntropy {
    fn secret(&mut self) -> [u8; broker::token::SECRET_BYTES] {
        let mut secret = [0; broker::token::SECRET_BYTES];
        // A server that cannot make secrets must not run on.
        getrandom::fill(&mut secret).expect("the operating system gives random bytes");
        secret
    }
}

/// Whether connections are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    /// When the kernel says there are some.
    Ready,
    /// There may be more than fitted into the last turn.
    More,
    /// Not until one closes: as many as allowed are open.
    Full,
    /// Not until one closes or it is that late, ms: the kernel had no room for another.
    Failed { retry_ms: u64 },
}

/// A socket with what the loop must remember of it.
struct Slot {
    key: ConnKey,
    stream: Stream,
    /// The kernel has announced bytes, or an end, that have not been read.
    readable: bool,
    /// The peer's end has been announced: read on until it is reached, for it will not be announced again.
    ended: bool,
    /// It stands in the list of connections to read again, and has been read in this turn.
    listed: bool,
}

/// A server with its loop.
pub struct Server {
    engine: Engine,
    poll: Poll,
    listeners: Vec<Listener>,
    /// By the slot of the connection's key.
    streams: Vec<Option<Slot>>,
    open: usize,
    /// Connections to read once more without waiting for the kernel.
    again: Vec<ConnKey>,
    accepting: Accepting,
    /// No further warning of a pause in accepting before that, ms.
    quiet_until_ms: u64,
    scratch: Vec<u8>,
    clock: Clock,
    mount: String,
    handle: Handle,
    mail: Receiver<Mail>,
    #[cfg(feature = "daemon")]
    signals: Option<signal_hook_mio::v1_0::Signals>,
}

impl core::fmt::Debug for Server {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Server").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Server {
    /// A server with the defaults, to be changed.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The addresses that it listens on, with real ports.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(Listener::address).collect()
    }

    /// The URLs of its Bayeux endpoint.
    pub fn urls(&self) -> Vec<String> {
        self.addresses().iter().map(|address| format!("http://{address}{}", self.mount)).collect()
    }

    /// For other threads to publish with, and to stop it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What there is now.
    pub fn census(&self) -> Census {
        self.engine.census()
    }

    /// Stops on SIGTERM and SIGINT, in place of ending the process.
    ///
    /// # Errors
    /// The operating system's.
    #[cfg(feature = "daemon")]
    pub fn stop_on_signals(&mut self) -> io::Result<()> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let mut signals = signal_hook_mio::v1_0::Signals::new([SIGTERM, SIGINT])?;
        self.poll.registry().register(&mut signals, SIGNALS, mio::Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Serves until it is stopped.
    ///
    /// # Errors
    /// Those of the operating system that leave nothing to go on with.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let timeout = self.sleep_for();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            if !self.turn(&events) {
                return Ok(());
            }
        }
    }

    /// One turn: everything that has come in, one flush, everything that goes out. Whether to go on.
    fn turn(&mut self, events: &Events) -> bool {
        let now = self.clock.now();
        let mut run = true;
        for key in core::mem::take(&mut self.again) {
            if let Some(slot) = self.slot(key) {
                slot.listed = false;
            }
            self.read(key, now);
        }
        for event in events {
            run &= self.event(event, now);
        }
        self.accept(now);
        self.engine.handle_timeout(now);
        self.engine.flush(now);
        while let Some(key) = self.engine.next_dirty() {
            self.drive(key, now);
        }
        run
    }

    fn sleep_for(&self) -> Option<Duration> {
        if !self.again.is_empty() || self.accepting == Accepting::More {
            return Some(Duration::ZERO);
        }
        let retry = match self.accepting {
            Accepting::Failed { retry_ms } => Some(retry_ms),
            Accepting::Ready | Accepting::More | Accepting::Full => None,
        };
        let engine = match self.engine.poll_timeout() {
            Some((_, Wake::Work)) => return Some(Duration::ZERO),
            Some((at, Wake::Timer)) => Some(at),
            None => None,
        };
        let at = [retry, engine].into_iter().flatten().min()?;
        Some(self.clock.until(at))
    }

    /// Takes one event; false to stop.
    fn event(&mut self, event: &Event, now: Now) -> bool {
        match event.token() {
            WAKER => self.read_mail(now),
            #[cfg(feature = "daemon")]
            SIGNALS => self.signals.as_mut().is_none_or(|signals| signals.pending().next().is_none()),
            Token(token) if token > LISTENERS - self.listeners.len() => {
                if self.accepting == Accepting::Ready {
                    self.accepting = Accepting::More;
                }
                true
            }
            Token(token) => {
                if let Some(key) = ConnKey::from_bits(token as u64) {
                    self.ready(key, event, now);
                }
                true
            }
        }
    }

    fn read_mail(&mut self, now: Now) -> bool {
        for _ in 0..self.engine.limits().mailbox_commands {
            match self.mail.try_recv() {
                Ok(Mail::Command(command)) => {
                    // What could not be published is counted and told by the engine.
                    self.engine.command(&command, now);
                }
                Ok(Mail::Stop) => return false,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
        // The rest in the next turn, so that busy publishers cannot keep clients waiting.
        self.handle.wake();
        true
    }

    fn slot(&mut self, key: ConnKey) -> Option<&mut Slot> {
        let slot = self.streams.get_mut(key.slot() as usize)?.as_mut()?;
        (slot.key == key).then_some(slot)
    }

    fn ready(&mut self, key: ConnKey, event: &Event, now: Now) {
        let Some(slot) = self.slot(key) else { return };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            slot.readable = true;
            slot.ended |= event.is_read_closed();
            if !slot.listed {
                self.read(key, now);
            }
        }
        if event.is_writable() && self.engine.step(key) == Step::Write {
            self.drive(key, now);
        }
    }

    /// Reads once, if there is something and it is wanted. What stays is read in the next turn, or when it is wanted again.
    fn read(&mut self, key: ConnKey, now: Now) {
        if !self.engine.wants_input(key) {
            return;
        }
        let Some(slot) = self.streams.get_mut(key.slot() as usize).and_then(Option::as_mut) else { return };
        if slot.key != key || !slot.readable {
            return;
        }
        match slot.stream.read(&mut self.scratch) {
            Ok(0) => {
                slot.readable = false;
                self.engine.peer_closed(key, now);
            }
            Ok(n) => {
                // A short read has emptied the socket, unless an end is behind the bytes.
                slot.readable = n == self.scratch.len() || slot.ended;
                let again = slot.readable;
                self.engine.receive(key, &self.scratch[..n], now);
                if again {
                    self.read_again(key);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => slot.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => self.read_again(key),
            Err(_) => self.close(key, now),
        }
    }

    /// Does what the engine wants done with a connection, until it wants nothing or the socket takes no more.
    fn drive(&mut self, key: ConnKey, now: Now) {
        loop {
            match self.engine.step(key) {
                Step::Wait => break,
                Step::Close => return self.close(key, now),
                Step::ShutdownWrite => {
                    if let Some(slot) = self.slot(key) {
                        // An error means that the peer is gone, which reading will show.
                        let _ = slot.stream.shutdown_write();
                    }
                    self.engine.write_shut(key, now);
                }
                Step::Write => match self.write(key) {
                    Ok(n) => self.engine.sent(key, n, now),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return self.engine.sent(key, 0, now),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return self.close(key, now),
                },
            }
        }
        // What was not wanted while answers were in the way may be wanted now.
        if self.slot(key).is_some_and(|slot| slot.readable) && self.engine.wants_input(key) {
            self.read_again(key);
        }
    }

    /// Has a connection read in the next turn, once.
    fn read_again(&mut self, key: ConnKey) {
        if let Some(slot) = self.slot(key)
            && !slot.listed
        {
            slot.listed = true;
            self.again.push(key);
        }
    }

    fn write(&mut self, key: ConnKey) -> io::Result<usize> {
        let gone = || io::Error::from(ErrorKind::NotConnected);
        let mut slices = [IoSlice::new(&[]); SLICES];
        let used = self.engine.slices(key, &mut slices);
        let slot = self.streams.get_mut(key.slot() as usize).and_then(Option::as_mut).ok_or_else(gone)?;
        match slices.get(..used) {
            Some([]) | None => Err(gone()),
            Some([one]) => slot.stream.write(one),
            Some(several) => slot.stream.write_vectored(several),
        }
    }

    /// Closes a socket and tells the engine; there is room for another one then.
    fn close(&mut self, key: ConnKey, now: Now) {
        self.engine.closed(key, now);
        let Some(slot) = self.streams.get_mut(key.slot() as usize) else { return };
        if slot.as_ref().is_none_or(|slot| slot.key != key) {
            return;
        }
        // Dropping the socket takes it out of the poll as well.
        *slot = None;
        self.open -= 1;
        if matches!(self.accepting, Accepting::Full | Accepting::Failed { .. }) {
            self.accepting = Accepting::More;
        }
    }

    /// Accepts what waits, as many as fit into a turn.
    fn accept(&mut self, now: Now) {
        match self.accepting {
            Accepting::More => {}
            Accepting::Failed { retry_ms } if retry_ms <= now.mono_ms => {}
            Accepting::Ready | Accepting::Full | Accepting::Failed { .. } => return,
        }
        self.accepting = Accepting::Ready;
        for at in 0..self.listeners.len() {
            for _ in 0..self.engine.limits().accepts_per_turn {
                if self.open >= self.engine.limits().connections {
                    self.warn_of_pause("as many as --max-connections or the limit of open files allows", now);
                    self.accepting = Accepting::Full;
                    return;
                }
                match self.listeners[at].accept() {
                    Ok((stream, peer)) => self.adopt(stream, peer, now),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if is_about_the_peer(&error) => {}
                    Err(error) => {
                        self.warn_of_pause(&error.to_string(), now);
                        self.accepting = Accepting::Failed { retry_ms: now.mono_ms + ACCEPT_RETRY_MS };
                        return;
                    }
                }
                // Only the kernel's "would block" proves that nothing waits.
                self.accepting = Accepting::More;
            }
        }
    }

    /// Says that accepting pauses, at most once in a while: a full server may pause after every connection.
    fn warn_of_pause(&mut self, reason: &str, now: Now) {
        if now.mono_ms >= self.quiet_until_ms {
            log::warn!("accepting pauses with {} connections open: {reason}", self.open);
            self.quiet_until_ms = now.mono_ms + PAUSE_QUIET_MS;
        }
    }

    fn adopt(&mut self, mut stream: Stream, peer: Option<SocketAddr>, now: Now) {
        let Ok(key) = self.engine.accept(peer.map(|peer| peer.ip()), now) else { return };
        let token = usize::try_from(key.to_bits()).map(Token);
        let registered = token.map_err(io::Error::other).and_then(|token| stream.register(self.poll.registry(), token));
        if registered.is_err() {
            return self.engine.closed(key, now);
        }
        let at = key.slot() as usize;
        if self.streams.len() <= at {
            self.streams.resize_with(at + 1, || None);
        }
        self.streams[at] = Some(Slot { key, stream, readable: false, ended: false, listed: false });
        self.open += 1;
    }
}

/// Errors of `accept` that concern one connection, which was lost while it waited.
fn is_about_the_peer(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted | ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_an_idle_connection_takes_little_room() {
        // mio's sockets carry more than the file descriptor in debug builds, so they are left out of the sum.
        let slot = size_of::<Option<Slot>>() - size_of::<Stream>();
        assert!(slot <= 16, "{slot}");
    }

    /// A server with a client side to play with, whose turns are taken by hand.
    struct Bench {
        server: Server,
        events: Events,
    }

    impl Bench {
        fn new(limits: Limits) -> Self {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let server = Server::builder().listen(vec![any]).limits(limits).build().unwrap();
            Self { server, events: Events::with_capacity(64) }
        }

        fn connect(&self) -> std::net::TcpStream {
            std::net::TcpStream::connect(self.server.addresses()[0]).unwrap()
        }

        fn turn(&mut self) -> bool {
            let timeout = self.server.sleep_for().or(Some(Duration::from_secs(30)));
            self.server.poll.poll(&mut self.events, timeout).unwrap();
            self.server.turn(&self.events)
        }
    }

    #[test]
    fn limit_accepts_per_turn() {
        let mut bench = Bench::new(Limits { accepts_per_turn: 2, ..Limits::default() });
        let _clients: Vec<_> = (0..5).map(|_| bench.connect()).collect();
        let mut open = Vec::new();
        for _ in 0..3 {
            bench.turn();
            open.push(bench.server.open);
        }
        assert_eq!(open, [2, 4, 5]);
    }

    #[test]
    fn limit_connections_pauses_accepting_until_one_closes() {
        let mut bench = Bench::new(Limits { connections: 2, ..Limits::default() });
        let mut clients: Vec<_> = (0..3).map(|_| bench.connect()).collect();
        bench.turn();
        assert_eq!((bench.server.open, bench.server.accepting), (2, Accepting::Full));
        clients.remove(0);
        while bench.server.accepting == Accepting::Full {
            bench.turn();
        }
        bench.turn();
        assert_eq!(bench.server.open, 2, "the third has taken the place of the first");
    }

    #[test]
    fn limit_read_bytes_per_turn() {
        for (bytes, again) in [(99, false), (100, true), (101, true)] {
            let mut bench = Bench::new(Limits { read_bytes_per_turn: 100, ..Limits::default() });
            let mut client = bench.connect();
            while bench.server.open == 0 {
                bench.turn();
            }
            client.write_all(&vec![b'x'; bytes]).unwrap();
            while bench.server.streams.iter().flatten().all(|slot| !bench.server.engine.has_received(slot.key)) {
                bench.turn();
            }
            assert_eq!(!bench.server.again.is_empty(), again, "{bytes}");
        }
    }

    #[test]
    fn limit_mailbox_commands() {
        let bench = Bench::new(Limits { mailbox_commands: 2, ..Limits::default() });
        let handle = bench.server.handle();
        assert_eq!(handle.publish("/a", "{}"), Ok(()));
        assert_eq!(handle.publish("/a", "1"), Ok(()));
        assert_eq!(handle.publish("/a", "1"), Err(HandleError::Full));
        drop(bench);
        assert_eq!(handle.publish("/a", "1"), Err(HandleError::Closed));
    }

    #[test]
    fn a_handle_publishes_and_stops_from_another_thread() {
        let mut bench = Bench::new(Limits::default());
        let handle = bench.server.handle();
        assert_eq!(handle.publish("/a/*", "1"), Err(HandleError::Channel));
        assert_eq!(handle.publish("/meta/x", "1"), Err(HandleError::Channel));
        assert_eq!(handle.publish("/a", "{"), Err(HandleError::Data));
        assert_eq!(handle.publish("/a", r#""\ud800""#), Err(HandleError::Data));
        for (depth, taken) in [(29, true), (30, true), (31, false)] {
            let data = "[".repeat(depth) + &"]".repeat(depth);
            assert_eq!(super::handle::checked(&data), taken.then_some(()).ok_or(HandleError::Data));
        }
        std::thread::spawn(move || {
            handle.publish("/a", "1").unwrap();
            handle.stop().unwrap();
        });
        while bench.turn() {}
        assert_eq!(bench.server.engine.counters().published, 1);
    }

    #[test]
    fn a_mount_that_is_no_path_is_refused() {
        for (mount, good) in
            [("/cometd", true), ("/", true), ("cometd", false), ("/a b", false), ("/a//b", false), ("", false)]
        {
            assert_eq!(check_mount(mount).is_ok(), good, "{mount}");
        }
    }
}
