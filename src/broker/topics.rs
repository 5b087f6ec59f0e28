//! Who is subscribed to what.
//!
//! Owns the patterns that have a subscriber and, for each, its subscribers. A channel of n segments can be matched by one
//! exact name, one `*` pattern and at most n `**` patterns, so matching is that many look-ups, however many patterns there
//! are. Subscribing and unsubscribing take constant time: either side of a subscription knows its place on the other.

use std::collections::HashMap;

use crate::arena::{Arena, Key};
use crate::bayeux::{Channel, Pattern};

use super::session::SessionKey;
use super::sums;
use crate::bayeux::pattern::{Depth, OwnedPattern, split};

/// What a pattern takes beside its text, which is kept twice, bytes: itself, its entry in a table that is not full, and
/// what the allocations need.
const BESIDE_TEXT: usize = 160;
/// What one subscription takes, bytes: both of its ends, each in a list that has room to grow.
const BOTH_ENDS: usize = 48;

/// Names one pattern while it has a subscriber.
pub type TopicKey = Key<Topic>;

/// One end of a subscription, at the topic.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber {
    /// Who.
    pub session: SessionKey,
    /// The place of the other end in the session's list.
    pub place: u32,
}

/// A pattern with its subscribers.
#[derive(Debug)]
pub struct Topic {
    pattern: OwnedPattern,
    subscribers: Vec<Subscriber>,
}

/// Whom an event reaches: the topics whose patterns match its channel, looked up. It holds until a subscription begins or
/// ends.
#[derive(Debug, Default)]
pub struct Audience {
    topics: Vec<TopicKey>,
    size: usize,
}

impl Audience {
    /// How many subscribers; a session counts once for each of its patterns.
    pub fn size(&self) -> usize {
        self.size
    }
}

/// All topics.
#[derive(Debug, Default)]
pub struct Topics {
    topics: Arena<Topic>,
    exact: HashMap<Box<str>, TopicKey>,
    children: HashMap<Box<str>, TopicKey>,
    descendants: HashMap<Box<str>, TopicKey>,
    bytes: usize,
}

/// What a pattern takes, bytes.
fn weight(stem: &str) -> usize {
    stem.len().saturating_mul(2).saturating_add(BESIDE_TEXT)
}

impl Topics {
    /// How many patterns have a subscriber.
    pub fn count(&self) -> usize {
        self.topics.len()
    }

