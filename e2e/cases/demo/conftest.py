"""The demo's stage on the cluster with a node; everything is taken away afterwards.

TASKPASS_TEST_CLUSTER names another cluster that runs, and that was made for tests.
"""

import os
from collections.abc import Iterator

import pytest

from e2e.demo.stage import Stage


@pytest.fixture(scope="session")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Return a stage with a cluster and nothing on it."""
    given = os.environ.get("TASKPASS_TEST_CLUSTER")
    made = Stage(given or request.getfixturevalue("cluster").name)
    made.start_cluster()
    made.remove()
    yield made
    made.remove()
