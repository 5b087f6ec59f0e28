//! The meta channels but for connect: handshake, subscribe, unsubscribe, disconnect (Bayeux 1.0, "Meta Messages").
//!
//! Owns what each of them checks and changes. Delivery of events is next door.

use core::net::IpAddr;

use crate::bayeux::{
    Error, Handshake, Kind, Message, Meta, Pattern, Reconnect, Reply, ReplyAdvice, Subscription as Names,
};
use crate::hooks::{Admission, Denial};
use crate::reply::{Answer, Ticket, Way};

use super::ask::{Asked, Questions, Stop};
use super::browser::{BrowserId, Presented};
use super::connect::connect_reply;
use super::ext::{Ack, Said, Told};
use super::extras::Acks;
use super::session::{Flow, Lasts, Reach, Session, SessionKey, Stream, Subscription};
use super::token::{self, ClientId};
use super::topics::Subscriber;
use super::{Broker, End, Removal, Request, reply_to, sums};

/// The `interval` of advice to shake hands again after a denial, if the policy names none, or when there is no room, ms.
const DENIED_INTERVAL_MS: u64 = 1_000;

impl Broker {
    /// Makes a session, unless there is a reason not to.
    pub(super) fn handshake(
        &mut self,
        (request, message): (&Request<'_>, &Message<'_>),
        questions: &mut Questions,
        answer: &mut Answer,
    ) -> Result<(), Stop> {
        if let Err((error, advice)) = self.can_take(request, message, questions) {
            self.put(Reply { error: Some(error), advice: Some(advice), ..reply_to(message, false) }, answer);
            return Ok(());
        }
        let admission = match self.may_begin((message, request.origin), questions) {
            Ok(admission) => admission,
            Err(Stop::Denied(_, denial)) => {
                self.deny(message, (denial, request.origin.address), answer);
                return Ok(());
            }
            Err(stop) => return Err(stop),
        };
        let key = self.make_session(request, answer);
        let ext = self.agree(key, message);
        self.admit(key, admission);
        self.speaker = Some(key);
        self.join_browser(key);
        self.schedule(key);
        sums::one(&mut self.counters.sessions_added);
        log::debug!("session {key:?} added");
        self.tell(key, |listener, session, context| listener.session_added(session, context));
        let Some(secret) = self.sessions.get(key).map(|session| session.secret) else { return Ok(()) };
        let client_id = ClientId { slot: key.slot(), secret }.to_text();
        let transports = self.config.transports.clone();
        let reply = Reply {
            client_id: Some(&client_id),
            handshake: Some(Handshake { supported_connection_types: &transports }),
            advice: Some(self.advice(Reconnect::Retry)),
            ext: ext.as_deref(),
            // Nothing can have come for a session that nobody has heard of yet.
            messages: self.config.delivery_during_handshake.then_some(0),
            ..reply_to(message, true)
        };
        self.put(reply, answer);
        Ok(())
    }

    fn make_session(&mut self, request: &Request<'_>, answer: &mut Answer) -> SessionKey {
        let browser = match (&request.browser, request.way) {
            (Presented::Browser(browser), _) => Some(browser.clone()),
            // There is no head to set a cookie in.
            (_, Way::Push | Way::Inside) => None,
            (Presented::Nothing | Presented::Malformed, _) => {
                let secret = self.entropy.secret();
                answer.cookie = Some(token::browser_text(&secret));
                Some(BrowserId::Issued(secret))
            }
        };
        let secret = self.entropy.secret();
        if request.way == Way::Inside {
            let stream = Some(Stream { link: request.link, flow: Flow::Open, lasts: Lasts::Link });
            let key = self.sessions.insert(Session { stream, ..Session::new(secret, Reach::Local, self.now_ms) });
            answer.answered.push(Ticket(key.to_bits()));
            return key;
        }
        let mut session = Session { browser, ..Session::new(secret, Reach::New, self.now_ms) };
        session.expires_ms = session.expires_ms.saturating_add(u64::from(self.config.max_interval_ms));
        self.sessions.insert(session)
    }

