"""What is made of a policy to see whether anybody notices."""

from typing import Any

import pytest

from e2e.mutations.mutants import clauses_of, mutants_of

RULE = {"operations": ["CREATE", "UPDATE"], "resources": ["pods"]}


def policy(**spec: Any) -> dict[str, Any]:
    whole = {"matchConstraints": {"resourceRules": [RULE]}, **spec}
    metadata = {"name": "p", "labels": {}, "uid": "1"}
    return {"apiVersion": "a", "kind": "K", "metadata": metadata, "spec": whole}


def changes(**spec: Any) -> list[str]:
    return [mutant.change for mutant in mutants_of("policies", policy(**spec))]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a && b && c", ["a", "b", "c"]),
        ("a && (b && c)", ["a", "(b && c)"]),
        ("a.all(k, k == ' && ') && b", ["a.all(k, k == ' && ')", "b"]),
        (r"a == '\' && ' && b", [r"a == '\' && '", "b"]),
        ("a", ["a"]),
    ],
)
def test_clauses_are_parted_where_no_bracket_and_no_string_is(text: str, parts: list[str]) -> None:
    assert clauses_of(text, " && ") == parts


def test_each_clause_goes_once_and_each_operator_is_turned_round() -> None:
    found = changes(validations=[{"expression": "a == 1 && b"}])

    assert "validations.0.expression: without clause 'a == 1'" in found
    assert "validations.0.expression: without clause 'b'" in found
    assert any("'==' is '!='" in change for change in found)
    assert any("'&&' is '||'" in change for change in found)


def test_operations_validations_and_conditions_go_one_by_one() -> None:
    found = changes(
        validations=[{"expression": "a"}, {"expression": "b"}],
        matchConditions=[{"name": "n", "expression": "c"}],
    )

    assert "rule 0 without CREATE" in found
    assert "rule 0 without UPDATE" in found
    assert "validations[1] is gone" in found
    assert "matchConditions[0] is gone" in found


def test_a_mutant_leaves_the_policy_that_it_was_made_from_alone() -> None:
    before = policy(validations=[{"expression": "a && b"}, {"expression": "c"}])
    (first, *_) = mutants_of("policies", before)

    assert first.body["spec"] != before["spec"]
    assert before == policy(validations=[{"expression": "a && b"}, {"expression": "c"}])
    assert set(first.body["metadata"]) == {"name", "labels"}


def test_changes_that_read_alike_are_numbered() -> None:
    found = changes(validations=[{"expression": "f(a == 1, g(a == 1))"}])

    assert len(set(found)) == len(found)
