//! What hostile people do, one step at a time.
//!
//! Owns the list. Whatever is published here for channels that others read is in a request that must be refused as a whole:
//! it has no mark, so whoever got it would say so.

use std::sync::LazyLock;

use crate::sim::client::Scene;
use crate::sim::speech;
use crate::ws::frame::Opcode;
use crate::ws::write::Frame;

use super::{HANDSHAKE, Hostile};

/// One step of an assault.
pub(super) type Assault = fn(&mut Hostile, &mut Scene<'_, '_>);

/// All of them, by name.
pub(super) const ASSAULTS: &[(&str, Assault)] = &[
    ("garbage", garbage),
    ("a request with an error in it", broken_request),
    ("smuggling", smuggle),
    ("a slow head", slow_head),
    ("a slow body", slow_body),
    ("reads nothing", slow_reader),
    ("ends its sending side", half_close),
    ("resets", reset),
    ("many connections", connections),
    ("many handshakes", handshakes),
    ("many subscriptions", subscriptions),
    ("guesses client ids", guess),
    ("a huge batch", huge_batch),
    ("deep JSON", deep_json),
    ("pipelined polls", pipelined_polls),
    ("many pings", pings),
    ("endless fragments", fragments),
    ("a bomb of DEFLATE", bomb),
    ("a stream that is not confirmed", unconfirmed),
    ("many publishes", publishes),
    ("never acknowledges", no_acks),
    ("says everything again", again),
    ("half bodies", half_bodies),
    ("half messages", half_messages),
    ("wrong hosts", wrong_host),
    ("takes a little now and then", sip),
];

/// Those that what keeps them out is made for.
pub(super) const AT_GUARDS: &[(&str, Assault)] = &[
    ("many handshakes", handshakes),
    ("many connections", connections),
    ("many publishes", publishes),
    ("reads nothing", slow_reader),
    ("half bodies", half_bodies),
    ("half messages", half_messages),
    ("wrong hosts", wrong_host),
    ("takes a little now and then", sip),
];

/// What everybody would notice.
const INTRUSION: &str = r#"{"channel":"/a/b","data":{"intruder":true}}"#;

/// The same in the words of its own session, which may publish that: so only the request that it is in is wrong.
fn intrusion(id: &str) -> String {
    INTRUSION.replacen('{', &format!("{{\"clientId\":\"{id}\","), 1)
}

fn garbage(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let at = own.any(scene);
    let length = own.rng.length(3_000);
    let bytes = (0..length).map(|_| own.rng.next() as u8).collect();
    own.say(at, bytes, scene);
}

/// A good request of which a few bytes are others. If it is still good, it may do only what its own session may on its own
/// channel.
fn broken_request(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let Some(id) = own.session(scene) else { return };
    let mut bytes = Vec::new();
    let body = format!("[{{\"clientId\":\"{id}\",\"channel\":\"/h/0/x/y/z\",\"data\":{{}}}}]");
    speech::post(&mut bytes, None, &body, own.rng.chance(500));
    for _ in 0..1 + own.rng.below(3) {
        let at = own.rng.below(bytes.len() as u64) as usize;
        match own.rng.below(3) {
            0 => bytes[at] = *own.rng.pick(b"\0\r\n \t:;,\"\x7f\xff0"),
            1 => bytes.insert(at, *own.rng.pick(b"\0\r\n \t:;,\"\x80\xff9")),
            _ => drop(bytes.remove(at)),
        }
    }
    let at = own.any(scene);
    own.say(at, bytes, scene);
}

/// Requests of which two readers may think differently, with another one behind or within.
const SHAPES: &[&str] = &[
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
    "Content-Length: 0\r\nContent-Length: 2\r\n\r\n",
    "Content-Length: 0, 0\r\n\r\n",
    "Content-Length: +0\r\n\r\n",
    "Content-Length: 0x0\r\n\r\n",
    "Content-Length: -1\r\n\r\n",
    "Content-Length: 99999999999999999999\r\n\r\n",
    "Content-Length : 0\r\n\r\n",
    "Content-Length: 0\n\r\n",
    "Content-Length: 0\r\n\n",
    "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: identity\r\n\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n0\n\n",
    "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n-0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n00000000000000000\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n2\r\n[]\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n1\r\n[]\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n0;a\nb\r\n\r\n",
    "Host: another.example\r\nContent-Length: 0\r\n\r\n",
    "X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "X: a\rContent-Length: 0\r\n\r\n",
    "\x20X: folded\r\nContent-Length: 0\r\n\r\n",
];

