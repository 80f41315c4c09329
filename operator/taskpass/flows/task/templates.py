"""Make the task of a Job whose pods name a template."""

import logging

from taskpass.core.errors import ApiError, TransientError
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.template import owner_of, task_object, waits_for_task
from taskpass.core.model.key import Key
from taskpass.core.model.notice import Severity
from taskpass.core.model.task import TEMPLATE_LABEL
from taskpass.flows.context import Ports

logger = logging.getLogger(__name__)


async def make_task(ports: Ports, key: Key) -> None:
    """Make the task of a key that has none, where a pod waits for it; say why it cannot be made.

    A task that exists already is success. A template that does not exist yet is waited for.
    """
    world = ports.world
    if ports.modes.uninstalling or not world.enrolled(key[0]):
        return
    if world.sight(key[0]).issuance_blocked_reason:
        return
    waiting = (p for p in world.pods(key) if waits_for_task(p, ports.controllers))
    pod = next((p for p in waiting if not ports.ledger.gate_lifted(p.uid)), None)
    if pod is None:
        return
    template = world.template((key[0], pod.labels[TEMPLATE_LABEL]))
    if template is None:
        name = pod.labels[TEMPLATE_LABEL]
        await _tell(ports, pod, f"AgentTaskTemplate '{name}' does not exist; create it")
        return
    job = owner_of(pod)
    live = None if job is None else await ports.workloads.workload(key[0], "batch", "Job", key[1])
    if job is None or live is None or live.uid != job.uid:
        await _tell(ports, pod, f"There is no Job '{key[1]}' that the pod is of")
        return
    try:
        await ports.tasks.create(task_object(template, job))
    except TransientError:
        raise
    except ApiError as error:
        await _tell(ports, pod, f"AgentTask '{key[1]}' could not be made: {error}")
        return
    logger.info(
        "Made a task from a template", extra={"task": "/".join(key), "template": template.name}
    )


async def _tell(ports: Ports, pod: PodView, why: str) -> None:
    await ports.events.post(
        kind="Pod", namespace=pod.namespace, name=pod.name, uid=pod.uid,
        unique=f"{pod.uid}-no-task-{why}", reason="TaskNotMade", message=why,
        severity=Severity.WARNING, at=ports.now(),
    )  # fmt: skip
