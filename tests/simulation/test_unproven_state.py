"""While the ledger's state may not be what its log says: what is held is revoked, and that is all.

An edited row must not become a signed entry: the next start would find nothing to complain of.
"""

from dataclasses import replace

import pytest

from taskpass.core.lifecycle.records import Outcome, TaskRecord
from taskpass.ledger.state.encoding import encode
from tests.simulation.builders import phase, request, task
from tests.simulation.invariants import assert_at_rest
from tests.simulation.world import SimulatedWorld
from tests.unit.ledger.forging import execute

DIFFERS = "Nothing is issued: the state differs from the log"


async def in_research(world: SimulatedWorld) -> None:
    phases = [
        phase("research", request("tickets"), next=["review"]),
        phase("review", next=["deploy"]),
        phase("deploy", request("kb")),
    ]
    world.create(task(phases=phases, phase="research"))
    world.add_pod()
    await world.settle()


async def edited(world: SimulatedWorld, **changes: object) -> TaskRecord:
    """Edit the task's record, start upon it, and find that; return the record as it was."""
    record = world.ports.ledger.record(world.task.uid)
    assert record is not None
    put(world, replace(record, **changes))  # type: ignore[arg-type]
    assert await differs(world) is not None
    unproven(world, DIFFERS)
    return record


def put(world: SimulatedWorld, record: TaskRecord) -> None:
    """Write it into the file while no operator runs, and start one."""
    world.close()
    body = encode(record).replace("'", "''")
    execute(world.path, f"UPDATE task_record SET body = '{body}'")
    world._start()


async def differs(world: SimulatedWorld) -> str | None:
    assert world._ledger is not None
    return await world._ledger.compare()


def unproven(world: SimulatedWorld, why: str) -> None:
    world.ports.modes.unproven = bool(why)
    world.ports.modes.issuance_blocked_reason = why


async def found_again(world: SimulatedWorld, was: TaskRecord) -> None:
    """Assert that the next start finds the edit too, and nothing once it is taken back."""
    assert "is not what the log says" in await differs(world)
    now = world.ports.ledger.record(was.task.uid)
    assert now is not None
    put(world, replace(now, phase=was.phase, outcome=was.outcome))
    assert await differs(world) is None


async def test_an_edited_phase_is_no_way_past_the_one_between(world: SimulatedWorld) -> None:
    await in_research(world)
    moves = len(world.entries("task.phase"))

    was = await edited(world, phase="review")
    world.change(phase="deploy")
    await world.settle()

    assert world.provider.live == {}
    assert len(world.entries("task.phase")) == moves
    await found_again(world, was)


@pytest.mark.parametrize("outcome", Outcome)
async def test_an_edited_end_takes_back_what_is_held_and_is_recorded_nowhere(
    world: SimulatedWorld, outcome: Outcome
) -> None:
    await in_research(world)

    was = await edited(world, outcome=outcome)
    await world.settle()

    assert world.provider.live == {}
    assert world.entries("task.finish") == []
    assert all("finish" not in each["data"] for each in world.entries("credential.revoke"))
    await found_again(world, was)


@pytest.mark.parametrize(
    "changes",
    [{"actions": ("evil",)}, {"service_account": "somebody"}, {"policy": "AgentPolicy/x/y"},
     {"credential_ref": "x", "fingerprint": "y"}, {"provider_state": {"name": "g-nobody"}},
     {"pod_uid": "another"}],
    ids=lambda changes: "+".join(changes),
)  # fmt: skip
async def test_what_was_edited_of_a_grant_is_not_believed_once_it_is_told_with_its_end(
    world: SimulatedWorld, changes: dict[str, object]
) -> None:
    await in_research(world)
    (grant,) = world.held()
    world.close()
    body = encode(replace(grant, **changes)).replace("'", "''")  # type: ignore[arg-type]
    keep = world.path.read_bytes()
    execute(world.path, f"UPDATE grant_state SET body = '{body}'")
    world._start()
    assert "is not what the log says" in await differs(world)
    unproven(world, DIFFERS)

    world.end_pod()
    await world.settle()

    assert await differs(world) is not None
    world.close()
    world.path.write_bytes(keep)  # a copy of before, restored
    for beside in world.path.parent.glob(f"{world.path.name}-*"):
        beside.unlink()
    world._start()
    await world.settle()
    assert await differs(world) is None
    assert world.provider.live == {}


async def test_a_grant_that_somebody_added_takes_nobodys_credential_back(
    world: SimulatedWorld,
) -> None:
    await in_research(world)
    (grant,) = world.held()
    live = dict(world.provider.live)
    strange = replace(grant, id="g-" + 32 * "7", task=replace(grant.task, uid="ghost"))
    world.close()
    body = encode(strange).replace("'", "''")
    keep = world.path.read_bytes()
    execute(world.path, f"INSERT INTO grant_state (id, body) VALUES ('{strange.id}', '{body}')")
    world._start()
    assert "never was" in await differs(world)
    unproven(world, DIFFERS)

    await world.settle()

    assert world.provider.live == live
    assert "of a grant that was never begun" in await differs(world)
    world.close()
    world.path.write_bytes(keep)
    for beside in world.path.parent.glob(f"{world.path.name}-*"):
        beside.unlink()
    world._start()
    await world.settle()
    assert await differs(world) is None


async def test_a_task_that_is_gone_waits_for_the_comparison_and_is_forgotten_after_it(
    world: SimulatedWorld,
) -> None:
    await in_research(world)
    unproven(world, DIFFERS)

    world.delete()
    await world.settle()
    held = dict(world.provider.live)
    unproven(world, "")
    await world.settle()

    assert held == {}
    assert world.errors == []
    assert list(world.ports.ledger.records()) == []


async def test_a_move_off_the_path_takes_back_what_is_held_though_it_is_recorded_later(
    world: SimulatedWorld,
) -> None:
    await in_research(world)
    unproven(world, DIFFERS)

    world.change(phase="deploy")
    await world.settle()
    unrecorded = world.entries("task.phase")
    unproven(world, "")
    await world.settle()

    assert world.provider.live == {}
    assert unrecorded == []
    assert world.condition("Stalled") == ("True", "UnapprovedBranch")


async def test_what_had_to_wait_for_the_comparison_goes_on_after_it(world: SimulatedWorld) -> None:
    await in_research(world)
    unproven(world, "Nothing is issued: its state is being compared with its log")

    world.end_pod()
    await world.settle()
    waiting = world.condition("Finished"), dict(world.provider.live)
    unproven(world, "")
    await world.settle()

    assert waiting == (("False", "Running"), {})
    assert world.condition("Finished") == ("True", "Succeeded")
    assert_at_rest(world)
