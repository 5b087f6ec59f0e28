//! What is played: how many clients, how they behave, how bad the network is, how the server is set up.
//!
//! Owns the list of scenarios and the course of a run: a busy time, a quiet time in which everyone must be served, a time
//! to leave, and a time after which nothing may be left. A new scenario is one more function here.

use crate::broker::rules::{Keep, Rule};
use crate::broker::{self, Overflow};
use crate::limits::Limits;

use super::crowd::Crowd;
use super::hooks::{self, Shared};
use super::invariants::{Got, Kind, Tally};
use super::lane::Way;
use super::network::Faults;
use super::rng::Chance;
use super::world::{Setup, World};

/// How clients behave. Chances are out of a thousand, times are milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    /// For a client: to use one connection for everything.
    pub(crate) single: u32,
    /// All clients present the same browser cookie.
    pub(crate) one_browser: bool,
    /// For a request: to come in chunks.
    pub(crate) chunked: u32,
    /// Between two publishes of one publisher, on average.
    pub(crate) publish_every_ms: u64,
    /// The longest data.
    pub(crate) data_bytes: usize,
    /// Between two publishes, or dismissals, of the server itself; 0: none.
    pub(crate) server_every_ms: u64,
    /// For those to dismiss a session.
    pub(crate) dismiss: u32,
    /// Between two chances of one client to do one of the following.
    pub(crate) act_every_ms: u64,
    /// To add a subscription or give one up.
    pub(crate) resubscribe: u32,
    /// To disconnect, and come back with a new session.
    pub(crate) disconnect: u32,
    /// To vanish, and come back with the old session or without.
    pub(crate) vanish: u32,
    /// To close or reset the connection that polls.
    pub(crate) drop_poll: u32,
    /// To end the sending side of the connection that polls.
    pub(crate) finish_poll: u32,
    /// To send another connect while one is held.
    pub(crate) connect_twice: u32,
    /// To go on with another transport.
    pub(crate) switch: u32,
    /// For the way that is left then: to be lost, and not left open or closed as it should be.
    pub(crate) leave_badly: u32,
    /// To ping the server.
    pub(crate) ping: u32,
    /// For a probe: not to be confirmed.
    pub(crate) unconfirmed: u32,
    /// For a client: to be behind a proxy that passes on whole responses only.
    pub(crate) proxied: u32,
    /// For a client: to acknowledge its events.
    pub(crate) acks: u32,
    /// For a client: to remember what it has of channels with a history. Above 0, plain listeners do as well.
    pub(crate) replays: u32,
}

impl Habits {
    const TIDY: Self = Self {
        single: 200,
        one_browser: false,
        chunked: 0,
        publish_every_ms: 700,
        data_bytes: 200,
        server_every_ms: 2_000,
        dismiss: 0,
        act_every_ms: 3_000,
        resubscribe: 300,
        disconnect: 0,
        vanish: 0,
        drop_poll: 0,
        finish_poll: 0,
        connect_twice: 0,
        switch: 0,
        leave_badly: 0,
        ping: 0,
        unconfirmed: 0,
        proxied: 0,
        acks: 0,
        replays: 0,
    };
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Seeds in a usual run.
    pub(crate) seeds: u64,
    pub(crate) clients: usize,
    /// How many of them publish.
    pub(crate) publishers: usize,
    /// The transports that they use.
    pub(crate) ways: &'static [Way],
    /// How many listen by plain HTTP.
    pub(crate) listeners: usize,
    /// How long everyone is busy.
    pub(crate) busy_ms: u64,
    /// How long the server lives on average while they are; 0: as long as the run.
    pub(crate) restart_every_ms: u64,
    /// The server dies after so many steps at most, in the middle of whatever it does; 0: never.
    pub(crate) crash_steps: u64,
    /// The clock of the calendar is set now and then, by hours.
    pub(crate) clock_steps: bool,
    /// How many people wish everybody ill.
    pub(crate) hostiles: usize,
    /// Nobody listens to channels on which such people publish.
    pub(crate) secluded: bool,
    /// There is so little of something that not everybody gets in, or is answered, while those are there.
    pub(crate) starves: bool,
    /// The bounds that keep hostile people out are so close that they are reached.
    pub(crate) guarded: bool,
    /// One host is answered for, and no other.
    pub(crate) one_host: bool,
    /// All channels are lazy, and nothing else delays an event.
    pub(crate) lazy: bool,
    /// Hooks that do what they like.
    pub(crate) hooks: Option<hooks::Habits>,
    pub(crate) habits: Habits,
    pub(crate) faults: Faults,
    pub(crate) broker: broker::Config,
    pub(crate) limits: Limits,
    /// What must have happened at least once in a usual number of runs, or the scenario does not show what it is for.
    pub(crate) shows: &'static [Kind],
    /// What must not happen in a single run.
    pub(crate) never: &'static [Kind],
}

