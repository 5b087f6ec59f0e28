//! What a server makes of tokens: where they are looked for, what their holders may do, and how long.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::bench::{Bench, Client, HANDSHAKE, Post};
use super::locals::{subscribed, tell};
use super::sockets::{say, upgrade};
use crate::auth::tests::signing::{SECRET, Signer};
use crate::auth::{Auth, Grants, Jwt, Key, PUBLISH, SUB, SUBSCRIBE, Settings, Token};
use crate::conn::plain::Publishing;
use crate::hooks::{Context, Hooks, Listener, Session};

const KNOWN: &str = "b2c9fd4f4f1c1a37";
const NOBODY: [&str; 0] = [];

/// Writes down what is written on sessions.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<String>>>);

impl Listener for Written {
    fn session_added(&mut self, session: &mut Session<'_>, _context: &mut Context<'_>) {
        let all = [SUB, SUBSCRIBE, PUBLISH].map(|name| session.attribute(name).unwrap_or("-").to_owned());
        self.0.lock().unwrap().push(all.join("|"));
    }
}

fn settings() -> Settings {
    let grants = Grants::new(["/chat/**", "/user/{sub}/*"], ["/chat/*", "/service/{sub}/**"]);
    let jwt = Jwt { leeway_ms: 0, ..Jwt::new([Key::hs256(SECRET).unwrap()], grants) };
    let roof = Token { sub: Some("roof".to_owned()), ..Token::new(KNOWN, Grants::new(NOBODY, ["/sensor/{sub}"])) };
    Settings { jwt: Some(jwt), tokens: vec![roof], ..Settings::default() }
}

fn bench(settings: Settings) -> (Bench, Auth, Written) {
    let (auth, written) = (Auth::new(settings).unwrap(), Written::default());
    let hooks = Hooks::default().policy(auth.clone()).listener(written.clone());
    let b = Bench::with(|setup| {
        setup.broker.transports = vec!["long-polling", "websocket"];
        setup.hooks = hooks;
        setup.publishing = Publishing::Policy;
    });
    (b, auth, written)
}

/// A token for so many seconds from now.
fn token(b: &Bench, sub: &str, seconds: u64) -> String {
    Signer::secret().token(&json!({"sub": sub, "exp": b.now().unix_ms / 1_000 + seconds}))
}

fn hello(ext: &Value) -> Value {
    let mut message: Value = serde_json::from_str(HANDSHAKE).unwrap();
    message["ext"] = ext.clone();
    message
}

/// The answer to a handshake with this `ext` and these header fields.
fn shaken(b: &mut Bench, ext: &Value, fields: &[(&str, &str)]) -> Value {
    let post = Post::json(&json!([hello(ext)]));
    let post = fields.iter().fold(post, |post, (name, value)| post.field(name, value));
    b.post(&post).json()[0].clone()
}

fn error(reply: &Value) -> &str {
    assert_eq!(reply["successful"], false, "{reply}");
    reply["error"].as_str().unwrap()
}

