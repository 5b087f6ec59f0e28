//! What an engine is made of, what of that can be changed, and what it tells of itself.
//!
//! Owns plain data; nothing here acts.

use crate::broker;
use crate::broker::token::Entropy;
use crate::conn::plain::Publishing;
use crate::conn::route::Site;
use crate::hooks::Hooks;
use crate::http::forwarded::TrustedProxies;
use crate::http::host::HostRule;
use crate::http::origin::OriginRule;
use crate::limits::Limits;

/// Everything that an engine is made of: see [`Parts::new`].
pub struct Parts {
    /// The HTTP side's settings.
    #[doc(hidden)]
    pub site: Site,
    /// The broker's settings.
    pub broker: broker::Config,
    /// Every bound.
    pub limits: Limits,
    /// Where secrets come from.
    pub entropy: Box<dyn Entropy>,
    /// What the embedder's program says, changes and hears.
    pub hooks: Hooks,
}

/// What can be changed while the engine runs: made by [`Settings::into_change`](super::Settings::into_change).
#[derive(Debug)]
pub struct Change {
    /// Which hosts are answered for.
    #[doc(hidden)]
    pub hosts: HostRule,
    /// Which other sites' pages may use this server.
    #[doc(hidden)]
    pub origins: OriginRule,
    /// Whose `X-Forwarded-*` header fields are believed.
    #[doc(hidden)]
    pub proxies: TrustedProxies,
    /// Who may publish by plain HTTP.
    #[doc(hidden)]
    pub publishing: Publishing,
    /// Whether the demonstration is served.
    pub demo: bool,
    /// The broker's settings.
    pub broker: broker::Config,
    /// Every bound.
    pub limits: Limits,
}

/// Why the engine wants to be called at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The turn left work over: at once.
    Work,
    /// A timer of a session or of a connection.
    Timer,
}

/// A connection could not be taken: as many as allowed are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AtCapacity;

impl core::fmt::Display for AtCapacity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("as many connections as allowed are open")
    }
}

impl core::error::Error for AtCapacity {}

/// How many of everything there are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// Open connections.
    pub connections: usize,
    /// Sessions.
    pub sessions: usize,
    /// Sessions whose connect is held.
    pub parked: usize,
    /// Channels and patterns with a subscriber.
    pub topics: usize,
    /// Browsers with a session.
    pub browsers: usize,
    /// Timers armed.
    pub timers: usize,
    /// Bytes of events waiting, each event once.
    pub queued_bytes: usize,
    /// Bytes of answers that sockets do not take.
    pub unsent_bytes: usize,
    /// Bytes of requests and messages that are not complete.
    pub received_bytes: usize,
    /// Events kept in histories.
    pub kept: usize,
    /// Bytes of them.
    pub kept_bytes: usize,
    /// Memory for subscriptions.
    pub subscribed_bytes: usize,
    /// Bytes of what hooks have written on sessions.
    pub attribute_bytes: usize,
}
