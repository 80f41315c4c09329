"""Requests as somebody might try them, drawn by hypothesis."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from e2e.admission import (
    GATE,
    GRANTS,
    GROUP,
    LABEL,
    ROLE,
    TARGET,
    TENANT,
    binding,
    container,
    pod,
    task,
    volume,
)
from e2e.impersonate import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, Object, path_of, thing

NAMES = ("a", "b")
GRANT = "g-" + "0" * 32
WHO = ("alice", "mallory", "root", "controller", "node", "operator")
KINDS = ("Pod", "Secret", "RoleBinding", "ClusterRoleBinding", "AgentTask", "TaskApproval",
         "KillSwitch")  # fmt: skip
PLACES = {"RoleBinding": TARGET, "ClusterRoleBinding": "", "KillSwitch": ""}
ALICE = {"username": "alice"}
THE_GRANT = {"kind": "ServiceAccount", "namespace": GRANTS, "name": GRANT}
FORGED = '{"username":"system:serviceaccount:kube-system:job-controller"}'


@dataclass(frozen=True)
class Move:
    """One request; `{name}` in it is made one of this sequence's own."""

    who: str
    method: str
    path: str
    body: Any
    content: str


def moves() -> st.SearchStrategy[Move]:
    """Return any request."""
    kinds = st.sampled_from([_creations] * 9 + [_changes] * 8 + [_tokens] * 2 + [_deletions])
    return kinds.flatmap(lambda drawn: drawn())


def made(who: str, each: Object) -> Move:
    """Return a creation."""
    path = path_of(each["kind"], each["metadata"].get("namespace", ""))
    return Move(who, "POST", path, each, "application/json")


def _creations() -> st.SearchStrategy[Move]:
    return st.builds(
        made,
        st.sampled_from(WHO),
        st.sampled_from((*KINDS, "Pod", "Pod", "AgentTask", "RoleBinding")).flatmap(_objects),
    )  # fmt: skip


def _objects(kind: str) -> st.SearchStrategy[Object]:
    return {
        "Pod": _pods, "Secret": _secrets, "RoleBinding": _role_bindings,
        "ClusterRoleBinding": _cluster_role_bindings, "AgentTask": _tasks,
        "TaskApproval": _approvals, "KillSwitch": _switches,
    }[kind]()  # fmt: skip


def _pods() -> st.SearchStrategy[Object]:
    own = st.sampled_from([*map(_own, NAMES), "", "No_Name"])
    notes_of = [{}, {"taskpass.dev/created-by": FORGED}, {"taskpass.dev/containers": "agent"}]
    return st.builds(
        lambda name, label, gate, volumes, refs, notes, template: pod(
            _own(name), labelled=False,
            labels={**({} if label is None else {LABEL: label}),
                    **({"taskpass.dev/task-template": "x"} if template else {})},
            annotations=notes,
            spec={
                **({"schedulingGates": [{"name": GATE}]} if gate else {}),
                "volumes": volumes,
                "containers": [container("agent", **refs)],
            },
        ),
        st.sampled_from(NAMES), st.none() | own, st.booleans(),
        st.lists(_volumes(), max_size=2, unique_by=lambda v: v["name"]), _references(),
        st.sampled_from(notes_of),
        st.sampled_from([False] * 5 + [True]),
    )  # fmt: skip


def _volumes() -> st.SearchStrategy[Object]:
    whole = st.builds(
        lambda of, seconds, audience: volume(_own(of), seconds=seconds, audience=audience),
        st.sampled_from(NAMES), st.sampled_from([600, 3600, 7200]),
        st.sampled_from(["taskpass", "other"]),
    )  # fmt: skip
    named = st.builds(
        lambda name, of: {"name": name, "secret": {"secretName": f"taskpass-{_own(of)}"}},
        st.sampled_from(["taskpass", "v"]), st.sampled_from(NAMES),
    )  # fmt: skip
    return whole | named


def _references() -> st.SearchStrategy[Object]:
    def env(of: str) -> Object:
        source = {"secretKeyRef": {"name": f"taskpass-{_own(of)}", "key": "a"}}
        return {"env": [{"name": "A", "valueFrom": source}]}

    return st.just({}) | st.sampled_from(NAMES).map(env)


