"""The second way: kind, where a Docker or Podman engine answers.

The commands are built here as values, so that they can be tested where no engine is to be had.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from e2e.cluster.errors import ClusterFailed
from e2e.cluster.say import step
from e2e.cluster.versions import KIND, KIND_IMAGE

AUDIT_LOG = "audit.log"
IMAGE = "localhost/taskpass:dev"


@dataclass(frozen=True)
class Kind:
    """The commands for the cluster of one name; `directory` holds its kubeconfig and audit log."""

    name: str
    directory: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; never the user's own."""
        return self.directory / "kubeconfig"

    def create(self) -> list[str]:
        """Return the command that starts it and waits for the node."""
        command = ["kind", "create", "cluster", "--name", self.name, "--wait", "120s"]
        command += ["--image", KIND_IMAGE]
        return [*command, "--config", str(self.directory / "kind.yaml"), *self._kubeconfig()]

    def delete(self) -> list[str]:
        """Return the command that takes it away; no such cluster is success."""
        return ["kind", "delete", "cluster", "--name", self.name, *self._kubeconfig()]

    def build_image(self, engine: str, tree: Path) -> list[str]:
        """Return the command that builds the operator's image from the Dockerfile."""
        return [engine, "build", "--tag", IMAGE, str(tree)]

    def load_built(self) -> list[str]:
        """Return the command that brings the image the engine built to the node."""
        return ["kind", "load", "docker-image", IMAGE, "--name", self.name]

    def load(self, archive: Path) -> list[str]:
        """Return the command that brings an image archive to the node."""
        return ["kind", "load", "image-archive", str(archive), "--name", self.name]

    def signal(self, engine: str, component: str, which: Signals) -> list[str]:
        """Return the command that sends a signal to a component in the node's container."""
        sends = ["pkill", f"-{which.name}", "-x", component]
        return [engine, "exec", f"{self.name}-control-plane", *sends]

    def gateway(self, engine: str) -> list[str]:
        """Return the command that prints the address of the engine's host, as the node sees it."""
        shown = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}"
        return [engine, "inspect", "--format", shown, f"{self.name}-control-plane"]

    def configuration(self, policy: Path) -> str:
        """Return kind's configuration: one node, and an audit log that the host can read."""
        return CONFIGURATION.format(policy=policy, logs=self.directory / "logs")

    def _kubeconfig(self) -> list[str]:
        return ["--kubeconfig", str(self.kubeconfig)]


CONFIGURATION = """\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
    extraMounts:
      - {{hostPath: "{policy}", containerPath: /etc/kubernetes/taskpass/audit.yaml, readOnly: true}}
      - {{hostPath: "{logs}", containerPath: /var/log/kubernetes}}
    kubeadmConfigPatches:
      - |
        kind: ClusterConfiguration
        apiServer:
          extraArgs:
            - {{name: audit-policy-file, value: /etc/kubernetes/taskpass/audit.yaml}}
            - {{name: audit-log-path, value: /var/log/kubernetes/audit.log}}
          extraVolumes:
            - name: policy
              hostPath: /etc/kubernetes/taskpass
              mountPath: /etc/kubernetes/taskpass
              readOnly: true
            - {{name: audit, hostPath: /var/log/kubernetes, mountPath: /var/log/kubernetes}}
"""


def engine() -> str | None:
    """Return the container engine that answers, if one does."""
    for name in ("docker", "podman"):
        if shutil.which(name) is not None:
            asked = subprocess.run([name, "info"], capture_output=True, check=False)
            if asked.returncode == 0:
                return name
    return None


def available() -> bool:
    """Whether kind is installed and an engine answers."""
    return shutil.which("kind") is not None and engine() is not None


def up(cluster: Kind, policy: Path) -> None:
    """Start it, unless it runs."""
    if cluster.kubeconfig.exists():
        return
    (cluster.directory / "logs").mkdir(parents=True, exist_ok=True)
    (cluster.directory / "kind.yaml").write_text(cluster.configuration(policy))
    with step(f"starting {cluster.name} with kind", usually="60 s"):
        try:
            run(cluster.create())
        except ClusterFailed as error:
            raise ClusterFailed(
                f"{error}\n(its image is one of those that kind {KIND} lists)"
            ) from error


def run(command: list[str]) -> str:
    """Run one of the commands above; return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterFailed(f"{' '.join(command[:3])} failed: {done.stderr[-2000:]}")
    return done.stdout
