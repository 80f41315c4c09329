"""What the doctor says of a cluster where all is well, and of one where much is broken at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.admission import GRANTS, RBAC, SYSTEM, TARGET, TENANT, binding, cluster_role
from e2e.cases.doctor.conftest import LEVEL, TENANTS_NAMESPACE, Told, examine, one
from e2e.impersonate import MERGE_PATCH, Api, Object, path_of, thing
from e2e.operator_process import OperatorProcess
from e2e.stage import credential_class, until

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/taskpass"
KEY = thing("v1", "Secret", SYSTEM, "taskpass-signing-key")
BROKEN_CLASSES = {"absent": "no-such-role", "unlisted": "view"}
KEPT = ("name", "namespace", "labels", "annotations")


@dataclass(frozen=True)
class Look:
    """One look at a cluster where all is well, and what was there before and afterwards."""

    before: set[str]
    replay: Told
    after: set[str]


@pytest.fixture(scope="module")
def look(api: Api, operator: OperatorProcess, kubeconfig: str) -> Look:
    operator.wait_ready()
    before = _names(api)
    told = examine(kubeconfig, "--operator", f"127.0.0.1:{operator.port}")
    return Look(before, told, _names(api))


def _names(api: Api) -> set[str]:
    kinds = (("Secret", SYSTEM), ("Secret", TENANT), ("RoleBinding", TARGET),
             ("ServiceAccount", GRANTS))  # fmt: skip
    return {
        f"{kind} {item['metadata']['name']}"
        for kind, namespace in kinds
        for item in api.call("GET", path_of(kind, namespace))["items"]
    }


@pytest.fixture(scope="module")
def well(look: Look) -> Told:
    return look.replay


def test_it_changes_nothing(look: Look) -> None:
    assert look.before == look.after
    assert "Secret taskpass-signing-key" in look.before


def test_where_all_is_well_nothing_is_to_be_done(well: Told) -> None:
    # On a cluster that was kept, cases before may have put policies back in their own name.
    others = [x for x in well.lines if x["about"] not in ("ledger volume", "policies")]

    assert [line for line in others if line["level"] != "ok"] == []
    assert [line for line in others if line["remedy"]] == []
    assert {line["about"] for line in others} == {
        "kubernetes",
        "clock",
        "crds",
        "limits",
        "namespaces",
        "pod security",
        "classes",
        "grants",
        "signing key",
        "operator",
        *(f"rights in {n}" for n in ("default", SYSTEM, GRANTS, TENANT, TARGET)),
    }


def test_it_ends_with_0_where_nothing_failed(well: Told) -> None:
    [volume] = well.about("ledger volume")

    assert volume["what"].startswith("PersistentVolumeClaim 'taskpass-ledger' is Bound")
    assert (well.code, well.error) == (0, "")


@pytest.fixture(scope="module")
def broken(well: Told, api: Api, operator: OperatorProcess, kubeconfig: str) -> Iterator[Told]:
    """Break much, examine once, and mend it."""
    put_back: list[tuple[str, str, Object]] = []
    policy = f"{ADMISSION}/validatingadmissionpolicies/taskpass-operator-pods"
    put_back.append(("POST", policy.rpartition("/")[0], _kept(api.call("GET", policy))))
    edited = f"{ADMISSION}/validatingadmissionpolicybindings/taskpass-use"
    put_back.append(("PATCH", edited, {"spec": {"matchResources": None}}))
    role = f"/apis/{RBAC}/v1/clusterroles/taskpass-tenant"
    rules = api.call("GET", role)["rules"]
    put_back.append(("PATCH", role, {"rules": rules}))
    pod = api.call("GET", DEPLOYMENT)["spec"]["template"]["spec"]
    put_back.append(("PATCH", DEPLOYMENT, _with(pod)))
    key = _kept(api.get("Secret", SYSTEM, "taskpass-signing-key"))
    put_back.append(("POST", f"/api/v1/namespaces/{SYSTEM}/secrets", key))
    extra = cluster_role("doctor-extra", {
        "apiGroups": [""], "resources": ["nodes"], "verbs": ["list"],
    })  # fmt: skip
    bound = binding(
        "ClusterRoleBinding", "", "doctor-extra", "ClusterRole/doctor-extra",
        f"ServiceAccount/{SYSTEM}/taskpass",
    )  # fmt: skip
    made = [extra, bound, *(credential_class(n, role) for n, role in BROKEN_CLASSES.items())]
    for each in made:
        api.apply(each)
    api.call("DELETE", policy)
    api.call("PATCH", edited, {"spec": {"matchResources": {"matchPolicy": "Exact"}}},
             content=MERGE_PATCH, fieldManager="kubectl-edit")  # fmt: skip
    less = [{**r, "verbs": [v for v in r["verbs"] if v != "patch"]} for r in rules]
    api.call("PATCH", role, {"rules": less}, content=MERGE_PATCH)
    api.call("PATCH", DEPLOYMENT, _with(_confused(pod)), content=MERGE_PATCH)
    api.delete(KEY)
    try:
        until(lambda: operator.http("/readyz")[0] == 503)
        yield examine(kubeconfig, "--operator", f"127.0.0.1:{operator.port}")
    finally:
        for verb, path, body in put_back:
            api.call(verb, path, body, **({"content": MERGE_PATCH} if verb == "PATCH" else {}))
        for each in reversed(made):
            api.delete(each)
        operator.wait_ready()


def _kept(live: Object) -> Object:
    rest = {k: v for k, v in live.items() if k != "status"}
    return {**rest, "metadata": {k: v for k, v in live["metadata"].items() if k in KEPT}}


def _confused(pod: Object) -> Object:
    """Return the operator's pod with a tenant and a claim that are not there."""
    (container,) = pod["containers"]
    tenants = {"name": "TASKPASS_TENANTS", "value": f'["{TENANT}", "gone"]'}
    env = [tenants if e["name"] == tenants["name"] else e for e in container["env"]]
    claim = {"name": "ledger", "persistentVolumeClaim": {"claimName": "nowhere"}}
    volumes = [claim if v["name"] == "ledger" else v for v in pod["volumes"]]
    return {"containers": [{**container, "env": env}], "volumes": volumes}


