//! Owns what the figures of a server are held against: the same run with a floor, started for it or run earlier.

use super::{QUIET_CPU_S, once};
use crate::args::{Against, Common, Run};
use crate::proc;
use crate::report::{Floor, Report};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How often it is looked whether the server is calm.
const CALM_LOOK: Duration = Duration::from_millis(250);
/// How many times at most.
const CALM_LOOKS_MAX: u32 = 40;

/// Where the figures of a floor come from.
pub(super) enum Comparison {
    /// Nowhere.
    None,
    /// A run earlier.
    Earlier(Box<Report>),
    /// A run to come.
    Later,
}

impl Comparison {
    /// What a run asks for. What cannot be read is better known before it than after.
    pub(super) fn prepare(run: &Run) -> Result<Self, String> {
        let common = &run.common;
        if common.pid.is_none() || common.shard.is_some() || !run.scenario.suits_floor() {
            return Ok(Self::None);
        }
        match &common.against {
            Against::Nothing => Ok(Self::None),
            Against::File(path) => read(path).map(Box::new).map(Self::Earlier),
            Against::Floor => Ok(Self::Later),
        }
    }

    /// Adds to a report what a floor needs for the same.
    pub(super) fn hold(self, run: &Run, report: &mut Report) -> Result<(), String> {
        let floor = match self {
            Self::None => return Ok(()),
            Self::Earlier(floor) => *floor,
            // After a failure the figures are not worth another run.
            Self::Later if !report.ok => return Ok(()),
            Self::Later => {
                calm(run.common.pid.unwrap_or_default());
                Served::start()?.run(run)?
            }
        };
        report.floor = Some(Floor::of(report, &floor));
        if !floor.ok {
            let first = floor.complaints.first().map_or("", String::as_str);
            report.complaints.push(format!("the run against the floor was not as expected: {first}"));
            report.ok = false;
        }
        Ok(())
    }
}

/// Waits until the server is done with the clients that have gone, so that it does not run beside the floor.
fn calm(pid: u32) {
    let used = || proc::sample(&pid.to_string()).unwrap_or_default().cpu_s();
    let mut before = used();
    for _ in 0..CALM_LOOKS_MAX {
        thread::sleep(CALM_LOOK);
        let now = used();
        if now - before < QUIET_CPU_S {
            return;
        }
        before = now;
    }
}

fn read(path: &Path) -> Result<Report, String> {
    let cannot = |error: String| format!("--floor-json {}: {error}", path.display());
    let text = fs::read(path).map_err(|error| cannot(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| cannot(error.to_string()))
}

/// A floor in a process of its own, which ends with this.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start() -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("cannot start the floor: {error}");
        let program = std::env::current_exe().map_err(cannot)?;
        let mut child = Command::new(program)
            .args(["floor", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(cannot)?;
        let stdout = child.stdout.take();
        let mut served = Self { child, address: String::new() };
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout).read_line(&mut line).map_err(cannot)?;
        }
        let address = line.trim().strip_prefix("floor listening on http://").and_then(|rest| rest.split_once('/'));
        address.ok_or("the floor did not start")?.0.clone_into(&mut served.address);
        Ok(served)
    }

    /// The same run, without what a floor does not have.
    fn run(&self, run: &Run) -> Result<Report, String> {
        let mut run = run.clone();
        let (host, port) = self.address.rsplit_once(':').ok_or("the floor did not say its port")?;
        let common: &mut Common = &mut run.common;
        common.url = format!("http://{}/cometd", self.address);
        common.target.host.clone_from(&self.address);
        "/cometd".clone_into(&mut common.target.path);
        host.clone_into(&mut common.host);
        common.port = port.parse().map_err(|_| "the floor did not say its port")?;
        (common.pid, common.secure, common.ack, common.deflate) = (Some(self.child.id()), false, false, false);
        common.protocol = crate::protocol::Protocol::Bayeux;
        once(&run).map_err(|error| format!("the run against the floor: {error}"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
