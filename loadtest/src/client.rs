//! Owns one Bayeux client: bytes of the server in, its next request and the events out. Pure: no sockets, no clock. A
//! client has one request under way at a time, on one connection.
//!
//! | state | waits for | then |
//! |---|---|---|
//! | `Idle` | `begin` | `Handshaking`, on a WebSocket `Upgrading` |
//! | `Upgrading` | the WebSocket | `Handshaking` |
//! | `Handshaking` | the reply | `Subscribing`, or `Joining` without a subscription |
//! | `Subscribing` | the reply | `Joining` |
//! | `Joining` | the reply to the first connect | `Holding` or `Pausing` |
//! | `Holding` | the reply to a held connect | `Holding` or `Pausing` |
//! | `Pausing` | `resume`, after the advised interval | `Holding` |
//! | `Failed` | nothing | — |
//!
//! With long polling each batch of the server has the reply to a request, and events are in it. On a WebSocket batches come
//! at any time, with a reply or without. Other transports become further kinds of [`Wire`].

use crate::bayeux::{self, Event, Message, Transport};
use crate::http::{self, Cookies, HttpError, Reassembly, Response, Target};
use crate::websocket::{self, Came, Codec, Socket};
use std::fmt;

/// Milliseconds that are waited at most because an advice says so.
const PAUSE_MS_MAX: f64 = 3_600_000.0;

/// What all clients of a run do.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Where requests go.
    pub(crate) target: Target,
    /// The channel of the run.
    pub(crate) channel: String,
    /// How those who subscribe reach the server.
    pub(crate) transport: Transport,
    /// Whether WebSockets offer compression.
    pub(crate) deflate: bool,
}

/// What went wrong with a client; each is counted under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FaultKind {
    /// The socket failed, or could not be had.
    Io,
    /// The server closed the connection before it had answered.
    Closed,
    /// The bytes are no HTTP response.
    Http,
    /// A status other than 200, or than 101 to an upgrade.
    Status,
    /// The bytes are no frames of a server.
    Frame,
    /// The body is no Bayeux batch, or not the one asked for.
    Protocol,
    /// The session is unknown to the server.
    SessionUnknown,
    /// The server refused.
    Refused,
    /// The advice was not to go on.
    Advice,
}

impl FaultKind {
    /// The key in the report.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::Closed => "closed",
            Self::Http => "http",
            Self::Status => "status",
            Self::Frame => "frame",
            Self::Protocol => "protocol",
            Self::SessionUnknown => "session_unknown",
            Self::Refused => "refused",
            Self::Advice => "advice",
        }
    }
}

/// A failure, which ends the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What it is counted as.
    pub(crate) kind: FaultKind,
    /// What happened, in words.
    pub(crate) text: String,
}

impl Fault {
    /// A fault of `kind`, described by `text`.
    pub(crate) fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl From<HttpError> for Fault {
    fn from(error: HttpError) -> Self {
        Self::new(FaultKind::Http, error.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where a client is; the table is at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not begun.
    Idle,
    /// The request for a WebSocket is sent.
    Upgrading,
    /// The handshake is sent.
    Handshaking,
    /// The subscribe is sent.
    Subscribing,
    /// The first connect is sent.
    Joining,
    /// A connect is sent that the server may hold.
    Holding,
    /// The advised interval passes.
    Pausing,
    /// It is over.
    Failed,
}

/// What to do after bytes were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Wait for more.
    Wait,
    /// Send what is in [`Output::request`].
    Send,
    /// Call [`Client::resume`] after so many milliseconds. Something may be there to send as well.
    Pause(u64),
}

/// What a client hands out; one for all clients, cleared by whoever reads it.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// The next request.
    pub(crate) request: Vec<u8>,
    /// The events that came.
    pub(crate) events: Vec<Event>,
    /// Events that no run of this program published.
    pub(crate) strangers: u64,
    /// Held connects that were answered without an event.
    pub(crate) empty_polls: u64,
    /// The server will close the connection.
    pub(crate) close: bool,
    /// WebSockets that were opened with compression agreed on.
    pub(crate) deflating: u64,
    /// Messages that came compressed.
    pub(crate) deflated: u64,
    body: Vec<u8>,
    codec: Codec,
}

impl Output {
    /// Forgets everything but the memory.
    pub(crate) fn clear(&mut self) {
        let Self { request, events, strangers, empty_polls, close, deflating, deflated, body, codec: _ } = self;
        request.clear();
        events.clear();
        body.clear();
        (*strangers, *empty_polls, *close, *deflating, *deflated) = (0, 0, false, 0, 0);
    }
}

/// How a client's messages travel.
#[derive(Debug)]
enum Wire {
    /// Requests and responses.
    Polling(Reassembly),
    /// Frames.
    Socket(Box<Socket>),
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    state: State,
    subscribes: bool,
    interval_ms: u64,
    /// JSON text, quotes included.
    client_id: Box<str>,
    cookies: Cookies,
    wire: Wire,
}

impl Client {
    /// A client that has not begun, and subscribes to the run's channel.
    pub(crate) fn new(script: &Script) -> Self {
        let wire = match script.transport {
            Transport::LongPolling => Wire::Polling(Reassembly::default()),
            Transport::WebSocket => Wire::Socket(Box::new(Socket::new(script.deflate))),
        };
        Self { wire, subscribes: true, ..Self::session() }
    }

