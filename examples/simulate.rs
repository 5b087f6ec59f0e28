//! Plays the worlds of many seeds: the whole server under model clients, a bad network and a clock that is only a number.
//!
//! `cargo run --release --example simulate -- --seeds 100000`
//!
//! A sample of the seeds is played once more on another thread, and must give the same story.

use std::cell::RefCell;
use std::ffi::OsString;
use std::panic;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use encke::sim::{self, Totals};
use lexopt::{Arg, ValueExt as _};

const HELP: &str = "\
Plays the worlds of many seeds: the whole server under model clients, a bad network and a clock that is only a number.
Usage: simulate [OPTIONS]
  --seeds N     how many seeds; default 10,000
  --first SEED  the first of them; default 1
  --threads N   threads, 1 to 1,024; default as many as there are processors
  --json        the result as JSON on stdout
  --seed SEED   this one alone
  --trace       with --seed: its whole story
  --peaceful    without the hostile people who are in every other world
What it counts, over all worlds:
  how events came       due (somebody had to get one), streamed, pushed (WebSocket), sourced (EventSource), listened
                        (without Bayeux), replayed, acked
  how they did not      lost (with a connection), evicted and dropped and gap (told to the client), refused (publishes),
                        unanswered (requests)
  what sessions did     held, superseded, moved, switched, fallback, resumed, unknown, dismissed, crowded, overflow,
                        unsubscribed, ponged, abandoned
  what hostile ones did assaulted, shed; compared (the world without them was the same), regrouped (of these, by turns)
  which limits counted  hasty and sentoff (good clients), ratereached, fullreached, receivedreached, unsentreached,
                        slowreached, stuckreached, fanoutreached, hostreached
  the server            died (and another took its place)
\"not seen\" names what a scenario is there to show and has not shown.
The last line says whether everything held in every world.
Exit code: 0 if everything held in every world, 1 if something did not, 2 if the options make no sense.
";

/// So many seeds, at most, are played twice.
const SAMPLE: u64 = 200;
/// Between two lines about the progress.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Debug)]
struct Wish {
    seeds: u64,
    first: u64,
    threads: usize,
    json: bool,
    seed: Option<u64>,
    trace: bool,
    peaceful: bool,
    help: bool,
}

/// A world in which something did not hold.
#[derive(Debug)]
struct Broken {
    seed: u64,
    what: String,
}

/// What all threads share.
#[derive(Default)]
struct Shared {
    next: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    totals: Totals,
    broken: Vec<Broken>,
    /// Seeds to be played once more, and the hashes of their stories.
    sample: Vec<(u64, u64)>,
}

thread_local! {
    /// What the last panic of this thread said.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

fn parse(words: Vec<OsString>) -> Result<Wish, String> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut wish =
        Wish { seeds: 10_000, first: 1, threads, json: false, seed: None, trace: false, peaceful: false, help: false };
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(word) = parser.next().map_err(|error| error.to_string())? {
        let flag = match word {
            Arg::Long("json") => Some(&mut wish.json),
            Arg::Long("peaceful") => Some(&mut wish.peaceful),
            Arg::Long("trace") => Some(&mut wish.trace),
            Arg::Long("help") | Arg::Short('h') => Some(&mut wish.help),
            _ => None,
        };
        if let Some(flag) = flag {
            *flag = true;
            continue;
        }
        let took = match word {
            Arg::Long("seeds") => parser.value().and_then(|value| value.parse()).map(|seeds| wish.seeds = seeds),
            Arg::Long("first") => parser.value().and_then(|value| value.parse()).map(|first| wish.first = first),
            Arg::Long("threads") => parser.value().and_then(|value| value.parse()).map(|count| wish.threads = count),
            Arg::Long("seed") => parser.value().and_then(|value| value.parse()).map(|seed| wish.seed = Some(seed)),
            other => Err(other.unexpected()),
        };
        took.map_err(|error| format!("{error}; --help says what there is"))?;
    }
    if let Some(seed) = wish.seed {
        (wish.first, wish.seeds, wish.threads) = (seed, 1, 1);
    }
    if wish.seeds == 0 || wish.first.checked_add(wish.seeds).is_none() {
        return Err(format!("--seeds {}: at least 1, and no seed above {}", wish.seeds, u64::MAX - 1));
    }
    if !(1..=1_024).contains(&wish.threads) {
        return Err(format!("--threads {}: from 1 to 1,024", wish.threads));
    }
    if wish.trace && (wish.seed.is_none() || wish.json) {
        return Err("--trace tells one story: it goes with --seed and without --json".to_owned());
    }
    Ok(wish)
}