def _secrets() -> st.SearchStrategy[Object]:
    return st.builds(
        lambda name, prefix, type_, owners: thing(
            "v1", "Secret", TENANT, f"{prefix}{_own(name)}", type=type_, stringData={"a": "b"},
            owners=owners,
        ),
        st.sampled_from(NAMES), st.sampled_from(["", "taskpass-"]),
        st.sampled_from(["Opaque", "taskpass.dev/credentials"]),
        st.sampled_from([[], [{"apiVersion": GROUP, "kind": "AgentTask", "name": _own("a"),
                               "uid": "00000000-0000-0000-0000-000000000001"}]]),
    )  # fmt: skip


def _subjects() -> st.SearchStrategy[list[str]]:
    one = st.sampled_from(
        [f"ServiceAccount/{GRANTS}/{GRANT}", f"User/system:serviceaccount:{GRANTS}:{GRANT}",
         f"Group/system:serviceaccounts:{GRANTS}", "User/eve", "Group/system:authenticated"]
    )  # fmt: skip
    return st.lists(one, min_size=1, max_size=2, unique=True)


def _role_bindings() -> st.SearchStrategy[Object]:
    return st.builds(
        lambda where, name, role, subjects: binding("RoleBinding", where, name, role, *subjects),
        st.sampled_from([TARGET, TENANT]),
        st.sampled_from([_own("a"), f"taskpass-{GRANT}-0", f"taskpass-{GRANT}-1"]),
        st.sampled_from([f"ClusterRole/{ROLE}", "ClusterRole/view"]), _subjects(),
    )  # fmt: skip


def _cluster_role_bindings() -> st.SearchStrategy[Object]:
    return _subjects().map(
        lambda subjects: binding("ClusterRoleBinding", "", _own("a"), "ClusterRole/view", *subjects)
    )


def _tasks() -> st.SearchStrategy[Object]:
    return st.builds(
        lambda name, forged, status, more: {**task(_own(name), **forged, **more), **status},
        st.sampled_from(NAMES),
        st.sampled_from([{}, {"requester": ALICE, "changedBy": ALICE, "changers": ["alice"]}]),
        st.sampled_from([{}, {"status": {"observedGeneration": 1}}]),
        st.sampled_from([{}, {"parentRef": {"name": _own("a")}},
                         {"templateRef": {"name": "x", "uid": "1"}}]),
    )  # fmt: skip


def _approvals() -> st.SearchStrategy[Object]:
    spec = {"taskRef": {"name": "no-task", "uid": "0"}, "digest": "sha256:" + "0" * 64,
            "decision": "Approved"}  # fmt: skip
    return st.sampled_from(
        [{}, {"approver": {"username": "lea", "groups": ["support-leads"]}}]
    ).map(lambda forged: thing(GROUP, "TaskApproval", TENANT, _own("a"), spec={**spec, **forged}))


def _switches() -> st.SearchStrategy[Object]:
    spec = {"target": "Task", "namespace": "nowhere", "of": "no-task", "reason": "INC-42"}
    return st.sampled_from([{}, {"requester": {"username": "ona"}}]).map(
        lambda forged: thing(GROUP, "KillSwitch", "", _own("a"), spec={**spec, **forged})
    )


def _changes() -> st.SearchStrategy[Move]:
    return st.sampled_from((*KINDS, "Pod", "Pod", "AgentTask")).flatmap(
        lambda kind: st.builds(
            lambda who, name, change: _change(who, kind, name, *change),
            st.sampled_from(WHO),
            st.sampled_from(NAMES),
            st.sampled_from(CHANGES[kind] + METADATA),
        )
    )


def _change(who: str, kind: str, name: str, sub: str, content: str, body: Any) -> Move:
    prefix = "taskpass-" if kind == "Secret" and who != "mallory" else ""
    path = f"{path_of(kind, PLACES.get(kind, TENANT))}/{prefix}{_own(name)}{sub}"
    method = "POST" if sub == "/binding" else "PATCH"
    if content == APPLY_PATCH:
        path += "?fieldManager=taskpass&force=true"
    return Move(who, method, path, body, content)


def _merge(sub: str = "", **body: Any) -> tuple[str, str, Any]:
    return sub, MERGE_PATCH, body


