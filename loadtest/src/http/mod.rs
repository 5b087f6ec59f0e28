//! Owns the client side of HTTP/1.1 framing: how a request is put into bytes, and how a response is cut out of the
//! bytes that came so far. Knows nothing of Bayeux and nothing of sockets.

mod stream;

pub(crate) use stream::{Piece, Responses};

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

/// Bytes of a response, head and body, that are held before it is given up.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Header fields of a response.
const HEADERS_MAX: usize = 64;
/// Bytes of one line that announces a chunk.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// What is the same in every request of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The `Host` field: what the URL said.
    pub(crate) host: String,
    /// The path of the Bayeux endpoint.
    pub(crate) path: String,
}

/// Appends a POST of `body`, which is JSON, to `out`.
pub(crate) fn write_post(out: &mut Vec<u8>, target: &Target, cookies: &Cookies, body: &[u8]) {
    for part in ["POST ", &target.path, " HTTP/1.1\r\nHost: ", &target.host, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"Content-Type: application/json;charset=UTF-8\r\n");
    cookies.write(out);
    // Writing to a vector does not fail.
    let _ = write!(out, "Content-Length: {}\r\n\r\n", body.len());
    out.extend_from_slice(body);
}

/// Appends a GET of an event stream to `out`, as Faye's client sends it: the session's id stands behind the path.
pub(crate) fn write_listen(out: &mut Vec<u8>, target: &Target, cookies: &Cookies, id: &str) {
    let path = target.path.trim_end_matches('/');
    for part in ["GET ", path, "/", id, " HTTP/1.1\r\nHost: ", &target.host, "\r\nAccept: text/event-stream\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    cookies.write(out);
    out.extend_from_slice(b"\r\n");
}

/// The cookies that a server gave one client. Every path and every lifetime is the endpoint's and the run's.
#[derive(Debug, Default)]
pub(crate) struct Cookies(Vec<(Box<str>, Box<str>)>);

impl Cookies {
    /// Takes the value of a `Set-Cookie` field. An empty value or `Max-Age=0` removes the cookie.
    pub(crate) fn set(&mut self, field: &str) {
        let mut parts = field.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let (name, value) = (name.trim(), value.trim());
        let removed = value.is_empty() || parts.any(|attribute| attribute.eq_ignore_ascii_case("max-age=0"));
        self.0.retain(|(known, _)| &**known != name);
        if !removed && !name.is_empty() {
            self.0.push((name.into(), value.into()));
        }
    }

    /// Appends the `Cookie` field, if there are any.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut separator: &[u8] = b"Cookie: ";
        for (name, value) in &self.0 {
            for part in [separator, name.as_bytes(), b"=", value.as_bytes()] {
                out.extend_from_slice(part);
            }
            separator = b"; ";
        }
        if !self.0.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Why bytes are no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HttpError {
    /// The head does not parse.
    Head(httparse::Error),
    /// Neither a length nor chunks, or a length that is no number.
    Length,
    /// A chunk is framed wrongly.
    Chunk,
    /// The response is larger than is held.
    TooLarge,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => write!(f, "bad response head: {error}"),
            Self::Length => f.write_str("a response with neither a valid Content-Length nor chunks"),
            Self::Chunk => f.write_str("bad chunk framing"),
            Self::TooLarge => write!(f, "a response of more than {RESPONSE_BYTES_MAX} bytes"),
        }
    }
}

/// One whole response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response<'a> {
    /// The status code.
    pub(crate) status: u16,
    /// The values of all `Set-Cookie` fields that are text.
    pub(crate) set_cookies: Vec<&'a str>,
    /// Whether the connection serves further requests.
    pub(crate) keep_alive: bool,
    /// The value of `Last-Modified`.
    pub(crate) last_modified: Option<&'a str>,
    /// The value of `Etag`.
    pub(crate) etag: Option<&'a str>,
    /// The body without its framing; borrowed unless it came in chunks.
    pub(crate) body: Cow<'a, [u8]>,
    /// The bytes that it took.
    pub(crate) consumed: usize,
}

/// How the end of a body is known.
enum Framing {
    Length(usize),
    Chunked,
}

/// Cuts a response off the front of `bytes`; `None` until it is whole. Informational responses (1xx) are skipped.
///
/// It starts over with every call, so nothing has to be kept but the bytes themselves; nearly always they come in one
/// piece.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Response<'_>>, HttpError> {
    let mut skipped = 0;
    loop {
        let Some(mut response) = parse_one(&bytes[skipped..])? else {
            return if bytes.len() > RESPONSE_BYTES_MAX { Err(HttpError::TooLarge) } else { Ok(None) };
        };
        response.consumed += skipped;
        if response.status >= 200 {
            return Ok(Some(response));
        }
        skipped = response.consumed;
    }
}

