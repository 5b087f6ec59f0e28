//! The answers to requests, as HTTP responses.
//!
//! Owns when an exchange is over and what its response says. How a batch looks within is `framing`'s.

use crate::bayeux::encode;
use crate::chunk::Common;
use crate::framing::{Batch, Opening, Wire};
use crate::hooks::WebResponse;
use crate::http::coding::Coding;
use crate::http::origin::Grant;
use crate::http::response::{self, Caching, Content, Cors, Length, Persistence, ResponseHead, SetCookie, Status};
use crate::pages::{File, Page};
use crate::reply::{Answer, Ticket};

use super::route::{PageForm, Refusal, ReplyTo};
use super::{BROWSER_COOKIE, Conn, Deferred, Env, Exchange, Phase};

/// The type of short answers for people.
const TEXT: &str = "text/plain;charset=UTF-8";

impl Conn {
    /// Answers a request, or keeps it open for the reply that waits, or for the whole answer.
    pub fn answer(&mut self, answer: &Answer, to: ReplyTo, persistence: Persistence, env: Env<'_>) {
        if let Some(id) = answer.deferred {
            self.wait(persistence);
            self.exchange = Exchange::Deferred(Box::new(Deferred { id, to, persistence }));
            return;
        }
        match answer.replies.sole_ticket() {
            Some(ticket) if to.wire.is_stream() => {
                let opening = Opening { probe: answer.probe, cursor: None };
                self.open_stream(ticket, opening, (to, persistence), env);
            }
            Some(ticket) => self.park(ticket, to, persistence),
            None => self.write_answer(answer, &to, persistence, env),
        }
    }

    /// The answer has come to a batch that had to wait; whether it is waited for here.
    pub fn answer_late(&mut self, id: u64, answer: &Answer, env: Env<'_>) -> bool {
        match core::mem::replace(&mut self.exchange, Exchange::None) {
            Exchange::Deferred(deferred) if deferred.id == id => {
                self.write_answer(answer, &deferred.to, deferred.persistence, env);
                true
            }
            other => {
                self.exchange = other;
                false
            }
        }
    }

    /// Keeps a request open for its one reply.
    pub fn park(&mut self, ticket: Ticket, to: ReplyTo, persistence: Persistence) {
        self.wait(persistence);
        self.exchange = Exchange::Sole { ticket, to, persistence };
    }

    /// A request is about to wait; if it is the last one, nothing is read after it.
    pub(super) fn wait(&mut self, persistence: Persistence) {
        if persistence == Persistence::Close && self.phase == Phase::Open {
            self.phase = Phase::Last;
            self.input = None;
        }
    }

    /// What the request, or a session of this connection, waited for has come. Whether anything waits with this ticket.
    pub fn fill(&mut self, ticket: Ticket, come: &Answer, env: Env<'_>) -> bool {
        match core::mem::replace(&mut self.exchange, Exchange::None) {
            Exchange::Sole { ticket: own, to, persistence } if own == ticket => {
                self.write_answer(come, &to, persistence, env);
                true
            }
            Exchange::Stream(stream) if stream.ticket == ticket => {
                self.write_stream(stream, come, env);
                true
            }
            Exchange::Socket(socket) => {
                let known = socket.tickets.as_slice().contains(&ticket);
                self.exchange = Exchange::Socket(socket);
                if known {
                    self.write_frames(come, env);
                }
                known
            }
            other => {
                self.exchange = other;
                false
            }
        }
    }

    /// The request will not get its answer: HTTP 500 without a body, or the end of a stream. A WebSocket serves that
    /// session no longer.
    pub fn abandon(&mut self, ticket: Ticket, env: Env<'_>) {
        match core::mem::replace(&mut self.exchange, Exchange::None) {
            Exchange::Sole { ticket: own, to, persistence } if own == ticket => {
                self.write_bare(Status::InternalServerError, to.grant, persistence, env);
            }
            Exchange::Stream(stream) if stream.ticket == ticket => self.end_stream(*stream, env),
            socket @ Exchange::Socket(_) => {
                self.exchange = socket;
                self.leave(ticket, false, env);
            }
            other => self.exchange = other,
        }
    }

    /// What waits on this connection is over, and whose it was cannot be told in Bayeux: HTTP 503, or the end of a stream.
    pub fn give_up(&mut self, ticket: Ticket, env: Env<'_>) {
        match core::mem::replace(&mut self.exchange, Exchange::None) {
            Exchange::Sole { ticket: own, to, persistence } if own == ticket => {
                self.refuse(&Refusal::overflowed(to.grant), true, persistence, env);
            }
            other => {
                self.exchange = other;
                self.abandon(ticket, env);
            }
        }
    }

