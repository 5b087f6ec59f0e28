//! A request body or a frame into messages (Bayeux 1.0, "Message Encoding").
//!
//! Owns every rule about what text is acceptable, before any message acts: a text is taken as a whole or refused as a
//! whole. Must not act on messages, and must not judge channels or sessions.
//!
//! Three passes, each linear and none recursive: the bytes must be UTF-8; [`check`] bounds the nesting and refuses lone
//! surrogates, which would otherwise slip through inside values that stay text; then the JSON reader splits the batch
//! into messages, checking all syntax on its way. Memory: at most [`Limits::batch_messages`] messages, and per message
//! lists whose elements take at most some ten times the bytes of their text.

use super::check::check;
use super::message::{Advice, Field, FieldError, Id, Message, Subscription};
use super::raw::{self, Name};
use crate::limits::{self, Limits};
use core::fmt;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Whose fault, in terms that every transport can translate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// Not a batch of messages: HTTP 400, WebSocket 1007.
    BadRequest,
    /// More messages than a batch may have: HTTP 413, WebSocket 1008.
    TooLarge,
}

/// Why a text was refused. Nothing of it has been acted upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Whose fault.
    pub kind: DecodeErrorKind,
    /// One line for a person: what is wrong and where. Contains nothing that the peer wrote.
    pub reason: String,
}

impl DecodeError {
    fn bad(reason: String) -> Self {
        Self { kind: DecodeErrorKind::BadRequest, reason }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl core::error::Error for DecodeError {}

/// Reads one text: an array of messages, or a single message (Bayeux 1.0, "Message Encoding").
///
/// # Errors
/// [`DecodeErrorKind::TooLarge`] for more than [`Limits::batch_messages`] messages, even if malformed text follows
/// them. [`DecodeErrorKind::BadRequest`] for anything else: not UTF-8, malformed JSON or something after it, nesting
/// over [`Limits::json_depth`], a lone surrogate, a message that is not an object, a protocol field twice in one
/// message.
pub fn decode<'a>(body: &'a [u8], limits: &Limits) -> Result<Vec<Message<'a>>, DecodeError> {
    let mut messages = Vec::new();
    decode_into(&mut messages, body, limits)?;
    Ok(messages)
}

/// Reads one text of several, as a form has them: appends to `messages`, and counts what is already there against
/// [`Limits::batch_messages`].
///
/// # Errors
/// Those of [`decode`]; `messages` is then as it was before the call.
pub fn decode_into<'a>(messages: &mut Vec<Message<'a>>, body: &'a [u8], limits: &Limits) -> Result<(), DecodeError> {
    let before = messages.len();
    let result = read(messages, body, limits);
    if result.is_err() {
        messages.truncate(before);
    }
    result
}