fn smuggle(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let Some(id) = own.session(scene) else { return };
    let mut bytes = b"POST /cometd HTTP/1.1\r\nHost: comet.example\r\nContent-Type: application/json\r\n".to_vec();
    bytes.extend(own.rng.pick(SHAPES).bytes());
    speech::post(&mut bytes, None, &format!("[{}]", intrusion(&id)), false);
    let at = own.open(scene);
    own.say(at, bytes, scene);
}

/// Says what is left of something, a little more of it.
fn drip(own: &mut Hostile, whole: &[u8], scene: &mut Scene<'_, '_>) {
    if own.lines.iter().all(|line| line.rest.is_empty()) || own.rng.chance(200) {
        let at = own.open(scene);
        own.lines[at].rest.extend(whole);
    }
    for line in &mut own.lines {
        let few = line.rest.len().min(1 + own.rng.below(3) as usize);
        let bytes: Vec<u8> = line.rest.drain(..few).collect();
        scene.ground.network.send(line.wire, &bytes, scene.ground.now);
    }
}

fn slow_head(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    drip(own, b"GET /cometd HTTP/1.1\r\nHost: comet.example\r\nX-Slow: very, very slow indeed\r\n", scene);
}

fn slow_body(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let Some(id) = own.session(scene) else { return };
    let mut whole = Vec::new();
    speech::post(&mut whole, None, &format!("[{}    ", intrusion(&id)), false);
    // The last byte of the body never comes.
    let text = String::from_utf8_lossy(&whole).replace("Content-Length: ", "Content-Length: 1");
    drip(own, text.as_bytes(), scene);
}

