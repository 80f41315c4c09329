"""Mutate what decides: `python -m hack.mutants [--minutes 30] [--only NAMES] [--children 2]`.

mutmut makes one expression of `core/policy` or of the attestation wrong at a time, and runs the
tests that reach it. A mutant that no test notices survives. It wants a test, or a place on the list
`explained.txt`, with a sentence that says why it decides nothing otherwise.

Prints each survivor that is not on the list as the list would have it, each explanation that no
survivor needs, and one line of JSON at the end. Ends with 1 where there is any such, or a mutant
that was not tried, or one of which it cannot be said what became of it.
"""

import argparse
import fnmatch
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from hack.mutants.changes import change_of, line_of, place_of
from hack.mutants.verdict import ENDS, explained_in, judge
from hack.mutants.workplace import ROOT, Workplace

EXPLAINED = Path(__file__).parent / "explained.txt"


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hack.mutants", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--only", default="", help="names as mutmut has them, with *")
    parser.add_argument("--children", type=int, default=os.cpu_count() or 1)
    known = parser.parse_args(arguments)
    explained = explained_in(EXPLAINED.read_text())
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="taskpass-mutants-") as directory:
        place = Workplace(Path(directory))
        if failed := place.run(known.only, known.children, 60 * known.minutes):
            print(failed)
            return 1
        fates = {n: f for n, f in place.fates().items() if fnmatch.fnmatch(n, known.only or "*")}
        diffs = {n: place.diff_of(n) for n, f in fates.items() if ENDS.get(f) == "survived"}
    survivors = {name: change_of(name, diff) for name, diff in diffs.items()}
    tried = {place_of(name) for name in fates}
    asked = [c for c in explained if not known.only or (c.file, c.function) in tried]
    verdict = judge(fates, survivors, asked)
    for name, change in verdict.unexplained:
        print(f"survived, at line {line_of(change, diffs[name], ROOT)} ({name}):\n{change}\n")
    for change in verdict.stale:
        print(f"explained, and no such mutant survived:\n{change}\n")
    for name, fate in fates.items():
        if fate not in ENDS:
            print(f"{fate}: {name}\n")
    print(json.dumps({**verdict.counts, "seconds": round(time.monotonic() - began)}))
    return 0 if verdict.passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
