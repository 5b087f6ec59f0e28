//! Peers who do not speak TLS, stop in the middle, or do not take what they asked for.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::thread;

use rustls::StreamOwned;
use rustls::version::{TLS12, TLS13};
use socket2::{Domain, Socket, Type};

use super::common::node::left_out;
use super::common::peer::{LIMIT, PAUSE, eventually};
use super::common::process::Process;
use super::common::without_settings;
use super::{Folder, HEALTH, Peer, address, hello, socket};

/// Asks for a file that takes several records.
const SCRIPT: &str = "GET /encke.js HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The first bytes of a client.
fn first_flight(folder: &Folder) -> Vec<u8> {
    let mut bytes = Vec::new();
    hello(&folder.client(&TLS13)).write_tls(&mut bytes).unwrap();
    bytes
}

/// Whether a connection ends, be it by a reset, after at most so many bytes.
fn ends_after(stream: &mut impl Read, most: usize) -> bool {
    let mut came = 0;
    loop {
        match stream.read(&mut [0; 4_096]) {
            Ok(0) => return came <= most,
            Ok(n) => came += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

/// How many connections are open, as the log tells when it is asked.
fn connections(process: &Process) -> usize {
    reported(process, "connections")
}

/// One of the numbers that the log tells when it is asked.
fn reported(process: &Process, name: &str) -> usize {
    let reports = || process.log.text().matches("INFO  now: connections=").count();
    let before = reports();
    process.signal("USR1");
    eventually("it reports", || (reports() > before).then_some(()));
    let log = process.log.text();
    let (_, last) = log.rsplit_once("INFO  now: ").unwrap();
    let words = last.lines().next().unwrap().split(' ');
    let mut values = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    values.next().unwrap().parse().unwrap()
}

#[test]
fn a_client_that_stops_in_the_middle_of_a_handshake_is_shed() {
    let folder = Folder::new();
    let (process, addr) = folder.serve(&["--head-timeout", "500ms", "--idle-timeout", "1h"]);
    let flight = first_flight(&folder);
    // Before its first message is whole, and after it.
    for end in [1, flight.len() / 2, flight.len()] {
        let mut stream = socket(addr);
        stream.write_all(&flight[..end]).unwrap();
        assert!(ends_after(&mut stream, 16 * 1024), "{end}");
    }
    process.wait_for_log("a TLS handshake failed: from 127.0.0.1: the handshake did not end in time");
}

#[test]
fn a_handshake_has_an_end_however_slowly_it_goes_on() {
    let folder = Folder::new();
    let (process, addr) = folder.serve(&["--head-timeout", "500ms", "--idle-timeout", "1h"]);
    let mut stream = socket(addr);
    // A message of 16 KiB, of which a byte comes now and then.
    stream.write_all(&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc]).unwrap();
    eventually("it is cut off", || {
        thread::sleep(PAUSE);
        stream.write_all(&[0]).is_err().then_some(())
    });
    process.wait_for_log("the handshake did not end in time");
}

#[test]
fn a_handshake_and_a_request_may_come_byte_by_byte() {
    let folder = Folder::new();
    let (_process, addr) = folder.serve(&["--head-timeout", "5m"]);
    for version in [&TLS12, &TLS13] {
        let (mut client, mut stream) = (hello(&folder.client(version)), socket(addr));
        client.writer().write_all(HEALTH.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            for byte in bytes {
                stream.write_all(&[byte]).unwrap();
            }
            let came = loop {
                match client.read_tls(&mut stream) {
                    // A child of the tests that ends may interrupt any wait.
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    came => break came.unwrap(),
                }
            };
            assert!(came > 0, "it goes on");
            client.process_new_packets().unwrap();
            let mut part = [0; 4_096];
            while let Ok(n @ 1..) = client.reader().read(&mut part) {
                answer.extend_from_slice(&part[..n]);
            }
        }
    }
}

#[test]
fn plain_http_is_told_where_it_is() {
    let folder = Folder::new();
    let (process, addr) = folder.serve(&[]);
    for request in [HEALTH, "POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n[]", "G"] {
        let mut stream = socket(addr);
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert!(
            answer.ends_with("\r\n\r\nThis port speaks TLS: write https:// or wss:// in place of http:// or ws://\n")
        );
    }
    process.wait_for_log("a TLS handshake failed: from 127.0.0.1: 400 This port speaks TLS");
}

#[test]
fn nonsense_is_answered_with_an_alert_and_not_logged_each_time() {
    let folder = Folder::new();
    let (process, addr) = folder.serve(&[]);
    let before = connections(&process);
    let flight = first_flight(&folder);
    for at in 0..40 {
        let mut stream = socket(addr);
        let mut bytes = flight.clone();
        // The version of the record, its type, or its content is no good.
        match at % 4 {
            0 => bytes[0] = 0xff,
            1 => bytes[5] = 0x77,
            2 => bytes[0] = 23,
            _ => bytes = vec![0; 100],
        }
        stream.write_all(&bytes).unwrap();
        let mut alert = Vec::new();
        // Where the alert is lost to a reset, the connection has ended all the same.
        let _ = stream.read_to_end(&mut alert);
        assert!(alert.is_empty() || (alert[0] == 21 && alert.len() == 7), "{at}: {alert:?}");
    }
    eventually("all are gone", || (connections(&process) == before).then_some(()));
    process.wait_for_log(" tls=40 ");
    let log = process.log.text();
    // Once a minute, however long all of it takes.
    assert!(log.matches("a TLS handshake failed").count() < 10, "{log}");
}

#[test]
fn who_connects_and_says_nothing_is_no_failure() {
    let folder = Folder::new();
    let (process, addr) = folder.serve(&["--head-timeout", "500ms", "--idle-timeout", "1h"]);
    let mut silent = socket(addr);
    assert!(ends_after(&mut silent, 0));
    drop(socket(addr));
    eventually("all are gone", || (connections(&process) == 0).then_some(()));
    assert!(!process.log.text().contains("a TLS handshake failed"), "{}", process.log.text());
}

#[test]
fn a_peer_that_takes_nothing_is_shed() {
    let folder = Folder::new();
    let (process, addr) = folder.serve(&["--write-timeout", "500ms", "--idle-timeout", "1h"]);
    for version in [&TLS12, &TLS13] {
        let mut peer = Peer::new(&folder.client(version), addr);
        // Far more than the buffers of both sides take.
        let ask = SCRIPT.repeat(100);
        // It may be shed before it has asked for all.
        let _ = (0..10).try_for_each(|_| peer.0.write_all(ask.as_bytes()));
        eventually("it is gone", || (connections(&process) == 0).then_some(()));
    }
}

/// Asks for the module until the server has more of it than the socket takes, and reads all of it only then.
fn takes_what_waits(process: &Process, peer: &mut Peer, script: &str) {
    let mut asked = 0;
    // The first of two looks may have been in the middle of writing.
    while asked == 0 || (0..2).any(|_| reported(process, "unsent-bytes") == 0) {
        peer.send(&SCRIPT.repeat(16));
        asked += 16;
    }
    for _ in 0..asked {
        assert!(peer.response().1 == script);
    }
}

#[test]
fn a_peer_that_reads_late_gets_all_of_it() {
    let folder = Folder::new();
    let (process, addr) = folder.serve(&["--write-timeout", "1h"]);
    for version in [&TLS12, &TLS13] {
        let mut peer = Peer::new(&folder.client(version), addr);
        let (_, script) = peer.exchange(SCRIPT);
        takes_what_waits(&process, &mut peer, &script);
    }
}

/// Sends a record but for its last byte.
fn send_in_part(peer: &mut Peer) {
    let mut bytes = Vec::new();
    peer.0.conn.writer().write_all(&[b'x'; 16_000]).unwrap();
    peer.0.conn.write_tls(&mut bytes).unwrap();
    peer.0.sock.write_all(&bytes[..bytes.len() - 1]).unwrap();
}

#[test]
fn part_of_a_record_is_counted_until_its_peer_has_gone() {
    let folder = Folder::new();
    let (process, addr) = folder.serve(&["--head-timeout", "1h", "--idle-timeout", "1h"]);
    for version in [&TLS12, &TLS13] {
        let mut peer = Peer::new(&folder.client(version), addr);
        assert_eq!(peer.exchange(HEALTH).1, "ok\n");
        send_in_part(&mut peer);
        eventually("it is counted", || (reported(&process, "received-bytes") >= 16_000).then_some(()));
        drop(peer);
        eventually("nothing is left of it", || (reported(&process, "received-bytes") == 0).then_some(()));
    }
}

#[test]
fn part_of_a_record_has_the_time_of_a_head() {
    let folder = Folder::new();
    let file = folder.write("encke.toml", "head-timeout = \"1h\"\n");
    let (process, addr) = folder.serve(&["--config", &file, "--idle-timeout", "1h"]);
    let mut peers = [&TLS12, &TLS13].map(|version| Peer::new(&folder.client(version), addr));
    for peer in &mut peers {
        assert_eq!(peer.exchange(HEALTH).1, "ok\n");
    }
    // Only now, for handshakes have the time of a head as well.
    folder.write("encke.toml", "head-timeout = \"200ms\"\n");
    process.signal("HUP");
    process.wait_for_log("head-timeout is now 200ms");
    for mut peer in peers {
        send_in_part(&mut peer);
        assert!(peer.response().0.starts_with("HTTP/1.1 408 "));
        assert!(peer.ends_well());
    }
    eventually("nothing is left of it", || (reported(&process, "received-bytes") == 0).then_some(()));
}

#[test]
fn a_request_and_goodbye_at_once_are_answered_with_both() {
    let folder = Folder::new();
    let (_process, addr) = folder.serve(&[]);
    for version in [&TLS12, &TLS13] {
        let mut peer = Peer::new(&folder.client(version), addr);
        assert_eq!(peer.exchange(HEALTH).1, "ok\n");
        let mut bytes = Vec::new();
        peer.0.conn.writer().write_all(HEALTH.as_bytes()).unwrap();
        peer.0.conn.send_close_notify();
        while peer.0.conn.wants_write() {
            peer.0.conn.write_tls(&mut bytes).unwrap();
        }
        peer.0.sock.write_all(&bytes).unwrap();
        assert_eq!(peer.response().1, "ok\n");
        assert!(peer.ends_well(), "a close_notify, and nothing else");
    }
}

#[test]
fn a_peer_with_little_room_gets_all_of_it_as_it_takes_it() {
    let folder = Folder::new();
    let (process, addr) = folder.serve(&["--write-timeout", "1h"]);
    for version in [&TLS12, &TLS13] {
        let (_, script) = Peer::new(&folder.client(version), addr).exchange(SCRIPT);
        let narrow = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        narrow.set_recv_buffer_size(4 * 1024).unwrap();
        narrow.set_read_timeout(Some(LIMIT)).unwrap();
        narrow.connect(&addr.into()).unwrap();
        let mut peer = Peer(StreamOwned::new(hello(&folder.client(version)), narrow.into()));
        // What waits here is in the hands of the socket's readiness: nothing more is asked for.
        takes_what_waits(&process, &mut peer, &script);
    }
}

/// A process that would outlive the strace that started it. It ends, by its own pid, when this is dropped.
struct Traced<'a>(&'a str);

impl Drop for Traced<'_> {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", "KILL", self.0]).status();
    }
}

