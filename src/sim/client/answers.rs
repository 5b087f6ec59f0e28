//! What a model client makes of what comes back.
//!
//! Owns the rules of a single answer: one for each request and in order, events before replies and only with a connect, each
//! reply with its id and channel, and nothing that the client has not given a reason for. Writes into the book what it got.

use std::collections::BTreeMap;

use crate::sim::invariants::Kind;
use crate::sim::lane::{Asked, Call, Way, What};
use crate::sim::network::{Arrival, WireId};
use crate::sim::speech::{Advice, Incoming, Part, Response};

use super::{Client, Mood, Own, Scene};

/// One reply, with what it replies to.
pub(super) struct Replied<'a> {
    pub(super) call: &'a Call,
    pub(super) asked: &'a Asked,
    pub(super) message: &'a Incoming,
    /// No events stand before it.
    pub(super) empty: bool,
}

impl Client {
    /// Something has come out of one of its connections.
    pub(crate) fn arrival(&mut self, wire: WireId, arrival: Arrival, scene: &mut Scene<'_, '_>) {
        if !self.lanes.contains_key(&wire) {
            return;
        }
        match arrival {
            Arrival::Bytes(bytes) => self.read(wire, &bytes, scene),
            Arrival::Fin => self.server_closed(wire, false, scene),
            Arrival::Reset => self.server_closed(wire, true, scene),
        }
        self.go_on(scene);
    }

    fn read(&mut self, wire: WireId, bytes: &[u8], scene: &mut Scene<'_, '_>) {
        let Some(lane) = self.lanes.get_mut(&wire) else { return };
        if lane.socket.as_ref().is_some_and(|socket| socket.frames.is_some()) {
            self.read_frames(wire, bytes, scene);
            return self.note_progress(wire, scene);
        }
        lane.responses.push(bytes);
        while let Some(lane) = self.lanes.get_mut(&wire)
            && let Some(part) = lane.responses.next()
        {
            lane.idle_since = scene.ground.now;
            self.take(wire, &part, scene);
            let retired = [self.poll, self.send, self.source].iter().all(|role| *role != Some(wire));
            if retired && self.lanes.get(&wire).is_some_and(super::Lane::is_done) {
                scene.ground.network.close(wire, scene.ground.now);
                self.lanes.remove(&wire);
            }
        }
        let amid = self.lanes.get(&wire).is_some_and(|lane| lane.responses.is_amid() && lane.is_done());
        assert!(!amid, "bytes that answer nothing on connection {}", wire.0);
        self.note_progress(wire, scene);
    }

    /// The server has no room for what was asked on a connection, or for the connection, and ends it.
    fn sent_off(&mut self, wire: WireId, response: &Response, scene: &mut Scene<'_, '_>) {
        let may_be = scene.scenario.guarded || scene.scenario.starves;
        assert!(may_be && response.closes(), "client {}: {response:?}", self.number);
        scene.ledger.count(Kind::SentOff);
        scene.ground.network.close(wire, scene.ground.now);
        self.forget_lane(wire, scene);
        self.not_before = self.not_before.max(scene.now() + response.retry_after_ms());
    }

    fn take(&mut self, wire: WireId, part: &Part, scene: &mut Scene<'_, '_>) {
        let response = match part {
            Part::Whole(response) if response.status == 503 => {
                scene.ground.network.digest(wire, response.size);
                return self.sent_off(wire, response, scene);
            }
            Part::Whole(response) => response,
            Part::Begun(response) => {
                scene.ground.network.digest(wire, response.size);
                return self.begun(wire, response, scene);
            }
            Part::Chunk(chunk, size) => {
                scene.ground.network.digest(wire, *size);
                return self.chunk(wire, chunk, scene);
            }
            Part::Over(size) => {
                scene.ground.network.digest(wire, *size);
                return self.ended(wire, scene);
            }
        };
        scene.ground.network.digest(wire, response.size);
        let Some(lane) = self.lanes.get_mut(&wire) else { return };
        let call = lane.calls.pop_front();
        let call = call.unwrap_or_else(|| panic!("an answer to nothing on connection {}: {response:?}", wire.0));
        if call.asks(|what| *what == What::Upgrade) {
            let rest = self.upgraded(wire, response, scene.ground.now);
            return self.read_frames(wire, &rest, scene);
        }
        if call.asks(|what| *what == What::Attach) {
            self.source = None;
            self.source_after = scene.now() + 300;
            if response.status == 409 && self.acks {
                return;
            }
            assert_eq!(response.status, 404, "for {call:?}: {response:?}");
            return self.is_unknown(&call, scene);
        }
        self.answered(wire, &call, response, scene);
    }