    /// Takes note of the terms on which a session has been made.
    pub(super) fn admit(&mut self, key: SessionKey, admission: Admission) {
        let Admission { attributes, ends_unix_ms } = admission;
        let ends_ms = ends_unix_ms.map(|at| self.now_ms.saturating_add(at.saturating_sub(self.unix_ms)));
        let Some(session) = self.sessions.get_mut(key) else { return };
        if ends_ms.is_some() || !attributes.is_empty() {
            let extras = session.extras.get_or_insert_default();
            sums::put(&mut self.attribute_bytes, attributes.bytes());
            extras.attributes = attributes;
            extras.ends_ms = ends_ms.map_or(0, |at| at.max(1));
        }
    }

    /// Answers a handshake that the policy denies.
    fn deny(&mut self, message: &Message<'_>, (denial, from): (Denial, Option<IpAddr>), answer: &mut Answer) {
        sums::one(&mut self.counters.handshakes_denied);
        let mut advice = denial.advice.unwrap_or_else(|| self.advice(Reconnect::None));
        if advice.reconnect == Reconnect::Handshake && advice.interval == 0 {
            // Without a pause, Faye would shake hands in a loop.
            advice.interval = DENIED_INTERVAL_MS;
        }
        let error = denial.error.as_deref().map_or(Error::HandshakeDenied(&denial.reason), Error::Custom);
        log::debug!("a handshake from {from:?} is denied: {error}");
        self.put(Reply { error: Some(error), advice: Some(advice), ..reply_to(message, false) }, answer);
    }

    /// The extensions that a handshake asks for; what the reply says of them.
    fn agree(&mut self, key: SessionKey, message: &Message<'_>) -> Option<String> {
        let session = self.sessions.get_mut(key)?;
        let said = Said::of(message, self.unix_ms);
        let mut told = Told::default();
        if said.ack == Some(Ack::On) {
            session.extras.get_or_insert_default().acks = Some(Acks::default());
            told.add("ack", |out| out.extend_from_slice(b"true"));
        }
        if said.replay.is_some_and(|replay| replay.get() == "true") {
            told.add("replay", |out| out.extend_from_slice(b"true"));
        }
        told.add_sync(said.sync, self.unix_ms);
        told.finish()
    }

