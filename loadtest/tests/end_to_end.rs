//! The program against its own `floor`, both as processes: exact counts, and that a loss does not go unseen.

use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_encke-loadtest");

/// A floor that ends with the test.
struct Floor {
    child: Child,
    url: String,
}

impl Floor {
    fn start(options: &[&str]) -> Self {
        let mut child =
            Command::new(PROGRAM).arg("floor").args(options).stdout(Stdio::piped()).spawn().expect("floor starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let url = line.trim().strip_prefix("floor listening on ").expect("the line says where").to_owned();
        Self { child, url }
    }

    /// Runs a scenario against it; gives what it printed and the figures.
    fn run(&self, scenario: &str, name: &str, options: &str) -> (Output, Value) {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut command = Command::new(PROGRAM);
        command.args([scenario, "--url", &self.url, "--json"]).arg(&file).args(options.split_ascii_whitespace());
        if cfg!(target_os = "linux") {
            command.args(["--pid", &self.child.id().to_string()]);
        }
        let output = command.output().expect("it runs");
        let json = std::fs::read(&file).expect("it wrote the figures");
        (output, serde_json::from_slice(&json).unwrap_or_default())
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_hundred_clients_are_counted_exactly() {
    let floor = Floor::start(&[]);
    // The same server again, as a run must not see the events of another; the second with a rate, other sizes, two
    // sources.
    for (name, options) in [
        ("exact-1.json", "--clients 200 --messages 5"),
        (
            "exact-2.json",
            "--clients 200 --messages 5 --rate 100 --size 3000 --ramp 7 --source-addrs 127.0.0.1,127.0.0.1",
        ),
        ("exact-3.json", "--clients 200 --messages 5 --transport websocket"),
        ("exact-4.json", "--clients 200 --messages 5 --transport websocket --deflate --rate 100 --size 70000"),
    ] {
        let (output, json) = floor.run("fanout", name, options);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("all as expected"), "{text}");
        let delivery = &json["delivery"];
        for (figure, value) in [
            ("expected", 1000),
            ("delivered", 1000),
            ("lost", 0),
            ("duplicated", 0),
            ("out_of_order", 0),
            ("published", 5),
            ("acknowledged", 5),
        ] {
            assert_eq!(delivery[figure], value, "{figure} in {delivery}");
        }
        assert_eq!(json["ok"], true);
        assert_eq!(json["faults"], serde_json::json!({}));
        assert!(json["latency_us"]["p50"].is_number());
        assert_eq!(json["server"]["cpu_us_per_delivery"].is_number(), cfg!(target_os = "linux"));
    }
}

#[test]
fn a_loss_is_seen() {
    loss_with("long-polling");
}

#[test]
fn a_loss_on_websockets_is_seen() {
    loss_with("websocket");
}

fn loss_with(transport: &str) {
    let floor = Floor::start(&["--drop-every", "7"]);
    let run = |options: &str| {
        let options = format!("{options} --messages 5 --drain 1 --transport {transport}");
        floor.run("fanout", &format!("loss-{transport}.json"), &options)
    };
    let (output, json) = run("--clients 200 --rate 200");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("142 deliveries were lost"), "{text}");
    let delivery = &json["delivery"];
    assert_eq!(
        (&delivery["expected"], &delivery["delivered"], &delivery["lost"]),
        (&1000.into(), &858.into(), &142.into())
    );
    assert_eq!(json["ok"], false);
    // One after the other, the first loss ends it.
    let (output, json) = run("--clients 10");
    assert_eq!((output.status.code(), &json["delivery"]["published"]), (Some(1), &1.into()));
}

#[test]
#[cfg(target_os = "linux")]
fn idle_watches_a_quiet_server() {
    let floor = Floor::start(&[]);
    for transport in ["long-polling", "websocket"] {
        let options = format!("--clients 50 --seconds 1 --transport {transport}");
        let (output, json) = floor.run("idle", "idle.json", &options);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(json["transport"], transport);
        assert_eq!(json["idle"]["polls_ended"], 0);
        assert_eq!(json["server"]["wakeups"], 0);
    }
}

#[test]
fn runs_are_shown_side_by_side() {
    let floor = Floor::start(&[]);
    let file = |name: &str| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let page = file("side-run.html");
    let options = format!("--clients 20 --messages 5 --quiet --report {}", page.display());
    let (output, json) = floor.run("fanout", "side-1.json", &options);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    assert!(json["series"].as_array().is_some_and(|series| series.len() > 1), "{json}");
    assert_eq!(json["latency_curve"].as_array().and_then(|curve| curve.last()).map(|last| &last[0]), Some(&1.0.into()));
    assert_eq!((&json["command"][0], &json["command"][3]), (&"fanout".into(), &"--json".into()));
    let text = std::fs::read_to_string(&page).expect("it wrote the page");
    assert!(text.contains("<h1>fanout, long-polling: 20 clients</h1>") && text.contains("all as expected"));
    floor.run("fanout", "side-2.json", "--clients 20 --messages 5 --transport websocket");

    let report = |options: &[&str]| {
        Command::new(PROGRAM).arg("report").args(options).current_dir(file("")).output().expect("it runs")
    };
    let both = ["side-1.json", "Web <Socket>=side-2.json"];
    let output = report(&[&both[..], &["--html", "side.html", "--markdown", "side.md"]].concat());
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(0), 0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::fs::read_to_string(file("side.html")).expect("it wrote the page");
    assert!(text.contains("<h2>side-1</h2>") && text.contains("<h2>Web &lt;Socket&gt;</h2>"));
    let table = std::fs::read_to_string(file("side.md")).expect("it wrote the table");
    assert!(table.contains("| side-1 ") && table.contains(r"| Web \<Socket\> |"), "{table}");
    assert_eq!(String::from_utf8_lossy(&report(&both).stdout), table);

    std::fs::write(file("side-bad.json"), "{\"clients\": 3}").expect("a file");
    for (word, expected) in [
        ("side-bad.json", "side-bad.json: not a report: it names no \"scenario\""),
        ("missing.json", "missing.json: No such file"),
    ] {
        let output = report(&[word]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && text.contains(expected) && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn the_doctor_says_what_a_million_would_need() {
    let doctor = |clients: &str| {
        let output = Command::new(PROGRAM).args(["doctor", "--clients", clients]).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = doctor("1");
    assert!(text.contains("open files") && matches!(code, Some(0 | 1)), "{text}");
    assert_eq!(code == Some(0), !text.contains("SHORT"), "{text}");
    // No machine has a million ports for one address.
    if cfg!(target_os = "linux") {
        let (code, text) = doctor("1000000");
        assert!(code == Some(1) && text.contains("SHORT   local ports"), "{text}");
        assert!(text.contains("give the scenario --source-addrs 127.0.0.2,"), "{text}");
    }
}

#[test]
fn the_exit_code_tells_usage_from_failure() {
    let run = |options: &str| Command::new(PROGRAM).args(options.split_ascii_whitespace()).output().expect("it runs");
    let output = run("fanout --url http://127.0.0.1:1/ --clients 1 --colour red");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("unknown option --colour; fanout accepts --url, --clients"), "{text}");
    // Nobody listens on port 1.
    let output = run("fanout --url http://127.0.0.1:1/ --clients 3");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("client 1: cannot connect to 127.0.0.1:1"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    let output = run("fanout --url http://127.0.0.1:1/ --clients 500000");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(run("--help").status.code(), Some(0));
}
