"""The cluster itself: it runs pods, keeps volumes, and tells who did what."""

import json
import time

import pytest

from e2e.cluster import Cluster

READ_TOKEN = """
import base64, json, pathlib, ssl, sys, urllib.request
token = pathlib.Path("/var/run/taskpass/identity/token").read_text()
body = token.split(".")[1]
claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
print(claims["aud"][0], claims["sub"])
root = "/var/run/secrets/kubernetes.io/serviceaccount/"
own = pathlib.Path(root + "token").read_text()
headers = {"Authorization": "Bearer " + own}
request = urllib.request.Request("https://10.96.0.1/apis", headers=headers)
trust = ssl.create_default_context(cafile=root + "ca.crt")
print(urllib.request.urlopen(request, context=trust, timeout=20).status)
pathlib.Path("/data/kept").write_text("kept")
print(pathlib.Path("/data/kept").read_text())
"""


@pytest.fixture(scope="module")
def log(cluster: Cluster) -> list[str]:
    """Return what a pod printed that read its tokens, called the API server, and used a volume."""
    token = {"audience": "taskpass", "path": "token", "expirationSeconds": 600}
    container = {
        "name": "main",
        "image": "localhost/taskpass:dev",
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", READ_TOKEN],
        "volumeMounts": [
            {"name": "identity", "mountPath": "/var/run/taskpass/identity"},
            {"name": "data", "mountPath": "/data"},
        ],
    }
    spec = {
        "restartPolicy": "Never",
        "securityContext": {"fsGroup": 65532},
        "containers": [container],
        "volumes": [
            {"name": "identity", "projected": {"sources": [{"serviceAccountToken": token}]}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "smoke"}},
        ],
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "smoke"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "smoke"}, "spec": spec}
    items = {"apiVersion": "v1", "kind": "List", "items": [claim, pod]}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(items))
    phase = ""
    deadline = time.monotonic() + 60
    while phase not in ("Succeeded", "Failed") and time.monotonic() < deadline:
        phase = cluster.kubectl("get", "pod", "smoke", "-o", "jsonpath={.status.phase}")
        time.sleep(0.1)
    printed = cluster.kubectl("logs", "smoke").splitlines()
    assert phase == "Succeeded", printed
    cluster.kubectl("delete", "pod/smoke", "pvc/smoke", "--grace-period=1")
    return printed


def test_a_pod_reads_its_projected_token(log: list[str]) -> None:
    assert log[0] == "taskpass system:serviceaccount:default:default"


def test_a_pod_reaches_the_api_server_at_its_service_address(log: list[str]) -> None:
    assert log[1] == "200"


def test_a_claim_gets_a_volume_that_a_pod_can_write(log: list[str]) -> None:
    assert log[2] == "kept"


def test_the_audit_log_records_service_accounts_and_no_parts_of_kubernetes(
    cluster: Cluster, log: list[str]
) -> None:
    if cluster.audit_log is None:
        pytest.skip("NOT RUN: this cluster's audit log cannot be read")

    entries = [json.loads(line) for line in cluster.audit_log.read_text().splitlines()]

    calls = {(each["user"]["username"], each["requestURI"]) for each in entries}
    assert ("system:serviceaccount:default:default", "/apis") in calls
    tokens = [uri for _, uri in calls if uri.endswith("/serviceaccounts/default/token")]
    assert tokens
    assert {
        user
        for user, uri in calls
        if user.startswith(("system:node:", "system:kube-", "system:serviceaccount:kube-system:"))
        and not uri.endswith("/token")
    } == set()
