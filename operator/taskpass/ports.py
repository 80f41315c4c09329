"""What the flows need from the world, as small protocols. Adapters implement them.

Every method that talks to something may raise `TransientError` (the work queue retries the whole
reconcile with back-off); what else it raises, and what is durable on return, stands with it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from taskpass.core.anchor import AnchorReason, Forgotten, Head
from taskpass.core.approval import TaskApproval
from taskpass.core.attestation import PodView
from taskpass.core.audit import Entry
from taskpass.core.budget import Meter
from taskpass.core.conditions import Finding
from taskpass.core.credential import Grant, Issued, SecretValue
from taskpass.core.inquiry import Answered, Examined, Inquiry
from taskpass.core.kill_switch import KillSwitch
from taskpass.core.ownership import WorkloadView
from taskpass.core.policy import CompiledPolicy, Policy
from taskpass.core.records import PodBinding, Severity, TaskRecord, TrailItem
from taskpass.core.snapshot import Sight
from taskpass.core.task import CredentialClass, CredentialRequest, Task, User
from taskpass.core.template import Template
from taskpass.core.witnessing import Answer

Key = tuple[str, str]


class Clock(Protocol):
    """The only source of time. Flows take it; the core takes `now`."""

    def now(self) -> datetime:
        """Return the time in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""


class ApiClient(Protocol):
    """The Kubernetes API by path. Errors are those of `core.errors` (NotFound, Conflict, …)."""

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """Read one object or list."""

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST. `Conflict` where it exists already."""

    async def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT."""

    async def merge_patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PATCH with application/merge-patch+json."""

    async def json_patch(self, path: str, body: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """PATCH with application/json-patch+json; `Invalid` where a `test` fails."""

    async def delete(self, path: str, *, uid: str = "", dry_run: bool = False) -> dict[str, Any]:
        """DELETE, with a UID precondition where one is given. `NotFound` where it is gone.

        `dry_run` deletes nothing, and answers with the object as it is.

        Return what was answered: it tells an object that is gone from one that finalizers hold.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one transaction of the ledger holds. All of it is durable, or none."""

    entries: tuple[Entry, ...] = ()
    grants: tuple[Grant, ...] = ()
    """Written whole, by id. One without `audit_index` that becomes Issued here gets the index of
    the batch's entry that names it as result."""
    tasks: tuple[TaskRecord, ...] = ()
    """Written whole, by UID. A pod UID that another task UID is bound to is `PodAlreadyBound`."""
    lifts: tuple[str, ...] = ()
    """UIDs of bound pods whose gate is lifted next: from here on each counts as one that runs."""
    unbinds: tuple[str, ...] = ()
    """UIDs of pods whose binding is dropped, as an entry tells; none of a task with a record."""
    forgets: tuple[str, ...] = ()
    """UIDs of tasks that are gone, as an entry tells: record, trail and meter are dropped. Bindings
    stay, and so do the grants that are held."""
    meters: Mapping[str, Meter] = field(default_factory=dict)
    """What accounts have used, this batch included; by account."""
    hide: tuple[SecretValue, ...] = ()
    """What the entries tell of and must not contain: a ledger redacts it in every common form."""


