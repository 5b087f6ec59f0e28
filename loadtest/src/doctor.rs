//! Owns `doctor`: whether this machine can hold so many clients and their server, what is short, and the commands that
//! mend it.
//!
//! What the system says is read in one place; the judgement on it is a function of those readings.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::thread::available_parallelism;

/// Where settings for good go.
const SETTINGS: &str = "/etc/sysctl.d/90-encke-loadtest.conf";
/// Second connections that clients have while they come, on some transports, and those of the publisher.
const OTHER_CONNECTIONS: u64 = 256 + 8;
/// What a process has open besides its connections, generously.
const OTHER_FILES: u64 = 32;
/// Connections that wait to be accepted, as encke and `floor` ask the kernel for.
const BACKLOG: u64 = 4096;
/// KiB of a client with both ends on this machine: two sockets of 5 (measured: the kernel's slabs grow by 4.6 for
/// each), a page for an event on its way, and what both programs keep.
const CLIENT_KIB: u64 = 16;
/// Bytes that a socket should take at once, so that an event does not go in pieces.
const BUFFER_BYTES: u64 = 16 * 1024;

/// What a run asks of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// How many clients.
    pub(crate) clients: u64,
    /// From how many addresses they connect.
    pub(crate) sources: u64,
}

/// What the system says of itself; what it does not say is missing.
#[derive(Clone, Debug, Default)]
struct Readings {
    /// Open files of this process: the soft and the hard limit.
    files: Option<(u64, u64)>,
    nr_open: Option<u64>,
    /// Open files of all processes, and their limit.
    file_nr: Option<(u64, u64)>,
    ports: Option<(u64, u64)>,
    tw_reuse: Option<u64>,
    somaxconn: Option<u64>,
    syn_backlog: Option<u64>,
    syncookies: Option<u64>,
    /// Connections that are tracked, and how many can be.
    conntrack: Option<(u64, u64)>,
    /// Pages for the queues of all TCP sockets: low, pressure, high.
    tcp_mem: Option<[u64; 3]>,
    /// Bytes of a socket's queues: least, default, most.
    tcp_rmem: Option<[u64; 3]>,
    tcp_wmem: Option<[u64; 3]>,
    available_kib: Option<u64>,
    cores: Option<u64>,
    governor: Option<String>,
}

impl Readings {
    /// From the files below `root`, which is `/` but in tests.
    fn read(root: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).ok();
        let one = |path: &str| text(path)?.trim().parse().ok();
        let three = |path: &str| numbers(&text(path)?);
        let tracked = || {
            let netfilter = "proc/sys/net/netfilter/nf_conntrack_";
            Some((one(&format!("{netfilter}count"))?, one(&format!("{netfilter}max"))?))
        };
        let available = |text: String| text.lines().find_map(|line| first(line.strip_prefix("MemAvailable:")?));
        let pair = |[one, other]: [u64; 2]| (one, other);
        Self {
            files: rlimit::Resource::NOFILE.get().ok(),
            nr_open: one("proc/sys/fs/nr_open"),
            file_nr: text("proc/sys/fs/file-nr").and_then(|text| numbers(&text)).map(|[open, _, most]| (open, most)),
            ports: text("proc/sys/net/ipv4/ip_local_port_range").and_then(|text| numbers(&text)).map(pair),
            tw_reuse: one("proc/sys/net/ipv4/tcp_tw_reuse"),
            somaxconn: one("proc/sys/net/core/somaxconn"),
            syn_backlog: one("proc/sys/net/ipv4/tcp_max_syn_backlog"),
            syncookies: one("proc/sys/net/ipv4/tcp_syncookies"),
            conntrack: tracked(),
            tcp_mem: three("proc/sys/net/ipv4/tcp_mem"),
            tcp_rmem: three("proc/sys/net/ipv4/tcp_rmem"),
            tcp_wmem: three("proc/sys/net/ipv4/tcp_wmem"),
            available_kib: text("proc/meminfo").and_then(available),
            cores: available_parallelism().ok().map(|cores| cores.get() as u64),
            governor: text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").map(|text| text.trim().to_owned()),
        }
    }
}

