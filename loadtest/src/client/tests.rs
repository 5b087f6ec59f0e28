//! The client on recorded replies.

use super::*;
use crate::http::Target;
use crate::protocol::Protocol;
use encke::ws::frame::{Decoder, Incoming, Opcode, Role as Side, Rules};
use encke::ws::write::Frame;

const HANDSHAKE: &str = r#"[{"channel":"/meta/handshake","id":"1","successful":true,"version":"1.0","clientId":"c1",
    "supportedConnectionTypes":["long-polling"],"advice":{"reconnect":"retry","interval":0,"timeout":30000}}]"#;
const SUBSCRIBED: &str = r#"[{"channel":"/meta/subscribe","id":"2","successful":true,"subscription":"/load"}]"#;
const CONNECTED: &str = r#"[{"channel":"/meta/connect","id":"3","successful":true}]"#;

fn script() -> Script {
    let target = Target { host: "h".into(), path: "/cometd".into() };
    Script {
        protocol: Protocol::Bayeux,
        publish: target.clone(),
        target,
        channels: vec!["/load".into()],
        deflate: false,
        ack: false,
    }
}

fn client(transport: Transport) -> Session {
    Session::new(Role { transport, channels: [0].into(), persists: false })
}

fn ok(body: &str) -> Vec<u8> {
    let cookie = if body.contains("handshake") { "Set-Cookie: BAYEUX_BROWSER=b1; Path=/; HttpOnly\r\n" } else { "" };
    format!("HTTP/1.1 200 OK\r\n{cookie}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Takes one response and gives the step with the request that follows.
fn take(client: &mut Session, bytes: &[u8]) -> Result<(Step, String, Output), Fault> {
    let mut output = Output::default();
    let step = client.receive(Lane::Main, bytes, &script(), &mut output)?;
    Ok((step, String::from_utf8(output.request.clone()).unwrap(), output))
}

fn parked() -> Session {
    let mut client = client(Transport::LongPolling);
    client.begin(&script(), &mut Output::default());
    for body in [HANDSHAKE, SUBSCRIBED, CONNECTED] {
        assert_eq!(take(&mut client, &ok(body)).unwrap().0, Step::Wait);
    }
    assert_eq!(client.state, State::Holding);
    client
}

#[test]
fn from_the_handshake_to_a_held_connect() {
    let mut client = client(Transport::LongPolling);
    let mut output = Output::default();
    client.begin(&script(), &mut output);
    assert!(output.request.ends_with(br#""supportedConnectionTypes":["long-polling"],"id":"1"}]"#));
    let (_, request, _) = take(&mut client, &ok(HANDSHAKE)).unwrap();
    assert!(request.contains("Cookie: BAYEUX_BROWSER=b1\r\n"), "{request}");
    assert!(request.ends_with(r#""clientId":"c1","id":"2","subscription":"/load"}]"#), "{request}");
    let (_, request, _) = take(&mut client, &ok(SUBSCRIBED)).unwrap();
    assert!(request.ends_with(r#""connectionType":"long-polling","advice":{"timeout":0}}]"#), "{request}");
    let (step, request, output) = take(&mut client, &ok(CONNECTED)).unwrap();
    assert!(request.ends_with(r#""id":"3","connectionType":"long-polling"}]"#), "{request}");
    assert_eq!((step, output.empty_polls, client.state), (Step::Wait, 0, State::Holding));
}

#[test]
fn a_publisher_does_not_subscribe() {
    let mut client = Session::new(Role::default());
    client.begin(&script(), &mut Output::default());
    let (_, request, _) = take(&mut client, &ok(HANDSHAKE)).unwrap();
    assert!(request.contains("/meta/connect") && client.state == State::Joining, "{request}");
}

#[test]
fn events_come_before_or_after_the_reply_at_every_split_point() {
    let event = |seq| format!(r#"{{"channel":"/load","data":{{"e":[9,0,{seq},5],"p":"xx"}}}}"#);
    let reply = &CONNECTED[1..CONNECTED.len() - 1];
    let before = ok(&format!("[{},{},{reply}]", event(0), event(1)));
    // Faye puts the reply first, and the publisher's id on the event.
    let after = ok(&format!(r#"[{reply},{},{}]"#, event(0).replace(r#","data""#, r#","id":"4","data""#), event(1)));
    for bytes in [before, after] {
        for split in 0..=bytes.len() {
            let mut client = parked();
            let mut output = Output::default();
            let first = client.receive(Lane::Main, &bytes[..split], &script(), &mut output).unwrap();
            let whole = !output.request.is_empty();
            client.receive(Lane::Main, &bytes[split..], &script(), &mut output).unwrap();
            assert_eq!((first, whole), (Step::Wait, split == bytes.len()));
            assert!(!output.request.is_empty(), "split at {split}");
            let seqs: Vec<u32> = output.events.iter().map(|event| event.seq).collect();
            assert_eq!((seqs, output.empty_polls), (vec![0, 1], 0), "split at {split}");
        }
    }
}

#[test]
fn an_empty_poll_is_counted_and_repeated() {
    let (step, request, output) = take(&mut parked(), &ok(CONNECTED)).unwrap();
    assert_eq!((step, output.empty_polls), (Step::Wait, 1));
    assert!(request.contains("/meta/connect"));
}

#[test]
fn events_of_others_are_strangers() {
    let body = r#"[{"channel":"/load","data":"hello"},{"channel":"/meta/connect","id":"3","successful":true}]"#;
    let (_, _, output) = take(&mut parked(), &ok(body)).unwrap();
    assert_eq!((output.notes.len(), output.events.len(), output.empty_polls), (1, 0, 0));
}

#[test]
fn the_advised_interval_is_waited() {
    let mut client = parked();
    let body = r#"[{"channel":"/meta/connect","id":"3","successful":true,
        "advice":{"reconnect":"retry","interval":250,"timeout":1}}]"#;
    let (step, request, _) = take(&mut client, &ok(body)).unwrap();
    assert_eq!((step, request.as_str(), client.state), (Step::Pause(250), "", State::Pausing));
    let mut output = Output::default();
    client.resume(&script(), &mut output);
    assert!(!output.request.is_empty() && client.state == State::Holding);
    // It stays until another advice comes.
    assert_eq!(take(&mut client, &ok(CONNECTED)).unwrap().0, Step::Pause(250));
}

#[test]
fn each_fault_has_its_kind() {
    let connect = |fields: &str| format!(r#"[{{"channel":"/meta/connect","id":"3",{fields}}}]"#);
    let cases = [
        (
            connect(
                r#""successful":false,"error":"402::session_unknown","advice":{"reconnect":"handshake","interval":0}"#,
            ),
            FaultKind::SessionUnknown,
        ),
        (connect(r#""successful":false,"error":"429::too_many""#), FaultKind::Refused),
        (connect(r#""successful":true,"advice":{"reconnect":"none"}"#), FaultKind::Advice),
        (connect(r#""successful":true,"advice":{"reconnect":"handshake"}"#), FaultKind::Advice),
        (connect(r#""successful":true"#).replace(r#""3""#, "3"), FaultKind::Protocol),
        (connect(r#""successful":true"#).replace("connect", "disconnect"), FaultKind::Protocol),
        ("[]".into(), FaultKind::Protocol),
        ("{".into(), FaultKind::Protocol),
    ];
    for (body, kind) in cases {
        assert_eq!(take(&mut parked(), &ok(&body)).unwrap_err().kind, kind, "{body}");
    }
    let status = b"HTTP/1.1 500 Oops\r\nContent-Length: 10\r\n\r\nsuperseded";
    let fault = take(&mut parked(), status).unwrap_err();
    assert_eq!((fault.kind, fault.text.as_str()), (FaultKind::Status, "HTTP 500 while polling: superseded"));
    assert_eq!(take(&mut parked(), b"nonsense\r\n").unwrap_err().kind, FaultKind::Http);
}

#[test]
fn a_second_response_is_a_fault() {
    let twice = [ok(CONNECTED), ok(CONNECTED)].concat();
    assert_eq!(take(&mut parked(), &twice).unwrap_err().kind, FaultKind::Protocol);
}

#[test]
fn connection_close_is_passed_on() {
    let response = ok(CONNECTED);
    let text = String::from_utf8(response).unwrap().replacen("\r\n", "\r\nConnection: close\r\n", 1);
    assert!(take(&mut parked(), text.as_bytes()).unwrap().2.close == Some(Lane::Main));
}

/// A client on a WebSocket that has asked to be opened, and the answer that opens it.
fn upgrading(deflate: bool) -> (Session, Vec<u8>) {
    let mut client = client(Transport::WebSocket);
    let mut output = Output::default();
    client.begin(&Script { deflate, ..script() }, &mut output);
    assert_eq!((client.state, client.awaits()), (State::Upgrading, true));
    let request = String::from_utf8(output.request).unwrap();
    let (_, rest) = request.split_once("Sec-WebSocket-Key: ").unwrap();
    let accept = encke::ws::handshake::accept(rest.lines().next().unwrap().as_bytes());
    let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: ".to_vec();
    answer.extend_from_slice(&accept);
    if deflate {
        answer.extend_from_slice(b"\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover");
    }
    answer.extend_from_slice(b"\r\n\r\n");
    (client, answer)
}

fn frame(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    Frame::whole(Opcode::Text).write(&mut out, text.as_bytes());
    out
}

/// Takes bytes and gives the step, and the requests that follow, unmasked.
fn take_frames(client: &mut Session, bytes: &[u8]) -> Result<(Step, Vec<Incoming>, Output), Fault> {
    let mut output = Output::default();
    let step = client.receive(Lane::Main, bytes, &script(), &mut output)?;
    let limits = encke::limits::Limits::default();
    let rules = Rules { role: Side::Server, deflate: false, limits: &limits };
    let (mut decoder, mut rest, mut requests) = (Decoder::default(), &output.request[..], Vec::new());
    while !rest.is_empty() {
        let (used, incoming) = decoder.next(rest, &rules).unwrap();
        requests.extend(incoming);
        rest = &rest[used..];
    }
    Ok((step, requests, output))
}

fn parked_on_socket() -> Session {
    let (mut client, answer) = upgrading(false);
    for bytes in [answer, frame(HANDSHAKE), frame(SUBSCRIBED), frame(CONNECTED)] {
        assert_eq!(take_frames(&mut client, &bytes).unwrap().0, Step::Wait);
    }
    assert_eq!(client.state, State::Holding);
    client
}

#[test]
fn from_the_upgrade_to_a_held_connect() {
    let (mut client, answer) = upgrading(false);
    let mut sent = |bytes: &[u8]| {
        let (step, requests, output) = take_frames(&mut client, bytes).unwrap();
        let [Incoming::Text(text)] = &requests[..] else { panic!("{requests:?}") };
        assert_eq!((step, output.empty_polls, output.deflating), (Step::Wait, 0, 0));
        String::from_utf8(text.clone()).unwrap()
    };
    assert!(sent(&answer).contains(r#""supportedConnectionTypes":["websocket"]"#));
    assert!(sent(&frame(HANDSHAKE)).ends_with(r#""clientId":"c1","id":"2","subscription":"/load"}]"#));
    assert!(sent(&frame(SUBSCRIBED)).ends_with(r#""connectionType":"websocket","advice":{"timeout":0}}]"#));
    assert!(sent(&frame(CONNECTED)).ends_with(r#""id":"3","connectionType":"websocket"}]"#));
    assert_eq!(client.state, State::Holding);
}

#[test]
fn events_come_with_a_reply_or_without_at_every_split_point() {
    let event = |seq| format!(r#"{{"channel":"/load","data":{{"e":[9,0,{seq},5],"p":"xx"}}}}"#);
    let reply = &CONNECTED[1..CONNECTED.len() - 1];
    let batches =
        [format!("[{},{}]", event(0), event(1)), format!("[{}]", event(2)), format!("[{reply},{}]", event(3))];
    let bytes: Vec<u8> = batches.iter().flat_map(|batch| frame(batch)).collect();
    for split in 0..=bytes.len() {
        let mut client = parked_on_socket();
        let mut output = Output::default();
        client.receive(Lane::Main, &bytes[..split], &script(), &mut output).unwrap();
        client.receive(Lane::Main, &bytes[split..], &script(), &mut output).unwrap();
        assert!(!output.request.is_empty(), "split at {split}");
        let seqs: Vec<u32> = output.events.iter().map(|event| event.seq).collect();
        assert_eq!((seqs, output.empty_polls), (vec![0, 1, 2, 3], 0), "split at {split}");
    }
    // Without a reply nothing follows; without an event the connect had its time.
    let mut client = parked_on_socket();
    assert_eq!(take_frames(&mut client, &frame(&batches[0])).unwrap().0, Step::Wait);
    let (step, requests, output) = take_frames(&mut client, &frame(CONNECTED)).unwrap();
    assert_eq!((step, requests.len(), output.empty_polls), (Step::Wait, 1, 1));
}

#[test]
fn pings_are_answered_even_while_pausing() {
    let mut client = parked_on_socket();
    let advised = CONNECTED.replace("}]", r#","advice":{"interval":250}}]"#);
    let mut bytes = frame(&advised);
    encke::ws::write::write_ping(&mut bytes, b"are you there", None);
    let (step, requests, _) = take_frames(&mut client, &bytes).unwrap();
    assert_eq!((step, requests), (Step::Pause(250), vec![Incoming::Pong(b"are you there".to_vec())]));
    assert!(!client.awaits());
    let ended = client.ended(Lane::Main, &script(), &mut Output::default());
    assert!(matches!(ended, Ended::Fault(_)), "{ended:?}");
    let event = r#"[{"channel":"/load","data":{"e":[9,0,0,5]}}]"#;
    let (step, _, output) = take_frames(&mut client, &frame(event)).unwrap();
    assert_eq!((step, output.events.len(), client.state), (Step::Wait, 1, State::Pausing));
    let fault = take_frames(&mut client, &frame(CONNECTED)).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Protocol);
}

#[test]
fn compressed_messages_are_opened_and_counted() {
    let (mut client, answer) = upgrading(true);
    assert_eq!(take_frames(&mut client, &answer).unwrap().2.deflating, 1);
    let mut payload = Vec::new();
    encke::ws::deflate::Deflater::default().compress(HANDSHAKE.as_bytes(), &mut payload);
    let mut bytes = Vec::new();
    Frame { deflated: true, ..Frame::whole(Opcode::Text) }.write(&mut bytes, &payload);
    let (step, requests, output) = take_frames(&mut client, &bytes).unwrap();
    assert_eq!((step, requests.len(), output.deflated), (Step::Wait, 1, 1));
    assert_eq!(client.state, State::Subscribing);
}

#[test]
fn a_second_reply_on_a_socket_is_a_fault() {
    let twice = [frame(CONNECTED), frame(CONNECTED)].concat();
    let fault = take_frames(&mut parked_on_socket(), &twice).unwrap_err();
    assert_eq!((fault.kind, fault.text.as_str()), (FaultKind::Protocol, "a reply to no request"));
}

/// Takes bytes on a lane; gives the step and what is to be sent on both.
fn take_on(client: &mut Session, lane: Lane, bytes: &[u8]) -> Result<(Step, [String; 2], Output), Fault> {
    let mut output = Output::default();
    let step = client.receive(lane, bytes, &script(), &mut output)?;
    let sent = [&output.request, &output.side].map(|bytes| String::from_utf8(bytes.clone()).unwrap());
    Ok((step, sent, output))
}

const STREAM: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn streaming() -> Session {
    let mut client = client(Transport::Streaming);
    client.begin(&script(), &mut Output::default());
    for body in [HANDSHAKE, SUBSCRIBED, CONNECTED] {
        take_on(&mut client, Lane::Main, &ok(body)).unwrap();
    }
    assert!(client.state == State::Holding && !client.is_parked());
    client
}

#[test]
fn a_stream_is_confirmed_before_it_counts_at_every_split_point() {
    let probe = r#"[{"channel":"/service/probe","data":{"probe":7}}]"#;
    let event = |seq| format!(r#"{{"channel":"/load","data":{{"e":[9,0,{seq},5]}}}}"#);
    let opening = [STREAM, &chunk(&format!("{probe}\n"))].concat();
    let mut client = streaming();
    let (_, [main, side], _) = take_on(&mut client, Lane::Main, opening.as_bytes()).unwrap();
    assert!(main.is_empty() && side.ends_with(r#""data":{},"ext":{"probe":7}}]"#), "{main} {side}");
    assert!(!client.is_parked(), "the confirmation is under way");
    let confirmed = ok(r#"[{"channel":"/service/probe","id":"5","successful":true}]"#);
    let (_, _, output) = take_on(&mut client, Lane::Side, &confirmed).unwrap();
    assert!(client.is_parked() && output.close == Some(Lane::Side));
    let last = format!("[{},{}]\n", event(3), &CONNECTED[1..CONNECTED.len() - 1]);
    let lines = [chunk(&format!("[{},{}]\n", event(0), event(1))), chunk("\n"), chunk(&format!("[{}]\n", event(2)))];
    let rest = [lines.concat(), chunk(&last), "0\r\n\r\n".into()].concat();
    for split in 0..=rest.len() {
        let mut client = streaming();
        client.receive(Lane::Main, opening.as_bytes(), &script(), &mut Output::default()).unwrap();
        take_on(&mut client, Lane::Side, &confirmed).unwrap();
        let mut output = Output::default();
        for part in [&rest[..split], &rest[split..]] {
            client.receive(Lane::Main, part.as_bytes(), &script(), &mut output).unwrap();
        }
        let seqs: Vec<u32> = output.events.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, [0, 1, 2, 3], "split at {split}");
        let next = String::from_utf8(output.request).unwrap();
        assert!(next.ends_with(r#""id":"3","connectionType":"streaming"}]"#), "split at {split}: {next}");
        assert!(!client.is_parked(), "the next stream is to open");
    }
}

#[test]
fn a_stream_without_a_probe_counts_at_once() {
    let mut client = streaming();
    take_on(&mut client, Lane::Main, STREAM.as_bytes()).unwrap();
    assert!(client.is_parked());
    let without_reply = [&chunk("[]\n"), "0\r\n\r\n"].concat();
    let fault = take_on(&mut client, Lane::Main, without_reply.as_bytes()).unwrap_err();
    assert_eq!((fault.kind, fault.text.as_str()), (FaultKind::Protocol, "no reply while polling"));
}

#[test]
fn an_event_stream_stands_beside_its_connects() {
    let mut client = client(Transport::EventSource);
    client.begin(&script(), &mut Output::default());
    take_on(&mut client, Lane::Main, &ok(HANDSHAKE)).unwrap();
    let (_, [main, side], _) = take_on(&mut client, Lane::Main, &ok(SUBSCRIBED)).unwrap();
    assert!(main.starts_with("GET /cometd/c1 HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n"), "{main}");
    assert!(main.contains("Cookie: BAYEUX_BROWSER=b1\r\n") && side.is_empty());
    let opening = [STREAM, &chunk("retry: 5000\n\n")].concat();
    let (_, [main, side], _) = take_on(&mut client, Lane::Main, opening.as_bytes()).unwrap();
    assert!(main.is_empty() && side.contains(r#""connectionType":"eventsource","advice":{"timeout":0}"#), "{side}");
    let advised = CONNECTED.replace("}]", r#","advice":{"interval":30000,"timeout":0}}]"#);
    let (step, _, output) = take_on(&mut client, Lane::Side, &ok(&advised)).unwrap();
    assert!((step, output.close) == (Step::Pause(30_000), Some(Lane::Side)) && client.is_parked());
    let event = r#"{"channel":"/load","data":{"e":[9,0,0,5]}}"#;
    let lines = chunk(&format!("data: [{event}]\n\n:\n\nevent: message\r\ndata:[{event}]\r\n\r\n"));
    for split in 0..=lines.len() {
        let mut output = Output::default();
        for part in [&lines[..split], &lines[split..]] {
            client.receive(Lane::Main, part.as_bytes(), &script(), &mut output).unwrap();
        }
        assert_eq!((output.events.len(), output.request.len()), (2, 0), "split at {split}");
    }
    // Its end is the beginning of the next, whichever way it ends.
    let (_, [main, _], _) = take_on(&mut client, Lane::Main, b"0\r\n\r\n").unwrap();
    assert!(main.starts_with("GET /cometd/c1 ") && !client.is_parked(), "{main}");
    take_on(&mut client, Lane::Main, opening.as_bytes()).unwrap();
    let mut output = Output::default();
    assert_eq!(client.ended(Lane::Main, &script(), &mut output), Ended::GoesOn);
    assert!(output.request.starts_with(b"GET /cometd/c1 "));
    client.resume(&script(), &mut output);
    assert!(output.side.ends_with(br#""connectionType":"eventsource"}]"#));
}

#[test]
fn batches_are_acknowledged_where_the_server_agrees() {
    let script = Script { ack: true, ..script() };
    let mut client = client(Transport::LongPolling);
    let mut output = Output::default();
    client.begin(&script, &mut output);
    assert!(output.request.ends_with(br#""ext":{"ack":true}}]"#));
    let mut asked = |body: &str| {
        output.clear();
        client.receive(Lane::Main, &ok(body), &script, &mut output).unwrap();
        String::from_utf8(output.request.clone()).unwrap()
    };
    asked(&HANDSHAKE.replace(r#""successful""#, r#""ext":{"ack":true},"successful""#));
    assert!(asked(SUBSCRIBED).contains(r#""ext":{"ack":-1}"#));
    let numbered = |number| CONNECTED.replace("}]", &format!(r#","ext":{{"ack":{number},"gap":{{"/load":3}}}}}}]"#));
    assert!(asked(&numbered(4)).contains(r#""ext":{"ack":4}"#));
    assert!(asked(CONNECTED).contains(r#""ext":{"ack":4}"#), "no number is no news");
    assert_eq!(output.dropped, 0);
    output.clear();
    client.receive(Lane::Main, &ok(&numbered(5)), &script, &mut output).unwrap();
    assert_eq!(output.dropped, 3);
    let mut other = self::client(Transport::LongPolling);
    other.begin(&script, &mut Output::default());
    let fault = other.receive(Lane::Main, &ok(HANDSHAKE), &script, &mut Output::default()).unwrap_err();
    assert!(fault.kind == FaultKind::Refused && fault.text.contains("does not take acknowledgements"), "{fault}");
}

#[test]
fn who_loses_its_connection_comes_back_to_its_session() {
    let came_back = |transport, mut client: Session| {
        let mut output = Output::default();
        client.returns(&script(), &mut output);
        assert!(!client.is_parked(), "{transport}");
        [output.request, output.side].map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let [main, _] = came_back("long-polling", parked());
    assert!(main.contains(r#""clientId":"c1","id":"3","#) && main.contains(r#""advice":{"timeout":0}"#), "{main}");
    let mut streams = streaming();
    take_on(&mut streams, Lane::Main, STREAM.as_bytes()).unwrap();
    assert!(came_back("streaming", streams)[0].contains(r#""connectionType":"streaming","advice":{"timeout":0}"#));
    assert!(came_back("websocket", parked_on_socket())[0].contains("Upgrade: websocket"));
    // Who had not joined has no session to come back to.
    let mut fresh = client(Transport::LongPolling);
    fresh.begin(&script(), &mut Output::default());
    take(&mut fresh, &ok(HANDSHAKE)).unwrap();
    assert!(came_back("long-polling", fresh)[0].contains("/meta/handshake"));
}

#[test]
fn a_forgotten_session_begins_anew_where_that_is_allowed() {
    let forgotten = r#"[{"channel":"/meta/connect","id":"3","successful":false,"error":"402::session_unknown",
        "advice":{"reconnect":"handshake","interval":0}}]"#;
    let mut client = parked();
    client.role.persists = true;
    let (step, request, output) = take(&mut client, &ok(forgotten)).unwrap();
    assert_eq!((step, output.anew, client.state), (Step::Wait, 1, State::Handshaking));
    assert!(request.contains("/meta/handshake") && client.client_id().is_empty(), "{request}");
    take(&mut client, &ok(HANDSHAKE)).unwrap();
    assert_eq!(client.state, State::Subscribing);
}

#[test]
fn clients_publish_over_their_own_transport() {
    let first = Event { run: 1, flow: 0, seq: 0, sent_us: 3 };
    let batch = Batch { first, count: 2, size: 0 };
    let answer = r#"[{"channel":"/load","id":"4","successful":true},{"channel":"/load","id":"4","successful":false}]"#;
    let mut client = parked();
    let mut output = Output::default();
    client.publish("/load", batch, &script(), &mut output);
    assert!(output.request.is_empty() && output.side.ends_with(br#""data":{"e":[1,0,1,3]}}]"#));
    let (_, [main, side], output) = take_on(&mut client, Lane::Side, &ok(answer)).unwrap();
    assert_eq!((main + &side, output.accepted, output.refused, output.close), (String::new(), 1, 1, None));
    assert_eq!(take_on(&mut client, Lane::Side, &ok(answer)).unwrap_err().kind, FaultKind::Protocol);
    client.publish("/load", Batch { count: 1, ..batch }, &script(), &mut Output::default());
    let fault = take_on(&mut client, Lane::Side, &ok(answer)).unwrap_err();
    assert_eq!((fault.kind, fault.text.as_str()), (FaultKind::Protocol, "an answer to no publish"));
    let mut client = parked_on_socket();
    let mut output = Output::default();
    client.publish("/load", batch, &script(), &mut output);
    assert!(output.side.is_empty() && !output.request.is_empty());
    let (step, requests, output) = take_frames(&mut client, &frame(answer)).unwrap();
    assert_eq!((step, requests.len(), output.accepted, output.refused), (Step::Wait, 0, 1, 1));
    assert_eq!(take_frames(&mut client, &frame(answer)).unwrap_err().text, "an answer to no publish");
}

#[test]
fn all_subscribes_are_waited_for() {
    let script = Script { channels: vec!["/a".into(), "/b".into()], ..script() };
    let mut client = Session::new(Role { channels: [0, 1].into(), ..Role::default() });
    let mut output = Output::default();
    client.begin(&script, &mut output);
    output.clear();
    client.receive(Lane::Main, &ok(HANDSHAKE), &script, &mut output).unwrap();
    assert!(output.request.ends_with(br#""subscription":"/b"}]"#));
    let one = &SUBSCRIBED[1..SUBSCRIBED.len() - 1];
    let fault = client.receive(Lane::Main, &ok(&format!("[{one}]")), &script, &mut Output::default()).unwrap_err();
    assert_eq!(fault.text, "no reply while subscribing");
    client.state = State::Subscribing;
    client.due = 2;
    client.receive(Lane::Main, &ok(&format!("[{one},{one}]")), &script, &mut Output::default()).unwrap();
    assert_eq!(client.state, State::Joining);
}
