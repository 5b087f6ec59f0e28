//! Which pages of other origins may talk to this server (RFC 6454, Fetch standard section "CORS protocol").
//!
//! Owns the `allowed-origins` setting and the judgement over an `Origin`. Responding to a refusal, and telling the operator
//! which line would allow it, is done elsewhere.

use super::authority::Authority;
use super::forwarded::Forwarded;
use super::head::Head;
use super::response::Cors;

/// An origin from the configuration, normalised to what a browser sends: scheme and host in lower case, no default port.
/// Only [`OriginRule::new`] makes one, so it never holds bytes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigin(String);

impl AllowedOrigin {
    /// The text, such as `https://example.com` or `null`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn new(entry: &str) -> Result<Self, String> {
        if entry == "null" {
            return Ok(Self(entry.to_owned()));
        }
        let Some((scheme, rest)) = entry.split_once("://") else {
            return Err(format!("allowed origin {entry:?} has no scheme; write it like \"https://example.com\""));
        };
        if let Some(end) = rest.find(['/', '?', '#']) {
            let authority = rest.get(..end).unwrap_or_default();
            return Err(format!(
                "allowed origin {entry:?} has a path; an origin ends with its host and port, write \"{scheme}://{authority}\""
            ));
        }
        if rest.contains('*') {
            return Err(format!(
                "allowed origin {entry:?} has a wildcard; list each origin by itself, or write \"*\" alone for every origin"
            ));
        }
        let Some(origin) = Origin::parse(entry.as_bytes()) else {
            return Err(format!(
                "allowed origin {entry:?} is not an origin; write it like \"https://example.com\" or \
                \"http://localhost:8080\", international names in their xn-- form, or \"*\" for every origin"
            ));
        };
        let port = origin.port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self(format!("{}://{}{port}", origin.scheme, origin.host).to_ascii_lowercase()))
    }

    fn matches(&self, origin: &[u8]) -> bool {
        match (Origin::parse(origin), Origin::parse(self.0.as_bytes())) {
            (Some(sent), Some(allowed)) => sent.same(&allowed),
            _ => origin == b"null" && self.0 == "null",
        }
    }
}

/// A serialised origin taken apart.
struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    /// None for the scheme's own port.
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    /// `scheme "://" host [ ":" port ]` and nothing else (RFC 6454 section 7.1).
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (scheme, rest) = core::str::from_utf8(bytes).ok()?.split_once(':')?;
        let authority = rest.strip_prefix("//")?;
        let is_scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(is_scheme_byte) {
            return None;
        }
        Self::new(scheme, Authority::parse(authority.as_bytes())?)
    }

    fn new(scheme: &'a str, authority: Authority<'a>) -> Option<Self> {
        let Authority { host, port } = authority;
        if host.is_empty() {
            return None;
        }
        let default = match () {
            () if scheme.eq_ignore_ascii_case("http") => Some(80),
            () if scheme.eq_ignore_ascii_case("https") => Some(443),
            () => None,
        };
        Some(Self { scheme, host, port: port.filter(|_| port != default) })
    }

    fn same(&self, other: &Origin<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
    }

    /// Whether this is an http origin of that `Host`, whichever of the two schemes the peer used to get here.
    fn is_of_host(&self, host: &str) -> bool {
        let is_http = self.scheme.eq_ignore_ascii_case("http") || self.scheme.eq_ignore_ascii_case("https");
        let own = Authority::parse(host.as_bytes()).and_then(|authority| Origin::new(self.scheme, authority));
        is_http && own.is_some_and(|own| self.same(&own))
    }
}

fn scheme_is_https(origin: &[u8]) -> bool {
    Origin::parse(origin).is_some_and(|origin| origin.scheme.eq_ignore_ascii_case("https"))
}

/// Why an origin is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// It is this server's own. Also the right one to ask [`OriginRule::cors`] with for a request without `Origin`.
    SameOrigin,
    /// It is listed, at this index.
    Listed(u16),
    /// Every origin is let in.
    Any,
}

/// The judgement over the `Origin` of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request has no `Origin`: not a browser, or a request that browsers send without.
    NoOrigin,
    /// Let in.
    Granted(Grant),
    /// Refused: another origin that is not allowed, an unreadable one, or more than one.
    Refused,
}

