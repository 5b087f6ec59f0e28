//! The wire contract, rule by rule, on virtual time and without I/O. Tests are named after the section of the contract.

mod acks;
#[cfg(feature = "jwt")]
mod auth;
mod bench;
mod channels;
mod connect;
mod ending;
mod events;
mod extensions;
mod framing;
mod history;
mod hooks;
mod http;
mod limits;
mod locals;
mod meta;
mod origin;
mod overload;
#[cfg(feature = "demo")]
mod pages;
mod panics;
mod plain;
mod reconfigure;
mod sessions;
mod sockets;
mod streams;
mod strict;
mod tls;
