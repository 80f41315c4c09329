"""Hold the log against what the cluster remembers of it, and have the cluster remember more.

The AuditAnchor is not in the way of any task: an entry is durable and signed before it counts, and
remembered at most ten seconds later. What is lost of the memory by a crash is those ten seconds.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime

from taskpass.core.anchor import AnchorReason, Head, finding_of
from taskpass.core.conditions import Finding
from taskpass.core.errors import NotFound, TaskpassError
from taskpass.core.records import Severity
from taskpass.ports import Clock, EventPoster, LogAnchor, LogHistory, Remembered

logger = logging.getLogger(__name__)
LOOK_SECONDS = 10.0
COMPARE_SECONDS = 60.0
RETRY_SECONDS = 2.0
GOOD = (AnchorReason.ANCHORED, AnchorReason.FIRST_MEMORY, AnchorReason.LEDGER_VOLUME_TIGHT)


class Anchoring:
    """Compares and remembers; `why` says what holds issuing back."""

    def __init__(
        self, anchor: LogAnchor, history: LogHistory, events: EventPoster, clock: Clock, *,
        size: Callable[[], int], figures: Callable[[], Mapping[str, int]],
        tight: Callable[[], str],
    ) -> None:  # fmt: skip
        """`size` is the log's, `figures` are shown beside it; `tight` says how little room is left.

        `tight` is '' where there is room.
        """
        self._anchor = anchor
        self._history = history
        self._events = events
        self._clock = clock
        self._size = size
        self._figures = figures
        self._tight = tight
        self._done = (-1, -COMPARE_SECONDS)
        """The size that is remembered, and when it was last compared."""
        self._said = Finding(status="", reason="", message="")
        self.why = "The log has not yet been compared with the AuditAnchor"
        """'' where the log is what is remembered of it."""
        self.missing = False
        """Whether that is because there is nothing that could remember it."""

    async def run(self) -> None:
        """Look every ten seconds, for ever; what could not be done is tried again sooner."""
        while True:
            size, at = self._done
            pause = LOOK_SECONDS
            if self._size() != size or self._clock.monotonic() - at >= COMPARE_SECONDS:
                pause = LOOK_SECONDS if await self.look() else RETRY_SECONDS
            await asyncio.sleep(pause)

    async def look(self) -> bool:
        """Compare, and remember what has grown; tell whether that could be done."""
        try:
            seen = await self._anchor.read()
            head, reason, message = await asyncio.to_thread(self._history.compared, seen.head)
        except NotFound:
            self.missing = True
            self._hold(
                "AuditAnchor 'taskpass' is missing, so nobody could tell this log from an older "
                "one; install or upgrade the chart, which makes it"
            )
            return False
        except TaskpassError as error:
            logger.warning("Failed to compare the log, will retry", extra={"error": str(error)})
            return False
        self.missing, good = False, reason in GOOD
        self._hold("" if good else message)
        if good and (tight := self._tight()):
            reason, message = AnchorReason.LEDGER_VOLUME_TIGHT, tight
        return await self._remember(seen, head, finding_of(reason, message), grown=good)

    async def _remember(
        self, seen: Remembered, head: Head, finding: Finding, *, grown: bool
    ) -> bool:
        now = self._clock.now()
        try:
            await self._anchor.write(
                seen, head if grown else None, self._steady(finding), self._figures(), now
            )
        except TaskpassError as error:
            logger.warning("Failed to anchor the log, will retry", extra={"error": str(error)})
            return False
        await self._tell(seen, finding, now)
        self._done = (head.size, self._clock.monotonic())
        return True

    def _steady(self, finding: Finding) -> Finding:
        """Say the same while it stays the same: the message of a log that grows would not."""
        if finding.reason == AnchorReason.ANCHORED:
            return finding_of(AnchorReason.ANCHORED, "The log begins with what was remembered")
        return finding

    async def _tell(self, seen: Remembered, finding: Finding, now: datetime) -> None:
        if finding.reason == self._said.reason or finding.reason == AnchorReason.ANCHORED:
            self._said = finding
            return
        self._said = finding
        bad = finding.status != "True"
        log = logger.error if bad else logger.info
        log("The log was compared with what is remembered", extra={"found": finding.message})
        await self._events.post(
            kind="AuditAnchor", namespace="", name="taskpass", uid=seen.uid,
            unique=f"{finding.reason}-{now.isoformat()}", reason=finding.reason,
            message=finding.message, severity=Severity.WARNING if bad else Severity.NORMAL, at=now,
        )  # fmt: skip

    def _hold(self, why: str) -> None:
        if why and why != self.why:
            logger.error("The log is not what is remembered", extra={"found": why})
        self.why = why
