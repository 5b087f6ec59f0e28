//! WebSocket as a server speaks it (RFC 6455), and as a client does for tests and load; its compression (RFC 7692).
//!
//! Owns the opening handshake's judgement and answer, the taking apart and the writing of frames, and the rules about
//! close codes and UTF-8. All of it is pure: bytes and limits in, values and bytes out. It must not touch sockets,
//! clocks, sessions or Bayeux messages, and it makes no randomness: a client's masks and keys come from the caller.
//! Whether an origin may connect is for the caller to judge, before.
//!
//! A connection's way through it: [`handshake::judge`], [`handshake::write_response`], then [`frame::Decoder::next`] for
//! what comes in and [`write::Frame`] for what goes out, until a Close went each way. The request's head is that of a
//! [`HeadScan`]. `examples/ws_echo.rs` is a whole server.
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

pub mod close;
#[cfg(feature = "deflate")]
pub mod deflate;
pub mod extension;
pub mod frame;
pub mod handshake;
mod mask;
pub mod utf8;
pub mod write;

pub use crate::http::HttpError;
pub use crate::http::date::HttpDate;
pub use crate::http::head::{Head, HeadScan};

#[cfg(test)]
mod tests;
