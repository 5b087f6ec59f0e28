//! How one batch looks on each wire.
//!
//! Owns the bytes around events and replies. Beside `conn`, the only room that tells wire forms apart. Must not know
//! sessions or sockets.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use core::fmt::Write;
use std::rc::Rc;

use crate::chunk::{Bytes, Pending};
use crate::event::Event;
use crate::reply::{Gap, Replies};
use crate::ws::frame::Opcode;
use crate::ws::write::Frame;

/// The connection types that this server can offer.
pub const TRANSPORTS: [&str; 7] = [
    "websocket",
    "streaming",
    "eventsource",
    "long-polling",
    "cross-origin-long-polling",
    "callback-polling",
    "iframe",
];
/// Bytes of a forever frame before its first script: some browsers show nothing of a page until they have that many.
const PADDING: usize = 2 * 1024;
/// Between the parts of a multipart stream.
const BOUNDARY: &str = "encke";
/// How long a browser waits before it opens an event stream again, ms.
const RETRY_MS: u32 = 5_000;

/// The form in which events and replies go to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A JSON array as a whole response body: long-polling.
    Json,
    /// A call of this function with a JSON array, as a script: callback-polling.
    Callback(Rc<Box<str>>),
    /// A JSON array on a line of its own: streaming.
    Lines,
    /// A script element that calls this function of the parent with a JSON array: the forever frame.
    Script(Rc<Box<str>>),
    /// A JSON array as an event of an event stream: `eventsource` as Faye speaks it.
    EventStream,
    /// Each event as one of an event stream, its channel as `event`, its data as `data`.
    Events,
    /// Each event as a JSON object on a line.
    Ndjson,
    /// Each event as a part of `multipart/x-mixed-replace`.
    Multipart,
    /// Text frames of a WebSocket (RFC 6455), each with a JSON array.
    Frames {
        /// Whether events may go compressed (RFC 7692), if they have been packed.
        deflate: bool,
    },
}

/// Something that takes the bytes of a batch.
trait Sink {
    fn bytes(&mut self, bytes: &[u8]);
    fn event(&mut self, json: &Bytes);
}

/// Takes nothing but the length.
struct Length(usize);

impl Sink for Length {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len());
    }

    fn event(&mut self, json: &Bytes) {
        self.0 = self.0.saturating_add(json.len());
    }
}

impl Sink for Pending {
    fn bytes(&mut self, bytes: &[u8]) {
        self.buffer().extend_from_slice(bytes);
    }

    fn event(&mut self, json: &Bytes) {
        self.push_shared(json);
    }
}

impl Wire {
    /// The `Content-Type` of a response in this form.
    pub const fn media_type(&self) -> &'static str {
        match self {
            Self::Json | Self::Lines => "application/json;charset=UTF-8",
            Self::Callback(_) => "text/javascript;charset=UTF-8",
            Self::Script(_) => "text/html;charset=UTF-8",
            Self::EventStream | Self::Events => "text/event-stream;charset=UTF-8",
            Self::Ndjson => "application/x-ndjson;charset=UTF-8",
            Self::Multipart => "multipart/x-mixed-replace;boundary=encke",
            Self::Frames { .. } => "",
        }
    }

    /// The `Content-Disposition` of a response in this form. A script that is opened instead of run is a download.
    pub const fn disposition(&self) -> Option<&'static str> {
        match self {
            Self::Callback(_) => Some("attachment; filename=f.txt"),
            _ => None,
        }
    }

    /// Whether responses in this form stay open while events go over them.
    pub const fn is_stream(&self) -> bool {
        !matches!(self, Self::Json | Self::Callback(_) | Self::Frames { .. })
    }

    /// What a stream begins with.
    pub fn opening(&self, opening: Opening) -> Vec<u8> {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = match self {
            Self::Script(_) => writeln!(text, "<!doctype html><title>encke</title><body>{:1$}", "", PADDING),
            Self::EventStream | Self::Events => write!(text, "retry: {RETRY_MS}\n\n"),
            Self::Multipart => write!(text, "--{BOUNDARY}\r\n"),
            Self::Json | Self::Callback(_) | Self::Lines | Self::Ndjson | Self::Frames { .. } => Ok(()),
        };
        if let (Self::Events, Some(cursor)) = (self, opening.cursor) {
            // Without data it is no event, and is remembered even so (HTML, "Server-sent events", 9.2.6).
            let _ = write!(text, "id: {cursor}\n\n");
        }
        let mut bytes = text.into_bytes();
        if let Some(number) = opening.probe {
            let mut replies = Replies::default();
            let probe = format!(r#"{{"channel":"/service/probe","data":{{"probe":{number}}}}}"#);
            replies.push(|out| out.extend_from_slice(probe.as_bytes()));
            let mut pending = Pending::default();
            Batch { gap: None, events: &[], replies: &replies }.write(self, &mut pending);
            bytes.append(pending.buffer());
        }
        bytes
    }

    /// What is sent on a stream that has been silent for long: it means nothing, and shows that somebody is there.
    pub const fn heartbeat(&self) -> &'static [u8] {
        match self {
            Self::EventStream | Self::Events => b":\n\n",
            Self::Lines | Self::Ndjson | Self::Script(_) => b"\n",
            // Between parts nothing may stand.
            Self::Multipart | Self::Json | Self::Callback(_) | Self::Frames { .. } => b"",
        }
    }
}

