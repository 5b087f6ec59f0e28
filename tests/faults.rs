//! What the machine, the operating system and bad luck do to a daemon: no files left, no buffers, connections that break
//! at any point, a log that takes nothing, a process that is stopped for a while, and bugs.
//!
//! Each is done to a real process. What takes long or many is in `tests/hostile`.

#![cfg(all(feature = "daemon", target_os = "linux"))]

mod common;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::{Shutdown, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::node::{left_out, output_of};
use common::peer::{PATIENT, Peer, connect, connected, eventually, post};
use common::process::Process;
use common::{Log, encke, without_settings};
use encke::hooks::{Hooks, Query, SecurityPolicy, Session, Verdict};
use encke::server::Server;
use serde_json::{Value, json};
use socket2::SockRef;

const NO_STRACE: &str = "ENCKE_SKIP_STRACE";

/// A daemon whose stderr is the test's affair. It is killed when this is dropped.
struct Plain {
    child: Child,
    addr: SocketAddr,
}

impl Plain {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("encke listening on http://").unwrap_or_else(|| panic!("{line:?}"));
        let addr = url.strip_suffix("/cometd").unwrap().parse().unwrap();
        Self { child, addr }
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status().expect("kill runs");
    assert!(sent.success(), "kill -s {name}");
}

/// A daemon on a free port that logs all it can.
fn talkative() -> Command {
    let mut command = encke();
    command.env("RUST_LOG", "trace").args(["--listen", "127.0.0.1:0", "--timeout", "1h"]);
    command
}

/// Has several times as much logged as a pipe holds, which is 64 KiB.
fn much_to_log(addr: SocketAddr) {
    let mut peer = Peer::new(addr);
    let shake = post(&json!({"channel": "/meta/handshake"}));
    for _ in 0..60 {
        // A line for each.
        peer.send(shake.repeat(50));
        for _ in 0..50 {
            assert_eq!(peer.response().json()[0]["successful"], true);
        }
    }
}

/// An event goes through.
fn works(addr: SocketAddr) {
    let mut peer = Peer::new(addr);
    let id = peer.session();
    peer.subscribe(&id, "/a");
    assert_eq!(peer.publish(&id, "/a", 1), json!({"channel": "/a", "successful": true}));
    assert_eq!(peer.say(&connect(&id)), json!([{"channel": "/a", "data": 1}, connected()]));
}

// --- The log.

#[test]
fn a_log_that_nobody_reads_stops_nothing_and_says_what_is_lost() {
    let mut command = talkative();
    command.stderr(Stdio::piped());
    let mut daemon = Plain::start(command);
    much_to_log(daemon.addr);
    works(daemon.addr);
    let mut pipe = BufReader::new(daemon.child.stderr.take().unwrap());
    let mut lines = String::new();
    // Each line is whole, those before the loss and those after it.
    while !lines.contains("lines of the log are lost: stderr took no more") {
        // The note stands before the next line that there is room for.
        daemon.signal("USR1");
        pipe.read_line(&mut lines).unwrap();
        assert!(lines.ends_with('\n'));
    }
    while !lines.contains("now: connections=") {
        pipe.read_line(&mut lines).unwrap();
    }
    assert!(lines.lines().all(|line| line.get(4..5) == Some("-") && line.get(23..25) == Some("Z ")), "{lines}");
}

#[test]
fn a_full_disk_under_the_log_stops_nothing() {
    let mut command = talkative();
    command.stderr(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let mut daemon = Plain::start(command);
    much_to_log(daemon.addr);
    works(daemon.addr);
    daemon.signal("TERM");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_of_the_log_that_goes_away_stops_nothing() {
    let mut command = talkative();
    command.stderr(Stdio::piped());
    let mut daemon = Plain::start(command);
    drop(daemon.child.stderr.take());
    much_to_log(daemon.addr);
    works(daemon.addr);
    daemon.signal("TERM");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
}

#[test]
fn without_a_stderr_it_serves() {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" --listen 127.0.0.1:0 2>&-", env!("CARGO_BIN_EXE_encke")]).env("RUST_LOG", "trace");
    without_settings(&mut command);
    let mut daemon = Plain::start(command);
    much_to_log(daemon.addr);
    works(daemon.addr);
    daemon.signal("TERM");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
}

// --- No files left.

/// Clients that ask, each on a connection of its own.
fn crowd(addr: SocketAddr, count: usize) -> Vec<Peer> {
    (0..count)
        .map(|_| {
            let mut peer = Peer::new(addr);
            peer.send(post(&json!([])));
            peer
        })
        .collect()
}

fn is_answered(peer: &Peer) -> bool {
    peer.stream.set_nonblocking(true).unwrap();
    let came = peer.stream.peek(&mut [0]).is_ok();
    peer.stream.set_nonblocking(false).unwrap();
    came
}

/// Takes out those who have their answers, once there are some.
fn served(waiting: &mut Vec<Peer>) -> Vec<Peer> {
    let mut done = eventually("somebody is served", || {
        let done: Vec<Peer> = waiting.extract_if(.., |peer| is_answered(peer)).collect();
        (!done.is_empty()).then_some(done)
    });
    for peer in &mut done {
        assert_eq!(peer.response().body, "[]");
    }
    done
}

/// Seconds of a processor that the daemon has used.
fn cpu(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn limit_files(pid: u32, files: usize) {
    // The soft limit only: not everyone may raise the hard one again.
    let limit = format!("--nofile={files}:");
    let set = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status().expect("prlimit runs");
    assert!(set.success(), "prlimit {limit}");
}

fn files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn without_files_it_waits_quietly_and_serves_each_who_waits_when_one_is_free() {
    // Nobody leaves by himself.
    let (process, addr) = Process::start(&["--idle-timeout", "1h"]);
    let pid = process.pid();
    limit_files(pid, files(pid) + 5);
    let mut waiting = crowd(addr, 30);
    let mut inside = served(&mut waiting);
    process.wait_for_log("accepting pauses with ");
    while inside.len() < 5 {
        inside.append(&mut served(&mut waiting));
    }
    // A loop that spins takes all that it gets of a processor; one that tries now and then, a thousandth.
    let before = cpu(pid);
    thread::sleep(Duration::from_secs(1));
    let used = cpu(pid) - before;
    assert!(used < 0.3, "{used} s");
    assert!(!waiting.iter().any(is_answered), "there is no room for more");
    // Room from elsewhere: nothing tells the daemon.
    limit_files(pid, files(pid) + 1);
    inside.append(&mut served(&mut waiting));
    // Room by those who leave: each who is served makes it for the next.
    while !waiting.is_empty() {
        drop(inside);
        inside = served(&mut waiting);
    }
    drop(inside);
    works(addr);
}

/// A daemon under strace, by which system calls fail. It is killed when this is dropped, and strace ends with it.
struct Traced {
    strace: Process,
    pid: String,
    addr: SocketAddr,
    trace: PathBuf,
}

impl Traced {
    /// `inject` is a system call and what is to become of it; the trace goes to a file of this name.
    fn start(inject: &str, name: &str) -> Self {
        let said = output_of("strace").map_err(|error| format!("strace --version: {error}"));
        let advice = format!("these tests need strace (Debian: apt-get install strace); {NO_STRACE}=1 leaves them out");
        assert!(said.is_ok(), "{said:?}; {advice}");
        let trace = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.trace"));
        let call = inject.split(':').next().unwrap();
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-e", &format!("trace={call}"), "-e", &format!("inject={inject}"), "-o"]).arg(&trace);
        // Killing strace would leave what it traces.
        command.args(["sh", "-c", "echo $$; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_encke")]);
        command.args(["--listen", "127.0.0.1:0"]);
        without_settings(&mut command);
        let (strace, mut lines) = Process::launch(command, 2);
        assert_eq!(lines.len(), 2, "{}", strace.log.text());
        let addr = lines[1].strip_prefix("encke listening on http://").unwrap().strip_suffix("/cometd").unwrap();
        Self { strace, addr: addr.parse().unwrap(), pid: lines.swap_remove(0), trace }
    }

    fn calls(&self) -> String {
        fs::read_to_string(&self.trace).unwrap()
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", "KILL", &self.pid]).stderr(Stdio::null()).status();
        self.strace.wait();
    }
}

#[test]
fn whatever_the_kernel_says_to_accept_the_daemon_goes_on() {
    for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPERM", "EPROTO"] {
        if left_out(NO_STRACE, error) {
            continue;
        }
        let daemon = Traced::start(&format!("accept4:error={error}:when=1..5"), error);
        works(daemon.addr);
        let calls = daemon.calls();
        assert_eq!(calls.matches("(INJECTED)").count(), 5, "{calls}");
    }
}

