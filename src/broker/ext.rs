//! The extensions that the server speaks itself: acknowledgement, timesync, replay.
//!
//! Owns what of them stands in the `ext` of a message, and in that of a reply. The order of extensions is the same for all
//! that are to come: what a message says is read once, before anything acts on it; an event is marked once, before it is
//! encoded; and what concerns one session alone stands on replies only.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::bayeux::{Message, encode, raw};

/// An answer about the time goes if the client was wrong by so much, ms; and whenever it knows no lag yet.
const SYNC_FROM_MS: i64 = 25;

/// What the `ext` of a message says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// Of acknowledgement.
    pub ack: Option<Ack>,
    /// Of the time.
    pub sync: Option<TimeSync>,
    /// Of replay: `true` in a handshake, a map from names to numbers in a subscribe.
    pub replay: Option<&'a RawValue>,
}

/// What a client says of acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// It will, or goes on to.
    On,
    /// It will not any more.
    Off,
    /// It has this batch; 0 is none.
    Batch(u64),
}

/// The question of a client how far its clock is off (CometD's timesync extension), with our answer to it. All in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSync {
    /// When the client sent it, by its clock.
    sent: i64,
    /// When it came, by ours.
    came: i64,
    /// By how much the client's guess was too high.
    error: i64,
}

impl TimeSync {
    fn read(value: &RawValue, unix_ms: u64) -> Option<Self> {
        let entries = raw::entries(value)?;
        let number = |name: &str| entries.iter().find(|(own, _)| own == name).and_then(|(_, value)| integer(value));
        let (sent, lag, offset) = (number("tc")?, number("l").unwrap_or(0), number("o").unwrap_or(0));
        let came = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        let error = sent.saturating_add(offset).saturating_add(lag).saturating_sub(came);
        (lag == 0 || error.saturating_abs() >= SYNC_FROM_MS).then_some(Self { sent, came, error })
    }

