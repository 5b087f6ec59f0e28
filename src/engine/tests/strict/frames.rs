//! Frames with verdicts.
//!
//! A verdict is what comes back, in order: `text` for an answer to a batch, `pong=` and its payload or its length,
//! the code of a close; and then `waits` if a message is under way. `-` is nothing at all.

use super::super::bench::Bench;
use super::http::cuts;
use super::table::{Case, Words, cases};
use crate::conn::ConnKey;
use crate::limits::Limits;
use crate::ws::frame::{Decoder, Incoming, Opcode, Role, Rules};
use crate::ws::write::Frame;

/// What the words of the tables stand for.
const WORDS: &Words = &[("m", r"\x0e"), ("z", r"\x8a\x8e\x05\0")];

const FRAMES: &str = include_str!("frames.txt");
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn bench() -> Bench {
    Bench::with(|setup| {
        setup.limits = Limits { body_bytes: 1_000, batch_messages: 10, ..Limits::default() };
        setup.broker.transports = vec!["websocket"];
    })
}

/// Puts what stands between brackets behind a mask: with its length before it, or, behind an 0x0e, without.
fn masked(text: &[u8]) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'(' | 0x0e)) {
        bytes.extend_from_slice(&rest[..at]);
        let length = rest[at..].iter().position(|byte| *byte == b')').expect("a closing bracket") - 1;
        let payload = &rest[at + 1..][..length];
        let mut frame = Vec::new();
        Frame { mask: Some(MASK), ..Frame::whole(Opcode::Text) }.write(&mut frame, payload);
        let from = if rest[at] == b'(' { 1 } else { frame.len() - payload.len() - MASK.len() };
        bytes.extend_from_slice(&frame[from..]);
        rest = &rest[at + length + 2..];
    }
    bytes.extend_from_slice(rest);
    bytes
}

fn upgrade(b: &mut Bench, deflate: bool) -> ConnKey {
    let conn = b.open();
    let extensions = if deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    let request = format!(
        "GET /cometd HTTP/1.1\r\nHost: h.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extensions}\r\n"
    );
    let text = b.exchange_bare(conn, request.as_bytes());
    assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
    conn
}

/// What the server has sent, in the words of a verdict.
fn told(bytes: &[u8]) -> Vec<String> {
    let (limits, mut decoder, mut rest, mut told) = (Limits::default(), Decoder::default(), bytes, Vec::new());
    let rules = Rules { role: Role::Client, deflate: false, limits: &limits };
    while !rest.is_empty() {
        let (used, incoming) = decoder.next(rest, &rules).unwrap();
        rest = &rest[used..];
        told.push(match incoming.unwrap_or_else(|| panic!("half a frame: {bytes:x?}")) {
            Incoming::Text(_) => "text".to_owned(),
            Incoming::Pong(payload) if payload.len() > 1 => format!("pong={}", payload.len()),
            Incoming::Pong(payload) => format!("pong={}", String::from_utf8(payload).unwrap()),
            Incoming::Close { code: Some(code), .. } => code.get().to_string(),
            other => panic!("{other:?}"),
        });
    }
    told
}

/// What comes of these pieces, as a verdict, and the very bytes that came back.
fn outcome(b: &mut Bench, pieces: &[&[u8]], deflate: bool) -> (String, Vec<u8>) {
    let conn = upgrade(b, deflate);
    for piece in pieces {
        b.give(conn, piece);
    }
    let bytes = b.bytes(conn);
    let mut verdict = told(&bytes);
    let closes = verdict.last().is_some_and(|last| last.parse::<u16>().is_ok());
    assert_eq!(b.is_shut(conn), closes, "shut behind a close, and not otherwise: {verdict:?}");
    if !closes {
        // Only a message that is under way can be late.
        b.advance(Limits::default().body_ms);
        let late = told(&b.bytes(conn));
        verdict.extend((!late.is_empty()).then(|| "waits".to_owned()));
        assert!(late.is_empty() || late == ["1008"], "{late:?} to silence");
    }
    if !b.is_closed(conn) {
        b.cut(conn);
    }
    let verdict = if verdict.is_empty() { "-".to_owned() } else { verdict.join(" ") };
    (verdict, bytes)
}

