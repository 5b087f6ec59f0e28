//! The bounds that show only on a whole connection or a whole turn, each at one less, exactly, and one more.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::bench::{Bench, Client, Post};
use crate::broker::rules::{Keep, Rule};
use crate::conn::route::RefusalKind;
use crate::limits::Limits;

const PART_OF_A_HEAD: &[u8] = b"POST /cometd HTTP/1.1\r\nHost: h.exa";

#[test]
fn limit_connections() {
    for (open, taken) in [(2, true), (3, false), (4, false)] {
        let mut b = Bench::with(|setup| setup.limits.connections = 3);
        for _ in 0..open.min(3) {
            b.open();
        }
        assert_eq!(b.accepts(), taken, "{open} are open");
    }
}

#[test]
fn limit_idle_ms() {
    let idle_ms = Limits::default().idle_ms;
    for (waited, closed) in [(idle_ms - 1, false), (idle_ms, true), (idle_ms + 1, true)] {
        let mut b = Bench::new();
        let conn = b.open();
        assert_eq!(b.text(conn, "[]"), "[]");
        b.advance(waited);
        assert_eq!((b.is_closed(conn), b.raw(conn).as_str()), (closed, ""), "after {waited} ms, in silence");
    }
}

#[test]
fn limit_head_ms() {
    let head_ms = Limits::default().head_ms;
    for (waited, refused) in [(head_ms - 1, false), (head_ms, true), (head_ms + 1, true)] {
        let mut b = Bench::new();
        let conn = b.open();
        b.give(conn, PART_OF_A_HEAD);
        b.advance(waited);
        assert_eq!(b.raw(conn).starts_with("HTTP/1.1 408 "), refused, "after {waited} ms");
    }
}

#[test]
fn limit_head_ms_without_a_byte() {
    let head_ms = Limits::default().head_ms;
    for (waited, closed) in [(head_ms - 1, false), (head_ms, true), (head_ms + 1, true)] {
        let mut b = Bench::new();
        let (silent, blank, slow) = (b.open(), b.open(), b.open());
        b.give(blank, b"\r\n");
        b.advance(head_ms - 1);
        b.give(slow, PART_OF_A_HEAD);
        b.advance(waited - (head_ms - 1));
        for conn in [silent, blank] {
            assert_eq!((b.is_closed(conn), b.raw(conn).as_str()), (closed, ""), "in silence, after {waited} ms");
        }
        assert_eq!(b.raw(slow).starts_with("HTTP/1.1 408 "), closed, "after {waited} ms since it was accepted");
        assert_eq!(b.engine.refusals.total(RefusalKind::Timeout), u64::from(closed), "only who began is told of");
    }
}

#[test]
fn limit_body_ms() {
    let body_ms = Limits::default().body_ms;
    let post = Post::new("[]").bytes();
    for (waited, refused) in [(body_ms - 1, false), (body_ms, true), (body_ms + 1, true)] {
        let mut b = Bench::new();
        let conn = b.open();
        b.give(conn, &post[..post.len() - 1]);
        b.advance(waited);
        assert_eq!(b.raw(conn).starts_with("HTTP/1.1 408 "), refused, "after {waited} ms");
    }
}

#[test]
fn limit_write_ms() {
    let write_ms = Limits::default().write_ms;
    for (waited, closed) in [(write_ms - 1, false), (write_ms, true), (write_ms + 1, true)] {
        let mut b = Bench::new();
        let conn = b.open();
        b.stall(conn);
        b.give(conn, &Post::new("[]").bytes());
        b.advance(waited);
        assert_eq!(b.is_closed(conn), closed, "after {waited} ms");
        let told = b.engine.refusals.total(RefusalKind::Reader);
        assert_eq!(told, u64::from(closed), "counted, for the log");
    }
}

#[test]
fn limit_linger_ms() {
    let linger_ms = Limits::default().linger_ms;
    for (waited, closed) in [(linger_ms - 1, false), (linger_ms, true), (linger_ms + 1, true)] {
        let mut b = Bench::new();
        let conn = b.open();
        b.give(conn, b"\n");
        assert!(b.is_shut(conn), "answered, and shut");
        b.advance(waited);
        assert_eq!(b.is_closed(conn), closed, "after {waited} ms");
    }
}

