//! Section 5: when a connect is held, how it ends, and what its reply says.

use serde_json::{Value, json};

use super::bench::{Bench, Client, HANDSHAKE, Post, connected, retry, unknown_connect};
use crate::conn::Step;
use crate::hooks::Command;

/// The reply to a connect, with advice.
fn advised(advice: Value) -> Value {
    json!({"channel": "/meta/connect", "id": "c", "successful": true, "advice": advice})
}

fn with_advice(client: &Client, advice: Value) -> Value {
    let mut connect = client.connect();
    connect["advice"] = advice;
    connect
}

fn event(data: impl Into<Value>) -> Value {
    json!({"channel": "/a", "data": data.into()})
}

#[test]
fn must_5_the_first_connect_after_the_handshake_returns_at_once_with_full_advice() {
    let mut b = Bench::new();
    let client = b.handshake();
    assert_eq!(b.say(client.down, &client.connect()), json!([advised(retry())]));
    let client = b.handshake();
    assert_eq!(
        b.text(client.down, &client.connect().to_string()),
        r#"[{"channel":"/meta/connect","id":"c","successful":true,"advice":{"reconnect":"retry","interval":0,"timeout":30000}}]"#
    );
}

#[test]
fn must_5_the_second_connect_is_held_until_its_timeout_and_brings_no_advice() {
    let mut b = Bench::new();
    let client = b.client();
    for _ in 0..3 {
        b.hold(&client);
        b.advance(29_999);
        assert_eq!(b.raw(client.down), "");
        b.advance(1);
        assert_eq!(b.one(client.down).json(), json!([connected()]));
    }
}

#[test]
fn must_5_a_connect_is_held_only_as_the_sole_message_of_its_request() {
    let mut b = Bench::new();
    let client = b.client();
    let replies = b.say(client.down, &json!([client.connect(), client.subscribe("/a")]));
    assert_eq!((&replies[1], replies[0]["channel"].as_str()), (&connected(), Some("/meta/subscribe")));
    assert_eq!(b.say(client.down, &json!([client.connect(), client.connect()])), json!([connected(), connected()]));
    let replies = b.say(client.down, &json!([client.connect(), {}]));
    assert_eq!(replies[1], connected(), "a message that fails is one, too");
    b.give(client.down, &Post::json(&json!([client.connect()])).bytes());
    assert_eq!(b.raw(client.down), "", "alone in its array it is held");
}

#[test]
fn must_5_a_connect_is_held_only_if_nothing_is_queued() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    b.tell(client.up, &client.publish("/a", 1));
    assert_eq!(b.say(client.down, &client.connect()), json!([event(1), connected()]));
    b.hold(&client);
}

#[test]
fn must_5_a_connect_is_held_only_if_its_timeout_is_above_0() {
    let mut b = Bench::new();
    let client = b.client();
    let connect = with_advice(&client, json!({"timeout": 0}));
    b.receive(client.down, &Post::json(&connect).bytes());
    assert_eq!(b.engine.step(client.down), Step::Write, "before any timer could fire");
    b.turn();
    assert_eq!(b.one(client.down).json(), json!([advised(retry())]));
    b.give(client.down, &Post::json(&with_advice(&client, json!({"timeout": 1}))).bytes());
    assert_eq!(b.raw(client.down), "");
    b.advance(1);
    assert_eq!(b.one(client.down).json(), json!([advised(retry())]));
    let mut b = Bench::with(|setup| setup.broker.timeout_ms = 0);
    let client = b.client();
    assert_eq!(b.say(client.down, &client.connect()), json!([connected()]), "a server that does not hold");
    b.give(client.down, &Post::json(&with_advice(&client, json!({"timeout": 50}))).bytes());
    assert_eq!(b.raw(client.down), "", "unless the client asks for it");
}

