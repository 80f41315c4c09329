"""Examine and evaluate all validations of a policy: the same in the process beside, and in this."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taskpass.cel.expressions import CelExpressions, checked
from taskpass.core.errors import EvaluationFailed

MOST_MILLISECONDS = 20.0
"""Of all validations of a policy together."""
MOST_CHARACTERS = 8192
"""Of the same: compiling them takes up to 40 ms."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What evaluating a policy costs at most, and which fields it needs."""

    milliseconds: float
    fields: tuple[str, ...]


def examine(engine: CelExpressions, sources: Sequence[str], first: int = 0) -> Cost:
    """Return what a policy's validations cost together; `first` is the number of the first.

    Raises:
        ValueError: One cannot be used; says which, and why, in one line.

    """
    total, fields = 0.0, set[str]()
    for number, source in enumerate(sources, first):
        try:
            price = engine.compile(source).price
        except ValueError as error:
            raise ValueError(f"spec.validations[{number}].expression: {error}") from error
        total += price.milliseconds
        fields |= price.fields
    if said := too_much(sources, total):
        raise ValueError(said)
    return Cost(total, tuple(sorted(fields)))


def too_much(sources: Sequence[str], milliseconds: float) -> str | None:
    """Return what is too much for one policy, in one line; None where nothing is."""
    characters = sum(map(len, sources))
    if characters > MOST_CHARACTERS:
        return (
            f"spec.validations: must be at most {MOST_CHARACTERS} characters together, not "
            f"{characters}"
        )
    if milliseconds > MOST_MILLISECONDS:
        return (
            f"spec.validations: could take too long together: {milliseconds:.1f} ms by their "
            f"prices, and must be at most {MOST_MILLISECONDS:.0f} ms"
        )
    return None


def evaluate(
    engine: CelExpressions, sources: Sequence[str], values: Mapping[str, Any]
) -> tuple[int | None, str]:
    """Return the number of the first validation that is false, or why there is no answer.

    One that is false settles it, whatever fails beside it.
    """
    error = ""
    for number, source in enumerate(sources):
        try:
            compiled = engine.compile(source)
            if not compiled.answer(checked(values, compiled.price.fields)):
                return number, ""
        except (EvaluationFailed, ValueError) as failure:
            error = error or str(failure)
    return None, error