    /// Appends the answer, given at this time.
    fn write(&self, unix_ms: u64, out: &mut Vec<u8>) {
        let held = i64::try_from(unix_ms).unwrap_or(i64::MAX).saturating_sub(self.came).max(0);
        let Self { sent, came, error } = self;
        out.extend_from_slice(format!(r#"{{"tc":{sent},"ts":{came},"p":{held},"a":{error}}}"#).as_bytes());
    }
}

/// A number or a text that is one: a whole one within the range of an `i64`.
pub fn integer(value: &RawValue) -> Option<i64> {
    let text = raw::text(value);
    let digits = text.as_deref().unwrap_or(value.get());
    let raw::Whole { negative, size } = raw::whole(digits)?;
    let size = i128::from(size);
    i64::try_from(if negative { size.saturating_neg() } else { size }).ok()
}

impl<'a> Said<'a> {
    /// Reads a message's `ext`, at this time.
    pub fn of(message: &Message<'a>, unix_ms: u64) -> Self {
        let mut said = Self::default();
        let Some(entries) = message.ext.and_then(raw::entries) else { return said };
        for (name, value) in entries {
            match &*name {
                "ack" => {
                    said.ack = match value.get() {
                        "true" => Some(Ack::On),
                        "false" => Some(Ack::Off),
                        // −1 is what clients say before their first batch.
                        _ => integer(value).map(|batch| Ack::Batch(u64::try_from(batch).unwrap_or(0))),
                    };
                }
                "timesync" => said.sync = TimeSync::read(value, unix_ms),
                "replay" => said.replay = Some(value),
                _ => {}
            }
        }
        said
    }

    /// The map of a subscribe from names to numbers; of a name that stands twice the first one counts.
    pub fn replay_map(&self) -> HashMap<Cow<'a, str>, &'a RawValue> {
        self.replay.and_then(raw::entries).unwrap_or_default().into_iter().rev().collect()
    }
}

/// The number from which on a name is to be read, as its text and its value.
pub fn replay_number(value: &RawValue) -> (&str, Option<i64>) {
    (value.get().trim_matches('"'), integer(value))
}

/// What goes into the `ext` of a reply.
#[derive(Debug, Default)]
pub struct Told {
    json: Vec<u8>,
}

impl Told {
    /// Adds an entry, which `write` writes as JSON.
    pub fn add(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.json.push(if self.json.is_empty() { b'{' } else { b',' });
        encode::string(&mut self.json, name);
        self.json.push(b':');
        write(&mut self.json);
    }

    /// Adds the answer about the time, if there was a question.
    pub fn add_sync(&mut self, sync: Option<TimeSync>, unix_ms: u64) {
        if let Some(sync) = sync {
            self.add("timesync", |out| sync.write(unix_ms, out));
        }
    }

    /// The object; `None` if there is nothing to say.
    pub fn finish(mut self) -> Option<String> {
        if self.json.is_empty() {
            return None;
        }
        self.json.push(b'}');
        String::from_utf8(self.json).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayeux::decode;
    use crate::limits::Limits;

    fn with_ext<T>(ext: &str, look: impl FnOnce(Said<'_>) -> T) -> T {
        let body = format!(r#"{{"channel":"/meta/connect","ext":{ext}}}"#);
        let messages = decode(body.as_bytes(), &Limits::default()).unwrap();
        look(Said::of(&messages[0], 1_000_000))
    }

    #[test]
    fn what_a_message_says_of_acknowledgement() {
        for (ext, expected) in [
            (r#"{"ack":true}"#, Some(Ack::On)),
            (r#"{"ack":false}"#, Some(Ack::Off)),
            (r#"{"ack":-1}"#, Some(Ack::Batch(0))),
            (r#"{"ack":17}"#, Some(Ack::Batch(17))),
            (r#"{"ack":"x"}"#, None),
            (r#"{"ack":{}}"#, None),
            ("{}", None),
        ] {
            assert_eq!(with_ext(ext, |said| said.ack), expected, "{ext}");
        }
    }

    #[test]
    fn the_time_is_answered_to_who_does_not_know_it() {
        let answer = |ext: &str| {
            with_ext(ext, |said| {
                let mut told = Told::default();
                told.add_sync(said.sync, 1_000_300);
                told.finish()
            })
        };
        let expected = |tc: i64, a: i64| Some(format!(r#"{{"timesync":{{"tc":{tc},"ts":1000000,"p":300,"a":{a}}}}}"#));
        assert_eq!(answer(r#"{"timesync":{"tc":999000,"l":0,"o":0}}"#), expected(999_000, -1_000));
        assert_eq!(answer(r#"{"timesync":{"tc":999990,"l":5,"o":5}}"#), None, "right to the millisecond");
        assert_eq!(answer(r#"{"timesync":{"tc":999990,"l":10,"o":24}}"#), None);
        assert_eq!(answer(r#"{"timesync":{"tc":999990,"l":10,"o":25}}"#), expected(999_990, 25));
        assert_eq!(answer(r#"{"timesync":{"tc":999990,"l":10,"o":-25}}"#), expected(999_990, -25));
        for nothing in [r#"{"timesync":{}}"#, r#"{"timesync":5}"#, r#"{"timesync":{"tc":"x"}}"#] {
            assert_eq!(answer(nothing), None, "{nothing}");
        }
        let far = r#"{"timesync":{"tc":-9223372036854775808,"l":0,"o":-5}}"#;
        assert!(answer(far).is_some(), "no overflow");
    }

    #[test]
    fn numbers_are_numbers_or_texts_of_numbers() {
        let of = |value: &str| {
            with_ext(&format!(r#"{{"replay":{{"/a":{value}}}}}"#), |said| {
                let (text, number) = replay_number(said.replay_map().get("/a")?);
                Some((text.to_owned(), number))
            })
        };
        for (value, text, number) in [
            ("-1", "-1", Some(-1)),
            (r#""-2""#, "-2", Some(-2)),
            (r#""123""#, "123", Some(123)),
            ("1882193920000001", "1882193920000001", Some(1_882_193_920_000_001)),
            ("1e3", "1e3", Some(1_000)),
            (r#""-5.0""#, "-5.0", Some(-5)),
            ("-9223372036854775808", "-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", "9223372036854775808", None),
            ("-1e300", "-1e300", None),
            ("1.5", "1.5", None),
            (r#""x""#, "x", None),
            ("null", "null", None),
            ("true", "true", None),
        ] {
            assert_eq!(of(value), Some((text.to_owned(), number)), "{value}");
        }
        assert!(with_ext(r#"{"replay":{"/b":1}}"#, |said| !said.replay_map().contains_key("/a")));
        assert!(with_ext(r#"{"replay":true}"#, |said| !said.replay_map().contains_key("/a")));
    }

    #[test]
    fn entries_stand_in_one_object() {
        let mut told = Told::default();
        told.add("ack", |out| encode::decimal(out, 5));
        told.add("gap", |out| out.extend_from_slice(b"{}"));
        assert_eq!(told.finish().as_deref(), Some(r#"{"ack":5,"gap":{}}"#));
        assert_eq!(Told::default().finish(), None);
    }
}
