//! Owns the command line: what a run can be asked for. The options and their help are in `spec`, how they are read in
//! `read`.

mod read;
mod spec;

pub(crate) use read::parse;

use crate::bayeux::Transport;
use crate::doctor::Need;
use crate::http::Target;
use crate::protocol::Protocol;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// Run a scenario.
    Run(Box<Run>),
    /// Serve as the least a server can do.
    Floor(Floor),
    /// Show reports that were written before.
    Report(Reports),
    /// See whether this machine can hold so many clients.
    Doctor(Need),
    /// Join the figures of the shards of a run.
    Merge(Merge),
    /// Print this.
    Print(String),
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    /// What all scenarios need.
    pub(crate) common: Common,
    /// What is done.
    pub(crate) scenario: Scenario,
    /// What is published; nothing in `idle`.
    pub(crate) publishing: Publishing,
}

/// What is done in a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scenario {
    /// One channel, to which all subscribe.
    Fanout,
    /// Nothing, for so many seconds.
    Idle {
        /// How long to watch.
        seconds: u64,
    },
    /// Many channels, of which each client has some.
    Rooms {
        /// How many.
        rooms: u32,
        /// Of these each client has so many.
        per_client: u32,
    },
    /// Half-way all connections drop at once and come back.
    Storm {
        /// Seconds until they do.
        away_s: f64,
    },
    /// Some clients read slowly.
    Slow {
        /// So large a part of them, from 0 to 1.
        share: f64,
        /// So many bytes a second; 0 is not at all.
        bytes_per_s: u64,
    },
    /// All transports, several channels, and clients that publish.
    Mixed {
        /// How many channels.
        channels: u32,
        /// How many clients publish, beside the publisher.
        speakers: u32,
    },
}

impl Scenario {
    /// Its name as a command.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fanout => "fanout",
            Self::Idle { .. } => "idle",
            Self::Rooms { .. } => "rooms",
            Self::Storm { .. } => "storm",
            Self::Slow { .. } => "slow",
            Self::Mixed { .. } => "mixed",
        }
    }

    /// Whether `floor` can serve it: it has no sessions that could be come back to, and loses whoever is slow.
    pub(crate) fn suits_floor(self) -> bool {
        !matches!(self, Self::Storm { .. } | Self::Slow { .. })
    }
}

/// What is published.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Publishing {
    /// How many messages.
    pub(crate) messages: u32,
    /// Messages in a second; 0: the next when all have the last.
    pub(crate) rate: f64,
    /// Messages in one request.
    pub(crate) burst: u32,
    /// Bytes of each one's data.
    pub(crate) size: usize,
    /// Seconds without a delivery after which the rest is lost.
    pub(crate) drain_s: u64,
}

/// What all scenarios need.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Common {
    /// The URL as it was given.
    pub(crate) url: String,
    /// Its `Host` field and path.
    pub(crate) target: Target,
    /// Its host without brackets.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// Whether it is one of https or wss.
    pub(crate) secure: bool,
    /// Whose certificate is taken there.
    pub(crate) trust: Trust,
    /// What the clients speak.
    pub(crate) protocol: Protocol,
    /// Where messages are published, on the same host and port.
    pub(crate) publish: Target,
    /// How many clients.
    pub(crate) clients: u32,
    /// How they reach the server, in turn. Only in `mixed` there are several.
    pub(crate) transports: Vec<Transport>,
    /// Whether WebSockets offer compression.
    pub(crate) deflate: bool,
    /// Whether events are acknowledged.
    pub(crate) ack: bool,
    /// What they subscribe to, or how the names of several channels begin.
    pub(crate) channel: String,
    /// The server's process, if its figures are wanted.
    pub(crate) pid: Option<u32>,
    /// Where the figures go as JSON.
    pub(crate) json: Option<PathBuf>,
    /// Where they go as a page.
    pub(crate) report: Option<PathBuf>,
    /// Whether progress is left out.
    pub(crate) quiet: bool,
    /// Where connections come from.
    pub(crate) sources: Vec<IpAddr>,
    /// Seconds that the whole may take.
    pub(crate) timeout_s: u64,
    /// Clients on their way to being parked at once.
    pub(crate) ramp: u32,
    /// Which part of a run this process is.
    pub(crate) shard: Option<Shard>,
    /// What the figures are held against.
    pub(crate) against: Against,
}

/// Whose certificate is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trust {
    /// That of whom the system trusts.
    #[default]
    System,
    /// That of whom this file trusts.
    Authority(PathBuf),
    /// Anyone's.
    Anyone,
}

/// What the figures of the server are held against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Against {
    /// A floor that is started for it.
    #[default]
    Floor,
    /// The figures of an earlier run against a floor.
    File(PathBuf),
    /// Nothing.
    Nothing,
}

/// Which part of a run a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// From 1. The first publishes.
    pub(crate) index: u32,
    /// How many there are.
    pub(crate) of: u32,
    /// What they call their run.
    pub(crate) run: String,
}

/// The options of `floor`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Floor {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Lose each so-many-th event, for a test of the count.
    pub(crate) drop_every: Option<u64>,
}

/// The options of `merge`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    /// The figures of the shards.
    pub(crate) files: Vec<PathBuf>,
    /// Where the joined figures go as JSON.
    pub(crate) json: Option<PathBuf>,
}

/// The options of `report`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reports {
    /// The files as JSON, with what each one is to be called.
    pub(crate) files: Vec<(Option<String>, PathBuf)>,
    /// Where the page goes.
    pub(crate) html: Option<PathBuf>,
    /// Where the table goes.
    pub(crate) markdown: Option<PathBuf>,
}
