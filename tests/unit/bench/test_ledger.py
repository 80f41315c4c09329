"""The ledger's benchmark says what it should. Its figures mean nothing here: the log is small."""

import json
from pathlib import Path

import pytest

from bench.ledger import main
from e2e.cluster import places


@pytest.mark.slow
def test_each_figure_has_its_floor_or_its_target_beside_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["--seconds", "0.2", "--entries", "3000"]) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    appends = [line for line in lines if line["figure"] == "ledger-append"]
    assert [line["callers"] for line in appends] == [1, 10, 100, 256]
    for line in appends:
        assert 0 < line["p50"] <= line["p99"]
        assert line["floor_entries_per_second"] > 0
    others = [line for line in lines if line["figure"] not in ("ledger-append", "result")]
    assert all(line["entries"] >= 3000 for line in others)
    assert lines[-1] == {"figure": "result", "ok": True, "failures": []}
    assert list(tmp_path.iterdir()) == []
    page = Path(places.ROOT, "bench/README.md").read_text()
    assert [line["figure"] for line in lines if f"`{line['figure']}`" not in page] == []
