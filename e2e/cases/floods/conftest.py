"""Two tenants of one operator: one floods, in namespace `flood`, the other works in `support`."""

import uuid
from collections.abc import Iterator

import pytest

from e2e.admission import TENANT, binding, prepare
from e2e.impersonate import Api, path_of, thing
from e2e.operator_process import OperatorProcess
from e2e.stage import Stage, credential_class, policy, until

FLOOD = "flood"


@pytest.fixture(scope="session")
def kubeconfig(control_plane: str) -> str:
    """Return the administrator's kubeconfig."""
    return control_plane


@pytest.fixture(scope="session")
def api(kubeconfig: str, helm: str) -> Api:
    """Return the API server as its administrator sees it, with both tenants enrolled."""
    admin = Api.from_kubeconfig(kubeconfig)
    prepare(admin, helm, kubeconfig, tenants=(TENANT, FLOOD))
    admin.apply(binding("RoleBinding", FLOOD, "mallory", "ClusterRole/admin", "User/mallory"))
    admin.apply(
        binding("ClusterRoleBinding", "", "mallory", "ClusterRole/use-tickets", "User/mallory")
    )
    for each in (FLOOD, TENANT):
        admin.apply(thing("v1", "ServiceAccount", each, "triage-agent"))
        admin.apply(policy("triage", "tickets", namespace=each))
    admin.apply(thing("v1", "ConfigMap", "tickets", "read-me", data={"answer": "42"}))
    admin.apply(credential_class("tickets"))
    return admin


@pytest.fixture(scope="module")
def operator(
    api: Api, kubeconfig: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """Return the one process; it gives the Lease to the suites that come after."""
    made = OperatorProcess(kubeconfig, tmp_path_factory.mktemp("operator"), (TENANT, FLOOD))
    made.start()
    yield made
    path = path_of("AgentTask", FLOOD)
    api.call("DELETE", path)
    until(lambda: not api.call("GET", path)["items"], 60, made.tail)  # while it can release them
    made.stop()


@pytest.fixture
def stage(api: Api, operator: OperatorProcess) -> Stage:
    """Return the stage of the tenant that works, with the operator running and ready."""
    if operator.ended():
        operator.kill()
        operator.start()
    operator.wait_ready()
    return Stage(api, operator)


@pytest.fixture
def mallory(api: Api) -> Api:
    """Return the administrator of the namespace that floods, who may use the class as well."""
    return api.as_user("mallory")


@pytest.fixture
def name(stage: Stage) -> Iterator[str]:
    """Return a name for a task and its pod; afterwards they are deleted."""
    chosen = f"t-{uuid.uuid4().hex[:8]}"
    yield chosen
    stage.clear(chosen)
