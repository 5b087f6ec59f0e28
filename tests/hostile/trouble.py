"""A machine in trouble: no open files left, a process that is stopped, a clock that is set, a log that takes nothing."""

import os
import resource
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from harness import Load, Refused, Section, Server, Unexpected, Wire, load, ms, need, post, share_of_a_core

# How long one is served again, at most, after a file is free.
RECOVERY_MS = 100
# What the daemon may take of a core while it can accept nobody, percent.
CPU_SHARE = 5
TRIES = 20
CROWD = 200
WAITING = 50


def limit_files(server, files):
    # Only the soft limit: not everyone may raise the hard one again.
    hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (files, hard))


def crowd(server, count):
    """Connections, each with a request."""
    wires = [Wire(server.address) for _ in range(count)]
    for wire in wires:
        wire.send([])
    return wires


def answered(wires, seconds):
    """Which of them are served within so many seconds, which are turned away, and which still wait."""
    served, away, waiting = [], [], []
    end = time.monotonic() + seconds
    for wire in wires:
        wire.socket.settimeout(max(end - time.monotonic(), 0.001))
        try:
            wire.receive()
            served.append(wire)
        except TimeoutError:
            waiting.append(wire)
        except Refused as refused:
            if refused.status != 503:
                raise
            away.append(wire)
        wire.socket.settimeout(20)
    for wire in away:
        wire.socket.close()
    return served, away, waiting


def time_to_answer(wires, free):
    """From `free()` until one of these is answered, ms; and which."""
    start = time.monotonic()
    free()
    ready, _, _ = select.select([wire.socket for wire in wires], [], [], 10)
    took = (time.monotonic() - start) * 1000
    if not ready:
        raise Unexpected("nobody is accepted when a file is free")
    wire = next(wire for wire in wires if wire.socket is ready[0])
    wire.receive()
    return took, wire


def exhausted(section, name, server, make_room, turns_away):
    """With all files used: what becomes of those who come, CPU, and how long until one is let in when there is room."""
    done, away, waiting = answered(crowd(server, CROWD), 3)
    section.row(f"{name}: served, turned away, waiting", f"{len(done)}, {len(away)}, {len(waiting)}",
                "none waits" if turns_away else "none turned away", not (waiting if turns_away else away))
    if not done or len(away) + len(waiting) < WAITING:
        raise Unexpected(f"{len(done)} of {CROWD} are served")
    share = share_of_a_core(server, 5)
    section.row(f"{name}: CPU while exhausted", f"{share:.2f} % of a core", f"< {CPU_SHARE} %", share < CPU_SHARE)
    took = []
    for _ in range(TRIES):
        if turns_away:
            # Who comes waits for a second: it is there before the room is.
            waiting = crowd(server, 1)
            time.sleep(0.1)
        late, wire = time_to_answer(waiting, lambda: make_room(done))
        took.append(late)
        waiting.remove(wire)
        done.append(wire)
    section.row(f"{name}: {TRIES} times room for one, until one is served", f"at most {max(took):.1f} ms",
                f"≤ {RECOVERY_MS} ms", max(took) <= RECOVERY_MS)
    if turns_away:
        waiting = crowd(server, len(done))
    for wire in done:
        wire.socket.close()
    while waiting:
        # Each that is served leaves, and makes room for the next.
        now, away, waiting = answered(waiting, 0.3)
        for wire in now:
            wire.socket.close()
        if away or not now:
            break
    left = len(waiting) + len(away)
    section.row(f"{name}: left unserved when all others had gone", left, "0", left == 0)


def close_one(done):
    done.pop(0).socket.close()