#[test]
fn while_each_accept_fails_it_tries_now_and_then() {
    if left_out(NO_STRACE, "each accept fails") {
        return;
    }
    let daemon = Traced::start("accept4:error=EMFILE", "each-accept");
    let start = Instant::now();
    let _waiting = crowd(daemon.addr, 10);
    let tries = || daemon.calls().matches("(INJECTED)").count();
    eventually("it tries again and again", || (tries() > 10).then_some(()));
    let (count, elapsed) = (tries(), start.elapsed());
    // 20 a second, and one for each who comes; a loop that spins, thousands.
    assert!(count as u128 <= 50 + elapsed.as_millis() / 10, "{count} in {elapsed:?}");
}

// --- Connections that break.

/// How a client goes away.
#[derive(Clone, Copy, Debug)]
enum Going {
    /// With a reset, whatever is on its way.
    Reset,
    /// With an end, which becomes a reset where something has not been read.
    Close,
    /// With an end of what it says first.
    Half,
}

fn go(peer: Peer, how: Going) {
    match how {
        Going::Reset => SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).unwrap(),
        Going::Close => {}
        // The daemon may have closed it already.
        Going::Half => drop(peer.stream.shutdown(Shutdown::Write)),
    }
}

const UPGRADE: &str = "GET /cometd HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A message as a WebSocket frame, masked with nothing.
fn frame(messages: &Value) -> Vec<u8> {
    let text = messages.to_string();
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&[0x81, 0xfe, length[0], length[1], 0, 0, 0, 0], text.as_bytes()].concat()
}

