"""What is counted, and by which labels: those are few, whatever happens."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from taskpass.core.errors import ProviderRefused, ProviderUnavailable
from taskpass.core.model.grant import GrantState
from taskpass.runtime.metrics import Metrics

T0 = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


def values(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Return a metric's value by the values of its labels, as Prometheus reads it."""
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {
        tuple(v for k, v in sorted(s.labels.items())): s.value
        for family in families
        for s in family.samples
        if s.name == name
    }


class Scripted:
    """A provider that does as it is told."""

    def __init__(self, answer: BaseException | None) -> None:
        self._answer = answer

    async def issue(self, *_: Any) -> str:
        if self._answer is not None:
            raise self._answer
        return "issued"

    async def revoke(self, *_: Any) -> None:
        await self.issue()


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        pytest.param(None, "success", id="it does as it is asked"),
        pytest.param(ProviderRefused("no"), "refused", id="it says no"),
        pytest.param(ProviderUnavailable("away"), "unavailable", id="it does not answer"),
        pytest.param(asyncio.CancelledError(), "unavailable", id="it was given up"),
        pytest.param(KeyError("bug"), "error", id="it is broken"),
    ],
)
async def test_each_call_of_a_provider_is_counted_once_by_its_result(
    answer: BaseException | None, result: str
) -> None:
    metrics = Metrics()
    scripted: Any = Scripted(answer)
    provider = metrics.measured("Kubernetes", scripted)
    nothing: Any = None

    for call in (provider.issue(nothing, "x"), provider.revoke(nothing)):
        [outcome] = await asyncio.gather(call, return_exceptions=True)
        assert answer is None or type(outcome) is type(answer)

    for counter, seconds in (("issues_total", "issue"), ("revocations_total", "revoke")):
        counted = values(metrics, f"taskpass_{counter}")
        assert {key: n for key, n in counted.items() if n} == {("Kubernetes", result): 1}
        assert values(metrics, f"taskpass_{seconds}_seconds_count") == {("Kubernetes",): 1}


def watched(**more: Any) -> Metrics:
    """Return metrics of an operator that holds nothing, but for what is said."""
    whole: dict[str, Any] = {
        "held": (), "size": 0, "queue": (), "dropped": 0, "stalled": (),
        "room": SimpleNamespace(used=0, journal=0, free=0, whole=0), **more,
    }  # fmt: skip
    ledger: Any = SimpleNamespace(held=lambda: whole["held"], size=whole["size"])
    clock: Any = SimpleNamespace(now=lambda: T0)
    metrics = Metrics()
    metrics.watch(
        ledger, whole["queue"], SimpleNamespace(dropped=whole["dropped"]), clock,
        room=lambda: whole["room"], stalled=lambda: whole["stalled"],
    )  # fmt: skip
    return metrics


def test_debts_are_those_that_are_being_revoked_and_the_oldest_counts() -> None:
    def grant(state: GrantState, minute: int | None) -> Any:
        since = None if minute is None else T0.replace(hour=11, minute=minute)
        return SimpleNamespace(state=state, revoking_since=since)

    held = [
        grant(GrantState.DELIVERED, None),
        grant(GrantState.REVOKING, 58),
        grant(GrantState.REVOKING, 50),
    ]
    metrics = watched(held=held)

    assert values(metrics, "taskpass_grants_held") == {(): 3}
    assert values(metrics, "taskpass_pending_revocations") == {(): 2}
    assert values(metrics, "taskpass_oldest_pending_revocation_seconds") == {(): 600}


def test_without_debts_none_is_old() -> None:
    assert values(watched(), "taskpass_oldest_pending_revocation_seconds") == {(): 0}


def test_stalled_tasks_are_counted_by_few_reasons_whatever_a_status_says() -> None:
    metrics = watched(stalled=["NoPolicy", "NoPolicy", "x" * 99, "Denied"])

    assert values(metrics, "taskpass_tasks_stalled") == {
        ("Denied",): 1,
        ("NoPolicy",): 2,
        ("Other",): 1,
        ("SecretNameTaken",): 0,
        ("UnapprovedBranch",): 0,
    }


def test_the_ledgers_room_and_what_was_dropped_are_shown() -> None:
    room = SimpleNamespace(used=5, journal=3, free=7, whole=12)
    metrics = watched(size=4, dropped=3, room=room, queue=("a", "b"))

    names = ("entries", "bytes", "wal_bytes", "free_bytes", "volume_bytes")
    assert [values(metrics, f"taskpass_ledger_{n}")[()] for n in names] == [4, 5, 3, 7, 12]
    assert values(metrics, "taskpass_events_dropped_total") == {(): 3}
    assert values(metrics, "taskpass_queue_length") == {(): 2}


def test_each_check_of_readiness_is_a_metric_that_changes_with_it() -> None:
    said: dict[str, str | None] = {"ledger": None, "limits": "a policy is missing"}
    checks: Mapping[str, Any] = {name: (lambda n=name: said[n]) for name in said}
    metrics = Metrics()
    metrics.ready(checks)

    before = values(metrics, "taskpass_ready")
    said["limits"] = None

    assert before == {("ledger",): 1, ("limits",): 0}
    assert values(metrics, "taskpass_ready") == {("ledger",): 1, ("limits",): 1}
