"""Sessions on standbys, which the primary cannot see, on a real primary with a real standby."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from e2e.postgresql.server import PostgresServer, following
from e2e.postgresql.stage import SERVER
from taskpass.core.errors import ProviderUnavailable
from taskpass.core.model.grant import Issued
from taskpass.providers.postgresql import standbys
from taskpass.providers.postgresql.provider import PostgresProvider
from taskpass.providers.postgresql.settings import Server
from tests.contract.postgresql.stage import CLASS, INSTALLATION, Bench
from tests.contract.provider_suite import SystemClock

CUT = (psycopg.errors.AdminShutdown, psycopg.OperationalError)
COUNT = "SELECT count(*) FROM tickets.ticket"


@dataclass
class Pair:
    """A primary and its standby, and the provider that knows of both."""

    bench: Bench
    standby: PostgresServer

    def login(self, issued: Issued) -> psycopg.Connection:
        """Connect to the standby as the task does, once that has heard of the role."""
        return self.bench.login(issued, port=self.standby.port)

    def pause(self) -> None:
        """Have the standby hear of nothing for now."""
        with self.standby.admin() as admin:
            admin.execute("SELECT pg_wal_replay_pause()")

    def resume(self) -> None:
        with self.standby.admin() as admin:
            admin.execute("SELECT pg_wal_replay_resume()")

    async def heard(self) -> None:
        """Wait until the standby has what the primary has now."""
        [(written,)] = self.bench.ask("SELECT pg_current_wal_insert_lsn()::text")
        with self.standby.admin() as admin:
            query = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            self.bench.ask("SELECT pg_switch_wal()")
            await self.bench.until(lambda: admin.execute(query, (written,)).fetchone() == (True,))


@pytest.fixture(scope="module")
def standby(server: PostgresServer) -> Iterator[PostgresServer]:
    with following(server) as made:
        yield made


@pytest.fixture
async def pair(
    server: PostgresServer, standby: PostgresServer, listed: Server
) -> AsyncIterator[Pair]:
    with_it = listed.model_copy(update={"standbys": (f"localhost:{standby.port}",)})
    made = PostgresProvider({SERVER: with_it}, clock=SystemClock(), installation=INSTALLATION)
    yield Pair(Bench(server, made), standby)
    await made.close()


async def test_a_session_on_a_standby_is_ended_and_so_is_the_cursor_that_it_reads(
    pair: Pair,
) -> None:
    grant, issued = await pair.bench.issued()
    await pair.heard()
    with contextlib.closing(pair.login(issued)) as task:
        task.execute("BEGIN")
        task.execute("DECLARE all_of_it CURSOR FOR SELECT * FROM tickets.ticket")
        task.execute("FETCH 1 FROM all_of_it")

        await pair.bench.provider.revoke(grant)

        with pytest.raises(CUT):
            task.execute("FETCH 1 FROM all_of_it")
    assert pair.bench.left(grant) == {}
    await pair.heard()
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        pair.login(issued)


async def test_a_standby_that_lags_owes_the_revocation_until_it_has_heard_of_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standbys, "BEHIND_SECONDS", 0.3)
    grant, issued = await pair.bench.issued()
    await pair.heard()
    with contextlib.closing(pair.login(issued)) as task:
        pair.pause()
        with pytest.raises(ProviderUnavailable, match="has not heard of the revocation yet"):
            await pair.bench.provider.revoke(grant)
        assert task.execute(COUNT).fetchone() == (5000,)  # as nothing of it has arrived there
        with pytest.raises(psycopg.OperationalError):
            pair.bench.login(issued)
        pair.resume()

        await pair.bench.provider.revoke(grant)

        with pytest.raises(CUT):
            task.execute("SELECT 1")
    assert pair.bench.left(grant) == {}


async def test_a_standby_that_is_away_owes_the_revocation_and_the_class_says_so(
    pair: Pair,
) -> None:
    grant, issued = await pair.bench.issued()
    await pair.heard()
    assert await pair.bench.provider.obstacles(CLASS) == []
    with contextlib.closing(pair.bench.login(issued)) as task:
        pair.standby.stop()
        try:
            [said] = await pair.bench.provider.obstacles(CLASS)
            with pytest.raises(ProviderUnavailable, match=r"standby localhost:\d+' is not running"):
                await pair.bench.provider.revoke(grant)
            with pytest.raises(CUT):
                task.execute("SELECT 1")  # on the primary it is over all the same
        finally:
            pair.standby.start()

    assert f"'{SERVER}, standby localhost:{pair.standby.port}' is not running" in said
    await pair.bench.provider.revoke(grant)
    assert pair.bench.left(grant) == {}


async def test_a_session_on_a_standby_that_outlives_its_role_is_owed_until_somebody_ends_it(
    pair: Pair, provider: PostgresProvider
) -> None:
    """Somebody listed the standby too late: the role was dropped while it was not known of."""
    grant, issued = await pair.bench.issued()
    await pair.heard()
    with contextlib.closing(pair.login(issued)):
        await provider.revoke(grant)

        with pytest.raises(ProviderUnavailable, match="only a superuser can end it"):
            await pair.bench.provider.revoke(grant)
        with pair.standby.admin() as admin:
            oid = grant.provider_state["oid"]
            query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usesysid=%s"
            assert admin.execute(query, (oid,)).fetchall() == [(True,)]

    await pair.bench.provider.revoke(grant)


async def test_a_server_that_is_no_standby_of_the_primary_is_told_apart(
    server: PostgresServer, listed: Server, bench: Bench
) -> None:
    grant, _ = await bench.issued()
    itself = listed.model_copy(update={"standbys": (f"localhost:{server.port}",)})
    made = PostgresProvider({SERVER: itself}, clock=SystemClock(), installation=INSTALLATION)

    [said] = await made.obstacles(CLASS)
    with pytest.raises(ProviderUnavailable, match="is no standby: take it off the list"):
        await made.revoke(grant)

    assert "is no standby" in said
    await made.close()
    await bench.provider.revoke(grant)


@pytest.mark.parametrize("address", ["db2", "db2:", "db2:0", "db2:x", ":5432", "a b:5432", "::1:1"])
def test_what_is_no_address_of_a_standby_is_refused(
    listed: Server, address: str, tmp_path: Path
) -> None:
    shown = listed.model_dump(by_alias=True, exclude_none=True)

    with pytest.raises(ValueError, match="standbys"):
        Server.model_validate({**shown, "standbys": [address]})
    there = Server.model_validate({**shown, "standbys": ["[fd00::1]:5433"]}).standby(
        "[fd00::1]:5433"
    )
    assert (there.host, there.port) == ("fd00::1", 5433)
