//! The chunked transfer coding of a request body (RFC 9112 section 7.1).
//!
//! Owns taking the chunks apart. Stricter than the RFC asks where leniency has let requests be smuggled: lines end with
//! CR LF only, a size has 1 to 16 digits, and nothing but extensions may follow it. Extensions and trailers are checked,
//! counted and dropped. It must not interpret the bytes it frees.

use super::response::Status;
use super::{HttpError, is_token_byte, is_value_byte};
use crate::limits::{self, Limits};

/// Digits of one chunk size, count: as many as a u64 takes.
const SIZE_DIGITS: u8 = 16;

/// What the next byte belongs to.
///
/// | state | legal bytes → next state |
/// |---|---|
/// | `Size` | hex digit → same; after one digit also `;` → `Extension`, space or HTAB → `BeforeExtension`, CR → `SizeLf` |
/// | `BeforeExtension` | space, HTAB → same; `;` → `Extension` |
/// | `Extension` | anything but controls → same; CR → `SizeLf` |
/// | `SizeLf` | LF → `Data`, or `TrailerStart` after a size of zero |
/// | `Data` | any; after the last byte of the chunk → `DataCr` |
/// | `DataCr` | CR → `DataLf` |
/// | `DataLf` | LF → `Size` |
/// | `TrailerStart` | CR → `LastLf`; token byte → `TrailerName` |
/// | `TrailerName` | token byte → same; colon → `Trailer` |
/// | `Trailer` | anything but controls → same; CR → `TrailerLf` |
/// | `TrailerLf` | LF → `TrailerStart` |
/// | `LastLf` | LF → `Done` |
/// | `Done` | none: the next byte belongs to the next request |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    BeforeExtension,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    Trailer,
    TrailerLf,
    LastLf,
    Done,
}

/// How far one chunked body has been decoded. Start the next body with a fresh one.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChunkedDecoder {
    /// Bytes of the current chunk: its size while that is read, then what is still missing.
    chunk: u64,
    /// Bytes of all chunks before the current one.
    total: u64,
    /// Bytes of the current extension or, after the last chunk, of the trailers.
    extra: u16,
    /// Digits of the current size.
    digits: u8,
    state: State,
}

/// What one call of [`ChunkedDecoder::decode`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunked {
    /// Bytes of the input that belong to the body and are used up: all of it until the body is done.
    pub consumed: usize,
    /// Whether the body is complete.
    pub done: bool,
}

