"""What may be done while nothing new can be recorded, or while what is recorded may not be so.

Then only what ends goes on, and nothing keeps it waiting: a step that may not be taken is left out
and the rules after it are asked (`next_step.RULES`, in their order), and one that cannot be
answered, by a record that somebody has edited, keeps no other from it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from taskpass.core.lifecycle.next_step import RULES, next_step
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import (
    Block,
    Evaluate,
    FetchOwners,
    Forget,
    Release,
    Revoke,
    RevokeReason,
    Step,
    Wait,
    Withdraw,
)
from taskpass.core.lifecycle.teardown import teardown
from taskpass.core.model.conditions import Reason, unknown

UNPROVEN = (Withdraw, Release, FetchOwners, Evaluate)
"""What may be done, beside revoking, while the ledger's state may not be what its log says."""
REVOKE_ONLY = (*UNPROVEN, Revoke, Forget)
"""What may be done where nothing new can be recorded: it ends something, or only looks."""
Rule = Callable[[Snapshot, datetime], Step | None]


@dataclass(frozen=True, slots=True)
class Ending:
    """The step, and which rules could not be answered."""

    step: Step
    failed: tuple[Exception, ...]


def ending_step(snapshot: Snapshot, now: datetime) -> Ending:
    """Return the revocation that is due by any of the rules; else what else ends, or to wait."""
    failed: list[Exception] = []

    def ask(rule: Rule, view: Snapshot) -> Step | None:
        try:
            return _allowed(snapshot, rule(view, now))
        except Exception as error:
            failed.append(error)
            return None

    first = ask(next_step, snapshot)
    answers = [first]
    for rule in RULES if snapshot.task is not None else ():
        if any(map(_takes_back, answers)):
            break
        before = len(failed)
        answers.append(ask(rule, snapshot))
        if len(failed) > before:  # by one grant of several, it may be
            alone = (ask(rule, replace(snapshot, grants=(each,))) for each in snapshot.own_grants)
            answers += filter(_takes_back, alone)
    steps = [step for step in answers if step is not None and not isinstance(step, Wait)]
    step = next(filter(_takes_back, steps), None) or first or next(iter(steps), _waiting(snapshot))
    blocked = snapshot.issuance_blocked_reason
    if isinstance(step, Wait) and _is_over_unsaid(snapshot) and blocked is not None:
        step = replace(step, waiting=step.waiting or blocked, issuance_blocked=True)
    if failed and isinstance(step, Wait):
        step = replace(step, retry=True)
    return Ending(step, tuple(failed))


def _is_over_unsaid(snapshot: Snapshot) -> bool:
    """Tell whether the record alone says that the task is over: it is looked at once that holds."""
    if not snapshot.unproven or snapshot.task is None:
        return False
    return snapshot.record.outcome is not None and not snapshot.reported


def _takes_back(step: Step | None) -> bool:
    return isinstance(step, Revoke) and bool(step.grants)


def _allowed(snapshot: Snapshot, step: Step | None) -> Step | None:
    """Return the step as it may be taken; None where it may not."""
    if isinstance(step, Block):  # it left its path: that goes unrecorded, and what it held goes
        step = teardown(snapshot, RevokeReason.UNAPPROVED_BRANCH)
    if not snapshot.unproven:
        return step if isinstance(step, (*REVOKE_ONLY, Wait)) else None
    if isinstance(step, Revoke):
        return replace(step, record=None) if step.grants else None
    return step if isinstance(step, (*UNPROVEN, Wait)) else None


def _waiting(snapshot: Snapshot) -> Wait:
    """Return the rest of a task whose next step is to wait: whatever must end has ended before."""
    blocked = snapshot.issuance_blocked_reason
    unbound = (
        None
        if snapshot.task is None or snapshot.record.pod_uid
        else unknown(Reason.PENDING, blocked or "")
    )
    return Wait(
        attested=unbound,
        pending=snapshot.own_pending_revocations,
        waiting=blocked or "",
        issuance_blocked=blocked is not None,
    )
