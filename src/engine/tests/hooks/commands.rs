//! What hooks and other threads have done: each command, for sessions that live and for such as are gone; how much of it fits
//! into a turn.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::super::bench::{Bench, Client, HANDSHAKE, Post, unknown};
use super::{Log, Words, comes_to_rest, connected_event, done, with_hooks};
use crate::hooks::{Command, CommandsFull, Context, Hooks, Listener, Published, Removal, Request, Session, SessionId};

/// The names of sessions, in the order in which they came.
#[derive(Clone, Default)]
struct Ids(Arc<Mutex<Vec<SessionId>>>);

impl Listener for Ids {
    fn session_added(&mut self, session: &mut Session<'_>, _: &mut Context<'_>) {
        self.0.lock().unwrap().push(session.id());
    }
}

impl Ids {
    fn last(&self) -> SessionId {
        *self.0.lock().unwrap().last().unwrap()
    }
}

fn named(hooks: Hooks) -> (Bench, Ids) {
    let ids = Ids::default();
    (with_hooks(hooks.listener(ids.clone())), ids)
}

/// Every command that names a session.
fn commands(session: SessionId) -> [Command; 6] {
    let text = str::to_owned;
    [
        Command::Deliver { session, channel: text("/a"), data: text("1") },
        Command::Subscribe(session, text("/new")),
        Command::Unsubscribe(session, text("/a")),
        Command::SetAttribute(session, text("name"), Some(text("x"))),
        Command::SetAttribute(session, text("name"), None),
        Command::Disconnect(session),
    ]
}

#[test]
fn each_command_does_what_it_says() {
    let log = Log::default();
    let (mut b, ids) = named(Hooks::default().listener(Words::all(&log)));
    let client = b.subscriber("/a");
    log.take();
    b.hold(&client);
    let expected: [(&[&str], usize); 6] = [
        (&[], 1),
        (&["channel added /new", "subscribed - /new"], 2),
        (&["unsubscribed - /a"], 1),
        (&[], 1),
        (&[], 1),
        (&["unsubscribed - /new", "removed - Kicked"], 0),
    ];
    for (command, (lines, topics)) in commands(ids.last()).iter().zip(expected) {
        assert!(b.command(command), "{command:?}");
        assert_eq!((log.take(), b.engine.census().topics), (lines.iter().map(|&line| line.into()).collect(), topics));
        if matches!(command, Command::Deliver { .. }) {
            assert_eq!(b.one(client.down).json(), connected_event("/a", 1));
            b.hold(&client);
        }
    }
    let told = b.one(client.down).json();
    assert_eq!(told[0], json!({"channel": "/meta/disconnect", "successful": true}));
    assert_eq!(told[1]["advice"]["reconnect"], "none");
    comes_to_rest(&mut b, &[&client]);
}

/// The name of a session that is gone is not that of the one that came to its place.
#[test]
fn for_a_session_that_is_gone_no_command_does_anything() {
    let log = Log::default();
    let (mut b, ids) = named(Hooks::default().listener(Words::all(&log)));
    let first = b.client();
    let gone = ids.last();
    b.tell(first.up, &first.disconnect());
    let second = b.subscriber("/a");
    log.take();
    for command in commands(gone).into_iter().chain([Command::DisconnectClient(first.id.clone())]) {
        assert!(!b.command(&command), "{command:?}");
    }
    assert_eq!((log.take(), b.sessions(), b.engine.census().topics), (Vec::new(), 1, 1));
    assert_eq!(b.events(&second), Vec::<Value>::new());
    comes_to_rest(&mut b, &[&first, &second]);
}

