//! Section 7: WebSocket.

use serde_json::{Value, json};

use super::bench::{Bench, HANDSHAKE, PROXY, connected, unknown_connect};
use crate::conn::ConnKey;
use crate::conn::route::RefusalKind;
use crate::limits::Limits;
use crate::ws::frame::{Decoder, Incoming, Opcode, Role, Rules};
use crate::ws::write::Frame;

const ALL: [&str; 2] = ["long-polling", "websocket"];
const MASK: [u8; 4] = [1, 2, 3, 4];

pub(super) fn bench() -> Bench {
    Bench::with(|setup| setup.broker.transports = ALL.to_vec())
}

pub(super) fn upgrade(b: &mut Bench, fields: &str) -> ConnKey {
    let conn = b.open();
    let request = format!(
        "GET /cometd HTTP/1.1\r\nHost: h.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    );
    let text = b.exchange_bare(conn, request.as_bytes());
    assert!(text.starts_with("HTTP/1.1 101 ") && text.ends_with("\r\n\r\n"), "{text}");
    conn
}

pub(super) fn frame(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame { mask: Some(MASK), ..Frame::whole(Opcode::Text) }.write(&mut bytes, text.as_bytes());
    bytes
}

/// The frames that have come.
fn frames(b: &mut Bench, conn: ConnKey) -> Vec<Incoming> {
    let bytes = b.bytes(conn);
    let (limits, mut decoder, mut rest, mut found) = (Limits::default(), Decoder::default(), &bytes[..], Vec::new());
    let rules = Rules { role: Role::Client, deflate: false, limits: &limits };
    while !rest.is_empty() {
        let (used, incoming) = decoder.next(rest, &rules).unwrap();
        found.extend(incoming);
        rest = &rest[used..];
    }
    found
}

/// The messages that have come, frame by frame.
pub(super) fn messages(b: &mut Bench, conn: ConnKey) -> Vec<Value> {
    let text = |incoming| match incoming {
        Incoming::Text(text) => serde_json::from_slice::<Value>(&text).unwrap(),
        other => panic!("{other:?}"),
    };
    frames(b, conn).into_iter().map(text).collect()
}

pub(super) fn say(b: &mut Bench, conn: ConnKey, message: &Value) -> Vec<Value> {
    b.give(conn, &frame(&message.to_string()));
    messages(b, conn)
}

pub(super) fn closing(b: &mut Bench, conn: ConnKey) -> u16 {
    match frames(b, conn).pop() {
        Some(Incoming::Close { code: Some(code), .. }) => code.get(),
        other => panic!("{other:?}"),
    }
}

fn connect(id: &str) -> Value {
    json!({"channel": "/meta/connect", "clientId": id, "connectionType": "websocket", "id": "c"})
}

/// A session on a WebSocket, subscribed to `/a`, whose connect is held.
fn client(b: &mut Bench) -> (ConnKey, String) {
    let conn = upgrade(b, "");
    let replies = say(b, conn, &serde_json::from_str(HANDSHAKE).unwrap());
    let id = replies[0][0]["clientId"].as_str().unwrap().to_owned();
    let subscribe = json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/a"});
    assert_eq!(say(b, conn, &subscribe)[0][0]["successful"], true);
    let replies = say(b, conn, &connect(&id));
    assert_eq!(replies[0][0]["advice"]["reconnect"], "retry", "the first connect returns at once, with advice");
    assert_eq!(say(b, conn, &connect(&id)), Vec::<Value>::new(), "the next one is held");
    (conn, id)
}

fn event(data: impl Into<Value>) -> Value {
    json!([{"channel": "/a", "data": data.into()}])
}

#[test]
fn must_7_events_are_pushed_as_soon_as_they_exist_and_the_connect_stays_held_as_a_heartbeat() {
    let mut b = bench();
    let (conn, id) = client(&mut b);
    for data in 0..3 {
        b.inject("/a", &data.to_string());
        assert_eq!(messages(&mut b, conn), [event(data)]);
    }
    b.advance(30_000);
    assert_eq!(messages(&mut b, conn), [json!([connected()])]);
    b.inject("/a", "3");
    assert_eq!(messages(&mut b, conn), [event(3)], "also between two connects");
    assert_eq!(say(&mut b, conn, &connect(&id)), Vec::<Value>::new());
}

#[test]
fn must_7_what_comes_in_one_turn_goes_out_in_one_write_a_frame_for_each_event() {
    let mut b = bench();
    let (conn, _) = client(&mut b);
    b.inject_without_a_turn("/a", "1");
    b.inject_without_a_turn("/a", "2");
    assert_eq!(b.flush(), 1, "one connection to write to");
    assert_eq!(messages(&mut b, conn), [event(1), event(2)]);
}

#[test]
fn a_publisher_hears_its_own_event_and_the_ack() {
    let mut b = bench();
    let (conn, id) = client(&mut b);
    let publish = json!({"channel": "/a", "clientId": id, "data": 1, "id": "p"});
    let heard = say(&mut b, conn, &publish);
    assert!(heard.contains(&event(1)) && heard.contains(&json!([{"channel": "/a", "id": "p", "successful": true}])));
}

#[test]
fn must_7_faults_close_with_their_codes() {
    let cases: [(&str, Vec<u8>, u16, RefusalKind); 7] = [
        ("bad JSON", frame("[{"), 1007, RefusalKind::Batch),
        ("no array", frame("1"), 1007, RefusalKind::Batch),
        ("no UTF-8", vec![0x81, 0x81, 1, 2, 3, 4, 0xff ^ 1], 1007, RefusalKind::Batch),
        ("too many messages", frame(&format!("[{}]", vec!["{}"; 1_025].join(","))), 1008, RefusalKind::Batch),
        (
            "too large",
            {
                let mut bytes = vec![0x81, 0xff];
                bytes.extend(262_145u64.to_be_bytes());
                bytes.extend(MASK);
                bytes
            },
            1009,
            RefusalKind::Size,
        ),
        ("unmasked", vec![0x81, 0x02, b'[', b']'], 1002, RefusalKind::Framing),
        (
            "binary",
            {
                let mut bytes = Vec::new();
                Frame { mask: Some(MASK), ..Frame::whole(Opcode::Binary) }.write(&mut bytes, b"[]");
                bytes
            },
            1003,
            RefusalKind::Batch,
        ),
    ];
    for (what, bytes, code, kind) in cases {
        let mut b = bench();
        let (conn, _) = client(&mut b);
        b.give(conn, &bytes);
        assert_eq!(closing(&mut b, conn), code, "{what}");
        for other in RefusalKind::ALL {
            assert_eq!(b.engine.refusals.total(other), u64::from(other == kind), "{what}: {other:?}");
        }
        assert!(b.is_shut(conn), "{what}");
        assert_eq!(b.sessions(), 1, "the session lives on for a while");
        b.advance(1_000);
        assert!(b.is_closed(conn), "{what}");
        b.advance(9_000);
        assert_eq!(b.sessions(), 0, "{what}");
    }
}

#[test]
fn frames_may_come_byte_by_byte_and_fragmented() {
    let mut b = bench();
    let (conn, id) = client(&mut b);
    let text = json!([{"channel": "/b", "clientId": id, "data": "\u{1F30D}"}]).to_string();
    for byte in frame(&text) {
        b.give(conn, &[byte]);
    }
    assert_eq!(messages(&mut b, conn), [json!([{"channel": "/b", "successful": true}])]);
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let opcode = if at == 0 { Opcode::Text } else { Opcode::Continuation };
        let part = Frame { opcode, fin: at + 1 == bytes.len(), deflated: false, mask: Some(MASK) };
        let mut out = Vec::new();
        part.write(&mut out, &[*byte]);
        b.give(conn, &out);
    }
    assert_eq!(messages(&mut b, conn), [json!([{"channel": "/b", "successful": true}])]);
}

