"""The status of a task: what was seen, what is held, and what a person should do.

Pure: the same snapshot, the same status. `conditions` is the contract of docs/api/agenttask.md.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from taskpass.core.lifecycle.approval_status import blocking, pending, shown_before
from taskpass.core.lifecycle.credentials import live, pending_without_successor
from taskpass.core.lifecycle.progress import usable
from taskpass.core.lifecycle.records import TrailItem
from taskpass.core.lifecycle.renewal import current
from taskpass.core.lifecycle.snapshot import Snapshot
from taskpass.core.lifecycle.steps import Wait
from taskpass.core.lifecycle.suspension import Suspension, suspension_of
from taskpass.core.model.conditions import (
    ConditionType,
    Finding,
    Reason,
    conditions,
    false,
    true,
    unknown,
)
from taskpass.core.model.grant import Grant
from taskpass.core.policy.evaluate import DecisionReason

WAITS = (
    DecisionReason.EVALUATION_FAILED,
    DecisionReason.LIMIT_REACHED,
    DecisionReason.PARENT_NOT_READY,
)
"""What no person of the task's has to act on."""
SERIAL = "%Y-%m-%dT%H:%M:%SZ"


def status_of(
    snapshot: Snapshot, rest: Wait, trail: Sequence[TrailItem], now: datetime
) -> dict[str, Any]:
    """Return the whole status; what has no value is left out."""
    task, record = snapshot.live_task, snapshot.record
    held = live(snapshot)
    expirations = [g.expires_at for g in current(held).values() if g.expires_at is not None]
    status: dict[str, Any] = {
        "observedGeneration": task.generation,
        "intentDigest": task.intent.digest,
        "grants": [_grant(g) for g in held],
        "trail": [_trail(item) for item in trail],
    }
    if phase := _settled_phase(snapshot, rest):
        status["phaseName"] = phase
    if record.pod_uid:
        status["podRef"] = {"name": record.pod_name, "uid": record.pod_uid}
    if record.started_at is not None:
        status["startTime"] = record.started_at.strftime(SERIAL)
    if expirations:
        status["expirationTime"] = min(expirations).strftime(SERIAL)
    if asked := pending(rest.awaiting) or shown_before(snapshot, rest):
        status["pendingApprovals"] = asked
    if kept := usable(record.saved, task, snapshot.policies):
        status["savepoint"] = {
            "step": kept.step, "sha256": kept.sha256, "time": kept.at.strftime(SERIAL),
        }  # fmt: skip
    before = task.status.get("conditions", ())
    status["conditions"] = conditions(findings(snapshot, rest, now), before, task.generation, now)
    return status


def findings(snapshot: Snapshot, rest: Wait, now: datetime) -> Mapping[str, Finding]:
    """Return every condition of the task."""
    finished = _finished(snapshot, rest)
    suspension = suspension_of(snapshot, now)
    if finished.status == "True" or (snapshot.record.outcome and not snapshot.unproven):
        over = false(Reason.FINISHED, "The task is over")
        attested = authorized = suspended = over
        issued = (
            false(Reason.REVOKING, _owing(rest))
            if rest.pending
            else false(Reason.REVOKED, "Nothing is held any more")
        )
        ready = over
        stalled = false(Reason.NOT_STALLED, "Nobody needs to act")
    else:
        attested = _attested(snapshot, rest)
        authorized = _authorized(snapshot, rest, attested)
        issued = _issued(snapshot, rest, authorized)
        # What policy is not asked before is the reason, not that it was not asked.
        after = [issued, authorized] if rest.waiting else [authorized, issued]
        blocking = [attested, *after]
        if suspension is not None:
            blocking.insert(0, false(Reason.SUSPENDED, suspension.message))
        ready = next(
            (false(f.reason, f.message) for f in blocking if _not(f)),
            true(Reason.READY, "Every credential of the phase can be used now"),
        )
        stalled = _stalled(snapshot, rest)
        suspended = _suspended(snapshot, rest, suspension)
    throttled = _throttled(snapshot, rest)
    return {
        **({} if throttled is None else {ConditionType.THROTTLED: throttled}),
        ConditionType.ATTESTED: attested,
        ConditionType.AUTHORIZED: authorized,
        ConditionType.CREDENTIALS_ISSUED: issued,
        ConditionType.READY: ready,
        ConditionType.SUSPENDED: suspended,
        ConditionType.FINISHED: finished,
        ConditionType.STALLED: stalled,
    }


