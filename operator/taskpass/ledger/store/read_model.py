"""What reads of the ledger see: live state in memory, as of the last commit."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from taskpass.core.lifecycle.records import PodBinding, TaskRecord, TrailItem
from taskpass.core.model.grant import Grant, GrantState
from taskpass.core.model.key import Key
from taskpass.ledger.state.bindings import Bindings
from taskpass.ledger.state.noted import Noted, Written, follow, grown
from taskpass.ledger.state.tables import TRAIL_LENGTH
from taskpass.ledger.store.holder_queue import Line


class Mirror:
    """Held grants, records, trails, bindings. Only one thread may use it: the event loop's."""

    def __init__(self, noted: Noted | None = None) -> None:
        """Begin with what was noted when the ledger was opened."""
        self._held: dict[str, Grant] = {}
        self._by_key: dict[Key, dict[str, Grant]] = {}
        self._lines: dict[Key, Line] = {}
        """By agent, and by (namespace, ''): the tasks that hold what is not being revoked."""
        self._tallies: dict[tuple[str, str, str], Counter[str]] = {}
        """How many are held, by provider; by namespace, agent or class, as `tally` is asked."""
        self._below: dict[str, dict[str, Grant]] = {}
        """What is held by tasks below a task, by its UID."""
        self._records: dict[str, TaskRecord] = {}
        self._uids: dict[Key, list[str]] = {}
        self._trails: dict[str, tuple[TrailItem, ...]] = {}
        self.bindings = Bindings()
        if noted is not None:
            self.apply(
                Written(grants=tuple(noted.grants.values()), tasks=tuple(noted.records.values()))
            )
            self._trails = {uid: some[-TRAIL_LENGTH:] for uid, some in noted.trails.items()}
            self.bindings = noted.bindings.copy()

    def apply(self, written: Written) -> None:
        """Take in what was committed."""
        for grant in written.grants:
            self._put(grant)
        for record in written.tasks:
            if record.task.uid not in self._records:
                self._uids.setdefault(record.task.key, []).append(record.task.uid)
            self._records[record.task.uid] = record
        self._trails = grown(self._trails, written)
        follow(self.bindings, written)
        for task_uid in written.forgotten:
            self._forget(task_uid)

    def grants(self, key: Key) -> tuple[Grant, ...]:
        """Return the held grants of a namespace and name."""
        return tuple(self._by_key.get(key, {}).values())

    def held(self) -> Iterable[Grant]:
        """Return every held grant, as they are now."""
        return tuple(self._held.values())

    def holders(self, agent: Key) -> Mapping[str, datetime]:
        """See `ports.Ledger`."""
        line = self._lines.get(agent)
        return {uid: at for at, uid in line.order} if line else {}

    def ahead(self, agent: Key, task_uid: str) -> int:
        """See `ports.Ledger`."""
        line = self._lines.get(agent)
        return line.ahead(task_uid) if line else 0

    def tally(
        self, namespace: str = "", account: str = "", class_name: str = ""
    ) -> Mapping[str, int]:
        """See `ports.Ledger`."""
        return self._tallies.get((namespace, account, class_name), {})

    def below(self, task_uid: str) -> Sequence[Grant]:
        """See `ports.Ledger`."""
        return tuple(self._below.get(task_uid, {}).values())

    def record(self, task_uid: str) -> TaskRecord | None:
        """Return a task's record."""
        return self._records.get(task_uid)

    def records_of(self, key: Key) -> tuple[TaskRecord, ...]:
        """Return the records of a namespace and name, oldest first."""
        return tuple(self._records[uid] for uid in self._uids.get(key, ()))

    def records(self) -> Iterable[TaskRecord]:
        """Return every record, as they are now."""
        return tuple(self._records.values())

    def trail(self, task_uid: str) -> tuple[TrailItem, ...]:
        """Return a task's trail, oldest first."""
        return tuple(map(_indexed, self._trails.get(task_uid, ())))

    def leftovers(self, after: str, most: int) -> Sequence[PodBinding]:
        """Return bindings to tasks that are forgotten, by UID of the pod, from `after` on."""
        return self.bindings.leftovers(after, most, self._records)

    def _forget(self, task_uid: str) -> None:
        record = self._records.pop(task_uid, None)
        if record is None:
            return
        of_key = self._uids[record.task.key]
        of_key.remove(task_uid)
        if not of_key:
            del self._uids[record.task.key]

    def _put(self, grant: Grant) -> None:
        key = grant.task.key
        self._count(grant)
        going = grant.state.held and grant.state is not GrantState.REVOKING
        for agent in {(grant.task.namespace, grant.service_account), (grant.task.namespace, "")}:
            line = self._lines.setdefault(agent, Line())
            line.put(grant, going)
            if not line.order:
                del self._lines[agent]
        for uid in grant.chain:
            _put_in(self._below, uid, grant, grant.state.held)
        _put_in(self._by_key, key, grant, grant.state.held)
        if grant.state.held:
            self._held[grant.id] = grant
        else:
            self._held.pop(grant.id, None)

    def _count(self, grant: Grant) -> None:
        change = grant.state.held - (grant.id in self._held)
        if not change:
            return
        namespace = grant.task.namespace
        for of in {
            ("", "", ""), (namespace, "", ""), (namespace, grant.service_account, ""),
            ("", "", grant.class_name),
        }:  # fmt: skip
            tally = self._tallies.setdefault(of, Counter())
            tally[grant.provider] += change
            if not tally[grant.provider]:
                del tally[grant.provider]
            if not tally:
                del self._tallies[of]


