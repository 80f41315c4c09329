"""A server that will never come back, and is declared gone by configuration."""

import pytest

from e2e.postgresql.stage import SERVER
from taskpass.core.errors import DeclaredGone, ProviderRefused, ProviderUnavailable
from taskpass.providers.postgresql.provider import PostgresProvider
from taskpass.providers.postgresql.settings import Server
from taskpass.runtime.settings import load
from tests.contract.postgresql.stage import CLASS, INSTALLATION, REQUEST, Bench
from tests.contract.provider_suite import SystemClock, new_grant_id

WHY = "INC-4711: disk lost"


@pytest.fixture
def retired() -> PostgresProvider:
    return PostgresProvider(
        {}, retired={SERVER: WHY}, clock=SystemClock(), installation=INSTALLATION
    )


async def test_what_is_owed_on_a_retired_server_is_declared_and_not_proven(
    bench: Bench, retired: PostgresProvider
) -> None:
    grant, _ = await bench.issued()

    with pytest.raises(DeclaredGone, match=f"'{SERVER}' was declared gone by .*: {WHY}"):
        await retired.revoke(grant)

    assert bench.left(grant)
    assert await retired.inventory() == {}
    assert not retired.is_gone(grant, None)  # a sweep takes nothing of it for lost
    await bench.provider.revoke(grant)


async def test_a_record_that_somebody_edited_to_name_a_retired_server_is_owed_on(
    bench: Bench, retired: PostgresProvider, listed: Server
) -> None:
    """Else an edit of one row would make a live role nobody's."""
    grant = bench.intent()
    object.__setattr__(grant, "provider_state", {**grant.provider_state, "server": "old"})
    made = PostgresProvider(
        {SERVER: listed}, retired={"old": WHY}, clock=SystemClock(), installation=INSTALLATION
    )

    with pytest.raises(ProviderUnavailable, match="is not its own"):
        await made.revoke(grant)
    await made.close()


async def test_nothing_is_issued_on_a_retired_server_and_the_class_says_why(
    retired: PostgresProvider,
) -> None:
    assert await retired.obstacles(CLASS) == [
        f"PostgreSQL server '{SERVER}' was declared gone by configuration: {WHY}"
    ]
    with pytest.raises(ProviderRefused, match=WHY):
        retired.prepare(REQUEST, CLASS, new_grant_id())


def test_a_server_is_not_listed_and_retired_at_once(listed: Server) -> None:
    shown = listed.model_dump_json(by_alias=True, exclude_none=True)
    given = {
        "TASKPASS_NAMESPACE": "a", "TASKPASS_POSTGRESQL_SERVERS": f'{{"{SERVER}": {shown}}}',
        "TASKPASS_POSTGRESQL_RETIRED": f'{{"{SERVER}": "{WHY}"}}',
    }  # fmt: skip

    with pytest.raises(Exception, match=f"server '{SERVER}' is listed as well"):
        load({}, given)
    del given["TASKPASS_POSTGRESQL_SERVERS"]
    assert load({}, given).postgresql_retired == {SERVER: WHY}
