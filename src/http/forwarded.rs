//! What trusted proxies say about the client behind them: `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`.
//!
//! Owns the `trusted-proxies` setting and the reading of these fields. Anybody can write them, so nothing is read unless the
//! peer itself is trusted, and then from the right, because each proxy adds at the right and only the right end is beyond
//! the client's reach.

use super::authority::Authority;
use super::head::Head;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of addresses. IPv4-mapped IPv6 blocks are kept as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    address: IpAddr,
    /// Leading bits that count.
    prefix: u32,
}

impl Block {
    const LOOPBACK_V4: Self = Self { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 };
    const LOOPBACK_V6: Self = Self { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 };

    fn parse(entry: &str) -> Result<Self, String> {
        let (address, prefix) =
            entry.split_once('/').map_or((entry, None), |(address, prefix)| (address, Some(prefix)));
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(format!(
                "trusted proxy {entry:?} is not an address; write one like \"10.0.0.7\", \"10.0.0.0/8\" or \"fd00::/8\", or one \
                of the words \"loopback\" and \"unix\""
            ));
        };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().unwrap_or(u32::MAX),
            Some(_) => u32::MAX,
        };
        if prefix > bits {
            return Err(format!(
                "trusted proxy {entry:?} has a bad prefix; write a number from 0 to {bits} after the slash"
            ));
        }
        let block = Self { address: masked(address, prefix), prefix };
        if block.address != address {
            return Err(format!(
                "trusted proxy {entry:?} has bits behind its prefix; write \"{}/{prefix}\" for the block or \"{address}\" for \
                the one address",
                block.address
            ));
        }
        Ok(block.unmapped())
    }

    fn unmapped(self) -> Self {
        match (self.address.to_canonical(), self.prefix.checked_sub(96)) {
            (address @ IpAddr::V4(_), Some(prefix)) if self.address.is_ipv6() => Self { address, prefix },
            _ => self,
        }
    }

    /// Whether the address, in canonical form, is in the block. Addresses of two families are never equal.
    fn contains(&self, address: IpAddr) -> bool {
        masked(address, self.prefix) == self.address
    }
}

/// The address with all bits behind the prefix cleared.
fn masked(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let host_bits = u32::MAX.checked_shr(prefix).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & !host_bits))
        }
        IpAddr::V6(v6) => {
            let host_bits = u128::MAX.checked_shr(prefix).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !host_bits))
        }
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Where it comes from; `None` on a Unix socket.
    pub address: Option<IpAddr>,
    /// Whether the connection itself is TLS.
    pub tls: bool,
}

/// The peers whose forwarding fields are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    blocks: Vec<Block>,
    unix: bool,
}

impl TrustedProxies {
    /// Reads the `trusted-proxies` setting: addresses, blocks such as `10.0.0.0/8`, the word `loopback` for 127.0.0.0/8 and
    /// ::1, the word `unix` for peers on Unix sockets. An IPv4-mapped IPv6 address is the IPv4 address.
    ///
    /// # Errors
    /// A text for the operator: which entry, what is wrong with it and what is right.
    pub fn parse(list: &[String]) -> Result<Self, String> {
        let mut trusted = Self::default();
        for entry in list {
            match entry.as_str() {
                "loopback" => trusted.blocks.extend([Block::LOOPBACK_V4, Block::LOOPBACK_V6]),
                "unix" => trusted.unix = true,
                _ => trusted.blocks.push(Block::parse(entry)?),
            }
        }
        Ok(trusted)
    }

    /// Whether a peer at this address is trusted.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.blocks.iter().any(|block| block.contains(peer))
    }
}

/// The client as far as it is known, through proxies that are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded<'b> {
    /// The client's address: the peer's own unless a trusted proxy tells another. None only on a Unix socket whose proxy
    /// tells none. Never IPv4-mapped.
    pub client: Option<IpAddr>,
    /// Whether the client used TLS: if a trusted proxy tells, what that tells; else only what is sure, that the peer does.
    pub https: Option<bool>,
    /// The host the client asked for, with its port if it has one, if a trusted proxy tells. Syntactically valid and never
    /// empty.
    pub host: Option<&'b str>,
}

