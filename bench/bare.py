"""The floor: the calls that the operator makes for a task, without an operator.

No policy is decided, nothing is recorded, and nothing is learnt by watching: the calls follow each
other as fast as the API server answers. They are made with the operator's own token, as admission
lets nobody else make them, and by its adapters, so that a call that is saved there is saved here.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from bench.life import NOTHING_LEFT, Life, Moment
from bench.players import CLASS, HOLDS_SECONDS, Players
from e2e.admission import GRANTS
from taskpass.core.errors import ProviderUnavailable
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.model.grant import Grant, GrantState, Issued
from taskpass.core.model.notice import Severity
from taskpass.core.model.task import CredentialClass, Task
from taskpass.kube.api.client import KubeClient
from taskpass.kube.api.connection import Connection
from taskpass.kube.cache.convert import class_from, pod_from, task_from
from taskpass.kube.writers.access_reviews import KubeReviews
from taskpass.kube.writers.events import KubeEvents
from taskpass.kube.writers.pods import KubePods
from taskpass.kube.writers.secrets import SecretSink
from taskpass.kube.writers.tasks import KubeTasks
from taskpass.ports.credentials import Delivery
from taskpass.providers.kubernetes import KubernetesProvider
from taskpass.runtime.clock import SystemClock

Object = Mapping[str, Any]
CONDITIONS = ("Attested", "Authorized", "CredentialsIssued", "Ready", "Finished", "Stalled")
WORKERS = 32
"""How many tasks are worked on side by side: the operator's own setting."""
STARTED = ("Attested", "CredentialIssued")
ENDED = ("CredentialRevoked", "TaskFinished")


class Bare:
    """Makes one task's calls after the other."""

    def __init__(self, client: KubeClient, where: Connection, ca: str, used: Object) -> None:
        """`client` is the operator's; `used` is the class that the tasks name, as it lives."""
        self._clock = SystemClock()
        self._class = class_from(used)
        self._provider = KubernetesProvider(
            client, server=where.server, ca=ca, clock=self._clock, grants_namespace=GRANTS
        )
        self._reviews = KubeReviews(client)
        self._sink = SecretSink(client)
        self._pods = KubePods(client)
        self._tasks = KubeTasks(client)
        self._turns = asyncio.Semaphore(WORKERS)
        self.events = KubeEvents(client, instance="bench")

    async def whole_life(self, players: Players, life: Life, work_seconds: float) -> None:
        """Play one life, the operator's part included."""
        made = await players.begin(life)
        task, pod = task_from(made[0]), pod_from(made[1])
        async with self._turns:
            grant, uid = await self._issue(task, pod)
            await self._say(task, STARTED, over=False)
        await life.until(Moment.SECRET, Moment.UNGATED)
        await players.run(life)
        await asyncio.sleep(work_seconds)
        await players.end(life)
        async with self._turns:
            await self._provider.revoke(grant)
            await self._sink.withdraw(task.namespace, task.name, task.uid, uid)
            await self._say(task, ENDED, over=True)
        await life.until(*NOTHING_LEFT, Moment.FINISHED)
        await players.clear(life)
        async with self._turns:
            await self._tasks.release(task)
        await life.until(Moment.GONE)

    async def _issue(self, task: Task, pod: PodView) -> tuple[Grant, str]:
        await self._reviews.may_use(task.changed_by, CLASS)
        grant, issued = await self._issued(task, pod)
        fields = {f"{CLASS}.{name}": value for name, value in issued.fields.items()}
        index = {"task": {"namespace": task.namespace, "name": task.name, "uid": task.uid}}
        uid = await self._sink.deliver(Delivery(task=task, fields=fields, index=index))
        await self._pods.lift_gate(pod)
        return replace(grant, provider_state=issued.provider_state), uid

    async def _issued(self, task: Task, pod: PodView) -> tuple[Grant, Issued]:
        while True:
            grant = _grant(task, pod, self._provider, self._class)
            try:
                return grant, await self._provider.issue(grant, "taskpass")
            except ProviderUnavailable:
                await self._provider.revoke(grant)

    async def _say(self, task: Task, events: tuple[str, ...], *, over: bool) -> None:
        now = self._clock.now()
        for reason in events:
            await self.events.post(
                kind="AgentTask", namespace=task.namespace, name=task.name, uid=task.uid,
                unique=reason, reason=reason, message=f"{reason} (audit 0)",
                severity=Severity.NORMAL, at=now,
            )  # fmt: skip
        await self._tasks.patch_status(task, _status(task, now, over=over))


def _grant(task: Task, pod: PodView, provider: KubernetesProvider, used: CredentialClass) -> Grant:
    grant_id, asked = f"g-{uuid4().hex}", task.credentials[0]
    return Grant(
        id=grant_id, task=task.ref, generation=1, attempt=1, phase="", name=asked.name,
        class_name=asked.class_name, provider="Kubernetes", actions=asked.actions,
        resources=asked.resources, location="", request_digest="", intent_digest="",
        class_digest="", policy="", policy_digest="", pod_name=pod.name, pod_uid=pod.uid,
        service_account=task.service_account, service_account_uid="",
        lifetime_seconds=HOLDS_SECONDS, state=GrantState.INTENT,
        provider_state=provider.prepare(asked, used, grant_id), intent_at=task.created_at,
    )  # fmt: skip


def _status(task: Task, now: datetime, *, over: bool) -> dict[str, Any]:
    """Return a status of about the size that the operator writes."""
    text = "A sentence of about the length that the conditions of a task have in a usual life"
    said = [
        {
            "type": kind, "status": "True" if over or kind not in CONDITIONS[4:] else "False",
            "reason": "Succeeded" if kind == "Finished" and over else "Running", "message": text,
            "observedGeneration": task.generation,
            "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for kind in CONDITIONS
    ]  # fmt: skip
    until = (now + timedelta(seconds=HOLDS_SECONDS)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"observedGeneration": task.generation, "expirationTime": until, "conditions": said}
