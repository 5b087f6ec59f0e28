//! How a model client changes its transport.
//!
//! Owns the switch at any moment, what becomes of the connection that is left, and the ranks by which the book knows
//! which way is newer.

use crate::sim::frames;
use crate::sim::invariants::Kind;
use crate::sim::lane::{Alarm, Asked, Call, Socket, Way, What};
use crate::sim::network::WireId;
use crate::sim::speech;
use crate::ws::frame::Opcode;

use super::{Client, Scene};

impl Client {
    /// Goes on with another transport, whatever is under way.
    pub(super) fn switch(&mut self, scene: &mut Scene<'_, '_>) {
        let sure = scene.now().saturating_sub(2 * scene.patience());
        let young = self.lanes.values().flat_map(|lane| &lane.calls).any(|call| call.diverts() && call.at > sure);
        let way = *self.rng.pick(scene.scenario.ways);
        if way == self.way || (young && self.rng.chance(700)) || self.is_asking(|what| *what == What::Handshake) {
            return;
        }
        let note = format!("client {} switches from {:?} to {way:?}", self.number, self.way);
        scene.ground.trace.note(scene.now(), self.poll, note);
        scene.ledger.count(Kind::Switched);
        let is_http = |way| way != Way::WebSocket;
        let same = is_http(way) && is_http(self.way) && self.rng.chance(500);
        if !same && let Some(wire) = self.poll.take() {
            self.leave_way(wire, scene);
        }
        if let Some(wire) = self.source.take() {
            self.leave_way(wire, scene);
        }
        self.way = way;
        self.not_before = scene.now();
        self.source_after = scene.now();
        if let Some(session) = &mut self.session {
            session.settled = None;
            // The connect that is under way is no longer the one that counts.
            session.connects += 1;
        }
        if way == Way::WebSocket && self.rng.chance(600) {
            // Not one on which another session of its own is served: their events could not be told apart.
            let own = self.session.as_ref().map(|session| session.no);
            let back = self.lanes.iter().find(|(_, lane)| {
                lane.is_socket()
                    && lane.socket.as_ref().is_some_and(|socket| socket.session.is_none_or(|no| Some(no) == own))
            });
            self.poll = back.map(|(wire, _)| *wire).or(self.poll);
        }
    }

    /// Leaves the connection on which events came: open, for as long as the server likes, or otherwise.
    pub(super) fn leave_way(&mut self, wire: WireId, scene: &mut Scene<'_, '_>) {
        if self.rng.chance(self.habits.leave_badly) {
            return self.give_up(wire, scene);
        }
        if self.lanes.get(&wire).is_some_and(|lane| lane.socket.is_some()) {
            if self.rng.chance(400) {
                self.retire(wire, scene);
            } else {
                let at = scene.now() + self.rng.below(8 * scene.patience());
                scene.alarms.push(at, self.number, Alarm::Retire(wire));
            }
        }
        if let Some(lane) = self.lanes.get(&wire)
            && lane.is_done()
        {
            scene.ground.network.close(wire, scene.ground.now);
            self.lanes.remove(&wire);
        }
    }

    /// Closes a connection in one way or another, or forgets it as if it were dead, and perhaps only half of it is.
    pub(super) fn give_up(&mut self, wire: WireId, scene: &mut Scene<'_, '_>) {
        let Some(lane) = self.lanes.get(&wire) else { return };
        // A publish that is under way must not be overtaken by one on the next connection.
        let busy = !lane.only_waits();
        match self.rng.below(4) {
            0 if lane.socket.is_some() => return self.retire(wire, scene),
            0 | 1 if !busy => scene.ground.network.close(wire, scene.ground.now),
            2 if !busy => scene.ground.network.vanish(wire),
            _ => scene.ground.network.abort(wire, scene.ground.now),
        }
        // The connect that is under way there may arrive after the next one.
        if let Some(session) = &mut self.session {
            session.twice = true;
            session.unsure_until = scene.ground.now + 2 * scene.patience();
        }
        self.forget_lane(wire, scene);
    }

    /// Closes a WebSocket as it should be: what still comes is read.
    pub(super) fn retire(&mut self, wire: WireId, scene: &mut Scene<'_, '_>) {
        if [self.poll, self.send].contains(&Some(wire)) {
            return;
        }
        let Some(lane) = self.lanes.get_mut(&wire) else { return };
        let Some(socket) = lane.socket.as_mut().filter(|socket| !socket.closing && !lane.finished) else { return };
        (socket.closing, socket.left) = (true, true);
        let out = if socket.frames.is_some() { &mut lane.outgoing } else { &mut socket.backlog };
        frames::close(out, 1000, &mut self.rng);
        lane.calls.iter_mut().for_each(|call| call.forsaken |= call.sole_connect().is_some());
        scene.ground.trace.note(scene.ground.now, Some(wire), "is told that it is left");
    }

