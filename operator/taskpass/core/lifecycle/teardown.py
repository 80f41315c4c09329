"""Taking back all that a task holds: the one way in which every end begins."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import Revoke, RevokeReason, Step, Withdraw
from taskpass.core.model.grant import Grant, GrantState


def revoke(snapshot: Snapshot, grants: Sequence[Grant], reason: RevokeReason) -> Revoke | None:
    """Return the step for those that this run has not tried in vain; None where there are none."""
    due = tuple((g, reason) for g in grants if g.id not in snapshot.unanswered)
    return Revoke(grants=due) if due else None


def teardown(
    snapshot: Snapshot, reason: RevokeReason, record: TaskRecord | None = None
) -> Step | None:
    """Return the next step towards holding nothing: revoke all, then delete the Secret.

    None: nothing is left to do, though a provider may still owe a revocation
    (`snapshot.own_pending_revocations`). `record` says how the task ended; it is committed before
    anything else, so that neither a crash nor what is owed forgets it.
    """
    held = [g for g in snapshot.own_grants if g.state is not GrantState.REVOKING]
    if step := revoke(snapshot, held, reason):
        return replace(step, record=record)
    if record is not None and (snapshot.own_pending_revocations or snapshot.record.secret_written):
        return Revoke(grants=(), record=record)
    if snapshot.record.secret_written and not snapshot.withdrawal_failed:
        return Withdraw(record=snapshot.record)
    return None


def deadline_of(snapshot: Snapshot) -> datetime | None:
    """Return when its time is over; None where it has all the time there is.

    Before the first attestation `startDeadlineSeconds` count, from the task's creation; after it
    `activeDeadlineSeconds`, from then.
    """
    task, started = snapshot.live_task, snapshot.record.started_at
    since = started or task.created_at
    seconds = task.start_deadline_seconds if started is None else task.active_deadline_seconds
    return None if seconds is None else since + timedelta(seconds=seconds)
