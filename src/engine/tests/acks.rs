//! Acknowledgement (CometD's extension), on each way that events can take.

use serde_json::{Value, json};

use super::bench::{Bench, Client, Post, unknown_connect};
use crate::broker::rules::{Keep, Rule};
use crate::conn::ConnKey;

fn bench() -> Bench {
    Bench::with(|setup| setup.broker.transports = vec!["websocket", "streaming", "eventsource", "long-polling"])
}

/// A client that acknowledges, subscribed to `/a`, with its first connect answered.
fn client(b: &mut Bench) -> Client {
    let client = shaken(b);
    assert_eq!(b.tell(client.up, &client.subscribe("/a"))["successful"], true);
    assert_eq!(b.say(client.down, &connect(&client, -1))[0]["ext"], json!({"ack": 1}));
    client
}

/// A client that acknowledges, before it has said anything else.
fn shaken(b: &mut Bench) -> Client {
    let (down, up) = (b.open(), b.open());
    let handshake = json!({"channel": "/meta/handshake", "version": "1.0", "ext": {"ack": true}});
    let reply = b.tell(down, &handshake);
    assert_eq!(reply["ext"], json!({"ack": true}));
    Client { id: reply["clientId"].as_str().unwrap().to_owned(), down, up }
}

fn connect(client: &Client, batch: i64) -> Value {
    let mut connect = client.connect();
    connect["ext"] = json!({"ack": batch});
    connect
}

/// The data of the events of an answer, and the number of its batch.
fn heard(answer: &Value) -> (Vec<i64>, u64) {
    let (reply, events) = answer.as_array().unwrap().split_last().unwrap();
    assert_eq!(reply["successful"], true, "{answer}");
    (events.iter().map(|event| event["data"].as_i64().unwrap()).collect(), reply["ext"]["ack"].as_u64().unwrap())
}

fn poll(b: &mut Bench, client: &Client, batch: i64) -> (Vec<i64>, u64) {
    let answer = b.say(client.down, &connect(client, batch));
    heard(&answer)
}

fn hold(b: &mut Bench, client: &Client, batch: i64) {
    b.give(client.down, &Post::json(&connect(client, batch)).bytes());
    assert_eq!(b.raw(client.down), "", "the connect is held");
}

#[test]
fn must_8_events_stay_until_they_are_acknowledged() {
    let mut b = bench();
    let client = client(&mut b);
    b.inject("/a", "1");
    b.inject("/a", "2");
    assert_eq!(poll(&mut b, &client, 1), (vec![1, 2], 2));
    assert_eq!(poll(&mut b, &client, 1), (vec![1, 2], 3), "the answer was lost");
    b.inject("/a", "3");
    assert_eq!(poll(&mut b, &client, 3), (vec![3], 4));
    assert_eq!(b.engine.counters().resent, 2);
    hold(&mut b, &client, 4);
    assert_eq!(b.engine.census().queued_bytes, 0);
}

#[test]
fn must_8_batches_are_counted_even_when_they_are_empty() {
    let mut b = bench();
    let client = client(&mut b);
    hold(&mut b, &client, 1);
    b.advance(30_000);
    assert_eq!(heard(&b.one(client.down).json()), (vec![], 2));
    hold(&mut b, &client, 2);
    b.inject("/a", "1");
    assert_eq!(heard(&b.one(client.down).json()), (vec![1], 3));
    assert_eq!(poll(&mut b, &client, 2), (vec![1], 4), "what waits unacknowledged is not held");
    hold(&mut b, &client, 4);
}

#[test]
fn must_8_an_acknowledgement_that_was_overtaken_takes_nothing_back() {
    let mut b = bench();
    let client = client(&mut b);
    b.inject("/a", "1");
    assert_eq!(poll(&mut b, &client, 1), (vec![1], 2));
    b.inject("/a", "2");
    assert_eq!(poll(&mut b, &client, 2), (vec![2], 3));
    assert_eq!(poll(&mut b, &client, 1), (vec![2], 4), "an old connect that came late");
    assert_eq!(poll(&mut b, &client, 99), (vec![2], 5), "a batch that never was");
    hold(&mut b, &client, 5);
}

#[test]
fn must_8_a_connection_that_dies_with_the_answer_loses_nothing() {
    let mut b = bench();
    let mut client = client(&mut b);
    b.stall(client.down);
    hold(&mut b, &client, 1);
    b.inject("/a", "1");
    b.cut(client.down);
    client.down = b.open();
    assert_eq!(poll(&mut b, &client, 1), (vec![1], 3));
}

fn frame(text: &Value) -> Vec<u8> {
    use crate::ws::frame::Opcode;
    use crate::ws::write::Frame;
    let mut bytes = Vec::new();
    Frame { mask: Some([1, 2, 3, 4]), ..Frame::whole(Opcode::Text) }.write(&mut bytes, text.to_string().as_bytes());
    bytes
}

fn upgrade(b: &mut Bench) -> ConnKey {
    let conn = b.open();
    let request = "GET /cometd HTTP/1.1\r\nHost: h.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert!(b.exchange_bare(conn, request.as_bytes()).starts_with("HTTP/1.1 101 "));
    conn
}

/// What has come on a WebSocket, all in frames of its own.
fn frames(b: &mut Bench, conn: ConnKey) -> Vec<Value> {
    let bytes = b.bytes(conn);
    let mut rest = bytes.as_slice();
    let mut found = Vec::new();
    while let [0x81, length, after @ ..] = rest {
        let (length, after) = match length {
            126 => (usize::from(u16::from_be_bytes([after[0], after[1]])), &after[2..]),
            short => (usize::from(*short), after),
        };
        found.push(serde_json::from_slice(&after[..length]).unwrap());
        rest = &after[length..];
    }
    assert!(rest.is_empty(), "{rest:?}");
    found
}

