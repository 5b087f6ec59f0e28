//! Owns the loop: one poll over many clients and the publisher, their connections and their timers. The scenarios in
//! `run` drive it by turns.
//!
//! The clients themselves decide nothing here; they are in `client`. What came is counted in `ledger`, and what is
//! published goes through `press`.

mod ledger;
mod press;
mod trouble;

pub(crate) use ledger::{Counts, Group, Ledger};

use crate::bayeux;
use crate::client::{Client, Ended, Fault, FaultKind, Lane, Output, Role, Script, Step};
use crate::event::{Batch, Event};
use crate::floor;
use crate::http;
use crate::link::{Got, Link, Route};
use crate::protocol::Verdict;
use crate::tally::Tally;
use crate::tls::Tls;
use mio::event::Event as Readiness;
use mio::{Events, Poll, Token};
use press::Press;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Readiness events taken in one turn.
const EVENTS_PER_TURN: usize = 1024;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
const NS_PER_MS: u64 = 1_000_000;
/// What the system keeps for a slow client, so that the server feels it soon. Less than some packets of the loopback
/// would make it slower than it is to be.
const SLOW_RECEIVE_BYTES: usize = 128 * 1024;
/// How often a slow client reads.
const SLOW_READS_PER_S: u64 = 10;

/// A client with its connections and its count.
#[derive(Debug)]
struct Member {
    client: Client,
    links: [Link; 2],
    tally: Tally,
    group: Group,
    /// Whether it has been parked since it began or came back.
    parked: bool,
    /// Whether it has failed.
    lost: bool,
    /// Whether a slow read of it is due.
    reading: bool,
    /// What was published while it was away.
    absence: Vec<Absence>,
    /// Whether the server has forgotten its session.
    anew: bool,
}

/// What was published to a client while its connections were gone.
#[derive(Clone, Copy, Debug)]
struct Absence {
    flow: u32,
    /// The first number that had not come when they went.
    from: u32,
    /// The first number that went out when the server had had time to see that they were gone.
    seen: u32,
    /// The first number that went out when it was back.
    to: u32,
}

/// What is to be done at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The member resumes.
    Resume(usize),
    /// The slow member reads.
    Read(usize),
    /// The server must have seen that connections broke.
    Seen,
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
    /// TLS, if the server speaks it.
    pub(crate) tls: Option<Rc<Tls>>,
    /// The mark of this run.
    pub(crate) run: u32,
    /// Bytes that a slow client reads in a second; 0 is none.
    pub(crate) slow_bytes_per_s: u64,
}

impl Setting {
    fn route(&self, index: usize) -> Route {
        let source = (!self.sources.is_empty()).then(|| self.sources[index % self.sources.len()]);
        Route { server: self.server, source, receive_bytes: None, tls: self.tls.clone() }
    }
}

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The publisher.
    Press,
    /// This member, over its own transport.
    Member(usize),
}

/// The loop and all that it serves.
pub(crate) struct Swarm {
    poll: Poll,
    setting: Setting,
    started: Instant,
    /// Nanoseconds since 1970 when it started.
    epoch_ns: u64,
    members: Vec<Member>,
    parked: usize,
    press: Press,
    /// Who publishes; a place in `members`.
    session: Option<usize>,
    /// When paused clients go on, and slow ones read.
    timers: BinaryHeap<Reverse<(u64, Timer)>>,
    /// Whether the slow ones are slow by now.
    slowed: bool,
    /// Whether they are so no more.
    woken: bool,
    output: Output,
    buffer: Box<[u8]>,
    ledger: Ledger,
    counts: Counts,
    /// Messages that members published and the server took, and refused.
    own: (u64, u64),
    notes: Vec<Box<str>>,
    last_activity_ns: u64,
    last_delivery_ns: u64,
}

