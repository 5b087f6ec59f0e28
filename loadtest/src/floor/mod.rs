//! Owns `floor`: the least that a server on one thread can spend on the traffic of a run, to hold a real server
//! against.
//!
//! It reads and writes as a server must, one read for each request and one write for each answer, and does nothing
//! else: requests are found by the end of their head and their Content-Length, their kind by a search for the channel's
//! name, the answers are bytes made beforehand. A publish makes its bytes once for each form that somebody needs, and
//! each subscriber gets them in one write, however many messages there are. No JSON, no sessions, no timers, no
//! acknowledgement. A connection is a client; on a WebSocket and beside a stream a connect but the first gets no
//! answer. It serves this program's clients only: it counts on their spelling of a request, on `data` being the last
//! field of a publish and flat, and on the ids in [`crate::bayeux`].

mod bytes;
mod socket;

use crate::args;
use bytes::{Canned, Form, Kind};
use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;

/// The session of every client, as JSON text, by which a floor is known.
pub(crate) const CLIENT_ID: &str = r#""floor""#;
const LISTENING: Token = Token(usize::MAX - 1);
const EVENTS_PER_TURN: usize = 1024;
const READ_BYTES: usize = 64 * 1024;
/// Batches that are kept for a peer that is not polling; what is more is lost to it.
const OWED_MAX: usize = 1024;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// Serves until it is killed; says where on standard output.
pub(crate) fn serve(args: &args::Floor) -> io::Result<()> {
    let _ = rlimit::increase_nofile_limit(rlimit::INFINITY);
    let mut floor = Floor::new(args)?;
    let mut out = io::stdout().lock();
    writeln!(out, "floor listening on http://{}/cometd", floor.listener.local_addr()?)?;
    out.flush()?;
    drop(out);
    let mut events = Events::with_capacity(EVENTS_PER_TURN);
    loop {
        floor.turn(&mut events)?;
    }
}

/// One connection, which is one client: there are no sessions.
#[derive(Debug)]
struct Peer {
    socket: TcpStream,
    /// Told apart from others that had its place.
    serial: u64,
    /// The part of a request that came without its end.
    tail: Vec<u8>,
    form: Form,
    subscribed: bool,
    joined: bool,
    /// Whether it takes events.
    parked: bool,
    /// Events that came while it did not.
    owed: Vec<Rc<str>>,
}

#[derive(Debug)]
struct Floor {
    poll: Poll,
    listener: TcpListener,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    accepted: u64,
    /// By channel: places of peers, with their serials.
    subscribers: HashMap<Box<[u8]>, Vec<(usize, u64)>>,
    canned: Canned,
    /// The same for WebSockets.
    canned_frames: Canned,
    /// The answer to so many subscribes, as a response and as a frame.
    subscribed: HashMap<usize, [Vec<u8>; 2]>,
    drop_every: Option<u64>,
    delivered: u64,
    buffer: Vec<u8>,
    /// The message of a frame.
    message: Vec<u8>,
}

