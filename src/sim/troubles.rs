//! The troubles of a Comet beginner, one test each, by hand and on virtual time.
//!
//! Owns a pair of hands for the world: they send what a test says and keep what comes back.

use std::collections::{BTreeMap, VecDeque};

use crate::broker;
use crate::hooks::Command;
use crate::limits::Limits;

use super::network::{Arrival, Faults, WireId};
use super::rng::Chance;
use super::scenario::Run;
use super::speech::{self, Incoming, Response, Responses};
use super::world::{Ground, People, Setup, World};

const TIMEOUT_MS: u64 = 4_000;
const MAX_INTERVAL_MS: u64 = 3_000;
const CONFIG: fn() -> broker::Config = || broker::Config {
    timeout_ms: TIMEOUT_MS as u32,
    max_interval_ms: MAX_INTERVAL_MS as u32,
    ..broker::Config::default()
};
/// One way through the network, ms.
const WAY_MS: u64 = 1;

#[derive(Default)]
struct Hand {
    responses: Responses,
    come: VecDeque<(u64, Response)>,
    closed: bool,
}

#[derive(Default)]
struct Hands(BTreeMap<WireId, Hand>);

impl People for Hands {
    fn next(&self) -> Option<u64> {
        None
    }

    fn ring(&mut self, _: &mut Ground<'_>) {}

    fn arrival(&mut self, wire: WireId, arrival: Arrival, ground: &mut Ground<'_>) {
        let hand = self.0.entry(wire).or_default();
        match arrival {
            Arrival::Bytes(bytes) => {
                hand.responses.push(&bytes);
                while let Some(response) = hand.responses.whole() {
                    ground.network.digest(wire, response.size);
                    hand.come.push_back((ground.now, response));
                }
            }
            Arrival::Fin | Arrival::Reset => hand.closed = true,
        }
    }

    fn commanded(&mut self, command: &Command, done: bool, _: u64) {
        assert!(done, "{command:?}");
    }

    fn lost(&mut self, _: usize, _: &[u8]) {}
}

struct Bench(World<Hands>);

impl Bench {
    fn new(broker: broker::Config, limits: Limits) -> Self {
        let faults = Faults { delay_ms: (WAY_MS, WAY_MS), ..Faults::NONE };
        let run = Run { chance: Chance::seeded(1), repeat: "this test".to_owned(), aloud: false };
        let setup =
            Setup { run, broker, limits, faults, clock_steps: false, crash_steps: 0, one_host: false, hooked: None };
        Self(World::new(setup, Hands::default()))
    }

    fn open(&mut self) -> WireId {
        let now = self.0.now();
        self.0.network.open(0, now)
    }

    fn send(&mut self, wire: WireId, body: &str) {
        let mut request = Vec::new();
        speech::post(&mut request, None, body, false);
        let now = self.0.now();
        self.0.network.send(wire, &request, now);
    }

    /// The next answer on a connection, if it has come.
    fn answer(&mut self, wire: WireId) -> Option<(u64, Vec<Incoming>)> {
        let (at, response) = self.0.people.0.get_mut(&wire)?.come.pop_front()?;
        assert_eq!(response.status, 200, "{response:?}");
        Some((at, Incoming::batch(&response.body)))
    }

    /// Sends a request and takes its answer, which comes at once.
    fn ask(&mut self, wire: WireId, body: &str) -> Vec<Incoming> {
        self.send(wire, body);
        self.0.run_for(3 * WAY_MS);
        self.answer(wire).expect("answered at once").1
    }

