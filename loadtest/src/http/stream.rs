//! Owns the reading of responses whose bodies are of interest before they have ended: streams.

use super::{CHUNK_LINE_BYTES_MAX, Framing, Head, HttpError, RESPONSE_BYTES_MAX, parse_hex, read_head};

/// A part of a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Its head.
    Head {
        /// The status code.
        status: u16,
        /// The values of all `Set-Cookie` fields that are text.
        set_cookies: Vec<String>,
        /// Whether the connection serves further requests.
        keep_alive: bool,
    },
    /// Some of its body, without framing.
    Body(&'a [u8]),
    /// Its end.
    End,
}

/// What comes next.
#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Head,
    /// So many bytes of a body with a length.
    Length(usize),
    ChunkLine,
    /// So many bytes of a chunk.
    Chunk(usize),
    /// The line end behind a chunk.
    ChunkEnd,
    Trailer,
    /// A body that ends with the connection.
    Endless,
}

/// The responses of one connection, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Responses {
    stage: Stage,
    /// A head or a line without its end.
    held: Vec<u8>,
}

impl Responses {
    /// Takes the next part off the front of `bytes`; `None` when all are used up.
    pub(crate) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Piece<'a>>, HttpError> {
        loop {
            match self.stage {
                Stage::Head => match self.head(bytes)? {
                    Some(Piece::Head { status: ..200, .. }) => {}
                    other => return Ok(other),
                },
                Stage::Length(0) => return Ok(Some(self.end())),
                Stage::Length(left) => return Ok(self.body(bytes, left, Stage::Length)),
                Stage::Chunk(0) => self.stage = Stage::ChunkEnd,
                Stage::Chunk(left) => return Ok(self.body(bytes, left, Stage::Chunk)),
                Stage::Endless => return Ok(self.body(bytes, usize::MAX, |_| Stage::Endless)),
                Stage::ChunkLine | Stage::ChunkEnd | Stage::Trailer => {
                    let Some(line) = self.line(bytes)? else { return Ok(None) };
                    match self.stage {
                        Stage::ChunkEnd if line.is_empty() => self.stage = Stage::ChunkLine,
                        Stage::ChunkEnd => return Err(HttpError::Chunk),
                        Stage::Trailer if line.is_empty() => return Ok(Some(self.end())),
                        Stage::Trailer => {}
                        _ => {
                            let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
                            let size = parse_hex(digits).ok_or(HttpError::Chunk)?;
                            self.stage = if size == 0 { Stage::Trailer } else { Stage::Chunk(size) };
                        }
                    }
                }
            }
        }
    }

    fn end(&mut self) -> Piece<'static> {
        self.stage = Stage::Head;
        Piece::End
    }

    fn head(&mut self, bytes: &mut &[u8]) -> Result<Option<Piece<'static>>, HttpError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let before = self.held.len();
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let Some(Head { status, set_cookies, keep_alive, framing, length, .. }) = read_head(&held)? else {
            *bytes = &[];
            if held.len() > RESPONSE_BYTES_MAX {
                return Err(HttpError::TooLarge);
            }
            self.held = held;
            return Ok(None);
        };
        *bytes = &bytes[length - before..];
        let set_cookies = set_cookies.into_iter().map(str::to_owned).collect();
        self.stage = match framing {
            _ if status < 200 => Stage::Head,
            Some(Framing::Length(length)) => Stage::Length(length),
            Some(Framing::Chunked) => Stage::ChunkLine,
            None => Stage::Endless,
        };
        Ok(Some(Piece::Head { status, set_cookies, keep_alive }))
    }

    fn body<'a>(&mut self, bytes: &mut &'a [u8], left: usize, stage: fn(usize) -> Stage) -> Option<Piece<'a>> {
        if bytes.is_empty() {
            return None;
        }
        let (body, rest) = bytes.split_at(left.min(bytes.len()));
        *bytes = rest;
        self.stage = stage(left - body.len());
        Some(Piece::Body(body))
    }

    /// The next whole line without its end.
    fn line(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, HttpError> {
        let at = memchr::memchr(b'\n', bytes);
        let (line, rest) = bytes.split_at(at.map_or(bytes.len(), |at| at + 1));
        self.held.extend_from_slice(line);
        *bytes = rest;
        if self.held.len() > CHUNK_LINE_BYTES_MAX {
            return Err(HttpError::Chunk);
        }
        if at.is_none() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.held);
        line.pop();
        if line.pop() == Some(b'\r') { Ok(Some(line)) } else { Err(HttpError::Chunk) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
        Set-Cookie: a=b\r\n\r\n3;x=y\r\n[1]\r\n4\r\n\n[2]\r\n0\r\nT: u\r\n\r\n";
    const PLAIN: &[u8] = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
    const ENDLESS: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nfor ever";

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let mut responses = Responses::default();
        let mut seen: Vec<String> = Vec::new();
        for mut bytes in pieces.iter().copied() {
            while let Some(piece) = responses.next(&mut bytes).unwrap() {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                match (piece, seen.last_mut()) {
                    (Piece::Body(body), Some(last)) if last.starts_with('>') => last.push_str(&text(body)),
                    (Piece::Body(body), _) => seen.push(format!(">{}", text(body))),
                    (Piece::Head { status, set_cookies, keep_alive }, _) => {
                        seen.push(format!("{status} {set_cookies:?} {keep_alive}"));
                    }
                    (Piece::End, _) => seen.push("end".into()),
                }
            }
            assert!(bytes.is_empty());
        }
        seen
    }

    #[test]
    fn every_split_point_gives_the_same_parts() {
        let all = [STREAM, PLAIN, STREAM, ENDLESS].concat();
        let stream = [r#"200 ["a=b"] true"#, ">[1]\n[2]", "end"];
        let expected = [&stream[..], &["404 [] false", ">no", "end"], &stream, &["200 [] false", ">for ever"]].concat();
        for split in 0..=all.len() {
            assert_eq!(read(&[&all[..split], &all[split..]]), expected, "split at {split}");
        }
        assert_eq!(read(&all.chunks(1).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn bad_chunks_are_told() {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for body in [&b"zz\r\n"[..], b"1\r\nabc\r\n", b"1\n", &[b'1'; 300]] {
            let bytes = [&head[..], body].concat();
            let (mut responses, mut rest) = (Responses::default(), &bytes[..]);
            let error = loop {
                match responses.next(&mut rest) {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{body:?} is no fault"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error, HttpError::Chunk, "{body:?}");
        }
    }
}
