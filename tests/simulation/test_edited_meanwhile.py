"""What an operator acts on is what it has read and compared, whatever its file says later."""

from dataclasses import replace

import pytest

from taskpass.ledger.state.encoding import encode
from tests.simulation.builders import request, task
from tests.simulation.editing import DIFFERS, differs, put_record, unproven
from tests.simulation.test_unproven_state import found_again, in_research
from tests.simulation.world import SimulatedWorld
from tests.unit.ledger.forging import execute


async def working(world: SimulatedWorld) -> None:
    """Have a task hold one credential."""
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()
    assert len(world.held()) == 1


async def test_an_edited_phase_that_is_put_back_before_it_is_compared_leads_nowhere(
    world: SimulatedWorld,
) -> None:
    await in_research(world)
    was = world.ports.ledger.record(world.task.uid)
    assert was is not None
    moves = len(world.entries("task.phase"))
    put_record(world, replace(was, phase="review"))
    world._start()
    body = encode(was).replace("'", "''")
    execute(world.path, f"UPDATE task_record SET body = '{body}'")  # while its Lease is waited for

    found = await differs(world)
    unproven(world, DIFFERS)
    world.change(phase="deploy")
    await world.settle()

    assert "is not what the log says: phase" in (found or "")
    assert (world.provider.live, len(world.entries("task.phase"))) == ({}, moves)
    await found_again(world, was)


async def test_what_a_provider_needs_is_not_what_was_edited_and_put_back(
    world: SimulatedWorld,
) -> None:
    await working(world)
    (grant,) = world.held()
    world.close()
    for state in ({"name": "g-nobody"}, grant.provider_state):
        body = encode(replace(grant, provider_state=state)).replace("'", "''")
        execute(world.path, f"UPDATE grant_state SET body = '{body}'")
        if state != grant.provider_state:
            world._start()

    assert "is not what the log says" in await differs(world)


@pytest.mark.parametrize("how", ["its pod ends", "it is renewed"])
async def test_an_end_is_recorded_whatever_the_row_of_a_binding_says(
    world: SimulatedWorld, how: str
) -> None:
    await working(world)
    assert await differs(world) is None
    execute(world.path, "UPDATE pod_binding SET task_uid = 'x'")

    if how == "its pod ends":
        world.end_pod()
    else:
        world.clock.advance(650)
    await world.settle()

    calls = [kind for kind, *_ in world.provider.calls if kind in ("issue", "revoke")]
    assert calls == (["issue", "revoke"] if how == "its pod ends" else ["issue", "issue"])
    told = [e["data"]["stage"] for e in world.entries("credential.revoke")]
    assert told == (["intent", "result"] if how == "its pod ends" else [])
    execute(world.path, f"UPDATE pod_binding SET task_uid = '{world.task.uid}'")
