//! Channel names, subscription patterns, and the kind of channel that a message is addressed to.
//!
//! Owns the grammar (Bayeux 1.0, "Channels" and "Channel Globbing") and nothing else: it keeps no table of channels and
//! decides no policy. Everything here borrows the text it was parsed from and allocates nothing, but for
//! [`OwnedChannel`], which is there to outlive it.
//!
//! A name is `/` and then one to [`limits::CHANNEL_SEGMENTS`] segments with `/` between them, in at most
//! [`limits::CHANNEL_BYTES`] bytes. A segment is one or more ASCII letters, digits, spaces or `!#$()+-.@_{}~'`.
//! A pattern is a name, or a possibly empty name followed by `/*` (exactly one more segment) or `/**` (one or more);
//! the wildcard counts as a segment and its bytes count too.

use crate::limits;
use core::borrow::Borrow;
use core::fmt;
use std::rc::Rc;

/// A valid and concrete channel name: no wildcard in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel<'a>(&'a str);

/// The text is not a channel name, or not a pattern (Bayeux 1.0, "Channels"). Its holder still has the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidChannel;

impl fmt::Display for InvalidChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid channel name")
    }
}

impl core::error::Error for InvalidChannel {}

impl<'a> Channel<'a> {
    /// Checks a name (Bayeux 1.0, "Channels").
    ///
    /// # Errors
    /// [`InvalidChannel`] if the text breaks the grammar or is over a limit; wildcards break it.
    pub fn parse(text: &'a str) -> Result<Self, InvalidChannel> {
        if is_name(text) { Ok(Self(text)) } else { Err(InvalidChannel) }
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The name without its last segment; empty for a name of one segment. The parent that `parent/*` hangs on.
    #[must_use]
    pub fn parent(self) -> &'a str {
        self.0.rsplit_once('/').map_or("", |(parent, _)| parent)
    }

    /// Every prefix that a matching `prefix/**` can hang on, shortest first: for `/a/b/c` these are the empty text,
    /// `/a` and `/a/b`. The last one is the [`parent`](Self::parent).
    pub fn ancestors(self) -> impl Iterator<Item = &'a str> {
        self.0.match_indices('/').map(move |(at, _)| self.0.get(..at).unwrap_or(""))
    }

    /// Whether the first segment is `meta` (Bayeux 1.0, "Meta Channels"). The bare `/meta` counts: it must never be
    /// broadcast.
    #[must_use]
    pub fn is_meta(self) -> bool {
        starts_below(self.0, "/meta")
    }

    /// Whether the first segment is `service` (Bayeux 1.0, "Service Channels"). The bare `/service` counts: it must
    /// never be broadcast.
    #[must_use]
    pub fn is_service(self) -> bool {
        starts_below(self.0, "/service")
    }
}

impl fmt::Display for Channel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A channel name that outlives the text in which it came, and is not checked again. Found in tables by its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnedChannel(Rc<str>);

impl OwnedChannel {
    /// The name that it was made of.
    #[must_use]
    pub fn as_channel(&self) -> Channel<'_> {
        Channel(&self.0)
    }
}

impl From<Channel<'_>> for OwnedChannel {
    fn from(channel: Channel<'_>) -> Self {
        Self(channel.0.into())
    }
}

impl Borrow<str> for OwnedChannel {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What a subscription names (Bayeux 1.0, "Channel Globbing"). A parent is a valid name, or empty for the root. Made by
/// [`Pattern::parse`], or by hand from the parts of a [`Channel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pattern<'a> {
    /// One channel.
    Exact(Channel<'a>),
    /// `parent/*`: the channels exactly one segment longer than the parent.
    Children {
        /// What stands before `/*`.
        parent: &'a str,
    },
    /// `parent/**`: the channels longer than the parent by one segment or more.
    Descendants {
        /// What stands before `/**`.
        parent: &'a str,
    },
}

impl<'a> Pattern<'a> {
    /// Checks a pattern (Bayeux 1.0, "Channel Globbing").
    ///
    /// # Errors
    /// [`InvalidChannel`] if the text is neither a name nor a name followed by `/*` or `/**`, or is over a limit.
    pub fn parse(text: &'a str) -> Result<Self, InvalidChannel> {
        if let Some(parent) = text.strip_suffix("/**") {
            check_parent(text, parent)?;
            Ok(Self::Descendants { parent })
        } else if let Some(parent) = text.strip_suffix("/*") {
            check_parent(text, parent)?;
            Ok(Self::Children { parent })
        } else {
            Channel::parse(text).map(Self::Exact)
        }
    }

