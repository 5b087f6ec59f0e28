//! The opening handshake (RFC 6455 section 4.2): which requests may become a WebSocket, and the answer that makes them one.
//!
//! Owns the judgement over method, version, `Upgrade`, `Connection`, the `Sec-WebSocket-*` fields and the absence of a
//! body. The path and the origin are judged elsewhere, before.
//!
//! No byte of a request reaches the answer: the accept value is a hash, a subprotocol is one of ours, and the extensions
//! are constant.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::extension::{self, Deflate};
use crate::http::HttpError;
use crate::http::date::HttpDate;
use crate::http::head::{Head, Method, Version};
use crate::http::response::Status;

/// What the key is hashed with (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a key.
const KEY_BYTES: usize = 16;

/// What this side is ready for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms<'k> {
    /// The subprotocols that may be chosen if a client offers them. Each is a token; case matters.
    ///
    /// An offer that is not among them is no reason to refuse: none is then chosen, as RFC 6455 section 4.2.2 asks.
    /// The RFC lets the client go on, but browsers do not: their own standard (WHATWG WebSockets) fails a connection for
    /// which subprotocols were offered and none came back. Bayeux has no subprotocol, and its clients offer none unless
    /// they are told to.
    pub protocols: &'k [&'k str],
    /// Whether permessage-deflate is negotiated. Without the cargo feature `deflate` it never is.
    pub deflate: bool,
}

/// A request that becomes a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted<'k> {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: [u8; 28],
    /// Whether and how messages may be compressed.
    pub deflate: Option<Deflate>,
    /// The chosen subprotocol.
    pub protocol: Option<&'k str>,
}

/// Whether a request means to become a WebSocket, rightly or not, so that [`judge`] has the word about it. True also where
/// a proxy has taken `Upgrade` away.
pub fn is_meant(head: &Head<'_>) -> bool {
    lists(head, "upgrade", "websocket")
        || head.header("sec-websocket-key").is_some()
        || head.header("sec-websocket-version").is_some()
}

/// Judges a request (RFC 6455 sections 4.2.1 and 4.4, RFC 9110 section 7.8).
///
/// # Errors
/// The status and one line that says what was wrong and what would be right. 405 for another method than GET; the answer's
/// `Allow` is the caller's. 426 for another version of WebSocket than 13, whose head
/// `ResponseHead` writes with the version that would be right. 400 for all else.
pub fn judge<'k>(head: &Head<'_>, terms: &Terms<'k>) -> Result<Accepted<'k>, HttpError> {
    if head.method != Method::Get {
        return Err(HttpError::new(Status::MethodNotAllowed, "a WebSocket begins with GET"));
    }
    if head.version != Version::Http11 {
        return Err(HttpError::bad_request("a WebSocket begins with HTTP/1.1; HTTP/1.0 cannot be upgraded"));
    }
    if head.body.has_bytes() {
        return Err(HttpError::bad_request("a WebSocket begins with a request that has no body"));
    }
    if !lists(head, "upgrade", "websocket") {
        return Err(HttpError::bad_request(
            "a WebSocket needs Upgrade: websocket; is there a proxy that does not pass Upgrade on?",
        ));
    }
    if !lists(head, "connection", "upgrade") {
        return Err(HttpError::bad_request(
            "a WebSocket needs Connection: upgrade; is there a proxy that does not pass Connection on?",
        ));
    }
    if only(head, "sec-websocket-version") != Some(b"13") {
        return Err(HttpError::new(Status::UpgradeRequired, "a WebSocket needs Sec-WebSocket-Version: 13, once"));
    }
    let Some(key) = only(head, "sec-websocket-key").filter(|key| is_key(key)) else {
        return Err(HttpError::bad_request("a WebSocket needs Sec-WebSocket-Key: 16 bytes in base64, once"));
    };
    let Ok(offered) = extension::negotiate(head.values("sec-websocket-extensions")) else {
        return Err(HttpError::bad_request(
            "Sec-WebSocket-Extensions must be a list such as permessage-deflate; client_max_window_bits",
        ));
    };
    Ok(Accepted {
        accept: accept(key),
        deflate: offered.filter(|_| terms.deflate && cfg!(feature = "deflate")),
        protocol: protocol(head, terms),
    })
}

/// The first subprotocol, in the client's order, that is among ours.
fn protocol<'k>(head: &Head<'_>, terms: &Terms<'k>) -> Option<&'k str> {
    head.elements("sec-websocket-protocol")
        .find_map(|offered| terms.protocols.iter().find(|known| known.as_bytes() == offered).copied())
}

fn lists(head: &Head<'_>, name: &str, element: &str) -> bool {
    head.elements(name).any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
}