    fn write_answer(&mut self, answer: &Answer, to: &ReplyTo, persistence: Persistence, env: Env<'_>) {
        let persistence = env.settle(persistence);
        let batch = Batch { gap: answer.gap.as_ref(), events: &answer.events, replies: &answer.replies };
        let cookie = answer.cookie.as_deref().and_then(|value| SetCookie::new(BROWSER_COOKIE, value, to.secure));
        let opening = if to.wire.is_stream() { to.wire.opening(Opening::default()) } else { Vec::new() };
        let bytes = opening.len().saturating_add(batch.len(&to.wire));
        let head = ResponseHead { set_cookie: cookie, ..batch_head(to, Length::Known(bytes), persistence, env) };
        self.begin_output(env);
        self.output.reserve(response::USUAL_HEAD_BYTES.saturating_add(bytes));
        let out = self.output.buffer();
        head.write(out);
        out.extend_from_slice(&opening);
        batch.write(&to.wire, &mut self.output);
        for ticket in &answer.answered {
            self.listeners.push(*ticket);
        }
        self.written_out(persistence, env);
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

    /// Answers that an event has been published to this channel.
    pub fn answer_published(
        &mut self,
        (channel, id): (&str, Option<u64>),
        grant: Grant,
        persistence: Persistence,
        env: Env<'_>,
    ) {
        let mut body = b"{\"successful\":true,\"channel\":".to_vec();
        encode::string(&mut body, channel);
        if let Some(id) = id {
            body.extend_from_slice(b",\"id\":");
            encode::decimal(&mut body, id);
        }
        body.extend_from_slice(b"}\n");
        let head = ResponseHead {
            status: Status::Ok,
            persistence: env.settle(persistence),
            date: env.date,
            content: Some(Content::sized(Wire::Json.media_type(), body.len())),
            cors: env.origins.cors(grant),
            set_cookie: None,
            allow: None,
            caching: Caching::NoStore,
        };
        self.write_whole(&head, &body, env);
    }

    /// Answers with what the embedder's program has made.
    pub fn answer_foreign(&mut self, answer: &WebResponse, with_body: bool, persistence: Persistence, env: Env<'_>) {
        let persistence = env.settle(persistence);
        let no_store = (!answer.is_cached_its_way()).then_some(("Cache-Control", "no-store"));
        let own = answer.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let (content, how) = ((answer.content_type.as_str(), answer.body.len()), (persistence, env.date));
        self.begin_output(env);
        let out = self.output.buffer();
        if response::foreign(out, answer.status, content, no_store.into_iter().chain(own), how) && with_body {
            out.extend_from_slice(&answer.body);
        }
        self.written_out(persistence, env);
    }

    /// Answers with a file of the server's own.
    pub fn answer_page(&mut self, page: Page<'_>, form: PageForm, persistence: Persistence, env: Env<'_>) {
        let (status, (file, coding)) = match form {
            PageForm::Whole(wanted) | PageForm::Head(wanted) => (Status::Ok, page.bytes(wanted)),
            PageForm::Known => (Status::NotModified, (Common::Built(&[]), Coding::Identity)),
        };
        let File { media_type, policy, shared, .. } = *page.file;
        let content = Content { policy, coding, ..Content::sized(media_type, file.bytes().len()) };
        let head = ResponseHead {
            status,
            persistence: env.settle(persistence),
            date: env.date,
            content: Some(content),
            cors: if shared { Cors::Any } else { Cors::None },
            set_cookie: None,
            allow: None,
            caching: Caching::Revalidate(page.tag()),
        };
        self.begin_output(env);
        head.write(self.output.buffer());
        if let PageForm::Whole(_) = form {
            self.output.push_common(file);
        }
        self.written_out(head.persistence, env);
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
}

/// The head of a response that carries batches.
pub(super) fn batch_head<'a>(to: &ReplyTo, length: Length, persistence: Persistence, env: Env<'a>) -> ResponseHead<'a> {
    let wire = &to.wire;
    let content = Content { disposition: wire.disposition(), ..Content::new(wire.media_type(), length) };
    ResponseHead {
        status: Status::Ok,
        persistence,
        date: env.date,
        content: Some(content),
        cors: env.origins.cors(to.grant),
        set_cookie: None,
        allow: None,
        caching: Caching::NoStore,
    }
}
