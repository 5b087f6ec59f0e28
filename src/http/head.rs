//! The request head: request line and header fields, and what they say about the body and the connection.
//!
//! Owns the interpretation of a head whose bytes [`HeadScan`] has let through; httparse does the splitting. It must not
//! know paths, routes or sessions, and it copies nothing: a [`Head`] borrows the bytes it was read from.
//!
//! `Connection: upgrade` has no effect here; the WebSocket handshake reads it with [`Head::elements`].

use super::HttpError;
use super::authority::Authority;
use super::response::{Persistence, Status};
pub use super::scan::{HeadScan, LONG_HEAD, LONG_HEADER_LINE, LONG_REQUEST_LINE, MANY_FIELDS};
use crate::limits::{self, Limits};
use core::mem::MaybeUninit;

/// Digits of a `Content-Length`, count: whatever has more cannot overflow a u64 unnoticed.
const LENGTH_DIGITS: usize = 18;

/// The request methods that are told apart (RFC 9110 section 9); case matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`: answered like `GET`, without the body.
    Head,
    /// `POST`
    Post,
    /// `OPTIONS`
    Options,
    /// Any other token.
    Other,
}

/// The versions that are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// How the end of the request body is known (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is no body.
    None,
    /// By its length in bytes, at most `limits.body_bytes`; may be zero.
    Length(u64),
    /// By its last chunk: see [`ChunkedDecoder`](super::body::ChunkedDecoder).
    Chunked,
}

impl BodyFraming {
    /// Whether bytes of a body follow the head.
    pub const fn has_bytes(self) -> bool {
        !matches!(self, Self::None | Self::Length(0))
    }
}

/// The fields and the target of a request head, kept beyond the bytes it was read from.
#[derive(Clone, Debug)]
pub struct OwnedHead(Box<[u8]>);

impl OwnedHead {
    /// The head again; `None` if the limits have become too low for it since.
    pub fn head(&self, limits: &Limits) -> Option<Head<'_>> {
        Head::parse(&self.0, limits).ok()
    }

    /// The memory that it takes, bytes.
    pub fn weight(&self) -> usize {
        self.0.len()
    }
}

impl From<&Head<'_>> for OwnedHead {
    /// Without a body: what frames one is left out.
    fn from(head: &Head<'_>) -> Self {
        let mut bytes = Vec::new();
        let version = if head.version == Version::Http10 { "1.0" } else { "1.1" };
        bytes.extend_from_slice(b"GET ");
        bytes.extend_from_slice(if head.path == "*" { b"/" } else { head.path.as_bytes() });
        if let Some(query) = head.query {
            bytes.push(b'?');
            bytes.extend_from_slice(query.as_bytes());
        }
        bytes.extend_from_slice(b" HTTP/");
        bytes.extend_from_slice(version.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        let frames = |name: &str| FRAMING.iter().any(|own| own.eq_ignore_ascii_case(name));
        // That of an absolute target counts, and stands here in its place.
        let host = head.host.map(|host| ("Host", host.as_bytes()));
        let others = head.headers().filter(|(name, _)| !frames(name));
        for (name, value) in host.into_iter().chain(others) {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        Self(bytes.into())
    }
}

/// Fields that say something of the target or of the body, and nothing to those who look at a head later.
const FRAMING: [&str; 4] = ["Host", "Content-Length", "Transfer-Encoding", "Expect"];

/// A request head, borrowed from the bytes it was read from.
#[derive(Clone, Debug)]
pub struct Head<'b> {
    /// The method.
    pub method: Method,
    /// The path as sent, not decoded. Begins with a slash; or it is `*`, only with `OPTIONS`.
    pub path: &'b str,
    /// What follows the first question mark of the target, not decoded.
    pub query: Option<&'b str>,
    /// The version of the request line.
    pub version: Version,
    /// The host asked for: of an absolute target, else of `Host`. Syntactically valid and never empty.
    pub host: Option<&'b str>,
    /// How the end of the body is known.
    pub body: BodyFraming,
    /// What the peer wants to become of the connection.
    pub persistence: Persistence,
    /// Whether the peer waits for a 100 before it sends the body.
    pub expect_continue: bool,
    fields: Fields<'b>,
}

