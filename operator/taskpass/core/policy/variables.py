"""What a policy's CEL expressions can name: the fields, their types and sizes, and their values.

Every field is always there; what is not set is '' or 0 or empty, so that `task.sponsor != ''` is
never an error. `FIELDS` is the one list: the engine declares its variables from it (so that a
misspelt field is found when the policy is compiled), and `docs/api/agentpolicy.md` documents it.
"""

import enum
from dataclasses import dataclass
from typing import Any

from taskpass.core.model.task import CredentialClass, User
from taskpass.core.policy.types import Question

LONGEST_STRING = 1024
"""Characters of any one string, unless its field says less: what the schemas of the API allow."""


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
    length: int = LONGEST_STRING
    """The most characters of a text in it."""
    about: str
    """What it is, for the documentation."""


def _string(name: str, about: str, length: int = LONGEST_STRING) -> Field:
    return Field(name=name, kind=Kind.STRING, about=about, length=length)


def _int(name: str, about: str) -> Field:
    return Field(name=name, kind=Kind.INT, about=about)


def _strings(name: str, items: int, about: str, length: int = LONGEST_STRING) -> Field:
    return Field(name=name, kind=Kind.STRINGS, items=items, about=about, length=length)


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
    _strings("intent.tools", 64, "the tools that the agent will use", length=256),
    Field(
        name="intent.data",
        kind=Kind.RECORDS,
        items=32,
        length=253,
        about="the data that it will touch; each has `name` and `classification`",
    ),
    _string("intent.trustBoundary", "the boundary that it stays within"),
    _string("agent.serviceAccountName", "the ServiceAccount that the pod runs as"),
    _string("agent.podName", "the pod's name"),
    Field(
        name="agent.podLabels",
        kind=Kind.LABELS,
        items=256,
        length=317,
        about="the pod's labels; who creates the pod chooses them",
    ),
    _strings("agent.images", 64, "image references of every container of the pod"),
    _string("agent.createdBy", "user name of who created the pod, as admission stamped it"),
    _string("agent.workloadRef.apiGroup", "API group of the workload"),
    _string("agent.workloadRef.kind", "kind of the workload"),
    _string("agent.workloadRef.name", "name of the workload"),
    _string("request.name", "the request's name"),
    _strings("request.actions", 32, "what is asked for", length=256),
    _strings("request.resources", 32, "on what", length=256),
    _string("request.location", "where the credential is to be used"),
    _int("request.expirationSeconds", "the lifetime that the request asks for; 0 if it does not"),
    _string("class.name", "the CredentialClass"),
    _string("class.provider", "who issues"),
    _string("class.sensitivity", "Public, Internal, Confidential or Restricted"),
    _strings("class.actions", 32, "all that can be asked of the class", length=256),
    _strings("class.locations", 16, "where its credentials can be used"),
    _int("class.defaultExpirationSeconds", "its default lifetime"),
    _int("class.maxExpirationSeconds", "its longest lifetime"),
    _string(
        "class.revocation",
        "how soon what is revoked opens nothing any more: Immediate, Bounded or Expiry; '' where "
        "the provider is not configured",
    ),
    _int("class.revocationSeconds", "the most that Bounded takes; 0 for the others"),
    _int("class.minimumSeconds", "the shortest lifetime that its provider issues"),
    _string("phase", "the phase that asks; '' for a task without phases"),
    Field(name="now", kind=Kind.TIMESTAMP, about="the time of the decision"),
)


def values_of(question: Question, credential_class: CredentialClass) -> dict[str, Any]:
    """Return the values of all `FIELDS` but `now`, by name; nothing that is large is copied."""
    task, agent, request = question.task, question.agent, question.request
    workload, intent, promised = task.workload, task.intent, question.capabilities
    return {
        "task.namespace": task.namespace,
        "task.name": task.name,
        "task.uid": task.uid,
        "task.sponsor": task.sponsor,
        **_user("task.requester", task.requester),
        **_user("task.changedBy", task.changed_by),
        "intent.goal": intent.goal,
        "intent.tools": intent.tools,
        "intent.data": [
            {"name": data.name, "classification": data.classification} for data in intent.data
        ],
        "intent.trustBoundary": intent.trust_boundary,
        "agent.serviceAccountName": agent.service_account,
        "agent.podName": agent.pod_name,
        "agent.podLabels": agent.pod_labels,
        "agent.images": agent.images,
        "agent.createdBy": agent.created_by,
        "agent.workloadRef.apiGroup": workload.api_group if workload else "",
        "agent.workloadRef.kind": workload.kind if workload else "",
        "agent.workloadRef.name": workload.name if workload else "",
        "request.name": request.name,
        "request.actions": request.actions,
        "request.resources": request.resources,
        "request.location": request.location,
        "request.expirationSeconds": request.expiration_seconds or 0,
        "class.name": credential_class.name,
        "class.provider": credential_class.provider,
        "class.sensitivity": credential_class.sensitivity,
        "class.actions": credential_class.actions,
        "class.locations": credential_class.locations,
        "class.defaultExpirationSeconds": credential_class.default_expiration_seconds,
        "class.maxExpirationSeconds": credential_class.max_expiration_seconds,
        "class.revocation": promised.revocation.value if promised else "",
        "class.revocationSeconds": promised.revocation_seconds if promised else 0,
        "class.minimumSeconds": promised.minimum_seconds if promised else 0,
        "phase": question.phase,
    }


def _user(name: str, user: User) -> dict[str, Any]:
    return {
        f"{name}.username": user.username,
        f"{name}.uid": user.uid,
        f"{name}.groups": user.groups,
    }
