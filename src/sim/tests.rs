//! What is played by `cargo test`.
//!
//! Owns how many seeds of which scenario, and what each scenario must show.

use std::collections::BTreeSet;

use super::invariants::Kind;
use super::rng::Chance;
use super::scenario::{self, Outcome, Run, Scenario};
use super::{Options, Totals, run, script};

/// So many of them are played twice.
const TWICE: u64 = 3;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

/// Plays a scenario with several seeds, the first ones twice.
fn play(scenario: &Scenario) {
    play_with(scenario, |run| scenario.play(run));
}

fn play_with(scenario: &Scenario, once: impl Fn(&Run) -> Outcome) {
    let seeds = match number("ENCKE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("ENCKE_SIM_SEEDS").unwrap_or(scenario.seeds),
    };
    let mut totals = Totals::default();
    let mut hashes = BTreeSet::new();
    for seed in seeds.clone() {
        let repeat = format!("ENCKE_SIM_SEED={seed} cargo test -p encke sim   (scenario: {})", scenario.name);
        let run = Run { chance: Chance::seeded(seed), repeat, aloud: false };
        let outcome = once(&run);
        if seed <= TWICE {
            assert_eq!(once(&run), outcome, "seed {seed} gives another story the second time");
        }
        assert!(hashes.insert(outcome.hash), "seed {seed} gives the same story as another one");
        totals.add(&outcome);
    }
    eprintln!("{}, seeds {seeds:?}: {:?}", scenario.name, totals.tally);
    assert!(totals.unseen().is_empty(), "not shown: {:?} {:?}", totals.unseen(), totals.tally);
}

#[test]
fn every_transport_and_any_change_of_it_delivers_exactly_once() {
    play(&scenario::mixed());
}

#[test]
fn what_is_acknowledged_comes_exactly_once() {
    play(&scenario::acknowledged());
    play(&scenario::half_acknowledged());
}

#[test]
fn who_remembers_where_it_was_goes_on_from_there() {
    play(&scenario::remembered());
}

#[test]
fn what_is_gone_is_told() {
    play(&scenario::forgetful());
}

#[test]
fn servers_may_die_and_begin_anew() {
    play(&scenario::reborn());
}

#[test]
fn who_reads_slowly_is_told_what_it_lost() {
    play(&scenario::overflowing());
}

#[test]
fn what_may_wait_does_and_not_for_too_long() {
    play(&scenario::lazy());
}

#[test]
fn sessions_migrate_at_any_moment_on_a_bad_network() {
    play(&scenario::migrating());
}

#[test]
fn a_proxy_that_buffers_costs_time_and_nothing_else() {
    play(&scenario::buffered());
}

#[test]
fn an_ending_server_ends_whatever_is_held_and_open() {
    let scenario = scenario::ending();
    play_with(&scenario, |run| scenario.play_to_the_end(run));
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

/// A few of the worlds that `examples/simulate.rs` plays by the million.
#[test]
fn hostile_people_change_nothing_for_others() {
    let mut totals = Totals::default();
    for seed in 1..=100 {
        totals.add(&run(seed, Options::default()));
    }
    eprintln!("{:?}", totals.tally);
    for kind in [Kind::Assaulted, Kind::Shed, Kind::Compared, Kind::Died, Kind::Due] {
        assert!(totals.tally.of(kind) > 0, "{kind:?}: {:?}", totals.tally);
    }
}

/// Worlds in which the simulator once expected what nobody has promised: that events come with the same answers beside
/// hostile people, that no more waits on a connection than the mark, that what waits to be accepted is not overtaken, and
/// that a socket may be full again and again while the server sleeps.
#[test]
fn what_was_expected_too_strictly_is_not_expected() {
    for seed in [138_721, 1_024_238, 1_088_140, 1_147_525, 1_151_699] {
        run(seed, Options::default());
    }
}

/// A few more worlds with hooks: those of every third seed have them.
#[test]
fn hooks_may_do_what_they_like() {
    let mut totals = Totals::default();
    for seed in (3..=240).step_by(3) {
        totals.add(&run(seed, Options::default()));
    }
    eprintln!("{:?}", totals.tally);
    let kinds = [
        Kind::Denied,
        Kind::Deleted,
        Kind::Ended,
        Kind::Deferred,
        Kind::TooLate,
        Kind::Reshaped,
        Kind::Commanded,
        Kind::CommandsFull,
        Kind::TurnedDown,
        Kind::OwnEvent,
        Kind::Handed,
        Kind::Dismissed,
    ];
    for kind in kinds {
        assert!(totals.tally.of(kind) > 0, "{kind:?}: {:?}", totals.tally);
    }
}

#[test]
fn the_world_of_a_seed_is_the_same_on_every_thread() {
    let hashes = || (1..=12).map(|seed| run(seed, Options::default()).hash).collect::<Vec<_>>();
    let elsewhere = std::thread::spawn(hashes);
    assert_eq!(hashes(), elsewhere.join().unwrap());
}

#[test]
fn bytes_may_decide() {
    let mut hashes = BTreeSet::new();
    for first in 0..=20 {
        let bytes: Vec<u8> = (0..400_u32).map(|at| (at * at / 3 + first) as u8 ^ first as u8).collect();
        let outcome = script(&bytes);
        if first < 3 {
            assert_eq!(script(&bytes), outcome);
        }
        hashes.insert(outcome.hash);
    }
    assert_eq!(hashes.len(), 21);
    script(&[]);
}