/// The head of a response.
struct Head<'a> {
    status: u16,
    set_cookies: Vec<&'a str>,
    keep_alive: bool,
    last_modified: Option<&'a str>,
    etag: Option<&'a str>,
    /// `None`: the body ends with the connection.
    framing: Option<Framing>,
    /// The bytes that it took.
    length: usize,
}

/// Reads a head; `None` until it is whole.
fn read_head(bytes: &[u8]) -> Result<Option<Head<'_>>, HttpError> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(bytes).map_err(HttpError::Head)? else { return Ok(None) };
    let status = head.code.unwrap_or(0);
    let mut framing = None;
    let mut keep_alive = head.version == Some(1);
    let mut set_cookies = Vec::new();
    let (mut last_modified, mut etag) = (None, None);
    for field in head.headers.iter() {
        let Ok(value) = std::str::from_utf8(field.value).map(str::trim) else { continue };
        if field.name.eq_ignore_ascii_case("content-length") && !matches!(framing, Some(Framing::Chunked)) {
            framing = Some(Framing::Length(parse_decimal(value).ok_or(HttpError::Length)?));
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Some(if value.eq_ignore_ascii_case("chunked") {
                Framing::Chunked
            } else {
                return Err(HttpError::Length);
            });
        } else if field.name.eq_ignore_ascii_case("connection") {
            keep_alive = has_token(value, "keep-alive") || (keep_alive && !has_token(value, "close"));
        } else if field.name.eq_ignore_ascii_case("set-cookie") {
            set_cookies.push(value);
        } else if field.name.eq_ignore_ascii_case("last-modified") {
            last_modified = Some(value);
        } else if field.name.eq_ignore_ascii_case("etag") {
            etag = Some(value);
        }
    }
    if status < 200 || status == 204 || status == 304 {
        framing = Some(Framing::Length(0));
    }
    Ok(Some(Head { status, set_cookies, keep_alive, last_modified, etag, framing, length }))
}

fn parse_one(bytes: &[u8]) -> Result<Option<Response<'_>>, HttpError> {
    let Some(head) = read_head(bytes)? else { return Ok(None) };
    let Head { status, set_cookies, keep_alive, last_modified, etag, framing, length: head_len } = head;
    let rest = &bytes[head_len..];
    let (body, body_len) = match framing.ok_or(HttpError::Length)? {
        Framing::Length(length) if length > RESPONSE_BYTES_MAX => return Err(HttpError::TooLarge),
        Framing::Length(length) if rest.len() < length => return Ok(None),
        Framing::Length(length) => (Cow::Borrowed(&rest[..length]), length),
        Framing::Chunked => match chunked(rest)? {
            Some((body, length)) => (Cow::Owned(body), length),
            None => return Ok(None),
        },
    };
    let consumed = head_len + body_len;
    Ok(Some(Response { status, set_cookies, keep_alive, last_modified, etag, body, consumed }))
}

/// The chunks of a body joined, and the bytes that they took with their framing and trailer; `None` until the last is
/// whole.
fn chunked(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, HttpError> {
    let mut pieces = Vec::new();
    let mut at = 0;
    loop {
        let Some((line, next)) = line(&bytes[at..])? else { return Ok(None) };
        at += next;
        let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let size = parse_hex(digits).ok_or(HttpError::Chunk)?;
        if size > RESPONSE_BYTES_MAX {
            return Err(HttpError::TooLarge);
        }
        if size == 0 {
            break;
        }
        let Some(ending) = bytes.get(at + size..at + size + 2) else { return Ok(None) };
        if ending != b"\r\n" {
            return Err(HttpError::Chunk);
        }
        pieces.push(&bytes[at..at + size]);
        at += size + 2;
    }
    // The trailer: fields that nobody reads, then an empty line.
    loop {
        let Some((line, next)) = line(&bytes[at..])? else { return Ok(None) };
        at += next;
        if line.is_empty() {
            return Ok(Some((pieces.concat(), at)));
        }
    }
}

/// The first line without its end, and the bytes that it took.
fn line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, HttpError> {
    match memchr::memchr(b'\n', bytes) {
        Some(at) if at > 0 && bytes[at - 1] == b'\r' => Ok(Some((&bytes[..at - 1], at + 1))),
        Some(_) => Err(HttpError::Chunk),
        None if bytes.len() > CHUNK_LINE_BYTES_MAX => Err(HttpError::Chunk),
        None => Ok(None),
    }
}

fn has_token(value: &str, token: &str) -> bool {
    value.split(',').any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// Digits only: `from_str` of a number would take a sign too.
fn parse_decimal(text: &str) -> Option<usize> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

fn parse_hex(digits: &[u8]) -> Option<usize> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok()?;
    if plain { usize::from_str_radix(text, 16).ok() } else { None }
}

/// The bytes of a connection that do not make a whole response yet.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    tail: Vec<u8>,
}

