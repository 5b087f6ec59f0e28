//! Section 4: names, patterns, meta and service channels, order.

use serde_json::{Value, json};

use super::bench::{Bench, Client, unknown};

fn failed(channel: &str, id: &str, error: &str) -> Value {
    json!({"channel": channel, "id": id, "successful": false, "error": error})
}

/// The data of what waits for the client.
fn data(b: &mut Bench, client: &Client) -> Vec<Value> {
    b.events(client).into_iter().map(|event| event["data"].clone()).collect()
}

/// Names that break the grammar, wherever they stand.
fn bad_names() -> Vec<String> {
    let mut names: Vec<String> =
        ["", "a", "/", "//", "/a/", "/a//b", "/a/b/", "a/b", "/a\\b", "/ä", "/a%20b", "/a?b", "/a#b%"]
            .map(str::to_owned)
            .to_vec();
    names.extend(
        ["/a,b", "/a;b", "/a:b", "/a=b", "/a&b", "/a|b", "/a\"b", "/a<b", "/a^b", "/a`b", "/a[b]", "/a\tb"]
            .map(str::to_owned),
    );
    names.push("/a".repeat(17));
    names.push(format!("/{}", "x".repeat(256)));
    names
}

#[test]
fn must_4_the_grammar_of_names() {
    let mut b = Bench::new();
    let client = b.client();
    for name in [
        "/a",
        "/a/b",
        "/A/1 2",
        "/!#$()+-.@_{}~'",
        "/ ",
        "/.",
        "/..",
        &"/a".repeat(16),
        &format!("/{}", "x".repeat(255)),
    ] {
        let reply = b.tell(client.up, &client.subscribe(name));
        assert_eq!(reply["successful"], true, "{name}");
        assert_eq!(
            b.tell(client.up, &client.publish(name, 1)),
            json!({"channel": name, "id": "p", "successful": true})
        );
        assert_eq!(b.events(&client), [json!({"channel": name, "data": 1})]);
    }
}

#[test]
fn must_4_a_name_that_breaks_the_grammar_is_405_and_nothing_happens() {
    let mut b = Bench::new();
    let client = b.subscriber("/**");
    for name in bad_names() {
        let error = format!("405:{}:channel_invalid", name.get(..256).unwrap_or(&name));
        assert_eq!(b.tell(client.up, &client.publish(&name, 1)), failed(&name, "p", &error));
        for message in [client.subscribe(name.as_str()), client.unsubscribe(name.as_str())] {
            let reply = b.tell(client.up, &message);
            let mut expected = failed(message["channel"].as_str().unwrap(), message["id"].as_str().unwrap(), &error);
            expected["subscription"] = json!(name);
            assert_eq!(reply, expected);
        }
    }
    assert_eq!(b.events(&client), [] as [Value; 0]);
    assert_eq!(b.engine.census().topics, 1);
}

#[test]
fn must_4_a_wildcard_is_a_whole_last_segment_and_only_of_subscriptions() {
    let mut b = Bench::new();
    let client = b.subscriber("/**");
    for name in ["/*", "/**", "/a/*", "/a/**", "/a*", "/*/a", "/a/**/b", "/a/***", "/a/*b"] {
        let error = format!("405:{name}:channel_invalid");
        assert_eq!(b.tell(client.up, &client.publish(name, 1)), failed(name, "p", &error), "publishing to a pattern");
    }
    for name in ["/a*", "/*/a", "/a/**/b", "/a/***", "/a/*b", "/**/*", "*", "**", "/a/* "] {
        let reply = b.tell(client.up, &client.subscribe(name));
        assert_eq!(reply["error"], format!("405:{name}:channel_invalid"));
    }
    for name in ["/*", "/**", "/a/*", "/a/b/**"] {
        assert_eq!(b.tell(client.up, &client.subscribe(name))["successful"], true, "{name}");
    }
    assert_eq!(b.events(&client), [] as [Value; 0]);
}

