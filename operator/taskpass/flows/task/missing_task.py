"""Tell pods that wait for a task that is not there."""

from datetime import datetime, timedelta

from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.model.key import Key
from taskpass.core.model.notice import Severity
from taskpass.core.model.task import TEMPLATE_LABEL
from taskpass.flows.context import Ports

PATIENCE = timedelta(seconds=3)
"""A task that was made just before its pod may be seen after it."""
MOST_TOLD = 5
"""Pods of one label that are told; the others wait for the same task."""


async def tell_pods(ports: Ports, key: Key) -> datetime | None:
    """Post an Event on each pod that waits for a task that does not exist; say when to look again.

    A pod of a template is `templates.make_task`'s: its task is made.
    """
    if ports.modes.uninstalling or not ports.world.enrolled(key[0]):
        return None
    waiting = sorted((p for p in ports.world.pods(key) if _waits(p)), key=lambda p: p.created_at)
    for pod in waiting[:MOST_TOLD]:
        due = pod.created_at + PATIENCE
        if due > ports.now():
            return due
        await ports.events.post(
            kind="Pod", namespace=pod.namespace, name=pod.name, uid=pod.uid,
            unique=f"{pod.uid}-task-missing", reason="TaskMissing",
            message=f"AgentTask '{key[1]}' does not exist in namespace '{key[0]}'; make it, and "
            "then delete the pod, so that its workload makes a new one: one that is older than its "
            "task gets nothing. Or correct the label taskpass.dev/task where the pod is made",
            severity=Severity.WARNING, at=ports.now(),
        )  # fmt: skip
    return None


def _waits(pod: PodView) -> bool:
    gone = pod.ended or pod.deleting_since is not None
    return pod.gated and not gone and TEMPLATE_LABEL not in pod.labels
