"""What the operator does beside its queue: watch its own limits, its caches, and the providers.

Whatever it may not go on without (the ledger) ends the process; whatever it may not issue without
holds issuing back, while revocation goes on.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from taskpass.cel.evaluator import ProcessEvaluator
from taskpass.core.errors import MustEnd, TaskpassError, TransientError, UsageError
from taskpass.core.model.grant import GrantState
from taskpass.core.model.problem import Problem
from taskpass.core.rate_limit.budget import KIBIBYTE, Limit, Meter
from taskpass.flows.budgeting import Budgets
from taskpass.flows.cluster.anchoring import Anchoring
from taskpass.flows.cluster.orphans import Sweeper
from taskpass.flows.cluster.witnessing import Witnessing
from taskpass.flows.context import Ports
from taskpass.flows.work_queue import WorkQueue
from taskpass.kube.api.client import KubeClient
from taskpass.kube.cache.cluster_view import InformerCache
from taskpass.kube.cache.kopf_watch import Watcher
from taskpass.kube.guardrails import verify_guardrails
from taskpass.kube.writers.events import KubeEvents
from taskpass.ledger.log.reader import Incomplete, TamperEvidence
from taskpass.ledger.maintain.prune import Limit as Prunable
from taskpass.ledger.maintain.prune import archived, limit_of
from taskpass.ledger.maintain.requests import answer_all
from taskpass.ledger.store.open import AnyLedger, Opening
from taskpass.ledger.store.read_only import ReadOnlyLedger
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.store.volume import RecentFreeSpace, disk_usage
from taskpass.ledger.verify.integrity import differs
from taskpass.ports.ledger import Batch
from taskpass.runtime.loops import BackgroundLoops
from taskpass.runtime.settings import Settings
from taskpass.server.audit_log import LogServer
from taskpass.server.health import Health, LedgerReason

logger = logging.getLogger(__name__)
RETRY_SECONDS = 2.0
POLL_SECONDS = 0.25
REQUESTS_SECONDS = 1.0


@dataclass(slots=True, kw_only=True)
class BackgroundWork:
    """One round of each; `taskpass.runtime.loops` repeats them, and survives what they raise."""

    settings: Settings
    client: KubeClient
    ports: Ports
    ledger: AnyLedger
    opening: Opening
    caches: InformerCache
    queue: WorkQueue
    health: Health
    events: KubeEvents
    anchoring: Anchoring
    witnessing: Witnessing | None
    """None where no witness is to be asked."""
    evaluator: ProcessEvaluator
    log_server: LogServer | None
    """None where the log is not served."""
    distrusted: str | None = None
    """What of the ledger was found to be otherwise than its log says; None while nothing was."""
    background: BackgroundLoops = field(default_factory=BackgroundLoops)
    listed_at_beginning: int = 1
    """How often kopf had begun when our kinds were last listed whole; the start lists them."""

    async def check_guardrails(self) -> timedelta | None:
        """Try whether the limits on ourselves hold; sooner again where they do not."""
        said: str | None
        try:
            said = await verify_guardrails(
                self.client,
                home=self.settings.namespace,
                tenants=self.settings.tenants,
                targets=roles_of(self.settings),
            )
        except TaskpassError as error:
            said = f"It could not be found out whether the operator's own limits hold: {error}"
        if said != self.health.limits:
            log = logger.error if said else logger.info
            log("Limits on the operator were checked", extra={"missing": said or "nothing"})
        self.health.limits = said
        self.block_issuance_where_due()
        return None if said is None else timedelta(seconds=RETRY_SECONDS)

    async def check_watches(self, watcher: Watcher) -> None:
        """Say what of the caches is not up to date; it keeps anything from being issued."""
        self.health.watching = watcher.unhealthy_reason or self.caches.unhealthy_reason
        self.health.expressions = self.evaluator.unhealthy_reason
        missing = self.anchoring.missing
        self.health.anchor_missing = self.anchoring.why if missing else None
        self.health.anchor = None if missing else self.anchoring.why
        self.block_issuance_where_due()

    async def catch_up(self, watcher: Watcher) -> None:
        """List our kinds anew where events of them may have been missed."""
        begun = watcher.begun
        if watcher.unhealthy_reason:
            return
        if self.caches.missed or begun != self.listed_at_beginning:
            await self.caches.resync(self.client, whole=True)
            self.listed_at_beginning = begun

    async def resync(self, sweeper: Sweeper) -> None:
        """Compare caches and providers with what is true."""
        try:
            await self.caches.resync(self.client)
            await sweeper.sweep(quiet=False)
        except TransientError as error:
            logger.warning("Failed to sweep, will retry", extra={"error": str(error)})

    async def check_integrity(self) -> None:
        """Hold the ledger's state against its log, then look at all of its file, once.

        Nothing is issued before the first is done, nor after either has found a difference. What
        is held is revoked all the same, by what is noted of it.
        """
        if isinstance(self.ledger, ReadOnlyLedger):
            return
        found = await self.ledger.compare()
        if found is None and self.distrusted is None:
            logger.info("Compared the state with the log", extra={"entries": self.ledger.size})
            self.health.ledger = None
            self.ports.modes.unproven = False
            self.block_issuance_where_due()
            # What waited for this alone is not issuing, and does not wait for what that waits for.
            for key in self.ports.modes.waiting:
                self.queue.add(key)
        if found is None:
            found = await self.ledger.examine()
        if found is not None:
            self.distrust(found)
        else:
            logger.info("Examined the ledger's file", extra={"entries": self.ledger.size})

    def distrust(self, found: str) -> None:
        """Issue nothing from now on, and revoke only: the ledger is not what its log says.

        Nothing takes it back: whoever can edit the file can undo an edit as well, once what follows
        from it is decided. A person sees to it, and starts the operator anew.
        """
        if found != self.distrusted:
            logger.error("The ledger does not hold: nothing is issued", extra={"found": found})
        self.distrusted = found
        self.health.ledger = Problem(LedgerReason.REVOKING_ONLY, found)
        self.ports.modes.unproven = True
        self.block_issuance_where_due()

    async def answer_requests(self) -> None:
        """Do what is asked beside the ledger: erase a person, drop old entries."""
        ledger = self.ledger
        if isinstance(ledger, ReadOnlyLedger):
            return

        async def do(request: Mapping[str, str], tell: Callable[[str], None]) -> int:
            now = self.ports.now()
            # Records are written anew from memory, which has to be what the log says.
            if found := await ledger.compare():
                self.distrust(found)
                raise UsageError(f"Nothing was done: {found}")
            match request:
                case {"do": "erase", "subject": subject}:
                    return await ledger.erase(subject, now, tell)
                case {"do": "prune", "archive": archive, **rest}:
                    return await self._prune(ledger, limit_of(rest), Path(archive), now, tell)
            raise UsageError("The operator knows no such request")

        await answer_all(self.settings.ledger_path, do)
        await ledger.fold_where_wanted()

    async def _prune(
        self, ledger: SqliteLedger, limit: Prunable, archive: Path, now: datetime,
        tell: Callable[[str], None],
    ) -> int:  # fmt: skip
        """Archive what may go, and drop it; a difference that is found by then counts as well."""
        path = self.settings.ledger_path
        try:
            _, drop = await asyncio.to_thread(archived, path, limit, archive, now)
            return await ledger.prune(drop, tell)
        except TamperEvidence as error:
            self.distrust(differs(path, error))
            raise UsageError(f"Nothing was dropped: {differs(path, error)}") from error
        except Incomplete as error:
            raise UsageError(f"Nothing was dropped: {error}") from error

    async def record_held_back(self, *, all_of_it: bool = False) -> None:
        """Record what was held back and is due to be told; or all of it, before a stop."""
        if entries := self.ports.budgets.tell(self.ports.now(), all_of_it=all_of_it):
            await self.ledger.commit(Batch(entries=entries))

    async def record_late(self) -> None:
        """Where the ledger could only be read: try again, and end the process once it is whole."""
        read_only = self.ledger
        if isinstance(read_only, ReadOnlyLedger):
            recorded = await read_only.record_late(self.opening.whole)
            if recorded is not None:
                raise MustEnd(
                    f"The ledger can be written again: {recorded} entries were recorded late. The "
                    "operator ends, to start whole"
                )
            said = Problem(LedgerReason.REVOKING_ONLY, read_only.why)
            if said != self.health.ledger:
                logger.error("The ledger is not written", extra={"why": read_only.why})
            self.health.ledger = said
            self.block_issuance_where_due()

    def block_issuance_where_due(self) -> None:
        """Issue nothing while anything is not as it must be; begin again once it is."""
        self.health.background = self.background.unhealthy_reason
        modes, health = self.ports.modes, self.health
        why = (
            health.limits or health.watching or health.anchor or health.anchor_missing
            or self.background.issuance_blocked_reason
        )  # fmt: skip
        if isinstance(self.ledger, ReadOnlyLedger):
            why = f"Nothing is issued: {self.ledger.why}"
        elif self.health.ledger is not None:
            why = f"Nothing is issued: {self.health.ledger.message}"
        if modes.issuance_blocked_reason == why:
            return
        modes.issuance_blocked_reason = why
        if why is None:
            waiting, modes.waiting = modes.waiting, set()
            for key in waiting:
                self.queue.add(key)


def roles_of(settings: Settings) -> Mapping[str, Sequence[tuple[str, str]]]:
    """Return (kind, name) of the roles that may be bound in each target namespace."""
    return {
        namespace: [
            *(("ClusterRole", name) for name in target.clusterRoles),
            *(("Role", name) for name in target.roles),
        ]
        for namespace, target in settings.targets.items()
    }


def budgets_of(settings: Settings, meters: Mapping[str, Meter]) -> Budgets:
    """Return what tasks and namespaces may fill of the ledger, and what they had used before."""
    return Budgets(
        task=Limit(
            burst=settings.ledger_task_burst_kib * KIBIBYTE,
            per_day=settings.ledger_task_kib_per_day * KIBIBYTE,
        ),
        namespace=Limit(
            burst=settings.ledger_namespace_burst_kib * KIBIBYTE,
            per_day=settings.ledger_namespace_kib_per_day * KIBIBYTE,
        ),
        namespaces=len(settings.tenants),
        room=RecentFreeSpace(settings.ledger_path),
        meters=meters,
    )


def figures_of(ledger: AnyLedger, path: Path) -> Mapping[str, int]:
    """Return what the AuditAnchor shows beside the log's size."""
    here = disk_usage(path)
    going = sum(grant.state is not GrantState.DELIVERED for grant in ledger.held())
    return {"openOperations": going, "ledgerBytes": here.used, "freeBytes": here.free}
