//! Owns how the figures of the shards of a run become those of the whole: counts add up, latencies are joined from
//! their histograms, and what all of them saw of the one server is taken once.

use crate::args::Merge;
use crate::report::{Generator, Kernel, Latency, Part, Report, Server, buckets, histogram, latency_curve};
use std::fs;

/// Joins the figures in files; the error is a line for the user.
pub(crate) fn merge(args: &Merge) -> Result<Report, String> {
    let mut reports = Vec::new();
    for path in &args.files {
        let cannot = |error: String| format!("{}: {error}", path.display());
        let text = fs::read(path).map_err(|error| cannot(error.to_string()))?;
        let report: Report = serde_json::from_slice(&text).map_err(|error| cannot(error.to_string()))?;
        if report.shard.is_none() {
            return Err(cannot("these are not the figures of a shard: they were written without --shard".into()));
        }
        reports.push(report);
    }
    join(reports)
}

fn join(mut reports: Vec<Report>) -> Result<Report, String> {
    reports.sort_by_key(|report| report.shard.as_ref().map(|part| part.index));
    let parts: Vec<&Part> = reports.iter().filter_map(|report| report.shard.as_ref()).collect();
    let Some(first) = parts.first() else { return Err("there is nothing to join".into()) };
    let (of, run) = (first.of, first.run.clone());
    if parts.iter().any(|part| part.run != run || part.of != of) {
        return Err("these are shards of different runs".into());
    }
    let indices: Vec<u32> = parts.iter().map(|part| part.index).collect();
    if indices != (1..=of).collect::<Vec<_>>() {
        return Err(format!("a run of {of} shards needs the figures of each once, but these are of {indices:?}"));
    }
    let mut rest = reports.into_iter();
    let Some(mut whole) = rest.next() else { return Err("there is nothing to join".into()) };
    prefix(&mut whole, 1);
    for (mut report, index) in rest.zip(2..) {
        prefix(&mut report, index);
        add(&mut whole, report)?;
    }
    whole.shard = Some(Part { index: 0, of, run });
    // Of the course of the run the server's part is known to each; what came from moment to moment is not joined.
    for sample in &mut whole.series {
        (sample.parked, sample.published, sample.delivered) = (0, 0, 0);
    }
    whole.parking.clients_per_second = whole.clients as f64 / whole.parking.seconds;
    if let Some(delivery) = &mut whole.delivery {
        delivery.deliveries_per_second =
            if delivery.seconds > 0.0 { delivery.delivered as f64 / delivery.seconds } else { 0.0 };
    }
    if let Some(server) = &mut whole.server {
        let growth = server.rss_parked_kib as f64 - server.rss_before_kib as f64;
        server.rss_bytes_per_client = growth * 1024.0 / whole.clients as f64;
        // The shards came while others were there already; nobody saw the cost of all.
        server.cpu_us_per_join = None;
    }
    Ok(whole.judge())
}

/// Says of which shard the complaints are.
fn prefix(report: &mut Report, index: u32) {
    report.complaints.iter_mut().for_each(|complaint| complaint.insert_str(0, &format!("shard {index}: ")));
}

