//! The fuzz targets: each takes any bytes, and panics if the server does something that it must not do with them.
//!
//! Owns what must hold of every input. Must not know the fuzzer: `tests/fuzz_regressions.rs` includes this folder, and plays
//! the seeds and everything that was ever found.
//!
//! Who calls these must have the allocator that `meter` asks.

mod answers;
mod bayeux;
mod chunks;
mod connection;
mod frames;
mod head;
pub(crate) mod meter;
mod pieces;
mod script;

use encke::limits::Limits;

/// Takes an input, and panics about what it finds.
pub(crate) type Target = fn(&[u8]);

/// All of them, by their names.
pub(crate) const ALL: [(&str, Target); 6] = [
    ("head", head::run),
    ("chunks", chunks::run),
    ("frames", frames::run),
    ("bayeux", bayeux::run),
    ("connection", connection::run),
    ("script", script::run),
];

/// The limits by default, and some that small inputs reach.
fn both_limits() -> [Limits; 2] {
    let tight = Limits {
        line_bytes: 64,
        head_bytes: 256,
        body_bytes: 512,
        batch_messages: 8,
        json_depth: 6,
        ..Limits::default()
    };
    [Limits::default(), tight]
}
