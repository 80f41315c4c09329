"""What somebody does who can write the ledger's file, and what a start does then."""

from dataclasses import replace
from typing import Any

from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.model.grant import Grant
from taskpass.ledger.state.encoding import encode
from tests.simulation.world import SimulatedWorld
from tests.unit.ledger.forging import execute

DIFFERS = "Nothing is issued: the state differs from the log"


def record_of(world: SimulatedWorld) -> TaskRecord:
    record = world.ports.ledger.record(world.task.uid)
    assert record is not None
    return record


def put_record(world: SimulatedWorld, record: TaskRecord, uid: str = "") -> None:
    """End the operator, and put a record into the row of a UID; without one, into its own."""
    body = encode(record).replace("'", "''")
    world.close()
    row = f"('{uid or record.task.uid}', '{body}')"
    execute(world.path, f"INSERT OR REPLACE INTO task_record VALUES {row}")


def put_grant(world: SimulatedWorld, grant: Grant, **changes: Any) -> None:
    """End the operator, and put a grant, changed, into the row of its id."""
    body = encode(replace(grant, **changes)).replace("'", "''")
    world.close()
    execute(world.path, f"INSERT OR REPLACE INTO grant_state VALUES ('{grant.id}', '{body}')")


async def differs(world: SimulatedWorld) -> str | None:
    """Return what a start finds."""
    assert world._ledger is not None
    return await world._ledger.compare()


def unproven(world: SimulatedWorld, why: str | None) -> None:
    world.ports.modes.unproven = bool(why)
    world.ports.modes.issuance_blocked_reason = why


async def begin_unproven(world: SimulatedWorld) -> None:
    """Start upon an edit, and find it."""
    world._start()
    unproven(world, DIFFERS)
    assert await differs(world) is not None
