"""Kill writers of one ledger, again and again: `python crashing.py LEDGER ROUNDS SEED`.

Each round forks a writer that commits from several tasks at once and is killed (SIGKILL) at a
fail-point, or at any moment. After each round the file is verified. Printed as JSON at the end:
what the writers were told is durable.
"""

import asyncio
import json
import os
import random
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from taskpass.core.audit import events as audit
from taskpass.core.lifecycle.records import TaskRecord
from taskpass.ledger.verify.log import verify_database
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects

WRITERS = 5
POINTS = ("ledger.before-commit", "ledger.after-commit", "any moment")


def main(path: Path, rounds: int, seed: int) -> None:
    """Run the rounds; this process has no threads of its own, so that it may fork."""
    chance = random.Random(seed)
    told: dict[str, int] = {}
    size = 0
    for number in range(rounds):
        point, after = POINTS[number % len(POINTS)], chance.randrange(1, 9)
        told_now = _round(path, number, point, after, chance.random())
        told |= told_now
        report = verify_database(path)
        assert report.size > max(told.values(), default=-1)
        assert report.size >= size
        size = report.size
    print(json.dumps(told))


def _round(path: Path, number: int, point: str, after: int, fraction: float) -> dict[str, int]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            asyncio.run(_write(path, number, point, after, writing))
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        first = answers.readline()
        if point == "any moment" and first:
            time.sleep(fraction * 0.02)  # the moment itself is what the round is about
            os.kill(child, signal.SIGKILL)
        lines = (first + answers.read()).decode().splitlines(keepends=True)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"round {number} ended by itself"
    whole = [line.split() for line in lines if line.endswith("\n")]
    return {name: int(index) for name, index in whole}


async def _write(path: Path, number: int, point: str, after: int, out: int) -> None:
    reached = 0

    def fail(name: str) -> None:
        nonlocal reached
        reached += name == point
        if reached >= after:
            os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()

    ledger = objects.opened(path, fail_point=fail)

    async def one(writer: int) -> None:
        for i in range(100_000):
            name = f"{number}.{writer}.{i}"
            entries = tuple(objects.entry(f"{name}.{n}") for n in range(1 + i % 5 * 4))
            record = TaskRecord(task=replace(objects.TASK, uid=name))
            refused = audit.attestation_failed(
                record.task, "pod", f"pod-{name}", "NotOwned", objects.NOW, objects.notice("No")
            )
            indexes = await ledger.commit(Batch(entries=(refused, *entries), tasks=(record,)))
            os.write(out, f"{name} {indexes[-1]}\n".encode())

    await asyncio.gather(*(one(writer) for writer in range(WRITERS)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
