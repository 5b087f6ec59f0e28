//! Owns one subscriber of nchan, the publish-subscribe module of nginx, and how a message is published there. The path
//! of the run's URL is followed by the channel's name: what is published to `/pub/load` is heard at `/sub/load`.
//!
//! | state | waits for | then |
//! |---|---|---|
//! | `Idle` | `begin` | `Opening` |
//! | `Opening` | the server's first word: the answer to `OPTIONS`, the head of the event stream, the WebSocket | `Listening` |
//! | `Listening` | messages; with long polling each is the answer to a poll | `Listening` |
//! | `Failed` | nothing | — |
//!
//! A poll names the last message by its date and its tag, so that what was published between two polls comes with the
//! next. Whoever subscribes to nothing goes no further than to `Listening`, and publishes.

use crate::bayeux::Transport;
use crate::client::{Ended, Fault, FaultKind, Lane, Output, Role, Script, Step};
use crate::event::{Batch, Event};
use crate::http::{self, Cookies, Piece, Reassembly, Response, Responses, Target};
use crate::protocol::Verdict;
use crate::websocket::{self, Came, Socket};
use std::rc::Rc;

/// Bytes of a line of an event stream.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where a subscriber is; the table is at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Opening,
    Listening,
    Failed,
}

/// How messages come.
#[derive(Debug)]
enum Wire {
    /// Each in the response to a request.
    Polling(Reassembly),
    /// In one response that does not end; what is kept is a line without its end.
    Stream(Responses, Vec<u8>),
    /// In frames.
    Socket(Box<Socket>),
}

/// One subscriber.
#[derive(Debug)]
pub(crate) struct Subscriber {
    role: Role,
    state: State,
    wire: Wire,
    /// `Last-Modified` and `Etag` of the last message.
    last: Option<(Box<str>, Box<str>)>,
}

impl Subscriber {
    /// A subscriber that has not begun.
    pub(crate) fn new(role: Role) -> Self {
        Self { role, state: State::Idle, wire: Wire::Polling(Reassembly::default()), last: None }
    }

    /// What it subscribed to.
    pub(crate) fn channels(&self) -> &Rc<[u32]> {
        &self.role.channels
    }

    /// Whether what is published from now on reaches it.
    pub(crate) fn is_parked(&self) -> bool {
        self.state == State::Listening
    }

    /// Ends it.
    pub(crate) fn fail(&mut self) {
        (self.state, self.wire) = (State::Failed, Wire::Polling(Reassembly::default()));
    }

    /// Writes the first request. On new connections it goes on with the message after the last.
    pub(crate) fn begin(&mut self, script: &Script, output: &mut Output) {
        self.state = State::Opening;
        let target = self.target(script);
        match self.role.transport {
            _ if self.role.channels.is_empty() => self.ask(script, output),
            Transport::WebSocket => {
                let mut socket = Socket::new(script.deflate);
                socket.write_upgrade(&mut output.request, &target, &Cookies::default(), &mut output.codec);
                self.wire = Wire::Socket(Box::new(socket));
            }
            Transport::EventSource => {
                write_head(&mut output.request, "GET", &target);
                output.request.extend_from_slice(b"Accept: text/event-stream\r\n\r\n");
                self.wire = Wire::Stream(Responses::default(), Vec::new());
            }
            Transport::LongPolling | Transport::Streaming => self.ask(script, output),
        }
    }

    /// Writes a request that is answered at once, so that the connection stands before the first poll.
    fn ask(&mut self, script: &Script, output: &mut Output) {
        self.wire = Wire::Polling(Reassembly::default());
        write_head(&mut output.request, "OPTIONS", &self.target(script));
        output.request.extend_from_slice(b"\r\n");
    }

    /// The server closed its connection.
    pub(crate) fn ended(&self) -> Ended {
        if self.state == State::Failed || (self.state == State::Listening && self.role.channels.is_empty()) {
            return Ended::Nothing;
        }
        let doing = if self.state == State::Listening { "listening" } else { "opening" };
        Ended::Fault(Fault::new(FaultKind::Closed, format!("the server closed the connection while {doing}")))
    }

    /// Takes bytes of the server.
    pub(crate) fn receive(&mut self, bytes: &[u8], script: &Script, output: &mut Output) -> Result<Step, Fault> {
        match &mut self.wire {
            Wire::Polling(reassembly) => {
                let mut reassembly = std::mem::take(reassembly);
                let taken = reassembly.feed(bytes, |response| self.respond(&response, script, output));
                self.wire = Wire::Polling(reassembly);
                taken?;
            }
            Wire::Stream(responses, line) => {
                let mut rest = bytes;
                while let Some(piece) = responses.next(&mut rest)? {
                    match piece {
                        Piece::Head { status: 200, .. } => self.state = State::Listening,
                        Piece::Head { status, .. } => return Err(status_fault(status, "opening its event stream")),
                        Piece::Body(body) => take_lines(line, body, output)?,
                        Piece::End => return Err(Fault::new(FaultKind::Closed, "the event stream has ended")),
                    }
                }
            }
            Wire::Socket(_) => self.receive_frames(bytes, output)?,
        }
        Ok(Step::Wait)
    }

