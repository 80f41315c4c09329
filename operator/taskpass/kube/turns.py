"""Whose call to the API server is next: what ends access, what gives it, what tells of it.

Where one change takes back what a thousand tasks hold, each of them has some six calls to make.
The API server takes about a thousand a second, so it matters which come first.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

LINES: Mapping[tuple[str, str], int] = {
    ("delete", "rolebindings"): 0,
    ("delete", "serviceaccounts"): 1,
    ("delete", "secrets"): 1,
    ("patch", "agenttasks/status"): 3,
    ("create", "events"): 3,
}
"""By verb and resource, the line that a call waits in."""
OTHERS, LAST = 2, 3


class Turns:
    """At most so many calls at once; within a line, in the order in which they came."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._lines: tuple[deque[asyncio.Future[None]], ...] = tuple(
            deque() for _ in range(LAST + 1)
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
        self._lines[line].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()  # it came in the moment in which nobody wanted it any more
            raise

    def _next(self) -> None:
        for line in self._lines:
            while line:
                turn = line.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1