/// The origins that are let in besides the server's own.
#[derive(Clone, Debug, Default)]
pub struct OriginRule {
    listed: Vec<AllowedOrigin>,
    /// Listed once, with the indices before those of `listed`: requests under way may have been granted by them.
    retired: Vec<AllowedOrigin>,
    any: bool,
}

impl OriginRule {
    /// Reads the `allowed-origins` setting: origins, the word `null`, or `*` for every origin.
    ///
    /// # Errors
    /// A text for the operator: which entry, what is wrong with it and what is right.
    pub fn new(list: &[String]) -> Result<Self, String> {
        let mut rule = Self::default();
        for entry in list {
            if entry == "*" {
                rule.any = true;
            } else {
                rule.listed.push(AllowedOrigin::new(entry)?);
            }
        }
        if rule.listed.len() > usize::from(u16::MAX) {
            return Err(format!("{} allowed origins; at most {} are read", rule.listed.len(), u16::MAX));
        }
        Ok(rule)
    }

    /// The rule that takes the place of this one. What this one has granted keeps its meaning.
    ///
    /// # Errors
    /// A text for the operator, if more origins than can be told apart have been listed since the start.
    pub fn succeeded_by(&self, next: &Self) -> Result<Self, String> {
        if self.any == next.any && self.listed == next.listed {
            return Ok(self.clone());
        }
        let retired = [self.retired.as_slice(), self.listed.as_slice()].concat();
        if retired.len().saturating_add(next.listed.len()) > usize::from(u16::MAX) {
            return Err("allowed-origins has changed too often: restart encke".to_owned());
        }
        Ok(Self { listed: next.listed.clone(), retired, any: next.any })
    }

    /// Whether any origin besides the server's own is let in.
    pub fn any_listed(&self) -> bool {
        self.any || !self.listed.is_empty()
    }

    /// Judges the value of an `Origin` field; None refuses. It is granted if it is `http://` or `https://` and the host or
    /// the forwarded host (given only if a trusted proxy set it), or is listed, or if every origin is allowed. Case does not
    /// matter and a default port equals none. `null` is never the same origin. Bytes that are no origin are always refused.
    pub fn check(&self, origin: &[u8], host: Option<&str>, forwarded_host: Option<&str>) -> Option<Grant> {
        let parsed = Origin::parse(origin);
        if parsed.is_none() && origin != b"null" {
            return None;
        }
        let own = |origin: Origin<'_>| [host, forwarded_host].into_iter().flatten().any(|host| origin.is_of_host(host));
        if parsed.is_some_and(own) {
            return Some(Grant::SameOrigin);
        }
        match self.listed.iter().position(|allowed| allowed.matches(origin)) {
            Some(index) => u16::try_from(self.retired.len().saturating_add(index)).ok().map(Grant::Listed),
            None => self.any.then_some(Grant::Any),
        }
    }

    /// Judges the `Origin` of a request, and refuses a request that has several.
    pub fn check_head(&self, head: &Head<'_>, forwarded: &Forwarded<'_>) -> Verdict {
        let mut values = head.values("origin");
        match (values.next(), values.next()) {
            (None, _) => Verdict::NoOrigin,
            (Some(origin), None) => {
                self.check_of(origin, head.host, forwarded).map_or(Verdict::Refused, Verdict::Granted)
            }
            (Some(_), Some(_)) => Verdict::Refused,
        }
    }

    /// Judges the origin of a page as [`OriginRule::check`] does, in a request with this `Host`. Where it is known that the
    /// client used TLS, the server's own pages have come by TLS too: one that has not may be anybody's on the way.
    pub fn check_of(&self, origin: &[u8], host: Option<&str>, forwarded: &Forwarded<'_>) -> Option<Grant> {
        let is_own = forwarded.https != Some(true) || scheme_is_https(origin);
        self.check(origin, host.filter(|_| is_own), forwarded.host.filter(|_| is_own))
    }