/// How many answers lie ready after each of three flushes, for so many waiting clients.
fn answers_after_flushes(clients: usize) -> [usize; 3] {
    let mut b = Bench::with(|setup| setup.limits.deliveries_per_turn = 3);
    let clients: Vec<_> = (0..clients).map(|_| b.subscriber("/a")).collect();
    for client in &clients {
        b.hold(client);
    }
    assert!(b.inject_without_a_turn("/a", "1"));
    core::array::from_fn(|_| b.flush())
}

#[test]
fn limit_fanout_per_turn() {
    let mut b = Bench::with(|setup| setup.limits.fanout_per_turn = 3);
    let _subscribers = [b.subscriber("/a"), b.subscriber("/a")];
    let (busy, other) = (b.client(), b.client());
    let publish = |client: &Client| Post::json(&client.publish("/a", 1)).bytes();
    b.receive(busy.up, &publish(&busy).repeat(10));
    b.receive(other.up, &publish(&other));
    let mut published = Vec::new();
    for _ in 0..5 {
        published.push(b.published());
        b.turn_once();
    }
    // What came in the first turn is cut off before it ends.
    assert_eq!(published, [2, 2, 4, 6, 8], "the publish under way is finished, the others wait");
    assert_eq!((b.take(busy.up).len(), b.take(other.up).len()), (9, 1), "who has waited comes first");
    b.turn();
    assert_eq!((b.published(), b.take(busy.up).len()), (11, 1));
}

/// Of fifty channels with three events each, who reads them all gets ten at a time, for fifty looks and ten events.
fn fifty_channels(change: impl FnOnce(&mut Limits)) -> Bench {
    let mut b = Bench::with(|setup| {
        let keep = Some(Some(Keep { count: 3, ..Keep::default() }));
        setup.broker.channels = vec![Rule { pattern: "/kept/**".to_owned(), history: keep, ..Rule::default() }];
        setup.broker.transports = vec!["long-polling", "eventsource"];
        setup.limits.outbox_events = 20;
        change(&mut setup.limits);
    });
    for data in 0..3 {
        for channel in 0..50 {
            assert!(b.inject(&format!("/kept/{channel}"), &(50 * data + channel).to_string()));
        }
    }
    b
}

/// A subscribe that reads from there on.
fn replay(client: &Client, names: &[&str], from: i64) -> Value {
    let mut subscribe = client.subscribe(json!(names));
    let map: HashMap<_, _> = names.iter().map(|name| (*name, from)).collect();
    subscribe["ext"] = json!({"replay": map});
    subscribe
}

#[test]
fn limit_fanout_per_turn_of_what_is_read_for_connects() {
    for (fanout, answers) in [(60, 1), (61, 2), (120, 2), (121, 3)] {
        let mut b = fifty_channels(|limits| limits.fanout_per_turn = fanout);
        let clients: Vec<_> = (0..6).map(|_| b.client()).collect();
        for client in &clients {
            b.tell(client.up, &replay(client, &["/kept/**"], -2));
            assert_eq!(b.events(client).len(), 10);
        }
        for client in &clients {
            b.receive(client.down, &Post::json(&client.glance()).bytes());
        }
        for turn in 1..=6_usize.div_ceil(answers) {
            b.turn_once();
            let answered = b.engine.counters().delivered - 60;
            assert_eq!(answered as usize, 10 * (turn * answers).min(6), "with {fanout}, after {turn} turns");
        }
    }
}

#[test]
fn limit_fanout_per_turn_of_what_is_read_for_streams() {
    for (fanout, answers) in [(1, 1), (60, 1), (61, 2), (120, 2), (121, 3)] {
        let mut b = fifty_channels(|limits| limits.fanout_per_turn = fanout);
        let request = b"GET /events/kept/**?since=-2 HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n";
        let streams: Vec<_> = (0..5).map(|_| b.open()).collect();
        for stream in &streams {
            b.receive(*stream, request);
        }
        while b.sessions() < 5 {
            b.turn_once();
        }
        // What was read for the requests themselves goes first.
        streams.iter().for_each(|_| b.turn_once());
        let (all, mut before) = (5 * 150, b.engine.counters().delivered);
        assert!(before < all / 2, "{before}");
        while before < all {
            b.turn_once();
            let after = b.engine.counters().delivered;
            // At the end there are fewer streams than that.
            let least = if all - before > 200 { 10 * answers } else { 10 };
            assert!((least..=10 * answers).contains(&(after - before)), "with {fanout}, {before} and then {after}");
            before = after;
        }
        for stream in streams {
            let text = b.stream(stream).1;
            let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
            assert!(data.eq((0..150).map(|n| n.to_string())), "all, each once, in order");
        }
    }
}

