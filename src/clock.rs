//! What time it is, as a value that is passed in.
//!
//! Owns the type only. Nothing below `server` asks a clock; the loop reads it once a turn and hands it down.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

/// An instant, on two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never steps back, from an arbitrary start. All timers run on this one. Rounded down.
    pub mono_ms: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z; may step. Only for what people read, such as the `Date` header.
    pub unix_ms: u64,
}
