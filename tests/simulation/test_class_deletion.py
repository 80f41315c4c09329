"""A class that is deleted goes once nothing of it is held; it waits for nothing else."""

import pytest

from taskpass.core.errors import ApiUnavailable, ProviderUnavailable
from taskpass.flows.cluster.class_deletion import ClassDeletions
from tests.simulation.builders import credential_class, request, task
from tests.simulation.world import SimulatedWorld

CLASS = "tickets-api"


@pytest.fixture
def deletions(world: SimulatedWorld) -> ClassDeletions:
    world.cluster.classes[CLASS] = credential_class(has_finalizer=True)
    return ClassDeletions(world.ports, world.cluster)


async def running(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    assert len(world.held()) == 1


async def test_what_is_held_of_it_is_revoked_before_it_is_gone(
    world: SimulatedWorld, deletions: ClassDeletions
) -> None:
    await running(world)

    world.cluster.delete_class(CLASS)
    for _ in range(3):
        await deletions.release_unused()
    waits = CLASS in world.cluster.classes
    await world.settle()
    held = world.held()
    await deletions.release_unused()

    assert waits
    assert held == []
    assert CLASS not in world.cluster.classes
    assert world.reasons() == ["ClassChanged"]
    order = [what.split()[0] for what in world.journal]
    assert order.index("provider.revoke") < order.index("standings.release_class")


async def test_while_it_goes_nothing_of_it_is_issued_and_the_task_says_why(
    world: SimulatedWorld, deletions: ClassDeletions
) -> None:
    world.cluster.delete_class(CLASS)
    world.create(task(request("tickets")))
    world.add_pod()

    await world.settle()

    assert world.held() == []
    assert world.condition("Authorized") == ("False", "Denied")
    assert world.message("Authorized") == (
        "Credential 'tickets': CredentialClass 'tickets-api' is being deleted; name another in "
        "classRef, or create it anew once it is gone"
    )


async def test_what_was_being_issued_when_it_was_deleted_is_waited_for(
    world: SimulatedWorld, deletions: ClassDeletions
) -> None:
    """Between a decision and its record in the ledger nothing shows that something is coming."""
    world.cluster.delete_class(CLASS)
    await deletions.release_unused()
    after_one = CLASS in world.cluster.classes
    await deletions.release_unused()

    assert after_one
    assert CLASS not in world.cluster.classes


async def test_a_provider_that_is_down_holds_it_for_thirty_seconds_and_then_is_a_debt(
    world: SimulatedWorld, deletions: ClassDeletions
) -> None:
    await running(world)
    world.fail("provider.revoke", ProviderUnavailable("no answer"), times=None)

    world.cluster.delete_class(CLASS)
    await world.settle()
    await deletions.release_unused()
    world.clock.advance(29)
    await deletions.release_unused()
    waits = CLASS in world.cluster.classes
    world.clock.advance(1)
    await deletions.release_unused()
    owed = world.held()
    world.heal()
    await world.settle()

    assert waits
    assert CLASS not in world.cluster.classes
    assert len(owed) == 1
    assert world.told("RevocationPending", "CredentialClass") == [
        "Deleted while 1 of it are not confirmed to be revoked; that is tried again until it is: "
        "taskpass pending lists them"
    ]
    assert world.held() == []


async def test_an_uninstall_waits_for_nothing(
    world: SimulatedWorld, deletions: ClassDeletions
) -> None:
    """Everything is given up then, and no operator would be there to let the class go."""
    await running(world)

    world.ports.modes.uninstalling = True
    await deletions.release_unused()
    await deletions.release_unused()

    assert not world.cluster.classes[CLASS].has_finalizer


async def test_an_api_server_that_is_away_is_asked_again(
    world: SimulatedWorld, deletions: ClassDeletions
) -> None:
    world.fail("standings.release_class", ApiUnavailable("no answer"))

    world.cluster.delete_class(CLASS)
    for _ in range(3):
        await deletions.release_unused()

    assert CLASS not in world.cluster.classes


async def test_one_that_is_not_deleted_is_left_alone(
    world: SimulatedWorld, deletions: ClassDeletions
) -> None:
    for _ in range(3):
        await deletions.release_unused()

    assert world.cluster.classes[CLASS].has_finalizer
