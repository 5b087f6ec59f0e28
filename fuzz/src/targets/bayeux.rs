//! A Bayeux text: decoded, and encoded again.
//!
//! - A text that is accepted is JSON for an independent reader too, and has as many messages as that one sees; none
//!   has a field of Bayeux twice, and none is deeper than it may be.
//! - Each message becomes an event and a reply that are one line of JSON, without U+2028 and U+2029, and mean what the
//!   message meant: `data` as it was, the channel as it was.
//! - An event is a text that is accepted again.

use core::fmt::{self, Formatter};

use encke::bayeux::encode::{self, Marks, NumberMark, write_number};
use encke::bayeux::{Channel, Field, Kind, Message, Pattern, Reply, decode};
use encke::limits::Limits;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::{both_limits, meter};

/// What is said of a refusal, and the first few entries of lists.
const CONSTANT: usize = 4 * 1024;
/// The number of an event here.
const NUMBER: u64 = 1_234_567_890;

/// Plays an input.
pub(crate) fn run(data: &[u8]) {
    for limits in both_limits() {
        // A message of two bytes takes as much as a long one, and their list doubles: of few messages that is a constant.
        let messages = 2 * limits.batch_messages * size_of::<Message<'_>>();
        let Ok(messages) = meter::within(data.len(), CONSTANT + messages, || decode(data, &limits)) else { continue };
        assert!(messages.len() <= limits.batch_messages, "{} messages", messages.len());
        let seen = match serde_json::from_slice::<Value>(data) {
            Ok(Value::Array(seen)) => seen,
            Ok(one) => vec![one],
            // Numbers of any size stay text here, and only there they must fit.
            Err(error) => return assert!(error.to_string().starts_with("number out of range"), "{error}"),
        };
        assert_eq!(messages.len(), seen.len(), "messages");
        let depth = seen.iter().map(depth).max().unwrap_or_default() + usize::from(data.trim_ascii().starts_with(b"["));
        assert!(depth <= limits.json_depth, "{depth} levels");
        let names: Vec<Names> = serde_json::from_slice(data)
            .or_else(|_| serde_json::from_slice(data).map(|one| vec![one]))
            .expect("messages are objects");
        for Names(names) in names {
            let once = |field: &Field| names.iter().filter(|name| *name == field.name()).count() <= 1;
            assert!(Field::ALL.iter().all(once), "a field of Bayeux twice among {names:?}");
        }
        for (message, seen) in messages.iter().zip(&seen) {
            check(message, seen);
            reply(message);
            if let Some(Kind::Broadcast(channel)) = message.kind() {
                events(channel, message, &limits);
            }
        }
    }
}

/// How many arrays and objects a value is, one within the other.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// The names in an object, also those that repeat.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
        let mut names = Vec::new();
        while let Some((name, IgnoredAny)) = map.next_entry()? {
            names.push(name);
        }
        Ok(Names(names))
    }
}

/// The message as another reader sees it. Of repeated names that one knows the last only, and no field of Bayeux repeats.
fn check(message: &Message<'_>, seen: &Value) {
    assert_eq!(message.channel.as_deref(), seen["channel"].as_str().filter(|_| message.channel.is_some()));
    assert_eq!(message.client_id.as_deref(), seen["clientId"].as_str().filter(|_| message.client_id.is_some()));
    if message.invalid.is_none() {
        assert_eq!(message.channel.is_some(), seen["channel"].is_string(), "{seen}");
        assert_eq!(message.client_id.is_some(), seen["clientId"].is_string(), "{seen}");
        assert_eq!(message.id.is_some(), !seen["id"].is_null(), "{seen}");
        assert_eq!(message.ext.is_some(), seen["ext"].is_object(), "{seen}");
    }
    let data = message.data.map(|data| serde_json::from_str::<Value>(data.get()).expect("data is JSON"));
    assert_eq!(data.as_ref(), seen.get("data"), "data");
    for name in message.subscription.iter().flat_map(|subscription| &subscription.names) {
        if let Ok(pattern) = Pattern::parse(name) {
            assert_eq!(pattern.to_string(), **name, "a pattern as it was written");
        }
    }
}

/// One line of JSON, or it is ours to mend.
fn line(json: &[u8]) -> Value {
    let text = core::str::from_utf8(json).expect("what is written is UTF-8");
    assert!(!text.contains(['\r', '\n', '\u{2028}', '\u{2029}']), "a line end in {text:?}");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

/// The message is answered: everything in it that a reply repeats.
fn reply(message: &Message<'_>) {
    let channel = message.channel.as_deref().unwrap_or_default();
    let subscription = message.subscription.as_ref().map(|subscription| subscription.raw.get());
    let error = message.invalid.map(Into::into);
    let written = channel.len() + subscription.map_or(0, str::len) + message.id.map_or(0, |id| id.as_json().len());
    let mut out = Vec::new();
    let reply = Reply { channel, id: message.id, subscription, error, successful: error.is_none(), ..Reply::default() };
    meter::within(written, CONSTANT, || reply.write(&mut out));
    let seen = line(&out);
    assert_eq!(seen["channel"], channel);
    let id = message.id.map(|id| serde_json::from_str::<Value>(id.as_json()).expect("an id is JSON"));
    assert_eq!(id.as_ref(), seen.get("id"));
    assert_eq!(seen["successful"], error.is_none());
}

/// The message becomes an event, with every kind of mark.
fn events(channel: Channel<'_>, message: &Message<'_>, limits: &Limits) {
    let extra: usize = message.extra.iter().map(|(name, value)| name.len() + value.get().len()).sum();
    let parts = [message.data, message.ext].into_iter().flatten().map(|value| value.get().len()).sum::<usize>();
    let read = channel.as_str().len() + extra + parts;
    for number in [None, Some(NumberMark::Ext(7)), Some(NumberMark::Data("2026-11-21T00:00:00.000Z"))] {
        let marks = Marks { timestamp: number.map(|_| "2026-11-21T00:00:00.000Z"), number };
        let mut out = Vec::new();
        let places = meter::within(read, CONSTANT, || encode::event(&mut out, channel, message, marks));
        if let Some(place) = places.number {
            write_number(&mut out, place, NUMBER);
        }
        let seen = line(&out);
        assert_eq!(seen["channel"], channel.as_str());
        let data = line(&out[places.data]);
        assert_eq!(seen["data"], data);
        let sent = message.data.map_or(Value::Null, |data| serde_json::from_str(data.get()).expect("data is JSON"));
        match number {
            Some(NumberMark::Data(_)) => assert_eq!(data["event"]["replayId"], NUMBER, "{data}"),
            Some(NumberMark::Ext(_)) => assert_eq!(seen["ext"]["replay"]["id"], NUMBER, "{seen}"),
            None => assert_eq!(seen.get("ext").and_then(|ext| ext.get("replay")), None, "only the server numbers"),
        }
        if !matches!(number, Some(NumberMark::Data(_))) {
            assert_eq!(data, sent, "data");
        }
        // The number and its date take three levels where data had none.
        let deeper = Limits { json_depth: limits.json_depth + 3, ..limits.clone() };
        let again = decode(&out, &deeper).unwrap_or_else(|error| panic!("an event is refused: {error}"));
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].kind(), Some(Kind::Broadcast(channel)), "an event of its channel");
    }
}
