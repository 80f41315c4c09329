"""The guard asks after everything that the chart installs to limit the operator."""

import re

import pytest

from taskpass.kube import guardrails as guard
from tests.unit.kube.scripted_server import Answer, Script, status_body

HELPERS = "charts/taskpass/templates/_helpers.tpl"
ACCOUNTS = "/api/v1/namespaces/taskpass-grants/serviceaccounts"
SECRETS = "/api/v1/namespaces/{}/secrets"
REFUSED = Answer(
    status_body(
        403,
        "ValidatingAdmissionPolicy 'taskpass-operator-secrets' with binding "
        "'taskpass-operator-secrets' denied request: no",
    ),
    403,
)


@pytest.mark.parametrize(
    ("helper", "names"), [("mutating", guard.MUTATING), ("validating", guard.VALIDATING)]
)
def test_the_policies_are_those_of_the_chart(helper: str, names: tuple[str, ...]) -> None:
    with open(HELPERS, encoding="utf-8") as file:
        text = file.read()

    defined = re.search(rf'define "taskpass\.{helper}Policies" -}}}}\s*\[([^\]]+)\]', text)

    assert defined is not None
    assert tuple(name.strip() for name in defined[1].split(",")) == names


def everything_holds(script: Script) -> None:
    for name in guard.CRDS:
        script.on(f"GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}", Answer({}))
    for kind, names in (("mutating", guard.MUTATING), ("validating", guard.VALIDATING)):
        for name in names:
            policy = {"spec": {"failurePolicy": "Fail"}}
            bound = {"policyName": name, "validationActions": ["Deny"], "matchResources": {}}
            base = f"{guard.ADMISSION}/{kind}admissionpolic"
            script.on(f"GET {base}ies/{name}", Answer(policy))
            script.on(f"GET {base}ybindings/{name}", Answer({"spec": bound}))
    script.on(f"POST {SECRETS.format('taskpass-system')}", REFUSED)
    script.on(f"POST {SECRETS.format('support')}", REFUSED)
    script.on(f"POST {ACCOUNTS}", REFUSED)


async def ask(script: Script) -> str | None:
    async with script.client() as client:
        return await guard.verify_guardrails(
            client, home="taskpass-system", tenants=["support"], targets={}
        )


async def test_nothing_is_said_when_all_of_it_holds(script: Script) -> None:
    everything_holds(script)

    assert await ask(script) is None

    writes = [request for request in script.requests if request.method == "POST"]
    assert [request.query["dryRun"] for request in writes] == ["All", "All", "All"]


@pytest.mark.parametrize(
    "weakened",
    [
        pytest.param({"validationActions": ["Audit"]}, id="it only audits"),
        pytest.param({"policyName": "another"}, id="it binds another policy"),
        pytest.param({"paramRef": {"name": "p"}}, id="it has parameters"),
        pytest.param({"matchResources": {"namespaceSelector": {"a": "b"}}}, id="it selects"),
    ],
)
async def test_a_binding_that_was_weakened_is_named(
    script: Script, weakened: dict[str, object]
) -> None:
    everything_holds(script)
    bound = {"policyName": "taskpass-pods", "validationActions": ["Deny"], **weakened}
    path = f"{guard.ADMISSION}/validatingadmissionpolicybindings/taskpass-pods"
    script.on(f"GET {path}", Answer({"spec": bound}))

    assert "'taskpass-pods' does not count everywhere any more" in await ask(script)


async def test_a_policy_that_lets_pass_what_it_cannot_judge_is_named(script: Script) -> None:
    everything_holds(script)
    path = f"{guard.ADMISSION}/mutatingadmissionpolicies/taskpass-inject"
    script.on(f"GET {path}", Answer({"spec": {"failurePolicy": "Ignore"}}))

    assert "'taskpass-inject' does not count everywhere any more" in await ask(script)


@pytest.mark.parametrize("namespace", ["support", "taskpass-system"])
async def test_a_write_that_goes_through_is_named(script: Script, namespace: str) -> None:
    everything_holds(script)
    script.on(f"POST {SECRETS.format(namespace)}", Answer({}, 201))

    assert "could make a Secret of type" in await ask(script)
    assert namespace in await ask(script)


async def test_a_grant_that_could_be_made_without_its_label_is_named(script: Script) -> None:
    everything_holds(script)
    script.on(f"POST {ACCOUNTS}", Answer({}, 201))

    assert "in namespace 'taskpass-grants' that has no grant's label" in await ask(script)
