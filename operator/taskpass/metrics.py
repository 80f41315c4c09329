"""What is counted. Labels come from enums and fixed lists, never from names or messages."""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from taskpass.core.credential import GrantState
from taskpass.ports import Clock, Key, Ledger

T = TypeVar("T")


class Sized(Protocol):
    """Something with a length."""

    def __len__(self) -> int:
        """Return it."""


class Dropping(Protocol):
    """Something that counts what it dropped."""

    dropped: int


class Metrics:
    """Every metric, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.api_calls = Counter(
            "taskpass_api_calls_total", "Calls to the Kubernetes API",
            ["verb", "resource", "status"], registry=self.registry,
        )  # fmt: skip
        self.api_seconds = Histogram(
            "taskpass_api_call_seconds", "Seconds a call took",
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
            registry=self.registry,
        )  # fmt: skip
        self.reconciles = Counter(
            "taskpass_reconciles_total",
            "Reconciles of tasks, by result",
            ["result"],
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "taskpass_reconcile_seconds", "Seconds a reconcile took", registry=self.registry
        )

    def call(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """Count one call to the API server."""
        self.api_calls.labels(verb, resource, str(status)).inc()
        self.api_seconds.observe(seconds)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read when it is asked for."""
        Gauge(f"taskpass_{name}", text, registry=self.registry).set_function(read)

    def timed(self, work: Callable[[Key], Awaitable[T]]) -> Callable[[Key], Awaitable[T]]:
        """Return the same work, counted and timed."""

        async def timed(key: Key) -> T:
            began = time.monotonic()
            try:
                done = await work(key)
            except BaseException:
                self.reconciles.labels("failure").inc()
                raise
            finally:
                self.reconcile_seconds.observe(time.monotonic() - began)
            self.reconciles.labels("success").inc()
            return done

        return timed

    def watch(self, ledger: Ledger, queue: Sized, events: Dropping, clock: Clock) -> None:
        """Show what is held, owed and waiting."""

        def owed() -> float:
            return sum(g.state is GrantState.REVOKING for g in ledger.held())

        def oldest() -> float:
            since = [g.revoking_since for g in ledger.held() if g.revoking_since is not None]
            return max(0.0, (clock.now() - min(since)).total_seconds()) if since else 0.0

        self.gauge("grants_held", "Credentials that may exist", lambda: len(list(ledger.held())))
        self.gauge("grants_owed", "Credentials that a provider has not confirmed revoked", owed)
        self.gauge("oldest_debt_seconds", "Seconds since the oldest such revocation began", oldest)
        self.gauge("queue_length", "Tasks that wait or are worked on", lambda: len(queue))
        self.gauge("events_dropped", "Events that could not be posted", lambda: events.dropped)
