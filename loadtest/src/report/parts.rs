//! Owns the figures that only some runs have: of storms, of slow clients, of shards, and what a floor needs for the
//! same.

use super::{Latency, Report, ticked};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};

/// What became of a storm.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Storm {
    /// Clients whose connections were dropped.
    pub(crate) dropped: u64,
    /// Clients that were back when all was over.
    pub(crate) returned: u64,
    /// From when they began to come back until the last was back.
    pub(crate) seconds: f64,
    /// Sessions that the server had forgotten.
    pub(crate) sessions_anew: u64,
    /// Deliveries lost on connections that broke, which nobody can demand without acknowledgement, or with a session
    /// that the server has forgotten.
    pub(crate) excused: u64,
}

/// What became of the slow clients. None of it is demanded but that nothing came twice or out of order.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Slow {
    /// How many.
    pub(crate) clients: u64,
    /// Bytes that each of them reads in a second.
    pub(crate) bytes_per_second: u64,
    /// Those whose connection the server closed.
    pub(crate) disconnected: u64,
    /// Sessions that the server had forgotten.
    pub(crate) sessions_anew: u64,
    /// Deliveries that they would have had.
    pub(crate) expected: u64,
    /// Of those, how many came.
    pub(crate) delivered: u64,
    /// How many came again.
    pub(crate) duplicated: u64,
    /// How many came after a later one.
    pub(crate) out_of_order: u64,
    /// How many the server said it has dropped.
    pub(crate) told: u64,
    /// How long their deliveries took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_us: Option<Latency>,
}

/// Which part of a run it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Part {
    /// From 1; 0 when it is all of them.
    pub(crate) index: u32,
    /// How many there are.
    pub(crate) of: u32,
    /// What they call their run.
    pub(crate) run: String,
}

/// What was asked of a server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Traffic {
    /// The name of the command.
    pub(crate) scenario: String,
    /// The connection type of the clients.
    pub(crate) transport: String,
    /// How many clients.
    pub(crate) clients: u64,
    /// Messages, how many a second, how many in a request, and the bytes of each; nothing where none are published.
    pub(crate) publishing: Option<(u64, f64, u32, u64)>,
}

impl Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, transport, clients, publishing } = self;
        write!(f, "{scenario}, {transport}, {clients} clients")?;
        publishing.map_or(Ok(()), |(messages, rate, burst, size)| {
            write!(f, ", {messages} messages of {size} bytes, {rate} a second, {burst} in a request")
        })
    }
}

/// What a server used, for each thing that it did.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Cost {
    /// CPU for each delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_delivery: Option<f64>,
    /// CPU for each client from its handshake to its first connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_join: Option<f64>,
    /// Memory for each client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_bytes_per_client: Option<f64>,
    /// How long deliveries took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_us: Option<Latency>,
}

impl Cost {
    /// What a run found.
    pub(crate) fn of(report: &Report) -> Self {
        let server = report.server.as_ref();
        Self {
            cpu_us_per_delivery: server.and_then(|server| server.cpu_us_per_delivery),
            cpu_us_per_join: server.and_then(|server| server.cpu_us_per_join),
            rss_bytes_per_client: server.map(|server| server.rss_bytes_per_client),
            latency_us: report.latency_us,
        }
    }

    /// How many times the other's it is.
    fn over(&self, floor: &Self) -> Self {
        let ratio = |own: Option<f64>, least: Option<f64>| {
            let ratio = own? / least?;
            ratio.is_finite().then(|| ticked(ratio))
        };
        let latency = |own: Latency, least: Latency| {
            let of = |figure: fn(&Latency) -> f64| ticked(figure(&own) / figure(&least));
            Latency {
                p50: of(|latency| latency.p50),
                p90: of(|latency| latency.p90),
                p99: of(|latency| latency.p99),
                p99_9: of(|latency| latency.p99_9),
                max: of(|latency| latency.max),
            }
        };
        Self {
            cpu_us_per_delivery: ratio(self.cpu_us_per_delivery, floor.cpu_us_per_delivery),
            cpu_us_per_join: ratio(self.cpu_us_per_join, floor.cpu_us_per_join),
            rss_bytes_per_client: ratio(self.rss_bytes_per_client, floor.rss_bytes_per_client),
            latency_us: self.latency_us.zip(floor.latency_us).map(|(own, least)| latency(own, least)),
        }
    }
}

/// The same run against a floor.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Floor {
    /// What the floor used.
    pub(crate) cost: Cost,
    /// How many times that the server used.
    pub(crate) ratio: Cost,
}

impl Floor {
    /// Holds a run against the same with a floor.
    pub(crate) fn of(report: &Report, floor: &Report) -> Self {
        // What was itself held against a floor says what that was.
        let cost = floor.floor.map_or_else(|| Cost::of(floor), |floor| floor.cost);
        Self { cost, ratio: Cost::of(report).over(&cost) }
    }

    /// Its lines of the table; the rest stands beside the server's figures.
    pub(super) fn rows(&self, rows: &mut Vec<(&'static str, String)>) {
        let latencies = self.cost.latency_us.zip(self.ratio.latency_us);
        if let Some((cost, Latency { p50, p90, p99, p99_9, max })) = latencies {
            rows.push(("floor latency ms", cost.to_string()));
            let ratios = format!("p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  p99.9 {p99_9:.2}  max {max:.2}");
            rows.push(("latency × floor", ratios));
        }
    }
}

impl Storm {
    /// Its lines of the table.
    pub(super) fn rows(&self, rows: &mut Vec<(&'static str, String)>) {
        let Self { dropped, returned, seconds, sessions_anew, excused } = self;
        rows.push((
            "storm",
            format!("{dropped} dropped, {returned} back in {seconds:.2} s; {sessions_anew} sessions anew"),
        ));
        rows.push(("lost in the storm", format!("{excused}, on connections that broke")));
    }
}

impl Slow {
    /// Its lines of the table.
    pub(super) fn rows(&self, rows: &mut Vec<(&'static str, String)>) {
        let Self { clients, bytes_per_second, disconnected, sessions_anew, expected, delivered, told, .. } = self;
        rows.push(("slow clients", format!("{clients}, each reads {bytes_per_second} bytes a second")));
        rows.push((
            "what they got",
            format!(
                "{delivered} of {expected}; told of {told} dropped; {disconnected} disconnected, \
                 {sessions_anew} sessions anew"
            ),
        ));
        let (duplicated, out_of_order) = (self.duplicated, self.out_of_order);
        rows.push(("and should not", format!("{duplicated} came twice, {out_of_order} out of order")));
        if let Some(latency) = self.latency_us {
            rows.push(("slow latency ms", latency.to_string()));
        }
    }
}

/// A histogram as pairs of a latency in nanoseconds and how often it came, so that it can be joined with others.
pub(crate) fn buckets(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
}

/// The histogram that those pairs came from.
pub(crate) fn histogram(buckets: &[(u64, u64)]) -> Option<Histogram<u64>> {
    let mut histogram = Histogram::new(3).ok()?;
    for (value, count) in buckets {
        histogram.record_n(*value, *count).ok()?;
    }
    Some(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_goes_through_its_buckets_unchanged() {
        let mut one = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
        for at in 1..2000_u64 {
            one.record_n(at * at * 997, at % 7 + 1).unwrap();
        }
        let again = histogram(&buckets(&one)).unwrap();
        assert_eq!(buckets(&again), buckets(&one));
        assert_eq!((again.len(), again.max()), (one.len(), one.max()));
        assert_eq!(again.value_at_quantile(0.99), one.value_at_quantile(0.99));
    }
}
