//! Compression: the examples of RFC 7692, round trips, bombs, garbage.

use proptest::prelude::*;

use super::super::deflate::{Deflater, Inflater};
use super::*;

fn inflated(payload: &[u8], limits: &Limits) -> Result<Vec<u8>, u16> {
    Inflater::default().decompress(payload.to_vec(), limits).map_err(|fault| fault.code.get())
}

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut out = b"before".to_vec();
    Deflater::default().compress(message, &mut out);
    out.split_off(6)
}

/// RFC 7692 section 7.2.3.
#[test]
fn the_examples_of_the_rfc() {
    let limits = Limits::default();
    for (payload, expected) in [
        // One block.
        (&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..], &b"Hello"[..]),
        // Without compression.
        (&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], b"Hello"),
        // A last block, and the byte that lets the message end as all do.
        (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], b"Hello"),
        // Two blocks.
        (&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
        // An empty message.
        (&[0x00], b""),
        // Beyond the examples: no bytes at all; a last block that is also the end; blocks behind a last one, of which the
        // second one looks back to the first.
        (&[], b""),
        (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
        (&[0x03, 0x00, 0x03, 0x00, 0x00], b""),
        (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"HelloHello"),
    ] {
        assert_eq!(inflated(payload, &limits).as_deref(), Ok(expected), "{payload:x?}");
    }
    // With the context of the message before, which is not taken over.
    assert_eq!(inflated(&[0xf2, 0x00, 0x11, 0x00, 0x00], &limits), Err(1007));
    assert_eq!(deflated(b"Hello"), [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    assert_eq!(deflated(b""), [0x00]);
}

#[test]
fn garbage() {
    let limits = Limits::default();
    for payload in [
        // A reserved block type; stored lengths that contradict each other; a block without an end; distances too far.
        &[0x07][..],
        &[0x00, 0x05, 0x00, 0x00, 0x00, 0x48],
        &[0xf2, 0x48, 0xcd, 0xc9],
        &[0x02, 0x11],
        &[0xff; 20],
        &[0x00, 0x00],
        // What ends like any flush, but was not left out.
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00, 0x00],
    ] {
        assert_eq!(inflated(payload, &limits), Err(1007), "{payload:x?}");
    }
    // Left in whole, it is one more empty block.
    let whole = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00];
    assert_eq!(inflated(&whole, &limits).as_deref(), Ok(&b"Hello"[..]));
}

/// Text with some likeness within itself.
fn wordy(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut text = Vec::new();
    while text.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(
            ["tick ", "price ", "{\"a\":", "17,", "\u{e4}", "[]"][(state >> 20) as usize % 6].as_bytes(),
        );
    }
    text.truncate(length);
    text
}

/// Bytes without any.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn round_trips_of_all_sizes_through_one_pair() {
    let limits = Limits { body_bytes: 1 << 20, ..Limits::default() };
    let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
    for length in [0, 1, 2, 100, 4095, 4096, 4097, 32_767, 32_768, 32_769, 65_535, 65_536, 100_000, 1 << 20] {
        for message in [wordy(length), noise(length)] {
            let mut payload = Vec::new();
            deflater.compress(&message, &mut payload);
            assert!(payload.len() <= length + length / 1000 + 64, "{length} became {}", payload.len());
            assert_eq!(inflater.decompress(payload, &limits), Ok(message));
        }
    }
}

/// What one message held is of no use to the next, on either side.
#[test]
fn no_context_is_taken_over() {
    let mut deflater = Deflater::default();
    let mut first = Vec::new();
    deflater.compress(&noise(1000), &mut first);
    let mut second = Vec::new();
    deflater.compress(&noise(1000), &mut second);
    assert_eq!(first, second);
    let mut inflater = Inflater::default();
    inflater.decompress(first, &Limits::default()).unwrap();
    // A fault leaves nothing behind either; and distances do not reach into what came before.
    let backwards = vec![0xf2, 0x00, 0x11, 0x00, 0x00];
    assert!(inflater.decompress(backwards, &Limits::default()).is_err());
    assert_eq!(inflater.decompress(second, &Limits::default()), Ok(noise(1000)));
}