impl<'b> Forwarded<'b> {
    /// Reads the forwarding fields of a request from this peer.
    ///
    /// `X-Forwarded-For` is read from the right: addresses of trusted proxies are passed over, the first other one is the
    /// client. If all are trusted, the leftmost is. Reading stops at what is no address, because what stands left of it may
    /// be invented; the client is then the last trusted address before it.
    ///
    /// Of `-Proto` and `-Host` the rightmost element of the last field counts. With several proxies in a row that append,
    /// this is what the innermost one saw, which may be less than the truth (`http` between two proxies); but it is the only
    /// element that the peer itself vouches for. Elements cannot be matched with those of `X-Forwarded-For`, since many
    /// proxies set the one and append to the other. The inner proxies should pass on what the outermost one has set.
    pub fn from_head(head: &Head<'b>, peer: Peer, trusted: &TrustedProxies) -> Self {
        let own = peer.tls.then_some(true);
        let peer = peer.address.map(|address| address.to_canonical());
        if !peer.map_or(trusted.unix, |address| trusted.trusts(address)) {
            return Self { client: peer, https: own, host: None };
        }
        let https = match last_element(head, "x-forwarded-proto") {
            Some(scheme) if is_one_of(scheme, ["https", "wss"]) => Some(true),
            Some(scheme) if is_one_of(scheme, ["http", "ws"]) => Some(false),
            _ => own,
        };
        let host = last_element(head, "x-forwarded-host")
            .filter(|value| Authority::parse(value).is_some_and(|authority| !authority.host.is_empty()))
            .and_then(|value| core::str::from_utf8(value).ok());
        Self { client: client(head, peer, trusted), https, host }
    }
}

fn is_one_of(value: &[u8], words: [&str; 2]) -> bool {
    words.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
}

/// The rightmost element of the last field of this name; may be empty.
fn last_element<'b>(head: &Head<'b>, name: &str) -> Option<&'b [u8]> {
    let field = head.values(name).next_back()?;
    field.rsplit(|&byte| byte == b',').next().map(<[u8]>::trim_ascii)
}

