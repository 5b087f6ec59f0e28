//! The broker alone: limits at their edges, stale names, and what a policy can say.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::outbox::PLACE;
use super::*;
use crate::bayeux::{self, Reconnect, ReplyAdvice};
use crate::event::BESIDE_JSON;
use crate::hooks::{Admission, Denial, Query, SecurityPolicy, Session, Verdict};
use crate::http::head::Head;

const HEAD: &[u8] = b"POST /cometd HTTP/1.1\r\nHost: h\r\nAuthorization: Basic eDp5\r\n\r\n";

/// Secrets that count up.
struct Counting(u8);

impl Entropy for Counting {
    fn secret(&mut self) -> [u8; token::SECRET_BYTES] {
        self.0 += 1;
        [self.0; token::SECRET_BYTES]
    }
}

/// A broker with one link for each request, and a clock that stands until it is moved.
struct Bench {
    broker: Broker,
    now: Now,
    link: u64,
}

/// What was said to one batch.
struct Said {
    events: Vec<Value>,
    replies: Vec<Value>,
    waits: Option<Ticket>,
    link: Link,
}

fn parsed(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}

fn said(answer: &Answer, link: Link) -> Said {
    Said {
        events: answer.events.iter().map(|event| parsed(event.json())).collect(),
        replies: answer.replies.ready().map(parsed).collect(),
        waits: answer.replies.sole_ticket(),
        link,
    }
}

impl Bench {
    fn new() -> Self {
        Self::with(Limits::default(), Hooks::default())
    }

    fn with(limits: Limits, hooks: Hooks) -> Self {
        let now = Now { mono_ms: 1_000_000, unix_ms: 0 };
        let broker = Broker::new(Config::default(), limits, now, Box::new(Counting(0)), hooks);
        Self { broker, now, link: 0 }
    }

    fn publish(&mut self, channel: &str, data: &str) -> Result<Option<u64>, PublishError> {
        self.broker.publish_json(Publication { channel, data, lazy: false }, self.now)
    }

    fn say(&mut self, messages: &Value) -> Said {
        self.link += 1;
        let link = Link(self.link);
        let text = messages.to_string();
        let messages = bayeux::decode(text.as_bytes(), &Limits::default()).unwrap();
        let head = Head::parse(HEAD, &Limits::default()).unwrap();
        let request = Request {
            link,
            way: Way::Answer,
            client: None,
            browser: Presented::Nothing,
            origin: Origin { head: Some(&head), ..Origin::default() },
            insider: None,
        };
        let mut answer = Answer::default();
        self.broker.receive(&request, &messages, self.now, &mut answer);
        for ticket in &answer.answered {
            self.broker.answered(*ticket, link, self.now);
        }
        said(&answer, link)
    }

    /// The one reply to one message.
    fn tell(&mut self, message: &Value) -> Value {
        let said = self.say(message);
        assert_eq!((said.replies.len(), said.events.len()), (1, 0));
        said.replies[0].clone()
    }

    fn handshake(&mut self) -> String {
        self.tell(&json!({"channel": "/meta/handshake"}))["clientId"].as_str().unwrap().to_owned()
    }

    /// A session that has connected once.
    fn session(&mut self) -> String {
        let id = self.handshake();
        assert_eq!(self.tell(&connect(&id))["successful"], true);
        id
    }

    fn subscriber(&mut self, subscription: &str) -> String {
        let id = self.session();
        assert_eq!(self.tell(&subscribe(&id, subscription))["successful"], true);
        id
    }

    /// The session's connect is held: where, and what waits there.
    fn hold(&mut self, id: &str) -> (Ticket, Link) {
        let said = self.say(&connect(id));
        (said.waits.unwrap(), said.link)
    }

    fn pull(&mut self) -> Option<Said> {
        let mut answer = Answer::default();
        let (link, _) = self.broker.pull(u64::MAX, &mut answer)?;
        Some(said(&answer, link))
    }

    fn advance(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        while self.broker.fire(self.now, 1) > 0 {}
    }
}

fn connect(id: &str) -> Value {
    json!({"channel": "/meta/connect", "clientId": id})
}

fn subscribe(id: &str, subscription: impl Into<Value>) -> Value {
    json!({"channel": "/meta/subscribe", "clientId": id, "subscription": subscription.into()})
}

