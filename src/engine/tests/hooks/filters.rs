//! Data filters: what becomes of the data of events, whoever publishes them.

use serde_json::{Value, json};

use super::super::bench::{Bench, Post};
use super::{Log, Words, done, failed, with_hooks};
use crate::bayeux::OwnedMessage;
use crate::clock::Now;
use crate::conn::plain::Publishing;
use crate::hooks::{Context, Extension, Filtered, Hooks, Listener, Passage, Published, Session};

/// Does what the data says: `"drop"`, `"bad"`, or a number that becomes one more.
fn obeys(log: &Log) -> impl FnMut(&str, &str, Option<&mut Session<'_>>, Now) -> Filtered + 'static {
    let log = log.clone();
    move |channel, data, session, _| {
        log.note(format!("filter {channel} {data} {}", if session.is_some() { "client" } else { "server" }));
        match data {
            "\"drop\"" => Filtered::Drop,
            "\"bad\"" => Filtered::Replace("{\"half".to_owned()),
            "\"two\"" => Filtered::Replace("1 2".to_owned()),
            _ => data.parse::<u32>().map_or(Filtered::Keep, |number| Filtered::Replace((number + 1).to_string())),
        }
    }
}

fn filtered(log: &Log) -> Hooks {
    Hooks::default().filter("/a/**", obeys(log)).unwrap()
}

fn heard(b: &mut Bench, client: &super::super::bench::Client) -> Vec<Value> {
    b.events(client).iter().map(|event| event["data"].clone()).collect()
}

#[test]
fn data_is_kept_replaced_or_goes_to_nobody_and_a_client_is_told() {
    let log = Log::default();
    let mut b = with_hooks(filtered(&log));
    let client = b.subscriber("/**");
    for (data, refused) in [(json!("keep"), false), (json!(1), false), (json!("drop"), true), (json!("bad"), true)] {
        let reply = b.say(client.up, &client.publish("/a/x", data));
        let expected = if refused { failed("/a/x", "p", "404::message_deleted") } else { done("/a/x", "p") };
        assert_eq!(reply, json!([expected]));
    }
    assert_eq!(b.say(client.up, &client.publish("/a/x", "two"))[0]["error"], "404::message_deleted");
    assert_eq!(b.tell(client.up, &client.publish("/b", 1)), done("/b", "p"));
    assert_eq!(heard(&mut b, &client), [json!("keep"), json!(2), json!(1)]);
    assert_eq!((b.published(), log.take().len()), (3, 5), "it looks at the channels of its pattern");
}

#[test]
fn what_the_server_and_plain_http_publish_is_filtered_as_well() {
    let log = Log::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = filtered(&log);
        setup.publishing = Publishing::Token("t".to_owned());
    });
    let client = b.subscriber("/a/x");
    assert!(b.inject("/a/x", "1"));
    assert!(!b.inject("/a/x", "\"drop\"") && !b.inject("/a/x", "\"bad\""));
    let post = |data: &str| Post::new(data).path("/publish/a/x").field("Authorization", "Bearer t");
    assert_eq!(b.post(&post("5")).status, 200);
    let refused = b.post(&post("\"drop\""));
    assert_eq!(
        (refused.status, refused.body.as_str()),
        (403, "a filter or an extension of this server has ended the event\n")
    );
    assert_eq!(heard(&mut b, &client), [json!(2), json!(6)]);
    assert!(log.take().iter().all(|line| line.ends_with(" server")));
    assert_eq!(b.engine.counters().encoded, 2);
}

#[test]
fn filters_come_before_listeners_and_those_before_extensions() {
    struct Out(Log);
    impl Extension for Out {
        fn outgoing(&mut self, event: &mut OwnedMessage, _: &mut Context<'_>) -> Passage {
            self.0.note(format!("out {}", event.data().unwrap()));
            event.set_data("\"last\"").unwrap();
            Passage::Pass
        }
    }
    let log = Log::default();
    let hooks = filtered(&log).extension(Out(log.clone())).listener(Words::messages(&log));
    let mut b = with_hooks(hooks.filter("/a/*", obeys(&log)).unwrap().filter("/b", obeys(&log)).unwrap());
    let client = b.subscriber("/a/x");
    b.tell(client.up, &client.publish("/a/y", 1));
    let expected = ["filter /a/y 1 client", "filter /a/y 2 client", "message /a/y 3 by -", "out 3"];
    assert_eq!(log.take(), expected, "filters in the order of adding");
    b.inject("/a/x", "\"drop\"");
    assert_eq!(log.take(), ["filter /a/x \"drop\" server"], "nobody hears of what was dropped");
    b.inject("/a/x", "7");
    assert_eq!(heard(&mut b, &client), [json!("last")]);
}

#[test]
fn a_filter_writes_on_the_session_and_what_it_replaces_is_what_is_kept() {
    let hooks = Hooks::default().filter("/a", |_: &str, data: &str, session: Option<&mut Session<'_>>, _: Now| {
        let Some(session) = session else { return Filtered::Keep };
        if session.attribute("data") == Some(data) {
            return Filtered::Drop;
        }
        session.attributes.set("data", data).unwrap();
        Filtered::Keep
    });
    let mut b = with_hooks(hooks.unwrap());
    let (client, other) = (b.subscriber("/a"), b.client());
    for (data, successful) in [(1, true), (1, false), (2, true), (2, false), (1, true)] {
        assert_eq!(b.say(client.up, &client.publish("/a", data))[0]["successful"], successful);
    }
    assert_eq!(b.tell(other.up, &other.publish("/a", 1))["successful"], true, "each session by itself");
    assert_eq!(heard(&mut b, &client), [1, 2, 1, 1]);
}

/// What is published to a service is no event: no filter, no listener, no outgoing extension.
#[test]
fn messages_to_services_are_not_events() {
    struct Never;
    impl Listener for Never {
        fn message(&mut self, event: Published<'_>, _: Option<&mut Session<'_>>, _: &mut Context<'_>) {
            panic!("{}", event.channel());
        }
    }
    let log = Log::default();
    let hooks = Hooks::default().listener(Never).filter("/service/**", obeys(&log)).unwrap();
    let mut b = with_hooks(hooks.filter("/**", obeys(&log)).unwrap());
    let client = b.client();
    assert_eq!(b.tell(client.up, &client.publish("/service/x", "drop")), done("/service/x", "p"));
    assert_eq!((log.take(), b.published()), (Vec::new(), 0));
}

#[test]
fn a_filter_knows_where_what_a_client_publishes_came_from() {
    let log = Log::default();
    let noted = log.clone();
    let filter = move |_: &str, _: &str, session: Option<&mut Session<'_>>, _: Now| {
        noted.note(format!("{:?}", session.map(|session| session.address())));
        Filtered::Keep
    };
    let mut b = with_hooks(Hooks::default().filter("/a", filter).unwrap());
    let client = b.client();
    b.tell(client.up, &client.publish("/a", 1));
    b.inject("/a", "1");
    assert_eq!(log.take(), ["Some(Some(192.0.2.1))", "None"]);
}