/// The first numbers of a text, if there are so many.
fn numbers<const COUNT: usize>(text: &str) -> Option<[u64; COUNT]> {
    let numbers: Vec<u64> = text.split_ascii_whitespace().map_while(|word| word.parse().ok()).take(COUNT).collect();
    numbers.try_into().ok()
}

fn first<T: FromStr>(text: &str) -> Option<T> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    Ok,
    Short,
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
struct Check {
    what: &'static str,
    grade: Grade,
    /// The figure.
    found: String,
    /// What is needed, and why.
    need: String,
    /// If it is short: what mends it now, and what for good. Either can be missing.
    fix: [Option<String>; 2],
}

impl Check {
    /// Of something that either suffices or does not; `found` tells whether, and how it is written.
    fn new(what: &'static str, found: Option<(bool, String)>, need: String, fix: [Option<String>; 2]) -> Self {
        let grade = match &found {
            None => Grade::Unknown,
            Some((true, _)) => Grade::Ok,
            Some((false, _)) => Grade::Short,
        };
        let found = found.map_or_else(|| "the system does not say".into(), |(_, found)| found);
        Self { what, grade, found, need, fix }
    }
}

/// The commands that give the kernel's setting `key` this value.
fn setting(key: &str, value: &str) -> [Option<String>; 2] {
    let now = format!("sudo sysctl -w {key}=\"{value}\"");
    [Some(now), Some(format!("echo '{key} = {value}' | sudo tee -a {SETTINGS}"))]
}

/// Looks at this machine; gives the text, and whether nothing is short.
pub(crate) fn examine(need: Need) -> (String, bool) {
    let checks = checks(&Readings::read(Path::new("/")), need);
    (shown(&checks, need), checks.iter().all(|check| check.grade != Grade::Short))
}

fn shown(checks: &[Check], need: Need) -> String {
    let Need { clients, sources } = need;
    let mut text = format!("{clients} clients from {sources} address(es), and their server, on this machine\n");
    for Check { what, grade, found, need, fix } in checks {
        let grade = match grade {
            Grade::Ok => "ok",
            Grade::Short => "SHORT",
            Grade::Unknown => "unknown",
        };
        let _ = writeln!(text, "  {grade:<8}{what:<18}{found}; needed: {need}");
        for (when, command) in ["now:", "for good:"].into_iter().zip(fix).filter(|_| grade == "SHORT") {
            if let Some(command) = command {
                let _ = writeln!(text, "          {when:<10}{command}");
            }
        }
    }
    let count = |grade| checks.iter().filter(|check| check.grade == grade).count();
    let _ = match count(Grade::Short) {
        0 => writeln!(text, "nothing is short ({} unknown)", count(Grade::Unknown)),
        short => writeln!(text, "{short} short, {} unknown", count(Grade::Unknown)),
    };
    text
}

/// The judgement.
fn checks(readings: &Readings, need: Need) -> Vec<Check> {
    let mut checks = files(readings, need).to_vec();
    checks.extend(connections(readings, need));
    checks.push(conntrack(readings, need));
    checks.extend(memory(readings, need));
    checks.extend(processors(readings));
    checks
}

fn files(readings: &Readings, need: Need) -> [Check; 3] {
    let files = need.clients + OTHER_CONNECTIONS + OTHER_FILES;
    let all = 2 * files;
    let open = readings.file_nr.map_or(0, |(open, _)| open);
    let limits = readings.files.map(|(soft, hard)| {
        let note =
            if soft < files { " (the soft limit is raised to the hard one by this program and by encke)" } else { "" };
        (hard >= files, format!("soft {}, hard {}{note}", unlimited(soft), unlimited(hard)))
    });
    let raise = [
        Some(format!("sudo prlimit --pid $$ --nofile={files}:{files}")),
        Some(format!(
            "echo '* - nofile {files}' | sudo tee /etc/security/limits.d/90-encke-loadtest.conf   \
             (from the next login on; of a systemd service: LimitNOFILE={files})"
        )),
    ];
    let of_all = |(open, most): (u64, u64)| (most >= open + all, format!("{open} open of {}", unlimited(most)));
    [
        Check::new("open files", limits, format!("{files} for each of the two processes: one a connection"), raise),
        Check::new(
            "fs.nr_open",
            readings.nr_open.map(|most| (most >= files, most.to_string())),
            format!("{files}: no process can have a higher limit than this"),
            setting("fs.nr_open", &files.to_string()),
        ),
        Check::new(
            "fs.file-max",
            readings.file_nr.map(of_all),
            format!("room for {all}: both ends of all connections are files"),
            setting("fs.file-max", &(open + all).to_string()),
        ),
    ]
}

