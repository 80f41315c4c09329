"""The accounts of tasks and namespaces: charged with what is written, kept with what is written.

An account is charged before anything is awaited, so that a thousand tasks side by side see what the
others use. What it used is in the same transaction as the entries that used it: a restart gives
nothing back. What is held back is counted, and told once an hour in an entry of its own.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from taskpass.core.audit import events as audit
from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.lifecycle.steps import Throttled
from taskpass.core.model.entry import Entry
from taskpass.core.model.grant import TaskRef
from taskpass.core.model.key import Key
from taskpass.core.model.task import Task
from taskpass.core.rate_limit.budget import (
    ACTIVITY_BYTES,
    OPENING_BYTES,
    Budget,
    Limit,
    Meter,
    Spending,
    account_of_namespace,
    account_of_task,
    charged,
    price_of,
    share,
)
from taskpass.ports.ledger import Batch

MOST_NAMES = 10_000
SOMETHING = 2048
"""Bytes that somebody who waits is taken to wait for."""
TELL_EVERY = timedelta(hours=1)
UNLIMITED = Limit(burst=1 << 60, per_day=1 << 60)


class Volume(Protocol):
    """The room that the ledger has."""

    @property
    def spare(self) -> int | None:
        """Bytes that tenants may still fill; None where nobody knows."""

    @property
    def tight(self) -> bool:
        """Whether that is little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlimitedVolume:
    """A `Volume` that has all the room there is."""

    spare: int | None = None
    tight: bool = False


@dataclass(slots=True)
class _Held:
    """What was held back in a namespace and is not told yet."""

    since: datetime
    counts: Counter[Spending] = field(default_factory=Counter)
    tasks: set[str] = field(default_factory=set)


class Budgets:
    """Every account of one process."""

    def __init__(
        self,
        *,
        task: Limit = UNLIMITED,
        namespace: Limit = UNLIMITED,
        namespaces: int = 1,
        room: Callable[[], Volume] = UnlimitedVolume,
        meters: Mapping[str, Meter] | None = None,
    ) -> None:
        """`namespaces` share the volume's `room`; `meters` are what was used before the start."""
        self._task = task
        self._namespace = namespace
        self._namespaces = namespaces
        self._room = room
        self._meters = dict(meters or {})
        self._names: dict[str, None] = {}
        """Of people whom the ledger knows, as far as is remembered."""
        self._waiting: dict[str, dict[Key, str]] = {}
        """What each task that waits says, by namespace."""
        self._held: dict[str, _Held] = {}
        self._told: dict[str, datetime] = {}
        self.on_hold: Callable[[Spending], None] = lambda spending: None
        """Told of each thing that is held back, once."""

    def of(self, task: Task, now: datetime) -> Budget:
        """Return the accounts of a task as they stand."""
        waiting = self._waiting.get(task.namespace, {})
        others = len(waiting) - (task.key in waiting)
        return Budget(
            task=self._meters.get(account_of_task(task.uid), Meter(used=0, at=now)),
            task_limit=self._task,
            namespace=self._meters.get(account_of_namespace(task.namespace), Meter(used=0, at=now)),
            namespace_limit=self._limit(),
            ahead=others * SOMETHING,
        )

    def charge(
        self, batch: Batch, known: Callable[[str], TaskRecord | None], now: datetime
    ) -> Batch:
        """Return the batch with what it leaves of the accounts that pay for it.

        `known` returns what the ledger remembers of a task: one that it does not know yet costs
        more. Everything that is written for a task goes through here.
        """
        renewals = {grant.id for grant in batch.grants if grant.renews}
        prices: dict[tuple[TaskRef, bool], int] = {}

        def add(ref: TaskRef, price: int, *, renews: bool = False) -> None:
            prices[ref, renews] = prices.get((ref, renews), 0) + price

        for entry in batch.entries:
            if entry.task is not None and (price := price_of(entry, self._new_names(entry))):
                add(entry.task, price, renews=entry.grant_id in renewals)
        for record in batch.tasks:
            if known(record.task.uid) is None:
                add(record.task, OPENING_BYTES)
            elif not batch.entries and not batch.grants:
                add(record.task, ACTIVITY_BYTES)
        meters: dict[str, Meter] = {}
        for (ref, renews), price in prices.items():
            accounts = [(account_of_namespace(ref.namespace), self._limit())]
            if not renews:
                accounts.append((account_of_task(ref.uid), self._task))
            for account, limit in accounts:
                used = charged(self._meters.get(account), limit, price, now)
                meters[account] = self._meters[account] = used
        return replace(batch, meters=meters) if meters else batch

    def note(self, key: Key, uid: str, throttled: Throttled | None, now: datetime) -> None:
        """Take in what is held back of a task, or that nothing is."""
        namespace = key[0]
        waiting = self._waiting.setdefault(namespace, {})
        before = waiting.pop(key, None)
        if throttled is not None:
            if before != throttled.said:
                held = self._held.setdefault(namespace, _Held(now))
                held.counts.update(throttled.held)
                held.tasks.add(uid)
                for spending in throttled.held:
                    self.on_hold(spending)
            waiting[key] = throttled.said
        if not waiting:
            del self._waiting[namespace]

    def forget(self, uid: str) -> None:
        """Drop the account of a task that is gone; its namespace's stays."""
        self._meters.pop(account_of_task(uid), None)

    @property
    def held_back(self) -> int:
        """How many tasks wait now because of this."""
        return sum(len(tasks) for tasks in self._waiting.values())

    def tell(self, now: datetime, *, all_of_it: bool = False) -> tuple[Entry, ...]:
        """Return entries that tell what was held back in each namespace, and begin to count anew.

        Once an hour for each, whatever happens there; at the end `all_of_it`.
        """
        due = [
            namespace
            for namespace in sorted(self._held)
            if all_of_it or now - self._told.get(namespace, now - TELL_EVERY) >= TELL_EVERY
        ]
        entries = []
        for namespace in due:
            held = self._held.pop(namespace)
            self._told[namespace] = now
            counts = {spending.name.lower(): n for spending, n in sorted(held.counts.items())}
            entries.append(audit.held_back(namespace, counts, len(held.tasks), held.since, now))
        return tuple(entries)

    def _limit(self) -> Limit:
        volume = self._room()
        if volume.spare is None:
            return self._namespace
        return share(
            self._namespace, spare=volume.spare, tight=volume.tight, namespaces=self._namespaces
        )

    def _new_names(self, entry: Entry) -> list[str]:
        new = [name for name in entry.people.values() if name and name not in self._names]
        for name in new:
            self._names[name] = None
            if len(self._names) > MOST_NAMES:
                self._names.pop(next(iter(self._names)))
        return new
