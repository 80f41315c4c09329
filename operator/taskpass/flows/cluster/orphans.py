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
from functools import partial
from typing import Any, TypeVar

from taskpass.core.audit import events as audit
from taskpass.core.errors import TransientError
from taskpass.core.model.grant import Grant, GrantState
from taskpass.core.model.key import Key
from taskpass.flows.context import Ports
from taskpass.ports.credentials import CredentialProvider
from taskpass.ports.ledger import Batch

logger = logging.getLogger(__name__)
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.25
T = TypeVar("T")


class Sweeper:
    """Remembers the suspects of the last sweep."""

    def __init__(self, ports: Ports, enqueue: Callable[[Key], None]) -> None:
        """`enqueue` has the task of a key looked at."""
        self._ports = ports
        self._enqueue = enqueue
        self._suspects: dict[str, set[str]] = {}
        self._missed: dict[str, set[str]] = {}
        self._sweeping = asyncio.Lock()

    async def sweep(self, *, quiet: bool) -> int:
        """Undo orphans, and find what is lost; return how many orphans there were.

        `quiet` says that nothing is being issued or revoked (the start): then each counts at once.
        Otherwise it must be seen twice, as the first look may have crossed an issue or a revocation
        under way.

        While the state is unproven, nothing is undone: what the log says is held would be deleted,
        and signed for as nobody's, where somebody took its row away. It is remembered as seen once.
        """
        async with self._sweeping:
            undone = 0
            for name, provider in self._ports.providers.items():
                undone += await self._sweep(name, provider, quiet=quiet)
            return undone

    async def sweep_once_proven(self) -> None:
        """Undo what waited for the comparison of the state with the log, as soon as that is done.

        A difference keeps it waiting for ever.
        """
        while self._ports.modes.unproven:
            await asyncio.sleep(POLL_SECONDS)
        await self.sweep(quiet=False)

    async def _sweep(self, name: str, provider: CredentialProvider, *, quiet: bool) -> int:
        before = {g.id: g for g in self._ports.ledger.held()}
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await provider.inventory()
        except (TransientError, TimeoutError) as error:
            logger.warning(
                "Failed to take an inventory, will retry",
                extra={"provider": name, "error": str(error) or "no answer"},
            )
            return 0
        self._find_lost(name, provider, before, found, quiet=quiet)
        held = before | {g.id: g for g in self._ports.ledger.held()}
        orphans = {k for k in found if k not in held}
        due = orphans if quiet else orphans & self._suspects.get(name, set())
        if self._ports.modes.unproven:
            due = set()
        self._suspects[name] = orphans - due
        undone = 0
        for grant_id in sorted(due):
            undone += await self._undone(name, provider, grant_id, found[grant_id])
        if self._ports.modes.unproven:
            return undone
        # Names are recorded before anything is made: this can be nothing that is under way.
        for grant_id in sorted(found.keys() & held.keys()):
            grant, there = held[grant_id], found[grant_id]
            surplus = _asked_of(grant, partial(provider.surplus, grant, there), None)
            if surplus:
                undone += await self._undone(name, provider, grant_id, surplus)
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
            and _asked_of(g, partial(provider.is_gone, g, found.get(g.id)), False)
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


def _asked_of(grant: Grant, ask: Callable[[], T], otherwise: T) -> T:
    """Return what a provider says of one grant; a record that it cannot read is no other's end."""
    try:
        return ask()
    except Exception as error:
        logger.error(
            "What is recorded of a grant cannot be compared with what is there",
            extra={"grant": grant.id, "error": type(error).__name__},
            exc_info=True,
        )
        return otherwise
