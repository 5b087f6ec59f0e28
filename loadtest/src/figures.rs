//! Owns which figures of runs are put next to each other, and how numbers are written there. The page and the table are
//! both made of these.

use crate::report::{Delivery, Report, Server};

/// A figure that several runs have.
pub(crate) struct Figure {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Its value, if the run has it. The other runs are there to be compared with.
    pub(crate) of: fn(&Report, &[Report]) -> Option<String>,
}

/// What one wants to know of a run first.
pub(crate) const HEADLINES: &[Figure] = &[
    Figure { name: "deliveries/s", of: |run, _| Some(count(run.delivery?.deliveries_per_second as u64)) },
    Figure { name: "latency p50", of: |run, _| Some(micros(run.latency_us?.p50)) },
    Figure { name: "latency p99", of: |run, _| Some(micros(run.latency_us?.p99)) },
    Figure { name: "latency p99.9", of: |run, _| Some(micros(run.latency_us?.p99_9)) },
    Figure { name: "latency max", of: |run, _| Some(micros(run.latency_us?.max)) },
    Figure { name: "CPU/delivery", of: |run, _| cpu_per_delivery(run).map(micros) },
    Figure { name: "CPU × floor", of: |run, all| floor_ratio(run, all).map(|ratio| format!("{ratio:.2}")) },
    Figure { name: "p99.9 × floor", of: |run, all| floor_latency_ratio(run, all).map(|ratio| format!("{ratio:.2}")) },
    Figure { name: "CPU while idle", of: |run, _| Some(format!("{:.2} % of a core", idle_cpu(run)? * 100.0)) },
    Figure { name: "memory/client", of: |run, _| Some(bytes(run.server?.rss_bytes_per_client)) },
    Figure { name: "lost", of: |run, _| flawed(run, |delivery| delivery.lost) },
];

/// What was counted. The first three are to agree; what follows is to be nothing.
pub(crate) const COUNTS: &[Figure] = &[
    Figure { name: "messages published", of: |run, _| Some(count(run.delivery?.published)) },
    Figure { name: "deliveries expected", of: |run, _| Some(count(run.delivery?.expected)) },
    Figure { name: "delivered", of: |run, _| Some(count(run.delivery?.delivered)) },
    Figure { name: "lost", of: |run, _| flawed(run, |delivery| delivery.lost) },
    Figure { name: "gone with the storm, excused", of: |run, _| Some(count(run.storm?.excused)) },
    Figure { name: "duplicated", of: |run, _| flawed(run, |delivery| delivery.duplicated) },
    Figure { name: "out of order", of: |run, _| flawed(run, |delivery| delivery.out_of_order) },
    Figure { name: "of other runs", of: |run, _| flawed(run, |delivery| delivery.strangers) },
    Figure { name: "publishes refused", of: |run, _| flawed(run, |delivery| delivery.refused) },
    Figure { name: "failures of clients", of: |run, _| Some(mark(run.faults.values().sum())) },
    Figure { name: "connections reopened", of: |run, _| Some(count(run.reopened_connections)) },
];

