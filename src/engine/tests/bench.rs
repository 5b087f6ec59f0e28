//! An engine with peers that have no sockets, and a clock that stands until it is moved.

use core::net::IpAddr;
use std::collections::HashMap;
use std::io::IoSlice;

use serde_json::{Value, json};

use crate::broker;
use crate::broker::token::{Entropy, SECRET_BYTES};
use crate::clock::Now;
use crate::conn::plain::Publishing;
use crate::conn::route::Site;
use crate::conn::{ConnKey, Step};
use crate::engine::{Engine, Parts, Wake};
use crate::hooks::{Command, Hooks};
use crate::http::forwarded::TrustedProxies;
use crate::http::host::HostRule;
use crate::http::origin::OriginRule;
use crate::limits::Limits;
use crate::pages::Pages;

/// Where peers come from unless a test says otherwise: not a trusted proxy.
pub(super) const STRANGER: &str = "192.0.2.1";
/// A peer that is a trusted proxy.
pub(super) const PROXY: &str = "127.0.0.1";

/// What a test may change before the engine is made.
pub(super) struct Setup {
    pub(super) mount: &'static str,
    pub(super) hosts: Vec<&'static str>,
    pub(super) origins: Vec<&'static str>,
    pub(super) proxies: Vec<&'static str>,
    pub(super) broker: broker::Config,
    pub(super) limits: Limits,
    pub(super) hooks: Hooks,
    pub(super) demo: bool,
    pub(super) publishing: Publishing,
}

/// Secrets that count up: all different, always the same.
struct Counting(u128);

impl Entropy for Counting {
    fn secret(&mut self) -> [u8; SECRET_BYTES] {
        self.0 = self.0.wrapping_add(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        self.0.to_be_bytes()
    }
}

/// What a peer has seen of its connection.
#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    shut: bool,
    closed: bool,
    /// The peer takes no bytes.
    stalled: bool,
}

pub(super) struct Bench {
    pub(super) engine: Engine,
    now: Now,
    seen: HashMap<u64, Seen>,
}

/// A response as it came.
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    /// Status line and fields, without the empty line.
    pub(super) head: String,
    pub(super) body: String,
}

impl Response {
    /// The value of the only field of this name.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.head.lines().skip(1).filter_map(|line| line.split_once(": ")).filter(|(n, _)| *n == name);
        let value = found.next().map(|(_, value)| value);
        assert!(found.next().is_none(), "{name} stands twice in {}", self.head);
        value
    }

    /// The Bayeux messages of a 200.
    pub(super) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// A POST to the endpoint, from its parts.
#[derive(Clone)]
pub(super) struct Post {
    path: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Post {
    /// JSON to the mount, from nowhere in particular.
    pub(super) fn new(body: impl Into<Vec<u8>>) -> Self {
        let fields = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        Self { path: "/cometd".to_owned(), fields, body: body.into() }
    }

    pub(super) fn json(body: &Value) -> Self {
        Self::new(body.to_string())
    }

    pub(super) fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Sets a field, in place of one of the same name.
    pub(super) fn field(self, name: &str, value: &str) -> Self {
        let mut post = self.without(name);
        post.fields.push((name.to_owned(), value.to_owned()));
        post
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(own, _)| own != name);
        self
    }

    pub(super) fn cookie(self, value: &str) -> Self {
        self.field("Cookie", &format!("BAYEUX_BROWSER={value}"))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("POST {} HTTP/1.1\r\nHost: h.example\r\n", self.path);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A client with a session: one connection to connect on, one for everything else.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) down: ConnKey,
    pub(super) up: ConnKey,
}

impl Client {
    pub(super) fn connect(&self) -> Value {
        json!({"channel": "/meta/connect", "clientId": self.id, "connectionType": "long-polling", "id": "c"})
    }

    /// A connect that does not want to be held.
    pub(super) fn glance(&self) -> Value {
        json!({"channel": "/meta/connect", "clientId": self.id, "id": "c", "advice": {"timeout": 0}})
    }

    pub(super) fn subscribe(&self, subscription: impl Into<Value>) -> Value {
        json!({"channel": "/meta/subscribe", "clientId": self.id, "subscription": subscription.into(), "id": "s"})
    }

    pub(super) fn unsubscribe(&self, subscription: impl Into<Value>) -> Value {
        json!({"channel": "/meta/unsubscribe", "clientId": self.id, "subscription": subscription.into(), "id": "u"})
    }

    /// A connect that names its transport.
    pub(super) fn connect_by(&self, connection_type: &str) -> Value {
        let mut connect = self.connect();
        connect["connectionType"] = json!(connection_type);
        connect
    }

    pub(super) fn publish(&self, channel: &str, data: impl Into<Value>) -> Value {
        json!({"channel": channel, "clientId": self.id, "data": data.into(), "id": "p"})
    }

