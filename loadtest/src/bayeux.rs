//! Owns the Bayeux messages that the generator writes and reads: the bodies of its requests, the fields that it looks
//! at in a reply. Knows nothing of HTTP.

use crate::event::Batch;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;

// One id per kind of message is enough, as a client has one request under way at a time: an answer to something else
// shows by its id all the same. It also lets `floor` answer with bytes that were made once.
/// The id of every handshake.
pub(crate) const HANDSHAKE_ID: &str = r#""1""#;
/// The id of every subscribe.
pub(crate) const SUBSCRIBE_ID: &str = r#""2""#;
/// The id of every connect.
pub(crate) const CONNECT_ID: &str = r#""3""#;
/// The id of every publish.
pub(crate) const PUBLISH_ID: &str = r#""4""#;
/// The id of every confirmation of a stream.
pub(crate) const PROBE_ID: &str = r#""5""#;

/// How a client and the server reach each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A request for each batch; one of them is held.
    #[default]
    LongPolling,
    /// Messages both ways on one connection.
    WebSocket,
    /// A response that stays open, with a batch on each line; requests beside it.
    Streaming,
    /// An event stream, as Faye has it; requests beside it.
    EventSource,
}

impl Transport {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::LongPolling, Self::WebSocket, Self::Streaming, Self::EventSource];

    /// Its name as a connection type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LongPolling => "long-polling",
            Self::WebSocket => "websocket",
            Self::Streaming => "streaming",
            Self::EventSource => "eventsource",
        }
    }
}

