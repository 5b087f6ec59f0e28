//! Somebody who wishes everybody ill.
//!
//! Owns its connections, a session of its own now and then, and what it has said so far. What it does with them stands in
//! `assaults`. It reads just enough to learn its client id; nothing that the server answers is checked here: what it does to
//! others is, in the book of those, in the engine's numbers, and in what is left when everyone has gone.

mod assaults;

use std::collections::{BTreeSet, VecDeque};

use super::client::Scene;
use super::invariants::Kind;
use super::lane::Alarm;
use super::network::{Arrival, WireId};
use super::rng::{Chance, Rng};

use assaults::{ASSAULTS, AT_GUARDS, Assault};

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
    /// What comes is left in the socket, but for a little now and then.
    slow: bool,
    /// A host that is not answered for was asked for on it, and nothing else.
    foreign: bool,
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
    /// The bounds that keep it out are close.
    guarded: bool,
    /// When it came, and all sessions that it has heard of since.
    came_at: Option<u64>,
    sessions: BTreeSet<String>,
}

impl Hostile {
    /// One that has not begun.
    pub(crate) fn new(number: usize, chance: &Chance, guarded: bool) -> Self {
        let mut rng = chance.of("hostile", number);
        Self {
            number,
            assault: choice(&mut rng, guarded),
            lines: Vec::new(),
            id: None,
            said: Vec::new(),
            steps: 5 + rng.below(40) as u32,
            pause_ms: *rng.pick(&[1, 20, 100]),
            rng,
            gone: false,
            guarded,
            came_at: None,
            sessions: BTreeSet::new(),
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
        self.came_at.get_or_insert(scene.ground.now);
        if self.rng.below(8) == 0 {
            self.assault = choice(&mut self.rng, self.guarded);
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
        if line.foreign {
            // Whatever is wrong beside that, it is not answered.
            let good = [&b"HTTP/1.1 1"[..], b"HTTP/1.1 2"].iter().any(|good| line.heard.starts_with(good));
            assert!(!good, "an answer for another host: {}", line.heard.escape_ascii());
            return;
        }
        while let Some((id, end)) = client_id(&line.heard) {
            line.heard.drain(..end);
            self.sessions.insert(id.clone());
            self.id = Some(id);
        }
        let surplus = line.heard.len().saturating_sub(HEARD);
        line.heard.drain(..surplus);
        self.check_rate(scene);
    }

    /// All its connections come from one address: it has made no more sessions than that may.
    fn check_rate(&self, scene: &Scene<'_, '_>) {
        let (Some(rate), Some(since)) = (scene.scenario.broker.handshake_rate, self.came_at) else { return };
        let (lives, ms) = (1 + scene.ledger.counted(Kind::Died), scene.ground.now - since);
        let most = lives * u64::from(rate.burst) + ms * u64::from(rate.per_second) / 1_000 + 1;
        let made = self.sessions.len() as u64;
        assert!(made <= most, "hostile {} has made {made} sessions in {ms} ms: {most} may be", self.number);
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
        let (heard, rest) = (Vec::new(), VecDeque::new());
        self.lines.push(Line { wire, heard, rest, socket: false, slow: false, foreign: false });
        self.lines.len() - 1
    }

    /// One of its connections, or a new one.
    fn any(&mut self, scene: &mut Scene<'_, '_>) -> usize {
        if self.lines.is_empty() || self.rng.chance(300) {
            return self.open(scene);
        }
        let at = self.rng.below(self.lines.len() as u64) as usize;
        if self.lines[at].foreign { self.open(scene) } else { at }
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

/// What somebody does next.
fn choice(rng: &mut Rng, guarded: bool) -> (&'static str, Assault) {
    *rng.pick(if guarded && rng.clone().next() & 1 == 0 { AT_GUARDS } else { ASSAULTS })
}

/// The first client id in an answer, and where it ends.
fn client_id(heard: &[u8]) -> Option<(String, usize)> {
    const LABEL: &[u8] = b"\"clientId\":\"";
    let at = heard.windows(LABEL.len()).position(|window| window == LABEL)? + LABEL.len();
    let end = heard[at..].iter().position(|byte| *byte == b'"')? + at;
    Some((String::from_utf8_lossy(&heard[at..end]).into_owned(), end))
}
