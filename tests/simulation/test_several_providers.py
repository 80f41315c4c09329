"""Several providers: a slow one keeps nothing waiting, and what none can issue is said at once."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from taskpass.core.errors import ProviderRefused
from taskpass.core.model.grant import GrantState
from taskpass.flows import provider_calls
from taskpass.flows.task import revoke as revoke_flow
from tests.fake_provider import Failure, FakeProvider
from tests.simulation.builders import credential_class, phase, policy, request, task
from tests.simulation.invariants import assert_at_rest
from tests.simulation.world import KEY, SimulatedWorld

ROLE = request("role", of="databases")


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_calls, "IN_PLACE_SECONDS", 0.05)
    monkeypatch.setattr(provider_calls, "LOOK_SECONDS", 0.01)


@pytest.fixture
def slow(world: SimulatedWorld) -> Iterator[FakeProvider]:
    """A second provider, of the class `databases`."""
    provider = FakeProvider(world.clock)
    world.ports.providers["Slow"] = provider  # type: ignore[index]
    used = replace(credential_class("databases"), provider="Slow")
    world.cluster.classes["databases"] = used
    world.cluster.policy_list = [policy(classes=("tickets-api", "databases"))]
    yield provider
    provider.release.set()
    assert provider.live == {}


async def holding(world: SimulatedWorld) -> None:
    """Have a task hold a credential of each provider."""
    world.create(task(request("tickets"), ROLE))
    world.add_pod()
    await world.settle()
    assert {g.provider for g in world.held()} == {"Fake", "Slow"}


async def test_a_revocation_is_on_record_while_another_provider_does_not_answer(
    world: SimulatedWorld, slow: FakeProvider
) -> None:
    await holding(world)
    slow.revoke_failures = [Failure.HANG]
    world.end_pod()

    await world.look()

    assert [(g.provider, g.state) for g in world.held()] == [("Slow", GrantState.REVOKING)]
    assert world.provider.live == {}
    assert world.secret() is None
    slow.release.set()
    await world.settle()


async def test_one_that_is_under_way_is_not_begun_again_and_its_answer_is_looked_at(
    world: SimulatedWorld, slow: FakeProvider
) -> None:
    await holding(world)
    slow.revoke_failures = [Failure.HANG]
    world.end_pod()
    for _ in range(3):
        await world.look()
    assert world.asked.count(KEY) == 0

    slow.release.set()
    async with asyncio.timeout(10):
        while KEY not in world.asked:
            await asyncio.sleep(0)
    await world.settle()

    assert [call for call, _ in slow.calls] == ["issue", "revoke"]
    assert world.ports.revoking == {}
    assert_at_rest(world)


async def test_one_without_an_answer_is_told_and_begun_anew_once_patience_is_over(
    world: SimulatedWorld, slow: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await holding(world)
    monkeypatch.setattr(revoke_flow, "PATIENCE_SECONDS", 0.05)
    slow.revoke_failures = [Failure.HANG]
    world.end_pod()
    await world.look()
    async with asyncio.timeout(10):
        while KEY not in world.asked:
            await asyncio.sleep(0)

    await world.look()
    (told,) = world.told("RevocationFailed")
    await world.settle()

    assert "Slow did not answer" in told
    assert [call for call, _ in slow.calls] == ["issue", "revoke", "revoke"]
    assert_at_rest(world)


async def test_a_pod_that_ends_while_a_credential_is_issued_is_not_kept_waiting(
    world: SimulatedWorld, slow: FakeProvider
) -> None:
    slow.issue_failures = [Failure.HANG]
    world.create(task(request("tickets"), ROLE))
    world.add_pod()
    looking = asyncio.create_task(world.look())
    async with asyncio.timeout(10):
        while not world.provider.live or not slow.calls:
            await asyncio.sleep(0)

    world.end_pod()
    world.seen_anew.set()
    await asyncio.wait_for(looking, 10)
    await world.settle()

    assert world.provider.live == {}
    assert world.held() == []
    slow.release.set()
    assert_at_rest(world)


async def test_what_changes_nothing_gives_no_issue_up(
    world: SimulatedWorld, slow: FakeProvider
) -> None:
    slow.issue_failures = [Failure.HANG]
    world.create(task(request("tickets"), ROLE))
    world.add_pod()
    looking = asyncio.create_task(world.look())
    async with asyncio.timeout(10):
        while not slow.calls:
            await asyncio.sleep(0)
    world.seen_anew.set()
    async with asyncio.timeout(10):
        while world.seen_anew.is_set():
            await asyncio.sleep(0)

    slow.release.set()
    await asyncio.wait_for(looking, 10)

    assert {(g.provider, g.state) for g in world.held()} == {
        ("Fake", GrantState.DELIVERED), ("Slow", GrantState.DELIVERED),
    }  # fmt: skip
    assert [call for call, _ in slow.calls] == ["issue"]
    world.end_pod()
    await world.settle()


async def test_a_refusal_of_one_gives_up_what_another_provider_has_not_answered(
    world: SimulatedWorld, slow: FakeProvider
) -> None:
    slow.issue_failures = [Failure.HANG]
    world.fail("provider.issue", ProviderRefused("no such role"))
    world.create(task(request("tickets"), ROLE))
    world.add_pod()

    await asyncio.wait_for(world.look(), 10)
    await world.settle()

    (told,) = world.told("ProviderRefused")
    assert told.startswith("Credential 'tickets': no such role (audit")
    assert [call for call, _ in slow.calls][:2] == ["issue", "revoke"]
    world.end_pod()
    await world.settle()


async def test_a_renewal_leaves_the_credentials_of_another_provider_alone(
    world: SimulatedWorld, slow: FakeProvider
) -> None:
    world.cluster.classes["databases"] = replace(
        world.cluster.classes["databases"], default_expiration_seconds=3600
    )
    await holding(world)
    before = next(g for g in world.held() if g.provider == "Slow")

    for _ in range(4):
        world.clock.advance(360)
        await world.settle()

    assert [call for call, _ in slow.calls] == ["issue"]
    assert [g.id for g in world.held() if g.provider == "Slow"] == [before.id]
    assert [call for call, _ in world.provider.calls].count("issue") > 1
    world.end_pod()
    await world.settle()


async def test_what_a_later_phase_asks_for_below_the_shortest_is_refused_at_the_start(
    world: SimulatedWorld,
) -> None:
    phases = [
        phase("read", request("tickets"), next=("write",)),
        phase("write", request("notes", seconds=30)),
    ]
    world.create(task(phases=phases))
    world.add_pod()

    await world.settle()

    assert world.condition("Authorized") == ("False", "Denied")
    assert (
        "expirationSeconds of request 'notes' of phase 'write' must be greater than or equal to "
        "60, the shortest that provider Fake can issue"
    ) in world.message("Authorized")
    assert world.held() == []
    assert world.provider.calls == []


async def test_a_refusal_whose_others_are_taken_back_slowly_is_told_and_not_begun_anew_at_once(
    world: SimulatedWorld, slow: FakeProvider
) -> None:
    """Else it would be issued and taken back in a circle, and nobody would read why."""
    world.provider.issue_failures = [Failure.REFUSED] * 5
    slow.revoke_failures = [Failure.HANG]
    world.create(task(request("tickets"), ROLE))
    world.add_pod()
    await world.look()
    assert world.condition("CredentialsIssued") == ("False", "Revoking")

    slow.release.set()
    async with asyncio.timeout(10):
        while KEY not in world.asked:
            await asyncio.sleep(0)
    again = await world.look()

    assert world.condition("CredentialsIssued") == ("False", "ProviderRefused")
    assert again is not None
    assert again.backoff
    assert [call for call, _ in slow.calls] == ["issue", "revoke"]
    await world.look()  # as the back-off has it: now it is tried
    assert [call for call, _ in slow.calls][2:] == ["issue", "revoke"]
    world.provider.issue_failures = []


async def test_a_refusal_of_what_a_task_asked_for_before_says_nothing_of_what_it_asks_for_now(
    world: SimulatedWorld, slow: FakeProvider
) -> None:
    world.provider.issue_failures = [Failure.REFUSED]
    slow.revoke_failures = [Failure.HANG]
    world.create(task(request("tickets"), ROLE))
    world.add_pod()
    await world.look()

    world.change(credentials=(request("tickets", seconds=900), ROLE))
    slow.release.set()
    async with asyncio.timeout(10):
        while KEY not in world.asked:
            await asyncio.sleep(0)
    await world.look()

    assert {g.provider for g in world.held()} == {"Fake", "Slow"}
    world.end_pod()
    await world.settle()
    assert_at_rest(world)
