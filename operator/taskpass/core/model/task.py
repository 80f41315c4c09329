"""AgentTask and CredentialClass as values: what is asked, by whom, for what purpose.

Converted from the API's objects by `kube/cache/convert.py`; a test compares these fields with the
schemas in `crds/` in both directions.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from taskpass.core.model.grant import TaskRef

LABEL = "taskpass.dev/task"
TEMPLATE_LABEL = "taskpass.dev/task-template"
"""On a Job's pods: names the AgentTaskTemplate that its task is made from."""
GATE = "taskpass.dev/credentials"
FINALIZER = "taskpass.dev/revoke"
VOLUME = "taskpass"
CREATED_BY = "taskpass.dev/created-by"
CREATED_FOR = "taskpass.dev/created-for"
CHANGERS = "taskpass.dev/changers"
CREDENTIALS_VERSION = "taskpass.dev/credentials-version"
EXPLICIT = "Explicit"
"""Of `completionPolicy`: nothing but a deletion or a deadline ends the task."""
RUNNING, SUSPENDED = "Running", "Suspended"
"""What `operatingMode` can be."""
NO_LABELS: Mapping[str, str] = MappingProxyType({})


def digest(value: object) -> str:
    """Return `sha256:` and the hex digest of the value's JSON (sorted, compact, UTF-8)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An authenticated user, as admission stamped it."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskUser(User):
    """Who made or changed a task."""

    pod_uid: str = ""
    """UID of the pod whose token it was; '' for anybody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadRef:
    """The workload whose pods do the task, and whose end is the task's end."""

    api_group: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """One data set that the task says it will touch."""

    name: str
    classification: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What the task declares it will do."""

    goal: str = ""
    tools: tuple[str, ...] = ()
    data: tuple[Data, ...] = ()
    trust_boundary: str = ""

    @property
    def digest(self) -> str:
        """The digest that is bound into every grant; any change of intent changes it."""
        return _digest_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A field of a credential under a key that the agent expects."""

    field: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRequest:
    """What a phase asks of a class."""

    name: str
    class_name: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ()
    location: str = ""
    expiration_seconds: int | None = None
    """None: the class's default."""
    outputs: tuple[Output, ...] = ()

    @property
    def digest(self) -> str:
        """Changes with anything that was asked."""
        return _digest_of(self)


@lru_cache(maxsize=4096)
def _digest_of(value: Intent | CredentialRequest) -> str:
    """Return the digest of a value; each look at a task asks for the same ones."""
    return digest(asdict(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A declared step of the task."""

    name: str
    next: tuple[str, ...] = ()
    credentials: tuple[CredentialRequest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One AgentTask as the API server holds it (spec and the metadata that matters)."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created_at: datetime
    deleting_since: datetime | None = None
    """`metadata.deletionTimestamp`."""
    has_finalizer: bool = True
    service_account: str
    workload: WorkloadRef | None = None
    replacement_policy: str = "WaitForOld"
    """What becomes of another pod while the bound one lives. There is no other way yet: two pods
    read one Secret by its name."""
    requester: TaskUser = field(default_factory=TaskUser)
    changed_by: TaskUser = field(default_factory=TaskUser)
    changers: tuple[str, ...] = ()
    """Names of all who ever changed the spec, its phase included."""
    sponsor: str = ""
    intent: Intent = field(default_factory=Intent)
    credentials: tuple[CredentialRequest, ...] = ()
    phases: tuple[Phase, ...] = ()
    phase: str = ""
    operating_mode: str = RUNNING
    completion_policy: str = ""
    """'' is what follows from `workload`."""
    start_deadline_seconds: int | None = None
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
    idle_timeout_seconds: int | None = None
    savepoint: str = ""
    active: str = ""
    """Annotations of these names, as they are (core/lifecycle/progress.py)."""
    template: str = ""
    """Name of the AgentTaskTemplate that it was made from; '' for one that somebody wrote."""
    template_uid: str = ""
    parent: str = ""
    """Name of the task, in the same namespace, that delegated to this one; '' for a root."""
    status: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """`status` as last read: compared with what should be there, never a source of truth."""
    left_out: str | None = None
    """Why its spec is not kept, and it gets nothing, in a sentence; None for one that is served."""

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name)."""
        return (self.namespace, self.name)

    @property
    def ref(self) -> TaskRef:
        """Which task it is, in the life of its name."""
        return TaskRef(namespace=self.namespace, name=self.name, uid=self.uid)

    @property
    def ends_with_pod(self) -> bool:
        """Whether the end of its pod is its own."""
        return self.workload is None and self.completion_policy != EXPLICIT

    @property
    def ends_with_workload(self) -> bool:
        """Whether the end of its workload is its own."""
        return self.workload is not None and self.completion_policy != EXPLICIT

    @property
    def first_phase(self) -> str:
        """Where the task starts; '' for a task without phases."""
        return self.phases[0].name if self.phases else ""

    def phase_named(self, name: str) -> Phase | None:
        """Return the declared phase of that name."""
        return next((p for p in self.phases if p.name == name), None)

    def requests_in(self, phase: str) -> tuple[CredentialRequest, ...]:
        """Return what is asked for in a phase: the task's own requests, then the phase's."""
        declared = self.phase_named(phase)
        return self.credentials + (declared.credentials if declared else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelector:
    """A Kubernetes label selector."""

    match_labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    match_expressions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """(key, operator, values); operator is In, NotIn, Exists or DoesNotExist."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the labels satisfy every requirement; an empty selector matches all."""
        return all(labels.get(k) == v for k, v in self.match_labels.items()) and all(
            self._holds(labels, *expression) for expression in self.match_expressions
        )

    @staticmethod
    def _holds(labels: Mapping[str, str], key: str, operator: str, values: tuple[str, ...]) -> bool:
        match operator:
            case "In":
                return labels.get(key) in values
            case "NotIn":
                return labels.get(key) not in values
            case "Exists":
                return key in labels
            case "DoesNotExist":
                return key not in labels
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialClass:
    """A kind of credential that can be had in this cluster."""

    name: str
    uid: str
    generation: int
    provider: str
    config: Mapping[str, Any]
    """The provider's own section, as the API server holds it (defaults filled in)."""
    actions: tuple[str, ...]
    locations: tuple[str, ...] = ()
    sensitivity: str = ""
    namespace_selector: LabelSelector | None = None
    """None: no namespace's tasks may use the class."""
    default_expiration_seconds: int = 900
    max_expiration_seconds: int = 3600
    digest: str = ""
    """Digest of the applied spec."""
    deleting: bool = False
    """Whether it is deleted, and waits until nothing of it is held."""
    has_finalizer: bool = False
