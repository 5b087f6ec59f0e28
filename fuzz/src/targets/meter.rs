//! What the server's work on an input costs.
//!
//! Owns the bound of what may be allocated. What may be taken of time is the fuzzer's matter: it sets [`CLOCK`], and reads
//! [`SLOWEST_NS`]; the tests do not.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::OnceLock;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region};

/// Bytes that may be allocated for each byte of input, beyond a constant of each target.
const RATIO: usize = 10;

/// Says how much time has been used; nobody asks unless the fuzzer sets it.
pub(crate) static CLOCK: OnceLock<fn() -> Duration> = OnceLock::new();
/// What the slowest call into the server has taken since the fuzzer last wrote zero here.
pub(crate) static SLOWEST_NS: AtomicU64 = AtomicU64::new(0);

/// What the server did with memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// Bytes that were allocated, also those that were freed again.
    pub(crate) allocated: usize,
    /// Bytes more that are held since; fewer, if it is negative.
    pub(crate) kept: isize,
}

/// Bytes that are held by anyone.
pub(crate) fn held() -> isize {
    let stats = INSTRUMENTED_SYSTEM.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated).cast_signed()
}

/// Has the server do something, and looks at what that costs.
pub(crate) fn measure<T>(work: impl FnOnce() -> T) -> (T, Used) {
    let begun = CLOCK.get().map(|clock| clock());
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    let done = work();
    let change = region.change();
    if let (Some(clock), Some(begun)) = (CLOCK.get(), begun) {
        let took = clock().saturating_sub(begun).as_nanos();
        SLOWEST_NS.fetch_max(u64::try_from(took).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
    let kept = change.bytes_allocated.wrapping_sub(change.bytes_deallocated).cast_signed();
    (done, Used { allocated: change.bytes_allocated, kept })
}

/// Has the server do something with so many bytes of input.
///
/// # Panics
/// If it allocates more than ten times the input and the constant.
pub(crate) fn within<T>(input: usize, constant: usize, work: impl FnOnce() -> T) -> T {
    let (done, Used { allocated, .. }) = measure(work);
    let most = input * RATIO + constant;
    assert!(allocated <= most, "{allocated} bytes were allocated for {input} bytes of input: {most} are allowed");
    done
}
