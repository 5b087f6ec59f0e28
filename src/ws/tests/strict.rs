//! Every header that there can be, against the rules of RFC 6455 section 5 read once more.

use super::{MASK, frame};
use crate::limits::Limits;
use crate::ws::frame::{Decoder, Incoming, Role, Rules};

/// Lengths in the form of 16 bits, and in that of 64, on both sides of every bound.
const WIDE: [u64; 6] = [0, 1, 125, 126, 127, 65_535];
const WIDER: [u64; 12] =
    [0, 125, 126, 65_535, 65_536, 262_144, 262_145, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 63) + 2, u64::MAX];

/// What a header is judged by beside its own bytes.
#[derive(Clone, Copy, Debug)]
struct Setting {
    server: bool,
    deflate: bool,
    /// A message of bytes has begun.
    inside: bool,
}

/// The code that a header is refused with. `length` is that of the extended form, if there is one.
fn refusal(first: u8, second: u8, length: Option<u64>, setting: Setting) -> Option<u16> {
    let Setting { server, deflate, inside } = setting;
    let opcode = first & 15;
    let data = [1, 2].contains(&opcode);
    let control = [8, 9, 10].contains(&opcode);
    let compressed = first & 0x70 == 0x40 && deflate && data;
    let broken = [
        // 5.2: reserved opcodes, and reserved bits but for that of RFC 7692.
        !data && !control && opcode != 0,
        first & 0x70 != 0 && !compressed,
        // 5.1: a client masks, a server does not.
        (second & 0x80 != 0) != server,
        // 5.5: a control frame is whole and short.
        control && first & 0x80 == 0,
        control && second & 0x7f > 125,
        // 5.4: a message is continued, or another one begins.
        opcode == 0 && !inside,
        data && inside,
        // 5.2: the shortest form, and the highest bit is zero.
        second & 0x7f == 126 && length.is_some_and(|length| length < 126),
        second & 0x7f == 127 && length.is_some_and(|length| !(65_536..1 << 63).contains(&length)),
    ];
    if broken.contains(&true) {
        return Some(1002);
    }
    let most = Limits::default().body_bytes as u64;
    // What cannot be compressed becomes a little longer.
    let most = if compressed { most + most / 1_000 + 64 } else { most };
    (!control && length.is_some_and(|length| length > most)).then_some(1009)
}

/// The code that a decoder refuses these pieces with.
fn found(pieces: &[&[u8]], setting: Setting) -> Option<u16> {
    let limits = Limits::default();
    let role = if setting.server { Role::Server } else { Role::Client };
    let rules = Rules { role, deflate: setting.deflate, limits: &limits };
    let mut decoder = Decoder::default();
    if setting.inside {
        let begun = if setting.server { frame(0x02, b"") } else { vec![0x02, 0] };
        assert_eq!(decoder.next(&begun, &rules), Ok((begun.len(), None)));
    }
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            match decoder.next(rest, &rules) {
                Ok((_, Some(Incoming::Close { .. }))) => return None,
                Ok((used, _)) => rest = &rest[used..],
                Err(fault) => return Some(fault.code.get()),
            }
        }
    }
    None
}

#[test]
fn every_first_and_second_byte_with_lengths_at_every_bound() {
    let settings = [false, true].into_iter().flat_map(|server| {
        [(false, false), (false, true), (true, false), (true, true)].map(|(deflate, inside)| Setting {
            server,
            deflate,
            inside,
        })
    });
    let mut taken = 0_u32;
    for setting in settings {
        for (first, second) in (0..=255_u8).flat_map(|first| (0..=255_u8).map(move |second| (first, second))) {
            let lengths: &[u64] = match second & 0x7f {
                126 => &WIDE,
                127 => &WIDER,
                _ => &[0],
            };
            for &length in lengths {
                let (digits, extended) = match second & 0x7f {
                    126 => (length.to_be_bytes()[6..].to_vec(), Some(length)),
                    127 => (length.to_be_bytes().to_vec(), Some(length)),
                    _ => (Vec::new(), None),
                };
                let mask: &[u8] = if second & 0x80 != 0 { &MASK } else { &[] };
                let header = [&[first, second], &digits[..], mask].concat();
                let expected = refusal(first, second, extended, setting);
                assert_eq!(found(&[&header], setting), expected, "{header:x?}, {setting:?}");
                let ones: Vec<&[u8]> = header.chunks(1).collect();
                assert_eq!(found(&ones, setting), expected, "{header:x?} byte by byte, {setting:?}");
                taken += u32::from(expected.is_none());
            }
        }
    }
    assert!(taken > 4_000, "{taken}");
}
