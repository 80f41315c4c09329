"""See what waits for approval and give one's word, as the user of a kubeconfig."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from taskpass.core.errors import TransientError, UsageError
from taskpass.core.model.text import word
from taskpass.kube.api.client import KubeClient
from taskpass.kube.kinds import AGENT_TASK, API_VERSION, TASK_APPROVAL

LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that a task has people asked for."""

    task: Mapping[str, Any]
    """The AgentTask as the API server holds it."""
    asked: Mapping[str, Any]
    """Of its `status.pendingApprovals`."""

    @property
    def where(self) -> str:
        """NAMESPACE/NAME of the task."""
        return f"{self.task['metadata']['namespace']}/{self.task['metadata']['name']}"

    @property
    def people(self) -> str:
        """Who made the task, who changed it last, and who answers for it."""
        spec = self.task["spec"]
        made, changed = (spec.get(k, {}).get("username", "") for k in ("requester", "changedBy"))
        sponsor = f"sponsor {word(spec['sponsor'])}" if spec.get("sponsor") else "without a sponsor"
        return f"made by {word(made)}, last changed by {word(changed)}, {sponsor}"

    @property
    def what(self) -> str:
        """The credential or the branch."""
        if name := self.asked.get("name"):
            return f"credential {name}"
        return f"move to {self.asked.get('branch', '?')}"

    @property
    def whose(self) -> str:
        """Whose approvals are missing."""
        told = []
        for need in self.asked.get("needs", ()):
            if need["given"] < need["approvals"]:
                names = [f"group {word(g)}" for g in need.get("groups", ())]
                names += [f"user {word(u)}" for u in need.get("usernames", ())]
                more = need["approvals"] - need["given"]
                told.append(f"{more} of {' or '.join(names)} ({need['policy']})")
        return ", ".join(told) or "nobody's more"

    def check(self) -> None:
        """Raise `UsageError` where the digest is not that of what is shown."""
        text = str(self.asked["request"])
        if "sha256:" + hashlib.sha256(text.encode()).hexdigest() != self.asked["digest"]:
            raise UsageError(
                f"What {self.where} asks for is not what its digest says; tell your administrators"
            )


async def waiting(client: KubeClient, namespace: str) -> list[Waiting]:
    """Return what waits in a namespace, or everywhere where it is '', longest first."""
    found: list[Waiting] = []
    async with aclosing(client.pages(AGENT_TASK.path(namespace))) as pages:
        async for items, _ in pages:
            for task in items:
                asked = task.get("status", {}).get("pendingApprovals", ())
                found += [Waiting(task, each) for each in asked]
    return sorted(found, key=lambda each: (each.asked["sinceTime"], each.where, each.what))


async def of_task(client: KubeClient, namespace: str, name: str) -> list[Waiting]:
    """Return what one task has people asked for. `NotFound` where there is no such task."""
    task = await client.get(AGENT_TASK.path(namespace, name))
    asked = task.get("status", {}).get("pendingApprovals", ())
    return [Waiting(task, each) for each in asked]


async def give(
    client: KubeClient, waiting: Waiting, decision: str, reason: str, seconds: int | None
) -> str:
    """Make the TaskApproval; return its name. It goes with its task."""
    meta = waiting.task["metadata"]
    name = f"{meta['name'][:40]}-{waiting.asked['digest'][7:15]}-{secrets.token_hex(3)}"
    spec: dict[str, Any] = {
        "taskRef": {"name": meta["name"], "uid": meta["uid"]},
        "digest": waiting.asked["digest"],
        "decision": decision,
        "reason": reason,
    }
    if seconds is not None:
        spec["validSeconds"] = seconds
    owner = {
        "apiVersion": API_VERSION, "kind": AGENT_TASK.name,
        "name": meta["name"], "uid": meta["uid"],
    }  # fmt: skip
    body = {
        "apiVersion": API_VERSION, "kind": TASK_APPROVAL.name,
        "metadata": {"name": name, "ownerReferences": [owner]}, "spec": spec,
    }  # fmt: skip
    await client.create(TASK_APPROVAL.path(meta["namespace"]), body)
    return name


async def heard(client: KubeClient, namespace: str, name: str, within: float) -> tuple[bool, str]:
    """Return whether it counts, and what the operator says of it within so many seconds."""
    until = time.monotonic() + within
    path = TASK_APPROVAL.path(namespace, name)
    while True:
        try:
            status = (await client.get(path)).get("status", {})
        except TransientError:
            status = {}
        for each in status.get("conditions", ()):
            return each["status"] == "True", str(each["message"])
        if time.monotonic() > until:
            return False, "the operator has said nothing of it yet; is it running?"
        await asyncio.sleep(LOOK_SECONDS)
