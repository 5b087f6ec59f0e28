//! Looking into a JSON value that is kept as text.
//!
//! Owns the small readers that turn one raw value into a string, a list of strings, the entries of an object or a whole
//! number. The text must have passed [`decode`](mod@super::decode): it is valid JSON without lone surrogates. Must not
//! build trees of values: whatever lies deeper stays text.

use core::fmt;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// One entry of an object: its name without escapes, and its value as text.
pub type Entry<'a> = (Cow<'a, str>, &'a RawValue);

/// The text of a JSON string; `None` for a value of another type. Borrowed unless it contains an escape.
#[must_use]
pub fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    // Without a branch within, which the compiler makes a few wide comparisons.
    if inner.bytes().fold(false, |found, byte| found | (byte == b'\\')) {
        serde_json::from_str::<String>(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// The texts of a JSON array of strings, or of a single string as a list of one; `None` for anything else, and if any
/// element is not a string.
#[must_use]
pub fn texts(value: &RawValue) -> Option<Vec<Cow<'_, str>>> {
    if value.get().starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
        elements.into_iter().map(text).collect()
    } else {
        text(value).map(|single| vec![single])
    }
}

/// The entries of a JSON object, in order, repeated names included; `None` for a value of another type.
#[must_use]
pub fn entries(value: &RawValue) -> Option<Vec<Entry<'_>>> {
    if !is_object(value) {
        return None;
    }
    serde_json::from_str(value.get()).ok().map(|Entries(entries)| entries)
}

/// A JSON number that is whole and not negative, also if it is written as `1.0` or `1e3`; `None` for anything else.
/// Above `u64::MAX` it is `u64::MAX`. A fraction too small for a double counts as 0.
#[must_use]
pub fn whole_number(value: &RawValue) -> Option<u64> {
    let digits = value.get();
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // Nothing but digits can only be too large.
        return Some(digits.parse().unwrap_or(u64::MAX));
    }
    if !digits.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    let number: f64 = digits.parse().ok()?;
    let whole = number >= 0.0 && (number.is_infinite() || number.fract() == 0.0);
    // The cast saturates.
    whole.then_some(number as u64)
}

/// Whether the value is `null`.
#[must_use]
pub fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// Whether the value is an object.
#[must_use]
pub fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// The reader behind [`entries`].
struct Entries<'a>(Vec<Entry<'a>>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some((name, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            // A name is always a string, so nothing is skipped.
            entries.extend(text(name).map(|name| (name, value)));
        }
        Ok(Entries(entries))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn texts_borrow_unless_escaped() {
        assert!(matches!(text(raw(r#""plain é""#)), Some(Cow::Borrowed("plain é"))));
        assert!(matches!(text(raw(r#""""#)), Some(Cow::Borrowed(""))));
        assert_eq!(text(raw(r#""a\"\u00e9\ud83d\ude00\\""#)).unwrap(), "a\"é😀\\");
        for other in ["1", "null", "true", "[]", "{}", r#"["a"]"#] {
            assert_eq!(text(raw(other)), None, "{other}");
        }
    }

    #[test]
    fn lists_of_texts() {
        assert_eq!(texts(raw(r#""a""#)).unwrap(), ["a"]);
        assert_eq!(texts(raw(r#" [ "a" , "b\u0063" ] "#)).unwrap(), ["a", "bc"]);
        assert_eq!(texts(raw("[]")).unwrap().len(), 0);
        for other in [r#"["a",1]"#, r#"[["a"]]"#, r#"["a",null]"#, "5", "{}", "null"] {
            assert_eq!(texts(raw(other)), None, "{other}");
        }
    }

    #[test]
    fn entries_keep_order_repeats_and_text() {
        let object = raw(r#"{ "b" : 1.50 , "\u0061" : [ 1 ] , "b":null}"#);
        let found: Vec<_> = entries(object).unwrap().into_iter().map(|(name, value)| (name, value.get())).collect();
        assert_eq!(found, [("b".into(), "1.50"), ("a".into(), "[ 1 ]"), ("b".into(), "null")]);
        assert!(entries(raw("{}")).unwrap().is_empty());
        for other in ["[]", "1", r#""{}""#, "null"] {
            assert!(entries(raw(other)).is_none(), "{other}");
        }
    }

    #[test]
    fn whole_numbers() {
        let cases = [
            ("0", Some(0)),
            ("30000", Some(30_000)),
            ("1.0", Some(1)),
            ("1.5e1", Some(15)),
            ("3E2", Some(300)),
            ("-0", Some(0)),
            ("-0.0", Some(0)),
            ("18446744073709551614", Some(u64::MAX - 1)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", Some(u64::MAX)),
            ("1e400", Some(u64::MAX)),
            ("-1", None),
            ("-1e400", None),
            ("0.5", None),
            ("\"1\"", None),
            ("true", None),
            ("null", None),
            ("[1]", None),
            ("{}", None),
        ];
        for (text, expected) in cases {
            assert_eq!(whole_number(raw(text)), expected, "{text}");
        }
    }
}
