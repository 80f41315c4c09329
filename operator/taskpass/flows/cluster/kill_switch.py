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
LOOK_SECONDS = 0.5


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
        thrown: Callable[[], Mapping[str, str]] = dict,
    ) -> None:  # fmt: skip
        """`thrown` reads what the log tells of as thrown and not as lifted; it may block."""
        self._ports = ports
        self._switches = switches
        self._read = thrown
        self._begun = False
        self._thrown: dict[str, str] = {}

    def begin(self, thrown: Mapping[str, str]) -> None:
        """Take over what the log tells of as thrown and not as lifted: name by UID."""
        self._thrown, self._begun = dict(thrown), True

    async def once(self) -> None:
        """Look, twice a second; the first time, read what the log tells of before."""
        if not self._begun:
            self.begin(await asyncio.to_thread(self._read))
        await self.look()

    async def look(self) -> None:
        """Record what has changed since the look before."""
        # Remembered only once it is on record: what fails is recorded by the next look.
        now = {switch.uid: switch for switch in self._switches.kill_switches()}
        for uid in now.keys() - self._thrown.keys():
            await self._record(audit.kill_switch_thrown(now[uid], self._ports.now()))
            self._thrown[uid] = now[uid].name
        for uid in self._thrown.keys() - now.keys():
            name = self._thrown[uid]
            await self._record(audit.kill_switch_lifted(uid, name, self._ports.now()))
            del self._thrown[uid]

    async def _record(self, entry: Entry) -> None:
        try:
            await self._ports.ledger.commit(Batch(entries=(entry,)))
        except EntryRefused as refused:
            logger.error("A KillSwitch could not be recorded", extra={"error": str(refused)})
