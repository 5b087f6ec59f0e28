//! What is written on sessions and channels, and the terms of an admission.

use serde_json::{Value, json};

use super::super::bench::{Bench, HANDSHAKE, Post, unknown_connect};
use super::super::sockets::{messages, say, upgrade};
use super::{Log, comes_to_rest, with_hooks};
use crate::hooks::{
    Admission, Context, Hooks, Listener, Opinion, Published, Query, Removal, Request, SecurityPolicy, Session, Verdict,
};

/// Admits whoever says a name in the `ext`, for as long as it says in `ms`.
struct Admits;

impl SecurityPolicy for Admits {
    fn can_handshake(&mut self, query: &Query<'_>, admission: &mut Admission) -> Verdict {
        let ext: Value = serde_json::from_str(query.message().ext.map_or("{}", |ext| ext.get())).unwrap();
        if let Some(name) = ext["name"].as_str() {
            admission.attributes.set("name", name).unwrap();
        }
        admission.ends_unix_ms = ext["ms"].as_i64().map(|ms| query.now().unix_ms.saturating_add_signed(ms));
        Verdict::Allow
    }

    fn can_publish(&mut self, _: &Query<'_>, session: Option<&mut Session<'_>>, channel: &str) -> Verdict {
        let session = session.unwrap();
        let own = session.attribute("name").map(|name| format!("/of/{name}"));
        if own.as_deref() == Some(channel) { Verdict::Allow } else { Verdict::deny("not yours") }
    }
}

fn handshake(ext: &Value) -> Value {
    let mut handshake: Value = serde_json::from_str(HANDSHAKE).unwrap();
    handshake["ext"] = ext.clone();
    handshake
}

/// A session that lives for so long, with its id.
fn admitted(b: &mut Bench, ms: i64) -> Value {
    b.post(&Post::json(&handshake(&json!({"ms": ms})))).json()[0]["clientId"].clone()
}

#[test]
fn what_an_admission_says_is_on_the_session_from_the_start() {
    let mut b = with_hooks(Hooks::default().policy(Admits));
    let conn = b.open();
    let id = b.tell(conn, &handshake(&json!({"name": "ann"})))["clientId"].clone();
    let publish = |channel: &str| json!({"channel": channel, "clientId": id, "data": 1});
    assert_eq!(b.tell(conn, &publish("/of/ann"))["successful"], true);
    assert_eq!(b.tell(conn, &publish("/of/bob"))["error"], "403:not yours:publish_denied");
}

#[test]
fn every_hook_reads_and_writes_the_same_attributes() {
    let bump = |session: &mut Session<'_>| {
        let count: u32 = session.attribute("n").map_or(0, |n| n.parse().unwrap());
        session.attributes.set("n", &(count + 1).to_string()).unwrap();
        count + 1
    };
    struct Heard(Log);
    impl Listener for Heard {
        fn message(&mut self, _: Published<'_>, session: Option<&mut Session<'_>>, _: &mut Context<'_>) {
            self.0.note(session.unwrap().attribute("n").unwrap());
        }
        fn session_removed(&mut self, session: &mut Session<'_>, _: Removal, _: &mut Context<'_>) {
            self.0.note(format!("at last {}", session.attribute("n").unwrap()));
        }
    }
    let log = Log::default();
    let hooks = Hooks::default()
        .authorizer("/**", move |_, _: &Query<'_>, session: Option<&mut Session<'_>>, _: &str| {
            bump(session.unwrap());
            Opinion::Grant
        })
        .unwrap();
    let mut b = with_hooks(hooks.listener(Heard(log.clone())));
    let (client, other) = (b.client(), b.client());
    b.tell(client.up, &client.publish("/a", 1));
    b.tell(other.up, &other.publish("/a", 1));
    b.tell(client.up, &client.publish("/a", 1));
    assert_eq!(log.take(), ["2", "1", "3"], "create and publish, publish, publish");
    b.tell(client.up, &client.disconnect());
    assert_eq!(log.take(), ["at last 3"], "they are there to the end");
}

