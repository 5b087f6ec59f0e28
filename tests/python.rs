//! The daemon against real clients in Python: aiocometd-ng from PyPI, unmodified, by both of its transports, and
//! aiosfstream-ng, which is made of it for Salesforce's Streaming API.
//!
//! Each test runs one scenario of `tests/python/`. The clients are installed on first use, into a virtual environment below
//! `target`, in the versions and with the hashes of `requirements.txt`. `ENCKE_SKIP_PYTHON=1` leaves all of this out.

#![cfg(feature = "daemon")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use common::Daemon;
use common::node::{Lock, follow, left_out};

const OPT_OUT: &str = "ENCKE_SKIP_PYTHON";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python");
const OLDEST: &str = "3.11";

#[test]
fn aiocometd_talks_by_long_polling() {
    run("talk", &["long-polling", "websocket"], &["--timeout", "1s"]);
}

#[test]
fn aiocometd_talks_by_websocket() {
    run("talk", &["websocket", "long-polling"], &["--timeout", "1s"]);
}

#[test]
fn aiocometd_finds_its_way_back_by_long_polling() {
    run("restart", &["long-polling"], &["--timeout", "5m"]);
}

#[test]
fn aiocometd_finds_its_way_back_by_websocket() {
    run("restart", &["websocket"], &["--timeout", "5m"]);
}

#[test]
fn aiosfstream_replays() {
    let rule = r#"{ pattern = "/event/*", history = { count = 3 }, replay-shape = "salesforce" }"#;
    run("replay", &[], &["--http-api", "true", "--channel", rule]);
}

#[cfg(feature = "tls")]
#[test]
fn aiocometd_talks_over_tls_by_both_transports() {
    for words in [["long-polling", "websocket"], ["websocket", "long-polling"]] {
        run_by(common::tls::start, "talk", &words, &["--timeout", "1s"]);
    }
}

fn run(scenario: &str, words: &[&str], options: &[&str]) {
    run_by(Daemon::start, scenario, words, options);
}

fn run_by(start: fn(&[&str]) -> Daemon, scenario: &str, words: &[&str], options: &[&str]) {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let name = format!("{scenario}.py {}", words.join(" "));
    if left_out(OPT_OUT, &name) {
        return;
    }
    let python = PYTHON.get_or_init(prepare).as_ref().unwrap_or_else(|error| panic!("{error}"));
    let mut daemon = start(options);
    let mut command = Command::new(python);
    command.arg(format!("{scenario}.py")).arg(daemon.url()).args(words).current_dir(FOLDER);
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
    #[cfg(feature = "tls")]
    common::tls::trust(&mut command);
    follow(command, &mut daemon, &name);
}

/// A Python that has the client.
fn prepare() -> Result<PathBuf, String> {
    let advice = format!(
        "these tests need Python {OLDEST} or later with venv (Debian: apt-get install python3 python3-venv) and, the \
         first time, PyPI; {OPT_OUT}=1 leaves them out"
    );
    let requirements = Path::new(FOLDER).join("requirements.txt");
    let wanted = fs::read_to_string(&requirements).map_err(|error| format!("{}: {error}", requirements.display()))?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aiocometd");
    let (python, stamp) = (folder.join("bin/python"), folder.join("installed-by-tests"));
    let installed = || python.exists() && fs::read_to_string(&stamp).is_ok_and(|text| text == wanted);
    if installed() {
        return Ok(python);
    }
    let _lock = Lock::take(&folder)?;
    if installed() {
        return Ok(python);
    }
    let finish = |what: &str, command: &mut Command| {
        let output = command.output().map_err(|error| format!("{what}: {error}; {advice}"))?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        output.status.success().then_some(()).ok_or_else(|| format!("{what}: {}\n{said}\n{advice}", output.status))
    };
    let check = format!("import sys; sys.exit(sys.version_info < ({}))", OLDEST.replace('.', ","));
    finish("python3", Command::new("python3").args(["-c", &check]))?;
    finish("python3 -m venv", Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--require-hashes", "-r"]);
    finish("pip install", install.arg(&requirements))?;
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(python)
}
