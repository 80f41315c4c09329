"""An entry of the audit log, before it is written: CloudEvents 1.0, with small typed data."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid5

from taskpass.core.model.grant import TaskRef
from taskpass.core.model.notice import Notice

NAMESPACE = UUID("5d6f0b3c-3c63-4a53-9d0e-0f6d1c0b7a11")
"""Operation and event ids are UUIDs of version 5 under it."""


VERSION = 1


PREFIX = "dev.taskpass."


NO_DATA: Mapping[str, Any] = MappingProxyType({})


class EventType(enum.StrEnum):
    """What happened; `type` of the CloudEvent is this after `dev.taskpass.`."""

    CREDENTIAL_ISSUE = "credential.issue"
    CREDENTIAL_DELIVER = "credential.deliver"
    CREDENTIAL_DENY = "credential.deny"
    CREDENTIAL_REVOKE = "credential.revoke"
    WORKLOAD_ATTEST = "workload.attest"
    WORKLOAD_FORGET = "workload.forget"
    TASK_PHASE = "task.phase"
    TASK_SAVE = "task.save"
    TASK_SUSPEND = "task.suspend"
    TASK_RESUME = "task.resume"
    TASK_FINISH = "task.finish"
    TASK_FORGET = "task.forget"
    TASK_RETELL = "task.retell"
    APPROVAL_ASK = "approval.ask"
    APPROVAL_GIVE = "approval.give"
    BUDGET_HOLD = "budget.hold"
    ORPHAN_UNDO = "orphan.undo"
    KILL_SWITCH_THROW = "kill_switch.throw"
    KILL_SWITCH_LIFT = "kill_switch.lift"
    LOG_GENESIS = "log.genesis"
    LOG_OPEN = "log.open"
    LOG_KEY_ROTATE = "log.key_rotate"
    LOG_PRUNE = "log.prune"
    LOG_RETELL = "log.retell"
    LOG_RE_ORIGIN = "log.re_origin"
    PRIVACY_ERASE = "privacy.erase"


class Stage(enum.StrEnum):
    """Where in an operation the entry stands."""

    INTENT = "intent"
    """Written before the effect."""
    RESULT = "result"
    """Written after it; one for each intent."""
    POINT = "point"
    """There is nothing before or after."""


class Result(enum.StrEnum):
    """`data.outcome`."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    DENIED = "denied"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry before it is written."""

    id: str
    """The CloudEvent's id. The log holds one entry of an id."""
    type: EventType
    time: datetime
    """UTC."""
    task: TaskRef | None = None
    """The task that it is about: `subject`, and what the log is searched by."""
    data: Mapping[str, Any] = field(default_factory=lambda: NO_DATA)
    """JSON values under `[a-z0-9_]` keys: no floats, no null, |int| < 2**53, UTF-8 strings."""
    notice: Notice | None = None
    """What people are told of it: an Event and a line of `status.trail`. Not in the log's bytes."""
    grant_id: str = ""
    """The grant that it is about; also in `data`."""
    people: Mapping[str, str] = field(default_factory=lambda: NO_DATA)
    """Names of users by their role in it. The log's bytes have references instead, as `data.by`."""


def operation(*parts: str) -> UUID:
    """Return the id of an operation: the same parts, the same id."""
    return uuid5(NAMESPACE, "|".join(parts))


def entry(
    op: UUID, kind: EventType, stage: Stage, result: Result, now: datetime, task: TaskRef | None,
    data: Mapping[str, Any], *, notice: Notice | None = None, grant_id: str = "",
    people: Mapping[str, str] = NO_DATA,
) -> Entry:  # fmt: skip
    """Return an entry: one stage of an operation, whose id follows from both."""
    head = {"v": VERSION, "op": str(op), "stage": stage.value, "outcome": result.value}
    return Entry(
        id=str(uuid5(op, stage.value)),
        type=kind,
        time=now,
        task=task,
        data={**head, **data},
        notice=notice,
        grant_id=grant_id,
        people=people,
    )
