#!/usr/bin/env python3
"""Holds encke against the floor, size by size, and says which of the bounds set for it are kept.

    cargo build --release --workspace && python3 loadtest/bounds.py [--quick] [--runs N] [--out FILE]

A figure is the median of N runs [5] where nothing else is said. A run starts a fresh encke, measures it, and then a fresh floor with the same
options; ratios are taken within a run, so that whatever else the machine does falls on both. The section "Against the
floor" of RESULTS.md is written anew. Needs Linux, and 18,000 connections a process (`encke-loadtest doctor`); it takes a
quarter of an hour, on a machine that does nothing else.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SECTION = "## Against the floor"
ROOT = Path(__file__).resolve().parent.parent
BIN = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
# Deliveries a second over all clients, so that every size has the same work to do, and seconds of them.
DELIVERIES = 20_000
SECONDS = 4
SIZES = (100, 1_000, 10_000, 18_000)
BURST = 20


class Unexpected(Exception):
    """A run that the load generator did not find as expected."""


def clients_from(clients):
    """So many clients; of the ports of one address the kernel finds half quickly."""
    return f"--clients {clients}" + (" --source-addrs 127.0.0.2-127.0.0.5" if clients > 14_000 else "")


class Encke:
    """A server of one run."""

    def __enter__(self):
        command = [BIN / "encke", "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = re.search(r"http://\S+", self.process.stdout.readline()).group()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def measure(self, command):
        """Runs the load generator with these words; gives its figures."""
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            words = [BIN / "encke-loadtest", *command.split(), "--quiet", "--url", self.url]
            words += ["--pid", str(self.process.pid), "--json", file.name]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Unexpected(f"{command}\n{done.stdout}{done.stderr}")
            return json.loads(Path(file.name).read_text())


def fresh(command):
    with Encke() as server:
        return server.measure(command)


def median(figures):
    return statistics.median(figures)


class Table:
    """Rows of figure, value, floor, ratio, bound, and whether it is kept."""

    def __init__(self):
        self.rows = []

    def add(self, figure, command, value, bound, kept, floor="", ratio=""):
        self.rows.append((figure, value, floor, ratio, bound, "yes" if kept else "**no**", command))
        print(" | ".join(str(cell) for cell in self.rows[-1]), flush=True)


def fan_out(table, runs):
    """CPU for each delivery at the same rate, against the floor."""
    for transport, bounds in (("long-polling", (1.25, 1.25, 1.15, 1.15)), ("websocket", (1.08,) * 4)):
        ratios = []
        for clients, bound in zip(SIZES, bounds, strict=True):
            rate = DELIVERIES / clients
            messages = max(round(rate * SECONDS), 4)
            command = f"fanout --transport {transport} {clients_from(clients)} --rate {rate:.4g} --messages {messages}"
            figures = [fresh(command) for _ in range(runs)]
            ratio = median([run["floor"]["ratio"]["cpu_us_per_delivery"] for run in figures])
            ratios.append(ratio)
            own = median([run["server"]["cpu_us_per_delivery"] for run in figures])
            floor = median([run["floor"]["cost"]["cpu_us_per_delivery"] for run in figures])
            table.add(f"{transport}, {clients:,} clients: CPU for a delivery", command, f"{own:.2f} µs",
                      f"≤ {bound} ×", ratio <= bound, f"{floor:.2f} µs", f"{ratio:.2f} ×")
        spread = max(ratios) / min(ratios)
        if transport == "long-polling":
            table.add("long-polling: largest ratio by smallest", "the four above", f"{spread:.2f}", "≤ 1.10",
                      spread <= 1.10)


def bursts(table, runs):
    command = f"fanout --clients 1000 --messages 4000 --burst {BURST}"
    figures = [fresh(command) for _ in range(runs)]
    own = median([run["server"]["cpu_us_per_delivery"] for run in figures])
    floor = median([run["floor"]["cost"]["cpu_us_per_delivery"] for run in figures])
    single = median([fresh("fanout --clients 1000 --messages 100")["floor"]["cost"]["cpu_us_per_delivery"]
                     for _ in range(runs)])
    bound = 0.7 * single / 8
    table.add(f"bursts of {BURST}, 1,000 clients: CPU for a delivery", command, f"{own:.2f} µs",
              f"≤ {bound:.2f} µs: 0.7 for 8 of the floor's single messages, which take {single:.2f} here",
              own <= bound, f"{floor:.2f} µs", f"{own / floor:.2f} ×")


def parked(table, runs):
    for transport, bound in (("long-polling", 640), ("websocket", 544)):
        command = f"idle --transport {transport} --clients 10000 --seconds 2"
        figures = [fresh(command) for _ in range(runs)]
        own = median([run["server"]["rss_bytes_per_client"] for run in figures])
        table.add(f"{transport}, 10,000 clients: RSS for each", command, f"{own:.0f} bytes", f"≤ {bound}", own <= bound)
        if transport == "long-polling":
            ratio = median([run["floor"]["ratio"]["cpu_us_per_join"] for run in figures])
            join = median([run["server"]["cpu_us_per_join"] for run in figures])
            floor = median([run["floor"]["cost"]["cpu_us_per_join"] for run in figures])
            table.add("handshake, subscribe, first connect: CPU for a client", command, f"{join:.1f} µs", "≤ 1.5 ×",
                      ratio <= 1.5, f"{floor:.1f} µs", f"{ratio:.2f} ×")


def quiet(table, seconds, bound, what):
    command = f"idle {clients_from(18_000)} --seconds {seconds} --no-floor"
    figures = fresh(command)
    share = figures["server"]["cpu_s"] / figures["idle"]["seconds"] * 100
    table.add(f"18,000 parked clients, {what}: CPU", command, f"{share:.3f} % of a core", f"≤ {bound} %",
              share <= bound)


def latency(table, runs):
    """At half the rate at which it cannot do more, and the floor at the same."""
    full = median([fresh("fanout --clients 10000 --messages 20 --no-floor")["delivery"]["deliveries_per_second"]
                   for _ in range(runs)])
    rate = full / 2 / 10_000
    command = f"fanout --clients 10000 --rate {rate:.3g} --messages {max(round(rate * SECONDS * 2), 10)}"
    figures = [fresh(command) for _ in range(runs)]
    own = median([run["latency_us"]["p99_9"] for run in figures]) / 1e3
    floor = median([run["floor"]["cost"]["latency_us"]["p99_9"] for run in figures]) / 1e3
    ratio = median([run["floor"]["ratio"]["latency_us"]["p99_9"] for run in figures])
    table.add("p99.9 of latency, 10,000 clients, half of saturation", command, f"{own:.0f} ms", "≤ 1.4 ×",
              ratio <= 1.4, f"{floor:.0f} ms", f"{ratio:.2f} ×")


def at_rest(table):
    said = subprocess.run([ROOT / "benches/at-rest.sh"], capture_output=True, text=True, check=True).stdout
    command = "benches/at-rest.sh"
    number = lambda pattern: int(re.search(pattern, said).group(1))
    size, rss, first = number(r"binary +(\d+)"), number(r"RSS at rest +(\d+)"), number(r"first answer +(\d+)")
    table.add("stripped binary", command, f"{size:,} bytes", "≤ 1,310,720", size <= 1_310_720)
    table.add("RSS at start", command, f"{rss:,} KiB", "≤ 3,072", rss <= 3_072)
    table.add("exec to the first answer", command, f"{first / 1e3:.1f} ms", "≤ 10", first <= 10_000)


def million(table):
    """The bench without sockets; gives its words."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = ["cargo", "bench", "--quiet", "--bench", "million", "--", "--json", file.name]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        rows = json.loads(Path(file.name).read_text())["rows"]
    row = next(row for row in rows if row["sessions"] == 1_000_000 and row["order"] == "joined")
    for figure, key, unit, bound in (("publish, for each", "publish_ns", "ns", 300),
                                     ("poll cycle, for each", "cycle_ns", "ns", 1_500),
                                     ("bytes of each", "all_bytes", "bytes", 600)):
        table.add(f"1,000,000 sessions in an engine: {figure}", "cargo bench --bench million",
                  f"{row[key]:,.0f} {unit}", f"≤ {bound:,}", row[key] <= bound)
    return said.strip()


