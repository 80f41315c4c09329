"""What `make test` runs and prints; a shell plays make."""

import pytest

from hack.steps import main

SHELL = ("sh", "-c", 'echo "made $0"; case $0 in bad*) exit 3;; esac')


def test_targets_run_in_order_and_each_has_its_time(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["a", "b"], SHELL) == 0

    said = capfd.readouterr().out
    assert said.index("made a") < said.index("made b") < said.index("== times")
    assert said.splitlines()[-1] == "== all passed"


def test_nothing_runs_after_the_first_that_fails(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["a", "bad", "b", "--", "c"], SHELL) == 1

    said = capfd.readouterr().out
    assert "made b\n" not in said
    assert "made c\n" not in said
    assert said.splitlines()[-1] == "== FAILED: make bad"


def test_a_lane_that_fails_ends_alone_and_all_that_failed_is_named(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["a", "--", "bad1", "b", "--", "c", "bad2"], SHELL) == 1

    said = capfd.readouterr().out
    assert "made b\n" not in said
    assert "made c\n" in said
    assert said.splitlines()[-1] == "== FAILED: make bad1 bad2"


def test_what_a_quiet_lane_printed_is_shown_whole(capfd: pytest.CaptureFixture[str]) -> None:
    main(["a", "--", "quiet1", "quiet2", "--", "loud"], SHELL)

    assert (
        "\n== make quiet1\nmade quiet1\n\n== make quiet2\nmade quiet2\n" in capfd.readouterr().out
    )
