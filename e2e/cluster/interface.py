"""The one interface to a cluster, whichever way it came about."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from e2e.cluster import context, kind, local, places, tools, traces, versions
from e2e.cluster.errors import ClusterFailed
from e2e.cluster.layout import load

Way = Literal["context", "kind", "local"]


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that runs."""

    name: str
    way: Way
    kubeconfig: Path
    """A file of its own; the user's kubeconfig is never written to."""
    audit_log: Path | None
    """The API server's audit log, one JSON object a line; None where it cannot be had."""
    node: bool
    """Whether it runs pods."""

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Return what kubectl prints.

        Raises:
            ClusterFailed: It failed, and `check` is set; the text is what it said.
        """
        done = subprocess.run(
            [str(kubectl()), "--kubeconfig", str(self.kubeconfig), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and check:
            raise ClusterFailed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def load_image(self, archive: Path) -> None:
        """Bring an OCI archive to the node; pods name it with imagePullPolicy Never."""
        if self.way == "kind":
            kind.run(_kind(self.name).load(archive))
        elif self.way == "local":
            layout = load(places.clusters() / self.name)
            if layout is None:
                raise ClusterFailed(f"{self.name} does not run")
            local.load_image(layout, archive)
        else:
            raise ClusterFailed("bring the image to a registry that this cluster can pull from")

    def load_operator(self) -> None:
        """Build the operator's image of this tree, and bring it to the node.

        By the engine where one is, else without. A context's nodes pull their images themselves.
        """
        if self.way == "local":
            from e2e.image import build  # it stands on this package

            self.load_image(build())
        elif self.way == "kind":
            commands = _kind(self.name)
            kind.run(commands.build_image(kind.engine() or "docker", places.ROOT))
            kind.run(commands.load_built())

    def host_address(self) -> str:
        """Return the address at which the pods find this machine.

        With kind it is the engine's gateway, and this machine's own only where the engine runs on
        it (not in a virtual machine, and not without root).
        """
        if self.way == "kind":
            return kind.run(_kind(self.name).gateway(kind.engine() or "docker")).strip()
        layout = load(places.clusters() / self.name)
        if layout is None or self.way == "context":
            raise ClusterFailed(f"how pods of {self.name} reach this machine is not known")
        return layout.host_address

    def signal(self, component: str, which: signal.Signals) -> None:
        """Send a signal to a component of Kubernetes, such as `kubelet`; one killed comes back.

        Raises:
            ClusterFailed: It does not run, or the cluster is not ours to break.
        """
        if self.way == "kind":
            kind.run(_kind(self.name).signal(kind.engine() or "docker", component, which))
            return
        if self.way == "context":
            raise ClusterFailed("a cluster that was not made here is not broken for a test")
        pid = traces.component(places.identity(places.clusters() / self.name), component)
        if pid is None:
            raise ClusterFailed(f"{component} of {self.name} does not run")
        os.kill(pid, which)

    @contextlib.contextmanager
    def stopped(self, component: str) -> Iterator[None]:
        """Let a component stand still while the block runs, as on a node that hangs."""
        self.signal(component, signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(component, signal.SIGCONT)

    def was_made_here(self) -> bool:
        """Whether it has the mark of clusters that tests may change at will."""
        namespace, name = versions.MARKER
        found = self.kubectl("get", "configmap", name, "-n", namespace, "-o", "name", check=False)
        return bool(found.strip())


def ensure(name: str | None = None, *, node: bool = True) -> Cluster:
    """Return a cluster that runs, started now if need be; which way, says $CLUSTER or the machine.

    CLUSTER=context:NAME takes a context of the user's kubeconfig, and only then is one touched.
    """
    wish = os.environ.get("CLUSTER", "")
    name = places.checked(name or places.default_name())
    if wish.startswith("context:"):
        path = context.kubeconfig(wish.removeprefix("context:"), places.clusters() / name)
        return Cluster(name=name, way="context", kubeconfig=path, audit_log=None, node=True)
    if wish not in ("", "kind", "local"):
        raise ClusterFailed(f"CLUSTER must be context:NAME, kind or local, not {wish!r}")
    if wish == "kind" or (not wish and kind.available()):
        commands = _kind(name)
        kind.up(commands, local_config("audit.yaml"))
        log = commands.directory / "logs" / kind.AUDIT_LOG
        made = Cluster(
            name=name, way="kind", kubeconfig=commands.kubeconfig, audit_log=log, node=True
        )
        if not made.was_made_here():
            namespace, marker = versions.MARKER
            made.kubectl("create", "configmap", marker, "-n", namespace)
        return made
    layout = local.up(name, node=node)
    return Cluster(
        name=name,
        way="local",
        kubeconfig=layout.kubeconfig,
        audit_log=layout.audit_log,
        node=layout.node,
    )


def remove(name: str | None = None) -> bool:
    """Take a cluster away with all it left; False if nothing was there.

    Of one that is a context of the user's, only the copy of the kubeconfig goes.
    """
    name = places.checked(name or places.default_name())
    commands = _kind(name)
    if (commands.directory / "kind.yaml").exists():
        kind.run(commands.delete())
    return local.down(name)


def running() -> list[str]:
    """Return the names of the clusters that are recorded on this machine."""
    return sorted(path.name for path in places.clusters().glob("*") if path.is_dir())


def kubectl() -> Path:
    """Return the path of kubectl: the one that came with the local cluster, or one installed."""
    installed = shutil.which("kubectl")
    if kind.available() and installed:
        return Path(installed)
    return tools.kubectl()


def local_config(name: str) -> Path:
    """Return the path of a configuration file that both ways share."""
    return tools.HERE / "config" / name


def _kind(name: str) -> kind.Kind:
    return kind.Kind(name=name, directory=places.clusters() / name)
