//! Response heads: the status line and the fields, up to and including the empty line.
//!
//! Owns the bytes of every response head of the Bayeux endpoint. It must not know what a response carries, and it never
//! writes a body.
//!
//! No byte of a request can reach a response head, because of what the types accept: a status, a persistence and an
//! [`HttpDate`] are values of ours; media types, `Allow` and cookie names are `&'static str`; lengths are numbers; an
//! allowed origin is an [`AllowedOrigin`], which only a configured list can make; and a [`SetCookie`] exists only for a
//! value without separators and controls.
//!
//! One head is written per delivery, so nothing here formats: constant pieces are appended one after another.

use super::coding::Coding;
use super::date::HttpDate;
use super::origin::AllowedOrigin;

/// The interim response that asks for the body of a request with `Expect: 100-continue` (RFC 9110 section 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a 426 must say (RFC 9110 section 15.5.22, RFC 6455 section 4.4). `Connection` is a list, and may stand twice.
const UPGRADE_TO: &[u8] = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
/// What a 401 must say (RFC 9110 section 15.5.2): a bearer token is asked for (RFC 6750 section 3).
const CHALLENGE: &[u8] = b"WWW-Authenticate: Bearer\r\n";
/// A whole answer for who is not even listened to: there are too many connections.
pub const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n\
    Content-Type: text/plain;charset=UTF-8\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n\
    Content-Length: 53\r\n\r\nThere are too many connections; try again in a while\n";
/// What a 429 and a 503 say: when to try again, s (RFC 9110 section 10.2.3, RFC 6585 section 4).
const RETRY_AFTER: &[u8] = b"Retry-After: 1\r\n";

/// A head without origin and cookie is shorter than this; one reservation serves it.
pub(crate) const USUAL_HEAD_BYTES: usize = 320;

/// The statuses this server answers with (RFC 9110 section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Status {
    /// 101: from here on the connection speaks WebSocket.
    SwitchingProtocols = 101,
    /// 200: also for failures that Bayeux itself reports.
    Ok = 200,
    /// 204: preflights and health checks.
    NoContent = 204,
    /// 304: what the client has is what there is.
    NotModified = 304,
    /// 400: the request breaks a grammar.
    BadRequest = 400,
    /// 401: an admin surface without its token.
    Unauthorized = 401,
    /// 403: a refused origin.
    Forbidden = 403,
    /// 404: no such path.
    NotFound = 404,
    /// 405: the path does not know the method; needs `allow`.
    MethodNotAllowed = 405,
    /// 408: the request did not arrive in time.
    RequestTimeout = 408,
    /// 409: not with a session of this kind.
    Conflict = 409,
    /// 413: the body or the batch is too large.
    ContentTooLarge = 413,
    /// 414: the request line is too long.
    UriTooLong = 414,
    /// 415: a content type or coding that is not read here.
    UnsupportedMediaType = 415,
    /// 417: an expectation other than `100-continue`.
    ExpectationFailed = 417,
    /// 421: a `Host` that is not served here.
    MisdirectedRequest = 421,
    /// 426: a WebSocket version that is not spoken here; the head says which one is.
    UpgradeRequired = 426,
    /// 429: the peer asks too often.
    TooManyRequests = 429,
    /// 431: a header line, the head or the number of fields is too large.
    HeadersTooLarge = 431,
    /// 500: our own fault.
    InternalServerError = 500,
    /// 501: a method that is not known at all.
    NotImplemented = 501,
    /// 503: overloaded or shutting down.
    ServiceUnavailable = 503,
    /// 505: neither HTTP/1.0 nor HTTP/1.1.
    VersionNotSupported = 505,
}

