//! Owns what a WebSocket of `floor` is: the answer to an upgrade, and frames of this program's clients, which are whole
//! messages and masked. No rule of the protocol is checked.

use encke::ws::handshake;
use memchr::memmem;
use std::io::{self, ErrorKind};

/// Bytes of a message.
const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The answer to a request to upgrade, which is the head.
pub(super) fn upgrade(head: &[u8]) -> io::Result<Vec<u8>> {
    const KEY: &[u8] = b"Sec-WebSocket-Key: ";
    let at = memmem::find(head, KEY).ok_or(ErrorKind::InvalidData)? + KEY.len();
    let key = head[at..].split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n".to_vec();
    answer.extend_from_slice(b"Sec-WebSocket-Accept: ");
    answer.extend_from_slice(&handshake::accept(key));
    answer.extend_from_slice(b"\r\n\r\n");
    Ok(answer)
}

/// Puts the message of the first whole frame into `message` and gives the bytes that it took.
pub(super) fn unframe(bytes: &[u8], message: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let (length, at) = match bytes {
        [_, 254, high, low, ..] => (usize::from(u16::from_be_bytes([*high, *low])), 4),
        [_, 255, a, b, c, d, e, f, g, h, ..] => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize, 10),
        [_, short @ 128..=253, ..] => (usize::from(short - 128), 2),
        [_, 0..=127, ..] => return Err(ErrorKind::InvalidData.into()),
        _ => return Ok(None),
    };
    if length > MESSAGE_BYTES_MAX {
        return Err(ErrorKind::InvalidData.into());
    }
    let end = at + 4 + length;
    let Some((mask, masked)) = bytes.get(at..end).and_then(|rest| rest.split_first_chunk::<4>()) else {
        return Ok(None);
    };
    message.clear();
    message.extend(masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    Ok(Some(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use encke::ws::frame::Opcode;
    use encke::ws::write::Frame;

    #[test]
    fn frames_are_found_when_whole() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let sent = vec![b'x'; length];
            let mut bytes = Vec::new();
            Frame { mask: Some([1, 2, 3, 4]), ..Frame::whole(Opcode::Text) }.write(&mut bytes, &sent);
            let whole = bytes.len();
            let mut message = Vec::new();
            for end in (0..whole).filter(|end| *end < 20 || whole - end < 20) {
                assert_eq!(unframe(&bytes[..end], &mut message).unwrap(), None, "{length} cut at {end}");
            }
            bytes.extend_from_slice(b"more");
            assert_eq!(unframe(&bytes, &mut message).unwrap(), Some(whole));
            assert_eq!(message, sent);
        }
        assert!(unframe(&[0x81, 2, b'[', b']'], &mut Vec::new()).is_err());
    }

    #[test]
    fn upgrades_are_answered() {
        let head = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX: y";
        assert!(upgrade(head).unwrap().ends_with(b"Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
        assert!(upgrade(b"GET / HTTP/1.1").is_err());
    }
}