/// How it was set up, and all that is left.
pub(crate) const DETAILS: &[Figure] = &[
    Figure { name: "scenario", of: |run, _| Some(run.scenario.clone()) },
    Figure { name: "transport", of: |run, _| Some(run.transport.clone()) },
    Figure { name: "endpoint", of: |run, _| Some(run.url.clone()) },
    Figure { name: "clients", of: |run, _| Some(count(run.clients)) },
    Figure { name: "messages asked for", of: |run, _| Some(count(run.delivery?.messages)) },
    Figure { name: "pace", of: |run, _| Some(pace(&run.delivery?)) },
    Figure { name: "messages in a request", of: |run, _| Some(count(u64::from(run.delivery?.burst))) },
    Figure { name: "data of a message", of: |run, _| Some(bytes(run.delivery?.size_bytes as f64)) },
    Figure { name: "publishing took", of: |run, _| Some(seconds(run.delivery?.seconds)) },
    Figure { name: "watched for", of: |run, _| Some(seconds(run.idle?.seconds)) },
    Figure { name: "parking took", of: |run, _| Some(seconds(run.parking.seconds)) },
    Figure { name: "clients parked/s", of: |run, _| Some(count(run.parking.clients_per_second as u64)) },
    Figure { name: "server CPU to join", of: |run, _| Some(micros(run.server?.cpu_us_per_join?)) },
    Figure { name: "the floor’s to join", of: |run, _| Some(micros(run.floor?.cost.cpu_us_per_join?)) },
    Figure { name: "the floor’s memory/client", of: |run, _| Some(bytes(run.floor?.cost.rss_bytes_per_client?)) },
    Figure { name: "connections dropped", of: |run, _| Some(count(run.storm?.dropped)) },
    Figure { name: "clients back", of: |run, _| Some(count(run.storm?.returned)) },
    Figure { name: "all back after", of: |run, _| Some(seconds(run.storm?.seconds)) },
    Figure { name: "slow clients", of: |run, _| Some(count(run.slow?.clients)) },
    Figure { name: "slow clients disconnected", of: |run, _| Some(count(run.slow?.disconnected)) },
    Figure { name: "latency p90", of: |run, _| Some(micros(run.latency_us?.p90)) },
    Figure { name: "server memory at start", of: |run, _| Some(kib(run.server?.rss_before_kib)) },
    Figure { name: "server memory, all parked", of: |run, _| Some(kib(run.server?.rss_parked_kib)) },
    Figure { name: "server memory at the end", of: |run, _| Some(kib(run.server?.rss_end_kib)) },
    Figure { name: "server CPU, own code", of: |run, _| Some(seconds(run.server?.cpu_user_s)) },
    Figure { name: "server CPU, kernel", of: |run, _| Some(seconds(run.server?.cpu_system_s)) },
    Figure { name: "server wake-ups", of: |run, _| Some(count(run.server?.wakeups)) },
    Figure {
        name: "kernel TCP memory, both ends",
        of: |run, _| Some(format!("{} → {}", kib(run.kernel?.memory_before_kib), kib(run.kernel?.memory_parked_kib))),
    },
    Figure { name: "generator CPU", of: |run, _| Some(seconds(run.generator?.cpu_s)) },
    Figure { name: "generator memory", of: |run, _| Some(kib(run.generator?.rss_kib)) },
    Figure { name: "generator version", of: |run, _| Some(run.version.clone()) },
    Figure { name: "began (UTC)", of: |run, _| Some(run.began.clone()) },
    Figure { name: "system", of: |run, _| Some(run.machine.as_ref()?.system.clone()) },
    Figure { name: "processor", of: |run, _| Some(run.machine.as_ref()?.processor.clone()) },
    Figure { name: "cores", of: |run, _| Some(count(run.machine.as_ref()?.cores)) },
    Figure { name: "memory", of: |run, _| Some(kib(run.machine.as_ref()?.memory_kib)) },
];

/// What stands before a count that should be nothing and is not.
pub(crate) const ALARM: &str = "⚠ ";

fn flawed(run: &Report, of: fn(&Delivery) -> u64) -> Option<String> {
    run.delivery.as_ref().map(of).map(mark)
}

fn mark(flaws: u64) -> String {
    if flaws == 0 { "0".into() } else { format!("{ALARM}{}", count(flaws)) }
}

fn pace(delivery: &Delivery) -> String {
    let rate = delivery.rate;
    if rate > 0.0 { format!("{rate} a second") } else { "the next when all have the last".into() }
}

/// What a run is called: its name, or what it did.
pub(crate) fn title(run: &Report) -> String {
    let transport = if run.transport.is_empty() { String::new() } else { format!(", {}", run.transport) };
    if run.name.is_empty() { format!("{}{transport}", run.scenario) } else { run.name.clone() }
}

/// Microseconds of the server's CPU for each delivery.
pub(crate) fn cpu_per_delivery(run: &Report) -> Option<f64> {
    run.server?.cpu_us_per_delivery
}

/// The share of a core that the server took while nothing was published.
pub(crate) fn idle_cpu(run: &Report) -> Option<f64> {
    let (Server { cpu_s, cpu_user_s, cpu_system_s, .. }, watch) = (run.server?, run.idle?);
    // Reports of old know the ticks only.
    let cpu_s = if cpu_s > 0.0 { cpu_s } else { cpu_user_s + cpu_system_s };
    (watch.seconds > 0.0).then(|| cpu_s / watch.seconds)
}

/// Whether this is a run of the floor, to which others are held. Its name tells.
pub(crate) fn is_floor(run: &Report) -> bool {
    run.name.to_ascii_lowercase().starts_with("floor")
}

/// The run of the floor with the same traffic, if it is among these.
fn floor_of<'a>(run: &Report, all: &'a [Report]) -> Option<&'a Report> {
    let traffic = run.traffic();
    all.iter().find(|other| is_floor(other) && other.traffic() == traffic)
}

/// What the floor spends on a delivery of this run: as that run has measured it, or another of the floor.
pub(crate) fn floor_us(run: &Report, all: &[Report]) -> Option<f64> {
    let own = run.floor.and_then(|floor| floor.cost.cpu_us_per_delivery);
    own.or_else(|| cpu_per_delivery(floor_of(run, all)?)).filter(|us| *us > 0.0)
}

