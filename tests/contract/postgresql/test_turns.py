"""What one namespace does on a server keeps no other namespace waiting there, nor does a start."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from e2e.postgresql.stage import SERVER
from taskpass.core.errors import ProviderUnavailable
from taskpass.core.model.grant import Grant, TaskRef
from taskpass.flows.cluster.orphans import Sweeper
from taskpass.flows.context import Modes
from taskpass.providers.postgresql.provider import FIRST_LIST_SECONDS, PostgresProvider
from taskpass.providers.postgresql.settings import Server
from tests.contract.postgresql.stage import INSTALLATION, Bench
from tests.contract.provider_suite import SystemClock, issued_grant
from tests.unit.ledger.objects import NOW

pytestmark = pytest.mark.usefixtures("brisk")
MANY = 60
OTHER = TaskRef(namespace="another", name="ticket-1", uid=36 * "1")
SLACK_SECONDS = 1.5
"""A busy machine's."""


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of something that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


async def issued(bench: Bench, count: int, task: TaskRef | None = None) -> list[Grant]:
    grants = [bench.intent() for _ in range(count)]
    grants = [replace(each, task=task or each.task) for each in grants]
    made = await asyncio.gather(*(bench.provider.issue(each, "") for each in grants))
    return [issued_grant(grant, each) for grant, each in zip(grants, made, strict=True)]


async def test_a_namespace_that_ends_many_roles_keeps_anothers_from_its_end_no_longer_than_a_few(
    bench: Bench,
) -> None:
    many, [one] = await issued(bench, MANY), await issued(bench, 1, OTHER)
    ended: list[str] = []

    async def end(grant: Grant) -> None:
        await bench.provider.revoke(grant)
        ended.append(grant.task.namespace)

    await asyncio.gather(*(end(each) for each in many), end(one))

    assert ended.index(OTHER.namespace) < MANY / 2
    assert len(ended) == MANY + 1


async def test_a_namespace_that_has_many_roles_made_keeps_anothers_from_being_made_no_longer(
    bench: Bench,
) -> None:
    made: list[Grant] = []

    async def make(grant: Grant) -> None:
        made.append(issued_grant(grant, await bench.provider.issue(grant, "")))

    many = [bench.intent() for _ in range(MANY)]
    await asyncio.gather(*(make(each) for each in many), make(replace(bench.intent(), task=OTHER)))

    place = [each.task.namespace for each in made].index(OTHER.namespace)
    assert place < MANY / 4
    await asyncio.gather(*(bench.provider.revoke(each) for each in made))


async def test_a_revocation_waits_for_no_issue_of_the_same_server(bench: Bench) -> None:
    [held] = await issued(bench, 1)
    made: list[Grant] = []

    async def make(grant: Grant) -> None:
        made.append(issued_grant(grant, await bench.provider.issue(grant, "")))

    making = [bench.begin(make(bench.intent())) for _ in range(MANY)]
    await asyncio.sleep(0)
    await bench.provider.revoke(held)
    before = len(made)
    await asyncio.gather(*making)

    assert before < MANY
    await asyncio.gather(*(bench.provider.revoke(each) for each in made))


async def test_the_first_inventory_waits_for_no_server_that_hangs_and_has_all_of_the_others(
    bench: Bench, listed: Server, silent: int
) -> None:
    grant, _ = await bench.issued()
    servers = {SERVER: listed, "hangs": listed.model_copy(update={"port": silent})}
    made = PostgresProvider(servers, clock=SystemClock(), installation=INSTALLATION)

    began = time.monotonic()
    found = await made.inventory()
    took = time.monotonic() - began

    assert took < FIRST_LIST_SECONDS + SLACK_SECONDS
    assert grant.id in found
    on_it = replace(grant, provider_state={**grant.provider_state, "server": "hangs"})
    assert not made.is_gone(on_it, None)
    await made.close()
    await bench.provider.revoke(grant)


async def test_an_orphan_on_a_server_that_hung_at_the_start_is_found_once_it_answers(
    bench: Bench, listed: Server
) -> None:
    orphan, _ = await bench.issued()
    made = PostgresProvider({SERVER: listed}, clock=SystemClock(), installation=INSTALLATION)
    recorded: list[Any] = []

    async def commit(batch: Any) -> tuple[int, ...]:
        recorded.append(batch)
        return (1,)

    ports: Any = SimpleNamespace(
        providers={"PostgreSQL": made}, missing_at_provider=set(), modes=Modes(),
        ledger=SimpleNamespace(held=lambda: (), commit=commit), now=lambda: NOW,
    )  # fmt: skip
    sweeper = Sweeper(ports, lambda _: None)
    bench.server.freeze()
    try:
        began = time.monotonic()
        assert await sweeper.sweep(quiet=True) == 0
        took = time.monotonic() - began
    finally:
        bench.server.thaw()

    undone = [await sweeper.sweep(quiet=False) for _ in range(2)]

    assert took < FIRST_LIST_SECONDS + SLACK_SECONDS
    assert undone[0] == 0  # what is seen once may be under way
    assert undone[1] == len(recorded) >= 1
    assert bench.left(orphan) == {}
    await made.close()


async def test_a_later_inventory_waits_for_a_server_that_is_slow(
    listed: Server, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what a slow server has of nobody would be found never."""
    monkeypatch.setattr("taskpass.providers.postgresql.provider.FIRST_LIST_SECONDS", 0.05)
    made = PostgresProvider(
        {"slow": listed.model_copy(update={"port": silent})}, clock=SystemClock(),
        installation=INSTALLATION,
    )  # fmt: skip
    with contextlib.suppress(ProviderUnavailable):
        await made.inventory()
    later = asyncio.ensure_future(made.inventory())
    done, _ = await asyncio.wait({later}, timeout=0.5)

    assert done == set()
    later.cancel()
    await asyncio.wait({later})
    await made.close()
