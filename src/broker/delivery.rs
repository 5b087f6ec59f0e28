//! From a publish to the answers that carry it.
//!
//! Owns the way of an event: encoded once, pushed into each outbox, drained into the answers of held connects. Also what
//! timers mean to a session.

use core::ops::Range;

use crate::bayeux::{Channel, Error, Message, encode};
use crate::clock::Now;
use crate::event::Event;
use crate::reply::{Answer, Link, Ticket, Way};

use super::connect::write_connect_reply;
use super::policy::Verdict;
use super::session::{Flow, Lasts, Reach, SessionKey, Stream};
use super::{Broker, Ending, Removal, Request, fail, reply_to};

/// Why a publish from within the server did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The policy says no, for this reason.
    Denied(String),
    /// Not a channel that can be published to.
    Channel,
    /// As many bytes as allowed are waiting for clients already.
    Full,
    /// The event alone is more than may wait for one client.
    TooLarge,
}

impl Broker {
    /// A publish of a client: checked, acknowledged, and delivered unless it is for a service.
    pub(super) fn publish_from(
        &mut self,
        request: &Request<'_>,
        message: &Message<'_>,
        channel: Channel<'_>,
        answer: &mut Answer,
    ) {
        if self.authenticate(request, message).is_none() {
            return fail(message, Error::SessionUnknown, answer);
        }
        if message.data.is_none() {
            return fail(message, Error::DataMissing, answer);
        }
        if let Verdict::Deny { reason, .. } = self.policy.can_publish(request.origin, message, channel.as_str()) {
            return fail(message, Error::PublishDenied(&reason), answer);
        }
        if !channel.is_service() {
            match self.publish(channel, |out| encode::event(out, channel, message)) {
                Ok(()) => {}
                Err(PublishError::TooLarge) => {
                    return fail(message, Error::EventTooLarge(self.limits.outbox_bytes), answer);
                }
                Err(PublishError::Denied(_) | PublishError::Channel | PublishError::Full) => {
                    return fail(message, Error::QueueLimit, answer);
                }
            }
        }
        let reply = reply_to(message, true);
        answer.replies.push(|out| reply.write(out));
    }

    /// A publish from within the server. `data` is JSON, checked by the caller.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has been delivered then.
    pub fn publish_json(&mut self, channel: &str, data: &str) -> Result<(), PublishError> {
        let channel = Channel::parse(channel).map_err(|_| PublishError::Channel)?;
        if channel.is_meta() || channel.is_service() {
            return Err(PublishError::Channel);
        }
        self.publish(channel, |out| encode::event_from_parts(out, channel, data))
    }

    /// A publish by somebody who does not speak the protocol. `data` is JSON, checked by the caller.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has been delivered then.
    pub fn publish_plain(
        &mut self,
        request: &Request<'_>,
        channel: &str,
        data: &str,
        now: Now,
    ) -> Result<(), PublishError> {
        self.now_ms = now.mono_ms;
        Channel::parse(channel).map_err(|_| PublishError::Channel)?;
        let message = Message { channel: Some(channel.into()), ..Message::default() };
        if let Verdict::Deny { reason, .. } = self.policy.can_publish(request.origin, &message, channel) {
            return Err(PublishError::Denied(reason));
        }
        self.publish_json(channel, data)
    }

    fn publish(
        &mut self,
        channel: Channel<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Range<usize>,
    ) -> Result<(), PublishError> {
        if self.held.bytes() >= self.limits.queued_bytes {
            self.counters.publishes_refused += 1;
            return Err(PublishError::Full);
        }
        self.serial += 1;
        if self.topics.matching(channel).next().is_none() {
            self.counters.published += 1;
            return Ok(());
        }
        self.encoded.clear();
        let data = write(&mut self.encoded);
        if self.encoded.len() > self.limits.outbox_bytes {
            // It would end every session that it reached.
            self.counters.publishes_refused += 1;
            return Err(PublishError::TooLarge);
        }
        self.counters.published += 1;
        self.counters.encoded += 1;
        let event = Event::new(&self.encoded, data);
        for subscriber in self.topics.matching(channel) {
            let key = subscriber.session;
            let Some(session) = self.sessions.get_mut(key) else { continue };
            if session.stamp == self.serial {
                continue;
            }
            session.stamp = self.serial;
            session.outbox.push(&event, &mut self.held);
            self.counters.queued += 1;
            if session.outbox.len() > self.limits.outbox_events || session.outbox.bytes() > self.limits.outbox_bytes {
                self.overflowed.push(key);
            }
            if session.takes_events() && !session.listed {
                session.listed = true;
                self.ready.push_back(key);
            }
        }
        drop(event);
        self.end_overflowed();
        Ok(())
    }

    /// Ends the sessions whose outbox is too full; after the fan-out, so that it is never disturbed.
    fn end_overflowed(&mut self) {
        while let Some(key) = self.overflowed.pop() {
            self.close(key, Removal::Overflow);
        }
    }

