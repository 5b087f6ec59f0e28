//! What hooks may cost: every bound of theirs, who may be starved, and what must not be left behind.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::super::bench::{Bench, HANDSHAKE, Post};
use super::super::sockets::{frame, messages, upgrade};
use super::{Later, allow, ask, policy, with_hooks};
use crate::broker::rules::Rule;
use crate::hooks::{
    Command, Context, Delivery, Extension, Hooks, Listener, LocalId, OutgoingReply, Published, Room, Session,
    SessionId, Verdict, WebRequest, WebResponse,
};

fn id(number: u32) -> LocalId {
    LocalId(NonZeroU32::new(number).unwrap())
}

type Desk = Arc<Mutex<(Vec<String>, Room)>>;

fn local(b: &mut Bench, number: u32) -> Desk {
    let desk: Desk = Arc::new(Mutex::new((Vec::new(), Room::More)));
    let own = desk.clone();
    b.engine.open_local(
        id(number),
        Box::new(move |delivery: Delivery<'_>| {
            let mut desk = own.lock().unwrap();
            desk.0.push(match delivery {
                Delivery::Event { channel, data, .. } => format!("event {channel} {data}"),
                Delivery::Reply(json) => format!("reply {json}"),
                other => format!("{other:?}"),
            });
            desk.1
        }),
    );
    desk
}

fn say(b: &mut Bench, number: u32, batch: &Value) {
    b.engine.local_receive(id(number), batch.to_string().as_bytes(), b.now()).unwrap();
    b.turn();
}

fn handshakes(operation: &str, _: &str) -> bool {
    operation == "handshake"
}

/// One client must not take all the room that there is for questions.
#[test]
fn one_websocket_leaves_others_room_for_their_handshakes() {
    let later = Later::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = later.hooks(handshakes);
        setup.broker.transports = vec!["long-polling", "websocket"];
        setup.limits.deferred_batches = 64;
    });
    let conn = upgrade(&mut b, "");
    for _ in 0..100 {
        b.give(conn, &frame(HANDSHAKE));
    }
    let waiting = later.take().len();
    let other = b.open_from("198.51.100.7");
    b.give(other, &Post::new(HANDSHAKE).bytes());
    let said = b.raw(other);
    assert_eq!(said, "", "{waiting} questions were asked");
}

/// A local session says what it wants to hear right after its handshake: `Handle::receiver`.
#[test]
fn a_local_session_may_subscribe_while_its_handshake_waits() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(handshakes));
    let desk = local(&mut b, 1);
    say(&mut b, 1, &json!([{"channel": "/meta/handshake", "version": "1.0"}]));
    say(&mut b, 1, &json!([{"channel": "/meta/subscribe", "subscription": "/a"}]));
    allow(&mut b, later.one("handshake "));
    let all = desk.lock().unwrap().0.join("\n");
    assert!(!all.contains("402"), "{all}");
}

#[test]
fn a_local_session_that_goes_while_its_handshake_waits_leaves_nothing() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(handshakes));
    local(&mut b, 1);
    say(&mut b, 1, &json!([{"channel": "/meta/handshake", "version": "1.0"}]));
    b.engine.close_local(id(1), b.now());
    allow(&mut b, later.one("handshake "));
    b.advance(3_600_000);
    assert_eq!(b.sessions(), 0);
}

#[test]
fn a_local_session_that_shakes_hands_twice_leaves_nothing() {
    let mut b = Bench::new();
    local(&mut b, 1);
    for _ in 0..3 {
        say(&mut b, 1, &json!([{"channel": "/meta/handshake", "version": "1.0"}]));
    }
    let sessions = b.sessions();
    b.engine.close_local(id(1), b.now());
    b.advance(3_600_000);
    assert_eq!((sessions, b.sessions()), (1, 0));
}

