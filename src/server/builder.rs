//! What a server is made from.
//!
//! Owns the defaults of everything that an embedder or an operator sets, and the checks before anything is bound.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::{Poll, Token, Waker};

use crate::broker::token::{Entropy, SECRET_BYTES};
use crate::engine::{Engine, Parts, Settings};
use crate::hooks::Hooks;

use super::clock::Clock;
use super::listen::{Listen, Listener};
use super::mailbox::Inbox;
use super::reading::Reading;
use super::running::Running;
use super::slots::Slots;
use super::{Door, Handle, LISTENERS, Life, Server, WAKER};
#[cfg(feature = "tls")]
use super::{
    handshakes::Handshakes,
    tls::{Identity, READ_BYTES},
};

/// Where a server listens unless it is told otherwise.
pub const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// The path of the Bayeux endpoint unless it is told otherwise.
pub const MOUNT: &str = "/cometd";
/// Connections waiting in the kernel to be accepted, per listener; the kernel's own bound (`net.core.somaxconn`) may be
/// lower. A ramp of clients overruns a small one, and then each refused client waits a second before it tries again.
pub const BACKLOG: i32 = 4_096;
/// Permissions of a Unix socket: its user and its group.
pub const SOCKET_MODE: u32 = 0o660;

/// What a server is built from: all of it has a default. There is an [example](crate::server). It is `Send`, as hooks
/// are, so it may be filled on one thread and built on another.
pub struct Builder {
    listen: Vec<Listen>,
    open: Vec<io::Result<Listener>>,
    backlog: i32,
    socket_mode: u32,
    mount: String,
    settings: Settings,
    hooks: Hooks,
    mail: Inbox,
    #[cfg(feature = "tls")]
    identity: Option<Identity>,
}

impl core::fmt::Debug for Builder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Builder").field("listen", &self.listen).field("mount", &self.mount).finish_non_exhaustive()
    }
}

impl Default for Builder {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            mail: Inbox::new(&settings.limits),
            listen: vec![Listen::Tcp(ADDRESS)],
            open: Vec::new(),
            backlog: BACKLOG,
            socket_mode: SOCKET_MODE,
            mount: MOUNT.to_owned(),
            settings,
            hooks: Hooks::default(),
            #[cfg(feature = "tls")]
            identity: None,
        }
    }
}

impl Builder {
    /// What to listen on, in place of [`ADDRESS`]: addresses, or [`Listen`]s.
    #[must_use]
    pub fn listen<L: Into<Listen>>(mut self, places: impl IntoIterator<Item = L>) -> Self {
        self.listen = places.into_iter().map(Into::into).collect();
        self
    }

    /// Listens also on a TCP socket that is open already.
    #[must_use]
    pub fn listen_on_tcp(mut self, listener: std::net::TcpListener) -> Self {
        self.open.push(Listener::of_tcp(listener));
        self
    }

    /// Listens also on a Unix socket that is open already. Its file stays when the server ends.
    #[must_use]
    pub fn listen_on_unix(mut self, listener: std::os::unix::net::UnixListener) -> Self {
        self.open.push(Listener::of_unix(listener));
        self
    }

    /// Listens also for TLS on a TCP socket that is open already.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn listen_on_tls(mut self, listener: std::net::TcpListener) -> Self {
        self.open.push(Listener::of_tcp(listener).map(Listener::into_tls));
        self
    }

    /// What the server proves itself with where connections are TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Connections waiting in the kernel to be accepted, count per listener, in place of [`BACKLOG`].
    #[must_use]
    pub fn backlog(mut self, connections: i32) -> Self {
        self.backlog = connections;
        self
    }

    /// Permissions of Unix sockets, in place of [`SOCKET_MODE`].
    #[must_use]
    pub fn socket_mode(mut self, mode: u32) -> Self {
        self.socket_mode = mode;
        self
    }

    /// The path of the Bayeux endpoint, in place of [`MOUNT`].
    #[must_use]
    pub fn mount(mut self, path: &str) -> Self {
        path.clone_into(&mut self.mount);
        self
    }

    /// Everything that can be changed later.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.mail.bound(&settings.limits);
        self.settings = settings;
        self
    }

    /// What the embedder's program says, changes and hears, in place of nothing.
    #[must_use]
    pub fn hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// For other threads, and for hooks that are given to this builder: the server's, before there is one. What is sent waits
    /// in the mailbox, with the bounds that the builder's settings have, until the server has been built and runs. If that
    /// never happens, the mailbox closes with the builder.
    pub fn handle(&self) -> Handle {
        Handle::new(self.mail.mailbox())
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// A setting that is no good (`InvalidInput`), or a place that cannot be listened on; the text says which and why.
    pub fn build(self) -> io::Result<Server> {
        let shutdown_ms = self.settings.shutdown_ms;
        let parts = Parts::new(&self.mount, self.settings, Box::new(OsEntropy)).map_err(invalid)?;
        let parts = parts.with_hooks(self.hooks);
        let clock = Clock::start();
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (backlog, mode) = (self.backlog, self.socket_mode);
        let bound = self.listen.iter().map(|at| Listener::bind(at, backlog, mode));
        let mut listeners = bound.chain(self.open).collect::<io::Result<Vec<_>>>()?;
        #[cfg(feature = "tls")]
        let handshakes = Handshakes::new(self.identity, &listeners)?;
        for (at, listener) in listeners.iter_mut().enumerate() {
            listener.register(poll.registry(), Token(LISTENERS - at))?;
        }
        self.mail.connect(waker);
        let scratch = parts.limits.read_bytes_per_turn;
        #[cfg(feature = "tls")]
        let scratch = if handshakes.are_expected() { scratch.max(READ_BYTES) } else { scratch };
        let now = clock.now();
        let mut server = Server {
            engine: Engine::new(parts, now),
            poll,
            events: None,
            listeners,
            slots: Slots::default(),
            reading: Reading::default(),
            hearing: 0,
            due_ms: None,
            door: Door::default(),
            life: Life::Serving,
            shutdown_ms,
            scratch: vec![0; scratch],
            clock,
            mount: self.mount,
            mail: self.mail,
            batch: None,
            #[cfg(feature = "daemon")]
            signals: None,
            #[cfg(feature = "tls")]
            handshakes,
        };
        server.plan(false, now);
        Ok(server)
    }

    /// Builds the server on a thread of its own, and serves there until it is told to end.
    ///
    /// # Errors
    /// As [`Builder::build`], and the operating system's if there can be no thread.
    pub fn spawn(self) -> io::Result<Running> {
        Running::start(self)
    }
}

pub(super) fn invalid(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}

/// Random bytes from the operating system.
struct OsEntropy;

impl Entropy for OsEntropy {
    fn secret(&mut self) -> [u8; SECRET_BYTES] {
        let mut secret = [0; SECRET_BYTES];
        // A server that cannot make secrets must not run on.
        getrandom::fill(&mut secret).expect("the operating system gives random bytes");
        secret
    }
}