impl<'b> Head<'b> {
    /// Reads a head. The bytes are exactly those whose end [`HeadScan::advance`] found; the scan's checks are not repeated
    /// here.
    ///
    /// # Errors
    /// 505 for a version that is neither HTTP/1.0 nor HTTP/1.1. 400 for a malformed request line or target, for a `Host`
    /// that is invalid, repeated, or on HTTP/1.1 missing, and for every unclear statement about the body's length. 413 for
    /// a length above `limits.body_bytes`, 415 for a coded body, 417 for an unknown expectation, 431 for too many fields.
    pub fn parse(bytes: &'b [u8], limits: &Limits) -> Result<Self, HttpError> {
        let mut array = [const { MaybeUninit::uninit() }; limits::HEADERS];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut array) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Err(httparse::Error::Version) => return Err(version_error(bytes)),
            Err(httparse::Error::TooManyHeaders) => return Err(MANY_FIELDS),
            Ok(_) | Err(_) => return Err(HttpError::bad_request("a malformed request head")),
        }
        let (Some(token), Some(raw_target), Some(minor)) = (request.method, request.path, request.version) else {
            return Err(HttpError::bad_request("a malformed request line"));
        };
        // Only as many as there are: the whole array would be copied wherever a head goes.
        let fields = Fields(request.headers.to_vec());
        let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        let method = method(token);
        let target = Target::parse(method, raw_target)?;
        let host = host(&fields, version, &target)?;
        let body = body_framing(&fields, version, limits)?;
        let expect_continue = expect_continue(&fields, version, body)?;
        let persistence = persistence(&fields, version);
        let Target { path, query, .. } = target;
        Ok(Self { method, path, query, version, host, body, persistence, expect_continue, fields })
    }

    /// The value of the first field of this name, without the white space around it. Names are compared without case.
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.fields.values(name).next()
    }

    /// The values of all fields of this name, in the order sent; can be read from the end.
    pub fn values<'n>(&self, name: &'n str) -> impl DoubleEndedIterator<Item = &'b [u8]> + use<'_, 'b, 'n> {
        self.fields.values(name)
    }

    /// The elements of all fields of this name, each read as a list separated by commas (RFC 9110 section 5.6.1); empty
    /// elements are left out. Not for fields with quoted strings.
    pub fn elements<'n>(&self, name: &'n str) -> impl Iterator<Item = &'b [u8]> + use<'_, 'b, 'n> {
        self.fields.elements(name)
    }

    /// All fields, name and value, in the order sent.
    pub fn headers(&self) -> impl DoubleEndedIterator<Item = (&'b str, &'b [u8])> + use<'_, 'b> {
        self.fields.iter()
    }

    /// How many fields have this name.
    pub fn count(&self, name: &str) -> usize {
        self.fields.values(name).count()
    }
}

/// The fields of a head as httparse has split them.
#[derive(Clone, Debug)]
struct Fields<'b>(Vec<httparse::Header<'b>>);

impl<'b> Fields<'b> {
    fn iter(&self) -> impl DoubleEndedIterator<Item = (&'b str, &'b [u8])> + use<'_, 'b> {
        self.0.iter().map(|field| (field.name, field.value))
    }

    fn values<'n>(&self, name: &'n str) -> impl DoubleEndedIterator<Item = &'b [u8]> + use<'_, 'b, 'n> {
        self.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim_ascii())
    }

    fn elements<'n>(&self, name: &'n str) -> impl Iterator<Item = &'b [u8]> + use<'_, 'b, 'n> {
        let pieces = self.values(name).flat_map(|value| value.split(|&byte| byte == b','));
        pieces.map(<[u8]>::trim_ascii).filter(|piece| !piece.is_empty())
    }

    fn has_element(&self, name: &str, element: &str) -> bool {
        self.elements(name).any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
    }
}

