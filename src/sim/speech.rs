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

    /// Whether the server says that it will close the connection.
    pub(crate) fn closes(&self) -> bool {
        self.fields.get("connection").is_some_and(|value| value == "close")
    }
}

/// Takes responses off the front of what has come.
#[derive(Debug, Default)]
pub(crate) struct Responses {
    bytes: Vec<u8>,
}

impl Responses {
    /// More bytes have come.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether a response has begun and not ended.
    pub(crate) fn is_amid(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The next whole response.
    pub(crate) fn next(&mut self) -> Option<Response> {
        let end = self.bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = core::str::from_utf8(&self.bytes[..end]).expect("a response head is ASCII");
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
        assert!(fields.contains_key("date"), "a response has a date: {head:?}");
        let length: usize = match fields.get("content-length") {
            Some(length) => length.parse().expect("a length in digits"),
            None => panic!("a response without a length: {head:?}"),
        };
        let size = end + 4 + length;
        if self.bytes.len() < size {
            return None;
        }
        let body = self.bytes[end + 4..size].to_vec();
        self.bytes.drain(..size);
        Some(Response { status, fields, body, size })
    }
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
        Some(Advice { reconnect, interval, timeout })
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
            found.extend(core::iter::from_fn(|| responses.next()).map(|response| (response.status, response.body)));
        }
        assert_eq!(found, [(200, b"[]".to_vec()), (500, Vec::new())]);
        assert!(!responses.is_amid());
    }
}
