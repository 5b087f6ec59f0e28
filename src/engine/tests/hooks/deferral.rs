//! Policies that answer later: what waits, and in which order it goes on.

use serde_json::{Value, json};

use super::super::bench::{Bench, HANDSHAKE, Post};
use super::super::sockets::{messages, say, upgrade};
use super::{Later, Log, allow, ask, comes_to_rest, deny, done, failed, with_hooks};
use crate::broker::rate::Rate;
use crate::hooks::{Admission, Command, Denial, Operation, Opinion, Query, Session};

fn publishes(operation: &str, _: &str) -> bool {
    operation == "publish"
}

fn everything(operation: &str, _: &str) -> bool {
    operation != "handshake"
}

fn subscribed(subscription: impl Into<Value>) -> Value {
    json!({"channel": "/meta/subscribe", "id": "s", "successful": true, "subscription": subscription.into()})
}

#[test]
fn a_publish_waits_for_the_answer_and_is_acknowledged_and_delivered_when_it_comes() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(publishes));
    let (publisher, hearer) = (b.client(), b.subscriber("/a"));
    b.hold(&hearer);
    ask(&mut b, publisher.up, &publisher.publish("/a", 1));
    assert_eq!((b.raw(hearer.down).as_str(), b.published()), ("", 0));
    allow(&mut b, later.one("publish /a"));
    assert_eq!(b.one(publisher.up).json(), json!([done("/a", "p")]));
    assert_eq!(b.one(hearer.down).json()[0], json!({"channel": "/a", "data": 1}));
    comes_to_rest(&mut b, &[&publisher, &hearer]);
}

#[test]
fn a_publish_that_is_denied_later_is_refused_as_one_that_is_denied_at_once() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(publishes));
    let client = b.client();
    ask(&mut b, client.up, &client.publish("/a", 1));
    deny(&mut b, later.one("publish /a"), "quiet hours");
    assert_eq!(b.one(client.up).json(), json!([failed("/a", "p", "403:quiet hours:publish_denied")]));
    ask(&mut b, client.up, &client.publish("/a", 2));
    let denial = Denial::new("x").with_error("401:bearer:expired");
    b.command(&Command::Resolve(later.one("publish /a"), Err(denial)));
    assert_eq!(b.one(client.up).json(), json!([failed("/a", "p", "401:bearer:expired")]));
    assert_eq!(b.published(), 0);
    comes_to_rest(&mut b, &[&client]);
}

#[test]
fn each_question_of_a_subscribe_may_be_answered_later_and_none_is_asked_twice() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(everything));
    let client = b.client();
    ask(&mut b, client.up, &client.subscribe(json!(["/a", "/b/*"])));
    for question in ["create /a", "subscribe /a", "create /b/*", "subscribe /b/*"] {
        assert_eq!((b.raw(client.up).as_str(), b.engine.census().topics), ("", 0), "all of it, or nothing");
        allow(&mut b, later.one(question));
    }
    assert_eq!(b.one(client.up).json(), json!([subscribed(json!(["/a", "/b/*"]))]));
    assert_eq!((later.take(), b.engine.census().topics), (Vec::new(), 2));
    // A channel that there is is not brought into being again.
    ask(&mut b, client.up, &client.subscribe(json!(["/b/*", "/c"])));
    for question in ["subscribe /b/*", "create /c"] {
        allow(&mut b, later.one(question));
    }
    deny(&mut b, later.one("subscribe /c"), "no");
    let refused = json!({"channel": "/meta/subscribe", "id": "s", "successful": false,
        "error": "403:no:subscribe_denied", "subscription": ["/b/*", "/c"]});
    assert_eq!(b.one(client.up).json(), json!([refused]));
    assert_eq!(b.engine.census().topics, 2);
    comes_to_rest(&mut b, &[&client]);
}

