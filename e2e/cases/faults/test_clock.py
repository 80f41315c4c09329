"""The operator's clock is an hour behind, or a day ahead: the real process, under libfaketime.

Its certificates would then be refused, so it speaks plain HTTP to the proxy.
"""

import os
from pathlib import Path

import pytest

from e2e.cases.faults.test_ledger_volume import audit
from e2e.cluster import packages
from e2e.cluster.errors import ClusterFailed
from e2e.stage import Stage, until

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


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


def restart(stage: Stage, by: str) -> None:
    """Start the operator anew with its wall clock set off; its monotonic clock goes on."""
    stage.operator.stop()
    stage.operator.start(
        LD_PRELOAD=LIBRARY,
        FAKETIME=by,
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )


def test_an_hour_back_renews_what_is_held_and_ends_no_story_differently(
    stage: Stage, name: str
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)

    restart(stage, "-1h")
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


def test_a_day_ahead_lets_everything_run_out_and_leaves_nothing(stage: Stage, name: str) -> None:
    stage.begin_ready(name)
    token = stage.token(name)

    restart(stage, "+1d")
    until(lambda: stage.reads(token) != 200)
    until(lambda: not stage.accounts() and not stage.secrets())
    stage.wait_condition(
        name, "CredentialsIssued", "False", "ProviderUnavailable", saying="is over by this clock"
    )
    stage.operator.stop()
    stage.operator.start()
    fresh = f"{name}-fresh"
    stage.begin_ready(fresh)

    assert stage.reads(stage.token(fresh)) == 200
    assert audit(stage.operator, "verify")[0] == 0
