//! What the machine, the operating system and bad luck do to a daemon: no files left, no buffers, connections that break
//! at any point, a log that takes nothing, a process that is stopped for a while, and bugs.
//!
//! Each is done to a real process. What takes long or many is in `tests/hostile`.

#![cfg(all(feature = "daemon", target_os = "linux"))]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::node::left_out;
use common::peer::{PATIENT, Peer, connect, connected, eventually, glance, post};
use common::process::Process;
use common::{Daemon, encke, without_settings};
use serde_json::{Value, json};

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

/// Has something logged a few thousand times.
fn much_to_log(addr: SocketAddr) {
    let mut peer = Peer::new(addr);
    for _ in 0..40 {
        let messages: Vec<Value> = (0..100).map(|_| json!({"channel": "/meta/handshake"})).collect();
        let replies = peer.say(&Value::from(messages));
        assert!(replies.as_array().unwrap().iter().all(|reply| reply["successful"] == true));
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
    // Pipes hold 64 KiB; this is several times as much.
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
