"""What users type, and what the API server and kubectl say to it; no operator runs.

What the operator says is in `e2e/cases/operator/test_bad_input.py`, what the command line says in
`tests/unit/cli`.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.as_operator import api, kubeconfig, name
from e2e.cluster.interface import kubectl
from e2e.impersonate import Api

__all__ = ["api", "kubeconfig", "name"]
Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def alice(api: Api) -> Api:
    """Return a tenant's administrator, who may use the class `tickets`."""
    return api.as_user("alice", "team-a")


@pytest.fixture
def as_alice(api: Api, kubeconfig: str, tmp_path: Path) -> Kubectl:
    """Return kubectl as alice types it: YAML, and arguments."""

    def run(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "typed.yaml"
        file.write_text(text)
        who = ["--as", "alice", "--as-group", "team-a", "--as-group", "system:authenticated"]
        command = [str(kubectl()), "--kubeconfig", kubeconfig, *who, *arguments, "-f", str(file)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return run
