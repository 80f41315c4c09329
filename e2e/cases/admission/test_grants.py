"""What the provider Kubernetes makes: the operator is held to it, and nobody else touches it."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from e2e.admission import (
    GRANTS,
    RBAC,
    ROLE,
    SYSTEM,
    TARGET,
    TENANT,
    binding,
    pod,
    remove,
    secret,
    wait_for,
)
from e2e.impersonate import Api, Object, Refused, thing


@pytest.fixture
def grant(api: Api) -> Iterator[str]:
    """The name of a grant's ServiceAccount; what is left of it is removed."""
    chosen = f"g-{uuid4().hex}"
    yield chosen
    remove(api, bound(chosen))
    remove(api, account(chosen))


def account(name: str, namespace: str = GRANTS, **rest: Object) -> Object:
    return thing("v1", "ServiceAccount", namespace, name, **rest)


def bound(
    grant: str,
    *subjects: str,
    role: str = f"ClusterRole/{ROLE}",
    name: str = "",
    namespace: str = TARGET,
) -> Object:
    subjects = subjects or (f"ServiceAccount/{GRANTS}/{grant}",)
    return binding("RoleBinding", namespace, name or f"taskpass-{grant}-0", role, *subjects)


def token_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"


def token_request(*audiences: str, **spec: Object) -> Object:
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": list(audiences), "expirationSeconds": 600, **spec},
    }


# The operator


def test_the_operator_makes_and_takes_back_a_grant(taskpass: Api, grant: str) -> None:
    taskpass.create(account(grant))
    taskpass.create(bound(grant))
    token = taskpass.call("POST", token_path(GRANTS, grant), token_request())

    taskpass.delete(bound(grant))
    taskpass.delete(account(grant))

    assert token["status"]["token"]


@pytest.mark.parametrize(
    ("subjects", "rest", "message"),
    [
        pytest.param(("Group/system:authenticated",), {}, "with one subject", id="everybody"),
        pytest.param(("User/mallory",), {}, "with one subject", id="a user"),
        pytest.param(
            (f"ServiceAccount/{TENANT}/triage-agent",),
            {},
            "with one subject",
            id="a ServiceAccount elsewhere",
        ),
        pytest.param(
            (f"ServiceAccount/{GRANTS}/g-other",),
            {},
            "of the same grant",
            id="another grant's ServiceAccount",
        ),
        pytest.param(("", "User/mallory"), {}, "with one subject", id="the right one and a user"),
        pytest.param((), {"name": "view"}, "named taskpass-g-", id="another name"),
        pytest.param(
            (),
            {"role": "ClusterRole/view"},
            "cannot|not currently held|targets|forbidden",
            id="a role that is not listed",
        ),
        pytest.param(
            (), {"namespace": TENANT}, "cannot create resource", id="a namespace that is no target"
        ),
    ],
)
def test_the_operator_binds_nothing_else(
    taskpass: Api, grant: str, subjects: tuple[str, ...], rest: dict[str, str], message: str
) -> None:
    subjects = tuple(s or f"ServiceAccount/{GRANTS}/{grant}" for s in subjects)

    with pytest.raises(Refused, match=message):
        taskpass.create(bound(grant, *subjects, **rest))


def test_a_role_that_is_not_listed_is_refused_by_the_policy_even_if_rbac_allowed_it(
    api: Api, taskpass: Api, grant: str
) -> None:
    extra = thing(
        f"{RBAC}/v1",
        "Role",
        TARGET,
        "extra",
        rules=[{"apiGroups": [RBAC], "resources": ["clusterroles"], "verbs": ["bind"]}],
    )
    given = binding(
        "RoleBinding", TARGET, "extra", "Role/extra", f"ServiceAccount/{SYSTEM}/taskpass"
    )
    api.create(extra)
    api.create(given)

    try:
        with pytest.raises(
            Refused, match="must bind a role that the chart's value `targets` lists"
        ):
            _until_rbac_lets_pass(taskpass, bound(grant, role="ClusterRole/view"))
    finally:
        api.delete(given)
        api.delete(extra)


def _until_rbac_lets_pass(taskpass: Api, body: Object) -> None:
    for _ in range(100):
        try:
            taskpass.create(body)
        except Refused as refused:
            if "attempting to grant RBAC permissions not currently held" not in refused.message:
                raise


def test_the_operator_deletes_no_binding_of_others(api: Api, taskpass: Api) -> None:
    others = binding("RoleBinding", TARGET, "others", "ClusterRole/view", "User/carol")
    api.create(others)

    try:
        with pytest.raises(Refused, match="named taskpass-g-"):
            taskpass.delete(others)
    finally:
        api.delete(others)


@pytest.mark.parametrize("name", ["default", "g-short", "mine"])
def test_the_operator_makes_no_other_service_account(taskpass: Api, name: str) -> None:
    with pytest.raises(Refused, match="must write ServiceAccounts named g-"):
        taskpass.create(account(name))


def test_the_operator_asks_for_no_other_token(taskpass: Api) -> None:
    with pytest.raises(Refused, match="for a grant"):
        taskpass.call("POST", token_path(GRANTS, "default"), token_request())


# Everybody else


