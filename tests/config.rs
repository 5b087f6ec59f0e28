//! The configuration of the daemon, from outside: every key from every source, what is refused and in which words, what
//! `encke check` shows, what SIGHUP changes, and the ways to listen.

#![cfg(all(feature = "daemon", feature = "demo", unix))]

#[path = "config/auth.rs"]
mod auth;
mod common;
#[path = "config/listening.rs"]
mod listening;
#[path = "config/refused.rs"]
mod refused;
#[path = "config/rules.rs"]
mod rules;

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use common::folder::Folder;
use common::peer::{Peer, connect, eventually, glance, post};
use common::process::Process;
use common::{encke, without_settings};
use encke::config::KEYS;
use serde_json::json;

/// What a program that ended has left.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// The text behind `encke: ` of a run that was refused with this code, in one line.
    fn refusal(&self, code: i32) -> &str {
        assert_eq!((self.code, self.stdout.as_str(), self.stderr.lines().count()), (Some(code), "", 1), "{self:?}");
        self.stderr.trim_end().strip_prefix("encke: ").unwrap()
    }

    /// What was printed by a run that went well.
    fn good(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        &self.stdout
    }
}

/// Runs a command to its end. What it says must fit into a pipe.
fn run(command: &mut Command) -> Ran {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let looked =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| eventually("it ends", || child.try_wait().unwrap())));
    let _ = child.kill();
    let mut ran = Ran { code: looked.unwrap().code(), stdout: String::new(), stderr: String::new() };
    stdout.read_to_string(&mut ran.stdout).unwrap();
    stderr.read_to_string(&mut ran.stderr).unwrap();
    ran
}

/// `encke check`, with these variables and words.
fn check(env: &[(&str, &str)], words: &[&str]) -> Ran {
    run(encke().arg("check").args(words).envs(env.iter().copied()))
}

/// Every line of a check: key, value, and where it comes from. A key without a value begins with `# `.
fn lines(text: &str) -> Vec<(String, String, String)> {
    let parts = |line: &str| {
        let (rest, from) = line.rsplit_once(" # ").unwrap_or_else(|| panic!("no comment: {line}"));
        let (key, value) = rest.split_once(" = ").unwrap_or_else(|| panic!("no value: {line}"));
        (key.to_owned(), value.trim_end().to_owned(), from.to_owned())
    };
    text.lines().map(parts).collect()
}

/// The only line that is not as it is without all this.
fn only_difference(text: &str, usual: &str) -> (String, String, String) {
    let (all, usual) = (lines(text), lines(usual));
    assert_eq!(all.len(), usual.len());
    let mut different = all.into_iter().zip(usual).filter(|(line, usual)| line != usual).map(|(line, _)| line);
    let first = different.next().expect("something differs");
    assert_eq!(different.next(), None, "besides {first:?}");
    first
}

/// `encke`, with a hard limit of open files.
fn run_with_files(files: u32, words: &[&str]) -> Ran {
    let mut command = Command::new("sh");
    without_settings(&mut command);
    let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
    run(command.args(["-c", &script, env!("CARGO_BIN_EXE_encke")]).args(words))
}

// --- Every key.

/// One key: its default, a value from each source with the value that is shown for it, and a bad one.
struct Case {
    key: &'static str,
    default: &'static str,
    file: (&'static str, &'static str),
    env: (&'static str, &'static str),
    flag: (&'static str, &'static str),
    bad_file: &'static str,
    bad: &'static str,
    accepted: &'static str,
}

const TIME: &str = "must be a time such as 500ms, 30s, 5m, 24h or 0";
const WAIT: &str = "must be a time such as 500ms, 30s, 5m or 24h, and not 0";
const SIZE: &str = "must be a size such as 512B, 64KiB or 1MiB";
const COUNT: &str = "must be a whole number from 1 to 4294967295";

const A_RULE: &str = "[{ pattern = \"/a b/**\", history = { count = 1000, bytes = \"4MiB\", age = \"24h\" } }]";

const fn time(key: &'static str, default: &'static str) -> Case {
    Case {
        key,
        default,
        file: ("\"7000ms\"", "\"7s\""),
        env: ("120s", "\"2m\""),
        flag: ("1501ms", "\"1501ms\""),
        bad_file: "30",
        bad: "30",
        accepted: TIME,
    }
}

