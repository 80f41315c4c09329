"""The credentials' part of `lifecycle.next_step`: what still holds, what is asked for, what is due.

What is asked for first is issued all or nothing. What is held is renewed whatever becomes of the
rest: a request that is denied, or a provider that is away, takes no other credential's time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from taskpass.core.lifecycle.approvals import holds, of_approval
from taskpass.core.lifecycle.authorize import authorize, stopped, to_evaluate, undecided
from taskpass.core.lifecycle.delegation import covering, is_pod_of, outlives
from taskpass.core.lifecycle.outputs import collision
from taskpass.core.lifecycle.ownership import made_anew
from taskpass.core.lifecycle.progress import idle_since
from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.lifecycle.renewal import CLOCK_TOLERANCE, current, fits, renewal_of, renewal_time
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import (
    Deliver,
    Denial,
    FetchOwners,
    Issue,
    LiftGate,
    Planned,
    RefuseRequests,
    ReviewAccess,
    Revoke,
    RevokeReason,
    Step,
    Wait,
)
from taskpass.core.lifecycle.teardown import deadline_of
from taskpass.core.model.grant import Approval, Grant, GrantState
from taskpass.core.model.task import CredentialRequest, digest
from taskpass.core.policy.evaluate import Decision, DecisionReason
from taskpass.core.rate_limit.budget import Spending

LIVE = (GrantState.ISSUED, GrantState.DELIVERED)
LOOK_AGAIN = timedelta(seconds=60)
"""A denial may end without an event: rights have none, and an expression may ask for `now`."""


def no_longer_held(snapshot: Snapshot, now: datetime) -> Step | None:
    """Revoke what its request, intent, phase, class, policy or lifetime no longer supports.

    What is known already comes first; only then are validations evaluated that may know more.
    """
    due: list[tuple[Grant, RevokeReason]] = []
    held = live(snapshot)
    for grant in held:
        reason = _objection(snapshot, grant, now) or _succeeded(snapshot, grant, held, now)
        if reason is not None and grant.id not in snapshot.unanswered:
            due.append((grant, reason))
    if not due:
        asked = snapshot.live_task.requests_in(snapshot.record.phase)
        return to_evaluate(snapshot, asked, now) if held else None
    newest = current(held)
    # What was never in front of a pod that could use it has spent nothing: it is issued anew.
    run_out = [
        g
        for g, reason in due
        if reason is RevokeReason.EXPIRED
        and g.state is GrantState.DELIVERED
        and g.id == newest[g.name].id
        and _may_have_used(snapshot)
    ]
    return Revoke(grants=tuple(due), record=_after(snapshot, run_out) if run_out else None)


def anything_new(snapshot: Snapshot, now: datetime) -> Step:
    """Decide, issue, deliver and lift the gate, one after the other; else rest."""
    held = current(live(snapshot))
    rest = Wait(
        pending=snapshot.own_pending_revocations,
        until=_until(snapshot, held, now),
        retry=undecided(snapshot),
    )
    if pending_without_successor(snapshot):
        return _shrink(snapshot, held) or rest
    step = _for_what_is_asked(snapshot, held, now, rest)
    blocked = snapshot.issuance_blocked_reason
    waiting = blocked or _reader(snapshot) or _from_before(snapshot)
    if isinstance(step, Wait) or waiting is None:
        return step
    rest = replace(rest, issuance_blocked=blocked is not None)
    if _missing(snapshot, held, now) or _is_stale(snapshot, held) or not _started(snapshot):
        return replace(rest, waiting=waiting)
    return replace(rest, unrenewed=waiting)


def use_of(request_digest: str, intent_digest: str) -> str:
    """Return what a credential is for: the same request for another intent is another use."""
    return digest([request_digest, intent_digest])


def _use(snapshot: Snapshot, request: CredentialRequest) -> str:
    return use_of(request.digest, snapshot.live_task.intent.digest)


def live(snapshot: Snapshot) -> list[Grant]:
    """Return what the task holds and may use, by name."""
    return sorted((g for g in snapshot.own_grants if g.state in LIVE), key=lambda g: g.name)


def pending_without_successor(snapshot: Snapshot) -> tuple[Grant, ...]:
    """Return what is still to be taken back and keeps all that is new waiting.

    The debt of a renewal, or of one that failed, keeps only the next renewal of that name waiting.
    """
    held = current(live(snapshot))
    return tuple(g for g in snapshot.own_pending_revocations if g.name not in held)


def _for_what_is_asked(
    snapshot: Snapshot, held: Mapping[str, Grant], now: datetime, rest: Wait
) -> Step:
    requests = snapshot.live_task.requests_in(snapshot.record.phase)
    if clash := collision(requests):
        return replace(rest, waiting=clash)
    if unknown_yet := to_evaluate(snapshot, requests, now):
        return unknown_yet
    missing = _missing(snapshot, held, now)
    # The Secret is written whole and never read: what this process does not know is renewed too.
    unknown = [
        r for r in requests if r.name in held and held[r.name].id not in snapshot.secret_cache
    ]
    if any(r.name in snapshot.failures for r in missing):
        rest = replace(rest, retry=True)
    elif missing and (muted := snapshot.muted.get(Spending.ISSUE)):
        rest = replace(rest, waiting=muted)
    elif missing:
        step = _decide(snapshot, missing, unknown, held, now, rest)
        if not isinstance(step, Wait):
            return step
        rest = step
    due = [r for r in requests if r.name in held and _is_due(snapshot, held[r.name], now)]
    if due or (unknown and _is_stale(snapshot, held)):
        step = _renew(snapshot, due, unknown, held, now, rest)
        if not isinstance(step, Wait):
            return step
        rest = step
    if _is_stale(snapshot, held) and not unknown:
        if snapshot.delivery_failure is not None:
            return replace(rest, retry=True)
        return Deliver(grants=tuple(held.values()))
    pod = snapshot.bound_pod
    if not missing and pod is not None and pod.gated and pod.uid not in snapshot.lifted:
        return LiftGate(pod=pod)
    return rest


def _missing(
    snapshot: Snapshot, held: Mapping[str, Grant], now: datetime
) -> list[CredentialRequest]:
    """Return what is asked for, not held, and may be issued (again)."""
    asked = snapshot.live_task.requests_in(snapshot.record.phase)
    return [r for r in asked if r.name not in held and not has_run_out(snapshot, r, now)]


def has_run_out(snapshot: Snapshot, request: CredentialRequest, now: datetime) -> bool:
    """Whether its credential ran out, and policy or the deadline allows no further renewal."""
    count = snapshot.record.renewals.get(_use(snapshot, request), 0)
    if not count:
        return False
    if _exceeds(count, authorize(snapshot, request, now)):
        return True
    credential_class = snapshot.classes.get(request.class_name)
    return credential_class is not None and not fits(
        deadline_of(snapshot), _minimum(snapshot, credential_class.name), now
    )


def _exceeds(renewals: int, decision: Decision) -> bool:
    return decision.max_renewals is not None and renewals > decision.max_renewals


def _is_stale(snapshot: Snapshot, held: Mapping[str, Grant]) -> bool:
    """Whether the Secret has not just what is held."""
    return bool(held) and {g.id for g in held.values()} != set(snapshot.record.delivered)


def _is_due(snapshot: Snapshot, grant: Grant, now: datetime) -> bool:
    moment = _renewal_time(snapshot, grant, now)
    if moment is None or moment > now:
        return False
    requests = snapshot.live_task.requests_in(snapshot.record.phase)
    request = next(r for r in requests if r.name == grant.name)
    return not _exceeds(grant.renewals + 1, authorize(snapshot, request, now))


def _renewal_time(snapshot: Snapshot, grant: Grant, now: datetime) -> datetime | None:
    asked = snapshot.live_task.requests_in(snapshot.record.phase)
    request = next((r for r in asked if r.name == grant.name), None)
    own = deadline_of(snapshot) if request is None else _end_of(snapshot, request)
    end = _earlier(own, grant.approval)
    return renewal_time(grant, end, _minimum(snapshot, grant.class_name), now)


def _minimum(snapshot: Snapshot, class_name: str) -> timedelta:
    promised = snapshot.capabilities.get(class_name)
    return timedelta(seconds=promised.minimum_seconds if promised else 0)


def _renew(
    snapshot: Snapshot, due: Sequence[CredentialRequest], unknown: Sequence[CredentialRequest],
    held: Mapping[str, Grant], now: datetime, rest: Wait,
) -> Step:  # fmt: skip
    """Renew what is due, and leave what is held as it is where that cannot be."""
    if muted := snapshot.muted.get(Spending.RENEWAL):
        return replace(rest, unrenewed=muted)
    owed = {g.name for g in snapshot.own_pending_revocations}
    asked = [r for r in due if r.name not in owed and r.name not in snapshot.failures]
    kept_from = next((f.message for name, f in snapshot.failures.items() if name in held), "")
    if not kept_from and owed:
        kept_from = "What was held before is still to be taken back"
    if kept_from:
        rest = replace(rest, unrenewed=kept_from, retry=True)
    if any(r.name in owed or r.name in snapshot.failures for r in unknown):
        return rest
    if not asked and not (unknown and _is_stale(snapshot, held)):
        return rest
    step = _decide(snapshot, asked, unknown, held, now, rest)
    if not isinstance(step, Wait) or not step.denials:
        return step
    # Neither yes nor no: a no has taken it back before, and so has an approval that is missing.
    told = step.denials[0].decision.message
    return replace(step, denials=rest.denials, unrenewed=rest.unrenewed or told)


def _succeeded(
    snapshot: Snapshot, grant: Grant, held: Sequence[Grant], now: datetime
) -> RevokeReason | None:
    newer = renewal_of(grant, held)
    if newer is None or newer.delivered_at is None:
        return None
    # By a clock that went back it would stay for as long, beside the next renewal.
    jumped = newer.delivered_at > now + CLOCK_TOLERANCE
    over = jumped or newer.delivered_at + snapshot.overlap <= now
    return RevokeReason.RENEWED if over else None


def _after(snapshot: Snapshot, run_out: Sequence[Grant]) -> TaskRecord:
    """Remember what ran out: to issue it once more is a renewal."""
    ran = {use_of(g.request_digest, g.intent_digest): g.renewals + 1 for g in run_out}
    return replace(snapshot.record, renewals={**snapshot.record.renewals, **ran})


def _started(snapshot: Snapshot) -> bool:
    """Whether the bound pod is past its gate."""
    pod = snapshot.bound_pod
    return pod is None or not pod.gated or pod.uid in snapshot.lifted


def _may_have_used(snapshot: Snapshot) -> bool:
    """Whether the bound pod may have read what was delivered, whatever a cache shows."""
    pod = snapshot.bound_pod
    return pod is None or snapshot.may_run(pod)


def _shrink(snapshot: Snapshot, held: Mapping[str, Grant]) -> Step | None:
    """While a provider owes a revocation, take that credential out of the Secret at least."""
    left = tuple(g for g in held.values() if g.id in snapshot.record.delivered)
    if not left or len(left) == len(snapshot.record.delivered):
        return None
    if snapshot.delivery_failure is not None or _reader(snapshot):
        return None
    return Deliver(grants=left) if all(g.id in snapshot.secret_cache for g in left) else None


def _objection(snapshot: Snapshot, grant: Grant, now: datetime) -> RevokeReason | None:
    task, record = snapshot.live_task, snapshot.record
    request = next((r for r in task.requests_in(record.phase) if r.name == grant.name), None)
    credential_class = snapshot.classes.get(grant.class_name)
    if grant.pod_uid != record.pod_uid:
        return RevokeReason.POD_ENDED
    # Where somebody has edited the record, the task itself says which phase it is in.
    if grant.phase != record.phase or (snapshot.unproven and task.phase not in ("", grant.phase)):
        return RevokeReason.PHASE_CHANGED
    if grant.intent_digest != task.intent.digest:
        return RevokeReason.INTENT_CHANGED
    if request is None or request.digest != grant.request_digest:
        return RevokeReason.REQUEST_CHANGED
    if stopped(snapshot, request):
        return RevokeReason.KILL_SWITCH
    known = snapshot.sight.decisions
    if known and (
        credential_class is None
        or credential_class.deleting
        or credential_class.digest != grant.class_digest
    ):
        return RevokeReason.CLASS_CHANGED
    if grant.expires_at is not None and grant.expires_at <= now:
        return RevokeReason.EXPIRED
    if grant.id in snapshot.missing_at_provider:
        return RevokeReason.LOST
    if not known:
        return None  # neither yes nor no: it stays until it expires
    if task.parent and (not snapshot.lineage.above or outlives(grant, snapshot.lineage, request)):
        return RevokeReason.PARENT_NARROWED
    decision = authorize(snapshot, request, now)
    if decision.reason is DecisionReason.EVALUATION_FAILED:
        return None  # neither yes nor no: it stays until it expires
    if not decision.allowed or grant.lifetime_seconds > decision.lifetime_seconds:
        return RevokeReason.POLICY_CHANGED
    return holds(snapshot, grant, decision, now)


def _decide(
    snapshot: Snapshot, asked: Sequence[CredentialRequest], along: Sequence[CredentialRequest],
    held: Mapping[str, Grant], now: datetime, rest: Wait,
) -> Step:  # fmt: skip
    """Ask, and plan what is asked for and what must come along, all or nothing."""
    names = {r.name for r in asked}
    requests = [*asked, *(r for r in along if r.name not in names)]
    pod = snapshot.bound_pod
    fetched = snapshot.owners.by_pod if snapshot.owners else {}
    if snapshot.live_task.workload is not None and pod is not None and pod.uid not in fetched:
        # Its owners as they live now: it is attested at every issue.
        return FetchOwners(pods=(pod,))
    unasked = {r.class_name for r in requests if r.class_name in snapshot.classes} - set(
        snapshot.may_use
    )
    parent = _unasked_parent(snapshot)
    if unasked or parent:
        return ReviewAccess(classes=tuple(sorted(unasked)), parent=parent)
    decisions = [(r, _in_time(snapshot, r, authorize(snapshot, r, now), now)) for r in requests]
    denials = tuple(Denial(request=r, decision=d) for r, d in decisions if not d.allowed)
    if not held:
        denials += tuple(_too_short_later(snapshot))
    if denials:
        # All or nothing: the pod waits behind its gate anyway, so a part would only lie about.
        refusal = refusal_of(denials)
        failed = any(d.decision.reason is DecisionReason.EVALUATION_FAILED for d in denials)
        # What may be answered in a moment is no refusal that anybody has to read of later.
        silent = Spending.DENIAL in snapshot.muted or (failed and undecided(snapshot))
        if snapshot.record.denial != refusal and not silent:
            return RefuseRequests(denials=denials, refusal=refusal)
        again = min(rest.until or now + LOOK_AGAIN, now + LOOK_AGAIN)
        return replace(rest, denials=denials, retry=rest.retry or failed, until=again)
    answer = of_approval(snapshot, decisions, held, now, rest)
    if not isinstance(answer, Mapping):
        return answer
    return Issue(
        planned=tuple(
            _planned(snapshot, r, d, held.get(r.name), answer.get(r.name), now)
            for r, d in decisions
        ),
        denial=refusal_of(rest.denials) if rest.denials else "",
    )


def _too_short_later(snapshot: Snapshot) -> Iterator[Denial]:
    """Yield what another phase asks for and no provider can ever issue: it is said at the start."""
    task = snapshot.live_task
    for phase in task.phases:
        for request in phase.credentials if phase.name != snapshot.record.phase else ():
            credential_class, promised = (
                snapshot.classes.get(request.class_name),
                snapshot.capabilities.get(request.class_name),
            )
            asked = request.expiration_seconds
            if credential_class is None or promised is None or asked is None:
                continue
            if asked < promised.minimum_seconds:
                message = (
                    f"expirationSeconds of request '{request.name}' of phase '{phase.name}' must "
                    f"be greater than or equal to {promised.minimum_seconds}, the shortest that "
                    f"provider {credential_class.provider} can issue"
                )
                refused = Decision(allowed=False, reason=DecisionReason.DENIED, message=message)
                yield Denial(request=request, decision=refused)


def refusal_of(denials: Sequence[Denial]) -> str:
    """Return a digest of refusals: the same while they say the same."""
    return digest([[d.request.name, d.decision.reason, d.decision.message] for d in denials])


def _planned(
    snapshot: Snapshot, request: CredentialRequest, decision: Decision, before: Grant | None,
    approval: Approval | None, now: datetime,
) -> Planned:  # fmt: skip
    credential_class = snapshot.classes[request.class_name]
    lifetime = decision.lifetime_seconds
    cover = covering(request, snapshot.lineage) if snapshot.live_task.parent else None
    deadline = _earlier(_end_of(snapshot, request), approval)
    if deadline is not None:
        left = max(deadline - now, _minimum(snapshot, credential_class.name))
        lifetime = min(lifetime, int(left.total_seconds()))
    if before is None:
        renewals = snapshot.record.renewals.get(_use(snapshot, request), 0)
    else:
        renewals = before.renewals + _is_due(snapshot, before, now)
    return Planned(
        request=request,
        credential_class=credential_class,
        decision=decision,
        lifetime_seconds=lifetime,
        renews=before.id if before else "",
        renewals=renewals,
        approval=approval,
        within=cover,
    )


def _in_time(
    snapshot: Snapshot, request: CredentialRequest, decision: Decision, now: datetime
) -> Decision:
    """Return the decision, or that the parent's credential ends before the shortest of this one."""
    task, credential_class = snapshot.live_task, snapshot.classes.get(request.class_name)
    if not decision.allowed or not task.parent or credential_class is None:
        return decision
    if fits(_end_of(snapshot, request), _minimum(snapshot, credential_class.name), now):
        return decision
    return Decision(
        allowed=False,
        reason=DecisionReason.PARENT_NOT_READY,
        message=f"What parent task '{task.parent}' holds ends too soon for provider "
        f"{credential_class.provider}; it waits until that is renewed",
    )


