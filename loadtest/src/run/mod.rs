//! Owns the course of a run: park the clients, wait until it is quiet, publish or watch, and collect the figures. All
//! scenarios are the same course; what tells them apart is in `plan`.

mod against;
mod plan;
mod shards;

use crate::args::{Common, Publishing, Run, Scenario, Shard};
use crate::bayeux::Transport;
use crate::client::Script;
use crate::proc::{self, Usage};
use crate::publisher::{Due, Pace, UNANSWERED_MAX};
use crate::report::{
    Deflate, Delivery, Generator, Idle, Kernel, Latency, Parking, Part, Report, Server, Slow, Storm, buckets,
    latency_curve,
};
use crate::swarm::{self, Group, Setting, Source, Swarm};
use crate::tls::Tls;
use crate::watch::{Goal, Seen, Watch};
use mio::Events;
use plan::Plan;
use std::net::ToSocketAddrs;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

const NS_PER_S: u64 = 1_000_000_000;
/// How long nothing may move for it to be quiet.
const QUIET_NS: u64 = 250_000_000;
/// How long quiet is waited for.
const SETTLE_NS_MAX: u64 = 5 * NS_PER_S;
/// CPU of the server in a quiet time that is still quiet: a tick and a bit.
const QUIET_CPU_S: f64 = 0.011;

/// How long nothing may come for what is missing after a storm to be lost.
const CALM_NS: u64 = NS_PER_S;

/// Since when nothing has changed.
#[derive(Debug, Default)]
struct Progress {
    seen: (u32, u64, u64),
    since: u64,
}

impl Progress {
    fn note(&mut self, seen: (u32, u64, u64), now: u64) {
        if self.since == 0 || self.seen != seen {
            (self.seen, self.since) = (seen, now);
        }
    }
}

/// A storm.
#[derive(Clone, Copy, Debug)]
struct Raging {
    /// Until when all are away.
    until: u64,
    returning: bool,
    storm: Storm,
}

/// A run under way.
struct Stage<'a> {
    common: &'a Common,
    plan: Plan,
    swarm: Swarm,
    events: Events,
    /// When it began.
    began: u64,
    /// When the whole must have ended.
    deadline: u64,
    storm: Option<Raging>,
    watch: Watch,
    /// What is being done, and what ends it.
    phase: (&'static str, Goal),
    /// Whether publishing had to wait for answers.
    waited: bool,
}

/// Runs a scenario, and the same against a floor; the error is a line for the user.
pub(crate) fn run(run: &Run) -> Result<Report, String> {
    let floor = against::Comparison::prepare(run)?;
    let mut report = once(run)?;
    floor.hold(run, &mut report);
    Ok(report)
}

/// Runs a scenario against the server that is there.
fn once(run: &Run) -> Result<Report, String> {
    let mut stage = Stage::new(run)?;
    let (mut report, [before, parked]) = stage.park()?;
    report.scenario = run.scenario.name().into();
    if !matches!(run.scenario, Scenario::Idle { .. }) {
        stage.join_publisher()?;
        report.parking.settled &= stage.settle()?;
    }
    if let Some(shard) = &run.common.shard {
        stage.phase = ("waiting for the other shards", Goal::Unknown);
        stage.meet(shard)?;
    }
    let start = (stage.sample()?, proc::sample(proc::SELF).unwrap_or_default());
    match run.scenario {
        Scenario::Idle { seconds } => stage.watch(seconds, &mut report)?,
        _ => stage.deliver(run, &mut report)?,
    }
    let own = proc::sample(proc::SELF).unwrap_or_default();
    stage.measure(&mut report, [before, parked, start.0]);
    report.generator = Some(Generator::of(start.1, own));
    Ok(stage.finish(report))
}

