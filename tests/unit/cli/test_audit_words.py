"""What somebody wrote stands in quotes, after who it was, and cannot pass for the log's own."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskpass.cli.audit import audit
from taskpass.core.audit import events as entries
from taskpass.core.audit.anchor import Head
from taskpass.core.audit.log_events import re_origin
from taskpass.core.lifecycle.approval import TaskApproval, Verdict
from taskpass.core.model.grant import GrantState
from taskpass.core.model.kill_switch import KillSwitch, Target
from taskpass.core.model.task import Task, User
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.objects import GRANT, NOW, SECOND, notice

FORGED = "99  2026-11-25T10:00:00Z  revoke   success  support/ticket-4712  tickets is gone"
REASON = f'ok"); by ceo@example.org{60 * " "}{FORGED}, proven by Kubernetes'
SHOWN = '"ok\\"); by ceo@example.org 99 2026-11-25T10:00:00Z revoke success '
SPONSOR = f"x, by ceo@example.org{40 * ' '}{FORGED}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("words")
    asyncio.run(_written(place / "ledger.db"))
    assert run(place, "export", str(place / "export")).exit_code == 0
    return place


async def _written(path: Path) -> None:
    ledger = objects.opened(path)
    record = await objects.life_of_people(ledger)
    task = Task(
        namespace="support", name=SECOND.name, uid=SECOND.uid, generation=1,
        resource_version="1", created_at=NOW, service_account="triage-agent",
    )  # fmt: skip
    asked = record.asked[0]
    word = TaskApproval(
        namespace="support", name="yes-2", uid="approval-2", generation=1, created_at=NOW,
        task_name=SECOND.name, task_uid=SECOND.uid, digest=asked.digest,
        decision=Verdict.APPROVED, approver=User(username="mallory"), reason=REASON,
    )  # fmt: skip
    heard = replace(asked, noted=("approval-1", "approval-2"))
    given = entries.approval_given(task, asked, word, NOW, notice("Approved"))
    after = replace(record, asked=(heard, *record.asked[1:]))
    await ledger.commit(Batch(entries=(given,), tasks=(after,)))
    switch = KillSwitch(
        uid="switch-1", name="stop", generation=1, target=Target.ALL, reason=REASON,
        requester=User(username="mallory"),
    )  # fmt: skip
    await ledger.commit(Batch(entries=(entries.kill_switch_activated(switch, NOW),)))
    head = Head(origin="o", size=5, root=bytes(32))
    await ledger.commit(Batch(entries=(re_origin("anchor-1", head, REASON, NOW),)))
    people = {"requester": "mallory", "sponsor": SPONSOR}
    await ledger.commit(Batch(entries=(entries.issue_intent(GRANT, NOW, people),), grants=(GRANT,)))
    issued = replace(
        GRANT, state=GrantState.ISSUED, issued_at=NOW, expires_at=NOW + timedelta(days=3),
        fingerprint="ab" * 32, credential_ref="jti-1",
    )  # fmt: skip
    result = entries.issue_result(issued, NOW, notice())
    await ledger.commit(Batch(entries=(result,), grants=(issued,)))
    ledger.close()


def run(place: Path, *arguments: str) -> Result:
    environment = {"TASKPASS_LEDGER_PATH": str(place / "ledger.db")}
    return CliRunner().invoke(audit, arguments, env=environment)


def lines(place: Path, command: str) -> list[str]:
    """Return what a command prints, each entry in one line."""
    if command == "timeline":
        text = run(place, "timeline", f"support/{SECOND.name}").stdout
        return text.replace("\n" + 40 * " ", " ").splitlines()
    return run(place, command).stdout.splitlines()


@pytest.mark.parametrize("command", ["timeline", "search", "tail"])
def test_a_reason_is_quoted_and_stands_after_whose_word_it_was(place: Path, command: str) -> None:
    given = [line for line in lines(place, command) if " give " in line]

    assert len(given) == 2
    assert given[0].endswith("; by joe@example.org")
    assert f"); by mallory: {SHOWN}" in " ".join(given[1].split())
    assert given[1].index("mallory") < given[1].index("ceo@example.org")


@pytest.mark.parametrize("command", ["timeline", "search", "tail"])
def test_nothing_that_was_written_looks_like_a_line_of_the_log(place: Path, command: str) -> None:
    said = "\n".join(lines(place, command))

    assert "give" in said
    assert FORGED not in said
    assert "99  2026" not in said


def test_the_reasons_of_a_kill_switch_and_of_a_forgotten_log_are_quoted_too(place: Path) -> None:
    said = {line.split()[2]: " ".join(line.split()) for line in lines(place, "search")}

    assert f"KillSwitch stop stops All; asked for by mallory: {SHOWN}" in said["kill"]
    assert f"forget it at size 5: {SHOWN}" in said["forgot"]


@pytest.mark.parametrize("command", [["search"], ["timeline", "ticket-4711"], ["who"]])
def test_a_sponsor_that_names_somebody_else_is_quoted(place: Path, command: list[str]) -> None:
    said = " ".join(run(place, *command).stdout.split())

    assert '"x, by ceo@example.org 99 2026-11-25T10:00:00Z revoke success' in said
    assert "sponsor x" not in said


def test_an_export_names_whose_word_it_was_by_reference(place: Path) -> None:
    done = CliRunner().invoke(audit, ["search", "--dir", str(place / "export")])
    given = [line for line in done.stdout.splitlines() if " give " in line]

    assert all("; by p-" in line for line in given)
    assert "mallory" not in done.stdout


@pytest.mark.parametrize("command", [["search"], ["timeline", "ticket-4711"]])
def test_an_expiry_of_another_day_is_told_with_its_date(place: Path, command: list[str]) -> None:
    said = " ".join(run(place, *command).stdout.split())

    assert "tickets is issued until 2026-11-28 10:00:00, grant" in said


def test_an_expiry_of_the_same_day_is_told_by_its_time(tmp_path: Path) -> None:
    async def write() -> None:
        ledger = objects.opened(tmp_path / "ledger.db")
        await objects.story(ledger)
        ledger.close()

    asyncio.run(write())

    assert "tickets is issued until 10:15:00, grant" in run(tmp_path, "search").stdout


@pytest.mark.parametrize("command", [["timeline", "ticket-4711"], ["search"], ["tail"]])
def test_a_time_that_was_moved_is_told_with_the_one_that_the_clock_said(
    tmp_path: Path, command: list[str]
) -> None:
    """A year ahead for one entry, and right again: all that follow have that year in the log."""

    async def write() -> None:
        ledger = objects.opened(tmp_path / "ledger.db")
        for number, ahead in enumerate((365, 1)):
            told = objects.entry(number, time=NOW + timedelta(days=ahead))
            await ledger.commit(Batch(entries=(told,)))
        ledger.close()

    asyncio.run(write())

    lines = " ".join(run(tmp_path, *command).stdout.split())

    assert lines.count("2027-11-25") >= 1
    assert lines.count("the clock said 2026-11-26T10:00:00Z") == 1
    assert lines.count("had been ahead before") == 1