/// The largest numbers stand for no limit.
fn unlimited(limit: u64) -> String {
    if limit >= i64::MAX as u64 { "unlimited".into() } else { limit.to_string() }
}

fn connections(readings: &Readings, need: Need) -> Vec<Check> {
    let sockets = need.clients + OTHER_CONNECTIONS;
    let count = |(low, high): (u64, u64)| (high + 1).saturating_sub(low);
    let ports = readings.ports.map(|range| count(range) * need.sources);
    let backlog = need.clients.min(BACKLOG);
    let of = |(low, high)| {
        let ports = count((low, high)) * need.sources;
        (ports >= sockets, format!("{ports} ({low} to {high}, {} address(es))", need.sources))
    };
    let reuse = readings.tw_reuse.map(|reuse| {
        let rest = ports.is_some_and(|ports| ports < 2 * sockets);
        (reuse != 0 || !rest, reuse.to_string())
    });
    let half_open = readings.syn_backlog.map(|backlog_max| match readings.syncookies {
        Some(1..) => (true, format!("{backlog_max}, no bound while net.ipv4.tcp_syncookies is on")),
        _ => (backlog_max >= backlog, backlog_max.to_string()),
    });
    vec![
        Check::new("local ports", readings.ports.map(of), format!("{sockets}: one a connection"), wider(need, sockets)),
        Check::new(
            "tcp_tw_reuse",
            reuse,
            "1 or 2 unless there are ports for two runs: those of the last are taken for another minute".into(),
            setting("net.ipv4.tcp_tw_reuse", "1"),
        ),
        Check::new(
            "somaxconn",
            readings.somaxconn.map(|most| (most >= backlog, most.to_string())),
            format!("{backlog}: more than these cannot wait to be accepted when all come at once"),
            setting("net.core.somaxconn", &backlog.to_string()),
        ),
        Check::new(
            "syn backlog",
            half_open,
            format!("{backlog} half-open connections when all come at once"),
            setting("net.ipv4.tcp_max_syn_backlog", &backlog.to_string()),
        ),
    ]
}

/// More ports: by a wider range as long as that does, by more addresses beyond.
fn wider(need: Need, sockets: u64) -> [Option<String>; 2] {
    let (low, high) = (1024, 65_535);
    let each = high + 1 - low;
    if sockets <= each * need.sources {
        return setting("net.ipv4.ip_local_port_range", &format!("{low} {high}"));
    }
    // Every address of the loopback network is there without being set up.
    let mut addresses: Vec<String> = (2..).take(sockets.div_ceil(28_000) as usize).map(loopback).collect();
    let more = if addresses.len() > 3 { format!(",… ({} in all)", addresses.len()) } else { String::new() };
    addresses.truncate(3);
    [Some(format!("give the scenario --source-addrs {}{more}", addresses.join(","))), None]
}

fn loopback(index: u64) -> String {
    format!("127.0.{}.{}", index / 250, index % 250)
}

fn conntrack(readings: &Readings, need: Need) -> Check {
    let tracked = need.clients * 2;
    let Some((count, most)) = readings.conntrack else {
        let known = readings.somaxconn.is_some();
        let found = known.then(|| (true, "not loaded".to_owned()));
        return Check::new("conntrack", found, "connections need no place in a table then".into(), [None, None]);
    };
    Check::new(
        "conntrack",
        Some((most >= count + tracked, format!("{count} tracked of {most}"))),
        format!("room for {tracked}: each connection has an entry, and those of the last run stay two minutes"),
        setting("net.netfilter.nf_conntrack_max", &(count + tracked).to_string()),
    )
}

