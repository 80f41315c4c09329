"""Elastic Common Schema 8: https://www.elastic.co/guide/en/ecs (event, orchestrator, user).

`event.original` is the entry, `event.sequence` its index, `event.hash` its leaf in the log.
"""

from collections.abc import Mapping
from typing import Any

from taskpass.core.model.entry import EventType
from taskpass.ledger.export.formats import fields

VERSION = "8.17.0"
CATEGORIES: Mapping[EventType, tuple[str, tuple[str, ...]]] = {
    EventType.CREDENTIAL_ISSUE: ("iam", ("creation", "admin")),
    EventType.CREDENTIAL_DELIVER: ("iam", ("info",)),
    EventType.CREDENTIAL_DENY: ("iam", ("info",)),
    EventType.CREDENTIAL_REVOKE: ("iam", ("deletion", "admin")),
    EventType.WORKLOAD_ATTEST: ("authentication", ("start",)),
    EventType.WORKLOAD_FORGET: ("process", ("info",)),
    EventType.TASK_PHASE: ("process", ("change",)),
    EventType.TASK_SAVE: ("process", ("info",)),
    EventType.TASK_SUSPEND: ("process", ("change",)),
    EventType.TASK_RESUME: ("process", ("change",)),
    EventType.TASK_FINISH: ("process", ("end",)),
    EventType.TASK_FORGET: ("process", ("info",)),
    EventType.TASK_RETELL: ("configuration", ("info",)),
    EventType.APPROVAL_ASK: ("process", ("info",)),
    EventType.APPROVAL_GIVE: ("iam", ("info", "admin")),
    EventType.BUDGET_HOLD: ("configuration", ("info",)),
    EventType.ORPHAN_UNDO: ("iam", ("deletion", "admin")),
    EventType.KILL_SWITCH_THROW: ("configuration", ("creation",)),
    EventType.KILL_SWITCH_LIFT: ("configuration", ("deletion",)),
    EventType.LOG_GENESIS: ("configuration", ("creation",)),
    EventType.LOG_OPEN: ("configuration", ("info",)),
    EventType.LOG_KEY_ROTATE: ("configuration", ("change",)),
    EventType.LOG_PRUNE: ("configuration", ("deletion",)),
    EventType.LOG_RETELL: ("configuration", ("info",)),
    EventType.LOG_RE_ORIGIN: ("configuration", ("change",)),
    EventType.PRIVACY_ERASE: ("configuration", ("deletion",)),
}
"""`event.category` and `event.type`."""
UNKNOWN = ("configuration", ("info",))
OUTCOMES = {"success": "success", "failure": "failure", "denied": "failure"}
"""All else (pending, unknown) is unknown."""


def document(event: Mapping[str, Any], index: int, body: bytes) -> dict[str, Any]:
    """Return an entry as a document."""
    kind = fields.kind(event)
    category, types = CATEGORIES.get(EventType(kind), UNKNOWN) if known(kind) else UNKNOWN
    made: dict[str, Any] = {
        "@timestamp": event["time"],
        "ecs": {"version": VERSION},
        "message": fields.message(event),
        "event": {
            "id": event["id"], "kind": "event", "category": [category], "type": list(types),
            "action": kind, "outcome": OUTCOMES.get(fields.text(event, "outcome"), "unknown"),
            "module": "taskpass", "dataset": "taskpass.audit", "provider": event["source"],
            "sequence": index, "hash": fields.leaf(body), "original": body.decode(),
        },
    }  # fmt: skip
    if reason := fields.text(event, "reason") or fields.part(event, "decision").get("reason_code"):
        made["event"]["reason"] = reason
    if "subject" in event:
        namespace, _, name = event["subject"].partition("/")
        made["orchestrator"] = {
            "type": "kubernetes", "namespace": namespace,
            "resource": {"type": "agenttask", "name": name},
        }  # fmt: skip
    if agent := fields.part(event, "task").get("agent"):
        made["user"] = {"name": agent}
    return made


def known(kind: str) -> bool:
    """Tell whether this version knows a type; a later one may have written the log."""
    return kind in set(EventType)