#[test]
fn commands_that_make_no_sense_are_not_done() {
    let (mut b, ids) = named(Hooks::default());
    let client = b.client();
    let (session, text) = (ids.last(), str::to_owned);
    let deliver = |channel: &str, data: &str| Command::Deliver { session, channel: text(channel), data: text(data) };
    let publish = |channel: &str| Command::Publish { channel: text(channel), data: text("1"), lazy: false };
    for command in [
        deliver("/meta/connect", "1"),
        deliver("/a/*", "1"),
        deliver("a", "1"),
        deliver("/a", "{"),
        deliver("/a", "1,2"),
        publish("/meta/x"),
        publish("/service/x"),
        publish("/**"),
        publish(""),
        Command::Subscribe(session, text("/meta/*")),
        Command::Subscribe(session, text("/service/x")),
        Command::Subscribe(session, text("a")),
        Command::Unsubscribe(session, text("/*/a")),
        Command::SetAttribute(session, text("never written"), None),
        Command::SetAttribute(session, text("x"), Some("x".repeat(crate::hooks::session::ATTRIBUTE_BYTES))),
        Command::DisconnectClient(text("nobody")),
    ] {
        assert!(!b.command(&command), "{command:?}");
    }
    assert!(b.command(&deliver("/service/x", "1")), "a service's own channel");
    assert_eq!(b.events(&client), [json!({"channel": "/service/x", "data": 1})]);
}

/// As with CometD, what is delivered to one session needs no subscription. Ours does not pass listeners and extensions: it is
/// the program's own word to one client, as the reply to a remote call is.
#[test]
fn an_event_for_one_session_goes_to_it_alone_and_past_hooks() {
    let log = Log::default();
    let (mut b, ids) = named(Hooks::default().listener(Words::messages(&log)));
    let (other, client) = (b.subscriber("/**"), b.client());
    let big = Command::Deliver {
        session: ids.last(),
        channel: "/a".to_owned(),
        data: format!("\"{}\"", "x".repeat(1 << 20)),
    };
    assert!(!b.command(&big), "it would be more than may wait for anybody");
    assert_eq!(b.sessions(), 2);
    assert!(b.command(&Command::Deliver { session: ids.last(), channel: "/a".to_owned(), data: "1".to_owned() }));
    assert_eq!(b.events(&client), [json!({"channel": "/a", "data": 1})]);
    assert_eq!((b.events(&other), log.take()), (Vec::new(), Vec::new()));
}

#[test]
fn a_session_that_is_sent_more_than_may_wait_overflows() {
    let log = Log::default();
    let ids = Ids::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().listener(ids.clone()).listener(Words::all(&log));
        setup.limits.outbox_events = 2;
    });
    let client = b.client();
    log.take();
    for _ in 0..3 {
        b.command(&Command::Deliver { session: ids.last(), channel: "/a".to_owned(), data: "1".to_owned() });
    }
    assert_eq!(log.take(), ["overflow -", "removed - Overflow"]);
    assert_eq!(b.tell(client.up, &client.publish("/a", 1)), unknown("/a", "p"));
}

#[test]
fn subscriptions_that_the_program_makes_are_bounded_as_those_of_clients_are() {
    let ids = Ids::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().listener(ids.clone());
        setup.limits.subscriptions = 2;
    });
    let client = b.subscriber("/a");
    let subscribe = |name: &str| Command::Subscribe(ids.last(), name.to_owned());
    assert!(b.command(&subscribe("/b")));
    assert!(!b.command(&subscribe("/c")));
    b.inject("/b", "1");
    assert_eq!(b.events(&client).len(), 1);
}

/// Says something to whoever speaks, as often as the data says, and how often it could.
fn talkative(log: &Log) -> Hooks {
    let log = log.clone();
    let service = move |request: Request<'_>, _: &mut Session<'_>, context: &mut Context<'_>| {
        let wanted: usize = request.data().parse().unwrap();
        let done = (0..wanted).take_while(|at| context.publish("/a", &at.to_string()) != Err(CommandsFull)).count();
        log.note(done.to_string());
    };
    Hooks::default().service("/service/talk", service).unwrap()
}

#[test]
fn so_many_commands_of_hooks_wait_and_no_more() {
    let log = Log::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = talkative(&log);
        setup.limits.mailbox_commands = 10;
    });
    let client = b.subscriber("/a");
    b.tell(client.up, &client.publish("/service/talk", 25));
    assert_eq!(log.take(), ["10"]);
    let data: Vec<Value> = b.events(&client).iter().map(|event| event["data"].clone()).collect();
    assert_eq!(data, (0..10).map(Value::from).collect::<Vec<_>>(), "in order");
    b.tell(client.up, &client.publish("/service/talk", 3));
    assert_eq!(log.take(), ["3"], "there is room again");
}

