//! One connection's side of HTTP.
//!
//! Owns what a connection is in the middle of: a request that is not complete, an exchange that waits for its answer, bytes
//! that wait to be written, and which deadline applies. Must not know sessions: a ticket is a number to it.
//!
//! | phase | next | by |
//! |---|---|---|
//! | `Open` | `Last` | a request after which the connection is to close, while it waits for its answer |
//! | | `Parting` | the answer to such a request; bytes that are not HTTP, a request that is too large or too slow |
//! | | `Finishing` | the peer's end of sending |
//! | | `Dead` | idle too long, an answer that is not taken, a peer that is gone while a request waits |
//! | `Last` | `Parting` | the answer |
//! | | `Dead` | a peer that is gone |
//! | `Parting` | `Lingering` | everything is written and our side is shut |
//! | | `Finishing` | the peer's end of sending |
//! | `Lingering` | `Dead` | the peer's end, too much discarded, or time |
//! | `Finishing` | `Dead` | everything is written |
//!
//! What comes in after `Open` is discarded. Without the wait for the peer's end, unread bytes would make the kernel reset
//! the connection, and the last answer could be lost with it (RFC 9112 section 9.6).

pub mod reader;
pub mod route;

use core::net::IpAddr;
use std::io::IoSlice;

use crate::arena::Key;
use crate::chunk::Pending;
use crate::framing::Batch;
use crate::http::date::HttpDate;
use crate::http::origin::{Grant, OriginRule};
use crate::http::response::{self, Caching, Content, Cors, Persistence, ResponseHead, SetCookie, Status};
use crate::limits::{self, Limits};
use crate::pages::Page;
use crate::reply::{Answer, Ticket};
use crate::wheel::TimerKey;

use reader::{Progress, Reader};
use route::{PageForm, Refusal, ReplyTo};

/// Names one connection.
pub type ConnKey = Key<Conn>;

/// The name of the browser cookie.
pub const BROWSER_COOKIE: &str = "BAYEUX_BROWSER";

/// The type of short answers for people.
const TEXT: &str = "text/plain;charset=UTF-8";

/// What the owner of the socket is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until something happens.
    Wait,
    /// Write what is pending.
    Write,
    /// Shut the sending side; the receiving side is still read.
    ShutdownWrite,
    /// Close the socket.
    Close,
}

/// Where a connection stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Last,
    Parting,
    Finishing,
    Lingering { discarded: usize },
    Dead,
}

/// Which deadline applies to what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before the first request.
    New,
    /// Between requests.
    Idle,
    Head,
    Body,
}

/// What a connection waits for before it can answer a request.
#[derive(Debug)]
enum Exchange {
    /// Nothing.
    None,
    /// The one reply of the request: a held connect.
    Sole { ticket: Ticket, to: ReplyTo, persistence: Persistence },
    /// Some of several replies.
    Several(Box<Several>),
}

#[derive(Debug)]
struct Several {
    answer: Answer,
    to: ReplyTo,
    persistence: Persistence,
}

/// A request that is not complete.
#[derive(Debug, Default)]
pub struct Input {
    /// The bytes of it that are needed again.
    pub tail: Vec<u8>,
    /// How far it has come.
    pub reader: Reader,
}

/// Sessions that want to hear when all is written. Mostly there is one.
#[derive(Debug, Default)]
enum Listeners {
    #[default]
    None,
    One(Ticket),
    #[expect(clippy::box_collection, reason = "rare; keeps each connection 16 bytes smaller")]
    Many(Box<Vec<Ticket>>),
}

/// A connection.
#[derive(Debug)]
pub struct Conn {
    peer: Option<IpAddr>,
    phase: Phase,
    stage: Stage,
    /// Requests answered whose bytes are not all written.
    unwritten: u8,
    /// Whether it stands in the engine's list of connections to look at.
    pub listed: bool,
    input: Option<Box<Input>>,
    output: Pending,
    exchange: Exchange,
    listeners: Listeners,
    /// The armed timer; it may be early, never late.
    pub timer: Option<TimerKey<ConnKey>>,
    /// When the stage, or the lingering, began, ms.
    since_ms: u64,
    /// When writing last made progress, or had nothing to do, ms.
    progress_ms: u64,
}

