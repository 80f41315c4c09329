"""A simulated world as it is on a bad day: caches lag, tasks are reconciled side by side.

Between any two calls of one reconcile, others go on, caches see more, and the cluster changes. What
must hold at the moment of an effect is held against the cluster as it is, never against a cache;
what does not hold is kept in `broken`, for an operator that survives every error survives an
assertion as well.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from taskpass.core.errors import LedgerError
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.model.grant import GrantState
from taskpass.core.model.key import Key
from taskpass.core.model.task import Task
from taskpass.flows.cluster.orphans import Sweeper
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ports.credentials import Delivery
from tests.simulation.adapters import SimulatedCalls, SimulatedLedger, SimulatedProvider
from tests.simulation.caches import LaggingCaches
from tests.simulation.cluster import Cluster
from tests.simulation.faults import Crash
from tests.simulation.inline_ledger import InlineLedger
from tests.simulation.world import SimulatedWorld

MOST_PAUSES = 3
TICK = 1e-5
"""Seconds that pass in a pause: no two things happen at the same microsecond."""


class LaggingWorld(SimulatedWorld):
    """`together` reconciles many keys at once, while the caches see what they see."""

    LEDGER = InlineLedger

    def __init__(self, path: Path, draw: random.Random, overlap: timedelta) -> None:
        """Start an operator; `draw` says what lags, and who goes on first."""
        self.draw = draw
        self.broken: list[str] = []
        """What did not hold."""
        self.met: Counter[str] = Counter()
        """How often each call went wrong, as it was told to."""
        self.waits = 0
        """How often somebody waited while others went on."""
        super().__init__(path, None, overlap)

    @cached_property
    def caches(self) -> LaggingCaches:
        """The operator's; they are there for as long as the world is."""
        return LaggingCaches(self.cluster)

    def seen(self) -> Cluster:
        return self.caches.view

    def _surroundings(self, ledger: SqliteLedger) -> tuple[Any, Any, Any]:
        parts = (
            WatchedCalls(self),
            SimulatedProvider(self.provider, self.life),
            SimulatedLedger(ledger, self.life),
        )
        calls, provider, kept = (Paused(each, self.pause) for each in parts)
        return calls, provider, kept

    async def pause(self) -> None:
        """Let others go on, for a while or not at all."""
        for _ in range(self.draw.randint(0, MOST_PAUSES)):
            self.waits += 1
            self.clock.advance(TICK)
            await asyncio.sleep(0)

    def heal(self) -> None:
        """Have nothing go wrong any more; what did is counted."""
        for fault in self.faults:
            self.met[fault.call] += fault.met
        super().heal()

    def restart(self) -> None:
        """End the process and start another, whose caches list everything anew."""
        self.caches.catch_up()
        super().restart()

    async def together(self, keys: Sequence[Key], beside: Callable[[], Awaitable[None]]) -> None:
        """Reconcile each of the keys once, side by side, while `beside` happens."""
        looks = [self._look_once(key) for key in keys]
        crashed, *_ = await asyncio.gather(self._all(looks), beside())
        if crashed:
            self.restart()

    async def settle(self) -> None:
        """Come to rest, with caches that have seen everything whenever a task is looked at."""
        for _ in range(100):
            before = self._progress()
            for key in self.keys():
                self.caches.catch_up()
                if await self._look_once(key):
                    self.restart()
            self.cluster.collect_garbage()
            self.caches.catch_up()
            if self._progress() == before:
                return
        raise AssertionError(f"no rest: {self.journal[-30:]}")

    async def _all(self, looks: Sequence[Awaitable[bool]]) -> bool:
        return any(await asyncio.gather(*looks))

    async def _look_once(self, key: Key) -> bool:
        """Reconcile as the queue does; return whether the process ended in it."""
        try:
            if self._sweep_due:
                self._sweep_due = False
                self.swept += await Sweeper(self.ports, lambda _: None).sweep(quiet=True)
            await self._reconciler.reconcile(key)
        except (Crash, LedgerError) as error:
            self.errors.append(error)
            self.life.end()
            return True
        except Exception as error:  # the queue survives every class, and so must what is held
            self.errors.append(error)
        return False


class Paused:
    """Any port, around whose calls others go on."""

    def __init__(self, port: Any, pause: Callable[[], Awaitable[None]]) -> None:
        self._port = port
        self._pause = pause

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def call(*arguments: Any, **keywords: Any) -> Any:
            await self._pause()
            answer = await found(*arguments, **keywords)
            await self._pause()
            return answer

        return call


class WatchedCalls(SimulatedCalls):
    """Each effect is held against the cluster as it is at that moment."""

    def __init__(self, world: LaggingWorld) -> None:
        super().__init__(world.cluster, world.life)
        self._world = world

    async def deliver(self, delivery: Delivery) -> str:
        task = delivery.task
        for pod in readers(self._world.cluster, task.namespace, f"taskpass-{task.name}"):
            record = self._world.ports.ledger.record(task.uid)
            if record is None or record.pod_uid != pod.uid:
                bound = self._world.ports.ledger.bound_task(pod.uid)
                self._world.broken.append(
                    f"the Secret of {task.uid} is written while {pod.uid} runs, bound to {bound}"
                )
        held = {g.id: g for g in self._world.ports.ledger.grants(task.key)}
        values = {value: id_ for id_, value in self._world.provider.live.items()}
        for value in delivery.fields.values():
            grant = held.get(values.get(value.reveal(), ""))
            if grant is not None and grant.state not in (GrantState.ISSUED, GrantState.DELIVERED):
                self._world.broken.append(f"{grant.id} is delivered in state {grant.state}")
        return await super().deliver(delivery)

    async def lift_gate(self, pod: PodView) -> None:
        owner = self._world.ports.ledger.bound_task(pod.uid)
        if owner is None:
            self._world.broken.append(f"the gate of {pod.uid} is lifted, and it is bound to nobody")
        await super().lift_gate(pod)

    async def patch_status(self, task: Task, status: Mapping[str, Any]) -> None:
        over = any(
            (c["type"], c["status"]) == ("Finished", "True") for c in status.get("conditions", ())
        )
        held = {g.id for g in self._world.ports.ledger.held() if g.task.uid == task.uid}
        if over and held:
            self._world.broken.append(f"{task.uid} is called finished and holds {sorted(held)}")
        await super().patch_status(task, status)


def readers(cluster: Cluster, namespace: str, secret: str) -> list[PodView]:
    """Return the pods that run, as far as the cluster knows, and read a Secret."""
    return [
        pod
        for pod in cluster.known_pods.values()
        if (pod.namespace, pod.secret) == (namespace, secret) and not pod.gated and not pod.ended
    ]


def assert_nobody_else_reads(world: SimulatedWorld) -> None:
    """What is in a Secret is in front of nobody but pods that were attested for that task UID."""
    live = set(world.provider.live.values())
    for (namespace, name), secret in world.cluster.secrets.items():
        if not secret.owner or not live & set(secret.fields.values()):
            continue
        for pod in readers(world.cluster, namespace, name):
            bound = world.ports.ledger.bound_task(pod.uid)
            assert bound == secret.owner, f"{pod.uid} of {bound} reads the Secret of {secret.owner}"
