"""A keyed work queue: one reconcile of a task at a time, many tasks side by side.

A key that is added while it is worked on is worked on once more afterwards. Keys that hold
something come before the others, as what is to be taken back must not wait behind what is to be
given; one in eight is another's, so that a thousand that hold something and are looked at (after a
start, when a policy changes) keep no new one waiting.
Namespaces take turns, and none has all workers: whatever one tenant does, another one's goes on.
No more than a few keys are begun before all else that the loop has to do gets its turn.
What fails is tried again with back-off for ever. Times to look again are compared with the clock
every second, so that a clock that jumps neither loses nor delays them.
"""

import asyncio
import contextlib
import heapq
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from taskpass.core.errors import MustEnd, TransientError
from taskpass.core.model.key import Key
from taskpass.core.rate_limit.fair_queue import FairQueue
from taskpass.ports.clock import Clock

logger = logging.getLogger(__name__)
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 60.0
TICK_SECONDS = 1.0
SLACK = 1024
ONE_IN = 8
"""Of so many keys one is of those that hold nothing, while there are both."""
BEGUN_AT_ONCE = 8
"""Each takes up to a millisecond before it waits for something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeue:
    """When to look at a task again, if nothing happens before."""

    at: datetime | None = None
    backoff: bool = False
    """With the queue's back-off."""
    enqueue: Key | None = None
    """Another task that may go on now."""


