//! Owns the course of a scenario: park the clients, wait until it is quiet, publish or watch, and collect the figures.
//!
//! Further scenarios (rooms, storm, slow, mixed) become siblings of [`fanout`] and [`idle`] on the same [`Stage`].

use crate::args::{Common, Fanout, Idle};
use crate::client::Script;
use crate::proc::{self, Usage};
use crate::publisher::{Due, Plan, Publisher};
use crate::report::{self, Deflate, Delivery, Generator, Kernel, Latency, Parking, Report, Server, Watch};
use crate::swarm::{self, Setting, Swarm};
use crate::watch::{self, Goal, Seen};
use mio::Events;
use std::net::ToSocketAddrs;
use std::time::{SystemTime, UNIX_EPOCH};

const NS_PER_S: u64 = 1_000_000_000;
/// How long nothing may move for it to be quiet.
const QUIET_NS: u64 = 250_000_000;
/// How long quiet is waited for.
const SETTLE_NS_MAX: u64 = 5 * NS_PER_S;
/// CPU of the server in a quiet time that is still quiet: a tick and a bit.
const QUIET_CPU_S: f64 = 0.011;

/// A run under way.
struct Stage<'a> {
    common: &'a Common,
    swarm: Swarm,
    events: Events,
    /// When the whole must have ended.
    deadline: u64,
    watch: watch::Watch,
    /// What is being done, and what ends it.
    phase: (&'static str, Goal),
}

/// Publishes to many; the error is a line for the user.
pub(crate) fn fanout(args: &Fanout) -> Result<Report, String> {
    let mut stage = Stage::new(&args.common)?;
    let (mut report, [before, parked]) = stage.park()?;
    let clients = stage.swarm.len();
    stage.swarm.join_publishing();
    stage.until_joined(clients + 1)?;
    report.parking.settled &= stage.settle()?;

    let start = (stage.sample()?, proc::sample(proc::SELF).unwrap_or_default());
    let started = stage.swarm.now();
    let interval_ns = (args.rate > 0.0).then(|| NS_PER_S as f64 / args.rate);
    let plan = Plan { messages: args.messages, interval_ns, size: args.size, run: stage.swarm.run_mark() };
    stage.swarm.set_publisher(clients, Publisher::new(plan, started));
    stage.phase = ("publishing", Goal::Delivered(u64::from(args.messages) * clients as u64));
    report.complaints.extend(stage.publish(clients as u64, args.drain_s)?);
    // What the server still does for the last event, taking the polls that follow, belongs to it.
    stage.settle()?;
    let own = proc::sample(proc::SELF).unwrap_or_default();

    report.scenario = "fanout".into();
    report.delivery = Some(stage.delivery(args, started));
    report.latency_us = Latency::of(stage.swarm.latency_ns());
    report.latency_curve = report::latency_curve(stage.swarm.latency_ns());
    stage.measure(&mut report, [before, parked, start.0]);
    report.generator = Some(Generator::of(start.1, own));
    if let Some(refusal) = stage.swarm.publisher().and_then(Publisher::first_refusal) {
        report.complaints.push(format!("a publish was refused: {refusal}"));
    }
    Ok(stage.finish(report))
}

/// Holds many; the error is a line for the user.
pub(crate) fn idle(args: &Idle) -> Result<Report, String> {
    let mut stage = Stage::new(&args.common)?;
    let (mut report, [before, parked]) = stage.park()?;
    let start = (stage.sample()?, proc::sample(proc::SELF).unwrap_or_default());
    let (started, polls) = (stage.swarm.now(), stage.swarm.counts().empty_polls);
    let until = started + args.seconds * NS_PER_S;
    stage.phase = ("watching", Goal::Time(started, until));
    while stage.swarm.now() < until {
        stage.check_time("watching")?;
        stage.turn(until)?;
    }
    let own = proc::sample(proc::SELF).unwrap_or_default();

    report.scenario = "idle".into();
    let polls_ended = stage.swarm.counts().empty_polls - polls;
    report.idle = Some(Watch { seconds: seconds(stage.swarm.now() - started), polls_ended });
    stage.measure(&mut report, [before, parked, start.0]);
    report.generator = Some(Generator::of(start.1, own));
    if stage.swarm.counts().strangers > 0 {
        report
            .complaints
            .push(format!("{} events came although nothing was published", stage.swarm.counts().strangers));
    }
    Ok(stage.finish(report))
}