#[test]
fn limit_fanout_per_turn_of_what_is_read_for_one_batch() {
    let mut b = fifty_channels(|limits| limits.fanout_per_turn = 61);
    let clients: Vec<_> = (0..6).map(|_| b.client()).collect();
    for client in &clients {
        b.tell(client.up, &replay(client, &["/kept/**"], -2));
        assert_eq!(b.events(client).len(), 10);
    }
    let before = b.engine.counters().delivered;
    let batch: Vec<Value> = clients.iter().map(Client::glance).collect();
    b.say(clients[0].up, &json!(batch));
    assert_eq!(b.engine.counters().delivered - before, 20, "the others of the batch are answered without events");
    for (client, first) in clients.iter().zip([20, 20, 10, 10, 10, 10]) {
        let mut data = Vec::new();
        while let events @ [_, ..] = &*b.events(client) {
            data.extend(events.iter().map(|event| event["data"].as_u64().unwrap()));
        }
        assert_eq!(data, (first..150).collect::<Vec<_>>());
    }
}

#[test]
fn limit_fanout_per_turn_of_what_one_batch_begins_to_read() {
    let mut b = fifty_channels(|limits| limits.fanout_per_turn = 61);
    let clients: Vec<_> = (0..6).map(|_| b.client()).collect();
    for client in &clients {
        b.tell(client.up, &replay(client, &["/kept/**"], -2));
        assert_eq!(b.events(client).len(), 10);
    }
    let before = b.engine.broker.work();
    let batch: Vec<Value> = clients.iter().map(|client| replay(client, &["/x"], -2)).collect();
    b.receive(clients[0].up, &Post::json(&json!(batch)).bytes());
    assert_eq!(b.engine.broker.work() - before, 6 + 61, "a look for each name; and one reads, both patterns");
}

#[test]
fn limit_fanout_per_turn_of_reading_that_finds_nothing() {
    let mut b = fifty_channels(|limits| limits.fanout_per_turn = 51);
    let clients: Vec<_> = (0..5).map(|_| b.subscriber("/other")).collect();
    for client in &clients {
        b.tell(client.up, &replay(client, &["/kept/**"], -2));
        b.tell(client.up, &client.unsubscribe("/kept/**"));
        assert_eq!(b.events(client).len(), 10);
    }
    for client in &clients {
        let head = format!("GET /cometd/{} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n", client.id);
        let stream = b.open();
        b.receive(stream, head.as_bytes());
    }
    let work = [(); 4].map(|()| {
        let before = b.engine.broker.work();
        b.turn_once();
        b.engine.broker.work() - before
    });
    assert_eq!(work, [100, 100, 50, 0], "fifty looks for each of them");
}

#[test]
fn limit_replay_wildcards() {
    let names = ["/kept/**", "/kept/*", "/a/**", "/b/**"];
    for wildcards in 2..=4 {
        let mut b = fifty_channels(|limits| limits.replay_wildcards = 3);
        let client = b.client();
        let reply = b.tell(client.up, &replay(&client, &names[..wildcards], -2));
        let refused = wildcards > 3;
        assert_eq!(reply.get("error"), refused.then(|| json!("429:3:replay_limit")).as_ref(), "{wildcards} at once");
        assert_eq!(b.engine.census().topics, if refused { 0 } else { wildcards }, "all or nothing");
    }
}

