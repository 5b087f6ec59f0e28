//! A model client: what it does, and what it makes of the answers.
//!
//! Owns its session, its connections and its wishes. It keeps to the protocol as CometD's clients do: one connection holds
//! the connect while another one publishes, or everything goes over one; a lost connection is replaced; advice is honoured.
//! Its habits say how often it is untidy.

mod answers;
mod hooked;
mod memory;
mod streams;
mod ways;

use std::collections::{BTreeMap, BTreeSet};

use super::frames;
use super::invariants::{Ledger, SessionNo};
use super::lane::{Alarm, Alarms, Asked, Call, Lane, Way, What};
use super::network::WireId;
use super::rng::{Chance, Rng};
use super::scenario::{Habits, Scenario};
use super::speech;
use super::world::Ground;

/// Channels that are published to.
const CHANNELS: [&str; 6] = ["/a/b", "/a/c", "/a/b/c", "/x", "/x/y", "/a/b/c/d"];
/// Patterns that are subscribed to. They overlap.
const PATTERNS: [&str; 9] = ["/a/b", "/a/*", "/a/**", "/**", "/*", "/a/b/**", "/a/b/c", "/x/*", "/x"];
/// The same without what hostile people publish.
const OWN_PATTERNS: [&str; 9] = ["/a/b", "/a/*", "/a/**", "/x/**", "/*", "/a/b/**", "/a/b/c", "/x/*", "/x"];

fn patterns(scenario: &Scenario) -> &'static [&'static str] {
    if scenario.secluded { &OWN_PATTERNS } else { &PATTERNS }
}

/// One way to be untidy.
type Act = fn(&mut Client, &mut Scene<'_, '_>);

/// What a client sees of the world.
pub(crate) struct Scene<'a, 'g> {
    pub(crate) ground: &'a mut Ground<'g>,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) alarms: &'a mut Alarms,
    pub(crate) scenario: &'a Scenario,
    /// Nobody publishes or is untidy any more.
    pub(crate) quiet: bool,
    /// The network has been calm for a while, so that nothing is under way that was delayed before.
    pub(crate) calm: bool,
    /// The server ends.
    pub(crate) drained: bool,
}

impl Scene<'_, '_> {
    fn now(&self) -> u64 {
        self.ground.now
    }

    /// How long a request and its answer may be under way.
    pub(crate) fn patience(&self) -> u64 {
        self.scenario.patience_ms()
    }

