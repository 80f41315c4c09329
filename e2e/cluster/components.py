"""What runs in a local cluster, and with which arguments."""

from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.layout import Layout
from e2e.cluster.versions import API_PORT, NODE_NAME, POD_RANGE, SERVICE_RANGE


@dataclass(frozen=True)
class Component:
    """One program; its log is `NAME.log`."""

    name: str
    command: tuple[str, ...]
    waits: bool = False
    """Started only when the API server is ready."""


def components(cluster: Layout, kubernetes: Path, containerd: Path | None) -> list[Component]:
    """Return what to start, in order; `containerd` (a directory) is needed where a node is."""
    program = str(kubernetes / "kubernetes")
    parts = [
        Component("etcd", (program, "etcd", *_etcd(cluster))),
        Component("kube-apiserver", (program, "kube-apiserver", *_apiserver(cluster))),
        Component(
            "kube-controller-manager",
            (program, "kube-controller-manager", *_controllers(cluster)),
            waits=True,
        ),
        Component("kube-scheduler", (program, "kube-scheduler", *_scheduler(cluster)), waits=True),
    ]
    if not cluster.node or containerd is None:
        return parts
    config = cluster.config
    kubelet = (
        f"--config={config}/kubelet.yaml",
        f"--kubeconfig={config}/kubelet.kubeconfig",
        "--root-dir=/var/lib/kubelet",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={cluster.address}",
    )
    return [
        Component(
            "containerd", (str(containerd / "containerd"), f"--config={config}/containerd.toml")
        ),
        *parts,
        Component("kubelet", (program, "kubelet", *kubelet), waits=True),
        Component(
            "kube-proxy", (program, "kube-proxy", f"--config={config}/proxy.yaml"), waits=True
        ),
    ]


def _etcd(cluster: Layout) -> list[str]:
    return [
        f"--data-dir={cluster.directory}/etcd",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        # The data ends with the cluster: nothing is lost that anybody would miss.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _apiserver(cluster: Layout) -> list[str]:
    pki, config = cluster.pki, cluster.config
    return [
        "--etcd-servers=http://127.0.0.1:2379",
        f"--bind-address={cluster.address}",
        f"--advertise-address={cluster.address}",
        f"--secure-port={API_PORT}",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver.crt",
        f"--kubelet-client-key={pki}/apiserver.key",
        # A node's name does not resolve.
        "--kubelet-preferred-address-types=InternalIP",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--authentication-config={config}/authentication.yaml",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        "--service-account-extend-token-expiration=false",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--allow-privileged",
        f"--audit-policy-file={config}/audit.yaml",
        f"--audit-log-path={cluster.audit_log}",
        "--audit-log-maxsize=2000",
        "--shutdown-delay-duration=0s",
        "--profiling=false",
    ]


def _controllers(cluster: Layout) -> list[str]:
    return [
        f"--kubeconfig={cluster.config}/kube-controller-manager.kubeconfig",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={cluster.pki}/sa.key",
        f"--root-ca-file={cluster.pki}/ca.crt",
        "--allocate-node-cidrs",
        f"--cluster-cidr={POD_RANGE}",
        "--node-cidr-mask-size=24",
        "--enable-hostpath-provisioner",
        # A node that says nothing for so long is not ready (default 50 s): tests wait for it.
        "--node-monitor-grace-period=20s",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
    ]


def _scheduler(cluster: Layout) -> list[str]:
    return [
        f"--kubeconfig={cluster.config}/kube-scheduler.kubeconfig",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
    ]