/// What came out of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Over all bytes that left the engine, with their times.
    pub hash: u64,
    /// The scenario that was played.
    pub scenario: &'static str,
    /// Turns of the server's loop.
    pub turns: u64,
    /// Virtual time that has passed, ms.
    pub simulated_ms: u64,
    /// Events that connections were given.
    pub delivered: u64,
    /// How often what happened.
    pub(crate) tally: Tally,
    /// What each client got and when, in the order in which it came.
    pub(crate) got: Got,
    /// How often the scenario is usually played, and what it shows then.
    pub(crate) usual: u64,
    pub(crate) shows: &'static [Kind],
}

/// What decides one run, and how it is told.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) chance: Chance,
    /// How to see it again, for the report of a failure.
    pub(crate) repeat: String,
    /// Each line of the story is printed as it happens.
    pub(crate) aloud: bool,
}

/// What does not happen to tidy clients while no connection is lost: so every event comes, and exactly once.
const TIDY_NEVER: &[Kind] =
    &[Kind::Lost, Kind::Superseded, Kind::Unknown, Kind::Resumed, Kind::Refused, Kind::Crowded, Kind::Overflow];

/// A network that only takes its time, and tidy clients: everything arrives exactly once.
pub(crate) fn calm() -> Scenario {
    Scenario {
        name: "calm",
        seeds: 30,
        clients: 6,
        publishers: 3,
        ways: &[Way::LongPolling],
        listeners: 0,
        busy_ms: 12_000,
        restart_every_ms: 0,
        crash_steps: 0,
        clock_steps: false,
        hostiles: 0,
        secluded: false,
        starves: false,
        guarded: false,
        one_host: false,
        lazy: false,
        hooks: None,
        habits: Habits::TIDY,
        faults: Faults::NONE,
        broker: broker::Config { timeout_ms: 4_000, max_interval_ms: 3_000, ..broker::Config::default() },
        limits: Limits::default(),
        shows: &[Kind::Due, Kind::Held, Kind::Unsubscribed],
        never: TIDY_NEVER,
    }
}

/// Everything is pipelined on one connection each, and many bytes come together.
pub(crate) fn one_lane() -> Scenario {
    let habits = Habits { single: 1_000, publish_every_ms: 300, chunked: 300, ..Habits::TIDY };
    let faults = Faults { late: 300, late_ms: 20, ..Faults::NONE };
    // Fewer than come together: the rest waits until something is written.
    let limits = Limits { pipelined_requests: 2, ..Limits::default() };
    let shows = &[Kind::Due, Kind::Held];
    Scenario { name: "one lane", shows, clients: 5, habits, faults, limits, busy_ms: 8_000, ..calm() }
}

/// Bytes come and go in pieces, with pauses.
pub(crate) fn ragged() -> Scenario {
    let faults = Faults {
        delay_ms: (0, 60),
        split: 300,
        short_read: 100,
        short_write: 400,
        stall: 200,
        stall_ms: 200,
        late: 200,
        late_ms: 20,
        ..Faults::NONE
    };
    let habits = Habits { data_bytes: 20_000, chunked: 200, single: 400, ..Habits::TIDY };
    let shows = &[Kind::Due, Kind::Held];
    Scenario { name: "ragged", shows, clients: 5, habits, faults, busy_ms: 8_000, ..calm() }
}

