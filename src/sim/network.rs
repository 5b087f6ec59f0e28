//! The network between model clients and the engine, down to the two kernels' socket buffers.
//!
//! Owns every connection as a pair of byte pipes, what is under way in them, and all faults: delays, splits, short reads and
//! writes, sockets that take nothing for a while, resets, ends of sending, and peers that vanish without a word. Knows
//! nothing of HTTP. Bytes never overtake each other within a pipe; between connections they do.

use std::collections::BTreeMap;
use std::io::IoSlice;

use super::rng::{Chance, Rng};

/// Bytes that a server's socket takes before the peer has read any.
const SEND_BUFFER: usize = 64 * 1024;

/// Bytes that it takes at most when the peer has not read for a while: an answer or two.
const NARROW: u64 = 600;

/// How long connections are accepted or not.
const DEAF_SLOT_MS: u64 = 500;
/// The server is stopped at most once within so long.
const PAUSE_SLOT_MS: u64 = 10_000;

/// Names one connection, for good: numbers are not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WireId(pub(crate) usize);

/// How bad the network is. Chances are out of a thousand, times are milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// How long bytes are under way, least and most.
    pub(crate) delay_ms: (u64, u64),
    /// For a piece of bytes under way: to be cut in several, each with its own delay.
    pub(crate) split: u32,
    /// For a read of the server: to get a few bytes only, mostly one.
    pub(crate) short_read: u32,
    /// For a write of the server: to have a part taken only.
    pub(crate) short_write: u32,
    /// For a write of the server: to find the socket full for a while.
    pub(crate) stall: u32,
    /// How long that is at most.
    pub(crate) stall_ms: u64,
    /// For a connection: to be reset.
    pub(crate) reset: u32,
    /// When at the latest, counted from its beginning.
    pub(crate) reset_within_ms: u64,
    /// For a turn of the server: to come late, so that more comes together.
    pub(crate) late: u32,
    /// How late at most.
    pub(crate) late_ms: u64,
    /// For ten seconds: to see the server stopped, as by SIGSTOP.
    pub(crate) pause: u32,
    /// How long that is at most.
    pub(crate) pause_ms: u64,
    /// For half a second: to see no connection accepted, as if there were no file descriptors.
    pub(crate) deaf: u32,
}

impl Faults {
    /// A network that only takes its time.
    pub(crate) const NONE: Self = Self {
        delay_ms: (1, 10),
        split: 0,
        short_read: 0,
        short_write: 0,
        stall: 0,
        stall_ms: 0,
        reset: 0,
        reset_within_ms: 1,
        late: 0,
        late_ms: 0,
        pause: 0,
        pause_ms: 0,
        deaf: 0,
    };

    /// The same once the network has calmed down.
    pub(crate) fn calm_patience_ms(&self) -> u64 {
        100 + 2 * self.delay_ms.1
    }

    /// What may pass at most between a request and its answer if the server takes no time, ms.
    pub(crate) fn patience_ms(&self) -> u64 {
        let deaf_ms = if self.deaf > 0 { 3 * DEAF_SLOT_MS } else { 0 };
        100 + 2 * self.delay_ms.1 + 3 * self.stall_ms + 8 * self.late_ms + 2 * self.pause_ms + deaf_ms
    }
}

/// What comes out at the client's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    Bytes(Vec<u8>),
    /// The server sends no more.
    Fin,
    /// The connection is lost.
    Reset,
}

/// What becomes of a read of the server.
#[derive(Debug)]
pub(crate) enum Read {
    Bytes(Vec<u8>),
    End,
    Nothing,
}

/// What becomes of a write of the server.
#[derive(Debug)]
pub(crate) enum Write {
    Took(Vec<u8>),
    Full,
    Broken,
}

/// Something that the network makes happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A connection waits to be accepted.
    Connected(WireId),
    /// The server may have something to read.
    Readable(WireId),
    /// The server's socket takes bytes again.
    Writable(WireId),
    /// The server's socket is dead.
    Broken(WireId),
    /// Something has come out at the client's end.
    Client(WireId, Arrival),
}

