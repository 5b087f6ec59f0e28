//! Owns one non-blocking connection and the bytes that wait to be written on it. Opens itself when there is something
//! to send.

use crate::client::{Fault, FaultKind};
use crate::tls::{Session, Tls};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// Where a connection goes, and from which address.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The server.
    pub(crate) server: SocketAddr,
    /// The source address, if it is not left to the system.
    pub(crate) source: Option<IpAddr>,
    /// Bytes that the system keeps of what was not read, if it is not to choose.
    pub(crate) receive_bytes: Option<usize>,
    /// TLS, if it is spoken there.
    pub(crate) tls: Option<Rc<Tls>>,
}

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// So many bytes; more may wait.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The peer has closed.
    End,
}

/// A connection, or the place of one.
#[derive(Debug, Default)]
pub(crate) struct Link {
    socket: Option<TcpStream>,
    connected: bool,
    /// TLS keeps its own of what waits.
    pending: Vec<u8>,
    /// Boxed: most runs have none.
    tls: Option<Box<Session>>,
    /// How often it was opened.
    opened: u32,
}

impl Link {
    /// How often it was opened after the first time.
    pub(crate) fn reopened(&self) -> u32 {
        self.opened.saturating_sub(1)
    }

    /// Closes it and forgets what waits.
    pub(crate) fn close(&mut self) {
        if let (Some(mut tls), Some(socket), true) = (self.tls.take(), &mut self.socket, self.connected) {
            tls.close(socket);
        }
        // Dropping the socket takes it out of the poll.
        (self.socket, self.connected, self.pending) = (None, false, Vec::new());
    }

    /// Breaks it off: the peer gets a reset, and no port is kept for a while.
    pub(crate) fn abort(&mut self) {
        if let Some(socket) = &self.socket {
            // Where that cannot be had, it is closed.
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
        self.tls = None;
        self.close();
    }

    /// Sends `bytes`, at once if possible; opens the connection first if there is none.
    pub(crate) fn send(&mut self, bytes: &[u8], route: Route, registry: &Registry, token: Token) -> Result<(), Fault> {
        if self.socket.is_none() {
            let mut socket = open(&route).map_err(|error| cannot_open(&route, &error))?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut socket, token, interest).map_err(|error| cannot_open(&route, &error))?;
            self.tls = route.tls.as_deref().map(Session::new).transpose()?.map(Box::new);
            self.socket = Some(socket);
            self.opened += 1;
        }
        if let Some(tls) = &mut self.tls {
            tls.take(bytes).map_err(unwritable)?;
            return self.flush();
        }
        if !self.connected || !self.pending.is_empty() {
            self.pending.extend_from_slice(bytes);
            return Ok(());
        }
        let sent = self.write(bytes)?;
        if sent < bytes.len() {
            self.pending.extend_from_slice(&bytes[sent..]);
        }
        Ok(())
    }

    /// Takes a readiness event: learns whether the connection stands and writes what waits.
    pub(crate) fn ready(&mut self, event: &Event, route: Route) -> Result<(), Fault> {
        let Some(socket) = &self.socket else { return Ok(()) };
        if !self.connected {
            if let Some(error) = socket.take_error().unwrap_or_else(Some) {
                return Err(cannot_open(&route, &error));
            }
            if !event.is_writable() || socket.peer_addr().is_err() {
                return Ok(());
            }
            self.connected = true;
        }
        if self.tls.is_some() {
            return self.flush();
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let sent = self.write(&pending)?;
        if sent < pending.len() {
            self.pending = pending[sent..].to_vec();
        }
        Ok(())
    }

    /// Reads what has come.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Got, Fault> {
        // A connection that is just being opened has nothing to read, whatever an event for the one before it says.
        let Some(socket) = self.socket.as_mut().filter(|_| self.connected) else { return Ok(Got::Nothing) };
        if let Some(tls) = &mut self.tls {
            return Ok(match tls.read(socket, buffer)? {
                None => Got::End,
                Some(0) => Got::Nothing,
                Some(count) => Got::Bytes(count),
            });
        }
        loop {
            return match socket.read(buffer) {
                Ok(0) => Ok(Got::End),
                Ok(count) => Ok(Got::Bytes(count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Got::Nothing),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(Fault::new(FaultKind::Io, format!("reading: {error}"))),
            };
        }
    }

    /// Has TLS write what waits, once the connection stands.
    fn flush(&mut self) -> Result<(), Fault> {
        match (&mut self.tls, &mut self.socket) {
            (Some(tls), Some(socket)) if self.connected => tls.flush(socket).map_err(unwritable),
            _ => Ok(()),
        }
    }

    /// Writes until all is written or the socket is full.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let Some(socket) = &mut self.socket else { return Ok(0) };
        let mut sent = 0;
        while sent < bytes.len() {
            match socket.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(unwritable(error)),
            }
        }
        Ok(sent)
    }
}

fn unwritable(error: io::Error) -> Fault {
    Fault::new(FaultKind::Io, format!("writing: {error}"))
}

fn open(route: &Route) -> io::Result<TcpStream> {
    if route.source.is_none() && route.receive_bytes.is_none() {
        let stream = TcpStream::connect(route.server)?;
        stream.set_nodelay(true)?;
        return Ok(stream);
    }
    let socket = Socket::new(Domain::for_address(route.server), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(bytes) = route.receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = route.source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&route.server.into()) {
        Ok(()) => {}
        // Under way: the raw code says so where the kind has no stable name.
        Err(error) if error.kind() == ErrorKind::WouldBlock || is_in_progress(&error) => {}
        Err(error) => return Err(error),
    }
    let stream = TcpStream::from_std(socket.into());
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// `EINPROGRESS`, which the standard library has no stable name for.
fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(if cfg!(target_os = "linux") { 115 } else { 36 })
}

fn cannot_open(route: &Route, error: &io::Error) -> Fault {
    let from = route.source.map(|source| format!(" from {source}")).unwrap_or_default();
    let hint = match error.kind() {
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse => {
            " (no free port: give more --source-addrs, or wait a minute)"
        }
        _ => "",
    };
    Fault::new(FaultKind::Io, format!("cannot connect to {}{from}: {error}{hint}", route.server))
}
