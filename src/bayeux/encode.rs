//! Events and replies as JSON text (Bayeux 1.0, "Event Message Field Definitions" and "Meta Message Field
//! Definitions").
//!
//! Owns which fields go out, in which order, and every rule about characters; appends to a buffer that the caller
//! keeps. Must not know batches, framings or queues. What it writes is one line of valid JSON if the raw texts that it
//! is given are valid JSON: neither a line end nor U+2028 or U+2029 is ever in it.

use core::ops::Range;

use super::channel::Channel;
use super::error::Error;
use super::message::{Id, Message};
use super::raw as reading;
use serde_json::value::RawValue;

/// Entries of a publisher's `ext` that never reach subscribers: on events these belong to the server.
const SERVER_EXT: [&str; 3] = ["replay", "gap", "ack"];

/// Digits of an event's number, or blanks in front of fewer.
const NUMBER_DIGITS: usize = 16;

/// What the server adds to an event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks<'a> {
    /// The time as ISO 8601 text, for a `timestamp`.
    pub timestamp: Option<&'a str>,
    /// Set if the event has a number.
    pub number: Option<NumberMark<'a>>,
}

/// Where the number of an event goes.
#[derive(Clone, Copy, Debug)]
pub enum NumberMark<'a> {
    /// `ext:{"replay":{"id":…,"epoch":"…"}}`, with what names the life of the server.
    Ext(u64),
    /// `data.event.replayId`, with this `createdDate`, as the clients of Salesforce's Streaming API have it.
    Data(&'a str),
}

/// Where the parts of an event stand in the buffer that it was appended to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Its data.
    pub data: Range<usize>,
    /// The blanks for its number; [`write_number`] fills them.
    pub number: Option<usize>,
}

/// Appends the event that a published message becomes: `channel`, `data`, the publisher's `ext` without the entries
/// that belong to the server (left out if nothing remains), and its fields that Bayeux does not define. Nothing else
/// that the publisher sent goes out (Bayeux 1.0, "Deliver Event message").
///
/// A message without data should have been refused; its event has `null`.
pub fn event(out: &mut Vec<u8>, channel: Channel<'_>, message: &Message<'_>, marks: Marks<'_>) -> Places {
    let data = message.data.map_or("null", RawValue::get);
    let mut places = begin_event(out, channel, data, marks);
    event_ext(out, message.ext, marks, &mut places);
    for (name, value) in &message.extra {
        out.push(b',');
        string(out, name);
        out.push(b':');
        raw(out, value.get());
    }
    out.push(b'}');
    places
}

/// Appends an event of the server's own. `data` must be one valid JSON value; nobody checks it here.
pub fn event_from_parts(out: &mut Vec<u8>, channel: Channel<'_>, data: &str, marks: Marks<'_>) -> Places {
    let mut places = begin_event(out, channel, data, marks);
    event_ext(out, None, marks, &mut places);
    out.push(b'}');
    places
}

