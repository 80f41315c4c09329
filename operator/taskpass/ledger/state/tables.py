"""The state that the entries tell of: grants, task records, bindings of pods, trails, meters."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence

from taskpass.core.errors import EntryRefused, PodAlreadyBound
from taskpass.core.lifecycle.records import PodBinding, TaskRecord, TrailItem
from taskpass.core.model.grant import Grant
from taskpass.core.model.notice import Notice, Severity
from taskpass.core.rate_limit.budget import Meter, account_of_task
from taskpass.ledger.state.encoding import Texts, decode, encode, read_time, typed

TRAIL_LENGTH = 10
"""How many notices of a task are kept; the log keeps all."""


def encoded(values: Sequence[Grant | TaskRecord]) -> list[str]:
    """Return the values as they will be stored.

    Raises:
        EntryRefused: One of them is not JSON (a provider's state).

    """
    try:
        return [encode(value) for value in values]
    except TypeError as error:
        raise EntryRefused(f"A grant or task record cannot be stored: {error}") from error


def check_bindings(db: sqlite3.Connection, records: Sequence[TaskRecord]) -> None:
    """Raise `PodAlreadyBound` where a record's pod was bound to another task UID before."""
    seen: dict[str, str] = {}
    for record in records:
        if not record.pod_uid:
            continue
        uid = record.task.uid
        if (seen.get(record.pod_uid) or bound_task(db, record.pod_uid) or uid) != uid:
            raise PodAlreadyBound(
                f"Pod '{record.pod_name}' is bound to an earlier task of this name; delete the pod "
                "so that its workload makes a new one"
            )
        seen[record.pod_uid] = uid


def check_unbound(db: sqlite3.Connection, pod_uids: Sequence[str]) -> None:
    """Raise `EntryRefused` where a pod is bound to a task that is remembered, or to none."""
    for uid in pod_uids:
        task = bound_task(db, uid)
        known = db.execute("SELECT 1 FROM task_record WHERE uid = ?", (task,)).fetchone()
        if task is None or known:
            raise EntryRefused(f"Pod {uid} is bound to no task that is forgotten")


def write_grants(db: sqlite3.Connection, grants: Mapping[str, tuple[Grant, str]]) -> None:
    """Write grants whole, by id; one that is gone leaves the table, as the log tells of it."""
    held = [(id_, body) for id_, (grant, body) in grants.items() if grant.state.held]
    if held:
        db.executemany(
            "INSERT INTO grant_state (id, body) VALUES (?, ?)"
            " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            held,
        )
    gone = [(id_,) for id_, (grant, _) in grants.items() if not grant.state.held]
    if gone:
        db.executemany("DELETE FROM grant_state WHERE id = ?", gone)


def write_records(
    db: sqlite3.Connection, records: Sequence[TaskRecord], bodies: Sequence[str]
) -> None:
    """Write the records whole, and bind their pods."""
    db.executemany(
        "INSERT INTO task_record (uid, body) VALUES (?, ?)"
        " ON CONFLICT (uid) DO UPDATE SET body = excluded.body",
        [(r.task.uid, body) for r, body in zip(records, bodies, strict=True)],
    )
    db.executemany(
        "INSERT INTO pod_binding (pod_uid, task_uid, lifted, namespace, name)"
        " VALUES (?, ?, 0, ?, ?) ON CONFLICT DO NOTHING",
        [(r.pod_uid, r.task.uid, r.task.namespace, r.pod_name) for r in records if r.pod_uid],
    )


def write_lifts(db: sqlite3.Connection, pod_uids: Sequence[str]) -> None:
    """Write that the gates of bound pods are lifted next."""
    db.executemany(
        "UPDATE pod_binding SET lifted = 1 WHERE pod_uid = ?", [(uid,) for uid in pod_uids]
    )


def drop_bindings(db: sqlite3.Connection, pod_uids: Sequence[str]) -> None:
    """Drop the bindings of pods."""
    db.executemany("DELETE FROM pod_binding WHERE pod_uid = ?", [(uid,) for uid in pod_uids])


def write_trail(db: sqlite3.Connection, task_uid: str, item: TrailItem) -> None:
    """Add to a task's trail, and drop what is older than its last ten."""
    notice = item.notice
    db.execute(
        "INSERT INTO trail (task_uid, seq, time, reason, message, severity, on_pod, audit_index)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            task_uid, item.audit_index, item.time.isoformat(), notice.reason, notice.message,
            notice.severity.value, int(notice.on_pod), item.audit_index,
        ),
    )  # fmt: skip
    db.execute(
        "DELETE FROM trail WHERE task_uid = ? AND seq <= (SELECT seq FROM trail"
        " WHERE task_uid = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)",
        (task_uid, task_uid, TRAIL_LENGTH),
    )


