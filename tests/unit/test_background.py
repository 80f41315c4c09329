"""Background loops go on whatever they meet; only what must end the process does."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from taskpass.core import errors
from taskpass.runtime.loops import BackgroundLoops

FAULTS: dict[str, Callable[[], BaseException]] = {
    "401": lambda: errors.Unauthenticated("401"),
    "403": lambda: errors.Forbidden("403"),
    "404": lambda: errors.NotFound("404"),
    "409": lambda: errors.Conflict("409"),
    "410": lambda: errors.Gone("410"),
    "422": lambda: errors.Invalid("422"),
    "429": lambda: errors.ApiUnavailable("429"),
    "no answer": lambda: errors.ApiUnavailable("no answer"),
    "a read-only ledger": lambda: errors.LedgerReadOnly("the volume is full"),
    "broken JSON": lambda: ValueError("it is no JSON"),
    "a wrong type": lambda: TypeError("'int' object is not iterable"),
    "a missing field": lambda: KeyError("metadata"),
    "a reset": lambda: ConnectionResetError("reset by peer"),
    "a library's own": lambda: aiohttp.ClientPayloadError("half"),
    "a time-out": TimeoutError,
    "a cancellation of its own": asyncio.CancelledError,
    "several at once": lambda: ExceptionGroup("several", [KeyError("a"), OSError("b")]),
    "too deep": lambda: RecursionError("too deep"),
}
ENDS: dict[str, Callable[[], BaseException]] = {
    "a lost Lease": lambda: errors.LeaseLost("another operator"),
    "a broken ledger": lambda: errors.LedgerError("it cannot be written"),
    "a ledger that can be written again": lambda: errors.MustEnd("to start whole"),
    "one of several": lambda: ExceptionGroup("several", [KeyError(), errors.LeaseLost("lost")]),
}
Run = Callable[[BackgroundLoops, Callable[[], Awaitable[Any]]], Awaitable[None]]


async def repeated(loops: BackgroundLoops, once: Callable[[], Awaitable[Any]]) -> None:
    """Run it as a loop of rounds."""
    await loops.repeat("Looking", once, 0.001)


async def kept(loops: BackgroundLoops, run: Callable[[], Awaitable[Any]]) -> None:
    """Run it as a loop of its own."""
    await loops.keep("Looking", run)


@pytest.fixture
def loops() -> BackgroundLoops:
    return BackgroundLoops(first_pause=0.001, longest_pause=0.001, lasted_seconds=0.001)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("run", [repeated, kept])
async def test_a_loop_survives_each_fault_says_so_and_works_again(
    loops: BackgroundLoops, run: Run, fault: Callable[[], BaseException]
) -> None:
    told: list[str | None] = []
    works = asyncio.Event()

    async def looks() -> None:
        told.append(loops.unhealthy_reason)
        if len(told) <= 2:
            raise fault()
        works.set()
        await asyncio.sleep(0 if run is repeated else 60)

    running = asyncio.ensure_future(run(loops, looks))
    async with asyncio.timeout(5):
        await works.wait()
        while loops.unhealthy_reason:
            await asyncio.sleep(0.001)
    running.cancel()

    assert told[0] is None
    assert told[1].startswith("Looking failed, and goes on: ")
    assert told[2] == told[1]


@pytest.mark.parametrize("fault", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("run", [repeated, kept])
async def test_what_must_end_the_process_ends_the_loop(
    loops: BackgroundLoops, run: Run, fault: Callable[[], BaseException]
) -> None:
    async def looks() -> None:
        raise fault()

    with pytest.raises(errors.MustEnd):
        await asyncio.wait_for(run(loops, looks), 5)


async def test_a_loop_waits_between_two_rounds_for_as_long_as_it_is_told(
    loops: BackgroundLoops,
) -> None:
    waits = [None, timedelta(milliseconds=40), None]
    times: list[float] = []

    async def looks() -> timedelta | None:
        times.append(time.monotonic())
        return waits[len(times) - 1]

    running = asyncio.ensure_future(loops.repeat("Looking", looks, 0.02))
    async with asyncio.timeout(5):
        while len(times) < 3:
            await asyncio.sleep(0.001)
    running.cancel()

    assert times[1] - times[0] >= 0.02
    assert times[2] - times[1] >= 0.04


async def test_the_text_of_an_error_that_is_not_ours_is_shown_nowhere(
    loops: BackgroundLoops,
) -> None:
    async def looks() -> None:
        raise RuntimeError("token eyJhbGciOiJSUzI1NiJ9")

    running = asyncio.ensure_future(loops.repeat("Looking", looks, 60))
    async with asyncio.timeout(5):
        while not loops.unhealthy_reason:
            await asyncio.sleep(0.001)
    running.cancel()

    assert loops.unhealthy_reason == "Looking failed, and goes on: RuntimeError"


@pytest.mark.parametrize("needed", [True, False])
async def test_only_a_loop_that_issuing_depends_on_keeps_anything_from_being_issued(
    needed: bool,
) -> None:
    changes: list[str | None] = []
    loops = BackgroundLoops(
        lambda: changes.append(loops.issuance_blocked_reason), first_pause=0.001
    )

    async def looks() -> None:
        if not changes:
            raise errors.Forbidden("403")

    running = asyncio.ensure_future(loops.repeat("Looking", looks, 60, needed=needed))
    async with asyncio.timeout(5):
        while len(changes) < 2:
            await asyncio.sleep(0.001)
    running.cancel()

    assert changes == ["Looking failed, and goes on: 403" if needed else None, None]


@pytest.mark.parametrize("run", [repeated, kept])
async def test_a_loop_that_is_cancelled_ends_with_what_it_was_at(
    loops: BackgroundLoops, run: Run
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def looks() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    running = asyncio.ensure_future(run(loops, looks))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    await asyncio.wait_for(ended.wait(), 5)


async def test_a_loop_that_comes_to_its_end_is_done(loops: BackgroundLoops) -> None:
    async def looks() -> None:
        return None

    await asyncio.wait_for(loops.keep("Looking", looks), 5)

    assert loops.unhealthy_reason is None
