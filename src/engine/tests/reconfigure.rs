//! Settings that change while the server runs.

use serde_json::json;

use super::bench::{Bench, HANDSHAKE, Post, connected};
use crate::broker;
use crate::engine::Change;
use crate::http::forwarded::TrustedProxies;
use crate::http::host::HostRule;
use crate::http::origin::OriginRule;
use crate::limits::Limits;

fn change(origins: &[&str]) -> Change {
    let origins: Vec<String> = origins.iter().map(|&origin| origin.to_owned()).collect();
    Change {
        hosts: HostRule::default(),
        origins: OriginRule::new(&origins).unwrap(),
        proxies: TrustedProxies::default(),
        publishing: Default::default(),
        demo: false,
        broker: broker::Config::default(),
        limits: Limits::default(),
    }
}

#[test]
fn a_new_timeout_is_told_with_the_next_connect_and_holds_from_then_on() {
    let mut b = Bench::new();
    let client = b.client();
    b.hold(&client);
    let broker = broker::Config { timeout_ms: 5_000, ..broker::Config::default() };
    b.engine.reconfigure(Change { broker, ..change(&[]) }).unwrap();
    b.advance(29_999);
    assert_eq!(b.raw(client.down), "", "a held connect keeps its timeout");
    b.advance(1);
    let advice = json!({"reconnect": "retry", "interval": 0, "timeout": 5_000});
    let mut told = json!([connected()]);
    told[0]["advice"] = advice;
    assert_eq!(b.one(client.down).json(), told);
    b.hold(&client);
    b.advance(5_000);
    assert_eq!(b.one(client.down).json(), json!([connected()]), "told once");
}

#[test]
fn an_answer_is_readable_for_the_page_that_it_was_granted_to() {
    let mut b = Bench::with(|setup| setup.origins = vec!["https://a.example"]);
    let from = |b: &mut Bench, origin: &str| b.post(&Post::new(HANDSHAKE).field("Origin", origin));
    let client = b.client();
    b.give(client.down, &Post::json(&client.connect()).field("Origin", "https://a.example").bytes());
    b.engine.reconfigure(change(&["https://b.example"])).unwrap();
    assert_eq!(from(&mut b, "https://a.example").status, 403);
    let granted = from(&mut b, "https://b.example");
    assert_eq!(granted.field("Access-Control-Allow-Origin"), Some("https://b.example"));
    b.advance(30_000);
    assert_eq!(b.one(client.down).field("Access-Control-Allow-Origin"), Some("https://a.example"));
}

#[test]
fn limits_and_pages_change_at_once() {
    let mut b = Bench::with(|setup| setup.demo = true);
    let conn = b.open();
    let page = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(b.exchange(conn, page).status, 200);
    let limits = Limits { body_bytes: 10, sessions: 1, ..Limits::default() };
    b.engine.reconfigure(Change { limits, ..change(&[]) }).unwrap();
    assert_eq!(b.exchange(conn, page).status, 404);
    assert_eq!(b.post(&Post::new(HANDSHAKE)).status, 413);
}

#[test]
fn a_browsers_places_are_counted_right_when_their_number_changes_meanwhile() {
    let most = |most| broker::Config { max_sessions_per_browser: most, ..broker::Config::default() };
    let mut b = Bench::with(|setup| setup.broker = most(None));
    let clients: Vec<_> = (0..2).map(|_| b.handshake_with(Some("tabs"))).collect();
    let hold = |b: &mut Bench, at: usize| {
        let client: &super::bench::Client = &clients[at];
        b.give(client.down, &Post::json(&client.connect()).cookie("tabs").bytes());
        b.raw(client.down)
    };
    for at in [0, 1] {
        assert_ne!(hold(&mut b, at), "", "the first connect is answered");
    }
    assert_eq!(hold(&mut b, 0), "");
    b.engine.reconfigure(Change { broker: most(Some(1)), ..change(&[]) }).unwrap();
    assert_eq!(hold(&mut b, 1), "", "the hold from before does not count");
    b.engine.reconfigure(Change { broker: most(None), ..change(&[]) }).unwrap();
    b.advance(30_000);
    for at in [0, 1] {
        assert!(b.raw(clients[at].down).contains("\"successful\":true"));
    }
    b.engine.reconfigure(Change { broker: most(Some(1)), ..change(&[]) }).unwrap();
    assert_eq!(hold(&mut b, 0), "", "the place is free again");
    assert!(hold(&mut b, 1).contains("multiple-clients"), "and there is one");
}

#[test]
fn a_shorter_time_holds_for_what_waits_already() {
    let mut b = Bench::new();
    let conn = b.open();
    assert_eq!(b.text(conn, "[]"), "[]");
    let limits = Limits { idle_ms: 1_000, ..Limits::default() };
    b.engine.reconfigure(Change { limits, ..change(&[]) }).unwrap();
    b.advance(1_000);
    assert!(b.is_closed(conn));
}
