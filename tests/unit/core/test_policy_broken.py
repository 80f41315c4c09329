"""Policies that do not compile or cannot be evaluated: never a yes, never a no."""

import itertools
from dataclasses import replace

import pytest

from taskpass.core.policy import DecisionReason, Policy
from tests.unit.core.policies import (
    ALLOW,
    CONSTRAIN,
    DENY,
    asking,
    compiled,
    decide,
    demanding,
    of_cluster,
)

AT_COMPILE = "nonsense"
AT_RUN_TIME = "fails"
BROKEN = pytest.mark.parametrize("how", [AT_COMPILE, AT_RUN_TIME])


@BROKEN
@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(DENY, id="a deny"),
        pytest.param(CONSTRAIN, id="a constrain"),
        pytest.param(of_cluster(DENY), id="a deny of the cluster"),
    ],
)
def test_a_broken_deny_or_constrain_blocks_what_it_selects(policy: Policy, how: str) -> None:
    for policies in itertools.permutations([ALLOW, demanding(policy, how)]):
        decision = decide(policies)

        assert (decision.allowed, decision.reason) == (False, DecisionReason.EVALUATION_FAILED)
        assert decision.policy == policy.label


@BROKEN
def test_a_broken_deny_leaves_alone_what_it_does_not_select(how: str) -> None:
    deny = demanding(replace(DENY, actions=("tickets.write",)), how)

    assert decide([ALLOW, deny]).allowed


@BROKEN
def test_a_broken_allow_does_not_count_where_another_covers(how: str) -> None:
    broken = demanding(replace(ALLOW, name="aa", max_expiration_seconds=600), how)

    decision = decide([broken, ALLOW])

    assert (decision.policy, decision.lifetime_seconds) == ("AgentPolicy/support/triage", 900)


@BROKEN
def test_a_broken_allow_alone_is_neither_yes_nor_no(how: str) -> None:
    decision = decide([demanding(ALLOW, how)])

    assert (decision.allowed, decision.reason) == (False, DecisionReason.EVALUATION_FAILED)
    assert decision.policy == "AgentPolicy/support/triage"


@BROKEN
def test_a_broken_allow_that_would_not_cover_is_a_plain_no(how: str) -> None:
    broken = demanding(replace(ALLOW, actions=("tickets.write",)), how)

    decision = decide([broken])

    assert decision.reason is DecisionReason.NO_POLICY
    assert decision.nearest == "AgentPolicy/support/triage"


@BROKEN
def test_a_deny_that_can_be_evaluated_wins_over_broken_ones(how: str) -> None:
    decision = decide([demanding(ALLOW, how), demanding(DENY, how), replace(DENY, name="zz")])

    assert (decision.reason, decision.policy) == (
        DecisionReason.DENIED,
        "AgentPolicy/support/zz",
    )


@BROKEN
@pytest.mark.parametrize("policy", [DENY, CONSTRAIN], ids=["deny", "constrain"])
def test_a_broken_policy_keeps_nothing_alive_that_no_allow_covers(policy: Policy, how: str) -> None:
    assert decide([demanding(policy, how)]).reason is DecisionReason.NO_POLICY


@BROKEN
@pytest.mark.parametrize("policy", [DENY, CONSTRAIN], ids=["deny", "constrain"])
def test_a_broken_policy_keeps_nothing_alive_that_a_limit_forbids(policy: Policy, how: str) -> None:
    allow = replace(ALLOW, max_expiration_seconds=600)

    decision = decide([allow, demanding(policy, how)], asking(expiration_seconds=900))

    assert decision.reason is DecisionReason.DENIED


@BROKEN
def test_a_broken_deny_beside_a_broken_allow_is_the_one_that_is_named(how: str) -> None:
    decision = decide([demanding(ALLOW, how), demanding(replace(DENY, name="zz"), how)])

    assert (decision.reason, decision.policy) == (
        DecisionReason.EVALUATION_FAILED,
        "AgentPolicy/support/zz",
    )


def test_a_validation_that_is_false_settles_it_whatever_fails_beside_it() -> None:
    for expressions in itertools.permutations(["true", "fails", "false"]):
        assert decide([ALLOW, demanding(DENY, *expressions)]).allowed
        assert decide([demanding(ALLOW, *expressions)]).reason is DecisionReason.NO_POLICY


def test_a_true_validation_does_not_hide_one_that_fails() -> None:
    for expressions in itertools.permutations(["true", "fails", "true"]):
        decision = decide([demanding(ALLOW, *expressions)])

        assert decision.reason is DecisionReason.EVALUATION_FAILED


def test_the_message_says_which_policy_why_and_what_becomes_of_what_is_held() -> None:
    decision = decide([ALLOW, demanding(DENY, AT_COMPILE)])

    assert decision.message == (
        "AgentPolicy 'support/freeze' cannot be evaluated (spec.validations[0].expression: "
        "'nonsense' is no word); correct it. Nothing new is issued until then, and what is held "
        "stays until it expires"
    )


def test_what_fails_at_run_time_is_reported_for_the_policy_s_condition() -> None:
    broken = demanding(replace(ALLOW, name="aa"), AT_RUN_TIME)

    decision = decide([ALLOW, broken])

    assert decision.allowed
    assert decision.broken == (("AgentPolicy/support/aa", "it fails"),)


def test_what_does_not_compile_is_known_before_and_not_reported_again() -> None:
    broken = demanding(replace(ALLOW, name="aa"), AT_COMPILE)

    assert decide([ALLOW, broken]).broken == ()
    assert compiled(broken).error == "spec.validations[0].expression: 'nonsense' is no word"


def test_the_error_names_the_validation_that_does_not_compile() -> None:
    assert compiled(demanding(ALLOW, "true", "nonsense")).error == (
        "spec.validations[1].expression: 'nonsense' is no word"
    )


def test_a_policy_that_compiles_has_an_expression_for_each_validation() -> None:
    one = compiled(demanding(ALLOW, "true", "false"))

    assert (len(one.expressions), one.error) == (2, "")
