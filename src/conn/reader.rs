//! From bytes in any pieces to whole requests.
//!
//! Owns what is kept of a request that has not arrived completely, and nothing between requests. Must not know what a
//! request means.

use crate::http::HttpError;
use crate::http::body::ChunkedDecoder;
use crate::http::head::{BodyFraming, Head, HeadScan};
use crate::limits::Limits;

/// How far the request under way has come.
///
/// | stage | next |
/// |---|---|
/// | `Head` | a request, `Length` or `Chunked` when the head is complete |
/// | `Length` | a request when the body is complete |
/// | `Chunked` | a request when the last chunk has come |
#[derive(Debug)]
enum Stage {
    Head(HeadScan),
    Length { head: usize, body: usize },
    Chunked { head: Vec<u8>, decoder: ChunkedDecoder, body: Vec<u8> },
}

/// Takes requests off the front of what a connection has received.
#[derive(Debug)]
pub struct Reader {
    stage: Stage,
}

impl Default for Reader {
    fn default() -> Self {
        Self { stage: Stage::Head(HeadScan::default()) }
    }
}

/// What [`Reader::next`] found.
#[derive(Debug)]
pub enum Next<'b> {
    /// A request as it stands in the bytes.
    Whole {
        /// Its head.
        head: Head<'b>,
        /// Its body.
        body: &'b [u8],
        /// Bytes that it took.
        used: usize,
    },
    /// A request that was put together from chunks.
    Assembled {
        /// The bytes of its head, which has been parsed once without error.
        head: Vec<u8>,
        /// Its body.
        body: Vec<u8>,
        /// Bytes that it took.
        used: usize,
    },
    /// The request goes on.
    More {
        /// Bytes that need not be kept; the others come again, with what follows.
        used: usize,
        /// What has just been seen.
        progress: Progress,
    },
}

/// What a part of a request has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not a single byte of it is here.
    Nothing,
    /// Only empty lines are here, which some clients send behind a body: it has not begun.
    Blank,
    /// The head is under way.
    InHead,
    /// The head has just become complete; whether the client waits for leave to send the body.
    HeadDone {
        /// `Expect: 100-continue` (RFC 9110 section 10.1.1).
        expects_continue: bool,
    },
    /// The body is under way.
    InBody,
}

impl Reader {
    /// The memory that it takes beside the bytes that are to be kept for it, bytes.
    pub fn weight(&self) -> usize {
        match &self.stage {
            Stage::Head(_) | Stage::Length { .. } => 0,
            Stage::Chunked { head, body, .. } => head.capacity().saturating_add(body.capacity()),
        }
    }

    /// Looks at the bytes received since the end of the request before, less those said to be used.
    ///
    /// # Errors
    /// The peer's fault. Nothing more may be read from the connection after it.
    pub fn next<'b>(&mut self, data: &'b [u8], limits: &Limits) -> Result<Next<'b>, HttpError> {
        match &mut self.stage {
            Stage::Head(scan) => match scan.advance(data, limits)? {
                Some(len) => self.head_complete(data, len, limits),
                None if data.is_empty() => Ok(Next::More { used: 0, progress: Progress::Nothing }),
                None if data.iter().all(|byte| matches!(byte, b'\r' | b'\n')) => {
                    Ok(Next::More { used: 0, progress: Progress::Blank })
                }
                None => Ok(Next::More { used: 0, progress: Progress::InHead }),
            },
            Stage::Length { head, body } => {
                let (head, body) = (*head, *body);
                let Some((head_bytes, body, used)) = cut(data, head, body) else {
                    return Ok(Next::More { used: 0, progress: Progress::InBody });
                };
                *self = Self::default();
                Ok(Next::Whole { head: Head::parse(head_bytes, limits)?, body, used })
            }
            Stage::Chunked { .. } => self.chunks(data, 0, Progress::InBody, limits),
        }
    }

    fn head_complete<'b>(&mut self, data: &'b [u8], len: usize, limits: &Limits) -> Result<Next<'b>, HttpError> {
        let head_bytes = data.get(..len).unwrap_or_default();
        let head = Head::parse(head_bytes, limits)?;
        let progress = Progress::HeadDone { expects_continue: head.expect_continue };
        match head.body {
            BodyFraming::None => {
                *self = Self::default();
                Ok(Next::Whole { head, body: &[], used: len })
            }
            BodyFraming::Length(body) => {
                // Head::parse has refused what is over the limit of a body, so it fits.
                let body = usize::try_from(body).unwrap_or(usize::MAX);
                if let Some((_, body, used)) = cut(data, len, body) {
                    *self = Self::default();
                    return Ok(Next::Whole { head, body, used });
                }
                self.stage = Stage::Length { head: len, body };
                Ok(Next::More { used: 0, progress })
            }
            BodyFraming::Chunked => {
                self.stage =
                    Stage::Chunked { head: head_bytes.to_vec(), decoder: ChunkedDecoder::default(), body: Vec::new() };
                self.chunks(data, len, progress, limits)
            }
        }
    }

    /// Decodes the chunks that start at `from`.
    fn chunks<'b>(
        &mut self,
        data: &'b [u8],
        from: usize,
        progress: Progress,
        limits: &Limits,
    ) -> Result<Next<'b>, HttpError> {
        let Stage::Chunked { head, decoder, body } = &mut self.stage else {
            return Ok(Next::More { used: 0, progress });
        };
        let decoded = decoder.decode(data.get(from..).unwrap_or_default(), body, limits)?;
        let used = from.saturating_add(decoded.consumed);
        if !decoded.done {
            return Ok(Next::More { used, progress });
        }
        let (head, body) = (core::mem::take(head), core::mem::take(body));
        *self = Self::default();
        Ok(Next::Assembled { head, body, used })
    }
}

