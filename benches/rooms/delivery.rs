//! From a publish to the answer, and from the next connect to its being held: broker, connections and engine together.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion};

use encke::broker::rules::{Keep, Rule};

use crate::world::{Crowd, Spent, worked};

/// So many clients whose connects are held.
fn parked(clients: usize, channels: Vec<Rule>) -> Crowd {
    let mut crowd = Crowd::new(clients, channels, None);
    crowd.accept(clients);
    crowd.join(0);
    crowd.park(0);
    assert_eq!(crowd.engine.census().parked, clients);
    crowd
}

/// A round is a publish to all, and their next connects. What criterion is told is the share of one client, of the part
/// that `what` picks.
fn round(crowd: &mut Crowd, rounds: u64, data: &str, what: fn(Spent, Duration) -> Duration) -> Duration {
    let clients = u32::try_from(crowd.len()).expect("not that many");
    let mut spent = Duration::ZERO;
    for _ in 0..rounds {
        let published = crowd.publish(data);
        spent += what(published, crowd.park(0));
    }
    spent / clients
}

/// A publish, to the pointer in the outbox of each subscriber.
pub(crate) fn outboxes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish, for each outbox of");
    group.sample_size(10);
    for clients in [100, 1_000, 10_000] {
        let mut crowd = parked(clients, Vec::new());
        group.bench_function(BenchmarkId::from_parameter(clients), |bencher| {
            bencher.iter_custom(|rounds| round(&mut crowd, rounds, "1", |spent, _| spent.publish));
        });
    }
}

/// The whole way, and the way back.
pub(crate) fn fan_out(criterion: &mut Criterion) {
    const CLIENTS: u32 = 1_000;
    const NEW: u32 = 100;
    let mut group = criterion.benchmark_group(format!("fan-out to {CLIENTS}"));
    let history = Rule { pattern: "/**".to_owned(), history: Some(Some(Keep::default())), ..Rule::default() };
    let mut keeping = parked(CLIENTS as usize, vec![history]);
    let mut crowd = parked(CLIENTS as usize, Vec::new());
    for (size, kept) in [(100, false), (100, true), (8_000, false), (8_000, true)] {
        let crowd = if kept { &mut keeping } else { &mut crowd };
        let data = format!("\"{}\"", "x".repeat(size));
        let before = crowd.engine.counters();
        let of = if kept { "kept in a history, " } else { "" };
        group.bench_function(format!("a delivery of {size} bytes, {of}from publish to written"), |bencher| {
            bencher.iter_custom(|rounds| round(crowd, rounds, &data, |spent, _| spent.total()));
        });
        let after = crowd.engine.counters();
        let (published, encoded) = (after.published - before.published, after.encoded - before.encoded);
        assert_eq!(
            after.delivered - before.delivered,
            published * u64::from(CLIENTS),
            "each event to each client, once"
        );
        assert_eq!(encoded, published, "one encoding for all");
    }
    group.bench_function("the next connect, from bytes to parked", |bencher| {
        bencher.iter_custom(|rounds| round(&mut crowd, rounds, "0", |_, connect| connect));
    });
    group.bench_function("a connect, from bytes to parked to answered to written", |bencher| {
        bencher.iter_custom(|rounds| {
            round(&mut crowd, rounds, "0", |spent, connect| connect + spent.flush + spent.written)
        });
    });
    group.bench_function("a new client, from handshake to first connect answered", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let mut crowd = Crowd::new(NEW as usize, Vec::new(), None);
                let start = worked();
                crowd.accept(NEW as usize);
                crowd.join(0);
                spent += worked() - start;
            }
            spent / NEW
        });
    });
    crowd.leave();
    assert!(crowd.engine.is_at_rest(), "{:?}", crowd.engine.census());
}
