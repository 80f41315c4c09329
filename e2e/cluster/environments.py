"""What a process was started with, as /proc tells it: also in the middle of an exec.

Between the moment when a new program's memory takes the old one's place and the moment when its
environment is written there, `/proc/PID/environ` is empty. That is no answer: on a busy machine it
lasts long enough to be met at one start in sixteen. `/proc/PID/stat` tells the two apart
(proc_pid_stat(5)): the end of the code (27) and of the environment (51) are 0 until exec is done.
"""

import time
from pathlib import Path

PROC = Path("/proc")
PATIENCE = 10.0
PAUSE = 0.001
AFTER_NAME = 3
"""The first of the fields that follow the name, which may hold anything, is the third."""


def variables_of(pid: int, proc: Path = PROC) -> frozenset[bytes]:
    """Return `NAME=value` of each variable.

    Raises:
        OSError: It has ended, or is somebody else's.
        TimeoutError: It has been in the middle of an exec for ten seconds.

    """
    process = proc / str(pid)
    deadline = time.monotonic() + PATIENCE
    while True:
        before = _program_of(process)
        raw = (process / "environ").read_bytes()
        # Nothing, by a program that was there before and is there still: it has none.
        if raw or (before and before == _program_of(process)):
            return frozenset(raw.split(b"\0")) - {b""}
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} does not come to the end of its exec")
        time.sleep(PAUSE)


def _program_of(process: Path) -> tuple[str, ...]:
    """Return what tells one program of a process from the next; () in the middle of an exec."""
    text = (process / "stat").read_text(errors="replace")
    fields = text[text.rindex(")") + 2 :].split()
    state, size, code_end, start, end = (fields[n - AFTER_NAME] for n in (3, 23, 27, 50, 51))
    if state in "ZX" or size == "0":
        return ("without memory",)  # it has ended, or is the kernel's
    return () if code_end == "0" or end == "0" else (code_end, start, end)
