"""The line breaks at each message that is sent, before the server has it and after."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from e2e.postgresql.stage import SERVER
from taskpass.core.errors import ProviderUnavailable
from taskpass.core.model.grant import Grant
from taskpass.providers.postgresql.provider import PostgresProvider
from taskpass.providers.postgresql.settings import Server
from tests.contract.postgresql.cutting import Line, line
from tests.contract.postgresql.stage import INSTALLATION, Bench
from tests.contract.provider_suite import SystemClock

DONE = pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
pytestmark = pytest.mark.usefixtures("brisk")


@contextlib.asynccontextmanager
async def by(listed: Server, way: Line) -> AsyncIterator[PostgresProvider]:
    """Yield a provider that reaches the server by a line."""
    there = listed.model_copy(update={"port": way.port})
    provider = PostgresProvider({SERVER: there}, clock=SystemClock(), installation=INSTALLATION)
    try:
        yield provider
    finally:
        await provider.close()


@DONE
async def test_an_issue_whose_line_breaks_is_unknown_and_its_intent_suffices_to_undo_it(
    bench: Bench, listed: Server, done: bool
) -> None:
    came_through: list[int] = []
    for at in range(1, 15):
        grant = bench.intent()
        async with line(listed.port, at=at, done=done) as way, by(listed, way) as provider:
            with contextlib.suppress(ProviderUnavailable):
                await provider.issue(grant, "")
                came_through.append(at)

        await bench.provider.revoke(grant)

        assert of_name(bench, grant) == []
    assert came_through == list(range(came_through[0], 15))  # none but those that have no message
    assert came_through[0] > 9


@DONE
@pytest.mark.parametrize("at", range(1, 22))
async def test_a_revocation_whose_line_breaks_is_owed_and_the_next_one_ends_it(
    bench: Bench, listed: Server, at: int, done: bool
) -> None:
    grant, issued = await bench.issued()
    with bench.login(issued):
        async with line(listed.port, at=at, done=done) as way, by(listed, way) as provider:
            with pytest.raises(ProviderUnavailable):
                await provider.revoke(grant)

        assert way.broke
        await bench.provider.revoke(grant)

    assert bench.left(grant) == {}


async def test_an_issue_that_the_server_carries_out_late_is_ended_by_its_revocation(
    bench: Bench, listed: Server
) -> None:
    """The call has given up; the server has what it sent, and has not begun with it."""
    grant = bench.intent()
    name = grant.provider_state["role"]
    with bench.server.admin() as admin:
        admin.execute("BEGIN")
        admin.execute("LOCK TABLE pg_authid IN SHARE ROW EXCLUSIVE MODE")
        issuing = bench.begin(bench.provider.issue(grant, ""))
        waits = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE ROLE%%' AND state = %s"
        await bench.until(lambda: bench.ask(waits, "active"))

        await bench.provider.revoke(grant)

        assert bench.ask(waits, "active") == []
        admin.execute("COMMIT")
    with pytest.raises(ProviderUnavailable):
        await issuing
    assert bench.ask("SELECT 1 FROM pg_roles WHERE rolname = %s", name) == []


def of_name(bench: Bench, grant: Grant) -> list[object]:
    role = grant.provider_state["role"]
    return [*bench.ask("SELECT oid FROM pg_roles WHERE rolname = %s", role)]
