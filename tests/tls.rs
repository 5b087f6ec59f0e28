//! The daemon with TLS of its own, spoken to by a TLS library that is not wired to it, and by peers who do not speak TLS
//! or stop in the middle.
//!
//! No test asserts how long something takes. Waits are bounded, generously, so that a fault is an error and not a hang.

#![cfg(all(feature = "daemon", feature = "tls", unix))]

mod common;
#[path = "tls/hostile.rs"]
mod hostile;
#[path = "tls/settings.rs"]
mod settings;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use common::encke;
use common::peer::{LIMIT, connect, eventually, post, post_with};
use common::process::Process;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use serde_json::{Value, json};

/// A folder with an authority of its own. It goes when this is dropped.
struct Folder {
    files: common::folder::Folder,
    authority: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Folder {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().der().clone();
        let files = common::folder::Folder::new();
        let folder = Self { files, authority: Issuer::new(params, key), root };
        folder.certify("localhost");
        folder
    }

    fn path(&self, name: &str) -> String {
        self.files.path(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        self.files.write(name, text)
    }

    /// Puts a certificate for this machine and that name into the files that the daemon reads, and its key.
    fn certify(&self, name: &str) {
        self.certify_with(|params| params.subject_alt_names = sans(name));
    }

    fn certify_with(&self, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = sans("localhost");
        change(&mut params);
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        self.write("cert.pem", &certificate.pem());
        self.write("key.pem", &key.serialize_pem());
    }

    /// The options that name the files.
    fn options(&self) -> Vec<String> {
        ["--tls-certificate", &self.path("cert.pem"), "--tls-key", &self.path("key.pem")].map(str::to_owned).into()
    }

    /// The daemon on a free port, with TLS and these options; and where it listens.
    fn serve(&self, options: &[&str]) -> (Process, SocketAddr) {
        let mut command = encke();
        command.env("RUST_LOG", "encke=debug").args(["--listen", "tls:127.0.0.1:0"]).args(self.options()).args(options);
        let (process, lines) = Process::launch(command, 1);
        (process, address(&lines[0]))
    }

    /// What a client trusts that trusts our authority alone.
    fn client(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots).with_no_client_auth()
    }
}

fn sans(name: &str) -> Vec<SanType> {
    ["localhost", name].map(|name| SanType::DnsName(name.try_into().unwrap())).into()
}

/// The address in the line that says where the daemon listens.
fn address(line: &str) -> SocketAddr {
    let url = line.strip_prefix("encke listening on https://").unwrap_or_else(|| panic!("{line}"));
    url.strip_suffix("/cometd").unwrap().parse().unwrap()
}

fn socket(addr: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(addr).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.set_write_timeout(Some(LIMIT)).unwrap();
    socket
}

fn hello(config: &ClientConfig) -> ClientConnection {
    hello_to(config, "localhost")
}

fn hello_to(config: &ClientConfig, name: &'static str) -> ClientConnection {
    ClientConnection::new(Arc::new(config.clone()), ServerName::try_from(name).unwrap()).unwrap()
}

/// One TLS connection to the daemon.
struct Peer(StreamOwned<ClientConnection, TcpStream>);

impl Peer {
    fn new(config: &ClientConfig, addr: SocketAddr) -> Self {
        Self(StreamOwned::new(hello(config), socket(addr)))
    }

    fn send(&mut self, request: &str) {
        self.0.write_all(request.as_bytes()).unwrap();
        self.0.flush().unwrap();
    }

