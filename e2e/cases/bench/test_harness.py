"""The benchmark runs, says what it should, and leaves nothing.

Its figures mean nothing here: two tasks a second for five seconds, and eight that live at once.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.stage import OURS
from e2e.cluster import places
from e2e.impersonate import Api

FIGURES = {
    "machine", "cores", "credential-there", "gate-lifted", "access-gone", "access-refused",
    "nothing-left", "said-finished", "issued-again", "api-calls-per-task", "cpu-per-task",
    "work-per-task", "cpu-ratio", "left", "memory",
    "end-refused", "end-access-gone", "end-secret-gone", "end-api-calls",
    "family-ends", "family-access-gone", "decided-again",
    "begun", "restart", "policy-ends-access", "policy-ends-all", "cleared", "audit-verify",
    "result",
}  # fmt: skip


@pytest.fixture(scope="module")
def lines(control_plane: str) -> list[dict[str, Any]]:
    """Return what a short run printed."""
    command = [
        sys.executable, "-m", "bench", "--kubeconfig", control_plane,
        "--rates", "2", "--seconds", "5", "--live", "8", "--ends", "2", "--family", "6",
    ]  # fmt: skip
    path = f"{places.ROOT}{os.pathsep}{places.ROOT / 'operator'}"
    done = subprocess.run(
        command, cwd=places.ROOT, env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_figure_is_one_line_of_json(lines: list[dict[str, Any]]) -> None:
    assert {line["figure"] for line in lines} == FIGURES
    assert lines[-1] == {"figure": "result", "ok": True, "failures": []}


def test_every_task_is_counted_with_its_floor_beside_it(lines: list[dict[str, Any]]) -> None:
    there = next(line for line in lines if line["figure"] == "credential-there")

    assert there["n"] == 10
    assert 0 < there["p50"] <= there["p95"] <= there["p99"] <= there["max"]
    assert 0 < there["floor_p50"] <= there["floor_p99"]


def test_the_floor_makes_the_calls_that_the_operator_makes(lines: list[dict[str, Any]]) -> None:
    calls = next(line for line in lines if line["figure"] == "api-calls-per-task")["by_call"]

    for call in ("create rolebindings", "create serviceaccounts/token", "create secrets"):
        assert calls[call] == pytest.approx(1, abs=0.2), call
    assert 14 < sum(calls.values()) < 25


def test_nothing_is_left(lines: list[dict[str, Any]]) -> None:
    counted = [line for line in lines if line["figure"] == "left"]

    assert len(counted) == 5
    for line in counted:
        assert {k: n for k, n in line.items() if k not in ("figure", "after") and n} == {}


@pytest.mark.usefixtures("lines")
def test_the_cluster_keeps_nothing_that_would_allow_anyone_anything(control_plane: str) -> None:
    assert [each for each in OURS if Api.from_kubeconfig(control_plane).exists(each)] == []


def test_the_page_of_figures_names_every_figure() -> None:
    page = Path(places.ROOT, "bench/README.md").read_text()

    assert [name for name in sorted(FIGURES) if f"`{name}`" not in page] == []