def _unasked_parent(snapshot: Snapshot) -> str:
    """Return the parent about which RBAC is to be asked; '' where it need not be."""
    task, above = snapshot.live_task, snapshot.lineage.above
    if not above or snapshot.may_delegate is not None or is_pod_of(task.changed_by, above[0]):
        return ""
    return task.parent


def _end_of(snapshot: Snapshot, request: CredentialRequest) -> datetime | None:
    """Return when what is held for a request must end: at the deadline, or with the parent's."""
    ends = [deadline_of(snapshot)]
    if snapshot.live_task.parent:
        cover = covering(request, snapshot.lineage) if snapshot.lineage.above else None
        ends.append(cover.expires_at if cover else None)
    return min((end for end in ends if end is not None), default=None)


def _earlier(deadline: datetime | None, approval: Approval | None) -> datetime | None:
    """Return when what is held must be gone: at the deadline, or when its approval ends."""
    ends = [deadline, approval.until if approval else None]
    return min((end for end in ends if end is not None), default=None)


def _reader(snapshot: Snapshot) -> str | None:
    """Say which pod would read what is written now, and is not the one it is for; None for none."""
    for pod in snapshot.pods:
        # One whose time to go is over may still run on a node that is cut off.
        if pod.uid != snapshot.record.pod_uid and snapshot.may_run(pod) and not pod.ended:
            return (
                f"Pod '{pod.name}' still runs and refers to the same Secret; credentials are "
                "issued once it has ended"
            )
    return None


