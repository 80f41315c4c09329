"""`make demo-databases`: it comes out, each step did what it says, and it leaves nothing behind."""

import re
import tempfile
from pathlib import Path

import pytest

from e2e.cases.demo.running import demo, told_by, too_wide
from e2e.demo.documents import ROOT, commands
from e2e.demo.stage import SYSTEM, Stage
from e2e.postgresql.server import PREFIX

EXAMPLE = ROOT / "examples/05-databases/README.md"
ROLE = r"taskpass-g-[0-9a-f]{32}"


@pytest.fixture(scope="module")
def told(stage: Stage) -> str:
    """Return what it printed."""
    return told_by(demo(stage, "--databases"))


@pytest.fixture(scope="module")
def chapters(told: str) -> dict[str, str]:
    """Return its chapters by their headings, each on one line."""
    blocks = told.split("\n\n")[1:]
    return {block.splitlines()[0]: " ".join(block.replace("\n  |", "").split()) for block in blocks}


def test_the_story_is_whole(chapters: dict[str, str]) -> None:
    assert list(chapters)[:-1] == [
        "A cluster, and a PostgreSQL server beside it",
        "An agent reads a table, with a role of its own",
        "The task leaves its path, in the middle of the transaction",
        "The role is gone",
        "What is on record",
        "It is over",
    ]


def test_it_fits_on_a_terminal(told: str) -> None:
    assert too_wide(told) == []


def test_the_role_is_there_while_the_agent_reads_and_neither_before_nor_after(
    chapters: dict[str, str],
) -> None:
    before, reads, _, after, *_ = chapters.values()

    assert re.search(rf"Role name \| {ROLE} Attributes \| 2 connections", reads)
    assert re.search(r"Member of \| \{?tickets_ro", reads)
    assert not re.search(rf"{ROLE} \|", before + after)
    assert "tickets_ro | Cannot login" in before
    assert before.partition("List of roles")[2] in after


def test_people_read_what_it_gives_in_the_providers_words(chapters: dict[str, str]) -> None:
    said = chapters["An agent reads a table, with a role of its own"]

    assert (
        "it gives tickets_ro on database support of server support (read tables of schema tickets)"
    ) in said
    assert "PostgreSQL Immediate Internal true" in said


def test_the_transaction_is_cut_from_inside_and_from_outside(chapters: dict[str, str]) -> None:
    said = chapters["The task leaves its path, in the middle of the transaction"]

    assert re.search(r"cut after \d+ rows: (terminating connection|permission denied)", said)
    assert re.search(rf'cannot log in again: (role "{ROLE}" is not permitted|password auth)', said)
    seen = [float(seconds) for seconds in re.findall(r"\((\d+\.\d\d) s\)", said)]
    assert len(seen) == 3
    assert seen == sorted(seen)
    assert seen[-1] < 5


def test_a_copy_of_its_password_opens_nothing(chapters: dict[str, str]) -> None:
    said = chapters["The role is gone"]

    assert re.search(rf'we kept: password authentication failed for user "{ROLE}"', said)
    assert "ticket-4716 False UnapprovedBranch read" in said
    assert "set `phase` back to 'read', or make a new task" in said


def test_every_command_of_the_examples_page_was_run(told: str) -> None:
    printed = " ".join(told.split())

    missing = [
        line for line in commands(EXAMPLE) if not printed.count(line.removesuffix(" --wait"))
    ]

    assert missing == []


def test_the_agent_says_what_the_examples_page_says(told: str) -> None:
    printed = without_numbers(" ".join(told.replace("\n  |", " ").split()))
    page = EXAMPLE.read_text().partition("time before each line:\n\n")[2].partition("\n\n")[0]

    missing = [line for line in page.splitlines() if without_numbers(line.strip()) not in printed]

    assert len(page.splitlines()) == 5
    assert missing == []


def without_numbers(text: str) -> str:
    """Return a text without what differs from run to run."""
    return re.sub(r"\d+", "N", re.sub(ROLE, "ROLE", text))


@pytest.mark.usefixtures("told")
def test_nothing_is_left_behind(stage: Stage) -> None:
    classes = stage.kubectl("get", "credentialclasses", "--output", "name")
    secrets = stage.kubectl("-n", SYSTEM, "get", "secrets", "--output", "name")
    deployment = stage.kubectl("-n", SYSTEM, "get", "deploy", "taskpass", "--output", "yaml")

    assert "tickets-db" not in classes
    assert "support-db-operator" not in secrets + deployment
    assert "POSTGRESQL" not in deployment
    running = [path.name for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*")]
    ours = [name for name in running if not owner_is_there(name)]
    assert ours == []


def owner_is_there(name: str) -> bool:
    """Tell whether who started a server still runs: others may, on this machine."""
    return Path(f"/proc/{name.removeprefix(PREFIX).partition('-')[0]}").exists()