class WorkQueue:
    """Keys are taken from the start; nothing is worked on before `run`."""

    def __init__(
        self,
        clock: Clock,
        *,
        workers: int = 32,
        first: Callable[[Key], bool] = lambda _: False,
    ) -> None:
        """`first` tells whether a key comes before those that wait; it is asked at each `add`."""
        self._clock = clock
        self._workers = workers
        self._comes_first = first
        self._work: Callable[[Key], Awaitable[Requeue]]
        self._on_error: Callable[[Key, Exception], None]
        self._first: FairQueue[Key] = FairQueue()
        self._ready: FairQueue[Key] = FairQueue()
        self._busy: Counter[str] = Counter()
        """How many of each namespace are worked on."""
        self._most_of_one = max(1, workers * 3 // 4)
        self._taken = 0
        self._waiting: dict[Key, bool] = {}
        """Whether each waits in the first line. One that moved there is skipped in the other."""
        self._running: set[Key] = set()
        self._aside = 0
        """How many of them wait for something that keeps nothing else waiting."""
        self._again: set[Key] = set()
        self._watched: dict[Key, asyncio.Event] = {}
        """Of those that are worked on: who waits for `changed`."""
        self._tries: dict[Key, int] = {}
        self._wall: list[tuple[datetime, Key]] = []
        self._due: dict[Key, datetime] = {}
        self._pauses: list[tuple[float, Key]] = []
        self._retry: dict[Key, float] = {}
        """When each is tried again: one retry of a key at a time, however often it is looked at."""
        self._changed = asyncio.Event()
        self._planned = asyncio.Event()
        self._stopping = False

    def __len__(self) -> int:
        """Return how many keys wait or are worked on."""
        return len(self._waiting) + len(self._running)

    def add(self, key: Key) -> None:
        """Have the key looked at soon. Called on the loop's thread."""
        if key in self._running:
            self._again.add(key)
            if key in self._watched:
                self._watched.pop(key).set()
            return
        first = self._comes_first(key)
        if key not in self._waiting or (first and not self._waiting[key]):
            self._waiting[key] = first
            (self._first if first else self._ready).put(key[0], key)
            self._changed.set()

    def changed(self, key: Key) -> Awaitable[object]:
        """Return what ends once a key that is worked on is added again, from this call on."""
        return self._watched.setdefault(key, asyncio.Event()).wait()

    async def run(
        self,
        work: Callable[[Key], Awaitable[Requeue]],
        *,
        on_error: Callable[[Key, Exception], None] = lambda key, error: None,
    ) -> None:
        """Work until `stop`, and finish what is in flight; raise what must end the process."""
        self._work, self._on_error = work, on_error
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick())
            group.create_task(self._dispatch(group))

    @contextlib.contextmanager
    def aside(self, key: Key) -> Iterator[None]:
        """Let another key be worked on while this one waits: many may wait, and hold no place."""
        self._aside += 1
        self._busy[key[0]] -= 1
        self._changed.set()
        try:
            yield
        finally:
            self._aside -= 1
            self._busy[key[0]] += 1

    def stop(self) -> None:
        """Take no new key; `run` returns once what is in flight is done."""
        self._stopping = True
        self._changed.set()
        self._planned.set()

    async def _dispatch(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._stopping:
                return
            begun = 0
            while self._waiting and len(self._running) - self._aside < self._workers:
                key = self._take()
                if key is None:
                    break
                self._running.add(key)
                self._busy[key[0]] += 1
                group.create_task(self._one(key))
                begun += 1
                if begun % BEGUN_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _take(self) -> Key | None:
        """Return the key that is next; None where all that wait are of namespaces with enough."""
        self._taken += 1
        lines = [(self._first, True), (self._ready, False)]
        for line, first in reversed(lines) if self._taken % ONE_IN == 0 else lines:
            while (key := line.take(self._has_room)) is not None:
                if self._waiting.get(key) is first:
                    del self._waiting[key]
                    return key
        return None

    def _has_room(self, namespace: str) -> bool:
        return self._busy[namespace] < self._most_of_one

    async def _one(self, key: Key) -> None:
        try:
            requeue = await self._work(key)
        except MustEnd:
            raise
        except (Exception, asyncio.CancelledError) as error:
            ours = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and ours and ours.cancelling():
                raise  # we end; otherwise it gave up by itself, and the key must not be lost
            level = logging.WARNING if isinstance(error, TransientError) else logging.ERROR
            logger.log(
                level,
                "Failed to reconcile a task, will retry",
                extra={"task": "/".join(key), "error": f"{type(error).__name__}: {error}"},
                exc_info=level == logging.ERROR,
            )
            if isinstance(error, Exception):
                self._on_error(key, error)
            requeue = Requeue(backoff=True)
        finally:
            self._running.discard(key)
            self._watched.pop(key, None)
            self._busy[key[0]] -= 1
            if not self._busy[key[0]]:
                del self._busy[key[0]]
            self._changed.set()
        self._plan(key, requeue)

    def _plan(self, key: Key, requeue: Requeue) -> None:
        if requeue.enqueue is not None:
            self.add(requeue.enqueue)
        if requeue.backoff:
            tries = self._tries.get(key, 0)
            self._tries[key] = tries + 1
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries, 10))
            pause *= random.uniform(0.8, 1.2)  # noqa: S311
            self._retry[key] = self._clock.monotonic() + pause
            heapq.heappush(self._pauses, (self._retry[key], key))
            if len(self._pauses) > 2 * len(self._retry) + SLACK:
                self._pauses = [(pause, key) for key, pause in self._retry.items()]
                heapq.heapify(self._pauses)
        else:
            self._tries.pop(key, None)
            self._retry.pop(key, None)
        if requeue.at is not None:
            # Never at once: a time that has come and changes nothing would spin.
            at = max(requeue.at, self._clock.now() + timedelta(seconds=0.5))
            if self._due.get(key) != at:
                self._due[key] = at
                heapq.heappush(self._wall, (at, key))
                if len(self._wall) > 2 * len(self._due) + SLACK:
                    # Times that do not count any more, and may be years away: a task whose
                    # deadline is changed in a loop must not fill the memory with them.
                    self._wall = [(at, key) for key, at in self._due.items()]
                    heapq.heapify(self._wall)
        else:
            self._due.pop(key, None)
        self._planned.set()
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    async def _tick(self) -> None:
        while not self._stopping:
            now, monotonic = self._clock.now(), self._clock.monotonic()
            while self._pauses and self._pauses[0][0] <= monotonic:
                pause, key = heapq.heappop(self._pauses)
                if self._retry.get(key) == pause:
                    del self._retry[key]
                    self.add(key)
            while self._wall and self._wall[0][0] <= now:
                at, key = heapq.heappop(self._wall)
                if self._due.get(key) == at:
                    del self._due[key]
                    self.add(key)
            self._planned.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._next(now, monotonic)):
                    await self._planned.wait()

    def _next(self, now: datetime, monotonic: float) -> float:
        waits = [TICK_SECONDS]
        if self._pauses:
            waits.append(self._pauses[0][0] - monotonic)
        if self._wall:
            waits.append((self._wall[0][0] - now).total_seconds())
        return max(0.01, min(waits))