impl<'a> Stage<'a> {
    fn new(run: &'a Run) -> Result<Self, String> {
        let common = &run.common;
        let plan = Plan::of(run);
        proc::make_room(connections(run), &common.sources)?;
        let mut addresses = (common.host.as_str(), common.port)
            .to_socket_addrs()
            .map_err(|error| format!("cannot resolve {}: {error}", common.host))?;
        let fits =
            |server: &std::net::SocketAddr| common.sources.iter().all(|source| source.is_ipv4() == server.is_ipv4());
        let server =
            addresses.find(fits).ok_or_else(|| format!("no address of {} that suits --source-addrs", common.host))?;
        let script = Script {
            protocol: common.protocol,
            target: common.target.clone(),
            publish: common.publish.clone(),
            channels: plan.channels.clone(),
            deflate: common.deflate,
            ack: common.ack,
        };
        let slow_bytes_per_s = match run.scenario {
            Scenario::Slow { bytes_per_s, .. } => bytes_per_s,
            _ => 0,
        };
        let tls = common.secure.then(|| Tls::new(&common.host, &common.trust)).transpose()?.map(Rc::new);
        let setting =
            Setting { script, server, sources: common.sources.clone(), tls, run: run_mark(common), slow_bytes_per_s };
        let mut swarm = Swarm::new(setting, plan.sources()).map_err(|error| format!("cannot make a poll: {error}"))?;
        if common.shard.as_ref().is_some_and(|shard| shard.index > 1) {
            swarm.ledger_mut().expect_foreign();
        }
        let began = swarm.now();
        let deadline = began + common.timeout_s * NS_PER_S;
        let watch = Watch::new(common.pid, common.quiet);
        let phase = ("parking", Goal::Parked);
        let events = swarm::events();
        Ok(Self { common, plan, swarm, events, began, deadline, storm: None, watch, phase, waited: false })
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
        let now = self.swarm.now() - self.began;
        if self.watch.wants(now) {
            self.watch.look(now, self.seen());
        }
        let until = until.min(self.deadline).min(self.began + self.watch.due());
        self.swarm.turn(&mut self.events, until).map_err(|error| format!("the poll failed: {error}"))
    }

