"""Compare what exists at the providers with the ledger, both ways.

What no grant answers for is undone: a call that reached the provider after the process that made it
had ended, or whose ledger was replaced by an older one; or what somebody made with our credentials,
under a name of its own or beside a grant that is live. What a grant says and the provider has not
is taken for lost: somebody removed it, or the record of its revocation was cut off. It is taken out
of the Secret, and decided anew.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from taskpass.core.audit import events as audit
from taskpass.core.errors import TransientError
from taskpass.core.model.grant import Grant, GrantState
from taskpass.core.model.key import Key
from taskpass.flows.context import Ports
from taskpass.ports.credentials import CredentialProvider
from taskpass.ports.ledger import Batch

logger = logging.getLogger(__name__)
PATIENCE_SECONDS = 60.0


class Sweeper:
    """Remembers the suspects of the last sweep."""

    def __init__(self, ports: Ports, enqueue: Callable[[Key], None]) -> None:
        """`look` has the task of a key looked at."""
        self._ports = ports
        self._enqueue = enqueue
        self._suspects: dict[str, set[str]] = {}
        self._missed: dict[str, set[str]] = {}

    async def sweep(self, *, quiet: bool) -> int:
        """Undo orphans, and find what is lost; return how many orphans there were.

        `quiet` says that nothing is being issued or revoked (the start): then each counts at once.
        Otherwise it must be seen twice, as the first look may have crossed an issue or a revocation
        under way.
        """
        undone = 0
        for name, provider in self._ports.providers.items():
            before = {g.id: g for g in self._ports.ledger.held()}
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    found = await provider.inventory()
            except (TransientError, TimeoutError) as error:
                logger.warning(
                    "Failed to take an inventory, will retry",
                    extra={"provider": name, "error": str(error) or "no answer"},
                )
                continue
            self._find_lost(name, provider, before, found, quiet=quiet)
            held = before | {g.id: g for g in self._ports.ledger.held()}
            orphans = {k for k in found if k not in held}
            due = orphans if quiet else orphans & self._suspects.get(name, set())
            self._suspects[name] = orphans - due
            for grant_id in sorted(due):
                if await self._undone(name, provider, grant_id, found[grant_id]):
                    undone += 1
            # Names are recorded before anything is made: this can be nothing that is under way.
            for grant_id in sorted(found.keys() & held.keys()):
                surplus = provider.surplus(held[grant_id], found[grant_id])
                if surplus and await self._undone(name, provider, grant_id, surplus):
                    undone += 1
        return undone

    def _find_lost(
        self, name: str, provider: CredentialProvider, before: Mapping[str, Grant],
        found: Mapping[str, Mapping[str, Any]], *, quiet: bool,
    ) -> None:  # fmt: skip
        missed = {
            g.id
            for g in before.values()
            if g.provider == name
            and g.state is GrantState.DELIVERED
            and provider.is_gone(g, found.get(g.id))
        }
        due = missed if quiet else missed & self._missed.get(name, set())
        self._missed[name] = missed
        for grant_id in sorted(due - self._ports.missing_at_provider):
            grant = before[grant_id]
            logger.warning(
                "A credential is gone at its provider, will decide it anew",
                extra={"provider": name, "grant": grant_id, "task": str(grant.task)},
            )
            self._ports.missing_at_provider.add(grant_id)
            self._enqueue(grant.task.key)

    async def _undone(
        self, name: str, provider: CredentialProvider, grant_id: str, state: Mapping[str, Any]
    ) -> bool:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await provider.undo(grant_id, state)
        except (TransientError, TimeoutError) as error:
            self._suspects[name].add(grant_id)
            logger.warning(
                "Failed to remove what no grant answers for, will retry",
                extra={"provider": name, "grant": grant_id, "error": str(error)},
            )
            return False
        entry = audit.orphan_undone(grant_id, name, self._ports.now())
        await self._ports.ledger.commit(Batch(entries=(entry,)))
        logger.warning(
            "Removed what no grant answers for", extra={"provider": name, "grant": grant_id}
        )
        return True
