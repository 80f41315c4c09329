"""The demos as processes."""

import subprocess
import sys

from e2e.demo.documents import ROOT
from e2e.demo.stage import Stage

Done = subprocess.CompletedProcess[str]


def demo(stage: Stage, *options: str) -> Done:
    """Run a demo on the stage's cluster; return how it ended."""
    command = [sys.executable, "-m", "e2e.demo", *options, "--name", stage.name]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def told_by(done: Done) -> str:
    """Return what a demo printed that came out."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def too_wide(told: str) -> list[str]:
    """Return the lines that do not fit on a terminal."""
    return [line for line in told.splitlines() if len(line) > 100 and "KUBECONFIG" not in line]