#[test]
fn a_reply_does_not_open_a_local_session_that_is_full() {
    let mut b = Bench::new();
    let desk = local(&mut b, 1);
    say(&mut b, 1, &json!([{"channel": "/meta/handshake", "version": "1.0"}]));
    say(&mut b, 1, &json!([{"channel": "/meta/subscribe", "subscription": "/a"}]));
    desk.lock().unwrap().0.clear();
    desk.lock().unwrap().1 = Room::Full;
    assert!(b.inject("/a", "1"));
    say(&mut b, 1, &json!([{"channel": "/b", "data": 1}]));
    assert!(b.inject("/a", "2"));
    let all = desk.lock().unwrap().0.clone();
    let events: Vec<_> = all.iter().filter(|line| line.starts_with("event")).collect();
    assert_eq!(events, ["event /a 1"], "no more events until it is ready");
}

/// Answers each message on `/big` with another command.
struct Follows;

impl Listener for Follows {
    fn message(&mut self, event: Published<'_>, _: Option<&mut Session<'_>>, context: &mut Context<'_>) {
        if event.channel() == "/big" {
            context.publish("/small", "1").unwrap();
        }
    }
}

/// A turn whose requests have used it up has still to do some of what hooks want done.
#[test]
fn what_hooks_want_done_is_not_starved_by_publishers() {
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().listener(Follows);
        setup.limits.fanout_per_turn = 2;
    });
    let hearers = [b.subscriber("/big"), b.subscriber("/big"), b.subscriber("/big")];
    let publisher = b.client();
    let before = b.published();
    for _ in 0..50 {
        b.receive(publisher.up, &Post::json(&publisher.publish("/big", 1)).bytes());
        b.turn_once();
    }
    drop(hearers);
    let done = b.published() - before - 50;
    assert!(done >= 40, "{done} of 50 commands were run in 50 turns");
}

/// Who may not bring channels into being does not do so by waiting until one has gone.
#[test]
fn a_channel_that_goes_while_a_publish_waits_is_not_made_without_asking() {
    let later = Later::default();
    let kept = later.clone();
    let hooks = Hooks::default().policy(policy(move |operation, channel, query| match operation {
        "create" if channel == "/a" && query.message().id.is_some_and(|id| id.as_json() == "\"p\"") => {
            Verdict::deny("not by you")
        }
        "publish" => {
            kept.0.lock().unwrap().push((format!("{operation} {channel}"), query.ticket()));
            Verdict::Defer
        }
        _ => Verdict::Allow,
    }));
    let mut b = with_hooks(hooks);
    let owner = b.subscriber("/a");
    let publisher = b.client();
    b.hold(&publisher);
    ask(&mut b, publisher.up, &publisher.publish("/a", 1));
    b.tell(owner.up, &owner.disconnect());
    b.advance(5_000);
    allow(&mut b, later.one("publish /a"));
    let said = b.raw(publisher.up);
    assert!(said.contains("not by you"), "{said}");
}

/// What is made ready for sockets that take nothing has a bound for all.
#[test]
fn pages_of_a_fallback_that_nobody_reads_are_bounded() {
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().fallback(|_: &WebRequest<'_>, _: &mut Context<'_>| {
            Some(WebResponse::new("text/html", vec![b'x'; 1 << 20]))
        });
        setup.limits.queued_bytes = 4 << 20;
    });
    for _ in 0..64 {
        let conn = b.open();
        b.stall(conn);
        b.give(conn, b"GET /page HTTP/1.1\r\nHost: h.example\r\n\r\n");
    }
    let unsent = b.engine.census().unsent_bytes;
    assert!(unsent <= 8 << 20, "{unsent} bytes with a bound of {}", 4 << 20);
}

/// A loop that has nothing to do sleeps.
#[test]
fn channels_that_stay_do_not_keep_the_loop_awake() {
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().listener(Follows);
        setup.limits.sweep_ms = 0;
        setup.broker.channels = vec![Rule { pattern: "/**".to_owned(), persistent: Some(true), ..Rule::default() }];
    });
    assert!(b.inject("/stays", "1"));
    b.engine.handle_timeout(b.now());
    b.engine.flush(b.now());
    let next = b.engine.poll_timeout().map(|(at, _)| at);
    assert!(next.is_none_or(|at| at > b.now_ms()), "{next:?} and it is {}", b.now_ms());
}

