//! The world: a clock, the network, the engine with its loop, and whoever lives at the other end.
//!
//! Owns the time and the turn. The loop here does what `server` does with real sockets, by the engine's contract and no
//! more: inputs, timers, then a few answers at a time and every dirty connection until it wants nothing; then sleep until the earlier of the
//! network's next happening, the people's next alarm and the engine's next deadline. Knows nothing of what is said.

use std::collections::{BTreeMap, HashMap};
use std::io::IoSlice;

use crate::broker::history::Memory;
use crate::broker::{self, Counters};
use crate::clock::Now;
use crate::conn::route::Site;
use crate::conn::{ConnKey, Step};
use crate::engine::{Engine, Parts, Wake};
use crate::hooks::Command;
use crate::http::forwarded::TrustedProxies;
use crate::http::host::HostRule;
use crate::http::origin::OriginRule;
use crate::http::response::FULL;
use crate::limits::Limits;

use super::crowd::Crowd;
use super::guards::Guards;
use super::hooks::{self, News, Shared};
use super::invariants::{Kind, Tally, Watch};
use super::network::{Arrival, Faults, Happening, Network, Read, WireId, Write};
use super::rng::SeededEntropy;
use super::scenario::Run;
use super::shelf::{Numbered, Tap, Tapped};
use super::trace::Trace;

/// When the monotonic clock starts, ms, and the other clock with it.
const START: Now = Now { mono_ms: 5_000, unix_ms: 1_795_210_000_000 };
/// Slices of one gathering write; few, so that answers in many pieces take several writes.
const SLICES: usize = 8;
/// Connections up to which each is looked at after every turn.
const FEW: usize = 100;
/// Turns at one time that bring nothing before that counts as spinning.
const IDLE_TURNS: u32 = 200;

/// What a world is made of.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) run: Run,
    pub(crate) broker: broker::Config,
    pub(crate) limits: Limits,
    pub(crate) faults: Faults,
    /// The clock of the calendar is set now and then, by hours.
    pub(crate) clock_steps: bool,
    /// The server dies after so many steps at most, wherever it is then; 0: never.
    pub(crate) crash_steps: u64,
    /// One host is answered for, and no other.
    pub(crate) one_host: bool,
    /// What hooks have done, if there are any.
    pub(crate) hooked: Option<Shared>,
}

/// What people may touch.
pub(crate) struct Ground<'a> {
    pub(crate) now: u64,
    pub(crate) network: &'a mut Network,
    pub(crate) trace: &'a mut Trace,
    /// Commands for the engine, done in this turn.
    pub(crate) commands: &'a mut Vec<Command>,
    /// What the engine has counted up to the turn before.
    pub(crate) counters: Counters,
}

