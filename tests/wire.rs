//! The daemon as a process, spoken to through raw sockets: its life, HTTP as it comes over TCP, and the five troubles
//! of long waits. What a message means is tested without I/O; here it is whether it arrives.
//!
//! No test asserts how long something takes. Waits are bounded, generously, so that a fault is an error and not a hang.

#![cfg(all(feature = "daemon", unix))]

mod common;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use common::peer::{PATIENT, Peer, Response, connect, connected, eventually, glance, post, post_with};
use common::process::{Process, run};
use common::{Daemon, encke, without_settings};
use serde_json::{Value, json};

/// Two sessions of a browser that may hold one connect; the first one's is held, on the first connection.
fn one_place(daemon: &Daemon) -> (Peer, String, Peer, String) {
    let cookie = "Cookie: BAYEUX_BROWSER=tabs\r\n";
    let shake = post_with(cookie, r#"{"channel":"/meta/handshake"}"#);
    let [(mut first, one), (mut second, two)] = [(), ()].map(|()| {
        let mut peer = Peer::new(daemon.addr());
        let id = peer.exchange(&shake).json()[0]["clientId"].as_str().unwrap().to_owned();
        (peer, id)
    });
    first.say(&connect(&one));
    second.say(&connect(&two));
    first.send(post(&connect(&one)));
    eventually("the first session holds", || is_crowded(&mut second, &two).then_some(()));
    (first, one, second, two)
}

/// Whether a connect of the session is turned away because of another one.
fn is_crowded(peer: &mut Peer, id: &str) -> bool {
    let reply = peer.say(&glance(id))[0].clone();
    assert_eq!(reply["successful"], true);
    reply["advice"]["multiple-clients"] == true
}

/// The response that comes on one of two connections.
fn either(one: &mut Peer, other: &mut Peer) -> Response {
    let came = |peer: &Peer| {
        peer.stream.set_nonblocking(true).unwrap();
        let came = peer.stream.peek(&mut [0]).is_ok();
        peer.stream.set_nonblocking(false).unwrap();
        came
    };
    let first = eventually("one of them is answered", || match (came(one), came(other)) {
        (false, false) => None,
        (first, second) => {
            assert_ne!(first, second, "both are answered");
            Some(first)
        }
    });
    if first { one.response() } else { other.response() }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

// --- The life of the process.

#[test]
fn the_first_line_says_where_it_listens_with_the_real_port() {
    let mut command = encke();
    command.args(["--listen", "127.0.0.1:0,127.0.0.1:0", "--mount", "/bayeux"]);
    let (_process, lines) = Process::launch(command, 2);
    let mut ports = HashSet::new();
    for line in lines {
        let addr = line.strip_prefix("encke listening on http://").unwrap().strip_suffix("/bayeux").unwrap();
        let addr: SocketAddr = addr.parse().unwrap();
        assert_ne!(addr.port(), 0);
        ports.insert(addr.port());
        let mut peer = Peer::new(addr);
        let request = "POST /bayeux HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n[]";
        assert_eq!(peer.exchange(request).body, "[]", "it can be reached as soon as it says so");
    }
    assert_eq!(ports.len(), 2);
}

#[test]
fn a_bad_option_is_one_line_and_exit_2() {
    for (words, line) in [
        (&["--time-out", "30s"][..], "encke: unknown option --time-out: did you mean --timeout?\n"),
        (&["--timeout", "30"], "encke: --timeout 30: must be a time such as 500ms, 30s, 5m, 24h or 0\n"),
        (&["--mount", "x"], "encke: --mount x: must be a path such as /cometd, of letters, digits and - _ . ~\n"),
        (&["8080"], "encke: unexpected \"8080\": options are --KEY VALUE; see encke --help\n"),
        (
            &["chek"],
            "encke: unexpected \"chek\": the only command is check, and options are --KEY VALUE; see encke --help\n",
        ),
        (&["-x"], "encke: unknown option -x: see encke --help\n"),
    ] {
        assert_eq!(run(words), (Some(2), String::new(), line.to_owned()), "{words:?}");
    }
    let (code, _, stderr) = run(&["--timeout"]);
    assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{stderr}");
}

#[test]
fn help_and_version_go_to_stdout() {
    let version = format!("encke {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--version"]), (Some(0), version, String::new()));
    let (code, stdout, stderr) = run(&["--help"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("  --max-interval TIME "), "{stdout}");
    assert!(encke::framing::TRANSPORTS.iter().all(|name| stdout.contains(&format!(" {name}"))), "{stdout}");
}

#[test]
fn an_address_in_use_is_one_line_and_a_failure() {
    let daemon = Daemon::start(&[]);
    let addr = daemon.addr().to_string();
    let (code, stdout, stderr) = run(&["--listen", &addr]);
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(1), "", 1), "{stderr}");
    assert!(stderr.starts_with(&format!("encke: cannot listen on {addr}: ")), "{stderr}");
    assert_eq!(Peer::new(daemon.addr()).exchange(post(&json!([]))).body, "[]", "the one that was there serves on");
}

