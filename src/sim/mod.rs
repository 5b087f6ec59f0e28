//! The simulator: the whole server under model clients, a faulty network and a clock that is only a number.
//!
//! A seed decides everything, so a failure is repeated with what the report says at its end:
//! `ENCKE_SIM_SEED=7 cargo test -p encke sim`. `ENCKE_SIM_SEEDS=100000 cargo test --release --lib sim::` plays the seeds 1 to
//! 100000 of each scenario.
//!
//! | room | owns |
//! |---|---|
//! | `rng` | chance, from a seed |
//! | `network` | byte pipes between two ends, and all faults |
//! | `world` | the clock, the turn of the server's loop, whoever lives at the other end (`world::People`) |
//! | `trace` | the hash over all output, the last lines of the story |
//! | `speech`, `frames`, `lane` | HTTP, WebSocket frames and Bayeux as clients speak them; one connection |
//! | `client` | a model client; its `answers`, its `streams`, its `memory`, and the `ways` between which it switches |
//! | `hooks` | hooks that do what they like, and the log of it |
//! | `hostile` | somebody who wishes everybody ill, and what he does |
//! | `listener`, `crowd` | somebody who listens by plain HTTP; all of them, and the server's own publishes |
//! | `invariants` | what must hold: the clients' book, the engine's numbers |
//! | `guards` | what keeps people out: how often it is reached, that it holds |
//! | `shelf` | what the server keeps, in the book's own words; a tap on the store feeds it |
//! | `scenario` | what is played, and the course of a run |
//! | `worlds` | scenarios with hostile people, more troubles and closer bounds, by chance |
//! | `totals` | sums over many runs |
//! | `troubles` | the troubles of a Comet beginner, one by one and by hand |
//!
//! `cargo run --release --example simulate -- --seeds 100000` plays the worlds of `worlds`, and with `--seed 7 --trace`
//! tells one. They are small, so that there can be many; a script of bytes can decide them instead of a seed.
//!
//! What to widen: another transport is a `lane::Way` and a way to read what comes; another way to do harm is a function
//! and a line in `hostile::assaults`.
//!
//! What a client may miss: without acknowledgement, what was lost with a connection; with it, nothing. Beyond that only what
//! the server has said it lost: dropped events are counted by channel, and of what is gone from a history the reader hears.
//!
//! # What it is worth
//!
//! Each of these mistakes was planted by hand, alone, and turned the simulator red:
//!
//! | mistake | found by |
//! |---|---|
//! | the stamp check dropped, so overlapping patterns deliver twice | an event comes once (every scenario) |
//! | the outbox gives its newest event first | the order of one publisher on one channel (every scenario) |
//! | an event too many for one answer is dropped | whoever was subscribed gets it, or its connection died with it ("tight") |
//! | a connection known to be gone is given events | nothing is given after the peer's end ("lossy", "rude", by hand) |
//! | a moved subscription is not told its new place | no one gets what it is not subscribed to; no topics at rest |
//! | one encoding for each subscriber | encodings are at most publishes |
//! | a short write sends its bytes again | responses are well formed ("ragged", "lossy") |
//! | the tail of a split request is lost | each request has its answer ("ragged", "lossy", "tight") |
//! | a further request does not end the parked poll | answers come in the order of requests |
//! | a disconnect leaves the held connect open | a poll is answered by its timeout |
//! | a superseded connect is left open | a poll is answered by its timeout ("rude") |
//! | a pulled session stays marked as listed | a poll is answered by its timeout |
//! | written answers are not reported | sessions end in time (by hand); everyone is served in quiet times |
//! | the listeners of a dead connection are not told | nothing is left at rest |
//! | no expiry after a held connection dies | a session outlives its connection (by hand) |
//! | a closed connection leaves its timer | timers are at most sessions and connections |
//! | a browser's hold is not released | no one is told of a crowd where there is none |
//! | sending keeps a session alive for ever | whoever only sends is found out (by hand) |
//! | what a flush leaves over waits for a chance event | ten thousand are answered (by hand) |
//! | a session's subscriptions outlive it | no topics at rest |
//! | a connect's timer is not armed | a poll is answered by its timeout |
//! | what waited behind the bounds of pipelining is not read | each request has its answer ("one lane") |
//!
//! Of streams and WebSockets, in "mixed", "migrating", "buffered" and "ending". That sessions and connections agree on what
//! waits where is looked at after every turn:
//!
//! | mistake | found by |
//! |---|---|
//! | a way that is left is not ended | sessions and connections agree |
//! | a way that was full is never given events again | a connect is answered in time; whoever was subscribed gets it |
//! | any message confirms a probe, or none does | no stream is given up in a calm network |
//! | a stream stays the way of events after its reply | sessions and connections agree |
//! | a guest outlives its connection | nothing is left at rest |
//! | a session that moves stays among those of its WebSocket | sessions and connections agree |
//! | sessions on a WebSocket are not told that all is written | a connect is answered in time |
//! | a connect takes the way away on which it came itself | sessions and connections agree |
//! | events go before the probe is confirmed, two ways | no event before that ("migrating") |
//! | a superseded stream stays the way of events (a bug that was found so) | sessions and connections agree |
//! | a WebSocket is given events behind its Close (a bug that was found so) | nothing is written after the end of sending |
//! | the end of a chunk is not written | chunked streams are well formed |
//! | a stream whose link is gone stays the way of events | sessions and connections agree |
//! | a poll does not take the events away from a stream | sessions and connections agree; what is left ends in time |
//! | streams and WebSockets outlast the server | an ending server has nothing under way in time |
//! | a WebSocket that serves nobody stays open | nothing is left at rest |
//! | a pong says something else than its ping | a pong is that of a ping |
//! | polls of plain listeners outlast the server (a bug that was found so) | an ending server has nothing under way in time |
//! | lost advice to pause is not repeated (a bug that was found so) | everyone is served in quiet times |
//!
//! Of acknowledgement, histories, lazy events and overflow; `tests/mistakes/run.py` plants most of them again:
//!
//! | mistake | found in |
//! |---|---|
//! | an acknowledgement frees one event too many, or nothing | "half acknowledged" |
//! | what is sent is not kept until it is acknowledged | "half acknowledged" |
//! | an empty reply does not raise the number of the batch | "acknowledged" |
//! | overlapping patterns deliver twice | "acknowledged" |
//! | a WebSocket goes on serving a session whose connect it has answered (a bug that was found so) | "acknowledged" |
//! | a batch and its number come in frames of their own (a bug that was found so) | "acknowledged" |
//! | no expiry after an answer; a hold outlives its connection | "lossy" |
//! | events go to the older link after a move | "mixed" |
//! | the timer of a lazy event is forgotten | "lazy" |
//! | a session that had something urgent stays urgent (a bug that was found so, with acknowledgement) | "lazy" |
//! | events are pushed to who is still reading; the order of what is read | "forgetful" |
//! | the last event is not read; position N is read itself | "remembered" |
//! | the newest event goes, nobody notes what goes, all histories together have no bound | "forgetful" |
//! | losses are counted wrong, not told, or hit who acknowledges | "overflowing" |
//! | numbers begin anew after a restart; a resume is not told what is gone | "reborn" |
//!
//! Of what keeps hostile people out, found in the worlds of a few thousand seeds at most; `run.py` plants them too:
//!
//! | mistake | found by |
//! |---|---|
//! | no deadline for a head, a body, an answer, or after an error | nothing is left at rest |
//! | no deadline for a connection without a request | everyone is served in quiet times |
//! | two lengths, or a length and a coding, are taken; a batch or JSON may be larger or deeper | no one gets what no one published |
//! | what follows an error is read as a request | an ending server has nothing under way in time |
//! | a client id is known by its place alone | a connect is not superseded without a reason |
//! | one connection or session too many | connections and sessions are at most those allowed |
//! | a connection is read on although much waits to be written | beyond the mark no second answer is added |
//! | sessions live by the calendar; whom to look at is forgotten with a refusal | the loop does not spin; nothing is left |
//! | the rate of handshakes is counted by connection | no address makes more sessions than it may |
//! | all addresses share one rate of handshakes | who is told to be hasty has been |
//! | what a slow reader had waiting counts for ever | what is unsent is counted while a socket is slow, and only then |
//! | who takes a byte now and then is not slow | nobody is kept who takes too little |
//! | the half of a request is not counted, or all halves have no bound | what is received in part is counted, up to its bound |
//! | nobody comes back to a request that waits for the next turn | each request has its answer |
//! | a WebSocket may be asked of any host | nothing is answered for another host |
//!
//! Not found, and left to tests of the engine: a session whose connect gives way to an event source expires when that
//! connect would have ended.

