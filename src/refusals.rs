//! What the log says of everything that was refused or had to be ended.
//!
//! Owns the counts and the pace: the first of a kind is logged at once, then at most one line a minute tells how many
//! followed. So an attack does not fill the disk, and a misconfiguration is seen at the first try.
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

use core::net::IpAddr;

use crate::broker::Counters;
use crate::conn::route::{Path, Refusal, RefusalKind};
use crate::ws::close::CloseCode;

/// Between two lines about the same kind, ms.
const QUIET_MS: u64 = 60_000;

/// Something that goes wrong in the broker.
struct Trouble {
    short_name: &'static str,
    name: &'static str,
    text: &'static str,
    count: fn(&Counters) -> u64,
}

/// The broker's troubles; their kinds come after those of refused requests.
const TROUBLES: [Trouble; 10] = [
    Trouble {
        short_name: "overflow",
        name: "ended a session",
        text: "more waited for it than max-queue, max-queue-size or, while nobody came for it, max-queued-bytes allows",
        count: |counters| counters.overflows,
    },
    Trouble {
        short_name: "session-limit",
        name: "refused a handshake",
        text: "there are as many sessions as max-sessions allows",
        count: |counters| counters.handshakes_refused,
    },
    Trouble {
        short_name: "handshake-rate",
        name: "refused a handshake",
        text: "one address makes more sessions than handshake-rate allows; if it is a proxy, name it in trusted-proxies",
        count: |counters| counters.handshakes_hasty,
    },
    Trouble {
        short_name: "queue-limit",
        name: "refused a publish",
        text: "events that wait for clients take half of max-queued-bytes, or the event is larger than max-queue-size",
        count: |counters| counters.publishes_refused,
    },
    Trouble {
        short_name: "crowded",
        name: "did not hold a connect",
        text: "its browser holds as many as max-sessions-per-browser allows, so the tab polls at multi-session-interval",
        count: |counters| counters.crowded,
    },
    Trouble {
        short_name: "no-connect",
        name: "ended a session",
        text: "no-connect: its client went on sending but no longer connected",
        count: |counters| counters.no_connects,
    },
    Trouble {
        short_name: "buffered",
        name: "advised a client to poll",
        text: "something between, such as a proxy, held its stream up; see X-Accel-Buffering and proxy_buffering",
        count: |counters| counters.buffered,
    },
    Trouble {
        short_name: "dropped",
        name: "dropped an event",
        text: "more waited for a session than max-queue or max-queue-size allows; its client is told of the gap",
        count: |counters| counters.dropped,
    },
    Trouble {
        short_name: "inactive",
        name: "ended a session",
        text: "inactive: for max-activity there was neither an event nor a message of its client's own",
        count: |counters| counters.inactive,
    },
    Trouble {
        short_name: "denied",
        name: "denied a handshake",
        text: "the policy, or [auth], says no; the client has the reason, and so has the log with RUST_LOG=debug",
        count: |counters| counters.handshakes_denied,
    },
];

const KINDS: usize = RefusalKind::COUNT + TROUBLES.len();

/// One kind of line.
#[derive(Debug, Default)]
struct Kind {
    total: u64,
    /// Since the last line.
    untold: u64,
    /// No line before that, ms.
    quiet_until: u64,
    name: &'static str,
    last: String,
}

impl Kind {
    fn note(&mut self, name: &'static str, count: u64, text: impl FnOnce() -> String, now_ms: u64) {
        self.name = name;
        self.total = self.total.saturating_add(count);
        self.untold = self.untold.saturating_add(count);
        self.last = text();
        self.report(now_ms);
    }

    fn report(&mut self, now_ms: u64) {
        if self.untold == 0 || now_ms < self.quiet_until {
            return;
        }
        match self.untold {
            1 => log::warn!("{}: {}", self.name, self.last),
            more => log::warn!("{}, {more} times, the last: {}", self.name, self.last),
        }
        self.untold = 0;
        self.quiet_until = now_ms.saturating_add(QUIET_MS);
    }
}

/// Who has asked, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The client's address, as far as it is known; `None` for a Unix socket of which nobody says more.
    pub client: Option<IpAddr>,
    /// The path, if the request had come so far.
    pub path: Option<Path<'a>>,
}

/// `203.0.113.9 for /path`
impl core::fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.client {
            Some(address) => write!(f, "{address}")?,
            None => f.write_str("a Unix socket")?,
        }
        self.path.map_or(Ok(()), |path| write!(f, " for {path}"))
    }
}

/// Counts by kind.
#[derive(Debug, Default)]
pub struct Refusals {
    kinds: [Kind; KINDS],
}

/// `cross-site=1 …`, each kind by its short name.
impl core::fmt::Display for Refusals {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let names = RefusalKind::ALL.iter().map(|kind| kind.short_name());
        let names = names.chain(TROUBLES.iter().map(|trouble| trouble.short_name));
        for (at, (kind, name)) in self.kinds.iter().zip(names).enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{name}={}", kind.total)?;
        }
        Ok(())
    }
}

impl Refusals {
    /// Counts a refused request, and logs it unless its kind has just been logged.
    pub fn note(&mut self, refusal: &Refusal, who: Who<'_>, now_ms: u64) {
        if let Some(kind) = self.kinds.get_mut(refusal.kind as usize) {
            if refusal.kind == RefusalKind::Transport {
                kind.total = kind.total.saturating_add(1);
                return log::debug!("{}: {}; from {who}", refusal.kind.name(), refusal.text);
            }
            kind.note(
                refusal.kind.name(),
                1,
                || format!("from {who}: {} {}", refusal.status.code(), refusal.text),
                now_ms,
            );
        }
    }

