//! What is listened on: addresses, paths of Unix sockets, and sockets that somebody else has opened.
//!
//! Owns the system calls of binding and accepting, and the file of a Unix socket for as long as it listens there. A failure
//! to bind is told in words that an operator can act on. What Linux has and other systems have not is here and nowhere else:
//! a bound on unsent bytes, and the question whether a socket listens.

use core::fmt;
use core::str::FromStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::stream::Stream;

/// What the kernel takes of a connection beyond what is on its way to the peer, bytes: without a bound, each of thousands
/// of slow readers makes it allocate and fill megabytes, for which all others wait. Room for a burst of events or a page.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT: u32 = 32 * 1_024;
/// Below this, a port is for privileged processes.
const FIRST_FREE_PORT: u16 = 1_024;
/// What a build says that cannot do it.
#[cfg(not(feature = "tls"))]
pub(crate) const WITHOUT_TLS: &str = "needs an encke that is built with TLS: cargo build --release --features tls";

/// Something to listen on. As text: `127.0.0.1:8080`, `[::1]:8080`, `unix:/run/encke.sock` or `tls:0.0.0.0:8443`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listen {
    /// An address. Port 0 takes any free port. An IPv6 address takes no IPv4 connections.
    Tcp(SocketAddr),
    /// The path of a Unix socket. It is made when listening begins and removed when it ends.
    Unix(PathBuf),
    /// An address where connections are TLS. Needs the feature `tls`, and a certificate with its key.
    Tls(SocketAddr),
}

impl Listen {
    /// The address, if it is one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) | Self::Tls(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("unix", "")) => Err("has no path; write unix:/run/encke.sock".to_owned()),
            Some(("unix", path)) => Ok(Self::Unix(PathBuf::from(path))),
            #[cfg(not(feature = "tls"))]
            Some(("tls", _)) => Err(format!("{text:?} {WITHOUT_TLS}")),
            #[cfg(feature = "tls")]
            Some(("tls", address)) => address
                .parse()
                .map(Self::Tls)
                .map_err(|_| format!("{text:?} has no address behind tls:, such as tls:0.0.0.0:8443 or tls:[::]:8443")),
            _ => text.parse().map(Self::Tcp).map_err(|_| {
                format!(
                    "{text:?} is no place to listen; write 127.0.0.1:8080 or [::1]:8080 for HTTP, tls:127.0.0.1:8443 \
                    for HTTPS, or unix:/run/encke.sock"
                )
            }),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tls(address) => write!(f, "tls:{address}"),
        }
    }
}

/// Something that connections come from.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
    #[cfg(feature = "tls")]
    Tls(TcpListener),
}

/// The file of a Unix socket that is listened on.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode of the file that is ours to remove; `None` if somebody else made it.
    made: Option<(u64, u64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another server may have put its own socket there meanwhile.
        if self.made.is_some() && identity(&self.path) == self.made {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Listener {
    /// Listens there with room for `backlog` connections that are not accepted yet. A Unix socket gets these permissions.
    ///
    /// # Errors
    /// One line that says where, what is wrong, and what may help.
    pub(super) fn bind(at: &Listen, backlog: i32, mode: u32) -> io::Result<Self> {
        let bound = match at {
            Listen::Tcp(address) => bind_tcp(*address, backlog),
            Listen::Unix(path) => bind_unix(path, backlog, mode),
            #[cfg(feature = "tls")]
            Listen::Tls(address) => bind_tcp(*address, backlog).map(Self::into_tls),
            #[cfg(not(feature = "tls"))]
            Listen::Tls(_) => Err(io::Error::new(ErrorKind::Unsupported, WITHOUT_TLS)),
        };
        bound.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {at}: {}", cause(at, &error))))
    }

    /// Listens on a TCP socket that is open already.
    pub(super) fn of_tcp(listener: std::net::TcpListener) -> io::Result<Self> {
        let socket = (&listener).into();
        must_listen(&socket)?;
        leave_unsent_to_us(&socket)?;
        listener.set_nonblocking(true)?;
        Ok(Self::Tcp(TcpListener::from_std(listener)))
    }

    /// Listens on a Unix socket that is open already; its file stays when listening ends.
    pub(super) fn of_unix(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        must_listen(&(&listener).into())?;
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(Path::to_path_buf).unwrap_or_default();
        Ok(Self::Unix(UnixListener::from_std(listener), SocketFile { path, made: None }))
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            Self::Unix(listener, _) => registry.register(listener, token, Interest::READABLE),
            #[cfg(feature = "tls")]
            Self::Tls(listener) => registry.register(listener, token, Interest::READABLE),
        }
    }

    /// Whether what is written to its connections can be read as it is.
    pub(super) fn is_plain(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(..) => true,
            #[cfg(feature = "tls")]
            Self::Tls(_) => false,
        }
    }

    /// Whether its connections are TLS.
    #[cfg(feature = "tls")]
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// One whose connections are TLS.
    #[cfg(feature = "tls")]
    pub(super) fn into_tls(self) -> Self {
        match self {
            Self::Tcp(listener) => Self::Tls(listener),
            other => other,
        }
    }

    /// The next connection, and where it comes from if that has an address.
    pub(super) fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => accept_tcp(listener),
            #[cfg(feature = "tls")]
            Self::Tls(listener) => accept_tcp(listener),
            Self::Unix(listener, _) => listener.accept().map(|(stream, _)| (Stream::Unix(stream), None)),
        }
    }

    /// Where it listens, with the real port.
    pub(super) fn at(&self) -> io::Result<Listen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Self::Unix(_, file) => Ok(Listen::Unix(file.path.clone())),
            #[cfg(feature = "tls")]
            Self::Tls(listener) => listener.local_addr().map(Listen::Tls),
        }
    }
}

