//! Listeners: what they are told, when and in which order; always before the client is.

use serde_json::{Value, json};

use super::super::bench::{Bench, Client, HANDSHAKE, Post};
use super::super::sockets::{say, upgrade};
use super::{Log, Words, with_hooks};
use crate::bayeux::OwnedMessage;
use crate::broker::Overflow;
use crate::hooks::{
    Admission, Command, Context, Extension, Hooks, Listener, OutgoingReply, Passage, Query, Removal, SecurityPolicy,
    Session, SessionId, Verdict,
};

/// Says of each message and reply that it comes or goes, so that the order shows.
struct Replies(Log);

impl Extension for Replies {
    fn incoming(&mut self, message: &mut OwnedMessage, _: Option<&mut Session<'_>>, _: &mut Context<'_>) -> Passage {
        self.0.note(format!("in {}", message.channel()));
        Passage::Pass
    }

    fn outgoing(&mut self, event: &mut OwnedMessage, _: &mut Context<'_>) -> Passage {
        self.0.note(format!("out {}", event.channel()));
        Passage::Pass
    }

    fn reply(&mut self, reply: &mut OutgoingReply<'_>, _: Option<&mut Session<'_>>, _: &mut Context<'_>) {
        self.0.note(format!("reply {}", reply.channel()));
    }
}

/// Calls the sessions `one`, `two`, ….
#[derive(Default)]
struct Names(usize);

impl SecurityPolicy for Names {
    fn can_handshake(&mut self, _: &Query<'_>, admission: &mut Admission) -> Verdict {
        let name = ["one", "two", "three", "four", "five"][self.0 % 5];
        self.0 += 1;
        admission.attributes.set("name", name).unwrap();
        Verdict::Allow
    }
}

fn bench(log: &Log) -> Bench {
    with_hooks(Hooks::default().policy(Names::default()).listener(Words::all(log)))
}

#[test]
fn what_happens_is_told_before_the_reply_that_tells_the_client() {
    let log = Log::default();
    let hooks = Hooks::default().policy(Names::default()).listener(Words::named("1: ", &log));
    let mut b = with_hooks(hooks.listener(Words::named("2: ", &log)).extension(Replies(log.clone())));
    let client = b.client();
    let twice = |line: &str| [format!("1: {line}"), format!("2: {line}")];
    let mut told = log.take();
    assert_eq!(told.len(), 6);
    told.truncate(4);
    let [one, two] = twice("added one");
    assert_eq!(told, ["in /meta/handshake", &one, &two, "reply /meta/handshake"], "in the order of adding");
    b.tell(client.up, &client.subscribe("/a"));
    let lines = [twice("channel added /a"), twice("subscribed one /a")].concat();
    let expected = [vec!["in /meta/subscribe".to_owned()], lines, vec!["reply /meta/subscribe".to_owned()]].concat();
    assert_eq!(log.take(), expected);
    b.say(client.up, &client.publish("/a", 5));
    let expected = ["in /a", "1: message /a 5 by one", "2: message /a 5 by one", "out /a", "reply /a"];
    assert_eq!(log.take(), expected);
    b.tell(client.up, &client.unsubscribe("/a"));
    let [one, two] = twice("unsubscribed one /a");
    assert_eq!(log.take(), ["in /meta/unsubscribe", &one, &two, "reply /meta/unsubscribe"]);
    b.tell(client.up, &client.disconnect());
    let [one, two] = twice("removed one Disconnected");
    assert_eq!(log.take(), ["in /meta/disconnect", &one, &two, "reply /meta/disconnect"]);
}

#[test]
fn subscriptions_are_told_of_that_are_new_and_ends_of_those_that_there_were() {
    let log = Log::default();
    let mut b = bench(&log);
    let client = b.client();
    log.take();
    b.tell(client.up, &client.subscribe(json!(["/a", "/b/**", "/a", "/service/x"])));
    let first = ["channel added /a", "subscribed one /a", "channel added /b/**", "subscribed one /b/**"];
    assert_eq!(log.take(), first);
    b.tell(client.up, &client.subscribe(json!(["/b/**", "/c"])));
    assert_eq!(log.take(), ["channel added /c", "subscribed one /c"]);
    b.tell(client.up, &client.unsubscribe(json!(["/nothing", "/b/*", "/c", "/c"])));
    assert_eq!(log.take(), ["unsubscribed one /c"]);
    let denied = b.tell(client.up, &client.subscribe(json!(["/d", "/meta/x"])));
    assert_eq!((&denied["successful"], log.take()), (&json!(false), Vec::new()));
}

