"""Kubernetes Events, for people: off the path of everything else, and never a reason to fail.

The name of an Event derives from what it tells, so that telling it again (after a restart, or an
answer that was lost) answers 409: it is told already.
"""

import asyncio
import hashlib
import logging
from collections import Counter
from datetime import datetime
from typing import Any

from taskpass.core.errors import ApiError, ApiUnavailable, Conflict
from taskpass.core.model.api import API_VERSION
from taskpass.core.model.notice import Severity
from taskpass.core.rate_limit.fair_queue import FairQueue
from taskpass.ports.cluster import ApiClient

CONTROLLER = "taskpass.dev/operator"
LONGEST_NOTE = 1024
WAITING = 10_000
"""Events that may wait, about 10 MiB; more are dropped and counted."""
WAITING_OF_ONE = 2_000
"""Those of one namespace."""
WORKERS = 4
PAUSES = (0.5, 2.0, 8.0)
API_VERSIONS = {"Pod": "v1"}
logger = logging.getLogger(__name__)


class KubeEvents:
    """`ports.EventPoster`: a bounded queue, and `run` that empties it."""

    def __init__(
        self, client: ApiClient, *, instance: str, pauses: tuple[float, ...] = PAUSES
    ) -> None:
        """`instance` names this process in Events, such as its pod's name."""
        self._client = client
        self._instance = instance[:128] or "taskpass"
        self._pauses = pauses
        self._line: FairQueue[dict[str, Any]] = FairQueue()
        self._waiting: Counter[str] = Counter()
        self._queue: asyncio.Queue[None] = asyncio.Queue(WAITING)
        """As many as wait in the line, for whoever waits for one."""
        self.dropped = 0
        """Events that nobody will see: the queue was full, or the API server did not take them."""

    async def post(
        self, *, kind: str, namespace: str, name: str, uid: str, unique: str,
        reason: str, message: str, severity: Severity, at: datetime,
    ) -> None:  # fmt: skip
        """Queue one Event with a name derived from `unique`; returns at once, never raises."""
        regarding = {
            "apiVersion": API_VERSIONS.get(kind, API_VERSION),
            "kind": kind,
            "name": name,
            "uid": uid,
        }
        if namespace:
            regarding["namespace"] = namespace
        told = hashlib.sha256(f"{uid}|{unique}".encode()).hexdigest()[:20]
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{name[:200].rstrip('-.')}.{told}",
                # Events about objects of the cluster live in `default`, as Kubernetes' own do.
                "namespace": namespace or "default",
            },
            "eventTime": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "action": reason,
            "reason": reason,
            "regarding": regarding,
            "note": _shortened(message),
            "type": severity.value,
        }
        of = namespace or "default"
        if self._queue.full() or self._waiting[of] >= WAITING_OF_ONE:
            self._drop(event, "the queue was full")
            return
        self._waiting[of] += 1
        self._line.put(of, event)
        self._queue.put_nowait(None)

    async def run(self) -> None:
        """Post what is queued, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._work())

    async def drain(self, seconds: float) -> None:
        """Wait until everything queued is posted or dropped, while `run` runs, but no longer."""
        try:
            await asyncio.wait_for(self._queue.join(), seconds)
        except TimeoutError:
            logger.warning("Events were left unposted", extra={"events": self._queue.qsize()})

    async def _work(self) -> None:
        while True:
            await self._queue.get()
            event = self._line.take()
            assert event is not None  # noqa: S101 (there is one for each that is in the queue)
            of = event["metadata"]["namespace"]
            self._waiting[of] -= 1
            if not self._waiting[of]:
                del self._waiting[of]
            try:
                await self._send(event)
            except Exception as error:  # one odd Event must not end the posting of all others
                self._drop(event, type(error).__name__)
            finally:
                self._queue.task_done()

    async def _send(self, event: dict[str, Any]) -> None:
        path = f"/apis/events.k8s.io/v1/namespaces/{event['metadata']['namespace']}/events"
        for pause in (*self._pauses, None):
            try:
                await self._client.create(path, event)
            except Conflict:
                return
            except ApiUnavailable as error:
                if pause is None:
                    return self._drop(event, type(error).__name__)
                await asyncio.sleep(pause)
            except ApiError as error:
                # Most often the namespace is being deleted.
                return self._drop(event, type(error).__name__)
            else:
                return None

    def _drop(self, event: dict[str, Any], why: str) -> None:
        self.dropped += 1
        logger.info(
            "Event was dropped",
            extra={"event": event["metadata"]["name"], "reason": event["reason"], "why": why},
        )


def _shortened(message: str) -> str:
    """Return at most what an Event's note takes; the limit counts bytes."""
    raw = message.encode()
    if len(raw) <= LONGEST_NOTE:
        return message
    return raw[: LONGEST_NOTE - 3].decode(errors="ignore") + "…"
