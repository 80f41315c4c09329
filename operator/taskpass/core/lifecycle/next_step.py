"""What comes next in the life of a task: a pure function from what is seen to one step.

The flow carries the step out, looks again, and asks again, until the answer is `Wait`. Each step is
durable before the next is asked for, so a crash between two of them only repeats a question.

The order follows docs/concepts.md; the first rule that applies is the step:

1. Whatever belongs to a task UID that no longer lives is revoked, its Secret deleted, its record
   dropped.
2. What was half done when the process ended (`Intent`, `Issued` without its secret) is undone, and
   what is being revoked is revoked on.
3. The task is deleted, over, or not served here: revoke all, delete the Secret, release or finish.
4. It is suspended: revoke all, and wait; only an end goes on. Not any more: record that it goes on.
5. The pod ended, or is no longer what was attested: revoke all.
6. The phase moved: revoke all, then enter it, or block.
7. A credential whose request, intent, class, policy or lifetime no longer holds: revoke it.
8. Only then anything new: attest a pod, decide, have people approve, issue, deliver, lift the gate.

While anything of the task is still owed, nothing new is issued. What it has no budget for is left
out (core/lifecycle/throttling.py).
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from taskpass.core.lifecycle import approvals as lifecycle_approval
from taskpass.core.lifecycle import credentials as lifecycle_grants
from taskpass.core.lifecycle import pod as lifecycle_pod
from taskpass.core.lifecycle.delegation import parent_is_over
from taskpass.core.lifecycle.records import Outcome
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import (
    Block,
    Delete,
    Enter,
    Finish,
    Forget,
    Release,
    Revoke,
    RevokeReason,
    Step,
    Wait,
    Withdraw,
)
from taskpass.core.lifecycle.suspension import of_progress, of_suspension
from taskpass.core.lifecycle.teardown import deadline_of, revoke, teardown
from taskpass.core.lifecycle.throttling import within_budget
from taskpass.core.model.grant import GrantState

DELETION_PATIENCE = timedelta(seconds=30)
"""How long a deletion waits for a provider that does not answer."""


def next_step(snapshot: Snapshot, now: datetime) -> Step:
    """Return the next step; `Wait` where there is nothing to do but wait."""
    step = within_budget(snapshot, now, _next)
    if not isinstance(step, Finish) or not snapshot.below:
        return step
    # It is over once nothing is held any more, by those below neither. They see how it ended.
    if snapshot.record.outcome is None:
        return Revoke(grants=(), record=replace(snapshot.record, outcome=step.outcome))
    return Wait(waiting=_of_those_below(snapshot))


def _of_those_below(snapshot: Snapshot) -> str:
    return f"{len(snapshot.below)} of tasks below it still to be taken back"


def _next(snapshot: Snapshot, now: datetime) -> Step:
    for rule in RULES:
        if step := rule(snapshot, now):
            return step
    return (
        lifecycle_pod.of_new_pod(snapshot, now)
        or of_progress(snapshot, now)
        or lifecycle_grants.anything_new(snapshot, now)
    )


def _of_the_gone(snapshot: Snapshot, _: datetime) -> Step | None:
    """Rule 1."""
    strangers = [g for g in snapshot.grants if not snapshot.is_of_task(g.task.uid)]
    if step := revoke(snapshot, strangers, RevokeReason.TASK_GONE):
        return step
    for record in snapshot.gone_records:
        if record.secret_written and not snapshot.withdrawal_failed:
            return Withdraw(record=record)
        return Forget(record=record, pending=sum(g.task.uid == record.task.uid for g in strangers))
    if snapshot.task is None:
        return Wait(pending=tuple(strangers))
    return None


def _undo(snapshot: Snapshot, _: datetime) -> Step | None:
    """Rule 2."""
    half = [
        g
        for g in snapshot.own_grants
        if g.state is GrantState.INTENT
        or (g.state is GrantState.ISSUED and g.id not in snapshot.secret_cache)
    ]
    if step := revoke(snapshot, half, RevokeReason.INTERRUPTED):
        return step
    going = [g for g in snapshot.own_grants if g.state is GrantState.REVOKING]
    return revoke(snapshot, going, RevokeReason.INTERRUPTED)


def _of_deletion(snapshot: Snapshot, now: datetime) -> Step | None:
    """Rule 3: it is deleted, or all is given up."""
    if snapshot.live_task.deleting_since is not None:
        return teardown(snapshot, RevokeReason.TASK_DELETED) or _deleted(snapshot, now)
    if snapshot.uninstalling:
        return teardown(snapshot, RevokeReason.RELEASED) or _deleted(snapshot, now)
    return None


def _of_deadline(snapshot: Snapshot, now: datetime) -> Step | None:
    """Rule 3: its time is over."""
    if snapshot.record.outcome is not None:
        return None
    deadline = deadline_of(snapshot)
    if deadline is None or deadline > now:
        return None
    ended = replace(snapshot.record, outcome=Outcome.EXPIRED)
    return teardown(snapshot, RevokeReason.DEADLINE, ended) or Finish(outcome=Outcome.EXPIRED)


def _of_outcome(snapshot: Snapshot, now: datetime) -> Step | None:
    """Rule 3: it is over, or its parent is."""
    record = snapshot.record
    if record.outcome is not None:
        return teardown(snapshot, RevokeReason.TASK_OVER) or _finished(
            snapshot, record.outcome, now
        )
    if parent_is_over(snapshot.live_task, record, snapshot.lineage):
        over = replace(record, outcome=Outcome.CANCELLED)
        return teardown(snapshot, RevokeReason.PARENT_ENDED, over) or Finish(
            outcome=Outcome.CANCELLED
        )
    return None


def _of_enrolment(snapshot: Snapshot, _: datetime) -> Step | None:
    """Rule 3: it is not served here."""
    if snapshot.enrolled:
        return None
    return teardown(snapshot, RevokeReason.NOT_ENROLLED) or Wait(
        enrolled=False, pending=snapshot.own_pending_revocations
    )


def _deleted(snapshot: Snapshot, now: datetime) -> Step:
    task = snapshot.live_task
    end = task.deleting_since + DELETION_PATIENCE if task.deleting_since else now
    # An end that is further away than it can be is a clock that went back: it must wedge nobody.
    held = snapshot.own_pending_revocations or snapshot.below
    if held and now < end <= now + 2 * DELETION_PATIENCE:
        return Wait(pending=snapshot.own_pending_revocations, until=end)
    return (
        Release()
        if task.has_finalizer and not snapshot.released
        else Wait(pending=snapshot.own_pending_revocations)
    )


def _finished(snapshot: Snapshot, outcome: Outcome, now: datetime) -> Step:
    record, task = snapshot.record, snapshot.live_task
    if snapshot.own_pending_revocations:
        return Wait(pending=snapshot.own_pending_revocations)
    if record.finished_at is None:
        return Finish(outcome=outcome)
    if task.ttl_seconds_after_finished is None:
        return Wait()
    end = record.finished_at + timedelta(seconds=task.ttl_seconds_after_finished)
    if end > now or snapshot.deleted or not snapshot.reported:
        return Wait(until=end)
    return Delete()


def _of_phase(snapshot: Snapshot, now: datetime) -> Step | None:
    """Rule 6."""
    task, record = snapshot.live_task, snapshot.record
    wanted = task.phase or record.phase or task.first_phase
    if record.blocked_branch:
        if step := teardown(snapshot, RevokeReason.UNAPPROVED_BRANCH):
            return step
        if wanted == record.phase and not snapshot.own_pending_revocations:
            return Enter(left=record.blocked_branch, phase=wanted)  # it went back
        rest = Wait(
            blocked=record.blocked_branch,
            pending=snapshot.own_pending_revocations,
            until=deadline_of(snapshot),
            retry=task.workload is not None and not record.pod_uid,  # its end makes no event
        )
        return (
            rest
            if snapshot.own_pending_revocations
            else lifecycle_approval.of_branch(snapshot, now, rest)
        )
    if not record.attempt or wanted == record.phase:
        return None
    left = task.phase_named(record.phase)
    if left is not None and wanted in left.next:
        if step := teardown(snapshot, RevokeReason.PHASE_CHANGED):
            return step
        return None if snapshot.own_pending_revocations else Enter(left=record.phase, phase=wanted)
    return Block(left=record.phase, phase=wanted)


def _of_secret(snapshot: Snapshot, _: datetime) -> Step | None:
    """Delete the Secret of a task that may use nothing, whatever a provider still owes."""
    usable = any(g.state is not GrantState.REVOKING for g in snapshot.own_grants)
    if snapshot.record.secret_written and not usable and not snapshot.withdrawal_failed:
        return Withdraw(record=snapshot.record)
    return None


RULES: tuple[Callable[[Snapshot, datetime], Step | None], ...] = (
    _of_the_gone, _undo, _of_deletion, _of_deadline, _of_outcome, _of_enrolment, of_suspension,
    lifecycle_pod.of_bound_pod, lifecycle_pod.of_workload, _of_phase,
    lifecycle_grants.no_longer_held, _of_secret,
)  # fmt: skip
"""What ends something, in order; the first answers also for a task that is not there."""
