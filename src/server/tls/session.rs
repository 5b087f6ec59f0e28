//! The TLS of one connection, between its socket and plain bytes.
//!
//! Owns what a read has left of a record, and what a write has left for the socket. Plain bytes count as written when all
//! records that hold them are with the kernel: until then the queue of the connection keeps them, and its deadline runs.
//!
//! | state | next | by |
//! |---|---|---|
//! | `Fresh` | `Handshake` | first bytes as of TLS |
//! | | `Bare` | a first byte as of HTTP: what is written goes out as it is |
//! | `Handshake` | `Session` | its end |
//! | | `Bare` | a fault of the peer: it has been told, what comes is not understood |
//! | `Session` | `Broken` | a fault of the peer: it has been told, nothing more is read or written |

use core::mem;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;

use mio::net::TcpStream;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};

use super::super::stream::{Kept, Taken};
use super::{CONTENT_BYTES, READ_BYTES, Terms};

/// Bytes of the largest record on the wire: head, content, and what protection may add (RFC 5246 section 6.2.3).
const RECORD_BYTES: usize = 5 + 16 * 1024 + 2_048;
/// Bytes of a close_notify in a record, and of what may have to go before it.
const GOODBYE_BYTES: usize = 256;

/// Why a handshake fails whose messages would take more than is kept of them.
const TOO_LONG: &str = "its first messages are too long";

/// What has become of a handshake.
#[derive(Debug)]
pub(in super::super) enum Shaken {
    /// It goes on when more comes.
    Waits {
        /// Whether a message was complete, so that there was something to compute, not only to collect.
        worked: bool,
        /// Whether more may have come already.
        more: bool,
    },
    /// It has ended well, and this has come behind it.
    Done(Taken),
    /// The peer speaks HTTP, and no TLS.
    Plain,
    /// It cannot go on, for this reason.
    Failed(String),
}

enum State {
    Fresh,
    Handshake(Box<UnbufferedServerConnection>),
    Session(Box<UnbufferedServerConnection>),
    Bare,
    Broken,
}

/// A TLS connection.
pub(in super::super) struct TlsStream {
    socket: TcpStream,
    terms: Rc<Terms>,
    state: State,
    /// What has come of a record that is not complete.
    incoming: Vec<u8>,
    /// Records that the socket has not taken.
    outgoing: Vec<u8>,
    /// Plain bytes in these that do not count as written yet.
    unsent: usize,
    /// The first message of the peer has been answered: most of the work is done, and would be for nothing if it went now.
    answered: bool,
    /// The peer has said that it will send no more, and that has not been read yet.
    ended: bool,
}