/// With CometD the end of a session is told first, and then those of its subscriptions. Ours tells of the session last: who
/// hears of it finds nothing of it left. The subscriptions end in the opposite order in which they came.
#[test]
fn a_session_ends_when_its_subscriptions_have_ended_for_whatever_reason() {
    type Ends = fn(&mut Bench, &Client);
    let ends: [(&str, Ends); 5] = [
        ("Disconnected", |b, client| {
            b.tell(client.up, &client.disconnect());
        }),
        ("Kicked", |b, client| assert!(b.command(&Command::DisconnectClient(client.id.clone())))),
        ("Expired", |b, _| b.advance(10_001)),
        ("NoConnect", |b, client| {
            for at in 0..5 {
                b.advance(9_000);
                b.say(client.up, &client.publish("/x", at));
            }
        }),
        ("Overflow", |b, client| {
            for data in 0..5 {
                b.inject("/a", &data.to_string());
            }
            assert_eq!(b.tell(client.up, &client.glance())["error"], "402::session_unknown");
        }),
    ];
    for (removal, end) in ends {
        let log = Log::default();
        let mut b = Bench::with(|setup| {
            setup.hooks = Hooks::default().policy(Names::default()).listener(Words::all(&log));
            setup.limits.outbox_events = 3;
        });
        let client = b.subscriber(json!(["/a", "/b"]));
        log.take();
        end(&mut b, &client);
        let mut told = log.take();
        told.retain(|line| !line.starts_with("message") && !line.starts_with("channel"));
        let removed = format!("removed one {removal}");
        let mut expected = vec!["unsubscribed one /b", "unsubscribed one /a", removed.as_str()];
        if removal == "Overflow" {
            expected.insert(0, "overflow one");
        }
        assert_eq!(told, expected);
        assert_eq!(b.sessions(), 0);
    }
}

#[test]
fn a_session_that_is_idle_for_too_long_or_admitted_for_a_time_ends_for_that_reason() {
    struct Ends;
    impl SecurityPolicy for Ends {
        fn can_handshake(&mut self, query: &Query<'_>, admission: &mut Admission) -> Verdict {
            admission.ends_unix_ms = Some(query.now().unix_ms + 4_000);
            Verdict::Allow
        }
    }
    let log = Log::default();
    let mut b = with_hooks(Hooks::default().policy(Ends).listener(Words::all(&log)));
    let client = b.client();
    b.hold(&client);
    b.advance(4_000);
    assert_eq!(log.take(), ["added -", "removed - Unauthorized"]);
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().listener(Words::all(&log));
        setup.broker.max_activity_ms = 5_000;
    });
    let client = b.client();
    b.hold(&client);
    b.advance(5_000);
    assert_eq!(log.take(), ["added -", "removed - Inactive"]);
}

#[test]
fn a_session_that_loses_events_is_told_of_each_time() {
    let log = Log::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().listener(Words::all(&log));
        setup.limits.outbox_events = 2;
        setup.broker.overflow = Overflow::DropOldest;
    });
    let client = b.subscriber("/a");
    for data in 0..4 {
        b.inject("/a", &data.to_string());
    }
    let told: Vec<String> = log.take().into_iter().filter(|line| line.starts_with("overflow")).collect();
    assert_eq!((told.len(), b.sessions()), (2, 1));
    let data: Vec<Value> = b.events(&client).iter().map(|event| event["data"].clone()).collect();
    assert_eq!(data, [2, 3]);
}

#[test]
fn a_guest_comes_and_goes_as_any_session_does() {
    let log = Log::default();
    let mut b = bench(&log);
    let conn = b.open();
    b.give(conn, b"GET /events/a HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(log.take(), ["added one", "channel added /a", "subscribed one /a"]);
    b.inject("/a", "1");
    let told = ["message /a 1 by the server", "unsubscribed one /a", "removed one Disconnected"];
    assert_eq!((log.take(), b.one(conn).status), (told.map(str::to_owned).to_vec(), 200));
}

#[test]
fn a_session_of_a_websocket_outlives_it_and_is_told_of_once() {
    let log = Log::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().policy(Names::default()).listener(Words::all(&log));
        setup.broker.transports = vec!["websocket"];
    });
    let conn = upgrade(&mut b, "");
    let handshake = HANDSHAKE.replace("long-polling", "websocket");
    let id = say(&mut b, conn, &serde_json::from_str(&handshake).unwrap())[0][0]["clientId"].clone();
    say(&mut b, conn, &json!({"channel": "/meta/connect", "clientId": id, "connectionType": "websocket"}));
    b.cut(conn);
    assert_eq!(log.take(), ["added one"]);
    b.advance(10_000);
    assert_eq!(log.take(), ["removed one Expired"]);
}