    /// The server has closed a connection, or the network has.
    fn server_closed(&mut self, wire: WireId, reset: bool, scene: &mut Scene<'_, '_>) {
        let Some(lane) = self.lanes.get(&wire) else { return };
        let idle = scene.now() + scene.patience() >= lane.idle_since + scene.scenario.limits.idle_ms;
        let closing = lane.socket.as_ref().is_some_and(|socket| socket.closing);
        let restarts = scene.scenario.restart_every_ms > 0;
        // What comes behind the words that there is no room resets the connection, and those may be lost.
        let resets = scene.scenario.faults.reset > 0 || scene.scenario.starves;
        let explained = idle || closing || lane.finished || scene.drained || restarts || (reset && resets);
        let socket_amid = lane
            .socket
            .as_ref()
            .is_some_and(|socket| socket.frames.as_ref().is_some_and(crate::sim::frames::Frames::is_amid));
        assert!(!closing || !socket_amid || reset, "a WebSocket ends within a frame");
        assert!(
            explained || (lane.socket.is_none() && lane.calls.is_empty() && !lane.responses.is_amid()),
            "the server closed connection {} of client {} with requests under way: {:?}",
            wire.0,
            self.number,
            lane.calls
        );
        let left = lane.socket.as_ref().is_some_and(|socket| socket.left) && !reset && !lane.finished && !restarts;
        // A session that is ended takes its WebSocket along, whatever its client has sent behind that.
        let left = left && self.session.as_ref().is_some_and(|own| !own.may_end && !scene.ledger.may_end(own.no));
        let left = left && !lane.socket.as_ref().is_some_and(|socket| socket.refused);
        // A policy may put off what came before the Close.
        let left = left && scene.scenario.hooks.is_none();
        assert!(!(left && lane.publishes()), "closed before its publishes were answered: {wire:?} {:?}", lane.calls);
        if !reset {
            scene.ground.network.close(wire, scene.ground.now);
        }
        self.forget_lane(wire, scene);
    }

    /// A connection is no more: what was asked on it stays unanswered.
    pub(super) fn forget_lane(&mut self, wire: WireId, scene: &mut Scene<'_, '_>) {
        let Some(lane) = self.lanes.remove(&wire) else { return };
        for role in [&mut self.poll, &mut self.send, &mut self.source] {
            *role = role.filter(|own| *own != wire);
        }
        if let Some(session) = self.session.as_mut().filter(|own| own.settled.is_some_and(|(at, _)| at == wire)) {
            session.settled = None;
        }
        self.source_after = self.source_after.max(scene.now() + self.rng.between((1, 200)));
        for asked in lane.calls.iter().flat_map(|call| &call.asked) {
            scene.ledger.count(Kind::Unanswered);
            match (&asked.what, &mut self.session) {
                (What::Subscribe(patterns), Some(session)) => {
                    session.subscriptions.retain(|pattern, _| !patterns.contains(pattern));
                }
                (What::Disconnect, _) => self.session = None,
                _ => {}
            }
        }
        // It may live on at the server; its events must not be taken for those of the next one.
        if self.session.is_none()
            && let Some(wire) = self.poll.filter(|wire| self.lanes.get(wire).is_some_and(super::Lane::is_socket))
        {
            self.poll = None;
            self.leave_way(wire, scene);
        }
        if self.mood == Mood::Leaving {
            self.mood = Mood::Gone;
        }
        self.resuming = true;
        self.not_before = self.not_before.max(scene.now() + self.rng.between((1, 200)));
    }

