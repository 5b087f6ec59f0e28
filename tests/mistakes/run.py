#!/usr/bin/env python3
"""Makes the mistakes of table.txt, one after the other, and says whether the simulator finds them: in the worlds of so many
seeds, or else in the scenarios of its tests.

    tests/mistakes/run.py [WORDS]    only those whose description has these words

Works in a copy below `target`, on what is committed. Takes half a minute for each, and some minutes if only the tests find
it. Exit code 1 if one is not found.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPY = ROOT / "target" / "mistakes"
SEEDS = 10_000


def table():
    for block in (ROOT / "tests/mistakes/table.txt").read_text().split("\n= ")[1:]:
        lines = block.splitlines()
        parts = {line[:1]: line[2:] for line in lines[1:] if line[:2] in (": ", "- ", "+ ")}
        yield lines[0], parts[":"], parts["-"], parts["+"]


def cargo(*words):
    """What cargo says, and its exit code. Optimised a little, for there is a build for each mistake."""
    words = [words[0], "--config", "profile.release.package.encke.opt-level=1", *words[1:]]
    build = {"CARGO_INCREMENTAL": "1", "CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}
    target = os.environ.get("CARGO_TARGET_DIR", str(COPY / "target"))
    environment = {**os.environ, **build, "CARGO_TARGET_DIR": target}
    done = subprocess.run(["cargo", *words], cwd=COPY, env=environment, capture_output=True, timeout=1_800)
    said = (done.stdout + done.stderr).decode(errors="replace")
    if "could not compile" in said:
        sys.exit(f"it does not compile:\n{said}")
    return said, done.returncode


def worlds():
    """The first seed whose world breaks, and how; or nothing."""
    said, code = cargo("run", "--quiet", "--release", "--example", "simulate", "--", "--seeds", str(SEEDS))
    broken = re.findall(r"^seed (\d+: .{,100})", said, re.M)
    assert bool(broken) == (code != 0), said[-2_000:]
    return "seed " + broken[0] if broken else ""


def scenarios():
    """The names of the tests that fail."""
    said, code = cargo("test", "--lib", "--quiet", "sim::")
    failed = sorted(set(re.findall(r"^    (sim::\S+)$", said, re.M)))
    assert bool(failed) == (code != 0), said[-2_000:]
    return ", ".join(failed)


def main():
    COPY.mkdir(parents=True, exist_ok=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    # New times, so that nothing is left of a mistake that was built before.
    subprocess.run(["tar", "x", "--touch", "-C", str(COPY)], input=archive, check=True)
    wrong = worlds()
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
        found = worlds() or scenarios()
        path.write_text(good)
        missed += not found
        print(f"{'found' if found else 'MISSED':7} {description}  {found}", flush=True)
    sys.exit(min(missed, 1))


main()
