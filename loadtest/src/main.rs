//! `encke-loadtest`: a load generator for Bayeux servers that counts every delivery.
//!
//! This file owns the commands and the exit code; `run` owns the course of a run, `swarm` the loop, `client` the clients
//! of each protocol, `floor` the least that a server can do.

mod args;
mod bayeux;
mod client;
mod event;
mod floor;
mod foreign;
mod http;
mod link;
mod merge;
mod proc;
mod protocol;
mod publisher;
mod report;
mod run;
mod swarm;
mod tally;
mod websocket;

use args::Command;
use report::Report;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
        Command::Run(args) => reported(args.common.json.as_ref(), || run::run(&args)),
        Command::Floor(args) => {
            floor::serve(&args).map(|()| true).map_err(|error| format!("floor on {}: {error}", args.listen))
        }
        Command::Merge(args) => reported(args.json.as_ref(), || merge::merge(&args)),
        Command::Print(text) => print(&text).map(|()| true),
    }
}

fn reported(json: Option<&PathBuf>, run: impl FnOnce() -> Result<Report, String>) -> Result<bool, String> {
    let cannot = |path: &Path, error: std::io::Error| format!("cannot write {}: {error}", path.display());
    // Opened first: better to know now than after the run.
    let file = json
        .map(|path| File::create(path).map(|file| (path, file)).map_err(|error| cannot(path, error)))
        .transpose()?;
    let report = run()?;
    print(&report.to_string())?;
    if let Some((path, mut file)) = file {
        let text = report.to_json().map_err(|error| cannot(path, error.into()))?;
        file.write_all(text.as_bytes()).map_err(|error| cannot(path, error))?;
    }
    Ok(report.ok)
}

/// To standard output; a reader that has gone is an error, not a panic.
fn print(text: &str) -> Result<(), String> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| format!("cannot print: {error}"))
}
