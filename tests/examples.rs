//! The programs in `examples/`, each run as the process that a reader of them would start, and spoken to over sockets.

#![cfg(all(feature = "daemon", unix))]

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use common::browser;
use common::node::{Scenarios, left_out};
use common::peer::{Peer, connect, connected, eventually, glance, post, post_with};
use serde_json::{Value, json};

/// An example. `cargo test` has built all of them, in the folder beside that of the tests.
fn program(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(
        path.exists(),
        "no {}: `cargo test --test examples` builds none, `cargo build --examples` does",
        path.display()
    );
    Command::new(path)
}

/// A running example. It is killed when this is dropped.
struct Example {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Example {
    /// Starts it with these arguments.
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = program(name);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (input, output) = (process.stdin.take(), process.stdout.take().unwrap());
        Self { process, input, output: BufReader::new(output) }
    }

    /// The next line that it writes, without what stands before.
    fn says(&mut self, before: &str) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().strip_prefix(before).unwrap_or_else(|| panic!("{line:?}")).to_owned()
    }

    /// Where it listens, as it says with a URL.
    fn url(&mut self, before: &str) -> SocketAddr {
        let url = self.says(before);
        url.strip_prefix("http://").and_then(|url| url.strip_suffix("/cometd")).unwrap().parse().unwrap()
    }

    /// Where it listens, as it says with the address of its page.
    fn page(&mut self) -> SocketAddr {
        let page = self.says("open http://");
        page.strip_suffix('/').unwrap().parse().unwrap()
    }

    /// Gives it bytes to read.
    fn tell(&mut self, bytes: &str) {
        self.input.as_mut().unwrap().write_all(bytes.as_bytes()).unwrap();
    }

    /// Ends its input, and waits for its own end.
    fn end(&mut self) -> ExitStatus {
        drop(self.input.take());
        let status = eventually("it ends", || self.process.try_wait().unwrap());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "it has said more than it was asked for");
        status
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn embedded_publishes_the_lines_that_it_reads_and_ends_with_them() {
    let mut example = Example::start("embedded", &[]);
    let mut peer = Peer::new(example.url("URL="));
    let id = peer.session();
    peer.subscribe(&id, "/lines");
    for line in ["hello", r#"with "quotes""#, ""] {
        peer.send(post(&connect(&id)));
        example.tell(&format!("{line}\n"));
        assert_eq!(peer.response().json(), json!([{"channel": "/lines", "data": line}, connected()]));
    }
    // Nobody knows whether this is held when the input ends: the answer comes all the same.
    peer.send(post(&connect(&id)));
    drop(example.input.take());
    assert_eq!(peer.response().json()[0]["successful"], true);
    drop(peer);
    assert!(example.end().success());
}

#[test]
fn embedded_says_what_is_wrong_with_its_argument() {
    let output = program("embedded").arg("localhost").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = "\"localhost\": must be an address and a port, such as 127.0.0.1:8080\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), said);
}

#[test]
fn custom_loop_serves_clients_and_publishes_what_its_own_socket_brings() {
    let mut example = Example::start("custom_loop", &[]);
    let http = example.url("URL=");
    let udp: SocketAddr = example.says("UDP=").parse().unwrap();
    let (mut listener, mut publisher) = (Peer::new(http), Peer::new(http));
    let id = listener.session();
    for channel in ["/chat", "/datagrams"] {
        listener.subscribe(&id, channel);
    }
    listener.send(post(&connect(&id)));
    let other = publisher.handshake();
    assert_eq!(publisher.publish(&other, "/chat", "hello"), json!({"channel": "/chat", "successful": true}));
    assert_eq!(listener.response().json(), json!([{"channel": "/chat", "data": "hello"}, connected()]));
    listener.send(post(&connect(&id)));
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"caf\xc3\xa9\n", udp).unwrap();
    assert_eq!(listener.response().json(), json!([{"channel": "/datagrams", "data": "caf\u{e9}"}, connected()]));
    // A timer ends this one.
    assert_eq!(listener.say(&glance(&id))[0]["successful"], true);
    listener.send(post_with("Connection: close\r\n", "[]"));
    assert_eq!(listener.response().status, 200);
    assert_eq!(listener.rest(), "");
}