/// Tells a version that is not spoken here from something that is no version at all. httparse has accepted the method and
/// the target before it.
fn version_error(bytes: &[u8]) -> HttpError {
    let line = bytes.trim_ascii_start().split(|&byte| byte == b'\r').next().unwrap_or_default();
    let version = line.splitn(3, |&byte| byte == b' ').nth(2).unwrap_or_default();
    match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            HttpError::new(Status::VersionNotSupported, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        }
        _ => HttpError::bad_request("a malformed version in the request line"),
    }
}

fn method(token: &str) -> Method {
    match token {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "OPTIONS" => Method::Options,
        _ => Method::Other,
    }
}

/// A request target taken apart (RFC 9112 section 3.2).
struct Target<'b> {
    path: &'b str,
    query: Option<&'b str>,
    /// The authority of an absolute target, checked.
    authority: Option<&'b str>,
}

impl<'b> Target<'b> {
    fn parse(method: Method, raw: &'b str) -> Result<Self, HttpError> {
        if raw.contains('#') {
            return Err(HttpError::bad_request("a fragment in the request target"));
        }
        if raw.starts_with('/') {
            let (path, query) = split_query(raw);
            return Ok(Self { path, query, authority: None });
        }
        if raw == "*" && method == Method::Options {
            return Ok(Self { path: raw, query: None, authority: None });
        }
        let Some((scheme, rest)) = raw.split_once("://") else {
            return Err(HttpError::bad_request("a request target that is neither a path nor an http URL"));
        };
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(HttpError::bad_request("a request target whose scheme is not http or https"));
        }
        let (authority, rest) =
            rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len())).unwrap_or((rest, ""));
        if !is_host(authority.as_bytes()) {
            return Err(HttpError::bad_request("an invalid host in the request target"));
        }
        let (path, query) = split_query(rest);
        // RFC 9110 section 4.2.3 and RFC 9112 section 3.2.4: an empty path is the root, except for a bare OPTIONS.
        let path = match path {
            "" if method == Method::Options && query.is_none() => "*",
            "" => "/",
            _ => path,
        };
        Ok(Self { path, query, authority: Some(authority) })
    }
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

fn is_host(bytes: &[u8]) -> bool {
    Authority::parse(bytes).is_some_and(|authority| !authority.host.is_empty())
}

/// The host of the request (RFC 9110 section 7.2, RFC 9112 sections 3.2 and 3.3). Even where an absolute target replaces
/// it, `Host` must be there on HTTP/1.1, once and valid.
///
/// An empty `Host` is what a client sends whose target has no authority. An http URL always has one, so on HTTP/1.1 an
/// empty `Host` is accepted only where nothing depends on it: with `*` and with an absolute target. On HTTP/1.0, which
/// needs no `Host`, it counts as none.
fn host<'b>(fields: &Fields<'b>, version: Version, target: &Target<'b>) -> Result<Option<&'b str>, HttpError> {
    let mut values = fields.values("host");
    let first = values.next();
    if values.next().is_some() {
        return Err(HttpError::bad_request("more than one Host"));
    }
    let sent = match first {
        None if version == Version::Http11 => return Err(HttpError::bad_request("no Host")),
        None => None,
        Some([]) if version == Version::Http10 || target.path == "*" || target.authority.is_some() => None,
        Some(value) if is_host(value) => core::str::from_utf8(value).ok(),
        Some(_) => return Err(HttpError::bad_request("an invalid Host")),
    };
    Ok(target.authority.or(sent))
}

