"""Read a log's bundles, one by one, and find out what each says: the work of verification.

Every bundle stands for itself, so several processes can share them (`in_parallel`). What follows
from all of them together is `walk.py`'s.
"""

import contextlib
import gc
import itertools
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from taskpass.core import tiles
from taskpass.core.audit import PREFIX, EventType, Stage
from taskpass.core.merkle import TILE_WIDTH, leaf_hash, leaf_hashes, subtree_root
from taskpass.ledger.files import in_directory
from taskpass.ledger.reader import LogReader, Source, TamperEvidence, reading
from taskpass.ledger.rows import IndexRow, index_row

_ISSUE, _REVOKE = str(EventType.CREDENTIAL_ISSUE), str(EventType.CREDENTIAL_REVOKE)
_GENESIS, _ROTATE = str(EventType.LOG_GENESIS), str(EventType.LOG_KEY_ROTATE)
_HEEDED = frozenset({_GENESIS, _ROTATE, str(EventType.LOG_PRUNE)})
_KEEPABLE = frozenset({_GENESIS, _ROTATE})
LARGE = 100_000
"""Logs of so many entries are worth more than one process."""
MOST_PROCESSES = 4
_SHARE = 32
"""Bundles that a process takes at once."""


@dataclass(slots=True)
class Piece:
    """What one bundle says."""

    start: int
    """Index of its first entry."""
    leaves: list[bytes]
    """Its leaf hashes; left out where `root` is enough."""
    root: bytes
    """Over all of them; empty where the bundle is not full."""
    first_time: str = ""
    last_time: str = ""
    begun: set[str] = field(default_factory=set)
    """Grants whose intent it tells, and not their end."""
    over: set[str] = field(default_factory=set)
    """Grants whose end it tells, and not their intent."""
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """What it says of the log itself."""