fn publish(id: &str, channel: &str, data: impl Into<Value>) -> Value {
    json!({"channel": channel, "clientId": id, "data": data.into()})
}

#[test]
fn limit_sessions() {
    let mut bench = Bench::with(Limits { sessions: 3, ..Limits::default() }, Hooks::default());
    let ids: Vec<String> = (0..3).map(|_| bench.handshake()).collect();
    assert_eq!(
        bench.tell(&json!({"channel": "/meta/handshake"})),
        json!({"channel": "/meta/handshake", "successful": false, "error": "429::session_limit",
            "advice": {"reconnect": "retry", "interval": 1_000, "timeout": 30_000}})
    );
    assert_eq!(bench.broker.sessions(), 3);
    bench.tell(&json!({"channel": "/meta/disconnect", "clientId": ids[1]}));
    bench.handshake();
    assert_eq!(bench.broker.sessions(), 3);
}

#[test]
fn limit_subscribed_bytes() {
    let mut bench = Bench::new();
    let one = bench.session();
    let both = json!(["/a", "/long/**"]);
    assert_eq!(bench.tell(&subscribe(&one, both.clone()))["successful"], true);
    let full = bench.broker.subscribed_bytes();
    assert!((400..600).contains(&full), "{full} bytes for two patterns and two subscriptions");
    let mut bench = Bench::with(Limits { subscribed_bytes: full, ..Limits::default() }, Hooks::default());
    let (first, other) = (bench.session(), bench.session());
    assert_eq!(bench.tell(&subscribe(&first, both.clone()))["successful"], true);
    let refused = bench.tell(&subscribe(&other, "/a"));
    assert_eq!((&refused["successful"], &refused["error"]), (&json!(false), &json!("429::subscriptions_full")));
    assert_eq!(bench.tell(&subscribe(&first, both))["successful"], true, "those it has already");
    bench.tell(&json!({"channel": "/meta/unsubscribe", "clientId": first, "subscription": "/long/**"}));
    assert_eq!(bench.tell(&subscribe(&other, "/a"))["successful"], true, "room again");
    for id in [first, other] {
        bench.tell(&json!({"channel": "/meta/disconnect", "clientId": id}));
    }
    assert_eq!(bench.broker.subscribed_bytes(), 0);
}

#[test]
fn limit_subscriptions() {
    let mut bench = Bench::with(Limits { subscriptions: 3, ..Limits::default() }, Hooks::default());
    let id = bench.session();
    for channel in ["/a", "/b", "/a"] {
        assert_eq!(bench.tell(&subscribe(&id, channel))["successful"], true);
    }
    let refused = bench.tell(&subscribe(&id, json!(["/c", "/d"])));
    assert_eq!((&refused["successful"], &refused["error"]), (&json!(false), &json!("429:3:subscription_limit")));
    assert_eq!(bench.broker.topics(), 2, "all or nothing");
    assert_eq!(bench.tell(&subscribe(&id, json!(["/c", "/b", "/c", "/service/x"])))["successful"], true, "one is new");
    assert_eq!(bench.tell(&subscribe(&id, "/d"))["error"], "429:3:subscription_limit");
    assert_eq!(bench.tell(&subscribe(&id, json!(["/a", "/service/y"])))["successful"], true, "none is new");
    bench.tell(&json!({"channel": "/meta/unsubscribe", "clientId": id, "subscription": "/a"}));
    assert_eq!(bench.tell(&subscribe(&id, "/d"))["successful"], true);
    let other = bench.session();
    assert_eq!(bench.tell(&subscribe(&other, json!(["/1", "/2", "/3"])))["successful"], true, "per session");
}

#[test]
fn limit_outbox_events() {
    for (events, kept) in [(2, true), (3, true), (4, false)] {
        let mut bench = Bench::with(Limits { outbox_events: 3, ..Limits::default() }, Hooks::default());
        let (reader, writer) = (bench.subscriber("/a"), bench.session());
        for n in 0..events {
            assert_eq!(bench.tell(&publish(&writer, "/a", n))["successful"], true, "the publisher does not suffer");
        }
        let last = bench.say(&connect(&reader));
        assert_eq!(last.replies[0]["successful"], kept, "{events}");
        assert_eq!(last.events.len(), if kept { events } else { 0 });
        assert_eq!(bench.broker.counters().overflows, u64::from(!kept));
        assert_eq!((bench.broker.sessions(), bench.broker.queued_bytes()), (if kept { 2 } else { 1 }, 0));
    }
}

