//! What is looked up: topics, and timers.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};

use encke::bayeux::{Channel, Pattern};
use encke::broker::session::SessionKey;
use encke::broker::topics::{Audience, Subscriber, Topics};
use encke::wheel::Wheel;

use crate::world::Shuffle;

/// Each of so many sessions listens to a channel of its own, one of all to a pattern above them.
pub(crate) fn topics(criterion: &mut Criterion) {
    const NAMES: usize = 1 << 12;
    let mut group = criterion.benchmark_group("topic match");
    for subscriptions in [10, 10_000, 1_000_000] {
        let mut topics = Topics::default();
        let session = SessionKey::from_bits(1 << 32).unwrap();
        let subscriber = Subscriber { session, place: 0 };
        let own = |n: usize| format!("/user/{n}/inbox");
        topics.insert(Pattern::parse("/user/**").unwrap(), subscriber);
        for n in 1..subscriptions {
            topics.insert(Pattern::parse(&own(n)).unwrap(), subscriber);
        }
        let mut shuffle = Shuffle(1);
        let names: Vec<String> = (0..NAMES).map(|_| own(shuffle.next(subscriptions - 1) + 1)).collect();
        let (mut at, mut audience) = (0, Audience::default());
        group.bench_function(BenchmarkId::from_parameter(subscriptions), |bencher| {
            bencher.iter(|| {
                at = (at + 1) % NAMES;
                topics.gather(Channel::parse(&names[at]).unwrap(), &mut audience);
                audience.size()
            });
        });
        topics.gather(Channel::parse(&names[0]).unwrap(), &mut audience);
        assert_eq!(audience.size(), 2, "the channel itself and the pattern");
    }
}

/// A million timers within 40 s, as of parked connects and of the sessions whose connects are on their way.
pub(crate) fn wheel(criterion: &mut Criterion) {
    const TIMERS: usize = 1_000_000;
    const WITHIN_MS: usize = 40_000;
    let mut group = criterion.benchmark_group(format!("wheel of {TIMERS}"));
    let mut shuffle = Shuffle(2);
    let mut wheel = Wheel::new(0);
    let mut timers: Vec<_> = (0_u32..).take(TIMERS).map(|n| wheel.arm(shuffle.next(WITHIN_MS) as u64, n)).collect();
    group.bench_function("arm one more", |bencher| {
        bencher.iter_custom(|rounds| {
            let deadlines: Vec<u64> = (0..rounds).map(|_| shuffle.next(WITHIN_MS) as u64).collect();
            let start = Instant::now();
            let more: Vec<_> = deadlines.into_iter().map(|deadline| wheel.arm(deadline, 0)).collect();
            let spent = start.elapsed();
            for timer in more {
                wheel.cancel(timer);
            }
            spent
        });
    });
    group.bench_function("cancel and arm any", |bencher| {
        bencher.iter(|| {
            let at = shuffle.next(TIMERS);
            let owner = wheel.cancel(timers[at]).unwrap();
            timers[at] = wheel.arm(shuffle.next(WITHIN_MS) as u64, owner);
        });
    });
    assert_eq!(wheel.len(), TIMERS);
    let mut now = 0;
    // Each timer is armed again when it fires, so that there are always as many.
    group.bench_function("advance, for each timer that fires", |bencher| {
        bencher.iter_custom(|rounds| {
            let (mut spent, mut fired) = (Duration::ZERO, Vec::new());
            let mut left = rounds;
            while left > 0 {
                let start = Instant::now();
                while let Some(owner) = wheel.expire(now) {
                    fired.push(owner);
                }
                spent += start.elapsed();
                left = left.saturating_sub(fired.len() as u64);
                now += 1;
                for owner in fired.drain(..) {
                    wheel.arm(now + shuffle.next(WITHIN_MS) as u64, owner);
                }
            }
            spent
        });
    });
    assert_eq!(wheel.len(), TIMERS);
    let mut sleeping = Wheel::new(0);
    sleeping.arm(u64::MAX, 0_u32);
    let mut now = 0;
    group.bench_function("advance by a millisecond in which nothing is due", |bencher| {
        bencher.iter(|| {
            now += 1;
            sleeping.expire(now)
        });
    });
}