    /// The memory that all subscriptions take, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn table(&mut self, depth: Depth) -> &mut HashMap<Box<str>, TopicKey> {
        match depth {
            Depth::Exact => &mut self.exact,
            Depth::Children => &mut self.children,
            Depth::Descendants => &mut self.descendants,
        }
    }

    /// The topic of a pattern, if it has a subscriber.
    pub fn find(&mut self, pattern: Pattern<'_>) -> Option<TopicKey> {
        let (depth, stem) = split(pattern);
        self.table(depth).get(stem).copied()
    }

    /// The text of a pattern, while it has a subscriber.
    pub fn name(&self, topic: TopicKey) -> Option<String> {
        self.topics.get(topic).map(|topic| topic.pattern.to_string())
    }

    /// Adds a subscriber who is not yet there; returns the topic and the subscriber's place in it. `None` with 2^32
    /// subscribers of one pattern; the limit of sessions stands in front.
    pub fn insert(&mut self, pattern: Pattern<'_>, subscriber: Subscriber) -> Option<(TopicKey, u32)> {
        let key = self.find(pattern).unwrap_or_else(|| {
            let (depth, stem) = split(pattern);
            let key = self.topics.insert(Topic { pattern: pattern.into(), subscribers: Vec::new() });
            self.table(depth).insert(stem.into(), key);
            sums::put(&mut self.bytes, weight(stem));
            key
        });
        let subscribers = &mut self.topics.get_mut(key)?.subscribers;
        let place = u32::try_from(subscribers.len()).ok()?;
        subscribers.push(subscriber);
        sums::put(&mut self.bytes, BOTH_ENDS);
        Some((key, place))
    }

    /// Removes the subscriber at a place. Another one may have moved to that place: it is returned, to be told.
    pub fn remove(&mut self, topic: TopicKey, place: u32) -> Option<Subscriber> {
        let entry = self.topics.get_mut(topic)?;
        let place = place as usize;
        if place >= entry.subscribers.len() {
            return None;
        }
        entry.subscribers.swap_remove(place);
        sums::take(&mut self.bytes, BOTH_ENDS);
        let moved = entry.subscribers.get(place).copied();
        if entry.subscribers.is_empty()
            && let Some(Topic { pattern, .. }) = self.topics.remove(topic)
        {
            self.table(pattern.depth()).remove(pattern.stem());
            sums::take(&mut self.bytes, weight(pattern.stem()));
        }
        moved
    }

    /// Tells a topic that the other end of the subscription at `at` is now at `place` of its session's list.
    pub fn moved(&mut self, topic: TopicKey, at: u32, place: u32) {
        if let Some(subscriber) = self.topics.get_mut(topic).and_then(|topic| topic.subscribers.get_mut(at as usize)) {
            subscriber.place = place;
        }
    }

    /// Whether a topic's pattern matches the channel.
    pub fn covers(&self, topic: TopicKey, channel: Channel<'_>) -> bool {
        self.topics.get(topic).is_some_and(|topic| topic.pattern.covers(channel))
    }

    /// Looks up whom events of a channel reach. What memory `audience` has is used again.
    pub fn gather(&self, channel: Channel<'_>, audience: &mut Audience) {
        audience.topics.clear();
        audience.topics.extend(self.matching(channel));
        audience.size = self.members(audience).count();
    }

    /// The subscribers of these topics; a session comes once for each of its patterns.
    pub fn members<'a>(&'a self, audience: &'a Audience) -> impl Iterator<Item = &'a Subscriber> {
        audience.topics.iter().filter_map(|topic| self.topics.get(*topic)).flat_map(|topic| &topic.subscribers)
    }

    /// The topics whose pattern matches the channel.
    fn matching(&self, channel: Channel<'_>) -> impl Iterator<Item = TopicKey> {
        let exact = self.exact.get(channel.as_str());
        let children = self.children.get(channel.parent());
        // Most servers have no `**` pattern: then the ancestors are not even looked at.
        let ancestors = (!self.descendants.is_empty()).then(|| channel.ancestors()).into_iter().flatten();
        let descendants = ancestors.filter_map(|ancestor| self.descendants.get(ancestor));
        exact.into_iter().chain(children).chain(descendants).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn session(n: u64) -> SessionKey {
        SessionKey::from_bits(1 << 32 | n).unwrap()
    }

    fn pattern(text: &str) -> Pattern<'_> {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn a_topic_lives_as_long_as_it_has_a_subscriber() {
        let mut topics = Topics::default();
        let (key, first) = topics.insert(pattern("/a/*"), Subscriber { session: session(1), place: 0 }).unwrap();
        let (same, second) = topics.insert(pattern("/a/*"), Subscriber { session: session(2), place: 5 }).unwrap();
        assert_eq!((key, first, second), (same, 0, 1));
        let moved = topics.remove(key, first).unwrap();
        assert_eq!((moved.session, moved.place), (session(2), 5));
        assert!(topics.remove(key, first).is_none());
        assert_eq!(topics.count(), 0);
        assert!(topics.find(pattern("/a/*")).is_none());
        let (new, _) = topics.insert(pattern("/b"), Subscriber { session: session(3), place: 0 }).unwrap();
        assert_eq!(new.slot(), key.slot());
        assert!(topics.remove(key, 0).is_none(), "a stale key touches nothing");
        assert_eq!(sessions_of(&topics, "/b"), [3]);
    }

    fn sessions_of(topics: &Topics, channel: &str) -> Vec<u32> {
        let mut audience = Audience::default();
        topics.gather(Channel::parse(channel).unwrap(), &mut audience);
        let sessions: Vec<u32> = topics.members(&audience).map(|subscriber| subscriber.session.slot()).collect();
        assert_eq!(audience.size(), sessions.len());
        sessions
    }

    #[test]
    fn an_audience_is_looked_up_anew_each_time_and_nobody_stands_in_for_who_has_left() {
        let mut topics = Topics::default();
        let [(exact, _), (children, _)] = [("/a/b", 1), ("/a/*", 2)]
            .map(|(name, n)| topics.insert(pattern(name), Subscriber { session: session(n), place: 0 }).unwrap());
        let mut audience = Audience::default();
        topics.gather(Channel::parse("/a/b").unwrap(), &mut audience);
        assert_eq!(audience.size(), 2);
        topics.remove(exact, 0);
        topics.insert(pattern("/c"), Subscriber { session: session(3), place: 0 }).unwrap();
        let left: Vec<u32> = topics.members(&audience).map(|subscriber| subscriber.session.slot()).collect();
        assert_eq!(left, [2], "the slot of the topic that is gone belongs to another one");
        topics.remove(children, 0);
        topics.gather(Channel::parse("/a/b").unwrap(), &mut audience);
        assert_eq!((audience.size(), topics.members(&audience).count()), (0, 0));
    }

    proptest! {
        #[test]
        fn matching_agrees_with_asking_every_pattern(
            patterns in prop::collection::btree_set("(/[ab]){0,3}(/[ab]|/\\*|/\\*\\*)", 0..12),
            channel in "(/[ab]){1,4}",
        ) {
            let mut topics = Topics::default();
            for (n, text) in patterns.iter().enumerate() {
                topics.insert(pattern(text), Subscriber { session: session(n as u64), place: 0 });
            }
            let mut found = sessions_of(&topics, &channel);
            found.sort_unstable();
            let channel = Channel::parse(&channel).unwrap();
            let expected: Vec<u32> =
                (0u32..).zip(&patterns).filter(|(_, text)| pattern(text).matches(channel)).map(|(n, _)| n).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
