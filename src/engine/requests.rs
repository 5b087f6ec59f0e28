//! From bytes to requests, and from requests to what the broker does about them.
//!
//! Owns the way of one request through the engine. A mistake in reading one peer's bytes costs that peer its connection.

use core::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::bayeux::{self, DecodeErrorKind, Kind, Message, Meta};
use crate::broker::browser::Presented;
use crate::broker::replay::Since;
use crate::broker::{PublishError, Request, StreamError, Wish};
use crate::clock::Now;
use crate::conn::reader::{Next, Progress, Reader};
use crate::conn::route::{BodyForm, Refusal, RefusalKind, ReplyTo, Route};
use crate::conn::{BROWSER_COOKIE, Conn, ConnKey, Input, Pause};
use crate::framing::{self, Opening, Wire};
use crate::hooks::{Origin, WebRequest};
use crate::http::head::{Head, Method};
use crate::http::origin::Grant;
use crate::http::response::Status;
use crate::http::{HttpError, cookie, form};
use crate::limits::Limits;
use crate::refusals::Who;
use crate::reply::Way;

use super::{Engine, link, who};

impl Engine {
    /// Something has come that is to be read in another turn: until then its peer is waited for no longer.
    pub fn read_waits(&mut self, key: ConnKey, now: Now) {
        self.terms.tell_time(now);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.await_read(&self.limits, self.terms.env(&self.limits));
        }
    }

    /// That turn has come.
    pub fn read_resumed(&mut self, key: ConnKey, now: Now) {
        self.terms.tell_time(now);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.resume(Pause::Read, &self.limits, self.terms.env(&self.limits));
        }
        self.schedule(key);
    }

    /// Takes the requests out of what has come, one by one, as many as may be answered now.
    pub(super) fn read(&mut self, key: ConnKey, bytes: &[u8]) {
        if self.is_socket(key) {
            return self.read_frames(key, bytes);
        }
        let Some(conn) = self.conns.get_mut(key) else { return };
        let (mut tail, mut reader) = match conn.take_input().map(|input| *input) {
            Some(Input::Request { tail, reader }) => (tail, reader),
            Some(Input::Frames { .. }) | None => (Vec::new(), Reader::default()),
        };
        if !tail.is_empty() {
            tail.extend_from_slice(bytes);
        }
        let data = if tail.is_empty() { bytes } else { tail.as_slice() };
        let mut rest = data;
        let mut pause;
        let complete = loop {
            if self.is_socket(key) {
                // What stands behind the request that made it one is frames.
                let frames = rest.to_vec();
                return self.read_frames(key, &frames);
            }
            pause = self.pause(key, rest);
            if pause != Pause::No
                || !self.conns.get(key).is_some_and(|conn| conn.may_parse(&self.limits, self.terms.env(&self.limits)))
            {
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
        let used = data.len().saturating_sub(rest.len());
        if tail.is_empty() {
            tail = rest.to_vec();
        } else {
            tail.drain(..used.min(tail.len()));
        }
        if let Some(conn) = self.conns.get_mut(key) {
            let input = Box::new(Input::Request { tail, reader });
            conn.keep_input(input, pause, &self.limits, self.terms.env(&self.limits));
        }
    }

    /// What the next request, or message, of a connection has to wait for, if it has begun. Who has to wait for the next turn
    /// is looked at then.
    pub(super) fn pause(&mut self, key: ConnKey, rest: &[u8]) -> Pause {
        let Some(conn) = self.conns.get(key).filter(|_| !rest.is_empty()) else { return Pause::No };
        if !conn.may_parse(&self.limits, self.terms.env(&self.limits)) {
            // What has come is kept until the answers before it are written: few bytes may ask for many.
            return Pause::Output;
        }
        if !self.is_spent() {
            return Pause::No;
        }
        self.unread.push(key);
        Pause::Turn
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
                if matches!(progress, Progress::HeadDone { .. }) && !self.make_way(key) {
                    *rest = &[];
                    return Progress::Nothing;
                }
                if let Some(conn) = self.conns.get_mut(key) {
                    conn.progressed(progress, self.terms.env(&self.limits));
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
        if !self.make_way(key) {
            return;
        }
        self.fail(key, &Refusal::of_fault(error, &self.limits));
    }

    pub(super) fn fail(&mut self, key: ConnKey, refusal: &Refusal) {
        let client = self.conns.get(key).and_then(|conn| conn.peer().address);
        self.refusals.note(refusal, Who { client, path: None }, self.terms.now.mono_ms);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.fail(refusal, self.terms.env(&self.limits));
        }
        self.broker.forget_link(link(key));
    }

    /// Ends what is held for the sake of what comes after it. Whether that is still to be done: if the server is ending, the
    /// answer was the connection's last, and what stands behind it must not have an effect (RFC 9112 section 9.6).
    pub(super) fn make_way(&mut self, key: ConnKey) -> bool {
        self.end_poll(key);
        self.conns.get(key).is_some_and(Conn::is_open)
    }

    /// A connection has one answer under way at a time: a parked poll gives way to whatever comes after it.
    pub(super) fn end_poll(&mut self, key: ConnKey) {
        let Some(ticket) = self.conns.get(key).and_then(Conn::parked) else { return };
        self.answer.clear();
        let held = self.broker.answer_hold(ticket, link(key), &mut self.answer);
        if !held {
            self.broker.detached(ticket, link(key), self.terms.now);
        }
        let Some(conn) = self.conns.get_mut(key) else { return };
        let env = self.terms.env(&self.limits);
        if held {
            conn.fill(ticket, &self.answer, env);
        } else {
            conn.abandon(ticket, env);
        }
    }

    /// One whole request.
    fn request(&mut self, key: ConnKey, head: &Head<'_>, body: &[u8]) {
        if !self.make_way(key) {
            return;
        }
        let Some(conn) = self.conns.get_mut(key) else { return };
        let env = self.terms.env(&self.limits);
        conn.request_taken(env);
        let route = self.terms.site.route(head, conn.peer(), self.broker.transports());
        let refused = match route {
            Route::Bayeux(to, form) => {
                let grant = to.grant;
                let decoded = decode(form, head, body, &self.limits);
                decoded.map(|texts| self.batch(key, head, to, &texts)).map_err(|refusal| Refusal { grant, ..refusal })
            }
            Route::Upgrade(accepted) => {
                self.upgrade(key, head, &accepted);
                Ok(())
            }
            Route::Attach(to, client_id) => self.attach(key, head, to, &client_id),
            Route::Listen(to, pattern, since) => {
                let since = since.and_then(Since::from_number);
                self.listen(key, head, to, (&pattern, since))
            }
            Route::Publish(to, channel) => self.publish(key, head, (to, &channel), body),
            Route::Preflight(grant) => {
                conn.answer_preflight(grant, head.persistence, env);
                Ok(())
            }
            Route::NoContent => {
                conn.answer_no_content(head.persistence, env);
                Ok(())
            }
            Route::Health { body } => {
                conn.answer_health(body, head.persistence, env);
                Ok(())
            }
            Route::Page(form) => {
                if let Some(page) = self.terms.site.pages.find(head.path) {
                    conn.answer_page(page, form, head.persistence, env);
                }
                Ok(())
            }
            Route::Elsewhere => self.elsewhere(key, head, body),
            Route::Refuse(refusal) => Err(refusal),
        };
        if let Err(refusal) = refused {
            self.refuse(key, head, &refusal);
        }
    }

    /// Answers what the embedder's program knows an answer to.
    fn elsewhere(&mut self, key: ConnKey, head: &Head<'_>, body: &[u8]) -> Result<(), Refusal> {
        let Some(conn) = self.conns.get(key) else { return Ok(()) };
        let request = WebRequest { head, body, address: who(&self.terms.site, head, conn).client };
        let answer = self.broker.fall_back(&request, self.terms.now).ok_or_else(|| self.terms.site.nothing())?;
        let room = self.limits.half_of_queued().saturating_sub(self.unsent.bytes());
        if answer.body.len() > room {
            self.settle();
            return Err(Refusal::too_much_waits());
        }
        if let Some(conn) = self.conns.get_mut(key) {
            let env = self.terms.env(&self.limits);
            conn.answer_foreign(&answer, head.method != Method::Head, head.persistence, env);
            // At once: what is made ready in one turn must not be counted in the next.
            let weight = conn.pending_weight();
            self.unsent.set(key, weight);
            self.pace();
        }
        self.settle();
        Ok(())
    }

    fn refuse(&mut self, key: ConnKey, head: &Head<'_>, refusal: &Refusal) {
        if let Some(conn) = self.conns.get_mut(key) {
            self.refusals.note(refusal, who(&self.terms.site, head, conn), self.terms.now.mono_ms);
            let env = self.terms.env(&self.limits);
            conn.refuse(refusal, head.method != Method::Head, head.persistence, env);
        }
    }

    /// One batch of messages.
    fn batch(&mut self, key: ConnKey, head: &Head<'_>, to: ReplyTo, texts: &Texts<'_>) {
        // Most requests have one.
        let mut messages = Vec::with_capacity(1);
        for text in texts.iter() {
            let decoded = guarded_decode(|| bayeux::decode_into(&mut messages, text, &self.limits));
            if let Err(refusal) = decoded {
                return self.refuse(key, head, &Refusal { grant: to.grant, ..refusal });
            }
        }
        self.act(key, head, to, &messages);
    }

    fn request_from<'a>(&self, key: ConnKey, head: &'a Head<'a>, way: Way) -> Request<'a> {
        let browser = Presented::from_cookie(cookie::find(head, BROWSER_COOKIE));
        let wanted = self.broker.wants_address();
        let conn = self.conns.get(key).filter(|_| wanted);
        let address = conn.and_then(|conn| who(&self.terms.site, head, conn).client);
        let origin = Origin { head: Some(head), address, local: false };
        Request { link: link(key), way, client: None, browser, origin, insider: None }
    }

    /// The address that a handshake is counted for: what a trusted proxy says it is, or the connection's own, unless it is
    /// this machine's.
    pub(super) fn counted(&self, key: ConnKey, head: &Head<'_>) -> Option<IpAddr> {
        let client = who(&self.terms.site, head, self.conns.get(key)?).client;
        // A client can have a proxy pass on that it is this machine.
        let direct = head.header("x-forwarded-for").is_none();
        client.filter(|address| !(direct && address.to_canonical().is_loopback()))
    }

    /// How the events of a session are to go whose connect is in the batch, and in which form the answer goes then.
    fn way(&self, key: ConnKey, head: &Head<'_>, to: &mut ReplyTo, messages: &[Message<'_>]) -> Way {
        let is_connect = |message: &&Message<'_>| message.kind() == Some(Kind::Meta(Meta::Connect));
        let named = messages.iter().find(is_connect).and_then(|message| message.connection_type.as_deref());
        let peer = self.conns.get(key).map(Conn::peer).unwrap_or_default();
        let offered = |name: &str| {
            let to_all = self.broker.transports();
            to_all.contains(&name) || self.terms.site.offered(head, peer, to_all).contains(&name)
        };
        let hold_ms = u32::try_from(self.limits.stream_ms).unwrap_or(u32::MAX);
        let stream = Way::Stream { hold_ms, confirm_ms: self.limits.confirm_ms };
        match (&to.wire, named) {
            (Wire::Script(_), _) => stream,
            (_, Some(name)) if framing::TRANSPORTS.contains(&name) && !offered(name) => Way::Refused,
            (Wire::Json, Some("streaming")) => {
                to.wire = Wire::Lines;
                stream
            }
            (Wire::Json, Some("eventsource")) => Way::Aside,
            _ => Way::Answer,
        }
    }

    fn act(&mut self, key: ConnKey, head: &Head<'_>, mut to: ReplyTo, messages: &[Message<'_>]) {
        let way = self.way(key, head, &mut to, messages);
        let shakes = |message: &Message<'_>| message.kind() == Some(Kind::Meta(Meta::Handshake));
        let client = if messages.iter().any(shakes) { self.counted(key, head) } else { None };
        let request = Request { client, ..self.request_from(key, head, way) };
        self.answer.clear();
        self.broker.receive(&request, messages, self.terms.now, &mut self.answer);
        if let Some(conn) = self.conns.get_mut(key) {
            let env = self.terms.env(&self.limits);
            conn.answer(&self.answer, to, head.persistence, env);
        }
        self.settle();
    }

    /// Opens a stream for the events of a session.
    fn attach(&mut self, key: ConnKey, head: &Head<'_>, to: ReplyTo, client_id: &str) -> Result<(), Refusal> {
        let request = self.request_from(key, head, Way::Push);
        let ticket = self.broker.attach(&request, client_id, self.terms.now).map_err(|error| refusal_of(error, &to))?;
        if let Some(conn) = self.conns.get_mut(key) {
            let env = self.terms.env(&self.limits);
            conn.open_stream(ticket, Opening::default(), (to, head.persistence), env);
        }
        self.settle();
        Ok(())
    }

    /// Opens a stream, or waits for the next events, for somebody who does not speak Bayeux.
    fn listen(
        &mut self,
        key: ConnKey,
        head: &Head<'_>,
        to: ReplyTo,
        (pattern, since): (&str, Option<Since>),
    ) -> Result<(), Refusal> {
        let once = !to.wire.is_stream();
        let cursor = self.broker.cursor().filter(|_| matches!(since, None | Some(Since::Now)));
        let request = Request { client: self.counted(key, head), ..self.request_from(key, head, Way::Push) };
        let ticket = self
            .broker
            .open(&request, Wish { pattern, once, since }, self.terms.now)
            .map_err(|error| refusal_of(error, &to))?;
        if let Some(conn) = self.conns.get_mut(key) {
            let env = self.terms.env(&self.limits);
            if once {
                conn.park(ticket, to, head.persistence);
            } else {
                conn.open_stream(ticket, Opening { probe: None, cursor }, (to, head.persistence), env);
            }
        }
        Ok(())
    }

    /// Publishes for somebody who does not speak Bayeux.
    fn publish(&mut self, key: ConnKey, head: &Head<'_>, to: (ReplyTo, &str), body: &[u8]) -> Result<(), Refusal> {
        let (to, channel) = to;
        let bad = |status, text: &str| Refusal {
            status,
            text: text.to_owned(),
            allow: None,
            grant: to.grant,
            kind: match status {
                Status::Forbidden => RefusalKind::Publisher,
                Status::ServiceUnavailable => RefusalKind::Overload,
                Status::ContentTooLarge => RefusalKind::Size,
                _ => RefusalKind::Batch,
            },
        };
        let depth = self.limits.data_depth();
        let checked = guarded(|| Ok(bayeux::check::value(body, depth)));
        let checked = checked.map_err(|error| bad(error.status, error.reason))?;
        let data = checked.map_err(|reason: String| bad(Status::BadRequest, &reason))?;
        let request = self.request_from(key, head, Way::Answer);
        let id = self.broker.publish_plain(&request, channel, data, self.terms.now).map_err(|error| match error {
            PublishError::Channel => bad(Status::BadRequest, "that is no channel that can be published to"),
            PublishError::Denied(reason) => bad(Status::Forbidden, &format!("publishing is denied: {reason}")),
            PublishError::Full => {
                bad(Status::ServiceUnavailable, "too much waits for clients already; try again later")
            }
            PublishError::Deleted => {
                bad(Status::Forbidden, "a filter or an extension of this server has ended the event")
            }
            PublishError::TooLarge => bad(Status::ContentTooLarge, "the event is larger than max-queue-size allows"),
        })?;
        if let Some(conn) = self.conns.get_mut(key) {
            self.answer.clear();
            let env = self.terms.env(&self.limits);
            conn.answer_published((channel, id), to.grant, head.persistence, env);
        }
        self.settle();
        Ok(())
    }
}