    fn answered(&mut self, wire: WireId, call: &Call, response: &Response, scene: &mut Scene<'_, '_>) {
        if response.status == 500 {
            let superseded = call.sole_connect().is_some() && self.may_be_superseded(call);
            assert!(superseded && response.body.is_empty(), "a 500 for {call:?}: {response:?}");
            scene.ledger.count(Kind::Superseded);
            return;
        }
        assert_eq!(response.status, 200, "for {call:?}: {response:?}");
        assert!(!response.closes() || scene.drained, "for {call:?}: {response:?}");
        let kind = response.fields.get("content-type").map(String::as_str);
        assert_eq!(kind, Some("application/json;charset=UTF-8"), "for {call:?}");
        if response.body == b"[]" {
            let moved = call.sole_connect().is_some() && self.may_be_superseded(call);
            assert!(moved && scene.scenario.ways.len() > 1, "nothing for {call:?}: {response:?}");
            scene.ledger.count(Kind::Moved);
            return;
        }
        if let Some(cookie) = response.cookie()
            && self.rng.chance(500)
        {
            self.cookie = Some(cookie.to_owned());
        }
        self.replies(wire, call, &response.body, scene);
    }

    /// Events first, then the replies in the order of the request, connect last.
    fn replies(&mut self, wire: WireId, call: &Call, body: &[u8], scene: &mut Scene<'_, '_>) {
        let own = self.session.as_ref().map(|session| session.no) == call.session;
        if own && call.asks(|what| matches!(what, What::Connect(_))) && call.way != Way::EventSource {
            self.prove(call.rank, scene);
        }
        let mut asked: Vec<&Asked> = call.asked.iter().collect();
        asked.sort_by_key(|asked| matches!(asked.what, What::Connect(_)));
        let connects = call.asks(|what| matches!(what, What::Connect(_)));
        let mut asked = asked.into_iter();
        let mut events = 0;
        let mut oldest = u64::MAX;
        let mut replied = false;
        let dropped = connects && self.drops(call, body, scene);
        for message in Incoming::batch(body) {
            let channel = message.text("channel").expect("a message has a channel");
            if let Some(data) = message.raw("data") {
                assert!(!replied && connects, "an event where none may be: {}", body.escape_ascii());
                events += 1;
                oldest = oldest.min(scene.ledger.sent_at(data));
                if dropped {
                    continue;
                }
                let session = call.session.expect("only a session connects");
                self.note_number(message.ext("replay"), (&channel, data), scene);
                scene.ledger.received(session, (&channel, data), self.path_of(call.path(wire)), scene.ground.now);
                self.came_by(call.path(wire), session, scene);
                continue;
            }
            replied = true;
            if message.raw("id").is_none() && channel == "/meta/disconnect" && connects {
                continue;
            }
            let asked = asked.next().unwrap_or_else(|| panic!("a reply to nothing: {}", body.escape_ascii()));
            assert_eq!(message.raw("id"), Some(asked.id.as_str()), "in {}", body.escape_ascii());
            assert_eq!(channel, asked.channel, "in {}", body.escape_ascii());
            if !(dropped && matches!(asked.what, What::Connect(_))) {
                self.reply(&Replied { call, asked, message: &message, empty: events == 0 }, scene);
            }
        }
        if events > 0 && call.sole_connect().is_some() && scene.scenario.lazy {
            self.check_lazy(call, oldest, scene);
        }
        assert!(asked.next().is_none(), "a reply is missing in {} for {call:?}", body.escape_ascii());
    }

