//! Owns the figures of a run, as a table for people and as JSON with stable names for programs, and the judgement on
//! them.

mod parts;

pub(crate) use parts::{Cost, Floor, Part, Slow, Storm, Traffic, buckets, histogram};

use crate::proc::{Sockets, Usage};
use hdrhistogram::Histogram;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::to_raw_value;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};

/// All figures of a run. A name ends in its unit; what was not measured is absent.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Report {
    /// What it is called where several stand side by side.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// The version of the generator.
    pub(crate) version: String,
    /// The name of the command.
    pub(crate) scenario: String,
    /// The endpoint.
    pub(crate) url: String,
    /// The connection type of the clients.
    pub(crate) transport: String,
    /// How many clients.
    pub(crate) clients: u64,
    /// Whether the server was a floor.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) of_floor: bool,
    /// What came of compression, where it was offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deflate: Option<Deflate>,
    /// Whether all was as expected.
    pub(crate) ok: bool,
    /// What was not, in words.
    pub(crate) complaints: Vec<String>,
    /// How the clients were parked.
    pub(crate) parking: Parking,
    /// What was published and delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivery: Option<Delivery>,
    /// How long deliveries took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_us: Option<Latency>,
    /// The same, to be joined with that of other shards: pairs of nanoseconds and how often that was.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "on_one_line")]
    pub(crate) latency_buckets: Vec<(u64, u64)>,
    /// The time in which nothing was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idle: Option<Idle>,
    /// What became of a storm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storm: Option<Storm>,
    /// What became of the slow clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slow: Option<Slow>,
    /// Which part of a run it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<Part>,
    /// The same run against a floor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) floor: Option<Floor>,
    /// What the server used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<Server>,
    /// What the kernel holds for TCP, of both ends where both are on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kernel: Option<Kernel>,
    /// What the generator itself used while it was publishing or watching.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) generator: Option<Generator>,
    /// Held connects that were answered without an event.
    pub(crate) empty_polls: u64,
    /// Connections that had to be opened again.
    pub(crate) reopened_connections: u64,
    /// Failures of clients by kind.
    pub(crate) faults: BTreeMap<String, u64>,
    /// The first of them in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_fault: Option<String>,
    /// When the run began, in UTC (RFC 3339).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) began: String,
    /// The words of the command line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) command: Vec<String>,
    /// Where the generator ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) machine: Option<Machine>,
    /// Latency by percentile, close enough to draw a curve.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "on_one_line")]
    pub(crate) latency_curve: Vec<(f64, f64)>,
    /// The run from moment to moment.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "on_one_line")]
    pub(crate) series: Vec<Sample>,
}

/// Where a run took place.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Machine {
    /// The operating system and its version.
    pub(crate) system: String,
    /// The processor's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) processor: String,
    /// Its cores, as far as this program may use them.
    pub(crate) cores: u64,
    /// Memory in all.
    pub(crate) memory_kib: u64,
}

/// A moment of a run. The counts are those from its start.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Sample {
    /// Seconds since the start.
    pub(crate) at_s: f64,
    /// What was being done.
    pub(crate) phase: String,
    /// Clients whose first connect was answered.
    pub(crate) parked: u64,
    /// Messages sent.
    pub(crate) published: u64,
    /// Deliveries, each counted once.
    pub(crate) delivered: u64,
    /// Resident memory of the server, as the kernel's quick count has it: some pages behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_kib: Option<u64>,
    /// CPU that the server has used since it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_s: Option<f64>,
}

/// What came of compression.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Deflate {
    /// Clients with which the server agreed on it.
    pub(crate) clients: u64,
    /// Messages that came compressed.
    pub(crate) messages: u64,
}

/// How the clients were parked.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Parking {
    /// From the first handshake until the last client polled.
    pub(crate) seconds: f64,
    /// Clients in a second.
    pub(crate) clients_per_second: f64,
    /// Whether both sides fell quiet afterwards.
    pub(crate) settled: bool,
}

