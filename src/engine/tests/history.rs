//! History and replay: on Bayeux in both shapes, and on plain HTTP.

use serde_json::{Value, json};

use super::bench::{Bench, Client, HANDSHAKE, Setup};
use crate::broker::rules::{Keep, ReplayShape, Rule};
use crate::conn::ConnKey;
use crate::conn::plain::Publishing;

/// The number before the first event: the bench's second, shifted.
const START: u64 = 1_767_225_600 << 20;

fn rules(setup: &mut Setup) {
    let keep = |count| Some(Some(Keep { count, ..Keep::default() }));
    setup.broker.channels = vec![
        Rule { pattern: "/kept/**".to_owned(), history: keep(3), ..Rule::default() },
        Rule {
            pattern: "/sf/**".to_owned(),
            history: keep(3),
            replay_shape: Some(ReplayShape::Salesforce),
            ..Rule::default()
        },
    ];
    setup.publishing = Publishing::Local;
    setup.broker.transports = vec!["long-polling", "streaming", "websocket", "eventsource"];
}

fn bench() -> Bench {
    Bench::with(rules)
}

fn replay(client: &Client, subscription: impl Into<Value>, map: Value) -> Value {
    let mut subscribe = client.subscribe(subscription);
    subscribe["ext"] = json!({"replay": map});
    subscribe
}

/// The numbers of events, less the start.
fn numbers(events: &[Value]) -> Vec<u64> {
    let of = |event: &Value| event["ext"]["replay"]["id"].as_u64().or(event["data"]["event"]["replayId"].as_u64());
    events.iter().map(|event| of(event).unwrap_or_else(|| panic!("no number: {event}")) - START).collect()
}