fn memory(readings: &Readings, need: Need) -> Vec<Check> {
    let mib = |kib: u64| kib.div_ceil(1024);
    let kib = need.clients * CLIENT_KIB;
    let pages = need.clients * 2;
    let of_buffer = |three: [u64; 3]| (three[1] >= BUFFER_BYTES, format!("{} bytes by default", three[1]));
    let buffer = |key: &str, three: Option<[u64; 3]>| {
        let [low, _, high] = three.unwrap_or_default();
        setting(key, &format!("{low} {BUFFER_BYTES} {}", high.max(BUFFER_BYTES)))
    };
    let [low, ..] = readings.tcp_mem.unwrap_or_default();
    vec![
        Check::new(
            "memory",
            readings.available_kib.map(|available| (available >= kib, format!("{} MiB available", mib(available)))),
            format!(
                "{} MiB: {CLIENT_KIB} KiB a client, 5 for each of its two sockets in the kernel, 4 for an event on its \
                 way, the rest in the two processes",
                mib(kib)
            ),
            [Some("end other programs, or take fewer clients or a second machine".into()), None],
        ),
        Check::new(
            "tcp_mem",
            readings.tcp_mem.map(|[_, pressure, _]| (pressure >= pages, format!("pressure from {pressure} pages on"))),
            format!("{pages}: a page at each end of a connection with an event on its way"),
            setting("net.ipv4.tcp_mem", &format!("{low} {pages} {}", pages + pages / 2)),
        ),
        Check::new(
            "tcp_rmem",
            readings.tcp_rmem.map(of_buffer),
            format!("{BUFFER_BYTES}, or events are taken in pieces"),
            buffer("net.ipv4.tcp_rmem", readings.tcp_rmem),
        ),
        Check::new(
            "tcp_wmem",
            readings.tcp_wmem.map(of_buffer),
            format!("{BUFFER_BYTES}, or events are sent in pieces"),
            buffer("net.ipv4.tcp_wmem", readings.tcp_wmem),
        ),
    ]
}

