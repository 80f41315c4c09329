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

from taskpass.kube.api.connection import Connection
from taskpass.kube.api.event_loop import new_event_loop
from taskpass.kube.cache.kopf_alone import kopf
from taskpass.kube.cache.kopf_settings import operator_settings
from taskpass.kube.cache.trim_response import telling
from taskpass.kube.kinds import GROUP, VERSION, WATCHED

LOGIN_FOR = timedelta(minutes=10)
"""A projected token is replaced within the hour; a login reads it anew."""
IDENTITY: Any = "taskpass"
"""kopf would make one of the user's name, which an image's user id has not. Its type is private."""
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before it is begun anew, the more often it has ended; the last one stays."""
LOOK_SECONDS = 0.1
LEEWAY_SECONDS = 20.0
"""Beyond what a watch may be silent: kopf's own time-outs and retries."""
AGAIN_SECONDS = 1.0
ROUNDS = 20
ROUND_SECONDS = 0.5
END_SECONDS = 10.0
"""For the last one, when the process ends."""
GRACE_SECONDS = 5.0
"""For one that is given up to end by itself."""
LASTED_SECONDS = 10.0
"""After which one that ended counts as one that had worked."""
Apply = Callable[[str, str | None, Mapping[str, Any]], None]
logger = logging.getLogger(__name__)


def registry(
    where: Connection, apply: Apply, on_answer: Callable[[str], None]
) -> kopf.OperatorRegistry:
    """Return the handlers: one for each kind, each of one line.

    `on_answer` gets the plural of what the API server answers about, also where nothing happened.
    """
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
                connector=connector, headers=headers, response_class=telling(on_answer)
            ),
        )

    for kind in WATCHED:
        # A coroutine: kopf hands plain functions to threads, which costs more than the work.
        async def see(type: Any, body: Any, _kind: str = kind.name, **_: Any) -> None:
            apply(_kind, type, dict(body))

        kopf.on.event(GROUP, VERSION, kind.plural, registry=made, id=kind.plural)(see)
    return made


class Watcher:
    """kopf in its thread. What ends it is told, and it is begun anew: nothing here is for ever.

    So is one of which nothing is heard. Its end may take long or hang (it waits for requests that
    it failed to cancel): then its thread is left behind, and what it still says is not listened to.

    What goes while it does not watch it never reports, so whoever starts it lists our kinds anew
    each time that it has `begun`.
    """

    def __init__(
        self, where: Connection, apply: Apply, idle_seconds: float,
        pauses: Sequence[float] = PAUSES, leeway: float = LEEWAY_SECONDS,
    ) -> None:  # fmt: skip
        """`apply` is called on kopf's thread; `pauses` are seconds before it is begun anew."""
        self._where = where
        self._apply = apply
        self._idle_seconds = idle_seconds
        self._pauses = tuple(pauses)
        self._silence = idle_seconds + leeway
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._leaving: list[_Life] = []
        """Those that have failed and are not over yet."""
        self.begun = 0
        """How often it was begun."""
        self.unhealthy_reason: str | None = None
        """Why it does not watch now; None while it does."""

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
            began = time.monotonic()
            said = self._watch(_Life(self._where, self._apply, self._idle_seconds))
            if said is None or self._stop.is_set():
                break
            self.unhealthy_reason = f"Watching of our kinds ended ({said}); it is begun anew"
            tries = 0 if time.monotonic() - began > LASTED_SECONDS else tries
            self._stop.wait(self._pauses[min(tries, len(self._pauses) - 1)])
            tries += 1
        patience = time.monotonic() + END_SECONDS
        for life in self._leaving:
            life.wait_end(max(0.0, patience - time.monotonic()))

    def _watch(self, life: "_Life") -> str | None:
        """Watch for as long as that goes well; return why it does not, None where it is to stop."""
        life.start()
        while not life.wait_end(LOOK_SECONDS):
            if self._stop.is_set():
                life.end()
                # A loop that still runs while the interpreter ends takes the process with it.
                life.wait_end(END_SECONDS)
                return None
            if life.failed.is_set():
                life.end()
                self._leaving = [each for each in self._leaving if not each.wait_end(0)] + [life]
                return "a watch failed"
            if life.ready.is_set():
                self.unhealthy_reason = None
            silent = life.silence()
            if silent > self._silence:
                logger.error("Nothing is heard of our kinds, will begin anew", extra={"s": silent})
                life.end()
                if not life.wait_end(GRACE_SECONDS):
                    logger.error("kopf does not end, and is left behind")
                return f"nothing was heard for {silent:.0f} s"
        return life.ended_with


