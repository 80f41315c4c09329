"""Make a whole copy of a ledger that may be in use."""

import contextlib
import os
import sqlite3
from pathlib import Path

from taskpass.core.errors import UsageError
from taskpass.ledger.log.reader import reading


def copy(path: Path, destination: Path) -> int:
    """Write one state of a ledger into a new file; return how many entries it has.

    Raises:
        UsageError: It is there already, or cannot be written.
        Incomplete, TamperEvidence: As `reading`.

    """
    try:
        os.close(os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise UsageError(f"{destination} is there already; name a new file") from None
    except OSError as error:
        raise UsageError(f"{destination} cannot be written ({error.strerror})") from error
    try:
        with reading(path) as log, contextlib.closing(sqlite3.connect(destination)) as made:
            log.db.backup(made)
            # Nothing beside it is needed any more.
            made.execute("PRAGMA journal_mode = DELETE")
            size = log.size
        descriptor = os.open(destination, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    except BaseException:
        destination.unlink(missing_ok=True)
        raise
    return size
