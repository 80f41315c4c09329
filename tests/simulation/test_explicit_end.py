"""With completionPolicy Explicit nothing but a deletion or a deadline ends a task."""

from tests.simulation.builders import NAMESPACE, job, pod, request, task
from tests.simulation.invariants import assert_at_rest
from tests.simulation.world import SimulatedWorld

READ = request("tickets")


async def test_the_end_of_a_pod_takes_back_what_it_held_and_the_next_one_goes_on(
    world: SimulatedWorld,
) -> None:
    world.create(task(READ, completion="Explicit"))
    world.add_pod()
    await world.settle()
    before = world.held()[0].id

    world.end_pod()
    await world.settle()
    assert (world.provider.live, world.secret()) == ({}, None)
    assert world.condition("Finished") == ("False", "Running")
    assert world.condition("Attested") == ("False", "PodMissing")

    world.add_pod("another")
    await world.settle()
    assert world.held()[0].id != before
    assert (world.held()[0].attempt, world.condition("Ready")) == (2, ("True", "Ready"))
    assert_at_rest(world)


async def test_the_end_of_a_workload_does_not_end_it_and_another_of_the_name_goes_on(
    world: SimulatedWorld,
) -> None:
    found = job()
    world.cluster.set_workload(NAMESPACE, found)
    world.create(task(READ, job=found.name, completion="Explicit"))
    world.cluster.create_pod(pod("agent", job=found))
    await world.settle()
    world.remove_pod()
    world.cluster.set_workload(NAMESPACE, job(ended="Succeeded"))
    await world.settle()
    assert world.condition("Finished") == ("False", "Running")
    assert world.held() == []

    again = job(uid="job-2")
    world.cluster.set_workload(NAMESPACE, again)
    world.cluster.create_pod(pod("next", job=again))
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")


async def test_its_deadline_ends_it(world: SimulatedWorld) -> None:
    world.create(task(READ, completion="Explicit", deadline=1800))
    world.add_pod()
    await world.settle()

    world.clock.advance(1801)
    await world.settle()

    assert world.condition("Finished") == ("True", "Expired")


async def test_its_deletion_ends_it(world: SimulatedWorld) -> None:
    world.create(task(READ, completion="Explicit"))
    world.add_pod()
    await world.settle()

    world.delete()
    await world.settle()

    assert (world.provider.live, world.cluster.tasks) == ({}, {})
