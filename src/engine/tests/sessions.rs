//! Section 6: client ids, expiry, browser cookies, and several sessions of one browser.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::bench::{
    Bench, Client, HANDSHAKE, PROXY, Post, Response, STRANGER, connected, retry, unknown, unknown_connect,
};

const COOKIE: &str = "own.Cookie_1-x";

/// A handshake with these fields, from there.
fn handshake(b: &mut Bench, peer: &str, fields: &[(&str, &str)]) -> Response {
    let conn = b.open_from(peer);
    let post = fields.iter().fold(Post::new(HANDSHAKE), |post, (name, value)| post.field(name, value));
    b.exchange(conn, &post.bytes())
}

/// The value of the cookie that a response sets.
fn issued(response: &Response) -> String {
    let set = response.field("Set-Cookie").unwrap();
    let (value, _) = set.strip_prefix("BAYEUX_BROWSER=").unwrap().split_once(';').unwrap();
    value.to_owned()
}

/// A client that says it is this browser in everything.
fn say_as(b: &mut Bench, client: &Client, cookie: &str, messages: &Value) -> Value {
    b.exchange(client.up, &Post::json(messages).cookie(cookie).bytes()).json()
}

#[test]
fn must_6_client_ids_are_letters_and_digits_and_never_the_same() {
    let mut b = Bench::new();
    let mut seen = HashSet::new();
    for _ in 0..500 {
        let client = b.handshake();
        assert!(client.id.len() >= 26 && client.id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{}", client.id);
        assert!(seen.insert(client.id.clone()));
        assert_eq!(b.tell(client.up, &client.disconnect())["successful"], true, "the next one may take its place");
    }
}

#[test]
fn must_6_a_client_id_is_never_proposed_by_the_client() {
    let mut b = Bench::new();
    let client = b.client();
    for proposed in ["mine", client.id.as_str()] {
        let message = json!({"channel": "/meta/handshake", "clientId": proposed});
        let reply = b.post(&Post::json(&message)).json()[0].clone();
        assert_eq!(reply["successful"], true);
        assert_ne!(reply["clientId"], proposed);
    }
    assert_eq!(b.sessions(), 3);
}

#[test]
fn must_6_a_client_id_is_never_reused_though_its_place_is() {
    let mut b = Bench::new();
    let old = b.client();
    b.tell(old.up, &old.disconnect());
    let new = b.client();
    assert_eq!(old.id[..6], new.id[..6], "the same place");
    assert_ne!(old.id, new.id);
    assert_eq!(b.say(old.down, &old.connect()), json!([unknown_connect()]));
    assert_eq!(b.sessions(), 1);
}

#[test]
fn must_6_no_event_shows_a_client_id() {
    let mut b = Bench::new();
    let (reader, writer) = (b.subscriber("/**"), b.client());
    b.tell(writer.up, &writer.publish("/a", 1));
    assert_eq!(b.events(&reader), [json!({"channel": "/a", "data": 1})]);
}

#[test]
fn must_6_every_message_of_a_batch_is_checked() {
    let mut b = Bench::new();
    let victim = b.subscriber("/a");
    let thief = b.client();
    let mut guess = victim.clone();
    guess.id.replace_range(8.., &thief.id[8..]);
    let batch = json!([
        thief.publish("/b", 1),
        guess.publish("/a", 1),
        guess.subscribe("/b"),
        guess.unsubscribe("/a"),
        guess.disconnect(),
        thief.publish("/b", 1),
        guess.connect(),
    ]);
    let replies = b.say(thief.up, &batch);
    let successful: Vec<&Value> = replies.as_array().unwrap().iter().map(|reply| &reply["successful"]).collect();
    assert_eq!(successful, [true, false, false, false, false, true, false]);
    assert_eq!((b.sessions(), b.engine.census().topics), (2, 1));
    assert_eq!(b.events(&victim), [] as [Value; 0]);
}

#[test]
fn must_6_a_session_of_another_browser_is_unknown_in_any_message_of_a_batch() {
    let mut b = Bench::new();
    let victim = b.handshake_with(Some(COOKIE));
    let thief = b.handshake_with(Some("thief"));
    let kinds = [
        victim.subscribe("/a"),
        victim.unsubscribe("/a"),
        victim.publish("/a", 1),
        victim.disconnect(),
        victim.glance(),
    ];
    for message in kinds {
        let channel = message["channel"].as_str().unwrap();
        let mut expected = unknown(channel, message["id"].as_str().unwrap());
        if channel == "/meta/connect" {
            expected = unknown_connect();
        } else if let Some(subscription) = message.get("subscription") {
            expected["subscription"] = subscription.clone();
        }
        assert_eq!(say_as(&mut b, &thief, "thief", &message), json!([expected]), "alone");
        let replies =
            say_as(&mut b, &thief, "thief", &json!([thief.publish("/b", 1), message, thief.publish("/b", 2)]));
        assert!(replies.as_array().unwrap().contains(&expected), "{replies}");
        assert_eq!(replies.as_array().unwrap().iter().filter(|reply| reply["successful"] == true).count(), 2);
    }
    assert_eq!(b.sessions(), 2);
    assert_eq!(say_as(&mut b, &victim, COOKIE, &victim.glance())[0]["successful"], true);
}

#[test]
fn must_6_a_foreign_connect_does_not_end_the_held_one() {
    let mut b = Bench::new();
    let victim = b.handshake_with(Some(COOKIE));
    b.say(victim.down, &victim.connect());
    b.hold(&victim);
    assert_eq!(say_as(&mut b, &victim, "thief", &victim.connect()), json!([unknown_connect()]));
    b.advance(30_000);
    assert_eq!(b.one(victim.down).json(), json!([connected()]));
}

#[test]
fn must_6_a_handshake_without_the_cookie_sets_it() {
    let mut b = Bench::new();
    let response = handshake(&mut b, STRANGER, &[]);
    let value = issued(&response);
    assert_eq!(
        response.field("Set-Cookie").unwrap(),
        format!("BAYEUX_BROWSER={value}; Path=/; HttpOnly; SameSite=Lax")
    );
    assert!(value.len() >= 26 && value.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{value}");
    assert_ne!(issued(&handshake(&mut b, STRANGER, &[("Cookie", "other=1")])), value);
    let id = response.json()[0]["clientId"].as_str().unwrap().to_owned();
    assert!(!id.contains(&value) && !value.contains(&id));
    let client = Client { id, down: b.open(), up: b.open() };
    assert_eq!(say_as(&mut b, &client, &value, &client.connect())[0]["advice"], retry());
    assert_eq!(say_as(&mut b, &client, "x", &client.connect()), json!([unknown_connect()]), "bound to the issued one");
}

#[test]
fn must_6_only_a_handshake_sets_the_cookie() {
    let mut b = Bench::new();
    let client = b.client();
    for message in [client.glance(), client.subscribe("/a"), client.publish("/a", 1), client.disconnect()] {
        assert_eq!(b.exchange(client.up, &Post::json(&message).bytes()).field("Set-Cookie"), None);
    }
}

#[test]
fn must_6_a_well_formed_unknown_cookie_is_adopted_and_never_replaced() {
    let mut b = Bench::new();
    let longest = "x".repeat(64);
    for value in ["1", COOKIE, "abcdefghijklmnopqrstuvwxyz", &longest] {
        let cookie = format!("a=b; BAYEUX_BROWSER={value}; c=d");
        let response = handshake(&mut b, STRANGER, &[("Cookie", &cookie)]);
        assert_eq!(response.field("Set-Cookie"), None, "{value}");
        let id = response.json()[0]["clientId"].as_str().unwrap().to_owned();
        let client = Client { id, down: b.open(), up: b.open() };
        assert_eq!(say_as(&mut b, &client, value, &client.connect())[0]["successful"], true, "{value}");
        assert_eq!(say_as(&mut b, &client, "2", &client.connect()), json!([unknown_connect()]));
    }
}

#[test]
fn must_6_a_malformed_cookie_is_replaced_at_the_handshake() {
    let mut b = Bench::new();
    let long = "x".repeat(65);
    for value in ["", "a b", "a,b", "<x>", "a\"b", "\u{e9}", &long] {
        let response = handshake(&mut b, STRANGER, &[("Cookie", &format!("BAYEUX_BROWSER={value}"))]);
        assert_eq!(response.json()[0]["successful"], true, "{value:?}");
        assert_ne!(issued(&response), value);
    }
}

#[test]
fn must_6_a_malformed_cookie_is_another_cookie() {
    let mut b = Bench::new();
    let client = b.client();
    for value in ["", "a b", "<x>", "\u{e9}"] {
        assert_eq!(say_as(&mut b, &client, value, &client.glance()), json!([unknown_connect()]), "{value:?}");
    }
    let mut bytes = Post::json(&client.glance()).cookie("#").bytes();
    let place = bytes.windows(3).position(|three| three == b"=#\r").unwrap();
    bytes[place + 1] = 0xff;
    assert_eq!(b.exchange(client.up, &bytes).json(), json!([unknown_connect()]), "not UTF-8");
}

#[test]
fn must_6_the_cookie_is_secure_if_a_trusted_proxy_says_https() {
    for (peer, proto, secure) in [
        (PROXY, "https", true),
        (PROXY, "HTTPS", true),
        (PROXY, "http, https", true),
        (PROXY, "https, http", false),
        (PROXY, "http", false),
        (STRANGER, "https", false),
    ] {
        let mut b = Bench::new();
        let response = handshake(&mut b, peer, &[("X-Forwarded-Proto", proto)]);
        let set = response.field("Set-Cookie").unwrap();
        assert_eq!(set.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), secure, "{peer} {proto}: {set}");
        assert_eq!(set.ends_with("; SameSite=Lax"), !secure, "{set}");
    }
}

#[test]
fn must_6_a_request_without_a_cookie_is_accepted() {
    let mut b = Bench::new();
    let client = b.handshake_with(Some(COOKIE));
    assert_eq!(b.say(client.down, &client.connect())[0]["successful"], true);
    assert_eq!(b.tell(client.up, &client.publish("/a", 1))["successful"], true);
}

#[test]
fn must_6_a_request_without_a_cookie_is_unknown_if_one_is_required() {
    let mut b = Bench::with(|setup| setup.broker.require_browser_cookie = true);
    let client = b.handshake_with(Some(COOKIE));
    assert_eq!(b.say(client.down, &client.connect()), json!([unknown_connect()]));
    assert_eq!(b.tell(client.up, &client.publish("/a", 1)), unknown("/a", "p"));
    assert_eq!(say_as(&mut b, &client, COOKIE, &client.glance())[0]["successful"], true);
    assert_eq!(say_as(&mut b, &client, "other", &client.glance()), json!([unknown_connect()]));
}

/// Five sessions of one browser, ready to be held.
fn five(b: &mut Bench) -> Vec<Client> {
    let clients: Vec<Client> = (0..5).map(|_| b.handshake_with(Some(COOKIE))).collect();
    for client in &clients {
        assert_eq!(b.say(client.down, &client.connect())[0]["advice"], retry(), "the first connect is nothing special");
    }
    clients
}

/// What the fifth session is answered.
fn crowded() -> Value {
    json!([{"channel": "/meta/connect", "id": "c", "successful": true, "advice":
        {"multiple-clients": true, "reconnect": "retry", "interval": 2_000, "timeout": 30_000}}])
}

#[test]
fn must_6_four_sessions_of_a_browser_are_held_and_the_fifth_is_answered_at_once() {
    let mut b = Bench::new();
    let clients = five(&mut b);
    for client in &clients[..4] {
        b.hold(client);
    }
    assert_eq!(b.say(clients[4].down, &clients[4].connect()), crowded());
    let sent = b.open();
    let fifth = b.handshake_with(Some(COOKIE));
    b.say(sent, &fifth.connect());
    assert_eq!(b.say(sent, &fifth.glance())[0]["advice"], retry(), "one that does not want to be held is not too many");
    let other = b.client();
    b.hold(&other);
    assert_eq!(b.raw(clients[0].down), "", "nobody else is disturbed");
}

#[test]
fn must_6_a_browsers_place_is_free_again_however_a_hold_ends() {
    type End = fn(&mut Bench, &Client);
    let endings: [(&str, End); 6] = [
        ("an event", |b, client| {
            b.tell(client.up, &client.subscribe("/a"));
            assert!(b.inject("/a", "1"));
        }),
        ("its timeout", |b, client| {
            b.give(
                client.down,
                &Post::json(&json!({"channel": "/meta/connect", "clientId": client.id,
                "advice": {"timeout": 5}}))
                .bytes(),
            );
            b.advance(5);
        }),
        ("a lost connection", |b, client| b.cut(client.down)),
        ("a FIN", |b, client| b.fin(client.down)),
        ("a disconnect", |b, client| assert_eq!(b.tell(client.up, &client.disconnect())["successful"], true)),
        ("a newer connect", |b, client| assert_eq!(b.say(client.up, &client.glance())[0]["successful"], true)),
    ];
    for (name, end) in endings {
        let mut b = Bench::new();
        let clients = five(&mut b);
        for client in &clients[..4] {
            b.hold(client);
        }
        end(&mut b, &clients[0]);
        b.hold(&clients[4]);
        let sixth = b.handshake_with(Some(COOKIE));
        b.say(sixth.down, &sixth.connect());
        assert_eq!(b.say(sixth.down, &sixth.connect()), crowded(), "{name} frees one place only");
    }
}

#[test]
fn must_6_a_session_takes_its_own_place_over() {
    let mut b = Bench::new();
    let clients = five(&mut b);
    for client in &clients[..4] {
        b.hold(client);
    }
    b.give(clients[3].up, &Post::json(&clients[3].connect()).bytes());
    assert_eq!((b.raw(clients[3].up), b.one(clients[3].down).status), (String::new(), 500));
}

#[test]
fn must_6_the_number_of_a_browsers_sessions_can_be_set() {
    for (most, held) in [(Some(0), 0), (Some(1), 1), (Some(5), 5), (None, 5)] {
        let mut b = Bench::with(|setup| setup.broker.max_sessions_per_browser = most);
        let mut quiet = 0;
        for client in five(&mut b) {
            b.give(client.down, &Post::json(&client.connect()).bytes());
            quiet += usize::from(b.raw(client.down).is_empty());
        }
        assert_eq!(quiet, held, "{most:?}");
    }
}

#[test]
fn must_6_what_a_browsers_first_session_holds_counts_when_a_second_one_comes() {
    let mut b = Bench::with(|setup| setup.broker.max_sessions_per_browser = Some(1));
    let mut client = || {
        let client = b.handshake_with(Some(COOKIE));
        b.say(client.down, &client.connect());
        b.give(client.down, &Post::json(&client.connect()).bytes());
        let held = b.raw(client.down).is_empty();
        (client, held)
    };
    let ((first, first_held), (second, second_held)) = (client(), client());
    assert!(first_held && !second_held);
    b.cut(first.down);
    b.hold(&second);
    b.give(first.up, &Post::json(&first.connect()).bytes());
    assert!(!b.raw(first.up).is_empty(), "the first one asks as well now");
}

#[test]
fn must_6_sessions_without_a_cookie_are_of_different_browsers() {
    let mut b = Bench::new();
    for _ in 0..6 {
        let client = b.client();
        b.hold(&client);
    }
}

#[test]
fn must_6_a_session_that_handshakes_and_never_connects_is_removed_after_max_interval() {
    let mut b = Bench::new();
    let client = b.handshake();
    b.advance(5_000);
    assert_eq!(b.tell(client.up, &client.publish("/a", 1))["successful"], true);
    b.advance(4_999);
    assert_eq!(b.sessions(), 1);
    b.advance(1);
    assert_eq!(b.sessions(), 0, "messages other than a connect do not help");
    assert_eq!(b.say(client.down, &client.connect()), json!([unknown_connect()]));
}

#[test]
fn must_6_a_session_expires_interval_and_max_interval_after_its_answer() {
    for (interval, max_interval) in [(0, 10_000), (500, 2_000), (3_000, 1)] {
        let mut b =
            Bench::with(|setup| (setup.broker.interval_ms, setup.broker.max_interval_ms) = (interval, max_interval));
        let grace = u64::from(interval + max_interval);
        let client = b.client();
        b.advance(grace - 1);
        assert_eq!(b.sessions(), 1);
        b.advance(1);
        assert_eq!(b.sessions(), 0, "{interval} {max_interval}");
        assert_eq!(b.tell(client.up, &client.publish("/a", 1)), unknown("/a", "p"));
    }
}

#[test]
fn must_6_the_interval_that_a_client_asks_for_is_waited_for() {
    let mut b = Bench::new();
    let client = b.client();
    let mut connect = client.connect();
    for (asked, waited) in [(7_000, 7_000), (10_000_000, 600_000)] {
        connect["advice"] = json!({"timeout": 0, "interval": asked});
        b.say(client.down, &connect);
        b.advance(waited + 9_999);
        assert_eq!(b.sessions(), 1, "{asked}");
    }
    b.advance(1);
    assert_eq!(b.sessions(), 0);
}

#[test]
fn must_6_expiry_is_suspended_while_a_connect_is_held() {
    let mut b = Bench::with(|setup| setup.broker.timeout_ms = 500_000);
    let client = b.client();
    b.advance(9_000);
    b.hold(&client);
    b.advance(499_999);
    assert_eq!((b.sessions(), b.raw(client.down).as_str()), (1, ""));
    b.advance(1);
    assert_eq!(b.one(client.down).json(), json!([connected()]));
    b.advance(9_999);
    assert_eq!(b.sessions(), 1);
    b.advance(1);
    assert_eq!(b.sessions(), 0);
}

#[test]
fn must_6_expiry_starts_when_the_response_has_been_written() {
    let mut b = Bench::with(|setup| setup.limits.write_ms = 60_000);
    let client = b.client();
    b.hold(&client);
    b.stall(client.down);
    b.advance(30_000);
    b.advance(40_000);
    assert_eq!(b.sessions(), 1, "the answer is not written yet");
    b.unstall(client.down);
    assert_eq!(b.one(client.down).json(), json!([connected()]));
    b.advance(9_999);
    assert_eq!(b.sessions(), 1);
    b.advance(1);
    assert_eq!(b.sessions(), 0);
}

#[test]
fn must_6_a_response_that_is_never_written_starts_expiry_when_its_connection_ends() {
    let mut b = Bench::new();
    let client = b.client();
    b.hold(&client);
    b.stall(client.down);
    b.advance(30_000);
    b.advance(10_000);
    assert!(b.is_closed(client.down), "nothing was taken for so long");
    b.advance(9_999);
    assert_eq!(b.sessions(), 1);
    b.advance(1);
    assert_eq!(b.sessions(), 0);
}

#[test]
fn must_6_expiry_of_two_sessions_answered_in_one_response() {
    let mut b = Bench::new();
    let (one, two) = (b.client(), b.client());
    b.advance(5_000);
    b.say(one.down, &json!([one.connect(), two.connect()]));
    b.advance(9_999);
    assert_eq!(b.sessions(), 2);
    b.advance(1);
    assert_eq!(b.sessions(), 0);
}

#[test]
fn must_6_closing_tcp_does_not_end_a_session() {
    let mut b = Bench::new();
    let mut client = b.subscriber("/a");
    b.cut(client.down);
    b.cut(client.up);
    b.advance(9_999);
    (client.down, client.up) = (b.open(), b.open());
    assert_eq!(b.tell(client.up, &client.publish("/a", 1))["successful"], true);
    assert_eq!(b.events(&client), [json!({"channel": "/a", "data": 1})]);
}

#[test]
fn must_6_other_messages_extend_a_session() {
    for kind in 0..4 {
        let mut b = Bench::new();
        let client = b.client();
        b.advance(9_000);
        let messages = [
            client.publish("/a", 1),
            client.subscribe("/a"),
            client.unsubscribe("/a"),
            client.publish("/service/a", 1),
        ];
        assert_eq!(b.tell(client.up, &messages[kind])["successful"], true);
        b.advance(9_999);
        assert_eq!(b.sessions(), 1, "{}", messages[kind]);
        b.advance(1);
        assert_eq!(b.sessions(), 0);
    }
}

#[test]
fn must_6_messages_never_extend_a_session_beyond_timeout_interval_and_max_interval() {
    let mut b = Bench::with(|setup| {
        (setup.broker.timeout_ms, setup.broker.interval_ms, setup.broker.max_interval_ms) = (30_000, 1_000, 10_000);
    });
    let client = b.client();
    for _ in 0..8 {
        b.advance(5_000);
        assert_eq!(b.tell(client.up, &client.publish("/a", 1))["successful"], true);
    }
    b.advance(999);
    assert_eq!(b.tell(client.up, &client.publish("/a", 1))["successful"], true, "40.999 s after its connect");
    b.advance(1);
    assert_eq!(b.sessions(), 0);
    assert_eq!(b.tell(client.up, &client.publish("/a", 1)), unknown("/a", "p"), "its next reply says so");
    assert_eq!(b.engine.counters().no_connects, 1);
}

#[test]
fn must_6_a_client_that_vanishes_is_not_taken_for_one_that_no_longer_receives() {
    let mut b = Bench::new();
    let (silent, once) = (b.client(), b.client());
    b.advance(1_000);
    assert_eq!(b.tell(once.up, &once.publish("/a", 1))["successful"], true);
    b.cut(once.up);
    b.cut(silent.up);
    b.advance(20_000);
    assert_eq!((b.sessions(), b.engine.counters().no_connects), (0, 0), "neither goes on sending");
}

#[test]
fn must_6_a_connect_in_time_starts_anew() {
    let mut b = Bench::new();
    let client = b.client();
    for _ in 0..5 {
        b.advance(9_999);
        assert_eq!(b.say(client.down, &client.glance())[0]["successful"], true);
    }
    for _ in 0..4 {
        b.advance(9_000);
        b.tell(client.up, &client.publish("/a", 1));
    }
    b.advance(3_999);
    assert_eq!(b.sessions(), 1, "counted from the last connect");
    b.advance(1);
    assert_eq!(b.sessions(), 0);
}

#[test]
fn must_6_messages_of_a_foreign_browser_extend_nothing() {
    let mut b = Bench::new();
    let client = b.handshake_with(Some(COOKIE));
    b.say(client.down, &client.connect());
    b.advance(9_000);
    assert_eq!(say_as(&mut b, &client, "other", &client.publish("/a", 1)), json!([unknown("/a", "p")]));
    b.advance(1_000);
    assert_eq!(b.sessions(), 0);
}

#[test]
fn must_6_the_interval_advised_to_a_crowded_browser_is_waited_for() {
    let mut b = Bench::with(|setup| {
        setup.broker.max_sessions_per_browser = Some(1);
        setup.broker.multi_session_interval_ms = 20_000;
    });
    let [one, two] = [b.handshake_with(Some(COOKIE)), b.handshake_with(Some(COOKIE))];
    b.say(one.down, &one.connect());
    b.say(two.down, &two.connect());
    b.hold(&one);
    let reply = b.say(two.down, &two.connect());
    assert_eq!(reply[0]["advice"]["interval"], 20_000);
    b.advance(20_000);
    assert_eq!(b.sessions(), 2, "it waits as it was told to");
    b.advance(10_000);
    assert_eq!(b.sessions(), 1, "interval + max-interval");
}

#[test]
fn must_6_nothing_is_kept_when_all_have_gone() {
    let mut b = Bench::new();
    let clients: Vec<Client> = (0..10).map(|n| b.subscriber(format!("/a/{n}"))).collect();
    for (n, client) in clients.iter().enumerate() {
        b.tell(client.up, &client.publish("/a/1", n));
        if n != 1 {
            b.hold(client);
        }
    }
    for client in &clients {
        b.cut(client.up);
        b.cut(client.down);
    }
    b.advance(10_000);
    assert_eq!(b.sessions(), 0);
    assert!(b.engine.is_at_rest(), "{:?}", b.engine.census());
}

#[test]
fn must_6_the_same_calls_give_the_same_bytes() {
    let run = || {
        let mut b = Bench::new();
        let (one, two) = (b.subscriber("/a"), b.subscriber("/**"));
        b.hold(&one);
        b.tell(two.up, &two.publish("/a", 1));
        let fresh = handshake(&mut b, STRANGER, &[]);
        b.advance(30_000);
        (b.raw(one.down), b.text(two.down, &two.glance().to_string()), fresh.head, fresh.body)
    };
    assert_eq!(run(), run());
}
