//! nginx and HAProxy as processes in front of the daemon, with the blocks of README.md as their configuration.

#![allow(unreachable_pub, reason = "a module of one test program")]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::common::Log;
use super::common::node::left_out;
use super::common::peer::{LIMIT, eventually};
use super::common::port::Port;

pub const OPT_OUT: &str = "ENCKE_SKIP_PROXIES";
/// The address that the blocks have for the daemon.
pub const DAEMON: &str = "127.0.0.1:8080";

/// Whether the tests are left out, which is said loudly. Fails if a program is missing.
pub fn is_left_out() -> bool {
    let name = std::thread::current().name().unwrap_or("the tests behind proxies").to_owned();
    if left_out(OPT_OUT, &name) {
        return true;
    }
    for (program, words) in [("nginx", "-v"), ("haproxy", "-v"), ("openssl", "version")] {
        if let Err(error) = Command::new(program_path(program)).arg(words).output() {
            panic!(
                "{program}: {error}; these tests need it (Debian: apt-get install nginx-light haproxy openssl); \
                {OPT_OUT}=1 leaves them out"
            );
        }
    }
    false
}

/// Debian has servers in a folder that is not in everybody's PATH.
fn program_path(program: &str) -> PathBuf {
    let elsewhere = ["/usr/sbin", "/usr/local/sbin"].map(|folder| Path::new(folder).join(program));
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&in_path).map(|folder| folder.join(program)).chain(elsewhere);
    places.find(|path| path.exists()).unwrap_or_else(|| PathBuf::from(program))
}

/// A configuration out of README.md.
#[derive(Clone, Copy, Debug)]
pub enum Block {
    /// `proxy_pass` alone.
    NginxPlain,
    /// Everything set.
    NginxFull,
    /// To a Unix socket.
    NginxUnix,
    HaProxy,
}

impl Block {
    /// Its text. Changes nothing, so that a test sees what a reader does.
    pub fn text(self) -> String {
        let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
        let (language, at, count) = match self {
            Self::NginxPlain => ("nginx", 0, 3),
            Self::NginxFull => ("nginx", 1, 3),
            Self::NginxUnix => ("nginx", 2, 3),
            Self::HaProxy => ("haproxy", 0, 1),
        };
        let fence = format!("\n```{language}\n");
        let blocks: Vec<&str> =
            readme.split(&fence).skip(1).map(|rest| rest.split_once("\n```\n").unwrap().0).collect();
        assert_eq!(blocks.len(), count, "blocks of {language} in README.md");
        blocks[at].to_owned() + "\n"
    }
}

/// Replaces what must be there; so a block that no longer says it fails the test.
pub fn replace(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "no {old:?} in:\n{text}");
    text.replace(old, new)
}

/// A running proxy. It ends, by its own pid, when this is dropped.
pub struct Front {
    child: Child,
    folder: Folder,
    /// For http.
    pub addr: SocketAddr,
    /// For https, if its block has that.
    pub tls: SocketAddr,
    _ports: [Port; 2],
    log: Log,
}

impl Front {
    /// The proxy with this block of README.md, to a daemon that listens there: an address or `unix:/path`.
    pub fn start(block: Block, daemon: &str) -> Self {
        Self::start_with(block, daemon, |text| text)
    }

    /// The same after a change to the block.
    pub fn start_with(block: Block, daemon: &str, change: impl Fn(String) -> String) -> Self {
        let text = change(block.text());
        let folder = Folder::new();
        let ports = [Port::any(), Port::any()];
        let [addr, tls] = [ports[0].addr(), ports[1].addr()];
        let mut command = match block {
            Block::HaProxy => haproxy(&folder, &text, daemon, (addr, tls)),
            Block::NginxPlain | Block::NginxFull | Block::NginxUnix => nginx(&folder, &text, daemon, (addr, tls)),
        };
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::default();
        let (sink, stderr) = (log.clone(), child.stderr.take().unwrap());
        std::thread::spawn(move || sink.copy_from(stderr));
        let mut front = Self { child, folder, addr, tls, _ports: ports, log };
        // It is there once the ports are its own.
        eventually("the proxy runs", || {
            assert!(front.child.try_wait().unwrap().is_none(), "{block:?} did not come up");
            front.is_up(block).then_some(())
        });
        front
    }

    fn is_up(&self, block: Block) -> bool {
        match block {
            Block::HaProxy => self.ask_haproxy("show info").is_ok_and(|answer| !answer.is_empty()),
            Block::NginxPlain | Block::NginxFull | Block::NginxUnix => self.folder.0.join("nginx.pid").exists(),
        }
    }