#[test]
fn must_5_the_timeout_of_the_message_counts_once_and_is_capped() {
    let mut b = Bench::new();
    let client = b.client();
    for (asked, held) in [(json!(1_000), 1_000), (json!(60_000.0), 60_000), (json!(10_000_000), 600_000)] {
        b.give(client.down, &Post::json(&with_advice(&client, json!({"timeout": asked}))).bytes());
        b.advance(held - 1);
        assert_eq!(b.raw(client.down), "", "{asked}");
        b.advance(1);
        assert_eq!(b.one(client.down).json(), json!([advised(retry())]), "{asked}");
    }
    b.hold(&client);
    b.advance(29_999);
    assert_eq!(b.raw(client.down), "", "the next connect asked for nothing");
    b.advance(1);
    assert_eq!(b.one(client.down).json(), json!([connected()]));
}

#[test]
fn must_5_an_event_ends_a_held_connect() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    let writer = b.client();
    b.hold(&client);
    b.advance(9_000);
    let ack = b.say(writer.up, &writer.publish("/a", 1));
    assert_eq!(ack, json!([{"channel": "/a", "id": "p", "successful": true}]));
    assert_eq!(b.one(client.down).json(), json!([event(1), connected()]));
    b.advance(21_000);
    assert_eq!(b.raw(client.down), "", "its timer went with it");
}

#[test]
fn must_5_events_of_one_turn_go_in_one_answer() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    let writers = [b.client(), b.client()];
    b.hold(&client);
    for (n, writer) in writers.iter().enumerate() {
        b.receive(writer.up, &Post::json(&json!([writer.publish("/a", n), writer.publish("/a", n)])).bytes());
    }
    b.turn();
    assert_eq!(b.one(client.down).json(), json!([event(0), event(0), event(1), event(1), connected()]));
}

#[test]
fn must_5_a_newer_connect_ends_the_older_with_500_and_no_body() {
    let mut b = Bench::new();
    let client = b.client();
    b.hold(&client);
    b.give(client.up, &Post::json(&client.connect()).bytes());
    let older = b.one(client.down);
    assert_eq!(
        older.head,
        "HTTP/1.1 500 Internal Server Error\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nCache-Control: no-store\r\n\
        Content-Length: 0"
    );
    assert_eq!((older.body.as_str(), b.raw(client.up).as_str()), ("", ""), "the newer one is held");
    assert!(!b.is_closed(client.down));
    b.give(client.down, &Post::json(&client.connect()).bytes());
    assert_eq!((b.one(client.up).status, b.raw(client.down)), (500, String::new()), "and so on");
    b.advance(30_000);
    assert_eq!((b.one(client.down).json(), b.raw(client.up)), (json!([connected()]), String::new()));
}

#[test]
fn must_5_events_go_to_the_newest_connect() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    b.hold(&client);
    let newer = b.open();
    b.give(newer, &Post::json(&client.connect()).bytes());
    assert_eq!(b.one(client.down).status, 500);
    b.say(client.up, &client.publish("/a", 1));
    assert_eq!(b.one(newer).json(), json!([event(1), connected()]));
    assert_eq!(b.raw(client.down), "");
}

#[test]
fn must_5_a_newer_connect_that_is_not_held_ends_the_older_too() {
    let mut b = Bench::new();
    let client = b.client();
    b.hold(&client);
    assert_eq!(b.say(client.up, &client.glance()), json!([advised(retry())]));
    assert_eq!(b.one(client.down).status, 500);
}

#[test]
fn must_5_two_connects_in_one_turn_lose_no_event() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    b.hold(&client);
    let writer = b.client();
    let newer = b.open();
    b.receive(writer.up, &Post::json(&writer.publish("/a", 1)).bytes());
    b.receive(newer, &Post::json(&client.connect()).bytes());
    b.receive(writer.up, &Post::json(&writer.publish("/a", 2)).bytes());
    b.turn();
    assert_eq!(b.one(client.down).status, 500);
    assert_eq!(b.one(newer).json(), json!([event(1), connected()]));
    assert_eq!(b.events(&client), [event(2)]);
}

