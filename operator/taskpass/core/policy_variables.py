"""What a policy's CEL expressions can name: the fields, their types and sizes, and their values.

Every field is always there; what is not set is '' or 0 or empty, so that `task.sponsor != ''` is
never an error. `FIELDS` is the one list: the engine declares its variables from it (so that a
misspelt field is found when the policy is compiled), and `docs/api/agentpolicy.md` documents it.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskpass.core.policy_types import Question
from taskpass.core.task import CredentialClass, User

LONGEST_STRING = 4096
"""Characters of any one string: more than any schema of the API allows."""


class Kind(enum.StrEnum):
    """Types of fields, in CEL's words."""

    STRING = "string"
    INT = "int"
    TIMESTAMP = "timestamp"
    STRINGS = "list<string>"
    LABELS = "map<string, string>"
    RECORDS = "list<map<string, string>>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. An input that is larger than its size here is not evaluated at all."""

    name: str
    kind: Kind
    items: int = 0
    """The most items of a list or map, as the schemas of the API allow."""
    about: str
    """What it is, for the documentation."""


def _string(name: str, about: str) -> Field:
    return Field(name=name, kind=Kind.STRING, about=about)


def _int(name: str, about: str) -> Field:
    return Field(name=name, kind=Kind.INT, about=about)


def _strings(name: str, items: int, about: str) -> Field:
    return Field(name=name, kind=Kind.STRINGS, items=items, about=about)


FIELDS: tuple[Field, ...] = (
    _string("task.namespace", "the task's namespace"),
    _string("task.name", "the task's name"),
    _string("task.uid", "the task's UID"),
    _string(
        "task.sponsor",
        "who answers for the task; for a child that names none, who answers for the root",
    ),
    _string("task.requester.username", "who created the task"),
    _string("task.requester.uid", "their UID"),
    _strings("task.requester.groups", 512, "their groups"),
    _string("task.changedBy.username", "who last changed the spec"),
    _string("task.changedBy.uid", "their UID"),
    _strings("task.changedBy.groups", 512, "their groups"),
    _string("intent.goal", "the purpose of the task"),
    _strings("intent.tools", 64, "the tools that the agent will use"),
    Field(
        name="intent.data",
        kind=Kind.RECORDS,
        items=32,
        about="the data that it will touch; each has `name` and `classification`",
    ),
    _string("intent.trustBoundary", "the boundary that it stays within"),
    _string("agent.serviceAccountName", "the ServiceAccount that the pod runs as"),
    _string("agent.podName", "the pod's name"),
    Field(
        name="agent.podLabels",
        kind=Kind.LABELS,
        items=256,
        about="the pod's labels; who creates the pod chooses them",
    ),
    _strings("agent.images", 64, "image references of every container of the pod"),
    _string("agent.createdBy", "user name of who created the pod, as admission stamped it"),
    _string("agent.workloadRef.apiGroup", "API group of the workload"),
    _string("agent.workloadRef.kind", "kind of the workload"),
    _string("agent.workloadRef.name", "name of the workload"),
    _string("request.name", "the request's name"),
    _strings("request.actions", 32, "what is asked for"),
    _strings("request.resources", 32, "on what"),
    _string("request.location", "where the credential is to be used"),
    _int("request.expirationSeconds", "the lifetime that the request asks for; 0 if it does not"),
    _string("class.name", "the CredentialClass"),
    _string("class.provider", "who issues"),
    _string("class.sensitivity", "Public, Internal, Confidential or Restricted"),
    _strings("class.actions", 32, "all that can be asked of the class"),
    _strings("class.locations", 16, "where its credentials can be used"),
    _int("class.defaultExpirationSeconds", "its default lifetime"),
    _int("class.maxExpirationSeconds", "its longest lifetime"),
    _string("phase", "the phase that asks; '' for a task without phases"),
    Field(name="now", kind=Kind.TIMESTAMP, about="the time of the decision"),
)


def variables(
    question: Question, credential_class: CredentialClass, now: datetime
) -> dict[str, Any]:
    """Return the values of all `FIELDS`, nested by the dots in their names."""
    task, agent, request = question.task, question.agent, question.request
    workload = task.workload
    return {
        "task": {
            "namespace": task.namespace,
            "name": task.name,
            "uid": task.uid,
            "sponsor": task.sponsor,
            "requester": _user(task.requester),
            "changedBy": _user(task.changed_by),
        },
        "intent": {
            "goal": task.intent.goal,
            "tools": list(task.intent.tools),
            "data": [
                {"name": data.name, "classification": data.classification}
                for data in task.intent.data
            ],
            "trustBoundary": task.intent.trust_boundary,
        },
        "agent": {
            "serviceAccountName": agent.service_account,
            "podName": agent.pod_name,
            "podLabels": dict(agent.pod_labels),
            "images": list(agent.images),
            "createdBy": agent.created_by,
            "workloadRef": {
                "apiGroup": workload.api_group if workload else "",
                "kind": workload.kind if workload else "",
                "name": workload.name if workload else "",
            },
        },
        "request": {
            "name": request.name,
            "actions": list(request.actions),
            "resources": list(request.resources),
            "location": request.location,
            "expirationSeconds": request.expiration_seconds or 0,
        },
        "class": {
            "name": credential_class.name,
            "provider": credential_class.provider,
            "sensitivity": credential_class.sensitivity,
            "actions": list(credential_class.actions),
            "locations": list(credential_class.locations),
            "defaultExpirationSeconds": credential_class.default_expiration_seconds,
            "maxExpirationSeconds": credential_class.max_expiration_seconds,
        },
        "phase": question.phase,
        "now": now,
    }


def _user(user: User) -> dict[str, Any]:
    return {"username": user.username, "uid": user.uid, "groups": list(user.groups)}


def flattened(values: Mapping[str, Any]) -> Iterator[tuple[Field, Any]]:
    """Yield each field with its value out of what `variables` returns.

    Raises:
        KeyError: One is missing.

    """
    for field in FIELDS:
        value: Any = values
        for part in field.name.split("."):
            value = value[part]
        yield field, value