/// What was published and delivered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Delivery {
    /// Messages asked for.
    pub(crate) messages: u64,
    /// Messages a second asked for; 0 is one after the other.
    pub(crate) rate: f64,
    /// Messages in one request.
    pub(crate) burst: u32,
    /// Bytes of each one's data.
    pub(crate) size_bytes: u64,
    /// Messages that were sent.
    pub(crate) published: u64,
    /// Messages that the server took.
    pub(crate) acknowledged: u64,
    /// Messages that the server refused.
    pub(crate) refused: u64,
    /// Messages sent, each times those who subscribed to its channel.
    pub(crate) expected: u64,
    /// Of those, how many came.
    pub(crate) delivered: u64,
    /// How many did not.
    pub(crate) lost: u64,
    /// How many came again.
    pub(crate) duplicated: u64,
    /// How many came after a later one.
    pub(crate) out_of_order: u64,
    /// Events that this run did not publish.
    pub(crate) strangers: u64,
    /// From the first publish to the last delivery.
    pub(crate) seconds: f64,
    /// Deliveries in a second of that.
    pub(crate) deliveries_per_second: f64,
}

/// From the intended time of sending to the delivery, in microseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Latency {
    /// Half are faster.
    pub(crate) p50: f64,
    /// 90 % are faster.
    pub(crate) p90: f64,
    /// 99 % are faster.
    pub(crate) p99: f64,
    /// 99.9 % are faster.
    pub(crate) p99_9: f64,
    /// The slowest.
    pub(crate) max: f64,
}

impl Latency {
    /// The percentiles of a histogram of nanoseconds, unless it is empty.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        let max = histogram.max() as f64 / 1000.0;
        (!histogram.is_empty()).then(|| Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p99_9: at(0.999), max })
    }
}

/// Points of a latency curve for each tenfold of 1/(1-quantile).
const CURVE_POINTS_PER_DECADE: u32 = 10;

/// The latencies of a histogram of nanoseconds by quantile, in microseconds: from the fastest (0) to the slowest (1),
/// as dense on a scale of 1/(1-quantile) everywhere. Some 60 for a million.
pub(crate) fn latency_curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let all = histogram.len() as f64;
    let one_of = |step: u32| 10f64.powf(f64::from(step) / f64::from(CURVE_POINTS_PER_DECADE));
    let quantiles = (0..).map(one_of).take_while(|one_of| *one_of < all).map(|one_of| 1.0 - 1.0 / one_of);
    let at = |quantile| (quantile, histogram.value_at_quantile(quantile) as f64 / 1000.0);
    quantiles.chain([1.0]).map(at).collect()
}

/// The time in which nothing was published.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Idle {
    /// How long it was.
    pub(crate) seconds: f64,
    /// Held connects that the server ended in it, which were sent again.
    pub(crate) polls_ended: u64,
}

/// What the server's process used.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Server {
    /// Its number.
    pub(crate) pid: u32,
    /// Resident memory before the first handshake.
    pub(crate) rss_before_kib: u64,
    /// Resident memory with all clients parked.
    pub(crate) rss_parked_kib: u64,
    /// The growth for each client.
    pub(crate) rss_bytes_per_client: f64,
    /// Resident memory at the end.
    pub(crate) rss_end_kib: u64,
    /// CPU in its own code while publishing or watching.
    pub(crate) cpu_user_s: f64,
    /// CPU in the kernel while publishing or watching.
    pub(crate) cpu_system_s: f64,
    /// Both together, to the nanosecond where the system says so; what is above is in its ticks, mostly of 10 ms.
    pub(crate) cpu_s: f64,
    /// CPU for each client from its handshake to its first connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_join: Option<f64>,
    /// CPU for each delivery, to whomever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_delivery: Option<f64>,
    /// Times that its first thread slept and woke while publishing or watching.
    pub(crate) wakeups: u64,
}

impl Server {
    /// From samples before the first handshake, with all parked, at the start and at the end of the phase that counts.
    pub(crate) fn of(pid: u32, clients: u64, [before, parked, start, end]: [Usage; 4]) -> Self {
        Self {
            pid,
            rss_before_kib: before.rss_kib,
            rss_parked_kib: parked.rss_kib,
            rss_bytes_per_client: (parked.rss_kib as f64 - before.rss_kib as f64) * 1024.0 / clients as f64,
            rss_end_kib: end.rss_kib,
            cpu_user_s: ticked(end.user_s - start.user_s),
            cpu_system_s: ticked(end.system_s - start.system_s),
            cpu_s: end.cpu_s() - start.cpu_s(),
            cpu_us_per_join: Some((parked.cpu_s() - before.cpu_s()) * 1e6 / clients as f64),
            cpu_us_per_delivery: None,
            wakeups: end.wakeups.saturating_sub(start.wakeups),
        }
    }
}