/// The authorizers have their say about a question when the policy has allowed it, be it later, and none of them twice.
#[test]
fn authorizers_are_asked_when_the_policy_has_answered() {
    let (later, log) = (Later::default(), Log::default());
    let noted = log.clone();
    let says = move |operation: Operation, _: &Query<'_>, _: Option<&mut Session<'_>>, channel: &str| {
        noted.note(format!("{operation:?} {channel}"));
        if channel == "/no" { Opinion::Deny(Denial::new("closed")) } else { Opinion::Grant }
    };
    let mut b = with_hooks(later.hooks(everything).authorizer("/*", says).unwrap());
    let client = b.client();
    ask(&mut b, client.up, &client.publish("/a", 1));
    let create = later.one("create /a");
    assert_eq!(log.take(), Vec::<String>::new());
    allow(&mut b, create);
    assert_eq!(log.take(), ["Create /a"]);
    allow(&mut b, later.one("publish /a"));
    assert_eq!((log.take(), b.one(client.up).json()), (vec!["Publish /a".to_owned()], json!([done("/a", "p")])));
    ask(&mut b, client.up, &client.publish("/no", 1));
    allow(&mut b, later.one("create /no"));
    assert_eq!(b.one(client.up).json()[0]["error"], "403:closed:channel_create_denied");
    ask(&mut b, client.up, &client.publish("/x", 1));
    log.take();
    deny(&mut b, later.one("create /x"), "no");
    assert_eq!((log.take(), b.one(client.up).status), (Vec::new(), 200));
    comes_to_rest(&mut b, &[&client]);
}

#[test]
fn a_late_no_to_a_channel_holds_even_if_others_have_made_it_meanwhile() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(|operation, channel| operation == "create" && channel == "/a"));
    let (first, second) = (b.client(), b.client());
    ask(&mut b, first.up, &first.subscribe("/a"));
    ask(&mut b, second.up, &second.publish("/a", 1));
    let asked = later.take();
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0].1, asked[1].1);
    allow(&mut b, asked[1].1);
    assert_eq!(b.one(second.up).json(), json!([done("/a", "p")]));
    deny(&mut b, asked[0].1, "no more of them");
    let refused = b.one(first.up).json();
    assert_eq!(refused[0]["error"], "403:no more of them:create_denied", "{refused}");
    comes_to_rest(&mut b, &[&first, &second]);
}

#[test]
fn a_handshake_waits_and_the_answer_brings_its_terms() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(|operation, _| operation == "handshake"));
    let conn = b.open();
    b.give(conn, &Post::new(HANDSHAKE).bytes());
    assert_eq!((b.raw(conn).as_str(), b.sessions()), ("", 0));
    let mut admission = Admission::default();
    admission.attributes.set("name", "ann").unwrap();
    b.command(&Command::Resolve(later.one("handshake "), Ok(admission)));
    let response = b.one(conn);
    assert!(response.field("Set-Cookie").is_some_and(|cookie| cookie.starts_with("BAYEUX_BROWSER=")));
    let reply = response.json()[0].clone();
    assert_eq!((&reply["successful"], &reply["id"], b.sessions()), (&json!(true), &json!("h"), 1));
    // It is one like any other.
    let connect = json!({"channel": "/meta/connect", "clientId": reply["clientId"], "id": "c"});
    assert_eq!(b.tell(conn, &connect)["successful"], true);
    let denied = b.open();
    b.give(denied, &Post::new(HANDSHAKE).bytes());
    deny(&mut b, later.one("handshake "), "who is that?");
    let reply = b.one(denied).json()[0].clone();
    assert_eq!(
        (&reply["error"], &reply["advice"]["reconnect"], b.sessions()),
        (&json!("403:who is that?:handshake_denied"), &json!("none"), 1)
    );
    b.cut(conn);
    b.cut(denied);
    comes_to_rest(&mut b, &[]);
}

#[test]
fn a_handshake_that_waited_is_counted_once_for_its_address() {
    let later = Later::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = later.hooks(|operation, _| operation == "handshake");
        setup.broker.handshake_rate = Some(Rate { per_second: 1, burst: 1 });
    });
    let conn = b.open();
    b.give(conn, &Post::new(HANDSHAKE).bytes());
    allow(&mut b, later.one("handshake "));
    assert_eq!(b.one(conn).json()[0]["successful"], true);
    assert_eq!(b.exchange(conn, &Post::new(HANDSHAKE).bytes()).json()[0]["error"], "429::handshake_rate");
    assert_eq!(later.take(), [], "who is too fast asks nobody");
}

