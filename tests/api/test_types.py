"""The types of the core and the schemas in `crds/` say the same, in both directions.

Each property of a schema is changed in a full object, and the converted value must change: no
property is without a field. The fields that changed, together, must be all: no field is without a
property. The command line's own shapes are compared with the schemas as well.
"""

import copy
import dataclasses
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest
from api_objects import VARIANTS, good
from crd_validation import refusals, schema_of

from taskpass.cli.policy.schema import SPECS
from taskpass.kube.cache.convert import (
    approval_from,
    class_from,
    kill_switch_from,
    policy_from,
    task_from,
    template_from,
)

Object = dict[str, Any]
SELECTOR = {
    "matchLabels": {"a": "b"},
    "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}],
}
REQUEST = {
    "name": "wiki",
    "classRef": {"name": "wiki"},
    "actions": ["read"],
    "resources": ["r"],
    "location": "https://l",
    "expirationSeconds": 600,
    "outputs": [{"field": "token", "key": "K"}],
}
FULL: dict[str, Object] = {
    "AgentTask": {
        "changers": ["r", "c"],
        "parentRef": {"name": "incident-17"},
        "templateRef": {"name": "nightly", "uid": "1"},
        "operatingMode": "Running",
        "completionPolicy": "OnWorkloadEnd",
        "idleTimeoutSeconds": 900,
        "startDeadlineSeconds": 600,
        "requester": {"username": "r", "uid": "1", "groups": ["g"], "podUID": "p"},
        "changedBy": {"username": "c", "uid": "2", "groups": ["g"], "podUID": "p"},
        "credentials": [REQUEST],
        "phases": [
            {"name": "research", "next": ["research"], "credentials": [{**REQUEST, "name": "x"}]}
        ],
    },
    "CredentialClass": {
        "namespaceSelector": SELECTOR,
        "sensitivity": "Internal",
        "defaultExpirationSeconds": 900,
        "maxExpirationSeconds": 3600,
        "kubernetes": {
            "roles": [{"action": "read", "kind": "ClusterRole", "name": "n"}],
            "namespaces": ["tickets"],
            "audience": "a",
            "streams": "Refused",
            "privilegeEscalation": "Refused",
        },
    },
    "CredentialClass PostgreSQL": {
        "namespaceSelector": SELECTOR,
        "sensitivity": "Internal",
        "defaultExpirationSeconds": 900,
        "maxExpirationSeconds": 3600,
        "postgresql": {
            "server": "support",
            "database": "tickets",
            "roles": [{"action": "read", "name": "tickets_ro"}],
            "connectionLimit": 4,
            "statementTimeoutSeconds": 30,
            "idleInTransactionTimeoutSeconds": 30,
            "tls": "VerifyFull",
            "privilegeEscalation": "Refused",
        },
    },
    "AgentPolicy": {
        "requesters": {"usernames": ["u"], "groups": ["g"]},
        "agents": {
            "serviceAccountNames": ["s"],
            "podSelector": SELECTOR,
            "imageDigests": ["sha256:" + "a" * 64],
        },
        "locations": ["l"],
        "validations": [{"expression": "true", "message": "m"}],
        "limits": {
            "maxExpirationSeconds": 900,
            "maxRenewals": 3,
            "maxActiveTasks": 9,
            "maxActiveTasksInNamespace": 99,
            "maxDelegationDepth": 2,
            "maxChildren": 5,
        },
        "approval": {
            "approvals": 2,
            "approverGroups": ["g"],
            "approverUsernames": ["u"],
            "excludedUsernames": ["e"],
            "validSeconds": 600,
        },
    },
}
FULL["KillSwitch"] = {
    "target": "Task",
    "namespace": "support",
    "of": "ticket-4711",
    "requester": {"username": "r", "uid": "1", "groups": ["g"]},
}
FULL["TaskApproval"] = {
    "validSeconds": 600,
    "reason": "r",
    "approver": {"username": "a", "uid": "1", "groups": ["g"]},
}
FULL["AgentTaskTemplate"] = {
    **{k: FULL["AgentTask"][k] for k in ("requester", "changedBy", "changers", "credentials")},
    "phases": FULL["AgentTask"]["phases"],
    "startDeadlineSeconds": 600,
    "idleTimeoutSeconds": 900,
}
FULL["ClusterAgentPolicy"] = {**FULL["AgentPolicy"], "namespaceSelector": SELECTOR}
CONVERT: dict[str, Callable[[Object], Any]] = {
    "AgentTask": task_from,
    "CredentialClass": class_from,
    "AgentPolicy": policy_from,
    "ClusterAgentPolicy": policy_from,
    "KillSwitch": kill_switch_from,
    "TaskApproval": approval_from,
    "AgentTaskTemplate": template_from,
}
NOT_OF_THE_SPEC = {
    "namespace",
    "name",
    "uid",
    "generation",
    "resource_version",
    "created_at",
    "deleting_since",
    "has_finalizer",
    "deleting",
    "status",
    "kind",
    "digest",
    "said",
    "savepoint",
    "active",
    "left_out",
}
"""Fields that come from metadata or are derived."""
SECTIONS = {"": {"postgresql"}, "PostgreSQL": {"kubernetes", "locations"}}
"""What a variant does not have, as it is another one's."""
KINDS = pytest.mark.parametrize("kind", sorted(CONVERT))
EACH = pytest.mark.parametrize(
    ("kind", "variant"), [(k, v) for k in sorted(CONVERT) for v in ("", *VARIANTS.get(k, ()))]
)


