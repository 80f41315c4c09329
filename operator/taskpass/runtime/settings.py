"""The operator's settings: from environment (`TASKPASS_…`) and flags, checked at the start.

Flags win over the environment. A variable that begins with `TASKPASS_` and is none of these, and a
value that cannot be used, end the start with one line.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from taskpass.core.errors import UsageError
from taskpass.core.lifecycle.ownership import CONTROLLERS, Controllers
from taskpass.providers.postgresql.settings import Server
from taskpass.tlog.trust_policy import NONE, TrustPolicy, asked, parse_policy

PREFIX = "TASKPASS_"
JSON = (
    "tenants", "targets", "token_audiences", "harmless_writes", "controllers", "postgresql_servers",
    "postgresql_retired",
)  # fmt: skip
"""Settings whose text is JSON."""
LINKS = re.compile(r"TASKPASS_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")
"""What Kubernetes puts into pods that have service links beside a Service named taskpass."""
NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
RESOURCE = r"^[a-z0-9]+(/[a-z0-9]+)?(\.[a-z0-9]([-.a-z0-9]*[a-z0-9])?)?$"
"""A resource, its subresource, and its API group: `services`, `jobs/status.batch`."""
NOBODYS = frozenset({"kube-system", "taskpass-grants"})
"""Namespaces that are neither a tenant's nor a target, as whoever writes there is the cluster."""