#[test]
fn must_5_advice_is_sent_when_the_client_sent_some_and_is_complete() {
    let mut b = Bench::with(|setup| (setup.broker.timeout_ms, setup.broker.interval_ms) = (20_000, 5));
    let client = b.handshake();
    let full = json!({"reconnect": "retry", "interval": 5, "timeout": 20_000});
    assert_eq!(b.say(client.down, &client.connect()), json!([advised(full.clone())]), "the first");
    for (sent, held) in [
        (json!({}), 20_000),
        (json!({"timeout": 0}), 0),
        (json!({"interval": 7}), 20_000),
        (json!({"timeout": 9, "interval": 0}), 9),
    ] {
        b.give(client.down, &Post::json(&with_advice(&client, sent.clone())).bytes());
        b.advance(held);
        assert_eq!(b.one(client.down).json(), json!([advised(full.clone())]), "{sent}");
    }
    b.hold(&client);
    b.advance(20_000);
    assert_eq!(b.one(client.down).json(), json!([connected()]), "no more than asked for");
}

#[test]
fn must_5_advice_is_sent_when_it_changed() {
    let mut b = Bench::with(|setup| setup.broker.max_sessions_per_browser = Some(1));
    let [one, two] = [b.handshake_with(Some("b")), b.handshake_with(Some("b"))];
    for client in [&one, &two] {
        assert_eq!(b.say(client.down, &client.connect()), json!([advised(retry())]));
    }
    b.hold(&one);
    let crowded = json!({"multiple-clients": true, "reconnect": "retry", "interval": 2_000, "timeout": 30_000});
    assert_eq!(b.say(two.down, &two.connect()), json!([advised(crowded)]));
    b.cut(one.down);
    b.hold(&two);
    b.advance(30_000);
    assert_eq!(b.one(two.down).json(), json!([advised(retry())]), "as before: that is a change");
    b.hold(&two);
    b.advance(30_000);
    assert_eq!(b.one(two.down).json(), json!([connected()]));
}

#[test]
fn must_5_a_connection_that_dies_while_holding_detaches_and_the_session_lives_on() {
    let mut b = Bench::new();
    let mut client = b.subscriber("/a");
    b.hold(&client);
    b.cut(client.down);
    b.tell(client.up, &client.publish("/a", 1));
    client.down = b.open();
    assert_eq!(
        b.say(client.down, &client.connect()),
        json!([event(1), connected()]),
        "nothing was sent to the dead one"
    );
    b.hold(&client);
    b.cut(client.down);
    b.advance(9_999);
    assert_eq!(b.sessions(), 1);
    b.advance(1);
    assert_eq!(b.sessions(), 0, "until it expires");
}

#[test]
fn must_5_a_fin_behind_a_parked_poll_means_that_the_peer_has_gone() {
    let mut b = Bench::new();
    let mut client = b.client();
    b.hold(&client);
    b.fin(client.down);
    assert!(b.is_closed(client.down));
    assert_eq!(b.raw(client.down), "");
    client.down = b.open();
    b.hold(&client);
}

#[test]
fn must_5_a_fin_behind_a_request_that_is_answered_lets_the_answer_out() {
    let mut b = Bench::new();
    let client = b.handshake();
    b.receive(client.down, &Post::json(&client.connect()).bytes());
    b.fin(client.down);
    assert_eq!(b.one(client.down).json(), json!([advised(retry())]));
    assert!(b.is_closed(client.down));
}

#[test]
fn must_5_the_body_has_events_then_replies_in_request_order_then_the_connect_reply() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    b.tell(client.up, &client.publish("/a", 0));
    let batch =
        json!([client.publish("/a", 1), client.connect(), client.subscribe("/b"), {"id": 9}, client.publish("/a", 2)]);
    assert_eq!(
        b.say(client.down, &batch),
        json!([
            event(0),
            event(1),
            event(2),
            {"channel": "/a", "id": "p", "successful": true},
            {"channel": "/meta/subscribe", "id": "s", "successful": true, "subscription": "/b"},
            {"channel": "", "id": 9, "successful": false, "error": "400::channel_missing"},
            {"channel": "/a", "id": "p", "successful": true},
            connected(),
        ])
    );
}

