//! What a request body is said to be, and HTML forms (URL standard, section "application/x-www-form-urlencoded").
//!
//! Owns the media types of the Bayeux endpoint and the decoding of form fields. Whether a type is accepted is decided
//! elsewhere.

use super::response::Status;
use super::{HttpError, is_token_byte, is_value_byte};
use crate::limits::Limits;
use std::borrow::Cow;

/// The media types that are told apart, all of them in UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`
    Json,
    /// `text/json`
    TextJson,
    /// `application/x-www-form-urlencoded`
    Form,
    /// `text/plain`
    TextPlain,
    /// Any other type, a type that cannot be read, and the above in a charset that is not UTF-8.
    Other,
}

/// Reads a `Content-Type` (RFC 9110 section 8.3). Case does not matter. A `charset` must be UTF-8 by name, or US-ASCII,
/// which is part of it; other parameters only have to be well formed.
pub fn media_type(value: &[u8]) -> MediaType {
    // As CometD's clients, Faye's and fetch write it, without a look at its parts.
    if matches!(value, b"application/json" | b"application/json;charset=UTF-8") {
        return MediaType::Json;
    }
    let (name, parameters) = match value.iter().position(|&byte| byte == b';') {
        Some(at) => value.split_at_checked(at).unwrap_or((value, &[])),
        None => (value, &[][..]),
    };
    let name = name.trim_ascii();
    let known = [
        (&b"application/json"[..], MediaType::Json),
        (b"text/json", MediaType::TextJson),
        (b"application/x-www-form-urlencoded", MediaType::Form),
        (b"text/plain", MediaType::TextPlain),
    ];
    match known.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)) {
        Some((_, media_type)) if means_utf8(parameters) => *media_type,
        _ => MediaType::Other,
    }
}

/// Whether `*( OWS ";" OWS [ parameter ] )` is well formed and every charset in it means UTF-8.
fn means_utf8(parameters: &[u8]) -> bool {
    let mut rest = parameters.trim_ascii();
    while let Some(after) = rest.strip_prefix(b";") {
        rest = after.trim_ascii_start();
        let (name, after) = split_token(rest);
        if name.is_empty() {
            continue;
        }
        let Some(after) = after.strip_prefix(b"=") else { return false };
        let Some((value, after)) = split_value(after) else { return false };
        if name.eq_ignore_ascii_case(b"charset") && !is_utf8_name(value) {
            return false;
        }
        rest = after.trim_ascii_start();
    }
    rest.is_empty()
}

fn is_utf8_name(charset: &[u8]) -> bool {
    [&b"utf-8"[..], b"utf8", b"us-ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name))
}

fn split_token(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, &[]))
}

/// A token, or what stands between quotation marks with its escapes as written: no charset needs one.
fn split_value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let Some(inside) = text.strip_prefix(b"\"") else {
        let (token, rest) = split_token(text);
        return (!token.is_empty()).then_some((token, rest));
    };
    let mut escaped = false;
    for (at, &byte) in inside.iter().enumerate() {
        match byte {
            _ if !is_value_byte(byte) => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => {
                let (value, rest) = inside.split_at_checked(at)?;
                return Some((value, rest.strip_prefix(b"\"")?));
            }
            _ => {}
        }
    }
    None
}

/// The values of all fields of this name in a form, decoded, in the order sent. Stricter than browsers read a form: every
/// field has to decode, the unwanted ones too.
///
/// # Errors
/// 400 for a percent sign without two hexadecimal digits and for anything that does not decode to UTF-8; 413 for more than
/// `limits.batch_messages` fields of this name, since each would carry a message.
pub fn fields<'b>(body: &'b [u8], name: &str, limits: &Limits) -> Result<Vec<Cow<'b, str>>, HttpError> {
    let mut values = Vec::new();
    for field in body.split(|&byte| byte == b'&').filter(|field| !field.is_empty()) {
        let mut halves = field.splitn(2, |&byte| byte == b'=');
        let found = decode(halves.next().unwrap_or_default())?;
        let value = decode(halves.next().unwrap_or_default())?;
        if found != name {
            continue;
        }
        if values.len() >= limits.batch_messages {
            return Err(HttpError::new(Status::ContentTooLarge, "too many fields in a form"));
        }
        values.push(value);
    }
    Ok(values)
}

/// Decodes the percent signs of a part of a path; a plus sign stands for itself. `None` if it does not decode to UTF-8.
pub fn decode_path(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('+') {
        return decode(text.replace('+', "%2B").as_bytes()).ok().map(|decoded| Cow::Owned(decoded.into_owned()));
    }
    decode(text.as_bytes()).ok()
}

/// Decodes a name or a value; borrowed if there is nothing to decode.
fn decode(text: &[u8]) -> Result<Cow<'_, str>, HttpError> {
    let not_utf8 = HttpError::bad_request("a form that is not UTF-8");
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return core::str::from_utf8(text).map(Cow::Borrowed).map_err(|_| not_utf8);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => {
                let (value, after) = percent_digits(after)?;
                decoded.push(value);
                rest = after;
            }
            _ => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| not_utf8)
}

