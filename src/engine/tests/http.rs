//! Section 2: paths, methods, content types and response heads.

use serde_json::{Value, json};

use super::bench::{Bench, HANDSHAKE, Post, STRANGER, retry};
use crate::conn::route::RefusalKind;

const FORM: &str = "application/x-www-form-urlencoded";
const WRONG_TYPE: &str =
    "Content-Type must be application/json in UTF-8, or application/x-www-form-urlencoded with message=\n";

/// The text as a form field's value.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn form(texts: &[&str]) -> Post {
    let fields: Vec<String> = texts.iter().map(|text| format!("message={}", encoded(text))).collect();
    Post::new(fields.join("&")).field("Content-Type", FORM)
}

#[test]
fn must_2_an_empty_array_is_answered_with_an_empty_array() {
    let mut b = Bench::new();
    let conn = b.open();
    for body in ["[]", " [ ] "] {
        assert_eq!(b.text(conn, body), "[]");
    }
}

#[test]
fn must_2_a_single_object_is_accepted_and_answered_with_an_array() {
    let mut b = Bench::new();
    let single = b.post(&Post::new(HANDSHAKE)).json();
    let array = b.post(&Post::new(format!("[{HANDSHAKE}]"))).json();
    for replies in [single, array] {
        assert_eq!(replies.as_array().unwrap().len(), 1);
        assert_eq!((&replies[0]["channel"], &replies[0]["successful"]), (&json!("/meta/handshake"), &json!(true)));
    }
    assert_eq!(b.sessions(), 2);
}

