//! The program and its servers, all as processes.

mod common;
mod daemon;
mod floor;
#[cfg(unix)]
mod tls;