#[test]
fn limit_outbox_bytes() {
    // Each of these events takes 25 bytes: {"channel":"/a","data":1}.
    for (limit, kept) in [(49, false), (50, true), (51, true)] {
        let mut bench = Bench::with(Limits { outbox_bytes: limit, ..Limits::default() }, Hooks::default());
        let (reader, writer) = (bench.subscriber("/a"), bench.session());
        bench.tell(&publish(&writer, "/a", 1));
        bench.tell(&publish(&writer, "/a", 2));
        let last = bench.say(&connect(&reader));
        assert_eq!(
            (last.replies[0]["successful"] == true, last.events.len()),
            (kept, if kept { 2 } else { 0 }),
            "{limit}"
        );
    }
}

#[test]
fn limit_queued_bytes() {
    // As above: 50 bytes of JSON wait when the third one comes.
    let [at_one, at_two] = [1, 2].map(|queues| 25 + BESIDE_JSON + queues * PLACE);
    for (half, refused) in [(2 * at_two - 1, true), (2 * at_two, true), (2 * at_two + 1, false)] {
        let mut bench = Bench::with(Limits { queued_bytes: 2 * half, ..Limits::default() }, Hooks::default());
        let (one, two, writer) = (bench.subscriber("/a"), bench.subscriber("/a"), bench.session());
        for _ in 0..2 {
            assert_eq!(bench.tell(&publish(&writer, "/a", 1))["successful"], true);
        }
        assert_eq!(bench.broker.queued_bytes(), 2 * at_two, "shared by both, counted once");
        let reply = bench.tell(&publish(&writer, "/a", 1));
        if refused {
            assert_eq!(reply, json!({"channel": "/a", "successful": false, "error": "429::queue_limit"}));
            assert_eq!(bench.publish("/a", "1"), Err(delivery::PublishError::Full));
            assert_eq!(bench.broker.counters().publishes_refused, 2);
        } else {
            assert_eq!(reply, json!({"channel": "/a", "successful": true}));
        }
        assert_eq!(bench.tell(&publish(&writer, "/service/a", 1))["successful"], true, "services queue nothing");
        let waiting = if refused { 2 } else { 3 };
        assert_eq!(bench.say(&connect(&one)).events.len(), waiting);
        assert_eq!(bench.broker.queued_bytes(), waiting * at_one, "until the last one has it");
        assert_eq!(bench.say(&connect(&two)).events.len(), waiting);
        assert_eq!(bench.tell(&publish(&writer, "/a", 1))["successful"], true, "room again");
    }
}

#[test]
fn limit_output_bytes_splits_what_waits_over_several_connects() {
    let mut bench = Bench::with(Limits { output_bytes: 50, ..Limits::default() }, Hooks::default());
    let (reader, writer) = (bench.subscriber("/a"), bench.session());
    for n in 1..=5 {
        bench.tell(&publish(&writer, "/a", n));
    }
    let sizes: Vec<usize> = (0..3).map(|_| bench.say(&connect(&reader)).events.len()).collect();
    assert_eq!(sizes, [2, 2, 1]);
    bench.hold(&reader);
}

#[test]
fn limit_deliveries_can_be_stopped_between_two_sessions() {
    let mut bench = Bench::new();
    let readers: Vec<String> = (0..3).map(|_| bench.subscriber("/a")).collect();
    let mut links: VecDeque<Link> = readers.iter().map(|id| bench.hold(id).1).collect();
    assert_eq!(bench.publish("/a", "1"), Ok(None));
    while let Some(expected) = links.pop_front() {
        assert!(bench.broker.has_ready());
        let said = bench.pull().unwrap();
        assert_eq!((said.link, said.events.len(), said.replies.len()), (expected, 1, 1));
    }
    assert!(!bench.broker.has_ready() && bench.pull().is_none());
}

