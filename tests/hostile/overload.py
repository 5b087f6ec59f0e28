"""Too much: slow attackers, a storm, more publishes than can be delivered, and a broadcast beside small channels."""

import statistics
import subprocess
import threading
import time

from harness import Load, Section, Server, Unexpected, Watch, Wire, load, ms, need

# Clients that chat while others attack: 100 rooms, each client in 10 of them.
CHAT = "rooms --clients 1000 --rate 200 --messages 5000"
# What the 99th percentile may rise by, ms.
ABOVE_IDLE_MS = 50
ATTACKERS = 5_000
# Seconds of an attack. The longest deadline that sheds attackers is that for a body, 15 s.
ATTACK_S = 45
# What a connection may last beyond its deadline: a second of looking, one of what comes before the deadline begins, and
# one of the machine.
SLACK_S = 3
# slowhttptest's options for each attack, what is attacked, the deadline, seconds of it, and how the log calls its end.
ATTACKS = {
    "slow-heads": ("-H -i 3 -x 24", "/cometd", "head-timeout (5 s)", 5, "slow-request"),
    "slow-bodies": ("-B -i 3 -x 10 -s 8192", "/cometd", "body-timeout (15 s)", 15, "slow-request"),
    "slow-readers": ("-X -w 1 -y 64 -n 5 -z 32 -k 10", "/encke.js", "write-timeout (10 s)", 10, "slow-reader"),
}