    /// Asks whether the server is there.
    pub(super) fn ping(&mut self, _: &mut Scene<'_, '_>) {
        for lane in self.lanes.values_mut().filter(|lane| lane.is_socket()) {
            if let Some(socket) = lane.socket.as_mut().filter(|socket| socket.frames.is_some()) {
                socket.pings += 1;
                frames::write(&mut lane.outgoing, Opcode::Ping, true, frames::PING, &mut self.rng);
            }
        }
    }

    /// Asks for a WebSocket.
    pub(super) fn upgrade(&mut self, wire: WireId, scene: &mut Scene<'_, '_>) {
        self.serial += 1;
        let asked = vec![Asked { what: What::Upgrade, id: String::new(), channel: String::new() }];
        let call = self.call(wire, asked, scene);
        let lane = self.lanes.get_mut(&wire).expect("just opened");
        speech::upgrade(&mut lane.outgoing, self.cookie.as_deref());
        lane.socket = Some(Box::new(Socket::default()));
        lane.calls.push_back(call);
    }

    /// Opens the event source, if there is to be one.
    pub(super) fn attach(&mut self, scene: &mut Scene<'_, '_>) {
        let Some(session) = self.session.as_ref().filter(|session| !session.disconnected) else { return };
        if self.way != Way::EventSource || self.source.is_some() {
            return;
        }
        if self.acks && !self.rng.chance(100) {
            return;
        }
        if scene.now() < self.source_after {
            return self.wake_at(self.source_after, scene);
        }
        let path = format!("/cometd/{}", session.id);
        let wire = self.open_lane(scene);
        self.source = Some(wire);
        self.serial += 1;
        let asked = vec![Asked { what: What::Attach, id: String::new(), channel: String::new() }];
        let call = self.call(wire, asked, scene);
        let lane = self.lanes.get_mut(&wire).expect("just opened");
        speech::get(&mut lane.outgoing, &path, self.cookie.as_deref(), "Accept: text/event-stream\r\n");
        lane.calls.push_back(call);
    }

    /// A newer connect is about to be sent: on a WebSocket, an older one may end without a word.
    pub(super) fn forsake(&mut self) {
        for lane in self.lanes.values_mut().filter(|lane| lane.socket.is_some()) {
            lane.calls.iter_mut().for_each(|call| call.forsaken |= call.sole_connect().is_some());
        }
    }

    /// The rank of the way that a connect opens: higher than that of any older one, unless an older one may arrive later.
    pub(super) fn next_rank(&mut self, wire: WireId, call: &Call, scene: &Scene<'_, '_>) -> u64 {
        let Some(session) = &mut self.session else { return 0 };
        let sure = scene.ground.now.saturating_sub(2 * scene.patience_now() + scene.scenario.wait_ms());
        // A connect beside an event source that is open already changes nothing.
        let aside = call.way == Way::EventSource && call.sole_connect().is_some();
        let others = self.lanes.iter().filter(|(other, lane)| **other != wire && !(aside && lane.open.is_some()));
        let others = others.flat_map(|(_, lane)| &lane.calls);
        let young = others.filter(|call| call.diverts()).any(|call| call.at > sure);
        let attached = call.way == Way::EventSource && call.sole_connect().is_none();
        let socket = call.way == Way::WebSocket;
        let settled = session.settled.filter(|(own, _)| *own == wire && socket);
        if young || scene.ground.now < session.unsure_until {
            session.twice = true;
            session.settled = None;
        } else if attached || call.way != Way::EventSource {
            session.rank += 1;
            session.settled = if socket { settled.or(Some((wire, scene.ground.now))) } else { None };
        }
        session.rank
    }

    /// Something has come over a way of this rank: what waits on older ones must end soon.
    pub(super) fn prove(&mut self, rank: u64, scene: &mut Scene<'_, '_>) {
        let Some(session) = self.session.as_mut().filter(|session| session.proven.0 < rank) else { return };
        session.proven = (rank, scene.ground.now);
        let no = session.no;
        for (wire, lane) in &self.lanes {
            let older = |call: &&Call| call.session == Some(no) && call.diverts() && call.rank < rank;
            for call in lane.calls.iter().filter(older) {
                let at = scene.ground.now + scene.patience();
                scene.alarms.push(at, self.number, Alarm::Overdue(*wire, call.serial));
            }
        }
    }

    /// All events come over this connection from now on.
    pub(super) fn settle(&mut self, wire: WireId, now: u64) {
        if let Some(session) = &mut self.session {
            session.settled = Some((wire, now));
        }
    }
}
