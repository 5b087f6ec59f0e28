//! Section 7: events over responses that stay open, and scripts.

use serde_json::{Value, json};

use super::bench::{Bench, Client, Post, connected, retry};
use crate::conn::ConnKey;
use crate::conn::route::RefusalKind;

const ALL: [&str; 6] = ["long-polling", "websocket", "streaming", "eventsource", "callback-polling", "iframe"];

fn bench() -> Bench {
    Bench::with(|setup| setup.broker.transports = ALL.to_vec())
}

fn lines(text: &str) -> Vec<Value> {
    let parsed = text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap());
    parsed.flat_map(|batch: Value| batch.as_array().unwrap().clone()).collect()
}

fn event(data: impl Into<Value>) -> Value {
    json!({"channel": "/a", "data": data.into()})
}

/// Sends a streaming connect; the number that the server wants confirmed.
fn open(b: &mut Bench, client: &Client) -> u64 {
    b.give(client.down, &Post::json(&client.connect_by("streaming")).bytes());
    let (head, body, over) = b.stream(client.down);
    let head = head.expect("a response");
    assert!(head.contains("Transfer-Encoding: chunked") && head.contains("X-Accel-Buffering: no"), "{head}");
    assert!(!over);
    let probe = lines(&body);
    assert_eq!((probe.len(), probe[0]["channel"].as_str()), (1, Some("/service/probe")));
    probe[0]["data"]["probe"].as_u64().unwrap()
}

fn confirm(b: &mut Bench, client: &Client, number: u64) {
    let message = json!({"channel": "/service/probe", "clientId": client.id, "data": {}, "ext": {"probe": number}});
    assert_eq!(b.tell(client.up, &message)["successful"], true);
}

fn streaming(b: &mut Bench) -> Client {
    let client = b.subscriber("/a");
    let number = open(b, &client);
    confirm(b, &client, number);
    client
}

fn events(b: &mut Bench, conn: ConnKey) -> Vec<Value> {
    let (_, body, over) = b.stream(conn);
    assert!(!over, "the stream goes on: {body}");
    lines(&body)
}

#[test]
fn must_7_events_go_over_a_stream_as_soon_as_they_exist_and_the_connect_stays_held() {
    let mut b = bench();
    let client = streaming(&mut b);
    for data in 0..3 {
        b.inject("/a", &data.to_string());
        assert_eq!(events(&mut b, client.down), [event(data)]);
    }
    assert_eq!(b.engine.census().parked, 1);
}

#[test]
fn must_7_what_comes_in_one_turn_is_one_line() {
    let mut b = bench();
    let client = streaming(&mut b);
    b.inject_without_a_turn("/a", "1");
    b.inject_without_a_turn("/a", "2");
    b.turn();
    let (_, body, _) = b.stream(client.down);
    assert_eq!(body, "[{\"channel\":\"/a\",\"data\":1},{\"channel\":\"/a\",\"data\":2}]\n");
}

#[test]
fn must_7_no_event_is_written_before_the_probe_is_confirmed() {
    let mut b = bench();
    let client = b.subscriber("/a");
    let number = open(&mut b, &client);
    b.inject("/a", "1");
    assert_eq!(b.raw(client.down), "");
    confirm(&mut b, &client, number + 1);
    assert_eq!(b.raw(client.down), "", "another number confirms nothing");
    confirm(&mut b, &client, number);
    assert_eq!(events(&mut b, client.down), [event(1)]);
}

#[test]
fn a_stream_that_its_client_leaves_before_it_is_confirmed_is_no_sign_of_a_proxy() {
    let mut b = Bench::with(|setup| setup.broker.transports = vec!["streaming", "long-polling"]);
    let client = b.subscriber("/a");
    b.give(client.down, &Post::json(&client.connect_by("streaming")).bytes());
    b.stream(client.down);
    b.give(client.down, &Post::json(&client.connect()).bytes());
    assert!(!b.raw(client.down).contains("connection-type"));
    assert_eq!(b.engine.counters().buffered, 0);
}