#[test]
fn what_a_session_sends_later_waits_in_order_on_any_connection_and_others_pass() {
    let later = Later::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = later.hooks(|operation, channel| operation == "publish" && channel == "/slow");
        setup.limits.defer_ms = 3_000;
    });
    let (client, other, hearer) = (b.client(), b.client(), b.subscriber("/**"));
    let elsewhere = b.open();
    ask(&mut b, client.up, &client.publish("/slow", 1));
    ask(&mut b, elsewhere, &json!([client.publish("/a", 2), client.subscribe("/b"), client.publish("/slow", 3)]));
    assert_eq!(later.take().len(), 1, "only the first question has been asked");
    assert_eq!(b.tell(other.up, &other.publish("/a", "passes")), done("/a", "p"));
    b.hold(&client);
    let glance = b.open();
    assert_eq!(b.tell(glance, &client.glance())["successful"], true, "a connect by itself passes");
    b.advance(3_000);
    assert_eq!(b.one(client.up).json(), json!([failed("/slow", "p", "403:no answer in time:publish_denied")]));
    assert_eq!(b.raw(elsewhere), "", "its own slow one is asked about now");
    allow(&mut b, later.one("publish /slow"));
    assert_eq!(b.one(elsewhere).json(), json!([done("/a", "p"), subscribed("/b"), done("/slow", "p")]));
    let heard: Vec<Value> = b.events(&hearer).iter().map(|event| event["data"].clone()).collect();
    assert_eq!(heard, [json!("passes"), json!(2), json!(3)]);
    b.cut(elsewhere);
    b.cut(glance);
    comes_to_rest(&mut b, &[&client, &other, &hearer]);
}

#[test]
fn a_batch_goes_on_where_it_stopped_and_is_answered_as_a_whole() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(|operation, channel| operation == "publish" && channel == "/slow"));
    let (client, hearer) = (b.subscriber("/a"), b.subscriber("/**"));
    let batch = json!([
        client.publish("/a", 1),
        client.publish("/slow", 2),
        client.glance(),
        client.publish("/a", 3),
        client.publish("/slow", 4),
    ]);
    ask(&mut b, client.up, &batch);
    assert_eq!(b.events(&hearer).len(), 1, "what stands before it is done");
    deny(&mut b, later.one("publish /slow"), "no");
    assert_eq!(b.raw(client.up), "");
    allow(&mut b, later.one("publish /slow"));
    let connected = json!({"channel": "/meta/connect", "id": "c", "successful": true,
        "advice": {"reconnect": "retry", "interval": 0, "timeout": 30_000}});
    let event = |data: u32| json!({"channel": "/a", "data": data});
    let (ack, denied) = (done("/a", "p"), failed("/slow", "p", "403:no:publish_denied"));
    let expected = json!([event(1), event(3), ack, denied, ack, done("/slow", "p"), connected]);
    assert_eq!(b.one(client.up).json(), expected, "the connect comes last, with the events");
    comes_to_rest(&mut b, &[&client, &hearer]);
}

#[test]
fn requests_behind_one_that_waits_are_answered_after_it() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(publishes));
    let (client, other) = (b.client(), b.client());
    let mut bytes = Post::json(&client.publish("/a", 1)).bytes();
    bytes.extend(Post::json(&other.subscribe("/b")).bytes());
    bytes.extend(Post::json(&client.subscribe("/c")).bytes());
    b.give(client.up, &bytes);
    b.advance(7_000);
    assert_eq!((b.raw(client.up).as_str(), b.engine.census().topics), ("", 0), "nothing behind it is looked at");
    assert!(!b.engine.wants_input(client.up), "nor read");
    allow(&mut b, later.one("publish /a"));
    let answers: Vec<Value> = b.take(client.up).iter().map(|answer| answer.json()[0].clone()).collect();
    assert_eq!(answers, [done("/a", "p"), subscribed("/b"), subscribed("/c")]);
    comes_to_rest(&mut b, &[&client, &other]);
}

#[test]
fn without_an_answer_in_time_it_is_no() {
    let later = Later::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = later.hooks(|_, _| true);
        setup.limits.defer_ms = 700;
    });
    let conn = b.open();
    b.give(conn, &Post::new(HANDSHAKE).bytes());
    b.advance(699);
    assert_eq!(b.raw(conn), "");
    b.advance(1);
    let reply = b.one(conn).json()[0].clone();
    assert_eq!(
        (&reply["error"], &reply["advice"]["reconnect"]),
        (&json!("403:no answer in time:handshake_denied"), &json!("none"))
    );
    // Too late.
    allow(&mut b, later.one("handshake "));
    assert_eq!((b.raw(conn).as_str(), b.sessions()), ("", 0));
    b.cut(conn);
    comes_to_rest(&mut b, &[]);
}