#[test]
fn the_soft_limit_of_open_files_is_raised() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -S -n 40 && exec \"$0\" --listen 127.0.0.1:0", env!("CARGO_BIN_EXE_encke")]);
    without_settings(&mut command);
    let (_process, lines) = Process::launch(command, 1);
    let addr = lines[0].strip_prefix("encke listening on http://").unwrap().strip_suffix("/cometd").unwrap();
    let mut peers: Vec<Peer> = (0..100).map(|_| Peer::new(addr.parse().unwrap())).collect();
    for peer in &mut peers {
        peer.send(post(&json!([])));
    }
    for peer in &mut peers {
        assert_eq!(peer.response().body, "[]");
    }
}

// --- HTTP over TCP.

#[test]
fn everything_works_on_one_keep_alive_connection() {
    let daemon = Daemon::start(PATIENT);
    let mut peer = Peer::new(daemon.addr());
    let id = peer.session();
    peer.subscribe(&id, "/a");
    peer.send(post(&connect(&id)));
    peer.send(post(&json!({"channel": "/a", "clientId": id, "data": 1})));
    assert_eq!(peer.response().json(), json!([connected()]), "the poll gives way");
    assert_eq!(peer.response().json(), json!([{"channel": "/a", "successful": true}]));
    assert_eq!(peer.say(&connect(&id)), json!([{"channel": "/a", "data": 1}, connected()]));
    let leave = json!({"channel": "/meta/disconnect", "clientId": id});
    assert_eq!(peer.say(&leave), json!([{"channel": "/meta/disconnect", "successful": true}]));
    assert_eq!(peer.say(&connect(&id))[0]["error"], "402::session_unknown");
}

#[test]
fn two_connections_serve_one_session() {
    let daemon = Daemon::start(PATIENT);
    let (mut down, mut up) = (Peer::new(daemon.addr()), Peer::new(daemon.addr()));
    let id = down.session();
    up.subscribe(&id, "/a");
    for n in 0..20 {
        down.send(post(&connect(&id)));
        assert_eq!(up.publish(&id, "/a", n), json!({"channel": "/a", "successful": true}));
        assert_eq!(down.response().json(), json!([{"channel": "/a", "data": n}, connected()]));
    }
}

#[test]
fn a_second_connect_ends_the_first_with_500() {
    let daemon = Daemon::start(PATIENT);
    let (mut old, mut new, mut up) = (Peer::new(daemon.addr()), Peer::new(daemon.addr()), Peer::new(daemon.addr()));
    let id = old.session();
    up.subscribe(&id, "/a");
    old.send(post(&connect(&id)));
    // Which of the two the server sees first is not known.
    new.send(post(&connect(&id)));
    let older = either(&mut old, &mut new);
    assert_eq!((older.status, older.body.as_str()), (500, ""));
    assert_eq!(older.field("Content-Length"), Some("0"));
    up.publish(&id, "/a", 1);
    assert_eq!(either(&mut old, &mut new).json(), json!([{"channel": "/a", "data": 1}, connected()]));
}

