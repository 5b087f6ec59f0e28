//! Worlds by chance: a scenario with more troubles, closer bounds, and hostile people in every other one.
//!
//! Owns which of them go together, and the proof that hostile people change nothing for others: a world in which nothing is
//! so scarce that they could take it away is played a second time without them, and everyone else gets the same events at the
//! same times.
//!
//! One thing they may change by being there: with which answer of one moment an event comes. Answers are made and written a
//! few at a time ([`Limits::deliveries_at_once`]). Once a poll is written, requests that waited behind it are read, and what
//! they publish still goes into the answers that are not made yet. Where hostile people stand before others, those get in
//! one answer what came in two, ask again once less, and are a little apart from then on. That is no more than a delay of
//! answers that nobody has promised an order: the order of one publisher on one channel, and that everything comes once,
//! are in the book of either world. So where the two stories differ, both are told again with all answers of a turn made
//! before the first is written; and those two must be the same, whatever it was that differed before.

use crate::broker;
use crate::broker::rate::Rate;
use crate::limits::Limits;

use super::hooks;
use super::invariants::Kind;
use super::network::Faults;
use super::rng::Rng;
use super::scenario::{self, Outcome, Run, Scenario};

/// Plays a world.
pub(crate) fn play(run: &Run, peaceful: bool) -> Outcome {
    let mut world = draw(run);
    if peaceful {
        world.scenario.hostiles = 0;
    }
    let mut outcome = world.play(run);
    if world.scenario.hostiles > 0 && world.fair {
        let quietly = Run { aloud: false, ..run.clone() };
        if world.play_alone(&quietly).got != outcome.got {
            world.scenario.limits.deliveries_at_once = usize::MAX;
            let (alone, beside) = (world.play_alone(&quietly), world.play(&quietly));
            assert_eq!(alone.got, beside.got, "what each client got and when, without hostile people and with them");
            outcome.tally.add(Kind::Regrouped, 1);
        }
        outcome.tally.add(Kind::Compared, 1);
    }
    outcome
}

struct World {
    scenario: Scenario,
    /// The server ends while everyone is busy.
    ends: bool,
    /// Nothing is so scarce, and no moment so fine, that hostile people change anything for others.
    fair: bool,
}

impl World {
    fn play(&self, run: &Run) -> Outcome {
        if run.aloud {
            println!("{:#?}", self.scenario);
        }
        if self.ends { self.scenario.play_to_the_end(run) } else { self.scenario.play(run) }
    }

    /// The same without its hostile people.
    fn play_alone(&self, run: &Run) -> Outcome {
        Self { scenario: Scenario { hostiles: 0, ..self.scenario.clone() }, ..*self }.play(run)
    }
}

fn draw(run: &Run) -> World {
    let mut rng = run.chance.of("worlds", 0);
    let place = rng.below(scenario::ALL.len() as u64 + 1) as usize;
    let ends = place == scenario::ALL.len();
    let base = scenario::ALL.get(place).map_or_else(scenario::ending, |scenario| scenario());
    let lazy = base.lazy;
    let mut scenario = small(base, &mut rng);
    if rng.chance(300) && !lazy {
        trouble(&mut scenario, &mut rng);
    }
    let tight = rng.chance(300) && !lazy;
    if tight {
        tighten(&mut scenario, &mut rng);
    }
    let shared = rng.chance(500) && guard(&mut scenario, &mut rng);
    if rng.chance(500) {
        scenario.hostiles = scenario.clients + scenario.listeners;
        scenario.secluded = true;
        // What they do to sessions counts.
        scenario.broker.max_sessions_per_browser = scenario.broker.max_sessions_per_browser.or(Some(4));
    }
    let hooked = run.chance.is_third() && !lazy;
    if hooked {
        hook(&mut scenario, &mut run.chance.of("hooked", 0));
    }
    let pieces = scenario.faults.split + scenario.faults.short_read + scenario.faults.short_write;
    let scarce = tight || shared || hooked || scenario.crash_steps > 0 || scenario.name == "tight";
    // A server that ends lets everybody go one after the other: the more there are, the later. With a script, whoever
    // chooses takes bytes away from others.
    let fair = !scarce && !ends && pieces == 0 && !run.chance.is_scripted();
    if fair && scenario.hostiles > 0 {
        scenario.faults.delay_ms.0 = scenario.faults.delay_ms.0.max(1);
    }
    World { scenario, ends, fair }
}

/// There are hooks.
fn hook(scenario: &mut Scenario, rng: &mut Rng) {
    scenario.hooks = Some(hooks::Habits::draw(rng));
    hooks::bound(&mut scenario.limits, rng);
    // On a WebSocket, unlike on a connection of HTTP, what follows a batch that waits is read at once.
    scenario.habits.single = *rng.pick(&[200, 900]);
    scenario.never = &[];
}

