"""What one local cluster is called and where it keeps things: plain values, known before it exists.

They are recorded on disk before the first of them is made, so that a later `down` finds all of it,
whoever was killed in between.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from e2e.cluster import places
from e2e.cluster.versions import API_PORT, LINK_PREFIX


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A local cluster, before, while and after it runs."""

    name: str
    directory: Path
    node: bool
    """Whether it has a node; a control plane alone runs no pods."""
    index: int
    """Which /30 of the links' range it has; no two clusters of a machine share one."""

    @property
    def identity(self) -> str:
        """Eight letters in the names of its link and cgroups and in its processes' environment."""
        return places.identity(self.directory)

    @property
    def link(self) -> str:
        """The host's end of the link to the cluster."""
        return f"tp{self.identity}"

    @property
    def cgroup(self) -> str:
        """Name of its cgroup, in every hierarchy."""
        return f"taskpass-{self.identity}"

    @property
    def host_address(self) -> str:
        """The host, as the cluster sees it."""
        return f"{LINK_PREFIX}.{self.index}.1"

    @property
    def address(self) -> str:
        """The cluster, as the host sees it; also the node's address."""
        return f"{LINK_PREFIX}.{self.index}.2"

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.address}:{API_PORT}"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.directory / "pki"

    @property
    def config(self) -> Path:
        """Configuration of the components."""
        return self.directory / "config"

    @property
    def logs(self) -> Path:
        """One file for each component."""
        return self.directory / "logs"

    @property
    def hidden(self) -> Path:
        """What the node sees as /run, /tmp, /var/lib and /var/log, so that it leaves none there."""
        return self.directory / "hidden"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON object a line."""
        return self.logs / "audit.log"

    @property
    def ready(self) -> Path:
        """This file is there once the cluster was seen to work."""
        return self.directory / "ready"

    def save(self) -> None:
        """Make the directory and write what `load` reads."""
        self.directory.mkdir(parents=True, mode=0o700)
        (self.directory / "cluster.json").write_text(
            json.dumps({**asdict(self), "directory": str(self.directory)})
        )


def load(directory: Path) -> Layout | None:
    """Return the cluster recorded in `directory`, None if nothing (whole) is recorded."""
    try:
        fields = json.loads((directory / "cluster.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return Layout(**{**fields, "directory": directory})


def free_index(taken: set[int]) -> int:
    """Return the lowest index that no other cluster has."""
    return next(index for index in range(1, 256) if index not in taken)