    /// What the response tells the browser. If others are listed, also the server's own pages get `Vary`.
    pub fn cors(&self, grant: Grant) -> Cors<'_> {
        match grant {
            Grant::Listed(index) => {
                let known = self.retired.iter().chain(&self.listed).nth(usize::from(index));
                known.map_or(Cors::Vary, Cors::Listed)
            }
            Grant::Any => Cors::Any,
            Grant::SameOrigin if self.any_listed() => Cors::Vary,
            Grant::SameOrigin => Cors::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn rule(list: &[&str]) -> OriginRule {
        OriginRule::new(&list.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_grant_keeps_its_meaning_when_the_list_changes() {
        let first = rule(&["https://a.example", "https://b.example"]);
        let granted = first.check(b"https://b.example", None, None).unwrap();
        let second = first.succeeded_by(&rule(&["https://c.example"])).unwrap();
        assert_eq!(second.cors(granted), first.cors(granted));
        assert_eq!(second.check(b"https://b.example", None, None), None, "no longer listed");
        let other = second.check(b"https://c.example", None, None).unwrap();
        assert!(matches!(second.cors(other), Cors::Listed(origin) if origin.as_str() == "https://c.example"));
        let same = second.succeeded_by(&rule(&["https://c.example"])).unwrap();
        assert_eq!(same.retired.len(), 2, "a list that stays costs nothing");
    }

    fn check(list: &[&str], origin: &str, host: &str) -> Option<Grant> {
        rule(list).check(origin.as_bytes(), Some(host), None)
    }

    #[test]
    fn same_origin() {
        for (origin, host) in [
            ("http://a.example", "a.example"),
            ("https://a.example", "a.example"),
            ("HTTP://A.example", "a.EXAMPLE"),
            ("http://a.example:8080", "a.example:8080"),
            ("http://a.example:80", "a.example"),
            ("http://a.example", "a.example:80"),
            ("https://a.example:443", "a.example"),
            ("https://a.example", "a.example:443"),
            ("https://a.example", "a.example:"),
            ("http://a.example:443", "a.example:443"),
            ("http://127.0.0.1:9", "127.0.0.1:9"),
            ("http://[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(check(&[], origin, host), Some(Grant::SameOrigin), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://a.example", "b.example"),
            ("http://a.example", "a.example:443"),
            ("https://a.example", "a.example:80"),
            ("http://a.example:443", "a.example"),
            ("http://a.example:8080", "a.example"),
            ("http://a.example", "a.example:8080"),
            ("http://a.example", "xa.example"),
            ("http://xa.example", "a.example"),
            ("http://a.example.evil", "a.example"),
            ("ftp://a.example", "a.example"),
            ("ws://a.example", "a.example"),
            ("null", "null"),
            ("http://a.example", ""),
        ] {
            assert_eq!(check(&[], origin, host), None, "{origin} {host}");
        }
        assert_eq!(rule(&[]).check(b"http://a", None, None), None);
    }

    #[test]
    fn forwarded_host() {
        let rule = rule(&[]);
        let check = |origin: &str, forwarded| rule.check(origin.as_bytes(), Some("inner:9"), forwarded);
        assert_eq!(check("https://outer", Some("outer")), Some(Grant::SameOrigin));
        assert_eq!(check("https://outer", Some("outer:443")), Some(Grant::SameOrigin));
        assert_eq!(check("http://inner:9", Some("outer")), Some(Grant::SameOrigin));
        assert_eq!(check("https://outer", None), None);
        assert_eq!(check("https://outer", Some("other")), None);
    }

    #[test]
    fn listed() {
        let list = ["https://a.example", "HTTP://B.Example:80", "http://c.example:8080", "capacitor://localhost"];
        for (origin, index) in [
            ("https://a.example", 0),
            ("https://A.EXAMPLE:443", 0),
            ("http://b.example", 1),
            ("http://c.example:8080", 2),
            ("capacitor://localhost", 3),
        ] {
            assert_eq!(check(&list, origin, "h"), Some(Grant::Listed(index)), "{origin}");
        }
        for origin in [
            "http://a.example",
            "https://a.example:80",
            "https://b.example",
            "http://c.example",
            "https://x.a.example",
            "https://a.example.evil",
            "capacitor://localhost:80",
            "null",
        ] {
            assert_eq!(check(&list, origin, "h"), None, "{origin}");
        }
        assert_eq!(check(&["http://h"], "http://h", "h"), Some(Grant::SameOrigin));
    }

    #[test]
    fn every_origin() {
        assert_eq!(check(&["*"], "http://x", "h"), Some(Grant::Any));
        assert_eq!(check(&["*"], "null", "h"), Some(Grant::Any));
        assert_eq!(check(&["*"], "http://h", "h"), Some(Grant::SameOrigin));
        assert_eq!(check(&["*", "http://x"], "http://x", "h"), Some(Grant::Listed(0)));
    }

    #[test]
    fn null() {
        assert_eq!(check(&["http://a", "null"], "null", "h"), Some(Grant::Listed(1)));
        assert_eq!(check(&["null"], "http://null", "h"), None);
        assert_eq!(check(&["null"], "NULL", "h"), None);
        assert_eq!(check(&["null"], "http://a", "h"), None);
    }

    #[test]
    fn what_is_no_origin_is_always_refused() {
        for origin in [
            "",
            " ",
            "x",
            "http://",
            "http:///",
            "http://a/",
            "http://a/b",
            "http://a?b",
            "http://u@a",
            "http://a, http://a",
            "http://a http://a",
            "http://a:b",
            "http://a:65536",
            "://a",
            "1http://a",
            "http:a",
            "*",
            "http://a\0",
            "http://\u{e4}",
            "null null",
            "file://",
        ] {
            assert_eq!(check(&["*", "null", "http://a"], origin, "a"), None, "{origin:?}");
        }
        assert_eq!(rule(&["*"]).check(b"http://a\xff", None, None), None);
    }

    #[test]
    fn whole_requests() {
        let verdict = |fields: &str| {
            let raw = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
            let forwarded = Forwarded { client: None, https: None, host: None };
            rule(&["http://a"]).check_head(&Head::parse(raw.as_bytes(), &Limits::default()).unwrap(), &forwarded)
        };
        assert_eq!(verdict(""), Verdict::NoOrigin);
        assert_eq!(verdict("Origin: http://h\r\n"), Verdict::Granted(Grant::SameOrigin));
        assert_eq!(verdict("origin: http://a\r\n"), Verdict::Granted(Grant::Listed(0)));
        assert_eq!(verdict("Origin: http://b\r\n"), Verdict::Refused);
        assert_eq!(verdict("Origin:\r\n"), Verdict::Refused);
        assert_eq!(verdict("Origin: http://h\r\nOrigin: http://h\r\n"), Verdict::Refused);
    }

    #[test]
    fn what_the_browser_is_told() {
        assert_eq!(rule(&[]).cors(Grant::SameOrigin), Cors::None);
        assert_eq!(rule(&["*"]).cors(Grant::SameOrigin), Cors::Vary);
        assert_eq!(rule(&["null"]).cors(Grant::SameOrigin), Cors::Vary);
        assert_eq!(rule(&["*"]).cors(Grant::Any), Cors::Any);
        assert_eq!(rule(&["http://a"]).cors(Grant::Listed(1)), Cors::Vary);
        let listed = rule(&["http://x", "HTTPS://A.Example:443"]);
        assert!(
            matches!(listed.cors(Grant::Listed(1)), Cors::Listed(origin) if origin.as_str() == "https://a.example")
        );
    }

    #[test]
    fn anything_listed() {
        assert!(!rule(&[]).any_listed());
        assert!(rule(&["*"]).any_listed());
        assert!(rule(&["http://a"]).any_listed());
    }

    #[test]
    fn mistakes_in_the_list_are_explained() {
        for (entry, words) in [
            ("example.com", "has no scheme; write it like \"https://example.com\""),
            ("https://a.example/", "has a path; an origin ends with its host and port, write \"https://a.example\""),
            ("https://a.example:8/x?y", "write \"https://a.example:8\""),
            ("https://", "is not an origin"),
            ("https://*.example", "\"*\" alone"),
            ("https://\u{e4}.example", "xn--"),
            ("https://a:b", "is not an origin"),
            ("https://u@a", "is not an origin"),
            ("file://", "is not an origin"),
            ("", "has no scheme"),
            (" *", "has no scheme"),
        ] {
            let error = OriginRule::new(&["http://ok".to_owned(), entry.to_owned()]).unwrap_err();
            assert!(error.contains(&format!("{entry:?}")) && error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_list_at_its_limit() {
        for (count, ok) in [(65_534, true), (65_535, true), (65_536, false)] {
            assert_eq!(OriginRule::new(&vec!["http://a".to_owned(); count]).is_ok(), ok, "{count}");
        }
    }
}
