"""What one reconcile has decided and not yet made durable: it shares the next transaction.

A transaction of the ledger is the dearest thing that the operator does by itself, so what nothing
outside depends on yet waits for what is decided next: a pod that is bound for the credentials that
are issued to it, revocations that are confirmed for the end of the task. The reconcile reads it as
if it were recorded; nobody else does before it is. A process that ends meanwhile finds the pod
unbound, and revokes once more what is gone already.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.model.entry import Entry
from taskpass.core.model.grant import Grant
from taskpass.ports.ledger import Batch

PodName = tuple[str, str]
"""Name and UID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Untold:
    """A committed entry whose Event is left out where what it comes to is told as well."""

    entry: Entry
    index: int
    pod: PodName | None


@dataclass(slots=True)
class Deferred:
    """Of one reconcile; elsewhere it stays empty."""

    batch: Batch | None = None
    untold: list[Untold] = field(default_factory=list)

    def add(self, batch: Batch) -> None:
        """Have it recorded together with what comes next."""
        self.batch = merged(self.batch, batch)

    def take(self, batch: Batch) -> Batch:
        """Return all that is to be recorded now; nothing is left."""
        whole, self.batch = merged(self.batch, batch), None
        return whole

    def put_back(self, batch: Batch | None) -> None:
        """Have what was taken be recorded later, as what it was taken with was refused."""
        if batch is not None:
            self.batch = batch if self.batch is None else merged(batch, self.batch)

    def records(self, recorded: Sequence[TaskRecord]) -> list[TaskRecord]:
        """Return records as they will be."""
        if self.batch is None:
            return list(recorded)
        forgotten = set(self.batch.forgets)
        known = {r.task.uid: r for r in (*recorded, *self.batch.tasks)}
        return [record for uid, record in known.items() if uid not in forgotten]

    def grants(self, recorded: Sequence[Grant]) -> list[Grant]:
        """Return what will be held."""
        if self.batch is None:
            return list(recorded)
        known = {g.id: g for g in (*recorded, *self.batch.grants)}
        return [grant for grant in known.values() if grant.state.held]

    def record(self, uid: str) -> TaskRecord | None:
        """Return what will be remembered of a task; None: nothing of it is deferred."""
        tasks = self.batch.tasks if self.batch else ()
        return next((r for r in tasks if r.task.uid == uid), None)

    def bound_task(self, pod_uid: str) -> str | None:
        """Return the UID of the task that the pod will be bound to; None: of none of these."""
        tasks = self.batch.tasks if self.batch else ()
        return next((r.task.uid for r in tasks if pod_uid and r.pod_uid == pod_uid), None)


def merged(first: Batch | None, then: Batch) -> Batch:
    """Return one batch of two: what is written whole is as the later one has it."""
    if first is None:
        return then
    return replace(
        then,
        entries=(*first.entries, *then.entries),
        grants=tuple({g.id: g for g in (*first.grants, *then.grants)}.values()),
        tasks=tuple({r.task.uid: r for r in (*first.tasks, *then.tasks)}.values()),
        lifts=(*first.lifts, *then.lifts),
        unbinds=(*first.unbinds, *then.unbinds),
        forgets=(*first.forgets, *then.forgets),
        hide=(*first.hide, *then.hide),
        meters={**first.meters, **then.meters},
        patient=first.patient and then.patient,
    )
