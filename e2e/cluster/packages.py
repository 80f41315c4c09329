"""Debian packages that are missing are installed where this may be done, and named where not."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from e2e.cluster.errors import ClusterFailed
from e2e.cluster.places import cache, locked
from e2e.cluster.say import say, step

LOCK_NAME = "packages.lock"


def need(packages: Mapping[str, str]) -> None:
    """Return once every package's file is there.

    Raises:
        ClusterFailed: One is missing, and this is not root on a Debian-like machine.
    """
    if not missing(packages):
        return
    wanted = missing(packages)
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *wanted]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ClusterFailed(
            f"this needs the packages {', '.join(wanted)}: as root, {' '.join(command)}"
        )
    with (
        locked(cache() / LOCK_NAME),
        step(f"installing Debian packages: {' '.join(wanted)}", usually="20 s"),
    ):
        if _apt(command) != 0 and (_apt(["apt-get", "update"]) or _apt(command)):
            raise ClusterFailed(f"{' '.join(command)} failed; its own words are above")


def missing(packages: Mapping[str, str]) -> list[str]:
    """Return the packages whose file is not there, in order of name."""
    return sorted(name for name, file in packages.items() if not Path(file).exists())


def _apt(command: list[str]) -> int:
    done = subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        say(f"{command[0]} {command[1]}: {done.stderr.strip()[-800:]}")
    return done.returncode
