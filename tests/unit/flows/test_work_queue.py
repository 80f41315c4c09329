"""The work queue: one look at a key at a time, none lost, and retries that do not multiply."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from taskpass.core.errors import ApiUnavailable, LedgerError
from taskpass.core.model.key import Key
from taskpass.flows.work_queue import LONGEST_PAUSE, ONE_IN, SLACK, Requeue, WorkQueue
from tests.simulation.builders import T0

A, B = ("support", "a"), ("support", "b")


class LoopClock:
    """Runs with the event loop, from T0; its wall clock can be set."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def now(self) -> datetime:
        return T0 + self.offset + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class Work:
    """Counts looks; each can be held, and answers what it is told to."""

    def __init__(self, *answers: Requeue | BaseException) -> None:
        self.answers = list(answers)
        self.looks: Counter[Key] = Counter()
        self.running: Counter[Key] = Counter()
        self.most = 0
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.owners = asyncio.Event()

    async def __call__(self, key: Key) -> Requeue:
        self.looks[key] += 1
        self.running[key] += 1
        assert self.running[key] == 1, "two looks at one key at a time"
        self.most = max(self.most, self.running.total())
        self.owners.set()
        await self.let_go.wait()
        self.running[key] -= 1
        answer = self.answers.pop(0) if self.answers else Requeue()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def until(self, key: Key, looks: int) -> None:
        async with asyncio.timeout(10):
            while self.looks[key] < looks:
                self.owners.clear()
                await self.owners.wait()


@asynccontextmanager
async def running(
    queue: WorkQueue, work: Callable[[Key], Awaitable[Requeue]]
) -> AsyncIterator[None]:
    """Run a queue, and stop it at the end."""
    run = asyncio.ensure_future(queue.run(work))
    try:
        yield
    finally:
        queue.stop()
        async with asyncio.timeout(10):
            await run


async def idle(queue: WorkQueue) -> None:
    """Wait until nothing waits and nothing is worked on."""
    async with asyncio.timeout(10):
        while len(queue):
            await asyncio.sleep(0)


async def test_nothing_is_worked_on_before_it_runs() -> None:
    queue, work = WorkQueue(LoopClock()), Work()

    queue.add(A)
    await asyncio.sleep(0)

    assert work.looks == {}
    assert len(queue) == 1


async def test_keys_that_were_added_before_are_worked_on() -> None:
    queue, work = WorkQueue(LoopClock()), Work()
    queue.add(A)
    queue.add(B)
    queue.add(A)

    async with running(queue, work):
        await work.until(A, 1)
        await work.until(B, 1)

    assert work.looks == {A: 1, B: 1}


async def test_a_key_that_is_added_while_it_is_worked_on_is_looked_at_once_more() -> None:
    queue, work = WorkQueue(LoopClock()), Work()
    work.let_go.clear()

    async with running(queue, work):
        queue.add(A)
        await work.until(A, 1)
        for _ in range(5):
            queue.add(A)
        work.let_go.set()
        await work.until(A, 2)
        await idle(queue)

    assert work.looks == {A: 2}


async def test_who_works_on_a_key_can_wait_until_it_is_added_again() -> None:
    queue, seen = WorkQueue(LoopClock()), asyncio.Event()

    async def work(key: Key) -> Requeue:
        if not seen.is_set():
            seen.set()
            await queue.changed(key)
            queue.stop()
        return Requeue()

    queue.add(A)
    worked = asyncio.create_task(queue.run(work))
    await seen.wait()
    queue.add(B)
    queue.add(A)

    await asyncio.wait_for(worked, 10)


async def test_many_keys_are_worked_on_side_by_side_but_no_more_than_the_workers() -> None:
    queue, work = WorkQueue(LoopClock(), workers=3), Work()
    work.let_go.clear()

    async with running(queue, work):
        for number in range(10):
            queue.add((f"support-{number % 2}", str(number)))
        await work.until(("support-0", "2"), 1)
        most = work.most
        work.let_go.set()
        await work.until(("support-1", "9"), 1)

    assert most == 3
    assert work.most == 3