fn put(b: &mut Bench, channel: &str, times: usize) {
    (0..times).for_each(|_| assert!(b.inject(channel, r#"{"x":1}"#)));
}

#[test]
fn must_8_the_handshake_says_that_replay_is_known() {
    let mut b = bench();
    let conn = b.open();
    let mut handshake: Value = serde_json::from_str(HANDSHAKE).unwrap();
    assert_eq!(b.tell(conn, &handshake).get("ext"), None);
    handshake["ext"] = json!({"replay": true, "ack": true});
    assert_eq!(b.tell(conn, &handshake)["ext"], json!({"ack": true, "replay": true}));
}

#[test]
fn must_8_events_that_are_kept_carry_their_number_and_others_do_not() {
    let mut b = bench();
    let client = b.subscriber("/**");
    put(&mut b, "/kept/a", 1);
    put(&mut b, "/other", 1);
    put(&mut b, "/sf/a", 1);
    let replay = json!({"id": START + 1, "epoch": "1767225600"});
    let expected = json!([
        {"channel": "/kept/a", "data": {"x": 1}, "ext": {"replay": replay}},
        {"channel": "/other", "data": {"x": 1}},
        {"channel": "/sf/a", "data": {"x": 1, "event": {"createdDate": "2026-01-01T00:00:00.000Z", "replayId": START + 2}}},
    ]);
    assert_eq!(json!(b.events(&client)), expected);
    assert_eq!(b.engine.counters().encoded, 3);
}

#[test]
fn must_8_minus_one_is_new_minus_two_is_all_and_n_is_after_n() {
    for (from, expected) in [
        (json!(-1), vec![4]),
        (json!("-1"), vec![4]),
        (json!(-2), vec![1, 2, 3, 4]),
        (json!("-2"), vec![1, 2, 3, 4]),
        (json!(START), vec![1, 2, 3, 4]),
        (json!(START + 2), vec![3, 4]),
        (json!((START + 2).to_string()), vec![3, 4]),
        (json!(START + 3), vec![4]),
    ] {
        let mut b = bench();
        put(&mut b, "/kept/a", 3);
        let client = b.client();
        let reply = b.tell(client.up, &replay(&client, "/kept/a", json!({"/kept/a": from, "/else": 5})));
        assert_eq!(reply["successful"], true, "{from}");
        let now = from == json!(-1) || from == json!("-1");
        let expected_ext = now.then(|| json!({"replay": {"/kept/a": START + 3}}));
        assert_eq!(reply.get("ext"), expected_ext.as_ref(), "who begins now hears where that is");
        put(&mut b, "/kept/a", 1);
        let mut events = b.events(&client);
        events.extend(b.events(&client));
        assert_eq!(numbers(&events), expected, "{from}");
    }
}

#[test]
fn must_8_a_pattern_is_replayed_in_the_order_of_numbers_and_each_event_once() {
    let mut b = bench();
    for channel in ["/kept/a", "/kept/b", "/kept/a", "/kept/c/d"] {
        put(&mut b, channel, 1);
    }
    let client = b.client();
    let map = json!({"/kept/**": START, "/kept/a": -2, "/kept/*": START + 1});
    b.tell(client.up, &replay(&client, json!(["/kept/**", "/kept/a", "/kept/*"]), map));
    assert_eq!(numbers(&b.events(&client)), [1, 2, 3, 4]);
}

#[test]
fn must_8_what_comes_while_a_session_reads_comes_once_and_in_its_turn() {
    let mut b = Bench::with(|setup| {
        rules(setup);
        setup.broker.channels[0].history = Some(Some(Keep { count: 1_000, ..Keep::default() }));
    });
    put(&mut b, "/kept/a", 300);
    let client = b.client();
    b.tell(client.up, &replay(&client, "/kept/a", json!({"/kept/a": -2})));
    b.tell(client.up, &client.subscribe("/other"));
    let mut all = Vec::new();
    for _ in 0..6 {
        all.extend(b.events(&client));
        put(&mut b, "/kept/a", 1);
        put(&mut b, "/other", 1);
    }
    all.extend(b.events(&client));
    let (kept, other): (Vec<Value>, Vec<Value>) = all.into_iter().partition(|event| event["channel"] == "/kept/a");
    assert_eq!(numbers(&kept), (1..=306).collect::<Vec<_>>());
    assert_eq!(other.len(), 6);
}

#[test]
fn must_8_a_replay_ends_a_held_connect_and_goes_over_streams() {
    let mut b = bench();
    put(&mut b, "/kept/a", 2);
    let client = b.client();
    b.hold(&client);
    b.tell(client.up, &replay(&client, "/kept/a", json!({"/kept/a": -2})));
    let answer = b.one(client.down).json();
    assert_eq!(numbers(&answer.as_array().unwrap()[..2]), [1, 2]);
    let conn = b.open();
    b.give(
        conn,
        format!("GET /cometd/{} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n", client.id).as_bytes(),
    );
    b.stream(conn);
    b.tell(client.up, &replay(&client, "/kept/a", json!({"/kept/a": START + 1})));
    assert!(b.stream(conn).1.starts_with("data: [{\"channel\":\"/kept/a\""));
}

#[test]
fn must_8_a_number_from_which_events_are_gone_is_a_gap_in_the_plain_shape() {
    for from in [json!(START), json!(0), json!(START + 99), json!(5)] {
        let mut b = bench();
        put(&mut b, "/kept/a", 4);
        let client = b.client();
        let reply = b.tell(client.up, &replay(&client, "/kept/a", json!({"/kept/a": from})));
        assert_eq!((&reply["successful"], &reply["ext"]), (&json!(true), &json!({"gap": {"/kept/a": -1}})), "{from}");
        assert_eq!(numbers(&b.events(&client)), [2, 3, 4], "what there is comes");
    }
    let mut b = bench();
    let client = b.client();
    let reply = b.tell(client.up, &replay(&client, "/never", json!({"/never": START})));
    assert_eq!(reply["ext"], json!({"gap": {"/never": -1}}), "of this channel nothing is kept");
    let reply = b.tell(client.up, &replay(&client, "/never", json!({"/never": -1})));
    assert_eq!(reply.get("ext"), None, "and there is no number to go on from");
}

#[test]
fn must_8_in_the_shape_of_salesforce_it_is_an_error() {
    let mut b = bench();
    put(&mut b, "/sf/a", 4);
    let client = b.client();
    let invalid = |number: &str| {
        format!(
            "400::The replayId {{{number}}} you provided was invalid. Please provide a valid ID, -2 to replay all \
             events, or -1 to replay only new events."
        )
    };
    for from in [json!(START), json!(1), json!("x"), json!(-3), json!(null), json!(1.5), json!({})] {
        let reply = b.tell(client.up, &replay(&client, "/sf/a", json!({"/sf/a": from})));
        assert_eq!(reply["successful"], false, "{from}");
        let text = from.as_str().map_or_else(|| from.to_string(), str::to_owned);
        assert_eq!(reply["error"], invalid(&text));
    }
    let reply = b.tell(client.up, &replay(&client, "/sf/a", json!({"/sf/b": -2})));
    assert_eq!(
        reply["error"],
        "400::The replayId for channel {/sf/a} wasn't found using the provided replay ID map {{\"/sf/b\":-2}}. Ensure \
         that the channel name you provided in the replay map is valid and matches the channel name used for subscribing."
    );
    assert_eq!(b.events(&client).len(), 0, "none of it had an effect");
    let reply = b.tell(client.up, &replay(&client, "/sf/a", json!({"/sf/a": START + 1})));
    assert_eq!((reply["successful"].as_bool(), reply.get("ext")), (Some(true), None));
    assert_eq!(numbers(&b.events(&client)), [2, 3, 4]);
    let reply = b.tell(client.up, &replay(&client, "/kept/a", json!({"/else": -2})));
    assert_eq!(reply["successful"], true, "elsewhere a map need not name all");
}

#[test]
fn must_8_what_goes_while_a_session_reads_is_told_with_its_next_connect() {
    let mut b = Bench::with(|setup| {
        rules(setup);
        setup.limits.outbox_events = 2;
    });
    put(&mut b, "/kept/a", 3);
    let client = b.client();
    b.tell(client.up, &replay(&client, "/kept/a", json!({"/kept/a": -2})));
    assert_eq!(numbers(&b.events(&client)), [1]);
    put(&mut b, "/kept/a", 3);
    let answer = b.say(client.down, &client.glance());
    assert_eq!(numbers(&answer.as_array().unwrap()[..1]), [4]);
    assert_eq!(answer[1]["ext"], json!({"gap": {"/kept/a": -1}}));
    assert_eq!(numbers(&[b.events(&client), b.events(&client)].concat()), [5, 6]);
}

#[test]
fn who_unsubscribes_reads_no_more() {
    let mut b = bench();
    put(&mut b, "/kept/a", 3);
    let client = b.client();
    let both = json!([replay(&client, "/kept/a", json!({"/kept/a": -2})), client.unsubscribe("/kept/a"),]);
    b.say(client.up, &both);
    put(&mut b, "/kept/a", 1);
    assert_eq!(b.events(&client).len(), 0);
}

fn listen(b: &mut Bench, path: &str, fields: &str) -> ConnKey {
    let conn = b.open();
    b.give(conn, format!("GET {path} HTTP/1.1\r\nHost: h.example\r\n{fields}\r\n").as_bytes());
    conn
}

#[test]
fn must_8_an_event_stream_has_the_same_numbers_and_goes_on_where_it_was() {
    let mut b = bench();
    let sse = "Accept: text/event-stream\r\n";
    let conn = listen(&mut b, "/events/kept/*", sse);
    assert_eq!(b.stream(conn).1, format!("retry: 5000\n\nid: {START}\n\n"), "even before the first event");
    put(&mut b, "/kept/a", 2);
    let event = |number: u64| format!("id: {}\nevent: /kept/a\ndata: {{\"x\":1}}\n\n", START + number);
    assert_eq!(b.stream(conn).1, event(1) + &event(2));
    b.cut(conn);
    put(&mut b, "/kept/a", 1);
    let conn = listen(&mut b, "/events/kept/*?since=-1", &format!("{sse}Last-Event-ID: {}\r\n", START + 1));
    assert_eq!(
        b.stream(conn).1,
        "retry: 5000\n\n".to_owned() + &event(2) + &event(3),
        "the field goes before the query"
    );
    put(&mut b, "/kept/a", 1);
    assert_eq!(b.stream(conn).1, event(4));
    let conn = listen(&mut b, "/events/kept/*?since=5", sse);
    let gap = "event: gap\ndata: {\"/kept/*\":-1}\n\n";
    assert_eq!(b.stream(conn).1, "retry: 5000\n\n".to_owned() + gap + &event(2) + &event(3) + &event(4));
}

#[test]
fn must_8_a_gap_is_told_even_if_nothing_is_kept() {
    let mut b = bench();
    let conn = listen(&mut b, "/events/kept/a?since=5", "Accept: text/event-stream\r\n");
    assert_eq!(b.stream(conn).1, format!("retry: 5000\n\nid: {START}\nevent: gap\ndata: {{\"/kept/a\":-1}}\n\n"));
    put(&mut b, "/kept/a", 1);
    assert!(b.stream(conn).1.starts_with("id: "));
}

#[test]
fn who_asks_for_all_that_is_kept_misses_nothing_that_was_too_old() {
    let mut b = Bench::with(|setup| {
        rules(setup);
        setup.broker.channels[0].history = Some(Some(Keep { age_ms: 2_000, ..Keep::default() }));
    });
    put(&mut b, "/kept/a", 1);
    b.advance(1_000);
    put(&mut b, "/kept/a", 1);
    b.advance(1_200);
    let conn = listen(&mut b, "/events/kept/a?since=-2", "");
    let body = b.one(conn).body;
    assert!(!body.contains("gap") && body.matches("channel").count() == 1, "{body}");
}

#[test]
fn a_poll_that_is_told_of_a_gap_alone_knows_where_to_go_on() {
    let mut b = bench();
    let conn = listen(&mut b, "/events/kept/a?since=5", "");
    assert_eq!(b.one(conn).body, format!(r#"[{{"gap":{{"/kept/a":-1}},"id":{START}}}]"#));
    let conn = listen(&mut b, &format!("/events/kept/a?since={START}"), "");
    assert_eq!(b.raw(conn), "", "it waits");
}

#[test]
fn must_8_lines_and_polls_of_plain_http_go_on_as_well() {
    let mut b = bench();
    put(&mut b, "/kept/a", 4);
    let conn = listen(&mut b, &format!("/events/kept/a?since={}", START + 3), "");
    let event = |number: u64| {
        let replay = format!(r#"{{"id":{},"epoch":"1767225600"}}"#, START + number);
        format!(r#"{{"channel":"/kept/a","data":{{"x":1}},"ext":{{"replay":{replay}}}}}"#)
    };
    assert_eq!(b.one(conn).body, format!("[{}]", event(4)));
    let conn = listen(&mut b, "/events/kept/a?since=-2", "Accept: application/x-ndjson\r\n");
    assert_eq!(b.stream(conn).1, format!("{}\n{}\n{}\n", event(2), event(3), event(4)));
    let conn = listen(&mut b, "/events/kept/a?since=9", "");
    assert_eq!(b.one(conn).body, format!(r#"[{{"gap":{{"/kept/a":-1}}}},{},{},{}]"#, event(2), event(3), event(4)));
    let conn = listen(&mut b, &format!("/events/kept/a?since={}", START + 4), "");
    assert_eq!(b.raw(conn), "", "it waits");
    put(&mut b, "/kept/a", 1);
    assert_eq!(b.one(conn).body, format!("[{}]", event(5)));
    for bad in ["x", "-3", "1.5", "99999999999999999999", ""] {
        let conn = listen(&mut b, &format!("/events/kept/a?since={bad}"), "");
        let response = b.one(conn);
        assert_eq!(response.status, 400, "{bad}");
        assert!(response.body.contains("since= must be the id of an event"), "{}", response.body);
    }
}

#[test]
fn must_8_a_publish_by_plain_http_is_told_its_number() {
    let mut b = bench();
    let mut post = |channel: &str| {
        let conn = b.open_from("127.0.0.1");
        let head = format!("POST /publish{channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1");
        b.exchange(conn, head.as_bytes()).body
    };
    let id = START + 1;
    assert_eq!(post("/kept/a"), format!("{{\"successful\":true,\"channel\":\"/kept/a\",\"id\":{id}}}\n"));
    assert_eq!(post("/other"), "{\"successful\":true,\"channel\":\"/other\"}\n");
}

#[test]
fn a_name_that_stands_twice_is_answered_once() {
    let mut b = bench();
    put(&mut b, "/kept/a", 1);
    let client = b.client();
    let subscribe =
        replay(&client, json!(["/kept/a", "/kept/a", "/service/x"]), json!({"/kept/a": -1, "/service/x": 5}));
    let text = b.text(client.up, &subscribe.to_string());
    assert!(text.contains(&format!(r#""ext":{{"replay":{{"/kept/a":{}}}}}"#, START + 1)), "{text}");
}

#[test]
fn what_is_read_again_and_again_never_makes_an_outbox_overflow() {
    let mut b = Bench::with(|setup| {
        rules(setup);
        setup.broker.channels[0].history = Some(Some(Keep { count: 100, ..Keep::default() }));
        setup.limits.outbox_bytes = 2_000;
    });
    put(&mut b, "/kept/a", 50);
    let client = b.client();
    for _ in 0..5 {
        b.tell(client.up, &replay(&client, "/kept/a", json!({"/kept/a": -2})));
    }
    b.tell(client.up, &client.subscribe("/other"));
    assert!(b.inject("/other", "1"));
    assert_eq!(b.engine.counters().overflows, 0, "the server's own reading filled it");
    let mut all = Vec::new();
    while let [first, rest @ ..] = b.events(&client).as_slice() {
        all.push(first.clone());
        all.extend_from_slice(rest);
    }
    all.retain(|event| event["channel"] == "/kept/a");
    assert_eq!(numbers(&all).last(), Some(&50));
}

#[test]
fn who_unsubscribes_a_pattern_while_it_is_read_misses_nothing_of_another_subscription() {
    for leave in [true, false] {
        let mut b = Bench::with(|setup| {
            rules(setup);
            setup.broker.channels[0].history = Some(Some(Keep { count: 1_000, ..Keep::default() }));
        });
        put(&mut b, "/kept/a", 300);
        let client = b.subscriber("/kept/a");
        b.tell(client.up, &replay(&client, "/kept/**", json!({"/kept/**": -2})));
        assert_eq!(numbers(&b.events(&client)).last(), Some(&128));
        put(&mut b, "/kept/b", 1);
        put(&mut b, "/kept/a", 1);
        if leave {
            b.tell(client.up, &client.unsubscribe("/kept/**"));
        } else {
            b.tell(client.up, &replay(&client, "/kept/**", json!({"/kept/**": -1})));
        }
        put(&mut b, "/kept/a", 1);
        let rest = numbers(&[b.events(&client), b.events(&client)].concat());
        assert_eq!(rest, if leave { vec![302, 303] } else { vec![301, 302, 303] });
    }
}
