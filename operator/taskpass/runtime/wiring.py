"""Make the adapters, and hand them to each other: what `app.py` starts, and `serve.py` runs.

Nothing here calls the API server but `read_identity`, which makes the log's key if there is none.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from taskpass.cel.evaluator import ProcessEvaluator
from taskpass.core.audit.anchor import IntegrityAlert
from taskpass.core.errors import LedgerReadOnly, UsageError
from taskpass.core.model.entry import Entry
from taskpass.core.model.key import Key
from taskpass.core.model.problem import Problem
from taskpass.flows.cluster.anchoring import Anchoring
from taskpass.flows.cluster.witnessing import Witnessing
from taskpass.flows.context import Ports
from taskpass.flows.work_queue import WorkQueue
from taskpass.kube.api.client import KubeClient
from taskpass.kube.api.connection import Connection
from taskpass.kube.cache.cluster_view import InformerCache
from taskpass.kube.lease import Lease
from taskpass.kube.writers.access_reviews import KubeReviews
from taskpass.kube.writers.audit_anchor import KubeAnchor
from taskpass.kube.writers.events import KubeEvents
from taskpass.kube.writers.pods import KubePods
from taskpass.kube.writers.ready_conditions import KubeReadyConditions
from taskpass.kube.writers.secrets import SecretSink
from taskpass.kube.writers.tasks import KubeTasks
from taskpass.kube.writers.workloads import KubeWorkloads
from taskpass.ledger.export.served import is_whole, served
from taskpass.ledger.log.signing import SeedSigner, fingerprint_key, verify_signature
from taskpass.ledger.query.history import History
from taskpass.ledger.store.open import AnyLedger, Opening
from taskpass.ledger.store.read_only import ReadOnlyLedger
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.store.volume import disk_usage
from taskpass.ports.credentials import CredentialProvider
from taskpass.ports.ledger import Batch
from taskpass.providers.kubernetes import KubernetesProvider
from taskpass.providers.registry import issuer_of
from taskpass.runtime.background import BackgroundWork, budgets_of, figures_of, roles_of
from taskpass.runtime.clock import SteadyClock, SystemClock
from taskpass.runtime.loops import BackgroundLoops
from taskpass.runtime.metrics import Metrics
from taskpass.runtime.settings import Settings, variable_of
from taskpass.runtime.start import fail_point_of, retry_until_answered, seeds_of
from taskpass.server.access import LogAccess
from taskpass.server.audit_log import LogServer
from taskpass.server.health import COMPARING, Health, LedgerReason
from taskpass.tlog.trust_policy import asked
from taskpass.witness.client import HttpWitnesses

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Process:
    """What one process has before it has the Lease: settings, clock, connections, health."""

    settings: Settings
    connection: Connection
    ca: str
    health: Health = field(default_factory=Health)
    metrics: Metrics = field(default_factory=Metrics)
    clock: SteadyClock = field(default_factory=lambda: SteadyClock(SystemClock().now))
    home: KubeClient = field(init=False)
    """For the key and the Lease: not fenced, and given up sooner."""
    lease: Lease = field(init=False)
    client: KubeClient = field(init=False)
    """For everything else: it writes nothing without the Lease."""
    instance: str = field(
        default_factory=lambda: os.environ.get("HOSTNAME") or socket.gethostname()
    )

    def __post_init__(self) -> None:
        call, date = self.metrics.call, self.clock.heard
        self.home = KubeClient(
            self.connection, limit=4, on_call=call, call_seconds=5.0, on_date=date
        )
        self.lease = Lease(self.home)
        self.client = KubeClient(
            self.connection, limit=64, on_call=call, fence=self.lease.check,
            idle_seconds=self.settings.watch_idle_seconds, on_date=date,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which key signs the log, the one before it, and the cluster that the log is of."""

    seed: bytes
    previous: bytes | None
    cluster_id: str


async def read_identity(process: Process) -> Identity:
    """Read keys and cluster, for as long as it takes (`retry_until_answered`)."""
    seed, previous = await retry_until_answered(
        "read the signing key",
        lambda: seeds_of(process.settings, process.home), process.health,
    )  # fmt: skip
    cluster = await retry_until_answered(
        "read namespace kube-system",
        lambda: process.client.get("/api/v1/namespaces/kube-system"), process.health,
    )  # fmt: skip
    return Identity(seed=seed, previous=previous, cluster_id=cluster["metadata"]["uid"][:8])


