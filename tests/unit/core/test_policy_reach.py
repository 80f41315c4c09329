"""What a yes says beside its lifetime: renewals, approvals, delegation; and whom it waits for."""

import itertools
from dataclasses import replace

import pytest

from taskpass.core.policy.evaluate import DecisionReason, Policy
from taskpass.core.policy.types import ApprovalRule
from tests.unit.core.policies import ALLOW, CONSTRAIN, QUESTION, decide


@pytest.mark.parametrize(
    ("most", "said"),
    [
        (None, "allows it for 900 s"),
        (0, "allows it for 900 s, and no renewal"),
        (1, "allows it for 900 s, and one renewal"),
        (2, "allows it for 900 s, and 2 renewals"),
    ],
)
def test_a_yes_says_how_often_it_may_be_renewed(most: int | None, said: str) -> None:
    decision = decide([replace(ALLOW, max_renewals=most)])

    assert decision.message == f"AgentPolicy 'support/triage' {said}"
    assert decision.max_renewals == most


def test_a_yes_names_all_whose_approval_it_waits_for() -> None:
    asks = ApprovalRule(approver_groups=("support-leads",))

    decision = decide([replace(ALLOW, approval=asks), replace(CONSTRAIN, approval=asks)])

    assert decision.demands == (replace(ALLOW, approval=asks), replace(CONSTRAIN, approval=asks))
    assert decision.message == (
        "AgentPolicy 'support/triage' allows it for 600 s, once it is approved "
        "(AgentPolicy 'support/triage', AgentPolicy 'support/short')"
    )


@pytest.mark.parametrize(
    ("most", "ahead", "waits"),
    [
        pytest.param(1, 0, "", id="the first of one"),
        pytest.param(1, 1, "one task of agent 'triage-agent'", id="the second of one"),
        pytest.param(2, 1, "", id="the second of two"),
        pytest.param(2, 2, "2 tasks of agent 'triage-agent'", id="the third of two"),
    ],
)
def test_a_task_waits_where_as_many_of_its_agent_hold_something(
    most: int, ahead: int, waits: str
) -> None:
    decision = decide(
        [replace(ALLOW, max_active_tasks=most)], replace(QUESTION, queue_position=ahead)
    )

    assert decision.allowed is not bool(waits)
    if waits:
        assert decision.reason is DecisionReason.LIMIT_REACHED
        assert decision.quota == ("support", "triage-agent")
        assert decision.policy_digest == "sha256:triage"
        assert decision.message == (
            f"limits.maxActiveTasks of AgentPolicy 'support/triage' lets {waits} hold credentials "
            "at a time; this one waits until one of them holds nothing"
        )


def test_of_limits_that_are_reached_the_agents_is_named_then_the_least_then_the_first() -> None:
    """Whose end makes room is what the task then waits for."""
    full = replace(QUESTION, queue_position=5, queue_position_in_namespace=5)
    both = replace(ALLOW, max_active_tasks=5, max_active_tasks_in_namespace=1)
    lower = replace(CONSTRAIN, name="zz", max_active_tasks=4)
    as_low = replace(CONSTRAIN, name="yy", max_active_tasks=4)

    assert decide([both], full).quota == ("support", "triage-agent")
    of_all = decide([replace(both, max_active_tasks=None)], full)
    assert of_all.quota == ("support", "")
    assert of_all.message.startswith(
        "limits.maxActiveTasksInNamespace of AgentPolicy 'support/triage' lets one task of the "
        "namespace hold credentials at a time"
    )
    for policies in itertools.permutations([both, lower, as_low]):
        assert decide(policies, full).policy == "AgentPolicy/support/yy"


@pytest.mark.parametrize(
    ("policies", "reach"),
    [
        pytest.param([ALLOW], (3, 16), id="no policy says"),
        pytest.param([replace(ALLOW, max_delegation_depth=1)], (1, 16), id="how deep"),
        pytest.param([replace(ALLOW, max_children=2)], (3, 2), id="to how many"),
        pytest.param([replace(ALLOW, max_children=20)], (3, 20), id="to more than usual"),
        pytest.param(
            [
                replace(ALLOW, max_delegation_depth=2, max_children=2),
                replace(CONSTRAIN, max_delegation_depth=1, max_children=4),
            ],
            (1, 2),
            id="the least of each",
        ),
    ],
)
def test_a_yes_may_be_delegated_as_far_as_the_least_that_a_policy_says(
    policies: list[Policy], reach: tuple[int, int]
) -> None:
    decision = decide(policies)

    assert (decision.max_depth, decision.max_children) == reach
