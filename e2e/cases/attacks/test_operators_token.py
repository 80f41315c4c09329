"""Somebody has the operator's token: what it does not open, call by call.

RBAC and admission refuse, not the operator's code: there is none here. What is left to a thief is
what the operator is for, and docs/threat-model.md says it.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from e2e.admission import GRANTS, RBAC, ROLE, SYSTEM, TARGET, TENANT, pod, remove, secret, task
from e2e.impersonate import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, Api, Object, Refused, thing
from e2e.stage import credential_class

CORE = "/api/v1/namespaces"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
ROLES = f"/apis/{RBAC}/v1"
TOKEN_REQUEST = {
    "apiVersion": "authentication.k8s.io/v1",
    "kind": "TokenRequest",
    "spec": {"expirationSeconds": 600},
}


@pytest.fixture
def theirs(api: Api, name: str) -> Iterator[str]:
    """Return the path of a Secret of the tenant's own."""
    made = api.create(secret(f"own-{name}", type="Opaque"))
    yield f"{CORE}/{TENANT}/secrets/own-{name}"
    remove(api, made)


@pytest.fixture
def its_class(api: Api, name: str) -> Iterator[Object]:
    """A class; nobody holds anything of it."""
    yield api.create(credential_class(name, namespaceSelector=None))
    remove(api, credential_class(name))


def opaque(**rest: Any) -> Object:
    return thing("v1", "Secret", TENANT, "x", **rest)


@pytest.mark.parametrize("dry", [{}, {"dryRun": "All"}], ids=["really", "as a dry run"])
@pytest.mark.parametrize(
    ("method", "content", "body"),
    [
        pytest.param("GET", "", None, id="get"),
        pytest.param("DELETE", "", None, id="delete"),
        pytest.param("DELETE", "?", None, id="delete that answers with the object"),
        pytest.param("PATCH", MERGE_PATCH, {"metadata": {"labels": {"a": "b"}}}, id="merge patch"),
        pytest.param("PATCH", JSON_PATCH, [], id="a JSON patch of nothing"),
        pytest.param(
            "PATCH", "application/strategic-merge-patch+json", {}, id="a strategic patch of nothing"
        ),
        pytest.param("PUT", "application/json", {"type": "Opaque"}, id="update"),
        pytest.param(
            "PUT", "application/json", {"type": "taskpass.dev/credentials"}, id="update to our type"
        ),
    ],
)
def test_a_tenants_secret_is_not_read_by_any_verb_of_one_object(
    thief: Api, theirs: str, method: str, content: str, body: Any, dry: dict[str, str]
) -> None:
    if method == "PUT":
        body = {**opaque(), **body, "metadata": {"name": theirs.rpartition("/")[2]}}
    query = {} if method == "GET" else dry
    if content == "?":
        query, content = {**dry, "propagationPolicy": "Foreground"}, ""

    with pytest.raises(Refused) as refused:
        thief.call(method, theirs, body, content=content or "application/json", **query)

    # A Secret's type is immutable: that is said before admission is asked.
    assert refused.value.status == 403 or "type: Invalid value" in refused.value.message
    assert base64.b64encode(b"x").decode() not in refused.value.message


def test_a_tenants_secret_is_not_read_by_applying_to_it(thief: Api, theirs: str) -> None:
    applied = opaque()
    applied["metadata"]["name"] = theirs.rpartition("/")[2]

    with pytest.raises(Refused, match="cannot patch resource"):
        thief.call(
            "PATCH", theirs, applied, content=APPLY_PATCH, fieldManager="taskpass", force="true"
        )


@pytest.mark.parametrize(
    ("method", "query", "said"),
    [
        pytest.param("GET", {}, "cannot list resource", id="list"),
        pytest.param("GET", {"watch": "true"}, "cannot watch resource", id="watch"),
        pytest.param(
            "GET",
            {"watch": "true", "fieldSelector": "metadata.name%3Dx"},
            "cannot watch resource",
            id="watch of one",
        ),
        pytest.param("DELETE", {}, "cannot deletecollection resource", id="deletecollection"),
        pytest.param(
            "DELETE",
            {"dryRun": "All"},
            "cannot deletecollection resource",
            id="deletecollection as a dry run",
        ),
    ],
)
@pytest.mark.parametrize("where", [TENANT, SYSTEM, "kube-system"])
def test_secrets_are_not_read_by_any_verb_of_many(
    thief: Api, method: str, query: dict[str, str], said: str, where: str
) -> None:
    with pytest.raises(Refused, match=said):
        thief.call(method, f"{CORE}/{where}/secrets", **query)


@pytest.mark.parametrize("query", [{}, {"watch": "true"}], ids=["list", "watch"])
def test_the_secrets_of_the_whole_cluster_are_not_read(thief: Api, query: dict[str, str]) -> None:
    with pytest.raises(Refused, match=r"cannot (list|watch) resource"):
        thief.call("GET", "/api/v1/secrets", **query)


