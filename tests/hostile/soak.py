"""All scenarios in rotation on one daemon, for as long as one likes."""

import subprocess
import time

from harness import Section, Server, Unexpected, load, need

TRANSPORTS = ("long-polling", "websocket", "streaming", "eventsource")
# A channel's own history is bounded by `count`; each round fills it anew.
OPTIONS = ("--channel", '{pattern = "/kept/**", history = {count = 200, bytes = "64KiB"}}')
# What memory may grow by, from the end of the warm-up to the end.
DRIFT = 0.01
# Rounds until every table, wheel and buffer has been as large as it will be.
WARM_UP = 4


def rotation():
    """One round: the words of each run."""
    for transport in TRANSPORTS:
        yield f"fanout --transport {transport} --clients 500 --messages 60"
        if transport != "eventsource":
            yield f"fanout --transport {transport} --clients 500 --messages 60 --ack"
        yield f"fanout --transport {transport} --clients 300 --messages 60 --channel /kept/{transport}"
        yield f"rooms --transport {transport} --clients 300 --messages 2000"
        yield f"storm --transport {transport} --clients 500 --rate 50 --messages 150" + \
            (" --ack" if transport != "eventsource" else "")
    yield "mixed --clients 400 --messages 200"
    yield "slow --clients 200 --rate 100 --messages 300"


def trim(server):
    """Has the allocator give back what it keeps in holes, so that RSS tells of what is in use."""
    command = [need("gdb", "gdb"), "-p", str(server.pid), "-batch", "-ex", "call (int)malloc_trim(0)"]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def soak(minutes):
    section = Section("soak", "One daemon, and on it round after round: fanout on each transport without and with ack "
                              "and on channels with a history, rooms, storm, mixed, slow. RSS is taken at rest, when "
                              "the sessions of a round are gone: as it is, with the holes between blocks that glibc's "
                              "allocator keeps for later, and after `malloc_trim(0)`, which gives those back (by gdb). "
                              "The second is what a leak would show in, and what the bound is held against. "
                              f"The first {WARM_UP} rounds are warm-up: until then tables and wheels have not been as "
                              "large as they become, and the histories are not full.")
    end = time.monotonic() + minutes * 60
    start = time.monotonic()
    series, untrimmed, bad, runs = [], [], [0, 0, 0, 0], 0
    with Server(*OPTIONS) as server:
        while time.monotonic() < end or len(series) <= WARM_UP:
            for words in rotation():
                figures = load(server, words)
                delivery = figures["delivery"]
                for at, name in enumerate(("lost", "duplicated", "out_of_order", "strangers")):
                    bad[at] += delivery[name]
                runs += 1
            if not server.rest():
                raise Unexpected(f"sessions or connections stay: {server.census()}")
            untrimmed.append(server.rss())
            trim(server)
            series.append(server.rss())
            print(f"  {time.monotonic() - start:6.0f} s  round {len(series)}: RSS {untrimmed[-1]}, trimmed {series[-1]} KiB",
                  flush=True)
        counted = server.census()
    warm = series[WARM_UP - 1]
    drift = series[-1] / warm - 1
    section.row("real time, rounds, runs", f"{(time.monotonic() - start) / 60:.1f} min, {len(series)}, {runs}")
    section.row("events published, delivered", f"{counted['published']:,}, {counted['delivered']:,}")
    section.row("lost, duplicated, out of order, of other runs", "{}, {}, {}, {}".format(*bad), "none", not any(bad))
    section.row("RSS at rest, trimmed, after the warm-up, at the end", f"{warm:,}, {series[-1]:,} KiB")
    section.row("drift of it", f"{drift * 100:+.3f} %", f"< {DRIFT * 100:.0f} %", drift < DRIFT)
    for name, each in (("as it is", untrimmed), ("trimmed", series)):
        section.note(f"RSS at rest after each round, {name}, KiB: {', '.join(str(rss) for rss in each)}.")
    return section
