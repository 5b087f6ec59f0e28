//! A connection that is a WebSocket (RFC 6455).
//!
//! Owns which sessions it serves, its pings and its closing. The codec of frames is `ws`, what a batch looks like in them is
//! `framing`'s.

use core::net::IpAddr;

use crate::framing::{Batch, Wire};
use crate::http::head::OwnedHead;
use crate::limits::Limits;
use crate::reply::{Answer, Ticket};
use crate::ws::close::CloseCode;
use crate::ws::write;

use super::{Conn, Env, Exchange, Overdue, Phase, Stage, Tickets};

/// Pings without an answer after which a peer is gone, count.
const MISSED_PINGS: u8 = 2;

/// A WebSocket.
#[derive(Debug)]
pub struct Socket {
    /// Sessions whose events go here.
    pub(super) tickets: Tickets,
    /// What is kept of the request that opened it.
    opened_by: Option<Box<OpenedBy>>,
    /// If a pong is among what is to be written.
    pong: Option<Box<Pong>>,
    /// Whether compressed messages may come, and go.
    pub(super) deflate: bool,
    /// Whether handshakes are counted for its address.
    counted: bool,
    /// Pings sent since something was heard, count.
    pings: u8,
    /// When it ends at the latest, ms.
    pub(super) until_ms: u64,
}

/// What is kept of the request that opened a WebSocket, for all its frames.
#[derive(Debug)]
struct OpenedBy {
    cookie: Option<Vec<u8>>,
    head: Option<OwnedHead>,
}

/// A pong that is to be written.
#[derive(Debug, Default)]
struct Pong {
    /// What the newest ping since then said: it is answered when this one is written.
    next: Option<Vec<u8>>,
}

impl Socket {
    /// A WebSocket that serves nobody yet.
    pub fn new(cookie: Option<&[u8]>, head: Option<OwnedHead>, deflate: bool, counted: bool) -> Self {
        let opened_by = OpenedBy { cookie: cookie.map(<[u8]>::to_vec), head };
        let is_empty = opened_by.cookie.is_none() && opened_by.head.is_none();
        Self {
            tickets: Tickets::None,
            opened_by: (!is_empty).then(|| Box::new(opened_by)),
            pong: None,
            deflate,
            counted,
            pings: 0,
            until_ms: u64::MAX,
        }
    }

    /// Whether compressed messages may come, and go.
    pub fn deflates(&self) -> bool {
        self.deflate
    }

    /// Whether handshakes are counted for its address.
    pub fn is_counted(&self) -> bool {
        self.counted
    }

    /// The browser cookie of the request that opened it, which counts for all its frames.
    pub fn cookie(&self) -> Option<&[u8]> {
        self.opened_by.as_ref()?.cookie.as_deref()
    }

    /// The head of that request, if it is wanted.
    pub fn head(&self) -> Option<&OwnedHead> {
        self.opened_by.as_ref()?.head.as_ref()
    }

    /// When it is to be closed, or pinged, ms. `since_ms`: when something was heard or it was pinged.
    pub(super) fn deadline(&self, since_ms: u64, limits: &Limits) -> Option<u64> {
        let quiet = match (self.tickets.as_slice().is_empty(), limits.ping_ms) {
            (true, _) => Some(limits.idle_ms),
            (false, 0) => None,
            (false, ping_ms) => Some(u64::from(ping_ms)),
        };
        let quiet = quiet.map_or(u64::MAX, |ms| since_ms.saturating_add(ms));
        Some(self.until_ms.min(quiet)).filter(|at| *at != u64::MAX)
    }

    pub(super) fn is_aged(&self, env: Env<'_>) -> bool {
        self.until_ms <= env.now_ms
    }
}

impl Conn {
    /// The WebSocket that it is.
    pub fn socket(&self) -> Option<&Socket> {
        match &self.exchange {
            Exchange::Socket(socket) => Some(socket),
            _ => None,
        }
    }

    /// Answers an upgrade request of this client with this head, and is a WebSocket from then on; not for long if the server
    /// ends.
    pub fn upgrade(&mut self, client: Option<IpAddr>, head: &[u8], mut socket: Socket, env: Env<'_>) {
        // No other head will come that a proxy names its client in.
        self.peer = client;
        self.begin_output(env);
        self.output.buffer().extend_from_slice(head);
        if env.ending {
            socket.until_ms = env.now_ms;
        }
        self.exchange = Exchange::Socket(socket);
    }

    /// Something has been heard; whether a message is under way.
    pub fn heard(&mut self, within_message: bool, env: Env<'_>) {
        let stage = if within_message { Stage::Body } else { Stage::Idle };
        if self.is_between() || self.stage != stage {
            self.since_ms = env.now_ms;
        }
        self.stage = stage;
        if let Exchange::Socket(socket) = &mut self.exchange {
            socket.pings = 0;
        }
    }

