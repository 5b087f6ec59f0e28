//! Sessions and their events.
//!
//! Owns the sessions, the topic tree, the outboxes, the browser table and the sessions' timers. Knows links as opaque
//! names: nothing here can tell a socket from a simulated client, or one transport from another. Pure: time and messages
//! in, replies and deadlines out.
//!
//! The calling contract: [`Broker::receive`] for each batch; then [`Broker::take_endings`] until it is empty. Once a turn,
//! [`Broker::fire`] for due timers and [`Broker::pull`] until it returns `None` or the turn's budget is spent.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod browser;
pub mod ext;
pub mod extras;
pub mod history;
pub mod outbox;
pub mod rate;
pub mod ready;
pub mod rules;
pub mod session;
pub mod token;
pub mod topics;
pub mod wants;

mod ask;
mod batches;
mod connect;
mod deferred;
mod delivery;
mod hooked;
mod meta;
pub mod replay;
mod sums;

use core::net::IpAddr;
use std::collections::VecDeque;

use crate::arena::Arena;
use crate::bayeux::{Error, Kind, Message, Meta, Reply};
use crate::clock::Now;
use crate::hooks::channels::Channels;
use crate::hooks::command::Commands;
use crate::hooks::{Hooks, Origin};
use crate::http::date::iso8601;
use crate::limits::Limits;
use crate::reply::{Answer, Link, Ticket, Way};
use crate::wheel::Wheel;

pub use crate::hooks::Removal;
pub use batches::Late;
pub use connect::{StreamError, Wish};
pub use delivery::{Publication, PublishError};

use batches::Step;
use browser::{Browsers, Presented};
use deferred::Deferred;
use ext::Said;
use history::{History, Memory, Store};
use outbox::Held;
use rate::{Rate, Rates};
use ready::Ready;
use rules::{Rule, Rules};
use session::{Reach, Session, SessionKey};
use token::Entropy;
use topics::{Audience, Topics};

/// Between the ends of two held connects when the server ends, ms.
const DRAIN_STEP_MS: u64 = 10;

/// What becomes of a session for which more waits than may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// It ends; its client learns that and shakes hands anew.
    #[default]
    Disconnect,
    /// It loses its oldest events, and is told how many of which channel. Those with acknowledgement end even so.
    DropOldest,
}

/// What an operator sets. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long a connect is held without an event.
    pub timeout_ms: u32,
    /// How long clients are told to wait between connects.
    pub interval_ms: u32,
    /// How long a session outlives the answer to its connect, beyond `interval_ms`.
    pub max_interval_ms: u32,
    /// Sessions of one browser that may hold a connect at once; `None`: any number.
    pub max_sessions_per_browser: Option<u32>,
    /// The `interval` advised to the sessions of a browser beyond that number.
    pub multi_session_interval_ms: u32,
    /// Whether a request without the browser cookie of its session is refused.
    pub require_browser_cookie: bool,
    /// What becomes of a session for which too much waits.
    pub overflow: Overflow,
    /// How long an event of a lazy channel waits at most for an answer that goes anyway.
    pub max_lazy_ms: u32,
    /// How long a session lives on without events or messages other than meta messages; 0: for ever.
    pub max_activity_ms: u32,
    /// Whether events and replies carry a `timestamp`.
    pub timestamps: bool,
    /// Whether replies to handshakes say how many events follow them, as CometD's `x-messages`.
    pub delivery_during_handshake: bool,
    /// What holds for which channels.
    pub channels: Vec<Rule>,
    /// How fast one address may make sessions; `None`: as fast as it likes. Loopback and Unix sockets always may.
    pub handshake_rate: Option<Rate>,
    /// The connection types offered to clients, in order of preference.
    pub transports: Vec<&'static str>,
    /// The connection type advised to a client that streams do not get through to.
    pub fallback_transport: &'static str,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout_ms: 30_000,
            interval_ms: 0,
            max_interval_ms: 10_000,
            max_sessions_per_browser: Some(4),
            multi_session_interval_ms: 2_000,
            require_browser_cookie: false,
            overflow: Overflow::default(),
            max_lazy_ms: 5_000,
            max_activity_ms: 0,
            timestamps: false,
            delivery_during_handshake: false,
            channels: Vec::new(),
            handshake_rate: Some(Rate { per_second: 1_000, burst: 10_000 }),
            transports: vec!["websocket", "streaming", "eventsource", "long-polling", "cross-origin-long-polling"],
            fallback_transport: "long-polling",
        }
    }
}

