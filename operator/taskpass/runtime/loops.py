"""The one way in which the operator's background loops run: they survive every answer.

1. A round that raises is told in one line, in the log and at `/readyz`, and the loop goes on, after
   a pause that grows. A round that succeeds takes the line back.
2. Only `MustEnd` ends the process: a Lease that is lost, a ledger that fails or can be written
   again. Whoever raises it says why going on would be wrong.
3. While a loop fails that issuing depends on, nothing is issued. Revocation never waits.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from taskpass.core.errors import MustEnd, TaskpassError

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
RETRY_SECONDS = 5.0
"""A round that is due more often than this is tried again at least so often."""
LASTED_SECONDS = 5.0
"""After which a loop of its own counts as one that works."""
T = TypeVar("T")
logger = logging.getLogger(__name__)


class BackgroundLoops:
    """Runs loops, and knows what keeps each from working."""

    def __init__(
        self,
        on_change: Callable[[], None] = lambda: None,
        *,
        first_pause: float = FIRST_PAUSE,
        longest_pause: float = LONGEST_PAUSE,
        lasted_seconds: float = LASTED_SECONDS,
    ) -> None:
        """`on_change` is called when `unhealthy_reason` or `issuance_blocked_reason` changes."""
        self._on_change = on_change
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._lasted_seconds = lasted_seconds
        self._failing: dict[str, tuple[str, bool]] = {}

    @property
    def unhealthy_reason(self) -> str | None:
        """What keeps loops from working, in one line; None while nothing does."""
        return "; ".join(text for _, (text, _) in sorted(self._failing.items())) or None

    @property
    def issuance_blocked_reason(self) -> str | None:
        """The same of those without which nothing may be issued."""
        needing = (text for _, (text, needed) in sorted(self._failing.items()) if needed)
        return "; ".join(needing) or None

    async def repeat(
        self, name: str, once: Callable[[], Awaitable[timedelta | None]], seconds: float, *,
        needed: bool = False, after: float = 0.0,
    ) -> None:  # fmt: skip
        """Call `once` for ever, first after `after` seconds.

        It returns how long to wait until the next time; None means `seconds`. That is no number:
        what counts what it did returns one. `needed` says that nothing may be issued while it
        fails.

        Raises:
            MustEnd: `once` raised it.

        """
        pause = self._first_pause
        await asyncio.sleep(after)
        while True:
            try:
                wait = await _itself(once())
            except Exception as error:
                self._fails(name, error, needed)
                await asyncio.sleep(pause)
                pause = min(2 * pause, max(seconds, self._first_pause, RETRY_SECONDS))
            else:
                self._works(name)
                pause = self._first_pause
                await asyncio.sleep(seconds if wait is None else wait.total_seconds())

    async def keep(
        self, name: str, run: Callable[[], Awaitable[None]], *, needed: bool = False
    ) -> None:
        """Run a loop of its own; begin it anew where it raises. Where it returns, it is done."""
        pause = self._first_pause
        while True:
            running = asyncio.ensure_future(run())
            try:
                await asyncio.wait({running}, timeout=self._lasted_seconds)
                if not running.done():
                    self._works(name)
                    pause = self._first_pause
                await asyncio.wait({running})
            finally:
                running.cancel()
            if not running.cancelled() and (error := running.exception()) is None:
                return self._works(name)
            if running.cancelled():  # by itself: nobody has cancelled us
                error = TaskpassError("it gave up")
            assert error is not None  # noqa: S101 (one of the two)
            if not isinstance(error, Exception):
                raise error
            self._fails(name, error, needed)
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._longest_pause)

    def _fails(self, name: str, error: Exception, needed: bool) -> None:
        if end := must_end(error):
            raise end
        # The text of an error that is not ours may hold anything.
        text = str(error) if isinstance(error, TaskpassError) else type(error).__name__
        said = f"{name} failed, and goes on: {text}"
        if self._failing.get(name) != (said, needed):  # once while it says the same
            ours = isinstance(error, TaskpassError)
            logger.log(
                logging.WARNING if ours else logging.ERROR,
                "A background loop failed, will go on",
                extra={"loop": name, "error": text},
                exc_info=None if ours else error,
            )
        self._set(name, (said, needed))

    def _works(self, name: str) -> None:
        if name in self._failing:
            logger.info("A background loop works again", extra={"loop": name})
        self._set(name, None)

    def _set(self, name: str, state: tuple[str, bool] | None) -> None:
        if self._failing.get(name) == state:
            return
        if state is None:
            del self._failing[name]
        else:
            self._failing[name] = state
        self._on_change()


async def _itself(call: Awaitable[T]) -> T:
    """Return what a call returns; that it was cancelled by itself, and not we, is a failure."""
    try:
        return await call
    except asyncio.CancelledError as error:
        ours = asyncio.current_task()
        if ours is not None and ours.cancelling():
            raise
        raise TaskpassError("it gave up") from error


def must_end(error: BaseException) -> MustEnd | None:
    """Return what ends the process of an error, or of one of a group."""
    if isinstance(error, MustEnd):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for each in error.exceptions if (found := must_end(each))), None)
    return None
