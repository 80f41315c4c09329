"""The admission policies as rendered: all count, everywhere, for the right operator.

What they stop is tried in e2e/cases/admission.
"""

import json
import re
from pathlib import Path

import pytest
from rendering import CHART, ENROLLED, Object, of_kind, one, render

FILES = sorted((CHART / "templates/admission").glob("*.yaml"))


WARNING = ("taskpass-replicas",)
"""Those that refuse nothing."""


def policies() -> list[Object]:
    return of_kind(render(ENROLLED), "MutatingAdmissionPolicy", "ValidatingAdmissionPolicy")


@pytest.mark.parametrize("policy", policies(), ids=lambda p: p["metadata"]["name"])
def test_a_policy_is_bound_everywhere_and_fails_closed(policy: Object) -> None:
    name = policy["metadata"]["name"]
    binding = one(render(ENROLLED), policy["kind"] + "Binding", name)["spec"]

    assert policy["spec"]["failurePolicy"] == "Fail"
    assert binding.pop("policyName") == name
    action = "Warn" if name in WARNING else "Deny"
    assert binding == (
        {"validationActions": [action]} if policy["kind"].startswith("Validating") else {}
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
def test_deletion_is_judged_for_the_operator_and_for_secrets_of_tasks_only(policy: Object) -> None:
    name = policy["metadata"]["name"]
    deletes = any(
        "DELETE" in rule["operations"]
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]
    )

    ours = name.startswith("taskpass-operator-") and name != "taskpass-operator-tokens"
    assert deletes == (ours or name == "taskpass-secret-deletion")
    if deletes and ours:
        (condition,) = policy["spec"]["matchConditions"]
        assert (
            condition["expression"]
            == "request.userInfo.username == 'system:serviceaccount:taskpass-system:taskpass'"
        )


def test_who_deletes_for_kubernetes_itself_is_a_value() -> None:
    users = ["system:serviceaccount:kube-system:collector"]
    objects = render({**ENROLLED, "deletionControllers": users})
    both = [
        one(objects, "ValidatingAdmissionPolicy", name)
        for name in ("taskpass-secret-deletion", "taskpass-credentials")
    ]

    for policy in both:
        text = str(policy["spec"])
        assert "system:serviceaccount:kube-system:collector" in text
        assert "generic-garbage-collector" not in text


@pytest.mark.parametrize("tenants", [{}, {"support": {}, "sales": {}}], ids=["none", "two"])
def test_a_listed_namespace_is_enrolled_whatever_rbac_says(tenants: Object) -> None:
    policy = one(render({"tenants": tenants}), "ValidatingAdmissionPolicy", "taskpass-pod-tokens")
    (validation,) = policy["spec"]["validations"]

    assert (
        f"request.namespace in {json.dumps(sorted(tenants), separators=(',', ':'))} ||"
        in (validation["expression"])
    )


def test_limits_of_grants_tokens_are_values() -> None:
    values = {"maxTokenSeconds": 900, "tokenAudiences": ["a", "https://b.example/c"]}
    policy = one(render(values), "ValidatingAdmissionPolicy", "taskpass-operator-tokens")
    seconds, audiences = (v["expression"] for v in policy["spec"]["validations"])

    assert seconds.endswith("<= 900")
    assert '["a","https://b.example/c"]' in audiences


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


def test_the_status_of_a_custom_resource_is_not_asked_about() -> None:
    """No stamp could be put on it, so one made before the chart would be refused for ever."""
    of_kubernetes = {"apps", "batch"}
    for kind, name in (
        ("Mutating", "taskpass-stamp-workloads"),
        ("Validating", "taskpass-workloads"),
    ):
        policy = one(render({}), f"{kind}AdmissionPolicy", name)
        rules = policy["spec"]["matchConstraints"]["resourceRules"]
        foreign = [rule for rule in rules if not of_kubernetes & set(rule["apiGroups"])]

        assert len(foreign) == 3
        assert not [r for rule in foreign for r in rule["resources"] if "/" in r]
