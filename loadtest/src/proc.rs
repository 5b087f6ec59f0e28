//! Owns what the system says of a process and of its sockets: the files under `/proc`, and the limits that a run can
//! hit. CPU time is that of `schedstat`, in nanoseconds, where the kernel has it (`CONFIG_SCHED_INFO`, as in the
//! kernels of distributions), else that of `stat`, in ticks of mostly 10 ms.

use std::fs;
use std::net::IpAddr;

/// The number of the process itself, for [`sample`].
pub(crate) const SELF: &str = "self";

/// What a process has used up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Seconds of CPU in its own code.
    pub(crate) user_s: f64,
    /// Seconds of CPU in the kernel.
    pub(crate) system_s: f64,
    /// Seconds of CPU of the threads that live, to the nanosecond, where the kernel says it.
    pub(crate) threads_s: f64,
    /// Resident memory.
    pub(crate) rss_kib: u64,
    /// Times that its first thread went to sleep of its own accord.
    pub(crate) wakeups: u64,
}

impl Usage {
    /// Seconds of CPU. The ticks, mostly of 10 ms, are rounded down, so what the threads used is more and exact, unless
    /// some have ended.
    pub(crate) fn cpu_s(&self) -> f64 {
        self.threads_s.max(self.user_s + self.system_s)
    }
}

/// What the kernel holds for TCP, of all processes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sockets {
    /// Sockets that are open, listening ones included.
    pub(crate) count: u64,
    /// Memory of their queues.
    pub(crate) memory_kib: u64,
}

/// Reads what the process `pid` (a number, or [`SELF`]) has used.
pub(crate) fn sample(pid: &str) -> Result<Usage, String> {
    let read = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))
    };
    let stat = read("stat")?;
    let status = read("status")?;
    let (user, system) = cpu_ticks(&stat).ok_or_else(|| format!("/proc/{pid}/stat is not understood"))?;
    // The roll-up is exact where it may be read; the status lags by some pages.
    let rss = read("smaps_rollup").ok().and_then(|text| field(&text, "Rss:")).or_else(|| field(&status, "VmRSS:"));
    let ticks = auxiliary(17).unwrap_or(100) as f64;
    Ok(Usage {
        user_s: user as f64 / ticks,
        system_s: system as f64 / ticks,
        threads_s: threads_ns(pid) as f64 / 1e9,
        rss_kib: rss.unwrap_or(0),
        wakeups: field(&status, "voluntary_ctxt_switches:").unwrap_or(0),
    })
}

/// The seconds of CPU and the resident memory in KiB of the process `pid`, from one small file: cheap enough for many
/// times a second whatever the process's size, but the memory lags by some pages.
pub(crate) fn glance(pid: u32) -> Option<(f64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (user, system) = cpu_ticks(&stat)?;
    let ticks = auxiliary(17).unwrap_or(100) as f64;
    let page_kib = auxiliary(6).unwrap_or(4096) / 1024;
    Some(((user + system) as f64 / ticks, resident_pages(&stat)? * page_kib))
}

/// Nanoseconds on a CPU of all threads that live, from their `schedstat`; 0 where the kernel does not count them.
fn threads_ns(pid: &str) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let texts = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok());
    texts.filter_map(|text| text.split_ascii_whitespace().next()?.parse::<u64>().ok()).sum()
}

/// Reads what the kernel holds for TCP; `None` where it does not say.
pub(crate) fn sockets() -> Option<Sockets> {
    let text = fs::read_to_string("/proc/net/sockstat").ok()?;
    let page_kib = auxiliary(6).unwrap_or(4096) / 1024;
    tcp_line(&text).map(|(count, pages)| Sockets { count, memory_kib: pages * page_kib })
}

