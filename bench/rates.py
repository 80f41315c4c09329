"""Whole lives at a rate: without an operator, which is the floor, and then with it."""

import os
from collections.abc import Sequence
from typing import Any

from bench.budget import BUDGET, calibration
from bench.figures import beside, say, spread, tell
from bench.gauge import Reading, cpu_seconds, workers_of
from bench.life import NOTHING_LEFT, Life, Moment, times
from bench.load import at_rate, expect, judge
from bench.players import whole_life
from bench.stage import Stage

WORK_SECONDS = 2.0
"""How long a pod runs."""
PROBES_PER_SECOND = 2
FIGURES = {
    "credential-there": (Moment.EXISTS, Moment.SECRET),
    "gate-lifted": (Moment.EXISTS, Moment.UNGATED),
    "access-gone": (Moment.ENDED, Moment.BINDING_GONE),
    "access-refused": (Moment.ENDED, Moment.REFUSED),
    "nothing-left": (Moment.ENDED, *NOTHING_LEFT),
    "said-finished": (Moment.ENDED, Moment.FINISHED),
}
"""Each with the moment from which, and those until which, it counts."""
TARGETS: dict[str, dict[float, dict[str, float]]] = {
    "credential-there": {20: {"p50": 60, "p99": 250}},
    "access-refused": {rate: {"p99": 500} for rate in (5, 20, 50)},
    "access-gone": {rate: {"p99": 500} for rate in (5, 20, 50)},
}
"""Milliseconds, by figure and tasks a second, on two cores that everything shares."""
TIMES_FLOOR = 1.5
"""What the credential may take at most at 50 tasks a second, as a multiple of the floor."""


async def run_rate(stage: Stage, rate: float, seconds: float) -> None:
    """Print the figures of one rate."""
    floor = await _floor(stage, rate, seconds)
    await stage.start()
    await _warm(stage)
    lives = _lives(stage, rate, seconds)
    calls, pid, work = await stage.calls(), stage.operator.pid, await _work(stage)
    workers = workers_of(pid)
    used_by_workers = sum(map(cpu_seconds, workers))
    before = Reading.now(stage.name, operator=pid, harness=os.getpid())
    used = cpu_seconds(pid)

    async def play(life: Life) -> None:
        await whole_life(stage.players, life, WORK_SECONDS)

    machine = calibration()
    say(f"{rate:g} tasks a second for {seconds:g} s, with the operator")
    late = await at_rate(stage, lives, rate, play)
    await stage.rest()
    used = cpu_seconds(pid) - used
    used_by_workers = sum(map(cpu_seconds, workers)) - used_by_workers
    cores = before.cores_until(Reading.now(stage.name, operator=pid, harness=os.getpid()))
    _tell_times(lives, rate, floor)
    made = await stage.calls() - calls
    count = len(lives)
    tell(
        "api-calls-per-task", rate=rate, value=round(made.total() / count, 2),
        by_call={call: round(n / count, 2) for call, n in sorted(made.items())},
    )  # fmt: skip
    again = sum(len(life.grants) - 1 for life in lives if life.grants)
    tell("issued-again", rate=rate, value=again)
    done = {name: value - work[name] for name, value in (await _work(stage)).items()}
    tell("work-per-task", rate=rate, **{name: round(n / count, 2) for name, n in done.items()})
    tell(
        "cpu-per-task", rate=rate, operator_ms=round(1000 * used / count, 1),
        workers_ms=round(1000 * used_by_workers / count, 1),
    )  # fmt: skip
    machine = (machine + calibration()) / 2
    ratio = round(1000 * (used + used_by_workers) / count / machine, 3)
    most = {"most": BUDGET["cpu_ratio"], "met": ratio <= BUDGET["cpu_ratio"]} if rate == 10 else {}
    tell("cpu-ratio", rate=rate, value=ratio, calibration_ms=round(machine, 1), **most)
    tell("cores", rate=rate, who="operator", late_ms=round(1000 * late, 1), **cores)
    judge(stage, lives)
    await stage.count_left(f"{rate:g} tasks a second")
    await stage.stop()


async def _work(stage: Stage) -> dict[str, float]:
    """Return what the operator has done by itself since its start."""
    return {
        "transactions": await stage.metric("taskpass_ledger_append_seconds_count"),
        "reconciles": await stage.metric("taskpass_reconciles_total"),
    }


async def _floor(stage: Stage, rate: float, seconds: float) -> list[Life]:
    lives = _lives(stage, rate, seconds, probed=False)
    async with stage.bare() as bare:

        async def play(life: Life) -> None:
            await bare.whole_life(stage.players, life, WORK_SECONDS)

        say(f"{rate:g} tasks a second for {seconds:g} s, the bare calls")
        before = Reading.now(stage.name, harness=os.getpid())
        late = await at_rate(stage, lives, rate, play)
        cores = before.cores_until(Reading.now(stage.name, harness=os.getpid()))
    tell("cores", rate=rate, who="bare", late_ms=round(1000 * late, 1), **cores)
    judge(stage, lives)
    await stage.count_left(f"the bare calls of {rate:g} tasks a second", ledger=False)
    return lives


def _lives(stage: Stage, rate: float, seconds: float, *, probed: bool = True) -> list[Life]:
    every = max(1, round(rate / PROBES_PER_SECOND)) if probed else 0
    return expect(stage, max(1, round(rate * seconds)), probed_every=every)


async def _warm(stage: Stage) -> None:
    """Play a few lives that are not counted: connections are opened, caches are filled."""
    lives = expect(stage, 5)

    async def play(life: Life) -> None:
        await whole_life(stage.players, life, 0.0)

    await at_rate(stage, lives, 5, play)
    judge(stage, lives)


def _tell_times(lives: Sequence[Life], rate: float, floor: Sequence[Life]) -> None:
    for figure, (start, *ends) in FIGURES.items():
        seen = times(lives, start, *ends)
        found, bare = spread(seen), spread(times(floor, start, *ends))
        values: dict[str, Any] = {"unit": "ms", "n": len(seen), **found, **beside(bare, "floor")}
        target = TARGETS.get(figure, {}).get(rate, {})
        if figure == "credential-there" and rate == 50:
            target = {p: round(TIMES_FLOOR * bare[p], 1) for p in ("p50", "p99") if p in bare}
        if target and found:
            met = all(found[share] <= most for share, most in target.items())
            values |= {**beside(target, "target"), "met": met}
        tell(figure, rate=rate, **values)
