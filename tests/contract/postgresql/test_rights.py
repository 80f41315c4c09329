"""What people are shown of a class, and when they are asked again."""

import pytest

from e2e.postgresql.stage import CARELESS, DATABASE, GROUP, WRITERS
from tests.contract.postgresql.stage import CLASS, Bench, a_class


@pytest.mark.parametrize(
    ("widens", "narrows"),
    [
        ("GRANT INSERT ON tickets.ticket TO {}", "REVOKE INSERT ON tickets.ticket FROM {}"),
        ("GRANT SELECT ON tickets.ticket TO PUBLIC", "REVOKE SELECT ON tickets.ticket FROM PUBLIC"),
        ("GRANT UPDATE (text) ON tickets.ticket TO {}",
         "REVOKE UPDATE (text) ON tickets.ticket FROM {}"),
        ("GRANT CREATE ON SCHEMA tickets TO {}", "REVOKE CREATE ON SCHEMA tickets FROM {}"),
        ("GRANT TEMPORARY ON DATABASE support TO {}",
         "REVOKE TEMPORARY ON DATABASE support FROM {}"),
        ("GRANT CONNECT ON DATABASE postgres TO {}",
         "REVOKE CONNECT ON DATABASE postgres FROM {}"),
        ("GRANT pg_monitor TO {}", "REVOKE pg_monitor FROM {}"),
        ("CREATE FUNCTION tickets.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
         "DROP FUNCTION tickets.f"),
        ("ALTER DEFAULT PRIVILEGES IN SCHEMA tickets GRANT SELECT ON TABLES TO {}",
         "ALTER DEFAULT PRIVILEGES IN SCHEMA tickets REVOKE SELECT ON TABLES FROM {}"),
        ("ALTER TABLE tickets.ticket ENABLE ROW LEVEL SECURITY",
         "ALTER TABLE tickets.ticket DISABLE ROW LEVEL SECURITY"),
        ("CREATE POLICY p ON tickets.ticket TO {} USING (true)", "DROP POLICY p ON tickets.ticket"),
    ],
    ids=lambda text: text.partition(" {}")[0] if text.split()[0] not in ("REVOKE", "DROP") else "",
)  # fmt: skip
async def test_what_a_group_may_do_more_is_another_digest(
    bench: Bench, widens: str, narrows: str
) -> None:
    before = await bench.provider.permissions_digest(CLASS)
    bench.do(widens.format(GROUP), database=DATABASE)
    try:
        wider = await bench.provider.permissions_digest(CLASS)
    finally:
        bench.do(narrows.format(GROUP), database=DATABASE)

    assert wider != before
    assert await bench.provider.permissions_digest(CLASS) == before


async def test_people_read_which_roles_where_and_what_those_may_do(bench: Bench) -> None:
    said = await bench.provider.describe(CLASS, ("tickets.read",))

    assert said == (
        "tickets_ro on database support of server support (read tables of schema tickets)"
    )


async def test_what_is_issued_says_the_same_of_itself(bench: Bench) -> None:
    grant, issued = await bench.issued()

    assert issued.gives == await bench.provider.describe(CLASS, ("tickets.read",))
    await bench.provider.revoke(grant)


async def test_people_read_what_else_there_is_to_it(bench: Bench) -> None:
    careless = a_class(
        database=CARELESS, roles=[{"action": "tickets.read", "name": WRITERS}], tls="Require"
    )

    assert await bench.provider.describe(careless, ("tickets.read",)) == (
        "careless_rw on database careless of server support (create objects of schema public), "
        "with TLS Require"
    )


def test_a_class_says_what_ends_its_credentials(bench: Bench) -> None:
    capabilities = bench.provider.capabilities(CLASS)

    assert capabilities.minimum_seconds == 60
    assert (capabilities.revocation, capabilities.revocation_seconds) == ("Immediate", 0)
    assert capabilities.listable
    assert capabilities.ends_sessions
