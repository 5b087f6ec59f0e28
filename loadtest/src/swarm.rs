//! Owns the loop: one poll over many clients and one publisher, their connections, their timers, and the exact counts
//! of what came. The scenarios in `run` drive it by turns.
//!
//! The clients themselves decide nothing here; they are in `client` and `publisher`.

use crate::client::{Client, Fault, FaultKind, Output, Script, State, Step};
use crate::link::{Got, Link, Route};
use crate::publisher::{Due, Publisher};
use crate::tally::{Arrival, Tally};
use hdrhistogram::Histogram;
use mio::event::Event as Readiness;
use mio::{Events, Poll, Token};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Readiness events taken in one turn.
const EVENTS_PER_TURN: usize = 1024;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// The connection that publishes; clients have their index as token.
const PUBLISHING: Token = Token(usize::MAX - 1);
/// The longest latency that is told apart: an hour.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// A client with its connection and its count.
#[derive(Debug)]
struct Member {
    client: Client,
    link: Link,
    tally: Tally,
}

/// The publisher, with its second connection.
#[derive(Debug)]
struct Press {
    publisher: Publisher,
    link: Link,
    session: usize,
}

/// What came, exactly.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Deliveries, each counted the first time only.
    pub(crate) delivered: u64,
    /// Deliveries that came again.
    pub(crate) duplicated: u64,
    /// Deliveries after one that was published later.
    pub(crate) out_of_order: u64,
    /// Events that this run did not publish.
    pub(crate) strangers: u64,
    /// Held connects that were answered without an event.
    pub(crate) empty_polls: u64,
    /// WebSockets with compression agreed on.
    pub(crate) deflating: u64,
    /// Messages that came compressed.
    pub(crate) deflated: u64,
    /// Failures by their key.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// The first failure in words.
    pub(crate) first_fault: Option<String>,
}

/// What all connections of a run share.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// What the clients do.
    pub(crate) script: Script,
    /// The server.
    pub(crate) server: SocketAddr,
    /// Source addresses, taken in turn; none leaves it to the system.
    pub(crate) sources: Vec<IpAddr>,
    /// The mark of this run.
    pub(crate) run: u32,
}

impl Setting {
    fn route(&self, index: usize) -> Route {
        let source = (!self.sources.is_empty()).then(|| self.sources[index % self.sources.len()]);
        Route { server: self.server, source }
    }
}

/// The loop and all that it serves.
pub(crate) struct Swarm {
    poll: Poll,
    setting: Setting,
    started: Instant,
    members: Vec<Member>,
    joined: usize,
    press: Option<Press>,
    /// When paused clients go on.
    timers: BinaryHeap<Reverse<(u64, usize)>>,
    output: Output,
    buffer: Box<[u8]>,
    counts: Counts,
    latency_ns: Histogram<u64>,
    last_activity_ns: u64,
    last_delivery_ns: u64,
}