#[test]
fn a_fin_behind_a_parked_poll_is_noticed() {
    let daemon = Daemon::start(&["--timeout", "1h", "--max-sessions-per-browser", "1"]);
    let (mut first, one, mut second, two) = one_place(&daemon);
    first.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(first.rest(), "", "the dead one gets no answer, 500 least of all");
    assert!(!is_crowded(&mut second, &two), "the place is free");
    let mut again = Peer::new(daemon.addr());
    again.subscribe(&one, "/a");
    again.send(post(&connect(&one)));
    eventually("the session holds again", || is_crowded(&mut second, &two).then_some(()));
    second.publish(&two, "/a", 1);
    assert_eq!(again.response().json(), json!([{"channel": "/a", "data": 1}, connected()]));
}

#[test]
fn a_socket_that_is_closed_behind_a_parked_poll_is_noticed() {
    let daemon = Daemon::start(&["--timeout", "1h", "--max-sessions-per-browser", "1"]);
    let (first, _one, mut second, two) = one_place(&daemon);
    drop(first);
    eventually("the place is free", || (!is_crowded(&mut second, &two)).then_some(()));
}

#[test]
fn a_fin_right_behind_a_connect_is_noticed() {
    let daemon = Daemon::start(PATIENT);
    for _ in 0..20 {
        let mut peer = Peer::new(daemon.addr());
        let id = peer.session();
        peer.send(post(&connect(&id)));
        peer.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.rest(), "");
        assert_eq!(Peer::new(daemon.addr()).say(&glance(&id))[0]["successful"], true, "the session lives on");
    }
}