#[test]
fn must_8_over_a_websocket_events_come_with_connects_only() {
    let mut b = bench();
    let client = client(&mut b);
    let conn = upgrade(&mut b);
    let by = |batch: i64| {
        let mut connect = connect(&client, batch);
        connect["connectionType"] = json!("websocket");
        connect
    };
    b.give(conn, &frame(&by(1)));
    assert_eq!(frames(&mut b, conn), Vec::<Value>::new(), "held");
    b.inject("/a", "1");
    let came = frames(&mut b, conn);
    assert_eq!((came.len(), &came[0][0]["data"]), (1, &json!(1)), "whoever gets events gets their number");
    assert_eq!(came[0][1]["ext"], json!({"ack": 2}));
    b.inject("/a", "2");
    assert_eq!(frames(&mut b, conn), Vec::<Value>::new(), "no connect, no event");
    b.cut(conn);
    assert_eq!(poll(&mut b, &client, 1), (vec![1, 2], 3), "on to long-polling, and the answer had been lost");
    let conn = upgrade(&mut b);
    b.give(conn, &frame(&by(3)));
    b.inject("/a", "3");
    assert_eq!(frames(&mut b, conn).len(), 1);
}

#[test]
fn must_8_a_stream_ends_with_its_events_when_they_are_to_be_acknowledged() {
    let mut b = bench();
    let client = client(&mut b);
    let mut connect = connect(&client, 1);
    connect["connectionType"] = json!("streaming");
    b.give(client.down, &Post::json(&connect).bytes());
    let (head, body, ended) = b.stream(client.down);
    assert!(head.unwrap().contains("Transfer-Encoding: chunked"));
    assert_eq!((body.as_str(), ended), ("", false), "held, without a probe");
    b.inject("/a", "1");
    let (_, body, ended) = b.stream(client.down);
    assert!(ended);
    assert_eq!(heard(&serde_json::from_str(&body).unwrap()), (vec![1], 2));
}

#[test]
fn must_8_an_event_source_is_no_way_for_events_that_are_to_be_acknowledged() {
    let mut b = bench();
    let client = client(&mut b);
    let conn = b.open();
    let get = format!("GET /cometd/{} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n", client.id);
    assert_eq!(b.exchange(conn, get.as_bytes()).status, 409);
    let mut connect = connect(&client, 1);
    connect["connectionType"] = json!("eventsource");
    b.give(client.down, &Post::json(&connect).bytes());
    assert_eq!(b.raw(client.down), "", "held like any other");
    b.inject("/a", "1");
    assert_eq!(heard(&b.one(client.down).json()), (vec![1], 2));
}

#[test]
fn must_8_a_client_may_stop_to_acknowledge() {
    let mut b = bench();
    let client = client(&mut b);
    b.inject("/a", "1");
    assert_eq!(poll(&mut b, &client, 1), (vec![1], 2));
    let mut connect = client.connect();
    connect["ext"] = json!({"ack": false});
    b.give(client.down, &Post::json(&connect).bytes());
    b.inject("/a", "2");
    let answer = b.one(client.down).json();
    assert_eq!((&answer[0]["data"], answer[1].get("ext")), (&json!(2), None));
    b.hold(&client);
    let handshake = json!({"channel": "/meta/handshake", "version": "1.0", "ext": {"ack": false}});
    assert_eq!(b.tell(client.up, &handshake).get("ext"), None);
}

#[test]
fn must_8_who_never_acknowledges_is_ended_when_too_much_waits_and_never_loses_a_single_one() {
    let mut b = Bench::with(|setup| {
        setup.limits.outbox_events = 3;
        setup.broker.overflow = crate::broker::Overflow::DropOldest;
    });
    let client = client(&mut b);
    for number in 1..=3 {
        b.inject("/a", &number.to_string());
    }
    assert_eq!(poll(&mut b, &client, 1), (vec![1, 2, 3], 2));
    b.inject("/a", "4");
    assert_eq!(b.tell(client.down, &client.connect()), unknown_connect());
}

#[test]
fn a_batch_that_was_never_sent_does_not_acknowledge_a_gap() {
    let mut b = Bench::with(|setup| {
        let history = Some(Some(Keep { count: 3, ..Keep::default() }));
        setup.broker.channels = vec![Rule { pattern: "/a".to_owned(), history, ..Rule::default() }];
        setup.limits.outbox_events = 2;
    });
    let publish = |b: &mut Bench| (0..3).for_each(|_| assert!(b.inject("/a", "1")));
    publish(&mut b);
    let client = shaken(&mut b);
    assert_eq!(b.say(client.down, &connect(&client, -1))[0]["ext"], json!({"ack": 1}));
    let mut subscribe = client.subscribe("/a");
    subscribe["ext"] = json!({"replay": {"/a": -2}});
    b.tell(client.up, &subscribe);
    let glance = |b: &mut Bench, batch: i64| {
        let mut glance = client.glance();
        glance["ext"] = json!({"ack": batch});
        b.say(client.down, &glance).as_array().unwrap().last().unwrap()["ext"].clone()
    };
    assert_eq!(glance(&mut b, 1), json!({"ack": 2}));
    publish(&mut b);
    assert_eq!(glance(&mut b, 2), json!({"ack": 3, "gap": {"/a": -1}}));
    assert_eq!(glance(&mut b, 99), json!({"ack": 4, "gap": {"/a": -1}}), "there was no such batch");
    assert_eq!(glance(&mut b, 4).get("gap"), None);
}
