"""What the operator does beside its queue: watch its own limits, its caches, and the providers.

Whatever it may not go on without (the ledger, kopf) ends the process; whatever it may not issue
without holds issuing back, while revocation goes on.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from taskpass.core.errors import TaskpassError, TransientError, UsageError
from taskpass.endpoints.health import Health
from taskpass.endpoints.log import LogServer
from taskpass.flows.anchoring import Anchoring
from taskpass.flows.context import Ports
from taskpass.flows.sweep import Sweeper
from taskpass.flows.witnessing import Witnessing
from taskpass.flows.work_queue import WorkQueue
from taskpass.handlers.kinds import Watcher
from taskpass.kube.client import KubeClient
from taskpass.kube.guard import limits_hold
from taskpass.kube.world import Caches
from taskpass.ledger.opening import AnyLedger, Opening
from taskpass.ledger.prune import archived, limit_of
from taskpass.ledger.requests import answer_all
from taskpass.ledger.sealed import SealedLedger
from taskpass.settings import Settings

logger = logging.getLogger(__name__)
RETRY_SECONDS = 2.0
LOOK_SECONDS = 0.25
REQUESTS_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Duties:
    """Loops; each runs until it is cancelled."""

    settings: Settings
    client: KubeClient
    ports: Ports
    ledger: AnyLedger
    opening: Opening
    caches: Caches
    queue: WorkQueue
    health: Health
    anchoring: Anchoring
    witnessing: Witnessing | None
    """None where no witness is to be asked."""
    log_server: LogServer | None
    """None where the log is not served."""

    async def keep_limits(self) -> None:
        """Try, at the start and every `sweep_seconds`, whether the limits on ourselves hold."""
        while True:
            try:
                said = await limits_hold(
                    self.client,
                    home=self.settings.namespace,
                    tenants=self.settings.tenants,
                    targets=roles_of(self.settings),
                )
            except TransientError as error:
                said = f"It could not be found out whether the operator's own limits hold: {error}"
            if said != self.health.limits:
                log = logger.error if said else logger.info
                log("Limits on the operator were checked", extra={"missing": said or "nothing"})
            self.health.limits = said
            self._hold_where_due()
            await asyncio.sleep(RETRY_SECONDS if said else self.settings.sweep_seconds)

    async def keep_watch(self, watcher: Watcher) -> None:
        """End the process where it would go on half blind; hold back what it may not issue."""
        failing = asyncio.ensure_future(self.ledger.watch_failure())
        try:
            while True:
                if failing.done():
                    failing.result()
                if watcher.ended:
                    raise TaskpassError(
                        f"Watching of our kinds ended ({watcher.failure or 'without a reason'})"
                    )
                self.health.watching = self.caches.trouble
                missing = self.anchoring.missing
                self.health.unremembered = self.anchoring.why if missing else ""
                self.health.anchor = "" if missing else self.anchoring.why
                self._hold_where_due()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            failing.cancel()

    async def keep_clean(self, sweeper: Sweeper) -> None:
        """Compare caches and providers with what is true, every `sweep_seconds`."""
        while True:
            await asyncio.sleep(self.settings.sweep_seconds)
            try:
                await self.caches.resync(self.client)
                await sweeper.sweep(quiet=False)
            except TransientError as error:
                logger.warning("Failed to sweep, will retry", extra={"error": str(error)})

    async def keep_whole(self) -> None:
        """Hold the ledger's state against its log, then look at all of its file, once.

        Nothing is issued before the first is done, nor after either has found a difference. What
        is held is revoked all the same, by what is noted of it.
        """
        if isinstance(self.ledger, SealedLedger):
            return
        found = await self.ledger.compare()
        if not found:
            logger.info("Compared the state with the log", extra={"entries": self.ledger.size})
            self.health.ledger = ""
            self._hold_where_due()
            found = await self.ledger.examine()
        if not found:
            logger.info("Examined the ledger's file", extra={"entries": self.ledger.size})
            return
        logger.error("The ledger does not hold: nothing is issued", extra={"found": found})
        self.health.ledger = f"revoking only: {found}"
        self._hold_where_due()

    async def answer_requests(self) -> None:
        """Do what is asked beside the ledger: erase a person, drop old entries."""
        ledger = self.ledger
        if isinstance(ledger, SealedLedger):
            return

        async def do(request: Mapping[str, str], tell: Callable[[str], None]) -> int:
            now = self.ports.now()
            match request:
                case {"do": "erase", "subject": subject}:
                    return await ledger.erase(subject, now, tell)
                case {"do": "prune", "archive": archive, **rest}:
                    limit, path = limit_of(rest), self.settings.ledger_path
                    done, entry = await asyncio.to_thread(archived, path, limit, Path(archive), now)
                    return await ledger.prune(entry, done.min_index, tell)
            raise UsageError("The operator knows no such request")

        while True:
            await answer_all(self.settings.ledger_path, do)
            await ledger.fold_where_wanted()
            await asyncio.sleep(REQUESTS_SECONDS)

    async def record_late(self) -> None:
        """Where the ledger could only be read: try again, and end the process once it is whole."""
        sealed = self.ledger
        while isinstance(sealed, SealedLedger):
            await asyncio.sleep(self.settings.sweep_seconds)
            recorded = await sealed.record_late(self.opening.whole)
            if recorded is not None:
                raise TaskpassError(
                    f"The ledger can be written again: {recorded} entries were recorded late. The "
                    "operator ends, to start whole"
                )

    def _hold_where_due(self) -> None:
        modes, health = self.ports.modes, self.health
        why = health.limits or health.watching or health.anchor or health.unremembered
        if isinstance(self.ledger, SealedLedger):
            why = f"Nothing is issued: {self.ledger.why}"
        elif self.health.ledger:
            why = f"Nothing is issued: {self.health.ledger}"
        if modes.held_back == why:
            return
        modes.held_back = why
        if not why:
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
