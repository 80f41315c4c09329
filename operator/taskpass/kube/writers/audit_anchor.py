"""The AuditAnchor: one object of the cluster that the operator can make grow, and nothing else."""

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from taskpass.core.audit.anchor import AnchorReset, Head
from taskpass.core.errors import ApiError
from taskpass.core.model.conditions import Finding, conditions
from taskpass.kube.kinds import API_VERSION, AUDIT_ANCHOR
from taskpass.ports.audit_log import AnchorState
from taskpass.ports.cluster import ApiClient

NAME = "taskpass"
RE_ORIGIN = "taskpass.dev/re-origin"
PATH = AUDIT_ANCHOR.path(name=NAME)


class KubeAnchor:
    """`ports.LogAnchor`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def read(self) -> AnchorState:
        """See `ports.LogAnchor`."""
        live = await self._client.get(PATH)
        status = live.get("status", {})
        meta = live["metadata"]
        return AnchorState(
            uid=meta["uid"], generation=meta["generation"], head=_head(status), status=status,
            forgotten=_forgotten(meta),
        )  # fmt: skip

    async def write(
        self, anchored: AnchorState, head: Head | None, finding: Finding,
        figures: Mapping[str, int], now: datetime,
    ) -> None:  # fmt: skip
        """See `ports.LogAnchor`."""
        before = anchored.status.get("conditions", ())
        status: dict[str, Any] = {
            **figures,
            "observedGeneration": anchored.generation,
            "conditions": conditions({"Ready": finding}, before, anchored.generation, now),
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


async def begin_anew(client: ApiClient, anchored: AnchorState, reason: str) -> None:
    """Forget what is remembered, as a person decided: make the object anew, which says why.

    Raises:
        Conflict: It is another object by now than what was seen.

    """
    assert anchored.head is not None  # noqa: S101 (there is something to forget)
    said = {
        "reason": reason, "origin": anchored.head.origin, "size": anchored.head.size,
        "root": base64.b64encode(anchored.head.root).decode(),
    }  # fmt: skip
    await client.delete(PATH, uid=anchored.uid)
    body = {
        "apiVersion": API_VERSION, "kind": AUDIT_ANCHOR.name,
        "metadata": {"name": NAME, "annotations": {RE_ORIGIN: json.dumps(said)}},
    }  # fmt: skip
    await client.create(AUDIT_ANCHOR.path(), body)


def _forgotten(meta: Mapping[str, Any]) -> AnchorReset | None:
    """Return what a person had it forget; somebody may have written the annotation by hand."""
    text = meta.get("annotations", {}).get(RE_ORIGIN)
    if text is None:
        return None
    try:
        said = json.loads(text)
        root = base64.b64decode(said["root"], validate=True)
        return AnchorReset(
            reason="".join(c for c in str(said["reason"]) if c.isprintable())[:200],
            head=Head(origin=str(said["origin"])[:253], size=int(said["size"]), root=root[:32]),
        )
    except (KeyError, TypeError, ValueError):
        empty = Head(origin="", size=0, root=b"")
        return AnchorReset(reason="the annotation cannot be read", head=empty)


def _head(status: Mapping[str, Any]) -> Head | None:
    if "origin" not in status:
        return None
    try:
        root = base64.b64decode(status["root"], validate=True)
        return Head(origin=status["origin"], size=int(status["size"]), root=root)
    except (KeyError, ValueError, binascii.Error) as error:
        raise ApiError(f"AuditAnchor '{NAME}' has a status that is no checkpoint") from error
