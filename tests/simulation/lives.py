"""Whole lives of tasks on bad days: `python -m tests.simulation.lives LIVES SEED`.

Each life is a world of its own from a seed of its own: tasks come, are deleted and made anew under
their names, pods come and go, caches lag, calls fail in every way that a call can fail, processes
end, and tasks are reconciled side by side. At every step what must hold holds; at its end nothing
is left. Prints one line of JSON; a life that breaks is told by its number, which plays it again.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from taskpass.core.errors import (
    AdmissionDenied,
    ApiError,
    ApiUnavailable,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    ProviderRefused,
    ProviderUnavailable,
    Unauthenticated,
)
from tests.simulation.builders import NAMESPACE
from tests.simulation.caches import KINDS
from tests.simulation.faults import When
from tests.simulation.invariants import assert_at_rest, assert_nothing_left, assert_safe
from tests.simulation.lagging import LaggingWorld, assert_nobody_else_reads
from tests.simulation.test_random_walk import NAMES, Walk

STEPS = 16
REST = 8
TOLD = 1000
"""After how many lives it says that it goes on."""


class Surprise(Exception):
    """An error of a class that nobody expects: a fault in a library, or in ours."""


OF_THE_API: dict[str, Callable[[], Exception]] = {
    "401": lambda: Unauthenticated("the token is not accepted"),
    "403": lambda: Forbidden("no right"),
    "403 by a policy": lambda: AdmissionDenied("a policy says no"),
    "404": lambda: NotFound("not there"),
    "409": lambda: Conflict("changed meanwhile"),
    "410": lambda: Gone("too old"),
    "422": lambda: Invalid("refused as it is"),
    "429": lambda: ApiUnavailable("too many requests"),
    "500": lambda: ApiUnavailable("an internal error"),
    "503": lambda: ApiUnavailable("away"),
    "418": lambda: ApiError("a status that nobody knows"),
    "reset": lambda: ApiUnavailable("the connection was reset"),
    "timeout": lambda: ApiUnavailable("no answer in time"),
    "surprise": lambda: Surprise("nobody expects it"),
}
OF_A_PROVIDER: dict[str, Callable[[], Exception]] = {
    "unavailable": lambda: ProviderUnavailable("no answer"),
    "refused": lambda: ProviderRefused("no"),
    **{name: OF_THE_API[name] for name in ("401", "403", "404", "409", "410", "422", "500")},
    "surprise": OF_THE_API["surprise"],
}
CALLS = (
    "sink.deliver", "sink.withdraw", "pods.lift_gate", "pods.is_gone", "tasks.patch_status",
    "tasks.create", "tasks.release", "tasks.delete", "standings.say", "reviewer.may_use",
    "reviewer.may_delegate", "workloads.workload", "workloads.owners", "provider.reach",
    "provider.issue", "provider.revoke", "provider.inventory", "provider.undo",
)  # fmt: skip


class BadDays(Walk):
    """Draws what happens next, where nothing can be relied on."""

    def __init__(self, world: LaggingWorld, draw: random.Random) -> None:
        super().__init__(world, 0)
        self.lagging = world
        self.caches = world.caches
        self.caches.slow = frozenset(draw.sample(KINDS, draw.randint(0, 3)))
        self.random = draw
        self.happenings += [
            *[self.task_is_made_anew] * 10, *[self.any_error] * 16, *[self.pod_comes] * 10,
            self.a_limit_of_one, self.everything_recovers,
        ]  # fmt: skip

    def task_is_made_anew(self) -> None:
        """Have somebody take the finalizer off, delete the task, and apply it again."""
        key = self.key()
        found = self.cluster.tasks.get(key)
        if found is None:
            return
        if self.random.random() < 0.7:
            self.cluster.release(found)
        self.cluster.delete_task(key)
        self.task_comes(key)
        if self.random.random() < 0.5:
            self.pod_comes(key)

    def any_error(self) -> None:
        """Have calls of one name answered by one class of error, before or after their effect."""
        call = self.random.choice(CALLS)
        kinds = OF_A_PROVIDER if call.startswith("provider.") else OF_THE_API
        name = self.random.choice(sorted(kinds))
        self.world.fail(
            call, kinds[name](), when=self.random.choice(list(When)),
            skip=self.random.randint(0, 2), times=self.random.choice([1, 1, 2, 5]),
        )  # fmt: skip

    def a_limit_of_one(self) -> None:
        """Have a policy by which only one task of the three may hold something."""
        self.cluster.policy_list = [
            replace(each, policy=replace(each.policy, max_active_tasks=1))
            for each in self.cluster.policy_list
        ]

    def everything_recovers(self) -> None:
        """End all faults, but let caches lag on."""
        self.heal()

    async def beside(self) -> None:
        """What happens while reconciles are under way."""
        for _ in range(self.random.randint(0, 6)):
            await self.lagging.pause()
            drawn = self.random.random()
            if drawn < 0.6:
                self.caches.advance(self.random)
            elif drawn < 0.8:
                self.step()

    async def go(self) -> None:
        """One step of the life, and what must hold after it."""
        self.step()
        self.caches.advance(self.random)
        await self.look()

    async def look(self) -> None:
        """Have some tasks looked at side by side; then hold all against what must hold."""
        names = self.random.sample(NAMES, self.random.randint(1, len(NAMES)))
        keys = [(NAMESPACE, name) for name in names]
        await self.lagging.together(keys, self.beside)
        self.check()

    def check(self) -> None:
        """What must hold at every moment."""
        assert_safe(self.lagging)
        assert_nobody_else_reads(self.lagging)
        assert not self.lagging.broken, "; ".join(self.lagging.broken)

    async def rest(self) -> None:
        """Let everything answer and be seen: what is held has a reason, and all else is gone."""
        self.heal()
        await self.lagging.settle()
        assert_at_rest(self.lagging, cut_off=True)
        self.check()


async def live(directory: Path, seed: int) -> Counter[str]:
    """Walk one life; return what it met."""
    draw = random.Random(seed)
    path = directory / f"ledger-{seed}.db"
    world = LaggingWorld(path, draw, timedelta(seconds=draw.choice([0, 90])))
    walk = BadDays(world, draw)
    try:
        walk.begin()
        for number in range(STEPS):
            await walk.go()
            if number % REST == REST - 1:
                await walk.rest()
                walk.clean()
        walk.heal()
        for name in NAMES:
            world.cluster.delete_task((NAMESPACE, name))
        await world.settle()
        assert_nothing_left(world)
        walk.check()
        return _met(world)
    finally:
        world.close()
        for each in directory.glob(f"{path.name}*"):
            each.unlink()


def _met(world: LaggingWorld) -> Counter[str]:
    met = Counter(type(error).__name__ for error in world.errors)
    met["errors met"] = sum(world.met.values())
    met["starts"] = world.starts
    met["waits"] = world.waits
    met["issued"] = sum(call == "issue" for call, _ in world.provider.calls)
    return met


def main(lives: int, seed: int, directory: Path) -> dict[str, object]:
    """Walk so many lives; return what is printed."""
    began, met = time.monotonic(), Counter[str]()
    failed: dict[str, str] = {}
    for number in range(seed, seed + lives):
        try:
            met += asyncio.run(live(directory, number))
        except Exception as error:
            failed[str(number)] = f"{type(error).__name__}: {error}"[:500]
            print(json.dumps({"life": number, "broke": failed[str(number)]}), flush=True)
        if (number - seed) % TOLD == TOLD - 1:
            print(json.dumps({"lives": number - seed + 1, "broken": len(failed)}), flush=True)
    return {
        "walk": "lives on bad days", "lives": lives, "first": seed, "broken": len(failed),
        "met": dict(sorted(met.items())), "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


if __name__ == "__main__":
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        told = main(int(sys.argv[1]), int(sys.argv[2]), Path(made))
    print(json.dumps(told))
    sys.exit(1 if told["broken"] else 0)