/// Plays one seed; its outcome, or what did not hold.
fn play(seed: u64, options: sim::Options) -> Result<sim::Outcome, Broken> {
    let played = panic::catch_unwind(|| sim::run(seed, options));
    played.map_err(|_| Broken { seed, what: SAID.take() })
}

/// Plays seeds until there are no more, or something did not hold.
fn work(wish: &Wish, shared: &Shared) {
    let options = sim::Options { peaceful: wish.peaceful, aloud: wish.trace };
    let mut totals = Totals::default();
    let mut sample = Vec::new();
    let every = wish.seeds.div_ceil(SAMPLE);
    while !shared.stop.load(Ordering::Relaxed) {
        let at = shared.next.fetch_add(1, Ordering::Relaxed);
        if at >= wish.seeds {
            break;
        }
        match play(wish.first + at, options) {
            Ok(outcome) => {
                totals.add(&outcome);
                if at.is_multiple_of(every) {
                    sample.push((wish.first + at, outcome.hash));
                }
            }
            Err(broken) => {
                shared.stop.store(true, Ordering::Relaxed);
                shared.state.lock().unwrap().broken.push(broken);
            }
        }
        if shared.done.fetch_add(1, Ordering::Relaxed).is_multiple_of(64) {
            shared.state.lock().unwrap().totals.join(core::mem::take(&mut totals));
        }
    }
    let mut state = shared.state.lock().unwrap();
    state.totals.join(totals);
    state.sample.extend(sample);
}

/// Plays the sample once more, on a thread that has played nothing yet.
fn play_again(sample: &[(u64, u64)], peaceful: bool) -> Option<Broken> {
    let again = |&(seed, hash): &(u64, u64)| match play(seed, sim::Options { peaceful, aloud: false }) {
        Ok(outcome) if outcome.hash == hash => None,
        Ok(outcome) => {
            let what = format!("another story the second time: {hash:016x}, then {:016x}", outcome.hash);
            Some(Broken { seed, what })
        }
        Err(broken) => Some(broken),
    };
    thread::scope(|scope| scope.spawn(|| sample.iter().find_map(again)).join()).expect("its panics are caught")
}

fn rates(totals: &Totals, since: Instant) -> String {
    let seconds = since.elapsed().as_secs_f64().max(0.001);
    format!(
        "{} seeds, {:.0} seeds/s, {:.0} turns/s, {:.0} events/s, {:.1} hours simulated",
        totals.runs,
        totals.runs as f64 / seconds,
        totals.turns as f64 / seconds,
        totals.delivered as f64 / seconds,
        totals.simulated_ms as f64 / 3_600_000.0,
    )
}

fn tell_progress(wish: &Wish, shared: &Shared, since: Instant) {
    let mut told = Instant::now();
    while shared.done.load(Ordering::Relaxed) < wish.seeds && !shared.stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            eprintln!("{}", rates(&shared.state.lock().unwrap().totals, since));
        }
    }
}

