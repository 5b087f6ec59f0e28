//! What holds for all connections in the call under way: the settings of the HTTP side, the time, and whether the server
//! ends.

use crate::clock::Now;
use crate::conn::Env;
use crate::conn::route::Site;
use crate::http::date::HttpDate;
use crate::limits::Limits;

/// Whether the engine keeps connections and holds connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Serving,
    /// Since then, ms.
    Ending {
        since_ms: u64,
    },
}

/// See the [module](self).
pub(super) struct Terms {
    pub(super) site: Site,
    pub(super) life: Life,
    pub(super) now: Now,
    /// The same for people.
    pub(super) date: HttpDate,
    /// What each connection may have made ready, bytes: of [`Limits::output_bytes`], what the room for all leaves.
    pub(super) share_bytes: usize,
}

impl Terms {
    /// Those of an engine that begins to serve.
    pub(super) fn new(site: Site, share_bytes: usize, now: Now) -> Self {
        Self { site, life: Life::Serving, now, date: HttpDate::from_unix_ms(now.unix_ms), share_bytes }
    }

    /// Another call has begun.
    pub(super) fn tell_time(&mut self, now: Now) {
        if now.unix_ms / 1_000 != self.now.unix_ms / 1_000 {
            self.date = HttpDate::from_unix_ms(now.unix_ms);
        }
        self.now = now;
    }

    /// As far as they concern a connection.
    pub(super) fn env(&self, limits: &Limits) -> Env<'_> {
        let Self { site, life, now, date, share_bytes } = self;
        Env {
            date,
            origins: &site.origins,
            now_ms: now.mono_ms,
            stream_ms: limits.stream_ms,
            share_bytes: *share_bytes,
            ending: *life != Life::Serving,
        }
    }
}
