//! From a publish to the answers that carry it.
//!
//! Owns the way of an event: encoded once, pushed into each outbox, drained into the answers of held connects. Also what
//! timers mean to a session.

use core::net::IpAddr;
use std::rc::Rc;

use serde_json::value::RawValue;

use crate::bayeux::encode::{self, Marks, NumberMark, Places};
use crate::bayeux::{self, Channel, Error, Message, Pattern, Reply};
use crate::clock::Now;
use crate::event::Event;
use crate::hooks::SessionId;
use crate::http::date::iso8601;
use crate::reply::{Answer, Link, Ticket, Way};

use super::ask::{Asked, Questions, Stop};
use super::connect::connect_reply;
use super::ext::Told;
use super::extras::Acks;
use super::history::Appended;
use super::ready::Listed;
use super::replay::will_read;
use super::rules::{Keep, ReplayShape, Traits};
use super::session::{Flow, Lasts, Reach, SessionKey, Stream};
use super::{Broker, Ending, Overflow, Removal, Request, sums};

/// Slots of sessions that a publish looks at for one to end when memory is short.
const LOOKED_AT: u32 = 64;

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
    /// A filter or an extension has ended it.
    Deleted,
}

/// Why an event was not taken, whoever has published it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotTaken {
    /// See [`PublishError::Full`].
    Full,
    /// See [`PublishError::TooLarge`].
    TooLarge,
    /// See [`PublishError::Deleted`].
    Deleted,
}

impl From<NotTaken> for PublishError {
    fn from(not_taken: NotTaken) -> Self {
        match not_taken {
            NotTaken::Full => Self::Full,
            NotTaken::TooLarge => Self::TooLarge,
            NotTaken::Deleted => Self::Deleted,
        }
    }
}

/// An event that is published from within the server.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// The channel.
    pub channel: &'a str,
    /// JSON, checked by the caller.
    pub data: &'a str,
    /// Whether it may wait for an answer that goes anyway, whatever holds for its channel.
    pub lazy: bool,
}

/// What an event is made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    /// What a client has sent.
    Message(&'a Message<'a>),
    /// JSON, checked by the caller.
    Data(&'a str),
}

/// Who publishes, and how.
#[derive(Clone, Copy, Debug)]
struct Author {
    session: Option<SessionKey>,
    /// Where the request came from, as far as it is known.
    address: Option<IpAddr>,
    lazy: bool,
}

/// An event that waits for its number.
#[derive(Debug)]
pub(super) struct Draft {
    channel: Box<str>,
    json: Box<[u8]>,
    places: Places,
    keep: Keep,
    lazy: bool,
    /// Who does not get it.
    except: Option<SessionKey>,
}

impl Broker {
    /// A publish of a client: checked, acknowledged, and delivered, or given to a service.
    pub(super) fn publish_from(
        &mut self,
        (request, channel): (&Request<'_>, Channel<'_>),
        message: &Message<'_>,
        questions: &mut Questions,
        answer: &mut Answer,
    ) -> Result<(), Stop> {
        let Some(key) = self.authenticate(request, message) else {
            self.fail(message, Error::SessionUnknown, answer);
            return Ok(());
        };
        if let Some(session) = self.sessions.get_mut(key) {
            session.active_ms = self.now_ms;
        }
        if message.data.is_none() {
            self.fail(message, Error::DataMissing, answer);
            return Ok(());
        }
        let asked = Asked { message, origin: request.origin, session: Some(key) };
        match self.may_publish(asked, channel, questions) {
            Ok(()) => {}
            Err(stop @ Stop::Deferred(_)) => return Err(stop),
            Err(stop) => {
                self.refuse(message, &stop, answer);
                return Ok(());
            }
        }
        if channel.is_service() {
            self.serve(key, message, (channel, request.origin));
            self.succeed(message, answer);
            return Ok(());
        }
        let author = Author { session: Some(key), address: request.origin.address, lazy: false };
        match self.publish(channel, author, Content::Message(message)) {
            Ok(_) => self.succeed(message, answer),
            Err(NotTaken::Deleted) => self.fail(message, Error::MessageDeleted, answer),
            Err(NotTaken::TooLarge) => self.fail(message, Error::EventTooLarge(self.limits.outbox_bytes), answer),
            Err(NotTaken::Full) => self.fail(message, Error::QueueLimit, answer),
        }
        Ok(())
    }

