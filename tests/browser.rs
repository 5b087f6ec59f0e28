//! The page that the daemon serves, in a real browser: a headless Chromium, directly and through nginx.
//!
//! Each test runs one scenario of `tests/browser/` under Node. `ENCKE_CHROMIUM` names another Chromium than Debian's;
//! `ENCKE_SKIP_BROWSER=1` leaves all of this out, `ENCKE_SKIP_PROXIES=1` the part with nginx.

#![cfg(all(feature = "daemon", feature = "demo"))]

mod common;

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::Daemon;
use common::browser::{OPT_OUT, SCENARIOS, find_chromium};
use common::node::left_out;
use common::peer::{Peer, eventually, post_with};
use common::port::Port;
use common::process::Process;

const PROXIES_OPT_OUT: &str = "ENCKE_SKIP_PROXIES";

/// All that the page's client speaks.
const ALL: &[&str] = &["websocket", "streaming", "eventsource", "long-polling"];

/// A connect is held for so long that, in a scenario that hears anything, it was the event that ended it.
const PATIENT: &[&str] = &["--timeout", "5m"];

#[test]
fn two_tabs_chat_and_the_lines_that_the_page_gives_work() {
    run("chat", PATIENT);
}

#[test]
fn two_tabs_chat_over_each_transport_that_they_are_told_to_use() {
    run_with("transports", ALL, &["--timeout", "5m", "--transports", &ALL.join(",")]);
    run_with(
        "transports",
        &["streaming", "long-polling"],
        &["--timeout", "5m", "--transports", "streaming,long-polling"],
    );
}

/// https and wss, as the daemon itself speaks them.
#[cfg(feature = "tls")]
#[test]
fn two_tabs_chat_over_each_transport_over_tls() {
    if left_out(OPT_OUT, "transports, over TLS") {
        return;
    }
    find_chromium();
    SCENARIOS.run_over_tls("transports", ALL, &["--timeout", "5m", "--transports", &ALL.join(",")]);
}

#[test]
fn two_tabs_chat_and_come_back_with_all_transports() {
    let options = ["--timeout", "5m", "--transports", &ALL.join(",")];
    for scenario in ["chat", "tabs", "gone", "layout"] {
        run_with(scenario, &[], &options);
    }
}

#[test]
fn six_tabs_of_one_browser_chat() {
    run("tabs", PATIENT);
}

#[test]
fn a_page_says_that_the_server_is_gone_and_goes_on_when_it_is_back() {
    run("gone", PATIENT);
}

#[test]
fn a_page_shows_what_was_said_before_and_while_it_slept() {
    let kept = r#"{ pattern = "/chat/**", history = true }"#;
    for transports in ["long-polling", "websocket,streaming,eventsource,long-polling"] {
        let options = ["--timeout", "1s", "--max-interval", "2s", "--channel", kept, "--transports", transports];
        run("lid", &options);
    }
}

#[test]
fn nothing_is_wider_than_the_window() {
    run("layout", PATIENT);
}

#[test]
fn the_newest_stays_in_sight_and_what_is_not_offered_is_no_fault() {
    run("chosen", PATIENT);
}

#[test]
fn all_techniques_bring_the_same_events() {
    run("techniques", PATIENT);
}

#[test]
fn pages_of_the_demonstration_may_use_transports_that_are_not_offered() {
    run("techniques", &["--timeout", "5m", "--transports", "long-polling"]);
}

#[test]
fn an_event_source_goes_on_by_itself_and_is_told_of_a_gap() {
    let rule = r#"{ pattern = "/kept/**", history = true }"#;
    run("events", &["--http-api", "true", "--max-stream-age", "1s", "--channel", rule]);
}

#[test]
fn without_the_demo_there_is_the_module_alone() {
    let statuses = |options: &[&str]| {
        let daemon = Daemon::start(options);
        ["/", "/demo.js", "/demo.css", "/techniques", "/encke.js"].map(|path| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
            Peer::new(daemon.addr()).exchange(request).status
        })
    };
    assert_eq!(statuses(&[]), [200, 200, 200, 200, 200]);
    assert_eq!(statuses(&["--demo", "false"]), [404, 404, 404, 404, 200]);
}

#[test]
fn behind_nginx_a_page_says_that_the_server_is_gone_and_goes_on_when_it_is_back() {
    run_behind_nginx("gone");
}

#[test]
fn behind_nginx_two_tabs_chat_and_the_lines_that_the_page_gives_work() {
    run_behind_nginx("chat");
}

fn run(scenario: &str, options: &[&str]) {
    run_with(scenario, &[], options);
}

fn run_with(scenario: &str, words: &[&str], options: &[&str]) {
    if left_out(OPT_OUT, scenario) {
        return;
    }
    find_chromium();
    SCENARIOS.run(scenario, words, options);
}

/// Through an nginx with `proxy_pass` alone, and with the option that the daemon then says it needs.
fn run_behind_nginx(scenario: &str) {
    if left_out(OPT_OUT, scenario) || left_out(PROXIES_OPT_OUT, &format!("{scenario}, behind nginx")) {
        return;
    }
    find_chromium();
    let port = Port::any();
    let front = port.addr();
    let asked = Daemon::start(&[]);
    let refusal = Peer::new(asked.addr()).exchange(post_with(&format!("Origin: http://{front}\r\n"), "[]"));
    assert_eq!(refusal.status, 403);
    let (_, option) = refusal.body.split_once("start encke with: ").expect("the 403 gives an option");
    let mut options: Vec<&str> = PATIENT.to_vec();
    options.extend(option.split_whitespace());

    let mut daemon = Daemon::start(&options);
    let _nginx = Nginx::start(front, daemon.addr());
    SCENARIOS.run_against(&mut daemon, scenario, &format!("http://{front}/cometd"), &["without-websockets"]);
}

/// A running nginx. It ends, by its own pid, when this is dropped.
struct Nginx {
    process: Process,
    folder: PathBuf,
}

impl Nginx {
    fn start(listen: SocketAddr, upstream: SocketAddr) -> Self {
        let folder = env::temp_dir().join(format!("encke-browser-{}-{}", std::process::id(), listen.port()));
        fs::create_dir(&folder).unwrap();
        let path = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("    {name}_temp_path {path}/{name};\n"))
            .concat();
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {path}/nginx.pid;\nerror_log stderr;\n\
             events {{ worker_connections 256; }}\nhttp {{\n    access_log off;\n{temporary}    server {{\n        \
             listen {listen};\n        location / {{ proxy_pass http://{upstream}; }}\n    }}\n}}\n"
        );
        fs::write(folder.join("nginx.conf"), configuration).unwrap();
        // Debian has it in a folder that is not in everybody's PATH.
        let program = Some(Path::new("/usr/sbin/nginx")).filter(|path| path.exists()).unwrap_or(Path::new("nginx"));
        if let Err(error) = Command::new(program).arg("-v").output() {
            panic!(
                "nginx: {error}; this test needs it (Debian: apt-get install nginx-light); {PROXIES_OPT_OUT}=1 leaves \
                 it out"
            );
        }
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-p"]).arg(&folder).arg("-c").arg(folder.join("nginx.conf"));
        let (process, _) = Process::launch(command, 0);
        let mut nginx = Self { process, folder };
        // It writes that once it listens.
        eventually("nginx runs", || {
            assert!(nginx.process.is_running(), "nginx has ended:\n{}", nginx.process.log.text());
            nginx.folder.join("nginx.pid").exists().then_some(())
        });
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
