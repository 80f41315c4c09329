"""What is noted beside the log: its state tables, read once, and what was written since.

Whoever can write the file can edit the tables at any time. So the writer reads them once, when it
opens the ledger, and from then on decides on this memory; the tables are only written. What is held
against the log is this memory as well, and not what the tables say by then.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from taskpass.core.audit.pseudonyms import Person
from taskpass.core.errors import EntryRefused, PodAlreadyBound
from taskpass.core.lifecycle.records import PodBinding, TaskRecord, TrailItem
from taskpass.core.model.grant import Grant
from taskpass.core.rate_limit.budget import Meter
from taskpass.ledger.state import tables
from taskpass.ledger.state.bindings import Bindings
from taskpass.ledger.state.tables import TRAIL_LENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a change made durable, as reads see it from then on."""

    indexes: tuple[int, ...] = ()
    grants: tuple[Grant, ...] = ()
    tasks: tuple[TaskRecord, ...] = ()
    trail: tuple[tuple[str, TrailItem], ...] = ()
    bound: tuple[PodBinding, ...] = ()
    lifted: tuple[str, ...] = ()
    """UIDs of pods."""
    forgotten: tuple[str, ...] = ()
    """UIDs of tasks."""
    unbound: tuple[str, ...] = ()
    """UIDs of pods."""
    pruned: int = 0
    """Items of trails before it are gone."""


@dataclass(slots=True, kw_only=True)
class Noted:
    """One thread's; what is in it is never changed, only replaced."""

    grants: dict[str, Grant] = field(default_factory=dict)
    """What is held, by id."""
    records: dict[str, TaskRecord] = field(default_factory=dict)
    """By UID of the task."""
    trails: dict[str, tuple[TrailItem, ...]] = field(default_factory=dict)
    """By UID of the task, oldest first; messages as their entries have them."""
    bindings: Bindings = field(default_factory=Bindings)
    meters: dict[str, Meter] = field(default_factory=dict)
    """What accounts had used when it was read; nothing is decided on them later."""
    people: tuple[Person, ...] = ()
    strange: str = ""
    """What a row says that no operator writes, in words; '' where all are as they are written."""

    @classmethod
    def read(cls, db: sqlite3.Connection, people: Iterable[Person] | None = None) -> Self:
        """Read the tables; `people` are those that were read already.

        Raises:
            StrangeRow, ValueError, TypeError: A value is none that an operator writes.

        """
        noted = cls(meters=tables.meters(db))
        for id_, grant in tables.held_grants(db):
            noted.grants[grant.id] = grant
            if grant.id != id_ or not grant.state.held:
                noted._wonder(f"what is noted of grant {id_} is not what an operator writes")
        for uid, record in tables.task_records(db):
            noted.records[record.task.uid] = record
            if record.task.uid != uid:
                noted._wonder(f"what is noted of task {uid} is of another")
        items: dict[str, list[TrailItem]] = {}
        for uid, item, as_written in tables.trails(db):
            items.setdefault(uid, []).append(item)
            if not as_written:
                noted._wonder(f"an item of the trail of task {uid} is of no entry")
        noted.trails = {uid: tuple(some) for uid, some in items.items()}
        for binding, lifted in tables.bindings(db):
            noted.bindings.bind(binding, lifted=lifted)
        noted.people = tuple(tables.people(db) if people is None else people)
        return noted

    def check_bindings(self, records: Iterable[TaskRecord]) -> None:
        """Raise `PodAlreadyBound` where a record's pod is bound to another task UID."""
        seen: dict[str, str] = {}
        for record in records:
            if not record.pod_uid:
                continue
            uid, pod = record.task.uid, record.pod_uid
            if (seen.get(pod) or self.bindings.task_of(pod) or uid) != uid:
                raise PodAlreadyBound(
                    f"Pod '{record.pod_name}' is bound to an earlier task of this name; delete the "
                    "pod so that its workload makes a new one"
                )
            seen[pod] = uid

    def check_unbound(self, pod_uids: Iterable[str]) -> None:
        """Raise `EntryRefused` where a pod is bound to a task that is remembered, or to none."""
        for pod in pod_uids:
            task = self.bindings.task_of(pod)
            if task is None or task in self.records:
                raise EntryRefused(f"Pod {pod} is bound to no task that is forgotten")

    def newly_bound(self, records: Iterable[TaskRecord]) -> tuple[PodBinding, ...]:
        """Return the bindings that records make."""
        return tuple(
            PodBinding(
                pod_uid=r.pod_uid, task_uid=r.task.uid, namespace=r.task.namespace, name=r.pod_name
            )
            for r in records
            if r.pod_uid and self.bindings.task_of(r.pod_uid) is None
        )

    def apply(self, written: Written) -> None:
        """Take in what a transaction writes; if it fails, nothing is decided on this any more."""
        for grant in written.grants:
            if grant.state.held:
                self.grants[grant.id] = grant
            else:
                self.grants.pop(grant.id, None)
        for record in written.tasks:
            self.records[record.task.uid] = record
        self.trails = grown(self.trails, written)
        follow(self.bindings, written)
        for uid in written.forgotten:
            self.records.pop(uid, None)

    def copy(self, people: Iterable[Person]) -> "Noted":
        """Return it as it is now, for another thread; `people` are those of now."""
        return Noted(
            grants=self.grants.copy(), records=self.records.copy(), trails=self.trails.copy(),
            bindings=self.bindings.copy(), meters=self.meters, people=tuple(people),
            strange=self.strange,
        )  # fmt: skip

    def _wonder(self, why: str) -> None:
        self.strange = self.strange or why


def grown(
    trails: dict[str, tuple[TrailItem, ...]], written: Written
) -> dict[str, tuple[TrailItem, ...]]:
    """Return trails with what was written; the same dict unless entries were pruned."""
    for uid, item in written.trail:
        trails[uid] = (*trails.get(uid, ()), item)[-TRAIL_LENGTH:]
    for uid in written.forgotten:
        trails.pop(uid, None)
    if not written.pruned:
        return trails
    return {
        uid: tuple(item for item in items if item.audit_index >= written.pruned)
        for uid, items in trails.items()
    }


def follow(bindings: Bindings, written: Written) -> None:
    """Take what was written into bindings."""
    for binding in written.bound:
        bindings.bind(binding)
    for pod in written.lifted:
        bindings.lift(pod)
    for pod in written.unbound:
        bindings.drop(pod)
