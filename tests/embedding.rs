//! What a program that links the crate does with it beyond publishing: sessions of its own, hooks of every kind that use
//! their handle for everything, answers that come later from another thread.

#![cfg(all(feature = "daemon", unix))]

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::peer::{Peer, connect, eventually, post};
use encke::bayeux::OwnedMessage;
use encke::broker::Overflow;
use encke::hooks::{
    Admission, Command, Context, DataFilter, Delivery, Denial, Extension, Fallback, Filtered, Hooks, Listener,
    Operation, Opinion, OutgoingReply, Passage, PolicyTicket, Published, Query, RemoteCall, Removal, Request, Room,
    SecurityPolicy, Service, Session, SessionId, Verdict, WebRequest, WebResponse,
};
use encke::limits::Limits;
use encke::server::{Builder, Handle, HandleError, Received, Receiver, RecvError, Running, Server, Settings};
use serde_json::json;

fn builder(settings: Settings) -> Builder {
    Server::builder().listen([SocketAddr::from(([127, 0, 0, 1], 0))]).settings(settings)
}

fn start() -> Running {
    builder(Settings::default()).spawn().unwrap()
}

fn stop(server: Running) {
    server.handle().stop().unwrap();
    server.join().unwrap();
}

fn event(channel: &str, data: &str) -> Received {
    Received::Event { channel: channel.to_owned(), data: data.to_owned() }
}

/// A receiver whose subscription has begun: an event of its own has come.
fn listening(server: &Running, name: &str, capacity: usize) -> Receiver {
    let receiver = server.handle().receiver(name, capacity).unwrap();
    server.handle().publish("/begin", "0").unwrap();
    receiver
}

