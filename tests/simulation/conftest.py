"""Fixtures of the simulated world."""

import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.simulation.faults import Trap
from tests.simulation.invariants import assert_log_complete, assert_safe
from tests.simulation.world import OVERLAP, SimulatedWorld

MakeWorld = Callable[..., SimulatedWorld]


@pytest.fixture
def quick_disk() -> Iterator[Path]:
    """Return a directory in memory where the machine has one: what is durable survives a process,
    which is all that is asked here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)


@pytest.fixture
def make_world(quick_disk: Path) -> Iterator[MakeWorld]:
    """Make worlds, each with a ledger of its own, and end them."""
    made: list[SimulatedWorld] = []

    def make(trap: Trap | None = None, overlap: timedelta = OVERLAP) -> SimulatedWorld:
        made.append(SimulatedWorld(quick_disk / f"ledger-{len(made)}.db", trap, overlap))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world: MakeWorld) -> Iterator[SimulatedWorld]:
    """One world with an operator in it; what must always hold is checked at the end."""
    world = make_world()
    yield world
    assert_safe(world)
    assert_log_complete(world)
