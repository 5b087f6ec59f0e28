//! Owns what is seen of a run while it goes on: the line of progress on standard error, and the series of moments that
//! the report draws its curves from.
//!
//! It decides when to look by the clock of the run, which it is told; it never waits.

use crate::proc;
use crate::report::Sample;
use std::io::{self, IsTerminal as _, Write as _};
use terminal_size::{Width, terminal_size_of};

const NS_PER_S: u64 = 1_000_000_000;
/// How much too early a look may come. Polls wait for whole milliseconds; the rest is not worth spinning for.
const EARLY_NS: u64 = 1_000_000;
/// Between two samples at first, so that a run of a second has a curve too.
const SAMPLE_NS: u64 = 25_000_000;
/// Samples that are kept. With so many, every other one goes and the time between them doubles. An odd number, so that
/// the last one stays and the distances remain even.
const SAMPLES_MAX: usize = 601;
/// Between two looks of the line on a terminal.
const REDRAW_NS: u64 = 100_000_000;
/// Between two lines where they stay, as in a log.
const LINE_NS: u64 = 5 * NS_PER_S;
/// What the shown speed is taken over, at least.
const SPEED_NS: u64 = NS_PER_S;
/// Columns of a terminal that does not say.
const COLUMNS: usize = 80;
/// Columns of the bar, without its brackets.
const BAR: usize = 20;

/// What ends a phase of a run, so that its progress can be told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Goal {
    /// That cannot be told.
    #[default]
    Unknown,
    /// All clients are parked.
    Parked,
    /// So many messages, each with its deliveries.
    Messages(u64),
    /// The clock of the run: from, until.
    Time(u64, u64),
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// What is being done.
    pub(crate) phase: &'static str,
    /// What ends that.
    pub(crate) goal: Goal,
    /// How many clients there will be.
    pub(crate) clients: u64,
    /// Clients whose first connect was answered.
    pub(crate) parked: u64,
    /// Messages sent.
    pub(crate) published: u64,
    /// Deliveries that are due for those.
    pub(crate) expected: u64,
    /// Deliveries, each counted once.
    pub(crate) delivered: u64,
    /// Failures of clients.
    pub(crate) faults: u64,
}

