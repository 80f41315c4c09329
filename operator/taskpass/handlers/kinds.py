"""Our kinds, watched by kopf: each event becomes a change of the caches, and nothing else.

kopf has a thread and a loop of its own: what it cancels at its end is then none of ours, and its
relists hold up no reconcile (docs/adr/0003-one-process-two-loops.md).
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import kopf

from taskpass.handlers.cut_response import CutResponse
from taskpass.kube.connection import Connection

GROUP, VERSION = "taskpass.dev", "v1alpha1"
KINDS = {
    "agenttasks": "AgentTask",
    "credentialclasses": "CredentialClass",
    "agentpolicies": "AgentPolicy",
    "clusteragentpolicies": "ClusterAgentPolicy",
    "killswitches": "KillSwitch",
    "taskapprovals": "TaskApproval",
    "agenttasktemplates": "AgentTaskTemplate",
}
LOGIN_FOR = timedelta(minutes=10)
"""A projected token is replaced within the hour; a login reads it anew."""
PAGE = 20
"""Objects on a page of kopf's lists: at most 1.5 MB each."""
IDENTITY: Any = "taskpass"
"""kopf would make one of the user's name, which an image's user id has not. Its type is private."""
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before it is begun anew, the more often it has ended; the last one stays."""
LOOK_SECONDS = 0.1
LASTED_SECONDS = 60.0
"""After which one that ended counts as one that had worked."""
Apply = Callable[[str, str | None, Mapping[str, Any]], None]
logger = logging.getLogger(__name__)


class NoDiff(kopf.DiffBaseStorage):
    """We have no change handlers, so no last state is kept."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        """Return nothing to compare."""
        return {}

    def fetch(self, *, body: Any) -> Any:
        """Return {} and not None, so that nothing looks new."""
        return {}

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Write nothing."""


class NoProgress(kopf.ProgressStorage):
    """Handlers here have no progress."""

    def fetch(self, *, key: Any, body: Any) -> Any:
        """Return none."""
        return None

    def store(self, *, key: Any, record: Any, body: Any, patch: Any) -> None:
        """Write nothing."""

    def purge(self, *, key: Any, body: Any, patch: Any) -> None:
        """Write nothing."""

    def touch(self, *, body: Any, patch: Any, value: Any) -> None:
        """Write nothing."""

    def clear(self, *, essence: Any) -> Any:
        """Return it as it is."""
        return essence


def operator_settings(idle_seconds: float) -> kopf.OperatorSettings:
    """Return kopf's settings for what we use of it; a watch may be silent for `idle_seconds`."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.peering.standalone = True
    settings.watching.chunk_size = PAGE
    settings.queueing.idle_timeout = 1  # so long is a worker, and the last object, kept
    settings.watching.server_timeout = 290
    settings.watching.inactivity_timeout = idle_seconds
    settings.queueing.exit_timeout = 20
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    # Soon it ends, and is begun anew by us: what it retries by itself it tells nobody.
    settings.networking.error_backoffs = (0.5, 1.0, 2.0)
    settings.process.ultimate_exiting_timeout = 60
    settings.persistence.finalizer = "kopf.taskpass.dev/unused"
    settings.persistence.diffbase_storage = NoDiff()
    settings.persistence.progress_storage = NoProgress()
    return settings


def registry(where: Connection, apply: Apply) -> kopf.OperatorRegistry:
    """Return the handlers: one for each kind, each of one line."""
    made = kopf.OperatorRegistry()

    @kopf.on.login(registry=made)
    async def login(**_: Any) -> kopf.AiohttpSession:
        headers = {"User-Agent": "taskpass"}
        if authorization := where.authorization():
            headers["Authorization"] = authorization
        connector = aiohttp.TCPConnector(limit=8, ssl=where.tls or False)
        return kopf.AiohttpSession(
            server=where.server,
            expiration=datetime.now(UTC) + LOGIN_FOR,  # noqa: TID251 (kopf compares it so)
            aiohttp_session=aiohttp.ClientSession(
                connector=connector, headers=headers, response_class=CutResponse
            ),
        )

    for plural, kind in KINDS.items():
        # A coroutine: kopf hands plain functions to threads, which costs more than the work.
        async def see(type: Any, body: Any, _kind: str = kind, **_: Any) -> None:
            apply(_kind, type, dict(body))

        kopf.on.event(GROUP, VERSION, plural, registry=made, id=plural)(see)
    return made


class Watcher:
    """kopf in its thread. What ends it is told, and it is begun anew: nothing here is for ever.

    What goes while it does not watch it never reports, so whoever starts it lists our kinds anew
    each time that it has `begun`.
    """

    def __init__(
        self, where: Connection, apply: Apply, idle_seconds: float, pauses: Sequence[float] = PAUSES
    ) -> None:
        """`apply` is called on kopf's thread; `pauses` are seconds before it is begun anew."""
        self._idle_seconds = idle_seconds
        self._pauses = tuple(pauses)
        self._registry = registry(where, apply)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self.begun = 0
        """How often it was begun."""
        self.unhealthy_reason = ""
        """Why it does not watch now; '' while it does."""

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Stop watching; wait at most so long."""
        self._stop.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        tries = 0
        while not self._stop.is_set():
            self.begun += 1
            began, said = time.monotonic(), "without a reason"
            try:
                asyncio.run(self._watch())
            except BaseException as error:  # on a thread of its own nobody else would see it
                said = type(error).__name__  # its text may be an answer's
                logger.exception("Watching of our kinds ended, will begin anew")
            if self._stop.is_set():
                return
            self.unhealthy_reason = f"Watching of our kinds ended ({said}); it is begun anew"
            tries = 0 if time.monotonic() - began > LASTED_SECONDS else tries
            self._stop.wait(self._pauses[min(tries, len(self._pauses) - 1)])
            tries += 1

    async def _watch(self) -> None:
        # Events of this loop: kopf waits for one of threads in a thread, which the end of the loop
        # would then wait for, and nobody would learn that it no longer watches.
        ready, stop = asyncio.Event(), asyncio.Event()
        watching = asyncio.ensure_future(
            kopf.operator(
                registry=self._registry,
                settings=operator_settings(self._idle_seconds),
                identity=IDENTITY,
                standalone=True,
                clusterwide=True,
                ready_flag=ready,
                stop_flag=stop,
            )
        )
        started = asyncio.ensure_future(ready.wait())
        stopping = asyncio.ensure_future(self._pass_on(stop))
        try:
            await asyncio.wait({watching, started}, return_when=asyncio.FIRST_COMPLETED)
            if started.done():
                self.unhealthy_reason = ""
            await watching
        finally:
            started.cancel()
            stopping.cancel()

    async def _pass_on(self, stop: asyncio.Event) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(LOOK_SECONDS)
        stop.set()
