//! Lazy events, full outboxes, and the smaller extensions.

use serde_json::{Value, json};

use super::bench::{Bench, Client, Post, connected, retry};
use crate::broker::Overflow;
use crate::broker::rules::Rule;
use crate::hooks::Command;

fn lazy(b: &mut Bench, data: &str) {
    b.command(&Command::Publish { channel: "/a".to_owned(), data: data.to_owned(), lazy: true });
}

fn data(messages: &Value) -> Vec<i64> {
    messages.as_array().unwrap().iter().filter_map(|message| message["data"].as_i64()).collect()
}

#[test]
fn must_8_a_lazy_event_waits_for_its_time() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    b.hold(&client);
    lazy(&mut b, "1");
    b.advance(3_000);
    lazy(&mut b, "2");
    b.advance(1_999);
    assert_eq!(b.raw(client.down), "");
    b.advance(1);
    assert_eq!(data(&b.one(client.down).json()), [1, 2], "the time of the first one");
    lazy(&mut b, "3");
    b.advance(1_000);
    b.hold(&client);
    b.advance(3_999);
    assert_eq!(b.raw(client.down), "");
    b.advance(1);
    assert_eq!(data(&b.one(client.down).json()), [3], "it had waited for a second before the connect came");
    b.hold(&client);
    b.advance(29_999);
    assert_eq!(b.raw(client.down), "", "and no timer is left of it");
    b.advance(1);
    assert_eq!(b.one(client.down).json(), json!([connected()]));
}

#[test]
fn must_8_a_lazy_event_rides_on_the_next_answer() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    b.hold(&client);
    lazy(&mut b, "1");
    b.inject("/a", "2");
    assert_eq!(data(&b.one(client.down).json()), [1, 2]);
    b.hold(&client);
    lazy(&mut b, "3");
    b.advance(10);
    b.give(client.up, &Post::json(&client.glance()).bytes());
    assert_eq!(data(&b.one(client.up).json()), [3], "another connect");
    b.advance(20_000);
    assert_eq!(b.take(client.down).len(), 1, "the old one was ended by that, and by nothing else");
}

#[test]
fn must_8_channels_can_be_lazy() {
    let mut b = Bench::with(|setup| {
        setup.broker.channels = vec![Rule { pattern: "/lazy/**".to_owned(), lazy: Some(true), ..Rule::default() }];
        setup.broker.max_lazy_ms = 700;
    });
    let client = b.subscriber("/**");
    b.hold(&client);
    b.tell(client.up, &client.publish("/lazy/a", 1));
    b.advance(699);
    assert_eq!(b.raw(client.down), "");
    b.advance(1);
    assert_eq!(data(&b.one(client.down).json()), [1]);
}

#[test]
fn must_8_lazy_events_go_over_streams_in_time() {
    let mut b = Bench::new();
    let conn = b.open();
    b.give(conn, b"GET /events/a HTTP/1.1\r\nHost: h\r\nAccept: application/x-ndjson\r\n\r\n");
    b.stream(conn);
    lazy(&mut b, "1");
    b.advance(4_999);
    assert_eq!(b.stream(conn).1, "");
    b.advance(1);
    assert_eq!(b.stream(conn).1, "{\"channel\":\"/a\",\"data\":1}\n");
    lazy(&mut b, "2");
    b.inject("/a", "3");
    assert_eq!(b.stream(conn).1.lines().count(), 2);
}

fn dropping(events: usize) -> Bench {
    Bench::with(|setup| {
        setup.broker.overflow = Overflow::DropOldest;
        setup.limits.outbox_events = events;
    })
}