/// Appends the answer to a remote call (CometD): an event to one client, with the `id` of its message, and whether it went
/// well. `data` must be one valid JSON value, and the id one that a message had.
pub fn answer(
    out: &mut Vec<u8>,
    (channel, data): (Channel<'_>, &str),
    (id, successful): (Option<&str>, bool),
    marks: Marks<'_>,
) -> Places {
    let places = begin_event(out, channel, data, marks);
    if let Some(id) = id {
        out.extend_from_slice(b",\"id\":");
        raw(out, id);
    }
    out.extend_from_slice(if successful { b",\"successful\":true}" } else { b",\"successful\":false}" });
    places
}

/// Fills the blanks for the number of an event that begins the buffer. One with more digits than there are blanks is cut;
/// no number below 10^16 has.
pub fn write_number(json: &mut [u8], place: usize, number: u64) {
    let mut rest = number;
    let end = place.saturating_add(NUMBER_DIGITS);
    for digit in json.get_mut(place..end).unwrap_or_default().iter_mut().rev() {
        *digit = b'0'.wrapping_add((rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
}

/// Writes `{"channel":…,"data":…` and the time, and leaves the object open.
fn begin_event(out: &mut Vec<u8>, channel: Channel<'_>, data: &str, marks: Marks<'_>) -> Places {
    out.reserve(channel.as_str().len().saturating_add(data.len()).saturating_add(192));
    out.extend_from_slice(b"{\"channel\":");
    string(out, channel.as_str());
    out.extend_from_slice(b",\"data\":");
    let start = out.len();
    let number = match marks.number {
        Some(NumberMark::Data(created)) => Some(data_with_number(out, data, created)),
        Some(NumberMark::Ext(_)) | None => {
            raw(out, data);
            None
        }
    };
    let data = start..out.len();
    if let Some(timestamp) = marks.timestamp {
        out.extend_from_slice(b",\"timestamp\":");
        string(out, timestamp);
    }
    Places { data, number }
}

/// Writes data with an entry `event` that has the number and the date; returns where the number goes. An object keeps its
/// own entries, and those of its own `event`; anything else becomes the `payload` of one.
fn data_with_number(out: &mut Vec<u8>, data: &str, created: &str) -> usize {
    let value = serde_json::from_str::<&RawValue>(data).ok();
    let entries = value.and_then(reading::entries);
    let own = |entries: &Vec<reading::Entry<'_>>| {
        let mut events = entries.iter().filter(|(name, _)| name == "event");
        events.all(|(_, value)| reading::is_object(value))
    };
    out.push(b'{');
    let mut of_event = Vec::new();
    match entries.filter(own) {
        Some(entries) => {
            for (name, value) in entries {
                if name == "event" {
                    of_event = reading::entries(value).unwrap_or_default();
                    continue;
                }
                entry(out, &name, value);
            }
        }
        None => {
            out.extend_from_slice(b"\"payload\":");
            raw(out, data);
            out.push(b',');
        }
    }
    out.extend_from_slice(b"\"event\":{");
    for (name, value) in of_event {
        if name != "replayId" && name != "createdDate" {
            entry(out, &name, value);
        }
    }
    out.extend_from_slice(b"\"createdDate\":");
    string(out, created);
    out.extend_from_slice(b",\"replayId\":");
    let place = blanks(out);
    out.extend_from_slice(b"}}");
    place
}

/// Writes `"name":value,`
fn entry(out: &mut Vec<u8>, name: &str, value: &RawValue) {
    string(out, name);
    out.push(b':');
    raw(out, value.get());
    out.push(b',');
}

/// Leaves room for a number; returns where.
fn blanks(out: &mut Vec<u8>) -> usize {
    let place = out.len();
    out.extend_from_slice(&[b' '; NUMBER_DIGITS]);
    place
}

/// Writes `,"ext":{…}` with the number and the entries that may go out, or nothing.
fn event_ext(out: &mut Vec<u8>, ext: Option<&RawValue>, marks: Marks<'_>, places: &mut Places) {
    let mut before: &[u8] = b",\"ext\":{";
    if let Some(NumberMark::Ext(epoch)) = marks.number {
        out.extend_from_slice(before);
        before = b",";
        out.extend_from_slice(b"\"replay\":{\"id\":");
        places.number = Some(blanks(out));
        out.extend_from_slice(b",\"epoch\":\"");
        decimal(out, epoch);
        out.extend_from_slice(b"\"}");
    }
    for (name, value) in ext.and_then(reading::entries).unwrap_or_default() {
        if SERVER_EXT.contains(&&*name) {
            continue;
        }
        out.extend_from_slice(before);
        before = b",";
        string(out, &name);
        out.push(b':');
        raw(out, value.get());
    }
    if before == b"," {
        out.push(b'}');
    }
}

/// What a client shall do after its connection ends (Bayeux 1.0, "reconnect advice field").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reconnect {
    /// Connect again with the same session.
    Retry,
    /// Shake hands anew.
    Handshake,
    /// Do not come back.
    None,
}

impl Reconnect {
    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Handshake => "handshake",
            Self::None => "none",
        }
    }
}

