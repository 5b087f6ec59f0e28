//! The whole server without I/O: connection events go to the broker, its answers go back to connections.
//!
//! Owns the connections, their timers, the list of those to look at, and nothing that either side owns. Deterministic: the
//! same calls with the same times and the same entropy give the same bytes.
//!
//! # The calling contract
//!
//! A turn: any number of [`accept`](Engine::accept), [`receive`](Engine::receive), [`peer_closed`](Engine::peer_closed),
//! [`closed`](Engine::closed), [`command`](Engine::command); then [`handle_timeout`](Engine::handle_timeout) and
//! [`flush`](Engine::flush); then, until [`next_dirty`](Engine::next_dirty) is empty, do what [`step`](Engine::step) says of
//! that connection, reporting with [`sent`](Engine::sent), [`write_shut`](Engine::write_shut) and
//! [`closed`](Engine::closed); then sleep until [`poll_timeout`](Engine::poll_timeout). Time never goes backwards.

use core::net::IpAddr;
use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::arena::Arena;
use crate::bayeux::{self, DecodeErrorKind, Message};
use crate::broker::browser::Presented;
use crate::broker::policy::{Origin, Policy};
use crate::broker::token::Entropy;
use crate::broker::{self, Broker, End, Request};
use crate::clock::Now;
use crate::conn::reader::{Next, Progress, Reader};
use crate::conn::route::{BodyForm, Refusal, RefusalKind, ReplyTo, Route, Site};
use crate::conn::{BROWSER_COOKIE, Conn, ConnKey, Env, Input, Step};
use crate::http::date::HttpDate;
use crate::http::forwarded::{Forwarded, TrustedProxies};
use crate::http::head::{Head, Method};
use crate::http::origin::{Grant, OriginRule};
use crate::http::response::Status;
use crate::http::{HttpError, cookie, form};
use crate::limits::Limits;
use crate::refusals::{Refusals, Who};
use crate::reply::{Answer, Link};
use crate::wheel::Wheel;

/// Everything that an engine is made of.
pub struct Parts {
    /// The HTTP side's settings.
    pub site: Site,
    /// The broker's settings.
    pub broker: broker::Config,
    /// Every bound.
    pub limits: Limits,
    /// Where secrets come from.
    pub entropy: Box<dyn Entropy>,
    /// Who may do what.
    pub policy: Box<dyn Policy>,
}

/// What another thread may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Publish an event; `data` is valid JSON.
    Publish {
        /// A channel, not a pattern.
        channel: String,
        /// JSON.
        data: String,
    },
    /// End a session, by its client id.
    Disconnect(String),
}

/// What can be changed while the engine runs.
#[derive(Debug)]
pub struct Change {
    /// Which other sites' pages may use this server.
    pub origins: OriginRule,
    /// Whose `X-Forwarded-*` header fields are believed.
    pub proxies: TrustedProxies,
    /// Whether the demonstration is served.
    pub demo: bool,
    /// The broker's settings.
    pub broker: broker::Config,
    /// Every bound.
    pub limits: Limits,
}

/// Whether the engine keeps connections and holds connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Serving,
    /// Since then, ms.
    Ending {
        since_ms: u64,
    },
}

/// Why the engine wants to be called at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The turn left work over: at once.
    Work,
    /// A timer of a session or of a connection.
    Timer,
}

/// A connection could not be taken: as many as allowed are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtCapacity;

/// How many of everything there are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// Open connections.
    pub connections: usize,
    /// Sessions.
    pub sessions: usize,
    /// Sessions whose connect is held.
    pub parked: usize,
    /// Channels and patterns with a subscriber.
    pub topics: usize,
    /// Browsers with a session.
    pub browsers: usize,
    /// Timers armed.
    pub timers: usize,
    /// Bytes of events waiting, each event once.
    pub queued_bytes: usize,
}

/// The server without I/O. See the [module](self) for the order of calls.
pub struct Engine {
    site: Site,
    limits: Limits,
    life: Life,
    broker: Broker,
    conns: Arena<Conn>,
    wheel: Wheel<ConnKey>,
    dirty: Vec<ConnKey>,
    refusals: Refusals,
    now: Now,
    date: HttpDate,
    /// Scratch for one answer.
    answer: Answer,
}

