//! The daemon's log on stderr.
//!
//! Owns the form of a line, which lines are wanted, and that a line never keeps the loop waiting: where nobody reads, on a
//! full disk or behind a closed pipe, lines are lost and counted, and clients are served on.

use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::time::{SystemTime, UNIX_EPOCH};

use encke::http::date::iso8601;
use log::LevelFilter;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Where our own log lines come from, and those of libraries that somebody may want to see.
const TARGETS: &[&str] = &["encke", "mio"];
/// Bytes of one line, its end included; the rest is cut. So much goes into a pipe at once, or waits for all of it, only
/// after `poll` has said that there is room (`PIPE_BUF` of Linux).
const LINE_BYTES: usize = 4_096;
/// Characters that are said of a panic.
const PANIC_CHARS: usize = 1_000;

/// Logs to stderr what `RUST_LOG` asks for, panics included.
pub(crate) fn start() {
    // An empty RUST_LOG is most likely meant as none; it would silence everything.
    let wanted = std::env::var_os("RUST_LOG").map(|wanted| wanted.to_string_lossy().trim().to_owned());
    let wanted = wanted.filter(|wanted| !wanted.is_empty());
    let fault = wanted.as_deref().and_then(|wanted| Some((wanted, fault_in_filter(wanted)?)));
    let filter = wanted.as_deref().filter(|_| fault.is_none()).unwrap_or("info");
    env_logger::Builder::new()
        .parse_filters(filter)
        .target(env_logger::Target::Pipe(Box::new(Stderr::default())))
        .format(|out, record| writeln!(out, "{} {:5} {}", time(), record.level(), record.args()))
        .init();
    panic::set_hook(Box::new(|info| log::error!("a bug in encke: {}", one_line(info))));
    if let Some((wanted, part)) = fault {
        log::warn!(
            "RUST_LOG={wanted}: {part:?} must be a level (error, warn, info, debug, trace, off) or a part of encke such \
            as encke::http=trace; logging at info"
        );
    }
}

/// Says one last line on stderr, whatever `RUST_LOG` says.
pub(crate) fn say(line: &str) {
    Stderr::default().line(format!("encke: {line}\n").into_bytes());
}

fn time() -> String {
    iso8601(unix_ms())
}

/// Now, for people.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

/// Where a panic was, and what it says.
fn one_line(info: &PanicHookInfo<'_>) -> String {
    let text = info.to_string();
    text.chars().take(PANIC_CHARS).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// Stderr, to which whole lines are written, or not at all.
#[derive(Debug, Default)]
struct Stderr {
    /// Lines that could not be written since the last one that could.
    lost: u64,
    /// The last one has no end.
    torn: bool,
}

impl Stderr {
    fn line(&mut self, mut line: Vec<u8>) {
        if line.len() > LINE_BYTES {
            line.truncate(LINE_BYTES - 1);
            line.push(b'\n');
        }
        if self.lost > 0 {
            let note = format!("{} WARN  {} lines of the log are lost: stderr took no more\n", time(), self.lost);
            if !self.write_whole(note.as_bytes()) {
                return self.lost += 1;
            }
            self.lost = 0;
        }
        if !self.write_whole(&line) {
            self.lost += 1;
        }
    }

    /// Writes a line, behind the end of the one before, if stderr takes it at once.
    fn write_whole(&mut self, line: &[u8]) -> bool {
        if self.torn && written(b"\n") == 0 {
            return false;
        }
        let taken = written(line);
        self.torn = 0 < taken && taken < line.len();
        taken == line.len()
    }
}

/// Writes as much as stderr takes at once; bytes.
fn written(bytes: &[u8]) -> usize {
    let stderr = io::stderr();
    let mut taken = 0;
    while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
        let mut ready = [PollFd::new(&stderr, PollFlags::OUT)];
        match poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(1..) => {}
            Err(Errno::INTR) => continue,
            Ok(0) | Err(_) => break,
        }
        match stderr.lock().write(rest) {
            Ok(n) if n > 0 => taken += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => break,
        }
    }
    taken
}

impl Write for Stderr {
    /// Takes a whole line, as the logger gives it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The first part of a filter that is no good. A misspelt level would pass for the name of a module and silence all
/// others, and so would a filter that is for other programs only.
fn fault_in_filter(filter: &str) -> Option<&str> {
    let is_level = |text: &str| text.trim().parse::<LevelFilter>().is_ok();
    let is_ours = |text: &str| TARGETS.contains(&text.split("::").next().unwrap_or_default().trim());
    let is_known = |part: &&str| is_level(part) || is_ours(part.split('=').next().unwrap_or_default());
    // Behind a slash stands a text that lines must contain.
    let parts = filter.split('/').next().unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty());
    let mut bad = parts.clone().filter(|part| match part.split_once('=') {
        Some((_, level)) => !is_level(level),
        None => !is_known(part),
    });
    bad.next().or_else(|| if parts.clone().any(|part| is_known(&part)) { None } else { parts.clone().next() })
}
