//! `/meta/connect` (Bayeux 1.0, "Connect Request"): when it is held, how it ends, where a session's events go.
//!
//! Owns the rules of holding, the advice of connect replies, and the streams that events take in place of replies. How a
//! stream looks on a wire is not known here.

use crate::bayeux::{Error, Id, Message, Meta, Pattern, Reconnect, Reply, ReplyAdvice};
use crate::clock::Now;
use crate::hooks::Admission;
use crate::reply::{Answer, Link, Ticket, Way};

use super::ask::{Asked, Questions};
use super::browser::Joined;
use super::ext::{Ack, Said};
use super::ready::Listed;
use super::replay::Since;
use super::session::{Counting, Flow, HeldId, Hold, Lasts, Reach, Session, SessionKey, Stream, Told};
use super::{Broker, End, Removal, Request, reply_to, sums};

/// What somebody who does not speak Bayeux wants to hear.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// A channel or a pattern.
    pub pattern: &'a str,
    /// Whether the first events are all.
    pub once: bool,
    /// From where on; `None`: from now.
    pub since: Option<Since>,
}

/// Why a stream was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// There is no such session, or it is not this browser's.
    SessionUnknown,
    /// There are as many sessions as there may be.
    SessionLimit,
    /// The address makes sessions too fast.
    HandshakeRate,
    /// That is no channel or pattern that can be subscribed to.
    Channel,
    /// The policy says no, for this reason.
    Denied(String),
    /// The session acknowledges its events, which it can do on its connects only.
    Acknowledging,
}

impl Broker {
    /// Holds the connect, or answers it now: the first one of a session, one that came with other messages, one that asks
    /// for no wait, one too many of a browser, and, unless events take another way, one for which something waits.
    pub(super) fn connect(&mut self, request: &Request<'_>, message: &Message<'_>, sole: bool, answer: &mut Answer) {
        if let Some(invalid) = message.invalid {
            return self.fail(message, invalid.into(), answer);
        }
        let Some(key) = self.authenticate(request, message) else {
            return self.refuse_connect(message, Error::SessionUnknown, Reconnect::Handshake, answer);
        };
        if request.way == Way::Inside {
            // Its events go without.
            return self.succeed(message, answer);
        }
        if request.way == Way::Refused {
            let types: Vec<_> = message.connection_type.iter().cloned().collect();
            return self.refuse_connect(message, Error::NoCommonConnectionType(&types), Reconnect::Handshake, answer);
        }
        if self.is_inactive(key) {
            self.close(key, Removal::Inactive);
            return self.refuse_connect(message, Error::SessionUnknown, Reconnect::None, answer);
        }
        self.supersede(key, request.link, request.way);
        let way = self.hear(key, request.way, message);
        self.refill_for_request(key);
        let hold_ms = self.wished_hold(key, way, message);
        let Some(session) = self.sessions.get_mut(key) else { return };
        let first = matches!(session.reach, Reach::New);
        let elsewhere = matches!(way, Way::Push | Way::Stream { .. });
        let waits = (elsewhere || session.outbox.is_empty() || !session.urgent) && !session.has_gaps();
        let wants_hold = self.holding && sole && !first && waits && hold_ms > 0;
        let counting = if wants_hold { self.try_hold(key, request.way) } else { Some(Counting::No) };
        // Faye opens its event stream before its first connect, which still names the transport of its handshake. That one
        // is answered at once, and is no word on where events go.
        if !first || way != Way::Answer {
            self.divert(key, request.link, way, wants_hold && counting.is_some());
        }
        if let (true, Some(counting), Some(session)) = (wants_hold, counting, self.sessions.get_mut(key)) {
            session.expires_ms = self.now_ms.saturating_add(hold_ms);
            let advised = message.advice.is_some();
            let hold = Hold { link: request.link, id: HeldId::keep(message.id), advised, counting };
            return self.hold(key, hold, way, answer);
        }
        let crowded = counting.is_none();
        sums::add(&mut self.counters.crowded, u64::from(crowded));
        self.answering(key, request.link);
        let advice = self.news(key, way, crowded, message.advice.is_some());
        let ext = self.told(key);
        self.put(Reply { advice, ext: ext.as_deref(), ..reply_to(message, true) }, answer);
        self.unload(key, request.link, answer);
    }