    /// The two parts of the text: what stands before the wildcard, and `/*`, `/**` or nothing.
    #[must_use]
    pub fn as_text(self) -> (&'a str, &'static str) {
        match self {
            Self::Exact(channel) => (channel.0, ""),
            Self::Children { parent } => (parent, "/*"),
            Self::Descendants { parent } => (parent, "/**"),
        }
    }

    /// Whether a channel falls under this pattern. Meta and service channels fall only under patterns that name `meta`
    /// or `service` themselves, so never under `/*` or `/**`.
    #[must_use]
    pub fn matches(self, channel: Channel<'_>) -> bool {
        if channel.is_meta() != self.is_meta() || channel.is_service() != self.is_service() {
            return false;
        }
        match self {
            Self::Exact(name) => name.0 == channel.0,
            Self::Children { parent } => channel.parent() == parent,
            Self::Descendants { parent } => channel.0.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/')),
        }
    }

    /// Whether the pattern names meta channels: `/meta`, `/meta/connect`, `/meta/*`, `/meta/**` and so on. Subscribing
    /// to these is denied.
    #[must_use]
    pub fn is_meta(self) -> bool {
        starts_below(self.as_text().0, "/meta")
    }

    /// Whether the pattern names service channels: `/service`, `/service/x`, `/service/*`, `/service/**` and so on.
    /// Subscribing to these succeeds and records nothing.
    #[must_use]
    pub fn is_service(self) -> bool {
        starts_below(self.as_text().0, "/service")
    }
}

impl fmt::Display for Pattern<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, wildcard) = self.as_text();
        f.write_str(name)?;
        f.write_str(wildcard)
    }
}

/// The five meta channels (Bayeux 1.0, "Meta Channels").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meta {
    /// `/meta/handshake`
    Handshake,
    /// `/meta/connect`
    Connect,
    /// `/meta/subscribe`
    Subscribe,
    /// `/meta/unsubscribe`
    Unsubscribe,
    /// `/meta/disconnect`
    Disconnect,
}

impl Meta {
    /// The channel's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "/meta/handshake",
            Self::Connect => "/meta/connect",
            Self::Subscribe => "/meta/subscribe",
            Self::Unsubscribe => "/meta/unsubscribe",
            Self::Disconnect => "/meta/disconnect",
        }
    }

    /// The meta channel of exactly this name; case counts, and nothing may follow.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "/meta/handshake" => Some(Self::Handshake),
            "/meta/connect" => Some(Self::Connect),
            "/meta/subscribe" => Some(Self::Subscribe),
            "/meta/unsubscribe" => Some(Self::Unsubscribe),
            "/meta/disconnect" => Some(Self::Disconnect),
            _ => None,
        }
    }
}

