"""Many tasks at once: what they cost in memory, at a restart, and when one policy ends them."""

import asyncio
import time
from collections.abc import Sequence

from bench.figures import say, spread, tell
from bench.gauge import cpu_seconds, memory_mib
from bench.life import NOTHING_LEFT, Life, Moment
from bench.load import all_of, expect, forget
from bench.stage import POLICY, Stage

PATIENCE = 300.0
RESTART_TARGET = 15.0
MEMORY_TARGET = 300.0
DECIDE_TARGET = 1.0
DECIDED = "taskpass_reconcile_seconds_count"


async def run_many(stage: Stage, count: int, *, by_policy: bool) -> None:
    """Print the figures of so many live tasks; `by_policy` says that one policy ends them."""
    await stage.start()
    pid = stage.operator.pid
    tell("memory", live=0, mib=memory_mib(pid))
    lives = expect(stage, count)

    async def begin(life: Life) -> None:
        await stage.players.begin(life)
        await life.until(Moment.SECRET, Moment.UNGATED)
        await stage.players.run(life)

    say(f"{count} live tasks are begun")
    used, took = cpu_seconds(pid), await all_of(stage, lives, begin)
    await stage.rest()
    used = cpu_seconds(pid) - used
    tell(
        "begun", live=count, seconds=round(took, 1), tasks_per_second=round(count / took, 1),
        operator_ms_per_task=round(1000 * used / count, 1),
    )  # fmt: skip
    _tell_memory(stage, count, "grown")
    await _restart(stage, lives)
    await _decide_again(stage, count)
    if by_policy:
        await _end_by_policy(stage, lives)
    await _clear(stage, lives)
    await asyncio.to_thread(stage.api.apply, POLICY)  # only now, or all would be issued again
    await stage.count_left(f"{count} live tasks")
    await stage.stop()


def _tell_memory(stage: Stage, count: int, when: str) -> None:
    mib = memory_mib(stage.operator.pid)
    target = {"target_mib": MEMORY_TARGET, "met": mib <= MEMORY_TARGET} if count >= 10_000 else {}
    tell("memory", live=count, when=when, mib=mib, **target)


async def _restart(stage: Stage, lives: Sequence[Life]) -> None:
    """Stop, start, and serve a task that was made while no operator ran."""
    count = len(lives)
    say(f"restart with {count} live tasks")
    before = {life.name: set(life.held) for life in lives}
    began = time.monotonic()
    await stage.stop()
    stopped = time.monotonic() - began
    newcomer = expect(stage, 1)[0]
    await stage.players.begin(newcomer)
    began = time.monotonic()
    ready = await stage.start()
    await asyncio.wait_for(newcomer.until(Moment.UNGATED), PATIENCE)
    served = newcomer.at[Moment.UNGATED] - began
    await stage.rest()
    seconds = time.monotonic() - began
    tell(
        "restart", live=count, unit="s", stop=round(stopped, 1), ready=round(ready, 1),
        served=round(served, 1), at_rest=round(seconds, 1), target_served=RESTART_TARGET,
        met=served <= RESTART_TARGET, cpu=round(cpu_seconds(stage.operator.pid), 1),
        calls=(await stage.calls()).total(),
    )  # fmt: skip
    replaced = [life.name for life in lives if life.held != before[life.name]]
    if replaced:
        stage.fail(
            f"{len(replaced)} credentials did not outlive a restart, such as {replaced[0]}'s"
        )
    _tell_memory(stage, count, "started")
    await stage.players.clear(newcomer)
    await asyncio.wait_for(newcomer.until(Moment.GONE), PATIENCE)
    del stage.witness.lives[newcomer.name]


async def _decide_again(stage: Stage, count: int) -> None:
    """Change the policy in what takes nothing from anybody: every live grant is decided anew."""
    say(f"a policy changes over {count} tasks")
    seen = await stage.metric(DECIDED)
    changed = {"spec": {"limits": {"maxChildren": 999}}}
    before, began = await stage.calls(), time.monotonic()
    await asyncio.to_thread(stage.api.merge, POLICY, changed)
    while await stage.metric(DECIDED) - seen < count:
        if time.monotonic() - began > PATIENCE:
            stage.fail("not every task was decided anew after its policy had changed")
            return
        await asyncio.sleep(0.01)
    took = time.monotonic() - began
    target = {"target": DECIDE_TARGET, "met": took <= DECIDE_TARGET} if count == 1_000 else {}
    made = (await stage.calls() - before).total()
    tell("decided-again", live=count, unit="s", value=round(took, 2), **target, calls=made)


async def _end_by_policy(stage: Stage, lives: Sequence[Life]) -> None:
    """Delete the one policy that allows them all."""
    say(f"one policy ends {len(lives)} tasks")
    began = time.monotonic()
    await asyncio.to_thread(stage.api.delete, POLICY)
    deadline = began + PATIENCE
    for life in lives:
        try:
            left = max(0.01, deadline - time.monotonic())
            await asyncio.wait_for(life.until(*NOTHING_LEFT), left)
        except TimeoutError:
            stage.fail(f"{life.name} still holds something {PATIENCE:g} s after its policy went")
            break
    for figure, moments in (
        ("policy-ends-access", (Moment.BINDING_GONE,)),
        ("policy-ends-all", NOTHING_LEFT),
    ):
        ends = [max(life.at[m] for m in moments) - began for life in lives if _has(life, moments)]
        tell(figure, live=len(lives), unit="ms", n=len(ends), **spread(ends))
    await stage.rest()


def _has(life: Life, moments: Sequence[Moment]) -> bool:
    return all(moment in life.at for moment in moments)


async def _clear(stage: Stage, lives: Sequence[Life]) -> None:
    """Delete all pods and tasks, as fast as they go."""

    async def clear(life: Life) -> None:
        await stage.players.clear(life)
        await life.until(Moment.GONE, *NOTHING_LEFT)

    say(f"{len(lives)} tasks are deleted")
    took = await all_of(stage, lives, clear)
    tell("cleared", live=len(lives), seconds=round(took, 1))
    forget(stage, lives)