    /// Takes note of what a connect says of acknowledgement and asks of the time; how its events are to go.
    fn hear(&mut self, key: SessionKey, way: Way, message: &Message<'_>) -> Way {
        let said = Said::of(message, self.unix_ms);
        let Some(session) = self.sessions.get_mut(key) else { return way };
        if said.sync.is_some() || session.extras.is_some() {
            session.extras.get_or_insert_default().sync = said.sync;
        }
        let Some(acks) = session.acks() else { return way };
        let batch = match said.ack {
            Some(Ack::Batch(batch)) => batch,
            // What was sent may have come.
            Some(Ack::Off) => acks.newest(),
            Some(Ack::On) | None => 0,
        };
        let was_sent = batch <= acks.newest();
        for _ in 0..acks.acknowledge(batch) {
            session.outbox.pop(&mut self.held);
        }
        session.relieved();
        if let Some(extras) = session.extras.as_mut().filter(|_| was_sent) {
            extras.gaps.acknowledge(batch);
        }
        if said.ack == Some(Ack::Off) {
            session.extras.get_or_insert_default().acks = None;
            return way;
        }
        // Only the answer to a connect can be acknowledged.
        Way::Answer
    }

    fn refuse_connect(&mut self, message: &Message<'_>, error: Error<'_>, reconnect: Reconnect, answer: &mut Answer) {
        let advice = Some(self.advice(reconnect));
        self.put(Reply { error: Some(error), advice, ..reply_to(message, false) }, answer);
    }

    /// Whether nothing but meta messages came or went for too long, and nothing waits to go.
    pub(super) fn is_inactive(&self, key: SessionKey) -> bool {
        let most = u64::from(self.config.max_activity_ms);
        let idle =
            |session: &Session| self.now_ms >= session.active_ms.saturating_add(most) && session.outbox.is_empty();
        most > 0 && self.sessions.get(key).is_some_and(|session| idle(session) && !session.is_reading())
    }

    /// How long the connect is to be held, ms.
    fn wished_hold(&mut self, key: SessionKey, way: Way, message: &Message<'_>) -> u64 {
        let most = self.limits.client_advice_ms;
        let wish = message.advice.unwrap_or_default();
        if let Some(session) = self.sessions.get_mut(key) {
            session.interval_ms = wish.interval.and_then(|interval| u32::try_from(interval.min(most)).ok());
        }
        match (way, wish.timeout) {
            (Way::Aside | Way::Refused, _) | (Way::Stream { .. }, Some(0)) => 0,
            (Way::Stream { hold_ms, .. }, _) => u64::from(hold_ms),
            (Way::Inside, _) => 0,
            (Way::Answer | Way::Push, Some(timeout)) => timeout.min(most),
            (Way::Answer | Way::Push, None) => u64::from(self.config.timeout_ms),
        }
    }

