//! Policies that answer later, when by then somebody is gone.

use serde_json::{Value, json};

use super::super::bench::{Bench, HANDSHAKE, Post, unknown};
use super::super::sockets::{closing, frame, messages, say, upgrade};
use super::{Later, allow, ask, comes_to_rest, deny, done, with_hooks};
use crate::conn::ConnKey;
use crate::hooks::Command;

fn publishes(operation: &str, _: &str) -> bool {
    operation == "publish"
}

fn sockets(later: &Later) -> Bench {
    Bench::with(|setup| {
        setup.hooks = later.hooks(publishes);
        setup.broker.transports = vec!["long-polling", "websocket"];
    })
}

/// A session on a WebSocket whose connect is held.
fn client(b: &mut Bench) -> (ConnKey, String) {
    let conn = upgrade(b, "");
    let replies = say(b, conn, &serde_json::from_str(HANDSHAKE).unwrap());
    let id = replies[0][0]["clientId"].as_str().unwrap().to_owned();
    let connect = json!({"channel": "/meta/connect", "clientId": id, "connectionType": "websocket", "id": "c"});
    say(b, conn, &connect);
    assert_eq!(say(b, conn, &connect), Vec::<Value>::new(), "held");
    (conn, id)
}

#[test]
fn what_is_allowed_when_its_connection_is_gone_happens_even_so() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(publishes));
    let (publisher, hearer) = (b.client(), b.subscriber("/a"));
    ask(&mut b, publisher.up, &json!([publisher.publish("/a", 1), publisher.glance()]));
    b.cut(publisher.up);
    allow(&mut b, later.one("publish /a"));
    assert_eq!(b.events(&hearer), [json!({"channel": "/a", "data": 1})]);
    assert_eq!(b.events(&publisher), Vec::<Value>::new());
    b.hold(&publisher);
    comes_to_rest(&mut b, &[&publisher, &hearer]);
}

#[test]
fn a_handshake_whose_client_is_gone_makes_a_session_that_expires() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(|operation, _| operation == "handshake"));
    let conn = b.open();
    b.give(conn, &Post::new(HANDSHAKE).bytes());
    b.cut(conn);
    allow(&mut b, later.one("handshake "));
    assert_eq!(b.sessions(), 1);
    b.advance(10_000);
    assert_eq!(b.sessions(), 0);
    comes_to_rest(&mut b, &[]);
}

#[test]
fn a_batch_of_a_websocket_that_is_gone_leaves_its_session_reachable_elsewhere() {
    let later = Later::default();
    let mut b = sockets(&later);
    let (conn, id) = client(&mut b);
    let connect = json!({"channel": "/meta/connect", "clientId": id, "connectionType": "websocket", "id": "c"});
    let subscribe = json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/a"});
    say(&mut b, conn, &subscribe);
    let publish = json!({"channel": "/b", "clientId": id, "data": 1, "id": "p"});
    assert_eq!(say(&mut b, conn, &json!([publish, connect])), Vec::<Value>::new());
    b.cut(conn);
    allow(&mut b, later.one("publish /b"));
    b.engine.check_links();
    b.inject("/a", "2");
    let other = upgrade(&mut b, "");
    let heard = say(&mut b, other, &connect);
    assert!(heard.contains(&json!([{"channel": "/a", "data": 2}])), "{heard:?}");
    b.cut(other);
    comes_to_rest(&mut b, &[]);
}

#[test]
fn a_websocket_whose_session_was_ended_hears_that_and_nothing_of_what_waited() {
    let later = Later::default();
    let mut b = sockets(&later);
    let (conn, id) = client(&mut b);
    let publish = json!({"channel": "/b", "clientId": id, "data": 1, "id": "p"});
    assert_eq!(say(&mut b, conn, &publish), Vec::<Value>::new());
    assert!(b.command(&Command::DisconnectClient(id)));
    let frames = b.bytes(conn);
    let text = String::from_utf8_lossy(&frames);
    assert!(text.contains("/meta/disconnect") && !text.contains("session_unknown"), "{text}");
    allow(&mut b, later.one("publish /b"));
    assert_eq!((b.raw(conn).as_str(), b.published()), ("", 0));
    b.engine.check_links();
    b.cut(conn);
    comes_to_rest(&mut b, &[]);
}