/// What every answer needs to know beside its content.
#[derive(Clone, Copy, Debug)]
pub struct Env<'a> {
    /// The `Date` of the answer.
    pub date: &'a HttpDate,
    /// Turns a grant into header fields.
    pub origins: &'a OriginRule,
    /// ms.
    pub now_ms: u64,
    /// Whether the server is ending, so that no connection is to be used again.
    pub ending: bool,
}

impl Env<'_> {
    /// What becomes of a connection, where its request wishes this.
    fn settle(&self, wish: Persistence) -> Persistence {
        if self.ending { Persistence::Close } else { wish }
    }
}

impl Conn {
    /// A connection that has just been accepted from there; `None` for a Unix socket.
    pub fn new(peer: Option<IpAddr>, now_ms: u64) -> Self {
        Self {
            peer,
            phase: Phase::Open,
            stage: Stage::New,
            unwritten: 0,
            listed: false,
            input: None,
            output: Pending::default(),
            exchange: Exchange::None,
            listeners: Listeners::None,
            timer: None,
            since_ms: now_ms,
            progress_ms: now_ms,
        }
    }

    /// Where it comes from.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Bytes that wait to be written.
    pub fn pending(&self) -> usize {
        self.output.len()
    }

    /// The next bytes to write, in as many slices as fit; how many slices.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.output.slices(slices)
    }

    /// What the owner of the socket is to do.
    pub fn step(&self) -> Step {
        match self.phase {
            Phase::Dead => Step::Close,
            _ if !self.output.is_empty() => Step::Write,
            Phase::Open | Phase::Last | Phase::Lingering { .. } => Step::Wait,
            Phase::Finishing => Step::Close,
            Phase::Parting => Step::ShutdownWrite,
        }
    }

    /// Whether requests may be taken from what has been received.
    pub fn may_parse(&self, limits: &Limits) -> bool {
        self.phase == Phase::Open
            && self.unwritten < limits.pipelined_requests
            && self.output.len() < limits.output_bytes
            && !matches!(self.exchange, Exchange::Several(_))
    }

    /// Whether the socket is to be read.
    pub fn wants_input(&self, limits: &Limits) -> bool {
        match self.phase {
            Phase::Open => self.may_parse(limits),
            Phase::Last | Phase::Parting | Phase::Lingering { .. } => true,
            Phase::Finishing | Phase::Dead => false,
        }
    }

    /// Whether bytes have been received that no request was looked for in yet.
    pub fn has_input(&self) -> bool {
        self.input.is_some()
    }

    /// Takes what is kept of an incomplete request.
    pub fn take_input(&mut self) -> Option<Box<Input>> {
        self.input.take()
    }

    /// Keeps what is not complete.
    pub fn keep_input(&mut self, input: Box<Input>) {
        if self.phase == Phase::Open {
            self.input = Some(input);
        }
    }

    /// Notes how far the request under way has come.
    pub fn progressed(&mut self, progress: Progress, env: Env<'_>) {
        let stage = match progress {
            Progress::Nothing | Progress::Blank if self.stage == Stage::New => Stage::New,
            Progress::Nothing | Progress::Blank => Stage::Idle,
            Progress::InHead => Stage::Head,
            Progress::HeadDone { .. } | Progress::InBody => Stage::Body,
        };
        if self.stage != stage {
            self.stage = stage;
            self.since_ms = env.now_ms;
        }
        if progress == (Progress::HeadDone { expects_continue: true }) {
            self.begin_output(env);
            self.output.buffer().extend_from_slice(response::CONTINUE);
        }
    }

    /// A whole request has been taken; the next one has not begun.
    pub fn request_taken(&mut self, env: Env<'_>) {
        self.stage = Stage::Idle;
        self.since_ms = env.now_ms;
    }

    /// Discards what comes after an error; the phase ends when it is too much.
    pub fn discard(&mut self, bytes: usize) {
        if let Phase::Lingering { discarded } = &mut self.phase {
            *discarded = discarded.saturating_add(bytes);
            if *discarded > limits::LINGER_BYTES {
                self.phase = Phase::Dead;
            }
        }
    }

    /// Answers a request, or keeps it open for the replies that wait.
    pub fn answer(&mut self, answer: &mut Answer, to: ReplyTo, persistence: Persistence, env: Env<'_>) {
        if answer.replies.is_ready() {
            return self.write_answer(answer, to, persistence, env);
        }
        if persistence == Persistence::Close && self.phase == Phase::Open {
            self.phase = Phase::Last;
            self.input = None;
        }
        self.exchange = match answer.replies.sole_ticket() {
            Some(ticket) if answer.events.is_empty() => Exchange::Sole { ticket, to, persistence },
            _ => Exchange::Several(Box::new(Several { answer: core::mem::take(answer), to, persistence })),
        };
    }

    /// The ticket that a held connect waits with.
    pub fn parked(&self) -> Option<Ticket> {
        match &self.exchange {
            Exchange::Sole { ticket, .. } => Some(*ticket),
            Exchange::None | Exchange::Several(_) => None,
        }
    }

    /// Whether a request waits for its answer.
    pub fn is_waiting(&self) -> bool {
        !matches!(self.exchange, Exchange::None)
    }

    /// What the request waited for has come; answers it if nothing else is missing. Whether it waited for this ticket.
    pub fn fill(&mut self, ticket: Ticket, come: &Answer, env: Env<'_>) -> bool {
        match &mut self.exchange {
            Exchange::Sole { ticket: own, to, persistence } if *own == ticket => {
                let (to, persistence) = (*to, *persistence);
                self.exchange = Exchange::None;
                self.write_answer(come, to, persistence, env);
                true
            }
            Exchange::Several(several) if several.answer.replies.waits_for(ticket) => {
                several.answer.events.extend(come.events.iter().cloned());
                several.answer.answered.extend(&come.answered);
                let json: Vec<u8> = come.replies.ready().flatten().copied().collect();
                several.answer.replies.fill(ticket, &json);
                if several.answer.replies.is_ready()
                    && let Exchange::Several(several) = core::mem::replace(&mut self.exchange, Exchange::None)
                {
                    self.write_answer(&several.answer, several.to, several.persistence, env);
                }
                true
            }
            Exchange::None | Exchange::Sole { .. } | Exchange::Several(_) => false,
        }
    }

    /// The request will not get its answer: HTTP 500 without a body. Whether it waited for this ticket.
    pub fn abandon(&mut self, ticket: Ticket, env: Env<'_>) -> bool {
        match self.exchange {
            Exchange::Sole { ticket: own, to, persistence } if own == ticket => {
                self.exchange = Exchange::None;
                self.write_bare(Status::InternalServerError, to.grant, persistence, env);
                true
            }
            _ => false,
        }
    }

    fn write_answer(&mut self, answer: &Answer, to: ReplyTo, persistence: Persistence, env: Env<'_>) {
        let persistence = env.settle(persistence);
        let batch = Batch { events: &answer.events, replies: &answer.replies };
        let cookie = answer.cookie.as_deref().and_then(|value| SetCookie::new(BROWSER_COOKIE, value, to.secure));
        let head = ResponseHead {
            status: Status::Ok,
            persistence,
            date: env.date,
            content: Some(Content::sized(to.wire.media_type(), batch.len(to.wire))),
            cors: env.origins.cors(to.grant),
            set_cookie: cookie,
            allow: None,
            caching: Caching::NoStore,
        };
        self.begin_output(env);
        head.write(self.output.buffer());
        batch.write(to.wire, &mut self.output);
        for ticket in &answer.answered {
            self.listen(*ticket);
        }
        self.written_out(persistence, env);
    }

    fn listen(&mut self, ticket: Ticket) {
        self.listeners = match core::mem::take(&mut self.listeners) {
            Listeners::None => Listeners::One(ticket),
            Listeners::One(first) => Listeners::Many(Box::new(vec![first, ticket])),
            Listeners::Many(mut many) => {
                many.push(ticket);
                Listeners::Many(many)
            }
        };
    }

    /// The sessions that wanted to hear that all is written; to be asked when it is, or never will be.
    pub fn take_listener(&mut self) -> Option<Ticket> {
        match &mut self.listeners {
            Listeners::None => None,
            Listeners::One(ticket) => {
                let ticket = *ticket;
                self.listeners = Listeners::None;
                Some(ticket)
            }
            Listeners::Many(many) => {
                let ticket = many.pop();
                if many.is_empty() {
                    self.listeners = Listeners::None;
                }
                ticket
            }
        }
    }

    /// A response without a body.
    fn write_bare(&mut self, status: Status, grant: Grant, persistence: Persistence, env: Env<'_>) {
        let persistence = env.settle(persistence);
        let head = ResponseHead {
            status,
            persistence,
            date: env.date,
            content: None,
            cors: env.origins.cors(grant),
            set_cookie: None,
            allow: None,
            caching: Caching::NoStore,
        };
        self.begin_output(env);
        head.write(self.output.buffer());
        self.written_out(persistence, env);
    }

    /// Answers a health check or an `OPTIONS` outside the endpoint.
    pub fn answer_no_content(&mut self, persistence: Persistence, env: Env<'_>) {
        self.write_bare(Status::NoContent, Grant::SameOrigin, persistence, env);
    }

    /// Answers a CORS preflight.
    pub fn answer_preflight(&mut self, grant: Grant, persistence: Persistence, env: Env<'_>) {
        let persistence = env.settle(persistence);
        self.begin_output(env);
        response::preflight(self.output.buffer(), persistence, env.date, env.origins.cors(grant));
        self.written_out(persistence, env);
    }

    /// Answers whether the server takes requests: 200, or 503 while it is ending.
    pub fn answer_health(&mut self, body: bool, persistence: Persistence, env: Env<'_>) {
        let (status, text) = if env.ending { (Status::ServiceUnavailable, "ending\n") } else { (Status::Ok, "ok\n") };
        let head = ResponseHead {
            status,
            persistence: env.settle(persistence),
            date: env.date,
            content: Some(Content::sized(TEXT, text.len())),
            cors: Cors::None,
            set_cookie: None,
            allow: None,
            caching: Caching::NoStore,
        };
        self.write_whole(&head, if body { text.as_bytes() } else { b"" }, env);
    }

    /// Answers with a file of the server's own.
    pub fn answer_page(&mut self, page: &Page, form: PageForm, persistence: Persistence, env: Env<'_>) {
        let content = Content { policy: page.policy, ..Content::sized(page.media_type, page.body.len()) };
        let (status, body) = match form {
            PageForm::Whole => (Status::Ok, &*page.body),
            PageForm::Head => (Status::Ok, &[][..]),
            PageForm::Known => (Status::NotModified, &[][..]),
        };
        let head = ResponseHead {
            status,
            persistence: env.settle(persistence),
            date: env.date,
            content: Some(content),
            cors: if page.shared { Cors::Any } else { Cors::None },
            set_cookie: None,
            allow: None,
            caching: Caching::Revalidate(page.tag),
        };
        self.write_whole(&head, body, env);
    }

    fn write_whole(&mut self, head: &ResponseHead<'_>, body: &[u8], env: Env<'_>) {
        self.begin_output(env);
        let out = self.output.buffer();
        head.write(out);
        out.extend_from_slice(body);
        self.written_out(head.persistence, env);
    }

    /// Refuses a request; the connection goes on. A `HEAD` gets no body.
    pub fn refuse(&mut self, refusal: &Refusal, body: bool, persistence: Persistence, env: Env<'_>) {
        let text = format!("{}\n", refusal.text);
        let head = ResponseHead {
            status: refusal.status,
            persistence: env.settle(persistence),
            date: env.date,
            content: Some(Content::sized(TEXT, text.len())),
            cors: env.origins.cors(refusal.grant),
            set_cookie: None,
            allow: refusal.allow,
            caching: Caching::NoStore,
        };
        self.write_whole(&head, if body { text.as_bytes() } else { b"" }, env);
    }

    /// Answers a fault after which nothing of the connection can be trusted: answer, shut, discard, close.
    pub fn fail(&mut self, refusal: &Refusal, env: Env<'_>) {
        self.input = None;
        self.refuse(refusal, true, Persistence::Close, env);
    }

    /// Bytes are about to be appended: the time in which the peer must take some of them begins, unless it runs.
    fn begin_output(&mut self, env: Env<'_>) {
        if self.output.is_empty() {
            self.progress_ms = env.now_ms;
        }
    }

    fn written_out(&mut self, persistence: Persistence, env: Env<'_>) {
        self.unwritten = self.unwritten.saturating_add(1);
        if self.is_between() {
            self.since_ms = env.now_ms;
        }
        if persistence == Persistence::Close && matches!(self.phase, Phase::Open | Phase::Last) {
            self.phase = Phase::Parting;
            self.input = None;
        }
    }

    /// The socket took so many bytes; whether all are written now.
    pub fn sent(&mut self, n: usize, env: Env<'_>) -> bool {
        self.output.advance(n);
        if n > 0 {
            self.progress_ms = env.now_ms;
        }
        let all = self.output.is_empty();
        if all {
            self.unwritten = 0;
            if self.is_between() {
                self.since_ms = env.now_ms;
            }
        }
        all
    }

    /// Our side of the socket has been shut after an error.
    pub fn write_shut(&mut self, env: Env<'_>) {
        self.phase = Phase::Lingering { discarded: 0 };
        self.since_ms = env.now_ms;
    }

    /// The peer will send no more. With a request waiting that means it is gone; else it gets what is still to be written.
    pub fn peer_closed(&mut self) {
        self.phase = match self.phase {
            Phase::Open | Phase::Parting | Phase::Finishing if !self.is_waiting() => Phase::Finishing,
            _ => Phase::Dead,
        };
        self.input = None;
    }

    /// Closes the connection without another byte.
    pub fn kill(&mut self) {
        self.phase = Phase::Dead;
        self.output.clear();
        self.input = None;
    }

    /// Whether a request or an answer is under way on it.
    pub fn is_unfinished(&self) -> bool {
        !self.is_between() || self.is_waiting() || !self.output.is_empty()
    }

    /// Whether no part of a request has come.
    fn is_between(&self) -> bool {
        matches!(self.stage, Stage::New | Stage::Idle)
    }

    /// Whether it has not had a request yet: the first may be on its way.
    pub fn is_new(&self) -> bool {
        self.stage == Stage::New
    }

    /// Whether nothing is under way on it, a parting included.
    pub fn is_quiet(&self) -> bool {
        self.phase == Phase::Open && !self.is_unfinished()
    }

    /// When [`Conn::timed_out`] is due, ms. Nothing is due while a poll is parked.
    pub fn deadline(&self, limits: &Limits) -> Option<u64> {
        let writing = (!self.output.is_empty()).then(|| self.progress_ms.saturating_add(limits.write_ms));
        let reading = match (self.phase, self.stage) {
            (Phase::Dead | Phase::Finishing | Phase::Parting | Phase::Last, _) => None,
            (Phase::Lingering { .. }, _) => Some(limits.linger_ms),
            (Phase::Open, _) if !self.may_parse(limits) => None,
            (Phase::Open, Stage::Head) => Some(limits.head_ms),
            (Phase::Open, Stage::Body) => Some(limits.body_ms),
            (Phase::Open, Stage::New | Stage::Idle) => {
                (!self.is_waiting() && self.output.is_empty()).then_some(limits.idle_ms)
            }
        };
        let reading = reading.map(|ms| self.since_ms.saturating_add(ms));
        match (writing, reading) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// A deadline has passed: what to answer, if the peer deserves one. Otherwise the connection is dead.
    pub fn timed_out(&mut self, limits: &Limits, env: Env<'_>) -> Option<Refusal> {
        let stuck = !self.output.is_empty() && self.progress_ms.saturating_add(limits.write_ms) <= env.now_ms;
        let slow = self.phase == Phase::Open && !self.is_between();
        if slow && !stuck {
            return Some(Refusal {
                status: Status::RequestTimeout,
                text: "The request did not arrive in time".to_owned(),
                allow: None,
                grant: Grant::SameOrigin,
                kind: route::RefusalKind::Timeout,
            });
        }
        self.kill();
        None
    }

    /// The replies kept for a request that waits for several; for tests.
    #[cfg(test)]
    fn open_replies(&self) -> Option<&crate::reply::Replies> {
        match &self.exchange {
            Exchange::Several(several) => Some(&several.answer.replies),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