    fn seen(&self) -> Seen {
        let (ledger, clients) = (self.swarm.ledger(), u64::from(self.common.clients));
        let share = ledger.share(Group::Good);
        let (phase, goal) = self.phase;
        Seen {
            phase,
            goal,
            clients,
            parked: clients.min(self.swarm.parked() as u64),
            published: ledger.messages(),
            expected: share.expected,
            delivered: share.delivered,
            faults: self.swarm.counts().faults.values().sum(),
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
        while self.swarm.parked() < clients {
            while self.swarm.len() < clients.min(self.swarm.parked() + self.common.ramp as usize) {
                let (role, group) = self.plan.client(self.swarm.len());
                self.swarm.join(role, group);
            }
            self.advance()?;
        }
        let took = seconds(self.swarm.now() - self.began);
        let settled = self.settle()?;
        let report = Report {
            version: env!("CARGO_PKG_VERSION").into(),
            url: self.common.url.clone(),
            transport: transports(self.common),
            clients: clients as u64,
            of_floor: self.swarm.serves_floor(),
            parking: Parking { seconds: took, clients_per_second: clients as f64 / took, settled },
            kernel: Kernel::of(sockets, proc::sockets()),
            shard: self.common.shard.as_ref().map(|Shard { index, of, run }| Part {
                index: *index,
                of: *of,
                run: run.clone(),
            }),
            ..Report::default()
        };
        Ok((report, [before, self.sample()?]))
    }

    fn join_publisher(&mut self) -> Result<(), String> {
        let parked = self.swarm.parked();
        self.swarm.join(self.plan.publisher(), Group::Good);
        self.swarm.publish_with_last();
        while self.swarm.parked() <= parked {
            self.advance()?;
        }
        Ok(())
    }

    /// A turn in which no client may fail.
    fn advance(&mut self) -> Result<(), String> {
        self.check_time(&format!("parking, {} of {} done", self.swarm.parked(), self.common.clients))?;
        self.turn(self.deadline)?;
        self.no_fault()
    }

    fn no_fault(&self) -> Result<(), String> {
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

    /// Watches without publishing.
    fn watch(&mut self, seconds: u64, report: &mut Report) -> Result<(), String> {
        let (started, polls) = (self.swarm.now(), self.swarm.counts().empty_polls);
        let until = started + seconds * NS_PER_S;
        self.phase = ("watching", Goal::Time(started - self.began, until - self.began));
        while self.swarm.now() < until {
            self.check_time("watching")?;
            self.turn(until)?;
        }
        let polls_ended = self.swarm.counts().empty_polls - polls;
        report.idle = Some(Idle { seconds: self::seconds(self.swarm.now() - started), polls_ended });
        let strangers = self.swarm.counts().strangers;
        if strangers > 0 {
            report.complaints.push(format!("{strangers} events came although nothing was published"));
        }
        Ok(())
    }

    /// Publishes and counts.
    fn deliver(&mut self, run: &Run, report: &mut Report) -> Result<(), String> {
        let started = self.swarm.now();
        // A shard that does not publish is told at the end how much that was.
        let publishes = self.common.shard.as_ref().is_none_or(|shard| shard.index == 1);
        let goal = if publishes { Goal::Messages(u64::from(run.publishing.messages)) } else { Goal::Unknown };
        self.phase = ("publishing", goal);
        if let Scenario::Slow { .. } = run.scenario {
            self.swarm.slow_down();
        }
        let complaint = match &self.common.shard {
            Some(shard) if shard.index > 1 => self.listen(run.publishing.drain_s)?,
            _ => self.publish(run, started)?,
        };
        report.complaints.extend(complaint);
        if let Scenario::Slow { .. } = run.scenario {
            self.swarm.wake_slow();
        }
        // What the server still does for the last event, taking the polls that follow, belongs to it.
        self.settle()?;
        if let Some(Raging { storm, .. }) = &mut self.storm {
            // Not before: what comes until now is not lost.
            (storm.excused, storm.sessions_anew) = (self.swarm.excused(), self.swarm.counts().anew);
        }
        report.delivery = Some(self.delivery(&run.publishing, started));
        let latency_ns = &self.swarm.ledger().share(Group::Good).latency_ns;
        (report.latency_us, report.latency_buckets) = (Latency::of(latency_ns), buckets(latency_ns));
        report.latency_curve = latency_curve(latency_ns);
        report.storm = self.storm.map(|raging| raging.storm);
        if let Scenario::Slow { bytes_per_s, .. } = run.scenario {
            report.slow = Some(self.slow(bytes_per_s));
        }
        if self.waited {
            let complaint =
                format!("publishing had to wait: {UNANSWERED_MAX} requests or too many bytes were not answered");
            report.complaints.push(complaint);
        }
        if let Some(reason) = self.swarm.verdict().reason {
            report.complaints.push(format!("a publish was refused: {reason}"));
        }
        Ok(())
    }

    /// Publishes all messages and waits for their deliveries. Gives a complaint if time ran out.
    fn publish(&mut self, run: &Run, started: u64) -> Result<Option<String>, String> {
        let Publishing { messages, rate, burst, size, drain_s } = run.publishing;
        let interval_ns = (rate > 0.0).then(|| NS_PER_S as f64 / rate * f64::from(burst));
        let pace = Pace { batches: messages / burst, interval_ns, start_ns: started };
        let mut sent = 0;
        let mut progress = Progress::default();
        loop {
            let now = self.swarm.now();
            let missing = self.missing();
            let all_done = missing == 0 && self.swarm.all_answered();
            progress.note((sent, missing, self.swarm.last_delivery()), now);
            if let Scenario::Storm { away_s } = run.scenario {
                self.rage(sent == pace.batches / 2, (away_s * NS_PER_S as f64) as u64, now);
            }
            if self.storm.is_some_and(|storm| !storm.returning) {
                // Nothing can come to those who are away.
                progress.since = now;
            }
            let drained = progress.since + drain_s * NS_PER_S;
            let until = match pace.due(now, sent, all_done) {
                Due::Now(intended) if !self.has_to_wait(sent) => {
                    let (source, flow) = self.plan.aim(sent);
                    self.swarm.publish(source, flow, (burst, size), intended);
                    sent += 1;
                    if sent == pace.batches {
                        self.tell_end()?;
                    }
                    continue;
                }
                Due::Now(_) if now < drained => {
                    self.waited = true;
                    now + NS_PER_S / 1000
                }
                Due::At(at) => at,
                Due::Done if all_done && self.all_back() => return Ok(None),
                Due::Done if self.weathered(missing) => {
                    let calm = progress.since + CALM_NS;
                    if now >= calm {
                        return Ok(None);
                    }
                    calm
                }
                Due::Now(_) | Due::Blocked | Due::Done if now >= drained => {
                    return Ok(Some(format!("nothing was delivered for {drain_s} s")));
                }
                Due::Now(_) | Due::Blocked | Due::Done => drained,
            };
            let until = self.storm.map_or(until, |storm| if storm.returning { until } else { until.min(storm.until) });
            if let Err(late) = self.check_time("publishing") {
                return Ok(Some(late));
            }
            self.turn(until)?;
        }
    }

    /// Whether a batch has to wait for the answers to those before it.
    fn has_to_wait(&self, batch: u32) -> bool {
        let (source, flow) = self.plan.aim(batch);
        source == Source::Press && self.swarm.is_full(flow)
    }

    /// Deliveries that have not come to those who do as they should.
    fn missing(&self) -> u64 {
        let share = self.swarm.ledger().share(Group::Good);
        share.expected.saturating_sub(share.delivered)
    }

    /// Lets the storm loose when it is time, has all come back when they have been away for long enough, and watches
    /// who is back.
    fn rage(&mut self, half_way: bool, away_ns: u64, now: u64) {
        match &mut self.storm {
            None if half_way => {
                let dropped = self.swarm.drop_all() as u64;
                self.storm = Some(Raging {
                    until: now + away_ns,
                    returning: false,
                    storm: Storm { dropped, ..Storm::default() },
                });
            }
            Some(Raging { until, returning: returning @ false, .. }) if now >= *until => {
                (*until, *returning) = (now, true);
                self.swarm.return_all();
            }
            Some(Raging { until, returning: true, storm }) if storm.returned < storm.dropped => {
                // The publisher's session was never away.
                storm.returned = (self.swarm.parked() as u64).saturating_sub(1);
                storm.seconds = seconds(now - *until);
            }
            _ => {}
        }
    }

    /// Whether nobody is away.
    fn all_back(&self) -> bool {
        self.storm.is_none_or(|Raging { storm, .. }| storm.returned == storm.dropped)
    }

    /// Whether the storm is over, and what is missing was lost on the connections that broke.
    fn weathered(&self, missing: u64) -> bool {
        self.storm.is_some() && self.all_back() && self.swarm.all_answered() && self.swarm.excused() == missing
    }

    fn slow(&self, bytes_per_second: u64) -> Slow {
        let (share, counts) = (self.swarm.ledger().share(Group::Slow), self.swarm.counts());
        Slow {
            clients: self.swarm.slow() as u64,
            bytes_per_second,
            disconnected: counts.cut,
            sessions_anew: counts.anew,
            expected: share.expected,
            delivered: share.delivered,
            duplicated: share.duplicated,
            out_of_order: share.out_of_order,
            told: share.dropped,
            latency_us: Latency::of(&share.latency_ns),
        }
    }

    fn delivery(&self, publishing: &Publishing, started: u64) -> Delivery {
        let (counts, ledger, verdict) = (self.swarm.counts(), self.swarm.ledger(), self.swarm.verdict());
        let share = ledger.share(Group::Good);
        let seconds = seconds(self.swarm.last_delivery().saturating_sub(started));
        let publishes = self.common.shard.as_ref().is_none_or(|shard| shard.index == 1);
        let own = |count: u64| if publishes { count } else { 0 };
        Delivery {
            messages: own(u64::from(publishing.messages)),
            rate: publishing.rate,
            burst: publishing.burst,
            size_bytes: publishing.size as u64,
            published: own(ledger.messages()),
            acknowledged: verdict.accepted,
            refused: verdict.refused,
            expected: share.expected,
            delivered: share.delivered,
            lost: self.missing().saturating_sub(self.storm.map_or(0, |raging| raging.storm.excused)),
            duplicated: share.duplicated,
            out_of_order: share.out_of_order,
            strangers: counts.strangers,
            seconds,
            deliveries_per_second: if seconds > 0.0 { share.delivered as f64 / seconds } else { 0.0 },
        }
    }

    fn finish(mut self, mut report: Report) -> Report {
        let now = self.swarm.now() - self.began;
        report.series = self.watch.finish(now, self.seen());
        let counts = self.swarm.counts();
        report.empty_polls = counts.empty_polls;
        report.deflate =
            self.common.deflate.then_some(Deflate { clients: counts.deflating, messages: counts.deflated });
        report.reopened_connections = self.swarm.reopened();
        report.faults = counts.faults.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
        report.first_fault.clone_from(&counts.first_fault);
        report.judge()
    }
}

/// Connections that may be open at once: one for each client, a second one for those who are on their way, and those of
/// the publisher. After a storm all are on their way.
fn connections(run: &Run) -> u64 {
    let Run { common, scenario, .. } = run;
    let sideways = |transport: &Transport| matches!(transport, Transport::Streaming | Transport::EventSource);
    let coming = match scenario {
        Scenario::Storm { .. } if common.transports.iter().any(sideways) => common.clients,
        _ => common.ramp.min(common.clients),
    };
    u64::from(common.clients) + u64::from(coming) + 8
}

/// The connection types of the clients, as a report names them.
fn transports(common: &Common) -> String {
    common.transports.iter().map(|transport| transport.name()).collect::<Vec<_>>().join(", ")
}

/// Nanoseconds as seconds.
fn seconds(ns: u64) -> f64 {
    ns as f64 / NS_PER_S as f64
}

/// A number that another run will hardly have; that of a shared run is in all its shards.
fn run_mark(common: &Common) -> u32 {
    if let Some(shard) = &common.shard {
        return shards::mark(&shard.run);
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_nanos() as u64 / 1000) as u32 ^ std::process::id().rotate_left(20)
}
