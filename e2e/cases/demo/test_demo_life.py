"""`make demo-life`: it comes out, twice, and each of its steps did what it says."""

import re

import pytest

from e2e.cases.demo.running import demo, told_by, too_wide
from e2e.demo.stage import Stage


@pytest.fixture(scope="module")
def told(stage: Stage) -> str:
    """Return what the first run printed."""
    return told_by(demo(stage, "--life"))


def test_the_story_is_whole(told: str) -> None:
    blocks = told.split("\n\n")[1:]
    chapters = [block.splitlines()[0] for block in blocks]

    assert [each for each in chapters if not each.startswith("All of this")] == [
        "A cluster, and taskpass in it",
        "It waits for a person",
        "It rests, and goes on",
        "It delegates a part of its work",
        "Policy changes its mind",
        "It is stopped",
        "What is on record",
    ]


def test_it_fits_on_a_terminal(told: str) -> None:
    assert too_wide(told) == []


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
    told_by(demo(stage, "--life"))
