"""A stream that is open goes on when the right to it is gone: why roles that open one are refused.

Kubernetes asks for the right once, when a watch or a log is opened. This is what it does, and not
what anybody promises: if a later version closes such streams, these tests say so.
"""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.admission import RBAC, binding, pod, remove, wait_for
from e2e.cluster import Cluster
from e2e.impersonate import Api, Object, thing

HERE = "default"
NAME = "streams"
TIMES = re.compile(rb"\b1[0-9]{9}\b")
TICKS = "import time\nwhile True:\n    print(int(time.time()), flush=True)\n    time.sleep(0.2)\n"
RULES = [
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["watch"]},
]
BOUND = binding("RoleBinding", HERE, NAME, f"Role/{NAME}", f"ServiceAccount/{HERE}/{NAME}")
ROLE = thing(f"{RBAC}/v1", "Role", HERE, NAME, rules=RULES)
ACCOUNT = thing("v1", "ServiceAccount", HERE, NAME)
NOISE = thing("v1", "ConfigMap", HERE, NAME)
PATHS = {
    "a log": f"/api/v1/namespaces/{HERE}/pods/{NAME}/log?follow=true",
    "a watch": f"/api/v1/namespaces/{HERE}/configmaps?watch=true",
}


def talker() -> Object:
    """Return a pod that prints for ever."""
    container = {
        "name": "agent",
        "image": "localhost/taskpass:dev",
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", TICKS],
    }
    body = pod(NAME, labelled=False, spec={"containers": [container], "dnsPolicy": "Default"})
    del body["spec"]["serviceAccountName"]
    body["metadata"]["namespace"] = HERE
    return body


@pytest.fixture
def admin(cluster: Cluster) -> Iterator[Api]:
    """Return the cluster with a pod that talks, and somebody who may listen."""
    api = Api.from_kubeconfig(str(cluster.kubeconfig))
    for each in (ACCOUNT, ROLE, BOUND, NOISE):
        api.apply(each)
    api.create(talker())
    try:
        wait_for(lambda: api.get("Pod", HERE, NAME)["status"].get("phase") == "Running", 60)
        yield api
    finally:
        for each in (talker(), BOUND, ROLE, ACCOUNT, NOISE):
            remove(api, each)


def opened(agent: Api, path: str) -> Any:
    headers = {"Authorization": f"Bearer {agent.token}"}
    return agent.pool.request(
        "GET", agent.server + path, headers=headers, preload_content=False, timeout=30
    )


def status_of(agent: Api, path: str) -> int:
    answer = opened(agent, path)
    answer.close()
    return int(answer.status)


def test_what_is_open_goes_on_when_role_binding_and_service_account_are_gone(admin: Api) -> None:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    asked = f"/api/v1/namespaces/{HERE}/serviceaccounts/{NAME}/token"
    agent = admin.bearing(admin.call("POST", asked, body)["status"]["token"])
    wait_for(lambda: {status_of(agent, path) for path in PATHS.values()} == {200}, 10)
    streams = {what: opened(agent, path) for what, path in PATHS.items()}
    lines = {what: iter(stream) for what, stream in streams.items()}
    for each in lines.values():
        next(each)

    admin.delete(BOUND)
    admin.delete(ACCOUNT)
    # Nothing is left that could be asked for.
    wait_for(lambda: {status_of(agent, path) for path in PATHS.values()} == {401}, 30)
    end = int(time.time()) + 1
    admin.merge(NOISE, {"data": {"said": str(end)}})
    heard = {what: _said_after(end, each) for what, each in lines.items()}
    for stream in streams.values():
        stream.close()

    assert set(heard) == {"a log", "a watch"}
    assert min(heard.values()) >= end


def _said_after(end: int, lines: Iterator[bytes]) -> int:
    """Return the first time that is said and that is not before the end."""
    times = (int(each) for line in lines for each in TIMES.findall(line))
    return next(each for each in times if each >= end)
