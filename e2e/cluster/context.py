"""The first way: a context of the user's kubeconfig, only when it was named."""

import shutil
import subprocess
from pathlib import Path

from e2e.cluster import tools
from e2e.cluster.errors import ClusterFailed


def kubeconfig(name: str, directory: Path) -> Path:
    """Return a kubeconfig that holds this context and no other, copied from the user's."""
    program = shutil.which("kubectl") or str(tools.kubectl())
    done = subprocess.run(
        [program, "config", "view", "--raw", "--minify", "--flatten", "--context", name],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ClusterFailed(f"the context {name!r} cannot be used: {done.stderr.strip()}")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = directory / "kubeconfig"
    target.touch(mode=0o600)
    target.write_text(done.stdout)
    return target
