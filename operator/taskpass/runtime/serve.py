"""Run the loops and the queue, once the Lease is held: start, serve, drain.

Caches are filled before anything is decided, and what a crash left is undone before the queue
runs. A stop takes nothing new, finishes what is in flight, and posts the last Events.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from typing import Any

from taskpass.core.errors import MustEnd, TaskpassError, TransientError
from taskpass.core.model.key import Key
from taskpass.core.model.notice import Severity
from taskpass.flows.cluster import class_checks, class_deletion, kill_switch, ready_conditions
from taskpass.flows.cluster.class_checks import ClassChecks
from taskpass.flows.cluster.class_deletion import ClassDeletions
from taskpass.flows.cluster.kill_switch import KillSwitchRecorder
from taskpass.flows.cluster.leftovers import Leftovers
from taskpass.flows.cluster.orphans import Sweeper
from taskpass.flows.cluster.ready_conditions import ReadyConditionReporter
from taskpass.flows.cluster.uninstall import Uninstall
from taskpass.flows.cluster.witnessing import ROUND_SECONDS
from taskpass.flows.provider_calls import finished
from taskpass.flows.task.reconcile import Reconciler
from taskpass.kube.api.priority import of_tenant
from taskpass.kube.cache.kopf_watch import Watcher
from taskpass.kube.writers import uninstall_hook
from taskpass.kube.writers.uninstall_hook import ReleaseRequests
from taskpass.ledger.query.history import History
from taskpass.runtime import gc_tuning
from taskpass.runtime.background import POLL_SECONDS, REQUESTS_SECONDS, BackgroundWork
from taskpass.runtime.start import retry_until_answered
from taskpass.runtime.wiring import Process
from taskpass.server import audit_log

logger = logging.getLogger(__name__)
DRAIN_SECONDS = 40.0
"""How long a stop waits for what is in flight; the chart's grace period is 60 s."""
ANCHOR_SECONDS = 5.0
"""How long a stop waits until its last entries are remembered."""
Loop = Coroutine[Any, Any, None]


