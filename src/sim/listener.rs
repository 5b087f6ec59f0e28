//! Somebody who does not speak Bayeux and listens by plain HTTP.
//!
//! Owns its one connection, over which it asks again whenever an answer ends, and what it makes of the three forms.

use super::client::Scene;
use super::invariants::{Kind, Path, SessionNo};
use super::lane::Alarm;
use super::network::{Arrival, WireId};
use super::rng::{Chance, Rng};
use super::scenario::Scenario;
use super::speech::{self, Incoming, Part, Response, Responses};

/// What it asks for, the way to ask, and what it subscribes to with that.
const PLACES: [(&str, &str); 4] =
    [("/events/a/b", "/a/b"), ("/events/a/**", "/a/**"), ("/events/**", "/**"), ("/events/x", "/x")];

/// The same without what hostile people publish.
const OWN_PLACES: [(&str, &str); 4] =
    [("/events/a/b", "/a/b"), ("/events/a/**", "/a/**"), ("/events/x/**", "/x/**"), ("/events/x", "/x")];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Sse,
    Lines,
    Poll,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Listener {
    number: usize,
    rng: Rng,
    form: Form,
    place: (&'static str, &'static str),
    wire: Option<WireId>,
    responses: Responses,
    /// What it listens as; each request is a session of its own.
    session: Option<SessionNo>,
    /// Since when all events come.
    since: Option<u64>,
    gone: bool,
    /// When it last asked, and when it may again.
    asked_at: u64,
    not_before: u64,
    /// Whether it goes on from where it was.
    replays: bool,
    /// The number of the newest event that it has.
    position: Option<u64>,
    /// Requests so far, and what hooks know the last one by.
    asked: u64,
    key: String,
}

impl Listener {
    /// One that has not begun.
    pub(crate) fn new(number: usize, chance: &Chance, scenario: &Scenario) -> Self {
        let mut rng = chance.of("listener", number);
        Self {
            number,
            form: *rng.pick(&[Form::Sse, Form::Lines, Form::Poll]),
            place: *rng.pick(if scenario.secluded { &OWN_PLACES } else { &PLACES }),
            rng,
            wire: None,
            responses: Responses::default(),
            session: None,
            since: None,
            gone: false,
            asked_at: 0,
            not_before: 0,
            replays: scenario.habits.replays > 0,
            position: None,
            asked: 0,
            key: String::new(),
        }
    }

    /// It asks, unless it has, or it drops its connection.
    pub(crate) fn ring(&mut self, alarm: Alarm, scene: &mut Scene<'_, '_>) {
        if alarm == Alarm::Act && !scene.quiet {
            let pause = scene.scenario.habits.act_every_ms;
            scene.alarms.push(scene.ground.now + 1 + self.rng.below(4 * pause), self.number, Alarm::Act);
            if self.rng.chance(scene.scenario.habits.drop_poll) {
                self.drop(scene);
            }
        }
        self.ask(scene);
    }

    /// Goes for good.
    pub(crate) fn leave(&mut self, scene: &mut Scene<'_, '_>) {
        self.gone = true;
        self.drop(scene);
    }

    fn drop(&mut self, scene: &mut Scene<'_, '_>) {
        let Some(wire) = self.wire.take() else { return };
        match self.rng.below(3) {
            0 => scene.ground.network.close(wire, scene.ground.now),
            1 => scene.ground.network.abort(wire, scene.ground.now),
            _ => scene.ground.network.vanish(wire),
        }
        (self.session, self.since) = (None, None);
    }

