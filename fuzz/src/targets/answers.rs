//! What a server writes on one connection, as a strict client reads it.
//!
//! Owns what a well-formed answer is. An answer may be cut off anywhere, for connections break.

use encke::http::body::ChunkedDecoder;
use encke::limits::Limits;
use encke::ws::deflate::Inflater;
use encke::ws::frame::{Decoder, Incoming, Role, Rules};
use serde_json::Value;

/// The header fields that the server writes. None of them is named by a client.
const FIELDS: [&str; 26] = [
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Origin",
    "Access-Control-Max-Age",
    "Allow",
    "Cache-Control",
    "Connection",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Length",
    "Content-Security-Policy",
    "Content-Type",
    "Date",
    "ETag",
    "Retry-After",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Version",
    "Set-Cookie",
    "Transfer-Encoding",
    "Upgrade",
    "Vary",
    "WWW-Authenticate",
    "X-Accel-Buffering",
    "X-Content-Type-Options",
];

/// Looks at everything that was written on a connection; with `heads`, lengths may be those of bodies that did not go.
pub(crate) fn check(bytes: &[u8], heads: bool) {
    let mut rest = bytes;
    let mut last = false;
    while let Some((head, after)) = take_head(rest) {
        assert!(!last, "an answer behind the last one: {}", rest.escape_ascii());
        let head = Head::parse(head);
        // Who is told to upgrade reads `Connection` twice.
        last = head.fields.contains(&("Connection", "close"));
        rest = match head.status {
            100 => after,
            101 => return check_frames(after, head.field("Sec-WebSocket-Extensions").is_some()),
            204 | 304 => after,
            _ if heads => return,
            _ => match head.body(after) {
                Some(after) => after,
                None => return,
            },
        };
    }
    assert!(b"HTTP/1.1 ".starts_with(&rest[..rest.len().min(9)]), "no answer: {}", rest.escape_ascii());
}

/// A head without its empty line, and what follows it; `None` if it is not all there.
fn take_head(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = core::str::from_utf8(&bytes[..end]).expect("a head is text");
    Some((head, &bytes[end + 4..]))
}

struct Head<'b> {
    status: u16,
    fields: Vec<(&'b str, &'b str)>,
}

impl<'b> Head<'b> {
    fn parse(text: &'b str) -> Self {
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status =
            first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..4)).and_then(|code| code.trim().parse().ok());
        let fields: Vec<(&str, &str)> = lines.map(|line| line.split_once(": ").expect("a field has a colon")).collect();
        for (name, value) in &fields {
            assert!(FIELDS.contains(name), "a field that is none of ours: {name:?}");
            assert!(value.chars().all(|it| !it.is_control()), "a control in {name}: {value:?}");
        }
        Self { status: status.unwrap_or_else(|| panic!("no status: {first:?}")), fields }
    }

    /// The value of the only field of this name.
    fn field(&self, name: &str) -> Option<&'b str> {
        let mut values = self.fields.iter().filter(|(own, _)| *own == name).map(|(_, value)| *value);
        let value = values.next();
        assert_eq!(values.next(), None, "{name} stands twice");
        value
    }

    /// Looks at a body; what follows it, or `None` if it is not all there or ends with the connection.
    fn body(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let json = self.field("Content-Type").is_some_and(|it| it.starts_with("application/json"));
        if let Some(length) = self.field("Content-Length") {
            let length: usize = length.parse().expect("a length is a number");
            let body = bytes.get(..length)?;
            if json {
                check_json(body);
            }
            return bytes.get(length..);
        }
        self.field("Transfer-Encoding")?;
        let limits = Limits { body_bytes: usize::MAX, ..Limits::default() };
        let mut body = Vec::new();
        let chunked = ChunkedDecoder::default().decode(bytes, &mut body, &limits).expect("chunks are well formed");
        if json {
            let whole = body.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            body[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).for_each(check_json);
        }
        if chunked.done { bytes.get(chunked.consumed..) } else { None }
    }
}

/// Frames of a server, the last of which may be cut off.
fn check_frames(mut bytes: &[u8], deflate: bool) {
    let limits = Limits { body_bytes: usize::MAX, inflate_ratio: usize::MAX, ..Limits::default() };
    let rules = Rules { role: Role::Client, deflate, limits: &limits };
    let mut decoder = Decoder::default();
    let mut over = false;
    while !bytes.is_empty() {
        assert!(!over, "something behind a Close: {}", bytes.escape_ascii());
        let (used, incoming) = decoder.next(bytes, &rules).expect("frames are well formed");
        bytes = &bytes[used..];
        let opened = incoming.map(|incoming| Inflater::default().open(incoming, &limits).expect("it can be opened"));
        match opened {
            Some(Incoming::Text(text)) => check_json(&text),
            Some(Incoming::Close { .. }) => over = true,
            Some(Incoming::Binary(_) | Incoming::Deflated { .. }) => panic!("the server sends texts"),
            Some(Incoming::Ping(_) | Incoming::Pong(_)) | None => {}
        }
    }
}

fn check_json(text: &[u8]) {
    // Numbers that are too large for others stay as they were written.
    if let Err(error) = serde_json::from_slice::<Value>(text) {
        assert!(error.to_string().starts_with("number out of range"), "{error}: {}", text.escape_ascii());
    }
}
