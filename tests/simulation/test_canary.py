"""Secrets are nowhere but where they are delivered (docs/concepts.md, rule 6)."""

import logging
import pickle

import pytest

from taskpass.core.errors import ApiUnavailable, ProviderUnavailable
from taskpass.ledger.log.reader import reading
from taskpass.runtime.log_format import LineFormatter
from tests.fake_provider import CANARY, Failure
from tests.simulation.builders import phase, request, task
from tests.simulation.faults import When
from tests.simulation.world import SimulatedWorld


async def eventful_story(world: SimulatedWorld) -> None:
    """Issue, lose answers, move, be denied, restart, owe, end: each with what it says."""
    phases = [phase("research", request("tickets"), next=["reply"]), phase("reply", request("kb"))]
    world.create(task(phases=phases, phase="research"))
    world.add_pod()
    world.provider.issue_failures = [Failure.ANSWER_LOST, Failure.REFUSED]
    world.fail("sink.deliver", ApiUnavailable("lost"), when=When.AFTER)
    await world.settle()
    world.fail("provider.revoke", ProviderUnavailable("no answer"), when=When.AFTER, times=2)
    world.change(phase="reply")
    await world.settle()


async def test_a_canary_is_in_the_secret_and_nowhere_else(
    world: SimulatedWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    await eventful_story(world)

    fields = world.secret()
    assert fields is not None
    assert fields["kb.token"].startswith(CANARY.encode())
    formatter = LineFormatter()
    said = [
        *map(formatter.format, caplog.records),
        *(repr(record.__dict__) for record in caplog.records),
        repr(world.cluster.statuses),
        repr(world.cluster.events),
        repr(world.errors),
        repr(world.held()),
        repr(list(world.ports.ledger.records())),
        repr(world.ports.secret_cache),
        repr(world.cluster.secrets["support", "taskpass-ticket-4711"].index),
        *world.journal,
    ]
    assert len(caplog.records) > 5
    assert [line for line in said if CANARY in line] == []


async def test_a_canary_is_in_no_file_of_the_ledger(world: SimulatedWorld) -> None:
    await eventful_story(world)

    files = [p for p in world.path.parent.iterdir() if p.name.startswith(world.path.name)]
    raw = b"".join(p.read_bytes() for p in files)
    with reading(world.path) as log:
        entries = list(log.entries())

    assert world.path.with_name(world.path.name + "-wal") in files
    assert len(entries) > 10
    assert CANARY.encode() not in raw
    assert not [entry for entry in entries if CANARY.encode() in entry]


async def test_what_is_known_cannot_be_pickled(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()

    [fields] = world.ports.secret_cache.values()

    with pytest.raises(TypeError, match="must not be pickled"):
        pickle.dumps(dict(fields))


async def test_what_is_revoked_is_forgotten(world: SimulatedWorld) -> None:
    world.create(task(request("tickets")))
    world.add_pod()
    await world.settle()

    world.end_pod()
    await world.settle()

    assert world.ports.secret_cache == {}
