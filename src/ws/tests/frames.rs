//! Headers and bounds, one at a time.

use proptest::prelude::*;

use super::super::close::CloseCode;
use super::super::write::{write_close, write_ping, write_pong};
use super::*;

/// A header as given, the mask of zeros that a server wants, and a payload as it is.
fn raw(header: &[u8], payload: &[u8]) -> Vec<u8> {
    [header, &[0; 4], payload].concat()
}

#[test]
fn it_is_small() {
    assert!(size_of::<Decoder>() <= 88, "{}", size_of::<Decoder>());
}

#[test]
fn a_new_one_is_idle() {
    assert!(Decoder::default().is_idle());
    assert_eq!(served(b""), "");
}

#[test]
fn headers() {
    let too_long = "!1009 the message is larger than --max-message-size allows";
    for (bytes, expected) in [
        // Nothing is whole.
        (&[0x81][..], "…"),
        (&[0x81, 0x80], "…"),
        (&[0x81, 0x80, 0, 0, 0], "…"),
        (&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0], "…"),
        // Unmasked, which shows in the second byte.
        (&[0x81, 0], "!1002 a frame of a client must be masked"),
        (&[0x89, 0x7e], "!1002 a frame of a client must be masked"),
        // Lengths not in their shortest form, and those that are.
        (&[0x82, 0xfe, 0, 0], "!1002 a length that is not in its shortest form"),
        (&[0x82, 0xfe, 0, 125], "!1002 a length that is not in its shortest form"),
        (&[0x82, 0xfe, 0, 126], "…"),
        (&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 0], "!1002 a length that is not in its shortest form"),
        (&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 126], "!1002 a length that is not in its shortest form"),
        (&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], "!1002 a length that is not in its shortest form"),
        (&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0], "…"),
        // Lengths beyond 63 bits, and beyond what is taken.
        (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], "!1002 a length of 64 bits"),
        (&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "!1002 a length of 64 bits"),
        (&[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], too_long),
        (&[0x82, 0xff, 0, 0, 0, 0, 0, 4, 0, 1], too_long),
        (&[0x82, 0xff, 0, 0, 0, 0, 0, 4, 0, 0], "…"),
        // Control frames.
        (&[0x08], "!1002 a fragmented control frame"),
        (&[0x09], "!1002 a fragmented control frame"),
        (&[0x0a], "!1002 a fragmented control frame"),
        (&[0x88, 0xfe], "!1002 a control frame of more than 125 bytes"),
        (&[0x89, 0xfe], "!1002 a control frame of more than 125 bytes"),
        (&[0x8a, 0xff], "!1002 a control frame of more than 125 bytes"),
        // Order.
        (&[0x80], "!1002 a continuation of nothing"),
        (&[0x00], "!1002 a continuation of nothing"),
        (&[0x01, 0x80, 0, 0, 0, 0, 0x81], "!1002 a new message inside a fragmented one"),
        (&[0x02, 0x80, 0, 0, 0, 0, 0x01], "!1002 a new message inside a fragmented one"),
        (&[0x01, 0x80, 0, 0, 0, 0], "…"),
    ] {
        assert_eq!(served(bytes), expected, "{bytes:x?}");
    }
}

