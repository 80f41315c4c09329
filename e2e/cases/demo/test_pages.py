"""Every command on our pages does what it is said to do, in the order in which one reads them."""

import pytest

from e2e.demo.documents import ROOT, commands
from e2e.demo.stage import Stage

READING = (
    "examples/01-first-task/README.md",
    "examples/02-phases/README.md",
    "examples/03-suspension/README.md",
    "examples/04-approval/README.md",
    "docs/concepts.md",
    "docs/troubleshooting.md",
    "README.md",
)


@pytest.fixture(scope="module")
def printed(stage: Stage) -> dict[str, str]:
    """Return what each command printed; the same one is run once, and uninstalling is last."""
    stage.begin_anew()
    read = [line for page in READING for line in commands(ROOT / page) if line[:4] != "make"]
    ordered = sorted(dict.fromkeys(read), key=lambda line: line.startswith("helm uninstall"))
    return {line: stage.shell(line) for line in ordered}


def test_the_first_tasks_agent_reads_the_ticket(printed: dict[str, str]) -> None:
    log = printed["kubectl -n support logs job/ticket-4711"]

    assert log == "The printer on the third floor is on fire\n"


def test_the_agent_in_two_phases_says_what_the_page_says(printed: dict[str, str]) -> None:
    page = (ROOT / "examples/02-phases/README.md").read_text()
    said = printed["kubectl -n support logs job/ticket-4712"]

    shown = [line.strip() for line in page.splitlines() if line.startswith("    in phase")]

    assert shown
    assert [line for line in shown if line not in said] == []


def test_the_agent_that_was_suspended_says_what_the_page_says(printed: dict[str, str]) -> None:
    page = (ROOT / "examples/03-suspension/README.md").read_text()
    said = printed["kubectl -n support logs job/ticket-4714"]

    assert [f"    {line}" for line in said.splitlines()] == [
        line for line in page.splitlines() if line.startswith("    ") and "credential:" in line
    ]
    assert "Suspended" in printed["kubectl -n support get agenttask ticket-4714"]


def test_the_agent_whose_task_was_approved_read_its_ticket(printed: dict[str, str]) -> None:
    before = printed["kubectl -n support get agenttask ticket-4715"]
    waits = printed["taskpass approvals --namespace support"]

    assert "ApprovalRequired" in before
    assert "support/ticket-4715  credential tickets" in waits
    assert "1 of group support-leads (AgentPolicy/support/outside)" in waits
    assert printed["kubectl -n support logs job/ticket-4715"] == "The doorbell wants to be quoted\n"
    given = printed["kubectl -n support get taskapprovals"]
    assert "lea" in given
    assert "Approved" in given


def test_a_task_can_be_explained_and_its_story_told(printed: dict[str, str]) -> None:
    whole = "\n".join(printed.values())

    assert "AgentPolicy 'support/triage' allows it for 600 s" in whole
    assert "tickets is gone, proven by Kubernetes" in whole
    assert "limits: ok" in whole
    assert "taskpass_pending_revocations 0.0" in whole


def test_uninstalling_is_last_and_owes_nothing(printed: dict[str, str]) -> None:
    last = list(printed)[-1]

    assert last == "helm uninstall taskpass --namespace taskpass-system"
    assert "Nothing is pending." in printed[last]
