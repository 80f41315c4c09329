"""The ledger: what is held, what is remembered of tasks, and the audit log, in one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from taskpass.core.lifecycle.records import PodBinding, TaskRecord, TrailItem
from taskpass.core.model.entry import Entry
from taskpass.core.model.grant import Grant, SecretValue
from taskpass.core.model.key import Key
from taskpass.core.rate_limit.budget import Meter


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one transaction of the ledger holds. All of it is durable, or none."""

    entries: tuple[Entry, ...] = ()
    grants: tuple[Grant, ...] = ()
    """Written whole, by id. One without `audit_index` that becomes Issued here gets the index of
    the batch's entry that names it as result."""
    tasks: tuple[TaskRecord, ...] = ()
    """Written whole, by UID. A pod UID that another task UID is bound to is `PodAlreadyBound`."""
    lifts: tuple[str, ...] = ()
    """UIDs of bound pods whose gate is lifted next: from here on each counts as one that runs."""
    unbinds: tuple[str, ...] = ()
    """UIDs of pods whose binding is dropped, as an entry tells; none of a task with a record."""
    forgets: tuple[str, ...] = ()
    """UIDs of tasks that are gone, as an entry tells: record, trail and meter are dropped. Bindings
    stay, and so do the grants that are held."""
    meters: Mapping[str, Meter] = field(default_factory=dict)
    """What accounts have used, this batch included; by account."""
    patient: bool = False
    """Whether it may wait a moment for another's transaction: nothing outside depends on it."""
    hide: tuple[SecretValue, ...] = ()
    """What the entries tell of and must not contain: a ledger redacts it in every common form."""


class Ledger(Protocol):
    """The durable store: grants, task records and the signed log, in one transaction.

    Reads come from memory that mirrors what was committed; they never block.
    """

    async def commit(self, batch: Batch) -> tuple[int, ...]:
        """Make the batch durable under a signed checkpoint; return the entries' indexes.

        An entry whose id is in the log already (same bytes) returns its old index.

        Raises:
            LedgerError: Nothing of it counts as written; the process must end.

        """

    @property
    def epoch(self) -> int:
        """Return how often the ledger was opened, this time included; each copy counts on."""

    def grants(self, key: Key) -> tuple[Grant, ...]:
        """Return the held grants of every task UID that ever had this namespace and name."""

    def held(self) -> Iterable[Grant]:
        """Return every grant that is not Revoked."""

    def holders(self, agent: Key) -> Mapping[str, datetime]:
        """Return since when each task of an agent holds something, by UID.

        `agent` is namespace and name of a ServiceAccount; without a name it is all those of the
        namespace. What is being revoked does not count.
        """

    def ahead(self, agent: Key, task_uid: str) -> int:
        """Return how many of `holders` are others than a task, and were so before it."""

    def tally(
        self, namespace: str = "", account: str = "", class_name: str = ""
    ) -> Mapping[str, int]:
        """Return how many grants are held, by provider, without going through them.

        Of a namespace; with `account` of an agent in it; of a class alone; without any, of all.
        """

    def below(self, task_uid: str) -> Sequence[Grant]:
        """Return what is held by tasks that a task has delegated to, at any depth."""

    def record(self, task_uid: str) -> TaskRecord | None:
        """Return what is remembered of a task."""

    def records_of(self, key: Key) -> tuple[TaskRecord, ...]:
        """Return the records of every task UID that had this namespace and name."""

    def records(self) -> Iterable[TaskRecord]:
        """Return every record that is not forgotten."""

    def meters(self) -> Mapping[str, Meter]:
        """Return what accounts had used as of the start, by account."""

    def bound_task(self, pod_uid: str) -> str | None:
        """Return the UID of the task that a pod was ever bound to, while it may be seen."""

    def leftover_bindings(self, after: str, most: int) -> Sequence[PodBinding]:
        """Return bindings to tasks that are forgotten, by UID of the pod, from `after` on."""

    def gate_lifted(self, pod_uid: str) -> bool:
        """Tell whether a bound pod's gate was lifted, or was about to be; caches may lag."""

    def trail(self, task_uid: str) -> tuple[TrailItem, ...]:
        """Return the last ten notices of a task, oldest first."""
