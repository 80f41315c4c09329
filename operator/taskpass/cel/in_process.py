"""Expressions evaluated in this process: for commands on files, and for simulated worlds."""

from collections.abc import Mapping, Sequence
from typing import Any

from taskpass.cel.answering import evaluate, examine
from taskpass.cel.expressions import CelExpressions
from taskpass.core.policy.expression_input import Answer, Answered, Answers, Examined, Inquiry
from taskpass.core.policy.types import CompiledPolicy, Policy, Question
from taskpass.core.policy.variables import values_of
from taskpass.ports.clock import Clock


class DirectEvaluator:
    """`ports.Evaluator` without a process beside, and so without its bounds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._engine = CelExpressions()

    async def evaluate(self, _: str, inquiries: Sequence[Inquiry]) -> Sequence[Answered]:
        """See `ports.Evaluator`."""
        now = self._clock.now()
        return [
            Answered(
                values=each.values,
                at=now,
                answers=self.answers(each.policies, {**each.values, "now": now}),
            )
            for each in inquiries
        ]

    def answers_to(self, question: Question, policies: Sequence[CompiledPolicy]) -> Answers:
        """Return what the validations of all policies say of one question."""
        credential_class = question.credential_class
        if credential_class is None:
            return {}
        values = {**values_of(question, credential_class), "now": self._clock.now()}
        return self.answers([each.policy for each in policies], values)

    def answers(self, policies: Sequence[Policy], values: Mapping[str, Any]) -> Answers:
        """Return what the validations of policies say; `values` are all fields, by name."""
        return {policy.version: self._answer(policy, values) for policy in policies}

    @property
    def revision(self) -> tuple[int, int]:
        """See `ports.Evaluator`."""
        return 0, 0

    def examined(self, policy: Policy) -> Examined:
        """See `ports.Evaluator`."""
        try:
            examine(self._engine, sources_of(policy))
        except ValueError as error:
            return Examined(error=str(error))
        return Examined()

    def _answer(self, policy: Policy, values: Mapping[str, Any]) -> Answer:
        if error := self.examined(policy).error:
            return Answer(error=error, invalid=True)
        unmet, error = evaluate(self._engine, sources_of(policy), values)
        return Answer(unmet=unmet, error=error)


def sources_of(policy: Policy) -> list[str]:
    """Return the expressions of a policy, in their order."""
    return [validation.expression for validation in policy.validations]
