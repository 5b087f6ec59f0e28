//! Patterns that outlive the text that named them.
//!
//! Owns what is left of a pattern when it has been checked, so that none is ever checked twice. What it matches is decided
//! where patterns are: in `bayeux`.

use core::fmt;

use crate::bayeux::{Channel, Pattern};

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
}