#[test]
fn must_7_an_unconfirmed_stream_ends_with_the_advice_to_poll_and_loses_nothing() {
    let mut b = bench();
    let client = b.subscriber("/a");
    open(&mut b, &client);
    b.inject("/a", "1");
    b.advance(4_999);
    assert_eq!(b.raw(client.down), "");
    b.advance(1);
    let (_, body, over) = b.stream(client.down);
    let mut advice = retry();
    advice["connection-type"] = json!("long-polling");
    let reply = json!({"channel": "/meta/connect", "id": "c", "successful": true, "advice": advice});
    assert_eq!((lines(&body), over), (vec![reply], true));
    assert_eq!(b.events(&client), [event(1)], "the event is there for the next connect");
    assert_eq!(b.engine.counters().buffered, 1);
}

#[test]
fn must_7_a_stream_ends_with_a_connect_reply_when_it_is_old_enough_and_nothing_is_lost_between() {
    let mut b = bench();
    let client = streaming(&mut b);
    b.advance(299_999);
    let (_, beats, over) = b.stream(client.down);
    assert!(!over && beats.bytes().all(|byte| byte == b'\n') && beats.len() >= 10, "{beats:?}");
    b.advance(1);
    let (_, body, over) = b.stream(client.down);
    assert_eq!((lines(&body), over), (vec![connected()], true));
    b.inject("/a", "1");
    let client = Client { up: b.open(), ..client };
    let number = open(&mut b, &client);
    confirm(&mut b, &client, number);
    assert_eq!(events(&mut b, client.down), [event(1)]);
}

#[test]
fn must_7_a_newer_connect_ends_a_stream_with_its_last_chunk_and_no_reply() {
    let mut b = bench();
    let client = streaming(&mut b);
    let other = b.open();
    b.give(other, &Post::json(&client.connect()).bytes());
    assert_eq!(b.stream(client.down), (None, String::new(), true));
    b.inject("/a", "1");
    assert_eq!(b.one(other).json(), json!([event(1), connected()]), "events go to the newest connect");
    assert_eq!(b.raw(client.down), "");
}

#[test]
fn must_2_a_request_behind_a_stream_ends_it_at_once() {
    let mut b = bench();
    let client = streaming(&mut b);
    b.give(client.down, &Post::json(&client.publish("/a", 1)).bytes());
    let text = b.raw(client.down);
    let (stream, answer) = text.split_once("0\r\n\r\n").unwrap();
    assert!(stream.contains("/meta/connect"), "{stream}");
    assert!(answer.contains("\"successful\":true") && !answer.contains("\"data\":1"), "{answer}");
    assert_eq!(b.events(&client), [event(1)]);
}

#[test]
fn must_2_streams_to_http_1_0_peers_end_with_the_connection() {
    let mut b = bench();
    let client = b.subscriber("/a");
    let body = client.connect_by("streaming").to_string();
    let conn = b.open();
    let head = format!("POST /cometd HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: {}\r\n\r\n", body.len());
    b.give(conn, (head + &body).as_bytes());
    let text = b.raw(conn);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Connection: close") && !head.contains("chunked") && !head.contains("Length"), "{head}");
    let number = lines(body)[0]["data"]["probe"].as_u64().unwrap();
    confirm(&mut b, &client, number);
    b.inject("/a", "1");
    assert_eq!(lines(&b.raw(conn)), [event(1)]);
    b.advance(300_000);
    assert!(b.raw(conn).ends_with("\"successful\":true}]\n"));
    assert!(b.is_shut(conn));
}

#[test]
fn a_stream_that_takes_nothing_gets_no_more_until_it_does() {
    let mut b = bench();
    let client = streaming(&mut b);
    b.stall(client.down);
    for data in 0..5 {
        b.inject("/a", &data.to_string());
    }
    assert_eq!(b.engine.counters().delivered, 1, "the first is on the connection, the others wait");
    b.unstall(client.down);
    assert_eq!(events(&mut b, client.down), (0..5).map(event).collect::<Vec<_>>());
}

