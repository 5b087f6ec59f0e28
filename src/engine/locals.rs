//! Sessions within the program.
//!
//! Owns their sinks, and nothing of their sessions: to the broker each is a link like any other.

use std::collections::HashMap;

use crate::bayeux::{self, DecodeError};
use crate::broker::Request;
use crate::broker::browser::Presented;
use crate::clock::Now;
use crate::hooks::{Delivery, LocalId, Origin, Room, Sink};
use crate::reply::{Link, Ticket, Way};

use super::Engine;

/// Set in the links of local sessions, and in no key of a connection: there are never so many slots.
const LOCAL: u64 = 1 << 31;

/// One local session.
struct Local {
    /// Its session, once it has shaken hands.
    ticket: Option<Ticket>,
    /// Whether its sink has said that it takes no more for now.
    room: Room,
    sink: Box<dyn Sink>,
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
        self.0.iter().filter_map(|(id, local)| Some((local.ticket?.0, link_of(*id).0)))
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
        self.locals.0.insert(id, Local { ticket: None, room: Room::More, sink });
    }

    /// A local session sends a batch: JSON, as a client would. It needs no client id, and no connect.
    ///
    /// # Errors
    /// It is no batch; nothing has happened then.
    pub fn local_receive(&mut self, id: LocalId, batch: &[u8], now: Now) -> Result<(), DecodeError> {
        self.terms.tell_time(now);
        let mut messages = Vec::new();
        bayeux::decode_into(&mut messages, batch, &self.limits)?;
        let Some(local) = self.locals.0.get(&id) else { return Ok(()) };
        let request = Request {
            link: link_of(id),
            way: Way::Inside,
            client: None,
            browser: Presented::Nothing,
            origin: Origin { local: true, ..Origin::default() },
            insider: local.ticket,
        };
        self.answer.clear();
        self.broker.receive(&request, &messages, now, &mut self.answer);
        if self.answer.deferred.is_none() {
            self.answer_local(id);
        }
        self.settle();
        Ok(())
    }

    /// The session of a local one, in the broker's numbering.
    #[cfg(test)]
    pub(crate) fn local_session(&self, id: LocalId) -> Option<u64> {
        self.locals.0.get(&id)?.ticket.map(|ticket| ticket.0)
    }

    /// The sink of a local session takes events again.
    pub fn local_ready(&mut self, id: LocalId, now: Now) {
        self.terms.tell_time(now);
        let Some(local) = self.locals.0.get_mut(&id) else { return };
        local.room = Room::More;
        if let Some(ticket) = local.ticket {
            self.broker.answered(ticket, link_of(id), now);
        }
    }

    /// Nobody takes what a local session is given any more: it ends.
    pub fn close_local(&mut self, id: LocalId, now: Now) {
        self.terms.tell_time(now);
        if let Some(ticket) = self.locals.0.remove(&id).and_then(|local| local.ticket) {
            self.broker.detached(ticket, link_of(id), now);
        }
        self.settle();
    }

    /// The server has ended: nothing follows for anyone.
    pub fn end_locals(&mut self, now: Now) {
        self.terms.tell_time(now);
        for (id, mut local) in core::mem::take(&mut self.locals.0) {
            local.sink.take(Delivery::Closed);
            if let Some(ticket) = local.ticket {
                self.broker.detached(ticket, link_of(id), now);
            }
        }
    }

    /// Gives the answer at hand to a local session.
    pub(super) fn answer_local(&mut self, id: LocalId) {
        let Some(local) = self.locals.0.get_mut(&id) else { return self.give_back(link_of(id)) };
        if let Some(gap) = &self.answer.gap {
            local.sink.take(Delivery::Lost(text(&gap.names)));
        }
        for event in &self.answer.events {
            let (channel, data, json) = (text(event.channel()), text(event.data()), text(event.json()));
            local.room = local.sink.take(Delivery::Event { channel, data, json });
        }
        for reply in self.answer.replies.ready() {
            local.sink.take(Delivery::Reply(text(reply)));
        }
        local.ticket = local.ticket.or(self.answer.answered.first().copied());
        let own = local.ticket;
        if let (Room::More, Some(ticket)) = (local.room, own) {
            self.broker.answered(ticket, link_of(id), self.terms.now);
        }
        // Who shakes hands again gets no second session: nobody would end it.
        self.answer.answered.retain(|ticket| Some(*ticket) != own);
        self.give_back(link_of(id));
    }

    /// The session of a local one is over.
    pub(super) fn end_local(&mut self, id: LocalId, last: &[u8]) {
        let Some(mut local) = self.locals.0.remove(&id) else { return };
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
