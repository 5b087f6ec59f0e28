"""A daemon, load on it, and what is measured of it: what the proofs share.

Owns the processes of a proof, which all end with it, and the sections of tests/README.md.
"""

import json
import os
import platform
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
README = ROOT / "tests" / "README.md"
TICKS = os.sysconf("SC_CLK_TCK")


class Unexpected(Exception):
    """Something that leaves nothing to measure."""


class Refused(Unexpected):
    """An answer other than 200, with its status."""

    def __init__(self, status, text):
        super().__init__(f"answered {status}: {text}")
        self.status = status


def need(program, package):
    """A program that the proof cannot do without; nothing is installed here."""
    if not shutil.which(program):
        raise Unexpected(f"{program} is missing: apt-get install {package}")
    return program


class Server:
    """The daemon, with its log in a file unless `stderr` says otherwise."""

    def __init__(self, *options, before=(), stderr=None, env=None):
        self.log = tempfile.NamedTemporaryFile(prefix="encke-log-")
        command = [*before, BIN / "encke", "--listen", "127.0.0.1:0", *options]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ENCKE_")}
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=stderr or self.log, text=True, env=clean | (env or {}))
        greeting = self.process.stdout.readline()
        found = re.search(r"http://([^:]+):(\d+)\S+", greeting)
        if not found:
            self.process.kill()
            self.process.wait()
            raise Unexpected(f"encke did not come up: {greeting!r} {self.said()}")
        self.url, self.address = found.group(), (found[1], int(found[2]))
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def said(self):
        return Path(self.log.name).read_text(errors="replace")

    def signal(self, number):
        self.process.send_signal(number)

    def rss(self):
        """KiB, exactly: the quick count of `status` is some pages behind."""
        return int(re.search(r"^Rss:\s+(\d+)", Path(f"/proc/{self.pid}/smaps_rollup").read_text(), re.M)[1])

    def cpu(self):
        """Seconds of its first thread, to the nanosecond."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9

    def files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def sockets(self):
        """The inodes of those that it has open, which no two sockets share that are open at the same time."""
        found = set()
        for entry in os.scandir(f"/proc/{self.pid}/fd"):
            try:
                target = os.readlink(entry.path)
            except FileNotFoundError:
                continue
            if target.startswith("socket:"):
                found.add(target)
        return found

    def census(self):
        """What it counts, by what it logs on SIGUSR1; of a name that comes twice, what there is now."""
        before = self.said().count(" now: ")
        self.signal(signal.SIGUSR1)
        for _ in range(200):
            said = self.said()
            if said.count(" now: ") > before and "refused or ended since the start" in said.rsplit(" now: ", 1)[1]:
                found = re.findall(r"([a-z-]+)=(\d+)", said.rsplit(" now: ", 1)[1])
                return {name: int(count) for name, count in reversed(found)}
            time.sleep(0.05)
        raise Unexpected("it does not say what it counts")

    def alive(self):
        return self.process.poll() is None

    def rest(self, patience=60):
        """Waits until nobody is there any more; whether that came."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if self.census()["connections"] == 0 and self.census()["sessions"] == 0:
                return True
            time.sleep(0.5)
        return False


class Load:
    """A run of the load generator, in the background until `figures` is asked for."""

    def __init__(self, server, words, check=True):
        self.file = tempfile.NamedTemporaryFile(prefix="encke-load-", suffix=".json")
        self.words, self.check = words, check
        command = [BIN / "encke-loadtest", *words.split(), "--quiet", "--url", server.url, "--json", self.file.name]
        if "--pid" not in words:
            command += ["--pid", str(server.pid)]
            command += [] if words.split()[0] in ("storm", "slow") else ["--no-floor"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def figures(self):
        said, _ = self.process.communicate()
        text = Path(self.file.name).read_text()
        self.file.close()
        if not text or (self.check and self.process.returncode != 0):
            raise Unexpected(f"{self.words}\n{said}")
        return json.loads(text)


def load(server, words, check=True):
    return Load(server, words, check).figures()


class Watch:
    """Samples of a server's memory while something goes on."""

    def __init__(self, server, every=0.25):
        self.server, self.every, self.samples = server, every, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.over.wait(self.every):
            try:
                self.samples.append((time.monotonic(), self.server.rss()))
            except (OSError, TypeError):
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def peak(self):
        return max((rss for _, rss in self.samples), default=0)


def share_of_a_core(server, seconds):
    """How much of a core the server takes, percent."""
    before, start = server.cpu(), time.monotonic()
    time.sleep(seconds)
    return (server.cpu() - before) / (time.monotonic() - start) * 100


def post(address, messages, patience=20):
    """One batch over a connection of its own; the replies."""
    with Wire(address, patience) as wire:
        return wire.say(messages)


class Wire:
    """A connection that speaks Bayeux over HTTP, a request after the other."""

    def __init__(self, address, patience=20):
        self.socket = socket.create_connection(address, timeout=patience)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bytes = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, messages):
        body = json.dumps(messages).encode()
        head = f"POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)

    def receive(self):
        """The next answer's messages."""
        while b"\r\n\r\n" not in self.bytes:
            self.more()
        head, _, rest = self.bytes.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        while len(rest) < length:
            self.more()
            rest = self.bytes.partition(b"\r\n\r\n")[2]
        self.bytes = rest[length:]
        status = int(head.split(b" ", 2)[1])
        if status != 200:
            raise Refused(status, rest[:length].decode(errors="replace").strip())
        return json.loads(rest[:length] or b"null")

    def more(self):
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError("the connection has ended")
        self.bytes += part

    def say(self, messages):
        self.send(messages)
        return self.receive()


class Section:
    """A part of tests/README.md: what was done, where, and what came of it."""

    def __init__(self, name, what):
        self.name, self.what, self.rows, self.notes = name, what, [], []
        # What else the machine does counts as much as the daemon.
        self.load = os.getloadavg()[0]
        print(f"== {name}", flush=True)

    def row(self, figure, value, bound="", met=None):
        verdict = "" if met is None else "met" if met else "**missed**"
        self.rows.append((figure, value, bound, verdict))
        print("  " + " | ".join(str(cell) for cell in self.rows[-1] if cell != ""), flush=True)

    def note(self, text):
        self.notes.append(text)
        print(f"  {text}", flush=True)

    def missed(self):
        return sum(verdict == "**missed**" for *_, verdict in self.rows)

    def text(self):
        lines = [f"## {self.name}", "", self.what, ""]
        lines += [f"`tests/hostile/run.sh {self.name}`, {today()}, {machine()}, "
                  f"load average before it {self.load:.1f}", ""]
        lines += ["| figure | measured | bound | |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in self.rows]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"

    def write(self):
        """Puts it in the place of the section of that name, or behind all others."""
        old = README.read_text()
        parts = re.split(r"^(?=## )", old, flags=re.M)
        same = [at for at, part in enumerate(parts) if part.startswith(f"## {self.name}\n")]
        if same:
            parts[same[0]] = self.text() + "\n"
        else:
            parts[-1] = parts[-1].rstrip("\n") + "\n\n"
            parts.append(self.text())
        README.write_text("".join(parts).rstrip("\n") + "\n")


def today():
    return datetime.now(timezone.utc).strftime("%Y-%m-%d")


def machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    return f"{os.cpu_count()} cores, {memory} GiB, {platform.system()} {platform.release().split('-')[0]}"


def raise_files():
    """As many open files as the machine allows: each client is one here, too."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def ms(figures, which="p99"):
    return figures["latency_us"][which] / 1000