    /// The URL of the endpoint, through it.
    pub fn url(&self) -> String {
        format!("http://{}/cometd", self.addr)
    }

    /// An answer of HAProxy's own command line.
    pub fn ask_haproxy(&self, command: &str) -> io::Result<String> {
        let mut socket = UnixStream::connect(self.folder.0.join("stats.sock"))?;
        socket.write_all(format!("{command}\n").as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // Both fail only when it has ended already. It has no children: nginx runs without a master.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the proxy wrote to stderr:\n{}---", self.log.text());
        }
    }
}

/// Its command line.
fn nginx(folder: &Folder, text: &str, daemon: &str, (addr, tls): (SocketAddr, SocketAddr)) -> Command {
    let path = folder.0.display();
    let mut site = replace(text, "listen 80;", &format!("listen {addr};"));
    if site.contains("ssl_certificate") {
        folder.make_certificate();
        site = replace(&site, "listen 443 ssl;", &format!("listen {tls} ssl;"));
        site = replace(&site, "/etc/ssl/private/app.example.key", &format!("{path}/tls.pem.key"));
        site = replace(&site, "/etc/ssl/certs/app.example.pem", &format!("{path}/tls.pem"));
    }
    site = match daemon.strip_prefix("unix:") {
        Some(socket) => replace(&site, "/run/encke/encke.sock", socket),
        None => replace(&site, DAEMON, daemon),
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {path}/{name};\n"))
        .concat();
    let whole = format!(
        "daemon off;\nmaster_process off;\npid {path}/nginx.pid;\nerror_log stderr notice;\n\
        events {{ worker_connections 256; }}\nhttp {{\n    access_log off;\n{temporary}{site}}}\n"
    );
    fs::write(folder.0.join("nginx.conf"), whole).unwrap();
    let mut command = Command::new(program_path("nginx"));
    command.args(["-e", "stderr", "-p"]).arg(&folder.0).arg("-c").arg(folder.0.join("nginx.conf"));
    command
}

/// Its command line.
fn haproxy(folder: &Folder, text: &str, daemon: &str, (addr, tls): (SocketAddr, SocketAddr)) -> Command {
    let path = folder.0.display();
    folder.make_certificate();
    let mut site = replace(text, "bind :80\n", &format!("bind {addr}\n"));
    site = replace(&site, "bind :443 ssl", &format!("bind {tls} ssl"));
    site = replace(&site, "/etc/haproxy/app.example.pem", &format!("{path}/tls.pem"));
    site = replace(&site, DAEMON, daemon);
    let whole = format!("global\n    maxconn 256\n    stats socket {path}/stats.sock mode 600\n\n{site}");
    fs::write(folder.0.join("haproxy.cfg"), whole).unwrap();
    let mut command = Command::new(program_path("haproxy"));
    command.arg("-db").arg("-f").arg(folder.0.join("haproxy.cfg"));
    command
}

/// A folder for one test; removed when dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("encke-proxies-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A certificate that nobody trusts, with its key where HAProxy looks for one.
    fn make_certificate(&self) {
        let made = Command::new(program_path("openssl"))
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=app.example", "-keyout", "tls.pem.key", "-out", "tls.pem"])
            .current_dir(&self.0)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A response. Proxies write the names of fields as they like.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    fields: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
        let field = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Self { status, fields: lines.filter_map(field).collect(), body: body.to_owned() }
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// A request as its bytes: a handshake with these fields, after which the connection ends.
fn handshake(fields: &str) -> String {
    let body = r#"[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]}]"#;
    format!(
        "POST /cometd HTTP/1.1\r\nContent-Type: application/json\r\nConnection: close\r\n{fields}\
        Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Shakes hands over http.
pub fn ask(addr: SocketAddr, fields: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(handshake(fields).as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    Answer::read(&text)
}

/// Shakes hands over https.
pub fn ask_tls(addr: SocketAddr, fields: &str) -> Answer {
    let mut command = Command::new(program_path("openssl"));
    command.args(["s_client", "-quiet", "-servername", "app.example", "-connect", &addr.to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(handshake(fields).as_bytes()).unwrap();
    // It ends when the server does; the end of its input would end it before.
    let Output { stdout, stderr, .. } = child.wait_with_output().unwrap();
    drop(stdin);
    let text = String::from_utf8(stdout).unwrap();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&stderr));
    Answer::read(&text)
}
