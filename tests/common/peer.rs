//! A peer of the daemon on a raw socket, and the messages that it says.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// Far more than any single answer takes.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at something that is to happen.
pub const PAUSE: Duration = Duration::from_millis(20);
/// Looks before it is given up.
pub const LOOKS: u32 = 3_000;
/// Connects are held for so long that it is never the timeout that ends one.
pub const PATIENT: &[&str] = &["--timeout", "1h"];

/// Looks until something is there.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return found;
        }
        thread::sleep(PAUSE);
    }
    panic!("never: {what}");
}

/// A response as it came.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().filter_map(|line| line.split_once(": ")).find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }
}

/// One TCP connection to the daemon.
pub struct Peer {
    pub stream: TcpStream,
    /// Bytes that have come and belong to no response yet.
    bytes: Vec<u8>,
}

impl Peer {
    pub fn new(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        Self { stream, bytes: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads once; how many bytes came, 0 at the end.
    pub fn more(&mut self) -> usize {
        let mut part = [0; 16 * 1024];
        let n = self.read(&mut part).unwrap();
        self.bytes.extend_from_slice(&part[..n]);
        n
    }

    /// A child of the test that ends may interrupt a wait with a limit, even without a handler for that.
    fn read(&mut self, part: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(part) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// The head of the next response, with its empty line.
    pub fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                return String::from_utf8(self.bytes.drain(..at + 4).collect()).unwrap();
            }
            assert!(self.more() > 0, "the end, and no response: {:?}", String::from_utf8_lossy(&self.bytes));
        }
    }

    pub fn response(&mut self) -> Response {
        let head = self.head();
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|line| line.get(..3)).unwrap().parse().unwrap();
        let mut response = Response { status, head, body: String::new() };
        let length: usize = response.field("Content-Length").map_or(0, |digits| digits.parse().unwrap());
        while self.bytes.len() < length {
            assert!(self.more() > 0, "the end within a body");
        }
        response.body = String::from_utf8(self.bytes.drain(..length).collect()).unwrap();
        response
    }

    pub fn exchange(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        self.send(bytes);
        self.response()
    }

    /// Messages, and the replies to them.
    pub fn say(&mut self, messages: &Value) -> Value {
        self.exchange(post(messages)).json()
    }

    pub fn handshake(&mut self) -> String {
        let replies = self.say(&json!({"channel": "/meta/handshake", "supportedConnectionTypes": ["long-polling"]}));
        replies[0]["clientId"].as_str().unwrap().to_owned()
    }

    /// A session whose next connect is held.
    pub fn session(&mut self) -> String {
        let id = self.handshake();
        assert_eq!(self.say(&connect(&id))[0]["successful"], true);
        id
    }

    pub fn subscribe(&mut self, id: &str, subscription: &str) {
        let reply = self.say(&json!({"channel": "/meta/subscribe", "clientId": id, "subscription": subscription}));
        assert_eq!(reply[0]["successful"], true);
    }

    pub fn publish(&mut self, id: &str, channel: &str, data: impl Into<Value>) -> Value {
        self.say(&json!({"channel": channel, "clientId": id, "data": data.into()}))[0].clone()
    }

    /// Everything that still comes, to the end of the connection.
    pub fn rest(&mut self) -> String {
        while self.more() > 0 {}
        String::from_utf8(std::mem::take(&mut self.bytes)).unwrap()
    }

    /// Waits for the end of a connection, which may be a reset. Whether that is what came, and not a byte or nothing.
    pub fn breaks(&mut self) -> bool {
        match self.read(&mut [0; 64]) {
            Ok(n) => n == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

pub fn post_with(fields: &str, body: &str) -> String {
    format!(
        "POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn post(messages: &Value) -> String {
    post_with("", &messages.to_string())
}

pub fn connect(id: &str) -> Value {
    json!({"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling"})
}

/// A connect that is held for a moment at most.
pub fn glance(id: &str) -> Value {
    json!({"channel": "/meta/connect", "clientId": id, "advice": {"timeout": 1}})
}

pub fn connected() -> Value {
    json!({"channel": "/meta/connect", "successful": true})
}
