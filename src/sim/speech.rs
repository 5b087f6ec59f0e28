//! How model clients speak: HTTP requests, their own reader of HTTP responses, and Bayeux messages.
//!
//! Owns nothing of the server's code, so that a mistake there does not cancel out here. What is not well formed panics.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// One HTTP response.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Header fields by their names in lower case.
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// Bytes that it took on the wire.
    pub(crate) size: usize,
}

impl Response {
    /// The browser cookie that it sets.
    pub(crate) fn cookie(&self) -> Option<&str> {
        self.fields.get("set-cookie")?.split(';').next()
    }

    /// When to try again, ms, as far as it says so.
    pub(crate) fn retry_after_ms(&self) -> u64 {
        let seconds = self.fields.get("retry-after").expect("who is sent away for now is told until when");
        seconds.parse::<u64>().expect("a number") * 1_000
    }

    /// Whether the server says that it will close the connection.
    pub(crate) fn closes(&self) -> bool {
        self.fields.get("connection").is_some_and(|value| value == "close")
    }
}

/// A part of what comes on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// A response with all of its body.
    Whole(Response),
    /// The head of one that goes on in chunks.
    Begun(Response),
    /// One chunk, and the bytes that it took on the wire.
    Chunk(Vec<u8>, usize),
    /// The end of the chunks, and the bytes that it took.
    Over(usize),
}

/// Takes responses off the front of what has come.
#[derive(Debug, Default)]
pub(crate) struct Responses {
    bytes: Vec<u8>,
    /// The head of a response in chunks has been taken, and not yet its end.
    open: bool,
    /// A proxy on the way passes a response on when it is complete, and not before.
    behind_proxy: bool,
}

impl Responses {
    /// Nothing has come.
    pub(crate) fn new(behind_proxy: bool) -> Self {
        Self { behind_proxy, ..Self::default() }
    }

    /// More bytes have come.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether a response has begun and not ended.
    pub(crate) fn is_amid(&self) -> bool {
        !self.bytes.is_empty() || self.open
    }

    /// All that has come and is not a response.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.bytes)
    }

    /// The next whole response, where no other kind comes.
    #[cfg(test)]
    pub(crate) fn whole(&mut self) -> Option<Response> {
        match self.next()? {
            Part::Whole(response) => Some(response),
            part => panic!("not a whole response: {part:?}"),
        }
    }

    /// The next part.
    pub(crate) fn next(&mut self) -> Option<Part> {
        if self.open {
            let (chunk, size) = chunk(&self.bytes)?;
            let chunk = chunk.to_vec();
            self.bytes.drain(..size);
            self.open = !chunk.is_empty();
            return Some(if self.open { Part::Chunk(chunk, size) } else { Part::Over(size) });
        }
        let (response, chunked) = head(&self.bytes)?;
        let start = response.size;
        if chunked {
            if self.behind_proxy && !is_complete(&self.bytes[start..]) {
                return None;
            }
            self.bytes.drain(..start);
            self.open = true;
            return Some(Part::Begun(response));
        }
        let length = match (response.status, response.fields.get("content-length")) {
            (101, None) => 0,
            (_, Some(length)) => length.parse().expect("a length in digits"),
            _ => panic!("a response without a length: {response:?}"),
        };
        let size = start + length;
        if self.bytes.len() < size {
            return None;
        }
        let body = self.bytes[start..size].to_vec();
        self.bytes.drain(..size);
        Some(Part::Whole(Response { body, size, ..response }))
    }
}

/// The head at the front, and whether chunks follow it.
fn head(bytes: &[u8]) -> Option<(Response, bool)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = core::str::from_utf8(&bytes[..end]).expect("a response head is ASCII");
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap();
    let status = start.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    let status: u16 = status.unwrap_or_else(|| panic!("not a status line: {start:?}"));
    let mut fields = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("not a header field: {line:?}"));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{line:?}");
        let twice = fields.insert(name.to_ascii_lowercase(), value.to_owned());
        assert!(twice.is_none(), "twice in one response: {line:?}");
    }
    // Who is not even listened to gets an answer that was written long ago.
    assert!(status == 503 || fields.contains_key("date"), "a response has a date: {head:?}");
    let chunked = fields.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    assert!(!(chunked && fields.contains_key("content-length")), "{head:?}");
    Some((Response { status, fields, body: Vec::new(), size: end + 4 }, chunked))
}

