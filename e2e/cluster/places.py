"""Where things are kept outside the tree, and what a cluster's things are called."""

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from e2e.cluster.errors import ClusterFailed

ROOT = Path(__file__).resolve().parents[2]
"""The tree that this file is in."""


def cache() -> Path:
    """Return the directory of what is built once per machine."""
    return _base("XDG_CACHE_HOME", ".cache")


def clusters() -> Path:
    """Return the directory in which each cluster has one with its name."""
    return _base("XDG_STATE_HOME", ".local/state") / "clusters"


def default_name() -> str:
    """Return a name that is this tree's own, so that two checkouts do not share a cluster."""
    return f"taskpass-{_short(str(ROOT))}"


def checked(name: str) -> str:
    """Return `name` if it can be a cluster's: it becomes part of paths."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", name):
        raise ClusterFailed(
            f"a cluster's name must be lower-case letters, digits and dashes, at most 42: {name!r}"
        )
    return name


def identity(directory: Path) -> str:
    """Return eight letters that mark every link, cgroup and process of the cluster kept there."""
    return _short(str(directory))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock in that file; the kernel lets go of it when this process ends, however."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _base(variable: str, default: str) -> Path:
    given = os.environ.get(variable)
    return (Path(given) if given else Path.home() / default).resolve() / "taskpass"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
