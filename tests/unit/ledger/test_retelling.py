"""What state rests on is told again when the entries that told it are pruned."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from taskpass.core.audit import events as audit
from taskpass.core.errors import UsageError
from taskpass.core.lifecycle.approval import TaskApproval, Verdict
from taskpass.core.lifecycle.ownership import Origin
from taskpass.core.lifecycle.records import Outcome, TaskRecord
from taskpass.core.model.task import Task, User
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.prune import Limit, archived, prune
from taskpass.ledger.store.sqlite import SqliteLedger
from taskpass.ledger.verify import replay as walk
from taskpass.ledger.verify import retell
from taskpass.ledger.verify.log import verify_database
from taskpass.ledger.verify.proven import LogLocation, proven
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.forging import execute
from tests.unit.ledger.objects import GRANT, NOW, RECORD, SECOND, SEED, another, notice
from tests.unit.ledger.waiting import put

LATER = NOW + timedelta(days=500)


def dropped(path: Path, before: int, name: str) -> int:
    return prune(path, Limit(before=before), path.parent / name, SeedSigner(SEED), LATER).min_index


async def differs(path: Path) -> str | None:
    ledger = objects.opened(path)
    try:
        return await ledger.compare()
    finally:
        ledger.close()


async def attest(ledger: SqliteLedger, record: TaskRecord) -> None:
    told = audit.attested(record, NOW, notice("Attested"))
    await ledger.commit(Batch(entries=(told,), tasks=(record,)))


def entries(path: Path, kind: str) -> list[dict[str, object]]:
    with proven(LogLocation(database=path), Query(type=kind)) as log:
        return [orjson.loads(body)["data"] for _, body in log.entries]


async def test_all_that_was_told_of_a_task_is_still_held_against_its_record_twice_pruned(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    await objects.life_of_people(ledger)
    await objects.filled(ledger, 300)
    ledger.close()
    before = proven_tasks(path)

    assert dropped(path, 300, "one") == 256
    assert describe(proven_tasks(path)) == describe(before)
    ledger = objects.opened(path)
    await objects.filled(ledger, 600)
    ledger.close()
    assert dropped(path, 600, "two") == 512

    assert describe(proven_tasks(path)) == describe(before)
    assert await differs(path) is None
    again = entries(path, "task.retell")  # those of the first time are archived
    assert [each["part"] for each in again] == [0, 1, 2, 3]


def proven_tasks(path: Path) -> walk.Replay:
    with proven(LogLocation(database=path)) as log:
        return log.replay


def describe(told: walk.Replay) -> object:
    task = told.tasks[SECOND.uid]
    return (
        task.task, task.pod, task.started, task.phase, task.suspended, task.outcome, task.saved,
        {digest: (a.what, a.since, a.given) for digest, a in task.asked.items()},
        told.bindings["pod-uid-2"], told.people,
        [task.data.get(key) for key in ("images", "parent", "unknown", "starters")],
    )  # fmt: skip


async def test_pods_of_attempts_before_and_people_of_before_are_told_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    count = 2 * retell.AT_ONCE + 1
    for attempt in range(1, count + 1):
        record = replace(
            RECORD, started_at=NOW, attempt=attempt,
            pod_uid=f"pod-{attempt}", pod_name=f"p-{attempt}",
            origin=Origin(names=(f"person-{attempt}@example.org",)),
        )  # fmt: skip
        await attest(ledger, record)
    await objects.filled(ledger, 300)
    ledger.close()

    dropped(path, 300, "archive")

    again = entries(path, "log.retell")
    assert sum(len(parts(each, "bound")) for each in again) == count - 1  # the last is the task's
    assert sum(len(parts(each, "people")) for each in again) == count
    assert await differs(path) is None
    execute(path, "UPDATE person SET name = 'eve' WHERE name = 'person-7@example.org'")
    assert "is not whom the log's entries mean" in await differs(path)


def parts(data: dict[str, object], key: str) -> Sequence[object]:
    found = data.get(key, ())
    assert isinstance(found, Sequence)
    return found


async def test_who_was_erased_is_not_told_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    await attest(
        ledger, replace(RECORD, started_at=NOW, origin=Origin(names=("jane@example.org", "lea")))
    )
    await ledger.erase("jane@example.org", NOW)
    await objects.filled(ledger, 300)
    ledger.close()
    with proven(LogLocation(database=path)) as log:
        (gone,) = log.replay.erased

    dropped(path, 300, "archive")

    assert await differs(path) is None
    assert gone not in str(entries(path, "task.retell") + entries(path, "log.retell"))


async def test_what_changes_while_the_archive_is_written_is_told_as_it_is_then(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    first, second = replace(GRANT.task, uid="uid-a", name="a"), replace(GRANT.task, uid="uid-b")
    for number, task in enumerate((first, second)):
        record = replace(RECORD, task=task, pod_uid=f"pod-{number}", phase="one")
        await attest(ledger, record)
    await objects.filled(ledger, 300)

    _, drop = archived(path, Limit(before=300), tmp_path / "archive", LATER)
    forgotten = audit.forgotten(replace(RECORD, task=first), 0, NOW)
    await ledger.commit(Batch(entries=(forgotten,), forgets=(first.uid,)))
    moved = replace(RECORD, task=second, pod_uid="pod-1", phase="two")
    went = audit.phase_entered(second, "one", "two", NOW, notice("Moved"))
    await ledger.commit(Batch(entries=(went,), tasks=(moved,)))
    await ledger.prune(drop)
    ledger.close()

    assert [e["phase"] for e in entries(path, "task.retell") if e["part"] == 0] == ["two"]
    assert await differs(path) is None


async def test_a_task_that_ended_before_and_is_still_there_is_held_against_what_it_ended_as(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    done = replace(RECORD, outcome=Outcome.SUCCEEDED, finished_at=NOW)
    await attest(ledger, RECORD)
    over = audit.finished(done, Outcome.SUCCEEDED, NOW, notice("Finished"))
    await ledger.commit(Batch(entries=(over,), tasks=(done,)))
    await objects.filled(ledger, 300)
    ledger.close()

    dropped(path, 300, "archive")

    assert await differs(path) is None
    execute(path, """UPDATE task_record SET body = replace(body, '"Succeeded"', '"Failed"')""")
    assert "outcome" in await differs(path)


async def test_whatever_fitted_into_entries_is_told_again(tmp_path: Path) -> None:
    """In parts: a tenant's largest image, step and approvals together would be no entry."""
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    waiting = await objects.life_of_people(ledger)
    large = replace(
        waiting, attempt=2, images=("registry.example/" + 64_000 * "x",), pod_uid="pod-uid-9"
    )
    await attest(ledger, large)
    first = large.asked[0]
    noted = list(first.noted)
    task = Task(
        namespace=SECOND.namespace, name=SECOND.name, uid=SECOND.uid, generation=1,
        resource_version="1", created_at=NOW, service_account="triage-agent",
    )  # fmt: skip
    for number in range(1100):
        word = TaskApproval(
            namespace="support", name="yes", uid=f"{number:036d}", generation=1, created_at=NOW,
            task_name=SECOND.name, task_uid=SECOND.uid, digest=first.digest,
            decision=Verdict.APPROVED, approver=User(username="joe@example.org"),
        )  # fmt: skip
        noted.append(word.uid)
        told = audit.approval_given(task, first, word, NOW, notice("Approved"))
        await ledger.commit(Batch(entries=(told,)))
    heard = replace(large, asked=(replace(first, noted=tuple(noted)), *large.asked[1:]))
    await ledger.commit(Batch(tasks=(heard,)))
    await objects.filled(ledger, 1600)
    ledger.close()

    assert dropped(path, 1600, "archive") == 1536

    assert await differs(path) is None


