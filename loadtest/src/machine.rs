//! Owns what a report tells of the machine that the generator ran on.

use crate::report::Machine;
use std::fs;
use std::thread::available_parallelism;

/// This machine, as far as the system tells.
pub(crate) fn this() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease");
    let system = format!("{} {} {}", std::env::consts::OS, release.trim(), std::env::consts::ARCH);
    Machine {
        system: system.split_ascii_whitespace().collect::<Vec<_>>().join(" "),
        processor: value(&read("/proc/cpuinfo"), "model name").unwrap_or_default().to_owned(),
        cores: available_parallelism().map_or(0, |cores| cores.get() as u64),
        memory_kib: value(&read("/proc/meminfo"), "MemTotal")
            .and_then(|text| text.split_ascii_whitespace().next()?.parse().ok())
            .unwrap_or(0),
    }
}

/// What stands after `name` and a colon, at its first line.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_lines() {
        let text = "processor\t: 0\nmodel name\t: A chip @ 3:1\nmodel name\t: another\nMemTotal:     16 kB\n";
        assert_eq!((value(text, "model name"), value(text, "MemTotal")), (Some("A chip @ 3:1"), Some("16 kB")));
        assert_eq!(value(text, "model"), None);
        assert!(this().cores > 0 && this().system.starts_with(std::env::consts::OS));
    }
}