def _with(pod: Object) -> Object:
    parts = {key: pod[key] for key in ("containers", "volumes")}
    return {"spec": {"template": {"spec": parts}}}


def test_it_ends_with_1_and_every_line_that_is_not_ok_has_a_remedy(broken: Told) -> None:
    assert broken.code == 1
    assert [x for x in broken.lines if bool(x["remedy"]) == (x["level"] == "ok")] == []


def test_a_volume_whose_claim_is_not_there_fails(broken: Told) -> None:
    line = one(broken, "ledger volume", "failed", "nowhere")

    assert line["what"] == "PersistentVolumeClaim 'nowhere' is not there"
    assert line["remedy"] == f"kubectl -n {SYSTEM} describe pvc nowhere"


def test_a_policy_that_is_missing_fails(broken: Told) -> None:
    line = one(broken, "limits", "failed", "taskpass-operator-pods")

    assert line["what"] == "ValidatingAdmissionPolicy 'taskpass-operator-pods' is missing"
    assert line["remedy"] == "install or upgrade the chart with the same values"


def test_a_binding_that_somebody_edited_is_a_warning_with_their_name(broken: Told) -> None:
    line = one(broken, "policies", "warning", "'taskpass-use'")

    assert "was changed by 'kubectl-edit' at " in line["what"]
    assert line["what"].startswith("ValidatingAdmissionPolicyBinding")


def test_a_right_that_is_missing_fails_where_it_is_missing(broken: Told) -> None:
    line = one(broken, f"rights in {TENANT}", "failed", "may not")

    assert line["what"] == "the operator may not patch pods"


def test_a_right_that_nothing_needs_is_a_warning(broken: Told) -> None:
    line = one(broken, f"rights in {TARGET}", "warning", "nodes")

    assert line["what"] == "the operator may list nodes, which it does not need"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent", "ClusterRole 'no-such-role' may not be bound in namespace 'tickets'"),
        ("unlisted", "ClusterRole 'view' may not be bound in namespace 'tickets'"),
    ],
)
def test_a_class_that_cannot_be_issued_fails_and_says_why(
    broken: Told, name: str, words: str
) -> None:
    assert one(broken, f"class {name}", "failed", words)


