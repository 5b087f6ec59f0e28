//! From frames of a WebSocket to what the broker does about their messages.

use crate::bayeux::{self, DecodeErrorKind};
use crate::broker::Request;
use crate::broker::browser::Presented;
use crate::conn::route::RefusalKind;
use crate::conn::{BROWSER_COOKIE, Conn, ConnKey, Input, Pause, Socket};
use crate::hooks::Origin;
use crate::http::cookie;
use crate::http::head::{Head, OwnedHead};
use crate::refusals::Who;
use crate::reply::Way;
use crate::ws::close::{CloseCode, Fault};
use crate::ws::frame::{Decoder, Incoming, Role, Rules};
use crate::ws::handshake::{self, Accepted};

use super::requests::guarded;
use super::{Engine, link, who};

impl Engine {
    pub(super) fn is_socket(&self, key: ConnKey) -> bool {
        self.conns.get(key).is_some_and(|conn| conn.socket().is_some())
    }

    /// Makes the connection a WebSocket.
    pub(super) fn upgrade(&mut self, key: ConnKey, head: &Head<'_>, accepted: &Accepted<'_>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let client = who(&self.terms.site, head, conn).client;
        let mut response = Vec::new();
        handshake::write_response(&mut response, accepted, &self.terms.date);
        let counted = self.counted(key, head).is_some();
        let kept = self.broker.wants_origin().then(|| OwnedHead::from(head));
        let socket = Socket::new(cookie::find(head, BROWSER_COOKIE), kept, accepted.deflate.is_some(), counted);
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.upgrade(client, &response, socket, self.terms.env(&self.limits));
    }

    /// Takes the messages out of what has come, one by one, as many as may be answered now.
    pub(super) fn read_frames(&mut self, key: ConnKey, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let (mut decoder, mut tail) = match conn.take_input().map(|input| *input) {
            Some(Input::Frames { decoder, tail }) => (decoder, tail),
            Some(Input::Request { .. }) | None => (Decoder::default(), Vec::new()),
        };
        if !tail.is_empty() {
            tail.extend_from_slice(bytes);
        }
        let data = if tail.is_empty() { bytes } else { tail.as_slice() };
        let mut rest = data;
        let (mut ended, mut inflated, mut pause) = (false, 0, Pause::No);
        while !rest.is_empty() {
            let Some(conn) = self.conns.get(key).filter(|conn: &&Conn| conn.is_open()) else { return };
            let deflate = conn.socket().is_some_and(Socket::deflates);
            pause = self.pause(key, rest);
            if pause == Pause::No && inflated >= self.limits.inflated_bytes_per_turn {
                self.unread.push(key);
                pause = Pause::Turn;
            }
            if pause != Pause::No {
                break;
            }
            let rules = Rules { role: Role::Server, deflate, limits: &self.limits };
            let read = guarded(|| Ok(decoder.next(rest, &rules)));
            let next = read.unwrap_or(Err(Fault { code: CloseCode::INTERNAL, reason: "an error in the server" }));
            match next {
                Ok((used, incoming)) => {
                    rest = rest.get(used..).unwrap_or_default();
                    if let Some(incoming) = incoming {
                        ended |= decoder.is_idle();
                        inflated = self.incoming(key, incoming).saturating_add(inflated);
                    }
                }
                Err(fault) => return self.break_off(key, fault),
            }
        }
        if let Some(conn) = self.conns.get_mut(key) {
            let (idle, env) = (decoder.is_idle(), self.terms.env(&self.limits));
            if ended {
                // What is under way now is another message than before, with a time of its own.
                conn.heard(false, env);
            }
            if !data.is_empty() {
                conn.heard(!idle, env);
            }
            if !idle || !rest.is_empty() {
                let input = Box::new(Input::Frames { decoder, tail: rest.to_vec() });
                conn.keep_input(input, pause, &self.limits, env);
            }
        }
    }

    #[cfg(feature = "deflate")]
    fn opened(&mut self, incoming: Incoming) -> Result<Incoming, Fault> {
        let opened = guarded(|| Ok(self.inflater.open(incoming, &self.limits)));
        opened.unwrap_or_else(|_| {
            // Whatever state that has left it in.
            self.inflater = crate::ws::deflate::Inflater::default();
            Err(Fault { code: CloseCode::INTERNAL, reason: "an error in the server" })
        })
    }

    #[cfg(not(feature = "deflate"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with the feature")]
    fn opened(&mut self, incoming: Incoming) -> Result<Incoming, Fault> {
        Ok(incoming)
    }