const fn wait(key: &'static str, default: &'static str) -> Case {
    Case { bad_file: "\"0\"", bad: "0", accepted: WAIT, ..time(key, default) }
}

const fn size(key: &'static str, default: &'static str) -> Case {
    Case {
        key,
        default,
        file: ("\"2048KiB\"", "\"2MiB\""),
        env: ("3MiB", "\"3MiB\""),
        flag: ("1500000B", "\"1500000B\""),
        bad_file: "1048576",
        bad: "1MB",
        accepted: SIZE,
    }
}

const fn count(key: &'static str, default: &'static str) -> Case {
    Case {
        key,
        default,
        file: ("0x1_1", "17"),
        env: ("18", "18"),
        flag: ("19", "19"),
        bad_file: "-1",
        bad: "0",
        accepted: COUNT,
    }
}

/// One of a pair, whose files are read: the tests of TLS set it.
const fn file(key: &'static str) -> Case {
    Case {
        key,
        default: "unset",
        file: ("", ""),
        env: ("", ""),
        flag: ("", ""),
        bad_file: "1",
        bad: "",
        accepted: "must be the path of a file",
    }
}

fn stands_alone(case: &&Case) -> bool {
    !case.key.starts_with("tls-")
}

const fn truth(key: &'static str, default: &'static str) -> Case {
    Case {
        key,
        default,
        file: ("true", "true"),
        env: ("false", "false"),
        flag: ("true", "true"),
        bad_file: "\"true\"",
        bad: "yes",
        accepted: "must be true or false",
    }
}

