"""What cannot be found out is neither yes nor no: it is shown, and tried again."""

from taskpass.core.errors import ApiUnavailable
from tests.simulation.builders import NAMESPACE, job, request, task
from tests.simulation.world import SimulatedWorld

AWAY = ApiUnavailable("The API server did not answer")


async def test_owners_that_cannot_be_read_leave_the_pod_unproven_until_they_can(
    world: SimulatedWorld,
) -> None:
    made = world.cluster.set_workload(NAMESPACE, job())
    world.create(task(request("tickets"), job=made.name))
    world.add_pod(job=made)
    world.fail("workloads.workload", AWAY)

    await world.look()
    shown = (world.condition("Attested"), world.message("Attested"), world.held())
    await world.settle()

    assert shown == (("Unknown", "CheckFailed"), str(AWAY), [])
    assert world.condition("Ready") == ("True", "Ready")


async def test_a_right_that_cannot_be_asked_for_is_neither_given_nor_denied(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    world.fail("reviewer.may_use", AWAY)

    await world.look()
    shown = (world.condition("Authorized"), world.condition("Stalled"), world.held())
    await world.settle()

    assert shown == (("Unknown", "EvaluationFailed"), ("False", "NotStalled"), [])
    assert world.condition("Ready") == ("True", "Ready")
