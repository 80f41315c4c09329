"""The credentials' part of `lifecycle.next_step`: what still holds, what is asked for."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from taskpass.core.clearing import deadline_of
from taskpass.core.credential import Grant, GrantState
from taskpass.core.outputs import collision
from taskpass.core.policy import Agent, Decision, DecisionReason, Question, evaluate
from taskpass.core.snapshot import Snapshot
from taskpass.core.steps import (
    Ask,
    Deliver,
    Denial,
    Issue,
    LiftGate,
    Planned,
    RefuseRequests,
    Rest,
    Revoke,
    RevokeReason,
    Step,
)
from taskpass.core.task import CredentialRequest, digest

LIVE = (GrantState.ISSUED, GrantState.DELIVERED)
LOOK_AGAIN = timedelta(seconds=60)
"""A denial may end without an event: rights have none, and an expression may ask for `now`."""


def no_longer_held(seen: Snapshot, now: datetime) -> Step | None:
    """Revoke what its request, intent, phase, class, policy or lifetime no longer supports."""
    due: list[tuple[Grant, RevokeReason]] = []
    for grant in live(seen):
        reason = _objection(seen, grant, now)
        if reason is not None and grant.id not in seen.unanswered:
            due.append((grant, reason))
    if not due:
        return None
    # What was never in front of a pod that could use it has spent nothing: it is issued anew.
    run_out = tuple(
        use_of(g.request_digest, g.intent_digest)
        for g, reason in due
        if reason is RevokeReason.EXPIRED and g.state is GrantState.DELIVERED and _started(seen)
    )
    record = seen.record
    spent = replace(record, spent=record.spent + run_out) if run_out else None
    return Revoke(grants=tuple(due), record=spent)


def anything_new(seen: Snapshot, now: datetime) -> Step:
    """Decide, issue, deliver and lift the gate, one after the other; else rest."""
    rest = Rest(owed=seen.owed_own, until=_until(seen))
    held = live(seen)
    if seen.owed_own:
        return _shrink(seen, held) or rest
    if waiting := seen.held_back or _reader(seen):
        return replace(rest, waiting=waiting)
    names = {g.name for g in held}
    record = seen.record
    requests = seen.live_task.requests_in(record.phase)
    if clash := collision(requests):
        return replace(rest, waiting=clash)
    intent = seen.live_task.intent.digest
    needed = [
        r for r in requests if r.name not in names and use_of(r.digest, intent) not in record.spent
    ]
    if needed:
        return _decide(seen, needed, held, now, rest)
    if {g.id for g in held} != set(record.delivered) and held:
        if step := _replace_unknown(seen, held):
            return step
        if seen.delivery_failure is not None:
            return replace(rest, retry=True)
        return Deliver(grants=tuple(held))
    pod = seen.bound_pod
    if pod is not None and pod.gated and pod.uid not in seen.lifted:
        return LiftGate(pod=pod)
    return rest


def use_of(request_digest: str, intent_digest: str) -> str:
    """Return what a credential is for: the same request for another intent is another use."""
    return digest([request_digest, intent_digest])


def live(seen: Snapshot) -> list[Grant]:
    """Return what the task holds and may use, by name."""
    return sorted((g for g in seen.own_grants if g.state in LIVE), key=lambda g: g.name)


def _started(seen: Snapshot) -> bool:
    """Whether the bound pod is past its gate."""
    pod = seen.bound_pod
    return pod is None or not pod.gated or pod.uid in seen.lifted


def _shrink(seen: Snapshot, held: Sequence[Grant]) -> Step | None:
    """While a provider owes a revocation, take that credential out of the Secret at least."""
    left = tuple(g for g in held if g.id in seen.record.delivered)
    if not left or len(left) == len(seen.record.delivered):
        return None
    if seen.delivery_failure is not None or _reader(seen):
        return None
    return Deliver(grants=left) if all(g.id in seen.known for g in left) else None


def _objection(seen: Snapshot, grant: Grant, now: datetime) -> RevokeReason | None:
    task, record = seen.live_task, seen.record
    request = next((r for r in task.requests_in(record.phase) if r.name == grant.name), None)
    used = seen.classes.get(grant.class_name)
    if grant.pod_uid != record.pod_uid:
        return RevokeReason.POD_ENDED
    if grant.phase != record.phase:
        return RevokeReason.PHASE_CHANGED
    if grant.intent_digest != task.intent.digest:
        return RevokeReason.INTENT_CHANGED
    if request is None or request.digest != grant.request_digest:
        return RevokeReason.REQUEST_CHANGED
    if used is None or used.digest != grant.class_digest:
        return RevokeReason.CLASS_CHANGED
    if grant.expires_at is not None and grant.expires_at <= now:
        return RevokeReason.EXPIRED
    decision = _decision(seen, request, now)
    if decision.reason is DecisionReason.EVALUATION_FAILED:
        return None  # neither yes nor no: it stays until it expires
    if not decision.allowed or grant.lifetime_seconds > decision.lifetime_seconds:
        return RevokeReason.POLICY_CHANGED
    return None


def _decide(
    seen: Snapshot,
    needed: Sequence[CredentialRequest],
    held: Sequence[Grant],
    now: datetime,
    rest: Rest,
) -> Step:
    unasked = {r.class_name for r in needed if r.class_name in seen.classes} - set(seen.may_use)
    if unasked:
        return Ask(classes=tuple(sorted(unasked)))
    decisions = [(r, _decision(seen, r, now)) for r in needed]
    denials = tuple(Denial(request=r, decision=d) for r, d in decisions if not d.allowed)
    if denials:
        # All or nothing: the pod waits behind its gate anyway, so a part would only lie about.
        refusal = digest([[d.request.name, d.decision.reason, d.decision.message] for d in denials])
        if seen.record.denial != refusal:
            return RefuseRequests(denials=denials, refusal=refusal)
        failed = any(d.decision.reason is DecisionReason.EVALUATION_FAILED for d in denials)
        again = min(rest.until or now + LOOK_AGAIN, now + LOOK_AGAIN)
        return replace(rest, denials=denials, retry=failed, until=again)
    if seen.failures:
        return replace(rest, retry=True)
    if step := _replace_unknown(seen, held):
        return step
    return Issue(
        planned=tuple(
            Planned(request=r, credential_class=seen.classes[r.class_name], decision=d)
            for r, d in decisions
        )
    )


def _decision(seen: Snapshot, request: CredentialRequest, now: datetime) -> Decision:
    used = seen.classes.get(request.class_name)
    pod = seen.bound_pod
    agent = Agent(
        service_account=seen.live_task.service_account,
        pod_labels=pod.labels if pod else {},
        images=seen.record.images,
        pod_name=pod.name if pod else "",
        created_by=pod.created_by if pod else "",
    )
    question = Question(
        task=seen.live_task,
        phase=seen.record.phase,
        request=request,
        credential_class=used,
        agent=agent,
        namespace_labels=seen.namespace_labels,
        minimum_lifetime_seconds=seen.minimum_lifetimes.get(used.provider, 0) if used else 0,
        may_use=seen.may_use.get(request.class_name, True),
    )
    return evaluate(question, seen.policies, now)


def _replace_unknown(seen: Snapshot, held: Sequence[Grant]) -> Step | None:
    """Revoke what cannot be written again: the Secret is written whole, and never read."""
    unknown = tuple((g, RevokeReason.REPLACED) for g in held if g.id not in seen.known)
    return Revoke(grants=unknown) if unknown else None


def _reader(seen: Snapshot) -> str:
    """Name a pod that would read what is written now, and is not the one it is for."""
    for pod in seen.pods:
        # One whose time to go is over may still run on a node that is cut off.
        if pod.uid != seen.record.pod_uid and not pod.gated and not pod.ended:
            return (
                f"Pod '{pod.name}' still runs and refers to the same Secret; credentials are "
                "issued once it has ended"
            )
    return ""


def _until(seen: Snapshot) -> datetime | None:
    pod = seen.bound_pod
    moments = [
        deadline_of(seen),
        pod.deleting_since if pod else None,
        *(g.expires_at for g in live(seen)),
    ]
    return min((m for m in moments if m is not None), default=None)
