"""What binds a pod to its task goes when both are gone, and never while the pod might be seen."""

from dataclasses import replace

import pytest

from taskpass.core.audit import events as audit
from taskpass.core.errors import ApiUnavailable, Forbidden, PodAlreadyBound
from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.lifecycle.snapshot import Sight
from taskpass.core.model.notice import Notice
from taskpass.flows.cluster.leftovers import MOST, Leftovers
from taskpass.ports.ledger import Batch
from tests.simulation.builders import NAMESPACE, pod, request, task
from tests.simulation.cluster import Cluster
from tests.simulation.conftest import MakeWorld
from tests.simulation.faults import Crash, When
from tests.simulation.invariants import assert_safe
from tests.simulation.world import KEY, SimulatedWorld
from tests.unit.ledger.forging import execute

READ = request("tickets")


async def forgotten(world: SimulatedWorld) -> str:
    """Have a task run, and end with all that was its own but its pod; return the pod's UID."""
    world.create(task(READ))
    world.add_pod()
    await world.settle()
    assert world.held()
    uid = world.pod().uid
    world.cluster.delete_task(KEY)
    await world.settle()
    assert not list(world.ports.ledger.records())
    assert world.ports.ledger.bound_task(uid)
    return uid


async def compared(world: SimulatedWorld) -> str | None:
    """Return what differs between log and state, as a start finds it."""
    assert world._ledger is not None
    return await world._ledger.compare()


async def swept(leftovers: Leftovers, times: int) -> int:
    return sum([await leftovers.sweep() for _ in range(times)])


async def test_a_binding_goes_in_the_second_sweep_that_finds_no_pod(world: SimulatedWorld) -> None:
    uid = await forgotten(world)
    leftovers = Leftovers(world.ports)
    world.cluster.remove_pod(uid)

    first = await leftovers.sweep()
    kept = world.ports.ledger.bound_task(uid)
    second = await leftovers.sweep()

    assert (first, bool(kept), second) == (0, True, 1)
    assert world.ports.ledger.bound_task(uid) is None
    assert [e["data"]["pods"] for e in world.entries("workload.forget")] == [[uid]]
    assert await swept(leftovers, 3) == 0
    assert await compared(world) is None
    world.restart()
    assert await compared(world) is None
    assert_safe(world)


async def test_a_pod_that_lives_stays_bound(world: SimulatedWorld) -> None:
    uid = await forgotten(world)

    assert await swept(Leftovers(world.ports), 5) == 0
    assert world.ports.ledger.bound_task(uid)


async def test_a_pod_that_no_cache_shows_stays_bound_while_it_lives(world: SimulatedWorld) -> None:
    """Nor is it the next task's of the name, once it is seen again."""
    uid = await forgotten(world)
    ports = world.ports
    unseen = replace(ports, world=Cluster(clock=world.cluster.clock))

    assert await swept(Leftovers(unseen), 5) == 0
    world.create(task(READ))
    await world.settle()
    assert ports.ledger.bound_task(uid) not in (None, world.task.uid)
    assert world.condition("Attested")[1] == "PodReplaced"
    second = TaskRecord(task=world.task.ref, attempt=1, pod_name="pod", pod_uid=uid)
    with pytest.raises(PodAlreadyBound):
        await ports.ledger.commit(Batch(tasks=(second,)))


@pytest.mark.parametrize(
    "sight", [Sight(pods=False), Sight(issuance_blocked_reason="pods may not be read")]
)
async def test_nothing_goes_while_the_pods_of_the_namespace_are_not_known(
    world: SimulatedWorld, sight: Sight
) -> None:
    uid = await forgotten(world)
    leftovers = Leftovers(world.ports)
    world.cluster.remove_pod(uid)
    await leftovers.sweep()

    world.cluster.sights[NAMESPACE] = sight
    blind = await swept(leftovers, 3)
    del world.cluster.sights[NAMESPACE]
    once = await leftovers.sweep()

    assert (blind, once) == (0, 0)
    assert await leftovers.sweep() == 1


@pytest.mark.parametrize("error", [ApiUnavailable("no answer"), Forbidden("403")])
async def test_no_answer_is_no_proof_and_what_was_found_before_it_counts_no_more(
    world: SimulatedWorld, error: Exception
) -> None:
    uid = await forgotten(world)
    leftovers = Leftovers(world.ports)
    world.cluster.remove_pod(uid)
    await leftovers.sweep()
    world.fail("pods.is_gone", error)

    asked_in_vain, again = await leftovers.sweep(), await leftovers.sweep()

    assert (asked_in_vain, again) == (0, 0)
    assert await leftovers.sweep() == 1


