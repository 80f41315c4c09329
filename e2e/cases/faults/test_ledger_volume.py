"""The ledger's volume is full, read-only, or replaced by an older copy.

Nothing is issued then; what is held is revoked when its reason goes, and recorded late. (A slow
volume: tests/simulation/test_ledger_fails.py.)
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.admission import ROOT
from e2e.cases.faults.conftest import operator_at
from e2e.cases.faults.proxy import Proxy
from e2e.cases.faults.volume import Volume, mounted
from e2e.operator_process import OperatorProcess
from e2e.stage import Stage, until


def audit(operator: OperatorProcess, *arguments: str) -> tuple[int, str]:
    """Run a command of `taskpass audit` on an operator's ledger."""
    command = [sys.executable, "-m", "taskpass", "audit", *arguments, "--db", str(operator.ledger)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "operator")
    # What it says of the proof is not for programs, and beside.
    return done.returncode, done.stdout + ("" if "--json" in arguments else done.stderr)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    with mounted(tmp_path / "volume") as made:
        yield made


@pytest.fixture
def small(
    stage: Stage, name: str, kubeconfig: str, tmp_path: Path, proxy: Proxy, volume: Volume
) -> Iterator[Stage]:
    """Return the stage with an operator whose ledger is on the small volume; the other rests.

    It ends before what is left of `name` is cleared away, which is then the other's.
    """
    stage.operator.stop()
    process = operator_at(kubeconfig, tmp_path / "files", proxy)
    process.environment["TASKPASS_LEDGER_PATH"] = str(volume.path / "ledger.db")
    process.start()
    yield Stage(stage.api, process, stage.tokens)
    process.stop()


