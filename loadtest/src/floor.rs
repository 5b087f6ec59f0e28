//! Owns `floor`: the least that a server on one thread can spend on the traffic of `fanout`, to hold a real server
//! against.
//!
//! It reads and writes as a server must, one read for each request and one write for each answer, and does nothing
//! else: requests are found by the end of their head and their Content-Length, their kind by a search for the channel's
//! name, the answers are bytes made beforehand. No JSON, no sessions, no timers. On a WebSocket it writes one frame for
//! each event, and a connect but the first gets no answer. It serves this program's clients only: it counts on their
//! spelling of a request, on `data` being the last field of a publish and on the ids in [`crate::bayeux`].
//!
//! A further transport is a further [`Canned`], and a place in `requests` and `deliver`.

mod socket;

use crate::args;
use crate::bayeux::{CONNECT_ID, HANDSHAKE_ID, PUBLISH_ID, SUBSCRIBE_ID, Transport};
use encke::ws::frame::Opcode;
use encke::ws::write::Frame;
use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

const LISTENING: Token = Token(usize::MAX - 1);
const EVENTS_PER_TURN: usize = 1024;
const READ_BYTES: usize = 64 * 1024;
/// Bytes of a request that has not come whole.
const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Responses that are kept for those who were not polling when they were made.
const KEPT_MAX: usize = 1024;
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
    /// The part of a request that came without its end.
    tail: Vec<u8>,
    /// Whether it is a WebSocket.
    framed: bool,
    subscribed: bool,
    joined: bool,
    parked: bool,
    /// The serial of the next event it is owed.
    next: u64,
}

/// The answers that never change.
#[derive(Debug)]
struct Canned {
    handshake: Vec<u8>,
    subscribe: Vec<u8>,
    connect: Vec<u8>,
}