impl Floor {
    fn new(args: &args::Floor) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = listen(args.listen)?;
        poll.registry().register(&mut listener, LISTENING, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            peers: Vec::new(),
            free: Vec::new(),
            accepted: 0,
            subscribers: HashMap::new(),
            canned: Canned::new(Form::Polling),
            canned_frames: Canned::new(Form::Frames),
            subscribed: HashMap::new(),
            drop_every: args.drop_every,
            delivered: 0,
            buffer: vec![0; READ_BYTES],
            message: Vec::new(),
        })
    }

    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        match self.poll.poll(events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in events.iter() {
            if event.token() == LISTENING {
                self.accept()?;
            } else {
                self.readable(event.token().0, event.is_read_closed());
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            socket.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or_else(|| {
                self.peers.push(None);
                self.peers.len() - 1
            });
            self.poll.registry().register(&mut socket, Token(index), Interest::READABLE)?;
            let (serial, tail, owed, form) = (self.accepted, Vec::new(), Vec::new(), Form::Polling);
            let (subscribed, joined, parked) = (false, false, false);
            self.peers[index] = Some(Peer { socket, serial, tail, form, subscribed, joined, parked, owed });
            self.accepted += 1;
        }
    }

    fn readable(&mut self, index: usize, read_closed: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(peer) = self.peers.get_mut(index).and_then(Option::as_mut) {
            let count = match peer.socket.read(&mut buffer) {
                Ok(count) if count > 0 => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Ok(_) | Err(_) => {
                    self.close(index);
                    break;
                }
            };
            if self.requests(index, &buffer[..count]).is_err() {
                self.close(index);
            }
            // A short read has emptied the socket, unless the end stands behind it.
            if count < buffer.len() && !read_closed {
                break;
            }
        }
        self.buffer = buffer;
    }

    fn close(&mut self, index: usize) {
        if self.peers[index].take().is_some() {
            self.free.push(index);
        }
    }

    /// Answers the requests that are whole with `bytes`.
    fn requests(&mut self, index: usize, bytes: &[u8]) -> io::Result<()> {
        let Some(peer) = &mut self.peers[index] else { return Ok(()) };
        let mut held = std::mem::take(&mut peer.tail);
        let mut rest = if held.is_empty() {
            bytes
        } else {
            held.extend_from_slice(bytes);
            &held[..]
        };
        while let Some(consumed) = self.request(index, rest)? {
            rest = &rest[consumed..];
        }
        if let Some(peer) = self.peers[index].as_mut().filter(|_| !rest.is_empty()) {
            peer.tail = rest.to_vec();
        }
        Ok(())
    }

    /// Answers the first request if it is whole; gives the bytes that it took.
    fn request(&mut self, index: usize, bytes: &[u8]) -> io::Result<Option<usize>> {
        let Some(peer) = &mut self.peers[index] else { return Ok(None) };
        if peer.form == Form::Frames {
            let mut message = std::mem::take(&mut self.message);
            let consumed = socket::unframe(bytes, &mut message)?;
            if consumed.is_some() {
                self.answer(index, &message)?;
            }
            self.message = message;
            return Ok(consumed);
        }
        if bytes.starts_with(b"GET ") {
            let Some(head) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
            if memmem::find(&bytes[..head], b"text/event-stream").is_some() {
                (peer.form, peer.parked) = (Form::Events, true);
                write(&mut peer.socket, &self.canned.events)?;
                self.pay(index)?;
            } else {
                peer.form = Form::Frames;
                write(&mut peer.socket, &socket::upgrade(&bytes[..head])?)?;
            }
            return Ok(Some(head + 4));
        }
        let Some((body, consumed)) = bytes::request(bytes)? else { return Ok(None) };
        self.answer(index, body)?;
        Ok(Some(consumed))
    }

    fn answer(&mut self, index: usize, body: &[u8]) -> io::Result<()> {
        let Some(peer) = &mut self.peers[index] else { return Ok(()) };
        let canned = if peer.form == Form::Frames { &self.canned_frames } else { &self.canned };
        match bytes::kind(body) {
            Kind::Connect if !std::mem::replace(&mut peer.joined, true) => {
                let aside = !peer.subscribed && memmem::find(body, br#""eventsource""#).is_some();
                write(&mut peer.socket, if aside { &canned.aside } else { &canned.connect })
            }
            // Its events do not wait for it.
            Kind::Connect if peer.form == Form::Frames => Ok(()),
            Kind::Connect => {
                peer.parked = true;
                // Nobody asks this of the one connect that stays for as long as its stream.
                if peer.form == Form::Polling && memmem::find(body, br#""streaming""#).is_some() {
                    peer.form = Form::Lines;
                    write(&mut peer.socket, &canned.stream)?;
                }
                self.pay(index)
            }
            Kind::Handshake => write(&mut peer.socket, &canned.handshake),
            Kind::Confirm => write(&mut peer.socket, &canned.confirmed),
            Kind::Subscribe => self.subscribe(index, body),
            Kind::Publish => self.publish(index, body),
        }
    }

    fn subscribe(&mut self, index: usize, body: &[u8]) -> io::Result<()> {
        let Some(peer) = &mut self.peers[index] else { return Ok(()) };
        peer.subscribed = true;
        // Its events do not wait for a connect.
        peer.parked |= peer.form == Form::Frames;
        let mut count = 0;
        for name in bytes::subscriptions(body) {
            count += 1;
            match self.subscribers.get_mut(name) {
                Some(places) => places.push((index, peer.serial)),
                None => drop(self.subscribers.insert(name.into(), vec![(index, peer.serial)])),
            }
        }
        let answers = self.subscribed.entry(count).or_insert_with(|| {
            let text = bytes::subscribed(count);
            [Form::Polling, Form::Frames].map(|form| form.reply(&text))
        });
        write(&mut peer.socket, &answers[usize::from(peer.form == Form::Frames)])
    }

    /// Makes the bytes once in each form, writes them to all who wait, and answers.
    fn publish(&mut self, index: usize, body: &[u8]) -> io::Result<()> {
        let (channel, events, count) = bytes::events(body).ok_or(ErrorKind::InvalidData)?;
        let mut made: [Option<Vec<u8>>; Form::ALL.len()] = Default::default();
        let events: Rc<str> = events.into();
        let mut places = self.subscribers.get_mut(channel.as_bytes()).map(std::mem::take).unwrap_or_default();
        places.retain(|(place, serial)| {
            let Some(peer) = self.peers[*place].as_mut().filter(|peer| peer.serial == *serial) else { return false };
            if !peer.parked {
                if peer.owed.len() < OWED_MAX {
                    peer.owed.push(Rc::clone(&events));
                }
                return true;
            }
            peer.parked = peer.form != Form::Polling;
            let dropped = drops(&mut self.delivered, self.drop_every);
            let written = if !dropped {
                let bytes = made[peer.form as usize].get_or_insert_with(|| peer.form.deliver(&events));
                write(&mut peer.socket, bytes)
            } else if peer.form == Form::Polling {
                write(&mut peer.socket, &self.canned.connect)
            } else {
                Ok(())
            };
            if written.is_err() {
                self.peers[*place] = None;
                self.free.push(*place);
            }
            written.is_ok()
        });
        if let Some(kept) = self.subscribers.get_mut(channel.as_bytes()) {
            *kept = places;
        }
        let Some(peer) = &mut self.peers[index] else { return Ok(()) };
        write(&mut peer.socket, &peer.form.reply(&bytes::published(channel, count)))
    }

    /// Gives a peer that has become ready what it is owed.
    fn pay(&mut self, index: usize) -> io::Result<()> {
        let Some(peer) = self.peers[index].as_mut().filter(|peer| !peer.owed.is_empty()) else { return Ok(()) };
        let mut events = std::mem::take(&mut peer.owed);
        events.retain(|_| !drops(&mut self.delivered, self.drop_every));
        peer.parked = peer.form != Form::Polling;
        match (events.is_empty(), peer.form) {
            (false, form) => write(&mut peer.socket, &form.deliver(&events.join(","))),
            (true, Form::Polling) => write(&mut peer.socket, &self.canned.connect),
            (true, _) => Ok(()),
        }
    }
}

/// Counts a delivery; whether it is to be lost.
fn drops(delivered: &mut u64, every: Option<u64>) -> bool {
    *delivered += 1;
    every.is_some_and(|every| delivered.is_multiple_of(every))
}

/// Listens with a queue for more newcomers than the default, which a ramp overflows.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Writes all. A socket that is full is an error: who polls has no more than one answer on its way, and a stream that
/// does not keep up is lost.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    match socket.write(bytes) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err(ErrorKind::WriteZero.into()),
        Err(error) => Err(error),
    }
}