/// One of two sessions of a WebSocket ends: the other one keeps it, and what waited is answered there.
#[test]
fn a_websocket_of_several_sessions_hears_what_becomes_of_what_waited() {
    let later = Later::default();
    let mut b = sockets(&later);
    let (conn, first) = client(&mut b);
    let second = say(&mut b, conn, &serde_json::from_str(HANDSHAKE).unwrap())[0][0]["clientId"].clone();
    let connect = json!({"channel": "/meta/connect", "clientId": second, "connectionType": "websocket", "id": "c"});
    let publish = json!({"channel": "/b", "clientId": first, "data": 1, "id": "p"});
    say(&mut b, conn, &connect);
    assert_eq!(say(&mut b, conn, &publish), Vec::<Value>::new());
    assert!(b.command(&Command::DisconnectClient(first)));
    let heard = messages(&mut b, conn);
    assert_eq!(heard.last(), Some(&json!([unknown("/b", "p")])), "{heard:?}");
    // A batch with a connect goes on as it would have begun.
    let publish = json!({"channel": "/b", "clientId": second, "data": 1, "id": "p"});
    later.take();
    assert_eq!(say(&mut b, conn, &json!([publish, connect])), Vec::<Value>::new());
    allow(&mut b, later.one("publish /b"));
    let connected = json!({"channel": "/meta/connect", "id": "c", "successful": true});
    assert_eq!(messages(&mut b, conn), [json!([done("/b", "p"), connected])]);
    assert_eq!(say(&mut b, conn, &connect), Vec::<Value>::new(), "held there");
    b.engine.check_links();
    b.cut(conn);
    comes_to_rest(&mut b, &[]);
}

#[test]
fn nothing_follows_the_close_of_a_websocket() {
    let later = Later::default();
    let mut b = sockets(&later);
    let (conn, id) = client(&mut b);
    let publish = json!({"channel": "/b", "clientId": id, "data": 1, "id": "p"});
    let glance = json!({"channel": "/meta/connect", "clientId": id, "id": "c", "advice": {"timeout": 0}});
    assert_eq!(say(&mut b, conn, &json!([publish, glance])), Vec::<Value>::new());
    b.give(conn, &frame("[{"));
    assert_eq!(closing(&mut b, conn), 1007);
    allow(&mut b, later.one("publish /b"));
    assert_eq!(b.raw(conn), "");
    b.engine.check_links();
    b.cut(conn);
    comes_to_rest(&mut b, &[]);
}

#[test]
fn what_waits_for_a_session_that_was_ended_fails_at_once() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(publishes));
    let (client, hearer) = (b.client(), b.subscriber("/**"));
    let elsewhere = b.open();
    ask(&mut b, client.up, &client.publish("/a", 1));
    ask(&mut b, elsewhere, &json!([client.publish("/b", 2), client.subscribe("/c")]));
    assert!(b.command(&Command::DisconnectClient(client.id.clone())));
    assert_eq!(b.one(client.up).json(), json!([unknown("/a", "p")]));
    let unsubscribed = json!({"channel": "/meta/subscribe", "id": "s", "successful": false,
        "error": "402::session_unknown", "subscription": "/c"});
    assert_eq!(b.one(elsewhere).json(), json!([unknown("/b", "p"), unsubscribed]));
    allow(&mut b, later.one("publish /a"));
    assert_eq!((b.raw(client.up).as_str(), b.published()), ("", 0));
    b.cut(elsewhere);
    comes_to_rest(&mut b, &[&client, &hearer]);
}

