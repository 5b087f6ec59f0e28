//! Owns the bytes of `floor`: the answers that never change, those that are made once for each publish, and how a
//! request is found and told apart.

use super::CLIENT_ID;
use crate::bayeux::{CONNECT_ID, HANDSHAKE_ID, PROBE_ID, PUBLISH_ID, SUBSCRIBE_ID, Transport};
use encke::ws::frame::Opcode;
use encke::ws::write::Frame;
use memchr::{memchr, memmem};
use std::io::{self, ErrorKind};

/// Bytes of a request that has not come whole.
const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a stream begins with, for its client to confirm.
const PROBE: &str = r#"[{"channel":"/service/probe","data":{"probe":1}}]"#;

/// How messages go to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// Each batch is a response.
    #[default]
    Polling,
    /// Each batch is a frame of a WebSocket.
    Frames,
    /// Each batch is a line of a response that stays open.
    Lines,
    /// Each batch is an event of an event stream.
    Events,
}

impl Form {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Polling, Self::Frames, Self::Lines, Self::Events];

    /// Events, with commas between, as they go to a peer. Who polls gets the reply to its connect with them.
    pub(super) fn deliver(self, events: &str) -> Vec<u8> {
        match self {
            Self::Polling => response(&format!("[{events},{}]", connect_reply())),
            Self::Frames => frame(&format!("[{events}]")),
            Self::Lines => chunk(&format!("[{events}]\n")),
            Self::Events => chunk(&format!("data: [{events}]\n\n")),
        }
    }

    /// A reply to a request that came on this connection; a stream takes none.
    pub(super) fn reply(self, body: &str) -> Vec<u8> {
        if self == Self::Frames { frame(body) } else { response(body) }
    }
}

/// The answers that never change.
#[derive(Debug)]
pub(super) struct Canned {
    pub(super) handshake: Vec<u8>,
    pub(super) connect: Vec<u8>,
    /// To a connect beside an event stream: the next is due after half a minute.
    pub(super) aside: Vec<u8>,
    pub(super) confirmed: Vec<u8>,
    /// What a stream begins with.
    pub(super) stream: Vec<u8>,
    /// What an event stream begins with.
    pub(super) events: Vec<u8>,
}