/// Runs code that reads one peer's bytes: a mistake of ours there costs that peer its connection, and no one else.
pub(super) fn guarded<T>(parse: impl FnOnce() -> Result<T, HttpError>) -> Result<T, HttpError> {
    catch_unwind(AssertUnwindSafe(parse)).unwrap_or_else(|_| {
        log::error!("a bug in encke: parsing a request panicked; its connection is closed");
        Err(HttpError::new(Status::InternalServerError, "an error in the server"))
    })
}

pub(super) fn guarded_decode(decode: impl FnOnce() -> Result<(), bayeux::DecodeError>) -> Result<(), Refusal> {
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

fn decode<'a>(form: BodyForm, head: &Head<'a>, body: &'a [u8], limits: &Limits) -> Result<Texts<'a>, Refusal> {
    let grant = Grant::SameOrigin;
    let refuse =
        |status, text: &str| Refusal { status, text: text.to_owned(), allow: None, grant, kind: RefusalKind::Batch };
    let text = match form {
        BodyForm::Json => return Ok(Texts::One(body)),
        BodyForm::Form => body,
        BodyForm::Query => head.query.unwrap_or_default().as_bytes(),
    };
    match guarded(|| form::fields(text, "message", limits)) {
        Ok(fields) if fields.is_empty() => {
            Err(refuse(Status::BadRequest, "The form has no message field. JSON needs Content-Type: application/json"))
        }
        Ok(fields) => Ok(Texts::Many(fields)),
        Err(error) => Err(refuse(error.status, error.reason)),
    }
}

/// Why a stream was not opened, in HTTP's terms.
fn refusal_of(error: StreamError, to: &ReplyTo) -> Refusal {
    let (status, text) = match error {
        StreamError::SessionUnknown => (Status::NotFound, "There is no such session".to_owned()),
        StreamError::SessionLimit => (Status::ServiceUnavailable, "There are too many clients already".to_owned()),
        StreamError::HandshakeRate => {
            (Status::TooManyRequests, "There come too many from one address; try again later".to_owned())
        }
        StreamError::Channel => {
            (Status::BadRequest, "That is no channel or pattern that can be subscribed to".to_owned())
        }
        StreamError::Acknowledging => {
            (Status::Conflict, "A session that acknowledges its events gets them with its connects only".to_owned())
        }
        StreamError::Denied(reason) => (Status::Forbidden, format!("Subscribing is denied: {reason}")),
    };
    let kind = match status {
        Status::ServiceUnavailable | Status::TooManyRequests => RefusalKind::Overload,
        _ => RefusalKind::Request,
    };
    Refusal { status, text, allow: None, grant: to.grant, kind }
}