    fn ask(&mut self, scene: &mut Scene<'_, '_>) {
        if self.gone || self.session.is_some() || scene.drained {
            return;
        }
        let now = scene.ground.now;
        if now < self.not_before {
            return;
        }
        self.asked_at = now;
        scene.ledger.shakes_hands(self.number, now);
        let wire = *self.wire.get_or_insert_with(|| {
            self.responses = Responses::default();
            scene.ground.network.open(self.number, now)
        });
        let (path, pattern) = self.place;
        let accept = match self.form {
            Form::Sse => "text/event-stream",
            Form::Lines => "application/x-ndjson",
            Form::Poll => "application/json",
        };
        let mut request = Vec::new();
        let after = self.position.filter(|_| self.replays);
        let (path, since) = match (self.replays, after) {
            (false, _) => (path.to_owned(), String::new()),
            (true, Some(after)) if self.rng.chance(500) => (format!("{path}?since={after}"), String::new()),
            (true, Some(after)) => (path.to_owned(), format!("Last-Event-ID: {after}\r\n")),
            (true, None) => (format!("{path}?since=-2"), String::new()),
        };
        let after = if self.replays { after.or(Some(0)) } else { None };
        self.asked += 1;
        self.key = format!("l{}.{}", self.number, self.asked);
        let who = scene.scenario.hooks.as_ref().map(|_| format!("X-Who: {}\r\n", self.key)).unwrap_or_default();
        speech::get(&mut request, &path, None, &format!("Accept: {accept}\r\n{since}{who}"));
        scene.ground.network.send(wire, &request, now);
        let session = scene.ledger.begin(self.number, false);
        scene.ledger.subscribing(session, pattern, after, now);
        self.session = Some(session);
    }

    /// Something has come out of its connection.
    pub(crate) fn arrival(&mut self, wire: WireId, arrival: Arrival, scene: &mut Scene<'_, '_>) {
        if self.wire != Some(wire) {
            return;
        }
        let Arrival::Bytes(bytes) = arrival else {
            let restarts = scene.scenario.restart_every_ms > 0;
            let reset = scene.scenario.faults.reset > 0 || scene.scenario.starves || scene.drained || restarts;
            assert!(self.session.is_none() || reset, "the server closed the connection of a listener");
            (self.wire, self.session, self.since) = (None, None, None);
            let pause = 1 + self.rng.below(300);
            return scene.alarms.push(scene.ground.now + pause, self.number, Alarm::GoOn);
        };
        self.responses.push(&bytes);
        while let Some(part) = self.responses.next() {
            self.take(wire, part, scene);
        }
        let patience = 3 * scene.patience();
        if let (Some(session), Some(since)) = (self.session, self.since)
            && scene.ground.now >= since + patience
        {
            scene.ledger.caught_up(session, scene.ground.now - patience);
        }
        self.ask(scene);
    }

    /// Hooks say no, and only then the server does.
    fn is_turned_down(&mut self, response: &Response, scene: &mut Scene<'_, '_>) -> bool {
        let denied = scene.ledger.log().is_some_and(|log| log.denies(&self.key));
        let served = matches!(response.status, 200 | 403);
        assert!(!served || denied == (response.status == 403), "hooks deny {}: {denied}: {response:?}", self.key);
        if response.status == 403 {
            scene.ledger.count(Kind::TurnedDown);
            if let Some(session) = self.session.take() {
                scene.ledger.unasked(session, self.place.1);
            }
            self.not_before = scene.ground.now + 1 + self.rng.below(300);
            scene.alarms.push(self.not_before, self.number, Alarm::GoOn);
        }
        response.status == 403
    }

    /// It is to try again later.
    fn sent_off(&mut self, wire: WireId, response: &Response, scene: &mut Scene<'_, '_>) {
        if response.status == 429 {
            let rate = scene.scenario.broker.handshake_rate.expect("there is a rate");
            scene.ledger.was_hasty(self.number, rate, (self.asked_at, scene.patience()));
        } else if response.body.starts_with(b"More came than may wait") {
            let ended = scene.scenario.hooks.as_ref().is_some_and(|habits| habits.end > 0);
            assert!(ended || scene.ground.counters.overflows > 0, "{response:?}");
            scene.ledger.count(Kind::Refused);
        } else {
            assert!(scene.scenario.guarded || scene.scenario.starves, "{response:?}");
            scene.ledger.count(Kind::SentOff);
        }
        if response.closes() {
            scene.ground.network.close(wire, scene.ground.now);
            self.wire = None;
        }
        self.session = None;
        self.not_before = scene.ground.now + response.retry_after_ms();
        scene.alarms.push(self.not_before, self.number, Alarm::GoOn);
    }

