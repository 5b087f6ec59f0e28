//! How the daemon ends, and what it tells those who ask after it: draining, health, counts.

#![cfg(all(feature = "daemon", unix))]

mod common;

use common::peer::{PATIENT, Peer, connect, eventually, post};
use common::process::Process;
use serde_json::json;

/// The reply that a held connect ends with when the daemon ends.
fn farewell(timeout_ms: u64) -> serde_json::Value {
    let advice = json!({"reconnect": "retry", "interval": 0, "timeout": timeout_ms});
    json!([{"channel": "/meta/connect", "successful": true, "advice": advice}])
}

fn health(peer: &mut Peer) -> (u16, String) {
    let response = peer.exchange("GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    (response.status, response.body)
}

/// A client whose connect is held.
fn held(addr: std::net::SocketAddr) -> Peer {
    let mut peer = Peer::new(addr);
    let id = peer.session();
    peer.send(post(&connect(&id)));
    peer
}

/// Waits until so many connects are held, as the counts in the log say.
fn wait_until_held(process: &Process, count: usize) {
    let text = format!("parked={count} ");
    eventually("all are held", || {
        process.signal("USR1");
        process.log.text().contains(&text).then_some(())
    });
}

#[test]
fn a_thousand_clients_are_told_to_go() {
    // A hundred a second, and then there is as much time again for the last of them to take their answers.
    for (signal, clients, spread) in [("TERM", 1_000, 10), ("INT", 100, 1)] {
        let (mut process, addr) = Process::start(&["--timeout", "1h", "--shutdown-timeout", "20s"]);
        let mut peers: Vec<Peer> = (0..clients).map(|_| held(addr)).collect();
        wait_until_held(&process, clients);
        process.signal(signal);
        for peer in &mut peers {
            let response = peer.response();
            assert_eq!((response.json(), response.field("Connection")), (farewell(3_600_000), Some("close")));
        }
        drop(peers);
        assert_eq!(process.wait().code(), Some(0), "{signal}");
        let ending = format!("ending: {clients} held connects are answered over {spread}s, clients may take 20s");
        process.wait_for_log(&ending);
        process.wait_for_log("stopped, no connection was cut off");
    }
}

#[test]
fn while_it_ends_it_accepts_nobody_and_says_so_to_those_who_are_connected() {
    let (mut process, addr) = Process::start(&["--timeout", "1h", "--shutdown-timeout", "1h", "--head-timeout", "1h"]);
    let mut monitor = Peer::new(addr);
    assert_eq!(health(&mut monitor), (200, "ok\n".to_owned()));
    let mut client = held(addr);
    // Half a request is waited for.
    let mut slow = Peer::new(addr);
    slow.send("POST /cometd HTTP/1.1\r\n");
    wait_until_held(&process, 1);
    process.signal("TERM");
    process.wait_for_log("ending: 1 held connects");
    assert_eq!(health(&mut monitor), (503, "ending\n".to_owned()));
    eventually("nobody is accepted", || std::net::TcpStream::connect(addr).is_err().then_some(()));
    assert_eq!(client.response().json(), farewell(3_600_000));
    drop((client, monitor, slow));
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut process, addr) = Process::start(&["--timeout", "1h", "--shutdown-timeout", "1h"]);
    let mut slow = Peer::new(addr);
    slow.send("POST /cometd HTTP/1.1\r\n");
    let mut more: Vec<Peer> = (0..3).map(|_| held(addr)).collect();
    wait_until_held(&process, 3);
    process.signal("TERM");
    for peer in &mut more {
        peer.response();
    }
    assert!(process.is_running());
    process.signal("INT");
    assert_eq!(process.wait().code(), Some(0));
    process.wait_for_log("stopped, 1 connection was cut off");
}

#[test]
fn it_ends_when_the_time_is_up_whoever_is_there() {
    let (mut process, addr) = Process::start(&["--shutdown-timeout", "100ms"]);
    let mut slow = Peer::new(addr);
    slow.send("POST /cometd HTTP/1.1\r\n");
    wait_until_held(&process, 0);
    process.signal("TERM");
    process.wait_for_log("ending: clients may take 100ms; another signal ends at once");
    assert_eq!(process.wait().code(), Some(0));
    process.wait_for_log("stopped, 1 connection was cut off");
}

#[test]
fn without_time_to_leave_one_signal_ends_it() {
    let (mut process, addr) = Process::start(&["--shutdown-timeout", "0"]);
    let mut peer = held(addr);
    wait_until_held(&process, 1);
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    assert!(peer.breaks());
}

#[test]
fn sigusr1_logs_counts() {
    let (process, addr) = Process::start(PATIENT);
    let mut peer = Peer::new(addr);
    let id = peer.session();
    peer.subscribe(&id, "/a");
    peer.publish(&id, "/a", 1);
    assert_eq!(peer.exchange("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n").status, 404);
    process.signal("USR1");
    process.wait_for_log("now: connections=1 sessions=1 parked=0 channels=1 browsers=1 queued-bytes=");
    process.wait_for_log("since the start: sessions=1 published=1 delivered=0 ");
    process.wait_for_log("unknown-request=1 ");
}
