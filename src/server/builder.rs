//! What a server is made from.
//!
//! Owns the defaults of everything that an embedder or an operator sets, and the checks before anything is bound.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::{Poll, Token, Waker};

use crate::bayeux::Channel;
use crate::broker::rules::{Keep, Rule};
use crate::broker::{self, token::Entropy};
use crate::conn::plain::Publishing;
use crate::conn::route::Site;
use crate::engine::{Change, Engine, Parts};
use crate::hooks::Hooks;
use crate::http::forwarded::TrustedProxies;
use crate::http::host::HostRule;
use crate::http::origin::OriginRule;
use crate::limits::Limits;
use crate::pages::Pages;

use super::clock::Clock;
use super::listen::{Listen, Listener};
use super::reading::Reading;
use super::slots::Slots;
use super::{Door, LISTENERS, Life, Server, WAKER, handle};
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

/// What can be changed while a server runs. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The hosts that are answered for: `comet.example`, `comet.example:8080`, `*.example`. Empty by default: all.
    pub allowed_hosts: Vec<String>,
    /// The origins whose pages may use this server from elsewhere: `https://app.example`, or `*`. None by default.
    pub allowed_origins: Vec<String>,
    /// The addresses and networks whose `X-Forwarded-*` header fields are believed: `loopback` and `unix` by default.
    pub trusted_proxies: Vec<String>,
    /// Whether programs may publish with `POST /publish/<channel>`. Off by default.
    pub http_api: bool,
    /// The bearer token that they then need; without one they must be on this machine. None by default.
    pub http_token: Option<String>,
    /// Whether the policy alone decides who may publish so; without a policy, everybody may. Off by default.
    pub http_by_policy: bool,
    /// Whether the page at `/` is served that shows the server at work, and the last events of its chat are kept. Off by
    /// default.
    pub demo: bool,
    /// How long clients get to leave when the server is told to end. Default 10 s.
    pub shutdown_ms: u32,
    /// How sessions are treated.
    pub broker: broker::Config,
    /// Every bound.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: vec!["loopback".to_owned(), "unix".to_owned()],
            http_api: false,
            http_token: None,
            http_by_policy: false,
            demo: false,
            shutdown_ms: 10_000,
            broker: broker::Config::default(),
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// What an engine is told of these.
    ///
    /// # Errors
    /// A setting that is no good (`InvalidInput`).
    pub(super) fn into_change(self) -> io::Result<Change> {
        let publishing = match (self.http_api, self.http_token) {
            (false, _) => Publishing::Off,
            (true, _) if self.http_by_policy => Publishing::Policy,
            (true, None) => Publishing::Local,
            (true, Some(token)) => Publishing::Token(token),
        };
        Ok(Change {
            hosts: HostRule::new(&self.allowed_hosts).map_err(invalid)?,
            origins: OriginRule::new(&self.allowed_origins).map_err(invalid)?,
            proxies: TrustedProxies::parse(&self.trusted_proxies).map_err(invalid)?,
            publishing,
            demo: self.demo,
            broker: with_demo(self.broker, self.demo),
            limits: self.limits,
        })
    }
}

/// Where the page of the demonstration chats, and how many events of that are kept.
const DEMO_CHANNEL: &str = "/chat/demo";
const DEMO_KEPT: usize = 100;

/// What a server is built from.
pub struct Builder {
    listen: Vec<Listen>,
    open: Vec<io::Result<Listener>>,
    backlog: i32,
    socket_mode: u32,
    mount: String,
    settings: Settings,
    hooks: Hooks,
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
        Self {
            listen: vec![Listen::Tcp(ADDRESS)],
            open: Vec::new(),
            backlog: BACKLOG,
            socket_mode: SOCKET_MODE,
            mount: MOUNT.to_owned(),
            settings: Settings::default(),
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
        self.settings = settings;
        self
    }

    /// What the embedder's program says, changes and hears, in place of nothing.
    #[must_use]
    pub fn hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// A setting that is no good (`InvalidInput`), or a place that cannot be listened on; the text says which and why.
    pub fn build(self) -> io::Result<Server> {
        check_mount(&self.mount).map_err(|error| invalid(format!("mount {:?}: {error}", self.mount)))?;
        let shutdown_ms = self.settings.shutdown_ms;
        let Change { hosts, origins, proxies, publishing, demo, broker, limits } = self.settings.into_change()?;
        let pages = Pages::new(&self.mount, demo);
        let site = Site { mount: self.mount, hosts, origins, proxies, publishing, pages, has_fallback: false };
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
        let (handle, mail) = handle::mailbox(waker, &limits);
        let mount = site.mount.clone();
        let scratch = limits.read_bytes_per_turn;
        #[cfg(feature = "tls")]
        let scratch = if handshakes.are_expected() { scratch.max(READ_BYTES) } else { scratch };
        let parts = Parts { site, broker, limits, entropy: Box::new(OsEntropy), hooks: self.hooks };
        Ok(Server {
            engine: Engine::new(parts, clock.now()),
            poll,
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
            mount,
            handle,
            mail,
            #[cfg(feature = "daemon")]
            signals: None,
            #[cfg(feature = "tls")]
            handshakes,
        })
    }
}

/// With the demonstration, what was said on its page last is kept, unless a rule says otherwise: who comes finds it there.
fn with_demo(mut broker: broker::Config, demo: bool) -> broker::Config {
    let ruled = |channel| broker.channels.iter().any(|rule| rule.rules_history_of(channel));
    if demo && Channel::parse(DEMO_CHANNEL).is_ok_and(|channel| !ruled(channel)) {
        let history = Some(Some(Keep { count: DEMO_KEPT, ..Keep::default() }));
        broker.channels.push(Rule { pattern: DEMO_CHANNEL.to_owned(), history, ..Rule::default() });
    }
    broker
}

pub(super) fn invalid(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}

/// Whether a path can be a mount.
///
/// # Errors
/// What would be right.
pub fn check_mount(mount: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~');
    // Browsers take them out before they ask.
    let dots = mount.split('/').any(|segment| matches!(segment, "." | ".."));
    if mount.starts_with('/') && mount.bytes().all(plain) && !mount.contains("//") && !dots {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_is_no_path_is_refused() {
        for (mount, good) in [
            ("/cometd", true),
            ("/", true),
            ("/.x", true),
            ("cometd", false),
            ("/a b", false),
            ("/a//b", false),
            ("", false),
            ("/.", false),
            ("/a/../b", false),
        ] {
            assert_eq!(check_mount(mount).is_ok(), good, "{mount}");
        }
    }
}
