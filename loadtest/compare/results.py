"""Owns what becomes of the figures of compare.sh: medians of runs, as Markdown on standard output.

Usage: results.py WORK STATE, or results.py --estimate WORK RUNS SECONDS SIZE… for the minutes that it will take.

WORK holds servers.tsv (name, version, how it is set up, why it is left out) and runs/, with the JSON of encke-loadtest
in SCENARIO.TRANSPORT.CLIENTS.SERVER.ROLE.json, its words in .log and the command in .command. A role is the number of
a run that counts, or `warm`, `idle` or `full`.
"""

import datetime
import json
import os
import platform
import re
import statistics
import sys
from pathlib import Path

# What differs in a command from start to start, and what stands for it.
CHANGING = [(r"--pid \d+", "--pid PID"), (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
            (r"--floor-json \S+", "--floor-json FLOOR.json")]
TRANSPORTS = ["long-polling", "websocket", "eventsource"]
# Clients that a server parks in a second, roughly, for the estimate; the generator needs its share.
PARKED_PER_S = {"faye": 2500, "cometd-nodejs": 3000, "cometd-java": 2000}
STREAMERS = {"encke", "nchan", "faye"}
SOCKETS = {"floor", "encke", "nchan", "faye"}
BAYEUX = {"floor", "encke", "faye", "cometd-nodejs", "cometd-java"}


def servers(work):
    """The servers in their order: name, version, how, reason."""
    lines = (work / "servers.tsv").read_text().splitlines()
    return [dict(zip(("name", "version", "how", "reason"), line.split("\t"), strict=True)) for line in lines]


class Runs:
    """All runs that have ended."""

    def __init__(self, folder):
        self.runs = {}
        for command in sorted(folder.glob("*.command")):
            scenario, transport, clients, server, role = command.name.removesuffix(".command").split(".")
            figures = read_json(command.with_suffix(".json"))
            log = command.with_suffix(".log")
            key = (scenario, transport, int(clients), server)
            self.runs.setdefault(key, {})[role] = {
                "figures": figures,
                "command": command.read_text().strip(),
                "log": log.read_text() if log.exists() else "",
            }

    def keys(self, scenario, transport):
        """The sizes and servers of a table."""
        return [key for key in self.runs if key[:2] == (scenario, transport) and set(self.runs[key]) != {"warm"}]

    def counted(self, key):
        """The figures of the runs that count."""
        roles = self.runs.get(key, {})
        return [run["figures"] for role, run in sorted(roles.items()) if role.isdigit() and run["figures"]]

    def fresh(self, key):
        """The figures of the first runs of processes, whose memory nobody used before."""
        idle = self.runs.get(("idle", *key[1:]), {}).get("idle")
        roles = self.runs.get(key, {})
        first = idle or roles.get("warm")
        return self.counted(key) if first is None else [first["figures"]] if first["figures"] else []

    def failed(self, key):
        """The words of the runs that gave no figures, or not the expected ones."""
        words = []
        for run in self.runs.get(key, {}).values():
            figures = run["figures"]
            if figures is None:
                last = run["log"].strip().splitlines()[-1:] or ["it did not end in time"]
                words.append(last[0].removeprefix("encke-loadtest: "))
            elif not figures["ok"]:
                words.extend(figures["complaints"] or ["not as expected"])
        return list(dict.fromkeys(words))


def read_json(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def dig(figures, *names):
    for name in names:
        figures = figures.get(name) if isinstance(figures, dict) else None
    return figures


def values(runs, *names):
    found = [dig(figures, *names) for figures in runs]
    return [value for value in found if value is not None]


def number(value, digits=3):
    """Three digits that mean something, and all of those before the point."""
    if value is None:
        return "–"
    if value != 0 and abs(value) < 10 ** (digits - 1):
        places = digits - 1 - max(0, len(str(int(abs(value)))) - 1)
        return f"{value:.{places}f}"
    return f"{value:,.0f}"


def median(found):
    return statistics.median(found) if found else None


def spread(found):
    """The median, and from where to where the runs went."""
    if not found:
        return "–"
    text = number(median(found))
    return f"{text} ({number(min(found))}–{number(max(found))})" if len(found) > 1 else text


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def order(key, names):
    return (key[2], names.index(key[3]) if key[3] in names else len(names))


def fanout(runs, scenario, transport, names):
    """The two tables of a transport: what deliveries cost, and what waiting clients do."""
    keys = sorted(runs.keys(scenario, transport), key=lambda key: order(key, names))
    if not keys:
        return ""
    costs, memory = [], []
    for key in keys:
        counted, (_, _, clients, server) = runs.counted(key), key
        floor = median(values(runs.counted((*key[:3], "floor")), "server", "cpu_us_per_delivery"))
        each = values(counted, "server", "cpu_us_per_delivery")
        ratio = f"{median(each) / floor:.2f}" if each and floor else "–"
        late = [median(values(counted, "latency_us", name)) for name in ("p50", "p99", "p99_9")]
        late = [number(value / 1000 if value is not None else None) for value in late]
        wrong = [sum(values(counted, "delivery", name)) for name in ("lost", "duplicated", "out_of_order")]
        rate = median(values(counted, "delivery", "deliveries_per_second"))
        costs.append([f"{clients:,}", server, spread(each), ratio, *late, number(rate), *map(str, wrong)])
        row = waiting(runs, key)
        if row:
            memory.append([f"{clients:,}", server, *row])
    head = ["clients", "server", "CPU µs per delivery", "× floor", "p50 ms", "p99 ms", "p99.9 ms", "deliveries/s",
            "lost", "duplicated", "out of order"]
    text = f"### {transport}\n\n" + table(head, costs)
    if scenario == "fanout" and memory:
        text += "\n" + table(["clients", "server", "RSS before", "RSS per client", "kernel memory per client",
                              "parked per second", "CPU µs per client"], memory)
    return text + complaints(runs, keys) + "\n"


def waiting(runs, key):
    fresh, clients = runs.fresh(key), key[2]
    if not fresh:
        return None

    def middle(*names):
        return median(values(fresh, *names))

    before, after = (middle("kernel", name) for name in ("memory_before_kib", "memory_parked_kib"))
    kernel = None if before is None or after is None else (after - before) * 1024 / clients
    return [
        f"{number(middle('server', 'rss_before_kib'))} KiB",
        f"{number(middle('server', 'rss_bytes_per_client'), 1)} B",
        f"{number(kernel, 1)} B",
        number(middle("parking", "clients_per_second"), 1),
        number(middle("server", "cpu_us_per_join")),
    ]


def complaints(runs, keys):
    lines = [f"- {key[3]}, {key[2]:,} clients: {'; '.join(runs.failed(key))}" for key in keys if runs.failed(key)]
    return "\nNot as expected:\n\n" + "\n".join(lines) + "\n" if lines else ""


def single(runs, scenario, role, names, row):
    """A table of the runs with one role; `row` gives what stands above a column and in it."""
    rows, head = [], []
    for transport in TRANSPORTS:
        for key in sorted(runs.keys(scenario, transport), key=lambda key: order(key, names)):
            figures = runs.runs[key].get(role, {}).get("figures")
            if figures:
                head, cells = zip(*row(figures))
                rows.append([transport, f"{key[2]:,}", key[3], *cells])
    return table(["transport", "clients", "server", *head], rows) if rows else "Not measured.\n"


def idle_row(figures):
    used = dig(figures, "server") or {}
    cpu = used.get("cpu_s") or 0
    took = dig(figures, "idle", "seconds")
    return [
        ("seconds", number(took)),
        ("CPU s", f"{cpu:.3f}"),
        ("of a core", f"{100 * cpu / took:.3f} %" if took else "–"),
        ("wake-ups", number(used.get("wakeups"), 1)),
    ]


def full_row(figures):
    late = dig(figures, "latency_us", "p99")
    return [
        ("deliveries/s", number(dig(figures, "delivery", "deliveries_per_second"), 1)),
        ("CPU µs per delivery", number(dig(figures, "server", "cpu_us_per_delivery"))),
        ("p99 ms", number(late / 1000 if late else None)),
    ]


def machine(work):
    cpu = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.M)
    memory = int(re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.M)[1])
    rows = [
        ["processor", f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores"],
        ["memory", f"{memory / 1024 / 1024:.1f} GiB"],
        ["kernel", f"{platform.system()} {platform.release()}"],
        ["date", f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC"],
        ["load average before", (work / "load").read_text().strip()],
    ]
    return "\n".join(["| machine | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]) + "\n"


def commands(runs):
    """The commands of a server of each protocol for the largest size, without what changes from start to start."""
    lines, largest = [], {}
    for key in sorted(runs.runs):
        if key[3] in ("encke", "nchan"):
            largest.update({(*key[:2], key[3], role): key for role in runs.runs[key] if role in ("1", "idle", "full")})
    for (*_, role), key in largest.items():
        line = runs.runs[key][role]["command"]
        for pattern, word in CHANGING:
            line = re.sub(pattern, word, line)
        lines.append(line)
    return "```sh\n" + "\n".join(lines) + "\n```\n"


INTRO = """# encke beside other servers

Written by [`loadtest/compare.sh`](compare.sh), which measures all of this again. Every server runs alone as one process
on loopback, on the machine where the load generator runs as well; its clients count every delivery. Publishing is
open-loop: the rate is the same for all, and a server that cannot keep up shows it in its latency, which counts from the
time at which a message was meant to go. Figures are medians of {runs} runs, with the lowest and the highest of them in
parentheses where there are several. *CPU* is that of the server's process, in user mode and in the kernel; *× floor*
is its ratio to that of `encke-loadtest floor`, which writes bytes made beforehand and knows no sessions. *RSS per
client* is what the process grew by while the clients came, *kernel memory* what the kernel holds in its buffers for both
ends of their connections, the second of them by all programs of this machine. Each run has a process of its own; Node.js
and Java may compile what they run before it counts, but their memory is that of a process which has not.

"""

COMMANDS = """
## Commands

`loadtest/compare.sh --install` runs all of it; these are the runs with the largest size, for one server of each
protocol. With fewer clients the rate is higher by as much, so that there are as many deliveries a second.

"""


def document(work, state):
    rows, runs = servers(work), Runs(work / "runs")
    names = [row["name"] for row in rows]
    counted = max((sum(role.isdigit() for role in roles) for roles in runs.runs.values()), default=0)
    parts = [INTRO.format(runs=counted)]
    if state != "finished":
        parts.append("**The run was not finished: this is what there was of it.**\n\n")
    parts += [machine(work), "\n"]
    parts += ["| server | version | set up |\n|---|---|---|\n"]
    parts += [f"| {row['name']} | {row['version']} | {row['how']} |\n" for row in rows if not row["reason"]]
    parts += [f"\n`{row['name']}` was not measured: {row['reason']}.\n" for row in rows if row["reason"]]
    parts.append("\n## Fan-out: one channel, every client has it\n\n")
    parts += [fanout(runs, "fanout", transport, names) for transport in TRANSPORTS]
    rooms = [fanout(runs, "rooms", transport, names) for transport in TRANSPORTS]
    if any(rooms):
        parts += ["## Rooms: 100 channels, 10 of them for every client\n\n", *rooms]
    parts.append("## As fast as it goes: the next message when all have the last\n\n")
    parts.append(single(runs, "fanout", "full", names, full_row))
    parts.append("\n## Waiting: no events at all\n\n")
    parts.append(single(runs, "idle", "idle", names, idle_row))
    parts.append(COMMANDS + commands(runs))
    return "".join(parts)


def estimate(work, counts, seconds, sizes):
    """Minutes, roughly: starting, parking, publishing, and waiting for quiet."""
    total = 0
    largest = max(sizes)
    for name in [row["name"] for row in servers(work) if not row["reason"]]:
        groups = sizes * (1 + (name in SOCKETS)) + [1000] * ((name in STREAMERS) + (name in BAYEUX))
        for clients in groups:
            slow = name in PARKED_PER_S
            parking = clients / PARKED_PER_S.get(name, 12000)
            total += counts * (parking + seconds + 1.5 + 3.5 * slow)
            total += parking + 7 if clients == largest else 0
    return round(total / 60) or 1


def main(words):
    if words[0] == "--estimate":
        counts, seconds, *sizes = map(int, words[2:])
        print(estimate(Path(words[1]), counts, seconds, sizes))
    else:
        print(document(Path(words[0]), words[1]), end="")


main(sys.argv[1:])