#[test]
fn custom_loop_goes_on_where_a_socket_took_only_a_part() {
    /// So many times this is more than the kernel keeps for a peer that does not read.
    const SESSIONS: usize = 48;
    const BYTES: usize = 200_000;
    let mut example = Example::start("custom_loop", &[]);
    let http = example.url("URL=");
    let (mut slow, mut publisher) = (Peer::new(http), Peer::new(http));
    let ids: Vec<String> = (0..SESSIONS).map(|_| slow.handshake()).collect();
    for id in &ids {
        slow.subscribe(id, "/big");
    }
    let other = publisher.handshake();
    let big = "x".repeat(BYTES);
    assert_eq!(publisher.publish(&other, "/big", big.as_str())["successful"], true);
    // Long enough together for more than one read, of which all but the first wait until there is room for answers.
    let long = format!("X-Long: {}\r\n", "x".repeat(4_000));
    slow.send(ids.iter().map(|id| post_with(&long, &connect(id).to_string())).collect::<String>());
    // Meanwhile the others are served.
    for _ in 0..SESSIONS {
        assert_eq!(publisher.publish(&other, "/small", 1)["successful"], true);
    }
    for _ in &ids {
        let messages = slow.response().json();
        let events: Vec<_> =
            messages.as_array().unwrap().iter().filter(|message| message["channel"] == "/big").collect();
        assert!(events.len() == 1 && events[0]["data"] == big.as_str());
    }
}

/// The examples of RFC 6455: section 1.3, the handshake, and section 5.7, "Hello".
#[test]
fn ws_echo_answers_what_it_is_told_and_closes_when_asked() {
    let mut example = Example::start("ws_echo", &["127.0.0.1:0"]);
    let mut peer = Peer::new(example.says("listening on ").parse().unwrap());
    peer.send(
        "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    let head = peer.head();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    let hello: &[u8] = &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    let masked: &[u8] = &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    // In two parts, masked with zeros, and between them a ping, which is answered first.
    let parts: &[u8] = b"\x01\x83\0\0\0\0Hel\x89\x82\0\0\0\0me\x80\x82\0\0\0\0lo";
    let goodbye: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";
    for (said, answer) in [(masked, hello.to_vec()), (parts, [b"\x8a\x02me", hello].concat())] {
        peer.send(said);
        let mut came = vec![0; answer.len()];
        peer.stream.read_exact(&mut came).unwrap();
        assert_eq!(came, answer);
    }
    peer.send(goodbye);
    let mut rest = Vec::new();
    peer.stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"\x88\x02\x03\xe8");
}

static SCENARIOS: Scenarios =
    Scenarios::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop"), "ENCKE_SKIP_INTEROP");

#[test]
fn rpc_answers_the_remote_calls_of_cometd() {
    let mut example = Example::start("rpc", &[]);
    let url = format!("http://{}/cometd", example.url("URL="));
    for kind in ["cometd", "cometd:websocket"] {
        SCENARIOS.run_at("remote-calls", &url, &[kind]);
    }
}

#[test]
fn chat_has_rooms_to_join_and_tells_who_comes_and_goes() {
    for kinds in [["cometd", "cometd:websocket"], ["cometd:websocket", "cometd"]] {
        let mut example = Example::start("chat", &[]);
        let url = format!("http://{}/cometd", example.page());
        SCENARIOS.run_at("rooms", &url, &kinds);
    }
}

/// What events carry, as answers to connects bring it, until there are so many; and how many answers that took.
fn hear(peer: &mut Peer, id: &str, count: usize) -> (Vec<(String, Value)>, usize) {
    let (mut events, mut answers) = (Vec::new(), 0);
    while events.len() < count {
        let messages = peer.say(&connect(id));
        answers += 1;
        for message in messages.as_array().unwrap().iter().filter(|message| !message["data"].is_null()) {
            events.push((message["channel"].as_str().unwrap().to_owned(), message["data"].clone()));
        }
    }
    (events, answers)
}

