//! Section 2: pages of other origins, preflights and proxies.

use serde_json::json;

use super::bench::{Bench, HANDSHAKE, PROXY, Post, Response, STRANGER};
use crate::conn::route::RefusalKind;

const APP: &str = "https://app.example";

fn allowing(origins: &[&'static str]) -> Bench {
    Bench::with(|setup| setup.origins = origins.to_vec())
}

/// The answer to a handshake with this Origin.
fn from_page(b: &mut Bench, origin: &str) -> Response {
    b.post(&Post::new(HANDSHAKE).field("Origin", origin))
}

fn through(b: &mut Bench, peer: &str, fields: &[(&str, &str)]) -> Response {
    let conn = b.open_from(peer);
    let post = fields.iter().fold(Post::new(HANDSHAKE), |post, (name, value)| post.field(name, value));
    b.exchange(conn, &post.bytes())
}

#[test]
fn must_2_the_own_origin_is_allowed_by_http_and_https() {
    let mut b = Bench::new();
    for origin in ["http://h.example", "https://h.example", "HTTP://H.EXAMPLE", "https://h.example:443"] {
        let response = from_page(&mut b, origin);
        assert_eq!(response.json()[0]["successful"], true, "{origin}");
        assert_eq!(response.field("Access-Control-Allow-Origin"), None);
        assert_eq!(response.field("Vary"), None);
    }
    assert_eq!(b.post(&Post::new("[]")).json(), json!([]), "no Origin, no question");
}

#[test]
fn must_2_any_other_origin_is_refused_with_403_and_changes_nothing() {
    let mut b = Bench::new();
    for origin in [
        APP,
        "null",
        "http://h.example:8080",
        "https://h.example:80",
        "http://h.example.evil",
        "http://xh.example",
        "ftp://h.example",
        "h.example",
        "",
        "*",
    ] {
        let response = from_page(&mut b, origin);
        assert_eq!(response.status, 403, "{origin:?}");
        assert_eq!(response.field("Access-Control-Allow-Origin"), None);
    }
    let twice = "POST /cometd HTTP/1.1\r\nHost: h.example\r\nOrigin: http://h.example\r\nOrigin: http://h.example\r\n\
        Content-Length: 2\r\n\r\n[]";
    let conn = b.open();
    assert_eq!(b.exchange(conn, twice.as_bytes()).status, 403, "two origins");
    assert_eq!(b.sessions(), 0);
    assert_eq!(b.engine.refusals.total(RefusalKind::Origin), 11);
}

#[test]
fn must_2_the_403_says_origin_host_and_the_line_that_would_allow_it() {
    let mut b = Bench::new();
    let response = from_page(&mut b, APP);
    assert_eq!(
        response.body,
        "Origin https://app.example may not use Host h.example. \
        To allow it, set allowed-origins = [\"https://app.example\"] or start encke with: \
        --allowed-origins https://app.example\n"
    );
    assert_eq!(response.field("Content-Type"), Some("text/plain;charset=UTF-8"));
    let response = from_page(&mut b, "http://a\tb\u{e9}");
    assert!(response.body.starts_with(r"Origin http://a\x09b\xc3\xa9 may not use Host h.example. "), "{response:?}");
    let response = from_page(&mut b, &"x".repeat(5_000));
    assert!(response.body.len() < 700 && response.body.lines().count() == 1, "{}", response.body.len());
}

#[test]
fn must_2_the_403_suggests_no_line_for_what_is_no_origin() {
    let mut b = Bench::new();
    for origin in ["*", "h.example", "https://a.example; reboot", "https://a.example,*", "https://$(x).example", ""] {
        let response = from_page(&mut b, origin);
        assert_eq!(response.status, 403);
        let line = format!("--allowed-origins {origin}\n");
        assert!(!response.body.ends_with(&line), "it would not allow it, or do something else: {}", response.body);
    }
}

#[test]
fn must_2_the_line_in_the_403_does_allow_it() {
    let mut b = allowing(&[APP]);
    assert_eq!(from_page(&mut b, APP).json()[0]["successful"], true);
}

#[test]
fn must_2_warnings_of_refused_origins_are_rate_limited() {
    let mut b = Bench::new();
    from_page(&mut b, APP);
    assert_eq!(b.engine.refusals.next_report(), None, "the first is told at once");
    for _ in 0..100 {
        from_page(&mut b, APP);
    }
    assert!(b.engine.refusals.next_report().is_some(), "the others wait");
    b.advance(60_000);
    assert_eq!(b.engine.refusals.next_report(), None, "and are told once");
    assert_eq!(b.engine.refusals.total(RefusalKind::Origin), 101);
}

#[test]
fn must_2_a_refused_origin_reaches_no_method() {
    let mut b = Bench::new();
    let conn = b.open();
    for method in ["OPTIONS", "GET", "HEAD", "DELETE"] {
        b.give(conn, format!("{method} /cometd HTTP/1.1\r\nHost: h\r\nOrigin: {APP}\r\n\r\n").as_bytes());
        assert!(b.raw(conn).starts_with("HTTP/1.1 403 Forbidden\r\n"), "{method}");
    }
    let upgrade = format!(
        "GET /cometd HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: {APP}\r\n\r\n"
    );
    assert_eq!(b.exchange(conn, upgrade.as_bytes()).status, 403);
    let stream = format!("GET /cometd/x HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\nOrigin: {APP}\r\n\r\n");
    assert_eq!(b.exchange(conn, stream.as_bytes()).status, 403);
}

#[test]
fn must_2_listed_origins_are_allowed_with_credentials() {
    let mut b = allowing(&[APP, "http://localhost:3000", "null"]);
    for origin in [APP, "http://localhost:3000", "null"] {
        let response = from_page(&mut b, origin);
        assert_eq!(response.json()[0]["successful"], true, "{origin}");
        assert_eq!(response.field("Access-Control-Allow-Origin"), Some(origin));
        assert_eq!(response.field("Access-Control-Allow-Credentials"), Some("true"));
        assert_eq!(response.field("Vary"), Some("Origin"));
    }
    for origin in ["http://app.example", "https://app.example:8443", "http://localhost"] {
        assert_eq!(from_page(&mut b, origin).status, 403, "{origin}");
    }
    let own = from_page(&mut b, "http://h.example");
    assert_eq!((own.field("Vary"), own.field("Access-Control-Allow-Origin")), (Some("Origin"), None));
    assert_eq!(b.post(&Post::new("[]")).field("Vary"), Some("Origin"), "the answer to another may differ");
}

#[test]
fn must_2_a_star_allows_all_and_never_credentials() {
    let mut b = allowing(&["*"]);
    for origin in [APP, "http://other.example:1", "null"] {
        let response = from_page(&mut b, origin);
        assert_eq!(response.json()[0]["successful"], true, "{origin}");
        assert_eq!(response.field("Access-Control-Allow-Origin"), Some("*"));
        assert_eq!(response.field("Access-Control-Allow-Credentials"), None);
        assert_eq!(response.field("Vary"), Some("Origin"));
    }
    assert_eq!(from_page(&mut b, "not an origin").status, 403);
}

#[test]
fn must_2_what_is_held_for_another_origin_is_answered_to_that_origin() {
    let mut b = allowing(&[APP]);
    let client = b.subscriber("/a");
    b.give(client.down, &Post::json(&client.connect()).field("Origin", APP).bytes());
    assert_eq!(b.raw(client.down), "");
    b.say(client.up, &client.publish("/a", 1));
    let response = b.one(client.down);
    assert_eq!(response.json()[0]["data"], 1);
    assert_eq!(response.field("Access-Control-Allow-Origin"), Some(APP));
}

#[test]
fn must_2_the_head_of_a_preflight() {
    let mut b = allowing(&[APP]);
    let conn = b.open();
    for path in ["/cometd", "/cometd/connect"] {
        let ask = format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: h\r\nOrigin: {APP}\r\nAccess-Control-Request-Method: POST\r\n\
            Access-Control-Request-Headers: content-type\r\n\r\n"
        );
        let response = b.exchange(conn, ask.as_bytes());
        assert_eq!(
            response.head,
            "HTTP/1.1 204 No Content\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
            Access-Control-Allow-Origin: https://app.example\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n\
            Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n\
            Access-Control-Allow-Headers: Accept, Authorization, Content-Type, Last-Event-ID, Pragma, X-Requested-With\r\n\
            Access-Control-Max-Age: 7200"
        );
        assert_eq!(response.body, "");
    }
}