@pytest.mark.parametrize("where", ["kube-system", "default", TARGET, GRANTS])
def test_no_secret_is_written_where_no_tenant_is(thief: Api, where: str) -> None:
    body = secret("taskpass-x", namespace=where)

    with pytest.raises(Refused, match="cannot create resource"):
        thief.create(body, dryRun="All")


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        pytest.param("admin", ("system:masters",), id="the administrator"),
        pytest.param("alice", (), id="a tenant"),
        pytest.param("system:serviceaccount:support:triage-agent", (), id="an agent"),
        pytest.param(
            "system:serviceaccount:kube-system:generic-garbage-collector", (), id="a controller"
        ),
        pytest.param("system:node:node1", ("system:nodes",), id="a node"),
    ],
)
def test_nobody_is_impersonated(thief: Api, user: str, groups: tuple[str, ...]) -> None:
    with pytest.raises(Refused, match="cannot impersonate") as refused:
        thief.as_user(user, *groups).call("GET", f"{CORE}/{TENANT}/secrets")

    assert refused.value.status == 403


@dataclass(frozen=True)
class Try:
    """One call that must be refused by RBAC, and in these words."""

    method: str
    path: str
    body: Any = None
    content: str = "application/json"
    query: dict[str, str] = field(default_factory=lambda: {"dryRun": "All"})


def _named(kind: str, version: str = "v1", **rest: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, **rest}


