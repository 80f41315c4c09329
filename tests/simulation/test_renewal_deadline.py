"""Renewals near a task's deadline: nothing is to outlast it, and nothing to go in circles."""

from datetime import timedelta

import pytest

from tests.simulation.builders import request
from tests.simulation.test_renewal import pass_by, running, working
from tests.simulation.world import SimulatedWorld


async def test_nothing_lives_longer_than_its_task_may(world: SimulatedWorld) -> None:
    await running(world, deadline=1000)
    deadline = world.now() + timedelta(seconds=1000)
    ends = []

    for _ in range(1000):
        await pass_by(world, 1)
        ends += [g.expires_at for g in world.held()]

    assert max(e for e in ends if e is not None) == deadline
    assert world.condition("Finished") == ("True", "Expired")
    assert working(world) == 0


@pytest.mark.parametrize("seconds", [60, 61, 75, 90, 300])
@pytest.mark.parametrize("deadline", [200, 290, 1000])
async def test_the_shortest_credentials_are_renewed_no_more_often_near_it(
    world: SimulatedWorld, seconds: int, deadline: int
) -> None:
    await running(world, request("tickets", seconds=seconds), deadline=deadline)
    end = world.now() + timedelta(seconds=deadline)
    ends, without = [], 0

    for _ in range(deadline - 1):
        await pass_by(world, 1)
        ends += [g.expires_at for g in world.held()]
        without += working(world) == 0

    issued = [call for call, _ in world.provider.calls if call == "issue"]
    assert len(issued) <= 2 + deadline / (seconds * (2 / 3 - 1 / 12))
    assert max(e for e in ends if e is not None) <= end
    assert without <= 10
    assert world.errors == []