const CASES: &[Case] = &[
    Case {
        key: "listen",
        default: "[\"127.0.0.1:8080\"]",
        file: ("\"[::1]:1, 127.0.0.1:2\"", "[\"[::1]:1\", \"127.0.0.1:2\"]"),
        env: ("127.0.0.1:0,127.0.0.1:0", "[\"127.0.0.1:0\", \"127.0.0.1:0\"]"),
        flag: ("unix:/run/a\"b", "[\"unix:/run/a\\\"b\"]"),
        bad_file: "8080",
        bad: "localhost:8080",
        accepted: "127.0.0.1:8080",
    },
    count("backlog", "4096"),
    Case {
        key: "socket-mode",
        default: "\"660\"",
        file: ("\"0600\"", "\"600\""),
        env: ("666", "\"666\""),
        flag: ("007", "\"007\""),
        bad_file: "660",
        bad: "888",
        accepted: "must be permissions in octal, such as 660 or 600",
    },
    file("tls-certificate"),
    file("tls-key"),
    Case {
        key: "mount",
        default: "\"/cometd\"",
        file: ("\"/a/b\"", "\"/a/b\""),
        env: ("/c", "\"/c\""),
        flag: ("/d", "\"/d\""),
        bad_file: "1",
        bad: "cometd",
        accepted: "must be a path such as /cometd",
    },
    Case { env: ("false", "false"), ..truth("demo", "true") },
    Case {
        key: "transports",
        default: "[\"websocket\", \"streaming\", \"eventsource\", \"long-polling\", \"cross-origin-long-polling\"]",
        file: ("\"long-polling\"", "[\"long-polling\"]"),
        env: ("long-polling,websocket", "[\"long-polling\", \"websocket\"]"),
        flag: ("callback-polling,iframe,", "[\"callback-polling\", \"iframe\"]"),
        bad_file: "[]",
        bad: "pigeon",
        accepted: "long-polling",
    },
    time("timeout", "\"30s\""),
    time("interval", "\"0\""),
    time("max-interval", "\"10s\""),
    Case { flag: ("24h", "\"24h\""), ..time("max-activity", "\"0\"") },
    Case {
        key: "max-sessions-per-browser",
        file: ("\"unlimited\"", "\"unlimited\""),
        accepted: "must be a whole number from 1 to 4294967295, or unlimited",
        ..count("max-sessions-per-browser", "4")
    },
    time("multi-session-interval", "\"2s\""),
    truth("require-browser-cookie", "false"),
    truth("timestamp", "false"),
    truth("message-delivery-during-handshake", "false"),
    time("ping-interval", "\"0\""),
    wait("max-stream-age", "\"5m\""),
    wait("heartbeat-interval", "\"20s\""),
    time("probe-timeout", "\"5s\""),
    Case {
        key: "channel",
        default: "[]",
        file: ("[{pattern=\"/a b/**\",history=true}]", A_RULE),
        env: (
            "{ pattern = \"/a\", history = false, lazy = false }",
            "[{ pattern = \"/a\", history = false, lazy = false }]",
        ),
        flag: (
            "[{ replay-shape = \"salesforce\", pattern = \"/*\" }]",
            "[{ pattern = \"/*\", replay-shape = \"salesforce\" }]",
        ),
        bad_file: "\"/a\"",
        bad: "/a",
        accepted: "must be a rule such as { pattern = \"/chat/**\", history = true }, or an array of rules",
    },
    time("max-lazy-timeout", "\"5s\""),
    size("max-history-size", "\"256MiB\""),
    count("max-history-channels", "10000"),
    Case {
        key: "allowed-hosts",
        default: "[]",
        file: ("[\"a.example\"]", "[\"a.example\"]"),
        env: ("*.example:8080", "[\"*.example:8080\"]"),
        flag: ("a.example,[::1]", "[\"a.example\", \"[::1]\"]"),
        bad_file: "[\"http://a.example\"]",
        bad: "a.example/path",
        accepted: "allowed host",
    },
    Case {
        key: "allowed-origins",
        default: "[]",
        file: ("[\"https://a.example\", \"null\"]", "[\"https://a.example\", \"null\"]"),
        env: ("*", "[\"*\"]"),
        flag: ("http://b.example:81,https://c.example", "[\"http://b.example:81\", \"https://c.example\"]"),
        bad_file: "[\"app.example\"]",
        bad: "https://a.example/path",
        accepted: "allowed origin",
    },
    Case {
        key: "trusted-proxies",
        default: "[\"loopback\", \"unix\"]",
        file: ("[]", "[]"),
        env: ("10.0.0.0/8", "[\"10.0.0.0/8\"]"),
        flag: ("unix,fd00::/8", "[\"unix\", \"fd00::/8\"]"),
        bad_file: "[\"10.0.0.1\", 2]",
        bad: "10.0.0.1/99",
        accepted: "10.0.0.",
    },
    Case {
        key: "auth",
        default: "\"none\"",
        file: ("{ anonymous = { subscribe = [\"/a/**\"] } }", "\"not shown: anonymous\""),
        env: ("{token={token='0123456789abcdef'}}", "\"not shown: 1 token\""),
        flag: (
            "{anonymous={},token=[{token='0123456789abcdef'},{token='0123456789abcdeF'}]}",
            "\"not shown: anonymous, 2 tokens\"",
        ),
        bad_file: "1",
        bad: "yes",
        accepted: "must be a table such as",
    },
    truth("http-api", "false"),
    Case {
        key: "http-token",
        default: "unset",
        file: ("\"0123456789abcdef\"", "a secret"),
        env: ("abcdefghijklmnop", "a secret"),
        flag: ("AAAAAAAAAAAAAAAA", "a secret"),
        bad_file: "1234567890123456",
        bad: "too-short",
        accepted: "must be a token of at least 16",
    },
    time("shutdown-timeout", "\"10s\""),
    size("max-message-size", "\"256KiB\""),
    count("max-batch", "1024"),
    count("max-subscriptions", "256"),
    size("max-subscribed-bytes", "\"512MiB\""),
    count("max-queue", "10000"),
    size("max-queue-size", "\"1MiB\""),
    Case {
        key: "overflow",
        default: "\"disconnect\"",
        file: ("\"drop-oldest\"", "\"drop-oldest\""),
        env: ("drop-oldest", "\"drop-oldest\""),
        flag: ("drop-oldest", "\"drop-oldest\""),
        bad_file: "true",
        bad: "drop_oldest",
        accepted: "must be disconnect or drop-oldest",
    },
    size("max-queued-bytes", "\"256MiB\""),
    count("max-sessions", "1000000"),
    Case {
        key: "handshake-rate",
        default: "\"1000/10000\"",
        file: ("\"5/6\"", "\"5/6\""),
        env: ("7/8", "\"7/8\""),
        flag: ("unlimited", "\"unlimited\""),
        bad_file: "\"0/5\"",
        bad: "100",
        accepted: "must be how many a second and, after a slash, how many at once",
    },
    count("max-connections", "968"),
    size("max-head-size", "\"16KiB\""),
    wait("head-timeout", "\"5s\""),
    wait("body-timeout", "\"15s\""),
    wait("idle-timeout", "\"75s\""),
    wait("write-timeout", "\"10s\""),
];

