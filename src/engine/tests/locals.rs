//! Sessions within the program, among remote ones: the same path, the same rules.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::bench::{Bench, Client};
use crate::broker::Overflow;
use crate::broker::rules::Rule;
use crate::hooks::{
    Admission, Command, Context, Delivery, Hooks, Listener, LocalId, Query, Removal, Room, SecurityPolicy, Session,
    Verdict,
};

/// What a local session has been given, and whether it takes more.
#[derive(Clone, Default)]
pub(super) struct Desk(Arc<Mutex<(Vec<String>, bool)>>);

impl Desk {
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().0)
    }

    fn fill(&self, full: bool) {
        self.0.lock().unwrap().1 = full;
    }

    /// The events that have come, by their data.
    fn data(&self) -> Vec<String> {
        self.take()
            .iter()
            .filter_map(|line| Some(line.strip_prefix("event ")?.rsplit_once(' ')?.1.to_owned()))
            .collect()
    }
}

fn id(number: u32) -> LocalId {
    LocalId(NonZeroU32::new(number).unwrap())
}

fn open(b: &mut Bench, number: u32) -> Desk {
    let desk = Desk::default();
    let own = desk.clone();
    let sink = move |delivery: Delivery<'_>| {
        let mut desk = own.0.lock().unwrap();
        desk.0.push(match delivery {
            Delivery::Event { channel, data, json } => {
                assert_eq!(serde_json::from_str::<Value>(json).unwrap()["channel"], channel);
                format!("event {channel} {data}")
            }
            Delivery::Reply(json) => {
                let reply: Value = serde_json::from_str(json).unwrap();
                let said = reply["error"].as_str().map_or_else(|| reply["successful"].to_string(), str::to_owned);
                format!("{} {said}", reply["channel"].as_str().unwrap())
            }
            Delivery::Lost(json) => format!("lost {json}"),
            Delivery::Closed => "closed".to_owned(),
        });
        if desk.1 { Room::Full } else { Room::More }
    };
    b.engine.open_local(id(number), Box::new(sink));
    desk
}

pub(super) fn tell(b: &mut Bench, number: u32, batch: &Value) {
    b.engine.local_receive(id(number), batch.to_string().as_bytes(), b.now()).unwrap();
    b.turn();
}

impl Bench {
    /// The reply to a message on a connection of its own.
    fn ask(&mut self, message: &Value) -> Value {
        let conn = self.open();
        self.tell(conn, message)
    }
}

fn shake(b: &mut Bench, number: u32) -> Desk {
    let desk = open(b, number);
    tell(b, number, &json!([{"channel": "/meta/handshake"}]));
    assert_eq!(desk.take(), ["/meta/handshake true"]);
    desk
}

pub(super) fn subscribed(b: &mut Bench, number: u32, name: &str) -> Desk {
    let desk = shake(b, number);
    tell(b, number, &json!([{"channel": "/meta/subscribe", "subscription": name}]));
    assert_eq!(desk.take(), ["/meta/subscribe true"]);
    desk
}

#[test]
fn it_hears_and_is_heard_as_any_client_and_never_expires() {
    let mut b = Bench::with(|setup| setup.broker.transports = vec!["long-polling", "websocket"]);
    let desk = subscribed(&mut b, 1, "/chat/*");
    let other = subscribed(&mut b, 2, "/chat/**");
    let remote = b.subscriber("/chat/a");
    b.advance(3_600_000);
    assert_eq!(b.sessions(), 2, "the remote one is gone");
    let remote = {
        drop(remote);
        b.subscriber("/chat/a")
    };
    tell(&mut b, 1, &json!([{"channel": "/chat/a", "data": 1}]));
    assert_eq!(desk.take(), ["/chat/a true", "event /chat/a 1"]);
    assert_eq!(other.data(), ["1"]);
    assert_eq!(b.events(&remote), [json!({"channel": "/chat/a", "data": 1})]);
    assert!(b.inject("/chat/a", "2"));
    assert_eq!((desk.data(), other.data()), (vec!["2".to_owned()], vec!["2".to_owned()]));
    tell(
        &mut b,
        1,
        &json!([{"channel": "/meta/connect"}, {"channel": "/meta/unsubscribe", "subscription": "/chat/*"}]),
    );
    assert_eq!(desk.take(), ["/meta/unsubscribe true", "/meta/connect true"]);
    assert!(b.inject("/chat/a", "3"));
    assert!(desk.take().is_empty());
    tell(&mut b, 1, &json!([{"channel": "/meta/disconnect"}]));
    assert_eq!(desk.take(), ["/meta/disconnect true", "closed"]);
    tell(&mut b, 1, &json!([{"channel": "/chat/a", "data": 1}]));
    assert!(desk.take().is_empty(), "who is gone says nothing");
    b.engine.close_local(id(2), b.now());
    assert_eq!(other.data(), ["3"]);
    b.ask(&remote.disconnect());
    assert_eq!(b.sessions(), 0);
}

