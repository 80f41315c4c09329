"""What tests of the adapters stand on: the chart's policies, and our own client as the operator."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from e2e.admission import SYSTEM, TENANT, prepare, remove, task
from e2e.impersonate import Api, Object, thing
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.model.task import Task
from taskpass.kube.api.client import KubeClient

T0 = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
OPERATOR = (
    ("Impersonate-User", f"system:serviceaccount:{SYSTEM}:taskpass"),
    ("Impersonate-Group", "system:serviceaccounts"),
    ("Impersonate-Group", f"system:serviceaccounts:{SYSTEM}"),
    ("Impersonate-Group", "system:authenticated"),
)


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> str:
    """Return the administrator's kubeconfig; TASKPASS_TEST_CONTROL_PLANE names another."""
    given = os.environ.get("TASKPASS_TEST_CONTROL_PLANE")
    return given or str(request.getfixturevalue("control_plane"))


@pytest.fixture(scope="session")
def api(kubeconfig: str, helm: str) -> Api:
    """Return the API server as its administrator sees it, once the policies hold."""
    admin = Api.from_kubeconfig(kubeconfig)
    prepare(admin, helm, kubeconfig)
    return admin


@pytest.fixture
async def client(api: Api, kubeconfig: str) -> AsyncIterator[KubeClient]:
    """Return our client with the operator's rights, and no others."""
    async with KubeClient.from_kubeconfig(kubeconfig, impersonate=OPERATOR) as made:
        yield made


@pytest.fixture
def name(api: Api) -> Iterator[str]:
    """Return a name for a task, its pod and its Secret; what is left of them is removed."""
    chosen = f"t-{uuid.uuid4().hex[:8]}"
    yield chosen
    for each in (thing("v1", "Pod", TENANT, chosen), its_secret(chosen), task(chosen)):
        remove(api, each)


@pytest.fixture
def made(api: Api, name: str) -> Task:
    """Return a task that is there."""
    return view_of(api.as_user("alice", "team-a").create(task(name)))


def its_secret(task_name: str) -> Object:
    """Return the identity of a task's Secret."""
    return thing("v1", "Secret", TENANT, f"taskpass-{task_name}")


def view_of(live: Object) -> Task:
    """Return a task as the adapters know it."""
    metadata = live["metadata"]
    return Task(
        namespace=TENANT,
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        resource_version=metadata["resourceVersion"],
        created_at=T0,
        service_account="triage-agent",
    )


def pod_view(live: Object) -> PodView:
    """Return a pod as the adapters know it."""
    metadata = live["metadata"]
    return PodView(
        namespace=TENANT,
        name=metadata["name"],
        uid=metadata["uid"],
        created_at=T0,
        deleting_since=None,
        labels={},
        created_by="",
        owner=None,
        service_account="triage-agent",
        gated=True,
        ended="",
        audience="taskpass",
        token_seconds=600,
        secret="",
        images=(),
    )


RBAC_TENANT = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{TENANT}/rolebindings/taskpass-tenant"


@contextmanager
def taken_away(who: Api, admin: Api, path: str) -> Iterator[None]:
    """Have somebody take an object of the chart's away; the administrator puts it back."""
    live = admin.call("GET", path)
    who.call("DELETE", path)
    try:
        yield
    finally:
        live["metadata"] = {k: live["metadata"][k] for k in ("name", "labels", "annotations")}
        admin.call("POST", path.rpartition("/")[0], live)


@contextmanager
def without(api: Api, plural: str, name: str) -> Iterator[None]:
    """Take an object of the chart's away, and put it back."""
    with taken_away(api, api, f"{ADMISSION}/{plural}/{name}"):
        yield
