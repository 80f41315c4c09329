"""A line in which every tenant has its turn."""

from taskpass.core.rate_limit.fair_queue import FairQueue


def filled(**tenants: int) -> FairQueue[str]:
    """Return a line into which tenants have put so many, one after the other."""
    line: FairQueue[str] = FairQueue()
    for tenant, count in tenants.items():
        for number in range(count):
            line.put(tenant, f"{tenant}{number}")
    return line


def drained(line: FairQueue[str]) -> list[str]:
    """Return all that waits, in the order in which it is taken."""
    found = []
    while (item := line.take()) is not None:
        found.append(item)
    return found


def test_tenants_take_turns_and_each_ones_own_keep_their_order() -> None:
    assert drained(filled(a=3, b=1, c=2)) == ["a0", "b0", "c0", "a1", "c1", "a2"]


def test_who_comes_last_waits_for_one_of_each_tenant_at_most() -> None:
    line = filled(a=1000, b=1000)
    line.put("c", "c0")

    assert drained(line).index("c0") == 2


def test_who_may_not_have_a_turn_now_is_passed_over_and_loses_none() -> None:
    line = filled(a=2, b=1)

    assert line.take(lambda tenant: tenant != "a") == "b0"
    assert line.take(lambda tenant: tenant != "a") is None
    assert drained(line) == ["a0", "a1"]
    assert not line
