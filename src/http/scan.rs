//! The strict look at a request head, byte for byte, before anything interprets it (RFC 9112 sections 2 to 5).
//!
//! Owns where a head ends and which bytes may stand in it; that is what keeps this server and a proxy in front of it from
//! seeing two different requests in the same bytes. It must not give a meaning to any field: that is `head`.

use super::response::Status;
use super::{HttpError, is_token_byte, is_value_byte};
use crate::limits::{self, Limits};

/// A request line beyond `limits.line_bytes`.
pub const LONG_REQUEST_LINE: HttpError = HttpError::new(Status::UriTooLong, "the request line is too long");
/// A header line beyond `limits.line_bytes`.
pub const LONG_HEADER_LINE: HttpError = HttpError::new(Status::HeadersTooLarge, "a header line is too long");
/// A head beyond `limits.head_bytes`.
pub const LONG_HEAD: HttpError = HttpError::new(Status::HeadersTooLarge, "the request head is too long");
/// More fields than [`limits::HEADERS`].
pub const MANY_FIELDS: HttpError = HttpError::new(Status::HeadersTooLarge, "too many header fields");
/// The first byte of a TLS connection: a record of its handshake (RFC 8446 section 5.1).
const TLS_RECORD: u8 = 0x16;

/// What the next byte belongs to.
///
/// | state | legal bytes → next state |
/// |---|---|
/// | `Start` | CR → `EmptyCr`; printable ASCII → `RequestLine` |
/// | `EmptyCr` | LF → `Start` |
/// | `RequestLine` | space, printable ASCII → same; CR → `RequestCr` |
/// | `RequestCr` | LF → `LineStart` |
/// | `LineStart` | token byte → `Name`; CR → `LastCr` |
/// | `Name` | token byte → same; colon → `Value` |
/// | `Value` | HTAB, space, printable ASCII, non-ASCII → same; CR → `ValueCr` |
/// | `ValueCr` | LF → `LineStart` |
/// | `LastCr` | LF → `Done` |
/// | `Done` | none: the next byte belongs to the body or the next request |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    EmptyCr,
    RequestLine,
    RequestCr,
    LineStart,
    Name,
    Value,
    ValueCr,
    LastCr,
    Done,
}

/// How far the head of the current request has been looked at. Small and without heap, because every connection has one;
/// start the next request with a fresh one.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScan {
    /// Bytes looked at.
    at: u32,
    /// Bytes of the current line so far.
    line: u32,
    /// Header fields begun.
    fields: u8,
    /// Empty lines forgiven.
    empty: u8,
    state: State,
}

