//! The simulator: the whole server under model clients, a faulty network and a clock that is only a number.
//!
//! A seed decides everything, so a failure is repeated with what the report says at its end:
//! `ENCKE_SIM_SEED=7 cargo test -p encke sim`. `ENCKE_SIM_SEEDS=1000` plays the seeds 1 to 1000 of each scenario.
//!
//! | room | owns |
//! |---|---|
//! | `rng` | chance, from a seed |
//! | `network` | byte pipes between two ends, and all faults |
//! | `world` | the clock, the turn of the server's loop, whoever lives at the other end ([`world::People`]) |
//! | `trace` | the hash over all output, the last lines of the story |
//! | `speech`, `lane` | HTTP and Bayeux as clients speak them; one connection with its requests under way |
//! | `client`, `crowd` | a model client; all of them, and the server's own publishes |
//! | `invariants` | what must hold: the clients' book, the engine's numbers |
//! | `scenario` | what is played, and the course of a run |
//! | `troubles` | the troubles of a Comet beginner, one by one and by hand |
//!
//! What to widen: another transport is a way to read answers in `lane` and a habit; hostile clients are other people beside
//! the crowd; a restart is a new engine under the same network, in `world`.
//!
//! # What it is worth
//!
//! Each of these mistakes was planted by hand, alone, and turned the simulator red:
//!
//! | mistake | found by |
//! |---|---|
//! | the stamp check dropped, so overlapping patterns deliver twice | an event comes once (every scenario) |
//! | the outbox gives its newest event first | the order of one publisher on one channel (every scenario) |
//! | an event too many for one answer is dropped | whoever was subscribed gets it, or its connection died with it ("tight") |
//! | a connection known to be gone is given events | nothing is given after the peer's end ("lossy", "rude", by hand) |
//! | a moved subscription is not told its new place | no one gets what it is not subscribed to; no topics at rest |
//! | one encoding for each subscriber | encodings are at most publishes |
//! | a short write sends its bytes again | responses are well formed ("ragged", "lossy") |
//! | the tail of a split request is lost | each request has its answer ("ragged", "lossy", "tight") |
//! | a further request does not end the parked poll | answers come in the order of requests |
//! | a disconnect leaves the held connect open | a poll is answered by its timeout |
//! | a superseded connect is left open | a poll is answered by its timeout ("rude") |
//! | a pulled session stays marked as listed | a poll is answered by its timeout |
//! | written answers are not reported | sessions end in time (by hand); everyone is served in quiet times |
//! | the listeners of a dead connection are not told | nothing is left at rest |
//! | no expiry after a held connection dies | a session outlives its connection (by hand) |
//! | a closed connection leaves its timer | timers are at most sessions and connections |
//! | a browser's hold is not released | no one is told of a crowd where there is none |
//! | sending keeps a session alive for ever | whoever only sends is found out (by hand) |
//! | what a flush leaves over waits for a chance event | ten thousand are answered (by hand) |
//! | a session's subscriptions outlive it | no topics at rest |
//! | a connect's timer is not armed | a poll is answered by its timeout |
//! | what waited behind the bounds of pipelining is not read | each request has its answer ("one lane") |

mod client;
mod crowd;
mod invariants;
mod lane;
mod network;
mod rng;
mod scenario;
mod speech;
mod trace;
mod troubles;
mod world;

use std::collections::BTreeSet;

use invariants::Tally;
use scenario::Scenario;

/// Seeds of each scenario in a usual run.
const SEEDS: u64 = 30;
/// So many of them are played twice.
const TWICE: u64 = 3;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

/// Plays a scenario with several seeds, the first ones twice.
fn play(scenario: &Scenario) {
    let seeds = match number("ENCKE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("ENCKE_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let usual = seeds.end - seeds.start >= SEEDS;
    let mut tally = Tally::default();
    let mut hashes = BTreeSet::new();
    for seed in seeds.clone() {
        let outcome = scenario.play(seed);
        if seed <= TWICE {
            assert_eq!(scenario.play(seed), outcome, "seed {seed} gives another story the second time");
        }
        assert!(hashes.insert(outcome.hash), "seed {seed} gives the same story as another one");
        for kind in scenario.never {
            assert_eq!(outcome.tally.of(*kind), 0, "{kind:?} with seed {seed} of {}", scenario.name);
        }
        tally.join(&outcome.tally);
    }
    eprintln!("{}, seeds {seeds:?}: {tally:?}", scenario.name);
    for kind in scenario.shows {
        assert!(!usual || tally.of(*kind) > 0, "{} does not show what it is for: {kind:?} {tally:?}", scenario.name);
    }
}

#[test]
fn calm_networks_lose_nothing() {
    play(&scenario::calm());
}

#[test]
fn everything_fits_on_one_connection() {
    play(&scenario::one_lane());
}

#[test]
fn bytes_may_come_and_go_in_any_pieces() {
    play(&scenario::ragged());
}

#[test]
fn connections_and_clients_may_be_lost() {
    play(&scenario::lossy());
}

#[test]
fn clients_may_change_their_minds() {
    play(&scenario::rude());
}

#[test]
fn every_bound_may_be_close() {
    play(&scenario::tight());
}

#[test]
fn tabs_of_one_browser_take_turns() {
    play(&scenario::one_browser());
}
