//! Owns one Bayeux client: bytes of the server in, its next request and the events out.
//!
//! | state | waits for | then |
//! |---|---|---|
//! | `Idle` | `begin` | `Handshaking`, on a WebSocket `Upgrading` |
//! | `Upgrading` | the WebSocket | `Handshaking`, or `Joining` with the session that it had |
//! | `Handshaking` | the reply | `Subscribing`, or what follows it without a subscription |
//! | `Subscribing` | all replies | `Joining`, with `eventsource` `Opening` |
//! | `Opening` | the head of the event stream | `Joining` |
//! | `Joining` | the reply to the first connect | `Holding` or `Pausing` |
//! | `Holding` | the reply to a held connect | `Holding` or `Pausing` |
//! | `Pausing` | `resume`, after the advised interval | `Holding` |
//! | `Forgotten` | nothing: the server does not know the session any more | `Handshaking` |
//! | `Failed` | nothing | — |
//!
//! | transport | main lane | side lane |
//! |---|---|---|
//! | long-polling | requests and their responses, events in them | publishes |
//! | websocket | everything | — |
//! | streaming | the same as long-polling; the response to a held connect stays open | confirmation of the stream, publishes |
//! | eventsource | handshake and subscribe, then the event stream | connects, publishes |
//!
//! One request at a time waits for a reply that matters; with it the client goes on. The side lane is closed once a
//! connect or a confirmation on it is answered: it would stand idle until the next, and count as a second connection.

use super::{Ended, Fault, FaultKind, Lane, Output, Role, Script, Step};
use crate::bayeux::{self, Message, Transport};
use crate::event::{Batch, Event};
use crate::http::{self, Cookies, Piece, Reassembly, Response, Responses};
use crate::protocol;
use crate::websocket::{self, Came, Socket};
use std::collections::VecDeque;
use std::rc::Rc;

/// Milliseconds that are waited at most because an advice says so.
const PAUSE_MS_MAX: f64 = 3_600_000.0;
/// Bytes of a line of a stream.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where a client is; the table is at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not begun.
    Idle,
    /// The request for a WebSocket is sent.
    Upgrading,
    /// The handshake is sent.
    Handshaking,
    /// The subscribes are sent.
    Subscribing,
    /// The event stream is asked for.
    Opening,
    /// The first connect is sent.
    Joining,
    /// A connect is sent that the server may hold.
    Holding,
    /// The advised interval passes.
    Pausing,
    /// The server has forgotten the session.
    Forgotten,
    /// It is over.
    Failed,
}

/// How a client's messages travel on the main lane.
#[derive(Debug)]
enum Wire {
    /// Requests and responses.
    Polling(Reassembly),
    /// The same, but some responses stay open.
    Stream(Box<Stream>),
    /// Frames.
    Socket(Box<Socket>),
}

impl Wire {
    fn new(transport: Transport, deflate: bool) -> Self {
        match transport {
            Transport::LongPolling => Self::Polling(Reassembly::default()),
            Transport::WebSocket => Self::Socket(Box::new(Socket::new(deflate))),
            Transport::Streaming | Transport::EventSource => Self::Stream(Box::default()),
        }
    }
}

/// Responses whose bodies are read as they come.
#[derive(Debug, Default)]
struct Stream {
    responses: Responses,
    /// A line, or a body, without its end.
    text: Vec<u8>,
    keep_alive: bool,
    /// Whether this response stays open for events.
    lasts: bool,
    /// Whether the reply that matters was in it.
    replied: bool,
}

/// What a request on the side lane was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Connect,
    Confirm,
    Publish,
}

