"""The whole operator with a real API server and a real PostgreSQL server, and both providers.

Each case finds both servers and the operator well, and leaves nothing at any of them.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.admission import TARGET, prepare
from e2e.impersonate import Api, thing
from e2e.operator_process import OperatorProcess
from e2e.postgresql.databases import Databases, environment_of, furnish_cluster
from e2e.postgresql.server import PostgresServer, running
from e2e.postgresql.stage import furnish
from e2e.stage import credential_class, policy


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> str:
    """Return the administrator's kubeconfig; TASKPASS_TEST_CONTROL_PLANE names another."""
    given = os.environ.get("TASKPASS_TEST_CONTROL_PLANE")
    return given or str(request.getfixturevalue("control_plane"))


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """Return a server that is set up as the provider's page says."""
    with running(durable=True) as made:
        furnish(made)
        yield made


@pytest.fixture(scope="session")
def api(kubeconfig: str, helm: str) -> Api:
    """Return the API server as its administrator sees it, with the chart, classes and policies."""
    admin = Api.from_kubeconfig(kubeconfig)
    prepare(admin, helm, kubeconfig)
    admin.apply(thing("v1", "ConfigMap", TARGET, "read-me", data={"answer": "42"}))
    admin.apply(credential_class("tickets"))
    admin.apply(policy("triage", "tickets"))
    furnish_cluster(admin)
    return admin


@pytest.fixture(scope="session")
def everything(
    api: Api, kubeconfig: str, server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Databases]:
    """Return the stage of the whole session."""
    process = OperatorProcess(
        kubeconfig, tmp_path_factory.mktemp("operator"),
        environment=dict(environment_of(server, tmp_path_factory.mktemp("password"))),
    )  # fmt: skip
    process.start()
    made = Databases(api, process, server=server)
    made.clear("")
    yield made
    process.stop()


@pytest.fixture
def stage(everything: Databases) -> Databases:
    """Return the stage with the operator running and ready."""
    if everything.operator.ended():
        everything.operator.kill()
        everything.operator.start()
    everything.operator.wait_ready()
    return everything


@pytest.fixture
def name(stage: Databases) -> Iterator[str]:
    """Return a name for a task and its pod; afterwards they are deleted, and nothing is left."""
    chosen = f"t-{uuid.uuid4().hex[:8]}"
    yield chosen
    while stage.open:
        stage.open.pop().close()
    if stage.operator.ended():
        stage.operator.kill()
        stage.operator.start()
    stage.clear(chosen)
    stage.wait_nothing_left()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where an operator that dies once at a step leaves its mark."""
    return tmp_path