impl<'a> Stage<'a> {
    fn new(common: &'a Common) -> Result<Self, String> {
        // The clients and the two connections of the publisher.
        proc::make_room(u64::from(common.clients) + 2, &common.sources)?;
        let mut addresses = (common.host.as_str(), common.port)
            .to_socket_addrs()
            .map_err(|error| format!("cannot resolve {}: {error}", common.host))?;
        let fits =
            |server: &std::net::SocketAddr| common.sources.iter().all(|source| source.is_ipv4() == server.is_ipv4());
        let server =
            addresses.find(fits).ok_or_else(|| format!("no address of {} that suits --source-addrs", common.host))?;
        let script = Script {
            target: common.target.clone(),
            channel: common.channel.clone(),
            transport: common.transport,
            deflate: common.deflate,
        };
        let setting = Setting { script, server, sources: common.sources.clone(), run: run_mark() };
        let swarm = Swarm::new(setting).map_err(|error| format!("cannot make a poll: {error}"))?;
        let watch = watch::Watch::new(common.pid, common.quiet);
        let phase = ("parking", Goal::Parked);
        Ok(Self { common, swarm, events: swarm::events(), deadline: common.timeout_s * NS_PER_S, watch, phase })
    }

    /// What the server used up to now; nothing without `--pid`.
    fn sample(&self) -> Result<Usage, String> {
        self.common.pid.map_or(Ok(Usage::default()), |pid| proc::sample(&pid.to_string()))
    }

    /// Adds what the server used by now; a server that has gone is a complaint, not the end of the report.
    fn measure(&self, report: &mut Report, [before, parked, start]: [Usage; 3]) {
        let Some(pid) = self.common.pid else { return };
        match self.sample() {
            Ok(end) => report.server = Some(Server::of(pid, report.clients, [before, parked, start, end])),
            Err(error) => report.complaints.push(error),
        }
    }

    fn turn(&mut self, until: u64) -> Result<(), String> {
        let now = self.swarm.now();
        self.watch.look(now, self.seen());
        let until = until.min(self.deadline).min(self.watch.due());
        self.swarm.turn(&mut self.events, until).map_err(|error| format!("the poll failed: {error}"))
    }

    fn seen(&self) -> Seen {
        let (counts, clients) = (self.swarm.counts(), u64::from(self.common.clients));
        let (phase, goal) = self.phase;
        Seen {
            phase,
            goal,
            clients,
            parked: clients.min(self.swarm.joined() as u64),
            published: self.swarm.publisher().map_or(0, |publisher| u64::from(publisher.published())),
            delivered: counts.delivered,
            faults: counts.faults.values().sum(),
        }
    }

    fn check_time(&self, doing: &str) -> Result<(), String> {
        let late = self.swarm.now() >= self.deadline;
        if late { Err(format!("--timeout of {} s has passed while {doing}", self.common.timeout_s)) } else { Ok(()) }
    }

    /// Parks all clients. Gives the start of a report, and what the server used before and after.
    fn park(&mut self) -> Result<(Report, [Usage; 2]), String> {
        let clients = self.common.clients as usize;
        let (before, sockets) = (self.sample()?, proc::sockets());
        let started = self.swarm.now();
        while self.swarm.joined() < clients {
            while self.swarm.len() < clients.min(self.swarm.joined() + self.common.ramp as usize) {
                self.swarm.join();
            }
            self.advance()?;
        }
        let took = seconds(self.swarm.now() - started);
        let settled = self.settle()?;
        let report = Report {
            version: env!("CARGO_PKG_VERSION").into(),
            url: self.common.url.clone(),
            transport: self.common.transport.name().into(),
            clients: clients as u64,
            parking: Parking { seconds: took, clients_per_second: clients as f64 / took, settled },
            kernel: Kernel::of(sockets, proc::sockets()),
            ..Report::default()
        };
        Ok((report, [before, self.sample()?]))
    }

    fn until_joined(&mut self, count: usize) -> Result<(), String> {
        while self.swarm.joined() < count {
            self.advance()?;
        }
        Ok(())
    }