impl Happening {
    fn wire(&self) -> WireId {
        match self {
            Self::Connected(id) | Self::Readable(id) | Self::Writable(id) | Self::Broken(id) | Self::Client(id, _) => {
                *id
            }
        }
    }
}

#[derive(Debug)]
enum Due {
    Open,
    Up(Vec<u8>),
    UpFin,
    UpReset,
    Down(Arrival),
    Writable,
    Cut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientEnd {
    Open,
    /// Closed by its owner: what still comes is dropped, with a reset for the server.
    Closed,
    /// Gone without a word: what still comes is never acknowledged.
    Vanished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerEnd {
    Unborn,
    Open,
    Closed,
}

#[derive(Debug)]
struct Wire {
    owner: usize,
    /// Which of its owner's connections it is.
    ordinal: usize,
    /// What happens to it does not depend on what happens to others.
    rng: Rng,
    client: ClientEnd,
    server: ServerEnd,
    /// When the last piece under way arrives at the server, and at the client.
    up_at: u64,
    down_at: u64,
    /// Arrived at the server, not yet read.
    inbox: Vec<u8>,
    /// The client has ended its sending; that has arrived and is not yet read.
    finished: bool,
    fin: bool,
    room: usize,
    full: bool,
    stall_until: u64,
    /// It has stalled, and has not been written to since.
    stalled: bool,
    /// Sent by the server, not yet made into whole answers by the client.
    unread: Vec<u8>,
    /// The server has ended its sending.
    shut: bool,
    /// The client takes nothing out of its socket.
    ignored: bool,
}

/// All connections, and what is under way.
#[derive(Debug)]
pub(crate) struct Network {
    chance: Chance,
    faults: Faults,
    calm: bool,
    wires: Vec<Wire>,
    due: BTreeMap<(u64, u64), (WireId, Due)>,
    serial: u64,
    /// Connections so far, by owner.
    opened: BTreeMap<usize, usize>,
}

impl Network {
    /// A network without connections.
    pub(crate) fn new(faults: Faults, chance: Chance) -> Self {
        let (wires, due, opened) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { chance, faults, calm: false, wires, due, serial: 0, opened }
    }

    /// From now on only time is lost.
    pub(crate) fn calm_down(&mut self) {
        self.calm = true;
        self.due.retain(|_, (_, due)| !matches!(due, Due::Cut));
    }

    /// Whether it only takes time.
    pub(crate) fn is_calm(&self) -> bool {
        self.calm
    }

    /// Whose connection it is.
    pub(crate) fn owner(&self, id: WireId) -> usize {
        self.wires[id.0].owner
    }

    /// When something happens next.
    pub(crate) fn next(&self) -> Option<u64> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// When the server's turn comes that is due then. That depends on the time and on nothing else, so nobody can delay it
    /// for others.
    pub(crate) fn turn_at(&self, at: u64) -> u64 {
        if self.calm {
            return at;
        }
        let late = self.asleep("late", at, (self.faults.late, self.faults.late_ms), 2 * self.faults.late_ms);
        self.asleep("pause", late, (self.faults.pause, self.faults.pause_ms), PAUSE_SLOT_MS)
    }

    /// The end of the sleep in which an instant lies, if it does; there is one in each slot of so long, or none.
    fn asleep(&self, what: &str, at: u64, (likely, most): (u32, u64), slot_ms: u64) -> u64 {
        if likely == 0 {
            return at;
        }
        let slot_ms = slot_ms.max(most + 1);
        let slot = at / slot_ms;
        let mut rng = self.chance.secret(what, slot as usize);
        if !rng.chance(likely) {
            return at;
        }
        let long = 1 + rng.below(most);
        let from = slot * slot_ms + rng.below(slot_ms - long);
        if (from..from + long).contains(&at) { from + long } else { at }
    }

    /// Whether connections can be accepted then.
    fn is_deaf(&self, at: u64) -> bool {
        let slot = (at / DEAF_SLOT_MS) as usize;
        // Never for longer than clients have the patience for.
        !self.calm
            && self.faults.deaf > 0
            && !slot.is_multiple_of(3)
            && self.chance.secret("deaf", slot).chance(self.faults.deaf)
    }

    /// Another order of things that happen at once; that of any two does not depend on what else there is.
    pub(crate) fn shuffle(&self, now: u64, inputs: &mut [Happening]) {
        inputs.sort_by_cached_key(|input| {
            let wire = &self.wires[input.wire().0];
            self.chance.secret("order", (now as usize) ^ (wire.owner << 48) ^ (wire.ordinal << 32)).next()
        });
    }

    fn happens(&mut self, id: WireId, per_mille: u32) -> bool {
        !self.calm && self.wires[id.0].rng.chance(per_mille)
    }

    fn delay(&mut self, id: WireId) -> u64 {
        self.wires[id.0].rng.between(self.faults.delay_ms)
    }

    fn push(&mut self, at: u64, id: WireId, due: Due) {
        self.serial += 1;
        self.due.insert((at, self.serial), (id, due));
    }

    /// What happens up to that time, the earliest first.
    pub(crate) fn pop(&mut self, now: u64) -> Option<Happening> {
        while self.next().is_some_and(|at| at <= now) {
            let (_, (id, due)) = self.due.pop_first()?;
            if let Some(happening) = self.happen(id, due, now) {
                return Some(happening);
            }
        }
        None
    }

    fn happen(&mut self, id: WireId, due: Due, now: u64) -> Option<Happening> {
        let deaf = matches!(due, Due::Open) && self.is_deaf(now);
        let wire = &mut self.wires[id.0];
        match due {
            Due::Open if deaf => {
                self.push((now / DEAF_SLOT_MS + 1) * DEAF_SLOT_MS, id, Due::Open);
                None
            }
            Due::Open if wire.server == ServerEnd::Unborn => {
                wire.server = ServerEnd::Open;
                Some(Happening::Connected(id))
            }
            Due::Up(_) if wire.server == ServerEnd::Closed => {
                let at = now + self.delay(id);
                self.push(at, id, Due::Down(Arrival::Reset));
                None
            }
            Due::Up(bytes) => {
                wire.inbox.extend(bytes);
                Some(Happening::Readable(id))
            }
            Due::UpFin => {
                wire.fin = true;
                (wire.server == ServerEnd::Open).then_some(Happening::Readable(id))
            }
            Due::UpReset => (wire.server == ServerEnd::Open).then_some(Happening::Broken(id)),
            Due::Writable => (wire.server == ServerEnd::Open).then_some(Happening::Writable(id)),
            Due::Down(arrival) => self.arrive(id, arrival, now),
            Due::Cut if wire.client == ClientEnd::Open && wire.server == ServerEnd::Open => {
                self.drop_under_way(id);
                self.push(now, id, Due::Down(Arrival::Reset));
                Some(Happening::Broken(id))
            }
            Due::Open | Due::Cut => None,
        }
    }

    fn arrive(&mut self, id: WireId, arrival: Arrival, now: u64) -> Option<Happening> {
        let wire = &mut self.wires[id.0];
        if wire.client != ClientEnd::Open {
            return None;
        }
        match &arrival {
            Arrival::Bytes(_) if wire.ignored => return None,
            Arrival::Bytes(bytes) => {
                wire.room += bytes.len();
                if wire.full {
                    wire.full = false;
                    self.push(now, id, Due::Writable);
                }
            }
            Arrival::Reset => wire.client = ClientEnd::Closed,
            Arrival::Fin => {}
        }
        Some(Happening::Client(id, arrival))
    }

    fn drop_under_way(&mut self, id: WireId) {
        self.wires[id.0].inbox.clear();
        self.due.retain(|_, (wire, due)| *wire != id || matches!(due, Due::Open));
    }

    /// Cuts bytes into pieces, each with the time of its arrival, none before `last`.
    fn pieces(&mut self, id: WireId, bytes: &[u8], now: u64, last: u64) -> Vec<(u64, Vec<u8>)> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        let mut at = last;
        let cut = self.happens(id, self.faults.split);
        while !rest.is_empty() {
            let len = if cut && pieces.len() < 8 { self.wires[id.0].rng.length(rest.len()) } else { rest.len() };
            at = at.max(now + self.delay(id));
            let (piece, after) = rest.split_at(len);
            pieces.push((at, piece.to_vec()));
            rest = after;
        }
        pieces
    }
}

/// The clients' ends.
impl Network {
    /// Opens a connection.
    pub(crate) fn open(&mut self, owner: usize, now: u64) -> WireId {
        let id = WireId(self.wires.len());
        let ordinal = self.opened.entry(owner).or_default();
        *ordinal += 1;
        let mut rng = self.chance.of("wire", owner << 32 | *ordinal);
        let up_at = now + rng.between(self.faults.delay_ms);
        self.wires.push(Wire {
            owner,
            ordinal: *ordinal,
            rng,
            client: ClientEnd::Open,
            server: ServerEnd::Unborn,
            up_at,
            down_at: up_at,
            inbox: Vec::new(),
            finished: false,
            fin: false,
            room: SEND_BUFFER,
            full: false,
            stall_until: 0,
            stalled: false,
            unread: Vec::new(),
            shut: false,
            ignored: false,
        });
        self.push(up_at, id, Due::Open);
        if self.happens(id, self.faults.reset) {
            let at = now + self.wires[id.0].rng.below(self.faults.reset_within_ms);
            self.push(at.max(up_at), id, Due::Cut);
        }
        id
    }

