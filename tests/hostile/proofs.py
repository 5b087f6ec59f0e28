"""The proofs by name."""

import argparse
import sys
import time

import harness
import overload
import soak
import trouble

PROOFS = {
    "slow": (overload.slow, "5,000 slow heads, bodies and readers beside 1,000 clients that chat; 3 minutes; slowhttptest"),
    "storm": (overload.storm, "15,000 clients dropped at once; 1 minute"),
    "twice": (overload.twice, "publishes at twice the capacity for a minute, in three ways; 8 minutes"),
    "fair": (overload.fair, "small channels beside a broadcast to 10,000; 1 minute"),
    "files": (trouble.files, "no open files left, no buffers; 1 minute; prlimit, strace"),
    "stopped": (trouble.stopped, "the process is stopped for 20 s under load; 3 minutes"),
    "clock": (trouble.clock, "the clock of the machine is set a year on and back; 1 minute; libfaketime"),
    "log": (trouble.log, "a log that nobody reads, and a full disk under it; 1 minute"),
    "soak": (soak.soak, "all scenarios in rotation on one daemon; as long as --minutes; gdb"),
}


def main():
    names = "\n".join(f"  {name:<9}{what}" for name, (_, what) in PROOFS.items())
    parser = argparse.ArgumentParser(prog="tests/hostile/run.sh", formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description="Proofs on the real daemon; each writes its section of tests/README.md.",
                                     epilog=f"proofs:\n{names}\n\nThe exit code is 1 if a bound is missed.")
    parser.add_argument("names", nargs="*", metavar="PROOF", help="which; all without one")
    parser.add_argument("--minutes", type=float, default=12, help="how long the soak goes on [%(default)s]")
    parser.add_argument("--no-write", action="store_true", help="leave tests/README.md as it is")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in PROOFS]
    if unknown:
        parser.error(f"unknown proof {unknown[0]}: there are {', '.join(PROOFS)}")
    harness.raise_files()
    missed = 0
    for name in args.names or PROOFS:
        start = time.monotonic()
        try:
            section = soak.soak(args.minutes) if name == "soak" else PROOFS[name][0]()
        except harness.Unexpected as error:
            print(f"!! {name}: {error}", file=sys.stderr)
            missed += 1
            continue
        if not args.no_write:
            section.write()
        missed += section.missed()
        print(f"  {section.missed()} bounds missed, {time.monotonic() - start:.0f} s", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
