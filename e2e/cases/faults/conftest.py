"""The operator behind a proxy that fails as a case says. Each case finds both well.

The process may be ended by any case; the next one finds it running and ready.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.admission import TARGET, prepare
from e2e.cases.faults.proxy import Proxy
from e2e.impersonate import Api, thing
from e2e.operator_process import OperatorProcess
from e2e.stage import Stage, credential_class, policy

IDLE = "3"
"""Seconds that a watch may be silent here."""


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> str:
    """Return the administrator's kubeconfig; TASKPASS_TEST_CONTROL_PLANE names another."""
    given = os.environ.get("TASKPASS_TEST_CONTROL_PLANE")
    return given or str(request.getfixturevalue("control_plane"))


@pytest.fixture(scope="session")
def api(kubeconfig: str, helm: str) -> Api:
    """Return the API server as its administrator sees it, with the chart, a class and a policy."""
    admin = Api.from_kubeconfig(kubeconfig)
    prepare(admin, helm, kubeconfig)
    admin.apply(thing("v1", "ConfigMap", TARGET, "read-me", data={"answer": "42"}))
    admin.apply(credential_class("tickets"))
    admin.apply(policy("triage", "tickets"))
    return admin


@pytest.fixture(scope="module")
def proxy(kubeconfig: str) -> Iterator[Proxy]:
    """Return what stands between the operator and the API server."""
    with Proxy.of_kubeconfig(kubeconfig) as running:
        yield running


@pytest.fixture(scope="module")
def everything(
    api: Api, kubeconfig: str, proxy: Proxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """Return the stage of a file's cases."""
    process = operator_at(kubeconfig, tmp_path_factory.mktemp("operator"), proxy)
    process.start()
    made = Stage(api, process)
    made.clear("")
    yield made
    proxy.heal()
    process.stop()


def operator_at(kubeconfig: str, directory: Path, proxy: Proxy) -> OperatorProcess:
    """Return an operator that speaks through the proxy."""
    environment = {"TASKPASS_WATCH_IDLE_SECONDS": IDLE}
    return OperatorProcess(kubeconfig, directory, environment=environment, server=proxy.url)


@pytest.fixture
def stage(everything: Stage, proxy: Proxy) -> Stage:
    """Return the stage with nothing wrong."""
    proxy.heal()
    if everything.operator.ended():
        everything.operator.kill()
        everything.operator.start()
    everything.operator.wait_ready()
    return everything


@pytest.fixture
def name(stage: Stage, proxy: Proxy) -> Iterator[str]:
    """Return a name for a task and its pod; afterwards they are deleted by the book."""
    chosen = f"t-{uuid.uuid4().hex[:8]}"
    yield chosen
    proxy.heal()
    if stage.operator.ended():
        stage.operator.kill()
        stage.operator.start()
    stage.clear(chosen)
