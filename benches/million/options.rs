//! The command line.

use core::ops::RangeInclusive;
use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::ValueExt;

/// What `--help` says.
pub(crate) const HELP: &str = "\
A million sessions in one engine: bytes per session, and what a publish, a poll cycle and a timeout cost.
Usage: cargo bench --bench million [-- OPTIONS]
  --sessions N   the largest size, 10 to 4,000,000; default 1,000,000
  --quick        three rounds of each size
  --json FILE    every figure
  --svg FILE     the curves
";

/// Beyond them, connects would time out by the bench's clock while others come.
const SESSIONS: RangeInclusive<usize> = 10..=4_000_000;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Options {
    /// The largest size.
    pub(crate) sessions: usize,
    /// Three rounds of each size are enough.
    pub(crate) quick: bool,
    /// Only what there is to ask for.
    pub(crate) help: bool,
    /// Where all figures go.
    pub(crate) json: Option<PathBuf>,
    /// Where the curves go.
    pub(crate) svg: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { sessions: 1_000_000, quick: false, help: false, json: None, svg: None }
    }
}

impl Options {
    /// Reads the command line, less the program's name.
    ///
    /// # Errors
    /// One line on what is wrong with it.
    pub(crate) fn parse(words: Vec<OsString>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut parser = lexopt::Parser::from_args(words);
        while let Some(word) = parser.next().map_err(|error| error.to_string())? {
            let took = match word {
                lexopt::Arg::Long("sessions") => {
                    parser.value().and_then(|value| value.parse()).map(|sessions| options.sessions = sessions)
                }
                lexopt::Arg::Long("json") => parser.value().map(|file| options.json = Some(file.into())),
                lexopt::Arg::Long("svg") => parser.value().map(|file| options.svg = Some(file.into())),
                lexopt::Arg::Long("quick") => {
                    options.quick = true;
                    Ok(())
                }
                lexopt::Arg::Long("help") => {
                    options.help = true;
                    Ok(())
                }
                lexopt::Arg::Long("bench") => Ok(()),
                other => Err(other.unexpected()),
            };
            took.map_err(|error| format!("{error}; --help says what there is"))?;
        }
        if !SESSIONS.contains(&options.sessions) {
            return Err(format!("--sessions {}: from {} to {}", options.sessions, SESSIONS.start(), SESSIONS.end()));
        }
        Ok(options)
    }
}
