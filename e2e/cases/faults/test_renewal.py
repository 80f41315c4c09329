"""Renewals for real, at short lifetimes: by a clock that is 588 s ahead a token of the API server,
which lives for 600 s at least, has 12 s left.
"""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from e2e.cases.faults.proxy import Proxy, Rule
from e2e.cases.faults.test_clock import library, restart
from e2e.cases.faults.test_ledger_volume import audit
from e2e.stage import Stage, condition, policy, request, until

AHEAD = timedelta(seconds=588)
ASKED = [request(expirationSeconds=600)]
ISSUED = "namespaces/taskpass-grants/serviceaccounts/.*/token"
"""Not of the accounts themselves: the operator tries now and then to make one that it may not."""

__all__ = ["library"]


@pytest.fixture(autouse=True)
def ahead(stage: Stage, proxy: Proxy) -> Iterator[None]:
    """Have the clocks ahead, and right again for the next file."""
    restart(stage, AHEAD, proxy)
    yield
    stage.operator.stop()
    proxy.heal()
    stage.operator.start()


def renewals(stage: Stage, name: str) -> list[int]:
    """Return how often each live grant was renewed."""
    return [g.get("renewals", 0) for g in stage.task(name)["status"]["grants"]]


def next_token(stage: Stage, name: str, before: str) -> str:
    """Return the token that comes after one."""
    until(lambda: stage.token(name) != before, said=lambda: stage.told(name))
    return stage.token(name)


def wait_dead(stage: Stage, token: str) -> None:
    """Return once a token opens nothing."""
    until(lambda: stage.reads(token) != 200)


def test_a_credential_is_renewed_again_and_again_and_no_old_one_opens_anything(
    stage: Stage, name: str
) -> None:
    stage.begin_ready(name, credentials=ASKED)
    tokens = [stage.token(name)]

    for _ in range(3):
        tokens.append(next_token(stage, name, tokens[-1]))
        assert stage.reads(tokens[-1]) == 200
        wait_dead(stage, tokens[-2])
        assert stage.reads(tokens[-1]) == 200
    status = stage.wait_ready(name)
    until(lambda: renewals(stage, name) == [3])
    told = stage.wait_event(name, "CredentialRenewed")
    stage.assert_holds(**{name.replace("-", "_"): 1})
    stage.end(name)
    stage.wait_finished(name, "Succeeded")

    assert len(set(tokens)) == 4
    assert condition(status, "Ready")["reason"] == "Ready"
    assert told["note"].startswith("Renewed 'tickets' (read on namespace/")
    assert [stage.reads(token) for token in tokens].count(200) == 0
    assert not stage.accounts()
    assert audit(stage.operator, "verify")[0] == 0


def test_what_policy_renews_no_more_runs_out(stage: Stage, name: str) -> None:
    often = policy("often", "tickets", effect="Constrain", limits={"maxRenewals": 1})
    stage.api.apply(often)
    try:
        stage.begin_ready(name, credentials=ASKED)
        first = stage.token(name)
        second = next_token(stage, name, first)

        said = stage.wait_condition(name, "CredentialsIssued", "False", "Revoked")
    finally:
        stage.api.delete(often)
    wait_dead(stage, second)

    assert "limits.maxRenewals" in condition(said, "CredentialsIssued")["message"]
    # Nothing limits it any more: it goes on, as one more renewal.
    stage.wait_ready(name)
    assert renewals(stage, name) == [2]


def test_while_the_issuer_is_away_what_is_held_serves_and_people_are_told(
    stage: Stage, name: str, proxy: Proxy
) -> None:
    stage.begin_ready(name, credentials=ASKED)
    first = stage.token(name)
    proxy.rules.append(Rule("POST", ISSUED, status=500, times=1000))

    told = stage.wait_event(name, "RenewalFailed", kind="AgentTask")
    ready = stage.wait_condition(name, "CredentialsIssued", "True", saying="could not be renewed")
    serving = stage.reads(first)
    stage.wait_condition(name, "Ready", "False", "ProviderUnavailable")
    wait_dead(stage, first)
    proxy.heal()
    stage.wait_ready(name, seconds=60)  # the pause between two tries has grown meanwhile

    assert told["type"] == "Warning"
    assert condition(ready, "Ready")["status"] == "True"
    assert serving == 200
    assert stage.reads(stage.token(name)) == 200
    until(lambda: len(stage.accounts()) == 1)
