//! Services and remote calls.

use std::sync::{Arc, Mutex, Once};

use serde_json::{Value, json};

use super::super::bench::{Bench, HANDSHAKE, connected};
use super::super::sockets::{messages, say, upgrade};
use super::{Log, comes_to_rest, done, with_hooks};
use crate::hooks::{Command, Context, Hooks, RemoteCall, Request, Session};

/// A service that answers at once with what it was given, or, to `"fail"`, that it failed.
fn echo(request: Request<'_>, _: &mut Session<'_>, context: &mut Context<'_>) {
    let data = request.data();
    let result = if data == "\"fail\"" { Err(data) } else { Ok(data) };
    request.answer(context, result).unwrap();
}

/// Keeps the calls for later.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<RemoteCall>>>);

impl Calls {
    fn hooks(&self) -> Hooks {
        let calls = self.0.clone();
        let keeps = move |request: Request<'_>, _: &mut Session<'_>, _: &mut Context<'_>| {
            calls.lock().unwrap().push(request.call().clone());
        };
        Hooks::default().service("/service/later", keeps).unwrap()
    }

    fn one(&self) -> RemoteCall {
        let mut calls = self.0.lock().unwrap();
        assert_eq!(calls.len(), 1);
        calls.remove(0)
    }
}

fn answer(channel: &str, data: impl Into<Value>, successful: bool) -> Value {
    json!({"channel": channel, "data": data.into(), "id": "p", "successful": successful})
}

#[test]
fn a_service_speaks_to_its_sender_and_to_nobody_else() {
    let hooks = Hooks::default().service(
        "/service/echo",
        |request: Request<'_>, _: &mut Session<'_>, context: &mut Context<'_>| {
            assert_eq!((request.channel(), request.ext()), ("/service/echo", Some(r#"{"e":1}"#)));
            request.reply(context, &format!("[{}]", request.data())).unwrap();
            context.publish("/log", request.data()).unwrap();
        },
    );
    let mut b = with_hooks(hooks.unwrap());
    let (client, other) = (b.subscriber("/log"), b.subscriber("/**"));
    let mut publish = client.publish("/service/echo", 7);
    publish["ext"] = json!({"e": 1});
    assert_eq!(b.tell(client.up, &publish), done("/service/echo", "p"));
    let log = json!({"channel": "/log", "data": 7});
    assert_eq!(b.events(&client), [json!({"channel": "/service/echo", "data": [7]}), log.clone()]);
    assert_eq!(b.events(&other), [log]);
}

/// CometD's remote call: the acknowledgement of the publish, and then a message on the same channel with the same id.
#[test]
fn a_remote_call_is_answered_with_its_id_and_how_it_went() {
    let mut b = with_hooks(Hooks::default().service("/service/echo", echo).unwrap());
    let client = b.client();
    b.hold(&client);
    assert_eq!(b.tell(client.up, &client.publish("/service/echo", json!({"x": 1}))), done("/service/echo", "p"));
    assert_eq!(b.one(client.down).json(), json!([answer("/service/echo", json!({"x": 1}), true), connected()]));
    b.hold(&client);
    assert_eq!(b.tell(client.up, &client.publish("/service/echo", "fail")), done("/service/echo", "p"));
    assert_eq!(b.one(client.down).json(), json!([answer("/service/echo", "fail", false), connected()]));
    for id in [json!(17), json!("x\"y")] {
        let mut publish = client.publish("/service/echo", 1);
        publish["id"] = id.clone();
        b.tell(client.up, &publish);
        assert_eq!(b.events(&client)[0]["id"], id, "as it was sent");
    }
    let mut publish = client.publish("/service/echo", 1);
    publish.as_object_mut().unwrap().remove("id");
    b.tell(client.up, &publish);
    assert_eq!(b.events(&client), [json!({"channel": "/service/echo", "data": 1, "successful": true})]);
}

#[test]
fn over_a_websocket_the_acknowledgement_comes_first() {
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().service("/service/*", echo).unwrap();
        setup.broker.transports = vec!["websocket", "long-polling"];
    });
    let conn = upgrade(&mut b, "");
    let id = say(&mut b, conn, &serde_json::from_str(HANDSHAKE).unwrap())[0][0]["clientId"].clone();
    let connect = json!({"channel": "/meta/connect", "clientId": id, "connectionType": "websocket"});
    say(&mut b, conn, &connect);
    assert_eq!(say(&mut b, conn, &connect), Vec::<Value>::new());
    let call = json!({"channel": "/service/x", "clientId": id, "data": 5, "id": "p"});
    let expected = [json!([done("/service/x", "p")]), json!([answer("/service/x", 5, true)])];
    assert_eq!(say(&mut b, conn, &call), expected);
}

#[test]
fn an_answer_may_come_later_and_more_than_one_is_not_kept_back() {
    let calls = Calls::default();
    let mut b = with_hooks(calls.hooks());
    let client = b.client();
    b.tell(client.up, &client.publish("/service/later", 1));
    let call = calls.one();
    assert_eq!(call.channel(), "/service/later");
    b.hold(&client);
    assert!(b.command(&Command::Answer { call: call.clone(), result: Ok("[1]".to_owned()) }));
    assert_eq!(b.one(client.down).json()[0], answer("/service/later", json!([1]), true));
    // CometD takes the first of several. Ours keeps nothing of a call: that there is one answer is the service's to see to,
    // and clients take the first.
    assert!(b.command(&Command::Answer { call: call.clone(), result: Err("2".to_owned()) }));
    assert_eq!(b.events(&client), [answer("/service/later", 2, false)]);
    assert!(!b.command(&Command::Answer { call, result: Ok("{".to_owned()) }), "not JSON");
    assert_eq!(b.events(&client), Vec::<Value>::new());
}

