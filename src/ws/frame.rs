//! Frames as they come in: headers, masking, fragments, control frames (RFC 6455 section 5, RFC 7692 section 6).
//!
//! Owns taking a connection's bytes apart into messages, and every refusal of a frame. It must not decompress, and it
//! never answers: what a ping, a Close or a [`Fault`] is answered with is the caller's matter, written with
//! [`write`](super::write).

use super::close::{CloseCode, Fault};
use super::mask;
use super::utf8::Utf8;
use crate::limits::{self, Limits};

/// Bytes of the longest header: two, an extended length of eight, a mask of four.
pub(super) const HEADER_BYTES: usize = 14;

/// Which side of the connection this is (RFC 6455 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What comes in is masked.
    Server,
    /// What comes in is not masked.
    Client,
}

/// What a frame is (RFC 6455 section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0,
    /// A text, or its first fragment.
    Text = 1,
    /// Bytes, or their first fragment.
    Binary = 2,
    /// The sender will send no more.
    Close = 8,
    /// Asks for a Pong.
    Ping = 9,
    /// Answers a Ping, or shows that the sender is there.
    Pong = 10,
}

impl Opcode {
    const fn new(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Whether it is a control frame (RFC 6455 section 5.5).
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// What a connection's frames are judged by. It stays the same for the life of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'l> {
    /// Which side this is.
    pub role: Role,
    /// Whether permessage-deflate was negotiated.
    pub deflate: bool,
    /// Of these, `body_bytes` bounds a message.
    pub limits: &'l Limits,
}

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole message that is UTF-8.
    Text(Vec<u8>),
    /// A whole message of bytes.
    Binary(Vec<u8>),
    /// A whole message, still compressed. Only if [`Rules::deflate`] is set; `deflate::Inflater::open` opens it.
    Deflated {
        /// Whether it is a text, not yet known to be UTF-8.
        text: bool,
        /// The compressed bytes, without the four that end every message.
        payload: Vec<u8>,
    },
    /// To be answered with a Pong of the same payload, at most 125 bytes. Of several, the last is enough.
    Ping(Vec<u8>),
    /// The payload of a Pong, at most 125 bytes.
    Pong(Vec<u8>),
    /// The peer will send no more, and waits for a Close if it has not had one. What follows it is ignored.
    Close {
        /// The code, if the peer gave one.
        code: Option<CloseCode>,
        /// The peer's words, at most 123 bytes; may be empty.
        reason: String,
    },
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// A header: of the next frame, if nothing of it is there yet.
    #[default]
    Header,
    /// The payload of the frame whose header is there.
    Payload,
    /// Nothing: a Close or a fault was the last that is understood.
    Over,
}

/// A message some of whose frames have begun.
#[derive(Clone, Copy, Debug)]
struct Kind {
    text: bool,
    deflated: bool,
}

/// How far one direction of one connection has been decoded.
///
/// Between messages it holds nothing: [`is_idle`](Self::is_idle) says so, and it may then be dropped and replaced by
/// `Decoder::default()` when more arrives.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The message so far, unmasked.
    message: Vec<u8>,
    /// The payload of a control frame so far; such a frame may stand between the fragments of a message.
    control: Vec<u8>,
    /// Bytes of the payload that are still missing.
    left: u64,
    /// The first `have` bytes are those of the current header.
    header: [u8; HEADER_BYTES],
    have: u8,
    /// How many bytes of the payload are there, modulo four: where the mask goes on.
    phase: u8,
    kind: Option<Kind>,
    /// Complete whenever a text begins, for without that none ends.
    utf8: Utf8,
    stage: Stage,
}

impl Decoder {
    /// The memory that the message under way takes, bytes.
    pub fn weight(&self) -> usize {
        self.message.capacity().saturating_add(self.control.capacity())
    }

