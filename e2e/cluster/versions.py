"""What the local cluster is made of: versions, packages and addresses, as data."""

KUBERNETES = "v1.37.2"
"""Of the cluster that is built here. Also in kubernetes/go.mod; a test compares the two."""
KIND = "v0.33.0"
KIND_KUBERNETES = "v1.37.0"
KIND_IMAGE = (
    f"kindest/node:{KIND_KUBERNETES}"
    "@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
)
"""The newest that this release of kind lists; an image belongs to the release that lists it."""
CONTAINERD = "v2.4.2"
HELM = "v3.22.0"
TORCHWOOD = "v0.6.1"
"""Has litewitness."""
GO_MINIMUM = (1, 26)

NODE_PACKAGES = {
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "/usr/sbin/iptables",
    "conntrack": "/usr/sbin/conntrack",
}
"""Debian packages that a node needs, and the file that shows that one is there."""
BASE_PACKAGES = {
    "iproute2": "/usr/sbin/ip",
    "util-linux": "/usr/bin/unshare",
}
"""Debian packages that a control plane in namespaces of its own needs."""
IMAGE_PACKAGES = {"debootstrap": "/usr/sbin/debootstrap"}
"""Debian packages that building an image without an engine needs."""

NODE_NAME = "node1"
SERVICE_RANGE = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
"""Where pods find the API server."""
POD_RANGE = "10.244.0.0/16"
NODE_POD_RANGE = "10.244.0.0/24"
LINK_PREFIX = "10.201"
"""Each cluster has a /30 of this: .1 is the host, .2 is the cluster, in 10.201.INDEX.0/30."""
API_PORT = 6443
PAUSE_IMAGE = "localhost/pause:1"
MARKER = ("kube-system", "taskpass-e2e")
"""Namespace and name of the ConfigMap in every cluster that was made here; tests insist on it."""