/// How many times what the floor spends a run spends. Not for the floor itself.
pub(crate) fn floor_ratio(run: &Report, all: &[Report]) -> Option<f64> {
    (!is_floor(run)).then(|| Some(cpu_per_delivery(run)? / floor_us(run, all)?))?
}

/// The same of the time until 99.9 % of the deliveries have come.
fn floor_latency_ratio(run: &Report, all: &[Report]) -> Option<f64> {
    let own = run.floor.and_then(|floor| floor.cost.latency_us);
    let floor = own.or_else(|| floor_of(run, all)?.latency_us).filter(|latency| latency.p99_9 > 0.0);
    (!is_floor(run)).then(|| Some(run.latency_us?.p99_9 / floor?.p99_9))?
}

/// A whole number in groups of three digits.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let first = (digits.len() - 1) % 3 + 1;
    let (head, rest) = digits.split_at(first);
    rest.as_bytes().chunks(3).fold(head.to_owned(), |mut text, group| {
        text.push(',');
        text.extend(group.iter().map(|digit| char::from(*digit)));
        text
    })
}

/// A number with three digits that matter, or all before its point.
pub(crate) fn digits(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => count(number.max(0.0).round() as u64),
        size if size >= 10.0 => format!("{number:.1}"),
        0.0 => "0".into(),
        _ => format!("{number:.2}"),
    }
}

/// A time given in microseconds.
pub(crate) fn micros(us: f64) -> String {
    match us {
        us if us >= 999_500.0 => format!("{} s", digits(us / 1e6)),
        us if us >= 999.5 => format!("{} ms", digits(us / 1e3)),
        us => format!("{} µs", digits(us)),
    }
}

/// A time given in seconds.
pub(crate) fn seconds(seconds: f64) -> String {
    format!("{} s", digits(seconds))
}

/// A size.
pub(crate) fn bytes(bytes: f64) -> String {
    match bytes {
        bytes if bytes >= 1024.0 * 1024.0 * 1024.0 => format!("{} GiB", digits(bytes / 1024.0 / 1024.0 / 1024.0)),
        bytes if bytes >= 1024.0 * 1024.0 => format!("{} MiB", digits(bytes / 1024.0 / 1024.0)),
        bytes if bytes >= 10_000.0 => format!("{} KiB", digits(bytes / 1024.0)),
        bytes => format!("{bytes:.0} B"),
    }
}

fn kib(kib: u64) -> String {
    bytes(kib as f64 * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Latency;

    #[test]
    fn numbers_as_people_read_them() {
        let cases =
            [(0, "0"), (999, "999"), (1000, "1,000"), (123_456, "123,456"), (u64::MAX, "18,446,744,073,709,551,615")];
        for (number, text) in cases {
            assert_eq!(count(number), text);
        }
        let times = [8.4, 999.4, 999.6, 4610.0, 999_499.0, 999_600.0, 0.0].map(micros);
        assert_eq!(times, ["8.40 µs", "999 µs", "1.00 ms", "4.61 ms", "999 ms", "1.00 s", "0 µs"]);
        let sizes = [544.4, 9_999.0, 10_240.0, 3_361_792.0].map(bytes);
        assert_eq!(sizes, ["544 B", "9999 B", "10.0 KiB", "3.21 MiB"]);
    }

    #[test]
    fn the_ratio_needs_a_floor_of_the_same_traffic() {
        let run = |name: &str, clients, us| Report {
            name: name.into(),
            scenario: "fanout".into(),
            clients,
            server: Some(Server { cpu_us_per_delivery: Some(us), ..Server::default() }),
            ..Report::default()
        };
        let all = [run("ours", 100, 9.0), run("Floor 100", 100, 6.0), run("more", 200, 9.0)];
        assert_eq!(floor_ratio(&all[0], &all), Some(1.5));
        assert_eq!((floor_ratio(&all[1], &all), floor_us(&all[1], &all)), (None, Some(6.0)));
        assert_eq!(floor_ratio(&all[2], &all), None);
        // What a run was itself held against counts before.
        let mut floor = crate::report::Floor::default();
        floor.cost.cpu_us_per_delivery = Some(3.0);
        floor.cost.latency_us = Some(Latency { p99_9: 20.0, ..Latency::default() });
        let latency_us = Some(Latency { p99_9: 30.0, ..Latency::default() });
        let held = Report { floor: Some(floor), latency_us, ..run("ours", 100, 9.0) };
        assert_eq!((floor_ratio(&held, &all), floor_latency_ratio(&held, &all)), (Some(3.0), Some(1.5)));
    }
}
