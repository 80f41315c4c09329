"""kill -9 between any two steps: after the next start nothing is left over, and nothing is lost.

A story's process dies at the first step, its successor at the second while it repairs, and so on:
what one death leaves, the others would have to hide. Every fail-point in the operator's code has
its turn; a test compares. (Each death alone, from each state, is simulated in tests/simulation.)
"""

import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from e2e.admission import ROOT, task
from e2e.operator_process import OperatorProcess
from e2e.stage import Stage, policy, request, until

BEGINNING = [
    "ledger.before-commit",
    "ledger.after-commit",
    "issue.before-intent",
    "issue.after-intent",
    "issue.after-provider",
    "issue.after-result",
    "deliver.before-secret",
    "deliver.after-secret",
    "lift.after-record",
]
END = [
    "revoke.before-intent",
    "revoke.after-intent",
    "revoke.after-provider",
    "withdraw.after-delete",
]
ELSEWHERE = {
    "upkeep.before-handover": "e2e/cases/keys/test_another_key.py",
    "upkeep.after-handover": "e2e/cases/keys/test_another_key.py",
    "upkeep.before-prune": "tests/unit/ledger/test_prune.py",
    "upkeep.after-prune": "tests/unit/ledger/test_prune.py",
    "postgresql.before-change": "e2e/cases/databases/test_crashes.py",
    "postgresql.after-change": "e2e/cases/databases/test_crashes.py",
}
"""What no task's life comes by, and where a process dies there."""
TWO = [request(), request("more", "notes")]


def test_every_fail_point_is_tried_here_or_where_it_belongs() -> None:
    source = (ROOT / "operator/taskpass").rglob("*.py")
    found = {n for f in source for n in re.findall(r'fail_point\("([^"]+)"\)', f.read_text())}

    assert found == {*BEGINNING, *END, *ELSEWHERE}
    assert [p for p, file in ELSEWHERE.items() if f'"{p}"' not in (ROOT / file).read_text()] == []


@dataclass
class Deaths:
    """An operator that dies at each of some steps, once."""

    operator: OperatorProcess
    folder: Path

    def arm(self, step: str) -> None:
        """Start one that dies at the step."""
        self.operator.start(ready=False, FAILPOINT=step, FAILPOINT_ONCE=str(self.folder / step))

    def die_at(self, steps: list[str]) -> None:
        """Wait for the death at each step, the first of which is armed; then start a last one."""
        for step, following in pairwise([*steps, ""]):
            code = self.operator.wait_end()
            reached = (self.folder / step).exists()
            assert (code, reached) == (-signal.SIGKILL, True), f"{step}\n{self.operator.tail()}"
            if following:
                self.arm(following)
        self.operator.start()


@pytest.fixture
def deaths(stage: Stage, tmp_path: Path) -> Deaths:
    """Return the way to kill, with no operator running."""
    stage.operator.stop()
    return Deaths(stage.operator, tmp_path)


def test_deaths_while_issuing_leave_what_the_task_holds_and_no_more(
    stage: Stage, name: str, deaths: Deaths
) -> None:
    deaths.arm(BEGINNING[0])

    stage.begin(name, credentials=TWO)
    deaths.die_at(BEGINNING)
    stage.wait_ready(name)

    until(lambda: not stage.gated(name))
    content = stage.secret(name) or {}
    assert stage.reads(content["tickets.token"]) == 200
    assert stage.reads(content["more.token"]) == 200
    stage.assert_holds(**{name.replace("-", "_"): 2})


@pytest.mark.parametrize("how", ["the pod ended", "the task was deleted"])
def test_deaths_while_revoking_leave_nothing(
    stage: Stage, name: str, how: str, deaths: Deaths
) -> None:
    deaths.arm(END[0])
    stage.begin_ready(name, credentials=TWO)
    stage.secret(name)

    if how == "the pod ended":
        stage.end(name)
    else:
        stage.alice.delete(task(name))
    deaths.die_at(END)

    if how == "the pod ended":
        stage.wait_finished(name, "Succeeded")
    else:
        stage.wait_gone(task(name))
    until(lambda: not stage.accounts())
    stage.assert_holds()


@pytest.mark.parametrize("away", ["pod ended", "task deleted", "policy deleted"])
def test_what_happened_while_the_operator_was_away_is_made_good(
    other: Stage, name: str, away: str
) -> None:
    other.begin_ready(name, credentials=[request("other", "other")])
    token = other.token(name, "other")
    other.operator.kill()

    match away:
        case "pod ended":
            other.end(name)
        case "task deleted":
            other.alice.delete(task(name))
        case _:
            other.api.delete(policy("other", "other"))
    assert other.reads(token) == 200
    other.operator.start()

    until(lambda: other.reads(token) != 200)
    until(lambda: not other.accounts() and not other.secrets())


def test_a_restart_keeps_what_is_held(stage: Stage, name: str) -> None:
    stage.begin_ready(name)
    token, before = stage.token(name), stage.task(name)["status"]["grants"]

    stage.operator.kill()
    stage.operator.start()

    assert stage.task(name)["status"]["grants"] == before
    assert stage.token(name) == token
    assert stage.reads(token) == 200


def test_the_log_holds_together_after_all_crashes(stage: Stage) -> None:
    command = [sys.executable, "-m", "taskpass", "audit", "verify", "--db"]
    done = subprocess.run(
        [*command, str(stage.operator.ledger)],
        capture_output=True,
        text=True,
        cwd=ROOT / "operator",
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("OK ")
