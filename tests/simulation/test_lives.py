"""Some of the lives that `make soak PART=simulation` walks by the ten thousand."""

from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.lives import CALLS, OF_A_PROVIDER, OF_THE_API, live, main

LIVES = 100


@pytest.mark.slow
def test_lives_on_bad_days_leave_nothing(quick_disk: Path) -> None:
    told = main(LIVES, 4711, quick_disk)

    met = told["met"]
    assert isinstance(met, dict)
    assert told["broken"] == 0
    assert met["issued"] > LIVES
    assert met["starts"] > LIVES, "no process ended"
    assert met["errors met"] > LIVES


@pytest.mark.slow
async def test_a_life_is_the_same_each_time(quick_disk: Path) -> None:
    first, second = [await live(quick_disk, 4711) for _ in range(2)]

    assert first == second
    assert isinstance(first, Counter)


def test_every_call_of_the_simulated_world_that_may_fail_is_met_by_every_class_of_error() -> None:
    source = (Path(__file__).parent / "adapters.py").read_text()
    calls = {part.split('"')[0] for part in source.split('_life.call("')[1:]}

    never_raise = {"events.post", "pods.nudge", "evaluator.evaluate"}
    of_the_ledger = {"ledger.commit"}
    assert calls - never_raise - of_the_ledger <= set(CALLS) | {"standings.release_class"}
    assert {"401", "403", "404", "409", "410", "422", "429", "500", "503"} <= set(OF_THE_API)
    assert {"surprise", "unavailable", "refused"} <= set(OF_A_PROVIDER)
