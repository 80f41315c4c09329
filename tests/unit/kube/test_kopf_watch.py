"""kopf in its thread: what ends it is told, and it is begun anew."""

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import kopf
import pytest

from taskpass.kube.api.connection import Connection
from taskpass.kube.cache import kopf_watch as kinds
from taskpass.kube.cache.kopf_watch import Watcher

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

    assert said[0] is None
    assert said[1] == said[2]
    assert said[1] == "Watching of our kinds ended (RuntimeError); it is begun anew"
    assert watcher.begun == 3


async def test_one_that_watches_again_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_nothing_of_it_runs_any_more_once_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that runs on while the interpreter ends takes the process with it (SIGSEGV)."""
    ended = threading.Event()

    async def operator(*, ready_flag: Any, stop_flag: Any, **_: Any) -> None:
        ready_flag.set()
        await stop_flag.wait()
        await asyncio.sleep(0.3)  # as kopf does, it takes leave of its watches
        ended.set()

    monkeypatch.setattr(kopf, "operator", operator)
    where = Connection(server="http://127.0.0.1:1", tls=None, authorization=lambda: "")
    watcher = Watcher(where, lambda *_: None, 3.0)
    before = set(threading.enumerate())
    watcher.start()
    until(lambda: watcher.unhealthy_reason is None)

    watcher.stop(SECONDS)

    assert ended.is_set()
    assert set(threading.enumerate()) <= before


def test_one_that_hangs_is_given_up_and_not_listened_to_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """kopf fails to cancel a request of its own, waits for it for ever, and its end does too."""
    monkeypatch.setattr(kinds, "GRACE_SECONDS", 0.05)
    lives: list[Any] = []
    over = threading.Event()

    async def operator(*, ready_flag: Any, stop_flag: Any, registry: Any, **_: Any) -> None:
        lives.append(registry)
        ready_flag.set()
        if len(lives) == 1:
            over.wait()  # deaf to whatever the loop is told
        await stop_flag.wait()

    taken: list[str] = []
    made: list[kinds.Apply] = []
    real = kinds.registry

    def noted(where: Connection, apply: kinds.Apply, heard: Callable[[str], None]) -> Any:
        made.append(apply)
        return real(where, apply, heard)

    monkeypatch.setattr(kinds, "registry", noted)
    monkeypatch.setattr(kopf, "operator", operator)
    where = Connection(server="http://127.0.0.1:1", tls=None, authorization=lambda: "")
    watcher = Watcher(where, lambda kind, *_: taken.append(kind), 0.05, pauses=[0.2], leeway=0.1)

    watcher.start()
    until(lambda: watcher.unhealthy_reason)
    said = watcher.unhealthy_reason
    until(lambda: watcher.begun >= 2)
    made[0]("AgentTask", "ADDED", {})
    watcher.stop(SECONDS)
    over.set()

    assert said == "Watching of our kinds ended (nothing was heard for 0 s); it is begun anew"
    assert taken == []


def test_what_goes_on_though_it_was_cancelled_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As kopf's watches do: cancelled between two requests, one of them watches on."""
    monkeypatch.setattr(kinds, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(kinds, "LOOK_SECONDS", 0.01)

    async def deaf() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def operator(*, ready_flag: Any, stop_flag: Any, **_: Any) -> None:
        ready_flag.set()
        if watcher.begun > 1:
            await stop_flag.wait()
            return
        watch = asyncio.ensure_future(deaf())
        await asyncio.sleep(0)
        watch.cancel()
        await asyncio.wait([watch])
        raise RuntimeError("a watch was refused")

    monkeypatch.setattr(kopf, "operator", operator)
    where = Connection(server="http://127.0.0.1:1", tls=None, authorization=lambda: "")
    watcher = Watcher(where, lambda *_: None, 3.0, pauses=[0.001])

    watcher.start()
    until(lambda: watcher.begun == 2 and not watcher.unhealthy_reason)
    watcher.stop(SECONDS)


def test_one_that_takes_its_leave_is_said_to_have_failed_and_the_next_does_not_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One watch is refused: kopf cancels the others, and takes seconds until all have heard."""
    monkeypatch.setattr(kinds, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(kinds, "LOOK_SECONDS", 0.01)
    over, ended = threading.Event(), threading.Event()
    said: list[str | None] = []

    async def leave() -> None:
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.001)

    async def operator(*, ready_flag: Any, stop_flag: Any, **_: Any) -> None:
        if watcher.begun > 1:
            said.append(watcher.unhealthy_reason)
            ready_flag.set()
            await stop_flag.wait()
            return
        ready_flag.set()
        watch = asyncio.ensure_future(leave())
        await asyncio.sleep(0)
        watch.cancel()
        await asyncio.wait([watch])
        ended.set()

    monkeypatch.setattr(kopf, "operator", operator)
    where = Connection(server="http://127.0.0.1:1", tls=None, authorization=lambda: "")
    watcher = Watcher(where, lambda *_: None, 3.0, pauses=[0.001])
    before = set(threading.enumerate())

    watcher.start()
    until(lambda: watcher.begun == 2 and not watcher.unhealthy_reason)
    assert said == ["Watching of our kinds ended (a watch failed); it is begun anew"]
    assert not ended.is_set()

    over.set()
    watcher.stop(SECONDS)
    assert ended.is_set()
    assert set(threading.enumerate()) <= before


def test_it_never_asks_for_the_process_to_be_killed() -> None:
    assert kinds.operator_settings(3.0).process.ultimate_exiting_timeout is None


def test_no_class_for_every_kind_of_kubernetes_is_loaded_with_it() -> None:
    program = (
        "import sys, taskpass.runtime.app; print('kubernetes.client' in sys.modules)\n"
        "import kubernetes.client; print(kubernetes.client.V1Pod.__name__)"
    )

    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert said.stdout.split() == ["False", "V1Pod"]