fn add(whole: &mut Report, other: Report) -> Result<(), String> {
    if (&whole.scenario, &whole.transport) != (&other.scenario, &other.transport) {
        let ran = |report: &Report| format!("{} over {}", report.scenario, report.transport);
        return Err(format!("one shard ran {} and another {}", ran(whole), ran(&other)));
    }
    whole.clients += other.clients;
    whole.complaints.extend(other.complaints);
    whole.parking.seconds = whole.parking.seconds.max(other.parking.seconds);
    whole.parking.settled &= other.parking.settled;
    if let (Some(own), Some(more)) = (&mut whole.delivery, other.delivery) {
        own.published += more.published;
        own.acknowledged += more.acknowledged;
        own.refused += more.refused;
        own.expected += more.expected;
        own.delivered += more.delivered;
        own.lost += more.lost;
        own.duplicated += more.duplicated;
        own.out_of_order += more.out_of_order;
        own.strangers += more.strangers;
        own.seconds = own.seconds.max(more.seconds);
    }
    let bad = || "a histogram of latencies is not understood".to_owned();
    let mut joined = histogram(&whole.latency_buckets).ok_or_else(bad)?;
    joined.add(histogram(&other.latency_buckets).ok_or_else(bad)?).map_err(|_| bad())?;
    (whole.latency_us, whole.latency_buckets) = (Latency::of(&joined), buckets(&joined));
    whole.latency_curve = latency_curve(&joined);
    whole.server = match (whole.server.take(), other.server) {
        (Some(own), Some(more)) => Some(Server {
            rss_before_kib: own.rss_before_kib.min(more.rss_before_kib),
            rss_parked_kib: own.rss_parked_kib.max(more.rss_parked_kib),
            rss_end_kib: own.rss_end_kib.max(more.rss_end_kib),
            ..own
        }),
        (own, _) => own,
    };
    if let (Some(own), Some(more)) = (&mut whole.kernel, other.kernel) {
        *own = Kernel {
            sockets_before: own.sockets_before.min(more.sockets_before),
            sockets_parked: own.sockets_parked.max(more.sockets_parked),
            memory_before_kib: own.memory_before_kib.min(more.memory_before_kib),
            memory_parked_kib: own.memory_parked_kib.max(more.memory_parked_kib),
        };
    }
    if let (Some(own), Some(more)) = (&mut whole.generator, other.generator) {
        *own = Generator { cpu_s: own.cpu_s + more.cpu_s, rss_kib: own.rss_kib + more.rss_kib };
    }
    if let (Some(own), Some(more)) = (&mut whole.deflate, other.deflate) {
        own.clients += more.clients;
        own.messages += more.messages;
    }
    whole.empty_polls += other.empty_polls;
    whole.reopened_connections += other.reopened_connections;
    for (kind, count) in other.faults {
        *whole.faults.entry(kind).or_default() += count;
    }
    whole.first_fault = whole.first_fault.take().or(other.first_fault);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Delivery, Sample};
    use hdrhistogram::Histogram;

    fn shard(index: u32, delivered: u64, latency_ns: &[u64]) -> Report {
        let mut histogram = Histogram::new(3).unwrap();
        latency_ns.iter().for_each(|ns| histogram.record(*ns).unwrap());
        let published = if index == 1 { 5 } else { 0 };
        let delivery = Delivery {
            messages: published,
            published,
            acknowledged: published,
            expected: 10,
            delivered,
            lost: 10 - delivered,
            seconds: f64::from(index),
            ..Delivery::default()
        };
        Report {
            shard: Some(Part { index, of: 2, run: "r".into() }),
            clients: 2,
            delivery: Some(delivery),
            latency_buckets: buckets(&histogram),
            series: vec![Sample { delivered, rss_kib: Some(7), ..Sample::default() }],
            ..Report::default()
        }
        .judge()
    }

    #[test]
    fn counts_add_up_and_latencies_are_joined() {
        let one: Vec<u64> = (1..=50).map(|at| at * 1000).collect();
        let two: Vec<u64> = (51..=100).map(|at| at * 1000).collect();
        let whole = join(vec![shard(2, 10, &two), shard(1, 10, &one)]).unwrap();
        assert!(whole.ok, "{:?}", whole.complaints);
        let delivery = whole.delivery.unwrap();
        assert_eq!((whole.clients, delivery.expected, delivery.delivered, delivery.published), (4, 20, 20, 5));
        assert_eq!((delivery.seconds, delivery.deliveries_per_second), (2.0, 10.0));
        let latency = whole.latency_us.unwrap();
        assert!((49.9..50.1).contains(&latency.p50) && (99.9..100.2).contains(&latency.max), "{latency:?}");
        assert_eq!(whole.latency_curve.last(), Some(&(1.0, latency.max)));
        // One shard's deliveries are not those of the whole; the server's memory is.
        assert_eq!((whole.series[0].delivered, whole.series[0].rss_kib), (0, Some(7)));
    }

    #[test]
    fn a_loss_in_one_shard_is_a_loss() {
        let whole = join(vec![shard(1, 10, &[]), shard(2, 9, &[])]).unwrap();
        assert!(!whole.ok);
        assert_eq!(whole.complaints, ["shard 2: 1 deliveries were lost", "1 deliveries were lost"]);
    }

    #[test]
    fn each_shard_is_needed_once() {
        assert!(join(vec![shard(1, 10, &[]), shard(1, 10, &[])]).unwrap_err().contains("these are of [1, 1]"));
        let mut other = shard(2, 10, &[]);
        other.shard.as_mut().unwrap().run = "another".into();
        assert!(join(vec![shard(1, 10, &[]), other]).unwrap_err().contains("different runs"));
        let over = |index, transport: &str| Report {
            scenario: "fanout".into(),
            transport: transport.into(),
            ..shard(index, 10, &[])
        };
        let error = join(vec![over(1, "websocket"), over(2, "streaming")]).unwrap_err();
        assert_eq!(error, "one shard ran fanout over websocket and another fanout over streaming");
    }
}
