"""Clusters for the cases: made here, under names of this tree's own, and taken away at the end.

TASKPASS_KEEP=1 leaves them running, so that the next run starts at once.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster import Cluster, ensure, places, remove, tools
from e2e.image import build


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Return a cluster with a node and the operator's image on it; it is shared by all cases."""
    name = f"{places.default_name()}-e2e"
    made = ensure(name)
    if not made.was_made_here():
        pytest.fail(f"{made.name} was not made for tests: they would change it", pytrace=False)
    made.load_operator()
    yield made
    _end(name)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[str]:
    """Return the kubeconfig of a control plane without nodes, with nothing in it.

    TASKPASS_PLANE names another one, for a session that runs beside.
    """
    name = f"{places.default_name()}-{os.environ.get('TASKPASS_PLANE', 'plane')}"
    made = ensure(name, node=False)
    assert made.was_made_here()
    yield str(made.kubeconfig)
    _end(name)


@pytest.fixture(scope="session")
def helm() -> str:
    """Return the path of helm."""
    return str(tools.helm())


@pytest.fixture(scope="session")
def archive() -> Path:
    """Return the operator's image as an OCI archive."""
    return build()


def _end(name: str) -> None:
    if not os.environ.get("TASKPASS_KEEP"):
        remove(name)
