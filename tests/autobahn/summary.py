"""Prints the results of a run as a table, and each case that is not OK. Fails if one failed. Python 2.7 or 3."""

from __future__ import print_function

import json
import sys

NAMES = {
    "1": "framing", "2": "pings and pongs", "3": "reserved bits", "4": "opcodes", "5": "fragmentation",
    "6": "UTF-8", "7": "close handshake", "9": "limits and performance", "10": "auto-fragmentation",
    "12": "compression, kinds of payload", "13": "compression, parameters",
}
COLUMNS = ["OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED", "FAILED"]


def column(verdict):
    return verdict if verdict in COLUMNS else "FAILED"


def main():
    with open(sys.argv[1]) as report:
        (cases,) = json.load(report).values()
    order = sorted(cases, key=lambda case: [int(part) for part in case.split(".")])
    groups, others = {}, []
    for case in order:
        verdict, closing = cases[case]["behavior"], cases[case]["behaviorClose"]
        counts = groups.setdefault(case.split(".")[0], dict.fromkeys(COLUMNS, 0))
        worst = max(column(verdict), column(closing), key=COLUMNS.index) if verdict == "OK" else column(verdict)
        counts[worst] += 1
        if verdict != "OK" or closing != "OK":
            others.append("%s: %s, close %s" % (case, verdict, closing))
    print("| group | about | cases | " + " | ".join(COLUMNS) + " |")
    print("|---|---|---|" + "---|" * len(COLUMNS))
    for group in sorted(groups, key=int):
        counts = [groups[group][name] for name in COLUMNS]
        print("| %s | %s | %d | %s |" % (group, NAMES[group], sum(counts), " | ".join(map(str, counts))))
    totals = [sum(groups[group][name] for group in groups) for name in COLUMNS]
    print("| all | | %d | %s |" % (sum(totals), " | ".join(map(str, totals))))
    print("\n".join([""] + others))
    sys.exit(1 if totals[-1] else 0)


main()
