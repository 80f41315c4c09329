"""What `taskpass doctor` says of what is not ours to enforce, and of what nobody should make.

Each check says one line or several, as those of `kube.checks` do.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from taskpass.cli.doctor.rights import GRANTS
from taskpass.core.errors import Forbidden, NotFound
from taskpass.core.model.diagnosis import Diagnosis, doubtful, failed, well
from taskpass.kube.api.client import KubeClient
from taskpass.providers.kubernetes.calls import listed
from taskpass.providers.kubernetes.objects import (
    GRANT_LABEL,
    bindings_path,
    grant_of_binding,
    is_grant_id,
    service_accounts_path,
)

LEVEL = "pod-security.kubernetes.io/enforce"
ENFORCING = frozenset({"baseline", "restricted"})


async def pod_security(client: KubeClient, tenants: Iterable[str]) -> list[Diagnosis]:
    """Say which enrolled namespaces let a pod of theirs take over its node."""
    names = sorted(tenants)
    levels = await asyncio.gather(*(_level(client, name) for name in names))
    said = [
        doubtful(
            "pod security",
            f"namespace '{name}' enforces no Pod Security level: whoever edits there can run a "
            "privileged pod, and read the operator's token where that runs on the same node",
            f"kubectl label namespace {name} {LEVEL}=baseline, unless something else enforces it",
        )
        for name, level in zip(names, levels, strict=True)
        if level is not None and level not in ENFORCING
    ]
    if not said and names:
        return [well("pod security", "every enrolled namespace enforces baseline or restricted")]
    return said


async def _level(client: KubeClient, namespace: str) -> str | None:
    """Return what a namespace enforces, '' for nothing; None where it cannot be read."""
    try:
        live = await client.get(f"/api/v1/namespaces/{namespace}")
    except (NotFound, Forbidden):
        return None  # the check of namespaces says so
    return str(live["metadata"].get("labels", {}).get(LEVEL, ""))


def retired(servers: Mapping[str, str]) -> list[Diagnosis]:
    """Say which servers are declared gone: what was revoked there was proven by nobody."""
    return [
        doubtful(
            "retired servers",
            f"PostgreSQL server '{name}' is declared gone, so what is owed there counts as over, "
            f"not proven: {reason}",
            "take it off the value `postgresql.retired` once `taskpass pending` lists nothing more",
        )
        for name, reason in sorted(servers.items())
    ]


async def grants(client: KubeClient, targets: Iterable[str]) -> list[Diagnosis]:
    """Say what is named like a grant's and is none, and what is deleted and stays."""
    odd = [each async for each in _odd(client, targets)]
    if not odd:
        return [well("grants", "all that is named like a grant's has its label, and none is stuck")]
    return odd


async def _odd(client: KubeClient, targets: Iterable[str]) -> AsyncIterator[Diagnosis]:
    async for item in _all(client, service_accounts_path(GRANTS)):
        name = item["metadata"]["name"]
        if is_grant_id(name):
            for said in _judged("ServiceAccount", name, item["metadata"], GRANTS):
                yield said
    for namespace in sorted(targets):
        async for item in _all(client, bindings_path(namespace)):
            if grant := grant_of_binding(item["metadata"]["name"]):
                for said in _judged("RoleBinding", grant, item["metadata"], namespace):
                    yield said


async def _all(client: KubeClient, path: str) -> AsyncIterator[dict[str, Any]]:
    try:
        async for item in listed(client, path):
            yield item
    except (NotFound, Forbidden):
        return  # the checks of namespaces and of rights say so


def _judged(kind: str, grant: str, metadata: dict[str, Any], namespace: str) -> list[Diagnosis]:
    what = f"{kind} '{metadata['name']}' in namespace '{namespace}'"
    if metadata.get("labels", {}).get(GRANT_LABEL) != grant:
        return [
            failed(
                "grants",
                f"{what} has not the label {GRANT_LABEL} of its grant: taskpass did not make it",
                "find out who has the operator's token; the operator removes it at its next sweep",
            )
        ]
    if "deletionTimestamp" in metadata:
        kept = ", ".join(metadata.get("finalizers", ()))
        return [doubtful("grants", f"{what} is deleted, and kept by {kept}", "remove finalizers")]
    return []