#[test]
fn what_hooks_publish_is_json_or_goes_to_nobody() {
    let service = |request: Request<'_>, _: &mut Session<'_>, context: &mut Context<'_>| {
        let data: String = serde_json::from_str(request.data()).unwrap();
        context.publish("/a", &data).unwrap();
        request.reply(context, &data).unwrap();
        request.answer(context, Ok(&data)).unwrap();
    };
    // Without listeners, extensions and filters nobody else looks at it.
    let mut b = with_hooks(Hooks::default().service("/service/x", service).unwrap());
    let client = b.subscriber("/a");
    for bad in ["", "{", "1},{\"channel\":\"/meta/disconnect\"", "\"\\ud800\"", "[1]]"] {
        b.tell(client.up, &client.publish("/service/x", bad));
    }
    assert_eq!((b.events(&client), b.engine.counters().commands_failed), (Vec::new(), 15));
    b.tell(client.up, &client.publish("/service/x", "[1]"));
    assert_eq!((b.events(&client).len(), b.engine.counters().commands_failed), (3, 15));
}

/// Publishes for each message that it hears.
struct Endless;

impl Listener for Endless {
    fn message(&mut self, event: Published<'_>, _: Option<&mut Session<'_>>, context: &mut Context<'_>) {
        if event.channel() == "/loop" {
            context.publish("/loop", event.data()).unwrap();
        }
    }
}

#[test]
fn a_listener_that_publishes_for_each_message_does_not_stall_the_rest() {
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().listener(Endless);
        setup.limits.mailbox_commands = 100;
    });
    let client = b.client();
    b.receive(client.up, &Post::json(&client.publish("/loop", 1)).bytes());
    b.turn_once();
    assert_eq!(b.one(client.up).json(), json!([done("/loop", "p")]));
    let before = b.published();
    assert!(before <= 102, "{before}");
    for turn in 1..=5 {
        // Others are served in each turn, and time goes on.
        b.receive(client.up, &Post::json(&client.publish("/other", turn)).bytes());
        b.turn_once();
        assert_eq!(b.one(client.up).json(), json!([done("/other", "p")]));
        let since = b.published() - before;
        assert!(since >= turn && since <= turn * 102, "{since} in {turn} turns");
        assert!(matches!(b.engine.poll_timeout(), Some((at, crate::engine::Wake::Work)) if at == b.now_ms()));
    }
}

#[test]
fn a_turn_that_has_done_its_share_leaves_commands_for_the_next() {
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().listener(Endless);
        setup.limits.fanout_per_turn = 20;
    });
    let hearers: Vec<Client> = (0..5).map(|_| b.subscriber("/loop")).collect();
    let client = b.client();
    b.receive(client.up, &Post::json(&client.publish("/loop", 1)).bytes());
    b.turn_once();
    let first = b.published();
    assert!(first <= 10, "{first} events to five each");
    b.turn_once();
    assert!(b.published() > first && b.published() <= first + 10);
    assert_eq!(hearers.len(), 5);
}

#[test]
fn what_a_hook_does_to_the_session_at_hand_is_done_after_its_reply() {
    struct Ends;
    impl Listener for Ends {
        fn session_added(&mut self, session: &mut Session<'_>, context: &mut Context<'_>) {
            context.run(Command::Subscribe(session.id(), "/a".to_owned())).unwrap();
            context.run(Command::SetAttribute(session.id(), "name".to_owned(), Some("x".to_owned()))).unwrap();
            context.disconnect(session.id()).unwrap();
            context.deliver(session.id(), "/a", "1").unwrap();
        }
        fn session_removed(&mut self, session: &mut Session<'_>, _: Removal, context: &mut Context<'_>) {
            context.run(Command::Subscribe(session.id(), "/b".to_owned())).unwrap();
        }
    }
    let log = Log::default();
    let mut b = with_hooks(Hooks::default().listener(Ends).listener(Words::all(&log)));
    let reply = b.post(&Post::new(HANDSHAKE)).json()[0].clone();
    assert_eq!(reply["successful"], true);
    let told = ["added -", "channel added /a", "subscribed - /a", "unsubscribed x /a", "removed x Kicked"];
    assert_eq!(log.take(), told);
    assert_eq!((b.sessions(), b.engine.counters().commands_failed), (0, 2));
    comes_to_rest(&mut b, &[]);
}
