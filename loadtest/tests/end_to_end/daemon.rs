//! The program against the daemon, both as processes: every scenario on every transport, counted exactly.

use crate::common::{Server, assert_well, figures};

const TRANSPORTS: [&str; 4] = ["long-polling", "websocket", "streaming", "eventsource"];

#[test]
fn five_hundred_clients_on_each_transport() {
    let encke = Server::encke("");
    for transport in TRANSPORTS {
        for (name, pace) in [("after", ""), ("rate", "--rate 100 --burst 2")] {
            let options = format!("--clients 500 --messages 6 --transport {transport} {pace}");
            let figures = encke.run_well("fanout", &format!("encke-{transport}-{name}.json"), &options);
            let delivery = &figures["delivery"];
            for (figure, value) in
                [("expected", 3000), ("delivered", 3000), ("lost", 0), ("duplicated", 0), ("out_of_order", 0)]
            {
                assert_eq!(delivery[figure], value, "{figure} in {delivery}, {transport}");
            }
            assert_eq!(figures["reopened_connections"], 0, "{transport}");
        }
    }
}

#[test]
fn nothing_is_lost_between_two_streams() {
    let encke = Server::encke("--max-stream-age 1s --timeout 2s");
    for transport in ["streaming", "eventsource"] {
        let options = format!("--clients 50 --messages 150 --rate 50 --transport {transport}");
        let figures = encke.run_well("fanout", &format!("encke-aged-{transport}.json"), &options);
        assert_eq!(figures["delivery"]["delivered"], 7500);
    }
}

#[test]
fn batches_that_are_acknowledged() {
    let encke = Server::encke("");
    for transport in ["long-polling", "websocket", "streaming"] {
        let options = format!("--clients 100 --messages 50 --rate 500 --ack --transport {transport}");
        encke.run_well("fanout", &format!("encke-ack-{transport}.json"), &options);
    }
}

#[test]
fn rooms_and_mixed() {
    let encke = Server::encke("");
    let rooms = encke.run_well("rooms", "encke-rooms.json", "--clients 200 --messages 500 --rate 2000");
    assert_eq!(rooms["delivery"]["acknowledged"], 500);
    let mixed = encke.run_well("mixed", "encke-mixed.json", "--clients 80 --messages 180 --rate 300 --deflate");
    assert_eq!(mixed["delivery"]["acknowledged"], 180);
}

#[test]
fn all_come_back_from_a_storm() {
    let encke = Server::encke("");
    for transport in TRANSPORTS {
        let options = format!("--clients 100 --messages 60 --rate 100 --transport {transport}");
        let figures = encke.run_well("storm", &format!("encke-storm-{transport}.json"), &options);
        let (storm, delivery) = (&figures["storm"], &figures["delivery"]);
        assert_eq!((&storm["dropped"], &storm["returned"]), (&100.into(), &100.into()));
        let count = |figure: &serde_json::Value| figure.as_u64().unwrap_or_default();
        assert_eq!(count(&delivery["delivered"]) + count(&storm["excused"]), 6000, "{transport}");
        // Half of all is published after the connections broke. A session keeps that but for what is written at once.
        assert!(count(&storm["excused"]) <= 1000, "{transport}: {storm}");
        assert!(count(&figures["reopened_connections"]) >= 100, "{transport}");
    }
}

#[test]
fn who_is_away_for_longer_than_the_publishing_gets_it_all_the_same() {
    let encke = Server::encke("");
    for transport in TRANSPORTS {
        let options = format!("--clients 50 --messages 40 --rate 40 --away 2.5 --drain 1 --transport {transport}");
        let figures = encke.run_well("storm", &format!("encke-away-{transport}.json"), &options);
        let (storm, delivery) = (&figures["storm"], &figures["delivery"]);
        let count = |figure: &serde_json::Value| figure.as_u64().unwrap_or_default();
        assert_eq!(
            (&storm["returned"], &storm["sessions_anew"], &delivery["lost"]),
            (&50.into(), &0.into(), &0.into())
        );
        assert_eq!(count(&delivery["delivered"]) + count(&storm["excused"]), 2000, "{transport}: {storm}");
        assert!(count(&storm["excused"]) <= 500, "{transport}: {storm}");
    }
}

#[test]
fn nothing_that_is_acknowledged_is_lost_in_a_storm() {
    let encke = Server::encke("");
    for transport in ["long-polling", "websocket", "streaming"] {
        let options = format!("--clients 100 --messages 60 --rate 100 --ack --transport {transport}");
        let figures = encke.run_well("storm", &format!("encke-storm-ack-{transport}.json"), &options);
        assert_eq!((&figures["storm"]["excused"], &figures["delivery"]["delivered"]), (&0.into(), &6000.into()));
        assert_eq!(figures["storm"]["sessions_anew"], 0);
    }
}

#[test]
fn sessions_that_are_forgotten_begin_anew() {
    let encke = Server::encke("--max-interval 2s");
    let options = "--clients 50 --messages 60 --rate 20 --away 4";
    let figures = encke.run_well("storm", "encke-anew.json", options);
    assert_eq!(figures["storm"]["sessions_anew"], 50);
    assert_eq!(figures["storm"]["returned"], 50);
}

#[test]
fn who_is_slow_is_counted_apart() {
    let encke = Server::encke("--max-queue 100 --max-queue-size 64MiB");
    // More than any kernel holds for one connection.
    let options = "--clients 2 --slow-share 50 --messages 400 --rate 50 --size 200000 --transport websocket";
    let figures = encke.run_well("slow", "encke-slow.json", options);
    let (slow, delivery) = (&figures["slow"], &figures["delivery"]);
    assert_eq!((&slow["clients"], &slow["expected"], &delivery["expected"]), (&1.into(), &400.into(), &400.into()));
    assert_eq!(delivery["delivered"], 400);
    let ended = ["disconnected", "sessions_anew"].map(|figure| slow[figure].as_u64().unwrap_or_default());
    assert_eq!(ended.iter().sum::<u64>(), 1, "{slow}");
    assert!(slow["delivered"].as_u64() < slow["expected"].as_u64(), "{slow}");
    assert_eq!((&slow["duplicated"], &slow["out_of_order"]), (&0.into(), &0.into()));
    // Who reads a little gets a little.
    let options = "--clients 10 --slow-share 20 --messages 40 --rate 100 --size 1000 --slow-rate 20000";
    for transport in TRANSPORTS {
        let figures = encke.run_well("slow", "encke-slower.json", &format!("{options} --transport {transport}"));
        let delivered = figures["slow"]["delivered"].as_u64().unwrap_or_default();
        assert!((1..=80).contains(&delivered), "{transport}: {}", figures["slow"]);
        assert!(figures["slow"]["latency_us"]["p50"].is_number());
    }
}

#[test]
fn shards_meet_on_the_server() {
    let encke = Server::encke("");
    let options = "--clients 50 --messages 40 --rate 200 --timeout 60 --run daemon";
    let second = encke.begin("fanout", "encke-shard-2.json", &format!("{options} --shard 2/2 --transport websocket"));
    encke.run_well("fanout", "encke-shard-1.json", &format!("{options} --shard 1/2 --transport websocket"));
    assert_well(&second.wait_with_output().expect("it runs"), "the second shard");
    assert_eq!(figures("encke-shard-2.json")["delivery"]["delivered"], 2000);
}
