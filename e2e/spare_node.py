"""A second node that is there in name only, so that the real one can be given up.

Where all nodes are silent Kubernetes takes it for its own fault, and evicts nobody. Nothing is
scheduled to this one; it says that it is ready for as long as the block runs.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import urllib3

from e2e.impersonate import MERGE_PATCH, Api, Refused

NAME = "spare"
NODES = "/api/v1/nodes"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
RENEW_SECONDS = 2.0
TRIES = 120
"""Half a second apart: an API server that was killed is back by then."""
GIVEN_UP = [
    {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute",
     "tolerationSeconds": 0}
    for what in ("unreachable", "not-ready")
]  # fmt: skip
"""Tolerations of a pod that leaves a silent node at once; by default one stays for five minutes."""
TAINT = {"key": "example.com/in-name-only", "effect": "NoSchedule"}


@contextmanager
def spare_node(api: Api) -> Iterator[None]:
    """Have the node, and take it away in the end."""
    _remove(api)
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME}}
    api.call("POST", NODES, {**node, "spec": {"taints": [TAINT]}})
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}}
    api.call("POST", LEASES, {**lease, "spec": {"holderIdentity": NAME, **_now("renewTime")}})
    over = threading.Event()
    thread = threading.Thread(target=_keep, args=(api, over), name="spare node")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _remove(api)


def _keep(api: Api, over: threading.Event) -> None:
    while not over.is_set():
        with suppress(Refused, urllib3.exceptions.HTTPError):  # the API server may be away
            ready = {
                "type": "Ready",
                "status": "True",
                "reason": "Spare",
                "message": "in name only",
            }
            status = {"conditions": [{**ready, **_now("lastHeartbeatTime")}]}
            api.call("PATCH", f"{NODES}/{NAME}/status", {"status": status}, content=MERGE_PATCH)
            spec = {"spec": _now("renewTime")}
            api.call("PATCH", f"{LEASES}/{NAME}", spec, content=MERGE_PATCH)
        over.wait(RENEW_SECONDS)


def _now(field: str) -> dict[str, str]:
    fraction = ".000000" if field == "renewTime" else ""  # a lease's times have one
    return {field: time.strftime(f"%Y-%m-%dT%H:%M:%S{fraction}Z", time.gmtime())}


def _remove(api: Api) -> None:
    for path in (f"{NODES}/{NAME}", f"{LEASES}/{NAME}"):
        for left in reversed(range(TRIES)):
            try:
                api.call("DELETE", path)
            except Refused as refused:
                if refused.status == 404:
                    break
            except urllib3.exceptions.HTTPError:
                if not left:
                    raise
            time.sleep(0.5)
