"""Hold all of a ledger's file against its log while it is in use.

A start checks the head, its signature and the right edge, which takes the same time however long
the log is. Whether the rest of the file is what the log says is found out here, beside the work:

1. `compare`: every entry and tile is hashed, and every table is held against the entries: what is
   held, in every field that the log has too, tasks, pods, people, index, `min_index`. Nothing is
   issued before it is done; revoking does not wait for it.
2. `examine`: SQLite looks at every page and index of the file. Nobody waits for that.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from taskpass.core.errors import TaskpassError
from taskpass.ledger.log.reader import reading
from taskpass.ledger.verify.database import check_structure
from taskpass.ledger.verify.log import verify_state

_REMEDY = "restore a copy that `taskpass audit verify` accepts"
_STEPS = 100_000
"""Steps of SQLite between two looks at whether to end."""


class _Ended(Exception):
    """Nobody wants to know any more."""


def compare(path: Path, ended: Callable[[], bool]) -> str | None:
    """Return what is not as the log says, in a sentence; None if all is, or if `ended` says so."""

    def look(done: int, size: int) -> None:
        if ended():
            raise _Ended

    try:
        verify_state(path, look)
    except _Ended:
        return None
    except (TaskpassError, sqlite3.Error) as error:
        said = f"The ledger {path} is not what its log says ({error}); {_REMEDY}"
        return None if ended() else said
    except (ValueError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        # A value of a kind that nothing of ours writes: what is read of it may be anything.
        strange = f"a value of no kind that is written ({type(error).__name__})"
        said = f"The ledger {path} is not what its log says: {strange}; {_REMEDY}"
        return None if ended() else said
    return None


def examine(path: Path, ended: Callable[[], bool]) -> str | None:
    """Return what is damaged, in a sentence; None if nothing is, or if `ended` says so."""
    try:
        with reading(path) as log:
            log.db.set_progress_handler(lambda: int(ended()), _STEPS)
            check_structure(log.db)
    except (TaskpassError, sqlite3.Error) as error:
        return None if ended() else f"The ledger {path} is damaged ({error}); {_REMEDY}"
    return None