impl core::fmt::Debug for Engine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine").field("census", &self.census()).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without connections.
    pub fn new(parts: Parts, now: Now) -> Self {
        let Parts { site, broker, limits, entropy, policy } = parts;
        Self {
            site,
            broker: Broker::new(broker, limits.clone(), now, entropy, policy),
            limits,
            life: Life::Serving,
            conns: Arena::default(),
            wheel: Wheel::new(now.mono_ms),
            dirty: Vec::new(),
            refusals: Refusals::default(),
            now,
            date: HttpDate::from_unix_ms(now.unix_ms),
            answer: Answer::default(),
        }
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What has happened since the start.
    pub fn counters(&self) -> broker::Counters {
        self.broker.counters()
    }

    /// What there is now.
    pub fn census(&self) -> Census {
        Census {
            connections: self.conns.len(),
            sessions: self.broker.sessions(),
            parked: self.broker.parked(),
            topics: self.broker.topics(),
            browsers: self.broker.browsers(),
            timers: self.broker.timers() + self.wheel.len(),
            queued_bytes: self.broker.queued_bytes(),
        }
    }

    /// Takes a connection that came from there; `None` for a Unix socket.
    ///
    /// # Errors
    /// [`AtCapacity`]: close it.
    pub fn accept(&mut self, peer: Option<IpAddr>, now: Now) -> Result<ConnKey, AtCapacity> {
        self.tell_time(now);
        if self.conns.len() >= self.limits.connections {
            return Err(AtCapacity);
        }
        let key = self.conns.insert(Conn::new(peer, now.mono_ms));
        self.schedule(key);
        Ok(key)
    }

    /// Bytes have come on a connection.
    pub fn receive(&mut self, key: ConnKey, bytes: &[u8], now: Now) {
        self.tell_time(now);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.discard(bytes.len());
        }
        self.read(key, bytes);
        self.touch(key);
    }

    /// The socket took `n` bytes of what is pending: 0 if it takes none for now, which starts the time that it has for some.
    pub fn sent(&mut self, key: ConnKey, n: usize, now: Now) {
        self.tell_time(now);
        let (Some(conn), env) = (self.conns.get_mut(key), env(&self.date, &self.site, self.now, self.life)) else {
            return;
        };
        if !conn.sent(n, env) {
            return self.schedule(key);
        }
        self.tell_listeners(key);
        // What was received beyond the limits of pipelining has waited for this.
        if self.conns.get(key).is_some_and(Conn::has_input) {
            self.read(key, &[]);
        }
        self.touch(key);
    }

    /// The sending side of a socket has been shut, as [`Step::ShutdownWrite`] asked.
    pub fn write_shut(&mut self, key: ConnKey, now: Now) {
        self.tell_time(now);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.write_shut(env(&self.date, &self.site, self.now, self.life));
        }
        self.touch(key);
    }

    /// The peer of a connection has ended its side.
    pub fn peer_closed(&mut self, key: ConnKey, now: Now) {
        self.tell_time(now);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.peer_closed();
        }
        self.touch(key);
    }

    /// The socket of a connection is gone, at whoever's wish.
    pub fn closed(&mut self, key: ConnKey, now: Now) {
        self.tell_time(now);
        self.tell_listeners(key);
        let Some(conn) = self.conns.remove(key) else { return };
        if let Some(timer) = conn.timer {
            self.wheel.cancel(timer);
        }
        if let Some(ticket) = conn.parked() {
            self.broker.detached(ticket, link(key), now);
        }
    }

    /// Does what another thread asks for; whether it could be done.
    pub fn command(&mut self, command: &Command, now: Now) -> bool {
        self.tell_time(now);
        let done = match command {
            Command::Publish { channel, data } => self.broker.publish_json(channel, data).is_ok(),
            Command::Disconnect(client_id) => self.broker.kick(client_id),
        };
        self.settle();
        self.tell_troubles();
        done
    }

    /// Changes what can be changed. What was granted to requests under way holds for them.
    ///
    /// # Errors
    /// More origins than can be told apart since the start; nothing has changed then.
    pub fn reconfigure(&mut self, change: Change) -> Result<(), String> {
        let Change { origins, proxies, demo, broker, limits } = change;
        self.site.origins = self.site.origins.succeeded_by(&origins)?;
        self.site.proxies = proxies;
        self.site.pages.show(demo);
        self.broker.reconfigure(broker, limits.clone());
        self.limits = limits;
        // A deadline may have become earlier than the timer that stands for it.
        let keys: Vec<ConnKey> = self.conns.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.schedule(key);
        }
        Ok(())
    }

    /// Begins to end: from now on no connect is held, each answer closes its connection, and the connects that are held
    /// get their answers one after another, so that their clients do not all come back at the same instant.
    /// Returns how long that takes if they take their answers, ms.
    pub fn drain(&mut self, within_ms: u64, now: Now) -> u64 {
        self.tell_time(now);
        self.life = Life::Ending { since_ms: now.mono_ms };
        self.broker.drain(within_ms, now)
    }

    /// Says what has not been said yet: nothing follows.
    pub fn last_words(&mut self) {
        self.refusals.report_all();
    }

    /// Whether it is ending and nothing is under way any more. A connection that has not had a request yet is waited for
    /// as long as the peer's end is after an answer.
    pub fn is_drained(&self) -> bool {
        let Life::Ending { since_ms } = self.life else { return false };
        let waits = self.now.mono_ms < since_ms.saturating_add(self.limits.linger_ms);
        self.broker.parked() == 0
            && self.dirty.is_empty()
            && self.conns.iter().all(|(_, conn)| conn.is_quiet() && !(waits && conn.is_new()))
    }

    /// When new connections are no longer waited for, ms, if it is ending and that is still to come.
    fn end_of_patience(&self) -> Option<u64> {
        let Life::Ending { since_ms } = self.life else { return None };
        Some(since_ms.saturating_add(self.limits.linger_ms)).filter(|at| *at > self.now.mono_ms)
    }

    /// How many connections have a request or an answer under way.
    pub fn unfinished(&self) -> usize {
        self.conns.iter().filter(|(_, conn)| conn.is_unfinished()).count()
    }

    /// Logs how many of everything there are, and have been since the start.
    pub fn report(&self) {
        let Census { connections, sessions, parked, topics, browsers, queued_bytes, .. } = self.census();
        let broker::Counters { published, delivered, sessions_added, overflows, .. } = self.counters();
        log::info!(
            "now: connections={connections} sessions={sessions} parked={parked} channels={topics} browsers={browsers} \
            queued-bytes={queued_bytes}"
        );
        log::info!(
            "since the start: sessions={sessions_added} published={published} delivered={delivered} \
            overflows={overflows}"
        );
        log::info!("refused or ended since the start: {}", self.refusals);
    }

    /// Fires what is due, as much of it as fits into a turn.
    pub fn handle_timeout(&mut self, now: Now) {
        self.tell_time(now);
        self.broker.fire(now, self.limits.timers_per_turn);
        for _ in 0..self.limits.timers_per_turn {
            let Some(key) = self.wheel.expire(now.mono_ms) else { break };
            self.conn_due(key);
        }
        self.tell_troubles();
        self.refusals.report(now.mono_ms);
    }

    /// Has the log say what the broker had to refuse or to end since the last time.
    fn tell_troubles(&mut self) {
        self.refusals.compare(&self.broker.counters(), self.now.mono_ms);
    }

    /// Answers held connects that have something to say, as many as fit into a turn.
    pub fn flush(&mut self, now: Now) {
        self.tell_time(now);
        self.settle();
        for _ in 0..self.limits.deliveries_per_turn {
            self.answer.clear();
            let Some((link, ticket)) = self.broker.pull(&mut self.answer) else { break };
            let Some(key) = conn_key(link) else { continue };
            let env = env(&self.date, &self.site, self.now, self.life);
            let filled = self.conns.get_mut(key).is_some_and(|conn| conn.fill(ticket, &self.answer, env));
            debug_assert!(filled, "a session is held by a connection that does not wait for it");
            if !filled {
                self.broker.answered(ticket, link, now);
            }
            self.touch(key);
        }
    }

    /// The next connection to look at in this turn.
    pub fn next_dirty(&mut self) -> Option<ConnKey> {
        while let Some(key) = self.dirty.pop() {
            if let Some(conn) = self.conns.get_mut(key) {
                conn.listed = false;
                return Some(key);
            }
        }
        None
    }

    /// What is to be done with a connection; `Close` for one that does not exist.
    pub fn step(&self, key: ConnKey) -> Step {
        self.conns.get(key).map_or(Step::Close, Conn::step)
    }

    /// The next bytes to write to a connection, in as many slices as fit; how many slices.
    pub fn slices<'a>(&'a self, key: ConnKey, slices: &mut [IoSlice<'a>]) -> usize {
        self.conns.get(key).map_or(0, |conn| conn.slices(slices))
    }

    /// Whether a connection's socket is to be read now.
    pub fn wants_input(&self, key: ConnKey) -> bool {
        self.conns.get(key).is_some_and(|conn| conn.wants_input(&self.limits))
    }

    /// Whether an incomplete request has come on a connection; for tests of the loop.
    #[cfg(test)]
    pub(crate) fn has_received(&self, key: ConnKey) -> bool {
        self.conns.get(key).is_some_and(Conn::has_input)
    }

    /// When to be called next, in ms of the monotonic clock, and why; `None`: not before something happens.
    pub fn poll_timeout(&self) -> Option<(u64, Wake)> {
        if self.broker.has_ready() || !self.dirty.is_empty() {
            return Some((self.now.mono_ms, Wake::Work));
        }
        let own = [self.refusals.next_report(), self.end_of_patience()];
        let deadlines = [self.broker.next_deadline(), self.wheel.next_deadline()].into_iter().chain(own);
        deadlines.flatten().min().map(|at| (at, Wake::Timer))
    }

    /// Whether nothing is kept for anyone: what must hold once all connections and sessions have ended.
    pub fn is_at_rest(&self) -> bool {
        self.conns.is_empty() && self.wheel.is_empty() && self.broker.is_at_rest()
    }

    fn tell_time(&mut self, now: Now) {
        if now.unix_ms / 1_000 != self.now.unix_ms / 1_000 {
            self.date = HttpDate::from_unix_ms(now.unix_ms);
        }
        self.now = now;
    }

    /// Something about the connection has changed: it is looked at in this turn, and its timer is right.
    fn touch(&mut self, key: ConnKey) {
        // A connection that is to be closed takes no more events: its session keeps them for another one.
        if let Some(conn) = self.conns.get(key)
            && conn.step() == Step::Close
            && let Some(ticket) = conn.parked()
        {
            self.broker.detached(ticket, link(key), self.now);
        }
        if let Some(conn) = self.conns.get_mut(key)
            && !conn.listed
            && (conn.step() != Step::Wait)
        {
            conn.listed = true;
            self.dirty.push(key);
        }
        // What waits to be written is tried first: mostly the socket takes all of it, and no timer was needed.
        if self.step(key) != Step::Write {
            self.schedule(key);
        }
    }

    /// Sees to it that the connection's timer is not later than its deadline. An earlier one stays: when it fires, the
    /// deadline is looked at again. So traffic does not touch the wheel.
    fn schedule(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some(deadline) = conn.deadline(&self.limits) else { return };
        if let Some(timer) = conn.timer {
            if self.wheel.deadline(timer).is_some_and(|armed| armed <= deadline) {
                return;
            }
            self.wheel.cancel(timer);
        }
        conn.timer = Some(self.wheel.arm(deadline, key));
    }

    fn conn_due(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.timer = None;
        let due = conn.deadline(&self.limits).is_some_and(|deadline| deadline <= self.now.mono_ms);
        if due {
            let refusal = conn.timed_out(&self.limits, env(&self.date, &self.site, self.now, self.life));
            if let Some(refusal) = refusal {
                self.end_poll(key);
                self.fail(key, &refusal);
            }
        }
        self.touch(key);
    }

    /// Takes the requests out of what has come, one by one, as many as may be answered now.
    fn read(&mut self, key: ConnKey, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Input { mut tail, mut reader } = conn.take_input().map_or_else(Input::default, |input| *input);
        if !tail.is_empty() {
            tail.extend_from_slice(bytes);
        }
        let data = if tail.is_empty() { bytes } else { tail.as_slice() };
        let mut rest = data;
        let complete = loop {
            if !self.conns.get(key).is_some_and(|conn| conn.may_parse(&self.limits)) {
                // What has come of a request, if any has, is kept until the answers before it are written.
                break false;
            }
            match self.read_one(key, &mut reader, &mut rest) {
                Progress::HeadDone { .. } | Progress::Blank | Progress::InHead | Progress::InBody => break false,
                Progress::Nothing if rest.is_empty() => break true,
                Progress::Nothing => {}
            }
        };
        if complete {
            return;
        }
        let used = data.len() - rest.len();
        if tail.is_empty() {
            tail = rest.to_vec();
        } else {
            tail.drain(..used);
        }
        if let Some(conn) = self.conns.get_mut(key) {
            conn.keep_input(Box::new(Input { tail, reader }));
        }
    }

    /// Looks for one request at the front of `rest`, shortens `rest` by what is done with, and tells how far the next
    /// request has come: `Nothing` after a whole request or a fault.
    fn read_one(&mut self, key: ConnKey, reader: &mut Reader, rest: &mut &[u8]) -> Progress {
        let data = *rest;
        let next = guarded(|| reader.next(data, &self.limits));
        match next {
            Ok(Next::Whole { head, body, used }) => {
                *rest = data.get(used..).unwrap_or_default();
                self.request(key, &head, body);
                Progress::Nothing
            }
            Ok(Next::Assembled { head, body, used }) => {
                *rest = data.get(used..).unwrap_or_default();
                match guarded(|| Head::parse(&head, &self.limits)) {
                    Ok(head) => self.request(key, &head, &body),
                    Err(error) => self.fault(key, error),
                }
                Progress::Nothing
            }
            Ok(Next::More { used, progress }) => {
                *rest = data.get(used..).unwrap_or_default();
                if matches!(progress, Progress::HeadDone { .. }) {
                    self.end_poll(key);
                }
                if let Some(conn) = self.conns.get_mut(key) {
                    conn.progressed(progress, env(&self.date, &self.site, self.now, self.life));
                }
                progress
            }
            Err(error) => {
                *rest = &[];
                self.fault(key, error);
                Progress::Nothing
            }
        }
    }

    /// Bytes that are not HTTP: nothing after them can be trusted.
    fn fault(&mut self, key: ConnKey, error: HttpError) {
        let HttpError { status, reason } = error;
        self.end_poll(key);
        let kind = RefusalKind::of_fault(status);
        let refusal = Refusal { status, text: reason.to_owned(), allow: None, grant: Grant::SameOrigin, kind };
        self.fail(key, &refusal);
    }

    fn fail(&mut self, key: ConnKey, refusal: &Refusal) {
        let client = self.conns.get(key).and_then(Conn::peer);
        self.refusals.note(refusal, Who { client, path: None }, self.now.mono_ms);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.fail(refusal, env(&self.date, &self.site, self.now, self.life));
        }
    }

    /// A connection has one answer under way at a time: a parked poll gives way to whatever comes after it.
    fn end_poll(&mut self, key: ConnKey) {
        let Some(ticket) = self.conns.get(key).and_then(Conn::parked) else { return };
        self.answer.clear();
        let held = self.broker.answer_hold(ticket, link(key), &mut self.answer);
        let Some(conn) = self.conns.get_mut(key) else { return };
        let env = env(&self.date, &self.site, self.now, self.life);
        if held {
            conn.fill(ticket, &self.answer, env);
        } else {
            conn.abandon(ticket, env);
        }
    }

    /// One whole request.
    fn request(&mut self, key: ConnKey, head: &Head<'_>, body: &[u8]) {
        self.end_poll(key);
        let Some(conn) = self.conns.get_mut(key) else { return };
        let env = env(&self.date, &self.site, self.now, self.life);
        conn.request_taken(env);
        let refusal = match self.site.route(head, conn.peer()) {
            Route::Bayeux(to, form) => match decode(form, body, &self.limits) {
                Ok(texts) => return self.batch(key, head, to, &texts),
                Err(refusal) => Refusal { grant: to.grant, ..refusal },
            },
            Route::Preflight(grant) => return conn.answer_preflight(grant, head.persistence, env),
            Route::NoContent => return conn.answer_no_content(head.persistence, env),
            Route::Health { body } => return conn.answer_health(body, head.persistence, env),
            Route::Page(form) => match self.site.pages.find(head.path) {
                Some(page) => return conn.answer_page(page, form, head.persistence, env),
                None => return,
            },
            Route::Refuse(refusal) => refusal,
        };
        self.refusals.note(&refusal, who(&self.site, head, conn), self.now.mono_ms);
        conn.refuse(&refusal, head.method != Method::Head, head.persistence, env);
    }

    /// One batch of messages.
    fn batch(&mut self, key: ConnKey, head: &Head<'_>, to: ReplyTo, texts: &Texts<'_>) {
        let mut messages = Vec::new();
        for text in texts.iter() {
            let decoded = guarded_decode(|| bayeux::decode_into(&mut messages, text, &self.limits));
            if let Err(refusal) = decoded {
                let refusal = Refusal { grant: to.grant, ..refusal };
                if let Some(conn) = self.conns.get_mut(key) {
                    self.refusals.note(&refusal, who(&self.site, head, conn), self.now.mono_ms);
                    conn.refuse(&refusal, true, head.persistence, env(&self.date, &self.site, self.now, self.life));
                }
                return;
            }
        }
        self.act(key, head, to, &messages);
    }

    fn act(&mut self, key: ConnKey, head: &Head<'_>, to: ReplyTo, messages: &[Message<'_>]) {
        let request = Request {
            link: link(key),
            browser: Presented::from_cookie(cookie::find(head, BROWSER_COOKIE)),
            origin: Origin { head },
        };
        self.answer.clear();
        self.broker.receive(&request, messages, self.now, &mut self.answer);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.answer(&mut self.answer, to, head.persistence, env(&self.date, &self.site, self.now, self.life));
        }
        self.settle();
    }

    /// Ends the held connects that the broker says are over.
    fn settle(&mut self) {
        while let Some(ending) = self.broker.take_endings() {
            let Some(key) = conn_key(ending.link) else { continue };
            let Some(conn) = self.conns.get_mut(key) else { continue };
            let env = env(&self.date, &self.site, self.now, self.life);
            match ending.end {
                End::Superseded => {
                    conn.abandon(ending.ticket, env);
                }
                End::Closed(json) => {
                    self.answer.clear();
                    self.answer.replies.push(|out| out.extend_from_slice(&json));
                    conn.fill(ending.ticket, &self.answer, env);
                }
            }
            self.touch(key);
        }
    }

    /// Tells the sessions that are answered on this connection that no more of it will be written.
    fn tell_listeners(&mut self, key: ConnKey) {
        while let Some(ticket) = self.conns.get_mut(key).and_then(Conn::take_listener) {
            self.broker.answered(ticket, link(key), self.now);
        }
    }
}

