"""The steps in a task's life: what `lifecycle.next_step` answers and `flows/` carries out."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskpass.core.lifecycle.approval import ApprovalRequest, PendingApproval, TaskApproval
from taskpass.core.lifecycle.attestation import AttestedPod, PodView
from taskpass.core.lifecycle.progress import Savepoint
from taskpass.core.lifecycle.records import Outcome, TaskRecord
from taskpass.core.model.conditions import Finding, Reason
from taskpass.core.model.grant import Approval, Grant
from taskpass.core.model.task import CredentialClass, CredentialRequest
from taskpass.core.policy.evaluate import Decision, Policy
from taskpass.core.policy.expression_input import Inquiry
from taskpass.core.rate_limit.budget import Spending


class RevokeReason(enum.StrEnum):
    """Why a credential is taken back: in the audit log, and as the end of a sentence for people."""

    TASK_GONE = "TaskGone"
    TASK_DELETED = "TaskDeleted"
    TASK_OVER = "TaskOver"
    DEADLINE = "DeadlineExceeded"
    NOT_ENROLLED = "NotEnrolled"
    POD_ENDED = "PodEnded"
    WORKLOAD_ENDED = "WorkloadEnded"
    NO_LONGER_ATTESTED = "NoLongerAttested"
    PHASE_CHANGED = "PhaseChanged"
    UNAPPROVED_BRANCH = "UnapprovedBranch"
    SUSPENDED = "Suspended"
    KILL_SWITCH = "KillSwitch"
    IDLE = "Idle"
    PARENT_SUSPENDED = "ParentSuspended"
    PARENT_ENDED = "ParentEnded"
    PARENT_NARROWED = "ParentNarrowed"
    APPROVAL_NEEDED = "ApprovalNeeded"
    APPROVAL_ENDED = "ApprovalEnded"
    INTENT_CHANGED = "IntentChanged"
    REQUEST_CHANGED = "RequestChanged"
    CLASS_CHANGED = "ClassChanged"
    POLICY_CHANGED = "PolicyChanged"
    EXPIRED = "Expired"
    LOST = "Lost"
    INTERRUPTED = "Interrupted"
    ISSUE_FAILED = "IssueFailed"
    RENEWED = "Renewed"
    REPLACED = "Replaced"
    """Recorded by versions that did not renew; their pending revocations are told of by it."""
    RELEASED = "Released"
    ORPHANED = "Orphaned"

    @property
    def because(self) -> str:
        """Say it as the rest of the sentence 'Revoked …'."""
        return BECAUSE[self]


BECAUSE = {
    RevokeReason.TASK_GONE: "because the task is gone",
    RevokeReason.TASK_DELETED: "because the task was deleted",
    RevokeReason.TASK_OVER: "because the task is over",
    RevokeReason.DEADLINE: "because its deadline was over",
    RevokeReason.NOT_ENROLLED: "because the namespace is no longer enrolled",
    RevokeReason.POD_ENDED: "because the pod ended",
    RevokeReason.WORKLOAD_ENDED: "because the workload ended",
    RevokeReason.NO_LONGER_ATTESTED: "because the pod is no longer what was attested",
    RevokeReason.PHASE_CHANGED: "because the phase changed",
    RevokeReason.UNAPPROVED_BRANCH: "because the task left its declared path",
    RevokeReason.SUSPENDED: "because the task was suspended",
    RevokeReason.KILL_SWITCH: "because of a KillSwitch",
    RevokeReason.IDLE: "because nothing was heard of the task",
    RevokeReason.PARENT_SUSPENDED: "because a task above it holds nothing",
    RevokeReason.PARENT_ENDED: "because its parent task ended",
    RevokeReason.PARENT_NARROWED: "because its parent task no longer holds it",
    RevokeReason.APPROVAL_NEEDED: "because an approval is needed first",
    RevokeReason.APPROVAL_ENDED: "as its approval had ended",
    RevokeReason.INTENT_CHANGED: "because the intent changed",
    RevokeReason.REQUEST_CHANGED: "because the request changed",
    RevokeReason.CLASS_CHANGED: "because its CredentialClass changed or is gone",
    RevokeReason.POLICY_CHANGED: "because policy no longer allows it",
    RevokeReason.EXPIRED: "as it had run out",
    RevokeReason.LOST: "as it was gone at its provider",
    RevokeReason.INTERRUPTED: "as it was not delivered before the operator stopped",
    RevokeReason.ISSUE_FAILED: "as issuing it failed",
    RevokeReason.RENEWED: "as its renewal is in place",
    RevokeReason.REPLACED: "to be issued anew with the others",
    RevokeReason.RELEASED: "because taskpass is being uninstalled",
    RevokeReason.ORPHANED: "as no grant answers for it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """Take these back. `record`, where there is one, is committed with the intents."""

    grants: tuple[tuple[Grant, RevokeReason], ...]
    record: TaskRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """Delete the Secret that the record tells of."""

    record: TaskRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Drop the record of a task that is gone; `owed` credentials stay in the ledger."""

    record: TaskRecord
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Take our finalizer off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Say that the task is over: nothing is held any more."""

    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete the task: its time after finishing is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOwners:
    """Read the task's workload, and the owners of these pods, all at once."""

    pods: tuple[PodView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """Record that this pod is the task's agent from now on: a new attempt."""

    attested: AttestedPod


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbind:
    """Record that the attempt is over: its pod ended, and the workload goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusePod:
    """Record that a pod is not, or no longer, the agent; once for each `refusal`."""

    pod: PodView
    finding: Finding
    refusal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Enter:
    """Record the move to a declared next phase, or back; what the old one held is gone."""

    left: str
    phase: str
    approval: str = ""
    """Digest of what people approved, where it is no declared next phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Record the move to a phase that may not follow. Everything is revoked next."""

    left: str
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend:
    """Record that the task holds nothing from now on, and why."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Record that the task goes on: what it holds from now on is issued anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """Record what the task says of its progress."""

    savepoint: Savepoint


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteActivity:
    """Record that something was heard of the task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewAccess:
    """Ask the API server whether the task's `changedBy` may use these classes.

    `parent`: also whether they may delegate that task's work; '' is not asked.
    """

    classes: tuple[str, ...]
    parent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate:
    """Find out what policies' validations say of these requests."""

    inquiries: tuple[Inquiry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvePermissions:
    """Find out what credentials of these classes lead to now."""

    classes: tuple[CredentialClass, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalDraft:
    """What people are to be asked."""

    name: str
    branch: str
    terms: Mapping[str, Any]
    demands: tuple[Policy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskApproval:
    """Record that people are asked, all at once; `kept` was asked before and still holds."""

    drafts: tuple[ApprovalDraft, ...]
    kept: tuple[ApprovalRequest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteApprovals:
    """Record whose word counts; each once."""

    heard: tuple[tuple[ApprovalRequest, tuple[TaskApproval, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A request that was refused."""

    request: CredentialRequest
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class RefuseRequests:
    """Record refusals; once for each `refusal`."""

    denials: tuple[Denial, ...]
    refusal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A request that policy allows, with what the decision said."""

    request: CredentialRequest
    credential_class: CredentialClass
    decision: Decision
    lifetime_seconds: int
    """What the decision allows, shortened to the task's deadline where the provider can."""
    renews: str = ""
    """Id of the grant that this one takes the place of."""
    renewals: int = 0
    """How often its time was renewed, this time included."""
    approval: Approval | None = None
    within: Grant | None = None
    """What the parent holds that it is within; None for a root's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """Issue these, all for the bound pod in the settled phase."""

    planned: tuple[Planned, ...]
    denial: str = ""
    """Digest of the refusals of other requests, which stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """Write the Secret anew, with what is held now."""

    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftGate:
    """Let the pod be scheduled: its credentials are in place."""

    pod: PodView


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled:
    """What is held back for want of budget."""

    text: str
    held: tuple[Spending, ...]
    said: str
    """A digest of what is held back: the same while that is the same."""
    namespace: bool
    """Whether all of the namespace is held back, and not the task alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to do before something changes, or `until`. The rest is for the status."""

    until: datetime | None = None
    pending: tuple[Grant, ...] = ()
    """Revocations that a provider has not confirmed; retried with back-off."""
    enrolled: bool = True
    attested: Finding | None = None
    """Where the pod is not attested: why."""
    authorized: Finding | None = None
    """Where policy could not even be asked: why."""
    denials: tuple[Denial, ...] = ()
    suspended: bool = False
    """Whether the task is to hold nothing for now."""
    blocked: str = ""
    """The phase that the task went to without approval."""
    awaiting: tuple[PendingApproval, ...] = ()
    """Approvals that are asked for."""
    asking_later: str = ""
    """Why people are not asked now, in a sentence."""
    waiting: str = ""
    """What must come first, in a sentence, while policy allows and nothing failed."""
    unrenewed: str = ""
    """Why what is due cannot be renewed now, in a sentence. What is held can be used until it runs
    out."""
    issuance_blocked: bool = False
    """Whether one of the two says why nothing may be issued at all, and ends with that."""
    throttled: Throttled | None = None
    """What is held back for want of budget; None: nothing."""
    retry: bool = False
    """Whether to look again soon, with back-off, as no event may come."""


Step = (
    Revoke | Withdraw | Forget | Release | Finish | Delete | FetchOwners | Bind | Unbind | RefusePod
    | Enter | Block | Suspend | Resume | Save | NoteActivity | ReviewAccess | Evaluate
    | ResolvePermissions | AskApproval | NoteApprovals | RefuseRequests | Issue | Deliver | LiftGate
    | Wait
)  # fmt: skip
