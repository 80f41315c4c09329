"""Where the ledger's file may lie, and that one process has it.

The lock is on a file beside the ledger's, as SQLite's write-ahead log is: so it is taken by where
the file lies (`log/reader.py`, `located`), and a file with two names is not written.

SQLite's write-ahead log needs shared memory and locks that network file systems do not give
faithfully: a ledger there would be damaged in silence, so it is refused.
"""

import fcntl
import os
import re
from pathlib import Path

from taskpass.core.errors import LedgerError, LedgerLocked

_NETWORK = frozenset(
    "9p afs ceph cifs gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 smb smb2 smb3 smbfs".split()
)
_MOUNTS = Path("/proc/self/mountinfo")


class Lock:
    """The right to write the ledger; the kernel takes it back when the process ends, however."""

    def __init__(self, database: Path) -> None:
        """Take it, or raise `LedgerLocked`."""
        self._file = _lockable(database)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise LedgerLocked(
                f"Another process holds the ledger {database}; wait until it has ended"
            ) from None

    def release(self) -> None:
        """Let go of it; a second time does nothing."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def _lockable(database: Path) -> int:
    """Open the file beside the database that the lock is on."""
    path = database.with_name(database.name + ".lock")
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        # A volume that takes no writes: reading is enough to lock, and one of the two is there.
        if not database.exists():
            raise
        return os.open(path if path.exists() else database, os.O_RDONLY)


def other_name(database: Path) -> str | None:
    """Return why a file is not written that has two names; None where it has one, or is not there.

    By each name SQLite would keep another write-ahead log, and we another lock.
    """
    if not database.exists() or database.stat().st_nlink == 1:
        return None
    return (
        f"The ledger {database} is not written, as its file has another name as well (a hard "
        "link), by which another process could write it: delete that name, or put a copy in its "
        "place"
    )


def refuse_network(database: Path) -> None:
    """Raise `LedgerError` where the file would lie on a network file system."""
    if not _MOUNTS.exists():  # not Linux: a developer's machine
        return
    found = filesystem(database.resolve(), _MOUNTS.read_text())
    if found in _NETWORK or (found.startswith("fuse") and found != "fuseblk"):
        raise LedgerError(
            f"The ledger {database} would lie on a network file system ({found}), where SQLite "
            "cannot keep it safe; use a volume on a block device (ReadWriteOnce)"
        )


def filesystem(path: Path, mounts: str) -> str:
    """Return the type of the file system that an absolute path lies on; '' if nothing says."""
    best, found = -1, ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) < 5 or not right:
            continue
        point = Path(_unescaped(fields[4]))
        # The deepest mount point counts; of several on one point, the last covers the others.
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), right.split(" ")[0]
    return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
