"""A provider that refuses, does not answer, or whose answer is lost: nothing is left of it."""

import asyncio

import pytest

from taskpass.core.errors import ProviderRefused, ProviderUnavailable
from taskpass.core.model.grant import GrantState
from taskpass.core.model.key import Key
from taskpass.flows.cluster.orphans import Sweeper
from taskpass.flows.task import issue as issue_flow
from tests.fake_provider import Failure
from tests.simulation.builders import request, task
from tests.simulation.faults import When
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import KEY, SimulatedWorld

DOWN = ProviderUnavailable("no answer")


async def test_a_provider_that_refuses_leaves_nothing_and_is_shown(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    world.provider.issue_failures = [Failure.REFUSED]

    again = await world.look()

    assert again is not None
    assert again.backoff
    assert world.held() == []
    assert world.pod().gated
    assert world.condition("CredentialsIssued") == ("False", "ProviderRefused")
    assert "said no" in world.message("CredentialsIssued")
    assert world.told("ProviderRefused", kind="Pod")


@pytest.mark.parametrize("when", [When.BEFORE, When.AFTER])
async def test_a_provider_without_an_answer_leaves_nothing_and_is_tried_again(
    world: SimulatedWorld, when: When
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    world.fail("provider.issue", DOWN, when=when)

    await world.look()
    first = (world.provider.live.copy(), world.condition("CredentialsIssued"), world.pod().gated)
    await world.settle()

    assert first == ({}, ("False", "ProviderUnavailable"), True)
    assert world.reasons() == ["IssueFailed"]
    assert not world.pod().gated
    assert_at_rest(world)


async def test_an_issue_without_an_answer_is_recorded_as_unknown(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    world.fail("provider.issue", DOWN, when=When.AFTER)

    await world.look()

    results = [
        e["data"]["outcome"]
        for e in world.entries("credential.issue")
        if e["data"]["stage"] == "result"
    ]
    assert results == ["unknown"]


async def test_one_credential_that_fails_takes_the_others_back(world: SimulatedWorld) -> None:
    world.create(task(request("kb"), request("tickets")))
    world.add_pod()
    world.fail("provider.issue", ProviderRefused("no"), skip=1)

    await world.look()

    assert world.provider.live == {}
    assert world.secret() is None
    assert world.pod().gated
    assert world.reasons() == ["IssueFailed", "IssueFailed"]
    assert "'tickets'" in world.message("CredentialsIssued")


async def test_a_failed_issue_that_cannot_be_undone_yet_is_owed(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    world.fail("provider.issue", DOWN, when=When.AFTER)
    world.fail("provider.revoke", DOWN, times=2)

    await world.look()
    owed = [g.state for g in world.held()]
    issued = [call for call, _ in world.provider.calls if call == "issue"]
    await world.settle()

    assert owed == [GrantState.REVOKING]
    assert issued == ["issue"]
    assert_at_rest(world)


async def test_a_call_that_hangs_counts_as_no_answer(
    world: SimulatedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issue_flow, "PATIENCE_SECONDS", 0.01)
    world.create(task(request("tickets")))
    world.add_pod()
    world.provider.issue_failures = [Failure.HANG]

    await world.look()

    assert world.condition("CredentialsIssued") == ("False", "ProviderUnavailable")
    assert world.held() == []


async def test_an_internal_error_of_a_provider_leaves_nothing(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    world.fail("provider.issue", ZeroDivisionError("a bug"), when=When.AFTER)

    with pytest.raises(ZeroDivisionError):
        await world.look()
    await world.settle()

    assert world.reasons() == ["IssueFailed"]
    assert_at_rest(world)


async def test_a_call_that_arrives_after_its_process_is_found_by_the_second_sweep(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    world.provider.issue_failures = [Failure.HANG]
    reconcile = asyncio.ensure_future(world.look())
    while not world.provider.calls:
        await asyncio.sleep(0)
    reconcile.cancel()
    await asyncio.wait([reconcile])
    late = world.held()[0]
    world.restart()
    world.delete()
    await world.settle()

    world.provider.live[late.id] = b"arrived late"
    sweeper = Sweeper(world.ports, lambda _: None)
    first = await sweeper.sweep(quiet=False)
    second = await sweeper.sweep(quiet=False)

    assert (first, second) == (0, 1)
    assert len(world.entries("orphan.undo")) == 1
    assert_nothing_left(world)


async def test_a_sweep_leaves_alone_what_is_being_issued(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()

    undone = await Sweeper(world.ports, lambda _: None).sweep(quiet=True)

    assert undone == 0
    assert_at_rest(world)


async def test_what_somebody_made_beside_a_live_grant_is_removed_and_the_grant_stays(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    grant = world.held()[0].id
    world.provider.more[grant] = b"by somebody who has our credentials"

    undone = await Sweeper(world.ports, lambda _: None).sweep(quiet=False)

    assert undone == 1
    assert world.provider.more == {}
    assert list(world.provider.live) == [grant]
    [said] = world.entries("orphan.undo")
    assert said["data"]["cred"]["ref"] == grant
    assert_at_rest(world)


async def test_an_orphan_that_cannot_be_removed_yet_ends_no_process(world: SimulatedWorld) -> None:
    world.provider.live["g-orphan"] = b"nobody's"
    world.fail("provider.undo", DOWN)
    sweeper = Sweeper(world.ports, lambda _: None)

    first = await sweeper.sweep(quiet=True)
    second = await sweeper.sweep(quiet=False)

    assert (first, second) == (0, 1)
    assert world.provider.live == {}


async def test_a_provider_that_cannot_be_swept_ends_no_process(world: SimulatedWorld) -> None:
    world.provider.live["g-orphan"] = b"nobody's"
    world.fail("provider.inventory", DOWN)
    sweeper = Sweeper(world.ports, lambda _: None)

    first = await sweeper.sweep(quiet=True)
    later = [await sweeper.sweep(quiet=False) for _ in range(2)]

    assert (first, later) == (0, [0, 1])


async def test_a_provider_that_is_no_longer_configured_leaves_a_debt(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()

    configured = dict(world.ports.providers)
    world.ports.providers.clear()  # type: ignore[attr-defined]
    world.end_pod()
    await world.settle()
    owing = world.condition("Finished")
    world.ports.providers.update(configured)  # type: ignore[attr-defined]
    await world.settle()

    assert owing == ("False", "RevocationPending")
    assert world.condition("Finished") == ("True", "Succeeded")


async def test_what_somebody_removed_at_the_provider_is_taken_out_and_decided_anew(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    old = world.held()[0].id
    world.provider.live.clear()
    enqueued: list[Key] = []
    sweeper = Sweeper(world.ports, enqueued.append)

    await sweeper.sweep(quiet=False)
    first = list(enqueued)
    await sweeper.sweep(quiet=False)
    await world.settle()
    await sweeper.sweep(quiet=False)

    assert (first, enqueued) == ([], [KEY])  # the first look may have crossed a revocation
    assert world.reasons() == ["Lost"]
    assert [g.id == old for g in world.held()] == [False]
    assert "Revoked 'tickets' as it was gone at its provider" in [
        step["message"] for step in world.status["trail"]
    ]
    assert world.ports.missing_at_provider == set()
    assert_at_rest(world)


async def test_what_is_gone_is_not_issued_against_a_policy(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    world.provider.live.clear()
    world.cluster.policy_list = []

    await Sweeper(world.ports, lambda _: None).sweep(quiet=True)
    await world.settle()

    assert world.held() == []
    assert world.condition("Stalled") == ("True", "NoPolicy")