/// The session's connect by a connection type.
fn connect_by(id: &str, kind: &str) -> Value {
    json!({"channel": "/meta/connect", "clientId": id, "connectionType": kind})
}

/// What a client has sent when it goes: without a session, from nothing at all to many whole requests.
fn said_without_a_session() -> Vec<Vec<u8>> {
    let request = post(&json!([{"channel": "/meta/connect", "clientId": "nobody", "connectionType": "long-polling"}]));
    let head = request.find("\r\n\r\n").unwrap() + 4;
    let chunked = "POST /cometd HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cut = [0, 1, head - 3, head, head + 10, request.len()].map(|at| request[..at].to_owned());
    let more = [
        request.repeat(200),
        format!("{chunked}5"),
        format!("{chunked}5\r\n[  "),
        "GET /encke.js HTTP/1.1\r\nHost: h\r\n\r\n".repeat(50),
        "nonsense\r\n\r\n".to_owned(),
        UPGRADE[..UPGRADE.len() - 2].to_owned(),
        UPGRADE.to_owned(),
        "GET /events/a HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /events/a HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n".to_owned(),
        "GET /events/a HTTP/1.1\r\nHost: h\r\nAccept: application/x-ndjson\r\n\r\n".to_owned(),
        "GET /events/a HTTP/1.1\r\nHost: h\r\nAccept: multipart/x-mixed-replace\r\n\r\n".to_owned(),
    ];
    let sockets =
        [&[0x81][..], &[0x81, 0xfe, 0], &frame(&json!([]))[..9], &frame(&json!([])), &[0x89, 0x80, 0, 0, 0, 0]];
    let sockets = sockets.map(|bytes| [UPGRADE.as_bytes(), bytes].concat());
    cut.into_iter().chain(more).map(String::into_bytes).chain(sockets).collect()
}

