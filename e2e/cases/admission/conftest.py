"""The policies on their own: a control plane without nodes and operator, with the chart installed.

`control_plane` (a kubeconfig's path, session-wide) comes from `e2e/conftest.py`; the variable
TASKPASS_TEST_CONTROL_PLANE names another kubeconfig, whose cluster is changed at will.
"""

import os
import uuid
from collections.abc import Iterator

import pytest

from e2e.admission import TENANT, operator, prepare, remove, task
from e2e.impersonate import Api, Object, thing


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> str:
    """Return the path of the administrator's kubeconfig."""
    given = os.environ.get("TASKPASS_TEST_CONTROL_PLANE")
    return given or str(request.getfixturevalue("control_plane"))


@pytest.fixture(scope="session")
def helm() -> str:
    """Return the path of helm: $HELM, or the one that `make` keeps."""
    if given := os.environ.get("HELM"):
        return given
    from e2e.cluster import tools

    return str(tools.helm())


@pytest.fixture(scope="session")
def api(kubeconfig: str, helm: str) -> Api:
    """Return the API server as its administrator sees it, once the policies hold."""
    admin = Api.from_kubeconfig(kubeconfig)
    prepare(admin, helm, kubeconfig)
    return admin


@pytest.fixture
def alice(api: Api) -> Api:
    """Return a tenant's administrator, who may use the class `tickets`."""
    return api.as_user("alice", "team-a")


@pytest.fixture
def taskpass(api: Api) -> Api:
    """Return the operator."""
    return operator(api)


@pytest.fixture
def name(api: Api) -> Iterator[str]:
    """Return a name for a task, its pod and its Secret; what is left of them is removed."""
    chosen = f"t-{uuid.uuid4().hex[:8]}"
    yield chosen
    left: list[Object] = [
        thing("v1", "Pod", TENANT, chosen),
        thing("v1", "Secret", TENANT, f"taskpass-{chosen}"),
        thing("v1", "Secret", TENANT, chosen),
        task(chosen),
    ]
    for each in left:
        remove(api, each)
