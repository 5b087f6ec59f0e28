//! The negotiation of permessage-deflate (RFC 6455 section 9.1, RFC 7692 sections 5 and 7.1).
//!
//! Owns the grammar of `Sec-WebSocket-Extensions` and the choice among the offers. It must not compress.

use std::borrow::Cow;

use crate::http::is_token_byte;

/// The one window that the compressor has, in bits; as it is written (RFC 7692 section 7.1.2).
const WINDOW_BITS: &[u8] = b"15";

/// permessage-deflate is agreed on, in both directions without context takeover: each message stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// Whether the offer named the server's window. The answer must then name it too (RFC 7692 section 7.1.2.1).
    window: bool,
}

impl Deflate {
    /// The value of the answer's `Sec-WebSocket-Extensions`.
    pub const fn answer(self) -> &'static str {
        if self.window {
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15"
        } else {
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        }
    }
}

/// A field that is no list of extensions. The connection must then fail (RFC 6455 section 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads all `Sec-WebSocket-Extensions` fields of a request and returns the first offer that can be accepted.
///
/// # Errors
/// [`Malformed`], also if it stands behind an offer that can be accepted.
pub fn negotiate<'b>(fields: impl Iterator<Item = &'b [u8]>) -> Result<Option<Deflate>, Malformed> {
    let mut agreed = None;
    for field in fields {
        let mut cursor = Cursor { rest: field };
        while let Some(offer) = cursor.offer()? {
            agreed = agreed.or(offer.verdict());
        }
    }
    Ok(agreed)
}

/// One element of the list.
#[derive(Debug, Default)]
struct Offer {
    /// Another extension, or a parameter that is unknown, repeated, or has a value it must not have.
    declined: bool,
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: bool,
    client_max_window_bits: bool,
}

impl Offer {
    fn new(name: &[u8]) -> Self {
        Self { declined: !name.eq_ignore_ascii_case(b"permessage-deflate"), ..Self::default() }
    }

    /// Judges one parameter (RFC 7692 section 7.1).
    fn parameter(&mut self, name: &[u8], value: Option<&[u8]>) {
        let (seen, valid) = match name.to_ascii_lowercase().as_slice() {
            b"server_no_context_takeover" => (&mut self.server_no_context_takeover, value.is_none()),
            b"client_no_context_takeover" => (&mut self.client_no_context_takeover, value.is_none()),
            b"server_max_window_bits" => (&mut self.server_max_window_bits, value == Some(WINDOW_BITS)),
            b"client_max_window_bits" => (&mut self.client_max_window_bits, value.is_none_or(is_window)),
            _ => return self.declined = true,
        };
        let repeated = core::mem::replace(seen, true);
        self.declined = self.declined || repeated || !valid;
    }

    fn verdict(self) -> Option<Deflate> {
        (!self.declined).then_some(Deflate { window: self.server_max_window_bits })
    }
}

/// Whether it is a number from 8 to 15 without zeros in front.
const fn is_window(value: &[u8]) -> bool {
    matches!(value, b"8" | b"9" | [b'1', b'0'..=b'5'])
}

/// What is still to be read of one field.
struct Cursor<'b> {
    rest: &'b [u8],
}

impl<'b> Cursor<'b> {
    /// The next element, with the comma behind it. Empty elements are left out (RFC 9110 section 5.6.1.2).
    fn offer(&mut self) -> Result<Option<Offer>, Malformed> {
        while self.take(b',') {}
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut offer = Offer::new(self.token()?);
        while self.take(b';') {
            let name = self.token()?;
            let value = if self.take(b'=') { Some(self.value()?) } else { None };
            offer.parameter(name, value.as_deref());
        }
        if self.rest.is_empty() || self.take(b',') { Ok(Some(offer)) } else { Err(Malformed) }
    }