    fn take(&mut self, wire: WireId, part: Part, scene: &mut Scene<'_, '_>) {
        let session = self.session.expect("what comes is an answer");
        match part {
            Part::Whole(response) => {
                scene.ground.network.digest(wire, response.size);
                if matches!(response.status, 429 | 503) {
                    return self.sent_off(wire, &response, scene);
                }
                if self.is_turned_down(&response, scene) {
                    return;
                }
                assert!(response.status == 200 && self.form == Form::Poll, "{response:?}");
                for message in Incoming::batch(&response.body) {
                    self.message(session, &message, scene);
                }
                self.session = None;
            }
            Part::Begun(response) => {
                scene.ground.network.digest(wire, response.size);
                assert!(response.status == 200 && self.form != Form::Poll, "{response:?}");
                self.is_turned_down(&response, scene);
                scene.ledger.subscribed(session, self.place.1, scene.ground.now);
                self.since = Some(scene.ground.now);
            }
            Part::Chunk(chunk, size) => {
                scene.ground.network.digest(wire, size);
                self.chunk(session, core::str::from_utf8(&chunk).expect("events are text"), scene);
            }
            Part::Over(size) => {
                scene.ground.network.digest(wire, size);
                (self.session, self.since) = (None, None);
            }
        }
    }

    fn chunk(&mut self, session: SessionNo, chunk: &str, scene: &mut Scene<'_, '_>) {
        if self.form == Form::Lines {
            assert!(chunk.ends_with('\n'), "not a whole line: {chunk:?}");
            for line in chunk.lines().filter(|line| !line.is_empty()) {
                let batch = Incoming::batch(format!("[{line}]").as_bytes());
                self.message(session, &batch[0], scene);
            }
            return;
        }
        assert!(chunk.ends_with("\n\n"), "not a whole block: {chunk:?}");
        for block in chunk.split("\n\n").filter(|block| !matches!(*block, "" | ":" | "retry: 5000")) {
            let (id, block) = match block.strip_prefix("id: ") {
                Some(rest) => rest.split_once('\n').unwrap_or((rest, "")),
                None => ("", block),
            };
            self.position = self.position.max(id.parse().ok());
            if block.is_empty() {
                continue;
            }
            if let Some(gaps) = block.strip_prefix("event: gap\ndata: ") {
                scene.ledger.told_of_gaps(session, gaps);
                continue;
            }
            let event = block.strip_prefix("event: ").and_then(|block| block.split_once("\ndata: "));
            let event = event.unwrap_or_else(|| panic!("not an event: {block:?}"));
            self.event(session, event, scene);
        }
    }

    fn message(&mut self, session: SessionNo, message: &Incoming, scene: &mut Scene<'_, '_>) {
        if let Some(gaps) = message.raw("gap") {
            let id = message.raw("id").filter(|_| self.replays);
            self.position = id.map_or(self.position, |id| Some(id.parse().expect("a number")));
            return scene.ledger.told_of_gaps(session, gaps);
        }
        let channel = message.text("channel").expect("an event has a channel");
        let data = message.raw("data").expect("an event has data");
        if let Some(number) = message.ext("replay") {
            self.position = self.position.max(Some(scene.ledger.check_number(data, &number)));
        }
        self.event(session, (&channel, data), scene);
    }

    fn event(&mut self, session: SessionNo, event: (&str, &str), scene: &mut Scene<'_, '_>) {
        let path = Path { wire: self.wire.expect("events come on a connection"), low: 0, high: 0 };
        scene.ledger.received(session, event, path, scene.ground.now);
        scene.ledger.count(Kind::Listened);
    }
}
