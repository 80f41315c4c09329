"""The first process of a local cluster's namespaces: `python -m e2e.cluster.init DIRECTORY …`.

It prepares mounts and network, starts the components, starts again what ends, and reaps what is
left to it. When it ends, however that happens, the kernel ends everything else in its namespace and
takes back mounts, network and the link to the host; nothing needs to be stopped in order.
"""

import contextlib
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from e2e.cluster import places
from e2e.cluster.components import Component, components
from e2e.cluster.layout import Layout, load

HIDDEN = ("/run", "/tmp", "/var/lib", "/var/log")
"""What a node writes to outside its directory; it sees directories of its own there."""
VOLUMES = Path("/tmp/hostpath_pv")
"""Where the controller manager's provisioner puts them; not ours to choose."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TICK = 0.05
PAUSE_BEFORE_RESTART = 0.5


def main(directory: str, kubernetes: str, containerd: str = "") -> None:
    """Run until killed."""
    cluster = load(Path(directory))
    if cluster is None:
        sys.exit(f"no cluster is recorded in {directory}")
    os.chdir("/")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    kept = [cluster.directory, Path(kubernetes), Path(sys.prefix), Path(sys.base_prefix)]
    kept += [places.ROOT, Path(containerd)] if containerd else [places.ROOT]
    if cluster.node:
        for path in HIDDEN:
            _hide(Path(path), cluster.hidden, kept)
    _network(cluster)
    engine = Path(containerd) if containerd else None
    os.environ["PATH"] = ":".join(filter(None, (containerd, kubernetes, PATH)))
    _supervise(cluster, components(cluster, Path(kubernetes), engine))


def _hide(path: Path, hidden: Path, kept: list[Path]) -> None:
    """Mount an empty directory of the cluster over `path`; what is kept below it stays visible."""
    substitute = hidden / path.relative_to("/")
    substitute.mkdir(parents=True)
    substitute.chmod(0o1777 if path.name == "tmp" else 0o755)
    for directory in {each.resolve() for each in kept}:
        if directory.is_relative_to(path):
            target = substitute / directory.relative_to(path)
            target.mkdir(parents=True, exist_ok=True)
            _run("mount", "--bind", str(directory), str(target))
    _run("mount", "--rbind", str(substitute), str(path))


def _network(cluster: Layout) -> None:
    """Bring up the loopback, and the link that the starter moves in here."""
    _run("ip", "link", "set", "lo", "up")
    show = ["ip", "link", "show", "eth0"]
    while subprocess.run(show, capture_output=True, check=False).returncode:
        time.sleep(TICK)
    _run("ip", "address", "add", f"{cluster.address}/30", "dev", "eth0")
    _run("ip", "link", "set", "eth0", "up")
    _run("ip", "route", "add", "default", "via", cluster.host_address)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _supervise(cluster: Layout, parts: list[Component]) -> None:
    running = {_start(cluster, part): part for part in parts if not part.waits}
    waiting = [part for part in parts if part.waits]
    again: list[tuple[float, Component]] = []
    while True:
        if waiting and _api_ready(cluster):
            running |= {_start(cluster, part): part for part in waiting}
            waiting = []
        for ended in _reaped():
            if part := running.pop(ended, None):
                print(f"{part.name} ended and is started again", flush=True)
                again.append((time.monotonic() + PAUSE_BEFORE_RESTART, part))
        due = [part for when, part in again if when <= time.monotonic()]
        again = [(when, part) for when, part in again if part not in due]
        running |= {_start(cluster, part): part for part in due}
        if cluster.node:
            _open_volumes()
        time.sleep(TICK)


def _open_volumes() -> None:
    """Let everybody write to new volumes, as other provisioners for one node do.

    The one in the controller manager makes directories that are root's alone, and `fsGroup` does
    not change volumes of its kind.
    """
    for volume in VOLUMES.glob("*"):
        with contextlib.suppress(FileNotFoundError):  # it was taken away just now
            if volume.stat().st_mode & 0o777 != 0o777:
                volume.chmod(0o777)


def _start(cluster: Layout, part: Component) -> int:
    log = str(cluster.logs / f"{part.name}.log")
    print(f"{time.monotonic():.2f} starting {part.name}", flush=True)
    return os.posix_spawn(
        part.command[0],
        part.command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def _reaped() -> list[int]:
    """Return the children, own or inherited, that ended since the last call."""
    ended: list[int] = []
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        ended.append(pid)


def _api_ready(cluster: Layout) -> bool:
    try:
        trust = ssl.create_default_context(cafile=str(cluster.pki / "ca.crt"))
        with urllib.request.urlopen(f"{cluster.server}/readyz", context=trust, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
