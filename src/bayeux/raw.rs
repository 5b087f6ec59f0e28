//! Looking into a JSON value that is kept as text.
//!
//! Owns the small readers that turn one raw value into a string, a list of strings, the entries of an object or a whole
//! number. The text must have passed [`decode`](mod@super::decode): it is valid JSON without lone surrogates. Must not
//! build trees of values: whatever lies deeper stays text.

use core::fmt;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Digits of a `u64`: a number with more, the first of them not zero, is beyond it.
const MOST_DIGITS: usize = 20;

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
        serde_json::from_str(value.get()).ok().map(|Texts(texts)| texts)
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
/// Above `u64::MAX` it is `u64::MAX`.
#[must_use]
pub fn whole_number(value: &RawValue) -> Option<u64> {
    whole(value.get()).filter(|whole| whole.size == 0 || !whole.negative).map(|whole| whole.size)
}

/// A whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Whether a minus stands before it.
    pub negative: bool,
    /// How large it is without its sign; `u64::MAX` above that.
    pub size: u64,
}

/// A number as JSON writes it, if it is whole: `-5`, `1.0`, `1e3`. Digit by digit: a double would not tell all fractions
/// from whole numbers, and what reads doubles is large.
#[must_use]
pub fn whole(text: &str) -> Option<Whole> {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |unsigned| (true, unsigned));
    // What reads whole numbers takes a plus as well.
    if !unsigned.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if let Ok(size) = unsigned.parse() {
        return Some(Whole { negative, size });
    }
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || before.bytes().chain(after.bytes());
    if mantissa.ends_with('.') || !digits().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // So many digits stand before the point when the exponent has moved it.
    let point = i64::try_from(before.len()).ok()?.saturating_add(exponent_of(exponent)?).max(0);
    let point = usize::try_from(point).unwrap_or(usize::MAX);
    if digits().skip(point).any(|digit| digit != b'0') {
        return None;
    }
    let zeros = point.saturating_sub(before.len()).saturating_sub(after.len()).min(MOST_DIGITS);
    let all = digits().take(point).chain(core::iter::repeat_n(b'0', zeros));
    let push = |size: u64, digit: u8| size.saturating_mul(10).saturating_add(u64::from(digit.saturating_sub(b'0')));
    Some(Whole { negative, size: all.fold(0, push) })
}

/// The value of an exponent; beyond all bounds it is as far as it goes.
fn exponent_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let size = digits.parse().unwrap_or(i64::MAX);
    plain.then_some(if text.starts_with('-') { size.saturating_neg() } else { size })
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

/// The name of a field, without escapes.
pub(super) struct Name<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}

/// Appends to a list that a peer makes as long as it likes. There is room for a quarter more where a `Vec` doubles it, so that
/// the list never takes much more than what stands in it.
pub(super) fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 4).saturating_add(4));
    }
    list.push(item);
}

/// The reader behind [`texts`].
struct Texts<'a>(Vec<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Texts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Texts<'de>, A::Error> {
        let mut texts = Vec::new();
        while let Some(Name(text)) = elements.next_element()? {
            push(&mut texts, text);
        }
        Ok(Texts(texts))
    }
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
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            push(&mut entries, (name, value));
        }
        Ok(Entries(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A peer makes them as long as it likes, of elements shorter than what stands for them here.
    #[test]
    fn long_lists_take_little_more_than_what_is_in_them() {
        for count in [1, 100, 521, 10_000] {
            let most = count + count / 4 + 4;
            let strings = format!("[{}]", vec![r#""""#; count].join(","));
            let texts = texts(serde_json::from_str(&strings).unwrap()).unwrap();
            assert!(texts.len() == count && texts.capacity() <= most, "{} of {count}", texts.capacity());
            let object = format!("{{{}}}", vec![r#""":0"#; count].join(","));
            let entries = entries(serde_json::from_str(&object).unwrap()).unwrap();
            assert!(entries.len() == count && entries.capacity() <= most, "{} of {count}", entries.capacity());
        }
    }

    #[test]
    fn what_json_does_not_write_is_no_number() {
        for text in ["", "-", "+5", "-+5", "1.", ".5", "1.e3", "1e", "1e+", "1.+5", "5 ", " 5", "0x5", "NaN"] {
            assert_eq!(whole(text), None, "{text:?}");
        }
    }

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
            ("1e99999999999999999999999", Some(u64::MAX)),
            ("0e99999999999999999999999", Some(0)),
            ("0e-99999999999999999999999", Some(0)),
            ("1e-99999999999999999999999", None),
            ("1000e-3", Some(1)),
            ("1000e-4", None),
            ("120.00e-1", Some(12)),
            ("0.001e3", Some(1)),
            ("0.001e+4", Some(10)),
            ("0.0011e3", None),
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("18446744073709551615.0", Some(u64::MAX)),
            ("1844674407370955161.5e1", Some(u64::MAX)),
            ("1844674407370955161.4e1", Some(u64::MAX - 1)),
            ("-1", None),
            ("-1e-400", None),
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

    #[test]
    fn texts_that_are_no_numbers_are_not_whole() {
        for text in ["", "-", "e1", ".5", "1e", "1e-", "1e+-1", "1e1.0", "1.0.0", "--1", "1 ", "inf", "nan", "1,0"] {
            assert_eq!(whole(text), None, "{text}");
        }
        assert_eq!(whole("-5.0"), Some(Whole { negative: true, size: 5 }));
    }

    proptest! {
        #[test]
        fn a_number_is_whole_wherever_its_point_stands(number: u64, zeros in 0_usize..30, shift in 1_usize..21) {
            let digits = format!("{number:021}{}", "0".repeat(zeros));
            let (before, after) = digits.split_at(shift);
            let text = format!("{before}.{after}e{}", i128::from(21_u8).saturating_sub(shift as i128));
            prop_assert_eq!(whole(&text), Some(Whole { negative: false, size: number }), "{}", text);
        }
    }
}
