"""What a task costs the API server, and what rest costs: counted, so that a change is seen."""

import os
import threading
import time
from pathlib import Path

from bench.budget import BUDGET
from e2e.stage import Stage, until

TASKS = 10
BACKGROUND = ("list ", "watch ", "get configmaps", "get namespaces", "get leases", "update leases")
"""What the operator does whether there are tasks or not (limits are checked once an hour here)."""


def test_a_tasks_whole_life_costs_what_the_budget_says(stage: Stage, name: str) -> None:
    """Each call is counted; whoever needs more, or less, changes bench/budget.json with it."""
    stage.operator.stop()
    stage.operator.start(TASKPASS_SWEEP_SECONDS="3600")
    calls, own = stage.operator.api_calls(), own_work(stage)

    for number in range(TASKS):
        each = f"{name}-{number}"
        stage.begin_ready(each)
        stage.end(each)
        stage.wait_finished(each, "Succeeded")
        stage.wait_event(each, "TaskFinished")
        stage.clear(each)
        due = own["transactions"] + (number + 1) * BUDGET["transactions"]
        # That it is forgotten would share a transaction with the next one's beginning.
        until(lambda due=due: own_work(stage)["transactions"] >= due, said=lambda: own_work(stage))

    made = stage.operator.api_calls() - calls
    used = {figure: (n - own[figure]) / TASKS for figure, n in own_work(stage).items()}
    counted = {k: n / TASKS for k, n in sorted(made.items()) if not k.startswith(BACKGROUND)}
    figures = "\n".join(f"{n:5.1f}  {what}" for what, n in {**counted, **used}.items())
    print(f"\nFor one task, Events included: {sum(counted.values()):.1f} calls\n{figures}")
    alone = {k: n - min(n, BUDGET["shared"].get(k, 0)) for k, n in counted.items()}
    exact = {k: round(n) for k, n in counted.items() if k not in BUDGET["shared"] and round(n)}
    assert exact == {k: n for k, n in BUDGET["calls"].items() if k not in BUDGET["shared"]}, figures
    for call in BUDGET["shared"]:
        assert round(alone[call]) <= BUDGET["calls"].get(call, 0) <= round(counted[call]), figures
    assert round(used["transactions"]) == BUDGET["transactions"], figures
    assert used["reconciles"] <= BUDGET["reconciles"], figures
    stage.operator.stop()


def own_work(stage: Stage) -> dict[str, float]:
    """Return what the operator has done beside calls since its start."""
    return {
        "transactions": stage.operator.metric("taskpass_ledger_append_seconds_count"),
        "reconciles": stage.operator.metric("taskpass_reconciles_total"),
    }


def test_an_operator_with_nothing_to_do_does_nothing(stage: Stage, name: str) -> None:
    """A loop without a pause is seen by nothing else: all goes on, and everybody waits longer."""
    stage.begin_ready(name)
    stage.end(name)
    stage.wait_finished(name, "Succeeded")
    stage.clear(name)
    until(lambda: stage.operator.metric("taskpass_queue_length") == 0)
    # Two sweeps come within this time: what repeats has been repeated.
    before, began = cpu_seconds(stage.operator.pid), time.monotonic()
    threading.Event().wait(4)

    used = cpu_seconds(stage.operator.pid) - before

    cores = used / (time.monotonic() - began)
    print(f"At rest: {cores:.3f} cores")
    assert cores < MOST_AT_REST


def cpu_seconds(pid: int) -> float:
    """Return how much of a processor a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


MOST_AT_REST = 0.25
"""Cores; some 0.05 are usual, with a sweep every two seconds."""
