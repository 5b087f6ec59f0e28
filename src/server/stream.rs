//! The kinds of sockets that are spoken through.
//!
//! Owns the system calls. A kind more is a variant more here, a way to accept it in `listen`, and nothing elsewhere.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

#[cfg(feature = "tls")]
use super::tls::TlsStream;

/// A connection's socket. What counts as written is with the kernel, also where records of TLS are in between.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
}

/// What a read has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Bytes, now in the buffer.
    pub(super) bytes: usize,
    /// Whether there may be more, of which the kernel gives no further notice.
    pub(super) more: bool,
    /// Whether the peer will send no more behind them.
    pub(super) end: bool,
}

/// Bytes of records of TLS that are kept beside what the engine has of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Of such as have come in part.
    pub(super) incoming: usize,
    /// Of such as the socket has not taken.
    pub(super) outgoing: usize,
}

impl Taken {
    /// A read of so many bytes into a buffer with room for so many. A short one has emptied the socket.
    pub(super) fn of_read(bytes: usize, room: usize) -> Self {
        Self { bytes, more: bytes == room, end: bytes == 0 }
    }
}

impl Stream {
    /// Both directions at once and for good: edges cost no further system calls.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => registry.register(stream, token, Interest::READABLE | Interest::WRITABLE),
            Self::Unix(stream) => registry.register(stream, token, Interest::READABLE | Interest::WRITABLE),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => registry.register(stream.socket(), token, Interest::READABLE | Interest::WRITABLE),
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Taken> {
        let bytes = match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => return stream.read(buffer),
        };
        bytes.map(|bytes| Taken::of_read(bytes, buffer.len()))
    }

    /// Writes some of this; how much of it is with the kernel now.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Self::Tcp(stream), [one]) => stream.write(one),
            (Self::Tcp(stream), several) => stream.write_vectored(several),
            (Self::Unix(stream), [one]) => stream.write(one),
            (Self::Unix(stream), several) => stream.write_vectored(several),
            #[cfg(feature = "tls")]
            (Self::Tls(stream), slices) => stream.write(slices),
        }
    }

    /// Writes what the socket has not taken of what is not the engine's.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.flush().map(drop),
        }
    }

    /// What is kept beside what the engine has; `None` for those that keep nothing ever.
    pub(super) fn kept(&self) -> Option<Kept> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => None,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Some(stream.kept()),
        }
    }

    /// Says goodbye where that is more than to close the socket.
    pub(super) fn close(&mut self) {
        #[cfg(feature = "tls")]
        if let Self::Tls(stream) = self {
            stream.close();
        }
    }

    /// Shuts the sending side.
    ///
    /// # Errors
    /// The socket's; `WouldBlock` if there is something to go before, which the socket does not take now.
    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.shutdown_write(),
        }
    }
}