/// The advice of a reply (Bayeux 1.0, "advice"). Clients replace the old advice as a whole, so it is written whole:
/// `reconnect`, `interval` and `timeout`. With [`Reconnect::None`] the times would mean nothing and are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyAdvice {
    /// What to do next.
    pub reconnect: Reconnect,
    /// How long to wait before that, ms.
    pub interval: u64,
    /// How long the server will hold a connect, ms.
    pub timeout: u64,
    /// Whether to say that several clients share one browser; `false` is not written.
    pub multiple_clients: bool,
    /// The connection type to use from now on. Not of Bayeux: clients of ours read it, others leave it alone.
    pub connection_type: Option<&'static str>,
}

impl ReplyAdvice {
    /// What to do next, after how long, ms, and how long connects are held, ms.
    #[must_use]
    pub fn new(reconnect: Reconnect, interval: u64, timeout: u64) -> Self {
        Self { reconnect, interval, timeout, multiple_clients: false, connection_type: None }
    }

    /// Appends the object.
    #[doc(hidden)]
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        if self.multiple_clients {
            out.extend_from_slice(b"\"multiple-clients\":true,");
        }
        out.extend_from_slice(b"\"reconnect\":");
        string(out, self.reconnect.as_str());
        if self.reconnect != Reconnect::None {
            out.extend_from_slice(b",\"interval\":");
            decimal(out, self.interval);
            out.extend_from_slice(b",\"timeout\":");
            decimal(out, self.timeout);
        }
        if let Some(connection_type) = self.connection_type {
            out.extend_from_slice(b",\"connection-type\":");
            string(out, connection_type);
        }
        out.push(b'}');
    }
}

/// What only the reply of a successful or failed handshake has (Bayeux 1.0, "Handshake Response"), besides the
/// versions, which are always `1.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// The transports that the server offers.
    pub supported_connection_types: &'a [&'a str],
}

/// The reply to a message (Bayeux 1.0, "Meta Message Field Definitions" and "Publish Response"). Never has `data`:
/// clients tell replies from events by that. `Reply::default()` with a channel is a reply of `successful:false`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reply<'a> {
    /// The channel of the message, as it was sent, valid or not.
    pub channel: &'a str,
    /// The id of the message.
    pub id: Option<Id<'a>>,
    /// Whether the message had its effect.
    pub successful: bool,
    /// The session; handshake replies need it.
    pub client_id: Option<&'a str>,
    /// Set on handshake replies.
    pub handshake: Option<Handshake<'a>>,
    /// The `subscription` of the message, as JSON text.
    pub subscription: Option<&'a str>,
    /// Why it failed.
    pub error: Option<Error<'a>>,
    /// What the client shall do.
    pub advice: Option<ReplyAdvice>,
    /// A JSON object, as text.
    pub ext: Option<&'a str>,
    /// The time as ISO 8601 text.
    pub timestamp: Option<&'a str>,
    /// How many events follow the reply to a handshake, for CometD's `x-messages`.
    pub messages: Option<usize>,
}

impl Reply<'_> {
    /// Appends the reply.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"channel\":");
        string(out, self.channel);
        if let Some(id) = self.id {
            out.extend_from_slice(b",\"id\":");
            raw(out, id.as_json());
        }
        out.extend_from_slice(if self.successful { b",\"successful\":true" } else { b",\"successful\":false" });
        if let Some(client_id) = self.client_id {
            out.extend_from_slice(b",\"clientId\":");
            string(out, client_id);
        }
        if let Some(handshake) = &self.handshake {
            handshake.write(out);
        }
        if let Some(subscription) = self.subscription {
            out.extend_from_slice(b",\"subscription\":");
            raw(out, subscription);
        }
        if let Some(error) = &self.error {
            out.extend_from_slice(b",\"error\":");
            error_string(out, error);
        }
        if let Some(advice) = &self.advice {
            out.extend_from_slice(b",\"advice\":");
            advice.write(out);
        }
        if let Some(ext) = self.ext {
            out.extend_from_slice(b",\"ext\":");
            raw(out, ext);
        }
        if let Some(timestamp) = self.timestamp {
            out.extend_from_slice(b",\"timestamp\":");
            string(out, timestamp);
        }
        if let Some(messages) = self.messages {
            out.extend_from_slice(b",\"x-messages\":");
            decimal(out, messages as u64);
        }
        out.push(b'}');
    }
}