/// What the kernel holds for TCP.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Kernel {
    /// Open sockets before the first handshake.
    pub(crate) sockets_before: u64,
    /// Open sockets with all clients parked.
    pub(crate) sockets_parked: u64,
    /// Memory of their queues before the first handshake.
    pub(crate) memory_before_kib: u64,
    /// Memory of their queues with all clients parked.
    pub(crate) memory_parked_kib: u64,
}

impl Kernel {
    /// From what was held before the first handshake and with all parked.
    pub(crate) fn of(before: Option<Sockets>, parked: Option<Sockets>) -> Option<Self> {
        let (before, parked) = (before?, parked?);
        Some(Self {
            sockets_before: before.count,
            sockets_parked: parked.count,
            memory_before_kib: before.memory_kib,
            memory_parked_kib: parked.memory_kib,
        })
    }
}

/// What the generator itself used.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Generator {
    /// CPU while publishing or watching.
    pub(crate) cpu_s: f64,
    /// Resident memory at the end.
    pub(crate) rss_kib: u64,
}

impl Generator {
    /// From samples at the start and at the end of the phase that counts.
    pub(crate) fn of(start: Usage, end: Usage) -> Self {
        Self { cpu_s: ticked(end.cpu_s() - start.cpu_s()), rss_kib: end.rss_kib }
    }
}

/// A long list takes one line of the JSON, which has a line for every figure otherwise.
fn on_one_line<T: Serialize, S: Serializer>(list: &Vec<T>, out: S) -> Result<S::Ok, S::Error> {
    to_raw_value(list).map_err(S::Error::custom)?.serialize(out)
}

/// A difference of ticks without the dust of its subtraction.
fn ticked(seconds: f64) -> f64 {
    (seconds * 1e4).round() / 1e4
}

impl Report {
    /// Fills in what follows from the other figures: the complaints and whether all was as expected.
    pub(crate) fn judge(mut self) -> Self {
        if let (Some(server), Some(delivery)) = (&mut self.server, &self.delivery) {
            let all = delivery.delivered + self.slow.map_or(0, |slow| slow.delivered);
            let each = server.cpu_s * 1e6 / all as f64;
            server.cpu_us_per_delivery = each.is_finite().then_some(each);
        }
        if let Some(Delivery {
            messages,
            published,
            acknowledged,
            refused,
            lost,
            duplicated,
            out_of_order,
            strangers,
            ..
        }) = self.delivery
        {
            let counts = [
                (messages.saturating_sub(published), "messages were not published"),
                (refused, "publishes were refused"),
                (published.saturating_sub(acknowledged + refused), "publishes were not answered"),
                (lost, "deliveries were lost"),
                (duplicated, "deliveries came twice"),
                (out_of_order, "deliveries came out of order"),
                (strangers, "events came that this run did not publish"),
            ];
            let wrong = counts.iter().filter(|(count, _)| *count > 0);
            self.complaints.extend(wrong.map(|(count, what)| format!("{count} {what}")));
        }
        if let Some(Storm { dropped, returned, .. }) = self.storm
            && returned < dropped
        {
            self.complaints.push(format!("{} clients did not come back", dropped - returned));
        }
        if let Some(Slow { duplicated, out_of_order, .. }) = self.slow {
            let counts = [(duplicated, "came twice"), (out_of_order, "came out of order")];
            let wrong = counts.iter().filter(|(count, _)| *count > 0);
            self.complaints.extend(wrong.map(|(count, what)| format!("{count} deliveries to slow clients {what}")));
        }
        let failed: u64 = self.faults.values().sum();
        if failed > 0 {
            let first = self.first_fault.as_deref().unwrap_or_default();
            self.complaints.push(format!("{failed} failures, first {first}"));
        }
        self.ok = self.complaints.is_empty();
        self
    }

    /// What was asked of the server, by which runs can be compared.
    pub(crate) fn traffic(&self) -> Traffic {
        let of = |delivery: Delivery| (delivery.messages, delivery.rate, delivery.burst, delivery.size_bytes);
        Traffic {
            scenario: self.scenario.clone(),
            transport: self.transport.clone(),
            clients: self.clients,
            publishing: self.delivery.map(of),
        }
    }

    /// As JSON, with a line end.
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// One that was written as JSON before; the error is a line that says what is wrong with it.
    pub(crate) fn from_json(text: &str) -> Result<Self, String> {
        let report: Self = serde_json::from_str(text).map_err(|error| format!("not a report: {error}"))?;
        if report.scenario.is_empty() {
            return Err("not a report: it names no \"scenario\"".into());
        }
        Ok(report)
    }

