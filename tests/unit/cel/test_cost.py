import pytest

from taskpass.cel.cost import EVALUATION, STEP, Price, price
from taskpass.cel.expressions import BY_NAME, CelExpressions

ENVIRONMENT = CelExpressions()._environment
SLOW = "intent.goal.contains(task.sponsor)"
ITS_PRICE = 1_900


def whole(source: str) -> Price:
    return price(ENVIRONMENT.compile(source).serialize(), BY_NAME)


def cost(source: str) -> int:
    return whole(source).units


def test_a_constant_costs_an_evaluation_and_little_else() -> None:
    assert cost("true") == EVALUATION + 2


@pytest.mark.parametrize(
    ("loop", "items"),
    [
        ("intent.tools.all(x, true)", 64),
        ("task.requester.groups.all(x, true)", 512),
        ("['a', 'b', 'c'].all(x, true)", 3),
        ("{'a': 1, 'b': 2}.all(x, true)", 2),
        ("agent.podLabels.all(x, true)", 256),
    ],
)
def test_a_loop_costs_its_body_for_each_of_the_most_items(loop: str, items: int) -> None:
    wider = loop.replace("true", "true && true && true")

    assert cost(wider) - cost(loop) == items * 2 * (2 + 6)


def test_a_loop_in_a_loop_multiplies() -> None:
    assert cost("intent.tools.all(x, intent.tools.all(y, true))") > 64 * 64 * STEP


def test_what_a_list_of_lists_holds_is_counted_through_loops() -> None:
    groups = "task.requester.groups"
    outer = f"[{groups}, {groups}].all(x, x == {groups})"

    assert cost(outer) > 2 * (cost(f"{groups} == {groups}") - cost(f"{groups}.size() > 0"))


def test_the_fields_that_it_names_are_those_that_it_is_given() -> None:
    for source, fields in (
        ("true", set()),
        ("intent.goal == ''", {"intent.goal"}),
        (".intent.goal == ''", {"intent.goal"}),
        ("agent.podLabels.app == phase", {"agent.podLabels", "phase"}),
        ("has(agent.podLabels.app)", {"agent.podLabels"}),
        ("intent.tools.all(t, t in request.actions)", {"intent.tools", "request.actions"}),
        ("now.getHours() > 4", {"now"}),
        ("intent.tools.all(phase, phase == '')", {"intent.tools"}),
    ):
        assert whole(source).fields == fields


@pytest.mark.parametrize(
    "source",
    [
        f"[{SLOW}] == []",
        f"{{{SLOW}: 1}} == {{}}",
        f"{{'a': {SLOW}}} == {{}}",
        f"dyn({{'a': {SLOW}}}).a",
        f"[1].all(x, {SLOW})",
        f"[{SLOW}].all(x, x)",
        f"!{SLOW}",
        f"true ? {SLOW} : false",
        f"google.protobuf.BoolValue{{value: {SLOW}}} == true",
    ],
)
def test_nothing_hides_from_the_count(source: str) -> None:
    assert cost(SLOW) > ITS_PRICE
    assert cost(source) > ITS_PRICE


@pytest.mark.parametrize("raw", [b"\x12\x05ab", b"\xff", b"\x13"], ids=["short", "cut", "group"])
def test_bytes_that_are_no_expression_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut short|not known"):
        price(raw, BY_NAME)