#[test]
fn a_message_that_does_not_arrive_in_time_closes() {
    let mut b = bench();
    let (conn, _) = client(&mut b);
    b.give(conn, &frame("[]")[..3]);
    b.advance(14_999);
    assert_eq!(frames(&mut b, conn), []);
    b.advance(1);
    assert_eq!(closing(&mut b, conn), 1008);
    assert_eq!(b.engine.refusals.total(RefusalKind::Timeout), 1);
}

#[test]
fn what_is_refused_on_a_websocket_is_told_with_the_client_that_a_proxy_named() {
    let mut b = bench();
    let conn = b.open_from(PROXY);
    let request = "GET /cometd HTTP/1.1\r\nHost: h.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        X-Forwarded-For: 203.0.113.9\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \
        dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    b.exchange_bare(conn, request.as_bytes());
    b.give(conn, &frame("1"));
    assert_eq!(closing(&mut b, conn), 1007);
    let said = b.engine.refusals.last(RefusalKind::Batch).to_owned();
    assert!(said.starts_with("from 203.0.113.9: the WebSocket is closed with 1007 "), "{said}");
}

#[test]
fn a_client_that_closes_by_itself_is_refused_nothing() {
    let mut b = bench();
    let (conn, _) = client(&mut b);
    let mut bytes = Vec::new();
    Frame { mask: Some(MASK), ..Frame::whole(Opcode::Close) }.write(&mut bytes, &1009u16.to_be_bytes());
    b.give(conn, &bytes);
    assert_eq!(closing(&mut b, conn), 1009);
    for kind in RefusalKind::ALL {
        assert_eq!(b.engine.refusals.total(kind), 0, "{kind:?}");
    }
}

