//! The network between model clients and the engine, down to the two kernels' socket buffers.
//!
//! Owns every connection as a pair of byte pipes, what is under way in them, and all faults: delays, splits, short reads and
//! writes, sockets that take nothing for a while, resets, ends of sending, and peers that vanish without a word. Knows
//! nothing of HTTP. Bytes never overtake each other within a pipe; between connections they do.

use std::collections::BTreeMap;
use std::io::IoSlice;

use super::rng::Rng;

/// Bytes that a server's socket takes before the peer has read any.
const SEND_BUFFER: usize = 64 * 1024;

/// Bytes that it takes at most when the peer has not read for a while: an answer or two.
const NARROW: u64 = 600;

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
    };

    /// What may pass at most between a request and its answer if the server takes no time, ms.
    pub(crate) fn patience_ms(&self) -> u64 {
        100 + 2 * self.delay_ms.1 + 3 * self.stall_ms + 8 * self.late_ms
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
    /// Sent by the server, not yet made into whole answers by the client.
    unread: Vec<u8>,
    /// The server has ended its sending.
    shut: bool,
}

/// All connections, and what is under way.
#[derive(Debug)]
pub(crate) struct Network {
    rng: Rng,
    faults: Faults,
    calm: bool,
    wires: Vec<Wire>,
    due: BTreeMap<(u64, u64), (WireId, Due)>,
    serial: u64,
}

impl Network {
    /// A network without connections.
    pub(crate) fn new(faults: Faults, rng: Rng) -> Self {
        Self { rng, faults, calm: false, wires: Vec::new(), due: BTreeMap::new(), serial: 0 }
    }

    /// From now on only time is lost.
    pub(crate) fn calm_down(&mut self) {
        self.calm = true;
        self.due.retain(|_, (_, due)| !matches!(due, Due::Cut));
    }

    /// Whose connection it is.
    pub(crate) fn owner(&self, id: WireId) -> usize {
        self.wires[id.0].owner
    }

    /// When something happens next.
    pub(crate) fn next(&self) -> Option<u64> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// How late the server's next turn comes, ms.
    pub(crate) fn lateness(&mut self) -> u64 {
        if self.happens(self.faults.late) { self.rng.between((0, self.faults.late_ms)) } else { 0 }
    }

    /// Another order of things that happen at once.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        self.rng.shuffle(items);
    }

    fn happens(&mut self, per_mille: u32) -> bool {
        !self.calm && self.rng.chance(per_mille)
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
        let wire = &mut self.wires[id.0];
        match due {
            Due::Open if wire.server == ServerEnd::Unborn => {
                wire.server = ServerEnd::Open;
                Some(Happening::Connected(id))
            }
            Due::Up(_) if wire.server == ServerEnd::Closed => {
                let at = now + self.rng.between(self.faults.delay_ms);
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
    fn pieces(&mut self, bytes: &[u8], now: u64, last: u64) -> Vec<(u64, Vec<u8>)> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        let mut at = last;
        let cut = self.happens(self.faults.split);
        while !rest.is_empty() {
            let len = if cut && pieces.len() < 8 { self.rng.length(rest.len()) } else { rest.len() };
            at = at.max(now + self.rng.between(self.faults.delay_ms));
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
        let up_at = now + self.rng.between(self.faults.delay_ms);
        self.wires.push(Wire {
            owner,
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
            unread: Vec::new(),
            shut: false,
        });
        self.push(up_at, id, Due::Open);
        if self.happens(self.faults.reset) {
            let at = now + self.rng.below(self.faults.reset_within_ms);
            self.push(at.max(up_at), id, Due::Cut);
        }
        id
    }

    /// Sends bytes to the server.
    pub(crate) fn send(&mut self, id: WireId, bytes: &[u8], now: u64) {
        if self.wires[id.0].client != ClientEnd::Open {
            return;
        }
        for (at, piece) in self.pieces(bytes, now, self.wires[id.0].up_at) {
            self.wires[id.0].up_at = at;
            self.push(at, id, Due::Up(piece));
        }
    }

    /// Ends the sending side; the server's answers are still read.
    pub(crate) fn finish(&mut self, id: WireId, now: u64) {
        if core::mem::replace(&mut self.wires[id.0].finished, true) {
            return;
        }
        let at = self.wires[id.0].up_at.max(now + self.rng.between(self.faults.delay_ms));
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
        let at = self.wires[id.0].up_at.max(now + self.rng.between(self.faults.delay_ms));
        self.push(at, id, Due::UpReset);
    }

    /// Is no longer there. What is sent already arrives; the server never hears of it. Often its receiving side has been
    /// full for a while, so that the server's socket does not take a whole answer any more.
    pub(crate) fn vanish(&mut self, id: WireId) {
        let room = if self.rng.chance(500) { self.rng.below(NARROW) as usize } else { SEND_BUFFER };
        let wire = &mut self.wires[id.0];
        wire.room = wire.room.min(room);
        wire.client = ClientEnd::Vanished;
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
        let short = self.happens(self.faults.short_read);
        let few = if self.rng.chance(700) { 1 } else { self.rng.length(64) };
        let wire = &mut self.wires[id.0];
        if wire.inbox.is_empty() {
            return if core::mem::take(&mut wire.fin) { Read::End } else { Read::Nothing };
        }
        let most = if short { few } else { most };
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
        let stalls = self.happens(self.faults.stall);
        let short = self.happens(self.faults.short_write);
        let wire = &mut self.wires[id.0];
        if wire.server != ServerEnd::Open {
            return Write::Broken;
        }
        assert!(!wire.shut, "connection {} is written to after its sending side was shut", id.0);
        if now < wire.stall_until || wire.room == 0 {
            wire.full = wire.room == 0;
            return Write::Full;
        }
        // Not one stall after the other: the patience of clients counts on that.
        if stalls && now >= wire.stall_until + 4 * self.faults.stall_ms {
            let until = now + 1 + self.rng.below(self.faults.stall_ms);
            wire.stall_until = until;
            self.push(until, id, Due::Writable);
            return Write::Full;
        }
        let all: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut len = all.min(wire.room);
        if short {
            len = self.rng.length(len);
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
                for (at, piece) in self.pieces(&taken, now, down_at) {
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
        let at = self.wires[id.0].down_at.max(now + self.rng.between(self.faults.delay_ms));
        self.wires[id.0].down_at = at;
        self.push(at, id, Due::Down(arrival));
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
        let mut network = Network::new(faults, Rng::new(3));
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
        let mut network = Network::new(Faults::NONE, Rng::new(3));
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
}