#[test]
fn what_waits_for_a_session_that_expires_fails_in_that_turn() {
    let later = Later::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = later.hooks(publishes);
        setup.limits.defer_ms = 3_600_000;
    });
    let client = b.client();
    ask(&mut b, client.up, &client.publish("/a", 1));
    b.advance(9_999);
    assert_eq!((b.raw(client.up).as_str(), b.sessions()), ("", 1));
    // The rest of that turn, and no other one: nothing else may happen for long.
    b.time_out_once(1);
    b.flush();
    assert_eq!(b.sessions(), 0);
    assert_eq!(b.one(client.up).json(), json!([unknown("/a", "p")]));
    allow(&mut b, later.one("publish /a"));
    comes_to_rest(&mut b, &[&client]);
}

#[test]
fn a_disconnect_waits_for_its_turn_and_what_stands_behind_it_fails() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(publishes));
    let client = b.client();
    let (second, third) = (b.open(), b.open());
    b.hold(&client);
    ask(&mut b, client.up, &client.publish("/a", 1));
    ask(&mut b, second, &client.disconnect());
    ask(&mut b, third, &client.publish("/b", 2));
    allow(&mut b, later.one("publish /a"));
    assert_eq!(b.one(client.up).json(), json!([done("/a", "p")]));
    assert_eq!(b.one(second).json(), json!([done("/meta/disconnect", "d")]));
    assert_eq!(b.one(third).json(), json!([unknown("/b", "p")]));
    assert_eq!(b.one(client.down).json()[0]["advice"]["reconnect"], "none");
    assert_eq!(later.take(), []);
    b.cut(second);
    b.cut(third);
    comes_to_rest(&mut b, &[&client]);
}

#[test]
fn a_server_that_ends_waits_for_answers_of_its_policy() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(publishes));
    let client = b.client();
    ask(&mut b, client.up, &client.publish("/a", 1));
    b.drain(5_000);
    b.advance(2_000);
    assert!(!b.engine.is_drained());
    allow(&mut b, later.one("publish /a"));
    let response = b.one(client.up);
    assert_eq!((response.json(), response.field("Connection")), (json!([done("/a", "p")]), Some("close")));
    for conn in [client.up, client.down] {
        b.cut(conn);
    }
    assert!(b.engine.is_drained());
    comes_to_rest(&mut b, &[&client]);
}

#[test]
fn a_websocket_of_a_server_that_ends_is_closed_and_what_waits_is_done_without_it() {
    let later = Later::default();
    let mut b = sockets(&later);
    let (conn, id) = client(&mut b);
    let publish = json!({"channel": "/b", "clientId": id, "data": 1, "id": "p"});
    assert_eq!(say(&mut b, conn, &publish), Vec::<Value>::new());
    b.drain(5_000);
    b.advance(1_000);
    let last = b.bytes(conn);
    assert!(!last.is_empty());
    deny(&mut b, later.one("publish /b"), "no");
    assert_eq!(b.raw(conn), "");
    b.cut(conn);
    comes_to_rest(&mut b, &[]);
}

#[test]
fn an_answer_to_a_websocket_goes_among_its_events() {
    let later = Later::default();
    let mut b = sockets(&later);
    let (conn, id) = client(&mut b);
    say(&mut b, conn, &json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/a"}));
    assert_eq!(say(&mut b, conn, &json!({"channel": "/a", "clientId": id, "data": 1, "id": "p"})), Vec::<Value>::new());
    b.inject("/a", "0");
    assert_eq!(messages(&mut b, conn), [json!([{"channel": "/a", "data": 0}])]);
    allow(&mut b, later.one("publish /a"));
    let heard = messages(&mut b, conn);
    assert!(heard.contains(&json!([done("/a", "p")])) && heard.contains(&json!([{"channel": "/a", "data": 1}])));
    b.cut(conn);
    comes_to_rest(&mut b, &[]);
}
