//! Frames as they go out (RFC 6455 section 5).
//!
//! Owns the bytes of headers and of control frames. A header is a value of its own and takes no memory, so that what is
//! sent to many, header and payload, can be made once and shared.

use super::close::CloseCode;
use super::frame::{HEADER_BYTES, Opcode};
use super::mask;
use crate::limits::CONTROL_FRAME_BYTES;

/// What the header of a frame says, besides the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub opcode: Opcode,
    /// Whether it ends its message.
    pub fin: bool,
    /// Whether the message that it begins is compressed (RFC 7692 section 6).
    pub deflated: bool,
    /// The mask: a client's frames have one, different for each and not to be guessed; a server's have none.
    pub mask: Option<[u8; 4]>,
}

impl Frame {
    /// A whole message or a control frame of a server.
    pub const fn whole(opcode: Opcode) -> Self {
        Self { opcode, fin: true, deflated: false, mask: None }
    }

    /// The header for a payload of so many bytes.
    pub fn header(&self, length: usize) -> Header {
        let first = self.opcode as u8 | if self.fin { 0x80 } else { 0 } | if self.deflated { 0x40 } else { 0 };
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let mut header = Header { bytes: [0; HEADER_BYTES], length: 0 };
        header.push(&[first]);
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ 0..=125), _) => header.push(&[masked | short]),
            (_, Ok(medium)) => {
                header.push(&[masked | 126]);
                header.push(&medium.to_be_bytes());
            }
            _ => {
                header.push(&[masked | 127]);
                header.push(&(length as u64).to_be_bytes());
            }
        }
        if let Some(mask) = &self.mask {
            header.push(mask);
        }
        header
    }

    /// Appends the header and the payload, masked if there is a mask.
    pub fn write(&self, out: &mut Vec<u8>, payload: &[u8]) {
        out.extend_from_slice(self.header(payload.len()).as_bytes());
        let before = out.len();
        out.extend_from_slice(payload);
        if let Some(mask) = self.mask {
            mask::apply(out.get_mut(before..).unwrap_or_default(), mask, 0);
        }
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    bytes: [u8; HEADER_BYTES],
    length: u8,
}

impl Header {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) {
        let rest = self.bytes.iter_mut().skip(usize::from(self.length));
        for (place, byte) in rest.zip(bytes) {
            *place = *byte;
            self.length = self.length.saturating_add(1);
        }
    }
}

/// Appends a Ping. Of the payload only the first 125 bytes are sent.
pub fn write_ping(out: &mut Vec<u8>, payload: &[u8], mask: Option<[u8; 4]>) {
    write_control(out, Opcode::Ping, payload, mask);
}

/// Appends a Pong. It has the payload of the Ping that it answers (RFC 6455 section 5.5.3).
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8], mask: Option<[u8; 4]>) {
    write_control(out, Opcode::Pong, payload, mask);
}

/// Appends a Close (RFC 6455 section 5.5.1): without a code it has no reason either; of a reason that is longer than 123
/// bytes the characters are sent that fit.
pub fn write_close(out: &mut Vec<u8>, code: Option<CloseCode>, reason: &str, mask: Option<[u8; 4]>) {
    let mut payload = [0; CONTROL_FRAME_BYTES];
    let mut length: usize = 0;
    if let Some(code) = code {
        let code = code.get().to_be_bytes();
        let fits =
            |end: &usize| reason.is_char_boundary(*end) && *end <= CONTROL_FRAME_BYTES.saturating_sub(code.len());
        let end = (0..=CONTROL_FRAME_BYTES).rev().find(fits).unwrap_or_default();
        let words = reason.as_bytes().get(..end).unwrap_or_default();
        for (place, byte) in payload.iter_mut().zip(code.iter().chain(words)) {
            *place = *byte;
            length = length.saturating_add(1);
        }
    }
    write_control(out, Opcode::Close, payload.get(..length).unwrap_or_default(), mask);
}

fn write_control(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    let payload = payload.get(..CONTROL_FRAME_BYTES).unwrap_or(payload);
    Frame { mask, ..Frame::whole(opcode) }.write(out, payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_at_their_bounds() {
        let text = Frame::whole(Opcode::Text);
        for (length, expected) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (255, &[0x81, 126, 0, 255]),
            (256, &[0x81, 126, 1, 0]),
            (65_535, &[0x81, 126, 255, 255]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            assert_eq!(text.header(length).as_bytes(), expected, "{length}");
            let mask = Some([1, 2, 3, 4]);
            let mut masked = expected.to_vec();
            masked[1] |= 0x80;
            masked.extend_from_slice(&[1, 2, 3, 4]);
            assert_eq!(Frame { mask, ..text }.header(length).as_bytes(), masked, "{length}");
        }
    }

    /// The examples of RFC 6455 section 5.7.
    #[test]
    fn the_examples_of_the_rfc() {
        let written = |frame: Frame, payload: &[u8]| {
            let mut out = Vec::new();
            frame.write(&mut out, payload);
            out
        };
        let text = Frame::whole(Opcode::Text);
        assert_eq!(written(text, b"Hello"), [0x81, 5, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        let mask = Some([0x37, 0xfa, 0x21, 0x3d]);
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(written(Frame { mask, ..text }, b"Hello"), masked);
        assert_eq!(written(Frame { fin: false, ..text }, b"Hel"), [0x01, 3, 0x48, 0x65, 0x6c]);
        assert_eq!(written(Frame::whole(Opcode::Continuation), b"lo"), [0x80, 2, 0x6c, 0x6f]);
        assert_eq!(written(Frame { deflated: true, ..text }, b"x"), [0xc1, 1, b'x']);
        let mut out = Vec::new();
        write_ping(&mut out, b"Hello", None);
        write_pong(&mut out, b"Hello", mask);
        let expected = b"\x89\x05Hello\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(out, expected);
    }

    #[test]
    fn closes() {
        let written = |code, reason: &str| {
            let mut out = Vec::new();
            write_close(&mut out, code, reason, None);
            out
        };
        assert_eq!(written(None, "no code, no reason"), [0x88, 0]);
        assert_eq!(written(Some(CloseCode::NORMAL), ""), [0x88, 2, 3, 0xe8]);
        assert_eq!(written(Some(CloseCode::PROTOCOL), "no"), [0x88, 4, 3, 0xea, b'n', b'o']);
        for (length, sent) in [(122, 122), (123, 123), (124, 123), (300, 123)] {
            let frame = written(Some(CloseCode::NORMAL), &"x".repeat(length));
            assert_eq!((frame[1], frame.len()), (2 + sent, 4 + usize::from(sent)), "{length}");
        }
        let frame = written(Some(CloseCode::NORMAL), &format!("{}\u{e4}", "x".repeat(122)));
        assert_eq!(frame[1], 2 + 122);
    }

    #[test]
    fn a_control_frame_is_never_too_long() {
        let mut out = Vec::new();
        write_pong(&mut out, &[7; 126], None);
        assert_eq!((out[1], out.len()), (125, 127));
    }
}
