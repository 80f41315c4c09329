"""How lives are begun: at a rate, whatever becomes of them, or as fast as they get through."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from bench.life import Life
from bench.stage import Stage

PATIENCE = 300.0
"""A life that takes longer is lost. Where more is offered than is served, all are late."""
PARALLEL = 48
"""How many are begun or ended side by side where there is no rate."""
Play = Callable[[Life], Awaitable[None]]


async def at_rate(stage: Stage, lives: Sequence[Life], rate: float, play: Play) -> float:
    """Begin the lives at even distances; return how late the last was begun, in seconds.

    A life begins when its time has come, however many are under way: what waits shows.
    """
    began = time.monotonic()
    late = 0.0
    async with asyncio.TaskGroup() as group:
        for number, life in enumerate(lives):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            late = time.monotonic() - due
            group.create_task(_played(stage, life, play))
    return late


async def all_of(stage: Stage, lives: Iterable[Life], play: Play) -> float:
    """Play the lives, so many side by side; return the seconds that it took."""
    began = time.monotonic()
    waiting = iter(list(lives))

    async def work() -> None:
        for life in waiting:
            await _played(stage, life, play)

    async with asyncio.TaskGroup() as group:
        for _ in range(PARALLEL):
            group.create_task(work())
    return time.monotonic() - began


async def _played(stage: Stage, life: Life, play: Play) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            await play(life)
    except Exception as error:  # one life's failure must not end the others'
        seen = ", ".join(life.at)
        stage.fail(f"{life.name} is lost ({type(error).__name__}: {error}); seen: {seen}")


_numbers = itertools.count()


def expect(stage: Stage, count: int, *, probed_every: int = 0) -> list[Life]:
    """Return lives to come, each with a name that was never used."""
    made = [f"b-{next(_numbers):06d}" for _ in range(count)]
    return [
        stage.witness.expect(name, probed=bool(probed_every) and number % probed_every == 0)
        for number, name in enumerate(made)
    ]


def judge(stage: Stage, lives: Sequence[Life], outcome: str = "Succeeded") -> None:
    """Fail the run for lives that did not end as they should; then forget them."""
    others = [life for life in lives if life.outcome != outcome]
    if others:
        said = others[0].outcome or "nothing"
        stage.fail(f"{len(others)} tasks did not end as {outcome}; {others[0].name}: {said}")
    forget(stage, lives)


def forget(stage: Stage, lives: Sequence[Life]) -> None:
    """Fail the run for lives that held more than one credential at once; watch them no longer."""
    doubled = [life.name for life in lives if life.doubled]
    if doubled:
        stage.fail(f"{len(doubled)} tasks held two credentials at once, such as {doubled[0]}")
    for life in lives:
        del stage.witness.lives[life.name]