#[test]
fn a_session_ends_in_time_and_its_client_is_told_to_shake_hands_again() {
    let mut b = with_hooks(Hooks::default().policy(Admits));
    let conn = b.open();
    let id = b.tell(conn, &handshake(&json!({"ms": 15_000})))["clientId"].clone();
    let connect = json!({"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling", "id": "c"});
    b.tell(conn, &connect);
    b.give(conn, &Post::json(&connect).bytes());
    b.advance(14_999);
    assert_eq!(b.raw(conn), "");
    b.advance(1);
    assert_eq!(b.one(conn).json(), json!([unknown_connect()]));
    assert_eq!(b.sessions(), 0);
    // One between two connects hears it with the next.
    let id = b.tell(conn, &handshake(&json!({"ms": 5_000})))["clientId"].clone();
    let connect = json!({"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling", "id": "c"});
    b.tell(conn, &connect);
    b.advance(5_000);
    assert_eq!((b.sessions(), b.tell(conn, &connect)), (0, unknown_connect()));
    b.cut(conn);
    comes_to_rest(&mut b, &[]);
}

#[test]
fn terms_that_are_over_or_never_end() {
    let mut b = with_hooks(Hooks::default().policy(Admits));
    for ms in [0, -5_000, i64::MIN] {
        admitted(&mut b, ms);
        assert_eq!(b.sessions(), 0, "{ms}");
    }
    let id = admitted(&mut b, i64::MAX);
    assert_eq!(b.sessions(), 1);
    let conn = b.open();
    let connect = json!({"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling", "id": "c"});
    assert_eq!(b.tell(conn, &connect)["successful"], true);
    for _ in 0..5 {
        b.give(conn, &Post::json(&connect).bytes());
        b.advance(30_000);
        assert_eq!(b.one(conn).json()[0]["successful"], true);
    }
}

const ALL: [&str; 4] = ["long-polling", "websocket", "streaming", "eventsource"];

fn bench() -> Bench {
    Bench::with(|setup| {
        setup.hooks = Hooks::default().policy(Admits);
        setup.broker.transports = ALL.to_vec();
        setup.limits.confirm_ms = 0;
    })
}

#[test]
fn over_a_websocket_the_held_connect_says_so_or_the_next_one() {
    let mut b = bench();
    let conn = upgrade(&mut b, "");
    let id = say(&mut b, conn, &handshake(&json!({"ms": 5_000})))[0][0]["clientId"].clone();
    let connect = json!({"channel": "/meta/connect", "clientId": id, "connectionType": "websocket", "id": "c"});
    say(&mut b, conn, &connect);
    assert_eq!(say(&mut b, conn, &connect), Vec::<Value>::new());
    b.advance(5_000);
    assert_eq!(messages(&mut b, conn), [json!([unknown_connect()])]);
    // The WebSocket stays: the next handshake comes over it.
    let id = say(&mut b, conn, &handshake(&json!({"ms": 5_000})))[0][0]["clientId"].clone();
    let connect = json!({"channel": "/meta/connect", "clientId": id, "connectionType": "websocket", "id": "c"});
    say(&mut b, conn, &connect);
    b.advance(5_000);
    assert_eq!((messages(&mut b, conn), b.sessions()), (Vec::new(), 0));
    assert_eq!(say(&mut b, conn, &connect), [json!([unknown_connect()])]);
    b.engine.check_links();
    b.cut(conn);
    comes_to_rest(&mut b, &[]);
}

#[test]
fn over_a_stream_the_connect_ends_so() {
    let mut b = bench();
    let conn = b.open();
    let id = b.tell(conn, &handshake(&json!({"ms": 5_000})))["clientId"].clone();
    let connect = json!({"channel": "/meta/connect", "clientId": id, "connectionType": "streaming", "id": "c"});
    b.exchange(conn, &Post::json(&connect).bytes());
    b.give(conn, &Post::json(&connect).bytes());
    assert!(b.stream(conn).0.is_some());
    b.advance(5_000);
    let (_, body, over) = b.stream(conn);
    assert_eq!((serde_json::from_str::<Value>(body.trim()).unwrap(), over), (json!([unknown_connect()]), true));
    b.engine.check_links();
    b.cut(conn);
    comes_to_rest(&mut b, &[]);
}

