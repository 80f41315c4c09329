"""Hold all that is believed of a ledger against its log while it is in use.

A start checks the head, its signature and the right edge, which takes the same time however long
the log is. Whether the rest is what the log says is found out here, beside the work:

1. `compare`: every entry and tile is hashed up to the head that the writer itself has, and what it
   has read of the tables is held against the entries: what is held, in every field that the log
   has too, tasks, pods, people. Index, tiles and `min_index` are compared in the file. Nothing is
   issued before it is done; revoking does not wait for it.
2. `examine`: SQLite looks at every page and index of the file. Nobody waits for that.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from taskpass.core.audit.anchor import Head
from taskpass.core.errors import TaskpassError
from taskpass.ledger.log.reader import LogReader, TamperEvidence, reading
from taskpass.ledger.state.noted import Noted
from taskpass.ledger.verify.database import check_structure
from taskpass.ledger.verify.log import verify_noted

_REMEDY = "restore a copy that `taskpass audit verify` accepts"
_STEPS = 100_000
"""Steps of SQLite between two looks at whether to end."""


class _Ended(Exception):
    """Nobody wants to know any more."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A ledger at one moment: what lies at its path, and what its writer has in memory."""

    path: Path
    log: LogReader
    head: Head
    """The writer's own."""
    min_index: int
    """The same: which entries are absent by policy."""
    noted: Noted
    held: contextlib.ExitStack
    """Keeps the file's state; it must be closed."""


def compare(frozen: Frozen, ended: Callable[[], bool]) -> str | None:
    """Return what is not as the log says, in a sentence; None if all is, or if `ended` says so.

    It lets the file go in the end.
    """

    def look(done: int, size: int) -> None:
        if ended():
            raise _Ended

    try:
        with frozen.held:
            check_is_written(frozen.log, frozen.head, frozen.min_index)
            verify_noted(frozen.log, frozen.noted, look)
    except _Ended:
        return None
    except (TaskpassError, sqlite3.Error) as error:
        return None if ended() else differs(frozen.path, error)
    except (ValueError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        # A value of a kind that nothing of ours writes: what is read of it may be anything.
        strange = TamperEvidence(f"a value of no kind that is written ({type(error).__name__})")
        return None if ended() else differs(frozen.path, strange)
    return None


def differs(path: Path, error: Exception) -> str:
    """Return the sentence that says what differs."""
    return f"The ledger {path} is not what its log says ({error}); {_REMEDY}"


def check_is_written(log: LogReader, head: Head, min_index: int) -> None:
    """Raise `TamperEvidence` where a file is not what its writer has written, to the last entry.

    `min_index` is where the writer remembers that the entries begin that are there.
    """
    if (log.size, log.root, log.note) != (head.size, head.root, head.note):
        raise TamperEvidence(
            f"its head tells of {log.size} entries, and is not the one that was written with the "
            f"last of {head.size}: somebody has edited it, or put another file in its place"
        )
    if log.min_index != min_index:
        raise TamperEvidence(
            f"its head says that the entries before {log.min_index} are absent, and those before "
            f"{min_index} are: somebody has edited it"
        )


def examine(path: Path, ended: Callable[[], bool]) -> str | None:
    """Return what is damaged, in a sentence; None if nothing is, or if `ended` says so."""
    try:
        with reading(path) as log:
            log.db.set_progress_handler(lambda: int(ended()), _STEPS)
            check_structure(log.db)
    except (TaskpassError, sqlite3.Error) as error:
        return None if ended() else f"The ledger {path} is damaged ({error}); {_REMEDY}"
    return None