/// Whether the verdict and the answers are the same however the bytes are cut; if not, where.
fn judge(b: &mut Bench, bytes: &[u8], deflate: bool, expected: &str) -> Result<(), String> {
    let mut first = None;
    for pieces in cuts(bytes, 0) {
        let (found, answers) = outcome(b, &pieces, deflate);
        let first = first.get_or_insert_with(|| answers.clone());
        if found != expected || answers != *first {
            return Err(format!("{found} where {expected} is right, and {answers:x?}, to {pieces:x?}"));
        }
    }
    Ok(())
}

/// Runs a case by itself, and behind a good message.
fn run(case: &Case, deflate: bool) -> Result<(), String> {
    let mut b = bench();
    let bytes = masked(&case.bytes);
    judge(&mut b, &bytes, deflate, case.verdict).map_err(|error| format!("{}: {error}", case.name))?;
    let behind = [masked(b"\x81([])"), bytes].concat();
    let verdict = format!("text {}", case.verdict.trim_start_matches('-'));
    judge(&mut b, &behind, deflate, verdict.trim_end()).map_err(|error| format!("{}, behind: {error}", case.name))
}

fn run_all(table: &'static str, words: &Words, deflate: bool) {
    let wrong: Vec<String> = cases(table, words).iter().filter_map(|case| run(case, deflate).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn frames() {
    run_all(FRAMES, WORDS, false);
}

#[cfg(feature = "deflate")]
#[test]
fn compressed_frames() {
    run_all(include_str!("deflated.txt"), WORDS, true);
}

/// What comes of a first and a second byte, a length in that form and so many bytes of a batch: by the rules of RFC
/// 6455 section 5 and RFC 7692 section 6, one after another. `inside`: a text has begun.
fn by_the_rfc(first: u8, second: u8, inside: bool, deflate: bool) -> Option<&'static str> {
    let (fin, rsv, opcode) = (first >= 0x80, (first / 16) % 8, first % 16);
    let (masked, length) = (second >= 0x80, second % 128);
    let is_control = (8..=10).contains(&opcode);
    let is_data = opcode == 1 || opcode == 2;
    let rsv_allowed = rsv == 0 || (rsv == 4 && deflate && is_data);
    if !(is_control || is_data || opcode == 0) || !rsv_allowed || !masked {
        return Some("1002");
    }
    if is_control && (!fin || length > 125) {
        return Some("1002");
    }
    if (opcode == 0 && !inside) || (is_data && inside) {
        return Some("1002");
    }
    // What it is not refused for by its header is the matter of other tests.
    None
}

#[test]
fn every_first_byte_with_every_kind_of_second() {
    let mut b = bench();
    let (mut refused, mut taken) = (0, 0);
    let settings: &[bool] = if cfg!(feature = "deflate") { &[false, true] } else { &[false] };
    for first in 0..=255_u8 {
        for second in [0, 1, 2, 125, 126, 127, 128, 129, 130, 253, 254, 255] {
            for (&deflate, inside) in settings.iter().flat_map(|deflate| [(deflate, false), (deflate, true)]) {
                let mut bytes = if inside { masked(b"\x01([)") } else { Vec::new() };
                bytes.extend([first, second]);
                let is_refused = by_the_rfc(first, second, inside, deflate).is_some();
                let whole = [&bytes[..]];
                let ones: Vec<&[u8]> = bytes.chunks(1).collect();
                for pieces in [&whole[..], &ones] {
                    let (found, _) = outcome(&mut b, pieces, deflate);
                    let expected = if is_refused { "1002" } else { "waits" };
                    assert_eq!(found, expected, "{first:x} {second:x}, inside: {inside}, deflate: {deflate}");
                }
                refused += u32::from(is_refused);
                taken += u32::from(!is_refused);
            }
        }
    }
    assert!(taken > 50 && refused > taken, "{taken} and {refused}");
}
