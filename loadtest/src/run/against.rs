//! Owns what the figures of a server are held against: the same run with a floor, started for it or run earlier.

use super::{QUIET_CPU_S, once, transports};
use crate::args::{Against, Common, Publishing, Run, Scenario};
use crate::proc;
use crate::report::{Floor, Report, Traffic};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
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
            Against::File(path) => read(path, &traffic(run)).map(Box::new).map(Self::Earlier),
            Against::Floor => Ok(Self::Later),
        }
    }

    /// Adds to a report what a floor needs for the same. Where that fails it is a complaint: the figures of the server
    /// are there already.
    pub(super) fn hold(self, run: &Run, report: &mut Report) {
        let floor = match self {
            Self::None => return,
            Self::Earlier(floor) => Ok(*floor),
            // After a failure the figures are not worth another run.
            Self::Later if !report.ok => return,
            Self::Later => {
                calm(run.common.pid.unwrap_or_default());
                Served::start(&run.common).and_then(|served| served.run(run))
            }
        };
        let complaint = match floor {
            Ok(floor) => {
                report.floor = Some(Floor::of(report, &floor));
                let first = floor.complaints.first().map_or("", String::as_str);
                (!floor.ok).then(|| format!("the run against the floor was not as expected: {first}"))
            }
            Err(error) => Some(error),
        };
        report.ok &= complaint.is_none();
        report.complaints.extend(complaint);
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

/// What a run will have published, as its report will say it.
fn traffic(run: &Run) -> Traffic {
    let Publishing { messages, rate, burst, size, .. } = run.publishing;
    let publishing = (u64::from(messages), rate, burst, size as u64);
    Traffic {
        scenario: run.scenario.name().into(),
        transport: transports(&run.common),
        clients: u64::from(run.common.clients),
        publishing: (!matches!(run.scenario, Scenario::Idle { .. })).then_some(publishing),
    }
}

fn read(path: &Path, asked: &Traffic) -> Result<Report, String> {
    let cannot = |error: String| format!("--floor-json {}: {error}", path.display());
    let text = fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
    let report = Report::from_json(&text).map_err(cannot)?;
    if !report.of_floor && report.floor.is_none() {
        return Err(cannot("neither a run against `floor` nor one that was held against it".into()));
    }
    let traffic = report.traffic();
    if traffic != *asked {
        return Err(cannot(format!("a run of {traffic} says nothing of {asked}")));
    }
    Ok(report)
}

/// A floor in a process of its own, which ends with this.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    /// One that can be reached from where the clients connect from.
    fn start(common: &Common) -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("cannot start the floor: {error}");
        let listen = if common.sources.iter().any(IpAddr::is_ipv6) { "[::1]:0" } else { "127.0.0.1:0" };
        let program = std::env::current_exe().map_err(cannot)?;
        let mut child = Command::new(program)
            .args(["floor", "--listen", listen])
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
        host.trim_matches(['[', ']']).clone_into(&mut common.host);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{self, Command};
    use crate::report::Delivery;

    fn run(line: &str) -> Run {
        let words = format!("{line} --url http://h/cometd");
        match args::parse(words.split_ascii_whitespace()) {
            Ok(Command::Run(run)) => *run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_floor_that_fails_does_not_cost_the_report() {
        let mut report = Report { clients: 7, ok: true, ..Report::default() };
        // The program is that of the tests here, which is no floor.
        Comparison::Later.hold(&run("fanout --clients 7 --messages 1"), &mut report);
        assert_eq!(
            (report.ok, report.clients, &report.complaints[..]),
            (false, 7, &["the floor did not start".into()][..])
        );
    }

    #[test]
    fn a_run_of_an_earlier_day_must_be_the_same_with_a_floor() {
        let asked = traffic(&run("fanout --clients 7 --messages 4 --rate 5 --burst 2 --size 80"));
        let delivery = Delivery { messages: 4, rate: 5.0, burst: 2, size_bytes: 80, ..Delivery::default() };
        let (scenario, transport) = ("fanout".into(), "long-polling".into());
        let fits =
            Report { scenario, transport, clients: 7, of_floor: true, delivery: Some(delivery), ..Report::default() };
        let path = std::env::temp_dir().join(format!("encke-floor-{}.json", std::process::id()));
        let read = |report: &Report| {
            fs::write(&path, report.to_json().unwrap()).unwrap();
            super::read(&path, &asked).map(|report| report.clients)
        };
        assert_eq!(read(&fits), Ok(7));
        assert_eq!(read(&Report { of_floor: false, floor: Some(Floor::default()), ..fits.clone() }), Ok(7));
        let changed = |change: fn(&mut Report)| {
            let mut report = fits.clone();
            change(&mut report);
            read(&report).unwrap_err()
        };
        assert!(changed(|report| report.of_floor = false).ends_with("nor one that was held against it"));
        let changes: [fn(&mut Report); 8] = [
            |report| report.scenario = "rooms".into(),
            |report| report.transport = "websocket".into(),
            |report| report.clients = 8,
            |report| report.delivery = None,
            |report| report.delivery.as_mut().unwrap().messages = 6,
            |report| report.delivery.as_mut().unwrap().rate = 0.0,
            |report| report.delivery.as_mut().unwrap().burst = 1,
            |report| report.delivery.as_mut().unwrap().size_bytes = 81,
        ];
        for change in changes {
            let error = changed(change);
            let own = "fanout, long-polling, 7 clients, 4 messages of 80 bytes, 5 a second, 2 in a request";
            assert!(
                error.starts_with("--floor-json ") && error.ends_with(own) && error.lines().count() == 1,
                "{error}"
            );
        }
        let _ = fs::remove_file(&path);
    }
}
