"""What is seen of one task at one moment: everything that `lifecycle.next_step` decides on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from taskpass.core.lifecycle.approval import TaskApproval
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.delegation import Lineage
from taskpass.core.lifecycle.ownership import CONTROLLERS, Controllers, WorkloadView
from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.model.capabilities import Capabilities
from taskpass.core.model.conditions import Finding
from taskpass.core.model.grant import Grant, GrantState
from taskpass.core.model.kill_switch import KillSwitch
from taskpass.core.model.task import CredentialClass, Task
from taskpass.core.policy.evaluate import CompiledPolicy
from taskpass.core.policy.expression_input import Answered
from taskpass.core.rate_limit.budget import Budget, Spending


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """What looks at the task's workload, and at the owners of its pods, have found."""

    workload: WorkloadView | None
    by_pod: Mapping[str, tuple[WorkloadView, ...]]
    """By the UID of each pod that was asked of: its owners as they live now, nearest first."""
    unanswered: Mapping[str, str] = field(default_factory=dict)
    """By the UID of each pod whose owners could not be found out in this run: why."""
    rounds: int = 1
    """In how many rounds of calls of this run they were fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What of a namespace is known. What is not known is neither there nor gone."""

    pods: bool = True
    """Whether every pod with our label is; only then one that is not seen has ended."""
    accounts: bool = True
    """The same of ServiceAccounts."""
    decisions: bool = True
    """Whether all is that decides on requests: labels of the namespace, classes, policies,
    approvals, tasks."""
    issuance_blocked_reason: str | None = None
    """Why nothing is issued there now, in a sentence; None where it may be."""


SEES_ALL = Sight()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One task, its pods, its grants and what decides on them."""

    task: Task | None
    """None: there is no task of this name (any more)."""
    own_record: TaskRecord | None
    gone_records: Sequence[TaskRecord]
    """Records of task UIDs of this name that no longer live."""
    grants: Sequence[Grant]
    """What is held under the name, of whatever task UID."""
    secret_cache: frozenset[str]
    """Ids of grants whose secret is in this process's memory."""
    missing_at_provider: frozenset[str]
    """Ids of grants that a sweep found to be gone at their provider."""
    enrolled: bool
    pods: Sequence[PodView]
    """Pods with the task's label, oldest first."""
    bound: Mapping[str, str]
    """Pod UID to the task UID that it was ever bound to."""
    service_account_uid: str | None
    namespace_labels: Mapping[str, str]
    classes: Mapping[str, CredentialClass]
    """The classes that the task's requests name, as far as they exist."""
    capabilities: Mapping[str, Capabilities]
    """Of those classes, by name, what their providers promise."""
    policies: Sequence[CompiledPolicy]
    queue_position: int
    """Other tasks of the agent that hold credentials and did so before; 0 where no policy asks."""
    queue_position_in_namespace: int
    """The same of all agents of the namespace."""
    kill_switches: Sequence[KillSwitch]
    """Those that stop the task, or a class; by name."""
    lineage: Lineage
    """The tasks above."""
    below: Sequence[Grant]
    """What tasks below hold, or still owe."""
    approvals: Sequence[TaskApproval]
    """Those that name the task, by name."""
    epoch: int
    """Which opening of the ledger this is."""
    audience: str
    overlap: timedelta
    """How long a credential stays beside its renewal."""
    controllers: Controllers = field(default_factory=lambda: CONTROLLERS)
    """Who creates what belongs to each kind of workload."""
    sight: Sight = SEES_ALL
    """What of the namespace is known."""
    issuance_blocked_reason: str | None = None
    """Why nothing may be issued at all now, in a sentence; None where it may."""
    budget: Budget | None = None
    """What it may still fill of the ledger; None: as much as it likes."""
    muted: Mapping[Spending, str] = field(default_factory=dict)
    """What is decided without, as there is no budget for it: why, in a sentence."""
    unproven: bool = False
    """Whether what the ledger remembers may be otherwise than its log says."""
    revoke_only: bool = False
    """Whether nothing new can be recorded."""
    uninstalling: bool = False
    """Whether everything is to be given up: revoke all, release every task."""
    # What this run has found out and done so far.
    owners: Owners | None = None
    answers: Mapping[tuple[str, str], Answered] = field(default_factory=dict)
    """By request and phase: what the validations of policies say of it."""
    may_use: Mapping[str, bool] = field(default_factory=dict)
    """Answers by class, for the task's `changedBy`."""
    may_delegate: bool | None = None
    """Whether `changedBy` has the verb `delegate` on the parent; None: not asked."""
    permissions_digest: Mapping[str, str] = field(default_factory=dict)
    """By class: digest of what its credentials lead to now."""
    gives: Mapping[str, str] = field(default_factory=dict)
    """By request: what it gives now, in its provider's words."""
    unanswered: frozenset[str] = frozenset()
    """Ids of grants whose provider did not confirm their revocation in this run."""
    failures: Mapping[str, Finding] = field(default_factory=dict)
    """By request: why it could not be issued in this run."""
    delivery_failure: Finding | None = None
    withdrawal_failed: bool = False
    lifted: frozenset[str] = frozenset()
    """UIDs of pods whose gate this run has lifted; the caches learn of it later."""
    ever_lifted: frozenset[str] = frozenset()
    """UIDs of pods that the caches show behind their gate, and the ledger says were let go."""
    released: bool = False
    deleted: bool = False

    @property
    def live_task(self) -> Task:
        """The task, once it is known that there is one."""
        if self.task is None:
            raise ValueError("no task")
        return self.task

    @property
    def record(self) -> TaskRecord:
        """What the ledger remembers of the task; an empty record for a new one."""
        if self.own_record is not None:
            return self.own_record
        return TaskRecord(task=self.live_task.ref)

    @property
    def own_grants(self) -> list[Grant]:
        """What the live task holds."""
        return [g for g in self.grants if self.is_of_task(g.task.uid)]

    @property
    def own_pending_revocations(self) -> tuple[Grant, ...]:
        """What of the live task is still being revoked."""
        return tuple(g for g in self.own_grants if g.state is GrantState.REVOKING)

    @property
    def reported(self) -> bool:
        """Whether the status says that the task is finished."""
        conditions = self.live_task.status.get("conditions", ())
        return any(c.get("type") == "Finished" and c.get("status") == "True" for c in conditions)

    @property
    def bound_pod(self) -> PodView | None:
        """The pod of the current attempt, as it lives now."""
        uid = self.record.pod_uid
        return next((p for p in self.pods if p.uid == uid), None) if uid else None

    def may_run(self, pod: PodView) -> bool:
        """Tell whether a pod may be past its gate: a cache that lags is not believed."""
        return not pod.gated or pod.uid in self.lifted or pod.uid in self.ever_lifted

    def is_of_task(self, uid: str) -> bool:
        """Tell whether a UID is the live task's."""
        return self.task is not None and self.task.uid == uid
