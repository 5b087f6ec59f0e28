//! What a model client makes of responses that stay open, and of frames.
//!
//! Owns the rules of those: a probe before anything else, no event before it is confirmed, whole lines and whole blocks in
//! each chunk, replies found by their ids among the frames, and an end only for a reason.

use crate::sim::frames;
use crate::sim::invariants::{Kind, Path};
use crate::sim::lane::{Call, Open, Way, What};
use crate::sim::network::WireId;
use crate::sim::speech::{Incoming as Message, Response};
use crate::ws::frame::{Incoming, Opcode};

use super::answers::Replied;
use super::{Client, Role, Scene};

/// What the server must answer to the key of every upgrade (RFC 6455 section 1.3).
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

impl Client {
    /// The head of a response that stays open.
    pub(super) fn begun(&mut self, wire: WireId, response: &Response, scene: &mut Scene<'_, '_>) {
        let lane = self.lanes.get_mut(&wire).expect("it has just read");
        let call = lane.calls.front().cloned();
        let call = call.unwrap_or_else(|| panic!("a stream for nothing on connection {}: {response:?}", wire.0));
        assert!(call.diverts() && call.asked.len() == 1, "a stream for {call:?}");
        let kind = if call.sole_connect().is_some() { "application/json" } else { "text/event-stream" };
        assert_eq!(response.fields.get("content-type"), Some(&format!("{kind};charset=UTF-8")), "for {call:?}");
        assert_eq!(response.fields.get("x-accel-buffering").map(String::as_str), Some("no"), "for {call:?}");
        assert_eq!(response.status, 200, "for {call:?}");
        lane.open = Some(Open::default());
        // One of a session that is no more says nothing of the ways of this one.
        if self.session.as_ref().map(|session| session.no) == call.session {
            self.prove(call.rank, scene);
        }
        if call.sole_connect().is_none() && self.is_newest(&call) {
            // It has ended the connect that was held, if there was one.
            let held = |call: &Call| call.sole_connect().is_some() && scene.now() - call.at < 2 * scene.patience();
            let young = self.lanes.values().flat_map(|lane| &lane.calls).any(held);
            if let Some(session) = self.session.as_mut().filter(|_| !young) {
                session.alive_at = session.alive_at.max(call.at);
            }
            self.settle(wire, scene.now());
        }
    }

    /// Whether the call is of the session that the client has, and no other way has been taken since.
    fn is_newest(&self, call: &Call) -> bool {
        self.session.as_ref().is_some_and(|own| Some(own.no) == call.session && own.rank == call.rank)
            && self.way == call.way
    }

    /// A chunk.
    pub(super) fn chunk(&mut self, wire: WireId, chunk: &[u8], scene: &mut Scene<'_, '_>) {
        let lane = self.lanes.get_mut(&wire).expect("it has just read");
        let open = lane.open.as_ref().expect("a chunk of an open response");
        assert!(!open.replied, "something behind the last reply: {}", chunk.escape_ascii());
        let call = lane.calls.front().cloned().expect("an open response is an answer");
        let text = core::str::from_utf8(chunk).expect("streams are text");
        if call.sole_connect().is_some() {
            assert!(text.ends_with('\n'), "not a whole line: {text:?}");
            for line in text.lines().filter(|line| !line.is_empty()) {
                self.line(wire, &call, line.as_bytes(), scene);
            }
            return;
        }
        assert!(text.ends_with("\n\n"), "not a whole block: {text:?}");
        for block in text.split("\n\n").filter(|block| !matches!(*block, "" | ":" | "retry: 5000")) {
            let batch = block.strip_prefix("data: ").filter(|batch| !batch.contains('\n'));
            let batch = batch.unwrap_or_else(|| panic!("not a block of an event source: {block:?}"));
            for message in Message::batch(batch.as_bytes()) {
                if message.raw("data").is_none() && message.text("channel").as_deref() == Some("/meta/disconnect") {
                    continue;
                }
                self.pushed(&message, call.session, (call.path(wire), Kind::Sourced), scene);
            }
        }
    }

    /// A batch on a stream of lines.
    fn line(&mut self, wire: WireId, call: &Call, line: &[u8], scene: &mut Scene<'_, '_>) {
        let mut empty = true;
        let dropped = self.drops(call, line, scene);
        for message in Message::batch(line) {
            let channel = message.text("channel").expect("a message has a channel");
            if channel == "/service/probe" {
                let data = message.raw("data").unwrap_or_default();
                let number = data.strip_prefix("{\"probe\":").and_then(|rest| rest.strip_suffix('}'));
                let number = number.and_then(|number| number.parse().ok()).expect("a numbered probe");
                self.probed(wire, call, number, scene);
            } else if message.raw("data").is_some() && self.acks {
                empty = false;
                if !dropped {
                    self.pushed(&message, call.session, (call.path(wire), Kind::Streamed), scene);
                }
            } else if message.raw("data").is_some() {
                let open = self.lanes.get(&wire).and_then(|lane| lane.open.as_ref());
                assert!(open.is_some_and(|open| open.confirmed), "an event before the probe was confirmed");
                self.pushed(&message, call.session, (call.path(wire), Kind::Streamed), scene);
                empty = false;
            } else if message.raw("id").is_some() {
                let lane = self.lanes.get_mut(&wire).expect("it has just read");
                lane.calls.pop_front();
                lane.open = Some(Open { replied: true, ..Open::default() });
                assert_eq!(message.raw("id"), Some(call.asked[0].id.as_str()), "in {}", line.escape_ascii());
                if !dropped {
                    self.reply(&Replied { call, asked: &call.asked[0], message: &message, empty }, scene);
                }
            } else {
                assert_eq!(channel, "/meta/disconnect", "in {}", line.escape_ascii());
            }
        }
    }