/// All passes; leaves a refused text's first messages behind.
fn read<'a>(messages: &mut Vec<Message<'a>>, body: &'a [u8], limits: &Limits) -> Result<(), DecodeError> {
    let text = core::str::from_utf8(body)
        .map_err(|error| DecodeError::bad(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
    check(body, limits.json_depth).map_err(|problem| DecodeError::bad(problem.to_string()))?;
    let mut reader = Reader { messages, limit: limits.batch_messages, number: 0, failure: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let result = json.deserialize_any(Batch(&mut reader)).and_then(|()| json.end());
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(reader.failure.take().unwrap_or_else(|| describe(text, &error, reader.number))),
    }
}

/// Puts the JSON reader's error into our words. An error about data, as opposed to syntax, can only be a visitor below
/// that met a value of a type it does not read.
fn describe(text: &str, error: &serde_json::Error, number: usize) -> DecodeError {
    if error.is_data() && number == 0 {
        DecodeError::bad("neither a message nor an array of messages".to_string())
    } else if error.is_data() {
        DecodeError::bad(format!("message {number} is not an object"))
    } else if error.is_eof() {
        DecodeError::bad(format!("incomplete JSON: the text ends at byte {}", text.len()))
    } else {
        let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
        let offset = lines.map(str::len).sum::<usize>().saturating_add(error.column().saturating_sub(1));
        DecodeError::bad(format!("malformed JSON at byte {offset}"))
    }
}

/// The state of the pass that makes messages.
struct Reader<'m, 'a> {
    messages: &'m mut Vec<Message<'a>>,
    /// How many messages there may be, those of earlier texts included.
    limit: usize,
    /// The message being read, counted from 1 within this text.
    number: usize,
    /// Our own verdict, if it was ours that stopped the JSON reader.
    failure: Option<DecodeError>,
}

impl<'a> Reader<'_, 'a> {
    /// Keeps our verdict and makes the error that stops the JSON reader.
    fn fail<E: serde::de::Error>(&mut self, failure: DecodeError) -> E {
        self.failure = Some(failure);
        E::custom("refused")
    }

    /// Counts a message before it is read.
    fn start<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.number = self.number.saturating_add(1);
        if self.messages.len() < self.limit {
            return Ok(());
        }
        let reason = format!("more than {} messages in a batch", self.limit);
        Err(self.fail(DecodeError { kind: DecodeErrorKind::TooLarge, reason }))
    }

    /// Reads the fields of one message.
    fn message<A: MapAccess<'a>>(&mut self, mut map: A) -> Result<(), A::Error> {
        let mut message = Message::default();
        let mut seen = 0_u32;
        while let Some((Name(name), value)) = map.next_entry::<Name<'a>, &'a RawValue>()? {
            let Some(field) = Field::from_name(&name) else {
                raw::push(&mut message.extra, (name, value));
                continue;
            };
            let bit = 1_u32.wrapping_shl(field as u32);
            let repeated = if seen & bit == 0 { set(&mut message, field, value) } else { Some(field.name()) };
            seen |= bit;
            if let Some(name) = repeated {
                return Err(self.fail(DecodeError::bad(format!("message {}: {name} appears twice", self.number))));
            }
        }
        self.messages.push(message);
        Ok(())
    }
}

/// Reads the whole text.
struct Batch<'r, 'm, 'a>(&'r mut Reader<'m, 'a>);

impl<'a> Visitor<'a> for Batch<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message or an array of messages")
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<(), A::Error> {
        self.0.start()?;
        self.0.message(map)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(Element(self.0))?.is_some() {}
        Ok(())
    }
}

/// Reads one element of the array.
struct Element<'r, 'm, 'a>(&'r mut Reader<'m, 'a>);

impl<'a> DeserializeSeed<'a> for Element<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.start()?;
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Element<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<(), A::Error> {
        self.0.message(map)
    }
}

/// Stores a known field, or marks the message if the value is of the wrong type. Returns the name of a field within the
/// value that appears twice.
fn set<'a>(message: &mut Message<'a>, field: Field, value: &'a RawValue) -> Option<&'static str> {
    if field != Field::Data && raw::is_null(value) {
        return None;
    }
    let valid = match field {
        Field::Channel => store(&mut message.channel, raw::text(value)),
        Field::Id => store(&mut message.id, id(value)),
        Field::ClientId => store(&mut message.client_id, raw::text(value)),
        Field::Version => store(&mut message.version, raw::text(value)),
        Field::MinimumVersion => store(&mut message.minimum_version, raw::text(value)),
        Field::SupportedConnectionTypes => store(&mut message.supported_connection_types, raw::texts(value)),
        Field::ConnectionType => store(&mut message.connection_type, raw::text(value)),
        Field::Subscription => {
            let names = raw::texts(value).unwrap_or_default();
            let valid = !names.is_empty();
            message.subscription = Some(Subscription { raw: value, names });
            valid
        }
        Field::Data => store(&mut message.data, Some(value)),
        Field::Advice => match advice(value) {
            Ok(advice) => store(&mut message.advice, advice),
            Err(repeated) => return Some(repeated),
        },
        Field::Ext => store(&mut message.ext, raw::is_object(value).then_some(value)),
        Field::Successful | Field::Error | Field::Timestamp => true,
    };
    if !valid && message.invalid.is_none() {
        message.invalid = Some(FieldError { field });
    }
    None
}

/// Fills a field; says whether there was a value to fill it with.
fn store<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    *slot = value;
    slot.is_some()
}

/// An id is a string or a number, as text.
fn id(value: &RawValue) -> Option<Id<'_>> {
    let text = value.get();
    let typed = text.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit());
    (typed && text.len() <= limits::MESSAGE_ID_BYTES).then_some(Id(text))
}

