"""Calls wait for their turn; what ends access does not wait behind anything else."""

import asyncio
from collections.abc import Iterable

import pytest

from taskpass.kube.api.priority import TENANT, PriorityLimiter

STATUS, SECRET, BINDING = (
    ("patch", "agenttasks/status"), ("delete", "secrets"), ("delete", "rolebindings"),
)  # fmt: skip
ISSUE, EVENT = ("create", "serviceaccounts"), ("create", "events")


class Calls:
    """Calls that end when they are told to."""

    def __init__(self, limit: int) -> None:
        self._turns = PriorityLimiter(limit)
        self.began: list[str] = []
        self._end: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.cancels: dict[str, str] = {}

    async def ask(self, name: str, what: tuple[str, str]) -> None:
        """Have a call wait for its turn, or take it."""
        self._end[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._call(name, what))
        await asyncio.sleep(0)

    async def end(self, *names: str) -> None:
        """Let calls be answered, one after the other."""
        for name in names:
            self._end[name].set()
            await asyncio.wait({self.tasks[name]})
            await asyncio.sleep(0)

    async def _call(self, name: str, what: tuple[str, str]) -> None:
        async with self._turns.turn(*what):
            self.began.append(name)
            await self._end[name].wait()
        if name in self.cancels:  # in the same moment, before anybody else runs
            self.tasks[self.cancels[name]].cancel()


async def waiting(calls: Calls, *asked: tuple[str, tuple[str, str]]) -> None:
    await calls.ask("going", STATUS)
    for name, what in asked:
        await calls.ask(name, what)
    assert calls.began == ["going"]


async def test_no_more_are_made_at_once_than_the_limit() -> None:
    calls = Calls(2)
    for name in ("a", "b", "c"):
        await calls.ask(name, STATUS)

    before = list(calls.began)
    await calls.end("a")

    assert before == ["a", "b"]
    assert calls.began == ["a", "b", "c"]


async def test_what_ends_access_goes_first_and_what_reports_last() -> None:
    calls = Calls(1)
    asked = [("status", STATUS), ("event", EVENT), ("issue", ISSUE), ("secret", SECRET)]
    await waiting(calls, *asked, ("binding", BINDING))

    await calls.end("going", "binding", "secret", "issue", "status", "event")

    assert calls.began == ["going", "binding", "secret", "issue", "status", "event"]


@pytest.mark.parametrize("given_up", [["binding"], ["binding", "secret"]], ids=str)
async def test_who_gives_up_waiting_takes_no_turn(given_up: Iterable[str]) -> None:
    calls = Calls(1)
    await waiting(calls, ("binding", BINDING), ("secret", SECRET), ("status", STATUS))

    for name in given_up:
        calls.tasks[name].cancel()
    left = [n for n in ("binding", "secret", "status") if n not in given_up]
    await calls.end("going", *left)

    assert calls.began == ["going", *left]


async def test_a_turn_that_comes_as_its_call_is_cancelled_is_passed_on() -> None:
    calls = Calls(1)
    await waiting(calls, ("binding", BINDING), ("status", STATUS))

    calls.cancels["going"] = "binding"
    await calls.end("going", "status")

    assert calls.began == ["going", "status"]
    await calls.ask("after", STATUS)
    assert calls.began[-1] == "after"


async def test_within_a_line_tenants_take_turns() -> None:
    calls = Calls(1)
    await calls.ask("going", BINDING)
    TENANT.set("flood")
    for number in range(5):
        await calls.ask(f"flood-{number}", BINDING)
    TENANT.set("support")
    await calls.ask("support", BINDING)

    await calls.end("going", "flood-0")

    assert calls.began == ["going", "flood-0", "support"]
    await calls.end("support", *(f"flood-{number}" for number in range(1, 5)))


async def test_one_tenant_has_a_quarter_of_the_calls_in_flight_however_many_it_makes() -> None:
    calls = Calls(8)
    TENANT.set("flood")
    for number in range(5):
        await calls.ask(f"flood-{number}", BINDING)
    TENANT.set("support")
    await calls.ask("support", STATUS)

    assert calls.began == ["flood-0", "flood-1", "support"]

    await calls.end("support")
    assert calls.began == ["flood-0", "flood-1", "support"]
    await calls.end("flood-1", "flood-0", "flood-2", "flood-3", "flood-4")
    assert calls.began[3:] == ["flood-2", "flood-3", "flood-4"]


async def test_what_is_nobodys_may_have_all_calls_in_flight() -> None:
    calls = Calls(8)

    for number in range(8):
        await calls.ask(f"{number}", STATUS)

    assert len(calls.began) == 8
    await calls.end(*calls.began)
