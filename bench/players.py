"""Everybody but the operator: who makes tasks and pods, the kubelet, and the agent with its token.

Pods name a scheduler that does not exist, so that no attempt to place them disturbs the figures.
"""

import asyncio
import contextlib
import ssl
from typing import Any

import aiohttp

from bench.life import NOTHING_LEFT, Life, Moment
from e2e import admission
from e2e.admission import TENANT
from e2e.stage import READ_ME, request
from taskpass.core.errors import NotFound
from taskpass.kube.api import connection
from taskpass.kube.api.client import KubeClient

ALICE = (
    ("Impersonate-User", "alice"),
    ("Impersonate-Group", "team-a"),
    ("Impersonate-Group", "system:authenticated"),
)
CLASS = "bench"
"""Its own: nothing else that a cluster holds allows it."""
HOLDS_SECONDS = 3600
PODS = f"/api/v1/namespaces/{TENANT}/pods"
TASKS = f"/apis/taskpass.dev/v1alpha1/namespaces/{TENANT}/agenttasks"
SWITCHES = "/apis/taskpass.dev/v1alpha1/killswitches"
PROBE_PAUSE = 0.01
CALL_SECONDS = 120.0
"""Whoever makes tasks waits for an API server that has too much to do."""
Made = tuple[dict[str, Any], dict[str, Any]]


class Unusable(AssertionError):
    """A credential that is there does not work."""


class Players:
    """Each method is what one of them does once."""

    def __init__(self, kubeconfig: str) -> None:
        """Take the administrator's kubeconfig; the agent brings its own token."""
        patience: dict[str, Any] = {"limit": 256, "call_seconds": CALL_SECONDS}
        self._creator = KubeClient.from_kubeconfig(kubeconfig, impersonate=ALICE, **patience)
        self._kubelet = KubeClient.from_kubeconfig(kubeconfig, **patience)
        self._stopped: list[str] = []
        self._server = connection.from_kubeconfig(kubeconfig).server
        # Without the administrator's certificate, which would win over a token.
        trusted = ssl.create_default_context(cadata=connection.authority_of(kubeconfig))
        self._agent = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32, ssl=trusted))

    async def close(self) -> None:
        """Close all connections."""
        await self._creator.close()
        await self._kubelet.close()
        await self._agent.close()

    async def begin(self, life: Life, parent: str = "") -> Made:
        """Make task and pod; return both as they were answered."""
        seconds = {} if parent else {"expirationSeconds": HOLDS_SECONDS}
        spec: dict[str, Any] = {"credentials": [request(CLASS, CLASS, **seconds)]}
        if parent:
            spec["parentRef"] = {"name": parent}
        task = await self._creator.create(TASKS, admission.task(life.name, **spec))
        spec = {"schedulerName": "nobody"}
        pod = await self._creator.create(PODS, admission.pod(life.name, spec=spec))
        life.mark(Moment.EXISTS)
        return task, pod

    async def run(self, life: Life) -> None:
        """Start the pod."""
        await self._phase(life, "Running")

    async def end(self, life: Life) -> None:
        """End the pod."""
        await self._phase(life, "Succeeded")
        life.mark(Moment.ENDED)

    async def change(self, life: Life, spec: dict[str, Any]) -> None:
        """Change the task."""
        await self._creator.merge_patch(f"{TASKS}/{life.name}", {"spec": spec})

    async def delete_task(self, life: Life) -> None:
        """Delete the task alone."""
        await self._creator.delete(f"{TASKS}/{life.name}")

    async def stop(self, life: Life) -> None:
        """Throw a KillSwitch on the task, as an administrator."""
        spec = {"target": "Task", "namespace": TENANT, "of": life.name, "reason": "bench"}
        body = {
            "apiVersion": "taskpass.dev/v1alpha1", "kind": "KillSwitch",
            "metadata": {"name": life.name}, "spec": spec,
        }  # fmt: skip
        self._stopped.append(life.name)
        await self._kubelet.create(SWITCHES, body)

    async def lift(self) -> None:
        """Lift every KillSwitch that was activated."""
        while self._stopped:
            await self._kubelet.delete(f"{SWITCHES}/{self._stopped.pop()}")

    async def clear(self, life: Life) -> None:
        """Delete pod and task."""
        for path in (PODS, TASKS):
            with contextlib.suppress(NotFound):
                await self._creator.delete(f"{path}/{life.name}")

    async def use(self, life: Life) -> None:
        """Make a call with the credential; `Unusable` where it is refused."""
        status = await self._read(life.token)
        if status != 200:
            raise Unusable(f"the credential of {life.name} was answered {status}")

    async def use_until_refused(self, life: Life) -> None:
        """Make calls with the credential until one is refused."""
        while await self._read(life.token) not in (401, 403):
            await asyncio.sleep(PROBE_PAUSE)
        life.mark(Moment.REFUSED)

    async def _phase(self, life: Life, phase: str) -> None:
        path = f"{PODS}/{life.name}/status"
        await self._kubelet.merge_patch(path, {"status": {"phase": phase}})

    async def _read(self, token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        async with self._agent.get(self._server + READ_ME, headers=headers) as answer:
            await answer.read()
            return answer.status


async def whole_life(players: Players, life: Life, work_seconds: float) -> None:
    """Play one life from its making to its last trace, beside the operator."""
    await players.begin(life)
    await life.until(Moment.SECRET, Moment.UNGATED)
    await players.run(life)
    if life.probed:
        await players.use(life)
    await asyncio.sleep(work_seconds)
    async with asyncio.TaskGroup() as group:
        if life.probed:
            group.create_task(players.use_until_refused(life))
        group.create_task(players.end(life))
        await life.until(*NOTHING_LEFT, Moment.FINISHED)
    await players.clear(life)
    await life.until(Moment.GONE)
