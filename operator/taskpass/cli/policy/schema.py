"""The shapes of our kinds, to check files that no API server has seen.

A shape is a type's name, a list of one shape, a tuple of allowed words, or fields by name; a name
that ends in `!` is required. `tests/api/test_types.py` holds them against `crds/`. The API server
checks more (lengths, patterns, rules); here is what conversion and evaluation rely on.
"""

from collections.abc import Iterator, Mapping
from typing import Any

STRING, INTEGER, LABELS = "string", "integer", "labels"
SENSITIVITY = ("Public", "Internal", "Confidential", "Restricted")

SELECTOR: dict[str, Any] = {
    "matchLabels": LABELS,
    "matchExpressions": [
        {
            "key!": STRING,
            "operator!": ("In", "NotIn", "Exists", "DoesNotExist"),
            "values": [STRING],
        }
    ],
}
USER: dict[str, Any] = {"username!": STRING, "uid": STRING, "groups": [STRING]}
REQUEST: dict[str, Any] = {
    "name!": STRING,
    "classRef!": {"name!": STRING},
    "actions!": [STRING],
    "resources": [STRING],
    "location": STRING,
    "expirationSeconds": INTEGER,
    "outputs": [{"field!": STRING, "key!": STRING}],
}
POLICY: dict[str, Any] = {
    "effect!": ("Allow", "Deny", "Constrain"),
    "requesters": {"usernames": [STRING], "groups": [STRING]},
    "agents": {"serviceAccountNames": [STRING], "podSelector": SELECTOR, "imageDigests": [STRING]},
    "classes": [STRING],
    "actions": [STRING],
    "resources": [STRING],
    "locations": [STRING],
    "validations": [{"expression!": STRING, "message!": STRING}],
    "limits": {
        "maxExpirationSeconds": INTEGER,
        "maxRenewals": INTEGER,
        "maxActiveTasks": INTEGER,
        "maxActiveTasksInNamespace": INTEGER,
        "maxDelegationDepth": INTEGER,
        "maxChildren": INTEGER,
    },
    "approval": {
        "approvals": INTEGER,
        "approverGroups": [STRING],
        "approverUsernames": [STRING],
        "excludedUsernames": [STRING],
        "validSeconds": INTEGER,
    },
}
SPECS: dict[str, dict[str, Any]] = {
    "AgentTask": {
        "agent!": {
            "serviceAccountName!": STRING,
            "workloadRef": {"apiGroup!": STRING, "kind!": STRING, "name!": STRING},
            "replacementPolicy": ("WaitForOld",),
        },
        "requester": {**USER, "podUID": STRING},
        "changedBy": {**USER, "podUID": STRING},
        "changers": [STRING],
        "sponsor": STRING,
        "intent": {
            "goal!": STRING,
            "tools": [STRING],
            "data": [{"name!": STRING, "classification!": SENSITIVITY}],
            "trustBoundary": STRING,
        },
        "credentials": [REQUEST],
        "phases": [{"name!": STRING, "next": [STRING], "credentials": [REQUEST]}],
        "phase": STRING,
        "operatingMode": ("Running", "Suspended"),
        "completionPolicy": ("OnWorkloadEnd", "OnPodEnd", "Explicit"),
        "startDeadlineSeconds": INTEGER,
        "activeDeadlineSeconds": INTEGER,
        "idleTimeoutSeconds": INTEGER,
        "ttlSecondsAfterFinished": INTEGER,
        "parentRef": {"name!": STRING},
        "templateRef": {"name!": STRING, "uid!": STRING},
    },
    "CredentialClass": {
        "provider!": ("Kubernetes", "PostgreSQL"),
        "kubernetes": {
            "roles!": [{"action!": STRING, "kind!": ("ClusterRole", "Role"), "name!": STRING}],
            "namespaces!": [STRING],
            "audience": STRING,
            "streams": ("Refused", "Allowed"),
            "privilegeEscalation": ("Refused", "Allowed"),
        },
        "postgresql": {
            "server!": STRING,
            "database!": STRING,
            "roles!": [{"action!": STRING, "name!": STRING}],
            "connectionLimit": INTEGER,
            "statementTimeoutSeconds": INTEGER,
            "idleInTransactionTimeoutSeconds": INTEGER,
            "tls": ("VerifyFull", "VerifyCA", "Require"),
            "privilegeEscalation": ("Refused", "Allowed"),
        },
        "actions!": [STRING],
        "locations": [STRING],
        "sensitivity": SENSITIVITY,
        "namespaceSelector": SELECTOR,
        "defaultExpirationSeconds": INTEGER,
        "maxExpirationSeconds": INTEGER,
    },
    "AgentPolicy": POLICY,
    "ClusterAgentPolicy": {**POLICY, "namespaceSelector": SELECTOR},
}


def complaints(shape: Any, value: Any, path: str) -> Iterator[str]:
    """Yield what is wrong with a value, each as `path must be …`; the worst first."""
    if value is None:
        yield f"{path} must be set, and must not be empty"
    elif shape == LABELS:
        yield from _labels(value, path)
    elif isinstance(shape, str):
        if _type(value) != shape:
            yield _not_a(shape, value, path)
    elif isinstance(shape, tuple):
        if _type(value) != STRING:
            yield _not_a(STRING, value, path)
        elif value not in shape:
            yield f"{path} must be {' or '.join(shape)}, not '{value}'"
    elif isinstance(shape, list):
        if _type(value) != "list":
            yield _not_a("list", value, path)
        else:
            for index, item in enumerate(value):
                yield from complaints(shape[0], item, f"{path}[{index}]")
    else:
        yield from _object(shape, value, path)


def _object(shape: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    if _type(value) != "object":
        yield _not_a("object", value, path)
        return
    known = {name.removesuffix("!"): sub for name, sub in shape.items()}
    for name in value:
        if name not in known:
            yield f"{path}.{name} is no field of this kind"
    for name in shape:
        if name.endswith("!") and name[:-1] not in value:
            yield f"{path}.{name[:-1]} must be set"
    for name, sub in value.items():
        if name in known:
            yield from complaints(known[name], sub, f"{path}.{name}")


def _labels(value: Any, path: str) -> Iterator[str]:
    if _type(value) != "object":
        yield _not_a("object", value, path)
        return
    for key, text in value.items():
        if _type(key) != STRING:
            yield _not_a(STRING, key, f"the key {key!r} of {path}")
        if _type(text) != STRING:
            yield _not_a(STRING, text, f"{path}['{key}']")


def _not_a(wanted: str, value: Any, path: str) -> str:
    article = "an" if wanted[0] in "aeiou" else "a"
    quoting = (
        "; put it in quotes" if wanted == STRING and not isinstance(value, list | dict) else ""
    )
    return f"{path} must be {article} {wanted}, not {_described(value)}{quoting}"


def _described(value: Any) -> str:
    match value:
        case bool():
            return f"the boolean {str(value).lower()} (YAML reads y, yes, on, n, no and off as one)"
        case int():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case dict():
            return "an object"
    return "a number with a point" if isinstance(value, float) else "a date"


def _type(value: Any) -> str:
    types = {str: STRING, int: INTEGER, list: "list", dict: "object"}
    return types.get(type(value), "")