/// The requests beside the main lane, answered in their order.
#[derive(Debug, Default)]
struct Side {
    reassembly: Reassembly,
    asked: VecDeque<Asked>,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Session {
    role: Role,
    state: State,
    interval_ms: u64,
    /// JSON text, quotes included.
    client_id: Box<str>,
    cookies: Cookies,
    /// The last batch that came, if batches are acknowledged.
    ack: Option<i64>,
    /// Replies to subscribes that are still to come.
    due: u32,
    /// Messages that it published and that are not answered.
    unanswered: u32,
    /// Whether the stream of events stands and is known to get through.
    open: bool,
    wire: Wire,
    side: Side,
}

impl Session {
    /// A client that has not begun.
    pub(crate) fn new(role: Role) -> Self {
        let wire = Wire::new(role.transport, false);
        let (client_id, cookies, side) = (Box::default(), Cookies::default(), Side::default());
        let (state, interval_ms, ack, due, unanswered, open) = (State::Idle, 0, None, 0, 0, false);
        Self { role, state, interval_ms, client_id, cookies, ack, due, unanswered, open, wire, side }
    }

    /// What it subscribes to.
    pub(crate) fn channels(&self) -> &Rc<[u32]> {
        &self.role.channels
    }

    /// The session's id as JSON text; empty before the handshake.
    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The cookies of the session.
    pub(crate) fn cookies(&self) -> &Cookies {
        &self.cookies
    }

    /// Whether a reply that matters is to come.
    fn awaits(&self) -> bool {
        !matches!(self.state, State::Idle | State::Pausing | State::Forgotten | State::Failed)
    }

    /// Whether events reach it. With acknowledgement they come in replies, and no stream opens.
    pub(crate) fn is_parked(&self) -> bool {
        let streams = matches!(self.wire, Wire::Stream(_)) && self.ack.is_none();
        matches!(self.state, State::Holding | State::Pausing) && (self.open || !streams)
    }

    /// Ends it.
    pub(crate) fn fail(&mut self) {
        self.state = State::Failed;
        self.wire = Wire::new(Transport::LongPolling, false);
        self.side = Side::default();
    }

    /// Writes the first request.
    pub(crate) fn begin(&mut self, script: &Script, output: &mut Output) {
        self.wire = Wire::new(self.role.transport, script.deflate);
        self.side = Side::default();
        self.open = false;
        let joined = !self.client_id.is_empty();
        match &mut self.wire {
            Wire::Socket(socket) => {
                self.state = State::Upgrading;
                socket.write_upgrade(&mut output.request, &script.target, &self.cookies, &mut output.codec);
            }
            _ if !joined => self.request(State::Handshaking, script, output),
            _ if self.role.transport == Transport::EventSource => self.request(State::Opening, script, output),
            _ => self.request(State::Joining, script, output),
        }
    }

    /// Goes on after its connections are gone, in the session that it has, if it got so far as to join with it.
    pub(crate) fn returns(&mut self, script: &Script, output: &mut Output) {
        if !matches!(self.state, State::Joining | State::Holding | State::Pausing) {
            self.forget();
        }
        self.begin(script, output);
    }

    /// Writes the next connect, after a pause.
    pub(crate) fn resume(&mut self, script: &Script, output: &mut Output) {
        if self.state == State::Pausing {
            self.request(State::Holding, script, output);
        }
    }

    /// The server closed a connection.
    pub(crate) fn ended(&mut self, lane: Lane, script: &Script, output: &mut Output) -> Ended {
        let idle = match (lane, &mut self.wire) {
            (Lane::Side, _) => {
                self.side.reassembly.reset();
                self.side.asked.is_empty()
            }
            (Lane::Main, Wire::Stream(stream)) if self.role.transport == Transport::EventSource && stream.lasts => {
                **stream = Stream::default();
                self.open = false;
                http::write_listen(
                    &mut output.request,
                    &script.target,
                    &self.cookies,
                    self.client_id.trim_matches('"'),
                );
                return Ended::GoesOn;
            }
            (Lane::Main, Wire::Socket(_)) => matches!(self.state, State::Failed),
            (Lane::Main, Wire::Polling(reassembly)) => {
                reassembly.reset();
                !self.awaits()
            }
            (Lane::Main, Wire::Stream(_)) => !self.awaits(),
        };
        if idle {
            return Ended::Nothing;
        }
        Ended::Fault(Fault::new(FaultKind::Closed, format!("the server closed the connection while {}", self.doing())))
    }

