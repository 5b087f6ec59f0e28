//! Section 5: handshake, subscribe, unsubscribe, disconnect, publish, and their failures.

use serde_json::{Value, json};

use super::bench::{Bench, Client, HANDSHAKE, Post, retry, unknown, unknown_connect};

/// A reply to a subscribe or an unsubscribe.
fn echoed(verb: &str, subscription: &Value, error: Option<&str>) -> Value {
    let mut reply = json!({"channel": format!("/meta/{verb}"), "id": &verb[..1], "successful": error.is_none(),
        "subscription": subscription});
    if let Some(error) = error {
        reply["error"] = json!(error);
    }
    reply
}

/// Whether each of the channels reaches the client.
fn reached(b: &mut Bench, client: &Client, channels: &[&str]) -> Vec<Value> {
    for channel in channels {
        b.tell(client.up, &client.publish(channel, 1));
    }
    b.events(client).into_iter().map(|event| event["channel"].clone()).collect()
}

#[test]
fn must_5_the_reply_to_a_handshake() {
    let mut b = Bench::new();
    let response = b.post(&Post::new(format!("[{HANDSHAKE}]")));
    let replies = response.json();
    let client_id = replies[0]["clientId"].as_str().unwrap();
    assert_eq!(
        response.body,
        format!(
            r#"[{{"channel":"/meta/handshake","id":"h","successful":true,"clientId":"{client_id}","version":"1.0","#
        ) + r#""minimumVersion":"1.0","supportedConnectionTypes":["long-polling"],"#
            + r#""advice":{"reconnect":"retry","interval":0,"timeout":30000}}]"#
    );
}

#[test]
fn must_5_the_advice_of_a_handshake_is_what_is_set() {
    let mut b = Bench::with(|setup| (setup.broker.timeout_ms, setup.broker.interval_ms) = (1_234, 56));
    let replies = b.post(&Post::new(HANDSHAKE)).json();
    assert_eq!(replies[0]["advice"], json!({"reconnect": "retry", "interval": 56, "timeout": 1_234}));
}

#[test]
fn must_5_version_and_types_of_a_handshake_are_not_validated_strictly() {
    let mut b = Bench::new();
    for members in [
        json!({}),
        json!({"version": "0.1", "minimumVersion": "99"}),
        json!({"version": "x", "supportedConnectionTypes": ["websocket", "long-polling", "x"]}),
        json!({"supportedConnectionTypes": "long-polling"}),
        json!({"supportedConnectionTypes": null}),
    ] {
        let mut message = members.clone();
        message["channel"] = json!("/meta/handshake");
        assert_eq!(b.post(&Post::json(&message)).json()[0]["successful"], true, "{members}");
    }
}

#[test]
fn must_5_no_common_connection_type_is_301_and_not_to_be_tried_again() {
    let mut b = Bench::new();
    for (types, named) in [
        (json!(["websocket", "callback-polling"]), "websocket,callback-polling"),
        (json!(["LONG-POLLING"]), "LONG-POLLING"),
        (json!([]), ""),
    ] {
        let message = json!({"channel": "/meta/handshake", "id": 1, "supportedConnectionTypes": types});
        let response = b.post(&Post::json(&message));
        assert_eq!(
            response.json(),
            json!([{"channel": "/meta/handshake", "id": 1, "successful": false,
                "error": format!("301:{named}:no_common_connection_type"), "advice": {"reconnect": "none"}}])
        );
        assert_eq!(response.field("Set-Cookie"), None);
    }
    assert_eq!(b.sessions(), 0);
}

#[test]
fn must_5_other_messages_in_a_batch_with_a_handshake_are_ignored() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    for batch in [
        format!("[{HANDSHAKE},{},{}]", client.publish("/a", 1), client.disconnect()),
        format!("[{},{},{HANDSHAKE}]", client.publish("/a", 1), client.connect()),
        format!("[{{}},{HANDSHAKE},{HANDSHAKE}]"),
    ] {
        let replies = b.exchange(client.up, &Post::new(batch.as_str()).bytes()).json();
        assert_eq!(replies.as_array().unwrap().len(), 1, "{batch}");
        assert_eq!((&replies[0]["channel"], &replies[0]["advice"]), (&json!("/meta/handshake"), &retry()));
    }
    assert_eq!(b.sessions(), 4);
    assert_eq!(b.events(&client), [] as [Value; 0]);
}

