//! The daemon behind nginx and HAProxy as Debian has them, with the very blocks of README.md as their configuration.
//!
//! `ENCKE_SKIP_PROXIES=1` leaves all of this out.

#![cfg(all(feature = "daemon", unix))]

mod common;
#[path = "proxies/front.rs"]
mod front;

use common::Daemon;
use common::node::Scenarios;
use common::peer::{PATIENT, eventually};
use front::{Answer, Block, DAEMON, Folder, Front, OPT_OUT, ask, ask_tls, is_left_out, replace};

static SCENARIOS: Scenarios = Scenarios::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop"), OPT_OUT);

/// As a page at this address sends it.
const OWN_PAGE: &str = "Host: app.example\r\nOrigin: http://app.example\r\n";
const OWN_SECURE_PAGE: &str = "Host: app.example\r\nOrigin: https://app.example\r\n";
const FOREIGN_PAGE: &str = "Host: app.example\r\nOrigin: http://evil.example\r\n";

/// A daemon, and a proxy in front of it.
fn behind(block: Block, options: &[&str]) -> (Daemon, Front) {
    let daemon = Daemon::start(options);
    let front = Front::start(block, &daemon.addr().to_string());
    (daemon, front)
}

/// The daemon on a Unix socket as well, and where that is.
fn on_a_socket(folder: &Folder) -> (Daemon, String) {
    let place = format!("unix:{}", folder.0.join("encke.sock").display());
    let daemon = Daemon::start(&["--timeout", "1h", "--listen", &format!("127.0.0.1:0,{place}")]);
    (daemon, place)
}

/// Ends it as an operator does.
fn end(daemon: &mut Daemon) {
    daemon.signal("TERM");
    eventually("the daemon has ended", || (!daemon.is_running()).then_some(()));
}

/// Two clients of each library, and both together, talk through a proxy.
fn chat(front: &Front, daemon: &mut Daemon) {
    for kinds in [["cometd", "cometd"], ["faye", "faye"], ["cometd", "faye"]] {
        SCENARIOS.run_against(daemon, "chat", &front.url(), &kinds);
    }
}

/// A held connect comes back through a proxy, and the next is held again.
fn hold(block: Block) {
    // They mostly wait: one beside the other.
    std::thread::scope(|scope| {
        for kind in ["cometd", "faye"] {
            scope.spawn(move || {
                let (mut daemon, front) = behind(block, &["--timeout", "2s"]);
                SCENARIOS.run_against(&mut daemon, "held", &front.url(), &[kind, "2000"]);
            });
        }
    });
}