fn client(head: &Head<'_>, peer: Option<IpAddr>, trusted: &TrustedProxies) -> Option<IpAddr> {
    let mut client = peer;
    for field in head.values("x-forwarded-for").rev() {
        for element in field.rsplit(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
        {
            let Some(address) = parse_address(element) else { return client };
            client = Some(address);
            if !trusted.trusts(address) {
                return client;
            }
        }
    }
    client
}

/// An address in canonical form. Some proxies add the port: `1.2.3.4:80`, `[::1]:80`.
fn parse_address(element: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(element).ok()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let Authority { host, .. } = Authority::parse(element)?;
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn trusted(list: &[&str]) -> TrustedProxies {
        TrustedProxies::parse(&list.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn plain(peer: &str) -> Peer {
        Peer { address: peer.parse().ok(), tls: false }
    }

    #[test]
    fn tls_of_the_peer_counts_where_no_trusted_proxy_says_more() {
        for (peer, fields, https) in [
            ("192.0.2.1", "", Some(true)),
            ("192.0.2.1", "X-Forwarded-Proto: http\r\n", Some(true)),
            ("10.0.0.1", "", Some(true)),
            ("10.0.0.1", "X-Forwarded-Proto: gopher\r\n", Some(true)),
            ("10.0.0.1", "X-Forwarded-Proto: https\r\n", Some(true)),
            ("10.0.0.1", "X-Forwarded-Proto: http\r\n", Some(false)),
        ] {
            let raw = format!("GET / HTTP/1.0\r\n{fields}\r\n");
            let head = Head::parse(raw.as_bytes(), &Limits::default()).unwrap();
            let found = Forwarded::from_head(&head, Peer { tls: true, ..plain(peer) }, &trusted(&["10.0.0.0/8"]));
            assert_eq!(found.https, https, "{peer} {fields}");
        }
    }

    /// Client, https, host as text, for a request with these fields from this peer; trusted are loopback and 10/8.
    fn seen(peer: &str, fields: &str) -> (String, Option<bool>, Option<String>) {
        let raw = format!("GET / HTTP/1.0\r\n{fields}\r\n");
        let head = Head::parse(raw.as_bytes(), &Limits::default()).unwrap();
        let words: &[&str] = if peer == "unix" { &["10.0.0.0/8", "unix"] } else { &["loopback", "10.0.0.0/8"] };
        let found = Forwarded::from_head(&head, plain(peer), &trusted(words));
        let client = found.client.map(|address| address.to_string()).unwrap_or_default();
        (client, found.https, found.host.map(str::to_owned))
    }

    #[test]
    fn trust() {
        let list = ["192.0.2.7", "10.0.0.0/8", "172.16.0.0/12", "fd00::/8", "2001:db8::1", "::ffff:198.51.100.0/120"];
        let trusted = trusted(&list);
        for peer in [
            "192.0.2.7",
            "10.0.0.0",
            "10.255.255.255",
            "::ffff:10.1.2.3",
            "172.16.0.0",
            "172.31.255.255",
            "fd00::",
            "fdff:ffff::1",
            "2001:db8::1",
            "198.51.100.0",
            "198.51.100.255",
            "::ffff:198.51.100.9",
            "::ffff:192.0.2.7",
        ] {
            assert!(trusted.trusts(ip(peer)), "{peer}");
        }
        for peer in [
            "192.0.2.6",
            "192.0.2.8",
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "fc00::1",
            "fe00::",
            "2001:db8::2",
            "198.51.99.255",
            "198.51.101.0",
            "127.0.0.1",
            "::1",
            "::",
            "0.0.0.0",
            "::10.1.2.3",
        ] {
            assert!(!trusted.trusts(ip(peer)), "{peer}");
        }
        assert!(!trusted.unix);
    }

    #[test]
    fn trust_in_words_and_whole_families() {
        let loopback = trusted(&["loopback"]);
        for peer in ["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"] {
            assert!(loopback.trusts(ip(peer)), "{peer}");
        }
        for peer in ["126.255.255.255", "128.0.0.0", "::2", "::", "::7f00:1"] {
            assert!(!loopback.trusts(ip(peer)), "{peer}");
        }
        assert!(!loopback.unix && trusted(&["unix"]).unix);
        assert!(!trusted(&["unix"]).trusts(ip("127.0.0.1")) && !trusted(&[]).trusts(ip("127.0.0.1")));
        let (v4, v6, mapped) = (trusted(&["0.0.0.0/0"]), trusted(&["::/0"]), trusted(&["::ffff:0:0/96"]));
        assert!(v4.trusts(ip("1.2.3.4")) && v4.trusts(ip("::ffff:1.2.3.4")) && !v4.trusts(ip("2001:db8::1")));
        assert!(v6.trusts(ip("2001:db8::1")) && !v6.trusts(ip("1.2.3.4")) && !v6.trusts(ip("::ffff:1.2.3.4")));
        assert!(mapped.trusts(ip("1.2.3.4")) && !mapped.trusts(ip("2001:db8::1")));
    }

    #[test]
    fn mistakes_in_the_list_are_explained() {
        for (entry, words) in [
            ("localhost", "\"loopback\""),
            ("", "is not an address"),
            ("10.0.0", "is not an address"),
            ("10.0.0.0:80", "is not an address"),
            ("Loopback", "\"loopback\""),
            ("10.0.0.0/33", "from 0 to 32"),
            ("::/129", "from 0 to 128"),
            ("10.0.0.0/", "from 0 to 32"),
            ("10.0.0.0/+8", "from 0 to 32"),
            ("10.0.0.0/8/8", "from 0 to 32"),
            ("10.0.0.0/99999999999", "from 0 to 32"),
            ("10.0.0.7/8", "write \"10.0.0.0/8\" for the block or \"10.0.0.7\""),
            ("fd00::1/8", "write \"fd00::/8\" for the block"),
        ] {
            let error = TrustedProxies::parse(&["loopback".to_owned(), entry.to_owned()]).unwrap_err();
            assert!(error.contains(&format!("{entry:?}")) && error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_prefix_at_its_bounds() {
        for (entry, ok) in [("0.0.0.0/0", true), ("1.2.3.4/32", true), ("1.2.3.4/33", false), ("::1/128", true)] {
            assert_eq!(TrustedProxies::parse(&[entry.to_owned()]).is_ok(), ok, "{entry}");
        }
        assert!(trusted(&["1.2.3.4/31"]).trusts(ip("1.2.3.5")) && !trusted(&["1.2.3.4/32"]).trusts(ip("1.2.3.5")));
    }

    #[test]
    fn nothing_is_believed_of_a_stranger() {
        let fields = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n";
        assert_eq!(seen("192.0.2.1", fields), ("192.0.2.1".to_owned(), None, None));
        assert_eq!(seen("::ffff:192.0.2.1", fields), ("192.0.2.1".to_owned(), None, None));
        let head = Head::parse(b"GET / HTTP/1.0\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n", &Limits::default()).unwrap();
        assert_eq!(Forwarded::from_head(&head, plain("unix"), &trusted(&["loopback"])).client, None);
        assert_eq!(Forwarded::from_head(&head, plain("unix"), &trusted(&["unix"])).client, Some(ip("1.1.1.1")));
    }

    #[test]
    fn clients() {
        for (fields, client) in [
            ("", "127.0.0.1"),
            ("X-Forwarded-For:\r\n", "127.0.0.1"),
            ("X-Forwarded-For: 1.1.1.1\r\n", "1.1.1.1"),
            ("X-Forwarded-For: 9.9.9.9, 1.1.1.1\r\n", "1.1.1.1"),
            ("X-Forwarded-For: 9.9.9.9, 1.1.1.1, 10.0.0.1,10.0.0.2\r\n", "1.1.1.1"),
            ("X-Forwarded-For: 9.9.9.9, 1.1.1.1\r\nx-forwarded-for: 10.0.0.1\r\n", "1.1.1.1"),
            ("X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n", "2.2.2.2"),
            ("X-Forwarded-For: 10.0.0.9, 10.0.0.1\r\n", "10.0.0.9"),
            ("X-Forwarded-For: 1.1.1.1, unknown\r\n", "127.0.0.1"),
            ("X-Forwarded-For: 1.1.1.1, evil, 10.0.0.1\r\n", "10.0.0.1"),
            ("X-Forwarded-For: unknown, 1.1.1.1\r\n", "1.1.1.1"),
            ("X-Forwarded-For: 1.1.1.1,,\r\n", "1.1.1.1"),
            ("X-Forwarded-For: 1.1.1.1:5555\r\n", "1.1.1.1"),
            ("X-Forwarded-For: [2001:db8::5]:5555\r\n", "2001:db8::5"),
            ("X-Forwarded-For: [2001:db8::5]\r\n", "2001:db8::5"),
            ("X-Forwarded-For: 2001:db8::5\r\n", "2001:db8::5"),
            ("X-Forwarded-For: ::ffff:1.1.1.1\r\n", "1.1.1.1"),
            ("X-Forwarded-For: 1.1.1.1, ::ffff:10.0.0.1\r\n", "1.1.1.1"),
            ("X-Forwarded-For: 1.1.1.1:x\r\n", "127.0.0.1"),
            ("X-Forwarded-For: 1.1.1.256\r\n", "127.0.0.1"),
        ] {
            assert_eq!(seen("127.0.0.1", fields).0, client, "{fields:?}");
        }
        assert_eq!(seen("unix", "").0, "");
        assert_eq!(seen("unix", "X-Forwarded-For: 9.9.9.9, 1.1.1.1, 10.0.0.1\r\n").0, "1.1.1.1");
    }

    #[test]
    fn schemes() {
        for (fields, https) in [
            ("", None),
            ("X-Forwarded-Proto: https\r\n", Some(true)),
            ("X-Forwarded-Proto: HTTPS\r\n", Some(true)),
            ("X-Forwarded-Proto: wss\r\n", Some(true)),
            ("X-Forwarded-Proto: http\r\n", Some(false)),
            ("X-Forwarded-Proto: ws\r\n", Some(false)),
            ("X-Forwarded-Proto: http, https\r\n", Some(true)),
            ("X-Forwarded-Proto: https,http\r\n", Some(false)),
            ("X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", Some(false)),
            ("X-Forwarded-Proto: https,\r\n", None),
            ("X-Forwarded-Proto: ftp\r\n", None),
            ("X-Forwarded-Proto:\r\n", None),
        ] {
            assert_eq!(seen("::1", fields).1, https, "{fields:?}");
        }
    }

    #[test]
    fn hosts() {
        for (fields, host) in [
            ("", None),
            ("X-Forwarded-Host: a.example:8443\r\n", Some("a.example:8443")),
            ("X-Forwarded-Host: evil, a.example\r\n", Some("a.example")),
            ("X-Forwarded-Host: evil\r\nX-Forwarded-Host: a.example\r\n", Some("a.example")),
            ("X-Forwarded-Host: [::1]:80\r\n", Some("[::1]:80")),
            ("X-Forwarded-Host: a b\r\n", None),
            ("X-Forwarded-Host: http://a\r\n", None),
            ("X-Forwarded-Host: a, u@b\r\n", None),
            ("X-Forwarded-Host: a,\r\n", None),
            ("X-Forwarded-Host: :80\r\n", None),
            ("X-Forwarded-Host:\r\n", None),
        ] {
            assert_eq!(seen("10.1.1.1", fields).2.as_deref(), host, "{fields:?}");
        }
    }
}
