"""When a credential is renewed, and what of a task's credentials is the newest."""

from dataclasses import replace
from datetime import timedelta

import pytest

from taskpass.core.lifecycle.renewal import current, renewal_of, renewal_time
from taskpass.core.model.grant import Grant, GrantState
from tests.simulation.builders import T0, request
from tests.unit.core.snapshots import ASKING, grant_of

MINUTE = timedelta(seconds=60)
LATER = T0 + timedelta(seconds=10)


def due(grant: Grant, deadline: int | None = None, at: float = 10) -> float | None:
    """Return when it is due in seconds after T0; the least that can be issued is a minute."""
    end = None if deadline is None else T0 + timedelta(seconds=deadline)
    moment = renewal_time(grant, end, MINUTE, T0 + timedelta(seconds=at))
    return None if moment is None else (moment - T0).total_seconds()


def of_task(number: int) -> Grant:
    return grant_of(task=replace(ASKING.ref, uid=f"task-{number}"))


def test_it_comes_at_two_thirds_of_the_lifetime_give_or_take_a_twelfth() -> None:
    moments = [due(of_task(number)) for number in range(2000)]

    assert all(m is not None and 525 <= m <= 675 for m in moments)
    assert sum(m for m in moments if m is not None) / len(moments) == pytest.approx(600, abs=5)
    assert min(m for m in moments if m is not None) < 530
    assert max(m for m in moments if m is not None) > 670


def test_what_a_task_was_given_together_is_renewed_together() -> None:
    assert due(grant_of(request("kb"))) == due(grant_of(request("tickets")))


def test_a_lifetime_that_the_issuer_shortened_counts() -> None:
    short = grant_of(expires_at=T0 + timedelta(seconds=90))

    assert 52 < (due(short) or 0) < 68


def test_a_lifetime_that_looks_longer_than_asked_for_is_a_clock_that_is_behind() -> None:
    assert due(grant_of(expires_at=T0 + timedelta(hours=2))) == due(grant_of())


@pytest.mark.parametrize(("seconds_ahead", "at_once"), [(61, True), (59, False)])
def test_what_was_issued_in_the_future_is_renewed_at_once(
    seconds_ahead: int, at_once: bool
) -> None:
    before = T0 - timedelta(seconds=seconds_ahead)

    moment = renewal_time(grant_of(), None, MINUTE, before)

    assert (moment == before) == at_once


@pytest.mark.parametrize(
    "grant",
    [
        pytest.param(grant_of(state=GrantState.ISSUED), id="not delivered yet"),
        pytest.param(grant_of(state=GrantState.REVOKING), id="being revoked"),
        pytest.param(grant_of(expires_at=None), id="without an end"),
    ],
)
def test_only_what_is_in_front_of_the_pod_is_renewed(grant: Grant) -> None:
    assert due(grant) is None


@pytest.mark.parametrize(
    ("deadline", "moment"),
    [
        pytest.param(900, None, id="what reaches the deadline needs no renewal"),
        pytest.param(904, None, id="nor what reaches it but for an issuer's rounding"),
        pytest.param(5000, due(grant_of()), id="a deadline that is far changes nothing"),
        pytest.param(650, None, id="what outlasts it neither"),
    ],
)
def test_the_deadline_ends_renewals(deadline: int, moment: float | None) -> None:
    assert due(grant_of(), deadline) == moment


def test_the_last_renewal_comes_while_the_shortest_lifetime_still_fits() -> None:
    tenth = timedelta(seconds=600)

    moment = renewal_time(grant_of(), T0 + timedelta(seconds=1100), tenth, LATER)
    late = renewal_time(
        grant_of(), T0 + timedelta(seconds=1100), tenth, T0 + timedelta(seconds=501)
    )

    assert moment == T0 + timedelta(seconds=1100 - 600 - 10)
    assert late is None  # a renewal now would outlast the deadline


def test_the_newest_of_a_name_is_the_one_that_no_other_renews() -> None:
    first, other = grant_of(), grant_of(request("kb"))
    second = grant_of(id="g-a", renews=first.id, renewals=1)
    third = grant_of(id="g-z", renews=second.id, renewals=2)

    assert current([third, first, other, second]) == {"kb": other, "tickets": third}
    assert list(current([third, other])) == ["kb", "tickets"]


def test_a_renewal_counts_once_it_is_in_front_of_the_pod() -> None:
    first = grant_of()
    issued = grant_of(id="g-2", renews=first.id, delivered_at=None, state=GrantState.ISSUED)
    delivered = replace(issued, delivered_at=LATER, state=GrantState.DELIVERED)

    assert renewal_of(first, [first, issued]) is None
    assert renewal_of(first, [first, delivered]) == delivered
    assert renewal_of(delivered, [first, delivered]) is None


def test_the_last_renewal_is_the_last() -> None:
    end = T0 + timedelta(seconds=665)
    shortest = grant_of(lifetime_seconds=600, expires_at=T0 + timedelta(seconds=600))

    before = renewal_time(replace(shortest, issued_at=T0), end, timedelta(seconds=600), T0)
    again = renewal_time(
        replace(shortest, issued_at=before, expires_at=T0 + timedelta(seconds=655)),
        end, timedelta(seconds=600), T0 + timedelta(seconds=55),
    )  # fmt: skip

    assert before == T0 + timedelta(seconds=55)
    assert again is None
