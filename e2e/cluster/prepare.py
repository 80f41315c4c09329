"""Writes what the components of a local cluster read: certificates, kubeconfigs, configuration."""

import base64
import json
import string
from pathlib import Path

from e2e.cluster import versions
from e2e.cluster.layout import Layout
from e2e.cluster.pki import Authority, write_service_account_keys

TEMPLATES = Path(__file__).parent / "config"
USERS = {
    "kube-controller-manager": ("system:kube-controller-manager", ()),
    "kube-scheduler": ("system:kube-scheduler", ()),
    "kube-proxy": ("system:kube-proxy", ()),
    "kubelet": (f"system:node:{versions.NODE_NAME}", ("system:nodes",)),
    "admin": ("admin", ("system:masters",)),
}
"""For each kubeconfig: the user and its groups."""


def prepare(cluster: Layout) -> None:
    """Fill the cluster's directory; nothing outside it is touched."""
    for directory in (cluster.pki, cluster.config, cluster.logs):
        directory.mkdir(mode=0o700)
    _certificates(cluster)
    for user in USERS:
        path = cluster.kubeconfig if user == "admin" else cluster.config / f"{user}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(kubeconfig(cluster, user), indent=1))
    values = {
        "address": cluster.address,
        "pki": str(cluster.pki),
        "config": str(cluster.config),
        "cgroup": cluster.cgroup,
        "pause": versions.PAUSE_IMAGE,
        "pods": versions.POD_RANGE,
        "node_pods": versions.NODE_POD_RANGE,
        "node": versions.NODE_NAME,
    }
    for template in sorted(path for path in TEMPLATES.rglob("*") if path.is_file()):
        target = cluster.config / template.relative_to(TEMPLATES)
        target.parent.mkdir(exist_ok=True)
        target.write_text(string.Template(template.read_text()).substitute(values))
    # Copied: on many machines it is a link into /run, which the node does not see.
    resolver = Path("/etc/resolv.conf")
    (cluster.config / "resolv.conf").write_text(resolver.read_text() if resolver.exists() else "")


def kubeconfig(cluster: Layout, user: str) -> dict[str, object]:
    """Return a kubeconfig that needs no other file; JSON is YAML."""
    pki = cluster.pki
    server = {"server": cluster.server, "certificate-authority-data": _encoded(pki / "ca.crt")}
    identity = {
        "client-certificate-data": _encoded(pki / f"{user}.crt"),
        "client-key-data": _encoded(pki / f"{user}.key"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster.name, "cluster": server}],
        "users": [{"name": user, "user": identity}],
        "contexts": [{"name": cluster.name, "context": {"cluster": cluster.name, "user": user}}],
        "current-context": cluster.name,
    }


def _certificates(cluster: Layout) -> None:
    authority = Authority(cluster.pki)
    authority.issue(
        "apiserver",
        "kube-apiserver",
        groups=["system:masters"],  # the API server is a client of the kubelet
        addresses=[cluster.address, versions.SERVICE_ADDRESS, "127.0.0.1"],
        names=["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
    )
    authority.issue("node", versions.NODE_NAME, addresses=[cluster.address])
    for file, (user, groups) in USERS.items():
        authority.issue(file, user, groups=groups)
    write_service_account_keys(cluster.pki)


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