    pub(super) fn reply(&mut self, replied: &Replied<'_>, scene: &mut Scene<'_, '_>) {
        let Replied { call, asked, message, empty } = *replied;
        let turned_down = self.is_turned_down(replied, scene);
        let successful = message.is_successful();
        if let What::Publish(mark) = asked.what {
            scene.ledger.acked(mark, successful, scene.ground.now);
        }
        if turned_down {
            return self.turned_down(replied, scene);
        }
        if asked.what == What::Handshake {
            return self.greeted(call, message, scene);
        }
        // The answer may concern a session that has been given up since.
        if self.session.as_ref().map(|session| session.no) != call.session {
            return;
        }
        if !successful {
            return self.refused(call, asked, message, scene);
        }
        let Some(session) = &mut self.session else { return };
        match &asked.what {
            What::Subscribe(patterns) => {
                for pattern in patterns {
                    session.subscriptions.insert(pattern, true);
                    let entry = |name: &str| message.ext_of(name, pattern);
                    let (after, gap) = (entry("replay").map(|number| number as u64), entry("gap").is_some());
                    scene.ledger.begins(session.no, pattern, (after, gap), scene.ground.now);
                    if let Some(after) = after {
                        self.positions.entry(pattern).or_insert(after);
                    }
                    scene.ledger.subscribed(session.no, pattern, scene.ground.now);
                }
            }
            What::Unsubscribe(pattern) => {
                scene.ledger.count(Kind::Unsubscribed);
                scene.ledger.unsubscribed(session.no, pattern, scene.ground.now);
            }
            What::Connect(_) => {
                if let (Some(gaps), Some(no)) = (message.ext("gap"), call.session) {
                    scene.ledger.told_of_gaps(no, &gaps);
                }
                self.got_batch(message, empty, call, scene);
                let empty = empty && message.ext("gap").is_none();
                self.connected(call, message.advice().as_ref(), empty, scene);
            }
            What::Disconnect => {
                session.disconnected = true;
                self.part(scene);
            }
            What::Publish(_) | What::Handshake | What::Upgrade | What::Attach | What::Confirm(_) => {}
        }
    }

    fn greeted(&mut self, call: &Call, message: &Incoming, scene: &mut Scene<'_, '_>) {
        if message.has_error("429::handshake_rate") {
            let advice = message.advice().expect("who comes too fast is told when to come again");
            let rate = scene.scenario.broker.handshake_rate.expect("there is a rate");
            // All of them that were sent away before come first.
            let before = scene.ledger.was_hasty(self.number, rate, (call.at, scene.patience()));
            let most = (1_000 / u64::from(rate.per_second) + 1) * before;
            assert!(advice.reconnect == "handshake" && (1..=most).contains(&advice.interval), "{advice:?}");
            self.not_before = scene.now() + advice.interval;
            return;
        }
        if !message.is_successful() {
            assert!(message.has_error("429:"), "a handshake was refused: {message:?}");
            self.not_before = scene.now() + 500;
            return;
        }
        self.session = Some(Own {
            no: scene.ledger.begin(self.number, self.acks),
            id: message.text("clientId").expect("a new session has an id"),
            alive_at: scene.now(),
            may_end: false,
            connects: 0,
            subscriptions: BTreeMap::new(),
            interval: 0,
            disconnected: false,
            twice: false,
            rank: 0,
            unsure_until: 0,
            proven: (0, 0),
            settled: None,
            batch: -1,
            tries: 0,
        });
        self.agreed(message);
        if let (Some(name), Some(session)) = (Self::name_in(message), &self.session) {
            scene.ledger.is_called(session.no, &name);
        }
    }

