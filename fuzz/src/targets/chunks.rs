//! The chunk decoder: any bytes, in any pieces.
//!
//! - The verdict, the body and its end do not depend on the pieces.
//! - A body that is accepted is what a slow and simple reading of the same bytes gives: lines end with CR LF, sizes are
//!   hexadecimal digits, nothing else is believed.
//! - No body is longer than its limit, and none is kept that was not there.

use encke::http::HttpError;
use encke::http::body::ChunkedDecoder;
use encke::limits::{CHUNK_EXTENSION_BYTES, Limits, TRAILER_BYTES};

use super::{both_limits, meter, pieces};

/// The smallest buffer that a list of bytes begins with; ten times the input allows for its growth.
const CONSTANT: usize = 8;

/// The body and how many bytes it took, if it is complete.
type Verdict = Result<Option<(Vec<u8>, usize)>, HttpError>;

/// Plays an input.
pub(crate) fn run(data: &[u8]) {
    for limits in both_limits() {
        let whole = decode(data, &[], &limits);
        for ends in pieces::cuts(data) {
            assert_eq!(decode(data, &ends, &limits), whole, "cut at {ends:?}");
        }
        if let Ok(Some((body, used))) = whole {
            assert!(body.len() <= limits.body_bytes, "a body of {} bytes", body.len());
            assert_eq!(simple(&data[..used]), Some(body), "of {used} bytes");
        }
    }
}

fn decode(data: &[u8], ends: &[usize], limits: &Limits) -> Verdict {
    let mut decoder = ChunkedDecoder::default();
    let mut body = Vec::new();
    let mut used = 0;
    for piece in pieces::pieces(data, ends) {
        let before = body.len();
        let chunked = meter::within(used + piece.len(), CONSTANT, || decoder.decode(piece, &mut body, limits))?;
        assert!(body.len() - before <= chunked.consumed, "a body longer than what it came in");
        used += chunked.consumed;
        if chunked.done {
            return Ok(Some((body, used)));
        }
        assert_eq!(chunked.consumed, piece.len(), "only a complete body leaves something");
    }
    Ok(None)
}

/// The body of exactly these bytes, read line by line; `None` if they are no chunked body.
fn simple(mut data: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = take_line(&mut data)?;
        let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
        let (size, extension) = line.split_at(end);
        let size = usize::from_str_radix(core::str::from_utf8(size).ok()?, 16).ok()?;
        let begins = extension.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
        if extension.len() > CHUNK_EXTENSION_BYTES || begins.is_some_and(|byte| *byte != b';') {
            return None;
        }
        if size == 0 {
            break;
        }
        body.extend_from_slice(data.get(..size)?);
        data = data.get(size..)?.strip_prefix(b"\r\n")?;
    }
    let mut trailers = 0;
    loop {
        let line = take_line(&mut data)?;
        if line.is_empty() {
            break;
        }
        trailers += line.len() + 2;
    }
    (data.is_empty() && trailers <= TRAILER_BYTES).then_some(body)
}

/// A line off the front, without its end.
fn take_line<'d>(data: &mut &'d [u8]) -> Option<&'d [u8]> {
    let end = data.windows(2).position(|pair| pair == b"\r\n")?;
    let line = &data[..end];
    *data = &data[end + 2..];
    (!line.contains(&b'\r') && !line.contains(&b'\n')).then_some(line)
}
