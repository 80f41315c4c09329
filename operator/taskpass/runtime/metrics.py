"""What is counted. Labels come from enums and fixed lists, never from names or messages.

docs/metrics.md describes each; a test compares. Alert rules and dashboard of the chart name them.
"""

import asyncio
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from taskpass import __version__
from taskpass.core.errors import ProviderRefused, ProviderUnavailable
from taskpass.core.model.capabilities import Capabilities
from taskpass.core.model.conditions import Reason
from taskpass.core.model.grant import Grant, GrantState, Issued
from taskpass.core.model.key import Key
from taskpass.core.model.task import CredentialClass, CredentialRequest
from taskpass.core.rate_limit.budget import Spending
from taskpass.ports.clock import Clock
from taskpass.ports.credentials import CredentialProvider
from taskpass.ports.ledger import Ledger

T = TypeVar("T")
STALLED = (Reason.DENIED, Reason.NO_POLICY, Reason.UNAPPROVED_BRANCH, Reason.SECRET_NAME_TAKEN)
OTHER = "Other"
"""A reason that is none of these: from a status that somebody else wrote, or another version."""
FAST = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
PROVIDER = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Sized(Protocol):
    """Something with a length."""

    def __len__(self) -> int:
        """Return it."""


class Dropping(Protocol):
    """Something that counts what it dropped."""

    dropped: int


class Space(Protocol):
    """How much room there is, in bytes."""

    @property
    def used(self) -> int:
        """By the ledger."""

    @property
    def journal(self) -> int:
        """By its write-ahead log, which is part of that."""

    @property
    def free(self) -> int:
        """On its volume."""

    @property
    def whole(self) -> int:
        """The volume's size."""


class WitnessCounts(Protocol):
    """How a witness and the log stand."""

    cosigned: int
    failures: int


class Holding(Protocol):
    """What holds tenants back."""

    on_hold: Callable[[Spending], None]
    """Told of each thing that is held back."""

    @property
    def held_back(self) -> int:
        """Of how many tasks something is held back now."""


H = TypeVar("H", bound=Holding)


class Entries(Ledger, Protocol):
    """A ledger that knows how long its log is."""

    @property
    def size(self) -> int:
        """How many entries are durable."""