    /// The same for connections that have been taken: less is enough when the network is calm.
    fn patience_now(&self) -> u64 {
        if self.calm { self.scenario.faults.calm_patience_ms() } else { self.patience() }
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Poll,
    Send,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Active,
    /// Vanished; comes back.
    Away,
    /// Has said that it goes.
    Leaving,
    Gone,
}

#[derive(Debug)]
struct Own {
    no: SessionNo,
    id: String,
    /// The last sign that the server has it.
    alive_at: u64,
    /// Whether it has been given a reason to be gone.
    may_end: bool,
    /// Connects so far.
    connects: u64,
    /// Patterns asked for; true once confirmed.
    subscriptions: BTreeMap<&'static str, bool>,
    /// The advised wait between connects, ms: good until there is other advice.
    interval: u64,
    /// Its disconnect has been confirmed.
    disconnected: bool,
    /// It has had two connects under way on two connections: either may have come first.
    twice: bool,
    /// The rank of the newest way.
    rank: u64,
    /// Until when a connect may still arrive whose connection was closed behind it.
    unsure_until: u64,
    /// The highest rank of which something has come, and when that was first so.
    proven: (u64, u64),
    /// A connection over which all events come, and since when.
    settled: Option<(WireId, u64)>,
    /// The newest batch that it has; −1 before the first.
    batch: i64,
    /// Connects sent.
    tries: i64,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Client {
    number: usize,
    rng: Rng,
    habits: Habits,
    /// Whether everything goes over one connection, as far as its transport allows.
    single: bool,
    /// The transport that it uses now.
    way: Way,
    /// Whether a proxy stands between that passes on whole responses only.
    proxied: bool,
    /// Whether it acknowledges its events.
    acks: bool,
    /// Whether it remembers what it has, and goes on from there.
    replays: bool,
    /// The number of the newest event that it has of each subscription.
    positions: BTreeMap<&'static str, u64>,
    publisher: bool,
    mood: Mood,
    session: Option<Own>,
    wanted: BTreeSet<&'static str>,
    lanes: BTreeMap<WireId, Lane>,
    poll: Option<WireId>,
    send: Option<WireId>,
    /// The event source.
    source: Option<WireId>,
    /// No other one before.
    source_after: u64,
    /// The advice to wait: no connect before.
    not_before: u64,
    cookie: Option<String>,
    serial: u64,
    /// A connection has been lost since the last answer to a connect.
    resuming: bool,
    /// When it will be called to go on.
    wakes: BTreeSet<u64>,
}

impl Client {
    /// A client that has not begun.
    pub(crate) fn new(number: usize, chance: &Chance, scenario: &Scenario) -> Self {
        let mut rng = chance.of("client", number);
        let mut wanted = BTreeSet::new();
        for _ in 0..1 + rng.below(4) {
            wanted.insert(*rng.pick(patterns(scenario)));
        }
        Self {
            number,
            single: rng.chance(scenario.habits.single),
            way: *rng.pick(scenario.ways),
            proxied: rng.chance(scenario.habits.proxied),
            acks: rng.chance(scenario.habits.acks),
            replays: rng.chance(scenario.habits.replays),
            positions: BTreeMap::new(),
            publisher: number < scenario.publishers,
            rng,
            habits: scenario.habits.clone(),
            mood: Mood::Active,
            session: None,
            wanted,
            lanes: BTreeMap::new(),
            poll: None,
            send: None,
            source: None,
            source_after: 0,
            not_before: 0,
            cookie: scenario.habits.one_browser.then(|| "BAYEUX_BROWSER=one-for-all".to_owned()),
            serial: 0,
            resuming: false,
            wakes: BTreeSet::new(),
        }
    }

    /// Wants to go on then.
    fn wake_at(&mut self, at: u64, scene: &mut Scene<'_, '_>) {
        if self.wakes.insert(at) {
            scene.alarms.push(at, self.number, Alarm::GoOn);
        }
    }

    /// The client id of its session, if the server may be told to end it.
    pub(crate) fn give_up_session(&mut self) -> Option<String> {
        let session = self.session.as_mut()?;
        session.may_end = true;
        Some(session.id.clone())
    }

    /// Whether it has got everything that was to be had at that time.
    pub(crate) fn is_served(&self, ledger: &Ledger, since: u64) -> bool {
        // What comes when a response ends comes too late to be sure of anything before.
        let late = self.proxied && self.way == Way::EventSource;
        self.session.as_ref().is_some_and(|session| late || ledger.is_caught_up(session.no, since))
    }

    /// Does what an alarm is for.
    pub(crate) fn ring(&mut self, alarm: Alarm, scene: &mut Scene<'_, '_>) {
        match alarm {
            Alarm::GoOn => self.wakes.retain(|at| *at > scene.ground.now),
            Alarm::Publish => self.publish(scene),
            Alarm::Act => self.act(scene),
            Alarm::Return if self.mood == Mood::Away => {
                self.mood = Mood::Active;
                if self.rng.chance(500) {
                    self.session = None;
                }
            }
            Alarm::Overdue(wire, serial) => self.check_answered(wire, serial, scene),
            Alarm::Retire(wire) => self.retire(wire, scene),
            Alarm::Return | Alarm::Server => {}
        }
        self.go_on(scene);
    }

    fn check_answered(&mut self, wire: WireId, serial: u64, scene: &Scene<'_, '_>) {
        let twice = self.session.as_ref().is_none_or(|session| session.twice);
        let Some(lane) = self.lanes.get_mut(&wire) else { return };
        let socket = lane.socket.is_some();
        let Some(call) = lane.calls.iter_mut().find(|call| call.serial == serial && !call.forsaken) else { return };
        if socket && twice && call.sole_connect().is_some() {
            // An older one may have come later, and taken its place.
            call.forsaken = true;
            return;
        }
        if scene.scenario.starves {
            return;
        }
        let waited = scene.now() - call.at;
        panic!("client {} has no answer on connection {} after {waited} ms: {call:?}", self.number, wire.0);
    }

