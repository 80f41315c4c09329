"""A task that is to hold nothing for a while: all is revoked, and what ends it still ends it.

On resume the pod is attested, policy asked and everything issued anew; what was held before never
comes back. Deadlines go on meanwhile.
"""

from dataclasses import dataclass
from datetime import datetime

from taskpass.core.lifecycle import pod as lifecycle_pod
from taskpass.core.lifecycle.delegation import inactive
from taskpass.core.lifecycle.progress import (
    ACTIVE,
    Savepoint,
    activity_of,
    idle_since,
    policies_digest,
    step_and_digest,
)
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import (
    NoteActivity,
    Resume,
    RevokeReason,
    Save,
    Step,
    Suspend,
    Wait,
)
from taskpass.core.lifecycle.teardown import deadline_of, teardown
from taskpass.core.model.conditions import Reason
from taskpass.core.model.task import SUSPENDED
from taskpass.core.rate_limit.budget import Spending


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """Why a task holds nothing now."""

    reason: Reason
    """Of the condition `Suspended`."""
    message: str
    revoking: RevokeReason


def suspension_of(snapshot: Snapshot, now: datetime) -> Suspension | None:
    """Return why the task is to hold nothing now; None where it may."""
    for switch in snapshot.kill_switches:
        if switch.stops(snapshot.live_task):
            return Suspension(
                reason=Reason.KILL_SWITCH, message=switch.message, revoking=RevokeReason.KILL_SWITCH
            )
    if said := inactive(snapshot.live_task, snapshot.lineage):
        return Suspension(
            reason=Reason.PARENT_SUSPENDED, message=said, revoking=RevokeReason.PARENT_SUSPENDED
        )
    if snapshot.live_task.operating_mode == SUSPENDED:
        return Suspension(
            reason=Reason.REQUESTED,
            message="`operatingMode` is Suspended; set it to Running to have it go on",
            revoking=RevokeReason.SUSPENDED,
        )
    record = snapshot.record
    end = idle_since(snapshot.live_task, record.activity, record.active_at)
    if end is not None and end <= now:
        return Suspension(
            reason=Reason.IDLE,
            message=f"Nothing was heard of it for {snapshot.live_task.idle_timeout_seconds} s "
            f"(idleTimeoutSeconds); it goes on when it is changed, or its annotation {ACTIVE} is",
            revoking=RevokeReason.IDLE,
        )
    return None


def of_progress(snapshot: Snapshot, now: datetime) -> Step | None:
    """Record what the task says of its progress, and that it says something."""
    task, record = snapshot.live_task, snapshot.record
    muted = snapshot.muted
    if not record.attempt:
        return None
    found, saved = step_and_digest(task.savepoint), record.saved
    if Spending.SAVEPOINT in muted:
        found = None
    if found is not None and (saved is None or (saved.step, saved.sha256) != found):
        return Save(
            savepoint=Savepoint(
                step=found[0], sha256=found[1], at=now, intent_digest=task.intent.digest,
                policies_digest=policies_digest(snapshot.policies),
            )
        )  # fmt: skip
    heard = Spending.ACTIVITY not in muted and task.idle_timeout_seconds is not None
    if heard and record.activity != activity_of(task):
        return NoteActivity()
    return None


def of_suspension(snapshot: Snapshot, now: datetime) -> Step | None:
    """Revoke all and wait, or go on."""
    record, why = snapshot.record, suspension_of(snapshot, now)
    if why is None and not record.suspended:
        return None
    if why is None and Spending.RESUME not in snapshot.muted:
        return Resume()
    if why is not None and (step := teardown(snapshot, why.revoking)):
        return step
    said = why is None or Spending.SUSPENSION in snapshot.muted or record.suspended == why.reason
    if why is not None and not said:
        return Suspend(reason=why.reason, message=why.message)
    return (
        lifecycle_pod.of_end(snapshot, now)
        or lifecycle_pod.of_workload(snapshot, now)
        or of_progress(snapshot, now)
        or Wait(
            suspended=True,
            pending=snapshot.own_pending_revocations,
            until=deadline_of(snapshot),
            # The end of a workload makes no event of ours; its pod's does.
            retry=snapshot.live_task.workload is not None
            and record.attempt > 0
            and not record.pod_uid,
        )
    )
