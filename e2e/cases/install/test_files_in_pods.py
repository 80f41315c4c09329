"""How long a file stays in a pod: the benchmark, over a few of each kind, on a real node."""

import json
from pathlib import Path

import pytest

from bench.files import AGENTS, KINDS, beside, measure
from e2e.admission import SYSTEM, remove
from e2e.demo.stage import Stage
from e2e.stage import credential_class


def test_whatever_ends_it_the_file_goes_from_the_pod_and_comes_again(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_operator = beside(stage.cluster, tmp_path)

    try:
        for kind in KINDS:
            measure(with_operator, kind, 2 * AGENTS)
        held = with_operator.accounts(), with_operator.secrets()
    finally:
        with_operator.operator.stop()
        # The hook of an uninstall would wait for an operator in a pod.
        remove(stage.api, credential_class("tickets"))
        stage.helm("uninstall", "taskpass", "-n", SYSTEM, "--no-hooks", "--wait")

    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["kind"] for each in told] == ["suspended", "kill-switch", "task-deleted"]
    assert {each["n"] for each in told} == {2 * AGENTS}
    assert all(0 < each["p50"] <= each["p99"] for each in told)
    assert held == (set(), set())
