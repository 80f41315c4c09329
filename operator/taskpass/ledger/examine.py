"""Look for damage in all of a ledger's file while it is in use.

A start checks the head, its signature and the right edge, which takes the same time however long
the log is. Everything to the left of that never changes: here every bundle of entries is hashed and
compared with its tile, every tile with the one above it, and SQLite looks at the file's structure.
Nobody waits for it, so it leaves the processor to others half of the time.
"""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from taskpass.core.errors import TaskpassError
from taskpass.core.merkle import TILE_WIDTH, Tree, leaf_hash, subtree_root
from taskpass.core.tiles import hashes_of
from taskpass.ledger import schema
from taskpass.ledger.reader import LogReader, TamperEvidence, reading

_REMEDY = "restore a copy that `taskpass audit verify` accepts"
_STEPS = 100_000
"""Steps of SQLite between two looks at whether to end."""


def examine(path: Path, ended: Callable[[], bool]) -> str:
    """Return what is damaged, in a sentence; '' if nothing is, or if `ended` says so meanwhile."""
    try:
        with reading(path) as log:
            # Each read for itself: one transaction that long would keep the write-ahead log.
            log.db.execute("ROLLBACK")
            log.db.set_progress_handler(lambda: int(ended()), _STEPS)
            damage = schema.damage(log.db)
            if damage:
                return f"The ledger {path} is damaged ({damage}); {_REMEDY}"
            _check_tiles(log, ended)
    except (TaskpassError, sqlite3.Error) as error:
        return "" if ended() else f"The ledger {path} is damaged ({error}); {_REMEDY}"
    return ""


def _check_tiles(log: LogReader, ended: Callable[[], bool]) -> None:
    tree = Tree()
    for number in range(log.size // TILE_WIDTH):
        if ended():
            return
        began = time.monotonic()
        stored = log.tile(0, number)
        if number * TILE_WIDTH in log.bodies:
            hashes = b"".join(map(leaf_hash, log.bundle(number)))
            if hashes != stored:
                raise TamperEvidence(f"bundle {number} is not what its tile says")
        for tile in tree.append_bundle(subtree_root(hashes_of(stored))):
            if log.tile(tile.level, tile.number) != tile.data:
                raise TamperEvidence(f"tile {tile.level}/{tile.number} is not what is below it")
        time.sleep(time.monotonic() - began)