/// The value of a field that is there exactly once.
fn only<'b>(head: &Head<'b>, name: &str) -> Option<&'b [u8]> {
    let mut values = head.values(name);
    values.next().filter(|_| values.next().is_none())
}

/// Whether it is the base64 of 16 bytes, with its padding and without bits that stand for nothing.
fn is_key(text: &[u8]) -> bool {
    // The decoder wants room for 18 bytes before it looks at the padding.
    let mut key = [0; 18];
    STANDARD.decode_slice(text, &mut key) == Ok(KEY_BYTES)
}

/// The value of `Sec-WebSocket-Accept` for a value of `Sec-WebSocket-Key`. A client compares it with what it gets.
pub fn accept(key: &[u8]) -> [u8; 28] {
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(key);
    sha1.update(GUID);
    let mut text = [0; 28];
    let encoded = STANDARD.encode_slice(sha1.digest().bytes(), &mut text);
    debug_assert_eq!(encoded, Ok(text.len()));
    text
}

/// Appends the 101 that makes the connection a WebSocket (RFC 6455 section 4.2.2). What follows it is frames.
pub fn write_response(out: &mut Vec<u8>, accepted: &Accepted<'_>, date: &HttpDate) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nDate: ");
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    out.extend_from_slice(&accepted.accept);
    if let Some(protocol) = accepted.protocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(protocol.as_bytes());
    }
    if let Some(deflate) = accepted.deflate {
        out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
        out.extend_from_slice(deflate.answer().as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    /// The example of RFC 6455 section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &[u8; 28] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    const TERMS: Terms<'static> = Terms { protocols: &["bayeux", "bayeux2"], deflate: true };

    fn judged(raw: &str) -> Result<Accepted<'static>, HttpError> {
        judge(&Head::parse(raw.as_bytes(), &Limits::default()).unwrap(), &TERMS)
    }

    /// A request with these fields besides `Host`.
    fn get(fields: &str) -> String {
        format!("GET /cometd HTTP/1.1\r\nHost: a\r\n{}\r\n", fields.replace('|', "\r\n") + "\r\n")
    }

    /// A request that is in order, with this field replaced by another line, or by none.
    fn but(name: &str, line: &str) -> String {
        let fields = [
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ];
        let mut lines: Vec<&str> = fields.into_iter().filter(|field| !field.starts_with(name)).collect();
        lines.extend((!line.is_empty()).then_some(line));
        get(&lines.join("|"))
    }

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(&accept(KEY.as_bytes()), ACCEPT);
        let accepted = judged(&but("-", "")).unwrap();
        assert_eq!(accepted, Accepted { accept: *ACCEPT, deflate: None, protocol: None });
        let mut out = b"before".to_vec();
        write_response(&mut out, &accepted, &HttpDate::from_unix_ms(1_795_210_122_000));
        let expected = "beforeHTTP/1.1 101 Switching Protocols\r\nDate: Fri, 20 Nov 2026 21:28:42 GMT\r\n\
            Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn accepted_spellings() {
        for raw in [
            but("Upgrade", "upgrade: WebSocket"),
            but("Upgrade", "Upgrade: h2c, websocket"),
            but("Connection", "Connection: keep-alive, Upgrade"),
            but("Connection", "Connection: keep-alive|CONNECTION: uPGRADE"),
            but("Sec-WebSocket-Key", "sec-websocket-key:  AAAAAAAAAAAAAAAAAAAAAA==  "),
            but("-", "Content-Length: 0"),
            but("-", "Origin: https://elsewhere.example"),
            but("-", "Sec-WebSocket-Extensions: x-webkit-deflate-frame"),
            but("-", "Sec-WebSocket-Protocol: other, (no token)"),
        ] {
            assert!(judged(&raw).is_ok(), "{raw}");
        }
    }

    #[test]
    fn refusals() {
        let table = [
            (but("-", "").replace("GET", "POST"), 405, "begins with GET"),
            (but("-", "").replace("GET", "HEAD"), 405, "begins with GET"),
            (but("-", "").replace("GET", "get"), 405, "begins with GET"),
            (but("-", "").replace("HTTP/1.1", "HTTP/1.0"), 400, "begins with HTTP/1.1"),
            (but("-", "Content-Length: 1"), 400, "no body"),
            (but("-", "Transfer-Encoding: chunked"), 400, "no body"),
            (but("Upgrade", ""), 400, "Upgrade: websocket"),
            (but("Upgrade", "Upgrade: websockets"), 400, "Upgrade: websocket"),
            (but("Upgrade", "Upgrade: websocket/13"), 400, "Upgrade: websocket"),
            (but("Connection", ""), 400, "Connection: upgrade"),
            (but("Connection", "Connection: keep-alive"), 400, "Connection: upgrade"),
            (but("Connection", "Connection: close"), 400, "Connection: upgrade"),
            (but("Sec-WebSocket-Version", ""), 426, "Sec-WebSocket-Version: 13"),
            (but("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), 426, "Sec-WebSocket-Version: 13"),
            (but("Sec-WebSocket-Version", "Sec-WebSocket-Version: 013"), 426, "Sec-WebSocket-Version: 13"),
            (but("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13, 8"), 426, "Sec-WebSocket-Version: 13"),
            (but("-", "Sec-WebSocket-Version: 13"), 426, "once"),
            (but("Sec-WebSocket-Key", ""), 400, "Sec-WebSocket-Key"),
            (but("-", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400, "once"),
            (but("-", "Sec-WebSocket-Extensions: permessage-deflate;"), 400, "Sec-WebSocket-Extensions"),
        ];
        for (raw, status, words) in table {
            let refusal = judged(&raw).unwrap_err();
            assert_eq!(refusal.status.code(), status, "{raw}");
            assert!(refusal.reason.contains(words), "{} for {raw}", refusal.reason);
        }
    }

    #[test]
    fn keys() {
        for key in [
            "",
            "x",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ===",
            // 15 and 17 bytes.
            "AAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA=",
            // 18 bytes, in as many characters.
            "AAAAAAAAAAAAAAAAAAAAAAAA",
            // Bits that stand for nothing.
            "AAAAAAAAAAAAAAAAAAAAAB==",
            "AAAAAAAAAAAAAAAAAAAAA===",
            // Of another alphabet, and of none.
            "AAAAAAAAAA-_AAAAAAAAAA==",
            "AAAAAAAAAAAA AAAAAAAAA==",
            "AAAAAAAAAA=AAAAAAAAAAA==",
        ] {
            assert!(judged(&but("Sec-WebSocket-Key", &format!("Sec-WebSocket-Key: {key}"))).is_err(), "{key:?}");
        }
    }

    #[test]
    fn subprotocols() {
        for (line, expected) in [
            ("Sec-WebSocket-Protocol: bayeux", Some("bayeux")),
            ("Sec-WebSocket-Protocol: other, bayeux2, bayeux", Some("bayeux2")),
            ("Sec-WebSocket-Protocol: other|Sec-WebSocket-Protocol: bayeux", Some("bayeux")),
            ("Sec-WebSocket-Protocol: Bayeux", None),
            ("Sec-WebSocket-Protocol:", None),
        ] {
            let accepted = judged(&but("-", line)).unwrap();
            assert_eq!(accepted.protocol, expected, "{line}");
            let mut out = Vec::new();
            write_response(&mut out, &accepted, &HttpDate::from_unix_ms(0));
            let field = expected.map(|chosen| format!("=\r\nSec-WebSocket-Protocol: {chosen}\r\n\r\n"));
            let out = String::from_utf8(out).unwrap();
            assert!(field.is_none_or(|field| out.ends_with(&field)) && out.contains("Protocol:") == expected.is_some());
        }
    }

    #[test]
    fn compression() {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=15";
        for (line, expected) in [
            ("Sec-WebSocket-Extensions: permessage-deflate", Some("takeover\r\n\r\n")),
            (offer, Some("takeover; server_max_window_bits=15\r\n\r\n")),
            ("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9", None),
        ] {
            let accepted = judged(&but("-", line)).unwrap();
            let expected = expected.filter(|_| cfg!(feature = "deflate"));
            assert_eq!(accepted.deflate.is_some(), expected.is_some(), "{line}");
            let mut out = Vec::new();
            write_response(&mut out, &accepted, &HttpDate::from_unix_ms(0));
            let out = String::from_utf8(out).unwrap();
            let start =
                "=\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_";
            match expected {
                Some(end) => assert!(out.ends_with(&format!("{start}{end}")), "{out}"),
                None => assert!(!out.contains("Extensions"), "{out}"),
            }
        }
        let raw = but("-", offer);
        let head = Head::parse(raw.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(judge(&head, &Terms::default()).unwrap().deflate, None);
    }

    #[test]
    fn what_is_meant_to_be_one() {
        for (raw, expected) in [
            (but("-", ""), true),
            (but("Upgrade", ""), true),
            (get("Upgrade: websocket"), true),
            (get("Sec-WebSocket-Key: x"), true),
            (get("Sec-WebSocket-Version: 8"), true),
            (get("Upgrade: h2c|Connection: Upgrade"), false),
            (get("Connection: keep-alive"), false),
        ] {
            assert_eq!(is_meant(&Head::parse(raw.as_bytes(), &Limits::default()).unwrap()), expected, "{raw}");
        }
    }
}