async def serve(process: Process, work: BackgroundWork, stop: asyncio.Event) -> None:
    """Serve until `stop`; raise what must not go on (`MustEnd`)."""
    caches, queue = work.caches, work.queue
    loop = asyncio.get_running_loop()
    await retry_until_answered(
        "list our kinds", lambda: caches.seed(process.client), process.health
    )

    def apply(kind: str, event: str | None, obj: Mapping[str, Any]) -> None:
        loop.call_soon_threadsafe(caches.apply, kind, event, obj)

    watcher = Watcher(process.connection, apply, process.settings.watch_idle_seconds)
    async with asyncio.TaskGroup() as group, watching(watcher):
        background = [group.create_task(each) for each in first_loops(process, work, watcher)]
        tasks = group.create_task(work_on_tasks(process, work, stop, background, group))
        await stop.wait()
        logger.info("Stopping, finishing what is in flight", extra={"tasks": len(queue)})
        queue.stop()
        with contextlib.suppress(asyncio.CancelledError, TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await tasks
                await finished(work.ports)
        await work.record_held_back(all_of_it=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(work.anchoring.compare(), ANCHOR_SECONDS)
        await work.events.drain(10.0)
        for task in (*background, tasks):
            task.cancel()


@contextlib.asynccontextmanager
async def watching(watcher: Watcher) -> AsyncIterator[None]:
    """Have kopf watch our kinds on a thread of its own."""
    watcher.start()
    try:
        yield
    finally:
        await asyncio.to_thread(watcher.stop, 25.0)


def first_loops(process: Process, work: BackgroundWork, watcher: Watcher) -> Iterable[Loop]:
    """Yield the loops that nothing is served without."""
    loops, sweep, renew = work.background, work.settings.sweep_seconds, process.lease.renew_seconds
    yield loops.repeat("Renewing the Lease", process.lease.renew, renew, after=renew)
    yield loops.keep("The ledger", work.ledger.watch_failure)
    yield loops.keep("Posting Events", work.events.run)
    yield loops.keep("Watching pods", work.caches.run, needed=True)
    yield loops.keep("Evaluating policies", work.evaluator.run)
    yield loops.keep("Comparing the ledger", work.check_integrity, needed=True)
    yield loops.repeat("Checking limits", work.check_guardrails, sweep, needed=True)
    yield loops.repeat(
        "Looking at watches", lambda: work.check_watches(watcher), POLL_SECONDS, needed=True
    )
    yield loops.repeat(
        "Listing our kinds anew", lambda: work.catch_up(watcher), POLL_SECONDS, needed=True
    )
    yield loops.repeat("Anchoring the log", work.anchoring.once, 0.0, needed=True)
    if work.log_server is not None:
        renew_certificate = work.log_server.renew
        yield loops.repeat("Serving the log", renew_certificate, audit_log.POLL_SECONDS)
    if work.witnessing is not None:
        yield loops.repeat("Asking witnesses", work.witnessing.round, ROUND_SECONDS)


async def work_on_tasks(
    process: Process, work: BackgroundWork, stop: asyncio.Event,
    background: list[asyncio.Task[None]], group: asyncio.TaskGroup,
) -> None:  # fmt: skip
    """Work on tasks, once every cache is filled and what a crash left is found."""
    ports, caches, queue = work.ports, work.caches, work.queue
    while not caches.synced:
        if stop.is_set():
            return
        await asyncio.sleep(0.05)
    sweeper = Sweeper(ports, queue.add)
    await first_sweep(sweeper)
    known = {g.task.key for g in ports.ledger.held()}
    known |= {r.task.key for r in ports.ledger.records()}
    for key in sorted(known | set(caches.task_keys())):
        queue.add(key)
    process.health.caches = None
    background += [group.create_task(each) for each in later_loops(process, work, sweeper)]
    gc_tuning.settle()
    logger.info("Serving", extra={"tasks": len(caches.task_keys()), "known": len(known)})
    await queue.run(
        process.metrics.timed(of_tenant(Reconciler(ports).reconcile)),
        on_error=lambda key, error: show_failure(process, work, key, error),
    )


async def first_sweep(sweeper: Sweeper) -> None:
    """Undo what a crash left; what cannot be found out now, a later sweep finds."""
    try:
        await sweeper.sweep(quiet=True)
    except MustEnd:
        raise
    except Exception as error:
        logger.warning(
            "Failed to sweep, will retry", extra={"error": type(error).__name__}, exc_info=True
        )


def later_loops(process: Process, work: BackgroundWork, sweeper: Sweeper) -> Iterable[Loop]:
    """Yield the loops that decide on what the caches show, so not before they are filled."""
    ports, caches, settings = work.ports, work.caches, work.settings
    loops, sweep = work.background, settings.sweep_seconds
    steps = Uninstall(
        ports=ports, task_keys=caches.task_keys, classes=caches.all_classes,
        enqueue=work.queue.add,
    )  # fmt: skip
    uninstall = ReleaseRequests(process.client, settings.namespace, steps, process.clock.now)
    recorder = KillSwitchRecorder(
        ports, caches, History(settings.ledger_path, work.ledger.head).kill_switches
    )
    ready, deletions = ReadyConditionReporter(ports, caches), ClassDeletions(ports, caches)
    pods, classes = Leftovers(ports), ClassChecks(ports, caches)
    yield loops.keep("Sweeping once the state is compared", sweeper.sweep_once_proven)
    yield loops.repeat("Sweeping", lambda: work.resync(sweeper), sweep, after=sweep)
    yield loops.repeat("Forgetting pods that are gone", pods.once, sweep, after=sweep)
    yield loops.repeat("Recording late", work.record_late, sweep, after=sweep)
    yield loops.repeat("Recording kill switches", recorder.once, kill_switch.POLL_SECONDS)
    yield loops.repeat("Answering requests", work.answer_requests, REQUESTS_SECONDS)
    yield loops.repeat(
        "Asking whether classes can be issued", classes.once, class_checks.POLL_SECONDS
    )
    yield loops.repeat("Saying what is Ready", ready.write_changes, ready_conditions.POLL_SECONDS)
    yield loops.repeat("Releasing classes", deletions.release_unused, class_deletion.POLL_SECONDS)
    yield loops.repeat("Looking for an uninstall", uninstall.once, uninstall_hook.POLL_SECONDS)
    yield loops.repeat("Telling what was held back", work.record_held_back, sweep)


def show_failure(process: Process, work: BackgroundWork, key: Key, error: Exception) -> None:
    """Show an error that no condition can: the reconcile itself failed."""
    if isinstance(error, TransientError) or (task := work.ports.world.task(key)) is None:
        return
    text = "an internal error; the operator's log has it"
    if isinstance(error, TaskpassError):
        text = str(error)
    asyncio.ensure_future(  # noqa: RUF006 (it only queues)
        work.events.post(
            kind="AgentTask", namespace=task.namespace, name=task.name, uid=task.uid,
            unique=f"failed-{task.generation}-{type(error).__name__}", reason="ReconcileFailed",
            message=f"Tried again until it works: {text}", severity=Severity.WARNING,
            at=process.clock.now(),
        )
    )  # fmt: skip
