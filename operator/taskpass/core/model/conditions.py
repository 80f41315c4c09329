"""Condition types and reasons: the public contract of a task's life, one sentence for each.

`docs/api/agenttask.md` lists them for users; a test compares the two.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


class ConditionType(enum.StrEnum):
    """What is said of a task."""

    ATTESTED = "Attested"
    """The pod is proven to be the agent."""
    AUTHORIZED = "Authorized"
    """Policy allows every request of the phase."""
    CREDENTIALS_ISSUED = "CredentialsIssued"
    """They are in the Secret."""
    READY = "Ready"
    """All of the above: usable now."""
    SUSPENDED = "Suspended"
    """The task holds nothing for now; what ends it still ends it."""
    FINISHED = "Finished"
    """The task is over, and nothing is held any more."""
    STALLED = "Stalled"
    """A person must act; the message says what to do."""
    THROTTLED = "Throttled"
    """Something is held back for want of budget; not there before anything ever was."""


class Reason(enum.StrEnum):
    """Why a condition is what it is."""

    # Attested
    POD_VERIFIED = "PodVerified"
    """What the API server vouches for shows that the pod is the agent."""
    POD_MISSING = "PodMissing"
    """No pod carries the task's label, or the last one ended and the next is not there yet."""
    SERVICE_ACCOUNT_MISMATCH = "ServiceAccountMismatch"
    """The pod runs as another ServiceAccount, or the ServiceAccount is gone or was made anew."""
    WORKLOAD_MISMATCH = "WorkloadMismatch"
    """The pod does not belong to the workload that the task names."""
    AUDIENCE_MISSING = "AudienceMissing"
    """The pod does not project an identity token for taskpass, or not the task's Secret."""
    IMAGE_NOT_ALLOWED = "ImageNotAllowed"
    """The pod's images are no longer those that were attested."""
    POD_REPLACED = "PodReplaced"
    """The pod was made for another task, or ran before it was attested."""
    CHECK_FAILED = "CheckFailed"
    """It could not be found out; it is tried again."""
    # Authorized
    ALLOWED = "Allowed"
    """A policy allows every request of the phase."""
    DENIED = "Denied"
    """A policy, the class or RBAC says no; the message says which and what is missing."""
    NO_POLICY = "NoPolicy"
    """No policy allows the request."""
    LIMIT_REACHED = "LimitReached"
    """As many tasks of the agent as a policy allows hold credentials; it goes on when one ends."""
    PARENT_NOT_READY = "ParentNotReady"
    """The parent task asks for it, and does not hold it now; it goes on when it does."""
    APPROVED = "Approved"
    """Policy allows every request of the phase, and the people that it asks have approved."""
    APPROVAL_REQUIRED = "ApprovalRequired"
    """Policy asks for people's approval; `status.pendingApprovals` has what for, and whose."""
    APPROVAL_DENIED = "ApprovalDenied"
    """Somebody whose approval was asked for denied it; that holds while their object is there."""
    APPROVAL_EXPIRED = "ApprovalExpired"
    """An approval was given, and ended before it could be used; somebody must approve again."""
    EVALUATION_FAILED = "EvaluationFailed"
    """A policy that selects the request is broken; neither yes nor no."""
    INVALID_EXPRESSION = "InvalidExpression"
    """Of a policy: an expression does not compile."""
    # CredentialsIssued
    ISSUED = "Issued"
    """Every credential of the phase is in the Secret."""
    PROVIDER_REFUSED = "ProviderRefused"
    """The provider said no; the message says why."""
    PROVIDER_UNAVAILABLE = "ProviderUnavailable"
    """The provider does not answer; it is tried again."""
    REVOKING = "Revoking"
    """Credentials are being taken back."""
    REVOKED = "Revoked"
    """What was issued is taken back or has run out; nothing is held."""
    # Suspended
    REQUESTED = "Requested"
    """Somebody has set `operatingMode` to Suspended."""
    KILL_SWITCH = "KillSwitch"
    """A KillSwitch matches the task, or the class of the credential."""
    IDLE = "Idle"
    """Nothing was heard of the task for `idleTimeoutSeconds`; it goes on when something is."""
    PARENT_SUSPENDED = "ParentSuspended"
    """A task above this one is suspended, stopped, off its path, or not there (yet)."""
    AWAITING_APPROVAL = "AwaitingApproval"
    """An approval is asked for; nothing is held until it is given."""
    ENFORCED = "Enforced"
    """Of a KillSwitch: nothing that it matches is held."""
    # Finished
    RUNNING = "Running"
    """The task goes on."""
    REVOCATION_PENDING = "RevocationPending"
    """The task is over, but a provider has not yet confirmed that a credential is gone."""
    SUCCEEDED = "Succeeded"
    """The workload, or without one the pod, ended well."""
    FAILED = "Failed"
    """The workload, or without one the pod, failed."""
    EXPIRED = "Expired"
    """`activeDeadlineSeconds` were over, or `startDeadlineSeconds` before a pod was attested."""
    CANCELLED = "Cancelled"
    """The workload was deleted before its end, or the parent task is over."""
    # Stalled
    UNAPPROVED_BRANCH = "UnapprovedBranch"
    """The task went to a phase that may not follow the one it was in."""
    SECRET_NAME_TAKEN = "SecretNameTaken"  # noqa: S105
    """A Secret of the name that delivery needs exists, and is not this task's."""
    NOT_STALLED = "NotStalled"
    """Nobody needs to act."""
    # of a TaskApproval
    ACCEPTED = "Accepted"
    """It counts for what it names."""
    NOT_ELIGIBLE = "NotEligible"
    """Whoever made it is not among those whose approval is asked for, or has changed the task."""
    ENDED = "Ended"
    """Its time was over before it was used."""
    USED = "Used"
    """What it approved is issued."""
    SUPERSEDED = "Superseded"
    """What it names is not asked for (any more)."""
    # Throttled
    BUDGET_EXCEEDED = "BudgetExceeded"
    """The task or its namespace has no budget left; the message says what waits, and until when."""
    WITHIN_BUDGET = "WithinBudget"
    """Nothing is held back any more."""
    # several
    SUSPENDED = "Suspended"
    """The task holds nothing for now."""
    READY = "Ready"
    """Usable now."""
    FINISHED = "Finished"
    """The task is over."""
    PENDING = "Pending"
    """Something must come first; the message says what."""
    NOT_ENROLLED = "NotEnrolled"
    """The namespace is not among those that the operator serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One condition's content: True, False or Unknown, why, and a sentence for people."""

    status: str
    reason: str
    message: str


def true(reason: str, message: str) -> Finding:
    """Return a finding that is True."""
    return Finding(status="True", reason=reason, message=message)


def false(reason: str, message: str) -> Finding:
    """Return a finding that is False."""
    return Finding(status="False", reason=reason, message=message)


def unknown(reason: str, message: str) -> Finding:
    """Return a finding that cannot be told."""
    return Finding(status="Unknown", reason=reason, message=message)


def conditions(
    findings: Mapping[str, Finding],
    before: Sequence[Mapping[str, Any]],
    generation: int,
    now: datetime,
) -> list[dict[str, Any]]:
    """Return conditions as the API has them, ordered by type.

    `lastTransitionTime` changes only where `status` does.
    """
    old = {each.get("type"): each for each in before}
    made = []
    for kind, finding in sorted(findings.items()):
        previous = old.get(kind, {})
        since = previous.get("lastTransitionTime", "")
        if previous.get("status") != finding.status or not since:
            since = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        made.append(
            {
                "type": str(kind),
                "status": finding.status,
                "observedGeneration": generation,
                "lastTransitionTime": since,
                "reason": str(finding.reason),
                "message": finding.message[:1024],
            }
        )
    return made