#[test]
fn who_waits_for_a_single_event_does_not_wait_behind_a_broadcast() {
    let mut bench = Bench::with(Limits { deliveries_per_turn: 3, ..Limits::default() }, Hooks::default());
    let crowd: Vec<String> = (0..4).map(|_| bench.subscriber("/all")).collect();
    let few: Vec<String> = (0..2).map(|_| bench.subscriber("/few")).collect();
    let crowd: Vec<Link> = crowd.iter().map(|id| bench.hold(id).1).collect();
    let few: Vec<Link> = few.iter().map(|id| bench.hold(id).1).collect();
    assert_eq!(bench.publish("/all", "1"), Ok(None));
    assert_eq!(bench.publish("/few", "2"), Ok(None));
    let order: Vec<Link> = core::iter::from_fn(|| bench.pull()).map(|said| said.link).collect();
    assert_eq!(order, [few[0], crowd[0], few[1], crowd[1], crowd[2], crowd[3]]);
    assert!(!bench.broker.has_ready());
}

#[test]
fn who_waits_for_both_gets_both_at_the_better_place_and_once() {
    let mut bench = Bench::with(Limits { deliveries_per_turn: 1, ..Limits::default() }, Hooks::default());
    let crowd: Vec<String> = (0..3).map(|_| bench.subscriber("/all")).collect();
    assert_eq!(bench.tell(&subscribe(&crowd[2], "/few"))["successful"], true);
    let crowd: Vec<Link> = crowd.iter().map(|id| bench.hold(id).1).collect();
    assert_eq!(bench.publish("/all", "1"), Ok(None));
    assert_eq!(bench.publish("/few", "2"), Ok(None));
    let order: Vec<(Link, usize)> =
        core::iter::from_fn(|| bench.pull()).map(|said| (said.link, said.events.len())).collect();
    assert_eq!(order, [(crowd[2], 2), (crowd[0], 1), (crowd[1], 1)]);
    assert!(!bench.broker.has_ready());
}

#[test]
fn limit_timers_fired_at_once() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.handshake();
    }
    bench.now.mono_ms += 10_000;
    assert_eq!(bench.broker.fire(bench.now, 2), 2);
    assert_eq!(bench.broker.sessions(), 3);
    assert!(bench.broker.next_deadline().is_some_and(|at| at <= bench.now.mono_ms), "the rest is due at once");
    assert_eq!(bench.broker.fire(bench.now, 5), 3);
    assert!(bench.broker.is_at_rest());
}

#[test]
fn an_overflow_ends_a_held_connect_which_is_told_to_shake_hands() {
    let mut bench = Bench::with(Limits { outbox_events: 1, ..Limits::default() }, Hooks::default());
    let reader = bench.subscriber("/a");
    let (ticket, link) = bench.hold(&reader);
    for _ in 0..2 {
        bench.publish("/a", "1").unwrap();
    }
    let ending = bench.broker.take_endings().unwrap();
    assert_eq!((ending.link, ending.ticket), (link, ticket));
    let End::Closed { last: json, .. } = ending.end else { panic!("{ending:?}") };
    assert_eq!(
        parsed(&[b"[", json.as_slice(), b"]"].concat()),
        json!([{"channel": "/meta/connect", "successful": false, "error": "402::session_unknown",
            "advice": {"reconnect": "handshake", "interval": 0, "timeout": 30_000}}])
    );
    assert!(bench.pull().is_none() && bench.broker.take_endings().is_none());
    assert!(bench.broker.is_at_rest());
}

#[test]
fn an_overflow_disturbs_no_other_subscriber_of_the_same_publish() {
    let mut bench = Bench::with(Limits { outbox_events: 1, ..Limits::default() }, Hooks::default());
    let readers: Vec<String> = (0..4).map(|_| bench.subscriber("/a")).collect();
    bench.publish("/a", "1").unwrap();
    for reader in [&readers[0], &readers[2]] {
        assert_eq!(bench.say(&connect(reader)).events.len(), 1);
    }
    bench.publish("/a", "2").unwrap();
    assert_eq!((bench.broker.sessions(), bench.broker.counters().overflows), (2, 2));
    for reader in [&readers[0], &readers[2]] {
        assert_eq!(bench.say(&connect(reader)).events[0]["data"], 2);
    }
}