impl Swarm {
    /// A loop with nobody in it, for so many sources.
    pub(crate) fn new(setting: Setting, sources: usize) -> io::Result<Self> {
        let ledger = Ledger::new(setting.run, setting.script.channels.len(), sources).map_err(io::Error::other)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            poll: Poll::new()?,
            setting,
            started: Instant::now(),
            // Until the year 2554 it fits.
            epoch_ns: since.as_nanos() as u64,
            members: Vec::new(),
            parked: 0,
            press: Press::default(),
            session: None,
            timers: BinaryHeap::new(),
            slowed: false,
            woken: false,
            output: Output::default(),
            buffer: vec![0; READ_BYTES].into(),
            ledger,
            counts: Counts::default(),
            own: (0, 0),
            notes: Vec::new(),
            last_activity_ns: 0,
            last_delivery_ns: 0,
        })
    }

    /// The clock of the run: nanoseconds since 1970, read once from the system and then never stepping, so that the
    /// times of several processes can be compared.
    pub(crate) fn now(&self) -> u64 {
        self.epoch_ns + self.started.elapsed().as_nanos() as u64
    }

    /// What is published and what came.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The same, to be changed.
    pub(crate) fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// What came besides.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What the server said of the messages.
    pub(crate) fn verdict(&self) -> Verdict {
        let Verdict { accepted, refused, reason } = &self.press.total;
        Verdict { accepted: accepted + self.own.0, refused: refused + self.own.1, reason: reason.clone() }
    }

    /// Whether every publish is answered.
    pub(crate) fn all_answered(&self) -> bool {
        let Verdict { accepted, refused, .. } = self.verdict();
        accepted + refused >= self.ledger.messages() && !self.press.awaits()
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

    /// Clients that are parked, or have been since they began or came back.
    pub(crate) fn parked(&self) -> usize {
        self.parked
    }

    /// Whether the server is a floor.
    pub(crate) fn serves_floor(&self) -> bool {
        let session = self.members.first().and_then(|member| member.client.session());
        session.is_some_and(|session| session.client_id() == floor::CLIENT_ID)
    }

    /// The mark of this run.
    pub(crate) fn run_mark(&self) -> u32 {
        self.setting.run
    }

    /// Connections that were opened again.
    pub(crate) fn reopened(&self) -> u64 {
        // A side lane is opened whenever it is needed.
        let main = self.members.iter().map(|member| u64::from(member.links[Lane::Main as usize].reopened()));
        main.sum::<u64>() + self.press.reopened()
    }

    /// Adds a client, which begins at once.
    pub(crate) fn join(&mut self, role: Role, group: Group) {
        let index = self.members.len();
        self.ledger.subscribe(group, &role.channels);
        let client = self.setting.script.protocol.client(role);
        let (links, tally) = <([Link; 2], Tally)>::default();
        let (parked, lost, reading, absence, anew) = (false, false, false, Vec::new(), false);
        self.members.push(Member { client, links, tally, group, parked, lost, reading, absence, anew });
        self.members[index].client.begin(&self.setting.script, &mut self.output);
        self.note_parked(index);
        self.send(index);
        self.output.clear();
    }

    /// Takes note of a member that has just been parked.
    fn note_parked(&mut self, index: usize) {
        let member = &mut self.members[index];
        if !member.parked && member.client.is_parked() {
            member.parked = true;
            self.parked += 1;
            for absence in &mut member.absence {
                absence.to = absence.to.min(self.ledger.published_in(absence.flow));
            }
        }
    }

    /// Has the last client that joined be the publisher's session.
    pub(crate) fn publish_with_last(&mut self) {
        self.session = self.members.len().checked_sub(1);
    }

    /// Whether the publisher has to wait before it publishes more of a flow.
    pub(crate) fn is_full(&self, flow: u32) -> bool {
        self.press.is_full(flow as usize % self.setting.script.channels.len())
    }

    /// Publishes the next `count` messages of a flow, which were meant to go at `intended`.
    pub(crate) fn publish(&mut self, source: Source, flow: u32, (count, size): (u32, usize), intended: u64) {
        let seq = self.ledger.publish(flow, count);
        let first = Event { run: self.setting.run, flow, seq, sent_us: intended / 1000 };
        let batch = Batch { first, count, size };
        let channel = flow as usize % self.setting.script.channels.len();
        match source {
            Source::Press => {
                let Some(session) = self.session else { return };
                let client = &self.members[session].client;
                let sent = self.press.publish((channel, batch), client, &self.setting, self.poll.registry());
                if let Err(fault) = sent {
                    self.count_fault(&fault, "the publisher");
                }
            }
            Source::Member(index) => {
                let script = &self.setting.script;
                self.members[index].client.publish(&script.channels[channel], batch, script, &mut self.output);
                self.send(index);
                self.output.clear();
            }
        }
        self.last_activity_ns = self.now();
    }

    /// Publishes something that is none of the run's messages.
    pub(crate) fn note(&mut self, channel: usize, data: &str) {
        let session = self.session.and_then(|session| self.members[session].client.session());
        let Some(session) = session else { return };
        let (script, mut body, mut bytes) = (&self.setting.script, Vec::new(), Vec::new());
        bayeux::write_note(&mut body, session.client_id(), &script.channels[channel], data);
        http::write_post(&mut bytes, &script.target, session.cookies(), &body);
        if let Err(fault) = self.press.send(channel, (bytes, 0), &self.setting, self.poll.registry()) {
            self.count_fault(&fault, "the publisher");
        }
    }

    /// What came to the publisher's session and is none of the run's messages.
    pub(crate) fn take_notes(&mut self) -> Vec<Box<str>> {
        std::mem::take(&mut self.notes)
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
            match Press::line_of(event.token()) {
                Some(line) => self.serve_press(line, event),
                None => {
                    let lane = if event.token().0 % 2 == 0 { Lane::Main } else { Lane::Side };
                    self.serve(event.token().0 / 2, lane, event);
                }
            }
        }
        self.wake();
        Ok(())
    }

    fn wake(&mut self) {
        let now = self.now();
        while let Some(&Reverse((due, timer))) = self.timers.peek() {
            if due > now {
                break;
            }
            self.timers.pop();
            match timer {
                Timer::Resume(index) => {
                    self.members[index].client.resume(&self.setting.script, &mut self.output);
                    self.send(index);
                    self.output.clear();
                }
                Timer::Read(index) => self.read_slowly(index),
                Timer::Seen => self.note_seen(),
            }
        }
    }

    /// Serves readiness of a client's connection.
    fn serve(&mut self, index: usize, lane: Lane, event: &Readiness) {
        let route = self.route(index);
        if let Err(fault) = self.members[index].links[lane as usize].ready(event, route) {
            return self.fail(index, &fault);
        }
        let ended = event.is_read_closed() || event.is_error();
        if !(event.is_readable() || ended) {
            return;
        }
        if self.slowed && !self.woken && lane == Lane::Main && self.members[index].group == Group::Slow {
            return self.wait_slowly(index, ended);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        self.read(index, lane, &mut buffer, event.is_read_closed());
        self.buffer = buffer;
    }

    /// Reads until there is nothing more, or the end.
    fn read(&mut self, index: usize, lane: Lane, buffer: &mut [u8], read_closed: bool) {
        loop {
            let count = match self.members[index].links[lane as usize].read(buffer) {
                Ok(Got::Bytes(count)) => count,
                Ok(Got::Nothing) => break,
                Ok(Got::End) => return self.ended(index, lane),
                Err(fault) => return self.fail(index, &fault),
            };
            self.received(index, lane, &buffer[..count]);
            // A short read has emptied the socket, unless the end stands behind it.
            if count < buffer.len() && !read_closed {
                break;
            }
        }
    }

    /// The server closed a client's connection.
    fn ended(&mut self, index: usize, lane: Lane) {
        let Member { client, links, .. } = &mut self.members[index];
        links[lane as usize].close();
        match client.ended(lane, &self.setting.script, &mut self.output) {
            Ended::Nothing => {}
            Ended::GoesOn => self.send(index),
            Ended::Fault(fault) => self.fail(index, &fault),
        }
        self.output.clear();
    }

    /// Bytes came for a client.
    fn received(&mut self, index: usize, lane: Lane, bytes: &[u8]) {
        let now = self.now();
        self.last_activity_ns = now;
        let member = &mut self.members[index];
        let step = member.client.receive(lane, bytes, &self.setting.script, &mut self.output);
        member.anew |= self.output.anew > 0;
        self.note_parked(index);
        self.count(index, now);
        if let Some(lane) = self.output.close {
            self.members[index].links[lane as usize].close();
        }
        match step {
            Ok(step) => {
                if let Step::Pause(ms) = step {
                    self.timers.push(Reverse((now + ms * NS_PER_MS, Timer::Resume(index))));
                }
                self.send(index);
            }
            Err(fault) => self.fail(index, &fault),
        }
        self.output.clear();
    }

    /// Counts what a client handed out.
    fn count(&mut self, index: usize, now: u64) {
        let (counts, output) = (&mut self.counts, &mut self.output);
        counts.empty_polls += output.empty_polls;
        counts.deflating += output.deflating;
        counts.deflated += output.deflated;
        counts.anew += output.anew;
        self.own.0 += output.accepted;
        self.own.1 += output.refused;
        let Member { client, tally, group, .. } = &mut self.members[index];
        self.ledger.share_mut(*group).dropped += output.dropped;
        if self.session == Some(index) {
            self.notes.append(&mut output.notes);
        }
        counts.strangers += output.notes.len() as u64;
        for event in &output.events {
            match self.ledger.record(*event, now, (tally, client.channels(), *group)) {
                Some(true) => self.last_delivery_ns = now,
                Some(false) => {}
                None => counts.strangers += 1,
            }
        }
    }

    /// Sends the requests in the output for a client.
    fn send(&mut self, index: usize) {
        let route = self.route(index);
        let now = self.now();
        let mut sent = Ok(());
        for (lane, bytes) in [(Lane::Main, &self.output.request), (Lane::Side, &self.output.side)] {
            if bytes.is_empty() || sent.is_err() {
                continue;
            }
            self.last_activity_ns = now;
            let token = Token(index * 2 + lane as usize);
            sent = self.members[index].links[lane as usize].send(bytes, route.clone(), self.poll.registry(), token);
        }
        if let Err(fault) = sent {
            self.fail(index, &fault);
        }
    }

    fn route(&self, index: usize) -> Route {
        let slow = self.members[index].group == Group::Slow;
        Route { receive_bytes: slow.then_some(SLOW_RECEIVE_BYTES), ..self.setting.route(index) }
    }

    /// Ends a client. From one that is slow the server may take its connection, and do nothing else to it.
    fn fail(&mut self, index: usize, fault: &Fault) {
        let Member { client, links, lost, group, .. } = &mut self.members[index];
        client.fail();
        links.iter_mut().for_each(Link::close);
        if std::mem::replace(lost, true) {
            return;
        }
        let cut = matches!(fault.kind, FaultKind::Closed | FaultKind::Io);
        if cut && self.slowed && *group == Group::Slow {
            self.counts.cut += 1;
        } else {
            self.count_fault(fault, &format!("client {}", index + 1));
        }
    }

    fn count_fault(&mut self, fault: &Fault, who: &str) {
        *self.counts.faults.entry(fault.kind.key()).or_default() += 1;
        self.counts.first_fault.get_or_insert_with(|| format!("{who}: {fault}"));
    }

    /// Serves readiness of a connection that publishes.
    fn serve_press(&mut self, line: usize, event: &Readiness) {
        let served = self.press.serve((line, event), &self.setting, self.poll.registry(), &mut self.buffer);
        self.last_activity_ns = self.now();
        if let Err(fault) = served {
            self.count_fault(&fault, "the publisher");
        }
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
