//! Section 3: what is repeated, what is passed on, and what is not.

use serde_json::json;

use super::bench::{Bench, Client, Post};

/// The very text of all events that wait for the client, with the commas behind them.
fn event_text(b: &mut Bench, client: &Client) -> String {
    let body = b.text(client.down, &client.glance().to_string());
    let reply = r#"{"channel":"/meta/connect","id":"c","successful":true,"advice":{"reconnect":"retry","interval":0,"timeout":30000}}]"#;
    body.strip_prefix('[').unwrap().strip_suffix(reply).unwrap_or_else(|| panic!("{body}")).to_owned()
}

/// A publish to `/a` with these further members.
fn publish(client: &Client, members: &str) -> String {
    format!(r#"{{"channel":"/a","clientId":"{}",{members}}}"#, client.id)
}

#[test]
fn must_3_an_id_is_echoed_verbatim() {
    let mut b = Bench::new();
    let client = b.client();
    let long = format!("\"{}\"", "x".repeat(254));
    for id in [
        "0",
        r#""0""#,
        "1",
        "1.0",
        "1e2",
        "-0",
        "10000000000000000000000001",
        "0.10",
        r#""""#,
        r#""é""#,
        r#""\u0041\n""#,
        &long,
    ] {
        for (channel, rest) in [
            ("/meta/subscribe", r#","subscription":"/a""#),
            ("/meta/unsubscribe", r#","subscription":"/a""#),
            ("/meta/connect", r#","advice":{"timeout":0}"#),
            ("/a", r#","data":1"#),
            ("/meta/nope", ""),
            ("/a//b", ""),
        ] {
            let body = format!(r#"[{{"channel":"{channel}","clientId":"{}","id":{id}{rest}}}]"#, client.id);
            let answer = b.text(client.up, &body);
            assert!(answer.starts_with(&format!(r#"[{{"channel":"{channel}","id":{id},"successful":"#)), "{answer}");
        }
        let handshake = format!(r#"{{"channel":"/meta/handshake","version":"1.0","id":{id}}}"#);
        let answer = b.text(client.up, &handshake);
        assert!(
            answer.starts_with(&format!(r#"[{{"channel":"/meta/handshake","id":{id},"successful":true,"#)),
            "{answer}"
        );
    }
}

#[test]
fn must_3_the_id_of_a_held_connect_is_echoed_verbatim() {
    let mut b = Bench::new();
    let client = b.client();
    let longest = format!("\"{}\"", "y".repeat(254));
    for id in
        ["0", r#""0""#, "1.0", r#""12345678901234567890""#, r#""123456789012345678901""#, r#""é\u00e9""#, &longest]
    {
        let connect = format!(r#"[{{"channel":"/meta/connect","clientId":"{}","id":{id}}}]"#, client.id);
        b.give(client.down, &Post::new(connect).bytes());
        assert_eq!(b.raw(client.down), "");
        b.advance(30_000);
        let body = b.one(client.down).body;
        assert_eq!(body, format!(r#"[{{"channel":"/meta/connect","id":{id},"successful":true}}]"#));
    }
}

#[test]
fn must_3_no_id_is_echoed_as_no_id() {
    let mut b = Bench::new();
    let client = b.client();
    let answer = b.text(client.up, &publish(&client, r#""data":1"#));
    assert_eq!(answer, r#"[{"channel":"/a","successful":true}]"#);
    let connect = format!(r#"{{"channel":"/meta/connect","clientId":"{}"}}"#, client.id);
    b.give(client.down, &Post::new(connect).bytes());
    b.advance(30_000);
    assert_eq!(b.one(client.down).body, r#"[{"channel":"/meta/connect","successful":true}]"#);
}

#[test]
fn must_3_an_id_over_its_limit_is_refused() {
    let mut b = Bench::new();
    for (len, good) in [(253, true), (254, true), (255, false)] {
        let id = "x".repeat(len);
        let reply = b.post(&Post::json(&json!({"channel": "/meta/handshake", "id": id}))).json()[0].clone();
        assert_eq!(reply["successful"], good, "{len} and two quotes");
        if !good {
            assert_eq!((&reply["error"], &reply["id"]), (&json!("405::message_id_invalid"), &json!(null)));
        }
    }
}

#[test]
fn must_3_an_event_has_channel_data_ext_and_unknown_fields_and_nothing_else() {
    let mut b = Bench::new();
    let reader = b.subscriber("/a");
    let writer = b.client();
    let everything = r#""id":"i","version":"1.0","minimumVersion":"1.0","supportedConnectionTypes":["x"],
        "connectionType":"long-polling","subscription":"/b","successful":false,"error":"500::x","timestamp":"now",
        "advice":{"reconnect":"none","interval":0},"own":{"deep":[1.50]},"data":{"x":1},"ext":{"mine":2},"o\u0077n2":null"#;
    b.text(writer.up, &publish(&writer, everything));
    assert_eq!(
        event_text(&mut b, &reader),
        r#"{"channel":"/a","data":{"x":1},"ext":{"mine":2},"own":{"deep":[1.50]},"own2":null},"#
    );
}

#[test]
fn must_3_advice_in_a_publish_reaches_nobody() {
    let mut b = Bench::new();
    let reader = b.subscriber("/a");
    b.hold(&reader);
    b.text(reader.up, &publish(&reader, r#""data":1,"advice":{"reconnect":"none"}"#));
    assert_eq!(
        b.one(reader.down).body,
        r#"[{"channel":"/a","data":1},{"channel":"/meta/connect","id":"c","successful":true}]"#
    );
}

#[test]
fn must_3_ext_replay_gap_and_ack_of_events_are_the_servers() {
    let mut b = Bench::new();
    let reader = b.subscriber("/a");
    for (ext, kept) in [
        (r#"{"replay":1,"gap":2,"ack":3}"#, ""),
        (r#"{"r\u0065play":1}"#, ""),
        ("{}", ""),
        (r#"{"ack":true,"mine":{"ack":1},"Ack":2,"gap":null}"#, r#","ext":{"mine":{"ack":1},"Ack":2}"#),
        (r#"{"binary":{}, "x" : [ 1 ] }"#, r#","ext":{"binary":{},"x":[ 1 ]}"#),
    ] {
        b.text(reader.up, &publish(&reader, &format!(r#""data":1,"ext":{ext}"#)));
        assert_eq!(event_text(&mut b, &reader), format!(r#"{{"channel":"/a","data":1{kept}}},"#), "{ext}");
    }
}

#[test]
fn must_3_a_publish_ack_never_has_data() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    let members = r#""data":{"x":1},"id":"7","ext":{"e":1},"own":1,"advice":{"timeout":1}"#;
    assert_eq!(b.text(client.up, &publish(&client, members)), r#"[{"channel":"/a","id":"7","successful":true}]"#);
    let denied = r#"[{"channel":"/a","clientId":"nobody","data":1,"id":8}]"#;
    assert_eq!(
        b.text(client.up, denied),
        r#"[{"channel":"/a","id":8,"successful":false,"error":"402::session_unknown"}]"#
    );
}

#[test]
fn must_3_data_is_passed_through_as_it_was_written() {
    let mut b = Bench::new();
    let reader = b.subscriber("/a");
    for data in [
        "12345678901234567890.12345678901234567890",
        "1.0",
        "1e400",
        "-0",
        "0.10",
        "null",
        "true",
        "[]",
        "\"\"",
        r#"{"a":1,"a":2}"#,
        r#"{"b":1,"a":2}"#,
        r#""\u0041\/\u00e9é""#,
        r#""\ud83d\ude00😀""#,
        r#"{ "spaced" :	[ 1 , 2 ] }"#,
        r#""</script><!--""#,
        r#""\r\n""#,
    ] {
        b.text(reader.up, &publish(&reader, &format!(r#""data":{data}"#)));
        assert_eq!(event_text(&mut b, &reader), format!(r#"{{"channel":"/a","data":{data}}},"#));
    }
}

#[test]
fn must_3_line_ends_between_tokens_become_spaces() {
    let mut b = Bench::new();
    let reader = b.subscriber("/a");
    let members = "\"data\":{\r\n\t\"a\"\n:\r1,\n\"b\":[1,\r\n2]\n},\"own\":[\n],\"ext\":{\n\"x\":\n{\r}\n}";
    b.text(reader.up, &publish(&reader, members));
    let event = event_text(&mut b, &reader);
    assert_eq!(event, "{\"channel\":\"/a\",\"data\":{  \t\"a\" : 1, \"b\":[1,  2] },\"ext\":{\"x\":{ }},\"own\":[ ]},");
}

#[test]
fn must_3_u_2028_and_u_2029_are_escaped() {
    let mut b = Bench::new();
    let reader = b.subscriber("/a");
    let members = "\"data\":\"\u{2028}x\u{2029}\u{202a}\\u2028\",\"o\u{2028}wn\":1,\"ext\":{\"\u{2029}\":\"\u{2028}\"}";
    b.text(reader.up, &publish(&reader, members));
    assert_eq!(
        event_text(&mut b, &reader),
        "{\"channel\":\"/a\",\"data\":\"\\u2028x\\u2029\u{202a}\\u2028\",\
        \"ext\":{\"\\u2029\":\"\\u2028\"},\"o\\u2028wn\":1},"
    );
    let answer = b.text(reader.up, "[{\"channel\":\"/\u{2028}\n\",\"id\":\"\u{2029}\"}]".replace('\n', "\\n").as_str());
    assert_eq!(
        answer,
        r#"[{"channel":"/\u2028\n","id":"\u2029","successful":false,"error":"405:/\u2028\n:channel_invalid"}]"#
    );
}

#[test]
fn must_3_an_event_is_the_same_for_every_subscriber_and_encoded_once() {
    let mut b = Bench::new();
    let readers: Vec<_> = (0..3).map(|_| b.subscriber(json!(["/a", "/*", "/**"]))).collect();
    let writer = b.client();
    b.text(writer.up, &publish(&writer, r#""data":{"x":1.0}"#));
    for reader in &readers {
        assert_eq!(event_text(&mut b, reader), r#"{"channel":"/a","data":{"x":1.0}},"#);
    }
    let counters = b.engine.counters();
    assert_eq!((counters.published, counters.encoded, counters.queued, counters.delivered), (1, 1, 3, 3));
}

#[test]
fn must_3_the_client_id_is_in_the_handshake_reply_and_in_no_other() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    let mut answers = b.text(client.up, &client.publish("/a", 1).to_string());
    for message in [client.subscribe("/b"), client.unsubscribe("/b"), client.glance(), client.disconnect()] {
        answers += &b.text(client.up, &message.to_string());
    }
    assert!(!answers.contains(&client.id) && !answers.contains("clientId"), "{answers}");
    assert_eq!(answers.matches("\"successful\":true").count(), 5);
}
