"""Where tests of crashes have the process die."""

import os
import signal
from pathlib import Path

import pytest

from taskpass.runtime.start import fail_point_of


@pytest.fixture
def died(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the process was sent."""
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _, number: sent.append(number))
    return sent


def test_the_process_dies_at_the_passage_that_is_named_and_never_again(
    tmp_path: Path, died: list[int]
) -> None:
    environment = {"FAILPOINT": "here#3", "FAILPOINT_ONCE": str(tmp_path / "once")}
    come_by = fail_point_of(environment)

    for step in ("here", "there", "here"):
        come_by(step)
    assert died == []
    come_by("here")
    fail_point_of(environment)("here")

    assert died == [signal.SIGKILL]


def test_a_trace_has_every_step_and_kills_nobody(tmp_path: Path, died: list[int]) -> None:
    come_by = fail_point_of({"FAILPOINT": "*", "FAILPOINT_ONCE": str(tmp_path / "trace")})

    for step in ("here", "there", "here"):
        come_by(step)

    assert (tmp_path / "trace").read_text().split() == ["here", "there", "here"]
    assert died == []