@pytest.mark.parametrize(
    "subject",
    [
        "ServiceAccount/{grants}/{grant}",
        "User/system:serviceaccount:{grants}:{grant}",
        "Group/system:serviceaccounts:{grants}",
    ],
)
@pytest.mark.parametrize("kind", ["RoleBinding", "ClusterRoleBinding"])
def test_nobody_gives_a_grant_more_rights(api: Api, grant: str, kind: str, subject: str) -> None:
    more = binding(
        kind,
        TARGET if kind == "RoleBinding" else "",
        "more",
        "ClusterRole/view",
        subject.format(grants=GRANTS, grant=grant),
    )

    with pytest.raises(Refused, match="must be given by taskpass only"):
        api.create(more)


def test_nobody_adds_a_grant_to_a_binding_that_is_there(api: Api, grant: str) -> None:
    others = binding("RoleBinding", TARGET, "others", "ClusterRole/view", "User/carol")
    api.create(others)

    try:
        with pytest.raises(Refused, match="must be given by taskpass only"):
            api.merge(others, {"subjects": bound(grant)["subjects"]})
        assert (
            api.merge(others, {"subjects": [{"kind": "User", "apiGroup": RBAC, "name": "dave"}]})[
                "subjects"
            ][0]["name"]
            == "dave"
        )
    finally:
        api.delete(others)


def test_nobody_binds_under_our_name(api: Api, grant: str) -> None:
    with pytest.raises(Refused, match="must not begin with 'taskpass-g-'"):
        api.create(bound(grant, "User/mallory"))


def test_nobody_changes_our_binding(api: Api, taskpass: Api, grant: str) -> None:
    taskpass.create(account(grant))
    made = taskpass.create(bound(grant))

    with pytest.raises(Refused, match=r"must be given by taskpass only|must not begin with"):
        api.merge(made, {"subjects": [{"kind": "User", "apiGroup": RBAC, "name": "mallory"}]})


def test_the_garbage_collector_may_change_owners_of_our_binding(
    api: Api, taskpass: Api, grant: str
) -> None:
    taskpass.create(account(grant))
    made = taskpass.create(bound(grant))
    collector = api.as_user(
        "system:serviceaccount:kube-system:generic-garbage-collector", "system:masters"
    )

    assert (
        collector.merge(made, {"metadata": {"ownerReferences": None}})["metadata"]["name"]
        == made["metadata"]["name"]
    )


def test_nobody_takes_a_grants_identity(api: Api, taskpass: Api, grant: str) -> None:
    taskpass.create(account(grant))
    runs_as = {**pod("thief", labelled=False, spec={"serviceAccountName": grant})}
    runs_as["metadata"]["namespace"] = GRANTS
    legacy = secret(
        "thief",
        namespace=GRANTS,
        type="kubernetes.io/service-account-token",
        annotations={"kubernetes.io/service-account.name": grant},
    )

    for stolen in (runs_as, legacy):
        with pytest.raises(
            Refused, match=r"pods and Secrets must not be created in taskpass-grants|PodSecurity"
        ):
            api.create(stolen)
    with pytest.raises(Refused, match="must be asked for by taskpass, for a grant"):
        api.call("POST", token_path(GRANTS, grant), token_request())


def test_nobody_makes_or_changes_a_service_account_there(
    api: Api, taskpass: Api, grant: str
) -> None:
    with pytest.raises(Refused, match="must be made and changed by taskpass only"):
        api.create(account(grant))
    made = taskpass.create(account(grant))
    with pytest.raises(Refused, match="must be made and changed by taskpass only"):
        api.merge(made, {"metadata": {"labels": {"taskpass.dev/grant": "another"}}})


def test_who_may_delete_a_grant_is_rbacs(api: Api, taskpass: Api, grant: str) -> None:
    taskpass.create(account(grant))
    taskpass.create(bound(grant))

    api.delete(bound(grant))
    api.delete(account(grant))

    assert not api.exists(account(grant))


# Identity tokens


def test_nobody_but_a_node_asks_for_our_audience(api: Api, alice: Api, name: str) -> None:
    made = alice.create(pod(name))
    reference = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": made["metadata"]["uid"]}

    for anybody in (alice, api):
        with pytest.raises(Refused, match="must be asked for by a node"):
            anybody.call(
                "POST",
                token_path(TENANT, "triage-agent"),
                token_request("vault", "taskpass", boundObjectRef=reference),
            )


def test_other_audiences_are_nobodys_business(alice: Api) -> None:
    token = alice.call("POST", token_path(TENANT, "triage-agent"), token_request("vault"))

    assert token["status"]["token"]


def test_a_node_asks_for_its_pods_token(api: Api, alice: Api, taskpass: Api, name: str) -> None:
    made = alice.create(pod(name))
    taskpass.patch(made, [{"op": "remove", "path": "/spec/schedulingGates"}])
    api.call(
        "POST",
        f"/api/v1/namespaces/{TENANT}/pods/{name}/binding",
        thing("v1", "Binding", TENANT, name, target={"kind": "Node", "name": "node1"}),
    )
    reference = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": made["metadata"]["uid"]}
    kubelet = api.as_user("system:node:node1", "system:nodes")

    body = token_request("taskpass", boundObjectRef=reference)

    def asked() -> str:
        try:
            answer = kubelet.call("POST", token_path(TENANT, "triage-agent"), body)
        except Refused as refused:
            # The API server learns of the binding by watching, and so a little later.
            if "no relationship found" in refused.message:
                return ""
            raise
        return str(answer["status"]["token"])

    assert wait_for(asked, 10)