REF = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"}
BINDING = _named("RoleBinding", f"{RBAC}/v1", roleRef=REF)
CSR = _named(
    "CertificateSigningRequest",
    "certificates.k8s.io/v1",
    spec={"request": "eA==", "signerName": "kubernetes.io/kube-apiserver-client", "usages": []},
)
LABELS = {"metadata": {"labels": {"a": "b"}}}
NONE: dict[str, str] = {}
TRIES = {
    "a certificate": Try("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests", CSR),
    "its approval": Try(
        "PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/x/approval", CSR
    ),
    "a token of a tenant's ServiceAccount": Try(
        "POST", f"{CORE}/{TENANT}/serviceaccounts/triage-agent/token", TOKEN_REQUEST
    ),
    "a token of a controller": Try(
        "POST", f"{CORE}/kube-system/serviceaccounts/namespace-controller/token", TOKEN_REQUEST
    ),
    "another token of its own": Try(
        "POST", f"{CORE}/{SYSTEM}/serviceaccounts/taskpass/token", TOKEN_REQUEST
    ),
    "a ServiceAccount elsewhere": Try(
        "POST", f"{CORE}/{TENANT}/serviceaccounts", _named("ServiceAccount")
    ),
    "a change of a ServiceAccount": Try(
        "PATCH", f"{CORE}/{TENANT}/serviceaccounts/triage-agent", LABELS, MERGE_PATCH
    ),
    "a binding in a tenant's namespace": Try(
        "POST", f"{ROLES}/namespaces/{TENANT}/rolebindings", BINDING
    ),
    "a binding in the whole cluster": Try(
        "POST", f"{ROLES}/clusterrolebindings", {**BINDING, "kind": "ClusterRoleBinding"}
    ),
    "a change of its own binding": Try(
        "PATCH", f"{ROLES}/clusterrolebindings/taskpass-operator", LABELS, MERGE_PATCH
    ),
    "a change of a binding in a target": Try(
        "PATCH", f"{ROLES}/namespaces/{TARGET}/rolebindings/taskpass-target", LABELS, MERGE_PATCH
    ),
    "a replacement of a binding in a target": Try(
        "PUT", f"{ROLES}/namespaces/{TARGET}/rolebindings/x", BINDING
    ),
    "all bindings of a target gone": Try("DELETE", f"{ROLES}/namespaces/{TARGET}/rolebindings"),
    "a wider role": Try("PATCH", f"{ROLES}/clusterroles/{ROLE}", LABELS, MERGE_PATCH),
    "a wider role of its own": Try(
        "PATCH", f"{ROLES}/clusterroles/taskpass-operator", LABELS, MERGE_PATCH
    ),
    "another role": Try("POST", f"{ROLES}/clusterroles", _named("ClusterRole", f"{RBAC}/v1")),
    "the policy that holds it to its Secrets gone": Try(
        "DELETE", f"{ADMISSION}/validatingadmissionpolicies/taskpass-operator-secrets"
    ),
    "that policy's binding gone": Try(
        "DELETE", f"{ADMISSION}/validatingadmissionpolicybindings/taskpass-operator-secrets"
    ),
    "that policy weakened": Try(
        "PATCH",
        f"{ADMISSION}/validatingadmissionpolicies/taskpass-operator-secrets",
        {"spec": {"failurePolicy": "Ignore"}},
        MERGE_PATCH,
    ),
    "a webhook of its own": Try(
        "POST",
        f"{ADMISSION}/mutatingwebhookconfigurations",
        _named("MutatingWebhookConfiguration", "admissionregistration.k8s.io/v1"),
    ),
    "another schema of our kinds": Try(
        "PATCH",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/agenttasks.taskpass.dev",
        LABELS,
        MERGE_PATCH,
    ),
    "a pod": Try("POST", f"{CORE}/{TENANT}/pods", pod("x")),
    "a pod where grants live": Try("POST", f"{CORE}/{GRANTS}/pods", _named("Pod")),
    "a pod beside itself": Try("POST", f"{CORE}/{SYSTEM}/pods", _named("Pod")),
    "a deployment": Try(
        "POST", f"/apis/apps/v1/namespaces/{TENANT}/deployments", _named("Deployment", "apps/v1")
    ),
    "its own deployment": Try(
        "PATCH", f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/taskpass", LABELS, MERGE_PATCH
    ),
    "a shell in a pod": Try("GET", f"{CORE}/{TENANT}/pods/x/exec", query={"command": "sh"}),
    "a port of a pod": Try("GET", f"{CORE}/{TENANT}/pods/x/portforward", query={"ports": "80"}),
    "a pod's web server": Try("GET", f"{CORE}/{TENANT}/pods/x/proxy", query=NONE),
    "a pod's log": Try("GET", f"{CORE}/{TENANT}/pods/x/log", query=NONE),
    "a pod gone": Try("DELETE", f"{CORE}/{TENANT}/pods/x"),
    "a pod evicted": Try(
        "POST", f"{CORE}/{TENANT}/pods/x/eviction", _named("Eviction", "policy/v1")
    ),
    "a debug container": Try(
        "PATCH", f"{CORE}/{TENANT}/pods/x/ephemeralcontainers", {"spec": {}}, MERGE_PATCH
    ),
    "a pod resized": Try("PATCH", f"{CORE}/{TENANT}/pods/x/resize", {"spec": {}}, MERGE_PATCH),
    "a pod's status": Try(
        "PATCH", f"{CORE}/{TENANT}/pods/x/status", {"status": {"phase": "Failed"}}, MERGE_PATCH
    ),
    "a pod put on a node": Try("POST", f"{CORE}/{TENANT}/pods/x/binding", _named("Binding")),
    "a node's kubelet": Try("GET", "/api/v1/nodes/node1/proxy/pods", query=NONE),
    "nodes": Try("GET", "/api/v1/nodes", query=NONE),
    "a service's web server": Try("GET", f"{CORE}/{SYSTEM}/services/taskpass/proxy", query=NONE),
    "an approval": Try(
        "POST",
        f"/apis/taskpass.dev/v1alpha1/namespaces/{TENANT}/taskapprovals",
        _named("TaskApproval", "taskpass.dev/v1alpha1"),
    ),
    "a template of its own": Try(
        "POST",
        f"/apis/taskpass.dev/v1alpha1/namespaces/{TENANT}/agenttasktemplates",
        _named("AgentTaskTemplate", "taskpass.dev/v1alpha1"),
    ),
    "all tasks gone": Try("DELETE", f"/apis/taskpass.dev/v1alpha1/namespaces/{TENANT}/agenttasks"),
    "a policy of its own": Try(
        "POST",
        f"/apis/taskpass.dev/v1alpha1/namespaces/{TENANT}/agentpolicies",
        _named("AgentPolicy", "taskpass.dev/v1alpha1", spec={"effect": "Deny"}),
    ),
    "a class gone": Try("DELETE", "/apis/taskpass.dev/v1alpha1/credentialclasses/tickets"),
    "a namespace": Try("POST", "/api/v1/namespaces", _named("Namespace")),
    "a namespace gone": Try("DELETE", f"/api/v1/namespaces/{TENANT}"),
    "another label of a namespace": Try("PATCH", f"{CORE}/{TENANT}", LABELS, MERGE_PATCH),
    "configuration at home": Try("POST", f"{CORE}/{SYSTEM}/configmaps", _named("ConfigMap")),
    "Events gone": Try("DELETE", f"/apis/events.k8s.io/v1/namespaces/{TENANT}/events"),
    "metrics of the API server": Try("GET", "/metrics", query=NONE),
}


@pytest.mark.parametrize("call", TRIES.values(), ids=TRIES)
def test_rbac_refuses_it(thief: Api, call: Try) -> None:
    with pytest.raises(Refused, match=r"cannot \w+ (resource|path)") as refused:
        thief.call(call.method, call.path, call.body, content=call.content, **call.query)

    assert refused.value.status == 403


# What RBAC lets pass, and admission does not.


