"""The names beside the log, which can be erased (core/audit/pseudonyms.py)."""

import secrets
import sqlite3
from collections.abc import Mapping

from taskpass.core.audit.pseudonyms import SALT_BYTES, Person, is_person


class People:
    """Names within the writer's transactions. Use it in the writer's thread.

    The table is read once: a row that somebody edits later is never what an entry is about.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._known: dict[str, Person] = {}
        """By name."""
        self._new: dict[str, Person] = {}
        """Drawn for entries that are not written yet."""

    def read(self) -> None:
        """Read the table."""
        rows = self._db.execute("SELECT ref, name, salt FROM person")
        self._known = {name: Person(ref, name, bytes(salt)) for ref, name, salt in rows}

    def everybody(self) -> tuple[Person, ...]:
        """Return all who are known."""
        return tuple(self._known.values())

    def begin(self) -> None:
        """Forget who was drawn for entries that were then refused."""
        self._new.clear()

    def fields(self, people: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
        """Return what an entry says of people; nothing is written."""
        return {role: self._fields(name) for role, name in people.items() if name}

    def write(self) -> None:
        """Write down who is new, with the entry that is about them."""
        if not self._new:
            return
        self._known |= self._new
        try:
            self._insert(self._new)
        except sqlite3.IntegrityError:
            # Somebody has put such a row there, perhaps in the place of another: no entry waits for
            # that, and no name is lost by it.
            self._write_anew()
        self._new.clear()

    def reference(self, name: str) -> str:
        """Return somebody's reference; '' where nothing is known of them."""
        return self._known[name].ref if name in self._known else ""

    def erase(self, name: str) -> None:
        """Delete what is known of somebody, and write the table anew without it.

        Where SQLite moved rows from page to page, their bytes stay behind in what a page does not
        use, unless `secure_delete` is on.
        """
        self._known.pop(name, None)
        self._write_anew()

    def _write_anew(self) -> None:
        self._db.execute("DELETE FROM person")
        self._insert(self._known)

    def _insert(self, people: Mapping[str, Person]) -> None:
        self._db.executemany(
            "INSERT INTO person (ref, name, salt) VALUES (?, ?, ?)",
            [(each.ref, each.name, each.salt) for each in people.values()],
        )

    def _fields(self, name: str) -> Mapping[str, str]:
        if not is_person(name):
            return {"name": name}
        person = self._known.get(name) or self._new.get(name)
        if person is None:
            person = self._new[name] = Person(drawn(), name, secrets.token_bytes(SALT_BYTES))
        return person.fields()


def drawn() -> str:
    """Return a reference that nobody has."""
    return f"p-{secrets.token_hex(8)}"