    /// Does what is to be done next, and sends what has been said.
    fn go_on(&mut self, scene: &mut Scene<'_, '_>) {
        if self.session.as_ref().is_some_and(|session| session.disconnected) {
            self.part(scene);
        }
        if self.mood == Mood::Active {
            self.attach(scene);
            match &self.session {
                None if self.is_asking(|what| *what == What::Handshake) => {}
                _ if scene.now() < self.not_before => self.wake_at(self.not_before, scene),
                None => self.handshake(scene),
                Some(_) => {
                    self.subscribe(scene);
                    self.connect(scene);
                }
            }
        }
        for (wire, lane) in &mut self.lanes {
            if !lane.outgoing.is_empty() {
                scene.ground.network.send(*wire, &core::mem::take(&mut lane.outgoing), scene.ground.now);
            }
        }
    }

    fn is_asking(&self, wanted: impl Fn(&What) -> bool + Copy) -> bool {
        let calls = self.lanes.values().flat_map(|lane| &lane.calls);
        calls.filter(|call| !call.forsaken).any(|call| call.asks(wanted))
    }

    /// Whether the newest connect is under way.
    fn is_connecting(&self) -> bool {
        let newest = self.session.as_ref().map(|session| session.connects);
        self.is_asking(|what| matches!(what, What::Connect(serial) if Some(*serial) == newest))
    }

    fn open_lane(&mut self, scene: &mut Scene<'_, '_>) -> WireId {
        let wire = scene.ground.network.open(self.number, scene.ground.now);
        self.lanes.insert(wire, Lane::new(scene.ground.now, self.proxied));
        wire
    }

    /// Whether what has this role goes over the connection that polls.
    fn goes_with_polls(&self, role: Role) -> bool {
        let alone = self.single && matches!(self.way, Way::LongPolling | Way::WebSocket);
        role == Role::Poll || alone
    }

    fn lane(&mut self, role: Role, scene: &mut Scene<'_, '_>) -> WireId {
        let poll = self.goes_with_polls(role);
        if let Some(wire) = if poll { self.poll } else { self.send } {
            return wire;
        }
        let wire = self.open_lane(scene);
        *(if poll { &mut self.poll } else { &mut self.send }) = Some(wire);
        if poll && self.way == Way::WebSocket {
            self.upgrade(wire, scene);
        }
        wire
    }

    /// A request that is about to be written on a connection.
    fn call(&mut self, wire: WireId, asked: Vec<Asked>, scene: &mut Scene<'_, '_>) -> Call {
        let session = self.session.as_ref().map(|session| session.no);
        let mut call =
            Call { serial: self.serial, at: scene.now(), session, asked, way: self.effect(), rank: 0, forsaken: false };
        if call.diverts() {
            self.forsake();
            call.rank = self.next_rank(wire, &call, scene);
        }
        let attached = call.asks(|what| *what == What::Attach);
        let held = match self.effect() {
            Way::Streaming if self.acks && call.sole_connect().is_some() => {
                u64::from(scene.scenario.broker.timeout_ms) + scene.patience()
            }
            Way::Streaming if call.sole_connect().is_some() => scene.scenario.limits.stream_ms,
            Way::EventSource if attached => scene.scenario.limits.stream_ms,
            Way::LongPolling if call.sole_connect().is_some() => u64::from(scene.scenario.broker.timeout_ms),
            Way::WebSocket => u64::from(scene.scenario.broker.timeout_ms) + scene.patience(),
            _ => 0,
        };
        scene.alarms.push(call.at + held + scene.patience(), self.number, Alarm::Overdue(wire, self.serial));
        call
    }

