"""The API server is away in the middle of a step, slow, or silent: all ends as it should."""

import time

import pytest

from e2e.admission import GRANTS, TARGET, TENANT, task
from e2e.cases.faults.proxy import Proxy, Rule
from e2e.stage import Stage, until

AWAY_SECONDS = 1.5
"""Longer ones come in `make soak`."""
BEGINNING = {
    "issue": Rule("POST", f"namespaces/{TARGET}/rolebindings", lose=True, leave=True),
    "token": Rule("POST", f"namespaces/{GRANTS}/serviceaccounts/.*/token", lose=True, leave=True),
    "deliver": Rule("POST", f"namespaces/{TENANT}/secrets", lose=True, leave=True),
    "gate": Rule("PATCH", f"namespaces/{TENANT}/pods/", lose=True, leave=True),
}
END = {
    "revoke": Rule("DELETE", f"namespaces/{TARGET}/rolebindings", lose=True, leave=True),
    "withdraw": Rule("DELETE", f"namespaces/{TENANT}/secrets", lose=True, leave=True),
}


def rest_away(proxy: Proxy, rule: Rule) -> None:
    """Wait until the rule was met; be away for a while, and come back."""
    until(lambda: rule.met, said=lambda: dict(proxy.counts))
    proxy.cut()
    time.sleep(AWAY_SECONDS)  # that it lasts is what the case is about
    proxy.heal()


@pytest.mark.parametrize("step", BEGINNING)
def test_in_the_middle_of_issuing(stage: Stage, proxy: Proxy, name: str, step: str) -> None:
    rule = BEGINNING[step]
    proxy.rules.append(rule)

    stage.begin(name)
    rest_away(proxy, rule)

    stage.wait_ready(name)
    until(lambda: not stage.gated(name))
    assert stage.reads(stage.token(name)) == 200
    stage.assert_holds(**{name.replace("-", "_"): 1})


@pytest.mark.parametrize("step", END)
def test_in_the_middle_of_revoking(stage: Stage, proxy: Proxy, name: str, step: str) -> None:
    stage.begin_ready(name)
    token = stage.token(name)
    rule = END[step]
    proxy.rules.append(rule)

    stage.end(name)
    rest_away(proxy, rule)

    stage.wait_finished(name, "Succeeded")
    assert stage.reads(token) != 200
    stage.assert_holds(**{name.replace("-", "_"): 0})


def test_in_the_middle_of_a_deletion(stage: Stage, proxy: Proxy, name: str) -> None:
    stage.begin_ready(name)
    rule = Rule("PATCH", f"agenttasks/{name}$", lose=True, leave=True)
    proxy.rules.append(rule)

    stage.alice.delete(task(name))
    rest_away(proxy, rule)

    stage.wait_gone(task(name))
    until(lambda: not stage.accounts())
    stage.assert_holds()


def test_one_that_hangs_is_given_up_and_asked_again(stage: Stage, proxy: Proxy, name: str) -> None:
    stage.begin_ready(name)
    token = stage.token(name)

    proxy.hanging = True
    proxy.cut()
    stage.end(name)
    time.sleep(AWAY_SECONDS)
    hung = stage.reads(token)
    proxy.heal()
    proxy.cut()

    stage.wait_finished(name, "Succeeded")
    assert hung == 200
    assert stage.reads(token) != 200


def test_one_that_is_slow_only_takes_longer(stage: Stage, proxy: Proxy, name: str) -> None:
    proxy.delay = 0.2

    stage.begin_ready(name)
    token = stage.token(name)
    stage.end(name)

    stage.wait_finished(name, "Succeeded")
    assert stage.reads(token) != 200


def test_while_it_is_away_the_operator_is_not_ready_and_lives(stage: Stage, proxy: Proxy) -> None:
    proxy.go_away()

    status, said = until(lambda: _unready(stage))
    proxy.heal()

    assert status == 503
    assert "watching: " in said
    assert stage.operator.http("/livez")[0] == 200
    stage.operator.wait_ready()


def _unready(stage: Stage) -> tuple[int, str] | None:
    answer = stage.operator.http("/readyz")
    return answer if answer[0] == 503 else None