#[test]
fn must_4_what_patterns_match() {
    for (pattern, matched) in [
        ("/foo/*", vec!["/foo/a", "/foo/b"]),
        ("/foo/**", vec!["/foo/a", "/foo/b", "/foo/a/c"]),
        ("/*", vec!["/foo", "/foox"]),
        ("/**", vec!["/foo", "/foox", "/foo/a", "/foo/b", "/foo/a/c", "/bar/a"]),
        ("/foo", vec!["/foo"]),
        ("/foo/a", vec!["/foo/a"]),
        ("/bar/**", vec!["/bar/a"]),
        ("/FOO/**", vec![]),
    ] {
        let mut b = Bench::new();
        let client = b.subscriber(pattern);
        for channel in ["/foo", "/foox", "/foo/a", "/foo/b", "/foo/a/c", "/bar/a"] {
            b.tell(client.up, &client.publish(channel, channel));
        }
        assert_eq!(data(&mut b, &client), matched.into_iter().map(Value::from).collect::<Vec<_>>(), "{pattern}");
    }
}

#[test]
fn must_4_a_message_comes_once_however_many_subscriptions_match() {
    let mut b = Bench::new();
    let client = b.subscriber(json!(["/a/b", "/a/*", "/a/**", "/**", "/a/b"]));
    b.tell(client.up, &client.publish("/a/b", 1));
    assert_eq!(data(&mut b, &client), [1]);
    b.tell(client.up, &client.unsubscribe("/a/b"));
    b.tell(client.up, &client.unsubscribe(json!(["/a/*", "/a/**"])));
    b.tell(client.up, &client.publish("/a/b", 2));
    assert_eq!(data(&mut b, &client), [2], "the last of them still matches");
}

#[test]
fn must_4_subscribing_twice_changes_nothing() {
    let mut b = Bench::new();
    let client = b.client();
    for _ in 0..2 {
        let reply = b.tell(client.up, &client.subscribe("/a"));
        assert_eq!(reply, json!({"channel": "/meta/subscribe", "id": "s", "successful": true, "subscription": "/a"}));
    }
    b.tell(client.up, &client.publish("/a", 1));
    assert_eq!(data(&mut b, &client), [1]);
    b.tell(client.up, &client.unsubscribe("/a"));
    b.tell(client.up, &client.publish("/a", 2));
    assert_eq!(data(&mut b, &client), [] as [Value; 0], "one unsubscription undoes both");
    assert_eq!(b.engine.census().topics, 0);
}

#[test]
fn must_4_publishing_twice_delivers_twice() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    let publish = client.publish("/a", 1);
    b.say(client.up, &json!([publish, publish]));
    b.say(client.up, &publish);
    assert_eq!(data(&mut b, &client), [1, 1, 1]);
}

#[test]
fn must_4_unknown_meta_channels_are_404_without_effect() {
    let mut b = Bench::new();
    let client = b.subscriber("/**");
    for channel in [
        "/meta",
        "/meta/nope",
        "/meta/subscribe/x",
        "/meta/unsubscribe/x",
        "/meta/disconnect/x",
        "/meta/connect/x",
        "/meta/handshake/x",
        "/meta/Subscribe",
        "/meta/publish",
    ] {
        let message = json!({"channel": channel, "clientId": client.id, "subscription": "/x", "data": 1, "id": "m"});
        let mut expected = failed(channel, "m", "404::channel_unknown");
        expected["subscription"] = json!("/x");
        assert_eq!(b.tell(client.up, &message), expected);
    }
    assert_eq!((b.sessions(), b.engine.census().topics), (1, 1));
    b.tell(client.up, &client.unsubscribe("/**"));
    b.tell(client.up, &client.publish("/x", 1));
    assert_eq!(b.events(&client), [] as [Value; 0], "nothing was subscribed");
}

