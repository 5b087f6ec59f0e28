//! What somebody may subscribe and publish to.
//!
//! Owns the patterns of a configuration with their placeholders, what they become for one holder of a token, and how what
//! was granted stands on a session: as a text with a pattern on each line, so that nothing has to be cleaned up.

use crate::bayeux::pattern::Reach;
use crate::bayeux::{Channel, OwnedPattern, Pattern};

/// What a placeholder is checked as before there is a value for it.
const SAMPLE: &str = "x";

/// Patterns to subscribe and to publish to: `/chat/room`, `/chat/*`, `/chat/**`, `/user/{sub}/**`.
///
/// A placeholder is a whole segment. It stands for a claim of the token that is a string, and of a [`Token`](super::Token)
/// for its `sub`. If there is no such claim, or its value is not one segment of a channel's name, the pattern does not
/// count.
///
/// Service channels are published to: `/**` does not reach them, `/service/**` does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// What may be subscribed to: channels, and wildcards that match nothing else.
    pub subscribe: Vec<String>,
    /// What may be published to.
    pub publish: Vec<String>,
}

impl Grants {
    /// These patterns.
    #[must_use]
    pub fn new<S: Into<String>, P: Into<String>>(
        subscribe: impl IntoIterator<Item = S>,
        publish: impl IntoIterator<Item = P>,
    ) -> Self {
        let (subscribe, publish) = (subscribe.into_iter(), publish.into_iter());
        Self { subscribe: subscribe.map(Into::into).collect(), publish: publish.map(Into::into).collect() }
    }
}

/// Whether a pattern of a [`Grants`] is good.
///
/// # Errors
/// What is wrong with it.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    Template::parse(pattern).map(drop)
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Everything up to the next placeholder.
    Text(Box<str>),
    /// The name of a claim.
    Claim(Box<str>),
}

/// A pattern that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Template(Vec<Part>);

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').ok_or("{ without }")?;
            if name.is_empty() || name.contains('{') {
                return Err("a placeholder is the name of a claim in braces, such as {sub}".to_owned());
            }
            if !before.ends_with('/') || !(behind.is_empty() || behind.starts_with('/')) {
                return Err(format!("{{{name}}} must be a whole segment, such as /user/{{{name}}}/**"));
            }
            parts.push(Part::Text(before.into()));
            parts.push(Part::Claim(name.into()));
            rest = behind;
        }
        parts.push(Part::Text(rest.into()));
        if parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains('}'))) {
            return Err("} without {".to_owned());
        }
        let template = Self(parts);
        match Pattern::parse(&template.filled(|_| Some(SAMPLE)).unwrap_or_default()) {
            Ok(pattern) if pattern.is_meta() => Err("nobody can be granted /meta".to_owned()),
            Ok(_) => Ok(template),
            Err(_) => Err("must be a channel or a pattern, such as /chat/room, /chat/* or /user/{sub}/**".to_owned()),
        }
    }

    /// With the value of each placeholder in its place.
    fn filled<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(own) => text.push_str(own),
                Part::Claim(name) => text.push_str(value(name)?),
            }
        }
        Some(text)
    }

    /// What it is for one holder; `None` if it does not count.
    fn expand<'a>(&self, claim: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
        let text = self.filled(|name| claim(name).filter(|value| is_segment(value)))?;
        let pattern = Pattern::parse(&text).ok()?;
        // A value in the first place must not lead out of the channels that are broadcast.
        let starts_with_claim = matches!(&*self.0, [Part::Text(first), Part::Claim(_), ..] if &**first == "/");
        let elsewhere = starts_with_claim && (pattern.is_meta() || pattern.is_service());
        (!elsewhere).then_some(text)
    }
}

/// Whether a value can stand for one segment: no slash, no wildcard, and nothing that no channel has in its name.
fn is_segment(value: &str) -> bool {
    !value.contains('/') && Channel::parse(&format!("/{value}")).is_ok()
}

/// The patterns of a [`Grants`], checked.
#[derive(Clone, Debug, Default)]
pub(super) struct Templates {
    subscribe: Vec<Template>,
    publish: Vec<Template>,
}

/// What was granted: patterns, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) subscribe: String,
    pub(super) publish: String,
}

impl Templates {
    /// # Errors
    /// Which one is wrong, and what about it.
    pub(super) fn new(grants: &Grants) -> Result<Self, String> {
        let all = |texts: &[String]| -> Result<Vec<Template>, String> {
            texts.iter().map(|text| Template::parse(text).map_err(|why| format!("{text:?}: {why}"))).collect()
        };
        Ok(Self { subscribe: all(&grants.subscribe)?, publish: all(&grants.publish)? })
    }

    /// What they are for one holder, whose claims are these.
    pub(super) fn expand<'a>(&self, claim: impl Fn(&str) -> Option<&'a str> + Copy) -> Granted {
        let all = |templates: &[Template]| {
            let mut lines = String::new();
            for template in templates {
                match template.expand(claim) {
                    Some(pattern) => add(&mut lines, &pattern),
                    None => {
                        log::debug!("a pattern does not count, for its claim is no segment of a channel: {template}")
                    }
                }
            }
            lines
        };
        Granted { subscribe: all(&self.subscribe), publish: all(&self.publish) }
    }
}