impl Status {
    /// The three digits as a number.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The reason phrase of the status line.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::SwitchingProtocols => "Switching Protocols",
            Self::Ok => "OK",
            Self::NoContent => "No Content",
            Self::NotModified => "Not Modified",
            Self::BadRequest => "Bad Request",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestTimeout => "Request Timeout",
            Self::Conflict => "Conflict",
            Self::ContentTooLarge => "Content Too Large",
            Self::UriTooLong => "URI Too Long",
            Self::UnsupportedMediaType => "Unsupported Media Type",
            Self::ExpectationFailed => "Expectation Failed",
            Self::MisdirectedRequest => "Misdirected Request",
            Self::UpgradeRequired => "Upgrade Required",
            Self::TooManyRequests => "Too Many Requests",
            Self::HeadersTooLarge => "Request Header Fields Too Large",
            Self::InternalServerError => "Internal Server Error",
            Self::NotImplemented => "Not Implemented",
            Self::ServiceUnavailable => "Service Unavailable",
            Self::VersionNotSupported => "HTTP Version Not Supported",
        }
    }
}

/// What becomes of the connection after the response (RFC 9112 section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It stays open, as HTTP/1.1 takes for granted; no field says so.
    KeepAlive,
    /// It stays open because a HTTP/1.0 peer asked for it; `Connection: keep-alive` confirms.
    KeepAlive10,
    /// It is closed: `Connection: close`.
    Close,
}

/// How the end of a body is known (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// By its length in bytes.
    Known(usize),
    /// By the last chunk; a stream to a HTTP/1.1 peer.
    Chunked,
    /// By the end of the connection, so only with [`Persistence::Close`]; a stream to a HTTP/1.0 peer.
    UntilClose,
}

/// The body that follows the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// The value of `Content-Type`, parameters included.
    pub media_type: &'static str,
    /// How its end is known. Streams, that is all but `Known`, are marked for proxies not to buffer them.
    pub length: Length,
    /// The value of `Content-Disposition`, if the response has one (JSONP: `attachment; filename=...`).
    pub disposition: Option<&'static str>,
    /// The value of `Content-Security-Policy`, if the response is a page.
    pub policy: Option<&'static str>,
    /// How its bytes stand for what it is.
    pub coding: Coding,
}

impl Content {
    /// A body of this type and of so many bytes.
    pub const fn sized(media_type: &'static str, bytes: usize) -> Self {
        Self::new(media_type, Length::Known(bytes))
    }

    /// A body of this type whose end is known in this way.
    pub const fn new(media_type: &'static str, length: Length) -> Self {
        Self { media_type, length, disposition: None, policy: None, coding: Coding::Identity }
    }
}

/// A validator for a version of a page (RFC 9110 section 8.8.3): a quoted hash. It is the same in each coding, and therefore
/// a weak one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ETag([u8; 18]);

impl ETag {
    /// The validator of what these bytes stand for: FNV-1a, 64 bits. It tells versions of one page apart and protects
    /// nothing.
    pub fn of<'a>(bytes: impl Iterator<Item = &'a u8>) -> Self {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, step);
        let mut text = [b'"'; 18];
        let hex = hash.to_be_bytes().into_iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        for (place, digit) in text.iter_mut().skip(1).zip(hex) {
            *place = char::from_digit(u32::from(digit), 16).map_or(b'0', |digit| digit as u8);
        }
        Self(text)
    }

    /// Whether the value of an `If-None-Match` field names it, or anything (RFC 9110 section 13.1.2).
    pub fn is_among(&self, field: &[u8]) -> bool {
        let same = |entry: &[u8]| entry == b"*" || entry.strip_prefix(b"W/").unwrap_or(entry) == self.0;
        field.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(same)
    }
}

/// What caches are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// To keep nothing.
    NoStore,
    /// To ask each time whether it has changed; and that it depends on the codings that the request names.
    Revalidate(ETag),
}