    /// Answers a batch. The sessions whose connects it brought are served here from now on; whether there is room for them.
    pub fn answer_frame(&mut self, answer: &Answer, limits: &Limits, env: Env<'_>) -> bool {
        if let Exchange::Socket(socket) = &mut self.exchange {
            for ticket in answer.answered.iter().copied().chain(answer.replies.tickets()) {
                if !socket.tickets.as_slice().contains(&ticket) && !answer.left.contains(&ticket) {
                    socket.tickets.push(ticket);
                }
            }
        }
        let says_nothing = answer.events.is_empty() && answer.replies.ready().next().is_none();
        if !says_nothing || answer.replies.is_ready() {
            self.write_frames(answer, env);
        }
        self.tickets().len() <= limits.socket_sessions
    }

    /// Writes events and replies. When the server ends, a reply is the last that is said.
    pub(super) fn write_frames(&mut self, come: &Answer, env: Env<'_>) {
        let batch = Batch { gap: None, events: &come.events, replies: &come.replies };
        let deflate = self.socket().is_some_and(Socket::deflates);
        self.begin_output(env);
        batch.write(&Wire::Frames { deflate }, &mut self.output);
        for ticket in &come.answered {
            self.listeners.push(*ticket);
        }
        if let Exchange::Socket(socket) = &mut self.exchange {
            for ticket in &come.left {
                socket.tickets.remove(*ticket);
            }
        }
        if env.ending && come.replies.ready().next().is_some() {
            self.close(CloseCode::GOING_AWAY, "the server ends", env);
        }
    }

    /// A session is no longer served here. Agreed: it has ended, and its client knows. The last one takes the connection
    /// with it then.
    pub(super) fn leave(&mut self, ticket: Ticket, agreed: bool, env: Env<'_>) {
        let Exchange::Socket(socket) = &mut self.exchange else { return };
        if socket.tickets.remove(ticket) && agreed && socket.tickets.as_slice().is_empty() {
            self.close(CloseCode::NORMAL, "", env);
        }
    }

    /// The sessions that it has served, and serves no longer.
    pub fn drop_tickets(&mut self) -> Vec<Ticket> {
        match &mut self.exchange {
            Exchange::Socket(socket) => core::mem::take(&mut socket.tickets).as_slice().to_vec(),
            _ => Vec::new(),
        }
    }

    /// Answers a ping: at once, unless the answer to an earlier one is still to be written; then when that is. Of several
    /// until then the newest is answered (RFC 6455 section 5.5.3), so that pings cannot pile up answers.
    pub fn pong(&mut self, payload: &[u8], env: Env<'_>) {
        let Exchange::Socket(socket) = &mut self.exchange else { return };
        if let Some(pong) = &mut socket.pong {
            return pong.next = Some(payload.to_vec());
        }
        socket.pong = Some(Box::default());
        self.begin_output(env);
        write::write_pong(self.output.buffer(), payload, None);
    }

    /// All is written: answers the ping that has waited for that, if there is one.
    pub(super) fn pong_at_last(&mut self, env: Env<'_>) {
        let Exchange::Socket(socket) = &mut self.exchange else { return };
        let next = socket.pong.take().and_then(|pong| pong.next);
        if let (Some(payload), Phase::Open) = (next, self.phase) {
            self.pong(&payload, env);
        }
    }

    /// Begins to close: a close frame, then the end of our side, then the peer's is awaited.
    pub fn close(&mut self, code: CloseCode, reason: &str, env: Env<'_>) {
        if !matches!(self.phase, Phase::Open | Phase::Last) {
            return;
        }
        self.begin_output(env);
        write::write_close(self.output.buffer(), Some(code), reason, None);
        self.phase = Phase::Parting;
        self.input = None;
    }

    /// Nothing has been heard for long: it is closed if it serves nobody, else its peer is asked whether it is there.
    pub(super) fn ping_or_close(&mut self, limits: &Limits, env: Env<'_>) -> Overdue {
        let Exchange::Socket(socket) = &mut self.exchange else { return Overdue::Nothing };
        if socket.tickets.as_slice().is_empty() {
            self.close(CloseCode::NORMAL, "idle", env);
        } else if limits.ping_ms > 0 && socket.pings >= MISSED_PINGS {
            self.kill();
        } else {
            socket.pings = socket.pings.saturating_add(1);
            self.since_ms = env.now_ms;
            self.begin_output(env);
            write::write_ping(self.output.buffer(), b"", None);
        }
        Overdue::Nothing
    }
}