/// As it was written.
impl core::fmt::Display for Template {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Claim(name) => write!(f, "{{{name}}}"),
        })
    }
}

/// Adds a pattern to a text of them. No pattern has a line end in it.
fn add(lines: &mut String, pattern: &str) {
    if !lines.is_empty() {
        lines.push('\n');
    }
    lines.push_str(pattern);
}

/// Adds a pattern that a token brings, if it is one.
#[cfg(feature = "jwt")]
pub(super) fn add_foreign(lines: &mut String, text: &str) {
    match Pattern::parse(text) {
        Ok(pattern) if !pattern.is_meta() => add(lines, text),
        _ => log::debug!("a pattern of a token does not count: {text:?}"),
    }
}

/// Whether one of the patterns matches all that a subscription of this name does; of a channel, the channel.
pub(super) fn covers(lines: &str, name: &str) -> bool {
    let Ok(name) = Pattern::parse(name) else { return false };
    let granted = lines.split('\n').filter_map(|line| Pattern::parse(line).ok());
    granted.map(OwnedPattern::from).any(|pattern| pattern.reach(name) == Reach::All)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe(pattern: &str, claims: &[(&str, &str)]) -> String {
        let templates = Templates::new(&Grants::new([pattern], [""; 0])).unwrap();
        templates.expand(|name| claims.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)).subscribe
    }

    #[test]
    fn a_placeholder_becomes_the_value_of_its_claim() {
        let claims = [("sub", "alice"), ("https://x.example/tenant", "t 1"), ("mail", "a@b.example")];
        for (pattern, expected) in [
            ("/chat/**", "/chat/**"),
            ("/user/{sub}", "/user/alice"),
            ("/user/{sub}/**", "/user/alice/**"),
            ("/{https://x.example/tenant}/{sub}/*", "/t 1/alice/*"),
            ("/mail/{mail}", "/mail/a@b.example"),
            ("/service/{sub}", "/service/alice"),
            // There is no such claim.
            ("/user/{name}", ""),
            ("/user/{Sub}", ""),
        ] {
            assert_eq!(subscribe(pattern, &claims), expected, "{pattern}");
        }
    }

    #[test]
    fn no_value_widens_a_pattern() {
        let longest = "x".repeat(300);
        for value in [
            "",
            "*",
            "**",
            "/",
            "a/b",
            "../admin",
            "a/**",
            "{sub}",
            "%2f",
            "a\nb",
            "/admin/**\n/x",
            "a*",
            "é",
            "\u{0}",
            "a,b",
            "a:b",
            "a?b",
            "a\\b",
            "\"",
            &longest,
        ] {
            let found = subscribe("/user/{sub}/**", &[("sub", value)]);
            // Braces are letters like others where they are not read as placeholders.
            let expected = if value == "{sub}" { "/user/{sub}/**" } else { "" };
            assert_eq!(found, expected, "{value:?}");
        }
        // What is one segment does not lead out of the channels that are broadcast.
        for value in ["service", "meta"] {
            assert_eq!(subscribe("/{sub}/**", &[("sub", value)]), "", "{value}");
            assert_eq!(subscribe("/{sub}", &[("sub", value)]), "", "{value}");
        }
        assert_eq!(subscribe("/{sub}/**", &[("sub", "services")]), "/services/**");
        assert_eq!(subscribe("/a/{sub}/**", &[("sub", "service")]), "/a/service/**");
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for (pattern, word) in [
            ("", "must be a channel"),
            ("chat", "must be a channel"),
            ("/a/**/b", "must be a channel"),
            ("/a/{sub}*", "whole segment"),
            ("/a/x{sub}", "whole segment"),
            ("/a/{sub}{x}", "whole segment"),
            ("/a/{sub", "{ without }"),
            ("/a/sub}", "} without {"),
            ("/a/{}", "name of a claim"),
            ("/a/{{sub}}", "name of a claim"),
            ("{sub}", "whole segment"),
            ("/meta/**", "/meta"),
            ("/meta/{sub}", "/meta"),
        ] {
            let error = check_pattern(pattern).unwrap_err();
            assert!(error.contains(word), "{pattern}: {error}");
        }
        assert!(Templates::new(&Grants::new(["/a", "b"], [""; 0])).unwrap_err().starts_with("\"b\": "));
        assert!(Templates::new(&Grants::new([""; 0], ["b"])).is_err());
    }

    #[test]
    fn a_wildcard_needs_a_grant_for_all_that_it_matches() {
        let lines = "/chat/*\n/user/alice/**\n/news\n/service/echo";
        for name in
            ["/chat/a", "/chat/*", "/user/alice/x", "/user/alice/**", "/user/alice/x/*", "/news", "/service/echo"]
        {
            assert!(covers(lines, name), "{name}");
        }
        for name in [
            "/chat/a/b",
            "/chat/**",
            "/*",
            "/**",
            "/user/*",
            "/user/alice",
            "/user/**",
            "/new",
            "/news/x",
            "/service/*",
            "x",
            "",
        ] {
            assert!(!covers(lines, name), "{name}");
        }
        assert!(covers("/**", "/**") && covers("/**", "/a") && !covers("", "/a") && !covers("", ""));
        assert!(!covers("/**", "/service/x") && !covers("/**", "/service/**") && !covers("/**", "/meta/connect"));
        assert!(covers("/service/**", "/service/x/y"));
    }
}