/// Who lives at the clients' ends: a crowd of model clients, or the hands of a test.
pub(crate) trait People {
    /// When they next want to do something by themselves.
    fn next(&self) -> Option<u64>;
    /// They do whatever is due.
    fn ring(&mut self, ground: &mut Ground<'_>);
    /// Something has come out of a connection.
    fn arrival(&mut self, wire: WireId, arrival: Arrival, ground: &mut Ground<'_>);
    /// The engine has done what it was told to, or could not.
    fn commanded(&mut self, command: &Command, done: bool, now: u64);
    /// The server has numbered an event.
    fn numbered(&mut self, _event: &Numbered, _now: u64) {}
    /// Hooks have done something.
    fn hooked(&mut self, _news: Vec<News>, _now: u64) {}
    /// The server begins a new life, and numbers after this one.
    fn restarted(&mut self, _now: u64, _start: u64) {}
    /// The engine's end of a connection is gone, with these bytes that its peer has not made into whole answers.
    fn lost(&mut self, owner: usize, bytes: &[u8]);
}

#[derive(Debug)]
struct Socket {
    key: ConnKey,
    /// Stands in `again`.
    again: bool,
    /// Bytes that were waiting when the peer's end had come: from then on there must not be more.
    at_end: Option<usize>,
    /// What was waiting when the socket took no more: an engine that gives up on the peer forgets it.
    stuck: Vec<u8>,
    /// An answer has been added to more than may wait.
    added: bool,
}

/// See the [module](self).
pub(crate) struct World<P> {
    now: u64,
    setup: Setup,
    tap: Tap,
    lives: usize,
    pub(crate) engine: Engine,
    pub(crate) network: Network,
    pub(crate) trace: Trace,
    pub(crate) people: P,
    sockets: BTreeMap<WireId, Socket>,
    wires: HashMap<u64, WireId>,
    /// Since when connections wait to be accepted that were not.
    waiting: BTreeMap<WireId, u64>,
    guards: Guards,
    /// Connections to read without waiting for the network.
    again: Vec<WireId>,
    commands: Vec<Command>,
    /// A command of this turn could not be done, and those of hooks that could not be so far in this life.
    undone: bool,
    failed: u64,
    watch: Watch,
    /// When this life of the server began, and after how many steps it ends, if it does by itself.
    began: u64,
    steps_left: u64,
    /// Whether this turn has brought anything.
    busy: bool,
    idle_turns: u32,
    /// Connections are not taken any more.
    closed: bool,
    /// Events that connections were given in earlier lives of the server.
    delivered: u64,
    /// The most connections written to in one turn since it was last set to 0.
    pub(crate) most_written: usize,
    /// Turns since the beginning.
    pub(crate) turns: u64,
}

impl<P: People> World<P> {
    /// A world at its beginning.
    pub(crate) fn new(setup: Setup, people: P) -> Self {
        let tap = Tap::default();
        let (watch, guards) = (Watch::new(&setup.limits), Guards::new(&setup.limits));
        let steps_left = steps(&setup, 0);
        Self {
            began: START.mono_ms,
            steps_left,
            now: START.mono_ms,
            engine: engine(&setup, &tap, (0, START)),
            tap,
            lives: 0,
            network: Network::new(setup.faults.clone(), setup.run.chance.clone()),
            trace: Trace::new(&setup.run),
            setup,
            people,
            sockets: BTreeMap::new(),
            wires: HashMap::new(),
            waiting: BTreeMap::new(),
            guards,
            again: Vec::new(),
            commands: Vec::new(),
            undone: false,
            failed: 0,
            watch,
            busy: false,
            idle_turns: 0,
            closed: false,
            delivered: 0,
            most_written: 0,
            turns: 0,
        }
    }

    /// The server dies, with all that it had, and another one takes its place.
    pub(crate) fn restart(&mut self) {
        self.trace.note(self.now, None, "the server dies and begins anew");
        let all: Vec<(WireId, ConnKey)> = self.sockets.iter().map(|(wire, socket)| (*wire, socket.key)).collect();
        for (wire, key) in all {
            self.close(key, wire);
        }
        // Hooks may have published something even then.
        self.tell_numbers();
        self.tell_news();
        self.guards.note_life(&self.engine);
        (self.again, self.lives) = (Vec::new(), self.lives + 1);
        self.delivered = self.delivered();
        self.engine = engine(&self.setup, &self.tap, (self.lives, self.clock()));
        (self.began, self.steps_left, self.failed) = (self.now, steps(&self.setup, self.lives), 0);
        self.people.restarted(self.now, (self.clock().unix_ms / 1_000) << 20);
    }

    /// Has the server end within the time.
    pub(crate) fn drain(&mut self, within_ms: u64) {
        self.trace.note(self.now, None, "the server ends");
        self.closed = true;
        self.engine.drain(within_ms, self.clock());
    }

    /// How much time has passed, ms.
    pub(crate) fn passed_ms(&self) -> u64 {
        self.now - START.mono_ms
    }

    /// Events given to connections, in all lives of the server.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered + self.engine.counters().delivered
    }

    /// How often what keeps people out was reached.
    pub(crate) fn reached(&mut self) -> Tally {
        self.guards.note_life(&self.engine);
        core::mem::take(&mut self.guards.reached)
    }

    /// The time, ms.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// The people, and the ground that they stand on.
    pub(crate) fn people(&mut self) -> (&mut P, Ground<'_>) {
        let ground = Ground {
            now: self.now,
            network: &mut self.network,
            trace: &mut self.trace,
            commands: &mut self.commands,
            counters: self.engine.counters(),
        };
        (&mut self.people, ground)
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, ms: u64) {
        self.run_until(self.now + ms);
    }

    /// Lets time pass until then.
    pub(crate) fn run_until(&mut self, end: u64) {
        while let Some(at) = self.next()
            && at <= end
        {
            if at > self.now {
                self.guards.check_patience(self.now);
                self.now = self.network.turn_at(at).min(end);
                self.idle_turns = 0;
            }
            self.turn();
        }
        self.now = end;
    }

    /// When the next turn is due: decided by the engine, the network and the people, by nothing else.
    fn next(&self) -> Option<u64> {
        if !self.again.is_empty() || !self.commands.is_empty() {
            return Some(self.now);
        }
        let engine = match self.engine.poll_timeout() {
            Some((_, Wake::Work)) => return Some(self.now),
            Some((at, Wake::Timer)) => Some(at),
            None => None,
        };
        let later = self.setup.hooked.as_ref().and_then(|hooked| hooked.log().next());
        let at = [engine, self.network.next(), self.people.next(), later].into_iter().flatten().min()?;
        Some(at.max(self.now))
    }

    fn clock(&self) -> Now {
        let unix_ms = START.unix_ms + (self.now - START.mono_ms);
        if !self.setup.clock_steps {
            return Now { mono_ms: self.now, unix_ms };
        }
        let hours = self.setup.run.chance.secret("clock", (self.now / 1_500) as usize).below(12);
        Now { mono_ms: self.now, unix_ms: unix_ms + hours * 3_600_000 - 6 * 3_600_000 }
    }

    /// One turn of the server's loop, after everything that the rest of the world does at this time.
    fn turn(&mut self) {
        self.turns += 1;
        self.busy = false;
        self.engine.resume(self.clock());
        let mut inputs = self.take_happenings();
        let again = core::mem::take(&mut self.again);
        for wire in again {
            if let Some(socket) = self.sockets.get_mut(&wire) {
                socket.again = false;
            }
            inputs.push(Happening::Readable(wire));
        }
        self.network.shuffle(self.now, &mut inputs);
        for input in inputs {
            self.input(&input);
            if self.is_killed() {
                return self.restart();
            }
        }
        for command in core::mem::take(&mut self.commands) {
            let done = self.engine.command(command.clone(), self.clock());
            self.people.commanded(&command, done, self.now);
        }
        self.act_later();
        self.guards.note_turn(&self.engine);
        self.engine.handle_timeout(self.clock());
        let mut written = 0;
        loop {
            let more = self.engine.flush(self.clock());
            while let Some(key) = self.engine.next_dirty() {
                written += 1;
                self.drive(key);
                if self.is_killed() {
                    return self.restart();
                }
            }
            if !more {
                break;
            }
        }
        self.tell_numbers();
        self.tell_news();
        self.most_written = self.most_written.max(written);
        self.check(written > 0);
    }

    /// A step of the server is done; whether it was the last of this life. Two lives that begin in one second would number
    /// alike.
    fn is_killed(&mut self) -> bool {
        self.steps_left = self.steps_left.saturating_sub(1);
        self.setup.crash_steps > 0 && self.steps_left == 0 && !self.network.is_calm() && self.now > self.began + 1_000
    }

    fn tell_numbers(&mut self) {
        for event in self.tap.take() {
            self.people.numbered(&event, self.now);
        }
    }

    /// Other threads do what hooks have told them to.
    fn act_later(&mut self) {
        let Some(hooked) = self.setup.hooked.clone() else { return };
        loop {
            let mut log = hooked.log();
            let Some(later) = log.due(self.now) else { return };
            let command = log.command(&later, self.now);
            drop(log);
            self.busy = true;
            self.trace.note(self.now, None, format!("another thread: {command:?}"));
            self.undone |= !self.engine.command(command, self.clock());
        }
    }

    /// What hooks have done in this turn.
    fn tell_news(&mut self) {
        let Some(hooked) = &self.setup.hooked else { return };
        let mut log = hooked.log();
        if !self.engine.has_commands() {
            log.turned(self.now);
            let counters = self.engine.counters();
            let failed = counters.commands_failed + counters.publishes_refused;
            log.settled(failed == core::mem::replace(&mut self.failed, failed) && !core::mem::take(&mut self.undone));
        }
        let news = log.take_news();
        drop(log);
        if !matches!(news[..], [] | [News::Settled(true)]) {
            self.trace.note(self.now, None, format!("hooks: {news:?}"));
        }
        self.people.hooked(news, self.now);
    }

    /// What happens outside of the server; what concerns its sockets is returned. Connections are accepted at once.
    fn take_happenings(&mut self) -> Vec<Happening> {
        let mut inputs = Vec::new();
        while let Some(happening) = self.network.pop(self.now) {
            self.busy = true;
            match happening {
                Happening::Connected(wire) => self.accept(wire),
                Happening::Client(wire, arrival) => {
                    let (people, mut ground) = self.people();
                    people.arrival(wire, arrival, &mut ground);
                }
                input => inputs.push(input),
            }
        }
        if self.people.next().is_some_and(|at| at <= self.now) {
            self.busy = true;
            let (people, mut ground) = self.people();
            people.ring(&mut ground);
        }
        inputs
    }

    fn accept(&mut self, wire: WireId) {
        if self.closed {
            return self.network.shed(wire, self.now);
        }
        // Each of the people has an address.
        let owner = self.network.owner(wire);
        let peer = [198, 51, (owner >> 8) as u8, owner as u8].into();
        match self.engine.accept(Some(peer), self.clock()) {
            Ok(key) => {
                self.waiting.remove(&wire);
                self.wires.insert(key.to_bits(), wire);
                self.sockets.insert(wire, Socket { key, again: false, at_end: None, stuck: Vec::new(), added: false });
                self.read_again(wire, key);
            }
            // Accepting pauses: connections wait until there is room.
            Err(_) => self.keep_waiting(wire),
        }
    }

    /// A connection waits for another one to close, but not for ever.
    fn keep_waiting(&mut self, wire: WireId) {
        let since = *self.waiting.entry(wire).or_insert(self.now);
        if self.now < since + self.setup.limits.full_ms {
            return self.network.wait(wire, self.now);
        }
        self.waiting.remove(&wire);
        self.guards.reached.add(Kind::FullReached, 1);
        self.trace.output(self.now, wire, FULL);
        self.network.turn_away(wire, FULL, self.now);
    }

    fn input(&mut self, input: &Happening) {
        match input {
            Happening::Readable(wire) => self.read(*wire),
            Happening::Writable(wire) => {
                if let Some(key) = self.sockets.get(wire).map(|socket| socket.key)
                    && self.engine.step(key) == Step::Write
                {
                    self.drive(key);
                }
            }
            Happening::Broken(wire) => {
                if let Some(key) = self.sockets.get(wire).map(|socket| socket.key) {
                    self.trace.note(self.now, Some(*wire), "is broken");
                    self.close(key, *wire);
                }
            }
            Happening::Connected(_) | Happening::Client(..) => {}
        }
    }

    fn read(&mut self, wire: WireId) {
        let Some(key) = self.sockets.get(&wire).map(|socket| socket.key) else { return };
        if !self.engine.wants_input(key) {
            return;
        }
        let most = self.engine.limits().read_bytes_per_turn;
        match self.network.read(wire, most) {
            Read::Bytes(bytes) => {
                self.busy = true;
                self.trace.input(self.now, wire, &bytes);
                self.engine.receive(key, &bytes, self.clock());
            }
            Read::End => {
                self.trace.note(self.now, Some(wire), "sends no more");
                self.engine.peer_closed(key, self.clock());
                let waiting = self.waiting(key).len();
                if let Some(socket) = self.sockets.get_mut(&wire) {
                    socket.at_end = Some(waiting);
                }
            }
            Read::Nothing => return,
        }
        self.read_again(wire, key);
    }

    fn read_again(&mut self, wire: WireId, key: ConnKey) {
        if self.network.is_readable(wire)
            && self.engine.wants_input(key)
            && let Some(socket) = self.sockets.get_mut(&wire)
            && !core::mem::replace(&mut socket.again, true)
        {
            self.again.push(wire);
        }
    }

    /// Does what the engine wants done with a connection.
    fn drive(&mut self, key: ConnKey) {
        let wire = *self.wires.get(&key.to_bits()).expect("a dirty connection exists");
        self.check_end(wire, key);
        loop {
            match self.engine.step(key) {
                Step::Wait => break,
                Step::Close => return self.close(key, wire),
                Step::ShutdownWrite => {
                    self.network.shut(wire, self.now);
                    self.engine.write_shut(key, self.clock());
                }
                Step::Write => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let used = self.engine.slices(key, &mut slices);
                    let offered: usize = slices[..used].iter().map(|slice| slice.len()).sum();
                    match self.network.write(wire, &slices[..used], self.now) {
                        Write::Took(bytes) => {
                            self.busy = true;
                            assert!(!bytes.is_empty(), "the engine wants to write nothing on connection {}", wire.0);
                            self.trace.output(self.now, wire, &bytes);
                            self.guards.note_answer(&bytes);
                            if let Some(socket) = self.sockets.get_mut(&wire) {
                                socket.stuck.clear();
                                socket.added = false;
                            }
                            let all = bytes.len() == offered && (used < SLICES || offered == self.waiting(key).len());
                            self.engine.sent(key, bytes.len(), self.clock());
                            self.guards.took(wire, bytes.len(), all, self.now);
                            if self.engine.step(key) == Step::Write {
                                self.guards.took(wire, 0, false, self.now);
                            }
                        }
                        Write::Full => {
                            let stuck = self.waiting(key);
                            // A policy may put off several batches of one WebSocket, and each is answered when it is.
                            let defers = self.setup.hooked.as_ref().is_some_and(|hooked| hooked.log().habits.defer > 0);
                            if let Some(socket) = self.sockets.get_mut(&wire) {
                                let added = self.watch.check_waiting(stuck.len(), socket.stuck.len());
                                assert!(
                                    defers || !(added && socket.added),
                                    "answers are added on connection {}",
                                    wire.0
                                );
                                socket.added |= added;
                                socket.stuck = stuck;
                            }
                            self.guards.took(wire, 0, false, self.now);
                            return self.engine.sent(key, 0, self.clock());
                        }
                        Write::Broken => return self.close(key, wire),
                    }
                }
            }
        }
        self.read_again(wire, key);
    }

