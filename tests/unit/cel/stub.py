"""A process that evaluates, and does what expressions tell it to: hang, end, answer rubbish.

The words are texts in expressions that are otherwise true, such as `'spin' != ''`.
"""

import os
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taskpass.cel import worker
from taskpass.cel.expressions import CelExpressions

ROOT = str(Path(__file__).parents[3])
CODE = "import sys; sys.path.insert(0, {!r}); from tests.unit.cel import stub; stub.main()"
COMMAND = (sys.executable, "-c", CODE.format(ROOT))
WORD = re.compile(r"'(\w+)' != ''")


def main() -> None:
    """Be the process, with an engine that obeys."""
    honest = worker.evaluate

    def evaluate(
        engine: CelExpressions, sources: Sequence[str], values: Mapping[str, Any]
    ) -> tuple[int | None, str]:
        for word in WORD.findall(" ".join(sources)):
            obey(word)
        return honest(engine, sources, values)

    worker.evaluate = evaluate
    worker.main()


def obey(word: str) -> None:
    """Do it."""
    match word:
        case "spin":
            while True:
                pass
        case "work":
            end = time.process_time() + 0.02
            while time.process_time() < end:
                pass
        case "hang":
            signal.pause()
        case "end":
            os._exit(7)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "memory":
            bytearray(1 << 40)
        case "rubbish":
            os.write(1, b"\0\0\0\4rub!")
        case "huge":
            os.write(1, b"\xff\xff\xff\xff")
        case "list":
            os.write(1, b"\0\0\0\2[]")