    /// A publish from within the server; the event's number, if it has one by now.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has been delivered then.
    pub fn publish_json(&mut self, publication: Publication<'_>, now: Now) -> Result<Option<u64>, PublishError> {
        self.tell_time(now);
        self.publish_own(publication)
    }

    pub(super) fn publish_own(&mut self, publication: Publication<'_>) -> Result<Option<u64>, PublishError> {
        let Publication { channel, data, lazy } = publication;
        let channel = Channel::parse(channel).map_err(|_| PublishError::Channel)?;
        self.publish_parts(channel, data, lazy)
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
    ) -> Result<Option<u64>, PublishError> {
        self.tell_time(now);
        let parsed = Channel::parse(channel).map_err(|_| PublishError::Channel)?;
        let value = RawValue::from_string(data.to_owned()).ok();
        let message = Message { channel: Some(channel.into()), data: value.as_deref(), ..Message::default() };
        let asked = Asked { message: &message, origin: request.origin, session: None };
        let allowed = self.may_publish(asked, parsed, &mut Questions::default());
        allowed.map_err(|stop| PublishError::Denied(Self::at_once(stop).reason))?;
        self.publish_parts(parsed, data, false)
    }

    fn publish_parts(&mut self, channel: Channel<'_>, data: &str, lazy: bool) -> Result<Option<u64>, PublishError> {
        if channel.is_meta() || channel.is_service() {
            return Err(PublishError::Channel);
        }
        Ok(self.publish(channel, Author { session: None, address: None, lazy }, Content::Data(data))?)
    }

    /// Has hooks look at an event and publishes what they make of it.
    fn publish(&mut self, channel: Channel<'_>, author: Author, content: Content<'_>) -> Result<Option<u64>, NotTaken> {
        if !self.hooks.see_events() {
            return self.fan_out(channel, author, content);
        }
        // One that was too many when it was subscribed to is known from now on, and not as one that nobody hears.
        let is_new = !self.channels.has(channel.as_str());
        let heard = is_new && self.topics.find(Pattern::Exact(channel)).is_some();
        self.note_channel(channel.as_str(), heard);
        if !self.hooks.shape_events() {
            return self.fan_out(channel, author, content);
        }
        let Some(event) = self.shape(channel, content, (author.session, author.address)) else {
            return Err(NotTaken::Deleted);
        };
        self.fan_out(channel, author, Content::Message(&event.as_message()))
    }

    fn fan_out(&mut self, channel: Channel<'_>, author: Author, content: Content<'_>) -> Result<Option<u64>, NotTaken> {
        let Traits { history, shape, lazy: always_lazy, not_to_publisher, .. } = self.rules.of(channel);
        let except = author.session.filter(|_| not_to_publisher);
        let lazy = author.lazy || always_lazy;
        self.topics.gather(channel, &mut self.audience);
        if history.is_none() && self.audience.size() == 0 {
            sums::one(&mut self.counters.published);
            return Ok(None);
        }
        if self.is_full() && !self.make_room(channel) {
            sums::one(&mut self.counters.publishes_refused);
            return Err(NotTaken::Full);
        }
        let dated = history.is_some() && shape == ReplayShape::Salesforce;
        let created = if dated { iso8601(self.unix_ms) } else { String::new() };
        let number = history.map(|_| match shape {
            ReplayShape::Plain => NumberMark::Ext(self.history.epoch()),
            ReplayShape::Salesforce => NumberMark::Data(&created),
        });
        self.encoded.clear();
        let marks = Marks { timestamp: self.date.as_deref(), number };
        let places = match content {
            Content::Message(message) => encode::event(&mut self.encoded, channel, message, marks),
            Content::Data(data) => encode::event_from_parts(&mut self.encoded, channel, data, marks),
        };
        if self.encoded.len() > self.limits.outbox_bytes {
            // It would end every session that it reached.
            sums::one(&mut self.counters.publishes_refused);
            return Err(NotTaken::TooLarge);
        }
        sums::one(&mut self.counters.published);
        sums::one(&mut self.counters.encoded);
        let Some(keep) = history else {
            let event = Event::new(&self.encoded, places.data);
            self.deliver(channel, event, (lazy, except));
            return Ok(None);
        };
        match self.store.append(channel, &self.encoded) {
            Appended::Now(id) => {
                let mut json = core::mem::take(&mut self.encoded);
                self.deliver_kept(channel, &mut json, (places, id), (keep, lazy, except));
                self.encoded = json;
                Ok(Some(id))
            }
            Appended::Later => {
                sums::put(&mut self.drafted_bytes, self.encoded.len());
                let json = self.encoded.as_slice().into();
                self.drafts.push_back(Draft { channel: channel.as_str().into(), json, places, keep, lazy, except });
                Ok(None)
            }
        }
    }