#[test]
fn every_first_byte() {
    let limits = Limits::default();
    for first in 0..=255_u8 {
        for (deflate, inside) in [(false, false), (false, true), (true, false), (true, true)] {
            let rules = Rules { role: Role::Server, deflate, limits: &limits };
            let mut bytes = if inside { raw(&[0x02, 0x80], b"") } else { Vec::new() };
            bytes.push(first);
            let (fin, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
            let valid = match opcode {
                0 => inside && reserved == 0,
                1 | 2 => !inside && (reserved == 0 || (reserved == 0x40 && deflate)),
                8..=10 => fin && reserved == 0,
                _ => false,
            };
            let found = verdict(&bytes, &rules);
            assert_eq!(found == "…", valid, "{first:x} {found}");
            assert!(valid || found.starts_with("!1002"), "{first:x} {found}");
        }
    }
}

#[test]
fn a_client_takes_what_is_not_masked() {
    let rules = Rules { role: Role::Client, deflate: false, limits: &Limits::default() };
    let mut bytes = Vec::new();
    Frame::whole(Opcode::Text).write(&mut bytes, "größer".as_bytes());
    write_ping(&mut bytes, b"ping", None);
    Frame::whole(Opcode::Binary).write(&mut bytes, &[0; 300]);
    write_pong(&mut bytes, b"", None);
    write_close(&mut bytes, Some(CloseCode::GOING_AWAY), "bye", None);
    assert_eq!(verdict(&bytes, &rules), "text \"größer\", ping \"ping\", binary 300, pong \"\", close 1001 \"bye\"");
    let masked = frame(0x81, b"x");
    assert_eq!(verdict(&masked, &rules), "!1002 a frame of a server must not be masked");
}

#[test]
fn messages_at_their_limit() {
    let limits = Limits { body_bytes: 1000, ..Limits::default() };
    let rules = Rules { role: Role::Server, deflate: true, limits: &limits };
    let too_long = "!1009 the message is larger than --max-message-size allows";
    for (lengths, expected) in [
        (&[999][..], "binary 999"),
        (&[1000], "binary 1000"),
        (&[1001], too_long),
        (&[500, 500], "binary 1000"),
        (&[500, 501], too_long),
        (&[1000, 0, 0, 0], "binary 1000"),
        (&[0, 1000], "binary 1000"),
        (&[0, 0, 1001], too_long),
        (&[1000, 1], too_long),
    ] {
        let mut bytes = Vec::new();
        for (at, length) in lengths.iter().enumerate() {
            let opcode = if at == 0 { 2 } else { 0 };
            let fin = if at + 1 == lengths.len() { 0x80 } else { 0 };
            bytes.extend_from_slice(&frame(opcode | fin, &vec![7; *length]));
        }
        assert_eq!(decoded(&[&bytes], &rules, true), expected, "{lengths:?}");
        assert_eq!(decoded(&bytes.chunks(1).collect::<Vec<_>>(), &rules, true), expected, "{lengths:?}");
        // A control frame between the fragments does not count.
        let header = bytes.len() - lengths.last().unwrap() - if *lengths.last().unwrap() > 125 { 8 } else { 6 };
        bytes.splice(header..header, frame(0x89, &[0; 125]));
        assert_eq!(decoded(&[&bytes], &rules, true), format!("ping 125, {expected}"), "{lengths:?}");
    }
    // Compressed, a message that cannot be made shorter is somewhat longer.
    for (length, expected) in [(1065, "deflated false 1065"), (1066, too_long)] {
        assert_eq!(decoded(&[&frame(0xc2, &vec![7; length])], &rules, true), expected, "{length}");
    }
}

/// The bound is known from the header, so that nothing is kept of what exceeds it.
#[test]
fn nothing_is_allocated_for_what_is_only_announced() {
    let limits = Limits::default();
    let rules = Rules { role: Role::Server, deflate: false, limits: &limits };
    let mut decoder = Decoder::default();
    let announced = [0x82, 0xff, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 1, 2, 3];
    assert_eq!(decoder.next(&announced, &rules), Ok((announced.len(), None)));
    assert!(format!("{decoder:?}").contains("message: [1, 2, 3]"), "{decoder:?}");
}

#[test]
fn as_many_fragments_as_the_message_has_bytes() {
    let limits = Limits { body_bytes: 65_536, ..Limits::default() };
    let rules = Rules { role: Role::Server, deflate: false, limits: &limits };
    let mut bytes = frame(0x01, b"x");
    for _ in 0..65_534 {
        bytes.extend_from_slice(&frame(0x00, b"x"));
    }
    let whole = [&bytes[..], &frame(0x80, b"x")].concat();
    assert_eq!(decoded(&[&whole], &rules, false), "text 65536");
    let longer = [&bytes[..], &frame(0x00, b"x"), &frame(0x00, b""), &frame(0x80, b"x")].concat();
    assert!(decoded(&[&longer], &rules, false).starts_with("!1009"));
}

#[test]
fn close_payloads() {
    for (payload, expected) in [
        (&b""[..], "close \"\"".to_owned()),
        (b"\x03", "!1002 a Close with half a code".to_owned()),
        (b"\x03\xe8", "close 1000 \"\"".to_owned()),
        (b"\x03\xe9going", "close 1001 \"going\"".to_owned()),
        ("\u{3}\u{0}".as_bytes(), "!1002 a close code that must not be sent".to_owned()),
        (b"\x03\xedx", "!1002 a close code that must not be sent".to_owned()),
        (b"\x0b\xb8gr\xc3\xb6\xc3\x9fer", "close 3000 \"größer\"".to_owned()),
        (b"\x03\xe8\xc3", "!1007 a close reason that is not UTF-8".to_owned()),
        (b"\x03\xe8\xed\xa0\x80", "!1007 a close reason that is not UTF-8".to_owned()),
    ] {
        assert_eq!(served(&frame(0x88, payload)), expected, "{payload:x?}");
    }
}

#[test]
fn every_close_code() {
    let rules = Rules { role: Role::Server, deflate: false, limits: &Limits::default() };
    for code in 0..=u16::MAX {
        let found = decoded(&[&frame(0x88, &code.to_be_bytes())], &rules, false);
        match CloseCode::new(code) {
            Some(_) => assert_eq!(found, format!("close {code} \"\"")),
            None => assert!(found.starts_with("!1002"), "{found}"),
        }
    }
}

#[test]
fn what_follows_a_close_is_ignored() {
    let bytes = [frame(0x88, b"\x03\xe8"), frame(0x81, b"late"), vec![0xff; 20]].concat();
    assert_eq!(served(&bytes), "close 1000 \"\"");
}

#[test]
fn a_decoder_is_idle_between_messages_only() {
    let limits = Limits::default();
    let rules = Rules { role: Role::Server, deflate: false, limits: &limits };
    let mut decoder = Decoder::default();
    let bytes = [frame(0x01, b"a"), frame(0x89, b"b"), frame(0x80, b"c"), frame(0x89, b"d")].concat();
    let mut idle = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        decoder.next(&[*byte], &rules).unwrap();
        if decoder.is_idle() {
            idle.push(at);
        }
    }
    assert_eq!(idle, [20, 27]);
}