@pytest.mark.parametrize("claims", [{}, {"templateRef": {"name": "x", "uid": "0"}}], ids=str)
def test_it_makes_no_task_but_a_jobs(thief: Api, claims: Object) -> None:
    with pytest.raises(Refused, match="make none but from a template, for a Job"):
        thief.create(task("x", **claims))


def test_it_binds_nobody_but_a_grant_though_it_may_bind_the_role(thief: Api) -> None:
    grant = f"g-{uuid4().hex}"
    everybody = [{"kind": "Group", "apiGroup": RBAC, "name": "system:authenticated"}]
    body = {
        **_named("RoleBinding", f"{RBAC}/v1", subjects=everybody),
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": ROLE},
    }
    body["metadata"] = {"name": f"taskpass-{grant}-0", "namespace": TARGET}

    with pytest.raises(Refused, match="taskpass-operator-grants"):
        thief.create(body)


def test_a_binding_of_others_is_not_read_by_a_dry_run_of_its_deletion(thief: Api) -> None:
    path = f"{ROLES}/namespaces/{TARGET}/rolebindings/taskpass-target"

    with pytest.raises(Refused, match="taskpass-operator-grants"):
        thief.call("DELETE", path, dryRun="All")


def test_a_grants_token_for_the_audience_of_agents_is_not_to_be_had(thief: Api) -> None:
    grant = f"g-{uuid4().hex}"
    account = thing("v1", "ServiceAccount", GRANTS, grant, labels={"taskpass.dev/grant": grant})
    thief.create(account)
    body = {**TOKEN_REQUEST, "spec": {"audiences": ["taskpass"], "expirationSeconds": 600}}

    try:
        # Two policies refuse it; the API server tells of either.
        with pytest.raises(Refused, match=r"asked for by a node|must be for the API server"):
            thief.call("POST", f"{CORE}/{GRANTS}/serviceaccounts/{grant}/token", body)
    finally:
        thief.delete(account)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([{"op": "add", "path": "/metadata/labels", "value": {}}], id="labels"),
        pytest.param(
            [{"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}], id="annotations"
        ),
        pytest.param(
            [{"op": "add", "path": "/spec/tolerations/-", "value": {"operator": "Exists"}}],
            id="where it may run",
        ),
    ],
)
def test_a_foreign_pod_is_not_touched(
    thief: Api, alice: Api, name: str, steps: list[Object]
) -> None:
    made = alice.create(pod(name, labelled=False, labels={"app": "theirs"}))

    with pytest.raises(Refused, match="must change pods with the label"):
        thief.patch(made, steps)


@pytest.mark.parametrize(
    "wider",
    [
        pytest.param({"sponsor": "me"}, id="the sponsor"),
        pytest.param({"credentials": [{"name": "more"}]}, id="a request"),
        pytest.param({"activeDeadlineSeconds": 86400}, id="the deadline"),
    ],
)
def test_a_tasks_spec_is_not_changed_by_applying_it(
    thief: Api, alice: Api, name: str, wider: Object
) -> None:
    made = alice.create(task(name))
    applied = thing("taskpass.dev/v1alpha1", "AgentTask", TENANT, name, spec=wider)

    with pytest.raises(Refused, match=r"must change nothing of an AgentTask|invalid"):
        thief.apply(applied, fieldManager="taskpass")

    assert alice.get("AgentTask", TENANT, name)["spec"] == made["spec"]


@pytest.mark.parametrize(
    "wider",
    [
        pytest.param({"spec": {"maxExpirationSeconds": 7200}}, id="what it gives"),
        pytest.param({"spec": {"namespaceSelector": {}}}, id="whom it is for"),
        pytest.param({"metadata": {"labels": {"a": "b"}}}, id="its labels"),
        pytest.param({"metadata": {"finalizers": ["example.com/a"]}}, id="finalizers of others"),
    ],
)
def test_a_class_is_not_changed(thief: Api, its_class: Object, wider: Object) -> None:
    with pytest.raises(Refused, match=r"must change nothing of a CredentialClass|not a valid"):
        thief.merge(its_class, wider)


def test_no_class_is_made_by_applying_it(thief: Api, name: str) -> None:
    with pytest.raises(Refused, match=r"cannot create|must change nothing of a CredentialClass"):
        thief.apply(credential_class(name), fieldManager="taskpass")


def test_whose_a_task_is_is_not_changed_by_applying_it(thief: Api, alice: Api, name: str) -> None:
    made = alice.create(task(name))
    forged = {"requester": {"username": "me"}, "changedBy": {"username": "me"}}
    applied = thing("taskpass.dev/v1alpha1", "AgentTask", TENANT, name, spec=forged)

    after = thief.apply(applied, fieldManager="taskpass")

    assert after["spec"] == made["spec"]
