"""Policies that do not compile or cannot be evaluated: never a yes, never a no."""

import itertools
from dataclasses import replace

import pytest

from taskpass.core.policy.evaluate import DecisionReason, Policy, evaluate
from taskpass.core.policy.expression_input import Answer
from tests.unit.core.policies import (
    ALLOW,
    CONSTRAIN,
    DENY,
    QUESTION,
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
    assert decision.policy_errors == (("AgentPolicy/support/aa", "it fails"),)


def test_it_is_reported_though_the_answer_is_no() -> None:
    broken = demanding(ALLOW, AT_RUN_TIME)

    alone, denied = decide([broken]), decide([broken, DENY])

    assert (alone.reason, denied.reason) == (
        DecisionReason.EVALUATION_FAILED,
        DecisionReason.DENIED,
    )
    assert (
        alone.policy_errors == denied.policy_errors == (("AgentPolicy/support/triage", "it fails"),)
    )


def test_what_does_not_compile_is_known_before_and_not_reported_again() -> None:
    broken = demanding(replace(ALLOW, name="aa"), AT_COMPILE)

    assert decide([ALLOW, broken]).policy_errors == ()


def test_what_may_be_answered_later_is_not_the_policy_s_fault() -> None:
    waiting = demanding(replace(DENY, name="aa"), "true")
    later = Answer(error="no process", transient=True)

    decision = evaluate(QUESTION, [compiled(ALLOW), compiled(waiting)], {waiting.version: later})

    assert (decision.reason, decision.policy_errors) == (DecisionReason.EVALUATION_FAILED, ())


# What has not been evaluated yet.


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([demanding(ALLOW, "true")], id="the only Allow"),
        pytest.param([ALLOW, demanding(DENY, "true")], id="a Deny"),
        pytest.param([ALLOW, demanding(CONSTRAIN, "true")], id="a Constrain"),
        pytest.param([ALLOW, demanding(replace(ALLOW, name="zz"), "true")], id="a second Allow"),
    ],
)
def test_nothing_is_allowed_before_every_policy_that_selects_is_asked(
    others: list[Policy],
) -> None:
    decision = evaluate(QUESTION, [compiled(each) for each in others])

    assert (decision.allowed, decision.reason) == (False, DecisionReason.EVALUATION_FAILED)
    assert decision.unasked == tuple(each for each in others if each.validations)
    assert decision.policy_errors == ()


@pytest.mark.parametrize(
    ("policies", "reason"),
    [
        pytest.param([ALLOW, DENY], DecisionReason.DENIED, id="a Deny that needs no answer"),
        pytest.param([], DecisionReason.NO_POLICY, id="no Allow that could cover"),
        pytest.param(
            [replace(ALLOW, max_expiration_seconds=60)], DecisionReason.DENIED, id="a limit"
        ),
    ],
)
def test_a_no_that_stands_whatever_is_answered_needs_no_answer(
    policies: list[Policy], reason: DecisionReason
) -> None:
    unasked = demanding(replace(DENY, name="zz"), "false")

    decision = evaluate(QUESTION, [compiled(each) for each in [*policies, unasked]])

    assert (decision.reason, decision.unasked) == (reason, (unasked,))


def test_an_answer_to_another_generation_is_none() -> None:
    deny = demanding(DENY, "true")
    before = {replace(deny, generation=0).version: Answer(unmet=0)}

    assert evaluate(QUESTION, [compiled(ALLOW), compiled(deny)], before).unasked == (deny,)