/// Something a peer might send: mostly frames, some of them wrong.
fn framish() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        any::<String>().prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..8),
        Just(vec![b'x'; 126]),
    ];
    let first = prop_oneof![
        8 => proptest::sample::select(vec![0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a]),
        1 => proptest::sample::select(vec![0x88, 0xc1, 0xc2, 0x41]),
        1 => any::<u8>(),
    ];
    let piece = prop_oneof![
        9 => (first, payload).prop_map(|(first, payload)| frame(first, &payload)),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_never_depend_on_the_split(
        bytes in prop_oneof![framish(), proptest::collection::vec(any::<u8>(), 0..40)],
        deflate in any::<bool>(),
        masked in any::<bool>(),
        body_bytes in 0..200_usize,
    ) {
        let limits = Limits { body_bytes, ..Limits::default() };
        let role = if masked { Role::Server } else { Role::Client };
        verdict(&bytes, &Rules { role, deflate, limits: &limits });
    }

    #[test]
    fn what_is_written_is_read(
        length in prop_oneof![0..300_usize, 65_530..65_540_usize],
        seed in proptest::collection::vec(any::<u8>(), 1..20),
        mask in proptest::option::of(any::<[u8; 4]>()),
        cut in any::<usize>(),
    ) {
        let payload: Vec<u8> = seed.iter().copied().cycle().take(length).collect();
        let mut bytes = Vec::new();
        Frame { mask, ..Frame::whole(Opcode::Binary) }.write(&mut bytes, &payload);
        let role = if mask.is_some() { Role::Server } else { Role::Client };
        let limits = Limits::default();
        let rules = Rules { role, deflate: false, limits: &limits };
        let (left, right) = bytes.split_at(cut % bytes.len());
        let mut decoder = Decoder::default();
        if !left.is_empty() {
            prop_assert_eq!(decoder.next(left, &rules), Ok((left.len(), None)));
        }
        prop_assert_eq!(decoder.next(right, &rules), Ok((right.len(), Some(Incoming::Binary(payload)))));
    }
}
