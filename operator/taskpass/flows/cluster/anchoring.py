"""Hold the log against what the cluster remembers of it, and have the cluster remember more.

The AuditAnchor is not in the way of any task: an entry is durable and signed before it counts, and
remembered at most ten seconds later. What is lost of the memory by a crash is those ten seconds.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from taskpass.core.audit import log_events as audit_log
from taskpass.core.audit.anchor import GOOD, GROWING, AnchorReason, Head, IntegrityAlert, finding_of
from taskpass.core.errors import MustEnd, NotFound, NotTheLog, TaskpassError
from taskpass.core.model.conditions import Finding
from taskpass.core.model.entry import Entry
from taskpass.core.model.notice import Severity
from taskpass.ports.audit_log import AnchorState, LogAnchor, LogHistory
from taskpass.ports.clock import Clock
from taskpass.ports.tasks import EventPoster

logger = logging.getLogger(__name__)
POLL_SECONDS = 10.0
COMPARE_SECONDS = 60.0
RETRY_SECONDS = 2.0
INSTALLATION_SECONDS = 60.0
"""From a start on the chart may not have made the AuditAnchor yet: it waits until we are ready."""
NOT_MADE_YET = (
    "AuditAnchor 'taskpass' is not there yet; an installation makes it once the operator is ready, "
    "and nothing is issued before"
)


class Anchoring:
    """Compares and remembers; `why` says what holds issuing back."""

    def __init__(
        self, anchor: LogAnchor, history: LogHistory, events: EventPoster, clock: Clock, *,
        size: Callable[[], int], figures: Callable[[], Mapping[str, int]],
        concern: Callable[[], IntegrityAlert | None],
        record: Callable[[Entry], Awaitable[None]],
    ) -> None:  # fmt: skip
        """`size` is the log's, `figures` are shown beside it; `concern` is what else is to be said.

        Where that is a rollback or a fork which others have proven, nothing is issued either.
        `record` makes an entry durable.
        """
        self._anchor = anchor
        self._history = history
        self._events = events
        self._clock = clock
        self._size = size
        self._figures = figures
        self._concern = concern
        self._record = record
        self._shown: IntegrityAlert | None = None
        self._begun = clock.monotonic()
        self._done = (-1, -COMPARE_SECONDS)
        """The size that is remembered, and when it was last compared."""
        self._said = Finding(status="", reason="", message="")
        self.why: str | None = "The log has not yet been compared with the AuditAnchor"
        """None where the log is what is remembered of it."""
        self.remembered = 0
        """How many entries are remembered, as far as is known since the start."""
        self.missing = False
        """Whether that is because there is nothing that could remember it."""

    async def once(self) -> timedelta:
        """Look if it is due; return after which time it is to be asked again."""
        size, at = self._done
        due = self._clock.monotonic() - at >= COMPARE_SECONDS
        if due or self._size() != size or _reason(self._concern()) != _reason(self._shown):
            return timedelta(seconds=POLL_SECONDS if await self.compare() else RETRY_SECONDS)
        return timedelta(seconds=POLL_SECONDS)

    async def compare(self) -> bool:
        """Compare, and remember what has grown; tell whether that could be done."""
        try:
            anchored = await self._anchor.read()
            await self._record_reset(anchored)
        except NotFound:
            self.missing = True
            self._hold_without_anchor()
            return False
        except MustEnd:
            raise
        except TaskpassError as error:
            logger.warning("Failed to compare the log, will retry", extra={"error": str(error)})
            return False
        try:
            head, reason, message = await asyncio.to_thread(self._history.compared, anchored.head)
        except NotTheLog as error:
            # It shows nothing of the log: neither that it was rolled back, nor that it was not.
            self.missing = False
            self._hold(f"The log cannot be held against what is remembered of it: {error}")
            return False
        self.missing, self._shown = False, self._concern()
        if reason in GOOD and self._shown is not None:
            reason, message = self._shown.reason, self._shown.message
        self._hold(None if reason in GOOD else message)
        grown = reason in GROWING
        return await self._remember(anchored, head, finding_of(reason, message), grown=grown)

    async def _record_reset(self, anchored: AnchorState) -> None:
        """Write into the log what a person had the cluster forget, before anything is remembered.

        The entry's id follows from the object's UID: a second telling is none.
        """
        if anchored.head is not None or anchored.forgotten is None:
            return
        now, forgotten = self._clock.now(), anchored.forgotten
        await self._record(audit_log.re_origin(anchored.uid, forgotten.head, forgotten.reason, now))

    async def _remember(
        self, anchored: AnchorState, head: Head, finding: Finding, *, grown: bool
    ) -> bool:
        now = self._clock.now()
        try:
            await self._anchor.write(
                anchored, head if grown else None, self._steady(finding), self._figures(), now
            )
        except TaskpassError as error:
            logger.warning("Failed to anchor the log, will retry", extra={"error": str(error)})
            return False
        if grown:
            self.remembered = head.size
        await self._tell(anchored, finding, now)
        self._done = (head.size, self._clock.monotonic())
        return True

    def _steady(self, finding: Finding) -> Finding:
        """Say the same while it stays the same: the message of a log that grows would not."""
        if finding.reason == AnchorReason.ANCHORED:
            return finding_of(AnchorReason.ANCHORED, "The log begins with what was remembered")
        return finding

    async def _tell(self, anchored: AnchorState, finding: Finding, now: datetime) -> None:
        if finding.reason == self._said.reason or finding.reason == AnchorReason.ANCHORED:
            self._said = finding
            return
        self._said = finding
        bad = finding.status != "True"
        log = logger.error if bad else logger.info
        log("The log was compared with what is remembered", extra={"found": finding.message})
        await self._events.post(
            kind="AuditAnchor", namespace="", name="taskpass", uid=anchored.uid,
            unique=f"{finding.reason}-{now.isoformat()}", reason=finding.reason,
            message=finding.message, severity=Severity.WARNING if bad else Severity.NORMAL, at=now,
        )  # fmt: skip

    def _hold_without_anchor(self) -> None:
        if self._clock.monotonic() - self._begun >= INSTALLATION_SECONDS or self.remembered:
            self._hold(
                "AuditAnchor 'taskpass' is missing, so nobody could tell this log from an older "
                "one; install or upgrade the chart, which makes it"
            )
        elif self.why != NOT_MADE_YET:
            logger.info("Waiting for the AuditAnchor", extra={"why": NOT_MADE_YET})
            self.why = NOT_MADE_YET

    def _hold(self, why: str | None) -> None:
        if why is not None and why != self.why:
            logger.error("The log is not what is remembered", extra={"found": why})
        self.why = why


def _reason(concern: IntegrityAlert | None) -> AnchorReason | None:
    return None if concern is None else concern.reason
