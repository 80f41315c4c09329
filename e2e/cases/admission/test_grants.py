"""What the provider Kubernetes makes: the operator is held to it, and nobody else touches it."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from e2e.admission import (
    AUDIENCE,
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
from e2e.as_operator import without
from e2e.impersonate import Api, Object, Refused, thing

GRANT = "taskpass.dev/grant"


@pytest.fixture
def grant(api: Api) -> Iterator[str]:
    """The name of a grant's ServiceAccount; what is left of it is removed."""
    chosen = f"g-{uuid4().hex}"
    yield chosen
    remove(api, bound(chosen))
    remove(api, account(chosen))


def account(name: str, namespace: str = GRANTS, **rest: Any) -> Object:
    return thing("v1", "ServiceAccount", namespace, name, **{"labels": {GRANT: name}, **rest})


def bound(
    grant: str,
    *subjects: str,
    role: str = f"ClusterRole/{ROLE}",
    name: str = "",
    namespace: str = TARGET,
) -> Object:
    subjects = subjects or (f"ServiceAccount/{GRANTS}/{grant}",)
    made = binding("RoleBinding", namespace, name or f"taskpass-{grant}-0", role, *subjects)
    made["metadata"]["labels"] = {GRANT: grant}
    return made


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


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"labels": {}}, id="no label"),
        pytest.param({"labels": {GRANT: "g-" + 32 * "f"}}, id="another grant's label"),
        pytest.param({"finalizers": ["example.com/keep"]}, id="a finalizer"),
        pytest.param(
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]},
            id="an owner",
        ),
    ],
)
def test_what_the_operator_makes_of_a_grant_has_its_label_and_nothing_that_keeps_it(
    taskpass: Api, grant: str, metadata: Object
) -> None:
    for made in (account(grant), bound(grant)):
        made["metadata"] |= metadata
        with pytest.raises(Refused, match=r"must have the label taskpass\.dev/grant"):
            taskpass.create(made)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param({"expirationSeconds": 86401}, "must live at most 86400 s", id="a day and 1 s"),
        pytest.param({"expirationSeconds": 31536000}, "must live at most 86400 s", id="a year"),
        pytest.param({"audiences": ["vault"]}, "'vault' is not listed", id="another audience"),
        pytest.param(
            {"audiences": [AUDIENCE, "vault"]}, "'vault' is not listed", id="and a listed one"
        ),
    ],
)
def test_a_grants_token_lives_no_longer_and_opens_nothing_else_than_the_values_say(
    taskpass: Api, grant: str, spec: Object, message: str
) -> None:
    taskpass.create(account(grant))

    # What the client says of its request itself is replaced.
    asked = token_request(**{"audiences": [], **spec}) | {
        "metadata": {"annotations": {"taskpass.dev/audiences": "default"}}
    }
    with pytest.raises(Refused, match=message):
        taskpass.call("POST", token_path(GRANTS, grant), asked)


def test_a_grants_token_may_live_a_day_and_have_a_listed_audience(
    taskpass: Api, grant: str
) -> None:
    taskpass.create(account(grant))

    nothing = {**token_request(), "spec": {"expirationSeconds": 600}}
    for asked in (nothing, token_request(expirationSeconds=86400), token_request(AUDIENCE)):
        token = taskpass.call("POST", token_path(GRANTS, grant), asked)
        assert token["status"]["token"]


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
            Refused,
            match=r"pods and Secrets must not be created, and .* taskpass-grants|PodSecurity",
        ):
            api.create(stolen)
    with pytest.raises(Refused, match="must be asked for by taskpass, for a grant"):
        api.call("POST", token_path(GRANTS, grant), token_request())


def test_a_secret_from_before_the_installation_does_not_become_a_grants(
    api: Api, taskpass: Api, grant: str
) -> None:
    """The API server fills one of this type with a token of whom its annotation names."""
    key = "kubernetes.io/service-account.name"
    old = secret(
        "old",
        namespace=GRANTS,
        type="kubernetes.io/service-account-token",
        annotations={key: "default"},
    )
    taskpass.create(account(grant))
    with without(api, "validatingadmissionpolicybindings", "taskpass-grants-namespace"):
        wait_for(lambda: _let_pass(api, old), 20)

    try:
        said = wait_for(lambda: _refusal(api, old, {"metadata": {"annotations": {key: grant}}}), 20)
    finally:
        api.delete(old)

    assert "Secrets not be changed" in said


def _refusal(api: Api, each: Object, patch: Object) -> str | None:
    """Return what refuses it; None where it is let pass."""
    try:
        api.merge(each, patch, dryRun="All")
    except Refused as refused:
        return refused.message
    return None  # a policy counts a moment after it is there


def _let_pass(api: Api, each: Object) -> bool:
    try:
        api.create(each)
    except Refused as refused:
        if "taskpass-grants-namespace" not in refused.message:
            raise
        return False  # a policy counts for a moment longer
    return True


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
