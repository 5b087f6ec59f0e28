//! What signals ask of a server.
//!
//! Owns their numbers. They come to the loop as events, so that nothing runs in a signal handler but a byte into a pipe.

use std::io;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// SIGTERM, SIGINT: to end.
    End,
    /// SIGHUP: to read the configuration again.
    Reload,
    /// SIGUSR1: to log counts.
    Report,
}

/// The signals that have come.
pub(super) struct Signals(signal_hook_mio::v1_0::Signals);

impl Signals {
    pub(super) fn register(registry: &Registry, token: Token) -> io::Result<Self> {
        let mut signals = signal_hook_mio::v1_0::Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
        registry.register(&mut signals, token, Interest::READABLE)?;
        Ok(Self(signals))
    }

    /// What has come since the last time. A signal that came twice before it was looked at counts once.
    pub(super) fn pending(&mut self) -> impl Iterator<Item = Request> {
        self.0.pending().filter_map(|signal| match signal {
            SIGTERM | SIGINT => Some(Request::End),
            SIGHUP => Some(Request::Reload),
            SIGUSR1 => Some(Request::Report),
            _ => None,
        })
    }
}