#[test]
fn a_stream_whose_peer_is_gone_leaves_the_session_for_a_while() {
    let mut b = bench();
    let client = streaming(&mut b);
    b.fin(client.down);
    assert!(b.is_closed(client.down));
    b.inject("/a", "1");
    let again = Client { down: b.open(), ..client };
    assert_eq!(b.events(&again), [event(1)]);
    b.advance(10_000);
    assert_eq!(b.sessions(), 0);
}

#[test]
fn a_disconnect_ends_the_stream_with_a_last_reply() {
    let mut b = bench();
    let client = streaming(&mut b);
    assert_eq!(b.tell(client.up, &client.disconnect())["successful"], true);
    let (_, body, over) = b.stream(client.down);
    assert_eq!((lines(&body)[0]["advice"]["reconnect"].as_str(), over), (Some("none"), true));
    assert_eq!(b.sessions(), 0);
}

#[test]
fn an_event_that_overlaps_and_a_transport_change_deliver_once() {
    let mut b = bench();
    let client = b.subscriber(json!(["/a", "/*", "/**"]));
    let number = open(&mut b, &client);
    confirm(&mut b, &client, number);
    b.inject("/a", "1");
    assert_eq!(events(&mut b, client.down), [event(1)]);
    let other = b.open();
    b.give(other, &Post::json(&client.connect()).bytes());
    b.inject("/a", "2");
    assert_eq!(b.one(other).json()[0], event(2));
    assert_eq!(b.stream(client.down), (None, String::new(), true));
}

// --- EventSource as Faye speaks it.

fn source(b: &mut Bench, client: &Client) -> (ConnKey, String) {
    let conn = b.open();
    let get = format!("GET /cometd/{} HTTP/1.1\r\nHost: h.example\r\nAccept: text/event-stream\r\n\r\n", client.id);
    b.give(conn, get.as_bytes());
    let (head, body, over) = b.stream(conn);
    assert!(!over && head.unwrap().contains("Content-Type: text/event-stream"));
    (conn, body)
}

#[test]
fn must_7_an_event_source_gets_events_and_its_connects_are_answered_at_once() {
    let mut b = bench();
    let client = b.subscriber("/a");
    let (conn, opening) = source(&mut b, &client);
    assert_eq!(opening, "retry: 5000\n\n");
    let reply = b.tell(client.up, &client.connect_by("eventsource"));
    assert_eq!(reply["advice"], json!({"reconnect": "retry", "interval": 30_000, "timeout": 0}));
    b.inject("/a", "1");
    assert_eq!(b.stream(conn).1, "data: [{\"channel\":\"/a\",\"data\":1}]\n\n");
    b.advance(20_000);
    assert_eq!(b.stream(conn).1, ":\n\n", "a heartbeat");
    b.advance(10_000);
    let reply = b.tell(client.up, &client.connect_by("eventsource"));
    assert_eq!((reply["successful"].as_bool(), reply["advice"].is_null()), (Some(true), true));
    b.advance(39_000);
    assert_eq!(b.sessions(), 1, "its client has been told to wait for 30 s");
    b.advance(2_000);
    assert_eq!(b.sessions(), 0);
    assert!(b.stream(conn).2, "the stream ends with its session");
}

#[test]
fn must_5_an_event_source_is_told_that_the_server_disconnects() {
    let mut b = bench();
    let client = b.subscriber("/a");
    let (conn, _) = source(&mut b, &client);
    assert!(b.command(&crate::hooks::Command::DisconnectClient(client.id)));
    let notice = "data: [{\"channel\":\"/meta/disconnect\",\"successful\":true}]\n\n".to_owned();
    assert_eq!(b.stream(conn), (None, notice, true));
}

