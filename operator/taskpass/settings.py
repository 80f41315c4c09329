"""The operator's settings: from environment (`TASKPASS_…`) and flags, checked at the start.

Flags win over the environment. A variable that begins with `TASKPASS_` and is none of these, and a
value that cannot be used, end the start with one line.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from taskpass.core.errors import UsageError

PREFIX = "TASKPASS_"
NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


class Target(BaseModel):
    """The roles that may be bound in one namespace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clusterRoles: tuple[str, ...] = ()
    """ClusterRoles by name; default none."""
    roles: tuple[str, ...] = ()
    """Roles of the namespace by name; default none."""


class Settings(BaseSettings):
    """Every setting, with unit and default."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

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
    cluster_server: Annotated[str, NoDecode] = "https://kubernetes.default.svc"
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


def load(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; flags that are None count as not given.

    Raises:
        UsageError: One line that names the variable or flag, and what it must be.

    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(n for n in environment if n.startswith(PREFIX) and n not in known)
    if unknown:
        raise UsageError(f"{unknown[0]} is not a setting; there are {', '.join(sorted(known))}")
    try:
        return Settings(**{k: v for k, v in flags.items() if v is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        name = PREFIX + where.upper() if "." not in where else f"{PREFIX}{where}"
        raise UsageError(f"{name}: {first['msg']}") from None
    except ValueError as error:
        # pydantic-settings: a value that is not the JSON it must be.
        raise UsageError(f"A setting cannot be read: {error}") from None
