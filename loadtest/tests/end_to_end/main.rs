//! The program and its servers, all as processes.

mod common;
mod daemon;
mod floor;
mod shown;
#[cfg(unix)]
mod tls;