    /// Moves what waits for the session into an answer that goes there, up to a connection's worth of bytes.
    pub(super) fn unload(&mut self, key: SessionKey, link: Link, answer: &mut Answer) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let before = answer.events.len();
        let open = session.stream.is_none_or(|stream| stream.link == link && stream.flow == Flow::Open);
        if open {
            session.outbox.drain(self.limits.output_bytes, &mut self.held, &mut answer.events);
        }
        if let Some(flow @ Flow::Open) = session.flow_of(link) {
            *flow = Flow::Busy;
        }
        self.counters.delivered += (answer.events.len() - before) as u64;
        answer.answered.push(Ticket(key.to_bits()));
    }

    /// The session's connect is being answered there; it expires neither now nor until that is written.
    pub(super) fn answering(&mut self, key: SessionKey, link: Link) {
        self.disarm(key);
        if let Some(session) = self.sessions.get_mut(key) {
            session.reach = Reach::Answering(link);
        }
    }

    /// The next session that has something to say: where, what waits there, and what to say, which is appended to
    /// `answer`. `None` when all have been asked.
    pub fn pull(&mut self, answer: &mut Answer) -> Option<(Link, Ticket)> {
        while let Some(key) = self.ready.pop_front() {
            let Some(session) = self.sessions.get_mut(key) else { continue };
            session.listed = false;
            // What put the session on the list may have left by a newer connect.
            let has_news = session.is_over() || (session.takes_events() && !session.outbox.is_empty());
            let ticket = Ticket(key.to_bits());
            if !has_news {
                continue;
            }
            let (stream, held_by) = (session.stream, session.held_by());
            let link = match (stream, held_by) {
                // It is looked at again when what it was given is written.
                (Some(Stream { flow: Flow::Busy, .. }), _) => continue,
                (None, Some(link)) => {
                    self.answer_hold(ticket, link, answer);
                    link
                }
                (Some(stream), Some(link)) if session.is_over() => {
                    self.answer_hold(ticket, link, answer);
                    stream.link
                }
                (Some(stream), _) => {
                    self.unload(key, stream.link, answer);
                    stream.link
                }
                (None, None) => continue,
            };
            return Some((link, ticket));
        }
        None
    }

    /// Ends the connect that is held there with whatever waits for it, be it nothing; whether it was held.
    pub fn answer_hold(&mut self, ticket: Ticket, link: Link, answer: &mut Answer) -> bool {
        let Some(key) = SessionKey::from_bits(ticket.0) else { return false };
        let Some(session) = self.sessions.get_mut(key) else { return false };
        if matches!(session.reach, Reach::Guest { once: true }) && session.flow_of(link).is_some() {
            self.unload(key, link, answer);
            return true;
        }
        if session.held_by() != Some(link) {
            return false;
        }
        let unconfirmed = matches!(session.stream, Some(Stream { flow: Flow::Unconfirmed(_), .. }));
        let Some(hold) = self.release_hold(key) else { return false };
        self.answering(key, link);
        let advice = if unconfirmed && self.holding {
            Some(self.advise_fallback(key))
        } else {
            self.news(key, Way::Answer, false, hold.advised)
        };
        answer.replies.push(|out| write_connect_reply(&hold, None, advice, out));
        self.unload(key, link, answer);
        if let Some(session) = self.sessions.get_mut(key) {
            session.stream = session.stream.filter(|stream| stream.lasts == Lasts::Link);
        }
        true
    }

    /// All bytes given to a link for the session are written there, or never will be.
    pub fn answered(&mut self, ticket: Ticket, link: Link, now: Now) {
        self.now_ms = now.mono_ms;
        let Some(key) = SessionKey::from_bits(ticket.0) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Some(flow @ Flow::Busy) = session.flow_of(link) {
            *flow = Flow::Open;
        }
        match session.reach {
            Reach::Answering(at) if at == link => self.away(key),
            Reach::Guest { once: true } => return self.remove(key, Removal::Disconnected),
            _ => {}
        }
        self.list(key);
    }

    /// The next held connect that ends for another reason than an event; `None` when there is no more.
    pub fn take_endings(&mut self) -> Option<Ending> {
        self.endings.pop()
    }

    /// Fires timers that are due, at most `most`; how many.
    pub fn fire(&mut self, now: Now, most: usize) -> usize {
        self.now_ms = now.mono_ms;
        let mut fired = 0;
        while fired < most {
            let Some(key) = self.wheel.expire(now.mono_ms) else { break };
            fired += 1;
            self.due(key);
        }
        fired
    }

    fn due(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.timer = None;
        match session.reach {
            Reach::Held(_) | Reach::Guest { .. } => self.list(key),
            Reach::New | Reach::Away if session.expires_ms > self.now_ms => {
                let deadline = session.expires_ms;
                self.arm(key, deadline);
            }
            Reach::New | Reach::Away => {
                // Its messages have taken it as far as messages can.
                let sent_on = matches!(session.reach, Reach::Away)
                    && session.expires_ms >= super::latest_ms(&self.config, session);
                self.remove(key, if sent_on { Removal::NoConnect } else { Removal::Expired });
            }
            Reach::Answering(_) => {}
        }
    }

    /// Whether nothing is kept for anyone: what must hold once all sessions have ended.
    pub fn is_at_rest(&self) -> bool {
        self.sessions.is_empty()
            && self.topics.count() == 0
            && self.browsers.count() == 0
            && self.wheel.is_empty()
            && self.held.bytes() == 0
            && self.ready.is_empty()
            && self.endings.is_empty()
    }
}
