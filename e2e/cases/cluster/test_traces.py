"""A cluster leaves nothing behind, also when whoever started it was killed on the way."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from e2e.cluster import ensure, local, places, remove, traces

NAME = f"{places.default_name()}-gone"
DIRECTORY = places.clusters() / NAME


@pytest.fixture(autouse=True)
def _local_only() -> Iterator[None]:
    if os.environ.get("CLUSTER", "local") != "local" or os.geteuid() != 0:
        pytest.skip("NOT RUN: this is about clusters that are made without an engine")
    remove(NAME)
    yield
    remove(NAME)


def test_a_cluster_that_is_taken_down_leaves_nothing() -> None:
    local.up(NAME, node=True)
    assert set(traces.left_of(DIRECTORY)) == {"processes", "links", "cgroups", "files"}

    remove(NAME)

    assert traces.left_of(DIRECTORY) == {}


@pytest.mark.parametrize("after", [0.0, 0.3, 0.6, 1.0, 1.5, 2.5, 4.0])
def test_a_starter_that_is_killed_leaves_nothing_that_down_does_not_find(after: float) -> None:
    command = [sys.executable, "-m", "e2e.cluster", "up", "--name", NAME]
    starter = subprocess.Popen(command, cwd=places.ROOT, env={**os.environ, "CLUSTER": "local"})
    deadline = time.monotonic() + 60
    while not DIRECTORY.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(after)
    starter.send_signal(signal.SIGKILL)
    starter.wait()

    remove(NAME)

    assert traces.left_of(DIRECTORY) == {}


def test_a_cluster_whose_init_was_killed_is_started_again() -> None:
    first = local.up(NAME, node=False)
    traces.kill(first.identity)

    second = local.up(NAME, node=False)

    assert local.works(second)


def test_two_clusters_side_by_side_do_not_touch_each_other() -> None:
    other = f"{NAME}-too"
    try:
        first, second = ensure(NAME, node=False), ensure(other, node=False)
        first.kubectl("create", "namespace", "only-here")

        assert "only-here" not in second.kubectl("get", "namespaces")

        remove(other)
        assert "only-here" in first.kubectl("get", "namespaces")
    finally:
        remove(other)
