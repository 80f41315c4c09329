"""An auditor with a token of the cluster verifies the log from afar; nobody else gets an entry."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.admission import ROOT, SYSTEM, TENANT, binding, prepare
from e2e.impersonate import Api, thing
from e2e.operator_process import OperatorProcess, free_port
from tests.unit.server import certificates

AUDIENCE = "taskpass-audit"


@pytest.fixture(scope="module")
def kubeconfig(request: pytest.FixtureRequest) -> str:
    """Return the administrator's kubeconfig; TASKPASS_TEST_CONTROL_PLANE names another."""
    given = os.environ.get("TASKPASS_TEST_CONTROL_PLANE")
    return given or str(request.getfixturevalue("control_plane"))


@pytest.fixture(scope="module")
def api(kubeconfig: str, helm: str) -> Iterator[Api]:
    """Return the API server, with the chart's read API on, an auditor, and a stranger."""

    def serve(secret: str) -> None:
        chart = [str(ROOT / "charts/taskpass"), "--namespace", SYSTEM, "--kubeconfig", kubeconfig]
        value = f"readApi.tlsSecretName={secret}"
        command = [helm, "upgrade", "taskpass", *chart, "--reuse-values", "--set", value]
        subprocess.run(command, check=True, capture_output=True)

    admin = Api.from_kubeconfig(kubeconfig)
    prepare(admin, helm, kubeconfig)
    serve("log-tls")
    for name in ("auditor", "stranger"):
        admin.apply(thing("v1", "ServiceAccount", TENANT, name))
    reads = binding(
        "ClusterRoleBinding", "", "auditor", "ClusterRole/taskpass-audit-reader",
        f"ServiceAccount/{TENANT}/auditor",
    )  # fmt: skip
    admin.apply(reads)
    yield admin
    admin.delete(reads)
    serve("")


@pytest.fixture(scope="module")
def served(
    api: Api, kubeconfig: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """Return an operator that serves its log, and the port beside it."""
    folder = tmp_path_factory.mktemp("served")
    certificates.make(folder / "tls")
    operator = OperatorProcess(kubeconfig, folder)
    operator.environment = {
        "TASKPASS_READ_API_TLS_DIRECTORY": str(folder / "tls"),
        "TASKPASS_READ_API_PORT": str(free_port()),
    }
    operator.start()
    yield operator
    operator.stop()


def verify(operator: OperatorProcess, token: str) -> tuple[int, str]:
    """Verify from afar with a token, as an auditor does."""
    file = operator.directory / "token"
    file.write_text(token)
    port = operator.environment["TASKPASS_READ_API_PORT"]
    command = [
        sys.executable, "-m", "taskpass", "audit", "verify", "--url", f"https://127.0.0.1:{port}",
        "--token-file", str(file), "--ca-file", str(operator.directory / "tls/tls.crt"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "operator")
    return done.returncode, done.stdout + done.stderr


def token(api: Api, name: str, audience: str = AUDIENCE) -> str:
    """Return a token of a ServiceAccount."""
    spec = {"audiences": [audience], "expirationSeconds": 600}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{TENANT}/serviceaccounts/{name}/token"
    made: str = api.call("POST", path, request)["status"]["token"]
    return made


def test_an_auditor_verifies_the_log_from_afar(api: Api, served: OperatorProcess) -> None:
    code, said = verify(served, token(api, "auditor"))

    assert code == 0, said
    assert said.startswith("OK    audit.taskpass.dev/")


@pytest.mark.parametrize(
    ("name", "audience", "said"),
    [
        ("stranger", AUDIENCE, "403 The right to get auditanchors 'taskpass'"),
        ("auditor", "elsewhere", "401 The token is of nobody"),
        ("auditor", "https://kubernetes.default.svc", "401 The token is of nobody"),
    ],
)
def test_nobody_else_gets_an_entry(
    api: Api, served: OperatorProcess, name: str, audience: str, said: str
) -> None:
    code, output = verify(served, token(api, name, audience))

    assert code == 3
    assert said in output
    assert "dev.taskpass." not in output


def test_a_token_that_the_cluster_did_not_make_is_refused(served: OperatorProcess) -> None:
    code, output = verify(served, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.")

    assert (code, "401 The token is of nobody" in output) == (3, True)


def test_no_token_of_an_auditor_is_in_the_operators_log(api: Api, served: OperatorProcess) -> None:
    seen = token(api, "auditor")
    verify(served, seen)

    assert seen not in Path(served.log).read_text()
    assert seen.encode() not in served.ledger.read_bytes()
