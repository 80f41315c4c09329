"""Record each KillSwitch once in the audit log, and once that it is gone."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from taskpass.core import audit
from taskpass.core.errors import EntryRefused, TaskpassError
from taskpass.core.kill_switch import KillSwitch
from taskpass.flows.context import Ports
from taskpass.ports import Batch

logger = logging.getLogger(__name__)
LOOK_SECONDS = 0.5


class Switches(Protocol):
    """Where all kill switches are."""

    def kill_switches(self) -> Sequence[KillSwitch]:
        """Return every KillSwitch."""


class KillSwitchRecorder:
    """Compares those that there are with those that the log tells of.

    Nothing waits for it: what a KillSwitch matches is taken back whether the log takes entries or
    not. Where the log cannot be read, nothing is recorded; that is told elsewhere, and stops
    issuing.
    """

    def __init__(self, ports: Ports, switches: Switches) -> None:
        """`begin` must come before the first look."""
        self._ports = ports
        self._switches = switches
        self._thrown: dict[str, str] = {}

    def begin(self, thrown: Mapping[str, str]) -> None:
        """Take over what the log tells of as thrown and not as lifted: name by UID."""
        self._thrown = dict(thrown)

    async def run(self, thrown: Callable[[], Mapping[str, str]]) -> None:
        """Look twice a second, for ever. `thrown` reads what `begin` takes; it may block."""
        try:
            self.begin(await asyncio.to_thread(thrown))
        except (TaskpassError, ValueError, KeyError) as error:
            logger.error("Kill switches are not recorded", extra={"error": str(error)})
            return
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Record what has changed since the look before."""
        now = {switch.uid: switch for switch in self._switches.kill_switches()}
        for uid in now.keys() - self._thrown.keys():
            self._thrown[uid] = now[uid].name
            await self._record(audit.kill_switch_thrown(now[uid], self._ports.now()))
        for uid in self._thrown.keys() - now.keys():
            name = self._thrown.pop(uid)
            await self._record(audit.kill_switch_lifted(uid, name, self._ports.now()))

    async def _record(self, entry: audit.Entry) -> None:
        try:
            await self._ports.ledger.commit(Batch(entries=(entry,)))
        except EntryRefused as refused:
            logger.error("A KillSwitch could not be recorded", extra={"error": str(refused)})
