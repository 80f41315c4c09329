"""Every change that SQL can make to a ledger's file, one at a time: `tampering.py` judges them.

By every table of the schema: a row is deleted, a row is added, each column of a row is edited and
exchanged with another row's; of columns that hold JSON each field, and pairs of them. Nothing here
is a list of what to try: it follows from the schema and from what the rows hold.
"""

import contextlib
import itertools
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from taskpass.core.lifecycle.records import Outcome
from taskpass.core.model.grant import GrantState
from tests.unit.ledger.objects import NOW

Row = tuple[Any, ...]
_TIME = (NOW + timedelta(days=1)).isoformat()


@dataclass(frozen=True, slots=True)
class Change:
    """One change to one row."""

    table: str
    what: str
    """The column, and the field of its JSON after a dot; '' for the row itself."""
    how: str
    """`edit`, `swap`, `delete` or `add`."""
    statements: tuple[tuple[str, Row], ...]
    at: str = ""
    """Which row."""


def changes(path: Path, *, every_row: bool) -> Iterator[Change]:
    """Return each change; of every row, or of one row of a table."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type='table'")]
        for table in tables:
            info = db.execute(f"PRAGMA table_info({table})").fetchall()
            columns = [str(column[1]) for column in info]
            keys = [str(column[1]) for column in info if column[5]]
            rows = db.execute(f"SELECT * FROM {table}").fetchall()
            chosen = rows if every_row else rows[len(rows) // 2 :][:1]
            for row in chosen:
                other = next((r for r in reversed(rows) if r != row), None)
                yield from _of_row(table, columns, keys, row, other)


def _of_row(
    table: str, columns: list[str], keys: list[str], row: Row, other: Row | None
) -> Iterator[Change]:
    where, values = _where(columns, keys, row)
    at = " ".join(str(value) for value in values)
    yield Change(table, "", "delete", ((f"DELETE FROM {table} WHERE {where}", values),), at)
    unlike = tuple(
        _edited(v) if column in {*keys, "id", "name"} else v
        for column, v in zip(columns, row, strict=True)
    )
    marks = ", ".join("?" * len(row))
    yield Change(table, "", "add", ((f"INSERT INTO {table} VALUES ({marks})", unlike),), at)
    for column, value in zip(columns, row, strict=True):
        for field, new in _edits(value):
            what = f"{column}.{field}" if field else column
            statement = f"UPDATE {table} SET {column} = ? WHERE {where}"
            yield Change(table, what, "edit", ((statement, (new, *values)),), at)
        if other is not None and other[columns.index(column)] != value:
            yield _swap(table, columns, keys, column, row, other)


def _swap(
    table: str, columns: list[str], keys: list[str], column: str, row: Row, other: Row
) -> Change:
    """Exchange a value with another row's, past what is unique."""
    at = columns.index(column)
    mine = tuple(other[i] if i == at else v for i, v in enumerate(row))
    theirs = tuple(row[i] if i == at else v for i, v in enumerate(other))
    marks = ", ".join("?" * len(row))
    gone = [
        (f"DELETE FROM {table} WHERE {w}", v)
        for w, v in (_where(columns, keys, row), _where(columns, keys, other))
    ]
    made = [(f"INSERT INTO {table} VALUES ({marks})", each) for each in (mine, theirs)]
    name = " ".join(str(row[columns.index(key)]) for key in keys)
    return Change(table, column, "swap", (*gone, *made), name)


def _where(columns: list[str], keys: list[str], row: Row) -> tuple[str, Row]:
    return (
        " AND ".join(f"{key} = ?" for key in keys),
        tuple(row[columns.index(key)] for key in keys),
    )


def _edits(value: Any) -> Iterator[tuple[str, Any]]:
    """Return other values; of a text that is an object in JSON, some for each of its fields."""
    if isinstance(value, str) and value.startswith("{"):
        for path, new in _within(json.loads(value)):
            yield path, json.dumps(new)
        return
    others = _others(value, "") if isinstance(value, str) else [_edited(value)]
    if isinstance(value, int) and value > 1:
        others.append(1)  # a count that is set back
    for other in others:
        if other is not None:
            yield "", other


def pairs(path: Path) -> Iterator[Change]:
    """Return each change of two fields of one body at once: what one gives away the other hides."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        for table, key in (("grant_state", "id"), ("task_record", "uid")):
            row, text = db.execute(f"SELECT {key}, body FROM {table} ORDER BY rowid").fetchall()[-1]
            body = json.loads(text)
            for one, other in itertools.combinations(body, 2):
                some, more = _others(body[one], one)[-2:], _others(body[other], other)[-2:]
                for mine, theirs in zip(some, more, strict=False):
                    new = json.dumps({**body, one: mine, other: theirs})
                    statement = f"UPDATE {table} SET body = ? WHERE {key} = ?"
                    yield Change(table, f"{one}+{other}", "pair", ((statement, (new, row)),), row)


def _within(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Return a value with one thing in it changed, and the path of that.

    Of a list its last item is changed, dropped, and told twice, and the list is emptied.
    """
    match value:
        case dict() if value:
            for key, inner in value.items():
                for path, new in _within(inner, key):
                    yield f"{key}.{path}".rstrip("."), {**value, key: new}
        case [*before, last]:
            for path, new in _within(last):
                yield path, [*before, new]
            for shorter_or_longer in (before, [], [*value, last]):
                yield "", shorter_or_longer
        case _:
            for other in _others(value, name):
                yield "", other


def _others(value: Any, name: str) -> list[Any]:
    """Return other values that a column or field could have, the likeliest first."""
    text = str(value)
    others = [_edited(value, name)]
    if name == "outcome":
        others += [each.value for each in Outcome]
    elif value is None or value == "":
        others += [_TIME, "task-uid-1", "research"]
    elif isinstance(value, int) and not isinstance(value, bool):
        others += [-1, float(value)]
    elif _is_time(text):
        others += [text.replace("+00:00", "-23:59"), text.replace("+00:00", "")]
    elif isinstance(value, str):
        others += ["", None]
    return [other for other in others if (type(other), other) != (type(value), value)]


def _is_time(text: str) -> bool:
    return len(text) > 19 and text[4] == "-" and text[10] == "T"


def _edited(value: Any, name: str = "") -> Any:
    """Return another value of the same type, such as somebody would put there."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case bytes():
            return bytes([value[0] ^ 1]) + value[1:] if value else b"x"
        case list():
            return [] if value else ["x"]
        case dict():
            return {key: _edited(inner) for key, inner in value.items()}
        case None:
            return _TIME if name.endswith(("_at", "since")) else "x"
    text = str(value)
    if text in set(GrantState):
        return "Delivered" if text != "Delivered" else "Revoked"
    if _is_time(text):
        return text.replace("2026", "2027", 1)
    return f"{text}x"
