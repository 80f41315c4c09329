"""A whole simulated world: a cluster, an issuer, one operator on a real ledger, and its driver."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from taskpass.core.errors import LedgerError, TaskpassError
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.model.grant import Grant
from taskpass.core.model.key import Key
from taskpass.core.model.task import Task
from taskpass.core.rate_limit.budget import Limit
from taskpass.flows.budgeting import UNLIMITED, Budgets, UnlimitedVolume
from taskpass.flows.cluster.orphans import Sweeper
from taskpass.flows.context import Ports
from taskpass.flows.task.reconcile import Reconciler
from taskpass.flows.work_queue import Requeue
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.verify.log import verify_database
from tests.fake_provider import FakeProvider
from tests.simulation.adapters import SimulatedCalls, SimulatedLedger, SimulatedProvider
from tests.simulation.builders import NAME, NAMESPACE, pod
from tests.simulation.cluster import Clock, Cluster
from tests.simulation.faults import Crash, Fault, Life, Trap, When

KEY: Key = (NAMESPACE, NAME)
SEED = bytes(range(32))
OVERLAP = timedelta(seconds=90)
MOST_PASSES = 30


class SimulatedWorld:
    """Verbs change the world as people and controllers would; `settle` lets the operator act."""

    LEDGER: type[SqliteLedger] = SqliteLedger

    def __init__(self, path: Path, trap: Trap | None = None, overlap: timedelta = OVERLAP) -> None:
        """Start an operator on the ledger at `path`."""
        self.path = path
        self.clock = Clock()
        self.cluster = Cluster(clock=self.clock)
        self.provider = FakeProvider(self.clock)
        self.journal: list[str] = []
        """Every call that took effect, in order."""
        self.faults: list[Fault] = []
        self.errors: list[BaseException] = []
        """What came out of reconciles."""
        self.seen_anew = asyncio.Event()
        """Set by a test once what it changed is seen, while a look is under way."""
        self.asked: list[Key] = []
        """Which keys the operator had looked at for the sake of another."""
        self.starts = 0
        self.swept = 0
        """How many orphans were found at starts."""
        self.overlap = overlap
        self.limits: dict[str, Limit] = {}
        """What tasks and namespaces may fill of the ledger, from the next start on."""
        self.room = UnlimitedVolume()
        """What its volume has left."""
        self._trap = trap
        self._ledger: SqliteLedger | None = None
        self._start()

    # What happens in the cluster.

    def create(self, task: Task) -> Task:
        """Create a task."""
        return self.cluster.create_task(task)

    def change(self, **changes: Any) -> None:
        """Change the task's spec."""
        self.cluster.change_task(KEY, **changes)

    def delete(self) -> None:
        """Delete the task."""
        self.cluster.delete_task(KEY)

    def add_pod(self, name: str = "agent", **wishes: Any) -> PodView:
        """Create a pod with the task's label."""
        return self.cluster.create_pod(pod(name, **wishes))

    def pod(self, name: str = "agent") -> PodView:
        """Return the newest pod of a name as it is now."""
        return [p for p in self.cluster.known_pods.values() if p.name == name][-1]

    def end_pod(self, name: str = "agent", how: str = "Succeeded") -> None:
        """Have the pod end."""
        self.cluster.change_pod(self.pod(name).uid, ended=how)

    def remove_pod(self, name: str = "agent") -> None:
        """Have the pod gone."""
        self.cluster.remove_pod(self.pod(name).uid)

    def fail(
        self, call: str, error: BaseException, *, when: When = When.BEFORE, skip: int = 0,
        times: int | None = 1,
    ) -> Fault:  # fmt: skip
        """Have calls of a name go wrong."""
        fault = Fault(call, when, error, skip, times)
        self.faults.append(fault)
        return fault

    def heal(self) -> None:
        """Have nothing go wrong any more."""
        self.faults.clear()
        self.provider.issue_failures.clear()
        self.provider.revoke_failures.clear()

    # The operator's process.

    def _start(self) -> None:
        self.starts += 1
        self.life = Life(self.journal, self.faults, self._trap)
        self._ledger = self.LEDGER.open(
            self.path, signer=SeedSigner(SEED), cluster_id="c0ffee00",
            instance=f"operator-{self.starts}", now=self.clock.now(), fail_point=self.life.point,
        )  # fmt: skip
        calls, provider, ledger = self._surroundings(self._ledger)
        self.ports = Ports(
            clock=self.clock, world=self.seen(), ledger=ledger,
            providers={"Fake": provider}, sink=calls, pods=calls, tasks=calls, events=calls,
            reviewer=calls, workloads=calls, ready_conditions=calls, evaluator=calls,
            audience="taskpass", overlap=self.overlap, fingerprint_key=b"k" * 32,
            fail_point=self.life.point, enqueue=self.asked.append, changed=self._changed,
            budgets=Budgets(
                meters=self._ledger.meters(), room=lambda: self.room,
                task=self.limits.get("task", UNLIMITED),
                namespace=self.limits.get("namespace", UNLIMITED),
            ),
        )  # fmt: skip
        self.ports.modes.issuance_blocked_reason = None
        self._reconciler = Reconciler(self.ports)
        self._sweep_due = self.starts > 1

    async def _changed(self, key: Key) -> None:
        """Return once a test says that the queue was asked to have the key looked at."""
        await self.seen_anew.wait()
        self.seen_anew.clear()

    def seen(self) -> Cluster:
        """Return what the operator's caches show."""
        return self.cluster

    def _surroundings(self, ledger: SqliteLedger) -> tuple[Any, Any, Any]:
        """Return the ports for calls, the provider and the ledger."""
        return (
            SimulatedCalls(self.cluster, self.life),
            SimulatedProvider(self.provider, self.life),
            SimulatedLedger(ledger, self.life),
        )

    def close(self) -> None:
        """End the process; what it wrote stays."""
        self.life.end()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def restart(self) -> None:
        """End the process and start another on the same ledger; nothing else is remembered.

        Wherever it ended, the ledger's state is what its log says.
        """
        self.close()
        verify_database(self.path)
        self._start()

    def keys(self) -> list[Key]:
        """Return what the operator looks at when it starts."""
        ledger = self.ports.ledger
        owed = {g.task.key for g in ledger.held()} | {r.task.key for r in ledger.records()}
        return sorted(owed | set(self.cluster.tasks))

    async def look(self, key: Key = KEY) -> Requeue | None:
        """Reconcile one key once; None where that failed (see `errors`), as the queue does."""
        try:
            if self._sweep_due:
                self.swept += await Sweeper(self.ports, _settled).sweep(quiet=True)
                self._sweep_due = False
            return await self._reconciler.reconcile(key)
        except (Crash, LedgerError) as error:
            self.errors.append(error)
            await asyncio.sleep(0)  # what was under way ends with the process
            self.restart()
        except TaskpassError as error:
            self.errors.append(error)
        return None

    async def settle(self) -> None:
        """Reconcile every key, as the queue would, until nothing changes."""
        for _ in range(MOST_PASSES):
            before = self._progress()
            for key in self.keys():
                await self.look(key)
            if self._progress() == before:
                return
        raise AssertionError(f"no rest after {MOST_PASSES} passes: {self.journal[-20:]}")

    def _progress(self) -> tuple[int, ...]:
        ledger = self._ledger
        assert ledger is not None
        met = sum(fault.met for fault in self.faults)
        if self._trap and self._trap.reached:
            met += 1
        return self.cluster.version, ledger.size, met, self.starts

    # What can be seen.

    @property
    def task(self) -> Task:
        """The task as it is now."""
        return self.cluster.tasks[KEY]

    @property
    def status(self) -> Mapping[str, Any]:
        """Its status."""
        return self.task.status

    def condition(self, kind: str) -> tuple[str, str]:
        """Return status and reason of a condition."""
        found = next(c for c in self.status["conditions"] if c["type"] == kind)
        return found["status"], found["reason"]

    def message(self, kind: str) -> str:
        """Return a condition's message."""
        found = next(c for c in self.status["conditions"] if c["type"] == kind)
        return str(found["message"])

    def secret(self, name: str = NAME) -> Mapping[str, bytes] | None:
        """Return the fields of the task's Secret; None where there is none."""
        found = self.cluster.secrets.get((NAMESPACE, f"taskpass-{name}"))
        return found.fields if found else None

    def held(self) -> Sequence[Grant]:
        """Return every grant that is held, by name."""
        return sorted(self.ports.ledger.held(), key=lambda g: g.name)

    def told(self, reason: str, kind: str = "AgentTask") -> list[str]:
        """Return the messages of the Events of a reason."""
        events = self.cluster.events.values()
        return [e.message for e in events if (e.reason, e.kind) == (reason, kind)]

    def log(self) -> list[dict[str, Any]]:
        """Return every entry of the log, from the file."""
        with reading(self.path) as log:
            return [orjson.loads(entry) for entry in log.entries()]

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Return the entries of a type, such as `credential.deny`."""
        return [e for e in self.log() if e["type"] == f"dev.taskpass.{kind}"]

    def reasons(self) -> list[str]:
        """Return why credentials were revoked, in order."""
        revoked = self.entries("credential.revoke")
        return [e["data"]["reason"] for e in revoked if e["data"]["stage"] == "intent"]

    def now(self) -> datetime:
        """Return the time of the world."""
        return self.clock.now()


def _settled(_: Key) -> None:
    """Nothing to do: `settle` looks at every task anyway."""