impl Seen {
    /// How much of the phase is done, from 0 to 1.
    fn done(&self, now_ns: u64) -> Option<f64> {
        let share = |reached: u64, goal: u64| (goal > 0).then(|| (reached as f64 / goal as f64).min(1.0));
        match self.goal {
            Goal::Unknown => None,
            Goal::Parked => share(self.parked, self.clients),
            Goal::Messages(goal) => {
                share(self.published, goal).map(|sent| sent * share(self.delivered, self.expected).unwrap_or(0.0))
            }
            Goal::Time(from, until) => share(now_ns.saturating_sub(from), until.saturating_sub(from)),
        }
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Display {
    /// One line, drawn again in place.
    InPlace,
    /// A line now and then.
    Lines,
    Nothing,
}

/// The watcher of one run.
#[derive(Debug)]
pub(crate) struct Watch {
    pid: Option<u32>,
    display: Display,
    series: Series,
    /// When the next line is due.
    show_at: u64,
    /// Since when the speed is counted, and the deliveries by then; and the same from one span before.
    marks: [(u64, u64); 2],
    /// Whether the terminal's line has something on it.
    drawn: bool,
}

impl Watch {
    /// A watcher of the server `pid`, if there is one to be looked at; `quiet` shows nothing.
    pub(crate) fn new(pid: Option<u32>, quiet: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let display = match io::stderr().is_terminal() && !dumb {
            _ if quiet => Display::Nothing,
            true => Display::InPlace,
            false => Display::Lines,
        };
        let show_at = if display == Display::InPlace { REDRAW_NS } else { LINE_NS };
        Self { pid, display, series: Series::default(), show_at, marks: [(0, 0); 2], drawn: false }
    }

    /// When it wants to look next.
    pub(crate) fn due(&self) -> u64 {
        if self.display == Display::Nothing { self.series.next_ns } else { self.series.next_ns.min(self.show_at) }
    }

    /// Whether it is time to look.
    pub(crate) fn wants(&self, now_ns: u64) -> bool {
        now_ns + EARLY_NS >= self.due()
    }

    /// Looks, if it is time to.
    pub(crate) fn look(&mut self, now_ns: u64, seen: Seen) {
        let soon = now_ns + EARLY_NS;
        if soon >= self.series.next_ns {
            self.series.push(now_ns, self.sample(now_ns, seen));
        }
        if soon >= self.show_at {
            self.show(now_ns, seen);
        }
    }

    /// Looks a last time, clears the line, and gives what was seen.
    pub(crate) fn finish(&mut self, now_ns: u64, seen: Seen) -> Vec<Sample> {
        self.clear();
        let last = self.sample(now_ns, seen);
        self.series.samples.push(last);
        std::mem::take(&mut self.series.samples)
    }

    fn sample(&self, now_ns: u64, seen: Seen) -> Sample {
        let server = self.pid.and_then(proc::glance);
        Sample {
            at_s: (now_ns / 1000) as f64 / 1e6,
            phase: seen.phase.into(),
            parked: seen.parked,
            published: seen.published,
            delivered: seen.delivered,
            rss_kib: server.map(|(_, rss_kib)| rss_kib),
            cpu_s: server.map(|(cpu_s, _)| cpu_s),
        }
    }

    fn show(&mut self, now_ns: u64, seen: Seen) {
        let [old, new] = self.marks;
        let per_second = seen.delivered.saturating_sub(old.1) as f64 * NS_PER_S as f64 / (now_ns - old.0).max(1) as f64;
        if now_ns >= new.0 + SPEED_NS {
            self.marks = [new, (now_ns, seen.delivered)];
        }
        let rss_kib = self.series.samples.last().and_then(|sample| sample.rss_kib);
        let state = Progress { seen, now_ns, per_second, rss_kib };
        let mut err = io::stderr().lock();
        // Who cannot be shown anything is not told either.
        let _ = match self.display {
            Display::Nothing => Ok(()),
            Display::Lines => writeln!(err, "{}", state.line(usize::MAX, false)),
            // The last column stays free: some terminals wrap when it is written.
            Display::InPlace => write!(err, "\r{}\x1b[K", state.line(columns().saturating_sub(1), true)),
        };
        let _ = err.flush();
        drop(err);
        self.drawn = self.display == Display::InPlace;
        self.show_at = now_ns + if self.drawn { REDRAW_NS } else { LINE_NS };
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let mut err = io::stderr().lock();
            let _ = err.write_all(b"\r\x1b[K").and_then(|()| err.flush());
        }
    }
}

impl Drop for Watch {
    /// A run that fails leaves a clean line for its error.
    fn drop(&mut self) {
        self.clear();
    }
}

fn columns() -> usize {
    terminal_size_of(io::stderr()).map_or(COLUMNS, |(Width(columns), _)| usize::from(columns))
}

/// Samples at even distances, never more than [`SAMPLES_MAX`].
#[derive(Debug)]
struct Series {
    samples: Vec<Sample>,
    every_ns: u64,
    next_ns: u64,
}

impl Default for Series {
    fn default() -> Self {
        Self { samples: Vec::new(), every_ns: SAMPLE_NS, next_ns: 0 }
    }
}

impl Series {
    fn push(&mut self, now_ns: u64, sample: Sample) {
        self.samples.push(sample);
        if self.samples.len() >= SAMPLES_MAX {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.every_ns *= 2;
        }
        // From now on, not from when it was due: after a long turn nothing is to be made up for.
        self.next_ns = now_ns + self.every_ns;
    }
}

/// What a line of progress says.
#[derive(Clone, Copy, Debug)]
struct Progress {
    seen: Seen,
    now_ns: u64,
    per_second: f64,
    rss_kib: Option<u64>,
}

impl Progress {
    /// At most `columns` long. What matters least is left out first.
    fn line(&self, columns: usize, bar: bool) -> String {
        let Seen { phase, clients, parked, published, delivered, faults, .. } = self.seen;
        let seconds = self.now_ns / NS_PER_S;
        let elapsed = format!("{}:{:02}", seconds / 60, seconds % 60);
        let done = self.seen.done(self.now_ns);
        // A shard that does not publish has deliveries only.
        let going = published + delivered > 0;
        let speed = going.then(|| format!("{}/s", short(self.per_second)));
        // In the order of the line, with how much each one matters.
        let parts = [
            (9, Some(phase.to_owned())),
            (7, done.map(|done| if bar { drawn(done) } else { percent(done) })),
            (if going { 2 } else { 8 }, Some(format!("{parked}/{clients} clients"))),
            (3, (published > 0).then(|| format!("{published} published"))),
            (8, going.then(|| format!("{delivered} delivered"))),
            (5, speed),
            (4, self.rss_kib.map(|rss_kib| format!("server {}", mebibytes(rss_kib)))),
            (6, (faults > 0).then(|| format!("{faults} FAILED"))),
            (1, Some(elapsed)),
        ];
        let mut parts: Vec<(u8, String)> =
            parts.into_iter().filter_map(|(weight, part)| part.map(|part| (weight, part))).collect();
        loop {
            let line = parts.iter().map(|(_, part)| part.as_str()).collect::<Vec<_>>().join("  ");
            if line.len() <= columns {
                return line;
            }
            let Some(least) = (0..parts.len()).min_by_key(|at| parts[*at].0).filter(|_| parts.len() > 1) else {
                return line.chars().take(columns).collect();
            };
            parts.remove(least);
        }
    }
}

/// A bar and its percentage, all ASCII: a byte is a column.
fn drawn(done: f64) -> String {
    let full = (done.clamp(0.0, 1.0) * BAR as f64) as usize;
    format!("[{}{}] {}", "#".repeat(full), "-".repeat(BAR - full), percent(done))
}

fn percent(done: f64) -> String {
    // 100 % is for what is done, not for what nearly is.
    format!("{:.0}%", (done.clamp(0.0, 1.0) * 100.0).floor())
}

/// A number in at most four digits.
fn short(number: f64) -> String {
    match number {
        number if number >= 1e7 => format!("{:.1}M", number / 1e6),
        number if number >= 1e4 => format!("{:.0}k", number / 1e3),
        number => format!("{number:.0}"),
    }
}

fn mebibytes(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publishing() -> Seen {
        Seen {
            phase: "publishing",
            goal: Goal::Messages(400),
            expected: 3_149_998,
            clients: 10_000,
            parked: 10_000,
            published: 252,
            delivered: 2_519_998,
            faults: 2,
        }
    }

    #[test]
    fn a_series_is_thinned_and_stays_even() {
        let mut watch = Watch::new(None, true);
        let mut now = 0;
        // Two hours in turns of a millisecond would have 288,000 samples.
        while now < 7200 * NS_PER_S {
            watch.look(now, Seen { phase: "watching", delivered: now / NS_PER_S, ..Seen::default() });
            assert!(watch.series.samples.len() < SAMPLES_MAX);
            now = watch.due();
        }
        let samples = watch.finish(now, Seen::default());
        assert!((SAMPLES_MAX / 2..=SAMPLES_MAX).contains(&samples.len()), "{}", samples.len());
        let steps: Vec<f64> = samples.windows(2).map(|pair| pair[1].at_s - pair[0].at_s).collect();
        let even = &steps[..steps.len() - 2];
        assert!(even.iter().all(|step| (step - even[0]).abs() < 1e-6));
        assert_eq!((samples[0].at_s, samples[0].phase.as_str()), (0.0, "watching"));
        assert!(samples.windows(2).all(|pair| pair[0].delivered <= pair[1].delivered || pair[1].phase.is_empty()));
    }

    #[test]
    fn nothing_is_done_before_it_is_due() {
        let mut watch = Watch::new(None, true);
        watch.look(0, Seen::default());
        for now in (1..SAMPLE_NS - EARLY_NS).step_by(1_000_003) {
            watch.look(now, Seen::default());
        }
        assert_eq!((watch.series.samples.len(), watch.due()), (1, SAMPLE_NS));
        assert!(!watch.wants(SAMPLE_NS / 2) && watch.wants(SAMPLE_NS));
        // A turn that took long is one sample, not many.
        watch.look(50 * SAMPLE_NS, Seen::default());
        assert_eq!((watch.series.samples.len(), watch.due()), (2, 51 * SAMPLE_NS));
    }

    #[test]
    fn a_line_is_never_wider_than_the_terminal() {
        let full = Progress { seen: publishing(), now_ns: 3605 * NS_PER_S, per_second: 108_416.0, rss_kib: Some(7260) };
        let line = full.line(200, true);
        let expected = "publishing  [##########----------] 50%  10000/10000 clients  252 published  2519998 delivered  \
            108k/s  server 7.1 MiB  2 FAILED  60:05";
        assert_eq!(line, expected);
        for columns in 0..200 {
            let line = full.line(columns, true);
            assert!(line.chars().count() <= columns, "{columns}: {line}");
            assert!(columns < 10 || line.starts_with("publishing"), "{columns}: {line}");
        }
        assert_eq!(full.line(79, true), "publishing  [##########----------] 50%  2519998 delivered  108k/s  2 FAILED");
        assert_eq!(full.line(4, true), "publ");
    }

    #[test]
    fn lines_of_a_log_have_no_bar() {
        let seen = Seen { phase: "parking", goal: Goal::Parked, clients: 10_000, parked: 9_999, ..Seen::default() };
        let line = Progress { seen, now_ns: 5 * NS_PER_S, per_second: 0.0, rss_kib: None }.line(usize::MAX, false);
        assert_eq!(line, "parking  99%  9999/10000 clients  0:05");
        let done = |goal, now_ns| Seen { goal, ..Seen::default() }.done(now_ns);
        assert_eq!((done(Goal::Time(100, 300), 150), done(Goal::Time(100, 300), 400)), (Some(0.25), Some(1.0)));
        assert_eq!((done(Goal::Parked, 0), done(Goal::Unknown, 0)), (None, None));
        // All sent and half of it come is half.
        let half = Seen { published: 5, expected: 50, delivered: 25, goal: Goal::Messages(5), ..Seen::default() };
        assert_eq!((half.done(0), Seen { published: 0, ..half }.done(0)), (Some(0.5), Some(0.0)));
    }
}