#[test]
fn must_7_an_event_source_stays_when_the_first_connect_still_comes_by_long_polling() {
    let mut b = bench();
    let client = b.handshake();
    let (conn, _) = source(&mut b, &client);
    b.tell(client.up, &client.subscribe("/a"));
    assert_eq!(b.tell(client.up, &client.connect())["successful"], true);
    b.inject("/a", "1");
    assert_eq!(b.stream(conn), (None, "data: [{\"channel\":\"/a\",\"data\":1}]\n\n".to_owned(), false));
    let reply = b.tell(client.up, &client.connect_by("eventsource"));
    assert_eq!(reply["advice"], json!({"reconnect": "retry", "interval": 30_000, "timeout": 0}));
    // The next one by long-polling is held, and means it.
    b.give(client.up, &Post::json(&client.connect()).bytes());
    assert_eq!(b.stream(conn), (None, String::new(), true));
    b.inject("/a", "2");
    assert_eq!(b.one(client.up).json()[0], event(2));
}

#[test]
fn who_has_not_heard_that_connects_are_to_pause_hears_it_again() {
    let mut b = bench();
    let client = b.subscriber("/a");
    b.give(client.up, &Post::json(&client.connect_by("eventsource")).bytes());
    b.cut(client.up);
    let client = Client { up: b.open(), ..client };
    let reply = b.tell(client.up, &client.connect_by("eventsource"));
    assert_eq!(reply["advice"]["interval"], 30_000, "or it would come again at once, for ever");
}

#[test]
fn must_6_a_session_expires_in_time_after_its_connect_gave_way_to_an_event_source() {
    let mut b = bench();
    let client = b.subscriber("/a");
    b.hold(&client);
    b.advance(29_990);
    let (conn, _) = source(&mut b, &client);
    let response = b.one(client.down);
    assert_eq!((response.status, response.body.as_str()), (200, "[]"));
    b.advance(9_999);
    assert_eq!(b.sessions(), 1);
    b.advance(1);
    assert_eq!(b.sessions(), 0);
    assert!(b.stream(conn).2);
}

#[test]
fn must_7_an_event_source_ends_when_it_is_old_enough_and_the_next_one_goes_on() {
    let mut b = Bench::with(|setup| {
        setup.broker.transports = ALL.to_vec();
        setup.broker.timeout_ms = 600_000;
    });
    let client = b.subscriber("/a");
    let (conn, _) = source(&mut b, &client);
    b.tell(client.up, &client.connect_by("eventsource"));
    b.advance(300_000);
    assert!(b.stream(conn).2);
    b.inject("/a", "1");
    let (conn, body) = source(&mut b, &client);
    assert_eq!(body + &b.stream(conn).1, "retry: 5000\n\ndata: [{\"channel\":\"/a\",\"data\":1}]\n\n");
}

