"""Names, paths and bodies of what the Kubernetes provider makes. Pure.

Names and subjects are what the admission policy `taskpass-operator-grants` demands, exactly.
"""

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import jwt

from taskpass.core.model.grant import Grant, SecretValue
from taskpass.providers.kubernetes.state import State

RBAC = "rbac.authorization.k8s.io"
GRANT_LABEL = "taskpass.dev/grant"
GRANT_ID = re.compile(r"g-[0-9a-f]{32}")
BINDING_NAME = re.compile(r"taskpass-(g-[0-9a-f]{32})-[0-9]{1,3}")


def is_grant_id(name: str) -> bool:
    """Tell whether a name is a grant's."""
    return GRANT_ID.fullmatch(name) is not None


def grant_of_binding(name: str) -> str:
    """Return the grant id in a RoleBinding's name, or '' where it is none of ours."""
    match = BINDING_NAME.fullmatch(name)
    return match[1] if match else ""


def service_accounts_path(namespace: str) -> str:
    """Return the path of a namespace's ServiceAccounts."""
    return f"/api/v1/namespaces/{namespace}/serviceaccounts"


def bindings_path(namespace: str) -> str:
    """Return the path of a namespace's RoleBindings."""
    return f"/apis/{RBAC}/v1/namespaces/{namespace}/rolebindings"


def role_path(binding: Mapping[str, Any]) -> str:
    """Return the path of the role that a recorded binding binds."""
    # Names of roles may hold nearly any character, '?' and '#' included.
    name = quote(binding["role_name"], safe=":")
    if binding["role_kind"] == "ClusterRole":
        return f"/apis/{RBAC}/v1/clusterroles/{name}"
    return f"/apis/{RBAC}/v1/namespaces/{binding['namespace']}/roles/{name}"


def service_account(grant: Grant, state: State) -> dict[str, Any]:
    """Return the grant's ServiceAccount."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(grant, state.grants_namespace, state.service_account),
        "automountServiceAccountToken": False,
    }


def role_binding(grant: Grant, state: State, binding: Mapping[str, Any]) -> dict[str, Any]:
    """Return one RoleBinding: one role, one subject."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(grant, binding["namespace"], binding["name"]),
        "roleRef": {
            "apiGroup": RBAC,
            "kind": binding["role_kind"],
            "name": binding["role_name"],
        },
        "subjects": [
            {
                "kind": "ServiceAccount",
                "name": state.service_account,
                "namespace": state.grants_namespace,
            }
        ],
    }


def token_request(audience: str, seconds: int) -> dict[str, Any]:
    """Return a TokenRequest; '' is the API server's own audience."""
    spec: dict[str, Any] = {"expirationSeconds": seconds}
    if audience:
        spec["audiences"] = [audience]
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


PUBLIC_FIELDS = frozenset({"ca.crt", "server", "namespace"})
"""Those of a credential's fields that are no secrets."""


def credential_fields(token: str, state: State, ca: str) -> dict[str, SecretValue]:
    """Return the credential's fields by the names that Kubernetes' tools use."""
    fields = {
        "token": token,
        "kubeconfig": _kubeconfig(token, state, ca),
        "ca.crt": ca,
        "server": state.server,
        "namespace": state.namespace,
    }
    return {name: SecretValue(text.encode()) for name, text in fields.items()}


def credential_ref(token: str) -> str:
    """Return the `jti` of a token that the API server just gave; '' where there is none."""
    try:
        # Read, not trusted: whoever issued it is who handed it to us, over TLS.
        return str(jwt.decode(token, options={"verify_signature": False})["jti"])
    except (jwt.InvalidTokenError, KeyError):
        return ""


def time_from(text: str) -> datetime:
    """Return a time of the API server's, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _metadata(grant: Grant, namespace: str, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": namespace,
        "labels": {
            "app.kubernetes.io/name": "taskpass",
            "app.kubernetes.io/part-of": "taskpass",
            "app.kubernetes.io/managed-by": "taskpass",
            GRANT_LABEL: grant.id,
        },
        # For people who find it; nothing is decided by it.
        "annotations": {"taskpass.dev/task": str(grant.task)},
    }


def _kubeconfig(token: str, state: State, ca: str) -> str:
    """Return a kubeconfig; JSON, which is YAML too."""
    cluster = {"server": state.server}
    if ca:
        cluster["certificate-authority-data"] = base64.b64encode(ca.encode()).decode()
    context = {"cluster": "cluster", "user": "task", "namespace": state.namespace}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": "task", "user": {"token": token}}],
            "contexts": [{"name": "task", "context": context}],
            "current-context": "task",
        },
        indent=2,
    )