#[test]
fn frames_may_stand_right_behind_the_request() {
    let mut b = bench();
    let conn = b.open();
    let request = "GET /cometd HTTP/1.1\r\nHost: h.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut bytes = request.as_bytes().to_vec();
    bytes.extend(frame(HANDSHAKE));
    b.give(conn, &bytes);
    let text = String::from_utf8_lossy(&b.bytes(conn)).into_owned();
    assert!(text.starts_with("HTTP/1.1 101 ") && text.contains("\"clientId\":"), "{text}");
}

#[test]
fn pings_are_answered_and_a_close_is_too() {
    let mut b = bench();
    let (conn, _) = client(&mut b);
    let mut bytes = Vec::new();
    Frame { mask: Some(MASK), ..Frame::whole(Opcode::Ping) }.write(&mut bytes, b"abc");
    b.give(conn, &bytes);
    assert_eq!(frames(&mut b, conn), [Incoming::Pong(b"abc".to_vec())]);
    let mut bytes = Vec::new();
    Frame { mask: Some(MASK), ..Frame::whole(Opcode::Close) }.write(&mut bytes, &1000u16.to_be_bytes());
    b.give(conn, &bytes);
    assert_eq!(closing(&mut b, conn), 1000);
    b.fin(conn);
    assert!(b.is_closed(conn));
}

#[test]
fn nothing_is_written_behind_a_close_and_the_session_keeps_its_events() {
    let mut b = bench();
    let (conn, id) = client(&mut b);
    let mut bytes = Vec::new();
    Frame { mask: Some(MASK), ..Frame::whole(Opcode::Close) }.write(&mut bytes, &1000u16.to_be_bytes());
    b.give(conn, &bytes);
    b.inject("/a", "1");
    assert_eq!(closing(&mut b, conn), 1000, "the last that comes");
    let other = upgrade(&mut b, "");
    assert_eq!(say(&mut b, other, &connect(&id)), [event(1)]);
}

#[test]
fn limit_one_pong_waits_and_it_is_that_of_the_newest_ping() {
    let mut b = bench();
    let conn = upgrade(&mut b, "");
    let ping = |at: u32| {
        let mut bytes = Vec::new();
        Frame { mask: Some(MASK), ..Frame::whole(Opcode::Ping) }.write(&mut bytes, &at.to_be_bytes());
        bytes
    };
    let pings: Vec<u8> = (0..1_000).flat_map(ping).collect();
    b.stall(conn);
    b.give(conn, &pings);
    b.give(conn, &ping(1_000));
    b.unstall(conn);
    let pong = |at: u32| Incoming::Pong(at.to_be_bytes().to_vec());
    assert_eq!(frames(&mut b, conn), [pong(0), pong(1_000)], "the one that was pending already, and the newest");
    for at in 7..9 {
        b.give(conn, &ping(at));
        assert_eq!(frames(&mut b, conn), [pong(at)], "each, if there is time for it");
    }
}