    fn connected(&mut self, call: &Call, advice: Option<&Advice>, empty: bool, scene: &mut Scene<'_, '_>) {
        let Some(session) = &mut self.session else { return };
        session.alive_at = scene.now();
        if core::mem::take(&mut self.resuming) {
            scene.ledger.count(Kind::Resumed);
        }
        if scene.now() - call.at > scene.patience() {
            scene.ledger.count(Kind::Held);
        }
        match advice {
            Some(advice) if advice.reconnect == "none" => {
                assert!(self.may_end(scene), "client {} was sent away for no reason", self.number);
                scene.ledger.count(Kind::Dismissed);
                if let Some(session) = &mut self.session {
                    session.disconnected = true;
                }
                self.part(scene);
            }
            advice => {
                let config = &scene.scenario.broker;
                // Whose connects are answered at once comes at the pace of the others.
                let aside = call.way == Way::EventSource && !scene.drained;
                let timeout = if aside { 0 } else { u64::from(config.timeout_ms) };
                // An answer from before the server began to end may still come.
                let sent_before = scene.drained && call.way == Way::EventSource;
                assert!(advice.is_none_or(|advice| advice.reconnect == "retry"), "{advice:?}");
                assert!(advice.is_none_or(|advice| advice.timeout == timeout || sent_before), "{advice:?}");
                if empty && call.way == Way::LongPolling {
                    scene.ledger.caught_up(session.no, call.at);
                }
                if let Some(advice) = advice {
                    session.interval = advice.interval;
                    if advice.interval > u64::from(config.interval_ms) && !aside {
                        scene.ledger.count(Kind::Crowded);
                    }
                }
                self.not_before = scene.now() + session.interval;
                if let Some(name) = advice.and_then(|advice| advice.fallback.as_ref()) {
                    assert!(name == "long-polling" && call.way == Way::Streaming, "{advice:?}");
                    scene.ledger.count(Kind::Fallback);
                    self.way = if self.way == Way::Streaming { Way::LongPolling } else { self.way };
                }
                if call.way != self.effect() {
                    self.not_before = scene.now();
                }
            }
        }
    }

    /// The session is over and that is known to both sides, once no connect is under way.
    pub(super) fn part(&mut self, scene: &mut Scene<'_, '_>) {
        let connecting = self.is_connecting();
        let Some(session) = &mut self.session else { return };
        session.may_end = true;
        if connecting {
            return;
        }
        scene.ledger.end(session.no, scene.now() + scene.patience());
        self.session = None;
        if let Some(wire) = self.source.take() {
            self.leave_way(wire, scene);
        }
        if self.mood == Mood::Leaving {
            self.mood = Mood::Gone;
            self.drop_lanes(|network, wire, now| network.close(wire, now), scene);
        }
    }

    fn may_end(&self, scene: &Scene<'_, '_>) -> bool {
        let restarts = scene.scenario.restart_every_ms > 0;
        self.session.as_ref().is_none_or(|session| session.may_end || scene.ledger.may_end(session.no))
            || scene.ground.counters.overflows > 0
            || restarts
    }

    fn refused(&mut self, call: &Call, asked: &Asked, message: &Incoming, scene: &mut Scene<'_, '_>) {
        let large = message.has_error("413:") && scene.scenario.limits.outbox_bytes < self.habits.data_bytes;
        if (message.has_error("429:") || large) && matches!(asked.what, What::Publish(_)) {
            scene.ledger.count(Kind::Refused);
            return;
        }
        let dropped = matches!(asked.what, What::Publish(mark) if scene.ledger.is_dropped(mark));
        if dropped && message.has_error("404::message_deleted") {
            return;
        }
        assert!(message.has_error("402:"), "client {} is refused: {message:?} for {asked:?}", self.number);
        if matches!(asked.what, What::Connect(_)) {
            let advice = message.advice().expect("who is unknown is told what to do");
            assert_eq!((advice.reconnect.as_str(), advice.interval), ("handshake", 0));
        }
        self.is_unknown(call, scene);
    }

    /// The server does not know the session: that must have a reason.
    fn is_unknown(&mut self, call: &Call, scene: &mut Scene<'_, '_>) {
        let Some(session) = self.session.as_ref().filter(|session| Some(session.no) == call.session) else { return };
        if session.disconnected || self.mood == Mood::Leaving {
            return;
        }
        let config = &scene.scenario.broker;
        // Advice may have been lost with a connection.
        let interval = if self.resuming || session.twice { 0 } else { session.interval };
        let lives = interval + u64::from(config.max_interval_ms);
        let early = call.at + scene.patience() < (session.alive_at + lives).saturating_sub(scene.patience());
        assert!(
            !early || self.may_end(scene) || scene.scenario.starves,
            "client {} asked {} ms after its last sign of life and was unknown",
            self.number,
            call.at.saturating_sub(session.alive_at)
        );
        scene.ledger.count(Kind::Unknown);
        self.session = None;
        if let Some(wire) = self.source.take() {
            self.leave_way(wire, scene);
        }
    }
}