#[test]
fn must_6_an_event_source_of_an_unknown_or_foreign_session_is_refused_alike() {
    let mut b = bench();
    let client = b.handshake_with(Some("mine"));
    let get = |id: &str, cookie: &str| {
        format!(
            "GET /cometd/{id} HTTP/1.1\r\nHost: h.example\r\nAccept: text/event-stream\r\nCookie: BAYEUX_BROWSER={cookie}\r\n\r\n"
        )
    };
    let conn = b.open();
    let foreign = b.exchange(conn, get(&client.id, "yours").as_bytes());
    let unknown = b.exchange(conn, get("nobody", "yours").as_bytes());
    assert_eq!((foreign.status, foreign.body), (404, unknown.body));
    b.give(conn, get(&client.id, "mine").as_bytes());
    assert!(b.raw(conn).starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn the_log_does_not_tell_the_id_of_a_session_whose_event_source_is_refused() {
    let mut b = bench();
    let client = b.handshake_with(Some("mine"));
    for (fields, status) in
        [("Cookie: BAYEUX_BROWSER=yours", 404), ("Cookie: BAYEUX_BROWSER=mine\r\nOrigin: https://evil.example", 403)]
    {
        let conn = b.open();
        let get = format!(
            "GET /cometd/{} HTTP/1.1\r\nHost: h.example\r\nAccept: text/event-stream\r\n{fields}\r\n\r\n",
            client.id
        );
        assert_eq!(b.exchange(conn, get.as_bytes()).status, status);
    }
    let said: Vec<&str> = RefusalKind::ALL.iter().map(|kind| b.engine.refusals.last(*kind)).collect();
    assert_eq!(said.iter().filter(|line| line.contains(" for /cometd/\u{2026}:")).count(), 2, "{said:?}");
    assert!(said.iter().all(|line| !line.contains(&client.id)), "{said:?}");
}

#[test]
fn a_stream_that_gives_way_to_an_event_source_gets_no_more_events() {
    let mut b = bench();
    let client = streaming(&mut b);
    let reply = b.tell(client.up, &client.connect_by("eventsource"));
    assert_eq!(reply["successful"], true);
    assert!(b.stream(client.down).2, "its connect is over");
    b.inject("/a", "1");
    assert_eq!(b.raw(client.down), "");
    let (conn, opening) = source(&mut b, &client);
    let body = opening + &b.stream(conn).1;
    assert_eq!(body, "retry: 5000\n\ndata: [{\"channel\":\"/a\",\"data\":1}]\n\n", "it has waited");
}

// --- Scripts.

#[test]
fn must_7_callback_polling_is_a_call_that_no_browser_takes_for_a_page() {
    let mut b = bench();
    let client = b.subscriber("/a");
    let get = |messages: &Value, more: &str| {
        let message: String = messages.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("GET /cometd?message={message}{more} HTTP/1.1\r\nHost: h.example\r\n\r\n")
    };
    let conn = b.open();
    b.give(conn, get(&client.connect_by("callback-polling"), "&jsonp=app.cb").as_bytes());
    assert_eq!(b.raw(conn), "", "it is held");
    b.inject("/a", "\"</script>\"");
    let response = b.one(conn);
    let call = r#"/**/app.cb([{"channel":"/a","data":"\u003c/script>"},{"channel":"/meta/connect","id":"c","successful":true}]);"#;
    assert_eq!((response.status, response.body.as_str()), (200, call));
    for (name, value) in [
        ("Content-Type", "text/javascript;charset=UTF-8"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Disposition", "attachment; filename=f.txt"),
        ("Cache-Control", "no-store"),
    ] {
        assert_eq!(response.field(name), Some(value));
    }
    let ack = b.exchange(conn, get(&client.publish("/a", 1), "").as_bytes());
    assert!(ack.body.starts_with("/**/jsonpcallback([{") && !ack.body.contains("\"data\""), "{}", ack.body);
}

#[test]
fn must_7_a_callback_that_is_no_function_is_400_before_anything_runs() {
    let mut b = bench();
    let client = b.subscriber("/a");
    let long = "a".repeat(65);
    for name in ["", "a b", "a(", "1a", "a..b", ".a", "a-b", "alert`1`", "a%28", &long] {
        let message: String = client.publish("/a", 1).to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
        let conn = b.open();
        let get =
            format!("GET /cometd?message={message}&jsonp={} HTTP/1.1\r\nHost: h\r\n\r\n", name.replace(' ', "%20"));
        assert_eq!(b.exchange(conn, get.as_bytes()).status, 400, "{name}");
    }
    assert_eq!(b.engine.counters().published, 0);
    let conn = b.open();
    let get = format!("GET /cometd?message=%5B%5D&jsonp={} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(64));
    assert_eq!(b.exchange(conn, get.as_bytes()).status, 200, "64 letters are enough for anyone");
}

#[test]
fn must_2_scripts_and_frames_of_other_sites_are_refused_unless_they_are_listed() {
    let get = |query: &str, referer: &str| {
        format!(
            "GET /cometd?{query}&message=%5B%5D HTTP/1.1\r\nHost: h.example\r\nSec-Fetch-Site: cross-site\r\nReferer: {referer}\r\n\r\n"
        )
    };
    for query in ["jsonp=f", "iframe=f"] {
        let mut b = bench();
        let conn = b.open();
        let refused = b.exchange(conn, get(query, "https://evil.example/page?x").as_bytes());
        assert_eq!(refused.status, 403, "{query}");
        assert!(refused.body.contains("https://evil.example"), "{}", refused.body);
        let mut b = Bench::with(|setup| {
            setup.broker.transports = ALL.to_vec();
            setup.origins = vec!["https://app.example"];
        });
        let conn = b.open();
        assert_eq!(b.exchange(conn, get(query, "https://app.example/page").as_bytes()).status, 200, "{query}");
        assert_eq!(b.exchange(conn, get(query, "https://evil.example/").as_bytes()).status, 403, "{query}");
    }
}

#[test]
fn must_2_scripts_and_frames_of_sibling_sites_and_of_old_browsers_are_refused_too() {
    for (fields, status) in [
        ("Sec-Fetch-Site: same-site\r\nReferer: https://other.h.example/\r\n", 403),
        ("Sec-Fetch-Site: same-site\r\n", 403),
        ("Referer: https://evil.example/\r\n", 403),
        ("Referer: http://h.example/page\r\n", 200),
        ("Sec-Fetch-Site: cross-site\r\nReferer: http://h.example/page\r\n", 403),
        ("Sec-Fetch-Site: same-origin\r\n", 200),
        ("Sec-Fetch-Site: none\r\n", 200),
        ("", 200),
    ] {
        let mut b = bench();
        let conn = b.open();
        let get = format!("GET /cometd?jsonp=f&message=%5B%5D HTTP/1.1\r\nHost: h.example\r\n{fields}\r\n");
        assert_eq!(b.exchange(conn, get.as_bytes()).status, status, "{fields}");
    }
}

#[test]
fn must_7_a_forever_frame_calls_its_parent() {
    let mut b = bench();
    let client = b.subscriber("/a");
    let message: String = client.connect_by("iframe").to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
    let conn = b.open();
    b.give(conn, format!("GET /cometd?iframe=on.push&message={message} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
    let (head, body, over) = b.stream(conn);
    assert!(head.unwrap().contains("Content-Type: text/html;charset=UTF-8"));
    assert!(!over && body.len() > 2_048 && body.starts_with("<!doctype html>"), "{}", body.len());
    let probe = body.rsplit("\"probe\":").next().unwrap().split('}').next().unwrap().parse().unwrap();
    confirm(&mut b, &client, probe);
    b.inject("/a", "1");
    assert_eq!(b.stream(conn).1, "<script>parent.on.push([{\"channel\":\"/a\",\"data\":1}]);</script>\n");
}

#[test]
fn must_7_a_connect_by_a_transport_that_is_not_offered_is_refused() {
    let mut b = Bench::new();
    let client = b.client();
    for name in ["streaming", "eventsource", "websocket", "callback-polling", "iframe"] {
        let reply = b.tell(client.down, &client.connect_by(name));
        assert_eq!(reply["error"], json!(format!("301:{name}:no_common_connection_type")));
        assert_eq!(reply["successful"], false);
    }
    b.give(client.down, &Post::json(&client.connect_by("something-else")).bytes());
    assert_eq!(b.raw(client.down), "", "a name that means nothing means nothing");
}

#[test]
fn streams_end_spread_over_the_time_when_the_server_ends() {
    let mut b = bench();
    let clients: Vec<Client> = (0..10).map(|_| streaming(&mut b)).collect();
    b.drain(1_000);
    b.advance(750);
    for client in &clients {
        let (_, body, over) = b.stream(client.down);
        assert!(over && body.contains("\"interval\":0"), "{body}");
        b.fin(client.down);
    }
    for client in &clients {
        b.cut(client.up);
    }
    assert!(b.engine.is_drained());
}