    /// Whether events that wait have all the memory that they may have.
    fn is_full(&self) -> bool {
        self.held.bytes().saturating_add(self.drafted_bytes) >= self.limits.half_of_queued()
    }

    /// Ends a session that takes more than its share of the memory and whose client has been away for a while, if there is
    /// one among the next few to be looked at: a publisher is not refused for what nobody comes for. Whether there is room
    /// then, for a publish to this channel.
    fn make_room(&mut self, channel: Channel<'_>) -> bool {
        let fair = self.limits.half_of_queued().checked_div(self.sessions.len()).unwrap_or(0);
        let slots = self.sessions.slots();
        let mut most = None;
        for _ in 0..LOOKED_AT.min(slots) {
            self.hand = if self.hand < slots { self.hand.saturating_add(1) } else { 0 };
            let Some(key) = self.sessions.key_at(self.hand) else { continue };
            let Some(session) = self.sessions.get(key) else { continue };
            let weight = session.outbox.weight();
            if weight > fair && session.is_away(self.now_ms) && most.is_none_or(|(_, other)| weight > other) {
                most = Some((key, weight));
            }
        }
        if let Some((key, _)) = most {
            self.close(key, Removal::Overflow);
            self.topics.gather(channel, &mut self.audience);
        }
        !self.is_full()
    }

    /// The store has numbered the oldest event that it was given and had not numbered yet: it is delivered.
    pub fn stored(&mut self, id: u64, now: Now) {
        self.tell_time(now);
        let Some(mut draft) = self.drafts.pop_front() else { return };
        sums::take(&mut self.drafted_bytes, draft.json.len());
        if let Ok(channel) = Channel::parse(&draft.channel) {
            self.topics.gather(channel, &mut self.audience);
            self.deliver_kept(channel, &mut draft.json, (draft.places, id), (draft.keep, draft.lazy, draft.except));
        }
    }

    /// Delivers an event that has a number now, and keeps it.
    fn deliver_kept(
        &mut self,
        channel: Channel<'_>,
        json: &mut [u8],
        (places, id): (Places, u64),
        (keep, lazy, except): (Keep, bool, Option<SessionKey>),
    ) {
        if let Some(place) = places.number {
            encode::write_number(json, place, id);
        }
        let event = Event::numbered(json, places.data, Some(id));
        self.history.keep(channel, &event, keep, self.now_ms);
        self.deliver(channel, event, (lazy, except));
    }

    /// Puts an event into the outbox of each of its audience. Not inlined: it is large, and called in two places.
    #[inline(never)]
    fn deliver(&mut self, channel: Channel<'_>, event: Rc<Event>, (lazy, except): (bool, Option<SessionKey>)) {
        let queue = if self.audience.size() > self.limits.deliveries_per_turn { Listed::Bulk } else { Listed::Prompt };
        sums::add(&mut self.worked, self.audience.size() as u64);
        // Only whether it is the same matters.
        self.serial = self.serial.wrapping_add(1);
        if let Some(publisher) = except.and_then(|key| self.sessions.get_mut(key)) {
            // As if it had got the event already.
            publisher.stamp = self.serial;
        }
        for subscriber in self.topics.members(&self.audience) {
            let key = subscriber.session;
            let Some(session) = self.sessions.get_mut(key) else { continue };
            if session.stamp == self.serial {
                continue;
            }
            session.stamp = self.serial;
            if will_read(session, channel, &event) {
                continue;
            }
            session.outbox.push(&event, &mut self.held);
            sums::one(&mut self.counters.queued);
            if session.outbox.len() > self.limits.outbox_events || session.outbox.bytes() > self.limits.outbox_bytes {
                self.overflowed.push(key);
            }
            if lazy && !session.urgent {
                if session.hurry_ms == 0 {
                    session.hurry_ms = self.now_ms.saturating_add(u64::from(self.config.max_lazy_ms));
                    self.hurried.push(key);
                }
                continue;
            }
            session.urgent = true;
            if session.takes_events() {
                self.ready.add(key, &mut session.listed, queue);
            }
        }
        drop(event);
        while let Some(key) = self.hurried.pop() {
            self.schedule(key);
        }
        self.relieve_overflowed();
    }