#[test]
fn a_ticket_is_good_once_and_one_that_was_never_given_for_nothing() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(publishes));
    let client = b.client();
    ask(&mut b, client.up, &client.publish("/a", 1));
    let first = later.one("publish /a");
    allow(&mut b, first);
    b.take(client.up);
    ask(&mut b, client.up, &client.publish("/a", 2));
    let second = later.one("publish /a");
    assert_ne!(first, second);
    deny(&mut b, first, "stale");
    assert_eq!(b.raw(client.up), "", "the word on another one");
    allow(&mut b, second);
    assert_eq!(b.one(client.up).json(), json!([done("/a", "p")]));
    deny(&mut b, second, "changed its mind");
    assert_eq!((b.raw(client.up).as_str(), b.published()), ("", 2));
    comes_to_rest(&mut b, &[&client]);
}

/// The answer to a question that could not wait must not become the answer to another one.
#[test]
fn a_question_that_was_refused_at_once_shares_its_ticket_with_no_other() {
    let later = Later::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = later.hooks(publishes);
        setup.limits.deferred_batches = 1;
        setup.publishing = crate::conn::plain::Publishing::Token("t".to_owned());
    });
    let (first, second) = (b.client(), b.client());
    let post = Post::new("1").path("/publish/a").field("Authorization", "Bearer t");
    assert_eq!(b.post(&post).status, 403);
    let plain = later.one("publish /a");
    ask(&mut b, first.up, &first.publish("/a", 1));
    let kept = later.one("publish /a");
    assert_ne!(plain, kept);
    assert_eq!(b.tell(second.up, &second.publish("/a", 2)), failed("/a", "p", "429::deferred_limit"));
    let refused = later.one("publish /a");
    deny(&mut b, kept, "no");
    b.take(first.up);
    ask(&mut b, first.up, &first.publish("/a", 3));
    let next = later.one("publish /a");
    assert_ne!(refused, next);
    allow(&mut b, refused);
    allow(&mut b, plain);
    assert_eq!((b.raw(first.up).as_str(), b.published()), ("", 0), "that was about something else");
    deny(&mut b, next, "no");
    assert_eq!(b.one(first.up).json()[0]["successful"], false);
    comes_to_rest(&mut b, &[&first, &second]);
}

#[test]
fn batches_that_wait_are_bounded_in_number_and_in_bytes() {
    let later = Later::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = later.hooks(publishes);
        setup.limits.deferred_batches = 2;
    });
    let clients = [b.client(), b.client(), b.client()];
    let ups = ["198.51.100.1", "198.51.100.2", "198.51.100.3"].map(|address| b.open_from(address));
    ask(&mut b, ups[0], &clients[0].publish("/a", 0));
    ask(&mut b, ups[1], &clients[1].publish("/a", 1));
    let batch = json!([clients[2].publish("/a", 2), clients[2].subscribe("/b")]);
    let refused = failed("/a", "p", "429::deferred_limit");
    assert_eq!(b.say(ups[2], &batch), json!([refused, subscribed("/b")]), "the rest of the batch is done");
    let elsewhere = b.open();
    let behind = json!([clients[0].publish("/b", 3), clients[0].subscribe("/c")]);
    let late = json!({"channel": "/meta/subscribe", "id": "s", "successful": false,
        "error": "429::deferred_limit", "subscription": "/c"});
    let refused = failed("/b", "p", "429::deferred_limit");
    assert_eq!(b.say(elsewhere, &behind), json!([refused, late]), "nothing passes what it has to wait behind");
    for (_, ticket) in later.take().into_iter().take(2) {
        allow(&mut b, ticket);
    }
    assert_eq!((b.one(ups[0]).status, b.one(ups[1]).status, b.published()), (200, 200, 2));
    ups.into_iter().chain([elsewhere]).for_each(|conn| b.cut(conn));
    comes_to_rest(&mut b, &[&clients[0], &clients[1], &clients[2]]);

    let mut b = Bench::with(|setup| {
        setup.hooks = later.hooks(publishes);
        setup.limits.deferred_bytes = 4_000;
    });
    let clients = [b.client(), b.client()];
    // One that begins below the bound may exceed it.
    ask(&mut b, clients[0].up, &clients[0].publish("/a", "x".repeat(5_000)));
    assert_eq!(b.tell(clients[1].up, &clients[1].publish("/a", 1))["error"], "429::deferred_limit");
    allow(&mut b, later.take()[0].1);
    assert_eq!(b.one(clients[0].up).json(), json!([done("/a", "p")]));
    ask(&mut b, clients[1].up, &clients[1].publish("/a", 1));
    allow(&mut b, later.take()[0].1);
    comes_to_rest(&mut b, &[&clients[0], &clients[1]]);
}