/// What hooks want done has a bound in bytes.
#[test]
fn commands_of_hooks_have_a_bound_in_bytes() {
    let refused = Arc::new(Mutex::new(0));
    let own = refused.clone();
    let service = move |request: crate::hooks::Request<'_>, _: &mut Session<'_>, context: &mut Context<'_>| {
        let data = format!("\"{}\"", "x".repeat(1 << 20));
        if request.reply(context, &data).is_err() {
            *own.lock().unwrap() += 1;
        }
    };
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().service("/service/big", service).unwrap();
        setup.limits.mailbox_bytes = 16 << 20;
    });
    let client = b.client();
    let batch: Vec<Value> = (0..100).map(|_| client.publish("/service/big", 1)).collect();
    b.say(client.up, &json!(batch));
    assert!(*refused.lock().unwrap() > 80, "all of 100 MiB waited, the mailbox has 16");
}

/// A WebSocket whose handshakes wait is no way around the number of sessions that it may have.
#[test]
fn sessions_made_late_on_one_websocket() {
    let later = Later::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = later.hooks(handshakes);
        setup.broker.transports = vec!["long-polling", "websocket"];
    });
    let conn = upgrade(&mut b, "");
    for _ in 0..50 {
        b.give(conn, &frame(HANDSHAKE));
    }
    for (_, ticket) in later.take() {
        allow(&mut b, ticket);
    }
    let replies = messages(&mut b, conn).len();
    b.cut(conn);
    b.advance(60_000);
    assert_eq!((replies, b.sessions()), (50, 0));
    assert!(b.engine.is_at_rest());
}

/// What a handle takes is taken: data is as deep as the limits say, wherever it goes.
#[test]
fn data_is_as_deep_as_the_limits_say() {
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    let mut b = Bench::with(|setup| setup.limits.json_depth = 64);
    let client = b.subscriber("/a");
    b.hold(&client);
    assert!(b.inject("/a", &deep));
    b.raw(client.down);
    local(&mut b, 1);
    say(&mut b, 1, &json!([{"channel": "/meta/handshake", "version": "1.0"}]));
    let session = SessionId::from_bits(b.engine.local_session(id(1)).unwrap());
    assert!(b.command(&Command::Deliver { session, channel: "/a".to_owned(), data: deep }), "delivered");
}

struct Lines;

impl Extension for Lines {
    fn reply(&mut self, reply: &mut OutgoingReply<'_>, _: Option<&mut Session<'_>>, _: &mut Context<'_>) {
        reply.set_ext("a", "[1,\n\r\n\r2]").unwrap();
    }
}

/// White space in what an extension says does not cut a stream into other messages.
#[test]
fn line_ends_in_ext_do_not_reach_streams() {
    let mut b = with_hooks(Hooks::default().extension(Lines));
    let conn = b.open();
    let said = b.exchange(conn, &Post::new(HANDSHAKE).bytes());
    assert!(!said.body.contains(['\n', '\r']), "{:?}", said.body);
}

/// Hears of channels.
#[derive(Clone, Default)]
struct Hears(Arc<Mutex<Vec<String>>>);

impl Listener for Hears {
    fn channel_added(&mut self, channel: &str, _: &mut Context<'_>) {
        self.0.lock().unwrap().push(format!("+{channel}"));
    }

    fn channel_removed(&mut self, channel: &str, _: &mut Context<'_>) {
        self.0.lock().unwrap().push(format!("-{channel}"));
    }
}

