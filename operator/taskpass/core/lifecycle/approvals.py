"""The approval's part of `lifecycle.next_step`: what people are asked, and what they let go on.

A task that waits for approval holds nothing. What was asked for stays in the ledger, with its
nonce, until its credential is in front of the pod: then the approval is used up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from taskpass.core.lifecycle.approval import (
    ApprovalRequest,
    PendingApproval,
    TaskApproval,
    asked_text,
    judge,
)
from taskpass.core.lifecycle.authorize import asked_for_by, authorize, to_evaluate, undecided
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import (
    ApprovalDraft,
    AskApproval,
    Enter,
    NoteApprovals,
    ResolvePermissions,
    RevokeReason,
    Step,
    Wait,
)
from taskpass.core.lifecycle.teardown import teardown
from taskpass.core.model.grant import Approval, Grant
from taskpass.core.model.task import CredentialRequest
from taskpass.core.policy.evaluate import Decision, Policy

MOST_ASKED = 5
"""How often people are asked for one task within `ASKING_PERIOD`: who changes it again and again
must not have them approve by habit."""
ASKING_PERIOD = timedelta(minutes=10)
Decided = Sequence[tuple[CredentialRequest, Decision]]


def of_approval(
    snapshot: Snapshot, decisions: Decided, held: Mapping[str, Grant], now: datetime, rest: Wait
) -> Step | Mapping[str, Approval]:
    """Return what must come before the issue, or the approvals that let it go on, by request."""
    demanding = [(r, d) for r, d in decisions if d.demands]
    unseen = {r.class_name for r, _ in demanding} - snapshot.permissions_digest.keys()
    if unseen:
        return ResolvePermissions(classes=tuple(snapshot.classes[name] for name in sorted(unseen)))
    approved: dict[str, Approval] = {}
    drafts: list[ApprovalDraft] = []
    for request, decision in demanding:
        before = held[request.name].approval if request.name in held else None
        terms = _terms(snapshot, request, decision)
        if before is not None and before.until > now and _is_of(before, terms):
            approved[request.name] = before
        else:
            drafts.append(
                ApprovalDraft(name=request.name, branch="", terms=terms, demands=decision.demands)
            )
    if not drafts:
        return approved
    answer = _answers_to(snapshot, drafts, now, rest, held)
    return {**approved, **answer} if isinstance(answer, dict) else answer


def of_branch(snapshot: Snapshot, now: datetime, rest: Wait) -> Step:
    """Ask for the approval of a move that was not declared; go on once it is there."""
    task, record = snapshot.live_task, snapshot.record
    wanted, left = task.phase, record.phase
    asked = task.requests_in(wanted)
    if record.pod_uid and (step := to_evaluate(snapshot, asked, now, wanted)):
        return step
    rest = replace(rest, retry=rest.retry or undecided(snapshot))
    decided = [(r, authorize(snapshot, r, now, wanted)) for r in asked]
    demands = tuple({p.label: p for _, d in decided for p in d.demands}.values())
    if not record.pod_uid or not demands:
        return rest
    terms = {
        **_task_terms(snapshot, wanted),
        "branch": {"from": left, "to": wanted},
        "requests": [r.digest for r, _ in decided],
        "policies": _policies(demands),
    }
    draft = ApprovalDraft(name="", branch=wanted, terms=terms, demands=demands)
    answer = _answers_to(snapshot, [draft], now, rest, {})
    if isinstance(answer, dict):
        return Enter(left=left, phase=wanted, approval=answer[""].digest)
    return answer


def holds(
    snapshot: Snapshot, grant: Grant, decision: Decision, now: datetime
) -> RevokeReason | None:
    """Return why a grant is no longer approved; None where it is, or nobody asks."""
    if not decision.demands:
        return None
    approval = grant.approval
    if approval is None or snapshot.live_task.generation != grant.generation:
        return RevokeReason.APPROVAL_NEEDED
    if approval.until <= now:
        return RevokeReason.APPROVAL_ENDED
    words = judge(
        approval.digest,
        decision.demands,
        snapshot.approvals,
        snapshot.live_task,
        asked_for_by(snapshot),
        now,
    )
    return None if words.until else RevokeReason.APPROVAL_NEEDED


def _answers_to(
    snapshot: Snapshot,
    drafts: Sequence[ApprovalDraft],
    now: datetime,
    rest: Wait,
    held: Mapping[str, Grant],
) -> Step | dict[str, Approval]:
    """Return the approvals of all drafts by request, or what must come before."""
    asked, origin = [(draft, _asked(snapshot, draft)) for draft in drafts], asked_for_by(snapshot)
    judged = [
        (a, judge(a.digest, w.demands, snapshot.approvals, snapshot.live_task, origin, now))
        for w, a in asked
        if a
    ]
    open_ones = [each for each in judged if each[1].until is None]
    if len(judged) < len(drafts) or open_ones:
        if step := teardown(snapshot, RevokeReason.APPROVAL_NEEDED):
            return step
        if snapshot.own_pending_revocations:
            return rest
    news = tuple((a, new) for a, j in judged if (new := _unnoted(a, j.counted)))
    if news:
        return NoteApprovals(heard=news)
    if origin.unknown:
        return replace(rest, asking_later=f"No approval counts: {origin.unknown}")
    if len(judged) < len(drafts):
        return _ask(snapshot, asked, now, rest)
    if open_ones:
        ends = [rest.until] if rest.until else []
        return replace(
            rest,
            awaiting=tuple(PendingApproval(asked=a, judgement=j) for a, j in open_ones),
            until=min((*ends, now + LOOK_AGAIN)),
        )
    return {
        a.name: Approval(
            digest=a.digest, nonce=a.nonce, until=j.until,
            given_by=tuple(sorted(approval.uid for approval in j.counted)),
        )
        for a, j in judged
        if j.until is not None
    }  # fmt: skip


LOOK_AGAIN = timedelta(seconds=60)
"""A word that ends makes no event."""


def _ask(
    snapshot: Snapshot,
    asked: Sequence[tuple[ApprovalDraft, ApprovalRequest | None]],
    now: datetime,
    rest: Wait,
) -> Step:
    recent = [at for at in snapshot.record.asked_at if at > now - ASKING_PERIOD]
    if len(recent) >= MOST_ASKED:
        again = recent[-MOST_ASKED] + ASKING_PERIOD
        return replace(
            rest,
            until=min(rest.until or again, again),
            asking_later=f"People were asked {MOST_ASKED} times within "
            f"{ASKING_PERIOD.seconds // 60} minutes, as the task was changed again and again; they "
            f"are asked anew at {again:%H:%M:%S} UTC",
        )
    return AskApproval(
        drafts=tuple(draft for draft, found in asked if found is None),
        kept=tuple(found for _, found in asked if found is not None),
    )


def _asked(snapshot: Snapshot, draft: ApprovalDraft) -> ApprovalRequest | None:
    """Return where people were asked just this.

    What another opening of the ledger has asked must be in the status as well, which only we write:
    a ledger that is an older copy may ask for what was approved, and used, already.
    """
    shown = {each.get("digest") for each in snapshot.live_task.status.get("pendingApprovals", ())}
    for each in snapshot.record.asked:
        same = (each.name, each.branch) == (draft.name, draft.branch)
        if not same or asked_text(draft.terms, each.nonce) != each.text:
            continue
        if each.epoch == snapshot.epoch or each.digest in shown:
            return each
    return None


def _unnoted(asked: ApprovalRequest, words: Sequence[TaskApproval]) -> tuple[TaskApproval, ...]:
    return tuple(approval for approval in words if approval.uid not in asked.noted)


def _is_of(approval: Approval, terms: Mapping[str, Any]) -> bool:
    text = asked_text(terms, approval.nonce)
    return (
        ApprovalRequest(text=text, nonce="", since=approval.until, epoch=0).digest
        == approval.digest
    )


def _terms(snapshot: Snapshot, request: CredentialRequest, decision: Decision) -> dict[str, Any]:
    credential_class = snapshot.classes[request.class_name]
    asking: dict[str, Any] = {
        "name": request.name,
        "class": request.class_name,
        "actions": list(request.actions),
        "resources": list(request.resources),
        "location": request.location,
        "lifetime_seconds": decision.lifetime_seconds,
        "outputs": [{"field": o.field, "key": o.key} for o in request.outputs],
    }
    return {
        **_task_terms(snapshot, snapshot.record.phase),
        "request": asking,
        "class": {
            "name": credential_class.name, "digest": credential_class.digest,
            "reach": snapshot.permissions_digest[credential_class.name],
            "gives": snapshot.gives.get(request.name, ""),
        },
        "policies": _policies(decision.demands),
    }  # fmt: skip


def _task_terms(snapshot: Snapshot, phase: str) -> dict[str, Any]:
    task, record = snapshot.live_task, snapshot.record
    return {
        "task": {
            "namespace": task.namespace, "name": task.name, "uid": task.uid,
            "generation": task.generation, "chain": list(snapshot.lineage.chain),
        },
        "agent": {
            "service_account": task.service_account,
            "service_account_uid": record.service_account_uid,
            "images": list(record.images),
            **({} if record.origin is None else {"started_by": list(record.origin.names)}),
        },
        "intent": {
            "goal": task.intent.goal,
            "tools": list(task.intent.tools),
            "data": [
                {"name": d.name, "classification": d.classification} for d in task.intent.data
            ],
            "trust_boundary": task.intent.trust_boundary,
        },
        "phase": phase,
    }  # fmt: skip


def _policies(demands: Sequence[Policy]) -> list[dict[str, str]]:
    return [{"name": policy.label, "digest": policy.digest} for policy in demands]
