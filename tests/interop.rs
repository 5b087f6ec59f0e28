//! The daemon against real, unmodified clients from npm: cometd.js and Faye.
//!
//! Each test runs one scenario of `tests/interop/` under Node against a daemon of its own. The clients are installed on
//! first use, in the versions that `package-lock.json` pins. `ENCKE_SKIP_INTEROP=1` leaves all of this out.

#![cfg(feature = "daemon")]

mod common;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::{Daemon, Log};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop");
const OPT_OUT: &str = "ENCKE_SKIP_INTEROP";
const OLDEST_NODE: u32 = 18;

/// A scenario that takes longer has hung. The scenarios notice that earlier, and say for what they waited.
const HUNG_AFTER: Duration = Duration::from_secs(120);
/// An installation by another process that takes longer has been abandoned.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// A connect is held for so long that, in a scenario that hears anything, it was the event that ended it.
const PATIENT: &[&str] = &["--timeout", "5m"];

#[test]
fn cometd_hears_exact_channels_and_patterns() {
    run("patterns", &["cometd"], PATIENT);
}

#[test]
fn faye_hears_exact_channels_and_patterns() {
    run("patterns", &["faye"], PATIENT);
}

#[test]
fn cometd_publishes_alone_in_a_batch_and_to_a_service() {
    run("publish", &["cometd"], PATIENT);
}

#[test]
fn faye_publishes_alone_in_a_batch_and_to_a_service() {
    run("publish", &["faye"], PATIENT);
}

#[test]
fn cometd_unsubscribes_and_disconnects() {
    run("leave", &["cometd"], PATIENT);
}

#[test]
fn faye_unsubscribes_and_disconnects() {
    run("leave", &["faye"], PATIENT);
}

#[test]
fn two_cometd_clients_chat() {
    run("chat", &["cometd", "cometd"], PATIENT);
}

#[test]
fn two_faye_clients_chat() {
    run("chat", &["faye", "faye"], PATIENT);
}

#[test]
fn cometd_and_faye_chat_with_each_other() {
    run("chat", &["cometd", "faye"], PATIENT);
}

#[test]
fn many_messages_of_cometd_arrive_in_order_and_once() {
    run("order", &["cometd"], PATIENT);
}

#[test]
fn many_messages_of_faye_arrive_in_order_and_once() {
    run("order", &["faye"], PATIENT);
}

#[test]
fn cometd_goes_on_after_a_connect_that_nothing_ended() {
    run("held", &["cometd", "1000"], &["--timeout", "1s"]);
}

#[test]
fn faye_goes_on_after_a_connect_that_nothing_ended() {
    // Faye gives a request up after 1.2 times the timeout: that must not be too little on a busy machine.
    run("held", &["faye", "2000"], &["--timeout", "2s"]);
}

#[test]
fn cometd_finds_its_way_back_after_a_restart() {
    run("restart", &["cometd"], PATIENT);
}

#[test]
fn faye_finds_its_way_back_after_a_restart() {
    run("restart", &["faye"], PATIENT);
}

#[test]
fn cometd_wakes_up_without_its_session_and_gets_another() {
    run("asleep", &["cometd", "4000"], &["--timeout", "1s", "--max-interval", "500ms"]);
}

#[test]
fn faye_wakes_up_without_its_session_and_gets_another() {
    run("asleep", &["faye", "4000"], &["--timeout", "1s", "--max-interval", "500ms"]);
}

#[test]
fn sessions_that_stop_polling_end() {
    run("expired", &["500"], &["--timeout", "1s", "--max-interval", "500ms"]);
}

#[test]
fn cometd_sends_after_the_handshake_what_was_said_before() {
    run("queued", &[], PATIENT);
}

#[test]
fn cometd_finds_its_transport_by_itself() {
    run("transports", &["cometd", "faye"], PATIENT);
}

#[test]
fn faye_finds_its_transport_by_itself() {
    run("transports", &["faye", "cometd"], PATIENT);
}

#[test]
fn cometd_works_with_all_its_extensions() {
    run("extensions", &[], PATIENT);
}

#[test]
fn six_tabs_of_one_browser_share_four_places() {
    run("tabs", &[], &["--timeout", "5m", "--multi-session-interval", "200ms"]);
}

#[test]
fn a_tab_that_is_told_to_wait_keeps_its_session_for_so_long() {
    let options = ["--timeout", "5m", "--multi-session-interval", "1500ms", "--max-interval", "500ms"];
    run("tabs", &[], &options);
}

#[test]
fn sessions_of_one_cookie_share_four_places() {
    run("cookies", &[], PATIENT);
}