def forget(db: sqlite3.Connection, task_uid: str) -> None:
    """Drop a task's record, trail and meter."""
    db.execute("DELETE FROM task_record WHERE uid = ?", (task_uid,))
    db.execute("DELETE FROM trail WHERE task_uid = ?", (task_uid,))
    db.execute("DELETE FROM meter WHERE account = ?", (account_of_task(task_uid),))


def write_meters(db: sqlite3.Connection, meters: Mapping[str, Meter]) -> None:
    """Write how much each account has used."""
    if meters:
        db.executemany(
            "INSERT INTO meter (account, used, at) VALUES (?, ?, ?)"
            " ON CONFLICT (account) DO UPDATE SET used = excluded.used, at = excluded.at",
            [(account, m.used, m.at.isoformat()) for account, m in meters.items()],
        )


def meters(db: sqlite3.Connection) -> dict[str, Meter]:
    """Read how much each account has used; nothing where the file is older than that."""
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meter'").fetchone():
        return {}
    rows = db.execute("SELECT account, used, at FROM meter")
    return {account: Meter(used=typed(int, n), at=read_time(at)) for account, n, at in rows}


def drop_stray_trails(db: sqlite3.Connection) -> None:
    """Drop the trails of tasks without a record: what a debt's end told after its task was gone."""
    db.execute("DELETE FROM trail WHERE task_uid NOT IN (SELECT uid FROM task_record)")


def bound_task(db: sqlite3.Connection, pod_uid: str) -> str | None:
    """Return the UID of the task that a pod was ever bound to."""
    row = db.execute("SELECT task_uid FROM pod_binding WHERE pod_uid = ?", (pod_uid,)).fetchone()
    return None if row is None else str(row[0])


def bindings(db: sqlite3.Connection) -> Iterator[PodBinding]:
    """Read every binding; where the pod was is not in files of before."""
    columns = {row[1] for row in db.execute("PRAGMA table_info(pod_binding)")}
    place = "namespace, name" if "name" in columns else "'', ''"
    rows = db.execute(f"SELECT pod_uid, task_uid, {place} FROM pod_binding")  # noqa: S608 (ours)
    return map(_binding, rows)


def leftover_bindings(db: sqlite3.Connection, after: str, most: int) -> list[PodBinding]:
    """Read bindings of tasks that are forgotten, in order, from a pod's UID on."""
    rows = db.execute(
        "SELECT pod_uid, task_uid, namespace, name FROM pod_binding WHERE pod_uid > ?"
        " AND name <> '' AND task_uid NOT IN (SELECT uid FROM task_record)"
        " ORDER BY pod_uid LIMIT ?",
        (after, most),
    )
    return [_binding(row) for row in rows]


def _binding(row: tuple[str, str, str, str]) -> PodBinding:
    pod, task, namespace, name = row
    return PodBinding(pod_uid=pod, task_uid=task, namespace=namespace, name=name)


def gate_lifted(db: sqlite3.Connection, pod_uid: str) -> bool:
    """Tell whether a pod's gate was lifted; of one that was never bound it was not."""
    row = db.execute("SELECT lifted FROM pod_binding WHERE pod_uid = ?", (pod_uid,)).fetchone()
    return row is not None and bool(row[0])


def held_grants(db: sqlite3.Connection) -> Iterator[Grant]:
    """Read every grant that is held."""
    rows = db.execute("SELECT body FROM grant_state ORDER BY rowid")
    texts: Texts = {}
    return (decode(Grant, row[0], texts) for row in rows)


def task_record(db: sqlite3.Connection, uid: str) -> TaskRecord | None:
    """Read a task's record; None where there is none."""
    row = db.execute("SELECT body FROM task_record WHERE uid = ?", (uid,)).fetchone()
    return None if row is None else decode(TaskRecord, row[0])


def task_records(db: sqlite3.Connection) -> Iterator[TaskRecord]:
    """Read every record."""
    rows = db.execute("SELECT body FROM task_record ORDER BY rowid")
    texts: Texts = {}
    return (decode(TaskRecord, row[0], texts) for row in rows)


def trails(db: sqlite3.Connection) -> Iterator[tuple[str, TrailItem]]:
    """Read every trail, each from its oldest item."""
    rows = db.execute(
        "SELECT task_uid, time, reason, message, severity, on_pod, audit_index FROM trail"
        " ORDER BY task_uid, seq"
    )
    texts: Texts = {}
    for uid, time, reason, message, severity, on_pod, index in rows:
        notice = Notice(
            reason=texts.setdefault(reason, reason),
            message=message,
            severity=Severity(severity),
            on_pod=bool(on_pod),
        )
        yield uid, TrailItem(time=read_time(time), notice=notice, audit_index=index)
