"""What one tenant makes the operator compute delays nobody else's revocation."""

import pytest

from e2e.admission import TARGET
from e2e.cases.fairness.tenants import FLOOD, Tenants
from e2e.impersonate import thing
from e2e.stage import request

TOOLS = [f"tool-{number}" for number in range(64)]
UNICODE = "intent.tools.all(t, !t.matches('" + "\\\\pL" * 80 + "'))"
DOTS = f"!intent.goal.matches('a{'.' * 45}c')"
GROUPS = "!('x' in task.requester.groups) && !('y' in task.changedBy.groups)"
MOST_SECONDS = 0.5
MOST_TIMES = 3
"""As long as the same takes where only the API server is flooded: what a busy machine may take."""
ENDS = 8


def in_time(took: list[float], usual: list[float]) -> bool:
    """Tell whether a revocation was delayed by nothing of what another tenant has computed."""
    print(f"refused after {max(took):.2f} s at most; beside ConfigMaps {max(usual):.2f} s")
    return max(took) < max(MOST_SECONDS, MOST_TIMES * max(usual))


def intent(tenants: Tenants) -> dict[str, object]:
    """Return what tasks of the flood declare: as long as may be, and slow to match."""
    return {"goal": "ab" * 512, "tools": TOOLS}


@pytest.mark.parametrize(
    ("expressions", "ready"),
    [
        pytest.param([UNICODE] * 3, "InvalidExpression", id="classes of Unicode, as once admitted"),
        pytest.param([DOTS] * 4, "Ready", id="the dearest that are admitted"),
        pytest.param(["intent.goal != 'x'"] * 16, "Ready", id="cheap ones, in a hundred policies"),
    ],
)
def test_expensive_policies_of_one_tenant_delay_nobody_elses_revocation(
    tenants: Tenants, expressions: list[str], ready: str
) -> None:
    usual = tenants.seconds_usually(ENDS // 2)
    many = 100 if len(expressions) == 16 else 8
    for number in range(many):
        tenants.mallory.create(tenants.allow(f"p-{number}", *expressions))
    said = tenants.told("p-0")
    tenants.crowd(10, intent=intent(tenants))

    def change(number: int) -> None:
        changed = [f"{each} && 'n{number}' != ''" for each in expressions]
        tenants.mallory.apply(tenants.allow(f"p-{number % many}", *changed))

    with tenants.flooding(change) as done:
        took = tenants.seconds_until_refused(ENDS)

    assert said["reason"] == ready
    assert done[0] > 10
    assert in_time(took, usual), (sorted(took), sorted(usual))
    assert tenants.stage.operator.http("/readyz")[0] == 200


def test_a_tenant_whose_tasks_are_decided_anew_without_end_delays_nobody_elses_revocation(
    tenants: Tenants,
) -> None:
    usual = tenants.seconds_usually(ENDS // 2)
    tenants.mallory.create(tenants.allow("p-0"))
    tenants.crowd(60)

    def change(number: int) -> None:
        body = tenants.allow("p-0")
        body["spec"]["limits"] = {"maxExpirationSeconds": 700 + number % 100}
        tenants.mallory.apply(body)

    with tenants.flooding(change) as done:
        took = tenants.seconds_until_refused(ENDS)

    assert done[0] > 10
    assert in_time(took, usual), (sorted(took), sorted(usual))


def test_a_task_as_large_as_may_be_is_decided_like_any_other(tenants: Tenants) -> None:
    usual = tenants.seconds_usually(ENDS // 2)
    tenants.mallory.create(tenants.allow("p-0", DOTS, GROUPS))
    asked = [request(f"c{number}", resources=[f"namespace/{TARGET}"]) for number in range(16)]
    [name] = tenants.crowd(1, intent=intent(tenants), credentials=asked)

    took = tenants.seconds_until_refused(ENDS)

    assert in_time(took, usual), (sorted(took), sorted(usual))
    assert tenants.stage.api.exists(thing("taskpass.dev/v1alpha1", "AgentTask", FLOOD, name))