class Ledger(Protocol):
    """The durable store: grants, task records and the signed log, in one transaction.

    Reads come from memory that mirrors what was committed; they never block.
    """

    async def commit(self, batch: Batch) -> tuple[int, ...]:
        """Make the batch durable under a signed checkpoint; return the entries' indexes.

        An entry whose id is in the log already (same bytes) returns its old index.

        Raises:
            LedgerError: Nothing of it counts as written; the process must end.

        """

    @property
    def epoch(self) -> int:
        """Return how often the ledger was opened, this time included; each copy counts on."""

    def grants(self, key: Key) -> tuple[Grant, ...]:
        """Return the held grants of every task UID that ever had this namespace and name."""

    def held(self) -> Iterable[Grant]:
        """Return every grant that is not Revoked."""

    def holders(self, agent: Key) -> Mapping[str, datetime]:
        """Return since when each task of an agent holds something, by UID.

        `agent` is namespace and name of a ServiceAccount; without a name it is all those of the
        namespace. What is being revoked does not count.
        """

    def ahead(self, agent: Key, task_uid: str) -> int:
        """Return how many of `holders` are others than a task, and were so before it."""

    def tally(
        self, namespace: str = "", account: str = "", class_name: str = ""
    ) -> Mapping[str, int]:
        """Return how many grants are held, by provider, without going through them.

        Of a namespace; with `account` of an agent in it; of a class alone; without any, of all.
        """

    def below(self, task_uid: str) -> Sequence[Grant]:
        """Return what is held by tasks that a task has delegated to, at any depth."""

    def record(self, task_uid: str) -> TaskRecord | None:
        """Return what is remembered of a task."""

    def records_of(self, key: Key) -> tuple[TaskRecord, ...]:
        """Return the records of every task UID that had this namespace and name."""

    def records(self) -> Iterable[TaskRecord]:
        """Return every record that is not forgotten."""

    def meters(self) -> Mapping[str, Meter]:
        """Return what accounts had used as of the start, by account."""

    def bound_task(self, pod_uid: str) -> str | None:
        """Return the UID of the task that a pod was ever bound to, while it may be seen."""

    def leftover_bindings(self, after: str, most: int) -> Sequence[PodBinding]:
        """Return bindings to tasks that are forgotten, by UID of the pod, from `after` on."""

    def gate_lifted(self, pod_uid: str) -> bool:
        """Tell whether a bound pod's gate was lifted, or was about to be; caches may lag."""

    def trail(self, task_uid: str) -> tuple[TrailItem, ...]:
        """Return the last ten notices of a task, oldest first."""


class Evaluator(Protocol):
    """Evaluates policies' expressions: whatever they are, nothing waits but what asks."""

    async def evaluate(self, namespace: str, inquiries: Sequence[Inquiry]) -> Sequence[Answered]:
        """Return the answers to each inquiry, one for each of its policies.

        Never fails: what cannot be evaluated is an answer that says so. Namespaces take turns.
        """

    @property
    def revision(self) -> tuple[int, int]:
        """Return what is another whenever `examined` may say something else of a policy."""

    def examined(self, policy: Policy) -> Examined | None:
        """Return what is known of a policy; None: not yet, and it is going to be found out."""