/// Connections are lost, and clients with them.
pub(crate) fn lossy() -> Scenario {
    let faults = Faults {
        delay_ms: (0, 40),
        split: 100,
        short_write: 100,
        stall: 100,
        stall_ms: 100,
        reset: 400,
        reset_within_ms: 8_000,
        late: 400,
        late_ms: 30,
        ..Faults::NONE
    };
    let habits = Habits {
        vanish: 150,
        drop_poll: 300,
        finish_poll: 300,
        act_every_ms: 1_500,
        publish_every_ms: 500,
        ..Habits::TIDY
    };
    let shows = &[Kind::Due, Kind::Lost, Kind::Unknown, Kind::Resumed, Kind::Unanswered];
    let never = &[Kind::Overflow, Kind::Refused, Kind::Crowded];
    Scenario { name: "lossy", shows, never, clients: 7, publishers: 4, habits, faults, ..calm() }
}

/// Clients that change their minds, and a server that sends them away.
pub(crate) fn rude() -> Scenario {
    let habits = Habits {
        disconnect: 150,
        connect_twice: 300,
        finish_poll: 150,
        resubscribe: 500,
        act_every_ms: 800,
        server_every_ms: 800,
        dismiss: 300,
        ..Habits::TIDY
    };
    let faults = Faults { delay_ms: (0, 30), late: 400, late_ms: 30, ..Faults::NONE };
    let shows = &[Kind::Due, Kind::Superseded, Kind::Dismissed, Kind::Unknown, Kind::Unsubscribed];
    let never = &[Kind::Lost, Kind::Overflow, Kind::Refused, Kind::Crowded];
    Scenario { name: "rude", shows, never, clients: 6, habits, faults, ..calm() }
}

/// Every bound is close.
pub(crate) fn tight() -> Scenario {
    let limits = Limits {
        pipelined_requests: 2,
        output_bytes: 600,
        outbox_events: 12,
        outbox_bytes: 4_000,
        queued_bytes: 10_000,
        deliveries_per_turn: 1,
        timers_per_turn: 1,
        read_bytes_per_turn: 100,
        sessions: 5,
        ..Limits::default()
    };
    let habits = Habits { publish_every_ms: 100, vanish: 100, drop_poll: 300, act_every_ms: 1_000, ..Habits::TIDY };
    let faults = Faults { delay_ms: (0, 200), stall: 300, stall_ms: 200, late: 200, late_ms: 30, ..Faults::NONE };
    let shows = &[Kind::Due, Kind::Overflow, Kind::Refused, Kind::Unknown];
    let never = &[];
    Scenario { name: "tight", shows, never, clients: 6, habits, faults, limits, busy_ms: 5_000, ..calm() }
}

/// All clients are tabs of one browser, and only two of them may wait.
pub(crate) fn one_browser() -> Scenario {
    let habits =
        Habits { one_browser: true, vanish: 50, drop_poll: 200, disconnect: 50, act_every_ms: 1_000, ..Habits::TIDY };
    let broker =
        broker::Config { max_sessions_per_browser: Some(2), multi_session_interval_ms: 3_500, ..calm().broker };
    let shows = &[Kind::Due, Kind::Crowded, Kind::Resumed];
    let never = &[Kind::Overflow, Kind::Refused];
    Scenario { name: "one browser", shows, never, habits, broker, ..calm() }
}

/// Every bound on time that only streams and WebSockets have is close enough to be met.
fn short_streams() -> Limits {
    Limits { heartbeat_ms: 1_500, stream_ms: 6_000, confirm_ms: 1_000, ping_ms: 1_300, ..Limits::default() }
}

/// Every transport, and clients that change theirs; no connection is lost: everything arrives exactly once.
pub(crate) fn mixed() -> Scenario {
    let habits = Habits { switch: 300, ping: 100, act_every_ms: 1_000, ..Habits::TIDY };
    let shows = &[
        Kind::Due,
        Kind::Held,
        Kind::Switched,
        Kind::Streamed,
        Kind::Pushed,
        Kind::Sourced,
        Kind::Listened,
        Kind::Moved,
        Kind::Ponged,
    ];
    let never = &[Kind::Lost, Kind::Unknown, Kind::Refused, Kind::Crowded, Kind::Overflow, Kind::Fallback];
    let limits = short_streams();
    Scenario { name: "mixed", shows, never, ways: Way::ALL, listeners: 2, habits, limits, ..calm() }
}

