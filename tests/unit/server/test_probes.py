"""Probes and metrics over HTTP, as a kubelet and Prometheus ask for them."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from taskpass.core.model.problem import Problem
from taskpass.server.health import Health, LedgerReason
from taskpass.server.probes import Probes


@pytest.fixture
def health() -> Health:
    """An operator that has just started."""
    return Health()


@pytest.fixture
async def url(health: Health) -> AsyncIterator[str]:
    """Where it answers."""
    registry = CollectorRegistry()
    Counter("taskpass_tests", "How many tests asked", registry=registry).inc(3)
    probes = Probes(registry, *health.checks())
    await probes.start(0)
    yield f"http://127.0.0.1:{probes.port}"
    await probes.stop()


async def ask(url: str, **headers: str) -> tuple[int, str]:
    """Return status and text."""
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.text()


CHECKS = (
    "ledger", "lease", "caches", "limits", "watching", "expressions", "anchor", "background",
    "start",
)  # fmt: skip


def all_well(health: Health) -> None:
    """Have everything there."""
    health.ledger = health.lease = health.caches = health.limits = None
    health.watching = health.expressions = health.anchor = None


async def test_a_process_that_has_just_started_lives_and_is_not_ready(url: str) -> None:
    assert await ask(f"{url}/livez") == (200, "process: ok\n")
    status, text = await ask(f"{url}/readyz")

    assert status == 503
    assert [line.split(":")[0] for line in text.splitlines()] == [
        "ledger",
        "lease",
        "caches",
        "limits",
        "watching",
        "expressions",
        "anchor",
        "background",
        "start",
    ]
    said = [line.split(": ")[1] for line in text.splitlines()]
    assert "ok" not in said[:7]
    assert said[7:] == ["ok", "ok"]


async def test_it_is_ready_once_nothing_is_missing(url: str, health: Health) -> None:
    all_well(health)

    status, text = await ask(f"{url}/readyz")

    assert status == 200
    assert [line.split(": ") for line in text.splitlines()] == [[name, "ok"] for name in CHECKS]


@pytest.mark.parametrize("missing", CHECKS)
async def test_each_thing_that_is_missing_keeps_it_from_being_ready(
    url: str, health: Health, missing: str
) -> None:
    all_well(health)
    said = "it is not there"
    setattr(health, missing, said if missing != "ledger" else Problem(LedgerReason.NOT_OPEN, said))

    status, text = await ask(f"{url}/readyz")

    assert status == 503
    assert f"{missing}: it is not there\n" in text


async def test_a_ledger_that_is_only_revoked_by_is_said_to_be(url: str, health: Health) -> None:
    all_well(health)
    health.ledger = Problem(LedgerReason.REVOKING_ONLY, "the volume is full")

    assert "ledger: revoking only: the volume is full\n" in (await ask(f"{url}/readyz"))[1]


async def test_metrics_are_served_in_the_text_format(url: str) -> None:
    status, text = await ask(f"{url}/metrics")

    assert status == 200
    assert "taskpass_tests_total 3.0" in text


async def test_metrics_are_served_as_openmetrics_to_who_asks_for_it(url: str) -> None:
    _, text = await ask(f"{url}/metrics", Accept="application/openmetrics-text; version=1.0.0")

    assert text.endswith("# EOF\n")


async def test_there_is_nothing_else(url: str) -> None:
    assert (await ask(f"{url}/"))[0] == 404
    assert (await ask(f"{url}/livez/../etc"))[0] == 404


async def test_a_server_that_was_never_started_can_be_stopped(health: Health) -> None:
    await Probes(CollectorRegistry(), *health.checks()).stop()
