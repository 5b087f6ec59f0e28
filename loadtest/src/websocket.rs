//! Owns the client's side of a WebSocket: the request that opens it, the answer's judgement, and the way of messages
//! through frames. Pure, like `client`, which knows what the messages say. Frames and compression are the server's own
//! rooms, in the role of a client.

use crate::client::{Fault, FaultKind};
use crate::http::{Cookies, Target};
use encke::limits::Limits;
use encke::ws::close::Fault as Broken;
use encke::ws::deflate::Inflater;
use encke::ws::frame::{Decoder, Incoming, Opcode, Role, Rules};
use encke::ws::handshake::accept;
use encke::ws::write::{Frame, write_pong};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// Bytes of the head of the answer to an upgrade.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Header fields of that head.
const HEADERS_MAX: usize = 64;
/// Bytes of a message, decompressed.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The digits of base64, in their order.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Random bytes for keys and masks, so that they differ; nobody has to be kept from guessing them.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        // Keyed by the system.
        Self(RandomState::new().build_hasher().finish())
    }
}

impl Random {
    /// The next of `splitmix64`.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn mask(&mut self) -> [u8; 4] {
        (self.next() as u32).to_ne_bytes()
    }

    /// 16 bytes in base64.
    fn key(&mut self) -> [u8; 24] {
        let mut key = [b'='; 24];
        for digit in &mut key[..21] {
            *digit = DIGITS[(self.next() % 64) as usize];
        }
        // Two of its bits belong to the last byte.
        key[21] = DIGITS[(self.next() % 4 * 16) as usize];
        key
    }
}

/// What all WebSockets of a run share.
pub(crate) struct Codec {
    limits: Limits,
    inflater: Inflater,
    random: Random,
}

impl Default for Codec {
    fn default() -> Self {
        let limits = Limits { body_bytes: MESSAGE_BYTES_MAX, inflate_ratio: MESSAGE_BYTES_MAX, ..Limits::default() };
        Self { limits, inflater: Inflater::default(), random: Random::default() }
    }
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec").finish_non_exhaustive()
    }
}

/// How far a WebSocket has come.
#[derive(Debug)]
enum Stage {
    /// The upgrade is asked for with this key; of the answer so much is there.
    Opening { key: [u8; 24], head: Vec<u8> },
    /// Frames go.
    Open(Decoder),
}

/// One WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    stage: Stage,
    /// Whether compression was offered and, once it is open, agreed on.
    deflate: bool,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// The server agreed: it is a WebSocket, with compressed messages or without.
    Opened {
        /// Whether there may be compressed messages.
        deflate: bool,
    },
    /// A message.
    Text {
        /// The text.
        text: Vec<u8>,
        /// Whether it came compressed.
        deflated: bool,
    },
    /// This is to be sent back.
    Pong(Vec<u8>),
}

impl Socket {
    /// A WebSocket that is not open, which may offer compression.
    pub(crate) fn new(deflate: bool) -> Self {
        Self { stage: Stage::Opening { key: [0; 24], head: Vec::new() }, deflate }
    }