#[test]
fn must_5_subscribe_and_unsubscribe_repeat_the_subscription_in_the_same_shape() {
    let mut b = Bench::new();
    let client = b.client();
    for subscription in [json!("/a"), json!(["/a"]), json!(["/a", "/b/*"]), json!(["/a", "/a"])] {
        let reply = b.tell(client.up, &client.subscribe(subscription.clone()));
        assert_eq!(reply, echoed("subscribe", &subscription, None));
        let reply = b.tell(client.up, &client.unsubscribe(subscription.clone()));
        assert_eq!(reply, echoed("unsubscribe", &subscription, None));
    }
    assert_eq!(b.engine.census().topics, 0);
    let body = format!(
        r#"{{"channel":"/meta/subscribe","clientId":"{}","subscription":[ "/\u0061",
        "/b"]}}"#,
        client.id
    );
    assert_eq!(
        b.text(client.up, &body),
        "[{\"channel\":\"/meta/subscribe\",\"successful\":true,\"subscription\":[ \"/\\u0061\",         \"/b\"]}]"
    );
    assert_eq!(reached(&mut b, &client, &["/a", "/b", "/c"]), ["/a", "/b"]);
}

#[test]
fn must_5_a_subscription_array_is_all_or_nothing() {
    let mut b = Bench::new();
    let client = b.client();
    for (bad, error) in [
        ("/b//c", "405:/b//c:channel_invalid"),
        ("/meta/connect", "403:/meta/connect:subscribe_denied"),
        ("", "405::channel_invalid"),
    ] {
        for subscription in [json!(["/a", bad]), json!([bad, "/a"]), json!(["/a", bad, "/b"])] {
            let reply = b.tell(client.up, &client.subscribe(subscription.clone()));
            assert_eq!(reply, echoed("subscribe", &subscription, Some(error)));
        }
    }
    assert_eq!(b.engine.census().topics, 0);
    assert_eq!(reached(&mut b, &client, &["/a", "/b"]), [] as [Value; 0]);
}

#[test]
fn must_5_an_unsubscription_array_is_all_or_nothing() {
    let mut b = Bench::new();
    let client = b.subscriber(json!(["/a", "/b"]));
    let subscription = json!(["/a", "/x//y", "/b"]);
    let reply = b.tell(client.up, &client.unsubscribe(subscription.clone()));
    assert_eq!(reply, echoed("unsubscribe", &subscription, Some("405:/x//y:channel_invalid")));
    assert_eq!(reached(&mut b, &client, &["/a", "/b"]), ["/a", "/b"]);
    b.tell(client.up, &client.unsubscribe(json!(["/b", "/never"])));
    assert_eq!(reached(&mut b, &client, &["/a", "/b"]), ["/a"]);
}

#[test]
fn must_5_unsubscribing_what_was_not_subscribed_succeeds() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    let other = b.subscriber("/b");
    for subscription in [json!("/never"), json!("/b"), json!(["/a/*", "/never/**"]), json!("/meta/connect")] {
        let reply = b.tell(client.up, &client.unsubscribe(subscription.clone()));
        assert_eq!(reply, echoed("unsubscribe", &subscription, None));
    }
    assert_eq!(reached(&mut b, &client, &["/a", "/b"]), ["/a"]);
    assert_eq!(b.events(&other).len(), 1, "another session's subscription stays");
}

#[test]
fn must_5_a_missing_subscription_is_403() {
    let mut b = Bench::new();
    let client = b.client();
    for verb in ["subscribe", "unsubscribe"] {
        for members in [json!({}), json!({"subscription": null})] {
            let mut message = members;
            message["channel"] = json!(format!("/meta/{verb}"));
            message["clientId"] = json!(client.id);
            assert_eq!(
                b.tell(client.up, &message),
                json!({"channel": format!("/meta/{verb}"), "successful": false, "error": "403::subscription_missing"})
            );
        }
    }
}

#[test]
fn must_5_an_invalid_subscription_is_403_and_is_repeated() {
    let mut b = Bench::new();
    let client = b.client();
    for subscription in
        [json!([]), json!(5), json!({}), json!(true), json!(["/a", 1]), json!([["/a"]]), json!(["/a", null])]
    {
        let reply = b.tell(client.up, &client.subscribe(subscription.clone()));
        assert_eq!(reply, echoed("subscribe", &subscription, Some("403::subscription_invalid")));
        let reply = b.tell(client.up, &client.unsubscribe(subscription.clone()));
        assert_eq!(reply, echoed("unsubscribe", &subscription, Some("403::subscription_invalid")));
    }
    assert_eq!(b.engine.census().topics, 0);
}

