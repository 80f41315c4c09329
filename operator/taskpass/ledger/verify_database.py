"""The part of verification that is about a ledger's file: rows, index, and state against the log.

The state tables are not signed. What they say of grants is held against the entries, so that
nobody can make the operator forget a credential by editing a row without that being found.
"""

import contextlib
import sqlite3
from collections.abc import Mapping
from typing import Any

import orjson

from taskpass.core import tiles
from taskpass.core.credential import GrantState
from taskpass.core.merkle import TILE_WIDTH
from taskpass.ledger import schema
from taskpass.ledger.reader import LogReader, TamperEvidence
from taskpass.ledger.rows import index_row

_HELD = frozenset(state.value for state in GrantState if state.held)


class Rows:
    """Holds the tables of the log against what follows from its entries."""

    def __init__(self, log: LogReader) -> None:
        """Check the file's structure first; raise `TamperEvidence` where it is damaged."""
        db = self._db = log.db
        damage = schema.damage(db)
        if damage:
            raise TamperEvidence(f"the database is damaged: {damage}")
        self._first, size = log.min_index, log.size
        begins, full = log.min_index // TILE_WIDTH, size // TILE_WIDTH
        if _numbers(db, "SELECT n FROM bundle ORDER BY n") != list(range(begins, full)):
            raise TamperEvidence("bundles of entries are missing, or too many")
        between = (log.min_index, full * TILE_WIDTH)
        stray = "SELECT count(*) FROM entry WHERE seq >= ? AND seq < ?"
        if db.execute(stray, between).fetchone()[0]:
            raise TamperEvidence("entries lie outside of their bundle")
        self._size = size

    def conclude(self, kept: Mapping[int, bytes]) -> None:
        """Compare what is left of the tables; `kept` are the entries before `min_index`."""
        rows = self._db.execute(
            "SELECT seq, id, type, time, subject, task, cred FROM idx WHERE seq < ? OR seq >= ?"
            " ORDER BY seq",
            (self._first, self._size),
        ).fetchall()
        if rows != [(seq, *index_row(orjson.loads(kept[seq]))) for seq in sorted(kept)]:
            raise TamperEvidence("the index has more or other rows than the log has entries")
        wanted = sum(self._size >> (8 * level) for level in range(1, tiles.levels(self._size)))
        if self._db.execute("SELECT count(*) FROM tile").fetchone()[0] != wanted:
            raise TamperEvidence("there are tiles that no entries hash to")


def check_state(db: sqlite3.Connection, held: set[str]) -> None:
    """Compare the table of grants with those that the entries say are held."""
    noted = set()
    for grant, body in db.execute("SELECT id, body FROM grant_state"):
        said = _loaded(body)
        if said.get("id") != grant or said.get("state") not in _HELD:
            raise TamperEvidence(f"what is noted of grant {grant} is not what an operator writes")
        noted.add(grant)
    for grant in sorted(noted - held):
        if db.execute("SELECT 1 FROM idx WHERE cred = ?", (grant,)).fetchone() is None:
            raise TamperEvidence(f"there is a grant {grant} that no entry tells of")
        raise TamperEvidence(f"grant {grant} is noted as held, and the log says that it is gone")
    for grant in sorted(held - noted):
        raise TamperEvidence(f"the log says that grant {grant} is held, and nothing is noted of it")


def _loaded(body: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        said = orjson.loads(body)
        if isinstance(said, dict):
            return said
    return {}


def _numbers(db: sqlite3.Connection, query: str) -> list[int]:
    return [row[0] for row in db.execute(query)]
