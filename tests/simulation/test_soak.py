"""200 real kills (SIGKILL) of an operator on its ledger; `make soak` makes a thousand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.soak_worker import POINTS
from tests.simulation.test_crashes import fail_points

ROOT = Path(__file__).parents[2]
KILLS = 200


@pytest.mark.slow
def test_a_worker_that_is_killed_200_times_leaves_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.soak", str(KILLS), "4711"],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)

    assert told["kills"] == KILLS
    assert len(told["by_place"]) > 20
    assert told["issued"] > 100
    assert told["left"] == 0


def test_every_fail_point_has_its_turn() -> None:
    assert set(POINTS) == fail_points()