/// Reads `timeout` and `interval` of an object and nothing else. `Ok(None)` if they, or the whole, are of the wrong
/// type; an error names the one that appears twice.
fn advice(value: &RawValue) -> Result<Option<Advice>, &'static str> {
    let Some(entries) = raw::entries(value) else { return Ok(None) };
    let (mut timeout, mut interval) = (None, None);
    for (name, value) in entries {
        let (slot, repeated) = match &*name {
            "timeout" => (&mut timeout, "advice.timeout"),
            "interval" => (&mut interval, "advice.interval"),
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(repeated);
        }
    }
    let (Some(timeout), Some(interval)) = (milliseconds(timeout), milliseconds(interval)) else { return Ok(None) };
    Ok(Some(Advice { timeout, interval }))
}

/// A time that may be absent or null. The outer `None` is a value of the wrong type.
fn milliseconds(value: Option<&RawValue>) -> Option<Option<u64>> {
    match value.filter(|value| !raw::is_null(value)) {
        None => Some(None),
        Some(value) => raw::whole_number(value).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel::{Kind, Meta};
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn read_all(body: &str) -> Result<Vec<Message<'_>>, DecodeError> {
        decode(body.as_bytes(), &Limits::default())
    }

    fn one(body: &str) -> Message<'_> {
        let mut messages = read_all(body).unwrap();
        assert_eq!(messages.len(), 1, "{body}");
        messages.remove(0)
    }

    /// The reason of a refusal with 400.
    fn refused(body: impl AsRef<[u8]>) -> String {
        let error = decode(body.as_ref(), &Limits::default()).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::BadRequest);
        assert!(!error.reason.contains(['\r', '\n']));
        error.reason
    }

    #[test]
    fn every_field() {
        let message = one(
            r#" [ {"channel":"/meta/\u0068andshake","id":"é1","clientId":"c","version":"1.0","minimumVersion":"0.9",
            "supportedConnectionTypes":["a","b"],"connectionType":"t","subscription": ["/x", "/y/\u002a"] ,
            "data": { "n" : 0.10 } ,"successful":5,"error":[],"timestamp":{},"ext": {"ack":true} ,
            "advice":{"timeout":1,"interval":2.0,"reconnect":7},"own":1,"o\u0077n":null} ] "#,
        );
        assert_eq!(message.channel.as_deref(), Some("/meta/handshake"));
        assert_eq!(message.kind(), Some(Kind::Meta(Meta::Handshake)));
        assert_eq!(message.id.unwrap().as_json(), "\"é1\"");
        assert_eq!(message.client_id.as_deref(), Some("c"));
        assert_eq!(message.version.as_deref(), Some("1.0"));
        assert_eq!(message.minimum_version.as_deref(), Some("0.9"));
        assert_eq!(message.supported_connection_types.unwrap(), ["a", "b"]);
        assert_eq!(message.connection_type.as_deref(), Some("t"));
        let subscription = message.subscription.unwrap();
        assert_eq!(subscription.raw.get(), r#"["/x", "/y/\u002a"]"#);
        assert_eq!(subscription.names, ["/x", "/y/*"]);
        assert_eq!(message.data.unwrap().get(), r#"{ "n" : 0.10 }"#);
        assert_eq!(message.ext.unwrap().get(), r#"{"ack":true}"#);
        assert_eq!(message.advice, Some(Advice { timeout: Some(1), interval: Some(2) }));
        let extra: Vec<_> = message.extra.iter().map(|(name, value)| (&**name, value.get())).collect();
        assert_eq!(extra, [("own", "1"), ("own", "null")]);
        assert_eq!(message.invalid, None);
    }

    #[test]
    fn nothing_at_all_and_null() {
        let nulls: Vec<String> = Field::ALL.iter().map(|field| format!("\"{}\":null", field.name())).collect();
        for body in ["{}".to_string(), format!("{{{}}}", nulls.join(","))] {
            let message = one(&body);
            assert!(message.channel.is_none() && message.id.is_none() && message.client_id.is_none());
            assert!(message.connection_type.is_none() && message.supported_connection_types.is_none());
            assert!(message.version.is_none() && message.minimum_version.is_none());
            assert!(message.subscription.is_none() && message.ext.is_none() && message.advice.is_none());
            assert!(message.extra.is_empty() && message.invalid.is_none() && message.kind().is_none());
            assert_eq!(message.data.map(RawValue::get), (body != "{}").then_some("null"));
        }
    }

    #[test]
    fn batches_and_single_messages() {
        assert_eq!(read_all("[]").unwrap().len(), 0);
        assert_eq!(read_all(" [ ] \r\n\t").unwrap().len(), 0);
        assert_eq!(read_all("[{},{}]").unwrap().len(), 2);
        assert_eq!(read_all(" {} ").unwrap().len(), 1);
        let order: Vec<_> = read_all(r#"[{"id":1},{"id":2},{"id":3}]"#).unwrap().into_iter().map(|m| m.id).collect();
        assert_eq!(order, [Some(Id("1")), Some(Id("2")), Some(Id("3"))]);
    }

    #[test]
    fn other_values_are_refused() {
        for body in ["null", "true", "1", "-1.5", "\"[]\""] {
            assert_eq!(refused(body), "neither a message nor an array of messages", "{body}");
        }
        for element in ["null", "false", "1", "-1.5", "\"{}\"", "[]", "[{}]"] {
            assert_eq!(refused(format!("[{{}},{element},{{}}]")), "message 2 is not an object", "{element}");
        }
    }

    #[test]
    fn malformed_text_is_refused() {
        for body in ["", " ", "[", "[{}", "[{},", "{\"a\"", "{\"a\":", "{\"a\":\"", "{\"a\":\"\\", "[{\"a\":[1,{"] {
            assert_eq!(refused(body), format!("incomplete JSON: the text ends at byte {}", body.len()), "{body}");
        }
        let cases = [
            ("[{},]", 4),
            ("[{}]x", 4),
            ("{}{}", 2),
            ("[{}] \n ]", 7),
            ("[{}}", 3),
            ("{'a':1}", 1),
            ("{1:1}", 1),
            ("\u{feff}{}", 0),
            ("[\n\n{\"a\":\n 01}]", 11),
        ];
        for (body, at) in cases {
            assert_eq!(refused(body), format!("malformed JSON at byte {at}"), "{body}");
        }
        for value in [
            "01",
            "+1",
            ".5",
            "1.",
            "1e",
            "nul",
            "NaN",
            "'x'",
            "\"\t\"",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "[1,]",
            "{,}",
            "\0",
            "//",
            "\u{a0}1",
        ] {
            refused(format!("[{{\"a\":{value}}}]"));
            refused(format!("[{{\"data\":[{value}]}}]"));
        }
        refused("{\"a\\u00\":1}");
        refused("{\"a\tb\":1}");
    }

    #[test]
    fn only_utf_8() {
        assert_eq!(refused(b"[{\"a\":\"\xff\"}]"), "not UTF-8 at byte 7");
        assert_eq!(refused(b"[{\"a\":\"\xc3"), "not UTF-8 at byte 7");
        // A surrogate written in three bytes, and an overlong slash.
        assert_eq!(refused(b"{\"\xed\xa0\x80\":1}"), "not UTF-8 at byte 2");
        assert_eq!(refused(b"{\"\xc0\xaf\":1}"), "not UTF-8 at byte 2");
    }

    #[test]
    fn messages_at_the_limit() {
        let limits = Limits { batch_messages: 3, ..Limits::default() };
        let batch = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
        for count in 0..=3 {
            assert_eq!(decode(batch(count).as_bytes(), &limits).unwrap().len(), count);
        }
        let error = decode(batch(4).as_bytes(), &limits).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::TooLarge);
        assert_eq!(error.to_string(), "more than 3 messages in a batch");
        let none = Limits { batch_messages: 0, ..Limits::default() };
        assert_eq!(decode(b"{}", &none).unwrap_err().kind, DecodeErrorKind::TooLarge);
        assert!(decode(b"[]", &none).unwrap().is_empty());
    }

    #[test]
    fn the_limit_stops_the_reading() {
        let limits = Limits { batch_messages: 2, ..Limits::default() };
        let error = decode(b"[{},{},{!!!", &limits).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::TooLarge);
        assert_eq!(decode(b"[{},{!!!", &limits).unwrap_err().kind, DecodeErrorKind::BadRequest);
        assert_eq!(decode(b"[{},{},]", &limits).unwrap_err().kind, DecodeErrorKind::BadRequest);
    }

    #[test]
    fn several_texts_share_the_limit_and_a_refused_one_leaves_no_trace() {
        let limits = Limits { batch_messages: 3, ..Limits::default() };
        let mut messages = Vec::new();
        decode_into(&mut messages, b"[{\"id\":1},{\"id\":2}]", &limits).unwrap();
        let error = decode_into(&mut messages, b"[{},{}]", &limits).unwrap_err();
        assert_eq!((error.kind, messages.len()), (DecodeErrorKind::TooLarge, 2));
        let error = decode_into(&mut messages, b"[{},", &limits).unwrap_err();
        assert_eq!((error.kind, messages.len()), (DecodeErrorKind::BadRequest, 2));
        let error = decode_into(&mut messages, b"[7]", &limits).unwrap_err();
        assert_eq!(error.reason, "message 1 is not an object");
        decode_into(&mut messages, b"{\"id\":3}", &limits).unwrap();
        decode_into(&mut messages, b"[]", &limits).unwrap();
        let error = decode_into(&mut messages, b"{}", &limits).unwrap_err();
        assert_eq!((error.kind, messages.len()), (DecodeErrorKind::TooLarge, 3));
        assert_eq!(messages[2].id.unwrap().as_json(), "3");
    }

    #[test]
    fn depth_costs_no_stack() {
        let limits = Limits { json_depth: usize::MAX, ..Limits::default() };
        let deep = 400_000;
        let body = format!("[{{\"data\":{}{}}}]", "[".repeat(deep), "]".repeat(deep));
        assert_eq!(decode(body.as_bytes(), &limits).unwrap()[0].data.unwrap().get().len(), 2 * deep);
        for field in Field::ALL {
            let body = format!("{{\"{}\":{}{}}}", field.name(), "{\"a\":[".repeat(deep), "]}".repeat(deep));
            let _ = decode(body.as_bytes(), &limits);
        }
        let body = format!("{{\"subscription\":{}{}}}", "[".repeat(deep), "]".repeat(deep));
        assert!(decode(body.as_bytes(), &limits).unwrap()[0].invalid.is_some());
        assert!(refused("[".repeat(deep)).starts_with("more than 32 levels"));
    }

    #[test]
    fn a_protocol_field_twice_is_refused() {
        for field in Field::ALL {
            let name = field.name();
            let escaped = format!("\\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..]);
            for (first, second) in [(name, name), (name, &*escaped), (&*escaped, name), (&*escaped, &*escaped)] {
                for value in ["null", "\"1\"", "{}"] {
                    let body = format!("[{{}},{{\"{first}\":{value},\"x\":1,\"{second}\":null}}]");
                    assert_eq!(refused(body), format!("message 2: {name} appears twice"));
                }
            }
        }
        assert_eq!(refused(r#"{"channel":"/a","ch\u0061nnel":"/b"}"#), "message 1: channel appears twice");
        assert_eq!(refused(r#"{"advice":{"timeout":0,"timeout":1}}"#), "message 1: advice.timeout appears twice");
        assert_eq!(
            refused(r#"{"advice":{"interval":0,"\u0069nterval":null}}"#),
            "message 1: advice.interval appears twice"
        );
    }

    #[test]
    fn other_repeats_pass() {
        assert_eq!(one(r#"{"x":1,"x":2,"\u0078":3}"#).extra.len(), 3);
        assert_eq!(read_all(r#"[{"channel":"/a"},{"channel":"/a"}]"#).unwrap().len(), 2);
        let message =
            one(r#"{"data":{"id":1,"id":2},"ext":{"a":1,"a":2},"advice":{"x":1,"x":2},"Channel":1,"channel":"/a"}"#);
        assert_eq!((message.invalid, message.extra.len()), (None, 1));
    }

    #[test]
    fn fields_of_a_wrong_type_mark_the_message_and_no_other() {
        let text = "1 true [] {} [\"a\"] {\"a\":1}";
        let list = "1 true {} [1] [\"a\",null] [\"a\",[\"b\"]]";
        let cases = [
            (Field::Channel, text),
            (Field::ClientId, text),
            (Field::Version, text),
            (Field::MinimumVersion, text),
            (Field::ConnectionType, text),
            (Field::Id, "true false [] {} [1]"),
            (Field::SupportedConnectionTypes, list),
            (Field::Subscription, list),
            (Field::Subscription, "[]"),
            (Field::Ext, "1 true \"{}\" [] [{}]"),
            (Field::Advice, "1 true \"{}\" [] [{}]"),
        ];
        for (field, values) in cases {
            for value in values.split(' ') {
                let body = format!("[{{\"id\":1}},{{\"x\":1,\"{}\":{value},\"data\":2}},{{\"id\":3}}]", field.name());
                let messages = read_all(&body).unwrap();
                let marks: Vec<_> = messages.iter().map(|message| message.invalid).collect();
                assert_eq!(marks, [None, Some(FieldError { field }), None], "{body}");
                assert_eq!(messages[1].data.unwrap().get(), "2");
                assert_eq!(
                    messages[1].subscription.as_ref().map(|s| s.raw.get()),
                    (field == Field::Subscription).then_some(value)
                );
                assert!(messages[1].subscription.as_ref().is_none_or(|s| s.names.is_empty()));
                assert!(messages[1].id.is_none() && messages[1].channel.is_none() && messages[1].ext.is_none());
            }
        }
    }

    #[test]
    fn the_first_wrong_field_is_named_and_the_id_is_kept() {
        let message = one(r#"{"version":"1.0","ext":1,"channel":2,"id":"7","advice":3}"#);
        assert_eq!(message.invalid, Some(FieldError { field: Field::Ext }));
        assert_eq!(message.id.unwrap().as_json(), "\"7\"");
        for value in ["1", "true", "\"x\"", "[]", "{}"] {
            let text = r#"{"successful":V,"error":V,"timestamp":V,"data":V,"x":V}"#.replace('V', value);
            let message = one(&text);
            assert_eq!((message.invalid, message.data.unwrap().get()), (None, value));
        }
    }

    #[test]
    fn ids_at_the_limit() {
        for (length, expected) in [(255, true), (256, true), (257, false)] {
            for id in [format!("\"{}\"", "x".repeat(length - 2)), "1".repeat(length)] {
                let body = format!("{{\"id\": {id} }}");
                let message = one(&body);
                assert_eq!(message.id.map(Id::as_json), expected.then_some(&*id), "{length}");
                assert_eq!(message.invalid.is_none(), expected);
            }
        }
        assert_eq!(limits::MESSAGE_ID_BYTES, 256);
        for id in ["0", "-7", "1.5e300", "\"\"", "\"\\u0041\""] {
            assert_eq!(one(&format!("{{\"id\":{id}}}")).id.unwrap().as_json(), id);
        }
    }

    #[test]
    fn advice_is_read_for_two_times_only() {
        let read = |value: &str| one(&format!("{{\"advice\":{value}}}")).advice;
        let advice = |timeout, interval| Some(Advice { timeout, interval });
        assert_eq!(read("{}"), advice(None, None));
        assert_eq!(read("null"), None);
        assert_eq!(read(r#"{"timeout":0}"#), advice(Some(0), None));
        assert_eq!(read(r#"{"timeout":null,"interval":5}"#), advice(None, Some(5)));
        assert_eq!(
            read(r#"{"t\u0069meout":1e3,"interval":99999999999999999999}"#),
            advice(Some(1_000), Some(u64::MAX))
        );
        assert_eq!(read(r#"{"reconnect":5,"hosts":-1,"maxInterval":"x"}"#), advice(None, None));
        for bad in ["-1", "0.5", "\"5\"", "true", "[]", "{}"] {
            for name in ["timeout", "interval"] {
                let body = format!(r#"{{"id":1,"advice":{{"{name}":{bad}}}}}"#);
                let message = one(&body);
                assert_eq!(
                    (message.advice, message.invalid),
                    (None, Some(FieldError { field: Field::Advice })),
                    "{body}"
                );
            }
        }
    }

    #[test]
    fn a_single_type_is_a_list_of_one_and_no_type_is_an_empty_list() {
        assert_eq!(one(r#"{"supportedConnectionTypes":"a"}"#).supported_connection_types.unwrap(), ["a"]);
        let message = one(r#"{"supportedConnectionTypes":[]}"#);
        assert!(message.supported_connection_types.unwrap().is_empty() && message.invalid.is_none());
        assert_eq!(one(r#"{"channel":"\ud83d\ude00"}"#).channel.unwrap(), "😀");
        assert_eq!(one(r#"{"subscription":"/a"}"#).subscription.unwrap().names, ["/a"]);
    }

    #[test]
    fn numbers_pass_as_text() {
        for number in ["1e400", "0.10", "123456789012345678901234567890", "-0", "-0.0e-0"] {
            for value in [number.to_string(), format!("[{number}]")] {
                assert_eq!(one(&format!("{{\"data\":{value},\"x\":{value}}}")).data.unwrap().get(), value);
            }
        }
    }

    /// What a batch is, judged on a tree: the number of its messages.
    fn oracle(body: &[u8]) -> Result<usize, String> {
        let tree: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        match tree {
            Value::Object(_) => Ok(1),
            Value::Array(list) if list.iter().all(Value::is_object) => Ok(list.len()),
            _ => Err("not messages".to_string()),
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = "[a-z\"\\\\é😀\u{1}\\[\\]{}]{0,5}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<i32>().prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
            text.prop_map(Value::from),
        ];
        let name = || {
            prop_oneof![
                "[a-c\"\\\\é]{0,3}",
                prop::sample::select(Field::ALL.to_vec()).prop_map(|f| f.name().to_string())
            ]
        };
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// One change of a text: where, what is inserted, how many bytes go.
    fn change() -> impl Strategy<Value = (prop::sample::Index, &'static str, usize)> {
        let pieces = vec![
            "",
            "",
            "\"",
            "\\",
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            "0",
            "-",
            ".",
            "e",
            "\\u",
            "\\ud83d",
            "\\ude00",
            "\\ud83d\\ude00",
            "\\\\",
            " ",
            "\n",
            "\t",
            "null",
            "tru",
            "\u{e9}",
            "\u{0}",
            "/",
            "\"a\":",
            "{}",
            "[{}]",
        ];
        (any::<prop::sample::Index>(), prop::sample::select(pieces), 0_usize..3)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 2_000 }))]

        #[test]
        fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&body, &Limits::default());
        }

        #[test]
        fn verdicts_agree_with_the_tree(
            messages in prop::collection::vec(value(), 0..4),
            changes in prop::collection::vec(change(), 0..4),
        ) {
            let wrap = |value: Value| if value.is_object() { value } else { serde_json::json!({ "data": value }) };
            let messages: Vec<Value> = messages.into_iter().map(wrap).collect();
            let mut body = serde_json::to_vec(&messages).unwrap();
            for (at, piece, gone) in changes {
                let at = at.index(body.len() + 1);
                let end = body.len().min(at + gone);
                body.splice(at..end, piece.bytes());
            }
            let shown = String::from_utf8_lossy(&body).into_owned();
            match (decode(&body, &Limits::default()), oracle(&body)) {
                (Ok(messages), Ok(count)) => prop_assert_eq!(messages.len(), count, "{}", shown),
                (Err(_), Err(_)) => {}
                // The tree keeps the last of several; that we refuse them has its own test.
                (Err(error), Ok(_)) => prop_assert!(error.reason.ends_with("appears twice"), "{} {}", shown, error),
                // The tree needs its numbers to fit a double.
                (Ok(_), Err(error)) => prop_assert!(error.starts_with("number out of range"), "{} {}", shown, error),
            }
        }

        #[test]
        fn contents_agree_with_the_tree(messages in prop::collection::vec(value(), 0..4), pretty in any::<bool>()) {
            let messages: Vec<Value> = messages.into_iter().filter(Value::is_object).collect();
            let write = if pretty { serde_json::to_vec_pretty } else { serde_json::to_vec };
            let body = write(&messages).unwrap();
            let read = decode(&body, &Limits::default()).unwrap();
            prop_assert_eq!(read.len(), messages.len());
            for (read, tree) in read.iter().zip(&messages) {
                let data = read.data.map(|raw| serde_json::from_str::<Value>(raw.get()).unwrap());
                prop_assert_eq!(data.as_ref(), tree.get("data"));
                prop_assert_eq!(read.channel.as_deref(), tree.get("channel").and_then(Value::as_str));
                prop_assert_eq!(read.client_id.as_deref(), tree.get("clientId").and_then(Value::as_str));
                prop_assert_eq!(read.ext.is_some(), tree.get("ext").is_some_and(Value::is_object));
                let own = tree.as_object().unwrap().keys().filter(|name| Field::from_name(name).is_none());
                let names: Vec<_> = read.extra.iter().map(|(name, _)| name.as_ref()).collect();
                prop_assert_eq!(names, own.collect::<Vec<_>>());
            }
        }
    }
}
