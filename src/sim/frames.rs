//! WebSocket frames as a client writes and reads them.
//!
//! Owns the masks, the fragments and the pings between them, and how many bytes a whole message took. Reading is the
//! crate's own decoder in the client's role, so that what the server writes must always be frames of a server.

use crate::limits::Limits;
use crate::ws::frame::{Decoder, Incoming, Opcode, Role, Rules};
use crate::ws::write::Frame;

use super::rng::Rng;

/// What a ping of a client says.
pub(crate) const PING: &[u8] = b"are you there?";

/// Appends one frame of a client.
pub(crate) fn write(out: &mut Vec<u8>, opcode: Opcode, fin: bool, payload: &[u8], rng: &mut Rng) {
    let mask = Some((rng.next() as u32).to_be_bytes());
    Frame { opcode, fin, deflated: false, mask }.write(out, payload);
}

/// Appends a message in up to four frames; pings may stand between them. How many pings.
pub(crate) fn message(out: &mut Vec<u8>, text: &str, rng: &mut Rng) -> usize {
    let mut rest = text.as_bytes();
    let mut opcode = Opcode::Text;
    let mut pings = 0;
    for _ in 0..3 {
        if rng.chance(200) && rest.len() > 1 {
            let (part, after) = rest.split_at(rng.length(rest.len() - 1));
            write(out, opcode, false, part, rng);
            (rest, opcode) = (after, Opcode::Continuation);
            if rng.chance(300) {
                write(out, Opcode::Ping, true, PING, rng);
                pings += 1;
            }
        }
    }
    write(out, opcode, true, rest, rng);
    pings
}

/// Appends a Close.
pub(crate) fn close(out: &mut Vec<u8>, code: u16, rng: &mut Rng) {
    write(out, Opcode::Close, true, &code.to_be_bytes(), rng);
}

/// Takes frames off what has come.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    decoder: Decoder,
    limits: Limits,
    /// Bytes of the message under way.
    size: usize,
    /// A Close has come.
    over: bool,
}

impl Frames {
    /// What these bytes make whole, each with the bytes that it took.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<(Incoming, usize)> {
        let rules = Rules { role: Role::Client, deflate: false, limits: &self.limits };
        let mut rest = bytes;
        let mut found = Vec::new();
        while !rest.is_empty() {
            assert!(!self.over, "bytes behind a Close: {}", rest.escape_ascii());
            let next = self.decoder.next(rest, &rules);
            let (used, incoming) = next.unwrap_or_else(|fault| panic!("not frames of a server: {fault:?}"));
            self.size += used;
            rest = &rest[used..];
            if let Some(incoming) = incoming {
                self.over = matches!(incoming, Incoming::Close { .. });
                found.push((incoming, core::mem::take(&mut self.size)));
            }
        }
        found
    }

    /// Whether a message has begun and not ended.
    pub(crate) fn is_amid(&self) -> bool {
        self.size > 0
    }
}
