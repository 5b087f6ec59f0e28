//! Plain HTTP for those who do not speak Bayeux.

use super::bench::{Bench, PROXY, Response, STRANGER};
use crate::conn::ConnKey;
use crate::conn::plain::Publishing;

fn publishing(publishing: Publishing) -> Bench {
    Bench::with(|setup| setup.publishing = publishing)
}

fn listen(b: &mut Bench, path: &str, accept: &str) -> ConnKey {
    let conn = b.open();
    b.give(conn, format!("GET {path} HTTP/1.1\r\nHost: h.example\r\nAccept: {accept}\r\n\r\n").as_bytes());
    conn
}

#[test]
fn events_are_an_event_stream_for_those_who_want_one() {
    let mut b = Bench::new();
    let conn = listen(&mut b, "/events/a/**", "text/event-stream");
    let (head, body, _) = b.stream(conn);
    assert!(head.unwrap().contains("Content-Type: text/event-stream;charset=UTF-8"));
    assert_eq!(body, "retry: 5000\n\n");
    b.inject("/a/b", r#"{"x":1}"#);
    b.inject("/b", "1");
    b.inject("/a/c/d", "\"\u{2028}\"");
    assert_eq!(b.stream(conn).1, "event: /a/b\ndata: {\"x\":1}\n\nevent: /a/c/d\ndata: \"\\u2028\"\n\n");
    b.advance(300_000);
    assert!(b.stream(conn).2, "it ends in time, and is opened again");
    assert_eq!(b.sessions(), 0);
}

#[test]
fn events_are_lines_or_parts_for_those_who_want_them() {
    let mut b = Bench::new();
    let ndjson = listen(&mut b, "/events/a", "application/x-ndjson");
    let parts = listen(&mut b, "/events/a", "multipart/x-mixed-replace, */*");
    assert_eq!(b.stream(ndjson).1, "");
    assert_eq!(b.stream(parts).1, "--encke\r\n");
    b.inject("/a", "1");
    let json = "{\"channel\":\"/a\",\"data\":1}";
    assert_eq!(b.stream(ndjson).1, format!("{json}\n"));
    assert_eq!(b.stream(parts).1, format!("Content-Type: application/json\r\n\r\n{json}\r\n--encke\r\n"));
    assert_eq!(b.engine.counters().encoded, 1);
}

#[test]
fn what_a_client_says_is_not_acceptable_it_does_not_get() {
    let mut b = Bench::new();
    for accept in ["text/html, text/event-stream;q=0", "text/event-stream; Q=0.000", "application/x-ndjson;q=0 ;a=b"] {
        let conn = listen(&mut b, "/events/a", accept);
        b.inject("/a", "1");
        assert_eq!(b.one(conn).body, r#"[{"channel":"/a","data":1}]"#, "{accept}");
    }
    let conn = listen(&mut b, "/events/a", "text/event-stream;q=0, application/x-ndjson;q=0.001");
    b.inject("/a", "1");
    assert_eq!(b.stream(conn).1, "{\"channel\":\"/a\",\"data\":1}\n");
}

#[test]
fn anyone_else_gets_the_next_batch() {
    let mut b = Bench::new();
    let conn = listen(&mut b, "/events/a%20b", "*/*");
    assert_eq!(b.raw(conn), "");
    b.inject_without_a_turn("/a b", "1");
    b.inject_without_a_turn("/a b", "2");
    b.turn();
    let batch = r#"[{"channel":"/a b","data":1},{"channel":"/a b","data":2}]"#;
    assert_eq!(b.one(conn).body, batch);
    assert_eq!(b.sessions(), 0);
    let conn = listen(&mut b, "/events/a", "*/*");
    b.advance(30_000);
    assert_eq!(b.one(conn).body, "[]", "nothing has come in time");
    assert_eq!(b.sessions(), 0);
}

#[test]
fn listeners_of_either_kind_end_when_the_server_does_those_that_come_late_too() {
    let mut b = Bench::new();
    let stream = listen(&mut b, "/events/a", "text/event-stream");
    let poll = listen(&mut b, "/events/a", "*/*");
    let (late_stream, late_poll) = (b.open(), b.open());
    b.stream(stream);
    b.drain(1_000);
    for (conn, accept) in [(late_stream, "text/event-stream"), (late_poll, "*/*")] {
        b.give(conn, format!("GET /events/a HTTP/1.1\r\nHost: h\r\nAccept: {accept}\r\n\r\n").as_bytes());
    }
    b.advance(750);
    assert!(b.stream(stream).2 && b.stream(late_stream).2);
    assert_eq!((b.one(poll).body.as_str(), b.one(late_poll).body.as_str()), ("[]", "[]"));
    for conn in [stream, poll, late_stream, late_poll] {
        b.fin(conn);
    }
    assert_eq!(b.sessions(), 0);
    assert!(b.engine.is_drained());
}

#[test]
fn a_listener_that_goes_leaves_nothing() {
    let mut b = Bench::new();
    for accept in ["text/event-stream", "*/*"] {
        let conn = listen(&mut b, "/events/**", accept);
        assert_eq!(b.sessions(), 1);
        b.fin(conn);
        assert_eq!((b.sessions(), b.engine.census().topics), (0, 0), "{accept}");
    }
}

#[test]
fn what_is_no_channel_cannot_be_listened_to() {
    let mut b = Bench::new();
    for path in
        ["/events/", "/events/a//b", "/events/meta/connect", "/events/service/x", "/events/a%2", "/events/a/**/b"]
    {
        let conn = listen(&mut b, path, "text/event-stream");
        assert_eq!(b.one(conn).status, 400, "{path}");
    }
    assert_eq!(b.sessions(), 0);
}

fn post(b: &mut Bench, peer: &str, fields: &str, data: &str) -> Response {
    let conn = b.open_from(peer);
    let head = format!("POST /publish/a HTTP/1.1\r\n{fields}Content-Length: {}\r\n\r\n", data.len());
    b.exchange(conn, (head + data).as_bytes())
}

#[test]
fn publishing_is_off_unless_it_is_turned_on() {
    let mut b = Bench::new();
    assert_eq!(post(&mut b, PROXY, "Host: localhost\r\n", "1").status, 404);
}

#[test]
fn without_a_token_only_programs_of_this_machine_publish() {
    let mut b = publishing(Publishing::Local);
    for host in ["localhost", "127.0.0.1:8080", "[::1]", "LOCALHOST:80", "127.9.9.9"] {
        let response = post(&mut b, PROXY, &format!("Host: {host}\r\n"), "1");
        assert_eq!((response.status, response.body.as_str()), (200, "{\"successful\":true,\"channel\":\"/a\"}\n"));
    }
    for (peer, fields, why) in [
        (STRANGER, "Host: localhost\r\n", "from another machine"),
        (PROXY, "Host: h.example\r\n", "the Host of this request is neither localhost nor a loopback address"),
        (PROXY, "Host: localhost.evil.example\r\n", "the Host of this request is neither"),
        (
            PROXY,
            "Host: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n",
            "has X-Forwarded-For, so it comes through a proxy",
        ),
        (PROXY, "Host: localhost\r\nForwarded: for=127.0.0.1\r\n", "has Forwarded, so it comes through a proxy"),
        (PROXY, "Host: localhost\r\nVia: 1.1 x\r\n", "has Via, so it comes through a proxy"),
        (PROXY, "Host: localhost\r\nOrigin: https://evil.example\r\n", "Origin https://evil.example may not use"),
        (PROXY, "Host: localhost\r\nOrigin: http://localhost\r\n", "has Origin, so it comes from a page in a browser"),
    ] {
        let refused = post(&mut b, peer, fields, "1");
        assert_eq!(refused.status, 403, "{peer} {fields}");
        assert!(refused.body.contains(why), "{}", refused.body);
    }
    assert_eq!(b.engine.counters().published, 5);
    let told = b.engine.refusals.to_string();
    assert!(told.contains("cross-site=1 unknown-request=0 ") && told.contains(" publisher=7 "), "{told}");
}

#[test]
fn an_event_that_is_larger_than_any_queue_is_too_large_and_not_malformed() {
    let mut b = Bench::with(|setup| {
        setup.publishing = Publishing::Local;
        setup.limits.outbox_bytes = 100;
    });
    b.subscriber("/a");
    let refused = post(&mut b, PROXY, "Host: localhost\r\n", &format!("\"{}\"", "x".repeat(100)));
    assert_eq!((refused.status, refused.body.as_str()), (413, "the event is larger than max-queue-size allows\n"));
    let told = b.engine.refusals.to_string();
    assert!(told.contains(" malformed-batch=0 ") && told.contains(" large-request=1 "), "{told}");
}

#[test]
fn without_a_token_no_page_publishes_whatever_may_else_be_done_from_it() {
    let mut b = Bench::with(|setup| {
        setup.publishing = Publishing::Local;
        setup.origins = vec!["https://app.example"];
    });
    for fields in ["Origin: https://app.example\r\n", "Origin: http://localhost\r\n", "Sec-Fetch-Site: none\r\n"] {
        let response = post(&mut b, PROXY, &format!("Host: localhost\r\n{fields}"), "1");
        assert_eq!((response.status, b.engine.counters().published), (403, 0), "{fields}");
    }
}

#[test]
fn with_a_token_whoever_has_it_publishes() {
    let mut b = publishing(Publishing::Token("s3cret".to_owned()));
    let with = |token: &str| format!("Host: h.example\r\nAuthorization: {token}\r\n");
    for token in ["Bearer s3cret", "bearer s3cret", "Bearer  s3cret "] {
        assert_eq!(post(&mut b, STRANGER, &with(token), "1").status, 200, "{token}");
    }
    for token in ["Bearer s3cre", "Bearer s3cret1", "Basic s3cret", "s3cret", "Bearer"] {
        let response = post(&mut b, STRANGER, &with(token), "1");
        assert_eq!((response.status, response.field("WWW-Authenticate")), (401, Some("Bearer")), "{token}");
    }
    assert_eq!(post(&mut b, PROXY, "Host: localhost\r\n", "1").status, 401, "being here is not enough");
    let told = b.engine.refusals.to_string();
    assert!(told.contains(" unknown-request=0 ") && told.contains(" publisher=6 "), "{told}");
}

#[test]
fn what_is_published_reaches_subscribers_as_it_was_written() {
    let mut b = publishing(Publishing::Local);
    let client = b.subscriber("/a");
    for data in [r#"{"n":1.00000000000000000001}"#, "null", " [1] "] {
        assert_eq!(post(&mut b, PROXY, "Host: localhost\r\n", data).status, 200, "{data}");
    }
    let text = b.text(client.down, &client.glance().to_string());
    assert!(text.contains("1.00000000000000000001") && text.contains("\"data\":null") && text.contains("\"data\":[1]"));
    for bad in ["", "{", "1 2", "\"\\ud800\"", "\u{1}"] {
        assert_eq!(post(&mut b, PROXY, "Host: localhost\r\n", bad).status, 400, "{bad}");
    }
}

#[test]
fn the_endpoint_has_all_paths_below_the_mount_whatever_that_is_called() {
    for (mount, path) in [("/events", "/events/handshake"), ("/publish/a", "/publish/a/connect"), ("/", "/events/a")] {
        let mut b = Bench::with(|setup| setup.mount = mount);
        let response = b.post(&super::bench::Post::new("[]").path(path));
        assert_eq!((response.status, response.body.as_str()), (200, "[]"), "{path}");
    }
}
