"""The uninstall hook and the operator talk by a ConfigMap in the operator's own namespace.

The hook's Job makes `taskpass-release`; the operator, which holds the ledger, gives up everything,
and writes into it what it did and what is still pending. The Job prints that. A Job that runs
out of time takes its request back, and a request says how long it is good for, as a Job may be
killed: an operator that comes back later must not give up everything for an uninstall that failed.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from taskpass.core.errors import NotFound, TransientError
from taskpass.core.model.grant import Grant
from taskpass.core.model.key import Key
from taskpass.ports.cluster import ApiClient

NAME = "taskpass-release"
POLL_SECONDS = 3.0
ASK_SECONDS = 1.0
WITHIN_SECONDS = 300
"""How long a request is good for that does not say: what the chart gives the Job by default."""
PATIENCE_SECONDS = 60.0
"""How long pending revocations are waited for before they are reported."""
AFTERWARDS_SECONDS = 60.0
"""How long after an answer an uninstall may take to end us, before we take it for given up."""
logger = logging.getLogger(__name__)


class UninstallSteps(Protocol):
    """What the operator does when it is asked to give up everything."""

    def begin(self) -> None:
        """Issue nothing any more; have every task looked at."""

    def end(self) -> None:
        """Serve again."""

    def left(self) -> tuple[Sequence[Key], Sequence[str], Sequence[Grant]]:
        """Return the tasks and the classes that still have our finalizer, and what is held."""


class ReleaseRequests:
    """The operator's side."""

    def __init__(
        self, client: ApiClient, namespace: str, steps: UninstallSteps, now: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._now = now
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{NAME}"
        self._steps = steps
        self._told = False
        self._answered_at: float | None = None

    async def once(self) -> None:
        """Look for a request: carry it out and answer it.

        One after which nobody uninstalled is over a minute later: everything is served again.
        """
        try:
            asked = await self._client.get(self._path)
        except NotFound:
            asked = {}
        data = asked.get("data") or {}
        if asked and data.get("state") != "done" and self._in_time(asked):
            self._answered_at = time.monotonic()
            try:
                await self._answer()
            finally:
                self._answered_at = time.monotonic()
        elif self._answered_at is not None and (
            time.monotonic() - self._answered_at >= AFTERWARDS_SECONDS
        ):
            logger.warning("Nobody has uninstalled taskpass after all, will serve again")
            self._answered_at = None
            self._steps.end()

    def _in_time(self, asked: Mapping[str, Any]) -> bool:
        """Tell whether whoever asked may still be waiting."""
        within = str((asked.get("data") or {}).get("withinSeconds", WITHIN_SECONDS))
        seconds = int(within) if within.isdecimal() else WITHIN_SECONDS
        made = datetime.fromisoformat(asked["metadata"]["creationTimestamp"])
        if self._now() - made <= timedelta(seconds=seconds):
            return True
        if not self._told:
            logger.warning("Ignored a request for release that is too old", extra={"made": made})
        self._told = True
        return False

    async def _answer(self) -> None:
        logger.warning("Giving up everything, as taskpass is being uninstalled")
        tasks = len(list(self._steps.left()[0]))
        self._steps.begin()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            waiting, classes, held = self._steps.left()
            if not (waiting or classes or held) or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.2)
        data = report(tasks, waiting, classes, held)
        await self._client.merge_patch(self._path, {"data": data})
        logger.warning("Gave up everything", extra=data)


def report(
    tasks: int, waiting: Iterable[Key], classes: Iterable[str], held: Iterable[Grant]
) -> dict[str, str]:
    """Return the answer: strings, as a ConfigMap holds them."""
    owed = [
        f"{g.task} '{g.name}' ({g.provider}, {g.id}): ends by itself at {_end(g)}" for g in held
    ]
    stuck = ["/".join(key) for key in waiting]
    stuck += [f"CredentialClass {name}" for name in classes]
    return {
        "state": "done",
        "tasks": str(tasks),
        "owed": "\n".join(sorted(owed)[:100]),
        "stuck": "\n".join(sorted(stuck)[:100]),
    }


def _end(grant: Grant) -> str:
    return grant.expires_at.strftime("%Y-%m-%d %H:%M:%S UTC") if grant.expires_at else "?"


async def request_release(
    client: ApiClient, namespace: str, within_seconds: int = WITHIN_SECONDS
) -> Mapping[str, Any]:
    """Ask, as the Job does; wait for the answer, take the request away, return the answer.

    Raises:
        TransientError: There was none in time; the request is taken away, and nothing of it will
            be carried out that has not begun.

    """
    folder = f"/api/v1/namespaces/{namespace}/configmaps"
    try:
        async with asyncio.timeout(within_seconds):
            await _ask(client, folder, within_seconds)
            data = await _answer_to(client, f"{folder}/{NAME}")
    except TimeoutError as error:
        await _take_away(client, f"{folder}/{NAME}")
        raise TransientError(
            f"The operator did not answer within {within_seconds} s; see to it that it runs, and "
            "try again"
        ) from error
    await _take_away(client, f"{folder}/{NAME}")
    return data


async def _ask(client: ApiClient, folder: str, within_seconds: int) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME},
        "data": {"withinSeconds": str(within_seconds)},
    }
    while True:
        try:
            await _take_away(client, f"{folder}/{NAME}")  # an older one, or one of a lost answer
            await client.create(folder, body)
        except TransientError:
            await asyncio.sleep(ASK_SECONDS)
        else:
            return


async def _answer_to(client: ApiClient, path: str) -> Mapping[str, Any]:
    while True:
        try:
            data: Mapping[str, Any] = (await client.get(path)).get("data", {})
        except TransientError:
            data = {}
        if data.get("state") == "done":
            return data
        await asyncio.sleep(ASK_SECONDS)


async def _take_away(client: ApiClient, path: str) -> None:
    with contextlib.suppress(NotFound):
        await client.delete(path)