    /// The probe of a stream has come. It is confirmed on another connection, mostly.
    fn probed(&mut self, wire: WireId, call: &Call, number: u64, scene: &mut Scene<'_, '_>) {
        if !self.is_newest(call) || self.rng.chance(self.habits.unconfirmed) {
            return;
        }
        if let Some(open) = self.lanes.get_mut(&wire).and_then(|lane| lane.open.as_mut()) {
            open.confirmed = true;
        }
        let fields = format!(",\"data\":{{}},\"ext\":{{\"probe\":{number}}}");
        self.ask(Role::Send, vec![(What::Confirm(number), fields)], scene);
        self.settle(wire, scene.now());
    }

    /// An event has come.
    fn pushed(
        &mut self,
        message: &Message,
        session: Option<usize>,
        (path, kind): (Path, Kind),
        scene: &mut Scene<'_, '_>,
    ) {
        let session = session.expect("only a session gets events");
        let channel = message.text("channel").expect("a message has a channel");
        let data = message.raw("data").unwrap_or_else(|| panic!("neither an event nor a reply: {message:?}"));
        scene.ledger.received(session, (&channel, data), self.path_of(path), scene.ground.now);
        scene.ledger.count(kind);
        self.note_number(message.ext("replay"), (&channel, data), scene);
        self.came_by(path, session, scene);
    }

    /// An event of the session has come on this way: it must not be one that has been left for long.
    pub(super) fn came_by(&mut self, path: Path, session: usize, scene: &mut Scene<'_, '_>) {
        let Some(own) = self.session.as_ref().filter(|own| own.no == session) else { return };
        let (rank, at) = own.proven;
        assert!(
            path.high >= rank || scene.now() <= at + scene.patience(),
            "client {} gets events on a way that it has left: {path:?}, and {rank} since {at}",
            self.number
        );
        if path.low == path.high {
            self.prove(path.low, scene);
        }
    }

    /// The end of a response that stayed open.
    pub(super) fn ended(&mut self, wire: WireId, scene: &mut Scene<'_, '_>) {
        let Some(lane) = self.lanes.get_mut(&wire) else { return };
        let open = lane.open.take().expect("what ends has been open");
        let call = if open.replied { None } else { lane.calls.pop_front() };
        if self.source == Some(wire) {
            self.source = None;
            self.source_after = scene.now() + self.rng.below(100);
        }
        if let Some(session) = self.session.as_mut().filter(|own| own.settled.is_some_and(|(at, _)| at == wire)) {
            session.settled = None;
        }
        let Some(call) = call else { return };
        let aged = scene.now() + scene.patience() >= call.at + scene.scenario.limits.stream_ms;
        let source = call.sole_connect().is_none();
        let over =
            self.session.as_ref().is_none_or(|own| own.disconnected || own.may_end || scene.ledger.may_end(own.no));
        // A session that has expired is heard of with the next connect.
        let explained = self.may_be_superseded(&call) || (source && (aged || over || self.may_expire(scene)));
        assert!(explained || scene.drained, "a stream ended for no reason: {call:?}");
        scene.ledger.count(Kind::Moved);
    }

    /// Whether the session may have expired at the server.
    fn may_expire(&self, scene: &Scene<'_, '_>) -> bool {
        let lives = |own: &super::Own| own.alive_at + u64::from(scene.scenario.broker.max_interval_ms);
        self.session.as_ref().is_none_or(|own| scene.now() + scene.patience() >= lives(own))
    }

    /// An upgrade has been answered: the connection is a WebSocket.
    pub(super) fn upgraded(&mut self, wire: WireId, response: &Response, now: u64) -> Vec<u8> {
        let accept = response.fields.get("sec-websocket-accept").map(String::as_str);
        assert_eq!((response.status, accept), (101, Some(ACCEPT)), "{response:?}");
        let lane = self.lanes.get_mut(&wire).expect("it has just read");
        let socket = lane.socket.as_mut().expect("it has asked for an upgrade");
        socket.frames = Some(frames::Frames::default());
        lane.outgoing.append(&mut socket.backlog);
        let rest = lane.responses.take_rest();
        // Whatever it has asked for before has just been heard.
        if let Some(session) = self.session.as_mut().filter(|own| own.settled.is_some_and(|(at, _)| at == wire)) {
            session.settled = Some((wire, now));
        }
        rest
    }

