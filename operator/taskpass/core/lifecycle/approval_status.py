"""What is said of approvals: in the task's status, and on each TaskApproval. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from taskpass.core.lifecycle.approval import PendingApproval, TaskApproval, Verdict, objection
from taskpass.core.lifecycle.authorize import asked_for_by
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import Wait
from taskpass.core.model.conditions import Finding, Reason, false, true
from taskpass.core.model.text import quoted
from taskpass.core.policy.types import Policy

SERIAL = "%Y-%m-%dT%H:%M:%SZ"


def pending(awaiting: Sequence[PendingApproval]) -> list[dict[str, Any]]:
    """Return `status.pendingApprovals`: what is asked, in full, and of whom."""
    return [_pending(each) for each in sorted(awaiting, key=lambda each: each.asked.digest)]


def shown_before(snapshot: Snapshot, rest: Wait) -> list[dict[str, Any]]:
    """Return what was shown and is still asked for, where this look did not come so far.

    What was shown before the ledger was opened anew is believed only while it is shown.
    """
    if not _cut_short(rest):
        return []
    asked = {each.digest for each in snapshot.record.asked}
    before = snapshot.live_task.status.get("pendingApprovals", ())
    return [dict(each) for each in before if each.get("digest") in asked]


def _cut_short(rest: Wait) -> bool:
    """Whether nobody was asked about, as something else comes first."""
    return bool(rest.waiting or rest.authorized or rest.attested or rest.suspended or rest.pending)


def _pending(awaiting: PendingApproval) -> dict[str, Any]:
    asked = awaiting.asked
    what = {"name": asked.name} if asked.name else {"branch": asked.branch}
    return {
        "digest": asked.digest,
        **what,
        "sinceTime": asked.since.strftime(SERIAL),
        "request": asked.text,
        "needs": [
            {
                "policy": h.policy.label, "approvals": h.needed, "given": h.given,
                **_whose(h.policy),
            }
            for h in awaiting.judgement.heard
        ],
    }  # fmt: skip


def _whose(policy: Policy) -> Mapping[str, list[str]]:
    rule = policy.approval
    if rule is None:
        return {}
    whose = {"groups": list(rule.approver_groups), "usernames": list(rule.approver_usernames)}
    return {key: names for key, names in whose.items() if names}


def blocking(snapshot: Snapshot, rest: Wait) -> Finding | None:
    """Return the finding of `Authorized` where an approval is not there; None where none is."""
    if rest.asking_later:
        return false(Reason.APPROVAL_REQUIRED, rest.asking_later)
    if not rest.awaiting:
        return None
    first = min(rest.awaiting, key=lambda each: _urgency(each))
    judgement, what = first.judgement, _named(first)
    if judgement.denied is not None:
        said = judgement.denied
        because = quoted(said.reason) if said.reason else "without a reason"
        return false(
            Reason.APPROVAL_DENIED,
            f"{what} was denied by '{said.approver.username}' ({because}); change the request, or "
            f"have TaskApproval '{said.name}' deleted",
        )
    task = snapshot.live_task
    how = f"see it and give it with: taskpass approve {task.namespace}/{task.name}"
    if judgement.lapsed:
        return false(Reason.APPROVAL_EXPIRED, f"{what} was approved for too short a time; {how}")
    needs = " and ".join(needed_of(h.policy, h.needed, h.given) for h in judgement.heard)
    return false(Reason.APPROVAL_REQUIRED, f"{what} needs {needs}; {how}")


def _urgency(awaiting: PendingApproval) -> tuple[bool, str]:
    return (awaiting.judgement.denied is None, awaiting.asked.name or awaiting.asked.branch)


def _named(awaiting: PendingApproval) -> str:
    asked = awaiting.asked
    return f"Credential '{asked.name}'" if asked.name else f"The move to phase '{asked.branch}'"


def needed_of(policy: Policy, needed: int, given: int = 0) -> str:
    """Say how many approvals of whom a policy asks for."""
    rule = policy.approval
    whose = []
    if rule is not None:
        whose += [f"group '{name}'" for name in rule.approver_groups]
        whose += [f"user '{name}'" for name in rule.approver_usernames]
    some = "one approval" if needed == 1 else f"{needed} approvals"
    has = f", has {given}" if given else ""
    return f"{some} of {' or '.join(whose) or 'somebody'} ({policy.title}{has})"


def verdicts(snapshot: Snapshot, rest: Wait) -> Iterator[tuple[TaskApproval, Finding]]:
    """Yield what has changed of what is to be said on each TaskApproval of the task."""
    if snapshot.task is None:
        return
    grants = {
        uid: grant
        for grant in snapshot.own_grants
        if grant.approval is not None
        for uid in grant.approval.given_by
    }
    asked = {each.asked.digest: each for each in rest.awaiting}
    for approval in snapshot.approvals:
        if approval.uid in grants:
            name = grants[approval.uid].name
            finding = true(
                Reason.USED, f"Credential '{name}' is issued; it ends with this approval"
            )
        elif approval.task_uid == snapshot.task.uid and approval.digest in asked:
            finding = _ready_condition(approval, asked[approval.digest], snapshot)
        elif approval.said[0] in (Reason.USED, Reason.ACCEPTED) or _cut_short(rest):
            continue  # it was heard, and what it led to is told elsewhere; or nobody listened
        else:
            finding = false(
                Reason.SUPERSEDED,
                "What it names is not asked for; `status.pendingApprovals` of the task has what is",
            )
        if approval.said != (finding.reason, finding.message):
            yield approval, finding


def _ready_condition(
    approval: TaskApproval, awaiting: PendingApproval, snapshot: Snapshot
) -> Finding:
    judgement = awaiting.judgement
    if approval.uid not in {each.uid for each in judgement.counted}:
        task, origin = snapshot.live_task, asked_for_by(snapshot)
        each = (objection(approval, h.policy, task, origin) for h in judgement.heard)
        why = next(filter(None, each), "")
        return false(Reason.NOT_ELIGIBLE, f"It does not count: {why}")
    if approval.decision is Verdict.DENIED:
        return true(Reason.ACCEPTED, f"{_named(awaiting)} is denied while this is there")
    if judgement.lapsed:
        return false(Reason.ENDED, "Its time was over before it could be used; approve again")
    missing = [h for h in judgement.heard if h.given < h.needed]
    more = " and ".join(needed_of(h.policy, h.needed, h.given) for h in missing)
    return true(Reason.ACCEPTED, f"It counts; still needed: {more}" if more else "It counts")