/// A handshake that offers this transport only, and to acknowledge events.
pub(crate) fn write_handshake(out: &mut Vec<u8>, transport: Transport, ack: bool) {
    join(out, &[r#"[{"channel":"/meta/handshake","version":"1.0","minimumVersion":"1.0","#]);
    join(out, &[r#""supportedConnectionTypes":[""#, transport.name(), r#""],"id":"#, HANDSHAKE_ID]);
    join(out, &[if ack { r#","ext":{"ack":true}"# } else { "" }, "}]"]);
}

/// A subscribe to each of the channels, in one batch. `client_id` here and below is the JSON text of the field, as the
/// server wrote it.
pub(crate) fn write_subscribes<'a>(out: &mut Vec<u8>, client_id: &str, channels: impl Iterator<Item = &'a str>) {
    let mut separator = "[";
    for channel in channels {
        join(out, &[separator, r#"{"channel":"/meta/subscribe","clientId":"#, client_id, r#","id":"#, SUBSCRIBE_ID]);
        join(out, &[r#","subscription":""#, channel, r#""}"#]);
        separator = ",";
    }
    join(out, &["]"]);
}

/// A connect. With `at_once` it asks not to be held, as cometd.js does for its first; some servers hold the first
/// otherwise. `ack` is the number of the last batch that came, -1 before the first, if batches are acknowledged.
pub(crate) fn write_connect(out: &mut Vec<u8>, client_id: &str, transport: Transport, at_once: bool, ack: Option<i64>) {
    join(out, &[r#"[{"channel":"/meta/connect","clientId":"#, client_id, r#","id":"#, CONNECT_ID]);
    join(out, &[r#","connectionType":""#, transport.name(), "\""]);
    join(out, &[if at_once { r#","advice":{"timeout":0}"# } else { "" }]);
    if let Some(ack) = ack {
        // Writing to a vector does not fail.
        let _ = write!(out, r#","ext":{{"ack":{ack}}}"#);
    }
    join(out, &["}]"]);
}

/// The confirmation that the first line of a stream has come.
pub(crate) fn write_probe(out: &mut Vec<u8>, client_id: &str, number: u64) {
    join(out, &[r#"[{"channel":"/service/probe","clientId":"#, client_id, r#","id":"#, PROBE_ID]);
    let _ = write!(out, r#","data":{{}},"ext":{{"probe":{number}}}}}]"#);
}

/// Publishes in one request. In each message the data is last, where `floor` looks for it.
pub(crate) fn write_publish(out: &mut Vec<u8>, client_id: &str, channel: &str, batch: Batch) {
    let mut separator = "[";
    for event in batch.events() {
        write_head(out, separator, client_id, channel);
        event.write(batch.size, out);
        join(out, &["}"]);
        separator = ",";
    }
    join(out, &["]"]);
}

/// Publishes something else.
pub(crate) fn write_note(out: &mut Vec<u8>, client_id: &str, channel: &str, data: &str) {
    write_head(out, "[", client_id, channel);
    join(out, &[data, "}]"]);
}

fn write_head(out: &mut Vec<u8>, separator: &str, client_id: &str, channel: &str) {
    join(out, &[separator, r#"{"channel":""#, channel, r#"","clientId":"#, client_id]);
    join(out, &[r#","id":"#, PUBLISH_ID, r#","data":"#]);
}

fn join(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The fields of a message that the generator looks at.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "clientId")]
    client_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    /// Whether a request succeeded; absent from events.
    #[serde(default)]
    pub(crate) successful: Option<bool>,
    /// How to go on.
    #[serde(borrow, default)]
    pub(crate) advice: Option<Advice<'a>>,
    #[serde(borrow, default)]
    ext: Option<&'a RawValue>,
}

/// What the extensions say in a reply.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Ext {
    #[serde(default)]
    ack: serde_json::Value,
    #[serde(default)]
    gap: BTreeMap<String, i64>,
}

impl Ext {
    /// Whether the server will have batches acknowledged, in the reply to a handshake.
    pub(crate) fn agrees(&self) -> bool {
        self.ack == true
    }

    /// The number of the batch, in the reply to a connect.
    pub(crate) fn batch(&self) -> Option<i64> {
        self.ack.as_i64()
    }

    /// How many events the server says it has dropped; one where it does not know how many.
    pub(crate) fn dropped(&self) -> u64 {
        self.gap.values().map(|count| u64::try_from(*count).unwrap_or(1)).sum()
    }
}

#[derive(Deserialize)]
struct Probe {
    probe: u64,
}

/// How a server wants a client to go on.
#[derive(Debug, Deserialize)]
pub(crate) struct Advice<'a> {
    /// `retry`, `handshake` or `none`.
    #[serde(borrow, default)]
    pub(crate) reconnect: Option<Cow<'a, str>>,
    /// Milliseconds to wait before the next connect.
    #[serde(default)]
    pub(crate) interval: Option<f64>,
}

impl Message<'_> {
    /// The channel.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// The id as JSON text, or nothing.
    pub(crate) fn id(&self) -> &str {
        self.id.map_or("", RawValue::get)
    }

    /// The client id as JSON text, when it is a string.
    pub(crate) fn client_id(&self) -> Option<&str> {
        self.client_id.map(RawValue::get).filter(|text| text.starts_with('"'))
    }

    /// The error as the server wrote it, without the quotes around it.
    pub(crate) fn error(&self) -> &str {
        self.error.map_or("no error text", |error| error.get().trim_matches('"'))
    }

    /// Whether it belongs to the protocol itself.
    pub(crate) fn is_meta(&self) -> bool {
        self.channel.starts_with("/meta/")
    }

    /// Whether it is an event: a publish ack has no data, and an event does not say whether it succeeded.
    pub(crate) fn is_event(&self) -> bool {
        !self.is_meta() && self.data.is_some() && self.successful.is_none()
    }

    /// Whether it answers a publish.
    pub(crate) fn is_publish_reply(&self) -> bool {
        self.id() == PUBLISH_ID && self.successful.is_some() && !self.is_meta()
    }

    /// Its data as JSON text.
    pub(crate) fn data(&self) -> &str {
        self.data.map_or("", RawValue::get)
    }

    /// What the extensions say.
    pub(crate) fn ext(&self) -> Ext {
        self.ext.and_then(|ext| serde_json::from_str(ext.get()).ok()).unwrap_or_default()
    }

    /// The number to confirm, if this is the line with which a stream begins.
    pub(crate) fn probe(&self) -> Option<u64> {
        let data = self.data.filter(|_| self.channel == "/service/probe")?;
        serde_json::from_str(data.get()).ok().map(|Probe { probe }| probe)
    }
}

/// Reads the body of a response.
pub(crate) fn decode(body: &[u8]) -> serde_json::Result<Vec<Message<'_>>> {
    serde_json::from_slice(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    #[test]
    fn requests_are_json() {
        let mut out = Vec::new();
        let mut check = |write: &dyn Fn(&mut Vec<u8>)| {
            out.clear();
            write(&mut out);
            serde_json::from_slice::<serde_json::Value>(&out).unwrap()[0].clone()
        };
        assert_eq!(
            check(&|out| write_handshake(out, Transport::LongPolling, false))["supportedConnectionTypes"][0],
            "long-polling"
        );
        assert_eq!(check(&|out| write_handshake(out, Transport::Streaming, true))["ext"]["ack"], true);
        let rooms = ["/a", "/b"];
        assert_eq!(check(&|out| write_subscribes(out, r#""c""#, rooms.into_iter()))["subscription"], "/a");
        let socket = Transport::WebSocket;
        assert_eq!(check(&|out| write_handshake(out, socket, false))["supportedConnectionTypes"][0], "websocket");
        assert_eq!(check(&|out| write_connect(out, r#""c""#, socket, true, None))["advice"]["timeout"], 0);
        assert_eq!(check(&|out| write_connect(out, r#""c""#, socket, true, None))["connectionType"], "websocket");
        assert!(check(&|out| write_connect(out, r#""c""#, socket, false, None))["advice"].is_null());
        assert_eq!(check(&|out| write_connect(out, r#""c""#, socket, false, Some(-1)))["ext"]["ack"], -1);
        assert_eq!(check(&|out| write_probe(out, r#""c""#, 7))["ext"]["probe"], 7);
        assert_eq!(check(&|out| write_note(out, r#""c""#, "/n", r#"{"a":1}"#))["data"]["a"], 1);
        let first = Event { run: 1, flow: 4, seq: 2, sent_us: 3 };
        let publish = check(&|out| write_publish(out, r#""c""#, "/load", Batch { first, count: 2, size: 64 }));
        assert_eq!(publish["data"]["e"][2], 2);
        assert_eq!(publish["clientId"], "c");
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap()[1]["data"]["e"][2], 3);
    }

    #[test]
    fn events_and_acks_are_told_apart() {
        let body = br#"[{"channel":"/load","id":"4","data":{"e":[1,0,2,3],"p":"x"}},
            {"channel":"/load","id":"4","successful":true},{"channel":"/load","data":"other"},
            {"channel":"/meta/connect","data":{},"ext":{"ack":7,"gap":{"/a":3,"/b":-1}}},
            {"channel":"/service/probe","data":{"probe":9}}]"#;
        let messages = decode(body).unwrap();
        let seen: Vec<_> = messages.iter().map(|message| (message.is_event(), Event::read(message.data()))).collect();
        assert_eq!(seen[0], (true, Some(Event { run: 1, flow: 0, seq: 2, sent_us: 3 })));
        assert_eq!(seen[1..4], [(false, None), (true, None), (false, None)]);
        let ext = messages[3].ext();
        assert_eq!((ext.agrees(), ext.batch(), ext.dropped()), (false, Some(7), 4));
        assert_eq!((messages[4].probe(), messages[0].probe()), (Some(9), None));
    }
}
