"""An edit that means almost the same: another type, another offset, a row of nobody, a valid enum.

Each is found by a start and by `audit verify`, which read state by one decoder.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from taskpass.core.audit import events as audit
from taskpass.core.errors import LedgerError, TaskpassError
from taskpass.core.lifecycle.ownership import Origin
from taskpass.core.lifecycle.records import TaskRecord
from taskpass.core.model.grant import Approval, TaskRef
from taskpass.ledger.state.encoding import encode
from taskpass.ledger.verify.log import verify_database
from taskpass.ports.ledger import Batch
from tests.unit.ledger import objects
from tests.unit.ledger.forging import execute
from tests.unit.ledger.objects import GRANT, NOW, RECORD, SECOND, notice
from tests.unit.ledger.waiting import JANE, attest, differs, put, refused, waiting

APPROVED = replace(
    GRANT, approval=Approval(digest="sha256:a", nonce="n", until=NOW, given_by=("a-1",))
)


def edit(path: Path, table: str, change: Callable[[Any], Any]) -> None:
    """Change the body of a table's last row."""
    with sqlite3.connect(path) as db:
        row, text = db.execute(f"SELECT rowid, body FROM {table} ORDER BY rowid").fetchall()[-1]
        body = orjson.loads(text)
        change(body)
        changed = (orjson.dumps(body).decode(), row)
        db.execute(f"UPDATE {table} SET body = ? WHERE rowid = ?", changed)
    db.close()


async def at_a_start(path: Path) -> str | None:
    """Return what a start says of it, one that refuses to begin as well."""
    try:
        return await differs(path)
    except LedgerError as error:
        return str(error)


async def assert_found(path: Path) -> None:
    assert await at_a_start(path) is not None
    with pytest.raises(TaskpassError):
        verify_database(path)


