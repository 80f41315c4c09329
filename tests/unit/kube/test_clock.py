"""The operator's clock follows where two of three agree: itself, the machine, the API server."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from taskpass.runtime.clock import SteadyClock

START = datetime(2027, 3, 1, 12, tzinfo=UTC)
NOTHING, HOUR, YEAR = timedelta(), timedelta(hours=1), timedelta(days=365)


class Clocks:
    """Three clocks that are off as a case says; the truth goes on by `passes`."""

    def __init__(self, machine: timedelta = NOTHING) -> None:
        self.true = START
        self.machine, self.server = machine, NOTHING
        self.slept = NOTHING
        self.steady = SteadyClock(
            lambda: self.true + self.machine,
            lambda: (self.true - START - self.slept).total_seconds(),
        )
        self.hear()

    def passes(self, seconds: float) -> None:
        """Let time pass, and an answer come."""
        self.true += timedelta(seconds=seconds)
        self.hear()

    def hear(self) -> None:
        self.steady.heard(format_datetime(self.true + self.server, usegmt=True))

    @property
    def off(self) -> timedelta:
        return self.steady.now() - self.true


@pytest.mark.parametrize("wrong", [-YEAR, -HOUR, HOUR, YEAR], ids=str)
def test_a_machine_whose_clock_is_wrong_from_the_start_is_told_by_the_first_answer(
    wrong: timedelta,
) -> None:
    clocks = Clocks(machine=wrong)

    clocks.passes(600)

    assert abs(clocks.off) <= timedelta(seconds=1)


@pytest.mark.parametrize("jump", [-YEAR, -HOUR, HOUR, YEAR], ids=str)
@pytest.mark.parametrize("whose", ["machine", "server"])
def test_one_clock_that_jumps_is_outvoted(whose: str, jump: timedelta) -> None:
    clocks = Clocks()
    clocks.passes(600)

    setattr(clocks, whose, jump)
    for _ in range(3):
        clocks.passes(60)

    assert abs(clocks.off) <= timedelta(seconds=1)


def test_a_machine_that_slept_catches_up_with_the_next_answer() -> None:
    clocks = Clocks()

    clocks.slept = timedelta(hours=8)
    clocks.true += timedelta(hours=8)
    behind = clocks.off
    clocks.passes(2)

    assert behind == -timedelta(hours=8)
    assert abs(clocks.off) <= timedelta(seconds=1)


def test_it_goes_on_where_no_answer_comes() -> None:
    clocks = Clocks()

    clocks.true += timedelta(days=1)

    assert clocks.off == NOTHING


def test_small_differences_do_not_move_it() -> None:
    clocks = Clocks()

    clocks.machine = clocks.server = timedelta(seconds=4)
    clocks.passes(60)

    assert clocks.off == NOTHING


@pytest.mark.parametrize("date", ["", "yesterday", "2027-03-01T12:00:00Z"])
def test_a_date_that_is_none_is_no_vote(date: str) -> None:
    clocks = Clocks()

    clocks.true += timedelta(seconds=10)
    clocks.steady.heard(date)

    assert clocks.off == NOTHING
