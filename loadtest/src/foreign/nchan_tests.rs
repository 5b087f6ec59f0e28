//! The subscriber on what nchan 1.3.6 in nginx 1.22.1 sent.

use super::*;
use crate::protocol::Protocol;

const ALLOWED: &str = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 06:53:55 GMT\r\n\
    Content-Length: 0\r\nConnection: keep-alive\r\nAllow: GET\r\n\r\n";
const LATE: &str = "HTTP/1.1 408 Request Timeout\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 06:53:57 GMT\r\n\
    Content-Length: 0\r\nConnection: keep-alive\r\nVary: If-None-Match, If-Modified-Since\r\n\r\n";
const MESSAGE: &str = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 06:54:00 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: 18\r\nLast-Modified: Sat, 21 Nov 2026 06:54:00 GMT\r\n\
    Connection: keep-alive\r\nEtag: 0\r\nVary: If-None-Match, If-Modified-Since\r\n\r\n{\"e\":[7,0,0,1000]}";
const STREAM: &str = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 06:54:01 GMT\r\n\
    Content-Type: text/event-stream; charset=utf-8\r\nConnection: keep-alive\r\n\r\n\
    : hi\n\nid: 1795244041:0\ndata: {\"e\":[7,0,0,1000]}\n\nid: 1795244041:1\ndata: other\n\n\
    id: 1795244042:0\ndata: {\"e\":[7,0,1,1000]}\n\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nServer: nginx/1.22.1\r\n\
    Date: Sat, 21 Nov 2026 06:54:02 GMT\r\nContent-Length: 0\r\nConnection: upgrade\r\nSec-WebSocket-Accept: ";
const FRAMES: &[u8] =
    b"Upgrade: websocket\r\n\r\n\x81\x12{\"e\":[7,0,0,1000]}\x81\x05other\x81\x12{\"e\":[7,0,1,1000]}";
const CREATED: &str = "HTTP/1.1 201 Created\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 06:54:04 GMT\r\n\
    Content-Type: text/json\r\nContent-Length: 85\r\nConnection: keep-alive\r\n\r\n\
    {\"messages\": 4, \"requested\": 1, \"subscribers\": 1, \"last_message_id\": \"1795244044:0\" }";

fn script() -> Script {
    let target = |path: &str| Target { host: "h:1".into(), path: path.into() };
    Script {
        protocol: Protocol::Nchan,
        target: target("/sub/"),
        publish: target("/pub"),
        channels: vec!["/load".into()],
        deflate: false,
        ack: false,
    }
}

/// A subscriber that has begun, and what it sent.
fn begun(transport: Transport, channels: &[u32]) -> (Subscriber, String) {
    let mut subscriber = Subscriber::new(Role { transport, channels: channels.into(), persists: false });
    let mut output = Output::default();
    subscriber.begin(&script(), &mut output);
    assert!(!subscriber.is_parked());
    (subscriber, String::from_utf8(output.request).unwrap())
}

fn event(seq: u32) -> Event {
    Event { run: 7, flow: 0, seq, sent_us: 1000 }
}

/// Takes the bytes in two pieces.
fn take(subscriber: &mut Subscriber, bytes: &[u8], split: usize) -> Result<Output, Fault> {
    let mut output = Output::default();
    subscriber.receive(&bytes[..split], &script(), &mut output)?;
    subscriber.receive(&bytes[split..], &script(), &mut output)?;
    Ok(output)
}

#[test]
fn each_poll_names_the_message_before_it() {
    for split in 0..=MESSAGE.len() {
        let (mut subscriber, request) = begun(Transport::LongPolling, &[0]);
        assert_eq!(request, "OPTIONS /sub/load HTTP/1.1\r\nHost: h:1\r\n\r\n");
        let output = take(&mut subscriber, ALLOWED.as_bytes(), split.min(ALLOWED.len())).unwrap();
        assert!(subscriber.is_parked());
        assert_eq!(output.request, b"GET /sub/load HTTP/1.1\r\nHost: h:1\r\n\r\n");
        let output = take(&mut subscriber, LATE.as_bytes(), split.min(LATE.len())).unwrap();
        assert_eq!((output.empty_polls, output.events.len()), (1, 0));
        assert_eq!(output.request, b"GET /sub/load HTTP/1.1\r\nHost: h:1\r\n\r\n");
        let output = take(&mut subscriber, MESSAGE.as_bytes(), split).unwrap();
        assert_eq!((output.empty_polls, output.events), (0, vec![event(0)]));
        let expected = "GET /sub/load HTTP/1.1\r\nHost: h:1\r\nIf-Modified-Since: Sat, 21 Nov 2026 06:54:00 GMT\r\n\
            If-None-Match: 0\r\n\r\n";
        assert_eq!(String::from_utf8(output.request).unwrap(), expected);
        let output = take(&mut subscriber, LATE.as_bytes(), split.min(LATE.len())).unwrap();
        assert_eq!(String::from_utf8(output.request).unwrap(), expected, "after a poll without a message");
    }
}

#[test]
fn an_event_stream_has_a_message_in_each_line_of_data() {
    for split in 0..=STREAM.len() {
        let (mut subscriber, request) = begun(Transport::EventSource, &[0]);
        assert_eq!(request, "GET /sub/load HTTP/1.1\r\nHost: h:1\r\nAccept: text/event-stream\r\n\r\n");
        let output = take(&mut subscriber, STREAM.as_bytes(), split).unwrap();
        assert!(subscriber.is_parked() && output.request.is_empty());
        assert_eq!((output.events, output.notes), (vec![event(0), event(1)], vec!["other".into()]), "at {split}");
    }
}

#[test]
fn a_websocket_has_a_message_in_each_frame() {
    for split in 0..SWITCHING.len() + FRAMES.len() {
        let (mut subscriber, request) = begun(Transport::WebSocket, &[0]);
        let key = request.split_once("Sec-WebSocket-Key: ").unwrap().1.lines().next().unwrap();
        let accept = encke::ws::handshake::accept(key.as_bytes());
        let bytes = [SWITCHING.as_bytes(), &accept, b"\r\n", FRAMES].concat();
        let output = take(&mut subscriber, &bytes, split).unwrap();
        assert!(subscriber.is_parked() && request.starts_with("GET /sub/load HTTP/1.1\r\n"));
        assert_eq!((output.events, output.notes), (vec![event(0), event(1)], vec!["other".into()]), "at {split}");
    }
}

#[test]
fn who_subscribes_to_nothing_only_opens() {
    let (mut subscriber, request) = begun(Transport::WebSocket, &[]);
    assert!(request.starts_with("OPTIONS /sub/load "), "{request}");
    let output = take(&mut subscriber, ALLOWED.as_bytes(), 0).unwrap();
    assert!(subscriber.is_parked() && output.request.is_empty());
    assert_eq!(subscriber.ended(), Ended::Nothing);
    assert_eq!(take(&mut subscriber, MESSAGE.as_bytes(), 0).unwrap_err().kind, FaultKind::Protocol);
}

#[test]
fn what_is_wrong_is_told() {
    let (mut subscriber, _) = begun(Transport::LongPolling, &[0]);
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(take(&mut subscriber, missing.as_bytes(), 0).unwrap_err().to_string(), "HTTP 404 while polling");
    let (mut subscriber, _) = begun(Transport::LongPolling, &[0]);
    take(&mut subscriber, ALLOWED.as_bytes(), 0).unwrap();
    let untagged = MESSAGE.replace("Etag: 0\r\n", "");
    assert_eq!(take(&mut subscriber, untagged.as_bytes(), 0).unwrap_err().kind, FaultKind::Protocol);
    assert!(matches!(subscriber.ended(), Ended::Fault(fault) if fault.kind == FaultKind::Closed));
    subscriber.fail();
    assert_eq!((subscriber.is_parked(), subscriber.ended()), (false, Ended::Nothing));
}

#[test]
fn a_publish_is_one_message_and_its_answer_says_who_listened() {
    let batch = Batch { first: event(3), count: 1, size: 0 };
    let mut out = Vec::new();
    write_publish(&mut out, &script().publish, "/load", batch);
    let request = String::from_utf8(out).unwrap();
    assert!(request.starts_with("POST /pub/load HTTP/1.1\r\n") && request.ends_with("\r\n\r\n{\"e\":[7,0,3,1000]}"));
    let judge = |text: &str| judge_publish(&http::parse(text.as_bytes()).unwrap().unwrap());
    assert_eq!(judge(CREATED).unwrap(), Verdict { accepted: 1, ..Verdict::default() });
    assert_eq!(judge(&CREATED.replace("201 Created", "202 Accepted")).unwrap().accepted, 1);
    assert_eq!(judge(&CREATED.replace("201 Created", "507 Full")).unwrap_err().kind, FaultKind::Status);
}
