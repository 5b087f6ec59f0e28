//! What a run shows: its page, several side by side, and what the doctor says beforehand.

use crate::common::{PROGRAM, Server, file};
use std::process::Command;

#[test]
fn runs_are_shown_side_by_side() {
    let floor = Server::floor(&[]);
    let watched = if cfg!(target_os = "linux") { format!("--pid {}", floor.pid()) } else { String::new() };
    let page = file("side-run.html");
    let options = format!("--clients 20 --messages 5 --quiet --no-floor {} --report {}", watched, page.display());
    let (output, json) = floor.run("fanout", "side-1.json", &options);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    assert!(json["series"].as_array().is_some_and(|series| series.len() > 1), "{json}");
    assert_eq!(json["latency_curve"].as_array().and_then(|curve| curve.last()).map(|last| &last[0]), Some(&1.0.into()));
    assert_eq!((&json["command"][0], &json["command"][3]), (&"fanout".into(), &"--json".into()));
    let text = std::fs::read_to_string(&page).expect("it wrote the page");
    assert!(text.contains("<h1>fanout, long-polling: 20 clients</h1>") && text.contains("all as expected"));
    floor.run("fanout", "side-2.json", "--clients 20 --messages 5 --quiet --transport websocket");

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
        ("side-none.json", "side-none.json: No such file"),
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