fn variable(key: &str) -> String {
    format!("ENCKE_{}", key.to_uppercase().replace('-', "_"))
}

#[test]
fn every_key_is_in_the_table_of_this_test_in_its_order() {
    let listed: Vec<&str> = CASES.iter().map(|case| case.key).collect();
    let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(listed, known);
    let shown = lines(check(&[], &[]).good());
    let shown: Vec<&str> = shown.iter().map(|(key, ..)| key.trim_start_matches("# ")).collect();
    assert_eq!(shown, known, "encke check shows all of them");
}

/// Whether what it says is not shown, so that it cannot come back.
fn has_secrets(case: &Case) -> bool {
    matches!(case.key, "auth" | "http-token")
}

/// A key in the lines of `encke check`: behind a `#` where there is no value to show.
fn shown_as(case: &Case, value: &str) -> String {
    let unset = matches!(case.key, "max-connections" | "tls-certificate" | "tls-key") && value == case.default;
    if case.key == "http-token" || unset { format!("# {}", case.key) } else { case.key.to_owned() }
}

#[test]
fn every_key_has_its_default() {
    let usual = run_with_files(1_000, &["check"]);
    for (line, case) in lines(usual.good()).into_iter().zip(CASES) {
        assert_eq!(line, (shown_as(case, case.default), case.default.to_owned(), "default".to_owned()));
    }
}

#[test]
fn every_key_can_be_set_in_a_file_by_a_variable_and_by_a_flag() {
    let folder = Folder::new();
    let empty = folder.write("encke.toml", "# nothing\n");
    let (bare, with_file) = (check(&[], &[]), check(&[], &["--config", &empty]));
    let path = folder.path("one.toml");
    for case in CASES.iter().filter(stands_alone) {
        let (key, variable, flag) = (case.key, variable(case.key), format!("--{}", case.key));
        let named = |value: &str, from: &str| (shown_as(case, value), value.to_owned(), from.to_owned());
        fs::write(&path, format!("\n{key} = {}\n", case.file.0)).unwrap();
        let file = ["--config", &path];
        let ran = check(&[], &file);
        assert_eq!(only_difference(ran.good(), with_file.good()), named(case.file.1, "file, line 2"));
        let environment = format!("environment {variable}");
        let ran = check(&[(&variable, case.env.0)], &[]);
        assert_eq!(only_difference(ran.good(), bare.good()), named(case.env.1, &environment));
        let ran = check(&[], &[&flag, case.flag.0]);
        assert_eq!(only_difference(ran.good(), bare.good()), named(case.flag.1, "flag"));
        // The variable beats the file, and the flag beats both.
        let ran = check(&[(&variable, case.env.0)], &file);
        assert_eq!(only_difference(ran.good(), with_file.good()), named(case.env.1, &environment));
        let ran = check(&[(&variable, case.env.0)], &["--config", &path, &format!("{flag}={}", case.flag.0)]);
        assert_eq!(only_difference(ran.good(), with_file.good()), named(case.flag.1, "flag"));
        // An empty variable is none.
        let ran = check(&[(&variable, "")], &file);
        assert_eq!(only_difference(ran.good(), with_file.good()), named(case.file.1, "file, line 2"));
    }
}