impl HeadScan {
    /// Looks for the end of the head in `buf`, which always starts at the first byte after the previous request and only
    /// ever grows. Resumes where it stopped and looks at no byte more than twice.
    ///
    /// Returns the head's length in bytes, the empty line at its end and forgiven empty lines before it included, or None
    /// if more bytes are needed.
    ///
    /// # Errors
    /// At the first offending byte, whatever the pieces in which the bytes came: 414 or 431 for a line, a head or a number
    /// of fields beyond its limit, 400 for a byte that must not stand where it stands. A head of more than 4 GiB is refused
    /// whatever the limit.
    pub fn advance(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, HttpError> {
        let head_bytes = limits.head_bytes.min(u32::MAX as usize);
        while self.state != State::Done {
            self.skip_lines(buf, head_bytes, limits.line_bytes);
            self.skip_ordinary(buf, head_bytes, limits.line_bytes);
            let Some(&byte) = buf.get(self.at as usize) else { return Ok(None) };
            if self.at as usize >= head_bytes {
                return Err(LONG_HEAD);
            }
            self.state = self.step(byte, limits.line_bytes)?;
            self.at = self.at.saturating_add(1);
        }
        Ok(Some(self.at as usize))
    }

    /// Passes over whole header lines that are as they should be. Only a shortcut, like [`Self::skip_ordinary`]: it stops
    /// before a line that breaks a rule or a limit, or is not all there.
    fn skip_lines(&mut self, buf: &[u8], head_bytes: usize, line_bytes: usize) {
        while self.state == State::LineStart && usize::from(self.fields) < limits::HEADERS {
            let lines = buf.get(self.at as usize..buf.len().min(head_bytes)).unwrap_or_default();
            let name = leading(lines, is_token_byte);
            let Some((b':', value)) = lines.get(name..).and_then(<[u8]>::split_first) else { return };
            let value_bytes = leading_wide(value, is_value_byte);
            let line = name.saturating_add(1).saturating_add(value_bytes);
            let ends = value.get(value_bytes..).is_some_and(|rest| rest.starts_with(b"\r\n"));
            let next = u32::try_from(line.saturating_add(2)).ok().and_then(|bytes| self.at.checked_add(bytes));
            let Some(next) = next.filter(|_| ends && name > 0 && line <= line_bytes) else { return };
            self.at = next;
            self.fields = self.fields.saturating_add(1);
        }
    }

    /// Passes over bytes that [`Self::step`] would accept without changing the state. Only a shortcut: it stops at every
    /// limit and leaves all verdicts to `step`.
    fn skip_ordinary(&mut self, buf: &[u8], head_bytes: usize, line_bytes: usize) {
        let at = self.at as usize;
        let line_end = at.saturating_add(line_bytes.saturating_sub(self.line as usize));
        let end = buf.len().min(head_bytes).min(line_end);
        let window = buf.get(at..end).unwrap_or_default();
        let run = match self.state {
            State::RequestLine => leading_wide(window, is_request_line_byte),
            State::Name => leading(window, is_token_byte),
            State::Value => leading_wide(window, is_value_byte),
            _ => 0,
        };
        let run = u32::try_from(run).unwrap_or(u32::MAX);
        self.at = self.at.saturating_add(run);
        self.line = self.line.saturating_add(run);
    }

    /// Judges one byte and returns the state after it.
    fn step(&mut self, byte: u8, line_bytes: usize) -> Result<State, HttpError> {
        match (self.state, byte) {
            (State::Start, b'\r') => self.empty_line(),
            (State::EmptyCr, b'\n') => Ok(State::Start),
            (State::RequestLine, b'\r') => Ok(State::RequestCr),
            (State::Start | State::RequestLine, _) => self.request_line_byte(byte, line_bytes),
            (State::RequestCr | State::ValueCr, b'\n') => {
                self.line = 0;
                Ok(State::LineStart)
            }
            (State::LineStart, b'\r') => Ok(State::LastCr),
            (State::LineStart, _) => self.first_name_byte(byte, line_bytes),
            (State::Name, _) => self.name_byte(byte, line_bytes),
            (State::Value, b'\r') => Ok(State::ValueCr),
            (State::Value, _) => self.value_byte(byte, line_bytes),
            (State::LastCr, b'\n') => Ok(State::Done),
            (State::EmptyCr | State::RequestCr | State::ValueCr | State::LastCr, _) => {
                Err(HttpError::bad_request("a carriage return without a line feed"))
            }
            (State::Done, _) => Ok(State::Done),
        }
    }

    fn empty_line(&mut self) -> Result<State, HttpError> {
        if usize::from(self.empty) >= limits::LEADING_EMPTY_LINES {
            return Err(HttpError::bad_request("too many empty lines before the request line"));
        }
        self.empty = self.empty.saturating_add(1);
        Ok(State::EmptyCr)
    }

    fn request_line_byte(&mut self, byte: u8, line_bytes: usize) -> Result<State, HttpError> {
        if byte == b'\n' {
            return Err(HttpError::bad_request("a line feed without a carriage return"));
        }
        if byte == TLS_RECORD && self.at == 0 {
            return Err(HttpError::bad_request("this looks like TLS; this port speaks HTTP"));
        }
        if !is_request_line_byte(byte) {
            return Err(HttpError::bad_request("a byte in the request line that is not printable ASCII"));
        }
        self.count(line_bytes, LONG_REQUEST_LINE)?;
        Ok(State::RequestLine)
    }

    fn first_name_byte(&mut self, byte: u8, line_bytes: usize) -> Result<State, HttpError> {
        if matches!(byte, b' ' | b'\t') {
            return Err(HttpError::bad_request("a header line that begins with a space"));
        }
        if byte == b':' {
            return Err(HttpError::bad_request("a header field without a name"));
        }
        if is_token_byte(byte) {
            if usize::from(self.fields) >= limits::HEADERS {
                return Err(MANY_FIELDS);
            }
            self.fields = self.fields.saturating_add(1);
        }
        self.name_byte(byte, line_bytes)
    }

    fn name_byte(&mut self, byte: u8, line_bytes: usize) -> Result<State, HttpError> {
        let next = match byte {
            b':' => State::Value,
            b' ' | b'\t' => return Err(HttpError::bad_request("a space before the colon of a header field")),
            b'\r' => return Err(HttpError::bad_request("a header line without a colon")),
            b'\n' => return Err(HttpError::bad_request("a line feed without a carriage return")),
            _ if is_token_byte(byte) => State::Name,
            _ => return Err(HttpError::bad_request("a byte in a header name that must not stand there")),
        };
        self.count_header_byte(line_bytes)?;
        Ok(next)
    }

    fn value_byte(&mut self, byte: u8, line_bytes: usize) -> Result<State, HttpError> {
        if byte == b'\n' {
            return Err(HttpError::bad_request("a line feed without a carriage return"));
        }
        if !is_value_byte(byte) {
            return Err(HttpError::bad_request("a control character in a header value"));
        }
        self.count_header_byte(line_bytes)?;
        Ok(State::Value)
    }

    fn count_header_byte(&mut self, line_bytes: usize) -> Result<(), HttpError> {
        self.count(line_bytes, LONG_HEADER_LINE)
    }

    /// Counts one byte of a line, or fails if the line has all the bytes it may have.
    fn count(&mut self, line_bytes: usize, error: HttpError) -> Result<(), HttpError> {
        if self.line as usize >= line_bytes {
            return Err(error);
        }
        self.line = self.line.saturating_add(1);
        Ok(())
    }
}

/// How many bytes at the beginning are ordinary.
fn leading(bytes: &[u8], ordinary: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&byte| !ordinary(byte)).unwrap_or(bytes.len())
}