    /// A turn in which no client may fail.
    fn advance(&mut self) -> Result<(), String> {
        self.check_time(&format!("parking, {} of {} done", self.swarm.joined(), self.common.clients))?;
        self.turn(self.deadline)?;
        self.swarm.counts().first_fault.as_ref().map_or(Ok(()), |fault| Err(fault.clone()))
    }

    /// Turns until no byte has moved for a while and the server has used no CPU in it. Says whether that came about.
    fn settle(&mut self) -> Result<bool, String> {
        // A server that has gone uses none; whoever needs its figures finds out.
        let used = |stage: &Self| stage.sample().unwrap_or_default().cpu_s();
        let until = self.swarm.now() + SETTLE_NS_MAX;
        let mut cpu = used(self);
        let mut since = self.swarm.now();
        self.phase = ("settling", Goal::Unknown);
        while self.swarm.now() < until.min(self.deadline) {
            let quiet_at = self.swarm.last_activity().max(since) + QUIET_NS;
            if self.swarm.now() < quiet_at {
                self.turn(quiet_at)?;
                continue;
            }
            let now = used(self);
            if now - cpu < QUIET_CPU_S {
                return Ok(true);
            }
            (cpu, since) = (now, self.swarm.now());
        }
        Ok(false)
    }

    /// Publishes all messages and waits for their deliveries. Gives a complaint if time ran out.
    fn publish(&mut self, clients: u64, drain_s: u64) -> Result<Option<String>, String> {
        let mut progress = (0, 0, 0);
        let mut progressed = self.swarm.now();
        loop {
            let now = self.swarm.now();
            let (published, acknowledged) =
                self.swarm.publisher().map_or((0, 0), |publisher| (publisher.published(), publisher.acknowledged()));
            let delivered = self.swarm.counts().delivered;
            if progress != (published, acknowledged, delivered) {
                progress = (published, acknowledged, delivered);
                progressed = now;
            }
            let all_delivered = delivered == u64::from(published) * clients;
            let drained = progressed + drain_s * NS_PER_S;
            let until = match self.swarm.due(now, all_delivered) {
                Due::Now(intended) => {
                    self.swarm.publish(intended);
                    continue;
                }
                Due::At(at) => at,
                Due::Done if all_delivered && self.swarm.publisher().is_none_or(|publisher| !publisher.awaits()) => {
                    return Ok(None);
                }
                Due::Blocked | Due::Done if now >= drained => {
                    return Ok(Some(format!("nothing was delivered for {drain_s} s")));
                }
                Due::Blocked | Due::Done => drained,
            };
            if let Err(late) = self.check_time("publishing") {
                return Ok(Some(late));
            }
            self.turn(until)?;
        }
    }

    fn delivery(&self, args: &Fanout, started: u64) -> Delivery {
        let counts = self.swarm.counts();
        let of =
            |figure: fn(&Publisher) -> u32| self.swarm.publisher().map_or(0, |publisher| u64::from(figure(publisher)));
        let published = of(Publisher::published);
        let expected = published * u64::from(args.common.clients);
        let seconds = seconds(self.swarm.last_delivery().saturating_sub(started));
        Delivery {
            messages: u64::from(args.messages),
            rate: args.rate,
            size_bytes: args.size as u64,
            published,
            acknowledged: of(Publisher::acknowledged),
            refused: of(Publisher::refused),
            expected,
            delivered: counts.delivered,
            lost: expected - counts.delivered,
            duplicated: counts.duplicated,
            out_of_order: counts.out_of_order,
            strangers: counts.strangers,
            seconds,
            deliveries_per_second: if seconds > 0.0 { counts.delivered as f64 / seconds } else { 0.0 },
        }
    }

    fn finish(mut self, mut report: Report) -> Report {
        let now = self.swarm.now();
        report.series = self.watch.finish(now, self.seen());
        let counts = self.swarm.counts();
        report.empty_polls = counts.empty_polls;
        report.deflate =
            self.common.deflate.then_some(Deflate { clients: counts.deflating, messages: counts.deflated });
        report.reopened_connections = self.swarm.reopened();
        report.faults = counts.faults.iter().map(|(kind, count)| ((*kind).into(), *count)).collect();
        report.first_fault.clone_from(&counts.first_fault);
        report.judge()
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / NS_PER_S as f64
}

/// A number that another run will hardly have.
fn run_mark() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_nanos() as u64 / 1000) as u32 ^ std::process::id().rotate_left(20)
}