    /// The next response: its head, and its body.
    fn response(&mut self) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.byte());
        }
        let head = String::from_utf8(head).unwrap();
        let length =
            head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.0.read_exact(&mut byte).unwrap();
        byte[0]
    }

    fn exchange(&mut self, request: &str) -> (String, String) {
        self.send(request);
        self.response()
    }

    /// Messages, and the replies to them.
    fn say(&mut self, messages: &Value) -> Value {
        let (head, body) = self.exchange(&post(messages));
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// A session that is subscribed to this channel, and connected once.
    fn session(&mut self, channel: &str) -> String {
        let shake = json!({"channel": "/meta/handshake", "supportedConnectionTypes": ["long-polling"]});
        let id = self.say(&shake)[0]["clientId"].as_str().unwrap().to_owned();
        let subscribe = json!({"channel": "/meta/subscribe", "clientId": id, "subscription": channel});
        assert_eq!(self.say(&subscribe)[0]["successful"], true);
        assert_eq!(self.say(&connect(&id))[0]["successful"], true);
        id
    }

    /// Whether the end of the connection is one in the terms of TLS, with nothing before it.
    fn ends_well(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 64]), Ok(0))
    }

    fn is_resumed(&self) -> bool {
        self.0.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn tls_1_2_and_1_3_are_spoken_and_http_1_1_over_them() {
    let folder = Folder::new();
    let (_process, addr) = folder.serve(&[]);
    for (version, name) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let mut config = folder.client(version);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut peer = Peer::new(&config, addr);
        let (head, body) = peer.exchange(HEALTH);
        assert!(head.starts_with("HTTP/1.1 200 ") && body == "ok\n", "{head}{body}");
        assert_eq!(peer.0.conn.protocol_version(), Some(name));
        assert_eq!(peer.0.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        // And again on the same connection, two at once.
        peer.send(&HEALTH.repeat(2));
        assert_eq!((peer.response().1, peer.response().1), ("ok\n".to_owned(), "ok\n".to_owned()));
    }
}

#[test]
fn what_speaks_no_http_1_1_is_refused_in_the_handshake() {
    let folder = Folder::new();
    let (process, addr) = folder.serve(&[]);
    let mut config = folder.client(&TLS13);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut peer = Peer::new(&config, addr);
    let error = peer.0.write_all(HEALTH.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    process.wait_for_log("a TLS handshake failed: from 127.0.0.1: ");
}

#[test]
fn an_event_goes_from_a_tls_client_to_a_plain_one_and_back() {
    let folder = Folder::new();
    let mut command = encke();
    command.args(["--listen", "tls:127.0.0.1:0,127.0.0.1:0"]).args(folder.options());
    let (_process, lines) = Process::launch(command, 2);
    let plain = lines[1].strip_prefix("encke listening on http://").unwrap().strip_suffix("/cometd").unwrap();
    let mut plain = common::peer::Peer::new(plain.parse().unwrap());
    let mut secret = Peer::new(&folder.client(&TLS13), address(&lines[0]));
    let id = secret.session("/from-plain");
    secret.send(&post(&connect(&id)));
    let other = plain.session();
    plain.subscribe(&other, "/from-secret");
    assert_eq!(plain.publish(&other, "/from-plain", "hello")["successful"], true);
    let answer: Value = serde_json::from_str(&secret.response().1).unwrap();
    assert_eq!(answer[0]["data"], "hello", "{answer}");
    plain.send(post(&connect(&other)));
    secret.say(&json!({"channel": "/from-secret", "clientId": id, "data": "and back"}));
    assert_eq!(plain.response().json()[0]["data"], "and back");
}

#[test]
fn what_takes_many_records_arrives_whole() {
    let folder = Folder::new();
    let (_process, addr) = folder.serve(&[]);
    for version in [&TLS12, &TLS13] {
        let config = folder.client(version);
        let (mut down, mut up) = (Peer::new(&config, addr), Peer::new(&config, addr));
        let (one, two) = (down.session("/big"), up.session("/none"));
        down.send(&post(&connect(&one)));
        let text: String = (0..20_000).map(|n| format!("{n} ")).collect();
        let reply = up.say(&json!({"channel": "/big", "clientId": two, "data": text}));
        assert_eq!(reply[0]["successful"], true);
        let answer: Value = serde_json::from_str(&down.response().1).unwrap();
        assert!(answer[0]["data"] == text, "{} bytes", answer[0]["data"].as_str().unwrap_or_default().len());
    }
}

#[test]
fn a_cookie_is_kept_to_https_and_pages_of_plain_http_are_others() {
    let folder = Folder::new();
    let (process, addr) = folder.serve(&[]);
    let mut peer = Peer::new(&folder.client(&TLS13), addr);
    let shake = r#"{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]}"#;
    let from = |origin: &str| post_with(&format!("Origin: {origin}\r\n"), shake);
    let (head, _) = peer.exchange(&from("https://h"));
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let cookie = head.lines().find(|line| line.starts_with("Set-Cookie: ")).unwrap();
    assert!(cookie.ends_with("; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    let (head, body) = peer.exchange(&from("http://h"));
    assert!(
        head.starts_with("HTTP/1.1 403 ") && body.starts_with("Origin http://h may not use Host h"),
        "{head}{body}"
    );
    process.wait_for_log("refused a cross-site request: from 127.0.0.1");
    // A proxy that itself came by TLS may say that its client did not.
    let plain = post_with("Origin: http://h\r\nX-Forwarded-Proto: http\r\n", shake);
    let (head, _) = peer.exchange(&plain);
    assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("Secure"), "{head}");
}

#[test]
fn clients_resume_their_sessions_after_a_reload_too() {
    let folder = Folder::new();
    let (process, addr) = folder.serve(&[]);
    for version in [&TLS12, &TLS13] {
        let config = folder.client(version);
        let kind = |addr| {
            let mut peer = Peer::new(&config, addr);
            assert_eq!(peer.exchange(HEALTH).1, "ok\n");
            peer.is_resumed()
        };
        assert!(!kind(addr), "the first time there is nothing to resume");
        assert!(kind(addr) && kind(addr));
        let reloads = || process.log.text().matches("new connections are shown the same certificate as before").count();
        let before = reloads();
        process.signal("HUP");
        eventually("it is read again", || (reloads() > before).then_some(()));
        assert!(kind(addr), "the tickets of before are good still");
    }
}

#[test]
fn a_new_certificate_is_shown_to_new_connections_and_open_ones_go_on() {
    let folder = Folder::new();
    let (process, addr) = folder.serve(&[]);
    let mut config = folder.client(&TLS13);
    config.resumption = Resumption::disabled();
    let shown = || {
        let mut peer = Peer::new(&config, addr);
        assert_eq!(peer.exchange(HEALTH).1, "ok\n");
        peer.0.conn.peer_certificates().unwrap()[0].clone()
    };
    let of_file = || CertificateDer::from_pem_file(folder.path("cert.pem")).unwrap();
    let first = of_file();
    let mut open = Peer::new(&config, addr);
    let id = open.session("/chat");
    open.send(&post(&connect(&id)));
    assert_eq!(shown(), first);
    folder.certify("other.example");
    assert_eq!(shown(), first, "nobody has asked it to read the files");
    process.signal("HUP");
    process.wait_for_log("INFO  new connections are shown a new certificate, which expires ");
    assert_eq!(shown(), of_file());
    assert_ne!(of_file(), first);
    let mut peer = Peer(StreamOwned::new(hello_to(&config, "other.example"), socket(addr)));
    let other = peer.session("/none");
    peer.say(&json!({"channel": "/chat", "clientId": other, "data": "still there"}));
    let answer: Value = serde_json::from_str(&open.response().1).unwrap();
    assert_eq!(answer[0]["data"], "still there");
}

#[test]
fn a_bad_new_certificate_changes_nothing_and_is_told_in_one_line() {
    let folder = Folder::new();
    let (process, addr) = folder.serve(&[]);
    let config = folder.client(&TLS13);
    let good = fs::read_to_string(folder.path("key.pem")).unwrap();
    let said = || process.log.text().matches("; the configuration stays as it was").count();
    let file = folder.path("key.pem");
    let other = KeyPair::generate().unwrap().serialize_pem();
    let mismatch = format!("it is not the key of the first certificate in {}", folder.path("cert.pem"));
    for (at, (text, why)) in [("nonsense", "no -----BEGIN PRIVATE KEY----- in it"), (other.as_str(), mismatch.as_str())]
        .into_iter()
        .enumerate()
    {
        folder.write("key.pem", text);
        process.signal("HUP");
        eventually("it is told", || (said() > at).then_some(()));
        process.wait_for_log(&format!("ERROR --tls-key {file}: {why}; the configuration stays as it was\n"));
        assert_eq!(Peer::new(&config, addr).exchange(HEALTH).1, "ok\n");
    }
    folder.write("key.pem", &good);
    process.signal("HUP");
    process.wait_for_log("new connections are shown the same certificate as before, which expires ");
    assert_eq!(said(), 2);
}

#[test]
fn held_connects_are_answered_and_told_goodbye_when_the_server_ends() {
    let folder = Folder::new();
    let (mut process, addr) = folder.serve(&["--timeout", "1h"]);
    for version in [&TLS12, &TLS13] {
        let mut peer = Peer::new(&folder.client(version), addr);
        assert!(peer.exchange("GET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").0.contains(" 404 "));
        assert!(peer.ends_well(), "a close_notify, so that nobody can cut an answer short unnoticed");
    }
    let mut peer = Peer::new(&folder.client(&TLS13), addr);
    let id = peer.session("/chat");
    peer.send(&post(&connect(&id)));
    // The next request shows that the connect before it is held.
    let mut other = Peer::new(&folder.client(&TLS13), addr);
    other.exchange(HEALTH);
    process.signal("TERM");
    let (head, body) = peer.response();
    assert!(head.contains("Connection: close") && body.contains("/meta/connect"), "{head}{body}");
    assert!(peer.ends_well());
    // Whoever has heard goodbye says it too.
    drop((peer, other));
    assert!(process.wait().success());
    process.wait_for_log("stopped, no connection was cut off");
}