fn env<'a>(date: &'a HttpDate, site: &'a Site, now: Now, life: Life) -> Env<'a> {
    Env { date, origins: &site.origins, now_ms: now.mono_ms, ending: life != Life::Serving }
}

/// Whose request it is, by what is known of the client behind a proxy.
fn who<'a>(site: &Site, head: &Head<'a>, conn: &Conn) -> Who<'a> {
    let client = Forwarded::from_head(head, conn.peer(), &site.proxies).client;
    Who { client, path: Some(head.path) }
}

fn link(key: ConnKey) -> Link {
    Link(key.to_bits())
}

fn conn_key(link: Link) -> Option<ConnKey> {
    ConnKey::from_bits(link.0)
}

/// Runs code that reads one peer's bytes: a mistake of ours there costs that peer its connection, and no one else.
fn guarded<T>(parse: impl FnOnce() -> Result<T, HttpError>) -> Result<T, HttpError> {
    catch_unwind(AssertUnwindSafe(parse)).unwrap_or_else(|_| {
        log::error!("a bug in encke: parsing a request panicked; its connection is closed");
        Err(HttpError::new(Status::InternalServerError, "an error in the server"))
    })
}

fn guarded_decode(decode: impl FnOnce() -> Result<(), bayeux::DecodeError>) -> Result<(), Refusal> {
    let decoded = guarded(|| Ok(decode()));
    let (status, text) = match decoded {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => match error.kind {
            DecodeErrorKind::BadRequest => (Status::BadRequest, error.reason),
            DecodeErrorKind::TooLarge => (Status::ContentTooLarge, error.reason),
        },
        Err(error) => (error.status, error.reason.to_owned()),
    };
    Err(Refusal { status, text, allow: None, grant: Grant::SameOrigin, kind: RefusalKind::Batch })
}

/// The JSON texts of a request body.
enum Texts<'a> {
    One(&'a [u8]),
    Many(Vec<std::borrow::Cow<'a, str>>),
}

impl Texts<'_> {
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let (one, many) = match self {
            Self::One(one) => (Some(*one), &[][..]),
            Self::Many(many) => (None, many.as_slice()),
        };
        one.into_iter().chain(many.iter().map(|text| text.as_bytes()))
    }
}

fn decode<'a>(form: BodyForm, body: &'a [u8], limits: &Limits) -> Result<Texts<'a>, Refusal> {
    let grant = Grant::SameOrigin;
    let refuse =
        |status, text: &str| Refusal { status, text: text.to_owned(), allow: None, grant, kind: RefusalKind::Batch };
    match form {
        BodyForm::Json => Ok(Texts::One(body)),
        BodyForm::Form => match guarded(|| form::fields(body, "message", limits)) {
            Ok(fields) if fields.is_empty() => Err(refuse(
                Status::BadRequest,
                "The form has no message field. JSON needs Content-Type: application/json",
            )),
            Ok(fields) => Ok(Texts::Many(fields)),
            Err(error) => Err(refuse(error.status, error.reason)),
        },
    }
}

#[cfg(test)]
mod tests;
