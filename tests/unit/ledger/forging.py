"""What somebody does to a ledger's file who has no key: by SQL, and beneath it."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from taskpass.ledger.maintain.copy import copy


def execute(path: Path, *statements: str) -> None:
    """Run statements as anybody's `sqlite3` would."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


@contextlib.contextmanager
def first_tile_emptied(path: Path) -> Iterator[None]:
    """Have the first tile of hashes say nothing, for a while."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        ((tile,),) = db.execute("SELECT b FROM tile WHERE l = 0 AND n = 0").fetchall()
    execute(path, "UPDATE tile SET b = zeroblob(8192) WHERE l = 0 AND n = 0")
    yield
    execute(path, f"UPDATE tile SET b = x'{tile.hex()}' WHERE l = 0 AND n = 0")


def put_copy_in_place(path: Path) -> None:
    """Put a copy in the place of a ledger that somebody has open, who goes on with the other."""
    copy(path, path.with_name("copy.db"))
    for each in ("-wal", "-shm", ""):
        Path(f"{path}{each}").rename(path.with_name(f"away.db{each}"))
    path.with_name("copy.db").rename(path)


def hide_rows(path: Path, index: str, *numbers: int) -> None:
    """Leave rows of `idx` out of one of its indexes: a query by that finds them no more."""
    where = " AND ".join(f"seq <> {number}" for number in numbers)
    more = f"sql || ' AND {where}'"
    less = f"replace(sql, ' AND {where}', '')"
    for change, then in ((more, f"REINDEX {index}"), (less, "SELECT 1")):
        _rewrite(path, f"UPDATE sqlite_schema SET sql = {change} WHERE name = '{index}'")
        execute(path, then)


def empty_unique_index(path: Path) -> None:
    """Put an empty index in the place of the one that keeps ids unique."""
    execute(path, "CREATE TABLE strange (id BLOB NOT NULL UNIQUE)")
    _rewrite(
        path,
        "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name ="
        " 'sqlite_autoindex_strange_1') WHERE name = 'sqlite_autoindex_idx_1'",
        "DELETE FROM sqlite_schema WHERE tbl_name = 'strange'",
    )


def _rewrite(path: Path, *statements: str) -> None:
    execute(path, "PRAGMA writable_schema = ON", *statements, "PRAGMA writable_schema = RESET")
