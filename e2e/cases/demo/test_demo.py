"""`make demo`: it comes out, twice, and says so when it does not."""

import re

import pytest

from e2e.cases.demo.running import demo, told_by, too_wide
from e2e.demo.documents import ROOT, fenced
from e2e.demo.stage import Stage
from e2e.impersonate import thing

OPENINGS = ("A", "The", "What")


@pytest.fixture(scope="module")
def told(stage: Stage) -> str:
    """Return what the first run printed."""
    return told_by(demo(stage))


def test_the_story_is_whole(told: str) -> None:
    chapters = [line for line in told.splitlines() if line.split(" ")[0] in OPENINGS]

    assert [chapter.split(":")[0] for chapter in chapters] == [
        "A cluster, and taskpass in it",
        "A task that is allowed",
        "The task is over, and so is what it held",
        "A task in two phases, as its agent sees it from inside the pod",
        "A task that policy denies",
        "What is on record",
    ]
    assert "The printer on the third floor is on fire" in told
    assert "401 Unauthorized" in told


def test_it_fits_on_a_terminal(told: str) -> None:
    assert too_wide(told) == []


def test_the_readme_shows_what_the_demo_prints(told: str) -> None:
    (shown,) = fenced(ROOT / "README.md", "text")
    printed = {without_numbers(line) for line in told.splitlines()}

    missing = [line for line in shown.splitlines() if without_numbers(line) not in printed]

    assert missing == []


def without_numbers(line: str) -> str:
    """Return a line without what differs from run to run: numbers, ids and their padding."""
    line = re.sub(r"\d+ (Forbidden|Unauthorized)", "refused", line)
    line = re.sub(r"\b(c|log|g)-[0-9a-f]+", "ID", line)
    return re.sub(r" +", " ", re.sub(r"\d+", "N", line)).strip()


@pytest.mark.usefixtures("told")
def test_a_second_run_comes_out_too(stage: Stage) -> None:
    told_by(demo(stage))


@pytest.mark.usefixtures("told")
def test_a_step_that_does_not_come_out_ends_it_and_says_what_was_seen(stage: Stage) -> None:
    nothing = {
        "effect": "Deny",
        "namespaceSelector": {},
        "classes": ["*"],
        "validations": [{"expression": "true", "message": "there is nothing to be had today"}],
    }
    deny = thing("taskpass.dev/v1alpha1", "ClusterAgentPolicy", "", "closed", spec=nothing)
    stage.api.apply(deny)
    try:
        done = demo(stage)
    finally:
        stage.api.delete(deny)

    assert done.returncode == 1
    assert "The demo ends here: AgentTask ticket-4711 is stalled" in done.stderr
    assert "there is nothing to be had today" in done.stderr
