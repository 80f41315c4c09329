"""Review: a quiet quarter second counts from when the login was forbidden."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from taskpass.providers.postgresql.watch import QUIET_SECONDS, Watcher


class Quiet:
    server = "s"

    async def ask(self, query: str, values: Any = ()) -> list[Any]:
        return []


class Servers:
    @contextlib.asynccontextmanager
    async def session(self, *_: object) -> AsyncIterator[Quiet]:
        yield Quiet()


async def test_who_begins_to_wait_waits_the_whole_quiet_time() -> None:
    loop = asyncio.get_running_loop()
    watcher = Watcher(Servers(), loop.time)  # type: ignore[arg-type]
    first = asyncio.ensure_future(watcher.until_quiet("s", 7))  # `_bar`: it may log in yet
    await asyncio.sleep(0.2)
    first.cancel()  # NOLOGIN is set now
    await asyncio.wait({first})
    began = loop.time()
    await watcher.until_quiet("s", 7)  # `end`
    took = loop.time() - began
    await watcher.close()
    assert took >= QUIET_SECONDS
