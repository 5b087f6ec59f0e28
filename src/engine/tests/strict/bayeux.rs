//! Batches with verdicts, the same by HTTP, in a form and by WebSocket.
//!
//! A verdict is what each message is answered: `ok`, or the code of its error; `-` for none. Or `refused` for the
//! whole, which is HTTP 400 and WebSocket 1007, and `too-many`, 413 and 1008: then nothing at all has been done.

use std::collections::HashMap;

use serde_json::json;
use serde_json::value::RawValue;

use super::super::bench::{Bench, Post};
use super::http::cuts;
use super::table::{Case, Words, cases};
use crate::conn::ConnKey;
use crate::limits::Limits;
use crate::ws::frame::{Decoder, Incoming, Opcode, Role, Rules};
use crate::ws::write::Frame;

/// What the words of the table stand for.
const WORDS: &Words = &[
    ("to-a", r#""channel":"/a","clientId":"$id","#),
    ("sub", r#""channel":"/meta/subscribe","clientId":"$id","subscription":"#),
];

const BATCHES: &str = include_str!("bayeux.txt");

fn bench() -> Bench {
    Bench::with(|setup| {
        setup.limits = Limits { batch_messages: 10, ..Limits::default() };
        setup.broker.transports = vec!["long-polling", "websocket"];
    })
}

/// What each reply says, or what is said of the whole.
fn told(status: u16, body: &str) -> String {
    match status {
        400 | 1007 => return "refused".to_owned(),
        413 | 1008 => return "too-many".to_owned(),
        _ => {}
    }
    // Not numbers as such: an id may be one that no double holds.
    let replies: Vec<HashMap<String, &RawValue>> = serde_json::from_str(body).unwrap();
    let word = |reply: &HashMap<String, &RawValue>| {
        let field = |name| reply.get(name).map(|value| value.get());
        match (field("successful"), field("error")) {
            (Some("true"), None) => "ok".to_owned(),
            (Some("false"), Some(error)) => error[1..].split(':').next().unwrap().to_owned(),
            _ => panic!("{reply:?}"),
        }
    };
    if replies.is_empty() { "-".to_owned() } else { replies.iter().map(word).collect::<Vec<_>>().join(" ") }
}

/// The verdict over a request, which is cut where its body is.
fn by_http(b: &mut Bench, post: &Post, length: usize) -> Result<String, String> {
    let bytes = post.bytes();
    let mut first = None;
    for pieces in cuts(&bytes, bytes.len() - length) {
        let conn = b.open();
        for piece in &pieces {
            b.give(conn, piece);
        }
        let response = b.one(conn);
        b.cut(conn);
        let found = told(response.status, &response.body);
        let answer = (found, response.body);
        let first = first.get_or_insert_with(|| answer.clone());
        if *first != answer {
            return Err(format!("{first:?}, but {answer:?} in {} pieces", pieces.len()));
        }
    }
    Ok(first.unwrap().0)
}

fn upgrade(b: &mut Bench) -> ConnKey {
    let conn = b.open();
    let request = "GET /cometd HTTP/1.1\r\nHost: h.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert!(b.exchange_bare(conn, request.as_bytes()).starts_with("HTTP/1.1 101 "));
    conn
}

/// The verdict over a message, in one frame and in one frame for each byte.
fn by_websocket(b: &mut Bench, text: &[u8]) -> Result<String, String> {
    let frame = |frame: Frame, payload: &[u8], out: &mut Vec<u8>| {
        Frame { mask: Some([1, 2, 3, 4]), ..frame }.write(out, payload);
    };
    let (mut one, mut many) = (Vec::new(), Vec::new());
    frame(Frame::whole(Opcode::Text), text, &mut one);
    frame(Frame { fin: false, ..Frame::whole(Opcode::Text) }, b"", &mut many);
    for byte in text.chunks(1) {
        frame(Frame { fin: false, ..Frame::whole(Opcode::Continuation) }, byte, &mut many);
    }
    frame(Frame::whole(Opcode::Continuation), b"", &mut many);
    let found = [one, many].map(|bytes| {
        let conn = upgrade(b);
        b.give(conn, &bytes);
        let answer = b.bytes(conn);
        b.cut(conn);
        let limits = Limits::default();
        let rules = Rules { role: Role::Client, deflate: false, limits: &limits };
        match Decoder::default().next(&answer, &rules).unwrap() {
            (used, Some(Incoming::Text(text))) if used == answer.len() => {
                told(200, core::str::from_utf8(&text).unwrap())
            }
            (_, Some(Incoming::Close { code: Some(code), .. })) => told(code.get(), ""),
            other => panic!("{other:?}"),
        }
    });
    if found[0] == found[1] { Ok(found[0].clone()) } else { Err(format!("fragments count: {found:?}")) }
}

fn form(text: &[u8]) -> Post {
    let encoded: String = text.iter().map(|byte| format!("%{byte:02X}")).collect();
    Post::new(format!("message={encoded}")).field("Content-Type", "application/x-www-form-urlencoded")
}

/// The verdict in full: `3*400` is `400 400 400`.
fn spelled_out(verdict: &str) -> String {
    let word = |word: &str| match word.split_once('*') {
        Some((count, word)) => vec![word; count.parse().unwrap()].join(" "),
        None => word.to_owned(),
    };
    verdict.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn run(case: &Case) -> Result<(), String> {
    let mut b = bench();
    let client = b.client();
    let text: Vec<u8> = replace(&case.bytes, b"$id", client.id.as_bytes());
    let expected = spelled_out(case.verdict);
    let before = (b.engine.counters(), b.sessions());
    let ways = [
        ("JSON", by_http(&mut b, &Post::new(text.clone()), text.len())),
        ("a form", by_http(&mut b, &form(&text), 0)),
        ("a WebSocket", by_websocket(&mut b, &text)),
    ];
    for (way, found) in ways {
        let found = found.map_err(|error| format!("{}, as {way}: {error}", case.name))?;
        if found != expected {
            return Err(format!("{}, as {way}: {found} where {expected} is right", case.name));
        }
    }
    let is_whole = matches!(case.verdict, "refused" | "too-many");
    if is_whole && (b.engine.counters(), b.sessions()) != before {
        return Err(format!("{}: refused, and something was done", case.name));
    }
    let alive = b.tell(client.up, &json!({"channel": "/b", "clientId": client.id, "data": 1, "id": "p"}));
    assert_eq!(alive["successful"], true, "{}: the session lives", case.name);
    Ok(())
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

#[test]
fn batches() {
    let wrong: Vec<String> = cases(BATCHES, WORDS).iter().filter_map(|case| run(case).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