#[test]
fn must_5_a_disconnect_ends_the_session() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    let reply = b.text(client.up, &client.disconnect().to_string());
    assert_eq!(reply, r#"[{"channel":"/meta/disconnect","id":"d","successful":true}]"#);
    let census = b.engine.census();
    assert_eq!((census.sessions, census.topics, census.browsers, census.queued_bytes), (0, 0, 0, 0));
    assert_eq!(b.tell(client.up, &client.disconnect()), unknown("/meta/disconnect", "d"));
}

#[test]
fn must_5_what_follows_a_disconnect_in_its_batch_is_of_an_unknown_session() {
    let mut b = Bench::new();
    let client = b.client();
    let replies = b.say(client.up, &json!([client.connect(), client.disconnect(), client.publish("/a", 1)]));
    assert_eq!(
        replies,
        json!([
            {"channel": "/meta/disconnect", "id": "d", "successful": true},
            unknown("/a", "p"),
            unknown_connect(),
        ])
    );
}

#[test]
fn must_5_a_publish_without_data_is_402() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    let message = json!({"channel": "/a", "clientId": client.id, "id": 1});
    assert_eq!(
        b.tell(client.up, &message),
        json!({"channel": "/a", "id": 1, "successful": false, "error": "402::data_missing"})
    );
    assert_eq!(b.events(&client), [] as [Value; 0]);
}

#[test]
fn must_5_every_kind_of_message_of_an_unknown_session_is_402_and_only_connects_get_advice() {
    let mut b = Bench::new();
    let client = b.client();
    let gone = b.client();
    b.tell(gone.up, &gone.disconnect());
    let mut wrong = client.clone();
    let last = if client.id.ends_with('a') { "q" } else { "a" };
    wrong.id.replace_range(31.., last);
    let mut longer = client.clone();
    longer.id.push('a');
    let mut upper = client.clone();
    upper.id = client.id.to_ascii_uppercase();
    let mut empty = client.clone();
    empty.id.clear();
    for stranger in [gone, wrong, longer, upper, empty] {
        let batch = json!([
            stranger.subscribe("/a"),
            stranger.unsubscribe("/a"),
            stranger.publish("/a", 1),
            stranger.publish("/service/a", 1),
            stranger.disconnect(),
            stranger.connect(),
        ]);
        let mut expected = json!([
            unknown("/meta/subscribe", "s"),
            unknown("/meta/unsubscribe", "u"),
            unknown("/a", "p"),
            unknown("/service/a", "p"),
            unknown("/meta/disconnect", "d"),
            unknown_connect(),
        ]);
        expected[0]["subscription"] = json!("/a");
        expected[1]["subscription"] = json!("/a");
        assert_eq!(b.say(client.up, &batch), expected, "{}", stranger.id);
    }
    assert_eq!(b.sessions(), 1);
}

#[test]
fn must_5_a_message_without_a_channel_is_400() {
    let mut b = Bench::new();
    let client = b.client();
    for members in [json!({}), json!({"channel": null}), json!({"clientId": client.id, "data": 1})] {
        assert_eq!(
            b.tell(client.up, &members),
            json!({"channel": "", "successful": false, "error": "400::channel_missing"})
        );
    }
}

#[test]
fn must_5_publish_replies_never_carry_events() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    b.hold(&client);
    let replies = b.say(client.up, &json!([client.publish("/a", 1), client.publish("/a", 2)]));
    let ack = json!({"channel": "/a", "id": "p", "successful": true});
    assert_eq!(replies, json!([ack, ack]));
    let held = b.one(client.down).json();
    assert_eq!((&held[0]["data"], &held[1]["data"]), (&json!(1), &json!(2)), "its own events come on its connect");
    assert_eq!(b.tell(client.up, &client.publish("/a", 3)), ack);
    assert_eq!(b.tell(client.up, &client.subscribe("/b")), echoed("subscribe", &json!("/b"), None));
    assert_eq!(b.events(&client), [json!({"channel": "/a", "data": 3})], "and wait for the next one");
}

#[test]
fn must_5_error_strings_repeat_at_most_256_bytes() {
    let mut b = Bench::new();
    let client = b.client();
    let name = format!("/{}", "é".repeat(200));
    let reply = b.tell(client.up, &client.publish(&name, 1));
    assert_eq!(reply["error"], format!("405:/{}:channel_invalid", "é".repeat(127)));
    assert_eq!(reply["channel"], json!(name));
}
