//! What a session reads from the history, and how far it is.
//!
//! Owns the patterns that it reads, each with its place. Channels are found by their names, and there are few wildcards, so
//! that it costs next to nothing to ask whether an event is among them. Must not know what is kept.

use std::collections::BTreeMap;

use crate::bayeux::{Channel, Pattern};

use crate::bayeux::pattern::{Depth, OwnedPattern, split};

/// What has gone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gone {
    /// The number of the newest event of it; 0: nothing has.
    pub newest: u64,
    /// How many events had gone then, of all channels.
    pub at: u64,
}

/// How far a reader is with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the newest event that the reader has; 0: whatever there is.
    pub after: u64,
    /// The newest number when it began: later events reach the reader by reading alone, whichever of its patterns they match.
    pub began: u64,
    /// How many events had gone when it was last told of what is missing.
    pub told: u64,
}

impl Place {
    /// Whether something of what has gone was still to be read, and its reader was not told. If so, it is told by now.
    fn misses(&mut self, gone: Gone, now: u64) -> bool {
        let misses = self.after < gone.newest && self.told < gone.at;
        if misses {
            self.told = now;
        }
        misses
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Wants {
    names: BTreeMap<Box<str>, Place>,
    wildcards: Vec<(OwnedPattern, Place)>,
}

impl Wants {
    /// One pattern.
    pub fn one(pattern: Pattern<'_>, place: Place) -> Self {
        let mut wants = Self::default();
        wants.set(pattern, place);
        wants
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.wildcards.is_empty()
    }

    /// How many channels and patterns.
    pub fn len(&self) -> usize {
        self.names.len().saturating_add(self.wildcards.len())
    }

    /// Wants nothing any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The channels that are wanted by their names, and after which number.
    pub fn names(&self) -> impl ExactSizeIterator<Item = (&str, u64)> {
        self.names.iter().map(|(name, place)| (&**name, place.after))
    }

    /// The patterns that may match many channels.
    pub fn wildcards(&self) -> &[(OwnedPattern, Place)] {
        &self.wildcards
    }

    /// Whether events of the channel are wanted.
    pub fn covers(&self, channel: Channel<'_>) -> bool {
        self.names.contains_key(channel.as_str()) || self.wildcards.iter().any(|(pattern, _)| pattern.covers(channel))
    }

    /// The number after which wildcards want events of the channel; `None` if none does.
    pub fn wild_after(&self, channel: Channel<'_>) -> Option<u64> {
        let asked = self.wildcards.iter().filter(|(pattern, _)| pattern.covers(channel));
        asked.map(|(_, place)| place.after).min()
    }

    /// Wants a pattern from there on, wherever it was before.
    pub fn set(&mut self, pattern: Pattern<'_>, place: Place) {
        match self.place_mut(pattern) {
            Some(own) => *own = place,
            None => match split(pattern) {
                (Depth::Exact, name) => _ = self.names.insert(name.into(), place),
                (Depth::Children | Depth::Descendants, _) => self.wildcards.push((pattern.into(), place)),
            },
        }
    }

    /// What was kept of a pattern before it began is not wanted any more.
    pub fn skip_old(&mut self, pattern: Pattern<'_>) {
        if let Some(place) = self.place_mut(pattern) {
            place.after = place.after.max(place.began);
        }
    }

    fn place_mut(&mut self, pattern: Pattern<'_>) -> Option<&mut Place> {
        match split(pattern) {
            (Depth::Exact, name) => self.names.get_mut(name),
            (Depth::Children | Depth::Descendants, _) => {
                self.wildcards.iter_mut().find(|(own, _)| own.is(pattern)).map(|(_, place)| place)
            }
        }
    }

    /// All up to a number has been read, and all that is missing told.
    pub fn move_on(&mut self, last: u64, told: u64) {
        for place in self.names.values_mut().chain(self.wildcards.iter_mut().map(|(_, place)| place)) {
            place.after = place.after.max(last);
            place.told = told;
        }
    }

    /// What was told of each of its patterns: how many events had gone then, at least.
    pub fn told(&self) -> u64 {
        let places = self.names.values().chain(self.wildcards.iter().map(|(_, place)| place));
        places.map(|place| place.told).min().unwrap_or_default()
    }

    /// The patterns that miss something of what has gone of whatever channels, which are told by now.
    pub fn tell_of_all(&mut self, gone: Gone, now: u64) -> Vec<String> {
        let names = self.names.iter_mut().filter_map(|(name, place)| place.misses(gone, now).then(|| name.to_string()));
        let mut lost: Vec<String> = names.collect();
        let wildcards = self.wildcards.iter_mut();
        lost.extend(wildcards.filter_map(|(own, place)| place.misses(gone, now).then(|| own.to_string())));
        lost
    }

    /// The same for what has gone of one channel; the patterns are appended to `lost`.
    pub fn tell(&mut self, channel: Channel<'_>, gone: Gone, now: u64, lost: &mut Vec<String>) {
        if self.names.get_mut(channel.as_str()).is_some_and(|place| place.misses(gone, now)) {
            lost.push(channel.to_string());
        }
        let wildcards = self.wildcards.iter_mut().filter(|(own, _)| own.covers(channel));
        lost.extend(wildcards.filter_map(|(own, place)| place.misses(gone, now).then(|| own.to_string())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(after: u64) -> Place {
        Place { after, began: 50, told: 7 }
    }

    fn wants(patterns: &[(&str, u64)]) -> Wants {
        let mut wants = Wants::default();
        for (pattern, after) in patterns {
            wants.set(Pattern::parse(pattern).unwrap(), place(*after));
        }
        wants
    }

    fn channel(name: &str) -> Channel<'_> {
        Channel::parse(name).unwrap()
    }

    #[test]
    fn names_and_wildcards_cover_what_they_match_and_each_stands_once() {
        let wants = wants(&[("/a", 1), ("/b/*", 2), ("/b/**", 3), ("/a", 4), ("/b/*", 5)]);
        assert_eq!((wants.len(), wants.wildcards().len()), (3, 2));
        for (name, covered, wild_after) in
            [("/a", true, None), ("/b", false, None), ("/b/c", true, Some(3)), ("/b/c/d", true, Some(3))]
        {
            assert_eq!((wants.covers(channel(name)), wants.wild_after(channel(name))), (covered, wild_after), "{name}");
        }
        assert_eq!(wants.names().collect::<Vec<_>>(), [("/a", 4)], "where it was set last");
    }

    #[test]
    fn what_was_kept_before_it_began_is_skipped_of_that_pattern_alone() {
        let mut wants = wants(&[("/a", 1), ("/b/*", 2), ("/c/*", 60)]);
        for pattern in ["/a", "/b/**", "/c/*"] {
            wants.skip_old(Pattern::parse(pattern).unwrap());
        }
        assert_eq!(wants.names().next(), Some(("/a", 50)));
        assert_eq!(["/b/x", "/c/x"].map(|name| wants.wild_after(channel(name))), [Some(2), Some(60)]);
    }

    #[test]
    fn who_misses_something_is_told_once() {
        let mut wants = wants(&[("/a", 10), ("/b", 30), ("/*", 10), ("/b/*", 10)]);
        let gone = Gone { newest: 20, at: 8 };
        let mut lost = Vec::new();
        for name in ["/a", "/a", "/b"] {
            wants.tell(channel(name), gone, 9, &mut lost);
        }
        assert_eq!(lost, ["/a", "/*"], "of /b all has been read up to 30");
        assert_eq!(wants.told(), 7);
        assert_eq!(wants.tell_of_all(gone, 9), ["/b/*"], "the others know");
        let mut wants = Wants::one(Pattern::parse("/a").unwrap(), place(10));
        assert!(wants.tell_of_all(Gone { newest: 20, at: 7 }, 9).is_empty(), "it was told of the seventh");
        wants.move_on(15, 9);
        assert_eq!((wants.told(), wants.names().next()), (9, Some(("/a", 15))));
    }
}