#[test]
fn must_5_two_sessions_in_one_batch_are_served_both() {
    let mut b = Bench::new();
    let (one, two) = (b.subscriber("/a"), b.subscriber("/b"));
    let batch = json!([two.connect(), one.publish("/b", 1), one.connect(), two.publish("/a", 2)]);
    assert_eq!(
        b.say(one.down, &batch),
        json!([
            {"channel": "/b", "data": 1},
            event(2),
            {"channel": "/b", "id": "p", "successful": true},
            {"channel": "/a", "id": "p", "successful": true},
            connected(),
            connected(),
        ])
    );
    assert_eq!((b.events(&one).len(), b.events(&two).len()), (0, 0));
}

#[test]
fn must_5_a_connect_of_an_unknown_session_is_told_to_shake_hands() {
    let mut b = Bench::new();
    let conn = b.open();
    let stranger = Client { id: "a".repeat(32), down: conn, up: conn };
    assert_eq!(b.say(conn, &stranger.connect()), json!([unknown_connect()]));
    let mut without = stranger.connect();
    without.as_object_mut().unwrap().remove("clientId");
    assert_eq!(b.say(conn, &without), json!([unknown_connect()]), "no client id at all looks the same");
    let known = b.client();
    assert_eq!(
        b.say(known.down, &json!([stranger.connect(), known.connect()])),
        json!([unknown_connect(), connected()])
    );
}

#[test]
fn must_5_a_disconnect_answers_the_held_connect_that_there_is_nothing_to_come_back_for() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    b.hold(&client);
    assert_eq!(
        b.say(client.up, &client.disconnect()),
        json!([{"channel": "/meta/disconnect", "id": "d", "successful": true}])
    );
    assert_eq!(b.one(client.down).json(), json!([advised(json!({"reconnect": "none"}))]));
    assert!(!b.is_closed(client.down));
    assert_eq!((b.sessions(), b.engine.census().topics), (0, 0));
    assert_eq!(b.say(client.down, &client.connect()), json!([unknown_connect()]));
}

#[test]
fn must_5_the_server_ends_a_session_with_a_disconnect_and_the_connect_reply() {
    let mut b = Bench::new();
    let client = b.client();
    b.hold(&client);
    assert!(b.command(&Command::DisconnectClient(client.id.clone())));
    assert_eq!(
        b.one(client.down).json(),
        json!([{"channel": "/meta/disconnect", "successful": true}, advised(json!({"reconnect": "none"}))])
    );
    assert_eq!(b.sessions(), 0);
    assert!(!b.command(&Command::DisconnectClient(client.id)), "once");
}

#[test]
fn must_5_a_publish_from_within_the_server_reaches_held_connects() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    b.hold(&client);
    for channel in ["/a/*", "/meta/connect", "/service/x", "a"] {
        assert!(!b.inject(channel, "1"), "{channel}");
    }
    assert!(b.inject("/a", r#"{"x":1.0}"#));
    assert_eq!(
        b.one(client.down).body,
        r#"[{"channel":"/a","data":{"x":1.0}},{"channel":"/meta/connect","id":"c","successful":true}]"#
    );
}

#[test]
fn must_5_a_handshake_and_a_connect_in_one_batch_hold_nothing() {
    let mut b = Bench::new();
    let client = b.client();
    let replies = b.exchange(client.down, &Post::new(format!("[{},{HANDSHAKE}]", client.connect())).bytes()).json();
    assert_eq!(replies.as_array().unwrap().len(), 1);
    assert_eq!(replies[0]["channel"], "/meta/handshake");
}