/// The same for long runs: sixteen bytes are asked about without a branch between them, which the compiler makes a few
/// wide comparisons.
fn leading_wide(bytes: &[u8], ordinary: impl Fn(u8) -> bool) -> usize {
    let (pieces, _) = bytes.as_chunks::<16>();
    let all = |piece: &&[u8; 16]| piece.iter().fold(true, |all, &byte| all & ordinary(byte));
    let wide = pieces.iter().take_while(all).count().saturating_mul(16);
    leading(bytes.get(wide..).unwrap_or_default(), ordinary).saturating_add(wide)
}

fn is_request_line_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

#[cfg(test)]
mod tests {
    use super::super::splits::same_however_split;
    use super::*;
    use proptest::prelude::*;

    /// The verdict over pieces that arrive one after another.
    fn scan(pieces: &[&[u8]], limits: &Limits) -> Result<Option<usize>, HttpError> {
        let mut scan = HeadScan::default();
        let mut buf = Vec::new();
        for piece in pieces {
            buf.extend_from_slice(piece);
            if let Some(length) = scan.advance(&buf, limits)? {
                return Ok(Some(length));
            }
        }
        Ok(None)
    }

    fn verdict(raw: &[u8], limits: &Limits) -> Result<Option<usize>, Status> {
        same_however_split(raw, |pieces| scan(pieces, limits)).map_err(|error| error.status)
    }