#[test]
fn what_it_does_not_take_waits_and_too_much_ends_it_or_is_lost_and_told() {
    for overflow in [Overflow::Disconnect, Overflow::DropOldest] {
        let mut b = Bench::with(|setup| {
            setup.broker.overflow = overflow;
            setup.limits.outbox_events = 3;
        });
        let desk = subscribed(&mut b, 1, "/a");
        desk.fill(true);
        for data in ["1", "2", "3", "4"] {
            assert!(b.inject("/a", data));
        }
        assert_eq!(desk.data(), ["1"], "what it was given when it said that it is full");
        desk.fill(false);
        b.engine.local_ready(id(1), b.now());
        b.turn();
        assert_eq!(desk.data(), ["2", "3", "4"]);
        desk.fill(true);
        for data in ["5", "6", "7", "8", "9"] {
            assert!(b.inject("/a", data));
        }
        desk.fill(false);
        b.engine.local_ready(id(1), b.now());
        b.turn();
        match overflow {
            Overflow::Disconnect => {
                assert_eq!(desk.take(), ["event /a 5", "closed"]);
                assert_eq!(b.sessions(), 0);
            }
            Overflow::DropOldest => {
                let lost = ["event /a 5", "lost {\"/a\":1}", "event /a 7", "event /a 8", "event /a 9"];
                assert_eq!(desk.take(), lost);
            }
        }
    }
}

/// Lets local sessions do all, and others nothing but shake hands; hears of sessions.
#[derive(Clone, Default)]
struct Locals(Arc<Mutex<Vec<String>>>);

impl SecurityPolicy for Locals {
    fn can_handshake(&mut self, query: &Query<'_>, admission: &mut Admission) -> Verdict {
        assert!(query.message().channel.is_some());
        admission.attributes.set("who", "somebody").unwrap();
        Verdict::Allow
    }

    fn can_subscribe(&mut self, _: &Query<'_>, session: &mut Session<'_>, _: &str) -> Verdict {
        if session.is_local() { Verdict::Allow } else { Verdict::deny("not local") }
    }

    fn can_publish(&mut self, _: &Query<'_>, session: Option<&mut Session<'_>>, channel: &str) -> Verdict {
        match session {
            Some(session) if session.is_local() => Verdict::Allow,
            _ if channel == "/later" => Verdict::Defer,
            _ => Verdict::deny("not local"),
        }
    }
}

impl Listener for Locals {
    fn session_added(&mut self, session: &mut Session<'_>, context: &mut Context<'_>) {
        assert_eq!(session.attribute("who"), Some("somebody"));
        self.0.lock().unwrap().push(format!("{:?}", session.kind()));
        if session.is_local() {
            context.deliver(session.id(), "/service/welcome", "\"hello\"").unwrap();
            context.run(Command::Subscribe(session.id(), "/given".to_owned())).unwrap();
        }
    }

    fn session_removed(&mut self, session: &mut Session<'_>, removal: Removal, _: &mut Context<'_>) {
        self.0.lock().unwrap().push(format!("{:?} {removal:?}", session.kind()));
    }
}

#[test]
fn a_policy_knows_it_and_hooks_reach_it() {
    let all = Locals::default();
    let hooks = Hooks::default().policy(all.clone()).listener(all.clone());
    let mut b = Bench::with(|setup| setup.hooks = hooks);
    let desk = open(&mut b, 7);
    tell(&mut b, 7, &json!([{"channel": "/a", "data": 1}]));
    assert_eq!(desk.take(), ["/a 402::session_unknown"], "it has not shaken hands");
    tell(&mut b, 7, &json!([{"channel": "/meta/handshake"}]));
    assert_eq!(desk.take(), ["/meta/handshake true", "event /service/welcome \"hello\""]);
    assert!(b.inject("/given", "1"));
    assert_eq!(desk.data(), ["1"]);
    let remote: Client = b.handshake();
    let refused = b.ask(&remote.subscribe("/a"));
    assert_eq!(refused["error"], "403:not local:subscribe_denied");
    tell(&mut b, 7, &json!([{"channel": "/meta/subscribe", "subscription": "/a"}, {"channel": "/a", "data": 5}]));
    assert_eq!(desk.take(), ["/meta/subscribe true", "/a true", "event /a 5"]);
    // It is a session like others: it can be ended, and what is left of it is nothing.
    let session = crate::hooks::SessionId::from_bits(b.engine.local_session(id(7)).unwrap());
    assert!(b.command(&Command::Disconnect(session)));
    assert_eq!(desk.take(), ["/meta/disconnect true", "closed"]);
    assert!(!b.command(&Command::Disconnect(session)), "once");
    b.ask(&remote.disconnect());
    b.advance(60_000);
    assert_eq!(*all.0.lock().unwrap(), ["Local", "Remote", "Local Kicked", "Remote Disconnected"]);
}

#[test]
fn who_publishes_does_not_hear_himself_if_the_channel_says_so() {
    let mut b = Bench::with(|setup| {
        let quiet = Rule { pattern: "/quiet/**".to_owned(), broadcast_to_publisher: Some(false), ..Rule::default() };
        setup.broker.channels = vec![quiet];
    });
    let desks = [subscribed(&mut b, 1, "/**"), subscribed(&mut b, 2, "/**")];
    tell(&mut b, 1, &json!([{"channel": "/quiet/a", "data": 1}, {"channel": "/loud", "data": 2}]));
    assert_eq!(desks[0].data(), ["2"]);
    assert_eq!(desks[1].data(), ["1", "2"]);
}

#[test]
fn what_is_no_batch_is_refused_and_changes_nothing() {
    let mut b = Bench::new();
    let desk = shake(&mut b, 1);
    for batch in ["", "{", "[1]", "\"\""] {
        assert!(b.engine.local_receive(id(1), batch.as_bytes(), b.now()).is_err(), "{batch}");
    }
    assert!(b.engine.local_receive(id(9), b"[]", b.now()).is_ok(), "one that there is not");
    assert!(desk.take().is_empty());
    b.engine.close_local(id(1), b.now());
    b.engine.close_local(id(1), b.now());
    b.engine.local_ready(id(1), b.now());
    assert!(desk.take().is_empty() && b.engine.is_at_rest());
}