impl Canned {
    fn new(transport: Transport, wrap: impl Fn(&str) -> Vec<u8>) -> Self {
        Self {
            handshake: wrap(&format!(
                "[{{{},{}}}]",
                handshake_fields(transport),
                r#""advice":{"reconnect":"retry","interval":0,"timeout":30000}"#
            )),
            subscribe: wrap(&format!(r#"[{{"channel":"/meta/subscribe","id":{SUBSCRIBE_ID},"successful":true}}]"#)),
            connect: wrap(&format!("[{}]", connect_reply())),
        }
    }
}

#[derive(Debug)]
struct Floor {
    poll: Poll,
    listener: TcpListener,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    canned: Canned,
    /// The same for WebSockets.
    canned_frames: Canned,
    /// The latest events as responses; the last has the serial `published - 1`.
    kept: VecDeque<Vec<u8>>,
    published: u64,
    drop_every: Option<u64>,
    delivered: u64,
    buffer: Vec<u8>,
    /// The message of a frame.
    message: Vec<u8>,
}

/// What a request asks for, by the one thing that is looked for in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Connect,
    Handshake,
    Subscribe,
    Publish,
}

impl Floor {
    fn new(args: &args::Floor) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = listen(args.listen)?;
        poll.registry().register(&mut listener, LISTENING, Interest::READABLE)?;
        let canned = Canned::new(Transport::LongPolling, response);
        let canned_frames = Canned::new(Transport::WebSocket, frame);
        let (kept, buffer) = (VecDeque::new(), vec![0; READ_BYTES]);
        let drop_every = args.drop_every;
        Ok(Self {
            poll,
            listener,
            peers: Vec::new(),
            free: Vec::new(),
            canned,
            canned_frames,
            kept,
            published: 0,
            drop_every,
            delivered: 0,
            buffer,
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
            let (tail, next) = (Vec::new(), self.published);
            let (framed, subscribed, joined, parked) = (false, false, false, false);
            self.peers[index] = Some(Peer { socket, tail, framed, subscribed, joined, parked, next });
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
        if peer.framed {
            let mut message = std::mem::take(&mut self.message);
            let consumed = socket::unframe(bytes, &mut message)?;
            if consumed.is_some() {
                self.answer(index, &message)?;
            }
            self.message = message;
            return Ok(consumed);
        }
        if bytes.starts_with(b"GET ") {
            let Some((answer, consumed)) = socket::upgrade(bytes)? else { return Ok(None) };
            peer.framed = true;
            write(&mut peer.socket, &answer)?;
            return Ok(Some(consumed));
        }
        let Some((body, consumed)) = request(bytes)? else { return Ok(None) };
        self.answer(index, body)?;
        Ok(Some(consumed))
    }

    fn answer(&mut self, index: usize, body: &[u8]) -> io::Result<()> {
        let Some(peer) = &mut self.peers[index] else { return Ok(()) };
        let canned = if peer.framed { &self.canned_frames } else { &self.canned };
        match kind(body) {
            Kind::Connect if !std::mem::replace(&mut peer.joined, true) => write(&mut peer.socket, &canned.connect),
            // Its events do not wait for it.
            Kind::Connect if peer.framed => Ok(()),
            Kind::Connect => {
                peer.parked = true;
                self.deliver(index)
            }
            Kind::Handshake => write(&mut peer.socket, &canned.handshake),
            Kind::Subscribe => {
                (peer.subscribed, peer.next) = (true, self.published);
                write(&mut peer.socket, &canned.subscribe)
            }
            Kind::Publish => {
                let ack = self.publish(body)?;
                match &mut self.peers[index] {
                    Some(peer) => write(&mut peer.socket, &ack),
                    None => Ok(()),
                }
            }
        }
    }

    /// Makes the one response and the one frame, and writes them to all who wait; gives the publisher's answer.
    fn publish(&mut self, body: &[u8]) -> io::Result<Vec<u8>> {
        let (channel, event) = event(body).ok_or(ErrorKind::InvalidData)?;
        let ack = response(&format!(r#"[{{{channel},"id":{PUBLISH_ID},"successful":true}}]"#));
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(response(&format!("[{event},{}]", connect_reply())));
        self.published += 1;
        let frame = frame(&format!("[{event}]"));
        for index in 0..self.peers.len() {
            if self.push(index, &frame).and_then(|()| self.deliver(index)).is_err() {
                self.close(index);
            }
        }
        Ok(ack)
    }

    /// Writes an event to a subscriber with a WebSocket.
    fn push(&mut self, index: usize, frame: &[u8]) -> io::Result<()> {
        let Some(peer) = self.peers[index].as_mut().filter(|peer| peer.framed && peer.subscribed) else {
            return Ok(());
        };
        self.delivered += 1;
        if self.drop_every.is_some_and(|every| self.delivered.is_multiple_of(every)) {
            return Ok(());
        }
        write(&mut peer.socket, frame)
    }

    /// Ends a subscriber's poll with the next event it is owed, if there is one.
    fn deliver(&mut self, index: usize) -> io::Result<()> {
        let Some(peer) = self.peers[index].as_mut().filter(|peer| peer.parked && peer.subscribed) else {
            return Ok(());
        };
        // What is no longer kept is lost to whoever was that slow.
        peer.next = peer.next.max(self.published - self.kept.len() as u64);
        if peer.next == self.published {
            return Ok(());
        }
        let at = self.kept.len() - (self.published - peer.next) as usize;
        peer.next += 1;
        peer.parked = false;
        self.delivered += 1;
        let dropped = self.drop_every.is_some_and(|every| self.delivered.is_multiple_of(every));
        write(&mut peer.socket, if dropped { &self.canned.connect } else { &self.kept[at] })
    }
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

/// The body of the first whole request, and the bytes that it took.
fn request(bytes: &[u8]) -> io::Result<Option<(&[u8], usize)>> {
    const LENGTH: &[u8] = b"Content-Length: ";
    let Some(head) = memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > REQUEST_BYTES_MAX { Err(ErrorKind::InvalidData.into()) } else { Ok(None) };
    };
    let at = memmem::find(&bytes[..head], LENGTH).ok_or(ErrorKind::InvalidData)? + LENGTH.len();
    let digits = bytes[at..head].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0_usize, |sum, digit| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
    if length > REQUEST_BYTES_MAX {
        return Err(ErrorKind::InvalidData.into());
    }
    let (start, end) = (head + 4, head + 4 + length);
    Ok(bytes.get(start..end).map(|body| (body, end)))
}

fn kind(body: &[u8]) -> Kind {
    // What asks most is asked first.
    for (name, kind) in [(r#""/meta/connect""#, Kind::Connect), (r#""/meta/handshake""#, Kind::Handshake)] {
        if memmem::find(body, name.as_bytes()).is_some() {
            return kind;
        }
    }
    if memmem::find(body, br#""/meta/subscribe""#).is_some() { Kind::Subscribe } else { Kind::Publish }
}

/// Of a publish: its channel field, and the event made of that and its data.
fn event(body: &[u8]) -> Option<(&str, String)> {
    let body = std::str::from_utf8(body).ok()?;
    let fields = body.strip_prefix("[{")?.strip_suffix("}]")?;
    let channel = &fields[..fields.find(r#"","#)? + 1];
    let data = &fields[fields.find(r#""data":"#)?..];
    Some((channel, format!("{{{channel},{data}}}")))
}

fn handshake_fields(transport: Transport) -> String {
    let more = format!(r#""version":"1.0","supportedConnectionTypes":["{}"]"#, transport.name());
    format!(r#""channel":"/meta/handshake","id":{HANDSHAKE_ID},"successful":true,"clientId":"floor",{more}"#)
}

fn connect_reply() -> String {
    format!(r#"{{"channel":"/meta/connect","id":{CONNECT_ID},"successful":true}}"#)
}

/// A response with the fields that a real server sends. The date is as long as a true one.
fn response(body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: application/json;charset=UTF-8\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A message of a WebSocket.
fn frame(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    Frame::whole(Opcode::Text).write(&mut out, text.as_bytes());
    out
}

/// Writes all. A socket that is full is an error: who polls has no more than one answer on its way, and a WebSocket that
/// does not keep up is lost.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    match socket.write(bytes) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err(ErrorKind::WriteZero.into()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayeux;
    use crate::event::{Batch, Event};

    #[test]
    fn requests_are_found_when_whole() {
        let bytes = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcPOST";
        for end in 0..bytes.len() - 4 {
            assert_eq!(request(&bytes[..end]).unwrap(), None, "cut at {end}");
        }
        assert_eq!(request(bytes).unwrap(), Some((&b"abc"[..], bytes.len() - 4)));
        assert!(request(b"GET / HTTP/1.1\r\n\r\n").is_err());
    }

    #[test]
    fn kinds_of_our_own_requests() {
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            out
        };
        let transport = Transport::WebSocket;
        assert_eq!(kind(&written(&|out| bayeux::write_handshake(out, transport, false))), Kind::Handshake);
        let subscribe = written(&|out| bayeux::write_subscribes(out, r#""c""#, ["/load"].into_iter()));
        assert_eq!(kind(&subscribe), Kind::Subscribe);
        assert_eq!(kind(&written(&|out| bayeux::write_connect(out, r#""c""#, transport, false, None))), Kind::Connect);
        let first = Event { run: 1, flow: 0, seq: 2, sent_us: 3 };
        let batch = Batch { first, count: 1, size: 0 };
        let publish = written(&|out| bayeux::write_publish(out, r#""c""#, "/a/b", batch));
        assert_eq!(kind(&publish), Kind::Publish);
        let (channel, event) = event(&publish).unwrap();
        assert_eq!(channel, r#""channel":"/a/b""#);
        assert_eq!(event, r#"{"channel":"/a/b","data":{"e":[1,0,2,3]}}"#);
    }
}