def attack(server, options, path, log):
    host, port = server.address
    command = [need("slowhttptest", "slowhttptest"), *options.split(), "-c", str(ATTACKERS), "-r", "1000"]
    command += ["-l", str(ATTACK_S), "-u", f"http://{host}:{port}{path}"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


class Attackers(threading.Thread):
    """Follows the attackers' connections from second to second: how many there are, and how long each stays."""

    EVERY = 1

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.own, self.over = server, server.sockets(), threading.Event()
        self.peak, self.first, self.longest = 0, {}, 0
        self.start()

    def run(self):
        while not self.over.wait(self.EVERY):
            now, there = time.monotonic(), self.server.sockets() - self.own
            self.peak = max(self.peak, len(there))
            self.first = {socket: self.first.get(socket, now) for socket in there}
            self.longest = max([self.longest, *(now - first for first in self.first.values())])


def slow():
    section = Section("slow", f"{ATTACKERS:,} connections of slowhttptest against one daemon on which 1,000 clients chat "
                              f"(`encke-loadtest {CHAT}`): 20,000 deliveries a second.")
    with Server() as server:
        idle = ms(load(server, CHAT))
    section.row("p99 without an attack", f"{idle:.1f} ms")
    for name, (options, path, deadline, seconds, how) in ATTACKS.items():
        with Server() as server, open("/dev/null", "w", encoding="ascii") as log:
            chat = Load(server, CHAT)
            while server.files() < 1_000:
                time.sleep(0.1)
            # The publisher has a connection as well; a few more are the daemon's own files.
            time.sleep(1)
            before, attackers = server.rss(), Attackers(server)
            with Watch(server) as watch:
                attacking = attack(server, options, path, log)
                figures = chat.figures()
                attacking.wait()
            attackers.over.set()
            attackers.join()
            p99 = ms(figures)
            section.row(f"{name}: p99 of those who chat", f"{p99:.1f} ms", f"≤ {ABOVE_IDLE_MS} ms above idle",
                        p99 <= idle + ABOVE_IDLE_MS)
            counted = server.census()
            section.row(f"{name}: attackers connected at once, at most", f"{attackers.peak:,}")
            section.row(f"{name}: connected for, at most; {deadline}", f"{attackers.longest:.0f} s",
                        f"≤ {seconds + SLACK_S} s", attackers.longest <= seconds + SLACK_S)
            section.row(f"{name}: cut off, as the log says", f"{counted[how]:,} of {ATTACKERS:,}")
            section.row(f"{name}: RSS", f"{before:,} → at most {watch.peak():,} KiB", "≤ 64 MiB", watch.peak() <= 65_536)
            if not server.alive():
                raise Unexpected("the daemon is gone")
    return section


def storm():
    command = "storm --clients 15000 --source-addrs 127.0.0.2-127.0.0.9 --rate 2 --messages 60 --ack"
    section = Section("storm", f"All clients lose their connections at once and come back (`encke-loadtest {command}`).")
    with Server() as server:
        figures = load(server, command)
        back = figures["storm"]
        section.row("clients dropped at once", f"{back['dropped']:,}")
        section.row("back, to their own sessions", f"{back['returned']:,}", "all", back["returned"] == back["dropped"])
        section.row("the last one after", f"{back['seconds']:.1f} s", "≤ 30 s", back["seconds"] <= 30)
        faults = sum(figures["faults"].values())
        section.row("faults of clients", faults, "0", faults == 0)
        lost = [figures["delivery"][name] for name in ("lost", "duplicated", "out_of_order")]
        section.row("lost, duplicated, out of order", "{}, {}, {}".format(*lost), "0, 0, 0", not any(lost))
    return section


class Probe(threading.Thread):
    """A small channel of its own: one says something every 50 ms, the other hears it. When, and how late."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.over, self.late = server, threading.Event(), []
        self.failures = []
        self.start()

    def run(self):
        while not self.over.is_set():
            try:
                self.converse()
            except (OSError, KeyError, TypeError) as error:
                self.failures.append((time.monotonic(), repr(error)))
                time.sleep(0.2)

    def converse(self):
        with Wire(self.server.address) as down, Wire(self.server.address) as up:
            own = down.say([{"channel": "/meta/handshake", "supportedConnectionTypes": ["long-polling"]}])[0]["clientId"]
            down.say([{"channel": "/meta/subscribe", "clientId": own, "subscription": "/probe"}])
            down.say([{"channel": "/meta/connect", "clientId": own, "connectionType": "long-polling"}])
            while not self.over.is_set():
                down.send([{"channel": "/meta/connect", "clientId": own, "connectionType": "long-polling"}])
                start = time.monotonic()
                said = up.say([{"channel": "/probe", "clientId": own, "data": start}])
                if not said[0]["successful"]:
                    raise KeyError(said[0]["error"])
                down.receive()
                self.late.append((start, (time.monotonic() - start) * 1000))
                time.sleep(max(0, start + 0.05 - time.monotonic()))

    def p99(self, start, end):
        late = [ms for at, ms in self.late if start <= at < end]
        return statistics.quantiles(late, n=100)[98] if len(late) > 1 else float("inf")


def keeps_up(server, rate):
    figures = load(server, f"fanout --clients 1000 --rate {rate} --messages {rate * 6} --drain 5", check=False)
    delivery = figures["delivery"]
    return delivery["lost"] == 0 and delivery["seconds"] < 6.5 and ms(figures) < 500


def capacity():
    """Messages a second to 1,000 clients: the most that it keeps up with, to a quarter."""
    with Server() as server:
        rate = 60
        while not keeps_up(server, rate):
            rate = round(rate / 1.25)
            if rate < 5:
                raise Unexpected("the machine is too busy for 5 messages a second to 1,000 clients")
        # Twice, for a moment of something else on the machine is not its capacity.
        while any(keeps_up(server, round(rate * 1.25)) for _ in range(2)):
            rate = round(rate * 1.25)
    return rate


# What becomes of what cannot be delivered, by the daemon's options, and what says so: whole sessions end and their
# clients are told to shake hands again, the oldest events go and clients are told of the gap, or publishes are refused.
BEYOND = {
    "sessions end": ((), "overflows"),
    "oldest events go": (("--overflow", "drop-oldest"), "dropped"),
    "publishes are refused": (("--max-queue", "1000000", "--max-queue-size", "64MiB", "--max-queued-bytes", "64MiB"),
                              "queue-limit"),
}


def twice():
    rate = capacity() * 2
    command = f"fanout --clients 1000 --rate {rate} --messages {rate * 60} --drain 10"
    section = Section("twice", "Publishes, open loop, at twice the rate that it keeps up with, for a minute "
                               f"(`encke-loadtest {command}`), beside a channel of two clients.")
    section.row("capacity: messages to 1,000 clients each", f"{rate // 2:,} a second")
    for name, (options, told) in BEYOND.items():
        beyond(section, name, command, options, told)
    return section


def beyond(section, name, command, options, told):
    """One minute of too much; `told` is the count of what was explicitly not done."""
    said = " ".join(("encke", *options))
    with Server(*options) as server:
        probe = Probe(server)
        time.sleep(5)
        begin = time.monotonic()
        normal = probe.p99(0, begin)
        with Watch(server) as watch:
            before = server.rss()
            figures = load(server, command, check=False)
            end = time.monotonic()
        time.sleep(15)
        probe.over.set()
        probe.join()
        delivery, count = figures["delivery"], server.census()[told]
        after = probe.p99(end, end + 10)
        section.row(f"{name} (`{said}`): published", f"{delivery['published']:,} in {end - begin:.0f} s")
        section.row(f"{name}: said so", f"{count:,} times", "> 0", count > 0)
        section.row(f"{name}: delivered, of", f"{delivery['delivered']:,} of {delivery['expected']:,}")
        section.row(f"{name}: p99 of all under overload", f"{ms(figures):,.0f} ms")
        section.row(f"{name}: RSS", f"{before:,} → at most {watch.peak():,} KiB",
                    "≤ 256 MiB (`max-queued-bytes`) and 64 MiB", watch.peak() <= 320 * 1024)
        section.row(f"{name}: small channel: p99 before, under overload",
                    f"{normal:.1f}, {probe.p99(begin + 2, end - 12):.1f} ms")
        section.row(f"{name}: small channel: p99 in the 10 s after", f"{after:.1f} ms", "≤ 10 ms above that before",
                    after <= normal + 10)
        section.row(f"{name}: small channel: failures", len(probe.failures))


def fair():
    broadcast = "fanout --clients 10000 --channel /everyone --rate 4 --messages 100"
    chat = "rooms --clients 100 --rooms 20 --rooms-per-client 4 --rate 100 --messages 1500 --burst 1"
    section = Section("fair", f"Small channels (`encke-loadtest {chat}`) while everyone is told something four times a "
                              f"second (`encke-loadtest {broadcast}`).")
    with Server() as server:
        alone = load(server, chat)
        big = Load(server, broadcast)
        while server.census()["parked"] < 10_000:
            time.sleep(0.2)
        time.sleep(2)
        beside = load(server, chat)
        everyone = big.figures()
    section.row("small channels alone: p50, p99", f"{ms(alone, 'p50'):.1f}, {ms(alone):.1f} ms")
    section.row("beside the broadcast: p50, p99", f"{ms(beside, 'p50'):.1f}, {ms(beside):.1f} ms",
                f"p99 ≤ {ABOVE_IDLE_MS} ms above alone", ms(beside) <= ms(alone) + ABOVE_IDLE_MS)
    section.row("the broadcast to 10,000: p50, p99", f"{ms(everyone, 'p50'):.1f}, {ms(everyone):.1f} ms")
    return section
