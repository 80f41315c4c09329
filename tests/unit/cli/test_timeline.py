"""What a timeline tells of a task: who asked for it, who changed it, and what is told again."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from taskpass.cli.audit import audit
from taskpass.cli.audit.steps import describe
from taskpass.core.audit import events as entries
from taskpass.core.lifecycle.records import Outcome, TaskRecord
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.prune import Limit, prune
from taskpass.ports.ledger import Batch
from tests.unit.cli.lives import TASK_NAME, written
from tests.unit.ledger import objects
from tests.unit.ledger.objects import NOW, RECORD, SECOND, SEED, notice


def told(path: Path, task: str = TASK_NAME) -> str:
    """Return a timeline, with every run of blanks as one."""
    done = CliRunner().invoke(audit, ["timeline", task, "--db", str(path)])
    assert done.exit_code == 0, done.output
    return " ".join(done.stdout.split())


def test_a_timeline_says_who_changed_the_request_last(tmp_path: Path) -> None:
    asyncio.run(written(tmp_path / "ledger.db"))

    said = told(tmp_path / "ledger.db")

    assert "asked for by jane@example.org, last changed by eve@example.org" in said


def test_who_asked_and_changed_it_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    async def write() -> None:
        ledger = objects.opened(path)
        people = {"requester": "jane", "changed_by": "jane"}
        grant = objects.another(1)
        told = entries.issue_intent(grant, NOW, people)
        await ledger.commit(Batch(entries=(told,), grants=(grant,)))
        ledger.close()

    asyncio.run(write())

    assert "asked for by jane" in told(path)
    assert "last changed" not in told(path)


async def _life_of_people(path: Path) -> TaskRecord:
    ledger = objects.opened(path)
    record = await objects.life_of_people(ledger)
    ledger.close()
    return record


def test_a_timeline_says_who_started_a_pod(tmp_path: Path) -> None:
    asyncio.run(_life_of_people(tmp_path / "ledger.db"))

    said = told(tmp_path / "ledger.db", SECOND.name)

    assert "started by jane@example.org and lea@example.org and system:serviceaccount" in said


SUSPENDED = replace(RECORD, suspended="Requested")


async def _suspended(path: Path) -> None:
    ledger = objects.opened(path)
    attested = entries.attested(RECORD, NOW, notice("Attested"))
    await ledger.commit(Batch(entries=(attested,), tasks=(RECORD,)))
    told = entries.suspended(SUSPENDED, "Requested", NOW, notice("Suspended"))
    await ledger.commit(Batch(entries=(told,), tasks=(SUSPENDED,)))
    await _fill(ledger)


async def _finished(path: Path) -> None:
    ledger = objects.opened(path)
    attested = entries.attested(RECORD, NOW, notice("Attested"))
    await ledger.commit(Batch(entries=(attested,), tasks=(RECORD,)))
    over = replace(RECORD, outcome=Outcome.SUCCEEDED, finished_at=NOW)
    told = entries.finished(over, Outcome.SUCCEEDED, NOW, notice("Finished"))
    await ledger.commit(Batch(entries=(told,), tasks=(over,)))
    await _fill(ledger)


async def _asked(path: Path) -> None:
    ledger = objects.opened(path)
    await objects.life_of_people(ledger)
    await _fill(ledger)


async def _fill(ledger: objects.SqliteLedger) -> None:
    filling = tuple(entries.orphan_undone(f"g-{i}", "Kubernetes", NOW) for i in range(300))
    await ledger.commit(Batch(entries=filling))
    ledger.close()


@pytest.mark.parametrize(
    ("write", "task", "said"),
    [
        (_suspended, TASK_NAME, "in the phase research, suspended, Requested: nothing is issued"),
        (_finished, TASK_NAME, "Succeeded at 2026-11-25T10:00:00Z"),
        (_asked, SECOND.name, "people are asked to approve tickets (sha256:"),
        (_asked, SECOND.name, "people are asked to approve the move to deploy (sha256:"),
    ],
)
def test_what_is_told_again_is_said(tmp_path: Path, write: object, task: str, said: str) -> None:
    """The entries that told of it are archived; whoever reads what is left has to see it."""
    path = tmp_path / "ledger.db"
    asyncio.run(write(path))  # type: ignore[operator]
    later = NOW + timedelta(days=1)
    prune(path, Limit(before=256), tmp_path / "archive", SeedSigner(SEED), later)

    after = told(path, task)

    assert "told again, as those entries are archived: " in after
    assert said in after


def test_all_that_can_be_told_again_has_words() -> None:
    data = {
        "stage": "point", "outcome": "success", "task": {"uid": "u"}, "part": 0, "started": "",
        "pod": {"name": "pod", "uid": "p", "attempt": 2}, "phase": "a b", "blocked": "deploy",
        "suspend": "", "ending": "Failed", "finish": "", "finished": "",
        "saved": {"step": "half"},
    }  # fmt: skip
    event = {"type": "dev.taskpass.task.retell", "time": "2026-11-25T10:00:00Z", "data": data}

    assert describe(event).what == (
        "told again, as those entries are archived: pod pod is the agent, attempt 2, it is in the "
        'phase "a b", it went to deploy, which may not follow, it had come to half, it is to end '
        "as Failed"
    )
    for more, said in ({"part": 1, "images": ["i"]}, "the images of its pod"), (
        {"part": 0}, "a request of it was refused"
    ):  # fmt: skip
        base = {"stage": "point", "outcome": "success", "task": {"uid": "u"}}
        assert describe({**event, "data": {**base, **more}}).what.endswith(said)