fn accept_tcp(listener: &TcpListener) -> io::Result<(Stream, Option<SocketAddr>)> {
    let (stream, peer) = listener.accept()?;
    // An event must leave at once, not when the answer to the one before has been acknowledged. A socket that refuses the
    // option is already closed, which reading will show.
    let _ = stream.set_nodelay(true);
    Ok((Stream::Tcp(stream), Some(peer)))
}

fn bind_tcp(address: SocketAddr, backlog: i32) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the server before.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // IPv4 has its own address to listen on.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    leave_unsent_to_us(&(&socket).into())?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(Listener::Tcp(TcpListener::from_std(socket.into())))
}

/// Bounds what the kernel keeps of what a connection does not send yet. Accepted sockets inherit it.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn leave_unsent_to_us(socket: &socket2::SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_notsent_lowat(UNSENT)
}

/// Other kernels have no such bound to inherit, or a small one of their own.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
fn leave_unsent_to_us(_socket: &socket2::SockRef<'_>) -> io::Result<()> {
    Ok(())
}

fn bind_unix(path: &Path, backlog: i32, mode: u32) -> io::Result<Listener> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_abandoned(path) => {
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    let file = SocketFile { path: path.to_path_buf(), made: identity(path) };
    // Nobody gets in before `listen`, so the permissions hold from the first connection on.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    socket.listen(backlog)?;
    Ok(Listener::Unix(UnixListener::from_std(OwnedFd::from(socket).into()), file))
}

/// Whether the file is a socket that nobody listens on any more, as a server leaves behind that was killed.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    // Without blocking: who listens and does not accept would keep us waiting.
    let asked = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    is_socket && asked().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Whether a socket that somebody else has opened can be listened on.
#[cfg(target_os = "linux")]
fn must_listen(socket: &socket2::SockRef<'_>) -> io::Result<()> {
    if socket.is_listener()? {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "a socket that was handed over does not listen"))
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
fn must_listen(_socket: &socket2::SockRef<'_>) -> io::Result<()> {
    Ok(())
}

