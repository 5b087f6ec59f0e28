//! The kinds of sockets that are spoken through.
//!
//! Owns the system calls. A kind more is a variant more here, a way to accept it in `listen`, and nothing elsewhere.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
#[cfg(feature = "tls")]
use std::panic::{AssertUnwindSafe, catch_unwind};

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

/// Works on what a peer has sent as TLS: a bug there ends this connection and no other.
///
/// # Errors
/// Those of the work; or it has panicked.
#[cfg(feature = "tls")]
pub(super) fn guarded<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        log::error!("a bug in encke: work on TLS records panicked; the connection is closed");
        Err(io::Error::other("an error in the server"))
    })
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
            Self::Tls(stream) => return guarded(|| stream.read(buffer)),
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
            (Self::Tls(stream), slices) => guarded(|| stream.write(slices)),
        }
    }

    /// Writes what the socket has not taken of what is not the engine's.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => guarded(|| stream.flush().map(drop)),
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
            // There is nobody to tell.
            let _ = guarded(|| {
                stream.close();
                Ok(())
            });
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
            Self::Tls(stream) => guarded(|| stream.shutdown_write()),
        }
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_the_work_on_records_is_an_error_of_that_connection() {
        assert_eq!(guarded(|| Ok(1)).unwrap(), 1);
        let error = guarded(|| -> io::Result<()> { panic!("a bug") }).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
    }
}
