"""Mutate the admission policies: `python -m e2e.mutations [--minutes 30] [--only NAME] [--table]`.

A control plane of its own, with the chart and no operator. First the table is asked as the policies
are: every row must answer as it says. Then one mutant after the other takes its policy's place, and
the rows that the policy may have a say in are asked again: a mutant of which no row notices
anything survives. A canary policy that is written after each mutant says when the API server has
taken both in. Prints each survivor as it is found, and one line of JSON at the end; ends with 1
where a row of the table was answered otherwise, where a survivor is not explained in explained.py,
or where what is explained there is not so.
"""

import argparse
import json
import sys
import time
from collections import Counter

from e2e.admission import prepare
from e2e.cluster import ensure, places, remove, tools
from e2e.impersonate import Api
from e2e.mutations.canary import Canary
from e2e.mutations.explained import explained, stale
from e2e.mutations.mutants import Mutant
from e2e.mutations.stage import set_stage
from e2e.mutations.trial import Trial

FATES = ("refused by the API server", "killed", "survived", "not tried")


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e.mutations", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--only", default="", help="part of a policy's name")
    parser.add_argument("--table", action="store_true", help="ask the table, and mutate nothing")
    known = parser.parse_args(arguments)
    name = f"{places.default_name()}-mutations"
    plane = ensure(name, node=False)
    try:
        admin = Api.from_kubeconfig(str(plane.kubeconfig))
        prepare(admin, str(tools.helm()), str(plane.kubeconfig))
        stage = set_stage(admin, plane.kubeconfig.parent / "forger")
        trial = Trial(stage, Canary(admin))
        return _run(trial, known)
    finally:
        remove(name)


def _run(trial: Trial, known: argparse.Namespace) -> int:
    began = time.monotonic()
    wrong = trial.ask_table()
    for row, answer in wrong:
        print(
            json.dumps({"row": row.label, "wants": row.answer or "yes", "got": answer}), flush=True
        )
    if known.table or wrong:
        print(json.dumps({"rows": len(trial.rows), "wrong": len(wrong)}))
        return 1 if wrong else 0
    mutants = [m for m in trial.mutants() if known.only in m.policy]
    fates: dict[Mutant, str] = {}
    for batch in trial.batches(mutants):
        if time.monotonic() - began > 60 * known.minutes:
            fates |= dict.fromkeys(batch, "not tried")
            continue
        for mutant, fate in trial.try_out(batch):
            fates[mutant] = fate
            if fate == "survived" and not explained(mutant):
                print(json.dumps({"survived": mutant.policy, "change": mutant.change}), flush=True)
    trial.restore()
    return _tell(trial, fates, round(time.monotonic() - began))


def _tell(trial: Trial, fates: dict[Mutant, str], seconds: int) -> int:
    moved = trial.changed_since()
    for row, answer in moved:
        print(json.dumps({"row": row.label, "is answered at the end": answer}))
    left = stale(fates)
    for each in left:
        print(json.dumps({"explained, and not so": each}))
    survived = [mutant for mutant, fate in fates.items() if fate == "survived"]
    unexplained = sum(not explained(mutant) for mutant in survived)
    counts = Counter(fates.values())
    print(json.dumps({
        "rows": len(trial.rows), "mutants": len(fates), **{fate: counts[fate] for fate in FATES},
        "explained": len(survived) - unexplained, "unexplained": unexplained, "stale": len(left),
        "seconds": seconds,
    }))  # fmt: skip
    return 1 if moved or left or unexplained else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