def _indexed(item: TrailItem) -> TrailItem:
    """Return it with the index of its entry in its words, which are kept as the log means them."""
    if "{index}" not in item.notice.message:
        return item
    message = item.notice.message.replace("{index}", str(item.audit_index))
    return replace(item, notice=replace(item.notice, message=message))


def _put_in(index: dict[Any, dict[str, Grant]], key: Any, grant: Grant, held: bool) -> None:
    if held:
        index.setdefault(key, {})[grant.id] = grant
        return
    of_key = index.get(key, {})
    of_key.pop(grant.id, None)
    if not of_key:
        index.pop(key, None)


class LiveReads:
    """The reads of `ports.Ledger` that live state answers, whatever else a ledger can do."""

    _mirror: Mirror

    def grants(self, key: Key) -> tuple[Grant, ...]:
        """See `ports.Ledger`."""
        return self._mirror.grants(key)

    def held(self) -> Iterable[Grant]:
        """See `ports.Ledger`."""
        return self._mirror.held()

    def holders(self, agent: Key) -> Mapping[str, datetime]:
        """See `ports.Ledger`."""
        return self._mirror.holders(agent)

    def ahead(self, agent: Key, task_uid: str) -> int:
        """See `ports.Ledger`."""
        return self._mirror.ahead(agent, task_uid)

    def tally(
        self, namespace: str = "", account: str = "", class_name: str = ""
    ) -> Mapping[str, int]:
        """See `ports.Ledger`."""
        return self._mirror.tally(namespace, account, class_name)

    def below(self, task_uid: str) -> Sequence[Grant]:
        """See `ports.Ledger`."""
        return self._mirror.below(task_uid)

    def record(self, task_uid: str) -> TaskRecord | None:
        """See `ports.Ledger`."""
        return self._mirror.record(task_uid)

    def records_of(self, key: Key) -> tuple[TaskRecord, ...]:
        """See `ports.Ledger`."""
        return self._mirror.records_of(key)

    def records(self) -> Iterable[TaskRecord]:
        """See `ports.Ledger`."""
        return self._mirror.records()

    def trail(self, task_uid: str) -> tuple[TrailItem, ...]:
        """See `ports.Ledger`."""
        return self._mirror.trail(task_uid)

    def bound_task(self, pod_uid: str) -> str | None:
        """See `ports.Ledger`."""
        return self._mirror.bindings.task_of(pod_uid)

    def gate_lifted(self, pod_uid: str) -> bool:
        """See `ports.Ledger`."""
        return self._mirror.bindings.is_lifted(pod_uid)

    def leftover_bindings(self, after: str, most: int) -> Sequence[PodBinding]:
        """See `ports.Ledger`."""
        return self._mirror.leftovers(after, most)
