"""A copy of the tree as mutmut wants it: sources in `src/`, tests beside them, its settings.

mutmut knows a mutant by its file's path, which must be the path of the module, and knows `src/`
alone as a folder that is not part of it. So it works on a copy, where `operator/` is `src/`, and
the tree stays as it is.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MUTMUT = str(Path(sys.executable).parent / "mutmut")

MUTATED = (
    "core/policy/*.py",
    "core/lifecycle/attestation.py",
    "core/lifecycle/ownership.py",
    "core/lifecycle/pod.py",
    "flows/task/attest.py",
)
"""What is mutated, below `taskpass/`: what policies say, and who is the agent."""
TESTS = (
    *(f"tests/unit/core/test_policy{part}.py"
      for part in ("", "_answers", "_broken", "_limits", "_reach", "_subjects", "_variables")),
    *(f"tests/unit/core/test_{name}.py"
      for name in ("attestation", "attested_again", "ownership", "lifecycle", "lifecycle_grants",
                   "lifecycle_pod", "lifecycle_new_pod", "lifecycle_looks", "lifecycle_sight")),
    *(f"tests/simulation/test_{name}.py"
      for name in ("pods", "templates", "approval_origin", "policy_decides", "evaluation",
                   "happy_path", "cannot_tell", "suspension", "workload_ends_first",
                   "missing_task")),
    "tests/unit/flows/test_attest.py",
)  # fmt: skip
"""Those that are about it, and end in seconds: each mutant meets all of them that reach it."""
LEFT_ALONE = (
    r'^\s*"[^"]* [^"]*"[,)]*$',  # a piece of a sentence: how it is worded decides nothing
    r"return Field\(",  # run while the module is imported, before there is a mutant
)
"""Lines as regular expressions."""
SETTINGS = {
    "source_paths": ["src"],
    "only_mutate": [f"src/taskpass/{each}" for each in MUTATED],
    "also_copy": ["crds", "docs"],
    "do_not_mutate_patterns": list(LEFT_ALONE),
    "pytest_add_cli_args": ["-m", "not slow", "-p", "no:cacheprovider"],
    "pytest_add_cli_args_test_selection": list(TESTS),
    # Every mutant begins in a process in which no test has run.
    "process_isolation": "forkserver",
    "use_git_change_detection": False,
    # A mutant has these seconds and what its tests take without it, so many times over.
    "timeout_constant": 5.0,
    "timeout_multiplier": 5.0,
}


class Workplace:
    """A directory in which mutmut runs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = directory / "log"
        self._environment = {**os.environ, "PYTHONHASHSEED": "0"}  # the order of a mutant's tests
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "operator", directory / "src", ignore=leave)
        for name in ("tests", "crds", "docs"):
            shutil.copytree(ROOT / name, directory / name, ignore=leave)
        settings = "\n".join(f"{key} = {json.dumps(value)}" for key, value in SETTINGS.items())
        project = (ROOT / "pyproject.toml").read_text().replace('"operator"', '"src"')
        (directory / "pyproject.toml").write_text(f"{project}\n[tool.mutmut]\n{settings}\n")

    def run(self, only: str, children: int, seconds: float) -> str:
        """Try mutants out for so long at most; return what mutmut said where it failed, else ''."""
        command = [MUTMUT, "run", "--max-children", str(children), *([only] if only else ())]
        with self._log.open("w") as log:
            process = subprocess.Popen(
                command, cwd=self._directory, env=self._environment, start_new_session=True,
                stdout=log, stderr=log,
            )  # fmt: skip
            try:
                code = process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                code = 0  # what it did not come to is said by `fates`
            finally:
                # Its workers are of its group.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return re.sub(r"[^\n]*\r", "", self._log.read_text())[-3000:] if code else ""

    def fates(self) -> dict[str, str]:
        """Return what became of each mutant, by its name, in mutmut's words."""
        listed = re.findall(r"^ +(\S+): (.+)$", self._ask("results", "--all", "true"), re.MULTILINE)
        return dict(listed)

    def diff_of(self, mutant: str) -> str:
        """Return how a mutant's function differs from ours, with three lines around."""
        return self._ask("show", mutant)

    def _ask(self, *arguments: str) -> str:
        return subprocess.run(
            [MUTMUT, *arguments], cwd=self._directory, env=self._environment, check=True,
            capture_output=True, text=True,
        ).stdout  # fmt: skip
