"""What one life may cost, and a measure of this machine to compare its CPU with."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

BUDGET: dict[str, Any] = json.loads(Path(__file__).with_name("budget.json").read_text())
"""`calls` and `transactions` of one task alone, counted; the calls that are `shared` with all tasks
of the same two seconds; the most `reconciles`; and the most CPU of a life at ten tasks a second
(operator and workers), as a multiple of `calibration`."""
WORK = 4_000
OBJECT = {"kind": "AgentTask", "metadata": {"name": "a", "labels": {"x": "y"}}, "n": [1, 2, 3]}


def calibration() -> float:
    """Return the milliseconds of CPU that a fixed piece of Python's work takes here, now."""
    began, text = time.process_time(), ""
    for _ in range(WORK):
        text = hashlib.sha256((text + json.dumps(OBJECT, sort_keys=True)).encode()).hexdigest()
    return 1000 * (time.process_time() - began)