/// Where a batch came from.
#[derive(Debug)]
pub struct Request<'a> {
    /// Where the answer goes.
    pub link: Link,
    /// How events get there, if it brings a connect.
    pub way: Way,
    /// The client's address, if it is to be counted how fast sessions are made there.
    pub client: Option<IpAddr>,
    /// The browser cookie that came along.
    pub browser: Presented,
    /// For the policy.
    pub origin: Origin<'a>,
    /// The local session whose batch it is: it needs no client id.
    pub insider: Option<Ticket>,
}

/// How a held connect ends other than by an event or its timeout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// A newer connect of the same session took its place: no Bayeux answer, or the two would chase each other.
    Superseded,
    /// Events of the session go elsewhere from now on.
    Moved,
    /// The session is over.
    Closed {
        /// The last replies, as JSON; may be empty.
        last: Vec<u8>,
        /// Whether its client knows, and has no use for the link any more.
        agreed: bool,
    },
}

/// A held connect, or a stream, that ends now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Where it is held.
    pub link: Link,
    /// What waits there.
    pub ticket: Ticket,
    /// How it ends.
    pub end: End,
}

/// What has happened since the start, as counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Events published.
    pub published: u64,
    /// Events encoded: at most one for each publish.
    pub encoded: u64,
    /// Events put into an outbox.
    pub queued: u64,
    /// Events handed to a connection.
    pub delivered: u64,
    /// Sessions made.
    pub sessions_added: u64,
    /// Sessions ended, for whatever reason.
    pub sessions_removed: u64,
    /// Sessions ended because their outbox was full.
    pub overflows: u64,
    /// Handshakes refused because there were too many sessions.
    pub handshakes_refused: u64,
    /// Handshakes refused because one address made too many.
    pub handshakes_hasty: u64,
    /// Publishes refused because too much was waiting, or the event was too large to wait for anyone.
    pub publishes_refused: u64,
    /// Connects answered at once because their browser held too many.
    pub crowded: u64,
    /// Sessions ended because they sent on but did not connect.
    pub no_connects: u64,
    /// Sessions whose streams did not get through in time.
    pub buffered: u64,
    /// Events given to a connection again because they were not acknowledged.
    pub resent: u64,
    /// Events that a session lost because more waited than may.
    pub dropped: u64,
    /// Events read from the history.
    pub replayed: u64,
    /// Sessions ended because nothing but meta messages came or went.
    pub inactive: u64,
    /// Handshakes that the policy has denied.
    pub handshakes_denied: u64,
    /// Commands of hooks that could not be done.
    pub commands_failed: u64,
}

/// The broker. See the [module](self) for the order of calls.
pub struct Broker {
    config: Config,
    rules: Rules,
    limits: Limits,
    /// What one answer takes of what waits at most, bytes: of [`Limits::output_bytes`], what is left to each connection.
    share_bytes: usize,
    history: History,
    store: Box<dyn Store>,
    /// Events that wait for their number, oldest first.
    drafts: VecDeque<delivery::Draft>,
    /// Bytes of these.
    drafted_bytes: usize,
    sessions: Arena<Session>,
    browsers: Browsers,
    rates: Rates,
    topics: Topics,
    /// Whom the publish under way reaches.
    audience: Audience,
    wheel: Wheel<SessionKey>,
    held: Held,
    /// Sessions with a held connect, or a stream, and something to say.
    ready: Ready,
    endings: Vec<Ending>,
    /// The slot of the session that was looked at last when memory was short.
    hand: u32,
    /// Sessions whose outbox overflowed in the publish under way.
    overflowed: Vec<SessionKey>,
    /// Sessions that want to read the history since the call under way: what a batch asks for is read together.
    readers: Vec<SessionKey>,
    /// Sessions that got a lazy event in the publish under way, and are to be looked at in time.
    hurried: Vec<SessionKey>,
    /// The number of the publish under way.
    serial: u64,
    /// The number of the newest stream that is to be confirmed.
    probe: u32,
    /// The time of the call under way, ms.
    now_ms: u64,
    /// The same for people.
    unix_ms: u64,
    /// The same as ISO 8601, if messages are to carry it.
    date: Option<String>,
    counters: Counters,
    /// Subscribers to whom events went, and what it took to read histories, beside the looks for channels: see
    /// [`Broker::work`].
    worked: u64,
    /// The work after which the request under way reads no more.
    enough: u64,
    /// Wildcards that the request under way has begun to read.
    begun_wildcards: usize,
    entropy: Box<dyn Entropy>,
    hooks: Hooks,
    /// What hooks want done.
    commands: Commands,
    /// The channels that hooks know of.
    channels: Channels,
    /// Batches that wait for answers of the policy.
    deferred: Deferred,
    /// Answers to batches that have waited.
    late: VecDeque<Late>,
    /// What is done next about such batches.
    steps: VecDeque<Step>,
    /// Sessions that are gone for which batches wait.
    orphans: Vec<SessionKey>,
    /// Whose message is being handled, as far as it is known.
    speaker: Option<SessionKey>,
    /// Where that came from.
    from: Option<IpAddr>,
    /// What is written on sessions, bytes.
    attribute_bytes: usize,
    /// Channels of services on which nobody listens, as the log has been told.
    unheard: Vec<Box<str>>,
    /// Connects that are held.
    parked: usize,
    /// Whether connects are held; not while the server ends.
    holding: bool,
    /// Scratch for encoding one event.
    encoded: Vec<u8>,
}