#[test]
fn every_bad_value_is_refused_by_place_key_value_and_what_is_accepted() {
    let folder = Folder::new();
    for case in CASES.iter().filter(stands_alone) {
        let (key, variable) = (case.key, variable(case.key));
        let path = folder.write("encke.toml", &format!("\n\n{key} = {}\n", case.bad_file));
        let told = |ran: &Ran, place: &str| {
            let refusal = ran.refusal(2).to_owned();
            let accepted = refusal.strip_prefix(&format!("{place}: ")).unwrap_or_else(|| panic!("{place}: {refusal}"));
            assert!(accepted.contains(case.accepted), "{refusal}");
        };
        told(&check(&[], &["--config", &path]), &format!("{path}, line 3: {key} = {}", case.bad_file));
        told(&check(&[(&variable, case.bad)], &[]), &format!("{variable}={}", case.bad));
        told(&check(&[], &[&format!("--{key}"), case.bad]), &format!("--{key} {}", case.bad));
        // Nothing else is done first: the same words, and no socket.
        let words = ["--listen", "unix:/nonexistent/s", &format!("--{key}"), case.bad];
        told(&run(encke().args(words)), &format!("--{key} {}", case.bad));
    }
}

// --- What is shown.

#[test]
fn what_check_prints_is_a_file_that_gives_the_same() {
    let folder = Folder::new();
    let shown = CASES.iter().filter(stands_alone).filter(|case| !has_secrets(case));
    let full: String = shown.map(|case| format!("{} = {}\n", case.key, case.file.0)).collect();
    for (text, words) in [("", &[][..]), (&full, &[]), ("", &["--mount", "/", "--listen", "unix:/a \\\"#,[::1]:0"])] {
        let path = folder.write("encke.toml", text);
        let first = check(&[], &[&["--config", &path], words].concat());
        let saved = folder.path("saved.toml");
        fs::write(&saved, first.good()).unwrap();
        let second = check(&[], &["--config", &saved]);
        let values = |text| lines(text).into_iter().map(|(key, value, _)| (key, value)).collect::<Vec<_>>();
        assert_eq!(values(second.good()), values(first.good()));
        for (at, (key, _, from)) in lines(second.good()).into_iter().enumerate() {
            let named = if key.starts_with('#') { "default".to_owned() } else { format!("file, line {}", at + 1) };
            assert_eq!(from, named, "{key}");
        }
        let third = folder.path("third.toml");
        fs::write(&third, second.good()).unwrap();
        assert_eq!(check(&[], &["--config", &third]), second);
    }
}

#[test]
fn check_aligns_its_comments_and_listens_nowhere() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let ran = check(&[], &["--listen", &taken.local_addr().unwrap().to_string()]);
    let columns: Vec<_> = ran.good().lines().map(|line| line.rfind(" # ").unwrap()).collect();
    assert!(columns.windows(2).all(|two| two[0] == two[1]), "{}", ran.stdout);
}

#[test]
fn help_names_every_key_with_its_default() {
    let ran = run(encke().arg("--help"));
    let help = ran.good();
    for key in KEYS {
        let line = help.lines().find(|line| line.starts_with(&format!("  --{} {}", key.name, key.kind())));
        let line = line.unwrap_or_else(|| panic!("{}: {help}", key.name));
        assert!(line.ends_with(&format!("[{}]", key.default())) && line.contains(key.help), "{line}");
    }
    for word in ["encke check", "--config FILE", "ENCKE_CONFIG", "SIGHUP", "SIGTERM", "SIGINT", "SIGUSR1", "RUST_LOG"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
}

/// The rows of the README's table, without backticks: key and default.
fn rows(readme: &str) -> Vec<(String, String)> {
    let (_, section) = readme.split_once("\n## Configuration\n").unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cell = |text: Option<&str>| text.unwrap_or_default().replace('`', "").trim().to_owned();
    let row = |line: &str| {
        let mut cells = line.split('|').skip(1);
        (cell(cells.next()), cell(cells.next()))
    };
    rows.map(row).collect()
}

#[test]
fn the_readme_lists_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(path).unwrap();
    let known: Vec<_> = KEYS.iter().map(|key| (key.name.to_owned(), key.default())).collect();
    let row = |key: &encke::config::Key| {
        let words = key.default().contains(' ') || key.default() == "none";
        let default = if words { key.default() } else { format!("`{}`", key.default()) };
        format!("| `{}` | {default} | {} |\n", key.name, key.help)
    };
    let table: String = KEYS.iter().map(row).collect();
    assert_eq!(
        rows(&readme),
        known,
        "under `## Configuration`, this is right:\n\n| key | default | meaning |\n|---|---|---|\n{table}"
    );
}