    /// Writes one request.
    fn ask(&mut self, role: Role, whats: Vec<(What, String)>, scene: &mut Scene<'_, '_>) {
        let wire = self.lane(role, scene);
        self.serial += 1;
        let client_id = self.session.as_ref().map(|session| session.id.as_str());
        let mut asked = Vec::new();
        let mut body = String::from("[");
        for (what, fields) in whats {
            let id = format!("\"c{}.{}.{}\"", self.number, self.serial, asked.len());
            let channel = match &what {
                What::Publish(_) => fields.split('"').nth(3).unwrap_or_default().to_owned(),
                meta => meta.channel().to_owned(),
            };
            let name =
                if matches!(what, What::Publish(_)) { String::new() } else { format!("\"channel\":\"{channel}\",") };
            let comma = if asked.is_empty() { "" } else { "," };
            let client_id = client_id.map(|id| format!("\"clientId\":\"{id}\",")).unwrap_or_default();
            body += &format!("{comma}{{{name}{client_id}\"id\":{id}{fields}}}");
            asked.push(Asked { what, id, channel });
        }
        body.push(']');
        let call = self.call(wire, asked, scene);
        let chunked = self.rng.chance(self.habits.chunked);
        let lane = self.lanes.get_mut(&wire).expect("just found or made");
        if let Some(socket) = &mut lane.socket {
            let out = if socket.frames.is_some() { &mut lane.outgoing } else { &mut socket.backlog };
            socket.pings += frames::message(out, &body, &mut self.rng);
            if call.diverts() {
                let low = socket.path(wire, call.at).low;
                socket.ranks = (if socket.ranked_by == 0 { call.rank } else { low }, call.rank);
                socket.ranked_by = call.at + 2 * scene.patience();
                socket.session = call.session;
            }
        } else {
            speech::post(&mut lane.outgoing, self.cookie.as_deref(), &body, chunked);
        }
        lane.calls.push_back(call);
    }

    fn handshake(&mut self, scene: &mut Scene<'_, '_>) {
        let mut fields =
            r#","version":"1.0","supportedConnectionTypes":["websocket","streaming","long-polling"]"#.to_owned();
        fields += &self.wished_extensions();
        scene.ledger.shakes_hands(self.number, scene.ground.now);
        self.ask(Role::Poll, vec![(What::Handshake, fields)], scene);
    }

    /// The fields of a subscribe to all that is wanted and not asked for.
    fn missing(&mut self, scene: &mut Scene<'_, '_>) -> Option<(What, String)> {
        let Self { session, rng, .. } = self;
        let session = session.as_mut()?;
        let missing: Vec<&'static str> =
            self.wanted.iter().filter(|pattern| !session.subscriptions.contains_key(**pattern)).copied().collect();
        let mut entries = Vec::new();
        for pattern in &missing {
            session.subscriptions.insert(pattern, false);
            let after = self.replays.then(|| match self.positions.get(pattern) {
                Some(position) => (Some(*position), position.to_string()),
                None if rng.chance(500) => (Some(0), "-2".to_owned()),
                None => (None, "-1".to_owned()),
            });
            let known = after.as_ref().and_then(|(known, _)| *known);
            scene.ledger.subscribing(session.no, pattern, known, scene.ground.now);
            entries.extend(after.map(|(_, text)| format!("{pattern:?}:{text}")));
        }
        let mut fields = format!(",\"subscription\":{missing:?}");
        if self.replays {
            fields += &format!(",\"ext\":{{\"replay\":{{{}}}}}", entries.join(","));
        }
        (!missing.is_empty()).then_some((What::Subscribe(missing), fields))
    }

    fn subscribe(&mut self, scene: &mut Scene<'_, '_>) {
        let Some(missing) = self.missing(scene) else { return };
        let first = self.session.as_ref().is_some_and(|session| session.connects == 0);
        if first && self.rng.chance(400) {
            // Everything in one batch: such a connect is not held.
            let connect = self.next_connect();
            return self.ask(Role::Poll, vec![missing, connect], scene);
        }
        let role = if first && self.rng.chance(500) { Role::Poll } else { Role::Send };
        self.ask(role, vec![missing], scene);
    }