class Target(BaseModel):
    """The roles that may be bound in one namespace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clusterRoles: tuple[str, ...] = ()
    """ClusterRoles by name; default none."""
    roles: tuple[str, ...] = ()
    """Roles of the namespace by name; default none."""


class Settings(BaseModel):
    """Every setting, with unit and default."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    namespace: str = Field(pattern=NAME, max_length=63)
    """The operator's own namespace: its signing key is there. No default."""
    tenants: tuple[str, ...] = ()
    """Enrolled namespaces, as a JSON list. Default: none, and no task is served."""
    targets: Mapping[str, Target] = Field(default_factory=dict)
    """Which roles may be bound where: JSON, namespace to {clusterRoles, roles}. Default: none."""
    token_audiences: tuple[str, ...] = ()
    """Audiences that tokens of provider Kubernetes may have beside the API server's own, as a JSON
    list; admission refuses others. Default: none."""
    harmless_writes: tuple[Annotated[str, Field(pattern=RESOURCE)], ...] = ()
    """Resources, as `tickets.example.com`, a JSON list: roles of classes may write them, as what
    is written there leads to no other credential. Default: none beside those that are known."""
    controllers: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """User names of the controllers that create what belongs to a workload of a kind, where they
    are others than Kubernetes, JobSet, agent-sandbox and Argo Rollouts install: JSON, kind to a
    list, which takes the place of that kind's. Default: none are others."""
    postgresql_servers: Mapping[Annotated[str, Field(pattern=NAME, max_length=63)], Server] = Field(
        default_factory=dict
    )
    """PostgreSQL servers that classes may name (docs/providers/postgresql.md): JSON, name to
    {host, port, user, database, tls, caFile, passwordFile, certificateFile, keyFile, databases,
    standbys}.    Default: none, and no class of provider PostgreSQL can be issued."""
    postgresql_retired: Mapping[
        Annotated[str, Field(pattern=NAME, max_length=63)],
        Annotated[str, Field(min_length=1, max_length=500)],
    ] = Field(default_factory=dict)
    """Servers that were listed and will never come back: JSON, name to the reason. What is still to
    be revoked there is not tried any more, and recorded as declared gone, with the reason and
    without proof. Default: none."""
    mount_path: str = Field(default="/var/run/taskpass", pattern=r"^(/[-A-Za-z0-9._]+)+$")
    """Where containers of agents' pods find the task's Secret: credentials that name a file of it
    say it. Default: /var/run/taskpass."""
    audience: str = Field(default="taskpass", min_length=1, max_length=253)
    """Audience of the identity token in agents' pods. Default: taskpass."""
    ledger_path: Path = Field(default=Path("/var/lib/taskpass/ledger.db"), validate_default=True)
    """File of the ledger, on a local (not a network) file system. Default:
    /var/lib/taskpass/ledger.db"""
    signing_key_generation: int = Field(default=1, ge=1, le=9999)
    """Which Secret has the key that signs the log: taskpass-signing-key, or from 2 on
    taskpass-signing-key-N. One more than before makes a new key, and the log goes over to it.
    Default: 1."""
    signing_key_file: Path | None = None
    """File of the key that signs the log (base64 of 32 bytes), instead of a Secret. Default: none,
    the Secret counts."""
    signing_key_previous_file: Path | None = None
    """File of the key before that one, needed at the one start at which the log goes over to
    another key. Default: none."""
    witness_policy: str | None = None
    """Which witnesses to ask for cosignatures, and how many are enough: the text of a C2SP
    tlog-policy; those with a URL are asked. Default: none, and nobody is asked."""
    cluster_server: str = "https://kubernetes.default.svc"
    """URL of the API server in the kubeconfigs that are issued. Default:
    https://kubernetes.default.svc"""
    http_port: int = Field(default=9090, ge=0, le=65535)
    """TCP port of probes and metrics; 0 takes a free one. Default: 9090."""
    read_api_tls_directory: Path | None = None
    """Directory with tls.crt and tls.key: the audit log is then served over HTTPS to those who may
    read it. Default: none, and it is not served."""
    read_api_port: int = Field(default=9443, ge=0, le=65535)
    """TCP port of that; 0 takes a free one. Default: 9443."""
    workers: int = Field(default=1024, ge=1, le=4096)
    """How many tasks are reconciled side by side: where many end together, all revocations begin
    before the first is reported. One namespace has three quarters of them at most. Default:
    1024."""
    sweep_seconds: int = Field(default=60, ge=1, le=3600)
    """Seconds between two checks of limits, providers and caches. Default: 60."""
    watch_idle_seconds: int = Field(default=90, ge=2, le=600)
    """Seconds that a watch may be silent before it counts as broken; the API server sends something
    about every minute. Default: 90."""
    forbidden_grace_seconds: int = Field(default=60, ge=1, le=3600)
    """Seconds for which the API server must answer nothing but 403 about an enrolled namespace
    before what is held there is taken back; nothing is issued there from the first 403 on.
    Default: 60."""
    renewal_overlap_seconds: int = Field(default=90, ge=0, le=3600)
    """Seconds that a credential stays valid after its renewal was delivered, for agents that keep
    a token in memory: client-go reads a token's file anew after a minute. 0 revokes it at once.
    Default: 90."""
    ledger_task_burst_kib: int = Field(default=2048, ge=16, le=1 << 30)
    """KiB of the ledger that one task may fill at once by what it says and asks, renewals aside:
    beyond it, that waits. Default: 2048."""
    ledger_task_kib_per_day: int = Field(default=4096, ge=16, le=1 << 30)
    """KiB that a task is given back of it in a day, evenly. Default: 4096."""
    ledger_namespace_burst_kib: int = Field(default=262_144, ge=16, le=1 << 30)
    """KiB of the ledger that all tasks of one namespace may fill at once, renewals included; its
    share of what the volume has left may be less. Default: 262144."""
    ledger_namespace_kib_per_day: int = Field(default=24_576, ge=16, le=1 << 30)
    """KiB that a namespace is given back of it in a day, evenly; nothing while the volume has less
    than a tenth left. Default: 24576."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged. Default: info."""

    @field_validator("cluster_server")
    @classmethod
    def _https(cls, value: str) -> str:
        if not value.startswith("https://"):
            raise ValueError("must begin with https://")
        return value

    @field_validator("ledger_path")
    @classmethod
    def _located(cls, value: Path) -> Path:
        """Take it as it lies: volume, lock and requests are beside the file, not beside a link."""
        return value.resolve()

    @field_validator("controllers")
    @classmethod
    def _controllers(cls, value: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        for kind in sorted(value):
            if kind not in CONTROLLERS:
                raise ValueError(f"'{kind}' is none of {', '.join(sorted(CONTROLLERS))}")
            if not all(value[kind]):
                raise ValueError(f"a user name of '{kind}' must not be empty")
        return value

    @field_validator("witness_policy")
    @classmethod
    def _policy(cls, value: str | None) -> str | None:
        if value is None or not value.strip():
            return None
        policy = parse_policy(value)
        for each in asked(policy):
            if not each.url.startswith(("https://", "http://")):
                raise ValueError(f"the URL of witness '{each.name}' must begin with https://")
        if policy.quorum != NONE and not any(asked(policy)):
            raise ValueError("it demands witnesses, and none has a URL to ask it at")
        return value

    @property
    def all_controllers(self) -> Controllers:
        """The controllers of every kind, as `controllers` has changed them."""
        return {**CONTROLLERS, **self.controllers}

    @property
    def trust_policy(self) -> TrustPolicy | None:
        """What `witness_policy` says; None where it says nothing."""
        return None if self.witness_policy is None else parse_policy(self.witness_policy)

    @property
    def harmless(self) -> frozenset[tuple[str, str]]:
        """`harmless_writes` as (group, resource)."""
        parts = (each.partition(".") for each in self.harmless_writes)
        return frozenset((group, resource) for resource, _, group in parts)

    @model_validator(mode="after")
    def _apart(self) -> Self:
        for name, listed in (("tenants", set(self.tenants)), ("targets", set(self.targets))):
            for namespace in sorted(listed & {*NOBODYS, self.namespace}):
                raise ValueError(f"{variable_of(name)} must not hold {namespace}")
            for namespace in sorted(listed):
                if len(namespace) > 63 or not re.fullmatch(NAME, namespace):
                    raise ValueError(f"{variable_of(name)}: '{namespace}' is no namespace's name")
        for server in sorted(self.postgresql_retired.keys() & self.postgresql_servers.keys()):
            raise ValueError(
                f"{variable_of('postgresql_retired')}: server '{server}' is listed as well"
            )
        return self


def load(flags: Mapping[str, str | None], environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; flags, by the setting's name, are text as in the environment.

    A flag that is None counts as not given.

    Raises:
        UsageError: One line that names the variable and what it must be.

    """
    variables = {variable_of(name): name for name in Settings.model_fields}
    ours = (n for n in environment if n.startswith(PREFIX) and not LINKS.fullmatch(n))
    unknown = sorted(n for n in ours if n not in variables)
    if unknown:
        raise UsageError(f"{unknown[0]} is not a setting; there are {', '.join(sorted(variables))}")
    texts = {name: environment[v] for v, name in variables.items() if v in environment}
    texts |= {name: text for name, text in flags.items() if text is not None}
    try:
        return Settings.model_validate({n: _value(n, text) for n, text in texts.items()})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if not first["loc"]:  # what does not go together names its variable itself
            raise UsageError(first["msg"].removeprefix("Value error, ")) from None
        name, *within = (str(part) for part in first["loc"])
        where = f" ({'.'.join(within)})" if within else ""
        raise UsageError(f"{variable_of(name)}{where}: {first['msg']}") from None


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def flag_of(name: str) -> str:
    """Return the flag of a setting."""
    return "--" + name.replace("_", "-")


def _value(name: str, text: str) -> Any:
    if name not in JSON:
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"{variable_of(name)}: must be JSON ({error})") from None
