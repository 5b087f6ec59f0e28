//! What is said of requests that were refused.
//!
//! Owns the counts and the pace: the first refusal of a kind is logged at once, then at most one line a minute tells how
//! many followed. So an attack does not fill the disk, and a misconfiguration is seen at the first try.

use crate::conn::route::{Refusal, RefusalKind};

/// Between two lines about the same kind, ms.
const QUIET_MS: u64 = 60_000;

#[derive(Debug, Default)]
struct Kind {
    total: u64,
    untold: u64,
    name: Option<&'static str>,
    /// No line before that, ms.
    quiet_until: u64,
    last: String,
}

/// Counts of refusals by kind.
#[derive(Debug, Default)]
pub struct Refusals {
    kinds: [Kind; RefusalKind::COUNT],
}

impl Refusals {
    /// Counts a refusal, and logs it if its kind has been quiet.
    pub fn note(&mut self, refusal: &Refusal, now_ms: u64) {
        let Some(kind) = self.kinds.get_mut(refusal.kind as usize) else { return };
        kind.total += 1;
        kind.name = Some(refusal.kind.name());
        if kind.untold > 0 || now_ms < kind.quiet_until {
            kind.untold += 1;
            kind.last.clone_from(&refusal.text);
            return;
        }
        kind.quiet_until = now_ms + QUIET_MS;
        log::warn!("refused, {}: {} {}", refusal.kind.name(), refusal.status.code(), refusal.text);
    }

    /// Logs what has been held back for long enough.
    pub fn report(&mut self, now_ms: u64) {
        for kind in &mut self.kinds {
            if kind.untold > 0 && now_ms >= kind.quiet_until {
                log::warn!("refused, {}: {} more, the last: {}", kind.name.unwrap_or_default(), kind.untold, kind.last);
                kind.untold = 0;
                kind.quiet_until = now_ms + QUIET_MS;
            }
        }
    }

    /// When [`Refusals::report`] has something to say, ms.
    pub fn next_report(&self) -> Option<u64> {
        self.kinds.iter().filter(|kind| kind.untold > 0).map(|kind| kind.quiet_until).min()
    }

    /// How many of a kind there have been.
    pub fn total(&self, kind: RefusalKind) -> u64 {
        self.kinds.get(kind as usize).map_or(0, |kind| kind.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::Status;

    #[test]
    fn the_first_of_a_kind_is_told_at_once_and_the_rest_once_a_minute() {
        let refusal = Refusal { status: Status::BadRequest, text: "x".into(), allow: None, kind: RefusalKind::Framing };
        let mut refusals = Refusals::default();
        refusals.note(&refusal, 5);
        assert_eq!(refusals.next_report(), None);
        refusals.note(&refusal, 6);
        refusals.note(&refusal, 7);
        assert_eq!(refusals.next_report(), Some(5 + QUIET_MS));
        refusals.report(5 + QUIET_MS - 1);
        assert!(refusals.next_report().is_some());
        refusals.report(5 + QUIET_MS);
        assert_eq!((refusals.next_report(), refusals.total(RefusalKind::Framing)), (None, 3));
        assert_eq!(refusals.total(RefusalKind::Origin), 0);
    }
}
