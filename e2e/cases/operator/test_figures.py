"""What a task costs the API server, and what rest costs: counted, so that a change is seen."""

import os
import threading
import time
from pathlib import Path

from e2e.stage import Stage, until

TASKS = 10
BACKGROUND = ("list ", "watch ", "get configmaps", "get namespaces")
"""What the operator does whether there are tasks or not (limits are checked once an hour here)."""


def test_the_calls_of_a_tasks_whole_life_are_as_many_as_recorded(stage: Stage, name: str) -> None:
    stage.operator.stop()
    stage.operator.start(TASKPASS_SWEEP_SECONDS="3600")
    before = stage.operator.api_calls()

    for number in range(TASKS):
        each = f"{name}-{number}"
        stage.begin_ready(each)
        stage.end(each)
        stage.wait_finished(each, "Succeeded")
        stage.wait_event(each, "TaskFinished")
        stage.clear(each)

    after = stage.operator.api_calls()
    made = {k: n for k, n in (after - before).items() if not k.startswith(BACKGROUND)}
    per_task = {k: n / TASKS for k, n in sorted(made.items())}
    total = sum(per_task.values())
    figures = "\n".join(f"{n:5.1f}  {call}" for call, n in per_task.items())
    print(f"\nCalls per task, Events included: {total:.1f}\n{figures}")
    assert total <= MOST, figures
    stage.operator.stop()


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
MOST = 24
"""Today's count and a little; lower it with the count, and say why before you raise it."""
