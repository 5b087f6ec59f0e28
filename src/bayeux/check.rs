//! The pass over a JSON text before it is read.
//!
//! Owns the two rules that the JSON reader does not enforce on values that stay text: how deep arrays and objects may
//! nest (RFC 8259 section 9), and that surrogates come in pairs (RFC 8259 section 7). Must not check syntax: it follows
//! strings exactly as far as they are well formed, and a text that it misreads is malformed at that very place, where
//! the JSON reader stops. Linear, iterative, allocates nothing.

use core::fmt;
use core::iter::Enumerate;
use core::slice::Iter;

/// Bytes that are looked at in one go: so few that a byte can count them.
const PIECE: usize = 128;

/// What the pass found, and at which byte, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The bracket or brace that opens one level too many.
    TooDeep {
        /// Levels allowed, count.
        limit: usize,
        /// Where it stands.
        at: usize,
    },
    /// A `\u` escape that is half of a surrogate pair without the other half right next to it.
    LoneSurrogate {
        /// Where its backslash stands.
        at: usize,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDeep { limit, at } => write!(f, "more than {limit} levels deep at byte {at}"),
            Self::LoneSurrogate { at } => write!(f, "lone surrogate at byte {at}"),
        }
    }
}

impl core::error::Error for Problem {}

/// Bounds the nesting of arrays and objects to `depth_limit`, and refuses lone surrogates in `\u` escapes, in names and
/// values alike.
///
/// # Errors
/// The first [`Problem`] in the order of the text.
pub fn check(text: &[u8], depth_limit: usize) -> Result<(), Problem> {
    if is_plain(text, depth_limit) {
        return Ok(());
    }
    let mut depth = 0_usize;
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => check_string(&mut bytes)?,
            b'[' | b'{' => {
                depth = depth.saturating_add(1);
                if depth > depth_limit {
                    return Err(Problem::TooDeep { limit: depth_limit, at });
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a text cannot have a problem, as hardly any has: no backslash, and in all no more brackets and braces than may
/// be nested. A loop without branches, which the compiler makes a wide one.
fn is_plain(text: &[u8], depth_limit: usize) -> bool {
    let (mut openings, mut backslashes) = (0_usize, 0_usize);
    for piece in text.chunks(PIECE) {
        let (mut opening, mut backslash) = (0_u8, 0_u8);
        for byte in piece {
            opening = opening.wrapping_add(u8::from(matches!(byte, b'[' | b'{')));
            backslash |= u8::from(*byte == b'\\');
        }
        openings = openings.saturating_add(usize::from(opening));
        backslashes = backslashes.saturating_add(usize::from(backslash));
    }
    backslashes == 0 && openings <= depth_limit
}

/// One JSON value by itself, such as the data of an event, under the same two rules.
///
/// # Errors
/// One line that says what is wrong, and where.
pub fn value(text: &[u8], depth_limit: usize) -> Result<&str, String> {
    let text = core::str::from_utf8(text).map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to()))?;
    serde_json::from_str::<&serde_json::value::RawValue>(text).map_err(|error| format!("not JSON: {error}"))?;
    check(text.as_bytes(), depth_limit).map_err(|problem| problem.to_string())?;
    Ok(text.trim())
}

/// Goes on to the end of a string whose opening quote has been read.
fn check_string(bytes: &mut Enumerate<Iter<'_, u8>>) -> Result<(), Problem> {
    // Where a first half of a surrogate pair stands that must be followed by its second half.
    let mut first_half = None;
    while let Some((at, byte)) = bytes.next() {
        let unit = if *byte == b'\\' { escape(bytes) } else { None };
        let second_half = matches!(unit, Some(0xDC00..=0xDFFF));
        match first_half.take() {
            Some(_) if second_half => {}
            Some(lone) => return Err(Problem::LoneSurrogate { at: lone }),
            None if second_half => return Err(Problem::LoneSurrogate { at }),
            None if matches!(unit, Some(0xD800..=0xDBFF)) => first_half = Some(at),
            None if *byte == b'"' => return Ok(()),
            None => {}
        }
    }
    Ok(())
}

/// Reads what follows a backslash: the code unit of a `\u` escape, or nothing of interest.
fn escape(bytes: &mut Enumerate<Iter<'_, u8>>) -> Option<u32> {
    let (_, letter) = bytes.next()?;
    if *letter != b'u' {
        return None;
    }
    let mut unit = 0_u32;
    for _ in 0..4 {
        let (_, digit) = bytes.next()?;
        unit = unit.wrapping_shl(4) | char::from(*digit).to_digit(16)?;
    }
    Some(unit)
}

#[cfg(test)]
mod tests {
    use super::super::decode::decode;
    use super::*;
    use crate::limits::Limits;

    /// The reason why a whole decode refuses the text.
    fn refused(body: &str) -> String {
        decode(body.as_bytes(), &Limits::default()).unwrap_err().reason
    }

    #[test]
    fn lone_surrogates_are_refused_everywhere() {
        for text in [
            r"\ud800",
            r"\udc00",
            r"\uDBFF",
            r"\uDFFF",
            r"\ud83dx",
            r"\ud83d\n",
            r"\ud83d\u0041",
            r"\ud83d\ud83d\ude00",
            r"\ude00\ud83d",
            r"\\\ud800",
            r"a\ud83d\\ude00",
            r"\ud83d\ude00\ude00",
        ] {
            for body in [
                format!(r#"[{{"data":{{"a":["{text}"]}}}}]"#),
                format!(r#"[{{"data":{{"{text}":1}}}}]"#),
                format!(r#"[{{"{text}":1}}]"#),
                format!(r#"[{{"channel":"{text}"}}]"#),
                format!(r#"[{{"timestamp":"{text}"}}]"#),
                format!(r#"[{{"id":"{text}"}}]"#),
            ] {
                assert!(refused(&body).starts_with("lone surrogate at byte "), "{body}");
            }
        }
        assert_eq!(refused(r#"{"a":"x\ud800"}"#), "lone surrogate at byte 7");
        assert_eq!(refused(r#"{"a":"x\ud800\ud83d\ude00"}"#), "lone surrogate at byte 7");
    }

    #[test]
    fn pairs_and_look_alikes_pass() {
        for text in [
            r"\ud83d\ude00",
            r"\uD83D\uDE00\uD83D\uDE00",
            r"\\ud800",
            r"\\\\ud800",
            r"\\\ud83d\udE00",
            r"\ud7ff\ue000",
            r"\u005cud800",
        ] {
            let body = format!(r#"[{{"{text}":1,"data":"{text}"}}]"#);
            let messages = decode(body.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(messages.first().unwrap().data.unwrap().get(), format!("\"{text}\""), "{text}");
        }
    }

    #[test]
    fn nesting_at_the_limit() {
        let limits = Limits { json_depth: 5, ..Limits::default() };
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        for (inner, expected) in [(2, true), (3, true), (4, false)] {
            for value in [nested(inner), objects(inner)] {
                let batch = format!("[{{\"data\":{value}}}]");
                assert_eq!(decode(batch.as_bytes(), &limits).is_ok(), expected, "{batch}");
                // Without the batch's array there is one level more.
                let single = format!("{{\"data\":[{value}]}}");
                assert_eq!(decode(single.as_bytes(), &limits).is_ok(), expected, "{single}");
            }
        }
        let error = decode(b"[[[[[[", &limits).unwrap_err();
        assert_eq!(error.reason, "more than 5 levels deep at byte 5");
        // Brackets in strings and in what has been closed do not count.
        assert!(decode(br#"[{"data":["[[[[{{{{","\\",[],[],{},"\"[[[[["]},{"[[[[[[":1}]"#, &limits).is_ok());
        // Closing brackets in strings do not make room.
        assert!(decode(br#"[{"data":["]]]]]","}\"}",[[[1]]]]}]"#, &limits).is_err());
    }

    #[test]
    fn misread_strings_are_malformed() {
        // The escape takes the closing quote with it here, and the end of the text.
        for text in ["{\"a\":\"\\u\"}", "{\"a\":\"\\u12\"}", "{\"a\\", "{\"a\\u", "{\"a\\ud8", "{\"\\ud83d"] {
            let _ = check(text.as_bytes(), 32);
            assert!(!refused(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn the_problem_is_where_it_says() {
        assert_eq!(check(b"[{[", 2), Err(Problem::TooDeep { limit: 2, at: 2 }));
        assert_eq!(check(br#""ab\ud800""#, 0), Err(Problem::LoneSurrogate { at: 3 }));
        assert_eq!(check(b"[]{}[]", 1), Ok(()));
        assert_eq!(check(b"]]][", 1), Ok(()));
    }
}
