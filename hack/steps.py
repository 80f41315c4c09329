"""Run make targets, and say how long each took: `python3 hack/steps.py A B [-- C D -- E]`.

Those before the first `--` run one after the other; each group after it is a lane, and lanes run
side by side: what the first prints is kept until all are done, the last prints as it goes. A lane
ends with the first target that fails. Needs nothing but Python's standard library.
"""

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

MAKE = ("make", "--no-print-directory")


@dataclass
class Lane:
    """Targets one after the other."""

    targets: Sequence[str]
    aloud: bool
    """Whether they print as they go."""
    took: list[tuple[str, float]] = field(default_factory=list)
    failed: str = ""
    printed: list[str] = field(default_factory=list)
    make: Sequence[str] = MAKE

    def run(self) -> None:
        """Run until the end or the first failure."""
        for target in self.targets:
            self._tell(f"\n== make {target}")
            began = time.monotonic()
            done = subprocess.run(
                [*self.make, target], check=False, text=True,
                stdout=None if self.aloud else subprocess.PIPE,
                stderr=None if self.aloud else subprocess.STDOUT,
            )  # fmt: skip
            self.took.append((target, time.monotonic() - began))
            if done.stdout:
                self._tell(done.stdout.rstrip("\n"))
            if done.returncode:
                self.failed = target
                return

    def _tell(self, text: str) -> None:
        if self.aloud:
            print(text, flush=True)
        else:
            self.printed.append(text)


def main(arguments: list[str], make: Sequence[str] = MAKE) -> int:
    """Return 0 if every target passed, else 1."""
    first, *rest = _groups(arguments)
    began = time.monotonic()
    lanes = [Lane(first, aloud=True, make=make)]
    lanes[0].run()
    if not lanes[0].failed:
        beside = [Lane(group, aloud=group is rest[-1], make=make) for group in rest]
        _side_by_side(beside)
        lanes += beside
    print("\n== times")
    for target, seconds in itertools.chain.from_iterable(lane.took for lane in lanes):
        print(f"{seconds:8.1f} s  {target}")
    print(f"{time.monotonic() - began:8.1f} s  together")
    failed = [lane.failed for lane in lanes if lane.failed]
    said = f"FAILED: make {' '.join(failed)}" if failed else "all passed"
    print(f"== {said}", flush=True)
    return 1 if failed else 0


def _side_by_side(lanes: Iterable[Lane]) -> None:
    threads = [(threading.Thread(target=lane.run), lane) for lane in lanes]
    for thread, _ in threads:
        thread.start()
    for thread, lane in threads:
        thread.join()
        print("\n".join(lane.printed), flush=True)


def _groups(arguments: Iterable[str]) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    for each in arguments:
        if each == "--":
            groups.append([])
        else:
            groups[-1].append(each)
    return groups


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
