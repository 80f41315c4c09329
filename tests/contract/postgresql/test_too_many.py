"""A task that makes more than the server can drop at once."""

import pytest

from e2e.postgresql.stage import CARELESS, WRITERS
from taskpass.core.errors import ProviderUnavailable
from tests.contract.postgresql.stage import Bench, a_class

MANY = """
DO $$ BEGIN
  FOR i IN 1..12000 LOOP
    EXECUTE 'CREATE TABLE many_' || i || ' ()';
    COMMIT;
  END LOOP;
END $$
"""
PART = """
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT oid::regclass FROM pg_class WHERE relname LIKE 'many%' LOOP
    EXECUTE 'DROP TABLE ' || name;
    COMMIT;
  END LOOP;
END $$
"""


@pytest.mark.slow
async def test_more_tables_than_there_are_locks_are_owed_and_open_nothing(bench: Bench) -> None:
    allowed = a_class(
        database=CARELESS,
        roles=[{"action": "tickets.read", "name": WRITERS}],
        privilegeEscalation="Allowed",
    )
    grant, issued = await bench.issued(allowed)
    with bench.login(issued) as task:
        task.execute(MANY)

    with pytest.raises(ProviderUnavailable, match="raise max_locks_per_transaction"):
        await bench.provider.revoke(grant)

    assert bench.left(grant).keys() == {"role", "owned"}
    assert bench.ask(
        "SELECT rolcanlogin FROM pg_roles WHERE oid = %s", grant.provider_state["oid"]
    ) == [(False,)]
    bench.do(PART, database=CARELESS)
    await bench.provider.revoke(grant)
    assert bench.left(grant) == {}