def injected(section, error):
    """The kernel refuses each accept for a while."""
    trace = tempfile.NamedTemporaryFile(prefix="encke-strace-")
    with Server() as server:
        inject = ["-e", "trace=accept4", "-e", f"inject=accept4:error={error}"]
        tracer = subprocess.Popen([need("strace", "strace"), "-f", "-o", trace.name, *inject, "-p", str(server.pid)],
                                  stderr=subprocess.DEVNULL)
        while "TracerPid:\t0" in Path(f"/proc/{server.pid}/status").read_text():
            time.sleep(0.05)
            if tracer.poll() is not None:
                raise Unexpected("strace may not trace: it needs CAP_SYS_PTRACE")
        wires = crowd(server, 10)
        share = share_of_a_core(server, 5)
        calls = Path(trace.name).read_text().count("accept4(")
        section.row(f"each accept fails with {error}: CPU, traced", f"{share:.2f} % of a core", f"< {CPU_SHARE} %",
                    share < CPU_SHARE)
        section.row(f"{error}: tries", f"{calls} in 5 s")
        start = time.monotonic()
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        done, _, _ = answered(wires, 5)
        took = (time.monotonic() - start) * 1000
        # The tracer takes a moment of its own to let go.
        section.row(f"{error} no more: all served after, the tracer's leaving included", f"{took:.0f} ms", "",
                    len(done) == len(wires))
        for wire in wires:
            wire.socket.close()


def files():
    section = Section("files", "The daemon can open no more files while clients wait to be accepted.")
    need("prlimit", "util-linux")
    with Server(before=["prlimit", "--nofile=64:64"]) as server:
        # The daemon knows this limit: who has waited for a second is answered 503.
        exhausted(section, "`prlimit --nofile=64`", server, close_one, turns_away=True)
    with Server() as server:
        # Below what the daemon believes that it has, so that the kernel says EMFILE.
        limit_files(server, server.files() + 40)
        exhausted(section, "EMFILE, room by a close", server, close_one, turns_away=False)
    with Server() as server:
        limit = [server.files() + 40]
        limit_files(server, limit[0])

        def raise_limit(_done):
            limit[0] += 1
            limit_files(server, limit[0])

        exhausted(section, "EMFILE, room from elsewhere", server, raise_limit, turns_away=False)
    for error in ("EMFILE", "ENOBUFS"):
        injected(section, error)
    return section


def stopped():
    section = Section("stopped", "SIGSTOP in the middle of a run, SIGCONT 20 s later: longer than `max-interval`, "
                                 "`head-timeout` and `write-timeout`.")
    for transport in ("long-polling", "websocket", "streaming"):
        words = f"fanout --transport {transport} --clients 2000 --ack --rate 20 --messages 800 --drain 30"
        with Server() as server:
            run = Load(server, words, check=False)
            while server.census()["published"] < 200:
                time.sleep(0.2)
            server.signal(signal.SIGSTOP)
            time.sleep(20)
            server.signal(signal.SIGCONT)
            figures = run.figures()
            delivery = figures["delivery"]
            flaws = [delivery[name] for name in ("lost", "duplicated", "out_of_order")]
            section.row(f"`encke-loadtest {words}`: delivered", f"{delivery['delivered']:,} of {delivery['expected']:,}")
            section.row(f"{transport}: lost, duplicated, out of order", "{}, {}, {}".format(*flaws), "none", not any(flaws))
            section.row(f"{transport}: faults of clients", sum(figures["faults"].values()), "0", not figures["faults"])
            section.row(f"{transport}: p99", f"{ms(figures) / 1000:.1f} s")
    return section


def faketime():
    for place in sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")):
        return str(place)
    raise Unexpected("libfaketime is missing: apt-get install libfaketime")