impl Handshake<'_> {
    /// Writes its fields into an open object that is not empty.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"version\":\"1.0\",\"minimumVersion\":\"1.0\",\"supportedConnectionTypes\":[");
        let mut first = true;
        for name in self.supported_connection_types {
            if !first {
                out.push(b',');
            }
            first = false;
            string(out, name);
        }
        out.push(b']');
    }
}

/// Writes `"code:args:message"`.
fn error_string(out: &mut Vec<u8>, error: &Error<'_>) {
    let (code, arguments, message) = error.parts();
    out.push(b'"');
    decimal(out, u64::from(code));
    out.push(b':');
    escaped(out, &arguments);
    out.push(b':');
    escaped(out, &message);
    out.push(b'"');
}

/// Appends a JSON value that is kept as text: line ends, which can only stand between tokens, become spaces, and U+2028
/// and U+2029, which can only stand within strings, become escapes. Nothing else changes.
pub fn raw(out: &mut Vec<u8>, json: &str) {
    // Looking at every byte without stopping early is what compilers turn into wide instructions.
    let suspect = json.bytes().fold(false, |found, byte| found | matches!(byte, b'\r' | b'\n' | 0xE2));
    if !suspect {
        out.extend_from_slice(json.as_bytes());
        return;
    }
    for piece in json.split_inclusive(['\r', '\n', '\u{2028}', '\u{2029}']) {
        let mut rest = piece.chars();
        let replacement: &[u8] = match rest.next_back() {
            Some('\r' | '\n') => b" ",
            Some('\u{2028}') => b"\\u2028",
            Some('\u{2029}') => b"\\u2029",
            _ => {
                // The last piece ends in nothing special.
                out.extend_from_slice(piece.as_bytes());
                continue;
            }
        };
        out.extend_from_slice(rest.as_str().as_bytes());
        out.extend_from_slice(replacement);
    }
}

/// Appends a text as a JSON string, quotes included.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

/// Appends the inside of a JSON string.
fn escaped(out: &mut Vec<u8>, text: &str) {
    for piece in text.split_inclusive(|c| matches!(c, '"' | '\\' | '\0'..='\x1f' | '\u{2028}' | '\u{2029}')) {
        let mut rest = piece.chars();
        let last = rest.next_back();
        let short: &[u8] = match last {
            Some('"') => b"\\\"",
            Some('\\') => b"\\\\",
            Some('\n') => b"\\n",
            Some('\r') => b"\\r",
            Some('\t') => b"\\t",
            Some('\u{2028}') => b"\\u2028",
            Some('\u{2029}') => b"\\u2029",
            Some('\0'..='\x1f') => b"\\u00",
            _ => {
                out.extend_from_slice(piece.as_bytes());
                continue;
            }
        };
        out.extend_from_slice(rest.as_str().as_bytes());
        out.extend_from_slice(short);
        if let (b"\\u00", Some(control)) = (short, last) {
            let code = u32::from(control);
            out.extend(
                [code >> 4, code & 15].into_iter().filter_map(|digit| char::from_digit(digit, 16)).map(|c| c as u8),
            );
        }
    }
}