impl Reassembly {
    /// Adds `bytes` and hands each whole response to `each`; what is left over is kept. `each` may end it with an
    /// error.
    pub(crate) fn feed<E: From<HttpError>>(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Response<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut held = std::mem::take(&mut self.tail);
        // The usual case, a whole response in one read, is parsed where it lies.
        let mut rest = if held.is_empty() {
            bytes
        } else {
            held.extend_from_slice(bytes);
            &held[..]
        };
        while !rest.is_empty() {
            let Some(response) = parse(rest)? else { break };
            rest = &rest[response.consumed..];
            each(response)?;
        }
        if !rest.is_empty() {
            self.tail = rest.to_vec();
        }
        Ok(())
    }

    /// Forgets what was left over: the connection is a new one.
    pub(crate) fn reset(&mut self) {
        self.tail = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: BAYEUX_BROWSER=abc; Path=/; HttpOnly\r\n\
        set-cookie: route=7\r\nContent-Length: 4\r\n\r\n[{}]";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
        3;name=value\r\n[{\"\r\n0A\r\nabcdefghij\r\n1\r\n]\r\n0\r\nTrailer: x\r\n\r\n";
    const CONTINUED: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";

    fn collect(pieces: &[&[u8]]) -> Vec<(u16, Vec<u8>, bool)> {
        let mut reassembly = Reassembly::default();
        let mut seen = Vec::new();
        for piece in pieces {
            reassembly
                .feed::<HttpError>(piece, |response| {
                    seen.push((response.status, response.body.to_vec(), response.keep_alive));
                    Ok(())
                })
                .unwrap();
        }
        assert!(reassembly.tail.is_empty(), "bytes are left over");
        seen
    }

    #[test]
    fn every_split_point_gives_the_same_responses() {
        let all = [PLAIN, CHUNKED, CONTINUED, PLAIN].concat();
        let whole = collect(&[&all]);
        assert_eq!(
            whole,
            [
                (200, b"[{}]".to_vec(), true),
                (200, b"[{\"abcdefghij]".to_vec(), false),
                (204, Vec::new(), true),
                (200, b"[{}]".to_vec(), true)
            ]
        );
        for split in 0..=all.len() {
            assert_eq!(collect(&[&all[..split], &all[split..]]), whole, "split at {split}");
        }
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        assert_eq!(collect(&bytes), whole, "byte by byte");
    }

    #[test]
    fn a_part_is_not_a_response() {
        for whole in [PLAIN, CHUNKED, CONTINUED] {
            for end in 0..whole.len() {
                assert_eq!(parse(&whole[..end]), Ok(None), "cut at {end}");
            }
            assert_eq!(parse(whole).unwrap().unwrap().consumed, whole.len());
        }
    }

    #[test]
    fn framing_errors_are_told_apart() {
        let case = |bytes: &'static [u8]| parse(bytes).unwrap_err();
        assert!(matches!(case(b"SMTP ready\r\n"), HttpError::Head(_)));
        assert_eq!(case(b"HTTP/1.1 200 OK\r\n\r\n"), HttpError::Length);
        assert_eq!(case(b"HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\n"), HttpError::Length);
        assert_eq!(case(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), HttpError::TooLarge);
        assert_eq!(case(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"), HttpError::Length);
        assert_eq!(case(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), HttpError::Chunk);
        assert_eq!(case(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc"), HttpError::Chunk);
    }

    #[test]
    fn cookies_are_kept_replaced_and_removed() {
        let target = Target { host: "h:1".into(), path: "/cometd".into() };
        let mut cookies = Cookies::default();
        for field in [
            "BAYEUX_BROWSER=abc; Path=/; HttpOnly",
            "route = 7",
            "no pair",
            "gone=1",
            "route=8; Secure",
            "gone=1; Max-Age=0",
        ] {
            cookies.set(field);
        }
        let mut out = Vec::new();
        write_post(&mut out, &target, &cookies, b"[]");
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("POST /cometd HTTP/1.1\r\nHost: h:1\r\n"), "{text}");
        assert!(text.contains("\r\nCookie: BAYEUX_BROWSER=abc; route=8\r\n"), "{text}");
        assert!(text.ends_with("\r\nContent-Length: 2\r\n\r\n[]"), "{text}");
    }

    #[test]
    fn set_cookies_of_a_response() {
        let response = parse(PLAIN).unwrap().unwrap();
        assert_eq!(response.set_cookies, ["BAYEUX_BROWSER=abc; Path=/; HttpOnly", "route=7"]);
    }
}
