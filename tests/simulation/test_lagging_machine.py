"""Bad days drawn by hypothesis, which shrinks what breaks to the fewest steps.

The same as `lives.py` walks at random: caches that lag, calls that fail in every way, processes
that end, tasks side by side.
"""

import asyncio
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from tests.simulation.builders import NAMESPACE
from tests.simulation.invariants import assert_nothing_left
from tests.simulation.lagging import LaggingWorld
from tests.simulation.lives import BadDays
from tests.simulation.test_random_walk import NAMES

SEQUENCES = int(os.environ.get("TASKPASS_SEQUENCES", "30"))
"""`make soak PART=machine` asks for 10,000."""
STEPS = 10


class BadLife(RuleBasedStateMachine):
    """Three tasks, and an operator that sees them late."""

    @initialize(drawn=st.randoms(use_true_random=False))
    def begin(self, drawn: Any) -> None:
        """Start an operator, with a task and a pod of every name."""
        memory = Path("/dev/shm")
        self.directory = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.runner = asyncio.Runner()
        path = Path(self.directory.name) / "ledger.db"
        self.world = self.runner.run(_made(path, drawn))
        self.walk = BadDays(self.world, drawn)
        self.walk.begin()

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        """Have one thing happen, caches see some of it, and tasks be looked at side by side."""
        names = sorted({happening.__name__ for happening in self.walk.happenings})
        getattr(self.walk, data.draw(st.sampled_from(names)))()
        self.runner.run(self.walk.look())

    @rule()
    def caches_see_more(self) -> None:
        """Let watches tell what they have to tell."""
        self.walk.caches.advance(self.walk.random)

    @rule()
    def everything_recovers(self) -> None:
        """Let everything answer and be seen, and come to rest."""
        self.runner.run(self.walk.rest())

    def teardown(self) -> None:
        """Bring everything to its end."""
        if not hasattr(self, "walk"):
            return
        try:
            self.walk.heal()
            for name in NAMES:
                self.world.cluster.delete_task((NAMESPACE, name))
            self.runner.run(self.world.settle())
            assert_nothing_left(self.world)
        finally:
            self.world.close()
            self.runner.close()
            self.directory.cleanup()


async def _made(path: Path, drawn: Any) -> LaggingWorld:
    return LaggingWorld(path, drawn, timedelta(seconds=90))


@pytest.mark.slow
def test_any_sequence_of_bad_days_stays_safe_and_comes_to_its_end() -> None:
    chosen = settings(
        max_examples=SEQUENCES, stateful_step_count=STEPS, deadline=None,
        derandomize=SEQUENCES <= 100, suppress_health_check=list(HealthCheck), print_blob=True,
    )  # fmt: skip

    run_state_machine_as_test(BadLife, settings=chosen)  # type: ignore[no-untyped-call]