    /// A session that is subscribed and has had its first connect answered.
    fn session(&mut self, wire: WireId, pattern: &str) -> String {
        let hello = r#"[{"channel":"/meta/handshake","supportedConnectionTypes":["long-polling"]}]"#;
        let id = self.ask(wire, hello)[0].text("clientId").unwrap();
        let subscribe = format!(r#"{{"channel":"/meta/subscribe","clientId":"{id}","subscription":"{pattern}"}}"#);
        let both = self.ask(wire, &format!("[{subscribe},{}]", connect(&id)));
        assert!(both.iter().all(Incoming::is_successful));
        id
    }

    fn hold(&mut self, wire: WireId, id: &str) {
        self.send(wire, &format!("[{}]", connect(id)));
        self.0.run_for(3 * WAY_MS);
        assert!(self.answer(wire).is_none(), "the connect is held");
    }
}

fn connect(id: &str) -> String {
    format!(r#"{{"channel":"/meta/connect","clientId":"{id}","connectionType":"long-polling"}}"#)
}

fn publish(id: &str, data: u32) -> String {
    format!(r#"[{{"channel":"/a/b","clientId":"{id}","data":{data}}}]"#)
}

fn data(batch: &[Incoming]) -> Vec<&str> {
    batch.iter().filter_map(|message| message.raw("data")).collect()
}

/// Publishes twice a second until that fails; when it failed, and how.
fn publish_until_unknown(bench: &mut Bench, wire: WireId, id: &str) -> (u64, Incoming) {
    for n in 0..100 {
        let mut reply = bench.ask(wire, &publish(id, n));
        assert!(reply[0].raw("data").is_none());
        if !reply[0].is_successful() {
            return (bench.0.now(), reply.remove(0));
        }
        bench.0.run_for(500);
    }
    unreachable!("someone who never connects is found out")
}

#[test]
fn who_sends_and_no_longer_connects_is_found_out() {
    let mut bench = Bench::new(CONFIG(), Limits::default());
    let (poll, send) = (bench.open(), bench.open());
    let id = bench.session(poll, "/x");
    let answered_at = bench.0.now();
    let (at, reply) = publish_until_unknown(&mut bench, send, &id);
    assert!(reply.has_error("402:"), "{reply:?}");
    assert!(at > answered_at + MAX_INTERVAL_MS, "its publishes count for something");
    assert!(at <= answered_at + TIMEOUT_MS + MAX_INTERVAL_MS + 600, "but not for ever: {}", at - answered_at);
    assert_eq!(bench.0.engine.census().sessions, 0);
    let reply = &bench.ask(poll, &format!("[{}]", connect(&id)))[0];
    assert_eq!(reply.advice().unwrap().reconnect, "handshake");
}

#[test]
fn who_sends_and_no_longer_receives_is_found_out() {
    let mut bench = Bench::new(CONFIG(), Limits::default());
    let (poll, send) = (bench.open(), bench.open());
    let id = bench.session(poll, "/x");
    bench.hold(poll, &id);
    let held_at = bench.0.now();
    bench.0.network.vanish(poll);
    let (at, reply) = publish_until_unknown(&mut bench, send, &id);
    assert!(reply.has_error("402:"), "{reply:?}");
    // The connect is answered into the void when its time is over, and if its socket was full then, the time for writing
    // passes as well; the rest is as above.
    let most = 2 * TIMEOUT_MS + MAX_INTERVAL_MS + Limits::default().write_ms + 600;
    assert!(at > held_at + TIMEOUT_MS && at <= held_at + most, "{}", at - held_at);
}

#[test]
fn who_loses_its_connection_while_holding_misses_nothing() {
    let mut bench = Bench::new(CONFIG(), Limits::default());
    let (poll, send) = (bench.open(), bench.open());
    let (id, other) = (bench.session(poll, "/a/*"), bench.session(send, "/x"));
    bench.hold(poll, &id);
    let now = bench.0.now();
    bench.0.network.abort(poll, now);
    for n in 1..=3 {
        bench.0.run_for(MAX_INTERVAL_MS / 4);
        assert!(bench.ask(send, &publish(&other, n))[0].is_successful());
        bench.ask(send, &format!("[{},{}]", connect(&other), connect(&other)));
    }
    bench.0.run_until(now + MAX_INTERVAL_MS - 10);
    let again = bench.open();
    let batch = bench.ask(again, &format!("[{}]", connect(&id)));
    assert_eq!(data(&batch), ["1", "2", "3"]);
    assert!(batch.last().unwrap().is_successful());
    // The same once more, without coming back in time.
    bench.hold(again, &id);
    let now = bench.0.now();
    bench.0.network.abort(again, now);
    bench.0.run_for(MAX_INTERVAL_MS - 10);
    assert!(bench.0.engine.census().sessions >= 1);
    bench.0.run_for(20);
    let late = bench.open();
    assert!(bench.ask(late, &format!("[{}]", connect(&id)))[0].has_error("402:"));
}

#[test]
fn whoever_is_known_to_be_gone_is_given_nothing() {
    let mut bench = Bench::new(CONFIG(), Limits::default());
    let (poll, send) = (bench.open(), bench.open());
    let (id, other) = (bench.session(poll, "/a/*"), bench.session(send, "/x"));
    bench.hold(poll, &id);
    // Both arrive in the same turn.
    let now = bench.0.now();
    bench.0.network.finish(poll, now);
    assert!(bench.ask(send, &publish(&other, 7))[0].is_successful());
    assert!(bench.0.people.0[&poll].closed && bench.answer(poll).is_none());
    let again = bench.open();
    assert_eq!(data(&bench.ask(again, &format!("[{}]", connect(&id)))), ["7"]);
}

/// What somebody gets, answer by answer, of two publishes that come at once, while so many others wait beside it.
fn answers_beside(others: usize, deliveries_at_once: usize) -> Vec<Vec<String>> {
    let limits = Limits { pipelined_requests: 1, deliveries_at_once, ..Limits::default() };
    let mut bench = Bench::new(CONFIG(), limits);
    let send = bench.open();
    let other = bench.session(send, "/x");
    let wires: Vec<_> = (0..=others).map(|_| bench.open()).collect();
    let holds: Vec<_> = wires.into_iter().map(|wire| (wire, bench.session(wire, "/a/*"))).collect();
    holds.iter().for_each(|(wire, id)| bench.hold(*wire, id));
    let (poll, id) = holds[others / 2].clone();
    let mut both = Vec::new();
    (1..=2).for_each(|n| speech::post(&mut both, None, &publish(&other, n), false));
    let now = bench.0.now();
    bench.0.network.send(send, &both, now);
    bench.0.run_for(3 * WAY_MS);
    let first = bench.answer(poll).map(|(_, batch)| batch);
    bench.send(poll, &format!("[{}]", connect(&id)));
    bench.0.run_for(3 * WAY_MS);
    let second = bench.answer(poll).map(|(_, batch)| batch);
    let answers = first.iter().chain(&second);
    answers.map(|batch| data(batch).into_iter().map(str::to_owned).collect()).collect()
}

#[test]
fn others_change_with_which_answer_an_event_comes_and_nothing_else() {
    let at_once = Limits::default().deliveries_at_once;
    assert_eq!(answers_beside(0, at_once), [["1"], ["2"]]);
    // The second publish is read when the first one's reply is written, and that is before the last of the first answers.
    assert_eq!(answers_beside(4 * at_once, at_once), [["1", "2"]]);
    assert_eq!(answers_beside(4 * at_once, usize::MAX), [["1"], ["2"]]);
}

#[test]
fn who_never_connects_is_gone_after_max_interval() {
    let mut bench = Bench::new(CONFIG(), Limits::default());
    let wire = bench.open();
    bench.ask(wire, r#"[{"channel":"/meta/handshake","supportedConnectionTypes":["long-polling"]}]"#);
    bench.0.run_for(MAX_INTERVAL_MS - 3 * WAY_MS);
    assert_eq!(bench.0.engine.census().sessions, 1);
    bench.0.run_for(3 * WAY_MS);
    assert_eq!(bench.0.engine.census().sessions, 0);
}

#[test]
fn a_year_of_polls() {
    const YEAR_MS: u64 = 365 * 24 * 3_600_000;
    const HOUR_MS: u64 = 3_600_000;
    let config = broker::Config { timeout_ms: HOUR_MS as u32, ..CONFIG() };
    let mut bench = Bench::new(config, Limits::default());
    let wire = bench.open();
    let id = bench.session(wire, "/a/*");
    let (start, turns) = (bench.0.now(), bench.0.turns);
    let mut polls = 0;
    while bench.0.now() < start + YEAR_MS {
        let asked_at = bench.0.now();
        bench.send(wire, &format!("[{}]", connect(&id)));
        bench.0.run_for(HOUR_MS + 2 * WAY_MS);
        let (at, batch) = bench.answer(wire).expect("answered in time");
        assert_eq!((at - asked_at, batch.len(), batch[0].is_successful()), (HOUR_MS + 2 * WAY_MS, 1, true));
        polls += 1;
    }
    assert!(polls > 8_700);
    // A request, its timer and what a lazy timer of the connection may add.
    assert!(bench.0.turns - turns <= 5 * polls, "{} turns for {polls} polls", bench.0.turns - turns);
    let census = bench.0.engine.census();
    assert_eq!((census.sessions, census.connections, census.topics), (1, 1, 1));
}

#[test]
fn ten_thousand_wait_and_one_publish_reaches_them_all() {
    const PARKED: usize = 10_000;
    let config = broker::Config { timeout_ms: 600_000, ..CONFIG() };
    let mut bench = Bench::new(config, Limits::default());
    let mut parked = Vec::new();
    for _ in 0..PARKED {
        let wire = bench.open();
        let id = bench.session(wire, "/a/*");
        bench.send(wire, &format!("[{}]", connect(&id)));
        parked.push(wire);
    }
    bench.0.run_for(100);
    let before = bench.0.engine.counters();
    let turns = bench.0.turns;
    bench.0.most_written = 0;
    let command = Command::Publish { channel: "/a/b".to_owned(), data: "1".to_owned(), lazy: false };
    bench.0.people().1.commands.push(command);
    bench.0.run_for(10 * WAY_MS);
    let after = bench.0.engine.counters();
    assert_eq!((after.encoded - before.encoded, after.delivered - before.delivered), (1, PARKED as u64));
    for wire in parked {
        assert_eq!(data(&bench.answer(wire).expect("an answer").1), ["1"]);
    }
    let budget = bench.0.engine.limits().deliveries_per_turn;
    assert_eq!(bench.0.most_written, budget, "as many as allowed in one turn, and no more");
    assert!(bench.0.turns - turns >= (PARKED / budget) as u64);
    assert_eq!(bench.0.engine.census().queued_bytes, 0);
    bench.0.run_for(200_000);
    bench.0.check_rest();
}
