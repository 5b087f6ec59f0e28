//! The ways to listen: Unix sockets, several places at once, and sockets that somebody else has opened.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use super::common::peer::{LIMIT, eventually};
use super::common::{encke, without_settings};
use super::{Folder, address, run, serve, times};

/// An empty batch and the answer to it, over any stream.
fn ask(mut stream: impl Read + Write) -> String {
    let request = "POST /cometd HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn ask_unix(path: &str) -> String {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    ask(stream)
}

fn ask_tcp(addr: SocketAddr) -> String {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    ask(stream)
}

fn is_answered(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n[]")
}

#[test]
fn a_unix_socket_serves_with_its_mode_and_outlives_a_crash() {
    let folder = Folder::new();
    let path = folder.path("s");
    let (listen, mode) = (format!("unix:{path}"), || fs::metadata(&path).unwrap().permissions().mode() & 0o777);
    let (mut process, urls) = serve(encke().args(["--listen", &listen]), 1);
    assert_eq!(urls, [format!("http://unix:{path}:/cometd")]);
    assert_eq!(mode(), 0o660);
    assert!(is_answered(&ask_unix(&path)));
    let taken = run(encke().args(["--listen", &listen]));
    assert_eq!(taken.refusal(1), format!("cannot listen on {listen}: another process listens there"));
    process.signal("KILL");
    process.wait();
    assert!(Path::new(&path).exists(), "nobody has removed it");
    let (mut process, _) = serve(encke().args(["--listen", &listen, "--socket-mode", "606"]), 1);
    assert_eq!(mode(), 0o606);
    assert!(is_answered(&ask_unix(&path)));
    process.signal("TERM");
    assert!(process.wait().success());
    assert!(!Path::new(&path).exists(), "it has removed it");
    fs::write(&path, "precious").unwrap();
    let refusal = run(encke().args(["--listen", &listen]));
    assert_eq!(refusal.refusal(1), format!("cannot listen on {listen}: a file that is no socket is there"));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn it_listens_on_ipv4_ipv6_and_a_unix_socket_at_once() {
    let folder = Folder::new();
    let path = folder.path("s");
    let listen = format!("[::1]:0,unix:{path},127.0.0.1:0");
    let (_process, urls) = serve(encke().args(["--listen", &listen]), 3);
    assert!(urls[0].starts_with("http://[::1]:") && urls[2].starts_with("http://127.0.0.1:"), "{urls:?}");
    for answer in [ask_tcp(address(&urls[0])), ask_unix(&path), ask_tcp(address(&urls[2]))] {
        assert!(is_answered(&answer), "{answer}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_kernel_holds_as_many_connections_as_backlog_says() {
    const CLIENTS: usize = 8;
    for (backlog, all) in [("1", false), ("8", true)] {
        let words = ["--listen", "127.0.0.1:0", "--backlog", backlog];
        let (process, urls) = serve(encke().args(words), 1);
        let addr = address(&urls[0]);
        // A process that is stopped accepts nobody; the kernel lets what is beyond the backlog wait in vain.
        process.signal("STOP");
        let wait = std::time::Duration::from_millis(500);
        let held: Vec<_> = (0..CLIENTS).map_while(|_| TcpStream::connect_timeout(&addr, wait).ok()).collect();
        assert_eq!(held.len() == CLIENTS, all, "{backlog}: {}", held.len());
    }
}

#[test]
fn what_cannot_be_listened_on_is_one_line_and_a_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = Folder::new();
    let lost = format!("unix:{}", folder.path("no/s"));
    let long = format!("unix:/{}", "x".repeat(200));
    for (listen, says) in [
        (taken.as_str(), "the address is in use"),
        ("192.0.2.1:8080", "this machine has no such address"),
        (&lost, "there is no folder"),
        (&long, "path"),
    ] {
        // Nothing is said of the one that would have worked.
        let ran = run(encke().args(["--listen", &format!("127.0.0.1:0,{listen}")]));
        let refusal = ran.refusal(1);
        assert!(refusal.starts_with(&format!("cannot listen on {listen}: ")) && refusal.contains(says), "{refusal}");
    }
    // Whoever runs this may be allowed to.
    if TcpListener::bind("127.0.0.1:1").is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied) {
        assert!(run(encke().args(["--listen", "127.0.0.1:1"])).refusal(1).contains("CAP_NET_BIND_SERVICE"));
    }
}

// --- Sockets that somebody else has opened.

/// `encke` behind a shell that passes these sockets on as systemd does; what it logs goes to the file.
fn activated(sockets: [OwnedFd; 2], count: u32, log: &str) -> Command {
    let [first, second] = sockets;
    // The two come in place of stdin and stderr, and go to where systemd puts them.
    let script = "exec 3<&0 4<&2 2>\"$LOG\" </dev/null; export LISTEN_PID=$$; exec \"$@\"";
    let mut command = Command::new("sh");
    without_settings(&mut command);
    command.env("LISTEN_FDS", count.to_string()).env("LOG", log).args(["-c", script, "sh"]);
    command.arg(env!("CARGO_BIN_EXE_encke")).stdin(first).stderr(second).stdout(Stdio::piped());
    command
}

/// A child that is killed when this is dropped.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn sockets_of_systemd_take_the_place_of_listen() {
    let folder = Folder::new();
    let (path, log) = (folder.path("s"), folder.path("log"));
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = tcp.local_addr().unwrap();
    let sockets = [tcp.into(), UnixListener::bind(&path).unwrap().into()];
    let file = folder.write("encke.toml", "listen = \"127.0.0.1:0\"\n");
    let mut child = Child(activated(sockets, 2, &log).args(["--config", &file]).spawn().unwrap());
    assert!(is_answered(&ask_tcp(addr)) && is_answered(&ask_unix(&path)), "connections wait until it is there");
    let logged = |text: &str| fs::read_to_string(&log).unwrap_or_default().contains(text);
    let warning = format!("{file}, line 1: listen = \"127.0.0.1:0\": is not used, for systemd has opened the sockets");
    eventually("it warns", || logged(&warning).then_some(()));
    folder.write("encke.toml", "listen = \"127.0.0.1:1\"\ntimeout = \"3s\"\n");
    let hup = Command::new("kill").args(["-s", "HUP", &child.0.id().to_string()]).status().unwrap();
    assert!(hup.success());
    eventually("it has read the file", || logged("timeout is now 3s").then_some(()));
    assert!(!logged("cannot change"), "listen is not used at all");
    let term = Command::new("kill").args(["-s", "TERM", &child.0.id().to_string()]).status().unwrap();
    assert!(term.success());
    assert!(eventually("it ends", || child.0.try_wait().unwrap()).success());
    let mut said = String::new();
    child.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let expected = format!("encke listening on http://{addr}/cometd\nencke listening on http://unix:{path}:/cometd\n");
    assert_eq!(said, expected, "there, and nowhere else");
    assert!(Path::new(&path).exists(), "the file is not its own");
}

#[test]
fn sockets_that_are_for_somebody_else_are_left_alone() {
    let (process, urls) =
        serve(encke().args(["--listen", "127.0.0.1:0"]).envs([("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]), 1);
    assert!(is_answered(&ask_tcp(address(&urls[0]))));
    assert_eq!(times(&process, "systemd"), 0);
}

#[test]
fn sockets_that_cannot_be_listened_on_are_refused() {
    let folder = Folder::new();
    let log = folder.path("log");
    let tcp = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    for (second, says) in [
        (UdpSocket::bind("127.0.0.1:0").unwrap().into(), "is neither a TCP socket nor a Unix stream socket"),
        (fs::File::open("/dev/null").unwrap().into(), "is neither a TCP socket nor a Unix stream socket"),
        (connection.into(), "is a connection: write Accept=no into the socket unit"),
    ] {
        let mut child = Child(activated([tcp(), second], 2, &log).spawn().unwrap());
        assert_eq!(eventually("it ends", || child.0.try_wait().unwrap()).code(), Some(1));
        let said = fs::read_to_string(&log).unwrap();
        assert!(said.starts_with(&format!("encke: LISTEN_FDS: file descriptor 4 {says}")), "{said}");
    }
}
