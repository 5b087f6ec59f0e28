//! encke: a Comet server.

pub mod arena;
pub mod bayeux;
pub mod broker;
pub mod chunk;
pub mod clock;
pub mod conn;
pub mod engine;
pub mod framing;
pub mod http;
#[cfg(test)]
mod layering;
pub mod limits;
pub mod refusals;
pub mod reply;
pub mod server;
pub mod wheel;