/// The same of a client with a session that is subscribed to `/a`.
fn said_with(id: &str) -> Vec<Vec<u8>> {
    let stream = format!("GET /cometd/{id} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n");
    let held = post(&connect(id));
    let streaming = post(&connect_by(id, "streaming"));
    let socket = frame(&json!([connect_by(id, "websocket")]));
    let socket = [UPGRADE.as_bytes(), &socket].concat();
    let half = [&socket, &frame(&json!([{"channel": "/b", "clientId": id, "data": 1}]))[..20]].concat();
    let both = format!("{held}{}", post(&json!({"channel": "/a", "clientId": id, "data": 1})));
    vec![held.into_bytes(), both.into_bytes(), streaming.into_bytes(), stream.into_bytes(), socket, half]
}

/// A client that goes while events are on their way to it, and has answered none of them. Returns its session.
fn flooded(daemon: &Plain, said: impl Fn(&str) -> Vec<u8>, how: Going) -> String {
    let (mut down, mut up) = (Peer::new(daemon.addr), Peer::new(daemon.addr));
    let id = down.session();
    up.subscribe(&id, "/a");
    down.send(said(&id));
    let event = json!({"channel": "/a", "clientId": id, "data": "x".repeat(10_000)});
    for _ in 0..4 {
        let replies = up.say(&Value::from(vec![event.clone(); 20]));
        assert!(replies.as_array().unwrap().iter().all(|reply| reply["successful"] == true));
    }
    go(down, how);
    up.say(&event);
    id
}

fn unharmed(daemon: &mut Plain, bystander: &mut Peer) {
    assert_eq!(bystander.exchange(post(&json!([]))).body, "[]");
    assert!(daemon.child.try_wait().unwrap().is_none());
}

#[test]
fn whenever_and_however_connections_break_nothing_is_left_of_them() {
    let (log, mut command) = (Log::default(), encke());
    // What remains of a connection is not to end by itself.
    command.args(["--listen", "127.0.0.1:0", "--timeout", "1h", "--max-interval", "1h", "--head-timeout", "1h"]);
    command.stderr(Stdio::piped());
    let mut daemon = Plain::start(command);
    let (sink, stderr) = (log.clone(), daemon.child.stderr.take().unwrap());
    thread::spawn(move || sink.copy_from(stderr));
    let (mut bystander, mut sessions) = (Peer::new(daemon.addr), Vec::new());
    for how in [Going::Reset, Going::Close, Going::Half] {
        for said in said_without_a_session() {
            let mut peer = Peer::new(daemon.addr);
            peer.send(said);
            go(peer, how);
        }
        unharmed(&mut daemon, &mut bystander);
        for at in 0..said_with("").len() {
            let (mut down, mut up) = (Peer::new(daemon.addr), Peer::new(daemon.addr));
            let id = down.session();
            up.subscribe(&id, "/a");
            down.send(said_with(&id).swap_remove(at));
            go(down, how);
            sessions.extend([id, flooded(&daemon, |id| said_with(id).swap_remove(at), how)]);
        }
        unharmed(&mut daemon, &mut bystander);
    }
    for id in sessions {
        bystander.say(&json!({"channel": "/meta/disconnect", "clientId": id}));
    }
    drop(bystander);
    let rest = "now: connections=0 sessions=0 parked=0 channels=0 browsers=0 queued-bytes=0 unsent-bytes=0 \
        received-bytes=0 kept=0 kept-bytes=0";
    eventually("nothing is left", || {
        daemon.signal("USR1");
        log.text().contains(rest).then_some(())
    });
    works(daemon.addr);
    assert!(!log.text().contains("a bug in encke"), "{}", log.text());
}

// --- A process that is stopped.

