"""Credentials as the core sees them: what was asked, what is held, until when."""

import enum
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, NoReturn

DEPTH, CHILDREN = 3, 16
"""How deep and to how many a task may delegate where no policy says otherwise."""
NO_STATE: Mapping[str, Any] = MappingProxyType({})


class SecretValue:
    """Secret bytes that cannot be printed, logged, formatted or pickled by accident.

    `reveal` is the only way to the bytes, so `grep -rn 'reveal()'` lists every place where a
    secret leaves this type.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def reveal(self) -> bytes:
        """Return the secret bytes. Call it only where they leave the process."""
        return self._raw

    def fingerprint(self, key: bytes) -> str:
        """Return what the ledger keeps of the secret: HMAC-SHA-256 under `key`, and which key.

        `hmac-sha256:k<8 hex>:<64 hex>`. The key's id follows from it and tells nothing of it.
        """
        which = hmac.new(key, b"taskpass fingerprint key id", hashlib.sha256).hexdigest()[:8]
        return f"hmac-sha256:k{which}:{hmac.new(key, self._raw, hashlib.sha256).hexdigest()}"

    def __repr__(self) -> str:
        return "SecretValue(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretValue) and hmac.compare_digest(self._raw, other._raw)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SecretValue must not be pickled or copied")


class GrantState(enum.StrEnum):
    """How far a grant has come. Each step is durable before the next begins."""

    INTENT = "Intent"
    """About to be issued. Found in this state later, it may or may not exist at the provider."""
    ISSUED = "Issued"
    """Exists at the provider; not yet in front of the pod. Found in this state later: undone."""
    DELIVERED = "Delivered"
    """In front of the pod."""
    REVOKING = "Revoking"
    """To be taken back; owed until the provider has proven that it is gone."""
    REVOKED = "Revoked"
    """Gone, proven. Terminal."""
    DECLARED_GONE = "DeclaredGone"
    """Not proven: the settings say that what issued it will never come back. Terminal."""

    @property
    def held(self) -> bool:
        """Whether something may exist at the provider."""
        return self not in (GrantState.REVOKED, GrantState.DECLARED_GONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRef:
    """Which task, in the life of a name: the UID tells a recreated task from its predecessor."""

    namespace: str
    name: str
    uid: str

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name): what the work queue serialises on."""
        return (self.namespace, self.name)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What people approved of one grant and its renewals (core/lifecycle/approval.py)."""

    digest: str
    """Of the text that they approved."""
    nonce: str
    until: datetime
    given_by: tuple[str, ...]
    """UIDs of their TaskApprovals: it ends where those that are left are too few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One decision carried out: one credential of one task. Holds no secret.

    Written whole to the ledger at each step; everything that revocation needs is in it, so that
    revocation never reads current configuration (docs/concepts.md, rule 4).
    """

    id: str
    """`g-` and 32 hex digits. Names at the provider derive from it, so orphans can be found."""
    task: TaskRef
    generation: int
    """`metadata.generation` of the task that was decided on."""
    attempt: int
    """Counts the pods that the task has had; 1 is the first."""
    phase: str
    """Name of the phase that asked, or '' for a task without phases."""
    name: str
    """The request's name: prefix of the keys in the Secret."""
    class_name: str
    provider: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    location: str
    """As decided: the request's, or '' where the class needs none."""
    request_digest: str
    intent_digest: str
    class_digest: str
    policy: str
    """`Kind/namespace/name` or `Kind/name` of the Allow that covered the request."""
    policy_digest: str
    pod_name: str
    pod_uid: str
    service_account: str
    service_account_uid: str
    lifetime_seconds: int
    """What the provider is asked for."""
    state: GrantState
    provider_state: Mapping[str, Any] = field(default_factory=lambda: NO_STATE)
    """JSON values that only the provider reads; complete (names of all that it will make) before
    the first call, completed by UIDs afterwards. Holds no secret."""
    intent_at: datetime
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    """End of validity as the provider stated it, in UTC. None until issued."""
    fingerprint: str = ""
    """Keyed HMAC of the secret; '' until issued."""
    credential_ref: str = ""
    """The provider's public id of what it issued (for a Kubernetes token: its `jti`)."""
    delivered_at: datetime | None = None
    """When it was first in front of the pod."""
    renews: str = ""
    """Id of the grant that it takes the place of; '' for the first of its name."""
    renewals: int = 0
    """How often its time was renewed before, in this phase and attempt."""
    chain: tuple[str, ...] = ()
    """UIDs of the tasks that delegated it, the root first; empty for a root's own."""
    within: str = ""
    """Id of the parent's grant that it was within when it was issued."""
    max_depth: int = DEPTH
    max_children: int = CHILDREN
    """How far the task may delegate it."""
    approval: Approval | None = None
    """None: nobody's was asked for."""
    revoke_reason: str = ""
    revoking_since: datetime | None = None
    audit_index: int = -1
    """Index of the entry that recorded the issue's result; -1 until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What a provider returns: what to remember, and the fields to hand over."""

    provider_state: Mapping[str, Any]
    expires_at: datetime
    """As stated by the issuer; never computed from the request."""
    credential_ref: str
    fields: Mapping[str, SecretValue]
    """The credential's fields by the names of its ecosystem: token, kubeconfig, username …"""
    primary: str
    """The field whose fingerprint the ledger keeps."""
    public: frozenset[str] = frozenset()
    """Names of fields that are no secrets: an address, a namespace. The log may say them."""
    gives: str = ""
    """What it gives, in the provider's own words, for people; '' where the grant says it all."""

    @property
    def secrets(self) -> tuple[SecretValue, ...]:
        """What no entry may say."""
        return tuple(value for name, value in self.fields.items() if name not in self.public)
