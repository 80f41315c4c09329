"""What the Kubernetes provider remembers of a grant: names before the first call, UIDs after."""

from collections.abc import Mapping
from typing import Any

from taskpass.core.errors import ProviderRefused
from taskpass.core.model.grant import Grant
from taskpass.core.model.task import CredentialClass, CredentialRequest

PREFIX = "namespace/"
MOST_BINDINGS = 100
"""How many RoleBindings one grant may need: every issue makes all, every revocation deletes all."""


class State:
    """`Grant.provider_state`, read and completed. Only JSON values, and no secret."""

    def __init__(self, recorded: Mapping[str, Any]) -> None:
        self.grants_namespace: str = recorded["grants_namespace"]
        self.service_account: str = recorded["service_account"]
        self.service_account_uid: str = recorded["service_account_uid"]
        self.bindings: list[dict[str, Any]] = [dict(each) for each in recorded["bindings"]]
        """namespace, name, role_kind, role_name, uid, rules_digest; '' where not known yet."""
        self.audience: str = recorded["audience"]
        self.server: str = recorded["server"]
        self.streams_allowed: bool = recorded["streams"] == "Allowed"
        # An earlier version did not record it.
        self.privilege_escalation_allowed: bool = recorded.get("escapes", "Refused") == "Allowed"

    @classmethod
    def found(cls, grant_id: str, grants_namespace: str) -> "State":
        """Return what is known of a grant of which only objects were found."""
        return cls(
            {
                "grants_namespace": grants_namespace,
                "service_account": grant_id,
                "service_account_uid": "",
                "bindings": (),
                "audience": "",
                "server": "",
                "streams": "Refused",
                "escapes": "Refused",
            }
        )

    @classmethod
    def fitting(cls, grant: Grant, grants_namespace: str) -> "State | None":
        """Return what is recorded of a grant; None where that is not what was prepared for it.

        Names follow from the grant's id, and where they are from what it gives.
        """
        try:
            state = cls(grant.provider_state)
            names = [each["name"] for each in state.bindings]
            resources = {f"{PREFIX}{each['namespace']}" for each in state.bindings}
            uids = [state.service_account_uid, *(each["uid"] for each in state.bindings)]
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        ours = (
            (state.grants_namespace, state.service_account) == (grants_namespace, grant.id)
            and names == [f"taskpass-{grant.id}-{index}" for index in range(len(names))]
            and resources == set(grant.resources)
            and all(isinstance(uid, str) for uid in uids)
        )
        return state if ours else None

    @property
    def namespace(self) -> str:
        """The first target namespace."""
        return str(self.bindings[0]["namespace"]) if self.bindings else ""

    def add_found_binding(self, item: Mapping[str, Any]) -> None:
        """Add a RoleBinding as the API server holds it."""
        self.bindings.append(
            {
                "namespace": item["metadata"]["namespace"],
                "name": item["metadata"]["name"],
                "role_kind": item["roleRef"]["kind"],
                "role_name": item["roleRef"]["name"],
                "uid": item["metadata"]["uid"],
                "rules_digest": "",
            }
        )

    def as_json(self) -> dict[str, Any]:
        """Return what to record."""
        return {
            "grants_namespace": self.grants_namespace,
            "service_account": self.service_account,
            "service_account_uid": self.service_account_uid,
            "bindings": [dict(each) for each in self.bindings],
            "audience": self.audience,
            "server": self.server,
            "streams": "Allowed" if self.streams_allowed else "Refused",
            "escapes": "Allowed" if self.privilege_escalation_allowed else "Refused",
        }


def initial_state(
    request: CredentialRequest,
    credential_class: CredentialClass,
    grant_id: str,
    grants_namespace: str,
    server: str,
) -> dict[str, Any]:
    """Return the state before the first call: names of all that will be made."""
    config = credential_class.config
    roles = _roles(request, credential_class)
    namespaces = _namespaces(request, credential_class)
    pairs = [(namespace, role) for namespace in namespaces for role in roles]
    if len(pairs) > MOST_BINDINGS:
        raise ProviderRefused(
            f"actions and resources need {len(pairs)} RoleBindings, and must need at most "
            f"{MOST_BINDINGS}; ask for fewer in one credential"
        )
    return {
        "grants_namespace": grants_namespace,
        "service_account": grant_id,
        "service_account_uid": "",
        "bindings": [
            {
                "namespace": namespace,
                "name": f"taskpass-{grant_id}-{index}",
                "role_kind": kind,
                "role_name": name,
                "uid": "",
                "rules_digest": "",
            }
            for index, (namespace, (kind, name)) in enumerate(pairs)
        ],
        "audience": config.get("audience", ""),
        "server": request.location or server,
        "streams": config.get("streams", "Refused"),
        "escapes": config.get("privilegeEscalation", "Refused"),
    }


def _roles(request: CredentialRequest, credential_class: CredentialClass) -> list[tuple[str, str]]:
    """Return (kind, name) of each role once, in the order of the actions."""
    by_action = {
        role["action"]: (role["kind"], role["name"]) for role in credential_class.config["roles"]
    }
    unknown = [action for action in request.actions if action not in by_action]
    if unknown:
        raise ProviderRefused(
            f"actions must each have a role in CredentialClass '{credential_class.name}': "
            f"'{unknown[0]}' has none"
        )
    if not request.actions:
        raise ProviderRefused("actions must name at least one action")
    return list(dict.fromkeys(by_action[action] for action in request.actions))


def _namespaces(request: CredentialRequest, credential_class: CredentialClass) -> list[str]:
    listed = list(credential_class.config["namespaces"])
    words = ", ".join(f"'{PREFIX}{name}'" for name in listed)
    if not request.resources:
        raise ProviderRefused(
            f"resources must name at least one namespace of CredentialClass "
            f"'{credential_class.name}': {words}"
        )
    for resource in request.resources:
        if not resource.startswith(PREFIX) or resource.removeprefix(PREFIX) not in listed:
            raise ProviderRefused(
                f"resources must each be a namespace of CredentialClass "
                f"'{credential_class.name}' ({words}): '{resource}' is none"
            )
    return list(dict.fromkeys(each.removeprefix(PREFIX) for each in request.resources))
