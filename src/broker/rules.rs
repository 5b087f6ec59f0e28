//! What an operator says of channels: whether their events are kept, and how they look and travel.
//!
//! Owns the rules and which of them holds for a channel. Must not keep anything itself.

use crate::bayeux::{Channel, Pattern};

use crate::bayeux::pattern::{Depth, OwnedPattern, Reach};

/// How many events of one channel are kept. All three hold at once; the oldest go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Events.
    pub count: usize,
    /// Bytes of encoded events.
    pub bytes: usize,
    /// Age, ms.
    pub age_ms: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self { count: 1_000, bytes: 4 * 1024 * 1024, age_ms: 24 * 3_600_000 }
    }
}

/// How an event that is kept shows its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayShape {
    /// Beside its data, which stays as it was published: `ext:{"replay":{"id":…,"epoch":"…"}}`.
    #[default]
    Plain,
    /// Within its data, as the clients of Salesforce's Streaming API want it: `data.event.replayId`, with `createdDate`.
    Salesforce,
}

/// What holds for the channels that a pattern matches. What is `None` is left to the next best rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// A channel or a pattern such as `/chat/**`; one that is neither matches nothing.
    pub pattern: String,
    /// Whether events are kept, and how many. `Some(None)`: none, whatever other rules say.
    pub history: Option<Option<Keep>>,
    /// How those that are kept show their number.
    pub replay_shape: Option<ReplayShape>,
    /// Whether events may wait for the next answer that goes anyway, for `max-lazy-timeout` at most.
    pub lazy: Option<bool>,
    /// Whether who publishes gets his own events, if he is subscribed. By default he does.
    pub broadcast_to_publisher: Option<bool>,
    /// Whether a channel that nobody uses stays, with what hooks have written on it.
    pub persistent: Option<bool>,
}

impl Rule {
    /// A rule that says nothing yet.
    #[must_use]
    pub fn new(pattern: impl Into<String>) -> Self {
        Self { pattern: pattern.into(), ..Self::default() }
    }

    /// The same, and events are kept.
    #[must_use]
    pub fn with_history(self, keep: Keep) -> Self {
        Self { history: Some(Some(keep)), ..self }
    }

    /// Whether it says anything of the history of a channel.
    pub fn rules_history_of(&self, channel: Channel<'_>) -> bool {
        self.history.is_some() && Pattern::parse(&self.pattern).is_ok_and(|pattern| pattern.matches(channel))
    }
}

/// What holds for one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// How many events are kept; `None`: none.
    pub history: Option<Keep>,
    /// How those that are kept show their number.
    pub shape: ReplayShape,
    /// Whether events may wait.
    pub lazy: bool,
    /// Whether who publishes does not get his own events.
    pub not_to_publisher: bool,
    /// Whether a channel that nobody uses stays.
    pub persistent: bool,
}

/// All rules, the most telling first: an exact name, then `*`, then `**`, and of several `**` the longest.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<(OwnedPattern, Rule)>);

impl Rules {
    /// Puts rules in their order; of two with one pattern the first one counts.
    pub fn new(rules: Vec<Rule>) -> Self {
        let owned = |rule: Rule| Pattern::parse(&rule.pattern).ok().map(OwnedPattern::from).map(|own| (own, rule));
        let mut sorted: Vec<(OwnedPattern, Rule)> = rules.into_iter().filter_map(owned).collect();
        sorted.sort_by_key(|(own, _)| match own.depth() {
            Depth::Exact => (0, 0),
            Depth::Children => (1, 0),
            Depth::Descendants => (2, usize::MAX.saturating_sub(own.stem().len())),
        });
        Self(sorted)
    }

    /// Whether any channel may be kept.
    pub fn keep_any(&self) -> bool {
        self.0.iter().any(|(_, rule)| matches!(rule.history, Some(Some(_))))
    }

    /// What holds for a channel: each trait by the first rule that names it.
    pub fn of(&self, channel: Channel<'_>) -> Traits {
        self.first(|own| own.covers(channel))
    }

    /// What holds for the name of a subscription, be it a channel or a pattern: that of the rules that cover all of it.
    pub fn of_name(&self, name: Pattern<'_>) -> Traits {
        self.first(|own| own.reach(name) == Reach::All)
    }

    fn first(&self, holds: impl Fn(&OwnedPattern) -> bool) -> Traits {
        let (mut history, mut shape, mut lazy) = (None, None, None);
        let (mut to_publisher, mut persistent) = (None, None);
        for (_, rule) in self.0.iter().filter(|(own, _)| holds(own)) {
            history = history.or(rule.history);
            shape = shape.or(rule.replay_shape);
            lazy = lazy.or(rule.lazy);
            to_publisher = to_publisher.or(rule.broadcast_to_publisher);
            persistent = persistent.or(rule.persistent);
        }
        Traits {
            history: history.flatten(),
            shape: shape.unwrap_or_default(),
            lazy: lazy.unwrap_or_default(),
            not_to_publisher: to_publisher == Some(false),
            persistent: persistent.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, history: Option<Option<Keep>>, lazy: Option<bool>) -> Rule {
        Rule { pattern: pattern.to_owned(), history, lazy, ..Rule::default() }
    }

    #[test]
    fn each_trait_is_that_of_the_most_telling_rule_that_names_it() {
        let few = Keep { count: 1, ..Keep::default() };
        let rules = Rules::new(vec![
            rule("/**", Some(Some(Keep::default())), Some(true)),
            rule("/a/**", None, Some(false)),
            rule("/a/b/**", Some(None), None),
            rule("/a/*", Some(Some(few)), None),
            rule("/a/b", None, Some(true)),
            rule("no channel", Some(Some(few)), Some(true)),
        ]);
        let of = |name: &str| {
            let traits = rules.of(Channel::parse(name).unwrap());
            (traits.history.map(|keep| keep.count), traits.lazy)
        };
        assert_eq!(of("/x"), (Some(1_000), true));
        assert_eq!(of("/a"), (Some(1_000), true));
        assert_eq!(of("/a/x"), (Some(1), false));
        assert_eq!(of("/a/b"), (Some(1), true));
        assert_eq!(of("/a/b/c"), (None, false));
        assert!(rules.keep_any());
        assert!(!Rules::new(vec![rule("/a", Some(None), None)]).keep_any());
    }

    #[test]
    fn the_name_of_a_subscription_has_what_holds_for_all_that_it_matches() {
        let rules = Rules::new(vec![rule("/a/**", None, Some(true)), rule("/a/b", None, Some(false))]);
        let lazy = |name: &str| rules.of_name(Pattern::parse(name).unwrap()).lazy;
        for (name, expected) in [
            ("/a/*", true),
            ("/a/**", true),
            ("/a/b/*", true),
            ("/a/b/**", true),
            ("/a/b", false),
            ("/**", false),
            ("/*", false),
            ("/ab/*", false),
        ] {
            assert_eq!(lazy(name), expected, "{name}");
        }
    }
}
