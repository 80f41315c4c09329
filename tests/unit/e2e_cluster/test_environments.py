"""An environment that is not there yet is not taken for one that is empty."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster import environments
from e2e.cluster.environments import variables_of

MARK = b"MARK=of-a-test"


@pytest.fixture
def restless(tmp_path: Path) -> Iterator[int]:
    """Return a process that does nothing but exec itself."""
    script = tmp_path / "again.sh"
    script.write_text('exec /bin/sh "$0"\n')
    with subprocess.Popen(["/bin/sh", str(script)], env={"MARK": "of-a-test"}) as process:
        yield process.pid
        process.kill()


def test_a_process_in_the_middle_of_an_exec_has_its_environment(restless: int) -> None:
    emptied = 0
    deadline = time.monotonic() + 30
    while emptied < 20 and time.monotonic() < deadline:
        # That the moment was met at all is what makes this a test.
        emptied += not Path(f"/proc/{restless}/environ").read_bytes()

        assert MARK in variables_of(restless)

    assert emptied == 20


def test_a_process_without_an_environment_has_none() -> None:
    with subprocess.Popen(["/bin/sleep", "60"], env={}) as process:
        assert variables_of(process.pid) == set()

        process.kill()


def test_a_process_that_has_ended_and_was_not_reaped_is_an_error_of_the_system() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], env={"MARK": "of-a-test"}) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        with pytest.raises(ProcessLookupError):
            variables_of(process.pid)


def test_a_process_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        variables_of(1, tmp_path)


def test_one_that_does_not_come_to_an_end_of_its_exec_is_neither_yes_nor_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = ["R", *("1" for _ in range(4, 53))]
    fields[51 - 3] = "0"
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text(f"7 (a ) name) {' '.join(fields)}\n")
    (tmp_path / "7" / "environ").touch()
    monkeypatch.setattr(environments, "PATIENCE", 0.0)

    with pytest.raises(TimeoutError, match="process 7"):
        variables_of(7, tmp_path)