#[test]
fn a_publisher_may_overflow_itself() {
    let mut bench = Bench::with(Limits { outbox_events: 1, ..Limits::default() }, Hooks::default());
    let id = bench.subscriber("/a");
    let said = bench.say(&json!([publish(&id, "/a", 1), publish(&id, "/a", 2), publish(&id, "/a", 3)]));
    let successful: Vec<&Value> = said.replies.iter().map(|reply| &reply["successful"]).collect();
    assert_eq!(successful, [true, true, false]);
    assert_eq!(said.replies[2]["error"], "402::session_unknown");
    assert!(bench.broker.is_at_rest());
}

#[test]
fn a_stale_ticket_or_link_touches_nobody() {
    let mut bench = Bench::new();
    let old = bench.session();
    let (stale, link) = bench.hold(&old);
    assert!(bench.broker.kick(&old));
    assert!(!bench.broker.kick(&old));
    let new = bench.session();
    let (ticket, place) = bench.hold(&new);
    assert_eq!(new[..6], old[..6], "the new session has the place of the old one");
    assert_ne!(stale, ticket);
    let mut answer = Answer::default();
    for (ticket, link) in [(stale, place), (stale, link), (ticket, link), (Ticket(0), place), (Ticket(u64::MAX), place)]
    {
        bench.broker.detached(ticket, link, bench.now);
        bench.broker.answered(ticket, link, bench.now);
        assert!(!bench.broker.answer_hold(ticket, link, &mut answer));
    }
    assert!(answer.replies.ready().next().is_none());
    bench.advance(29_999);
    assert_eq!(bench.broker.sessions(), 1, "still held");
    assert!(bench.broker.answer_hold(ticket, place, &mut answer));
    assert!(!bench.broker.answer_hold(ticket, place, &mut answer), "once");
}

#[test]
fn a_stale_client_id_reaches_nobody() {
    let mut bench = Bench::new();
    let old = bench.session();
    bench.tell(&json!({"channel": "/meta/disconnect", "clientId": old}));
    let new = bench.session();
    assert_eq!(new[..6], old[..6]);
    assert_eq!(bench.tell(&publish(&old, "/a", 1))["error"], "402::session_unknown");
    assert_eq!(bench.tell(&json!({"channel": "/meta/disconnect", "clientId": old}))["error"], "402::session_unknown");
    assert_eq!(bench.tell(&publish(&new, "/a", 1))["successful"], true);
}

#[test]
fn a_late_word_of_an_answer_does_not_end_a_newer_hold() {
    let mut bench = Bench::new();
    let id = bench.session();
    let (ticket, first) = bench.hold(&id);
    let (_, second) = bench.hold(&id);
    let ending = bench.broker.take_endings().unwrap();
    assert_eq!((ending.link, ending.end), (first, End::Superseded));
    bench.broker.answered(ticket, first, bench.now);
    bench.broker.detached(ticket, first, bench.now);
    bench.advance(29_999);
    assert_eq!((bench.broker.sessions(), bench.pull().is_none()), (1, true));
    bench.advance(1);
    assert_eq!(bench.pull().unwrap().link, second);
}

#[test]
fn subscriptions_end_with_their_session_and_spare_the_others() {
    let mut bench = Bench::new();
    let ids: Vec<String> = (0..4).map(|_| bench.subscriber("/a")).collect();
    for id in &ids {
        assert_eq!(bench.tell(&subscribe(id, json!(["/b", "/c", "/*"])))["successful"], true);
    }
    for gone in [0, 2] {
        bench.tell(&json!({"channel": "/meta/disconnect", "clientId": ids[gone]}));
    }
    bench.tell(&json!({"channel": "/meta/unsubscribe", "clientId": ids[1], "subscription": ["/*", "/b"]}));
    for channel in ["/a", "/b", "/c"] {
        bench.publish(channel, "1").unwrap();
    }
    assert_eq!(bench.say(&connect(&ids[1])).events.len(), 2);
    assert_eq!(bench.say(&connect(&ids[3])).events.len(), 3);
    for id in [&ids[1], &ids[3]] {
        bench.tell(&json!({"channel": "/meta/disconnect", "clientId": id}));
    }
    assert!(bench.broker.is_at_rest());
}

/// Denies what has `deny` in its name, with the names it was asked for.
struct Denying {
    handshake: Option<Verdict>,
}

impl SecurityPolicy for Denying {
    fn can_handshake(&mut self, query: &Query<'_>, _admission: &mut Admission) -> Verdict {
        assert_eq!(query.header("authorization"), Some(&b"Basic eDp5"[..]), "the policy sees the request");
        self.handshake.clone().unwrap_or(Verdict::Allow)
    }