async def test_a_prune_that_cannot_be_told_is_refused_and_the_ledger_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    await attest(ledger, RECORD)
    await objects.filled(ledger, 300)
    _, drop = archived(path, Limit(before=300), tmp_path / "archive", LATER)
    too_large = replace(drop.entry, data={**drop.entry.data, "more": 70_000 * "x"})

    with pytest.raises(UsageError, match="It cannot be done"):
        await ledger.prune(replace(drop, entry=too_large))
    await ledger.commit(Batch(entries=(objects.entry("on"),)))
    await ledger.prune(drop)
    ledger.close()

    assert verify_database(path).pruned == 256


async def test_items_of_trails_go_with_their_entries(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    await attest(ledger, RECORD)
    await objects.filled(ledger, 300)
    await objects.issue(ledger, another(9))
    assert [item.audit_index for item in ledger.trail(RECORD.task.uid)] == [2, 301]

    _, drop = archived(path, Limit(before=300), tmp_path / "archive", LATER)
    await ledger.prune(drop)

    assert [item.audit_index for item in ledger.trail(RECORD.task.uid)] == [301]
    ledger.close()
    assert verify_database(path).pruned == 256
    reopened = objects.opened(path)
    assert [item.audit_index for item in reopened.trail(RECORD.task.uid)] == [301]
    reopened.close()


async def test_a_log_that_a_version_of_before_has_pruned_is_believed_as_it_was(
    tmp_path: Path,
) -> None:
    """That version told nothing again: rows of what it dropped can be held against nothing."""
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    await objects.life_of_people(ledger)
    await objects.filled(ledger, 300)
    _, drop = archived(path, Limit(before=300), tmp_path / "archive", LATER)
    told = {key: value for key, value in drop.entry.data.items() if key != "retold"}
    drop.replay.tasks.clear()
    drop.replay.bindings.clear()
    drop.replay.people.clear()
    await ledger.prune(replace(drop, entry=replace(drop.entry, data=told)))
    (record,) = (each for each in ledger.records() if each.task == SECOND)
    held = replace(record, suspended="Requested")
    said = audit.suspended(held, "Requested", NOW, notice("Suspended"))
    await ledger.commit(Batch(entries=(said,), tasks=(held,)))
    await objects.filled(ledger, 600)
    ledger.close()

    assert await differs(path) is None
    assert dropped(path, 600, "two") == 512
    assert await differs(path) is None


async def test_a_task_that_was_only_refused_is_believed_where_a_version_of_before_pruned(
    tmp_path: Path,
) -> None:
    """That version said `retold`, and told again of no task that had nothing but refusals."""
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    refused = TaskRecord(task=SECOND, denial="d")
    failed = audit.attestation_failed(SECOND, "pod", "pod-uid-2", "NotOwned", NOW, notice("No"))
    await ledger.commit(Batch(entries=(failed,), tasks=(refused,)))
    await objects.filled(ledger, 300)
    _, drop = archived(path, Limit(before=300), tmp_path / "archive", LATER)
    told = {key: value for key, value in drop.entry.data.items() if key != "records"}
    drop.replay.tasks.clear()
    await ledger.prune(replace(drop, entry=replace(drop.entry, data=told)))
    ledger.close()

    assert await differs(path) is None
    put(path, replace(refused, secret_uid="victim"))
    assert "secret_uid" in await differs(path)


async def test_a_move_without_approval_is_believed_where_a_version_of_before_told_it_again(
    tmp_path: Path,
) -> None:
    """Its `task.retell` had no `blocked`."""
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    record = await objects.life_of_people(ledger)
    blocked = audit.branch_blocked(SECOND, "research", "deploy", NOW, notice("Unapproved"))
    stays = replace(record, blocked_branch="deploy")
    await ledger.commit(Batch(entries=(blocked,), tasks=(stays,)))
    await objects.filled(ledger, 300)
    _, drop = archived(path, Limit(before=300), tmp_path / "archive", LATER)
    drop.replay.tasks[SECOND.uid].blocked = None
    await ledger.prune(drop)
    ledger.close()

    assert await differs(path) is None