#[test]
fn a_thread_takes_out_what_others_publish() {
    let server = start();
    let receiver = listening(&server, "/**", 10);
    assert_eq!(receiver.recv(), Ok(event("/begin", "0")));
    assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
    assert_eq!(receiver.recv_timeout(Duration::from_millis(5)), Err(RecvError::Empty));
    let mut client = Peer::new(server.addresses()[0]);
    let id = client.session();
    client.publish(&id, "/chat/1", json!({"text": "hello"}));
    assert_eq!(receiver.recv(), Ok(event("/chat/1", r#"{"text":"hello"}"#)));
    drop(receiver);
    eventually("its session ends with it", || (server.handle().census().sessions == 1).then_some(()));
    let receiver = listening(&server, "/begin", 10);
    let waits = thread::spawn(move || (receiver.recv(), receiver.recv()));
    eventually("it listens", || (server.handle().census().topics == 1).then_some(()));
    stop(server);
    assert_eq!(waits.join().unwrap(), (Ok(event("/begin", "0")), Err(RecvError::Closed)), "the server has ended");
}

#[test]
fn a_receiver_that_is_slow_loses_nothing_until_its_outbox_is_full() {
    for overflow in [Overflow::Disconnect, Overflow::DropOldest] {
        let mut settings = Settings { limits: Limits { outbox_events: 4, ..Limits::default() }, ..Settings::default() };
        settings.broker.overflow = overflow;
        let server = builder(settings).spawn().unwrap();
        let handle = server.handle();
        let receiver = handle.receiver("/a", 2).unwrap();
        let publish = |data: u32| {
            handle.publish("/a", &data.to_string()).unwrap();
            let before = u64::from(data);
            eventually("it is published", || (handle.counters().published == before).then_some(()));
        };
        for data in 1..=6 {
            publish(data);
        }
        for data in 1..=6 {
            assert_eq!(receiver.recv(), Ok(event("/a", &data.to_string())), "two wait here, four in its outbox");
        }
        for data in 7..=13 {
            publish(data);
        }
        for data in 7..=8 {
            assert_eq!(receiver.recv(), Ok(event("/a", &data.to_string())));
        }
        if overflow == Overflow::Disconnect {
            assert_eq!(receiver.recv(), Err(RecvError::Closed));
        } else {
            assert_eq!(receiver.recv(), Ok(Received::Lost(r#"{"/a":1}"#.to_owned())));
            for data in 10..=13 {
                assert_eq!(receiver.recv(), Ok(event("/a", &data.to_string())));
            }
        }
        stop(server);
    }
}

/// Refuses all subscriptions.
struct Deaf;

impl SecurityPolicy for Deaf {
    fn can_subscribe(&mut self, _: &Query<'_>, session: &mut Session<'_>, _: &str) -> Verdict {
        assert!(session.is_local());
        Verdict::deny("nobody listens here")
    }
}

#[test]
fn who_is_refused_hears_why() {
    let server = builder(Settings::default()).hooks(Hooks::default().policy(Deaf)).spawn().unwrap();
    let receiver = server.handle().receiver("/a", 1).unwrap();
    let error = RecvError::Refused("403:nobody listens here:subscribe_denied".to_owned());
    assert_eq!(receiver.recv(), Err(error.clone()));
    assert_eq!(error.to_string(), "the subscription was refused: 403:nobody listens here:subscribe_denied");
    assert_eq!(server.handle().receiver("a", 1).map(drop), Err(HandleError::Channel));
    stop(server);
}

#[test]
fn a_local_session_is_a_client_among_others() {
    let server = start();
    let (heard, hears) = mpsc::channel();
    let session = server.handle().local_session(move |delivery: Delivery<'_>| {
        let _ = heard.send(match delivery {
            Delivery::Event { channel, data, .. } => format!("{channel} {data}"),
            Delivery::Reply(json) => json.to_owned(),
            other => format!("{other:?}"),
        });
        Room::More
    });
    let session = session.unwrap();
    assert!(hears.recv().unwrap().contains(r#""channel":"/meta/handshake","successful":true"#));
    session.subscribe("/a").unwrap();
    assert_eq!(hears.recv().unwrap(), r#"{"channel":"/meta/subscribe","successful":true,"subscription":"/a"}"#);
    session.publish("/a", "{\"n\": 1}").unwrap();
    assert_eq!(hears.recv().unwrap(), r#"{"channel":"/a","successful":true}"#);
    assert_eq!(hears.recv().unwrap(), r#"/a {"n": 1}"#);
    assert_eq!(session.publish("/a", "{"), Err(HandleError::Data));
    assert_eq!(session.publish("/meta/connect", "1"), Err(HandleError::Channel));
    assert_eq!(session.subscribe("no"), Err(HandleError::Channel));
    session.unsubscribe("/a").unwrap();
    assert!(hears.recv().unwrap().contains("/meta/unsubscribe"));
    session.send(r#"[{"channel":"/service/x","data":1,"id":"7"}]"#).unwrap();
    assert_eq!(hears.recv().unwrap(), r#"{"channel":"/service/x","id":"7","successful":true}"#);
    session.disconnect().unwrap();
    assert_eq!(hears.recv().unwrap(), r#"{"channel":"/meta/disconnect","successful":true}"#);
    assert_eq!(hears.recv().unwrap(), "Closed");
    assert!(hears.recv().is_err(), "nothing follows");
    stop(server);
    assert_eq!(session.subscribe("/a"), Err(HandleError::Closed));
}

#[test]
fn a_sink_that_is_full_is_given_more_when_its_session_says_so() {
    let server = start();
    let (heard, hears) = mpsc::channel();
    let session = server.handle().local_session(move |delivery: Delivery<'_>| match delivery {
        Delivery::Event { data, .. } => {
            let _ = heard.send(data.to_owned());
            Room::Full
        }
        _ => Room::More,
    });
    let session = session.unwrap();
    session.subscribe("/a").unwrap();
    eventually("it listens", || (server.handle().census().topics == 1).then_some(()));
    server.handle().publish_batch([("/a", "1"), ("/a", "2"), ("/a", "3")]).unwrap();
    eventually("they are published", || (server.handle().counters().published == 3).then_some(()));
    for data in ["1", "2", "3"] {
        assert_eq!(hears.recv().unwrap(), data);
        assert!(hears.try_recv().is_err(), "one at a time");
        session.ready().unwrap();
    }
    stop(server);
}

/// Uses its handle for everything there is, whatever it is asked.
#[derive(Clone)]
struct Busy {
    handle: Handle,
    calls: Arc<Mutex<Vec<&'static str>>>,
}

impl Busy {
    fn act(&self, name: &'static str, call: Option<&RemoteCall>) {
        let first = {
            let mut calls = self.calls.lock().unwrap();
            let first = !calls.contains(&name);
            calls.push(name);
            first
        };
        if !first {
            return;
        }
        let (handle, nobody) = (&self.handle, "nobody");
        let mut batch = handle.batch();
        batch.publish("/log", "1").unwrap();
        batch.publish_lazy("/log", "2").unwrap();
        batch.send().unwrap();
        handle.publish("/log", "3").unwrap();
        handle.publish_lazy("/log", "4").unwrap();
        handle.publish_batch([("/log", "5")]).unwrap();
        handle.disconnect_client(nobody).unwrap();
        // That of a question to which the answer was given at once.
        if let Some(ticket) = STALE.get() {
            handle.resolve(*ticket, Ok(Admission::default())).unwrap();
            handle.resolve(*ticket, Err(Denial::new("no"))).unwrap();
        }
        if let Some(call) = call {
            handle.deliver(call.session(), "/service/aside", "6").unwrap();
            handle.answer(call.clone(), Ok("7")).unwrap();
        }
        drop(handle.subscribe("/log", |_| {}).unwrap());
        let receiver = handle.receiver("/log", 1).unwrap();
        assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
        drop(receiver);
        let session = handle.local_session(|_: Delivery<'_>| Room::More).unwrap();
        session.subscribe("/log").unwrap();
        session.publish("/log", "8").unwrap();
        session.disconnect().unwrap();
        let _ = (handle.census(), handle.counters());
    }

    fn session(&self, name: &'static str, session: SessionId) {
        self.act(name, None);
        self.handle.deliver(session, "/service/aside", "9").unwrap();
        self.handle.run(Command::SetAttribute(session, "seen".to_owned(), Some(name.to_owned()))).unwrap();
    }
}

static STALE: std::sync::OnceLock<PolicyTicket> = std::sync::OnceLock::new();

impl SecurityPolicy for Busy {
    fn can_handshake(&mut self, query: &Query<'_>, _: &mut Admission) -> Verdict {
        let _ = STALE.set(query.ticket());
        self.act("handshake", None);
        Verdict::Allow
    }

    fn can_create(&mut self, _: &Query<'_>, _: Option<&mut Session<'_>>, _: &str) -> Verdict {
        self.act("create", None);
        Verdict::Allow
    }

    fn can_subscribe(&mut self, _: &Query<'_>, _: &mut Session<'_>, _: &str) -> Verdict {
        self.act("subscribe", None);
        Verdict::Allow
    }

    fn can_publish(&mut self, _: &Query<'_>, _: Option<&mut Session<'_>>, _: &str) -> Verdict {
        self.act("publish", None);
        Verdict::Allow
    }
}

impl Extension for Busy {
    fn incoming(&mut self, _: &mut OwnedMessage, _: Option<&mut Session<'_>>, _: &mut Context<'_>) -> Passage {
        self.act("incoming", None);
        Passage::Pass
    }

    fn outgoing(&mut self, _: &mut OwnedMessage, _: &mut Context<'_>) -> Passage {
        self.act("outgoing", None);
        Passage::Pass
    }

    fn reply(&mut self, _: &mut OutgoingReply<'_>, _: Option<&mut Session<'_>>, _: &mut Context<'_>) {
        self.act("reply", None);
    }
}

impl Listener for Busy {
    fn session_added(&mut self, session: &mut Session<'_>, _: &mut Context<'_>) {
        self.session("session added", session.id());
    }

    fn session_removed(&mut self, session: &mut Session<'_>, _: Removal, _: &mut Context<'_>) {
        self.session("session removed", session.id());
    }

    fn channel_added(&mut self, _: &str, _: &mut Context<'_>) {
        self.act("channel added", None);
    }

    fn channel_removed(&mut self, _: &str, _: &mut Context<'_>) {
        self.act("channel removed", None);
    }

    fn subscribed(&mut self, session: &mut Session<'_>, _: &str, _: &mut Context<'_>) {
        self.session("subscribed", session.id());
    }

    fn unsubscribed(&mut self, session: &mut Session<'_>, _: &str, _: &mut Context<'_>) {
        self.session("unsubscribed", session.id());
    }

    fn message(&mut self, _: Published<'_>, _: Option<&mut Session<'_>>, _: &mut Context<'_>) {
        self.act("message", None);
    }

    fn queue_overflow(&mut self, session: &mut Session<'_>, _: &mut Context<'_>) {
        self.session("overflow", session.id());
    }
}

impl DataFilter for Busy {
    fn filter(&mut self, _: &str, _: &str, _: Option<&mut Session<'_>>, _: encke::clock::Now) -> Filtered {
        self.act("filter", None);
        Filtered::Keep
    }
}

impl Service for Busy {
    fn call(&mut self, request: Request<'_>, _: &mut Session<'_>, _: &mut Context<'_>) {
        self.act("service", Some(request.call()));
    }
}

impl Fallback for Busy {
    fn serve(&mut self, _: &WebRequest<'_>, _: &mut Context<'_>) -> Option<WebResponse> {
        self.act("fallback", None);
        Some(WebResponse::new("text/plain", "mine"))
    }
}

/// A session that has connected once, and got what hooks had for it.
fn session(client: &mut Peer) -> String {
    let id = client.handshake();
    let answer = client.say(&connect(&id));
    assert_eq!(answer.as_array().unwrap().last().unwrap()["successful"], true, "{answer}");
    id
}

#[test]
fn every_hook_may_use_its_handle_for_everything() {
    let mut settings =
        Settings { limits: Limits { sweep_ms: 20, outbox_events: 2, ..Limits::default() }, ..Settings::default() };
    settings.broker.max_interval_ms = 3_600_000;
    settings.broker.overflow = Overflow::DropOldest;
    let builder = builder(settings);
    let busy = Busy { handle: builder.handle(), calls: Arc::default() };
    let authorizer = busy.clone();
    let hooks = Hooks::default()
        .policy(busy.clone())
        .authorizer("/**", move |_: Operation, _: &Query<'_>, _: Option<&mut Session<'_>>, _: &str| {
            authorizer.act("authorizer", None);
            Opinion::Grant
        })
        .unwrap();
    let hooks = hooks.extension(busy.clone()).listener(busy.clone()).fallback(busy.clone());
    let hooks = hooks.filter("/**", busy.clone()).unwrap().service("/service/**", busy.clone()).unwrap();
    let server = builder.hooks(hooks).spawn().unwrap();
    let mut client = Peer::new(server.addresses()[0]);
    let id = session(&mut client);
    client.subscribe(&id, "/a");
    client.publish(&id, "/a", 1);
    client.publish(&id, "/service/x", 1);
    assert_eq!(client.exchange("GET /mine HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    let other = session(&mut client);
    client.subscribe(&other, "/b");
    for data in 0..4 {
        client.publish(&id, "/b", data);
    }
    client.say(&json!([{"channel": "/meta/unsubscribe", "clientId": id, "subscription": "/a"}]));
    let all = [
        "handshake",
        "create",
        "subscribe",
        "publish",
        "authorizer",
        "incoming",
        "outgoing",
        "reply",
        "session added",
        "session removed",
        "channel added",
        "channel removed",
        "subscribed",
        "unsubscribed",
        "message",
        "overflow",
        "filter",
        "service",
        "fallback",
    ];
    for name in all {
        eventually(name, || busy.calls.lock().unwrap().contains(&name).then_some(()));
    }
    // It goes on, and ends as any other.
    session(&mut client);
    stop(server);
}

/// Asks another thread.
struct Elsewhere(mpsc::Sender<(PolicyTicket, String)>);

impl SecurityPolicy for Elsewhere {
    fn can_handshake(&mut self, query: &Query<'_>, _: &mut Admission) -> Verdict {
        let who = query.header("x-who").map(|who| String::from_utf8_lossy(who).into_owned());
        match who {
            Some(who) => {
                self.0.send((query.ticket(), who)).unwrap();
                Verdict::Defer
            }
            None => Verdict::deny("who are you?"),
        }
    }

    fn can_publish(&mut self, _: &Query<'_>, session: Option<&mut Session<'_>>, _: &str) -> Verdict {
        match session.and_then(|session| session.attribute("may publish").map(str::to_owned)) {
            Some(_) => Verdict::Allow,
            None => Verdict::deny("you may not"),
        }
    }
}

#[test]
fn another_thread_answers_for_the_policy() {
    let builder = builder(Settings::default());
    let (ask, asked) = mpsc::channel::<(PolicyTicket, String)>();
    let handle = builder.handle();
    let judge = thread::spawn(move || {
        for (ticket, who) in asked {
            let mut admission = Admission::default();
            admission.attributes.set("may publish", &who).unwrap();
            let answer = match who.as_str() {
                "friend" => Ok(admission),
                "guest" => Ok(Admission::default()),
                _ => Err(Denial::new("").with_error("401:foe:go_away")),
            };
            handle.resolve(ticket, answer).unwrap();
        }
    });
    let server = builder.hooks(Hooks::default().policy(Elsewhere(ask))).spawn().unwrap();
    let mut client = Peer::new(server.addresses()[0]);
    let mut shake = |who: &str| {
        let body = json!([{"channel": "/meta/handshake", "version": "1.0"}]).to_string();
        let reply = client.exchange(common::peer::post_with(&format!("X-Who: {who}\r\n"), &body)).json();
        (reply[0]["error"].clone(), reply[0]["clientId"].as_str().unwrap_or_default().to_owned())
    };
    let (foe, friend, guest) = (shake("foe"), shake("friend"), shake("guest"));
    assert_eq!(foe, (json!("401:foe:go_away"), String::new()));
    let mut publish = |id: &str| client.say(&json!([{"channel": "/a", "clientId": id, "data": 1}]))[0]["error"].clone();
    assert_eq!(publish(&friend.1), json!(null));
    assert_eq!(publish(&guest.1), "403:you may not:publish_denied");
    client.send(post(&connect(&guest.1)));
    assert_eq!(client.response().json()[0]["successful"], true);
    stop(server);
    judge.join().unwrap();
}

#[test]
fn what_a_thread_has_done_by_a_command_is_checked_as_well() {
    let (ask, asked) = mpsc::channel();
    let who = move |request: Request<'_>, _: &mut Session<'_>, _: &mut Context<'_>| {
        ask.send(request.call().session()).unwrap();
    };
    let hooks = Hooks::default().service("/service/who", who).unwrap();
    let server = builder(Settings::default()).hooks(hooks).spawn().unwrap();
    let (handle, receiver) = (server.handle(), listening(&server, "/**", 10));
    assert_eq!(receiver.recv(), Ok(event("/begin", "0")));
    let mut client = Peer::new(server.addresses()[0]);
    let id = client.session();
    client.publish(&id, "/service/who", 0);
    let publish = |channel: &str, data: &str| {
        handle.run(Command::Publish { channel: channel.to_owned(), data: data.to_owned(), lazy: false })
    };
    assert_eq!(publish("/a", "1},{"), Err(HandleError::Data));
    assert_eq!(publish("/a/*", "1"), Err(HandleError::Channel));
    assert_eq!(publish("/service/a", "1"), Err(HandleError::Channel));
    let session = asked.recv().unwrap();
    let deliver = Command::Deliver { session, channel: "/a".to_owned(), data: "[".to_owned() };
    assert_eq!(handle.run(deliver), Err(HandleError::Data));
    assert_eq!(handle.run(Command::Subscribe(session, "a".to_owned())), Err(HandleError::Channel));
    publish("/a", "1").unwrap();
    assert_eq!(receiver.recv(), Ok(event("/a", "1")), "nothing of those before it");
    stop(server);
}
