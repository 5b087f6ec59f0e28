//! Sessions within the program.
//!
//! Owns their sinks, and nothing of their sessions: to the broker each is a link like any other.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use crate::bayeux::{self, DecodeError};
use crate::broker::Request;
use crate::broker::browser::Presented;
use crate::clock::Now;
use crate::event::Event;
use crate::hooks::{Delivery, LocalId, Origin, Room, Sink};
use crate::reply::{Link, Ticket, Way};

use super::Engine;

/// Set in the links of local sessions, and in no key of a connection: there are never so many slots.
const LOCAL: u64 = 1 << 31;

/// Batches that a local session may send while its handshake waits for the policy, count.
const HASTY: usize = 64;

/// How far a local session has come.
///
/// | state | next | by |
/// |---|---|---|
/// | `New` | `Asking` | a handshake about which the policy answers later |
/// | | `Open` | one that makes a session |
/// | `Asking` | `Open`, `New` | the policy's answer; what was sent meanwhile is done then |
enum Stage {
    New,
    /// With what it has sent meanwhile.
    Asking(Vec<Vec<u8>>),
    Open(Ticket),
}

/// One local session.
struct Local {
    stage: Stage,
    /// Whether its sink has said that it takes no more for now.
    room: Room,
    /// What it has been given and its sink does not take yet.
    rest: VecDeque<Rc<Event>>,
    sink: Box<dyn Sink>,
}

impl Local {
    /// Its session, once it has shaken hands.
    fn ticket(&self) -> Option<Ticket> {
        match self.stage {
            Stage::Open(ticket) => Some(ticket),
            Stage::New | Stage::Asking(_) => None,
        }
    }

    /// Gives its sink what it takes; whether that is all.
    fn give(&mut self) -> bool {
        while self.room == Room::More
            && let Some(event) = self.rest.pop_front()
        {
            self.room = give(&mut *self.sink, &event);
        }
        self.room == Room::More
    }
}

fn give(sink: &mut dyn Sink, event: &Event) -> Room {
    let (channel, data, json) = (text(event.channel()), text(event.data()), text(event.json()));
    sink.take(Delivery::Event { channel, data, json })
}

/// All that are open.
#[derive(Default)]
pub(super) struct Locals(HashMap<LocalId, Local>);

impl Locals {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their links, with what waits there; for the simulator.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn tickets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().filter_map(|(id, local)| Some((local.ticket()?.0, link_of(*id).0)))
    }
}

fn link_of(id: LocalId) -> Link {
    Link(u64::from(id.0.get()) << 32 | LOCAL)
}

/// The local session that a link belongs to.
pub(super) fn local_of(link: Link) -> Option<LocalId> {
    let id = u32::try_from(link.0 >> 32).ok().and_then(core::num::NonZeroU32::new)?;
    (link.0 & LOCAL != 0).then_some(LocalId(id))
}

impl Engine {
    /// Opens a local session, which then shakes hands like any client: [`Engine::local_receive`].
    pub fn open_local(&mut self, id: LocalId, sink: Box<dyn Sink>) {
        let local = Local { stage: Stage::New, room: Room::More, rest: VecDeque::new(), sink };
        self.locals.0.insert(id, local);
    }

    /// A local session sends a batch: JSON, as a client would. It needs no client id, and no connect.
    ///
    /// # Errors
    /// It is no batch; nothing has happened then.
    pub fn local_receive(&mut self, id: LocalId, batch: &[u8], now: Now) -> Result<(), DecodeError> {
        self.terms.tell_time(now);
        let mut messages = Vec::new();
        bayeux::decode_into(&mut messages, batch, &self.limits)?;
        let Some(local) = self.locals.0.get_mut(&id) else { return Ok(()) };
        if let Stage::Asking(hasty) = &mut local.stage
            && hasty.len() < HASTY
        {
            hasty.push(batch.to_vec());
            return Ok(());
        }
        let request = Request {
            link: link_of(id),
            way: Way::Inside,
            client: None,
            browser: Presented::Nothing,
            origin: Origin { local: true, ..Origin::default() },
            insider: local.ticket(),
        };
        self.answer.clear();
        self.broker.receive(&request, &messages, now, &mut self.answer);
        match (self.answer.deferred, self.locals.0.get_mut(&id)) {
            (None, _) => self.answer_local(id),
            (Some(_), Some(local)) if matches!(local.stage, Stage::New) => local.stage = Stage::Asking(Vec::new()),
            (Some(_), _) => {}
        }
        self.settle();
        Ok(())
    }

    /// The session of a local one, in the broker's numbering.
    #[cfg(test)]
    pub(crate) fn local_session(&self, id: LocalId) -> Option<u64> {
        self.locals.0.get(&id)?.ticket().map(|ticket| ticket.0)
    }

    /// The sink of a local session takes events again.
    pub fn local_ready(&mut self, id: LocalId, now: Now) {
        self.terms.tell_time(now);
        let Some(local) = self.locals.0.get_mut(&id) else { return };
        local.room = Room::More;
        if let (true, Some(ticket)) = (local.give(), local.ticket()) {
            self.broker.answered(ticket, link_of(id), now);
        }
    }

    /// Nobody takes what a local session is given any more: it ends.
    pub fn close_local(&mut self, id: LocalId, now: Now) {
        self.terms.tell_time(now);
        if let Some(ticket) = self.locals.0.remove(&id).and_then(|local| local.ticket()) {
            self.broker.detached(ticket, link_of(id), now);
        }
        self.settle();
    }

    /// The server has ended: nothing follows for anyone.
    pub fn end_locals(&mut self) {
        for mut local in core::mem::take(&mut self.locals.0).into_values() {
            local.sink.take(Delivery::Closed);
        }
    }

    /// Gives the answer at hand to a local session.
    pub(super) fn answer_local(&mut self, id: LocalId) {
        let Some(local) = self.locals.0.get_mut(&id) else { return self.give_back(link_of(id)) };
        if let Some(gap) = &self.answer.gap {
            local.sink.take(Delivery::Lost(text(&gap.names)));
        }
        local.rest.extend(self.answer.events.iter().cloned());
        let all = local.give();
        for reply in self.answer.replies.ready() {
            local.sink.take(Delivery::Reply(text(reply)));
        }
        let own = local.ticket().or(self.answer.answered.first().copied());
        let before = core::mem::replace(&mut local.stage, own.map_or(Stage::New, Stage::Open));
        if let (true, Some(ticket)) = (all, own) {
            self.broker.answered(ticket, link_of(id), self.terms.now);
        }
        // Who shakes hands again gets no second session: nobody would end it.
        self.answer.answered.retain(|ticket| Some(*ticket) != own);
        self.give_back(link_of(id));
        let hasty = if let Stage::Asking(hasty) = before { hasty } else { Vec::new() };
        for batch in hasty {
            // It was one when it came.
            let _ = self.local_receive(id, &batch, self.terms.now);
        }
    }

    /// The session of a local one is over.
    pub(super) fn end_local(&mut self, id: LocalId, last: &[u8]) {
        let Some(mut local) = self.locals.0.remove(&id) else { return };
        for event in local.rest {
            give(&mut *local.sink, &event);
        }
        if !last.is_empty() {
            local.sink.take(Delivery::Reply(text(last)));
        }
        local.sink.take(Delivery::Closed);
    }
}

/// What was written as JSON is text.
fn text(json: &[u8]) -> &str {
    core::str::from_utf8(json).unwrap_or_default()
}
