"""What every `ports.Evaluator` must do, whatever it evaluates with."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from taskpass.core.policy.expression_input import Answer, Examined, Inquiry
from taskpass.core.policy.types import Effect, Policy, Validation
from taskpass.core.policy.variables import values_of
from taskpass.ports.policies import Evaluator
from tests.unit.core.policies import ALLOW, CLASS, QUESTION

VALUES = values_of(QUESTION, CLASS)
NAMESPACE = "support"


class Still:
    """A clock whose wall stands still."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds


def asking(name: str, *sources: str, effect: Effect = Effect.ALLOW) -> Policy:
    """Return a policy with validations."""
    validations = tuple(Validation(expression=each, message="m") for each in sources)
    return replace(ALLOW, name=name, uid=f"p-{name}", effect=effect, validations=validations)


def inquiry(*policies: Policy, request: str = "tickets", **values: Any) -> Inquiry:
    """Return policies to be asked of one request."""
    merged = {**VALUES, **{name.replace("__", "."): value for name, value in values.items()}}
    return Inquiry(request=request, phase="", values=merged, policies=policies)


async def answers_of(
    evaluator: Evaluator, *policies: Policy, **values: Any
) -> Mapping[str, Answer]:
    """Return what policies answered, by name."""
    [answered] = await evaluator.evaluate(NAMESPACE, [inquiry(*policies, **values)])
    return {policy.name: answered.answers[policy.version] for policy in policies}


async def answer_of(evaluator: Evaluator, *sources: str, **values: Any) -> Answer:
    """Return what one policy answered."""
    name = f"one-{hash(sources)}"
    return (await answers_of(evaluator, asking(name, *sources), **values))[name]


class EvaluatorSuite:
    """Subclasses bring a fixture `evaluator`."""

    async def test_validations_that_hold_leave_nothing_to_say(self, evaluator: Evaluator) -> None:
        assert await answer_of(evaluator, "true", "task.sponsor == 'support-platform'") == Answer()

    async def test_the_first_that_is_false_is_told_by_its_number(
        self, evaluator: Evaluator
    ) -> None:
        assert await answer_of(evaluator, "true", "phase == 'x'", "false") == Answer(unmet=1)

    async def test_one_that_is_false_settles_it_whatever_fails_before(
        self, evaluator: Evaluator
    ) -> None:
        fails = "request.actions[7] == 'x'"

        assert await answer_of(evaluator, fails, "false") == Answer(unmet=1)
        assert await answer_of(evaluator, fails, "true") == Answer(
            error="Index error: index=7 size=1"
        )

    @pytest.mark.parametrize(
        ("source", "error"),
        [
            ("task.sponser == ''", "undeclared reference"),
            ("'yes'", "must be true or false"),
            ("intent.goal.matches(phase)", "must be written there"),
            ("intent.tools.all(a, intent.tools.all(b, a == b))", "could take too long"),
        ],
    )
    async def test_what_does_not_compile_says_where_and_why(
        self, evaluator: Evaluator, source: str, error: str
    ) -> None:
        answer = await answer_of(evaluator, "true", source)

        assert (answer.invalid, answer.transient, answer.unmet) == (True, False, None)
        assert answer.error.startswith("spec.validations[1].expression: ")
        assert error in answer.error

    async def test_a_policy_may_not_ask_for_too_much_in_all(self, evaluator: Evaluator) -> None:
        dear = "'x' in task.requester.groups && 'y' in task.changedBy.groups"
        long = f"phase != '{'x' * 4000}'"

        slow = await answer_of(evaluator, *[dear] * 16)
        huge = await answer_of(evaluator, long, long, long)

        assert slow.invalid
        assert slow.error.startswith("spec.validations: could take too long together: ")
        assert huge.error.startswith("spec.validations: must be at most 8192 characters together")

    async def test_what_compiles_is_known_after_it_was_asked(self, evaluator: Evaluator) -> None:
        good, bad = asking("good", "true"), asking("bad", "nonsense")
        await answers_of(evaluator, good, bad)

        known = evaluator.examined(bad)

        assert evaluator.examined(good) == Examined()
        assert known is not None
        assert known.error.startswith("spec.validations[0].expression: line 1, column 1: ")

    async def test_each_request_is_answered_by_its_own_values(self, evaluator: Evaluator) -> None:
        policy = asking("one", "request.name == 'a'")
        inquiries = [
            inquiry(policy, request=name, **{"request__name": name}) for name in ("a", "b", "a")
        ]

        answered = await evaluator.evaluate(NAMESPACE, inquiries)

        assert [each.answers[policy.version] for each in answered] == [
            Answer(), Answer(unmet=0), Answer(),
        ]  # fmt: skip
        assert [each.values for each in answered] == [each.values for each in inquiries]

    async def test_the_time_is_that_of_the_evaluation(self, evaluator: Evaluator) -> None:
        [answered] = await evaluator.evaluate(
            NAMESPACE, [inquiry(asking("one", "now == timestamp('2026-01-02T03:04:05Z')"))]
        )

        assert list(answered.answers.values()) == [Answer()]
        assert answered.at == Still().now()

    async def test_every_kind_of_value_arrives_as_it_is(self, evaluator: Evaluator) -> None:
        source = (
            "intent.data == [{'name': 'é', 'classification': 'Public'}]"
            " && intent.tools == ['a', '']"
            " && agent.podLabels == {'k': 'v'} && class.maxExpirationSeconds == 9223372036854775807"
            " && intent.goal.size() == 1024"
        )

        said = await answer_of(
            evaluator,
            source,
            intent__data=[{"name": "é", "classification": "Public"}],
            intent__tools=("a", ""),
            agent__podLabels={"k": "v"},
            class__maxExpirationSeconds=2**63 - 1,
            intent__goal="\N{GRINNING FACE}" * 1024,
        )

        assert said == Answer()

    @pytest.mark.parametrize(
        "values",
        [
            pytest.param({"intent__goal": "x" * 1025}, id="too long"),
            pytest.param({"intent__goal": 7}, id="of another type"),
            pytest.param({"intent__goal": "\ud800"}, id="no text"),
        ],
    )
    async def test_a_value_that_is_too_large_or_no_text_is_not_looked_at(
        self, evaluator: Evaluator, values: dict[str, Any]
    ) -> None:
        answer = await answer_of(evaluator, "intent.goal != ''", **values)

        assert answer.unmet is None
        assert "too large to be looked at" in answer.error