/// The byte that two hexadecimal digits stand for, and what follows them.
fn percent_digits(text: &[u8]) -> Result<(u8, &[u8]), HttpError> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if let [high, low, rest @ ..] = text
        && let (Some(high), Some(low)) = (digit(*high), digit(*low))
    {
        return Ok(((high << 4) | low, rest));
    }
    Err(HttpError::bad_request("a bad percent escape in a form"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn messages(body: &str) -> Result<Vec<String>, Status> {
        let found = fields(body.as_bytes(), "message", &Limits::default()).map_err(|error| error.status)?;
        Ok(found.into_iter().map(Cow::into_owned).collect())
    }

    #[test]
    fn forms() {
        for (body, values) in [
            ("", &[][..]),
            ("message=", &[""]),
            ("message", &[""]),
            ("message=a", &["a"]),
            ("message=a&message=b", &["a", "b"]),
            ("&&x=1&message=a&&y=2&", &["a"]),
            ("message=a=b", &["a=b"]),
            ("message=%5B%7B%22a%22%3A+1%7d%5d", &["[{\"a\": 1}]"]),
            ("message=a%26b%3Dc%2B%25", &["a&b=c+%"]),
            ("%6dessage=a", &["a"]),
            ("message=%C3%A4", &["\u{e4}"]),
            ("message=\u{e4}", &["\u{e4}"]),
            ("message=%00", &["\0"]),
            ("Message=a&messages=b&mess=c", &[]),
        ] {
            let expected: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            assert_eq!(messages(body), Ok(expected), "{body:?}");
        }
    }

    #[test]
    fn bad_forms() {
        for body in [
            "message=%",
            "message=%4",
            "message=%4&x=1",
            "message=%zz",
            "message=%4g",
            "message=%+1",
            "message=%%41",
            "message=%ff",
            "message=%C3",
            "message=%C3&message=%A4",
            "message=%ED%A0%80",
            "x=%",
            "%=1",
            "%ff=1",
            "message=ok&x=%ff",
        ] {
            assert_eq!(messages(body), Err(Status::BadRequest), "{body:?}");
        }
        assert!(fields(b"message=\xff", "message", &Limits::default()).is_err());
        assert!(fields(b"message=a+\xff", "message", &Limits::default()).is_err());
    }

    #[test]
    fn nothing_is_copied_that_needs_no_decoding() {
        let found = fields(b"message=abc&message=a%20c", "message", &Limits::default()).unwrap();
        assert!(matches!(found.as_slice(), [Cow::Borrowed("abc"), Cow::Owned(_)]));
    }

    #[test]
    fn fields_at_their_limit() {
        let limits = Limits { batch_messages: 5, ..Limits::default() };
        for (count, expected) in [(4, Ok(4)), (5, Ok(5)), (6, Err(Status::ContentTooLarge))] {
            let body = format!("{}{}", "x=1&".repeat(10), "message=1&".repeat(count));
            let found = fields(body.as_bytes(), "message", &limits).map(|found| found.len());
            assert_eq!(found.map_err(|error| error.status), expected);
        }
    }

    #[test]
    fn media_types() {
        for (value, expected) in [
            ("application/json", MediaType::Json),
            ("Application/JSON", MediaType::Json),
            ("application/json;charset=UTF-8", MediaType::Json),
            ("application/json ; charset=utf8 ; x=y", MediaType::Json),
            ("application/json;\tCHARSET=\"Utf-8\"", MediaType::Json),
            ("application/json; charset=us-ascii", MediaType::Json),
            ("application/json;", MediaType::Json),
            ("application/json;;; charset=utf-8 ;", MediaType::Json),
            ("application/json; x=\"; charset=latin1\\\"\"; charset=utf-8", MediaType::Json),
            ("text/json", MediaType::TextJson),
            ("application/x-www-form-urlencoded; charset=UTF-8", MediaType::Form),
            ("text/plain;charset=UTF-8", MediaType::TextPlain),
            (" text/plain ", MediaType::TextPlain),
            ("application/json; charset=iso-8859-1", MediaType::Other),
            ("application/json; charset=utf-16", MediaType::Other),
            ("application/json; charset=utf-8; charset=latin1", MediaType::Other),
            ("application/json; charset=\"utf-8", MediaType::Other),
            ("application/json; charset=\"utf-8\"x", MediaType::Other),
            ("application/json; charset=\"utf-8\\\"", MediaType::Other),
            ("application/json; charset=", MediaType::Other),
            ("application/json; charset", MediaType::Other),
            ("application/json; charset = utf-8", MediaType::Other),
            ("application/json; =utf-8", MediaType::Other),
            ("application/json; charset=utf-8, text/plain", MediaType::Other),
            ("application/json charset=utf-8", MediaType::Other),
            ("application/json, text/plain", MediaType::Other),
            ("application/jsonp", MediaType::Other),
            ("application/ json", MediaType::Other),
            ("multipart/form-data; boundary=x", MediaType::Other),
            ("", MediaType::Other),
            (";charset=utf-8", MediaType::Other),
        ] {
            assert_eq!(media_type(value.as_bytes()), expected, "{value:?}");
        }
        assert_eq!(media_type(b"application/json; charset=\xff"), MediaType::Other);
        assert_eq!(media_type(b"application/json; x=\"\0\""), MediaType::Other);
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(values in proptest::collection::vec(any::<String>(), 0..5)) {
            let mut body = String::new();
            for value in &values {
                body.push_str("message=");
                body.extend(value.bytes().map(|byte| format!("%{byte:02X}")));
                body.push('&');
            }
            prop_assert_eq!(messages(&body), Ok(values));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = fields(&bytes, "message", &Limits::default());
            let _ = media_type(&bytes);
            let _ = media_type(&[b"text/plain;", &bytes[..]].concat());
        }
    }
}