    /// The engine's end of a connection goes.
    fn close(&mut self, key: ConnKey, wire: WireId) {
        self.busy = true;
        self.guards.ended(wire, self.now);
        self.check_end(wire, key);
        let mut lost = self.network.unread(wire).to_vec();
        lost.extend(self.waiting(key));
        if let Some(socket) = self.sockets.get(&wire) {
            lost.extend(&socket.stuck);
        }
        self.people.lost(self.network.owner(wire), &lost);
        self.trace.output(self.now, wire, b"");
        self.engine.closed(key, self.clock());
        self.network.shed(wire, self.now);
        self.sockets.remove(&wire);
        self.wires.remove(&key.to_bits());
    }

    /// The bytes that the engine has not yet written to a connection.
    fn waiting(&self, key: ConnKey) -> Vec<u8> {
        let mut slices = vec![IoSlice::new(&[]); SLICES];
        loop {
            let used = self.engine.slices(key, &mut slices);
            if used < slices.len() {
                return slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            }
            slices = vec![IoSlice::new(&[]); slices.len() * 4];
        }
    }

    /// Whoever is known to be gone is not given anything more: it would be lost. That is known from the peer's end on, and
    /// as soon as the engine itself wants to close.
    fn check_end(&self, wire: WireId, key: ConnKey) {
        let at_end = self.sockets.get(&wire).and_then(|socket| socket.at_end);
        let given_up = (self.engine.step(key) == Step::Close).then_some(0);
        if let Some(most) = at_end.or(given_up) {
            let waiting = self.waiting(key);
            let text = waiting.escape_ascii();
            assert!(waiting.len() <= most, "connection {} was known to be gone and was given: {text}", wire.0);
        }
    }

