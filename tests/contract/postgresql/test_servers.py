"""Servers that halt, die, go, come back, or are not who they should be; and our own account."""

import asyncio
import contextlib
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from signal import SIGKILL
from typing import Any

import psycopg
import pytest

from e2e.cluster.pki import Authority
from e2e.postgresql.server import PostgresServer, following
from e2e.postgresql.stage import OPERATOR, PASSWORD, SERVER, settings
from taskpass.core.errors import ProviderRefused, ProviderUnavailable, TransientError
from taskpass.providers.postgresql import session
from taskpass.providers.postgresql.provider import PostgresProvider
from taskpass.providers.postgresql.servers import Purpose, Servers
from taskpass.providers.postgresql.settings import Server
from tests.contract.postgresql.stage import CLASS, INSTALLATION, Bench, written
from tests.contract.provider_suite import SystemClock

pytestmark = pytest.mark.usefixtures("brisk")


@contextmanager
def halted(server: PostgresServer) -> Iterator[None]:
    """Have the server answer nothing, and every wait for it end sooner than in earnest."""
    with pytest.MonkeyPatch.context() as sooner:
        sooner.setattr(session, "CONNECT_SECONDS", 1)
        sooner.setattr(session, "ANSWER_SECONDS", 1.0)
        sooner.setattr(session, "CLOSING_SECONDS", 0.2)
        server.freeze()
        try:
            yield
        finally:
            server.thaw()


@contextmanager
def away(server: PostgresServer) -> Iterator[None]:
    server.stop(SIGKILL)
    try:
        yield
    finally:
        server.start()


async def test_a_server_that_halts_ends_every_call_in_time_and_proves_nothing(
    bench: Bench,
) -> None:
    grant, _ = await bench.issued()  # a connection is kept: half open from here on
    with halted(bench.server):
        began = time.monotonic()
        calls = [
            bench.begin(bench.provider.issue(bench.intent(), "")),
            bench.begin(bench.provider.revoke(grant)),
            bench.begin(bench.provider.inventory()),
            bench.begin(bench.provider.permissions_digest(CLASS)),
        ]
        for each in calls:
            with pytest.raises(ProviderUnavailable):
                await each
        assert time.monotonic() - began < 10

    await bench.provider.revoke(grant)
    assert bench.left(grant) == {}


async def test_who_gives_up_on_a_server_that_halts_is_free_at_once(
    bench: Bench, listed: Server
) -> None:
    grant, _ = await bench.issued()
    async with Servers({SERVER: listed}, time.monotonic).session(SERVER, Purpose.READ) as line:
        with halted(bench.server):
            asking = bench.begin(line.ask("SELECT 1"))
            await bench.begin(asyncio.sleep(0))
            began = time.monotonic()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert time.monotonic() - began < 3
            assert not line.is_quiet  # nobody else gets what is still under way on it

    await bench.provider.revoke(grant)


async def test_a_server_that_dies_proves_nothing_until_it_is_back(bench: Bench) -> None:
    grant, issued = await bench.issued()
    with away(bench.server):
        with pytest.raises(ProviderUnavailable, match="is not running"):
            await bench.provider.revoke(grant)
        with pytest.raises(ProviderUnavailable, match="is not running"):
            await bench.provider.issue(bench.intent(), "")
        with pytest.raises(ProviderUnavailable):
            await bench.provider.inventory()

    assert await bench.subject.works(issued)
    await bench.provider.revoke(grant)
    assert bench.left(grant) == {}


async def test_a_call_after_a_restart_uses_no_connection_from_before(bench: Bench) -> None:
    first, _ = await bench.issued()
    with away(bench.server):
        pass

    second, _ = await bench.issued()

    for grant in (first, second):
        await bench.provider.revoke(grant)


async def test_a_server_that_is_not_listed_any_more_keeps_its_debt(bench: Bench) -> None:
    grant, _ = await bench.issued()
    none = PostgresProvider({}, clock=SystemClock(), installation=INSTALLATION)

    with pytest.raises(ProviderUnavailable, match="list it in the value"):
        await none.revoke(grant)

    assert bench.left(grant)
    await bench.provider.revoke(grant)


async def test_another_cluster_of_databases_under_the_name_proves_nothing(bench: Bench) -> None:
    grant, _ = await bench.issued()
    await bench.provider.revoke(grant)
    elsewhere = replace(grant, provider_state={**grant.provider_state, "system": "7"})

    await bench.provider.revoke(grant)
    with pytest.raises(ProviderUnavailable, match="is another than the one that issued it"):
        await bench.provider.revoke(elsewhere)