impl Swarm {
    /// A loop with nobody in it.
    pub(crate) fn new(setting: Setting) -> io::Result<Self> {
        let latency_ns = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).map_err(io::Error::other)?;
        Ok(Self {
            poll: Poll::new()?,
            setting,
            started: Instant::now(),
            members: Vec::new(),
            joined: 0,
            press: None,
            timers: BinaryHeap::new(),
            output: Output::default(),
            buffer: vec![0; READ_BYTES].into(),
            counts: Counts::default(),
            latency_ns,
            last_activity_ns: 0,
            last_delivery_ns: 0,
        })
    }

    /// Nanoseconds since the loop was made: the clock of the run.
    pub(crate) fn now(&self) -> u64 {
        // 584 years fit.
        self.started.elapsed().as_nanos() as u64
    }

    /// What came so far.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The latencies of all deliveries.
    pub(crate) fn latency_ns(&self) -> &Histogram<u64> {
        &self.latency_ns
    }

    /// The publisher, once it is there.
    pub(crate) fn publisher(&self) -> Option<&Publisher> {
        self.press.as_ref().map(|press| &press.publisher)
    }

    /// When bytes last came or went.
    pub(crate) fn last_activity(&self) -> u64 {
        self.last_activity_ns
    }

    /// When an event was last delivered.
    pub(crate) fn last_delivery(&self) -> u64 {
        self.last_delivery_ns
    }

    /// Clients that are in it.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Clients whose first connect was answered.
    pub(crate) fn joined(&self) -> usize {
        self.joined
    }

    /// The mark of this run.
    pub(crate) fn run_mark(&self) -> u32 {
        self.setting.run
    }

    /// Connections that were opened again.
    pub(crate) fn reopened(&self) -> u64 {
        let publishing = self.press.iter().map(|press| &press.link);
        self.members.iter().map(|member| &member.link).chain(publishing).map(|link| u64::from(link.reopened())).sum()
    }

    /// Adds a client that subscribes, which begins at once.
    pub(crate) fn join(&mut self) {
        self.add(Client::new(&self.setting.script));
    }

    /// Adds a session to publish with, which begins at once.
    pub(crate) fn join_publishing(&mut self) {
        self.add(Client::session());
    }

    fn add(&mut self, client: Client) {
        let index = self.members.len();
        self.members.push(Member { client, link: Link::default(), tally: Tally::default() });
        self.members[index].client.begin(&self.setting.script, &mut self.output);
        self.send(index);
        self.output.clear();
    }

    /// Makes the client `session` the publisher.
    pub(crate) fn set_publisher(&mut self, session: usize, publisher: Publisher) {
        self.press = Some(Press { publisher, link: Link::default(), session });
    }

    /// Publishes the next message, which was meant to go at `intended`.
    pub(crate) fn publish(&mut self, intended: u64) {
        let Some(mut press) = self.press.take() else { return };
        let route = self.setting.route(press.session + 1);
        let Press { publisher, link, session } = &mut press;
        publisher.publish(&self.members[*session].client, &self.setting.script, intended, &mut self.output.request);
        if let Err(fault) = link.send(&self.output.request, route, self.poll.registry(), PUBLISHING) {
            self.count_fault(&fault, "the publisher");
            link.close();
        }
        self.output.clear();
        self.last_activity_ns = self.now();
        self.press = Some(press);
    }

    /// What is to be done about the next message.
    pub(crate) fn due(&self, now: u64, all_delivered: bool) -> Due {
        self.publisher().map_or(Due::Done, |publisher| publisher.due(now, all_delivered))
    }

    /// Waits for readiness until `until` at most and serves it, timers too.
    pub(crate) fn turn(&mut self, events: &mut Events, until: u64) -> io::Result<()> {
        let until = self.timers.peek().map_or(until, |Reverse((due, _))| until.min(*due));
        let wait = until.saturating_sub(self.now());
        // The poll rounds up to whole milliseconds; the last one is spun, so that a publish goes at its time.
        let wait = if wait < NS_PER_MS { Duration::ZERO } else { Duration::from_millis(wait / NS_PER_MS) };
        match self.poll.poll(events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in events.iter() {
            if event.token() == PUBLISHING {
                self.serve_publisher(event);
            } else {
                self.serve(event.token().0, event);
            }
        }
        self.wake_paused();
        Ok(())
    }

    fn wake_paused(&mut self) {
        let now = self.now();
        while let Some(&Reverse((due, index))) = self.timers.peek() {
            if due > now {
                break;
            }
            self.timers.pop();
            if self.members[index].client.state() == State::Pausing {
                self.members[index].client.resume(&self.setting.script, &mut self.output);
                self.send(index);
                self.output.clear();
            }
        }
    }

    /// Serves readiness of a client's connection.
    fn serve(&mut self, index: usize, event: &Readiness) {
        let route = self.setting.route(index);
        if let Err(fault) = self.members[index].link.ready(event, route) {
            return self.fail(index, &fault);
        }
        if !(event.is_readable() || event.is_read_closed() || event.is_error()) {
            return;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let count = match self.members[index].link.read(&mut buffer) {
                Ok(Got::Bytes(count)) => count,
                Ok(Got::Nothing) => break,
                Ok(Got::End) => {
                    self.ended(index);
                    break;
                }
                Err(fault) => {
                    self.fail(index, &fault);
                    break;
                }
            };
            self.received(index, &buffer[..count]);
            // A short read has emptied the socket, unless the end stands behind it.
            if count < buffer.len() && !event.is_read_closed() {
                break;
            }
        }
        self.buffer = buffer;
    }

    /// The server closed a client's connection.
    fn ended(&mut self, index: usize) {
        let Member { client, link, .. } = &mut self.members[index];
        if client.needs_connection() {
            let text = format!("the server closed the connection while {}", client.doing());
            self.fail(index, &Fault::new(FaultKind::Closed, text));
        } else {
            link.close();
        }
    }

    /// Bytes came for a client.
    fn received(&mut self, index: usize, bytes: &[u8]) {
        let now = self.now();
        self.last_activity_ns = now;
        let client = &mut self.members[index].client;
        let joining = client.state() == State::Joining;
        let step = client.receive(bytes, &self.setting.script, &mut self.output);
        self.joined += usize::from(joining && matches!(client.state(), State::Holding | State::Pausing));
        self.count(index, now);
        if self.output.close {
            self.members[index].link.close();
        }
        match step {
            Ok(Step::Wait) => {}
            Ok(Step::Send) => self.send(index),
            Ok(Step::Pause(ms)) => {
                self.timers.push(Reverse((now + ms * NS_PER_MS, index)));
                if !self.output.request.is_empty() {
                    self.send(index);
                }
            }
            Err(fault) => self.fail(index, &fault),
        }
        self.output.clear();
    }

    /// Counts what a client handed out.
    fn count(&mut self, index: usize, now: u64) {
        let published = self.publisher().map_or(0, Publisher::published);
        self.counts.strangers += self.output.strangers;
        self.counts.empty_polls += self.output.empty_polls;
        self.counts.deflating += self.output.deflating;
        self.counts.deflated += self.output.deflated;
        for event in &self.output.events {
            if event.run != self.setting.run || event.seq >= published || !self.members[index].client.subscribes() {
                self.counts.strangers += 1;
                continue;
            }
            let arrival = self.members[index].tally.record(event.seq);
            if arrival == Arrival::Duplicate {
                self.counts.duplicated += 1;
                continue;
            }
            self.counts.delivered += 1;
            self.counts.out_of_order += u64::from(arrival == Arrival::Late);
            self.latency_ns.saturating_record(now.saturating_sub(event.sent).max(1));
            self.last_delivery_ns = now;
        }
    }

    /// Sends the request in the output for a client.
    fn send(&mut self, index: usize) {
        let route = self.setting.route(index);
        let sent = self.members[index].link.send(&self.output.request, route, self.poll.registry(), Token(index));
        self.last_activity_ns = self.now();
        if let Err(fault) = sent {
            self.fail(index, &fault);
        }
    }

    /// Ends a client.
    fn fail(&mut self, index: usize, fault: &Fault) {
        self.count_fault(fault, &format!("client {}", index + 1));
        let Member { client, link, .. } = &mut self.members[index];
        client.fail();
        link.close();
    }

    fn count_fault(&mut self, fault: &Fault, who: &str) {
        *self.counts.faults.entry(fault.kind.key()).or_default() += 1;
        self.counts.first_fault.get_or_insert_with(|| format!("{who}: {fault}"));
    }

    /// Serves readiness of the connection that publishes.
    fn serve_publisher(&mut self, event: &Readiness) {
        let Some(mut press) = self.press.take() else { return };
        let mut buffer = std::mem::take(&mut self.buffer);
        let route = self.setting.route(press.session + 1);
        let served = press.serve(event, route, &mut buffer);
        self.last_activity_ns = self.now();
        if let Err(fault) = served {
            self.count_fault(&fault, "the publisher");
            press.link.close();
        }
        self.buffer = buffer;
        self.press = Some(press);
    }
}

impl Press {
    fn serve(&mut self, event: &Readiness, route: Route, buffer: &mut [u8]) -> Result<(), Fault> {
        self.link.ready(event, route)?;
        loop {
            match self.link.read(buffer)? {
                Got::Bytes(count) => self.publisher.receive(&buffer[..count])?,
                Got::Nothing => break,
                Got::End if self.publisher.awaits() => {
                    return Err(Fault::new(
                        FaultKind::Closed,
                        "the server closed the connection before it answered a publish",
                    ));
                }
                Got::End => {
                    // The next publish opens another.
                    self.link.close();
                    break;
                }
            }
        }
        if self.publisher.closes() && !self.publisher.awaits() {
            self.link.close();
        }
        Ok(())
    }
}

/// Room for the readiness events of a turn.
pub(crate) fn events() -> Events {
    Events::with_capacity(EVENTS_PER_TURN)
}

impl std::fmt::Debug for Swarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Swarm")
            .field("members", &self.members.len())
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