    /// Does what came in asks for; how many bytes it was decompressed to.
    fn incoming(&mut self, key: ConnKey, incoming: Incoming) -> usize {
        let deflated = matches!(incoming, Incoming::Deflated { .. });
        match self.opened(incoming) {
            Ok(incoming) => {
                let inflated = match &incoming {
                    Incoming::Text(message) | Incoming::Binary(message) if deflated => message.len(),
                    _ => 0,
                };
                self.act_on(key, incoming);
                inflated
            }
            Err(fault) => {
                self.break_off(key, fault);
                0
            }
        }
    }

    fn act_on(&mut self, key: ConnKey, incoming: Incoming) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let env = self.terms.env(&self.limits);
        match incoming {
            Incoming::Text(text) => self.frame(key, &text),
            Incoming::Ping(payload) => conn.pong(&payload, env),
            Incoming::Pong(_) => {}
            Incoming::Close { code, .. } => conn.close(code.unwrap_or(CloseCode::NORMAL), "", env),
            Incoming::Binary(_) | Incoming::Deflated { .. } => {
                self.break_off(key, Fault { code: CloseCode::UNSUPPORTED, reason: "Bayeux is text" });
            }
        }
    }

    /// One batch of messages.
    fn frame(&mut self, key: ConnKey, text: &[u8]) {
        let mut messages = Vec::new();
        let decoded = guarded(|| Ok(bayeux::decode_into(&mut messages, text, &self.limits)));
        match decoded {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let code = match error.kind {
                    DecodeErrorKind::BadRequest => CloseCode::INVALID_DATA,
                    DecodeErrorKind::TooLarge => CloseCode::POLICY,
                };
                return self.refuse_frame(key, RefusalKind::Batch, code, &error.reason);
            }
            Err(error) => return self.close_socket(key, CloseCode::INTERNAL, error.reason),
        }
        let Some(conn) = self.conns.get(key) else { return };
        let (peer, Some(socket)) = (conn.peer(), conn.socket()) else { return };
        let head = socket.head().and_then(|head| head.head(&self.limits));
        let request = Request {
            link: link(key),
            way: Way::Push,
            client: peer.address.filter(|_| socket.is_counted()),
            browser: Presented::from_cookie(socket.cookie()),
            origin: Origin { head: head.as_ref(), address: peer.address, local: false },
            insider: None,
        };
        self.answer.clear();
        self.broker.receive(&request, &messages, self.terms.now, &mut self.answer);
        self.answer_socket(key);
        self.settle();
    }

    /// Gives a WebSocket what is to be said to a batch, unless that comes later.
    pub(super) fn answer_socket(&mut self, key: ConnKey) {
        if self.answer.deferred.is_some() {
            return;
        }
        self.pack(key);
        let Some(conn) = self.conns.get_mut(key) else { return };
        if !conn.answer_frame(&self.answer, &self.limits, self.terms.env(&self.limits)) {
            self.close_socket(key, CloseCode::POLICY, "too many sessions on one WebSocket");
        }
    }

    /// Has the events of the answer compressed, if they go to a WebSocket that takes them so: each once, whoever else gets
    /// it.
    #[cfg(feature = "deflate")]
    pub(super) fn pack(&mut self, key: ConnKey) {
        if !self.conns.get(key).and_then(Conn::socket).is_some_and(Socket::deflates) {
            return;
        }
        for event in &self.answer.events {
            if event.json().len() >= self.limits.deflate_from_bytes {
                let deflater = self.deflater.get_or_insert_default();
                event.pack(|batch, out| deflater.compress(batch, out));
            }
        }
    }

    #[cfg(not(feature = "deflate"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(super) fn pack(&mut self, _key: ConnKey) {}

    fn break_off(&mut self, key: ConnKey, fault: Fault) {
        match RefusalKind::of_close(fault.code) {
            Some(kind) => self.refuse_frame(key, kind, fault.code, fault.reason),
            None => self.close_socket(key, fault.code, fault.reason),
        }
    }

    /// Closes a WebSocket for what its peer has sent.
    pub(super) fn refuse_frame(&mut self, key: ConnKey, kind: RefusalKind, code: CloseCode, reason: &str) {
        let who = Who { client: self.conns.get(key).and_then(|conn| conn.peer().address), path: None };
        self.refusals.note_close(kind, (code, reason), who, self.terms.now.mono_ms);
        self.close_socket(key, code, reason);
    }

    /// Closes a WebSocket; its sessions live on for a while.
    pub(super) fn close_socket(&mut self, key: ConnKey, code: CloseCode, reason: &str) {
        log::debug!("closing a WebSocket: {} {reason}", code.get());
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.close(code, reason, self.terms.env(&self.limits));
        for ticket in conn.drop_tickets() {
            self.broker.detached(ticket, link(key), self.terms.now);
        }
    }
}
