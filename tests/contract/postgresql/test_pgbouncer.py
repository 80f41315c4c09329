"""Tasks that reach the server through PgBouncer, on a real one, in both of its common modes."""

import asyncio
import contextlib
from collections.abc import Iterator

import psycopg
import pytest

from e2e.postgresql.pgbouncer import LOOKUP, PgBouncer, pooling
from e2e.postgresql.server import PostgresServer
from e2e.postgresql.stage import DATABASE, SERVER
from taskpass.core.errors import ProviderUnavailable
from taskpass.core.model.grant import Issued
from taskpass.providers.postgresql.provider import PostgresProvider
from taskpass.providers.postgresql.settings import Server
from tests.contract.postgresql.stage import INSTALLATION, Bench
from tests.contract.provider_suite import SystemClock

pytestmark = pytest.mark.usefixtures("brisk")
COUNT = "SELECT count(*) FROM tickets.ticket"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usesysid = %s"


@pytest.fixture(scope="module")
def known_to_the_pooler(server: PostgresServer) -> None:
    with server.admin(DATABASE) as admin:
        for statement in LOOKUP:
            admin.execute(statement.encode())


@pytest.fixture(params=["session", "transaction"])
def pooler(
    server: PostgresServer, known_to_the_pooler: None, request: pytest.FixtureRequest
) -> Iterator[PgBouncer]:
    with pooling(server, request.param) as made:
        yield made


def login(bench: Bench, issued: Issued, pooler: PgBouncer, **more: object) -> psycopg.Connection:
    return bench.login(issued, port=pooler.port, prepare_threshold=None, **more)


async def test_a_session_that_the_pooler_keeps_is_ended_and_its_clients_read_nothing_more(
    bench: Bench, pooler: PgBouncer
) -> None:
    grant, issued = await bench.issued()
    oid = grant.provider_state["oid"]
    login(bench, issued, pooler).close()
    with contextlib.ExitStack() as stack:
        idle, within = (
            stack.enter_context(contextlib.closing(login(bench, issued, pooler))) for _ in range(2)
        )
        for each in (idle, within):
            assert each.execute(COUNT).fetchone() == (5000,)
        within.execute("BEGIN")
        within.execute(COUNT)
        assert bench.ask(SESSIONS, oid)[0][0] >= 1

        await bench.provider.revoke(grant)

        for each in (within, idle):
            with pytest.raises(psycopg.OperationalError):
                await asyncio.to_thread(each.execute, COUNT)
    assert bench.left(grant) == {}
    with pytest.raises(psycopg.OperationalError, match=r"no such user|failed"):
        login(bench, issued, pooler)


async def test_a_session_stays_in_the_pool_when_its_client_is_gone_and_ends_with_the_role(
    bench: Bench, pooler: PgBouncer
) -> None:
    grant, issued = await bench.issued()
    oid = grant.provider_state["oid"]
    with contextlib.closing(login(bench, issued, pooler)) as client:
        client.execute(COUNT)
    assert bench.ask(SESSIONS, oid) == [(1,)]

    await bench.provider.revoke(grant)

    assert bench.ask(SESSIONS, oid) == [(0,)]
    assert bench.left(grant) == {}


async def test_no_login_hides_behind_the_pooler_and_the_operator_goes_past_it(
    bench: Bench, pooler: PgBouncer, listed: Server
) -> None:
    grant, issued = await bench.issued()
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter: options"):
        login(bench, issued, pooler, options="-c post_auth_delay=2")
    through = PostgresProvider(
        {SERVER: listed.model_copy(update={"port": pooler.port})},
        clock=SystemClock(), installation=INSTALLATION,
    )  # fmt: skip

    with pytest.raises(ProviderUnavailable, match="is PgBouncer's address, or another pooler's"):
        await through.inventory()

    await through.close()
    await bench.provider.revoke(grant)