impl core::fmt::Debug for Broker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Broker").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker without sessions.
    pub fn new(config: Config, limits: Limits, now: Now, entropy: Box<dyn Entropy>, hooks: Hooks) -> Self {
        let store = Memory::new(now.unix_ms);
        let rules = Rules::new(config.channels.clone());
        Self {
            config,
            rules,
            history: History::new(store.start(), &limits),
            share_bytes: limits.output_bytes,
            commands: Commands::bounded((limits.mailbox_commands, limits.mailbox_bytes)),
            limits,
            store: Box::new(store),
            drafts: VecDeque::new(),
            drafted_bytes: 0,
            sessions: Arena::default(),
            browsers: Browsers::default(),
            rates: Rates::default(),
            topics: Topics::default(),
            audience: Audience::default(),
            wheel: Wheel::new(now.mono_ms),
            held: Held::default(),
            ready: Ready::default(),
            endings: Vec::new(),
            hand: 0,
            overflowed: Vec::new(),
            readers: Vec::new(),
            hurried: Vec::new(),
            serial: 0,
            probe: 0,
            now_ms: now.mono_ms,
            unix_ms: now.unix_ms,
            date: None,
            counters: Counters::default(),
            worked: 0,
            enough: 0,
            begun_wildcards: 0,
            entropy,
            hooks,
            channels: Channels::default(),
            deferred: Deferred::default(),
            late: VecDeque::new(),
            steps: VecDeque::new(),
            orphans: Vec::new(),
            speaker: None,
            from: None,
            attribute_bytes: 0,
            unheard: Vec::new(),
            parked: 0,
            holding: true,
            encoded: Vec::new(),
        }
    }

    /// What has happened.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The work done since the start, as [`Limits::fanout_per_turn`] counts it.
    pub fn work(&self) -> u64 {
        self.worked.saturating_add(self.history.looks())
    }

    /// The connection types offered to clients.
    pub fn transports(&self) -> &[&'static str] {
        &self.config.transports
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many connects are held.
    pub fn parked(&self) -> usize {
        self.parked
    }

    /// How many channels and patterns have a subscriber.
    pub fn topics(&self) -> usize {
        self.topics.count()
    }

    /// How many browsers have a session.
    pub fn browsers(&self) -> usize {
        self.browsers.count()
    }

    /// Timers armed.
    pub fn timers(&self) -> usize {
        self.wheel.len()
    }

    /// What hooks have written on sessions, bytes.
    pub fn attribute_bytes(&self) -> usize {
        self.attribute_bytes
    }

    /// Memory for all subscriptions, bytes.
    pub fn subscribed_bytes(&self) -> usize {
        self.topics.bytes()
    }

    /// Memory for events that wait and their places in queues, bytes.
    pub fn queued_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// What is kept.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The number after which the next event that is kept comes; `None` if none will be.
    pub fn cursor(&self) -> Option<u64> {
        self.rules.keep_any().then(|| self.history.newest())
    }

    /// Has events numbered, and kept beyond the life of the process, by another store. At the start only: what has been kept
    /// by then is forgotten.
    pub fn set_store(&mut self, store: Box<dyn Store>) {
        self.history = History::new(store.start(), &self.limits);
        self.store = store;
    }

    /// Each session with the links of its stream and of its held connect; for the simulator.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn links(&self) -> Vec<(u64, u64)> {
        let mut links = Vec::new();
        for (key, session) in self.sessions.iter() {
            // A guest that has been answered ends when that is written.
            let over = |stream: &session::Stream| {
                stream.flow == session::Flow::Busy && matches!(session.reach, Reach::Guest { once: true })
            };
            let stream = session.stream.filter(|stream| !over(stream)).map(|stream| stream.link);
            let held = session.held_by().filter(|held| Some(*held) != stream);
            links.extend([stream, held].into_iter().flatten().map(|link| (key.to_bits(), link.0)));
        }
        links
    }

    /// When [`Broker::fire`] is wanted next, ms.
    pub fn next_deadline(&self) -> Option<u64> {
        let others = [self.channels.next_sweep(), self.deferred.next_deadline()];
        self.wheel.next_deadline().into_iter().chain(others.into_iter().flatten()).min()
    }

    /// Whether [`Broker::pull`] has something.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Changes settings and bounds. Connects that are held keep the timeout that they have; clients are told with their
    /// next connect.
    pub fn reconfigure(&mut self, config: Config, limits: Limits) {
        self.rules = Rules::new(config.channels.clone());
        self.history.bound(&limits);
        self.commands.bound((limits.mailbox_commands, limits.mailbox_bytes));
        self.config = config;
        self.share_bytes = limits.output_bytes;
        self.limits = limits;
    }

    /// From now on an answer takes so many bytes of what waits at most.
    pub fn pace(&mut self, share_bytes: usize) {
        self.share_bytes = share_bytes;
    }

    /// Holds no connect from now on, and has those that are held, and polls of guests, end one after another: each at least
    /// 10 ms after the one before, or closer if they would not all end within three quarters of the time.
    ///
    /// Returns how long that takes, ms.
    pub fn drain(&mut self, within_ms: u64, now: Now) -> u64 {
        self.tell_time(now);
        self.holding = false;
        let waits =
            |session: &Session| session.held_by().is_some() || matches!(session.reach, Reach::Guest { once: true });
        let held: Vec<SessionKey> =
            self.sessions.iter().filter(|(_, session)| waits(session)).map(|(key, _)| key).collect();
        let count = held.len() as u64;
        let spread_ms = spread_ms(count, within_ms);
        for (key, at) in held.into_iter().zip(0u64..) {
            let share_ms = spread_ms.saturating_mul(at).checked_div(count).unwrap_or_default();
            let deadline = self.now_ms.saturating_add(share_ms);
            if let Some(session) = self.sessions.get_mut(key).filter(|session| session.expires_ms > deadline) {
                session.expires_ms = deadline;
                self.schedule(key);
            }
        }
        spread_ms
    }

    /// Whatever a request asks for, it reads so much and no more before others have their turn.
    fn begin_call(&mut self) {
        self.enough = self.work().saturating_add(self.limits.fanout_per_turn);
        self.begun_wildcards = 0;
    }

    fn tell_time(&mut self, now: Now) {
        self.from = None;
        self.now_ms = now.mono_ms;
        if self.config.timestamps && (self.unix_ms != now.unix_ms || self.date.is_none()) {
            self.date = Some(iso8601(now.unix_ms));
        } else if !self.config.timestamps {
            self.date = None;
        }
        self.unix_ms = now.unix_ms;
    }

    fn now(&self) -> Now {
        Now { mono_ms: self.now_ms, unix_ms: self.unix_ms }
    }

    /// The session that a message belongs to. A wrong, an unknown and a foreign client id look the same.
    fn authenticate(&mut self, request: &Request<'_>, message: &Message<'_>) -> Option<SessionKey> {
        let key = self.speaker_of(request, message)?;
        if request.insider.is_none() {
            self.touch(key);
            self.confirm(key, message);
        }
        self.speaker = Some(key);
        Some(key)
    }

    /// The same without a trace.
    fn speaker_of(&self, request: &Request<'_>, message: &Message<'_>) -> Option<SessionKey> {
        if message.kind() == Some(Kind::Meta(Meta::Handshake)) {
            return None;
        }
        if let Some(insider) = request.insider {
            return SessionKey::from_bits(insider.0).filter(|key| self.sessions.get(*key).is_some());
        }
        let key = self.session_named(message)?;
        let session = self.sessions.get(key)?;
        let foreign = match (&request.browser, &session.browser) {
            (Presented::Browser(presented), Some(own)) => !presented.is(own),
            (Presented::Nothing, Some(_)) => self.config.require_browser_cookie,
            (Presented::Malformed, Some(_)) => true,
            (_, None) => false,
        };
        // Who is within the program speaks from there, whoever has learned the id.
        let within = matches!(session.reach, Reach::Local);
        (!foreign && !within).then_some(key)
    }

    /// The session whose client id stands in a message, whoever has sent it.
    fn session_named(&self, message: &Message<'_>) -> Option<SessionKey> {
        let id = token::ClientId::from_text(message.client_id.as_deref()?)?;
        let key = self.sessions.key_at(id.slot)?;
        let session = self.sessions.get(key)?;
        token::same_secret(&session.secret, &id.secret).then_some(key)
    }

    /// Whether an address makes sessions too fast; if so, how long its next one has to wait, ms.
    fn is_hasty(&mut self, request: &Request<'_>) -> Option<u64> {
        let (rate, client) = (self.config.handshake_rate?, request.client?);
        let wait = self.rates.take(client, rate, self.limits.handshake_addresses, self.now_ms).err()?;
        sums::one(&mut self.counters.handshakes_hasty);
        Some(wait)
    }

    /// A message of the session has come: it expires later, but never for want of connects.
    fn touch(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if matches!(session.reach, Reach::Away) {
            let grace = expiry_ms(&self.config, session);
            let latest = latest_ms(&self.config, session);
            session.expires_ms = session.expires_ms.max(self.now_ms.saturating_add(grace).min(latest));
        }
    }

    /// Arms the session's timer for the next of its deadlines, in place of the one that may be armed.
    fn schedule(&mut self, key: SessionKey) {
        self.disarm(key);
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Some(deadline) = session.deadline() {
            session.timer = Some(self.wheel.arm(deadline, key));
        }
    }

    fn disarm(&mut self, key: SessionKey) {
        if let Some(timer) = self.sessions.get_mut(key).and_then(|session| session.timer.take()) {
            self.wheel.cancel(timer);
        }
    }

    /// No connect is with us from now on: the session's expiry begins.
    fn away(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.reach = Reach::Away;
        session.answered_ms = self.now_ms;
        session.expires_ms = self.now_ms.saturating_add(expiry_ms(&self.config, session));
        self.schedule(key);
    }

    /// Ends a session and everything that belongs to it.
    fn remove(&mut self, key: SessionKey, removal: Removal) {
        self.release_hold(key);
        if let Some(stream) = self.sessions.get_mut(key).and_then(|session| session.stream.take()) {
            let agreed = matches!(removal, Removal::Disconnected | Removal::Kicked | Removal::Inactive);
            self.end(key, stream.link, End::Closed { last: Vec::new(), agreed });
        }
        self.disarm(key);
        while let Some(last) =
            self.sessions.get(key).and_then(|session| session.subscriptions.as_slice().len().checked_sub(1))
        {
            self.drop_subscription(key, last);
        }
        self.tell_removal(key, removal);
        if self.deferred.holds_back(key) {
            self.orphans.push(key);
        }
        let Some(mut session) = self.forget(key) else { return };
        while session.outbox.pop(&mut self.held).is_some() {}
        if let Some(browser) = &session.browser {
            self.browsers.leave(browser);
        }
        sums::one(&mut self.counters.sessions_removed);
        match removal {
            Removal::Overflow => sums::one(&mut self.counters.overflows),
            Removal::NoConnect => sums::one(&mut self.counters.no_connects),
            Removal::Inactive => sums::one(&mut self.counters.inactive),
            Removal::Disconnected | Removal::Kicked | Removal::Expired | Removal::Unauthorized => {}
        }
        log::debug!("session {key:?} removed: {removal:?}");
    }

    /// Takes a session out, with what is written on it.
    fn forget(&mut self, key: SessionKey) -> Option<Session> {
        let session = self.sessions.remove(key)?;
        let written = session.extras.as_ref().map_or(0, |extras| extras.attributes.bytes());
        sums::take(&mut self.attribute_bytes, written);
        Some(session)
    }

    /// Whether there is no room for another session: there are as many as there may be, or as much is written on them.
    fn is_crowded(&self) -> bool {
        self.sessions.len() >= self.limits.sessions || self.attribute_bytes >= self.limits.attribute_bytes
    }

    /// Appends a reply, with the time if it is wanted and what extensions make of it.
    fn put(&mut self, reply: Reply<'_>, answer: &mut Answer) {
        answer.replies.push(|out| self.write(reply, out));
    }

    fn write(&mut self, reply: Reply<'_>, out: &mut Vec<u8>) {
        if self.hooks.extensions.is_empty() {
            return self.dated(reply).write(out);
        }
        let ext = self.extend_reply(&reply);
        self.dated(Reply { ext: ext.as_deref(), ..reply }).write(out);
    }

    fn dated<'a>(&'a self, reply: Reply<'a>) -> Reply<'a> {
        Reply { timestamp: self.date.as_deref(), ..reply }
    }

    /// Appends a failed reply.
    fn fail(&mut self, message: &Message<'_>, error: Error<'_>, answer: &mut Answer) {
        self.put(Reply { error: Some(error), ..reply_to(message, false) }, answer);
    }

    /// Appends the reply to a message that had its effect, with the answer about the time if it asked.
    fn succeed(&mut self, message: &Message<'_>, answer: &mut Answer) {
        let mut told = ext::Told::default();
        told.add_sync(Said::of(message, self.unix_ms).sync, self.unix_ms);
        self.put(Reply { ext: told.finish().as_deref(), ..reply_to(message, true) }, answer);
    }

    /// Has the engine end what waits there.
    fn end(&mut self, key: SessionKey, link: Link, end: End) {
        self.endings.push(Ending { link, ticket: Ticket(key.to_bits()), end });
    }

    /// Takes out the subscription at a place of a session's list and mends the places of those that move.
    fn drop_subscription(&mut self, key: SessionKey, place: usize) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(dropped) = session.subscriptions.swap_remove(place) else { return };
        let name = self.hooks.watch_channels().then(|| self.topics.name(dropped.topic)).flatten();
        if let (Some(moved), Ok(place)) = (session.subscriptions.as_slice().get(place).copied(), u32::try_from(place)) {
            self.topics.moved(moved.topic, moved.place, place);
        }
        if let Some(moved) = self.topics.remove(dropped.topic, dropped.place) {
            let other = self.sessions.get_mut(moved.session);
            if let Some(end) = other.and_then(|other| other.subscriptions.as_mut_slice().get_mut(moved.place as usize))
            {
                end.place = dropped.place;
            }
        }
        if let Some(name) = name {
            let last = self.topics.name(dropped.topic).is_none();
            self.unsubscribed(key, &name, last);
        }
    }
}

