"""`taskpass doctor` beside a control plane: as a person would run it, while things are broken.

Its run inside the operator's pod is tried by `e2e/cases/install`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from e2e.admission import ROLE, SYSTEM, TARGET, TENANT, prepare, remove
from e2e.impersonate import Api, thing
from e2e.operator_process import OperatorProcess
from e2e.stage import credential_class

TENANTS_NAMESPACE = thing("v1", "Namespace", "", TENANT)
LEVEL = "pod-security.kubernetes.io/enforce"


@dataclass(frozen=True)
class Told:
    """What the doctor said."""

    code: int
    error: str
    lines: tuple[dict[str, str], ...]

    def about(self, what: str, level: str = "") -> list[dict[str, str]]:
        """Return the lines about something, of one level if that is given."""
        found = [line for line in self.lines if line["about"] == what]
        return [line for line in found if level in ("", line["level"])]


def examine(kubeconfig: str, *more: str, namespace: str = SYSTEM) -> Told:
    """Run the doctor."""
    command = [sys.executable, "-m", "taskpass", "doctor", "--kubeconfig", kubeconfig]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TASKPASS_")}
    done = subprocess.run(
        [*command, "--namespace", namespace, "--json", *more],
        env=clean, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    lines = json.loads(done.stdout) if done.stdout else []
    return Told(done.returncode, done.stderr, tuple(lines))


def one(told: Told, about: str, level: str, words: str) -> dict[str, str]:
    """Return the one line about something that says these words."""
    [line] = [line for line in told.about(about, level) if words in line["what"]]
    return line


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> str:
    """Return the administrator's kubeconfig; TASKPASS_TEST_CONTROL_PLANE names another."""
    given = os.environ.get("TASKPASS_TEST_CONTROL_PLANE")
    return given or str(request.getfixturevalue("control_plane"))


@pytest.fixture(scope="package")
def api(kubeconfig: str, helm: str) -> Iterator[Api]:
    """Return the API server with the chart and one class."""
    admin = Api.from_kubeconfig(kubeconfig)
    prepare(admin, helm, kubeconfig)
    admin.merge(TENANTS_NAMESPACE, {"metadata": {"labels": {LEVEL: "baseline"}}})
    admin.apply(credential_class("tickets"))
    yield admin
    remove(admin, credential_class("tickets"))
    admin.merge(TENANTS_NAMESPACE, {"metadata": {"labels": {LEVEL: None}}})


@pytest.fixture(scope="module")
def operator(
    api: Api, kubeconfig: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """Return an operator that is ready."""
    made = OperatorProcess(
        kubeconfig, tmp_path_factory.mktemp("doctor"), tenants=(TENANT,),
        targets={TARGET: {"clusterRoles": [ROLE]}},
    )  # fmt: skip
    made.start()
    yield made
    made.stop()