#[test]
fn must_8_the_oldest_go_where_that_is_wanted_and_the_next_connect_says_how_many() {
    let mut b = dropping(3);
    let client = b.subscriber(json!(["/a", "/b"]));
    for (channel, number) in [("/a", "1"), ("/b", "2"), ("/a", "3"), ("/a", "4"), ("/b", "5"), ("/b", "6")] {
        b.inject(channel, number);
    }
    let answer = b.say(client.down, &client.connect());
    assert_eq!(data(&answer), [4, 5, 6]);
    assert_eq!(answer[3]["ext"], json!({"gap": {"/a": 2, "/b": 1}}));
    assert_eq!(b.engine.counters().dropped, 3);
    b.hold(&client);
    b.inject("/a", "7");
    assert_eq!(b.one(client.down).json()[1], connected(), "it is said once");
}

#[test]
fn must_8_bytes_make_the_oldest_go_as_well() {
    let mut b = Bench::with(|setup| {
        setup.broker.overflow = Overflow::DropOldest;
        setup.limits.outbox_bytes = 60;
    });
    let client = b.subscriber("/a");
    (1..=3).for_each(|number| assert!(b.inject("/a", &number.to_string())));
    let answer = b.say(client.down, &client.connect());
    assert_eq!((data(&answer), &answer[2]["ext"]), (vec![2, 3], &json!({"gap": {"/a": 1}})));
}

#[test]
fn must_8_a_listener_of_plain_http_is_told_of_what_went() {
    let mut b = dropping(2);
    let conn = b.open();
    b.give(conn, b"GET /events/a HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n");
    b.stream(conn);
    b.stall(conn);
    (1..=5).for_each(|number| assert!(b.inject("/a", &number.to_string())));
    b.unstall(conn);
    let came = b.stream(conn).1;
    let gap = "event: gap\ndata: {\"/a\":2}\n\n";
    assert_eq!(came, format!("event: /a\ndata: 1\n\n{gap}event: /a\ndata: 4\n\nevent: /a\ndata: 5\n\n"));
}

#[test]
fn must_8_timesync_is_answered_on_meta_messages_and_counts_the_time_held() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    let sync = json!({"timesync": {"tc": 1_767_225_599_000_i64, "l": 0, "o": 0}});
    let mut connect = client.connect();
    connect["ext"] = sync.clone();
    b.give(client.down, &Post::json(&connect).bytes());
    b.advance(2_000);
    b.inject("/a", "1");
    let answer = b.one(client.down).json();
    let expected = json!({"tc": 1_767_225_599_000_i64, "ts": 1_767_225_600_000_i64, "p": 2_000, "a": -1_000});
    assert_eq!(answer[1]["ext"]["timesync"], expected);
    for mut message in [client.subscribe("/b"), client.unsubscribe("/b"), client.connect(), client.disconnect()] {
        message["ext"] = json!({"timesync": {"tc": 5, "l": 0, "o": 0}});
        message["advice"] = json!({"timeout": 0});
        assert_eq!(b.tell(client.up, &message)["ext"]["timesync"]["tc"], 5, "{message}");
    }
    let handshake = json!({"channel": "/meta/handshake", "version": "1.0", "ext": sync});
    assert_eq!(b.tell(client.up, &handshake)["ext"]["timesync"]["p"], 0);
}

#[test]
fn must_8_messages_carry_the_time_if_that_is_wanted() {
    let mut b = Bench::with(|setup| setup.broker.timestamps = true);
    let client = b.subscriber("/a");
    b.hold(&client);
    b.advance(1_500);
    b.inject("/a", "1");
    let answer = b.one(client.down).json();
    let time = "2026-01-01T00:00:01.500Z";
    assert_eq!((&answer[0]["timestamp"], &answer[1]["timestamp"]), (&json!(time), &json!(time)));
    assert_eq!(b.tell(client.up, &client.publish("/a", 1))["timestamp"], time);
    let unknown = Client { id: "x".to_owned(), ..client };
    assert_eq!(b.tell(unknown.up, &unknown.publish("/a", 1))["timestamp"], time);
}

