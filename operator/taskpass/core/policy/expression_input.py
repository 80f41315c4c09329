"""What policies' expressions are asked about a request, and what they have answered.

Evaluating is a look-up like any other: the decision says what it still has to know (`Inquiry`), the
flow finds it out, and the answers come back with the next snapshot. Until then they are neither yes
nor no.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from taskpass.core.policy.types import Policy, PolicyVersion

FRESH = timedelta(seconds=30)
"""How long answers count within one reconcile: an expression may ask for `now`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the validations of one policy say of one request: all hold, unless something is set."""

    unmet: int | None = None
    """Number of the first validation that is false; it settles that the policy does not apply."""
    error: str = ""
    """Why there is no answer, in one line; '' where there is one."""
    invalid: bool = False
    """Whether the error is in the policy as it is written."""
    transient: bool = False
    """Whether there may be an answer later though nothing changed."""


Answers = Mapping[PolicyVersion, Answer]
NO_ANSWERS: Answers = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """Policies whose validations are to be evaluated on one request."""

    request: str
    phase: str
    values: Mapping[str, Any]
    """All of `core.policy_variables.FIELDS` but `now`, by name."""
    policies: tuple[Policy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came of an inquiry."""

    values: Mapping[str, Any]
    at: datetime
    """What `now` was."""
    answers: Answers

    def counts(self, values: Mapping[str, Any], now: datetime) -> bool:
        """Tell whether the answers are to these values, and fresh."""
        return abs(now - self.at) <= FRESH and self.values == values


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What is known of a policy's expressions."""

    error: str = ""
    """Why they cannot be used as they are written, in one line; '' where they can."""
    stopped: str = ""
    """Why they are not evaluated for now, in one line; '' where they are."""