    fn next_connect(&mut self) -> (What, String) {
        let session = self.session.as_mut().expect("only a session connects");
        session.connects += 1;
        session.tries += 1;
        let ext = if self.acks { format!(",\"ext\":{{\"ack\":{}}}", session.batch) } else { String::new() };
        (What::Connect(session.connects), format!(",\"connectionType\":\"{}\"{ext}", self.way.name()))
    }

    fn connect(&mut self, scene: &mut Scene<'_, '_>) {
        let leaving = self.session.as_ref().is_none_or(|session| session.disconnected);
        if leaving || self.is_connecting() || self.is_asking(|what| *what == What::Disconnect) {
            return;
        }
        let connect = self.next_connect();
        self.ask(Role::Poll, vec![connect], scene);
    }

    /// Publishes something, in one request or in several at once.
    fn publish(&mut self, scene: &mut Scene<'_, '_>) {
        if scene.quiet || !self.publisher {
            return;
        }
        let pause = self.rng.between((1, self.habits.publish_every_ms * 2));
        scene.alarms.push(scene.now() + pause, self.number, Alarm::Publish);
        // What is under way on one connection must not be overtaken on another one.
        let place = if self.goes_with_polls(Role::Send) { self.poll } else { self.send };
        let elsewhere = self.lanes.iter().any(|(wire, lane)| Some(*wire) != place && lane.publishes());
        if self.mood != Mood::Active || self.session.is_none() || elsewhere {
            return;
        }
        for _ in 0..1 + self.rng.below(3) {
            let batch: Vec<(What, String)> = (0..1 + self.rng.below(2)).map(|_| self.event(scene)).collect();
            self.ask(Role::Send, batch, scene);
        }
    }

    fn event(&mut self, scene: &mut Scene<'_, '_>) -> (What, String) {
        let hooked = scene.scenario.hooks.is_some();
        let serves = hooked && self.rng.chance(200);
        let channel = if serves { *self.rng.pick(&hooked::SERVICES) } else { *self.rng.pick(&CHANNELS) };
        // What a policy puts off may be overtaken by what the client publishes with its next session.
        let by = self.session.as_ref().filter(|_| hooked).map_or(self.number, |session| 1_000 + session.no);
        let (mark, data) =
            scene.ledger.publish(by, channel, scene.ground.now, |mark| data(mark, &mut self.rng, &self.habits));
        (What::Publish(mark), format!(",\"channel\":\"{channel}\",\"data\":{data}"))
    }

    /// Something that a tidy client would not do.
    fn act(&mut self, scene: &mut Scene<'_, '_>) {
        if scene.quiet {
            return;
        }
        let pause = self.rng.between((1, self.habits.act_every_ms * 2));
        scene.alarms.push(scene.now() + pause, self.number, Alarm::Act);
        if self.mood != Mood::Active || self.session.is_none() {
            return;
        }
        let acts: [(u32, Act); 8] = [
            (self.habits.switch, Self::switch),
            (self.habits.ping, Self::ping),
            (self.habits.resubscribe, Self::change_mind),
            (self.habits.disconnect, Self::disconnect),
            (self.habits.vanish, Self::vanish),
            (self.habits.drop_poll, Self::drop_poll),
            (self.habits.connect_twice, Self::connect_twice),
            (self.habits.finish_poll, Self::finish_poll),
        ];
        for (likely, act) in acts {
            if self.rng.chance(likely) {
                return act(self, scene);
            }
        }
    }

    fn change_mind(&mut self, scene: &mut Scene<'_, '_>) {
        let control = |what: &What| matches!(what, What::Subscribe(_) | What::Unsubscribe(_));
        let Some(session) = self.session.as_mut().filter(|session| !session.disconnected) else { return };
        if self.lanes.values().flat_map(|lane| &lane.calls).any(|call| call.asks(control)) {
            return;
        }
        let pattern = *self.rng.pick(patterns(scene.scenario));
        if self.wanted.insert(pattern) {
            return;
        }
        self.wanted.remove(pattern);
        session.subscriptions.remove(pattern);
        scene.ledger.unsubscribing(session.no, pattern, scene.ground.now);
        let fields = format!(",\"subscription\":{pattern:?}");
        self.ask(Role::Send, vec![(What::Unsubscribe(pattern), fields)], scene);
    }

