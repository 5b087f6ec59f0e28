//! What Autobahn|Testsuite asks in its groups 1 to 7 and 10, as tables. The suite itself is in `tests/autobahn`.

use super::*;

/// FIN and an opcode, or an opcode alone.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const TEXT_MORE: u8 = 0x01;
const BINARY_MORE: u8 = 0x02;
const MORE: u8 = 0x00;
const LAST: u8 = 0x80;

/// The verdict over frames, each a first byte and a payload.
fn of(frames: &[(u8, &[u8])]) -> String {
    served(&frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect::<Vec<_>>())
}

/// The same for what is too long to be cut at every byte.
fn of_pieces(bytes: &[u8], size: usize) -> String {
    let limits = Limits::default();
    let rules = Rules { role: Role::Server, deflate: false, limits: &limits };
    decoded(&bytes.chunks(size).collect::<Vec<_>>(), &rules, true)
}

/// Groups 1.1 and 1.2; sizes of pieces as in 1.1.8.
#[test]
fn messages_of_all_lengths() {
    for length in [0, 125, 126, 127, 128, 65_535, 65_536] {
        for (first, kind) in [(TEXT, "text"), (BINARY, "binary")] {
            let expected = if length == 0 { format!("{kind} \"\"") } else { format!("{kind} {length}") };
            let bytes = frame(first, &vec![b'*'; length]);
            for size in [1, 2, 997, 1 << 20] {
                assert_eq!(of_pieces(&bytes, size), expected, "in pieces of {size}");
            }
        }
    }
}

/// Group 2.
#[test]
fn pings_and_pongs() {
    for (frames, expected) in [
        (&[(PING, &b""[..])][..], "ping \"\""),
        (&[(PING, b"Hello, world!")], "ping \"Hello, world!\""),
        (&[(PING, &[0xfe; 125])], "ping 125"),
        (&[(PING, &[0xfe; 126])], "!1002 a control frame of more than 125 bytes"),
        (&[(PONG, b"")], "pong \"\""),
        (&[(PONG, b"unsolicited")], "pong \"unsolicited\""),
        (&[(PONG, b"unsolicited"), (PING, b"ping")], "pong \"unsolicited\", ping \"ping\""),
    ] {
        assert_eq!(of(frames), expected, "{frames:x?}");
    }
    let ten: Vec<Vec<u8>> = (0..10).map(|at| frame(PING, format!("payload-{at}").as_bytes())).collect();
    let expected: Vec<String> = (0..10).map(|at| format!("ping \"payload-{at}\"")).collect();
    assert_eq!(served(&ten.concat()), expected.join(", "));
}