mod client;
mod crowd;
mod frames;
mod guards;
mod hooks;
mod hostile;
mod invariants;
mod lane;
mod listener;
mod network;
mod rng;
mod scenario;
mod shelf;
mod speech;
#[cfg(test)]
mod tests;
mod totals;
mod trace;
#[cfg(test)]
mod troubles;
mod world;
mod worlds;

pub use scenario::Outcome;
pub use totals::Totals;

use rng::Chance;
use scenario::Run;

/// How a run of [`run`] is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Nobody hostile is there.
    pub peaceful: bool,
    /// Each line of the story is printed as it happens.
    pub aloud: bool,
}

/// Plays the world of a seed.
///
/// # Panics
/// If something does not hold that must; the last of the story is on stderr then.
pub fn run(seed: u64, options: Options) -> Outcome {
    let repeat = format!("cargo run --release --example simulate -- --seed {seed} --trace");
    worlds::play(&Run { chance: Chance::seeded(seed), repeat, aloud: options.aloud }, options.peaceful)
}

/// Plays a world of which these bytes decide what they can, and what they are decides the rest.
///
/// # Panics
/// As [`run`] does.
pub fn script(bytes: &[u8]) -> Outcome {
    let repeat = format!("these {} bytes", bytes.len());
    worlds::play(&Run { chance: Chance::scripted(bytes), repeat, aloud: false }, false)
}