def test_a_namespace_of_the_values_that_does_not_exist_fails(broken: Told) -> None:
    line = one(broken, "namespaces", "failed", "gone")

    assert line["what"] == "'gone', which the value `tenants` names, cannot be read (not found)"
    assert line["remedy"] == "make it, or take it off `tenants`"


def test_a_signing_key_that_is_gone_fails(broken: Told) -> None:
    assert one(broken, "signing key", "failed", f"there is no Secret '{KEY['metadata']['name']}'")


def test_the_operator_says_itself_what_it_misses(broken: Told) -> None:
    line = one(broken, "operator", "failed", "it is not ready; limits: ")

    assert "troubleshooting" in line["remedy"]


def test_a_listed_role_that_was_deleted_and_one_that_opens_streams_fail(
    broken: Told, api: Api, kubeconfig: str
) -> None:
    role = api.get("ClusterRole", "", "tickets-reader")
    watches = [{**r, "verbs": ["get", "watch"]} for r in role["rules"]]
    api.merge(cluster_role("tickets-reader"), {"rules": watches})
    try:
        streams = examine(kubeconfig)
        api.delete(cluster_role("tickets-reader"))
        gone = examine(kubeconfig)
    finally:
        api.apply(cluster_role("tickets-reader", *role["rules"]))

    assert one(streams, "class tickets", "failed", "grants the verb 'watch'")
    assert one(gone, "class tickets", "failed", "ClusterRole 'tickets-reader' does not exist")


@pytest.mark.parametrize("level", ["", "privileged"])
def test_an_enrolled_namespace_that_enforces_nothing_is_a_warning(
    api: Api, kubeconfig: str, level: str
) -> None:
    api.merge(TENANTS_NAMESPACE, {"metadata": {"labels": {LEVEL: level or None}}})
    try:
        told = examine(kubeconfig)
    finally:
        api.merge(TENANTS_NAMESPACE, {"metadata": {"labels": {LEVEL: "baseline"}}})

    line = one(told, "pod security", "warning", f"namespace '{TENANT}' enforces no")
    assert line["remedy"].startswith(f"kubectl label namespace {TENANT} {LEVEL}=baseline")


def test_without_an_operator_its_service_has_nobody(api: Api, kubeconfig: str) -> None:
    told = examine(kubeconfig)

    line = one(told, "operator", "failed", "no pod that is ready")
    assert line["remedy"] == f"kubectl -n {SYSTEM} logs deploy/taskpass"


def test_an_operator_that_does_not_answer_fails(api: Api, kubeconfig: str) -> None:
    told = examine(kubeconfig, "--operator", "127.0.0.1:1")

    assert one(told, "operator", "failed", "it does not answer at 127.0.0.1:1")


def test_who_may_not_read_the_deployment_is_told_whose_kubeconfig_it_takes(
    operator: OperatorProcess,
) -> None:
    told = examine(str(operator.directory / "kubeconfig"))

    assert told.code == 2
    assert told.error.startswith("taskpass: The API server answered 403 to get of deployments")
    assert "use a kubeconfig of somebody who may read it and impersonate" in told.error


def test_where_nothing_is_installed_it_says_so(kubeconfig: str) -> None:
    told = examine(kubeconfig, namespace="default")

    assert told.code == 2
    assert told.error.startswith("taskpass: There is no Deployment 'taskpass' in namespace")


def test_an_api_server_that_does_not_answer_ends_with_3(kubeconfig: str, tmp_path: Path) -> None:
    server = Api.from_kubeconfig(kubeconfig).server
    path = tmp_path / "kubeconfig"
    path.write_text(Path(kubeconfig).read_text().replace(server, "https://127.0.0.1:1"))

    told = examine(str(path))

    assert (told.code, told.lines) == (3, ())
    assert told.error.startswith("taskpass: The API server did not answer get of version")