#[test]
fn must_4_subscribing_to_meta_is_denied() {
    let mut b = Bench::new();
    let client = b.client();
    for name in ["/meta/connect", "/meta/x", "/meta/*", "/meta/**", "/meta"] {
        let expected = json!({"channel": "/meta/subscribe", "id": "s", "successful": false, "subscription": name,
            "error": format!("403:{name}:subscribe_denied")});
        assert_eq!(b.tell(client.up, &client.subscribe(name)), expected);
    }
    assert_eq!(b.tell(client.up, &client.subscribe("/metas"))["successful"], true);
    assert_eq!(b.engine.census().topics, 1);
}

#[test]
fn must_4_nothing_of_meta_or_service_is_yielded_by_a_wildcard() {
    let mut b = Bench::new();
    let watcher = b.subscriber(json!(["/**", "/*"]));
    let other = b.client();
    b.say(other.up, &json!([other.subscribe("/a"), other.publish("/service/x", 1), other.publish("/service", 2)]));
    b.say(other.up, &json!([other.publish("/meta/x", 3), other.publish("/meta", 4), other.disconnect()]));
    b.handshake();
    assert_eq!(b.events(&watcher), [] as [Value; 0]);
}

#[test]
fn must_4_subscribing_to_a_service_channel_succeeds_and_records_nothing() {
    let mut b = Bench::new();
    let client = b.client();
    for name in ["/service/x", "/service/*", "/service/**", "/service"] {
        let expected = json!({"channel": "/meta/subscribe", "id": "s", "successful": true, "subscription": name});
        assert_eq!(b.tell(client.up, &client.subscribe(name)), expected);
        let expected = json!({"channel": "/meta/unsubscribe", "id": "u", "successful": true, "subscription": name});
        assert_eq!(b.tell(client.up, &client.unsubscribe(name)), expected);
    }
    assert_eq!(b.engine.census().topics, 0);
}

#[test]
fn must_4_publishing_to_a_service_channel_is_acked_and_never_broadcast() {
    let mut b = Bench::new();
    let client = b.subscriber(json!(["/service/x", "/service/**", "/**"]));
    for channel in ["/service/x", "/service/x/y", "/service"] {
        let reply = b.tell(client.up, &client.publish(channel, 1));
        assert_eq!(reply, json!({"channel": channel, "id": "p", "successful": true}));
        let reply = b.tell(client.up, &json!({"channel": channel, "clientId": client.id, "id": "p"}));
        assert_eq!(reply["error"], "402::data_missing");
        let reply = b.tell(client.up, &json!({"channel": channel, "data": 1, "id": "p"}));
        assert_eq!(reply, unknown(channel, "p"));
    }
    b.tell(client.up, &client.publish("/services", 2));
    assert_eq!(b.events(&client), [json!({"channel": "/services", "data": 2})]);
}

#[test]
fn must_4_the_order_of_one_publisher_is_kept_to_each_subscriber() {
    let mut b = Bench::with(|setup| setup.limits.output_bytes = 100);
    let readers: Vec<Client> = ["/a", "/*", "/**"].map(|pattern| b.subscriber(pattern)).to_vec();
    let writer = b.client();
    b.hold(&readers[0]);
    let batch: Vec<Value> = (0..10).map(|n| writer.publish("/a", n)).collect();
    b.say(writer.up, &json!(batch));
    for n in 10..20 {
        b.tell(writer.up, &writer.publish("/a", n));
    }
    let first: Vec<Value> = b.one(readers[0].down).json().as_array().unwrap().clone();
    let mut seen: Vec<Value> = first.iter().filter(|m| m["data"].is_number()).map(|m| m["data"].clone()).collect();
    for (at, reader) in readers.iter().enumerate() {
        let mut got = if at == 0 { core::mem::take(&mut seen) } else { Vec::new() };
        while got.len() < 20 {
            let more = data(&mut b, reader);
            assert!(!more.is_empty() && more.len() < 20, "more than one answer is needed, and each brings something");
            got.extend(more);
        }
        assert_eq!(got, (0..20).map(Value::from).collect::<Vec<_>>(), "reader {at}");
    }
}
