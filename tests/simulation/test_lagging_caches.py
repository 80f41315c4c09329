"""What the operator does not believe of a cache that lags."""

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.simulation.builders import NAMESPACE, policy, request, task
from tests.simulation.faults import Crash, When
from tests.simulation.invariants import assert_log_complete, assert_safe
from tests.simulation.lagging import LaggingWorld, assert_nobody_else_reads
from tests.simulation.world import KEY


@pytest.fixture
def lagging(quick_disk: Path) -> Iterator[LaggingWorld]:
    made = LaggingWorld(quick_disk / "ledger.db", random.Random(1), timedelta(seconds=90))
    yield made
    assert not made.broken
    assert_safe(made)
    assert_nobody_else_reads(made)
    assert_log_complete(made)
    made.close()


async def made_anew_while_its_pod_runs(world: LaggingWorld) -> tuple[str, str]:
    """Let a pod go; have its task made anew, and all of it seen but that the pod runs."""
    first = world.create(task(request()))
    running = world.add_pod("running")
    waiting = world.add_pod("waiting")
    world.caches.catch_up()
    await world.look()
    assert not world.pod("running").gated
    world.cluster.release(first)
    world.cluster.delete_task(KEY)
    world.create(task(request()))
    world.caches.catch_up("tasks")
    return running.uid, waiting.uid


async def test_nothing_is_written_while_a_pod_of_before_runs_whatever_a_cache_shows_of_its_gate(
    lagging: LaggingWorld,
) -> None:
    running, _ = await made_anew_while_its_pod_runs(lagging)
    assert lagging.caches.view.known_pods[running].gated

    for _ in range(3):
        await lagging.look()

    assert (NAMESPACE, f"taskpass-{KEY[1]}") not in lagging.cluster.secrets
    assert "Pod 'running' still runs" in lagging.message("Ready")


async def test_it_is_written_once_that_pod_has_ended(lagging: LaggingWorld) -> None:
    _, waiting = await made_anew_while_its_pod_runs(lagging)
    await lagging.look()

    lagging.end_pod("running")
    lagging.caches.catch_up()
    await lagging.look()

    assert not lagging.cluster.known_pods[waiting].gated
    assert lagging.condition("Ready") == ("True", "Ready")


async def test_that_a_pod_was_let_go_is_remembered_by_the_next_process(
    lagging: LaggingWorld,
) -> None:
    lagging.fail("pods.lift_gate", Crash("after the gate was lifted"), when=When.AFTER)
    first = lagging.create(task(request()))
    running = lagging.add_pod("running")
    lagging.caches.catch_up()

    await lagging.look()

    assert lagging.starts == 2
    assert not lagging.pod("running").gated
    assert lagging.ports.ledger.gate_lifted(running.uid)
    assert lagging.ports.ledger.bound_task(running.uid) == first.uid


async def test_a_gate_whose_lift_was_recorded_and_not_made_is_lifted_by_the_next_process(
    lagging: LaggingWorld,
) -> None:
    lagging.fail("lift.after-record", Crash("before the gate was lifted"))
    lagging.create(task(request()))
    running = lagging.add_pod("running")
    lagging.caches.catch_up()
    await lagging.look()
    assert lagging.pod("running").gated
    assert lagging.ports.ledger.gate_lifted(running.uid)

    await lagging.settle()

    assert not lagging.pod("running").gated
    assert lagging.condition("Ready") == ("True", "Ready")


async def test_a_pod_that_was_bound_and_never_let_go_keeps_nobody_waiting(
    lagging: LaggingWorld,
) -> None:
    lagging.cluster.policy_list = []
    first = lagging.create(task(request()))
    lagging.add_pod("denied")
    await lagging.settle()
    assert lagging.ports.ledger.bound_task(lagging.pod("denied").uid) == first.uid
    lagging.cluster.delete_task(KEY)
    await lagging.settle()

    lagging.cluster.policy_list = [policy()]
    lagging.create(task(request()))
    lagging.add_pod("next")
    await lagging.settle()

    assert lagging.condition("Ready") == ("True", "Ready")
    assert not lagging.pod("next").gated
