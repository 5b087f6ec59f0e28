//! Which hosts the server answers for.
//!
//! Owns the `allowed-hosts` setting. A page of any site can have its own name point at this server's address, and then it is
//! of the same origin (DNS rebinding): only the name in `Host` gives it away.

use super::authority::Authority;

/// A host that is answered for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Allowed {
    /// In lower case. With a dot before it, all names that end so.
    name: String,
    /// Any port, if none is given.
    port: Option<u16>,
}

/// The hosts that are answered for; without any, all are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostRule(Vec<Allowed>);

impl HostRule {
    /// Reads entries such as `comet.example`, `comet.example:8080`, `[::1]` or `*.example`.
    ///
    /// # Errors
    /// What is wrong with an entry, and what would be right.
    pub fn new(entries: &[String]) -> Result<Self, String> {
        entries.iter().map(|entry| Allowed::parse(entry)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is a rule at all.
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a request for this host is answered. One that names none is not, if there is a rule.
    pub fn allows(&self, host: Option<&[u8]>) -> bool {
        if self.is_any() {
            return true;
        }
        let Some(authority) = host.and_then(Authority::parse) else { return false };
        let name = authority.host.to_ascii_lowercase();
        // A name may be written with the dot of the root behind it.
        let name = name.strip_suffix('.').unwrap_or(&name);
        self.0.iter().any(|allowed| allowed.covers(name, authority.port))
    }
}

impl Allowed {
    fn parse(entry: &str) -> Result<Self, String> {
        let (any, rest) = entry.strip_prefix('*').map_or((false, entry), |rest| (true, rest));
        let of_names = if any { rest.strip_prefix('.') } else { Some(rest) };
        let authority = of_names.and_then(|text| Authority::parse(text.as_bytes()));
        let Some(Authority { host, port }) = authority.filter(|authority| !authority.host.is_empty()) else {
            return Err(format!(
                "allowed host {entry:?} is not a host; write one like \"comet.example\", \"comet.example:8080\" or \
                \"*.example\""
            ));
        };
        let name = host.to_ascii_lowercase();
        Ok(Self { name: if any { format!(".{name}") } else { name }, port })
    }

    fn covers(&self, name: &str, port: Option<u16>) -> bool {
        let named = if self.name.starts_with('.') {
            name.len() > self.name.len() && name.ends_with(&self.name)
        } else {
            name == self.name
        };
        named && self.port.is_none_or(|wanted| Some(wanted) == port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(entries: &[&str]) -> HostRule {
        HostRule::new(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn without_a_rule_every_host_is_answered_for() {
        assert!(rule(&[]).allows(Some(b"evil.example")) && rule(&[]).allows(None));
    }

    #[test]
    fn names_ports_and_what_is_below_a_name() {
        let rule = rule(&["Comet.example", "two.example:8080", "*.apps.example", "[::1]", "127.0.0.1"]);
        for (host, allowed) in [
            ("comet.example", true),
            ("COMET.example:8080", true),
            ("comet.example.", true),
            ("xcomet.example", false),
            ("comet.example.evil.example", false),
            ("two.example", false),
            ("two.example:8080", true),
            ("two.example:80", false),
            ("a.apps.example", true),
            ("a.b.apps.example:1", true),
            ("apps.example", false),
            (".apps.example", false),
            ("evilapps.example", false),
            ("[::1]:80", true),
            ("[::2]", false),
            ("127.0.0.1:8080", true),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(rule.allows(Some(host.as_bytes())), allowed, "{host}");
        }
        assert!(!rule.allows(None), "no host is none of these");
    }

    #[test]
    fn what_is_no_host_is_refused_with_what_would_be_right() {
        for entry in ["", "*", "*.", "http://a.example", "a b", "a/b", "user@a", "*a.example", "a:x"] {
            let error = HostRule::new(&[entry.to_owned()]).unwrap_err();
            assert!(error.contains(&format!("{entry:?}")) && error.contains("comet.example"), "{error}");
        }
    }
}