    /// Sends bytes to the server.
    pub(crate) fn send(&mut self, id: WireId, bytes: &[u8], now: u64) {
        if self.wires[id.0].client != ClientEnd::Open {
            return;
        }
        for (at, piece) in self.pieces(id, bytes, now, self.wires[id.0].up_at) {
            self.wires[id.0].up_at = at;
            self.push(at, id, Due::Up(piece));
        }
    }

    /// Ends the sending side; the server's answers are still read.
    pub(crate) fn finish(&mut self, id: WireId, now: u64) {
        if core::mem::replace(&mut self.wires[id.0].finished, true) {
            return;
        }
        let at = self.wires[id.0].up_at.max(now + self.delay(id));
        self.wires[id.0].up_at = at;
        self.push(at, id, Due::UpFin);
    }

    /// Closes a connection: what is sent arrives, what still comes is not read.
    pub(crate) fn close(&mut self, id: WireId, now: u64) {
        self.finish(id, now);
        self.wires[id.0].client = ClientEnd::Closed;
    }

    /// Resets a connection: what is under way, and what the server has not read, is lost.
    pub(crate) fn abort(&mut self, id: WireId, now: u64) {
        self.drop_under_way(id);
        self.wires[id.0].client = ClientEnd::Closed;
        let at = self.wires[id.0].up_at.max(now + self.delay(id));
        self.push(at, id, Due::UpReset);
    }