/// How the body's end is known (RFC 9112 section 6.3), with every statement refused that two readers could take
/// differently. Refusals of framing come before those of size and coding.
fn body_framing(fields: &Fields<'_>, version: Version, limits: &Limits) -> Result<BodyFraming, HttpError> {
    let mut codings = fields.values("transfer-encoding");
    let mut lengths = fields.values("content-length");
    let framing = match (codings.next(), lengths.next()) {
        (None, None) => return Ok(BodyFraming::None),
        (Some(_), Some(_)) => {
            return Err(HttpError::bad_request("both Transfer-Encoding and Content-Length"));
        }
        (Some(coding), None) => {
            if version == Version::Http10 {
                return Err(HttpError::bad_request("Transfer-Encoding on HTTP/1.0"));
            }
            if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
                return Err(HttpError::bad_request("a Transfer-Encoding other than chunked"));
            }
            BodyFraming::Chunked
        }
        (None, Some(digits)) => {
            if lengths.next().is_some() {
                return Err(HttpError::bad_request("more than one Content-Length"));
            }
            BodyFraming::Length(content_length(digits)?)
        }
    };
    if matches!(framing, BodyFraming::Length(length) if length > limits.body_bytes as u64) {
        return Err(HttpError::new(
            Status::ContentTooLarge,
            "the request body is larger than --max-message-size allows",
        ));
    }
    let coded = fields.elements("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    if framing.has_bytes() && coded {
        return Err(HttpError::new(Status::UnsupportedMediaType, "a Content-Encoding is not read here"));
    }
    Ok(framing)
}

fn content_length(digits: &[u8]) -> Result<u64, HttpError> {
    let invalid = HttpError::bad_request("an invalid Content-Length");
    // Digits only: `parse` would also take a plus sign.
    if digits.len() > LENGTH_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return Err(invalid);
    }
    core::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(invalid)
}

/// Whether a 100 is waited for (RFC 9110 section 10.1.1). HTTP/1.0 has no expectations; without a body there is nothing to
/// wait for.
fn expect_continue(fields: &Fields<'_>, version: Version, body: BodyFraming) -> Result<bool, HttpError> {
    if version == Version::Http10 {
        return Ok(false);
    }
    let mut expected = false;
    for expectation in fields.elements("expect") {
        if !expectation.eq_ignore_ascii_case(b"100-continue") {
            return Err(HttpError::new(Status::ExpectationFailed, "an unknown expectation"));
        }
        expected = true;
    }
    Ok(expected && body.has_bytes())
}

/// What the peer wants to become of the connection (RFC 9112 section 9.3); `close` outweighs `keep-alive`.
fn persistence(fields: &Fields<'_>, version: Version) -> Persistence {
    if fields.has_element("connection", "close") {
        return Persistence::Close;
    }
    match version {
        Version::Http11 => Persistence::KeepAlive,
        Version::Http10 if fields.has_element("connection", "keep-alive") => Persistence::KeepAlive10,
        Version::Http10 => Persistence::Close,
    }
}

#[cfg(test)]
mod tests {
    use super::super::splits::same_however_split;
    use super::*;
    use proptest::prelude::*;