    fn receive_frames(&mut self, bytes: &[u8], output: &mut Output) -> Result<(), Fault> {
        let mut rest = bytes;
        while let Wire::Socket(socket) = &mut self.wire
            && let Some(came) = socket.next(&mut rest, &mut Cookies::default(), &mut output.codec)?
        {
            match came {
                Came::Opened { deflate } => {
                    output.deflating += u64::from(deflate);
                    self.state = State::Listening;
                }
                Came::Pong(payload) => websocket::write_answer(&mut output.request, &payload, &mut output.codec),
                Came::Text { text, deflated } => {
                    output.deflated += u64::from(deflated);
                    take_event(&text, output)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the answer to a poll, or to what comes before the first.
    fn respond(&mut self, response: &Response<'_>, script: &Script, output: &mut Output) -> Result<(), Fault> {
        if !output.request.is_empty() || (self.state == State::Listening && self.role.channels.is_empty()) {
            return Err(Fault::new(FaultKind::Protocol, "a response to no request"));
        }
        match (self.state, response.status) {
            (State::Opening, 200) => self.state = State::Listening,
            (State::Listening, 200) => {
                take_event(&response.body, output)?;
                let (Some(date), Some(tag)) = (response.last_modified, response.etag) else {
                    let text = "a message without Last-Modified and Etag: the next poll cannot name it";
                    return Err(Fault::new(FaultKind::Protocol, text));
                };
                self.last = Some((date.into(), tag.into()));
            }
            // Its time was over.
            (State::Listening, 304 | 408) => output.empty_polls += 1,
            (_, status) => return Err(status_fault(status, "polling")),
        }
        if !response.keep_alive {
            output.close = Some(Lane::Main);
        }
        if !self.role.channels.is_empty() {
            self.poll(script, output);
        }
        Ok(())
    }

    fn poll(&self, script: &Script, output: &mut Output) {
        let out = &mut output.request;
        write_head(out, "GET", &self.target(script));
        if let Some((date, tag)) = &self.last {
            for part in ["If-Modified-Since: ", date, "\r\nIf-None-Match: ", tag, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Where its channel is heard; the first of the run, if it has none.
    fn target(&self, script: &Script) -> Target {
        let at = self.role.channels.first().map_or(0, |at| *at as usize);
        below(&script.target, &script.channels[at])
    }
}

/// Writes a request that publishes the one message of `batch`.
pub(crate) fn write_publish(out: &mut Vec<u8>, publish: &Target, channel: &str, batch: Batch) {
    let mut body = Vec::new();
    batch.first.write(batch.size, &mut body);
    http::write_post(out, &below(publish, channel), &Cookies::default(), &body);
}

/// Judges the answer to it: 201 says that somebody was listening, 202 that nobody was.
pub(crate) fn judge_publish(response: &Response<'_>) -> Result<Verdict, Fault> {
    match response.status {
        201 | 202 => Ok(Verdict { accepted: 1, ..Verdict::default() }),
        status => Err(status_fault(status, "publishing")),
    }
}

/// The channel's path, which begins with a slash, behind the target's.
fn below(target: &Target, channel: &str) -> Target {
    Target { host: target.host.clone(), path: format!("{}{channel}", target.path.trim_end_matches('/')) }
}

fn write_head(out: &mut Vec<u8>, method: &str, target: &Target) {
    for part in [method, " ", &target.path, " HTTP/1.1\r\nHost: ", &target.host, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn status_fault(status: u16, doing: &str) -> Fault {
    Fault::new(FaultKind::Status, format!("HTTP {status} while {doing}"))
}

/// Takes some of an event stream. Messages are published without line ends, so that each line of data is one.
fn take_lines(held: &mut Vec<u8>, body: &[u8], output: &mut Output) -> Result<(), Fault> {
    held.extend_from_slice(body);
    let mut from = 0;
    while let Some(length) = memchr::memchr(b'\n', &held[from..]) {
        if let Some(data) = held[from..from + length].strip_prefix(b"data: ") {
            take_event(data, output)?;
        }
        from += length + 1;
    }
    held.drain(..from);
    if held.len() > LINE_BYTES_MAX {
        return Err(Fault::new(FaultKind::Protocol, format!("a line of more than {LINE_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn take_event(data: &[u8], output: &mut Output) -> Result<(), Fault> {
    let text = std::str::from_utf8(data)
        .map_err(|error| Fault::new(FaultKind::Protocol, format!("a message that is not UTF-8: {error}")))?;
    match Event::read(text) {
        Some(event) => output.events.push(event),
        None => output.notes.push(text.into()),
    }
    Ok(())
}

#[cfg(test)]
#[path = "nchan_tests.rs"]
mod tests;