/// What one listener does is seen by the next, and a hook is never called from within another.
#[test]
fn what_a_listener_wants_done_is_done_when_all_have_been_told() {
    struct Welcomes(Log);
    impl Listener for Welcomes {
        fn subscribed(&mut self, session: &mut Session<'_>, channel: &str, context: &mut Context<'_>) {
            session.attributes.set("name", "greeted").unwrap();
            context.publish("/news", "\"somebody has come\"").unwrap();
            context.deliver(session.id(), channel, "\"welcome\"").unwrap();
            self.0.note("asked for it");
        }
    }
    let log = Log::default();
    let hooks = Hooks::default().listener(Welcomes(log.clone())).listener(Words::all(&log));
    let mut b = with_hooks(hooks);
    let client = b.client();
    log.take();
    b.tell(client.up, &client.subscribe(json!(["/a", "/news"])));
    assert_eq!(
        log.take(),
        [
            "channel added /a",
            "asked for it",
            "subscribed greeted /a",
            "channel added /news",
            "asked for it",
            "subscribed greeted /news",
            "message /news \"somebody has come\" by the server",
            "message /news \"somebody has come\" by the server",
        ]
    );
    let heard: Vec<String> =
        b.events(&client).iter().map(|event| format!("{} {}", event["channel"], event["data"])).collect();
    let (news, welcome) = (r#""/news" "somebody has come""#, r#" "welcome""#);
    assert_eq!(heard, [news, &format!("\"/a\"{welcome}"), news, &format!("\"/news\"{welcome}")]);
}

/// Sessions are called by names that are not those of their clients, and no two have the same.
#[test]
fn a_session_keeps_its_name_and_none_has_that_of_another() {
    #[derive(Clone, Default)]
    struct Ids(std::sync::Arc<std::sync::Mutex<Vec<(SessionId, bool)>>>);
    impl Listener for Ids {
        fn session_added(&mut self, session: &mut Session<'_>, _: &mut Context<'_>) {
            self.0.lock().unwrap().push((session.id(), true));
        }
        fn session_removed(&mut self, session: &mut Session<'_>, _: Removal, _: &mut Context<'_>) {
            self.0.lock().unwrap().push((session.id(), false));
        }
    }
    let ids = Ids::default();
    let mut b = with_hooks(Hooks::default().listener(ids.clone()));
    for _ in 0..3 {
        let reply = b.post(&Post::new(HANDSHAKE)).json()[0]["clientId"].clone();
        assert!(b.command(&Command::DisconnectClient(reply.as_str().unwrap().to_owned())));
    }
    let seen = ids.0.lock().unwrap().clone();
    assert_eq!(seen.len(), 6);
    for pair in seen.chunks(2) {
        assert_eq!((pair[0].0, pair[0].1, pair[1].1), (pair[1].0, true, false));
    }
    assert!(seen[0].0 != seen[2].0 && seen[2].0 != seen[4].0 && seen[0].0 != seen[4].0);
}

/// Notes where a session is, as listeners are told of it.
struct Where(Log);

impl Listener for Where {
    fn session_added(&mut self, session: &mut Session<'_>, _: &mut Context<'_>) {
        self.0.note(format!("added {:?}", session.address()));
    }

    fn subscribed(&mut self, session: &mut Session<'_>, _: &str, _: &mut Context<'_>) {
        self.0.note(format!("subscribed {:?}", session.address()));
    }

    fn session_removed(&mut self, session: &mut Session<'_>, _: Removal, _: &mut Context<'_>) {
        self.0.note(format!("removed {:?}", session.address()));
    }
}

#[test]
fn the_address_is_that_of_the_request_at_hand_and_of_no_other() {
    let log = Log::default();
    let mut b = with_hooks(Hooks::default().listener(Where(log.clone())));
    let client = b.subscriber("/a");
    assert_eq!(log.take(), ["added Some(192.0.2.1)", "subscribed Some(192.0.2.1)"]);
    let other = b.client();
    b.tell(other.up, &other.disconnect());
    assert_eq!(log.take(), ["added Some(192.0.2.1)", "removed Some(192.0.2.1)"]);
    let guest = b.open();
    b.give(guest, b"GET /events/a HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!(log.take(), ["added Some(192.0.2.1)", "subscribed Some(192.0.2.1)"]);
    b.cut(guest);
    b.advance(3_600_000);
    assert_eq!(log.take(), ["removed None", "removed None"], "no request is at hand");
    drop(client);
}
