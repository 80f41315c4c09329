"""Install, upgrade and uninstall, as Helm does them."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from e2e.admission import ROOT, SYSTEM, TARGET, TENANT, operator, prepare, secret, task, wait_for
from e2e.impersonate import Api, Object, Refused


@pytest.fixture
def chart(api: Api, helm: str, kubeconfig: str) -> Iterator[None]:
    """Put the chart back as the other tests need it."""
    yield
    prepare(api, helm, kubeconfig)


def upgrade(helm: str, kubeconfig: str, **values: object) -> str:
    command = [
        helm,
        "upgrade",
        "--install",
        "taskpass",
        str(ROOT / "charts/taskpass"),
        "--namespace",
        SYSTEM,
        "--kubeconfig",
        kubeconfig,
    ]
    done = subprocess.run(
        command + [f"--set-json={k}={json.dumps(v)}" for k, v in values.items()],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.usefixtures("chart")
def test_a_namespace_that_is_taken_off_the_list_keeps_the_right_to_delete(
    api: Api, helm: str, kubeconfig: str, alice: Api, name: str
) -> None:
    made = alice.create(task(name))
    operator(api).create(secret(f"taskpass-{name}", owner=made))

    upgrade(helm, kubeconfig, formerTenants={TENANT: {}}, formerTargets={TARGET: {}})

    with pytest.raises(Refused, match="cannot create resource"):
        operator(api).create(secret(f"taskpass-{name}-x", owner=made))
    operator(api).delete(secret(f"taskpass-{name}"))
    bindings = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{TARGET}/rolebindings"
    assert operator(api).call("GET", bindings)["items"]
    with pytest.raises(Refused, match="cannot list resource"):
        operator(api).call("GET", f"/api/v1/namespaces/{TENANT}/pods")


@pytest.mark.parametrize("left", ["tenants", "targets"])
@pytest.mark.usefixtures("chart")
def test_an_upgrade_that_forgets_a_namespace_is_refused(
    helm: str, kubeconfig: str, left: str
) -> None:
    values: dict[str, object] = {
        "tenants": {TENANT: {}},
        "targets": {TARGET: {"clusterRoles": ["tickets-reader"]}},
    }
    del values[left]

    with pytest.raises(subprocess.CalledProcessError) as refused:
        upgrade(helm, kubeconfig, **values)

    assert (
        f"which leaves {left}: what is owed there could not be taken back" in refused.value.stderr
    )


@pytest.mark.usefixtures("chart")
def test_uninstalling_keeps_tasks_ledger_and_what_is_owed_and_can_be_undone(
    api: Api, helm: str, kubeconfig: str, alice: Api, name: str
) -> None:
    made = alice.create(task(name))

    # Without the hook, whose Job needs a node.
    subprocess.run(
        [
            helm,
            "uninstall",
            "taskpass",
            "--namespace",
            SYSTEM,
            "--kubeconfig",
            kubeconfig,
            "--no-hooks",
            "--wait",
        ],
        check=True,
        capture_output=True,
    )

    assert api.exists(made)
    assert api.call("GET", f"/api/v1/namespaces/{SYSTEM}/persistentvolumeclaims/taskpass-ledger")
    assert api.call("GET", "/api/v1/namespaces/taskpass-grants")["status"]["phase"] == "Active"
    left = api.call("GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies")[
        "items"
    ]
    assert [
        p["metadata"]["name"] for p in left if p["metadata"]["name"].startswith("taskpass")
    ] == []


@pytest.mark.usefixtures("chart")
def test_the_notes_say_the_next_command(helm: str, kubeconfig: str) -> None:
    assert "No namespace is enrolled yet" in upgrade(
        helm, kubeconfig, formerTenants={TENANT: {}}, formerTargets={TARGET: {}}
    )
    assert f"Enrolled namespaces: {TENANT}" in upgrade(
        helm, kubeconfig, tenants={TENANT: {}}, formerTargets={TARGET: {}}
    )


def test_the_api_server_finds_no_fault_with_the_expressions(api: Api) -> None:
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"

    def checked() -> list[Object]:
        items = api.call("GET", path)["items"]
        ours = [i for i in items if i["metadata"]["name"].startswith("taskpass-")]
        done = [i for i in ours if i.get("status", {}).get("observedGeneration")]
        return ours if len(done) == len(ours) else []

    policies = wait_for(checked)

    assert {p["metadata"]["name"]: p["status"].get("typeChecking") or {} for p in policies} == {
        p["metadata"]["name"]: {} for p in policies
    }
