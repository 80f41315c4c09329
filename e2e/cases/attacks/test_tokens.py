"""Somebody who may edit a namespace, and the tokens there: which of them make one of its pods.

`edit` may ask for tokens of every ServiceAccount of the namespace, bound to what it likes, and
impersonate them. Only a token that is bound to a pod says that its bearer is that pod.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from e2e.admission import (
    PROVIDER,
    RBAC,
    SYSTEM,
    TARGET,
    TENANT,
    binding,
    operator,
    pod,
    remove,
    secret,
    task,
    wait_for,
)
from e2e.as_operator import RBAC_TENANT, taken_away
from e2e.impersonate import Api, Object, Refused, thing

AGENT = "triage-agent"
NODE = thing("v1", "Node", "", "spare-node")
POD_UID = "authentication.kubernetes.io/pod-uid"


def reference(live: Object) -> Object:
    return {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "name": live["metadata"]["name"],
        "uid": live["metadata"]["uid"],
    }


def ask(
    who: Api, bound: Object | None, *audiences: str, namespace: str = TENANT, account: str = AGENT
) -> str:
    """Return the token that somebody gets by asking for it."""
    spec: Object = {"expirationSeconds": 600, "audiences": list(audiences)}
    if bound is not None:
        spec["boundObjectRef"] = reference(bound)
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    return str(who.call("POST", path, body)["status"]["token"])


@pytest.fixture
def running(alice: Api, name: str) -> Object:
    """Return a pod of an enrolled namespace, such as a parent's."""
    return alice.create(pod(name))


@pytest.fixture
def editor(api: Api) -> Iterator[Api]:
    """Return somebody with the role edit in the tenant's namespace, and their own token."""
    account = thing("v1", "ServiceAccount", TENANT, "editor")
    given = binding(
        "RoleBinding", TENANT, "editor", "ClusterRole/edit", f"ServiceAccount/{TENANT}/editor"
    )
    api.apply(account)
    api.apply(given)
    who = api.bearing(ask(api, None, account="editor"))
    wait_for(lambda: _may(who, "create", "serviceaccounts", "token"), 20)
    yield who
    remove(api, given)
    remove(api, account)