def _not(finding: Finding) -> bool:
    return finding.status != "True"


def _attested(snapshot: Snapshot, rest: Wait) -> Finding:
    if not rest.enrolled:
        return unknown(
            Reason.NOT_ENROLLED,
            snapshot.live_task.left_out
            or f"Namespace '{snapshot.live_task.namespace}' is not served by taskpass; an "
            "administrator adds it to the value `tenants` of the chart",
        )
    if rest.attested is not None:
        return rest.attested
    record = snapshot.record
    if not record.pod_uid:
        wait = "Pods are attested once the task goes on" if rest.suspended else "Waiting for a pod"
        return unknown(Reason.PENDING, wait)
    return true(
        Reason.POD_VERIFIED,
        f"Pod '{record.pod_name}' is the agent (attempt {record.attempt}): what the API server "
        "vouches for agrees with the task",
    )


def _authorized(snapshot: Snapshot, rest: Wait, attested: Finding) -> Finding:
    if rest.blocked:
        return false(Reason.UNAPPROVED_BRANCH, _branch(snapshot, rest))
    if rest.suspended:
        return unknown(Reason.PENDING, "Policy is asked once the task goes on")
    if _not(attested):
        return unknown(Reason.PENDING, "Policy is asked once the pod is attested")
    if rest.authorized is not None:
        return rest.authorized
    if rest.denials:
        first = rest.denials[0]
        text = f"Credential '{first.request.name}': {first.decision.message}"
        if first.decision.reason is DecisionReason.EVALUATION_FAILED:
            return unknown(Reason.EVALUATION_FAILED, text)
        return false(first.decision.reason.value, text)
    if asking := blocking(snapshot, rest):
        return asking
    if pending_without_successor(snapshot):
        return unknown(Reason.PENDING, "Policy is asked once everything owed is taken back")
    held = live(snapshot)
    if rest.waiting and _asked(snapshot) - {g.name for g in held}:
        return unknown(Reason.PENDING, "Policy decides once what CredentialsIssued says is over")
    names = sorted({g.policy for g in held})
    nothing = (
        "What was asked for has run out" if _asked(snapshot) else "This phase asks for nothing"
    )
    said = f"Allowed by {', '.join(names)}" if names else nothing
    ends = [g.approval.until for g in held if g.approval is not None]
    if ends:
        return true(Reason.APPROVED, f"{said}; approved until {min(ends):%H:%M:%S} UTC")
    return true(Reason.ALLOWED, said)


def _issued(snapshot: Snapshot, rest: Wait, authorized: Finding) -> Finding:
    if pending_without_successor(snapshot):
        return false(Reason.REVOKING, _owing(rest))
    if rest.suspended:
        return false(Reason.REVOKED, "Nothing is held while the task is suspended")
    if rest.waiting:
        return false(Reason.PENDING, rest.waiting)
    if _not(authorized):
        return false(Reason.PENDING, "Nothing is issued before policy allows all of it")
    held = {g.name for g in live(snapshot)}
    failed = [name for name in snapshot.failures if name not in held]
    if failed:
        return snapshot.failures[min(failed)]
    if snapshot.delivery_failure is not None:
        return snapshot.delivery_failure
    asked = _asked(snapshot)
    if not asked:
        return true(Reason.ISSUED, "This phase asks for no credential")
    gone = sorted(asked - held)
    if gone:
        return false(
            Reason.REVOKED,
            f"Credential '{gone[0]}' has run out, and is not renewed: limits.maxRenewals of a "
            "policy is reached, or activeDeadlineSeconds are nearly over",
        )
    where = f"{len(asked)} in Secret 'taskpass-{snapshot.live_task.name}'"
    return true(Reason.ISSUED, f"{where}. {rest.unrenewed}" if rest.unrenewed else where)


def _asked(snapshot: Snapshot) -> set[str]:
    return {r.name for r in snapshot.live_task.requests_in(snapshot.record.phase)}


def _suspended(snapshot: Snapshot, rest: Wait, suspension: Suspension | None) -> Finding:
    asking = blocking(snapshot, rest)
    if suspension is None and asking is not None:
        return true(Reason.AWAITING_APPROVAL, f"Nothing is held. {asking.message}")
    if suspension is None:
        return false(Reason.RUNNING, "The task may hold credentials")
    owed = len(snapshot.own_pending_revocations)
    still = f"; {owed} still to be taken back" if owed else "; nothing is held"
    return true(suspension.reason, suspension.message + still)