class Pieces:
    """Reads the bundles of a source. Each method raises as `Source`, or `TamperEvidence`."""

    def __init__(
        self, source: Source, origin: str, wanted: frozenset[int],
        beside: Callable[[bytes], None] | None = None,
    ) -> None:  # fmt: skip
        """Take the log's name and the sizes at which the root is wanted; `beside` gets each entry.

        Of a ledger's file the index is compared as well.
        """
        self.source = source
        self.origin = origin
        self.wanted = wanted
        self._within = {size // TILE_WIDTH for size in wanted if size % TILE_WIDTH}
        self._beside = beside
        self._kept = source.kept()
        self.count = -(-source.size // TILE_WIDTH)
        """How many bundles there are."""
        self._index = source.db if isinstance(source, LogReader) else None

    def all(self) -> Iterator[Piece]:
        """Return every bundle in order."""
        return map(self.one, range(self.count))

    def one(self, number: int) -> Piece:
        """Return one bundle; a full one is found to be under its tile."""
        start = number * TILE_WIDTH
        width = min(TILE_WIDTH, self.source.size - start)
        if start not in self.source.bodies:
            return self._absent(number, width)
        entries = self.source.bundle(number)
        if len(entries) != width:
            raise TamperEvidence(f"bundle {number} has {len(entries)} entries, not {width}")
        leaves = leaf_hashes(entries)
        if width == TILE_WIDTH and self.source.tile(0, number) != b"".join(leaves):
            raise TamperEvidence(f"{tiles.tile_path(0, number)} is not what the entries hash to")
        piece = self._piece(number, leaves)
        rows = self._told(entries, piece)
        if self._index is not None:
            _compare(self._index, start, rows)
        if self._beside is not None:
            for entry in entries:
                self._beside(entry)
        return piece

    def _piece(self, number: int, leaves: list[bytes]) -> Piece:
        start = number * TILE_WIDTH
        if len(leaves) < TILE_WIDTH:
            return Piece(start, leaves, b"")
        within = number in self._within
        return Piece(start, leaves if within else [], subtree_root(leaves))

    def _told(self, entries: list[bytes], piece: Piece) -> list[IndexRow]:
        """Note what the entries say; return what the index is to say of them."""
        rows: list[IndexRow] = []
        index, last = piece.start, ""
        for body in entries:
            # Nothing of an entry is kept but its row: a million dicts at once cost more than all.
            row, event = _read(body, index, self.origin)
            kind, time = row[1], row[2]
            if not isinstance(time, str) or time < last:
                raise TamperEvidence(f"the time of entry {index} is before that of the one before")
            last = time
            rows.append(row)
            if kind == _ISSUE:
                if event["data"].get("stage") == Stage.INTENT:
                    piece.begun.add(str(row[5]))
            elif kind == _REVOKE:
                if event["data"].get("stage") == Stage.RESULT:
                    _ended(piece, str(row[5]))
            elif kind in _HEEDED or index == 0:
                piece.events.append((index, event))
            index += 1
        piece.first_time, piece.last_time = str(rows[0][2]), last
        return rows

    def _absent(self, number: int, width: int) -> Piece:
        """Return a bundle of which only the hashes are there, and what its keys follow from."""
        data = self.source.tile(0, number, width)
        if len(data) != width * 32:
            raise TamperEvidence(f"{tiles.tile_path(0, number, width)} is cut, or too long")
        leaves = tiles.hashes_of(data)
        piece = self._piece(number, leaves)
        for index in sorted(i for i in self._kept if 0 <= i - piece.start < width):
            body = self._kept[index]
            if leaf_hash(body) != leaves[index - piece.start]:
                raise TamperEvidence(f"entry {index} is not what its tile says")
            row, event = _read(body, index, self.origin)
            if row[1] not in _KEEPABLE:
                raise TamperEvidence(f"entry {index} is there, though it was to be absent")
            piece.events.append((index, event))
        return piece


@contextlib.contextmanager
def in_parallel(path: Path, own: Pieces, large: int = LARGE) -> Iterator[Iterator[Piece]]:
    """Give every bundle of a ledger's file or an export, read by several processes.

    `own` reads the same log. It does all itself where the log has less than `large` entries, or
    there is one processor, or none can be started; and the unfinished bundle, which may be growing.
    """
    full = own.source.size // TILE_WIDTH
    processes = min(MOST_PROCESSES, len(os.sched_getaffinity(0)))
    if own.source.size < large or processes < 2:
        yield own.all()
        return
    try:
        # Spawned, as whoever asks may have threads.
        pool = multiprocessing.get_context("spawn").Pool(
            processes, _begin, (path, own.origin, own.wanted, full)
        )
    except OSError:  # no shared memory here
        yield own.all()
        return
    with pool:
        shares = pool.imap(_share, range(0, full, _SHARE))
        rest = map(own.one, range(full, own.count))
        yield itertools.chain((piece for share in shares for piece in share), rest)


_mine: list[tuple[Pieces, int]] = []
_open = contextlib.ExitStack()


def _begin(path: Path, origin: str, wanted: frozenset[int], full: int) -> None:
    """Open the log in a process of the pool, for as long as that lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that asked ends us
    gc.disable()  # there are no cycles, and looking for them took a tenth of the time
    source = in_directory(path) if path.is_dir() else _open.enter_context(reading(path))
    _mine.append((Pieces(source, origin, wanted), full))


def _share(first: int) -> list[Piece]:
    pieces, full = _mine[0]
    return [pieces.one(number) for number in range(first, min(first + _SHARE, full))]


def _read(body: bytes, index: int, origin: str) -> tuple[IndexRow, dict[str, Any]]:
    try:
        event: dict[str, Any] = orjson.loads(body)
        row = index_row(event)
        ours = event["type"].startswith(PREFIX) and event["source"] == origin
    except (ValueError, TypeError, KeyError, AttributeError):
        raise TamperEvidence(f"entry {index} is not an event of ours") from None
    if not ours:
        raise TamperEvidence(f"entry {index} is not of this log")
    return row, event


def _ended(piece: Piece, grant: str) -> None:
    if grant in piece.begun:
        piece.begun.discard(grant)
    else:
        piece.over.add(grant)


def _compare(db: sqlite3.Connection, start: int, told: list[IndexRow]) -> None:
    # As many rows as there are numbers in the range, so each number has its own.
    rows = db.execute(
        "SELECT id, type, time, subject, task, cred FROM idx WHERE seq >= ? AND seq < ?"
        " ORDER BY seq",
        (start, start + len(told)),
    ).fetchall()
    if rows != told:
        raise TamperEvidence(f"the index does not say of the entries from {start} on what they say")
