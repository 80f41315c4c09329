"""A witness of its own beside a real operator: what the cluster forgets, it has seen."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.admission import ROOT
from e2e.operator_process import OperatorProcess, free_port
from e2e.stage import Stage, condition, until
from taskpass.ledger.verify.log import verify_database

COMMAND = [sys.executable, "-m", "taskpass", "audit"]


def audit(*arguments: str) -> tuple[int, str]:
    """Run a command of `taskpass audit`."""
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, cwd=ROOT / "operator"
    )
    return done.returncode, done.stdout + done.stderr


@dataclass
class Witnessed:
    """An operator, and a witness that it asks."""

    operator: OperatorProcess
    policy: Path
    """What a reader demands: the log's key, and the witness's cosignature."""

    def restart(self) -> None:
        """Start the operator with the witness in its policy."""
        self.operator.start(
            ready=False, TASKPASS_WITNESS_POLICY=self.policy.read_text(),
        )  # fmt: skip


@pytest.fixture
def witnessed(stage: Stage, tmp_path: Path) -> Iterator[Witnessed]:
    """Return both, ready; the operator's log is known to the witness."""
    operator = stage.operator
    operator.stop()
    key = verify_database(operator.ledger).keys[0].vkey
    port = free_port()
    serve = [
        *COMMAND, "witness", "serve", "--name", "witness.example.org/w1", "--port", str(port),
        "--key-file", str(tmp_path / "w1.seed"), "--state", str(tmp_path / "w1"), "--log", key,
    ]  # fmt: skip
    process = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, cwd=ROOT / "operator")
    assert process.stdout is not None
    try:
        vkey = process.stdout.readline().split()[-1]
        policy = tmp_path / "trust.policy"
        policy.write_text(f"log {key}\nwitness w1 {vkey} http://127.0.0.1:{port}\nquorum w1\n")
        made = Witnessed(operator, policy)
        made.restart()
        operator.wait_ready()
        yield made
    finally:
        operator.stop()
        process.terminate()
        process.wait(10)
        process.stdout.close()


def told(stage: Stage, name: str) -> str:
    """Return why a task's credentials are not issued."""
    said = stage.wait_condition(name, "CredentialsIssued", "False")
    message: str = condition(said, "CredentialsIssued")["message"]
    return message


def status(stage: Stage) -> dict[str, object]:
    """Return the AuditAnchor's status."""
    found: dict[str, object] = stage.api.get("AuditAnchor", "", "taskpass").get("status", {})
    return found


def test_the_witness_raises_the_level_and_a_reader_can_demand_its_cosignature(
    stage: Stage, witnessed: Witnessed
) -> None:
    until(lambda: status(stage).get("level") == 2, seconds=90)

    code, said = audit(
        "verify", "--db", str(witnessed.operator.ledger), "--policy", str(witnessed.policy),
        "--max-age", "600",
    )  # fmt: skip

    assert code == 0, said
    assert "level 2: a second party remembers it" in said
    assert witnessed.operator.metric("taskpass_witness_cosigned_entries") > 0
    assert witnessed.operator.metric("taskpass_witness_failures_total") == 0


def test_a_rollback_that_the_cluster_was_made_to_forget_is_proven_by_the_witness(
    stage: Stage, witnessed: Witnessed, name: str, tmp_path: Path
) -> None:
    """Who owns the disk and may delete the AuditAnchor gets past level 1, and not past level 2."""
    operator = witnessed.operator
    operator.stop()
    older = tmp_path / "older.db"
    shutil.copy(operator.ledger, older)
    witnessed.restart()
    operator.wait_ready()
    stage.begin_ready(name)
    stage.end(name)
    stage.wait_finished(name, "Succeeded")
    operator.stop()
    witnessed.restart()  # its first round has the log cosigned as it is now
    operator.wait_ready()
    until(lambda: operator.metric("taskpass_witness_cosigned_entries") > 0)
    operator.stop()
    for each in operator.directory.glob("ledger.db*"):
        each.unlink()
    shutil.copy(older, operator.ledger)
    operator.forget_log()

    witnessed.restart()

    until(lambda: "Witness 'w1' has a checkpoint" in operator.http("/readyz")[1])
    stage.begin(f"{name}-new")
    until(lambda: "an older copy is in its place" in told(stage, f"{name}-new"))
    assert audit("verify", "--db", str(operator.ledger))[0] == 0  # the log alone cannot show it
    operator.stop()
    operator.start()  # a person took the witness out of the policy
    stage.wait_ready(f"{name}-new")