    /// Is no longer there. What is sent already arrives; the server never hears of it. Often its receiving side has been
    /// full for a while, so that the server's socket does not take a whole answer any more.
    pub(crate) fn vanish(&mut self, id: WireId) {
        let wire = &mut self.wires[id.0];
        let room = if wire.rng.chance(500) { wire.rng.below(NARROW) as usize } else { SEND_BUFFER };
        wire.room = wire.room.min(room);
        wire.client = ClientEnd::Vanished;
    }

    /// From now on the client takes nothing out of its socket, which holds so many bytes.
    pub(crate) fn ignore(&mut self, id: WireId, room: usize) {
        let wire = &mut self.wires[id.0];
        (wire.ignored, wire.room) = (true, wire.room.min(room));
    }

    /// The client takes so many bytes out of its socket after all.
    pub(crate) fn sip(&mut self, id: WireId, bytes: usize, now: u64) {
        let wire = &mut self.wires[id.0];
        wire.room += bytes;
        if core::mem::take(&mut wire.full) {
            self.push(now, id, Due::Writable);
        }
    }

    /// The client has made so many bytes into whole answers.
    pub(crate) fn digest(&mut self, id: WireId, bytes: usize) {
        self.wires[id.0].unread.drain(..bytes);
    }
}

/// The server's ends.
impl Network {
    /// Reads at most `most` bytes.
    pub(crate) fn read(&mut self, id: WireId, most: usize) -> Read {
        let short = self.happens(id, self.faults.short_read);
        let wire = &mut self.wires[id.0];
        if wire.inbox.is_empty() {
            return if core::mem::take(&mut wire.fin) { Read::End } else { Read::Nothing };
        }
        let most = match short {
            true if wire.rng.chance(700) => 1,
            true => wire.rng.length(64),
            false => most,
        };
        let len = wire.inbox.len().min(most);
        Read::Bytes(wire.inbox.drain(..len).collect())
    }

