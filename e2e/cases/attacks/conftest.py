"""Attacks on a real API server: the chart is installed, and no operator runs.

Those on a running operator are in `e2e/cases/operator/test_attacks.py`, those on single admission
policies in `e2e/cases/admission`.
"""

import pytest

from e2e.admission import SYSTEM, operator
from e2e.as_operator import api, client, kubeconfig, name
from e2e.impersonate import Api

__all__ = ["api", "client", "kubeconfig", "name"]


@pytest.fixture
def alice(api: Api) -> Api:
    """Return a tenant's administrator, who may use the class `tickets`."""
    return api.as_user("alice", "team-a")


@pytest.fixture
def taskpass(api: Api) -> Api:
    """Return the operator, by impersonation."""
    return operator(api)


@pytest.fixture(scope="session")
def thief(api: Api) -> Api:
    """Return somebody who got the operator's own token, and has nothing else."""
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 7200},
    }
    path = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/taskpass/token"
    return api.bearing(api.call("POST", path, request)["status"]["token"])
