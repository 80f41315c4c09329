"""The third way: Kubernetes from its own modules, in namespaces of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from e2e.cluster import packages, places, tools, traces, versions
from e2e.cluster.api import Api
from e2e.cluster.errors import ClusterFailed
from e2e.cluster.layout import Layout, free_index, load
from e2e.cluster.prepare import prepare
from e2e.cluster.say import say, step

PATIENCE = 120.0
GONE_SECONDS = 1.0
"""How long nothing of a cluster must be seen to run before its start is given up."""
GARBAGE_PERCENT = "400"
"""Go's default of 100 spends an eighth of the API server's time on garbage; memory is plenty."""
NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def up(name: str, *, node: bool) -> Layout:
    """Return the running cluster of that name, started now if need be.

    What a killed starter or a crash left of it is taken away first. One that is a control plane
    alone is replaced where a node is wanted.
    """
    if os.geteuid() != 0:
        raise ClusterFailed("a local cluster needs root (namespaces, cgroups); or start kind")
    packages.need(versions.BASE_PACKAGES)
    if node:
        packages.need(versions.NODE_PACKAGES)
        tools.containerd()
        tools.pause()
    tools.kubernetes()
    directory = places.clusters() / name
    with places.locked(places.cache() / "locks" / f"{places.identity(directory)}.lock"):
        running = load(directory)
        if running and works(running) and (running.node or not node):
            return running
        traces.remove(directory)
        cluster = _claim(name, directory, node)
        with step(f"starting {name} ({'with' if node else 'without'} a node)", usually="15 s"):
            try:
                _start(cluster)
            except BaseException:
                _clear(directory)
                raise
        return cluster


def down(name: str) -> bool:
    """Take the cluster away with all it left; False if nothing of it was there."""
    directory = places.clusters() / name
    with places.locked(places.cache() / "locks" / f"{places.identity(directory)}.lock"):
        if not traces.left_of(directory):
            return False
        traces.remove(directory)
        return True


def works(cluster: Layout) -> bool:
    """Whether it was seen to work once, and answers now."""
    return cluster.ready.exists() and Api(cluster).ready()


def load_image(cluster: Layout, archive: Path) -> None:
    """Bring an OCI archive to the node, under the name that is written in it."""
    ctr = tools.containerd() / "ctr"
    with archive.open("rb") as file:
        done = _inside(cluster, str(ctr), "-n", "k8s.io", "images", "import", "-", stdin=file)
    if done.returncode:
        raise ClusterFailed(f"{archive} could not be imported: {done.stdout[-2000:]}")


def _clear(directory: Path) -> None:
    """Take away what a start that failed has left; why it failed is what is to be told first."""
    try:
        traces.remove(directory)
    except (ClusterFailed, OSError) as error:
        say(f"what was started could not be taken away: {error}")


def _claim(name: str, directory: Path, node: bool) -> Layout:
    """Record the cluster, and with it its addresses, before anything of it is made."""
    with places.locked(places.cache() / "locks" / "clusters.lock"):
        others = (load(path) for path in places.clusters().glob("*"))
        taken = {other.index for other in others if other} | _addressed()
        cluster = Layout(name=name, directory=directory, node=node, index=free_index(taken))
        cluster.save()
    return cluster


def _addressed() -> set[int]:
    """Return the indexes in use on this host's links, by whoever."""
    show = ["ip", "-oneline", "-4", "address"]
    lines = subprocess.run(show, capture_output=True, text=True, check=True).stdout.splitlines()
    addresses = [line.split()[3] for line in lines]
    prefix = versions.LINK_PREFIX + "."
    return {int(a.split(".")[2]) for a in addresses if a.startswith(prefix)}


def _start(cluster: Layout) -> None:
    prepare(cluster)
    if cluster.node:
        make_cgroups(cluster.cgroup)
    arguments = [str(cluster.directory), str(tools.kubernetes())]
    if cluster.node:
        arguments.append(str(tools.containerd()))
    with (cluster.logs / "init.log").open("w") as log:
        # It belongs to nobody from the start (setsid --fork), so it outlives this process. The
        # mark in its environment is how `down` finds it, also when nobody wrote down its id.
        init = [sys.executable, "-m", "e2e.cluster.init", *arguments]
        subprocess.run(
            ["setsid", "--fork", "unshare", *NAMESPACES, *init],
            cwd=places.ROOT,
            env={**os.environ, "GOGC": GARBAGE_PERCENT, traces.VARIABLE: cluster.identity},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
        )
    _attach(cluster)
    api = Api(cluster)
    _until(cluster, "the API server", api.ready)
    for path in sorted(cluster.config.glob("objects.yaml")):
        done = subprocess.run(
            [
                str(tools.kubectl()),
                "--kubeconfig",
                str(cluster.kubeconfig),
                "create",
                "-f",
                str(path),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ClusterFailed(f"the first objects could not be made: {done.stderr}")
    if cluster.node:
        load_image(cluster, tools.pause())
        _until(cluster, "the node", api.node_ready)
    cluster.ready.touch()


def _attach(cluster: Layout) -> None:
    """Link the host to the cluster's network; the other end vanishes with the namespace."""
    found: list[int] = []

    def seen() -> bool:
        init = traces.init_process(cluster.identity)
        found.extend([] if init is None else [init])
        return bool(found)

    _until(cluster, "init", seen)
    init, link = found[0], cluster.link
    for command in (
        ["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(init)],
        ["address", "add", f"{cluster.host_address}/30", "dev", link],
        ["link", "set", link, "up"],
    ):
        subprocess.run(["ip", *command], check=True)


def _until(cluster: Layout, what: str, seen: Callable[[], bool]) -> None:
    """Wait until `seen()`; what the components said last is in the error if it never is."""
    deadline = time.monotonic() + PATIENCE
    gone_since: float | None = None
    while not seen():
        now, runs = time.monotonic(), bool(traces.processes(cluster.identity))
        # One look that finds none proves nothing: what has just started another may have ended.
        gone_since = None if runs else gone_since or now
        if now > deadline or (gone_since and now > gone_since + GONE_SECONDS):
            tails = [
                f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}"
                for log in sorted(cluster.logs.glob("*.log"))
                if log != cluster.audit_log
            ]
            raise ClusterFailed(f"{what} did not come up\n" + "\n".join(tails))
        time.sleep(0.05)


def _inside(cluster: Layout, *command: str, stdin: IO[bytes]) -> subprocess.CompletedProcess[str]:
    """Run a command in the cluster's namespaces."""
    init = traces.init_process(cluster.identity)
    if init is None:
        raise ClusterFailed(f"{cluster.name} does not run")
    return subprocess.run(
        ["nsenter", "--target", str(init), "--mount", "--net", "--pid", *command],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def make_cgroups(name: str) -> None:
    """Make the cgroup that all pods of the cluster are put under."""
    root = traces.CGROUPS
    if (root / "cgroup.controllers").exists():  # version 2
        wanted = "+cpu +cpuset +memory +pids"
        (root / "cgroup.subtree_control").write_text(wanted)
        (root / name).mkdir()
        (root / name / "cgroup.subtree_control").write_text(wanted)
        return
    for hierarchy in sorted(path for path in root.iterdir() if (path / "tasks").exists()):
        group = hierarchy / name
        group.mkdir()
        for setting in ("cpuset.cpus", "cpuset.mems"):  # a new one may use none
            if (hierarchy / setting).exists():
                (group / setting).write_text((hierarchy / setting).read_text())
