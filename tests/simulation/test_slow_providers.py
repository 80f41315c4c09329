"""A slow provider, an approval, a budget and a stop: what waits, and what is given up."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from taskpass.core.model.grant import GrantState
from taskpass.core.model.key import Key
from taskpass.core.model.task import CredentialClass
from taskpass.core.rate_limit.budget import Limit
from taskpass.core.rate_limit.room import Room
from taskpass.flows import provider_calls
from taskpass.flows.task.reconcile import Reconciler
from taskpass.flows.work_queue import Requeue, WorkQueue
from tests.fake_provider import Failure, FakeProvider
from tests.simulation.approvals import give, pending
from tests.simulation.builders import (
    ASKS_LEADS,
    credential_class,
    policy,
    request,
    task,
)
from tests.simulation.conftest import MakeWorld
from tests.simulation.world import KEY, SimulatedWorld
from tests.unit.flows.test_work_queue import LoopClock

ROLE = request("role", of="databases")
LASTING = replace(ASKS_LEADS, valid_seconds=7200)


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_calls, "IN_PLACE_SECONDS", 0.05)
    monkeypatch.setattr(provider_calls, "LOOK_SECONDS", 0.01)


class Halting(FakeProvider):
    """Its server halts: reads are answered once `release` is set."""

    halts = False
    waiting = 0

    async def permissions_digest(self, credential_class: CredentialClass) -> str:
        if self.halts:
            self.waiting += 1
            await self.release.wait()
        return await super().permissions_digest(credential_class)


def furnish(world: SimulatedWorld, provider: FakeProvider) -> None:
    world.ports.providers["Slow"] = provider  # type: ignore[index]
    world.cluster.classes["databases"] = replace(credential_class("databases"), provider="Slow")


@pytest.fixture
def halting(world: SimulatedWorld) -> Iterator[Halting]:
    provider = Halting(world.clock)
    furnish(world, provider)
    world.cluster.policy_list = [
        policy(), policy("databases", classes=("databases",), approval=LASTING),
    ]  # fmt: skip
    yield provider
    provider.release.set()


def noting(world: SimulatedWorld) -> list[Key]:
    """Return the keys that wait aside, as they come and go."""
    aside: list[Key] = []

    @contextlib.contextmanager
    def note(key: Key) -> Iterator[None]:
        aside.append(key)
        yield
        aside.remove(key)

    world.ports = replace(world.ports, aside=note)
    world._reconciler = Reconciler(world.ports)
    return aside


async def test_inspecting_for_an_approval_keeps_what_another_provider_issued_from_its_end(
    world: SimulatedWorld, halting: Halting
) -> None:
    world.create(task(request("tickets"), ROLE))
    world.add_pod()
    await world.settle()
    give(world, pending(world)[0]["digest"], seconds=7200)
    await world.settle()
    assert {g.provider for g in world.held()} == {"Fake", "Slow"}

    halting.halts = True
    world.clock.advance(700)  # a renewal is due
    looking = asyncio.create_task(world.look())
    async with asyncio.timeout(5):
        while not halting.waiting:
            await asyncio.sleep(0.01)
    world.end_pod()
    world.seen_anew.set()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(looking), 3)

    left = dict(world.provider.live)
    halting.halts = False
    halting.release.set()
    await looking
    await world.settle()
    assert left == {}


async def test_inspecting_for_an_approval_takes_no_place(
    world: SimulatedWorld, halting: Halting
) -> None:
    aside = noting(world)
    halting.halts = True
    world.create(task(request("tickets"), ROLE))
    world.add_pod()
    looking = asyncio.create_task(world.look())
    async with asyncio.timeout(5):
        while aside != [KEY]:
            await asyncio.sleep(0.01)
    assert halting.waiting
    halting.release.set()
    await looking
    assert aside == []


async def test_an_issue_that_is_slow_is_not_given_up_for_what_it_cost_itself(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.limits = {"task": Limit(burst=5_000, per_day=86_400)}
    world.restart()
    slow = FakeProvider(world.clock)
    furnish(world, slow)
    world.cluster.policy_list = [policy(classes=("tickets-api", "databases"))]
    slow.issue_failures = [Failure.HANG]
    world.create(task(ROLE))
    world.add_pod()
    aside = noting(world)
    looking = asyncio.create_task(world.look())
    async with asyncio.timeout(5):
        while aside != [KEY]:  # where it is asked for the first time whether it is wanted
            await asyncio.sleep(0.01)
    assert not looking.done()
    slow.release.set()
    await asyncio.wait_for(looking, 5)

    assert [call for call, _ in slow.calls] == ["issue"]
    assert [g.state for g in world.held()] == [GrantState.DELIVERED]


async def test_an_issue_that_policy_allows_no_more_is_given_up(world: SimulatedWorld) -> None:
    slow = FakeProvider(world.clock)
    furnish(world, slow)
    world.cluster.policy_list = [policy(classes=("tickets-api", "databases"))]
    slow.issue_failures = [Failure.HANG]
    world.create(task(ROLE))
    world.add_pod()
    looking = asyncio.create_task(world.look())
    async with asyncio.timeout(5):
        while not slow.calls:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)

    world.cluster.policy_list = []
    world.seen_anew.set()
    done, _ = await asyncio.wait({looking}, timeout=3)

    slow.release.set()
    await looking
    await world.settle()
    assert done


async def test_what_changes_in_the_moment_before_it_is_watched_is_not_missed() -> None:
    queue, never = WorkQueue(LoopClock()), asyncio.Event()
    wanted = True
    said: list[object] = []

    class Ports:
        aside, changed, room = queue.aside, queue.changed, Room()

    async def call() -> None:
        await never.wait()

    def change() -> None:
        nonlocal wanted
        wanted = False
        queue.add(KEY)

    def is_wanted() -> bool:
        if wanted:
            asyncio.get_running_loop().call_soon(change)  # as an event of a watch comes
        return wanted

    async def work(key: Key) -> Requeue:
        if not said:
            said.append(await provider_calls.issued(Ports(), key, [call()], is_wanted))  # type: ignore
        return Requeue()

    queue.add(KEY)
    running = asyncio.create_task(queue.run(work))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3):
            while not said:
                await asyncio.sleep(0.01)
    seen = list(said)
    never.set()
    queue.stop()
    await running
    assert seen


async def test_a_stop_waits_for_the_revocations_that_go_on_beside(
    world: SimulatedWorld,
) -> None:
    slow = FakeProvider(world.clock)
    furnish(world, slow)
    world.cluster.policy_list = [policy(classes=("tickets-api", "databases"))]
    world.create(task(ROLE))
    world.add_pod()
    await world.settle()
    slow.revoke_failures = [Failure.HANG]
    world.end_pod()
    await world.look()
    assert slow.live

    stopping = asyncio.create_task(provider_calls.finished(world.ports))
    slow.release.set()
    await asyncio.wait_for(stopping, 10)

    assert slow.live == {}
    await world.settle()


async def test_where_too_many_wait_already_nothing_is_begun_and_it_is_tried_again(
    world: SimulatedWorld,
) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    with contextlib.ExitStack() as stack:
        while world.ports.room.has_room("support"):
            stack.enter_context(world.ports.room.taken("support"))

        await world.settle()

        assert (world.held(), world.entries("credential.issue")) == ([], [])
        assert provider_calls.FULL in world.message("CredentialsIssued")

    await world.settle()
    assert len(world.held()) == 1