#[test]
fn must_7_a_peer_that_misses_two_pings_is_dropped() {
    let mut b = Bench::with(|setup| {
        setup.broker.transports = ALL.to_vec();
        setup.broker.timeout_ms = 600_000;
        setup.limits.ping_ms = 10_000;
    });
    let (conn, _) = client(&mut b);
    b.advance(10_000);
    assert_eq!(frames(&mut b, conn), [Incoming::Ping(Vec::new())]);
    let mut pong = Vec::new();
    Frame { mask: Some(MASK), ..Frame::whole(Opcode::Pong) }.write(&mut pong, b"");
    b.give(conn, &pong);
    b.advance(10_000);
    assert_eq!(frames(&mut b, conn).len(), 1);
    b.advance(10_000);
    assert_eq!(frames(&mut b, conn).len(), 1);
    assert!(!b.is_closed(conn));
    b.advance(10_000);
    assert!(b.is_closed(conn));
}

#[test]
fn must_5_a_newer_connect_replaces_the_older_silently() {
    let mut b = bench();
    let (conn, id) = client(&mut b);
    assert_eq!(say(&mut b, conn, &connect(&id)), Vec::<Value>::new());
    b.advance(30_000);
    assert_eq!(messages(&mut b, conn), [json!([connected()])], "one reply");
    let other = upgrade(&mut b, "");
    assert_eq!(say(&mut b, other, &connect(&id)), Vec::<Value>::new(), "from another WebSocket too");
    b.inject("/a", "1");
    assert_eq!(messages(&mut b, other), [event(1)]);
    assert_eq!(frames(&mut b, conn), []);
}

#[test]
fn must_6_a_session_moves_between_transports_and_loses_nothing() {
    let mut b = bench();
    let (conn, id) = client(&mut b);
    let poll = b.open();
    let post = super::bench::Post::json(&connect(&id));
    b.give(poll, &post.bytes());
    b.inject("/a", "1");
    assert_eq!(b.one(poll).json(), json!([event(1)[0], connected()]));
    b.inject("/a", "2");
    assert_eq!(frames(&mut b, conn), []);
    assert_eq!(say(&mut b, conn, &connect(&id)), [event(2)], "back again");
    b.inject("/a", "3");
    assert_eq!(messages(&mut b, conn), [event(3)]);
}

#[test]
fn must_6_a_poll_that_a_websocket_or_a_stream_takes_over_from_ends_empty_and_without_an_error() {
    let mut b =
        Bench::with(|setup| setup.broker.transports = vec!["websocket", "streaming", "eventsource", "long-polling"]);
    let client = b.subscriber("/a");
    b.hold(&client);
    let conn = upgrade(&mut b, "");
    say(&mut b, conn, &connect(&client.id));
    let response = b.one(client.down);
    assert_eq!((response.status, response.body.as_str()), (200, "[]"));

    b.hold(&client);
    let stream = b.open();
    b.give(stream, &super::bench::Post::json(&client.connect_by("streaming")).bytes());
    let response = b.one(client.down);
    assert_eq!((response.status, response.body.as_str()), (200, "[]"));

    b.hold(&client);
    let source = b.open();
    let get = format!("GET /cometd/{} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n", client.id);
    b.give(source, get.as_bytes());
    let response = b.one(client.down);
    assert_eq!((response.status, response.body.as_str()), (200, "[]"));
    b.inject("/a", "1");
    assert!(b.raw(source).ends_with("data: [{\"channel\":\"/a\",\"data\":1}]\n\n\r\n"));
}

#[test]
fn must_6_what_comes_after_the_close_frame_of_a_client_waits_for_its_next_connection() {
    let mut b = bench();
    let (conn, id) = client(&mut b);
    let mut bytes = Vec::new();
    Frame { mask: Some(MASK), ..Frame::whole(Opcode::Close) }.write(&mut bytes, &1000u16.to_be_bytes());
    b.give(conn, &bytes);
    assert_eq!(closing(&mut b, conn), 1000);
    b.inject("/a", "1");
    assert_eq!(b.bytes(conn), b"", "nothing follows a close frame");
    let other = upgrade(&mut b, "");
    assert_eq!(say(&mut b, other, &connect(&id)), [event(1)]);
}