class _Life:
    """kopf from one beginning to its end, in a thread of its own."""

    def __init__(self, where: Connection, apply: Apply, idle_seconds: float) -> None:
        self.ready = threading.Event()
        self.failed = threading.Event()
        """It ends by itself. kopf takes seconds for that, in which it watches nothing."""
        self.ended_with = "without a reason"
        self._apply: Apply | None = apply
        self._settings = operator_settings(idle_seconds)
        self._registry = registry(where, self._take, self._hear)
        self._heard = {kind.plural: time.monotonic() for kind in WATCHED}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def silence(self) -> float:
        """Return for how many seconds nothing was heard of the kind that is silent for longest."""
        return time.monotonic() - min(self._heard.values())

    def end(self) -> None:
        """Have it end; nothing that it says is taken in from now on."""
        self._apply = None
        self._stop.set()

    def wait_end(self, seconds: float) -> bool:
        """Tell whether it has ended within some seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _hear(self, plural: str) -> None:
        if plural in self._heard:
            self._heard[plural] = time.monotonic()

    def _take(self, kind: str, type_: str | None, body: Mapping[str, Any]) -> None:
        if (apply := self._apply) is not None:
            apply(kind, type_, body)

    def _run(self) -> None:
        loop = new_event_loop()
        try:
            loop.run_until_complete(self._watch())
        except BaseException as error:  # on a thread of its own nobody else would see it
            self.ended_with = type(error).__name__  # its text may be an answer's
            logger.exception("Watching of our kinds ended, will begin anew")
        finally:
            _close(loop)

    async def _watch(self) -> None:
        # Events of this loop: kopf waits for one of threads in a thread, which the end of the loop
        # would then wait for, and nobody would learn that it no longer watches.
        ready, stop = asyncio.Event(), asyncio.Event()
        watching = asyncio.ensure_future(
            kopf.operator(
                registry=self._registry,
                settings=self._settings,
                identity=IDENTITY,
                standalone=True,
                clusterwide=True,
                ready_flag=ready,
                stop_flag=stop,
            )
        )
        started = asyncio.ensure_future(ready.wait())
        tending = asyncio.ensure_future(self._tend(stop))
        try:
            await asyncio.wait({watching, started}, return_when=asyncio.FIRST_COMPLETED)
            if started.done():
                self.ready.set()
            await watching
        finally:
            started.cancel()
            tending.cancel()

    async def _tend(self, stop: asyncio.Event) -> None:
        """Pass on that it is to end, and cancel once more what goes on though it was cancelled.

        Where kopf ends its watches, one that is between two requests may swallow that (its pause
        waiter is cancelled at the same moment), and kopf would wait for it for ever.
        """
        since: dict[asyncio.Task[Any], float] = {}
        while True:
            if self._stop.is_set():
                stop.set()
            now = time.monotonic()
            ending = [task for task in asyncio.all_tasks() if task.cancelling()]
            since = {task: since.get(task, now) for task in ending}
            for task, at in since.items():
                if now - at > AGAIN_SECONDS:
                    self.failed.set()
                    task.cancel()
            await asyncio.sleep(LOOK_SECONDS)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left in a loop, and close it.

    `asyncio.run` cancels once and waits for ever. kopf's watches swallow a cancellation that meets
    the one of the task that they wait beside, and watch on.
    """
    for _ in range(ROUNDS):
        if not (left := asyncio.all_tasks(loop)):
            break
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.wait(left, timeout=ROUND_SECONDS))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