def text(table, runs, bench):
    lines = [
        SECTION, "",
        "`encke-loadtest floor` is the least that a server on one thread can do for the same traffic: it reads and writes",
        "as a server must, and knows neither JSON nor sessions nor timers. Medians of "
        f"{runs} runs, of 11 starts for what is at rest, and one run for the parked 18,000 and for the bench; a ratio is the",
        "median of those within each run. Made by `loadtest/bounds.py`; the words after `encke-loadtest` are at the end of",
        "each line, to which it adds `--quiet`, `--url` and `--pid`.", "",
        "| figure | encke | floor | ratio | bound | kept | command |", "|---|---|---|---|---|---|---|",
    ]
    for figure, value, floor, ratio, bound, kept, command in table.rows:
        lines.append(f"| {figure} | {value} | {floor} | {ratio} | {bound} | {kept} | `{command}` |")
    lines += ["", "What `cargo bench --bench million` says of an engine without sockets, which grows; its figures are for",
              "one session. The bounds are for clients that come back in the order in which they came; random order is the",
              "worst that years of coming and going make of it.", "", "```text", bench, "```"]
    return "\n".join(lines) + "\n"


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--quick", action="store_true", help="one run of each, to see that it works")
    words.add_argument("--runs", type=int, default=5, help="runs whose median counts [5]")
    words.add_argument("--out", type=Path, default=ROOT / "loadtest/RESULTS.md", help="[loadtest/RESULTS.md]")
    options = words.parse_args()
    runs = 1 if options.quick else options.runs
    table, bench = Table(), ""
    steps = (at_rest, lambda table: quiet(table, 10, 0.1, "no timeout due"), lambda table: fan_out(table, runs),
             lambda table: bursts(table, runs), lambda table: parked(table, runs), lambda table: latency(table, runs),
             lambda table: quiet(table, 65, 1, "polls of 30 s"))
    for step in steps:
        try:
            step(table)
        except Unexpected as error:
            table.add("**a run that was not as expected**", str(error).splitlines()[0], "", "", False)
            print(error, file=sys.stderr)
        write(options.out, text(table, runs, bench))
    bench = million(table)
    write(options.out, text(table, runs, bench))


def write(path, section):
    """Puts the section behind what else the file says."""
    before = path.read_text().partition(SECTION)[0] if path.exists() else ""
    path.write_text(before + section)


if __name__ == "__main__":
    main()