#[test]
fn what_comes_while_the_process_is_stopped_is_done_when_it_goes_on() {
    let (process, addr) = Process::start(PATIENT);
    let mut clients: Vec<(Peer, Peer, String)> = (0..20)
        .map(|_| {
            let (mut down, mut up) = (Peer::new(addr), Peer::new(addr));
            let shake = json!({"channel": "/meta/handshake", "ext": {"ack": true}});
            let id = down.say(&shake)[0]["clientId"].as_str().unwrap().to_owned();
            down.say(&acknowledge(&id, 0));
            up.subscribe(&id, "/a");
            (down, up, id)
        })
        .collect();
    let (_, publisher, id) = &mut clients[0];
    publisher.publish(id, "/a", 0);
    let half = post(&json!([]));
    let mut slow = Peer::new(addr);
    slow.exchange(&half);
    slow.send(&half[..20]);
    process.signal("STOP");
    for n in 1..10 {
        publisher.send(post(&json!({"channel": "/a", "clientId": id, "data": n})));
    }
    for (down, _, id) in &mut clients {
        down.send(post(&acknowledge(id, 0)));
    }
    slow.send(&half[20..]);
    process.signal("CONT");
    assert_eq!(slow.response().body, "[]");
    for (down, _, id) in &mut clients {
        let (mut heard, mut replies) = (Vec::new(), down.response().json());
        while heard.len() < 10 {
            let last = replies.as_array().unwrap().last().unwrap().clone();
            assert_eq!((&last["channel"], &last["successful"]), (&json!("/meta/connect"), &json!(true)), "{replies}");
            let events = replies.as_array().unwrap().iter().filter(|message| message["channel"] == "/a");
            heard.extend(events.map(|event| event["data"].as_i64().unwrap()));
            if heard.len() < 10 {
                replies = down.say(&acknowledge(id, last["ext"]["ack"].as_i64().unwrap()));
            }
        }
        assert_eq!(heard, (0..10).collect::<Vec<i64>>());
    }
}

/// A connect that acknowledges so many batches.
fn acknowledge(id: &str, batch: i64) -> Value {
    json!({"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling", "ext": {"ack": batch}})
}

// --- Bugs.

#[test]
fn a_panic_beyond_a_peers_bytes_ends_the_daemon_with_a_last_line_that_says_so() {
    if left_out(NO_STRACE, "a panic") {
        return;
    }
    // Without random bytes there can be no secrets, and it panics. Those that it needs to start, it gets.
    let started = Traced::start("getrandom:delay_enter=0", "randomness");
    let needed = started.calls().matches("getrandom(").count();
    drop(started);
    let mut daemon = Traced::start(&format!("getrandom:error=EIO:when={}+", needed + 1), "no-randomness");
    let mut bystander = Peer::new(daemon.addr);
    assert_eq!(bystander.exchange(post(&json!([]))).body, "[]");
    let mut peer = Peer::new(daemon.addr);
    peer.send(post(&json!({"channel": "/meta/handshake"})));
    assert!(bystander.breaks() && peer.breaks());
    assert_eq!(daemon.strace.wait().code(), Some(101));
    let log = eventually("the last line", || {
        let log = daemon.strace.log.text();
        log.contains("please report it").then_some(log)
    });
    let [.., told, last] = log.lines().collect::<Vec<_>>()[..] else { panic!("{log}") };
    assert!(told.contains(" ERROR a bug in encke: panicked at src/server/builder.rs:"), "{log}");
    assert_eq!(last, "encke: ended by the bug that the log tells of; please report it");
}

/// A policy with a bug.
struct Careless;

impl SecurityPolicy for Careless {
    fn can_subscribe(&mut self, _: &Query<'_>, _: &mut Session<'_>, name: &str) -> Verdict {
        assert_ne!(name, "/boom", "planted");
        Verdict::Allow
    }
}

const EMBEDDER: &str = "ENCKE_TEST_EMBEDDER";

/// Not a test but the program of the next one: a server within another program.
#[test]
fn embedder() {
    if std::env::var_os(EMBEDDER).is_some() {
        let server =
            Server::builder().listen([SocketAddr::from(([127, 0, 0, 1], 0))]).hooks(Hooks::default().policy(Careless));
        let server = server.build().unwrap();
        println!("\n@@{}", server.addresses()[0]);
        server.run().unwrap();
    }
}

#[test]
fn a_panic_in_an_embedders_policy_is_not_swallowed() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "embedder", "--nocapture"]).env(EMBEDDER, "1");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let addr = lines.find_map(|line| line.unwrap().strip_prefix("@@").map(|addr| addr.parse().unwrap())).unwrap();
    works(addr);
    let mut peer = Peer::new(addr);
    let id = peer.session();
    peer.send(post(&json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/boom"})));
    assert!(peer.breaks());
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("panicked at tests/faults.rs") && said.contains("planted"), "{said}");
}