async def test_a_cache_that_still_shows_the_pod_keeps_it_bound(world: SimulatedWorld) -> None:
    uid = await forgotten(world)
    late = Cluster(clock=world.cluster.clock, known_pods=dict(world.cluster.known_pods))
    leftovers = Leftovers(replace(world.ports, world=late))
    world.cluster.remove_pod(uid)

    while_shown = await swept(leftovers, 4)
    late.remove_pod(uid)

    assert while_shown == 0
    assert await swept(leftovers, 2) == 1


async def test_another_pod_of_the_name_is_left_alone(world: SimulatedWorld) -> None:
    uid = await forgotten(world)
    name = world.pod().name
    world.cluster.remove_pod(uid)
    world.create(task(READ))
    other = world.add_pod(name)
    await world.settle()
    assert world.ports.ledger.bound_task(other.uid) == world.task.uid

    assert await swept(Leftovers(world.ports), 3) == 1
    assert world.ports.ledger.bound_task(uid) is None
    assert world.ports.ledger.bound_task(other.uid) == world.task.uid
    assert world.held()
    assert_safe(world)


async def test_a_task_that_is_remembered_keeps_its_pods(world: SimulatedWorld) -> None:
    world.create(task(READ))
    world.add_pod()
    await world.settle()
    uid = world.pod().uid
    world.cluster.remove_pod(uid)
    await world.settle()

    assert await swept(Leftovers(world.ports), 3) == 0
    assert world.ports.ledger.bound_task(uid)


@pytest.mark.parametrize("mode", ["revoke_only", "unproven"])
async def test_nothing_is_dropped_where_it_cannot_be_recorded_or_may_not_be_so(
    world: SimulatedWorld, mode: str
) -> None:
    uid = await forgotten(world)
    world.cluster.remove_pod(uid)
    setattr(world.ports.modes, mode, True)

    assert await swept(Leftovers(world.ports), 3) == 0


async def test_what_is_found_to_differ_during_a_sweep_drops_nothing(world: SimulatedWorld) -> None:
    uid = await forgotten(world)
    leftovers = Leftovers(world.ports)
    world.cluster.remove_pod(uid)
    await leftovers.sweep()
    is_gone = world.ports.pods.is_gone

    class Found:
        async def is_gone(self, *of: str) -> bool:
            world.ports.modes.unproven = True
            return await is_gone(*of)

    leftovers._ports = replace(world.ports, pods=Found())  # type: ignore[arg-type]

    assert await leftovers.sweep() == 0
    assert world.ports.ledger.bound_task(uid)


@pytest.mark.parametrize(
    "edit", ["task_uid = 'ghost', name = 'nobody'", "namespace = 'sales', name = 'nobody'"]
)
async def test_a_pod_that_lives_stays_bound_wherever_its_row_says_that_it_was(
    make_world: MakeWorld, edit: str
) -> None:
    world = make_world()
    await forgotten(world)
    execute(world.path, f"UPDATE pod_binding SET {edit}")

    assert await swept(Leftovers(world.ports), 3) == 0
    assert world.entries("workload.forget") == []


async def test_pods_that_stay_keep_no_others_waiting(world: SimulatedWorld) -> None:
    pods = [world.cluster.create_pod(pod(f"pod-{n}", task="another")) for n in range(3 * MOST)]
    ref, ledger = task(READ).ref, world.ports.ledger
    record = TaskRecord(task=ref)
    for number, each in enumerate(pods):
        record = TaskRecord(task=ref, attempt=number + 1, pod_name=each.name, pod_uid=each.uid)
        entry = audit.attested(record, world.now(), Notice(reason="Attested", message=each.name))
        await ledger.commit(Batch(entries=(entry,), tasks=(record,)))
    await ledger.commit(Batch(entries=(audit.forgotten(record, 0, world.now()),)))
    await ledger.commit(Batch(forgets=(ref.uid,)))
    last = max(each.uid for each in pods)
    world.cluster.remove_pod(last)

    assert await swept(Leftovers(world.ports), 8) == 1
    assert world.ports.ledger.bound_task(last) is None


@pytest.mark.parametrize("when", list(When))
async def test_a_kill_around_the_drop_leaves_log_and_bindings_as_one(
    world: SimulatedWorld, when: When
) -> None:
    uid = await forgotten(world)
    leftovers = Leftovers(world.ports)
    world.cluster.remove_pod(uid)
    await leftovers.sweep()
    world.fail("ledger.commit", Crash("commit"), when=when)

    with pytest.raises(Crash):
        await leftovers.sweep()
    world.restart()
    await swept(Leftovers(world.ports), 2)

    assert world.ports.ledger.bound_task(uid) is None
    assert len(world.entries("workload.forget")) == 1
    assert await compared(world) is None