impl Canned {
    pub(super) fn new(form: Form) -> Self {
        let names = Transport::ALL.map(|transport| format!("{:?}", transport.name())).join(",");
        let reply = |channel: &str, id: &str, more: &str| {
            form.reply(&format!(r#"[{{"channel":"{channel}","id":{id},"successful":true{more}}}]"#))
        };
        let advice = |interval, timeout| {
            format!(r#","advice":{{"reconnect":"retry","interval":{interval},"timeout":{timeout}}}"#)
        };
        let shake = format!(
            r#","clientId":{CLIENT_ID},"version":"1.0","supportedConnectionTypes":[{names}]{}"#,
            advice(0, 30_000)
        );
        Self {
            handshake: reply("/meta/handshake", HANDSHAKE_ID, &shake),
            connect: form.reply(&format!("[{}]", connect_reply())),
            aside: reply("/meta/connect", CONNECT_ID, &advice(30_000, 0)),
            confirmed: reply("/service/probe", PROBE_ID, ""),
            stream: stream("application/json;charset=UTF-8", &format!("{PROBE}\n")),
            events: stream("text/event-stream;charset=UTF-8", "retry: 5000\n\n"),
        }
    }
}

/// What a request asks for, by the one thing that is looked for in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Connect,
    Handshake,
    Subscribe,
    Confirm,
    Publish,
}

pub(super) fn kind(body: &[u8]) -> Kind {
    // What asks most is asked first.
    for (name, kind) in [
        (r#""/meta/connect""#, Kind::Connect),
        (r#""/meta/handshake""#, Kind::Handshake),
        (r#""/meta/subscribe""#, Kind::Subscribe),
        (r#""/service/probe""#, Kind::Confirm),
    ] {
        if memmem::find(body, name.as_bytes()).is_some() {
            return kind;
        }
    }
    Kind::Publish
}

/// The body of the first whole request, and the bytes that it took.
pub(super) fn request(bytes: &[u8]) -> io::Result<Option<(&[u8], usize)>> {
    const LENGTH: &[u8] = b"Content-Length: ";
    let Some(head) = memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > REQUEST_BYTES_MAX { Err(ErrorKind::InvalidData.into()) } else { Ok(None) };
    };
    let at = memmem::find(&bytes[..head], LENGTH).ok_or(ErrorKind::InvalidData)? + LENGTH.len();
    let digits = bytes[at..head].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0_usize, |sum, digit| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
    if length > REQUEST_BYTES_MAX {
        return Err(ErrorKind::InvalidData.into());
    }
    let (start, end) = (head + 4, head + 4 + length);
    Ok(bytes.get(start..end).map(|body| (body, end)))
}

/// The names that a batch of subscribes asks for.
pub(super) fn subscriptions(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    const FIELD: &[u8] = br#""subscription":""#;
    memmem::find_iter(body, FIELD).map(|at| {
        let rest = &body[at + FIELD.len()..];
        &rest[..memchr(b'"', rest).unwrap_or(rest.len())]
    })
}

/// The answer to a batch of subscribes.
pub(super) fn subscribed(count: usize) -> String {
    replies(&format!(r#"{{"channel":"/meta/subscribe","id":{SUBSCRIBE_ID},"successful":true}}"#), count)
}

/// The answer to a publish of so many messages.
pub(super) fn published(channel: &str, count: usize) -> String {
    replies(&format!(r#"{{"channel":"{channel}","id":{PUBLISH_ID},"successful":true}}"#), count)
}

fn replies(reply: &str, count: usize) -> String {
    format!("[{}]", vec![reply; count].join(","))
}

/// Of a publish: the channel, the events made of its messages, with commas between, and how many they are.
pub(super) fn events(body: &[u8]) -> Option<(&str, String, usize)> {
    const DATA: &str = r#""data":"#;
    let body = std::str::from_utf8(body).ok()?;
    let rest = body.strip_prefix(r#"[{"channel":""#)?;
    let channel = &rest[..rest.find('"')?];
    let (mut made, mut count) = (String::with_capacity(body.len()), 0);
    let mut rest = rest;
    while let Some(at) = memmem::find(rest.as_bytes(), DATA.as_bytes()) {
        // The data are flat objects.
        let end = at + memchr(b'}', &rest.as_bytes()[at..])? + 1;
        for part in [if count > 0 { "," } else { "" }, r#"{"channel":""#, channel, r#"","#, &rest[at..end], "}"] {
            made.push_str(part);
        }
        rest = &rest[end..];
        count += 1;
    }
    (count > 0).then_some((channel, made, count))
}

fn connect_reply() -> String {
    format!(r#"{{"channel":"/meta/connect","id":{CONNECT_ID},"successful":true}}"#)
}

/// The fields that a real server sends. The date is as long as a true one.
const FIELDS: &str = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nCache-Control: no-store\r\n\
    X-Content-Type-Options: nosniff\r\n";

fn response(body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\n{FIELDS}Content-Type: application/json;charset=UTF-8\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A response that stays open, with what it begins with.
fn stream(media_type: &str, opening: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{FIELDS}Content-Type: {media_type}\r\nTransfer-Encoding: chunked\r\n\r\n");
    [head.into_bytes(), chunk(opening)].concat()
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// A message of a WebSocket.
fn frame(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    Frame::whole(Opcode::Text).write(&mut out, text.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayeux;
    use crate::event::{Batch, Event};

    #[test]
    fn requests_are_found_when_whole() {
        let bytes = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcPOST";
        for end in 0..bytes.len() - 4 {
            assert_eq!(request(&bytes[..end]).unwrap(), None, "cut at {end}");
        }
        assert_eq!(request(bytes).unwrap(), Some((&b"abc"[..], bytes.len() - 4)));
        assert!(request(b"GET / HTTP/1.1\r\n\r\n").is_err());
    }

    #[test]
    fn kinds_of_our_own_requests() {
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            out
        };
        let transport = Transport::WebSocket;
        assert_eq!(kind(&written(&|out| bayeux::write_handshake(out, transport, false))), Kind::Handshake);
        assert_eq!(kind(&written(&|out| bayeux::write_connect(out, r#""c""#, transport, false, None))), Kind::Connect);
        assert_eq!(kind(&written(&|out| bayeux::write_probe(out, r#""c""#, 7))), Kind::Confirm);
        let subscribe = written(&|out| bayeux::write_subscribes(out, r#""c""#, ["/load", "/b"].into_iter()));
        assert_eq!(kind(&subscribe), Kind::Subscribe);
        assert_eq!(subscriptions(&subscribe).collect::<Vec<_>>(), [&b"/load"[..], b"/b"]);
        let first = Event { run: 1, flow: 0, seq: 2, sent_us: 3 };
        let batch = Batch { first, count: 2, size: 40 };
        let publish = written(&|out| bayeux::write_publish(out, r#""c""#, "/a/b", batch));
        assert_eq!(kind(&publish), Kind::Publish);
        let (channel, made, count) = events(&publish).unwrap();
        assert_eq!((channel, count), ("/a/b", 2));
        let made: serde_json::Value = serde_json::from_str(&format!("[{made}]")).unwrap();
        assert_eq!(made[1]["data"]["e"], serde_json::json!([1, 0, 3, 3]));
        assert_eq!(made[0]["channel"], "/a/b");
        assert_eq!(made[0]["id"], serde_json::Value::Null);
    }

    #[test]
    fn answers_are_json() {
        for text in [subscribed(3), published("/a", 3)] {
            assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap().len(), 3);
        }
        let canned = Canned::new(Form::Polling);
        for bytes in [canned.handshake, canned.connect, canned.aside, canned.confirmed] {
            let response = crate::http::parse(&bytes).unwrap().unwrap();
            assert!(bayeux::decode(&response.body).unwrap()[0].successful == Some(true));
        }
    }
}