/// Has much sent to it, on every transport, and takes none of it.
fn slow_reader(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let Some(id) = own.session(scene) else { return };
    let at = own.any(scene);
    let room = own.rng.below(2_000) as usize;
    scene.ground.network.ignore(own.lines[at].wire, room);
    let way = *own.rng.pick(&["long-polling", "streaming"]);
    let subscribe =
        format!(r#"{{"channel":"/meta/subscribe","clientId":"{id}","subscription":["/a/**","/x/**","/h/**"]}}"#);
    let connect = format!(r#"{{"channel":"/meta/connect","clientId":"{id}","connectionType":"{way}"}}"#);
    own.post(at, &format!("[{subscribe},{connect}]"), scene);
    own.post(at, &format!("[{connect}]"), scene);
}

fn half_close(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let at = own.any(scene);
    let id = own.id.clone().unwrap_or_default();
    let mut bytes = Vec::new();
    let connect = format!(r#"[{{"channel":"/meta/connect","clientId":"{id}","connectionType":"long-polling"}}]"#);
    speech::post(&mut bytes, None, &connect, false);
    bytes.truncate(1 + own.rng.below(2 * bytes.len() as u64) as usize);
    own.say(at, bytes, scene);
    let wire = own.lines.remove(at).wire;
    scene.ground.network.finish(wire, scene.ground.now);
}

fn reset(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let at = own.any(scene);
    let mut bytes = Vec::new();
    speech::post(&mut bytes, None, HANDSHAKE, false);
    bytes.truncate(1 + own.rng.below(bytes.len() as u64) as usize);
    own.say(at, bytes, scene);
    if own.rng.chance(500) {
        let wire = own.lines.remove(at).wire;
        scene.ground.network.abort(wire, scene.ground.now);
    }
}

fn connections(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    for _ in 0..1 + own.rng.below(12) {
        own.open(scene);
    }
}

fn handshakes(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let at = own.any(scene);
    for _ in 0..1 + own.rng.below(12) {
        own.post(at, HANDSHAKE, scene);
    }
}

/// All at once, or a few at a time.
fn subscriptions(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let Some(id) = own.session(scene) else { return };
    let at = own.any(scene);
    let (requests, names) = if own.rng.chance(500) { (1, own.rng.length(300) as u64) } else { (50, 8) };
    let from = own.rng.below(1_000);
    for request in 0..requests {
        let first = from + request * names;
        let names: Vec<String> = (first..first + names).map(|number| format!("\"/h/{number}/*\"")).collect();
        let names = names.join(",");
        own.post(
            at,
            &format!(r#"[{{"channel":"/meta/subscribe","clientId":"{id}","subscription":[{names}]}}]"#),
            scene,
        );
    }
}

/// Client ids of the right form, and its own with one character changed: its place or its secret is another's.
fn guess(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
    let base = own.session(scene).unwrap_or_else(|| "a".repeat(32));
    let mut id = base.clone().into_bytes();
    let changes = if own.rng.chance(500) { 1 } else { 26 };
    for _ in 0..changes {
        let at = own.rng.below(id.len() as u64) as usize;
        id[at] = *own.rng.pick(LETTERS);
    }
    let id = String::from_utf8(id).expect("letters");
    if id == base {
        return;
    }
    let at = own.any(scene);
    let disconnect = format!(r#"{{"channel":"/meta/disconnect","clientId":"{id}"}}"#);
    let connect = format!(r#"{{"channel":"/meta/connect","clientId":"{id}","connectionType":"long-polling"}}"#);
    own.post(at, &format!("[{},{connect},{disconnect}]", intrusion(&id)), scene);
    if own.rng.chance(300) {
        let mut request = Vec::new();
        speech::get(&mut request, &format!("/cometd/{id}"), None, "Accept: text/event-stream\r\n");
        let at = own.open(scene);
        own.say(at, request, scene);
    }
}

/// One message more than a batch may have: none of them may act.
fn huge_batch(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let Some(id) = own.session(scene) else { return };
    let count = scene.scenario.limits.batch_messages + 1;
    let at = own.any(scene);
    own.post(at, &format!("[{}]", vec![intrusion(&id); count].join(",")), scene);
}

fn deep_json(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let Some(id) = own.session(scene) else { return };
    let depth = scene.scenario.limits.json_depth * if own.rng.chance(800) { 1 } else { 200 };
    let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let at = own.any(scene);
    own.post(at, &format!("[{}]", intrusion(&id).replace("true", &deep)), scene);
}

fn pipelined_polls(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let Some(id) = own.session(scene) else { return };
    let at = own.any(scene);
    let connect = format!(r#"[{{"channel":"/meta/connect","clientId":"{id}","connectionType":"long-polling"}}]"#);
    for _ in 0..1 + own.rng.below(30) {
        own.post(at, &connect, scene);
    }
}

/// Appends a frame.
fn frame(own: &mut Hostile, out: &mut Vec<u8>, (opcode, fin, deflated): (Opcode, bool, bool), payload: &[u8]) {
    let mask = Some((own.rng.next() as u32).to_be_bytes());
    Frame { opcode, fin, deflated, mask }.write(out, payload);
}

fn pings(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let at = own.socket(scene);
    if own.rng.chance(300) {
        let room = own.rng.below(500) as usize;
        scene.ground.network.ignore(own.lines[at].wire, room);
    }
    let mut bytes = Vec::new();
    for _ in 0..own.rng.length(200) {
        let length = own.rng.below(126) as usize;
        frame(own, &mut bytes, (Opcode::Ping, true, false), &vec![b'p'; length]);
    }
    own.say(at, bytes, scene);
}

fn fragments(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let at = own.socket(scene);
    let mut bytes = Vec::new();
    frame(own, &mut bytes, (Opcode::Text, false, false), b"[");
    for _ in 0..own.rng.length(300) {
        frame(own, &mut bytes, (Opcode::Continuation, false, false), b" ");
    }
    own.say(at, bytes, scene);
}

/// A megabyte of spaces in a kilobyte.
static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    #[cfg(feature = "deflate")]
    {
        let mut out = Vec::new();
        crate::ws::deflate::Deflater::default().compress(&vec![b' '; 1 << 20], &mut out);
        out
    }
    #[cfg(not(feature = "deflate"))]
    vec![0xaa; 1_000]
});

fn bomb(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let at = own.socket(scene);
    let mut bytes = Vec::new();
    frame(own, &mut bytes, (Opcode::Text, true, true), &BOMB);
    own.say(at, bytes, scene);
}

fn unconfirmed(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let Some(id) = own.session(scene) else { return };
    let at = own.open(scene);
    let connect = format!(r#"[{{"channel":"/meta/connect","clientId":"{id}","connectionType":"streaming"}}]"#);
    own.post(at, &connect, scene);
}

/// As much as fits, on its own channel, for its own session, which never asks for it.
fn publishes(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let Some(id) = own.session(scene) else { return };
    let at = own.any(scene);
    own.post(at, &format!(r#"[{{"channel":"/meta/subscribe","clientId":"{id}","subscription":"/h/**"}}]"#), scene);
    let filler = "x".repeat(own.rng.length(3_000));
    let message = format!(r#"{{"channel":"/h/{}","clientId":"{id}","data":"{filler}"}}"#, own.number);
    let count = 1 + own.rng.below(8) as usize;
    own.post(at, &format!("[{}]", vec![message; count].join(",")), scene);
}

fn no_acks(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let Some(id) = own.session(scene) else { return };
    let at = own.any(scene);
    let ack = *own.rng.pick(&["-1", "0", "99", "18446744073709551615", "-9223372036854775808", "true"]);
    own.post(
        at,
        &format!(r#"[{{"channel":"/meta/subscribe","clientId":"{id}","subscription":["/a/**","/h/**"]}}]"#),
        scene,
    );
    let connect = format!(
        r#"[{{"channel":"/meta/connect","clientId":"{id}","connectionType":"long-polling","ext":{{"ack":{ack}}}}}]"#
    );
    own.post(at, &connect, scene);
    own.post(at, &connect, scene);
}

/// Much of many requests, and never all of one.
fn half_bodies(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    for _ in 0..1 + own.rng.below(8) {
        let at = own.open(scene);
        let length = own.rng.length(3_000);
        let mut bytes = b"POST /cometd HTTP/1.1\r\nHost: comet.example\r\nContent-Type: application/json\r\n".to_vec();
        bytes.extend(format!("Content-Length: {}\r\n\r\n[", length + 9).bytes());
        bytes.extend(core::iter::repeat_n(b' ', length));
        own.say(at, bytes, scene);
    }
}

fn half_messages(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    let at = own.socket(scene);
    let length = 2 + own.rng.length(3_000);
    let mut bytes = Vec::new();
    frame(own, &mut bytes, (Opcode::Text, length.is_multiple_of(2), false), &vec![b' '; length]);
    bytes.truncate(bytes.len() - length / 2);
    own.say(at, bytes, scene);
    // What comes next would be the rest of it.
    own.lines[at].socket = false;
}

/// As a page does whose own name points here: what it asks for is asked of another host.
fn wrong_host(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    if !scene.scenario.one_host {
        return;
    }
    let mut bytes = Vec::new();
    match own.rng.below(4) {
        0 => speech::post(&mut bytes, None, HANDSHAKE, own.rng.chance(200)),
        1 => speech::upgrade(&mut bytes, None),
        2 => speech::get(&mut bytes, "/events/a/b", None, "Accept: text/event-stream\r\n"),
        _ => {
            let id = own.id.clone().unwrap_or_default();
            speech::post(&mut bytes, None, &format!("[{}]", intrusion(&id)), false);
        }
    }
    let other =
        *own.rng.pick(&["evil.example", "comet.example.evil", "xcomet.example", "comet.example@evil", "1.2.3.4"]);
    let text = String::from_utf8(bytes).expect("text").replacen("comet.example", other, 1);
    let at = own.open(scene);
    own.lines[at].foreign = true;
    scene.ground.network.send(own.lines[at].wire, text.as_bytes(), scene.ground.now);
}

/// Has much sent to it, and takes a few bytes of it, again and again: too few.
fn sip(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    for line in own.lines.iter().filter(|line| line.slow) {
        scene.ground.network.sip(line.wire, 1 + own.rng.below(30) as usize, scene.ground.now);
    }
    let Some(id) = own.session(scene) else { return };
    let at = own.open(scene);
    own.lines[at].slow = true;
    let room = own.rng.below(300) as usize;
    scene.ground.network.ignore(own.lines[at].wire, room);
    let names: Vec<String> = (0..own.rng.length(20)).map(|number| format!("\"/h/{}/{number}\"", own.number)).collect();
    let filler = "x".repeat(own.rng.length(3_000));
    let subscribe = format!(
        r#"{{"channel":"/meta/subscribe","clientId":"{id}","subscription":["/h/{}",{}]}}"#,
        own.number,
        names.join(",")
    );
    let publish = format!(r#"{{"channel":"/h/{}","clientId":"{id}","data":"{filler}"}}"#, own.number);
    let connect = format!(r#"{{"channel":"/meta/connect","clientId":"{id}","connectionType":"long-polling"}}"#);
    own.post(at, &format!("[{subscribe},{publish},{connect}]"), scene);
}

fn again(own: &mut Hostile, scene: &mut Scene<'_, '_>) {
    for bytes in own.said.clone() {
        let at = own.any(scene);
        own.say(at, bytes, scene);
    }
}
