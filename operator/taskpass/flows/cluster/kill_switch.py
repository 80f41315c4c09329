"""Record each KillSwitch once in the audit log, and once that it is gone."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from taskpass.core.audit import events as audit
from taskpass.core.errors import EntryRefused
from taskpass.core.model.entry import Entry
from taskpass.core.model.kill_switch import KillSwitch
from taskpass.flows.context import Ports
from taskpass.ports.ledger import Batch

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.5


class Switches(Protocol):
    """Where all kill switches are."""

    def kill_switches(self) -> Sequence[KillSwitch]:
        """Return every KillSwitch."""


class KillSwitchRecorder:
    """Compares those that there are with those that the log tells of.

    Nothing waits for it: what a KillSwitch matches is taken back whether the log takes entries or
    not. Where the log cannot be read, nothing is recorded, and that is told.
    """

    def __init__(
        self, ports: Ports, switches: Switches,
        activated: Callable[[], Mapping[str, str]] = dict,
    ) -> None:  # fmt: skip
        """`activated` reads what the log tells of as activated and not as lifted; it may block."""
        self._ports = ports
        self._switches = switches
        self._read = activated
        self._begun = False
        self._activated: dict[str, str] = {}
        self._untold: set[str] = set()
        """UIDs of those that are there and not on record yet."""
        self._refused: set[str] = set()
        """Ids of entries that are not on record though they were tried."""

    def begin(self, activated: Mapping[str, str]) -> None:
        """Take over what the log tells of as activated and not as lifted: name by UID."""
        self._activated, self._begun = dict(activated), True

    async def once(self) -> None:
        """Look, twice a second; the first time, read what the log tells of before."""
        if not self._begun:
            self.begin(await asyncio.to_thread(self._read))
        await self.record_changes()

    async def record_changes(self) -> None:
        """Record what has changed since the look before."""
        now = {switch.uid: switch for switch in self._switches.kill_switches()}
        for uid in now.keys() - self._activated.keys():
            self._activated[uid] = now[uid].name
            self._untold.add(uid)
        # Remembered only once it is on record: what fails is recorded by the next look.
        for uid in self._untold & now.keys():
            if await self._record(audit.kill_switch_activated(now[uid], self._ports.now())):
                self._untold.discard(uid)
        for uid in self._activated.keys() - now.keys():
            name = self._activated[uid]
            if await self._record(audit.kill_switch_lifted(uid, name, self._ports.now())):
                del self._activated[uid]
                self._untold.discard(uid)

    async def _record(self, entry: Entry) -> bool:
        """Tell whether it is on record; one that is refused is said once, and tried again."""
        try:
            await self._ports.ledger.commit(Batch(entries=(entry,)))
        except EntryRefused as refused:
            if entry.id not in self._refused:
                logger.error("A KillSwitch could not be recorded", extra={"error": str(refused)})
            self._refused.add(entry.id)
            return False
        self._refused.discard(entry.id)
        return True
