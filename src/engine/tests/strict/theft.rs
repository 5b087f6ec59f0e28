//! A thief has a client id, and not the cookie of its browser: it is an unknown session, like any that there never
//! was.

use serde_json::{Value, json};

use super::super::bench::{Bench, Client, HANDSHAKE, Post, connected};
use crate::broker::token::ClientId;
use crate::conn::ConnKey;
use crate::framing::TRANSPORTS;
use crate::ws::frame::Opcode;
use crate::ws::write::Frame;

/// How messages get in.
#[derive(Clone, Copy, Debug)]
enum Road {
    LongPolling,
    Streaming,
    Form,
    CallbackPolling,
    Iframe,
    WebSocket,
}

const ROADS: [Road; 6] =
    [Road::LongPolling, Road::Streaming, Road::Form, Road::CallbackPolling, Road::Iframe, Road::WebSocket];

impl Road {
    fn connection_type(self) -> &'static str {
        match self {
            Self::LongPolling | Self::Form => "long-polling",
            Self::Streaming => "streaming",
            Self::CallbackPolling => "callback-polling",
            Self::Iframe => "iframe",
            Self::WebSocket => "websocket",
        }
    }
}

/// The whole of what comes back, and whether the connection is at its end then.
type Reply = (String, bool);

fn bench(require_cookie: bool) -> Bench {
    Bench::with(|setup| {
        setup.broker.transports = TRANSPORTS.to_vec();
        setup.broker.require_browser_cookie = require_cookie;
    })
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn cookie_field(cookie: &str) -> String {
    if cookie.is_empty() { String::new() } else { format!("Cookie: BAYEUX_BROWSER={cookie}\r\n") }
}

/// Sends messages on a new connection.
fn send(b: &mut Bench, road: Road, cookie: &str, messages: &Value) -> Reply {
    let conn = b.open();
    let (text, field) = (messages.to_string(), cookie_field(cookie));
    let get = |name: &str| {
        let message = encoded(&text);
        format!("GET /cometd?message={message}&{name}=cb HTTP/1.1\r\nHost: h.example\r\n{field}\r\n").into_bytes()
    };
    let post = |post: Post| if cookie.is_empty() { post } else { post.cookie(cookie) };
    match road {
        Road::LongPolling | Road::Streaming => b.give(conn, &post(Post::new(text.clone())).bytes()),
        Road::Form => {
            let form = Post::new(format!("message={}", encoded(&text)));
            b.give(conn, &post(form.field("Content-Type", "application/x-www-form-urlencoded")).bytes());
        }
        Road::CallbackPolling => b.give(conn, &get("jsonp")),
        Road::Iframe => b.give(conn, &get("iframe")),
        Road::WebSocket => {
            upgrade(b, conn, &field);
            let mut frame = Vec::new();
            Frame { mask: Some([1, 2, 3, 4]), ..Frame::whole(Opcode::Text) }.write(&mut frame, text.as_bytes());
            b.give(conn, &frame);
        }
    }
    ended(b, conn)
}

fn upgrade(b: &mut Bench, conn: ConnKey, field: &str) {
    let request = format!(
        "GET /cometd HTTP/1.1\r\nHost: h.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{field}\r\n"
    );
    assert!(b.exchange_bare(conn, request.as_bytes()).starts_with("HTTP/1.1 101 "));
}

/// Asks for a stream of that session's events.
fn attach(b: &mut Bench, cookie: &str, id: &str) -> Reply {
    let conn = b.open();
    let field = cookie_field(cookie);
    let request = format!("GET /cometd/{id} HTTP/1.1\r\nHost: h.example\r\nAccept: text/event-stream\r\n{field}\r\n");
    b.give(conn, request.as_bytes());
    ended(b, conn)
}

fn ended(b: &mut Bench, conn: ConnKey) -> Reply {
    let reply = (String::from_utf8_lossy(&b.bytes(conn)).into_owned(), b.is_shut(conn) || b.is_closed(conn));
    if !b.is_closed(conn) {
        b.cut(conn);
    }
    reply
}

/// Ids that are nobody's: of that place and of another one, with almost the right secret and with any, and none at
/// all.
fn unknown_ids(stolen: &str) -> Vec<String> {
    let ClientId { slot, secret } = ClientId::from_text(stolen).unwrap();
    let (mut first, mut last) = (secret, secret);
    first[0] ^= 0x80;
    last[15] ^= 1;
    let of = |slot, secret| ClientId { slot, secret }.to_text();
    vec![
        of(slot, first),
        of(slot, last),
        of(slot, [0; 16]),
        of(slot + 1_000, secret),
        of(u32::MAX, secret),
        stolen[1..].to_owned(),
        format!("{stolen}a"),
        stolen.to_uppercase(),
        "x".to_owned(),
    ]
}

/// Everything that one can say with a client id.
fn messages(id: &str, road: Road) -> Vec<Value> {
    let connect =
        json!({"channel": "/meta/connect", "clientId": id, "connectionType": road.connection_type(), "id": 1});
    let replay = json!({"replay": {"/**": -2}});
    let mut glance = connect.clone();
    glance["advice"] = json!({"timeout": 0});
    vec![
        connect,
        glance,
        json!({"channel": "/meta/connect", "clientId": id, "connectionType": "eventsource", "id": 1}),
        json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/stolen", "id": 1}),
        json!({"channel": "/meta/subscribe", "clientId": id, "subscription": ["/stolen", "/**"], "id": 1}),
        json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/**", "id": 1, "ext": replay}),
        json!({"channel": "/meta/unsubscribe", "clientId": id, "subscription": "/own", "id": 1}),
        json!({"channel": "/meta/disconnect", "clientId": id, "id": 1}),
        json!({"channel": "/own", "clientId": id, "data": "stolen", "id": 1}),
        json!({"channel": "/service/x", "clientId": id, "data": "stolen", "id": 1}),
        json!({"channel": "/service/probe", "clientId": id, "data": {}, "ext": {"probe": 1}, "id": 1}),
        json!({"channel": "/meta/unheard", "clientId": id, "id": 1}),
        json!({"channel": "/own", "clientId": id, "id": 1}),
    ]
}

/// The message by itself, and first, in the middle and last among the thief's own.
fn batches(message: &Value, own: &str) -> Vec<Value> {
    let publish = |id: u8| json!({"channel": "/thief", "clientId": own, "data": id, "id": id});
    vec![
        json!([message]),
        json!([message, publish(2), publish(3)]),
        json!([publish(2), message, publish(3)]),
        json!([publish(2), publish(3), message]),
    ]
}

/// Somebody who is subscribed to `/own` and waits, with the cookie `victim`.
fn victim(b: &mut Bench) -> Client {
    let client = b.handshake_with(Some("victim"));
    for message in [client.connect(), client.subscribe("/own"), client.connect()] {
        b.give(client.down, &Post::json(&message).cookie("victim").bytes());
    }
    b.bytes(client.down);
    client
}

/// A session of the thief's own.
fn thief(b: &mut Bench, cookie: &str) -> String {
    let conn = b.open();
    let post = if cookie.is_empty() { Post::new(HANDSHAKE) } else { Post::new(HANDSHAKE).cookie(cookie) };
    let id = b.exchange(conn, &post.bytes()).json()[0]["clientId"].as_str().unwrap().to_owned();
    b.cut(conn);
    id
}

/// Nothing of the victim's has changed: it waits, is subscribed to what it was, and gets what it should.
fn assert_unharmed(b: &mut Bench, client: &Client) {
    assert_eq!(b.bytes(client.down), b"", "the connect is held as before");
    assert!(b.inject("/stolen", "1") && b.inject("/own", "2"));
    assert_eq!(b.one(client.down).json(), json!([{"channel": "/own", "data": 2}, connected()]));
}

/// What the thief is answered to the stolen id and to one that is nobody's, if they are not the same.
fn difference(b: &mut Bench, cookie: &str, stolen: &str, own: &str) -> Option<String> {
    let mut compare = |what: &str, ask: &mut dyn FnMut(&mut Bench, &str) -> Reply| {
        let answer = ask(b, stolen);
        unknown_ids(stolen).into_iter().find_map(|unknown| {
            let other = ask(b, &unknown);
            (answer != other).then(|| format!("{what}: {answer:?}, but to {unknown} {other:?}"))
        })
    };
    let attached = compare("attach", &mut |b, id| attach(b, cookie, id));
    let spoken = ROADS.into_iter().flat_map(|road| (0..messages("", road).len()).map(move |at| (road, at))).find_map(
        |(road, at)| {
            (0..4).find_map(|place| {
                let ask =
                    &mut |b: &mut Bench, id: &str| send(b, road, cookie, &batches(&messages(id, road)[at], own)[place]);
                compare(&format!("{road:?}, message {at}, place {place}"), ask)
            })
        },
    );
    attached.or(spoken)
}

#[test]
fn a_stolen_client_id_is_like_one_that_never_was() {
    // Another browser's cookie; what is none; and none at all, where one is required.
    for (cookie, required) in [("thief", false), ("victi", false), ("a b", false), ("", true)] {
        let mut b = bench(required);
        let client = victim(&mut b);
        let own = thief(&mut b, if required { "thief" } else { cookie });
        assert_eq!(difference(&mut b, cookie, &client.id, &own), None, "with the cookie {cookie:?}");
        assert_unharmed(&mut b, &client);
    }
}

#[test]
fn with_the_cookie_the_id_is_known() {
    let mut b = bench(false);
    let client = victim(&mut b);
    let own = thief(&mut b, "victim");
    let found = difference(&mut b, "victim", &client.id, &own).unwrap();
    assert!(found.starts_with("attach: (\"HTTP/1.1 200 OK"), "{found}");
}

#[test]
fn every_message_of_a_stolen_id_is_answered_as_of_an_unknown_session() {
    for road in [Road::LongPolling, Road::Form] {
        let mut b = bench(false);
        let client = victim(&mut b);
        let own = thief(&mut b, "thief");
        let before = b.engine.counters().published;
        for message in messages(&client.id, road) {
            for batch in batches(&message, &own) {
                let (text, _) = send(&mut b, road, "thief", &batch);
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("Set-Cookie"), "{head}");
                let replies: Vec<Value> = serde_json::from_str(body).unwrap();
                assert_eq!(replies.len(), batch.as_array().unwrap().len(), "{body}");
                for reply in replies {
                    let stolen = reply["id"] == 1;
                    assert_eq!(reply["successful"], !stolen, "{batch}: {reply}");
                    let unheard = message["channel"] == "/meta/unheard";
                    let error = if unheard { "404::channel_unknown" } else { "402::session_unknown" };
                    assert!(!stolen || reply["error"] == error, "{batch}: {reply}");
                }
            }
        }
        let published = b.engine.counters().published - before;
        assert_eq!(published, 6 * messages("", road).len() as u64, "what the thief said of its own, and no more");
        assert_unharmed(&mut b, &client);
    }
}