    fn disconnect(&mut self, scene: &mut Scene<'_, '_>) {
        if self.is_asking(|what| *what == What::Disconnect) {
            return;
        }
        if let Some(session) = &mut self.session {
            session.may_end = true;
            self.ask(Role::Send, vec![(What::Disconnect, String::new())], scene);
        }
    }

    fn vanish(&mut self, scene: &mut Scene<'_, '_>) {
        scene.ground.trace.note(scene.now(), None, format!("client {} vanishes", self.number));
        self.drop_lanes(|network, wire, _| network.vanish(wire), scene);
        self.mood = Mood::Away;
        // Until what it has sent has surely been handled, or later.
        let expiry = u64::from(scene.scenario.broker.max_interval_ms) * 2;
        let pause = scene.patience() + self.rng.below(expiry);
        scene.alarms.push(scene.now() + pause, self.number, Alarm::Return);
    }

    /// Closes the connection that polls, in one way or another, and goes on with a new one.
    fn drop_poll(&mut self, scene: &mut Scene<'_, '_>) {
        let Some(wire) = self.poll.take() else { return };
        self.give_up(wire, scene);
    }

    /// Ends the sending side of the connection that polls; what still comes is read.
    fn finish_poll(&mut self, scene: &mut Scene<'_, '_>) {
        let Some(wire) = self.poll.filter(|wire| self.lanes.get(wire).is_some_and(Lane::only_waits)) else { return };
        scene.ground.network.finish(wire, scene.ground.now);
        self.poll = None;
        if let Some(lane) = self.lanes.get_mut(&wire) {
            lane.finished = true;
        }
    }

    /// Sends another connect on another connection while the first is held.
    fn connect_twice(&mut self, scene: &mut Scene<'_, '_>) {
        let held = |lane: &Lane| lane.only_waits() && !lane.calls.is_empty();
        if self.single || !self.poll.is_some_and(|wire| self.lanes.get(&wire).is_some_and(held)) {
            return;
        }
        let Some(session) = &mut self.session else { return };
        session.twice = true;
        self.poll = None;
        let connect = self.next_connect();
        self.ask(Role::Poll, vec![connect], scene);
    }

    /// Goes for good.
    pub(crate) fn leave(&mut self, scene: &mut Scene<'_, '_>) {
        if self.rng.chance(400) && self.session.is_some() {
            self.mood = Mood::Leaving;
            self.disconnect(scene);
            return self.go_on(scene);
        }
        self.mood = Mood::Gone;
        match self.rng.below(3) {
            0 => self.drop_lanes(|network, wire, _| network.vanish(wire), scene),
            1 => self.drop_lanes(|network, wire, now| network.close(wire, now), scene),
            _ => self.drop_lanes(|network, wire, now| network.abort(wire, now), scene),
        }
    }

    fn drop_lanes(&mut self, drop: impl Fn(&mut super::network::Network, WireId, u64), scene: &mut Scene<'_, '_>) {
        let wires: Vec<WireId> = self.lanes.keys().copied().collect();
        for wire in wires {
            drop(scene.ground.network, wire, scene.ground.now);
            self.forget_lane(wire, scene);
        }
    }
}

/// JSON that a server which touches it would change.
fn data(mark: usize, rng: &mut Rng, habits: &Habits) -> String {
    let filler = match rng.below(4) {
        0 => "1.50, 1e2 ,-0.0,12345678901234567890123".to_owned(),
        1 => r#""\u00e9 é \/ \\ </script>",{"z":1,"a":{"z" : null}}"#.to_owned(),
        2 => format!("\"{}\"", "x".repeat(rng.length(habits.data_bytes))),
        _ => "true".to_owned(),
    };
    format!("{{ \"mark\":{mark} ,\"filler\":[{filler}]}}")
}
