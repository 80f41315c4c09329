"""What an administrator or a database owner may get wrong harms no live role, and is said."""

import pytest

from e2e.postgresql.stage import LATER, OPERATOR, SERVER
from taskpass.core.errors import ProviderRefused, ProviderUnavailable
from taskpass.providers.postgresql.provider import PostgresProvider
from taskpass.providers.postgresql.settings import Server
from tests.contract.postgresql.stage import CLASS, INSTALLATION, Bench, a_class
from tests.contract.provider_suite import SystemClock

pytestmark = pytest.mark.usefixtures("brisk")


async def test_a_server_that_is_listed_under_two_names_loses_no_live_role(
    bench: Bench, listed: Server
) -> None:
    both = PostgresProvider(
        {SERVER: listed, "alias": listed}, clock=SystemClock(), installation=INSTALLATION
    )
    grant, issued = await Bench(bench.server, both).issued()
    found = (await both.inventory())[grant.id]
    surplus = both.surplus(grant, found)
    if surplus:
        await both.undo(grant.id, surplus)  # as `Sweeper` does at once
    works = await bench.subject.works(issued)
    await both.revoke(grant)
    await both.close()
    assert works


async def test_a_class_that_the_operator_has_no_right_to_issue_has_an_obstacle(
    bench: Bench,
) -> None:
    bench.do(f"ALTER ROLE {OPERATOR} NOCREATEROLE")
    try:
        with pytest.raises(ProviderRefused):
            await bench.provider.issue(bench.intent(), "")
        found = await bench.provider.obstacles(CLASS)
    finally:
        bench.do(f"ALTER ROLE {OPERATOR} CREATEROLE")
    assert found


def may_give(bench: Bench, group: str) -> tuple[str, ...]:
    """Return what lets the operator make members of a group: before 16 nothing is needed."""
    options = "WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
    return (f"GRANT {group} TO {OPERATOR} {options}",) if bench.server.version >= LATER else ()


async def test_a_group_that_the_operator_may_not_give_is_an_obstacle_from_16_on(
    bench: Bench, listed: Server
) -> None:
    bench.do("CREATE ROLE theirs", "GRANT CONNECT ON DATABASE support TO theirs")
    there = listed.model_copy(update={"databases": {"support": ("theirs",)}})
    provider = PostgresProvider({SERVER: there}, clock=SystemClock(), installation=INSTALLATION)
    used = a_class(roles=[{"action": "tickets.read", "name": "theirs"}])

    found = await provider.obstacles(used)
    bench.do(*may_give(bench, "theirs"))
    after = await provider.obstacles(used)

    await provider.close()
    bench.do("REVOKE CONNECT ON DATABASE support FROM theirs", "DROP ROLE theirs")
    later = bench.server.version >= LATER
    assert [
        f"members of group role 'theirs' on PostgreSQL server '{SERVER}'" in each for each in found
    ] == [True] * later
    assert after == []


async def test_who_approves_reads_that_a_group_reads_everything(
    bench: Bench, listed: Server
) -> None:
    bench.do(
        "CREATE ROLE all_ro", "GRANT CONNECT ON DATABASE support TO all_ro",
        "GRANT pg_read_all_data TO all_ro", *may_give(bench, "all_ro"),
    )  # fmt: skip
    used = a_class(roles=[{"action": "tickets.read", "name": "all_ro"}])
    there = listed.model_copy(update={"databases": {"support": ("all_ro",)}})
    provider = PostgresProvider({SERVER: there}, clock=SystemClock(), installation=INSTALLATION)
    said = await provider.describe(used, ["tickets.read"])
    here = Bench(bench.server, provider)
    grant, issued = await here.issued(used)
    with here.login(issued) as one:
        assert one.execute("SELECT count(*) FROM tickets.ticket").fetchone() == (5000,)
    await provider.revoke(grant)
    await provider.close()
    bench.do("REVOKE CONNECT ON DATABASE support FROM all_ro", "DROP ROLE all_ro")
    assert said == "all_ro on database support of server support (member of pg_read_all_data)"


async def test_a_schemas_name_is_told_as_a_name(bench: Bench) -> None:
    name = "a). It reads nothing else; approved by security"
    bench.do(
        f'CREATE SCHEMA "{name}"', f'CREATE TABLE "{name}".t ()',
        f'GRANT SELECT ON "{name}".t TO PUBLIC', database="support",
    )  # fmt: skip
    said = await bench.provider.describe(CLASS, ["tickets.read"])
    bench.do(f'DROP SCHEMA "{name}" CASCADE', database="support")
    assert f"schema {name}" not in said


async def test_many_schemas_hide_no_right_from_who_approves(bench: Bench) -> None:
    from taskpass.core.model.text import shortened
    from taskpass.flows.task.approve import MOST_WORDS

    names = [f"a{n:02}{'x' * 58}" for n in range(14)]
    bench.do(*(f'CREATE SCHEMA "{n}"' for n in names), database="support")
    bench.do(*(f'CREATE TABLE "{n}".t ()' for n in names), database="support")
    bench.do(*(f'GRANT SELECT ON "{n}".t TO PUBLIC' for n in names), database="support")
    said = shortened(await bench.provider.describe(CLASS, ["tickets.read"]), MOST_WORDS)
    bench.do(*(f'DROP SCHEMA "{n}" CASCADE' for n in names), database="support")
    assert "schema tickets" in said


async def test_a_server_that_is_not_listed_has_nothing_that_is_gone(
    bench: Bench, listed: Server
) -> None:
    grant, issued = await bench.issued()
    other = PostgresProvider({"other": listed}, clock=SystemClock(), installation="c-another")
    found = (await other.inventory()).get(grant.id)
    gone, works = other.is_gone(grant, found), await bench.subject.works(issued)
    await other.close()
    await bench.provider.revoke(grant)
    assert not (gone and works)


async def test_a_server_that_is_away_keeps_no_orphan_of_another_from_being_found(
    bench: Bench, listed: Server
) -> None:
    grant, _ = await bench.issued()
    away = listed.model_copy(update={"port": 1})
    both = PostgresProvider(
        {SERVER: listed, "away": away}, clock=SystemClock(), installation=INSTALLATION
    )
    try:
        found = await both.inventory()
    except ProviderUnavailable:
        found = {}
    await both.close()
    await bench.provider.revoke(grant)
    assert grant.id in found


async def test_a_sweep_takes_no_live_role_of_a_server_with_two_names(
    bench: Bench, listed: Server
) -> None:
    from dataclasses import replace
    from types import SimpleNamespace

    from taskpass.core.model.grant import GrantState
    from taskpass.flows.cluster.orphans import Sweeper

    both = PostgresProvider(
        {SERVER: listed, "alias": listed}, clock=SystemClock(), installation=INSTALLATION
    )
    grant, issued = await Bench(bench.server, both).issued()
    held = replace(grant, state=GrantState.DELIVERED, provider="PostgreSQL")
    said: list[object] = []

    async def commit(batch: object) -> None:
        said.append(batch)

    ports = SimpleNamespace(
        providers={"PostgreSQL": both}, modes=SimpleNamespace(unproven=False),
        ledger=SimpleNamespace(held=lambda: [held], commit=commit), missing_at_provider=set(),
        now=bench.subject.now,
    )  # fmt: skip
    undone = await Sweeper(ports, lambda _: None).sweep(quiet=False)  # type: ignore[arg-type]
    works = await bench.subject.works(issued)
    await both.revoke(grant)
    await both.close()
    assert (undone, works) == (0, True)
