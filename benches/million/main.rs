//! A million sessions in one engine: `cargo bench --bench million [-- OPTIONS]`.
//!
//! The engine is the whole server but for sockets ([`encke::engine`]); its clients are connections in memory, each with
//! one session that has one subscription and polls as `encke-loadtest` does. One engine grows to 1,000, 10,000, 100,000
//! and 1,000,000 sessions, and at each size all of them are asked for. Every figure is per session, the median of
//! several rounds over all sessions; times are the thread's own (`CLOCK_THREAD_CPUTIME_ID`). What is counted must be
//! exact: each event to each session once, each connect held.
//!
//! | figure | from | to |
//! |---|---|---|
//! | queue | a publish from within the server | the event encoded, the channel matched, a pointer in each outbox |
//! | frame | sessions with something to say | held connects ended, HTTP responses in the connections' pending bytes |
//! | written | the loop asks what to write | told that all went: pending bytes freed, the session's expiry armed |
//! | connect | the bytes of the next connect | parsed, the client known by id and cookie, the connect held with a timer |
//! | **publish** | queue + frame | |
//! | **poll cycle** | connect + frame + written | |
//! | **timeout** | 30 s without an event | timers fired, the answers framed and written |
//!
//! Bytes are those asked of the allocator, with what growing tables hold in reserve, without the allocator's own share
//! and without the clients: for an accepted *connection*, for a *session* beside it whose connect is held, and for
//! *all*, where queues that have carried a publish to everyone keep their size. What the kernel takes for sockets is
//! not in it. *Allocations* are calls of the allocator for one publish and one poll cycle. All calls are counted while
//! times are taken, which costs each some nanoseconds.
//!
//! The first table has its clients come back in the order in which they came: their state lies in memory as it is asked
//! for. In the second one connections, sessions, subscriptions and connects are each in an order of their own, the
//! worst that years of coming and going can make of it.
//!
//! `cargo test` runs it with 1,000 sessions and takes no times.

mod measure;
mod options;
mod report;
#[path = "../world/mod.rs"]
mod world;

use std::process::ExitCode;

use measure::{Order, Row, Study};
use options::Options;

/// Sessions when it runs as a test.
const FEW: usize = 1_000;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    // `cargo bench` says this, `cargo test` does not; whatever else that says is for tests that have names.
    if !words.iter().any(|word| word == "--bench") {
        prove();
        return ExitCode::SUCCESS;
    }
    let done = Options::parse(words).and_then(|options| {
        if options.help {
            print!("{}", options::HELP);
            return Ok(());
        }
        run(&options)
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("million: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Has everything counted that a run counts, and says nothing of times.
fn prove() {
    for order in [Order::Joined, Order::Random] {
        let mut study = Study::new(FEW, order);
        study.at(FEW, 1);
        study.end();
    }
    println!("million: with {FEW} sessions everything counts as expected");
}

fn run(options: &Options) -> Result<(), String> {
    let mut rows: Vec<Row> = Vec::new();
    for order in [Order::Joined, Order::Random] {
        report::head(order);
        let mut study = Study::new(options.sessions, order);
        for sessions in sizes(options.sessions) {
            let row = study.at(sessions, rounds(sessions, options.quick));
            report::line(&row);
            rows.push(row);
        }
        study.end();
    }
    report::curves(&rows);
    for (file, text) in [(&options.json, report::json(&rows)), (&options.svg, report::svg(&rows))] {
        if let Some(path) = file {
            std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}

/// Powers of ten from 1,000, and the number asked for.
fn sizes(most: usize) -> Vec<usize> {
    let powers = core::iter::successors(Some(1_000_usize), |size| size.checked_mul(10));
    powers.take_while(|size| *size < most).chain([most]).collect()
}

/// Enough for a median that stands still, in a time that one waits for.
fn rounds(sessions: usize, quick: bool) -> usize {
    if quick { 3 } else { (2_000_000 / sessions).clamp(5, 200) }
}