    fn hold(&mut self, key: SessionKey, hold: Hold, way: Way, answer: &mut Answer) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let (Way::Stream { confirm_ms, .. }, true) = (way, session.is_unconfirmed()) {
            session.hurry_ms = self.now_ms.saturating_add(u64::from(confirm_ms));
        }
        if self.config.max_activity_ms > 0 {
            let idle_ms = session.active_ms.saturating_add(u64::from(self.config.max_activity_ms));
            session.expires_ms = session.expires_ms.min(idle_ms);
        }
        session.reach = Reach::Held(hold);
        if let Some(Stream { flow: Flow::Unconfirmed(number), .. }) = session.stream {
            answer.probe = Some(number);
        }
        sums::put(&mut self.parked, 1);
        self.schedule(key);
        self.list(key);
        answer.replies.push_waiting(Ticket(key.to_bits()));
    }

    /// Has the session looked at in this turn, if there is something for it that can be given; else when there will be.
    pub(super) fn list(&mut self, key: SessionKey) {
        let now_ms = self.now_ms;
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.has_news(now_ms) {
            self.ready.add(key, &mut session.listed, Listed::Prompt);
        } else if session.hurry_ms != 0 && session.takes_events() {
            self.schedule(key);
        }
    }

    /// Decides where the events of a session go now that a connect has come. A stream that it had elsewhere ends.
    fn divert(&mut self, key: SessionKey, link: Link, way: Way, held: bool) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let old = session.stream;
        let stream = match way {
            Way::Aside | Way::Inside => return,
            Way::Push => {
                let new = Stream { link, flow: Flow::Open, lasts: Lasts::Link };
                old.filter(|old| old.link == link).or(Some(new))
            }
            Way::Stream { confirm_ms, .. } if held => {
                self.probe = self.probe.wrapping_add(1);
                let flow = if confirm_ms > 0 { Flow::Unconfirmed(self.probe) } else { Flow::Open };
                Some(Stream { link, flow, lasts: Lasts::Connect })
            }
            Way::Stream { .. } | Way::Answer | Way::Refused => None,
        };
        session.stream = stream;
        if let Some(old) = old
            && stream.is_none_or(|new| new.link != old.link)
        {
            self.end(key, old.link, End::Moved);
        }
    }

    /// Whether the session may hold a connect, and if so, whether it counts as one of its browser's.
    fn try_hold(&mut self, key: SessionKey, way: Way) -> Option<Counting> {
        let Some(session) = self.sessions.get(key) else { return Some(Counting::No) };
        match (self.config.max_sessions_per_browser, &session.browser) {
            (Some(0), Some(_)) if way != Way::Push => None,
            (Some(_), Some(_)) if way != Way::Push && !session.has_company => Some(Counting::Alone),
            (Some(most), Some(browser)) if way != Way::Push => {
                self.browsers.try_hold(browser, most).then_some(Counting::Counted)
            }
            _ => Some(Counting::No),
        }
    }

    /// The browser of a new session has another one: connects of both count from now on, the one that may be held too.
    pub(super) fn join_browser(&mut self, key: SessionKey) {
        let Some(browser) = self.sessions.get(key).and_then(|session| session.browser.clone()) else { return };
        let joined = self.browsers.join(&browser, key.slot());
        if let (Joined::With(_) | Joined::Company, Some(session)) = (joined, self.sessions.get_mut(key)) {
            session.has_company = true;
        }
        let Joined::With(slot) = joined else { return };
        let first = self.sessions.key_at(slot).and_then(|first| self.sessions.get_mut(first));
        // A slot is no key: whoever is there now must be of this browser.
        let Some(first) = first.filter(|first| first.browser.as_ref() == Some(&browser)) else { return };
        first.has_company = true;
        if let Reach::Held(hold @ Hold { counting: Counting::Alone, .. }) = &mut first.reach {
            hold.counting = Counting::Counted;
            self.browsers.try_hold(&browser, u32::MAX);
        }
    }

    /// Takes a held connect back from the session, without an answer; whether there was one.
    pub(super) fn release_hold(&mut self, key: SessionKey) -> Option<Hold> {
        let session = self.sessions.get_mut(key)?;
        let hold = session.take_hold(session.held_by()?)?;
        sums::take(&mut self.parked, 1);
        if let (Some(browser), Counting::Counted) = (&session.browser, hold.counting) {
            self.browsers.release(browser);
        }
        Some(hold)
    }

    /// A newer connect has come: an earlier one that is still held ends. When events do not go with the answer to the newer
    /// one, its client has moved to another transport on purpose, and that is no error.
    fn supersede(&mut self, key: SessionKey, link: Link, way: Way) {
        let Some(hold) = self.release_hold(key) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.stream = session.stream.filter(|stream| stream.lasts == Lasts::Link);
        let stays = session.stream.is_some_and(|stream| stream.link == hold.link);
        if hold.link == link || stays {
            // On a WebSocket, of which the session keeps the events, it ends without a word.
            return;
        }
        self.end(key, hold.link, if way != Way::Answer { End::Moved } else { End::Superseded });
    }

    /// The advice for a reply to a connect: at first, when it has changed, when the client sent some, and when the server
    /// ends. Then clients are sent away without a pause, whatever the setting: some read it as seconds.
    pub(super) fn news(&mut self, key: SessionKey, way: Way, crowded: bool, advised: bool) -> Option<ReplyAdvice> {
        let (timeout, interval) = match (self.holding, crowded, way) {
            (false, ..) => (self.config.timeout_ms, 0),
            (true, true, _) => (self.config.timeout_ms, self.config.multi_session_interval_ms),
            // Connects that are answered at once still come at the pace at which others end.
            (true, false, Way::Aside) => (0, self.config.timeout_ms),
            (true, false, _) => (self.config.timeout_ms, self.config.interval_ms),
        };
        let told = Told { timeout, interval, multiple_clients: crowded };
        let session = self.sessions.get_mut(key)?;
        // Who comes before it was told to has not heard of it: the answer that said so was lost.
        let early = interval > 0 && self.now_ms < session.answered_ms.saturating_add(u64::from(interval / 2));
        let changed = session.told.replace(told) != Some(told) || early;
        (changed || advised || !self.holding).then(|| ReplyAdvice {
            reconnect: Reconnect::Retry,
            interval: u64::from(interval),
            timeout: u64::from(timeout),
            multiple_clients: crowded,
            connection_type: None,
        })
    }

    /// Takes note if the message shows that its session's stream gets through.
    pub(super) fn confirm(&mut self, key: SessionKey, message: &Message<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(stream @ Stream { flow: Flow::Unconfirmed(number), .. }) = session.stream else { return };
        if message.ext_number("probe") != Some(u64::from(number)) {
            return;
        }
        session.stream = Some(Stream { flow: Flow::Open, ..stream });
        session.hurry_ms = 0;
        // Lazy events have waited for long enough.
        session.urgent = true;
        if matches!(session.reach, Reach::Held(_)) {
            self.schedule(key);
        }
        self.list(key);
    }

    /// The advice with which the held connect of a stream ends that was not confirmed in time; the log hears it once.
    pub(super) fn advise_fallback(&mut self, key: SessionKey) -> ReplyAdvice {
        if let Some(session) = self.sessions.get_mut(key)
            && !session.buffered
        {
            session.buffered = true;
            sums::one(&mut self.counters.buffered);
        }
        ReplyAdvice { connection_type: Some(self.config.fallback_transport), ..self.advice(Reconnect::Retry) }
    }

    /// Gives a session a stream of its own, beside its connects: all its events go there from now on.
    ///
    /// # Errors
    /// [`StreamError::SessionUnknown`]; nothing has changed then.
    pub fn attach(&mut self, request: &Request<'_>, client_id: &str, now: Now) -> Result<Ticket, StreamError> {
        self.tell_time(now);
        let message = Message { client_id: Some(client_id.into()), ..Message::default() };
        let key = self.authenticate(request, &message).ok_or(StreamError::SessionUnknown)?;
        if self.sessions.get_mut(key).is_some_and(|session| session.acks().is_some()) {
            return Err(StreamError::Acknowledging);
        }
        if self.sessions.get(key).is_some_and(|session| session.held_by().is_some()) {
            self.supersede(key, request.link, Way::Push);
            // It ends here, and its session has the time for another one.
            self.away(key);
        }
        if self.sessions.get(key).is_some_and(|session| matches!(session.reach, Reach::Guest { .. } | Reach::Local)) {
            return Err(StreamError::SessionUnknown);
        }
        self.divert(key, request.link, Way::Push, false);
        self.list(key);
        Ok(Ticket(key.to_bits()))
    }

    /// Makes a session that has nothing but a stream and one subscription. One for once ends with the first events, or
    /// without any after `timeout_ms`.
    ///
    /// # Errors
    /// [`StreamError`]; there is no session then.
    pub fn open(&mut self, request: &Request<'_>, wish: Wish<'_>, now: Now) -> Result<Ticket, StreamError> {
        let Wish { pattern, once, since } = wish;
        self.tell_time(now);
        self.begin_call();
        let parsed = Pattern::parse(pattern).map_err(|_| StreamError::Channel)?;
        if parsed.is_meta() || parsed.is_service() {
            return Err(StreamError::Channel);
        }
        if self.is_crowded() {
            sums::one(&mut self.counters.handshakes_refused);
            return Err(StreamError::SessionLimit);
        }
        if self.is_hasty(request).is_some() {
            return Err(StreamError::HandshakeRate);
        }
        let admission = self.may_come(request)?;
        let secret = self.entropy.secret();
        let stream = Some(Stream { link: request.link, flow: Flow::Open, lasts: Lasts::Link });
        let mut guest = Session { stream, ..Session::new(secret, Reach::Guest { once }, self.now_ms) };
        if once && self.holding {
            guest.expires_ms = guest.expires_ms.saturating_add(u64::from(self.config.timeout_ms));
        }
        let key = self.sessions.insert(guest);
        self.admit(key, admission);
        (self.speaker, self.from) = (Some(key), request.origin.address);
        if let Err(error) = self.may_listen(request, key, parsed) {
            self.forget(key);
            return Err(error);
        }
        self.schedule(key);
        sums::one(&mut self.counters.sessions_added);
        self.tell(key, |listener, session, context| listener.session_added(session, context));
        self.add_subscription(key, parsed);
        if let Some(since) = since {
            self.read_from(key, parsed, since);
        }
        self.begin_readers();
        self.list(key);
        Ok(Ticket(key.to_bits()))
    }

    /// The policy's word on somebody who is not a client of the protocol.
    fn may_come(&mut self, request: &Request<'_>) -> Result<Admission, StreamError> {
        let message = Message { channel: Some(Meta::Handshake.as_str().into()), ..Message::default() };
        let allowed = self.may_begin((&message, request.origin), &mut Questions::default());
        allowed.map_err(|stop| StreamError::Denied(Self::at_once(stop).reason))
    }

    /// The same on what it wants to hear.
    fn may_listen(&mut self, request: &Request<'_>, key: SessionKey, pattern: Pattern<'_>) -> Result<(), StreamError> {
        let message = Message { channel: Some(Meta::Subscribe.as_str().into()), ..Message::default() };
        let asked = Asked { message: &message, origin: request.origin, session: Some(key) };
        let allowed = self.may_have(asked, pattern, &mut Questions::default());
        allowed.map_err(|stop| StreamError::Denied(Self::at_once(stop).reason))
    }

    /// The link of a stream, or of a held connect, takes no more: it is gone, or about to be.
    pub fn detached(&mut self, ticket: Ticket, link: Link, now: Now) {
        self.tell_time(now);
        let Some(key) = SessionKey::from_bits(ticket.0) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.flow_of(link).is_some() {
            session.stream = None;
            if matches!(session.reach, Reach::Guest { .. } | Reach::Local) {
                return self.remove(key, Removal::Expired);
            }
        }
        if session.held_by() == Some(link) {
            self.release_hold(key);
            self.away(key);
        }
    }
}

/// The reply to a connect that was held; successful unless there is an error.
pub(super) fn connect_reply<'a>(hold: &'a Hold, error: Option<Error<'a>>, advice: Option<ReplyAdvice>) -> Reply<'a> {
    let id = hold.id.as_json().map(Id::from_kept);
    let successful = error.is_none();
    Reply { channel: Meta::Connect.as_str(), id, successful, error, advice, ..Reply::default() }
}