    /// Takes the byte, and white space on both sides of it, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        self.rest = self.rest.trim_ascii();
        let Some((_, after)) = self.rest.split_first().filter(|(first, _)| **first == byte) else { return false };
        self.rest = after.trim_ascii();
        true
    }

    fn token(&mut self) -> Result<&'b [u8], Malformed> {
        let length = self.rest.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at_checked(length).unwrap_or_default();
        self.rest = rest;
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    /// A token, or a quoted string that is a token once the quoting is taken off (RFC 6455 section 9.1).
    fn value(&mut self) -> Result<Cow<'b, [u8]>, Malformed> {
        let Some((b'"', inside)) = self.rest.split_first() else { return self.token().map(Cow::Borrowed) };
        let mut value = Vec::new();
        let mut bytes = inside.iter();
        loop {
            let byte = match bytes.next() {
                Some(b'"') if !value.is_empty() => break,
                Some(b'\\') => bytes.next(),
                byte => byte,
            };
            value.push(*byte.filter(|byte| is_token_byte(**byte)).ok_or(Malformed)?);
        }
        self.rest = bytes.as_slice();
        Ok(Cow::Owned(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: Result<Option<Deflate>, Malformed> = Ok(Some(Deflate { window: false }));
    const WINDOW: Result<Option<Deflate>, Malformed> = Ok(Some(Deflate { window: true }));
    const NONE: Result<Option<Deflate>, Malformed> = Ok(None);
    const BAD: Result<Option<Deflate>, Malformed> = Err(Malformed);

    fn judged(fields: &[&str]) -> Result<Option<Deflate>, Malformed> {
        negotiate(fields.iter().map(|field| field.as_bytes()))
    }

    #[test]
    fn one_field() {
        for (field, expected) in [
            ("", NONE),
            (" ,, ", NONE),
            ("permessage-deflate", PLAIN),
            ("Permessage-Deflate", PLAIN),
            ("permessage-deflate; client_max_window_bits", PLAIN),
            ("permessage-deflate;client_max_window_bits=8", PLAIN),
            ("permessage-deflate ; client_max_window_bits = \"15\" ", PLAIN),
            ("permessage-deflate; client_max_window_bits=\"1\\0\"", PLAIN),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", PLAIN),
            ("permessage-deflate; server_max_window_bits=15", WINDOW),
            ("permessage-deflate; server_max_window_bits=\"15\"; client_max_window_bits", WINDOW),
            // Declined, and there is no other.
            ("permessage-deflate; server_max_window_bits", NONE),
            ("permessage-deflate; server_max_window_bits=14", NONE),
            ("permessage-deflate; server_max_window_bits=8", NONE),
            ("permessage-deflate; server_max_window_bits=16", NONE),
            ("permessage-deflate; server_max_window_bits=015", NONE),
            ("permessage-deflate; client_max_window_bits=7", NONE),
            ("permessage-deflate; client_max_window_bits=16", NONE),
            ("permessage-deflate; client_max_window_bits=08", NONE),
            ("permessage-deflate; client_max_window_bits=1", NONE),
            ("permessage-deflate; client_max_window_bits=x", NONE),
            ("permessage-deflate; client_no_context_takeover=1", NONE),
            ("permessage-deflate; server_no_context_takeover=true", NONE),
            ("permessage-deflate; client_max_window_bits; client_max_window_bits", NONE),
            ("permessage-deflate; client_max_window_bits; client_max_window_bits=10", NONE),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", NONE),
            ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", NONE),
            ("permessage-deflate; server_max_window_bits=15; server_max_window_bits=15", NONE),
            ("permessage-deflate; unknown", NONE),
            ("permessage-deflate; unknown=x", NONE),
            ("x-webkit-deflate-frame", NONE),
            ("permessage-bzip2; client_max_compress_level=\"9\"", NONE),
            // The first that can be accepted.
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", PLAIN),
            ("permessage-deflate; server_max_window_bits=15, permessage-deflate", WINDOW),
            ("permessage-deflate, permessage-deflate; server_max_window_bits=15", PLAIN),
            ("x-other; a=\"b\"; c, permessage-deflate", PLAIN),
            // Malformed, wherever it stands.
            (";", BAD),
            ("=", BAD),
            ("permessage-deflate;", BAD),
            ("permessage-deflate; ;", BAD),
            ("permessage-deflate; =15", BAD),
            ("permessage-deflate; client_max_window_bits=", BAD),
            ("permessage-deflate; client_max_window_bits=\"\"", BAD),
            ("permessage-deflate; client_max_window_bits=\"15", BAD),
            ("permessage-deflate; client_max_window_bits=\"15\\", BAD),
            ("permessage-deflate; client_max_window_bits=\"1 5\"", BAD),
            ("permessage-deflate; client_max_window_bits=\"a\\\"b\"", BAD),
            ("permessage-deflate; client_max_window_bits=\"15\"x", BAD),
            ("permessage-deflate; client_max_window_bits=15 16", BAD),
            ("permessage-deflate client_max_window_bits", BAD),
            ("permessage-deflate, x-other; a=(b)", BAD),
            ("\"permessage-deflate\"", BAD),
            ("permessage-deflate\u{e4}", BAD),
        ] {
            assert_eq!(judged(&[field]), expected, "{field:?}");
        }
    }

    #[test]
    fn several_fields() {
        assert_eq!(judged(&[]), NONE);
        assert_eq!(judged(&["x-other", "permessage-deflate; server_max_window_bits=9", "permessage-deflate"]), PLAIN);
        assert_eq!(judged(&["permessage-deflate", "permessage-deflate; server_max_window_bits=15"]), PLAIN);
        assert_eq!(judged(&["permessage-deflate", "?;"]), BAD);
        // A list cannot go on in the next field in the middle of an element.
        assert_eq!(judged(&["permessage-deflate;", "client_max_window_bits"]), BAD);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            field in prop_oneof![
                "(permessage-deflate|client_max_window_bits|15|[;,= \"\\\\]){0,12}".prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..40),
            ],
        ) {
            let alone = negotiate(core::iter::once(field.as_slice()));
            let behind = negotiate([&field[..], b"permessage-deflate"].into_iter());
            prop_assert_eq!(behind, alone.map(|agreed| agreed.or(Some(Deflate { window: false }))));
        }
    }
}