    pub(super) fn disconnect(&self) -> Value {
        json!({"channel": "/meta/disconnect", "clientId": self.id, "id": "d"})
    }
}

/// The reply to [`Client::connect`] that says nothing.
pub(super) fn connected() -> Value {
    json!({"channel": "/meta/connect", "id": "c", "successful": true})
}

/// What every message of an unknown session is answered, but for connects.
pub(super) fn unknown(channel: &str, id: &str) -> Value {
    json!({"channel": channel, "id": id, "successful": false, "error": "402::session_unknown"})
}

/// What a connect of an unknown session is answered.
pub(super) fn unknown_connect() -> Value {
    json!({"channel": "/meta/connect", "id": "c", "successful": false, "error": "402::session_unknown",
        "advice": {"reconnect": "handshake", "interval": 0, "timeout": 30_000}})
}

/// Advice as it stands by default.
pub(super) fn retry() -> Value {
    json!({"reconnect": "retry", "interval": 0, "timeout": 30_000})
}

pub(super) const HANDSHAKE: &str =
    r#"{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"],"id":"h"}"#;

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            mount: "/cometd",
            hosts: Vec::new(),
            origins: Vec::new(),
            proxies: vec!["loopback", "unix"],
            broker: broker::Config { transports: vec!["long-polling"], ..broker::Config::default() },
            limits: Limits::default(),
            hooks: Default::default(),
            demo: false,
            publishing: Publishing::Off,
        };
        change(&mut setup);
        let list = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let site = Site {
            mount: setup.mount.to_owned(),
            hosts: HostRule::new(&list(&setup.hosts)).unwrap(),
            origins: OriginRule::new(&list(&setup.origins)).unwrap(),
            proxies: TrustedProxies::parse(&list(&setup.proxies)).unwrap(),
            publishing: setup.publishing,
            pages: Pages::new(setup.mount, setup.demo),
            has_fallback: false,
        };
        // 2026-01-01T00:00:00Z, and a monotonic clock with another start.
        let now = Now { mono_ms: 5_000_000, unix_ms: 1_767_225_600_000 };
        let parts = Parts {
            site,
            broker: setup.broker,
            limits: setup.limits,
            entropy: Box::new(Counting(0)),
            hooks: setup.hooks,
        };
        Self { engine: Engine::new(parts, now), now, seen: HashMap::new() }
    }

    /// A connection of a stranger.
    pub(super) fn open(&mut self) -> ConnKey {
        self.open_from(STRANGER)
    }

    pub(super) fn open_from(&mut self, address: &str) -> ConnKey {
        let peer: IpAddr = address.parse().unwrap();
        let conn = self.engine.accept(Some(peer), self.now).unwrap();
        self.seen.insert(conn.to_bits(), Seen::default());
        conn
    }

    /// Bytes come on a connection, and a turn is taken.
    pub(super) fn give(&mut self, conn: ConnKey, bytes: &[u8]) {
        self.receive(conn, bytes);
        self.turn();
    }

    /// Bytes come on a connection; the turn goes on.
    pub(super) fn receive(&mut self, conn: ConnKey, bytes: &[u8]) {
        self.engine.receive(conn, bytes, self.now);
    }

    /// The rest of a turn, and those that follow at once.
    pub(super) fn turn(&mut self) {
        loop {
            self.turn_once();
            if !matches!(self.engine.poll_timeout(), Some((_, Wake::Work))) {
                return;
            }
        }
    }

    /// The rest of a turn, and none that follows.
    pub(super) fn turn_once(&mut self) {
        self.engine.resume(self.now);
        self.engine.handle_timeout(self.now);
        loop {
            let more = self.engine.flush(self.now);
            while let Some(conn) = self.engine.next_dirty() {
                self.drive(conn);
            }
            if !more {
                return;
            }
        }
    }

    /// Events published so far.
    pub(super) fn published(&self) -> u64 {
        self.engine.counters().published
    }

    fn seen(&mut self, conn: ConnKey) -> &mut Seen {
        self.seen.get_mut(&conn.to_bits()).unwrap()
    }

    fn drive(&mut self, conn: ConnKey) {
        loop {
            match self.engine.step(conn) {
                Step::Wait => return,
                Step::Write if self.seen(conn).stalled => return self.engine.sent(conn, 0, self.now),
                Step::Write => {
                    let mut slices = [IoSlice::new(&[]); 4];
                    let used = self.engine.slices(conn, &mut slices);
                    let bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
                    self.seen(conn).bytes.extend_from_slice(&bytes);
                    self.engine.sent(conn, bytes.len(), self.now);
                }
                Step::ShutdownWrite => {
                    self.seen(conn).shut = true;
                    self.engine.write_shut(conn, self.now);
                }
                Step::Close => {
                    self.seen(conn).closed = true;
                    return self.engine.closed(conn, self.now);
                }
            }
        }
    }

    /// Another thread asks for something; whether it was done.
    pub(super) fn command(&mut self, command: &Command) -> bool {
        let done = self.engine.command(command.clone(), self.now);
        self.turn();
        done
    }

    /// An event is published from within the server.
    pub(super) fn inject(&mut self, channel: &str, data: &str) -> bool {
        self.command(&Command::Publish { channel: channel.to_owned(), data: data.to_owned(), lazy: false })
    }

    /// The peer takes no more bytes of this connection.
    pub(super) fn stall(&mut self, conn: ConnKey) {
        self.seen(conn).stalled = true;
    }

    /// A peer that has taken no more takes so many bytes, and the turn is finished.
    pub(super) fn take_some(&mut self, conn: ConnKey, bytes: usize) {
        let mut slices = [IoSlice::new(&[]); 4];
        let used = self.engine.slices(conn, &mut slices);
        let some: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).take(bytes).collect();
        self.seen(conn).bytes.extend_from_slice(&some);
        self.engine.sent(conn, some.len(), self.now);
        self.turn();
    }

    /// The peer takes bytes again.
    pub(super) fn unstall(&mut self, conn: ConnKey) {
        self.seen(conn).stalled = false;
        self.drive(conn);
        self.turn();
    }

    /// The peer ends its side.
    pub(super) fn fin(&mut self, conn: ConnKey) {
        self.engine.peer_closed(conn, self.now);
        self.turn();
    }

    /// The connection breaks.
    pub(super) fn cut(&mut self, conn: ConnKey) {
        self.seen(conn).closed = true;
        self.engine.closed(conn, self.now);
        self.turn();
    }

    /// Time passes; what is due in between happens when it is due.
    pub(super) fn advance(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        while let Some((at, Wake::Timer)) = self.engine.poll_timeout() {
            if at > end {
                break;
            }
            self.set_clock(at);
            self.turn();
        }
        self.set_clock(end);
        self.turn();
    }

    fn set_clock(&mut self, at: u64) {
        self.now.unix_ms += at - self.now.mono_ms;
        self.now.mono_ms = at;
    }

    /// Whether another connection is taken; it is not used.
    pub(super) fn accepts(&mut self) -> bool {
        self.engine.accept(None, self.now).is_ok()
    }

    /// An event of the server's own; the turn goes on.
    pub(super) fn inject_without_a_turn(&mut self, channel: &str, data: &str) -> bool {
        let command = Command::Publish { channel: channel.to_owned(), data: data.to_owned(), lazy: false };
        self.engine.command(command, self.now)
    }

    /// One flush; how many connections then have something to write, which they do.
    pub(super) fn flush(&mut self) -> usize {
        self.engine.flush(self.now);
        let mut dirty = 0;
        while let Some(conn) = self.engine.next_dirty() {
            dirty += 1;
            self.drive(conn);
        }
        dirty
    }

    /// Time passes, and what is due is asked for once.
    pub(super) fn time_out_once(&mut self, ms: u64) {
        self.set_clock(self.now.mono_ms + ms);
        self.engine.handle_timeout(self.now);
    }

    /// What both clocks show.
    pub(super) fn now(&self) -> Now {
        self.now
    }

    /// The time on the clock of the timers.
    pub(super) fn now_ms(&self) -> u64 {
        self.now.mono_ms
    }

    pub(super) fn is_shut(&self, conn: ConnKey) -> bool {
        self.seen[&conn.to_bits()].shut
    }

    pub(super) fn is_closed(&self, conn: ConnKey) -> bool {
        self.seen[&conn.to_bits()].closed
    }

    /// Every byte that has come and was not taken.
    pub(super) fn bytes(&mut self, conn: ConnKey) -> Vec<u8> {
        core::mem::take(&mut self.seen(conn).bytes)
    }

    /// The same as text.
    pub(super) fn raw(&mut self, conn: ConnKey) -> String {
        String::from_utf8(self.bytes(conn)).unwrap()
    }

    /// Every response that has come.
    pub(super) fn take(&mut self, conn: ConnKey) -> Vec<Response> {
        let text = self.raw(conn);
        let mut rest = text.as_str();
        let mut responses = Vec::new();
        while !rest.is_empty() {
            let (head, after) = rest.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {rest:?}"));
            let status = head.strip_prefix("HTTP/1.1 ").and_then(|line| line.get(..3)).unwrap().parse().unwrap();
            let mut response = Response { status, head: head.to_owned(), body: String::new() };
            let length: usize = response.field("Content-Length").map_or(0, |digits| digits.parse().unwrap());
            assert!(after.len() >= length, "cut short: {rest:?}");
            response.body = after[..length].to_owned();
            rest = &after[length..];
            responses.push(response);
        }
        responses
    }

    /// The one response that has come.
    pub(super) fn one(&mut self, conn: ConnKey) -> Response {
        let mut responses = self.take(conn);
        assert_eq!(responses.len(), 1, "{responses:?}");
        responses.remove(0)
    }

    /// Bytes, and the one response to them.
    pub(super) fn exchange(&mut self, conn: ConnKey, bytes: &[u8]) -> Response {
        self.give(conn, bytes);
        self.one(conn)
    }

    /// Bytes, and what comes back as it stands: a `HEAD` tells the length of a body that does not follow.
    pub(super) fn exchange_bare(&mut self, conn: ConnKey, bytes: &[u8]) -> String {
        self.give(conn, bytes);
        self.raw(conn)
    }

    /// What has come on a stream since the last time: the head, if it is among it, and the chunks put together; whether the
    /// last one was among them.
    pub(super) fn stream(&mut self, conn: ConnKey) -> (Option<String>, String, bool) {
        let mut text = self.raw(conn);
        let head = text.starts_with("HTTP/1.1 ").then(|| {
            let (head, rest) = text.split_once("\r\n\r\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            text = rest;
            head
        });
        let (mut body, mut rest) = (String::new(), text.as_str());
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("no chunk: {text:?}"));
            if size == 0 {
                assert_eq!(after, "\r\n", "nothing behind the last chunk");
                return (head, body, true);
            }
            body.push_str(&after[..size]);
            rest = after[size..].strip_prefix("\r\n").unwrap();
        }
        assert_eq!(rest, "");
        (head, body, false)
    }

    /// The server begins to end.
    pub(super) fn drain(&mut self, within_ms: u64) {
        self.engine.drain(within_ms, self.now);
        self.turn();
    }

    /// A request on a new connection, and its response.
    pub(super) fn post(&mut self, post: &Post) -> Response {
        let conn = self.open();
        let response = self.exchange(conn, &post.bytes());
        if !self.is_closed(conn) {
            self.cut(conn);
        }
        response
    }

    /// Messages, and the replies to them.
    pub(super) fn say(&mut self, conn: ConnKey, messages: &Value) -> Value {
        self.exchange(conn, &Post::json(messages).bytes()).json()
    }

    /// One message, and the one reply to it.
    pub(super) fn tell(&mut self, conn: ConnKey, message: &Value) -> Value {
        let replies = self.say(conn, message);
        assert_eq!(replies.as_array().unwrap().len(), 1, "{replies}");
        replies[0].clone()
    }

    /// The text of messages, and the very text of the answer.
    pub(super) fn text(&mut self, conn: ConnKey, messages: &str) -> String {
        let response = self.exchange(conn, &Post::new(messages).bytes());
        assert_eq!(response.status, 200, "{response:?}");
        response.body
    }

    /// A client that has shaken hands, with a cookie of its own choice or without any.
    pub(super) fn handshake_with(&mut self, cookie: Option<&str>) -> Client {
        let (down, up) = (self.open(), self.open());
        // One that is silent would not be there for long.
        self.text(up, "[]");
        let mut post = Post::new(HANDSHAKE);
        if let Some(cookie) = cookie {
            post = post.cookie(cookie);
        }
        let replies = self.exchange(down, &post.bytes()).json();
        Client { id: replies[0]["clientId"].as_str().unwrap().to_owned(), down, up }
    }

    pub(super) fn handshake(&mut self) -> Client {
        self.handshake_with(None)
    }

    /// A client whose first connect has been answered: the next one is held.
    pub(super) fn client(&mut self) -> Client {
        let client = self.handshake();
        assert_eq!(self.tell(client.down, &client.connect())["successful"], true);
        client
    }

    /// A client that is subscribed as well.
    pub(super) fn subscriber(&mut self, subscription: impl Into<Value>) -> Client {
        let client = self.client();
        assert_eq!(self.tell(client.up, &client.subscribe(subscription))["successful"], true);
        client
    }

    /// The client's connect is held.
    pub(super) fn hold(&mut self, client: &Client) {
        self.give(client.down, &Post::json(&client.connect()).bytes());
        assert_eq!(self.raw(client.down), "", "the connect is held");
    }

    /// What waits for a client: its events, without the connect reply.
    pub(super) fn events(&mut self, client: &Client) -> Vec<Value> {
        let Value::Array(mut messages) = self.say(client.down, &client.glance()) else { panic!("not an array") };
        let reply = messages.pop().unwrap();
        assert_eq!((&reply["channel"], &reply["successful"]), (&json!("/meta/connect"), &json!(true)));
        messages
    }

    /// How many sessions there are; asking prolongs none of them.
    pub(super) fn sessions(&self) -> usize {
        self.engine.census().sessions
    }
}
