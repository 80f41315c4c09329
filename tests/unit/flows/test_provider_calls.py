"""A flood of issues that a provider does not answer is bounded, and keeps nobody's revocation."""

import asyncio
import contextlib
import time
from types import SimpleNamespace
from typing import Any

import pytest

from taskpass.core.model.key import Key
from taskpass.core.rate_limit.room import Room
from taskpass.flows import provider_calls
from taskpass.flows.work_queue import Requeue, WorkQueue
from tests.contract.provider_suite import SystemClock

FLOOD = 2000
WORKERS = 64
OF_ONE = 20
SECONDS = 0.5
"""Within which another tenant's revocation is over."""


class Flooded:
    """A queue, and a provider that answers no issue and every revocation."""

    def __init__(self, namespaces: int) -> None:
        self.queue = WorkQueue(SystemClock(), workers=WORKERS)
        self.ports: Any = SimpleNamespace(
            aside=self.queue.aside, changed=self.queue.changed, enqueue=self.queue.add,
            revoking={}, room=Room(OF_ONE, 4 * OF_ONE),
        )  # fmt: skip
        self.answer = asyncio.Event()
        self.under_way = 0
        self.most = 0
        self.looked_at = 0
        self.revoked_at = 0.0
        self.keys = [(f"flood-{n % namespaces}", f"t-{n}") for n in range(FLOOD)]

    async def work(self, key: Key) -> Requeue:
        self.looked_at += 1
        if key[0] == "victim":
            grant: Any = SimpleNamespace(id="g-1")
            await provider_calls.revoked(self.ports, key, [grant], self._revoke)
            self.revoked_at = time.monotonic()
        elif self.ports.room.has_room(key[0]):
            await provider_calls.issued(self.ports, key, [self._issue()], lambda: True)
        return Requeue()

    async def _issue(self) -> Any:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        with contextlib.suppress(asyncio.CancelledError):
            await self.answer.wait()
        self.under_way -= 1

    async def _revoke(self, _: Any) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("namespaces", [1, 40])
async def test_a_flood_of_issues_is_bounded_and_anothers_revocation_is_over_in_half_a_second(
    namespaces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_calls, "IN_PLACE_SECONDS", 0.05)
    flooded = Flooded(namespaces)
    for key in flooded.keys:
        flooded.queue.add(key)
    running = asyncio.ensure_future(flooded.queue.run(flooded.work))
    async with asyncio.timeout(20):
        while flooded.looked_at < FLOOD:
            await asyncio.sleep(0)

    began = time.monotonic()
    flooded.queue.add(("victim", "ticket-1"))
    async with asyncio.timeout(20):
        while not flooded.revoked_at:
            await asyncio.sleep(0)

    assert flooded.revoked_at - began < SECONDS
    assert flooded.most <= 4 * OF_ONE + WORKERS + namespaces
    assert len(flooded.ports.room) > 0
    flooded.answer.set()
    flooded.queue.stop()
    await asyncio.wait_for(running, 20)
    assert (flooded.under_way, len(flooded.ports.room)) == (0, 0)


async def test_where_too_many_wait_nothing_more_is_asked_of_a_provider() -> None:
    flooded = Flooded(1)
    with contextlib.ExitStack() as stack:
        for _ in range(OF_ONE):
            stack.enter_context(flooded.ports.room.taken("flood-0"))

        with pytest.raises(provider_calls.GivenUp, match="Too many tasks wait"):
            await provider_calls.asked(
                flooded.ports, ("flood-0", "t"), flooded._issue(), lambda: True
            )

    assert flooded.most == 0
