"""A task that is to hold nothing for a while: all is revoked, and what ends it still ends it.

On resume the pod is attested, policy asked and everything issued anew; what was held before never
comes back. Deadlines go on meanwhile.
"""

from dataclasses import dataclass
from datetime import datetime

from taskpass.core import lifecycle_pod
from taskpass.core.clearing import clear, deadline_of
from taskpass.core.conditions import Reason
from taskpass.core.delegation import inactive
from taskpass.core.snapshot import Snapshot
from taskpass.core.steps import Rest, Resume, RevokeReason, Step, Suspend
from taskpass.core.task import SUSPENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """Why a task holds nothing now."""

    reason: Reason
    """Of the condition `Suspended`."""
    message: str
    revoking: RevokeReason


def suspension_of(seen: Snapshot) -> Suspension | None:
    """Return why the task is to hold nothing now; None where it may."""
    for switch in seen.kill_switches:
        if switch.stops(seen.live_task):
            return Suspension(
                reason=Reason.KILL_SWITCH, message=switch.told, revoking=RevokeReason.KILL_SWITCH
            )
    if said := inactive(seen.live_task, seen.lineage):
        return Suspension(
            reason=Reason.PARENT_SUSPENDED, message=said, revoking=RevokeReason.PARENT_SUSPENDED
        )
    if seen.live_task.operating_mode == SUSPENDED:
        return Suspension(
            reason=Reason.REQUESTED,
            message="`operatingMode` is Suspended; set it to Running to have it go on",
            revoking=RevokeReason.SUSPENDED,
        )
    return None


def of_suspension(seen: Snapshot, now: datetime) -> Step | None:
    """Revoke all and wait, or go on."""
    record, why = seen.record, suspension_of(seen)
    if why is None:
        return Resume() if record.suspended else None
    if step := clear(seen, why.revoking):
        return step
    if record.suspended != why.reason:
        return Suspend(reason=why.reason, message=why.message)
    return (
        lifecycle_pod.of_end(seen, now)
        or lifecycle_pod.of_workload(seen)
        or Rest(
            suspended=True,
            owed=seen.owed_own,
            until=deadline_of(seen),
            # The end of a workload makes no event of ours; its pod's does.
            retry=seen.live_task.workload is not None and record.attempt > 0 and not record.pod_uid,
        )
    )
