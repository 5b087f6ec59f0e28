//! `encke-loadtest`: a load generator for Bayeux servers that counts every delivery.
//!
//! This file owns the commands and the exit code; `run` owns the course of a run, `swarm` the loop, `client` the
//! clients of each protocol, `floor` the least that a server can do.

mod args;
mod bayeux;
mod client;
mod doctor;
mod event;
mod figures;
mod floor;
mod foreign;
mod http;
mod link;
mod machine;
mod merge;
mod page;
mod proc;
mod protocol;
mod publisher;
mod report;
mod run;
mod side_by_side;
mod swarm;
mod tally;
mod tls;
mod watch;
mod websocket;

use args::Command;
use encke::http::date::iso8601;
use report::Report;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Something was not as expected.
const FAILED: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => return complain(&error, USAGE),
    };
    match execute(command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => complain(&error, FAILED),
    }
}

fn complain(error: &str, code: u8) -> ExitCode {
    eprintln!("encke-loadtest: {error}");
    ExitCode::from(code)
}

/// Does it; says whether all was as expected.
fn execute(command: Command) -> Result<bool, String> {
    match command {
        Command::Report(args) => side_by_side::execute(&args).map(|()| true),
        Command::Doctor(need) => {
            let (text, well) = doctor::examine(need);
            print(&text).map(|()| well)
        }
        Command::Run(args) => reported(args.common.json.as_deref(), args.common.report.as_deref(), || run::run(&args)),
        Command::Floor(args) => {
            floor::serve(&args).map(|()| true).map_err(|error| format!("floor on {}: {error}", args.listen))
        }
        Command::Merge(args) => reported(args.json.as_deref(), None, || merge::merge(&args)),
        Command::Print(text) => print(&text).map(|()| true),
    }
}

fn reported(
    json: Option<&Path>,
    page: Option<&Path>,
    run: impl FnOnce() -> Result<Report, String>,
) -> Result<bool, String> {
    // Opened first: better to know now than after the run.
    let json = json.map(Output::open).transpose()?;
    let page = page.map(Output::open).transpose()?;
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut report = run()?;
    report.began = iso8601(began.as_millis() as u64);
    report.command = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    report.machine = Some(machine::this());
    print(&report.to_string())?;
    if let Some(json) = json {
        let text = report.to_json().map_err(|error| cannot_write(json.path, &error.into()))?;
        json.write(&text)?;
    }
    page.map_or(Ok(()), |page| page.write(&page::render(std::slice::from_ref(&report))))?;
    Ok(report.ok)
}

/// A file that figures go to.
struct Output<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> Output<'a> {
    /// What is in the file stays until there is something to write: it may be what is read in between.
    fn open(path: &'a Path) -> Result<Self, String> {
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        opened.map(|file| Self { path, file }).map_err(|error| cannot_write(path, &error))
    }

    fn write(self, text: &str) -> Result<(), String> {
        let Self { path, mut file } = self;
        let mut write = || {
            // A pipe or a terminal has no length to set.
            if file.metadata()?.is_file() {
                file.set_len(0)?;
            }
            file.write_all(text.as_bytes())
        };
        write().map_err(|error| cannot_write(path, &error))
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

/// To standard output; a reader that has gone is an error, not a panic.
fn print(text: &str) -> Result<(), String> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| format!("cannot print: {error}"))
}
