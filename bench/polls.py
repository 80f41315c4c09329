"""What the polls cost: fifty kill switches beside ten thousand tasks that all hold something.

    python -m bench.polls

Neither a cluster nor a ledger's file is needed: caches and mirror are those of the operator.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from bench.figures import say, tell
from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.model.grant import Grant, GrantState, TaskRef
from taskpass.flows.cluster.ready_conditions import ReadyConditionReporter
from taskpass.flows.task.observe import _ahead, _siblings_before
from taskpass.kube.api.client import KubeClient
from taskpass.kube.api.connection import Connection
from taskpass.kube.cache.cluster_view import InformerCache
from taskpass.ledger.state.noted import Written
from taskpass.ledger.store.read_model import Mirror

TASKS, SWITCHES, LOOKS = 10_000, 50, 20
NAMESPACE, AGENT = "support", "triage-agent"
T0 = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
GRANT = Grant(
    id="g", task=TaskRef(namespace=NAMESPACE, name="t", uid="u"), generation=1, attempt=1,
    phase="", name="tickets", class_name="tickets", provider="Kubernetes", actions=("read",),
    resources=(), location="", request_digest="", intent_digest="", class_digest="", policy="",
    policy_digest="", pod_name="", pod_uid="", service_account=AGENT, service_account_uid="",
    lifetime_seconds=900, state=GrantState.DELIVERED, provider_state={}, intent_at=T0,
)  # fmt: skip


class Silent:
    """Takes what is said of objects."""

    async def say(self, *_: object) -> None:
        """Take it."""

    async def post(self, **_: object) -> None:
        """Take it."""


def made(kind: str, name: str, version: int, **spec: Any) -> dict[str, Any]:
    """Return an object of one of our kinds."""
    metadata = {
        "name": name, "uid": f"uid-{name}", "resourceVersion": str(version), "generation": 1,
        "namespace": "" if kind == "KillSwitch" else NAMESPACE,
        "creationTimestamp": T0.isoformat(),
    }  # fmt: skip
    return {"kind": kind, "metadata": metadata, "spec": spec}


def filled() -> tuple[InformerCache, Mirror]:
    """Return caches and a mirror of so many tasks, the children of one, each with a grant."""
    nowhere = KubeClient(Connection(server="http://127.0.0.1:1", tls=None))
    caches = InformerCache(nowhere, tenants=[NAMESPACE], on_change=lambda keys: None)
    mirror = Mirror()
    asked = {"name": "c", "classRef": {"name": "tickets"}, "actions": ["read"]}
    for number in range(TASKS):
        each = made(
            "AgentTask", f"t{number}", number + 1, agent={"serviceAccountName": AGENT},
            credentials=[asked], parentRef={"name": "parent"},
        )  # fmt: skip
        caches.apply("AgentTask", None, each)
        ref = TaskRef(namespace=NAMESPACE, name=f"t{number}", uid=each["metadata"]["uid"])
        grant = replace(GRANT, id=f"g-{number:032x}", task=ref)
        mirror.apply(Written(grants=(grant,), tasks=(TaskRecord(task=ref),)))
    limits = {"maxActiveTasks": 5, "maxActiveTasksInNamespace": 50}
    policy = made("AgentPolicy", "triage", TASKS + 1, effect="Allow", limits=limits)
    caches.apply("AgentPolicy", None, policy)
    for number in range(SWITCHES):
        switch = made(
            "KillSwitch", f"s{number}", TASKS + 2 + number, target="Namespace",
            namespace=NAMESPACE, reason="INC-42",
        )  # fmt: skip
        caches.apply("KillSwitch", None, switch)
    return caches, mirror


def timed(name: str, what: Callable[[], Any]) -> None:
    """Print how many milliseconds something takes."""
    began = time.perf_counter()
    for _ in range(LOOKS):
        what()
    value = round((time.perf_counter() - began) / LOOKS * 1000, 3)
    tell(name, tasks=TASKS, switches=SWITCHES, value=value, unit="ms")


def main() -> None:
    """Print the figures."""
    say(f"{SWITCHES} kill switches, {TASKS} tasks of one agent under one parent")
    caches, mirror = filled()
    silent = Silent()
    ports = SimpleNamespace(
        world=caches, ledger=mirror, policy_errors={}, providers={}, ready_conditions=silent,
        events=silent,
        now=lambda: GRANT.intent_at, evaluator=SimpleNamespace(revision=(0, 0)),
    )  # fmt: skip
    reporter = ReadyConditionReporter(ports, caches)  # type: ignore[arg-type]
    loop = asyncio.new_event_loop()
    loop.run_until_complete(reporter.write_changes())
    loop.run_until_complete(reporter.write_changes())
    timed("look-at-switches", lambda: loop.run_until_complete(reporter.write_changes()))
    last = caches.task((NAMESPACE, f"t{TASKS // 2}"))
    if last is None:
        raise LookupError("the task that was just applied")
    timed("ahead-of-one-agent", lambda: _ahead(ports, last, last.service_account))  # type: ignore[arg-type]
    timed("ahead-in-namespace", lambda: _ahead(ports, last, ""))  # type: ignore[arg-type]
    timed("siblings-ahead", lambda: _siblings_before(ports, last))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