/// A channel that came when there was no room for it is not gone while somebody is subscribed.
#[test]
fn a_channel_with_a_subscriber_is_not_swept() {
    let hears = Hears::default();
    let own = hears.clone();
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().listener(own);
        setup.limits.channels = 1;
    });
    local(&mut b, 1);
    say(&mut b, 1, &json!([{"channel": "/meta/handshake"}, {"channel": "/x", "data": 1}]));
    say(&mut b, 1, &json!([{"channel": "/x", "data": 1}]));
    say(&mut b, 1, &json!([{"channel": "/meta/subscribe", "subscription": "/a"}]));
    b.advance(10_000);
    assert!(b.inject("/a", "1"));
    b.advance(10_000);
    assert_eq!(*hears.0.lock().unwrap(), ["+/x", "-/x", "+/a"]);
}

/// One that has waited has its place, as is said where batches wait.
#[test]
fn who_has_waited_has_a_place_for_the_next_question() {
    let later = Later::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = later.hooks(|operation, _| operation != "handshake");
        setup.limits.deferred_bytes = 40_000;
    });
    let (first, second) = (b.client(), b.client());
    ask(&mut b, first.up, &first.publish("/a", 1));
    // Large, and taken while there was room.
    ask(&mut b, second.up, &second.publish("/b", "x".repeat(100_000)));
    let ticket = later.take()[0].1;
    allow(&mut b, ticket);
    let said = b.raw(first.up);
    assert_eq!(said, "", "it is to wait for its second question");
}

/// Attributes take what they are said to take, whatever their names are.
#[test]
fn many_small_attributes_are_bounded_as_few_large_ones() {
    let mut attributes = crate::hooks::Attributes::default();
    let mut count = 0;
    while count < 40_000 && attributes.set(&format!("{count:x}"), "").is_ok() {
        count += 1;
    }
    let memory = count * 2 * size_of::<Box<str>>();
    assert!(memory <= 4 * crate::hooks::session::ATTRIBUTE_BYTES, "{count} entries, {memory} bytes of pointers alone");
}

/// Writes on each new session what a client might have it write.
struct Writes;

impl Listener for Writes {
    fn session_added(&mut self, session: &mut Session<'_>, _: &mut Context<'_>) {
        session.attributes.set("profile", &"x".repeat(60_000)).unwrap();
    }
}

#[test]
fn limit_attribute_bytes() {
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().listener(Writes);
        setup.limits.attribute_bytes = 120_000;
    });
    let clients = [b.handshake(), b.handshake()];
    assert_eq!(b.engine.census().attribute_bytes, 2 * (60_000 + "profile".len() + 32));
    let conn = b.open();
    let refused = b.tell(conn, &json!({"channel": "/meta/handshake", "version": "1.0"}));
    assert_eq!(refused["error"], "429::session_limit");
    let refused = b.exchange(conn, b"GET /events/a HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!(refused.status, 503);
    b.tell(conn, &clients[0].disconnect());
    assert_eq!(b.engine.census().attribute_bytes, 60_000 + "profile".len() + 32);
    b.handshake();
}

/// A policy trusts local sessions: what comes over the network is not theirs, even with the right id.
#[test]
fn a_local_session_does_not_speak_over_the_network() {
    let mut b = Bench::new();
    let desk = local(&mut b, 1);
    say(&mut b, 1, &json!([{"channel": "/meta/handshake"}]));
    let reply: Value = serde_json::from_str(desk.lock().unwrap().0[0].strip_prefix("reply ").unwrap()).unwrap();
    let conn = b.open();
    let publish = json!({"channel": "/a", "clientId": reply["clientId"], "data": 1});
    assert_eq!(b.tell(conn, &publish)["error"], "402::session_unknown");
    let connect = json!({"channel": "/meta/connect", "clientId": reply["clientId"], "connectionType": "long-polling"});
    assert_eq!(b.tell(conn, &connect)["error"], "402::session_unknown");
    say(&mut b, 1, &json!([{"channel": "/a", "data": 1}]));
    assert!(desk.lock().unwrap().0[1].contains(r#""successful":true"#));
}
