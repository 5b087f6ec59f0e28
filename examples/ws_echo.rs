//! An echo server over the WebSocket room alone: no sessions, no Bayeux. It is what `tests/autobahn` drives.
//!
//! `cargo run --example ws_echo --features deflate -- 127.0.0.1:9001`
//!
//! One loop over mio. A connection to which too much is unsent is not read.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::time::SystemTime;

use encke::limits::Limits;
use encke::ws::close::Fault;
#[cfg(feature = "deflate")]
use encke::ws::deflate::{Deflater, Inflater};
use encke::ws::frame::{Decoder, Incoming, Opcode, Role, Rules};
use encke::ws::handshake::{Terms, judge, write_response};
use encke::ws::write::{Frame, write_close, write_pong};
use encke::ws::{Head, HeadScan, HttpDate, HttpError};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(0);
/// Unsent bytes of a connection above which it is not read.
const OUTPUT_BYTES: usize = 1 << 20;

/// What all connections share.
#[derive(Default)]
struct Shared {
    limits: Limits,
    input: Vec<u8>,
    #[cfg(feature = "deflate")]
    deflater: Deflater,
    #[cfg(feature = "deflate")]
    inflater: Inflater,
}

enum Stage {
    Head(HeadScan, Vec<u8>),
    Open(Decoder, bool),
    /// Nothing is sent any more, and what still comes is ignored until the peer closes too.
    Closing,
}

struct Connection {
    stream: TcpStream,
    stage: Stage,
    output: Vec<u8>,
    written: usize,
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address.parse().map_err(io::Error::other)?)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on {}", listener.local_addr()?);
    let mut shared = Shared::default();
    shared.limits.body_bytes = 64 << 20;
    shared.input = vec![0; 64 << 10];
    let mut connections: HashMap<Token, Connection> = HashMap::new();
    let mut events = Events::with_capacity(64);
    let mut last = LISTENER.0;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    last += 1;
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(last), Interest::READABLE | Interest::WRITABLE)?;
                    let stage = Stage::Head(HeadScan::default(), Vec::new());
                    connections.insert(Token(last), Connection { stream, stage, output: Vec::new(), written: 0 });
                }
            } else if let Some(connection) = connections.get_mut(&event.token())
                && !connection.turn(&mut shared).unwrap_or(false)
            {
                connections.remove(&event.token());
            }
        }
    }
}

impl Connection {
    /// Reads and writes until the socket has no more to give and takes no more; false at the end of the connection.
    fn turn(&mut self, shared: &mut Shared) -> io::Result<bool> {
        while self.flush()? {
            let mut input = std::mem::take(&mut shared.input);
            let read = self.stream.read(&mut input);
            self.take(&input[..*read.as_ref().unwrap_or(&0)], shared);
            shared.input = input;
            match read {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Writes what waits; false if so much is left that reading should wait too.
    fn flush(&mut self) -> io::Result<bool> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(self.output.len() - self.written < OUTPUT_BYTES);
                }
                Err(error) => return Err(error),
            }
        }
        (self.output, self.written) = (Vec::new(), 0);
        if matches!(self.stage, Stage::Closing) {
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        Ok(true)
    }

    fn take(&mut self, data: &[u8], shared: &mut Shared) {
        match &mut self.stage {
            Stage::Head(scan, head) => {
                head.extend_from_slice(data);
                let Some(end) = scan.advance(head, &shared.limits).transpose() else { return };
                let bytes = std::mem::take(head);
                if let Err(HttpError { status, reason }) = end.and_then(|end| self.open(&bytes, end, shared)) {
                    let head = format!("HTTP/1.1 {} no\r\nConnection: close\r\n\r\n{reason}\n", status.code());
                    self.output.extend_from_slice(head.as_bytes());
                    self.stage = Stage::Closing;
                }
            }
            Stage::Open(decoder, deflate) => {
                let closed = frames(decoder, *deflate, data, &mut self.output, shared).unwrap_or_else(|fault| {
                    write_close(&mut self.output, Some(fault.code), fault.reason, None);
                    true
                });
                if closed {
                    self.stage = Stage::Closing;
                }
            }
            Stage::Closing => {}
        }
    }

    fn open(&mut self, bytes: &[u8], end: usize, shared: &mut Shared) -> Result<(), HttpError> {
        let accepted = judge(&Head::parse(&bytes[..end], &shared.limits)?, &Terms { protocols: &[], deflate: true })?;
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as u64;
        write_response(&mut self.output, &accepted, &HttpDate::from_unix_ms(now));
        self.stage = Stage::Open(Decoder::default(), accepted.deflate.is_some());
        self.take(&bytes[end..], shared);
        Ok(())
    }
}

/// Answers all frames there are; true after a Close.
fn frames(
    decoder: &mut Decoder,
    deflate: bool,
    data: &[u8],
    output: &mut Vec<u8>,
    shared: &mut Shared,
) -> Result<bool, Fault> {
    let mut rest = data;
    while !rest.is_empty() {
        let rules = Rules { role: Role::Server, deflate, limits: &shared.limits };
        let (used, incoming) = decoder.next(rest, &rules)?;
        rest = &rest[used..];
        #[cfg(feature = "deflate")]
        let incoming = incoming.map(|it| shared.inflater.open(it, &shared.limits)).transpose()?;
        match incoming {
            Some(Incoming::Text(text)) => shared.echo(Opcode::Text, &text, deflate, output),
            Some(Incoming::Binary(bytes)) => shared.echo(Opcode::Binary, &bytes, deflate, output),
            Some(Incoming::Ping(payload)) => write_pong(output, &payload, None),
            Some(Incoming::Close { code, .. }) => {
                write_close(output, code, "", None);
                return Ok(true);
            }
            Some(Incoming::Pong(_) | Incoming::Deflated { .. }) | None => {}
        }
    }
    Ok(false)
}

impl Shared {
    #[cfg_attr(not(feature = "deflate"), allow(unused_variables))]
    fn echo(&mut self, opcode: Opcode, payload: &[u8], deflate: bool, output: &mut Vec<u8>) {
        #[cfg(feature = "deflate")]
        if deflate {
            let mut compressed = Vec::new();
            self.deflater.compress(payload, &mut compressed);
            return Frame { deflated: true, ..Frame::whole(opcode) }.write(output, &compressed);
        }
        Frame::whole(opcode).write(output, payload);
    }
}
