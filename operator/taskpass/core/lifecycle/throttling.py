"""Hold back what a task or its namespace has no budget for, and say so; what ends goes on.

A step that would begin something while an account is over its limit (core/rate_limit/budget.py) is
decided anew without it: what comes after it in a task's life (a renewal after a savepoint, say) is
not held back with it. Where nothing comes after it, the task waits.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType

from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import (
    AskApproval,
    Bind,
    Enter,
    Finish,
    Issue,
    NoteActivity,
    NoteApprovals,
    RefusePod,
    RefuseRequests,
    Resume,
    Save,
    Step,
    Suspend,
    Throttled,
    Wait,
)
from taskpass.core.model.conditions import Reason, unknown
from taskpass.core.model.task import digest
from taskpass.core.rate_limit.budget import Hold, Spending

PLAIN: Mapping[type, Spending] = MappingProxyType({
    Save: Spending.SAVEPOINT,
    NoteActivity: Spending.ACTIVITY,
    RefusePod: Spending.POD_REFUSAL,
    RefuseRequests: Spending.DENIAL,
    Bind: Spending.BINDING,
    AskApproval: Spending.APPROVAL,
    NoteApprovals: Spending.APPROVAL,
    Enter: Spending.PHASE,
    Resume: Spending.RESUME,
})  # fmt: skip
"""Steps that are held back whatever they are about."""
DECIDED_WITHOUT = frozenset({
    Spending.SAVEPOINT, Spending.ACTIVITY, Spending.POD_REFUSAL, Spending.DENIAL, Spending.ISSUE,
    Spending.RENEWAL, Spending.SUSPENSION, Spending.RESUME,
})  # fmt: skip
"""What `lifecycle` knows how to leave out; instead of the others the task waits."""
SOONEST = timedelta(seconds=15)
"""A namespace that is over its limit may have thousands of tasks that wait for the same bytes."""
AGAIN = timedelta(seconds=60)
"""When to look again where nobody knows when there is room."""


def within_budget(
    snapshot: Snapshot, now: datetime, decide: Callable[[Snapshot, datetime], Step]
) -> Step:
    """Return what `decide` says, without what is held back."""
    holds: dict[Spending, Hold] = {}
    said: list[str] = []
    step = decide(snapshot, now)
    while (spending := spending_of(snapshot, step)) is not None and snapshot.budget is not None:
        hold = snapshot.budget.hold(spending, now)
        if hold is None:
            break
        holds.setdefault(spending, hold)
        said.append(_said_by(step))
        left_out = _left_out(snapshot, spending)
        if left_out is None:
            step = _waiting(snapshot, step, spending, text_of(snapshot, holds, now), full=hold.full)
            break
        muted = {**snapshot.muted, left_out: text_of(snapshot, {spending: hold}, now)}
        snapshot = replace(snapshot, muted=muted)
        step = decide(snapshot, now)
    if not holds or not isinstance(step, Wait):
        return step
    again = _again(snapshot, holds, now)
    told = Throttled(
        text=text_of(snapshot, holds, now), held=tuple(sorted(holds)), said=digest(said),
        namespace=any(hold.namespace for hold in holds.values()),
    )  # fmt: skip
    until = again if step.until is None else min(step.until, again)
    return replace(step, until=until, throttled=told)


def spending_of(snapshot: Snapshot, step: Step) -> Spending | None:
    """Return what a step would spend on; None where it is never held back."""
    if isinstance(step, Issue):
        renews = all(planned.renews for planned in step.planned)
        return Spending.RENEWAL if renews else Spending.ISSUE
    if isinstance(step, Suspend):
        # The first of an attempt comes with a revocation. It ends something: see Resume.
        ends = snapshot.record.attempt and not snapshot.record.suspended
        return None if ends else Spending.SUSPENSION
    if isinstance(step, Finish):
        return Spending.END if snapshot.own_record is None else None
    return PLAIN.get(type(step))


def text_of(snapshot: Snapshot, holds: Mapping[Spending, Hold], now: datetime) -> str:
    """Say what is held back, whose budget is used up, and until when."""
    what = " and ".join(sorted(holds))
    hold = max(holds.values(), key=lambda each: (each.until is None, each.until or now))
    task = snapshot.live_task
    if hold.until is None:  # of the volume, whose room is shared by namespaces
        whose = (
            "What is left of it is kept for revocations, in every namespace"
            if hold.full
            else f"Namespace '{task.namespace}' has used up its part of what is left of it, "
            "revocation is never held back"
        )
        return (
            f"Held back until the ledger's volume has more room: {what}. {whose}; enlarge the "
            "volume, or prune the log"
        )
    who = f"Namespace '{task.namespace}'" if hold.namespace else f"AgentTask '{task.name}'"
    return (
        f"Held back until {_minute(hold.until):%Y-%m-%d %H:%M} UTC: {what}. {who} has used up its "
        "budget of the audit log by what it said and asked; revocation is never held back"
    )


def _left_out(snapshot: Snapshot, spending: Spending) -> Spending | None:
    """Return what to decide without; None where there is no such way (any more)."""
    if spending is Spending.APPROVAL:
        # People are asked for what is to be issued, or for what is to be renewed.
        ways = (Spending.ISSUE, Spending.RENEWAL)
        return next((each for each in ways if each not in snapshot.muted), None)
    return spending if spending in DECIDED_WITHOUT and spending not in snapshot.muted else None


def _waiting(snapshot: Snapshot, step: Step, spending: Spending, text: str, *, full: bool) -> Wait:
    """Return the rest of a task that can do nothing else.

    Where the volume is full, why nothing is issued to anybody says it better.
    """
    all_wait = snapshot.issuance_blocked_reason if full else None
    rest = Wait(
        pending=snapshot.own_pending_revocations,
        waiting=all_wait or text,
        issuance_blocked=all_wait is not None,
        retry=_may_end_unseen(snapshot),
    )
    if spending is Spending.BINDING and all_wait:
        return replace(rest, attested=unknown(Reason.PENDING, all_wait))
    if spending is Spending.BINDING:
        return replace(rest, waiting="", attested=unknown(Reason.BUDGET_EXCEEDED, text))
    return replace(rest, blocked=snapshot.record.blocked_branch)


def _may_end_unseen(snapshot: Snapshot) -> bool:
    """Whether its workload may end, which makes no event of ours."""
    return snapshot.live_task.workload is not None and not snapshot.record.pod_uid


def _said_by(step: Step) -> str:
    """Return what is the same while the same is held back."""
    match step:
        case Save():
            return digest([step.savepoint.step, step.savepoint.sha256])
        case RefusePod() | RefuseRequests():
            return step.refusal
        case _:
            return type(step).__name__


def _again(snapshot: Snapshot, holds: Mapping[Spending, Hold], now: datetime) -> datetime:
    known = [hold.until or now + AGAIN for hold in holds.values()]
    spread = int(digest(snapshot.live_task.uid)[-4:], 16) % SOONEST.seconds
    return max(min(known), now + SOONEST) + timedelta(seconds=spread)


def _minute(time: datetime) -> datetime:
    """Round up, so that what is said stays the same for a while."""
    return (time + timedelta(seconds=59)).replace(second=0, microsecond=0)