class Metrics:
    """Every metric, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.api_calls = self._counter(
            "api_calls_total", "Calls to the Kubernetes API", "verb", "resource", "status"
        )
        self.api_seconds = self._histogram("api_call_seconds", "Seconds a call took", FAST)
        self.reconciles = self._counter("reconciles_total", "Reconciles of tasks", "result")
        self.reconcile_seconds = self._histogram(
            "reconcile_seconds", "Seconds a reconcile took", Histogram.DEFAULT_BUCKETS
        )
        self.issues = self._counter(
            "issues_total", "Credentials asked of providers", "provider", "result"
        )
        self.issue_seconds = self._histogram(
            "issue_seconds", "Seconds a provider took to issue", PROVIDER, "provider"
        )
        self.revocations = self._counter(
            "revocations_total", "Revocations asked of providers", "provider", "result"
        )
        self.revoke_seconds = self._histogram(
            "revoke_seconds", "Seconds a provider took to revoke", PROVIDER, "provider"
        )
        self.append_seconds = self._histogram(
            "ledger_append_seconds", "Seconds until a transaction of the ledger was durable", FAST
        )
        self._refused: dict[str, Callable[[], int]] = {}
        self.registry.register(_Refused(self._refused))
        self.held_back = self._counter(
            "held_back_total", "What was held back for want of budget, each once", "what"
        )
        for spending in Spending:
            self.held_back.labels(spending.name.lower())
        self.evaluations_stopped = self._counter(
            "policy_evaluations_stopped_total",
            "Times the process that evaluates policies was ended, or ended, while it was asked",
        )
        self._gauge("build_info", "Always 1; the label is the version", "version").labels(
            __version__
        ).set(1)

    def evaluator_stopped(self) -> None:
        """Count that the process that evaluates policies is gone, and what it was asked is not."""
        self.evaluations_stopped.inc()

    def call(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """Count one call to the API server."""
        self.api_calls.labels(verb, resource, str(status)).inc()
        self.api_seconds.observe(seconds)

    def budgets(self, budgets: H) -> H:
        """Count what tenants said or asked and had no budget for; show how many tasks wait.

        Return the same budgets.
        """
        budgets.on_hold = lambda spending: self.held_back.labels(spending.name.lower()).inc()
        gauge = self._gauge("tasks_held_back", "Tasks of which something is held back now")
        gauge.set_function(lambda: budgets.held_back)
        return budgets

    def remembered(
        self, anchored: Callable[[], int], witnesses: Callable[[], Mapping[str, WitnessCounts]]
    ) -> None:
        """Show, on each scrape, how much of the log others remember."""
        self.registry.register(_AnchorCollector(anchored, witnesses))

    def listens(self, name: str, refused: Callable[[], int]) -> None:
        """Show, on each scrape, how many connections a listener has closed unanswered."""
        self._refused[name] = refused

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

    def ready(self, checks: Mapping[str, Callable[[], str | None]]) -> None:
        """Show each check of `/readyz`; one says None where all is well."""
        gauge = self._gauge("ready", "1 where a check of /readyz passes", "check")
        for name, check in checks.items():
            gauge.labels(name).set_function(partial(_passes, check))

    def measured(self, name: str, provider: CredentialProvider) -> CredentialProvider:
        """Return the same provider, counted and timed; `name` is one of a fixed list."""
        for result in ("success", "refused", "unavailable", "error"):
            self.issues.labels(name, result)
        for result in ("success", "unavailable", "error"):
            self.revocations.labels(name, result)
        return MeasuredProvider(self, name, provider)

    def watch(
        self,
        ledger: Entries,
        queue: Sized,
        events: Dropping,
        clock: Clock,
        *,
        room: Callable[[], Space],
        stalled: Callable[[], Iterable[str]],
    ) -> None:
        """Show what is held, owed and waiting, and the ledger's room; read when it is asked for.

        `room` is the ledger's; `stalled` gives the reason of each task that is stalled.
        """
        self.registry.register(State(ledger, queue, events, clock, room, stalled))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"taskpass_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"taskpass_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Iterable[float], *labels: str) -> Histogram:
        return Histogram(
            f"taskpass_{name}", text, labels, buckets=tuple(buckets), registry=self.registry
        )


class State(Collector):
    """What is so now, of which nothing is counted as it happens."""

    def __init__(
        self,
        ledger: Entries,
        queue: Sized,
        events: Dropping,
        clock: Clock,
        room: Callable[[], Space],
        stalled: Callable[[], Iterable[str]],
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._events = events
        self._clock = clock
        self._room = room
        self._stalled = stalled

    def collect(self) -> Iterator[Metric]:
        """Read each of them."""
        held = list(self._ledger.held())
        owed = [g for g in held if g.state is GrantState.REVOKING]
        since = [g.revoking_since for g in owed if g.revoking_since is not None]
        oldest = max(0.0, (self._clock.now() - min(since)).total_seconds()) if since else 0.0
        yield _gauge("grants_held", "Credentials that may exist", len(held))
        yield _gauge(
            "pending_revocations",
            "Credentials that a provider has not confirmed revoked",
            len(owed),
        )
        yield _gauge(
            "oldest_pending_revocation_seconds",
            "Seconds since the oldest such revocation began",
            oldest,
        )
        yield _gauge("queue_length", "Tasks that wait or are worked on", len(self._queue))
        yield CounterMetricFamily(
            "taskpass_events_dropped", "Events that could not be posted", self._events.dropped
        )
        yield self._tasks_stalled()
        here = self._room()
        yield _gauge("ledger_entries", "Entries of the audit log", self._ledger.size)
        yield _gauge("ledger_bytes", "Bytes of the ledger's file and its journal", here.used)
        yield _gauge("ledger_wal_bytes", "Bytes of its write-ahead log alone", here.journal)
        yield _gauge("ledger_free_bytes", "Bytes free on the ledger's volume", here.free)
        yield _gauge("ledger_volume_bytes", "Size of the ledger's volume in bytes", here.whole)

    def _tasks_stalled(self) -> Metric:
        known = {str(reason) for reason in STALLED}
        tally = Tally(r if r in known else OTHER for r in self._stalled())
        family = GaugeMetricFamily(
            "taskpass_tasks_stalled", "Tasks that wait for a person, by reason", labels=["reason"]
        )
        for reason in (*STALLED, OTHER):
            family.add_metric([str(reason)], tally[str(reason)])
        return family


class _Refused(Collector):
    def __init__(self, refused: Mapping[str, Callable[[], int]]) -> None:
        self._refused = refused

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "taskpass_connections_refused", "Connections closed unanswered", labels=["listener"]
        )
        for name, refused in self._refused.items():
            family.add_metric([name], refused())
        yield family


class _AnchorCollector(Collector):
    def __init__(
        self, anchored: Callable[[], int], witnesses: Callable[[], Mapping[str, WitnessCounts]]
    ) -> None:
        self._anchored = anchored
        self._witnesses = witnesses

    def collect(self) -> Iterator[Metric]:
        yield _gauge(
            "ledger_anchored_entries", "Entries that the AuditAnchor remembers", self._anchored()
        )
        cosigned = GaugeMetricFamily(
            "taskpass_witness_cosigned_entries", "Entries a witness has seen", labels=["witness"]
        )
        failures = CounterMetricFamily(
            "taskpass_witness_failures", "Rounds without its cosignature", labels=["witness"]
        )
        for name, stand in self._witnesses().items():
            cosigned.add_metric([name], stand.cosigned)
            failures.add_metric([name], stand.failures)
        yield cosigned
        yield failures


class MeasuredProvider:
    """`ports.CredentialProvider`: another one, counted and timed."""

    def __init__(self, metrics: Metrics, name: str, provider: CredentialProvider) -> None:
        self._metrics = metrics
        self._name = name
        self._provider = provider

    def prepare(
        self, request: CredentialRequest, credential_class: CredentialClass, grant_id: str
    ) -> Mapping[str, Any]:
        """See `ports.CredentialProvider`."""
        return self._provider.prepare(request, credential_class, grant_id)

    def capabilities(self, credential_class: CredentialClass) -> Capabilities:
        """See `ports.CredentialProvider`."""
        return self._provider.capabilities(credential_class)

    def problem(self, credential_class: CredentialClass) -> str | None:
        """See `ports.CredentialProvider`."""
        return self._provider.problem(credential_class)

    async def obstacles(self, credential_class: CredentialClass) -> Sequence[str]:
        """See `ports.CredentialProvider`."""
        return await self._provider.obstacles(credential_class)

    async def permissions_digest(self, credential_class: CredentialClass) -> str:
        """See `ports.CredentialProvider`."""
        return await self._provider.permissions_digest(credential_class)

    async def describe(self, credential_class: CredentialClass, actions: Sequence[str]) -> str:
        """See `ports.CredentialProvider`."""
        return await self._provider.describe(credential_class, actions)

    async def issue(self, grant: Grant, audience: str) -> Issued:
        """See `ports.CredentialProvider`."""
        with self._measured(self._metrics.issues, self._metrics.issue_seconds):
            return await self._provider.issue(grant, audience)

    async def revoke(self, grant: Grant) -> None:
        """See `ports.CredentialProvider`."""
        with self._measured(self._metrics.revocations, self._metrics.revoke_seconds):
            await self._provider.revoke(grant)

    def is_gone(self, grant: Grant, found: Mapping[str, Any] | None) -> bool:
        """Pass it on."""
        return self._provider.is_gone(grant, found)

    def surplus(self, grant: Grant, found: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Pass it on."""
        return self._provider.surplus(grant, found)

    async def inventory(self) -> Mapping[str, Mapping[str, Any]]:
        """See `ports.CredentialProvider`."""
        return await self._provider.inventory()

    async def undo(self, grant_id: str, state: Mapping[str, Any]) -> None:
        """See `ports.CredentialProvider`."""
        await self._provider.undo(grant_id, state)

    @contextmanager
    def _measured(self, counter: Counter, seconds: Histogram) -> Iterator[None]:
        began = time.monotonic()
        result = "error"
        try:
            yield
            result = "success"
        except ProviderRefused:
            result = "refused"
            raise
        except (ProviderUnavailable, asyncio.CancelledError):  # or it was given up
            result = "unavailable"
            raise
        finally:
            counter.labels(self._name, result).inc()
            seconds.labels(self._name).observe(time.monotonic() - began)


def _passes(check: Callable[[], str | None]) -> float:
    return float(check() is None)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"taskpass_{name}", text, value)
