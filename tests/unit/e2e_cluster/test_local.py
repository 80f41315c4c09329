"""What can be told of the local cluster without starting one."""

import json
import re
from pathlib import Path

import pytest

from e2e.cluster import golang, packages, places, traces, versions
from e2e.cluster.components import components
from e2e.cluster.errors import ClusterFailed
from e2e.cluster.layout import Layout, free_index, load
from e2e.cluster.prepare import prepare

SOURCE = Path(places.__file__).parent / "kubernetes"


@pytest.fixture
def cluster(tmp_path: Path) -> Layout:
    made = Layout(name="one", directory=tmp_path / "one", node=True, index=7)
    made.save()
    return made


def test_what_is_recorded_is_read_again(cluster: Layout) -> None:
    assert load(cluster.directory) == cluster


def test_half_a_record_is_no_cluster(cluster: Layout) -> None:
    (cluster.directory / "cluster.json").write_text('{"name": "o')

    assert load(cluster.directory) is None


def test_a_link_has_a_name_that_the_kernel_takes(cluster: Layout) -> None:
    assert len(cluster.link) <= 15


def test_no_two_clusters_get_the_same_addresses() -> None:
    assert free_index({1, 2, 4}) == 3


@pytest.mark.parametrize("name", ["", "../up", "A", "a/b", "-a", "a" * 43, "a\n"])
def test_a_name_that_would_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ClusterFailed, match="name must be"):
        places.checked(name)


def test_every_configuration_file_is_filled_in(cluster: Layout) -> None:
    prepare(cluster)

    written = [path for path in cluster.config.rglob("*") if path.is_file()]
    assert {path.name for path in written} >= {"audit.yaml", "kubelet.yaml", "10-bridge.conflist"}
    assert [path.name for path in written if "$" in path.read_text()] == []
    assert json.loads(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"] == (
        "https://10.201.7.2:6443"
    )


def test_keys_are_readable_by_their_owner_alone(cluster: Layout) -> None:
    prepare(cluster)

    secret = [*cluster.pki.glob("*.key"), cluster.kubeconfig]
    assert {path.stat().st_mode & 0o077 for path in secret} == {0}


def test_a_control_plane_alone_has_no_agents_of_a_node(tmp_path: Path) -> None:
    alone = Layout(name="one", directory=tmp_path, node=False, index=1)

    names = [each.name for each in components(alone, Path("/k"), None)]

    assert names == ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]


def test_a_node_adds_its_agents(cluster: Layout) -> None:
    names = {each.name for each in components(cluster, Path("/k"), Path("/c"))}

    assert names >= {"containerd", "kubelet", "kube-proxy"}


def test_the_version_that_is_linked_in_is_the_one_that_is_required() -> None:
    required = re.search(r"^\s+k8s.io/kubernetes (v\S+)$", (SOURCE / "go.mod").read_text(), re.M)

    assert required
    assert required[1] == versions.KUBERNETES


def test_every_module_of_kubernetes_has_the_same_version() -> None:
    replaced = re.findall(r"=> k8s.io/\S+ (v\S+)$", (SOURCE / "go.mod").read_text(), re.M)

    assert set(replaced) == {"v0" + versions.KUBERNETES.removeprefix("v1")}


def test_packages_that_are_there_are_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "here").touch()

    wanted = {"a": str(tmp_path / "here"), "b": str(tmp_path / "not-here")}

    assert packages.missing(wanted) == ["b"]


def test_without_root_a_missing_package_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    with pytest.raises(ClusterFailed, match=r"apt-get install .* no-such-package"):
        packages.need({"no-such-package": "/no/such/file"})


def test_a_program_that_is_no_go_has_no_version() -> None:
    assert golang.version_of("/bin/true") == (0, 0)


def test_what_was_never_made_has_left_nothing(tmp_path: Path) -> None:
    assert traces.left_of(tmp_path / "never") == {}
