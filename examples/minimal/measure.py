#!/usr/bin/env python3
"""Builds the minimal binary, with each feature of encke and without, and prints how large, how hungry and how fast it is.

    python3 examples/minimal/measure.py

Needs cargo and Python 3.9. It takes minutes: each line is a whole build. The tables are those of README.md.
"""

import json
import os
import platform
import statistics
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# What it may be at most: bytes if linked to the system's libc, KiB in memory once it listens.
MOST_BYTES, MOST_RSS = 700 * 1024, 2560
RSS_RUNS, START_RUNS = 5, 20
# Of encke, in the order of Cargo.toml; `sim` is no part of what the crate offers.
NOT_OFFERED = {"default", "sim"}


def said(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def build(package, *options, target=None, flags=None):
    """Builds in the minimal profile; the path of the program."""
    environment = dict(os.environ, **({"RUSTFLAGS": flags} if flags else {}))
    command = ["cargo", "build", "--quiet", "--locked", "--profile", "minimal", "--package", package, "--bins", *options]
    command += ["--target", target] if target else []
    subprocess.run(command, cwd=ROOT, check=True, env=environment)
    return os.path.join(TARGET_DIR, target or "", "minimal", package)


def run(program):
    """Starts it; how long it took until it said where it listens, ms, and what it holds of memory by then, KiB."""
    began = time.perf_counter()
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False) as process:
        line = process.stdout.readline()
        took = (time.perf_counter() - began) * 1e3
        if not line.startswith(b"URL="):
            raise SystemExit(f"{program} did not start")
        # The loop goes to sleep.
        time.sleep(0.1)
        with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
            rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    return took, rss


def crates(*options):
    """What is linked, by `cargo tree`: all crates, and those that encke names itself."""
    command = ["cargo", "tree", "--locked", "--package", "encke", "--no-default-features", "--edges", "normal"]
    command += ["--prefix", "depth", "--no-dedupe", "--format", " {p}", *options]
    lines = [line.split(" ")[:3] for line in said(*command).splitlines()]
    return {(name, version) for _, name, version in lines}, {(name, version) for depth, name, version in lines if depth == "1"}


def binaries():
    print("\n| linked | bytes | RSS, KiB | until it listens, ms |\n|---|--:|--:|--:|")
    host = said("rustc", "-vV").split("host: ")[1].split()[0]
    static = "-C target-feature=+crt-static"
    kinds = [("dynamically, glibc", None, None), ("statically, glibc", host, static)]
    musl = host.replace("-gnu", "-musl")
    if os.path.isdir(said("rustc", "--print", "target-libdir", "--target", musl).strip()):
        kinds.append(("statically, musl", musl, static))
    missed = []
    for kind, target, flags in kinds:
        program = build("encke-minimal", target=target, flags=flags)
        runs = [run(program) for _ in range(START_RUNS)]
        size, start = os.path.getsize(program), statistics.median(took for took, _ in runs)
        rss = statistics.median(rss for _, rss in runs[:RSS_RUNS])
        print(f"| {kind} | {size:,} | {rss:,} | {start:.1f} |")
        if kind == kinds[0][0]:
            missed = [f"{size:,} bytes, {MOST_BYTES:,} allowed"] * (size > MOST_BYTES)
            missed += [f"{rss:,} KiB, {MOST_RSS:,} allowed"] * (rss > MOST_RSS)
    return missed


def features():
    """What each adds: `daemon` to the minimal binary, the others to a daemon, for that can use all of them."""
    print("\n| feature | crates added | of these named by encke | bytes added |\n|---|--:|--:|--:|")
    packages = json.loads(said("cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"))["packages"]
    names = next(package["features"] for package in packages if package["name"] == "encke")
    bare = os.path.getsize(build("encke-minimal"))
    without = ("--no-default-features", "--features")
    daemon = os.path.getsize(build("encke", *without, "daemon"))
    total, named = crates()
    for feature in sorted(set(names) - NOT_OFFERED):
        more, more_named = crates("--features", feature)
        added = daemon - bare
        if feature != "daemon":
            added = os.path.getsize(build("encke", *without, f"daemon,{feature}")) - daemon
        print(f"| `{feature}` | {len(more - total)} | {len(more_named - named)} | {added:,} |")
    print(f"\nWithout any: {len(total) - 1} crates, {len(named)} of them named by encke. The daemon with all that is default:")
    print(f"{os.path.getsize(build('encke')):,} bytes in this profile.")


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    libc = " ".join(platform.libc_ver())
    print(f"{cpu}, Linux {platform.release()}, {libc}, {said('rustc', '--version').strip()}")


TARGET_DIR = json.loads(said("cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"))["target_directory"]
machine()
over = binaries()
features()
if over:
    raise SystemExit("\nOver the bound: " + "; ".join(over))
