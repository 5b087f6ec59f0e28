//! Counts and sums that stop at their bounds, in place of the process.
//!
//! Owns how they are changed. No bound is ever reached: a count of events would take centuries, a sum of bytes more memory
//! than there can be, and nothing is taken off a sum that was not added before, which debug builds hold against it.

/// One more.
pub(super) fn one(count: &mut u64) {
    add(count, 1);
}

/// So many more.
pub(super) fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more);
}

/// So many bytes more.
pub(super) fn put(bytes: &mut usize, more: usize) {
    *bytes = bytes.saturating_add(more);
}

/// So many bytes less, that were put there before.
pub(super) fn take(bytes: &mut usize, less: usize) {
    debug_assert!(less <= *bytes, "{less} of {bytes}");
    *bytes = bytes.saturating_sub(less);
}
