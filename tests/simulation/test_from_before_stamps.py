"""What is live when taskpass begins to stamp owners stays until it expires, and no more follows."""

from dataclasses import replace
from datetime import timedelta

from tests.simulation.builders import NAME, NAMESPACE, job, pod, request, task
from tests.simulation.invariants import assert_nothing_left
from tests.simulation.world import SimulatedWorld


async def live_at_the_upgrade(world: SimulatedWorld) -> None:
    """Bring a task to rest, and take off what the version before did not know."""
    of = world.cluster.set_workload(NAMESPACE, job())
    world.create(task(request("tickets"), job=NAME))
    made = world.cluster.create_pod(pod(job=of))
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")
    world.cluster.change_pod(made.uid, created_for=None)
    old = replace(job(), created_by="", created_for=None, changers=None)
    world.cluster.set_workload(NAMESPACE, old)


async def pass_by(world: SimulatedWorld, seconds: float) -> None:
    world.clock.advance(seconds)
    await world.settle()


async def test_what_is_held_serves_until_it_runs_out_and_is_not_renewed(
    world: SimulatedWorld,
) -> None:
    await live_at_the_upgrade(world)
    held = world.secret()
    assert held is not None

    await pass_by(world, 800)
    works, ready = world.provider.works(held["tickets.token"]), world.condition("Ready")
    told = world.message("CredentialsIssued")
    await pass_by(world, 110)

    assert (works, ready) == (True, ("True", "Ready"))
    assert f"delete Job '{NAME}' and make it anew" in told
    assert not world.provider.works(held["tickets.token"])
    assert world.secret() is None
    assert world.condition("Ready")[0] == "False"
    assert f"delete Job '{NAME}' and make it anew" in world.message("Ready")


async def test_the_next_pod_of_a_job_made_anew_is_attested(world: SimulatedWorld) -> None:
    await live_at_the_upgrade(world)
    await pass_by(world, timedelta(minutes=20).total_seconds())
    world.end_pod()
    await world.settle()

    anew = world.cluster.set_workload(NAMESPACE, job())
    world.cluster.create_pod(pod("again", job=anew))
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")
    world.delete()
    await world.settle()
    assert_nothing_left(world)
