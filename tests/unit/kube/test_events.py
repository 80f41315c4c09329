"""Events: nothing waits for them, and what nobody will see is counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import orjson
import pytest

from taskpass.core.model.notice import Severity
from taskpass.kube.writers import events as module
from taskpass.kube.writers.events import KubeEvents
from tests.unit.kube.scripted_server import Answer, Script, status_body

PATH = "/apis/events.k8s.io/v1/namespaces/support/events"
T0 = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


async def post(events: KubeEvents, *, name: str = "ticket", unique: str = "1") -> None:
    await events.post(
        kind="AgentTask", namespace="support", name=name, uid="u-1", unique=unique,
        reason="CredentialIssued", message="m", severity=Severity.NORMAL, at=T0,
    )  # fmt: skip


@asynccontextmanager
async def posting(script: Script, *answers: Answer) -> AsyncIterator[KubeEvents]:
    script.on(f"POST {PATH}", *answers)
    async with script.client() as client:
        events = KubeEvents(client, instance="test", pauses=(0.0, 0.0))
        running = asyncio.create_task(events.run())
        yield events
        await events.drain(5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_server_that_is_away_for_a_moment_loses_none(script: Script) -> None:
    away = Answer(status_body(500, "away"), 500)

    async with posting(script, away, Answer({}, 201)) as events:
        await post(events)

    assert events.dropped == 0
    assert len(script.bodies) == 2


async def test_a_server_that_stays_away_costs_the_event_and_nothing_else(script: Script) -> None:
    async with posting(script, Answer(status_body(500, "away"), 500)) as events:
        await post(events)
        await events.drain(5)
        script.on(f"POST {PATH}", Answer({}, 201))
        await post(events, unique="2")

    assert events.dropped == 1
    assert len(script.bodies) == 4


async def test_the_same_step_has_the_same_name_and_another_has_another(script: Script) -> None:
    async with posting(script, Answer({}, 201)) as events:
        for unique in ("1", "1", "2"):
            await post(events, unique=unique)

    names = [orjson.loads(body)["metadata"]["name"] for body in script.bodies]
    assert len(names) == 3
    assert len(set(names)) == 2
    assert all(name.startswith("ticket.") for name in names)


async def test_the_name_of_an_event_is_no_longer_than_allowed(script: Script) -> None:
    async with posting(script, Answer({}, 201)) as events:
        await post(events, name="a" * 199 + "." + "b" * 53)

    name = orjson.loads(script.bodies[0])["metadata"]["name"]
    assert name.startswith("a" * 199 + ".")
    assert ".." not in name
    assert len(name) <= 253


async def test_a_queue_that_is_full_drops_and_counts(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING", 2)
    async with script.client() as client:
        events = KubeEvents(client, instance="test")
        for unique in ("1", "2", "3"):
            await post(events, unique=unique)

    assert events.dropped == 1


async def test_a_namespace_that_tells_too_much_takes_no_others_place(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_OF_ONE", 3)
    async with script.client() as client:
        events = KubeEvents(client, instance="test")
        for number in range(10):
            await post(events, unique=str(number))
        await events.post(
            kind="AgentTask", namespace="sales", name="t", uid="u", unique="1",
            reason="CredentialIssued", message="m", severity=Severity.NORMAL, at=T0,
        )  # fmt: skip

        assert events.dropped == 7
        assert [events._line.take()["metadata"]["namespace"] for _ in range(3)] == [  # type: ignore[index]
            "support", "sales", "support",
        ]  # fmt: skip
