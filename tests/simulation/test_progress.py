"""How far a task has come is kept across a pause; of which nothing is heard holds nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.simulation.builders import policy, request, task
from tests.simulation.conftest import MakeWorld
from tests.simulation.faults import Crash, When
from tests.simulation.invariants import assert_at_rest, assert_nothing_left
from tests.simulation.world import KEY, SimulatedWorld

READ = request("tickets")
HEX = 64 * "a"
SAVED = f"sorted sha256:{HEX}"


async def running(world: SimulatedWorld, **more: object) -> None:
    world.create(task(READ, **more))  # type: ignore[arg-type]
    world.add_pod()
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")


def annotate(world: SimulatedWorld, **annotations: str) -> None:
    """Change annotations; that is no change of the spec."""
    generation = world.task.generation
    world.change(**annotations)
    world.cluster.tasks[KEY] = replace(world.task, generation=generation)


async def test_a_savepoint_is_recorded_once_and_shown(world: SimulatedWorld) -> None:
    await running(world)

    annotate(world, savepoint=SAVED)
    await world.settle()
    await world.settle()

    assert world.status["savepoint"]["step"] == "sorted"
    assert world.status["savepoint"]["sha256"] == HEX
    (entry,) = world.entries("task.save")
    assert entry["data"]["savepoint"] == {"step": "sorted", "sha256": HEX}
    assert len(world.held()) == 1  # it takes nothing back


async def test_the_next_pod_finds_it_beside_its_credentials(world: SimulatedWorld) -> None:
    await running(world)
    annotate(world, savepoint=SAVED)
    await world.settle()
    world.change(operating_mode="Suspended")
    await world.settle()
    world.remove_pod()
    await world.settle()
    assert world.status["savepoint"]["step"] == "sorted"  # kept while it rests

    world.change(operating_mode="Running")
    world.add_pod("another")
    await world.settle()

    (secret,) = world.cluster.secrets.values()
    assert secret.index["savepoint"] == {"step": "sorted", "sha256": HEX}


@pytest.mark.parametrize("change", ["intent", "policy"])
async def test_one_of_another_intent_or_other_policies_is_not_given_to_anybody(
    world: SimulatedWorld, change: str
) -> None:
    await running(world)
    annotate(world, savepoint=SAVED)
    await world.settle()

    if change == "intent":
        world.change(intent=task(goal="Another goal").intent)
    else:
        world.cluster.policy_list = [policy("another")]
        world.cluster.changed()
    await world.settle()

    assert "savepoint" not in world.status


async def test_what_is_no_savepoint_is_passed_over(world: SimulatedWorld) -> None:
    await running(world)

    annotate(world, savepoint="no digest")
    await world.settle()

    assert "savepoint" not in world.status
    assert world.entries("task.save") == []


async def test_a_task_of_which_nothing_is_heard_holds_nothing_until_something_is(
    world: SimulatedWorld,
) -> None:
    await running(world, idle=600)
    old = world.held()[0].id

    world.clock.advance(601)
    await world.settle()

    assert (world.provider.live, world.secret(), world.reasons()) == ({}, None, ["Idle"])
    assert world.condition("Suspended") == ("True", "Idle")
    assert "Nothing was heard of it for 600 s" in world.message("Suspended")

    annotate(world, active="again")
    await world.settle()
    assert world.condition("Ready") == ("True", "Ready")
    assert world.held()[0].id != old
    assert_at_rest(world)


async def test_what_is_heard_in_time_keeps_it_going(world: SimulatedWorld) -> None:
    await running(world, idle=600)

    for number in range(5):
        world.clock.advance(400)
        annotate(world, active=f"step {number}")
        await world.settle()
        assert world.condition("Suspended") == ("False", "Running")

    world.clock.advance(400)
    annotate(world, savepoint=SAVED)
    await world.settle()
    world.clock.advance(400)
    await world.settle()
    assert world.condition("Suspended") == ("False", "Running")


async def test_it_is_looked_at_when_its_time_is_over(world: SimulatedWorld) -> None:
    await running(world, idle=300)

    again = await world.look()

    assert again is not None
    assert again.at == world.now() + timedelta(seconds=300)


async def test_without_a_limit_nothing_is_written_down_of_what_is_heard(
    world: SimulatedWorld,
) -> None:
    await running(world)
    world.journal.clear()

    annotate(world, active="again")
    await world.settle()

    assert not [call for call in world.journal if call.startswith("ledger.commit")]


async def test_a_task_that_waits_for_its_first_pod_is_not_idle(world: SimulatedWorld) -> None:
    world.create(task(READ, idle=60))
    world.clock.advance(3600)
    await world.settle()

    assert world.condition("Suspended") == ("False", "Running")


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("skip", range(5))
async def test_a_crash_at_any_moment_loses_no_savepoint_and_leaves_nothing(
    make_world: MakeWorld, when: When, skip: int
) -> None:
    world = make_world()
    await running(world, idle=600)
    world.fail("ledger.commit", Crash("commit"), when=when, skip=skip)

    annotate(world, savepoint=SAVED)
    await world.settle()
    world.clock.advance(601)
    await world.settle()
    assert world.provider.live == {}
    annotate(world, active="again")
    await world.settle()

    assert world.condition("Ready") == ("True", "Ready")
    assert world.status["savepoint"]["step"] == "sorted"
    assert len(world.entries("task.save")) == 1
    world.cluster.delete_task(KEY)
    await world.settle()
    assert_nothing_left(world)