@pytest.mark.parametrize(
    "failure", [ApiUnavailable("no answer"), ValueError("a bug")], ids=["transient", "a bug"]
)
async def test_a_look_that_fails_is_tried_again(failure: Exception) -> None:
    queue, work, shown = WorkQueue(LoopClock()), Work(failure), []
    queue.add(A)

    run = asyncio.ensure_future(
        queue.run(work, on_error=lambda key, error: shown.append((key, error)))
    )
    await work.until(A, 2)
    queue.stop()
    await run

    assert shown == [(A, failure)]


async def test_a_look_that_gives_up_by_itself_is_not_lost() -> None:
    """A library that cancels what it was called by: nobody has cancelled the queue."""
    queue, work = WorkQueue(LoopClock()), Work(asyncio.CancelledError())
    queue.add(A)

    async with running(queue, work):
        await work.until(A, 2)

    assert work.looks[A] == 2


async def test_a_first_retry_comes_soon() -> None:
    queue, work = WorkQueue(LoopClock()), Work(Requeue(backoff=True))
    queue.add(A)
    began = asyncio.get_running_loop().time()

    async with running(queue, work):
        await work.until(A, 2)
        took = asyncio.get_running_loop().time() - began

    assert 0.2 <= took < 0.9


async def test_another_key_that_may_go_on_now_is_looked_at() -> None:
    queue, work = WorkQueue(LoopClock()), Work(Requeue(enqueue=B))
    queue.add(A)

    async with running(queue, work):
        await work.until(B, 1)

    assert work.looks == {A: 1, B: 1}


async def test_a_ledger_that_fails_ends_the_run() -> None:
    queue, work = WorkQueue(LoopClock()), Work(LedgerError("the disk is full"))
    queue.add(A)

    with pytest.raises(ExceptionGroup) as ended:
        await queue.run(work)

    assert isinstance(ended.value.exceptions[0], LedgerError)


async def test_retries_of_a_key_do_not_multiply_with_the_looks_at_it() -> None:
    queue = WorkQueue(LoopClock())

    for _ in range(50):
        queue._plan(A, Requeue(backoff=True))

    assert list(queue._retry) == [A]
    assert queue._retry[A] <= queue._clock.monotonic() + LONGEST_PAUSE * 1.2


async def test_a_look_that_went_well_forgets_the_retry() -> None:
    queue = WorkQueue(LoopClock())
    queue._plan(A, Requeue(backoff=True))

    queue._plan(A, Requeue())

    assert queue._retry == {}


async def test_a_time_to_look_again_is_kept_once_however_often_it_is_said() -> None:
    queue = WorkQueue(LoopClock())

    for _ in range(50):
        queue._plan(A, Requeue(at=T0 + timedelta(days=1)))

    assert len(queue._wall) == 1


async def test_a_time_that_has_come_is_looked_at_and_does_not_spin() -> None:
    clock = LoopClock()
    past = T0 - timedelta(hours=1)
    queue, work = WorkQueue(clock), Work(Requeue(at=past), Requeue(at=past))
    queue.add(A)
    began = asyncio.get_running_loop().time()

    async with running(queue, work):
        await work.until(A, 3)
        took = asyncio.get_running_loop().time() - began

    assert 0.9 <= took < 3


async def test_a_clock_that_jumps_ahead_delays_no_look() -> None:
    clock = LoopClock()
    queue, work = WorkQueue(clock), Work()

    async with running(queue, work):
        work.answers = [Requeue(at=clock.now() + timedelta(hours=1))]
        queue.add(A)
        await work.until(A, 1)
        await idle(queue)
        clock.offset = timedelta(hours=1)
        await work.until(A, 2)


async def test_a_later_look_replaces_the_time_that_was_said_before() -> None:
    clock = LoopClock()
    queue, work = WorkQueue(clock), Work(Requeue(at=clock.now() + timedelta(hours=1)), Requeue())

    async with running(queue, work):
        queue.add(A)
        await work.until(A, 1)
        await idle(queue)
        queue.add(A)
        await work.until(A, 2)
        await idle(queue)

    assert queue._due == {}


async def test_a_stop_finishes_what_is_in_flight_and_takes_nothing_new() -> None:
    queue, work = WorkQueue(LoopClock(), workers=1), Work()
    work.let_go.clear()
    queue.add(A)
    queue.add(B)
    run = asyncio.ensure_future(queue.run(work))
    await work.until(A, 1)

    queue.stop()
    await asyncio.sleep(0)
    ended_early = run.done()
    work.let_go.set()
    await run

    assert not ended_early
    assert work.looks == {A: 1}
    assert work.running.total() == 0