    /// The index of the byte at which a byte-by-byte scan fails.
    fn offending(raw: &[u8], limits: &Limits) -> usize {
        let mut scan = HeadScan::default();
        for shown in 1..=raw.len() {
            if scan.advance(&raw[..shown], limits).is_err() {
                return shown - 1;
            }
        }
        panic!("no error in {raw:?}");
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<HeadScan>() <= 12);
    }

    #[test]
    fn complete_heads() {
        let limits = Limits::default();
        for raw in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nX:\r\nY:  \t \r\nZ:a\tb: c\u{e4}\r\n\r\n",
            "!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\n!#$%&'*+-.^_`|~09azAZ: 1\r\n\r\n",
        ] {
            assert_eq!(verdict(raw.as_bytes(), &limits), Ok(Some(raw.len())), "{raw:?}");
            let mut more = raw.as_bytes().to_vec();
            more.extend_from_slice(b"\x00\n\r body or next request");
            assert_eq!(verdict(&more, &limits), Ok(Some(raw.len())), "{raw:?} and more");
            assert_eq!(verdict(&raw.as_bytes()[..raw.len() - 1], &limits), Ok(None), "{raw:?} cut");
        }
        assert_eq!(verdict(b"", &limits), Ok(None));
    }

    #[test]
    fn a_finished_scan_stays_finished() {
        let raw = b"GET / HTTP/1.0\r\n\r\nmore";
        let mut scan = HeadScan::default();
        assert_eq!(scan.advance(raw, &Limits::default()), Ok(Some(18)));
        assert_eq!(scan.advance(raw, &Limits::default()), Ok(Some(18)));
    }

    /// `^` marks the first offending byte, which is the one after it.
    #[test]
    fn offending_bytes() {
        for marked in [
            "^\nGET / HTTP/1.1\r\n\r\n",
            "\r\n\r\n^\r\nGET / HTTP/1.1\r\n\r\n",
            "\r^GET / HTTP/1.1\r\n\r\n",
            "\r^\r\n",
            "^\0GET / HTTP/1.1\r\n\r\n",
            "^\tGET / HTTP/1.1\r\n\r\n",
            "GET^\t/ HTTP/1.1\r\n\r\n",
            "GET /^\u{e4} HTTP/1.1\r\n\r\n",
            "GET /^\0 HTTP/1.1\r\n\r\n",
            "GET /^\x7f HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1^\n\r\n",
            "GET / HTTP/1.1\r^\r\n",
            "GET / HTTP/1.1\r^H: a\r\n\r\n",
            "GET / HTTP/1.1\r\n^ H: a\r\n\r\n",
            "GET / HTTP/1.1\r\n^\tH: a\r\n\r\n",
            "GET / HTTP/1.1\r\n^: a\r\n\r\n",
            "GET / HTTP/1.1\r\n^\nH: a\r\n\r\n",
            "GET / HTTP/1.1\r\nH^ : a\r\n\r\n",
            "GET / HTTP/1.1\r\nH^\t: a\r\n\r\n",
            "GET / HTTP/1.1\r\nH^\r\n\r\n",
            "GET / HTTP/1.1\r\nH^\n: a\r\n\r\n",
            "GET / HTTP/1.1\r\nH^\0: a\r\n\r\n",
            "GET / HTTP/1.1\r\nH^(: a\r\n\r\n",
            "GET / HTTP/1.1\r\nH^\u{e4}: a\r\n\r\n",
            "GET / HTTP/1.1\r\n^\u{e4}: a\r\n\r\n",
            "GET / HTTP/1.1\r\nH: a^\nB: c\r\n\r\n",
            "GET / HTTP/1.1\r\nH: a\r^B: c\r\n\r\n",
            "GET / HTTP/1.1\r\nH: a\r^\r\n\r\n",
            "GET / HTTP/1.1\r\nH: a^\0\r\n\r\n",
            "GET / HTTP/1.1\r\nH: a^\x01\r\n\r\n",
            "GET / HTTP/1.1\r\nH: a^\x0b\r\n\r\n",
            "GET / HTTP/1.1\r\nH: a^\x7f\r\n\r\n",
            "GET / HTTP/1.1\r\nH: a\r\n^ folded\r\n\r\n",
            "GET / HTTP/1.1\r\nH: a\r\n^\tfolded\r\n\r\n",
            "GET / HTTP/1.1\r\nH: a\r\n\r^x",
            "GET / HTTP/1.1\r\nH: a\r\n^\n",
        ] {
            let at = marked.find('^').unwrap();
            let raw = marked.replacen('^', "", 1);
            assert_eq!(verdict(raw.as_bytes(), &Limits::default()), Err(Status::BadRequest), "{marked:?}");
            assert_eq!(offending(raw.as_bytes(), &Limits::default()), at, "{marked:?}");
        }
    }

    #[test]
    fn a_folded_line_is_called_what_it_is() {
        let folded = HeadScan::default().advance(b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", &Limits::default());
        assert_eq!(folded.unwrap_err().reason, "a header line that begins with a space");
    }

    #[test]
    fn an_error_repeats_itself() {
        let raw = b"GET / HTTP/1.1\nHost: a\r\n\r\n";
        let mut scan = HeadScan::default();
        let first = scan.advance(raw, &Limits::default());
        assert!(first.is_err());
        assert_eq!(scan.advance(raw, &Limits::default()), first);
    }

    #[test]
    fn lines_at_their_limit() {
        let limits = Limits { line_bytes: 40, ..Limits::default() };
        for (length, request, header) in [
            (39, Ok(true), Ok(true)),
            (40, Ok(true), Ok(true)),
            (41, Err(Status::UriTooLong), Err(Status::HeadersTooLarge)),
        ] {
            let raw = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(length - 14));
            assert_eq!(verdict(raw.as_bytes(), &limits).map(|it| it.is_some()), request, "{length}");
            let raw = format!("GET / HTTP/1.1\r\nA: b\r\nX: {}\r\nC: d\r\n\r\n", "x".repeat(length - 3));
            assert_eq!(verdict(raw.as_bytes(), &limits).map(|it| it.is_some()), header, "{length}");
            let raw = format!("GET / HTTP/1.1\r\n{}:\r\n\r\n", "x".repeat(length - 1));
            assert_eq!(verdict(raw.as_bytes(), &limits).map(|it| it.is_some()), header, "{length}");
        }
        let long = "x".repeat(100);
        assert_eq!(offending(long.as_bytes(), &limits), 40);
        assert_eq!(offending(format!("G\r\n{long}").as_bytes(), &limits), 43);
        assert_eq!(offending(format!("G\r\nA:{long}").as_bytes(), &limits), 43);
    }

    #[test]
    fn default_line_limit() {
        let limits = Limits::default();
        for (length, expected) in [(8191, Ok(true)), (8192, Ok(true)), (8193, Err(Status::UriTooLong))] {
            let raw = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(length - 14));
            let found = scan(&[raw.as_bytes()], &limits).map(|it| it.is_some()).map_err(|error| error.status);
            assert_eq!(found, expected, "{length}");
        }
    }

    #[test]
    fn heads_at_their_limit() {
        let limits = Limits { head_bytes: 60, ..Limits::default() };
        for (length, expected) in [(59, Ok(Some(59))), (60, Ok(Some(60))), (61, Err(Status::HeadersTooLarge))] {
            let raw = format!("\r\nGET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(length - 25));
            assert_eq!(raw.len(), length);
            assert_eq!(verdict(raw.as_bytes(), &limits), expected, "{length}");
        }
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(100));
        assert_eq!(offending(endless.as_bytes(), &limits), 60);
        // What follows the head is not part of it.
        let raw = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n{}", "x".repeat(37), "body".repeat(50));
        assert_eq!(verdict(raw.as_bytes(), &limits), Ok(Some(60)));
    }

    #[test]
    fn fields_at_their_limit() {
        for (count, expected) in [(63, Ok(true)), (64, Ok(true)), (65, Err(Status::HeadersTooLarge))] {
            let raw = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
            let found = verdict(raw.as_bytes(), &Limits::default()).map(|it| it.is_some());
            assert_eq!(found, expected, "{count}");
        }
        let raw = format!("G\r\n{}", "A: b\r\n".repeat(65));
        assert_eq!(offending(raw.as_bytes(), &Limits::default()), 3 + 64 * 6);
    }

    #[test]
    fn empty_lines_at_their_limit() {
        for (count, expected) in [(1, Ok(true)), (2, Ok(true)), (3, Err(Status::BadRequest))] {
            let raw = format!("{}GET / HTTP/1.0\r\n\r\n", "\r\n".repeat(count));
            let found = verdict(raw.as_bytes(), &Limits::default()).map(|it| it.is_some());
            assert_eq!(found, expected, "{count}");
        }
    }

    /// Bytes in which heads, almost-heads and offences are all likely.
    fn headish() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => Just(b"\r\n".to_vec()),
            3 => Just(b"Name: value".to_vec()),
            2 => Just(b"GET / HTTP/1.1".to_vec()),
            1 => Just(b"\r".to_vec()),
            1 => Just(b"\n".to_vec()),
            1 => Just(b":".to_vec()),
            1 => Just(b" ".to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..6),
        ];
        proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_never_depend_on_the_split(
            raw in prop_oneof![headish(), proptest::collection::vec(any::<u8>(), 0..80)],
            head_bytes in 0..200_usize,
            line_bytes in 0..40_usize,
        ) {
            let limits = Limits { head_bytes, line_bytes, ..Limits::default() };
            let found = verdict(&raw, &limits);
            if let Ok(Some(length)) = found {
                prop_assert!(raw[..length].ends_with(b"\r\n\r\n") && length <= head_bytes);
            }
        }
    }
}
