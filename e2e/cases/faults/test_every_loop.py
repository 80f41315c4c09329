"""Every loop of the operator meets every class of answer: it says so, takes nothing back, goes on.

All of them meet the same fault at once. That each loop goes on whatever is raised in it, of however
odd a class, is tried in `tests/unit/test_background.py`, and the Lease in `tests/unit/kube`.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.admission import GRANTS, SYSTEM, TENANT
from e2e.cases.faults.proxy import Proxy, Rule
from e2e.stage import Stage, until

OURS = "/apis/taskpass.dev/v1alpha1"
SUPPORT = f"/api/v1/namespaces/{TENANT}"
LISTS = {
    "relist of pods": ("GET", f"^{SUPPORT}/pods$"),
    "relist of ServiceAccounts": ("GET", f"^{SUPPORT}/serviceaccounts$"),
    "relist of namespaces": ("GET", "^/api/v1/namespaces$"),
}
LOOPS = {
    "watch of pods": ("WATCH", f"^{SUPPORT}/pods$"),
    "watch of ServiceAccounts": ("WATCH", f"^{SUPPORT}/serviceaccounts$"),
    "watch of namespaces": ("WATCH", "^/api/v1/namespaces$"),
    "kopf's watch": ("WATCH", f"^{OURS}/agenttasks$"),
    "resync": ("GET", f"^{OURS}/credentialclasses$"),
    "inventory": ("GET", f"^/api/v1/namespaces/{GRANTS}/serviceaccounts$"),
    "guardrails": ("GET", "/validatingadmissionpolicies/taskpass-pods$"),
    "uninstall": ("GET", f"/namespaces/{SYSTEM}/configmaps/taskpass-release$"),
}
FAULTS: dict[str, dict[str, Any]] = {
    **{str(each): {"status": each} for each in (401, 403, 404, 409, 410, 422, 500, 503)},
    "429 that says when": {"status": 429, "retry_after": "1"},
    "half an answer": {"half": True},
    "no JSON": {"text": "<html>I am a gateway</html>"},
    "wrong types": {"garble": True},
    "reset": {"lose": True},
}


OFTEN = ("403", "half an answer", "wrong types")
"""What is tried at each change; `make soak` tries all of them."""
TRIED = FAULTS if os.environ.get("TASKPASS_FAULTS") == "all" else OFTEN


@pytest.fixture(scope="module")
def busy(everything: Stage) -> Iterator[Stage]:
    """Return the stage with an operator that does every second what it does every minute."""
    everything.operator.stop()
    everything.operator.start(TASKPASS_SWEEP_SECONDS="1")
    yield everything
    everything.operator.stop()
    everything.operator.start()


@pytest.mark.parametrize("fault", TRIED)
def test_it_is_met_by_every_loop_and_ends_none(
    busy: Stage, stage: Stage, proxy: Proxy, name: str, fault: str
) -> None:
    stage.begin_ready(name)
    token, held = stage.token(name), stage.task(name)["status"]["grants"]
    rules = [Rule(*where, **FAULTS[fault], times=2) for where in (*LISTS.values(), *LOOPS.values())]
    lists = rules[: len(LISTS)]
    proxy.rules.extend(rules)

    proxy.expired = True
    proxy.cut()
    until(lambda: all(r.met for r in lists), said=lambda: _unmet(rules))
    proxy.expired = False
    # kopf takes its time to end before it is begun anew.
    until(lambda: all(r.met for r in rules), 90, said=lambda: _unmet(rules))

    assert not stage.operator.ended()
    assert stage.task(name)["status"]["grants"] == held
    assert stage.reads(token) == 200
    proxy.heal()
    stage.operator.wait_ready()
    assert stage.task(name)["status"]["grants"] == held
    stage.end(name)
    stage.wait_finished(name, "Succeeded")
    assert stage.reads(token) != 200


def test_one_that_is_refused_says_so_at_readyz_and_goes_on(
    busy: Stage, stage: Stage, proxy: Proxy, name: str
) -> None:
    proxy.rules.append(Rule("GET", LOOPS["resync"][1], status=403, times=10_000))

    refused = "Sweeping failed, and goes on: The API server answered 403 to list"
    # Other loops may list it too, and say so as well.
    until(
        lambda: refused in (_line(stage, "background") or ""),
        said=lambda: stage.operator.http("/readyz")[1],
    )

    proxy.heal()
    stage.operator.wait_ready()
    stage.begin_ready(name)


def test_while_the_limits_cannot_be_read_nothing_is_issued_and_the_task_says_why(
    busy: Stage, stage: Stage, proxy: Proxy, name: str
) -> None:
    proxy.rules.append(Rule("GET", LOOPS["guardrails"][1], status=403, times=10_000))
    refused = until(lambda: _line(stage, "limits"))
    assert (
        "ValidatingAdmissionPolicy 'taskpass-pods' cannot be read: the operator may not (403)"
        in refused
    )

    stage.begin(name)
    status = stage.wait_condition(name, "Ready", "False", saying=refused)
    assert not status.get("grants")

    proxy.heal()
    stage.operator.wait_ready()
    stage.wait_ready(name)


def _line(stage: Stage, check: str) -> str | None:
    """Return what a check of `/readyz` says; None while it is well."""
    lines = (line.split(": ", 1) for line in stage.operator.http("/readyz")[1].splitlines())
    said = dict(each for each in lines if len(each) == 2)
    return None if said[check] == "ok" else said[check]


def _unmet(rules: list[Rule]) -> list[str]:
    return [f"{r.method} {r.path}" for r in rules if not r.met]