def full(kind: str, variant: str = "") -> Object:
    thing = good(kind, variant)
    thing["spec"].update(copy.deepcopy(FULL[f"{kind} {variant}".strip()]))
    thing["metadata"] |= {
        "namespace": "ns",
        "uid": "u",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return thing


def leaves(
    schema: Object, value: Any, path: tuple[Any, ...] = (), without: Collection[str] = ()
) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every scalar that the schema has, in an object that has all of them."""
    match schema["type"]:
        case "object" if "properties" in schema:
            for name, sub in schema["properties"].items():
                if name in without and name not in value:
                    continue
                assert name in value, f"the full object has no {(*path, name)}"
                yield from leaves(sub, value[name], (*path, name))
        case "object":
            for name in value:
                yield (*path, name)
        case "array":
            yield from leaves(schema["items"], value[0], (*path, 0))
        case _:
            yield path


def changed(thing: Object, path: tuple[Any, ...]) -> Object:
    thing = copy.deepcopy(thing)
    *parents, last = path
    target: Any = thing["spec"]
    for part in parents:
        target = target[part]
    value = target[last]
    if last in ("effect", "target", "decision"):
        target[last] = {"effect": "Deny", "target": "Agent", "decision": "Denied"}[last]
    else:
        target[last] = value + 1 if isinstance(value, int) else f"{value}x"
    return thing


def fields(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every field of a value that is no dataclass itself, with its path."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from fields(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
        yield from fields(value[0], path)
    else:
        yield path, value


def spec_of(kind: str) -> Object:
    spec: Object = schema_of(kind)["properties"]["spec"]
    return spec


@EACH
def test_the_full_object_is_one_that_the_api_server_takes(kind: str, variant: str) -> None:
    assert refusals(full(kind, variant)) == []


@EACH
def test_every_property_has_a_field_and_every_field_a_property(kind: str, variant: str) -> None:
    thing, convert = full(kind, variant), CONVERT[kind]
    without = SECTIONS[variant] if kind in VARIANTS else set()
    before = dict(fields(convert(thing)))
    answered: set[tuple[str, ...]] = set()

    for path in leaves(spec_of(kind), thing["spec"], without=without):
        after = dict(fields(convert(changed(thing, path))))
        told = {field for field, value in before.items() if after[field] != value}
        if kind != "TaskApproval":
            told = {field for field in told if field[-1] != "digest"}
        assert told, f"nothing tells of spec.{'.'.join(map(str, path))}"
        answered |= told

    own = {"KillSwitch": {"namespace"}, "TaskApproval": {"digest"}}
    elsewhere = NOT_OF_THE_SPEC - own.get(kind, set())
    of_spec = {path for path in before if path[0] not in elsewhere}
    silent = {path for path in of_spec if path[0] == "namespace_selector"}
    expected = of_spec - silent if kind == "AgentPolicy" else of_spec
    expected -= {path for path in expected if path[0] in without}
    assert answered == expected


def shape_of(schema: Object) -> Any:
    """Return a schema as `policy_shapes` would have it."""
    match schema["type"]:
        case "object" if "properties" in schema:
            required = schema.get("required", [])
            return {
                name + ("!" if name in required else ""): shape_of(sub)
                for name, sub in schema["properties"].items()
            }
        case "object":
            return "labels"
        case "array":
            return [shape_of(schema["items"])]
    return tuple(schema["enum"]) if "enum" in schema else schema["type"]


@pytest.mark.parametrize("kind", sorted(SPECS))
def test_the_command_line_knows_the_same_shapes(kind: str) -> None:
    assert SPECS[kind] == shape_of(spec_of(kind))