    /// Sends an event to one session, whether it is subscribed or not: by itself, or as the answer to a message with this
    /// id. Whether there is such a session, and the event is one.
    pub(super) fn deliver_to(
        &mut self,
        session: SessionId,
        (channel, data): (&str, &str),
        answers: Option<(Option<&str>, bool)>,
    ) -> bool {
        let (Some(key), Ok(channel)) = (self.named(session), Channel::parse(channel)) else { return false };
        if channel.is_meta() || bayeux::check::value(data.as_bytes(), self.limits.data_depth()).is_err() {
            return false;
        }
        if self.is_full() && !self.make_room(channel) || self.sessions.get(key).is_none() {
            return false;
        }
        self.encoded.clear();
        let marks = Marks { timestamp: self.date.as_deref(), number: None };
        let places = match answers {
            None => encode::event_from_parts(&mut self.encoded, channel, data, marks),
            Some((id, successful)) => encode::answer(&mut self.encoded, (channel, data), (id, successful), marks),
        };
        if self.encoded.len() > self.limits.outbox_bytes {
            // It would end the session.
            return false;
        }
        let event = Event::new(&self.encoded, places.data);
        let Some(session) = self.sessions.get_mut(key) else { return false };
        session.outbox.push(&event, &mut self.held);
        session.urgent = true;
        sums::one(&mut self.counters.encoded);
        sums::one(&mut self.counters.queued);
        if session.outbox.len() > self.limits.outbox_events || session.outbox.bytes() > self.limits.outbox_bytes {
            self.overflowed.push(key);
        }
        if session.takes_events() {
            self.ready.add(key, &mut session.listed, Listed::Prompt);
        }
        drop(event);
        self.relieve_overflowed();
        true
    }

    /// Ends the sessions whose outbox is too full, or drops their oldest events; after the fan-out, so that it is never
    /// disturbed.
    fn relieve_overflowed(&mut self) {
        while let Some(key) = self.overflowed.pop() {
            self.tell(key, |listener, session, context| listener.queue_overflow(session, context));
            let acknowledges = self.sessions.get_mut(key).is_some_and(|session| session.acks().is_some());
            if acknowledges || self.config.overflow == Overflow::Disconnect {
                self.close(key, Removal::Overflow);
                continue;
            }
            let Some(session) = self.sessions.get_mut(key) else { continue };
            while session.outbox.len() > self.limits.outbox_events || session.outbox.bytes() > self.limits.outbox_bytes
            {
                let Some(event) = session.outbox.pop(&mut self.held) else { break };
                let name = std::str::from_utf8(event.channel()).unwrap_or_default();
                session.extras.get_or_insert_default().gaps.add(name, Some(1));
                sums::one(&mut self.counters.dropped);
            }
            self.list(key);
        }
    }

    /// What the reply to a connect says beside the rest: the number of the batch, the time, what was lost.
    pub(super) fn told(&mut self, key: SessionKey) -> Option<String> {
        let unix_ms = self.unix_ms;
        let session = self.sessions.get_mut(key)?;
        let extras = session.extras.as_mut()?;
        let mut told = Told::default();
        if let Some(acks) = &extras.acks {
            told.add("ack", |out| encode::decimal(out, acks.next()));
        }
        told.add_sync(extras.sync.take(), unix_ms);
        if !extras.gaps.is_empty() {
            told.add("gap", |out| extras.gaps.write(out));
            extras.gaps.tell(extras.acks.as_ref().map(Acks::next));
        }
        if extras.is_idle() {
            session.extras = None;
        }
        told.finish()
    }