/// A session of the chat, in its room.
fn member(peer: &mut Peer, name: &str) -> String {
    let handshake = json!({"channel": "/meta/handshake", "ext": {"name": name}});
    let reply = peer.say(&handshake)[0].clone();
    assert_eq!(reply["ext"]["name"], name, "{reply}");
    let id = reply["clientId"].as_str().unwrap().to_owned();
    let answers = peer.say(&json!([
        {"channel": "/meta/subscribe", "clientId": id, "subscription": "/members/tea"},
        {"channel": "/meta/subscribe", "clientId": id, "subscription": "/chat/tea"},
    ]));
    assert_eq!((&answers[0]["successful"], &answers[1]["successful"]), (&json!(true), &json!(true)), "{answers}");
    id
}

#[test]
fn chat_tells_who_has_vanished() {
    let mut example = Example::start("chat", &[]);
    let at = example.page();
    let (mut stays, mut vanishes) = (Peer::new(at), Peer::new(at));
    let id = member(&mut stays, "Ann");
    let (mut events, _) = hear(&mut stays, &id, 2);
    member(&mut vanishes, "Bob");
    drop(vanishes);
    events.extend(hear(&mut stays, &id, 2).0);
    let told =
        [json!({"joined": "Ann"}), json!({"members": ["Ann"]}), json!({"joined": "Bob"}), json!({"left": "Bob"})];
    assert_eq!(events, told.map(|data| ("/members/tea".to_owned(), data)));
}

/// In a real Chromium.
#[test]
fn chat_has_a_page_on_which_two_people_meet() {
    if left_out(browser::OPT_OUT, "rooms") {
        return;
    }
    browser::find_chromium();
    let mut example = Example::start("chat", &[]);
    let url = format!("http://{}/cometd", example.page());
    browser::SCENARIOS.run_at("rooms", &url, &[]);
}

#[test]
fn chat_serves_its_page() {
    let mut example = Example::start("chat", &[]);
    let mut peer = Peer::new(example.page());
    let response = peer.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(response.field("Content-Type"), Some("text/html;charset=UTF-8"));
    assert_eq!(response.body, include_str!("../examples/chat.html"));
    assert_eq!(peer.exchange("GET /tea HTTP/1.1\r\nHost: h\r\n\r\n").status, 404);
}

#[test]
fn ticker_publishes_ten_thousand_prices_for_each_line_that_it_writes() {
    let mut example = Example::start("ticker", &[]);
    let mut peer = Peer::new(example.url("listening on "));
    let id = peer.session();
    peer.subscribe(&id, "/prices/S07");
    // Each price is heard once and in order. As they wait for each other, an answer brings several: some 25, and however
    // slow this machine is, more than one.
    let (events, answers) = hear(&mut peer, &id, 200);
    assert!(events.is_sorted_by_key(|(_, price)| price["tick"].as_u64().unwrap()));
    assert!(events.windows(2).all(|two| two[0].1["tick"] != two[1].1["tick"]));
    assert!(answers * 2 < events.len(), "{} events in {answers} answers", events.len());
    let reply = peer.publish(&id, "/prices/S07", json!({"price": 0}));
    assert_eq!(reply["error"], "403:prices are made here:publish_denied");
    for _ in 0..2 {
        let line = example.says("published ");
        let (published, refused) = line.split_once(", refused ").unwrap();
        let (published, refused): (u32, u32) = (published.parse().unwrap(), refused.parse().unwrap());
        assert!(published + refused == 10_000 && published > 0, "{line}");
    }
}

#[test]
fn ticker_sums_up_each_symbol_a_few_times_a_second() {
    const MORE: usize = 4;
    let mut example = Example::start("ticker", &[]);
    let mut peer = Peer::new(example.url("listening on "));
    let id = peer.session();
    peer.subscribe(&id, "/summary/*");
    let (events, _) = hear(&mut peer, &id, MORE * 100);
    let mut heard = HashMap::<_, u64>::new();
    for (channel, data) in &events {
        let (now, price) = (data["ms"].as_u64().unwrap(), &data["last"]["price"]);
        assert!(price.is_number(), "{data}");
        if let Some(before) = heard.insert(channel, now) {
            assert!(now - before >= 250, "{channel} at {before} and {now}");
        }
    }
    assert_eq!(heard.len(), 100, "all symbols");
}
