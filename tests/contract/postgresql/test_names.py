"""Classes and requests that reach for more than is listed, and names that try to break out."""

from typing import Any

import psycopg
import pytest
from psycopg.sql import Identifier

from e2e.postgresql.stage import CARELESS, DATABASE, GROUP, SERVER, WRITERS
from taskpass.core.errors import ProviderRefused
from taskpass.providers.postgresql.provider import PostgresProvider
from taskpass.providers.postgresql.settings import Server
from taskpass.providers.postgresql.state import resource_of
from tests.contract.postgresql.stage import INSTALLATION, Bench, a_class
from tests.contract.provider_suite import SystemClock


@pytest.mark.parametrize(
    ("careless", "mend", "said"),
    [
        ("GRANT SELECT ON tickets.ticket TO {} WITH GRANT OPTION",
         "REVOKE GRANT OPTION FOR SELECT ON tickets.ticket FROM {}", "may grant SELECT on table"),
        ("GRANT TRIGGER ON tickets.ticket TO {}",
         "REVOKE TRIGGER ON tickets.ticket FROM {}", "may put a trigger on table"),
        ("CREATE TABLE tickets.theirs (); ALTER TABLE tickets.theirs OWNER TO {}",
         "DROP TABLE tickets.theirs", "owns something in database 'support'"),
        ("GRANT bystander TO {} WITH ADMIN OPTION", "REVOKE bystander FROM {}",
         "may make others members of 'bystander'"),
        ("GRANT pg_execute_server_program TO {}", "REVOKE pg_execute_server_program FROM {}",
         "is a member of 'pg_execute_server_program'"),
        ("GRANT ALTER SYSTEM ON PARAMETER log_statement TO {}",
         "REVOKE ALTER SYSTEM ON PARAMETER log_statement FROM {}", "for good"),
        ("ALTER ROLE {} SUPERUSER", "ALTER ROLE {} NOSUPERUSER", "is SUPERUSER"),
    ],
    ids=lambda text: text.split(" {}")[0] if "{}" in text else "",
)  # fmt: skip
async def test_a_group_whose_members_could_make_something_outlive_them_is_refused(
    bench: Bench, careless: str, mend: str, said: str
) -> None:
    bench.do(careless.format(GROUP), database=DATABASE)
    try:
        with pytest.raises(ProviderRefused, match=said):
            await bench.issued()
        [obstacle] = await bench.provider.obstacles(a_class())
    finally:
        bench.do(mend.format(GROUP), database=DATABASE)

    assert said in obstacle
    assert await bench.provider.obstacles(a_class()) == []


WEIRD = "we\"ird'; DROP ROLE bystander; -- %s {} é\\"


async def test_names_that_try_to_break_out_are_names_and_nothing_else(
    bench: Bench, listed: Server
) -> None:
    database, group = Identifier(WEIRD), Identifier(f"{WEIRD}!")
    with bench.server.admin() as admin:
        admin.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(database))
        admin.execute(psycopg.sql.SQL("CREATE ROLE {}").format(group))
        if bench.server.version >= 160_000:
            admin.execute(
                psycopg.sql.SQL("GRANT {} TO taskpass_op WITH ADMIN TRUE, SET FALSE").format(group)
            )
    asked = a_class(database=WEIRD, roles=[{"action": "tickets.read", "name": f"{WEIRD}!"}])
    more = listed.model_copy(update={"databases": {WEIRD: (f"{WEIRD}!",)}})
    provider = PostgresProvider({SERVER: more}, clock=SystemClock(), installation=INSTALLATION)
    weird = Bench(bench.server, provider)

    grant, issued = await weird.issued(asked)
    uri = issued.fields["uri"].reveal().decode()
    with psycopg.connect(uri, sslrootcert=str(bench.server.directory / "ca.crt")) as task:
        assert task.execute("SELECT current_database()").fetchone() == (WEIRD,)
    await provider.revoke(grant)
    await provider.close()

    assert bench.left(grant) == {}
    assert bench.ask("SELECT 1 FROM pg_roles WHERE rolname = 'bystander'") == [(1,)]


@pytest.mark.parametrize(
    ("name", "said"),
    [("x" * 64, "at most 63 bytes"), ("é" * 35, "at most 63 bytes"), ("a\0b", "control characters"),
     ("a\nb", "control characters"), ("", "empty"), (" a", "begin or end"), ("\ud800", "Unicode")],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("where", ["database", "role"])
def test_what_the_server_would_take_for_another_name_is_refused(
    bench: Bench, name: str, said: str, where: str
) -> None:
    roles = [{"action": "tickets.read", "name": name}]
    asked = a_class(database=name) if where == "database" else a_class(roles=roles)

    assert said in (bench.provider.problem(asked) or "")
    with pytest.raises(ProviderRefused, match=said):
        bench.prepare(asked)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"database": "postgres"}, "may not be used in database 'postgres'"),
        ({"database": CARELESS}, f"'{GROUP}' may not be used in database '{CARELESS}'"),
        ({"roles": [{"action": "tickets.read", "name": WRITERS}]}, f"'{WRITERS}' may not be used"),
        ({"roles": [{"action": "tickets.read", "name": "pg_monitor"}]}, "'pg_monitor' may not"),
        ({"server": "sales"}, "server 'sales' is not listed"),
    ],
    ids=str,
)
async def test_a_class_gets_no_further_than_the_administrator_lists(
    bench: Bench, config: dict[str, Any], said: str
) -> None:
    asked = a_class(**config)

    assert said in (bench.provider.problem(asked) or "")
    assert [said in each for each in await bench.provider.obstacles(asked)] == [True]
    with pytest.raises(ProviderRefused, match=said):
        bench.prepare(asked)
    with pytest.raises(ProviderRefused, match=said):
        await bench.provider.permissions_digest(asked)


@pytest.mark.parametrize(
    "resources",
    [(), (resource_of(SERVER, "postgres"),), ("database/*/*",), (f"database/{DATABASE}",),
     (resource_of(SERVER, DATABASE), resource_of(SERVER, CARELESS))],
    ids=str,
)  # fmt: skip
def test_a_request_gets_no_other_database_than_the_classes(
    bench: Bench, resources: tuple[str, ...]
) -> None:
    with pytest.raises(ProviderRefused, match="resources must be 'database/support/support'"):
        bench.prepare(a_class(), resources=resources)
