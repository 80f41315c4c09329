"""The composition root: settings, clock and adapters become one running operator.

Start: key → ledger → Lease → limits hold → caches synced → orphans undone → queue. Nothing but the
key is written without the Lease. Stop: the queue takes nothing new and finishes what is in flight,
Events are posted, Lease and ledger are given back. What must not go on (a ledger that fails, a
Lease that is lost) ends the process; any other loop survives whatever it meets. Where the ledger's
volume takes no writes, what is held is revoked and nothing is issued.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from taskpass.cel.evaluator import ProcessEvaluator
from taskpass.core.audit.anchor import IntegrityAlert
from taskpass.core.errors import (
    LedgerReadOnly,
    MustEnd,
    NotFound,
    TaskpassError,
    TransientError,
    UsageError,
)
from taskpass.core.model.entry import Entry
from taskpass.core.model.key import Key
from taskpass.core.model.notice import Severity
from taskpass.flows.cluster.anchoring import Anchoring
from taskpass.flows.cluster.class_deletion import POLL_SECONDS as CLASSES_SECONDS
from taskpass.flows.cluster.class_deletion import ClassDeletions
from taskpass.flows.cluster.kill_switch import POLL_SECONDS as SWITCHES_SECONDS
from taskpass.flows.cluster.kill_switch import KillSwitchRecorder
from taskpass.flows.cluster.leftovers import Leftovers
from taskpass.flows.cluster.orphans import Sweeper
from taskpass.flows.cluster.ready_conditions import POLL_SECONDS as STANDING_SECONDS
from taskpass.flows.cluster.ready_conditions import ReadyConditionReporter
from taskpass.flows.cluster.uninstall import Uninstall
from taskpass.flows.cluster.witnessing import ROUND_SECONDS, Witnessing
from taskpass.flows.context import Ports
from taskpass.flows.task.reconcile import Reconciler
from taskpass.flows.work_queue import WorkQueue
from taskpass.kube.api.client import KubeClient
from taskpass.kube.api.connection import Connection
from taskpass.kube.api.priority import of_tenant
from taskpass.kube.cache.cluster_view import InformerCache
from taskpass.kube.cache.kopf_watch import Watcher
from taskpass.kube.lease import Lease
from taskpass.kube.writers.access_reviews import KubeReviews
from taskpass.kube.writers.audit_anchor import KubeAnchor
from taskpass.kube.writers.events import KubeEvents
from taskpass.kube.writers.pods import KubePods
from taskpass.kube.writers.ready_conditions import KubeStanding
from taskpass.kube.writers.secrets import SecretSink
from taskpass.kube.writers.signing_key import load_or_create_seed, read_previous_seed
from taskpass.kube.writers.tasks import KubeTasks
from taskpass.kube.writers.uninstall_hook import POLL_SECONDS as RELEASE_SECONDS
from taskpass.kube.writers.uninstall_hook import ReleaseRequests
from taskpass.kube.writers.workloads import KubeWorkloads
from taskpass.ledger.export.served import is_whole, served
from taskpass.ledger.log.key_file import read_seed_file
from taskpass.ledger.log.signing import SeedSigner, fingerprint_key, verify_signature
from taskpass.ledger.query.history import History
from taskpass.ledger.store.open import AnyLedger, Opening
from taskpass.ledger.store.read_only import ReadOnlyLedger
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.store.volume import disk_usage
from taskpass.ports.ledger import Batch
from taskpass.providers.kubernetes import KubernetesProvider
from taskpass.runtime import gc_tuning
from taskpass.runtime.background import (
    POLL_SECONDS,
    REQUESTS_SECONDS,
    BackgroundWork,
    budgets_of,
    figures_of,
    roles_of,
)
from taskpass.runtime.clock import SteadyClock
from taskpass.runtime.loops import BackgroundLoops
from taskpass.runtime.metrics import Metrics
from taskpass.runtime.process_memory import keep_private
from taskpass.runtime.settings import Settings
from taskpass.server.access import LogAccess
from taskpass.server.audit_log import POLL_SECONDS as CERTIFICATE_SECONDS
from taskpass.server.audit_log import LogServer
from taskpass.server.health import COMPARING, Health
from taskpass.server.listener import keep_descriptors
from taskpass.server.probes import Probes
from taskpass.tlog.trust_policy import asked
from taskpass.witness.client import HttpWitnesses

logger = logging.getLogger(__name__)
T = TypeVar("T")
DRAIN_SECONDS = 40.0
"""How long a stop waits for what is in flight; the chart's grace period is 60 s."""
ANCHOR_SECONDS = 5.0
"""How long a stop waits until its last entries are remembered."""
RETRY_SECONDS = 2.0


