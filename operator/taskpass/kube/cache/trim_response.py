"""What kopf reads of the API server, cut before kopf sees it.

kopf keeps the last object of each worker for seconds, the events that wait for one, and a page of
its list; all of that whole would be some hundred megabytes of one tenant's annotations.
"""

import functools
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import aiohttp
import orjson
from aiohttp.connector import Connection

from taskpass.kube.cache.trim import cut_event, cut_list

LONGEST_LINE = 16 * 1024 * 1024


class CutResponse(aiohttp.ClientResponse):
    """An answer whose lists, and whose watches' lines, are cut."""

    heard: ClassVar[Callable[[str], None]] = staticmethod(lambda plural: None)
    """Told the kind of each list or watch that is answered, and of each part of a watch."""

    async def start(self, connection: Connection) -> "CutResponse":
        """Begin; the lines of a watch are cut as they come."""
        await super().start(connection)
        if self.status == 200:
            tell = functools.partial(type(self).heard, self.url.name)
            tell()
            if self.url.query.get("watch") == "true":
                self.content = _Lines(self.content, tell)  # type: ignore[assignment]
        return self

    async def json(self, **_: Any) -> Any:
        """Return the answer; a list with its items cut."""
        raw = await self.read()
        self._body = b""  # aiohttp would keep it as long as the answer
        return cut_list(orjson.loads(raw)) if raw else None


def telling(heard: Callable[[str], None]) -> type[CutResponse]:
    """Return a class of answers that tell of themselves."""
    return type("TellingResponse", (CutResponse,), {"heard": staticmethod(heard)})


class _Lines:
    """A stream of whole lines, each cut; all else is the stream's own."""

    def __init__(self, content: aiohttp.StreamReader, tell: Callable[[], None]) -> None:
        self._content = content
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        """Yield what has come, as lines."""
        rest = bytearray()
        async for chunk in self._content.iter_any():
            self._tell()
            rest += chunk
            end = rest.rfind(b"\n") + 1
            if end:
                lines = bytes(rest[:end]).split(b"\n")
                del rest[:end]
                for line in lines:
                    if line:
                        yield orjson.dumps(cut_event(orjson.loads(line))) + b"\n"
            if len(rest) > LONGEST_LINE:
                raise aiohttp.ClientPayloadError("a watch sent a line that is too long")