/// Who has many clients behind one address, or makes them, must not keep those of all others from waiting.
#[test]
fn of_one_address_a_quarter_may_wait_but_not_of_this_machine() {
    for (address, most) in [("198.51.100.1", 2), ("127.0.0.1", 8)] {
        let later = Later::default();
        let mut b = Bench::with(|setup| {
            setup.hooks = later.hooks(publishes);
            setup.limits.deferred_batches = 8;
        });
        let clients: Vec<_> = (0..most + 1).map(|_| b.client()).collect();
        let conns: Vec<_> = clients.iter().map(|_| b.open_from(address)).collect();
        for (client, conn) in clients.iter().zip(&conns).take(most) {
            ask(&mut b, *conn, &client.publish("/a", 0));
        }
        assert_eq!(b.tell(conns[most], &clients[most].publish("/a", 0))["error"], "429::deferred_limit", "{address}");
        for (_, ticket) in later.take().into_iter().take(most) {
            allow(&mut b, ticket);
        }
        conns.into_iter().for_each(|conn| b.cut(conn));
        comes_to_rest(&mut b, &clients.iter().collect::<Vec<_>>());
    }
}

/// One client that sends on behind a message of its own must not keep those of all others from waiting.
#[test]
fn of_one_session_a_sixteenth_may_wait() {
    let later = Later::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = later.hooks(publishes);
        setup.limits.deferred_batches = 48;
    });
    let (client, other) = (b.client(), b.client());
    let conns = [b.open(), b.open(), b.open()];
    ask(&mut b, client.up, &client.publish("/a", 0));
    ask(&mut b, conns[0], &client.publish("/a", 1));
    ask(&mut b, conns[1], &client.publish("/a", 2));
    assert_eq!(b.tell(conns[2], &client.publish("/a", 3)), failed("/a", "p", "429::deferred_limit"));
    ask(&mut b, other.up, &other.publish("/a", 4));
    for _ in 0..4 {
        for (_, ticket) in later.take() {
            allow(&mut b, ticket);
        }
    }
    assert_eq!(b.published(), 4);
    for conn in conns {
        b.cut(conn);
    }
    comes_to_rest(&mut b, &[&client, &other]);

    let mut b = Bench::with(|setup| {
        setup.hooks = later.hooks(publishes);
        setup.limits.deferred_bytes = 160_000;
    });
    let (client, other, elsewhere) = (b.client(), b.client(), b.open());
    ask(&mut b, client.up, &client.publish("/a", "x".repeat(10_000)));
    assert_eq!(b.tell(elsewhere, &client.publish("/a", 1))["error"], "429::deferred_limit");
    ask(&mut b, other.up, &other.publish("/a", "x".repeat(10_000)));
    for (_, ticket) in later.take() {
        allow(&mut b, ticket);
    }
    // Who has waited may wait again, whatever stands behind.
    b.take(client.up);
    ask(&mut b, client.up, &json!([client.publish("/a", 1), client.publish("/a", 2)]));
    let behind = b.open();
    ask(&mut b, behind, &client.publish("/a", "x".repeat(20_000)));
    allow(&mut b, later.one("publish /a"));
    allow(&mut b, later.one("publish /a"));
    assert_eq!(b.one(client.up).json(), json!([done("/a", "p"), done("/a", "p")]));
    allow(&mut b, later.one("publish /a"));
    b.cut(behind);
    b.cut(elsewhere);
    comes_to_rest(&mut b, &[&client, &other]);
}