fn simulate(wish: &Wish) -> ExitCode {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
        let said = info.payload().downcast_ref::<&str>().copied();
        let said = said.or_else(|| info.payload().downcast_ref::<String>().map(String::as_str));
        SAID.set(format!("{}{place}", said.unwrap_or("a panic without words")));
    }));
    let (shared, since) = (Shared::default(), Instant::now());
    thread::scope(|scope| {
        for _ in 0..wish.threads {
            scope.spawn(|| work(wish, &shared));
        }
        tell_progress(wish, &shared, since);
    });
    let State { totals, mut broken, sample } = shared.state.into_inner().unwrap();
    let rates = rates(&totals, since);
    if broken.is_empty() {
        broken.extend(play_again(&sample, wish.peaceful));
    }
    broken.sort_by_key(|broken| broken.seed);
    if wish.json {
        println!("{:#}", json(wish, &totals, &broken, since));
    } else {
        println!("{rates}; {} of the seeds played twice", sample.len());
        for (seed, hash) in sample.iter().filter(|_| wish.seed.is_some()) {
            println!("the story of seed {seed}: {hash:016x}");
        }
        println!("{}", totals.counts().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", "));
        if !totals.unseen().is_empty() {
            println!("not seen: {}", totals.unseen().join(", "));
        }
    }
    for Broken { seed, what } in &broken {
        eprintln!("\nseed {seed}: {what}\nreplay it: cargo run --release --example simulate -- --seed {seed} --trace");
    }
    if !wish.json {
        println!("{}", verdict(totals.runs, &broken));
    }
    ExitCode::from(u8::from(!broken.is_empty()))
}

/// The last line: what has come of it.
fn verdict(runs: u64, broken: &[Broken]) -> String {
    match broken {
        [] if runs == 1 => "everything held in this world".to_owned(),
        [] => format!("everything held in all {runs} worlds"),
        broken => {
            let seeds: Vec<_> = broken.iter().map(|broken| broken.seed.to_string()).collect();
            format!("something did NOT hold: see seed {}, above", seeds.join(", "))
        }
    }
}

fn json(wish: &Wish, totals: &Totals, broken: &[Broken], since: Instant) -> serde_json::Value {
    let seconds = since.elapsed().as_secs_f64();
    let broken: Vec<_> =
        broken.iter().map(|broken| serde_json::json!({ "seed": broken.seed, "what": broken.what })).collect();
    serde_json::json!({
        "first": wish.first,
        "seeds": totals.runs,
        "threads": wish.threads,
        "seconds": seconds,
        "seeds_per_second": totals.runs as f64 / seconds,
        "turns": totals.turns,
        "events": totals.delivered,
        "simulated_ms": totals.simulated_ms,
        "scenarios": totals.scenarios().collect::<std::collections::BTreeMap<_, _>>(),
        "counts": totals.counts().collect::<std::collections::BTreeMap<_, _>>(),
        "not_seen": totals.unseen(),
        "broken": broken,
    })
}

fn main() -> ExitCode {
    match parse(std::env::args_os().skip(1).collect()) {
        Ok(Wish { help: true, .. }) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(wish) => simulate(&wish),
        Err(error) => {
            eprintln!("simulate: {error}");
            ExitCode::from(2)
        }
    }
}

#[test]
fn the_last_line_is_the_verdict() {
    assert_eq!(verdict(1, &[]), "everything held in this world");
    assert_eq!(verdict(20, &[]), "everything held in all 20 worlds");
    let broken = [7, 9].map(|seed| Broken { seed, what: "a loss".to_owned() });
    assert_eq!(verdict(20, &broken), "something did NOT hold: see seed 7, 9, above");
}

#[test]
fn options_make_sense_or_are_refused_in_one_line() {
    let wish = |line: &str| parse(line.split_whitespace().map(OsString::from).collect());
    let plain = wish("--seeds 20 --first 7 --threads 3 --json").unwrap();
    assert_eq!((plain.seeds, plain.first, plain.threads, plain.json), (20, 7, 3, true));
    let one = wish("--seed 9 --trace").unwrap();
    assert_eq!((one.seeds, one.first, one.threads, one.trace), (1, 9, 1, true));
    for (line, says) in [
        ("--seeds 0", "--seeds 0: at least 1"),
        ("--seeds many", "many"),
        ("--threads 0", "--threads 0: from 1 to 1,024"),
        ("--trace", "goes with --seed"),
        ("--seed 1 --trace --json", "goes with --seed and without --json"),
        ("--worlds 3", "--worlds"),
        ("--first 18446744073709551615", "no seed above"),
    ] {
        let error = wish(line).unwrap_err();
        assert!(error.contains(says) && !error.contains('\n'), "{line}: {error}");
    }
}