    /// A client that does not subscribe, but has a session to publish with. It stays with long polling.
    pub(crate) fn session() -> Self {
        Self {
            state: State::Idle,
            subscribes: false,
            interval_ms: 0,
            client_id: Box::default(),
            cookies: Cookies::default(),
            wire: Wire::Polling(Reassembly::default()),
        }
    }

    /// Where it is.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Whether it is owed events.
    pub(crate) fn subscribes(&self) -> bool {
        self.subscribes
    }

    /// Whether a request of it is under way.
    pub(crate) fn awaits(&self) -> bool {
        !matches!(self.state, State::Idle | State::Pausing | State::Failed)
    }

    /// Whether it is lost with its connection.
    pub(crate) fn needs_connection(&self) -> bool {
        self.awaits() || (self.state == State::Pausing && matches!(self.wire, Wire::Socket(_)))
    }

    /// The session's id as JSON text; empty before the handshake.
    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The cookies of the session.
    pub(crate) fn cookies(&self) -> &Cookies {
        &self.cookies
    }

    /// Ends it.
    pub(crate) fn fail(&mut self) {
        self.state = State::Failed;
        self.forget();
    }

    /// Drops what came without its end.
    fn forget(&mut self) {
        if let Wire::Polling(reassembly) = &mut self.wire {
            reassembly.reset();
        }
    }

    /// Writes the first request.
    pub(crate) fn begin(&mut self, script: &Script, output: &mut Output) {
        debug_assert_eq!(self.state, State::Idle);
        let Wire::Socket(socket) = &mut self.wire else { return self.request(State::Handshaking, script, output) };
        self.state = State::Upgrading;
        socket.write_upgrade(&mut output.request, &script.target, &self.cookies, &mut output.codec);
    }

    /// Writes the next connect, after a pause.
    pub(crate) fn resume(&mut self, script: &Script, output: &mut Output) {
        debug_assert_eq!(self.state, State::Pausing);
        self.forget();
        self.request(State::Holding, script, output);
    }

    /// Takes bytes of the server.
    pub(crate) fn receive(&mut self, bytes: &[u8], script: &Script, output: &mut Output) -> Result<Step, Fault> {
        let Wire::Polling(reassembly) = &mut self.wire else { return self.receive_frames(bytes, script, output) };
        let mut reassembly = std::mem::take(reassembly);
        let mut step = Step::Wait;
        let taken = reassembly.feed(bytes, |response| {
            step = self.respond(&response, script, output)?;
            Ok::<(), Fault>(())
        });
        self.wire = Wire::Polling(reassembly);
        taken.map(|()| step)
    }

    fn receive_frames(&mut self, bytes: &[u8], script: &Script, output: &mut Output) -> Result<Step, Fault> {
        let mut rest = bytes;
        let mut step = Step::Wait;
        let mut replied = false;
        while let Wire::Socket(socket) = &mut self.wire
            && let Some(came) = socket.next(&mut rest, &mut self.cookies, &mut output.codec)?
        {
            match came {
                Came::Opened { deflate } => {
                    output.deflating += u64::from(deflate);
                    self.request(State::Handshaking, script, output);
                }
                Came::Pong(payload) => websocket::write_answer(&mut output.request, &payload, &mut output.codec),
                Came::Text { text, deflated } => {
                    output.deflated += u64::from(deflated);
                    if self.take_batch(&text, output)? {
                        // To the request that goes out after this one nobody can have replied.
                        if std::mem::replace(&mut replied, true) {
                            return Err(Fault::new(FaultKind::Protocol, "a reply to no request"));
                        }
                        step = self.go_on(script, output);
                    }
                }
            }
        }
        let waits = step == Step::Wait && !output.request.is_empty();
        Ok(if waits { Step::Send } else { step })
    }

    fn respond(&mut self, response: &Response<'_>, script: &Script, output: &mut Output) -> Result<Step, Fault> {
        if !self.awaits() || !output.request.is_empty() {
            return Err(Fault::new(FaultKind::Protocol, "a response to no request"));
        }
        if response.status != 200 {
            let body = String::from_utf8_lossy(&response.body);
            let line = body.lines().next().unwrap_or_default();
            return Err(Fault::new(
                FaultKind::Status,
                format!("HTTP {} while {}: {line}", response.status, self.doing()),
            ));
        }
        for field in &response.set_cookies {
            self.cookies.set(field);
        }
        output.close |= !response.keep_alive;
        if !self.take_batch(&response.body, output)? {
            return Err(Fault::new(FaultKind::Protocol, format!("no reply while {}", self.doing())));
        }
        Ok(self.go_on(script, output))
    }

