"""What processes and the machine use, from /proc."""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import places, traces

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return what a process has used since its start; 0.0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def workers_of(pid: int) -> list[int]:
    """Return the processes that a process has begun and that are there."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(each) for task in tasks for each in (task / "children").read_text().split()]
    except OSError:
        return []


def memory_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    text = next(line for line in lines if line.startswith("VmRSS:"))
    return round(int(text.split()[1]) / 1024, 1)


def busy_seconds() -> float:
    """Return what all cores have worked since the machine's start."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    idle, waiting = fields[3], fields[4]
    return (sum(fields[:8]) - idle - waiting) / TICKS


@dataclass(frozen=True)
class Reading:
    """What was used up to a moment, in seconds of CPU."""

    at: float
    machine: float
    parts: Mapping[str, float]

    @classmethod
    def now(cls, cluster: str, **processes: int) -> "Reading":
        """Read the cluster of that name, and processes by name and id."""
        mark = places.identity(places.clusters() / cluster)
        parts = {name: cpu_seconds(pid) for name, pid in processes.items()}
        parts["cluster"] = _together(traces.processes(mark))
        return cls(time.monotonic(), busy_seconds(), parts)

    def cores_until(self, later: "Reading") -> dict[str, float]:
        """Return how many cores each part used in between, and all others on the machine."""
        seconds = later.at - self.at
        used = {name: later.parts[name] - self.parts[name] for name in self.parts}
        others = later.machine - self.machine - sum(used.values())
        return {n: round(max(0.0, s) / seconds, 2) for n, s in {**used, "others": others}.items()}


def _together(pids: Iterable[int]) -> float:
    return sum(cpu_seconds(pid) for pid in pids)
