"""The names beside the log, which can be erased (core/audit/pseudonyms.py)."""

import secrets
import sqlite3
from collections.abc import Mapping

from taskpass.core.audit.pseudonyms import SALT_BYTES, Person, is_person

Told = Mapping[str, Mapping[str, str]]
"""By the role that somebody has in an entry: what the entry says of them."""


class People:
    """Names within the writer's transactions. Use it in the writer's thread."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._new: dict[str, Person] = {}
        """Drawn for entries that are not written yet."""

    def begin(self) -> None:
        """Forget who was drawn for entries that were then refused."""
        self._new.clear()

    def fields(self, people: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
        """Return what an entry says of people; nothing is written."""
        return {role: self._fields(name) for role, name in people.items() if name}

    def write(self) -> None:
        """Write down who is new, with the entry that is about them."""
        for person in self._new.values():
            row = (person.ref, person.name, person.salt)
            self._db.execute("INSERT INTO person (ref, name, salt) VALUES (?, ?, ?)", row)
        self._new.clear()

    def erase(self, name: str) -> str:
        """Delete what is known of somebody; return their reference, '' where nothing is."""
        sql = "DELETE FROM person WHERE name = ? RETURNING ref"
        row = self._db.execute(sql, (name,)).fetchone()
        return "" if row is None else str(row[0])

    def _fields(self, name: str) -> Mapping[str, str]:
        if not is_person(name):
            return {"name": name}
        if name in self._new:
            return self._new[name].fields()
        row = self._db.execute("SELECT ref, salt FROM person WHERE name = ?", (name,)).fetchone()
        if row is not None:
            return Person(row[0], name, bytes(row[1])).fields()
        person = Person(f"p-{secrets.token_hex(8)}", name, secrets.token_bytes(SALT_BYTES))
        self._new[name] = person
        return person.fields()
