import pytest

from taskpass.expressions.cel import SIZES, CelExpressions
from taskpass.expressions.cost import units

ENVIRONMENT = CelExpressions()._environment


def cost(source: str) -> int:
    return units(ENVIRONMENT.compile(source).serialize(), SIZES)


def test_a_constant_costs_one_unit() -> None:
    assert cost("true") == 1


def test_a_call_costs_its_arguments_and_one_unit() -> None:
    assert cost("task.sponsor == ''") == 3


@pytest.mark.parametrize(
    ("loop", "items"),
    [
        ("intent.tools.all(x, true)", 64),
        ("task.requester.groups.all(x, true)", 512),
        ("['a', 'b', 'c'].all(x, true)", 3),
        ("{'a': 1}.all(x, true)", 512),
    ],
)
def test_a_loop_costs_its_body_for_each_of_the_most_items(loop: str, items: int) -> None:
    wider = loop.replace("true", "true && true && true")

    assert cost(wider) - cost(loop) == items * 4


def test_a_loop_in_a_loop_multiplies() -> None:
    assert cost("intent.tools.all(x, intent.tools.all(y, true))") > 64 * 64


@pytest.mark.parametrize(
    "pattern",
    ["'x{2}'", "intent.trustBoundary", f"'{'x' * 257}'"],
    ids=["counted", "field", "long"],
)
def test_a_difficult_pattern_costs_more_than_a_simple_one(pattern: str) -> None:
    assert cost(f"intent.goal.matches({pattern})") > 4000
    assert cost("intent.goal.matches('^x+$')") < 100


@pytest.mark.parametrize(
    "source",
    [
        "[intent.goal.matches('x{2}')] == []",
        "{intent.goal.matches('x{2}'): 1} == {}",
        "{'a': intent.goal.matches('x{2}')} == {}",
        "dyn({'a': intent.goal.matches('x{2}')}).a",
        "[1].all(x, intent.goal.matches('x{2}'))",
        "[intent.goal.matches('x{2}')].all(x, x)",
        "!intent.goal.matches('x{2}')",
        "true ? intent.goal.matches('x{2}') : false",
        "google.protobuf.BoolValue{value: intent.goal.matches('x{2}')} == true",
    ],
)
def test_nothing_hides_from_the_count(source: str) -> None:
    assert cost(source) > 4000


@pytest.mark.parametrize("raw", [b"\x12\x05ab", b"\xff", b"\x13"], ids=["short", "cut", "group"])
def test_bytes_that_are_no_expression_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut short|not known"):
        units(raw, SIZES)
