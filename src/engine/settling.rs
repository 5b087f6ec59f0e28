//! What comes of what was done: answers that had to wait, links that are over, and what hooks want done.
//!
//! Owns the order of it: nothing that hooks want done is begun before what was done is told.

use crate::broker::{End, Late};
use crate::conn::{Conn, ConnKey, Parting};
use crate::reply::Link;

use super::locals::local_of;
use super::{Engine, conn_key, link};

impl Engine {
    /// Does what hooks want done, as much of it as fits into a turn, and tells connections what has come of it all.
    pub(super) fn settle(&mut self) {
        loop {
            // An answer may make a link the way of a session, and what came after it may end that.
            self.answer_late();
            self.end_all();
            // Some of it is done in every turn, whatever requests have cost in it.
            let more = self.followed == 0 || self.followed < self.limits.mailbox_commands && !self.is_spent();
            if !more || !self.broker.follow_up() {
                return;
            }
            self.followed = self.followed.saturating_add(1);
        }
    }

    /// Gives the answers that have come to batches that had to wait.
    fn answer_late(&mut self) {
        while let Some(Late { link, id, answer }) = self.broker.take_late() {
            self.answer = answer;
            if let Some(id) = local_of(link) {
                self.answer_local(id);
                continue;
            }
            let Some((key, is_socket)) = conn_key(link).map(|key| (key, self.is_socket(key))) else { continue };
            let env = self.terms.env(&self.limits);
            let answered = match self.conns.get_mut(key).filter(|conn| !conn.takes_no_more()) {
                // Nothing follows a Close.
                Some(conn) if is_socket => conn.is_open(),
                Some(conn) => conn.answer_late(id, &self.answer, env),
                None => false,
            };
            if !answered {
                self.give_back(link);
                continue;
            }
            if is_socket {
                self.answer_socket(key);
            }
            self.touch(key);
        }
    }

    /// Nobody is there for an answer any more: its sessions hear that it has been written as far as it will be, and that
    /// nothing else goes there.
    pub(super) fn give_back(&mut self, link: Link) {
        while let Some(ticket) = self.answer.answered.pop() {
            self.broker.answered(ticket, link, self.terms.now);
            self.broker.detached(ticket, link, self.terms.now);
        }
    }

    /// Ends the held connects and the streams that the broker says are over.
    fn end_all(&mut self) {
        while let Some(ending) = self.broker.take_endings() {
            if let Some(id) = local_of(ending.link) {
                let last = if let End::Closed { last, .. } = &ending.end { last.as_slice() } else { &[] };
                self.end_local(id, last);
                continue;
            }
            let Some(key) = conn_key(ending.link) else { continue };
            let Some(conn) = self.conns.get_mut(key) else { continue };
            let env = self.terms.env(&self.limits);
            self.answer.clear();
            let parting = match ending.end {
                End::Superseded => Parting::Superseded,
                End::Moved => Parting::Moved,
                End::Closed { last, agreed } => {
                    if !last.is_empty() {
                        self.answer.replies.push(|out| out.extend_from_slice(&last));
                    }
                    Parting::Closed { last: &self.answer, agreed }
                }
            };
            conn.end(ending.ticket, parting, env);
            self.touch(key);
        }
    }

    /// Tells the sessions that are answered on this connection that no more of it will be written.
    pub(super) fn tell_listeners(&mut self, key: ConnKey) {
        while let Some(ticket) = self.conns.get_mut(key).and_then(Conn::take_listener) {
            self.broker.answered(ticket, link(key), self.terms.now);
        }
    }
}