async def test_a_standby_proves_nothing_and_issues_nothing(bench: Bench, listed: Server) -> None:
    grant, _ = await bench.issued()
    with following(bench.server) as standby:
        there = listed.model_copy(update={"port": standby.port})
        provider = PostgresProvider({SERVER: there}, clock=SystemClock(), installation=INSTALLATION)

        for call in (provider.revoke(grant), provider.issue(bench.intent(), "")):
            with pytest.raises(ProviderUnavailable, match="is a standby: list the address"):
                await call

        await provider.close()
    await bench.provider.revoke(grant)


async def test_a_session_on_a_standby_outlives_its_role(bench: Bench) -> None:
    grant, issued = await bench.issued()
    with (
        following(bench.server) as standby,
        contextlib.closing(bench.login(issued, port=standby.port)) as task,
    ):
        await bench.provider.revoke(grant)

        assert bench.left(grant) == {}
        assert task.execute("SELECT 1").fetchone() == (1,)


async def test_a_password_file_that_is_written_anew_is_read_anew(
    bench: Bench, listed: Server
) -> None:
    path = listed.password_file
    assert path is not None
    grant, _ = await bench.issued()
    await bench.provider.inventory()  # a connection is kept that was made with the old one

    with written(path, "wrong"):
        with pytest.raises(ProviderUnavailable, match="does not accept the password") as caught:
            await bench.provider.inventory()
        bench.do(f"ALTER ROLE {OPERATOR} PASSWORD 'rotated'")
        with written(path, "rotated\n"):
            await bench.provider.revoke(grant)
    bench.do(f"ALTER ROLE {OPERATOR} PASSWORD '{PASSWORD}'")

    assert "wrong" not in str(caught.value)
    assert bench.left(grant) == {}


