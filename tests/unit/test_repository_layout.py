"""The tree's own rules: what may lie where, and what a committed file must not say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))


def test_operator_is_not_a_package() -> None:
    """As a package it would hide the standard library's module."""
    assert {p.name for p in (ROOT / "operator").iterdir()} <= {"taskpass", "__pycache__"}


def test_no_module_is_named_like_the_standard_library() -> None:
    ours = {p.stem for p in (ROOT / "operator/taskpass").iterdir() if not p.name.startswith("__")}

    assert ours & sys.stdlib_module_names == set()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_locked_package_has_a_hash_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    pins = re.findall(r"^\S+==\S+.*\\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)

    assert len(pins) == len(re.findall(r"^[a-z0-9].*==", text, re.MULTILINE)) > 0
    assert "://" not in text


def test_the_development_lock_pins_what_the_run_time_lock_pins() -> None:
    run, dev = (pins(ROOT / "requirements" / name) for name in ("run.lock", "dev.lock"))

    assert run.items() <= dev.items()


def test_the_run_time_lock_is_the_same_for_every_supported_python() -> None:
    """The image's dependencies are chosen by whatever Python builds it."""
    assert "python_version" not in (ROOT / "requirements/run.lock").read_text()


def test_no_file_is_larger_than_it_should_be() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    python = [ROOT / name for name in listed if name.endswith(".py") and (ROOT / name).exists()]
    sizes = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in python}

    assert {name: size for name, size in sizes.items() if size > 500} == {}


@pytest.mark.parametrize("target", ["setup", "check", "test", "demo", "cluster", "cluster-down"])
def test_make_help_tells_of_the_targets(target: str) -> None:
    told = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)

    assert re.search(rf"^  {target} +\S", told.stdout, re.MULTILINE)


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][^=\s]*)==(\S+)", lock.read_text(), re.MULTILINE))