    /// The same for a WebSocket that is closed for what its peer has sent.
    pub fn note_close(&mut self, kind: RefusalKind, (code, reason): (CloseCode, &str), who: Who<'_>, now_ms: u64) {
        if let Some(own) = self.kinds.get_mut(kind as usize) {
            let text = || format!("from {who}: the WebSocket is closed with {} {reason}", code.get());
            own.note(kind.name(), 1, text, now_ms);
        }
    }

    /// The same for a connection that ends without a word.
    pub fn note_end(&mut self, kind: RefusalKind, reason: &str, who: Who<'_>, now_ms: u64) {
        if let Some(own) = self.kinds.get_mut(kind as usize) {
            own.note(kind.name(), 1, || format!("from {who}: {reason}"), now_ms);
        }
    }

    /// Counts the broker's troubles by what its counters show now, and logs what is new.
    pub fn compare(&mut self, counters: &Counters, now_ms: u64) {
        let kinds = self.kinds.iter_mut().skip(RefusalKind::COUNT);
        for (kind, trouble) in kinds.zip(TROUBLES) {
            let new = (trouble.count)(counters).saturating_sub(kind.total);
            if new > 0 {
                kind.note(trouble.name, new, || trouble.text.to_owned(), now_ms);
            }
        }
    }

    /// Logs what has been held back for long enough.
    pub fn report(&mut self, now_ms: u64) {
        for kind in &mut self.kinds {
            kind.report(now_ms);
        }
    }

    /// Logs all that has been held back.
    pub fn report_all(&mut self) {
        self.report(u64::MAX);
    }

    /// When [`Refusals::report`] has something to say, ms.
    pub fn next_report(&self) -> Option<u64> {
        self.kinds.iter().filter(|kind| kind.untold > 0).map(|kind| kind.quiet_until).min()
    }

    /// What was said, or is to be said, of the last refused request of a kind; for tests.
    #[cfg(test)]
    pub(crate) fn last(&self, kind: RefusalKind) -> &str {
        self.kinds.get(kind as usize).map_or("", |kind| &kind.last)
    }

    /// How many requests of a kind have been refused; for tests.
    #[cfg(test)]
    pub(crate) fn total(&self, kind: RefusalKind) -> u64 {
        self.kinds.get(kind as usize).map_or(0, |kind| kind.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::Status;

    const NOBODY: Who<'_> = Who { client: None, path: None };

    #[test]
    fn who_has_asked_is_one_line() {
        let who = |client: &str, path: Option<&str>| {
            Who { client: client.parse().ok(), path: path.map(Path::Whole) }.to_string()
        };
        assert_eq!(who("203.0.113.9", None), "203.0.113.9");
        assert_eq!(who("2001:db8::1", Some("/a")), "2001:db8::1 for /a");
        assert_eq!(who("", Some("/a\n")), "a Unix socket for /a\\x0a");
        assert!(who("", Some(&"x".repeat(10_000))).len() < 1_000);
    }

    fn refusal(kind: RefusalKind) -> Refusal {
        let grant = crate::http::origin::Grant::SameOrigin;
        Refusal { status: Status::BadRequest, text: "x".into(), allow: None, grant, kind }
    }

    #[test]
    fn the_first_of_a_kind_is_told_at_once_and_the_rest_once_a_minute() {
        let refusal = refusal(RefusalKind::Framing);
        let mut refusals = Refusals::default();
        refusals.note(&refusal, NOBODY, 5);
        assert_eq!(refusals.next_report(), None);
        refusals.note(&refusal, NOBODY, 6);
        refusals.note(&refusal, NOBODY, 7);
        assert_eq!(refusals.next_report(), Some(5 + QUIET_MS));
        refusals.report(5 + QUIET_MS - 1);
        assert!(refusals.next_report().is_some());
        refusals.report(5 + QUIET_MS);
        assert_eq!((refusals.next_report(), refusals.total(RefusalKind::Framing)), (None, 3));
        assert_eq!(refusals.total(RefusalKind::Origin), 0);
    }

    #[test]
    fn each_kind_is_counted_under_its_own_name() {
        for (at, kind) in RefusalKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at, "{kind:?}");
        }
        let mut refusals = Refusals::default();
        refusals.compare(&Counters { no_connects: 3, ..Counters::default() }, 1);
        let refusal = refusal(RefusalKind::Size);
        refusals.note(&refusal, NOBODY, 1);
        refusals.note(&self::refusal(RefusalKind::Transport), NOBODY, 1);
        assert_eq!(
            refusals.to_string(),
            "cross-site=0 unknown-request=0 malformed-http=0 malformed-batch=0 slow-request=0 large-request=1 \
            transport=1 publisher=0 overload=0 unknown-host=0 tls=0 slow-reader=0 overflow=0 session-limit=0 handshake-rate=0 \
            queue-limit=0 crowded=0 no-connect=3 buffered=0 dropped=0 inactive=0 denied=0"
        );
    }

    #[test]
    fn troubles_of_the_broker_are_told_when_their_count_grows() {
        let mut refusals = Refusals::default();
        let mut counters = Counters::default();
        refusals.compare(&counters, 1);
        assert_eq!(refusals.next_report(), None);
        counters.overflows = 2;
        refusals.compare(&counters, 2);
        refusals.compare(&counters, 3);
        assert_eq!(refusals.next_report(), None, "told once");
        counters.overflows = 3;
        refusals.compare(&counters, 4);
        assert_eq!(refusals.next_report(), Some(2 + QUIET_MS));
    }
}
