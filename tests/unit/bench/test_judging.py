"""What the benchmark makes of what it saw, and what fails a run."""

import asyncio

import pytest

from bench.figures import percentile, spread
from bench.gauge import Reading
from bench.life import NOTHING_LEFT, Life, Moment, times
from bench.load import at_rate, forget, judge


class Judged:
    """A stage that only remembers what failed."""

    def __init__(self, *lives: Life) -> None:
        self.failures: list[str] = []
        self.witness = self
        self.lives = {life.name: life for life in lives}

    def fail(self, text: str) -> None:
        self.failures.append(text)


def test_two_credentials_of_a_task_at_once_fail_the_run() -> None:
    life = Life("b-1")
    life.hold("g-1")
    life.hold("g-1")
    one_at_a_time = life.doubled
    life.hold("g-2")
    stage = Judged(life)

    forget(stage, [life])  # type: ignore[arg-type]

    assert not one_at_a_time
    assert stage.failures == ["1 tasks held two credentials at once, such as b-1"]


def test_a_task_that_ends_otherwise_fails_the_run() -> None:
    life = Life("b-1", outcome="Failed")
    stage = Judged(life)

    judge(stage, [life])  # type: ignore[arg-type]

    assert stage.failures == ["1 tasks did not end as Succeeded; b-1: Failed"]


async def test_a_life_that_is_lost_fails_the_run_and_not_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.load.PATIENCE", 0.05)
    lives = [Life("b-1"), Life("b-2")]
    stage = Judged(*lives)

    async def play(life: Life) -> None:
        life.mark(Moment.EXISTS)
        await asyncio.sleep(10 if life.name == "b-1" else 0)
        life.mark(Moment.SECRET)

    await at_rate(stage, lives, 1000, play)  # type: ignore[arg-type]

    assert stage.failures == ["b-1 is lost (TimeoutError: ); seen: exists"]
    assert len(times(lives, Moment.EXISTS, Moment.SECRET)) == 1


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(each) for each in range(1, 201)]

    assert [percentile(values, share) for share in (50, 95, 99)] == [100, 190, 198]
    assert percentile([7.0], 99) == 7.0


def test_no_values_have_no_percentile() -> None:
    assert spread([]) == {}
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_a_spread_is_in_milliseconds() -> None:
    assert spread([0.01, 0.02]) == {"p50": 10.0, "p95": 20.0, "p99": 20.0, "max": 20.0}


def test_a_time_counts_until_the_last_of_its_moments() -> None:
    life = Life("b-1")
    life.at = {Moment.ENDED: 10.0, Moment.BINDING_GONE: 10.5, Moment.ACCOUNT_GONE: 10.25}

    before = life.took(Moment.ENDED, *NOTHING_LEFT)
    life.at[Moment.SECRET_GONE] = 11.0

    assert before is None
    assert life.took(Moment.ENDED, *NOTHING_LEFT) == 1.0


def test_what_others_use_is_what_is_left_of_the_machine() -> None:
    before = Reading(0.0, 100.0, {"operator": 1.0, "cluster": 5.0})
    after = Reading(10.0, 115.0, {"operator": 2.0, "cluster": 11.0})

    assert before.cores_until(after) == {"operator": 0.1, "cluster": 0.6, "others": 0.8}