/// Fewer people and less time, so that there can be more worlds.
fn small(base: Scenario, rng: &mut Rng) -> Scenario {
    let clients = 2 + rng.below(3) as usize;
    let (timeout_ms, max_interval_ms) =
        if base.lazy { (4_000, 3_000) } else { (*rng.pick(&[1_500, 4_000]), *rng.pick(&[1_500, 3_000])) };
    Scenario {
        clients,
        publishers: 1 + rng.below(clients as u64) as usize,
        listeners: base.listeners.min(1 + rng.below(2) as usize),
        busy_ms: 500 + rng.below(2_500),
        broker: broker::Config { timeout_ms, max_interval_ms, ..base.broker },
        limits: Limits { body_bytes: 128 * 1024, ..base.limits },
        ..base
    }
}

/// What else may happen to a server.
fn trouble(scenario: &mut Scenario, rng: &mut Rng) {
    let restarts = scenario.restart_every_ms > 0;
    match rng.below(4) {
        0 => {
            let pause_ms = *rng.pick(&[300, 1_000, 3_000, 8_000]);
            scenario.faults = Faults { pause: 800, pause_ms, ..scenario.faults.clone() };
        }
        1 => scenario.faults = Faults { deaf: 300, ..scenario.faults.clone() },
        2 if restarts => (scenario.crash_steps, scenario.restart_every_ms) = (500, 1 << 40),
        _ => scenario.clock_steps = !restarts,
    }
    scenario.never = &[];
}

/// What keeps hostile people out is so close that it is reached. Whether something of that is shared by all, so that they may
/// take it away from others for a while.
fn guard(scenario: &mut Scenario, rng: &mut Rng) -> bool {
    scenario.guarded = true;
    scenario.one_host = rng.chance(500);
    if scenario.lazy {
        return false;
    }
    scenario.never = &[];
    if rng.chance(500) {
        let (per_second, burst) = (1 + rng.below(4) as u32, 1 + rng.below(4) as u32);
        scenario.broker.handshake_rate = Some(Rate { per_second, burst });
    }
    let limits = &mut scenario.limits;
    if rng.chance(500) {
        (limits.write_ms, limits.write_bytes) = (1_000 + rng.below(2_000), 100 + rng.below(2_000) as usize);
    }
    let mut shared = false;
    for place in 0..4 {
        if !rng.chance(if place == 2 { 500 } else { 300 }) {
            continue;
        }
        shared = true;
        match place {
            0 => limits.fanout_per_turn = 1 + rng.below(20),
            1 => {
                limits.received_bytes = 500 + rng.below(4_000) as usize;
                (limits.head_ms, limits.body_ms) = (1_500, 1_500);
            }
            2 => {
                limits.queued_bytes = 2_000 + rng.below(20_000) as usize;
                (limits.batch_messages, limits.body_bytes) = (32, 64 * 1024);
            }
            _ => {
                let people = scenario.clients + scenario.listeners;
                (limits.connections, scenario.starves) = (2 * people + 2 + rng.below(10) as usize, true);
                (limits.idle_ms, limits.head_ms, limits.body_ms) = (3_000, 1_000, 1_000);
                limits.full_ms = 100 + rng.below(1_000);
            }
        }
    }
    shared
}

/// Bounds so close that they are reached.
fn tighten(scenario: &mut Scenario, rng: &mut Rng) {
    let people = scenario.clients + scenario.listeners;
    scenario.never = &[];
    for _ in 0..1 + rng.below(3) {
        let limits = &mut scenario.limits;
        match rng.below(15) {
            0 => limits.pipelined_requests = 1 + rng.below(3) as u8,
            1 => limits.output_bytes = 300 + rng.below(2_000) as usize,
            2 => limits.outbox_events = 4 + rng.below(20) as usize,
            3 => limits.outbox_bytes = 1_500 + rng.below(4_000) as usize,
            4 => (limits.queued_bytes, limits.outbox_bytes) = (8_000 + rng.below(32_000) as usize, 3_500),
            5 => limits.deliveries_per_turn = 1 + rng.below(3) as usize,
            6 => limits.deliveries_at_once = 1 + rng.below(2) as usize,
            7 => limits.timers_per_turn = 1 + rng.below(2) as usize,
            8 => limits.read_bytes_per_turn = 50 + rng.below(500) as usize,
            9 => (limits.sessions, scenario.listeners) = (scenario.clients + rng.below(3) as usize, 0),
            10 => {
                (limits.connections, scenario.starves) = (2 * people + 2 + rng.below(10) as usize, true);
                (limits.idle_ms, limits.head_ms, limits.body_ms) = (3_000, 1_000, 1_000);
            }
            11 => limits.history_bytes = 1_000 + rng.below(5_000) as usize,
            13 => limits.subscriptions = 9,
            12 => limits.history_channels = 1 + rng.below(6) as usize,
            _ => (limits.head_bytes, limits.line_bytes, limits.batch_messages) = (700, 300, 12),
        }
    }
}