def _may(who: Api, verb: str, resource: str, subresource: str = "", group: str = "") -> bool:
    asked = {
        "verb": verb,
        "resource": resource,
        "subresource": subresource,
        "group": group,
        "namespace": TENANT,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    answer = who.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize("audience", [(), ("vault",)], ids=["the API server's", "another"])
def test_nobody_but_a_node_gets_a_token_that_is_bound_to_a_pod(
    api: Api, editor: Api, running: Object, audience: tuple[str, ...]
) -> None:
    itself = api.as_service_account(TENANT, AGENT)
    for anybody in (editor, api.as_user("alice", "team-a"), api, operator(api)):
        with pytest.raises(Refused, match=r"must be asked for by a node|cannot create resource"):
            ask(anybody, running, *audience)
    with pytest.raises(Refused):
        ask(itself, running, *audience)


def test_a_node_and_whom_the_values_list_get_it(api: Api, running: Object) -> None:
    # What a user may ask for is RBAC's; a node that is none is not held to the pods that it runs.
    for user, groups in (("kubelet", ("system:nodes",)), (PROVIDER, ())):
        who = api.as_user(user, *groups, "system:masters")

        assert ask(who, running, "vault")


def test_a_token_of_nothing_a_secret_or_a_node_makes_nobody_a_pod(
    api: Api, editor: Api, running: Object, name: str
) -> None:
    """They are to be had, and open what RBAC says; a child is made with none of them."""
    rule = {"apiGroups": ["taskpass.dev"], "resources": ["agenttasks"], "verbs": ["create"]}
    use = {"apiGroups": ["taskpass.dev"], "resources": ["credentialclasses"], "verbs": ["use"]}
    agent = f"ServiceAccount/{TENANT}/{AGENT}"
    mine = secret(f"own-{name}", type="Opaque")
    made = [
        thing(f"{RBAC}/v1", "Role", TENANT, "tasks", rules=[rule]),
        binding("RoleBinding", TENANT, "tasks", "Role/tasks", agent),
        thing(f"{RBAC}/v1", "ClusterRole", "", "use-any", rules=[use]),
        binding("ClusterRoleBinding", "", "use-any", "ClusterRole/use-any", agent),
        mine,
    ]
    for each in made:
        api.apply(each)
    node = api.call("POST", "/api/v1/nodes", NODE)
    wanted = task(f"{name}-child", parentRef={"name": name})
    try:
        live = api.get("Secret", TENANT, f"own-{name}")
        for bound in (None, {**live, "apiVersion": "v1", "kind": "Secret"}, node):
            bearer = api.bearing(ask(editor, bound))
            wait_for(lambda who=bearer: _may(who, "create", "agenttasks", group="taskpass.dev"), 20)
            with pytest.raises(Refused, match="must be made and changed by the pod of parent task"):
                bearer.create(wanted)
        kubelet = api.as_user("kubelet", "system:nodes", "system:masters")
        played = api.bearing(ask(kubelet, running))
        stamp = played.create(wanted)["spec"]["requester"]
    finally:
        api.call("DELETE", "/api/v1/nodes/spare-node")
        for each in (wanted, *reversed(made)):
            remove(api, each)

    assert stamp["podUID"] == running["metadata"]["uid"]


def test_who_may_impersonate_an_agent_does_not_become_its_pod(editor: Api, running: Object) -> None:
    """`edit` may impersonate ServiceAccounts; to claim a pod with it takes another right."""
    headers = {
        "Authorization": f"Bearer {editor.token}",
        "Impersonate-User": f"system:serviceaccount:{TENANT}:{AGENT}",
        f"Impersonate-Extra-{POD_UID.replace('/', '%2F')}": running["metadata"]["uid"],
    }
    pool: urllib3.PoolManager = editor.pool
    url = f"{editor.server}/api/v1/namespaces/{TENANT}/pods"

    answer = pool.request("GET", url, headers=headers)

    assert answer.status == 403
    assert b"userextras" in answer.data


@pytest.mark.parametrize(
    ("group", "resource"),
    [
        pytest.param("certificates.k8s.io", "podcertificaterequests", id="a pod's certificate"),
        pytest.param("certificates.k8s.io", "certificatesigningrequests", id="any certificate"),
        pytest.param("", "bindings", id="a binding to a node of one's own"),
    ],
)
def test_edit_gives_no_other_way_to_be_a_pod(editor: Api, group: str, resource: str) -> None:
    assert not _may(editor, "create", resource, group=group)


def test_where_the_namespace_is_not_enrolled_tokens_are_nobodys_business(
    api: Api, name: str
) -> None:
    account = thing("v1", "ServiceAccount", TARGET, AGENT)
    elsewhere = pod(name, labelled=False)
    elsewhere["metadata"]["namespace"] = TARGET
    api.apply(account)
    try:
        made = api.create(elsewhere)

        assert ask(api, made, namespace=TARGET)
    finally:
        remove(api, elsewhere)
        remove(api, account)


def test_a_namespace_that_rbac_alone_enrols_counts_as_enrolled(api: Api, name: str) -> None:
    account = thing("v1", "ServiceAccount", TARGET, AGENT)
    given = binding(
        "RoleBinding", TARGET, "served", "ClusterRole/taskpass-tenant",
        f"ServiceAccount/{SYSTEM}/taskpass",
    )  # fmt: skip
    elsewhere = pod(name, labelled=False)
    elsewhere["metadata"]["namespace"] = TARGET
    for each in (account, given):
        api.apply(each)
    try:
        made = api.create(elsewhere)

        assert "must be asked for by a node" in wait_for(
            lambda: _refusal(api, made, namespace=TARGET), 20
        )
    finally:
        for each in (elsewhere, given, account):
            remove(api, each)


def test_who_takes_the_operators_rights_away_for_a_moment_gains_no_token(
    api: Api, alice: Api, running: Object
) -> None:
    """A namespace's administrator may delete the binding, and a pod that runs lives on."""
    with taken_away(alice, api, RBAC_TENANT):
        wait_for(lambda: not _serves(api), 20)
        said = _refusal(alice, running)

    wait_for(lambda: _serves(api), 20)
    assert "must be asked for by a node" in said


def _refusal(who: Api, bound: Object, **where: Any) -> str | None:
    """Return what refuses it; None where it is let pass."""
    try:
        ask(who, bound, **where)
    except Refused as refused:
        return refused.message
    return None


def _serves(api: Api) -> bool:
    """Tell whether the operator may write Secrets in the tenant's namespace."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{SYSTEM}:taskpass",
            "resourceAttributes": {"verb": "create", "resource": "secrets", "namespace": TENANT},
        },
    }
    answer = api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


# The identity token of pods that nobody attests


@pytest.mark.parametrize("seconds", [3601, 80000])
def test_an_identity_token_of_any_pod_lives_an_hour_at_most(
    api: Api, running: Object, seconds: int
) -> None:
    kubelet = api.as_user("kubelet", "system:nodes", "system:masters")
    spec = {
        "audiences": ["taskpass"],
        "expirationSeconds": seconds,
        "boundObjectRef": reference(running),
    }
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{TENANT}/serviceaccounts/{AGENT}/token"

    with pytest.raises(Refused, match="must live at most 3600 seconds"):
        kubelet.call("POST", path, body)

    body["spec"] = {**spec, "expirationSeconds": 3600}
    assert kubelet.call("POST", path, body)["status"]["token"]


# What `use` means, given to an account


def test_whoever_edits_where_an_account_may_use_a_class_uses_it_too(
    api: Api, editor: Api, name: str
) -> None:
    """Not defended: in Kubernetes whoever edits a namespace has all its ServiceAccounts."""
    robot = thing("v1", "ServiceAccount", TENANT, "robot")
    rule = {"apiGroups": ["taskpass.dev"], "resources": ["agenttasks"], "verbs": ["create"]}
    its = f"ServiceAccount/{TENANT}/robot"
    made = [
        robot,
        thing(f"{RBAC}/v1", "Role", TENANT, "robot", rules=[rule]),
        binding("RoleBinding", TENANT, "robot", "Role/robot", its),
        binding("ClusterRoleBinding", "", "robot-use", "ClusterRole/use-tickets", its),
    ]
    for each in made:
        api.apply(each)
    try:
        with pytest.raises(Refused, match="must be allowed to use every CredentialClass"):
            editor.create(task(name))
        bearer = api.bearing(ask(editor, None, account="robot"))
        wait_for(lambda: _may(bearer, "create", "agenttasks", group="taskpass.dev"), 20)
        said = wait_for(lambda: _created(bearer, name), 20)
    finally:
        for each in reversed(made):
            remove(api, each)

    assert said["requester"]["username"] == f"system:serviceaccount:{TENANT}:robot"
    assert "podUID" not in said["requester"]


def _created(who: Api, name: str) -> Object | None:
    try:
        return dict(who.create(task(name))["spec"])
    except Refused as refused:
        if "must be allowed to use" not in refused.message:
            raise
        return None  # a new ClusterRoleBinding takes a moment