impl Caching {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::NoStore => out.extend_from_slice(b"Cache-Control: no-store\r\n"),
            Self::Revalidate(tag) => {
                out.extend_from_slice(b"Cache-Control: no-cache\r\nVary: Accept-Encoding\r\nETag: W/");
                out.extend_from_slice(&tag.0);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// What the response tells a browser about other origins (Fetch standard, section "CORS protocol").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cors<'a> {
    /// Nothing: no other origin is allowed anything.
    None,
    /// This configured origin may read the response, credentials included.
    Listed(&'a AllowedOrigin),
    /// Every origin may read the response, never with credentials.
    Any,
    /// Nothing for this request, but the answer to another origin may differ.
    Vary,
}

impl Cors<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Listed(origin) => {
                out.extend_from_slice(b"Access-Control-Allow-Origin: ");
                out.extend_from_slice(origin.as_str().as_bytes());
                out.extend_from_slice(b"\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n");
            }
            // The same resource answers its own origin without the field, so caches must keep the two apart.
            Self::Any => out.extend_from_slice(b"Access-Control-Allow-Origin: *\r\nVary: Origin\r\n"),
            Self::Vary => out.extend_from_slice(b"Vary: Origin\r\n"),
        }
    }
}

/// A cookie to set (RFC 6265 section 4.1): always `HttpOnly`, `SameSite=Lax` and for the whole host, until the browser ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetCookie<'a> {
    name: &'static str,
    value: &'a str,
    secure: bool,
}

