"""A pod whose label names a task that is not there is told so, once, and not at once."""

from datetime import timedelta

from tests.simulation.builders import NAME, NAMESPACE, request, task
from tests.simulation.invariants import assert_at_rest
from tests.simulation.world import SimulatedWorld


async def test_a_pod_whose_task_does_not_exist_is_told_after_three_seconds(
    world: SimulatedWorld,
) -> None:
    waiting = world.add_pod()

    first = await world.look()
    early = world.told("TaskMissing", "Pod")
    world.clock.advance(3)
    await world.look()
    await world.look()

    assert first is not None
    assert first.at == waiting.created_at + timedelta(seconds=3)
    assert early == []
    [said] = world.told("TaskMissing", "Pod")
    assert said.startswith(f"AgentTask '{NAME}' does not exist in namespace '{NAMESPACE}'")


async def test_a_task_that_is_seen_after_its_pod_is_in_time(world: SimulatedWorld) -> None:
    world.add_pod()
    await world.look()
    world.create(task(request("tickets")))
    await world.settle()
    world.clock.advance(60)
    await world.settle()

    assert len(world.held()) == 1
    assert world.told("TaskMissing", "Pod") == []
    assert_at_rest(world)


async def test_a_pod_that_runs_or_goes_waits_for_nothing(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.delete()
    await world.settle()
    world.clock.advance(60)

    again = await world.look()

    assert again is not None
    assert again.at is None
    assert world.told("TaskMissing", "Pod") == []


async def test_many_pods_of_one_label_are_not_all_told(world: SimulatedWorld) -> None:
    for number in range(20):
        world.add_pod(f"agent-{number}")
    world.clock.advance(60)

    await world.look()

    assert len(world.told("TaskMissing", "Pod")) == 5


async def test_where_the_namespace_is_not_enrolled_nobody_is_told(world: SimulatedWorld) -> None:
    world.add_pod()
    world.cluster.tenants.clear()
    world.clock.advance(60)

    await world.look()

    assert world.told("TaskMissing", "Pod") == []
