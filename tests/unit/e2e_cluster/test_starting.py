"""A start that fails says why, and one that only seems to have failed goes on."""

from pathlib import Path

import pytest

from e2e.cluster import local, places, tools, traces
from e2e.cluster.errors import ClusterFailed
from e2e.cluster.layout import Layout


@pytest.fixture
def cluster(tmp_path: Path) -> Layout:
    made = Layout(name="one", directory=tmp_path / "one", node=False, index=7)
    made.save()
    made.logs.mkdir()
    return made


def test_one_look_that_finds_no_process_does_not_end_a_start(
    cluster: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([[], [4702], [], [4703], []])
    monkeypatch.setattr(traces, "processes", lambda _: next(looks))
    answers = iter([False, False, False, False, True])

    local._until(cluster, "init", lambda: next(answers))

    assert list(answers) == []


def test_a_start_of_which_nothing_runs_any_more_is_given_up_with_what_was_said_last(
    cluster: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "processes", lambda _: [])
    monkeypatch.setattr(local, "GONE_SECONDS", 0.0)
    (cluster.logs / "init.log").write_text("there is no etcd\n")

    with pytest.raises(ClusterFailed, match=r"(?s)init did not come up.*there is no etcd"):
        local._until(cluster, "init", lambda: False)


def test_what_cannot_be_taken_away_after_it_does_not_hide_why_a_start_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Layout) -> None:
        raise ClusterFailed("the API server did not come up")

    def stay(directory: Path) -> None:
        if directory.exists():
            raise ClusterFailed("this would not go: {'processes': ['4702', '4703']}")

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(local.packages, "need", lambda _: None)
    monkeypatch.setattr(tools, "kubernetes", lambda: Path("/k"))
    monkeypatch.setattr(local, "_addressed", set)
    monkeypatch.setattr(places, "clusters", lambda: tmp_path)
    monkeypatch.setattr(places, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(local, "_start", fail)
    monkeypatch.setattr(traces, "remove", stay)

    with pytest.raises(ClusterFailed, match="the API server did not come up"):
        local.up("one", node=False)

    assert "could not be taken away: this would not go" in capsys.readouterr().err
