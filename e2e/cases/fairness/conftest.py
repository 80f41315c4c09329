"""Two tenants and one operator: `flood` does what it may without end, `support` only works."""

import os
import uuid
from collections.abc import Iterator

import pytest

from e2e.admission import TARGET, TENANT, binding, prepare
from e2e.cases.fairness.tenants import FLOOD, Tenants
from e2e.impersonate import Api, thing
from e2e.operator_process import OperatorProcess
from e2e.stage import Stage, credential_class, policy


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> str:
    """Return the administrator's kubeconfig; TASKPASS_TEST_CONTROL_PLANE names another."""
    given = os.environ.get("TASKPASS_TEST_CONTROL_PLANE")
    return given or str(request.getfixturevalue("control_plane"))


@pytest.fixture(scope="module")
def everything(
    kubeconfig: str, helm: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """Return the stage of all cases, with both tenants furnished and the operator running.

    It gives the Lease to the suites that come after.
    """
    admin = Api.from_kubeconfig(kubeconfig)
    prepare(admin, helm, kubeconfig, tenants=(TENANT, FLOOD))
    admin.apply(thing("v1", "ConfigMap", TARGET, "read-me", data={"answer": "42"}))
    admin.apply(thing("v1", "ServiceAccount", FLOOD, "triage-agent"))
    admin.apply(binding("RoleBinding", FLOOD, "mallory", "ClusterRole/admin", "User/mallory"))
    admin.apply(
        binding("ClusterRoleBinding", "", "mallory", "ClusterRole/use-tickets", "User/mallory")
    )
    admin.apply(credential_class("tickets"))
    admin.apply(policy("triage", "tickets"))
    process = OperatorProcess(
        kubeconfig, tmp_path_factory.mktemp("operator"), tenants=(TENANT, FLOOD)
    )
    process.start()
    made = Stage(admin, process)
    made.clear("")
    yield made
    process.stop()


@pytest.fixture
def tenants(everything: Stage) -> Iterator[Tenants]:
    """Return both, the operator well; afterwards nothing of either is left."""
    everything.operator.wait_ready()
    made = Tenants(everything, f"t-{uuid.uuid4().hex[:8]}")
    yield made
    made.clear()