/// Groups 3 and 4.
#[test]
fn reserved_bits_and_opcodes() {
    for reserved in 1..8_u8 {
        for (first, payload) in [(TEXT, &b"Hello"[..]), (BINARY, &[0xfe; 8]), (PING, b""), (CLOSE, b"")] {
            let bad = (first | reserved << 4, payload);
            let expected = "!1002 a reserved bit is set";
            assert_eq!(of(&[bad]), expected);
            assert_eq!(of(&[(TEXT, b"ok"), bad, (PING, b"")]), format!("text \"ok\", {expected}"));
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for bad in [(0x80 | opcode, &b""[..]), (opcode, b"reserved")] {
            let expected = "!1002 a reserved opcode";
            assert_eq!(of(&[bad]), expected);
            assert_eq!(of(&[(TEXT, b"ok"), bad, (PING, b"")]), format!("text \"ok\", {expected}"));
        }
    }
}

/// Group 5.
#[test]
fn fragments() {
    let text = |frames: &[(u8, &[u8])]| of(frames);
    let nothing = "!1002 a continuation of nothing";
    let inside = "!1002 a new message inside a fragmented one";
    for (frames, expected) in [
        (&[(0x09, &b"fragment1"[..]), (LAST, b"fragment2")][..], "!1002 a fragmented control frame"),
        (&[(0x0a, b"fragment1"), (LAST, b"fragment2")], "!1002 a fragmented control frame"),
        (&[(TEXT_MORE, b"one"), (LAST, b"two")], "text \"onetwo\""),
        (&[(BINARY_MORE, b"one"), (MORE, b""), (LAST, b"two")], "binary \"onetwo\""),
        (&[(TEXT_MORE, b"one"), (PING, b"p"), (LAST, b"two")], "ping \"p\", text \"onetwo\""),
        (
            &[(TEXT_MORE, b"one"), (PONG, b"p"), (MORE, b"+"), (PING, b""), (LAST, b"two")],
            "pong \"p\", ping \"\", text \"one+two\"",
        ),
        (&[(LAST, b"one"), (TEXT, b"two")], nothing),
        (&[(MORE, b"one"), (TEXT, b"two")], nothing),
        (&[(TEXT_MORE, b"one"), (LAST, b"two"), (MORE, b"three")], "text \"onetwo\", !1002 a continuation of nothing"),
        (&[(TEXT_MORE, b"one"), (TEXT, b"two")], inside),
        (&[(TEXT_MORE, b"one"), (BINARY, b"two")], inside),
        (&[(TEXT_MORE, b"one"), (CLOSE, b"\x03\xe8")], "close 1000 \"\""),
        (&[(TEXT_MORE, b""), (MORE, b""), (LAST, b"")], "text \"\""),
    ] {
        assert_eq!(text(frames), expected, "{frames:x?}");
    }
}

const KOSME: &[u8] = "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}".as_bytes();

/// Groups 6.1 to 6.4: across fragments, and at the first byte that cannot be.
#[test]
fn text_is_checked_as_it_arrives() {
    let invalid = "!1007 text that is not UTF-8";
    assert_eq!(of(&[(TEXT, KOSME)]), "text \"\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}\"");
    for cut in 0..=KOSME.len() {
        let (left, right) = KOSME.split_at(cut);
        assert_eq!(
            of(&[(TEXT_MORE, left), (PING, b""), (LAST, right)]),
            format!("ping \"\", {}", of(&[(TEXT, KOSME)]))
        );
    }
    let single: Vec<(u8, &[u8])> = KOSME.chunks(1).map(|byte| (MORE, byte)).collect();
    let frames = [&[(TEXT_MORE, &b""[..])][..], &single, &[(LAST, b"")]].concat();
    assert_eq!(of(&frames), of(&[(TEXT, KOSME)]));
    // After the fault the rest does not matter, so it is told before the frame or the message ends.
    for bad in [&b"\xed\xa0\x80edited"[..], b"\xf4\x90\x80\x80edited"] {
        let text = [KOSME, bad].concat();
        assert_eq!(of(&[(TEXT, &text)]), invalid);
        assert_eq!(of(&[(TEXT_MORE, KOSME), (MORE, bad)]), invalid);
        let cut_short = frame(TEXT_MORE, &text);
        assert_eq!(served(&cut_short[..6 + KOSME.len() + 2]), invalid);
        assert_eq!(served(&cut_short[..6 + KOSME.len() + 1]), "…");
    }
    let short = "!1007 text that ends within a character";
    assert_eq!(of(&[(TEXT, b"\xce\xba\xe1")]), short);
    assert_eq!(of(&[(TEXT_MORE, b"\xce"), (LAST, b"")]), short);
    assert_eq!(of(&[(TEXT, b"\xce"), (TEXT, b"\xba")]), short);
    // Bytes need not be text, and a text begins afresh after one that was bytes.
    assert_eq!(of(&[(BINARY, b"\xff"), (TEXT, b"ok")]), "binary \"\u{fffd}\", text \"ok\"");
    assert_eq!(of(&[(PING, b"\xff")]), "ping \"\u{fffd}\"");
}

/// Groups 6.5 to 6.23: the bounds of the ranges, as Markus Kuhn's test has them.
#[test]
fn texts() {
    let valid = [
        "\0",
        "\u{7f}",
        "\u{80}",
        "\u{7ff}",
        "\u{800}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{fffd}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{10000}",
        "\u{1fffe}",
        "\u{fffff}",
        "\u{10fffe}",
        "\u{10ffff}",
    ];
    for text in valid {
        assert_eq!(of(&[(TEXT, text.as_bytes())]), format!("text {text:?}"));
    }
    let invalid: [&[u8]; 18] = [
        b"\x80",
        b"\xbf",
        b"\x80\xbf",
        b"\xc0\x20",
        b"\xff",
        b"\xfe",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xed\xad\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xf4\x90\x80\x80",
    ];
    for text in invalid {
        assert_eq!(of(&[(TEXT, text)]), "!1007 text that is not UTF-8", "{text:x?}");
    }
}

/// Group 7.
#[test]
fn closes() {
    for (frames, expected) in [
        (&[(TEXT, &b"Hello"[..]), (CLOSE, b"\x03\xe8")][..], "text \"Hello\", close 1000 \"\""),
        (&[(CLOSE, b""), (CLOSE, b"")], "close \"\""),
        (&[(CLOSE, b"\x03\xe8"), (PING, b"late")], "close 1000 \"\""),
        (&[(CLOSE, b"\x03\xe8"), (TEXT, b"late")], "close 1000 \"\""),
        (&[(CLOSE, b"\x03")], "!1002 a Close with half a code"),
        (&[(CLOSE, b"\x03\xe8Hello World!")], "close 1000 \"Hello World!\""),
        (&[(CLOSE, b"\x03\xe8\xce\xba\xed\xa0\x80")], "!1007 a close reason that is not UTF-8"),
    ] {
        assert_eq!(of(frames), expected, "{frames:x?}");
    }
    let longest = [&b"\x03\xe8"[..], &[b'*'; 123]].concat();
    assert_eq!(of(&[(CLOSE, &longest)]), "close 1000 123");
    let longer = [&b"\x03\xe8"[..], &[b'*'; 124]].concat();
    assert_eq!(of(&[(CLOSE, &longer)]), "!1002 a control frame of more than 125 bytes");
    for code in [1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        assert_eq!(of(&[(CLOSE, &code.to_be_bytes())]), format!("close {code} \"\""));
    }
    for code in [0_u16, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert_eq!(of(&[(CLOSE, &code.to_be_bytes())]), "!1002 a close code that must not be sent", "{code}");
    }
}

/// Group 10, and those of group 9 that are about fragments: 65,536 bytes in frames of 1,300.
#[test]
fn a_message_in_many_frames() {
    let message = vec![b'*'; 65_536];
    let mut bytes = Vec::new();
    let count = message.chunks(1300).count();
    for (at, part) in message.chunks(1300).enumerate() {
        let opcode = if at == 0 { TEXT_MORE } else { MORE };
        bytes.extend_from_slice(&frame(if at + 1 == count { opcode | 0x80 } else { opcode }, part));
    }
    for size in [1, 1306, 1 << 20] {
        assert_eq!(of_pieces(&bytes, size), "text 65536");
    }
}
