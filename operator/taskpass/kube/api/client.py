"""The Kubernetes API over aiohttp and orjson: the flows' hot path, so it is thin.

1. Every call has a time-out; what takes longer is `ApiUnavailable`, and may have taken effect.
2. 429 and 503 that say `Retry-After` are waited for, briefly: they were not carried out.
3. Answers become errors of `core.errors` in `kube/api/errors.py`, and nowhere else.
4. Redirects are not followed: the token goes to one server.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import aiohttp
import orjson
from multidict import CIMultiDict

from taskpass.core.errors import ApiUnavailable
from taskpass.kube.api import connection
from taskpass.kube.api.connection import Connection
from taskpass.kube.api.errors import error_of, parsed, plain, resource_of
from taskpass.kube.api.priority import PriorityLimiter

CALL_SECONDS = 15.0
CONNECT_SECONDS = 5.0
IDLE_SECONDS = 90.0
"""How long a watch may be silent. The API server sends a bookmark about every minute."""
WATCH_SECONDS = 290
"""After which the API server ends a watch by itself."""
PAGE = 500
TRIES = 3
LONGEST_PAUSE = 3.0
LONGEST_LINE = 16 * 1024 * 1024
JSON = "application/json"
FIRST_PAGE = 32
PAGE_BYTES = 2 * 1024 * 1024
"""How large pages of a list are to be."""
MOST_PAGE_BYTES = 8 * 1024 * 1024
OnCall = Callable[[str, str, int, float], None]
Object = dict[str, Any]


READS = frozenset({"get", "list", "watch"})


def ignore_call(verb: str, resource: str, status: int, seconds: float) -> None:
    """Count nothing."""


def no_fence() -> None:
    """Let every write through."""


class _TooLarge(Exception):
    """A page has more bytes than it may."""


class KubeClient:
    """`ports.ApiClient`, and what only adapters of Kubernetes need: lists, pages and watches."""

    def __init__(
        self,
        where: Connection,
        *,
        limit: int = 64,
        on_call: OnCall = ignore_call,
        impersonate: Sequence[tuple[str, str]] = (),
        call_seconds: float = CALL_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        fence: Callable[[], None] = no_fence,
        on_date: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`limit` is how many calls are in flight at most; watches are not counted.

        `fence` is asked right before each write is sent, and raises where it must not be.

        `on_date` is told the `Date` of each answer.

        `on_call` is told verb, resource, status (0 without an answer) and seconds of each call.
        `impersonate` are headers `Impersonate-…`, for tests that speak as somebody.
        """
        self._where = where
        self._turns = PriorityLimiter(limit)
        self._on_call = on_call
        self._impersonate = tuple(impersonate) or where.impersonate
        self._call_seconds = call_seconds
        self._idle_seconds = idle_seconds
        self._fence = fence
        self._on_date = on_date
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    @classmethod
    def in_cluster(cls, **options: Any) -> "KubeClient":
        """Return the client of the ServiceAccount that this pod runs as."""
        return cls(connection.in_cluster(), **options)

    @classmethod
    def from_kubeconfig(cls, path: str, context: str = "", **options: Any) -> "KubeClient":
        """Return the client of a kubeconfig's user; '' means its current context."""
        return cls(connection.from_kubeconfig(path, context), **options)

    async def __aenter__(self) -> "KubeClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; the next call would open new ones."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def get(self, path: str, **query: str) -> Object:
        """Read one object or list."""
        verb = "list" if "labelSelector" in query or "limit" in query else "get"
        return await self._call(verb, "GET", path, query=query)

    async def fetch(self, path: str) -> tuple[int, str, Mapping[str, str]]:
        """GET something that is no object; return status, text and headers of any answer."""
        try:
            async with self._session("calls").get(
                self._where.server + path, headers=self._headers(None), allow_redirects=False
            ) as response:
                return response.status, await response.text(errors="replace"), response.headers
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(
                f"The API server did not answer ({type(error).__name__})"
            ) from error

    async def create(self, path: str, body: Mapping[str, Any], **query: str) -> Object:
        """POST. `Conflict` where it exists already."""
        return await self._call("create", "POST", path, body=body, query=query)

    async def replace(self, path: str, body: Mapping[str, Any]) -> Object:
        """PUT."""
        return await self._call("update", "PUT", path, body=body)

    async def merge_patch(self, path: str, body: Mapping[str, Any]) -> Object:
        """PATCH with application/merge-patch+json."""
        content = "application/merge-patch+json"
        return await self._call("patch", "PATCH", path, body=body, content=content)

    async def json_patch(self, path: str, body: Sequence[Mapping[str, Any]]) -> Object:
        """PATCH with application/json-patch+json; `Invalid` where a `test` fails."""
        content = "application/json-patch+json"
        return await self._call("patch", "PATCH", path, body=body, content=content)

    async def delete(self, path: str, *, uid: str = "", dry_run: bool = False) -> Object:
        """DELETE, with a UID precondition where one is given. `NotFound` where it is gone.

        `dry_run` deletes nothing, and answers with the object as it is.

        `Conflict` where the object of that name has another UID. The answer is the object as it
        was last, with a deletionTimestamp where it is still there, or a Status where it is gone.
        """
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        # What would be kept for its dependents is answered whole, what would go at once is not.
        options["propagationPolicy"] = "Foreground" if dry_run else "Background"
        if uid:
            options["preconditions"] = {"uid": uid}
        if dry_run:
            options["dryRun"] = ["All"]  # in the body: beside one the query counts for nothing
        return await self._call("delete", "DELETE", path, body=options)

    async def pages(
        self, path: str, label_selector: str = ""
    ) -> AsyncGenerator[tuple[list[Object], str], None]:
        """Read a list page by page: its items, and the resourceVersion to watch from.

        `Gone` where the list took so long that its snapshot is compacted: begin again.

        A page has as many items as fit into some megabytes: how many is learned from those before,
        and one that is larger all the same is not read to its end, but asked for anew in parts.
        """
        limit = FIRST_PAGE
        query: dict[str, str] = {}
        if label_selector:
            query["labelSelector"] = label_selector
        while True:
            query["limit"] = str(limit)
            try:
                most = MOST_PAGE_BYTES if limit > 1 else 0
                page, size = await self._answer("list", "GET", path, query=query, most=most)
            except _TooLarge:
                limit = max(1, limit // 8)
                continue
            fitting = limit * PAGE_BYTES // max(1, size)
            limit = max(1, min(PAGE, 4 * limit, fitting))
            items, version, following = _page(page, resource_of(path))
            yield items, version
            if not following:
                return
            query["continue"] = following

    async def list(self, path: str, label_selector: str = "") -> tuple[list[Object], str]:
        """Read a whole list, and the resourceVersion to watch from."""
        whole: list[Object] = []
        version = ""
        async for items, version in self.pages(path, label_selector):  # noqa: B007
            whole.extend(items)
        return whole, version

    async def watch(
        self, path: str, query: Mapping[str, str], on_open: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[Object, None]:
        """Yield the events of one watch until the API server ends it.

        `on_open` is called once the API server has agreed to it; events may be long in coming.

        Raises:
            Gone: The resourceVersion is too old; list again.
            ApiUnavailable: It broke off, or was silent for too long; watch again.

        """
        resource = resource_of(path)
        asked = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
            **query,
        }
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=self._idle_seconds
        )
        began = time.monotonic()
        status = 0
        try:
            async with self._session("watches").get(
                self._where.server + path,
                params=asked,
                headers=self._headers(None),
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                status = response.status
                self._on_call("watch", resource, status, time.monotonic() - began)
                if status != 200:
                    raise error_of(status, parsed(await response.read()), "watch", resource)
                on_open()
                async for line in _lines(response.content):
                    yield _event(line, resource)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if not status:
                self._on_call("watch", resource, 0, time.monotonic() - began)
            raise ApiUnavailable(
                f"The watch of {resource} broke off ({type(error).__name__})"
            ) from error

    async def _call(self, verb: str, method: str, path: str, **what: Any) -> Object:
        return (await self._answer(verb, method, path, **what))[0]

    async def _answer(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content: str = JSON,
        most: int = 0,
    ) -> tuple[Object, int]:
        """Return the answer, and how many bytes it had."""
        resource = resource_of(path)
        payload = None if body is None else orjson.dumps(body, default=plain)
        for attempt in range(1, TRIES + 1):
            status, raw, pause = await self._send(
                (verb, resource), method, path, payload, query or {}, content, most
            )
            if pause is None or attempt == TRIES:
                break
            await asyncio.sleep(pause)
        value = parsed(raw)
        if status >= 300:
            raise error_of(status, value, verb, resource)
        if not isinstance(value, dict):
            raise ApiUnavailable(f"The answer to {verb} of {resource} was not JSON")
        return value, len(raw)

    async def _send(
        self,
        what: tuple[str, str],
        method: str,
        path: str,
        payload: bytes | None,
        query: Mapping[str, str],
        content: str,
        most: int = 0,
    ) -> tuple[int, bytes, float | None]:
        """Return status and body, and how long to wait before the same call is sent again.

        A body of more than `most` bytes, where that is given, is `_TooLarge`.
        """
        async with self._turns.turn(*what):
            if what[0] not in READS:
                self._fence()
            began = time.monotonic()
            status = 0
            try:
                async with self._session("calls").request(
                    method,
                    self._where.server + path,
                    params=dict(query) or None,
                    data=payload,
                    headers=self._headers(content if payload is not None else None),
                    allow_redirects=False,
                ) as response:
                    raw = await _read(response, most)
                    status = response.status
                    self._on_date(response.headers.get("Date", ""))
                    return status, raw, _pause(status, response.headers.get("Retry-After", ""))
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                verb, resource = what
                raise ApiUnavailable(
                    f"The API server did not answer {verb} of {resource} ({type(error).__name__})"
                ) from error
            finally:
                self._on_call(*what, status, time.monotonic() - began)

    def _headers(self, content: str | None) -> CIMultiDict[str]:
        headers = CIMultiDict({"Accept": JSON})
        if content:
            headers["Content-Type"] = content
        if authorization := self._where.authorization():
            headers["Authorization"] = authorization
        headers.extend(self._impersonate)
        return headers

    def _session(self, purpose: str) -> aiohttp.ClientSession:
        if purpose not in self._sessions:
            # A watch holds its connection: in the pool of the calls it would starve them. How many
            # calls there are at once is for their turns to say.
            self._sessions[purpose] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._where.tls or False),
                timeout=aiohttp.ClientTimeout(
                    total=self._call_seconds, sock_connect=CONNECT_SECONDS
                ),
            )
        return self._sessions[purpose]