/// What the beginning of a stream says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// What its client is to confirm.
    pub probe: Option<u32>,
    /// The number after which its events come; to be told to browsers, which give it back when they open the next one.
    pub cursor: Option<u64>,
}

/// The longest header of a frame of the server's, and the brackets around an event.
const FRAME_ROOM: usize = 10 + 2;

/// Events, then replies.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// What is missing before them. Only the wires of those who do not speak Bayeux tell that: to others a reply does.
    pub gap: Option<&'a Gap>,
    /// Events, in the order of delivery.
    pub events: &'a [Rc<Event>],
    /// Encoded replies, all ready.
    pub replies: &'a Replies,
}

impl Batch<'_> {
    /// Bytes that [`Batch::write`] will append.
    pub fn len(&self, wire: &Wire) -> usize {
        let mut length = Length(0);
        self.emit(wire, &mut length);
        length.0
    }

    /// Appends the batch in its wire form.
    pub fn write(&self, wire: &Wire, out: &mut Pending) {
        if let Wire::Frames { .. } = wire {
            // Nothing stands in front of them that has made room.
            out.reserve(self.room_for_frames());
        }
        self.emit(wire, out);
    }

    /// At least the bytes of all frames, and hardly more.
    fn room_for_frames(&self) -> usize {
        let events = self.events.iter().map(|event| event.json().len().saturating_add(FRAME_ROOM));
        let replies = self.replies.ready().map(|reply| reply.len().saturating_add(1)).fold(0, usize::saturating_add);
        let replies = if replies > 0 { replies.saturating_add(FRAME_ROOM) } else { 0 };
        events.fold(replies, usize::saturating_add)
    }

    fn emit(&self, wire: &Wire, sink: &mut impl Sink) {
        match wire {
            Wire::Json => self.array(sink),
            Wire::Lines => {
                self.array(sink);
                sink.bytes(b"\n");
            }
            Wire::EventStream => {
                sink.bytes(b"data: ");
                self.array(sink);
                sink.bytes(b"\n\n");
            }
            Wire::Callback(name) => {
                sink.bytes(b"/**/");
                sink.bytes(name.as_bytes());
                sink.bytes(b"(");
                self.script_array(sink);
                sink.bytes(b");");
            }
            Wire::Script(name) => {
                sink.bytes(b"<script>parent.");
                sink.bytes(name.as_bytes());
                sink.bytes(b"(");
                self.script_array(sink);
                sink.bytes(b");</script>\n");
            }
            Wire::Events => {
                if let Some(gap) = self.gap {
                    event_id(gap.cursor, sink);
                    sink.bytes(b"event: gap\ndata: ");
                    sink.bytes(&gap.names);
                    sink.bytes(b"\n\n");
                }
                for event in self.events {
                    event_id(event.id(), sink);
                    sink.bytes(b"event: ");
                    sink.bytes(event.channel());
                    sink.bytes(b"\ndata: ");
                    sink.bytes(event.data());
                    sink.bytes(b"\n\n");
                }
            }
            Wire::Ndjson => {
                self.gap_object(b"", b"\n", sink);
                for event in self.events {
                    sink.event(event.json());
                    sink.bytes(b"\n");
                }
            }
            Wire::Multipart => {
                self.gap_object(b"Content-Type: application/json\r\n\r\n", b"\r\n--encke\r\n", sink);
                for event in self.events {
                    sink.bytes(b"Content-Type: application/json\r\n\r\n");
                    sink.event(event.json());
                    sink.bytes(b"\r\n--");
                    sink.bytes(BOUNDARY.as_bytes());
                    sink.bytes(b"\r\n");
                }
            }
            Wire::Frames { deflate } => self.frames(*deflate, sink),
        }
    }

    /// `{"gap":{…}}` or `{"gap":{…},"id":…}`, if there is one.
    fn gap_object(&self, before: &[u8], after: &[u8], sink: &mut impl Sink) {
        if let Some(gap) = self.gap {
            sink.bytes(before);
            sink.bytes(b"{\"gap\":");
            sink.bytes(&gap.names);
            if let Some(cursor) = gap.cursor {
                sink.bytes(format!(",\"id\":{cursor}").as_bytes());
            }
            sink.bytes(b"}");
            sink.bytes(after);
        }
    }

    /// `[event,…,reply,…]`
    fn array(&self, sink: &mut impl Sink) {
        self.gap_object(b"[", b"", sink);
        let mut separator: &[u8] = if self.gap.is_some() { b"," } else { b"[" };
        for event in self.events {
            sink.bytes(separator);
            sink.event(event.json());
            separator = b",";
        }
        for reply in self.replies.ready() {
            sink.bytes(separator);
            sink.bytes(reply);
            separator = b",";
        }
        sink.bytes(if separator == b"[" { b"[]" } else { b"]" });
    }

    /// The same where a script element, or whatever a browser takes for the end of one, must not be in it.
    fn script_array(&self, sink: &mut impl Sink) {
        let events = self.events.iter().map(|event| &**event.json());
        let mut separator: &[u8] = b"[";
        for item in events.chain(self.replies.ready()) {
            sink.bytes(separator);
            separator = b",";
            // In JSON it can only stand within strings.
            for (at, piece) in item.split(|byte| *byte == b'<').enumerate() {
                sink.bytes(if at == 0 { b"" } else { b"\\u003c" });
                sink.bytes(piece);
            }
        }
        sink.bytes(if separator == b"[" { b"[]" } else { b"]" });
    }

    /// A frame for each event, the same for everyone, and one for the replies.
    ///
    /// Not one frame for all: the compressed form of an event is made once and holds for everybody only as a message of
    /// its own, and what is written in one go costs one system call either way.
    ///
    /// Unless both go: then the reply numbers the events, and who got those without it would get them twice.
    fn frames(&self, deflate: bool, sink: &mut impl Sink) {
        let text = Frame::whole(Opcode::Text);
        if !self.events.is_empty() && self.replies.ready().next().is_some() {
            let mut length = Length(0);
            self.array(&mut length);
            sink.bytes(text.header(length.0).as_bytes());
            return self.array(sink);
        }
        for event in self.events {
            if let Some(packed) = event.packed().filter(|_| deflate) {
                sink.bytes(Frame { deflated: true, ..text }.header(packed.len()).as_bytes());
                sink.event(packed);
            } else {
                sink.bytes(text.header(event.json().len().saturating_add(2)).as_bytes());
                sink.bytes(b"[");
                sink.event(event.json());
                sink.bytes(b"]");
            }
        }
        let mut replies = self.replies.ready().peekable();
        if replies.peek().is_some() || self.events.is_empty() {
            // Brackets, and each reply with a comma in front of it but for the first.
            let with_commas = replies.map(|reply| reply.len().saturating_add(1)).fold(0, usize::saturating_add);
            sink.bytes(text.header(with_commas.max(1).saturating_add(1)).as_bytes());
            Batch { gap: None, events: &[], replies: self.replies }.array(sink);
        }
    }
}