impl core::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TlsStream").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl TlsStream {
    pub(in super::super) fn new(socket: TcpStream, terms: Rc<Terms>) -> Self {
        let (incoming, outgoing) = (Vec::new(), Vec::new());
        let state = State::Fresh;
        Self { socket, terms, state, incoming, outgoing, unsent: 0, answered: false, ended: false }
    }

    pub(in super::super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Whether a handshake has to end before there is anything to read.
    pub(in super::super) fn is_shaking_hands(&self) -> bool {
        matches!(self.state, State::Fresh | State::Handshake(_))
    }

    /// Whether the peer's next message ends the handshake, mostly.
    pub(in super::super) fn is_answered(&self) -> bool {
        self.answered
    }

    /// A handshake under way is not gone on with: what comes is not understood, and goes to whoever discards it.
    pub(in super::super) fn give_up(&mut self) {
        if self.is_shaking_hands() {
            self.state = State::Bare;
            self.incoming = Vec::new();
        }
    }

    /// What is kept of what has come and of what is to go.
    pub(in super::super) fn kept(&self) -> Kept {
        Kept { incoming: self.incoming.capacity(), outgoing: self.outgoing.capacity() }
    }

    /// Has so many bytes wait for the socket; for tests.
    #[cfg(test)]
    pub(super) fn hold(&mut self, bytes: usize) {
        self.outgoing.resize(bytes, 0);
    }

    /// Plain bytes that do not count as written yet; for tests.
    #[cfg(test)]
    pub(super) fn unsent(&self) -> usize {
        self.unsent
    }

    /// Whether anything has come of a handshake; for tests of the loop.
    #[cfg(test)]
    pub(in super::super) fn has_begun(&self) -> bool {
        !matches!(self.state, State::Fresh)
    }

    /// Whether the handshake has ended well; for tests of the loop.
    #[cfg(test)]
    pub(in super::super) fn is_secure(&self) -> bool {
        matches!(self.state, State::Session(_))
    }

    /// Goes on with the handshake, by what has come on the socket. What comes behind its end is read into the buffer.
    ///
    /// # Errors
    /// The socket's; or the peer has gone.
    pub(in super::super) fn shake_hands(&mut self, buffer: &mut [u8]) -> io::Result<Shaken> {
        let terms = Rc::clone(&self.terms);
        let scratch = &mut *terms.scratch.borrow_mut();
        let came = match self.collect(scratch) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(came) => came,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Ok(Shaken::Waits { worked: false, more: false });
            }
            Err(error) => return Err(error),
        };
        let (bytes, more) = self.collected(scratch, came);
        let mut session = match mem::replace(&mut self.state, State::Bare) {
            State::Handshake(session) => session,
            _ if bytes.first().is_some_and(u8::is_ascii_uppercase) => return Ok(Shaken::Plain),
            _ => match terms.session() {
                Ok(session) => Box::new(session),
                Err(reason) => return Ok(Shaken::Failed(reason)),
            },
        };
        let (before, came) = (self.outgoing.len(), bytes.len());
        let pumped = pump(&mut session, bytes, &mut self.outgoing, buffer);
        let worked = self.outgoing.len() > before || pumped.rest.len() < came;
        self.answered |= self.outgoing.len() > before;
        let done = !session.is_handshaking();
        let broken = pumped.broken.or_else(|| (pumped.rest.len() >= RECORD_BYTES).then(|| TOO_LONG.to_owned()));
        let sound = broken.is_none();
        // What the peer is to hear of a failure goes out when the connection is shut.
        if let Some(reason) = broken.filter(|_| !done) {
            return Ok(Shaken::Failed(reason));
        }
        self.incoming = pumped.rest.to_vec();
        self.state = if done { State::Session(session) } else { State::Handshake(session) };
        let taken = Taken { bytes: pumped.plain, more, end: pumped.end };
        if !done {
            self.flush()?;
            return Ok(Shaken::Waits { worked, more });
        }
        self.ended |= taken.end;
        let sound = sound && self.flush().is_ok();
        self.given(taken, sound).map(Shaken::Done)
    }

    /// What a read gives. After a fault that is what came before it; the next read tells of the fault.
    fn given(&mut self, taken: Taken, sound: bool) -> io::Result<Taken> {
        if sound {
            return Ok(taken);
        }
        self.state = State::Broken;
        self.incoming = Vec::new();
        if taken.bytes == 0 { Err(ErrorKind::InvalidData.into()) } else { Ok(Taken { more: true, ..taken }) }
    }

    /// Puts what was left over and what comes now into one piece; how much has come.
    fn collect(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        let (kept, room) = scratch.split_at_mut(self.incoming.len());
        kept.copy_from_slice(&self.incoming);
        loop {
            match self.socket.read(room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// That piece, and whether more may wait in the socket.
    fn collected<'a>(&self, scratch: &'a mut [u8], came: usize) -> (&'a mut [u8], bool) {
        let end = self.incoming.len() + came;
        let more = end == scratch.len();
        (&mut scratch[..end], more)
    }

    /// Reads plain bytes. The buffer takes [`READ_BYTES`].
    ///
    /// # Errors
    /// The socket's; or the peer has broken the protocol.
    pub(in super::super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Taken> {
        debug_assert!(buffer.len() >= READ_BYTES, "a read must find room for all that it decrypts");
        let terms = Rc::clone(&self.terms);
        let scratch = &mut *terms.scratch.borrow_mut();
        match &self.state {
            State::Session(_) if self.ended => return Ok(Taken { bytes: 0, more: false, end: true }),
            State::Session(_) => {}
            State::Bare => return self.socket.read(buffer).map(|bytes| Taken::of_read(bytes, buffer.len())),
            State::Fresh | State::Handshake(_) | State::Broken => return Err(ErrorKind::InvalidData.into()),
        }
        let came = self.collect(scratch)?;
        if came == 0 {
            // Nobody need say goodbye: HTTP knows by itself whether a request was whole.
            return Ok(Taken { bytes: 0, more: false, end: true });
        }
        let (bytes, more) = self.collected(scratch, came);
        let State::Session(session) = &mut self.state else { return Err(ErrorKind::InvalidData.into()) };
        let pumped = pump(session, bytes, &mut self.outgoing, buffer);
        let taken = Taken { bytes: pumped.plain, more, end: pumped.end };
        let sound = pumped.broken.is_none() && pumped.rest.len() < RECORD_BYTES;
        self.ended |= taken.end;
        self.incoming = pumped.rest.to_vec();
        // Where plain bytes wait in it as well, the next write flushes, for it must know how many.
        let sound = sound && (self.unsent > 0 || self.flush().is_ok());
        self.given(taken, sound)
    }

    /// Writes plain bytes; how many count as written. Those that are in records of which the socket has taken only a part
    /// count later, and must then be the first of what is offered.
    ///
    /// # Errors
    /// The socket's; `WouldBlock` if nothing counts.
    pub(in super::super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.state {
            State::Session(_) => {}
            State::Bare => return self.socket.write_vectored(slices),
            State::Fresh | State::Handshake(_) | State::Broken => return Err(ErrorKind::NotConnected.into()),
        }
        if self.unsent > 0 || !self.outgoing.is_empty() {
            let flushed = self.flush()?;
            if self.unsent > 0 || !self.outgoing.is_empty() {
                return self.count(flushed);
            }
        }
        let terms = Rc::clone(&self.terms);
        let scratch = &mut *terms.scratch.borrow_mut();
        let State::Session(session) = &mut self.state else { return Err(ErrorKind::NotConnected.into()) };
        let (plain, sealed) = seal(session, &mut self.incoming, slices, scratch)?;
        let written = match self.socket.write(&scratch[..sealed]) {
            // A record that is made must go, or the next one could not be read.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            written => written?,
        };
        self.unsent = plain;
        self.outgoing = scratch[written..sealed].to_vec();
        self.count(written)
    }

    /// How many plain bytes count as written, now that so many bytes of records are: all when all are; before that as many,
    /// but not the last, so that a slow peer is seen to go on and a stuck one to stand still.
    fn count(&mut self, written: usize) -> io::Result<usize> {
        let counted = if self.outgoing.is_empty() { self.unsent } else { written.min(self.unsent.saturating_sub(1)) };
        self.unsent -= counted;
        if counted == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(counted) }
    }

    /// Writes what has been left over, as far as the socket takes it; how much.
    ///
    /// # Errors
    /// The socket's.
    pub(in super::super) fn flush(&mut self) -> io::Result<usize> {
        let mut flushed = 0;
        while flushed < self.outgoing.len() {
            match self.socket.write(&self.outgoing[flushed..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => flushed += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if flushed > 0 {
            // A copy of what is left gives the memory of the rest back.
            self.outgoing = self.outgoing[flushed..].to_vec();
        }
        Ok(flushed)
    }

    /// Says goodbye in the terms of TLS, if the socket takes it.
    pub(in super::super) fn close(&mut self) {
        self.part();
        // Whoever has gone does not need to hear it.
        let _ = self.flush();
    }

    /// Puts a goodbye behind all that is to go; rustls makes no second one.
    fn part(&mut self) {
        if let State::Session(session) = &mut self.state {
            let mut goodbye = [0; GOODBYE_BYTES];
            if let Ok(ConnectionState::WriteTraffic(mut traffic)) =
                session.process_tls_records(&mut self.incoming).state
                && let Ok(n) = traffic.queue_close_notify(&mut goodbye)
            {
                self.outgoing.extend_from_slice(&goodbye[..n]);
            }
        }
    }

    /// Says goodbye, and shuts the sending side behind it.
    ///
    /// # Errors
    /// The socket's; `WouldBlock` if it does not take the goodbye now: to be called again when it takes more.
    pub(in super::super) fn shutdown_write(&mut self) -> io::Result<()> {
        self.part();
        self.flush()?;
        if self.outgoing.is_empty() { self.socket.shutdown(Shutdown::Write) } else { Err(ErrorKind::WouldBlock.into()) }
    }
}

/// What has become of some records.
struct Pumped<'a> {
    /// Bytes of plain text in them.
    plain: usize,
    /// Whether the peer will send no more.
    end: bool,
    /// Why they cannot be read any further.
    broken: Option<String>,
    /// What is left: part of a record.
    rest: &'a [u8],
}

/// Reads records, all that are complete. What they are to be answered in the terms of TLS is appended to `outgoing`.
fn pump<'a>(
    session: &mut UnbufferedServerConnection,
    bytes: &'a mut [u8],
    outgoing: &mut Vec<u8>,
    buffer: &mut [u8],
) -> Pumped<'a> {
    let (mut at, mut plain, mut end, mut broken) = (0, 0, false, None);
    // After a fault only once more, for what the peer is to be told of it.
    while broken.is_none() || session.wants_write() {
        let UnbufferedStatus { mut discard, state } = session.process_tls_records(&mut bytes[at..]);
        let mut goes_on = true;
        match state {
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let (payload, room) = match record {
                        Ok(record) => {
                            discard += record.discard;
                            (record.payload, buffer.get_mut(plain..plain + record.payload.len()))
                        }
                        Err(error) => {
                            broken = Some(error.to_string());
                            break;
                        }
                    };
                    let Some(room) = room else {
                        broken = Some("there is no room for what it has sent".to_owned());
                        break;
                    };
                    room.copy_from_slice(payload);
                    plain += payload.len();
                }
            }
            Ok(ConnectionState::PeerClosed) => end = true,
            Err(error) => broken = Some(error.to_string()),
            Ok(_) => goes_on = false,
        }
        at += discard;
        if !goes_on {
            break;
        }
    }
    // What stands behind the peer's end is nothing.
    let rest = if end { &[] } else { &bytes[at..] };
    Pumped { plain, end, broken, rest }
}

fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, outgoing: &mut Vec<u8>) {
    let from = outgoing.len();
    // The first try tells how much room it needs.
    let Err(EncodeError::InsufficientSize(room)) = data.encode(&mut []) else { return };
    outgoing.resize(from + room.required_size, 0);
    let encoded = data.encode(&mut outgoing[from..]).unwrap_or_default();
    outgoing.truncate(from + encoded);
}

/// Puts plain bytes into records, as many as are written at once; how many bytes that takes, and how many it makes.
fn seal(
    session: &mut UnbufferedServerConnection,
    incoming: &mut [u8],
    slices: &[IoSlice<'_>],
    scratch: &mut [u8],
) -> io::Result<(usize, usize)> {
    let (mut plain, mut sealed) = (0, 0);
    loop {
        match session.process_tls_records(incoming).state.map_err(io::Error::other)? {
            ConnectionState::WriteTraffic(mut traffic) => {
                for slice in slices {
                    let part = &slice[..slice.len().min(CONTENT_BYTES - plain)];
                    sealed += traffic.encrypt(part, &mut scratch[sealed..]).map_err(io::Error::other)?;
                    plain += part.len();
                }
                return Ok((plain, sealed));
            }
            ConnectionState::EncodeTlsData(mut data) => {
                sealed += data.encode(&mut scratch[sealed..]).map_err(io::Error::other)?;
            }
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => {}
            _ => return Err(ErrorKind::NotConnected.into()),
        }
    }
}