#[test]
fn a_fin_right_behind_a_request_lets_its_answer_out() {
    let daemon = Daemon::start(PATIENT);
    for count in [1, 3, 40] {
        let mut peer = Peer::new(daemon.addr());
        peer.send(post(&json!([])).repeat(count));
        peer.stream.shutdown(Shutdown::Write).unwrap();
        let all = peer.rest();
        assert_eq!(all.matches("HTTP/1.1 200 OK\r\n").count(), count, "{all}");
        assert!(all.ends_with("\r\n\r\n[]"));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let daemon = Daemon::start(PATIENT);
    let mut peer = Peer::new(daemon.addr());
    let requests: String = (0..200).map(|n| post(&json!({"channel": "/x", "id": n}))).collect();
    peer.send(requests);
    for n in 0..200 {
        assert_eq!(peer.response().json()[0]["id"], n);
    }
}

#[test]
fn requests_may_come_one_byte_at_a_time() {
    let daemon = Daemon::start(PATIENT);
    let mut peer = Peer::new(daemon.addr());
    let id = peer.session();
    let chunked =
        "POST /cometd HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\n[\r\n1\r\n]\r\n0\r\n\r\n";
    for byte in (post(&json!({"channel": "/a", "clientId": id, "data": "é"})) + chunked).bytes() {
        peer.send([byte]);
    }
    assert_eq!(peer.response().json(), json!([{"channel": "/a", "successful": true}]));
    assert_eq!(peer.response().body, "[]");
}

#[test]
fn chunked_bodies_are_read() {
    let daemon = Daemon::start(PATIENT);
    let mut peer = Peer::new(daemon.addr());
    let body = json!([{"channel": "/x", "id": "y".repeat(200)}]).to_string();
    for size in [1, 7, 1_000] {
        let mut request = "POST /cometd HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
        for piece in body.as_bytes().chunks(size) {
            request.push_str(&format!("{:x}\r\n{}\r\n", piece.len(), text(piece)));
        }
        request.push_str("0\r\nTrailer: x\r\n\r\n");
        assert_eq!(peer.exchange(request).json()[0]["id"], "y".repeat(200), "{size}");
    }
}

#[test]
fn http_1_0_with_and_without_keep_alive() {
    let daemon = Daemon::start(PATIENT);
    let mut peer = Peer::new(daemon.addr());
    for _ in 0..2 {
        let kept = peer.exchange("POST /cometd HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\n[]");
        assert_eq!((kept.body.as_str(), kept.field("Connection")), ("[]", Some("keep-alive")));
    }
    let last = peer.exchange("POST /cometd HTTP/1.0\r\nContent-Length: 2\r\n\r\n[]");
    assert_eq!((last.body.as_str(), last.field("Connection")), ("[]", Some("close")));
    assert_eq!(peer.rest(), "", "and it is closed");
    let mut peer = Peer::new(daemon.addr());
    let last = peer.exchange("POST /cometd HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]");
    assert_eq!((last.body.as_str(), peer.rest().as_str()), ("[]", ""));
}

#[test]
fn head_and_options_have_no_body() {
    let daemon = Daemon::start(PATIENT);
    let mut peer = Peer::new(daemon.addr());
    peer.send("HEAD /cometd HTTP/1.1\r\nHost: h\r\n\r\nHEAD /x HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(peer.head().starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
    assert!(peer.head().starts_with("HTTP/1.1 404 Not Found\r\n"), "right behind the head of the first");
    for target in ["/cometd", "/", "*"] {
        let response = peer.exchange(format!("OPTIONS {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!((response.status, response.body.as_str()), (204, ""), "{target}");
    }
    assert_eq!(peer.exchange(post(&json!([]))).body, "[]");
}

#[test]
fn a_client_that_expects_100_gets_it_before_the_body() {
    let daemon = Daemon::start(PATIENT);
    let mut peer = Peer::new(daemon.addr());
    peer.send("POST /cometd HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(peer.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(peer.exchange("[]").body, "[]");
    let at_once =
        peer.exchange("POST /cometd HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n[]");
    assert_eq!(at_once.body, "[]", "the body is there: nothing to wait for");
    let huge = "POST /cometd HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 999999999\r\n\r\n";
    assert_eq!(peer.exchange(huge).status, 413, "no leave to send what is not wanted");
}

#[test]
fn an_error_is_received_although_the_client_still_sends() {
    let daemon = Daemon::start(PATIENT);
    for (head, status) in [
        ("POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n", 413),
        ("POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: 90000\r\n\r\n", 415),
        ("NONSENSE\r\n\r\n", 400),
    ] {
        let mut peer = Peer::new(daemon.addr());
        peer.send(head);
        // The server has answered and shut its side by now or will soon; it reads on for a while.
        for _ in 0..10 {
            peer.send([b'x'; 4_000]);
        }
        let response = peer.response();
        assert_eq!((response.status, response.field("Connection")), (status, Some("close")));
        assert_eq!(peer.rest(), "");
    }
    assert_eq!(Peer::new(daemon.addr()).exchange(post(&json!([]))).body, "[]");
}

#[test]
fn a_large_batch_of_events_arrives_whole() {
    let daemon = Daemon::start(&["--max-message-size", "4MiB", "--max-queue-size", "16MiB"]);
    let (mut down, mut up) = (Peer::new(daemon.addr()), Peer::new(daemon.addr()));
    let id = down.session();
    up.subscribe(&id, "/a");
    let large = "z".repeat(3_000_000);
    assert_eq!(up.publish(&id, "/a", large.as_str())["successful"], true);
    assert_eq!(down.say(&connect(&id))[0]["data"], large);
}

#[test]
fn refused_origins_are_warned_of_once_with_the_line_that_would_allow_them() {
    let daemon = Daemon::start(&[]);
    let mut peer = Peer::new(daemon.addr());
    for _ in 0..50 {
        let refused = peer.exchange(post_with("Origin: https://app.example\r\n", "[]"));
        assert_eq!(refused.status, 403);
        assert!(refused.body.contains("--allowed-origins https://app.example\n"), "{}", refused.body);
    }
    daemon.wait_for_stderr("Origin https://app.example may not use Host h. ");
    daemon.wait_for_stderr("--allowed-origins https://app.example");
    assert_eq!(daemon.stderr().matches("app.example may not").count(), 1, "{}", daemon.stderr());
    let allowing = Daemon::start(&["--allowed-origins", "https://app.example"]);
    let mut peer = Peer::new(allowing.addr());
    assert_eq!(peer.exchange(post_with("Origin: https://app.example\r\n", "[]")).body, "[]");
}

#[test]
#[cfg(feature = "demo")]
fn the_module_is_compressed_for_those_who_take_it_and_whole_for_all() {
    let daemon = Daemon::start(&[]);
    let ask = |fields: &str| {
        let mut peer = Peer::new(daemon.addr());
        peer.send(format!("GET /encke.js HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n"));
        let mut bytes = Vec::new();
        peer.stream.read_to_end(&mut bytes).unwrap();
        let body = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let body = bytes.split_off(body);
        (String::from_utf8(bytes).unwrap(), body)
    };
    let source = include_bytes!("../src/pages/encke.js");
    let (head, body) = ask("");
    assert!(!head.contains("Content-Encoding") && body == source, "{head}");
    let (head, packed) = ask("Accept-Encoding: gzip\r\n");
    assert!(head.contains("\r\nContent-Encoding: gzip\r\n"), "{head}");
    let mut gzip = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = gzip.stdin.take().unwrap();
    let writer = thread::spawn(move || input.write_all(&packed));
    let output = gzip.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success() && output.stdout == source, "{:?}", output.status);
}

// --- The five troubles.

#[test]
fn trouble_1_a_client_that_cannot_stream_is_served_by_polling() {
    let daemon = Daemon::start(&["--timeout", "1h", "--transports", "long-polling"]);
    let (mut down, mut up) = (Peer::new(daemon.addr()), Peer::new(daemon.addr()));
    let upgrade = "GET /cometd HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert_eq!(down.exchange(upgrade).status, 400, "the stream is refused in a way that clients fall back from");
    let types = json!(["websocket", "eventsource", "long-polling", "callback-polling"]);
    let replies = down.say(&json!({"channel": "/meta/handshake", "supportedConnectionTypes": types}));
    assert_eq!(replies[0]["supportedConnectionTypes"], json!(["long-polling"]));
    let id = replies[0]["clientId"].as_str().unwrap().to_owned();
    down.say(&connect(&id));
    up.subscribe(&id, "/a");
    for n in 0..3 {
        down.send(post(&connect(&id)));
        up.publish(&id, "/a", n);
        assert_eq!(down.response().json(), json!([{"channel": "/a", "data": n}, connected()]));
    }
}

#[test]
fn whatever_transport_is_not_offered_the_log_names_it() {
    let (process, addr) = Process::start(&["--transports", "long-polling", "--demo", "false"]);
    let mut peer = Peer::new(addr);
    for (request, name) in [
        ("GET /cometd?message=%5B%5D&jsonp=f HTTP/1.1\r\nHost: h\r\n\r\n", "callback-polling"),
        ("GET /cometd HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "websocket"),
    ] {
        assert_eq!(peer.exchange(request).status, 400, "{name}");
        process.wait_for_log(&format!("refused a transport: {name} is not among the transports of this server"));
    }
}

#[test]
fn trouble_2_the_server_notices_that_a_client_is_lost() {
    let (process, addr) = Process::start(&["--timeout", "1h", "--max-interval", "2s"]);
    let mut peer = Peer::new(addr);
    let id = peer.session();
    peer.subscribe(&id, "/a");
    peer.send(post(&connect(&id)));
    drop(peer);
    process.wait_for_log("removed");
    let mut other = Peer::new(addr);
    assert_eq!(
        other.say(&connect(&id)),
        json!([{"channel": "/meta/connect", "successful": false, "error": "402::session_unknown",
            "advice": {"reconnect": "handshake", "interval": 0, "timeout": 3_600_000}}])
    );
}

#[test]
fn trouble_2_a_client_notices_that_the_server_is_lost() {
    let mut daemon = Daemon::start(PATIENT);
    let mut peer = Peer::new(daemon.addr());
    let id = peer.session();
    peer.send(post(&connect(&id)));
    daemon.kill();
    assert!(peer.breaks(), "the parked poll ends");
    assert!(TcpStream::connect(daemon.addr()).is_err());
}

#[test]
fn trouble_2_a_client_notices_that_its_session_is_lost_by_a_connect_that_ends() {
    // No connect is held for longer than the timeout, so a client that hears nothing for longer knows that it is cut off.
    let daemon = Daemon::start(&["--timeout", "100ms"]);
    let mut peer = Peer::new(daemon.addr());
    let id = peer.session();
    for _ in 0..3 {
        assert_eq!(peer.say(&connect(&id)), json!([connected()]));
    }
}

/// Polls until so many events have come; their data.
fn collect(addr: SocketAddr, id: &str, count: usize) -> Vec<Value> {
    let mut peer = Peer::new(addr);
    let mut events = Vec::new();
    while events.len() < count {
        let Value::Array(mut messages) = peer.say(&connect(id)) else { panic!("not an array") };
        assert_eq!(messages.pop().unwrap(), connected(), "the reply stands last");
        events.extend(messages.into_iter().map(|event| event["data"].clone()));
    }
    events
}

#[test]
fn trouble_3_clients_stay_in_step() {
    const EACH: usize = 100;
    let daemon = Daemon::start(PATIENT);
    let addr = daemon.addr();
    let readers: Vec<_> = (0..5)
        .map(|n| {
            let mut peer = Peer::new(addr);
            let id = peer.session();
            peer.subscribe(&id, ["/step/one", "/step/*", "/**"][n % 3]);
            thread::spawn(move || collect(addr, &id, 3 * EACH))
        })
        .collect();
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            thread::spawn(move || {
                let mut peer = Peer::new(addr);
                let id = peer.session();
                for n in 0..EACH {
                    assert_eq!(peer.publish(&id, "/step/one", json!([writer, n]))["successful"], true);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let seen: Vec<Vec<Value>> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    for reader in &seen {
        assert_eq!(reader, &seen[0], "the same events in the same order everywhere");
    }
    for writer in 0..3 {
        let own: Vec<&Value> = seen[0].iter().filter(|data| data[0] == writer).map(|data| &data[1]).collect();
        assert_eq!(own, (0..EACH).collect::<Vec<_>>(), "each publisher's in the order of publishing");
    }
}

#[test]
fn trouble_4_a_client_that_sends_but_no_longer_receives_is_found_out() {
    let (process, addr) = Process::start(&["--timeout", "1s", "--max-interval", "2s"]);
    let mut peer = Peer::new(addr);
    let id = peer.session();
    peer.subscribe(&id, "/a");
    let end = eventually("the session is ended", || {
        let reply = peer.publish(&id, "/a", 1);
        (reply["successful"] == false).then_some(reply)
    });
    assert_eq!(end, json!({"channel": "/a", "successful": false, "error": "402::session_unknown"}));
    process.wait_for_log("removed");
    process.wait_for_log("no-connect");
}

#[test]
fn trouble_4_a_client_that_takes_no_answer_does_not_keep_others_waiting() {
    let daemon = Daemon::start(&["--timeout", "1h", "--max-message-size", "1MiB", "--max-queue-size", "64MiB"]);
    // Answers of 200 kB each, far more of them than socket buffers hold, and none of them read.
    let mut deaf = Peer::new(daemon.addr());
    let echoed = json!({"channel": "/meta/subscribe", "subscription": "x".repeat(200_000)});
    thread::spawn(move || deaf.stream.write_all(post(&echoed).repeat(200).as_bytes()));
    let (mut down, mut up) = (Peer::new(daemon.addr()), Peer::new(daemon.addr()));
    let id = down.session();
    up.subscribe(&id, "/a");
    let large = "w".repeat(500_000);
    for _ in 0..40 {
        down.send(post(&connect(&id)));
        assert_eq!(up.publish(&id, "/a", large.as_str())["successful"], true);
        assert_eq!(down.response().json()[0]["data"], large);
    }
}

#[test]
fn trouble_5_a_session_survives_a_lost_connection() {
    let daemon = Daemon::start(&["--timeout", "1h", "--max-interval", "1h"]);
    let (mut down, mut up) = (Peer::new(daemon.addr()), Peer::new(daemon.addr()));
    let id = down.session();
    up.subscribe(&id, "/a");
    for n in 0..5 {
        // The read to the end shows that the server has noticed, before anything is published.
        down.send(post(&connect(&id)));
        down.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(down.rest(), "");
        up.publish(&id, "/a", n);
        down = Peer::new(daemon.addr());
        assert_eq!(down.say(&connect(&id)), json!([{"channel": "/a", "data": n}, connected()]), "nothing is lost");
    }
}

#[test]
fn trouble_5_a_client_finds_its_way_back_after_a_lost_server() {
    let mut daemon = Daemon::start(PATIENT);
    let mut peer = Peer::new(daemon.addr());
    let id = peer.session();
    peer.send(post(&connect(&id)));
    daemon.restart();
    assert!(peer.breaks());
    let mut peer = Peer::new(daemon.addr());
    assert_eq!(
        peer.say(&connect(&id)),
        json!([{"channel": "/meta/connect", "successful": false, "error": "402::session_unknown",
            "advice": {"reconnect": "handshake", "interval": 0, "timeout": 3_600_000}}])
    );
    let new = peer.session();
    assert_ne!(new, id);
    peer.subscribe(&new, "/a");
    assert_eq!(peer.publish(&new, "/a", 1)["successful"], true);
    assert_eq!(peer.say(&connect(&new)), json!([{"channel": "/a", "data": 1}, connected()]));
}

#[test]
fn a_stolen_client_id_is_like_one_that_never_was() {
    let daemon = Daemon::start(&[]);
    let (mut victim, mut thief) = (Peer::new(daemon.addr()), Peer::new(daemon.addr()));
    let hello = json!([{"channel": "/meta/handshake", "supportedConnectionTypes": ["long-polling"]}]).to_string();
    let greet = |peer: &mut Peer, cookie: &str| {
        let replies = peer.exchange(post_with(&format!("Cookie: BAYEUX_BROWSER={cookie}\r\n"), &hello)).json();
        replies[0]["clientId"].as_str().unwrap().to_owned()
    };
    let stolen = greet(&mut victim, "victim");
    let own = greet(&mut thief, "thief");
    victim.subscribe(&stolen, "/**");
    let unknown: String = stolen.chars().rev().collect();
    let mut ask = |id: &str, place: usize| {
        let mut batch = vec![json!({"channel": "/own", "clientId": own, "data": 1, "id": 1}); 2];
        batch.insert(place, json!({"channel": "/stolen", "clientId": id, "data": 2, "id": 2}));
        let response = thief.exchange(post_with("Cookie: BAYEUX_BROWSER=thief\r\n", &json!(batch).to_string()));
        (response.field("Set-Cookie").map(str::to_owned), response.body)
    };
    for place in 0..3 {
        let (cookie, body) = ask(&stolen, place);
        assert_eq!(body.matches("402::session_unknown").count(), 1, "{body}");
        assert_eq!((cookie, body), ask(&unknown, place));
    }
    let heard = victim.say(&json!([glance(&stolen)]));
    let channels: Vec<_> =
        heard.as_array().unwrap().iter().map(|message| message["channel"].as_str().unwrap()).collect();
    assert_eq!(channels, ["/own"; 12].iter().copied().chain(["/meta/connect"]).collect::<Vec<_>>());
}