class CredentialProvider(Protocol):
    """One issuer of credentials."""

    def prepare(
        self, request: CredentialRequest, credential_class: CredentialClass, grant_id: str
    ) -> Mapping[str, Any]:
        """Return the state to record before the first call: names of all that will be made.

        Pure. Equal inputs give equal state, whatever the grant id, except for names.

        Raises:
            ProviderRefused: The class cannot give what is asked; says which field and why.

        """

    def minimum_lifetime_seconds(self) -> int:
        """Return the least lifetime that can be issued."""

    def fields(self) -> frozenset[str]:
        """Return the names of the fields that a credential of it has."""

    def problem(self, credential_class: CredentialClass) -> str:
        """Return what keeps the class from ever being issued, in a sentence; '' where nothing does.

        Pure: what only the issuer can tell shows when it is asked.
        """

    async def reach(self, credential_class: CredentialClass) -> str:
        """Return a digest of what credentials of the class lead to now, beyond what it says itself.

        People approve what they were shown; where a role widens, they are asked again.

        Raises:
            ProviderUnavailable: It could not be found out.
            ProviderRefused: The class can never be issued.

        """

    async def issue(self, grant: Grant, audience: str) -> Issued:
        """Issue what `grant.provider_state` says, no wider and no longer. Usable on return.

        Raises:
            ProviderUnavailable: It may or may not exist; the caller revokes, then tries anew.
            ProviderRefused: The issuer said no; the caller revokes and reports.

        """

    async def revoke(self, grant: Grant) -> None:
        """End what the grant may have made, from recorded state alone; return once proven gone.

        Whatever is gone already is success. A grant in state Intent may have made nothing.

        Raises:
            ProviderUnavailable: The caller retries, with back-off, for ever.

        """

    async def inventory(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what exists at the provider by grant id, each with state that `undo` takes."""

    def is_gone(self, grant: Grant, found: Mapping[str, Any] | None) -> bool:
        """Tell whether the grant's credential works no more, by what `inventory` found of it.

        Pure. None: it found nothing of that grant.
        """

    def surplus(self, grant: Grant, found: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return what `inventory` found under the grant's name and it does not answer for.

        Pure. As state that `undo` takes; None where there is none.
        """

    async def undo(self, grant_id: str, state: Mapping[str, Any]) -> None:
        """Remove what `inventory` found and no live grant answers for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What is put in front of a task's pod: the whole content of its Secret."""

    task: Task
    fields: Mapping[str, SecretValue]
    """Keys of the Secret (`<credential>.<field>`, or as `outputs` say) and their values."""
    index: Mapping[str, Any]
    """Content of `taskpass.json`: what is there and until when. No secret."""


class CredentialSink(Protocol):
    """Where credentials are put in front of a pod."""

    async def deliver(self, delivery: Delivery) -> str:
        """Replace the task's Secret whole; return its UID.

        Raises:
            SecretNameTaken: A Secret of that name exists and is not this task's.

        """

    async def withdraw(self, namespace: str, name: str, task_uid: str, secret_uid: str) -> None:
        """Delete the task's Secret. One that is gone, or is not ours, is success.

        An empty `secret_uid` means that the answer to its creation was lost: it is found out first.
        """


class PodControl(Protocol):
    """What the operator may change of a pod."""

    async def lift_gate(self, pod: PodView) -> None:
        """Remove our scheduling gate, and only ours. One that is lifted already is success."""

    async def is_gone(self, namespace: str, name: str, uid: str) -> bool:
        """Ask the API server itself whether that pod is there no more; `ApiError`: nobody knows."""

    async def nudge(self, pod: PodView, version: str) -> None:
        """Set an annotation, so that the kubelet looks at the Secret at once. Best effort."""


class TaskWriter(Protocol):
    """What the operator may change of an AgentTask."""

    async def patch_status(self, task: Task, status: Mapping[str, Any]) -> None:
        """Merge-patch `/status`. A task that is gone is success."""

    async def create(self, body: Mapping[str, Any]) -> None:
        """Create a task that was made from a template. One that exists is success.

        Raises:
            Invalid, AdmissionDenied, Forbidden: The API server said no.

        """

    async def release(self, task: Task) -> None:
        """Remove our finalizer. One that is gone is success."""

    async def delete(self, task: Task) -> None:
        """Delete the task (its time after finishing is over)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Whether a policy or a class can be used, what has become of a KillSwitch or TaskApproval."""

    kind: str
    namespace: str
    """'' for an object of the cluster."""
    name: str
    uid: str
    generation: int
    finding: Finding


class StandingWriter(Protocol):
    """What the operator may change of objects that are no tasks."""

    async def say(self, standing: Standing, now: datetime) -> None:
        """Make it the condition `Ready`. An object that is gone is success."""

    async def release_class(self, used: CredentialClass) -> None:
        """Remove our finalizer from a class. One that is gone is success."""


class EventPoster(Protocol):
    """Kubernetes Events, for people."""

    async def post(
        self, *, kind: str, namespace: str, name: str, uid: str, unique: str,
        reason: str, message: str, severity: Severity, at: datetime,
    ) -> None:  # fmt: skip
        """Post one Event with a name derived from `unique`: posting it again changes nothing.

        Best effort: an Event that cannot be posted is logged and counted, never raised.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What the cluster remembers of the log."""

    uid: str
    """Of the object that remembers."""
    generation: int
    head: Head | None
    """None: nothing yet."""
    status: Mapping[str, Any]
    """As the API has it."""
    forgotten: Forgotten | None = None
    """What a person had it forget before."""


class LogAnchor(Protocol):
    """The log's memory outside of the log: it only grows."""

    async def read(self) -> Remembered:
        """Return what is remembered; `NotFound` where nothing there could remember."""

    async def write(
        self, seen: Remembered, head: Head | None, finding: Finding, figures: Mapping[str, int],
        now: datetime,
    ) -> None:  # fmt: skip
        """Say what was found, and remember the head where one is given.

        Raises:
            Invalid: What is remembered is more, or another log.

        """


class LogHistory(Protocol):
    """The log, as it is stored."""

    def compared(self, remembered: Head | None) -> tuple[Head, AnchorReason, str]:
        """Return its head, what is true of it, and a sentence. Blocks."""

    def head(self) -> Head:
        """Return its head. Blocks."""

    def consistency(self, old: int, size: int) -> list[bytes]:
        """Return the proof that its first `size` entries begin with the first `old`. Blocks."""

    def judged(self, note: str) -> tuple[AnchorReason, str]:
        """Return what a checkpoint that others have shows of it, and a sentence. Blocks.

        Raises:
            BadCheckpoint: It is none, or none of the log's keys has signed it: it shows nothing.

        """

    def cosigned(self) -> str:
        """Return the last checkpoint with lines of witnesses; '' for none. Blocks."""


class WitnessAsker(Protocol):
    """Witnesses, over the network (C2SP tlog-witness)."""

    async def add(self, url: str, old: int, proof: Sequence[bytes], note: str) -> Answer:
        """Have a checkpoint cosigned.

        Raises:
            WitnessUnavailable: It did not answer, or with something that the protocol has not.

        """

    async def remembered(self, url: str, origin: str) -> str:
        """Return the checkpoint that it last cosigned of a log; raises as `add` does."""


class AccessReviewer(Protocol):
    """Questions to the API server about rights."""

    async def may_use(self, user: User, class_name: str) -> bool:
        """Tell whether the user has the verb `use` on the class (SubjectAccessReview)."""

    async def may_delegate(self, user: User, namespace: str, name: str) -> bool:
        """Tell whether the user has the verb `delegate` on a task (SubjectAccessReview)."""


class World(Protocol):
    """The caches, all synced. Reads never block."""

    def task(self, key: Key) -> Task | None:
        """Return the task as last seen.

        Raises:
            TransientError: There is one, and it could not be read.

        """

    def pods(self, key: Key) -> tuple[PodView, ...]:
        """Return the pods in the namespace that carry the task's label, oldest first."""

    def pod_uid(self, namespace: str, name: str) -> str:
        """Return the UID of the pod of that name with our label, '' where none is seen."""

    def service_account_uid(self, namespace: str, name: str) -> str | None:
        """Return the UID of a ServiceAccount, or None where there is none."""

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """Return the labels of a namespace; empty where it is not known."""

    def enrolled(self, namespace: str) -> bool:
        """Tell whether the operator serves the namespace; where not, nothing is held there."""

    def sight(self, namespace: str) -> Sight:
        """Return what of the namespace is known now."""

    def credential_class(self, name: str) -> CredentialClass | None:
        """Return a class."""

    def policies(self, namespace: str) -> Sequence[CompiledPolicy]:
        """Return the policies of a namespace and of the cluster, compiled, in any order."""

    def kill_switches(self) -> Sequence[KillSwitch]:
        """Return every KillSwitch, by name."""

    def template(self, key: Key) -> Template | None:
        """Return an AgentTaskTemplate."""

    def children(self, key: Key) -> Sequence[Task]:
        """Return the tasks that name a task as their parent."""

    def children_in_order(self, key: Key) -> Sequence[str]:
        """Return the UIDs of the same, the oldest first."""

    def approvals(self, key: Key) -> Sequence[TaskApproval]:
        """Return the TaskApprovals that name the task, by name."""


class WorkloadReader(Protocol):
    """Reads owners of pods."""

    async def workload(
        self, namespace: str, api_group: str, kind: str, name: str
    ) -> WorkloadView | None:
        """Return the workload, or None where it does not exist or its kind is not known."""

    async def owners(self, pod: PodView) -> tuple[WorkloadView, ...]:
        """Return the pod's owners as they live now, nearest first, as far as their UIDs hold."""