METADATA = [
    _merge(metadata={"labels": {LABEL: _n}}) for _n in ("{name}-a", "{name}-b", None)
] + [
    _merge(metadata={"labels": {"x": "y"}}),
    _merge(metadata={"annotations": {"taskpass.dev/created-by": FORGED}}),
    _merge(metadata={"finalizers": None}),
    _merge(metadata={"finalizers": ["a.example/b"]}),
    _merge(metadata={"ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "j",
                                          "uid": "1", "controller": True}]}),
]  # fmt: skip
BINDING = {"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": "n1"}}
CHANGES: dict[str, list[tuple[str, str, Any]]] = {
    "Pod": [
        ("", JSON_PATCH, [{"op": "remove", "path": "/spec/schedulingGates"}]),
        _merge(spec={"schedulingGates": None}),
        ("", JSON_PATCH, [{"op": "replace", "path": "/spec/containers/0/image", "value": "x:2"}]),
        _merge("/status", metadata={"labels": {LABEL: "{name}-b"}}),
        _merge("/status", metadata={"annotations": {"taskpass.dev/created-by": FORGED}}),
        _merge("/status", status={"phase": "Succeeded"}),
        _merge("/ephemeralcontainers", spec={"ephemeralContainers": [
            {"name": "debug", "image": "x:1", "env": [{"name": "A", "valueFrom": {
                "secretKeyRef": {"name": "taskpass-{name}-b", "key": "a"}}}]}]}),
        _merge("/resize", metadata={"labels": {LABEL: "{name}-b"}}),
        ("/binding", "application/json", {**BINDING, "metadata": {"name": "{name}-a"}}),
        ("/binding", "application/json", {**BINDING, "metadata": {
            "name": "{name}-a", "labels": {LABEL: "{name}-b"}}}),
        ("", APPLY_PATCH, {"apiVersion": "v1", "kind": "Pod", "metadata": {
            "annotations": {"taskpass.dev/created-by": FORGED}}}),
    ],
    "Secret": [_merge(stringData={"a": "c"}), _merge(type="Opaque"), _merge(immutable=True)],
    "RoleBinding": [_merge(subjects=[THE_GRANT])],
    "ClusterRoleBinding": [_merge(subjects=[THE_GRANT])],
    "AgentTask": [
        _merge(spec={"intent": {"goal": "another"}}),
        _merge(spec={"requester": {"username": "alice"}, "changers": ["alice"]}),
        _merge(spec={"credentials": [{**task("x")["spec"]["credentials"][0], "name": "more"}]}),
        _merge(spec={"credentials": [{**task("x")["spec"]["credentials"][0],
                                      "classRef": {"name": "other"}}]}),
        _merge(spec={"operatingMode": "Suspended"}),
        _merge("/status", status={"observedGeneration": 7}),
        _merge(status={"observedGeneration": 7}),
        ("", APPLY_PATCH, {"apiVersion": GROUP, "kind": "AgentTask",
                           "spec": {"changedBy": {"username": "alice"}}}),
    ],
    "TaskApproval": [_merge(spec={"decision": "Denied"}), _merge(spec={"approver": ALICE})],
    "KillSwitch": [_merge(spec={"reason": "another"}), _merge(spec={"requester": ALICE})],
}  # fmt: skip


def _tokens() -> st.SearchStrategy[Move]:
    def ask(who: str, where: tuple[str, str], audiences: list[str], bound: bool) -> Move:
        spec: Object = {"audiences": audiences, "expirationSeconds": 600}
        if bound:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": "{name}-a"}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"{path_of('ServiceAccount', where[0])}/{where[1]}/token"
        return Move(who, "POST", path, body, "application/json")

    return st.builds(
        ask, st.sampled_from(WHO),
        st.sampled_from([(TENANT, "triage-agent"), (GRANTS, "default"), (GRANTS, GRANT)]),
        st.sampled_from([["taskpass"], ["other", "taskpass"], []]), st.booleans(),
    )  # fmt: skip


def _deletions() -> st.SearchStrategy[Move]:
    def drop(who: str, kind: str, name: str) -> Move:
        path = f"{path_of(kind, PLACES.get(kind, TENANT))}/{_own(name)}"
        return Move(who, "DELETE", path, None, "application/json")

    return st.builds(drop, st.sampled_from(WHO), st.sampled_from(KINDS), st.sampled_from(NAMES))


def _own(name: str) -> str:
    return "{name}-" + name
