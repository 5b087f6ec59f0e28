//! Patterns that outlive the text that named them.
//!
//! Owns what is left of a pattern when it has been checked, so that none is ever checked twice. What it matches is decided
//! where patterns are: in `bayeux`.

use core::fmt;

use super::channel::{Channel, Pattern};

/// How far below its stem a pattern reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// It names one channel.
    Exact,
    /// `/*`.
    Children,
    /// `/**`.
    Descendants,
}

/// A pattern with its own memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedPattern {
    depth: Depth,
    stem: Box<str>,
}

/// A pattern in two parts, of which the second is the exact channel, or what stands before `/*` or `/**`.
pub fn split<'a>(pattern: Pattern<'a>) -> (Depth, &'a str) {
    match pattern {
        Pattern::Exact(channel) => (Depth::Exact, channel.as_str()),
        Pattern::Children { parent } => (Depth::Children, parent),
        Pattern::Descendants { parent } => (Depth::Descendants, parent),
    }
}

impl From<Pattern<'_>> for OwnedPattern {
    fn from(pattern: Pattern<'_>) -> Self {
        let (depth, stem) = split(pattern);
        Self { depth, stem: stem.into() }
    }
}

impl OwnedPattern {
    /// How far it reaches.
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// The exact channel, or what stands before `/*` or `/**`.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// Whether it was made of this pattern.
    pub fn is(&self, pattern: Pattern<'_>) -> bool {
        (self.depth, self.stem()) == split(pattern)
    }

    /// Whether it matches the channel.
    pub fn covers(&self, channel: Channel<'_>) -> bool {
        match self.depth {
            Depth::Exact => *self.stem == *channel.as_str(),
            Depth::Children => Pattern::Children { parent: &self.stem }.matches(channel),
            Depth::Descendants => Pattern::Descendants { parent: &self.stem }.matches(channel),
        }
    }
}

/// How a pattern stands to the name of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It matches all that the subscription does.
    All,
    /// It matches some of it.
    Part,
    /// None.
    None,
}

impl OwnedPattern {
    /// How much it matches of what a subscription of this name does.
    pub fn reach(&self, name: Pattern<'_>) -> Reach {
        let kind = |own: Pattern<'_>| (own.is_meta(), own.is_service());
        if kind(self.as_pattern()) != kind(name) {
            return Reach::None;
        }
        let stem = &*self.stem;
        match (self.depth, name) {
            (_, Pattern::Exact(channel)) if self.covers(channel) => Reach::All,
            (Depth::Children, Pattern::Children { parent }) if stem == parent => Reach::All,
            (Depth::Descendants, Pattern::Children { parent } | Pattern::Descendants { parent })
                if is_within(parent, stem) =>
            {
                Reach::All
            }
            (Depth::Exact, Pattern::Children { parent }) if parent_of(stem) == parent => Reach::Part,
            (Depth::Exact, Pattern::Descendants { parent }) if stem != parent && is_within(stem, parent) => Reach::Part,
            (Depth::Children | Depth::Descendants, Pattern::Descendants { parent }) if is_within(stem, parent) => {
                Reach::Part
            }
            _ => Reach::None,
        }
    }

    fn as_pattern(&self) -> Pattern<'_> {
        match self.depth {
            Depth::Exact => Channel::parse(&self.stem).map_or(Pattern::Children { parent: "" }, Pattern::Exact),
            Depth::Children => Pattern::Children { parent: &self.stem },
            Depth::Descendants => Pattern::Descendants { parent: &self.stem },
        }
    }
}

/// Whether a path is another one, or below it; `""` is the root.
fn is_within(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn parent_of(channel: &str) -> &str {
    channel.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// As it was written.
impl fmt::Display for OwnedPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stem)?;
        f.write_str(match self.depth {
            Depth::Exact => "",
            Depth::Children => "/*",
            Depth::Descendants => "/**",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_covers_what_the_pattern_matches_that_it_was_made_of() {
        let names = ["/a", "/a/b", "/a/b/c", "/ab", "/meta", "/meta/x", "/service/x", "/service/x/y"];
        let patterns = ["/*", "/**", "/a/*", "/a/**", "/meta/*", "/service/**", "/service/x/*"];
        let mut covered = 0;
        for text in names.into_iter().chain(patterns) {
            let pattern = Pattern::parse(text).unwrap();
            let own = OwnedPattern::from(pattern);
            assert_eq!(own.to_string(), text);
            for other in names.into_iter().chain(patterns) {
                assert_eq!(own.is(Pattern::parse(other).unwrap()), other == text, "{text} and {other}");
            }
            for name in names {
                let channel = Channel::parse(name).unwrap();
                assert_eq!(own.covers(channel), pattern.matches(channel), "{text} and {name}");
                covered += usize::from(own.covers(channel));
            }
        }
        // Each name itself, and what each of the wildcards reaches.
        assert_eq!(covered, names.len() + 2 + 4 + 1 + 2 + 1 + 2 + 1);
    }

    #[test]
    fn how_much_of_a_subscription_it_matches_is_what_the_channels_say() {
        // Every name of up to three segments of two letters, and what stands for the rest of the world.
        let mut names: Vec<String> = vec![String::new()];
        for _ in 0..3 {
            let longer: Vec<String> =
                names.iter().flat_map(|name| ["/a", "/b"].map(|next| format!("{name}{next}"))).collect();
            names.extend(longer);
        }
        names.sort_unstable();
        names.dedup();
        names.extend(["/service/a", "/meta/a"].map(str::to_owned));
        let patterns: Vec<String> = names
            .iter()
            .flat_map(|name| [name.clone(), format!("{name}/*"), format!("{name}/**")])
            .filter(|name| Pattern::parse(name).is_ok())
            .collect();
        // One segment more than any pattern has, so that what only a deep channel tells is seen.
        let deep = names.iter().flat_map(|name| ["", "/a", "/a/b"].map(|more| format!("{name}{more}")));
        let channels: Vec<String> = deep.filter(|name| Channel::parse(name).is_ok()).collect();
        let mut seen = [0; 3];
        for (own, name) in patterns.iter().flat_map(|own| patterns.iter().map(move |name| (own, name))) {
            let (pattern, name) = (Pattern::parse(own).unwrap(), Pattern::parse(name).unwrap());
            let reach = OwnedPattern::from(pattern).reach(name);
            let of_name = channels.iter().map(|channel| Channel::parse(channel).unwrap()).filter(|c| name.matches(*c));
            let matched: Vec<bool> = of_name.map(|channel| pattern.matches(channel)).collect();
            let expected = match (matched.iter().all(|one| *one), matched.iter().any(|one| *one)) {
                (true, true) => Reach::All,
                (false, true) => Reach::Part,
                (_, false) => Reach::None,
            };
            assert_eq!(reach, expected, "{own} and {name}");
            seen[reach as usize] += 1;
        }
        assert!(seen.iter().all(|times| *times > 50), "{seen:?}");
    }
}
