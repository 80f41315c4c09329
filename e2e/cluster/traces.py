"""What a cluster leaves on the machine while it runs, found by its mark; and how it is taken away.

Nothing here relies on process ids written down earlier: they may be missing after a crash, or mean
another process by now. Every process of a cluster has its mark in its environment.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from e2e.cluster import places
from e2e.cluster.environments import variables_of
from e2e.cluster.errors import ClusterFailed

VARIABLE = "TASKPASS_CLUSTER"
CGROUPS = Path("/sys/fs/cgroup")
PATIENCE = 30.0


def processes(identity: str) -> list[int]:
    """Return the processes that carry the mark (containers do not; they end with their init).

    Raises:
        ClusterFailed: One does not say what it is.
    """
    mark = f"{VARIABLE}={identity}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                marked = mark in variables_of(int(entry.name))
            except TimeoutError as error:  # neither yes nor no
                raise ClusterFailed(str(error)) from error
            except OSError:
                continue  # it ended just now, or is somebody else's
            if marked:
                found.append(int(entry.name))
    return sorted(found)


def init_process(identity: str) -> int | None:
    """Return the first process of the cluster's namespace, as the host numbers it."""
    for pid in processes(identity):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
        if len(numbers) > 2 and numbers[-1] == "1":
            return pid
    return None


def component(identity: str, name: str) -> int | None:
    """Return the process of a component such as `kubelet`, as the host numbers it."""
    for pid in processes(identity):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[1:2] == [name.encode()]:
            return pid
    return None


def cgroups(name: str) -> list[Path]:
    """Return the cluster's cgroups in every hierarchy (version 1) or the only one (version 2)."""
    return sorted(path for path in (*CGROUPS.glob(f"*/{name}"), CGROUPS / name) if path.is_dir())


def mounts(directory: Path) -> list[str]:
    """Return the mount points of this namespace that lie in `directory`, innermost first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((p for p in points if Path(p).is_relative_to(directory)), reverse=True)


def links(name: str) -> list[str]:
    """Return the host's end of the cluster's link, if it is there."""
    return [name] if Path("/sys/class/net", name).exists() else []


def left_of(directory: Path) -> dict[str, list[str]]:
    """Return all that is there of the cluster kept in `directory`, by what it is."""
    mark = places.identity(directory)
    everything = {
        "processes": [str(pid) for pid in processes(mark)],
        "links": links(f"tp{mark}"),
        "cgroups": [str(path) for path in cgroups(f"taskpass-{mark}")],
        "mounts": mounts(directory),
        "files": [str(directory)] if directory.exists() else [],
    }
    return {what: found for what, found in everything.items() if found}


def kill(identity: str) -> list[int]:
    """Kill every process with the mark; return those that there were."""
    found = processes(identity)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):  # they end one another
            os.kill(pid, signal.SIGKILL)
    return found


def remove(directory: Path) -> None:
    """Take away everything that `left_of` finds; nothing there is success.

    Raises:
        ClusterFailed: Something would not go within half a minute.
    """
    mark = places.identity(directory)
    deadline = time.monotonic() + PATIENCE
    # Twice none: what was started during the first look may be missing from it.
    while found := kill(mark) + kill(mark):
        _wait(deadline, f"processes {found}")
    for link in links(f"tp{mark}"):
        subprocess.run(["ip", "link", "delete", link], capture_output=True, check=False)
    while left := [group for group in cgroups(f"taskpass-{mark}") if not _cgroup_removed(group)]:
        _wait(deadline, f"cgroups {[str(path) for path in left]}")
    for point in mounts(directory):
        subprocess.run(["umount", "--lazy", point], check=False)
    if directory.exists():
        shutil.rmtree(directory)
    if left_over := left_of(directory):
        raise ClusterFailed(f"this would not go: {left_over}")


def _cgroup_removed(top: Path) -> bool:
    """Remove a cgroup and those in it; False while a process that ends is still counted."""
    for path, _, _ in os.walk(top, topdown=False):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _wait(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise ClusterFailed(f"these would not go: {what}")
    time.sleep(0.05)