fn is_granted(answer: &Answer) -> bool {
    assert!(matches!(answer.status, 200 | 403), "{answer:?}");
    let granted = answer.status == 200;
    assert_eq!(answer.body.contains(r#""successful":true"#), granted, "{answer:?}");
    granted
}

fn is_secure(answer: &Answer) -> bool {
    let cookie = answer.field("set-cookie").unwrap_or_else(|| panic!("no cookie: {answer:?}"));
    assert!(cookie.starts_with("BAYEUX_BROWSER="), "{cookie}");
    cookie.ends_with("; Secure")
}

/// The words after these in a refusal, to the end of its line.
fn words_after(answer: &Answer, text: &str) -> Vec<String> {
    let (_, rest) = answer.body.split_once(text).unwrap_or_else(|| panic!("no {text:?}: {answer:?}"));
    rest.lines().next().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

#[test]
fn plain_nginx_hides_the_host_and_the_refusal_says_what_to_set() {
    if is_left_out() {
        return;
    }
    let refusal = {
        let (daemon, front) = behind(Block::NginxPlain, PATIENT);
        let refusal = ask(front.addr, OWN_PAGE);
        assert_eq!(refusal.status, 403, "{refusal:?}");
        daemon.wait_for_stderr(&format!(": 403 {}", refusal.body.trim_end()));
        refusal
    };
    let words = words_after(&refusal, "start encke with: ");
    let options: Vec<&str> = PATIENT.iter().copied().chain(words.iter().map(String::as_str)).collect();
    let (mut daemon, front) = behind(Block::NginxPlain, &options);
    let answer = ask(front.addr, OWN_PAGE);
    assert!(is_granted(&answer), "{answer:?}");
    assert_eq!(answer.field("access-control-allow-origin"), Some("http://app.example"));
    assert!(!is_granted(&ask(front.addr, FOREIGN_PAGE)));
    chat(&front, &mut daemon);
}

#[test]
fn the_line_of_a_refusal_can_stand_in_the_configuration_file() {
    if is_left_out() {
        return;
    }
    let refusal = {
        let (_daemon, front) = behind(Block::NginxPlain, PATIENT);
        ask(front.addr, OWN_PAGE)
    };
    let (line, _) = refusal.body.split_once(" or start encke").unwrap();
    let (_, line) = line.split_once("set ").unwrap();
    let folder = Folder::new();
    let file = folder.0.join("encke.toml");
    std::fs::write(&file, format!("{line}\n")).unwrap();
    let (_daemon, front) = behind(Block::NginxPlain, &["--config", file.to_str().unwrap()]);
    assert!(is_granted(&ask(front.addr, OWN_PAGE)), "{line}");
    assert!(!is_granted(&ask(front.addr, FOREIGN_PAGE)));
}

#[test]
fn connects_are_held_behind_plain_nginx() {
    if !is_left_out() {
        hold(Block::NginxPlain);
    }
}

#[test]
fn clients_behind_plain_nginx_come_back_after_a_crash() {
    if is_left_out() {
        return;
    }
    for kind in ["cometd", "faye"] {
        let (mut daemon, front) = behind(Block::NginxPlain, PATIENT);
        SCENARIOS.run_against(&mut daemon, "restart", &front.url(), &[kind]);
    }
}

#[test]
fn behind_the_full_nginx_a_site_may_use_its_own_server() {
    if is_left_out() {
        return;
    }
    let (mut daemon, front) = behind(Block::NginxFull, PATIENT);
    let (plain, secure) = (ask(front.addr, OWN_PAGE), ask_tls(front.tls, OWN_SECURE_PAGE));
    assert!(is_granted(&plain) && !is_secure(&plain), "{plain:?}");
    assert!(is_granted(&secure) && is_secure(&secure), "{secure:?}");
    // A browser says the port if it is not the usual one.
    let with_port = format!("Host: {0}\r\nOrigin: http://{0}\r\n", front.addr);
    assert!(is_granted(&ask(front.addr, &with_port)));
    assert!(!is_granted(&ask(front.addr, FOREIGN_PAGE)));
    chat(&front, &mut daemon);
}

#[test]
fn what_a_client_says_of_itself_does_not_pass_the_full_nginx() {
    if is_left_out() {
        return;
    }
    let lie = format!("{FOREIGN_PAGE}X-Forwarded-Host: evil.example\r\n");
    let boast = format!("{OWN_PAGE}X-Forwarded-Proto: https\r\n");
    for block in [Block::NginxFull, Block::HaProxy] {
        let (_daemon, front) = behind(block, PATIENT);
        assert!(!is_granted(&ask(front.addr, &lie)), "{block:?}");
        assert!(!is_secure(&ask(front.addr, &boast)), "{block:?}");
    }
    // It does pass the one that sets nothing.
    let (_daemon, front) = behind(Block::NginxPlain, PATIENT);
    assert!(is_granted(&ask(front.addr, &lie)));
}

#[test]
fn a_proxy_that_is_not_trusted_is_not_believed() {
    if is_left_out() {
        return;
    }
    let options = ["--trusted-proxies", "192.0.2.1"];
    // Host is left alone, so that the pages are still its own; but it does not know of TLS.
    for block in [Block::NginxFull, Block::HaProxy] {
        let (_daemon, front) = behind(block, &options);
        let answer = ask_tls(front.tls, OWN_SECURE_PAGE);
        assert!(is_granted(&answer) && !is_secure(&answer), "{block:?}: {answer:?}");
    }
    // X-Forwarded-Host alone, as from a proxy that rewrites Host.
    let rewriting = |text: String| replace(&text, "proxy_set_header Host ", "#");
    for (options, granted) in [(&options[..], false), (PATIENT, true)] {
        let daemon = Daemon::start(options);
        let front = Front::start_with(Block::NginxFull, &daemon.addr().to_string(), rewriting);
        assert_eq!(is_granted(&ask(front.addr, OWN_PAGE)), granted, "{options:?}");
    }
}

#[test]
fn the_full_nginx_keeps_its_connections() {
    if is_left_out() {
        return;
    }
    for (block, connections) in [(Block::NginxFull, 1), (Block::NginxPlain, 0)] {
        let (daemon, front) = behind(block, &["--max-interval", "1h"]);
        for _ in 0..5 {
            assert!(is_granted(&ask(front.addr, "Host: app.example\r\n")));
        }
        let counts = format!("now: connections={connections} sessions=5 ");
        eventually(&format!("{block:?}: {counts}"), || {
            daemon.signal("USR1");
            daemon.stderr().contains(&counts).then_some(())
        });
    }
}

#[test]
fn websockets_get_through_where_upgrades_are_passed_on_and_else_clients_do_without() {
    if is_left_out() {
        return;
    }
    for (block, found) in
        [(Block::NginxFull, "websocket"), (Block::HaProxy, "websocket"), (Block::NginxPlain, "long-polling")]
    {
        let (mut daemon, front) = behind(block, PATIENT);
        for kinds in [["cometd", "faye"], ["faye", "cometd"]] {
            let words = [kinds[0], kinds[1], found];
            SCENARIOS.run_against(&mut daemon, "transports", &front.url(), &words);
        }
        if found == "websocket" {
            for kinds in [["cometd:websocket", "faye:websocket"], ["faye:websocket", "cometd"]] {
                SCENARIOS.run_against(&mut daemon, "chat", &front.url(), &kinds);
            }
        }
    }
}

#[test]
fn websockets_are_held_behind_proxies() {
    if is_left_out() {
        return;
    }
    std::thread::scope(|scope| {
        for block in [Block::NginxFull, Block::HaProxy] {
            for kind in ["cometd:websocket", "faye:websocket"] {
                scope.spawn(move || {
                    let (mut daemon, front) = behind(block, &["--timeout", "2s"]);
                    SCENARIOS.run_against(&mut daemon, "held", &front.url(), &[kind, "2000"]);
                });
            }
        }
    });
}

#[test]
fn streams_get_through_all_of_the_blocks() {
    if is_left_out() {
        return;
    }
    for block in [Block::NginxFull, Block::HaProxy, Block::NginxPlain] {
        let (mut daemon, front) = behind(block, PATIENT);
        SCENARIOS.run_against(&mut daemon, "../proxies/streams", &front.url(), &["flows"]);
        assert!(!daemon.stderr().contains("advised a client to poll"), "{block:?}: {}", daemon.stderr());
    }
}

#[test]
fn behind_an_nginx_that_keeps_streams_back_clients_are_advised_to_poll() {
    if is_left_out() {
        return;
    }
    let stubborn = |text: String| {
        let pass = format!("proxy_pass http://{DAEMON};");
        replace(&text, &pass, &format!("{pass} proxy_ignore_headers X-Accel-Buffering;"))
    };
    let mut daemon = Daemon::start(&["--timeout", "1h", "--probe-timeout", "1s"]);
    let front = Front::start_with(Block::NginxPlain, &daemon.addr().to_string(), stubborn);
    SCENARIOS.run_against(&mut daemon, "../proxies/streams", &front.url(), &["buffered"]);
    daemon.wait_for_stderr("advised a client to poll");
}

#[test]
fn connects_are_held_behind_the_full_nginx() {
    if !is_left_out() {
        hold(Block::NginxFull);
    }
}

#[test]
fn clients_behind_a_proxy_come_back_after_an_orderly_restart() {
    if is_left_out() {
        return;
    }
    let cases = [
        (Block::NginxFull, "cometd"),
        (Block::NginxFull, "faye"),
        (Block::NginxPlain, "faye"),
        (Block::HaProxy, "cometd"),
        (Block::HaProxy, "faye"),
        (Block::NginxFull, "cometd:websocket"),
        (Block::HaProxy, "faye:websocket"),
    ];
    std::thread::scope(|scope| {
        for (block, kind) in cases {
            scope.spawn(move || {
                let (mut daemon, front) = behind(block, PATIENT);
                let pid = daemon.pid().to_string();
                SCENARIOS.run_against(&mut daemon, "../proxies/orderly", &front.url(), &[kind, &pid]);
                daemon.wait_for_stderr("stopped, no connection was cut off");
            });
        }
    });
}

#[test]
fn nginx_reaches_a_unix_socket_and_finds_it_again_after_an_orderly_restart() {
    if is_left_out() {
        return;
    }
    let folder = Folder::new();
    let (mut daemon, place) = on_a_socket(&folder);
    let front = Front::start(Block::NginxUnix, &place);
    chat(&front, &mut daemon);
    let upstream = |text: String| replace(&text, &format!("server {DAEMON};"), "server unix:/run/encke/encke.sock;");
    let front = Front::start_with(Block::NginxFull, &place, upstream);
    let answer = ask_tls(front.tls, OWN_SECURE_PAGE);
    assert!(is_granted(&answer) && is_secure(&answer), "{answer:?}");
    end(&mut daemon);
    let answer = ask(front.addr, OWN_PAGE);
    assert_eq!(answer.status, 502, "{answer:?}");
    let again = Daemon::start(&["--listen", &format!("127.0.0.1:0,{place}")]);
    assert!(is_granted(&ask(front.addr, OWN_PAGE)));
    drop(again);
}

#[test]
fn haproxy_sees_the_daemon_and_its_end() {
    if is_left_out() {
        return;
    }
    let (mut daemon, front) = behind(Block::HaProxy, PATIENT);
    wait_for_check(&front, "UP", "L7OK", "200");
    assert!(is_granted(&ask(front.addr, OWN_PAGE)));
    end(&mut daemon);
    wait_for_check(&front, "DOWN", "L4CON", "");
    assert_eq!(ask(front.addr, OWN_PAGE).status, 503);
    daemon.restart();
    wait_for_check(&front, "UP", "L7OK", "200");
    assert!(is_granted(&ask(front.addr, OWN_PAGE)));
}

#[test]
fn haproxy_sees_the_daemon_by_its_check_without_arguments() {
    if is_left_out() {
        return;
    }
    let bare = |text: String| replace(&text, "option httpchk GET /health", "option httpchk");
    let daemon = Daemon::start(PATIENT);
    let front = Front::start_with(Block::HaProxy, &daemon.addr().to_string(), bare);
    wait_for_check(&front, "UP", "L7OK", "204");
}

/// Waits until HAProxy says this of the server, of its last check, and of the status that it got.
fn wait_for_check(front: &Front, wanted: &str, check: &str, code: &str) {
    eventually(&format!("the server is {wanted}, {check}"), || {
        let table = front.ask_haproxy("show stat").unwrap();
        let mut rows = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let names = rows.next()?;
        let column = |name: &str| names.iter().position(|own| *own == name);
        let row = rows.find(|row| row.starts_with(&["encke", "encke"]))?;
        let is = [column("status")?, column("check_status")?, column("check_code")?].map(|at| row[at]);
        (is[0].starts_with(wanted) && is[1].ends_with(check) && is[2] == code).then_some(())
    });
}

#[test]
fn behind_haproxy_a_site_may_use_its_own_server() {
    if is_left_out() {
        return;
    }
    let (mut daemon, front) = behind(Block::HaProxy, PATIENT);
    let (plain, secure) = (ask(front.addr, OWN_PAGE), ask_tls(front.tls, OWN_SECURE_PAGE));
    assert!(is_granted(&plain) && !is_secure(&plain), "{plain:?}");
    assert!(is_granted(&secure) && is_secure(&secure), "{secure:?}");
    assert!(!is_granted(&ask(front.addr, FOREIGN_PAGE)));
    chat(&front, &mut daemon);
}

#[test]
fn connects_are_held_behind_haproxy() {
    if !is_left_out() {
        hold(Block::HaProxy);
    }
}

/// The milliseconds after these words in a block.
fn milliseconds(text: &str, words: &str) -> u64 {
    let (_, rest) = text.split_once(words).unwrap_or_else(|| panic!("no {words:?} in:\n{text}"));
    let word = rest.trim_start().split([';', ' ', '\n']).next().unwrap_or_default();
    let seconds = word.strip_suffix('s').unwrap_or_else(|| panic!("{words} is not in seconds: {word:?}"));
    seconds.parse::<u64>().unwrap() * 1_000
}

#[test]
fn the_blocks_wait_longer_than_a_connect_is_held_and_let_go_before_the_daemon_does() {
    let settings = encke::server::Settings::default();
    let (held, idle) = (u64::from(settings.broker.timeout_ms), settings.limits.idle_ms);
    let (nginx, haproxy) = (Block::NginxFull.text(), Block::HaProxy.text());
    assert!(milliseconds(&nginx, "proxy_read_timeout") > held);
    assert!(milliseconds(&nginx, "keepalive_timeout") < idle);
    assert!(milliseconds(&haproxy, "timeout server") > held);
    assert!(milliseconds(&haproxy, "timeout client") > held);
}