/// A client with this token, which has connected once.
fn client(b: &mut Bench, token: &str) -> Client {
    let reply = shaken(b, &json!({"token": token}), &[]);
    let id = reply["clientId"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned();
    let client = Client { id, down: b.open(), up: b.open() };
    assert_eq!(b.tell(client.down, &client.connect())["successful"], true);
    client
}

#[test]
fn a_token_is_in_ext_or_in_the_header() {
    let (mut b, _, written) = bench(settings());
    let token = token(&b, "alice", 60);
    let bearer = format!("Bearer {token}");
    for (ext, fields) in [
        (json!({"token": token}), vec![]),
        (Value::Null, vec![("Authorization", bearer.clone())]),
        (json!({"token": null}), vec![("Authorization", format!("bearer   {token}"))]),
        (json!({"token": token}), vec![("Authorization", bearer.clone())]),
        (json!({"token": token, "ack": true}), vec![("Authorization", "Basic dTpw".to_owned())]),
        (json!({"token": "x", "other": {"token": "y"}, "token": token}), vec![]),
    ] {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = shaken(&mut b, &ext, &fields);
        assert_eq!(reply["successful"], true, "{ext} {fields:?}: {reply}");
    }
    let all = written.0.lock().unwrap();
    assert_eq!(all.len(), 6);
    for line in all.iter() {
        assert_eq!(line, "alice|/chat/**\n/user/alice/*|/chat/*\n/service/alice/**");
    }
}

#[test]
fn who_has_no_good_token_is_told_why_and_not_to_come_back() {
    let (mut b, ..) = bench(settings());
    let (good, late) = (token(&b, "alice", 60), token(&b, "alice", 0));
    let other = token(&b, "bob", 60);
    let long = "x".repeat(16 * 1_024 + 1);
    let bearer = |token: &str| vec![("Authorization".to_owned(), format!("Bearer {token}"))];
    let twice = vec![("Authorization".to_owned(), format!("Bearer {good}\r\nAuthorization: Bearer {other}"))];
    for (ext, fields, reason) in [
        (Value::Null, vec![], "no token"),
        (json!({}), vec![], "no token"),
        (json!({"authToken": good}), vec![], "no token"),
        (json!({"auth": {"token": good}}), vec![], "no token"),
        (json!({"token": late}), vec![], "token expired"),
        (json!({"token": format!("{good}x")}), vec![], "bad signature"),
        (json!({"token": format!("{good}.")}), vec![], "malformed token"),
        (json!({"token": "never-heard-of-it"}), vec![], "unknown token"),
        (json!({"token": ""}), vec![], "the token is empty"),
        (json!({"token": long}), vec![], "the token is too long"),
        (json!({"token": {"token": good}}), vec![], "the token in ext is not a string"),
        (json!({"token": 7}), vec![], "the token in ext is not a string"),
        (json!({"token": good}), bearer(&other), "there are two different tokens"),
        (json!({"token": good}), bearer(""), "there are two different tokens"),
        (Value::Null, bearer(""), "the token is empty"),
        (Value::Null, vec![("Authorization".to_owned(), "Basic dTpw".to_owned())], "no token"),
        (Value::Null, vec![("Authorization".to_owned(), format!("Bearer{good}"))], "no token"),
        (Value::Null, vec![("Authorization".to_owned(), good.clone())], "no token"),
        (Value::Null, twice, "there are two Authorization fields"),
    ] {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        let reply = shaken(&mut b, &ext, &fields);
        assert_eq!(error(&reply), format!("403:{reason}:handshake_denied"), "{ext} {fields:?}");
        assert_eq!(reply["advice"], json!({"reconnect": "none"}));
    }
    // In a query string it would be in every log.
    let path = format!("/cometd?token={good}&access_token={good}");
    let reply = b.post(&Post::json(&json!([hello(&Value::Null)])).path(&path)).json();
    assert_eq!(error(&reply[0]), "403:no token:handshake_denied");
    assert_eq!(b.sessions(), 0);
}

#[test]
fn the_place_in_ext_can_be_another_one() {
    let mut settings = settings();
    settings.ext = ["com.example.auth", "token"].map(str::to_owned).to_vec();
    let (mut b, ..) = bench(settings);
    let token = token(&b, "alice", 60);
    let reply = shaken(&mut b, &json!({"com.example.auth": {"user": "a", "token": token}}), &[]);
    assert_eq!(reply["successful"], true, "{reply}");
    for ext in [json!({"token": token}), json!({"com.example.auth": token}), json!({"com.example.auth": [token]})] {
        assert_eq!(error(&shaken(&mut b, &ext, &[])), "403:no token:handshake_denied", "{ext}");
    }
}

#[test]
fn a_holder_may_do_what_was_granted_and_no_more() {
    let (mut b, ..) = bench(settings());
    let token = token(&b, "alice", 60);
    let alice = client(&mut b, &token);
    for name in ["/chat/a", "/chat/a/b", "/chat/*", "/chat/**", "/user/alice/x", "/user/alice/*"] {
        assert_eq!(b.tell(alice.up, &alice.subscribe(name))["successful"], true, "{name}");
    }
    for name in ["/user/bob/x", "/user/*", "/user/alice", "/user/alice/**", "/**", "/*", "/chatter", "/sensor/roof"] {
        let reply = b.tell(alice.up, &alice.subscribe(name));
        assert_eq!(error(&reply), format!("403:{name} is not granted:subscribe_denied"));
    }
    // Of several at once, one that is denied is enough.
    let both = b.tell(alice.up, &alice.subscribe(json!(["/chat/c", "/user/bob/x"])));
    assert!(error(&both).contains("/user/bob/x is not granted"), "{both}");
    for name in ["/chat/a", "/service/alice/x"] {
        assert_eq!(b.tell(alice.up, &alice.publish(name, 1))["successful"], true, "{name}");
    }
    for name in ["/chat/a/b", "/user/alice/x", "/service/bob/x", "/service/alice", "/x"] {
        let reply = b.tell(alice.up, &alice.publish(name, 1));
        assert_eq!(error(&reply), format!("403:{name} is not granted:publish_denied"));
    }
    assert_eq!(b.published(), 1);
}

#[test]
fn a_known_token_stands_for_its_name() {
    let (mut b, _, written) = bench(settings());
    let roof = client(&mut b, KNOWN);
    assert_eq!(*written.0.lock().unwrap(), ["roof||/sensor/roof"]);
    assert_eq!(b.tell(roof.up, &roof.publish("/sensor/roof", 1))["successful"], true);
    assert_eq!(b.tell(roof.up, &roof.subscribe("/sensor/roof"))["successful"], false);
    for close in [&KNOWN[1..], &format!("{KNOWN}x"), "b2c9fd4f4f1c1a38"] {
        assert_eq!(error(&shaken(&mut b, &json!({"token": close}), &[])), "403:unknown token:handshake_denied");
    }
}

#[test]
fn a_local_session_may_do_everything() {
    let (mut b, ..) = bench(settings());
    let desk = subscribed(&mut b, 1, "/**");
    tell(&mut b, 1, &json!([{"channel": "/anything", "data": 1}]));
    assert_eq!(desk.take(), ["/anything true", "event /anything 1"]);
}

#[test]
fn who_has_no_token_may_do_what_anybody_may() {
    let mut settings = settings();
    settings.anonymous = Some(Grants::new(["/news/**", "/user/{sub}/*"], NOBODY));
    let (mut b, _, written) = bench(settings);
    let reply = shaken(&mut b, &Value::Null, &[]);
    assert_eq!(reply["successful"], true, "{reply}");
    assert_eq!(*written.0.lock().unwrap(), ["-|/news/**|"]);
    let id = reply["clientId"].as_str().unwrap().to_owned();
    let anyone = Client { id, down: b.open(), up: b.open() };
    assert_eq!(b.tell(anyone.up, &anyone.subscribe("/news/a"))["successful"], true);
    assert_eq!(b.tell(anyone.up, &anyone.subscribe("/chat/a"))["successful"], false);
    assert_eq!(b.tell(anyone.up, &anyone.publish("/news/a", 1))["successful"], false);
    // A token that is no good is not the same as none.
    let bad = token(&b, "alice", 0);
    assert_eq!(error(&shaken(&mut b, &json!({"token": bad}), &[])), "403:token expired:handshake_denied");
}

#[test]
fn a_session_ends_when_its_token_expires_and_its_client_is_told() {
    let (mut b, ..) = bench(settings());
    let token = token(&b, "alice", 45);
    let alice = client(&mut b, &token);
    b.hold(&alice);
    b.advance(30_000);
    assert_eq!(b.one(alice.down).json()[0]["successful"], true, "the connect has lasted as long as any");
    b.hold(&alice);
    b.advance(14_999);
    assert_eq!((b.raw(alice.down), b.sessions()), (String::new(), 1));
    b.advance(1);
    assert_eq!(b.sessions(), 0);
    let last = b.one(alice.down).json();
    assert_eq!((&last[0]["channel"], &last[0]["successful"]), (&json!("/meta/connect"), &json!(false)));
    assert_eq!(last[0]["advice"]["reconnect"], "handshake", "{last}");
    assert_eq!(error(&shaken(&mut b, &json!({"token": token}), &[])), "403:token expired:handshake_denied");
}

#[test]
fn a_known_token_expires_as_well() {
    let mut settings = settings();
    // 2026-01-01, and ten seconds.
    settings.tokens[0].ends_unix_ms = Some(1_767_225_610_000);
    let (mut b, ..) = bench(settings);
    client(&mut b, KNOWN);
    b.advance(9_999);
    assert_eq!(b.sessions(), 1);
    b.advance(1);
    assert_eq!(b.sessions(), 0);
    assert_eq!(error(&shaken(&mut b, &json!({"token": KNOWN}), &[])), "403:token expired:handshake_denied");
}

#[test]
fn of_a_websocket_the_header_is_that_of_the_request_that_opened_it() {
    let (mut b, ..) = bench(settings());
    let token = token(&b, "alice", 60);
    for (field, ext, good) in [
        (format!("Authorization: Bearer {token}\r\n"), Value::Null, true),
        (String::new(), json!({"token": token}), true),
        (String::new(), Value::Null, false),
        ("Authorization: Bearer no-such-token-here\r\n".to_owned(), Value::Null, false),
        (format!("Authorization: Bearer {token}\r\n"), json!({"token": KNOWN}), false),
    ] {
        let conn = upgrade(&mut b, &field);
        let replies = say(&mut b, conn, &hello(&ext));
        assert_eq!(replies[0][0]["successful"], good, "{field} {ext}: {replies:?}");
    }
}

#[test]
fn plain_requests_show_their_token_in_the_header() {
    let (mut b, ..) = bench(settings());
    let token = token(&b, "alice", 60);
    let get = |b: &mut Bench, path: &str, field: &str| {
        let conn = b.open();
        let request = format!("GET {path} HTTP/1.1\r\nHost: h.example\r\nAccept: text/event-stream\r\n{field}\r\n");
        b.give(conn, request.as_bytes());
        b.raw(conn)
    };
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert!(get(&mut b, "/events/chat/**", &bearer).starts_with("HTTP/1.1 200 "));
    let denied = get(&mut b, "/events/user/**", &bearer);
    assert!(denied.starts_with("HTTP/1.1 403 ") && denied.contains("/user/** is not granted"), "{denied}");
    let denied = get(&mut b, "/events/chat/**", "");
    assert!(denied.starts_with("HTTP/1.1 403 ") && denied.contains("no token"), "{denied}");
    let publish = |path: &str| Post::new("1").path(path);
    assert_eq!(b.post(&publish("/publish/chat/a").field("Authorization", &format!("Bearer {token}"))).status, 200);
    let denied = b.post(&publish("/publish/news").field("Authorization", &format!("Bearer {token}")));
    assert!(denied.status == 403 && denied.body.contains("/news is not granted"), "{denied:?}");
    let denied = b.post(&publish("/publish/chat/a"));
    assert!(denied.status == 403 && denied.body.contains("no token"), "{denied:?}");
    assert_eq!(b.published(), 1);
    b.advance(60_000);
    let late = b.post(&publish("/publish/chat/a").field("Authorization", &format!("Bearer {token}")));
    assert!(late.status == 403 && late.body.contains("token expired"), "{late:?}");
    assert_eq!(b.sessions(), 0, "what it was admitted with has expired for the stream, too");
}

#[test]
fn settings_are_replaced_while_it_runs() {
    let (mut b, auth, _) = bench(settings());
    let token = token(&b, "alice", 60);
    let alice = client(&mut b, &token);
    let mut next = Settings::default();
    next.tokens.push(Token::new("another-known-token", Grants::new(["/**"], NOBODY)));
    auth.replace(next).unwrap();
    assert_eq!(error(&shaken(&mut b, &json!({"token": token}), &[])), "403:unknown token:handshake_denied");
    assert_eq!(shaken(&mut b, &json!({"token": "another-known-token"}), &[])["successful"], true);
    // What was granted stays.
    assert_eq!(b.tell(alice.up, &alice.subscribe("/chat/a"))["successful"], true);
    let mut bad = Settings::default();
    bad.tokens.push(Token::new("short", Grants::default()));
    assert!(auth.replace(bad).is_err());
    assert_eq!(shaken(&mut b, &json!({"token": "another-known-token"}), &[])["successful"], true);
}

#[test]
fn more_than_a_session_can_keep_is_granted_to_nobody() {
    let long = |number: usize| format!("/{number}{}", "x".repeat(240));
    let anonymous = Some(Grants::new((0..300).map(long), NOBODY));
    let (mut b, ..) = bench(Settings { anonymous, ..settings() });
    assert_eq!(
        error(&shaken(&mut b, &Value::Null, &[])),
        "403:more is granted than a session can keep:handshake_denied"
    );
    let anonymous = Some(Grants::new((0..250).map(long), NOBODY));
    let (mut b, ..) = bench(Settings { anonymous, ..settings() });
    assert_eq!(shaken(&mut b, &Value::Null, &[])["successful"], true);
}
