"""The process that evaluates policies' expressions: `python -s -P -m taskpass.cel.worker`.

It is given a message on its standard input, and answers policy by policy on its standard output, so
that whoever waits knows at which one it is when it takes too long. It holds nothing that is worth
having: a clean environment, no descriptor but the two, and limits that it sets on itself before it
reads anything. It ends when its input does.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import orjson

from taskpass.cel.answering import evaluate, examine
from taskpass.cel.expressions import CelExpressions
from taskpass.cel.frames import LENGTH, encoded, length_of

MOST_MEMORY = 256 * 1024 * 1024
"""Bytes of address space: 40 MiB are the interpreter and the engine, 55 what is kept compiled."""
MOST_SECONDS = 3
"""Of CPU for one message, should nobody be there to stop it."""
MOST_FILES = 16
"""Time zones are read from files."""
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    """Answer until the input ends."""
    confine()
    engine = CelExpressions()
    engine.compile("true")
    _write({"ready": True})
    while (message := _read()) is not None:
        spent = sum(os.times()[:2])
        resource.setrlimit(resource.RLIMIT_CPU, (int(spent) + MOST_SECONDS, -1))
        for answer in answers(engine, message):
            _write(answer)


def answers(engine: CelExpressions, message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the answer to each part of a message, in their order."""
    for number, source in message.get("examine", ()):
        yield _examined(engine, number, source)
    now = datetime.fromisoformat(message["now"]) if "now" in message else None
    sets = [{**values, "now": now} for values in message.get("values", ())]
    for number, sources in message.get("evaluate", ()):
        unmet, error = evaluate(engine, sources, sets[number])
        yield {"unmet": unmet, "error": error}


def _examined(engine: CelExpressions, number: int, source: str) -> dict[str, Any]:
    """Return what the expression of that number in its policy costs, or why it cannot be used."""
    started = time.process_time()
    try:
        cost = examine(engine, [source], number)
    except ValueError as error:
        return {"error": str(error)}
    compiling = (time.process_time() - started) * 1000
    return {"price": cost.milliseconds, "fields": cost.fields, "compiling": compiling}


def confine() -> None:
    """Give up all that evaluating does not need; what a system does not know is left out."""
    for name, limit in (
        ("RLIMIT_AS", MOST_MEMORY),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_NPROC", 0),
        ("RLIMIT_NOFILE", MOST_FILES),
        ("RLIMIT_MEMLOCK", 0),
    ):
        with contextlib.suppress(ValueError, OSError, AttributeError):
            resource.setrlimit(getattr(resource, name), (limit, limit))
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # Ctrl-C is the operator's; we end with our input
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # before the operator


def _read() -> Any:
    header = _exactly(LENGTH.size)
    if header is None:
        return None
    body = _exactly(length_of(header))
    return None if body is None else orjson.loads(body)


def _exactly(size: int) -> bytes | None:
    parts, left = [], size
    while left:
        part = os.read(0, min(left, 1 << 20))
        if not part:
            return None
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _write(message: Mapping[str, Any]) -> None:
    rest = memoryview(encoded(message))
    while rest:
        rest = rest[os.write(1, rest) :]


if __name__ == "__main__":
    main()
