"""A workload that comes to its end before its task has had a pod: no event of ours tells of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.simulation.builders import NAMESPACE, T0, job, pod, request, task
from tests.simulation.world import SimulatedWorld

AFTER = replace(job(), created_at=T0 + timedelta(seconds=1))
BEFORE = replace(job(), created_at=T0 - timedelta(seconds=1))


async def waiting(world: SimulatedWorld, **of_task: object) -> None:
    """Have a task wait for the first pod of its Job."""
    world.create(task(request("tickets"), job=AFTER.name, **of_task))
    world.clock.advance(2)
    await world.settle()
    assert world.condition("Attested") == ("False", "PodMissing")


@pytest.mark.parametrize("outcome", ["Succeeded", "Failed"])
async def test_the_task_ends_as_its_workload_did(world: SimulatedWorld, outcome: str) -> None:
    world.cluster.set_workload(NAMESPACE, AFTER)
    await waiting(world)

    world.cluster.set_workload(NAMESPACE, replace(AFTER, ended=outcome))
    await world.settle()

    assert world.condition("Finished") == ("True", outcome)
    assert world.held() == []


async def test_one_that_was_made_in_the_same_second_counts(world: SimulatedWorld) -> None:
    """Times of objects have whole seconds, and a task is applied with its Job."""
    world.cluster.set_workload(NAMESPACE, replace(AFTER, created_at=T0, ended="Failed"))
    world.create(task(request("tickets"), job=AFTER.name))

    await world.settle()

    assert world.condition("Finished") == ("True", "Failed")


async def test_an_older_one_is_waited_for_to_be_made_anew(world: SimulatedWorld) -> None:
    """What is applied again applies the task first: its Job's last run says nothing of it."""
    world.cluster.set_workload(NAMESPACE, replace(BEFORE, ended="Succeeded"))
    await waiting(world)
    assert "ended before this task had a pod" in world.message("Attested")

    world.cluster.set_workload(NAMESPACE, replace(AFTER, uid="job-2"))
    world.cluster.create_pod(pod("agent", job=replace(AFTER, uid="job-2")))
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")


@pytest.mark.parametrize("ended", ["", "Failed"])
async def test_that_it_is_not_there_yet_or_goes_on_ends_nothing(
    world: SimulatedWorld, ended: str
) -> None:
    await waiting(world)
    if ended:  # of a kind that does not say when it was made
        world.cluster.set_workload(NAMESPACE, replace(AFTER, created_at=None, ended=ended))
        await world.settle()

    assert world.condition("Finished") == ("False", "Running")


async def test_a_task_that_ends_explicitly_does_not_end_with_it(world: SimulatedWorld) -> None:
    world.cluster.set_workload(NAMESPACE, AFTER)
    await waiting(world, completion="Explicit")

    world.cluster.set_workload(NAMESPACE, replace(AFTER, ended="Failed"))
    await world.settle()

    assert world.condition("Finished") == ("False", "Running")
