"""Say in the task's status what was seen: one patch, and only where something changed."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.status import status_of
from taskpass.core.lifecycle.steps import Wait
from taskpass.core.model.conditions import Reason
from taskpass.core.model.notice import Severity
from taskpass.flows.context import Ports

MOST_TOLD = 10_000
FIRST_WORD = timedelta(seconds=2)
"""A task that was made together with its pod is not said to have none, a moment before it is seen.
"""


class Reporter:
    """Writes status; remembers which waiting pods were told, so that each is told once."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._told: dict[str, None] = {}

    async def report(self, snapshot: Snapshot, rest: Wait) -> datetime | None:
        """Patch `/status` where it says something else than it should.

        Return when it is to be said, where that is not yet; None: all of it is said.
        """
        task = snapshot.task
        if (
            task is None
            or (task.deleting_since is not None and not rest.pending)
            or snapshot.deleted
        ):
            return None
        now, first = self._ports.now(), task.created_at + FIRST_WORD
        missing = rest.attested is not None and rest.attested.reason == Reason.POD_MISSING
        if missing and not task.status and now < first <= now + FIRST_WORD:
            return first
        await self._tell_waiting(snapshot)
        trail = self._ports.ledger.trail(task.uid)
        wanted = status_of(snapshot, rest, trail, self._ports.now())
        if patch := difference(wanted, task.status):
            await self._ports.tasks.patch_status(task, patch)
        return None

    async def _tell_waiting(self, snapshot: Snapshot) -> None:
        """Tell pods that wait beside the bound one why they do."""
        record = snapshot.record
        if not record.pod_uid:
            return
        for pod in snapshot.pods:
            if pod.uid == record.pod_uid or not pod.gated or pod.ended or pod.uid in self._told:
                continue
            await self._post(snapshot, pod)
            self._told[pod.uid] = None
            if len(self._told) > MOST_TOLD:
                self._told.pop(next(iter(self._told)))

    async def _post(self, snapshot: Snapshot, pod: PodView) -> None:
        task, record = snapshot.live_task, snapshot.record
        text = (
            f"Pod '{pod.name}' waits: task '{task.name}' has one live pod at a time, and that is "
            f"'{record.pod_name}' (replacementPolicy {task.replacement_policy})"
        )
        for kind, name, uid in (("AgentTask", task.name, task.uid), ("Pod", pod.name, pod.uid)):
            await self._ports.events.post(
                kind=kind, namespace=task.namespace, name=name, uid=uid,
                unique=f"{task.uid}-{pod.uid}-waits", reason="PodWaits", message=text,
                severity=Severity.WARNING, at=self._ports.now(),
            )  # fmt: skip


def difference(wanted: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that makes `now` what is wanted; empty where it is so already."""
    patch: dict[str, Any] = {k: v for k, v in wanted.items() if now.get(k) != v}
    return patch | {k: None for k in now if k not in wanted}