/// The chunk at the front, and its bytes on the wire; the last one is empty (RFC 9112 section 7.1).
fn chunk(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let line = bytes.windows(2).position(|two| two == b"\r\n")?;
    let size = core::str::from_utf8(&bytes[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
    let size = size.unwrap_or_else(|| panic!("not the size of a chunk: {}", bytes.escape_ascii()));
    let end = line + 2 + size;
    let after = bytes.get(end..end + 2)?;
    assert_eq!(after, b"\r\n", "a chunk is longer than its size: {}", bytes.escape_ascii());
    Some((&bytes[line + 2..end], end + 2))
}

/// Whether the last chunk is there.
fn is_complete(mut bytes: &[u8]) -> bool {
    while let Some((content, size)) = chunk(bytes) {
        if content.is_empty() {
            return true;
        }
        bytes = &bytes[size..];
    }
    false
}

/// Writes a request without a body; `fields` are whole lines.
pub(crate) fn get(out: &mut Vec<u8>, path: &str, cookie: Option<&str>, fields: &str) {
    out.extend_from_slice(format!("GET {path} HTTP/1.1\r\nHost: comet.example\r\n{fields}").as_bytes());
    if let Some(cookie) = cookie {
        out.extend_from_slice(format!("Cookie: other=1; {cookie}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the request that makes a connection a WebSocket.
pub(crate) fn upgrade(out: &mut Vec<u8>, cookie: Option<&str>) {
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    get(out, "/cometd", cookie, fields);
}

/// Writes a request that carries a batch.
pub(crate) fn post(out: &mut Vec<u8>, cookie: Option<&str>, body: &str, chunked: bool) {
    out.extend_from_slice(b"POST /cometd/ HTTP/1.1\r\nHost: comet.example\r\nContent-Type: application/json\r\n");
    if let Some(cookie) = cookie {
        out.extend_from_slice(format!("Cookie: other=1; {cookie}\r\n").as_bytes());
    }
    if chunked {
        let (one, two) = body.as_bytes().split_at(body.len() / 3);
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        for part in [one, two].into_iter().filter(|part| !part.is_empty()) {
            out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            out.extend_from_slice(part);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n\r\n");
    } else {
        out.extend_from_slice(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }
}

/// What a client is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    pub(crate) reconnect: String,
    pub(crate) interval: u64,
    pub(crate) timeout: u64,
    /// The connection type to go on with.
    pub(crate) fallback: Option<String>,
}

/// One message that has come.
#[derive(Debug)]
pub(crate) struct Incoming(BTreeMap<String, Box<RawValue>>);

impl Incoming {
    /// The messages of a response body.
    pub(crate) fn batch(body: &[u8]) -> Vec<Self> {
        let messages: Vec<BTreeMap<String, Box<RawValue>>> = serde_json::from_slice(body)
            .unwrap_or_else(|error| panic!("not an array of messages: {error}: {}", body.escape_ascii()));
        messages.into_iter().map(Self).collect()
    }

    /// A field as it stands in the text.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|raw| raw.get())
    }

    /// A field that is a string.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.raw(name)?).ok()
    }

    /// An entry of its `ext`, as it stands in the text.
    pub(crate) fn ext(&self, name: &str) -> Option<String> {
        let entries: BTreeMap<String, Box<RawValue>> = serde_json::from_str(self.raw("ext")?).expect("an object");
        entries.get(name).map(|raw| raw.get().to_owned())
    }

    /// A number of an entry of its `ext` that is a map of numbers.
    pub(crate) fn ext_of(&self, name: &str, key: &str) -> Option<i64> {
        let map: BTreeMap<String, i64> = serde_json::from_str(&self.ext(name)?).expect("a map of numbers");
        map.get(key).copied()
    }

    /// Whether it is a reply that says yes.
    pub(crate) fn is_successful(&self) -> bool {
        self.raw("successful") == Some("true")
    }

    /// Whether its error has this code.
    pub(crate) fn has_error(&self, code: &str) -> bool {
        self.text("error").is_some_and(|error| error.starts_with(code))
    }

    /// Its advice, which must be complete unless it says that there is nothing to come back for.
    pub(crate) fn advice(&self) -> Option<Advice> {
        let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(self.raw("advice")?).expect("an object");
        let reconnect: String =
            serde_json::from_str(fields.get("reconnect").expect("complete advice").get()).expect("a string");
        let number = |name: &str| -> u64 {
            match fields.get(name) {
                Some(number) => number.get().parse().expect("a number"),
                None if reconnect == "none" => 0,
                None => panic!("advice without {name}: {fields:?}"),
            }
        };
        let (interval, timeout) = (number("interval"), number("timeout"));
        let fallback = fields.get("connection-type").and_then(|name| serde_json::from_str(name.get()).ok());
        Some(Advice { reconnect, interval, timeout, fallback })
    }
}

#[test]
fn responses_are_read_at_every_split_point() {
    let text = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\n[]HTTP/1.1 500 No\r\nDate: x\r\nContent-Length: 0\r\n\r\n";
    for cut in 0..text.len() {
        let mut responses = Responses::default();
        let mut found = Vec::new();
        for part in [&text[..cut], &text[cut..]] {
            responses.push(part);
            found.extend(core::iter::from_fn(|| responses.whole()).map(|response| (response.status, response.body)));
        }
        assert_eq!(found, [(200, b"[]".to_vec()), (500, Vec::new())]);
        assert!(!responses.is_amid());
    }
}

#[test]
fn chunks_are_read_at_every_split_point_and_a_proxy_holds_them_back() {
    let text = b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n1\r\n\n\r\n0\r\n\r\n";
    for cut in 0..text.len() {
        let mut responses = Responses { behind_proxy: cut % 2 == 0, ..Responses::default() };
        let mut body = Vec::new();
        for part in [&text[..cut], &text[cut..]] {
            responses.push(part);
            while let Some(part) = responses.next() {
                match part {
                    Part::Chunk(bytes, _) => body.extend(bytes),
                    Part::Begun(_) | Part::Over(_) => {}
                    Part::Whole(response) => panic!("{response:?}"),
                }
            }
            assert!(body.is_empty() || !responses.behind_proxy || !responses.is_amid());
        }
        assert_eq!((body.as_slice(), responses.is_amid()), (&b"abc\n"[..], false));
    }
}
