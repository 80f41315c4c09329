"""A token bucket with numbers that a person can check: 1,000 bytes at once, 864 a day."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from taskpass.core.rate_limit.budget import (
    Budget,
    Hold,
    Limit,
    Meter,
    Spending,
    charged,
    drained,
    free_at,
    share,
    used,
)

T0 = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
LIMIT = Limit(burst=1000, per_day=864)
"""A byte is given back every 100 s."""
NEVER_USED = Meter(used=0, at=T0)


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def budget(task: int = 0, namespace: int = 0, ahead: int = 0) -> Budget:
    return Budget(
        task=Meter(used=task, at=T0), task_limit=Limit(burst=100, per_day=864),
        namespace=Meter(used=namespace, at=T0), namespace_limit=Limit(burst=800, per_day=864),
        ahead=ahead,
    )  # fmt: skip


def test_what_is_used_is_given_back_a_byte_every_hundred_seconds() -> None:
    meter = charged(None, LIMIT, 10, T0)

    assert used(meter, LIMIT, later(99)) == 10
    assert used(meter, LIMIT, later(100)) == 9
    assert used(meter, LIMIT, later(950)) == 1
    assert used(meter, LIMIT, later(5000)) == 0


def test_looking_often_gives_back_as_much_as_looking_once() -> None:
    meter = Meter(used=10, at=T0)

    for second in range(1, 1000):
        meter = drained(meter, LIMIT, later(second))

    assert meter.used == 1


def test_small_charges_in_quick_succession_lose_nothing_that_is_given_back() -> None:
    meter = Meter(used=0, at=T0)

    for tenth in range(1, 1001):
        meter = charged(meter, LIMIT, 1, later(tenth / 10))

    assert used(meter, LIMIT, later(100.2)) == 999


def test_a_clock_that_goes_back_gives_nothing_back_and_stops_nothing_for_long() -> None:
    meter = drained(Meter(used=10, at=T0 + timedelta(days=365)), LIMIT, T0)

    assert meter.used == 10
    assert used(meter, LIMIT, later(100)) == 9


def test_it_is_known_when_there_is_room_again() -> None:
    full = Meter(used=1000, at=T0)

    assert free_at(NEVER_USED, LIMIT, 1000, T0) == T0
    assert free_at(full, LIMIT, 1, T0) == later(100)
    assert free_at(full, LIMIT, 20, T0) == later(2000)
    assert used(full, LIMIT, later(2000)) == 980
    assert free_at(full, LIMIT, 1001, T0) is None


def test_where_nothing_is_given_back_nobody_says_when() -> None:
    frozen = Limit(burst=1000, per_day=0)
    full = Meter(used=1000, at=T0)

    assert used(full, frozen, later(86_400)) == 1000
    assert free_at(full, frozen, 1, T0) is None


def test_what_was_used_while_nothing_was_given_back_is_not_given_back_afterwards() -> None:
    meter = drained(Meter(used=10, at=T0), Limit(burst=1000, per_day=0), later(1000))

    assert used(meter, LIMIT, later(1000)) == 10


def test_a_large_budget_over_many_years_is_counted_to_its_end() -> None:
    large = Limit(burst=1 << 50, per_day=1 << 40)

    assert used(Meter(used=1 << 50, at=T0), large, T0 + timedelta(days=3650)) == 0
    assert used(Meter(used=1 << 50, at=T0), large, T0 + timedelta(days=1)) == (1 << 50) - (1 << 40)


def test_a_higher_limit_counts_at_once() -> None:
    full = Meter(used=1000, at=T0)

    assert free_at(full, Limit(burst=2000, per_day=864), 1, T0) == T0


@pytest.mark.parametrize("spending", [each for each in Spending if each != Spending.RENEWAL])
def test_a_task_over_its_own_limit_begins_nothing(spending: Spending) -> None:
    assert budget(task=99).hold(spending, T0) is None
    assert budget(task=100).hold(spending, T0) == Hold(namespace=False, until=later(100))


def test_a_task_over_its_own_limit_is_renewed_all_the_same() -> None:
    assert budget(task=5000).hold(Spending.RENEWAL, T0) is None


def test_the_last_eighth_of_a_namespace_is_for_renewals() -> None:
    nearly, full = budget(namespace=700), budget(namespace=800)

    assert budget(namespace=699).hold(Spending.ISSUE, T0) is None
    assert nearly.hold(Spending.ISSUE, T0) == Hold(namespace=True, until=later(100))
    assert nearly.hold(Spending.RENEWAL, T0) is None
    assert full.hold(Spending.RENEWAL, T0) == Hold(namespace=True, until=later(100))


def test_who_comes_later_waits_for_those_before() -> None:
    found = budget(namespace=700, ahead=50).hold(Spending.ISSUE, T0)

    assert found == Hold(namespace=True, until=later(5100))


def test_a_full_volume_holds_everything_back_whatever_was_used() -> None:
    full = replace(budget(task=5000), namespace_limit=Limit(burst=0, per_day=0))

    for spending in Spending:
        assert full.hold(spending, T0) == Hold(namespace=True, until=None, full=True)


def test_each_namespace_has_its_share_of_what_the_volume_has_left() -> None:
    assert share(LIMIT, spare=100_000, tight=False, namespaces=10) == LIMIT
    assert share(LIMIT, spare=1600, tight=False, namespaces=2) == Limit(burst=400, per_day=864)
    assert share(LIMIT, spare=1600, tight=True, namespaces=2) == Limit(burst=400, per_day=0)
    assert share(LIMIT, spare=-1, tight=True, namespaces=0) == Limit(burst=0, per_day=0)


def test_on_a_tight_volume_all_namespaces_together_use_no_more_than_a_third_of_it() -> None:
    left, meters = 1_000_000, [Meter(used=0, at=T0)] * 7

    for round_ in range(1000):
        now = later(60 * round_)
        for index, meter in enumerate(meters):
            limit = share(Limit(burst=10**6, per_day=10**6), spare=left, tight=True, namespaces=7)
            if used(meter, limit, now) < limit.burst:
                meters[index] = charged(meter, limit, 100, now)
                left -= 100

    assert 660_000 < left < 670_000
