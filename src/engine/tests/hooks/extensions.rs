//! Extensions: what they see and change of what comes and goes, and in which order.

use serde_json::{Value, json};

use super::super::bench::{Bench, HANDSHAKE, Post, retry, unknown};
use super::super::sockets::{say, upgrade};
use super::{Later, Log, Words, allow, ask, comes_to_rest, done, failed, policy, with_hooks};
use crate::bayeux::OwnedMessage;
use crate::hooks::{Command, Context, Extension, Hooks, OutgoingReply, Passage, Session, Verdict};

/// Notes what goes through it, with the name of the session, and signs it.
struct Signs(&'static str, Log);

fn name_of(session: Option<&Session<'_>>) -> String {
    session.map_or("nobody", |session| session.attribute("name").unwrap_or("somebody")).to_owned()
}

impl Extension for Signs {
    fn serves(&self, session: &Session<'_>) -> bool {
        self.0 != "mine" || session.attribute("name").is_some()
    }

    fn incoming(
        &mut self,
        message: &mut OwnedMessage,
        session: Option<&mut Session<'_>>,
        _: &mut Context<'_>,
    ) -> Passage {
        self.1.note(format!("{} in {} {}", self.0, message.channel(), name_of(session.as_deref())));
        if message.ext("name").is_some()
            && let Some(session) = session
        {
            session.attributes.set("name", "ann").unwrap();
        }
        let seen = message.field("seen").map_or(0, |seen| seen.parse::<u32>().unwrap());
        message.set_field("seen", (seen + 1).to_string()).unwrap();
        if message.ext("stop") == Some(&format!("\"{}\"", self.0)) { Passage::Delete } else { Passage::Pass }
    }

    fn outgoing(&mut self, event: &mut OwnedMessage, _: &mut Context<'_>) -> Passage {
        self.1.note(format!("{} out {}", self.0, event.channel()));
        let before = event.ext("signed").unwrap_or("\"\"").trim_matches('"').to_owned();
        event.set_ext("signed", format!("\"{before}{}\"", self.0)).unwrap();
        if event.data() == Some(&format!("\"{}\"", self.0)) { Passage::Delete } else { Passage::Pass }
    }

    fn reply(&mut self, reply: &mut OutgoingReply<'_>, session: Option<&mut Session<'_>>, _: &mut Context<'_>) {
        let who = name_of(session.as_deref());
        self.1.note(format!("{} reply {} {} {who}", self.0, reply.channel(), reply.is_successful()));
        reply.set_ext(self.0, "1").unwrap();
    }
}

fn signed(names: &[&'static str], log: &Log) -> Hooks {
    names.iter().fold(Hooks::default(), |hooks, name| hooks.extension(Signs(name, log.clone())))
}

#[test]
fn what_comes_is_seen_in_order_and_what_goes_in_the_opposite_order() {
    let log = Log::default();
    let mut b = with_hooks(signed(&["a", "b"], &log));
    let conn = b.open();
    let reply = b.exchange(conn, &Post::new(HANDSHAKE).bytes()).json()[0].clone();
    assert_eq!(reply["ext"], json!({"b": 1, "a": 1}));
    let handshake = ["a in /meta/handshake nobody", "b in /meta/handshake nobody"];
    let replies = ["b reply /meta/handshake true somebody", "a reply /meta/handshake true somebody"];
    assert_eq!(log.take(), [handshake, replies].concat());
    let subscriber = b.subscriber("/x");
    log.take();
    let publish = subscriber.publish("/x", 1);
    let both = b.say(subscriber.up, &json!([publish, subscriber.glance()]));
    assert_eq!(both[0], json!({"channel": "/x", "data": 1, "ext": {"signed": "ba"}, "seen": 2}));
    assert_eq!(both[1]["ext"], json!({"b": 1, "a": 1}));
    assert_eq!(
        log.take(),
        [
            "a in /x somebody",
            "b in /x somebody",
            "b out /x",
            "a out /x",
            "b reply /x true somebody",
            "a reply /x true somebody",
            "a in /meta/connect somebody",
            "b in /meta/connect somebody",
            "b reply /meta/connect true somebody",
            "a reply /meta/connect true somebody",
        ]
    );
    // What is published from within goes out, and comes from nowhere.
    b.inject("/x", "2");
    assert_eq!(log.take(), ["b out /x", "a out /x"]);
    assert_eq!(b.events(&subscriber)[0]["data"], 2);
}

/// One of CometD's per-session extensions: the messages and replies of other sessions do not go through it. Of whom nothing
/// is known, it may be about anybody.
#[test]
fn an_extension_of_some_sessions_sees_theirs_alone() {
    let log = Log::default();
    let mut b = with_hooks(signed(&["mine", "all"], &log));
    let (client, other) = (b.client(), b.client());
    log.take();
    let mut publish = client.publish("/x", 1);
    publish["ext"] = json!({"name": true});
    b.tell(client.up, &publish);
    let told = ["all in /x somebody", "all out /x", "mine out /x", "all reply /x true ann", "mine reply /x true ann"];
    assert_eq!(log.take(), told, "from then on it is one of them");
    b.tell(client.up, &client.publish("/x", 1));
    assert_eq!(log.take()[..2], ["mine in /x ann", "all in /x ann"]);
    let reply = b.tell(other.up, &other.publish("/x", 1));
    assert_eq!((log.take()[0].as_str(), &reply["ext"]), ("all in /x somebody", &json!({"all": 1})));
    let reply = b.tell(other.up, &json!({"channel": "/x", "clientId": "nobody", "data": 1, "id": "p"}));
    assert_eq!(log.take()[0], "mine in /x nobody");
    let mut expected = unknown("/x", "p");
    expected["ext"] = json!({"all": 1, "mine": 1});
    assert_eq!(reply, expected);
}

/// A message from another browser than the session's is refused as one of nobody; extensions see it so.
#[test]
fn a_message_from_another_browser_is_nobodys() {
    let log = Log::default();
    let mut b = with_hooks(signed(&["a"], &log));
    let client = b.handshake_with(Some("mine"));
    log.take();
    let refused = b.exchange(client.up, &Post::json(&client.publish("/x", 1)).cookie("other").bytes()).json();
    assert_eq!(refused[0]["error"], "402::session_unknown");
    assert_eq!(log.take(), ["a in /x nobody", "a reply /x false nobody"]);
    let mut again = client.publish("/x", 1);
    again["channel"] = json!("/meta/handshake");
    b.say(client.up, &again);
    assert_eq!(log.take()[0], "a in /meta/handshake nobody", "a handshake has no session yet, whatever it says");
}

#[test]
fn what_is_deleted_goes_no_further_and_is_answered_so() {
    let log = Log::default();
    let noted = log.clone();
    let hooks = signed(&["a", "b", "c"], &log).policy(policy(move |operation, _, _| {
        noted.note(format!("policy {operation}"));
        Verdict::Allow
    }));
    let mut b = with_hooks(hooks);
    let client = b.subscriber("/x");
    let messages = [client.publish("/x", 1), client.subscribe("/y"), client.disconnect(), client.glance()];
    for mut message in messages {
        log.take();
        let channel = message["channel"].as_str().unwrap().to_owned();
        message["ext"] = json!({"stop": "b"});
        let mut expected = failed(&channel, message["id"].as_str().unwrap(), "404::message_deleted");
        expected["ext"] = json!({"c": 1, "b": 1, "a": 1});
        if channel == "/meta/subscribe" {
            expected["subscription"] = json!("/y");
        }
        assert_eq!(b.tell(client.up, &message), expected, "without advice, as CometD has it");
        let seen = [format!("a in {channel} somebody"), format!("b in {channel} somebody")];
        let replied = ["c", "b", "a"].map(|name| format!("{name} reply {channel} false somebody"));
        assert_eq!(log.take(), [seen.to_vec(), replied.to_vec()].concat());
    }
    assert_eq!((b.sessions(), b.published()), (1, 0));
    let mut handshake: Value = serde_json::from_str(HANDSHAKE).unwrap();
    handshake["ext"] = json!({"stop": "a"});
    assert_eq!(b.post(&Post::json(&handshake)).json()[0]["error"], "404::message_deleted");
    assert_eq!(b.sessions(), 1);
}

/// As with CometD: an event that is deleted on its way out reaches nobody, and who has published it is told.
#[test]
fn an_event_that_is_deleted_reaches_nobody() {
    let log = Log::default();
    let mut b = with_hooks(signed(&["a", "b"], &log));
    let client = b.subscriber("/x");
    log.take();
    let mut expected = failed("/x", "p", "404::message_deleted");
    expected["ext"] = json!({"b": 1, "a": 1});
    assert_eq!(b.tell(client.up, &client.publish("/x", "b")), expected);
    assert_eq!(log.take()[2..3], ["b out /x"], "a is not asked any more");
    assert!(!b.inject("/x", "\"a\""));
    assert_eq!(b.events(&client), Vec::<Value>::new());
    assert_eq!(b.published(), 0);
}

/// Changes what comes: the rest of the server sees it so.
struct Changes;

impl Extension for Changes {
    fn incoming(&mut self, message: &mut OwnedMessage, _: Option<&mut Session<'_>>, _: &mut Context<'_>) -> Passage {
        if message.data().is_some() {
            message.set_data(r#"{"changed":true}"#).unwrap();
        }
        message.set_ext("e", "[1]").unwrap();
        message.remove_ext("secret");
        message.set_field("chatty", "\"yes\"").unwrap();
        message.set_field("clientId", "\"stolen\"").unwrap();
        assert!(message.set_data("{").is_err());
        Passage::Pass
    }
}

#[test]
fn what_is_changed_is_what_policies_listeners_and_subscribers_see() {
    let log = Log::default();
    let noted = log.clone();
    let asked = policy(move |operation, channel, query| {
        let message = query.message();
        let raw = |value: Option<&serde_json::value::RawValue>| value.map(|value| value.get().to_owned());
        noted.note(format!("{operation} {channel} {:?} {:?}", raw(message.data), raw(message.ext)));
        Verdict::Allow
    });
    let words = Words::messages(&log);
    let mut b = with_hooks(Hooks::default().policy(asked).extension(Changes).listener(words));
    let client = b.subscriber("/x");
    log.take();
    let mut publish = client.publish("/x", 1);
    publish["ext"] = json!({"secret": 1, "kept": 2});
    assert_eq!(b.tell(client.up, &publish), done("/x", "p"));
    let ext = r#"Some("{\"kept\":2,\"e\":[1]}")"#;
    let expected =
        [format!(r#"publish /x Some("{{\"changed\":true}}") {ext}"#), r#"message /x {"changed":true} by -"#.to_owned()];
    assert_eq!(log.take(), expected);
    assert_eq!(
        b.events(&client),
        [json!({"channel": "/x", "data": {"changed": true}, "ext": {"kept": 2, "e": [1]}, "chatty": "yes"})]
    );
}

#[test]
fn an_event_is_encoded_once_however_many_extensions_and_subscribers_there_are() {
    let log = Log::default();
    let mut b = with_hooks(signed(&["a", "b", "c"], &log));
    let subscribers: Vec<_> = (0..5).map(|_| b.subscriber("/x")).collect();
    b.inject("/x", "1");
    b.tell(subscribers[0].up, &subscribers[0].publish("/x", 2));
    b.inject("/nobody", "3");
    assert_eq!((b.engine.counters().encoded, b.engine.counters().queued), (2, 10));
    assert_eq!(log.take().iter().filter(|line| line.contains(" out ")).count(), 9);
}

#[test]
fn what_extensions_say_stands_beside_what_the_server_says_itself() {
    let log = Log::default();
    let mut b = with_hooks(signed(&["a"], &log));
    let conn = b.open();
    let mut handshake: Value = serde_json::from_str(HANDSHAKE).unwrap();
    handshake["ext"] = json!({"ack": true, "replay": true, "timesync": {"tc": 1, "l": 0, "o": 0}});
    let reply = b.tell(conn, &handshake);
    let ext = reply["ext"].as_object().unwrap();
    assert_eq!(ext.keys().collect::<Vec<_>>(), ["a", "ack", "replay", "timesync"]);
    let id = &reply["clientId"];
    let connect = json!({"channel": "/meta/connect", "clientId": id, "id": "c", "ext": {"ack": 0}});
    assert_eq!(b.tell(conn, &connect)["ext"], json!({"ack": 1, "a": 1}));
    // One that is held: the reply is extended when it goes, not before.
    log.take();
    b.give(conn, &Post::json(&connect).bytes());
    assert_eq!(log.take(), ["a in /meta/connect somebody"]);
    b.advance(30_000);
    assert_eq!(log.take(), ["a reply /meta/connect true somebody"]);
    assert_eq!(b.one(conn).json()[0]["ext"], json!({"ack": 2, "a": 1}));
    let up = b.open();
    let sync = json!({"timesync": {"tc": 1, "l": 0, "o": 0}});
    let publish = json!({"channel": "/x", "clientId": id, "data": 1, "ext": sync});
    let ext = b.tell(up, &publish)["ext"].clone();
    assert_eq!(ext.as_object().unwrap().keys().collect::<Vec<_>>(), ["a", "timesync"]);
}

#[test]
fn what_is_said_when_the_server_ends_a_session_goes_through_extensions() {
    let log = Log::default();
    let mut b = with_hooks(signed(&["mine", "a"], &log));
    let client = b.client();
    let mut named = client.glance();
    named["ext"] = json!({"name": 1});
    b.tell(client.down, &named);
    b.hold(&client);
    log.take();
    assert!(b.command(&Command::DisconnectClient(client.id.clone())));
    let ext = json!({"a": 1, "mine": 1});
    let notice = json!({"channel": "/meta/disconnect", "successful": true, "ext": ext});
    let connect = json!({"channel": "/meta/connect", "id": "c", "successful": true, "ext": ext,
        "advice": {"reconnect": "none"}});
    assert_eq!(b.one(client.down).json(), json!([notice, connect]));
    let replies = ["a reply /meta/disconnect true ann", "mine reply /meta/disconnect true ann"];
    assert_eq!(log.take()[..2], replies);
}

#[test]
fn over_a_websocket_extensions_see_the_same() {
    let log = Log::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = signed(&["a"], &log);
        setup.broker.transports = vec!["websocket"];
    });
    let conn = upgrade(&mut b, "");
    let handshake = HANDSHAKE.replace("long-polling", "websocket");
    let replies = say(&mut b, conn, &serde_json::from_str(&handshake).unwrap());
    assert_eq!(replies[0][0]["ext"], json!({"a": 1}));
    let connect = json!({"channel": "/meta/connect", "clientId": replies[0][0]["clientId"], "id": "c"});
    let expected =
        json!({"channel": "/meta/connect", "id": "c", "successful": true, "advice": retry(), "ext": {"a": 1}});
    assert_eq!(say(&mut b, conn, &connect), [json!([expected])]);
}

#[test]
fn a_message_that_waits_is_extended_once_though_its_session_ends_meanwhile() {
    let (log, later) = (Log::default(), Later::default());
    let hooks = later.hooks(|operation, channel| operation == "publish" && channel == "/slow");
    let mut b = with_hooks(hooks.extension(Signs("a", log.clone())));
    let (client, hearer) = (b.client(), b.subscriber("/**"));
    log.take();
    ask(&mut b, client.up, &json!([client.publish("/slow", 1), client.publish("/a", 2)]));
    assert_eq!(log.take(), ["a in /slow somebody"], "the second one is looked at in its turn");
    allow(&mut b, later.one("publish /slow"));
    let out = ["a out /slow", "a reply /slow true somebody"];
    let second = ["a in /a somebody", "a out /a", "a reply /a true somebody"];
    assert_eq!(log.take(), [out.as_slice(), second.as_slice()].concat());
    b.take(client.up);
    let heard = b.events(&hearer);
    assert_eq!((&heard[0]["seen"], &heard[1]["seen"]), (&json!(1), &json!(1)));
    log.take();
    ask(&mut b, client.up, &client.publish("/slow", 1));
    assert!(b.command(&Command::DisconnectClient(client.id.clone())));
    let lines: Vec<String> = log.take().into_iter().filter(|line| line.contains("/slow")).collect();
    assert_eq!(lines, ["a in /slow somebody", "a reply /slow false nobody"]);
    comes_to_rest(&mut b, &[&client, &hearer]);
}
