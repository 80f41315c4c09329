"""The cluster that is put under load, the operator beside it, and what is left in the end."""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.bare import Bare
from bench.figures import say, tell
from bench.players import CLASS, PODS, TASKS, Players
from bench.witness import Witness
from e2e.admission import GRANTS, TARGET, TENANT, binding, cluster_role, prepare, remove
from e2e.cluster import tools
from e2e.impersonate import Api, Object, path_of, thing
from e2e.operator_process import OperatorProcess
from e2e.stage import credential_class, policy
from taskpass.kube.api import connection
from taskpass.kube.api.client import KubeClient

USE = {
    "apiGroups": ["taskpass.dev"], "resources": ["credentialclasses"], "verbs": ["use"],
    "resourceNames": [CLASS],
}  # fmt: skip
POLICY = policy("bench", CLASS, limits={"maxChildren": 1000})
DELEGATE = {"apiGroups": ["taskpass.dev"], "resources": ["agenttasks"], "verbs": ["delegate"]}
OURS = [
    cluster_role("delegate-bench", DELEGATE),
    binding("ClusterRoleBinding", "", "delegate-bench", "ClusterRole/delegate-bench", "User/alice"),
    cluster_role("use-bench", USE),
    binding("ClusterRoleBinding", "", "use-bench", "ClusterRole/use-bench", "User/alice"),
    credential_class(CLASS),
    POLICY,
]
"""What goes again at the end: the cluster may be another test's afterwards."""
BACKGROUND = (
    "list ", "watch ", "get configmaps", "get namespaces", "get leases", "update leases",
    "get validatingadmissionpol", "get mutatingadmissionpol", "get customresourcedefinitions",
)  # fmt: skip
"""Calls that do not come with tasks."""
SWEEP_SECONDS = "60"
"""The chart's default; `OperatorProcess` would sweep all the time."""
READY_PATIENCE = 180.0