/// A head and a body of these lengths off the front of the data, and how much that is; `None` if there is less.
fn cut(data: &[u8], head: usize, body: usize) -> Option<(&[u8], &[u8], usize)> {
    let used = head.checked_add(body)?;
    Some((data.get(..head)?, data.get(head..used)?, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every request in the bytes, when they arrive in pieces that end at the cuts.
    fn requests(bytes: &[u8], cuts: &[usize]) -> Result<Vec<(String, Vec<u8>)>, HttpError> {
        let limits = Limits::default();
        let mut reader = Reader::default();
        let mut kept = Vec::new();
        let mut found = Vec::new();
        let mut from = 0;
        for to in cuts.iter().copied().chain([bytes.len()]) {
            kept.extend_from_slice(&bytes[from..to]);
            from = to;
            loop {
                let used = match reader.next(&kept, &limits)? {
                    Next::Whole { head, body, used } => {
                        found.push((head.path.to_owned(), body.to_vec()));
                        used
                    }
                    Next::Assembled { head, body, used } => {
                        found.push((Head::parse(&head, &limits)?.path.to_owned(), body));
                        used
                    }
                    Next::More { used, .. } => {
                        kept.drain(..used);
                        break;
                    }
                };
                kept.drain(..used);
            }
        }
        Ok(found)
    }

    const THREE: &[u8] = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
        POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n1;e=1\r\nz\r\n0\r\nT: r\r\n\r\n\
        GET /c HTTP/1.1\r\nHost: h\r\n\r\n";

    #[test]
    fn requests_are_the_same_at_every_split_point() {
        let whole = requests(THREE, &[]).unwrap();
        let expected =
            [("/a", &b"abc"[..]), ("/b", b"xyz"), ("/c", b"")].map(|(path, body)| (path.to_owned(), body.to_vec()));
        assert_eq!(whole, expected);
        for cut in 0..=THREE.len() {
            assert_eq!(requests(THREE, &[cut]).unwrap(), whole, "cut at {cut}");
        }
        let every: Vec<usize> = (0..THREE.len()).collect();
        assert_eq!(requests(THREE, &every).unwrap(), whole, "byte by byte");
    }

    #[test]
    fn an_error_is_the_same_at_every_split_point() {
        let bad = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc";
        let whole = requests(bad, &[]).unwrap_err();
        for cut in 0..=bad.len() {
            assert_eq!(requests(bad, &[cut]).unwrap_err(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn leave_to_send_the_body_is_asked_for_once() {
        let limits = Limits::default();
        let mut reader = Reader::default();
        let head = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
        let expected = Progress::HeadDone { expects_continue: true };
        assert!(matches!(reader.next(head, &limits), Ok(Next::More { used: 0, progress }) if progress == expected));
        let mut all = head.to_vec();
        all.push(b'a');
        let again = reader.next(&all, &limits);
        assert!(matches!(again, Ok(Next::More { progress: Progress::InBody, .. })), "{again:?}");
        all.push(b'b');
        assert!(matches!(reader.next(&all, &limits), Ok(Next::Whole { body: b"ab", .. })));
    }
}
