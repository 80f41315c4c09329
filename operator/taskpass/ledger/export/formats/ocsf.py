"""Open Cybersecurity Schema Framework 1.8: https://schema.ocsf.io.

Entity Management (class 3004) for what becomes of credentials, tasks and the log, Authentication
(3002) for what a pod proved. `raw_data` is the entry, `metadata.sequence` its index,
`unmapped.leaf_sha256` its leaf in the log.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from taskpass import __version__
from taskpass.core.model.entry import EventType
from taskpass.ledger.export.formats import fields
from taskpass.ledger.export.formats.ecs import known

VERSION = "1.8.0"
IDENTITY, MANAGEMENT, AUTHENTICATION = 3, 3004, 3002
CREATE, UPDATE, DELETE, ACTIVATE, OTHER = 1, 3, 4, 10, 99
ACTIVITIES: Mapping[EventType, tuple[int, str]] = {
    EventType.CREDENTIAL_ISSUE: (CREATE, "Credential"),
    EventType.CREDENTIAL_DELIVER: (ACTIVATE, "Credential"),
    EventType.CREDENTIAL_DENY: (CREATE, "Credential"),
    EventType.CREDENTIAL_REVOKE: (DELETE, "Credential"),
    EventType.WORKLOAD_FORGET: (DELETE, "Pod"),
    EventType.TASK_PHASE: (UPDATE, "AgentTask"),
    EventType.TASK_SAVE: (UPDATE, "AgentTask"),
    EventType.TASK_SUSPEND: (UPDATE, "AgentTask"),
    EventType.TASK_RESUME: (UPDATE, "AgentTask"),
    EventType.TASK_FINISH: (UPDATE, "AgentTask"),
    EventType.TASK_FORGET: (DELETE, "AgentTask"),
    EventType.TASK_RETELL: (UPDATE, "AuditLog"),
    EventType.APPROVAL_ASK: (UPDATE, "AgentTask"),
    EventType.APPROVAL_GIVE: (CREATE, "TaskApproval"),
    EventType.BUDGET_HOLD: (UPDATE, "AuditLog"),
    EventType.ORPHAN_UNDO: (DELETE, "Credential"),
    EventType.KILL_SWITCH_THROW: (CREATE, "KillSwitch"),
    EventType.KILL_SWITCH_LIFT: (DELETE, "KillSwitch"),
    EventType.LOG_GENESIS: (CREATE, "AuditLog"),
    EventType.LOG_OPEN: (UPDATE, "AuditLog"),
    EventType.LOG_KEY_ROTATE: (UPDATE, "AuditLog"),
    EventType.LOG_PRUNE: (UPDATE, "AuditLog"),
    EventType.LOG_RETELL: (UPDATE, "AuditLog"),
    EventType.LOG_RE_ORIGIN: (UPDATE, "AuditLog"),
    EventType.PRIVACY_ERASE: (UPDATE, "AuditLog"),
}
"""`activity_id` and the entity's type; all but WORKLOAD_ATTEST."""
UNKNOWN = (UPDATE, "AuditLog")
STATUSES = {
    "success": (1, "Success"), "failure": (2, "Failure"), "denied": (2, "Failure"),
    "unknown": (0, "Unknown"),
}  # fmt: skip
"""All else is 99 (Other) under its own name."""
INFORMATIONAL, MEDIUM = 1, 3
NOTABLE = frozenset({"denied", "failure", "unknown"})


def event(entry: Mapping[str, Any], index: int, body: bytes) -> dict[str, Any]:
    """Return an entry as an event."""
    kind, outcome = fields.kind(entry), fields.text(entry, "outcome")
    attests = kind == EventType.WORKLOAD_ATTEST
    activity, entity = ACTIVITIES.get(EventType(kind), UNKNOWN) if known(kind) else UNKNOWN
    if attests:
        activity = OTHER
    uid = AUTHENTICATION if attests else MANAGEMENT
    status_id, status = STATUSES.get(outcome, (99, outcome))
    made: dict[str, Any] = {
        "category_uid": IDENTITY,
        "class_uid": uid,
        "activity_id": activity,
        "type_uid": uid * 100 + activity,
        "time": int(datetime.fromisoformat(entry["time"]).timestamp() * 1000),
        "severity_id": MEDIUM if outcome in NOTABLE else INFORMATIONAL,
        "status_id": status_id,
        "status": status,
        "message": fields.message(entry),
        "metadata": {
            "version": VERSION, "uid": entry["id"], "sequence": index, "event_code": kind,
            "log_name": entry["source"], "original_time": entry["time"],
            "product": {"name": "taskpass", "vendor_name": "taskpass", "version": __version__},
        },
        "raw_data": body.decode(),
        "unmapped": {"leaf_sha256": fields.leaf(body)},
    }  # fmt: skip
    if op := fields.text(entry, "op"):
        made["metadata"]["correlation_uid"] = op
    if reason := fields.text(entry, "reason") or fields.part(entry, "decision").get("reason_code"):
        made["status_detail"] = reason
    made |= _who(entry) if attests else {"entity": _entity(entry, entity)}
    return made


def _who(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Authentication has instead of an entity."""
    pod = fields.part(entry, "pod")
    return {
        "activity_name": "Workload Attestation",
        "user": {"name": str(pod.get("name", "")), "uid": str(pod.get("uid", ""))},
        "service": {"name": "taskpass"},
    }


def _entity(entry: Mapping[str, Any], kind: str) -> dict[str, Any]:
    cred, task = fields.part(entry, "cred"), fields.part(entry, "task")
    match kind:
        case "Credential":
            found = {"uid": cred.get("ref", ""), "name": cred.get("name") or cred.get("class", "")}
        case "AgentTask":
            found = {"uid": task.get("uid", ""), "name": entry.get("subject", "")}
        case _:
            found = {"uid": entry["source"], "name": entry["source"]}
    return {"type": kind, **{name: value for name, value in found.items() if value}}
