"""Compare what exists at the providers with the ledger, and undo what no grant answers for.

Finds what a crash orphaned: a call that reached the provider after the process that made it had
ended, or whose ledger was replaced by an older one.
"""

import asyncio
import logging

from taskpass.core import audit
from taskpass.core.errors import TransientError
from taskpass.flows.context import Ports
from taskpass.ports import Batch

logger = logging.getLogger(__name__)
PATIENCE_SECONDS = 60.0


class Sweeper:
    """Remembers the suspects of the last sweep."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._suspects: dict[str, set[str]] = {}

    async def sweep(self, *, quiet: bool) -> int:
        """Undo orphans; return how many.

        `quiet` says that nothing is being issued (the start): then each is undone at once.
        Otherwise one must be seen twice, as the first look may have crossed an issue or a
        revocation under way.
        """
        undone = 0
        for name, provider in self._ports.providers.items():
            held = {g.id for g in self._ports.ledger.held()}
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    found = await provider.inventory()
            except (TransientError, TimeoutError) as error:
                logger.warning(
                    "Failed to take an inventory, will retry",
                    extra={"provider": name, "error": str(error) or "no answer"},
                )
                continue
            held |= {g.id for g in self._ports.ledger.held()}
            orphans = {k for k in found if k not in held}
            due = orphans if quiet else orphans & self._suspects.get(name, set())
            self._suspects[name] = orphans - due
            for grant_id in sorted(due):
                try:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        await provider.undo(grant_id, found[grant_id])
                except (TransientError, TimeoutError) as error:
                    self._suspects[name].add(grant_id)
                    logger.warning(
                        "Failed to remove what no grant answers for, will retry",
                        extra={"provider": name, "grant": grant_id, "error": str(error)},
                    )
                    continue
                entry = audit.orphan_undone(grant_id, name, self._ports.now())
                await self._ports.ledger.commit(Batch(entries=(entry,)))
                logger.warning(
                    "Removed what no grant answers for", extra={"provider": name, "grant": grant_id}
                )
                undone += 1
        return undone
