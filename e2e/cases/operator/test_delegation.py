"""A task that delegates, for real: who may, how much, and what its children lose with it."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from e2e import command
from e2e.admission import TENANT, binding, pod, task
from e2e.command import Run
from e2e.impersonate import Api, Object, Refused, thing
from e2e.stage import Stage, condition, request, until

RBAC = "rbac.authorization.k8s.io/v1"


@pytest.fixture
def family(stage: Stage) -> Iterator[Stage]:
    """Return the stage where alice may delegate, and agents may make tasks."""
    rule = {"apiGroups": ["taskpass.dev"], "resources": ["agenttasks"]}
    agents = f"Group/system:serviceaccounts:{TENANT}"
    made = [
        binding("ClusterRoleBinding", "", "agents-use", "ClusterRole/use-tickets", agents),
        thing(RBAC, "Role", TENANT, "delegators", rules=[{**rule, "verbs": ["delegate"]}]),
        binding("RoleBinding", TENANT, "delegators", "Role/delegators", "User/alice"),
        thing(RBAC, "Role", TENANT, "agents", rules=[{**rule, "verbs": ["create"]}]),
        binding("RoleBinding", TENANT, "agents", "Role/agents", agents),
    ]
    for each in made:
        stage.api.apply(each)
    until(lambda: may(stage.alice, "delegate"))
    yield stage
    for each in made:
        stage.api.delete(each)


def may(who: Api, verb: str) -> bool:
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    asked = {"group": "taskpass.dev", "resource": "agenttasks", "verb": verb, "namespace": TENANT}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = who.call("POST", path, {**review, "spec": {"resourceAttributes": asked}})
    return bool(answer["status"]["allowed"])


def child(stage: Stage, name: str, parent: str, who: Api | None = None, **spec: Any) -> Object:
    """Make a task to which another delegates, and its pod."""
    whole = {"parentRef": {"name": parent}, "credentials": [request("part")], **spec}
    made = (who or stage.alice).create(task(name, **whole))
    stage.alice.create(pod(name))
    return made


def as_pod(stage: Stage, name: str) -> Api:
    """Return who has the token that a pod presents to the API server."""
    found = stage.api.get("Pod", TENANT, name)["metadata"]
    ref = {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": found["uid"]}
    body = {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"boundObjectRef": ref, "expirationSeconds": 600},
    }  # fmt: skip
    path = f"/api/v1/namespaces/{TENANT}/serviceaccounts/triage-agent/token"
    # As its kubelet asks for it; there is no node here that the pod could be put on.
    kubelet = stage.api.as_user("kubelet", "system:nodes", "system:masters")
    token = kubelet.call("POST", path, body)["status"]["token"]
    return stage.api.bearing(token)


@pytest.fixture
def taskpass(kubeconfig: str) -> Run:
    return partial(command.taskpass, kubeconfig)


def test_children_hold_a_part_and_lose_it_with_their_parent(
    family: Stage, taskpass: Run, name: str
) -> None:
    names = [f"{name}-{each}" for each in ("root", "child", "grandchild")]
    root, middle, leaf = names
    family.begin_ready(root)
    child(family, middle, root)
    family.wait_ready(middle)
    child(family, leaf, middle)
    family.wait_ready(leaf)
    tokens = [family.token(root), family.token(middle, "part"), family.token(leaf, "part")]
    works = [family.reads(token) for token in tokens]
    code, drawn = taskpass("tree", f"{TENANT}/{middle}")

    family.change(root, {"operatingMode": "Suspended"})
    for each in (middle, leaf):
        family.wait_condition(
            each, "Suspended", "True", "ParentSuspended", saying="nothing is held"
        )
    family.wait_condition(root, "Suspended", "True", saying="nothing is held")
    refused = [family.reads(token) for token in tokens]
    secrets = [family.secret(each) for each in names]
    family.change(root, {"operatingMode": "Running"})
    for each in names:
        family.wait_ready(each)

    assert works == [200, 200, 200]
    assert 200 not in refused
    assert secrets == [None, None, None]
    assert code == 0, drawn
    lines = drawn.splitlines()
    assert lines[0].startswith(f"{root}  triage-agent, Ready: holds tickets until ")
    assert lines[1].startswith(f"└─ {middle}*  triage-agent, Ready: holds part until ")
    assert lines[2].startswith(f"   └─ {leaf}  triage-agent, Ready: holds part until ")
    assert [family.reads(token) for token in tokens] == refused


def test_a_child_waits_where_what_its_parent_holds_ends_before_the_shortest(
    family: Stage, name: str
) -> None:
    """The API server issues no token for less than 600 s: there is no part of 600 s to give."""
    root, below = f"{name}-root", f"{name}-child"
    family.begin_ready(root, credentials=[request(expirationSeconds=600)])

    child(family, below, root)
    status = family.wait_condition(below, "Authorized", "False", "ParentNotReady")

    assert "ends too soon for provider Kubernetes" in condition(status, "Authorized")["message"]
    assert status["grants"] == []


@pytest.mark.usefixtures("family")
def test_what_a_parent_no_longer_asks_for_its_children_lose(other: Stage, name: str) -> None:
    root, below = f"{name}-root", f"{name}-child"
    part = request("part", "other")
    other.begin_ready(root, credentials=[request(), request("wide", "other")])
    child(other, below, root, credentials=[part])
    other.wait_ready(below)
    token = other.token(below, "part")

    other.change(root, {"credentials": [request()]})
    status = other.wait_condition(below, "Authorized", "False", "Denied")
    other.wait_ready(root)

    assert "asks for" in condition(status, "Authorized")["message"]
    assert other.reads(token) != 200
    assert other.secret(below) is None
    assert other.reads(other.token(root)) == 200


def test_a_parent_that_is_deleted_goes_after_what_its_children_held(
    family: Stage, name: str
) -> None:
    root, below = f"{name}-root", f"{name}-child"
    made = family.begin_ready(root)
    child(family, below, root)
    family.wait_ready(below)
    token = family.token(below, "part")

    family.alice.delete(task(root))
    family.wait_gone(task(root))

    assert family.reads(token) != 200
    family.wait_finished(below, "Cancelled")
    assert made["metadata"]["uid"]


def test_the_parents_own_pod_may_delegate_and_another_of_its_agents_may_not(
    family: Stage, name: str
) -> None:
    """Both run as one ServiceAccount: which pod it was is in the token, and admission stamps it."""
    root, other = f"{name}-root", f"{name}-other"
    family.begin_ready(root)
    family.begin_ready(other)
    mine, stolen = f"{name}-mine", f"{name}-stolen"

    made = child(family, mine, root, who=as_pod(family, root))
    child(family, stolen, root, who=as_pod(family, other))

    assert (
        made["spec"]["changedBy"]["podUID"]
        == family.api.get("Pod", TENANT, root)["metadata"]["uid"]
    )
    family.wait_ready(mine)
    status = family.wait_condition(stolen, "Stalled", "True", "Denied")
    assert "(not_holder)" in condition(status, "Stalled")["message"]
    assert family.secret(stolen) is None


def test_an_agent_cannot_stamp_another_pods_uid(family: Stage, name: str) -> None:
    root, other = f"{name}-root", f"{name}-other"
    family.begin_ready(root)
    family.begin_ready(other)
    uid = family.api.get("Pod", TENANT, root)["metadata"]["uid"]
    forged = {"username": "system:serviceaccount:support:triage-agent", "podUID": uid}

    made = child(family, f"{name}-forged", root, who=as_pod(family, other), changedBy=forged)

    assert made["spec"]["changedBy"]["podUID"] != uid
    family.wait_condition(f"{name}-forged", "Stalled", "True", "Denied")


def test_who_may_not_delegate_is_refused_at_once(family: Stage, name: str) -> None:
    """Bob edits the tenant's tasks, and has no right to give away what others' tasks hold."""
    bound = binding("RoleBinding", TENANT, "bob-edits", "ClusterRole/edit", "User/bob")
    uses = binding("ClusterRoleBinding", "", "bob-uses", "ClusterRole/use-tickets", "User/bob")
    family.api.apply(bound)
    family.api.apply(uses)
    bob = family.api.as_user("bob")
    until(lambda: may(bob, "create"))
    family.begin_ready(name)
    try:
        with pytest.raises(Refused, match="or by who has the verb 'delegate' on agenttasks"):
            bob.create(task(f"{name}-child", parentRef={"name": name}))
    finally:
        family.api.delete(bound)
        family.api.delete(uses)


def test_a_right_to_delegate_that_was_lost_ends_at_the_next_issue(family: Stage, name: str) -> None:
    root, below = f"{name}-root", f"{name}-child"
    family.begin_ready(root)
    child(family, below, root)
    family.wait_ready(below)
    bound = binding("RoleBinding", TENANT, "delegators", "Role/delegators", "User/alice")
    family.api.delete(bound)
    until(lambda: not may(family.alice, "delegate"))
    try:
        family.change(root, {"operatingMode": "Suspended"})
        family.wait_condition(below, "Suspended", "True", "ParentSuspended")
        family.change(root, {"operatingMode": "Running"})
        status = family.wait_condition(below, "Stalled", "True", "Denied")
        assert "(not_holder)" in condition(status, "Stalled")["message"]
    finally:
        family.api.apply(bound)


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ({"credentials": [request("part", actions=["read", "write"])]}, "Denied"),
        ({"intent": {"goal": "g", "tools": ["everything"]}}, "intent_expanded"),
        ({"sponsor": "somebody-else"}, "principal_mismatch"),
        ({"credentials": [request("part", "notes")]}, "scope_expanded"),
    ],
)
def test_what_goes_beyond_the_parent_is_refused(
    family: Stage, name: str, spec: Object, word: str
) -> None:
    root, below = f"{name}-root", f"{name}-child"
    family.begin_ready(root)

    child(family, below, root, **spec)

    status = family.wait_condition(below, "Stalled", "True")
    told = condition(status, "Stalled")
    assert word in f"{told['reason']} {told['message']}"
    assert family.secret(below) is None
    assert family.gated(below)


def test_the_log_has_the_chain_of_who_delegated(family: Stage, taskpass: Run, name: str) -> None:
    root, below = f"{name}-root", f"{name}-child"
    family.begin_ready(root)
    child(family, below, root)
    family.wait_ready(below)
    uid = family.task(root)["metadata"]["uid"]

    code, text = taskpass(
        "audit", "timeline", f"{TENANT}/{below}", "--json", "--db", str(family.operator.ledger)
    )

    assert code == 0, text
    assert f'"chain":["{uid}"]' in text.replace(" ", "").replace("\n", "")


def test_a_family_that_does_not_exist_is_said_in_a_line(family: Stage, taskpass: Run) -> None:
    assert taskpass("tree", "nothing")[0] == 2
    assert taskpass("tree", f"{TENANT}/nothing") == (
        2, f"taskpass: There is no AgentTask '{TENANT}/nothing'\n",
    )  # fmt: skip
