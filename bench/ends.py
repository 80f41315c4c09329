"""What takes a credential back: each kind of end, and a family that ends with its root."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from bench.figures import say, spread, tell
from bench.life import NOTHING_LEFT, Life, Moment
from bench.load import all_of, expect, forget
from bench.stage import Stage

SIDE_BY_SIDE = 4
"""How many end at a time: what one takes, not what many take together."""
REFUSED_TARGET = 500.0
FAMILY_TARGET = 2.0
End = Callable[[Stage, Life], Awaitable[None]]


async def _suspended(stage: Stage, life: Life) -> None:
    await stage.players.change(life, {"operatingMode": "Suspended"})


async def _intent_changed(stage: Stage, life: Life) -> None:
    await stage.players.change(life, {"intent": {"goal": "Something else"}})


async def _stopped(stage: Stage, life: Life) -> None:
    await stage.players.stop(life)


async def _task_deleted(stage: Stage, life: Life) -> None:
    await stage.players.delete_task(life)


async def _pod_ended(stage: Stage, life: Life) -> None:
    await stage.players.end(life)


ENDS: Mapping[str, End] = {
    "suspended": _suspended,
    "intent-changed": _intent_changed,
    "kill-switch": _stopped,
    "task-deleted": _task_deleted,
    "pod-ended": _pod_ended,
}


async def run_ends(stage: Stage, count: int) -> None:
    """Print how long each kind of end takes, over so many lives of each."""
    await stage.start()
    for kind, end in ENDS.items():
        say(f"{count} credentials end: {kind}")
        lives = expect(stage, count, probed_every=1)
        await _begin(stage, lives)
        before = await stage.calls()
        began = await _end_each(stage, lives, end)
        await stage.rest()
        made = (await stage.calls() - before).total()
        for what, moments in (
            ("refused", (Moment.REFUSED,)), ("access-gone", (Moment.BINDING_GONE,)),
            ("secret-gone", (Moment.SECRET_GONE,)),
        ):  # fmt: skip
            took = [max(life.at[m] for m in moments) - began[life.name] for life in lives]
            told = spread(took)
            target = {"target_p99": REFUSED_TARGET, "met": told["p99"] <= REFUSED_TARGET}
            more = target if what == "refused" else {}
            tell(f"end-{what}", kind=kind, unit="ms", n=len(took), **told, **more)
        tell("end-api-calls", kind=kind, value=round(made / count, 2))
        await _clear(stage, lives)
    await stage.count_left("the ends of each kind")
    await stage.stop()


async def run_family(stage: Stage, count: int) -> None:
    """Print how long it takes until a family of so many holds nothing, once its root may not."""
    await stage.start()
    root, *others = expect(stage, count)
    await _begin(stage, [root])
    children, rest = others[: max(1, count // 10)], others[max(1, count // 10) :]
    say(f"a family of {count}: {len(children)} children of one root, {len(rest)} below them")
    for level, above in ((children, [root]), (rest, children)):
        parents = {life.name: above[n % len(above)].name for n, life in enumerate(level)}
        await _begin(stage, level, parents)
    await stage.rest()
    before, began = await stage.calls(), time.monotonic()
    await stage.players.change(root, {"operatingMode": "Suspended"})
    family = [root, *others]
    for life in family:
        await asyncio.wait_for(life.until(*NOTHING_LEFT), 60.0)
    took = max(life.at[m] for life in family for m in NOTHING_LEFT) - began
    access = [life.at[Moment.BINDING_GONE] - began for life in family]
    await stage.rest()
    tell(
        "family-ends", tasks=count, unit="s", value=round(took, 2), target=FAMILY_TARGET,
        met=took <= FAMILY_TARGET,
        calls_per_task=round((await stage.calls() - before).total() / count, 2),
    )  # fmt: skip
    tell("family-access-gone", tasks=count, unit="ms", n=len(access), **spread(access))
    await _clear(stage, family)
    await stage.count_left("a family")
    await stage.stop()


async def _begin(
    stage: Stage, lives: Sequence[Life], parents: Mapping[str, str] | None = None
) -> None:
    async def begin(life: Life) -> None:
        await stage.players.begin(life, parent=(parents or {}).get(life.name, ""))
        await life.until(Moment.SECRET, Moment.UNGATED)
        await stage.players.run(life)

    await all_of(stage, lives, begin)
    await stage.rest()


async def _end_each(stage: Stage, lives: Sequence[Life], end: End) -> dict[str, float]:
    """End the lives, a few at a time; return when each was asked to."""
    began: dict[str, float] = {}
    waiting = iter(lives)

    async def work() -> None:
        for life in waiting:
            probing = asyncio.create_task(stage.players.use_until_refused(life))
            await asyncio.sleep(0.05)  # the probe is on its way
            began[life.name] = time.monotonic()
            await end(stage, life)
            async with asyncio.timeout(60.0):
                await life.until(*NOTHING_LEFT)
                await probing

    async with asyncio.TaskGroup() as group:
        for _ in range(SIDE_BY_SIDE):
            group.create_task(work())
    return began


async def _clear(stage: Stage, lives: Sequence[Life]) -> None:
    async def clear(life: Life) -> None:
        await stage.players.clear(life)
        await life.until(Moment.GONE)

    await all_of(stage, lives, clear)
    await stage.players.lift()
    await stage.rest()
    forget(stage, lives)