    fn check(&mut self, written: bool) {
        self.idle_turns = if self.busy || written { 0 } else { self.idle_turns + 1 };
        assert!(self.idle_turns < IDLE_TURNS, "the loop spins: {:?}", self.engine.poll_timeout());
        let handed = self.setup.hooked.as_ref().map_or(0, |hooked| hooked.log().handed);
        self.watch.check(&self.engine, self.sockets.len(), handed);
        self.guards.check(&self.engine);
        if self.sockets.len() < FEW {
            self.engine.check_links();
        }
    }

    /// What must hold when everyone has left and every deadline has passed.
    pub(crate) fn check_rest(&self) {
        self.watch.check_rest(&self.engine);
        if let Some(hooked) = &self.setup.hooked {
            hooked.log().check_rest();
        }
        assert_eq!(self.engine.poll_timeout(), None, "someone at rest has nothing to wake up for");
    }
}

impl World<Crowd> {
    /// Everyone is well-behaved from now on.
    pub(crate) fn be_quiet(&mut self) {
        let (people, mut ground) = self.people();
        people.be_quiet(&mut ground);
    }
}

/// How long a life of the server is.
fn steps(setup: &Setup, life: usize) -> u64 {
    setup.run.chance.secret("crash", life).below(setup.crash_steps)
}

/// An engine at the beginning of one of its lives.
fn engine(setup: &Setup, tap: &Tap, (life, now): (usize, Now)) -> Engine {
    let Setup { run, broker, limits, hooked, .. } = setup.clone();
    let hooks = hooked.map(|hooked| hooks::hooks(&hooked, &run.chance, life)).unwrap_or_default();
    let one = ["comet.example".to_owned()];
    let hosts = if setup.one_host { &one[..] } else { &[] };
    let site = Site {
        mount: "/cometd".to_owned(),
        hosts: HostRule::new(hosts).unwrap(),
        origins: OriginRule::default(),
        proxies: TrustedProxies::parse(&["loopback".to_owned()]).unwrap(),
        publishing: Default::default(),
        pages: crate::pages::Pages::new("/cometd", false),
        has_fallback: false,
    };
    let entropy = Box::new(SeededEntropy(run.chance.secret("entropy", life)));
    let mut engine = Engine::new(Parts { site, broker, limits, entropy, hooks }, now);
    engine.set_store(Box::new(Tapped { store: Memory::new(now.unix_ms), tap: tap.clone() }));
    engine
}