    /// Whether nothing has begun: neither a frame nor a message. False for good after a Close or a fault.
    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Header && self.have == 0 && self.kind.is_none()
    }

    /// Takes what came next from the connection, up to the end of something whole. Returns how many bytes that used up
    /// and what they made whole; if nothing, all bytes are used up. To be called until they are. After a Close or a fault
    /// all bytes are used up and ignored.
    ///
    /// # Errors
    /// At the first offending byte, whatever the pieces. 1002 for a frame that breaks the protocol: masked or not against
    /// the role, reserved bits and opcodes, a length that is not in its shortest form or too long for 63 bits, a control
    /// frame that is fragmented or longer than 125 bytes, fragments out of order, an invalid Close. 1007 for text and close
    /// reasons that are not UTF-8. 1009 as soon as a header says that its message exceeds `limits.body_bytes`.
    pub fn next(&mut self, data: &[u8], rules: &Rules<'_>) -> Result<(usize, Option<Incoming>), Fault> {
        let found = self.advance(data, rules);
        if matches!(found, Err(_) | Ok((_, Some(Incoming::Close { .. })))) {
            *self = Self { stage: Stage::Over, ..Self::default() };
        }
        found
    }

    fn advance(&mut self, data: &[u8], rules: &Rules<'_>) -> Result<(usize, Option<Incoming>), Fault> {
        let mut rest = data;
        loop {
            match self.stage {
                Stage::Header => {
                    let Some((&byte, after)) = rest.split_first() else { break };
                    self.header_byte(byte, rules)?;
                    rest = after;
                }
                Stage::Payload => {
                    rest = self.take_payload(rest, rules)?;
                    if self.left > 0 {
                        break;
                    }
                    if let Some(incoming) = self.frame_complete()? {
                        return Ok((data.len().saturating_sub(rest.len()), Some(incoming)));
                    }
                }
                Stage::Over => break,
            }
        }
        Ok((data.len(), None))
    }

    /// Takes one byte of a header, and judges it.
    fn header_byte(&mut self, byte: u8, rules: &Rules<'_>) -> Result<(), Fault> {
        if let Some(place) = self.header.get_mut(usize::from(self.have)) {
            *place = byte;
        }
        self.have = self.have.saturating_add(1);
        match self.have {
            1 => return self.judge_first(byte, rules),
            2 => self.judge_second(byte, rules)?,
            _ => {}
        }
        let extended: u8 = match self.header {
            [_, second, ..] if second & 0x7f == 126 => 2,
            [_, second, ..] if second & 0x7f == 127 => 8,
            _ => 0,
        };
        let end_of_length = extended.saturating_add(2);
        let end = if rules.role == Role::Server { end_of_length.saturating_add(4) } else { end_of_length };
        if self.have == end_of_length {
            self.left = self.length()?;
            self.judge_length(rules)?;
        }
        if self.have == end {
            self.header_complete();
        }
        Ok(())
    }

    /// The first byte: FIN, the reserved bits, the opcode (RFC 6455 sections 5.2, 5.4 and 5.5, RFC 7692 section 6).
    fn judge_first(&mut self, byte: u8, rules: &Rules<'_>) -> Result<(), Fault> {
        let Some(opcode) = Opcode::new(byte & 0x0f) else {
            return Err(Fault::protocol("a reserved opcode"));
        };
        let begins = matches!(opcode, Opcode::Text | Opcode::Binary);
        let reserved = byte & 0x70;
        // RSV1 says that a message is compressed, on its first frame only.
        if reserved != 0 && !(reserved == 0x40 && rules.deflate && begins) {
            return Err(Fault::protocol("a reserved bit is set"));
        }
        if opcode.is_control() && byte & 0x80 == 0 {
            return Err(Fault::protocol("a fragmented control frame"));
        }
        if begins && self.kind.is_some() {
            return Err(Fault::protocol("a new message inside a fragmented one"));
        }
        if opcode == Opcode::Continuation && self.kind.is_none() {
            return Err(Fault::protocol("a continuation of nothing"));
        }
        if begins {
            self.kind = Some(Kind { text: opcode == Opcode::Text, deflated: reserved != 0 });
        }
        Ok(())
    }

    /// The second byte: MASK and the short length (RFC 6455 sections 5.1, 5.2 and 5.5).
    fn judge_second(&self, byte: u8, rules: &Rules<'_>) -> Result<(), Fault> {
        match (rules.role, byte & 0x80 != 0) {
            (Role::Server, false) => return Err(Fault::protocol("a frame of a client must be masked")),
            (Role::Client, true) => return Err(Fault::protocol("a frame of a server must not be masked")),
            _ => {}
        }
        if self.opcode().is_control() && usize::from(byte & 0x7f) > limits::CONTROL_FRAME_BYTES {
            return Err(Fault::protocol("a control frame of more than 125 bytes"));
        }
        Ok(())
    }

    /// The length of the payload, in its shortest form (RFC 6455 section 5.2).
    fn length(&self) -> Result<u64, Fault> {
        let [_, second, a, b, c, d, e, f, g, h, ..] = self.header;
        let length = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([a, b])),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => return Ok(u64::from(short)),
        };
        if length >> 63 != 0 {
            return Err(Fault::protocol("a length of 64 bits"));
        }
        let shortest = if second & 0x7f == 126 { 126 } else { 0x1_0000 };
        if length < shortest {
            return Err(Fault::protocol("a length that is not in its shortest form"));
        }
        Ok(length)
    }

    /// Whether the message may become as long as the header says, before a byte of it is kept.
    fn judge_length(&self, rules: &Rules<'_>) -> Result<(), Fault> {
        let Some(kind) = self.kind.filter(|_| !self.opcode().is_control()) else { return Ok(()) };
        let most = if kind.deflated { most_deflated(rules.limits.body_bytes) } else { rules.limits.body_bytes };
        if (self.message.len() as u64).saturating_add(self.left) > most as u64 {
            return Err(Fault::too_big("the message is larger than --max-message-size allows"));
        }
        Ok(())
    }

    fn header_complete(&mut self) {
        self.phase = 0;
        self.stage = Stage::Payload;
    }

    /// What the current frame is. Its first byte has been judged.
    fn opcode(&self) -> Opcode {
        let [first, ..] = self.header;
        Opcode::new(first & 0x0f).unwrap_or(Opcode::Continuation)
    }

    /// The mask: the last four bytes of the header.
    fn mask(&self) -> [u8; 4] {
        let header = self.header.get(..usize::from(self.have)).unwrap_or_default();
        header.last_chunk().copied().unwrap_or_default()
    }

    /// Keeps what there is of the current payload and returns what follows it.
    fn take_payload<'i>(&mut self, input: &'i [u8], rules: &Rules<'_>) -> Result<&'i [u8], Fault> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        let (piece, rest) = input.split_at_checked(length).unwrap_or((input, &[]));
        let (mask, control) = (self.mask(), self.opcode().is_control());
        let kept = if control { &mut self.control } else { &mut self.message };
        let before = kept.len();
        kept.extend_from_slice(piece);
        let new = kept.get_mut(before..).unwrap_or_default();
        if rules.role == Role::Server {
            mask::apply(new, mask, usize::from(self.phase));
        }
        if !control && matches!(self.kind, Some(Kind { text: true, deflated: false })) && !self.utf8.take(new) {
            return Err(Fault::invalid_data("text that is not UTF-8"));
        }
        self.left = self.left.saturating_sub(length as u64);
        self.phase = (usize::from(self.phase).wrapping_add(length) & 3) as u8;
        Ok(rest)
    }

    /// Ends the frame, and returns what it made whole.
    fn frame_complete(&mut self) -> Result<Option<Incoming>, Fault> {
        let [first, ..] = self.header;
        self.have = 0;
        self.stage = Stage::Header;
        match self.opcode() {
            Opcode::Ping => Ok(Some(Incoming::Ping(core::mem::take(&mut self.control)))),
            Opcode::Pong => Ok(Some(Incoming::Pong(core::mem::take(&mut self.control)))),
            Opcode::Close => close(&self.control).map(Some),
            _ if first & 0x80 == 0 => Ok(None),
            _ => self.message_complete(),
        }
    }

    fn message_complete(&mut self) -> Result<Option<Incoming>, Fault> {
        let Some(kind) = self.kind.take() else { return Ok(None) };
        let payload = core::mem::take(&mut self.message);
        if kind.deflated {
            return Ok(Some(Incoming::Deflated { text: kind.text, payload }));
        }
        if !kind.text {
            return Ok(Some(Incoming::Binary(payload)));
        }
        if !self.utf8.is_complete() {
            return Err(Fault::invalid_data("text that ends within a character"));
        }
        Ok(Some(Incoming::Text(payload)))
    }
}

/// Bytes that a message of the greatest length may have when it is compressed and cannot be: a thousandth more covers the
/// five bytes for each stored block of 16 KiB, and some for the last.
const fn most_deflated(plain: usize) -> usize {
    plain.saturating_add(plain / 1000).saturating_add(64)
}

/// Reads the payload of a Close (RFC 6455 section 5.5.1).
fn close(payload: &[u8]) -> Result<Incoming, Fault> {
    let (code, reason) = match payload {
        [] => (None, &[][..]),
        [_] => return Err(Fault::protocol("a Close with half a code")),
        [high, low, reason @ ..] => {
            let code = CloseCode::new(u16::from_be_bytes([*high, *low]));
            (Some(code.ok_or(Fault::protocol("a close code that must not be sent"))?), reason)
        }
    };
    match core::str::from_utf8(reason) {
        Ok(reason) => Ok(Incoming::Close { code, reason: reason.to_owned() }),
        Err(_) => Err(Fault::invalid_data("a close reason that is not UTF-8")),
    }
}
