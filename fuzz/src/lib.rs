//! What the fuzz targets share: the allocator that counts, and the time that an input may take.
//!
//! The targets themselves are in `src/targets`, which `tests/fuzz_regressions.rs` of the server includes as well: what is
//! found here is played there, without a fuzzer, whenever the tests run.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::alloc::System;

use rustix::time::{ClockId, clock_gettime};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

mod targets;

use targets::meter;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What one call into the server may take at most of the processor's time, instrumented as it is here.
const MOST: Duration = Duration::from_millis(50);
/// So often an input must have been too slow, one time after another: a machine that stood still is no finding.
const TIMES: u32 = 3;

/// Whether it is the processor's time that is read. The time of day is read much faster, and is never the shorter one.
static PRECISE: AtomicBool = AtomicBool::new(false);

/// Plays an input of the target that has this name.
///
/// # Panics
/// If the target finds something, or if the server takes too long.
pub fn judge(name: &str, data: &[u8]) {
    let (_, target) = targets::ALL.iter().find(|(own, _)| *own == name).expect("a target has this name");
    meter::CLOCK.get_or_init(|| time);
    PRECISE.store(false, Ordering::Relaxed);
    if slowest_call(*target, data) <= MOST {
        return;
    }
    PRECISE.store(true, Ordering::Relaxed);
    let fastest = (0..TIMES).map(|_| slowest_call(*target, data)).min().unwrap_or_default();
    assert!(fastest <= MOST, "the server was busy for {fastest:?} in one call");
}

/// Plays an input; how long the slowest call into the server took.
fn slowest_call(target: fn(&[u8]), data: &[u8]) -> Duration {
    meter::SLOWEST_NS.store(0, Ordering::Relaxed);
    target(data);
    Duration::from_nanos(meter::SLOWEST_NS.load(Ordering::Relaxed))
}

/// What the time is, from any beginning: what this thread has used of the processor's, or the time of day.
fn time() -> Duration {
    let precise = PRECISE.load(Ordering::Relaxed);
    let time = clock_gettime(if precise { ClockId::ThreadCPUTime } else { ClockId::Monotonic });
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
