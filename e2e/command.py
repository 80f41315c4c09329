"""The command line, as a person on a cluster runs it."""

import os
import subprocess
import sys
from collections.abc import Callable

from e2e.admission import ROOT

Run = Callable[..., tuple[int, str]]
"""Arguments to exit code and all that was printed."""


def taskpass(kubeconfig: str, *arguments: str) -> tuple[int, str]:
    """Run `taskpass` as the user of a kubeconfig; return exit code and all that it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "taskpass", *arguments], capture_output=True, text=True,
        cwd=ROOT / "operator", env={**os.environ, "KUBECONFIG": kubeconfig},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr
