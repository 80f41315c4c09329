"""The rows of entries and of their index: found by id, and written together.

A statement of SQLite for each entry would cost more than all the rest of writing it.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from typing import Any

from taskpass.core.model.entry import PREFIX

IndexRow = tuple[bytes, object, object, object, object, object]
"""What the index keeps of an entry: id, type, time, subject, task UID, grant id."""
LOOKUP = 64
"""How many ids are looked for at once."""
_FIND = f"SELECT id, seq FROM idx WHERE id IN ({', '.join('?' * LOOKUP)})"  # noqa: S608 (marks)
_CUT = len(PREFIX)
_NOTHING: dict[str, Any] = {}


class Rows:
    """The rows of one transaction. Use it in the writer's thread."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._known: dict[bytes, int] = {}
        """Where the entries of an id are, -1 for nowhere."""
        self._entries: list[tuple[int, bytes]] = []
        self._index: list[tuple[object, ...]] = []

    def expect(self, ids: Sequence[str]) -> None:
        """Find out at once which of these ids are there; `find` asks one by one otherwise."""
        identities = []
        for each in ids:
            with contextlib.suppress(ValueError):  # whoever admits the entry refuses it
                identities.append(identity_of(each))
        for start in range(0, len(identities), LOOKUP):
            some = identities[start : start + LOOKUP]
            self._known |= dict.fromkeys(some, -1)
            padded = (*some, *[b""] * (LOOKUP - len(some)))
            self._known |= dict(self._db.execute(_FIND, padded).fetchall())

    def find(self, identity: bytes) -> int:
        """Return the index of the entry of an id; -1 where there is none."""
        if identity not in self._known:
            sql = "SELECT seq FROM idx WHERE id = ?"
            found = self._db.execute(sql, (identity,)).fetchone()
            self._known[identity] = -1 if found is None else found[0]
        return self._known[identity]

    def add(self, index: int, body: bytes, row: IndexRow) -> None:
        """Take in an entry; it is in the tables after `write`."""
        self._known[row[0]] = index
        self._entries.append((index, body))
        self._index.append((index, *row))

    def write(self) -> None:
        """Write what was taken in."""
        if self._entries:
            self._db.executemany("INSERT INTO entry (seq, body) VALUES (?, ?)", self._entries)
            self._db.executemany(
                "INSERT INTO idx (seq, id, type, time, subject, task, cred)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                self._index,
            )
            self._entries, self._index = [], []

    def conclude(self) -> None:
        """Write, and forget what was found: the next transaction looks anew."""
        self.write()
        self._known.clear()


def identity_of(text: str) -> bytes:
    """Return the 16 bytes of an entry's id, a UUID as text; another text is a ValueError."""
    raw = bytes.fromhex(text.replace("-", ""))
    if len(raw) != 16:
        raise ValueError("its id is not a UUID")
    return raw


def index_row(event: dict[str, Any]) -> IndexRow:
    """Return what the index keeps of an entry that was read.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: It is no event of ours.

    """
    data = event["data"]
    if not isinstance(data, dict):
        raise TypeError("an event of ours has data")
    get = data.get
    return (
        identity_of(event["id"]), event["type"][_CUT:], event["time"], event.get("subject"),
        get("task", _NOTHING).get("uid"), get("cred", _NOTHING).get("ref"),
    )  # fmt: skip
