"""Whose call to the API server is next: what ends access, what gives it, what tells of it.

Where one change takes back what a thousand tasks hold, each of them has some six calls to make.
The API server takes about a thousand a second, so it matters which come first. Within a line
tenants take turns: one that ends a thousand tasks holds up another one's end by one call. And none
has all calls in flight, as each of them makes every other slower: a server that is kept busy by one
tenant answers everybody late.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from taskpass.core.model.key import Key
from taskpass.core.rate_limit.fair_queue import FairQueue

T = TypeVar("T")

PRIORITIES: Mapping[tuple[str, str], int] = {
    ("delete", "rolebindings"): 0,
    ("delete", "serviceaccounts"): 1,
    ("delete", "secrets"): 1,
    ("patch", "agenttasks/status"): 3,
    ("create", "events"): 3,
}
"""By verb and resource, the line that a call waits in."""
OTHERS, LAST = 2, 3


TENANT: ContextVar[str] = ContextVar("TENANT", default="")
"""The namespace whose task a call is made for; '' for what is nobody's."""


OF_ONE = 4
"""One tenant has at most one in so many of the calls in flight."""


@dataclass(frozen=True, slots=True)
class _Waiter:
    tenant: str
    turn: asyncio.Future[None]


class PriorityLimiter:
    """At most so many calls at once; within a line tenants take turns, each in its own order."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._most_of_one = max(1, limit // OF_ONE)
        self._in_flight: Counter[str] = Counter()
        """By tenant; what is nobody's is not counted."""
        self._lines: tuple[FairQueue[_Waiter], ...] = tuple(FairQueue() for _ in range(LAST + 1))

    @asynccontextmanager
    async def turn(self, verb: str, resource: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it for as long as the block runs."""
        tenant = TENANT.get()
        if self._free and self._may(tenant):
            self._free -= 1
            self._in_flight[tenant] += 1
        else:
            await self._wait(tenant, PRIORITIES.get((verb, resource), OTHERS))
        try:
            yield
        finally:
            self._end(tenant)

    async def _wait(self, tenant: str, line: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines[line].put(tenant, _Waiter(tenant, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._end(tenant)  # it came in the moment in which nobody wanted it any more
            raise

    def _may(self, tenant: str) -> bool:
        return not tenant or self._in_flight[tenant] < self._most_of_one

    def _end(self, tenant: str) -> None:
        """Take a call's place back, and give it to who is next of those that may have one."""
        self._in_flight[tenant] -= 1
        if not self._in_flight[tenant]:
            del self._in_flight[tenant]
        for line in self._lines:
            while (waiter := line.take(self._may)) is not None:
                if not waiter.turn.done():
                    self._in_flight[waiter.tenant] += 1
                    waiter.turn.set_result(None)
                    return
        self._free += 1


def of_tenant(work: Callable[[Key], Awaitable[T]]) -> Callable[[Key], Awaitable[T]]:
    """Return the same work, whose calls wait in its namespace's line."""

    async def done(key: Key) -> T:
        TENANT.set(key[0])  # each key has a task, and so a context, of its own
        return await work(key)

    return done