    /// Gives what waits for the session to an answer that goes there, up to a connection's worth of bytes. What will be
    /// acknowledged stays until then.
    pub(super) fn unload(&mut self, key: SessionKey, link: Link, answer: &mut Answer) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let before = answer.events.len();
        let open = session.stream.is_none_or(|stream| stream.link == link && stream.flow == Flow::Open);
        let acks = session.extras.as_mut().and_then(|extras| extras.acks.as_mut());
        if let Some(acks) = acks {
            session.outbox.copy(self.share_bytes, &mut answer.events);
            let again = acks.send(answer.events.len().saturating_sub(before));
            sums::add(&mut self.counters.resent, again);
        } else if open {
            session.outbox.drain(self.share_bytes, &mut self.held, &mut answer.events);
        }
        let events = answer.events.len().saturating_sub(before) as u64;
        if events > 0 {
            session.active_ms = self.now_ms;
        }
        session.relieved();
        if matches!(session.reach, Reach::Guest { .. } | Reach::Local) && session.has_gaps() {
            let nothing_else = events == 0 && !session.is_reading();
            let gaps = &mut session.extras.get_or_insert_default().gaps;
            let gap = answer.gap.get_or_insert_default();
            gap.cursor = self.rules.keep_any().then(|| self.history.newest()).filter(|_| nothing_else);
            gaps.write(&mut gap.names);
            gaps.tell(None);
        }
        if let Some(flow @ Flow::Open) = session.flow_of(link) {
            *flow = Flow::Busy;
        }
        if session.stream.is_none_or(|stream| stream.link != link) {
            answer.left.push(Ticket(key.to_bits()));
        }
        sums::add(&mut self.counters.delivered, events);
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
    /// `answer`. `None` when all have been asked, or when so much work is done.
    pub fn pull(&mut self, enough: u64, answer: &mut Answer) -> Option<(Link, Ticket)> {
        while self.work() < enough
            && let Some((key, queue)) = self.ready.pop()
        {
            if self.sessions.get(key).is_none_or(|session| session.listed != queue) {
                continue;
            }
            self.refill(key);
            let Some(session) = self.sessions.get_mut(key) else { continue };
            session.listed = Listed::No;
            let ticket = Ticket(key.to_bits());
            // What put the session on the list may have left by a newer connect.
            if !session.has_news(self.now_ms) {
                continue;
            }
            let ends = session.is_over(self.now_ms) || session.has_gaps();
            let (stream, held_by) = (session.stream, session.held_by());
            let link = match (stream, held_by) {
                // It is looked at again when what it was given is written.
                (Some(Stream { flow: Flow::Busy, .. }), _) => continue,
                (None, Some(link)) => {
                    self.answer_hold(ticket, link, answer);
                    link
                }
                (Some(stream), Some(link)) if ends => {
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
        // One that ends for another reason says nothing of what is on the way.
        let unconfirmed = session.is_unconfirmed() && session.hurry_ms <= self.now_ms;
        let Some(hold) = self.release_hold(key) else { return false };
        self.answering(key, link);
        let advice = if unconfirmed && self.holding {
            Some(self.advise_fallback(key))
        } else {
            self.news(key, Way::Answer, false, hold.advised)
        };
        let ext = self.told(key);
        self.speaker = Some(key);
        self.put(Reply { ext: ext.as_deref(), ..connect_reply(&hold, None, advice) }, answer);
        self.unload(key, link, answer);
        if let Some(session) = self.sessions.get_mut(key) {
            session.stream = session.stream.filter(|stream| stream.lasts == Lasts::Link);
        }
        true
    }

    /// All bytes given to a link for the session are written there, or never will be.
    pub fn answered(&mut self, ticket: Ticket, link: Link, now: Now) {
        self.tell_time(now);
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
        self.tell_time(now);
        self.sweep();
        self.give_up_waiting();
        for fired in 0..most {
            let Some(key) = self.wheel.expire(now.mono_ms) else { return fired };
            self.due(key);
        }
        most
    }

    fn due(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.timer = None;
        if session.ends_ms().is_some_and(|at| at <= self.now_ms) {
            return self.close(key, Removal::Unauthorized);
        }
        if session.is_over(self.now_ms) {
            if session.held_by().is_some() && self.is_inactive(key) {
                return self.close(key, Removal::Inactive);
            }
            return self.list(key);
        }
        if session.hurry_ms != 0 && session.hurry_ms <= self.now_ms && !session.is_unconfirmed() {
            session.hurry_ms = 0;
            session.urgent = true;
        }
        if matches!(session.reach, Reach::New | Reach::Away) && session.expires_ms <= self.now_ms {
            // Its messages have taken it as far as messages can.
            let sent_on =
                matches!(session.reach, Reach::Away) && session.expires_ms >= super::latest_ms(&self.config, session);
            return self.remove(key, if sent_on { Removal::NoConnect } else { Removal::Expired });
        }
        self.schedule(key);
        self.list(key);
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
            && self.drafts.is_empty()
            && self.readers.is_empty()
            && self.hurried.is_empty()
            && self.deferred.is_empty()
            && self.attribute_bytes == 0
            && self.late.is_empty()
            && self.commands.is_empty()
            && self.orphans.is_empty()
            && self.steps.is_empty()
    }
}
