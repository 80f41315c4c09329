"""Read a ledger's log from its file, also while an operator writes it.

What is read is one state of it, and none of it is proven: `ledger/verify/` does that.
"""

import contextlib
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from taskpass.core.errors import NotTheLog, TaskpassError, UsageError
from taskpass.ledger.log import schema
from taskpass.tlog import tiles
from taskpass.tlog.merkle import HASH_SIZE, TILE_WIDTH, leaf_hash, subtree_root

HANDOVER = "handover"
"""`ckpt.kept` of a checkpoint that both the old and the new key signed."""
COSIGNED = "cosigned"
"""`ckpt.kept` of the last checkpoint that witnesses have cosigned, with their lines."""
_UNREADABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY,
    }
)  # fmt: skip


class Incomplete(NotTheLog):
    """Something that is needed is not there, or cannot be read: neither good nor bad is known."""


class TamperEvidence(NotTheLog):
    """What is there is not what the log's key has signed, or contradicts itself."""


class Pruned(Incomplete):
    """An entry is absent by policy; the log says so itself."""


class Source(Protocol):
    """A log to verify, however it is stored. Nothing that it returns is proven.

    Every method may raise `Incomplete` or `TamperEvidence`.
    """

    size: int
    note: str
    """The checkpoint."""
    bodies: range
    """Indexes of the entries that are there; it begins and ends with a bundle, or with the log."""

    def bundle(self, number: int) -> list[bytes]:
        """Return the entries of one bundle."""

    def tile(self, level: int, number: int, width: int = TILE_WIDTH) -> bytes:
        """Return a tile of hashes."""

    def handovers(self) -> dict[int, str]:
        """Return the checkpoints of the handovers from key to key, by size."""

    def kept(self) -> dict[int, bytes]:
        """Return the entries outside of `bodies` that were kept, as the keys follow from them."""

    def cosigned(self) -> str:
        """Return the last checkpoint that witnesses have cosigned; '' where there is none."""


class LogReader:
    """The log in one read transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        row = db.execute(
            "SELECT size, root, frontier, note, min_index, epoch FROM head WHERE k = 1"
        ).fetchone()
        if row is None:
            raise TamperEvidence("the ledger has no head")
        self.size: int = row[0]
        self.root: bytes = row[1]
        self.frontier: bytes = row[2]
        self.note: str = row[3]
        self.min_index: int = row[4]
        """Entries before it are absent by policy."""
        self.epoch: int = row[5]
        """How often it was opened for writing."""
        self.bodies = range(self.min_index, self.size)
        """The indexes of the entries that are there."""

    def entry(self, index: int) -> bytes:
        """Return the bytes of one entry; `Pruned` where it is absent by policy."""
        if index < self.min_index:
            found = self.kept().get(index)
            if found is None:
                raise self._pruned(f"Entry {index} is")
            return found
        number, at = divmod(index, TILE_WIDTH)
        entries = self.bundle(number)
        if at >= len(entries):
            raise TamperEvidence(f"entry {index} is missing")
        return entries[at]

    def bundle(self, number: int) -> list[bytes]:
        """Return the entries of one bundle, the unfinished one included."""
        if number == self.size // TILE_WIDTH:
            start = number * TILE_WIDTH
            rows = self.db.execute(
                "SELECT seq, body FROM entry WHERE seq >= ? ORDER BY seq", (start,)
            ).fetchall()
            if [row[0] for row in rows] != list(range(start, self.size)):
                raise TamperEvidence("entries of the last bundle are missing or too many")
            return [row[1] for row in rows]
        row = self.db.execute("SELECT z FROM bundle WHERE n = ?", (number,)).fetchone()
        if row is None and number * TILE_WIDTH < self.min_index:
            raise self._pruned(f"The entries of bundle {number} are")
        if row is None:
            raise TamperEvidence(f"bundle {number} is missing")
        return unzipped(row[0], number)

    def entries(self) -> Iterator[bytes]:
        """Return every entry that is there, in order."""
        for number in range(self.min_index // TILE_WIDTH, -(-self.size // TILE_WIDTH)):
            yield from self.bundle(number)

    def handovers(self) -> dict[int, str]:
        """Return the checkpoints of the handovers from key to key, by size."""
        rows = self.db.execute("SELECT size, note FROM ckpt WHERE kept = ?", (HANDOVER,))
        return {int(size): str(note) for size, note in rows}

    def kept(self) -> dict[int, bytes]:
        """Return the entries before `min_index` that were kept."""
        rows = self.db.execute("SELECT seq, body FROM entry WHERE seq < ?", (self.min_index,))
        return {int(seq): bytes(body) for seq, body in rows}

    def cosigned(self) -> str:
        """Return the last checkpoint that witnesses have cosigned; '' where there is none."""
        row = self.db.execute("SELECT note FROM ckpt WHERE kept = ?", (COSIGNED,)).fetchone()
        return "" if row is None else str(row[0])

    def _pruned(self, what: str) -> Pruned:
        return Pruned(
            f"{what} absent by policy: the log was pruned up to {self.min_index}. Look in the "
            "archive that was written then"
        )

    def tile(self, level: int, number: int, width: int = TILE_WIDTH) -> bytes:
        """Return a tile of hashes; one that is unfinished follows from what is below it."""
        if width == TILE_WIDTH:
            row = self.db.execute(
                "SELECT b FROM tile WHERE l = ? AND n = ?", (level, number)
            ).fetchone()
            if row is None or len(row[0]) != TILE_WIDTH * HASH_SIZE:
                raise TamperEvidence(f"tile {level}/{number} is missing or cut")
            return bytes(row[0])
        if level == 0:
            return b"".join(leaf_hash(entry) for entry in self.bundle(number))
        below = range(number * TILE_WIDTH, number * TILE_WIDTH + width)
        return b"".join(
            subtree_root(tiles.hashes_of(self.tile(level - 1, child))) for child in below
        )


@contextlib.contextmanager
def reading(path: Path) -> Iterator[LogReader]:
    """Open a ledger's file and hold one state of it.

    Raises:
        Incomplete: There is none, or it cannot be read.
        TamperEvidence: It is no database any more.
        UsageError: It is not a ledger of this version.

    """
    path = _found(path)
    with contextlib.ExitStack() as stack:
        try:
            db = _opened(path, stack)
            found = schema.version(db)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise _meaning(error, path) from error
        if found != schema.VERSION:
            raise UsageError(_no_ledger(path, found))
        try:
            db.execute("BEGIN")
            if strange := schema.foreign(db):
                raise TamperEvidence(f"in {path}, {strange}")
            yield LogReader(db)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise _meaning(error, path) from error
        except (TypeError, ValueError, AttributeError, OverflowError, MemoryError) as error:
            # Nothing is assumed: either a value explains it, or it is a fault of ours.
            if where := schema.strange_value(db):
                raise TamperEvidence(
                    f"{path} has a value in {where} of another kind than any that is written"
                ) from error
            raise


def unzipped(stored: bytes, number: int) -> list[bytes]:
    """Return the entries of a stored bundle."""
    limit = TILE_WIDTH * 65_537
    try:
        unzip = zlib.decompressobj()
        packed = unzip.decompress(stored, limit)
        if not unzip.eof or unzip.unused_data:
            raise TamperEvidence(f"bundle {number} is cut, or has bytes after its end")
        return tiles.unpack(packed)
    except (zlib.error, tiles.BadBundle) as error:
        raise TamperEvidence(f"bundle {number} is damaged: {error}") from error


def located(path: Path) -> Path:
    """Return where a ledger's file lies: what SQLite keeps beside it is beside that, not a link.

    Raises:
        Incomplete: That cannot be found out.

    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # the second: a link to itself
        raise Incomplete(f"The ledger {path} cannot be found ({error})") from error


