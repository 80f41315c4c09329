"""Who evaluates policies' expressions."""

from collections.abc import Sequence
from typing import Protocol

from taskpass.core.policy.evaluate import Policy
from taskpass.core.policy.expression_input import Answered, Examined, Inquiry


class Evaluator(Protocol):
    """Evaluates policies' expressions: whatever they are, nothing waits but what asks."""

    async def evaluate(self, namespace: str, inquiries: Sequence[Inquiry]) -> Sequence[Answered]:
        """Return the answers to each inquiry, one for each of its policies.

        Never fails: what cannot be evaluated is an answer that says so. Namespaces take turns.
        """

    @property
    def revision(self) -> tuple[int, int]:
        """Return what is another whenever `examined` may say something else of a policy."""

    def examined(self, policy: Policy) -> Examined | None:
        """Return what is known of a policy; None: not yet, and it is going to be found out."""
