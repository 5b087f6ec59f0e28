//! Ports that have to be known before anybody listens there.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

/// A port of 127.0.0.1 that nobody else is given while this lives, and where a server may listen that asks for it.
///
/// Else one of the many sockets that tests open meanwhile has it now and then. On Linux, a socket that is bound and does
/// not listen keeps the kernel from giving its port to those who want any, and lets those have it who name it, if both
/// allow that with SO_REUSEADDR, as all servers do. Elsewhere it would keep these away as well, so it is let go.
pub struct Port {
    addr: SocketAddr,
    _socket: Option<Socket>,
}

impl Port {
    /// Any.
    pub fn any() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// That of a server that has ended.
    pub fn at(addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&addr.into()).unwrap_or_else(|error| panic!("{addr}: {error}"));
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        Self { addr, _socket: cfg!(target_os = "linux").then_some(socket) }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
