"""While the ledger's state may not be what its log says: what is held is revoked, and that is all.

An edited row must not become a signed entry: the next start would find nothing to complain of.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from taskpass.core.lifecycle.records import Outcome, TaskRecord
from taskpass.core.model.grant import GrantState
from taskpass.flows.cluster.orphans import Sweeper
from tests.simulation.builders import phase, request, task
from tests.simulation.conftest import MakeWorld
from tests.simulation.editing import (
    DIFFERS,
    begin_unproven,
    differs,
    put_grant,
    put_record,
    record_of,
    unproven,
)
from tests.simulation.invariants import assert_at_rest
from tests.simulation.world import SimulatedWorld
from tests.unit.ledger.forging import execute

LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


async def in_research(world: SimulatedWorld, **more: Any) -> None:
    phases = [
        phase("research", request("tickets"), next=["review"]),
        phase("review", next=["deploy"]),
        phase("deploy", request("kb")),
    ]
    world.create(task(phases=phases, phase="research", **more))
    world.add_pod()
    await world.settle()


async def edited(world: SimulatedWorld, **changes: object) -> TaskRecord:
    """Edit the task's record, start upon it, and find that; return the record as it was."""
    record = record_of(world)
    put_record(world, replace(record, **changes))  # type: ignore[arg-type]
    await begin_unproven(world)
    return record


async def found_again(world: SimulatedWorld, was: TaskRecord) -> None:
    """Assert that the next start finds the edit too, and nothing once it is taken back."""
    assert "is not what the log says" in await differs(world)
    put_record(world, replace(record_of(world), phase=was.phase, outcome=was.outcome))
    world._start()
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


def gone(record: TaskRecord) -> dict[str, TaskRecord]:
    """Return a row more: of a task of the name that is gone, which is to be forgotten first."""
    return {"ghost": TaskRecord(task=replace(record.task, uid="ghost"))}


EDITS: dict[str, Callable[[TaskRecord], dict[str, TaskRecord]]] = {
    "of another task": lambda r: {r.task.uid: replace(r, task=replace(r.task, uid="x"))},
    "of another name": lambda r: {r.task.uid: replace(r, task=replace(r.task, name="x"))},
    "a task that is gone": gone,
    "suspended": lambda r: {r.task.uid: replace(r, suspended="Suspended")},
    "no attempt": lambda r: {r.task.uid: replace(r, attempt=0)},
    "no pod": lambda r: {r.task.uid: replace(r, pod_uid="", pod_name="")},
    "began at the end of time": lambda r: {r.task.uid: replace(r, started_at=LAST)},
}
ENDS: dict[str, Callable[[SimulatedWorld], None]] = {
    "its pod ends": lambda world: world.end_pod(),
    "it is deleted": lambda world: world.delete(),
    "it is suspended": lambda world: world.change(operating_mode="Suspended"),
    "its phase moves": lambda world: world.change(phase="review"),
    "it leaves its path": lambda world: world.change(phase="deploy"),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
async def test_whatever_a_record_says_what_is_held_is_revoked_when_its_reason_goes(
    make_world: MakeWorld, edit: Callable[[TaskRecord], dict[str, TaskRecord]],
    end: Callable[[SimulatedWorld], None],
) -> None:  # fmt: skip
    world = make_world()
    await in_research(world, deadline=7200)
    for uid, record in edit(record_of(world)).items():
        put_record(world, record, uid)
    await begin_unproven(world)

    end(world)
    await settled_with_errors(world)

    assert world.provider.live == {}
    assert await differs(world) is not None


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_a_time_that_no_entry_tells_keeps_nothing_from_being_revoked_either(
    make_world: MakeWorld, end: Callable[[SimulatedWorld], None]
) -> None:
    world = make_world()
    await in_research(world, idle=600)
    put_record(world, replace(record_of(world), active_at=LAST))
    world._start()
    assert await differs(world) is None

    end(world)
    await settled_with_errors(world)

    assert world.provider.live == {}


async def settled_with_errors(world: SimulatedWorld) -> None:
    """Settle, where the status of a task cannot be told."""
    with contextlib.suppress(OverflowError):
        await world.settle()


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_what_is_noted_as_of_another_provider_is_taken_back_and_owed(
    make_world: MakeWorld, end: Callable[[SimulatedWorld], None]
) -> None:
    world = make_world()
    await in_research(world)
    put_grant(world, world.held()[0], provider="x")
    await begin_unproven(world)

    end(world)
    await world.settle()

    assert world.provider.live == {}
    assert [grant.state for grant in world.held()] == [GrantState.REVOKING]


async def test_what_nobody_holds_waits_for_the_comparison_and_goes_after_it(
    world: SimulatedWorld,
) -> None:
    """Whoever took the row of a grant away would have it signed that nobody answers for it."""
    await in_research(world)
    (grant,) = world.held()
    world.close()
    execute(world.path, "DELETE FROM grant_state")
    await begin_unproven(world)
    sweeper = Sweeper(world.ports, lambda _: None)

    while_unproven = await sweeper.sweep(quiet=True) + await sweeper.sweep(quiet=False)
    put_grant(world, grant)
    world._start()
    assert (while_unproven, await differs(world)) == (0, None)
    world.provider.live["g-of-nobody"] = b"left by a crash"
    unproven(world, "Nothing is issued: its state is being compared with its log")
    sweeper = Sweeper(world.ports, lambda _: None)
    before = await sweeper.sweep(quiet=True)
    waiting = asyncio.ensure_future(sweeper.sweep_once_proven())
    unproven(world, None)
    await waiting

    assert before == 0
    assert world.provider.live.keys() == {grant.id}
    assert len(world.entries("orphan.undo")) == 1


@pytest.mark.parametrize("before", ["", "Failed"])
async def test_no_end_is_shown_that_the_log_does_not_tell_and_none_is_taken_back(
    make_world: MakeWorld, before: str
) -> None:
    world = make_world()
    await in_research(world)
    if before:
        world.end_pod(how=before)
        await world.settle()

    await edited(world, outcome=Outcome.SUCCEEDED, finished_at=world.now())
    await world.settle()

    assert len(world.entries("task.finish")) == bool(before)
    shown = ("True", before) if before else ("Unknown", "Pending")
    assert world.condition("Finished") == shown


async def test_an_end_that_was_shown_stays_though_the_record_tells_of_none(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    await in_research(world)
    world.end_pod()
    await world.settle()

    await edited(world, outcome=None, finished_at=None)
    await world.settle()

    assert world.condition("Finished") == ("True", "Succeeded")


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
    keep = world.path.read_bytes()
    put_grant(world, grant, **changes)
    await begin_unproven(world)

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
    keep = world.path.read_bytes()
    put_grant(world, strange)
    await begin_unproven(world)

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
    unproven(world, None)
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
    unproven(world, None)
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
    unproven(world, None)
    await world.settle()

    assert waiting == (("False", "Running"), {})
    assert world.condition("Finished") == ("True", "Succeeded")
    assert_at_rest(world)