async def assemble(process: Process, stack: contextlib.AsyncExitStack) -> BackgroundWork:
    """Open the ledger and make everything that works on it; `stack` closes what must be closed."""
    identity = await read_identity(process)
    opening = opening_of(process, identity)
    ledger = await asyncio.to_thread(opening.as_far_as_possible)
    stack.callback(ledger.close)
    read_only = ledger if isinstance(ledger, ReadOnlyLedger) else None
    process.health.ledger = (
        COMPARING if read_only is None else Problem(LedgerReason.REVOKING_ONLY, read_only.why)
    )
    queue = WorkQueue(
        process.clock, workers=process.settings.workers,
        first=lambda key: bool(ledger.grants(key)),
    )  # fmt: skip
    caches = InformerCache(
        process.client, tenants=process.settings.tenants, on_change=partial(enqueue, queue),
        patience=process.settings.forbidden_grace_seconds,
    )  # fmt: skip
    evaluator = ProcessEvaluator(process.clock, on_stop=process.metrics.evaluator_stopped)
    events = KubeEvents(process.client, instance=process.instance)
    ports = ports_of(process, identity, ledger, caches, queue, events, evaluator, stack)
    ports.modes.revoke_only, ports.modes.unproven = read_only is not None, True
    witnessing = await witnessing_of(process, ledger, stack)
    made = BackgroundWork(
        settings=process.settings, client=process.client, ports=ports, ledger=ledger,
        opening=opening, caches=caches, queue=queue, health=process.health, events=events,
        anchoring=anchoring_of(process, ledger, events, witnessing), witnessing=witnessing,
        log_server=await log_server_of(process, stack), evaluator=evaluator,
    )  # fmt: skip
    made.background = BackgroundLoops(made.block_issuance_where_due)
    show_figures(process, made)
    return made


def enqueue(queue: WorkQueue, keys: Iterable[Key]) -> None:
    """Have tasks looked at."""
    for key in tuple(keys):
        queue.add(key)


def opening_of(process: Process, identity: Identity) -> Opening:
    """Return how the ledger is opened."""
    previous = identity.previous
    return Opening(
        path=process.settings.ledger_path, signer=SeedSigner(identity.seed),
        instance=process.instance, previous=None if previous is None else SeedSigner(previous),
        reason="a new key was set", cluster_id=identity.cluster_id, now=process.clock.now,
        fail_point=fail_point_of(os.environ),
    )  # fmt: skip


def ports_of(
    process: Process, identity: Identity, ledger: AnyLedger, caches: InformerCache,
    queue: WorkQueue, events: KubeEvents, evaluator: ProcessEvaluator,
    stack: contextlib.AsyncExitStack,
) -> Ports:  # fmt: skip
    """Return the world as the flows reach it."""
    settings, client, clock = process.settings, process.client, process.clock
    made = providers_of(process, identity, stack, {each.provider for each in ledger.held()})
    return Ports(
        clock=clock,
        budgets=process.metrics.budgets(budgets_of(settings, ledger.meters())),
        world=caches,
        ledger=ledger,
        providers={name: process.metrics.measured(name, each) for name, each in made.items()},
        sink=SecretSink(client),
        pods=KubePods(client, expect=caches.own_writes.expect),
        tasks=KubeTasks(client, partial(caches.apply, "AgentTask", None), caches.own_writes.expect),
        events=events,
        reviewer=KubeReviews(client),
        workloads=KubeWorkloads(client),
        ready_conditions=KubeReadyConditions(client),
        evaluator=evaluator,
        audience=settings.audience,
        overlap=timedelta(seconds=settings.renewal_overlap_seconds),
        controllers=settings.all_controllers,
        fingerprint_key=fingerprint_key(identity.seed),
        enqueue=queue.add,
        aside=queue.aside,
        issuer_of=issuer_of,
        changed=queue.changed,
        fail_point=fail_point_of(os.environ),
    )


