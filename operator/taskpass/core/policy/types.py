"""What a policy is, and what it is asked.

Converted from AgentPolicy and ClusterAgentPolicy by `kube/cache/convert.py`; a test compares these
fields with the schemas in `crds/` in both directions.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from taskpass.core.model.capabilities import Capabilities
from taskpass.core.model.task import CredentialClass, CredentialRequest, LabelSelector, Task

PolicyVersion = tuple[str, str, int]
"""Label, UID and generation."""
SENSITIVITIES = ("Public", "Internal", "Confidential", "Restricted")
"""Of data and classes, the least first."""


class Effect(enum.StrEnum):
    """What a policy does to the requests that it selects."""

    ALLOW = "Allow"
    DENY = "Deny"
    CONSTRAIN = "Constrain"
    """Neither allows nor denies; its limits apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requesters:
    """Users by name or by group, exactly; one hit in either is enough."""

    usernames: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Agents:
    """Workloads. All that is set must hold; an empty tuple is not set."""

    service_account_names: tuple[str, ...] = ()
    pod_selector: LabelSelector | None = None
    image_digests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """One CEL expression, and what it demands in words for the task's owner."""

    expression: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRule:
    """Whose word a policy asks for before anything is issued (core/lifecycle/approval.py)."""

    approvals: int = 1
    """Of so many different users."""
    approver_groups: tuple[str, ...] = ()
    approver_usernames: tuple[str, ...] = ()
    excluded_usernames: tuple[str, ...] = ()
    valid_seconds: int = 900
    """How long after it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One AgentPolicy or ClusterAgentPolicy. None is a selector that is absent."""

    kind: str
    namespace: str = ""
    """'' for a ClusterAgentPolicy."""
    name: str
    uid: str
    generation: int
    resource_version: str
    effect: Effect
    namespace_selector: LabelSelector | None = None
    """Of a ClusterAgentPolicy."""
    requesters: Requesters | None = None
    agents: Agents | None = None
    classes: tuple[str, ...] | None = None
    actions: tuple[str, ...] | None = None
    resources: tuple[str, ...] | None = None
    locations: tuple[str, ...] | None = None
    validations: tuple[Validation, ...] = ()
    max_expiration_seconds: int | None = None
    max_renewals: int | None = None
    """How often a credential is renewed at most; None: until the task ends."""
    max_active_tasks: int | None = None
    """How many tasks of an agent may hold credentials at a time; None: any number."""
    max_active_tasks_in_namespace: int | None = None
    """How many tasks of all agents of the namespace may; None: any number."""
    max_delegation_depth: int | None = None
    """How many levels of tasks below a root may hold it; None: `DEPTH`."""
    max_children: int | None = None
    """How many children a task may have at a time; None: `CHILDREN`."""
    approval: ApprovalRule | None = None
    """None: nobody's."""
    digest: str = ""
    """Digest of the applied spec."""

    @property
    def label(self) -> str:
        """`AgentPolicy/support/triage` or `ClusterAgentPolicy/freeze`: names it, for programs."""
        return f"{self.kind}/{self._path}"

    @property
    def version(self) -> PolicyVersion:
        """What answers of its validations are kept under."""
        return self.label, self.uid, self.generation

    @property
    def title(self) -> str:
        """`AgentPolicy 'support/triage'`: names it in a sentence."""
        return f"{self.kind} '{self._path}'"

    @property
    def _path(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledPolicy:
    """A policy as it was read, and why it cannot be evaluated, where that is known already."""

    policy: Policy
    error: str = ""
    """In one line; '' where its validations are to be asked (core/policy/expression_input.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The attested pod, as policies see it."""

    service_account: str
    pod_labels: Mapping[str, str]
    images: tuple[str, ...]
    """Image references of every container, init and ephemeral ones included."""
    pod_name: str = ""
    created_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request of one task, and all that policy may look at."""

    task: Task
    phase: str
    request: CredentialRequest
    credential_class: CredentialClass | None
    """None: no class of the name that the request gives exists."""
    agent: Agent
    namespace_labels: Mapping[str, str]
    capabilities: Capabilities | None
    """What the class's provider promises; None where there is no such class or provider."""
    may_use: bool = True
    """Whether the task's `changedBy` has the verb `use` on the class."""
    queue_position: int = 0
    """How many other tasks of the same agent hold credentials, and did so before this one."""
    queue_position_in_namespace: int = 0
    """The same of all agents of the namespace."""
