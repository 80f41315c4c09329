"""Clocks that are wrong, the machine's, the API server's, or both: the process under libfaketime.

Certificates would be refused by a wrong clock, so the operator speaks plain HTTP to the proxy,
which also moves the date of the API server's answers. What two of three say is the time; the third
is how long the process has run.
"""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from e2e.cases.faults.proxy import Proxy
from e2e.cases.faults.test_ledger_volume import audit
from e2e.cluster import packages
from e2e.cluster.errors import ClusterFailed
from e2e.stage import Stage, until

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
STEADY = {
    "LD_PRELOAD": LIBRARY,
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "PYTHONPATH": str(Path(__file__).parent / "without_uvloop"),
}
HOUR, DAY, YEAR = timedelta(hours=1), timedelta(days=1), timedelta(days=365)


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    """Have libfaketime, or skip."""
    if not Path(LIBRARY).exists() and os.uname().machine == "x86_64":
        try:
            packages.need({"libfaketime": LIBRARY})
        except ClusterFailed as error:
            pytest.skip(f"NOT RUN: {error}")
    if not Path(LIBRARY).exists():
        pytest.skip("NOT RUN: no libfaketime for this machine")


def restart(stage: Stage, by: timedelta, proxy: Proxy | None = None) -> None:
    """Start the operator anew with the machine's clock set off; the API server's too, by the proxy.

    Its monotonic clock goes on.
    """
    stage.operator.stop()
    if proxy is not None:
        proxy.ahead = by.total_seconds()
    stage.operator.start(FAKETIME=_offset(by), **STEADY)


def _offset(by: timedelta) -> str:
    return f"{by.total_seconds():+.0f}s"


def assert_nothing_happened(stage: Stage, name: str, token: str) -> None:
    """Assert that a task holds what it held, and that another begins and ends as ever."""
    fresh = f"{name}-fresh"
    stage.begin_ready(fresh)
    stage.end(fresh)
    stage.wait_finished(fresh, "Succeeded")
    stage.wait_ready(name)
    assert stage.token(name) == token
    assert stage.reads(token) == 200
    assert stage.task(name)["status"]["grants"][0].get("renewals", 0) == 0
    assert audit(stage.operator, "verify")[0] == 0


@pytest.mark.parametrize("by", [-YEAR, -HOUR, HOUR, YEAR], ids=str)
def test_a_machine_whose_clock_is_wrong_takes_nothing_and_lets_nothing_live_longer(
    stage: Stage, name: str, by: timedelta
) -> None:
    restart(stage, by)

    stage.begin_ready(name, activeDeadlineSeconds=600)
    assert_nothing_happened(stage, name, stage.token(name))

    stage.operator.stop()
    stage.operator.start()
    assert stage.reads(stage.token(name)) == 200


@pytest.mark.parametrize("by", [-YEAR, YEAR], ids=str)
@pytest.mark.parametrize("whose", ["the machine's", "the API server's"])
def test_one_clock_that_jumps_while_it_runs_takes_nothing(
    stage: Stage, name: str, proxy: Proxy, tmp_path: Path, whose: str, by: timedelta
) -> None:
    told = tmp_path / "time"
    told.write_text("+0s")
    stage.operator.stop()
    stage.operator.start(FAKETIME_TIMESTAMP_FILE=str(told), FAKETIME_NO_CACHE="1", **STEADY)
    stage.begin_ready(name, activeDeadlineSeconds=600)
    token = stage.token(name)

    if whose == "the machine's":
        told.write_text(_offset(by))
    else:
        proxy.ahead = by.total_seconds()

    assert_nothing_happened(stage, name, token)
    stage.operator.stop()


def test_an_hour_back_by_both_renews_what_is_held_and_ends_no_story_differently(
    stage: Stage, name: str, proxy: Proxy
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)

    restart(stage, -HOUR, proxy)
    until(lambda: stage.token(name) != token)
    until(lambda: stage.reads(token) != 200)
    renewed = stage.token(name)
    fresh = f"{name}-fresh"
    stage.begin_ready(fresh)
    kept = stage.reads(renewed)
    for each in (name, fresh):
        stage.end(each)
        stage.wait_finished(each, "Succeeded")

    assert kept == 200
    assert stage.reads(token) != 200
    assert audit(stage.operator, "verify")[0] == 0
    stage.operator.stop()


def test_a_day_ahead_by_both_lets_everything_run_out_and_leaves_nothing(
    stage: Stage, name: str, proxy: Proxy
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)

    restart(stage, DAY, proxy)
    until(lambda: stage.reads(token) != 200)
    until(lambda: not stage.accounts() and not stage.secrets())
    stage.wait_condition(
        name, "CredentialsIssued", "False", "ProviderUnavailable", saying="is over by this clock"
    )
    stage.operator.stop()
    proxy.heal()
    stage.operator.start()
    fresh = f"{name}-fresh"
    stage.begin_ready(fresh)

    assert stage.reads(stage.token(fresh)) == 200
    assert audit(stage.operator, "verify")[0] == 0