def _page(page: Object, resource: str) -> tuple[list[Object], str, str]:
    """Return items, resourceVersion and what to go on with; what is no list proves no absence."""
    kind, meta, items = page.get("kind"), page.get("metadata"), page.get("items", "")
    meta = meta if isinstance(meta, dict) else {}
    version = meta.get("resourceVersion")
    items = [] if items is None else items  # an empty one of some kinds
    whole = isinstance(items, list) and all(_is_object(each) for each in items)
    if not (isinstance(kind, str) and kind.endswith("List") and whole and version):
        raise ApiUnavailable(f"The answer to list of {resource} was no list")
    for item in items:
        item.setdefault("kind", kind.removesuffix("List"))  # items of built-in kinds do not say
    return items, str(version), str(meta.get("continue") or "")


def _is_object(item: object) -> bool:
    """Tell whether it says what it is called, and of which life and state."""
    meta = item.get("metadata") if isinstance(item, dict) else None
    if not isinstance(meta, dict):
        return False
    wanted = (meta.get(each) for each in ("name", "uid", "resourceVersion"))
    return all(isinstance(each, str) and each for each in wanted)


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    if not most:
        return await response.read()
    parts, size = [], 0
    async for chunk in response.content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > most:
            response.close()
            raise _TooLarge
    return b"".join(parts)


