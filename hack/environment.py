"""Make the Python environment: `python3 hack/environment.py DIRECTORY`.

Needs nothing but Python's standard library. Every package is pinned with its hash in
requirements/*.lock. The stamp `.ready` is written last, so an interrupted run is repeated.
"""

import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
OLDEST = (3, 11)


def main(directory: str) -> None:
    """Create or refresh `directory`; packages that no longer are in the locks stay installed."""
    if sys.version_info < OLDEST:
        sys.exit("Python 3.11 or later is needed; say which with PYTHON=python3.11")
    began = time.monotonic()
    target = pathlib.Path(directory).resolve()
    python = target / "bin" / "python"
    print(f"environment: {directory} with Python {sys.version.split()[0]} …", flush=True)
    if not python.exists():
        _run(sys.executable, "-m", "venv", str(target), hint="apt-get install python3-venv")
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    _run(*pip, "--require-hashes", "-r", str(ROOT / "requirements" / "dev.lock"))
    # hatchling and editables are in the lock: nothing is fetched for the build.
    _run(*pip, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    (target / ".ready").touch()
    print(f"environment: ready after {time.monotonic() - began:.0f} s", flush=True)


def _run(*command: str, hint: str = "") -> None:
    """Run or end this program with the command's own words."""
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit(f"environment: failed: {' '.join(command)}" + (f" (try: {hint})" if hint else ""))


if __name__ == "__main__":
    main(*sys.argv[1:])
