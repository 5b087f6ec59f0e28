//! The channels that there are, as hooks see them.
//!
//! Owns their names, what is written on them, and since when nobody uses them. A channel comes into being with its first
//! subscriber or its first event and is swept some time after the last of either. Kept only where hooks want to know: the
//! broker itself needs no list of channels.

use std::collections::HashMap;

use super::session::Attributes;

/// One channel, or a pattern.
#[derive(Debug)]
struct Known {
    attributes: Attributes,
    /// Whether it has a subscriber.
    heard: bool,
    /// When it was last used, ms.
    used_ms: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Channels {
    known: HashMap<Box<str>, Known>,
    /// How many have no subscriber.
    unheard: usize,
    /// When the next sweep is due, ms, if there are such.
    sweep_ms: u64,
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

    /// Somebody has subscribed (`heard`), or published; whether it is new.
    pub(crate) fn used(&mut self, name: &str, heard: bool, (now_ms, period_ms): (u64, u64)) -> bool {
        if let Some(known) = self.known.get_mut(name) {
            known.used_ms = now_ms;
            if heard && !known.heard {
                known.heard = true;
                self.unheard = self.unheard.saturating_sub(1);
            }
            return false;
        }
        self.known.insert(name.into(), Known { attributes: Attributes::default(), heard, used_ms: now_ms });
        if !heard {
            self.await_sweep((now_ms, period_ms));
        }
        true
    }

    /// Nobody is subscribed any more.
    pub(crate) fn unheard(&mut self, name: &str, (now_ms, period_ms): (u64, u64)) {
        if let Some(known) = self.known.get_mut(name)
            && known.heard
        {
            known.heard = false;
            known.used_ms = now_ms;
            self.await_sweep((now_ms, period_ms));
        }
    }

    /// There is one more without a subscriber. Where all have some, nothing is to be done and nobody is woken.
    fn await_sweep(&mut self, (now_ms, period_ms): (u64, u64)) {
        if self.unheard == 0 {
            self.sweep_ms = now_ms.saturating_add(period_ms.max(1));
        }
        self.unheard = self.unheard.saturating_add(1);
    }

    /// When [`Channels::sweep`] is wanted, ms.
    pub(crate) fn next_sweep(&self) -> Option<u64> {
        (self.unheard > 0).then_some(self.sweep_ms)
    }

    /// Takes out those that nobody has used for a period, but for those that are to stay; their names.
    pub(crate) fn sweep(&mut self, (now_ms, period_ms): (u64, u64), stays: impl Fn(&str) -> bool) -> Vec<Box<str>> {
        if self.unheard == 0 || self.sweep_ms > now_ms {
            return Vec::new();
        }
        self.sweep_ms = now_ms.saturating_add(period_ms.max(1));
        let unused = |known: &Known| !known.heard && known.used_ms.saturating_add(period_ms) <= now_ms;
        let mut swept: Vec<Box<str>> = Vec::new();
        self.known.retain(|name, known| {
            let goes = unused(known) && !stays(name);
            if goes {
                swept.push(name.clone());
            }
            !goes
        });
        self.unheard = self.unheard.saturating_sub(swept.len());
        // The order of a table is chance.
        swept.sort_unstable();
        swept
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
        assert_eq!(channels.next_sweep(), None, "somebody is there");
        assert!(channels.used("/b", false, (3, 10)) && channels.used("/stays", false, (3, 10)));
        channels.attributes("/b").unwrap().set("x", "1").unwrap();
        let sweep = |channels: &mut Channels, now| channels.sweep((now, 10), |name| name == "/stays");
        assert_eq!(channels.next_sweep(), Some(13));
        assert!(sweep(&mut channels, 12).is_empty());
        assert_eq!(sweep(&mut channels, 13), ["/b".into()]);
        channels.unheard("/a", (20, 10));
        channels.unheard("/a", (21, 10));
        assert!(sweep(&mut channels, 23).is_empty() && channels.next_sweep() == Some(33));
        assert_eq!(sweep(&mut channels, 33), ["/a".into()]);
        assert!(channels.has("/stays") && channels.len() == 1 && channels.next_sweep() == Some(43));
        assert!(!channels.used("/stays", true, (44, 10)) && !channels.used("/stays", true, (44, 10)));
        assert_eq!((channels.unheard, channels.next_sweep()), (0, None));
        assert!(channels.used("/b", false, (50, 10)), "what comes again is new");
        assert!(channels.attributes("/b").unwrap().is_empty());
    }
}