    /// Writes the request that opens it.
    pub(crate) fn write_upgrade(&mut self, out: &mut Vec<u8>, target: &Target, cookies: &Cookies, codec: &mut Codec) {
        let key = codec.random.key();
        for part in [b"GET ", target.path.as_bytes(), b" HTTP/1.1\r\nHost: ", target.host.as_bytes()] {
            out.extend_from_slice(part);
        }
        out.extend_from_slice(b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
        out.extend_from_slice(b"Sec-WebSocket-Key: ");
        out.extend_from_slice(&key);
        out.extend_from_slice(b"\r\n");
        if self.deflate {
            // Without context takeover each message opens by itself, so that one decompressor serves all clients.
            out.extend_from_slice(b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; ");
            out.extend_from_slice(b"client_no_context_takeover\r\n");
        }
        cookies.write(out);
        out.extend_from_slice(b"\r\n");
        self.stage = Stage::Opening { key, head: Vec::new() };
    }

    /// Takes what comes next off the front of `bytes`; `None` when all are used up and nothing was whole.
    pub(crate) fn next(
        &mut self,
        bytes: &mut &[u8],
        cookies: &mut Cookies,
        codec: &mut Codec,
    ) -> Result<Option<Came>, Fault> {
        if matches!(self.stage, Stage::Opening { .. }) {
            return self.open(bytes, cookies);
        }
        while !bytes.is_empty() {
            let Stage::Open(decoder) = &mut self.stage else { break };
            let rules = Rules { role: Role::Client, deflate: self.deflate, limits: &codec.limits };
            let (used, incoming) = decoder.next(bytes, &rules).map_err(|error| broken(&error))?;
            *bytes = bytes.get(used..).unwrap_or_default();
            let Some(incoming) = incoming else { continue };
            let deflated = matches!(incoming, Incoming::Deflated { .. });
            match codec.inflater.open(incoming, &codec.limits).map_err(|error| broken(&error))? {
                Incoming::Text(text) => return Ok(Some(Came::Text { text, deflated })),
                Incoming::Ping(payload) => return Ok(Some(Came::Pong(payload))),
                Incoming::Pong(_) => {}
                Incoming::Close { code, reason } => {
                    let code = code.map_or(1005, |code| code.get());
                    let text = format!("the server closed the WebSocket: {code} {reason}");
                    return Err(Fault::new(FaultKind::Closed, text.trim_end()));
                }
                Incoming::Binary(_) | Incoming::Deflated { .. } => {
                    return Err(Fault::new(FaultKind::Protocol, "a message that is not text"));
                }
            }
        }
        Ok(None)
    }

    fn open(&mut self, bytes: &mut &[u8], cookies: &mut Cookies) -> Result<Option<Came>, Fault> {
        let Stage::Opening { key, head } = &mut self.stage else { return Ok(None) };
        let before = head.len();
        head.extend_from_slice(bytes);
        let Some((length, deflate)) = judge(head, key, self.deflate, cookies)? else {
            *bytes = &[];
            let too_large = head.len() > HEAD_BYTES_MAX;
            return if too_large {
                Err(Fault::new(FaultKind::Http, "a response head without an end"))
            } else {
                Ok(None)
            };
        };
        *bytes = bytes.get(length.saturating_sub(before)..).unwrap_or_default();
        self.stage = Stage::Open(Decoder::default());
        self.deflate = deflate;
        Ok(Some(Came::Opened { deflate }))
    }
}

/// Appends a message of a client.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &[u8], codec: &mut Codec) {
    Frame { mask: Some(codec.random.mask()), ..Frame::whole(Opcode::Text) }.write(out, text);
}

/// Appends the answer to a ping.
pub(crate) fn write_answer(out: &mut Vec<u8>, payload: &[u8], codec: &mut Codec) {
    write_pong(out, payload, Some(codec.random.mask()));
}

fn broken(fault: &Broken) -> Fault {
    Fault::new(FaultKind::Frame, format!("bad frames: {}", fault.reason))
}

/// Judges the answer to an upgrade: its length and whether compression is agreed on; `None` until it is whole.
fn judge(bytes: &[u8], key: &[u8], offered: bool, cookies: &mut Cookies) -> Result<Option<(usize, bool)>, Fault> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let status =
        head.parse(bytes).map_err(|error| Fault::new(FaultKind::Http, format!("bad response head: {error}")))?;
    let httparse::Status::Complete(length) = status else { return Ok(None) };
    if head.code != Some(101) {
        let body = String::from_utf8_lossy(bytes.get(length..).unwrap_or_default());
        let line = body.lines().next().unwrap_or_default();
        let text = format!("HTTP {} to an upgrade: {line}", head.code.unwrap_or_default());
        return Err(Fault::new(FaultKind::Status, text));
    }
    let value = |name: &str| {
        let field = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| field.value.trim_ascii())
    };
    if value("sec-websocket-accept") != Some(accept(key).as_slice()) {
        return Err(Fault::new(FaultKind::Http, "an upgrade that was accepted with the wrong key"));
    }
    let deflate = match value("sec-websocket-extensions").map(String::from_utf8_lossy) {
        None => false,
        // What was not offered must not be agreed on.
        Some(agreed) if offered && agreed.contains("server_no_context_takeover") => true,
        Some(agreed) => {
            return Err(Fault::new(FaultKind::Http, format!("extensions that were not offered: {agreed}")));
        }
    };
    for field in head.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("set-cookie")) {
        cookies.set(&String::from_utf8_lossy(field.value));
    }
    Ok(Some((length, deflate)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use encke::ws::deflate::Deflater;
    use encke::ws::write::{write_close, write_ping};

    fn target() -> Target {
        Target { host: "h:1".into(), path: "/cometd".into() }
    }

    /// A WebSocket that asked to be opened, and the answer that opens it.
    fn asked(offer: bool, extensions: &str) -> (Socket, Vec<u8>, String) {
        let mut socket = Socket::new(offer);
        let mut request = Vec::new();
        socket.write_upgrade(&mut request, &target(), &Cookies::default(), &mut Codec::default());
        let Stage::Opening { key, .. } = &socket.stage else { panic!("it is not opening") };
        let accept = String::from_utf8(accept(key).to_vec()).unwrap();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\
             Set-Cookie: BAYEUX_BROWSER=b1; Path=/\r\n{extensions}\r\n"
        );
        (socket, answer.into_bytes(), String::from_utf8(request).unwrap())
    }

    fn all(socket: &mut Socket, mut bytes: &[u8]) -> Result<Vec<Came>, Fault> {
        let (mut cookies, mut codec) = (Cookies::default(), Codec::default());
        let mut came = Vec::new();
        while let Some(one) = socket.next(&mut bytes, &mut cookies, &mut codec)? {
            came.push(one);
        }
        assert!(bytes.is_empty());
        Ok(came)
    }

    const AGREED: &str =
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";

    #[test]
    fn the_request_is_an_upgrade() {
        let (socket, _, request) = asked(false, "");
        assert!(request.starts_with("GET /cometd HTTP/1.1\r\nHost: h:1\r\nUpgrade: websocket\r\n"), "{request}");
        assert!(request.ends_with("==\r\n\r\n") && !request.contains("Extensions"), "{request}");
        assert!(asked(true, "").2.contains("permessage-deflate; server_no_context_takeover"));
        let keys = [&socket, &asked(false, "").0].map(|socket| match &socket.stage {
            Stage::Opening { key, .. } => *key,
            Stage::Open(_) => panic!("it is open"),
        });
        assert_ne!(keys[0], keys[1]);
        assert!(b"AQgw".contains(&keys[0][21]), "{keys:?}");
    }

    #[test]
    fn every_split_point_gives_the_same() {
        for offer in [false, true] {
            let (_, answer, _) = asked(offer, if offer { AGREED } else { "" });
            let mut frames = Vec::new();
            Frame::whole(Opcode::Text).write(&mut frames, b"[1]");
            write_ping(&mut frames, b"p", None);
            let mut compressed = Vec::new();
            Deflater::default().compress(b"[2]", &mut compressed);
            Frame { deflated: true, ..Frame::whole(Opcode::Text) }.write(&mut frames, &compressed);
            let frames = if offer { &frames[..] } else { &frames[..8] };
            let text = |text: &str, deflated| Came::Text { text: text.into(), deflated };
            let mut expected = vec![Came::Opened { deflate: offer }, text("[1]", false), Came::Pong(b"p".to_vec())];
            if offer {
                expected.push(text("[2]", true));
            }
            for split in 0..=answer.len() + frames.len() {
                // Each has its own key.
                let (mut socket, answer, _) = asked(offer, if offer { AGREED } else { "" });
                let bytes = [&answer, frames].concat();
                let mut came = all(&mut socket, &bytes[..split]).unwrap();
                came.extend(all(&mut socket, &bytes[split..]).unwrap());
                assert_eq!(came, expected, "split at {split}");
            }
        }
    }

    #[test]
    fn cookies_are_kept() {
        let (mut socket, answer, _) = asked(false, "");
        let mut cookies = Cookies::default();
        socket.next(&mut &answer[..], &mut cookies, &mut Codec::default()).unwrap();
        let mut out = Vec::new();
        cookies.write(&mut out);
        assert_eq!(out, b"Cookie: BAYEUX_BROWSER=b1\r\n");
    }

    #[test]
    fn a_false_answer_is_a_fault() {
        let fault = |offer, extensions: &str, from: &str, to: &str| {
            let (mut socket, answer, _) = asked(offer, extensions);
            let answer = String::from_utf8(answer).unwrap().replace(from, to);
            let fault = all(&mut socket, answer.as_bytes()).unwrap_err();
            (fault.kind, fault.text)
        };
        let (kind, text) = fault(false, "X: y\r\n\r\nno here", "101 Switching Protocols", "400 Bad Request");
        assert_eq!((kind, text.as_str()), (FaultKind::Status, "HTTP 400 to an upgrade: no here"));
        assert_eq!(fault(false, "", "Accept: ", "Accept: x").0, FaultKind::Http);
        assert_eq!(fault(false, AGREED, "-", "-").0, FaultKind::Http);
        let takeover = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        assert_eq!(fault(true, takeover, "-", "-").0, FaultKind::Http);
        assert_eq!(fault(false, "", "HTTP/1.1", "SMTP").0, FaultKind::Http);
        let mut socket = asked(false, "").0;
        let endless = [&b"HTTP/1.1 101 x\r\nX: "[..], &[b'x'; HEAD_BYTES_MAX]].concat();
        assert_eq!(all(&mut socket, &endless).unwrap_err().text, "a response head without an end");
    }

    #[test]
    fn false_frames_and_closes_are_faults() {
        let fault = |write: &dyn Fn(&mut Vec<u8>)| {
            let (mut socket, mut bytes, _) = asked(false, "");
            write(&mut bytes);
            let fault = all(&mut socket, &bytes).unwrap_err();
            (fault.kind, fault.text)
        };
        let masked = fault(&|out| write_text(out, b"[]", &mut Codec::default()));
        assert_eq!(masked, (FaultKind::Frame, "bad frames: a frame of a server must not be masked".into()));
        assert_eq!(fault(&|out| Frame::whole(Opcode::Binary).write(out, b"x")).0, FaultKind::Protocol);
        let closed = fault(&|out| write_close(out, encke::ws::close::CloseCode::new(1001), "bye", None));
        assert_eq!(closed, (FaultKind::Closed, "the server closed the WebSocket: 1001 bye".into()));
    }
}