/// The clock ticks in user and in system mode, from `/proc/PID/stat`.
fn cpu_ticks(stat: &str) -> Option<(u64, u64)> {
    // The name, in brackets, may hold spaces and brackets itself: count from its end.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The resident pages, from `/proc/PID/stat`.
fn resident_pages(stat: &str) -> Option<u64> {
    stat[stat.rfind(')')? + 1..].split_ascii_whitespace().nth(21)?.parse().ok()
}

/// The number after `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

/// The open sockets and the pages of memory in the line for TCP.
fn tcp_line(text: &str) -> Option<(u64, u64)> {
    let words: Vec<&str> = text.lines().find_map(|line| line.strip_prefix("TCP:"))?.split_ascii_whitespace().collect();
    let value = |name| words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1)?.parse().ok());
    Some((value("inuse")?, value("mem")?))
}

/// A value of the auxiliary vector: 6 is the size of a page, 17 the clock ticks in a second.
fn auxiliary(key: u64) -> Option<u64> {
    let bytes = fs::read("/proc/self/auxv").ok()?;
    let words: Vec<u64> = bytes
        .chunks_exact(size_of::<usize>())
        .map(|word| usize::from_ne_bytes(word.try_into().unwrap_or_default()) as u64)
        .collect();
    words.chunks_exact(2).find(|pair| pair[0] == key).map(|pair| pair[1])
}

/// Makes sure that `sockets` connections can be open, or says in a line why not.
pub(crate) fn make_room(sockets: u64, sources: &[IpAddr]) -> Result<(), String> {
    // The standard streams, the poll, the report and what `/proc` is read through.
    let files = sockets + 32;
    let limit = rlimit::increase_nofile_limit(files)
        .map_err(|error| format!("cannot raise the limit of open files: {error}"))?;
    if limit < files {
        return Err(format!(
            "{sockets} connections need {files} open files, but the hard limit is {limit}: raise it (ulimit -Hn)"
        ));
    }
    let Some((low, high)) =
        fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok().and_then(|text| range(&text))
    else {
        return Ok(());
    };
    let addresses = sources.len().max(1) as u64;
    let ports = (high + 1).saturating_sub(low) * addresses;
    if ports < sockets {
        return Err(format!(
            "{sockets} connections need as many ports, but {addresses} source address(es) with the range {low}-{high} \
             give {ports}: give more --source-addrs, or widen net.ipv4.ip_local_port_range"
        ));
    }
    Ok(())
}

fn range(text: &str) -> Option<(u64, u64)> {
    let mut words = text.split_ascii_whitespace().map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_does_not_confuse_the_count() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 250 130 0 0 20 0 1 0 5 6 7";
        assert_eq!((cpu_ticks(stat), resident_pages(stat)), (Some((250, 130)), Some(7)));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn fields_and_lines() {
        let status = "Name:\tx\nVmRSS:\t    1740 kB\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
        assert_eq!((field(status, "VmRSS:"), field(status, "voluntary_ctxt_switches:")), (Some(1740), Some(12)));
        assert_eq!(field(status, "Rss:"), None);
        let sockstat = "sockets: used 13\nTCP: inuse 5 orphan 0 tw 0 alloc 1 mem 184\nUDP: inuse 0 mem 0\n";
        assert_eq!(tcp_line(sockstat), Some((5, 184)));
        assert_eq!(range("32768\t60999\n"), Some((32768, 60999)));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_can_be_read() {
        let usage = sample(SELF).unwrap();
        assert!(usage.rss_kib > 0 && usage.user_s >= 0.0);
        let (cpu_s, rss_kib) = glance(std::process::id()).unwrap();
        assert!(rss_kib > 0 && cpu_s > usage.user_s + usage.system_s - 0.001);
        if fs::metadata("/proc/self/schedstat").is_ok() {
            assert!(usage.threads_s > 0.0 && usage.cpu_s() >= usage.threads_s, "{usage:?}");
        }
        assert!(sockets().is_some());
        assert!(auxiliary(6).is_some_and(|size| size.is_power_of_two()));
        assert!(auxiliary(17).is_some_and(|ticks| ticks > 0));
    }

    #[test]
    fn limits_are_named() {
        let text = make_room(u64::from(u32::MAX), &[]).unwrap_err();
        assert!(text.contains("open files"), "{text}");
    }
}
