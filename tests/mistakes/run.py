#!/usr/bin/env python3
"""Makes the mistakes of table.txt, one after the other, and says whether the simulator finds them.

    tests/mistakes/run.py [WORDS]    only those whose description has these words

Works in a copy below `target`, on what is committed. Takes half a minute for each. Exit code 1 if one is not found.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPY = ROOT / "target" / "mistakes"


def table():
    for block in (ROOT / "tests/mistakes/table.txt").read_text().split("\n= ")[1:]:
        lines = block.splitlines()
        parts = {line[:1]: line[2:] for line in lines[1:] if line[:2] in (": ", "- ", "+ ")}
        yield lines[0], parts[":"], parts["-"], parts["+"]


def simulate():
    """The simulator's verdict: the name of a test that failed, or nothing."""
    command = ["cargo", "test", "--lib", "--quiet", "sim::"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(COPY / "target"), "RUSTFLAGS": "-Awarnings"}
    done = subprocess.run(command, cwd=COPY, env=environment, capture_output=True, text=True, timeout=900)
    said = done.stdout + done.stderr
    if "could not compile" in said:
        sys.exit(f"it does not compile:\n{said}")
    failed = sorted(set(re.findall(r"^    (sim::\S+)$", said, re.M)))
    assert bool(failed) == (done.returncode != 0), said
    return ", ".join(failed)


def main():
    COPY.mkdir(parents=True, exist_ok=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    # New times, so that nothing is left of a mistake that was built before.
    subprocess.run(["tar", "x", "--touch", "-C", str(COPY)], input=archive, check=True)
    wrong = simulate()
    if wrong:
        sys.exit(f"without a mistake: {wrong}")
    missed = 0
    for description, file, line, instead in table():
        if not all(word in description for word in sys.argv[1:]):
            continue
        path = COPY / file
        good = path.read_text()
        assert good.count(line) == 1, f"{file} has not exactly one: {line}"
        path.write_text(good.replace(line, instead))
        found = simulate()
        path.write_text(good)
        missed += not found
        print(f"{'found' if found else 'MISSED':7} {description}  {found}", flush=True)
    sys.exit(min(missed, 1))


main()
