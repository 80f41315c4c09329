"""Whoever follows docs/providers/write-one.md has a provider that passes the contract suite."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.demo.documents import ROOT, fenced

PAGE = ROOT / "docs/providers/write-one.md"
SUITE = ROOT / "tests/contract/provider_suite.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the page's files, word for word."""
    for block in fenced(PAGE, "python"):
        name, _, text = block.removeprefix("# ").partition("\n")
        assert re.fullmatch(r"\w+\.py", name), "a block does not begin with its file's name"
        (tmp_path / name).write_text(text)
    return tmp_path


def run(folder: Path, *command: str) -> str:
    """Run a Python module over the folder; return what it printed. It must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{folder}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_pages_provider_passes_every_test_of_the_suite(folder: Path) -> None:
    promises = len(re.findall(r"^    (?:async )?def test_", SUITE.read_text(), re.MULTILINE))

    said = run(
        folder, "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto",
        "--rootdir", str(folder), "test_keys.py",
    )  # fmt: skip

    assert f"{promises} passed" in said


def test_the_pages_code_keeps_the_rules_of_ours(folder: Path) -> None:
    run(folder, "ruff", "check", "--config", str(ROOT / "pyproject.toml"), "provider.py")
    run(folder, "mypy", "--strict", "provider.py", "issuer.py")