    /// Whether a handshake is one, and there is room for what it asks for.
    fn can_take<'m>(
        &mut self,
        request: &Request<'_>,
        message: &'m Message<'_>,
        questions: &Questions,
    ) -> Result<(), (Error<'m>, ReplyAdvice)> {
        if let Some(invalid) = message.invalid {
            return Err((invalid.into(), self.advice(Reconnect::None)));
        }
        if let Some(types) = &message.supported_connection_types
            && !types.iter().any(|offered| self.config.transports.iter().any(|ours| ours == offered))
        {
            // With any other advice cometd.js would try again for ever.
            return Err((Error::NoCommonConnectionType(types), self.advice(Reconnect::None)));
        }
        if self.is_crowded() {
            sums::one(&mut self.counters.handshakes_refused);
            // Room may come, and not every client backs off by itself between handshakes.
            let advice = ReplyAdvice { interval: DENIED_INTERVAL_MS, ..self.advice(Reconnect::Retry) };
            return Err((Error::SessionLimit, advice));
        }
        // One that the policy has answered by now was counted before it was asked about.
        if !questions.have_answer()
            && let Some(wait_ms) = self.is_hasty(request)
        {
            // One after another, at the pace at which there is room for them.
            return Err((Error::HandshakeRate, ReplyAdvice { interval: wait_ms, ..self.advice(Reconnect::Handshake) }));
        }
        Ok(())
    }

    /// Complete advice: several clients replace what they had by what comes.
    pub(super) fn advice(&self, reconnect: Reconnect) -> ReplyAdvice {
        let interval = if reconnect == Reconnect::Handshake { 0 } else { self.config.interval_ms };
        ReplyAdvice {
            reconnect,
            interval: u64::from(interval),
            timeout: u64::from(self.config.timeout_ms),
            multiple_clients: false,
            connection_type: None,
        }
    }

    /// Subscribes to all that the message names, or to nothing.
    pub(super) fn subscribe(
        &mut self,
        (request, key): (&Request<'_>, SessionKey),
        message: &Message<'_>,
        questions: &mut Questions,
        answer: &mut Answer,
    ) -> Result<(), Stop> {
        let Some(names) = &message.subscription else {
            self.fail(message, Error::SubscriptionMissing, answer);
            return Ok(());
        };
        if names.names.len() > self.limits.batch_messages {
            self.fail(message, Error::SubscriptionLimit(self.limits.subscriptions), answer);
            return Ok(());
        }
        let said = Said::of(message, self.unix_ms);
        let asked = Asked { message, origin: request.origin, session: Some(key) };
        let allowed = self.may_subscribe(asked, key, names, questions);
        match allowed.and_then(|wanted| Ok((wanted, self.positions(key, names, &said)?))) {
            Ok((wanted, positions)) => {
                for pattern in wanted {
                    self.add_subscription(key, pattern);
                }
                let mut told = self.begin_reading(key, positions);
                told.add_sync(said.sync, self.unix_ms);
                self.put(Reply { ext: told.finish().as_deref(), ..reply_to(message, true) }, answer);
            }
            Err(Refusal::Plain(error)) => self.fail(message, error, answer),
            Err(Refusal::Stopped(stop @ Stop::Deferred(_))) => return Err(stop),
            Err(Refusal::Stopped(stop)) => self.refuse(message, &stop, answer),
        }
        Ok(())
    }

    /// Answers a message that somebody has denied.
    pub(super) fn refuse(&mut self, message: &Message<'_>, stop: &Stop, answer: &mut Answer) {
        let error = Self::error_of(stop, message.kind() != Some(Kind::Meta(Meta::Subscribe)));
        let advice = if let Stop::Denied(_, denial) = stop { denial.advice } else { None };
        self.put(Reply { error: Some(error), advice, ..reply_to(message, false) }, answer);
    }

    /// The patterns that are to be added: those asked for, less those that the session has and those of services.
    fn may_subscribe<'m>(
        &mut self,
        asked: Asked<'_>,
        key: SessionKey,
        names: &'m Names<'_>,
        questions: &mut Questions,
    ) -> Result<Vec<Pattern<'m>>, Refusal<'m>> {
        let mut wanted = Vec::with_capacity(names.names.len().min(self.limits.subscriptions));
        let had = self.sessions.get(key).map_or(0, |session| session.subscriptions.as_slice().len());
        // Those that it has left while they were read are still among what it reads.
        let reads = self.sessions.get(key).and_then(|session| session.extras.as_ref()).map_or(0, |all| all.wants.len());
        if reads > self.limits.subscriptions {
            return Err(Refusal::Plain(Error::SubscriptionLimit(self.limits.subscriptions)));
        }
        for name in &names.names {
            let pattern = Pattern::parse(name).map_err(|_| Refusal::Plain(Error::ChannelInvalid(name)))?;
            if pattern.is_meta() {
                return Err(Refusal::Plain(Error::SubscribeDenied(name)));
            }
            if self.hooks.want_origin() {
                self.may_have(asked, pattern, questions).map_err(Refusal::Stopped)?;
            }
            if pattern.is_service() || wanted.contains(&pattern) || self.place_of(key, pattern).is_some() {
                continue;
            }
            wanted.push(pattern);
            if had.saturating_add(wanted.len()) > self.limits.subscriptions {
                return Err(Refusal::Plain(Error::SubscriptionLimit(self.limits.subscriptions)));
            }
            if self.topics.bytes() >= self.limits.subscribed_bytes {
                return Err(Refusal::Plain(Error::SubscriptionsFull));
            }
        }
        Ok(wanted)
    }

    /// The place of a pattern in the session's list.
    pub(super) fn place_of(&mut self, key: SessionKey, pattern: Pattern<'_>) -> Option<usize> {
        let topic = self.topics.find(pattern)?;
        let session = self.sessions.get(key)?;
        session.subscriptions.as_slice().iter().position(|subscription| subscription.topic == topic)
    }

    pub(super) fn add_subscription(&mut self, key: SessionKey, pattern: Pattern<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Ok(place) = u32::try_from(session.subscriptions.as_slice().len()) else { return };
        let Some((topic, place)) = self.topics.insert(pattern, Subscriber { session: key, place }) else { return };
        session.subscriptions.push(Subscription { topic, place });
        self.subscribed(key, pattern);
    }

    /// Unsubscribes from all that the message names; what was not subscribed counts as done.
    pub(super) fn unsubscribe(&mut self, key: SessionKey, message: &Message<'_>, answer: &mut Answer) {
        let Some(names) = &message.subscription else { return self.fail(message, Error::SubscriptionMissing, answer) };
        if names.names.len() > self.limits.batch_messages {
            return self.fail(message, Error::SubscriptionLimit(self.limits.subscriptions), answer);
        }
        let mut patterns = Vec::with_capacity(names.names.len());
        for name in &names.names {
            match Pattern::parse(name) {
                Ok(pattern) => patterns.push(pattern),
                Err(_) => return self.fail(message, Error::ChannelInvalid(name), answer),
            }
        }
        for pattern in patterns {
            if let Some(place) = self.place_of(key, pattern) {
                self.drop_subscription(key, place);
            }
            self.read_no_more(key, pattern);
        }
        self.succeed(message, answer);
    }

    /// Ends the session at its client's wish.
    pub(super) fn disconnect(&mut self, key: SessionKey, message: &Message<'_>, answer: &mut Answer) {
        self.close(key, Removal::Disconnected);
        self.succeed(message, answer);
    }

    /// Ends a session. Its held connect is answered: that there is nothing to come back for, or, after an overflow, that
    /// the session is gone and another handshake is welcome. Where it has a stream and no connect, that it is disconnected.
    pub(super) fn close(&mut self, key: SessionKey, removal: Removal) {
        let mut last = Vec::new();
        let before = self.speaker.replace(key);
        if matches!(removal, Removal::Kicked | Removal::Inactive) {
            let notice = Reply { channel: Meta::Disconnect.as_str(), successful: true, ..Reply::default() };
            self.write(notice, &mut last);
        }
        let lost = matches!(removal, Removal::Overflow | Removal::Unauthorized);
        let hold = self.release_hold(key);
        let stream = self.sessions.get(key).and_then(|session| session.stream).map(|stream| stream.link);
        if let Some(hold) = &hold {
            if !last.is_empty() {
                last.push(b',');
            }
            let reconnect = if lost { Reconnect::Handshake } else { Reconnect::None };
            let error = lost.then_some(Error::SessionUnknown);
            self.write(connect_reply(hold, error, Some(self.advice(reconnect))), &mut last);
        }
        if let Some(link) = hold.map(|hold| hold.link).or(stream).filter(|_| !last.is_empty()) {
            if let Some(session) = self.sessions.get_mut(key) {
                session.stream = session.stream.filter(|stream| stream.link != link);
            }
            self.end(key, link, End::Closed { last, agreed: !lost });
        }
        self.speaker = before;
        self.remove(key, removal);
    }

    /// Ends the session of a client id at the server's wish; whether there was one.
    pub fn kick(&mut self, client_id: &str) -> bool {
        let Some(id) = ClientId::from_text(client_id) else { return false };
        let Some(key) = self.sessions.key_at(id.slot) else { return false };
        let known = self.sessions.get(key).is_some_and(|session| token::same_secret(&session.secret, &id.secret));
        if known {
            self.close(key, Removal::Kicked);
        }
        known
    }
}

/// Why a subscription is refused.
pub(super) enum Refusal<'m> {
    Plain(Error<'m>),
    /// Somebody says no, or later.
    Stopped(Stop),
}
