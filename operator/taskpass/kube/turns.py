"""Whose call to the API server is next: what ends access, what gives it, what tells of it.

Where one change takes back what a thousand tasks hold, each of them has some six calls to make.
The API server takes about a thousand a second, so it matters which come first. Within a line
tenants take turns: one that ends a thousand tasks holds up another one's end by one call.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TypeVar

from taskpass.core.fair_line import FairLine
from taskpass.ports import Key

T = TypeVar("T")

LINES: Mapping[tuple[str, str], int] = {
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


class Turns:
    """At most so many calls at once; within a line tenants take turns, each in its own order."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._lines: tuple[FairLine[asyncio.Future[None]], ...] = tuple(
            FairLine() for _ in range(LAST + 1)
        )

    @asynccontextmanager
    async def turn(self, verb: str, resource: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it for as long as the block runs."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(LINES.get((verb, resource), OTHERS))
        try:
            yield
        finally:
            self._next()

    async def _wait(self, line: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines[line].put(TENANT.get(), turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()  # it came in the moment in which nobody wanted it any more
            raise

    def _next(self) -> None:
        for line in self._lines:
            while (turn := line.take()) is not None:
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1


def of_tenant(work: Callable[[Key], Awaitable[T]]) -> Callable[[Key], Awaitable[T]]:
    """Return the same work, whose calls wait in its namespace's line."""

    async def done(key: Key) -> T:
        TENANT.set(key[0])  # each key has a task, and so a context, of its own
        return await work(key)

    return done