/// The same on a bad network, all the time and at any moment, and the way that is left is often lost.
pub(crate) fn migrating() -> Scenario {
    let habits = Habits {
        switch: 700,
        leave_badly: 600,
        unconfirmed: 100,
        ping: 50,
        vanish: 40,
        drop_poll: 200,
        finish_poll: 100,
        connect_twice: 100,
        disconnect: 30,
        act_every_ms: 500,
        server_every_ms: 1_000,
        dismiss: 100,
        publish_every_ms: 300,
        ..Habits::TIDY
    };
    let shows = &[
        Kind::Due,
        Kind::Lost,
        Kind::Switched,
        Kind::Streamed,
        Kind::Pushed,
        Kind::Sourced,
        Kind::Listened,
        Kind::Superseded,
        Kind::Moved,
        Kind::Fallback,
        Kind::Dismissed,
        Kind::Unknown,
    ];
    let never = &[Kind::Overflow, Kind::Refused, Kind::Crowded];
    let limits = Limits { confirm_ms: 2_000, ..short_streams() };
    let faults = Faults { split: 200, short_read: 50, reset: 200, ..lossy().faults };
    let (clients, ways) = (6, Way::ALL);
    Scenario {
        name: "migrating",
        seeds: 60,
        shows,
        never,
        clients,
        ways,
        listeners: 2,
        habits,
        faults,
        limits,
        ..calm()
    }
}

/// Clients behind a proxy that holds the bytes of a response until it ends: streams are found out, and nothing is lost.
pub(crate) fn buffered() -> Scenario {
    let habits = Habits { proxied: 700, switch: 150, ..Habits::TIDY };
    let shows = &[Kind::Due, Kind::Held, Kind::Fallback, Kind::Streamed, Kind::Sourced, Kind::Moved];
    let never = &[Kind::Lost, Kind::Unknown, Kind::Refused, Kind::Crowded, Kind::Overflow];
    let ways = &[Way::Streaming, Way::Streaming, Way::LongPolling, Way::EventSource];
    Scenario { name: "buffered", shows, never, ways, habits, limits: short_streams(), ..calm() }
}

/// Clients that acknowledge, on every transport and on a network that loses what it can: everything comes exactly once.
pub(crate) fn acknowledged() -> Scenario {
    let habits = Habits { acks: 1_000, switch: 300, connect_twice: 200, dismiss: 50, ..migrating().habits };
    let shows = &[Kind::Due, Kind::Acked, Kind::Abandoned, Kind::Switched, Kind::Streamed, Kind::Unknown];
    let never = &[Kind::Lost, Kind::Overflow, Kind::Refused, Kind::Crowded];
    Scenario {
        name: "acknowledged",
        seeds: 60,
        shows,
        never,
        clients: 5,
        busy_ms: 5_000,
        listeners: 0,
        habits,
        ..migrating()
    }
}

/// Some acknowledge and some do not, and batches are short.
pub(crate) fn half_acknowledged() -> Scenario {
    let limits = Limits { output_bytes: 600, deliveries_per_turn: 2, ..short_streams() };
    let habits = Habits { acks: 500, publish_every_ms: 300, ..lossy().habits };
    let shows = &[Kind::Due, Kind::Acked, Kind::Lost, Kind::Resumed];
    let ways = &[Way::LongPolling, Way::WebSocket];
    Scenario {
        name: "half acknowledged",
        seeds: 60,
        shows,
        ways,
        clients: 5,
        publishers: 3,
        busy_ms: 4_000,
        habits,
        limits,
        ..lossy()
    }
}

/// Events of all channels are kept, of some only the newest few.
fn kept(count: usize) -> Vec<Rule> {
    let keep = |count| Some(Some(Keep { count, ..Keep::default() }));
    let rule = |pattern: &str, count| Rule { pattern: pattern.to_owned(), history: keep(count), ..Rule::default() };
    vec![rule("/**", 1_000), rule("/a/b", count), rule("/x/**", count)]
}

/// Clients that remember where they were, on a network that loses what it can; some acknowledge.
pub(crate) fn remembered() -> Scenario {
    let broker = broker::Config { channels: kept(1_000), ..calm().broker };
    let habits =
        Habits { replays: 800, acks: 400, resubscribe: 0, disconnect: 150, publish_every_ms: 250, ..lossy().habits };
    let shows = &[Kind::Due, Kind::Lost, Kind::Replayed, Kind::Listened];
    let limits = short_streams();
    let ways = &[Way::LongPolling, Way::LongPolling, Way::WebSocket, Way::Streaming];
    Scenario {
        name: "remembered",
        seeds: 60,
        shows,
        ways,
        clients: 5,
        publishers: 3,
        busy_ms: 4_000,
        listeners: 2,
        habits,
        broker,
        limits,
        ..lossy()
    }
}

