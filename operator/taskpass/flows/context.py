"""What every flow stands on: the ports, a few settings, and the secrets that are still known."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from taskpass.core.lifecycle.ownership import CONTROLLERS, Controllers
from taskpass.core.model.conditions import Finding
from taskpass.core.model.grant import SecretValue
from taskpass.core.model.key import Key
from taskpass.core.model.task import CredentialClass
from taskpass.core.rate_limit.room import Room
from taskpass.flows.budgeting import Budgets
from taskpass.flows.deferred import Deferred
from taskpass.ports.clock import Clock
from taskpass.ports.cluster import AccessReviewer, ClusterView, PodControl, WorkloadReader
from taskpass.ports.credentials import CredentialProvider, CredentialSink
from taskpass.ports.ledger import Ledger
from taskpass.ports.policies import Evaluator
from taskpass.ports.tasks import EventPoster, ReadyConditionWriter, TaskWriter

logger = logging.getLogger(__name__)


def _nowhere(_: str) -> None:
    """Pass every fail-point."""


def _its_provider(credential_class: CredentialClass) -> str:
    """Take a provider for one issuer."""
    return credential_class.provider


def _nowhere_else(_: Key) -> AbstractContextManager[None]:
    """Keep the place: whoever drives the reconciles has no places."""
    return nullcontext()


def _nobody(_: Key) -> None:
    """Look at nothing: whoever drives the reconciles looks at everything."""


async def _never(_: Key) -> None:
    """Wait for ever: whoever drives the reconciles looks when it likes."""
    await asyncio.Event().wait()


@dataclass(slots=True, kw_only=True)
class Modes:
    """What holds for every task at once."""

    issuance_blocked_reason: str | None = "The operator has not yet seen that its own limits hold"
    """Why nothing may be issued now; None where it may."""
    waiting: set[Key] = field(default_factory=set)
    """Tasks that rested because of it, and are looked at when it no longer holds."""
    uninstalling: bool = False
    unproven: bool = False
    """Whether the ledger's state may be otherwise than its log says: what is held is revoked, and
    nothing that follows from that state is recorded. An edited row would become a signed entry, and
    the next start would find nothing to complain of."""
    revoke_only: bool = False
    """Whether nothing new can be recorded: what is held is revoked, and all else waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The world, as the flows reach it."""

    clock: Clock
    world: ClusterView
    ledger: Ledger
    providers: Mapping[str, CredentialProvider]
    """By `spec.provider` of a class."""
    issuer_of: Callable[[CredentialClass], str] = _its_provider
    """Names what issues a class's credentials: one that is away keeps no other's waiting."""
    sink: CredentialSink
    pods: PodControl
    tasks: TaskWriter
    events: EventPoster
    reviewer: AccessReviewer
    workloads: WorkloadReader
    ready_conditions: ReadyConditionWriter
    evaluator: Evaluator
    audience: str
    overlap: timedelta
    """How long a credential stays beside its renewal."""
    controllers: Controllers = field(default_factory=lambda: CONTROLLERS)
    """Who creates what belongs to each kind of workload."""
    fingerprint_key: bytes
    """Keys the fingerprints that the ledger keeps of secrets."""
    secret_cache: dict[str, Mapping[str, SecretValue]] = field(default_factory=dict)
    """Fields of what is held, by grant id, for as long as this process remembers them. The Secret
    is written whole and never read, so what is not here cannot be written again."""
    missing_at_provider: set[str] = field(default_factory=set)
    """Ids of grants that the last sweeps found to be gone at their provider."""
    class_findings: dict[str, tuple[int, Finding]] = field(default_factory=dict)
    """Whether providers can issue classes now, by UID: the generation that was asked about."""
    policy_errors: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Policies that failed at run time, by label: their generation and what went wrong."""
    modes: Modes = field(default_factory=Modes)
    budgets: Budgets = field(default_factory=Budgets)
    deferred: Deferred = field(default_factory=Deferred)
    """What one reconcile is about to record; each has its own."""
    enqueue: Callable[[Key], None] = _nobody
    """Has a task looked at soon."""
    aside: Callable[[Key], AbstractContextManager[None]] = _nowhere_else
    """Surrounds what takes long and keeps nothing else waiting: another task may be looked at."""
    room: Room = field(default_factory=Room)
    """How many tasks wait for providers that are slow."""
    changed: Callable[[Key], Awaitable[object]] = _never
    """Returns when a task that is being looked at is to be looked at anew."""
    revoking: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """By grant id: revocations that a provider has not answered yet (`provider_calls.py`)."""
    fail_point: Callable[[str], None] = _nowhere
    """Called between steps with a step's name; tests end the process there."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self.clock.now()