    /// Bytes have come on a WebSocket.
    pub(super) fn read_frames(&mut self, wire: WireId, bytes: &[u8], scene: &mut Scene<'_, '_>) {
        let frames = self.lanes.get_mut(&wire).and_then(|lane| lane.socket.as_mut()?.frames.as_mut());
        let Some(frames) = frames else { return };
        for (incoming, size) in frames.take(bytes) {
            scene.ground.network.digest(wire, size);
            let Some(lane) = self.lanes.get_mut(&wire) else { return };
            let Some(socket) = lane.socket.as_mut() else { return };
            lane.idle_since = scene.ground.now;
            match incoming {
                Incoming::Text(text) => self.frame(wire, &text, scene),
                Incoming::Ping(payload) if !socket.closing => {
                    frames::write(&mut lane.outgoing, Opcode::Pong, true, &payload, &mut self.rng);
                }
                Incoming::Ping(_) => {}
                Incoming::Pong(payload) => {
                    assert!(socket.pings > 0 && payload == frames::PING, "a pong for no ping");
                    socket.pings -= 1;
                    scene.ledger.count(Kind::Ponged);
                }
                Incoming::Close { code, reason } => {
                    let code = code.map(|code| code.get());
                    if code == Some(1013) && scene.scenario.guarded {
                        scene.ledger.count(Kind::SentOff);
                        socket.refused = true;
                    }
                    self.told_to_close(wire, code, &reason);
                }
                other => panic!("a server that speaks Bayeux does not say {other:?}"),
            }
        }
    }

    fn told_to_close(&mut self, wire: WireId, code: Option<u16>, reason: &str) {
        let refused = self.lanes.get(&wire).and_then(|lane| lane.socket.as_ref()).is_some_and(|socket| socket.refused);
        assert!(refused || matches!(code, Some(1000 | 1001)), "the server closes a WebSocket: {code:?} {reason}");
        for role in [&mut self.poll, &mut self.send] {
            *role = role.filter(|own| *own != wire);
        }
        let Some(lane) = self.lanes.get_mut(&wire) else { return };
        lane.calls.iter_mut().for_each(|call| call.forsaken |= call.sole_connect().is_some());
        let Some(socket) = lane.socket.as_mut().filter(|socket| !socket.closing) else { return };
        socket.closing = true;
        frames::close(&mut lane.outgoing, 1000, &mut self.rng);
    }

    /// A batch in a frame.
    fn frame(&mut self, wire: WireId, text: &[u8], scene: &mut Scene<'_, '_>) {
        let messages = Message::batch(text);
        let empty = messages.iter().all(|message| message.raw("data").is_none());
        let connect = self.acks.then(|| self.connect_of(wire, &messages)).flatten();
        assert!(!self.acks || empty || connect.is_some(), "events without a connect: {}", text.escape_ascii());
        let dropped = connect.is_some_and(|call| self.drops(&call, text, scene));
        for message in messages {
            let Some(lane) = self.lanes.get_mut(&wire) else { return };
            let Some(socket) = lane.socket.as_ref() else { return };
            if message.raw("data").is_some() {
                if dropped {
                    continue;
                }
                let path = socket.path(wire, scene.ground.now);
                let session = socket.session;
                self.pushed(&message, session, (path, Kind::Pushed), scene);
                continue;
            }
            let Some(id) = message.raw("id") else {
                assert_eq!(message.text("channel").as_deref(), Some("/meta/disconnect"), "{}", text.escape_ascii());
                continue;
            };
            let at = lane.calls.iter().position(|call| call.asked.iter().any(|asked| asked.id == id));
            let at = at.unwrap_or_else(|| panic!("a reply to nothing: {}", text.escape_ascii()));
            let call = &mut lane.calls[at];
            let asked = call.asked.iter().position(|asked| asked.id == id).expect("just found");
            let asked = call.asked.remove(asked);
            let left = call.asked.is_empty();
            let call = call.clone();
            if left {
                lane.calls.remove(at);
            }
            assert_eq!(message.text("channel"), Some(asked.channel.clone()), "in {}", text.escape_ascii());
            if !(dropped && matches!(asked.what, What::Connect(_))) {
                let empty = empty && self.acks;
                self.reply(&Replied { call: &call, asked: &asked, message: &message, empty }, scene);
            }
        }
    }

    /// Bytes have come: so all events have that were published a while ago, if this is where they come.
    pub(super) fn note_progress(&mut self, wire: WireId, scene: &mut Scene<'_, '_>) {
        let patience = scene.patience_now();
        if let Some(own) = self.session.as_ref().filter(|_| !self.acks)
            && let Some((settled, since)) = own.settled
            && settled == wire
            && scene.now() >= since + 4 * patience
        {
            scene.ledger.caught_up(own.no, scene.now() - 3 * patience);
        }
    }

    /// Whether the server may have ended the call because a newer connect took its place.
    pub(super) fn may_be_superseded(&self, call: &Call) -> bool {
        let newest = self.session.as_ref().filter(|session| Some(session.no) == call.session);
        let Some(own) = newest else { return true };
        let older = call.rank < own.rank || own.twice;
        call.sole_connect().map_or(older, |serial| older || serial < own.connects)
            && (call.diverts() || call.way == Way::EventSource)
    }
}
