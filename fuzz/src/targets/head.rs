//! The request head: any bytes, in any pieces.
//!
//! - The verdict and the end of the head do not depend on the pieces.
//! - What is let through is printable in its first line, has no line end but CR LF, and one meaning: at most one
//!   `Host`, one statement about the body's length, and never two.
//! - Whatever a server asks of such a head has an answer: origin, cookie, proxies, types, codings, the WebSocket's opening.

use core::net::{IpAddr, Ipv4Addr};

use encke::conn::BROWSER_COOKIE;
use encke::http::body::ChunkedDecoder;
use encke::http::coding::Coding;
use encke::http::forwarded::{Forwarded, Peer, TrustedProxies};
use encke::http::head::{BodyFraming, Head, HeadScan, Method, Version};
use encke::http::origin::{Grant, OriginRule, Verdict};
use encke::http::response::ETag;
use encke::http::{HttpError, cookie, form};
use encke::limits::{HEADERS, Limits};
use encke::ws::handshake::{self, Terms};

use super::{both_limits, meter, pieces};

/// The list of fields: a name and a value, twice a pointer and a length, for each of as many as a head may have.
const CONSTANT: usize = HEADERS * 32;

/// Plays an input.
pub(crate) fn run(data: &[u8]) {
    for limits in both_limits() {
        let whole = end(data, &[], &limits);
        for ends in pieces::cuts(data) {
            assert_eq!(end(data, &ends, &limits), whole, "cut at {ends:?}");
        }
        let Ok(Some(end)) = whole else { continue };
        let bytes = &data[..end];
        let head = meter::within(end, CONSTANT, || Head::parse(bytes, &limits));
        check_bytes(bytes, &limits);
        if let Ok(head) = head {
            check(&head, &limits);
            ask(&head);
        }
    }
}

/// Where the head ends, when it comes in these pieces.
fn end(data: &[u8], ends: &[usize], limits: &Limits) -> Result<Option<usize>, HttpError> {
    let mut scan = HeadScan::default();
    for &to in ends {
        if let Some(end) = meter::within(0, 0, || scan.advance(&data[..to], limits))? {
            return Ok(Some(end));
        }
    }
    meter::within(0, 0, || scan.advance(data, limits))
}

/// What the scan promises of a head that it lets through.
fn check_bytes(bytes: &[u8], limits: &Limits) {
    assert!(bytes.len() <= limits.head_bytes, "a head of {} bytes", bytes.len());
    assert!(bytes.ends_with(b"\r\n\r\n"), "the end of a head is an empty line");
    let text = bytes.strip_suffix(b"\r\n\r\n").unwrap_or(bytes);
    let lines: Vec<&[u8]> =
        text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    for line in &lines {
        assert!(line.len() <= limits.line_bytes, "a line of {} bytes", line.len());
        let control = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
        assert!(!line.iter().any(control), "a control in {:?}", line.escape_ascii().to_string());
    }
    let mut lines = lines.into_iter().skip_while(|line| line.is_empty());
    let first = lines.next().unwrap_or_default();
    assert!(first.iter().all(|byte| matches!(byte, b' '..=b'~')), "{:?}", first.escape_ascii().to_string());
    for line in lines {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        assert!(name.len() < line.len() && !name.is_empty(), "a field needs a name and a colon");
        assert!(name.iter().all(u8::is_ascii_graphic), "a name of {:?}", name.escape_ascii().to_string());
    }
}

/// What a head promises once it is read.
fn check(head: &Head<'_>, limits: &Limits) {
    assert!(head.count("host") <= 1, "two Hosts");
    assert!(head.version == Version::Http10 || head.count("host") == 1, "HTTP/1.1 without Host");
    assert!(head.host.is_none_or(|host| !host.is_empty()), "an empty host");
    assert!(head.path.starts_with('/') || (head.path == "*" && head.method == Method::Options), "{:?}", head.path);
    assert!(!head.path.contains(['?', '#']), "{:?}", head.path);
    let (lengths, codings) = (head.count("content-length"), head.count("transfer-encoding"));
    match head.body {
        BodyFraming::None => assert_eq!((lengths, codings), (0, 0)),
        BodyFraming::Length(length) => {
            assert_eq!((lengths, codings), (1, 0));
            assert!(length <= limits.body_bytes as u64, "a body of {length} bytes");
            let digits = head.header("content-length").unwrap_or_default();
            assert!(digits.iter().all(u8::is_ascii_digit), "a length with something else than digits");
        }
        BodyFraming::Chunked => {
            assert_eq!((lengths, codings), (0, 1));
            assert_eq!(head.version, Version::Http11);
            let coding = head.header("transfer-encoding").unwrap_or_default();
            assert!(coding.eq_ignore_ascii_case(b"chunked"));
            // A body of nothing ends where it should, whatever the head.
            let done = ChunkedDecoder::default().decode(b"0\r\n\r\n", &mut Vec::new(), limits);
            assert!(done.is_ok_and(|chunked| chunked.done && chunked.consumed == 5));
        }
    }
}

/// Whatever else a server asks a head. None of it may keep much, and none may fail.
fn ask(head: &Head<'_>) {
    let bytes: usize = head.headers().map(|(name, value)| name.len() + value.len()).sum();
    let listed = ["https://shop.example".to_owned(), "*".to_owned()];
    let (strict, open) = (OriginRule::default(), OriginRule::new(&listed).expect("both are origins"));
    let proxies = TrustedProxies::parse(&["loopback".to_owned(), "unix".to_owned()]).expect("both are words for peers");
    meter::within(bytes + head.path.len(), CONSTANT, || {
        core::hint::black_box((Coding::wanted(head), cookie::find(head, BROWSER_COOKIE)));
        core::hint::black_box(form::media_type(head.header("content-type").unwrap_or_default()));
        core::hint::black_box(form::decode_path(head.path));
        core::hint::black_box(ETag::of([].iter()).is_among(head.header("if-none-match").unwrap_or_default()));
        for peer in [Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))), None] {
            let peer = Peer { address: peer, tls: bytes & 1 == 1 };
            let forwarded = Forwarded::from_head(head, peer, &proxies);
            assert!(forwarded.host.is_none_or(|host| !host.is_empty()), "an empty forwarded host");
            core::hint::black_box(open.check_head(head, &forwarded));
        }
    });
    let stranger = Forwarded::from_head(head, Peer { address: None, tls: false }, &TrustedProxies::default());
    let granted = strict.check_head(head, &stranger);
    assert!(
        matches!(granted, Verdict::NoOrigin | Verdict::Refused | Verdict::Granted(Grant::SameOrigin)),
        "{granted:?}"
    );
    let terms = Terms { protocols: &["bayeux"], deflate: true };
    let judged = meter::within(bytes, CONSTANT, || handshake::judge(head, &terms));
    assert!(judged.is_err() || handshake::is_meant(head), "a WebSocket that nobody meant");
}