    /// Publishes over its own transport.
    pub(crate) fn publish(&mut self, channel: &str, batch: Batch, script: &Script, output: &mut Output) {
        output.body.clear();
        self.unanswered += batch.count;
        bayeux::write_publish(&mut output.body, &self.client_id, channel, batch);
        match self.wire {
            Wire::Socket(_) => websocket::write_text(&mut output.request, &output.body, &mut output.codec),
            Wire::Polling(_) | Wire::Stream(_) => self.ask(Asked::Publish, script, output),
        }
    }

    /// Takes bytes of the server.
    pub(crate) fn receive(
        &mut self,
        lane: Lane,
        bytes: &[u8],
        script: &Script,
        output: &mut Output,
    ) -> Result<Step, Fault> {
        let mut step = Step::Wait;
        match (lane, &mut self.wire) {
            (Lane::Side, _) => {
                let mut reassembly = std::mem::take(&mut self.side.reassembly);
                let taken = reassembly.feed(bytes, |response| {
                    step = self.respond_aside(&response, script, output)?;
                    Ok::<(), Fault>(())
                });
                self.side.reassembly = reassembly;
                taken?;
            }
            (Lane::Main, Wire::Polling(reassembly)) => {
                let mut reassembly = std::mem::take(reassembly);
                let taken = reassembly.feed(bytes, |response| {
                    step = self.respond(&response, script, output)?;
                    Ok::<(), Fault>(())
                });
                self.wire = Wire::Polling(reassembly);
                taken?;
            }
            (Lane::Main, Wire::Stream(stream)) => {
                let mut stream = std::mem::take(stream);
                let taken = self.receive_stream(&mut stream, bytes, script, output);
                self.wire = Wire::Stream(stream);
                step = taken?;
            }
            (Lane::Main, Wire::Socket(_)) => step = self.receive_frames(bytes, script, output)?,
        }
        Ok(step)
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
                    let next = if self.client_id.is_empty() { State::Handshaking } else { State::Joining };
                    self.request(next, script, output);
                }
                Came::Pong(payload) => websocket::write_answer(&mut output.request, &payload, &mut output.codec),
                Came::Text { text, deflated } => {
                    output.deflated += u64::from(deflated);
                    if self.take_batch(&text, script, output)? {
                        // To the request that goes out after this one nobody can have replied.
                        if std::mem::replace(&mut replied, true) {
                            return Err(Fault::new(FaultKind::Protocol, "a reply to no request"));
                        }
                        step = self.go_on(script, output);
                    }
                }
            }
        }
        Ok(step)
    }

    /// Takes bytes of responses that may stay open.
    fn receive_stream(
        &mut self,
        stream: &mut Stream,
        bytes: &[u8],
        script: &Script,
        output: &mut Output,
    ) -> Result<Step, Fault> {
        let mut rest = bytes;
        let mut step = Step::Wait;
        let confirmations = self.side.asked.len();
        let mut opened = false;
        while let Some(piece) = stream.responses.next(&mut rest)? {
            match piece {
                Piece::Head { status, set_cookies, keep_alive } => {
                    self.check_status(status, b"")?;
                    set_cookies.iter().for_each(|field| self.cookies.set(field));
                    stream.lasts = self.is_listening();
                    opened |= stream.lasts;
                    (stream.keep_alive, stream.replied) = (keep_alive, false);
                    stream.text.clear();
                }
                Piece::Body(body) => {
                    stream.text.extend_from_slice(body);
                    self.take_lines(stream, script, output)?;
                }
                Piece::End => step = self.end_response(stream, script, output)?,
            }
        }
        if opened && stream.lasts && self.side.asked.len() == confirmations {
            // Nothing is to be confirmed.
            self.opened(script, output);
        }
        Ok(step)
    }

    /// Whether the response that begins is to stay open.
    fn is_listening(&self) -> bool {
        match self.role.transport {
            Transport::Streaming => self.state == State::Holding && self.ack.is_none(),
            Transport::EventSource => !matches!(self.state, State::Handshaking | State::Subscribing),
            Transport::LongPolling | Transport::WebSocket => false,
        }
    }

    /// The stream gets through.
    fn opened(&mut self, script: &Script, output: &mut Output) {
        self.open = true;
        if self.state == State::Opening {
            self.request(State::Joining, script, output);
        }
    }

    /// Takes the whole lines of a response that stays open.
    fn take_lines(&mut self, stream: &mut Stream, script: &Script, output: &mut Output) -> Result<(), Fault> {
        if !stream.lasts {
            return Ok(());
        }
        let mut from = 0;
        while let Some(length) = memchr::memchr(b'\n', &stream.text[from..]) {
            stream.replied |= self.take_line(&stream.text[from..from + length], script, output)?;
            from += length + 1;
        }
        stream.text.drain(..from);
        if stream.text.len() > LINE_BYTES_MAX {
            return Err(Fault::new(FaultKind::Protocol, format!("a line of more than {LINE_BYTES_MAX} bytes")));
        }
        Ok(())
    }

    /// Takes a line of a stream; whether it replied.
    fn take_line(&mut self, line: &[u8], script: &Script, output: &mut Output) -> Result<bool, Fault> {
        let batch = match self.role.transport {
            // What is no data says nothing here: comments, names of events, when to come again.
            Transport::EventSource => line.strip_prefix(b"data:").unwrap_or_default(),
            _ => line,
        };
        if batch.trim_ascii().is_empty() { Ok(false) } else { self.take_batch(batch, script, output) }
    }

    fn end_response(&mut self, stream: &mut Stream, script: &Script, output: &mut Output) -> Result<Step, Fault> {
        let text = std::mem::take(&mut stream.text);
        stream.replied |=
            if stream.lasts { self.take_line(&text, script, output)? } else { self.take_batch(&text, script, output)? };
        if !stream.keep_alive {
            output.close = Some(Lane::Main);
        }
        if std::mem::take(&mut stream.lasts) {
            self.open = false;
            if self.role.transport == Transport::EventSource {
                http::write_listen(
                    &mut output.request,
                    &script.target,
                    &self.cookies,
                    self.client_id.trim_matches('"'),
                );
                return Ok(Step::Wait);
            }
        }
        if !stream.replied {
            return Err(Fault::new(FaultKind::Protocol, format!("no reply while {}", self.doing())));
        }
        Ok(self.go_on(script, output))
    }

    fn check_status(&self, status: u16, body: &[u8]) -> Result<(), Fault> {
        if status == 200 {
            return Ok(());
        }
        let body = String::from_utf8_lossy(body);
        let line = body.lines().next().unwrap_or_default();
        let text = format!("HTTP {status} while {}: {line}", self.doing());
        Err(Fault::new(FaultKind::Status, text.trim_end_matches(": ")))
    }

    fn respond(&mut self, response: &Response<'_>, script: &Script, output: &mut Output) -> Result<Step, Fault> {
        if !self.awaits() || !output.request.is_empty() {
            return Err(Fault::new(FaultKind::Protocol, "a response to no request"));
        }
        self.check_status(response.status, &response.body)?;
        response.set_cookies.iter().for_each(|field| self.cookies.set(field));
        if !response.keep_alive {
            output.close = Some(Lane::Main);
        }
        if !self.take_batch(&response.body, script, output)? {
            return Err(Fault::new(FaultKind::Protocol, format!("no reply while {}", self.doing())));
        }
        Ok(self.go_on(script, output))
    }

    /// Takes a response on the side lane.
    fn respond_aside(&mut self, response: &Response<'_>, script: &Script, output: &mut Output) -> Result<Step, Fault> {
        let no_request = || Fault::new(FaultKind::Protocol, "a response to no request");
        let asked = self.side.asked.pop_front().ok_or_else(no_request)?;
        self.check_status(response.status, &response.body)?;
        response.set_cookies.iter().for_each(|field| self.cookies.set(field));
        let done = asked != Asked::Publish && self.side.asked.is_empty();
        if done || !response.keep_alive {
            output.close = Some(Lane::Side);
        }
        match asked {
            Asked::Publish => {
                let verdict = protocol::bayeux_verdict(&response.body)?;
                self.answered((verdict.accepted, verdict.refused), output)?;
                Ok(Step::Wait)
            }
            Asked::Confirm => {
                self.opened(script, output);
                Ok(Step::Wait)
            }
            Asked::Connect if self.take_batch(&response.body, script, output)? => Ok(self.go_on(script, output)),
            Asked::Connect => Err(Fault::new(FaultKind::Protocol, format!("no reply while {}", self.doing()))),
        }
    }

    /// Takes answers to so many publishes that were accepted and refused.
    fn answered(&mut self, (accepted, refused): (u64, u64), output: &mut Output) -> Result<(), Fault> {
        let left = u64::from(self.unanswered).checked_sub(accepted + refused);
        let left = left.and_then(|left| u32::try_from(left).ok());
        self.unanswered = left.ok_or_else(|| Fault::new(FaultKind::Protocol, "an answer to no publish"))?;
        output.accepted += accepted;
        output.refused += refused;
        Ok(())
    }

    /// Takes the events of a batch, and the reply that matters if it is among them; whether it was.
    fn take_batch(&mut self, body: &[u8], script: &Script, output: &mut Output) -> Result<bool, Fault> {
        let batch = bayeux::decode(body).map_err(|error| {
            Fault::new(FaultKind::Protocol, format!("no batch of messages while {}: {error}", self.doing()))
        })?;
        let holding = self.state == State::Holding;
        let mut replied = false;
        let mut events = 0_u32;
        for message in &batch {
            if let Some(number) = message.probe() {
                output.body.clear();
                bayeux::write_probe(&mut output.body, &self.client_id, number);
                self.ask(Asked::Confirm, script, output);
            } else if message.is_event() {
                events += 1;
                match Event::read(message.data()) {
                    Some(event) => output.events.push(event),
                    None => output.notes.push(message.data().into()),
                }
            } else if message.is_publish_reply() {
                let accepted = message.successful == Some(true);
                self.answered((u64::from(accepted), u64::from(!accepted)), output)?;
            } else if replied || !self.awaits() {
                return Err(Fault::new(FaultKind::Protocol, format!("a second reply, on {}", message.channel())));
            } else {
                replied = self.reply(message, script, output)?;
            }
        }
        let asks = self.role.transport != Transport::EventSource;
        output.empty_polls += u64::from(replied && holding && events == 0 && asks);
        Ok(replied)
    }

    /// Checks a reply and takes what it says; whether it was the last that is waited for.
    fn reply(&mut self, message: &Message<'_>, script: &Script, output: &mut Output) -> Result<bool, Fault> {
        let (channel, id) = match self.state {
            State::Handshaking => ("/meta/handshake", bayeux::HANDSHAKE_ID),
            State::Subscribing => ("/meta/subscribe", bayeux::SUBSCRIBE_ID),
            _ => ("/meta/connect", bayeux::CONNECT_ID),
        };
        if message.channel() != channel {
            let text = format!("a message on {} while {}", message.channel(), self.doing());
            return Err(Fault::new(FaultKind::Protocol, text));
        }
        let reconnect = message.advice.as_ref().and_then(|advice| advice.reconnect.as_deref());
        if self.role.persists && reconnect == Some("handshake") && self.state != State::Handshaking {
            self.state = State::Forgotten;
            output.anew += 1;
            return Ok(true);
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
        if let Some(reconnect @ ("handshake" | "none")) = reconnect {
            let text = format!("advice to reconnect by {reconnect:?} while {}", self.doing());
            return Err(Fault::new(FaultKind::Advice, text));
        }
        if let Some(interval) = message.advice.as_ref().and_then(|advice| advice.interval) {
            // In range by the clamp; a fraction of a millisecond is not waited.
            self.interval_ms = interval.clamp(0.0, PAUSE_MS_MAX) as u64;
        }
        let ext = message.ext();
        output.dropped += ext.dropped();
        match self.state {
            State::Handshaking => {
                let missing = || Fault::new(FaultKind::Protocol, "a handshake reply without clientId");
                self.client_id = message.client_id().ok_or_else(missing)?.into();
                self.ack = ext.agrees().then_some(-1);
                if script.ack && self.ack.is_none() {
                    return Err(Fault::new(FaultKind::Refused, "the server does not take acknowledgements (--ack)"));
                }
            }
            State::Subscribing => {
                self.due -= 1;
                return Ok(self.due == 0);
            }
            _ => self.ack = self.ack.map(|last| ext.batch().unwrap_or(last)),
        }
        Ok(true)
    }

    /// After a reply: the next request, or the pause before it.
    fn go_on(&mut self, script: &Script, output: &mut Output) -> Step {
        let next = match self.state {
            State::Forgotten => {
                self.forget();
                if self.role.transport == Transport::EventSource {
                    // The event stream is in the way.
                    (self.wire, self.open) = (Wire::new(self.role.transport, script.deflate), false);
                    output.close = Some(Lane::Main);
                }
                State::Handshaking
            }
            State::Handshaking if !self.role.channels.is_empty() => State::Subscribing,
            State::Handshaking | State::Subscribing if self.role.transport == Transport::EventSource => State::Opening,
            State::Handshaking | State::Subscribing => State::Joining,
            _ if self.interval_ms > 0 => {
                self.state = State::Pausing;
                return Step::Pause(self.interval_ms);
            }
            _ => State::Holding,
        };
        self.request(next, script, output);
        Step::Wait
    }

    /// Forgets the session.
    fn forget(&mut self) {
        (self.client_id, self.ack, self.interval_ms) = (Box::default(), None, 0);
    }

    /// Enters `state` and writes the request that it stands for.
    fn request(&mut self, state: State, script: &Script, output: &mut Output) {
        self.state = state;
        output.body.clear();
        match state {
            State::Handshaking => bayeux::write_handshake(&mut output.body, self.role.transport, script.ack),
            State::Subscribing => {
                self.due = u32::try_from(self.role.channels.len()).unwrap_or(u32::MAX);
                let channels = self.role.channels.iter().map(|at| script.channels[*at as usize].as_str());
                bayeux::write_subscribes(&mut output.body, &self.client_id, channels);
            }
            State::Opening => {
                let id = self.client_id.trim_matches('"');
                return http::write_listen(&mut output.request, &script.target, &self.cookies, id);
            }
            _ => {
                let (transport, at_once) = (self.role.transport, state == State::Joining);
                bayeux::write_connect(&mut output.body, &self.client_id, transport, at_once, self.ack);
                if transport == Transport::EventSource {
                    return self.ask(Asked::Connect, script, output);
                }
            }
        }
        match self.wire {
            Wire::Polling(_) | Wire::Stream(_) => {
                http::write_post(&mut output.request, &script.target, &self.cookies, &output.body);
            }
            Wire::Socket(_) => websocket::write_text(&mut output.request, &output.body, &mut output.codec),
        }
    }

    /// Writes the body as a request on the side lane.
    fn ask(&mut self, asked: Asked, script: &Script, output: &mut Output) {
        self.side.asked.push_back(asked);
        http::write_post(&mut output.side, &script.target, &self.cookies, &output.body);
    }

    /// The state in words, for messages.
    fn doing(&self) -> &'static str {
        match self.state {
            State::Idle => "not begun",
            State::Upgrading => "upgrading",
            State::Handshaking => "shaking hands",
            State::Subscribing => "subscribing",
            State::Opening => "opening its event stream",
            State::Joining => "connecting first",
            State::Holding => "polling",
            State::Pausing => "pausing",
            State::Forgotten => "beginning anew",
            State::Failed => "failed",
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