// --- The process.

/// The daemon, as this command starts it; the addresses that it says, and its process.
fn serve(command: &mut Command, listeners: usize) -> (Process, Vec<String>) {
    let command = std::mem::replace(command, Command::new("true"));
    let (process, lines) = Process::launch(command, listeners);
    let urls = lines.iter().map(|line| line.strip_prefix("encke listening on ").unwrap().to_owned());
    (process, urls.collect())
}

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").and_then(|url| url.strip_suffix("/cometd")).unwrap().parse().unwrap()
}

/// The timeout that a new session is advised, ms, and its client id.
fn advised(peer: &mut Peer) -> (u64, String) {
    let reply =
        peer.say(&json!({"channel": "/meta/handshake", "supportedConnectionTypes": ["long-polling"]}))[0].clone();
    (reply["advice"]["timeout"].as_u64().unwrap(), reply["clientId"].as_str().unwrap().to_owned())
}

/// How often a text is in the log.
fn times(process: &Process, text: &str) -> usize {
    process.log.text().matches(text).count()
}

#[test]
fn sighup_changes_what_can_change_and_keeps_what_was_good() {
    let folder = Folder::new();
    let path = folder.write("encke.toml", "listen = \"127.0.0.1:0\"\ntimeout = \"31s\"\ninterval = \"0\"\n");
    let mut command = encke();
    command.args(["--config", &path, "--max-interval", "1h"]).env("ENCKE_MAX_BATCH", "5");
    let (process, urls) = serve(&mut command, 1);
    process.wait_for_log(&format!("configured by {path}\n"));
    let mut peer = Peer::new(address(&urls[0]));
    let (timeout, id) = advised(&mut peer);
    assert_eq!(timeout, 31_000);
    assert_eq!(peer.say(&connect(&id))[0]["advice"]["timeout"], 31_000);

    folder.write("encke.toml", "listen = \"127.0.0.1:0\"\ntimeout = \"45s\"\n");
    process.signal("HUP");
    process.wait_for_log("timeout is now 45s (was 31s)\n");
    assert_eq!(advised(&mut peer).0, 45_000);
    assert_eq!(peer.say(&glance(&id))[0]["advice"]["timeout"], 45_000, "a session that was there is told");
    assert_eq!(times(&process, " is now "), 1, "nothing else has changed");
    process.signal("HUP");
    process.wait_for_log("the settings have not changed\n");

    for (text, says) in [
        ("timeout = 1\n", format!("{path}, line 1: timeout = 1: must be a time")),
        ("timeout = \"1s\"\nnonsense = 1\n", format!("{path}, line 2: unknown key nonsense")),
        ("timeout = \"1s\"\nmax-connections = 4294967295\n", format!("{path}, line 2: max-connections = 4294967295: ")),
        ("timeout = \"1s\"\nmount = \"/\"\ndemo = true\n", format!("{path}, line 3: demo = true: must be false")),
    ] {
        let before = times(&process, "; the configuration stays as it was\n");
        folder.write("encke.toml", text);
        process.signal("HUP");
        eventually("it is refused", || {
            (times(&process, "; the configuration stays as it was\n") > before).then_some(())
        });
        assert!(process.log.text().contains(&format!("ERROR {says}")), "{says}");
        assert_eq!(advised(&mut peer).0, 45_000);
    }
    fs::remove_file(&path).unwrap();
    process.signal("HUP");
    process.wait_for_log(&format!("ERROR --config {path}: cannot read it: No such file"));
    assert_eq!(advised(&mut peer).0, 45_000);
}