#[test]
fn must_5_a_disconnect_closes_1000() {
    let mut b = bench();
    let (conn, id) = client(&mut b);
    b.give(conn, &frame(&json!({"channel": "/meta/disconnect", "clientId": id, "id": "d"}).to_string()));
    let mut came = frames(&mut b, conn);
    assert!(matches!(came.pop(), Some(Incoming::Close { code: Some(code), .. }) if code.get() == 1000), "{came:?}");
    let texts: Vec<Value> = came
        .into_iter()
        .map(|incoming| match incoming {
            Incoming::Text(text) => serde_json::from_slice(&text).unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(texts[0], json!([{"channel": "/meta/disconnect", "id": "d", "successful": true}]));
    assert_eq!(texts[1][0]["advice"], json!({"reconnect": "none"}));
    assert_eq!(b.sessions(), 0);
}

#[test]
fn an_expired_session_is_told_when_it_connects_and_may_shake_hands_on_the_same_socket() {
    let mut b = bench();
    let (conn, id) = client(&mut b);
    b.advance(30_000);
    messages(&mut b, conn);
    b.advance(10_001);
    assert_eq!(b.sessions(), 0);
    assert_eq!(frames(&mut b, conn), []);
    assert_eq!(say(&mut b, conn, &connect(&id)), [json!([unknown_connect()])]);
    let replies = say(&mut b, conn, &serde_json::from_str(HANDSHAKE).unwrap());
    assert_eq!(replies[0][0]["successful"], true);
}

#[test]
fn a_socket_that_serves_nobody_is_closed_when_it_is_idle() {
    let mut b = bench();
    let conn = upgrade(&mut b, "");
    b.advance(74_999);
    assert_eq!(frames(&mut b, conn), []);
    b.advance(1);
    assert_eq!(closing(&mut b, conn), 1000);
}

#[test]
fn must_6_the_cookie_of_the_upgrade_counts_for_every_frame() {
    let mut b = bench();
    let foreign = upgrade(&mut b, "Cookie: BAYEUX_BROWSER=yours\r\n");
    for fields in ["Cookie: BAYEUX_BROWSER=mine\r\n", ""] {
        let mine = b.handshake_with(Some("mine"));
        assert_eq!(say(&mut b, foreign, &connect(&mine.id)), [json!([unknown_connect()])]);
        let conn = upgrade(&mut b, fields);
        assert_eq!(say(&mut b, conn, &connect(&mine.id))[0][0]["successful"], true, "{fields}");
    }
}

#[test]
fn must_6_websockets_do_not_count_as_sessions_of_a_browser() {
    let mut b = bench();
    for _ in 0..6 {
        let conn = upgrade(&mut b, "Cookie: BAYEUX_BROWSER=tabs\r\n");
        let replies = say(&mut b, conn, &serde_json::from_str(HANDSHAKE).unwrap());
        let id = replies[0][0]["clientId"].as_str().unwrap().to_owned();
        say(&mut b, conn, &connect(&id));
        assert_eq!(say(&mut b, conn, &connect(&id)), Vec::<Value>::new(), "held");
    }
    assert_eq!(b.engine.census().parked, 6);
}

#[test]
fn must_2_the_origin_of_an_upgrade_is_judged() {
    let mut b = bench();
    let conn = b.open();
    let request = "GET /cometd HTTP/1.1\r\nHost: h.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://evil.example\r\n\r\n";
    assert_eq!(b.exchange(conn, request.as_bytes()).status, 403);
    let old = "GET /cometd HTTP/1.1\r\nHost: h.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let response = b.exchange(conn, old.as_bytes());
    assert_eq!((response.status, response.field("Sec-WebSocket-Version")), (426, Some("13")));
}

#[test]
fn a_socket_that_takes_nothing_gets_no_more_until_it_does() {
    let mut b = bench();
    let (conn, _) = client(&mut b);
    b.stall(conn);
    for data in 0..5 {
        b.inject("/a", &data.to_string());
    }
    assert_eq!(b.engine.counters().delivered, 1, "the others wait in the outbox");
    b.unstall(conn);
    assert_eq!(messages(&mut b, conn), (0..5).map(event).collect::<Vec<_>>());
}

#[test]
fn must_8_one_publish_is_encoded_once_whatever_listens() {
    let mut b = Bench::with(|setup| setup.broker.transports = vec!["websocket", "long-polling", "streaming"]);
    let (conn, _) = client(&mut b);
    let poll = b.subscriber("/a");
    b.hold(&poll);
    let stream = b.open();
    b.give(stream, b"GET /events/a HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n");
    b.inject("/a", "1");
    assert_eq!(b.engine.counters().encoded, 1);
    assert_eq!(messages(&mut b, conn), [event(1)]);
    assert_eq!(b.one(poll.down).json()[0], event(1)[0]);
}

#[test]
fn sockets_close_1001_when_the_server_ends() {
    let mut b = bench();
    let (conn, _) = client(&mut b);
    let idle = upgrade(&mut b, "");
    b.drain(1_000);
    b.advance(750);
    for conn in [conn, idle] {
        assert_eq!(closing(&mut b, conn), 1001);
        b.fin(conn);
    }
    assert!(b.engine.is_drained());
}

#[test]
fn messages_that_arrive_without_a_pause_each_have_their_own_time() {
    let mut b = bench();
    let conn = upgrade(&mut b, "");
    let bytes = frame(r#"[{"channel":"/service/a"}]"#);
    let (head, tail) = bytes.split_at(9);
    b.give(conn, head);
    for _ in 0..4 {
        b.advance(5_000);
        // The end of one and the beginning of the next, as a sender that never rests is read.
        b.give(conn, &[tail, head].concat());
        assert_eq!(messages(&mut b, conn).len(), 1);
    }
    b.advance(14_999);
    assert_eq!(frames(&mut b, conn), []);
    b.advance(1);
    assert_eq!(closing(&mut b, conn), 1008, "that one stays away");
}

#[test]
fn limit_output_bytes_holds_for_frames_that_came_together() {
    let mut b = bench();
    let conn = upgrade(&mut b, "");
    b.stall(conn);
    let batch = frame(&format!("[{}]", vec!["{}"; 1_024].join(",")));
    let count = 20;
    b.give(conn, &batch.repeat(count));
    let limits = Limits::default();
    let waiting = |b: &Bench| b.engine.conns.get(conn).unwrap().pending();
    let most = limits.output_bytes + 100 * limits.batch_messages;
    assert!((limits.output_bytes..most).contains(&waiting(&b)), "{} bytes wait to be written", waiting(&b));
    assert!(!b.engine.wants_input(conn));
    b.unstall(conn);
    let replies = messages(&mut b, conn);
    assert_eq!(replies.len(), count, "the rest was kept, and is answered when there is room");
    assert_eq!(say(&mut b, conn, &json!([])), [json!([])]);
}

#[cfg(feature = "deflate")]
#[test]
fn limit_output_bytes_holds_for_frames_that_came_compressed() {
    let mut b = bench();
    let conn = upgrade(&mut b, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    b.stall(conn);
    let mut packed = Vec::new();
    let batch = format!("[{}]", vec!["{}"; 1_024].join(","));
    crate::ws::deflate::Deflater::default().compress(batch.as_bytes(), &mut packed);
    let mut bytes = Vec::new();
    Frame { deflated: true, mask: Some(MASK), ..Frame::whole(Opcode::Text) }.write(&mut bytes, &packed);
    let limits = Limits::default();
    b.give(conn, &bytes.repeat(limits.read_bytes_per_turn / bytes.len()));
    let waiting = b.engine.conns.get(conn).unwrap().pending();
    assert!(waiting < limits.output_bytes + 100 * limits.batch_messages, "{waiting} bytes wait to be written");
}

#[test]
fn while_a_socket_is_not_read_the_time_of_its_message_stands() {
    let mut b = Bench::with(|setup| {
        setup.broker.transports = ALL.to_vec();
        setup.limits.write_ms = 60_000;
    });
    let (conn, id) = client(&mut b);
    let bytes = frame(&json!([{"channel": "/service/a", "clientId": id, "data": 1}]).to_string());
    b.give(conn, &bytes[..9]);
    b.stall(conn);
    b.inject("/a", &format!("\"{}\"", "x".repeat(256 * 1024 - 20)));
    assert!(!b.engine.wants_input(conn), "too much waits to be written");
    b.advance(20_000);
    b.take_some(conn, 1_000);
    assert!(b.engine.wants_input(conn), "there is room, and the message has its time");
    b.unstall(conn);
    b.bytes(conn);
    b.give(conn, &bytes[9..]);
    assert_eq!(messages(&mut b, conn), [json!([{"channel": "/service/a", "successful": true}])]);
}

#[test]
fn what_is_kept_of_a_socket_until_there_is_room_does_not_grow() {
    let mut b = bench();
    let conn = upgrade(&mut b, "");
    b.stall(conn);
    let batch = frame(&format!("[{}]", vec!["{}"; 1_024].join(",")));
    let (mut given, most) = (0, 64 * 1024);
    for _ in 0..200 {
        if b.engine.wants_input(conn) {
            given += most / batch.len();
            b.give(conn, &batch.repeat(most / batch.len()));
        }
        b.take_some(conn, 16 * 1024);
    }
    b.unstall(conn);
    assert!(given < 80, "{given} batches of {} bytes were taken while few were answered", batch.len());
    assert_eq!(messages(&mut b, conn).len(), given);
}

#[test]
fn a_socket_that_is_opened_while_the_server_ends_does_not_keep_it() {
    let mut b = bench();
    let conn = b.open();
    b.drain(1_000);
    let request = "GET /cometd HTTP/1.1\r\nHost: h.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    b.give(conn, request.as_bytes());
    b.advance(1_000);
    let came = b.bytes(conn);
    assert!(came.starts_with(b"HTTP/1.1 101 ") && came.ends_with(b"\x03\xe9the server ends"), "closed with 1001");
    b.fin(conn);
    assert!(b.engine.is_drained());
}

#[test]
fn must_5_a_server_that_disconnects_a_client_between_two_connects_says_so() {
    let mut b = bench();
    let (conn, id) = client(&mut b);
    b.advance(30_000);
    assert_eq!(messages(&mut b, conn), [json!([connected()])]);
    assert!(b.command(&crate::hooks::Command::DisconnectClient(id)));
    let mut came = frames(&mut b, conn);
    assert!(matches!(came.pop(), Some(Incoming::Close { code: Some(code), .. }) if code.get() == 1000), "{came:?}");
    assert_eq!(came, [Incoming::Text(br#"[{"channel":"/meta/disconnect","successful":true}]"#.to_vec())]);
}

#[cfg(feature = "deflate")]
#[test]
fn limit_inflated_bytes_per_turn() {
    let mut b = bench();
    let conn = upgrade(&mut b, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    let mut packed = Vec::new();
    let batch = format!("[{}]", " ".repeat(64 * 1024 - 2));
    crate::ws::deflate::Deflater::default().compress(batch.as_bytes(), &mut packed);
    let mut bytes = Vec::new();
    Frame { deflated: true, mask: Some(MASK), ..Frame::whole(Opcode::Text) }.write(&mut bytes, &packed);
    for (count, at_once) in [(3, 3), (4, 4), (5, 4), (40, 4)] {
        b.receive(conn, &bytes.repeat(count));
        let answer = 4;
        assert_eq!(b.engine.conns.get(conn).unwrap().pending(), at_once * answer, "of {count}");
        b.turn();
        assert_eq!(messages(&mut b, conn).len(), count, "the others follow");
        assert!(b.engine.wants_input(conn));
    }
}

#[test]
fn must_8_a_batch_and_its_number_are_one_frame_and_the_socket_serves_only_held_connects() {
    let mut b = bench();
    let conn = upgrade(&mut b, "");
    let mut hello: Value = serde_json::from_str(HANDSHAKE).unwrap();
    hello["ext"] = json!({"ack": true});
    let id = say(&mut b, conn, &hello)[0][0]["clientId"].as_str().unwrap().to_owned();
    let connect = |batch: i64| json!({"channel": "/meta/connect", "clientId": id, "connectionType": "websocket", "ext": {"ack": batch}});
    say(&mut b, conn, &json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/a"}));
    say(&mut b, conn, &connect(-1));
    assert_eq!(say(&mut b, conn, &connect(1)), Vec::<Value>::new());
    b.inject_without_a_turn("/a", "1");
    b.inject_without_a_turn("/a", "2");
    b.flush();
    let heard = messages(&mut b, conn);
    assert_eq!(heard.len(), 1, "whoever gets events gets their number: {heard:?}");
    assert_eq!(
        (&heard[0][0]["data"], &heard[0][1]["data"], &heard[0][2]["ext"]["ack"]),
        (&json!(1), &json!(2), &json!(2))
    );
    // The session is gone, and does not keep the connection.
    b.advance(10_000);
    assert_eq!(b.sessions(), 0);
    b.advance(65_000);
    assert_eq!(closing(&mut b, conn), 1000);
}