/// What went wrong in the operator's terms.
fn cause(at: &Listen, error: &io::Error) -> String {
    match (at, error.kind()) {
        (Listen::Tcp(address) | Listen::Tls(address), ErrorKind::AddrInUse) => {
            format!("the address is in use; `ss -ltnp 'sport = :{}'` shows by which process", address.port())
        }
        (Listen::Tcp(_) | Listen::Tls(_), ErrorKind::AddrNotAvailable) => {
            "this machine has no such address; `ip address` shows which it has".to_owned()
        }
        (Listen::Tcp(address) | Listen::Tls(address), ErrorKind::PermissionDenied)
            if address.port() < FIRST_FREE_PORT =>
        {
            format!(
                "no permission: ports below {FIRST_FREE_PORT} need CAP_NET_BIND_SERVICE (in a systemd unit: \
                AmbientCapabilities=CAP_NET_BIND_SERVICE), or take a higher port behind a proxy"
            )
        }
        (Listen::Unix(path), ErrorKind::AddrInUse) if path.exists() => {
            let socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
            let text = if socket { "another process listens there" } else { "a file that is no socket is there" };
            text.to_owned()
        }
        (Listen::Unix(path), ErrorKind::NotFound) => {
            let folder = path.parent().unwrap_or(path);
            format!("there is no folder {}", folder.display())
        }
        (Listen::Unix(path), ErrorKind::PermissionDenied) => {
            let folder = path.parent().unwrap_or(path);
            format!("no permission to make a file in {}", folder.display())
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_listen_reads_as_it_is_shown() {
        for text in ["127.0.0.1:8080", "[::1]:0", "unix:/run/encke.sock", "unix:encke.sock"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in ["8080", "localhost:8080", "127.0.0.1", "unix:", "", "::1:80", "/run/encke.sock"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
        let told = "https://127.0.0.1:8443".parse::<Listen>().unwrap_err();
        assert!(told.contains(" 127.0.0.1:8080 ") && told.contains(" tls:127.0.0.1:8443 for HTTPS"), "{told}");
    }

    fn folder() -> PathBuf {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).unwrap();
        let folder = std::env::temp_dir().join(format!("encke-listen-{:016x}", u64::from_ne_bytes(bytes)));
        fs::create_dir(&folder).unwrap();
        folder
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_unix_socket_has_its_mode_and_goes_when_listening_ends() {
        let folder = folder();
        let at = Listen::Unix(folder.join("s"));
        for wanted in [0o660, 0o600, 0o666] {
            let listener = Listener::bind(&at, 1, wanted).unwrap();
            assert_eq!(mode(&folder.join("s")), wanted);
            assert_eq!(listener.at().unwrap(), at);
            let taken = Listener::bind(&at, 1, 0o600).unwrap_err();
            assert!(taken.to_string().ends_with("another process listens there"), "{taken}");
            drop(listener);
            assert!(!folder.join("s").exists());
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_socket_left_behind_is_replaced_and_a_file_is_not() {
        let folder = folder();
        let path = folder.join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = Listener::bind(&Listen::Unix(path.clone()), 1, 0o600).unwrap();
        // Another server takes the place; ending the first one must not take it away.
        fs::remove_file(&path).unwrap();
        let second = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        let error = Listener::bind(&Listen::Unix(path.clone()), 1, 0o600).unwrap_err();
        assert!(error.to_string().ends_with("a file that is no socket is there"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let error = Listener::bind(&Listen::Unix(folder.join("no/s")), 1, 0o600).unwrap_err();
        assert!(error.to_string().contains("there is no folder"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_listener_that_accepts_nobody_is_a_listener() {
        let folder = folder();
        let path = folder.join("s");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        socket.listen(0).unwrap();
        let client = || {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            let connected = client.connect(&SockAddr::unix(&path).unwrap()).is_ok();
            (client, connected)
        };
        let mut waiting = Vec::new();
        while let (one, true) = client() {
            waiting.push(one);
        }
        let error = Listener::bind(&Listen::Unix(path), 1, 0o600).unwrap_err();
        assert!(error.to_string().ends_with("another process listens there"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }

    /// The connection that a peer has made, as soon as the kernel has it for us.
    fn accepted(listener: &Listener) -> Stream {
        loop {
            match listener.accept() {
                Ok((stream, _)) => return stream,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
    }

    #[test]
    fn ipv4_and_ipv6_of_one_port_are_two_places() {
        let any: Listen = "[::]:0".parse().unwrap();
        // Somebody else may have that port of IPv4, but not each time.
        let both = (0..100).any(|_| {
            let six = Listener::bind(&any, 1, 0).unwrap();
            let Listen::Tcp(address) = six.at().unwrap() else { panic!("an address") };
            let four = Listen::Tcp(SocketAddr::from(([0, 0, 0, 0], address.port())));
            Listener::bind(&four, 1, 0).is_ok()
        });
        assert!(both);
    }

    #[test]
    fn an_address_can_be_had_again_at_once() {
        let first = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 1, 0).unwrap();
        let at = first.at().unwrap();
        let Listen::Tcp(address) = at else { panic!("an address") };
        let client = std::net::TcpStream::connect(address).unwrap();
        // Our side closes first, so the port stays in TIME_WAIT.
        drop(accepted(&first));
        drop(first);
        drop(client);
        Listener::bind(&Listen::Tcp(address), 1, 0).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_keeps_little_of_what_a_peer_does_not_read() {
        let own = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 1, 0).unwrap();
        let handed_over = Listener::of_tcp(std::net::TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        for listener in [own, handed_over] {
            let Listen::Tcp(address) = listener.at().unwrap() else { panic!("an address") };
            let peer = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
            peer.set_recv_buffer_size(4_096).unwrap();
            peer.connect(&address.into()).unwrap();
            let mut stream = accepted(&listener);
            let page = [0; 4_096];
            let mut taken = 0;
            while let Ok(bytes) = stream.write(&[std::io::IoSlice::new(&page)]) {
                taken += bytes;
            }
            // What is with the peer, what has been sent, and what is not sent yet: a segment more than its bound.
            assert!((1..4 * UNSENT as usize).contains(&taken), "{taken} bytes");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_that_does_not_listen_is_not_taken() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let error = Listener::of_tcp(socket.into()).unwrap_err();
        assert!(error.to_string().contains("does not listen"), "{error}");
    }

    #[test]
    fn an_address_that_cannot_be_had_says_why() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = Listen::Tcp(taken.local_addr().unwrap());
        let error = Listener::bind(&at, 1, 0).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {at}: the address is in use")), "{error}");
        let error = Listener::bind(&"192.0.2.1:80".parse().unwrap(), 1, 0).unwrap_err().to_string();
        assert!(error.contains("this machine has no such address"), "{error}");
        let denied = io::Error::from(ErrorKind::PermissionDenied);
        assert!(cause(&"0.0.0.0:80".parse().unwrap(), &denied).contains("CAP_NET_BIND_SERVICE"));
    }
}