class SystemClock:
    """`ports.Clock` of commands that talk to no API server, or only once."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()


class Operator:
    """One operator of one cluster."""

    def __init__(self, settings: Settings, where: Connection, ca: str) -> None:
        self._settings = settings
        self._where = where
        self._ca = ca
        self._clock = SteadyClock(SystemClock().now)
        self._metrics = Metrics()
        self._home = KubeClient(
            where, limit=4, on_call=self._metrics.call, call_seconds=5.0, on_date=self._clock.heard
        )
        """For the key and the Lease: not fenced, and given up sooner."""
        self._lease = Lease(self._home)
        self._client = KubeClient(
            where, limit=64, on_call=self._metrics.call, fence=self._lease.check,
            idle_seconds=settings.watch_idle_seconds, on_date=self._clock.heard,
        )  # fmt: skip
        self._health = Health()
        self._stop = asyncio.Event()
        live, ready = self._health.checks()
        self._metrics.ready(ready)
        self.probes = Probes(self._metrics.registry, live, ready)
        self._metrics.listens("probes", lambda: self.probes.refused)

    def stop(self) -> None:
        """End gracefully; `run` returns once that is done."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until `stop`; raise what made it end otherwise."""
        async with contextlib.AsyncExitStack() as stack:
            await self.probes.start(self._settings.http_port)
            stack.push_async_callback(self.probes.stop)
            stack.push_async_callback(self._home.close)
            stack.push_async_callback(self._client.close)
            duties = await self._assemble(stack)
            if await self._lease.acquire(duties.ledger.origin, self._stop, self._wait_for_lease):
                stack.push_async_callback(self._lease.release)
                self._health.lease = ""
                await self._serve(duties)

    def _wait_for_lease(self, why: str) -> None:
        self._health.lease = f"waiting, nothing is written: {why}"

    async def _assemble(self, stack: contextlib.AsyncExitStack) -> BackgroundWork:
        settings, client = self._settings, self._client
        seed, before = await self._insist(
            "read the signing key", lambda: seeds_of(settings, self._home)
        )
        home = await self._insist(
            "read namespace kube-system", lambda: client.get("/api/v1/namespaces/kube-system")
        )
        instance = os.environ.get("HOSTNAME") or socket.gethostname()
        opening = Opening(
            path=settings.ledger_path, signer=SeedSigner(seed), instance=instance,
            previous=None if before is None else SeedSigner(before), reason="a new key was set",
            cluster_id=home["metadata"]["uid"][:8], now=self._clock.now,
            fail_point=fail_point_of(os.environ),
        )  # fmt: skip
        ledger = await asyncio.to_thread(opening.as_far_as_possible)
        stack.callback(ledger.close)
        sealed = ledger.why if isinstance(ledger, ReadOnlyLedger) else ""
        self._health.ledger = f"revoking only: {sealed}" if sealed else COMPARING
        events = KubeEvents(client, instance=instance)
        queue = WorkQueue(
            self._clock, workers=settings.workers, first=lambda key: bool(ledger.grants(key))
        )

        def look(keys: Iterable[Key]) -> None:
            for key in tuple(keys):
                queue.add(key)

        caches = InformerCache(
            client,
            tenants=settings.tenants,
            on_change=look,
            patience=settings.forbidden_grace_seconds,
        )
        evaluator = ProcessEvaluator(self._clock, on_stop=self._metrics.evaluator_stopped)
        provider = KubernetesProvider(
            client, server=settings.cluster_server, ca=self._ca, clock=self._clock,
            targets=roles_of(settings), audiences=settings.token_audiences,
            harmless=settings.harmless,
        )  # fmt: skip
        ports = Ports(
            clock=self._clock,
            budgets=self._metrics.budgets(budgets_of(settings, ledger.meters())),
            world=caches,
            ledger=ledger,
            providers={"Kubernetes": self._metrics.measured("Kubernetes", provider)},
            sink=SecretSink(client),
            pods=KubePods(client),
            tasks=KubeTasks(client, on_written=lambda obj: caches.apply("AgentTask", None, obj)),
            events=events,
            reviewer=KubeReviews(client),
            workloads=KubeWorkloads(client),
            ready_conditions=KubeStanding(client),
            evaluator=evaluator,
            audience=settings.audience,
            overlap=timedelta(seconds=settings.renewal_overlap_seconds),
            controllers=settings.all_controllers,
            fingerprint_key=fingerprint_key(seed),
            enqueue=queue.add,
            aside=queue.aside,
            fail_point=fail_point_of(os.environ),
        )
        ports.modes.revoke_only, ports.modes.unproven = bool(sealed), not sealed
        self._metrics.watch(
            ledger, queue, events, self._clock,
            room=lambda: disk_usage(settings.ledger_path), stalled=caches.stalled,
        )  # fmt: skip
        if isinstance(ledger, SqliteLedger):
            ledger.on_append = self._metrics.append_seconds.observe
        witnessing = await self._witnessing(stack, ledger)
        log_server = await self._log_server(stack)

        def proven() -> IntegrityAlert | None:
            return None if witnessing is None else witnessing.proven

        async def record(entry: Entry) -> None:
            if isinstance(ledger, ReadOnlyLedger):
                raise LedgerReadOnly(ledger.why)
            await ledger.commit(Batch(entries=(entry,)))

        def figures() -> Mapping[str, int]:
            level = {"level": 1} if witnessing is None else witnessing.figures
            return {**figures_of(ledger, settings.ledger_path), **level}

        anchoring = Anchoring(
            KubeAnchor(client), History(settings.ledger_path), events, self._clock,
            size=lambda: ledger.size, figures=figures,
            concern=lambda: proven() or disk_usage(settings.ledger_path).concern,
            record=record,
        )  # fmt: skip
        self._metrics.remembered(
            lambda: anchoring.remembered, lambda: {} if witnessing is None else witnessing.stands
        )
        made = BackgroundWork(
            settings=settings, client=client, ports=ports, ledger=ledger, opening=opening,
            caches=caches, queue=queue, health=self._health, anchoring=anchoring,
            witnessing=witnessing, log_server=log_server, evaluator=evaluator,
        )  # fmt: skip
        made.background = BackgroundLoops(made.block_issuance_where_due)
        return made

    async def _log_server(self, stack: contextlib.AsyncExitStack) -> LogServer | None:
        directory, path = self._settings.read_api_tls_directory, self._settings.ledger_path
        if directory is None:
            return None
        # Calls of its own: whoever sends one token after another takes no turn of a revocation.
        client = KubeClient(self._where, limit=4, on_call=self._metrics.call, call_seconds=5.0)
        stack.push_async_callback(client.close)
        access = LogAccess(client, self._clock.monotonic)
        made = LogServer(directory, access.check, partial(served, path), is_whole)
        await made.start(self._settings.read_api_port)
        stack.push_async_callback(made.stop)
        self._metrics.listens("log", lambda: made.refused)
        logger.info("Serving the audit log over HTTPS", extra={"port": made.port})
        return made

    async def _witnessing(
        self, stack: contextlib.AsyncExitStack, ledger: AnyLedger
    ) -> Witnessing | None:
        policy = self._settings.trust_policy
        if policy is None or not isinstance(ledger, SqliteLedger) or not any(asked(policy)):
            return None
        asker = HttpWitnesses()
        stack.push_async_callback(asker.close)
        return Witnessing(
            policy, asker, History(self._settings.ledger_path), ledger.keep_cosigned, self._clock,
            verify_signature,
        )  # fmt: skip

    async def _serve(self, duties: BackgroundWork) -> None:
        caches, queue = duties.caches, duties.queue
        loop = asyncio.get_running_loop()
        await self._insist("list our kinds", lambda: caches.seed(self._client))

        def apply(kind: str, event: str | None, obj: Mapping[str, Any]) -> None:
            loop.call_soon_threadsafe(caches.apply, kind, event, obj)

        watcher = Watcher(self._where, apply, self._settings.watch_idle_seconds)
        events, loops = duties.ports.events, duties.background
        assert isinstance(events, KubeEvents)  # noqa: S101 (made above)
        sweep, renew = self._settings.sweep_seconds, self._lease.renew_seconds
        async with asyncio.TaskGroup() as group, self._watching(watcher):
            every = [
                loops.repeat("Renewing the Lease", self._lease.renew, renew, after=renew),
                loops.keep("The ledger", duties.ledger.watch_failure),
                loops.keep("Posting Events", events.run),
                loops.keep("Watching pods", caches.run, needed=True),
                loops.keep("Evaluating policies", duties.evaluator.run),
                loops.keep("Comparing the ledger", duties.check_integrity, needed=True),
                loops.repeat("Checking limits", duties.check_guardrails, sweep, needed=True),
                loops.repeat(
                    "Looking at watches", lambda: duties.check_watches(watcher), POLL_SECONDS,
                    needed=True,
                ),
                loops.repeat(
                    "Listing our kinds anew", lambda: duties.catch_up(watcher), POLL_SECONDS,
                    needed=True,
                ),
                loops.repeat("Anchoring the log", duties.anchoring.once, 0.0, needed=True),
            ]  # fmt: skip
            if duties.log_server is not None:
                server = duties.log_server
                every.append(loops.repeat("Serving the log", server.renew, CERTIFICATE_SECONDS))
            if duties.witnessing is not None:
                witnessing = duties.witnessing
                every.append(loops.repeat("Asking witnesses", witnessing.round, ROUND_SECONDS))
            background = [group.create_task(each) for each in every]
            work = group.create_task(self._work(duties, background, group))
            await self._stop.wait()
            logger.info("Stopping, finishing what is in flight", extra={"tasks": len(queue)})
            queue.stop()
            with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                await asyncio.wait_for(work, DRAIN_SECONDS)
            await duties.record_held_back(all_of_it=True)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(duties.anchoring.compare(), ANCHOR_SECONDS)
            await events.drain(10.0)
            for task in (*background, work):
                task.cancel()

    async def _work(
        self, duties: BackgroundWork, background: list[asyncio.Task[None]], group: asyncio.TaskGroup
    ) -> None:
        """Work on tasks, once every cache is filled and what a crash left is found."""
        ports, caches, queue = duties.ports, duties.caches, duties.queue
        while not caches.synced:
            if self._stop.is_set():
                return
            await asyncio.sleep(0.05)
        sweeper = Sweeper(ports, queue.add)
        leftovers = Leftovers(ports)
        await self._first_sweep(sweeper)
        known = {g.task.key for g in ports.ledger.held()}
        known |= {r.task.key for r in ports.ledger.records()}
        for key in sorted(known | set(caches.task_keys())):
            queue.add(key)
        self._health.caches = ""
        giving = Uninstall(
            ports=ports, task_keys=caches.task_keys, classes=caches.all_classes, enqueue=queue.add
        )
        history = History(self._settings.ledger_path)
        standing = ReadyConditionReporter(ports, caches)
        releases = ReleaseRequests(self._client, self._settings.namespace, giving, self._clock.now)
        sweep, loops = self._settings.sweep_seconds, duties.background
        recorder = KillSwitchRecorder(ports, caches, history.kill_switches)
        deletions = ClassDeletions(ports, caches)
        every = [
            loops.repeat("Sweeping", lambda: duties.resync(sweeper), sweep, after=sweep),
            loops.repeat("Forgetting pods that are gone", leftovers.once, sweep, after=sweep),
            loops.repeat("Recording late", duties.record_late, sweep, after=sweep),
            loops.repeat("Recording kill switches", recorder.once, SWITCHES_SECONDS),
            loops.repeat("Answering requests", duties.answer_requests, REQUESTS_SECONDS),
            loops.repeat("Saying what is Ready", standing.write_changes, STANDING_SECONDS),
            loops.repeat("Releasing classes", deletions.release_unused, CLASSES_SECONDS),
            loops.repeat("Looking for an uninstall", releases.once, RELEASE_SECONDS),
            loops.repeat("Telling what was held back", duties.record_held_back, sweep),
        ]
        background += [group.create_task(each) for each in every]
        gc_tuning.settle()
        logger.info("Serving", extra={"tasks": len(caches.task_keys()), "known": len(known)})
        await queue.run(
            self._metrics.timed(of_tenant(Reconciler(ports).reconcile)),
            on_error=lambda key, error: self._shown(ports, key, error),
        )

    def _shown(self, ports: Ports, key: Key, error: Exception) -> None:
        """Show an error that no condition can: the reconcile itself failed."""
        if isinstance(error, TransientError) or (task := ports.world.task(key)) is None:
            return
        text = "an internal error; the operator's log has it"
        if isinstance(error, TaskpassError):
            text = str(error)
        asyncio.ensure_future(  # noqa: RUF006 (it only queues)
            ports.events.post(
                kind="AgentTask",
                namespace=task.namespace,
                name=task.name,
                uid=task.uid,
                unique=f"failed-{task.generation}-{type(error).__name__}",
                reason="ReconcileFailed",
                message=f"Tried again until it works: {text}",
                severity=Severity.WARNING,
                at=self._clock.now(),
            )
        )

    async def _insist(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it is answered; that our kinds are missing ends the start, in one line."""
        while True:
            try:
                answer = await call()
            except NotFound as error:
                raise UsageError(
                    f"Could not {what}: {error}. Install the chart, which brings the CRDs"
                ) from error
            except (MustEnd, UsageError):
                raise
            except Exception as error:
                ours = isinstance(error, TaskpassError)
                said = str(error) if ours else type(error).__name__
                logger.warning(
                    f"Failed to {what}, will retry", extra={"error": said}, exc_info=not ours
                )
                self._health.start = f"failed to {what}, will retry: {said}"
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._health.start = ""
                return answer

    async def _first_sweep(self, sweeper: Sweeper) -> None:
        """Undo what a crash left; what cannot be found out now, a later sweep finds."""
        try:
            await sweeper.sweep(quiet=True)
        except MustEnd:
            raise
        except Exception as error:
            logger.warning(
                "Failed to sweep, will retry", extra={"error": type(error).__name__}, exc_info=True
            )

    @contextlib.asynccontextmanager
    async def _watching(self, watcher: Watcher) -> AsyncIterator[None]:
        watcher.start()
        try:
            yield
        finally:
            await asyncio.to_thread(watcher.stop, 25.0)


async def seeds_of(settings: Settings, client: KubeClient) -> tuple[bytes, bytes | None]:
    """Return the seed of the key that signs the log, and the one before it, if it is there.

    Raises:
        UsageError: A file or Secret is there, and is none of a key.

    """
    if settings.signing_key_file is not None:
        before = settings.signing_key_previous_file
        seed = read_seed_file(settings.signing_key_file)
        return seed, None if before is None else read_seed_file(before)
    where, generation = settings.namespace, settings.signing_key_generation
    # The one before first: no key is made where the log could not go over to it.
    previous = await read_previous_seed(client, where, generation)
    return await load_or_create_seed(client, where, generation), previous


def fail_point_of(environment: Mapping[str, str]) -> Callable[[str], None]:
    """Return what tests of crashes set: `FAILPOINT=step` kills the process at that step, once.

    The file that `FAILPOINT_ONCE` names is made first, so that the next start passes.
    """
    step, once = environment.get("FAILPOINT", ""), environment.get("FAILPOINT_ONCE", "")
    if not step or not once:
        return lambda _: None

    def kill(reached: str) -> None:
        if reached == step and not Path(once).exists():
            Path(once).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return kill


async def operate(settings: Settings, where: Connection, ca: str) -> None:
    """Run the operator until SIGTERM or SIGINT."""
    keep_private()
    keep_descriptors()
    operator = Operator(settings, where, ca)
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, operator.stop)
    await operator.run()