    fn shown_part(&self) -> String {
        match &self.shard {
            Some(Part { index: 0, of, .. }) => format!(" in {of} shards"),
            Some(Part { index, of, .. }) => format!(" in shard {index} of {of}"),
            None => String::new(),
        }
    }

    fn shown_transport(&self) -> String {
        let Some(Deflate { clients, messages }) = self.deflate else { return self.transport.clone() };
        format!("{}, compressed for {clients} clients: {messages} messages came so", self.transport)
    }

    /// The figures in lines of name and value.
    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![
            ("clients", format!("{}{} on {}", self.clients, self.shown_part(), self.url)),
            ("transport", self.shown_transport()),
            ("parked in", format!("{:.2} s, {:.0} clients/s", self.parking.seconds, self.parking.clients_per_second)),
        ];
        if !self.parking.settled {
            rows.push(("note", "the server did not fall quiet before the measurement".into()));
        }
        if let Some(delivery) = &self.delivery {
            delivery.rows(&mut rows);
        }
        if let Some(latency) = &self.latency_us {
            rows.push(("latency ms", latency.to_string()));
        }
        if let Some(floor) = &self.floor {
            floor.rows(&mut rows);
        }
        if let Some(storm) = &self.storm {
            storm.rows(&mut rows);
        }
        if let Some(slow) = &self.slow {
            slow.rows(&mut rows);
        }
        if let Some(Idle { seconds, polls_ended }) = self.idle {
            rows.push(("watched for", format!("{seconds:.1} s; {polls_ended} polls ended and sent again")));
        }
        if let Some(server) = &self.server {
            server.rows(&mut rows, self.floor.as_ref());
        }
        if let Some(Kernel { sockets_before, sockets_parked, memory_before_kib, memory_parked_kib }) = self.kernel {
            rows.push(("kernel TCP sockets", format!("{sockets_before} → {sockets_parked} (both ends)")));
            rows.push(("kernel TCP memory", format!("{memory_before_kib} → {memory_parked_kib} KiB (both ends)")));
        }
        if let Some(Generator { cpu_s, rss_kib }) = self.generator {
            rows.push(("generator", format!("CPU {cpu_s:.2} s, RSS {rss_kib} KiB")));
        }
        if self.reopened_connections > 0 {
            rows.push(("reopened", format!("{} connections", self.reopened_connections)));
        }
        rows
    }
}

impl Delivery {
    fn rows(&self, rows: &mut Vec<(&'static str, String)>) {
        let Self { messages, rate, size_bytes, published, acknowledged, expected, delivered, lost, .. } = self;
        let pace = if *rate > 0.0 { format!("{rate} a second") } else { "one after the other".into() };
        let pace = if self.burst > 1 { format!("{pace}, in bursts of {}", self.burst) } else { pace };
        rows.push((
            "messages",
            format!("{published} of {messages} published, {acknowledged} acknowledged; {size_bytes} bytes, {pace}"),
        ));
        rows.push(("expected", expected.to_string()));
        rows.push(("delivered", delivered.to_string()));
        rows.push(("lost", lost.to_string()));
        rows.push(("duplicated", self.duplicated.to_string()));
        rows.push(("out of order", self.out_of_order.to_string()));
        if self.strangers > 0 {
            rows.push(("not ours", self.strangers.to_string()));
        }
        rows.push(("deliveries/s", format!("{:.0} over {:.2} s", self.deliveries_per_second, self.seconds)));
    }
}

impl Server {
    /// Its lines of the table, with what a floor needs for the same.
    fn rows(&self, rows: &mut Vec<(&'static str, String)>, floor: Option<&Floor>) {
        let Self {
            pid, rss_before_kib, rss_parked_kib, rss_bytes_per_client, cpu_user_s, cpu_system_s, wakeups, ..
        } = self;
        let total = self.cpu_s;
        let against = |of: fn(&Cost) -> Option<f64>, unit: &str| {
            let shown = floor.and_then(|floor| Some((of(&floor.ratio)?, of(&floor.cost)?)));
            shown.map(|(ratio, cost)| format!(", {ratio:.2} × the floor's {cost:.2}{unit}")).unwrap_or_default()
        };
        let per_client = against(|cost| cost.rss_bytes_per_client, "");
        rows.push(("server", format!("process {pid}")));
        rows.push((
            "server RSS",
            format!("{rss_before_kib} → {rss_parked_kib} KiB, {rss_bytes_per_client:.0} bytes per client{per_client}"),
        ));
        rows.push((
            "server CPU",
            format!("{total:.2} s (user {cpu_user_s:.2}, system {cpu_system_s:.2}), {wakeups} wake-ups"),
        ));
        if let Some(each) = self.cpu_us_per_delivery {
            let against = against(|cost| cost.cpu_us_per_delivery, " µs");
            rows.push(("server CPU/delivery", format!("{each:.2} µs{against}")));
        }
        if let Some(each) = self.cpu_us_per_join {
            let against = against(|cost| cost.cpu_us_per_join, " µs");
            rows.push(("server CPU/join", format!("{each:.2} µs{against}")));
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{}\n", self.scenario);
        for (name, value) in self.rows() {
            let _ = writeln!(text, "  {name:<21}{value}");
        }
        for complaint in &self.complaints {
            let _ = writeln!(text, "  NOT AS EXPECTED      {complaint}");
        }
        if self.ok {
            text.push_str("  all as expected\n");
        }
        f.write_str(&text)
    }
}

impl Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p90, p99, p99_9, max] = [self.p50, self.p90, self.p99, self.p99_9, self.max].map(Millis);
        write!(f, "p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p99_9}  max {max}")
    }
}

