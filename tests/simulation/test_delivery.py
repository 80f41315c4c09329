"""The Secret: whose it is, and what a write that fails leaves."""

from taskpass.core.errors import ApiUnavailable
from tests.simulation.builders import NAMESPACE, request, task
from tests.simulation.cluster import StoredSecret
from tests.simulation.faults import When
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import SimulatedWorld

PLACE = (NAMESPACE, "taskpass-ticket-4711")
FOREIGN = StoredSecret("secret-foreign", "", {"password": b"somebody else's"}, {})


async def test_a_foreign_secret_is_never_written_to_and_stalls_the_task(
    world: SimulatedWorld,
) -> None:
    world.cluster.secrets[PLACE] = FOREIGN
    world.create(task(request("tickets")))
    world.add_pod()

    await world.settle()

    assert world.cluster.secrets[PLACE] == FOREIGN
    assert world.pod().gated
    assert world.condition("Stalled") == ("True", "SecretNameTaken")
    assert world.condition("CredentialsIssued") == ("False", "SecretNameTaken")


async def test_a_credential_that_cannot_be_delivered_waits_and_is_not_issued_twice(
    world: SimulatedWorld,
) -> None:
    world.cluster.secrets[PLACE] = FOREIGN
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()

    again = await world.look()
    world.cluster.secrets.clear()
    await world.settle()

    assert again is not None
    assert again.backoff
    assert [call for call, _ in world.provider.calls] == ["issue"]
    assert not world.pod().gated
    assert_at_rest(world)


async def test_a_credential_that_was_never_delivered_is_taken_back_at_the_end(
    world: SimulatedWorld,
) -> None:
    world.cluster.secrets[PLACE] = FOREIGN
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()

    world.delete()
    await world.settle()

    assert world.cluster.secrets[PLACE] == FOREIGN
    assert_nothing_left(world)


async def test_a_secret_whose_answer_was_lost_is_deleted_at_the_end(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    world.fail("sink.deliver", ApiUnavailable("lost"), when=When.AFTER)
    await world.look()

    written = world.secret()
    world.delete()
    await world.settle()

    assert written is not None
    assert_nothing_left(world)


async def test_a_secret_that_cannot_be_deleted_is_tried_again(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.fail("sink.withdraw", ApiUnavailable("no answer"), times=3)

    world.delete()
    await world.settle()

    assert len(world.errors) == 3
    assert_nothing_left(world)


async def test_a_gate_that_cannot_be_lifted_is_tried_again(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    world.fail("pods.lift_gate", ApiUnavailable("no answer"), times=2)

    await world.settle()

    assert not world.pod().gated
    assert [call for call, _ in world.provider.calls] == ["issue"]
