//! The only place that asks what time it is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::clock::Now;

/// Reads both clocks. The monotonic one starts at zero here.
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The time, rounded down, so that nothing is done too early.
    pub(super) fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: millis(self.start.elapsed()), unix_ms: millis(unix) }
    }

    /// As if so much time had passed.
    #[cfg(test)]
    pub(super) fn pass(&mut self, time: Duration) {
        self.start -= time;
    }

    /// How long until the monotonic clock shows `at_ms`.
    pub(super) fn until(&self, at_ms: u64) -> Duration {
        Duration::from_millis(at_ms).saturating_sub(self.start.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
