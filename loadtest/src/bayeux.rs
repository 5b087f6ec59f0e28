//! Owns the Bayeux messages that the generator writes and reads: the bodies of its requests, the fields that it looks
//! at in a reply, and the payload that makes each event countable. Knows nothing of HTTP.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
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

/// How a client and the server reach each other. Further ones (streaming, eventsource) come here, into `client` and into
/// `floor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A request for each batch; one of them is held.
    #[default]
    LongPolling,
    /// Messages both ways on one connection.
    WebSocket,
}

impl Transport {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::LongPolling, Self::WebSocket];

    /// Its name as a connection type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LongPolling => "long-polling",
            Self::WebSocket => "websocket",
        }
    }
}

/// A handshake that offers this transport only.
pub(crate) fn write_handshake(out: &mut Vec<u8>, transport: Transport) {
    join(out, &[r#"[{"channel":"/meta/handshake","version":"1.0","minimumVersion":"1.0","#]);
    join(out, &[r#""supportedConnectionTypes":[""#, transport.name(), r#""],"id":"#, HANDSHAKE_ID, "}]"]);
}

/// A subscribe. `client_id` here and below is the JSON text of the field, as the server wrote it.
pub(crate) fn write_subscribe(out: &mut Vec<u8>, client_id: &str, channel: &str) {
    join(out, &[r#"[{"channel":"/meta/subscribe","clientId":"#, client_id, r#","id":"#, SUBSCRIBE_ID]);
    join(out, &[r#","subscription":""#, channel, r#""}]"#]);
}

/// A connect. With `at_once` it asks not to be held, as cometd.js does for its first; some servers hold the first
/// otherwise.
pub(crate) fn write_connect(out: &mut Vec<u8>, client_id: &str, transport: Transport, at_once: bool) {
    join(out, &[r#"[{"channel":"/meta/connect","clientId":"#, client_id, r#","id":"#, CONNECT_ID]);
    join(out, &[r#","connectionType":""#, transport.name(), "\""]);
    join(out, &[if at_once { r#","advice":{"timeout":0}"# } else { "" }, "}]"]);
}

/// A publish whose data is the payload of an event, padded to `size` bytes. The data is last, where `floor` looks for
/// it.
pub(crate) fn write_publish(out: &mut Vec<u8>, client_id: &str, channel: &str, event: Event, size: usize) {
    join(out, &[r#"[{"channel":""#, channel, r#"","clientId":"#, client_id, r#","id":"#, PUBLISH_ID, r#","data":"#]);
    write_payload(out, event, size);
    join(out, &["}]"]);
}

fn join(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// What the data of an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Event {
    /// Which run published it, so that another run's events are not taken for ours.
    pub(crate) run: u32,
    /// Its place in the sequence of the run, from 0.
    pub(crate) seq: u32,
    /// When it was to be sent: nanoseconds on the run's clock.
    pub(crate) sent: u64,
}

/// The payload as a JSON object of `size` bytes, or of as few more as the numbers need.
fn write_payload(out: &mut Vec<u8>, event: Event, size: usize) {
    const PAD_FIELD: &str = r#","pad":""}"#;
    let start = out.len();
    // Writing to a vector does not fail.
    let _ = write!(out, r#"{{"run":{},"seq":{},"sent":{}"#, event.run, event.seq, event.sent);
    let bare = out.len() - start;
    if size < bare + PAD_FIELD.len() {
        out.push(b'}');
        return;
    }
    join(out, &[r#","pad":""#]);
    out.resize(start + size - 2, b'x');
    join(out, &[r#""}"#]);
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

    /// What its data says, if a run of this program published it.
    pub(crate) fn event(&self) -> Option<Event> {
        self.data.and_then(|data| serde_json::from_str(data.get()).ok())
    }
}

/// Reads the body of a response.
pub(crate) fn decode(body: &[u8]) -> serde_json::Result<Vec<Message<'_>>> {
    serde_json::from_slice(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_the_size_asked_for() {
        let event = Event { run: 7, seq: 12, sent: 1_234_567_890 };
        for size in [0, 30, 44, 45, 46, 60, 100, 4096] {
            let mut out = b"before".to_vec();
            write_payload(&mut out, event, size);
            let text = std::str::from_utf8(&out[6..]).unwrap();
            assert_eq!(serde_json::from_str::<Event>(text).unwrap(), event, "{text}");
            assert!(text.len() == size || (text.len() == 36 && size < 45), "{size}: {text}");
        }
    }

    #[test]
    fn requests_are_json() {
        let mut out = Vec::new();
        let mut check = |write: &dyn Fn(&mut Vec<u8>)| {
            out.clear();
            write(&mut out);
            serde_json::from_slice::<serde_json::Value>(&out).unwrap()[0].clone()
        };
        assert_eq!(
            check(&|out| write_handshake(out, Transport::LongPolling))["supportedConnectionTypes"][0],
            "long-polling"
        );
        assert_eq!(check(&|out| write_subscribe(out, r#""c""#, "/load"))["subscription"], "/load");
        let socket = Transport::WebSocket;
        assert_eq!(check(&|out| write_handshake(out, socket))["supportedConnectionTypes"][0], "websocket");
        assert_eq!(check(&|out| write_connect(out, r#""c""#, socket, true))["advice"]["timeout"], 0);
        assert_eq!(check(&|out| write_connect(out, r#""c""#, socket, true))["connectionType"], "websocket");
        assert!(check(&|out| write_connect(out, r#""c""#, socket, false))["advice"].is_null());
        let publish = check(&|out| write_publish(out, r#""c""#, "/load", Event { run: 1, seq: 2, sent: 3 }, 64));
        assert_eq!(publish["data"]["seq"], 2);
        assert_eq!(publish["clientId"], "c");
    }

    #[test]
    fn events_and_acks_are_told_apart() {
        let body = br#"[{"channel":"/load","id":"4","data":{"run":1,"seq":2,"sent":3,"pad":"x"}},
            {"channel":"/load","id":"4","successful":true},{"channel":"/load","data":"other"},
            {"channel":"/meta/connect","data":{}}]"#;
        let messages = decode(body).unwrap();
        let seen: Vec<_> = messages.iter().map(|message| (message.is_event(), message.event())).collect();
        assert_eq!(seen[0], (true, Some(Event { run: 1, seq: 2, sent: 3 })));
        assert_eq!(seen[1..], [(false, None), (true, None), (false, None)]);
    }
}