/// Runs a scenario against a daemon with these options.
fn run(scenario: &str, words: &[&str], options: &[&str]) {
    if std::env::var_os(OPT_OUT).is_some_and(|value| value == "1") {
        // Straight to stderr: the capture of passing tests must not swallow it.
        let line = format!("\n*** SKIPPED, because {OPT_OUT}=1: {scenario} {}\n", words.join(" "));
        let _ = io::stderr().write_all(line.as_bytes());
        return;
    }
    static CLIENTS: OnceLock<Result<(), String>> = OnceLock::new();
    if let Err(error) = CLIENTS.get_or_init(prepare) {
        panic!("{error}");
    }
    let mut daemon = Daemon::start(options);
    let mut node = Node::start(scenario, daemon.url(), words);
    let verdict = node.follow(&mut daemon);
    let told = format!("{scenario} {}\n--- node wrote:\n{}---", words.join(" "), node.log.text());
    match verdict {
        Err(error) => panic!("{error}: {told}"),
        Ok((status, passed)) => assert!(status.success() && passed, "{status}: {told}"),
    }
    assert!(daemon.is_running(), "the daemon has ended: {told}");
    for bad in ["panicked", "a bug in encke"] {
        assert!(!daemon.stderr().contains(bad), "the daemon wrote {bad:?}: {told}");
    }
}

/// A running scenario; ends when dropped.
struct Node {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Log,
}

impl Node {
    fn start(scenario: &str, url: &str, words: &[&str]) -> Self {
        let mut command = Command::new("node");
        command.arg(format!("{scenario}.mjs")).arg(url).args(words).current_dir(DIRECTORY);
        // Faye would go through a proxy even to this machine.
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "NODE_OPTIONS"] {
            command.env_remove(name);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("node was there a moment ago");
        let log = Log::default();
        let (stderr, sink) = (child.stderr.take().expect("a pipe"), log.clone());
        std::thread::spawn(move || sink.copy_from(stderr));
        let (stdout, sink) = (child.stdout.take().expect("a pipe"), log.clone());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                sink.copy_from(format!("{line}\n").as_bytes());
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, log }
    }

    /// Does what the scenario asks for until it ends; whether it said that it passed.
    fn follow(&mut self, daemon: &mut Daemon) -> Result<(ExitStatus, bool), String> {
        let end = Instant::now() + HUNG_AFTER;
        let mut passed = false;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => match line.strip_prefix("@@") {
                    Some("passed") => passed = true,
                    Some(command) => {
                        match command {
                            "kill" => daemon.kill(),
                            "restart" => daemon.restart(),
                            _ => return Err(format!("the scenario asked for {command:?}")),
                        }
                        let stdin = self.child.stdin.as_mut().expect("a pipe");
                        writeln!(stdin, "{command}").map_err(|error| format!("node listens no more: {error}"))?;
                    }
                    None => {}
                },
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => return Err("hung".to_owned()),
            }
        }
        // Its stdout has ended, and so has it.
        self.child.wait().map(|status| (status, passed)).map_err(|error| error.to_string())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sees to it that Node is there and the clients are installed.
fn prepare() -> Result<(), String> {
    let advice = format!(
        "these tests need Node.js {OLDEST_NODE} or later with npm (Debian: apt-get install nodejs npm); \
         {OPT_OUT}=1 leaves them out"
    );
    let version = output_of("node").map_err(|error| format!("node --version: {error}; {advice}"))?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|number| number.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST_NODE) {
        return Err(format!("node --version says {:?}; {advice}", version.trim()));
    }
    let directory = Path::new(DIRECTORY);
    let wanted = read(&directory.join("package-lock.json"))?;
    let stamp = directory.join("node_modules/.installed-by-interop");
    let installed = || read(&stamp).is_ok_and(|text| text == wanted);
    if installed() {
        return Ok(());
    }
    let _lock = Lock::take(directory)?;
    if installed() {
        return Ok(());
    }
    output_of("npm").map_err(|error| format!("npm --version: {error}; {advice}"))?;
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("npm ci: {error}; {advice}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("npm ci in tests/interop: {}\n{said}\n{OPT_OUT}=1 leaves these tests out", output.status));
    }
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))
}

/// What a program says its version is.
fn output_of(program: &str) -> Result<String, String> {
    let output = Command::new(program).arg("--version").output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(output.status.to_string());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Keeps other test processes from installing at the same time.
struct Lock(PathBuf);

impl Lock {
    fn take(directory: &Path) -> Result<Self, String> {
        let mut name = DefaultHasher::new();
        directory.hash(&mut name);
        let path = std::env::temp_dir().join(format!("encke-interop-{:016x}.lock", name.finish()));
        loop {
            match fs::File::create_new(&path) {
                Ok(_) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(format!("{}: {error}", path.display())),
            }
            // A process that was ended while it installed leaves its lock behind.
            let age = fs::metadata(&path).and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age > INSTALL_LIMIT) {
                let _ = fs::remove_file(&path);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
