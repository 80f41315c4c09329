"""Answers of the API server that hold for many grants at once: asked once, and again after 2 s.

Only what is as true of the next grant as of this one, and may change in the moment after a grant
anyway: the rules of a role, and what every new ServiceAccount may do. Never who may use a class.
They are shared within a namespace: its calls wait in its own line, and nobody waits in another's.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

SECONDS = 2.0
T = TypeVar("T")


@dataclass(slots=True)
class _Question(Generic[T]):
    asked_at: float
    answer: asyncio.Task[T]
    waiting: int = 0


class RecentAnswers(Generic[T]):
    """By namespace and question; whoever asks while it is being asked gets that answer."""

    def __init__(self, monotonic: Callable[[], float], keep: Callable[[T], bool]) -> None:
        """`keep` tells of which answers others may be told; errors are for who asked."""
        self._monotonic = monotonic
        self._keep = keep
        self._asked: dict[tuple[str, str], _Question[T]] = {}

    async def get(
        self, namespace: str, question: str, ask: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """Return an answer that was there at most 2 s ago; raise what `ask` does.

        What nobody waits for any more is not asked on.
        """
        now, key = self._monotonic(), (namespace, question)
        known = self._asked.get(key)
        if known is None or self._is_old(known, now):
            self._asked = {k: q for k, q in self._asked.items() if not self._is_old(q, now)}
            known = self._asked[key] = _Question(now, asyncio.ensure_future(ask()))
            known.answer.add_done_callback(lambda done: self._ended(key, done))
        known.waiting += 1
        try:
            return await asyncio.shield(known.answer)
        finally:
            known.waiting -= 1
            if not known.waiting and not known.answer.done():
                known.answer.cancel()
                self._asked.pop(key, None)

    def forget(self) -> None:
        """Have everything asked anew: something newer has been read."""
        self._asked = {}

    def _is_old(self, question: _Question[T], now: float) -> bool:
        return question.answer.done() and now - question.asked_at >= SECONDS

    def _ended(self, key: tuple[str, str], answer: asyncio.Task[T]) -> None:
        known = self._asked.get(key)
        failed = answer.cancelled() or answer.exception() is not None
        if known is not None and known.answer is answer:
            if failed or not self._keep(answer.result()):
                del self._asked[key]
