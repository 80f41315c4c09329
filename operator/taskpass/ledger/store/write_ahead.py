"""SQLite's write-ahead log: folded into the file by us, and its answer looked at.

SQLite would do it by itself at a commit, and swallow what goes wrong. Here an error of the disk is
an error, and a reader that keeps what it reads from being folded in is known by its process.
"""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)
FOLD_BYTES = 4 << 20
"""Once it has grown by as much, it is folded into the file."""
LARGE_BYTES = 64 << 20
"""From here on people are told who keeps it from being folded in."""
TURNS, PAUSE_SECONDS = 100, 0.2
"""How often, and with what pause, it is tried to have nothing left of what was erased."""
_LOCKS = Path("/proc/locks")
_FIRST_READER, _LAST_READER = 123, 127
"""The bytes of the shared-memory file that readers of a state lock (SQLite's file format, 4.3)."""


class WriteAheadLog:
    """Of one connection, in the thread that writes by it."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path
        self._left = 0
        """Bytes that the last try left in it."""
        self._told = False

    def fold(self) -> bool:
        """Fold all of it into the file and empty it; False where a reader is in the way.

        Nothing waits: what could not be folded in now is tried again with the next. On return of
        True no byte of an earlier state is left beside the file.

        Raises:
            sqlite3.Error: The disk failed.

        """
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            self._db.execute("PRAGMA busy_timeout = 5000")
        self._left = size_of(self._path) if busy else 0
        return not busy

    def fold_where_due(self) -> None:
        """Fold it in where it has grown; call it after a commit. Raises as `fold`."""
        size = size_of(self._path)
        if size - self._left < FOLD_BYTES:
            return
        if not self.fold() and size >= LARGE_BYTES and not self._told:
            self._told = True
            logger.warning(
                "The ledger's write-ahead log grows: somebody reads an old state of it",
                extra={"bytes": size, "readers": readers(self._path)},
            )
        elif not self._left:
            self._told = False


def size_of(path: Path) -> int:
    """Return how many bytes the write-ahead log of a database has."""
    with contextlib.suppress(OSError):
        return path.with_name(f"{path.name}-wal").stat().st_size
    return 0


def readers(path: Path) -> str:
    """Say which other processes read a state of a database; as far as the kernel tells."""
    pids = sorted(set(_reading(path)) - {os.getpid()})
    if not pids:
        return "a process that cannot be seen from here"
    return ", ".join(f"process {pid} ({_command(pid)})" for pid in pids)


def wait_until_folded(fold: Callable[[], bool], path: Path, waiting: Callable[[str], None]) -> bool:
    """Try again and again, and say for whom it waits; tell whether it was done."""
    for _ in range(TURNS):
        if fold():
            return True
        waiting(readers(path))
        time.sleep(PAUSE_SECONDS)
    return False


def _reading(path: Path) -> list[int]:
    try:
        inode = path.with_name(f"{path.name}-shm").stat().st_ino
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        # 1: POSIX  ADVISORY  READ 14818 fe:01:262416 123 127
        fields = line.split()
        if len(fields) == 8 and fields[3] == "READ" and fields[5].endswith(f":{inode}"):
            first, last = int(fields[6]), int(fields[7])
            if first <= _LAST_READER and last >= _FIRST_READER:
                found.append(int(fields[4]))
    return found


def _command(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "?"
    text = raw.replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return "".join(c for c in text if c.isprintable())[:80] or "?"