/// Over how long so many clients are sent away when they are given that time, ms.
pub fn spread_ms(clients: u64, within_ms: u64) -> u64 {
    (within_ms.saturating_mul(3) / 4).min(clients.saturating_mul(DRAIN_STEP_MS))
}

/// How long after the answer to its connect a session expires, ms.
fn expiry_ms(config: &Config, session: &Session) -> u64 {
    // What the client said it will wait, or else what it was told to wait.
    let told = session.told.map_or(config.interval_ms, |told| told.interval);
    u64::from(session.interval_ms.unwrap_or(told)).saturating_add(u64::from(config.max_interval_ms))
}

/// When a session expires for want of connects, whatever else it sends, ms.
fn latest_ms(config: &Config, session: &Session) -> u64 {
    session.answered_ms.saturating_add(u64::from(config.timeout_ms)).saturating_add(expiry_ms(config, session))
}

/// A reply with what every reply repeats.
fn reply_to<'a>(message: &'a Message<'_>, successful: bool) -> Reply<'a> {
    let subscription = message.subscription.as_ref().map(|subscription| subscription.raw.get());
    Reply {
        channel: message.channel.as_deref().unwrap_or_default(),
        id: message.id,
        successful,
        subscription,
        ..Reply::default()
    }
}

#[cfg(test)]
mod tests;
