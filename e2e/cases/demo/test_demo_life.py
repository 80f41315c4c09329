"""`make demo-life`: it comes out, twice, and each of its steps did what it says."""

import re
import subprocess
import sys

import pytest

from e2e.demo.documents import ROOT
from e2e.demo.stage import Stage


def demo(stage: Stage) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "e2e.demo", "--life", "--name", stage.name]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def told(stage: Stage) -> str:
    """Return what the first run printed."""
    done = demo(stage)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_story_is_whole(told: str) -> None:
    chapters = re.findall(r"^\n(\S.*)$", told.replace("\n\n", "\n\n\n"), re.MULTILINE)
    wanted = [
        "A cluster, and taskpass in it",
        "It waits for a person",
        "It rests, and goes on",
        "It delegates a part of its work",
        "Policy changes its mind",
        "It is stopped",
        "What is on record",
    ]
    assert [line for line in told.splitlines() if line in wanted] == wanted
    assert chapters


def test_each_agent_says_what_it_can_do_from_inside_its_pod(told: str) -> None:
    words = re.findall(r'The agent of (\S+), in its pod: "([^"]+)"', " ".join(told.split()))

    assert words == [
        ("incident-17", "reads the ticket"),
        ("incident-17", "has no credential"),
        ("incident-17", "reads the ticket"),
        ("search-17", "reads the ticket"),
        ("incident-17", "has no credential"),
        ("search-17", "has no credential"),
        ("incident-17", "reads the ticket"),
        ("search-17", "reads the ticket"),
        ("incident-17", "has no credential"),
        ("search-17", "has no credential"),
    ]


@pytest.mark.usefixtures("told")
def test_a_second_run_comes_out_too(stage: Stage) -> None:
    done = demo(stage)

    assert done.returncode == 0, done.stdout + done.stderr