impl<'a> SetCookie<'a> {
    /// A cookie of this name and value, over TLS only if `secure`. None if the value has a byte that a cookie value must
    /// not have: a control, space, comma, semicolon, quotation mark, backslash or anything beyond ASCII.
    pub fn new(name: &'static str, value: &'a str, secure: bool) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\');
        value.bytes().all(allowed).then_some(Self { name, value, secure })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Set-Cookie: ");
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(b"=");
        out.extend_from_slice(self.value.as_bytes());
        out.extend_from_slice(b"; Path=/; HttpOnly; SameSite=Lax");
        if self.secure {
            out.extend_from_slice(b"; Secure");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Everything a response head says.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: Status,
    /// What becomes of the connection.
    pub persistence: Persistence,
    /// The present date.
    pub date: &'a HttpDate,
    /// The body, if there is one. Not looked at for a 204 and a 304, which never have one.
    pub content: Option<Content>,
    /// What other origins are told.
    pub cors: Cors<'a>,
    /// A cookie to set.
    pub set_cookie: Option<SetCookie<'a>>,
    /// The methods of a 405 (RFC 9110 section 10.2.1), such as `GET, POST, OPTIONS`.
    pub allow: Option<&'static str>,
    /// What caches are told.
    pub caching: Caching,
}

impl ResponseHead<'_> {
    /// Appends the head, from the status line to the empty line. Without content the length is given as zero, except for a
    /// 204, which must not have one (RFC 9110 section 8.6).
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(USUAL_HEAD_BYTES);
        write_start(out, self.status, self.date, self.persistence);
        self.caching.write(out);
        self.cors.write(out);
        if let Some(cookie) = &self.set_cookie {
            cookie.write(out);
        }
        if let Some(methods) = self.allow {
            out.extend_from_slice(b"Allow: ");
            out.extend_from_slice(methods.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        match self.status {
            Status::UpgradeRequired => out.extend_from_slice(UPGRADE_TO),
            Status::Unauthorized => out.extend_from_slice(CHALLENGE),
            Status::TooManyRequests | Status::ServiceUnavailable => out.extend_from_slice(RETRY_AFTER),
            _ => {}
        }
        match &self.content {
            _ if matches!(self.status, Status::NoContent | Status::NotModified) => {}
            Some(content) => write_content(out, content),
            None => out.extend_from_slice(b"Content-Length: 0\r\n"),
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the answer to a CORS preflight: a 204 that allows the methods and fields of the Bayeux endpoint for two hours.
/// What it allows has no effect on an origin that `cors` does not name.
pub fn preflight(out: &mut Vec<u8>, persistence: Persistence, date: &HttpDate, cors: Cors<'_>) {
    out.reserve(USUAL_HEAD_BYTES);
    write_start(out, Status::NoContent, date, persistence);
    cors.write(out);
    out.extend_from_slice(
        b"Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n\
        Access-Control-Allow-Headers: Accept, Authorization, Content-Type, Last-Event-ID, Pragma, X-Requested-With\r\n\
        Access-Control-Max-Age: 7200\r\n\r\n",
    );
}

/// Appends the head of an answer that is not the server's own: of any status, with the phrase left out (RFC 9112 section 4),
/// and a body of this type and of so many bytes. `media_type` and the further fields have no line ends; without one of
/// theirs for caches these are told to keep nothing. Whether a body goes with it.
pub fn foreign<'a>(
    out: &mut Vec<u8>,
    status: u16,
    (media_type, bytes): (&str, usize),
    fields: impl Iterator<Item = (&'a str, &'a str)>,
    (persistence, date): (Persistence, &HttpDate),
) -> bool {
    out.reserve(USUAL_HEAD_BYTES);
    write_line(out, status, "", (date, persistence));
    for (name, value) in fields {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let has_body = !matches!(status, 204 | 304);
    if has_body {
        out.extend_from_slice(b"Content-Type: ");
        out.extend_from_slice(media_type.as_bytes());
        out.extend_from_slice(b"\r\nX-Content-Type-Options: nosniff\r\nContent-Length: ");
        write_decimal(out, bytes);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    has_body
}

fn write_start(out: &mut Vec<u8>, status: Status, date: &HttpDate, persistence: Persistence) {
    write_line(out, status.code(), status.phrase(), (date, persistence));
}

fn write_line(out: &mut Vec<u8>, status: u16, phrase: &str, (date, persistence): (&HttpDate, Persistence)) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_decimal(out, usize::from(status));
    out.extend_from_slice(b" ");
    out.extend_from_slice(phrase.as_bytes());
    out.extend_from_slice(b"\r\nDate: ");
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(match persistence {
        Persistence::KeepAlive => b"\r\n",
        Persistence::KeepAlive10 => b"\r\nConnection: keep-alive\r\n",
        Persistence::Close => b"\r\nConnection: close\r\n",
    });
}

fn write_content(out: &mut Vec<u8>, content: &Content) {
    out.extend_from_slice(b"Content-Type: ");
    out.extend_from_slice(content.media_type.as_bytes());
    out.extend_from_slice(b"\r\nX-Content-Type-Options: nosniff\r\n");
    if let Some(disposition) = content.disposition {
        out.extend_from_slice(b"Content-Disposition: ");
        out.extend_from_slice(disposition.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if let Some(policy) = content.policy {
        out.extend_from_slice(b"Content-Security-Policy: ");
        out.extend_from_slice(policy.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if content.coding == Coding::Gzip {
        out.extend_from_slice(b"Content-Encoding: gzip\r\n");
    }
    match content.length {
        Length::Known(bytes) => {
            out.extend_from_slice(b"Content-Length: ");
            write_decimal(out, bytes);
            out.extend_from_slice(b"\r\n");
        }
        Length::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\nX-Accel-Buffering: no\r\n"),
        Length::UntilClose => out.extend_from_slice(b"X-Accel-Buffering: no\r\n"),
    }
}

/// Appends the number in decimal digits.
fn write_decimal(out: &mut Vec<u8>, number: usize) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    let mut rest = number;
    for slot in digits.iter_mut().rev() {
        *slot = b'0'.saturating_add((rest % 10) as u8);
        start = start.saturating_sub(1);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::super::origin::{Grant, OriginRule};
    use super::*;

    const JSON: &str = "application/json;charset=UTF-8";

    fn date() -> HttpDate {
        HttpDate::from_unix_ms(1_795_210_122_000)
    }

    fn plain(date: &HttpDate) -> ResponseHead<'_> {
        ResponseHead {
            status: Status::Ok,
            persistence: Persistence::KeepAlive,
            date,
            content: None,
            cors: Cors::None,
            set_cookie: None,
            allow: None,
            caching: Caching::NoStore,
        }
    }

    fn text(head: &ResponseHead<'_>) -> String {
        let mut out = b"before".to_vec();
        head.write(&mut out);
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    #[test]
    fn a_delivery() {
        let date = date();
        let head = ResponseHead { content: Some(Content::sized(JSON, 1234)), ..plain(&date) };
        let expected = "HTTP/1.1 200 OK\r\nDate: Fri, 20 Nov 2026 21:28:42 GMT\r\nCache-Control: no-store\r\n\
            Content-Type: application/json;charset=UTF-8\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 1234\r\n\r\n";
        assert_eq!(text(&head), expected);
    }

    #[test]
    fn every_status_line() {
        let table = [
            (Status::SwitchingProtocols, "101 Switching Protocols"),
            (Status::Ok, "200 OK"),
            (Status::NoContent, "204 No Content"),
            (Status::BadRequest, "400 Bad Request"),
            (Status::Unauthorized, "401 Unauthorized"),
            (Status::Forbidden, "403 Forbidden"),
            (Status::NotFound, "404 Not Found"),
            (Status::MethodNotAllowed, "405 Method Not Allowed"),
            (Status::RequestTimeout, "408 Request Timeout"),
            (Status::Conflict, "409 Conflict"),
            (Status::ContentTooLarge, "413 Content Too Large"),
            (Status::UriTooLong, "414 URI Too Long"),
            (Status::UnsupportedMediaType, "415 Unsupported Media Type"),
            (Status::ExpectationFailed, "417 Expectation Failed"),
            (Status::MisdirectedRequest, "421 Misdirected Request"),
            (Status::UpgradeRequired, "426 Upgrade Required"),
            (Status::TooManyRequests, "429 Too Many Requests"),
            (Status::HeadersTooLarge, "431 Request Header Fields Too Large"),
            (Status::InternalServerError, "500 Internal Server Error"),
            (Status::NotImplemented, "501 Not Implemented"),
            (Status::ServiceUnavailable, "503 Service Unavailable"),
            (Status::VersionNotSupported, "505 HTTP Version Not Supported"),
        ];
        let date = date();
        for (status, line) in table {
            let head = text(&ResponseHead { status, ..plain(&date) });
            assert_eq!(head.lines().next(), Some(format!("HTTP/1.1 {line}").as_str()));
        }
    }

    #[test]
    fn lengths() {
        let date = date();
        assert!(text(&plain(&date)).ends_with("GMT\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n"));
        for content in [None, Some(Content::sized(JSON, 5))] {
            let head = ResponseHead { status: Status::NoContent, content, ..plain(&date) };
            let expected = "HTTP/1.1 204 No Content\r\nDate: Fri, 20 Nov 2026 21:28:42 GMT\r\n\
                Cache-Control: no-store\r\n\r\n";
            assert_eq!(text(&head), expected);
        }
        let stream = |length| Content::new("text/event-stream", length);
        let chunked = text(&ResponseHead { content: Some(stream(Length::Chunked)), ..plain(&date) });
        assert!(
            chunked.ends_with("nosniff\r\nTransfer-Encoding: chunked\r\nX-Accel-Buffering: no\r\n\r\n"),
            "{chunked}"
        );
        assert!(!chunked.contains("Content-Length"));
        let persistence = Persistence::Close;
        let head = ResponseHead { persistence, content: Some(stream(Length::UntilClose)), ..plain(&date) };
        assert!(text(&head).ends_with("nosniff\r\nX-Accel-Buffering: no\r\n\r\n"));
        assert!(!text(&head).contains("Content-Length") && !text(&head).contains("Transfer-Encoding"));
    }

    #[test]
    fn persistence() {
        let date = date();
        for (persistence, field) in [
            (Persistence::KeepAlive, ""),
            (Persistence::KeepAlive10, "Connection: keep-alive\r\n"),
            (Persistence::Close, "Connection: close\r\n"),
        ] {
            let head = text(&ResponseHead { persistence, ..plain(&date) });
            assert!(
                head.ends_with(&format!("GMT\r\n{field}Cache-Control: no-store\r\nContent-Length: 0\r\n\r\n")),
                "{head}"
            );
        }
    }

    #[test]
    fn other_origins() {
        let date = date();
        let rule = OriginRule::new(&["https://app.example".to_owned()]).unwrap();
        for (cors, fields) in [
            (Cors::None, ""),
            (Cors::Vary, "Vary: Origin\r\n"),
            (Cors::Any, "Access-Control-Allow-Origin: *\r\nVary: Origin\r\n"),
            (
                rule.cors(Grant::Listed(0)),
                "Access-Control-Allow-Origin: https://app.example\r\nAccess-Control-Allow-Credentials: true\r\n\
                Vary: Origin\r\n",
            ),
        ] {
            let head = text(&ResponseHead { cors, ..plain(&date) });
            let end = format!("GMT\r\nCache-Control: no-store\r\n{fields}Content-Length: 0\r\n\r\n");
            assert!(head.ends_with(&end), "{head}");
            let mut out = Vec::new();
            preflight(&mut out, Persistence::KeepAlive, &date, cors);
            let expected = format!(
                "HTTP/1.1 204 No Content\r\nDate: Fri, 20 Nov 2026 21:28:42 GMT\r\n{fields}\
                Access-Control-Allow-Methods: GET, POST, OPTIONS\r\nAccess-Control-Allow-Headers: Accept, \
                Authorization, Content-Type, Last-Event-ID, Pragma, X-Requested-With\r\n\
                Access-Control-Max-Age: 7200\r\n\r\n"
            );
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn cookies() {
        let date = date();
        for (secure, end) in [(false, ""), (true, "; Secure")] {
            let set_cookie = SetCookie::new("BAYEUX_BROWSER", "a1B2", secure);
            assert!(set_cookie.is_some());
            let head = text(&ResponseHead { set_cookie, ..plain(&date) });
            let field = format!("\r\nSet-Cookie: BAYEUX_BROWSER=a1B2; Path=/; HttpOnly; SameSite=Lax{end}\r\n");
            assert!(head.contains(&field), "{head}");
        }
        for value in ["a b", "a\r\nX: y", "a;b", "a,b", "a\"", "a\\", "\u{e4}", "a\0", "a\x7f"] {
            assert_eq!(SetCookie::new("N", value, false), None, "{value:?}");
        }
    }

    #[test]
    fn allow_and_disposition() {
        let date = date();
        let status = Status::MethodNotAllowed;
        let head = text(&ResponseHead { status, allow: Some("GET, POST"), ..plain(&date) });
        assert!(head.contains("\r\nAllow: GET, POST\r\n"));
        let disposition = Some("attachment; filename=\"f.txt\"");
        let content = Some(Content { disposition, ..Content::sized("text/javascript", 1) });
        let head = text(&ResponseHead { content, ..plain(&date) });
        assert!(head.contains("\r\nContent-Disposition: attachment; filename=\"f.txt\"\r\n"));
    }

    #[test]
    fn an_upgrade_that_is_required_is_named() {
        let date = date();
        let head = text(&ResponseHead { status: Status::UpgradeRequired, ..plain(&date) });
        let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
        assert!(head.ends_with(&format!("no-store\r\n{fields}Content-Length: 0\r\n\r\n")), "{head}");
        assert!(!text(&plain(&date)).contains("Upgrade"));
    }

    #[test]
    fn decimals() {
        for number in [0, 1, 9, 10, 99, 100, 65_535, 1_000_000, usize::MAX] {
            let mut out = Vec::new();
            write_decimal(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }

    #[test]
    fn a_usual_head_needs_one_reservation() {
        let date = date();
        let status = Status::HeadersTooLarge;
        let content = Some(Content::sized(JSON, usize::MAX));
        let head = ResponseHead { status, content, persistence: Persistence::KeepAlive10, ..plain(&date) };
        assert!(text(&head).len() <= USUAL_HEAD_BYTES);
    }

    #[test]
    fn the_interim_response() {
        assert_eq!(CONTINUE, b"HTTP/1.1 100 Continue\r\n\r\n");
    }
}