def clock():
    section = Section("clock", "libfaketime sets the time of day under a run; the monotonic clock goes on, as it does on "
                               "a real machine.")
    with tempfile.TemporaryDirectory(prefix="encke-clock-") as folder:
        stamp = Path(folder) / "time"

        def set_clock(text):
            (Path(folder) / "next").write_text(text)
            os.replace(Path(folder) / "next", stamp)

        set_clock("+0")
        env = {"LD_PRELOAD": faketime(), "FAKETIME_TIMESTAMP_FILE": str(stamp), "FAKETIME_NO_CACHE": "1",
               "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
        with Server("--channel", '{pattern = "/kept/**", history = true}', env=env) as server:
            words = "fanout --clients 1000 --ack --rate 20 --messages 600"
            run = Load(server, words)
            own = post(server.address, [{"channel": "/meta/handshake"}])[0]["clientId"]
            numbers, years = [], set()
            with Wire(server.address) as wire:
                wire.say([{"channel": "/meta/connect", "clientId": own, "connectionType": "long-polling"}])
                wire.say([{"channel": "/meta/subscribe", "clientId": own, "subscription": "/kept/a"}])
                for offset in ("+0", "+365d", "-30d", "+1h", "-365d", "+0"):
                    set_clock(offset)
                    time.sleep(3)
                    years.add(date_of(server))
                    wire.say([{"channel": "/kept/a", "clientId": own, "data": offset}])
                    events = wire.say([{"channel": "/meta/connect", "clientId": own, "connectionType": "long-polling"}])
                    numbers += [event["ext"]["replay"]["id"] for event in events if event["channel"] == "/kept/a"]
            figures = run.figures()
        delivery = figures["delivery"]
        flaws = [delivery[name] for name in ("lost", "duplicated", "out_of_order")]
        section.row("years that the `Date` field has shown", ", ".join(sorted(years)), "3", len(years) == 3)
        section.row(f"`encke-loadtest {words}`: lost, duplicated, out of order", "{}, {}, {}".format(*flaws), "none",
                    not any(flaws))
        section.row("sessions that had to begin anew", sum(figures["faults"].values()), "0", not figures["faults"])
        section.row("numbers of kept events", f"{len(numbers)}, only growing", "6",
                    len(numbers) == 6 and numbers == sorted(set(numbers)))
    return section


def date_of(server):
    with Wire(server.address) as wire:
        wire.socket.sendall(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
        while b"\r\n\r\n" not in wire.bytes:
            wire.more()
        return next(line for line in wire.bytes.decode().splitlines() if line.startswith("Date: ")).split()[4]


def log():
    words = "rooms --clients 500 --rate 500 --messages 5000"
    section = Section("log", f"What becomes of clients (`encke-loadtest {words}`) when stderr takes nothing, with "
                             "`RUST_LOG=debug`.")
    for name, open_stderr in (("a pipe that is read", drained), ("a pipe that nobody reads", clogged),
                              ("/dev/full", lambda: (open("/dev/full", "wb"), None)),
                              ("a file system without room", full_disk), ("a pipe whose reader has gone", broken)):
        stderr, keep = open_stderr()
        with Server(stderr=stderr, env={"RUST_LOG": "debug"}) as server:
            stderr.close()
            for _ in range(30):
                post(server.address, [{"channel": "/meta/handshake"}] * 100)
            figures = load(server, words)
            flaws = sum(figures["delivery"][flaw] for flaw in ("lost", "duplicated", "out_of_order"))
            section.row(f"{name}: p99, events lost", f"{ms(figures):.1f} ms, {flaws}", "none lost", flaws == 0)
        if keep:
            keep()
    return section


def drained():
    reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    return reader.stdin, reader.wait


def clogged():
    read, write = os.pipe()
    return os.fdopen(write, "wb"), lambda: os.close(read)


def broken():
    read, write = os.pipe()
    os.close(read)
    return os.fdopen(write, "wb"), None


def full_disk():
    """A file on a file system of 64 KiB, if there may be one; it needs root."""
    folder = tempfile.mkdtemp(prefix="encke-full-")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False, capture_output=True)

    def remove():
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        else:
            os.unlink(Path(folder) / "log")
        os.rmdir(folder)

    if mounted.returncode != 0:
        print("  (no right to mount one: an ordinary file)", flush=True)
    return open(Path(folder) / "log", "wb"), remove