/// The same with so little that is kept that some of it is gone before it is read.
pub(crate) fn forgetful() -> Scenario {
    let broker = broker::Config { channels: kept(4), ..calm().broker };
    let habits = Habits { publish_every_ms: 120, disconnect: 0, vanish: 300, ..remembered().habits };
    let limits = Limits { history_bytes: 12_000, outbox_events: 40, output_bytes: 800, ..short_streams() };
    let shows = &[Kind::Due, Kind::Replayed, Kind::Gap, Kind::Evicted];
    Scenario { name: "forgetful", seeds: 60, shows, never: &[], habits, broker, limits, ..remembered() }
}

/// The server dies now and then, and is there again at once.
pub(crate) fn reborn() -> Scenario {
    let habits = Habits { vanish: 0, drop_poll: 50, finish_poll: 0, ..remembered().habits };
    let shows = &[Kind::Due, Kind::Replayed, Kind::Gap, Kind::Evicted, Kind::Unknown];
    Scenario { name: "reborn", seeds: 60, shows, restart_every_ms: 1_500, habits, ..remembered() }
}

/// Slow readers lose their oldest events, and are told how many.
pub(crate) fn overflowing() -> Scenario {
    let broker = broker::Config { overflow: Overflow::DropOldest, ..calm().broker };
    let limits = Limits { outbox_events: 6, ..short_streams() };
    let habits =
        Habits { publish_every_ms: 100, vanish: 250, drop_poll: 100, act_every_ms: 1_000, acks: 300, ..Habits::TIDY };
    let faults = Faults { delay_ms: (0, 400), stall: 300, stall_ms: 200, late: 200, late_ms: 30, ..Faults::NONE };
    let shows = &[Kind::Due, Kind::Gap, Kind::Dropped, Kind::Overflow];
    let never = &[Kind::Refused, Kind::Crowded];
    Scenario { name: "overflowing", seeds: 150, shows, never, habits, faults, limits, broker, busy_ms: 4_000, ..calm() }
}

/// All events may wait for an answer that goes anyway, and do, for a second and a half at most.
pub(crate) fn lazy() -> Scenario {
    let channels = vec![Rule { pattern: "/**".to_owned(), lazy: Some(true), ..Rule::default() }];
    let broker = broker::Config { channels, max_lazy_ms: 1_500, ..calm().broker };
    let habits = Habits { acks: 300, publish_every_ms: 2_500, single: 0, resubscribe: 0, ..Habits::TIDY };
    let shows = &[Kind::Due, Kind::Held, Kind::Acked];
    Scenario { name: "lazy", seeds: 250, shows, lazy: true, busy_ms: 8_000, broker, habits, ..calm() }
}

/// The server ends while everyone is busy.
pub(crate) fn ending() -> Scenario {
    Scenario { name: "ending", busy_ms: 5_000, shows: &[Kind::Due, Kind::Held], never: &[Kind::Lost], ..mixed() }
}

/// All that can be played to their usual end.
pub(crate) const ALL: &[fn() -> Scenario] = &[
    calm,
    one_lane,
    ragged,
    lossy,
    rude,
    tight,
    one_browser,
    mixed,
    migrating,
    buffered,
    acknowledged,
    half_acknowledged,
    remembered,
    forgetful,
    reborn,
    overflowing,
    lazy,
];

impl Scenario {
    /// What may pass at most between a request and its answer if the server takes no time, ms. Where not everybody gets in,
    /// what is sent on a new connection waits with it until that is taken: meanwhile what was sent later, on another one,
    /// comes first.
    pub(crate) fn patience_ms(&self) -> u64 {
        self.faults.patience_ms() + self.wait_ms() + if self.hooks.is_some() { self.limits.defer_ms } else { 0 }
    }

    /// How long a connection may wait to be taken or turned away.
    pub(crate) fn wait_ms(&self) -> u64 {
        if self.starves { self.limits.full_ms + 100 } else { 0 }
    }

