"""What the demo shows is cut out of what programs printed, and nothing else is done to it."""

from pathlib import Path

from e2e.demo.documents import commands, links
from e2e.demo.stage import events
from e2e.demo.story import latest
from e2e.demo.telling import wrapped

DESCRIBED = """\
Name:         ticket-4712
Events:
  Type     Reason            Age   From                   Message
  ----     ------            ----  ----                   -------
  Normal   CredentialIssued  61s   taskpass.dev/operator  Issued 'tickets'  until then (audit 32)
  Normal   Scheduled         61s   default-scheduler      Successfully assigned
  Normal   Attested          62s   taskpass.dev/operator  Pod 'p' is the agent (audit 9)
"""
TIMELINE = """\
  INDEX  TIME (UTC)       STEP     OUTCOME  WHAT
support/t, uid 1
2026-01-01
      6  22:56:38.682     attest   success  pod a is the agent, attempt 1
support/t, uid 2
     16  22:57:38.682     attest   success  pod b is the agent, attempt 1
2 entries in all
"""


def test_events_are_those_of_the_operator_in_the_order_of_the_log() -> None:
    assert events(DESCRIBED.splitlines()) == [
        "Attested           Pod 'p' is the agent (audit 9)",
        "CredentialIssued   Issued 'tickets'  until then (audit 32)",
    ]


def test_nothing_described_is_no_event() -> None:
    assert events(["Name: x", "Events:  <none>"]) == []


def test_a_timeline_is_shown_from_its_last_task_on() -> None:
    assert latest(TIMELINE.splitlines()) == [
        "INDEX  TIME (UTC)       STEP     OUTCOME  WHAT",
        "   16  22:57:38.682     attest   success  pod b is the agent, attempt 1",
        "2 entries in all",
    ]


def test_a_long_line_is_wrapped_and_a_short_one_is_left() -> None:
    assert wrapped("a  b", "| ", "|  ") == "| a  b"
    lines = wrapped("word " * 40, "| ", "|    ").splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[1].startswith("|    word")


def test_commands_are_read_from_indented_blocks_without_comments(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "text `kubectl get pods`\n\n    kubectl get \\\n      pods   # why\n    output\n"
        "    make demo\n\n```yaml\nkubectl: no\n```\n"
    )

    assert commands(page) == ["kubectl get pods", "make demo"]


def test_links_into_the_repository_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a](docs/a.md#b) [c](https://example.com/c) [d](d)")

    assert links(page) == ["docs/a.md#b", "d"]