    fn can_create(&mut self, _: &Query<'_>, _: Option<&mut Session<'_>>, name: &str) -> Verdict {
        if name.contains("deny-create") { Verdict::deny("fixed set") } else { Verdict::Allow }
    }

    fn can_subscribe(&mut self, query: &Query<'_>, _: &mut Session<'_>, name: &str) -> Verdict {
        assert!(query.message().client_id.is_some());
        if name.contains("deny-subscribe") { Verdict::deny(format!("not {name}")) } else { Verdict::Allow }
    }

    fn can_publish(&mut self, query: &Query<'_>, _: Option<&mut Session<'_>>, channel: &str) -> Verdict {
        assert!(query.message().data.is_some());
        if channel.contains("deny-publish") { Verdict::deny("quiet \"hours\"") } else { Verdict::Allow }
    }
}

fn denying(handshake: Option<Verdict>) -> Bench {
    Bench::with(Limits::default(), Hooks::default().policy(Denying { handshake }))
}

#[test]
fn must_5_a_denied_handshake_is_403_with_its_reason_and_not_to_be_tried_again() {
    let mut bench = denying(Some(Verdict::deny("because")));
    assert_eq!(
        bench.tell(&json!({"channel": "/meta/handshake", "id": 1})),
        json!({"channel": "/meta/handshake", "id": 1, "successful": false, "error": "403:because:handshake_denied",
            "advice": {"reconnect": "none"}})
    );
    assert!(bench.broker.is_at_rest());
}

#[test]
fn must_5_a_denied_handshake_has_the_advice_of_the_policy() {
    let advice = |reconnect, interval| {
        let advice = ReplyAdvice { reconnect, interval, timeout: 7, multiple_clients: false, connection_type: None };
        denying(Some(Verdict::Deny(Denial::default().with_advice(advice)))).tell(&json!({"channel": "/meta/handshake"}))
            ["advice"]
            .clone()
    };
    assert_eq!(advice(Reconnect::Retry, 5), json!({"reconnect": "retry", "interval": 5, "timeout": 7}));
    assert_eq!(advice(Reconnect::Handshake, 9_000), json!({"reconnect": "handshake", "interval": 9_000, "timeout": 7}));
}

#[test]
fn must_5_a_denied_handshake_is_never_advised_to_shake_hands_at_once() {
    let advice = ReplyAdvice {
        reconnect: Reconnect::Handshake,
        interval: 0,
        timeout: 30_000,
        multiple_clients: false,
        connection_type: None,
    };
    let mut bench = denying(Some(Verdict::Deny(Denial::default().with_advice(advice))));
    let reply = bench.tell(&json!({"channel": "/meta/handshake"}));
    let loops = reply["advice"]["reconnect"] == "handshake" && reply["advice"]["interval"] == 0;
    assert!(!loops, "Faye would loop: {reply}");
}

#[test]
fn must_5_a_denied_publish_is_403_with_its_reason_and_delivers_nothing() {
    let mut bench = denying(None);
    let reader = bench.subscriber("/**");
    for channel in ["/deny-publish", "/service/deny-publish"] {
        assert_eq!(
            bench.tell(&publish(&reader, channel, 1)),
            json!({"channel": channel, "successful": false, "error": "403:quiet \"hours\":publish_denied"})
        );
    }
    assert_eq!(bench.broker.counters().published, 0);
    assert_eq!(bench.tell(&publish(&reader, "/a", 1))["successful"], true);
    assert_eq!(bench.tell(&publish("nobody", "/deny-publish", 1))["error"], "402::session_unknown", "asked last");
}

#[test]
fn must_5_a_denied_subscription_is_403_with_its_reason_and_all_or_nothing() {
    let mut bench = denying(None);
    let id = bench.session();
    for (subscription, error) in [
        (json!("/deny-subscribe"), "403:not /deny-subscribe:subscribe_denied"),
        (json!(["/a", "/deny-subscribe/*"]), "403:not /deny-subscribe/*:subscribe_denied"),
        (json!(["/deny-create"]), "403:fixed set:create_denied"),
        (json!("/service/deny-subscribe"), "403:not /service/deny-subscribe:subscribe_denied"),
    ] {
        assert_eq!(
            bench.tell(&subscribe(&id, subscription.clone())),
            json!({"channel": "/meta/subscribe", "successful": false, "subscription": subscription, "error": error})
        );
    }
    assert_eq!(bench.broker.topics(), 0);
}

