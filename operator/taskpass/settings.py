"""The operator's settings: from environment (`TASKPASS_…`) and flags, checked at the start.

Flags win over the environment. A variable that begins with `TASKPASS_` and is none of these, and a
value that cannot be used, end the start with one line.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from taskpass.core.errors import UsageError

PREFIX = "TASKPASS_"
JSON = ("tenants", "targets")
"""Settings whose text is JSON."""
NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


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
    audience: str = Field(default="taskpass", min_length=1, max_length=253)
    """Audience of the identity token in agents' pods. Default: taskpass."""
    ledger_path: Path = Path("/var/lib/taskpass/ledger.db")
    """File of the ledger, on a local (not a network) file system. Default:
    /var/lib/taskpass/ledger.db"""
    cluster_server: str = "https://kubernetes.default.svc"
    """URL of the API server in the kubeconfigs that are issued. Default:
    https://kubernetes.default.svc"""
    http_port: int = Field(default=9090, ge=0, le=65535)
    """TCP port of probes and metrics; 0 takes a free one. Default: 9090."""
    workers: int = Field(default=32, ge=1, le=256)
    """How many tasks are reconciled side by side. Default: 32."""
    sweep_seconds: int = Field(default=60, ge=1, le=3600)
    """Seconds between two checks of limits, providers and caches. Default: 60."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged. Default: info."""

    @field_validator("cluster_server")
    @classmethod
    def _https(cls, value: str) -> str:
        if not value.startswith("https://"):
            raise ValueError("must begin with https://")
        return value

    @field_validator("tenants")
    @classmethod
    def _not_system(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "kube-system" in value:
            raise ValueError("must not hold kube-system")
        return value


def load(flags: Mapping[str, str | None], environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; flags, by the setting's name, are text as in the environment.

    A flag that is None counts as not given.

    Raises:
        UsageError: One line that names the variable and what it must be.

    """
    variables = {variable_of(name): name for name in Settings.model_fields}
    unknown = sorted(n for n in environment if n.startswith(PREFIX) and n not in variables)
    if unknown:
        raise UsageError(f"{unknown[0]} is not a setting; there are {', '.join(sorted(variables))}")
    texts = {name: environment[v] for v, name in variables.items() if v in environment}
    texts |= {name: text for name, text in flags.items() if text is not None}
    try:
        return Settings.model_validate({n: _value(n, text) for n, text in texts.items()})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
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
