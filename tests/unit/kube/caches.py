"""What tests of the caches share: who was enqueued, and what the API server answers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from taskpass.kube.cache.cluster_view import InformerCache
from taskpass.kube.kinds import WATCHED
from tests.unit.kube.objects import (
    a_namespace,
    a_pod,
    an_account,
)
from tests.unit.kube.scripted_server import Answer, Script, events, page

PODS = "/api/v1/namespaces/support/pods"
ACCOUNTS = "/api/v1/namespaces/support/serviceaccounts"
NAMESPACES = "/api/v1/namespaces"
TICKET = ("support", "ticket")
OTHER = ("support", "other")
SALES = ("sales", "ticket")


class Enqueued:
    """Which tasks were said to need a look."""

    def __init__(self) -> None:
        self.keys: list[tuple[str, str]] = []

    def __call__(self, keys: Iterable[tuple[str, str]]) -> None:
        self.keys.extend(keys)

    def take(self) -> list[tuple[str, str]]:
        taken, self.keys = sorted(self.keys), []
        return taken


def answers(script: Script, **of_kind: Answer) -> None:
    for kind in WATCHED:
        script.on(f"GET {kind.path()}", of_kind.get(kind.name, page(50)))


def reflected(script: Script) -> None:
    script.on(f"GET {NAMESPACES}", page(5, a_namespace("support", 1, team="a")))
    script.on(f"GET {PODS}", page(5, a_pod("p1", 2, "ticket")))
    script.on(f"GET {ACCOUNTS}", page(5, an_account("triage", 3)))
    for path in (NAMESPACES, PODS, ACCOUNTS):
        script.on(f"WATCH {path}", events())


@asynccontextmanager
async def running(caches: InformerCache) -> AsyncIterator[None]:
    task = asyncio.create_task(caches.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not what():
            await asyncio.sleep(0.005)


def listed(filled: InformerCache) -> None:
    """Have everything listed, so that nothing else is amiss."""
    filled._seeded = True
    for each in filled._reflectors():
        each.synced.set()
