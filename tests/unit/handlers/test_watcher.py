"""kopf in its thread: what ends it is told, and it is begun anew."""

import time
from collections.abc import Callable
from typing import Any

import kopf
import pytest

from taskpass.handlers.kinds import Watcher
from taskpass.kube.connection import Connection

SECONDS = 10.0


def until(what: Callable[[], object]) -> None:
    """Return once it is so."""
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_ends_it_is_told_and_it_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    async def operator(*, ready_flag: Any, stop_flag: Any, **_: Any) -> None:
        said.append(watcher.unhealthy_reason)
        if len(said) <= 2:
            raise RuntimeError("410 for whom it may concern")
        ready_flag.set()
        await stop_flag.wait()  # of this loop: the end of one is waited for by nobody else

    monkeypatch.setattr(kopf, "operator", operator)
    where = Connection(server="http://127.0.0.1:1", tls=None, authorization=lambda: "")
    watcher = Watcher(where, lambda *_: None, 3.0, pauses=[0.001])

    watcher.start()
    until(lambda: len(said) == 3)
    watcher.stop(SECONDS)

    assert said[0] == ""
    assert said[1] == said[2]
    assert said[1] == "Watching of our kinds ended (RuntimeError); it is begun anew"
    assert watcher.begun == 3


async def test_one_that_watches_again_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    async def operator(*, ready_flag: Any, stop_flag: Any, **_: Any) -> None:
        asyncio.get_running_loop().run_in_executor(None, lambda: None)
        if watcher.begun == 1:
            raise RuntimeError("once")
        ready_flag.set()
        while not stop_flag.is_set():
            await asyncio.sleep(0.001)

    monkeypatch.setattr(kopf, "operator", operator)
    where = Connection(server="http://127.0.0.1:1", tls=None, authorization=lambda: "")
    watcher = Watcher(where, lambda *_: None, 3.0, pauses=[0.001])

    watcher.start()
    until(lambda: watcher.begun == 2 and not watcher.unhealthy_reason)
    watcher.stop(SECONDS)

    assert watcher.begun == 2
