"""Make durable what was decided, and tell people of it."""

from collections.abc import Mapping
from types import MappingProxyType

from taskpass.core.errors import MustEnd, TaskpassError
from taskpass.core.model.task import Task
from taskpass.flows.context import Ports
from taskpass.flows.deferred import PodName, Untold
from taskpass.flows.task.relatives import enqueue_ancestors, enqueue_descendants
from taskpass.ports.ledger import Batch

COMES_TO: Mapping[str, str] = MappingProxyType({
    "Attested": "CredentialIssued",
    "CredentialRevoked": "TaskFinished",
})  # fmt: skip
"""An Event of the first reason is left out where one reconcile tells of the second as well: each is
a call, and the status's trail has both."""


async def record(ports: Ports, batch: Batch, task: Task | None, pod: PodName | None = None) -> None:
    """Commit, with what was deferred before; then post Events on the task, some on the pod as well.

    Posting is off this path and best effort; `status.trail` says the same. What was deferred is
    recorded by itself later where this batch is refused: nothing of either is written then.
    """
    before = ports.deferred.batch if batch != Batch() else None  # nothing else was refused
    batch = ports.deferred.take(_charged(ports, batch))
    try:
        indexes = await ports.ledger.commit(batch)
    except MustEnd:
        raise
    except TaskpassError:
        ports.deferred.put_back(before)
        raise
    enqueue_ancestors(ports, [grant for grant in batch.grants if not grant.state.held])
    if task is None:
        return
    for entry, index in zip(batch.entries, indexes, strict=True):
        if entry.notice is not None and entry.task is not None and entry.task.uid == task.uid:
            ports.deferred.untold.append(Untold(entry=entry, index=index, pod=pod))
    await _tell(ports, all_of_it=False)


def defer(ports: Ports, batch: Batch) -> None:
    """Have it recorded with what this reconcile decides next, or at its end at the latest.

    It is charged now: a thousand tasks side by side see what the others use.
    """
    ports.deferred.add(_charged(ports, batch))


def _charged(ports: Ports, batch: Batch) -> Batch:
    return ports.budgets.charge(
        batch, lambda uid: ports.deferred.record(uid) or ports.ledger.record(uid), ports.now()
    )


async def record_deferred(ports: Ports, task: Task | None) -> None:
    """Commit what was deferred, if there is anything, and post the Events that are left."""
    if ports.deferred.batch is not None:
        await record(ports, Batch(), task)
        if task is not None:
            enqueue_descendants(ports, task.key)
    await _tell(ports, all_of_it=True)


async def _tell(ports: Ports, *, all_of_it: bool) -> None:
    """Post the Events of committed entries, but for those that may yet be left out."""
    untold, ports.deferred.untold = ports.deferred.untold, []
    reasons = {each.entry.notice.reason for each in untold if each.entry.notice}
    for each in untold:
        notice, ref = each.entry.notice, each.entry.task
        assert notice is not None  # noqa: S101 (`record` took no other)
        assert ref is not None  # noqa: S101 (`record` took no other)
        comes_to = COMES_TO.get(notice.reason)
        if comes_to in reasons:
            continue
        if comes_to is not None and not all_of_it:
            ports.deferred.untold.append(each)
            continue
        whom = [("AgentTask", ref.name, ref.uid)]
        if notice.on_pod and each.pod is not None:
            whom.append(("Pod", *each.pod))
        for kind, name, uid in whom:
            await ports.events.post(
                kind=kind, namespace=ref.namespace, name=name, uid=uid, unique=each.entry.id,
                reason=notice.reason, message=f"{notice.message} ({_where(each.index)})",
                severity=notice.severity, at=each.entry.time,
            )  # fmt: skip


def _where(index: int) -> str:
    return f"audit {index}" if index >= 0 else "not in the audit log yet"
