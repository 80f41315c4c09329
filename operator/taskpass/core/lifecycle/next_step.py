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


def next_step(seen: Snapshot, now: datetime) -> Step:
    """Return the next step; `Wait` where there is nothing to do but wait."""
    step = within_budget(seen, now, _next)
    if not isinstance(step, Finish) or not seen.below:
        return step
    # It is over once nothing is held any more, by those below neither. They see how it ended.
    if seen.record.outcome is None:
        return Revoke(grants=(), record=replace(seen.record, outcome=step.outcome))
    return Wait(waiting=_of_those_below(seen))


def _of_those_below(seen: Snapshot) -> str:
    return f"{len(seen.below)} of tasks below it still to be taken back"


def _next(seen: Snapshot, now: datetime) -> Step:
    return (
        _of_the_gone(seen)
        or _undo(seen)
        or _at_the_end(seen, now)
        or of_suspension(seen, now)
        or lifecycle_pod.of_bound_pod(seen, now)
        or lifecycle_pod.of_workload(seen, now)
        or _of_phase(seen, now)
        or lifecycle_grants.no_longer_held(seen, now)
        or _of_secret(seen)
        or lifecycle_pod.of_new_pod(seen, now)
        or of_progress(seen, now)
        or lifecycle_grants.anything_new(seen, now)
    )


def _of_the_gone(seen: Snapshot) -> Step | None:
    """Rule 1."""
    strangers = [g for g in seen.grants if not seen.is_of_task(g.task.uid)]
    if step := revoke(seen, strangers, RevokeReason.TASK_GONE):
        return step
    for record in seen.gone_records:
        if record.secret_written and not seen.withdrawal_failed:
            return Withdraw(record=record)
        return Forget(record=record, owed=sum(g.task.uid == record.task.uid for g in strangers))
    if seen.task is None:
        return Wait(owed=tuple(strangers))
    return None


def _undo(seen: Snapshot) -> Step | None:
    """Rule 2."""
    half = [
        g
        for g in seen.own_grants
        if g.state is GrantState.INTENT or (g.state is GrantState.ISSUED and g.id not in seen.known)
    ]
    if step := revoke(seen, half, RevokeReason.INTERRUPTED):
        return step
    going = [g for g in seen.own_grants if g.state is GrantState.REVOKING]
    return revoke(seen, going, RevokeReason.INTERRUPTED)


def _at_the_end(seen: Snapshot, now: datetime) -> Step | None:
    """Rule 3."""
    task, record = seen.live_task, seen.record
    if task.deleting_since is not None:
        return teardown(seen, RevokeReason.TASK_DELETED) or _deleted(seen, now)
    if seen.uninstalling:
        return teardown(seen, RevokeReason.RELEASED) or _deleted(seen, now)
    deadline = deadline_of(seen)
    if record.outcome is None and deadline is not None and deadline <= now:
        ended = replace(record, outcome=Outcome.EXPIRED)
        return teardown(seen, RevokeReason.DEADLINE, ended) or Finish(outcome=Outcome.EXPIRED)
    if record.outcome is not None:
        return teardown(seen, RevokeReason.TASK_OVER) or _finished(seen, record.outcome, now)
    if parent_is_over(task, record, seen.lineage):
        over = replace(record, outcome=Outcome.CANCELLED)
        return teardown(seen, RevokeReason.PARENT_ENDED, over) or Finish(outcome=Outcome.CANCELLED)
    if not seen.enrolled:
        return teardown(seen, RevokeReason.NOT_ENROLLED) or Wait(enrolled=False, owed=seen.owed_own)
    return None


def _deleted(seen: Snapshot, now: datetime) -> Step:
    task = seen.live_task
    end = task.deleting_since + DELETION_PATIENCE if task.deleting_since else now
    # An end that is further away than it can be is a clock that went back: it must wedge nobody.
    held = seen.owed_own or seen.below
    if held and now < end <= now + 2 * DELETION_PATIENCE:
        return Wait(owed=seen.owed_own, until=end)
    return Release() if task.has_finalizer and not seen.released else Wait(owed=seen.owed_own)


def _finished(seen: Snapshot, outcome: Outcome, now: datetime) -> Step:
    record, task = seen.record, seen.live_task
    if seen.owed_own:
        return Wait(owed=seen.owed_own)
    if record.finished_at is None:
        return Finish(outcome=outcome)
    if task.ttl_seconds_after_finished is None:
        return Wait()
    end = record.finished_at + timedelta(seconds=task.ttl_seconds_after_finished)
    if end > now or seen.deleted or not seen.reported:
        return Wait(until=end)
    return Delete()


def _of_phase(seen: Snapshot, now: datetime) -> Step | None:
    """Rule 6."""
    task, record = seen.live_task, seen.record
    wanted = task.phase or record.phase or task.first_phase
    if record.blocked_branch:
        if step := teardown(seen, RevokeReason.UNAPPROVED_BRANCH):
            return step
        if wanted == record.phase and not seen.owed_own:
            return Enter(left=record.blocked_branch, phase=wanted)  # it went back
        rest = Wait(
            blocked=record.blocked_branch,
            owed=seen.owed_own,
            until=deadline_of(seen),
            retry=task.workload is not None and not record.pod_uid,  # its end makes no event
        )
        return rest if seen.owed_own else lifecycle_approval.of_branch(seen, now, rest)
    if not record.attempt or wanted == record.phase:
        return None
    left = task.phase_named(record.phase)
    if left is not None and wanted in left.next:
        if step := teardown(seen, RevokeReason.PHASE_CHANGED):
            return step
        return None if seen.owed_own else Enter(left=record.phase, phase=wanted)
    return Block(left=record.phase, phase=wanted)


def _of_secret(seen: Snapshot) -> Step | None:
    """Delete the Secret of a task that may use nothing, whatever a provider still owes."""
    usable = any(g.state is not GrantState.REVOKING for g in seen.own_grants)
    if seen.record.secret_written and not usable and not seen.withdrawal_failed:
        return Withdraw(record=seen.record)
    return None