async def test_a_client_certificate_is_as_good_as_a_password(
    server: PostgresServer, tmp_path: Path
) -> None:
    with server.admin() as admin:
        admin.execute("CREATE ROLE taskpass_cert LOGIN CREATEROLE IN ROLE pg_monitor")
        admin.execute("GRANT CONNECT ON DATABASE postgres, support TO taskpass_cert")
        if server.version >= 160_000:
            admin.execute("GRANT tickets_ro TO taskpass_cert WITH ADMIN TRUE, SET FALSE")
    listed = settings(
        server, tmp_path, user="taskpass_cert", passwordFile=None,
        certificateFile=server.directory / "client.crt", keyFile=server.directory / "client.key",
    )  # fmt: skip
    provider = PostgresProvider({SERVER: listed}, clock=SystemClock(), installation="c-cert")

    grant, _ = await Bench(server, provider).issued()
    await provider.revoke(grant)
    await provider.close()

    assert Bench(server, provider).left(grant) == {}
    with server.admin() as admin:
        admin.execute("DROP OWNED BY taskpass_cert CASCADE")
        admin.execute("DROP ROLE taskpass_cert")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"host": "127.0.0.1"}, "has a certificate of another name"),
        ({"ca_file": "other"}, "has a certificate that the CA file does not vouch for"),
        ({"ca_file": "none"}, r"The file not-there for .* cannot be read: see the Secret"),
        ({"port": 1}, "is not running"),
        ({"user": "nobody_there"}, "does not accept the password"),
        ({"database": "nowhere"}, "has no such database"),
        ({"host": "nowhere.invalid"}, "has a name that cannot be resolved"),
        ({"password_file": "none"}, r"The file not-there for .* cannot be read: see the Secret"),
    ],
    ids=str,
)
async def test_a_connection_that_fails_is_no_proof_and_says_why(
    bench: Bench, listed: Server, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    grant, _ = await bench.issued()
    Authority(tmp_path)
    files = {"other": tmp_path / "ca.crt", "none": tmp_path / "not-there"}
    there = {key: files.get(value, value) for key, value in changes.items()}
    wrong = PostgresProvider(
        {SERVER: listed.model_copy(update=there)}, clock=SystemClock(), installation=INSTALLATION
    )

    with pytest.raises(ProviderUnavailable, match=said):
        await wrong.revoke(grant)
    with pytest.raises(ProviderUnavailable, match=said):
        await wrong.inventory()

    await bench.provider.revoke(grant)


async def test_without_the_rights_to_it_an_issue_is_refused_and_a_revocation_is_owed(
    bench: Bench,
) -> None:
    grant, _ = await bench.issued()
    bench.do(f"ALTER ROLE {OPERATOR} NOCREATEROLE")
    try:
        with pytest.raises(ProviderRefused, match=r"refuses it to the operator's role .*42501"):
            await bench.provider.issue(bench.intent(), "")
        with pytest.raises(ProviderUnavailable):
            await bench.provider.revoke(grant)
    finally:
        bench.do(f"ALTER ROLE {OPERATOR} CREATEROLE")

    await bench.provider.revoke(grant)
    assert bench.left(grant) == {}


async def test_a_group_that_is_not_there_is_refused(bench: Bench) -> None:
    bench.do("ALTER ROLE tickets_ro RENAME TO tickets_gone")
    try:
        with pytest.raises(ProviderRefused, match="'tickets_ro' does not exist"):
            await bench.provider.issue(bench.intent(), "")
    finally:
        bench.do("ALTER ROLE tickets_gone RENAME TO tickets_ro")


async def test_a_group_that_may_not_connect_is_refused(bench: Bench) -> None:
    bench.do("REVOKE CONNECT ON DATABASE support FROM tickets_ro")
    try:
        with pytest.raises(ProviderRefused, match="GRANT CONNECT"):
            await bench.provider.issue(bench.intent(), "")
    finally:
        bench.do("GRANT CONNECT ON DATABASE support TO tickets_ro")


async def test_the_time_is_the_servers_whatever_the_operators_clock_says(
    bench: Bench, listed: Server
) -> None:
    class Wrong(SystemClock):
        def now(self) -> datetime:
            return super().now() + timedelta(days=3)

    provider = PostgresProvider({SERVER: listed}, clock=Wrong(), installation=INSTALLATION)
    grant, issued = await Bench(bench.server, provider).issued()
    await provider.close()

    [(stated, now)] = bench.ask(
        "SELECT rolvaliduntil, clock_timestamp() FROM pg_roles WHERE oid = %s",
        grant.provider_state["oid"],
    )
    assert issued.expires_at == stated.astimezone(UTC)
    assert timedelta(seconds=880) < issued.expires_at - now <= timedelta(seconds=900)
    await bench.provider.revoke(grant)


async def test_a_credential_runs_out_at_the_server_and_is_taken_back_all_the_same(
    bench: Bench,
) -> None:
    grant = replace(bench.intent(), lifetime_seconds=1)
    issued = await bench.provider.issue(grant, "")

    await bench.until(lambda: bench.ask("SELECT 1 WHERE now() > %s", issued.expires_at))

    assert not await bench.subject.works(issued)
    assert grant.id in await bench.provider.inventory()
    await bench.provider.revoke(grant)
    assert grant.id not in await bench.provider.inventory()


async def test_no_more_sessions_than_the_class_says(bench: Bench) -> None:
    grant, issued = await bench.issued()
    tasks = [bench.login(issued) for _ in range(4)]

    with pytest.raises(psycopg.OperationalError, match="too many connections"):
        bench.login(issued)

    await bench.provider.revoke(grant)
    for task in tasks:
        task.close()


async def test_issue_and_revocation_of_one_grant_side_by_side_leave_nothing_that_is_not_owed(
    bench: Bench,
) -> None:
    for _ in range(5):
        grant = bench.intent()
        issuing = bench.begin(bench.provider.issue(grant, ""))
        revoking = bench.begin(bench.provider.revoke(grant))
        for each in (issuing, revoking):
            try:
                await each
            except TransientError:
                pass

        await bench.provider.revoke(grant)

        assert grant.id not in await bench.provider.inventory()


async def test_revocations_side_by_side_all_come_true(bench: Bench) -> None:
    grants = [(await bench.issued())[0] for _ in range(20)]

    for each in [bench.begin(bench.provider.revoke(grant)) for grant in grants]:
        await each

    assert [bench.left(grant) for grant in grants] == [{}] * 20


async def test_another_installations_roles_are_neither_listed_nor_ended(
    bench: Bench, listed: Server
) -> None:
    grant, issued = await bench.issued()
    other = PostgresProvider({SERVER: listed}, clock=SystemClock(), installation="c-other")

    assert grant.id not in await other.inventory()
    with pytest.raises(ProviderUnavailable, match="not its own"):
        await other.undo(grant.id, {"roles": [{"server": SERVER, "oid": 0}]})

    await other.close()
    assert await bench.subject.works(issued)
    await bench.provider.revoke(grant)


async def test_connections_that_a_server_refuses_leave_no_socket_open(
    bench: Bench, listed: Server
) -> None:
    """Many try while it has none left: each would keep one until memory is looked through."""
    there = listed.model_copy(update={"database": "nowhere"})
    refused = PostgresProvider({SERVER: there}, clock=SystemClock(), installation=INSTALLATION)
    await bench.provider.inventory()
    gc.disable()
    try:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            with pytest.raises(ProviderUnavailable):
                await refused.inventory()
        after = len(list(Path("/proc/self/fd").iterdir()))
    finally:
        gc.enable()

    assert after <= before