#[test]
fn a_read_that_is_interrupted_is_done_again() {
    if left_out("ENCKE_SKIP_STRACE", "TLS and interrupted reads") {
        return;
    }
    let folder = Folder::new();
    let mut command = Command::new("strace");
    command.args(["-f", "-q", "-e", "trace=recvfrom", "-e", "inject=recvfrom:error=EINTR:when=1+2", "-o", "/dev/null"]);
    // Killing strace would leave what it traces.
    command.args(["sh", "-c", "echo $$; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_encke")]);
    without_settings(&mut command);
    command.args(["--listen", "tls:127.0.0.1:0"]).args(folder.options());
    let (mut strace, lines) = Process::launch(command, 2);
    assert_eq!(lines.len(), 2, "strace is needed (Debian: apt-get install strace): {}", strace.log.text());
    let traced = Traced(&lines[0]);
    for version in [&TLS12, &TLS13] {
        assert_eq!(Peer::new(&folder.client(version), address(&lines[1])).exchange(HEALTH).1, "ok\n");
    }
    drop(traced);
    strace.wait();
}

#[test]
fn records_that_were_tampered_with_end_their_connection_only() {
    let folder = Folder::new();
    let (mut process, addr) = folder.serve(&[]);
    let mut good = Peer::new(&folder.client(&TLS13), addr);
    assert_eq!(good.exchange(HEALTH).1, "ok\n");
    for version in [&TLS12, &TLS13] {
        let mut peer = Peer::new(&folder.client(version), addr);
        assert_eq!(peer.exchange(HEALTH).1, "ok\n");
        let mut bytes = Vec::new();
        peer.0.conn.writer().write_all(HEALTH.as_bytes()).unwrap();
        peer.0.conn.write_tls(&mut bytes).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        peer.0.sock.write_all(&bytes).unwrap();
        let error = peer.0.read(&mut [0; 64]).unwrap_err();
        assert!(error.to_string().contains("BadRecordMac"), "{error}");
    }
    assert_eq!(good.exchange(HEALTH).1, "ok\n");
    assert!(process.is_running());
}