    /// Takes the events of a batch, and the one reply that may be among them; whether it was.
    fn take_batch(&mut self, body: &[u8], output: &mut Output) -> Result<bool, Fault> {
        let batch = bayeux::decode(body).map_err(|error| {
            Fault::new(FaultKind::Protocol, format!("no batch of messages while {}: {error}", self.doing()))
        })?;
        let mut replied = false;
        let mut events = 0_u32;
        for message in &batch {
            if message.is_event() {
                events += 1;
                match message.event() {
                    Some(event) => output.events.push(event),
                    None => output.strangers += 1,
                }
            } else if replied || !self.awaits() {
                return Err(Fault::new(FaultKind::Protocol, format!("a second reply, on {}", message.channel())));
            } else {
                self.reply(message)?;
                replied = true;
            }
        }
        output.empty_polls += u64::from(replied && self.state == State::Holding && events == 0);
        Ok(replied)
    }

    /// Checks the one reply of a batch and takes what it says.
    fn reply(&mut self, message: &Message<'_>) -> Result<(), Fault> {
        let (channel, id) = match self.state {
            State::Handshaking => ("/meta/handshake", bayeux::HANDSHAKE_ID),
            State::Subscribing => ("/meta/subscribe", bayeux::SUBSCRIBE_ID),
            _ => ("/meta/connect", bayeux::CONNECT_ID),
        };
        if message.channel() != channel {
            let text = format!("a message on {} while {}", message.channel(), self.doing());
            return Err(Fault::new(FaultKind::Protocol, text));
        }
        if message.successful != Some(true) {
            let error = message.error();
            let kind = if error.starts_with("402") { FaultKind::SessionUnknown } else { FaultKind::Refused };
            return Err(Fault::new(kind, format!("refused while {}: {error}", self.doing())));
        }
        if message.id() != id {
            let text = format!("a reply on {channel} with the id {:?} for {id}", message.id());
            return Err(Fault::new(FaultKind::Protocol, text));
        }
        if let Some(advice) = &message.advice {
            if let Some(reconnect @ ("handshake" | "none")) = advice.reconnect.as_deref() {
                return Err(Fault::new(
                    FaultKind::Advice,
                    format!("advice to reconnect by {reconnect:?} while {}", self.doing()),
                ));
            }
            if let Some(interval) = advice.interval {
                // In range by the clamp; a fraction of a millisecond is not waited.
                self.interval_ms = interval.clamp(0.0, PAUSE_MS_MAX) as u64;
            }
        }
        if self.state == State::Handshaking {
            let missing = || Fault::new(FaultKind::Protocol, "a handshake reply without clientId");
            self.client_id = message.client_id().ok_or_else(missing)?.into();
        }
        Ok(())
    }

    /// After a reply: the next request, or the pause before it.
    fn go_on(&mut self, script: &Script, output: &mut Output) -> Step {
        match self.state {
            State::Handshaking if self.subscribes => self.request(State::Subscribing, script, output),
            State::Handshaking | State::Subscribing => self.request(State::Joining, script, output),
            _ if self.interval_ms > 0 => {
                self.state = State::Pausing;
                return Step::Pause(self.interval_ms);
            }
            _ => self.request(State::Holding, script, output),
        }
        Step::Send
    }

    /// Enters `state` and writes the request that it stands for.
    fn request(&mut self, state: State, script: &Script, output: &mut Output) {
        self.state = state;
        output.body.clear();
        match state {
            State::Handshaking => bayeux::write_handshake(&mut output.body, self.transport()),
            State::Subscribing => bayeux::write_subscribe(&mut output.body, &self.client_id, &script.channel),
            _ => {
                let at_once = state == State::Joining;
                bayeux::write_connect(&mut output.body, &self.client_id, self.transport(), at_once);
            }
        }
        match self.wire {
            Wire::Polling(_) => http::write_post(&mut output.request, &script.target, &self.cookies, &output.body),
            Wire::Socket(_) => websocket::write_text(&mut output.request, &output.body, &mut output.codec),
        }
    }

    fn transport(&self) -> Transport {
        match self.wire {
            Wire::Polling(_) => Transport::LongPolling,
            Wire::Socket(_) => Transport::WebSocket,
        }
    }

    /// The state in words, for messages.
    pub(crate) fn doing(&self) -> &'static str {
        match self.state {
            State::Idle => "not begun",
            State::Upgrading => "upgrading",
            State::Handshaking => "shaking hands",
            State::Subscribing => "subscribing",
            State::Joining => "connecting first",
            State::Holding => "polling",
            State::Pausing => "pausing",
            State::Failed => "failed",
        }
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
