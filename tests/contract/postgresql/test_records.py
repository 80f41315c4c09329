"""What is recorded of a grant lies in a file: an edited record ends nobody else's role."""

from dataclasses import replace
from typing import Any

import pytest

from e2e.postgresql.stage import CARELESS, SERVER
from taskpass.core.errors import ProviderRefused, ProviderUnavailable
from taskpass.core.model.grant import Grant
from taskpass.providers.postgresql.names import comment_of, mark_of
from taskpass.providers.postgresql.state import State
from tests.contract.postgresql.stage import INSTALLATION, Bench
from tests.contract.provider_suite import new_grant_id

pytestmark = pytest.mark.usefixtures("brisk")


def edited(grant: Grant, **changes: Any) -> Grant:
    return replace(grant, provider_state={**grant.provider_state, **changes})


@pytest.mark.parametrize(
    "changes",
    [{"role": "postgres"}, {"role": "taskpass_op"}, {"role": f"taskpass-{new_grant_id()}"},
     {"server": "elsewhere"}, {"database": CARELESS}, {"oid": "7"}, {"oid": -1}, {"oid": None},
     {"oid": True}, {"system": None}, {"groups": None}],
    ids=str,
)  # fmt: skip
async def test_a_record_that_does_not_fit_takes_its_own_back_and_proves_nothing(
    bench: Bench, changes: dict[str, Any]
) -> None:
    grant, _ = await bench.issued()

    for _ in range(2):
        with pytest.raises(ProviderUnavailable, match="not its own"):
            await bench.provider.revoke(edited(grant, **changes))

    assert bench.left(grant) == {}
    assert bench.provider.surplus(edited(grant, **changes), {"roles": [{}]}) is None
    with pytest.raises(ProviderRefused, match="not its own"):
        await bench.provider.issue(edited(grant, **changes), "")


async def test_a_server_cannot_take_a_piece_of_the_databases_name(bench: Bench) -> None:
    grant = replace(bench.intent(), resources=("database/support/a/b",))

    assert State.fitting(edited(grant, server="support/a", database="b")) is None
    assert State.fitting(edited(grant, server="support", database="a/b")) is not None


async def test_the_oid_of_anothers_role_ends_its_own_and_not_that_one(bench: Bench) -> None:
    (grant, _), (other, kept) = await bench.issued(), await bench.issued()

    with pytest.raises(ProviderUnavailable, match="not its own"):
        await bench.provider.revoke(edited(grant, oid=other.provider_state["oid"]))

    assert bench.left(grant) == {}
    assert await bench.subject.works(kept)
    await bench.provider.revoke(other)


async def test_an_oid_that_is_nobodys_takes_its_own_back(bench: Bench) -> None:
    grant, _ = await bench.issued()

    await bench.provider.revoke(edited(grant, oid=4_000_000_000))

    assert bench.left(grant) == {}


async def test_a_role_of_its_name_that_somebody_else_made_is_left_alone_and_owed(
    bench: Bench,
) -> None:
    grant = bench.intent()
    role = grant.provider_state["role"]
    bench.do(f'CREATE ROLE "{role}"')

    with pytest.raises(ProviderUnavailable, match="not its own"):
        await bench.provider.revoke(grant)
    with pytest.raises(ProviderRefused, match="was not made by taskpass; drop it"):
        await bench.provider.issue(grant, "")
    assert grant.id not in await bench.provider.inventory()

    bench.do(f'DROP ROLE "{role}"')
    await bench.provider.revoke(grant)


async def test_a_role_that_was_renamed_is_ended_by_its_oid_and_its_mark(bench: Bench) -> None:
    grant, _ = await bench.issued()
    bench.do(f'ALTER ROLE "{grant.provider_state["role"]}" RENAME TO kept')

    assert bench.provider.is_gone(grant, (await bench.provider.inventory()).get(grant.id))
    await bench.provider.revoke(grant)

    assert bench.left(grant) == {}


async def test_a_role_whose_mark_somebody_took_off_is_ended_by_its_name_and_oid(
    bench: Bench,
) -> None:
    grant, _ = await bench.issued()
    bench.do(f'COMMENT ON ROLE "{grant.provider_state["role"]}" IS NULL')

    with pytest.raises(ProviderUnavailable, match="not its own"):
        await bench.provider.revoke(edited(grant, oid=0))
    await bench.provider.revoke(grant)

    assert bench.left(grant) == {}


async def test_a_role_that_was_made_anew_is_too_much_and_not_what_was_issued(bench: Bench) -> None:
    grant, _ = await bench.issued()
    found = (await bench.provider.inventory())[grant.id]
    anew = edited(grant, oid=grant.provider_state["oid"] + 1)

    assert bench.provider.is_gone(anew, found)
    assert bench.provider.surplus(anew, found) == found
    [role] = found["roles"]
    other = {**role, "server": "b", "system": "1"}
    assert bench.provider.surplus(grant, {"roles": [role, other]}) == {"roles": [other]}
    assert (role["server"], role["oid"]) == (SERVER, grant.provider_state["oid"])
    await bench.provider.revoke(grant)


async def test_a_session_that_outlives_its_role_is_owed(bench: Bench) -> None:
    grant, issued = await bench.issued()
    with bench.login(issued) as task:
        bench.do(f'DROP OWNED BY "{grant.provider_state["role"]}"')
        bench.do(f'DROP ROLE "{grant.provider_state["role"]}"')

        with pytest.raises(ProviderUnavailable, match="still has a session"):
            await bench.provider.revoke(grant)

        task.close()
        await bench.until(lambda: bench.left(grant) == {})
    await bench.provider.revoke(grant)


def test_a_state_survives_the_ledger_and_a_mark_its_comment(bench: Bench) -> None:
    grant = bench.intent()

    fitting = State.fitting(grant)

    assert fitting is not None
    assert fitting.as_json() == grant.provider_state
    mark = mark_of(comment_of(grant.id, INSTALLATION, str(grant.task)))
    assert mark is not None
    assert (mark.grant_id, mark.installation) == (grant.id, INSTALLATION)
    assert mark_of(f"taskpass grant {grant.id} of x for y\n") is None
    assert mark_of(None) is None
