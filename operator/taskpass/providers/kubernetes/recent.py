"""Answers of the API server that hold for many grants at once: asked once, and again after 2 s.

Only what is as true of the next grant as of this one, and may change in the moment after a grant
anyway: the rules of a role, and what every new ServiceAccount may do. Never who may use a class.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Generic, TypeVar

SECONDS = 2.0
T = TypeVar("T")


class RecentAnswers(Generic[T]):
    """By question; whoever asks while it is being asked gets that answer."""

    def __init__(self, monotonic: Callable[[], float], keep: Callable[[T], bool]) -> None:
        """`keep` tells of which answers others may be told; errors are for who asked."""
        self._monotonic = monotonic
        self._keep = keep
        self._asked: dict[str, tuple[float, asyncio.Task[T]]] = {}

    async def get(self, question: str, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the answer, at most 2 s old as it was asked for; raise what `ask` does."""
        now = self._monotonic()
        known = self._asked.get(question)
        if known is None or now - known[0] >= SECONDS:
            self._asked = {q: each for q, each in self._asked.items() if now - each[0] < SECONDS}
            # In a context of its own: it waits in nobody's line, as many may wait for it.
            task = asyncio.get_running_loop().create_task(ask(), context=Context())
            known = self._asked[question] = now, task
            task.add_done_callback(lambda done: self._ended(question, done))
        return await asyncio.shield(known[1])

    def _ended(self, question: str, task: asyncio.Task[T]) -> None:
        known = self._asked.get(question)
        failed = task.cancelled() or task.exception() is not None
        if known is not None and known[1] is task and (failed or not self._keep(task.result())):
            del self._asked[question]
