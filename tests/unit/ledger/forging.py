"""What somebody does to a ledger's file who has no key: by SQL, and beneath it."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from taskpass.core.audit.canonical import entry_bytes
from taskpass.core.audit.log_events import key_rotated
from taskpass.ledger.log.frontier import partial_tiles
from taskpass.ledger.log.index import index_row
from taskpass.ledger.log.key_history import declared_key
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import Signer
from taskpass.ledger.maintain.copy import copy
from taskpass.tlog.checkpoint import (
    Checkpoint,
    PublicKey,
    Signature,
    parse_body,
    parse_note,
    signed_note,
)
from taskpass.tlog.merkle import Tree, leaf_hash
from tests.unit.ledger import objects


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


def gone_on(path: Path, mine: Signer, *, handover: str) -> None:
    """Go on with a log by another key: an entry hands over to it, and more are signed by it.

    `handover` is what is kept as the handover's checkpoint: `none`, `mine` (signed by the other key
    alone), or the text of another.
    """
    with reading(path) as log:
        origin, tree = parse_body(parse_note(log.note)[0]).origin, Tree(partial_tiles(log))
        time = json.loads(log.entry(log.size - 1))["time"]
        before = declared_key(log).vkey()
    key = PublicKey(origin, mine.public_key)
    rotation = key_rotated(origin, before, key.vkey(), "", objects.NOW)
    for number, entry in enumerate([rotation, *map(objects.entry, ("x", "y"))]):
        body = entry_bytes(entry, source=origin, time=time, adjusted=False)
        row = index_row(json.loads(body))
        _execute(path, "INSERT INTO entry VALUES (?, ?)", tree.size, body)
        _execute(path, f"INSERT INTO idx VALUES (?{', ?' * len(row)})", tree.size, *row)
        tree.append(leaf_hash(body))
        note = _signed(Checkpoint(origin, tree.size, tree.root()), key, mine)
        if not number and handover != "none":
            kept = note if handover == "mine" else handover
            _execute(path, "INSERT INTO ckpt VALUES (?, ?, 'handover')", tree.size, kept)
    head = (tree.size, tree.root(), tree.frontier(), note)
    _execute(path, "UPDATE head SET size = ?, root = ?, frontier = ?, note = ?", *head)


def _execute(path: Path, statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(statement, values)


def _signed(checkpoint: Checkpoint, key: PublicKey, signer: Signer) -> str:
    body = checkpoint.body()
    return signed_note(body, Signature(key.name, key.id, signer.sign(body.encode())))
