"""A cache of one list that never misses a deletion.

1. LIST by pages, then WATCH from the list's resourceVersion.
2. Every list is compared with what is known: what is gone since is reported as gone. kopf does not
   do that, and a pod that goes unseen would keep its credentials.
3. 410 (`Gone`) means list again; any other failure means wait, and go on from the last version.
4. A watch that is silent for too long counts as broken (`KubeClient`). One that was opened anew is
   well at once: nothing was missed, and nothing need happen soon.
5. What cannot be read, or has no room, is read again when the watch ends, which the server does
   within ten minutes.
6. Nothing ends it but cancellation. What went wrong last is in `last_error`, for readiness.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from taskpass.core.errors import Forbidden, Gone, TaskpassError
from taskpass.core.model.key import Key
from taskpass.kube.api.client import KubeClient
from taskpass.kube.cache.memory_limit import NoRoom

T = TypeVar("T")
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
LASTED = 1.0
"""Seconds after which a watch that told nothing counts as one that worked."""
logger = logging.getLogger(__name__)


class Reflector(Generic[T]):
    """The objects of one path and label selector, as values, kept up to date by `run`."""

    def __init__(
        self,
        client: KubeClient,
        path: str,
        convert: Callable[[Mapping[str, Any]], T],
        on_change: Callable[[Key, T | None, T | None], None],
        *,
        label_selector: str = "",
        first_pause: float = FIRST_PAUSE,
        on_state: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_change` gets key, old and new value; it must not block, and must not raise.

        `on_state` is called when a refusal (403) begins, goes on, or ends, and when an object
        cannot be read, or can again. One that cannot be read stays as it was last: that it cannot
        be read says neither that it is gone nor what became of it.
        """
        self.path = path
        self.items: dict[Key, T] = {}
        self.synced = asyncio.Event()
        """Set after the first whole list. An absence that is seen before proves nothing."""
        self.last_error: str | None = None
        """What the last try ended with, in one line; None while all is well."""
        self.refused = False
        """Whether that was a refusal (403): we have no rights there, and see nothing."""
        self.refused_seconds = 0.0
        """How long every answer in a row was one. Another error begins the row anew; only success
        takes back how long it was."""
        self.unreadable: dict[Key, str] = {}
        """What is there and was not taken in, and why; it is read again at the next list."""
        self._refused_since: float | None = None
        self._on_state = on_state
        self._client = client
        self._convert = convert
        self._on_change = on_change
        self._label_selector = label_selector
        self._first_pause = first_pause
        self._versions: dict[Key, tuple[str, str]] = {}
        self._from = ""
        self._opened_at = float("inf")

    @property
    def healthy(self) -> bool:
        """Whether it has synced, and the last try did not fail."""
        return self.synced.is_set() and self.last_error is None

    async def run(self) -> None:
        """List and watch until cancelled."""
        pause = self._first_pause
        while True:
            seen, self._opened_at = self._from, float("inf")
            try:
                if not self._from or self.unreadable:
                    await self._list()
                await self._watch()
                pause = self._first_pause
                continue
            except Gone:
                # Not an error while it is the watch that was too old; a list that is Gone waits.
                self._from = ""
                if seen:
                    continue
                self.last_error = f"The list of {self.path} expired before it was read"
                self._refuse(yes=False)
            except TaskpassError as error:
                self.last_error = str(error)
                self._refuse(yes=isinstance(error, Forbidden))
            except Exception as error:  # a fault of ours must be seen, and must not end the cache
                self.last_error = f"{type(error).__name__} while reading {self.path}"
                self._refuse(yes=False)
                self._from = ""
                logger.exception("Reflector failed", extra={"path": self.path})
            if self._from != seen or time.monotonic() - self._opened_at > LASTED:
                pause = self._first_pause  # it got somewhere in between
            logger.warning(
                "Reflector waits", extra={"path": self.path, "why": self.last_error, "s": pause}
            )
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _list(self) -> None:
        # Read whole before anything is said: half a list must not look like deletions.
        listed: dict[Key, tuple[str, str]] = {}
        changed: list[tuple[Key, T | None]] = []
        version = ""
        async with aclosing(self._client.pages(self.path, self._label_selector)) as pages:
            async for items, version in pages:  # noqa: B007
                for item in items:
                    key = key_of(item)
                    listed[key] = version_of(item)
                    if self._versions.get(key) != listed[key] or key in self.unreadable:
                        changed.append((key, self._converted(item)))
        for key, value in changed:
            self._put(key, value, listed[key][0])
        for key in self._versions.keys() - listed.keys():
            self._gone(key)
        self._versions = listed
        self._from = version
        self._well()
        self.synced.set()

    async def _watch(self) -> None:
        query = {"resourceVersion": self._from}
        if self._label_selector:
            query["labelSelector"] = self._label_selector
        async with aclosing(self._client.watch(self.path, query, self._open)) as events:
            async for event in events:
                self._well()
                self._apply(event["type"], event["object"])
        self._well()

    def _open(self) -> None:
        self._opened_at = time.monotonic()
        self._well()

    def has(self, key: Key) -> bool:
        """Tell whether there is such an object, whether or not it can be read."""
        return key in self._versions

    def _well(self) -> None:
        self.last_error = None
        was, self.refused_seconds = self.refused or self.refused_seconds, 0.0
        self.refused, self._refused_since = False, None
        if was:
            self._on_state()

    def _refuse(self, *, yes: bool) -> None:
        now, self.refused = time.monotonic(), yes
        if not yes:
            self._refused_since = None
            return
        self._refused_since = now if self._refused_since is None else self._refused_since
        self.refused_seconds = max(self.refused_seconds, now - self._refused_since)
        self._on_state()

    def _apply(self, kind: str, item: Mapping[str, Any]) -> None:
        self._from = item["metadata"]["resourceVersion"]
        if kind == "BOOKMARK":
            return
        key = key_of(item)
        if kind == "DELETED":
            self._versions.pop(key, None)
            self._gone(key)
        else:
            self._put(key, self._converted(item), version_of(item)[0])
            self._versions[key] = version_of(item)

    def _converted(self, item: Mapping[str, Any]) -> T | None:
        item["metadata"].pop("managedFields", None)
        key = key_of(item)
        try:
            value = self._convert(item)
        except NoRoom as error:
            why = str(error)
            if not self.unreadable:  # once, as there may be any number
                logger.warning("No room for an object", extra={"object": "/".join(key)})
        except (KeyError, TypeError, ValueError, AttributeError):
            why = "the operator's log says why"
            logger.exception("Object could not be read", extra={"object": "/".join(key)})
        else:
            self._readable(key)
            return value
        self.unreadable[key] = why
        self._on_state()
        return None

    def _put(self, key: Key, value: T | None, uid: str) -> None:
        """Take in a state; one that cannot be read only tells that an earlier life is over."""
        before = self._versions.get(key)
        if value is not None or (before is not None and before[0] != uid):
            self._set(key, value)

    def _gone(self, key: Key) -> None:
        self._readable(key)
        self._set(key, None)

    def _readable(self, key: Key) -> None:
        if key in self.unreadable:
            del self.unreadable[key]
            self._on_state()

    def _set(self, key: Key, value: T | None) -> None:
        old = self.items.get(key)
        if value is None:
            self.items.pop(key, None)
        else:
            self.items[key] = value
        if old != value:
            self._on_change(key, old, value)


def key_of(item: Mapping[str, Any]) -> Key:
    """Return (namespace, name); the namespace of a cluster's object is ''."""
    metadata = item["metadata"]
    return (metadata.get("namespace", ""), metadata["name"])


def version_of(item: Mapping[str, Any]) -> tuple[str, str]:
    """Return UID and resourceVersion: what tells two states of a name apart."""
    return (item["metadata"]["uid"], item["metadata"]["resourceVersion"])
