"""Kill -9 at any point: nothing that was acknowledged is lost, and the log always verifies."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.ledger import objects

ROOT = Path(__file__).parents[3]
ROUNDS = 42


@pytest.mark.slow
def test_killed_writers_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    command = [sys.executable, "-m", "tests.unit.ledger.crashing", str(path), str(ROUNDS), "1"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = set(json.loads(done.stdout))

    ledger = objects.opened(path)
    durable = {record.task.uid for record in ledger.records()}
    ledger.close()

    assert len(told) > ROUNDS
    assert told <= durable
    assert durable - told, "no round was killed between a commit and its acknowledgement"