#[test]
fn an_answer_to_a_session_that_is_gone_goes_to_nobody() {
    let calls = Calls::default();
    let mut b = with_hooks(calls.hooks());
    let client = b.client();
    b.tell(client.up, &client.publish("/service/later", 1));
    let call = calls.one();
    b.tell(client.up, &client.disconnect());
    // The next session stands in its place.
    let next = b.client();
    assert!(!b.command(&Command::Answer { call, result: Ok("1".to_owned()) }));
    assert_eq!(b.events(&next), Vec::<Value>::new());
    comes_to_rest(&mut b, &[&client, &next]);
}

#[test]
fn all_services_of_a_channel_are_asked_in_the_order_of_adding() {
    let log = Log::default();
    let hooks = ["/service/**", "/service/a", "/service/*", "/service/b", "/service/a/*"].into_iter().fold(
        Hooks::default(),
        |hooks, pattern| {
            let log = log.clone();
            let service = move |request: Request<'_>, session: &mut Session<'_>, _: &mut Context<'_>| {
                let calls = session.attribute("calls").unwrap_or_default().to_owned();
                log.note(format!("{pattern} {} {calls}", request.channel()));
                session.attributes.set("calls", &format!("{calls}x")).unwrap();
            };
            hooks.service(pattern, service).unwrap()
        },
    );
    let mut b = with_hooks(hooks);
    let client = b.client();
    b.tell(client.up, &client.publish("/service/a", 1));
    assert_eq!(log.take(), ["/service/** /service/a ", "/service/a /service/a x", "/service/* /service/a xx"]);
    for wrong in ["/a", "/**", "/*", "/meta/connect", "/service/*/x", ""] {
        assert!(Hooks::default().service(wrong, echo).is_err(), "{wrong}");
    }
}

#[test]
fn a_service_knows_where_a_message_came_from() {
    let log = Log::default();
    let noted = log.clone();
    let service = move |_: Request<'_>, session: &mut Session<'_>, _: &mut Context<'_>| {
        noted.note(format!("{:?}", session.address()));
    };
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().service("/service/x", service).unwrap();
        setup.broker.transports = vec!["websocket", "long-polling"];
    });
    let client = b.client();
    b.tell(client.up, &client.publish("/service/x", 1));
    let conn = upgrade(&mut b, "");
    say(&mut b, conn, &client.publish("/service/x", 1));
    assert_eq!(log.take(), ["Some(192.0.2.1)", "Some(192.0.2.1)"], "over either transport");
}

/// Keeps what the log is told on this thread.
struct Lines;

thread_local! {
    static LINES: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl log::Log for Lines {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

fn lines() -> Vec<String> {
    LINES.take()
}

#[test]
fn where_nobody_listens_a_message_is_acknowledged_and_the_log_hears_of_it_once() {
    static START: Once = Once::new();
    START.call_once(|| {
        log::set_logger(&Lines).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
    });
    let mut b = with_hooks(Hooks::default().service("/service/echo", echo).unwrap());
    let (client, other) = (b.client(), b.client());
    lines();
    for (client, channel) in [(&client, "/service/x"), (&other, "/service/x"), (&client, "/service/echo")] {
        assert_eq!(b.tell(client.up, &client.publish(channel, 1)), done(channel, "p"));
    }
    let said = "nobody listens on /service/x: what clients publish there is acknowledged and goes nowhere";
    assert_eq!(lines(), [said]);
    // How a client says that its stream gets through.
    let probe = json!({"channel": "/service/probe", "clientId": client.id, "data": {}, "ext": {"probe": 1}});
    b.tell(client.up, &probe);
    assert_eq!(lines(), Vec::<String>::new());
    for number in 0..300 {
        b.tell(client.up, &client.publish(&format!("/service/n{number}"), 1));
    }
    let said = lines();
    assert_eq!(said.len(), 256, "255 beside the first, and that it hears no more");
    assert_eq!(said[255], "of further channels of services on which nobody listens the log does not hear");
}

#[test]
fn an_answer_goes_to_a_websocket_when_it_comes() {
    let calls = Calls::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = calls.hooks();
        setup.broker.transports = vec!["websocket", "long-polling"];
    });
    let conn = upgrade(&mut b, "");
    let id = say(&mut b, conn, &serde_json::from_str(HANDSHAKE).unwrap())[0][0]["clientId"].clone();
    say(&mut b, conn, &json!({"channel": "/meta/connect", "clientId": id, "connectionType": "websocket"}));
    let call = json!({"channel": "/service/later", "clientId": id, "data": 5, "id": "p"});
    assert_eq!(say(&mut b, conn, &call), [json!([done("/service/later", "p")])]);
    assert!(b.command(&Command::Answer { call: calls.one(), result: Ok("6".to_owned()) }));
    assert_eq!(messages(&mut b, conn), [json!([answer("/service/later", 6, true)])]);
}