    /// Shows the request to the scan and then to the parser, in every way of cutting it, and returns what `look` sees.
    fn read<T: PartialEq + core::fmt::Debug>(raw: &str, look: impl Fn(&Head<'_>) -> T) -> Result<T, Status> {
        let limits = Limits { body_bytes: 1000, ..Limits::default() };
        same_however_split(raw.as_bytes(), |pieces| {
            let mut scan = HeadScan::default();
            let mut buf = Vec::new();
            for piece in pieces {
                buf.extend_from_slice(piece);
                if let Some(length) = scan.advance(&buf, &limits)? {
                    return Head::parse(&buf[..length], &limits).map(|head| look(&head));
                }
            }
            panic!("incomplete: {raw:?}");
        })
        .map_err(|error: HttpError| error.status)
    }

    fn post(fields: &str) -> String {
        format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    }

    fn refused(raw: &str, status: Status) {
        assert_eq!(read(raw, |_| ()), Err(status), "{raw:?}");
    }

    #[test]
    fn a_usual_request() {
        let raw = "\r\nPOST /cometd/connect?x=1?2 HTTP/1.1\r\nHost: example.com:8080\r\nContent-Length: 12\r\n\
            content-type:application/json \r\nX:\r\nx: \t2\r\n\r\n[{\"next\": 1}]";
        let look = |head: &Head<'_>| {
            assert_eq!((head.method, head.version), (Method::Post, Version::Http11));
            assert_eq!((head.path, head.query), ("/cometd/connect", Some("x=1?2")));
            assert_eq!(head.host, Some("example.com:8080"));
            assert_eq!(head.body, BodyFraming::Length(12));
            assert_eq!(head.persistence, Persistence::KeepAlive);
            assert!(!head.expect_continue);
            assert_eq!(head.header("Content-Type"), Some(&b"application/json"[..]));
            assert_eq!(head.header("Accept"), None);
            assert_eq!((head.header("X"), head.count("x"), head.count("y")), (Some(&b""[..]), 2, 0));
            assert_eq!(head.values("X").rev().collect::<Vec<_>>(), [&b"2"[..], b""]);
            let names: Vec<&str> = head.headers().map(|(name, _)| name).collect();
            assert_eq!(names, ["Host", "Content-Length", "content-type", "X", "x"]);
        };
        assert_eq!(read(raw, look), Ok(()));
    }

    #[test]
    fn lists() {
        let raw = post("Connection: a, b,,c ,\r\nConnection:\r\nCONNECTION: Upgrade\r\n");
        let look = |head: &Head<'_>| head.elements("connection").map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(read(&raw, look).unwrap(), [&b"a"[..], b"b", b"c", b"Upgrade"]);
    }

    #[test]
    fn methods() {
        for (token, method) in [
            ("GET", Method::Get),
            ("HEAD", Method::Head),
            ("POST", Method::Post),
            ("OPTIONS", Method::Options),
            ("PUT", Method::Other),
            ("get", Method::Other),
            ("G!#$%&'*+-.^_`|~9", Method::Other),
        ] {
            assert_eq!(read(&format!("{token} / HTTP/1.0\r\n\r\n"), |head| head.method), Ok(method));
        }
        for token in ["", " ", "G(T", "G\"T", "G,T", "G/T", "G{T", "G@T", "G:T"] {
            refused(&format!("{token} / HTTP/1.0\r\n\r\n"), Status::BadRequest);
        }
    }

