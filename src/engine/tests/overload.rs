//! Too much of everything: what is refused is told, what is kept is bounded, and the others notice nothing.

use serde_json::json;

use super::bench::{Bench, HANDSHAKE, PROXY, Post, Response, STRANGER};
use crate::broker::rate::Rate;
use crate::broker::rules::{Keep, Rule};
use crate::conn::ConnKey;
use crate::limits::Limits;

const OTHER: &str = "198.51.100.99";

fn hasty() -> Bench {
    Bench::with(|setup| {
        setup.broker.handshake_rate = Some(Rate { per_second: 1, burst: 2 });
        setup.broker.transports = vec!["long-polling", "websocket"];
    })
}

fn shake(b: &mut Bench, from: &str, forwarded: Option<&str>) -> Response {
    let conn = b.open_from(from);
    let post = Post::new(HANDSHAKE);
    let post = forwarded.iter().fold(post, |post, client| post.field("X-Forwarded-For", client));
    b.exchange(conn, &post.bytes())
}

fn get(b: &mut Bench, path: &str, host: &str) -> Response {
    let conn = b.open();
    b.exchange(conn, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
}

#[test]
fn limit_handshake_rate_is_of_each_address() {
    let mut b = hasty();
    for _ in 0..2 {
        assert_eq!(shake(&mut b, STRANGER, None).json()[0]["successful"], true);
    }
    for interval in [1_000, 2_000] {
        let refused = json!([{"channel": "/meta/handshake", "id": "h", "successful": false,
            "error": "429::handshake_rate",
            "advice": {"reconnect": "handshake", "interval": interval, "timeout": 30_000}}]);
        assert_eq!(shake(&mut b, STRANGER, None).json(), refused, "one after another");
    }
    assert_eq!(b.sessions(), 2);
    assert_eq!(shake(&mut b, OTHER, None).json()[0]["successful"], true);
    b.advance(1_000);
    assert_eq!(shake(&mut b, STRANGER, None).json()[0]["successful"], true);
    assert_eq!(b.engine.counters().handshakes_hasty, 2);
}

#[test]
fn the_handshake_rate_is_of_the_client_behind_a_trusted_proxy_and_of_nobody_on_this_machine() {
    let mut b = hasty();
    for (from, client, counted) in [
        (PROXY, None, false),
        (PROXY, Some("127.0.0.1"), true),
        (PROXY, Some("203.0.113.1"), true),
        (PROXY, Some("203.0.113.2"), true),
        // What a stranger says of himself counts for nothing.
        (STRANGER, Some("127.0.0.1"), true),
    ] {
        let taken = (0..4).filter(|_| shake(&mut b, from, client).json()[0]["successful"] == true).count();
        assert_eq!(taken, if counted { 2 } else { 4 }, "{from} {client:?}");
    }
    assert_eq!(shake(&mut b, STRANGER, Some("203.0.113.77")).json()[0]["successful"], false);
}

#[test]
fn a_listener_that_is_no_client_counts_like_a_handshake() {
    let mut b = hasty();
    for _ in 0..2 {
        let conn = b.open();
        b.give(conn, b"GET /events/a HTTP/1.1\r\nHost: h.example\r\n\r\n");
        assert_eq!(b.raw(conn), "", "it waits");
    }
    let refused = get(&mut b, "/events/a", "h.example");
    assert_eq!((refused.status, refused.field("Retry-After")), (429, Some("1")));
}

#[test]
fn a_host_that_is_not_listed_is_421_except_for_health_checks() {
    let mut b = Bench::with(|setup| {
        setup.hosts = vec!["h.example", "*.apps.example:8080"];
        setup.demo = true;
    });
    for path in ["/cometd", "/cometd/handshake", "/events/a", "/publish/a", "/", "/encke.js", "/nothing"] {
        let refused = get(&mut b, path, "evil.example");
        assert_eq!(refused.status, 421, "{path}");
        let text = "Host evil.example is not answered for here. If it is this server's, add it to allowed-hosts\n";
        assert_eq!(refused.body, text);
    }
    for path in ["/cometd", "/publish/a", "/encke.js", "/nothing"] {
        assert_ne!(get(&mut b, path, "a.apps.example:8080").status, 421, "{path}");
    }
    assert_eq!(get(&mut b, "/health", "10.0.0.1").status, 200);
    let conn = b.open();
    let nameless = b.exchange(conn, b"GET /encke.js HTTP/1.0\r\n\r\n");
    let text = "A request that names no Host is not answered here, where allowed-hosts is set\n";
    assert_eq!((nameless.status, nameless.body.as_str()), (421, text), "no host is none of them");
    for (from, host, forwarded, named) in [
        (PROXY, "h.example", "h.example:80", None),
        // A page that has its own name point here sends whatever it likes, and comes from this machine.
        (PROXY, "evil.example", "h.example", Some("Host evil.example ")),
        (PROXY, "h.example", "evil.example", Some("X-Forwarded-Host evil.example ")),
        (STRANGER, "h.example", "evil.example", None),
    ] {
        let conn = b.open_from(from);
        let post = Post::new("[]").field("X-Forwarded-Host", forwarded);
        let bytes = String::from_utf8(post.bytes()).unwrap();
        let bytes = bytes.replace("\r\nHost: h.example\r\n", &format!("\r\nHost: {host}\r\n"));
        let answer = b.exchange(conn, bytes.replace("X-Forwarded-Host: upstream", "").as_bytes());
        assert_eq!(answer.status, if named.is_some() { 421 } else { 200 }, "{from}");
        assert!(named.is_none_or(|named| answer.body.starts_with(named)), "{}", answer.body);
    }
}

/// A listener to a channel as lines of JSON, who takes no more bytes from now on.
fn slow_listener(b: &mut Bench, channel: &str) -> ConnKey {
    let conn = b.open();
    let request = format!("GET /events{channel} HTTP/1.1\r\nHost: h.example\r\nAccept: application/x-ndjson\r\n\r\n");
    b.give(conn, request.as_bytes());
    b.raw(conn);
    b.stall(conn);
    conn
}

#[test]
fn what_slow_readers_do_not_take_is_within_the_bound_of_all_that_waits() {
    const BOUND: usize = 512 * 1024;
    const EVENT: usize = 2_000;
    let mut b = Bench::with(|setup| setup.limits.queued_bytes = BOUND);
    let slow: Vec<ConnKey> = (0..300).map(|at| slow_listener(&mut b, &format!("/slow/{at}"))).collect();
    let data = json!("x".repeat(EVENT)).to_string();
    let mut accepted = vec![0; slow.len()];
    let mut refused = 0;
    for round in 0..40 {
        for (at, accepted) in accepted.iter_mut().enumerate() {
            let taken = b.inject(&format!("/slow/{at}"), &data);
            *accepted += usize::from(taken);
            refused += usize::from(!taken);
        }
        let census = b.engine.census();
        let [unsent, queued] = [census.unsent_bytes, census.queued_bytes];
        assert!(unsent < BOUND / 2 + 300 * (EVENT + 300), "{unsent} bytes in round {round}");
        assert!(queued < BOUND / 2 + EVENT + 300, "{queued} bytes in round {round}");
    }
    assert!(refused > 0, "24 MB do not fit into half a MiB, and that is told");
    assert!(b.engine.terms.share_bytes < BOUND / 64 / 4, "less is left for each");
    assert_eq!(b.engine.limits().output_bytes, Limits::default().output_bytes, "of what was set");
    for (conn, accepted) in slow.into_iter().zip(accepted) {
        b.unstall(conn);
        b.turn();
        assert_eq!(b.raw(conn).matches(r#"{"channel""#).count(), accepted, "what was taken arrives, once");
    }
    let census = b.engine.census();
    assert_eq!((census.unsent_bytes, census.queued_bytes), (0, 0));
    b.turn();
    assert_eq!(b.engine.terms.share_bytes, BOUND / 2 / 64, "room again");
}

#[test]
fn who_catches_up_gets_as_much_at_once_when_there_is_no_room_for_more() {
    let mut b = Bench::with(|setup| setup.limits.queued_bytes = 2 * 1024 * 1024);
    let client = b.subscriber("/a");
    while b.inject("/a", &json!("x".repeat(100)).to_string()) {}
    let at_once = b.events(&client).len();
    assert!(at_once > 100, "{at_once} events in 16 KiB");
    assert!(b.inject("/a", "1"), "room again");
}

#[test]
fn slow_readers_of_what_is_kept_leave_half_of_the_bound_to_others() {
    // What each takes at least, a head and an event, is little of it.
    const BOUND: usize = 16 * 1024 * 1024;
    let mut b = Bench::with(|setup| {
        setup.limits.queued_bytes = BOUND;
        let history = Some(Some(Keep { count: 1_000, ..Keep::default() }));
        setup.broker.channels = vec![Rule { pattern: "/kept".to_owned(), history, ..Rule::default() }];
    });
    for _ in 0..1_000 {
        assert!(b.inject("/kept", &json!("x".repeat(100)).to_string()));
    }
    for at in 0..800 {
        let conn = b.open();
        b.stall(conn);
        b.give(conn, b"GET /events/kept?since=-2 HTTP/1.1\r\nHost: h.example\r\nAccept: application/x-ndjson\r\n\r\n");
        let unsent = b.engine.census().unsent_bytes;
        assert!(unsent < BOUND / 2 + 600 * at, "{unsent} bytes after {at}");
    }
    assert!(b.engine.census().unsent_bytes > BOUND / 2 - BOUND / 16, "{:?}", b.engine.census());
    let good = b.open();
    b.give(good, b"GET /events/good HTTP/1.1\r\nHost: h.example\r\n\r\n");
    assert!(b.inject("/good", "1"), "there is room for what is published");
    assert!(b.raw(good).contains(r#""data":1"#), "and it goes out");
    let client = b.subscriber("/good");
    for _ in 0..10 {
        assert!(b.inject("/good", "1"));
    }
    let at_once = b.events(&client).len();
    assert!((2..10).contains(&at_once), "{at_once} of about 40 bytes each in 256");
}

#[cfg(feature = "demo")]
#[test]
fn slow_readers_of_a_file_keep_one_copy_of_it() {
    let mut b = Bench::with(|setup| setup.demo = true);
    for field in ["", "Accept-Encoding: gzip\r\n"] {
        let slow: Vec<ConnKey> = (0..100).map(|_| b.open()).collect();
        for conn in &slow {
            b.stall(*conn);
            b.give(*conn, format!("GET /encke.js HTTP/1.1\r\nHost: h.example\r\n{field}\r\n").repeat(4).as_bytes());
        }
        let unsent = b.engine.census().unsent_bytes;
        assert!(unsent < 400 * 1_000, "{unsent} bytes for 400 answers, {field:?}");
        for conn in slow {
            b.cut(conn);
        }
    }
}

#[test]
fn a_connection_that_breaks_gives_back_what_it_kept() {
    let mut b = Bench::new();
    let conn = slow_listener(&mut b, "/a");
    assert!(b.inject("/a", &json!("x".repeat(9_000)).to_string()));
    let partial = b.open();
    b.give(partial, b"POST /cometd HTTP/1.1\r\nHost: h.example\r\nContent-Length: 9000\r\n\r\n[");
    let census = b.engine.census();
    assert!(census.unsent_bytes > 4_000 && census.received_bytes > 60, "{census:?}");
    b.cut(conn);
    b.cut(partial);
    let census = b.engine.census();
    assert_eq!((census.unsent_bytes, census.received_bytes), (0, 0));
}

#[test]
fn limit_received_bytes() {
    let mut b = Bench::with(|setup| {
        setup.limits.received_bytes = 20_000;
        setup.broker.transports = vec!["long-polling", "websocket"];
    });
    let whole = Post::new(format!("[]{}", " ".repeat(8_000))).bytes();
    let first = b.open();
    b.give(first, &whole[..8_000]);
    let second = b.open();
    b.give(second, &whole[..8_000]);
    assert_eq!(b.raw(second), "", "there is room for two");
    let third = b.open();
    let refused = b.exchange(third, &whole[..8_000]);
    assert_eq!((refused.status, refused.field("Retry-After")), (503, Some("1")));
    assert_eq!(refused.body, "Too much is being received; try again later\n");
    for conn in [first, second] {
        assert_eq!(b.exchange(conn, &whole[8_000..]).json(), json!([]), "who was in time is served");
    }
    assert_eq!(b.engine.census().received_bytes, 0);
    let again = b.open();
    b.give(again, &whole[..8_000]);
    assert_eq!(b.exchange(again, &whole[8_000..]).json(), json!([]));
}

#[test]
fn who_is_away_with_more_than_its_share_gives_way_to_what_is_published() {
    let mut b = Bench::with(|setup| setup.limits.queued_bytes = 64 * 1024);
    let hogs = [b.subscriber("/much"), b.subscriber("/much")];
    let good = b.subscriber("/good");
    while b.inject("/much", &json!("x".repeat(100)).to_string()) {}
    assert!(b.inject("/nobody", "1"), "what nobody hears takes no memory");
    assert!(!b.inject("/good", "1"), "they may come back soon");
    b.advance(4_999);
    assert!(!b.inject("/good", "1"));
    assert_eq!(b.sessions(), 3);
    b.advance(1);
    assert!(b.inject("/good", "1"), "room by ending one who did not");
    assert_eq!(
        (b.sessions(), b.engine.counters().overflows),
        (2, 1),
        "one is enough, or both if they share all events"
    );
    assert_eq!(b.events(&good).len(), 1);
    let told = hogs.map(|hog| b.say(hog.down, &hog.glance())[0]["error"] == "402::session_unknown");
    assert!(told[0] != told[1], "{told:?}");
}

#[test]
fn who_sends_little_is_heard_when_others_have_used_up_what_is_received() {
    let mut b = Bench::with(|setup| {
        setup.limits.received_bytes = 16 * 1024 * 1024;
        setup.limits.connections = 10_000;
    });
    let whole = Post::new(format!("[]{}", " ".repeat(200_000))).bytes();
    for part in [190_000, 1_000] {
        let mut refused = false;
        while !refused {
            let one = b.open();
            b.give(one, &whole[..part]);
            refused = b.raw(one).starts_with("HTTP/1.1 503");
        }
    }
    let request = Post::new("[]").bytes();
    let small: Vec<ConnKey> = (0..200).map(|_| b.open()).collect();
    for conn in &small {
        b.give(*conn, &request[..20]);
    }
    for conn in small {
        assert_eq!(b.exchange(conn, &request[20..]).status, 200);
    }
}
