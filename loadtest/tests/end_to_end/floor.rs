//! The program against its own `floor`, both as processes: exact counts, and that a loss does not go unseen.

use crate::common::{PROGRAM, Server, assert_well, figures, file};
use serde_json::{Value, json};
use std::process::Command;

const TRANSPORTS: [&str; 4] = ["long-polling", "websocket", "streaming", "eventsource"];

/// The process's figures, where there are any.
fn watched(server: &Server) -> String {
    if cfg!(target_os = "linux") { format!("--pid {}", server.pid()) } else { String::new() }
}

#[test]
fn two_hundred_clients_are_counted_exactly() {
    let floor = Server::floor(&[]);
    // The same server again and again, as a run must not see the events of another.
    let others = [
        "--rate 100 --size 3000 --ramp 7 --source-addrs 127.0.0.1,127.0.0.1-127.0.0.1",
        "--transport websocket --deflate --rate 100 --size 70000",
        "--rate 500 --burst 5 --transport websocket",
        "--rate 500 --burst 5",
    ];
    let each = TRANSPORTS.map(|transport| format!("--transport {transport}"));
    for (at, options) in each.into_iter().chain(others.map(str::to_owned)).enumerate() {
        let options = format!("--clients 200 --messages 5 --no-floor {} {options}", watched(&floor));
        let figures = floor.run_well("fanout", &format!("exact-{at}.json"), &options);
        let delivery = &figures["delivery"];
        for (figure, value) in [
            ("expected", 1000),
            ("delivered", 1000),
            ("lost", 0),
            ("duplicated", 0),
            ("out_of_order", 0),
            ("published", 5),
            ("acknowledged", 5),
        ] {
            assert_eq!(delivery[figure], value, "{figure} in {delivery} with {options}");
        }
        assert_eq!(figures["faults"], json!({}));
        assert!(figures["latency_us"]["p50"].is_number());
        assert_eq!(figures["server"]["cpu_us_per_delivery"].is_number(), cfg!(target_os = "linux"));
        let buckets = figures["latency_buckets"].as_array().expect("a histogram");
        assert_eq!(buckets.iter().map(|bucket| bucket[1].as_u64().unwrap_or_default()).sum::<u64>(), 1000);
    }
}