impl ChunkedDecoder {
    /// Takes what came next from the connection, appends the body bytes in it to `out` and stops behind the end of the
    /// body. May be called with any piece, also an empty one.
    ///
    /// # Errors
    /// At the first offending byte, whatever the pieces: 413 as soon as a size says that the body exceeds
    /// `limits.body_bytes`; 431 for trailers above [`limits::TRAILER_BYTES`]; 400 for anything malformed and for an
    /// extension above [`limits::CHUNK_EXTENSION_BYTES`]. The decoder must not be used after an error.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, limits: &Limits) -> Result<Chunked, HttpError> {
        let mut rest = input;
        while self.state != State::Done {
            if self.state == State::Data {
                rest = self.take_data(rest, out);
            }
            let Some((&byte, after)) = rest.split_first() else { break };
            self.state = self.step(byte, limits)?;
            rest = after;
        }
        Ok(Chunked { consumed: input.len().saturating_sub(rest.len()), done: self.state == State::Done })
    }

    /// Copies what there is of the current chunk and returns what follows it.
    fn take_data<'i>(&mut self, input: &'i [u8], out: &mut Vec<u8>) -> &'i [u8] {
        let length = usize::try_from(self.chunk).unwrap_or(usize::MAX).min(input.len());
        let (data, rest) = input.split_at_checked(length).unwrap_or((input, &[]));
        out.extend_from_slice(data);
        self.chunk = self.chunk.saturating_sub(length as u64);
        if self.chunk == 0 {
            self.state = State::DataCr;
        }
        rest
    }

    /// Judges one byte that is not data and returns the state after it.
    fn step(&mut self, byte: u8, limits: &Limits) -> Result<State, HttpError> {
        match (self.state, byte) {
            (State::Size, _) => self.size_byte(byte, limits),
            (State::BeforeExtension, b' ' | b'\t' | b';') | (State::Extension, _) => self.extension_byte(byte),
            (State::SizeLf, b'\n') => Ok(self.size_complete()),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size),
            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::TrailerStart, b' ' | b'\t') => {
                Err(HttpError::bad_request("a trailer line that begins with a space"))
            }
            (State::TrailerStart | State::TrailerName | State::Trailer, _) | (State::TrailerLf, b'\n') => {
                self.trailer_byte(byte)
            }
            (State::LastLf, b'\n') => Ok(State::Done),
            (State::DataCr | State::DataLf, _) => Err(HttpError::bad_request("a chunk longer than its size")),
            (State::BeforeExtension, _) => Err(HttpError::bad_request("a chunk size followed by a space")),
            (State::SizeLf | State::TrailerLf | State::LastLf, _) => {
                Err(HttpError::bad_request("a carriage return without a line feed in a chunked body"))
            }
            // Never asked for: data is taken by `take_data`, and nothing is taken after the end.
            (State::Data | State::Done, _) => Ok(self.state),
        }
    }

    fn size_byte(&mut self, byte: u8, limits: &Limits) -> Result<State, HttpError> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            return self.size_digit(digit, limits);
        }
        match byte {
            _ if self.digits == 0 => Err(HttpError::bad_request("a chunk without a size")),
            b'\r' => Ok(State::SizeLf),
            b';' | b' ' | b'\t' => self.extension_byte(byte),
            _ => Err(HttpError::bad_request("a chunk size that is not a hexadecimal number")),
        }
    }

    fn size_digit(&mut self, digit: u32, limits: &Limits) -> Result<State, HttpError> {
        if self.digits >= SIZE_DIGITS {
            return Err(HttpError::bad_request("a chunk size with too many digits"));
        }
        self.digits = self.digits.saturating_add(1);
        let size = self.chunk.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit)));
        let body = size.and_then(|size| size.checked_add(self.total));
        match (size, body) {
            (Some(size), Some(body)) if body <= limits.body_bytes as u64 => {
                self.chunk = size;
                Ok(State::Size)
            }
            _ => Err(HttpError::new(
                Status::ContentTooLarge,
                "the request body is larger than --max-message-size allows",
            )),
        }
    }

    /// Ends the line of a size and prepares the counters for what follows it.
    fn size_complete(&mut self) -> State {
        self.digits = 0;
        self.extra = 0;
        if self.chunk == 0 {
            return State::TrailerStart;
        }
        self.total = self.total.saturating_add(self.chunk);
        State::Data
    }

    fn extension_byte(&mut self, byte: u8) -> Result<State, HttpError> {
        if byte == b'\r' {
            return Ok(State::SizeLf);
        }
        if !is_value_byte(byte) {
            return Err(HttpError::bad_request("a control character in a chunk extension"));
        }
        if usize::from(self.extra) >= limits::CHUNK_EXTENSION_BYTES {
            return Err(HttpError::bad_request("a chunk extension that is too long"));
        }
        self.extra = self.extra.saturating_add(1);
        match (self.state, byte) {
            (State::Size | State::BeforeExtension, b' ' | b'\t') => Ok(State::BeforeExtension),
            _ => Ok(State::Extension),
        }
    }

    /// Line ends of trailers count like their text, the final empty line does not.
    fn trailer_byte(&mut self, byte: u8) -> Result<State, HttpError> {
        let next = match (self.state, byte) {
            (State::TrailerLf, _) => State::TrailerStart,
            (State::TrailerName, b':') => State::Trailer,
            (State::TrailerStart | State::TrailerName, _) if is_token_byte(byte) => State::TrailerName,
            (State::TrailerStart | State::TrailerName, _) => {
                return Err(HttpError::bad_request("a trailer line that is not a header field"));
            }
            (State::Trailer, b'\r') => State::TrailerLf,
            _ if is_value_byte(byte) => State::Trailer,
            _ => return Err(HttpError::bad_request("a control character in a trailer")),
        };
        if usize::from(self.extra) >= limits::TRAILER_BYTES {
            return Err(HttpError::new(Status::HeadersTooLarge, "the trailers are too long"));
        }
        self.extra = self.extra.saturating_add(1);
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::super::splits::same_however_split;
    use super::*;
    use proptest::prelude::*;

    /// The body and the bytes behind it, None if more is needed, or the status of the error.
    type Verdict = Result<Option<(Vec<u8>, usize)>, Status>;

    fn decode(pieces: &[&[u8]], limits: &Limits) -> Verdict {
        let mut decoder = ChunkedDecoder::default();
        let mut out = Vec::new();
        let mut consumed = 0;
        for piece in pieces {
            let step = decoder.decode(piece, &mut out, limits).map_err(|error| error.status)?;
            consumed += step.consumed;
            if step.done {
                return Ok(Some((out, consumed)));
            }
            assert_eq!(step.consumed, piece.len());
        }
        Ok(None)
    }

    fn verdict(raw: &[u8], limits: &Limits) -> Verdict {
        same_however_split(raw, |pieces| decode(pieces, limits))
    }

    fn offending(raw: &[u8], limits: &Limits) -> usize {
        let mut decoder = ChunkedDecoder::default();
        for (at, byte) in raw.iter().enumerate() {
            if decoder.decode(&[*byte], &mut Vec::new(), limits).is_err() {
                return at;
            }
        }
        panic!("no error in {raw:?}");
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<ChunkedDecoder>() <= 24);
    }

    #[test]
    fn bodies() {
        for (raw, body) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("1\r\nh\r\n004\r\nello\r\n000\r\n\r\n", "hello"),
            ("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
            ("0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", "hello"),
            ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
            ("2;a=b;c=\"d;\u{e4}\"\r\nhi\r\n0;x\r\n\r\n", "hi"),
            ("2 \t;a\r\nhi\r\n0 ;x\r\n\r\n", "hi"),
            ("2;\r\nhi\r\n0\r\n\r\n", "hi"),
            ("2\r\nhi\r\n0\r\nA: b\r\nC:\td\u{e4}\r\n\r\n", "hi"),
        ] {
            let expected = Ok(Some((body.as_bytes().to_vec(), raw.len())));
            assert_eq!(verdict(raw.as_bytes(), &Limits::default()), expected, "{raw:?}");
            let more = format!("{raw}\0GET / HTTP/1.1\r\n");
            assert_eq!(verdict(more.as_bytes(), &Limits::default()), expected, "{raw:?} and more");
            assert_eq!(verdict(&raw.as_bytes()[..raw.len() - 1], &Limits::default()), Ok(None), "{raw:?} cut");
        }
    }

    #[test]
    fn nothing_is_taken_after_the_end() {
        let mut decoder = ChunkedDecoder::default();
        let mut out = Vec::new();
        let limits = Limits::default();
        assert_eq!(decoder.decode(b"0\r\n\r\nmore", &mut out, &limits), Ok(Chunked { consumed: 5, done: true }));
        assert_eq!(decoder.decode(b"more", &mut out, &limits), Ok(Chunked { consumed: 0, done: true }));
        assert!(out.is_empty());
    }

    /// `^` marks the first offending byte, which is the one after it.
    #[test]
    fn offending_bytes() {
        for marked in [
            "^\r\n\r\n",
            "^\n",
            "^;a\r\n",
            "^ 1\r\n",
            "^-1\r\n",
            "^+1\r\n",
            "^g\r\n",
            "0^x1\r\n",
            "1^\n",
            "1\r^h",
            "1\r^\r\n",
            "1^,\r\n",
            "1 ^\r\n",
            "1 ^2\r\n",
            "1 ^a\r\n",
            "1;a^\n",
            "1;a^\0\r\n",
            "1;a^\x7f\r\n",
            "1;a\r^;",
            "1\r\nh^\n",
            "1\r\nh^i\r\n",
            "1\r\nh\r^0",
            "1\r\nh\r\n^\r\n",
            "1\r\nh\r\n0\r^x",
            "0000000000000000^0\r\n",
            "0\r\n^\n",
            "0\r\n\r^\r",
            "0\r\n^ a: b\r\n\r\n",
            "0\r\n^\0: b\r\n\r\n",
            "0\r\na: b^\n\r\n",
            "0\r\na: b\r^c",
            "0\r\na: ^\x01\r\n\r\n",
            "0\r\na: b\r\n^\tc\r\n\r\n",
            "0\r\na^\r\n\r\n",
            "0\r\na^ : b\r\n\r\n",
            "0\r\n^: b\r\n\r\n",
            "0\r\na^\n\r\n",
            "0\r\nGET^ /",
        ] {
            let at = marked.find('^').unwrap();
            let raw = marked.replacen('^', "", 1);
            assert_eq!(verdict(raw.as_bytes(), &Limits::default()), Err(Status::BadRequest), "{marked:?}");
            assert_eq!(offending(raw.as_bytes(), &Limits::default()), at, "{marked:?}");
        }
    }

    #[test]
    fn bodies_at_their_limit() {
        let limits = Limits { body_bytes: 20, ..Limits::default() };
        for (length, fits) in [(19, true), (20, true), (21, false)] {
            let data = "x".repeat(length);
            let one = format!("{length:x}\r\n{data}\r\n0\r\n\r\n");
            let two = format!("A\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", &data[..10], length - 10, &data[10..]);
            for raw in [one, two] {
                let expected =
                    if fits { Ok(Some((data.clone().into_bytes(), raw.len()))) } else { Err(Status::ContentTooLarge) };
                assert_eq!(verdict(raw.as_bytes(), &limits), expected, "{raw:?}");
            }
        }
        // Known with the digit that makes it too large, long before the data.
        assert_eq!(offending(b"15\r\n", &limits), 1);
        assert_eq!(offending(b"1000\r\n", &limits), 2);
        assert_eq!(offending(b"A\r\n0123456789\r\nB\r\n", &limits), 15);
    }

    #[test]
    fn sums_never_wrap() {
        let limits = Limits { body_bytes: usize::MAX, ..Limits::default() };
        assert_eq!(verdict(b"1\r\nx\r\nFFFFFFFFFFFFFFFF\r\n", &limits), Err(Status::ContentTooLarge));
        assert_eq!(verdict(b"1\r\nx\r\nFFFFFFFFFFFFFFFE\r\n", &limits), Ok(None));
        assert_eq!(verdict(b"FFFFFFFFFFFFFFFF\r\nabc", &limits), Ok(None));
        assert_eq!(verdict(b"FFFFFFFFFFFFFFFFF\r\nabc", &limits), Err(Status::BadRequest));
    }

    #[test]
    fn size_digits_at_their_limit() {
        for (digits, ok) in [(15, true), (16, true), (17, false)] {
            let raw = format!("{}1\r\nx\r\n0\r\n\r\n", "0".repeat(digits - 1));
            assert_eq!(verdict(raw.as_bytes(), &Limits::default()).is_ok(), ok, "{digits}");
        }
    }

    #[test]
    fn extensions_at_their_limit() {
        for (length, ok) in [(255, true), (256, true), (257, false)] {
            for raw in [
                // The count starts afresh with each chunk.
                format!("1;{}\r\nx\r\n1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(200), "e".repeat(length - 1)),
                format!("0{};\r\n\r\n", " ".repeat(length - 1)),
            ] {
                let found = verdict(raw.as_bytes(), &Limits::default()).map(|it| it.is_some());
                assert_eq!(found, if ok { Ok(true) } else { Err(Status::BadRequest) }, "{length}");
            }
        }
    }

    #[test]
    fn trailers_at_their_limit() {
        for (length, ok) in [(2047, true), (2048, true), (2049, false)] {
            let one = format!("0\r\nt:{}\r\n\r\n", "t".repeat(length - 4));
            let many =
                format!("0;{}\r\n{}t:{}\r\n\r\n", "e".repeat(200), "a: b\r\n".repeat(100), "t".repeat(length - 604));
            for raw in [one, many] {
                let found = decode(&[raw.as_bytes()], &Limits::default()).map(|it| it.is_some());
                assert_eq!(found, if ok { Ok(true) } else { Err(Status::HeadersTooLarge) }, "{length}");
            }
        }
        let endless = format!("0\r\n{}", "t".repeat(3000));
        assert_eq!(offending(endless.as_bytes(), &Limits::default()), 3 + limits::TRAILER_BYTES);
    }

    /// Writes the body as chunks of these sizes, the last of them as long as it must be, each size in another style.
    fn encode(body: &[u8], sizes: &[usize]) -> Vec<u8> {
        let mut raw = Vec::new();
        let mut rest = body;
        let mut sizes = sizes.iter().enumerate();
        while !rest.is_empty() {
            let (style, size) = sizes.next().map_or((0, rest.len()), |(at, size)| (at % 3, (*size).min(rest.len())));
            let line = match style {
                0 => format!("{size:x}\r\n"),
                1 => format!("{size:06X}\r\n"),
                _ => format!("{size:x} ;a=\"b\"\r\n"),
            };
            raw.extend_from_slice(line.as_bytes());
            raw.extend_from_slice(&rest[..size]);
            raw.extend_from_slice(b"\r\n");
            rest = &rest[size..];
        }
        raw.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
        raw
    }

    proptest! {
        #[test]
        fn any_body_chunked_any_way_and_split_any_way_comes_back(
            body in proptest::collection::vec(any::<u8>(), 0..300),
            sizes in proptest::collection::vec(1..40_usize, 0..12),
            cuts in proptest::collection::vec(1..30_usize, 0..40),
        ) {
            let raw = encode(&body, &sizes);
            let mut pieces = Vec::new();
            let mut rest = &raw[..];
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(decode(&pieces, &Limits::default()), Ok(Some((body, raw.len()))));
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_never_depend_on_the_split(
            pieces in proptest::collection::vec(
                prop_oneof![
                    3 => Just(b"\r\n".to_vec()),
                    2 => Just(b"2\r\nhi".to_vec()),
                    2 => Just(b"0\r\n".to_vec()),
                    1 => Just(b";a".to_vec()),
                    1 => proptest::collection::vec(any::<u8>(), 0..4),
                ],
                0..16,
            ),
            body_bytes in 0..20_usize,
        ) {
            let limits = Limits { body_bytes, ..Limits::default() };
            if let Ok(Some((body, _))) = verdict(&pieces.concat(), &limits) {
                prop_assert!(body.len() <= body_bytes);
            }
        }
    }
}
