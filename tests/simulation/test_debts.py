"""What a provider does not confirm stays owed: visible, retried for ever, and in nobody's way."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from taskpass.core.audit import events as audit
from taskpass.core.errors import ProviderUnavailable
from taskpass.core.model.grant import GrantState
from taskpass.ports.ledger import Batch
from tests.simulation.builders import request, task
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import KEY, SimulatedWorld

DOWN = ProviderUnavailable("no answer")


async def running(world: SimulatedWorld, **wishes: Any) -> None:
    """Bring a task to rest with one credential in a running pod."""
    world.create(task(request("tickets"), **wishes))
    world.add_pod()
    await world.settle()
    assert len(world.held()) == 1


async def test_deletion_waits_thirty_seconds_for_a_provider_that_is_down(
    world: SimulatedWorld,
) -> None:
    await running(world)
    world.fail("provider.revoke", DOWN, times=None)

    world.delete()
    await world.settle()
    world.clock.advance(29)
    await world.settle()
    waiting = KEY in world.cluster.tasks
    secret = world.secret()
    world.clock.advance(1)
    await world.settle()

    assert waiting
    assert secret is None
    assert KEY not in world.cluster.tasks
    assert [g.state.value for g in world.held()] == ["Revoking"]
    assert [e["data"]["owed"] for e in world.entries("task.forget")] == [1]


async def test_a_debt_outlives_the_task_and_is_paid_later(world: SimulatedWorld) -> None:
    await running(world)
    world.fail("provider.revoke", DOWN, times=None)
    world.delete()
    await world.settle()
    world.clock.advance(30)
    await world.settle()

    again = await world.look()
    world.restart()
    await world.settle()
    owed = len(world.held())
    world.heal()
    await world.settle()

    assert again is not None
    assert again.backoff
    assert owed == 1
    assert_nothing_left(world)


async def test_a_debt_is_retried_also_when_a_new_task_has_taken_the_name(
    world: SimulatedWorld,
) -> None:
    await running(world)
    world.fail("provider.revoke", DOWN, times=None)
    world.delete()
    await world.settle()
    world.clock.advance(30)
    await world.settle()
    world.create(task(request("tickets")))

    again = await world.look()

    assert again is not None
    assert again.backoff


async def test_a_revocation_that_fails_is_shown(world: SimulatedWorld) -> None:
    await running(world)
    world.fail("provider.revoke", DOWN, times=None)

    world.end_pod()
    await world.settle()

    assert world.condition("Finished") == ("False", "RevocationPending")
    assert world.condition("CredentialsIssued") == ("False", "Revoking")
    assert world.condition("Stalled") == ("False", "NotStalled")
    assert len(world.told("RevocationFailed")) == 1
    assert world.secret() is None


async def test_finished_is_said_only_once_nothing_is_held(world: SimulatedWorld) -> None:
    await running(world)
    world.fail("provider.revoke", DOWN, times=4)

    world.end_pod()
    await world.look()
    first = world.condition("Finished")
    await world.settle()

    assert first == ("False", "RevocationPending")
    assert world.condition("Finished") == ("True", "Succeeded")
    assert world.told("TaskFinished") != []


async def test_a_debt_from_before_the_end_keeps_the_task_from_being_finished(
    world: SimulatedWorld,
) -> None:
    await running(world)
    world.fail("provider.revoke", DOWN, times=None)
    world.cluster.policy_list = []
    await world.settle()

    world.end_pod()
    await world.settle()
    world.remove_pod()  # how it ended is remembered
    await world.settle()
    owing = world.condition("Finished")
    world.heal()
    await world.settle()

    assert owing == ("False", "RevocationPending")
    assert world.condition("Finished") == ("True", "Succeeded")


async def test_a_debt_from_before_the_deadline_keeps_the_task_from_being_finished(
    world: SimulatedWorld,
) -> None:
    await running(world, deadline=60)
    world.fail("provider.revoke", DOWN, times=None)
    world.cluster.policy_list = []
    await world.settle()

    world.clock.advance(60)
    await world.settle()
    owing = world.condition("Finished")
    world.heal()
    await world.settle()

    assert owing == ("False", "RevocationPending")
    assert world.condition("Finished") == ("True", "Expired")


async def test_what_a_provider_owes_leaves_the_secret_at_once(world: SimulatedWorld) -> None:
    await running(world)
    world.fail("provider.revoke", DOWN, times=None)

    world.cluster.policy_list = []
    await world.settle()

    assert world.provider.live != {}
    assert world.secret() is None


async def test_what_a_provider_owes_leaves_the_secret_and_the_others_stay(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("kb"), request("tickets")))
    world.add_pod()
    await world.settle()
    world.fail("provider.revoke", DOWN, times=None)

    world.change(credentials=(request("kb"),))
    await world.settle()
    fields = world.secret()
    world.heal()
    await world.settle()

    assert fields is not None
    assert set(fields) == {"kb.token", "kb.server"}
    assert_at_rest(world)


async def test_uninstalling_does_not_wait_for_a_provider_that_is_down(
    world: SimulatedWorld,
) -> None:
    await running(world)
    world.fail("provider.revoke", DOWN, times=None)

    world.ports.modes.uninstalling = True
    await world.settle()

    assert not world.task.has_finalizer
    assert len(world.held()) == 1


async def test_a_clock_an_hour_back_wedges_no_deletion(world: SimulatedWorld) -> None:
    await running(world)
    world.fail("provider.revoke", DOWN, times=None)
    world.delete()
    world.clock.set_forward(timedelta(hours=-1))

    await world.settle()
    world.clock.advance(30)
    await world.settle()

    assert KEY not in world.cluster.tasks
    assert len(world.held()) == 1


async def test_a_debt_whose_reason_an_earlier_version_recorded_is_paid_and_told(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    [held] = world.held()
    owed = replace(
        held, state=GrantState.REVOKING, revoke_reason="Replaced", revoking_since=world.now()
    )
    told = audit.revoke_intent(owed, world.now())
    await world.ports.ledger.commit(Batch(entries=(told,), grants=(owed,)))

    await world.settle()

    assert owed.id not in {g.id for g in world.held()}
    assert world.told("CredentialRevoked") == [
        "Revoked 'tickets' to be issued anew with the others (audit 7)"
    ]
    assert_at_rest(world)
