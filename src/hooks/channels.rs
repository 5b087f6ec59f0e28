//! The channels that there are, as hooks see them.
//!
//! Owns their names, what is written on them, and since when nobody uses them. A channel comes into being with its first
//! subscriber or its first event and goes some time after the last of either. Kept only where hooks want to know: the
//! broker itself needs no list of channels.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::session::Attributes;

/// One channel, or a pattern.
#[derive(Debug)]
struct Known {
    attributes: Attributes,
    /// Whether it has a subscriber.
    heard: bool,
    /// When it was last used, ms.
    used_ms: u64,
    /// Whether it is among those to be looked at.
    listed: bool,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Channels {
    known: HashMap<Rc<str>, Known>,
    /// Those without a subscriber, with when each is to be looked at, ms: the earliest first.
    unheard: VecDeque<(u64, Rc<str>)>,
}

impl Channels {
    /// Whether there is one of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn attributes(&mut self, name: &str) -> Option<&mut Attributes> {
        self.known.get_mut(name).map(|known| &mut known.attributes)
    }

    /// Somebody has subscribed (`heard`), or published; whether it is new. Without a subscriber it goes when it has not been
    /// used for the period, ms.
    pub(crate) fn used(&mut self, name: &str, heard: bool, (now_ms, period_ms): (u64, u64)) -> bool {
        if let Some(known) = self.known.get_mut(name) {
            known.used_ms = now_ms;
            known.heard |= heard;
            return false;
        }
        let name: Rc<str> = name.into();
        if !heard {
            self.unheard.push_back((now_ms.saturating_add(period_ms), Rc::clone(&name)));
        }
        let known = Known { attributes: Attributes::default(), heard, used_ms: now_ms, listed: !heard };
        self.known.insert(name, known);
        true
    }

    /// Nobody is subscribed any more.
    pub(crate) fn unheard(&mut self, name: &str, (now_ms, period_ms): (u64, u64)) {
        let Some((name, _)) = self.known.get_key_value(name) else { return };
        let name = Rc::clone(name);
        let Some(known) = self.known.get_mut(&name) else { return };
        known.heard = false;
        known.used_ms = now_ms;
        if !core::mem::replace(&mut known.listed, true) {
            self.unheard.push_back((now_ms.saturating_add(period_ms), name));
        }
    }

    /// When [`Channels::sweep`] is wanted, ms.
    pub(crate) fn next_sweep(&self) -> Option<u64> {
        self.unheard.front().map(|(at, _)| *at)
    }

    /// Takes out the next one that nobody has used for a period, but for those that are to stay, if there is one; its name.
    /// `left` is how many may be looked at.
    pub(crate) fn sweep(
        &mut self,
        (now_ms, period_ms): (u64, u64),
        left: &mut usize,
        stays: impl Fn(&str) -> bool,
    ) -> Option<Rc<str>> {
        while *left > 0 && self.unheard.front().is_some_and(|(at, _)| *at <= now_ms) {
            *left = left.saturating_sub(1);
            let (_, name) = self.unheard.pop_front()?;
            let Some(known) = self.known.get_mut(&name) else { continue };
            let goes_ms = known.used_ms.saturating_add(period_ms);
            if known.heard {
                known.listed = false;
            } else if goes_ms <= now_ms && !stays(&name) {
                self.known.remove(&name);
                return Some(name);
            } else {
                // Later than now, or the loop would not sleep for those that stay.
                let again_ms = if goes_ms > now_ms { goes_ms } else { now_ms.saturating_add(period_ms.max(1)) };
                self.unheard.push_back((again_ms, name));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_goes_a_period_after_it_was_last_used() {
        let mut channels = Channels::default();
        assert_eq!(channels.next_sweep(), None);
        assert!(channels.used("/a", true, (0, 10)) && !channels.used("/a", false, (3, 10)));
        assert!(channels.used("/b", false, (3, 10)) && channels.used("/stays", false, (3, 10)));
        channels.attributes("/b").unwrap().set("x", "1").unwrap();
        let sweep = |channels: &mut Channels, now| {
            let stays = |name: &str| name == "/stays";
            std::iter::from_fn(|| channels.sweep((now, 10), &mut 100, stays)).collect::<Vec<_>>()
        };
        assert_eq!(channels.next_sweep(), Some(13));
        assert!(!channels.used("/b", false, (5, 10)));
        assert!(sweep(&mut channels, 12).is_empty() && sweep(&mut channels, 14).is_empty(), "used since");
        assert_eq!(sweep(&mut channels, 24), ["/b".into()]);
        channels.unheard("/a", (25, 10));
        assert!(sweep(&mut channels, 34).is_empty());
        assert_eq!(sweep(&mut channels, 35), ["/a".into()]);
        assert!(channels.has("/stays") && channels.len() == 1);
        assert!(channels.used("/b", false, (50, 10)), "what comes again is new");
        assert!(channels.attributes("/b").unwrap().is_empty());
    }

    #[test]
    fn so_many_are_looked_at_and_no_more() {
        let mut channels = Channels::default();
        for name in ["/a", "/b", "/c"] {
            assert!(channels.used(name, false, (0, 10)));
        }
        channels.used("/a", true, (1, 10));
        let mut left = 2;
        assert_eq!(channels.sweep((10, 10), &mut left, |_| false).as_deref(), Some("/b"));
        assert_eq!((channels.sweep((10, 10), &mut left, |_| false), left), (None, 0));
        assert_eq!(channels.next_sweep(), Some(10), "the rest is due still");
        assert_eq!(channels.sweep((10, 10), &mut 1, |_| false).as_deref(), Some("/c"));
        // One that is heard again is looked at no more, until it is not.
        assert_eq!(channels.next_sweep(), None);
        channels.unheard("/a", (20, 10));
        channels.used("/a", true, (21, 10));
        channels.unheard("/a", (22, 10));
        assert_eq!((channels.next_sweep(), channels.unheard.len()), (Some(30), 1));
        assert_eq!(channels.sweep((30, 10), &mut 9, |_| false), None);
        assert_eq!(channels.sweep((32, 10), &mut 9, |_| false).as_deref(), Some("/a"));
    }
}