/// The line of an event stream that names the number to go on from.
fn event_id(id: Option<u64>, sink: &mut impl Sink) {
    if let Some(id) = id {
        sink.bytes(format!("id: {id}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Wire; 7] = [
        Wire::Json,
        Wire::Lines,
        Wire::EventStream,
        Wire::Events,
        Wire::Ndjson,
        Wire::Multipart,
        Wire::Frames { deflate: false },
    ];

    fn framed_as(wire: &Wire, events: &[&str], replies: &[&str]) -> String {
        let events: Vec<Rc<Event>> = events
            .iter()
            .map(|data| {
                let json = format!(r#"{{"channel":"/a","data":{data}}}"#);
                Event::new(json.as_bytes(), 23..23 + data.len())
            })
            .collect();
        let mut slots = Replies::default();
        for reply in replies {
            slots.push(|out| out.extend_from_slice(reply.as_bytes()));
        }
        let batch = Batch { gap: None, events: &events, replies: &slots };
        let mut out = Pending::default();
        batch.write(wire, &mut out);
        assert_eq!(out.len(), batch.len(wire), "the length is announced before the bytes are written");
        String::from_utf8_lossy(out.buffer()).into_owned()
    }

    #[test]
    fn must_2_a_response_is_always_an_array() {
        assert_eq!(framed_as(&Wire::Json, &[], &[]), "[]");
        assert_eq!(framed_as(&Wire::Json, &[], &["{}"]), "[{}]");
        assert_eq!(framed_as(&Wire::Json, &["1"], &[]), r#"[{"channel":"/a","data":1}]"#);
    }

    #[test]
    fn must_5_events_stand_before_replies() {
        let expected = r#"[{"channel":"/a","data":1},{"channel":"/a","data":2},3,4]"#;
        assert_eq!(framed_as(&Wire::Json, &["1", "2"], &["3", "4"]), expected);
        assert_eq!(framed_as(&Wire::Lines, &["1", "2"], &["3", "4"]), format!("{expected}\n"));
        assert_eq!(framed_as(&Wire::EventStream, &["1", "2"], &["3", "4"]), format!("data: {expected}\n\n"));
    }

    #[test]
    fn must_3_nothing_in_a_script_can_end_it() {
        let call = Wire::Callback(Rc::new("a.b".into()));
        let evil = r#""</script><!--""#;
        assert_eq!(
            framed_as(&call, &[evil], &[r#"{"id":"<"}"#]),
            r#"/**/a.b([{"channel":"/a","data":"\u003c/script>\u003c!--"},{"id":"\u003c"}]);"#
        );
        let frame = framed_as(&Wire::Script(Rc::new("cb".into())), &[evil], &[]);
        assert_eq!(frame.matches('<').count(), 2, "{frame}");
        assert!(frame.starts_with("<script>parent.cb([") && frame.ends_with("]);</script>\n"), "{frame}");
    }

    #[test]
    fn plain_wires_carry_events_only() {
        assert_eq!(framed_as(&Wire::Events, &["1", "{}"], &["x"]), "event: /a\ndata: 1\n\nevent: /a\ndata: {}\n\n");
        assert_eq!(framed_as(&Wire::Ndjson, &["1"], &["x"]), "{\"channel\":\"/a\",\"data\":1}\n");
        let part = "Content-Type: application/json\r\n\r\n{\"channel\":\"/a\",\"data\":1}\r\n--encke\r\n";
        assert_eq!(framed_as(&Wire::Multipart, &["1"], &["x"]), part);
    }

    #[test]
    fn who_does_not_speak_bayeux_is_told_of_gaps_and_numbers() {
        let json = br#"{"channel":"/a","data":1}"#;
        let event = Event::numbered(json, 23..24, Some(70));
        let (events, replies) = ([event], Replies::default());
        let gap = Gap { names: b"{\"/a\":-1}".to_vec(), cursor: None };
        let batch = Batch { gap: Some(&gap), events: &events, replies: &replies };
        let told = |wire: &Wire| {
            let mut out = Pending::default();
            batch.write(wire, &mut out);
            assert_eq!(out.len(), batch.len(wire));
            String::from_utf8_lossy(out.buffer()).into_owned()
        };
        let told_gap = "event: gap\ndata: {\"/a\":-1}\n\n";
        assert_eq!(told(&Wire::Events), format!("{told_gap}id: 70\nevent: /a\ndata: 1\n\n"));
        assert_eq!(told(&Wire::Json), r#"[{"gap":{"/a":-1}},{"channel":"/a","data":1}]"#);
        assert_eq!(told(&Wire::Ndjson), "{\"gap\":{\"/a\":-1}}\n{\"channel\":\"/a\",\"data\":1}\n");
        let part = |json: &str| format!("Content-Type: application/json\r\n\r\n{json}\r\n--encke\r\n");
        let expected = part(r#"{"gap":{"/a":-1}}"#) + &part(r#"{"channel":"/a","data":1}"#);
        assert_eq!(told(&Wire::Multipart), expected);
        let gap = Gap { cursor: Some(69), ..gap.clone() };
        let alone = Batch { gap: Some(&gap), events: &[], ..batch };
        let mut out = Pending::default();
        alone.write(&Wire::Json, &mut out);
        assert_eq!(out.buffer(), br#"[{"gap":{"/a":-1},"id":69}]"#);
        let mut out = Pending::default();
        alone.write(&Wire::Events, &mut out);
        assert_eq!(out.buffer(), b"id: 69\nevent: gap\ndata: {\"/a\":-1}\n\n");
        let opening = Wire::Events.opening(Opening { probe: None, cursor: Some(69) });
        assert!(opening.ends_with(b"\n\nid: 69\n\n"));
    }

    #[test]
    fn must_7_each_event_is_a_frame_unless_a_reply_goes_with_it() {
        let event = |data: &str| format!("{{\"channel\":\"/a\",\"data\":{data}}}");
        let framed = |events: &[&str], replies: &[&str]| framed_as(&Wire::Frames { deflate: false }, events, replies);
        assert_eq!(framed(&["1", "2"], &[]), format!("\u{fffd}\u{1b}[{}]\u{fffd}\u{1b}[{}]", event("1"), event("2")));
        assert_eq!(framed(&["1"], &["2", "3"]), format!("\u{fffd}\u{1f}[{},2,3]", event("1")));
        assert_eq!(framed(&[], &["2", "3"]), "\u{fffd}\u{5}[2,3]");
        assert_eq!(framed_as(&Wire::Frames { deflate: false }, &[], &[]), "\u{fffd}\u{2}[]");
    }

    #[test]
    fn streams_begin_with_what_browsers_need_and_the_probe() {
        let probe_7 = Opening { probe: Some(7), cursor: None };
        for wire in ALL.iter().filter(|wire| wire.is_stream()) {
            let probe = String::from_utf8(wire.opening(probe_7)).unwrap();
            let plain = wire.opening(Opening::default());
            assert!(probe.as_bytes().starts_with(&plain), "{wire:?}");
        }
        assert_eq!(Wire::Lines.opening(Opening::default()), b"");
        let probe = "[{\"channel\":\"/service/probe\",\"data\":{\"probe\":7}}]\n";
        assert_eq!(Wire::Lines.opening(probe_7), probe.as_bytes());
        let frame = Wire::Script(Rc::new("cb".into())).opening(probe_7);
        assert!(frame.len() > PADDING + 40);
    }
}