#[test]
fn messages_at_their_limit() {
    for body_bytes in [1, 100, 4096, 5000, 65_536] {
        let limits = Limits { body_bytes, inflate_ratio: usize::MAX, ..Limits::default() };
        for fill in [wordy, noise, |length| vec![b'x'; length]] {
            for (length, expected) in [(body_bytes - 1, true), (body_bytes, true), (body_bytes + 1, false)] {
                let found = inflated(&deflated(&fill(length)), &limits);
                assert_eq!(found, if expected { Ok(fill(length)) } else { Err(1009) }, "{length} of {body_bytes}");
            }
        }
    }
    let limits = Limits { body_bytes: 0, ..Limits::default() };
    assert_eq!(inflated(&[0], &limits), Ok(Vec::new()));
    assert_eq!(inflated(&deflated(b"x"), &limits), Err(1009));
}

/// As many zeros in as few bytes as can be, ended as a last block is.
fn zeros(length: usize) -> Vec<u8> {
    [miniz_oxide::deflate::compress_to_vec(&vec![0; length], 9), vec![0]].concat()
}

#[test]
fn bombs() {
    let bomb = zeros(1 << 24);
    assert!(bomb.len() < 20_000);
    assert_eq!(inflated(&bomb, &Limits::default()), Err(1009));
    // Within the size, but not within the ratio; and as much as the ratio allows.
    let limits = Limits { body_bytes: 1 << 25, ..Limits::default() };
    assert_eq!(inflated(&bomb, &limits), Err(1009));
    assert_eq!(inflated(&bomb, &Limits { inflate_ratio: 1100, ..limits.clone() }), Ok(vec![0; 1 << 24]));
    let small = zeros(400_000);
    for (inflate_ratio, expected) in [(400_000 / small.len(), false), (400_000 / small.len() + 1, true)] {
        assert_eq!(inflated(&small, &Limits { inflate_ratio, ..limits.clone() }).is_ok(), expected, "{inflate_ratio}");
    }
    // So few bytes that the ratio does not matter.
    let limits = Limits { inflate_ratio: 1, ..Limits::default() };
    assert_eq!(inflated(&zeros(128 * 1024), &limits), Ok(vec![0; 128 * 1024]));
    assert_eq!(inflated(&zeros(128 * 1024 + 1), &limits), Err(1009));
}

#[test]
fn through_frames() {
    let limits = Limits::default();
    let rules = Rules { role: Role::Server, deflate: true, limits: &limits };
    let payload = deflated("größer größer größer".as_bytes());
    let (left, right) = payload.split_at(5);
    let raw = [frame(0x41, left), frame(0x89, b"between"), frame(0x80, right), frame(0x81, b"plain")].concat();
    let expected = format!("ping \"between\", deflated true {}, text \"plain\"", payload.len());
    assert_eq!(verdict(&raw, &rules), expected);
    let mut inflater = Inflater::default();
    let text = Incoming::Deflated { text: true, payload: payload.clone() };
    assert_eq!(inflater.open(text, &limits), Ok(Incoming::Text("größer größer größer".into())));
    let bytes = |text| Incoming::Deflated { text, payload: deflated(b"\xff") };
    assert_eq!(inflater.open(bytes(false), &limits), Ok(Incoming::Binary(vec![0xff])));
    assert_eq!(inflater.open(bytes(true), &limits).unwrap_err().code.get(), 1007);
    assert_eq!(inflater.open(Incoming::Ping(vec![1]), &limits), Ok(Incoming::Ping(vec![1])));
    // RSV1 on the first frame of a message only.
    let again = [frame(0x41, left), frame(0xc0, right)].concat();
    assert_eq!(verdict(&again, &rules), "!1002 a reserved bit is set");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_never_exceed_the_limit(
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        body_bytes in 0..5000_usize,
    ) {
        let limits = Limits { body_bytes, ..Limits::default() };
        if let Ok(message) = inflated(&payload, &limits) {
            prop_assert!(message.len() <= body_bytes);
        }
    }

    #[test]
    fn one_byte_changed_never_panics(
        at in 0..400_usize,
        byte in any::<u8>(),
    ) {
        let mut payload = deflated(&wordy(2000));
        let at = at % payload.len();
        payload[at] = byte;
        let _ = inflated(&payload, &Limits::default());
    }

    #[test]
    fn what_is_compressed_is_decompressed(message in proptest::collection::vec(any::<u8>(), 0..5000)) {
        prop_assert_eq!(inflated(&deflated(&message), &Limits::default()), Ok(message));
    }
}