fn processors(readings: &Readings) -> [Check; 2] {
    let governors = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor";
    [
        Check::new(
            "cores",
            readings.cores.map(|cores| (cores >= 2, cores.to_string())),
            "2: one for the server, one for the clients".into(),
            [Some("run the clients on another machine".into()), None],
        ),
        Check::new(
            "governor",
            readings.governor.as_ref().map(|governor| (governor == "performance", governor.clone())),
            "performance, or CPU times vary with the clock rate".into(),
            [
                Some(format!("echo performance | sudo tee {governors}")),
                Some(format!(
                    "echo 'w {governors} - - - - performance' | sudo tee /etc/tmpfiles.d/90-encke-loadtest.conf"
                )),
            ],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEED: Need = Need { clients: 10_000, sources: 1 };

    /// A machine on which nothing is short, by nothing to spare.
    fn enough() -> Readings {
        Readings {
            files: Some((1024, 10_296)),
            nr_open: Some(10_296),
            file_nr: Some((1000, 21_592)),
            ports: Some((20_000, 30_263)),
            tw_reuse: Some(2),
            somaxconn: Some(4096),
            syn_backlog: Some(4096),
            syncookies: Some(0),
            conntrack: Some((7, 20_007)),
            tcp_mem: Some([1, 20_000, 30_000]),
            tcp_rmem: Some([4096, 16_384, 100_000]),
            tcp_wmem: Some([4096, 16_384, 100_000]),
            available_kib: Some(160_000),
            cores: Some(2),
            governor: Some("performance".into()),
        }
    }

    fn short(readings: &Readings, need: Need) -> Vec<Check> {
        checks(readings, need).into_iter().filter(|check| check.grade == Grade::Short).collect()
    }

    #[test]
    fn enough_is_enough() {
        let checks = checks(&enough(), NEED);
        assert!(checks.iter().all(|check| check.grade == Grade::Ok), "{checks:?}");
        assert!(shown(&checks, NEED).ends_with("nothing is short (0 unknown)\n"));
        // One client more is too much for all that is counted by clients.
        let names: Vec<_> = short(&enough(), Need { clients: 10_001, ..NEED }).iter().map(|check| check.what).collect();
        let counted = ["open files", "fs.nr_open", "fs.file-max", "local ports", "conntrack", "memory", "tcp_mem"];
        assert_eq!(names, counted);
    }

    /// What is short, how it comes about, and a part of what mends it.
    type Shortage = (&'static str, fn(&mut Readings), &'static str);

    #[test]
    fn each_shortage_is_told_with_what_mends_it() {
        let cases: [Shortage; 15] = [
            ("open files", |now| now.files = Some((1024, 4096)), "prlimit --pid $$ --nofile=10296:10296"),
            ("fs.nr_open", |now| now.nr_open = Some(10_295), "sysctl -w fs.nr_open=\"10296\""),
            ("fs.file-max", |now| now.file_nr = Some((1001, 21_592)), "sysctl -w fs.file-max=\"21593\""),
            ("local ports", |now| now.ports = Some((20_000, 30_000)), "ip_local_port_range=\"1024 65535\""),
            ("tcp_tw_reuse", |now| now.tw_reuse = Some(0), "sysctl -w net.ipv4.tcp_tw_reuse=\"1\""),
            ("somaxconn", |now| now.somaxconn = Some(128), "sysctl -w net.core.somaxconn=\"4096\""),
            ("syn backlog", |now| now.syn_backlog = Some(128), "tcp_max_syn_backlog=\"4096\""),
            ("conntrack", |now| now.conntrack = Some((8, 20_007)), "nf_conntrack_max=\"20008\""),
            ("memory", |now| now.available_kib = Some(159_999), "fewer clients"),
            ("tcp_mem", |now| now.tcp_mem = Some([1, 19_999, 30_000]), "tcp_mem=\"1 20000 30000\""),
            ("tcp_rmem", |now| now.tcp_rmem = Some([4096, 4096, 8192]), "tcp_rmem=\"4096 16384 16384\""),
            ("tcp_wmem", |now| now.tcp_wmem = Some([4096, 4096, 99_999]), "tcp_wmem=\"4096 16384 99999\""),
            ("cores", |now| now.cores = Some(1), "another machine"),
            ("governor", |now| now.governor = Some("powersave".into()), "echo performance | sudo tee"),
            ("open files", |now| now.files = Some((5, 6)), "LimitNOFILE=10296"),
        ];
        for (what, change, fix) in cases {
            let mut readings = enough();
            change(&mut readings);
            let found = short(&readings, NEED);
            assert_eq!(found.iter().map(|check| check.what).collect::<Vec<_>>(), [what]);
            let text = shown(&found, NEED);
            assert!(text.contains(fix) && text.contains("SHORT") && text.ends_with("1 short, 0 unknown\n"), "{text}");
        }
    }

    #[test]
    fn what_makes_up_for_a_small_figure_counts() {
        let mut readings = enough();
        readings.syn_backlog = Some(128);
        readings.syncookies = Some(1);
        readings.tw_reuse = Some(0);
        // With two addresses there are ports for two runs.
        assert!(short(&readings, Need { sources: 2, ..NEED }).is_empty());
        readings.conntrack = None;
        let text = shown(&checks(&readings, NEED), NEED);
        assert!(text.contains("ok      conntrack         not loaded; needed"), "{text}");
    }

    #[test]
    fn more_than_one_address_has_ports_for_needs_more_addresses() {
        let need = Need { clients: 200_000, sources: 1 };
        let found = short(&enough(), need).into_iter().find(|check| check.what == "local ports").unwrap();
        let fix = "give the scenario --source-addrs 127.0.0.2,127.0.0.3,127.0.0.4,… (8 in all)";
        assert_eq!(found.fix, [Some(fix.into()), None]);
    }

    #[test]
    fn without_proc_it_is_unknown() {
        let mut readings = Readings::read(Path::new("/nowhere/at/all"));
        (readings.files, readings.cores) = (None, None);
        let checks = checks(&readings, NEED);
        assert!(checks.iter().all(|check| check.grade == Grade::Unknown), "{checks:?}");
        let text = shown(&checks, NEED);
        assert!(text.contains("unknown conntrack") && !text.contains("sudo"), "{text}");
        assert!(text.ends_with(&format!("nothing is short ({} unknown)\n", checks.len())), "{text}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_can_be_read() {
        let readings = Readings::read(Path::new("/"));
        assert!(readings.files.is_some() && readings.file_nr.is_some() && readings.available_kib > Some(0));
        assert!(readings.ports.is_some_and(|(low, high)| low < high) && readings.tcp_mem.is_some());
    }
}
