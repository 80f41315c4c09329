"""The admission policies as rendered: all count, everywhere, for the right operator.

What they stop is tried in e2e/cases/admission.
"""

import json
import re
from pathlib import Path

import pytest
from rendering import CHART, ENROLLED, Object, of_kind, one, render

FILES = sorted((CHART / "templates/admission").glob("*.yaml"))


def policies() -> list[Object]:
    return of_kind(render(ENROLLED), "MutatingAdmissionPolicy", "ValidatingAdmissionPolicy")


@pytest.mark.parametrize("policy", policies(), ids=lambda p: p["metadata"]["name"])
def test_a_policy_is_bound_everywhere_and_fails_closed(policy: Object) -> None:
    name = policy["metadata"]["name"]
    binding = one(render(ENROLLED), policy["kind"] + "Binding", name)["spec"]

    assert policy["spec"]["failurePolicy"] == "Fail"
    assert binding.pop("policyName") == name
    assert binding == (
        {"validationActions": ["Deny"]} if policy["kind"].startswith("Validating") else {}
    )


@pytest.mark.parametrize("policy", policies(), ids=lambda p: p["metadata"]["name"])
def test_a_policy_exempts_no_namespace(policy: Object) -> None:
    selector = policy["spec"]["matchConstraints"].get("namespaceSelector")

    assert selector in (None, {"matchLabels": {"kubernetes.io/metadata.name": "taskpass-grants"}})
    assert "excludeResourceRules" not in policy["spec"]["matchConstraints"]


@pytest.mark.parametrize("policy", policies(), ids=lambda p: p["metadata"]["name"])
def test_every_refusal_says_what_must_be_true(policy: Object) -> None:
    for validation in policy["spec"].get("validations", []):
        said = validation.get("messageExpression", "") + validation.get("message", "")
        assert re.search(r"\bmust\b", said)


@pytest.mark.parametrize("policy", policies(), ids=lambda p: p["metadata"]["name"])
def test_deletion_is_judged_for_the_operator_only(policy: Object) -> None:
    deletes = any(
        "DELETE" in rule["operations"]
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]
    )

    assert deletes == (policy["metadata"]["name"].startswith("taskpass-operator-"))
    if deletes:
        (condition,) = policy["spec"]["matchConditions"]
        assert (
            condition["expression"]
            == "request.userInfo.username == 'system:serviceaccount:taskpass-system:taskpass'"
        )


def test_the_operator_is_known_by_namespace_and_service_account() -> None:
    objects = render({**ENROLLED, "serviceAccount": {"name": "broker"}}, namespace="security")
    text = str(of_kind(objects, "ValidatingAdmissionPolicy"))

    assert "system:serviceaccount:security:broker" in text
    assert "taskpass-system" not in text
    assert "system:serviceaccount:security:taskpass" not in text


def test_the_listed_roles_are_those_of_the_values() -> None:
    policy = one(render(ENROLLED), "ValidatingAdmissionPolicy", "taskpass-operator-grants")
    listed = next(v["expression"] for v in policy["spec"]["variables"] if v["name"] == "listed")

    assert json.loads(listed) == {
        "kb": ["ClusterRole/kb-reader"],
        "tickets": ["ClusterRole/tickets-reader", "Role/tickets-writer"],
    }


def test_no_policy_has_a_switch() -> None:
    for path in FILES:
        assert "{{- if .Values" not in path.read_text(), path.name


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_file_says_which_attack_it_stops(path: Path) -> None:
    text = path.read_text()
    lead = text[: text.index("apiVersion:")]

    assert lead.startswith("# ")
    assert "Stops: " in lead