async def test_keys_that_come_first_do_not_wait_behind_the_others() -> None:
    queue, work = WorkQueue(LoopClock(), workers=1, first=lambda key: key == B), Work()
    others = [("support", str(number)) for number in range(5)]
    for key in (*others, B):
        queue.add(key)

    async with running(queue, work):
        await work.until(others[-1], 1)

    assert list(work.looks) == [B, *others]


async def test_one_key_in_eight_is_of_those_that_come_last() -> None:
    held = [("support", f"held-{number:02}") for number in range(30)]
    queue, work = WorkQueue(LoopClock(), workers=1, first=lambda key: key in held), Work()
    for key in (*held, B):
        queue.add(key)

    async with running(queue, work):
        await work.until(held[-1], 1)

    assert list(work.looks).index(B) == ONE_IN - 1


async def test_a_key_that_waits_and_comes_first_now_moves_ahead_and_is_worked_on_once() -> None:
    held: set[Key] = set()
    queue, work = WorkQueue(LoopClock(), workers=1, first=lambda key: key in held), Work()
    others = [("support", str(number)) for number in range(5)]
    for key in (*others, A):
        queue.add(key)

    held.add(A)
    queue.add(A)
    queue.add(A)
    waiting = len(queue)
    async with running(queue, work):
        await work.until(others[-1], 1)
        await idle(queue)

    assert waiting == 6
    assert list(work.looks) == [A, *others]
    assert set(work.looks.values()) == {1}


async def test_a_namespace_with_any_number_of_keys_holds_up_no_other() -> None:
    queue = WorkQueue(LoopClock(), workers=1, first=lambda key: True)
    order: list[Key] = []

    async def work(key: Key) -> Requeue:
        order.append(key)
        if len(order) == 1001:
            queue.stop()
        return Requeue()

    for number in range(1000):
        queue.add(("flood", str(number)))
    queue.add(A)

    await queue.run(work)

    assert order.index(A) == 1


async def test_a_namespace_never_has_all_workers() -> None:
    queue, work = WorkQueue(LoopClock(), workers=8), Work()
    work.let_go.clear()
    for number in range(100):
        queue.add(("flood", str(number)))
    running = asyncio.create_task(queue.run(work))
    while work.running.total() < 6:
        await asyncio.sleep(0)

    queue.add(A)
    await work.until(A, 1)

    assert work.running.total() == 7
    work.let_go.set()
    queue.stop()
    await running


async def test_a_time_that_changes_in_a_loop_is_not_kept_again_and_again() -> None:
    queue = WorkQueue(LoopClock())

    for number in range(10 * SLACK):
        queue._plan(A, Requeue(at=T0 + timedelta(days=365, seconds=number)))
        queue._plan(B, Requeue(backoff=True))

    assert len(queue._wall) <= SLACK + 2
    assert len(queue._pauses) <= SLACK + 2
    assert queue._due == {A: T0 + timedelta(days=365, seconds=10 * SLACK - 1)}


async def test_the_loop_gets_its_turn_while_many_keys_are_begun() -> None:
    begun = 0

    async def count(_: Key) -> Requeue:
        nonlocal begun
        begun += 1
        return Requeue()

    queue = WorkQueue(LoopClock(), workers=1000)
    for number in range(1000):
        queue.add((f"n-{number % 2}", str(number)))
    run = asyncio.ensure_future(queue.run(count))
    seen = []
    while begun < 1000:
        await asyncio.sleep(0)
        seen.append(begun)
    queue.stop()
    await run

    assert max(later - before for before, later in itertools.pairwise(seen)) <= 8


async def test_what_waits_aside_takes_no_place() -> None:
    answered = asyncio.Event()
    queue = WorkQueue(LoopClock(), workers=1)
    looked: list[Key] = []

    async def wait(key: Key) -> Requeue:
        if key == A:
            with queue.aside(key):
                await answered.wait()
        looked.append(key)
        answered.set()
        return Requeue()

    for key in (A, B):
        queue.add(key)
    async with running(queue, wait), asyncio.timeout(10):
        while len(looked) < 2:
            await asyncio.sleep(0.001)

    assert looked == [B, A]
