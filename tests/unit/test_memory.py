"""The operator's memory is in no file, and no process of its user looks into it."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: it asks Linux")
KEEP = "from taskpass.runtime.process_memory import keep_private; keep_private()"
SHOW = "import ctypes, resource; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit"
SHOW += "(resource.RLIMIT_CORE))"


def test_it_cannot_be_dumped_or_looked_into() -> None:
    said = subprocess.run(
        [sys.executable, "-c", f"{KEEP}; {SHOW}"], capture_output=True, text=True, check=True
    )

    assert said.stdout.split() == ["0", "0", "0"]


def test_an_abort_that_leaves_a_core_otherwise_leaves_none(tmp_path: Path) -> None:
    if not os.WCOREDUMP(aborted("pass", tmp_path)):
        pytest.skip("NOT RUN: this machine writes no cores at all")

    kept = aborted(KEEP, tmp_path)

    assert os.WIFSIGNALED(kept)
    assert not os.WCOREDUMP(kept)


def aborted(before: str, folder: Path) -> int:
    """Return how a process ended that aborts itself, with cores allowed."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    limits = f"import os, resource; resource.setrlimit(resource.RLIMIT_CORE, ({hard}, {hard}))"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{limits}; {before}; os.abort()"],
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return status
