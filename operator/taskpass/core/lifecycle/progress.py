"""What a task says of its own progress, and whether anything is heard of it at all.

Whoever may change the task (its orchestrator, or an agent that is let) writes annotations:

1. `taskpass.dev/savepoint: STEP sha256:HEX` says how far it has come, and the digest of what it
   keeps elsewhere. It is recorded with the intent and the policies of that moment, and given to the
   next pod only while both are still the same.
2. `taskpass.dev/active`, of any content, says that it goes on. A change of the task says so too.

Nothing of it is a secret, and nothing is decided by it but whether a task is idle.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from taskpass.core.model.task import Task, digest
from taskpass.core.policy.types import CompiledPolicy

SAVEPOINT = "taskpass.dev/savepoint"
ACTIVE = "taskpass.dev/active"
_FORM = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,62}) sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Savepoint:
    """How far a task has come, as it said, and under what."""

    step: str
    sha256: str
    at: datetime
    """When it was recorded."""
    intent_digest: str
    policies_digest: str


def step_and_digest(text: str) -> tuple[str, str] | None:
    """Return what the annotation says; None where it is not of the form that admission demands."""
    found = _FORM.fullmatch(text)
    return (found[1], found[2]) if found else None


def policies_digest(policies: Sequence[CompiledPolicy]) -> str:
    """Return a digest of all policies that may speak of a task."""
    return digest(sorted((p.policy.label, p.policy.digest) for p in policies))


def usable(
    savepoint: Savepoint | None, task: Task, policies: Sequence[CompiledPolicy]
) -> Savepoint | None:
    """Return a savepoint that is of this intent, and was made under these policies; else None."""
    if savepoint is None or savepoint.intent_digest != task.intent.digest:
        return None
    return savepoint if savepoint.policies_digest == policies_digest(policies) else None


def activity_of(task: Task) -> str:
    """Return what changes with anything that is heard of the task."""
    return digest([task.generation, task.savepoint, task.active])


def idle_since(task: Task, activity: str, active_at: datetime | None) -> datetime | None:
    """Return when the task is idle, if nothing is heard of it until then; None: never."""
    if task.idle_timeout_seconds is None or active_at is None or activity != activity_of(task):
        return None
    return active_at + timedelta(seconds=task.idle_timeout_seconds)
