"""What is told again when entries are pruned: all that the state beside the log rests on.

The record of a task, the binding of a pod and the name of a person are believed because entries say
so. When those go into an archive, what they said is written once more, before they go: so every row
can still be held against the log, however old what it tells is.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import count
from typing import TypeVar

from taskpass.core.audit import events as audit
from taskpass.core.audit import log_events as audit_log
from taskpass.core.audit.task_history import retelling_of
from taskpass.core.model.entry import Entry
from taskpass.core.model.grant import TaskRef
from taskpass.ledger.verify.replay import Replay

Item = TypeVar("Item")
AT_ONCE = 50
"""Bindings or people in one entry: some 25 KiB at most."""


def retellings(replay: Replay, min_index: int, origin: str, now: datetime) -> Iterator[Entry]:
    """Return the entries that say again what is told before `min_index` only, and still counts."""
    done = set()
    for uid, task in sorted(replay.tasks.items()):
        if task.at < min_index:
            done.add(task.pod.get("uid"))
            namespace, _, name = task.task.partition("/")
            ref = TaskRef(namespace=namespace, name=name, uid=uid)
            for part, data in enumerate(retelling_of(task, replay.erased)):
                yield audit.retold(ref, part, data, min_index, now)
    numbers = count(1)
    pods = [
        each
        for pod, each in sorted(replay.bindings.items())
        if pod not in done and replay.last_told[pod] < min_index
    ]
    for some in _parts(pods):
        yield audit_log.retold(origin, min_index, next(numbers), some, (), now, replay.unplaced)
    people = [
        (ref, commitment)
        for ref, commitments in sorted(replay.people.items())
        if ref not in replay.erased and replay.last_told[ref] < min_index
        for commitment in sorted(commitments)
    ]
    for each in _parts(people):
        yield audit_log.retold(origin, min_index, next(numbers), (), each, now)


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE))