    /// Whether a read would bring something.
    pub(crate) fn is_readable(&self, id: WireId) -> bool {
        let wire = &self.wires[id.0];
        !wire.inbox.is_empty() || wire.fin
    }

    /// Writes what the socket takes.
    pub(crate) fn write(&mut self, id: WireId, slices: &[IoSlice<'_>], now: u64) -> Write {
        let stalls = self.happens(id, self.faults.stall);
        let short = self.happens(id, self.faults.short_write);
        let wire = &mut self.wires[id.0];
        if wire.server != ServerEnd::Open {
            return Write::Broken;
        }
        assert!(!wire.shut, "connection {} is written to after its sending side was shut", id.0);
        if now < wire.stall_until || wire.room == 0 {
            wire.full = wire.room == 0;
            return Write::Full;
        }
        // Not one stall after the other: a socket that is said to take bytes does, however long the server has slept since,
        // and the patience of clients counts on more than that.
        let again = core::mem::take(&mut wire.stalled);
        if stalls && !again && now >= wire.stall_until + 4 * self.faults.stall_ms {
            let until = now + 1 + wire.rng.below(self.faults.stall_ms);
            (wire.stall_until, wire.stalled) = (until, true);
            self.push(until, id, Due::Writable);
            return Write::Full;
        }
        let all: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut len = all.min(wire.room);
        if short {
            len = wire.rng.length(len);
        }
        let mut taken = Vec::with_capacity(len);
        for slice in slices {
            taken.extend_from_slice(&slice[..slice.len().min(len - taken.len())]);
        }
        wire.room -= len;
        wire.unread.extend_from_slice(&taken);
        let (client, down_at) = (wire.client, wire.down_at);
        match client {
            ClientEnd::Open => {
                for (at, piece) in self.pieces(id, &taken, now, down_at) {
                    self.wires[id.0].down_at = at;
                    self.push(at, id, Due::Down(Arrival::Bytes(piece)));
                }
            }
            ClientEnd::Closed => {
                let at = now + 2 * self.faults.delay_ms.1;
                self.push(at, id, Due::UpReset);
            }
            ClientEnd::Vanished => {}
        }
        Write::Took(taken)
    }

    fn push_down(&mut self, id: WireId, arrival: Arrival, now: u64) {
        let at = self.wires[id.0].down_at.max(now + self.delay(id));
        self.wires[id.0].down_at = at;
        self.push(at, id, Due::Down(arrival));
    }

    /// There is no room for a connection now: it waits.
    pub(crate) fn wait(&mut self, id: WireId, now: u64) {
        self.wires[id.0].server = ServerEnd::Unborn;
        self.push(now + 20, id, Due::Open);
    }

    /// There is no room for a connection, and it is told so.
    pub(crate) fn turn_away(&mut self, id: WireId, bytes: &[u8], now: u64) {
        self.wires[id.0].unread.extend_from_slice(bytes);
        self.push_down(id, Arrival::Bytes(bytes.to_vec()), now);
        self.shed(id, now);
    }

    /// Shuts the sending side.
    pub(crate) fn shut(&mut self, id: WireId, now: u64) {
        self.wires[id.0].shut = true;
        self.push_down(id, Arrival::Fin, now);
    }

    /// Closes the socket; with bytes unread that is a reset.
    pub(crate) fn shed(&mut self, id: WireId, now: u64) {
        let arrival = if self.wires[id.0].inbox.is_empty() { Arrival::Fin } else { Arrival::Reset };
        self.wires[id.0].server = ServerEnd::Closed;
        self.push_down(id, arrival, now);
    }

    /// What the server has sent and the client has not made into whole answers.
    pub(crate) fn unread(&self, id: WireId) -> &[u8] {
        &self.wires[id.0].unread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_however_they_are_cut() {
        let faults = Faults { split: 1_000, short_read: 500, delay_ms: (0, 50), ..Faults::NONE };
        let mut network = Network::new(faults, Chance::seeded(3));
        let wire = network.open(0, 0);
        let sent: Vec<u8> = (0..=255).collect();
        sent.chunks(50).for_each(|part| network.send(wire, part, 5));
        network.finish(wire, 6);
        let mut read = Vec::new();
        let mut ended = false;
        while let Some(now) = network.next() {
            while network.pop(now).is_some() {}
            loop {
                match network.read(wire, 1_000) {
                    Read::Bytes(bytes) => read.extend(bytes),
                    Read::End => ended = true,
                    Read::Nothing => break,
                }
            }
        }
        assert_eq!((read, ended), (sent, true));
    }

    #[test]
    fn a_peer_that_vanished_fills_the_socket() {
        let mut network = Network::new(Faults::NONE, Chance::seeded(3));
        let wire = network.open(0, 0);
        while network.pop(20).is_some() {}
        network.vanish(wire);
        let bytes = [7; 1_000];
        let mut taken = 0;
        while let Write::Took(more) = network.write(wire, &[IoSlice::new(&bytes)], 20) {
            taken += more.len();
        }
        assert!(taken <= SEND_BUFFER && taken == network.unread(wire).len(), "{taken}");
        assert!(network.next().is_none(), "nothing comes of it");
    }

    #[test]
    fn a_socket_that_has_stalled_takes_something_however_late_the_server_comes_back() {
        let faults = Faults { stall: 1_000, stall_ms: 10, ..Faults::NONE };
        let mut network = Network::new(faults, Chance::seeded(3));
        let wire = network.open(0, 0);
        while network.pop(20).is_some() {}
        let mut stalled = 0;
        for now in (1_000..50_000).step_by(1_000) {
            let full = matches!(network.write(wire, &[IoSlice::new(b"a")], now), Write::Full);
            let taken = matches!(network.write(wire, &[IoSlice::new(b"a")], now + 500), Write::Took(_));
            stalled += u64::from(full);
            assert!(taken || !full, "full twice, and writable in between");
        }
        assert!(stalled > 0);
    }

    #[test]
    fn when_the_server_sleeps_depends_on_the_time_alone() {
        let faults = Faults { late: 400, late_ms: 30, pause: 800, pause_ms: 3_000, deaf: 500, ..Faults::NONE };
        let mut network = Network::new(faults, Chance::seeded(3));
        let turns: Vec<u64> = (0..60_000).map(|at| network.turn_at(at)).collect();
        assert!(turns.is_sorted() && (0..).zip(&turns).all(|(at, turn)| (at..at + 3_100).contains(turn)));
        assert!((0..).zip(&turns).any(|(at, turn)| *turn > at + 300), "it is stopped now and then");
        let deaf: Vec<bool> = (0..120).map(|slot| network.is_deaf(slot * DEAF_SLOT_MS)).collect();
        assert!(deaf.contains(&true) && !deaf.windows(3).any(|three| three.iter().all(|deaf| *deaf)));
        network.calm_down();
        assert!((0..1_000).all(|at| network.turn_at(at) == at && !network.is_deaf(at)));
    }
}
