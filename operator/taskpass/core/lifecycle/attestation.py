"""Appraise a pod by what the API server vouches for (in the words of RFC 9334).

What a tenant can write proves nothing, so each claim is held against something that a tenant
cannot write: admission froze label, containers and stamp; UIDs come from the live objects.

Rules, in order; the first that fails is the reason:

1. The pod carries the task's label and lives in its namespace.
2. It was not made before the task: a task that is recreated under its name inherits no pod. One
   that is made from a template is made for the pods of a Job that name it, which rule 6 compares.
3. It was never bound to another task UID.
4. It runs as the task's ServiceAccount, which exists and is not `default`.
5. It projects an identity token with our audience, and the task's Secret, by our volume.
6. With `workloadRef`: the owner chain leads to the live workload, and every hop of it holds
   (`ownership`).
7. A template that its label names is the one that the task was made from, and the other way round.
8. It still waits behind our gate: one that runs already did so before anybody looked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from taskpass.core.errors import AttestationFailed
from taskpass.core.lifecycle.ownership import (
    CONTROLLERS,
    Controllers,
    Origin,
    Owner,
    WorkloadView,
    hop_objection,
    origin_of,
)
from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.model.task import LABEL, TEMPLATE_LABEL, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """What matters of a pod."""

    namespace: str
    name: str
    uid: str
    created_at: datetime
    deleting_since: datetime | None
    """`metadata.deletionTimestamp`: when its grace period ends."""
    labels: Mapping[str, str]
    created_by: str
    """User name from the creator's stamp; '' without one."""
    created_for: str | None = None
    """`Kind/UID` of the owner that it was created with; '' for none. None: not stamped."""
    owner: Owner | None
    service_account: str
    gated: bool
    """Whether our scheduling gate is on it."""
    ended: str
    """'' while it runs or waits, 'Succeeded' or 'Failed' once it is terminal."""
    audience: str
    """Audience of the identity token in our volume; '' where the volume is not as it must be."""
    token_seconds: int
    secret: str
    """Name of the Secret in our volume; '' where there is none."""
    images: tuple[str, ...]
    """Image references: init containers, containers, ephemeral containers, in the pod's order."""

    @property
    def title(self) -> str:
        """Kind and name, for people."""
        return f"Pod '{self.name}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The live objects that a pod's claims are held against."""

    service_account_uid: str | None
    bound_task_uid: str | None
    """The task UID that the ledger says the pod is bound to."""
    workload: WorkloadView | None
    """The task's `workloadRef`, as it lives now."""
    owners: Sequence[WorkloadView] | None
    """The pod's owner chain as it lives now, nearest first; it stops where one does not exist.
    None: nobody has looked."""
    audience: str
    controllers: Controllers = field(default_factory=lambda: CONTROLLERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestedPod:
    """The proven identity of the agent."""

    pod: PodView
    service_account_uid: str
    workload_uid: str
    origin: Origin
    """Who started what runs in it."""


def appraise(pod: PodView, task: Task, around: Surroundings) -> AttestedPod:
    """Return the attested identity, or raise `AttestationFailed` with the first rule that fails."""
    if pod.namespace != task.namespace or pod.labels.get(LABEL) != task.name:
        raise AttestationFailed("PodMissing", f"Pod '{pod.name}' does not carry the task's label")
    if pod.created_at < task.created_at and not _asked_for_it(pod, task):
        raise AttestationFailed(
            "PodReplaced",
            f"Pod '{pod.name}' was made before this task and may be another's; delete the pod so "
            "that its workload makes a new one",
        )
    if around.bound_task_uid not in (None, task.uid):
        raise AttestationFailed(
            "PodReplaced",
            f"Pod '{pod.name}' is bound to an earlier task of this name; delete the pod so that "
            "its workload makes a new one",
        )
    _appraise_service_account(pod, task, around)
    if pod.audience != around.audience or pod.secret != f"taskpass-{task.name}":
        raise AttestationFailed(
            "AudienceMissing",
            f"Pod '{pod.name}' must project a token with audience '{around.audience}' and the "
            f"Secret 'taskpass-{task.name}' by its volume 'taskpass'; leave that volume to "
            "admission, which adds it to every pod with the label",
        )
    workload_uid = _appraise_workload(pod, task, around)
    _appraise_template(pod, task)
    if not pod.gated:
        raise AttestationFailed(
            "PodReplaced",
            f"Pod '{pod.name}' runs already and was never attested; delete the pod so that its "
            "workload makes a new one",
        )
    return AttestedPod(
        pod=pod,
        service_account_uid=around.service_account_uid or "",
        workload_uid=workload_uid,
        origin=origin_of(pod, around.owners or (), around.controllers),
    )


def _asked_for_it(pod: PodView, task: Task) -> bool:
    """Whether the task was made because the pod named a template; rule 6 says whose it is."""
    return bool(task.template) and pod.labels.get(TEMPLATE_LABEL) == task.template


def appraise_again(pod: PodView, task: Task, record: TaskRecord, around: Surroundings) -> None:
    """Hold a bound pod against what was attested; raise `AttestationFailed` where it differs.

    Admission freezes labels, containers and volumes of the pod, so what can change is the
    ServiceAccount, which may be made anew under its name; the rest is compared all the same. The
    workload is, where it was looked up: before each issue.
    """
    service_account_uid = around.service_account_uid
    if service_account_uid is None or service_account_uid != record.service_account_uid:
        state = "is gone" if service_account_uid is None else "was made anew"
        raise AttestationFailed(
            "ServiceAccountMismatch",
            f"ServiceAccount '{task.service_account}' {state} since pod '{pod.name}' was attested; "
            "delete the pod so that its workload makes a new one",
        )
    if pod.service_account != task.service_account or pod.labels.get(LABEL) != task.name:
        raise AttestationFailed(
            "ServiceAccountMismatch",
            f"Pod '{pod.name}' no longer has the label or the ServiceAccount that was attested",
        )
    if pod.images != record.images:
        raise AttestationFailed(
            "ImageNotAllowed",
            f"The images of pod '{pod.name}' are no longer those that were attested; delete the "
            "pod so that its workload makes a new one",
        )
    if around.owners is not None and _appraise_workload(pod, task, around) != record.workload_uid:
        raise AttestationFailed(
            "WorkloadMismatch",
            f"The workload of pod '{pod.name}' was made anew since the pod was attested",
        )


def _appraise_service_account(pod: PodView, task: Task, around: Surroundings) -> None:
    if pod.service_account == "default" or pod.service_account != task.service_account:
        raise AttestationFailed(
            "ServiceAccountMismatch",
            f"Pod '{pod.name}' runs as ServiceAccount '{pod.service_account}'; it must run as "
            f"'{task.service_account}', which spec.agent.serviceAccountName names",
        )
    if around.service_account_uid is None:
        raise AttestationFailed(
            "ServiceAccountMismatch",
            f"ServiceAccount '{task.service_account}' does not exist in namespace "
            f"'{task.namespace}'; create it, or name another in spec.agent.serviceAccountName",
        )


def _appraise_workload(pod: PodView, task: Task, around: Surroundings) -> str:
    wanted, workload = task.workload, around.workload
    if wanted is None:
        return ""
    label = f"{wanted.kind} '{wanted.name}'"
    if workload is None:
        raise AttestationFailed(
            "WorkloadMismatch",
            f"{label}, which spec.agent.workloadRef names, does not exist in namespace "
            f"'{task.namespace}'",
        )
    child: PodView | WorkloadView = pod
    objections = []
    for owner in around.owners or ():
        if child.owner is None or child.owner.uid != owner.uid:
            break
        objections.append(hop_objection(child, owner, around.controllers))
        if owner.uid == workload.uid:
            if said := next(filter(None, objections), None):
                raise AttestationFailed("WorkloadMismatch", said)
            return workload.uid
        child = owner
    raise AttestationFailed(
        "WorkloadMismatch",
        f"Pod '{pod.name}' does not belong to {label}: its owners as they live now do not lead "
        "there",
    )


def _appraise_template(pod: PodView, task: Task) -> None:
    named = pod.labels.get(TEMPLATE_LABEL, "")
    if named == task.template:
        return
    made = f"was made from '{task.template}'" if task.template else "was made from none"
    says = f"names AgentTaskTemplate '{named}'" if named else "names no AgentTaskTemplate"
    raise AttestationFailed(
        "WorkloadMismatch",
        f"Pod '{pod.name}' {says}, and this task {made}; delete the task, or the workload that "
        "makes the pod, so that both are of one",
    )
