"""The AuditAnchor: one object of the cluster that the operator can make grow, and nothing else."""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from taskpass.core.anchor import Head
from taskpass.core.conditions import Finding, conditions
from taskpass.core.errors import ApiError
from taskpass.ports import ApiClient, Remembered

NAME = "taskpass"
PATH = f"/apis/taskpass.dev/v1alpha1/auditanchors/{NAME}"


class KubeAnchor:
    """`ports.LogAnchor`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def read(self) -> Remembered:
        """See `ports.LogAnchor`."""
        live = await self._client.get(PATH)
        status = live.get("status", {})
        meta = live["metadata"]
        return Remembered(
            uid=meta["uid"], generation=meta["generation"], head=_head(status), status=status
        )

    async def write(
        self, seen: Remembered, head: Head | None, finding: Finding, figures: Mapping[str, int],
        now: datetime,
    ) -> None:  # fmt: skip
        """See `ports.LogAnchor`."""
        before = seen.status.get("conditions", ())
        status: dict[str, Any] = {
            **figures,
            "observedGeneration": seen.generation,
            "conditions": conditions({"Ready": finding}, before, seen.generation, now),
        }
        if head is not None:
            status |= {
                "origin": head.origin,
                "size": head.size,
                "root": base64.b64encode(head.root).decode(),
                "note": head.note,
                "lastAnchoredTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        await self._client.merge_patch(PATH + "/status", {"status": status})


def _head(status: Mapping[str, Any]) -> Head | None:
    if "origin" not in status:
        return None
    try:
        root = base64.b64decode(status["root"], validate=True)
        return Head(origin=status["origin"], size=int(status["size"]), root=root)
    except (KeyError, ValueError, binascii.Error) as error:
        raise ApiError(f"AuditAnchor '{NAME}' has a status that is no checkpoint") from error
