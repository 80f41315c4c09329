"""A task for which no pod comes, or none that can be attested, does not wait for ever."""

from tests.simulation.builders import request, task
from tests.simulation.world import SimulatedWorld

READ = request("tickets")


async def test_a_task_without_a_pod_ends_when_its_time_to_start_is_over(
    world: SimulatedWorld,
) -> None:
    world.create(task(READ, start_deadline=600))
    world.clock.advance(2)
    again = await world.look()
    world.clock.advance(597)
    await world.settle()
    waits = world.condition("Finished")

    world.clock.advance(1)
    await world.settle()

    assert again is not None
    assert again.at == world.now()
    assert waits == ("False", "Running")
    assert world.condition("Finished") == ("True", "Expired")


async def test_a_pod_that_comes_later_stays_behind_its_gate(world: SimulatedWorld) -> None:
    world.create(task(READ, start_deadline=600))
    world.clock.advance(600)
    world.add_pod()
    await world.settle()

    assert world.pod().gated
    assert world.provider.calls == []
    assert world.condition("Finished") == ("True", "Expired")


async def test_a_task_that_has_started_has_no_time_to_start(world: SimulatedWorld) -> None:
    world.create(task(READ, start_deadline=600))
    world.add_pod()
    await world.settle()

    world.clock.advance(86_400)
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")


async def test_a_pod_that_cannot_be_attested_is_none(world: SimulatedWorld) -> None:
    world.create(task(READ, start_deadline=600))
    pod = world.add_pod()
    world.cluster.change_pod(pod.uid, service_account="another")
    await world.settle()

    world.clock.advance(600)
    await world.settle()

    assert world.condition("Finished") == ("True", "Expired")


async def test_a_task_that_begins_suspended_has_no_more_time(world: SimulatedWorld) -> None:
    world.create(task(READ, mode="Suspended", start_deadline=600))
    await world.settle()

    world.clock.advance(600)
    await world.settle()

    assert world.condition("Finished") == ("True", "Expired")
