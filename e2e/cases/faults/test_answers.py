"""The issuer answers 409, 429, 500, does it and loses the answer, or says what it must not."""

import json
from pathlib import Path

import pytest

from e2e.admission import GRANTS, TARGET, TENANT
from e2e.cases.faults.proxy import Proxy, Rule
from e2e.stage import Stage, until

TOKEN = f"namespaces/{GRANTS}/serviceaccounts/.*/token"
ACCOUNT = f"namespaces/{GRANTS}/serviceaccounts"
BINDING = f"namespaces/{TARGET}/rolebindings"
SECRET = f"namespaces/{TENANT}/secrets"


@pytest.mark.parametrize(
    ("path", "status"),
    [(TOKEN, 409), (TOKEN, 429), (TOKEN, 500), (BINDING, 429), (BINDING, 500)],
    ids=["token 409", "token 429", "token 500", "binding 429", "binding 500"],
)
def test_an_issue_that_is_refused_once_is_tried_anew(
    stage: Stage, proxy: Proxy, name: str, path: str, status: int
) -> None:
    rule = Rule("POST", path, status=status)
    proxy.rules.append(rule)

    stage.begin_ready(name)

    assert rule.met == 1
    assert stage.reads(stage.token(name)) == 200
    stage.assert_holds(**{name.replace("-", "_"): 1})


@pytest.mark.parametrize(
    "path", [f"{ACCOUNT}$", BINDING, TOKEN, SECRET], ids=["account", "binding", "token", "secret"]
)
def test_an_issue_that_was_done_and_whose_answer_is_lost_leaves_nothing_twice(
    stage: Stage, proxy: Proxy, name: str, path: str
) -> None:
    rule = Rule("POST", path, lose=True)
    proxy.rules.append(rule)

    stage.begin_ready(name)

    assert rule.met == 1
    assert stage.reads(stage.token(name)) == 200
    stage.assert_holds(**{name.replace("-", "_"): 1})


@pytest.mark.parametrize(
    "rule",
    [
        Rule("DELETE", BINDING, lose=True),
        Rule("DELETE", ACCOUNT, lose=True),
        Rule("DELETE", SECRET, lose=True),
        Rule("DELETE", BINDING, status=500, times=2),
        Rule("DELETE", ACCOUNT, status=429, times=2),
    ],
    ids=["binding lost", "account lost", "secret lost", "binding 500", "account 429"],
)
def test_a_revocation_that_is_not_answered_well_is_carried_on_until_it_is(
    stage: Stage, proxy: Proxy, name: str, rule: Rule
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)
    proxy.rules.append(rule)

    stage.end(name)
    stage.wait_finished(name, "Succeeded")

    assert rule.met == rule.times
    assert stage.reads(token) != 200
    stage.assert_holds(**{name.replace("-", "_"): 0})


@pytest.mark.parametrize("status", [403, 422, 500])
def test_a_secret_in_an_error_is_shown_nowhere(
    stage: Stage, proxy: Proxy, name: str, status: int
) -> None:
    rule = Rule("POST", TOKEN, status=status, echo=True)
    proxy.rules.append(rule)

    stage.begin(name)
    until(lambda: rule.met)
    if status == 500:
        stage.wait_ready(name)
    else:
        stage.wait_condition(name, "CredentialsIssued", "False", "ProviderRefused")

    token = json.loads(proxy.echoed[-1])["status"]["token"]
    payload, signature = token.split(".")[1:]
    told = everything_said(stage, name)
    assert all(told.values())
    for needle in (payload[:40], signature[:40], signature[-40:]):
        assert [where for where, hay in told.items() if needle.encode() in hay] == []


def everything_said(stage: Stage, name: str) -> dict[str, bytes]:
    """Return all that the operator has said or written, by where."""
    files: list[Path] = [f for f in stage.operator.directory.iterdir() if f.name != "kubeconfig"]
    return {
        "status": json.dumps(stage.task(name)).encode(),
        "Events": json.dumps(stage.events(name)).encode(),
        "metrics": stage.operator.http("/metrics")[1].encode(),
        **{f.name: f.read_bytes() for f in files if f.stat().st_size},
    }
