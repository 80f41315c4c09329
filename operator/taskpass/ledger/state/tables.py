"""The tables of what the entries tell of: grants, task records, bindings of pods, trails, meters.

They are read whole, once (`noted.py`).
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from taskpass.core.audit.pseudonyms import Person
from taskpass.core.errors import EntryRefused
from taskpass.core.lifecycle.records import PodBinding, TaskRecord, TrailItem
from taskpass.core.model.grant import Grant
from taskpass.core.model.notice import Notice, Severity
from taskpass.core.rate_limit.budget import Meter, account_of_task
from taskpass.ledger.state.encoding import Texts, decode, encode, read_time, typed

Value = TypeVar("Value")
TRAIL_LENGTH = 10
"""How many notices of a task are kept; the log keeps all."""


class StrangeRow(ValueError):
    """A row has a value that no operator writes, or none of this version."""


def encoded(values: Sequence[Grant | TaskRecord]) -> list[str]:
    """Return the values as they will be stored.

    Raises:
        EntryRefused: One of them is not JSON (a provider's state).

    """
    try:
        return [encode(value) for value in values]
    except TypeError as error:
        raise EntryRefused(f"A grant or task record cannot be stored: {error}") from error


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
    """Write the records whole."""
    db.executemany(
        "INSERT INTO task_record (uid, body) VALUES (?, ?)"
        " ON CONFLICT (uid) DO UPDATE SET body = excluded.body",
        [(r.task.uid, body) for r, body in zip(records, bodies, strict=True)],
    )


def write_bindings(db: sqlite3.Connection, bound: Sequence[PodBinding]) -> None:
    """Bind pods, whose gates are not lifted."""
    db.executemany(
        "INSERT INTO pod_binding (pod_uid, task_uid, lifted, namespace, name)"
        " VALUES (?, ?, 0, ?, ?) ON CONFLICT DO NOTHING",
        [(each.pod_uid, each.task_uid, each.namespace, each.name) for each in bound],
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
    try:
        return {account: Meter(used=typed(int, n), at=read_time(at)) for account, n, at in rows}
    except (ValueError, TypeError) as error:
        raise StrangeRow("a meter is not what an operator writes") from error


def drop_stray_trails(db: sqlite3.Connection) -> None:
    """Drop the trails of tasks without a record: what a debt's end told after its task was gone."""
    db.execute("DELETE FROM trail WHERE task_uid NOT IN (SELECT uid FROM task_record)")


def bindings(db: sqlite3.Connection) -> Iterator[tuple[PodBinding, bool]]:
    """Read every binding, and whether the pod's gate was lifted.

    Files of before have no column for that, and none for where the pod was.
    """
    columns = {row[1] for row in db.execute("PRAGMA table_info(pod_binding)")}
    place = "namespace, name" if "name" in columns else "'', ''"
    lifted = "lifted" if "lifted" in columns else "1"
    texts: Texts = {}
    share = texts.setdefault
    for pod, task, namespace, name, was_lifted in db.execute(
        f"SELECT pod_uid, task_uid, {place}, {lifted} FROM pod_binding"  # noqa: S608 (ours)
    ):
        yield PodBinding(
            pod_uid=pod, task_uid=share(task, task), namespace=share(namespace, namespace),
            name=name,
        ), bool(was_lifted)  # fmt: skip


def held_grants(db: sqlite3.Connection) -> Iterator[tuple[str, Grant]]:
    """Read every grant that is held, by the id of its row; raise `StrangeRow` of another value."""
    texts: Texts = {}
    for id_, body in db.execute("SELECT id, body FROM grant_state ORDER BY rowid"):
        yield id_, _decoded(Grant, body, f"grant {id_}", texts)


def task_records(db: sqlite3.Connection) -> Iterator[tuple[str, TaskRecord]]:
    """Read every record, by the UID of its row; raise `StrangeRow` of another value."""
    texts: Texts = {}
    for uid, body in db.execute("SELECT uid, body FROM task_record ORDER BY rowid"):
        yield uid, _decoded(TaskRecord, body, f"task {uid}", texts)


def trails(db: sqlite3.Connection) -> Iterator[tuple[str, TrailItem, bool]]:
    """Read every trail, each from its oldest item, and whether its row is one that we write."""
    rows = db.execute(
        "SELECT task_uid, seq, time, reason, message, severity, on_pod, audit_index FROM trail"
        " ORDER BY task_uid, seq"
    )
    texts: Texts = {}
    for uid, seq, time, reason, message, severity, on_pod, index in rows:
        try:
            notice = Notice(
                reason=texts.setdefault(reason, reason),
                message=message,
                severity=Severity(severity),
                on_pod=bool(on_pod),
            )
            item = TrailItem(time=read_time(time), notice=notice, audit_index=index)
        except (ValueError, TypeError) as error:
            raise StrangeRow(
                f"an item of the trail of task {uid} has no time or severity"
            ) from error
        yield texts.setdefault(uid, uid), item, seq == index and on_pod in (0, 1)


def people(db: sqlite3.Connection) -> Iterator[Person]:
    """Read what is known of everybody."""
    for ref, name, salt in db.execute("SELECT ref, name, salt FROM person ORDER BY name"):
        yield Person(ref, name, bytes(salt))


def _decoded(kind: type[Value], body: str, what: str, texts: Texts) -> Value:
    try:
        return decode(kind, body, texts)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StrangeRow(f"what is noted of {what} is not what an operator writes") from error