/// Where a message goes, by its `channel` alone (Bayeux 1.0, "Channels").
///
/// The grammar comes first: `/meta/*` or `/meta//x` is `Invalid`, not an unknown meta channel. The bare `/meta` is
/// `UnknownMeta` and the bare `/service` is `Service`, so that neither is ever broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// One of the five meta channels, matched exactly.
    Meta(Meta),
    /// A valid name whose first segment is `meta`, but none of the five.
    UnknownMeta,
    /// A valid name whose first segment is `service`: for listeners within the server only.
    Service(Channel<'a>),
    /// Any other valid name: an event for its subscribers.
    Broadcast(Channel<'a>),
    /// Not a channel name; patterns included.
    Invalid,
}

impl<'a> Kind<'a> {
    /// The kind of the channel with this name.
    #[must_use]
    pub fn of(name: &'a str) -> Self {
        if let Some(meta) = Meta::from_name(name) {
            return Self::Meta(meta);
        }
        match Channel::parse(name) {
            Err(InvalidChannel) => Self::Invalid,
            Ok(channel) if channel.is_meta() => Self::UnknownMeta,
            Ok(channel) if channel.is_service() => Self::Service(channel),
            Ok(channel) => Self::Broadcast(channel),
        }
    }
}

/// Whether a name is `root` itself or lies below it.
fn starts_below(name: &str, root: &str) -> bool {
    name.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Checks the whole text's limits and the part before the wildcard.
fn check_parent(text: &str, parent: &str) -> Result<(), InvalidChannel> {
    let slashes = text.bytes().filter(|byte| *byte == b'/').count();
    let within = text.len() <= limits::CHANNEL_BYTES && slashes <= limits::CHANNEL_SEGMENTS;
    if within && (parent.is_empty() || is_name(parent)) { Ok(()) } else { Err(InvalidChannel) }
}

/// Whether the text is a concrete name. The length comes first, so that a huge text costs nothing.
fn is_name(text: &str) -> bool {
    if text.len() > limits::CHANNEL_BYTES {
        return false;
    }
    let Some(rest) = text.strip_prefix('/') else { return false };
    rest.split('/').count() <= limits::CHANNEL_SEGMENTS
        && rest.split('/').all(|segment| !segment.is_empty() && segment.bytes().all(is_segment_byte))
}

/// Whether a byte may stand in a segment.
fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" !#$()+-.@_{}~'".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ok(text: &str) -> bool {
        Channel::parse(text).is_ok()
    }

    fn pattern_ok(text: &str) -> bool {
        Pattern::parse(text).is_ok()
    }

    /// The grammar once more, as a walk over characters with its own list of what is allowed. `wild` allows patterns.
    fn oracle(text: &str, wild: bool) -> bool {
        const ALLOWED: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 !#$()+-.@_{}~'";
        if text.is_empty() || text.len() > 256 {
            return false;
        }
        let mut segments: Vec<Vec<char>> = Vec::new();
        for c in text.chars() {
            if c == '/' {
                segments.push(Vec::new());
            } else {
                match segments.last_mut() {
                    Some(last) => last.push(c),
                    None => return false,
                }
            }
        }
        let count = segments.len();
        let fits = |(index, segment): (usize, &Vec<char>)| {
            let star = segment.as_slice() == ['*'] || segment.as_slice() == ['*', '*'];
            let plain = !segment.is_empty() && segment.iter().all(|c| ALLOWED.contains(*c));
            plain || (wild && star && index == count - 1)
        };
        count <= 16 && segments.iter().enumerate().all(fits)
    }

    #[test]
    fn grammar_agrees_with_the_oracle_on_all_short_texts() {
        let alphabet = ['/', 'a', '*', ' ', 'é', ',', '\''];
        let mut level = vec![String::new()];
        let (mut seen, mut names, mut patterns) = (0_usize, 0_usize, 0_usize);
        for _ in 0..=6 {
            let mut next = Vec::new();
            for text in &level {
                assert_eq!(ok(text), oracle(text, false), "name {text:?}");
                assert_eq!(pattern_ok(text), oracle(text, true), "pattern {text:?}");
                seen += 1;
                names += usize::from(ok(text));
                patterns += usize::from(pattern_ok(text));
                next.extend(alphabet.iter().map(|c| format!("{text}{c}")));
            }
            level = next;
        }
        assert_eq!(seen, (7_usize.pow(7) - 1) / 6);
        assert!(names > 100 && patterns > names);
    }

    #[test]
    fn every_single_byte_is_judged_as_the_oracle_does() {
        for c in (0_u8..=255).map(char::from) {
            let text = format!("/a{c}b");
            assert_eq!(ok(&text), oracle(&text, false), "{text:?}");
            assert_eq!(pattern_ok(&text), oracle(&text, true), "{text:?}");
        }
        assert!(ok("/ !#$()+-.@_{}~'/09azAZ"));
        assert!(!ok("/a%20b") && !ok("/a\\b") && !ok("/a\"b") && !ok("/a&b") && !ok("/a\u{7f}") && !ok("/a\0"));
    }

    #[test]
    fn bytes_at_the_limit() {
        for (length, expected) in [(255, true), (256, true), (257, false)] {
            assert_eq!(ok(&format!("/{}", "x".repeat(length - 1))), expected, "{length}");
            assert_eq!(pattern_ok(&format!("/{}", "x".repeat(length - 1))), expected, "{length}");
            assert_eq!(pattern_ok(&format!("/{}/*", "x".repeat(length - 3))), expected, "{length}");
            assert_eq!(pattern_ok(&format!("/{}/**", "x".repeat(length - 4))), expected, "{length}");
        }
        assert_eq!(limits::CHANNEL_BYTES, 256);
    }

    #[test]
    fn segments_at_the_limit() {
        for (count, expected) in [(15, true), (16, true), (17, false)] {
            assert_eq!(ok(&"/a".repeat(count)), expected, "{count}");
            assert_eq!(pattern_ok(&format!("{}/*", "/a".repeat(count - 1))), expected, "{count}");
            assert_eq!(pattern_ok(&format!("{}/**", "/a".repeat(count - 1))), expected, "{count}");
        }
        assert_eq!(limits::CHANNEL_SEGMENTS, 16);
    }

    #[test]
    fn wildcards_are_whole_and_last() {
        assert_eq!(Pattern::parse("/*"), Ok(Pattern::Children { parent: "" }));
        assert_eq!(Pattern::parse("/**"), Ok(Pattern::Descendants { parent: "" }));
        assert_eq!(Pattern::parse("/a/*"), Ok(Pattern::Children { parent: "/a" }));
        assert_eq!(Pattern::parse("/a/b/**"), Ok(Pattern::Descendants { parent: "/a/b" }));
        assert_eq!(Pattern::parse("/a"), Ok(Pattern::Exact(Channel("/a"))));
        for bad in ["*", "**", "/***", "/a*", "/*a", "/a**", "/*/a", "/**/a", "/*/*", "/**/**", "/*/**", "//*", "//**"]
        {
            assert!(!pattern_ok(bad), "{bad}");
        }
        for bad in ["/*", "/**", "/a/*", "/a/**"] {
            assert!(!ok(bad), "{bad}");
        }
    }

    #[test]
    fn parts_of_a_name() {
        let channel = Channel::parse("/a/b/c").unwrap();
        assert_eq!(channel.as_str(), "/a/b/c");
        assert_eq!(channel.to_string(), "/a/b/c");
        assert_eq!(channel.parent(), "/a/b");
        assert_eq!(channel.ancestors().collect::<Vec<_>>(), ["", "/a", "/a/b"]);
        let short = Channel::parse("/a").unwrap();
        assert_eq!(short.parent(), "");
        assert_eq!(short.ancestors().collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn meta_and_service_are_first_segments() {
        let is = |text: &str| {
            let channel = Channel::parse(text).unwrap();
            (channel.is_meta(), channel.is_service())
        };
        assert_eq!(is("/meta"), (true, false));
        assert_eq!(is("/meta/connect/x"), (true, false));
        assert_eq!(is("/service"), (false, true));
        assert_eq!(is("/service/x"), (false, true));
        for plain in ["/metal", "/meta ", "/Meta/connect", "/a/meta", "/services", "/a/service/b"] {
            assert_eq!(is(plain), (false, false), "{plain}");
        }
    }

    #[test]
    fn patterns_that_name_meta_or_service() {
        let is = |text: &str| {
            let pattern = Pattern::parse(text).unwrap();
            (pattern.is_meta(), pattern.is_service())
        };
        for text in ["/meta", "/meta/*", "/meta/**", "/meta/connect", "/meta/x/**"] {
            assert_eq!(is(text), (true, false), "{text}");
        }
        for text in ["/service", "/service/*", "/service/**", "/service/x", "/service/x/*"] {
            assert_eq!(is(text), (false, true), "{text}");
        }
        for text in ["/*", "/**", "/metal/*", "/a/meta/*", "/services/**"] {
            assert_eq!(is(text), (false, false), "{text}");
        }
    }

    #[test]
    fn matching() {
        let matches =
            |pattern: &str, channel: &str| Pattern::parse(pattern).unwrap().matches(Channel::parse(channel).unwrap());
        assert!(matches("/foo/*", "/foo/a") && matches("/foo/**", "/foo/a") && matches("/foo/**", "/foo/a/b"));
        assert!(!matches("/foo/*", "/foo") && !matches("/foo/**", "/foo"));
        assert!(!matches("/foo/*", "/foo/a/b") && !matches("/foo/**", "/food/a") && !matches("/foo/*", "/food/a"));
        assert!(matches("/*", "/a") && !matches("/*", "/a/b") && matches("/**", "/a") && matches("/**", "/a/b/c"));
        for hidden in ["/meta", "/meta/connect", "/service", "/service/x"] {
            assert!(!matches("/*", hidden) && !matches("/**", hidden), "{hidden}");
        }
        assert!(matches("/service/*", "/service/x") && matches("/service/**", "/service/x"));
    }

    #[test]
    fn text_of_a_pattern_comes_back() {
        for text in ["/a", "/a/b", "/*", "/**", "/a/*", "/a/b/**"] {
            assert_eq!(Pattern::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn kinds() {
        let metas = [Meta::Handshake, Meta::Connect, Meta::Subscribe, Meta::Unsubscribe, Meta::Disconnect];
        for meta in metas {
            assert_eq!(Kind::of(meta.as_str()), Kind::Meta(meta));
            assert_eq!(Kind::of(&format!("{}/x", meta.as_str())), Kind::UnknownMeta);
            assert_eq!(Kind::of(&format!("{} ", meta.as_str())), Kind::UnknownMeta);
            assert_eq!(Kind::of(&format!("{}/", meta.as_str())), Kind::Invalid);
        }
        assert_eq!(Kind::of("/meta"), Kind::UnknownMeta);
        assert_eq!(Kind::of("/meta/Connect"), Kind::UnknownMeta);
        assert_eq!(Kind::of("/meta/publish"), Kind::UnknownMeta);
        assert_eq!(Kind::of("/meta/*"), Kind::Invalid);
        assert_eq!(Kind::of("/service"), Kind::Service(Channel("/service")));
        assert_eq!(Kind::of("/service/x"), Kind::Service(Channel("/service/x")));
        assert_eq!(Kind::of("/metal/connect"), Kind::Broadcast(Channel("/metal/connect")));
        for bad in ["", "/", "a", "//", "/a/", "/a//b", "/a/*", "/a/**", "/a,b"] {
            assert_eq!(Kind::of(bad), Kind::Invalid, "{bad:?}");
        }
    }

    /// Matching by lists of segments, with none of the code above.
    fn naive_match(pattern: &str, channel: &str) -> bool {
        let pattern: Vec<&str> = pattern.split('/').collect();
        let channel: Vec<&str> = channel.split('/').collect();
        let reserved = |segment: &str| segment == "meta" || segment == "service";
        if reserved(channel[1]) && pattern[1] != channel[1] {
            return false;
        }
        let prefix = pattern.len() - 1;
        match pattern[prefix] {
            "*" => channel.len() == pattern.len() && channel[..prefix] == pattern[..prefix],
            "**" => channel.len() >= pattern.len() && channel[..prefix] == pattern[..prefix],
            _ => channel == pattern,
        }
    }

    fn segment() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "aa", "b", "meta", "service", "metal", "a b"])
    }

    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec(segment(), 1..5).prop_map(|segments| format!("/{}", segments.join("/")))
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_naive_one(
            parts in prop::collection::vec(segment(), 0..4),
            last in prop::sample::select(vec!["*", "**", "a", "meta"]),
            channel in name(),
        ) {
            let pattern: String = parts.iter().map(|part| format!("/{part}")).chain([format!("/{last}")]).collect();
            let parsed = Pattern::parse(&pattern).unwrap();
            prop_assert_eq!(parsed.matches(Channel::parse(&channel).unwrap()), naive_match(&pattern, &channel));
            prop_assert_eq!(parsed.to_string(), pattern);
        }

        #[test]
        fn the_parts_of_a_name_make_exactly_the_patterns_that_match(channel in name(), other in name()) {
            let (channel, other) = (Channel::parse(&channel).unwrap(), Channel::parse(&other).unwrap());
            let reserved = channel.is_meta() || channel.is_service();
            prop_assert_eq!(Pattern::Children { parent: channel.parent() }.matches(channel),
                !(reserved && channel.parent().is_empty()));
            let listed = channel.ancestors().any(|parent| parent == other.parent());
            let hangs = Pattern::Descendants { parent: other.parent() }.matches(channel);
            prop_assert_eq!(hangs, listed && !(reserved && other.parent().is_empty()));
        }

        #[test]
        fn any_text_agrees_with_the_oracle(text in "[/a-c*é,'. ]{0,40}") {
            prop_assert_eq!(ok(&text), oracle(&text, false));
            prop_assert_eq!(pattern_ok(&text), oracle(&text, true));
        }
    }
}