/// Appends a number in decimal digits.
pub fn decimal(out: &mut Vec<u8>, number: u64) {
    // 20 digits hold `u64::MAX`; they are found from the last to the first.
    let mut digits = [0_u8; 20];
    let mut unused = digits.len();
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.wrapping_add((rest % 10) as u8);
        unused = unused.saturating_sub(1);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(unused..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::super::decode::decode;
    use super::*;
    use crate::limits::Limits;
    use proptest::prelude::*;
    use serde_json::Value;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"before".to_vec();
        write(&mut out);
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_string()
    }

    fn is_one_line(text: &str) -> bool {
        !text.contains(['\r', '\n', '\u{2028}', '\u{2029}'])
    }

    /// The event of a published message.
    fn event_of(body: &str) -> String {
        let messages = decode(body.as_bytes(), &Limits::default()).unwrap();
        let [message] = messages.as_slice() else { return String::new() };
        let name = message.channel.clone().unwrap();
        written(|out| {
            event(out, Channel::parse(&name).unwrap(), message, Marks::default());
        })
    }

    #[test]
    fn an_event_keeps_data_ext_and_extra_fields_only() {
        let body = r#"{"channel":"/a","id":"7","clientId":"c","version":"1.0","minimumVersion":"1.0",
            "supportedConnectionTypes":["x"],"connectionType":"x","subscription":"/b","successful":true,"error":"e",
            "advice":{"reconnect":"none"},"timestamp":"t","x":[1],"data":{"n":1},"ext":{"u":1},"y\"":"\u00e9","x":2}"#;
        let expected = r#"{"channel":"/a","data":{"n":1},"ext":{"u":1},"x":[1],"y\"":"\u00e9","x":2}"#;
        assert_eq!(event_of(body), expected);
    }

    #[test]
    fn a_plain_event() {
        assert_eq!(event_of(r#"{"channel":"/a","data":"x","clientId":"c"}"#), r#"{"channel":"/a","data":"x"}"#);
        assert_eq!(event_of(r#"{"channel":"/a","data":null}"#), r#"{"channel":"/a","data":null}"#);
        assert_eq!(event_of(r#"{"channel":"/a"}"#), r#"{"channel":"/a","data":null}"#);
    }

    #[test]
    fn the_servers_ext_is_taken_out_however_it_is_written() {
        let ext = |ext: &str| event_of(&format!(r#"{{"channel":"/a","data":1,"ext":{ext}}}"#));
        let with = |ext: &str| format!(r#"{{"channel":"/a","data":1,"ext":{ext}}}"#);
        let without = r#"{"channel":"/a","data":1}"#;
        assert_eq!(ext(r#"{"replay":1}"#), without);
        assert_eq!(ext(r#"{"replay":1,"gap":{},"ack":true,"ack":false}"#), without);
        assert_eq!(ext(r#"{"\u0061ck":1,"g\u0061p":1,"repl\u0061\u0079":1}"#), without);
        assert_eq!(ext("{}"), without);
        assert_eq!(ext("null"), without);
        assert_eq!(
            ext(r#"{"ack":1,"a":{"ack":2},"gap":3,"acks":[4.50],"replay":5}"#),
            with(r#"{"a":{"ack":2},"acks":[4.50]}"#)
        );
        assert_eq!(ext("{ \"a\" : \r\n [ 1,\n2 ] }"), with(r#"{"a":[ 1, 2 ]}"#));
    }

    #[test]
    fn numbers_in_data_keep_every_digit() {
        let data = "[1e400,0.10,123456789012345678901234567890,-0,1E+2,1.0]";
        assert_eq!(
            event_of(&format!(r#"{{"channel":"/a","data":{data}}}"#)),
            format!(r#"{{"channel":"/a","data":{data}}}"#)
        );
    }

    #[test]
    fn raw_text_becomes_one_line() {
        assert_eq!(written(|out| raw(out, "{\"a\":\r\n 1,\n\n\"b\":2}")), "{\"a\":   1,  \"b\":2}");
        assert_eq!(written(|out| raw(out, "\"\u{2028}x\u{2029}\"")), r#""\u2028x\u2029""#);
        // These share their first byte, or the first two, with U+2028, and stay.
        assert_eq!(written(|out| raw(out, "\"…€\u{2027}\u{202a}\"")), "\"…€\u{2027}\u{202a}\"");
        assert_eq!(written(|out| raw(out, "\"…\"\n")), "\"…\" ");
        // Each of the four alone.
        assert_eq!(written(|out| raw(out, "[\r]")), "[ ]");
        assert_eq!(written(|out| raw(out, "[\n]")), "[ ]");
        assert_eq!(written(|out| raw(out, "\"\u{2028}\"")), r#""\u2028""#);
        assert_eq!(written(|out| raw(out, "\"\u{2029}\"")), r#""\u2029""#);
        assert_eq!(written(|out| raw(out, "")), "");
        assert_eq!(written(|out| raw(out, "\t\"\\n\\u2028</script>\"")), "\t\"\\n\\u2028</script>\"");
    }

    fn numbered(data: &str, ext: Option<&str>, number: NumberMark<'_>) -> String {
        let ext = ext.map(|ext| format!(r#","ext":{ext}"#)).unwrap_or_default();
        let body = format!(r#"{{"channel":"/a","data":{data}{ext},"own":1}}"#);
        let messages = decode(body.as_bytes(), &Limits::default()).unwrap();
        let mut out = Vec::new();
        let marks = Marks { timestamp: None, number: Some(number) };
        let places = event(&mut out, Channel::parse("/a").unwrap(), messages.first().unwrap(), marks);
        write_number(&mut out, places.number.unwrap(), 1_882_193_920_000_001);
        assert!(serde_json::from_slice::<Value>(&out).is_ok());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_number_goes_beside_the_data() {
        let mark = NumberMark::Ext(1_795_000_000);
        let replay = r#""replay":{"id":1882193920000001,"epoch":"1795000000"}"#;
        let expected = |ext: &str| format!(r#"{{"channel":"/a","data":{{"x":1}},"ext":{{{replay}{ext}}},"own":1}}"#);
        assert_eq!(numbered(r#"{"x":1}"#, None, mark), expected(""));
        assert_eq!(numbered(r#"{"x":1}"#, Some(r#"{"u":2,"replay":5,"ack":1}"#), mark), expected(r#","u":2"#));
    }

    #[test]
    fn a_number_goes_into_the_data() {
        let mark = NumberMark::Data("2026-11-21T00:00:00.000Z");
        let number = r#""createdDate":"2026-11-21T00:00:00.000Z","replayId":1882193920000001"#;
        for (data, inside) in [
            (r#"{"x":[1],"y":2}"#, format!(r#""x":[1],"y":2,"event":{{{number}}}"#)),
            ("{}", format!(r#""event":{{{number}}}"#)),
            (
                r#"{"event":{"type":"created","replayId":1,"createdDate":5},"sobject":{}}"#,
                format!(r#""sobject":{{}},"event":{{"type":"created",{number}}}"#),
            ),
            (r#"{"event":5}"#, format!(r#""payload":{{"event":5}},"event":{{{number}}}"#)),
            (r#""text""#, format!(r#""payload":"text","event":{{{number}}}"#)),
            ("null", format!(r#""payload":null,"event":{{{number}}}"#)),
            ("[1]", format!(r#""payload":[1],"event":{{{number}}}"#)),
        ] {
            assert_eq!(numbered(data, None, mark), format!(r#"{{"channel":"/a","data":{{{inside}}},"own":1}}"#));
        }
    }

    #[test]
    fn the_time_stands_behind_the_data() {
        let marks = Marks { timestamp: Some("2026"), number: None };
        let event = written(|out| _ = event_from_parts(out, Channel::parse("/a").unwrap(), "1", marks));
        assert_eq!(event, r#"{"channel":"/a","data":1,"timestamp":"2026"}"#);
        let reply = Reply { channel: "/a", timestamp: Some("2026"), messages: Some(2), ..Reply::default() };
        let expected = r#"{"channel":"/a","successful":false,"timestamp":"2026","x-messages":2}"#;
        assert_eq!(written(|out| reply.write(out)), expected);
    }

    #[test]
    fn fewer_digits_leave_blanks() {
        let mut json = b"[                ]".to_vec();
        write_number(&mut json, 1, 70);
        assert_eq!(json, b"[              70]");
    }

    #[test]
    fn the_servers_own_event() {
        let channel = Channel::parse("/a/b").unwrap();
        assert_eq!(
            written(|out| {
                event_from_parts(out, channel, "{\n}", Marks::default());
            }),
            r#"{"channel":"/a/b","data":{ }}"#
        );
    }

    #[test]
    fn strings() {
        assert_eq!(written(|out| string(out, "")), r#""""#);
        assert_eq!(written(|out| string(out, "plain é😀/'<\u{7f}")), "\"plain é😀/'<\u{7f}\"");
        assert_eq!(
            written(|out| string(out, "\"\\\n\r\t\0\u{1}\u{1f}\u{8}\u{c} ")),
            r#""\"\\\n\r\t\u0000\u0001\u001f\u0008\u000c ""#
        );
        assert_eq!(written(|out| string(out, "a\u{2028}\u{2029}b\u{2027}")), "\"a\\u2028\\u2029b\u{2027}\"");
    }

    #[test]
    fn every_low_character_survives_a_string() {
        for c in (0..0x3000).filter_map(char::from_u32) {
            let text = format!("a{c}{c}b");
            let json = written(|out| string(out, &text));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            assert!(is_one_line(&json));
        }
    }

    #[test]
    fn decimals() {
        for number in [0, 1, 9, 10, 99, 100, 30_000, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            assert_eq!(written(|out| decimal(out, number)), number.to_string());
        }
    }

    #[test]
    fn a_minimal_reply() {
        let reply = Reply { channel: "/meta/disconnect", successful: true, ..Reply::default() };
        assert_eq!(written(|out| reply.write(out)), r#"{"channel":"/meta/disconnect","successful":true}"#);
    }

    #[test]
    fn a_handshake_reply() {
        let reply = Reply {
            channel: "/meta/handshake",
            id: Some(Id("\"1\"")),
            successful: true,
            client_id: Some("abc"),
            handshake: Some(Handshake { supported_connection_types: &["websocket", "long-polling"] }),
            advice: Some(ReplyAdvice {
                reconnect: Reconnect::Retry,
                interval: 0,
                timeout: 30_000,
                multiple_clients: false,
                connection_type: None,
            }),
            ext: Some("{\"ack\":\ntrue}"),
            ..Reply::default()
        };
        let expected = concat!(
            r#"{"channel":"/meta/handshake","id":"1","successful":true,"clientId":"abc","version":"1.0","#,
            r#""minimumVersion":"1.0","supportedConnectionTypes":["websocket","long-polling"],"#,
            r#""advice":{"reconnect":"retry","interval":0,"timeout":30000},"ext":{"ack": true}}"#
        );
        assert_eq!(written(|out| reply.write(out)), expected);
    }

    #[test]
    fn a_failed_reply() {
        let reply = Reply {
            channel: "/meta/sub\"scribe\n",
            id: Some(Id("1.50")),
            subscription: Some("[ \"/a\",\r\n5 ]"),
            error: Some(Error::ChannelInvalid("/a\"\\\u{1}\u{2028}")),
            advice: Some(ReplyAdvice {
                reconnect: Reconnect::None,
                interval: 5,
                timeout: 6,
                multiple_clients: false,
                connection_type: None,
            }),
            ..Reply::default()
        };
        let expected = concat!(
            r#"{"channel":"/meta/sub\"scribe\n","id":1.50,"successful":false,"subscription":[ "/a",  5 ],"#,
            r#""error":"405:/a\"\\\u0001\u2028:channel_invalid","advice":{"reconnect":"none"}}"#
        );
        assert_eq!(written(|out| reply.write(out)), expected);
    }

    #[test]
    fn advice_of_several_clients_and_of_a_lost_session() {
        let advice = ReplyAdvice {
            reconnect: Reconnect::Retry,
            interval: 2_000,
            timeout: 30_000,
            multiple_clients: true,
            connection_type: None,
        };
        let expected = r#"{"multiple-clients":true,"reconnect":"retry","interval":2000,"timeout":30000}"#;
        assert_eq!(written(|out| advice.write(out)), expected);
        let advice = ReplyAdvice {
            reconnect: Reconnect::Handshake,
            interval: 0,
            timeout: 45_000,
            multiple_clients: false,
            connection_type: None,
        };
        let expected = r#"{"reconnect":"handshake","interval":0,"timeout":45000}"#;
        assert_eq!(written(|out| advice.write(out)), expected);
    }

    #[test]
    fn ids_go_back_as_they_came() {
        for id in [r#""0""#, "0", "-1", "1.0", "1e400", r#""\u0041\"é""#, r#""""#] {
            let body = format!(r#"{{"id": {id} }}"#);
            let messages = decode(body.as_bytes(), &Limits::default()).unwrap();
            let id_read = messages.first().unwrap().id;
            let reply = Reply { channel: "/a", id: id_read, successful: true, ..Reply::default() };
            assert_eq!(written(|out| reply.write(out)), format!(r#"{{"channel":"/a","id":{id},"successful":true}}"#));
        }
    }

    fn json() -> impl Strategy<Value = String> {
        let text =
            "[a-z\"\\\\\u{0}-\u{1f}é…\u{2027}-\u{202a}😀]{0,6}".prop_map(|text| serde_json::to_string(&text).unwrap());
        let number =
            prop::sample::select(vec!["0", "-1.50", "1E5", "123456789012345678901234567890"]).prop_map(String::from);
        let space = || prop::sample::select(vec!["", " ", "\n", "\r\n", "\t"]);
        prop_oneof![text.clone(), number].prop_recursive(3, 20, 4, move |inner| {
            let member = (text.clone(), space(), inner.clone())
                .prop_map(|(name, space, value)| format!("{name}{space}:{value}"));
            prop_oneof![
                (prop::collection::vec(inner, 0..4), space())
                    .prop_map(|(list, space)| format!("[{space}{}]", list.join(&format!("{space},")))),
                (prop::collection::vec(member, 0..4), space())
                    .prop_map(|(list, space)| format!("{{{space}{}}}", list.join(&format!(",{space}")))),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_event_is_one_line_that_means_the_same(data in json(), extra in json(), ext in json()) {
            let name = "z\\u2028";
            let body = format!(r#"{{"channel":"/a","data":{data},"{name}":{extra},"ext":{{"q":{ext},"ack":1}}}}"#);
            let event = event_of(&body);
            prop_assert!(is_one_line(&event));
            let event: Value = serde_json::from_str(&event).unwrap();
            let mut body: Value = serde_json::from_str(&body).unwrap();
            body.get_mut("ext").unwrap().as_object_mut().unwrap().remove("ack");
            prop_assert_eq!(event, body);
        }

        #[test]
        fn a_reply_is_one_line_of_json(channel in any::<String>(), reason in any::<String>(), ext in json()) {
            let error = Error::PublishDenied(&reason);
            let (client_id, ext) = (Some(&*reason), Some(&*ext));
            let reply = Reply { channel: &channel, error: Some(error), client_id, ext, ..Reply::default() };
            let text = written(|out| reply.write(out));
            prop_assert!(is_one_line(&text));
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(value.get("channel").unwrap().as_str().unwrap(), &channel);
            prop_assert_eq!(value.get("clientId").unwrap().as_str().unwrap(), &reason);
            let error = error.to_string();
            prop_assert_eq!(value.get("error").unwrap().as_str().unwrap(), &error);
        }

        #[test]
        fn decimals_agree_with_the_library(number in any::<u64>(), shift in 0_u32..64) {
            let number = number >> shift;
            prop_assert_eq!(written(|out| decimal(out, number)), number.to_string());
        }
    }
}