    fn world(&self, run: &Run) -> World<Crowd> {
        let hooked = self.hooks.as_ref().map(|habits| Shared::new(habits, &self.limits));
        let setup = Setup {
            run: run.clone(),
            broker: self.broker.clone(),
            limits: self.limits.clone(),
            faults: self.faults.clone(),
            clock_steps: self.clock_steps,
            crash_steps: self.crash_steps,
            one_host: self.one_host,
            hooked: hooked.clone(),
        };
        World::new(setup, Crowd::new(&run.chance, self, hooked))
    }

    /// Plays it up to the end of the server: within the time that it is given, whatever is held and open ends.
    pub(crate) fn play_to_the_end(&self, run: &Run) -> Outcome {
        const WITHIN_MS: u64 = 3_000;
        let mut world = self.world(run);
        world.run_for(self.busy_ms);
        world.be_quiet();
        world.people.be_drained();
        world.drain(WITHIN_MS);
        let soon = self.patience_ms() + self.limits.linger_ms;
        // What hostile people have begun is waited for.
        let begun = if self.hostiles > 0 { 2 * self.limits.body_ms.max(self.limits.write_ms) } else { 0 };
        let end = world.now() + WITHIN_MS + soon + begun;
        // As the server's loop does: it is over when nothing is under way, before somebody comes back and begins anew.
        while !world.engine.is_drained() && world.now() < end {
            world.run_for(10);
        }
        assert!(world.engine.is_drained(), "not at its end: {:?}", world.engine.census());
        self.leave(world)
    }

    /// Everyone goes, and nothing is left.
    fn leave(&self, mut world: World<Crowd>) -> Outcome {
        let now = world.now();
        world.trace.note(now, None, "leaving");
        let (people, mut ground) = world.people();
        people.leave(&mut ground);
        let timeout = u64::from(self.broker.timeout_ms);
        let expiry = timeout + u64::from(self.broker.interval_ms) + u64::from(self.broker.max_interval_ms);
        let last = self.limits.idle_ms.max(timeout + self.limits.write_ms + self.limits.stream_ms.min(60_000) + expiry);
        world.run_for(last + self.patience_ms() + self.limits.idle_ms);
        // Who has waited for room gets in when the others have gone, one lot after the other.
        let lots = if self.starves { 30 } else { 0 };
        for _ in 0..lots {
            world.run_for(last);
        }
        world.check_rest();
        let mut tally = world.people.ledger.check();
        tally.join(&world.reached());
        if let Some(log) = world.people.ledger.log() {
            tally.join(&log.tally);
        }
        if self.hostiles == 0 {
            tally.add(Kind::Overflow, world.engine.counters().overflows);
        }
        for kind in self.never {
            assert_eq!(tally.of(*kind), 0, "{kind:?} does not happen in {}", self.name);
        }
        Outcome {
            hash: world.trace.hash(),
            scenario: self.name,
            turns: world.turns,
            simulated_ms: world.passed_ms(),
            delivered: world.delivered(),
            tally,
            got: world.people.ledger.got(),
            usual: self.seeds,
            shows: self.shows,
        }
    }

    /// Plays it, checks everything, and tells what came out.
    pub(crate) fn play(&self, run: &Run) -> Outcome {
        let mut world = self.world(run);
        let mut lives = run.chance.of("lives", 0);
        let end = world.now() + self.busy_ms;
        while self.restart_every_ms > 0 && self.crash_steps == 0 && world.now() + 1_001 < end {
            // Two lives that begin in one second would number alike.
            let life = 1_001 + lives.below(2 * self.restart_every_ms);
            world.run_until(end.min(world.now() + life));
            world.restart();
        }
        world.run_until(end);

        let quiet_since = world.now();
        world.trace.note(quiet_since, None, "quiet");
        world.network.calm_down();
        world.be_quiet();
        let timeout = u64::from(self.broker.timeout_ms);
        let expiry = u64::from(self.broker.interval_ms) + u64::from(self.broker.max_interval_ms);
        // Who has just vanished comes back first; who waits for a place among the sessions gets one when another expires.
        let room = if self.starves { 20 * self.limits.idle_ms } else { 0 };
        world.run_for(3 * timeout + 3 * expiry + 10 * self.patience_ms() + room);
        // Streams are short here: whoever is not sure yet may have to wait for another one.
        for _ in 0..20 {
            if !world.people.is_served(quiet_since) {
                world.run_for(timeout + expiry);
            }
        }
        world.people.check_served(quiet_since);
        self.leave(world)
    }
}