def _pause(status: int, retry_after: str) -> float | None:
    if status not in (429, 503) or not retry_after.isdecimal():
        return None
    seconds = float(retry_after)
    return seconds if seconds <= LONGEST_PAUSE else None


def _event(line: bytes, resource: str) -> Object:
    event = parsed(line)
    if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
        raise ApiUnavailable(f"The watch of {resource} sent something that is no event")
    if event.get("type") == "ERROR":
        status = event["object"].get("code")
        code = status if isinstance(status, int) and status >= 400 else 500
        raise error_of(code, event["object"], "watch", resource)
    known = event.get("type") in ("ADDED", "MODIFIED", "DELETED")
    if not (known and _is_object(event["object"])) and event.get("type") != "BOOKMARK":
        raise ApiUnavailable(f"The watch of {resource} sent something that is no event")
    return event


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield whole lines; `readline` of the reader gives up at 128 KiB, and objects are larger."""
    rest = bytearray()
    async for chunk in content.iter_any():
        rest += chunk
        if end := rest.rfind(b"\n", -len(chunk)) + 1:
            lines = bytes(rest[:end]).split(b"\n")
            del rest[:end]
            for line in lines:
                if line:
                    yield line
        if len(rest) > LONGEST_LINE:
            raise ApiUnavailable("A watch sent a line that is too long")