/// Microseconds shown as milliseconds, with three digits that matter.
struct Millis(f64);

impl Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0 / 1000.0;
        let places = if ms < 10.0 { 2 } else { usize::from(ms < 100.0) };
        write!(f, "{ms:.places$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact() -> Report {
        let delivery =
            Delivery { messages: 5, published: 5, acknowledged: 5, expected: 50, delivered: 50, ..Delivery::default() };
        Report { scenario: "fanout".into(), clients: 10, delivery: Some(delivery), ..Report::default() }
    }

    #[test]
    fn exact_counts_are_as_expected() {
        let report = exact().judge();
        assert!(report.ok && report.to_string().ends_with("all as expected\n"), "{report}");
    }

    #[test]
    fn anything_else_is_not() {
        let changes: [fn(&mut Report); 8] = [
            |report| report.delivery.as_mut().unwrap().lost = 1,
            |report| report.delivery.as_mut().unwrap().duplicated = 1,
            |report| report.delivery.as_mut().unwrap().out_of_order = 1,
            |report| report.delivery.as_mut().unwrap().strangers = 1,
            |report| report.delivery.as_mut().unwrap().messages = 6,
            |report| report.delivery.as_mut().unwrap().acknowledged = 4,
            |report| report.faults = BTreeMap::from([("closed".into(), 1)]),
            |report| report.complaints.push("too late".into()),
        ];
        for change in changes {
            let mut report = exact();
            change(&mut report);
            let report = report.judge();
            assert!(!report.ok && report.to_string().contains("NOT AS EXPECTED"), "{report}");
        }
    }

    #[test]
    fn more_answers_than_publishes_are_no_panic() {
        let mut report = exact();
        report.delivery.as_mut().unwrap().acknowledged = 6;
        assert!(report.judge().ok);
    }

    #[test]
    fn json_has_stable_names() {
        let usage = |user_s, rss_kib, wakeups| Usage { user_s, rss_kib, wakeups, ..Usage::default() };
        let samples = [usage(0.0, 100, 0), usage(0.5, 200, 7), usage(0.5, 201, 8), usage(0.75, 210, 20)];
        let mut report = exact();
        report.server = Some(Server::of(7, 10, samples));
        let mut histogram = Histogram::new(3).unwrap();
        histogram.record(5000).unwrap();
        report.latency_us = Latency::of(&histogram);
        report.latency_buckets = buckets(&histogram);
        let json: serde_json::Value = serde_json::from_str(&report.judge().to_json().unwrap()).unwrap();
        assert_eq!(json["server"]["rss_bytes_per_client"], 10240.0);
        assert_eq!(json["server"]["cpu_us_per_delivery"], 5000.0);
        assert_eq!(json["server"]["cpu_us_per_join"], 50000.0);
        assert_eq!(json["server"]["wakeups"], 12);
        assert_eq!(json["delivery"]["delivered"], 50);
        assert!(json["latency_us"]["p99_9"].as_f64().is_some_and(|us| (4.9..5.1).contains(&us)));
        assert!(json.get("idle").is_none());
        assert_eq!(json["latency_buckets"][0][1], 1);
    }

    #[test]
    fn a_report_is_held_against_a_floor() {
        let run = |user_s, latency_ns| {
            let mut report = exact();
            let usage = |user_s| Usage { user_s, ..Usage::default() };
            report.server = Some(Server::of(7, 10, [usage(0.0), usage(user_s), usage(user_s), usage(user_s * 2.0)]));
            let mut histogram = Histogram::new(3).unwrap();
            histogram.record(latency_ns).unwrap();
            report.latency_us = Latency::of(&histogram);
            report.judge()
        };
        let (mut report, floor) = (run(0.6, 3_000_000), run(0.5, 2_000_000));
        report.floor = Some(Floor::of(&report, &floor));
        let text = report.to_string();
        assert!(text.contains("server CPU/delivery  12000.00 µs, 1.20 × the floor's 10000.00 µs"), "{text}");
        assert!(
            text.contains("floor latency ms     p50 2.00") && text.contains("latency × floor      p50 1.50"),
            "{text}"
        );
        // Written and read again it says the same, and serves as the floor of another.
        let again: Report = serde_json::from_str(&report.to_json().unwrap()).unwrap();
        assert_eq!(again.to_string(), text);
        let other = Floor::of(&run(1.0, 2_000_000), &again);
        assert_eq!((other.ratio.cpu_us_per_delivery, other.ratio.cpu_us_per_join), (Some(2.0), Some(2.0)));
    }

    #[test]
    fn storms_and_slow_clients_are_judged() {
        let judged = |storm: Option<Storm>, slow: Option<Slow>| Report { storm, slow, ..exact() }.judge().complaints;
        let storm = Storm { dropped: 5, returned: 5, ..Storm::default() };
        assert_eq!(judged(Some(storm), Some(Slow::default())), [""; 0]);
        assert_eq!(judged(Some(Storm { returned: 3, ..storm }), None), ["2 clients did not come back"]);
        let slow = Slow { duplicated: 1, out_of_order: 2, ..Slow::default() };
        let twice = "1 deliveries to slow clients came twice";
        assert_eq!(judged(None, Some(slow)), [twice, "2 deliveries to slow clients came out of order"]);
    }

    #[test]
    fn what_was_written_is_read_again() {
        let mut report = exact().judge();
        report.complaints = vec!["\"quoted\"".into()];
        report.faults = BTreeMap::from([("closed".into(), 2)]);
        report.command = vec!["fanout".into(), "--clients".into()];
        report.latency_curve = vec![(0.5, 12.25), (1.0, 99.0)];
        let sample = Sample { at_s: 0.025, phase: "parking".into(), rss_kib: Some(7), ..Sample::default() };
        report.series = vec![sample.clone(), Sample { at_s: 0.05, ..Sample::default() }];
        let json = report.to_json().unwrap();
        let again = Report::from_json(&json).unwrap();
        assert_eq!(again.to_json().unwrap(), json);
        assert_eq!((again.series[0].clone(), again.delivery.unwrap().delivered), (sample, 50));
        // One line for each long list, whatever its length.
        for start in ["  \"series\": [{", "  \"latency_curve\": [[0.5"] {
            assert!(json.lines().any(|line| line.starts_with(start)), "{json}");
        }
        // Reports of other versions have fields more and less.
        let other = Report::from_json(r#"{"scenario":"storm","waves":3,"delivery":{"lost":1,"rooms":2}}"#).unwrap();
        assert_eq!((other.scenario.as_str(), other.delivery.unwrap().lost, other.clients), ("storm", 1, 0));
    }

    #[test]
    fn a_curve_is_as_dense_everywhere() {
        let mut histogram = Histogram::new(3).unwrap();
        (1..=1_000_000).for_each(|us| histogram.record(us * 1000).unwrap());
        let curve = latency_curve(&histogram);
        assert_eq!((curve.len(), curve[0].0), (61, 0.0));
        assert!(curve.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{curve:?}");
        let (quantile, us) = curve[20];
        assert!((quantile - 0.99).abs() < 1e-9 && (us - 990_000.0).abs() < 1000.0, "{quantile} {us}");
        assert_eq!(curve[60], (1.0, histogram.max() as f64 / 1000.0));
        assert!(latency_curve(&Histogram::new(3).unwrap()).is_empty());
    }
}
