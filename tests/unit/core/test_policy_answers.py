"""Answers of policies' expressions count for what they were asked of, and for half a minute."""

from datetime import timedelta
from typing import Any

import pytest

from taskpass.core.policy.expression_input import Answered
from tests.unit.core.policies import NOW

ASKED = {"intent.goal": "Answer ticket 4711", "phase": "research"}
ANSWERED = Answered(values=ASKED, at=NOW, answers={})


@pytest.mark.parametrize(
    ("values", "seconds", "count"),
    [
        pytest.param(ASKED, 0, True, id="at once"),
        pytest.param(ASKED, 30, True, id="after half a minute"),
        pytest.param(ASKED, 31, False, id="later"),
        pytest.param(ASKED, -30, True, id="the clock went back by half a minute"),
        pytest.param(ASKED, -31, False, id="the clock went back by more"),
        pytest.param({**ASKED, "intent.goal": "Read mail"}, 0, False, id="the goal is another"),
        pytest.param({**ASKED, "phase": "reply"}, 31, False, id="another phase, and later"),
    ],
)
def test_an_answer_counts_for_the_same_values_within_half_a_minute(
    values: dict[str, Any], seconds: int, count: bool
) -> None:
    assert ANSWERED.counts(values, NOW + timedelta(seconds=seconds)) is count