    #[test]
    fn targets() {
        let seen = |line: &str| {
            read(&format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n"), |head| {
                format!("{} {:?} {:?}", head.path, head.query, head.host.unwrap_or_default())
            })
        };
        for (line, expected) in [
            ("GET /", "/ None \"h\""),
            ("GET //a:b@c/%41%zz", "//a:b@c/%41%zz None \"h\""),
            ("GET /?", "/ Some(\"\") \"h\""),
            ("GET /a|b\"c<d>{e}", "/a|b\"c<d>{e} None \"h\""),
            ("GET http://other/x?y", "/x Some(\"y\") \"other\""),
            ("GET HTTPS://other:80", "/ None \"other:80\""),
            ("GET http://other?y/z", "/ Some(\"y/z\") \"other\""),
            ("GET http://[::1]:80/x", "/x None \"[::1]:80\""),
            ("OPTIONS *", "* None \"h\""),
            ("OPTIONS http://other", "* None \"other\""),
            ("OPTIONS http://other/", "/ None \"other\""),
            ("OPTIONS http://other?y", "/ Some(\"y\") \"other\""),
        ] {
            assert_eq!(seen(line).as_deref(), Ok(expected), "{line}");
        }
        for line in [
            "GET",
            "GET ",
            "GET *",
            "GET a",
            "GET a:80",
            "CONNECT a:80",
            "GET ?x",
            "OPTIONS *?x",
            "OPTIONS **",
            "GET /#f",
            "GET /?x#",
            "GET http://",
            "GET http:///x",
            "GET http://:80/",
            "GET http://u@other/",
            "GET http://a,b/",
            "GET http:/x",
            "GET ftp://other/",
            "GET ://other/",
            "GET ws://other/",
            "GET http://[::1/",
            "GET http://a:b/",
            "GET /a b",
            "GET  /",
            "GET / ",
            " GET /",
            "GET http://other/x#y",
            "GET http://a:65536/",
            "GET http://a\\b/",
        ] {
            assert_eq!(seen(line), Err(Status::BadRequest), "{line}");
        }
    }

    #[test]
    fn versions() {
        let seen = |version: &str| read(&format!("GET / {version}\r\nHost: h\r\n\r\n"), |head| head.version);
        assert_eq!(seen("HTTP/1.0"), Ok(Version::Http10));
        assert_eq!(seen("HTTP/1.1"), Ok(Version::Http11));
        for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9"] {
            assert_eq!(seen(version), Err(Status::VersionNotSupported), "{version}");
        }
        for version in [
            "HTTP/1",
            "HTTP/1.",
            "HTTP/11",
            "HTTP/1.10",
            "HTTP/1.1.",
            "HTTP/2",
            "http/1.1",
            "HTTP 1.1",
            "HTTP/1.1 ",
            "HTP/1.1",
            "HTTP/1.x",
            "HTTP/a.1",
            "HTTP/01.1",
            "HTTPS/1.1",
            "",
            "HTTP/+1.1",
            "HTTP/1,1",
            "x",
        ] {
            assert_eq!(seen(version), Err(Status::BadRequest), "{version}");
        }
        refused("GET /\r\nHost: h\r\n\r\n", Status::BadRequest);
        refused("PRI * HTTP/2.0\r\n\r\n", Status::VersionNotSupported);
        refused("\r\nGET / HTTP/2.0\r\n\r\n", Status::VersionNotSupported);
    }

    #[test]
    fn hosts() {
        let seen = |line: &str, fields: &str| {
            read(&format!("{line}\r\n{fields}\r\n"), |head| head.host.map(str::to_owned))
                .map(|host| host.unwrap_or_default())
        };
        for host in ["a", "a.b:80", "a:", "127.0.0.1", "[::1]:8080", "A_b-c~d", "a%41"] {
            assert_eq!(seen("GET / HTTP/1.1", &format!("Host: {host}\r\n")).as_deref(), Ok(host));
            assert_eq!(seen("GET / HTTP/1.0", &format!("hOST:{host} \r\n")).as_deref(), Ok(host));
            assert_eq!(seen("GET http://b/ HTTP/1.1", &format!("Host: {host}\r\n")).as_deref(), Ok("b"));
        }
        for line in ["GET / HTTP/1.1", "GET / HTTP/1.0", "GET http://b/ HTTP/1.1", "OPTIONS * HTTP/1.1"] {
            for host in
                ["a b", "a,b", "u@a", "a/b", "a:b", "[::1", "::1", "http://a", "a:65536", ":80", "\u{e4}", "a\tb"]
            {
                assert_eq!(seen(line, &format!("Host: {host}\r\n")), Err(Status::BadRequest), "{line} {host}");
            }
            assert_eq!(seen(line, "Host: a\r\nhost: a\r\n"), Err(Status::BadRequest), "{line}");
            assert_eq!(seen(line, "Host:\r\nhost:\r\n"), Err(Status::BadRequest), "{line}");
        }
        for (line, missing, empty) in [
            ("GET / HTTP/1.1", Err(Status::BadRequest), Err(Status::BadRequest)),
            ("GET / HTTP/1.0", Ok(""), Ok("")),
            ("GET http://b/ HTTP/1.1", Err(Status::BadRequest), Ok("b")),
            ("GET http://b/ HTTP/1.0", Ok("b"), Ok("b")),
            ("OPTIONS * HTTP/1.1", Err(Status::BadRequest), Ok("")),
        ] {
            assert_eq!(seen(line, ""), missing.map(str::to_owned), "{line}");
            assert_eq!(seen(line, "Host: \r\n"), empty.map(str::to_owned), "{line}");
        }
    }

    #[test]
    fn framing() {
        for (fields, framing) in [
            ("", BodyFraming::None),
            ("Content-Length: 0\r\n", BodyFraming::Length(0)),
            ("content-length:007 \r\n", BodyFraming::Length(7)),
            ("Content-Length: 000000000000000123\r\n", BodyFraming::Length(123)),
            ("Transfer-Encoding: chunked\r\n", BodyFraming::Chunked),
            ("transfer-encoding:\tChunkED \r\n", BodyFraming::Chunked),
        ] {
            assert_eq!(read(&post(fields), |head| head.body), Ok(framing), "{fields:?}");
        }
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: identity\r\nContent-Length: 0\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\ncontent-length: 6\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: 5,\r\n",
            "Content-Length:\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 5.0\r\n",
            "Content-Length: \"5\"\r\n",
            "Content-Length: 0000000000000000005\r\n",
            "Content-Length: 18446744073709551621\r\n",
            "Transfer-Encoding:\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked,\r\n",
            "Transfer-Encoding: , chunked\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            // A framing error is worse than a size, a coding or an expectation.
            "Content-Length: 9999\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\nExpect: x\r\n",
        ] {
            refused(&post(fields), Status::BadRequest);
        }
        refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Status::BadRequest);
        assert_eq!(read("POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n", |head| head.body), Ok(BodyFraming::Length(5)));
    }

    #[test]
    fn bodies_at_their_limit() {
        for (length, expected) in [
            (999, Ok(BodyFraming::Length(999))),
            (1000, Ok(BodyFraming::Length(1000))),
            (1001, Err(Status::ContentTooLarge)),
            (999_999_999_999_999_999_u64, Err(Status::ContentTooLarge)),
            (1_000_000_000_000_000_000, Err(Status::BadRequest)),
        ] {
            assert_eq!(read(&post(&format!("Content-Length: {length}\r\n")), |head| head.body), expected);
        }
    }

    #[test]
    fn content_codings() {
        for fields in
            ["Content-Encoding: identity\r\n", "Content-Encoding: Identity, identity\r\n", "Content-Encoding:\r\n"]
        {
            assert_eq!(read(&post(&format!("Content-Length: 5\r\n{fields}")), |_| ()), Ok(()));
        }
        for fields in ["Content-Encoding: gzip\r\n", "Content-Encoding: identity\r\nContent-Encoding: br\r\n"] {
            refused(&post(&format!("Content-Length: 5\r\n{fields}")), Status::UnsupportedMediaType);
            refused(&post(&format!("{fields}Transfer-Encoding: chunked\r\n")), Status::UnsupportedMediaType);
            assert_eq!(read(&post(&format!("Content-Length: 0\r\n{fields}")), |_| ()), Ok(()));
            assert_eq!(read(&post(fields), |_| ()), Ok(()));
        }
    }

    #[test]
    fn expectations() {
        let seen = |fields: &str| read(&post(fields), |head| head.expect_continue);
        assert_eq!(seen("Expect: 100-continue\r\nContent-Length: 5\r\n"), Ok(true));
        assert_eq!(seen("Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n"), Ok(true));
        assert_eq!(seen("Expect: 100-continue\r\nContent-Length: 0\r\n"), Ok(false));
        assert_eq!(seen("Expect: 100-continue\r\n"), Ok(false));
        assert_eq!(seen("Expect:\r\nContent-Length: 5\r\n"), Ok(false));
        assert_eq!(seen("Content-Length: 5\r\n"), Ok(false));
        for fields in ["Expect: 200-ok\r\n", "Expect: 100-continue, x\r\n", "Expect: 100-continue\r\nExpect: x\r\n"] {
            assert_eq!(seen(fields), Err(Status::ExpectationFailed), "{fields}");
        }
        for expect in ["100-continue", "x"] {
            let raw = format!("POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: {expect}\r\n\r\n");
            assert_eq!(read(&raw, |head| head.expect_continue), Ok(false));
        }
    }

    #[test]
    fn persistences() {
        use Persistence::{Close, KeepAlive, KeepAlive10};
        for (fields, http11, http10) in [
            ("", KeepAlive, Close),
            ("Connection: close\r\n", Close, Close),
            ("Connection: keep-alive\r\n", KeepAlive, KeepAlive10),
            ("Connection: x, Keep-Alive\r\n", KeepAlive, KeepAlive10),
            ("Connection: x\r\nconnection: y ,CLOSE\r\n", Close, Close),
            ("Connection: close, keep-alive\r\n", Close, Close),
            ("Connection: closed\r\n", KeepAlive, Close),
            ("Connection: Upgrade\r\nUpgrade: websocket\r\n", KeepAlive, Close),
            ("Proxy-Connection: keep-alive\r\n", KeepAlive, Close),
        ] {
            let of = |version: &str| {
                read(&format!("GET / {version}\r\nHost: h\r\n{fields}\r\n"), |head| head.persistence).unwrap()
            };
            assert_eq!((of("HTTP/1.1"), of("HTTP/1.0")), (http11, http10), "{fields:?}");
        }
    }

    #[test]
    fn fields_at_their_limit() {
        for (count, expected) in [(63, Ok(63)), (64, Ok(64)), (65, Err(Status::HeadersTooLarge))] {
            let raw = format!("GET / HTTP/1.0\r\n{}\r\n", "A: b\r\n".repeat(count));
            assert_eq!(read(&raw, |head| head.headers().count()), expected, "{count}");
            let unscanned = Head::parse(raw.as_bytes(), &Limits::default());
            assert_eq!(unscanned.map(|head| head.count("a")).map_err(|error| error.status), expected);
        }
    }

    #[test]
    fn bytes_beyond_the_head_are_refused() {
        let raw = b"GET / HTTP/1.0\r\n\r\nx";
        assert!(Head::parse(&raw[..18], &Limits::default()).is_ok());
        assert_eq!(Head::parse(raw, &Limits::default()).map(|_| ()).unwrap_err().status, Status::BadRequest);
        assert_eq!(Head::parse(&raw[..17], &Limits::default()).map(|_| ()).unwrap_err().status, Status::BadRequest);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Head::parse(&raw, &Limits::default());
        }

        #[test]
        fn whatever_the_scan_lets_through_is_read_or_refused(
            line in "[A-Z]{1,7} [!-~]{1,20} HTTP/[0-9]\\.[0-9]",
            fields in proptest::collection::vec("(Host|Content-Length|Expect|[!#-'*+.a-z-]{1,9}):[\t -~]{0,20}", 0..6),
        ) {
            let raw = format!("{line}\r\n{}\r\n", fields.iter().map(|field| format!("{field}\r\n")).collect::<String>());
            let limits = Limits::default();
            prop_assert_eq!(HeadScan::default().advance(raw.as_bytes(), &limits), Ok(Some(raw.len())));
            if let Ok(head) = Head::parse(raw.as_bytes(), &limits) {
                prop_assert_eq!(head.headers().count(), fields.len());
                prop_assert!(head.path == "*" || head.path.starts_with('/'));
                prop_assert!(head.host.is_none_or(|host| is_host(host.as_bytes())));
            }
        }
    }
}