#[test]
fn a_message_with_the_id_of_a_session_but_not_its_secret_does_not_wait_with_it() {
    let later = Later::default();
    let mut b = with_hooks(later.hooks(publishes));
    let (client, stranger) = (b.client(), b.open());
    ask(&mut b, client.up, &client.publish("/a", 1));
    let wrong = if client.id.ends_with('a') { 'e' } else { 'a' };
    let guessed = format!("{}{wrong}", &client.id[..client.id.len() - 1]);
    let message = json!({"channel": "/a", "clientId": guessed, "data": 1, "id": "p"});
    assert_eq!(b.tell(stranger, &message), failed("/a", "p", "402::session_unknown"));
    allow(&mut b, later.one("publish /a"));
    b.cut(stranger);
    comes_to_rest(&mut b, &[&client]);
}

const ALL: [&str; 4] = ["long-polling", "websocket", "streaming", "callback-polling"];

fn with_all(later: &Later, which: impl Fn(&str, &str) -> bool + Send + 'static) -> Bench {
    Bench::with(|setup| {
        setup.hooks = later.hooks(which);
        setup.broker.transports = ALL.to_vec();
    })
}

#[test]
fn over_a_websocket_later_messages_wait_and_other_sessions_pass() {
    let later = Later::default();
    let mut b = with_all(&later, |operation, channel| operation == "publish" && channel == "/slow" || channel == "/h");
    let conn = upgrade(&mut b, "");
    let mut ids = Vec::new();
    for _ in 0..2 {
        let replies = say(&mut b, conn, &serde_json::from_str(HANDSHAKE).unwrap());
        ids.push(replies[0][0]["clientId"].as_str().unwrap().to_owned());
    }
    let publish =
        |of: usize, channel: &str, id: &str| json!({"channel": channel, "clientId": ids[of], "data": id, "id": id});
    assert_eq!(say(&mut b, conn, &publish(0, "/slow", "1")), Vec::<Value>::new());
    assert_eq!(say(&mut b, conn, &publish(0, "/a", "2")), Vec::<Value>::new());
    assert_eq!(say(&mut b, conn, &publish(1, "/a", "3")), [json!([done("/a", "3")])]);
    let connect = json!({"channel": "/meta/connect", "clientId": ids[0], "id": "c"});
    assert_eq!(say(&mut b, conn, &connect)[0][0]["successful"], true);
    assert_eq!(say(&mut b, conn, &connect), Vec::<Value>::new(), "held");
    allow(&mut b, later.one("publish /slow"));
    assert_eq!(messages(&mut b, conn), [json!([done("/slow", "1")]), json!([done("/a", "2")])]);
    b.cut(conn);
    comes_to_rest(&mut b, &[]);
}

#[test]
fn a_callback_is_called_with_what_was_answered_later() {
    let later = Later::default();
    let mut b = with_all(&later, publishes);
    let client = b.client();
    let message: String = client.publish("/a", 1).to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
    b.give(client.up, format!("GET /cometd?jsonp=f&message={message} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
    assert_eq!(b.raw(client.up), "");
    allow(&mut b, later.one("publish /a"));
    let response = b.one(client.up);
    assert_eq!(response.body, format!("/**/f([{}]);", r#"{"channel":"/a","id":"p","successful":true}"#));
    comes_to_rest(&mut b, &[&client]);
}

#[test]
fn a_batch_with_a_connect_for_a_stream_is_answered_as_a_whole_later() {
    let later = Later::default();
    let mut b = with_all(&later, |operation, _| operation == "subscribe");
    let client = b.client();
    let batch = json!([client.subscribe("/a"), client.connect_by("streaming")]);
    b.give(client.down, &Post::json(&batch).bytes());
    assert_eq!(b.raw(client.down), "");
    allow(&mut b, later.one("subscribe /a"));
    let response = b.one(client.down);
    assert_eq!(response.field("Content-Type"), Some("application/json;charset=UTF-8"));
    let replies: Value = serde_json::from_str(response.body.trim()).unwrap();
    assert_eq!(replies[0], subscribed("/a"));
    assert_eq!((&replies[1]["channel"], &replies[1]["successful"]), (&json!("/meta/connect"), &json!(true)));
    comes_to_rest(&mut b, &[&client]);
}