def _from_before(snapshot: Snapshot) -> str | None:
    """Say why what the bound pod holds stays until it expires, and no more comes; None: it may.

    It was attested by a version that stamped no owners, so whose pod it is cannot be proven again.
    """
    pod, workload = snapshot.bound_pod, snapshot.live_task.workload
    if pod is None or workload is None or pod.created_for is not None:
        return None
    return (
        f"Pod '{pod.name}' was created before taskpass stamped for whom; "
        f"{made_anew(workload.kind, workload.name)}"
    )


def _until(snapshot: Snapshot, held: Mapping[str, Grant], now: datetime) -> datetime | None:
    pod, all_held = snapshot.bound_pod, live(snapshot)
    renewed = (renewal_of(g, all_held) for g in all_held)
    renewals = (_renewal_time(snapshot, g, now) for g in held.values())
    moments = [
        deadline_of(snapshot),
        idle_since(snapshot.live_task, snapshot.record.activity, snapshot.record.active_at),
        pod.deleting_since if pod else None,
        *(g.expires_at for g in all_held),
        *(g.approval.until for g in all_held if g.approval),
        *(m for m in renewals if m is not None and m > now),
        *(g.delivered_at + snapshot.overlap for g in renewed if g and g.delivered_at),
    ]
    return min((m for m in moments if m is not None), default=None)