def providers_of(
    process: Process, identity: Identity, stack: contextlib.AsyncExitStack, holds: Set[str]
) -> Mapping[str, CredentialProvider]:
    """Return every provider that is configured, by name. A new one is a few lines here.

    Client libraries are optional, and imported where a provider needs one. `holds` are providers of
    which something is held: whose settings were taken away still says what it lacks.

    Raises:
        UsageError: One that is needed is not installed.

    """
    settings, clock = process.settings, process.clock
    made: dict[str, CredentialProvider] = {
        "Kubernetes": KubernetesProvider(
            process.client, server=settings.cluster_server, ca=process.ca, clock=clock,
            targets=roles_of(settings), audiences=settings.token_audiences,
            harmless=settings.harmless,
        )
    }  # fmt: skip
    wanted = bool(settings.postgresql_servers or settings.postgresql_retired)
    if wanted or "PostgreSQL" in holds:
        try:
            from taskpass.providers.postgresql.provider import PostgresProvider
        except ImportError as error:
            if wanted:
                raise UsageError(
                    f"{variable_of('postgresql_servers')}: needs a client library that is not here "
                    f"({error.name}); install taskpass[postgresql]"
                ) from error
            return made
        databases = PostgresProvider(
            settings.postgresql_servers, retired=settings.postgresql_retired, clock=clock,
            installation=identity.cluster_id, mount_path=settings.mount_path,
            fail_point=fail_point_of(os.environ),
        )  # fmt: skip
        stack.push_async_callback(databases.close)
        made["PostgreSQL"] = databases
    return made


def anchoring_of(
    process: Process, ledger: AnyLedger, events: KubeEvents, witnessing: Witnessing | None
) -> Anchoring:
    """Return what has the cluster remember the log, and says what it remembers otherwise."""
    path = process.settings.ledger_path

    def alert() -> IntegrityAlert | None:
        proven = None if witnessing is None else witnessing.proven
        return proven or disk_usage(path).concern

    def figures() -> Mapping[str, int]:
        level = {"level": 1} if witnessing is None else witnessing.figures
        return {**figures_of(ledger, path), **level}

    async def record(entry: Entry) -> None:
        if isinstance(ledger, ReadOnlyLedger):
            raise LedgerReadOnly(ledger.why)
        await ledger.commit(Batch(entries=(entry,)))

    return Anchoring(
        KubeAnchor(process.client), History(path, ledger.head), events, process.clock,
        size=lambda: ledger.size, figures=figures, concern=alert, record=record,
    )  # fmt: skip


async def witnessing_of(
    process: Process, ledger: AnyLedger, stack: contextlib.AsyncExitStack
) -> Witnessing | None:
    """Return what asks witnesses for cosignatures; None where nobody is to be asked."""
    policy = process.settings.trust_policy
    if policy is None or not isinstance(ledger, SqliteLedger) or not any(asked(policy)):
        return None
    asker = HttpWitnesses()
    stack.push_async_callback(asker.close)
    return Witnessing(
        policy, asker, History(process.settings.ledger_path, ledger.head), ledger.keep_cosigned,
        process.clock, verify_signature,
    )  # fmt: skip


async def log_server_of(process: Process, stack: contextlib.AsyncExitStack) -> LogServer | None:
    """Serve the log over HTTPS; None where it is not served."""
    directory, path = process.settings.read_api_tls_directory, process.settings.ledger_path
    if directory is None:
        return None
    # Calls of its own: whoever sends one token after another takes no turn of a revocation.
    client = KubeClient(process.connection, limit=4, on_call=process.metrics.call, call_seconds=5.0)
    stack.push_async_callback(client.close)
    access = LogAccess(client, process.clock.monotonic)
    made = LogServer(directory, access.check, partial(served, path), is_whole)
    await made.start(process.settings.read_api_port)
    stack.push_async_callback(made.stop)
    process.metrics.listens("log", lambda: made.refused)
    logger.info("Serving the audit log over HTTPS", extra={"port": made.port})
    return made


def show_figures(process: Process, work: BackgroundWork) -> None:
    """Have the metrics read what they show from where it is."""
    ledger, witnessing, metrics = work.ledger, work.witnessing, process.metrics
    metrics.watch(
        ledger, work.queue, work.events, process.clock,
        room=lambda: disk_usage(process.settings.ledger_path), stalled=work.caches.stalled,
    )  # fmt: skip
    if isinstance(ledger, SqliteLedger):
        ledger.on_append = metrics.append_seconds.observe
    metrics.remembered(
        lambda: work.anchoring.remembered,
        lambda: {} if witnessing is None else witnessing.stands,
    )
