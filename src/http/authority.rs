//! The authority of a URI as `Host`, an absolute target, an origin or a forwarded host write it: a name and perhaps a port
//! (RFC 3986 section 3.2, RFC 9110 section 7.2).
//!
//! Owns the grammar and nothing else: what is done with a host that does not parse is the caller's matter. User
//! information (`user@host`) is not part of the grammar here.

use super::{is_in, set};
use core::net::Ipv6Addr;

/// A host and its port, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The name or address; an IPv6 address with its brackets. May be empty, which most callers must refuse.
    pub host: &'a str,
    /// The port, if digits were given; `host:` alone means the default port.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads the bytes as `host [":" *DIGIT]`. None if they are anything else, or if the port is above 65,535.
    ///
    /// A comma is refused although RFC 3986 has it in names: in practice it means two fields that somebody joined. So is
    /// `IPvFuture`, which has never been used, and an IPv6 zone.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = core::str::from_utf8(bytes).ok()?;
        let (host, rest) = if let Some(inside) = text.strip_prefix('[') {
            let (address, rest) = inside.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (text.strip_suffix(rest)?, rest)
        } else {
            let end = bytes.iter().position(|&byte| byte == b':').unwrap_or(bytes.len());
            let (host, rest) = text.split_at_checked(end)?;
            if !is_reg_name(host.as_bytes()) {
                return None;
            }
            (host, rest)
        };
        let port = match rest.strip_prefix(':') {
            Some(digits) => parse_port(digits)?,
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self { host, port })
    }
}

/// A bit for each character that may stand in a `reg-name` by itself.
const NAME_BYTES: u128 = set(b"-._~!$&'()*+;=0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

/// `reg-name` of RFC 3986 without the comma; IPv4 addresses are a subset. Percent escapes must be complete.
fn is_reg_name(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            _ if is_in(NAME_BYTES, byte) => {}
            b'%' => match after.split_at_checked(2) {
                Some((digits, after)) if digits.iter().all(u8::is_ascii_hexdigit) => rest = after,
                _ => return false,
            },
            _ => return false,
        }
    }
    true
}

/// The outer option: valid or not. The inner one: given or empty.
fn parse_port(digits: &str) -> Option<Option<u16>> {
    if digits.is_empty() {
        return Some(None);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(&str, Option<u16>)> {
        Authority::parse(text.as_bytes()).map(|it| (it.host, it.port))
    }

    #[test]
    fn names_and_addresses() {
        assert_eq!(parse("example.com"), Some(("example.com", None)));
        assert_eq!(parse("example.com:8080"), Some(("example.com", Some(8080))));
        assert_eq!(parse("example.com:"), Some(("example.com", None)));
        assert_eq!(parse("my_host-1.~a"), Some(("my_host-1.~a", None)));
        assert_eq!(parse("127.0.0.1:80"), Some(("127.0.0.1", Some(80))));
        assert_eq!(parse("[::1]"), Some(("[::1]", None)));
        assert_eq!(parse("[2001:db8::7]:8443"), Some(("[2001:db8::7]", Some(8443))));
        assert_eq!(parse("[::ffff:1.2.3.4]:"), Some(("[::ffff:1.2.3.4]", None)));
        assert_eq!(parse("%C3%a4.example"), Some(("%C3%a4.example", None)));
        assert_eq!(parse(""), Some(("", None)));
        assert_eq!(parse(":80"), Some(("", Some(80))));
    }

    #[test]
    fn ports_at_their_bound() {
        assert_eq!(parse("a:65534"), Some(("a", Some(65_534))));
        assert_eq!(parse("a:65535"), Some(("a", Some(65_535))));
        assert_eq!(parse("a:65536"), None);
        assert_eq!(parse("a:00080"), Some(("a", Some(80))));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "a b",
            " a",
            "a ",
            "a,b",
            "a/b",
            "a?b",
            "a#b",
            "user@a",
            "a:b",
            "a:+1",
            "a:-1",
            "a:1:2",
            "::1",
            "[::1",
            "[]",
            "[::1]x",
            "[::1]80",
            "[fe80::1%eth0]",
            "[v1.a]",
            "[1.2.3.4]",
            "a]",
            "ä.example",
            "%4",
            "%zz",
            "a\t",
            "a\0",
            "a\\b",
            "\"a\"",
            "<a>",
            "a|b",
            "{a}",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(Authority::parse(b"a\xff"), None);
    }
}