#[test]
fn sighup_tells_what_needs_a_restart_and_what_is_overruled() {
    let folder = Folder::new();
    let path = folder.write("encke.toml", "listen = \"127.0.0.1:0\"\ntimeout = \"31s\"\n");
    let mut command = encke();
    command.env("ENCKE_CONFIG", &path).env("ENCKE_INTERVAL", "1s").args(["--timeout", "32s"]);
    let (process, urls) = serve(&mut command, 1);
    let addr = address(&urls[0]);
    // Flags and variables still count before the file.
    folder.write("encke.toml", "listen = \"127.0.0.1:0\"\ntimeout = \"45s\"\ninterval = \"2s\"\n");
    process.signal("HUP");
    process.wait_for_log(&format!("read {path} again: the settings have not changed\n"));
    assert_eq!(advised(&mut Peer::new(addr)).0, 32_000);
    let text = "listen = \"unix:/run/x\"\nbacklog = 7\nsocket-mode = \"600\"\nmount = \"/x\"\nmax-batch = 1\n";
    for round in 1..=2 {
        folder.write("encke.toml", text);
        process.signal("HUP");
        let says =
            |key, to, still| format!("WARN  {key} cannot change at run time: restart encke for {to} (still {still})\n");
        let lines = [
            says("listen", "unix:/run/x", "127.0.0.1:0"),
            says("backlog", "7", "4096"),
            says("socket-mode", "600", "660"),
            says("mount", "/x", "/cometd"),
        ];
        for line in &lines {
            eventually(line, || (times(&process, line) == round).then_some(()));
        }
    }
    process.wait_for_log("max-batch is now 1 (was 1024)\n");
    assert_eq!(Peer::new(addr).exchange(post(&json!([]))).body, "[]", "it serves where it did");
}

#[test]
fn sighup_without_a_file_says_so() {
    let (process, urls) = serve(encke().args(["--listen", "127.0.0.1:0"]), 1);
    process.wait_for_log("without a configuration file\n");
    process.signal("HUP");
    process.wait_for_log("but there is no configuration file\n");
    assert_eq!(Peer::new(address(&urls[0])).exchange(post(&json!([]))).body, "[]");
}

#[test]
fn a_page_to_try_is_told_of_when_there_is_one() {
    let listen = ["--listen", "0.0.0.0:0"];
    let (_process, lines) = Process::launch(std::mem::replace(encke().args(listen), Command::new("true")), 2);
    let port = lines[0].strip_prefix("encke listening on http://0.0.0.0:").unwrap().strip_suffix("/cometd").unwrap();
    assert_eq!(lines[1], format!("try it: http://127.0.0.1:{port}/"));
    let mut peer = Peer::new(SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap())));
    assert_eq!(peer.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    let folder = Folder::new();
    for words in [&["--mount", "/"][..], &["--demo", "false"], &["--config", &folder.write("encke.toml", "")]] {
        let (mut process, said) = said_until_end(encke().args(listen).args(words));
        assert_eq!(said.lines().count(), 1, "{words:?}: {said}");
        assert!(process.wait().success());
    }
}

/// Starts the daemon and ends it; everything that it said on stdout.
fn said_until_end(command: &mut Command) -> (Process, String) {
    let folder = Folder::new();
    let path = folder.path("stdout");
    let mut shell = Command::new("sh");
    without_settings(&mut shell);
    shell.args(["-c", "exec \"$@\" >\"$0\"", &path]).arg(command.get_program()).args(command.get_args());
    let (process, _) = Process::launch(shell, 0);
    process.wait_for_log("started");
    process.signal("TERM");
    process.wait_for_log("stopped");
    (process, fs::read_to_string(&path).unwrap())
}

#[test]
fn a_filter_for_the_log_that_would_silence_it_is_told_of() {
    for filter in ["inof", "encke=loud", "hyper=info", "info,nonsense"] {
        let (process, _) = serve(encke().args(["--listen", "127.0.0.1:0"]).env("RUST_LOG", filter), 1);
        process.wait_for_log(&format!("WARN  RUST_LOG={filter}: "));
        process.wait_for_log("INFO  started");
    }
    for filter in ["debug", "INFO", "encke::server=debug,encke=info", "mio=warn,info", "", "hyper=error,info"] {
        let (process, _) = serve(encke().args(["--listen", "127.0.0.1:0"]).env("RUST_LOG", filter), 1);
        process.wait_for_log("INFO  started");
        assert_eq!(times(&process, "RUST_LOG"), 0, "{filter}");
    }
}
