"""What nobody may come to hold, whatever sequence of accepted requests leads there.

It knows who asked for what and was answered yes, and nothing of the policies: each accepted answer
is held against what a role may have. What is refused it has no opinion on.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from e2e.admission import GATE, GRANTS, LABEL, ROLE, TARGET
from e2e.impersonate import Object

STAMP = "taskpass.dev/created-by"
OURS = "taskpass.dev/credentials"
AUDIENCE = "taskpass"
STAMPS = ("requester", "changedBy", "changers", "phase")


@dataclass(frozen=True)
class Actor:
    """Who asks, and what role that is."""

    name: str
    username: str
    may_use: bool = False
    is_operator: bool = False
    is_node: bool = False


@dataclass
class Oracle:
    """Holds what was accepted, by UID, and who made it."""

    known: dict[str, Object] = field(default_factory=dict)
    makers: dict[str, Actor] = field(default_factory=dict)

    def objections(self, who: Actor, path: str, answer: Object) -> list[str]:
        """Return what must not be, of one accepted answer; note it as known."""
        kind = answer.get("kind", "")
        if kind == "TokenRequest":
            return list(_of_token(who, path, answer))
        uid = answer.get("metadata", {}).get("uid", "")
        if not uid:
            return []
        before = self.known.get(uid)
        maker = self.makers.setdefault(uid, who)
        found = list(_OF[kind](who, maker, before, answer)) if kind in _OF else []
        self.known[uid] = answer
        return [f"{who.name}, {path}: {each}" for each in found]


def _of_token(who: Actor, path: str, answer: Object) -> Iterator[str]:
    if AUDIENCE in answer["spec"]["audiences"] and not who.is_node:
        yield "has a token for the audience of agents, and is no node"
    if f"/namespaces/{GRANTS}/" in path and not who.is_operator:
        yield "has a token of a grant"
    if who.is_operator and f"/namespaces/{GRANTS}/serviceaccounts/g-" not in path:
        yield "has a token that is no grant's"


def _of_pod(who: Actor, maker: Actor, before: Object | None, now: Object) -> Iterator[str]:
    label = _labels(now).get(LABEL)
    allowed = {f"taskpass-{label}"} if label else set()
    if others := set(secrets_of(now["spec"])) - allowed:
        yield f"a pod reads {sorted(others)}"
    if before is not None and _labels(before).get(LABEL) != label:
        yield "a label was added or taken away"
    if label is None:
        return
    if stamp_of(now).get("username") != maker.username:
        yield f"the stamp says {stamp_of(now)}, and {maker.username} made it"
    if before is None:
        if not _gated(now):
            yield "it was never gated"
        return
    if _gated(before) and not _gated(now) and not who.is_operator:
        yield "somebody else lifted the gate"
    if _labels(before) != _labels(now):
        yield "its labels changed"
    for field_ in ("containers", "initContainers", "ephemeralContainers", "serviceAccountName"):
        if before["spec"].get(field_) != now["spec"].get(field_):
            yield f"its {field_} changed"
    if who.is_operator and before["metadata"].get("ownerReferences") != now["metadata"].get(
        "ownerReferences"
    ):
        yield "the operator changed its owners"


def _of_secret(who: Actor, maker: Actor, before: Object | None, now: Object) -> Iterator[str]:
    ours = now.get("type") == OURS or now["metadata"]["name"].startswith("taskpass-")
    if who.is_operator and now.get("type") != OURS:
        yield "the operator sees another's Secret"
    if not ours:
        return
    if not maker.is_operator:
        yield "a Secret of ours that somebody else made"
    if before is not None and before.get("data") != now.get("data") and not who.is_operator:
        yield "somebody else changed what is in a Secret of ours"


def _of_binding(who: Actor, maker: Actor, before: Object | None, now: Object) -> Iterator[str]:
    subjects = now.get("subjects") or []
    to_grants = [s for s in subjects if GRANTS in json.dumps(s)]
    same = before is not None and before.get("subjects") == now.get("subjects")
    if to_grants and not same and not who.is_operator:
        yield "somebody else gives rights to a grant"
    if not who.is_operator:
        return
    if len(subjects) != 1 or len(to_grants) != 1 or subjects[0]["kind"] != "ServiceAccount":
        yield "the operator binds another than one grant"
    if (now["roleRef"]["kind"], now["roleRef"]["name"]) != ("ClusterRole", ROLE):
        yield "the operator binds a role that is not listed"
    if now["kind"] != "RoleBinding" or now["metadata"]["namespace"] != TARGET:
        yield "the operator binds in another place"


def _of_task(who: Actor, maker: Actor, before: Object | None, now: Object) -> Iterator[str]:
    spec = now["spec"]
    if spec.get("requester", {}).get("username") != maker.username:
        yield "the requester is not who made it"
    if maker.username not in spec.get("changers", []):
        yield "who made it is none of its changers"
    if before is None:
        if not who.may_use:
            yield "made by somebody who may not use its class"
        if now.get("status"):
            yield "it was made with a status"
        if "taskpass.dev/revoke" not in now["metadata"].get("finalizers", []):
            yield "it was made without our finalizer"
        return
    if before.get("status") != now.get("status") and not who.is_operator:
        yield "somebody else wrote its status"
    said, had = (
        {k: v for k, v in each["spec"].items() if k not in STAMPS} for each in (now, before)
    )
    if said != had:
        if spec.get("changedBy", {}).get("username") != who.username:
            yield "changedBy is not who changed it"
        if who.username not in spec.get("changers", []):
            yield "who changed it is none of its changers"
        if who.is_operator:
            yield "the operator changed what a task says"
    classes, had_classes = (_classes(each["spec"]) for each in (now, before))
    if classes - had_classes and not who.may_use:
        yield "a class was added by somebody who may not use it"


def _stamped(stamp: str) -> Any:
    def check(who: Actor, maker: Actor, before: Object | None, now: Object) -> Iterator[str]:
        if now["spec"].get(stamp, {}).get("username") != maker.username:
            yield f"{stamp} is not who made it"
        if before is not None and before["spec"] != now["spec"]:
            yield "it changed after it was made"

    return check


_OF = {
    "Pod": _of_pod, "Secret": _of_secret, "RoleBinding": _of_binding,
    "ClusterRoleBinding": _of_binding, "AgentTask": _of_task,
    "TaskApproval": _stamped("approver"), "KillSwitch": _stamped("requester"),
}  # fmt: skip


def secrets_of(spec: Any) -> Iterator[str]:
    """Yield every string of a pod's spec that names a task's Secret, whatever refers to it."""
    if isinstance(spec, dict):
        for key, value in spec.items():
            if key in ("name", "secretName") and str(value).startswith("taskpass-"):
                yield str(value)
            yield from secrets_of(value)
    elif isinstance(spec, list):
        for each in spec:
            yield from secrets_of(each)


def stamp_of(pod: Object) -> Object:
    """Return who a pod's stamp says made it."""
    told = pod["metadata"].get("annotations", {}).get(STAMP, "{}")
    read: Object = json.loads(told)
    return read


def _labels(each: Object) -> dict[str, str]:
    labels: dict[str, str] = each["metadata"].get("labels") or {}
    return labels


def _gated(pod: Object) -> bool:
    return any(gate["name"] == GATE for gate in pod["spec"].get("schedulingGates", []))


def _classes(spec: Object) -> set[str]:
    asked = list(spec.get("credentials", []))
    for phase in spec.get("phases", []):
        asked += phase.get("credentials", [])
    return {each["classRef"]["name"] for each in asked}