def _found(path: Path) -> Path:
    """Return where a ledger's file lies; it is not opened here.

    Whoever closes a file gives up all locks that its process has on it (POSIX): SQLite's own of the
    writer, if that is this process, and then any program that opens and closes the ledger takes the
    write-ahead log away under it.
    """
    try:
        if path.is_dir():
            raise Incomplete(f"{path} is a directory, and no ledger; an export is named with --dir")
        if not path.is_file():
            raise Incomplete(f"There is no ledger at {path}")
        if not path.stat().st_size:
            raise Incomplete(_NO_DATABASE.format(path=path))
    except OSError as error:
        raise Incomplete(f"The ledger {path} cannot be read ({error.strerror})") from error
    return located(path)


_NO_DATABASE = (
    "{path} is no SQLite file: either another file than the ledger, or one whose first bytes are "
    "overwritten"
)


def _no_ledger(path: Path, found: int) -> str:
    if found:
        return f"{path} is a ledger of version {found}, and this program knows {schema.VERSION}"
    return (
        f"{path} is an SQLite file without a ledger's tables. A ledger that was copied while it "
        "was in use lacks what is in its write-ahead log: `taskpass audit copy` makes a whole copy"
    )


def _meaning(error: sqlite3.DatabaseError | UnicodeDecodeError, path: Path) -> TaskpassError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return Incomplete(_NO_DATABASE.format(path=path))
    if code in _UNREADABLE:
        return Incomplete(f"The ledger {path} cannot be read: {error}")
    return TamperEvidence(f"{path} is not a ledger, or is damaged: {error}")


def _opened(path: Path, stack: contextlib.ExitStack) -> sqlite3.Connection:
    try:
        return _connected(path, "mode=ro", stack)
    except sqlite3.OperationalError:
        # On a volume that is mounted read-only, SQLite cannot make the files beside the database
        # that reading needs. Without a write-ahead log nothing is lost by ignoring it.
        wal = path.with_name(path.name + "-wal")
        if not wal.exists() or wal.stat().st_size == 0:
            return _connected(path, "mode=ro&immutable=1", stack)
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskpass-")))
        return _connected(_copied(path, wal, place), "mode=ro", stack)


def _connected(path: Path, mode: str, stack: contextlib.ExitStack) -> sqlite3.Connection:
    db = schema.connect_reader(f"file:{quote(str(path))}?{mode}")
    stack.callback(db.close)
    db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return db


def _copied(path: Path, wal: Path, place: Path) -> Path:
    """Copy the database and its write-ahead log, both as they were at one time."""
    for _ in range(5):
        before = [(p.stat().st_size, p.stat().st_mtime_ns) for p in (path, wal)]
        for source in (path, wal):
            shutil.copyfile(source, place / source.name)
        if before == [(p.stat().st_size, p.stat().st_mtime_ns) for p in (path, wal)]:
            return place / path.name
    raise Incomplete(f"The ledger {path} changes while it is copied; read it where it is written")