#[test]
fn must_2_the_mount_and_every_path_below_it_are_the_endpoint() {
    let mut b = Bench::new();
    for path in ["/cometd", "/cometd/", "/cometd/handshake", "/cometd/connect", "/cometd/disconnect", "/cometd/a/b//c"]
    {
        let replies = b.post(&Post::new(HANDSHAKE).path(path)).json();
        assert_eq!(replies[0]["successful"], true, "the suffix {path} never changes the meaning");
        let replies = b.post(&Post::new(r#"{"channel":"/x","id":1}"#).path(path)).json();
        assert_eq!(
            replies,
            json!([{"channel": "/x", "id": 1, "successful": false, "error": "402::session_unknown"}]),
            "{path}"
        );
    }
    for path in ["/", "/comet", "/cometdx", "/cometd.js", "/COMETD", "/x/cometd", "/%63ometd"] {
        let response = b.post(&Post::new(HANDSHAKE).path(path));
        assert_eq!(
            (response.status, response.body.as_str()),
            (404, "Nothing here. The Bayeux endpoint is /cometd\n"),
            "{path}"
        );
    }
    assert_eq!(b.sessions(), 6);
}

#[test]
fn must_2_the_mount_can_be_another_path() {
    let mut b = Bench::with(|setup| setup.mount = "/a/faye");
    assert_eq!(b.post(&Post::new("[]").path("/a/faye/handshake")).json(), json!([]));
    assert_eq!(b.post(&Post::new("[]").path("/cometd")).status, 404);
    let mut b = Bench::with(|setup| setup.mount = "/");
    for path in ["/", "/cometd", "/any/thing"] {
        assert_eq!(b.post(&Post::new("[]").path(path)).json(), json!([]), "{path}");
    }
}

#[test]
fn must_2_the_query_is_ignored() {
    let mut b = Bench::new();
    for path in
        ["/cometd?", "/cometd?a=b", "/cometd/connect?message=%5B%5D&jsonp=f", "/cometd?/x?y", "/cometd?iframe=f"]
    {
        let replies = b.post(&Post::new(r#"{"channel":"/x"}"#).path(path)).json();
        assert_eq!(replies, json!([{"channel": "/x", "successful": false, "error": "402::session_unknown"}]), "{path}");
    }
    assert_eq!(b.post(&Post::new("[]").path("/x?/cometd")).status, 404);
}

#[test]
fn must_2_other_methods_get_405_with_one_line() {
    let mut b = Bench::new();
    let conn = b.open();
    for method in ["GET", "PUT", "DELETE", "PATCH", "TRACE", "post"] {
        let response = b.exchange(conn, format!("{method} /cometd HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        assert_eq!(response.status, 405, "{method}");
        assert_eq!(response.field("Allow"), Some("GET, POST, OPTIONS"));
        assert_eq!(response.body, "The Bayeux endpoint takes POST with a JSON array of messages\n");
    }
    b.give(conn, b"HEAD /cometd HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = b.raw(conn);
    assert!(head.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "a HEAD gets no body: {head}");
}

#[test]
fn must_7_transports_that_are_not_offered_get_400_with_one_line() {
    let mut b = Bench::new();
    let conn = b.open();
    for (get, name) in [
        ("GET /cometd HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "websocket"),
        ("GET /cometd/x HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n", "eventsource"),
        ("GET /cometd?message=%5B%5D&jsonp=f HTTP/1.1\r\nHost: h\r\n\r\n", "callback-polling"),
        ("GET /cometd?iframe=f HTTP/1.1\r\nHost: h\r\n\r\n", "iframe"),
    ] {
        let response = b.exchange(conn, get.as_bytes());
        let text = format!("{name} is not among the transports of this server; see its option transports\n");
        assert_eq!((response.status, response.body), (400, text), "{get}");
    }
    assert!(!b.is_closed(conn), "a refusal leaves the connection open");
}

#[test]
fn a_head_beyond_a_limit_is_told_how_much_that_is_and_what_changes_it() {
    let mut b = Bench::with(|setup| (setup.limits.line_bytes, setup.limits.head_bytes) = (500, 1_000));
    let long = "x".repeat(500);
    let fields = |count: usize, field: &str| format!("GET / HTTP/1.1\r\n{}\r\n", format!("{field}\r\n").repeat(count));
    for (bytes, status, text) in [
        (
            format!("GET /{long} HTTP/1.1\r\n"),
            414,
            "the request line is too long: at most 500 bytes, which no option changes",
        ),
        (
            fields(1, &format!("a: {long}")),
            431,
            "a header line is too long: at most 500 bytes, which no option changes",
        ),
        (fields(65, "a: b"), 431, "too many header fields: at most 64, which no option changes"),
        (
            fields(3, &format!("a: {}", &long[100..])),
            431,
            "the request head is too long: at most 1000 bytes, see the option max-head-size",
        ),
    ] {
        let conn = b.open();
        let answer = b.exchange(conn, bytes.as_bytes());
        assert_eq!((answer.status, answer.body), (status, format!("{text}\n")));
    }
    assert_eq!(b.engine.refusals.total(RefusalKind::Size), 4);
}

#[test]
fn tls_on_a_port_of_plain_http_is_told_what_it_is() {
    let mut b = Bench::new();
    for (bytes, text) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], "this looks like TLS; this port speaks HTTP\n"),
        (b"G\x16", "a byte in the request line that is not printable ASCII\n"),
    ] {
        let conn = b.open();
        let answer = b.exchange(conn, bytes);
        assert_eq!((answer.status, answer.body.as_str()), (400, text));
    }
}

#[test]
fn must_2_options_outside_the_mount_answers_204() {
    let mut b = Bench::new();
    let conn = b.open();
    for target in ["/", "*", "/health", "/cometdx"] {
        let response = b.exchange(conn, format!("OPTIONS {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        assert_eq!((response.status, response.body.as_str()), (204, ""), "{target}");
        assert_eq!(response.field("Content-Length"), None, "a 204 has none");
        assert_eq!(response.field("Access-Control-Allow-Methods"), None);
    }
}

#[test]
fn must_2_json_bodies_are_read_in_every_spelling_of_utf_8() {
    let mut b = Bench::new();
    for content_type in [
        "application/json",
        "application/json;charset=UTF-8",
        "application/json; charset=utf-8",
        "application/json;charset=\"utf-8\"",
        "APPLICATION/JSON; Charset=utf8",
        "text/json",
        "text/json;charset=UTF-8",
    ] {
        let response = b.post(&Post::new("[]").field("Content-Type", content_type));
        assert_eq!((response.status, response.body.as_str()), (200, "[]"), "{content_type}");
    }
    let response = b.post(&Post::new("[]").without("Content-Type"));
    assert_eq!((response.status, response.body.as_str()), (200, "[]"), "no Content-Type");
}

#[test]
fn must_2_every_other_content_type_is_415() {
    let mut b = Bench::new();
    for content_type in [
        "text/plain",
        "text/plain;charset=UTF-8",
        "text/html",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/octet-stream",
        "application/json;charset=ISO-8859-1",
        "text/json;charset=utf-16",
        "application/x-www-form-urlencoded;charset=latin1",
        "json",
        "",
    ] {
        let response = b.post(&Post::new(HANDSHAKE).field("Content-Type", content_type));
        assert_eq!((response.status, response.body.as_str()), (415, WRONG_TYPE), "{content_type}");
    }
    assert_eq!(b.sessions(), 0);
    let coded = b.post(&Post::new(HANDSHAKE).field("Content-Encoding", "gzip"));
    assert_eq!((coded.status, b.sessions()), (415, 0));
}

#[test]
fn must_2_a_form_carries_one_or_more_message_fields() {
    let mut b = Bench::new();
    let replies = b.post(&form(&[&format!("[{HANDSHAKE}]")])).json();
    assert_eq!(replies[0]["advice"], retry());
    let one = r#"{"channel":"/é ","id":"+%&=1"}"#;
    let two = r#"[{"channel":"/b","id":2},{"channel":"/c","id":3}]"#;
    let replies = b.post(&form(&[one, "[]", two])).json();
    let ids: Vec<&Value> = replies.as_array().unwrap().iter().map(|reply| &reply["id"]).collect();
    assert_eq!(ids, [&json!("+%&=1"), &json!(2), &json!(3)], "in the order of the fields");
    assert_eq!(replies[0]["channel"], "/é ");
    assert_eq!(b.post(&form(&["[]"])).body, "[]");
    let post =
        Post::new("a=b&message=%5B%7B%22channel%22:+%22/x%22%7D%5D&jsonp=f&message=[]").field("Content-Type", FORM);
    assert_eq!(b.post(&post).json()[0]["channel"], "/x", "other fields are ignored, + is a space");
}

#[test]
fn must_2_several_message_fields_are_one_batch() {
    let mut b = Bench::new();
    let client = b.client();
    let connect = client.connect().to_string();
    b.give(client.down, &form(&[&connect, "[]"]).bytes());
    assert_eq!(b.raw(client.down), "", "the sole message of its request is held");
    b.cut(client.down);
    let publish = client.publish("/a", 1).to_string();
    let replies = b.exchange(client.up, &form(&[&connect, &publish]).bytes()).json();
    assert_eq!((&replies[0]["channel"], &replies[1]["channel"]), (&json!("/a"), &json!("/meta/connect")));
}

#[test]
fn must_2_a_form_that_is_no_batch_is_400_and_changes_nothing() {
    let mut b = Bench::new();
    for (body, status) in [
        ("", 400),
        ("message", 400),
        ("messages=[]", 400),
        ("message=[]&message=", 400),
        ("message=%5", 400),
        ("message=[]&x=%ff", 400),
    ] {
        assert_eq!(b.post(&Post::new(body).field("Content-Type", FORM)).status, status, "{body:?}");
    }
    let response = b.post(&Post::new("a=1").field("Content-Type", FORM));
    assert_eq!(response.body, "The form has no message field. JSON needs Content-Type: application/json\n");
    for second in ["[", "1", "[1]"] {
        assert_eq!(b.post(&form(&[HANDSHAKE, second])).status, 400);
    }
    let many = "{},".repeat(1_023);
    assert_eq!(b.post(&form(&[&format!("[{many}{{}}]"), HANDSHAKE])).status, 413, "1,025 messages in two fields");
    assert_eq!(b.sessions(), 0, "the whole batch is parsed first");
}

#[test]
fn must_2_fayes_form_as_text_plain_is_taken_from_an_allowed_other_origin_only() {
    let mut b = Bench::with(|setup| setup.origins = vec!["https://app.example"]);
    let faye = form(&[&format!("[{HANDSHAKE}]")]).field("Content-Type", "text/plain;charset=UTF-8");
    let allowed = b.post(&faye.clone().field("Origin", "https://app.example"));
    assert_eq!(allowed.json()[0]["successful"], true);
    assert_eq!(allowed.field("Access-Control-Allow-Origin"), Some("https://app.example"));
    assert_eq!(b.sessions(), 1);
    assert_eq!(b.post(&faye).status, 415, "no origin");
    assert_eq!(b.post(&faye.clone().field("Origin", "http://h.example")).status, 415, "the same origin");
    assert_eq!(b.post(&faye.clone().field("Origin", "https://evil.example")).status, 403);
    let json = Post::new(HANDSHAKE).field("Content-Type", "text/plain").field("Origin", "https://app.example");
    assert!(matches!(b.post(&json).status, 400 | 415), "a form body only");
    assert_eq!(b.sessions(), 1);
}

#[test]
fn must_2_malformed_json_and_other_encodings_are_400() {
    let mut b = Bench::new();
    let mut bodies: Vec<Vec<u8>> = ["", "[", "x", "[{}] x", "{'channel':1}", "\"[]\"", "1", "null", "[{},]"]
        .iter()
        .map(|body| body.as_bytes().to_vec())
        .collect();
    bodies.push(b"[{\"channel\":\"/\xff\"}]".to_vec());
    bodies.push(b"\xef\xbb\xbf[]".to_vec());
    bodies.push("[]".encode_utf16().flat_map(u16::to_le_bytes).collect());
    for body in bodies {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let response = b.post(&Post::new(body));
        assert_eq!((response.status, response.body.lines().count()), (400, 1), "{shown}");
        assert_eq!(response.field("Content-Type"), Some("text/plain;charset=UTF-8"));
    }
    assert_eq!(b.engine.refusals.total(RefusalKind::Batch), 12);
}

#[test]
fn must_2_an_element_that_is_no_object_is_400_for_the_request() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    for element in ["null", "1", "\"/a\"", "[]", "true"] {
        let publish = client.publish("/a", 1);
        let response = b.exchange(client.up, &Post::new(format!("[{publish},{element}]")).bytes());
        assert_eq!((response.status, response.body.as_str()), (400, "message 2 is not an object\n"), "{element}");
    }
    assert_eq!(b.events(&client), [] as [Value; 0]);
}

#[test]
fn must_2_a_failed_request_changes_nothing() {
    let mut b = Bench::with(|setup| setup.limits.batch_messages = 3);
    let client = b.subscriber("/a");
    let publish = client.publish("/a", 1).to_string();
    let subscribe = client.subscribe("/b").to_string();
    let leave = client.disconnect().to_string();
    for (body, status) in [
        (format!("[{subscribe},{publish},{{]"), 400),
        (format!("[{publish},{{\"channel\":\"/a\",\"channel\":\"/b\"}}]"), 400),
        (format!("[{publish},{{\"channel\":\"\\ud800\"}}]"), 400),
        (format!("[{publish},{leave}"), 400),
        (format!("[{publish},{publish},{publish},{publish}]"), 413),
        (format!("[{leave},{HANDSHAKE},{{}},{{}}]"), 413),
    ] {
        let response = b.exchange(client.up, &Post::new(body.as_str()).bytes());
        assert_eq!(response.status, status, "{body}");
    }
    assert_eq!(b.engine.counters().published, 0);
    assert_eq!((b.sessions(), b.engine.census().topics), (1, 1));
    assert_eq!(b.text(client.up, "[{},{},{}]").matches("channel_missing").count(), 3, "three are not too many");
}

#[test]
fn must_2_a_body_that_is_too_large_is_413() {
    let body = |len: usize| format!("[{}]", " ".repeat(len - 2));
    for (len, status) in [(999, 200), (1_000, 200), (1_001, 413)] {
        let mut b = Bench::with(|setup| setup.limits.body_bytes = 1_000);
        assert_eq!(b.post(&Post::new(body(len))).status, status, "{len}");
        let conn = b.open();
        let head = "POST /cometd HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        let response = b.exchange(conn, format!("{head}{len:x}\r\n{}\r\n0\r\n\r\n", body(len)).as_bytes());
        assert_eq!(response.status, status, "{len} in chunks");
        let form = format!("message=[]&x={}", "y".repeat(len - 13));
        assert_eq!(b.post(&Post::new(form).field("Content-Type", FORM)).status, status, "{len} as a form");
    }
}

#[test]
fn must_2_a_known_field_of_the_wrong_type_fails_that_message_only() {
    let mut b = Bench::new();
    let client = b.client();
    let id = &client.id;
    for (field, value, error) in [
        ("id", "true", "405::message_id_invalid"),
        ("id", "[1]", "405::message_id_invalid"),
        ("id", "{}", "405::message_id_invalid"),
        ("clientId", "7", "400:clientId:field_invalid"),
        ("connectionType", "[]", "400:connectionType:field_invalid"),
        ("version", "1.0", "400:version:field_invalid"),
        ("minimumVersion", "{}", "400:minimumVersion:field_invalid"),
        ("supportedConnectionTypes", "[1]", "400:supportedConnectionTypes:field_invalid"),
        ("subscription", "5", "403::subscription_invalid"),
        ("advice", "\"none\"", "400:advice:field_invalid"),
        ("advice", "{\"timeout\":\"1\"}", "400:advice:field_invalid"),
        ("ext", "[]", "400:ext:field_invalid"),
    ] {
        let own = if field == "clientId" { String::new() } else { format!("\"clientId\":\"{id}\",") };
        let body = format!(
            "[{{\"channel\":\"/a\",{own}\"data\":1,\"{field}\":{value}}},\
            {{\"channel\":\"/b\",\"clientId\":\"{id}\",\"data\":1,\"id\":\"next\"}}]"
        );
        let replies = b.exchange(client.up, &Post::new(body).bytes()).json();
        assert_eq!(
            (&replies[0]["successful"], &replies[0]["error"]),
            (&json!(false), &json!(error)),
            "{field} {value}"
        );
        assert_eq!(replies[1], json!({"channel": "/b", "id": "next", "successful": true}), "{field}");
    }
    let replies = b.text(client.up, "[{\"channel\":1,\"id\":2}]");
    assert_eq!(replies, r#"[{"channel":"","id":2,"successful":false,"error":"405::channel_invalid"}]"#);
    assert_eq!(b.engine.counters().published, 12, "only the good ones");
}

#[test]
fn must_2_null_is_no_field() {
    let mut b = Bench::new();
    let client = b.client();
    let nulls = r#""id":null,"ext":null,"advice":null,"subscription":null,"version":null"#;
    let body = format!(r#"[{{"channel":"/a","clientId":"{}","data":null,{nulls}}}]"#, client.id);
    assert_eq!(b.text(client.up, &body), r#"[{"channel":"/a","successful":true}]"#);
}

#[test]
fn must_2_the_head_of_a_response() {
    let mut b = Bench::new();
    let conn = b.open();
    let response = b.exchange(conn, &Post::new("[]").bytes());
    assert_eq!(
        response.head,
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nCache-Control: no-store\r\n\
        Content-Type: application/json;charset=UTF-8\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 2"
    );
    b.advance(61_999);
    let later = b.exchange(conn, &Post::new("[]").bytes());
    assert_eq!(later.field("Date"), Some("Thu, 01 Jan 2026 00:01:01 GMT"));
    let failed = b.exchange(conn, &Post::new(r#"{"channel":"/meta/nope","id":1}"#).bytes());
    assert_eq!(failed.status, 200, "a failure of Bayeux is a success of HTTP");
    assert_eq!(failed.body, r#"[{"channel":"/meta/nope","id":1,"successful":false,"error":"404::channel_unknown"}]"#);
    assert_eq!(failed.field("Content-Length"), Some(failed.body.len().to_string().as_str()));
    assert_eq!(failed.field("Cache-Control"), Some("no-store"));
}

#[test]
fn must_2_a_length_counts_bytes() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    b.say(client.up, &json!([client.publish("/a", "é😀"), client.publish("/a", "x")]));
    b.give(client.down, &Post::json(&client.glance()).bytes());
    let raw = b.raw(client.down);
    let (head, body) = raw.split_once("\r\n\r\n").unwrap();
    assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
    assert!(body.contains("é😀"));
}

#[test]
fn must_2_http_1_0_needs_no_host_and_keeps_the_connection_only_if_asked() {
    let mut b = Bench::new();
    let conn = b.open();
    let response = b.exchange(conn, b"POST /cometd HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n[]");
    assert_eq!((response.body.as_str(), response.field("Connection")), ("[]", Some("keep-alive")));
    assert!(!b.is_closed(conn));
    let response = b.exchange(conn, b"POST /cometd HTTP/1.0\r\nContent-Length: 2\r\n\r\n[]");
    assert_eq!((response.body.as_str(), response.field("Connection")), ("[]", Some("close")));
    assert!(b.is_shut(conn));
    b.fin(conn);
    assert!(b.is_closed(conn));
    let conn = b.open();
    let response = b.exchange(conn, b"POST /cometd HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]");
    assert_eq!(response.status, 400, "HTTP/1.1 needs one");
}

#[test]
fn must_2_a_connection_is_kept_unless_the_peer_says_close() {
    let mut b = Bench::new();
    let conn = b.open_from(STRANGER);
    for _ in 0..3 {
        assert_eq!(b.text(conn, "[]"), "[]");
    }
    let response = b.exchange(conn, &Post::new("[]").field("Connection", "close").bytes());
    assert_eq!((response.body.as_str(), response.field("Connection")), ("[]", Some("close")));
    assert!(b.is_shut(conn));
    b.advance(1_000);
    assert!(b.is_closed(conn), "a peer that does not end its side is not waited for longer");
}

#[test]
fn must_2_nothing_is_handled_after_a_request_that_closes_the_connection() {
    let mut b = Bench::new();
    let client = b.client();
    let conn = b.open();
    let parked = Post::json(&client.connect()).field("Connection", "close").bytes();
    b.give(conn, &parked);
    b.give(conn, &Post::json(&client.publish("/a", 1)).bytes());
    assert_eq!((b.raw(conn).as_str(), b.engine.counters().published), ("", 0), "the poll is still held");
    b.advance(30_000);
    assert_eq!(b.one(conn).field("Connection"), Some("close"));
    assert_eq!((b.raw(conn).as_str(), b.engine.counters().published), ("", 0));
    assert!(b.is_shut(conn));
}

#[test]
fn must_2_leave_to_send_a_body_is_given_on_a_connection_that_has_been_idle() {
    for idle_ms in [0, 9_999, 10_000, 10_001, 74_999] {
        let mut b = Bench::new();
        let conn = b.open();
        assert_eq!(b.text(conn, "[]"), "[]");
        b.advance(idle_ms);
        let post = Post::new("[]").field("Expect", "100-continue").bytes();
        let (head, body) = post.split_at(post.len() - 2);
        // Also a socket that takes no bytes just then gets its time to.
        b.stall(conn);
        b.give(conn, head);
        b.advance(9_999);
        b.unstall(conn);
        assert_eq!(b.raw(conn), "HTTP/1.1 100 Continue\r\n\r\n", "idle for {idle_ms} ms");
        b.give(conn, body);
        assert_eq!(b.one(conn).body, "[]");
    }
}

#[test]
fn must_2_a_page_that_is_let_in_can_read_why_it_is_refused() {
    let app = "https://app.example";
    let mut b = Bench::with(|setup| setup.origins = vec![app]);
    for (post, status) in [
        (Post::new("["), 400),
        (Post::new("[]").without("Content-Type").field("Content-Type", "text/xml"), 415),
        (Post::new("[]").without("Content-Type").field("Content-Type", "application/x-www-form-urlencoded"), 400),
    ] {
        let response = b.post(&post.field("Origin", app));
        assert_eq!((response.status, response.field("Access-Control-Allow-Origin")), (status, Some(app)));
    }
}

#[test]
fn a_peer_that_takes_its_answers_costs_no_timer_but_that_of_an_idle_connection() {
    let mut b = Bench::new();
    let conn = b.open();
    let (head_ms, idle_ms) = (b.engine.limits().head_ms, b.engine.limits().idle_ms);
    assert_eq!(b.text(conn, "[]"), "[]");
    // The timer of the first head, which has come in time, is the first to fire.
    b.advance(head_ms);
    for _ in 0..3 {
        assert_eq!(b.text(conn, "[]"), "[]");
        let wake = b.engine.poll_timeout().map(|(at, _)| at - b.now_ms());
        assert_eq!(wake, Some(idle_ms - head_ms), "not that of writing, which was over at once");
    }
}

#[test]
fn what_is_kept_of_requests_until_there_is_room_does_not_grow() {
    let mut b = Bench::new();
    let conn = b.open();
    b.stall(conn);
    let post = Post::new(format!("[{}]", vec!["{}"; 1_024].join(","))).bytes();
    let (mut given, most) = (0, 64 * 1024);
    for _ in 0..200 {
        if b.engine.wants_input(conn) {
            given += most / post.len();
            b.give(conn, &post.repeat(most / post.len()));
        }
        b.take_some(conn, 16 * 1024);
    }
    b.unstall(conn);
    assert!(given < 80, "{given} requests of {} bytes were taken while few were answered", post.len());
    assert_eq!(b.take(conn).len(), given);
}
