"""Have several processes read a log's bundles: most of the time of a verification goes there."""

import contextlib
import gc
import itertools
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from taskpass.ledger.export.files import in_directory
from taskpass.ledger.log.entry_filter import Query
from taskpass.ledger.log.reader import reading
from taskpass.ledger.verify.bundles import Bundle, Bundles
from taskpass.tlog.merkle import TILE_WIDTH

LARGE = 100_000
"""Logs of so many entries are worth more than one process."""
MOST_PROCESSES = 4
_SHARE = 32
"""Bundles that a process takes at once."""


@contextlib.contextmanager
def in_parallel(path: Path, own: Bundles, large: int = LARGE) -> Iterator[Iterator[Bundle]]:
    """Give every bundle of a ledger's file or an export, read by several processes.

    `own` reads the log, and what it says counts. The others open the path once more, where another
    state, or another file, may lie by then: what they cannot read, or find absent that is there (or
    the other way round), `own` reads itself, and so it does with the unfinished bundle. It does all
    where the log has less than `large` entries, or there is one processor, or none can be started.
    """
    full = own.source.size // TILE_WIDTH
    processes = min(MOST_PROCESSES, len(os.sched_getaffinity(0)))
    if own.source.size < large or processes < 2:
        yield own.all()
        return
    try:
        # Spawned, as whoever asks may have threads.
        pool = multiprocessing.get_context("spawn").Pool(
            processes, _begin, (path, own.origin, own.wanted, full, own.query)
        )
    except OSError:  # no shared memory here
        yield own.all()
        return
    with pool:
        shares = pool.imap(_share, range(0, full, _SHARE))
        found = itertools.chain.from_iterable(shares)
        rest = map(own.one, range(full, own.count))
        yield itertools.chain(itertools.starmap(own.accepted, enumerate(found)), rest)


_mine: list[tuple[Bundles | None, int]] = []
"""Of a process of the pool: what it reads (None: it can read nothing), and up to which bundle."""
_open = contextlib.ExitStack()


def _begin(path: Path, origin: str, wanted: frozenset[int], full: int, query: Query | None) -> None:
    """Open the log in a process of the pool, for as long as that lives.

    It may not fail: another would be begun in its place, which fails as well, for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that asked ends us
    gc.disable()  # there are no cycles, and looking for them took a tenth of the time
    _mine.append((None, full))
    with contextlib.suppress(Exception):
        source = in_directory(path) if path.is_dir() else _open.enter_context(reading(path))
        if source.size // TILE_WIDTH >= full:
            _mine[0] = (Bundles(source, origin, wanted, query), full)


def _share(first: int) -> list[Bundle | None]:
    pieces, full = _mine[0]
    return [_read_by(pieces, number) for number in range(first, min(first + _SHARE, full))]


def _read_by(pieces: Bundles | None, number: int) -> Bundle | None:
    """Return a bundle; None where it cannot be read here: whoever asked finds out what is so."""
    try:
        return None if pieces is None else pieces.one(number)
    except Exception:
        return None
