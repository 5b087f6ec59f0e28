//! Somebody who wishes everybody ill.
//!
//! Owns its connections, a session of its own now and then, and what it has said so far. What it does with them stands in
//! `assaults`. It reads just enough to learn its client id; nothing that the server answers is checked here: what it does to
//! others is, in the book of those, in the engine's numbers, and in what is left when everyone has gone.

mod assaults;

use std::collections::VecDeque;

use super::client::Scene;
use super::invariants::Kind;
use super::lane::Alarm;
use super::network::{Arrival, WireId};
use super::rng::{Chance, Rng};

use assaults::{ASSAULTS, Assault};

/// Connections of one of them, at most.
const LINES: usize = 16;
/// Bytes kept of what has come on a connection: enough to find a client id in it.
const HEARD: usize = 2_000;
/// Things said that are remembered, to be said again.
const REMEMBERED: usize = 12;

/// One of its connections.
#[derive(Debug)]
struct Line {
    wire: WireId,
    heard: Vec<u8>,
    /// What is still to be said, a byte or two at a time.
    rest: VecDeque<u8>,
    /// Frames can be said on it.
    socket: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Hostile {
    number: usize,
    rng: Rng,
    assault: (&'static str, Assault),
    lines: Vec<Line>,
    /// The client id of its session.
    id: Option<String>,
    said: Vec<Vec<u8>>,
    /// Steps that it still takes.
    steps: u32,
    /// Between two of them at most, ms.
    pause_ms: u64,
    gone: bool,
}

impl Hostile {
    /// One that has not begun.
    pub(crate) fn new(number: usize, chance: &Chance) -> Self {
        let mut rng = chance.of("hostile", number);
        Self {
            number,
            assault: *rng.pick(ASSAULTS),
            lines: Vec::new(),
            id: None,
            said: Vec::new(),
            steps: 5 + rng.below(40) as u32,
            pause_ms: *rng.pick(&[1, 20, 100]),
            rng,
            gone: false,
        }
    }

    /// When it begins.
    pub(crate) fn begins_at(&mut self, within_ms: u64) -> u64 {
        self.rng.below(within_ms)
    }

    /// It takes its next step.
    pub(crate) fn ring(&mut self, alarm: Alarm, scene: &mut Scene<'_, '_>) {
        if alarm != Alarm::Act || self.gone || scene.quiet || self.steps == 0 {
            return;
        }
        self.steps -= 1;
        if self.rng.below(8) == 0 {
            self.assault = *self.rng.pick(ASSAULTS);
            // A session ends some time, and it does not listen.
            self.id = self.id.take().filter(|_| self.rng.chance(700));
        }
        let (name, assault) = self.assault;
        scene.ground.trace.note(scene.ground.now, None, format!("hostile {}: {name}", self.number));
        scene.ledger.count(Kind::Assaulted);
        assault(self, scene);
        let pause = 1 + self.rng.below(self.pause_ms);
        scene.alarms.push(scene.ground.now + pause, self.number, Alarm::Act);
    }

    /// Something has come out of one of its connections.
    pub(crate) fn arrival(&mut self, wire: WireId, arrival: Arrival, scene: &mut Scene<'_, '_>) {
        let Some(at) = self.lines.iter().position(|line| line.wire == wire) else { return };
        let Arrival::Bytes(bytes) = arrival else {
            scene.ledger.count(Kind::Shed);
            if arrival == Arrival::Fin {
                scene.ground.network.close(wire, scene.ground.now);
            }
            self.lines.remove(at);
            return;
        };
        scene.ground.network.digest(wire, bytes.len());
        let line = &mut self.lines[at];
        line.heard.extend(bytes);
        if let Some(id) = client_id(&line.heard) {
            line.heard.clear();
            self.id = Some(id);
        } else {
            let surplus = line.heard.len().saturating_sub(HEARD);
            line.heard.drain(..surplus);
        }
    }

    /// Goes for good, mostly without a word.
    pub(crate) fn leave(&mut self, scene: &mut Scene<'_, '_>) {
        self.gone = true;
        for line in core::mem::take(&mut self.lines) {
            match self.rng.below(4) {
                0 => scene.ground.network.close(line.wire, scene.ground.now),
                1 => scene.ground.network.abort(line.wire, scene.ground.now),
                _ => scene.ground.network.vanish(line.wire),
            }
        }
    }

    /// Opens a connection; its place in the list.
    fn open(&mut self, scene: &mut Scene<'_, '_>) -> usize {
        if self.lines.len() == LINES {
            let oldest = self.lines.remove(0);
            scene.ground.network.abort(oldest.wire, scene.ground.now);
        }
        let wire = scene.ground.network.open(self.number, scene.ground.now);
        self.lines.push(Line { wire, heard: Vec::new(), rest: VecDeque::new(), socket: false });
        self.lines.len() - 1
    }

    /// One of its connections, or a new one.
    fn any(&mut self, scene: &mut Scene<'_, '_>) -> usize {
        if self.lines.is_empty() || self.rng.chance(300) {
            return self.open(scene);
        }
        self.rng.below(self.lines.len() as u64) as usize
    }

    /// A connection that has become a WebSocket, or is about to.
    fn socket(&mut self, scene: &mut Scene<'_, '_>) -> usize {
        if let Some(at) = self.lines.iter().position(|line| line.socket)
            && !self.rng.chance(150)
        {
            return at;
        }
        let at = self.open(scene);
        let mut request = Vec::new();
        let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate; \
            client_no_context_takeover; server_no_context_takeover\r\n";
        super::speech::get(&mut request, "/cometd", None, fields);
        self.say(at, request, scene);
        self.lines[at].socket = true;
        at
    }

    /// Sends bytes.
    fn say(&mut self, at: usize, bytes: Vec<u8>, scene: &mut Scene<'_, '_>) {
        scene.ground.network.send(self.lines[at].wire, &bytes, scene.ground.now);
        if self.said.len() == REMEMBERED {
            self.said.remove(0);
        }
        self.said.push(bytes);
    }

    /// Sends a batch in a request.
    fn post(&mut self, at: usize, body: &str, scene: &mut Scene<'_, '_>) {
        let mut request = Vec::new();
        let chunked = self.rng.chance(200);
        super::speech::post(&mut request, None, body, chunked);
        self.say(at, request, scene);
    }

    /// The client id of its session; without one, it asks for one and hears of it later.
    fn session(&mut self, scene: &mut Scene<'_, '_>) -> Option<String> {
        if self.id.is_none() {
            let at = self.open(scene);
            self.post(at, HANDSHAKE, scene);
        }
        self.id.clone()
    }
}

/// What begins a session; it acknowledges, or says so.
const HANDSHAKE: &str = r#"[{"channel":"/meta/handshake","version":"1.0","ext":{"ack":true},
    "supportedConnectionTypes":["long-polling","websocket","streaming"]}]"#;

/// The client id in an answer.
fn client_id(heard: &[u8]) -> Option<String> {
    const LABEL: &[u8] = b"\"clientId\":\"";
    let at = heard.windows(LABEL.len()).position(|window| window == LABEL)? + LABEL.len();
    let end = heard[at..].iter().position(|byte| *byte == b'"')? + at;
    String::from_utf8(heard[at..end].to_vec()).ok()
}
