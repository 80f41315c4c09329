"""What is written for people: status, Events, and the condition `Ready` of other kinds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from taskpass.core.model.conditions import Finding
from taskpass.core.model.notice import Severity
from taskpass.core.model.task import CredentialClass, Task


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
class ReadyCondition:
    """Whether a policy or a class can be used, what has become of a KillSwitch or TaskApproval."""

    kind: str
    namespace: str
    """'' for an object of the cluster."""
    name: str
    uid: str
    generation: int
    finding: Finding
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else its status says."""


class ReadyConditionWriter(Protocol):
    """What the operator may change of objects that are no tasks."""

    async def say(self, condition: ReadyCondition, now: datetime) -> None:
        """Make it the condition `Ready`. An object that is gone is success."""

    async def release_class(self, credential_class: CredentialClass) -> None:
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