#[test]
fn rooms_and_mixed_have_what_their_members_must_get() {
    let floor = Server::floor(&[]);
    let rooms = floor.run_well("rooms", "rooms.json", "--clients 100 --messages 200 --rooms 20 --rooms-per-client 3");
    let expected = &rooms["delivery"]["expected"];
    // 200 messages, each to the members of a room: 15 of 100 on average.
    assert!(expected.as_u64().is_some_and(|count| (1500..4500).contains(&count)), "{expected}");
    assert_eq!(&rooms["delivery"]["delivered"], expected);
    // Nothing in it is left to chance.
    let again = floor.run_well("rooms", "rooms.json", "--clients 100 --messages 200 --rooms 20 --rooms-per-client 3");
    assert_eq!(&again["delivery"]["expected"], expected);
    let mixed = floor.run_well("mixed", "mixed.json", "--clients 40 --messages 90 --rate 300");
    assert_eq!(mixed["delivery"]["acknowledged"], 90);
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_is_held_against_a_floor() {
    let floor = Server::floor(&[]);
    let options = format!("--clients 50 --messages 20 {}", watched(&floor));
    let figures = floor.run_well("fanout", "ratio.json", &options);
    for figure in ["cost", "ratio"] {
        let floor = &figures["floor"][figure];
        for name in ["cpu_us_per_delivery", "cpu_us_per_join"] {
            assert!(floor[name].as_f64().is_some_and(|value| value > 0.0), "{name} in {floor}");
        }
        assert!(floor["latency_us"]["p99"].is_number(), "{floor}");
    }
    // The figures of an earlier run, whether it was against a floor itself or held against one.
    let path = file("ratio.json");
    let options = format!("{options} --floor-json {}", path.display());
    let again = floor.run_well("fanout", "again.json", &options);
    assert_eq!(again["floor"]["cost"], figures["floor"]["cost"]);
    for (options, expected) in [
        (options.replace("ratio.json", "nothing.json"), "nothing.json: "),
        (options.replace("--clients 50", "--clients 60"), ", 50 clients, 20 messages of "),
    ] {
        let (output, _) = floor.run("fanout", "missing.json", &options);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.stdout.is_empty() && text.contains("--floor-json") && text.contains(expected), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let options = format!("--clients 50 --messages 20 --no-floor {}", watched(&floor));
    let without = floor.run_well("fanout", "without.json", &options);
    assert_eq!(without["floor"], Value::Null);
}

#[test]
fn a_loss_is_seen_on_every_transport() {
    for transport in TRANSPORTS {
        let floor = Server::floor(&["--drop-every", "7"]);
        let run = |options: &str| {
            let options = format!("{options} --messages 5 --drain 1 --transport {transport}");
            floor.run("fanout", &format!("loss-{transport}.json"), &options)
        };
        let (output, figures) = run("--clients 200 --rate 200");
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("142 deliveries were lost"), "{text}");
        let delivery = &figures["delivery"];
        assert_eq!(
            (&delivery["expected"], &delivery["delivered"], &delivery["lost"]),
            (&1000.into(), &858.into(), &142.into())
        );
        assert_eq!(figures["ok"], false);
        // One after the other, the first loss ends it.
        let (output, figures) = run("--clients 10");
        assert_eq!((output.status.code(), &figures["delivery"]["published"]), (Some(1), &1.into()), "{transport}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn idle_watches_a_quiet_server() {
    let floor = Server::floor(&[]);
    for transport in TRANSPORTS {
        let options = format!("--clients 50 --seconds 1 --transport {transport} --no-floor {}", watched(&floor));
        let figures = floor.run_well("idle", "idle.json", &options);
        assert_eq!(figures["transport"], transport);
        assert_eq!(figures["idle"]["polls_ended"], 0);
        // What the kernel wakes it for on its own is no poll of fifty clients.
        assert!(figures["server"]["wakeups"].as_u64().is_some_and(|count| count < 10), "{}", figures["server"]);
    }
}

#[test]
fn shards_share_a_run_and_their_figures_are_joined() {
    let floor = Server::floor(&[]);
    shards(&floor, "floor");
    let lossy = Server::floor(&["--drop-every", "50"]);
    let options = "--clients 20 --messages 10 --rate 100 --drain 1 --timeout 60 --run lossy";
    let others = lossy.begin("fanout", "lossy-2.json", &format!("{options} --shard 2/2"));
    let (first, _) = lossy.run("fanout", "lossy-1.json", &format!("{options} --shard 1/2"));
    let second = others.wait_with_output().expect("it runs");
    assert!([first.status.code(), second.status.code()].contains(&Some(1)), "eight are lost");
    let merged = merge(["lossy-1.json", "lossy-2.json"], "lossy.json");
    assert_eq!((merged.0, &merged.1["delivery"]["expected"]), (Some(1), &400.into()));
    let lost = ["lossy-1.json", "lossy-2.json"].map(|name| figures(name)["delivery"]["lost"].as_u64().unwrap_or(0));
    assert_eq!(merged.1["delivery"]["lost"], lost.iter().sum::<u64>());
    // Into one of the files that it reads.
    let again = merge(["lossy-1.json", "lossy-2.json"], "lossy-2.json");
    assert_eq!((again.0, &again.1["delivery"]), (Some(1), &merged.1["delivery"]));
}

fn merge(names: [&str; 2], into: &str) -> (Option<i32>, Value) {
    let mut command = Command::new(PROGRAM);
    let output = command.arg("merge").args(names.map(file)).arg("--json").arg(file(into)).output().expect("it runs");
    (output.status.code(), figures(into))
}

fn shards(server: &Server, name: &str) {
    for (scenario, expected) in [("fanout", 90 * 100), ("rooms", 0)] {
        let options = format!("--messages 100 --burst 5 --rate 1000 --timeout 60 --run {name}-{scenario}");
        let names = [1, 2].map(|index| format!("{name}-{scenario}-{index}.json"));
        let second = server.begin(scenario, &names[1], &format!("{options} --clients 60 --shard 2/2"));
        let first = server.run_well(scenario, &names[0], &format!("{options} --clients 30 --shard 1/2"));
        assert_well(&second.wait_with_output().expect("it runs"), "the second shard");
        let second = figures(&names[1]);
        let (code, whole) = merge([&names[0], &names[1]], &format!("{name}-{scenario}.json"));
        assert_eq!((code, &whole["ok"], &whole["clients"]), (Some(0), &true.into(), &90.into()));
        let sum = |figure: &str| first["delivery"][figure].as_u64().zip(second["delivery"][figure].as_u64());
        for figure in ["expected", "delivered"] {
            let (first, second) = sum(figure).expect("counts");
            assert!(first > 0 && second > 0);
            assert_eq!(whole["delivery"][figure], first + second);
        }
        assert_eq!((&second["delivery"]["published"], &whole["delivery"]["published"]), (&0.into(), &100.into()));
        if expected > 0 {
            assert_eq!(whole["delivery"]["expected"], expected);
        }
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