#[test]
fn limit_replay_wildcards_of_one_session_and_of_one_batch() {
    let refused = |reply: &Value| reply["error"] == "429:3:replay_limit";
    let mut b = fifty_channels(|limits| limits.replay_wildcards = 3);
    let (client, other) = (b.client(), b.client());
    assert!(!refused(&b.tell(client.up, &replay(&client, &["/kept/*", "/**"], -2))));
    assert!(refused(&b.tell(client.up, &replay(&client, &["/a/**", "/b/**"], -2))), "it still reads the first two");
    assert!(!refused(&b.tell(client.up, &replay(&client, &["/kept/*", "/**", "/a/**"], -2))), "these are no others");
    assert!(!refused(&b.tell(client.up, &replay(&client, &["/b/**", "/c/*"], -1))), "nothing is to be read");
    assert!(!refused(&b.tell(client.up, &replay(&client, &["/kept/1", "/kept/2", "/d"], -2))), "these are names");
    while !b.events(&client).is_empty() {}
    assert!(!refused(&b.tell(client.up, &replay(&client, &["/b/**", "/c/*"], -2))), "it has read all of the others");
    let batch = json!([
        replay(&client, &["/d/**", "/e/**"], -2),
        replay(&other, &["/d/**", "/e/**"], -2),
        replay(&other, &["/e/**"], -2),
    ]);
    let replies = b.say(client.up, &batch);
    assert_eq!([0, 1, 2].map(|at| refused(&replies[at])), [false, true, false]);
}

#[test]
fn limit_deliveries_at_once() {
    let mut b = Bench::with(|setup| {
        setup.limits.deliveries_per_turn = 5;
        setup.limits.deliveries_at_once = 2;
    });
    let clients: Vec<_> = (0..6).map(|_| b.subscriber("/a")).collect();
    for client in &clients {
        b.hold(client);
    }
    assert!(b.inject_without_a_turn("/a", "1"));
    assert_eq!([(); 4].map(|()| b.flush()), [2, 2, 1, 1], "two at once, five in a turn");
}

#[test]
fn limit_deliveries_per_turn() {
    assert_eq!(answers_after_flushes(2), [2, 0, 0]);
    assert_eq!(answers_after_flushes(3), [3, 0, 0]);
    assert_eq!(answers_after_flushes(4), [3, 1, 0], "the rest in the next turn");
}

#[test]
fn limit_timers_per_turn() {
    for (clients, left) in [(2, 0), (3, 0), (4, 1)] {
        let mut b = Bench::with(|setup| setup.limits.timers_per_turn = 3);
        for _ in 0..clients {
            b.handshake();
        }
        assert_eq!(b.sessions(), clients);
        b.time_out_once(10_000);
        assert_eq!(b.sessions(), left, "of {clients} sessions that expire together");
        b.turn();
        assert_eq!(b.sessions(), 0, "the rest in the next turn");
    }
}

#[test]
fn the_bounds_of_a_turn_delay_and_lose_nothing() {
    let mut b = Bench::with(|setup| setup.limits.deliveries_per_turn = 1);
    let clients: Vec<_> = (0..5).map(|_| b.subscriber("/a")).collect();
    for client in &clients {
        b.hold(client);
    }
    assert!(b.inject("/a", "7"));
    for client in &clients {
        assert_eq!(b.one(client.down).json()[0], json!({"channel": "/a", "data": 7}));
    }
}

#[test]
fn a_byte_that_waits_for_its_turn_buys_no_time() {
    let Limits { head_ms, body_ms, .. } = Limits::default();
    let post = Post::new("[]").bytes();
    for (part, allowed_ms) in [(PART_OF_A_HEAD, head_ms), (&post[..post.len() - 2], body_ms)] {
        let mut b = Bench::with(|setup| {
            setup.limits.fanout_per_turn = 1;
            setup.broker.max_interval_ms = 3_600_000;
        });
        let _subscribers = [b.subscriber("/a"), b.subscriber("/a")];
        let conn = b.open();
        b.give(conn, part);
        b.advance(allowed_ms - 1_000);
        // The turn has done its share when the byte comes, and the next one comes late.
        assert!(b.inject_without_a_turn("/a", "1"));
        b.receive(conn, b" ");
        b.advance(10_000);
        b.advance(999);
        assert_eq!(b.raw(conn), "", "what was waited for us is not the peer's");
        b.advance(1);
        assert!(b.raw(conn).starts_with("HTTP/1.1 408 "), "after {allowed_ms} ms of its own");
    }
}
