"""Where no engine is to be had, kind is tried up to the commands that would be run."""

import signal
from pathlib import Path

import yaml

from e2e.cluster import versions
from e2e.cluster.kind import Kind

CLUSTER = Kind(name="tp", directory=Path("/state/tp"))


def test_it_is_created_with_a_kubeconfig_of_its_own_from_an_image_that_kind_lists() -> None:
    image = "sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"

    assert CLUSTER.create() == [
        *("kind", "create", "cluster", "--name", "tp", "--wait", "120s"),
        *("--image", f"kindest/node:v1.37.0@{image}", "--config", "/state/tp/kind.yaml"),
        *("--kubeconfig", "/state/tp/kubeconfig"),
    ]


def test_its_kubernetes_is_of_the_same_minor_as_the_one_that_is_built_here() -> None:
    assert minor_of(versions.KIND_KUBERNETES) == minor_of(versions.KUBERNETES)


def minor_of(version: str) -> str:
    return version.rpartition(".")[0]


def test_it_is_deleted_by_name() -> None:
    assert CLUSTER.delete() == [
        *("kind", "delete", "cluster", "--name", "tp"),
        *("--kubeconfig", "/state/tp/kubeconfig"),
    ]


def test_images_are_built_by_the_engine_and_loaded_by_name() -> None:
    assert CLUSTER.build_image("docker", Path("/tree")) == [
        *("docker", "build", "--tag", "localhost/taskpass:dev", "/tree"),
    ]
    assert CLUSTER.load_built() == [
        *("kind", "load", "docker-image", "localhost/taskpass:dev", "--name", "tp"),
    ]


def test_a_component_is_signalled_in_the_nodes_container() -> None:
    assert CLUSTER.signal("podman", "kubelet", signal.SIGSTOP) == [
        *("podman", "exec", "tp-control-plane", "pkill", "-SIGSTOP", "-x", "kubelet"),
    ]


def test_pods_find_the_engines_host_at_the_gateway_of_the_nodes_network() -> None:
    assert CLUSTER.gateway("docker") == [
        *("docker", "inspect", "--format"),
        "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}",
        "tp-control-plane",
    ]


def test_its_audit_log_lies_where_the_host_can_read_it() -> None:
    configuration = yaml.safe_load(CLUSTER.configuration(Path("/tree/audit.yaml")))

    (node,) = configuration["nodes"]
    mounts = {each["containerPath"]: each["hostPath"] for each in node["extraMounts"]}
    assert mounts == {
        "/etc/kubernetes/taskpass/audit.yaml": "/tree/audit.yaml",
        "/var/log/kubernetes": "/state/tp/logs",
    }
    (patch,) = (yaml.safe_load(text) for text in node["kubeadmConfigPatches"])
    arguments = {each["name"]: each["value"] for each in patch["apiServer"]["extraArgs"]}
    assert arguments["audit-log-path"] == "/var/log/kubernetes/audit.log"