def _finished(snapshot: Snapshot, rest: Wait) -> Finding:
    outcome = snapshot.record.outcome
    if snapshot.unproven:  # what was said before stays, and nothing is said by the record alone
        before = snapshot.live_task.status.get("conditions", ())
        for said in before:
            if said.get("type") == ConditionType.FINISHED and said.get("status") == "True":
                return true(str(said["reason"]), str(said["message"]))
        if outcome is not None and snapshot.record.finished_at is not None:
            return unknown(Reason.PENDING, snapshot.issuance_blocked_reason or "")
    if outcome is None:
        return false(Reason.RUNNING, "The task goes on")
    if snapshot.record.finished_at is None:
        if rest.pending or not rest.waiting:
            reason = Reason.REVOCATION_PENDING if rest.pending else Reason.REVOKING
            return false(reason, _owing(rest))
        return false(Reason.REVOKING, rest.waiting)
    return true(outcome.value, "The task is over, and nothing is held any more")


def _stalled(snapshot: Snapshot, rest: Wait) -> Finding:
    if rest.blocked:
        return true(Reason.UNAPPROVED_BRANCH, _branch(snapshot, rest))
    asking = blocking(snapshot, rest)
    if asking is not None and asking.reason == Reason.APPROVAL_DENIED:
        return true(asking.reason, asking.message)
    for denial in rest.denials:
        if denial.decision.reason not in WAITS:
            text = f"Credential '{denial.request.name}': {denial.decision.message}"
            return true(denial.decision.reason.value, text)
    failure = snapshot.delivery_failure
    if failure is not None and failure.reason == Reason.SECRET_NAME_TAKEN:
        return true(failure.reason, failure.message)
    return false(Reason.NOT_STALLED, "Nobody needs to act")


def _throttled(snapshot: Snapshot, rest: Wait) -> Finding | None:
    """Return what is held back; None where nothing is, and nothing ever was."""
    if rest.throttled is not None:
        return true(Reason.BUDGET_EXCEEDED, rest.throttled.text)
    before = snapshot.live_task.status.get("conditions", ())
    if any(each.get("type") == ConditionType.THROTTLED for each in before):
        return false(Reason.WITHIN_BUDGET, "No budget holds anything back")
    return None


def _branch(snapshot: Snapshot, rest: Wait) -> str:
    phase = snapshot.record.phase
    left = (
        f"Phase '{rest.blocked}' may not follow '{phase}': it is not in its `next`. "
        "Everything was revoked"
    )
    if asking := blocking(snapshot, rest):
        return f"{left}. {asking.message}"
    return (
        f"{left}; set `phase` back to '{phase}', or make a new task, with the phase "
        "declared. (No policy with `approval` covers what that phase asks for, so nobody can "
        "approve the move.)"
    )


def _owing(rest: Wait) -> str:
    if not rest.pending:
        return "Credentials are being taken back"
    waiting = sorted({g.provider for g in rest.pending})
    return (
        f"{len(rest.pending)} still to be taken back: {', '.join(waiting)} has not confirmed it; "
        "it is tried again until it does"
    )


def _settled_phase(snapshot: Snapshot, rest: Wait) -> str:
    """Return the phase whose requests are decided; until then the last one that was."""
    failed = snapshot.failures.keys() - {g.name for g in live(snapshot)}
    unsettled = (
        rest.pending or rest.waiting or rest.suspended or failed or snapshot.delivery_failure
    )
    asking = rest.awaiting or rest.asking_later
    if not snapshot.record.attempt or unsettled or asking or rest.attested is not None:
        return str(snapshot.live_task.status.get("phaseName", ""))
    return snapshot.record.phase


def _grant(grant: Grant) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": grant.id,
        "name": grant.name,
        "classRef": {"name": grant.class_name},
    }
    if grant.issued_at is not None:
        shown["issuedTime"] = grant.issued_at.strftime(SERIAL)
    if grant.expires_at is not None:
        shown["expirationTime"] = grant.expires_at.strftime(SERIAL)
    if grant.renewals:
        shown["renewals"] = grant.renewals
    if grant.audit_index >= 0:
        shown["auditIndex"] = grant.audit_index
    return shown


def _trail(item: TrailItem) -> dict[str, Any]:
    return {
        "time": item.time.strftime(SERIAL),
        "reason": item.notice.reason,
        "message": item.notice.message[:1024],
        "auditIndex": item.audit_index,
    }