#[test]
fn must_8_a_session_without_events_or_messages_of_its_own_ends_when_it_was_idle_for_too_long() {
    let mut b = Bench::with(|setup| setup.broker.max_activity_ms = 40_000);
    let client = b.subscriber("/a");
    b.hold(&client);
    b.advance(20_000);
    b.inject("/a", "1");
    b.take(client.down);
    b.hold(&client);
    b.advance(30_000);
    b.take(client.down);
    b.tell(client.up, &client.publish("/b", 1));
    b.hold(&client);
    b.advance(30_000);
    b.take(client.down);
    b.hold(&client);
    b.advance(9_999);
    assert_eq!(b.raw(client.down), "");
    b.advance(1);
    let answer = b.one(client.down).json();
    assert_eq!(answer[0], json!({"channel": "/meta/disconnect", "successful": true}));
    assert_eq!(answer[1]["advice"], json!({"reconnect": "none"}));
    assert_eq!((b.sessions(), b.engine.counters().inactive), (0, 1));
}

#[test]
fn must_8_idleness_is_found_by_connects_that_are_not_held() {
    let mut b = Bench::with(|setup| setup.broker.max_activity_ms = 5_000);
    let client = b.client();
    b.advance(4_999);
    assert_eq!(b.tell(client.down, &client.glance())["successful"], true);
    b.advance(1);
    let reply = b.tell(client.down, &client.glance());
    assert_eq!((&reply["error"], &reply["advice"]), (&json!("402::session_unknown"), &json!({"reconnect": "none"})));
}

#[test]
fn must_8_a_handshake_says_how_many_events_follow_if_that_is_wanted() {
    let mut b = Bench::with(|setup| setup.broker.delivery_during_handshake = true);
    let conn = b.open();
    let reply = b.tell(conn, &json!({"channel": "/meta/handshake", "version": "1.0"}));
    assert_eq!((&reply["x-messages"], &reply["advice"]), (&json!(0), &retry()));
}

#[test]
fn must_8_binary_data_and_its_mark_pass_untouched() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    b.hold(&client);
    let mut publish = client.publish("/a", json!({"data": "1Z(8kxJ9[", "last": true, "meta": {"n": 1}}));
    publish["ext"] = json!({"binary": {}});
    b.tell(client.up, &publish);
    let answer = b.one(client.down).json();
    assert_eq!((&answer[0]["data"], &answer[0]["ext"]), (&publish["data"], &publish["ext"]));
}

#[test]
fn must_8_a_page_that_was_loaded_again_goes_on_with_its_session() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    b.hold(&client);
    b.cut(client.down);
    b.inject("/a", "1");
    let reloaded = Client { down: b.open(), ..client };
    let mut connect = reloaded.connect();
    connect["advice"] = json!({"timeout": 0});
    let answer = b.say(reloaded.down, &connect);
    assert_eq!(data(&answer), [1]);
    assert_eq!(answer[1]["advice"], retry());
}

#[test]
fn a_session_for_which_an_event_waits_is_not_idle() {
    let mut b = Bench::with(|setup| setup.broker.max_activity_ms = 4_000);
    let client = b.subscriber("/a");
    b.hold(&client);
    lazy(&mut b, "1");
    b.advance(4_000);
    assert_eq!(data(&b.one(client.down).json()), [1], "its hold ended before the time of the lazy event");
    b.inject("/a", "2");
    b.advance(5_000);
    assert_eq!(data(&b.say(client.down, &client.glance())), [2], "it was away for longer, and may be");
}

#[test]
fn a_lazy_event_waits_even_if_a_timer_without_a_meaning_fired_before() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    b.tell(client.down, &client.glance());
    b.advance(5_000);
    b.tell(client.up, &client.publish("/b", 1));
    b.advance(6_000);
    b.hold(&client);
    lazy(&mut b, "1");
    assert_eq!(b.raw(client.down), "", "it is not urgent");
    b.advance(5_000);
    assert_eq!(data(&b.one(client.down).json()), [1]);
}