#[test]
fn must_2_a_preflight_of_a_refused_origin_is_403() {
    let mut b = allowing(&[APP]);
    let conn = b.open();
    let ask = "OPTIONS /cometd HTTP/1.1\r\nHost: h\r\nOrigin: https://evil.example\r\n\r\n";
    let response = b.exchange(conn, ask.as_bytes());
    assert_eq!((response.status, response.field("Access-Control-Allow-Headers")), (403, None));
}

#[test]
fn must_2_a_trusted_proxy_may_say_the_host() {
    for (peer, status) in [(PROXY, 200), ("::1", 200), ("::ffff:127.0.0.1", 200), (STRANGER, 403)] {
        let mut b = Bench::new();
        let fields = [("Origin", "https://public.example"), ("X-Forwarded-Host", "public.example")];
        assert_eq!(through(&mut b, peer, &fields).status, status, "{peer}");
        let fields = [("Origin", "https://public.example"), ("X-Forwarded-Host", "other.example")];
        assert_eq!(through(&mut b, peer, &fields).status, 403, "{peer}");
        let fields = [("Origin", "https://h.example"), ("X-Forwarded-Host", "public.example")];
        assert_eq!(through(&mut b, peer, &fields).status, 200, "Host counts also behind {peer}");
    }
}

#[test]
fn must_2_trusted_proxies_are_those_that_are_listed() {
    let fields = [("Origin", "https://public.example"), ("X-Forwarded-Host", "evil.example, public.example")];
    for (peer, status) in [("10.1.2.3", 200), ("11.1.2.3", 403), (PROXY, 403)] {
        let mut b = Bench::with(|setup| setup.proxies = vec!["10.0.0.0/8"]);
        assert_eq!(through(&mut b, peer, &fields).status, status, "{peer}");
    }
    let mut b = Bench::new();
    let left = [("Origin", "https://evil.example"), ("X-Forwarded-Host", "evil.example, public.example")];
    assert_eq!(through(&mut b, PROXY, &left).status, 403, "only what the proxy itself added counts");
}