#[test]
fn must_5_creation_is_asked_for_only_while_there_is_no_such_channel() {
    struct Once(u32);
    impl SecurityPolicy for Once {
        fn can_create(&mut self, _: &Query<'_>, _: Option<&mut Session<'_>>, _name: &str) -> Verdict {
            self.0 += 1;
            if self.0 == 1 { Verdict::Allow } else { Verdict::deny("again") }
        }
    }
    let mut bench = Bench::with(Limits::default(), Hooks::default().policy(Once(0)));
    let (one, two) = (bench.subscriber("/a"), bench.subscriber("/a"));
    for id in [&one, &two] {
        bench.tell(&json!({"channel": "/meta/unsubscribe", "clientId": id, "subscription": "/a"}));
    }
    assert_eq!(bench.tell(&subscribe(&one, "/a"))["successful"], true, "it has not been swept");
    bench.tell(&json!({"channel": "/meta/unsubscribe", "clientId": one, "subscription": "/a"}));
    bench.advance(2 * Limits::default().sweep_ms);
    assert_eq!(bench.tell(&subscribe(&one, "/a"))["error"], "403:again:create_denied");
    assert_eq!(bench.tell(&publish(&one, "/a", 1))["error"], "403:again:channel_create_denied");
}

#[test]
fn who_listens_without_bayeux_is_asked_about_until_the_first_no() {
    /// Says no to one question, and counts them.
    struct Picky {
        no: usize,
        asked: Arc<AtomicUsize>,
    }
    impl Picky {
        fn say(&self) -> Verdict {
            if self.asked.fetch_add(1, Ordering::Relaxed) + 1 == self.no {
                Verdict::deny(self.no.to_string())
            } else {
                Verdict::Allow
            }
        }
    }
    impl SecurityPolicy for Picky {
        fn can_handshake(&mut self, _: &Query<'_>, _: &mut Admission) -> Verdict {
            self.say()
        }

        fn can_create(&mut self, _: &Query<'_>, _: Option<&mut Session<'_>>, _name: &str) -> Verdict {
            self.say()
        }

        fn can_subscribe(&mut self, _: &Query<'_>, _: &mut Session<'_>, _name: &str) -> Verdict {
            self.say()
        }
    }
    for no in 1..=4 {
        let asked = Arc::new(AtomicUsize::new(0));
        let policy = Picky { no, asked: Arc::clone(&asked) };
        let mut bench = Bench::with(Limits::default(), Hooks::default().policy(policy));
        let (browser, origin) = (Presented::Nothing, Origin::default());
        let request = Request { link: Link(1), way: Way::Push, client: None, browser, origin, insider: None };
        let opened = bench.broker.open(&request, Wish { pattern: "/a", once: false, since: None }, bench.now);
        let refused = (no <= 3).then(|| StreamError::Denied(no.to_string()));
        assert_eq!((opened.err(), asked.load(Ordering::Relaxed)), (refused, no.min(3)));
        assert_eq!(bench.broker.sessions(), usize::from(no > 3));
    }
}

#[test]
fn limit_outbox_bytes_of_one_event() {
    let json = |bytes: usize| json!("x".repeat(bytes));
    // {"channel":"/a","data":"…"} without the dots.
    let frame = r#"{"channel":"/a","data":""}"#.len();
    for (bytes, error) in [(99, Value::Null), (100, Value::Null), (101, json!("413:100:event_too_large"))] {
        let mut bench = Bench::with(Limits { outbox_bytes: 100, ..Limits::default() }, Hooks::default());
        let id = bench.subscriber("/a");
        bench.hold(&id);
        let other = bench.session();
        let reply = bench.tell(&publish(&other, "/a", json(bytes - frame)));
        assert_eq!((&reply["error"], bench.broker.sessions()), (&error, 2), "{bytes}");
    }
}

