//! What has happened, for the hash and for the report of a failure.
//!
//! Owns the hash over all bytes that leave the engine, with their times, and the last lines of the story. When a check
//! panics, whichever it is, the story and the way to repeat it are printed on the way out.

use std::collections::VecDeque;

use super::network::WireId;
use super::scenario::Run;

/// Lines kept for a report.
const LINES: usize = 60;
/// Bytes kept of what was sent at once.
const KEPT: usize = 1_000;
/// Characters of it that a line shows.
const SHOWN: usize = 300;

/// One thing that happened.
#[derive(Clone, Debug)]
enum Line {
    Bytes { from_server: bool, wire: WireId, bytes: Vec<u8>, all: usize },
    Note(Option<WireId>, String),
}

/// The story of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    /// How to repeat the run.
    repeat: String,
    /// Each line is printed as it comes.
    aloud: bool,
    hash: u64,
    lines: VecDeque<(u64, Line)>,
}

impl Trace {
    /// An empty story.
    pub(crate) fn new(run: &Run) -> Self {
        Self { repeat: run.repeat.clone(), aloud: run.aloud, hash: 0xcbf2_9ce4_8422_2325, lines: VecDeque::new() }
    }

    /// The hash over everything that the engine has sent, with the times.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    /// The engine has done something with a connection: sent bytes, or, with none, closed it.
    pub(crate) fn output(&mut self, now: u64, wire: WireId, bytes: &[u8]) {
        self.mix(now);
        self.mix(wire.0 as u64);
        for byte in bytes {
            self.mix(u64::from(*byte));
        }
        self.push(now, true, wire, bytes);
    }

    /// The engine has been given bytes.
    pub(crate) fn input(&mut self, now: u64, wire: WireId, bytes: &[u8]) {
        self.push(now, false, wire, bytes);
    }

    fn push(&mut self, now: u64, from_server: bool, wire: WireId, bytes: &[u8]) {
        let kept = bytes.get(..KEPT.min(bytes.len())).unwrap_or_default().to_vec();
        self.keep(now, Line::Bytes { from_server, wire, bytes: kept, all: bytes.len() });
    }

    /// Something else worth telling.
    pub(crate) fn note(&mut self, now: u64, wire: Option<WireId>, text: impl Into<String>) {
        self.keep(now, Line::Note(wire, text.into()));
    }

    fn keep(&mut self, now: u64, line: Line) {
        if self.aloud {
            return print!("{}", shown(now, &line));
        }
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((now, line));
    }

    /// The last lines, and how to repeat them.
    fn report(&self) -> String {
        let mut text = String::from("\nthe last of the story (ms, connection):\n");
        text.extend(self.lines.iter().map(|(at, line)| shown(*at, line)));
        text + "repeat with: " + &self.repeat
    }
}

fn shown(at: u64, line: &Line) -> String {
    match line {
        Line::Bytes { from_server, wire, bytes, all } => {
            let arrow = if *from_server { "<-" } else { "->" };
            format!("{at:>9} {:>4} {arrow} {} ({all} bytes)\n", wire.0, condensed(bytes))
        }
        Line::Note(Some(wire), note) => format!("{at:>9} {:>4}    {note}\n", wire.0),
        Line::Note(None, note) => format!("{at:>9}         {note}\n"),
    }
}

/// HTTP as one line, without header fields, which are rarely the story.
fn condensed(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split("\r\n\r\n");
    let mut line = String::new();
    while let Some(part) = parts.next()
        && line.len() < SHOWN
    {
        let (body, start) = match part.find("HTTP/1.1") {
            Some(_) => part.split_once("\r\n").map_or((part, ""), |(start, _)| ("", start)),
            None => (part, ""),
        };
        line += body;
        line += start;
        line.push(' ');
    }
    line.chars().take(SHOWN).map(|c| if c.is_control() { '~' } else { c }).collect()
}

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.report());
        }
    }
}

#[cfg(test)]
use super::rng::Chance;

#[test]
fn the_hash_depends_on_bytes_times_and_places() {
    let run = Run { chance: Chance::seeded(1), repeat: "this seed".to_owned(), aloud: false };
    let hash = |now, wire, bytes: &[u8]| {
        let mut trace = Trace::new(&run);
        trace.output(now, WireId(wire), bytes);
        trace.hash()
    };
    let hashes = [hash(1, 1, b"ab"), hash(2, 1, b"ab"), hash(1, 2, b"ab"), hash(1, 1, b"ba"), hash(1, 1, b"")];
    let distinct: std::collections::BTreeSet<u64> = hashes.into();
    assert_eq!(distinct.len(), hashes.len());
    let mut trace = Trace::new(&run);
    (0..100).for_each(|at| trace.note(at, None, "noted"));
    assert!(trace.report().ends_with("repeat with: this seed") && trace.report().lines().count() == LINES + 3);
}