#[test]
fn an_event_source_ends_and_its_next_connect_says_so() {
    let mut b = bench();
    let (conn, stream) = (b.open(), b.open());
    let id = b.tell(conn, &handshake(&json!({"ms": 5_000})))["clientId"].clone();
    let connect = json!({"channel": "/meta/connect", "clientId": id, "connectionType": "eventsource", "id": "c"});
    b.tell(conn, &connect);
    let path = id.as_str().unwrap();
    b.give(stream, format!("GET /cometd/{path} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n").as_bytes());
    assert!(b.stream(stream).0.is_some());
    b.advance(5_000);
    assert!(b.stream(stream).2, "it is over");
    assert_eq!(b.tell(conn, &connect), unknown_connect());
    b.cut(conn);
    b.cut(stream);
    comes_to_rest(&mut b, &[]);
}

/// What is written on a channel is there as long as it is, and is not found under the name of one that there is not.
#[test]
fn channels_have_attributes_while_they_are_there() {
    let log = Log::default();
    let noted = log.clone();
    let service = move |request: Request<'_>, _: &mut Session<'_>, context: &mut Context<'_>| {
        let [channel, text]: [String; 2] = serde_json::from_str(request.data()).unwrap();
        let Some(attributes) = context.channel_attributes(&channel) else { return noted.note("none") };
        let before = attributes.get("topic").unwrap_or("-").to_owned();
        attributes.set("topic", &text).unwrap();
        noted.note(before);
    };
    struct Hears;
    impl Listener for Hears {}
    let mut b = with_hooks(Hooks::default().service("/service/set", service).unwrap().listener(Hears));
    let client = b.subscriber(json!(["/a", "/b/*"]));
    let set = |b: &mut Bench, channel: &str, text: &str| {
        b.tell(client.up, &client.publish("/service/set", json!([channel, text])));
        log.take().remove(0)
    };
    assert_eq!(set(&mut b, "/a", "one"), "-");
    assert_eq!(set(&mut b, "/a", "two"), "one");
    assert_eq!([set(&mut b, "/b/*", "x"), set(&mut b, "/b/c", "x"), set(&mut b, "/c", "x")], ["-", "none", "none"]);
    b.tell(client.up, &client.unsubscribe("/a"));
    assert_eq!(set(&mut b, "/a", "three"), "two", "for a while");
    b.hold(&client);
    b.advance(6_000);
    assert_eq!(set(&mut b, "/a", "x"), "none");
    b.inject("/a", "1");
    assert_eq!(set(&mut b, "/a", "x"), "-", "one of the same name is another one");
}

#[test]
fn what_is_kept_for_hooks_does_not_disturb_what_the_server_keeps_for_itself() {
    let mut b = with_hooks(Hooks::default().policy(Admits));
    let conn = b.open();
    let mut greeting = handshake(&json!({"name": "ann", "ms": 3_600_000, "ack": true}));
    greeting["ext"]["timesync"] = json!({"tc": 1, "l": 0, "o": 0});
    let reply = b.tell(conn, &greeting);
    assert_eq!(reply["ext"]["ack"], true);
    let id = &reply["clientId"];
    let connect = |ext: Value| {
        let advice = json!({"timeout": 0});
        json!({"channel": "/meta/connect", "clientId": id, "id": "c", "ext": ext, "advice": advice})
    };
    assert_eq!(b.tell(conn, &connect(json!({"ack": 0})))["ext"], json!({"ack": 1}));
    // Acknowledgement ends; the name stays.
    let off = b.tell(conn, &connect(json!({"ack": false, "timesync": {"tc": 1, "l": 0, "o": 0}})));
    assert_eq!(off["ext"].as_object().unwrap().keys().collect::<Vec<_>>(), ["timesync"]);
    assert_eq!(b.tell(conn, &connect(json!({}))).get("ext"), None);
    let publish = json!({"channel": "/of/ann", "clientId": id, "data": 1});
    assert_eq!(b.tell(conn, &publish)["successful"], true);
}
