//! https and wss, with nginx in front of the daemon: exact counts, and clear words where there is no trust.
//!
//! `ENCKE_SKIP_PROXIES=1` leaves this out, as it does the daemon's tests behind proxies.

use crate::common::{Server, file};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Another process may take a port between its choice and its use.
const TRIES: usize = 5;
/// How often it is looked whether nginx is ready, and how long in between.
const LOOKS: usize = 1000;
const LOOK: Duration = Duration::from_millis(10);

/// nginx, which speaks TLS for a server that does not.
struct Front {
    child: Child,
    addr: SocketAddr,
    /// Its certificate, which is its own authority.
    certificate: PathBuf,
}

impl Front {
    /// In front of that server, with a certificate for that name.
    fn start(server: &Server, name: &str) -> Self {
        let rest = server.url.strip_prefix("http://").expect("plain HTTP");
        let backend = rest.split('/').next().expect("an address");
        (0..TRIES).find_map(|_| Self::launch(backend, name)).unwrap_or_else(|| panic!("no nginx in {TRIES} tries"))
    }

    /// None if the port was taken meanwhile.
    fn launch(backend: &str, name: &str) -> Option<Self> {
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let folder = file(&format!("nginx-{}", addr.port()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        for (file, text) in [
            ("cert.pem", cert.pem()),
            ("key.pem", signing_key.serialize_pem()),
            ("nginx.conf", configuration(&folder, addr, backend)),
        ] {
            std::fs::write(folder.join(file), text).expect("a file");
        }
        let child = Command::new(nginx())
            .args(["-e", "stderr", "-p"])
            .arg(&folder)
            .args(["-c", "nginx.conf"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("nginx starts (Debian: apt-get install nginx-light); ENCKE_SKIP_PROXIES=1 leaves this out");
        let mut front = Self { child, addr, certificate: folder.join("cert.pem") };
        // It writes its number when it listens. A connection would not tell: it might be to whoever took the port.
        let number = front.child.id().to_string();
        for _ in 0..LOOKS {
            if front.child.try_wait().expect("a child").is_some() {
                return None;
            }
            if std::fs::read_to_string(folder.join("nginx.pid")).is_ok_and(|text| text.trim() == number) {
                return Some(front);
            }
            std::thread::sleep(LOOK);
        }
        panic!("nginx neither listens nor ends");
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // Both fail only when it has ended already. It has no children: it runs without a master.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian has servers in a folder that is not in everybody's PATH.
fn nginx() -> PathBuf {
    let elsewhere = ["/usr/sbin", "/usr/local/sbin"].map(|folder| Path::new(folder).join("nginx"));
    elsewhere.into_iter().find(|path| path.exists()).unwrap_or_else(|| "nginx".into())
}

fn configuration(folder: &Path, addr: SocketAddr, backend: &str) -> String {
    let path = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {path}/{name};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {path}/nginx.pid;\nerror_log stderr crit;\n\
        events {{ worker_connections 1024; }}\n\
        http {{\n    access_log off;\n{temporary}    map $http_upgrade $up {{ default upgrade; '' ''; }}\n    server {{\n\
        listen {addr} ssl;\n ssl_certificate {path}/cert.pem;\n ssl_certificate_key {path}/key.pem;\n\
        keepalive_requests 4;\n\
        location / {{\n proxy_pass http://{backend};\n proxy_http_version 1.1;\n proxy_buffering off;\n\
        proxy_set_header Host $http_host;\n proxy_set_header Upgrade $http_upgrade;\n\
        proxy_set_header Connection $up;\n }}\n}}\n}}\n"
    )
}

/// Whether this is left out, which is said loudly.
fn is_left_out() -> bool {
    let out = std::env::var_os("ENCKE_SKIP_PROXIES").is_some_and(|value| !value.is_empty());
    if out {
        eprintln!("!! ENCKE_SKIP_PROXIES is set: the load generator is not tested over TLS");
    }
    out
}

#[test]
fn clients_are_counted_exactly_over_tls() {
    if is_left_out() {
        return;
    }
    let mut server = Server::encke("");
    let front = Front::start(&server, "127.0.0.1");
    let ca = front.certificate.display();
    for (at, (scheme, options)) in [
        ("https", "--transport long-polling"),
        ("https", "--transport long-polling --size 70000 --rate 50"),
        ("wss", "--transport websocket"),
        ("wss", "--transport websocket --deflate --size 70000 --rate 50"),
        ("wss", "--transport websocket --rate 200 --burst 5"),
        ("https", "--transport streaming"),
        ("https", "--transport eventsource"),
    ]
    .into_iter()
    .enumerate()
    {
        server.url = format!("{scheme}://{}/cometd", front.addr);
        let options = format!("--clients 60 --messages 5 --ca {ca} {options}");
        let figures = server.run_well("fanout", &format!("tls-{at}.json"), &options);
        for (figure, value) in [("expected", 300), ("delivered", 300), ("lost", 0), ("duplicated", 0)] {
            assert_eq!(figures["delivery"][figure], value, "{figure} with {options}");
        }
        assert_eq!(figures["faults"], json!({}));
    }
}

#[test]
fn whom_nobody_trusts_is_refused_in_one_line() {
    if is_left_out() {
        return;
    }
    let mut server = Server::encke("");
    let plain = server.url.clone();
    let (own, other) = (Front::start(&server, "127.0.0.1"), Front::start(&server, "other.example"));
    let url = |front: &Front| format!("https://{}/cometd", front.addr);
    let authority = |front: &Front| format!("--ca {}", front.certificate.display());
    for (url, trust, expected) in [
        (url(&own), String::new(), "certificate is not trusted: "),
        (url(&own), authority(&other), "--ca FILE names whom to trust, --insecure trusts anyone"),
        (url(&other), authority(&other), "certificate is not trusted: certificate not valid for name \"127.0.0.1\""),
        (plain.replace("http:", "https:"), authority(&own), "the server does not speak TLS there"),
        (url(&own), "--ca nowhere.pem".to_owned(), "--ca nowhere.pem: "),
        (url(&own), format!("--ca {}", file("empty.pem").display()), "it has no certificate in PEM"),
    ] {
        std::fs::write(file("empty.pem"), "").expect("a file");
        server.url = url;
        let (output, _) =
            server.run("fanout", "tls-refused.json", &format!("--clients 1 --messages 1 --timeout 60 {trust}"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
        assert!(error.contains(expected), "{expected}: {error}");
    }
    server.url = url(&other);
    server.run_well("fanout", "tls-anyone.json", "--clients 3 --messages 2 --insecure");
}