def verify(volume: Volume) -> tuple[int, str]:
    command = [sys.executable, "-m", "taskpass", "audit", "verify", "--db"]
    done = subprocess.run(
        [*command, str(volume.path / "ledger.db")],
        capture_output=True, text=True, cwd=ROOT / "operator",
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def revoking_only(operator: OperatorProcess) -> str:
    """Return what `/readyz` says once the operator only revokes."""

    def said() -> str:
        status, text = operator.http("/readyz")
        return text if status == 503 and "revoking only" in text and "caches: ok" in text else ""

    return until(said, said=operator.tail)


def test_a_volume_that_fills_up_ends_the_operator_and_the_next_revokes_only(
    small: Stage, volume: Volume, name: str
) -> None:
    small.begin_ready(name)
    token = small.token(name)
    volume.fill()

    blocked = f"{name}-blocked"
    small.begin(blocked)
    code, last = small.operator.wait_end(), small.operator.tail().splitlines()[-1]
    held_meanwhile = small.reads(token)
    small.operator.start(ready=False)
    said = revoking_only(small.operator)
    waiting = small.wait_condition(
        blocked, "Attested", "Unknown", "Pending", saying="Nothing is issued: The ledger"
    )
    small.end(name)
    until(lambda: small.reads(token) != 200)
    until(lambda: small.secret(name) is None)
    small.wait_condition(name, "Ready", "False", "Pending", saying="Nothing is issued: The ledger")

    assert code == 3
    assert last.startswith("taskpass: The ledger could not make an entry durable (")
    assert held_meanwhile == 200
    assert "database or disk is full" in said
    assert small.accounts() == set()
    assert small.gated(blocked)
    assert "used up" not in str(waiting["conditions"])
    assert "Held back" not in str(waiting["conditions"])

    volume.free()
    code, last = small.operator.wait_end(), small.operator.tail().splitlines()[-1]
    small.operator.start()
    small.wait_finished(name, "Succeeded")
    small.wait_ready(blocked)

    assert code == 3
    assert last.startswith("taskpass: The ledger can be written again: 2 entries were recorded")
    assert verify(volume)[0] == 0
    small.clear(name)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_on_a_read_only_volume_what_is_held_is_revoked(
    small: Stage, volume: Volume, name: str, how: str
) -> None:
    small.begin_ready(name)
    token = small.token(name)
    if how == "killed":
        small.operator.kill()
    else:
        small.operator.stop()
    volume.remount("ro")

    small.operator.start(ready=False)
    said = revoking_only(small.operator)
    kept = small.reads(token)
    small.end(name)
    until(lambda: small.reads(token) != 200)
    small.operator.kill()  # before anything of it is recorded
    volume.remount("rw")
    small.operator.start()
    small.wait_finished(name, "Succeeded")

    assert "readonly database" in said or "Read-only file system" in said
    assert kept == 200
    assert verify(volume)[0] == 0
    small.assert_holds(**{name.replace("-", "_"): 0})
    small.clear(name)


def test_a_new_installation_on_a_full_volume_ends_in_one_clear_line(
    stage: Stage, kubeconfig: str, tmp_path: Path, proxy: Proxy, volume: Volume
) -> None:
    stage.operator.stop()
    volume.fill()
    process = operator_at(kubeconfig, tmp_path / "files", proxy)
    process.environment["TASKPASS_LEDGER_PATH"] = str(volume.path / "ledger.db")

    process.start(ready=False)

    assert process.wait_end() == 3
    assert (
        process.tail()
        .splitlines()[-1]
        .startswith(f"taskpass: The ledger {volume.path}/ledger.db cannot be written (")
    )
    assert "Traceback" not in process.tail()


def test_an_older_copy_is_noticed_nothing_is_issued_and_what_it_does_not_know_is_undone(
    stage: Stage, name: str, tmp_path: Path
) -> None:
    operator = stage.operator
    kept, later = f"{name}-kept", f"{name}-later"
    stage.begin_ready(kept)
    operator.stop()
    older = tmp_path / "older.db"
    shutil.copy(operator.ledger, older)
    checkpoint = tmp_path / "export"
    operator.start()
    stage.begin_ready(later)
    token, held = stage.token(later), stage.token(kept)
    operator.stop()
    assert audit(operator, "export", str(checkpoint))[0] == 0
    for each in operator.directory.glob("ledger.db*"):
        each.unlink()
    shutil.copy(older, operator.ledger)

    operator.start(ready=False)

    until(lambda: anchor_of(stage)[:2] == ("False", "AuditRollback"))
    assert "an older copy is in its place" in anchor_of(stage)[2]
    until(lambda: stage.reads(token) != 200)
    assert stage.reads(held) == 200
    assert stage.secret(kept) is not None
    stage.begin(f"{name}-new")
    stage.wait_condition(
        f"{name}-new",
        "CredentialsIssued",
        "False",
        "Pending",
        saying="an older copy is in its place",
    )
    assert "anchor: The log has" in operator.http("/readyz")[1]
    stage.end(kept)
    until(lambda: stage.reads(held) != 200)
    without = audit(operator, "verify")
    against = audit(operator, "verify", "--against", str(checkpoint / "checkpoint"))
    assert without[0] == 0  # the log alone cannot show it
    assert "rollback and fork NOT excluded" in without[1]
    assert against[0] == 1
    said = audit(operator, "anchor", "--kubeconfig", operator.kubeconfig)
    # What was revoked since is written, so the older copy may have outgrown what is remembered.
    assert (said[0], said[1].split(":")[0] in ("AuditRollback", "AuditFork")) == (1, True)
    remembered = stage.api.get("AuditAnchor", "", "taskpass")["status"]["size"]
    person(operator, "re-origin", "--reason", "volume restored on purpose", "--yes")
    operator.wait_ready()
    stage.wait_ready(f"{name}-new")
    assert anchor_of(stage)[:2] == ("True", "FirstMemory")
    told = json.loads(audit(operator, "search", "--type", "log.re_origin", "--json")[1])
    assert told["data"]["reason"] == "volume restored on purpose"
    assert told["data"]["forgot"]["size"] == remembered
    level = audit(operator, "verify", "--anchor", "--kubeconfig", operator.kubeconfig)
    assert (level[0], "level 1: the cluster remembers it" in level[1]) == (0, True)


def person(operator: OperatorProcess, *arguments: str) -> None:
    """Run a command of `taskpass audit` with an administrator's rights."""
    command = [sys.executable, "-m", "taskpass", "audit", *arguments]
    environment = {**os.environ, "KUBECONFIG": operator.kubeconfig}
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT / "operator", env=environment)


def anchor_of(stage: Stage) -> tuple[str, str, str]:
    """Return status, reason and message of the AuditAnchor's condition Ready."""
    status = stage.api.get("AuditAnchor", "", "taskpass").get("status", {})
    for each in status.get("conditions", ()):
        return each["status"], each["reason"], each["message"]
    return "", "", ""
