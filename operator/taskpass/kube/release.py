"""The uninstall hook and the operator talk by a ConfigMap in the operator's own namespace.

The hook's Job makes `taskpass-release`; the operator, which holds the ledger, gives up everything,
and writes into it what it did and what is still owed. The Job prints that.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from taskpass.core.credential import Grant
from taskpass.core.errors import NotFound, TransientError
from taskpass.ports import ApiClient, Key

NAME = "taskpass-release"
LOOK_SECONDS = 3.0
PATIENCE_SECONDS = 60.0
"""How long debts are waited for before they are reported."""
logger = logging.getLogger(__name__)


class Giving(Protocol):
    """What the operator does when it is asked to give up everything."""

    def begin(self) -> None:
        """Issue nothing any more; have every task looked at."""

    def left(self) -> tuple[Sequence[Key], Sequence[Grant]]:
        """Return the tasks that still have our finalizer, and what is still held."""


class ReleaseRequests:
    """The operator's side."""

    def __init__(self, client: ApiClient, namespace: str, giving: Giving) -> None:
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{NAME}"
        self._giving = giving

    async def watch(self) -> None:
        """Wait for a request, carry it out and answer it; for ever."""
        while True:
            try:
                asked = await self._client.get(self._path)
                if asked.get("data", {}).get("state") != "done":
                    await self._answer()
            except NotFound:
                pass
            except TransientError as error:
                logger.warning("Failed to look for a release", extra={"error": str(error)})
            await asyncio.sleep(LOOK_SECONDS)

    async def _answer(self) -> None:
        logger.warning("Giving up everything, as taskpass is being uninstalled")
        tasks = len(list(self._giving.left()[0]))
        self._giving.begin()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            tasks_left, grants_left = self._giving.left()
            waiting, held = list(tasks_left), list(grants_left)
            if (not waiting and not held) or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.2)
        data = report(tasks, waiting, held)
        await self._client.merge_patch(self._path, {"data": data})
        logger.warning("Gave up everything", extra=data)


def report(tasks: int, waiting: Iterable[Key], held: Iterable[Grant]) -> dict[str, str]:
    """Return the answer: strings, as a ConfigMap holds them."""
    owed = [
        f"{g.task} '{g.name}' ({g.provider}, {g.id}): ends by itself at {_end(g)}" for g in held
    ]
    stuck = ["/".join(key) for key in waiting]
    return {
        "state": "done",
        "tasks": str(tasks),
        "owed": "\n".join(sorted(owed)[:100]),
        "stuck": "\n".join(sorted(stuck)[:100]),
    }


def _end(grant: Grant) -> str:
    return grant.expires_at.strftime("%Y-%m-%d %H:%M:%S UTC") if grant.expires_at else "?"


async def request_release(client: ApiClient, namespace: str) -> Mapping[str, Any]:
    """Ask, as the Job does; wait for the answer, take the request away, return the answer."""
    folder = f"/api/v1/namespaces/{namespace}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}}
    try:
        await client.delete(f"{folder}/{NAME}")
    except NotFound:
        pass
    await client.create(folder, body)
    while True:
        try:
            data: Mapping[str, Any] = (await client.get(f"{folder}/{NAME}")).get("data", {})
        except TransientError:
            data = {}
        if data.get("state") == "done":
            await client.delete(f"{folder}/{NAME}")
            return data
        await asyncio.sleep(1.0)