#[test]
fn limit_names_of_one_subscribe() {
    let mut bench = Bench::with(Limits { batch_messages: 4, ..Limits::default() }, Hooks::default());
    let id = bench.session();
    for (names, error) in [(3, Value::Null), (4, Value::Null), (5, json!("429:256:subscription_limit"))] {
        let names = vec!["/a"; names];
        for channel in ["/meta/subscribe", "/meta/unsubscribe"] {
            let message = json!({"channel": channel, "clientId": id, "subscription": names});
            assert_eq!(bench.tell(&message)["error"], error);
        }
    }
}

/// A store on another machine: what it is given is numbered later.
struct Elsewhere;

impl history::Store for Elsewhere {
    fn start(&self) -> u64 {
        7_000
    }

    fn append(&mut self, _channel: bayeux::Channel<'_>, json: &[u8]) -> history::Appended {
        assert!(json.starts_with(b"{\"channel\":\"/kept/"));
        history::Appended::Later
    }
}

#[test]
fn what_a_store_numbers_later_is_delivered_then_and_in_its_order() {
    let mut bench = Bench::new();
    let channels =
        vec![Rule { pattern: "/kept/**".to_owned(), history: Some(Some(rules::Keep::default())), ..Rule::default() }];
    bench.broker.reconfigure(Config { channels, ..Config::default() }, Limits::default());
    bench.broker.set_store(Box::new(Elsewhere));
    let client = bench.session();
    bench.tell(&json!({"channel": "/meta/subscribe", "clientId": client, "subscription": "/**"}));
    assert_eq!(bench.publish("/kept/a", "1"), Ok(None));
    assert_eq!(bench.publish("/kept/b", "2"), Ok(None));
    assert_eq!(bench.publish("/other", "3"), Ok(None));
    let connect = json!({"channel": "/meta/connect", "clientId": client, "advice": {"timeout": 0}});
    let data = |said: &Said| said.events.iter().map(|event| event["data"].as_i64().unwrap()).collect::<Vec<_>>();
    assert_eq!(data(&bench.say(&connect)), [3], "others do not wait for it");
    bench.broker.stored(7_010, bench.now);
    bench.broker.stored(7_020, bench.now);
    bench.broker.stored(7_030, bench.now);
    let said = bench.say(&connect);
    assert_eq!(data(&said), [1, 2]);
    assert_eq!(
        (&said.events[1]["channel"], &said.events[1]["ext"]["replay"]["id"]),
        (&json!("/kept/b"), &json!(7_020))
    );
    assert_eq!((bench.broker.history().newest(), bench.broker.history().events()), (7_020, 2));
}

#[test]
fn what_has_no_number_yet_counts_among_what_waits() {
    let mut bench = Bench::new();
    let channels =
        vec![Rule { pattern: "/kept/**".to_owned(), history: Some(Some(rules::Keep::default())), ..Rule::default() }];
    let limits = Limits { queued_bytes: 100, ..Limits::default() };
    bench.broker.reconfigure(Config { channels, ..Config::default() }, limits);
    bench.broker.set_store(Box::new(Elsewhere));
    let data = format!("\"{}\"", "x".repeat(40));
    for id in 7_001..7_010 {
        while bench.publish("/kept/a", &data) == Ok(None) {}
        assert_eq!(bench.publish("/kept/a", &data), Err(PublishError::Full));
        bench.broker.stored(id, bench.now);
        assert_eq!(bench.publish("/kept/a", &data), Ok(None), "there is room again");
    }
}

#[test]
fn nothing_is_wanted_of_services() {
    let mut bench = Bench::new();
    let keep = rules::Keep::default();
    let rule = Rule { pattern: "/**".to_owned(), history: Some(Some(keep)), ..Rule::default() };
    bench.broker.reconfigure(Config { channels: vec![rule], ..Config::default() }, Limits::default());
    (0..300).for_each(|_| assert!(bench.publish("/a", "1").is_ok()));
    let id = bench.session();
    let replay = |name: &str| {
        let mut message = subscribe(&id, name);
        message["ext"] = json!({"replay": {name: -2}});
        message
    };
    bench.tell(&replay("/**"));
    for number in 0..500 {
        assert_eq!(bench.tell(&replay(&format!("/service/{number}")))["successful"], true);
    }
    let wanted: usize =
        bench.broker.sessions.iter().filter_map(|(_, s)| s.extras.as_ref()).map(|e| e.wants.len()).sum();
    assert_eq!(wanted, 1, "a list that no limit bounds");
}
