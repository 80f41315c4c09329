"""What the provider PostgreSQL remembers of a grant: names before the first call, the OID after."""

from collections.abc import Mapping, Sequence
from typing import Any

from taskpass.core.errors import ProviderRefused
from taskpass.core.model.grant import Grant
from taskpass.core.model.task import CredentialClass, CredentialRequest
from taskpass.providers.postgresql.names import role_of

MOUNT_PATH = "/var/run/taskpass"
"""Where a task's pod finds its Secret, unless the installation says otherwise."""
CONNECTIONS = 4
"""How many sessions a credential may have where its class does not say."""


class State:
    """`Grant.provider_state`, read and completed. Only JSON values, and no secret."""

    def __init__(self, recorded: Mapping[str, Any]) -> None:
        self.server: str = recorded["server"]
        self.database: str = recorded["database"]
        self.role: str = recorded["role"]
        self.oid: int = recorded["oid"]
        """Of the role; 0 where it is not known yet."""
        self.system: str = recorded["system"]
        """System identifier of the cluster of databases that has the role; '' as long."""
        self.groups: Sequence[str] = tuple(recorded["groups"])
        self.connections: int = recorded["connections"]
        self.statement_seconds: int = recorded["statement_seconds"]
        self.idle_seconds: int = recorded["idle_seconds"]
        """0 is no timeout."""
        self.tls: str = recorded["tls"]
        self.ca_path: str = recorded["ca_path"]
        """Where the task's pod finds the field `sslrootcert`."""
        self.privilege_escalation_allowed: bool = recorded["escalation"] == "Allowed"

    @classmethod
    def fitting(cls, grant: Grant) -> "State | None":
        """Return what is recorded of a grant; None where that is not what was prepared for it.

        The role's name follows from the grant's id, and where it is from what the grant gives.
        """
        try:
            state = cls(grant.provider_state)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        ours = (
            state.role == role_of(grant.id)
            and "/" not in state.server  # else it could have the beginning of the database's name
            and (resource_of(state.server, state.database),) == tuple(grant.resources)
            and type(state.oid) is int
            and state.oid >= 0
            and isinstance(state.system, str)
        )
        return state if ours else None

    def as_json(self) -> dict[str, Any]:
        """Return what to record."""
        return {
            "server": self.server,
            "database": self.database,
            "role": self.role,
            "oid": self.oid,
            "system": self.system,
            "groups": list(self.groups),
            "connections": self.connections,
            "statement_seconds": self.statement_seconds,
            "idle_seconds": self.idle_seconds,
            "tls": self.tls,
            "ca_path": self.ca_path,
            "escalation": "Allowed" if self.privilege_escalation_allowed else "Refused",
        }


def resource_of(server: str, database: str) -> str:
    """Return how a request names a database.

    The server is in it: a record that was edited to name another has the grant's own against it.
    """
    return f"database/{server}/{database}"


def initial_state(
    request: CredentialRequest, credential_class: CredentialClass, grant_id: str, mount_path: str
) -> dict[str, Any]:
    """Return the state before the first call: names of all that will be made."""
    config = credential_class.config
    server, database = config["server"], config["database"]
    wanted = resource_of(server, database)
    if tuple(request.resources) != (wanted,):
        raise ProviderRefused(
            f"resources must be '{wanted}' and nothing else: it is the database of "
            f"CredentialClass '{credential_class.name}'"
        )
    if request.location:
        raise ProviderRefused("location must not be set: the server is the class's")
    renamed = {output.field: output.key for output in request.outputs}
    return {
        "server": server,
        "database": database,
        "role": role_of(grant_id),
        "oid": 0,
        "system": "",
        "groups": groups_of(credential_class, request.actions),
        "connections": config.get("connectionLimit", CONNECTIONS),
        "statement_seconds": config.get("statementTimeoutSeconds", 0),
        "idle_seconds": config.get("idleInTransactionTimeoutSeconds", 0),
        "tls": config.get("tls", "VerifyFull"),
        "ca_path": f"{mount_path}/{renamed.get('sslrootcert', f'{request.name}.sslrootcert')}",
        "escalation": config.get("privilegeEscalation", "Refused"),
    }


def groups_of(credential_class: CredentialClass, actions: Sequence[str]) -> list[str]:
    """Return the group role of each action once, in their order."""
    by_action = {role["action"]: role["name"] for role in credential_class.config["roles"]}
    unknown = [action for action in actions if action not in by_action]
    if unknown:
        raise ProviderRefused(
            f"actions must each have a role in CredentialClass '{credential_class.name}': "
            f"'{unknown[0]}' has none"
        )
    if not actions:
        raise ProviderRefused("actions must name at least one action")
    return list(dict.fromkeys(by_action[action] for action in actions))