def put_in(*path: str | int, value: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def change(body: Any) -> None:
        *above, last = path
        for step in above:
            body = body[step]
        body[last] = value(body[last])

    return change


@pytest.mark.parametrize("offset", ["-23:59", "+00:01", ""])
@pytest.mark.parametrize(
    ("table", "where"),
    [("task_record", ("started_at",)), ("task_record", ("asked", 0, "since")),
     ("task_record", ("saved", "at")), ("grant_state", ("expires_at",)),
     ("grant_state", ("approval", "until")), ("grant_state", ("intent_at",))],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else value,
)  # fmt: skip
async def test_a_time_of_another_offset_is_another_time(
    tmp_path: Path, table: str, where: tuple[str | int, ...], offset: str
) -> None:
    path = tmp_path / "ledger.db"
    await waiting(path)
    ledger = objects.opened(path)
    await objects.issue(ledger, APPROVED)
    ledger.close()
    assert await differs(path) is None

    edit(path, table, put_in(*where, value=lambda time: time.replace("+00:00", offset)))

    await assert_found(path)


async def test_a_trails_time_of_another_offset_is_another_time(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await waiting(path)

    execute(path, "UPDATE trail SET time = replace(time, '+00:00', '-23:59')")

    await assert_found(path)


@pytest.mark.parametrize(
    ("table", "field", "value"),
    [("grant_state", "lifetime_seconds", float), ("grant_state", "generation", float),
     ("grant_state", "attempt", bool), ("grant_state", "audit_index", float),
     ("grant_state", "chain", lambda _: ""), ("grant_state", "renewals", lambda _: None),
     ("task_record", "attempt", float), ("task_record", "attempt", bool),
     ("task_record", "renewals", lambda _: "x"), ("task_record", "renewals", lambda _: {"u": 1.0}),
     ("task_record", "renewals", lambda _: {"u": -1000}),
     ("task_record", "renewals", lambda _: None),
     ("task_record", "secret_uid", lambda _: 5), ("task_record", "secret_written", lambda _: "no"),
     ("task_record", "delivered", lambda _: [5]), ("task_record", "blocked_branch", lambda _: 7),
     ("task_record", "denial", lambda _: None), ("task_record", "activity", lambda _: 5),
     ("task_record", "origin", lambda _: {"names": [None], "unknown": ""})],
)  # fmt: skip
async def test_a_value_of_another_type_is_refused_though_python_calls_it_equal(
    tmp_path: Path, table: str, field: str, value: Callable[[Any], Any]
) -> None:
    path = tmp_path / "ledger.db"
    await waiting(path)
    ledger = objects.opened(path)
    await objects.issue(ledger, replace(GRANT, lifetime_seconds=900))
    ledger.close()

    edit(path, table, put_in(field, value=value))

    await assert_found(path)


@pytest.mark.parametrize("field", ["text", "nonce"])
async def test_what_was_asked_in_no_words_is_refused_in_one_line(
    tmp_path: Path, field: str
) -> None:
    path = tmp_path / "ledger.db"
    await waiting(path)

    edit(path, "task_record", put_in("asked", 0, field, value=lambda _: None))

    await assert_found(path)


async def test_a_task_of_which_no_entry_tells_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await waiting(path)
    ghost = TaskRecord(
        task=TaskRef(namespace="kube-system", name="ghost", uid="ghost"), secret_written=True,
        secret_uid="victim",
    )  # fmt: skip

    execute(path, f"INSERT INTO task_record (uid, body) VALUES ('ghost', '{encode(ghost)}')")

    assert "no entry tells of it" in await differs(path)
    await assert_found(path)


@pytest.mark.parametrize(
    "body", [{"secret_uid": "victim"}, {"secret_written": True}, {"delivered": ("g-1",)}]
)
async def test_a_task_that_no_pod_was_attested_for_has_no_secret(
    tmp_path: Path, body: dict[str, Any]
) -> None:
    path = tmp_path / "ledger.db"
    record = await refused(path)

    put(path, replace(record, **body))

    await assert_found(path)


async def test_a_move_without_approval_is_what_its_entry_says(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    record = await waiting(path)
    ledger = objects.opened(path)
    blocked = audit.branch_blocked(SECOND, "research", "deploy", NOW, notice("Unapproved"))
    stays = replace(record, blocked_branch="deploy")
    await ledger.commit(Batch(entries=(blocked,), tasks=(stays,)))
    ledger.close()
    assert await differs(path) is None

    for edited in ("", "write"):
        put(path, replace(stays, blocked_branch=edited))
        await assert_found(path)


async def test_a_pod_that_was_taken_from_its_task_while_the_operator_ran_is_found(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path)
    first = replace(RECORD, started_at=NOW)
    await attest(ledger, first)
    gone = audit.forgotten(first, 0, NOW)
    await ledger.commit(Batch(entries=(gone,), forgets=(first.task.uid,)))

    execute(path, "DELETE FROM pod_binding")
    ledger.close()
    ledger = objects.opened(path)
    await attest(ledger, replace(first, task=replace(objects.TASK, uid="task-uid-9")))
    ledger.close()

    assert "is attested as of two tasks" in await differs(path)
    await assert_found(path)


async def test_an_entry_of_a_clock_that_went_back_says_when_it_was(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = objects.opened(path, now=NOW + timedelta(hours=1))
    record = replace(RECORD, started_at=NOW, origin=Origin(names=(JANE,)))
    await attest(ledger, record)
    ledger.close()
    assert await differs(path) is None

    put(path, replace(record, started_at=NOW - timedelta(hours=1)))
    await assert_found(path)


@pytest.mark.parametrize("change", ["used = -1000", "at = 'x'", "at = '2026-11-25T10:00:00'"])
async def test_a_meter_of_nobodys_making_is_found(tmp_path: Path, change: str) -> None:
    path = tmp_path / "ledger.db"
    await waiting(path)
    execute(path, f"INSERT INTO meter (account, used, at) VALUES ('n/s', 5, '{NOW.isoformat()}')")
    assert await differs(path) is None

    execute(path, f"UPDATE meter SET {change}")

    await assert_found(path)


@pytest.mark.parametrize("epoch", [-1, 2**31, 2**53 - 1, 2**63 - 1])
async def test_a_head_that_was_opened_too_often_is_refused_with_a_remedy(
    tmp_path: Path, epoch: int
) -> None:
    path = tmp_path / "ledger.db"
    await waiting(path)

    execute(path, f"UPDATE head SET epoch = {epoch}")

    with pytest.raises(LedgerError, match="restore a copy that verifies"):
        objects.opened(path)


@pytest.mark.parametrize("epoch", [0, 1])
async def test_a_count_of_openings_that_was_set_back_is_named_with_what_to_do(
    tmp_path: Path, epoch: int
) -> None:
    path = tmp_path / "ledger.db"
    for _ in range(3):
        objects.opened(path).close()
    execute(path, f"UPDATE head SET epoch = {epoch}")

    with pytest.raises(LedgerError, match=r"somebody has set the count back.* restore a copy"):
        objects.opened(path)
    execute(path, "UPDATE head SET epoch = 3")
    assert await differs(path) is None