@dataclass
class Stage:
    """One API server, one ledger, one operator that comes and goes."""

    name: str
    """The cluster's."""
    kubeconfig: str
    api: Api
    operator: OperatorProcess
    players: Players
    witness: Witness
    failures: list[str]
    """What was lost, doubled or left behind so far: any of it fails the run."""

    @property
    def database(self) -> Path:
        """The operator's ledger."""
        return self.operator.ledger

    async def start(self) -> float:
        """Start the operator; return the seconds until it was ready."""
        began = time.monotonic()
        await asyncio.to_thread(self.operator.start, ready=False)
        while True:
            status, said = await asyncio.to_thread(self.operator.http, "/readyz")
            if status == 200:
                break
            if self.operator.ended() or time.monotonic() - began > READY_PATIENCE:
                raise AssertionError(f"the operator is not ready: {said}\n{self.operator.tail()}")
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def stop(self) -> None:
        """End the operator gracefully; one that does not end well is a failure."""
        code = await asyncio.to_thread(self.operator.stop)
        if code:
            self.fail(f"the operator ended with {code}: {self.operator.tail(500)}")

    async def metric(self, name: str) -> float:
        """Return a metric of the operator's."""
        return await asyncio.to_thread(self.operator.metric, name)

    async def calls(self) -> Counter[str]:
        """Return the calls that the operator has made for tasks since its start."""
        every = await asyncio.to_thread(self.operator.api_calls)
        return Counter({k: n for k, n in every.items() if not k.startswith(BACKGROUND)})

    async def rest(self, seconds: float = 120.0) -> float:
        """Wait until the operator has nothing to do and to tell; return how long that took."""
        began = time.monotonic()
        before: Counter[str] | None = None
        while await self.metric("taskpass_queue_length") or before != await self.calls():
            if time.monotonic() - began > seconds:
                self.fail("the operator does not come to rest")
                break
            before = await self.calls()
            await asyncio.sleep(0.5)
        return time.monotonic() - began

    def fail(self, text: str) -> None:
        """Remember that the run has failed, and go on."""
        say(f"FAILED: {text}")
        self.failures.append(text)

    @asynccontextmanager
    async def bare(self) -> AsyncIterator[Bare]:
        """Give what makes the operator's calls in its stead; it must not run meanwhile."""
        where = connection.from_kubeconfig(str(self.operator.write_kubeconfig()))
        used = self.api.get("CredentialClass", "", CLASS)
        ca = connection.authority_of(self.kubeconfig)
        async with KubeClient(where, limit=64) as client:
            made = Bare(client, where, ca, used)
            events = asyncio.create_task(made.events.run())
            try:
                yield made
                await made.events.drain(30.0)
            finally:
                events.cancel()

    async def _held(self) -> int:
        """Return how many grants are held; `/metrics` may be a second old (server/probes.py)."""
        deadline = time.monotonic() + 2
        while (held := int(await self.metric("taskpass_grants_held"))) and (
            time.monotonic() < deadline
        ):
            await asyncio.sleep(0.1)
        return held

    async def count_left(self, after: str, *, ledger: bool = True) -> None:
        """Count what tasks leave; anything fails the run."""
        left = await asyncio.to_thread(self._left)
        if ledger:
            left["held"] = await self._held()
            left["owed"] = int(await self.metric("taskpass_pending_revocations"))
            left["dropped_events"] = int(await self.metric("taskpass_events_dropped"))
        tell("left", after=after, **left)
        for what, count in left.items():
            if count:
                self.fail(f"{count} {what} left after {after}")

    async def verify(self) -> None:
        """Have the log verified by the command; a log that does not hold fails the run."""
        command = [sys.executable, "-m", "taskpass", "audit", "verify", "--db", str(self.database)]
        began = time.monotonic()
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False
        )
        took = round(time.monotonic() - began, 1)
        size = round(self.database.stat().st_size / 2**20, 1)
        tell("audit-verify", code=done.returncode, seconds=took, ledger_mib=size)
        if done.returncode:
            self.fail(f"audit verify says: {done.stdout}{done.stderr}")

    def _left(self) -> dict[str, int]:
        paths = {
            "tasks": TASKS,
            "pods": PODS,
            "secrets": path_of("Secret", TENANT),
            "accounts": path_of("ServiceAccount", GRANTS),
            "bindings": path_of("RoleBinding", TARGET),
        }
        found = {what: self.api.call("GET", path)["items"] for what, path in paths.items()}
        return {what: sum(map(_is_ours, items)) for what, items in found.items()}


def _is_ours(item: Object) -> bool:
    name = str(item["metadata"]["name"])
    return "taskpass.dev/grant" in item["metadata"].get("labels", {}) or name.startswith(
        ("b-", "taskpass-b-")
    )


def furnish(kubeconfig: str) -> Api:
    """Install the chart, one class and one policy; return the administrator."""
    api = Api.from_kubeconfig(kubeconfig)
    prepare(api, str(tools.helm()), kubeconfig)
    api.apply(thing("v1", "ConfigMap", TARGET, "read-me", data={"answer": "42"}))
    for each in OURS:
        api.apply(each)
    return api


@asynccontextmanager
async def stage(name: str, kubeconfig: str, directory: Path) -> AsyncIterator[Stage]:
    """Give the stage; in the end nothing of ours runs any more."""
    api = await asyncio.to_thread(furnish, kubeconfig)
    operator = OperatorProcess(
        kubeconfig, directory, environment={"TASKPASS_SWEEP_SECONDS": SWEEP_SECONDS}
    )
    players = Players(kubeconfig)
    async with KubeClient.from_kubeconfig(kubeconfig) as client:
        witness = Witness(client)
        watching = asyncio.create_task(witness.run())
        try:
            await witness.synced()
            yield Stage(name, kubeconfig, api, operator, players, witness, [])
        finally:
            watching.cancel()
            await players.close()
            await asyncio.to_thread(operator.kill)
            for each in filter(api.exists, reversed(OURS)):
                await asyncio.to_thread(remove, api, each)
